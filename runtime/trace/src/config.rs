//! `[telemetry.otlp]`, as an operator writes it, and what it comes to. No value is repeated in an error: a header may be a secret.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use sortie_egress::header::HeaderName;
use sortie_egress::{Client, Guard, Limits, NamedSecrets, Template};
use url::Url;

use crate::tree::Sampling;

/// Where an operator lists the addresses that are not public, for those who are refused.
const ALLOW_PRIVATE: &str = "[telemetry.otlp] allow_private";

/// What is asked for below the address of a collector, as OTLP has it.
const PATH: &str = "v1/traces";

/// Longest name of a service.
const NAME_BYTES_MAX: usize = 128;

/// `[telemetry.otlp]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracesConfig {
    /// Where the collector is: `http://HOST:4318`; `/v1/traces` is appended.
    pub url: String,
    /// Further headers; `${secret:NAME}` in one is a secret of the node.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The share of traces that is told, of 0 to 1.
    #[serde(default = "all")]
    pub sampling: f64,
    /// What this node is called among services.
    #[serde(default = "sortie")]
    pub service: String,
    /// The longest that an attempt may take.
    #[serde(default = "ten_seconds", deserialize_with = "sortie_contract::duration::deserialize")]
    pub timeout: Duration,
    /// Addresses and networks that it may be at although they are not public.
    #[serde(default)]
    pub allow_private: Vec<String>,
}

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("[telemetry.otlp] `{key}`: {why}")]
pub struct ConfigError {
    key: &'static str,
    why: String,
}

/// A collector as it is meant.
pub(crate) struct Collector {
    pub(crate) address: Url,
    pub(crate) headers: Vec<(HeaderName, Template)>,
    pub(crate) sampling: Sampling,
    pub(crate) service: String,
    pub(crate) timeout: Duration,
    pub(crate) client: Client,
}

fn all() -> f64 {
    1.0
}

fn sortie() -> String {
    "sortie".to_owned()
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn wrong(key: &'static str, why: impl Into<String>) -> ConfigError {
    ConfigError { key, why: why.into() }
}

/// Whether it can be meant, for whoever examines a configuration. Nothing is read or sent.
///
/// # Errors
/// [`ConfigError`]
pub fn examine(config: &TracesConfig, secrets: &NamedSecrets) -> Result<(), ConfigError> {
    config.read(secrets).map(drop)
}

impl TracesConfig {
    pub(crate) fn read(&self, secrets: &NamedSecrets) -> Result<Collector, ConfigError> {
        let address = address(&self.url).ok_or_else(|| {
            wrong("url", "an address such as `http://collector.example:4318`, without a query, a name or a password")
        })?;
        if !(0.0..=1.0).contains(&self.sampling) {
            return Err(wrong("sampling", "a share of traces, of 0.0 (none) to 1.0 (all)"));
        }
        if self.service.trim().is_empty() || self.service.len() > NAME_BYTES_MAX {
            return Err(wrong("service", format!("a name of up to {NAME_BYTES_MAX} bytes")));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(300)).contains(&self.timeout) {
            return Err(wrong("timeout", "must be 1s to 300s"));
        }
        let guard = Guard::new(&self.allow_private, ALLOW_PRIVATE)
            .map_err(|error| wrong("allow_private", error.to_string()))?;
        guard.literal(&address).map_err(|refused| wrong("url", refused.to_string()))?;
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            let template =
                Template::parse(value).map_err(|_| wrong("headers", "a secret is named as `${secret:NAME}`"))?;
            for name in template.names() {
                secrets.may_go(name, &address).map_err(|error| wrong("headers", error.to_string()))?;
            }
            headers.push((header(name, value)?, template));
        }
        let limits = Limits { connect_timeout: self.timeout, idle_per_host: 1, decompress: false };
        Ok(Collector {
            address,
            headers,
            sampling: Sampling::of(self.sampling),
            service: self.service.clone(),
            timeout: self.timeout,
            client: Client::new(guard, limits),
        })
    }
}

/// Where spans go, of the address of a collector.
fn address(text: &str) -> Option<Url> {
    let mut url = Url::parse(text).ok()?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !is_plain {
        return None;
    }
    let path = url.path().trim_end_matches('/').to_owned();
    // Many write it whole.
    if !path.ends_with(PATH) {
        url.set_path(&format!("{path}/{PATH}"));
    }
    Some(url)
}

/// The name of a header that an operator may set.
fn header(name: &str, value: &str) -> Result<HeaderName, ConfigError> {
    let name = HeaderName::try_from(name).map_err(|_| wrong("headers", "there is a name that is none"))?;
    if ["host", "content-length", "transfer-encoding", "connection", "content-type"].contains(&name.as_str()) {
        return Err(wrong("headers", format!("`{name}` is not for you to set")));
    }
    if value.bytes().any(|byte| !(byte == b' ' || byte.is_ascii_graphic())) {
        return Err(wrong("headers", format!("the value of `{name}` must be one line of ASCII")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Collector, String> {
        let config: TracesConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.read(&NamedSecrets::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_collector_is_asked_below_its_address() {
        for (url, expected) in [
            ("https://collector.example", "https://collector.example/v1/traces"),
            ("https://collector.example:4318/", "https://collector.example:4318/v1/traces"),
            ("https://collector.example/otlp", "https://collector.example/otlp/v1/traces"),
            ("https://collector.example/v1/traces", "https://collector.example/v1/traces"),
        ] {
            let collector = read(&format!("url = {url:?}")).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(collector.address.as_str(), expected);
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_its_key_and_without_its_value() {
        let planted = "planted-value";
        for (text, key) in [
            ("url = \"collector:4318\"".to_owned(), "`url`"),
            (format!("url = \"https://u:{planted}@collector.example\""), "`url`"),
            (format!("url = \"https://collector.example/?key={planted}\""), "`url`"),
            ("url = \"http://127.0.0.1:4318\"".to_owned(), "`url`"),
            ("url = \"https://c.example\"\nsampling = 1.5".to_owned(), "`sampling`"),
            ("url = \"https://c.example\"\nsampling = nan".to_owned(), "`sampling`"),
            ("url = \"https://c.example\"\nservice = \" \"".to_owned(), "`service`"),
            ("url = \"https://c.example\"\ntimeout = \"0s\"".to_owned(), "`timeout`"),
            ("url = \"https://c.example\"\nallow_private = [\"here\"]".to_owned(), "`allow_private`"),
            (format!("url = \"https://c.example\"\nheaders = {{ Host = \"{planted}\" }}"), "`headers`"),
            (format!("url = \"https://c.example\"\nheaders = {{ A = \"{planted}\\n\" }}"), "`headers`"),
            ("url = \"https://c.example\"\nheaders = { A = \"${secret:none}\" }".to_owned(), "`headers`"),
        ] {
            let error = read(&text).err().unwrap_or_else(|| panic!("{text} is taken"));
            assert!(error.contains(key) && !error.contains(planted), "{text}: {error}");
        }
        assert!(read("url = \"http://127.0.0.1:4318\"\nallow_private = [\"127.0.0.1\"]").is_ok());
    }
}
