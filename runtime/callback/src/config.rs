//! `[callback]` of the configuration: how persistent deliveries are, which private addresses they may reach, which secrets go
//! to which hosts. Plain data; [`crate::Courier::new`] checks it.

use std::time::Duration;

use serde::Deserialize;
use sortie_contract::envelope::SecretRef;
use sortie_egress::SecretError;

use crate::secret::Secrets;
use crate::send::Http;

/// `[callback]`. Durations are texts such as `"30s"`, `"7d"`, `"1h 30m"`, `"250ms"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallbackConfig {
    /// Attempts before a delivery is parked.
    pub attempts: u32,
    /// A delivery that is older than this, and just failed once more, is parked.
    #[serde(deserialize_with = "sortie_contract::duration::deserialize")]
    pub max_age: Duration,
    /// The longest that an attempt may take, from the name's resolution to the head of the answer.
    #[serde(deserialize_with = "sortie_contract::duration::deserialize")]
    pub timeout: Duration,
    /// The longest that connecting may take.
    #[serde(deserialize_with = "sortie_contract::duration::deserialize")]
    pub connect_timeout: Duration,
    /// The longest wait before the second attempt; doubles with each further one.
    #[serde(deserialize_with = "sortie_contract::duration::deserialize")]
    pub backoff_first: Duration,
    /// The longest wait between two attempts, unless the receiver asks for a longer one with `Retry-After`.
    #[serde(deserialize_with = "sortie_contract::duration::deserialize")]
    pub backoff_max: Duration,
    /// Most attempts in flight.
    pub concurrency: usize,
    /// Most attempts in flight to one receiver (host and port).
    pub concurrency_per_receiver: usize,
    /// Addresses (`127.0.0.1`, `::1`) and networks (`10.1.0.0/16`) that may be reached although they are not public.
    pub allow_private: Vec<String>,
    /// The secret that deliveries are signed with, in the way of Standard Webhooks: `env://NAME` or `file:///PATH`.
    pub signing_secret: Option<String>,
    /// `[[callback.secret]]`: the references that an envelope may name.
    pub secret: Vec<SecretConfig>,
}

/// `[[callback.secret]]`: a secret, and where it may be sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretConfig {
    /// `env://NAME` or `file:///PATH`.
    #[serde(rename = "ref")]
    pub reference: String,
    /// `example.org` (at any port), `example.org:8443` (at that one), `*.example.org` (names below it): over https. Over plain
    /// http too where it is an address that is not public (`127.0.0.1:9000`), and where it is written so:
    /// `http://hq.internal:8080`.
    pub hosts: Vec<String>,
}

impl Default for CallbackConfig {
    fn default() -> Self {
        Self {
            // With waits of five minutes on average: a day and more; `max_age` is what counts.
            attempts: 400,
            max_age: Duration::from_secs(24 * 60 * 60),
            timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            backoff_first: Duration::from_secs(1),
            // A receiver that comes back hears of everything within ten minutes.
            backoff_max: Duration::from_secs(10 * 60),
            concurrency: 512,
            // Enough to keep a fast receiver busy, few enough for one that is not.
            concurrency_per_receiver: 32,
            allow_private: Vec::new(),
            signing_secret: None,
            secret: Vec::new(),
        }
    }
}

impl CallbackConfig {
    /// Refuses what no courier would take.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn examine(&self) -> Result<(), ConfigError> {
        self.check()?;
        Secrets::new(self)?;
        Http::new(self).map(drop)
    }

    /// The secrets that have no usable value right now, for whoever examines a node.
    ///
    /// # Errors
    /// [`ConfigError`], for a reference that is none.
    pub async fn unavailable_secrets(&self) -> Result<Vec<(SecretRef, SecretError)>, ConfigError> {
        Ok(Secrets::new(self)?.unavailable().await)
    }

    /// The rules that the types cannot say.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let positive = [
            ("attempts", self.attempts > 0),
            ("timeout", !self.timeout.is_zero()),
            ("connect_timeout", !self.connect_timeout.is_zero()),
            ("backoff_first", !self.backoff_first.is_zero()),
            ("concurrency_per_receiver", self.concurrency_per_receiver > 0),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, holds)| !holds) {
            return Err(ConfigError::Zero { key });
        }
        // Receivers that do not answer get at most half of the places, so there must be a half for each side.
        if self.concurrency < 2 {
            return Err(ConfigError::TooFew);
        }
        if self.backoff_max < self.backoff_first {
            return Err(ConfigError::Backoff);
        }
        Ok(())
    }
}

/// What is wrong with `[callback]`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Zero, where that would mean that nothing is ever delivered.
    #[error("callback.{key} must be more than zero")]
    Zero {
        /// Which key.
        key: &'static str,
    },
    /// No room for well receivers beside sick ones.
    #[error("callback.concurrency must be at least 2")]
    TooFew,
    /// The waits would shrink.
    #[error("callback.backoff_max must not be shorter than callback.backoff_first")]
    Backoff,
    /// An entry of `allow_private`.
    #[error("callback.allow_private")]
    Network(#[source] sortie_egress::NotANetwork),
    /// A reference to a secret.
    #[error("{key}")]
    SecretRef {
        /// Where it stands. What stands there is not told: it may be the secret itself.
        key: &'static str,
        /// The rule.
        #[source]
        source: sortie_contract::envelope::SecretRefError,
    },
    /// An entry of a secret's `hosts`.
    #[error("callback.secret.hosts")]
    Host(#[source] sortie_egress::NotAHost),
    /// `*` among a secret's hosts: an envelope chooses where to send it.
    #[error(
        "the secret `{reference}` lists every host, so that an envelope could have it sent anywhere; list those that are meant"
    )]
    AnyHost {
        /// The secret.
        reference: String,
    },
    /// A secret that could go nowhere: surely not what was meant.
    #[error("the secret `{reference}` lists no hosts, so that it could never be sent")]
    NoHosts {
        /// The secret.
        reference: String,
    },
    /// The HTTP client cannot be set up (the system's certificates, most likely).
    #[error("the HTTP client for callbacks cannot be set up")]
    Client(#[source] sortie_egress::SetupError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<CallbackConfig, String> {
        let config: CallbackConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn a_section_as_the_documentation_shows_it_is_understood() {
        let config = parse(
            r#"
            attempts = 3
            max_age = "24h"
            timeout = "250ms"
            allow_private = ["127.0.0.1"]
            signing_secret = "env://SIGNING"
            [[secret]]
            ref = "env://UA_INTERNAL_API_TOKEN"
            hosts = ["127.0.0.1:9000"]
            "#,
        )
        .unwrap();
        assert_eq!(config.attempts, 3);
        assert_eq!(config.max_age, Duration::from_secs(86_400));
        assert_eq!(config.timeout, Duration::from_millis(250));
        assert_eq!(config.backoff_first, Duration::from_secs(1), "a default");
        assert_eq!(config.secret[0].reference, "env://UA_INTERNAL_API_TOKEN");
        assert!(parse("").is_ok(), "the defaults hold by themselves");
    }

    #[test]
    fn mistakes_are_refused_and_named() {
        for (text, named) in [
            ("attempt = 3", "attempt"),
            ("max_age = 24", "max_age"),
            ("max_age = \"-24h\"", "max_age"),
            ("attempts = 0", "attempts"),
            ("timeout = \"0s\"", "timeout"),
            ("concurrency = 1", "concurrency"),
            ("backoff_max = \"1ms\"", "backoff_max"),
            ("[[secret]]\nref = \"env://A\"", "hosts"),
            ("[[secret]]\nref = \"env://A\"\nhosts = []\nvalue = \"x\"", "value"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
