//! How a mission is shown as of one of its records, and from where on it lands.
//!
//! Owned here: the forms of the answers. Never here: the fold, which is the core's.

use schemars::JsonSchema;
use serde::Serialize;
use sortie_contract::outcome::Reason;
use sortie_contract::{Status, Timestamp};

use super::{ArtifactView, BudgetView, CallView, CriterionView, LimitView, RequestView, UsageView};

/// From where on a mission lands that asked to be told when one of its limits comes near.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Landing")]
pub struct LandingView {
    /// Run time from which on it lands, in minutes.
    pub from_runtime_minutes: f64,
    /// What it may have spent until then; null where there is no limit.
    pub from: LimitView,
    /// Which limit came near first: `window`, `run_time`, `llm_calls` or `cost`; null while none has.
    pub closing: Option<&'static str>,
    /// Whether its plugin has said that it lands.
    pub lands: bool,
}

/// A mission as of one of its records: what all up to that one come to, and nothing that is known by the clock.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "MissionAt")]
pub struct MissionAtView {
    /// Its name.
    pub mission_id: String,
    /// The record that it is shown as of, counted from 1.
    pub record: u32,
    /// So many there are.
    pub records: u32,
    /// When that record was made.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// What it tells, such as `call_started`.
    pub kind: String,
    /// How the mission stood.
    pub status: Status,
    /// Why it had ended.
    pub reason: Option<Reason>,
    /// The last summary that an event had told.
    pub summary: String,
    /// What people were to do next, once it had ended.
    pub next_action: Option<String>,
    /// What it had used by then.
    pub usage: UsageView,
    /// What held of its budget.
    pub effective_budget: BudgetView,
    /// From where on it was to land; null while its plugin had not asked to be told.
    pub landing: Option<LandingView>,
    /// How often it had been carried over.
    pub carried_over: u32,
    /// What it asked of people.
    pub pending_requests: Vec<RequestView>,
    /// Calls that were being made.
    pub calls_in_flight: Vec<CallView>,
    /// Its success criteria, and what had become of each.
    pub criteria: Vec<CriterionView>,
    /// What it had stored.
    pub artifacts: Vec<ArtifactView>,
    /// That of its latest event.
    pub sequence: u64,
    /// When its first run had begun.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started_at: Option<Timestamp>,
    /// When it had become final.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub ended_at: Option<Timestamp>,
}
