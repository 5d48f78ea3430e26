//! Plugins as the node knows them: identity, manifest, what they are told, what they answer.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::digest::Digest;
use crate::mistake::Pointer;
use crate::tool::ToolName;

/// What the templates within the inputs of an `automation` name once it runs.
const AUTOMATION_NAMES: [&str; 8] = ["inputs", "objective", "mission", "steps", "item", "index", "result", "failure"];

/// The names that the mission's plugin fills in once it runs, in the text at this place of its envelope: whoever fills texts in before leaves
/// those to it. None where the plugin takes texts as they are: `automation` takes all of its inputs so, but for the steps.
#[must_use]
pub fn names_of_later(mission_type: &str, plugin: &str, at: &Pointer) -> &'static [&'static str] {
    let plugin = plugin.split('@').next().unwrap_or_default();
    let is_automation = plugin == "automation" || (plugin.is_empty() && mission_type == "automation");
    let at = at.as_str();
    let holds_steps = at == "/inputs" || at == "/inputs/steps" || at.starts_with("/inputs/steps/");
    if is_automation && holds_steps { &AUTOMATION_NAMES } else { &[] }
}

/// Which plugin, to the byte. A mission stays on the one that it started with (contract reading, *After a crash*).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PluginIdentity {
    /// Its name, such as `automation`.
    pub name: String,
    /// Its version (SemVer).
    pub version: String,
    /// SHA-256 of the component.
    pub digest: Digest,
}

impl fmt::Display for PluginIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// Where an installed plugin came from, and who vouches for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The address that the node fetched it from; none where its bytes were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whose signature it came with, where that was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
    /// When it was installed first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed_at: Option<Timestamp>,
}

impl Origin {
    /// Whether nothing is known of it.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// This, with what was known before of the same bytes and is not said anew: who signed them then vouches for them still.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        Self {
            from: self.from.or(before.from),
            signed: self.signed.or(before.signed),
            installed_at: before.installed_at.or(self.installed_at),
        }
    }
}

/// A signature that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The key, by its id: 16 hex digits, as `minisign` prints it.
    pub key: String,
    /// What the configuration calls the key.
    pub name: String,
    /// What the signer said beside it, and signed, too.
    pub comment: String,
    /// The signature itself, so that it can be verified again.
    pub signature: String,
}

/// What a plugin says of itself: the answer of its `describe`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its name: `a-z0-9-`, at most 64 characters.
    pub name: String,
    /// Its version (SemVer).
    pub version: String,
    /// A sentence or two.
    pub description: String,
    /// JSON Schema that `inputs` must satisfy; `None` takes anything.
    pub inputs_schema: Option<serde_json::Value>,
    /// What it cannot do any of its missions without: who would not get it is refused at intake.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// What its missions take, and what comes of them.
    #[serde(default)]
    pub profile: Profile,
}

/// What a plugin says of its missions beside what they cannot be done without.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// Tools that it makes use of where it is granted them, and can do without.
    pub optional: Vec<ToolName>,
    /// Memory that a run may take, in bytes.
    pub memory_bytes: Option<u64>,
    /// Run time without which no mission of it can be done, in milliseconds.
    pub runtime_ms: Option<u64>,
    /// Inputs that its missions may have.
    pub examples: Vec<serde_json::Value>,
    /// What its missions leave: JSON Schema of an object that has each artifact as a property, by its name.
    pub outputs_schema: Option<serde_json::Value>,
}

/// Something that a plugin cannot do without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// A model, whichever.
    Model,
    /// A tool of that name.
    Tool(ToolName),
    /// One of these tools.
    OneOf(Vec<ToolName>),
}

impl Need {
    /// The tools of which one will do; none where it is no tool that is needed.
    #[must_use]
    pub fn tools(&self) -> &[ToolName] {
        match self {
            Self::Model => &[],
            Self::Tool(tool) => core::slice::from_ref(tool),
            Self::OneOf(tools) => tools,
        }
    }
}

/// A model, as a plugin is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// What a request names it by.
    pub name: String,
    /// How much of a conversation it takes, in tokens, where that is known.
    pub context_tokens: Option<u64>,
    /// Whether it can ask for tools.
    pub takes_tools: bool,
    /// Whether it can be shown images.
    pub takes_images: bool,
    /// Whether it answers by a JSON Schema of itself; where it does not, the node asks it to and checks.
    pub takes_schemas: bool,
    /// Whether it is meant where a request names none.
    pub is_default: bool,
}

/// What is left of a mission's budget. What has no limit is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Run time, in milliseconds.
    pub runtime_ms: u64,
    /// Calls of models.
    pub llm_calls: Option<u64>,
    /// Money, in millionths of a US dollar.
    pub cost_micro_usd: Option<u64>,
    /// So many of these calls are kept for landing.
    pub landing_llm_calls: u64,
    /// So much of this money is kept for landing.
    pub landing_micro_usd: u64,
}

/// The extension field `plugin` of an envelope: `name` or `name@version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginRef {
    /// The name.
    pub name: String,
    /// The version; without one, the newest that is installed.
    pub version: Option<String>,
}

impl std::str::FromStr for PluginRef {
    type Err = PluginRefError;

    fn from_str(text: &str) -> Result<Self, PluginRefError> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let named = (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !named || version.is_some_and(|version| semver::Version::parse(version).is_err()) {
            return Err(PluginRefError);
        }
        Ok(Self { name: name.to_owned(), version: version.map(str::to_owned) })
    }
}

impl fmt::Display for PluginRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "@{version}"))
    }
}

/// A text that names no plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a plugin is named `name` or `name@version`: a-z, 0-9 and `-`, at most 64 characters; a SemVer version such as 1.2.0"
)]
pub struct PluginRefError;

/// What a plugin is told of its mission: the world's `brief`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// The mission's id.
    pub mission_id: String,
    /// The VP it works for.
    pub vp_id: String,
    /// The session it belongs to.
    pub vp_session_id: String,
    /// `coding`, `research`, `automation` or `custom`.
    pub mission_type: String,
    /// The contract's `objective`.
    pub objective: String,
    /// The extension field `inputs`: JSON text, `{}` where it is absent.
    pub inputs: String,
    /// The contract's `success_criteria`.
    pub success_criteria: Vec<String>,
    /// The contract's `artifact_policy.required_outputs`.
    pub required_outputs: Vec<String>,
}

/// What a plugin says when its `run` returns by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It did what it was asked.
    Done {
        /// For people.
        summary: String,
        /// One recommendation, if it has one.
        next_action: Option<String>,
    },
    /// It could not.
    Failed {
        /// For people.
        summary: String,
        /// A tool call is to blame: the reason is then `tool_failed`.
        tool: Option<String>,
        /// One recommendation, if it has one.
        next_action: Option<String>,
    },
}

/// How a plugin's run ended otherwise: the sandbox's view. None of these is the plugin's free choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Crash {
    /// A trap, with its text.
    Trapped(String),
    /// Its memory or tables outgrew the limit.
    OutOfMemory {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// It asked for more of something than the node gives.
    LimitExceeded(String),
    /// A replay asked for something else than was recorded.
    Diverged {
        /// What the journal holds.
        recorded: String,
        /// What the plugin asked for.
        attempted: String,
    },
    /// The sandbox could not run it (its component is gone from the store, no memory for an instance).
    Unrunnable(String),
}

/// Severity of a line that a plugin logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Details.
    Debug,
    /// Normal.
    Info,
    /// Something is odd.
    Warn,
    /// Something went wrong.
    Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugin_references() {
        assert_eq!("report".parse(), Ok(PluginRef { name: "report".into(), version: None }));
        assert_eq!("report@1.2.0".parse(), Ok(PluginRef { name: "report".into(), version: Some("1.2.0".into()) }));
        for bad in ["", "Report", "a b", "a@", "a@1", "../x", "a@1.0.0@2"] {
            assert_eq!(bad.parse::<PluginRef>(), Err(PluginRefError), "{bad:?}");
        }
    }
}
