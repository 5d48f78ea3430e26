//! What a mission asks of people, as a form that a client of the protocol shows, and what is filled in as a decision.

use serde_json::{Map, Value, json};
use sortie_contract::limit;
use sortie_mcp::serve::Question;
use sortie_tools::Form;

use crate::cli::plain;

/// Most bytes of a call's arguments that are shown with a question. Whoever must see more looks at the mission.
const SHOWN_BYTES_MAX: usize = 4_000;

/// The form for a request of a mission.
pub(super) fn question(mission: &str, request: &Value) -> Question {
    let said = plain(request["question"].as_str().unwrap_or_default());
    let mut lines = match request["tool"].as_str().filter(|_| request["kind"] == "input") {
        None => vec![format!("Mission {} asks: {said}", plain(mission))],
        // Anybody's words: who asks is said with them.
        Some(tool) => {
            vec![format!("In mission {} the tool {} asks, in its own words: {said}", plain(mission), plain(tool))]
        }
    };
    if let Some(tool) = request["tool"].as_str() {
        lines.push(format!("Tool: {}", plain(tool)));
        let arguments = match &request["arguments"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        lines.push(format!("Arguments: {}", plain(&limit::clip(&arguments, SHOWN_BYTES_MAX))));
        let bytes = request["arguments_bytes"].as_u64().unwrap_or_default();
        // Of what is too long for the node to show, it shows the beginning, as a text.
        let is_cut = request["arguments"].is_string() && bytes > arguments.len() as u64;
        if is_cut || arguments.len() > SHOWN_BYTES_MAX {
            lines.push(format!(
                "This is their beginning only, of {bytes} bytes (sha256 {}): look at the mission before you approve.",
                request["arguments_sha256"].as_str().unwrap_or_default()
            ));
        }
    }
    if let Some(expires) = request["expires_at"].as_str() {
        lines.push(format!("It expires {}.", plain(expires)));
    }
    let form = match request.get("schema").filter(|schema| schema.is_object()) {
        Some(schema) => Form::shown(schema, plain),
        None => form(request["kind"].as_str().unwrap_or_default()),
    };
    Question { message: lines.join("\n"), form }
}

fn form(kind: &str) -> Value {
    let choice = |choices: &[&str]| json!({"type": "string", "title": "Decision", "enum": choices});
    let note = json!({"type": "string", "title": "Note", "description": "Why; it is recorded.", "maxLength": limit::NOTE_BYTES_MAX / 4});
    let (properties, required) = match kind {
        "approval" => (json!({"decision": choice(&["approve", "deny"]), "note": note}), "decision"),
        "budget" => (
            json!({
                "decision": choice(&["grant", "deny"]),
                "cost_usd": {"type": "number", "title": "US dollars more", "minimum": 0},
                "llm_calls": {"type": "integer", "title": "Model calls more", "minimum": 0},
                "note": note,
            }),
            "decision",
        ),
        "uncertain" => (
            json!({
                "decision": choice(&["repeat", "record", "deny"]),
                "result": {"type": "string", "title": "Result", "description": "To record: what the call returned, as JSON."},
                "note": note,
            }),
            "decision",
        ),
        _ => (json!({"text": {"type": "string", "title": "Answer"}, "note": note}), "text"),
    };
    json!({"type": "object", "properties": properties, "required": [required]})
}

/// The decision that a filled form is, as the interface takes it. What is wrong with it the interface says.
pub(super) fn decision(request: &Value, mut form: Map<String, Value>) -> Value {
    if request["schema"].is_object() {
        return json!({"decision": "answer", "text": Value::Object(form).to_string()});
    }
    let kind = request["kind"].as_str().unwrap_or_default();
    let filled = |value: Option<Value>| value.filter(|value| !value.is_null() && value.as_str() != Some(""));
    let note = filled(form.remove("note"));
    let choice = form.remove("decision").unwrap_or_default();
    let mut decision = match (kind, choice.as_str()) {
        ("budget", Some("grant")) => {
            let amount: Map<String, Value> = ["cost_usd", "llm_calls"]
                .into_iter()
                .filter_map(|key| Some((key.to_owned(), filled(form.remove(key))?)))
                .filter(|(_, value)| value.as_f64() != Some(0.0))
                .collect();
            json!({"decision": "grant", "amount": amount})
        }
        ("uncertain", Some("record")) => {
            // What is no JSON was meant as a text.
            let text = form.remove("result").and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
            let result: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            json!({"decision": "record", "result": result})
        }
        ("approval" | "budget" | "uncertain", _) => json!({"decision": choice}),
        _ => json!({"decision": "answer", "text": form.remove("text").unwrap_or_default()}),
    };
    if let Some(note) = note {
        decision["note"] = note;
    }
    decision
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_form_is_a_decision() {
        for (kind, form, expected) in [
            ("approval", json!({"decision": "approve"}), json!({"decision": "approve"})),
            ("approval", json!({"decision": "deny", "note": "no"}), json!({"decision": "deny", "note": "no"})),
            ("approval", json!({"decision": "approve", "note": ""}), json!({"decision": "approve"})),
            // Nothing is read into what was left out.
            ("approval", json!({}), json!({"decision": null})),
            ("approval", json!({"text": "yes"}), json!({"decision": null})),
            (
                "budget",
                json!({"decision": "grant", "cost_usd": 2.5}),
                json!({"decision": "grant", "amount": {"cost_usd": 2.5}}),
            ),
            (
                "budget",
                json!({"decision": "grant", "llm_calls": 3, "cost_usd": 0}),
                json!({"decision": "grant", "amount": {"llm_calls": 3}}),
            ),
            ("budget", json!({"decision": "deny", "cost_usd": 1}), json!({"decision": "deny"})),
            ("uncertain", json!({"decision": "repeat"}), json!({"decision": "repeat"})),
            (
                "uncertain",
                json!({"decision": "record", "result": "{\"a\":1}"}),
                json!({"decision": "record", "result": {"a": 1}}),
            ),
            (
                "uncertain",
                json!({"decision": "record", "result": "sent"}),
                json!({"decision": "record", "result": "sent"}),
            ),
            ("input", json!({"text": "B"}), json!({"decision": "answer", "text": "B"})),
            ("input", json!({"decision": "deny", "text": "B"}), json!({"decision": "answer", "text": "B"})),
        ] {
            let Value::Object(filled) = form.clone() else { panic!("an object") };
            assert_eq!(decision(&json!({"kind": kind}), filled), expected, "{kind} {form}");
        }
    }

    #[test]
    fn what_a_tool_asks_is_its_form() {
        let schema = json!({"type": "object", "title": "a\u{202e}b", "required": ["note"], "properties": {
            "note": {"type": "string", "title": "a\u{202e}b"},
            "title": {"type": "string", "oneOf": [{"const": "x", "title": "a\u{202e}b"}]},
            "all": {"type": "array", "items": {"anyOf": [{"const": "y", "description": "a\u{202e}b"}]}},
            "old": {"type": "string", "enum": ["z"], "enumNames": ["a\u{202e}b"]},
        }});
        let request =
            json!({"kind": "input", "question": "Who?", "tool": "mcp__a__b", "arguments": {}, "schema": schema});
        let asked = question("m", &request);
        assert!(
            asked.message.starts_with("In mission m the tool mcp__a__b asks, in its own words: Who?\n"),
            "{}",
            asked.message
        );
        let shown = schema.to_string().replace('\u{202e}', "\\\\u{202e}");
        assert_eq!(asked.form, serde_json::from_str::<Value>(&shown).expect("JSON"));
        let Value::Object(filled) = json!({"note": "n"}) else { panic!("an object") };
        assert_eq!(decision(&request, filled), json!({"decision": "answer", "text": "{\"note\":\"n\"}"}));
    }

    #[test]
    fn a_question_shows_what_is_decided_about_and_hides_nothing() {
        let request = json!({"kind": "approval", "question": "May it?", "tool": "Write", "expires_at": "2026-01-02T03:04:05Z",
            "arguments": {"path": "a\u{202e}b"}, "arguments_bytes": 18, "arguments_sha256": "abc"});
        let told = question("m", &request).message;
        assert_eq!(
            told,
            "Mission m asks: May it?\nTool: Write\nArguments: {\"path\":\"a\\u{202e}b\"}\nIt expires 2026-01-02T03:04:05Z."
        );
        for arguments in [json!("{\"content\": \"cut"), json!({"content": "x".repeat(SHOWN_BYTES_MAX)})] {
            let request = json!({"kind": "approval", "question": "May it?", "tool": "Write", "arguments": arguments,
                "arguments_bytes": 70_000, "arguments_sha256": "abc"});
            let told = question("m", &request).message;
            assert!(told.contains("beginning only, of 70000 bytes (sha256 abc)"), "{told}");
        }
    }
}
