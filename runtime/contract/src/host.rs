//! Which hosts a rule means, wherever somebody lists some: a control plane in the scopes of its constraints, an operator in the
//! configuration.
//!
//! | written | means |
//! | --- | --- |
//! | `example.org`, `127.0.0.1`, `[::1]` | this host, at any port |
//! | `example.org:8443` | at this one |
//! | `*.example.com` | every name below it |
//! | `*` | every host |
//!
//! Never here: schemes, and where a name leads.

use std::net::{IpAddr, Ipv4Addr};

use url::{Host, Url};

/// A host, every host below a name, or any; at one port, or at any. Never holds a path or credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    host: Hosts,
    /// `None`: any.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    Any,
    /// In canonical form.
    Exactly(Host),
    /// Every name that ends like this; with the dot in front.
    Below(String),
}

impl HostRule {
    /// Reads a rule; nothing, where the text is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            // `::1` has no port, `[::1]:80` has one.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
                (host, Some(port.parse().ok().filter(|&port: &u16| is_number && port != 0)?))
            }
            _ => (text, None),
        };
        let name = |text: &str| match canonical_host(Host::parse(text).ok()?) {
            Host::Domain(name) if name.is_empty() || name.contains('*') => None,
            host => Some(host),
        };
        let host = match host.strip_prefix("*.") {
            _ if host == "*" => Hosts::Any,
            Some(below) => match name(below)? {
                Host::Domain(name) => Hosts::Below(format!(".{name}")),
                Host::Ipv4(_) | Host::Ipv6(_) => return None,
            },
            None if host.contains(':') && !host.starts_with('[') => Hosts::Exactly(name(&format!("[{host}]"))?),
            None => Hosts::Exactly(name(host)?),
        };
        Some(Self { host, port })
    }

    /// Whether every host is meant.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.host == Hosts::Any
    }

    /// The address that it means, where it means one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self.host {
            Hosts::Exactly(Host::Ipv4(address)) => Some(address.into()),
            Hosts::Exactly(Host::Ipv6(address)) => Some(address.into()),
            Hosts::Exactly(Host::Domain(_)) | Hosts::Below(_) | Hosts::Any => None,
        }
    }

    /// Whether host and port of `url` are meant, over whatever scheme.
    #[must_use]
    pub fn means(&self, url: &Url) -> bool {
        let Some(host) = url.host() else { return false };
        let is_host = match (&self.host, canonical_host(host.to_owned())) {
            (Hosts::Any, _) => true,
            (Hosts::Exactly(listed), host) => *listed == host,
            (Hosts::Below(suffix), Host::Domain(name)) => name.len() > suffix.len() && name.ends_with(suffix.as_str()),
            (Hosts::Below(_), Host::Ipv4(_) | Host::Ipv6(_)) => false,
        };
        is_host && (self.port.is_none() || self.port == url.port_or_known_default())
    }
}

/// One form for one host: `example.org.` is `example.org`, `[::ffff:127.0.0.1]` is `127.0.0.1`. Case and IDNA are `url`'s work.
#[must_use]
pub fn canonical_host(host: Host) -> Host {
    match host {
        Host::Domain(name) => Host::Domain(name.strip_suffix('.').map_or_else(|| name.clone(), str::to_owned)),
        Host::Ipv4(address) => Host::Ipv4(address),
        Host::Ipv6(address) => match canonical(IpAddr::V6(address)) {
            IpAddr::V4(address) => Host::Ipv4(address),
            IpAddr::V6(address) => Host::Ipv6(address),
        },
    }
}

/// One form for one address: what is an IPv4 address written as IPv6 (`::ffff:a.b.c.d`, the old `::a.b.c.d`, and NAT64's
/// `64:ff9b::a.b.c.d`) becomes IPv4. Compare canonical forms, or `::ffff:127.0.0.1` walks past a rule about `127.0.0.1`.
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.segments() {
        // Unspecified and loopback are IPv6 addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0..=1] => address,
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        _ => address,
    }
}
