//! A call of a model among the calls: what a replay compares of it, and what of it stands on record.
//!
//! A conversation grows with each turn, and each of its calls carries all of it: whole on record, a mission of a hundred turns would be
//! mostly repetition. So a long request is on record by its digest, its size and its last message; the plugin makes it anew in a replay,
//! and it is compared to the byte.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use sortie_contract::limit;
use sortie_contract::tool::ToolName;

/// The longest request that is on record as it is, in bytes.
const WHOLE_BYTES_MAX: usize = 16 << 10;

/// Most of its last message that is on record of a longer one, in bytes.
const LAST_BYTES_MAX: usize = 4 << 10;

/// What a plugin asks of a model.
#[derive(Debug, Clone, Copy)]
pub struct ModelCall<'a> {
    /// JSON text, as the plugin wrote it.
    pub request: &'a str,
    /// The tools that the model may ask for.
    pub tools: &'a [ToolName],
}

impl ModelCall<'_> {
    /// All of it: what its digest is made of.
    #[must_use]
    pub fn whole(&self) -> String {
        format!("{{\"request\":{},\"tools\":{}}}", self.request, self.names())
    }

    /// What stands on record, JSON text: all of it, where it is short.
    #[must_use]
    pub fn on_record(&self) -> String {
        let Ok(request) = serde_json::from_str::<&RawValue>(self.request) else {
            let text = limit::clip(self.request, LAST_BYTES_MAX);
            return json!({ "request_text": text, "request_bytes": self.request.len() }).to_string();
        };
        if self.request.len() <= WHOLE_BYTES_MAX {
            return format!("{{\"request\":{},\"tools\":{}}}", request.get(), self.names());
        }
        let request: Value = serde_json::from_str(self.request).unwrap_or_default();
        let messages = request["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let last = messages.last().map(|last| limit::clip(&last.to_string(), LAST_BYTES_MAX));
        json!({
            "model": request["model"].as_str().map(|name| limit::clip(name, limit::ID_BYTES_MAX)),
            "max_tokens": request["max_tokens"].as_u64(),
            "messages": messages.len(),
            "last_message": last,
            "request_bytes": self.request.len(),
            "tools": self.tools.len(),
        })
        .to_string()
    }

    fn names(&self) -> Value {
        self.tools.iter().map(|tool| Value::from(tool.as_str().to_string())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_record_is_short_and_json_whatever_the_request_is() {
        let tools = [ToolName::new("Read")];
        let long = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#, "x".repeat(1 << 20));
        let deep = "[".repeat(100_000);
        for request in [r#"{"messages":[]}"#, "", "no JSON", "null", "[1]", &long, &deep, "\"\u{0}"] {
            let call = ModelCall { request, tools: &tools };
            let on_record = call.on_record();
            assert!(on_record.len() <= WHOLE_BYTES_MAX + LAST_BYTES_MAX, "{}", on_record.len());
            assert!(serde_json::from_str::<Value>(&on_record).is_ok(), "{on_record}");
        }
        let call = ModelCall { request: r#"{"messages":[]}"#, tools: &tools };
        assert_eq!(call.on_record(), r#"{"request":{"messages":[]},"tools":["Read"]}"#);
        assert_eq!(call.on_record(), call.whole());
    }
}
