//! Numbers as they are written, past the protocol's library.
//!
//! It reads what it hears into values, and writes what it tells of values: `1.10` becomes `1.1`, and a whole number beyond 64 bits the double
//! next to it. So the text goes beside the value, in the `_meta` of the message, from where the bytes are to where they mean something, and
//! back; neither servers nor missions see it there. Only where it makes a difference, which for most messages it does not.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rmcp::model::JsonObject;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sortie_contract::envelope::{in_one_line, rewritten};

use crate::MESSAGE_BYTES_MAX;

/// Beside the arguments of a call.
const ARGUMENTS: &str = "sortie/arguments-as-written";

/// Beside the structured content of a result.
const STRUCTURED: &str = "sortie/structured-as-written";

const STRUCTURED_CONTENT: &str = "structuredContent";

/// Puts the text that arguments were read from beside them.
pub(crate) fn note_arguments(meta: &mut JsonObject, arguments: &Value, text: &str) {
    if let Some(written) = differing(arguments, text) {
        meta.insert(ARGUMENTS.to_owned(), written.get().into());
    }
}

/// What is sent to a server in the place of this message. None where it is the message itself.
pub(crate) fn told(message: &[u8]) -> Option<Vec<u8>> {
    if !holds(message, ARGUMENTS) {
        return None;
    }
    let Value::Object(mut message) = serde_json::from_slice(message).ok()? else { return None };
    let params = message.get_mut("params")?.as_object_mut()?;
    let written = params.get_mut("_meta")?.as_object_mut()?.remove(ARGUMENTS)?;
    let written = RawValue::from_string(written.as_str()?.to_owned()).ok()?;
    let params = with(params, "arguments", &written)?;
    with(&message, "params", &params).map(|message| message.get().as_bytes().to_vec())
}

/// What is read in the place of this message of a server. None where it is the message itself.
pub(crate) fn heard(message: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        result: Result<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Result<'a> {
        #[serde(borrow)]
        structured_content: &'a RawValue,
    }
    if !holds(message, STRUCTURED_CONTENT) {
        return None;
    }
    let Message { result: Result { structured_content: text } } = serde_json::from_slice(message).ok()?;
    let written = differing(&serde_json::from_str(text.get()).ok()?, text.get())?;
    let mut message: Value = serde_json::from_slice(message).ok()?;
    let meta = message.get_mut("result")?.as_object_mut()?.entry("_meta").or_insert_with(|| JsonObject::new().into());
    if !meta.is_object() {
        *meta = JsonObject::new().into();
    }
    meta[STRUCTURED] = written.get().into();
    serde_json::to_vec(&message).ok().filter(|message| message.len() < MESSAGE_BYTES_MAX)
}

/// The structured content of a result as it was written, with what `clean` makes of its texts; where there is any, and it is another text
/// than that of the value. A server may say anything there.
pub(crate) fn structured(answer: &Value, clean: impl Fn(&str) -> Cow<'_, str>) -> Option<Box<RawValue>> {
    let text = answer["_meta"][STRUCTURED].as_str()?;
    let is_it = serde_json::from_str::<Value>(text).is_ok_and(|value| Some(&value) == answer.get(STRUCTURED_CONTENT));
    if is_it { rewritten(text, clean) } else { None }
}

/// An object with this in one of its fields.
pub(crate) fn with(object: &JsonObject, field: &str, written: &RawValue) -> Option<Box<RawValue>> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Field<'a> {
        Value(&'a Value),
        Written(&'a RawValue),
    }
    let mut fields: BTreeMap<&str, Field<'_>> =
        object.iter().map(|(key, value)| (key.as_str(), Field::Value(value))).collect();
    fields.insert(field, Field::Written(written));
    serde_json::value::to_raw_value(&fields).ok()
}

/// The text in one line, where it is another than that of the value that was read from it.
fn differing(value: &Value, text: &str) -> Option<Box<RawValue>> {
    let plain = value.to_string();
    in_one_line(text).filter(|written| written.get() != plain)
}

fn holds(message: &[u8], name: &str) -> bool {
    str::from_utf8(message).is_ok_and(|message| message.contains(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NUMBERS: &str = r#"{"n":[1.10,1e3,-0,-0.0,0.1,123456789012345678901234567890,9007199254740993,3.0]}"#;

    #[test]
    fn arguments_are_sent_as_they_were_written() {
        let arguments: Value = serde_json::from_str(NUMBERS).expect("JSON");
        let message =
            |meta: &JsonObject| json!({"method": "tools/call", "params": {"arguments": arguments, "_meta": meta}});
        let mut meta = JsonObject::new();
        meta.insert("a".to_owned(), 1.into());
        let plain = message(&meta).to_string();
        assert_eq!(told(plain.as_bytes()), None);
        note_arguments(&mut meta, &json!({"n": 1.5}), r#" {"n": 1.5} "#);
        assert_eq!(meta.len(), 1, "there is nothing to tell");
        note_arguments(&mut meta, &arguments, NUMBERS);
        let told = told(message(&meta).to_string().as_bytes()).expect("another message");
        let told = String::from_utf8(told).expect("a text");
        assert!(told.contains(&format!(r#""arguments":{NUMBERS}"#)), "{told}");
        assert_eq!(serde_json::from_str::<Value>(&told).expect("JSON").to_string().len(), plain.len(), "{told}");
    }

    #[test]
    fn structured_content_is_read_as_it_was_written() {
        fn clean(text: &str) -> Cow<'_, str> {
            if text == "secret" { Cow::Owned("***".to_owned()) } else { Cow::Borrowed(text) }
        }
        let answer = |message: &str| {
            let heard = heard(message.as_bytes());
            let message: Value = serde_json::from_slice(heard.as_deref().unwrap_or(message.as_bytes())).expect("JSON");
            structured(&message["result"], clean).map(|written| written.get().to_owned())
        };
        let of = |structured: &str, meta: &str| {
            format!(r#"{{"id":1,"result":{{"content":[],"structuredContent":{structured}{meta}}}}}"#)
        };
        for meta in
            ["", r#","_meta":{"a":1}"#, r#","_meta":null"#, r#","_meta":{"sortie/structured-as-written":"[2]"}"#]
        {
            assert_eq!(answer(&of(NUMBERS, meta)).as_deref(), Some(NUMBERS), "{meta}");
        }
        assert_eq!(
            answer(&of(r#"{"secret": "secret", "n": 1.0e0}"#, "")).as_deref(),
            Some(r#"{"***":"***","n":1.0e0}"#)
        );
        for other in ["null", "{}", r#"{"n": 1.5}"#, r#"{"a": 1.10, "a": 2}"#] {
            assert_eq!(answer(&of(other, "")), None, "{other}");
        }
        // What a server says of it itself, it is not taken at its word.
        assert_eq!(answer(&of(r#"{"n":1}"#, r#","_meta":{"sortie/structured-as-written":"{\"n\":2}"}"#)), None);
    }
}
