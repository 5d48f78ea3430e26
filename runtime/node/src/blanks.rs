//! What people and agents may leave out of an envelope, and what it is then. A control plane leaves nothing out.

use std::collections::BTreeMap;

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
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(envelope)?;
    let now = crate::node::system().wall();
    let unique = Digest::of(format!("{now}{}{envelope}", std::process::id()).as_bytes()).to_string();
    let id = format!("{prefix}-{}", &unique[..24]);
    let values =
        [json!(id), json!(id), json!(&unique[..32]), json!("vp.local"), json!(source), json!(target), json!(now)];
    for (key, value) in BLANKS.into_iter().zip(values) {
        if !value.is_null() && !fields.contains_key(key) {
            fields.insert(key.to_owned(), to_raw_value(&value)?);
        }
    }
    serde_json::to_string(&fields)
}
