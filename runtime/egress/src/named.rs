//! `[secret.NAME]`: secrets that a request may name as `${secret:NAME}`, each with the hosts that it is meant for.
//!
//! Whoever writes a request (a plugin, an envelope) chooses its address too, so the operator lists for each name where it may go. A
//! text with names in it is a [`Template`]; the values are read and put in just before a request is sent ([`NamedSecrets::open`],
//! [`Opened::fill`]), and [`Opened::redactor`] takes them out of whatever comes back. Never here: in which part of a request a name
//! may stand.

use std::collections::BTreeMap;
use std::fmt;

use reqwest::header::HeaderValue;
use sortie_contract::envelope::{NotSent, SecretRef, SecretRefError};
use sortie_contract::limit;
use url::Url;

use crate::host::{HostPattern, NotAHost, may_be_sent};
use crate::redact::Redactor;
use crate::secret::{Secret, SecretError, resolve};

/// What a name in a text begins with.
const OPENING: &str = "${secret:";

/// Longest name, in bytes: it stands in records in place of the value.
pub(crate) const SECRET_NAME_BYTES_MAX: usize = 64;

/// Shortest value that is sent, in bytes: a shorter one could not be told from other text, and so not be taken out of an answer.
pub(crate) const SECRET_BYTES_MIN: usize = 8;

/// Longest value that is sent, in bytes: what servers take of one header, with room for the others.
pub(crate) const SECRET_BYTES_MAX: usize = 4_096;

/// Most names in one text: more is a mistake.
const NAMES_MAX: usize = 16;

/// Every `[secret.NAME]` of a configuration.
#[derive(Debug, Default)]
pub struct NamedSecrets(BTreeMap<String, Rule>);

#[derive(Debug)]
struct Rule {
    reference: SecretRef,
    hosts: Vec<HostPattern>,
}

/// What is wrong with a `[secret.NAME]`. Never holds what stands in the place of its reference: it may be the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamedSecretError {
    /// No name.
    #[error("[secret.{0}]: a name has up to 64 letters, digits, `_` and `-`")]
    Name(String),
    /// No reference.
    #[error("[secret.{name}]: ref")]
    Reference {
        /// Whose.
        name: String,
        /// The rule.
        #[source]
        source: SecretRefError,
    },
    /// No host.
    #[error("[secret.{name}]: hosts")]
    Host {
        /// Whose.
        name: String,
        /// The rule.
        #[source]
        source: NotAHost,
    },
    /// `*` among its hosts: whoever writes a request chooses where it goes.
    #[error(
        "[secret.{0}]: hosts: it lists every host, so that a plugin could have it sent anywhere; list those that are meant"
    )]
    AnyHost(String),
    /// None.
    #[error("[secret.{0}]: hosts: it lists none, so that it could never be sent")]
    NoHosts(String),
}

/// Why a secret is not put into a request. Never holds its reference either: that is the operator's, and stands in the node's log.
#[derive(Debug, thiserror::Error)]
pub enum Withheld {
    /// No `[secret.NAME]` of that name.
    #[error("the node's configuration has no [secret.{0}]")]
    Unknown(String),
    /// Not for this host.
    #[error("[secret.{name}] hosts does not list {host}; the operator lists there where it may be sent")]
    OtherHost {
        /// Which.
        name: String,
        /// With its port.
        host: String,
    },
    /// In the clear, through strangers' networks.
    #[error(
        "the secret `{name}` is not sent to {host} over plain http, where everybody on the way reads along; ask it over https (an \
         operator who means it lists `http://{host}` under [secret.{name}] hosts)"
    )]
    Plain {
        /// Which.
        name: String,
        /// With its port.
        host: String,
    },
    /// It has no value that could be sent.
    #[error("the secret `{name}` has no usable value at the moment; the node's log and `sortie doctor` say why")]
    Unusable {
        /// Which.
        name: String,
        /// Why.
        error: SecretError,
    },
}

/// A text in which `${secret:NAME}` stands for values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Secret(String),
}

/// Why a text is no [`Template`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret is written `{OPENING}NAME}}`, where a name has up to 64 letters, digits, `_` and `-`; at most {NAMES_MAX} in a text"
)]
pub struct NotATemplate;

impl Template {
    /// Whether a text names a secret, or tries to.
    #[must_use]
    pub fn is_in(text: &str) -> bool {
        text.contains(OPENING)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`NotATemplate`]
    pub fn parse(text: &str) -> Result<Self, NotATemplate> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once(OPENING) {
            let (name, after) = after.split_once('}').filter(|(name, _)| is_name(name)).ok_or(NotATemplate)?;
            parts.extend([Part::Text(before.to_owned()), Part::Secret(name.to_owned())]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        if parts.len() > 2 * NAMES_MAX + 1 { Err(NotATemplate) } else { Ok(Self(parts)) }
    }

    /// The names in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Secret(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }
}

fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=SECRET_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

impl NamedSecrets {
    /// As they are written: name, reference, hosts.
    ///
    /// # Errors
    /// [`NamedSecretError`]
    pub fn new<'a>(
        listed: impl IntoIterator<Item = (&'a String, &'a String, &'a [String])>,
    ) -> Result<Self, NamedSecretError> {
        let mut secrets = BTreeMap::new();
        for (name, reference, hosts) in listed {
            if !is_name(name) {
                return Err(NamedSecretError::Name(limit::clip(name, limit::QUOTE_BYTES_MAX)));
            }
            let named = || name.clone();
            let reference =
                reference.parse().map_err(|source| NamedSecretError::Reference { name: named(), source })?;
            let hosts = hosts.iter().map(|host| host.parse());
            let hosts: Vec<HostPattern> =
                hosts.collect::<Result<_, _>>().map_err(|source| NamedSecretError::Host { name: named(), source })?;
            if hosts.is_empty() {
                return Err(NamedSecretError::NoHosts(named()));
            }
            if hosts.iter().any(HostPattern::is_any) {
                return Err(NamedSecretError::AnyHost(named()));
            }
            secrets.insert(named(), Rule { reference, hosts });
        }
        Ok(Self(secrets))
    }

    /// Whether there is a secret of this name, and it may go to `url`.
    ///
    /// # Errors
    /// [`Withheld`]
    pub fn may_go(&self, name: &str, url: &Url) -> Result<(), Withheld> {
        let name = limit::clip(name, limit::QUOTE_BYTES_MAX);
        let Some(rule) = self.0.get(&name) else { return Err(Withheld::Unknown(name)) };
        let host = || {
            let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
            limit::clip(&format!("{}{port}", url.host_str().unwrap_or_default()), limit::QUOTE_BYTES_MAX)
        };
        match may_be_sent(&rule.hosts, url) {
            Ok(()) => Ok(()),
            Err(NotSent::Plain) => Err(Withheld::Plain { name, host: host() }),
            Err(NotSent::OtherHost | NotSent::Unlisted) => Err(Withheld::OtherHost { name, host: host() }),
        }
    }

    /// The values of `names`, for one request to `url` and what comes back. Reads none before all of them may go there.
    ///
    /// # Errors
    /// [`Withheld`]
    pub async fn open(&self, names: impl IntoIterator<Item = &str>, url: &Url) -> Result<Opened, Withheld> {
        let mut wanted = BTreeMap::new();
        for name in names {
            self.may_go(name, url)?;
            wanted.insert(name, &self.0[name].reference);
        }
        let mut values = BTreeMap::new();
        for (name, reference) in wanted {
            let value = usable(reference).await;
            let value = value.map_err(|error| Withheld::Unusable { name: name.to_owned(), error })?;
            values.insert(name.to_owned(), value);
        }
        Ok(Opened(values))
    }

    /// Those that have no usable value right now, for whoever examines a node.
    pub async fn unavailable(&self) -> Vec<(String, SecretRef, SecretError)> {
        let mut found = Vec::new();
        for (name, Rule { reference, .. }) in &self.0 {
            if let Err(error) = usable(reference).await {
                found.push((name.clone(), reference.clone(), error));
            }
        }
        found
    }
}

/// The value of a reference, if it can stand in a header and be found in an answer again.
///
/// # Errors
/// [`SecretError`]
pub async fn usable(reference: &SecretRef) -> Result<Secret, SecretError> {
    let secret = resolve(reference).await?;
    secret.can_be_redacted(reference)?;
    secret.bearer()?;
    Ok(secret)
}

/// The values of some secrets, for one call. Not printable.
pub struct Opened(BTreeMap<String, Secret>);

impl Opened {
    /// A header's value, with the secrets put in. `None`: what stands around them cannot be sent in a header.
    ///
    /// # Panics
    /// Never: a template is filled from what was opened for its names.
    #[must_use]
    pub fn fill(&self, template: &Template) -> Option<HeaderValue> {
        let mut text = String::new();
        for part in &template.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Secret(name) => text.push_str(self.0.get(name).expect("it was opened for this").expose()),
            }
        }
        let mut value = HeaderValue::try_from(text).ok()?;
        // What is sensitive is neither printed nor kept by header compression.
        value.set_sensitive(template.names().next().is_some());
        Some(value)
    }

    /// What takes the values out of texts again.
    #[must_use]
    pub fn redactor(&self) -> Redactor {
        Redactor::new(self.0.iter().map(|(name, secret)| (format!("{OPENING}{name}}}"), secret)))
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secrets(path: &str, hosts: &[&str]) -> Result<NamedSecrets, NamedSecretError> {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        NamedSecrets::new([(&"forge".to_owned(), &format!("file://{path}"), hosts.as_slice())])
    }

    #[test]
    fn names_are_found_in_a_text_and_nothing_else_is() {
        let names = |text: &str| Template::parse(text).map(|read| read.names().map(str::to_owned).collect::<Vec<_>>());
        for (text, expected) in [
            ("", vec![]),
            ("Bearer x", vec![]),
            ("${secret:a}", vec!["a"]),
            ("Bearer ${secret:a-B_1} and ${secret:b}", vec!["a-B_1", "b"]),
            ("$secret:a} ${SECRET:a} {secret:a}", vec![]),
        ] {
            assert_eq!(names(text).unwrap(), expected, "{text}");
        }
        for text in ["${secret:}", "${secret:a", "${secret:a b}", "${secret:${secret:a}}", "${secret:ä}"] {
            assert_eq!(names(text), Err(NotATemplate), "{text}");
        }
        assert!(
            names(&"${secret:a}".repeat(NAMES_MAX)).is_ok() && names(&"${secret:a}".repeat(NAMES_MAX + 1)).is_err()
        );
    }

    #[test]
    fn what_is_wrong_is_told_without_what_may_be_the_secret() {
        let one = |name: &str, reference: &str, hosts: &[&str]| {
            let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
            let error = NamedSecrets::new([(&name.to_owned(), &reference.to_owned(), hosts.as_slice())]).unwrap_err();
            format!("{error} {error:?} {:?}", std::error::Error::source(&error).map(ToString::to_string))
        };
        for (told, expected) in [
            (one("a b", "env://A", &["x.example"]), "letters, digits"),
            (one("a", "s3cr3t-value", &["x.example"]), "[secret.a]: ref"),
            (one("a", "env://A", &["x.example/path"]), "[secret.a]: hosts"),
            (one("a", "env://A", &[]), "could never be sent"),
            (one("a", "env://A", &["x.example", "*"]), "sent anywhere"),
        ] {
            assert!(told.contains(expected) && !told.contains("s3cr3t"), "{told}");
        }
    }

    const HOSTS: [&str; 7] =
        ["a.example", "x.a.example", "xa.example", "a.example.evil.net", "127.0.0.1", "10.0.0.1", "1.1.1.1"];

    /// An entry of a list as somebody writes it, in its parts.
    #[derive(Debug, Clone)]
    struct Entry {
        scheme: Option<&'static str>,
        is_below: bool,
        host: &'static str,
        port: Option<u16>,
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let scheme = prop::option::of(prop::sample::select(vec!["http", "https"]));
        let port = prop::option::of(prop::sample::select(vec![80, 443, 8443]));
        (scheme, any::<bool>(), prop::sample::select(HOSTS.to_vec()), port).prop_map(
            |(scheme, is_below, host, port)| {
                let is_name = host.ends_with(char::is_alphabetic);
                Entry { scheme, is_below: is_below && is_name, host, port }
            },
        )
    }

    impl Entry {
        fn written(&self) -> String {
            let scheme = self.scheme.map(|scheme| format!("{scheme}://")).unwrap_or_default();
            let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("{scheme}{}{}{port}", if self.is_below { "*." } else { "" }, self.host)
        }

        /// What the documents say, word by word.
        fn lets(&self, scheme: &str, host: &str, port: u16) -> bool {
            let is_host = if self.is_below { host.ends_with(&format!(".{}", self.host)) } else { host == self.host };
            let is_inside = ["127.0.0.1", "10.0.0.1"].contains(&self.host);
            let is_scheme = self.scheme.map_or(scheme == "https" || is_inside, |listed| listed == scheme);
            is_host && is_scheme && self.port.is_none_or(|listed| listed == port)
        }
    }

    proptest! {
        #[test]
        fn a_secret_goes_where_an_entry_says_and_nowhere_else(
            entries in prop::collection::vec(entry(), 1..4),
            scheme in prop::sample::select(vec!["http", "https"]),
            host in prop::sample::select(HOSTS.to_vec()),
            port in prop::option::of(prop::sample::select(vec![80_u16, 443, 8443])),
            spelling in 0..3,
            path in "(/[a-z@:.]{0,8})?",
        ) {
            let written: Vec<String> = entries.iter().map(Entry::written).collect();
            let secrets =
                NamedSecrets::new([(&"s".to_owned(), &"env://S".to_owned(), written.as_slice())]).unwrap();
            let is_name = host.ends_with(char::is_alphabetic);
            let spelt = match spelling {
                1 => host.to_uppercase(),
                2 if is_name => format!("{host}."),
                _ => host.to_owned(),
            };
            let shown = port.map(|port| format!(":{port}")).unwrap_or_default();
            let url: Url = format!("{scheme}://{spelt}{shown}{path}").parse().unwrap();
            let port = port.unwrap_or(if scheme == "http" { 80 } else { 443 });
            let expected = entries.iter().any(|entry| entry.lets(scheme, host, port));
            prop_assert_eq!(secrets.may_go("s", &url).is_ok(), expected, "{} to {:?}", url, written);
        }
    }

    #[tokio::test]
    async fn a_value_is_read_only_for_a_host_that_may_have_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("forge");
        std::fs::write(&path, "s3cr3t-value\n").unwrap();
        let secrets = secrets(path.to_str().unwrap(), &["api.example", "127.0.0.1:80"]).unwrap();
        let template = Template::parse("Bearer ${secret:forge}").unwrap();
        let url = |text: &str| text.parse::<Url>().unwrap();
        for near in ["https://api.example/x", "http://127.0.0.1/"] {
            let opened = secrets.open(template.names(), &url(near)).await.unwrap();
            let value = opened.fill(&template).unwrap();
            assert_eq!(value.as_bytes(), b"Bearer s3cr3t-value");
            assert!(!format!("{value:?} {opened:?} {secrets:?}").contains("s3cr3t"));
        }
        for (far, expected) in [
            ("https://api.example.evil.net/", "does not list api.example.evil.net:443"),
            ("https://sub.api.example/", "does not list"),
            ("http://api.example/", "over plain http"),
            ("http://127.0.0.1:81/", "does not list 127.0.0.1:81"),
        ] {
            let told = secrets.open(template.names(), &url(far)).await.unwrap_err().to_string();
            assert!(told.contains(expected), "{far}: {told}");
        }
        let told = secrets.open(["forge", "other"], &url("https://api.example/")).await.unwrap_err().to_string();
        assert!(told.contains("no [secret.other]"), "{told}");
    }

    #[tokio::test]
    async fn a_value_that_cannot_be_sent_or_found_again_is_not_used_and_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("forge");
        let secrets = secrets(path.to_str().unwrap(), &["api.example"]).unwrap();
        for value in
            ["", " \n", "short", "two\nlines-of-it", "n\u{f6}t-lines-of-ascii", &"x".repeat(SECRET_BYTES_MAX + 1)]
        {
            std::fs::write(&path, value).unwrap();
            let withheld = secrets.open(["forge"], &"https://api.example/".parse().unwrap()).await.unwrap_err();
            let told = withheld.to_string();
            assert!(told.contains("no usable value") && !told.contains(path.to_str().unwrap()), "{told}");
            let why = &secrets.unavailable().await[0];
            let why = format!("{} {:?}", why.2, why.2);
            assert!(!why.contains("lines-of") && !why.contains("short\"") && !why.contains("xxx"), "{why}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(secrets.unavailable().await.len(), 1);
        std::fs::write(&path, "long enough").unwrap();
        assert_eq!(secrets.unavailable().await.len(), 0);
    }
}
