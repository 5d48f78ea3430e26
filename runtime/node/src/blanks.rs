//! What people and agents may leave out of an envelope, and what it is then. A control plane leaves nothing out.

use std::fmt;

use rand::Rng as _;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use sortie_contract::digest::Digest;

/// What may be left out.
pub(crate) const BLANKS: [&str; 7] =
    ["mission_id", "idempotency_key", "trace_id", "vp_id", "source_instance_id", "target_instance_id", "created_at"];

/// The envelope with its blanks filled in. Twice the same are two missions, unless it names its ids: those made up here begin with
/// `prefix`. Who dispatches is `source`, the node `target`, where that is known.
pub(crate) fn filled(
    envelope: &str,
    prefix: &str,
    source: &str,
    target: Option<&str>,
) -> Result<String, serde_json::Error> {
    // Each value as it was written: what is wrong with one is for the reader of envelopes to say.
    let Fields(mut fields) = serde_json::from_str(envelope)?;
    let now = crate::node::system().wall();
    let unique = Digest::of(format!("{now}{}{envelope}", std::process::id()).as_bytes()).to_string();
    let id = format!("{prefix}-{}", &unique[..24]);
    let values =
        [json!(id), json!(id), json!(&unique[..32]), json!("vp.local"), json!(source), json!(target), json!(now)];
    for (key, value) in BLANKS.into_iter().zip(values) {
        if !value.is_null() && !fields.iter().any(|(there, _)| there == key) {
            fields.push((key.to_owned(), to_raw_value(&value)?));
        }
    }
    serde_json::to_string(&Fields(fields))
}

/// Which of them an envelope leaves out; nothing, where it is none.
pub(crate) fn left_out(envelope: &str) -> Vec<&'static str> {
    let Ok(Fields(fields)) = serde_json::from_str(envelope) else { return Vec::new() };
    BLANKS.into_iter().filter(|blank| !fields.iter().any(|(there, _)| there == blank)).collect()
}

/// A key that nobody has used.
pub(crate) fn unique() -> String {
    let mut bytes = [0; 16];
    rand::rng().fill_bytes(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// The members of an object as they were written, one that is there twice too: that is for the reader of envelopes to say.
struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(member) = map.next_entry()? {
                    fields.push(member);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_there_stays_as_it_was_written_also_twice() {
        let given = r#"{"objective": "a", "mission_id": "m", "objective": "b", "budget": 1.50}"#;
        let filled = filled(given, "x", "me", Some("node")).expect("an object");
        for part in [
            r#""objective":"a""#,
            r#""objective":"b""#,
            r#""mission_id":"m""#,
            "1.50",
            r#""target_instance_id":"node""#,
        ] {
            assert!(filled.contains(part), "{part}: {filled}");
        }
        assert_eq!(filled.matches("mission_id").count(), 1, "{filled}");
        assert!(super::filled("[]", "x", "me", None).is_err());
    }
}
