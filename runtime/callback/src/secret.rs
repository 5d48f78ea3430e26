//! Secrets: which reference may be sent to which host.
//!
//! An envelope names a reference and a URL, and whoever may dispatch chooses both. So the operator lists every reference,
//! each with the hosts that it is meant for; anything else would let an envelope have a secret sent to a host of its choosing.
//! Values are read for each attempt (`sortie-egress`) and dropped after it.

use sortie_contract::envelope::{NotSent, SecretRef};
use sortie_egress::webhook::signature;
use sortie_egress::{HostPattern, SecretError, may_be_sent, resolve};
use url::Url;

use crate::config::{CallbackConfig, ConfigError};

/// The references that an envelope may name, each with its hosts; and the signing secret.
#[derive(Debug)]
pub(crate) struct Secrets {
    listed: Vec<(SecretRef, Vec<HostPattern>)>,
    signing: Option<SecretRef>,
}

impl Secrets {
    pub(crate) fn new(config: &CallbackConfig) -> Result<Self, ConfigError> {
        let parse = |key, reference: &str| {
            // What is no reference may be the secret itself, so it is not repeated.
            reference.parse::<SecretRef>().map_err(|source| ConfigError::SecretRef { key, source })
        };
        let mut listed = Vec::new();
        for secret in &config.secret {
            let reference = parse("callback.secret.ref", &secret.reference)?;
            if secret.hosts.is_empty() {
                return Err(ConfigError::NoHosts { reference: reference.to_string() });
            }
            let hosts = secret.hosts.iter().map(|host| host.parse().map_err(ConfigError::Host));
            let hosts: Vec<HostPattern> = hosts.collect::<Result<_, _>>()?;
            if hosts.iter().any(HostPattern::is_any) {
                return Err(ConfigError::AnyHost { reference: reference.to_string() });
            }
            listed.push((reference, hosts));
        }
        let signing = config.signing_secret.as_deref();
        let signing = signing.map(|reference| parse("callback.signing_secret", reference)).transpose()?;
        Ok(Self { listed, signing })
    }

    /// Whether `reference` may be sent to the host of `url`. The same reference may be listed several times.
    pub(crate) fn may_send(&self, reference: &SecretRef, url: &Url) -> Result<(), NotSent> {
        let mut entries = self.listed.iter().filter(|(listed, _)| listed == reference).peekable();
        if entries.peek().is_none() {
            return Err(NotSent::Unlisted);
        }
        may_be_sent(entries.flat_map(|(_, hosts)| hosts), url)
    }

    /// What deliveries are signed with.
    pub(crate) fn signing(&self) -> Option<&SecretRef> {
        self.signing.as_ref()
    }

    /// Every reference of the configuration, with what keeps it from being used right now.
    pub(crate) async fn unavailable(&self) -> Vec<(SecretRef, SecretError)> {
        let mut found = Vec::new();
        for (reference, _) in &self.listed {
            if let Err(error) = resolve(reference).await.and_then(|secret| secret.bearer().map(drop)) {
                found.push((reference.clone(), error));
            }
        }
        if let Some(reference) = &self.signing
            && let Err(error) = resolve(reference).await.and_then(|secret| signature(&secret, "", 0, b"").map(drop))
        {
            found.push((reference.clone(), error));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretConfig;

    fn secrets(hosts: &[&str]) -> Result<Secrets, ConfigError> {
        let hosts = hosts.iter().map(ToString::to_string).collect();
        let secret = vec![SecretConfig { reference: "env://TOKEN".to_owned(), hosts }];
        Secrets::new(&CallbackConfig { secret, ..CallbackConfig::default() })
    }

    #[test]
    fn a_secret_goes_to_its_hosts_and_to_no_other() {
        let listed = secrets(&[
            "example.org",
            "127.0.0.1:9000",
            "*.hooks.example",
            "[::1]:80",
            "exact.example:8443",
            "1.1.1.1",
            "http://hq.internal:8080",
            "https://sure.example",
            "https://127.0.0.2",
        ])
        .unwrap();
        let token: SecretRef = "env://TOKEN".parse().unwrap();
        for (url, expected) in [
            ("https://example.org/status", Ok(())),
            ("https://EXAMPLE.org:443/", Ok(())),
            ("http://127.0.0.1:9000/", Ok(())),
            ("https://a.hooks.example/", Ok(())),
            ("http://[::1]/", Ok(())),
            ("https://exact.example:8443/", Ok(())),
            ("https://example.org:8443/", Ok(())),
            ("https://example.org.evil.example/", Err(NotSent::OtherHost)),
            ("https://evil-example.org/", Err(NotSent::OtherHost)),
            ("https://sub.example.org/", Err(NotSent::OtherHost)),
            ("http://127.0.0.1:9001/", Err(NotSent::OtherHost)),
            ("http://127.0.0.1/", Err(NotSent::OtherHost)),
            ("https://hooks.example/", Err(NotSent::OtherHost)),
            ("https://evilhooks.example/", Err(NotSent::OtherHost)),
            ("https://exact.example/", Err(NotSent::OtherHost)),
            ("http://example.org/", Err(NotSent::Plain)),
            ("http://example.org:443/", Err(NotSent::Plain)),
            ("http://a.hooks.example/", Err(NotSent::Plain)),
            ("http://1.1.1.1/", Err(NotSent::Plain)),
            ("https://1.1.1.1/", Ok(())),
            ("https://127.0.0.1:9000/", Ok(())),
            ("http://hq.internal:8080/", Ok(())),
            ("https://hq.internal:8080/", Err(NotSent::Plain)),
            ("http://hq.internal/", Err(NotSent::OtherHost)),
            ("http://sure.example/", Err(NotSent::Plain)),
            ("https://sure.example/", Ok(())),
            ("http://127.0.0.2/", Err(NotSent::Plain)),
        ] {
            assert_eq!(listed.may_send(&token, &url.parse().unwrap()), expected, "{url}");
        }
        let other: SecretRef = "env://HOME".parse().unwrap();
        assert_eq!(listed.may_send(&other, &"https://example.org/".parse().unwrap()), Err(NotSent::Unlisted));
    }

    #[test]
    fn what_is_no_host_is_refused_when_the_node_starts() {
        for host in [
            "",
            "*",
            "*.",
            "ftp://example.org",
            "http://",
            "http://example.org/",
            "https://https://example.org",
            "example.org:0",
            "example.org:x",
            "a*.example",
            "*.*.example",
            "*.127.0.0.1",
            "https://*",
        ] {
            assert!(secrets(&[host]).is_err(), "{host}");
        }
        assert!(matches!(secrets(&[]), Err(ConfigError::NoHosts { .. })));
    }

    #[test]
    fn a_secret_in_place_of_a_reference_is_not_repeated() {
        let inline = |reference: &str, hosts: &[&str]| SecretConfig {
            reference: reference.to_owned(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
        };
        let as_signing = CallbackConfig { signing_secret: Some("whsec_abc".to_owned()), ..CallbackConfig::default() };
        let as_secret =
            CallbackConfig { secret: vec![inline("whsec_abc", &["a.example"])], ..CallbackConfig::default() };
        let without_hosts = CallbackConfig { secret: vec![inline("whsec_abc", &[])], ..CallbackConfig::default() };
        for (config, key) in [
            (as_signing, "callback.signing_secret"),
            (as_secret, "callback.secret.ref"),
            (without_hosts, "callback.secret.ref"),
        ] {
            let error = Secrets::new(&config).unwrap_err();
            let told = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
            assert!(told.contains(key) && !told.contains("whsec_abc"), "{told}");
        }
    }

    #[tokio::test]
    async fn what_is_missing_is_found_before_it_is_needed() {
        let listed = secrets(&["example.org"]).unwrap();
        let missing = listed.unavailable().await;
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].1.to_string(), "the environment of the node has no usable variable `TOKEN`");
    }
}
