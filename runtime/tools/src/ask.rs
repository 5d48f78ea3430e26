//! Whom a tool asks while it makes a call, what it may ask for, and what an answer must be.
//!
//! Owned here: the form. It is what MCP lets servers ask for (an object whose members are texts, numbers, yes or no, or choices), so that
//! whoever answers can be shown a form and every answer can be held against it; and what a text that people write stands for. Never here:
//! who is asked, and what becomes of a question that nobody answers.

use std::fmt;

use async_trait::async_trait;
use jsonschema::Validator;
use serde_json::{Map, Value};
use sortie_contract::envelope::read_strictly;
use sortie_contract::hidden::is_hidden;
use sortie_contract::limit;
use sortie_contract::mistake::{Mistake, Pointer, code};
use sortie_contract::unfold;
use tokio::sync::watch;

use crate::toolbox::MISTAKE_BYTES_MAX;

/// Most fields of a form: more than anybody fills in.
const FIELDS_MAX: usize = 100;

/// Somebody who can be asked while a call is made.
#[async_trait]
pub trait Ask: fmt::Debug + Send + Sync + 'static {
    /// Asks, and waits for the answer, which may take days. Dropping the future takes the question back.
    async fn ask(&self, question: Question) -> Reply;

    /// How many of the questions wait for people: no time passes for the call meanwhile. One that nobody is asked does not count, however
    /// often it comes.
    fn waits(&self) -> watch::Receiver<usize>;
}

/// What a tool asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// In its words.
    pub message: String,
    /// What an answer must be.
    pub form: Form,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// An answer that fits the form, with what the form says of fields that were left out.
    Accepted(Map<String, Value>),
    /// Somebody does not want to answer, or nobody did in time.
    Declined,
    /// There is nobody who could be asked, or the call is over.
    Cancelled,
}

/// How many questions wait for people: whoever is asked keeps it, and whoever measures the time of a call looks at it.
#[derive(Debug, Clone)]
pub struct Waits(watch::Sender<usize>);

/// A question that waits, until this is dropped.
#[derive(Debug)]
pub struct Waiting(watch::Sender<usize>);

impl Default for Waits {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Waits {
    /// One more waits.
    #[must_use]
    pub fn one(&self) -> Waiting {
        self.0.send_modify(|waits| *waits += 1);
        Waiting(self.0.clone())
    }

    /// How many wait, from now on.
    #[must_use]
    pub fn watched(&self) -> watch::Receiver<usize> {
        self.0.subscribe()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.send_modify(|waits| *waits -= 1);
    }
}

/// Nobody is there: every question is declined.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

#[async_trait]
impl Ask for Nobody {
    async fn ask(&self, _: Question) -> Reply {
        Reply::Declined
    }

    fn waits(&self) -> watch::Receiver<usize> {
        Waits::default().watched()
    }
}

/// What an answer must be: a JSON Schema of an object without objects in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Form(Value);

impl Form {
    /// The form that a schema is.
    ///
    /// # Errors
    /// What is wrong with it: for the log of the node, and its tool.
    pub fn of(schema: Value) -> Result<Self, String> {
        let (bytes, max) = (schema.to_string().len(), limit::FORM_BYTES_MAX);
        if bytes > max {
            return Err(format!("its schema has {bytes} bytes, {max} are allowed"));
        }
        if schema["type"] != "object" {
            return Err("its schema is none of an object".to_owned());
        }
        let fields = schema["properties"].as_object().ok_or("its schema has no `properties`")?;
        if fields.len() > FIELDS_MAX {
            return Err(format!("it asks for {} fields, {FIELDS_MAX} are allowed", fields.len()));
        }
        if let Some((name, _)) = fields.iter().find(|(_, field)| !is_simple(field)) {
            let name = limit::clip(name, limit::QUOTE_BYTES_MAX);
            return Err(format!("its field `{name}` is neither a text, a number, a boolean nor a choice"));
        }
        if let Some(place) = hides(&schema, false) {
            let place = limit::clip(&place.escape_debug().to_string(), limit::QUOTE_BYTES_MAX);
            return Err(format!(
                "`{place}`, in its schema, has characters that nobody sees: only what is shown of a field (its title, its description) may"
            ));
        }
        let form = Self(schema);
        form.validator().map(|_| form)
    }

    /// The schema, with what is only shown of it (titles, descriptions) as `plain` makes it. What else it says (names, choices, defaults)
    /// hides nothing.
    #[must_use]
    pub fn shown(schema: &Value, plain: impl Fn(&str) -> String) -> Value {
        let mut schema = schema.clone();
        show(&mut schema, false, &plain);
        schema
    }

    /// The form in a text that [`Form::to_string`](ToString::to_string) has written.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string()).and_then(Self::of)
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.0
    }

    fn validator(&self) -> Result<Validator, String> {
        unfold::bounded(&self.0).map_err(|why| format!("its schema cannot be used: {why}"))?;
        let validator = jsonschema::options().should_validate_formats(true).build(&self.0);
        validator.map_err(|error| format!("its schema is none: {}", limit::clip(&error.to_string(), MISTAKE_BYTES_MAX)))
    }

    fn fields(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0["properties"].as_object().into_iter().flatten()
    }

    /// The only field that takes a text, where there is one and no other: what people say without braces is meant for it.
    #[must_use]
    pub fn only_text(&self) -> Option<&str> {
        let mut fields = self.fields();
        match (fields.next(), fields.next()) {
            (Some((name, field)), None) if field["type"] == "string" => Some(name),
            _ => None,
        }
    }

    /// What a text that people write stands for: the JSON object that it is, or what goes into [`Form::only_text`]. With what the form
    /// says of fields that were left out.
    ///
    /// # Errors
    /// Each thing that does not fit, with its place below `text`.
    pub fn filled(&self, text: &str) -> Result<Map<String, Value>, Vec<Mistake>> {
        let place = Pointer::root().join("text");
        let wrong = |code, why: &str| vec![Mistake::new(place.clone(), code, why)];
        // As strictly as a decision: of two equal keys one says the contrary of the other.
        let read = read_strictly(text);
        let mut content = match (read, self.only_text()) {
            (Ok((Value::Object(_), mistakes)), _) if !mistakes.is_empty() => {
                let below = |mistake: Mistake| Mistake {
                    pointer: Pointer::raw(format!("{place}{}", mistake.pointer.as_str())),
                    ..mistake
                };
                return Err(mistakes.into_iter().map(below).collect());
            }
            (Ok((Value::Object(content), _)), _) => content,
            (_, Some(name)) => [(name.to_owned(), Value::from(text))].into_iter().collect(),
            (Ok(_), None) => return Err(wrong(code::WRONG_TYPE, &self.wanted())),
            (Err(_), None) => return Err(wrong(code::NOT_JSON, &self.wanted())),
        };
        for (name, field) in self.fields() {
            if let Some(default) = field.get("default").filter(|_| !content.contains_key(name)) {
                content.insert(name.clone(), default.clone());
            }
        }
        let content = Value::Object(content);
        let mistakes = self.misfits(&place, &content);
        match content {
            Value::Object(content) if mistakes.is_empty() => Ok(content),
            _ => Err(mistakes),
        }
    }

    fn misfits(&self, place: &Pointer, content: &Value) -> Vec<Mistake> {
        let unknown = content.as_object().into_iter().flatten().map(|(name, _)| name);
        let unknown = unknown.filter(|name| self.0["properties"].get(name.as_str()).is_none());
        let mut mistakes: Vec<Mistake> = unknown
            .take(limit::MISTAKES_MAX)
            .map(|name| Mistake::new(place.join(name), "unknown_key", self.wanted()))
            .collect();
        let cannot = |why: String| vec![Mistake::new(place.clone(), "invalid", why)];
        if let Err(why) = unfold::looks(&self.0, content) {
            return cannot(format!("it cannot be held against the form: {why}"));
        }
        match self.validator() {
            Err(why) => return cannot(format!("it cannot be held against the form: {why}")),
            Ok(validator) => {
                let more = validator.iter_errors(content).take(limit::MISTAKES_MAX - mistakes.len()).map(|error| {
                    let pointer = Pointer::raw(format!("{place}{}", error.instance_path()));
                    Mistake::new(pointer, "invalid", limit::clip(&error.to_string(), MISTAKE_BYTES_MAX))
                });
                mistakes.extend(more.collect::<Vec<_>>());
            }
        }
        mistakes
    }

    /// In words, what an answer is.
    fn wanted(&self) -> String {
        let names: Vec<String> = self.fields().map(|(name, _)| limit::clip(name, limit::QUOTE_BYTES_MAX)).collect();
        let wanted = match names.as_slice() {
            [] => "nothing is to be filled in: answer with {}".to_owned(),
            names => format!("answer with a JSON object with the fields {}", names.join(", ")),
        };
        limit::clip(&wanted, limit::NOTE_BYTES_MAX)
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Keys of a schema that only say something to people.
const WORDS: [&str; 4] = ["title", "description", "enumNames", "$comment"];

/// The first text of a schema that hides something where it is more than words.
fn hides(value: &Value, is_words: bool) -> Option<&str> {
    let hidden = |text: &&str| text.chars().any(is_hidden);
    match value {
        Value::String(text) => Some(text.as_str()).filter(hidden).filter(|_| !is_words),
        Value::Array(all) => all.iter().find_map(|value| hides(value, is_words)),
        Value::Object(all) => all.iter().find_map(|(key, value)| {
            Some(key.as_str()).filter(hidden).or_else(|| hides(value, WORDS.contains(&key.as_str())))
        }),
        _ => None,
    }
}

fn show(value: &mut Value, is_words: bool, plain: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) if is_words => *text = plain(text),
        Value::Array(all) => all.iter_mut().for_each(|value| show(value, is_words, plain)),
        Value::Object(all) => {
            all.iter_mut().for_each(|(key, value)| show(value, WORDS.contains(&key.as_str()), plain));
        }
        _ => {}
    }
}

/// Whether a field of a form is one that a form has.
fn is_simple(field: &Value) -> bool {
    match field["type"].as_str() {
        Some("string" | "number" | "integer" | "boolean") => true,
        // Several of a choice.
        Some("array") => field["items"].as_object().is_some_and(|items| {
            items.get("enum").or_else(|| items.get("anyOf")).or_else(|| items.get("oneOf")).is_some_and(Value::is_array)
        }),
        Some(_) => false,
        None => {
            field.get("enum").or_else(|| field.get("oneOf")).or_else(|| field.get("anyOf")).is_some_and(Value::is_array)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(properties: &Value, required: &[&str]) -> Form {
        Form::of(json!({"type": "object", "properties": properties, "required": required})).expect("a form")
    }

    #[test]
    fn an_answer_fits_its_form_or_is_told_where_it_does_not() {
        let name = form(&json!({"name": {"type": "string", "minLength": 2}}), &["name"]);
        let mail = form(
            &json!({"to": {"type": "string", "format": "email"}, "cc": {"type": "boolean", "default": true}}),
            &["to"],
        );
        let count = form(&json!({"count": {"type": "integer", "minimum": 1}}), &["count"]);
        let color = form(&json!({"color": {"type": "string", "enum": ["red", "blue"], "default": "red"}}), &[]);
        let several = form(&json!({"of": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}}), &["of"]);
        let nothing = form(&json!({}), &[]);
        let odd = form(&json!({"a/b": {"type": "number"}}), &["a/b"]);
        for (form, text, expected) in [
            (&name, "Ada", Ok(json!({"name": "Ada"}))),
            (&name, r#"{"name": "Ada"}"#, Ok(json!({"name": "Ada"}))),
            // What is no object is meant as it stands.
            (&name, "42", Ok(json!({"name": "42"}))),
            (&name, "A", Err(vec!["/text/name invalid"])),
            (&name, "{}", Err(vec!["/text invalid"])),
            (&name, r#"{"name": "Ada", "age": 3}"#, Err(vec!["/text/age unknown_key"])),
            (&mail, r#"{"to": "a@example.org"}"#, Ok(json!({"to": "a@example.org", "cc": true}))),
            (&mail, r#"{"to": "a@example.org", "cc": false}"#, Ok(json!({"to": "a@example.org", "cc": false}))),
            (&mail, r#"{"to": "nobody", "cc": "yes"}"#, Err(vec!["/text/cc invalid", "/text/to invalid"])),
            (&mail, "a@example.org", Err(vec!["/text not_json"])),
            (&count, "3", Err(vec!["/text wrong_type"])),
            (&count, r#"{"count": 3}"#, Ok(json!({"count": 3}))),
            (&count, r#"{"count": 0}"#, Err(vec!["/text/count invalid"])),
            (&color, "blue", Ok(json!({"color": "blue"}))),
            (&color, "green", Err(vec!["/text/color invalid"])),
            (&color, "{}", Ok(json!({"color": "red"}))),
            (&several, r#"{"of": ["a"]}"#, Ok(json!({"of": ["a"]}))),
            (&several, r#"{"of": ["c"]}"#, Err(vec!["/text/of/0 invalid"])),
            (&nothing, "{}", Ok(json!({}))),
            (&nothing, "yes", Err(vec!["/text not_json"])),
            (&odd, r#"{"a/b": "x"}"#, Err(vec!["/text/a~1b invalid"])),
        ] {
            let filled = form.filled(text).map(Value::Object).map_err(|mistakes| {
                let mut told: Vec<String> =
                    mistakes.iter().map(|mistake| format!("{} {}", mistake.pointer, mistake.code)).collect();
                told.sort();
                told
            });
            let expected = expected.map_err(|told| told.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(filled, expected, "{form} {text}");
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let deep =
            (0..60).fold(json!({"type": "string"}), |inner, _| json!({"type": "object", "properties": {"a": inner}}));
        let many: Map<String, Value> = (0..=FIELDS_MAX).map(|at| (at.to_string(), json!({"type": "string"}))).collect();
        let defs: Map<String, Value> = (0..30)
            .map(|at| {
                let next = json!({"$ref": format!("#/$defs/{}", at + 1)});
                (at.to_string(), json!({"allOf": [next, next]}))
            })
            .chain([("30".to_owned(), json!(true))])
            .collect();
        let bomb = json!({"type": "string", "$ref": "#/$defs/0"});
        for (schema, why) in [
            (json!(null), "none of an object"),
            (json!({"type": "string"}), "none of an object"),
            (json!({"type": "object"}), "no `properties`"),
            (deep, "`a` is neither"),
            (json!({"type": "object", "properties": many}), "101 fields"),
            (
                json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}}),
                "`a` is neither",
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "string", "title": "x".repeat(20_000)}}}),
                "16384 are allowed",
            ),
            (json!({"type": "object", "properties": {"a\u{202e}": {"type": "string"}}}), "`a\\u{202e}`, in its schema"),
            (json!({"type": "object", "properties": {"a": {"type": "string", "enum": ["b\u{200b}"]}}}), "nobody sees"),
            (json!({"type": "object", "properties": {"a": {"type": "string", "default": "\u{1b}[2K"}}}), "nobody sees"),
            (json!({"type": "object", "properties": {"a": {"oneOf": [{"const": "\u{7f}"}]}}}), "nobody sees"),
            (json!({"type": "object", "properties": {"a": {"type": "string", "minLength": "x"}}}), "is none"),
            (
                json!({"type": "object", "properties": {"a": {"type": "string", "$ref": "https://example.org/x"}}}),
                "leads to nothing",
            ),
            (json!({"type": "object", "properties": {"a": bomb}, "$defs": defs}), "more than 100000 parts"),
        ] {
            let told = Form::of(schema).expect_err(why);
            assert!(told.contains(why), "{told}");
        }
    }
}
