//! `sortie.toml`: what an operator may set. `docs/sortie.example.toml` documents every key, and a test parses it.
//!
//! Unknown keys are errors: a misspelt limit must not be an unlimited one. Nothing here is a secret; secrets are referred to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sortie_callback::CallbackConfig;
use sortie_contract::envelope::{MissionType, SecretRef};
use sortie_contract::plugin::PluginRef;
use sortie_contract::tool::EffectClass;
use sortie_contract::{InstanceId, LaneId, MicroUsd, limit};
use sortie_mission::Ceilings;
use sortie_tools::ToolsConfig;

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[node]`
    pub node: NodeConfig,
    /// `[limits]`
    pub limits: LimitsConfig,
    /// `[[lane]]`; without any, the node has the one lane `default`.
    pub lane: Vec<LaneConfig>,
    /// `[plugin]`: which plugin runs a mission type (`coding`, `research`, `automation`) or a VP (any other key).
    pub plugin: BTreeMap<String, String>,
    /// `[tool.NAME]`
    pub tool: ToolsConfig,
    /// `[callback]`
    pub callback: CallbackConfig,
    /// `[[token]]`
    pub token: Vec<TokenConfig>,
    /// `[telemetry]`
    pub telemetry: TelemetryConfig,
    /// `[effects]`: classes of effects beside those of the contract.
    pub effects: EffectsConfig,
    /// `[mcp.NAME]`: not available in this version; kept to say so.
    mcp: Option<toml::Value>,
    /// `[model]`: not available in this version; kept to say so.
    model: Option<toml::Value>,
    /// `[artifact]`: not available in this version; kept to say so.
    artifact: Option<toml::Value>,
}

/// `[node]`: who and where it is, how much it does at once.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// What `target_instance_id` must name.
    pub instance_id: String,
    /// Journal, artifacts, workspaces, plugins, token.
    pub data_dir: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: String,
    /// Most missions running at the same time.
    pub max_running: usize,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            instance_id: "factory-1".to_owned(),
            data_dir: None,
            listen: "127.0.0.1:7433".to_owned(),
            // A running plugin takes about 50 KiB and a slot of the pool: a thousand of them is a normal node.
            max_running: 256,
        }
    }
}

/// `[limits]`: ceilings that hold for every mission.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest request body, in bytes.
    pub body_bytes: usize,
    /// Longest run time of a mission, in minutes. There is always one.
    pub max_runtime_minutes: f64,
    /// Most model calls of a mission.
    pub max_llm_calls: Option<u64>,
    /// Most that a mission may cost, in US dollars.
    pub max_cost_usd: Option<f64>,
    /// Memory of one plugin, in MiB.
    pub plugin_memory_mib: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            body_bytes: limit::ENVELOPE_BYTES,
            max_runtime_minutes: 24.0 * 60.0,
            max_llm_calls: None,
            max_cost_usd: None,
            plugin_memory_mib: 256,
        }
    }
}

/// `[[lane]]`: missions of a `vp_runtime_id`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneConfig {
    /// The `vp_runtime_id`.
    pub id: String,
    /// Most of its missions running at the same time.
    pub concurrency: usize,
    /// Whether envelopes that name no lane go here; else the first of the list takes them.
    #[serde(default)]
    pub default: bool,
}

/// `[[token]]`: a further bearer token.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Who uses it: appears in logs and decisions.
    pub name: String,
    /// Where the token is: `env://NAME` or `file:///path`.
    pub r#ref: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Dispatch missions.
    Dispatch,
    /// Look at everything.
    Read,
    /// Cancel, pause, halt, deliveries.
    Operate,
    /// All of it, and plugins.
    Admin,
}

impl Scope {
    /// The name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// `[telemetry]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// How log lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One object a line.
    Json,
}

/// `[effects]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EffectsConfig {
    /// Further classes that `approval_required` may name.
    pub classes: Vec<EffectClass>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not TOML of this form; the source has line and column.
    #[error("the configuration {} is wrong", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value that cannot be.
    #[error("configuration: `{key}`: {why}")]
    Value {
        /// Which key.
        key: String,
        /// What is wrong, and what would be right.
        why: String,
    },
}

impl ConfigError {
    fn value(key: &str, why: impl Into<String>) -> Self {
        Self::Value { key: key.to_owned(), why: why.into() }
    }
}

impl Config {
    /// Reads `path`; without one `./sortie.toml`, then the user's configuration folder, then the defaults.
    ///
    /// # Errors
    /// [`ConfigError`], with the place.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let found = match path {
            Some(path) => Some(path.to_owned()),
            None => standard_places().into_iter().find(|place| place.is_file()),
        };
        let Some(path) = found else { return Ok(Self::default()) };
        let text =
            std::fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
        let config: Self =
            toml::from_str(&text).map_err(|source| ConfigError::Malformed { path, source: Box::new(source) })?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        for (key, absent) in [("mcp", &self.mcp), ("model", &self.model), ("artifact", &self.artifact)] {
            if absent.is_some() {
                return Err(ConfigError::value(key, "not available in this version of sortie; remove the table"));
            }
        }
        self.instance_id()?;
        self.lanes()?;
        self.plugins()?;
        self.ceilings()?;
        if self.node.max_running == 0 {
            return Err(ConfigError::value("node.max_running", "must be at least 1"));
        }
        if !(1..=4096).contains(&self.limits.plugin_memory_mib) {
            return Err(ConfigError::value("limits.plugin_memory_mib", "must be 1 to 4096"));
        }
        if !(1024..=64 << 20).contains(&self.limits.body_bytes) {
            return Err(ConfigError::value("limits.body_bytes", "must be 1024 to 67108864"));
        }
        for token in &self.token {
            token.r#ref.parse::<SecretRef>().map_err(|why| ConfigError::value("token.ref", why.to_string()))?;
        }
        Ok(())
    }

    /// `node.instance_id`, checked.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn instance_id(&self) -> Result<InstanceId, ConfigError> {
        match InstanceId::new(self.node.instance_id.as_str()) {
            Ok(id) if id.as_str() == "*" => Err(ConfigError::value("node.instance_id", "`*` means any node")),
            Ok(id) => Ok(id),
            Err(why) => Err(ConfigError::value("node.instance_id", why.to_string())),
        }
    }

    /// The lanes with their concurrency, the default one first.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn lanes(&self) -> Result<Vec<(LaneId, usize)>, ConfigError> {
        if self.lane.is_empty() {
            let id = LaneId::new("default").expect("a valid id");
            return Ok(vec![(id, self.node.max_running)]);
        }
        if self.lane.iter().filter(|lane| lane.default).count() > 1 {
            return Err(ConfigError::value("lane.default", "only one lane can be the default"));
        }
        let mut lanes = Vec::with_capacity(self.lane.len());
        for lane in &self.lane {
            let id = LaneId::new(lane.id.as_str()).map_err(|why| ConfigError::value("lane.id", why.to_string()))?;
            if lane.concurrency == 0 {
                return Err(ConfigError::value("lane.concurrency", "must be at least 1"));
            }
            if lanes.iter().any(|(other, _)| *other == id) {
                return Err(ConfigError::value("lane.id", format!("`{id}` is there twice")));
            }
            if lane.default { lanes.insert(0, (id, lane.concurrency)) } else { lanes.push((id, lane.concurrency)) }
        }
        Ok(lanes)
    }

    /// Which plugin runs what: by mission type or by VP.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn plugins(&self) -> Result<BTreeMap<String, PluginRef>, ConfigError> {
        let types = [MissionType::Coding, MissionType::Research, MissionType::Automation];
        let defaults = types.map(|kind| (kind.as_str().to_owned(), kind.as_str().to_owned()));
        let mut plugins = BTreeMap::new();
        for (key, name) in defaults.iter().map(|(key, name)| (key, name)).chain(&self.plugin) {
            let plugin = name.parse().map_err(|why| ConfigError::value(&format!("plugin.{key}"), format!("{why}")))?;
            plugins.insert(key.clone(), plugin);
        }
        Ok(plugins)
    }

    /// The node's ceilings for budgets.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked just before")]
    pub fn ceilings(&self) -> Result<Ceilings, ConfigError> {
        let minutes = self.limits.max_runtime_minutes;
        if !(minutes > 0.0 && minutes <= 60.0 * 24.0 * 365.0) {
            return Err(ConfigError::value("limits.max_runtime_minutes", "must be above 0 and at most a year"));
        }
        let cost = match self.limits.max_cost_usd {
            None => None,
            Some(usd) => Some(
                MicroUsd::from_usd(usd)
                    .ok_or_else(|| ConfigError::value("limits.max_cost_usd", "must be 0 or more"))?,
            ),
        };
        Ok(Ceilings { runtime_ms: (minutes * 60_000.0) as u64, llm_calls: self.limits.max_llm_calls, cost })
    }

    /// `node.data_dir`, else the user's data folder.
    ///
    /// # Errors
    /// [`ConfigError::Value`] where there is neither.
    pub fn data_dir(&self) -> Result<PathBuf, ConfigError> {
        use etcetera::BaseStrategy as _;
        match &self.node.data_dir {
            Some(dir) => Ok(dir.clone()),
            None => etcetera::choose_base_strategy().map(|base| base.data_dir().join("sortie")).map_err(|_| {
                ConfigError::value("node.data_dir", "there is no home folder to put data into: name a folder")
            }),
        }
    }
}

/// Where a configuration is looked for, in this order.
fn standard_places() -> Vec<PathBuf> {
    use etcetera::BaseStrategy as _;
    let user = etcetera::choose_base_strategy().ok().map(|base| base.config_dir().join("sortie/sortie.toml"));
    std::iter::once(PathBuf::from("sortie.toml")).chain(user).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn the_documented_example_is_a_valid_configuration() {
        parse(include_str!("../../../docs/sortie.example.toml")).expect("docs/sortie.example.toml");
    }

    #[test]
    fn mistakes_name_the_key() {
        for (text, expected) in [
            ("[node]\nlisten_on = 1", "listen_on"),
            ("[node]\nmax_running = 0", "node.max_running"),
            ("[node]\ninstance_id = \"*\"", "node.instance_id"),
            ("[limits]\nmax_runtime_minutes = 0", "limits.max_runtime_minutes"),
            ("[[lane]]\nid = \"a\"\nconcurrency = 0", "lane.concurrency"),
            ("[mcp.github]\ncommand = [\"x\"]", "not available"),
            ("[[token]]\nname = \"a\"\nref = \"secret\"\nscopes = []", "token.ref"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_default_lane_comes_first() {
        let config =
            parse("[[lane]]\nid = \"a\"\nconcurrency = 1\n[[lane]]\nid = \"b\"\nconcurrency = 2\ndefault = true")
                .expect("valid");
        let lanes = config.lanes().expect("valid");
        assert_eq!(lanes.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    }
}
