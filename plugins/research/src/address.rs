//! Addresses, and where each of them is from: nothing is fetched that nobody named.
//!
//! A mission may fetch what its envelope gives, what a search found, and what a page that it fetched links to. A model names none of
//! them: it chooses by number among those that are known. So no text that a page talks a model into writing becomes part of a request.

use std::fmt;

use serde_json::{Value, json};
use url::Url;

/// Longest address, in bytes: what the node's `WebFetch` takes.
const BYTES_MAX: usize = 2_048;

/// An `http` or `https` address in its normal form: what leads to the same page is equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(Url);

impl Address {
    /// Reads an address. The fragment is dropped: it says where to look, not what is fetched.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut url = Url::parse(text.trim()).map_err(|error| format!("this is no absolute address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("an address begins with http:// or https://, and not with {}:", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an address with a name or a password in it is not fetched".to_owned());
        }
        url.set_fragment(None);
        if url.as_str().len() > BYTES_MAX {
            return Err(format!("an address has at most {BYTES_MAX} bytes"));
        }
        Ok(Self(url))
    }

    /// The address as text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an address is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The envelope gives it.
    Given,
    /// It was found by a search for this.
    Search(String),
    /// This source links to it.
    Link(usize),
}

impl Origin {
    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Given => json!({ "given": true }),
            Self::Search(query) => json!({ "search": query }),
            Self::Link(source) => json!({ "link_of": source }),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given => f.write_str("given"),
            Self::Search(query) => write!(f, "found by a search for “{}”", crate::inline::plain(query)),
            Self::Link(source) => write!(f, "linked by [{source}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_to_the_same_page_is_equal() {
        for (given, expected) in [
            ("HTTP://Example.ORG:80/a/../b#part", "http://example.org/b"),
            (" https://example.org ", "https://example.org/"),
            ("https://example.org/?q=a b", "https://example.org/?q=a%20b"),
            ("https://bücher.example/", "https://xn--bcher-kva.example/"),
            ("https://example.org/<x>", "https://example.org/%3Cx%3E"),
        ] {
            assert_eq!(Address::parse(given).map(|address| address.to_string()), Ok(expected.to_owned()), "{given}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_page_is_refused_with_the_reason() {
        for (given, why) in [
            ("example.org", "no absolute address"),
            ("file:///etc/passwd", "http://"),
            ("javascript:alert(1)", "http://"),
            ("https://user:word@example.org/", "password"),
            (&format!("https://example.org/{}", "a".repeat(BYTES_MAX)), "bytes"),
        ] {
            let said = Address::parse(given).expect_err(given);
            assert!(said.contains(why), "{given}: {said}");
        }
    }
}
