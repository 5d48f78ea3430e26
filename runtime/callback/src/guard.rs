//! The guard against forged destinations: which addresses an attempt may connect to.
//!
//! An envelope chooses the URL, so a URL is an attempt to make the node knock at any door that it can reach. Literal
//! addresses are checked as they stand; names are checked *after* they have been resolved, by the resolver that the HTTP
//! client itself connects through: it never sees an address that was not allowed, and there is no second look-up that could
//! answer differently.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use sortie_contract::net::{Network, may_connect};
use url::{Host, Url};

use crate::config::{CallbackConfig, ConfigError};

/// Only private addresses, and none that the configuration lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is private, and callback.allow_private does not list it")]
pub(crate) struct Refused;

/// Decides; also the resolver of the HTTP client.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    allow_private: Arc<[Network]>,
}

impl Guard {
    pub(crate) fn new(config: &CallbackConfig) -> Result<Self, ConfigError> {
        let parsed = config.allow_private.iter().map(|text| text.parse().map_err(ConfigError::Network));
        Ok(Self { allow_private: parsed.collect::<Result<_, _>>()? })
    }

    /// What can be said without resolving: the client does not ask a resolver about literal addresses.
    pub(crate) fn literal(&self, url: &Url) -> Result<(), Refused> {
        let allowed = match url.host() {
            Some(Host::Ipv4(address)) => self.allows(address.into()),
            Some(Host::Ipv6(address)) => self.allows(address.into()),
            Some(Host::Domain(name)) if is_localhost(name) => {
                self.allows(Ipv4Addr::LOCALHOST.into()) || self.allows(Ipv6Addr::LOCALHOST.into())
            }
            Some(Host::Domain(_)) | None => true,
        };
        if allowed { Ok(()) } else { Err(Refused) }
    }

    fn allows(&self, address: IpAddr) -> bool {
        may_connect(address, &self.allow_private)
    }

    /// Those of `resolved` that may be connected to.
    fn filter(&self, resolved: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
        let allowed: Vec<_> = resolved.filter(|address| self.allows(address.ip())).collect();
        if allowed.is_empty() { Err(Refused) } else { Ok(allowed) }
    }
}

/// `localhost` and names below it are the node itself (RFC 6761), whatever a resolver says.
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            // The client puts the URL's port in the place of 0.
            let resolved = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed = guard.filter(resolved)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allow_private: &[&str]) -> Guard {
        let allow_private = allow_private.iter().map(ToString::to_string).collect();
        Guard::new(&CallbackConfig { allow_private, ..CallbackConfig::default() }).unwrap()
    }

    #[test]
    fn literal_addresses_are_checked_in_every_spelling() {
        let (closed, open) = (guard(&[]), guard(&["127.0.0.1"]));
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://017700000001/",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost/",
            "http://LOCALHOST.:80/",
            "http://a.localhost/",
        ] {
            let url = url.parse().unwrap();
            assert_eq!(closed.literal(&url), Err(Refused), "{url}");
            assert_eq!(open.literal(&url), Ok(()), "{url}");
        }
        for url in ["http://10.0.0.1/", "http://169.254.169.254/latest/meta-data", "http://[::1]/", "http://0.0.0.0/"] {
            assert_eq!(open.literal(&url.parse().unwrap()), Err(Refused), "{url}");
        }
        assert_eq!(closed.literal(&"https://example.org/".parse().unwrap()), Ok(()), "known after resolution");
    }

    #[test]
    fn of_the_resolved_addresses_only_allowed_ones_are_seen_by_the_client() {
        let resolved =
            ["127.0.0.1:0", "[::1]:0", "10.0.0.1:0", "1.1.1.1:0"].map(|text| text.parse::<SocketAddr>().unwrap());
        let seen = |guard: &Guard, addresses: &[SocketAddr]| guard.filter(addresses.iter().copied());
        assert_eq!(seen(&guard(&[]), &resolved), Ok(vec![resolved[3]]));
        assert_eq!(seen(&guard(&["127.0.0.1", "10.0.0.0/8"]), &resolved[..3]), Ok(vec![resolved[0], resolved[2]]));
        assert_eq!(seen(&guard(&[]), &resolved[..3]), Err(Refused));
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
        let config = CallbackConfig { allow_private: vec!["127.0.0.1:80".to_owned()], ..CallbackConfig::default() };
        assert!(matches!(Guard::new(&config), Err(ConfigError::Network(_))));
    }
}
