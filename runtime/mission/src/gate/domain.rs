//! Scopes of the tools that ask the network: `domain:HOST`, by the host of the call's URL.
//!
//! Owned here: what such a scope means; as `sortie-egress` reads the hosts of a configuration, but for the scheme. Never here: where a
//! name leads, or where an answer redirects to: that is the operator's list, which holds beside this.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::net::Ipv4Addr;

use sortie_contract::limit;
use url::{Host, Url};

use super::Fit;
use super::call::Call;

/// A host, every host below a name, or any; at one port, or at any.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Domain {
    rule: Rule,
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum Rule {
    Any,
    Exactly(Host),
    /// With the dot in front.
    Below(String),
}

impl Domain {
    /// Parses the scope.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub(super) fn parse(scope: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            let quoted = limit::clip(what, limit::QUOTE_BYTES_MAX);
            format!(
                "`{quoted}` is no host: write `domain:example.org`, `domain:*.example.org` (every name below it, not itself) or \
                 `domain:example.org:8443`, without scheme and path"
            )
        };
        let host = scope.strip_prefix("domain:").ok_or_else(|| {
            "a scope of this tool is about the host: write `domain:example.org` or `domain:*.example.org`".to_owned()
        })?;
        parse(host.trim()).ok_or_else(|| wrong(host))
    }

    pub(super) fn fit(&self, call: &Call<'_>) -> Fit {
        match call.url() {
            Err(why) => Fit::Doubt(why),
            Ok(url) if self.means(url) => Fit::Yes,
            Ok(_) => Fit::No,
        }
    }

    fn means(&self, url: &Url) -> bool {
        let Some(host) = url.host() else { return false };
        let is_host = match (&self.rule, canonical(host.to_owned())) {
            (Rule::Any, _) => true,
            (Rule::Exactly(listed), host) => *listed == host,
            (Rule::Below(suffix), Host::Domain(name)) => name.len() > suffix.len() && name.ends_with(suffix.as_str()),
            (Rule::Below(_), Host::Ipv4(_) | Host::Ipv6(_)) => false,
        };
        is_host && (self.port.is_none() || self.port == url.port_or_known_default())
    }
}

/// The address of a call, where it is one of the web.
///
/// # Errors
/// Why it is none.
pub(super) fn address(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "its URL is none")?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("its URL is none of http or https");
    }
    Ok(url)
}

fn parse(text: &str) -> Option<Domain> {
    let (host, port) = match text.rsplit_once(':') {
        // `::1` has no port, `[::1]:80` has one.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
            (host, Some(port.parse().ok().filter(|&port: &u16| is_number && port != 0)?))
        }
        _ => (text, None),
    };
    let name = |text: &str| match canonical(Host::parse(text).ok()?) {
        Host::Domain(name) if name.is_empty() || name.contains('*') => None,
        host => Some(host),
    };
    let rule = match host.strip_prefix("*.") {
        _ if host == "*" => Rule::Any,
        Some(below) => match name(below)? {
            Host::Domain(name) => Rule::Below(format!(".{name}")),
            Host::Ipv4(_) | Host::Ipv6(_) => return None,
        },
        None if host.contains(':') && !host.starts_with('[') => Rule::Exactly(name(&format!("[{host}]"))?),
        None => Rule::Exactly(name(host)?),
    };
    Some(Domain { rule, port })
}

/// One form for one host: `example.org.` is `example.org`, and an IPv6 address that holds an IPv4 one (`::ffff:127.0.0.1`) is that. Case and
/// IDNA are `url`'s work.
fn canonical(host: Host) -> Host {
    match host {
        Host::Domain(name) => Host::Domain(name.strip_suffix('.').map_or_else(|| name.clone(), ToOwned::to_owned)),
        Host::Ipv4(address) => Host::Ipv4(address),
        Host::Ipv6(address) => match address.segments() {
            // Unspecified and loopback are IPv6 addresses of their own.
            [0, 0, 0, 0, 0, 0, 0, 0..=1] => Host::Ipv6(address),
            [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                Host::Ipv4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
            }
            _ => Host::Ipv6(address),
        },
    }
}
