//! An event as it was delivered, read as far as it must be known.

use bytes::Bytes;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::violation::Violation;

/// A delivery: the headers that count, and the body.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    /// `Authorization`.
    pub authorization: String,
    /// `Idempotency-Key`.
    pub idempotency_key: String,
    /// `X-Mission-Id`.
    pub mission_id: String,
    /// `X-Trace-Id`.
    pub trace_id: String,
    /// The body.
    pub body: Bytes,
}

/// Section 2: each event, and the status that goes with it.
const EVENTS: [(&str, &str); 8] = [
    ("mission.accepted", "queued"),
    ("mission.progress", "running"),
    ("mission.blocked", "blocked"),
    ("mission.artifact", "running"),
    ("mission.completed", "completed"),
    ("mission.failed", "failed"),
    ("mission.cancelled", "cancelled"),
    ("mission.timed_out", "timed_out"),
];

/// Section 4.4: whether a mission with this status is closed.
#[must_use]
pub fn is_final(status: &str) -> bool {
    ["completed", "failed", "cancelled", "timed_out"].contains(&status)
}

/// What was used so far: minutes, calls of models, dollars.
pub(crate) type Usage = [f64; 3];

/// What [`Usage`] is made of, and which limit of a budget each has.
pub(crate) const USAGE: [(&str, &str); 3] = [
    ("runtime_minutes", "max_runtime_minutes"),
    ("llm_calls", "max_llm_calls"),
    ("estimated_cost_usd", "max_cost_usd"),
];

/// An event in which each field of section 3 is what it must be, taken by itself.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) mission_id: String,
    /// `vp_id`, `vp_session_id`, `vp_runtime_id`, `trace_id`.
    pub(crate) identity: [(&'static str, String); 4],
    pub(crate) event_type: String,
    pub(crate) status: String,
    pub(crate) sequence: u64,
    pub(crate) usage: Usage,
    /// Of the body: whether a second delivery is the same one.
    pub(crate) digest: [u8; 32],
}

impl Event {
    /// Reads a delivery.
    pub(crate) fn read(delivery: &Delivery) -> Result<Self, Violation> {
        let body: Value = serde_json::from_slice(&delivery.body).map_err(|_| Violation::NoObject)?;
        let body = body.as_object().ok_or(Violation::NoObject)?;
        let (event_type, status) = (text(body, "event_type")?, text(body, "status")?);
        let expected = EVENTS.iter().find(|(event, _)| *event == event_type);
        match expected {
            None => return Err(Violation::NoSuchEvent(event_type)),
            Some((_, expected)) if *expected != status => return Err(Violation::Status { event: event_type, status }),
            Some(_) => {}
        }
        let (mission_id, trace_id) = (text(body, "mission_id")?, text(body, "trace_id")?);
        let sequence = body.get("sequence").and_then(Value::as_u64).ok_or(Violation::Field("sequence", "number"))?;
        let key = text(body, "idempotency_key")?;
        if key != format!("{mission_id}/{sequence}") {
            return Err(Violation::Key(key));
        }
        let headers = [
            ("Idempotency-Key", &key, &delivery.idempotency_key),
            ("X-Mission-Id", &mission_id, &delivery.mission_id),
            ("X-Trace-Id", &trace_id, &delivery.trace_id),
        ];
        for (header, expected, found) in headers {
            if expected != found {
                return Err(Violation::Header { header, expected: expected.clone(), found: found.clone() });
            }
        }
        text(body, "summary")?;
        let emitted: Result<jiff::Timestamp, _> = text(body, "emitted_at")?.parse();
        emitted.map_err(|_| Violation::Field("emitted_at", "time of ISO 8601"))?;
        let references = texts(body.get("artifact_refs")).ok_or(Violation::Field("artifact_refs", "list of texts"))?;
        if is_final(&status) {
            ending(body, references)?;
        }
        let usage = usage(body)?;
        let identity = [
            ("vp_id", text(body, "vp_id")?),
            ("vp_session_id", text(body, "vp_session_id")?),
            ("vp_runtime_id", text(body, "vp_runtime_id")?),
            ("trace_id", trace_id),
        ];
        let digest = Sha256::digest(&delivery.body).into();
        Ok(Self { mission_id, identity, event_type, status, sequence, usage, digest })
    }
}

/// Section 6.3: an index of what it leaves, and what to do next.
fn ending(body: &Map<String, Value>, references: usize) -> Result<(), Violation> {
    let detail = body.get("detail").and_then(Value::as_object).ok_or(Violation::Ending("detail"))?;
    let said = |name| detail.get(name).and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty());
    for name in ["reason", "next_action"] {
        if !said(name) {
            return Err(Violation::Ending(name));
        }
    }
    let index = detail.get("artifacts").and_then(Value::as_array);
    if index.is_none_or(|index| index.len() != references) { Err(Violation::Ending("artifacts")) } else { Ok(()) }
}

fn usage(body: &Map<String, Value>) -> Result<Usage, Violation> {
    let usage = body.get("usage").and_then(Value::as_object).ok_or(Violation::Field("usage", "object"))?;
    let mut numbers = Usage::default();
    for (number, (name, _)) in numbers.iter_mut().zip(USAGE) {
        let found = usage.get(name).and_then(Value::as_f64).filter(|found| *found >= 0.0);
        *number = found.ok_or(Violation::Field("usage", "record of what was used"))?;
    }
    Ok(numbers)
}

fn text(body: &Map<String, Value>, name: &'static str) -> Result<String, Violation> {
    let found = body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    found.map(str::to_owned).ok_or(Violation::Field(name, "text"))
}

/// How many there are, where all are texts.
fn texts(list: Option<&Value>) -> Option<usize> {
    let list = list?.as_array()?;
    list.iter().all(Value::is_string).then_some(list.len())
}
