//! How it is shown why a mission stands as it does.

use schemars::JsonSchema;
use serde::Serialize;
use sortie_contract::outcome::Reason;
use sortie_contract::{Status, Timestamp};
use sortie_mission::Cause;

use super::{RequestView, WaitView};

/// Why a mission stands as it does.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct WhyView {
    /// Its name.
    pub mission_id: String,
    /// How it stands.
    pub status: Status,
    /// Why it ended.
    pub reason: Option<Reason>,
    /// What it waits for; null where it does not wait.
    pub waits_for: Option<WaitView>,
    /// What led there, the nearest cause first, and how it ended before all, if it did.
    pub causes: Vec<CauseView>,
    /// What it asks of people, and nobody has decided.
    pub pending_requests: Vec<RequestView>,
    /// What people are to do next, once it has ended.
    pub next_action: Option<String>,
}

/// A record, and what it has to do with how the mission stands.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Cause")]
pub struct CauseView {
    /// Its number in the journal, from 1.
    pub record: u64,
    /// When it was recorded.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// For people.
    pub says: String,
}

impl From<Cause> for CauseView {
    fn from(Cause { record, at, says }: Cause) -> Self {
        Self { record, at, says }
    }
}
