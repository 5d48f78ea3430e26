//! How a node is shown: itself, its tools and its plugins.
//!
//! Owned here: the forms of the answers. Never here: the reading of them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sortie_contract::Timestamp;
use sortie_contract::tool::{EffectClass, Repeat, ToolInfo};
use sortie_tools::{LinkState, ProviderHealth, Toolbox};

use super::SpaceView;

/// A tool of this node.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ToolView {
    /// Its name.
    pub name: String,
    /// The provider that it comes from.
    pub provider: String,
    /// What it is for.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: Value,
    /// Its effect classes.
    pub effects: Vec<EffectClass>,
    /// Whether a call changes nothing.
    pub read_only: bool,
    /// What repeating a call would do.
    pub repeat: Repeat,
    /// The price of a call, in US dollars.
    pub cost_usd: f64,
}

impl ToolView {
    /// A tool of that provider.
    #[must_use]
    pub fn of(tool: &ToolInfo, provider: &str) -> Self {
        Self {
            name: tool.name.to_string(),
            provider: provider.to_owned(),
            description: tool.description.clone(),
            input_schema: tool.input_schema.clone(),
            effects: tool.effects.clone(),
            read_only: tool.read_only,
            repeat: tool.repeat(),
            cost_usd: tool.price.as_usd(),
        }
    }
}

/// The tools of a node, and where they come from.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ToolsView {
    /// The tools that missions can be granted.
    pub items: Vec<ToolView>,
    /// Always null: all of them are on this page.
    pub next_cursor: Option<String>,
    /// The providers that they come from; the tools of one that is not connected are listed as it had them last.
    pub providers: Vec<ProviderView>,
}

impl ToolsView {
    /// Of what there is at a moment.
    #[must_use]
    pub fn of(toolbox: &Toolbox, providers: Vec<ProviderHealth>) -> Self {
        let view = |tool: &ToolInfo| ToolView::of(tool, toolbox.provider_of(tool.name.as_str()).unwrap_or_default());
        let items = toolbox.infos().iter().map(view).collect();
        Self { items, next_cursor: None, providers: providers.into_iter().map(ProviderView::from).collect() }
    }
}

/// Whether the tools of a provider can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderState {
    /// They can.
    Connected,
    /// It is being reached.
    Connecting,
    /// It could not be reached, or was lost; it is tried again after a while.
    Failed,
}

/// A provider of tools.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ProviderView {
    /// Its name.
    pub name: String,
    /// Whether its tools can be called.
    pub state: ProviderState,
    /// Since when they can, or cannot.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// What went wrong last, however long ago.
    pub last_error: Option<String>,
    /// How many tools it has.
    pub tools: usize,
    /// What it offers beside them and could not be taken, with the reason.
    pub left_out: Vec<String>,
}

impl From<ProviderHealth> for ProviderView {
    fn from(health: ProviderHealth) -> Self {
        let ProviderHealth { name, standing, tools, left_out } = health;
        let state = match standing.state {
            LinkState::Connected => ProviderState::Connected,
            LinkState::Connecting => ProviderState::Connecting,
            LinkState::Failed => ProviderState::Failed,
        };
        Self { name, state, since: standing.since, last_error: standing.last_error, tools, left_out }
    }
}

/// An installed plugin.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PluginView {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Of its component, in hexadecimal.
    pub digest: String,
    /// What it is for.
    pub description: String,
    /// JSON Schema of its missions' `inputs`, where it declares one.
    pub inputs_schema: Option<Value>,
    /// What no mission of it can be done without: of each entry one, a tool by its name, or `model` for a model.
    pub needs: Vec<Vec<String>>,
    /// Where it came from: `carried` with this sortie, `sent` to the node, or the address that the node fetched it from.
    pub source: String,
    /// Whose signature was verified; null where nobody's was, or by a key that is not in the configuration any more.
    pub signed: Option<SignedView>,
    /// Why no mission may begin on it, where it is set aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aside: Option<String>,
    /// When it was installed first, where that is known.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub installed_at: Option<Timestamp>,
    /// Which missions hold it, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldView>,
    /// Tools that it makes use of where it is granted them.
    pub optional_tools: Vec<String>,
    /// Memory that a run may take, in bytes; null where it does not say.
    pub memory_bytes: Option<u64>,
    /// Run time without which no mission of it can be done, in minutes; null where it does not say.
    pub runtime_minutes: Option<f64>,
    /// Inputs that its missions may have.
    pub examples: Vec<Value>,
    /// What its missions leave, where it says so: JSON Schema of an object that has each artifact as a property, by its name.
    pub outputs_schema: Option<Value>,
}

/// Who vouches for a plugin.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Signed", deny_unknown_fields)]
pub struct SignedView {
    /// The id of the key: 16 hex digits, as `minisign` prints it.
    pub key: String,
    /// What the configuration calls the key.
    pub name: String,
    /// The trusted comment: what the signer said beside it, and signed, too.
    pub comment: String,
}

/// Which missions hold a plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Held", deny_unknown_fields)]
pub struct HeldView {
    /// Those that run.
    pub running: usize,
    /// Those that wait: for their window, their turn, or people.
    pub waiting: usize,
    /// Those that are over and kept: a replay goes over their record with it.
    pub kept: usize,
    /// The ids of the unfinished ones, the oldest first; at most 20.
    pub missions: Vec<String>,
}

/// What is installed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PluginsView {
    /// The plugins that run missions.
    pub items: Vec<PluginView>,
    /// There is one page.
    pub next_cursor: Option<String>,
    /// Those that are installed and run none, because the node does not have what they need.
    pub unusable: Vec<UnusablePlugin>,
}

/// A plugin that is installed and runs no mission.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct UnusablePlugin {
    /// Its name and version, as `NAME@VERSION`.
    pub plugin: String,
    /// What is missing, and what to do.
    pub detail: String,
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

/// An older dialect that the node speaks by itself: jobs of a Redis stream, heartbeats.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Dialect", deny_unknown_fields)]
pub struct DialectView {
    /// `redis` or `heartbeat`.
    pub name: String,
    /// With whom: the stream of jobs, the address of the headquarters.
    pub address: String,
    /// Whether it is heard.
    pub connected: bool,
    /// Since when that is so; null before the first attempt.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
    /// What went wrong last; null while nothing does.
    pub error: Option<String>,
}

/// A node: who it is and what it has room for.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NodeView {
    /// Its name among instances.
    pub instance_id: String,
    /// Of Sortie.
    pub version: String,
    /// The release of the zone data that schedules are reckoned with.
    pub zone_data: String,
    /// What it does with missions.
    pub state: NodeState,
    /// Its lanes.
    pub lanes: Vec<LaneView>,
    /// Most missions that run at the same time.
    pub max_running: usize,
    /// So many wait for their turn.
    pub queued: usize,
    /// So many run.
    pub running: usize,
    /// So many have begun and wait out of memory: for people, for a provider, for money, or for a time.
    pub suspended: usize,
    /// So many ask people something, or one below them does, in memory or out of it.
    pub blocked: usize,
    /// So many cannot be read, and are in quarantine.
    pub quarantined: usize,
    /// Why lanes and budgets are not shared out among the nodes of its store, where somebody has to mend that; else null.
    pub not_shared: Option<String>,
    /// Where its tools come from.
    pub providers: Vec<ProviderView>,
    /// The older dialects of the control plane that it speaks by itself, and how each stands.
    pub dialects: Vec<DialectView>,
    /// That its data were restored from a backup, and it starts, delivers and fires nothing until it is resumed. Else null.
    pub restored: Option<RestoredView>,
    /// The moment that the last backup of its data folder shows which was sent whole; null where there was none.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_backup: Option<Timestamp>,
    /// The disk of its data folder.
    pub disk: DiskView,
    /// What its data folder takes, by kind, in bytes; null for a moment after the start.
    pub space: Option<SpaceView>,
    /// Its connections.
    pub connections: ConnectionsView,
    /// Its ceilings.
    pub limits: LimitsView,
}

/// Where the data of a node come from that was restored.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RestoredView {
    /// The moment that the backup shows.
    #[schemars(with = "String")]
    pub taken_at: Timestamp,
    /// When it was restored.
    #[schemars(with = "String")]
    pub restored_at: Timestamp,
    /// Missions that had not ended at that moment.
    pub unfinished: u64,
}

/// A lane.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LaneView {
    /// Its name.
    pub id: String,
    /// Most of its missions that run at the same time.
    pub concurrency: usize,
}

/// The disk of a node's data folder.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DiskView {
    /// What is free.
    pub free_mib: u64,
    /// Kept free for the journal.
    pub reserve_mib: u64,
    /// Below so much it is warned.
    pub warn_mib: u64,
    /// Less is free than that.
    pub scarce: bool,
    /// No missions are taken until there is room.
    pub low: bool,
    /// What artifacts and workspaces take.
    pub files_mib: u64,
}

/// How connection places are taken.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ConnectionsView {
    /// Most that can be open.
    pub places: usize,
    /// So many are.
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
    /// Most bytes of an envelope.
    pub body_bytes: usize,
    /// Run time, in minutes.
    pub max_runtime_minutes: f64,
    /// Calls of models.
    pub max_llm_calls: Option<u64>,
    /// Money, in US dollars.
    pub max_cost_usd: Option<f64>,
}

/// What pausing and resuming come to, for a token that may not `read`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Paused {
    /// What the node does with missions now.
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
    /// In a word.
    pub status: &'static str,
}

/// One of two forms of an answer: which one depends on what the token may, or on what was asked for.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "{A}Or{B}")]
pub enum Either<A, B> {
    /// With `read`, or as it is now.
    Whole(A),
    /// Without, or as it was.
    Part(B),
}

/// A session of a VP.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SessionView {
    /// Whose it is.
    pub vp_id: String,
    /// Its name.
    pub vp_session_id: String,
    /// Its folder on the node.
    pub workspace: String,
    /// So many missions are kept.
    pub missions: u64,
    /// Its newest mission.
    pub last_mission_id: Option<String>,
    /// When that was accepted.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_mission_at: Option<Timestamp>,
}
