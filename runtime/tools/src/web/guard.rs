//! Where `WebFetch` may go: hosts by name, addresses by their nature.
//!
//! A name that is listed may still resolve to an address inside (by mistake, or by DNS rebinding). Addresses are
//! therefore judged where they are used: the resolver of the HTTP client returns only those that may be connected to,
//! and the client connects to what its resolver returned, not to what a second look-up might.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use sortie_contract::limit;
use sortie_contract::net::{self, Network};
use sortie_contract::tool::CallError;
use url::{Host, Url};

use crate::config::{ConfigError, ToolConfig};

const TOOL: &str = "WebFetch";

/// The rules of the configuration.
#[derive(Debug)]
pub(super) struct Guard {
    hosts: Vec<HostPattern>,
    allow_private: Vec<Network>,
}

/// One entry of `hosts`.
#[derive(Debug, PartialEq, Eq)]
struct HostPattern {
    host: HostRule,
    /// `None`: any.
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum HostRule {
    Any,
    Exactly(Host<String>),
    /// Every name that ends like this; with the dot in front.
    Below(String),
}

impl Guard {
    pub(super) fn new(config: &ToolConfig) -> Result<Self, ConfigError> {
        let wrong = |key, why| ConfigError::Value { name: TOOL.to_owned(), key, why };
        let hosts =
            config.hosts.iter().flatten().map(|text| HostPattern::parse(text).map_err(|why| wrong("hosts", why)));
        let networks = config.allow_private.iter().flatten();
        let networks =
            networks.map(|text| text.parse().map_err(|why: net::NotANetwork| wrong("allow_private", why.to_string())));
        Ok(Self { hosts: hosts.collect::<Result<_, _>>()?, allow_private: networks.collect::<Result<_, _>>()? })
    }

    /// Whether a request may go to `url`, as far as that can be said before its name is resolved.
    pub(super) fn permits(&self, url: &Url) -> Result<(), CallError> {
        let shown = limit::clip(&without_credentials(url), limit::LIST_ENTRY_BYTES_MAX);
        let denied = |why: String| Err(CallError::Denied(format!("{shown}: {why}")));
        if !matches!(url.scheme(), "http" | "https") {
            return denied(format!("the scheme `{}` is not fetched; http and https are", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return denied("credentials in an address are not sent; remove them".to_owned());
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return denied("it names no host".to_owned());
        };
        let host = canonical(host.to_owned());
        if !self.hosts.iter().any(|pattern| pattern.matches(&host, port)) {
            return denied(format!(
                "the host {host}:{port} is not listed; the operator lists hosts under [tool.{TOOL}] hosts"
            ));
        }
        // The client does not resolve what is an address already.
        let address = match host {
            Host::Ipv4(address) => IpAddr::V4(address),
            Host::Ipv6(address) => IpAddr::V6(address),
            Host::Domain(_) => return Ok(()),
        };
        if net::may_connect(address, &self.allow_private) {
            Ok(())
        } else {
            denied(Refused { host: address.to_string(), address }.to_string())
        }
    }
}

impl HostPattern {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            let text = limit::clip(text, limit::QUOTE_BYTES_MAX);
            format!(
                "`{text}` is no host such as example.org, *.example.com, 127.0.0.1:8080 or [::1]:8080 (no scheme, no \
                 path)"
            )
        };
        let (host, port) = match text.rsplit_once(':') {
            // `::1` has no port, `[::1]:80` has one.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(port.parse().ok().filter(|&port: &u16| port != 0).ok_or_else(wrong)?))
            }
            _ => (text, None),
        };
        let host = match host.strip_prefix("*.") {
            _ if host == "*" => HostRule::Any,
            Some(below) => match Host::parse(below).map(canonical) {
                Ok(Host::Domain(domain)) if !domain.contains('*') => HostRule::Below(format!(".{domain}")),
                _ => return Err(wrong()),
            },
            None => {
                let bracketed =
                    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
                match Host::parse(&bracketed).map(canonical) {
                    Ok(Host::Domain(domain)) if domain.contains('*') || domain.is_empty() => return Err(wrong()),
                    Ok(host) => HostRule::Exactly(host),
                    Err(_) => return Err(wrong()),
                }
            }
        };
        Ok(Self { host, port })
    }

    fn matches(&self, host: &Host<String>, port: u16) -> bool {
        let is_host = match (&self.host, host) {
            (HostRule::Any, _) => true,
            (HostRule::Exactly(listed), host) => listed == host,
            (HostRule::Below(suffix), Host::Domain(domain)) => {
                domain.len() > suffix.len() && domain.ends_with(suffix.as_str())
            }
            (HostRule::Below(_), Host::Ipv4(_) | Host::Ipv6(_)) => false,
        };
        is_host && self.port.is_none_or(|listed| listed == port)
    }
}

/// One form for one host: `example.org.` is `example.org`, `[::ffff:127.0.0.1]` is `127.0.0.1`. Case and IDNA are
/// `url`'s work.
fn canonical(host: Host<String>) -> Host<String> {
    match host {
        Host::Domain(domain) => Host::Domain(domain.strip_suffix('.').map_or_else(|| domain.clone(), str::to_owned)),
        Host::Ipv4(address) => Host::Ipv4(address),
        Host::Ipv6(address) => match net::canonical(IpAddr::V6(address)) {
            IpAddr::V4(address) => Host::Ipv4(address),
            IpAddr::V6(address) => Host::Ipv6(address),
        },
    }
}

fn without_credentials(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can fail for an address that has them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// A name leads to an address that the node does not connect to.
#[derive(Debug)]
pub(super) struct Refused {
    host: String,
    address: IpAddr,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, address } = self;
        write!(
            f,
            "{host} is at {address}, a private, local or reserved address; the operator lists those that are meant \
             under [tool.{TOOL}] allow_private"
        )
    }
}

impl std::error::Error for Refused {}

/// The resolver of the HTTP client: the system's, without the addresses that may not be connected to.
#[derive(Debug)]
pub(super) struct GuardedResolver(pub(super) Arc<Guard>);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            let host = name.as_str();
            // The client puts its own port in place of 0.
            let all: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            let permitted = permitted(host, &all, &guard.allow_private)?;
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

/// The addresses that may be connected to; an error if there are some and none of them may.
fn permitted(host: &str, all: &[SocketAddr], allow_private: &[Network]) -> Result<Vec<SocketAddr>, Refused> {
    let permitted: Vec<SocketAddr> =
        all.iter().copied().filter(|address| net::may_connect(address.ip(), allow_private)).collect();
    match all.first() {
        Some(address) if permitted.is_empty() => Err(Refused { host: host.to_owned(), address: address.ip() }),
        _ => Ok(permitted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(hosts: &[&str], allow_private: &[&str]) -> Guard {
        let owned = |list: &[&str]| Some(list.iter().map(|&text| text.to_owned()).collect());
        let config = ToolConfig { hosts: owned(hosts), allow_private: owned(allow_private), ..ToolConfig::default() };
        Guard::new(&config).expect("the configuration is right")
    }

    #[test]
    fn hosts_are_those_that_are_listed() {
        let listed = [
            "example.org",
            "*.example.com",
            "with.port:8443",
            "1.1.1.1",
            "[2606:4700::1111]:443",
            "Bücher.example",
            "127.0.0.1:8080",
        ];
        let guard = guard(&listed, &["127.0.0.1"]);
        let permitted = "http://example.org https://EXAMPLE.org:8443/x http://example.org. https://a.example.com
            https://a.b.example.com https://with.port:8443/ http://1.1.1.1:99/ https://[2606:4700::1111]/
            https://xn--bcher-kva.example/ http://127.0.0.1:8080/ http://2130706433:8080/ http://0x7f.1:8080/
            http://[::ffff:127.0.0.1]:8080/";
        for url in permitted.split_whitespace() {
            assert_eq!(guard.permits(&Url::parse(url).unwrap()), Ok(()), "{url}");
        }
        let denied = "http://example.com http://notexample.com http://example.org.evil.net https://with.port/
            http://127.0.0.1/ http://127.0.0.1:8081/ http://127.0.0.2:8080/ ftp://example.org/ file:///etc/passwd
            data:text/plain,x http://user@example.org/ http://user:secret@example.org/ http://:secret@example.org/
            http://example.org@evil.net/ http://[2606:4700::1111]:80/ javascript:alert(1) gopher://example.org/";
        for url in denied.split_whitespace() {
            let answer = guard.permits(&Url::parse(url).unwrap());
            assert!(matches!(answer, Err(CallError::Denied(_))), "{url}");
            assert!(!format!("{answer:?}").contains("secret"), "{url}");
        }
    }

    #[test]
    fn no_list_no_host() {
        let guard = Guard::new(&ToolConfig::default()).unwrap();
        let Err(CallError::Denied(text)) = guard.permits(&Url::parse("https://example.org/").unwrap()) else {
            panic!()
        };
        assert!(text.contains("[tool.WebFetch] hosts"), "{text}");
    }

    #[test]
    fn a_listed_host_is_not_a_listed_address() {
        let guard = guard(&["*"], &["10.1.0.0/16"]);
        for url in [
            "http://127.0.0.1/",
            "http://0x7f000001/",
            "http://017700000001/",
            "http://127.1/",
            "http://0/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://10.2.0.1/",
            "http://100.64.0.1/",
            "http://224.0.0.1/",
        ] {
            assert!(matches!(guard.permits(&Url::parse(url).unwrap()), Err(CallError::Denied(_))), "{url}");
        }
        assert_eq!(guard.permits(&Url::parse("http://10.1.2.3/").unwrap()), Ok(()));
        assert_eq!(guard.permits(&Url::parse("http://1.1.1.1/").unwrap()), Ok(()));
    }

    #[test]
    fn of_many_addresses_those_inside_are_left_out() {
        let all: Vec<SocketAddr> = ["10.0.0.1:0", "1.1.1.1:0", "[::1]:0"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(permitted("x", &all, &[]).unwrap(), ["1.1.1.1:0".parse().unwrap()]);
        assert!(permitted("x", &all[..1], &[]).is_err());
        assert_eq!(permitted("x", &all, &["::1".parse().unwrap(), "10.0.0.1".parse().unwrap()]).unwrap(), all);
    }

    #[test]
    fn what_is_no_host_is_refused_with_an_example() {
        for text in [
            "",
            "http://example.org",
            "example.org/x",
            "a b",
            "*.",
            "*.1.2.3.4",
            "a.*.org",
            "x:0",
            "x:99999",
            "x:",
            "**",
            "*x.org",
        ] {
            let why = HostPattern::parse(text).expect_err(text);
            assert!(why.contains("example.org"), "{text}: {why}");
        }
    }
}
