//! `sortie.toml`: what an operator may set. `docs/sortie.example.toml` documents every key, and a test parses it.
//!
//! Unknown keys are errors: a misspelt limit must not be an unlimited one. Nothing here is a secret; secrets are referred to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use sortie_callback::CallbackConfig;
use sortie_contract::envelope::{MissionType, SecretRef};
use sortie_contract::plugin::PluginRef;
use sortie_contract::tool::{EffectClass, KNOWN_CLASSES};
use sortie_contract::{InstanceId, MicroUsd};
use sortie_dialect::DialectConfig;
use sortie_engine::RESULTS_BYTES_MIN;
use sortie_hook::HookConfig;
use sortie_mcp::McpConfig;
use sortie_mission::Ceilings;
use sortie_models::ModelsConfig;
use sortie_notify::NotifyConfig;
use sortie_objects::ArtifactConfig;
use sortie_origin::PluginSourceConfig;
use sortie_tools::{SecretsConfig, ToolsConfig};
use sortie_trace::TracesConfig;

use crate::hooks::Hooks;

mod budget;
mod lane;
mod limits;
mod mcp;
mod misplaced;
mod node;
mod notify;
mod retention;
mod token;
mod workspace;

pub use budget::BudgetConfig;
pub use lane::LaneConfig;
pub use limits::LimitsConfig;
pub(crate) use mcp::KEEPER;
pub use misplaced::Misplaced;
pub use node::NodeConfig;
pub use retention::{RetentionConfig, RetentionRuleConfig};
pub use token::{ONE_LINE, Scope, TOKEN_CHARS_MIN, TokenConfig, is_weak, may_be_sent};
pub use workspace::WorkspaceConfig;

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[node]`
    pub node: NodeConfig,
    /// `[limits]`
    pub limits: LimitsConfig,
    /// `[retention]`
    pub retention: RetentionConfig,
    /// `[[lane]]`; without any, the node has the one lane `default`.
    pub lane: Vec<LaneConfig>,
    /// `[[budget]]`: budgets that are wider than one mission.
    pub budget: Vec<BudgetConfig>,
    /// `[plugin]`: which plugin runs a mission type (`coding`, `research`, `automation`) or a VP (any other key).
    pub plugin: BTreeMap<String, String>,
    /// `[plugin_source]`: from where plugins are taken, and whose signatures are trusted.
    pub plugin_source: PluginSourceConfig,
    /// `[tool.NAME]`
    pub tool: ToolsConfig,
    /// `[secret.NAME]`: what a request of `HttpRequest` may name.
    pub secret: SecretsConfig,
    /// `[callback]`
    pub callback: CallbackConfig,
    /// `[[token]]`
    pub token: Vec<TokenConfig>,
    /// `[[notify]]`: how people are told while they are away.
    pub notify: Vec<NotifyConfig>,
    /// `[[hook]]`: where services outside deliver what happened.
    pub hook: Vec<HookConfig>,
    /// `[dialect]`: the older dialects of the control plane.
    pub dialect: DialectConfig,
    /// `[telemetry]`
    pub telemetry: TelemetryConfig,
    /// `[effects]`: classes of effects beside those of the contract.
    pub effects: EffectsConfig,
    /// `[mcp.NAME]`: tool servers.
    pub mcp: McpConfig,
    /// `[model]`
    pub model: ModelsConfig,
    /// `[workspace]`
    pub workspace: WorkspaceConfig,
    /// `[artifact]`: the store that nodes share.
    pub artifact: ArtifactConfig,
    /// Where the file lies.
    #[serde(skip)]
    folder: Option<PathBuf>,
}

/// `[telemetry]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// How log lines look.
    pub format: LogFormat,
    /// `[telemetry.otlp]`: where traces go; without it, nowhere.
    pub otlp: Option<TracesConfig>,
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
    /// It is not TOML of this form; the source has the place.
    #[error("the configuration {} is wrong", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Misplaced,
    },
    /// A value that cannot be.
    #[error("configuration: `{key}`: {why}")]
    Value {
        /// Which key.
        key: String,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// A channel that cannot be.
    #[error(transparent)]
    Channel(sortie_notify::ConfigError),
    /// A hook that cannot be.
    #[error(transparent)]
    Hook(#[from] sortie_hook::ConfigError),
    /// An older dialect that cannot be.
    #[error(transparent)]
    Dialect(#[from] sortie_dialect::ConfigError),
    /// A source of plugins that cannot be.
    #[error(transparent)]
    Source(#[from] sortie_origin::ConfigError),
    /// A store that cannot be.
    #[error(transparent)]
    Artifacts(#[from] sortie_objects::ConfigError),
    /// A collector of traces that cannot be.
    #[error(transparent)]
    Traces(#[from] sortie_trace::ConfigError),
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
        let Some(path) = Self::place(path) else { return Ok(Self::default()) };
        let text =
            crate::bounded::text(&path).map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
        Self::of(&path, &text)
    }

    /// What the text of that file says.
    ///
    /// # Errors
    /// [`ConfigError`], with the place.
    pub(crate) fn of(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text)
            .map_err(|error| ConfigError::Malformed { path: path.to_owned(), source: Misplaced::new(text, &error) })?;
        config.folder = path.parent().map(Path::to_owned);
        config.validate()?;
        Ok(config)
    }

    /// The file that [`Config::load`] reads; without any, the defaults hold.
    #[must_use]
    pub fn place(path: Option<&Path>) -> Option<PathBuf> {
        path.map(Path::to_owned).or_else(|| standard_places().into_iter().find(|place| place.is_file()))
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.artifact.examine()?;
        self.workspace.examine(&self.artifact)?;
        self.instance_id()?;
        self.fleet()?;
        self.lanes()?;
        self.hours()?;
        self.plugins()?;
        self.ceilings()?;
        self.retention()?;
        self.unused_plugins()?;
        self.request_expiry()?;
        self.landing_share()?;
        self.budgets()?;
        if self.node.max_running == 0 {
            return Err(ConfigError::value("node.max_running", "must be at least 1"));
        }
        // The plugins that the node carries begin with more than one.
        if !(2..=4096).contains(&self.limits.plugin_memory_mib) {
            return Err(ConfigError::value("limits.plugin_memory_mib", "must be 2 to 4096"));
        }
        if self.limits.crashes_alone == 0 {
            return Err(ConfigError::value("limits.crashes_alone", "must be at least 1"));
        }
        let results_min = (RESULTS_BYTES_MIN >> 20) as u64;
        if self.limits.results_mib < results_min {
            return Err(ConfigError::value("limits.results_mib", format!("must be {results_min} at least")));
        }
        if !is_listenable(&self.node.listen) {
            let why = "must be an address and a port, such as `127.0.0.1:7433` or `[::1]:7433`";
            return Err(ConfigError::value("node.listen", why));
        }
        if let Some(name) = self.node.names.iter().find(|name| !is_host_name(name)) {
            let why = format!("`{name}` is no name of a host: write `factory.example`, without scheme and port");
            return Err(ConfigError::value("node.names", why));
        }
        if !(1024..=64 << 20).contains(&self.limits.body_bytes) {
            return Err(ConfigError::value("limits.body_bytes", "must be 1024 to 67108864"));
        }
        for token in &self.token {
            token.r#ref.parse::<SecretRef>().map_err(|why| ConfigError::value("token.ref", why.to_string()))?;
        }
        self.mcp()?;
        self.channels()?;
        Hooks::new(&self.hook)?;
        self.dialect.examine(&self.node.instance_id)?;
        self.collector()?;
        self.plugin_source.examine()?;
        self.effects()
    }

    /// Whether the collector of traces can be meant.
    fn collector(&self) -> Result<(), ConfigError> {
        let Some(traces) = &self.telemetry.otlp else { return Ok(()) };
        let secrets = self.secret.named().map_err(|error| ConfigError::from_secrets(&error))?;
        Ok(sortie_trace::examine(traces, &secrets)?)
    }

    /// The classes that tools are given. A misspelt one would never need the approval that it was meant to need.
    fn effects(&self) -> Result<(), ConfigError> {
        let own = self.effects.classes.iter().map(|EffectClass(class)| class.as_str());
        let known: Vec<&str> = KNOWN_CLASSES.into_iter().chain(own).collect();
        let given =
            self.tool.0.iter().filter_map(|(name, tool)| Some((format!("tool.{name}.effects"), tool.effects.clone()?)));
        for (key, classes) in given.chain(self.mcp.effects()) {
            if let Some(EffectClass(class)) = classes.iter().find(|class| !known.contains(&class.0.as_str())) {
                let known = known.join(", ");
                let why = format!("there is no class `{class}`; known are {known}; [effects] classes adds others");
                return Err(ConfigError::value(&key, why));
            }
        }
        Ok(())
    }

    /// The share of each limit that is kept for landing, in thousandths.
    ///
    /// # Errors
    /// [`ConfigError::Value`]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked just before")]
    pub fn landing_share(&self) -> Result<u16, ConfigError> {
        let share = self.limits.landing;
        if !(0.0..=0.5).contains(&share) {
            return Err(ConfigError::value("limits.landing", "must be a share of 0 to 0.5, such as 0.05"));
        }
        Ok((share * 1e3).round() as u16)
    }

    /// The folder of the file that was read; none where the defaults hold.
    pub(crate) fn found_in(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The folder of the file: where relative names begin.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.as_deref().unwrap_or_else(|| Path::new("."))
    }

    /// The further tokens with their names and scopes, read from where the configuration says.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for one that is not there, and for two that are the same: which scopes it has nobody could say.
    pub fn tokens(&self) -> Result<Vec<(String, String, Vec<Scope>)>, ConfigError> {
        let mut all: Vec<(String, String, Vec<Scope>)> = Vec::new();
        for token in &self.token {
            let secret = token.read()?;
            if let Some((twin, ..)) = all.iter().find(|(_, other, _)| *other == secret) {
                let why =
                    format!("the tokens `{twin}` and `{}` are the same: give each a secret of its own", token.name);
                return Err(ConfigError::value("token.ref", why));
            }
            all.push((token.name.clone(), secret, token.scopes.clone()));
        }
        Ok(all)
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

    /// `limits.request_expiry`.
    ///
    /// # Errors
    /// [`ConfigError::Value`] where nobody could answer in time, or nobody would live to.
    pub fn request_expiry(&self) -> Result<SignedDuration, ConfigError> {
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        let expiry = self.limits.request_expiry;
        SignedDuration::try_from(expiry)
            .ok()
            .filter(|_| (Duration::from_secs(1)..=year).contains(&expiry))
            .ok_or_else(|| ConfigError::value("limits.request_expiry", "must be 1s to a year"))
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

/// Whether that is a name of a host, and nothing else.
fn is_host_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// Whether that has the form of an address and a port; whether it can be listened on is known when it is tried.
fn is_listenable(listen: &str) -> bool {
    listen.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty() && (bracketed || !host.contains(':')) && port.parse::<u16>().is_ok()
    })
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
            ("[[token]]\nname = \"a\"\nref = \"secret\"\nscopes = []", "token.ref"),
            ("[node]\nlisten = \"x\"", "node.listen"),
            ("[node]\nlisten = \"::1:80\"", "node.listen"),
            ("[limits]\nplugin_memory_mib = 1", "limits.plugin_memory_mib"),
            ("[limits]\nresults_mib = 15", "limits.results_mib"),
            ("[limits]\ncrashes_alone = 0", "limits.crashes_alone"),
            ("[limits]\nrequest_expiry = \"0s\"", "limits.request_expiry"),
            ("[tool.Write]\neffects = [\"outbound_emial\"]", "outbound_email"),
            ("[tool.Write]\n\ncost_usd = nan", "line 3"),
            ("[tool.Write]\ncost_usd = nan", "such as 0.0025"),
            ("[tool.Write]\ncost_usd = -1", "cost_usd"),
            ("[tool.Write]\ncost_usd = 0.00000001", "such as 0.000125"),
            ("[tool.Write]\ncost_usd = inf", "at most"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
        parse("[effects]\nclasses = [\"printing\"]\n[tool.Write]\neffects = [\"printing\", \"money_movement\"]")
            .expect("its own classes are known");
    }

    #[test]
    fn durations_are_understood_wherever_they_stand() {
        let days = |n: u64| Duration::from_secs(n * 24 * 60 * 60);
        type Read = fn(&Config) -> Duration;
        let keys: [(&str, &str, Read); 7] = [
            ("limits", "request_expiry", |config| config.limits.request_expiry),
            ("retention", "age", |config| config.retention.age.unwrap_or_default()),
            ("callback", "max_age", |config| config.callback.max_age),
            ("callback", "timeout", |config| config.callback.timeout),
            ("callback", "connect_timeout", |config| config.callback.connect_timeout),
            ("callback", "backoff_first", |config| config.callback.backoff_first),
            ("callback", "backoff_max", |config| config.callback.backoff_max),
        ];
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("sortie.toml");
        let load = |section: &str, key: &str, value: &str| {
            std::fs::write(&path, format!("[{section}]\n{key} = {value}")).expect("written");
            Config::load(Some(&path))
        };
        for (section, key, read) in keys {
            for (text, expected) in [("30d", days(30)), ("2w", days(14)), ("1d 12h", days(3) / 2)] {
                let config = load(section, key, &format!("{text:?}")).expect(key);
                assert_eq!(read(&config), expected, "{section}.{key} = {text}");
            }
            for (value, expected) in [
                ("\"30\"", "must be a duration"),
                ("\"whsec_abc\"", "must be a duration"),
                ("\"1mo\"", "months and years have no length of their own"),
                ("\"-1d\"", "not less than zero"),
                ("30", "expected a duration such as \"30d\""),
            ] {
                let error = load(section, key, value).expect_err(value);
                let told = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                let place = format!("line 2, column {} (`{key}`)", key.len() + 4);
                assert!(told.contains(&place) && told.contains(expected), "{section}.{key} = {value}: {told}");
                assert!(!told.contains("whsec"), "{told}");
            }
        }
    }

    #[test]
    fn a_secret_that_stands_there_inline_is_not_repeated() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("sortie.toml");
        for (text, place) in [
            ("[callback]\nsecret = \"whsec_abc\"", "line 2, column 10 (`secret`)"),
            ("[callback]\nsigning_secret = [\"whsec_abc\"]", "line 2, column 18 (`signing_secret`)"),
            ("[callback]\nsigning_secret = \"whsec_abc", "line 2, column"),
            ("[callback]\n\nattempts = \"whsec_abc, expected\"", "line 3, column 12 (`attempts`)"),
            ("[[token]]\nname = \"a\"\nref = \"whsec_abc\"\nscopes = []", "token.ref"),
        ] {
            std::fs::write(&path, text).expect("written");
            let error = Config::load(Some(&path)).expect_err(text);
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            let told = format!("{error} {source}");
            assert!(told.contains(place), "{text}: {told}");
            assert!(!format!("{told} {error:?}").contains("whsec_abc"), "{text}: {error:?}");
        }
    }

    #[test]
    fn tokens_are_read_from_where_they_are() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("token");
        let config =
            parse(&format!("[[token]]\nname = \"hq\"\nref = \"file://{}\"\nscopes = [\"read\"]", path.display()))
                .expect("valid");
        assert!(config.tokens().expect_err("not there").to_string().contains("token `hq`"));
        std::fs::write(&path, " \n").expect("written");
        assert!(config.tokens().expect_err("empty").to_string().contains("empty"));
        std::fs::write(&path, "hush\nhush\n").expect("written");
        assert!(config.tokens().expect_err("two lines").to_string().contains("one line"));
        std::fs::write(&path, "hush\n").expect("written");
        assert_eq!(config.tokens().expect("read"), [("hq".to_owned(), "hush".to_owned(), vec![Scope::Read])]);
        let twin = |name: &str, scope: &str| {
            format!("[[token]]\nname = {name:?}\nref = \"file://{}\"\nscopes = [{scope:?}]\n", path.display())
        };
        let twins = parse(&(twin("viewer", "read") + &twin("operator", "admin"))).expect("valid");
        let told = twins.tokens().expect_err("one secret, two scopes").to_string();
        assert!(told.contains("`viewer` and `operator` are the same"), "{told}");
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
