//! What a client is told whose message is none of the protocol's, as JSON-RPC says it.

use serde_json::{Value, json};

/// It is no JSON.
pub(super) const PARSE_ERROR: i32 = -32_700;

/// It is, and no message.
pub(super) const INVALID_REQUEST: i32 = -32_600;

/// The answer to the message of that name, where its name is known.
pub(super) fn wrong(code: i32, why: &str, id: Option<&Value>) -> Vec<u8> {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": why}}).to_string().into_bytes()
}

/// The name of a message that is none, where it has one.
pub(super) fn id_of(message: &[u8]) -> Option<Value> {
    let id = serde_json::from_slice::<Value>(message).ok()?.get_mut("id").map(Value::take)?;
    (id.is_string() || id.is_i64() || id.is_u64()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_where_there_is_one() {
        for (message, expected) in [
            (r#"{"id": 7}"#, Some(json!(7))),
            (r#"{"id": "a", "method": 3}"#, Some(json!("a"))),
            (r#"{"id": [1]}"#, None),
            (r#"{"id": 1.5}"#, None),
            ("[1]", None),
            ("{", None),
        ] {
            assert_eq!(id_of(message.as_bytes()), expected, "{message}");
        }
    }
}
