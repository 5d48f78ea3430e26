//! Images that a request names instead of showing: artifacts, which this crate cannot read. Whoever can puts them in before the call is
//! quoted.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The names of the artifacts that a request shows, in its order, each once, and how often it shows it. None for a text that is no
/// request.
#[must_use]
pub fn artifacts_of(request: &str) -> Vec<(String, usize)> {
    let mut names: Vec<(String, usize)> = Vec::new();
    let Some(mut value) = suspect(request) else { return names };
    each_image(&mut value, &mut |image| {
        let Some(name) = image["artifact"].as_str() else { return };
        match names.iter_mut().find(|(known, _)| known == name) {
            Some((_, times)) => *times += 1,
            None => names.push((name.to_owned(), 1)),
        }
    });
    names
}

/// The request with the bytes of those artifacts in the place of their names. What is not among them stays, and is refused where the
/// request is read.
#[must_use]
pub fn with_artifacts(request: &str, artifacts: &BTreeMap<String, Vec<u8>>) -> String {
    let Some(mut value) = suspect(request) else { return request.to_owned() };
    each_image(&mut value, &mut |image| {
        let bytes = image["artifact"].as_str().and_then(|name| artifacts.get(name));
        if let (Some(bytes), Value::Object(members)) = (bytes, image) {
            members.shift_remove("artifact");
            members.insert("data".to_owned(), STANDARD.encode(bytes).into());
        }
    });
    value.to_string()
}

/// Reads a request only if it may name an artifact.
fn suspect(request: &str) -> Option<Value> {
    if request.contains("artifact") { serde_json::from_str(request).ok() } else { None }
}

fn each_image(value: &mut Value, see: &mut impl FnMut(&mut Value)) {
    let messages = value.get_mut("messages").and_then(Value::as_array_mut);
    for message in messages.into_iter().flatten() {
        images_in(message, see);
    }
}

/// In the content of a message, or in that of a tool's result.
fn images_in(holder: &mut Value, see: &mut impl FnMut(&mut Value)) {
    let blocks = holder.get_mut("content").and_then(Value::as_array_mut);
    for block in blocks.into_iter().flatten() {
        match block["type"].as_str() {
            // One that has its bytes already is wrong, or names nothing.
            Some("image") if block.get("data").is_none() && block.is_object() => see(block),
            Some("tool_result") => images_in(block, see),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;

    #[test]
    fn artifacts_are_put_where_they_are_named_and_nowhere_else() {
        let request = r#"{"messages": [{"role": "user", "content": "artifact"}, {"role": "assistant", "content": [
            {"type": "tool_use", "id": "1", "name": "x", "input": {"type": "image", "artifact": "in an argument"}}]},
            {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "image", "media_type": "image/png", "artifact": "a.png"}]},
            {"type": "image", "media_type": "image/png", "artifact": "b.png"},
            {"type": "image", "media_type": "image/png", "artifact": "a.png"}]}]}"#;
        assert_eq!(artifacts_of(request), [("a.png".to_owned(), 2), ("b.png".to_owned(), 1)]);
        let one = BTreeMap::from([("a.png".to_owned(), b"a".to_vec())]);
        let missing = Request::parse(&with_artifacts(request, &one)).unwrap_err().to_string();
        assert!(
            missing.starts_with("/messages/2/content/1/artifact: this mission has no artifact `b.png`"),
            "{missing}"
        );
        let both = BTreeMap::from([("a.png".to_owned(), b"a".to_vec()), ("b.png".to_owned(), b"b".to_vec())]);
        let filled = with_artifacts(request, &both);
        assert!(filled.contains("in an argument") && filled.contains(r#""data":"YQ==""#), "{filled}");
        assert_eq!(Request::parse(&filled).unwrap().images().count(), 3);
        for other in ["artifact", "[]", r#"{"messages": "artifact"}"#, r#"{"messages": [{"content": [["artifact"]]}]}"#]
        {
            assert!(artifacts_of(other).is_empty(), "{other}");
            drop(with_artifacts(other, &both));
        }
    }
}
