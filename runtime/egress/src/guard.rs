//! The guard against forged destinations: which addresses may be connected to.
//!
//! Whoever names a URL (an envelope, a plugin, a redirect) makes the node knock at a door. A name that is listed may
//! still lead to an address inside, by mistake or by DNS rebinding. Literal addresses are judged as they stand; names
//! *after* they have been resolved, by the resolver that the HTTP client itself connects through: there is no second
//! look-up that could answer differently.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use sortie_contract::host::canonical_host;
use sortie_contract::limit;
use url::{Host, Url};

use crate::address::{Network, NotANetwork, may_connect};
use crate::client::SendError;

/// Decides; also the resolver of the HTTP client. Clones are the same guard.
#[derive(Debug, Clone)]
pub struct Guard {
    allow_private: Arc<[Network]>,
    /// Where an operator lists addresses, for those who are refused.
    key: &'static str,
}

/// A host leads to an address that the node does not connect to. Does not say which: whoever chose the name is not
/// told the addresses of a network inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    host: String,
    key: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, key } = self;
        write!(
            f,
            "{host} leads to a private, local or reserved address, and {key} does not list it; the operator lists \
             there what is meant"
        )
    }
}

impl std::error::Error for Refused {}

impl Guard {
    /// A guard that lets public addresses through, and those that `listed` names: single ones (`127.0.0.1`, `::1`) and
    /// networks (`10.1.0.0/16`). `key` is the place in the configuration where they are listed.
    pub fn new<'a>(listed: impl IntoIterator<Item = &'a String>, key: &'static str) -> Result<Self, NotANetwork> {
        let allow_private: Result<_, _> = listed.into_iter().map(|text| text.parse()).collect();
        Ok(Self { allow_private: allow_private?, key })
    }

    /// What can be said of a URL without resolving: the client does not ask a resolver about literal addresses.
    pub fn literal(&self, url: &Url) -> Result<(), Refused> {
        let Some(host) = url.host() else { return Ok(()) };
        let allowed = match canonical_host(host.to_owned()) {
            Host::Ipv4(address) => self.allows(address.into()),
            Host::Ipv6(address) => self.allows(address.into()),
            Host::Domain(name) if is_localhost(&name) => {
                self.allows(Ipv4Addr::LOCALHOST.into()) || self.allows(Ipv6Addr::LOCALHOST.into())
            }
            Host::Domain(_) => true,
        };
        if allowed { Ok(()) } else { Err(self.refusal(&host.to_string())) }
    }

    fn allows(&self, address: IpAddr) -> bool {
        may_connect(address, &self.allow_private)
    }

    /// Those of the addresses of `host` that may be connected to; an error if there are some and none of them may.
    fn filter(&self, host: &str, resolved: &[SocketAddr]) -> Result<Vec<SocketAddr>, Refused> {
        let allowed: Vec<_> = resolved.iter().copied().filter(|address| self.allows(address.ip())).collect();
        if allowed.is_empty() && !resolved.is_empty() { Err(self.refusal(host)) } else { Ok(allowed) }
    }

    /// The addresses of a host, a name or an address, that may be connected to.
    pub(crate) async fn resolved(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, SendError> {
        let found =
            tokio::net::lookup_host((host, port)).await.map_err(|error| SendError::Connect(error.to_string()))?;
        Ok(self.filter(host, &found.collect::<Vec<_>>())?)
    }

    fn refusal(&self, host: &str) -> Refused {
        Refused { host: limit::clip(host, limit::QUOTE_BYTES_MAX), key: self.key }
    }
}

/// `localhost` and names below it are the node itself (RFC 6761), whatever a resolver says.
fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            // The client puts the URL's port in the place of 0.
            let resolved: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed = guard.filter(name.as_str(), &resolved)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(listed: &[&str]) -> Guard {
        let listed: Vec<String> = listed.iter().map(ToString::to_string).collect();
        Guard::new(&listed, "[x] allow_private").unwrap()
    }

    #[test]
    fn literal_addresses_are_checked_in_every_spelling() {
        let (closed, open) = (guard(&[]), guard(&["127.0.0.1", "10.1.0.0/16"]));
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0x7f000001/",
            "http://017700000001/",
            "http://127.1/",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost/",
            "http://LOCALHOST.:80/",
            "http://a.localhost/",
            "http://10.1.2.3/",
        ] {
            let url = url.parse().unwrap();
            let refused = closed.literal(&url).expect_err(url.as_str()).to_string();
            assert!(refused.contains("[x] allow_private"), "{refused}");
            assert_eq!(open.literal(&url), Ok(()), "{url}");
        }
        let inside = "http://10.2.0.1/ http://169.254.169.254/latest/meta-data http://[::1]/ http://0.0.0.0/ http://0/
            http://[::ffff:169.254.169.254]/ http://[64:ff9b::a9fe:a9fe]/ http://100.64.0.1/ http://224.0.0.1/";
        for url in inside.split_whitespace() {
            assert!(open.literal(&url.parse().unwrap()).is_err(), "{url}");
        }
        assert_eq!(closed.literal(&"http://1.1.1.1/".parse().unwrap()), Ok(()));
        assert_eq!(closed.literal(&"https://example.org/".parse().unwrap()), Ok(()), "known after resolution");
    }

    #[test]
    fn of_the_resolved_addresses_only_allowed_ones_are_seen_by_the_client() {
        let resolved =
            ["127.0.0.1:0", "[::1]:0", "10.0.0.1:0", "1.1.1.1:0"].map(|text| text.parse::<SocketAddr>().unwrap());
        let seen = |guard: &Guard, addresses: &[SocketAddr]| guard.filter("x", addresses);
        assert_eq!(seen(&guard(&[]), &resolved), Ok(vec![resolved[3]]));
        assert_eq!(seen(&guard(&["127.0.0.1", "10.0.0.0/8"]), &resolved[..3]), Ok(vec![resolved[0], resolved[2]]));
        let refused = seen(&guard(&[]), &resolved[..3]).unwrap_err().to_string();
        assert!(refused.starts_with("x leads to") && !refused.contains("10.0.0.1"), "{refused}");
        assert_eq!(seen(&guard(&[]), &[]), Ok(Vec::new()), "a name without addresses is the client's to tell");
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_the_inside_is_refused_by_the_resolver() {
        let resolving = guard(&[]).resolve("localhost".parse().unwrap());
        assert!(resolving.await.err().unwrap().is::<Refused>());
        let mut found = guard(&["127.0.0.1"]).resolve("localhost".parse().unwrap()).await.ok().unwrap();
        assert!(found.all(|address| address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }

    #[test]
    fn a_misspelt_network_is_found_when_the_node_starts() {
        assert!(Guard::new(&["127.0.0.1:80".to_owned()], "x").is_err());
    }
}
