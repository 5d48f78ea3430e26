//! How missions are shown: in a list, whole, and record by record; and what they ask of people.
//!
//! Owned here: the forms of the answers. Never here: the reading of them, and what is hidden from whom.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sortie_contract::envelope::{EffectiveBudget, MissionType, OnExpiry, Window};
use sortie_contract::outcome::{Reason, Verdict};
use sortie_contract::plugin::PluginIdentity;
use sortie_contract::request::RequestKind;
use sortie_contract::{MicroUsd, Spend, Status, Timestamp};
use sortie_journal::Quarantine;

use super::{DeliveryState, DeliveryView, ForkedView, KeptView, LandingView};

/// The state of a mission.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct MissionView {
    /// Its name.
    pub mission_id: String,
    /// Who it is done as.
    pub vp_id: String,
    /// The session that it belongs to.
    pub vp_session_id: String,
    /// The lane that it belongs to.
    pub vp_runtime_id: String,
    /// What kind of work it is.
    pub mission_type: MissionType,
    /// What it is to do.
    pub objective: String,
    /// Carried everywhere.
    pub trace_id: String,
    /// Who dispatched it.
    pub source_instance_id: String,
    /// With that: what makes a second dispatch the same one.
    pub idempotency_key: String,
    /// How it stands.
    pub status: Status,
    /// Why it ended.
    pub reason: Option<Reason>,
    /// The last summary that an event told.
    pub summary: String,
    /// What people are to do next, once it has ended.
    pub next_action: Option<String>,
    /// What it has used.
    pub usage: UsageView,
    /// What holds of its budget.
    pub effective_budget: BudgetView,
    /// From where on it lands; null where its plugin has not asked to be told when a limit comes near.
    pub landing: Option<LandingView>,
    /// When it may run, as its envelope says.
    pub autonomy_window: WindowView,
    /// When it may run: its own window, or that which it was carried over into, and what the hours of its lane and node leave of it;
    /// null where that is nothing.
    pub effective_window: Option<EffectiveWindowView>,
    /// How often it was carried over into a further window.
    pub carried_over: u32,
    /// What it asks of people, and nobody has decided.
    pub pending_requests: Vec<RequestView>,
    /// What becomes of a request that nobody answers in time.
    #[schemars(extend("enum" = OnExpiry::ALL.map(OnExpiry::as_str)))]
    pub on_expiry: &'static str,
    /// What it waits for; null where it does not wait.
    pub waits_for: Option<WaitView>,
    /// Calls that are being made.
    pub calls_in_flight: Vec<CallView>,
    /// Its success criteria, and what became of each.
    pub criteria: Vec<CriterionView>,
    /// What it has stored.
    pub artifacts: Vec<ArtifactView>,
    /// Which plugin runs it.
    pub plugin: PluginName,
    /// How far its deliveries are; null where nothing is delivered.
    pub delivery: Option<DeliveryView>,
    /// What was odd about its envelope.
    pub warnings: Vec<String>,
    /// Why not all that was recorded of it can be read; null where all of it can.
    pub quarantine: Option<QuarantineView>,
    /// That somebody wants it kept whatever its age; null where it goes when its time has come.
    pub kept: Option<KeptView>,
    /// That of its latest event.
    pub sequence: u64,
    /// So many records it consists of: `?at=N` shows it as of one of them.
    pub records: u32,
    /// When it was accepted.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub accepted_at: Timestamp,
    /// When its first run began.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started_at: Option<Timestamp>,
    /// When it became final.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub ended_at: Option<Timestamp>,
    /// Where it comes from, if it is a fork; else null.
    pub forked_from: Option<ForkedView>,
    /// The mission that dispatched it; else null.
    pub parent_id: Option<String>,
    /// How many missions it has dispatched.
    pub children: u32,
    /// When its envelope was made.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: Timestamp,
    /// Where the rest of it is.
    pub links: Links,
}

/// A mission whose records cannot all be read.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct QuarantineView {
    /// Since when that is known.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// What cannot be read.
    pub why: String,
    /// So many of its records can.
    pub records_read: u32,
    /// What to do.
    pub remedy: String,
}

impl From<&Quarantine> for QuarantineView {
    fn from(quarantine: &Quarantine) -> Self {
        let remedy =
            "Its bytes are kept as they are: restore the node's data folder from a backup to have its records back.";
        Self {
            since: quarantine.at,
            why: quarantine.why.clone(),
            records_read: quarantine.readable,
            remedy: remedy.to_owned(),
        }
    }
}

/// What a mission has used so far, and what is set aside.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct UsageView {
    /// Minutes in which it was running; not those queued or blocked.
    pub runtime_minutes: f64,
    /// Calls of a language model.
    pub llm_calls: u64,
    /// What they and its tools cost, in US dollars.
    pub estimated_cost_usd: f64,
    /// The most that the calls may cost that are being made now.
    pub reserved: SpendView,
}

impl UsageView {
    /// Of these.
    pub fn new(runtime_minutes: f64, spent: Spend, reserved: Spend) -> Self {
        Self {
            runtime_minutes,
            llm_calls: spent.llm_calls,
            estimated_cost_usd: spent.cost.as_usd(),
            reserved: SpendView { llm_calls: reserved.llm_calls, cost_usd: reserved.cost.as_usd() },
        }
    }
}

/// Calls of a language model, and money.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Spend")]
pub struct SpendView {
    /// Calls of a language model.
    pub llm_calls: u64,
    /// In US dollars.
    pub cost_usd: f64,
}

/// What a call wants of a budget that does not cover it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BudgetRequest")]
pub struct ShortageView {
    /// The most that the call may cost.
    pub wanted: SpendView,
    /// What the mission has spent.
    pub spent: SpendView,
    /// What is set aside for calls that are being made.
    pub reserved: SpendView,
    /// What it may spend, with what was granted so far.
    pub limit: LimitView,
}

/// The most that may be spent; null where there is no limit.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SpendLimit")]
pub struct LimitView {
    /// Calls of a language model.
    pub llm_calls: Option<u64>,
    /// In US dollars.
    pub cost_usd: Option<f64>,
}

/// What holds of a budget; null where there is no limit.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct BudgetView {
    /// Run time, in minutes.
    pub max_runtime_minutes: f64,
    /// Calls of models.
    pub max_llm_calls: Option<u64>,
    /// Money, in US dollars.
    pub max_cost_usd: Option<f64>,
}

impl From<&EffectiveBudget> for BudgetView {
    fn from(budget: &EffectiveBudget) -> Self {
        Self {
            max_runtime_minutes: minutes(budget.runtime_ms_max),
            max_llm_calls: budget.llm_calls_max,
            max_cost_usd: budget.cost_max.map(MicroUsd::as_usd),
        }
    }
}

/// Milliseconds as the contract's minutes.
#[expect(clippy::cast_precision_loss, reason = "run times stay far below 2^53 milliseconds")]
pub fn minutes(ms: u64) -> f64 {
    ms as f64 / 60_000.0
}

/// When a mission may run: from `start_at` on, and no longer at `end_at`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct WindowView {
    /// Not before this; null: at once.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub start_at: Option<Timestamp>,
    /// Not at this or later; null: for ever.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub end_at: Option<Timestamp>,
}

impl From<&Window> for WindowView {
    fn from(window: &Window) -> Self {
        Self { start_at: window.start_at, end_at: window.end_at }
    }
}

/// What the hours of lane and node leave of a mission's window, from now on: its next open stretch.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "EffectiveWindow")]
pub struct EffectiveWindowView {
    /// Not before this; null: at once.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub start_at: Option<Timestamp>,
    /// Not at this or later; null: for ever.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub end_at: Option<Timestamp>,
    /// Who says that it does not open earlier.
    pub opens_by: LimitedBy,
    /// Who says that it closes then.
    pub closes_by: LimitedBy,
}

/// Who limits a mission's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitedBy {
    /// Its envelope.
    Mission,
    /// The schedule that made it.
    Schedule,
    /// The hours of its lane; where there are none in sight in which lane and node both are open, these too.
    Lane,
    /// The hours of the node.
    Node,
}

/// What a mission asks of people: what they need to decide.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Request")]
pub struct RequestView {
    /// Its name within its mission.
    pub request_id: String,
    /// What is asked for.
    pub kind: RequestKind,
    /// For people.
    pub question: String,
    /// What can be decided.
    pub decisions: Vec<String>,
    /// When it was made.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub asked_at: Timestamp,
    /// When the mission gives up.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub expires_at: Timestamp,
    /// Of the call that waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// As JSON; as a text, where they are none. Where they are too long to be shown whole: their beginning, as a text that is shorter than
    /// `arguments_bytes`; the whole of them is in the journal of the mission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
    /// Of a call that was approved with other arguments: those that its plugin wanted, in the same form. Lists leave them out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments_wanted: Option<Value>,
    /// How long they are, as they were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments_bytes: Option<u64>,
    /// Their digest, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments_sha256: Option<String>,
    /// Where the tool asks, which the call waits with: what an answer must be, a JSON Schema of an object. The answer's `text` is such an object, as
    /// JSON text, or what goes into its only field, where that takes a text. Lists leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// Of a request for more budget: how much is wanted, and how much there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<ShortageView>,
}

/// An open request in a list, with whose it is. Its question and arguments are cut where they are long: the mission shows more of them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OpenRequestView {
    /// What is asked.
    #[serde(flatten)]
    pub request: RequestView,
    /// Whose it is.
    pub mission_id: String,
    /// Of its mission; cut where it is long.
    pub objective: String,
    /// Where a decision is sent.
    pub answer_at: String,
}

/// A success criterion, and what the plugin found.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CriterionView {
    /// In the words of the envelope.
    pub criterion: String,
    /// What the plugin found.
    pub verdict: Verdict,
    /// Why; empty where nobody looked.
    pub evidence: String,
}

/// An artifact, with where its bytes are.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Artifact")]
pub struct ArtifactView {
    /// Its name within its mission; may have slashes.
    pub name: String,
    /// What kind of bytes they are.
    pub media_type: String,
    /// How many.
    pub bytes: u64,
    /// Their digest, in hexadecimal.
    pub sha256: String,
    /// A path of this node, or an address of the control plane.
    pub r#where: String,
}

/// What a mission waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitKind {
    /// That its window opens.
    Window,
    /// That the node starts missions again: it is paused.
    NodePaused,
    /// That the pause of the schedule that made it is over: it was carried over, and its window is open.
    SchedulePaused,
    /// That its lane and the node open: they have hours.
    Hours,
    /// The missions of its session that come first.
    Session,
    /// Room in its lane.
    Lane,
    /// Room on the node.
    Node,
    /// Its turn, which comes at once.
    Turn,
    /// A decision of people.
    People,
    /// A time that its plugin named.
    Time,
    /// A provider that refuses a call for now, such as a model's: the call is made again then.
    Provider,
    /// The missions that it has dispatched.
    Missions,
    /// Money: what other calls have set aside, or a budget wider than the mission, which is renewed then.
    Budget,
    /// The files of its session, which are on the disk of another node.
    WorkspaceElsewhere,
    /// The files of its session, which are gone from the store that nodes share, or are not what was kept.
    WorkspaceDamaged,
}

impl WaitKind {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Window,
        Self::NodePaused,
        Self::SchedulePaused,
        Self::Hours,
        Self::Session,
        Self::Lane,
        Self::Node,
        Self::Turn,
        Self::People,
        Self::Time,
        Self::Provider,
        Self::Missions,
        Self::Budget,
        Self::WorkspaceElsewhere,
        Self::WorkspaceDamaged,
    ];
}

/// What a mission waits for, and for how long at most.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct WaitView {
    /// What.
    pub what: WaitKind,
    /// When that comes, or when whoever asks people gives up; null where nobody knows.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub until: Option<Timestamp>,
    /// Of a session: the mission that comes first; of people, where one below it asks them and it does not: that one, of a mission that is looked at by itself, not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mission_id: Option<String>,
    /// Of a provider: which one refuses for now, and what it said; of a budget, what is short; of a lane, that other nodes have it; of a
    /// workspace, where its files are, or should be, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A call that has no result yet.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CallView {
    /// Its number among the calls of its mission.
    pub call: u32,
    /// The tool.
    pub tool: String,
    /// When it was granted.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started_at: Timestamp,
}

/// A mission in a list: what its head tells. The mission itself shows the rest.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct MissionLine {
    /// Its name.
    pub mission_id: String,
    /// The mission that dispatched it; else null.
    pub parent_id: Option<String>,
    /// Who it is done as.
    pub vp_id: String,
    /// The session that it belongs to.
    pub vp_session_id: String,
    /// The lane that it belongs to.
    pub vp_runtime_id: String,
    /// What kind of work it is.
    pub mission_type: MissionType,
    /// What it is to do; cut where it is long.
    pub objective: String,
    /// Carried everywhere.
    pub trace_id: String,
    /// Who dispatched it.
    pub source_instance_id: String,
    /// With that: what makes a second dispatch the same one.
    pub idempotency_key: String,
    /// How it stands.
    pub status: Status,
    /// Why it ended.
    pub reason: Option<Reason>,
    /// Whether not all that was recorded of it can be read.
    pub quarantined: bool,
    /// Whether somebody wants it kept whatever its age.
    pub kept: bool,
    /// The latest thing that people were told of it; cut where it is long.
    pub summary: String,
    /// What it has used, as of its latest change that a list shows.
    pub usage: UsageView,
    /// What holds of its budget.
    pub effective_budget: BudgetView,
    /// When it may run: its own window, or that which it was carried over into.
    pub autonomy_window: WindowView,
    /// So many requests wait for people.
    pub open_requests: u32,
    /// What it waits for; null where it does not wait.
    pub waits_for: Option<WaitView>,
    /// How its deliveries stand; null where nothing is delivered.
    pub delivery: Option<DeliveryState>,
    /// Which plugin it runs on.
    pub plugin: PluginName,
    /// When it was accepted.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub accepted_at: Timestamp,
    /// When its first run began.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started_at: Option<Timestamp>,
    /// When it became final.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub ended_at: Option<Timestamp>,
    /// Where the rest of it is.
    pub links: Links,
}

/// Which plugin, to the byte.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PluginName {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Of its component, in hexadecimal.
    pub digest: String,
}

impl From<&PluginIdentity> for PluginName {
    fn from(plugin: &PluginIdentity) -> Self {
        let PluginIdentity { name, version, digest } = plugin;
        Self { name: name.clone(), version: version.clone(), digest: digest.to_string() }
    }
}

/// A record of a mission's journal.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RecordView {
    /// From 1.
    pub record: u64,
    /// When it was recorded.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Milliseconds that the mission had been running.
    pub ran_ms: u64,
    /// What it tells, such as `call_started`.
    pub kind: String,
    /// Depends on the kind.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub body: Value,
}

/// Where the rest of a mission is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Links {
    /// Its state.
    #[serde(rename = "self")]
    pub own: String,
    /// Its events.
    pub events: String,
    /// Its records.
    pub journal: String,
    /// Its artifacts.
    pub artifacts: String,
    /// Where a cancel is sent.
    pub cancel: String,
}

impl Links {
    /// Of the mission of that id.
    pub fn of(id: &str) -> Self {
        let part = |part: &str| format!("/v1/missions/{id}{part}");
        Self {
            own: part(""),
            events: part("/events"),
            journal: part("/journal"),
            artifacts: part("/artifacts"),
            cancel: part("/cancel"),
        }
    }
}

/// What an act came to, for a token that may not `read`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Acted {
    /// The mission.
    pub mission_id: String,
    /// Where the act decided it.
    pub status: Option<Status>,
    /// Where the rest of it is.
    pub links: Links,
}

impl Acted {
    /// On the mission of that id.
    pub fn on(id: &str, status: Option<Status>) -> Self {
        Self { mission_id: id.to_owned(), status, links: Links::of(id) }
    }
}
