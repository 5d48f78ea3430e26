//! The places that people name: an address of the web, or a repository of a registry.

use std::fmt;

use sortie_contract::digest::Digest;
use sortie_contract::limit;
use url::{Host, Url};

use crate::digest::{SHA256, digest_of};

/// Longest name of a repository, in bytes, as the distribution protocol has it.
const REPOSITORY_BYTES_MAX: usize = 255;

/// Longest tag, in bytes; likewise.
const TAG_BYTES_MAX: usize = 128;

/// What a reference without a tag means, as everywhere else.
const LATEST: &str = "latest";

/// Where a plugin is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An address of http or https; the fragment may have said which bytes are meant.
    Web(Url, Option<Digest>),
    /// A repository of a registry.
    Registry(Reference),
}

/// `oci://HOST[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The host as it is written in an address, with its port where one is named.
    pub(crate) host: String,
    pub(crate) repository: String,
    /// What is asked for: a tag, or the digest of a manifest.
    pub(crate) which: Which,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    Tag(String),
    Digest(Digest),
}

/// A text that names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no place that a plugin can be fetched from: {why}. Write `https://HOST/FILE.wasm` (`#sha256=DIGEST` behind it says which \
     bytes are meant) or `oci://HOST/REPOSITORY:TAG` (`@sha256:DIGEST` for one manifest)"
)]
pub struct NotAPlace {
    text: String,
    why: String,
}

impl Place {
    /// The place that a text names.
    ///
    /// # Errors
    /// [`NotAPlace`], without what stands between `//` and `@`: it may be a password.
    pub fn parse(text: &str) -> Result<Self, NotAPlace> {
        let wrong = |why: String| NotAPlace { text: limit::clip(&without_userinfo(text), limit::QUOTE_BYTES_MAX), why };
        if let Some(rest) = text.strip_prefix("oci://") {
            return Reference::parse(rest).map(Self::Registry).map_err(|why| wrong(why.to_owned()));
        }
        let mut url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(format!("`{}` is not asked; https and oci are", limit::clip(url.scheme(), 20))));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("names and passwords in an address are not sent".to_owned()));
        }
        let digest = url.fragment().map(digest_of).transpose().map_err(|error| wrong(error.to_string()))?;
        url.set_fragment(None);
        Ok(Self::Web(url, digest))
    }
}

impl Reference {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (host, rest) = text.split_once('/').ok_or("it names no repository")?;
        let host = host_of(host).ok_or("it names no host of a registry")?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if !is_repository(repository) {
            return Err(
                "the name of a repository is made of a-z, 0-9, `.`, `_` and `-`, in steps with `/` between them",
            );
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err("a tag has up to 128 letters, digits, `.`, `_` and `-`");
        }
        let which = match digest {
            // The digest says it all; a tag beside it is for people.
            Some(digest) if digest.starts_with(SHA256) => {
                Which::Digest(digest_of(digest).map_err(|_| "behind `@` stands `sha256:` and 64 hex digits")?)
            }
            Some(_) => return Err("behind `@` stands `sha256:` and 64 hex digits"),
            None => Which::Tag(tag.unwrap_or(LATEST).to_owned()),
        };
        Ok(Self { host, repository: repository.to_owned(), which })
    }

    /// The host of the registry, with its port where one is named: what `[plugin_source.registry."HOST"]` and docker's configuration call it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The same repository, and of it this manifest.
    pub(crate) fn pinned(&self, manifest: &Digest) -> String {
        format!("oci://{}/{}@{SHA256}{manifest}", self.host, self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}/{}", self.host, self.repository)?;
        match &self.which {
            Which::Tag(tag) => write!(f, ":{tag}"),
            Which::Digest(digest) => write!(f, "@{SHA256}{digest}"),
        }
    }
}

/// What a request calls the manifest.
impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => write!(f, "{SHA256}{digest}"),
        }
    }
}

/// A host with or without a port, as an address has it; and nothing else beside it.
fn host_of(text: &str) -> Option<String> {
    let url = Url::parse(&format!("https://{text}/")).ok()?;
    let is_bare = url.username().is_empty() && url.password().is_none() && url.path() == "/" && url.query().is_none();
    let host = url.host().filter(|_| is_bare && !text.contains('@') && !text.contains('#'))?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_string(),
    })
}

/// Whether a host is this machine itself: a registry there is asked over http, as docker does.
pub(crate) fn is_loopback(host: &str) -> bool {
    let Ok(url) = Url::parse(&format!("http://{host}/")) else { return false };
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Steps of small letters and digits, in which `.`, `_`, `__` and any number of `-` stand between others.
fn is_repository(text: &str) -> bool {
    let is_step = |step: &str| {
        let is_inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let between = step.split(|c: char| c.is_ascii() && is_inner(c as u8)).filter(|between| !between.is_empty());
        let mut between = between.peekable();
        let ends = |at: Option<u8>| at.is_some_and(is_inner);
        let are_good =
            between.all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'));
        ends(step.bytes().next()) && ends(step.bytes().last()) && are_good
    };
    text.len() <= REPOSITORY_BYTES_MAX && text.split('/').all(is_step)
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=TAG_BYTES_MAX).contains(&text.len())
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

/// What may be told of an address that is none: nothing of who it names.
fn without_userinfo(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("//") else { return text.to_owned() };
    // Of a registry, `@` at the end of a path names a manifest; one in the first step, or with a path behind it, is none of those.
    let ends_userinfo = |at: usize| scheme != "oci:" || !rest[..at].contains('/') || rest[at..].contains('/');
    match rest.rmatch_indices('@').find(|(at, _)| ends_userinfo(*at)) {
        Some((at, _)) => format!("{scheme}//{}", &rest[at + 1..]),
        None => text.to_owned(),
    }
}

/// An address, for people and for the record: without a query, which may open something.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> String {
        match Place::parse(text) {
            Ok(Place::Registry(reference)) => reference.to_string(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_repository_is_named_as_registries_name_it() {
        let digest = Digest::of(b"x");
        for (text, expected) in [
            ("oci://ghcr.io/acme/greeter", "oci://ghcr.io/acme/greeter:latest".to_owned()),
            ("oci://GHCR.io/acme/greeter:1.0.0", "oci://ghcr.io/acme/greeter:1.0.0".to_owned()),
            ("oci://127.0.0.1:5000/a", "oci://127.0.0.1:5000/a:latest".to_owned()),
            ("oci://[::1]:5000/a:b", "oci://[::1]:5000/a:b".to_owned()),
            ("oci://r.example/a--b/c__d.e:V_1-x", "oci://r.example/a--b/c__d.e:V_1-x".to_owned()),
            (&format!("oci://r.example/a@sha256:{digest}"), format!("oci://r.example/a@sha256:{digest}")),
            (&format!("oci://r.example/a:1@sha256:{digest}"), format!("oci://r.example/a@sha256:{digest}")),
        ] {
            assert_eq!(reference(text), expected, "{text}");
        }
        for text in [
            "oci://",
            "oci://ghcr.io",
            "oci:///a",
            "oci://ghcr.io/",
            "oci://ghcr.io/A",
            "oci://ghcr.io/a//b",
            "oci://ghcr.io/../b",
            "oci://ghcr.io/a:",
            "oci://ghcr.io/a:-x",
            "oci://ghcr.io/a@",
            "oci://ghcr.io/a@sha256:00",
            "oci://ghcr.io/a@latest",
            "oci://user:hush@ghcr.io/a",
            "oci://user:hush@ghcr.io/a:1@sha256:00",
            "oci://user:hush@ghcr.io",
            "oci://hu/hush@ghcr.io/a",
            "oci://ghcr.io/a?x=1",
            "oci://ghcr.io/a b",
            "oci://ghcr.io/a___b",
            "oci://g h/a",
            "oci://ghcr.io/a/-b",
            "oci://ghcr.io#/a",
        ] {
            let says = Place::parse(text).expect_err(text).to_string();
            assert!(!says.contains("hush"), "{text}: {says}");
        }
        let says = Place::parse("oci://ghcr.io/a@latest").expect_err("no digest").to_string();
        assert!(says.contains("`oci://ghcr.io/a@latest`"), "{says}");
        assert!(Place::parse(&format!("oci://ghcr.io/{}", "a/".repeat(200))).is_err());
    }

    #[test]
    fn an_address_may_say_which_bytes_are_meant() {
        let digest = Digest::of(b"x");
        for (text, expected) in [
            ("https://plugins.example/a.wasm".to_owned(), None),
            (format!("https://plugins.example/a.wasm#sha256={digest}"), Some(digest)),
            (format!("http://plugins.example/a.wasm#sha256:{digest}"), Some(digest)),
        ] {
            match Place::parse(&text) {
                Ok(Place::Web(url, digest)) => assert_eq!((url.fragment(), digest), (None, expected), "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        for text in [
            "",
            "x",
            "plugins.example/a.wasm",
            "ftp://plugins.example/a.wasm",
            "file:///etc/passwd",
            "data:text/plain,x",
            "https://plugins.example/a.wasm#sha256=00",
            "https://plugins.example/a.wasm#x",
            "https://user:hush@plugins.example/a.wasm",
            "https://hush@/a.wasm",
        ] {
            let says = Place::parse(text).expect_err(text).to_string();
            assert!(says.contains("oci://HOST/REPOSITORY:TAG") && !says.contains("hush"), "{text}: {says}");
        }
        assert_eq!(shown(&"https://a.example/b?token=hush#c".parse().unwrap()), "https://a.example/b");
    }

    #[test]
    fn this_machine_is_known_in_each_spelling() {
        for (host, expected) in [
            ("localhost:5000", true),
            ("127.0.0.1", true),
            ("127.9.9.9:5000", true),
            ("[::1]:5000", true),
            ("10.0.0.1", false),
            ("localhost.evil.example", false),
            ("registry.example", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }
}
