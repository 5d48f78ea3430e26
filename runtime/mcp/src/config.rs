//! `[mcp.NAME]` of the configuration: which servers there are, how they are reached, and what an operator says of their tools.
//!
//! Owned here: the form of the tables, and that a setting which nothing would look at is an error. Never here: the value of a secret. A
//! configuration holds references; what stands inline is not shown either, for it may be a secret that somebody wrote there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use sortie_contract::envelope::SecretRef;
use sortie_contract::limit;
use sortie_contract::tool::EffectClass;
use sortie_egress::header::{HeaderName, HeaderValue};
use sortie_egress::{Guard, Secret, SecretError, may_carry_secrets, resolve};
use sortie_tools::{Price, TOOL_NAME_BYTES_MAX};
use url::Url;

/// What the names of all tools of all servers begin with.
pub(crate) const PREFIX: &str = "mcp__";

/// Longest name of a server, in bytes: its tools' names begin with it.
const NAME_BYTES_MAX: usize = 48;

const _: () = assert!(PREFIX.len() + NAME_BYTES_MAX + 2 < TOOL_NAME_BYTES_MAX / 2, "tools have as much room again");

/// How long a call may be silent, unless the configuration says otherwise: as long as clients of this protocol commonly wait.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a call may take that tells of its progress, unless the configuration says otherwise.
const CALL_TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);

/// The longest that it may say: longer than a night is no call.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Headers that belong to the protocol, or to the connection.
const NOT_YOURS: [&str; 9] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "transfer-encoding",
];

/// Every `[mcp.NAME]` table, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct McpConfig(pub BTreeMap<String, ServerConfig>);

/// One `[mcp.NAME]` table: a program (`command`), or an address (`url`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Whether the node reaches it at all.
    pub enabled: bool,
    /// The program and its arguments. One without a slash is looked for on the node's own `PATH`.
    pub command: Option<Vec<String>>,
    /// With `command`: where it works; else where the node does.
    pub cwd: Option<PathBuf>,
    /// With `command`: its whole environment. `env://NAME` and `file:///path` are read when it is started.
    pub env: BTreeMap<String, Setting>,
    /// The address of its one endpoint.
    pub url: Option<String>,
    /// With `url`: what is sent as `Authorization: Bearer`.
    pub bearer: Option<Setting>,
    /// With `url`: further headers.
    pub headers: BTreeMap<String, Setting>,
    /// With `url`: addresses and networks that it may be at although they are not public.
    pub allow_private: Vec<String>,
    /// How long a call may be silent.
    #[serde(deserialize_with = "sortie_contract::duration::deserialize")]
    pub call_timeout: Duration,
    /// How long one may take that tells of its progress.
    #[serde(deserialize_with = "sortie_contract::duration::deserialize")]
    pub call_timeout_max: Duration,
    /// Whether it is believed where it says that a tool changes nothing, or may be repeated.
    pub trust_annotations: bool,
    /// `[mcp.NAME.tool.TOOL]`, by the name that the server gives the tool.
    pub tool: BTreeMap<String, McpToolConfig>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            command: None,
            cwd: None,
            env: BTreeMap::new(),
            url: None,
            bearer: None,
            headers: BTreeMap::new(),
            allow_private: Vec::new(),
            call_timeout: CALL_TIMEOUT,
            call_timeout_max: CALL_TIMEOUT_MAX,
            trust_annotations: true,
            tool: BTreeMap::new(),
        }
    }
}

/// One `[mcp.NAME.tool.TOOL]` table. What is absent stays as the server declares it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct McpToolConfig {
    /// Whether missions may be granted it at all.
    pub enabled: Option<bool>,
    /// Its effect classes, in place of those that the server's annotations mean.
    pub effects: Option<Vec<EffectClass>>,
    /// Whether it changes nothing; an effect class overrules it.
    pub read_only: Option<bool>,
    /// Whether doing it twice is the same as doing it once.
    pub idempotent: Option<bool>,
    /// What a call costs, in US dollars.
    pub cost_usd: Option<Price>,
}

/// A text of the configuration that may be a secret: shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub enum Setting {
    /// As it stands there.
    Plain(String),
    /// What stands elsewhere.
    Secret(SecretRef),
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("***"),
            Self::Secret(reference) => write!(f, "{reference}"),
        }
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.starts_with("env://") || text.starts_with("file://") {
            return text.parse().map(Self::Secret).map_err(D::Error::custom);
        }
        Ok(Self::Plain(text))
    }
}

impl Setting {
    /// Its value at the moment.
    pub(crate) async fn value(&self) -> Result<Secret, SecretError> {
        match self {
            Self::Plain(text) => Ok(Secret::new(text.clone())),
            Self::Secret(reference) => resolve(reference).await,
        }
    }

    pub(crate) fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }
}

/// What is wrong with a table, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[mcp.{server}]: {why}")]
pub struct McpConfigError {
    /// The table's name.
    pub server: String,
    /// Why it does not do; begins with the key, where there is one.
    pub why: String,
}

impl McpConfig {
    /// Refuses what cannot be, and what nothing would look at.
    ///
    /// # Errors
    /// [`McpConfigError`], the first of them.
    pub fn check(&self) -> Result<(), McpConfigError> {
        self.0.iter().try_for_each(|(name, config)| {
            let checked = named(name).and_then(|()| config.check());
            checked.map_err(|why| McpConfigError { server: limit::clip(name, limit::QUOTE_BYTES_MAX), why })
        })
    }

    /// The servers that are to be reached.
    pub fn enabled(&self) -> impl Iterator<Item = (&str, &ServerConfig)> {
        self.0.iter().filter(|(_, config)| config.enabled).map(|(name, config)| (name.as_str(), config))
    }

    /// Each list of effect classes, with the key under which it stands.
    pub fn effects(&self) -> impl Iterator<Item = (String, Vec<EffectClass>)> {
        self.0.iter().flat_map(|(server, config)| {
            let of = move |(tool, config): (&String, &'_ McpToolConfig)| {
                let key = format!("mcp.{server}.tool.{tool}.effects");
                config.effects.clone().map(|classes| (key, classes))
            };
            config.tool.iter().filter_map(of)
        })
    }
}

/// A server's name becomes a part of its tools' names: from `mcp__a__b` everybody must see whose tool it is.
fn named(name: &str) -> Result<(), String> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let is_clear = !name.contains("__") && !name.starts_with('_') && !name.ends_with('_');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !is_plain || !is_clear {
        return Err(format!(
            "a server's name has up to {NAME_BYTES_MAX} letters, digits, `-` and single `_`, and none of these at its ends"
        ));
    }
    Ok(())
}

impl ServerConfig {
    fn check(&self) -> Result<(), String> {
        let foreign = |keys: &[(&str, bool)], other: &str| {
            let found = keys.iter().find(|(_, is_set)| *is_set);
            found.map_or(Ok(()), |(key, _)| Err(format!("`{key}` means nothing beside `{other}`; remove it")))
        };
        match (&self.command, &self.url) {
            (Some(command), None) => {
                if command.first().is_none_or(String::is_empty) {
                    return Err("command: names no program".to_owned());
                }
                if command.iter().any(|part| part.contains('\0')) {
                    return Err("command: holds a NUL".to_owned());
                }
                foreign(
                    &[
                        ("bearer", self.bearer.is_some()),
                        ("headers", !self.headers.is_empty()),
                        ("allow_private", !self.allow_private.is_empty()),
                    ],
                    "command",
                )?;
                self.env.keys().try_for_each(|key| variable(key))?;
            }
            (None, Some(url)) => {
                foreign(&[("cwd", self.cwd.is_some()), ("env", !self.env.is_empty())], "url")?;
                let endpoint = self.endpoint(url)?;
                self.guard()?;
                let sent = self.sent()?;
                let is_secret = self.bearer.is_some() || sent.iter().any(|(_, value)| value.is_secret());
                if is_secret && !may_carry_secrets(&endpoint, !self.allow_private.is_empty()) {
                    let key = if self.bearer.is_some() { "bearer" } else { "secret of `headers`" };
                    return Err(format!(
                        "url: the {key} would travel in the clear: write https://, or list the server's address in allow_private if it is inside"
                    ));
                }
            }
            (Some(_), Some(_)) => return Err("has `command` and `url`; a server is one or the other".to_owned()),
            (None, None) => return Err("has neither `command = [\"program\", …]` nor `url = \"https://…\"`".to_owned()),
        }
        if self.call_timeout < Duration::from_secs(1) || self.call_timeout_max > LONGEST {
            return Err("call_timeout, call_timeout_max: must be 1s to 24h".to_owned());
        }
        if self.call_timeout > self.call_timeout_max {
            return Err("call_timeout: must not be above call_timeout_max".to_owned());
        }
        self.tool.iter().try_for_each(|(name, tool)| tool.check().map_err(|why| format!("tool.{name}: {why}")))
    }

    /// The address, where it is one.
    pub(crate) fn endpoint(&self, url: &str) -> Result<Url, String> {
        let wrong = |why: &str| Err(format!("url: {why}"));
        let Ok(parsed) = url.parse::<Url>() else {
            return wrong("must be an address such as https://mcp.example.org/mcp");
        };
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host().is_none() {
            return wrong("must begin with https:// or http://");
        }
        if url.len() > limit::URL_BYTES_MAX {
            return wrong("is too long");
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return wrong("must hold no password: name a reference in `bearer` or `headers`");
        }
        Ok(parsed)
    }

    /// Which addresses it may be at.
    pub(crate) fn guard(&self) -> Result<Guard, String> {
        Guard::new(&self.allow_private, "[mcp.NAME] allow_private").map_err(|why| format!("allow_private: {why}"))
    }

    /// The headers that are sent with each request.
    pub(crate) fn sent(&self) -> Result<Vec<(HeaderName, Setting)>, String> {
        let mut sent = Vec::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let quoted = limit::clip(name, limit::QUOTE_BYTES_MAX);
            let parsed: HeaderName = name.parse().map_err(|_| format!("headers: `{quoted}` is no name of a header"))?;
            if NOT_YOURS.contains(&parsed.as_str()) {
                return Err(format!("headers: `{quoted}` is the protocol's own; remove it"));
            }
            if parsed.as_str() == "authorization" && self.bearer.is_some() {
                return Err("headers: `Authorization` is there twice, for `bearer` is one".to_owned());
            }
            if matches!(value, Setting::Plain(text) if HeaderValue::from_str(text).is_err()) {
                return Err(format!("headers: the value of `{quoted}` cannot be sent in a header"));
            }
            sent.push((parsed, value.clone()));
        }
        Ok(sent)
    }
}

fn variable(key: &str) -> Result<(), String> {
    if key.is_empty() || key.contains(['=', '\0']) {
        let quoted = limit::clip(key, limit::QUOTE_BYTES_MAX);
        return Err(format!("env: `{quoted}` cannot be the name of a variable"));
    }
    Ok(())
}

impl McpToolConfig {
    fn check(&self) -> Result<(), String> {
        for EffectClass(class) in self.effects.iter().flatten() {
            if class.is_empty() || !class.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
                return Err(format!("effects: `{class}` is no effect class; one looks like external_side_effect"));
            }
        }
        if self.read_only == Some(true) && self.effects.as_ref().is_some_and(|classes| !classes.is_empty()) {
            return Err("read_only: means nothing beside an effect class; remove one of them".to_owned());
        }
        Ok(())
    }
}
