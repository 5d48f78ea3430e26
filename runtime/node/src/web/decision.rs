//! A decision as a form sends it, and as the interface takes it.
//!
//! Owned here: how fields become JSON. Whether that is a decision of this request the interface says.

use serde_json::{Map, Value, json};
use sortie_contract::envelope::read_strictly;

use super::door::Fields;

/// How a field of a form that a tool asks for is read; it stands before its name.
pub(super) const TEXT: &str = "s:";
pub(super) const NUMBER: &str = "n:";
pub(super) const CHOICE: &str = "b:";
pub(super) const LIST: &str = "l:";

/// What is wrong with a form, in words for who filled it in.
pub(super) type Wrong = String;

/// What is said of a form that was sent by no button that decides.
pub(super) const SAY_WHAT: &str = "Nothing was decided: say what you decide, by one of the buttons.";

/// The body of a decision.
pub(super) fn body(fields: &Fields) -> Result<Value, Wrong> {
    let decision = fields.text("decision");
    if decision.is_empty() {
        return Err(SAY_WHAT.to_owned());
    }
    let mut body = Map::new();
    let said = if decision == "amend" { "approve" } else { decision };
    body.insert("decision".to_owned(), json!(said));
    if let Some(note) = fields.given("note") {
        body.insert("note".to_owned(), json!(note.trim()));
    }
    match decision {
        "amend" => {
            body.insert("arguments".to_owned(), value("The changed arguments", fields.text("arguments"))?);
        }
        "approve" => {
            if let Some(reach) = fields.given("for") {
                body.insert("for".to_owned(), json!(reach));
            }
        }
        "grant" => {
            let mut amount = Map::new();
            for (key, name) in [("cost_usd", "The money"), ("llm_calls", "The number of calls")] {
                if let Some(given) = fields.given(key) {
                    amount.insert(key.to_owned(), number(name, given)?);
                }
            }
            body.insert("amount".to_owned(), Value::Object(amount));
        }
        "answer" => {
            body.insert("text".to_owned(), json!(answer(fields)?));
        }
        "record" => {
            body.insert("result".to_owned(), value("What the call returned", fields.text("result"))?);
        }
        _ => {}
    }
    Ok(Value::Object(body))
}

/// The answer to a question: a text, or what the fields of a tool's form come to.
pub(super) fn answer(fields: &Fields) -> Result<String, Wrong> {
    if let Some(text) = fields.0.iter().find(|(name, _)| name == "text") {
        return Ok(text.1.clone());
    }
    let mut form = Map::new();
    for (name, given) in &fields.0 {
        let Some((kind, key)) =
            [TEXT, NUMBER, CHOICE, LIST].iter().find_map(|kind| Some((*kind, name.strip_prefix(kind)?)))
        else {
            continue;
        };
        // What is left blank is not answered: whether it had to be, and what holds then, the form's schema says.
        if given.is_empty() {
            continue;
        }
        match kind {
            NUMBER => {
                form.insert(key.to_owned(), number(&format!("`{key}`"), given)?);
            }
            CHOICE => {
                form.insert(key.to_owned(), json!(given == "true"));
            }
            LIST => {
                let list = form.entry(key.to_owned()).or_insert_with(|| json!([]));
                list.as_array_mut().into_iter().for_each(|list| list.push(json!(given)));
            }
            _ => {
                form.insert(key.to_owned(), json!(given));
            }
        }
    }
    Ok(Value::Object(form).to_string())
}

fn number(name: &str, given: &str) -> Result<Value, Wrong> {
    let number = serde_json::from_str::<serde_json::Number>(given.trim()).ok();
    number.map(Value::Number).ok_or_else(|| format!("{name} must be a number such as 3 or 0.5, and not “{given}”."))
}

/// JSON as strict as an envelope: of two equal keys one says the contrary of the other.
fn value(name: &str, given: &str) -> Result<Value, Wrong> {
    let wrong = |why: &str| format!("{name} must be JSON: {why}.");
    match read_strictly(given) {
        Ok((value, mistakes)) if mistakes.is_empty() => Ok(value),
        Ok((_, mistakes)) => Err(wrong(&mistakes[0].detail)),
        Err(mistake) => Err(wrong(&mistake.detail)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Value, Wrong> {
        body(&Fields(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()))
    }

    #[test]
    fn a_form_becomes_the_decision_that_it_says() {
        for (pairs, expected) in [
            (
                &[("decision", "approve"), ("note", " fine "), ("for", "tool")][..],
                json!({"decision": "approve", "note": "fine", "for": "tool"}),
            ),
            (&[("decision", "approve"), ("for", ""), ("arguments", "{")], json!({"decision": "approve"})),
            (
                &[("decision", "amend"), ("arguments", "{\"a\": 1.10}")],
                json!({"decision": "approve", "arguments": {"a": 1.1}}),
            ),
            (&[("decision", "deny")], json!({"decision": "deny"})),
            (
                &[("decision", "grant"), ("cost_usd", " 0.5"), ("llm_calls", "")],
                json!({"decision": "grant", "amount": {"cost_usd": 0.5}}),
            ),
            (&[("decision", "record"), ("result", "null")], json!({"decision": "record", "result": null})),
            (&[("decision", "answer"), ("text", "B")], json!({"decision": "answer", "text": "B"})),
        ] {
            assert_eq!(read(pairs), Ok(expected), "{pairs:?}");
        }
        let form = [
            ("decision", "answer"),
            ("s:name", "Ada"),
            ("n:age", "36"),
            ("b:sure", "false"),
            ("l:of", "a"),
            ("l:of", "b"),
            ("s:no", ""),
        ];
        let text = read(&form).expect("a form")["text"].clone();
        let said: Value = serde_json::from_str(text.as_str().expect("a text")).expect("JSON");
        assert_eq!(said, json!({"name": "Ada", "age": 36, "sure": false, "of": ["a", "b"]}));
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        for (pairs, expected) in [
            (&[("decision", "amend"), ("arguments", "{")][..], "The changed arguments must be JSON"),
            (&[("decision", "amend"), ("arguments", "{\"a\":1,\"a\":2}")], "The changed arguments must be JSON"),
            (&[("decision", "grant"), ("cost_usd", "much")], "The money must be a number"),
            (&[("decision", "answer"), ("n:age", "old")], "`age` must be a number"),
            (&[("decision", ""), ("note", "fine")], SAY_WHAT),
            (&[("note", "fine")], SAY_WHAT),
            (&[("decision", "record"), ("result", "")], "What the call returned must be JSON"),
        ] {
            let wrong = read(pairs).expect_err("wrong");
            assert!(wrong.starts_with(expected), "{wrong}");
        }
    }
}
