//! `[tool.NAME]` of the configuration: what an operator may change about a tool.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use sortie_contract::money::MicroUsd;
use sortie_contract::tool::EffectClass;

use crate::bash::{Confine, Network};

/// The keys that only some tools have, and those tools. A key that is not here is every tool's.
const KEYS_OF: [(&str, &[&str]); 15] = [
    ("hosts", &["WebFetch", "HttpRequest", "Bash"]),
    ("allow_private", &["WebFetch", "HttpRequest", "WebSearch"]),
    ("provider", &["WebSearch"]),
    ("url", &["WebSearch"]),
    ("key", &["WebSearch"]),
    ("confine", &["Bash"]),
    ("network", &["Bash"]),
    ("read", &["Bash"]),
    ("write", &["Bash"]),
    ("env", &["Bash"]),
    ("memory_mib", &["Bash"]),
    ("processes", &["Bash"]),
    ("timeout", &["Bash"]),
    ("timeout_max", &["Bash"]),
    ("concurrency", &["Bash"]),
];

/// Every `[tool.NAME]` section, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ToolsConfig(pub BTreeMap<String, ToolConfig>);

/// One `[tool.NAME]` section. What is absent stays as the tool declares it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolConfig {
    /// Whether missions may be granted it at all. On for every tool that this version has; `Bash` is off.
    pub enabled: Option<bool>,
    /// Its effect classes, in place of its own.
    pub effects: Option<Vec<EffectClass>>,
    /// Whether it changes nothing; an effect class overrules it.
    pub read_only: Option<bool>,
    /// Whether doing it twice is the same as doing it once.
    pub idempotent: Option<bool>,
    /// What a call costs, in US dollars.
    pub cost_usd: Option<Price>,
    /// `WebFetch` and `HttpRequest`: the hosts that it may ask. `example.org` and `127.0.0.1` at any port, `example.org:8443` at
    /// that one, `*.example.com` for every name below, `*` for every one whose address is public or in `allow_private`. None by default.
    pub hosts: Option<Vec<String>>,
    /// The tools of the web: addresses (`127.0.0.1`) and networks (`10.1.0.0/16`) that it may connect to although they are
    /// not public.
    pub allow_private: Option<Vec<String>>,
    /// `Bash` only: how much of what confines commands must be had.
    pub confine: Option<Confine>,
    /// `Bash` only: what commands reach of the network.
    pub network: Option<Network>,
    /// `Bash` only: folders and files that commands may read, beside the workspace, programs and libraries.
    pub read: Option<Vec<PathBuf>>,
    /// `Bash` only: folders that commands may change, beside the workspace.
    pub write: Option<Vec<PathBuf>>,
    /// `Bash` only: variables of commands: values, or references to secrets (`env://NAME`, `file:///PATH`).
    pub env: Option<BTreeMap<String, String>>,
    /// `Bash` only: memory of a command with all that it starts, in MiB.
    pub memory_mib: Option<u64>,
    /// `Bash` only: its processes and threads.
    pub processes: Option<u64>,
    /// `Bash` only: how long a command may take that asks for no time.
    #[serde(default, deserialize_with = "sortie_contract::duration::deserialize_some")]
    pub timeout: Option<Duration>,
    /// `Bash` only: the most that it may ask for.
    #[serde(default, deserialize_with = "sortie_contract::duration::deserialize_some")]
    pub timeout_max: Option<Duration>,
    /// `Bash` only: how many commands run side by side, for all missions.
    pub concurrency: Option<usize>,
    /// `WebSearch` only: who is asked, `searxng` or `brave`. Without one there is no such tool.
    pub provider: Option<String>,
    /// `WebSearch` only: where it is asked.
    pub url: Option<String>,
    /// `WebSearch` only: where the key is, `env://NAME` or `file:///PATH`.
    pub key: Option<String>,
}

/// US dollars, exact to the millionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "f64")]
pub struct Price(pub MicroUsd);

impl From<Price> for f64 {
    fn from(price: Price) -> Self {
        price.0.as_usd()
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let usd = f64::deserialize(deserializer)?;
        MicroUsd::exactly(usd).map(Self).map_err(D::Error::custom)
    }
}

/// Why tools cannot be set up as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A section for a tool that does not exist.
    #[error("[tool.{name}]: there is no such tool; known are {known}")]
    Unknown {
        /// The section's name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A key that means nothing for this tool.
    #[error("[tool.{name}]: `{key}` is a key of {owners} only")]
    KeyOfAnother {
        /// The tool.
        name: String,
        /// The key.
        key: &'static str,
        /// Whose it is.
        owners: String,
    },
    /// A value that cannot be understood.
    #[error("[tool.{name}]: {key}: {why}")]
    Value {
        /// The tool.
        name: String,
        /// The key.
        key: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// A `[secret.NAME]`.
    #[error(transparent)]
    Secret(sortie_egress::NamedSecretError),
    /// Two providers of tools have one name: an error could not say which is meant.
    #[error("there is a provider of tools called `{name}` already")]
    Provider {
        /// The name.
        name: String,
    },
}

impl ToolsConfig {
    /// Refuses what no tool would look at: a setting that is silently ignored is a hole.
    /// `available` are the tools that this version has.
    pub(crate) fn check(&self, available: &[&str]) -> Result<(), ConfigError> {
        self.0.iter().try_for_each(|(name, config)| config.check(name, available))
    }
}

impl ConfigError {
    /// A value of `[tool.NAME]` that cannot be understood.
    pub(crate) fn value(name: &str, key: &'static str, why: impl Into<String>) -> Self {
        Self::Value { name: name.to_owned(), key, why: why.into() }
    }
}

impl ToolConfig {
    /// Whether one of [`KEYS_OF`] is set.
    fn has(&self, key: &str) -> bool {
        match key {
            "hosts" => self.hosts.is_some(),
            "allow_private" => self.allow_private.is_some(),
            "provider" => self.provider.is_some(),
            "url" => self.url.is_some(),
            "key" => self.key.is_some(),
            "confine" => self.confine.is_some(),
            "network" => self.network.is_some(),
            "read" => self.read.is_some(),
            "write" => self.write.is_some(),
            "env" => self.env.is_some(),
            "memory_mib" => self.memory_mib.is_some(),
            "processes" => self.processes.is_some(),
            "timeout" => self.timeout.is_some(),
            "timeout_max" => self.timeout_max.is_some(),
            "concurrency" => self.concurrency.is_some(),
            _ => false,
        }
    }

    fn check(&self, name: &str, available: &[&str]) -> Result<(), ConfigError> {
        let named = || name.to_owned();
        if !available.contains(&name) {
            return Err(ConfigError::Unknown { name: named(), known: available.join(", ") });
        }
        let foreign = KEYS_OF.iter().find(|(key, owners)| self.has(key) && !owners.contains(&name));
        if let Some((key, owners)) = foreign {
            let owners = owners.iter().map(|owner| format!("[tool.{owner}]")).collect::<Vec<_>>().join(", ");
            return Err(ConfigError::KeyOfAnother { name: named(), key, owners });
        }
        for EffectClass(class) in self.effects.iter().flatten() {
            if class.is_empty() || !class.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
                let why = format!("`{class}` is no effect class; one looks like external_side_effect");
                return Err(ConfigError::Value { name: named(), key: "effects", why });
            }
        }
        Ok(())
    }
}
