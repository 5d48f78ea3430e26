//! How deliveries are shown: how far they are, and why they are no further.
//!
//! Owned here: the form of the answer. Never here: the reading of it.

use schemars::JsonSchema;
use serde::Serialize;
use sortie_contract::Timestamp;

/// How deliveries stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// All of them were made.
    Delivered,
    /// One is on its way or waits for its next attempt.
    Pending,
    /// One was given up for now: an operator decides.
    Parked,
    /// They are done with, though not all of them were made.
    Incomplete,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Delivered, Self::Pending, Self::Parked, Self::Incomplete];
}

/// How far a mission's deliveries are.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DeliveryView {
    /// How they stand.
    pub state: DeliveryState,
    /// So many were made.
    pub delivered: u64,
    /// The keys of those that an operator left out.
    pub skipped: Vec<String>,
    /// So many are recorded.
    pub total: u64,
    /// How often the next one was tried.
    pub attempts: u32,
    /// What came of the last attempt.
    pub error: Option<String>,
    /// When the next one is due; null where it is on its way, or none will be made.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub next_attempt_at: Option<Timestamp>,
}

/// A mission in the list of deliveries.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct UndeliveredView {
    /// Whose deliveries they are.
    pub mission_id: String,
    /// How they stand.
    pub state: DeliveryState,
    /// Where they go; cut where it is long.
    pub status_url: Option<String>,
    /// So many were made.
    pub delivered: u64,
    /// The keys of those that an operator left out.
    pub skipped: Vec<String>,
    /// So many wait.
    pub waiting: u64,
    /// How often the next one was tried.
    pub attempts: u32,
    /// What came of the last attempt.
    pub error: Option<String>,
    /// When the next one is due; null where it is on its way, or none will be made.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub next_attempt_at: Option<Timestamp>,
}

/// Deliveries that were moved along.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Moved {
    /// The mission.
    pub mission_id: String,
    /// How they stand now; null for a token that may not `read`.
    pub delivery: Option<DeliveryView>,
}
