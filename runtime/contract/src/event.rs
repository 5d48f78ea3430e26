//! Events as they leave the node: the contract's section 3, plus `sequence` and `detail`.
//!
//! An event is a view of a journal record; which record becomes which event is decided in `sortie-mission`.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::outcome::Status;

/// The contract's eight lifecycle events (section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EventType {
    /// The mission is on disk and will get a final event.
    #[serde(rename = "mission.accepted")]
    Accepted,
    /// It runs, and this is how far it is.
    #[serde(rename = "mission.progress")]
    Progress,
    /// It waits for an answer: `detail.request` says for which, or `detail.child_request`, where a mission below it asks.
    #[serde(rename = "mission.blocked")]
    Blocked,
    /// It produced an artifact.
    #[serde(rename = "mission.artifact")]
    Artifact,
    /// Final: done.
    #[serde(rename = "mission.completed")]
    Completed,
    /// Final: failed.
    #[serde(rename = "mission.failed")]
    Failed,
    /// Final: cancelled.
    #[serde(rename = "mission.cancelled")]
    Cancelled,
    /// Final: out of time.
    #[serde(rename = "mission.timed_out")]
    TimedOut,
}

impl EventType {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "mission.accepted",
            Self::Progress => "mission.progress",
            Self::Blocked => "mission.blocked",
            Self::Artifact => "mission.artifact",
            Self::Completed => "mission.completed",
            Self::Failed => "mission.failed",
            Self::Cancelled => "mission.cancelled",
            Self::TimedOut => "mission.timed_out",
        }
    }

    /// The event that reports the end in `status`; `None` while it is not final.
    #[must_use]
    pub fn of_end(status: Status) -> Option<Self> {
        match status {
            Status::Completed => Some(Self::Completed),
            Status::Failed => Some(Self::Failed),
            Status::Cancelled => Some(Self::Cancelled),
            Status::TimedOut => Some(Self::TimedOut),
            Status::Queued | Status::Running | Status::Blocked => None,
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a mission has used so far; cumulative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Minutes in which it was running; not those queued or blocked.
    pub runtime_minutes: f64,
    /// Calls of a language model.
    pub llm_calls: u64,
    /// What they and its tools cost, in US dollars.
    pub estimated_cost_usd: f64,
}

/// A lifecycle event: what a callback receives and `GET …/events` lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The mission.
    pub mission_id: String,
    /// The mission that dispatched it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// The VP of its dispatch.
    pub vp_id: String,
    /// The session it was assigned to.
    pub vp_session_id: String,
    /// The lane it was assigned to.
    pub vp_runtime_id: String,
    /// Which of the eight.
    pub event_type: EventType,
    /// The status with this event.
    pub status: Status,
    /// One line for people.
    pub summary: String,
    /// Every artifact so far, as `{mission_id}/{name}`.
    pub artifact_refs: Vec<String>,
    /// What was used so far.
    pub usage: Usage,
    /// From the dispatch.
    pub trace_id: String,
    /// `{mission_id}/{sequence}`: the same on every delivery attempt.
    pub idempotency_key: String,
    /// When it happened.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub emitted_at: Timestamp,
    /// 1, 2, 3 … per mission, without gaps.
    pub sequence: u64,
    /// Depends on the type; an object.
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")]
    pub detail: serde_json::Value,
}
