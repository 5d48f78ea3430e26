//! What is kept of an old body in the envelope that it becomes, and by which a mission is known that came in a dialect.
//!
//! Owns which envelopes are told to have come in one. `source_instance_id` says nothing of that: whoever dispatches an envelope of the contract
//! writes there what they like. Never holds what is kept for more than words: nothing of a mission depends on it.

use serde_json::{Map, Value};

use crate::name::{mission_of_dispatch, mission_of_job};

/// The field of an envelope under which it is kept.
pub(crate) const FIELD: &str = "dialect";

/// The key of it that says in which dialect the body was.
pub(crate) const FORM: &str = "form";

/// What that says of a dispatch over HTTP.
pub(crate) const HTTP: &str = "http";

/// What that says of a job of the Redis stream.
pub(crate) const REDIS: &str = "redis";

/// The key of it that has the name of the job.
pub(crate) const JOB: &str = "job_id";

/// What is kept of the old body that became this envelope, as it is on record; nothing, where it became of none.
///
/// Two things tell: what is kept says in which dialect the body was, and the mission has the name that such a body gives. So neither an
/// envelope of the contract has come in a dialect, whatever source it names, nor a fork or a child of a mission that has.
#[must_use]
pub fn kept(envelope: &str) -> Option<Map<String, Value>> {
    let envelope: Value = serde_json::from_str(envelope).ok()?;
    let kept = envelope.get(FIELD)?.as_object()?;
    let text = |key: &str| envelope.get(key).and_then(Value::as_str);
    let named = match kept.get(FORM)?.as_str()? {
        HTTP => mission_of_dispatch(text("vp_id")?, text("idempotency_key")?),
        REDIS => mission_of_job(kept.get(JOB)?.as_str()?),
        _ => return None,
    };
    (text("mission_id")? == named).then(|| kept.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_envelope_that_no_old_body_became_has_come_in_no_dialect() {
        let http = mission_of_dispatch("vp.a", "k");
        let of = |mission: &str, kept: Value| json!({"mission_id": mission, "vp_id": "vp.a", "idempotency_key": "k", "source_instance_id": "hq", "dialect": kept});
        for (envelope, expected) in [
            (of(&http, json!({"form": "http", "priority": 1})), true),
            (of("bridge-7", json!({"form": "redis", "job_id": "7"})), true),
            (of(&http, Value::Null), false),
            (of(&http, json!({})), false),
            (of(&http, json!({"form": "smoke"})), false),
            (of(&http, json!("http")), false),
            (of(&http, json!({"form": "redis", "job_id": "7"})), false),
            (of("own", json!({"form": "http"})), false),
            (of("own", json!({"form": "redis", "job_id": "7"})), false),
            (of("bridge-7", json!({"form": "redis"})), false),
            (of(&format!("{http}.child-1"), json!({"form": "http"})), false),
            (json!([]), false),
        ] {
            let told = kept(&envelope.to_string());
            assert_eq!(told.is_some(), expected, "{envelope}");
            assert!(told.is_none_or(|told| Value::from(told) == envelope["dialect"]), "{envelope}");
        }
        assert_eq!(kept("no JSON"), None);
    }
}
