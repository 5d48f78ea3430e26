//! `[dialect]`: what an operator writes, and what is wrong with it. No value of a secret's place is repeated in an error.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use sortie_contract::plugin::PluginRef;

use crate::access::Access;
use crate::bridge::Bridge;
use crate::envelope::Dialect;
use crate::heartbeat::Heartbeat;

/// `[dialect]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DialectConfig {
    /// Who dispatched them: the `source_instance_id` of their missions.
    pub source: String,
    /// What runs the missions of an old type, by its name.
    pub types: BTreeMap<String, TypeConfig>,
    /// What runs those of any other; without it they are refused.
    pub default: Option<TypeConfig>,
    /// `[dialect.http]`
    pub http: Option<HttpConfig>,
    /// `[dialect.redis]`
    pub redis: Option<RedisConfig>,
    /// `[dialect.heartbeat]`
    pub heartbeat: Option<HeartbeatConfig>,
    /// `[dialect.receipts]`
    pub receipts: Option<ReceiptsConfig>,
}

impl Default for DialectConfig {
    fn default() -> Self {
        Self {
            source: "control-plane".to_owned(),
            types: BTreeMap::new(),
            default: None,
            http: None,
            redis: None,
            heartbeat: None,
            receipts: None,
        }
    }
}

impl DialectConfig {
    /// The plugins that types name: who collects those that nobody needs leaves them.
    pub fn plugins(&self) -> impl Iterator<Item = PluginRef> {
        self.types.values().chain(&self.default).filter_map(|kind| kind.runs.parse().ok())
    }

    /// Refuses what cannot be meant, on a node of that name.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn examine(&self, node: &str) -> Result<(), ConfigError> {
        Dialect::new(self)?;
        self.http.as_ref().map(Access::new).transpose()?;
        self.redis.as_ref().map(|redis| Bridge::examine(redis, node)).transpose()?;
        self.heartbeat.as_ref().map(Heartbeat::examine).transpose()?;
        Ok(())
    }
}

/// What runs the missions of an old type: a text alone is `runs`.
#[derive(Debug, Clone, Default)]
pub struct TypeConfig {
    /// A mission type of the contract, or a plugin: `coding`, `my-plugin`, `my-plugin@2.0.0`.
    pub runs: String,
    /// Whose missions they are, where a message does not say.
    pub vp_id: Option<String>,
    /// What of the old constraints, or of a job's context, the plugin gets as inputs.
    pub inputs: Vec<String>,
    /// What else stands in their envelopes: what the old dialects cannot say.
    pub envelope: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WholeType {
    runs: String,
    vp_id: Option<String>,
    #[serde(default)]
    inputs: Vec<String>,
    #[serde(default)]
    envelope: Map<String, Value>,
}

impl<'de> Deserialize<'de> for TypeConfig {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = TypeConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mission type or a plugin, as a text, or a table with `runs`")
            }

            fn visit_str<E: de::Error>(self, runs: &str) -> Result<TypeConfig, E> {
                Ok(TypeConfig { runs: runs.to_owned(), ..TypeConfig::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TypeConfig, A::Error> {
                let WholeType { runs, vp_id, inputs, envelope } =
                    WholeType::deserialize(MapAccessDeserializer::new(map))?;
                Ok(TypeConfig { runs, vp_id, inputs, envelope })
            }
        }
        source.deserialize_any(Either)
    }
}

/// `[dialect.http]`: dispatch and cancel as they were. At least one of `jwt_secret` and `ops_token`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// The key that bearer tokens are signed with (HS256): `env://NAME` or `file:///PATH`.
    pub jwt_secret: Option<String>,
    /// Who issues them.
    #[serde(default = "issuer")]
    pub issuer: String,
    /// Whom they are for.
    #[serde(default = "audience")]
    pub audience: String,
    /// What `x-ua-ops-token` must be: `env://NAME` or `file:///PATH`.
    pub ops_token: Option<String>,
    /// Where the events of these missions go: the `callback` of their envelopes.
    pub callback: Option<Map<String, Value>>,
}

fn issuer() -> String {
    "universal-agent".to_owned()
}

fn audience() -> String {
    "ua-ops".to_owned()
}

/// `[dialect.redis]`: the bridge.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// Where it is: `redis://HOST:6379/0`, with TLS `rediss://…`; a name of a user may stand before the host.
    pub url: String,
    /// Where its password is: `env://NAME` or `file:///PATH`.
    pub password: Option<String>,
    /// The stream of jobs.
    #[serde(default = "stream")]
    pub stream: String,
    /// The group of its consumers.
    #[serde(default = "group")]
    pub group: String,
    /// What this node is called among them; without it, as it is called.
    pub consumer: Option<String>,
    /// Where the results go; without it, to `{stream}:results`.
    pub results: Option<String>,
    /// Where what cannot be translated goes.
    #[serde(default = "dead_letters")]
    pub dead_letters: String,
    /// How long another consumer may leave a job without a word before this one takes it.
    #[serde(default = "a_minute", deserialize_with = "sortie_contract::duration::deserialize")]
    pub claim_after: Duration,
    /// Addresses and networks that it may be at although they are not public.
    #[serde(default)]
    pub allow_private: Vec<String>,
}

fn stream() -> String {
    "ua:missions:delegation".to_owned()
}

fn group() -> String {
    "ua_workers".to_owned()
}

fn dead_letters() -> String {
    "ua:missions:dlq".to_owned()
}

fn a_minute() -> Duration {
    Duration::from_secs(60)
}

/// `[dialect.heartbeat]`: the headquarters hears of this node.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatConfig {
    /// Its address; `/api/v1/factory/registrations` is appended.
    pub hq: String,
    /// What goes as `x-ua-ops-token`: `env://NAME` or `file:///PATH`.
    pub ops_token: Option<String>,
    /// What goes as bearer token.
    pub bearer: Option<String>,
    /// What this node is called there; without it, as it is called.
    pub factory_id: Option<String>,
    /// What it is there.
    #[serde(default = "local_worker")]
    pub role: String,
    /// How it is deployed.
    #[serde(default = "local_workstation")]
    pub deployment_profile: String,
    /// What it can do, beside what is known of it.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// How often it is heard of.
    #[serde(default = "a_minute", deserialize_with = "sortie_contract::duration::deserialize")]
    pub every: Duration,
    /// The longest that an attempt may take.
    #[serde(default = "a_quarter_minute", deserialize_with = "sortie_contract::duration::deserialize")]
    pub timeout: Duration,
    /// Addresses and networks that it may be at although they are not public.
    #[serde(default)]
    pub allow_private: Vec<String>,
}

fn local_worker() -> String {
    "LOCAL_WORKER".to_owned()
}

fn local_workstation() -> String {
    "local_workstation".to_owned()
}

fn a_quarter_minute() -> Duration {
    Duration::from_secs(15)
}

/// `[dialect.receipts]`: files in the workspaces of missions that have ended.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptsConfig {}

/// Why a dialect cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[dialect] `{key}`: {why}")]
pub struct ConfigError {
    key: String,
    why: String,
}

impl ConfigError {
    pub(crate) fn new(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { key: key.into(), why: why.into() }
    }
}
