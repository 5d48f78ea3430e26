//! The mission envelope: what a control plane dispatches (contract, section 1), parsed into a form that cannot be invalid.
//!
//! Rules that need the node (its lanes, tools, plugins, secrets, its ceilings, the time) are not here: intake holds the
//! envelope against those. Here is what can be said of the text alone, all mistakes together, each with its place.

mod canonical;
mod child;
mod fields;
mod json;
mod numeral;
mod parse;
mod schema;

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::artifact::StorageScope;
use crate::digest::Digest;
use crate::id::{IdempotencyKey, InstanceId, LaneId, MissionId, SessionId, TraceId, VpId};
use crate::money::MicroUsd;
use crate::plugin::PluginRef;

pub use canonical::{canonical_digest, differing_fields};
pub use child::{ChildOf, ORDER};
pub use json::{in_one_line, laid_out, long_integers, read_strictly, rewritten};
pub use parse::{Draft, Parsed, Rejected};
pub use schema::{envelope_schema, event_schema, order_schema, result_schema};

/// A valid mission envelope. [`Envelope::parse`] is the only way to one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Envelope {
    /// Globally unique.
    pub mission_id: MissionId,
    /// Who it is done as.
    pub vp_id: VpId,
    /// The session, where the dispatcher names one.
    pub vp_session_id: Option<SessionId>,
    /// The lane, where the dispatcher names one.
    pub vp_runtime_id: Option<LaneId>,
    /// Who dispatched it.
    pub source_instance_id: InstanceId,
    /// Who is to run it; `*` is any node.
    pub target_instance_id: InstanceId,
    /// What kind of work it is.
    pub mission_type: MissionType,
    /// What is to be done, in words.
    pub objective: String,
    /// What it may and may not use.
    pub constraints: Constraints,
    /// What it may spend.
    pub budget: Budget,
    /// When it may run.
    pub window: Window,
    /// How often it shows a sign of life, in seconds.
    pub heartbeat_interval_seconds: u32,
    /// When it reports progress.
    pub report_cadence: Cadence,
    /// What must hold at the end.
    pub success_criteria: Vec<String>,
    /// What must be there at the end: names or globs, each valid.
    pub required_outputs: Vec<String>,
    /// Where artifacts go.
    pub storage_scope: StorageScope,
    /// Where events go; without it they are only pulled.
    pub callback: Option<Callback>,
    /// With `source_instance_id`: what makes a second dispatch the same one.
    pub idempotency_key: IdempotencyKey,
    /// Carried everywhere.
    pub trace_id: TraceId,
    /// When the control plane made it.
    pub created_at: Timestamp,
    /// Extension: what the plugin gets beside the objective; a JSON object, as text.
    pub inputs: Option<Arc<str>>,
    /// Extension: which plugin runs it.
    pub plugin: Option<PluginRef>,
    /// Extension: what becomes of it where it is not done at the end of its window.
    pub on_window_end: OnWindowEnd,
    /// Extension: how often it is carried over at most, before it is `timed_out` after all.
    pub carry_over_max: u32,
    /// Extension: what becomes of a request that nobody answers; without it, what the node says.
    pub on_expiry: Option<OnExpiry>,
    /// The node's own: which mission it goes on from. Whoever dispatches cannot say it.
    pub forked_from: Option<ForkedFrom>,
    /// The node's own: whose child it is. A fork of a child has it, too, and stays within its bounds. Whoever dispatches cannot say it.
    pub child_of: Option<ChildOf>,
}

impl Envelope {
    /// The mission from whose id follows what a plugin takes for randomness: its own, or that where its forks began. What a fork has on record
    /// was asked for with what that one drew.
    #[must_use]
    pub fn root(&self) -> &MissionId {
        self.forked_from.as_ref().map_or(&self.mission_id, |from| &from.root)
    }

    /// The mission that dispatched it and waits for its end; none, of a fork of a child.
    #[must_use]
    pub fn parent(&self) -> Option<&ChildOf> {
        self.child_of.as_ref().filter(|_| self.forked_from.is_none())
    }
}

/// Where a fork comes from: it begins with calls that another mission made, as they are on record there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkedFrom {
    /// The mission that they are of.
    #[schemars(with = "String")]
    pub mission_id: MissionId,
    /// The mission where the forks began: a fork of a fork has that of the first. What its plugin takes for randomness follows from it.
    #[schemars(with = "String")]
    pub root: MissionId,
    /// Up to and with this call its record was to be taken over.
    pub at: u32,
    /// So many calls were.
    pub calls: u32,
    /// So many records behind the first, which were written with it, tell of them. Nothing of that is told as an event, or counts as
    /// spent.
    pub records: u32,
    /// The call at which its plugin, inputs or build left the record; null where it keeps to it up to `at`.
    pub diverged_at: Option<u32>,
    /// Of what was asked for: the same under the same key is the same fork.
    #[schemars(with = "String")]
    pub asked: Digest,
}

/// What becomes of a request that nobody answers in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnExpiry {
    /// The mission ends, `timed_out`.
    #[default]
    End,
    /// It is turned down: the call gets an error, and the mission goes on.
    Deny,
    /// It does not expire: people have until the window closes.
    Wait,
}

impl OnExpiry {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::End, Self::Deny, Self::Wait];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Deny => "deny",
            Self::Wait => "wait",
        }
    }
}

/// What becomes of a mission that is not done when its window ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnWindowEnd {
    /// It ends, `timed_out`.
    #[default]
    End,
    /// It is carried over: it goes on in the next window of its schedule or of its lane, with what it has left of its budget.
    Suspend,
}

impl OnWindowEnd {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::End, Self::Suspend];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Suspend => "suspend",
        }
    }
}

/// The contract's four mission types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissionType {
    /// Changes to code.
    Coding,
    /// Finding out.
    Research,
    /// A graph of steps.
    Automation,
    /// What `plugin` names.
    Custom,
}

impl MissionType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Coding, Self::Research, Self::Automation, Self::Custom];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coding => "coding",
            Self::Research => "research",
            Self::Automation => "automation",
            Self::Custom => "custom",
        }
    }
}

/// Patterns of tools: a name, one with `*` for any run of characters, or `NAME(scope)`, which says which calls; for prohibitions and
/// approval also effect classes. What a scope means is decided in the core.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constraints {
    /// Empty grants nothing.
    pub allowed_tools: Vec<String>,
    /// Wins over everything.
    pub forbidden_tools: Vec<String>,
    /// Asks before each call.
    pub approval_required: Vec<String>,
}

/// The limits that the mission sets itself; `None` where it sets none (absent, or 0).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// Run time in milliseconds, from `max_runtime_minutes` (a fraction is fine).
    pub runtime_ms_max: Option<u64>,
    /// Calls of a language model.
    pub llm_calls_max: Option<u64>,
    /// Cost.
    pub cost_max: Option<MicroUsd>,
    /// Extension: missions that come of it, which it dispatches or those that it dispatched, all together.
    pub missions_max: Option<u32>,
}

/// What holds of a budget on this node: the mission's limits, lowered to the node's ceilings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectiveBudget {
    /// Run time in milliseconds. There is always a ceiling.
    pub runtime_ms_max: u64,
    /// Calls of a language model; `None` where neither sets a limit.
    pub llm_calls_max: Option<u64>,
    /// Cost; `None` where neither sets a limit.
    pub cost_max: Option<MicroUsd>,
}

/// The half-open time `[start_at, end_at)` in which the mission may run. `start_at < end_at` where both are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Not before this.
    pub start_at: Option<Timestamp>,
    /// Not at or after this.
    pub end_at: Option<Timestamp>,
}

/// When progress is reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cadence {
    /// With each milestone.
    Milestone,
    /// With each heartbeat interval.
    Interval,
    /// Both.
    #[default]
    Hybrid,
}

/// Where a mission's events are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// `http` or `https`, with a host, without user name and password.
    pub status_url: Url,
    /// The secret that authenticates the node to the receiver.
    pub auth_ref: Option<SecretRef>,
}

/// A reference to a secret: never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// `env://NAME`: an environment variable of the node.
    Env(String),
    /// `file://PATH`: an absolute path on the node.
    File(String),
}

impl std::fmt::Display for SecretRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env://{name}"),
            Self::File(path) => write!(f, "file://{path}"),
        }
    }
}

/// The host that a URL names, with its port: by what receivers are told apart.
#[must_use]
pub fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Why a secret is not sent somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSent {
    /// The configuration does not list the reference.
    Unlisted,
    /// It lists it, but not for this host.
    OtherHost,
    /// It lists it for this host, but not in the clear.
    Plain,
}

/// A text that is no secret reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret is referred to as env://NAME or file:///absolute/path")]
pub struct SecretRefError;

impl std::str::FromStr for SecretRef {
    type Err = SecretRefError;

    fn from_str(text: &str) -> Result<Self, SecretRefError> {
        if let Some(name) = text.strip_prefix("env://") {
            let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            return named.then(|| Self::Env(name.to_owned())).ok_or(SecretRefError);
        }
        match text.strip_prefix("file://") {
            Some(path) if path.starts_with('/') && !path.chars().any(char::is_control) => {
                Ok(Self::File(path.to_owned()))
            }
            _ => Err(SecretRefError),
        }
    }
}
