//! How a night is shown.

use schemars::JsonSchema;
use serde::Serialize;
use sortie_contract::outcome::Reason;
use sortie_contract::{Spend, Status, Timestamp};
use sortie_mission::Left;

use super::{SpendView, WindowView};

/// What happened in a night.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Night")]
pub struct NightView {
    /// The date on which it ends.
    #[schemars(extend("format" = "date"))]
    pub date: String,
    /// When it begins: at 18:00 of the day before, by the clock of the node's zone.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub from: Timestamp,
    /// When it ends, exclusive: at 18:00.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub until: Timestamp,
    /// The node's zone.
    pub time_zone: String,
    /// Whether it is over; until then it says how things stand.
    pub over: bool,
    /// Missions that were completed in it.
    pub done: usize,
    /// Those that failed, or whose time ran out.
    pub failed: usize,
    /// Those that somebody cancelled.
    pub cancelled: usize,
    /// Those that go on in a further window.
    pub carried_over: usize,
    /// Those that wait for people.
    pub waiting: usize,
    /// Those that run, or sleep.
    pub running: usize,
    /// Those that wait for their turn.
    pub queued: usize,
    /// What calls cost in it.
    pub spent: SpendView,
    /// Times of schedules that made a mission.
    pub fired: u64,
    /// Those of them that were late by more than a minute.
    pub late: u64,
    /// Times that were left out for a reason that their schedule names (an overlap, a pause), or at which their lane was closed.
    pub skipped: u64,
    /// Times whose missions the node did not take.
    pub refused: u64,
    /// Times that were missed.
    pub missed: u64,
    /// Which were missed, or refused.
    pub gaps: Vec<GapView>,
    /// The lanes, with what of the night they are shut.
    pub lanes: Vec<NightLane>,
    /// When the clock of the zone is set in it.
    #[schemars(with = "Vec<String>")]
    pub clock_changes: Vec<Timestamp>,
    /// Whether something failed, was missed or refused, or waits for people.
    pub needs_people: bool,
    /// What begins next by itself; null where nothing does, and of any night but the one in which it is now.
    pub next_window: Option<NextWindow>,
    /// Its missions: first those that wait for people, then those that failed. At most 500.
    pub missions: Vec<NightLine>,
    /// Whether there are more of them.
    pub more: bool,
}

/// A lane in a night.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NightLane {
    /// Its name.
    pub id: String,
    /// When it is shut, or the node with it: in order, apart from each other.
    pub closed: Vec<StretchView>,
}

/// A stretch of time.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Stretch")]
pub struct StretchView {
    /// From then on.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub from: Timestamp,
    /// Before that.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub until: Timestamp,
}

/// Times of a schedule that were missed, or whose missions were not taken.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Gap")]
pub struct GapView {
    /// The schedule.
    pub schedule: String,
    /// The first of them.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub first: Timestamp,
    /// The last.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last: Timestamp,
    /// How many.
    pub count: u64,
    /// Why.
    pub reason: String,
}

impl GapView {
    /// Of these.
    pub(crate) fn new(schedule: &str, (first, last, count): (Timestamp, Timestamp, u64), reason: &str) -> Self {
        Self { schedule: schedule.to_owned(), first, last, count, reason: reason.to_owned() }
    }
}

/// What begins next by itself.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NextWindow {
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// The schedule that fires then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The mission whose window opens then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mission_id: Option<String>,
}

/// A mission of a night.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NightLine {
    /// Its name.
    pub mission_id: String,
    /// Who it is done as.
    pub vp_id: String,
    /// The lane that it belongs to.
    pub vp_runtime_id: String,
    /// How the night left it.
    #[schemars(extend("enum" = Left::NAMES))]
    pub left: &'static str,
    /// How it stands now.
    pub status: Status,
    /// Why it ended.
    pub reason: Option<Reason>,
    /// The last summary that an event told.
    pub summary: String,
    /// What its calls cost in the night.
    pub spent: SpendView,
    /// When it may run: its own window, or that which it was carried over into.
    pub autonomy_window: WindowView,
    /// When it was accepted.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub accepted_at: Timestamp,
    /// When its first run began.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started_at: Option<Timestamp>,
    /// Since when it waits for people; null where it does not.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub asked_at: Option<Timestamp>,
    /// Whether it runs, and lands: it uses what was kept for its end.
    pub lands: bool,
    /// When it became final.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub ended_at: Option<Timestamp>,
}

impl From<Spend> for SpendView {
    fn from(spend: Spend) -> Self {
        Self { llm_calls: spend.llm_calls, cost_usd: spend.cost.as_usd() }
    }
}
