//! The forms of what is shown, each once: the HTTP interface answers with them, `/openapi.json` describes them, and the
//! command line reads them.
#![expect(missing_docs, reason = "a field is what the interface shows under its name")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sortie_contract::envelope::{EffectiveBudget, MissionType, Window};
use sortie_contract::event::Usage;
use sortie_contract::outcome::{Reason, Verdict};
use sortie_contract::plugin::PluginIdentity;
use sortie_contract::request::RequestKind;
use sortie_contract::tool::{EffectClass, Repeat, ToolInfo};
use sortie_contract::{MicroUsd, Status, Timestamp};

/// Most bytes of a page. At least one item is on it, however large.
pub const PAGE_BYTES_MAX: usize = 1 << 20;

/// Most bytes of a text that a list shows; the mission itself shows the whole.
pub const LISTED_BYTES_MAX: usize = 400;

/// A page of a list, bounded in items and in bytes.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    items: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
    #[serde(skip)]
    bytes: usize,
    #[serde(skip)]
    kind: PhantomData<T>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { items: Vec::new(), next_cursor: None, bytes: 0, kind: PhantomData }
    }
}

impl<T: Serialize> Page<T> {
    pub fn new() -> Self {
        Self::default()
    }

    /// All of a list that is short by its nature.
    pub fn whole(items: impl IntoIterator<Item = T>) -> Self {
        let mut page = Self::new();
        items.into_iter().for_each(|item| page.push(&item));
        page
    }

    pub fn push(&mut self, item: &T) {
        self.push_json(serde_json::to_string(item).expect("what is shown is plain data"));
    }

    /// An item that has been written out already.
    pub fn push_json(&mut self, json: String) {
        self.bytes += json.len();
        self.items.push(RawValue::from_string(json).expect("it was just written"));
    }

    /// Whether nothing more goes onto a page of so many items.
    pub fn is_full(&self, limit: usize) -> bool {
        self.items.len() >= limit || self.bytes >= PAGE_BYTES_MAX
    }

    /// Says where the next page begins.
    pub fn followed_by(mut self, cursor: Option<impl ToString>) -> Self {
        self.next_cursor = cursor.map(|cursor| cursor.to_string());
        self
    }
}

impl<T: JsonSchema> JsonSchema for Page<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("PageOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<T>();
        json_schema!({
            "type": "object",
            "required": ["items", "next_cursor"],
            "properties": {
                "items": {"type": "array", "items": item},
                "next_cursor": {
                    "type": ["string", "null"],
                    "description": "The parameter `cursor` of the next page; null on the last one.",
                },
            },
            "additionalProperties": false,
        })
    }
}

/// The state of a mission.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct MissionView {
    pub mission_id: String,
    pub vp_id: String,
    pub vp_session_id: String,
    pub vp_runtime_id: String,
    pub mission_type: MissionType,
    pub objective: String,
    pub trace_id: String,
    pub source_instance_id: String,
    pub idempotency_key: String,
    pub status: Status,
    /// Why it ended.
    pub reason: Option<Reason>,
    /// The last summary that an event told.
    pub summary: String,
    pub next_action: Option<String>,
    pub usage: Usage,
    pub effective_budget: BudgetView,
    pub autonomy_window: WindowView,
    pub pending_requests: Vec<RequestView>,
    pub criteria: Vec<CriterionView>,
    pub artifacts: Vec<ArtifactView>,
    pub plugin: PluginName,
    /// How far its deliveries are; null where nothing is delivered.
    pub delivery: Option<DeliveryView>,
    pub warnings: Vec<String>,
    /// That of its latest event.
    pub sequence: u64,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub accepted_at: Timestamp,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started_at: Option<Timestamp>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub ended_at: Option<Timestamp>,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: Timestamp,
    pub links: Links,
}

/// What holds of a budget; null where there is no limit.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct BudgetView {
    pub max_runtime_minutes: f64,
    pub max_llm_calls: Option<u64>,
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
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub start_at: Option<Timestamp>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub end_at: Option<Timestamp>,
}

impl From<&Window> for WindowView {
    fn from(window: &Window) -> Self {
        Self { start_at: window.start_at, end_at: window.end_at }
    }
}

/// What a mission asks of people: what they need to decide.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct RequestView(pub Value);

/// The form of a [`RequestView`].
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it describes what the core shows")]
struct RequestForm {
    request_id: String,
    kind: RequestKind,
    question: String,
    /// What can be decided.
    decisions: Vec<String>,
    #[schemars(with = "String", extend("format" = "date-time"))]
    asked_at: Timestamp,
    #[schemars(with = "String", extend("format" = "date-time"))]
    expires_at: Timestamp,
    /// Of the call that waits for it.
    #[schemars(skip_serializing_if = "Option::is_none")]
    tool: Option<String>,
    /// As JSON; a text, where they are too long to be shown whole.
    #[schemars(skip_serializing_if = "Option::is_none")]
    arguments: Option<Value>,
}

impl JsonSchema for RequestView {
    fn schema_name() -> Cow<'static, str> {
        "Request".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        RequestForm::json_schema(generator)
    }
}

/// An open request in a list, with whose it is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OpenRequestView {
    #[serde(flatten)]
    pub request: RequestView,
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
    pub criterion: String,
    pub verdict: Verdict,
    /// Why; empty where nobody looked.
    pub evidence: String,
}

/// An artifact, with where its bytes are.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct ArtifactView(pub Value);

/// The form of an [`ArtifactView`].
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it describes what the core shows")]
struct ArtifactForm {
    name: String,
    media_type: String,
    bytes: u64,
    sha256: String,
    /// A path of this node, or an address of the control plane.
    r#where: String,
}

impl JsonSchema for ArtifactView {
    fn schema_name() -> Cow<'static, str> {
        "Artifact".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        ArtifactForm::json_schema(generator)
    }
}

/// Which plugin, to the byte.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PluginName {
    pub name: String,
    pub version: String,
    pub digest: String,
}

impl From<&PluginIdentity> for PluginName {
    fn from(plugin: &PluginIdentity) -> Self {
        let PluginIdentity { name, version, digest } = plugin;
        Self { name: name.clone(), version: version.clone(), digest: digest.to_string() }
    }
}

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
    /// Those that a list can be narrowed to.
    pub const LISTED: [(&'static str, Self); 3] =
        [("parked", Self::Parked), ("pending", Self::Pending), ("incomplete", Self::Incomplete)];
}

/// How far a mission's deliveries are.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DeliveryView {
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
}

/// A mission in the list of deliveries.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct UndeliveredView {
    pub mission_id: String,
    pub state: DeliveryState,
    pub status_url: Option<String>,
    pub delivered: u64,
    pub skipped: Vec<String>,
    /// So many wait.
    pub waiting: u64,
    pub attempts: u32,
    pub error: Option<String>,
}

/// A session of a VP.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SessionView {
    pub vp_id: String,
    pub vp_session_id: String,
    /// Its folder on the node.
    pub workspace: String,
    /// So many missions are kept.
    pub missions: u64,
    pub last_mission_id: Option<String>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_mission_at: Option<Timestamp>,
}

/// A record of a mission's journal.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RecordView {
    /// From 1.
    pub record: u64,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Milliseconds that the mission had been running.
    pub ran_ms: u64,
    pub kind: String,
    /// Depends on the kind.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub body: Value,
}

/// Where the rest of a mission is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Links {
    #[serde(rename = "self")]
    pub own: String,
    pub events: String,
    pub journal: String,
    pub artifacts: String,
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
    pub mission_id: String,
    /// Where the act decided it.
    pub status: Option<Status>,
    pub links: Links,
}

impl Acted {
    /// On the mission of that id.
    pub fn on(id: &str, status: Option<Status>) -> Self {
        Self { mission_id: id.to_owned(), status, links: Links::of(id) }
    }
}

/// Deliveries that were moved along.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Moved {
    pub mission_id: String,
    /// How they stand now; null for a token that may not `read`.
    pub delivery: Option<DeliveryView>,
}

/// A tool of this node.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ToolView {
    pub name: String,
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: Value,
    /// Its effect classes.
    pub effects: Vec<EffectClass>,
    pub read_only: bool,
    /// What repeating a call would do.
    pub repeat: Repeat,
}

impl From<&ToolInfo> for ToolView {
    fn from(tool: &ToolInfo) -> Self {
        Self {
            name: tool.name.to_string(),
            description: tool.description.clone(),
            input_schema: tool.input_schema.clone(),
            effects: tool.effects.clone(),
            read_only: tool.read_only,
            repeat: tool.repeat(),
        }
    }
}

/// An installed plugin.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PluginView {
    pub name: String,
    pub version: String,
    pub digest: String,
    pub description: String,
    /// JSON Schema of its missions' `inputs`, where it declares one.
    pub inputs_schema: Option<Value>,
}

/// What a node does with missions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It takes and starts them.
    Serving,
    /// It takes them, and starts none.
    Paused,
    /// It is on its way out.
    Stopping,
}

/// A node: who it is and what it has room for.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NodeView {
    pub instance_id: String,
    pub version: String,
    pub state: NodeState,
    pub lanes: Vec<LaneView>,
    /// Most missions that run at the same time.
    pub max_running: usize,
    /// So many wait for their turn.
    pub queued: usize,
    pub running: usize,
    pub disk: DiskView,
    pub connections: ConnectionsView,
    pub limits: LimitsView,
}

/// A lane.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LaneView {
    pub id: String,
    /// Most of its missions that run at the same time.
    pub concurrency: usize,
}

/// The disk of a node's data folder.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DiskView {
    pub free_mib: u64,
    /// Kept free for the journal.
    pub reserve_mib: u64,
    /// No missions are taken until there is room.
    pub low: bool,
    /// What artifacts and workspaces take.
    pub files_mib: u64,
}

/// How connection places are taken.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ConnectionsView {
    pub places: usize,
    pub open: usize,
    /// Those that have shown no token.
    pub strangers: usize,
    /// Since the start, closed because others needed their place.
    pub displaced: u64,
    /// Since the start, refused for want of a place.
    pub refused: u64,
}

/// Ceilings of a node; null is none.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LimitsView {
    pub body_bytes: usize,
    pub max_runtime_minutes: f64,
    pub max_llm_calls: Option<u64>,
    pub max_cost_usd: Option<f64>,
}

/// What pausing and resuming come to, for a token that may not `read`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Paused {
    pub state: NodeState,
}

/// What a halt came to.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Halted {
    /// So many missions were cancelled.
    pub halted: usize,
}

/// Health.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Health {
    pub status: &'static str,
}

/// One of two forms of an answer: which one depends on what the token may.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Either<A, B> {
    /// With `read`.
    Whole(A),
    /// Without.
    Part(B),
}
