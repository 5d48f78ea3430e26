//! Envelopes for tests: valid ones, to be spoilt one field at a time.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A valid automation mission for `factory-1` that may use the workspace tools.
#[must_use]
pub fn automation(id: &str, steps: &Value) -> Value {
    json!({
        "mission_id": id,
        "vp_id": format!("vp.{id}"),
        "source_instance_id": "hq",
        "target_instance_id": "factory-1",
        "mission_type": "automation",
        "objective": "Do the steps.",
        "inputs": { "steps": steps },
        "constraints": { "allowed_tools": ["Read", "Write", "Edit", "Glob", "Grep"] },
        "idempotency_key": id,
        "trace_id": format!("trace-{id}"),
        "created_at": "2026-11-22T00:00:00Z",
    })
}

/// A step that writes a file.
#[must_use]
pub fn write(id: &str, path: &str, content: &str) -> Value {
    json!({ "id": id, "tool": "Write", "with": { "path": path, "content": content } })
}

/// A step that changes a file: neither read-only nor idempotent.
#[must_use]
pub fn edit(id: &str, path: &str, old: &str, new: &str) -> Value {
    json!({ "id": id, "tool": "Edit", "with": { "path": path, "old": old, "new": new } })
}

/// A mission that does nothing but write one file: the shortest that completes.
#[must_use]
pub fn writing(id: &str) -> Value {
    automation(id, &json!([write("w", "note.txt", "written")]))
}

/// A mission that runs for minutes: it waits for a file that nobody writes.
#[must_use]
pub fn looping(id: &str) -> Value {
    let wait = json!({
        "id": "wait", "tool": "Read", "with": { "path": "never.txt" }, "retry": { "attempts": 100, "backoff": "5s" },
    });
    automation(id, &json!([wait]))
}

/// The envelope with `value` at a JSON Pointer, making the objects on the way.
///
/// # Panics
/// If something on the way is no object.
#[must_use]
pub fn with(mut envelope: Value, pointer: &str, value: Value) -> Value {
    let mut place = &mut envelope;
    for key in pointer.trim_start_matches('/').split('/') {
        place = match place {
            Value::Array(list) => &mut list[key.parse::<usize>().expect("an index")],
            _ => &mut place[key],
        };
    }
    *place = value;
    envelope
}

/// The envelope without one of its top-level fields.
///
/// # Panics
/// If it is no object.
#[must_use]
pub fn without(mut envelope: Value, field: &str) -> Value {
    envelope.as_object_mut().expect("an envelope is an object").shift_remove(field);
    envelope
}

/// The time so many milliseconds from now, as the contract writes it.
///
/// # Panics
/// If that is beyond the end of time.
#[must_use]
pub fn in_ms(milliseconds: i64) -> String {
    let now = Timestamp::now();
    now.checked_add(SignedDuration::from_millis(milliseconds)).expect("a time in range").to_string()
}
