//! The forms of what is shown, each once: the HTTP interface answers with them, `/openapi.json` describes them, and the
//! command line reads them.

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
pub(crate) const PAGE_BYTES_MAX: usize = 1 << 20;

/// Most bytes of a text that a list shows; the mission itself shows the whole.
pub(crate) const LISTED_BYTES_MAX: usize = 400;

/// A page of a list, bounded in items and in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Page<T> {
    items: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
    #[serde(skip)]
    bytes: usize,
    #[serde(skip)]
    kind: PhantomData<T>,
}

impl<T: Serialize> Page<T> {
    pub(crate) fn new() -> Self {
        Self { items: Vec::new(), next_cursor: None, bytes: 0, kind: PhantomData }
    }

    /// All of a list that is short by its nature.
    pub(crate) fn whole(items: impl IntoIterator<Item = T>) -> Self {
        let mut page = Self::new();
        items.into_iter().for_each(|item| page.push(&item));
        page
    }

    pub(crate) fn push(&mut self, item: &T) {
        self.push_json(serde_json::to_string(item).expect("what is shown is plain data"));
    }

    /// An item that has been written out already.
    pub(crate) fn push_json(&mut self, json: String) {
        self.bytes += json.len();
        self.items.push(RawValue::from_string(json).expect("it was just written"));
    }

    /// Whether nothing more goes onto a page of so many items.
    pub(crate) fn is_full(&self, limit: usize) -> bool {
        self.items.len() >= limit || self.bytes >= PAGE_BYTES_MAX
    }

    /// Says where the next page begins.
    pub(crate) fn followed_by(mut self, cursor: Option<impl ToString>) -> Self {
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
pub(crate) struct MissionView {
    pub(crate) mission_id: String,
    pub(crate) vp_id: String,
    pub(crate) vp_session_id: String,
    pub(crate) vp_runtime_id: String,
    pub(crate) mission_type: MissionType,
    pub(crate) objective: String,
    pub(crate) trace_id: String,
    pub(crate) source_instance_id: String,
    pub(crate) idempotency_key: String,
    pub(crate) status: Status,
    /// Why it ended.
    pub(crate) reason: Option<Reason>,
    /// The last summary that an event told.
    pub(crate) summary: String,
    pub(crate) next_action: Option<String>,
    pub(crate) usage: Usage,
    pub(crate) effective_budget: BudgetView,
    pub(crate) autonomy_window: WindowView,
    pub(crate) pending_requests: Vec<RequestView>,
    pub(crate) criteria: Vec<CriterionView>,
    pub(crate) artifacts: Vec<ArtifactView>,
    pub(crate) plugin: PluginName,
    /// How far its deliveries are; null where nothing is delivered.
    pub(crate) delivery: Option<DeliveryView>,
    pub(crate) warnings: Vec<String>,
    /// That of its latest event.
    pub(crate) sequence: u64,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub(crate) accepted_at: Timestamp,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub(crate) started_at: Option<Timestamp>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub(crate) ended_at: Option<Timestamp>,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub(crate) created_at: Timestamp,
    pub(crate) links: Links,
}

/// What holds of a budget; null where there is no limit.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct BudgetView {
    pub(crate) max_runtime_minutes: f64,
    pub(crate) max_llm_calls: Option<u64>,
    pub(crate) max_cost_usd: Option<f64>,
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
pub(crate) fn minutes(ms: u64) -> f64 {
    ms as f64 / 60_000.0
}

/// When a mission may run: from `start_at` on, and no longer at `end_at`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct WindowView {
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub(crate) start_at: Option<Timestamp>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub(crate) end_at: Option<Timestamp>,
}

impl From<&Window> for WindowView {
    fn from(window: &Window) -> Self {
        Self { start_at: window.start_at, end_at: window.end_at }
    }
}

/// What a mission asks of people: what they need to decide.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct RequestView(pub(crate) Value);

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
pub(crate) struct OpenRequestView {
    #[serde(flatten)]
    pub(crate) request: RequestView,
    pub(crate) mission_id: String,
    /// Of its mission; cut where it is long.
    pub(crate) objective: String,
    /// Where a decision is sent.
    pub(crate) answer_at: String,
}

/// A success criterion, and what the plugin found.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct CriterionView {
    pub(crate) criterion: String,
    pub(crate) verdict: Verdict,
    /// Why; empty where nobody looked.
    pub(crate) evidence: String,
}

/// An artifact, with where its bytes are.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct ArtifactView(pub(crate) Value);

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
pub(crate) struct PluginName {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) digest: String,
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
pub(crate) enum DeliveryState {
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
    pub(crate) const LISTED: [(&'static str, Self); 3] =
        [("parked", Self::Parked), ("pending", Self::Pending), ("incomplete", Self::Incomplete)];
}

/// How far a mission's deliveries are.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct DeliveryView {
    pub(crate) state: DeliveryState,
    /// So many were made.
    pub(crate) delivered: u64,
    /// The keys of those that an operator left out.
    pub(crate) skipped: Vec<String>,
    /// So many are recorded.
    pub(crate) total: u64,
    /// How often the next one was tried.
    pub(crate) attempts: u32,
    /// What came of the last attempt.
    pub(crate) error: Option<String>,
}

/// A mission in the list of deliveries.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct UndeliveredView {
    pub(crate) mission_id: String,
    pub(crate) state: DeliveryState,
    pub(crate) status_url: Option<String>,
    pub(crate) delivered: u64,
    pub(crate) skipped: Vec<String>,
    /// So many wait.
    pub(crate) waiting: u64,
    pub(crate) attempts: u32,
    pub(crate) error: Option<String>,
}

/// A session of a VP.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct SessionView {
    pub(crate) vp_id: String,
    pub(crate) vp_session_id: String,
    /// Its folder on the node.
    pub(crate) workspace: String,
    /// So many missions are kept.
    pub(crate) missions: u64,
    pub(crate) last_mission_id: Option<String>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub(crate) last_mission_at: Option<Timestamp>,
}

/// A record of a mission's journal.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct RecordView {
    /// From 1.
    pub(crate) record: u64,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub(crate) at: Timestamp,
    /// Milliseconds that the mission had been running.
    pub(crate) ran_ms: u64,
    pub(crate) kind: String,
    /// Depends on the kind.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub(crate) body: Value,
}

/// Where the rest of a mission is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Links {
    #[serde(rename = "self")]
    pub(crate) own: String,
    pub(crate) events: String,
    pub(crate) journal: String,
    pub(crate) artifacts: String,
    pub(crate) cancel: String,
}

impl Links {
    /// Of the mission of that id.
    pub(crate) fn of(id: &str) -> Self {
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
pub(crate) struct Acted {
    pub(crate) mission_id: String,
    /// Where the act decided it.
    pub(crate) status: Option<Status>,
    pub(crate) links: Links,
}

impl Acted {
    /// On the mission of that id.
    pub(crate) fn on(id: &str, status: Option<Status>) -> Self {
        Self { mission_id: id.to_owned(), status, links: Links::of(id) }
    }
}

/// Deliveries that were moved along.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Moved {
    pub(crate) mission_id: String,
    /// How they stand now; null for a token that may not `read`.
    pub(crate) delivery: Option<DeliveryView>,
}

/// A tool of this node.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct ToolView {
    pub(crate) name: String,
    pub(crate) description: String,
    /// JSON Schema of its arguments.
    pub(crate) input_schema: Value,
    /// Its effect classes.
    pub(crate) effects: Vec<EffectClass>,
    pub(crate) read_only: bool,
    /// What repeating a call would do.
    pub(crate) repeat: Repeat,
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
pub(crate) struct PluginView {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) digest: String,
    pub(crate) description: String,
    /// JSON Schema of its missions' `inputs`, where it declares one.
    pub(crate) inputs_schema: Option<Value>,
}

/// What a node does with missions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeState {
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
pub(crate) struct NodeView {
    pub(crate) instance_id: String,
    pub(crate) version: String,
    pub(crate) state: NodeState,
    pub(crate) lanes: Vec<LaneView>,
    /// Most missions that run at the same time.
    pub(crate) max_running: usize,
    /// So many wait for their turn.
    pub(crate) queued: usize,
    pub(crate) running: usize,
    pub(crate) disk: DiskView,
    pub(crate) connections: ConnectionsView,
    pub(crate) limits: LimitsView,
}

/// A lane.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct LaneView {
    pub(crate) id: String,
    /// Most of its missions that run at the same time.
    pub(crate) concurrency: usize,
}

/// The disk of a node's data folder.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct DiskView {
    pub(crate) free_mib: u64,
    /// Kept free for the journal.
    pub(crate) reserve_mib: u64,
    /// No missions are taken until there is room.
    pub(crate) low: bool,
    /// What artifacts take.
    pub(crate) artifacts_mib: u64,
}

/// How connection places are taken.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct ConnectionsView {
    pub(crate) places: usize,
    pub(crate) open: usize,
    /// Those that have shown no token.
    pub(crate) strangers: usize,
    /// Since the start, closed because others needed their place.
    pub(crate) displaced: u64,
    /// Since the start, refused for want of a place.
    pub(crate) refused: u64,
}

/// Ceilings of a node; null is none.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct LimitsView {
    pub(crate) body_bytes: usize,
    pub(crate) max_runtime_minutes: f64,
    pub(crate) max_llm_calls: Option<u64>,
    pub(crate) max_cost_usd: Option<f64>,
}

/// What pausing and resuming come to, for a token that may not `read`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Paused {
    pub(crate) state: NodeState,
}

/// What a halt came to.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Halted {
    /// So many missions were cancelled.
    pub(crate) halted: usize,
}

/// Health.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Health {
    pub(crate) status: &'static str,
}

/// One of two forms of an answer: which one depends on what the token may.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Either<A, B> {
    /// With `read`.
    Whole(A),
    /// Without.
    Part(B),
}
