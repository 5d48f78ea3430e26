//! Which hosts an operator means, wherever the configuration lists some: as a [`HostRule`] says, and `http://hq.internal:8080` over http only;
//! `https://` likewise.

use std::fmt;
use std::str::FromStr;

use sortie_contract::envelope::NotSent;
use sortie_contract::host::HostRule;
use sortie_contract::limit;
use url::{Host, Url};

use crate::address::is_public;

/// One entry of a list of hosts. Never holds a path or credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    scheme: Option<Scheme>,
    rule: HostRule,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// Why a text is no [`HostPattern`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAHost(String);

impl fmt::Display for NotAHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no host such as example.org, *.example.com, 127.0.0.1:8080 or [::1]:8080 (with http:// or https:// \
             in front where just that is meant, and no path)",
            self.0
        )
    }
}

impl std::error::Error for NotAHost {}

impl HostPattern {
    /// Whether every host is meant.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.rule.is_any()
    }

    /// Whether a request may go to `url`: scheme, host and port are meant.
    #[must_use]
    pub fn permits(&self, url: &Url) -> bool {
        self.names(url) && self.scheme.is_none_or(|scheme| scheme.name() == url.scheme())
    }

    /// Whether host and port of `url` are meant, over whatever scheme.
    #[must_use]
    pub fn names(&self, url: &Url) -> bool {
        self.rule.means(url)
    }

    /// Whether a secret may go to `url`. Where no scheme is written, in the clear only to an address that is not
    /// public: the way there does not lead through strangers' networks.
    #[must_use]
    pub fn trusts(&self, url: &Url) -> bool {
        if self.scheme.is_some() {
            return self.permits(url);
        }
        let is_inside = self.rule.address().is_some_and(|address| !is_public(address));
        self.names(url) && (is_inside || url.scheme() == Scheme::Https.name())
    }
}

/// Whether what is secret may be sent to an address of the configuration: not in the clear through strangers' networks. A name may be one of the
/// inside only where addresses are listed for it (`lists_private`), which is where its guard lets it lead.
#[must_use]
pub fn may_carry_secrets(address: &Url, lists_private: bool) -> bool {
    let is_inside = match address.host() {
        // Literal addresses that are not public, however they are written.
        Some(host @ (Host::Ipv4(_) | Host::Ipv6(_))) => {
            host.to_string().parse::<HostPattern>().is_ok_and(|pattern| pattern.trusts(address))
        }
        Some(Host::Domain(_)) => lists_private,
        None => false,
    };
    address.scheme() == Scheme::Https.name() || is_inside
}

/// Whether a secret that is meant for `hosts` may go to `url`: one of them is its host, and is one that it may go to like this.
///
/// # Errors
/// [`NotSent::OtherHost`], [`NotSent::Plain`]
pub fn may_be_sent<'a>(hosts: impl IntoIterator<Item = &'a HostPattern>, url: &Url) -> Result<(), NotSent> {
    let mut named = hosts.into_iter().filter(|pattern| pattern.names(url)).peekable();
    if named.peek().is_none() {
        return Err(NotSent::OtherHost);
    }
    // Whoever chose the host chose the scheme too, and in the clear everybody on the way reads along.
    if named.any(|pattern| pattern.trusts(url)) { Ok(()) } else { Err(NotSent::Plain) }
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl FromStr for HostPattern {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| NotAHost(limit::clip(text, limit::QUOTE_BYTES_MAX)))
    }
}

fn parse(text: &str) -> Option<HostPattern> {
    let (scheme, text) = match text.split_once("://") {
        Some(("http", rest)) => (Some(Scheme::Http), rest),
        Some(("https", rest)) => (Some(Scheme::Https), rest),
        Some(_) => return None,
        None => (None, text),
    };
    HostRule::parse(text).map(|rule| HostPattern { scheme, rule })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether one of `listed` holds for each of `urls`.
    fn check(listed: &[&str], holds: impl Fn(&HostPattern, &Url) -> bool, expected: bool, urls: &str) {
        let listed: Vec<HostPattern> = listed.iter().map(|text| text.parse().unwrap()).collect();
        for url in urls.split_whitespace() {
            let parsed = url.parse().unwrap();
            assert_eq!(listed.iter().any(|pattern| holds(pattern, &parsed)), expected, "{url}");
        }
    }

    const LISTED: [&str; 10] = [
        "example.org",
        "*.example.com",
        "with.port:8443",
        "1.1.1.1",
        "[2606:4700::1111]:443",
        "Bücher.example",
        "127.0.0.1:8080",
        "::1",
        "https://sure.example",
        "http://hq.internal:8080",
    ];

    #[test]
    fn hosts_are_those_that_are_listed() {
        check(
            &LISTED,
            HostPattern::permits,
            true,
            "http://example.org https://EXAMPLE.org:8443/x http://example.org. https://a.example.com
            https://a.b.example.com https://with.port:8443/ http://1.1.1.1:99/ https://[2606:4700::1111]/
            https://xn--bcher-kva.example/ http://127.0.0.1:8080/ http://2130706433:8080/ http://0x7f.1:8080/
            http://[::ffff:127.0.0.1]:8080/ http://[::1]:9/ https://sure.example/ http://hq.internal:8080/",
        );
        check(
            &LISTED,
            HostPattern::permits,
            false,
            "http://example.com http://notexample.com http://example.org.evil.net https://with.port/
            http://127.0.0.1/ http://127.0.0.1:8081/ http://127.0.0.2:8080/ file:///etc/passwd data:text/plain,x
            http://example.org@evil.net/ http://[2606:4700::1111]:80/ javascript:alert(1) http://sure.example/
            https://hq.internal:8080/ http://hq.internal/ http://.example.com/",
        );
        check(&["*"], HostPattern::permits, true, "http://example.org http://[::1]:8080");
        check(&["https://*"], HostPattern::permits, false, "http://example.org");
    }

    #[test]
    fn a_secret_goes_in_the_clear_only_where_that_is_meant() {
        let listed = ["example.org", "127.0.0.1:9000", "*.hooks.example", "[::1]:80", "1.1.1.1", "https://127.0.0.2"];
        check(
            &listed,
            HostPattern::trusts,
            true,
            "https://example.org/status https://example.org:8443/ http://127.0.0.1:9000/ https://127.0.0.1:9000/
            https://a.hooks.example/ http://[::1]/ https://1.1.1.1/ https://127.0.0.2/",
        );
        check(
            &listed,
            HostPattern::trusts,
            false,
            "http://example.org/ http://example.org:443/ http://a.hooks.example/ http://1.1.1.1/ http://127.0.0.2/
            http://127.0.0.1:9001/ https://sub.example.org/ https://hooks.example/",
        );
        check(&["http://hq.internal"], HostPattern::trusts, true, "http://hq.internal:8080");
        check(&["http://hq.internal"], HostPattern::trusts, false, "https://hq.internal:8080");
    }

    #[test]
    fn what_is_no_host_is_refused_with_an_example() {
        for text in [
            "",
            "ftp://example.org",
            "http://",
            "http://example.org/",
            "https://https://example.org",
            "example.org/x",
            "a b",
            "*.",
            "*.1.2.3.4",
            "*.*.example",
            "a.*.org",
            "a*.example",
            "x:0",
            "x:99999",
            "x:",
            "**",
            "*x.org",
            "user@example.org",
        ] {
            let why = text.parse::<HostPattern>().expect_err(text).to_string();
            assert!(why.contains("example.org"), "{text}: {why}");
        }
    }

    #[test]
    fn what_is_secret_goes_in_the_clear_to_the_inside_alone() {
        for (address, lists_private, expected) in [
            ("https://mcp.example.org/", false, true),
            ("http://mcp.example.org/", false, false),
            // A name may be one of the inside where addresses are listed.
            ("http://mcp.internal/", true, true),
            ("http://localhost:8080/", false, false),
            ("http://127.0.0.1:8080/", false, true),
            ("http://0x7f.1/", false, true),
            ("http://[::1]/", false, true),
            ("http://1.1.1.1/", false, false),
            ("http://1.1.1.1/", true, false),
        ] {
            let parsed = address.parse().unwrap();
            assert_eq!(may_carry_secrets(&parsed, lists_private), expected, "{address}, {lists_private}");
        }
    }
}
