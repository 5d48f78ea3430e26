//! Secrets: which reference may be sent to which host, and the value for one attempt.
//!
//! An envelope names a reference and a URL, and whoever may dispatch chooses both. So the operator lists every reference,
//! each with the hosts that it is meant for; anything else would let an envelope have a secret sent to a host of its choosing.
//! Values are read for each attempt and dropped after it; they have no way into a log line, an error or the journal.

use std::fmt;

use sortie_contract::envelope::SecretRef;
use sortie_contract::net::is_public;
use tokio::io::AsyncReadExt;
use url::{Host, Url};

use crate::config::{CallbackConfig, ConfigError};
use crate::send::bearer;
use crate::sign::signature;

/// Largest file that is taken for a secret, in bytes: tokens are short, and a wrong path must not fill memory.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The value of a secret. Not printable, not comparable, not clonable, on purpose.
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, to be put into a header or a key and nowhere else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a secret has no usable value right now. Names the reference at most.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment variable is not set, or is not Unicode.
    #[error("the environment of the node has no usable variable `{name}`")]
    Env {
        /// Its name.
        name: String,
    },
    /// The file cannot be read.
    #[error("the secret file {path} cannot be read")]
    File {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing but white space.
    #[error("the secret {reference} is empty")]
    Empty {
        /// Which.
        reference: String,
    },
    /// A line break inside, or another character that no header can carry.
    #[error("the secret cannot be sent in a header")]
    HeaderForm,
    /// The signing secret begins with `whsec_` and goes on with something else than base64.
    #[error("the signing secret is not `whsec_` and base64")]
    SigningForm,
}

/// The value of `reference`, without white space around it.
pub(crate) async fn resolve(reference: &SecretRef) -> Result<Secret, SecretError> {
    let value = match reference {
        SecretRef::Env(name) => std::env::var(name).map_err(|_| SecretError::Env { name: name.clone() })?,
        SecretRef::File(path) => {
            read_bounded(path).await.map_err(|source| SecretError::File { path: path.clone(), source })?
        }
    };
    match value.trim() {
        "" => Err(SecretError::Empty { reference: reference.to_string() }),
        trimmed => Ok(Secret::new(trimmed.to_owned())),
    }
}

async fn read_bounded(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    let read = tokio::fs::File::open(path).await?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).await?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other("too large to be a secret"));
    }
    Ok(text)
}

/// The references that an envelope may name, each with its hosts; and the signing secret.
#[derive(Debug)]
pub(crate) struct Secrets {
    listed: Vec<(SecretRef, Vec<HostPattern>)>,
    signing: Option<SecretRef>,
}

/// Why a secret is not sent somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotSent {
    /// The configuration does not list the reference.
    Unlisted,
    /// It lists it, but not for this host.
    OtherHost,
    /// It lists it for this host, but not in the clear.
    Plain,
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
            let hosts = secret.hosts.iter().map(|host| {
                let pattern = HostPattern::parse(host);
                pattern.ok_or_else(|| ConfigError::Host { host: host.clone() })
            });
            listed.push((reference, hosts.collect::<Result<_, _>>()?));
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
        let mut named = entries.flat_map(|(_, hosts)| hosts).filter(|pattern| pattern.names(url)).peekable();
        if named.peek().is_none() {
            return Err(NotSent::OtherHost);
        }
        // The envelope chooses the scheme too, and in the clear everybody on the way reads along.
        if named.any(|pattern| pattern.trusts(url.scheme())) { Ok(()) } else { Err(NotSent::Plain) }
    }

    /// What deliveries are signed with.
    pub(crate) fn signing(&self) -> Option<&SecretRef> {
        self.signing.as_ref()
    }

    /// Every reference of the configuration, with what keeps it from being used right now.
    pub(crate) async fn unavailable(&self) -> Vec<(SecretRef, SecretError)> {
        let mut found = Vec::new();
        for (reference, _) in &self.listed {
            if let Err(error) = resolve(reference).await.and_then(|secret| bearer(&secret).map(drop)) {
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

/// An entry of a secret's `hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostPattern {
    scheme: Scheme,
    name: Name,
    /// `None`: any port of the host, as in the hosts of `WebFetch`.
    port: Option<u16>,
}

/// What a secret may go over to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// `https`: what is meant where nothing is said of a name or a public address.
    Encrypted,
    /// `http`: the operator says that the way is safe.
    Plain,
    /// Either: the address is private, so the way there does not lead through strangers' networks.
    Any,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    /// This host.
    Exactly(Host),
    /// Any name that ends with this; begins with a dot.
    Below(String),
}

impl HostPattern {
    fn parse(text: &str) -> Option<Self> {
        let (said, text) = match text.split_once("://") {
            Some(("http", rest)) => (Some(Scheme::Plain), rest),
            Some(("https", rest)) => (Some(Scheme::Encrypted), rest),
            Some(_) => return None,
            None => (None, text),
        };
        // A colon in brackets belongs to an IPv6 address.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port.parse().ok().filter(|port| *port != 0)?)),
            _ => (text, None),
        };
        let name = match host.strip_prefix("*.") {
            Some(parent) => match Host::parse(parent).ok()? {
                Host::Domain(parent) if !parent.contains('*') => Name::Below(format!(".{parent}")),
                _ => return None,
            },
            None => match Host::parse(host).ok()? {
                Host::Domain(name) if name.contains('*') => return None,
                host => Name::Exactly(host),
            },
        };
        let implied = match &name {
            Name::Exactly(Host::Ipv4(address)) if !is_public((*address).into()) => Scheme::Any,
            Name::Exactly(Host::Ipv6(address)) if !is_public((*address).into()) => Scheme::Any,
            Name::Exactly(_) | Name::Below(_) => Scheme::Encrypted,
        };
        Some(Self { scheme: said.unwrap_or(implied), name, port })
    }

    fn trusts(&self, scheme: &str) -> bool {
        match self.scheme {
            Scheme::Encrypted => scheme == "https",
            Scheme::Plain => scheme == "http",
            Scheme::Any => true,
        }
    }

    /// Whether host and port of `url` are meant.
    fn names(&self, url: &Url) -> bool {
        let port_fits = self.port.is_none() || self.port == url.port_or_known_default();
        let name_fits = match (&self.name, url.host()) {
            (Name::Exactly(listed), Some(host)) => *listed == host.to_owned(),
            (Name::Below(parent), Some(Host::Domain(name))) => {
                name.len() > parent.len() && name.ends_with(parent.as_str())
            }
            _ => false,
        };
        port_fits && name_fits
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
            "::1",
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
    async fn values_are_read_anew_trimmed_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let reference: SecretRef = format!("file://{}", path.display()).parse().unwrap();
        assert!(matches!(resolve(&reference).await, Err(SecretError::File { .. })));
        std::fs::write(&path, " \n").unwrap();
        assert!(matches!(resolve(&reference).await, Err(SecretError::Empty { .. })));
        for value in ["first", "second"] {
            std::fs::write(&path, format!("{value}\n")).unwrap();
            let secret = resolve(&reference).await.unwrap();
            assert_eq!(secret.expose(), value);
            assert_eq!(format!("{secret:?}"), "***");
        }
        std::fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        assert!(resolve(&reference).await.is_err(), "a megabyte is no secret");
    }

    #[tokio::test]
    async fn what_is_missing_is_found_before_it_is_needed() {
        let listed = secrets(&["example.org"]).unwrap();
        let missing = listed.unavailable().await;
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].1.to_string(), "the environment of the node has no usable variable `TOKEN`");
    }
}
