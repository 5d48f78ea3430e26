//! What the tests of the envelope share: a good envelope, and ways to change it.

use serde_json::{Value, json};
use sortie_contract::{Envelope, Parsed};

/// An envelope with every field of the contract.
pub(crate) fn good() -> Value {
    json!({
        "mission_id": "vp-mission-5f1d7a84be9d6e7cba0c2f11",
        "vp_id": "vp.coder.primary",
        "vp_session_id": "vp.coder.primary.external",
        "vp_runtime_id": "runtime.coder.external",
        "source_instance_id": "simone-hq",
        "target_instance_id": "factory-1",
        "mission_type": "automation",
        "objective": "Collect the open items from inbox.md and write todo.md.",
        "constraints": { "allowed_tools": ["Read", "Write"], "forbidden_tools": ["Bash"], "approval_required": ["outbound_email"] },
        "budget": { "max_runtime_minutes": 30, "max_llm_calls": 60, "max_cost_usd": 5.5 },
        "autonomy_window": { "start_at": "2026-11-22T22:00:00Z", "end_at": "2026-11-23T06:00:00+01:00" },
        "heartbeat_interval_seconds": 900,
        "report_cadence": "milestone",
        "success_criteria": ["todo.md exists"],
        "artifact_policy": { "required_outputs": ["todo.md"], "storage_scope": "factory" },
        "callback": { "status_url": "http://127.0.0.1:9000/factory/events", "auth_mode": "bearer", "auth_ref": "env://UA_INTERNAL_API_TOKEN" },
        "idempotency_key": "todo-collect-2026-11-22",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "created_at": "2026-11-22T21:59:30Z"
    })
}

/// A good envelope in which one field is another.
pub(crate) fn with(pointer: &str, value: impl Into<Value>) -> Value {
    let mut envelope = good();
    set(&mut envelope, pointer, value.into());
    envelope
}

/// Sets a field; the object that it is in is made if need be.
pub(crate) fn set(envelope: &mut Value, pointer: &str, value: Value) {
    let field = pointer.split('/').skip(1).fold(envelope, |object, key| &mut object[key]);
    *field = value;
}

/// A good envelope that lacks a field.
pub(crate) fn without(pointer: &str) -> Value {
    let mut envelope = good();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    envelope.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object").remove(key).expect("a field");
    envelope
}

/// What is taken of an envelope that is good.
pub(crate) fn taken(envelope: &Value) -> Parsed {
    Envelope::parse(&envelope.to_string()).unwrap_or_else(|rejected| panic!("{envelope:#}\n{rejected}"))
}

/// The places and codes of what is wrong with one that is not.
pub(crate) fn refused(envelope: &Value) -> Vec<(String, String)> {
    mistakes(&envelope.to_string())
}

/// The places and codes of what is wrong with a text.
pub(crate) fn mistakes(text: &str) -> Vec<(String, String)> {
    let rejected = Envelope::parse(text).err().unwrap_or_else(|| panic!("taken, and should not be: {text}"));
    rejected.mistakes.into_iter().map(|mistake| (mistake.pointer.to_string(), mistake.code)).collect()
}

/// Holds that exactly this is wrong.
#[track_caller]
pub(crate) fn check(envelope: &Value, expected: &[(&str, &str)]) {
    let found = refused(envelope);
    let found: Vec<_> = found.iter().map(|(place, code)| (place.as_str(), code.as_str())).collect();
    assert_eq!(found, expected, "{envelope:#}");
}
