//! `[plugin_source]`: from where a node takes plugins, and whose signatures it trusts. Nothing here is a secret; secrets are referred to.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sortie_contract::envelope::{SecretRef, SecretRefError};
use sortie_egress::{Guard, HostPattern, NotAHost};
use url::Url;

use crate::place::is_loopback;
use crate::signature::Keys;

/// Where an operator lists the addresses that are not public, for those who are refused.
pub(crate) const ALLOW_PRIVATE: &str = "[plugin_source] allow_private";

/// `[plugin_source]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginSourceConfig {
    /// The hosts that plugins are fetched from; without any, they are sent to the node and not fetched.
    pub hosts: Vec<String>,
    /// Addresses and networks that may be asked although they are not public.
    pub allow_private: Vec<String>,
    /// The keys whose signatures are trusted.
    pub keys: Vec<KeyConfig>,
    /// Whether what none of them signed is refused.
    pub require_signature: bool,
    /// `[plugin_source.registry."HOST"]`
    pub registry: BTreeMap<String, RegistryConfig>,
}

/// A public key of minisign: its text alone, or a table with a name.
#[derive(Debug, Clone)]
pub struct KeyConfig {
    /// What people call it; none: its id.
    pub name: Option<String>,
    /// The second line of `minisign.pub`.
    pub key: String,
}

/// `[plugin_source.registry."HOST"]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryConfig {
    /// Where name and password for it are, as `NAME:PASSWORD`, or a token: `env://NAME` or `file:///PATH`.
    pub credentials: String,
}

/// What is wrong with it. Repeats nothing of a reference: what stands there may be the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[plugin_source] `{key}`: {why}")]
pub struct ConfigError {
    key: String,
    why: String,
}

fn wrong(key: &str, why: &(impl fmt::Display + ?Sized)) -> ConfigError {
    ConfigError { key: key.to_owned(), why: why.to_string() }
}

/// What it comes to.
pub(crate) struct Meant {
    pub(crate) keys: Keys,
    pub(crate) hosts: Vec<HostPattern>,
    pub(crate) guard: Guard,
    pub(crate) registries: BTreeMap<String, SecretRef>,
}

impl PluginSourceConfig {
    /// Whether it can be meant, for whoever examines a configuration. Nothing is read or sent.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn examine(&self) -> Result<(), ConfigError> {
        self.read().map(drop)
    }

    /// The keys that it lists.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn keys(&self) -> Result<Keys, ConfigError> {
        let keys = self.keys.iter().map(|KeyConfig { name, key }| (name.as_deref(), key.as_str()));
        Keys::new(keys, self.require_signature).map_err(|error| wrong("keys", &error))
    }

    /// Where the credentials for a registry are, by its host.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn registries(&self) -> Result<BTreeMap<String, SecretRef>, ConfigError> {
        let known = self.registry.iter().map(|(host, RegistryConfig { credentials })| {
            let is_host = Url::parse(&format!("https://{host}/")).is_ok_and(|url| url.path() == "/" && url.has_host());
            if !is_host || host.contains(['/', '@']) {
                let why = "it is a host, with a port where one is meant, such as `ghcr.io` or `127.0.0.1:5000`";
                return Err(wrong(&format!("registry.\"{host}\""), why));
            }
            let reference = credentials
                .parse()
                .map_err(|error: SecretRefError| wrong(&format!("registry.\"{host}\".credentials"), &error))?;
            Ok((host.to_ascii_lowercase(), reference))
        });
        known.collect()
    }

    /// How a registry is asked: over http where it is listed so, or is this machine; else over https.
    #[must_use]
    pub fn scheme_of(&self, host: &str) -> &'static str {
        let address = |scheme: &str| Url::parse(&format!("{scheme}://{host}/")).ok();
        let (Some(http), Some(https)) = (address("http"), address("https")) else { return "https" };
        // Where a scheme is written, just that is meant.
        let listed = self.hosts.iter().filter_map(|text| text.parse::<HostPattern>().ok());
        for pattern in listed {
            match (pattern.permits(&http), pattern.permits(&https)) {
                (true, false) => return "http",
                (false, true) => return "https",
                _ => {}
            }
        }
        if is_loopback(host) { "http" } else { "https" }
    }

    pub(crate) fn read(&self) -> Result<Meant, ConfigError> {
        let hosts = self.hosts.iter().map(|text| text.parse());
        let hosts = hosts.collect::<Result<_, _>>().map_err(|error: NotAHost| wrong("hosts", &error))?;
        let guard = Guard::new(&self.allow_private, ALLOW_PRIVATE).map_err(|error| wrong("allow_private", &error))?;
        Ok(Meant { keys: self.keys()?, hosts, guard, registries: self.registries()? })
    }
}

impl<'de> Deserialize<'de> for KeyConfig {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = KeyConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a public key of minisign such as \"RW…\", or { name = \"release\", key = \"RW…\" }")
    }

    fn visit_str<E>(self, key: &str) -> Result<KeyConfig, E> {
        Ok(KeyConfig { name: None, key: key.to_owned() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<KeyConfig, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Named {
            name: String,
            key: String,
        }
        let Named { name, key } = Named::deserialize(MapAccessDeserializer::new(map))?;
        Ok(KeyConfig { name: Some(name), key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::tests::{BYTES, ID, KEY, PREHASHED};

    fn parse(text: &str) -> Result<PluginSourceConfig, String> {
        let config: PluginSourceConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.examine().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn keys_have_a_name_or_are_called_by_their_id() {
        for (text, name) in [
            (format!("keys = [\"{KEY}\"]"), ID),
            (format!("keys = [{{ name = \"release\", key = \"{KEY}\" }}]"), "release"),
            (format!("require_signature = true\n[[keys]]\nname = \"release\"\nkey = \"{KEY}\""), "release"),
        ] {
            let keys = parse(&text).expect("keys").keys().expect("keys");
            assert_eq!(keys.vouch(BYTES, Some(PREHASHED)).expect("good").expect("known").name, name);
        }
    }

    #[test]
    fn mistakes_are_refused_and_named_and_no_secret_is_repeated() {
        for (text, named) in [
            ("key = []", "key"),
            ("keys = [\"release\"]", "[plugin_source] `keys`"),
            ("keys = [{ name = \"a\" }]", "missing field `key`"),
            ("keys = [1]", "a public key of minisign"),
            ("hosts = [\"https://a.example/x\"]", "[plugin_source] `hosts`"),
            ("allow_private = [\"x\"]", "[plugin_source] `allow_private`"),
            ("[registry.\"a.example/x\"]\ncredentials = \"env://A\"", "registry.\"a.example/x\""),
            ("[registry.\"a.example\"]\ncredentials = \"user:hush\"", "registry.\"a.example\".credentials"),
            ("[registry.\"a.example\"]\nuser = \"x\"", "user"),
        ] {
            let says = parse(text).expect_err(text);
            assert!(says.contains(named) && !says.contains("hush"), "{text}: {says}");
        }
    }

    #[test]
    fn a_registry_is_asked_in_the_clear_only_where_that_is_meant() {
        let config =
            parse("hosts = [\"http://hq.internal:5000\", \"https://127.0.0.2\", \"r.example\"]").expect("valid");
        for (host, scheme) in [
            ("hq.internal:5000", "http"),
            ("hq.internal", "https"),
            ("r.example", "https"),
            ("ghcr.io", "https"),
            ("127.0.0.1:5000", "http"),
            ("localhost:5000", "http"),
            ("127.0.0.2", "https"),
            ("10.0.0.1:5000", "https"),
        ] {
            assert_eq!(config.scheme_of(host), scheme, "{host}");
        }
    }
}
