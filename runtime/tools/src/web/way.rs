//! Where a tool of the web may go: the hosts that the configuration lists for it, and of their addresses those that are public or
//! listed, too.

use sortie_contract::limit;
use sortie_contract::tool::CallError;
use sortie_egress::{Client, Guard, HostPattern, Limits, NotAHost, NotANetwork};
use url::Url;

use super::CONNECT_TIME_LIMIT;
use crate::config::{ConfigError, ToolConfig};

/// A tool, and where the configuration lists addresses for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) tool: &'static str,
    pub(super) allow_private: &'static str,
}

/// The rules of the configuration, and the client that keeps them.
#[derive(Debug)]
pub(super) struct Way {
    place: Place,
    hosts: Vec<HostPattern>,
    client: Client,
}

impl Way {
    /// To the hosts that the configuration lists for the tool.
    pub(super) fn new(place: Place, config: &ToolConfig) -> Result<Self, ConfigError> {
        let hosts = config.hosts.iter().flatten().map(|text| text.parse());
        let wrong = |why: NotAHost| ConfigError::value(place.tool, "hosts", why.to_string());
        Self::to(place, hosts.collect::<Result<_, _>>().map_err(wrong)?, config)
    }

    /// To these hosts.
    pub(super) fn to(place: Place, hosts: Vec<HostPattern>, config: &ToolConfig) -> Result<Self, ConfigError> {
        let guard = Guard::new(config.allow_private.iter().flatten(), place.allow_private);
        let wrong = |why: NotANetwork| ConfigError::value(place.tool, "allow_private", why.to_string());
        let limits = Limits { connect_timeout: CONNECT_TIME_LIMIT, idle_per_host: 4, decompress: true };
        Ok(Self { place, hosts, client: Client::new(guard.map_err(wrong)?, limits) })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether a request may go to `url`, as far as that can be said before its name is resolved.
    pub(super) fn permits(&self, url: &Url) -> Result<(), CallError> {
        let shown = limit::clip(&without_credentials(url), limit::LIST_ENTRY_BYTES_MAX);
        let denied = |why: String| Err(CallError::Denied(format!("{shown}: {why}")));
        if !matches!(url.scheme(), "http" | "https") {
            return denied(format!("the scheme `{}` is not asked; http and https are", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return denied("credentials in an address are not sent; remove them".to_owned());
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return denied("it names no host".to_owned());
        };
        if !self.hosts.iter().any(|pattern| pattern.permits(url)) {
            return denied(format!(
                "the host {host}:{port} is not listed; the operator lists hosts under [tool.{}] hosts",
                self.place.tool
            ));
        }
        self.client.guard().literal(url).or_else(|refused| denied(refused.to_string()))
    }
}

fn without_credentials(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can fail for an address that has them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(hosts: &[&str], allow_private: &[&str]) -> Way {
        let owned = |list: &[&str]| Some(list.iter().map(|&text| text.to_owned()).collect());
        let config = ToolConfig { hosts: owned(hosts), allow_private: owned(allow_private), ..ToolConfig::default() };
        Way::new(super::super::PLACE, &config).expect("the configuration is right")
    }

    #[test]
    fn what_is_no_listed_host_is_denied_and_no_credentials_are_repeated() {
        let way = way(&["example.org", "127.0.0.1:8080", "https://sure.example"], &["127.0.0.1"]);
        for url in
            "http://example.org https://EXAMPLE.org:8443/x http://127.0.0.1:8080/ https://sure.example/".split(' ')
        {
            assert_eq!(way.permits(&Url::parse(url).unwrap()), Ok(()), "{url}");
        }
        let denied = "http://example.com http://127.0.0.1/ ftp://example.org/ file:///etc/passwd data:text/plain,x
            http://user@example.org/ http://user:secret@example.org/ http://:secret@example.org/ http://sure.example/
            http://example.org@evil.net/ javascript:alert(1) gopher://example.org/";
        for url in denied.split_whitespace() {
            let answer = way.permits(&Url::parse(url).unwrap());
            assert!(matches!(answer, Err(CallError::Denied(_))), "{url}");
            assert!(!format!("{answer:?}").contains("secret"), "{url}");
        }
    }

    #[test]
    fn no_list_no_host() {
        let Err(CallError::Denied(text)) = way(&[], &[]).permits(&Url::parse("https://example.org/").unwrap()) else {
            panic!()
        };
        assert!(text.contains("[tool.WebFetch] hosts"), "{text}");
    }

    #[test]
    fn a_listed_host_is_not_a_listed_address() {
        let way = way(&["*"], &["10.1.0.0/16"]);
        for url in
            ["http://127.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://10.2.0.1/", "http://[::1]/"]
        {
            let answer = way.permits(&Url::parse(url).unwrap());
            assert!(
                matches!(&answer, Err(CallError::Denied(why)) if why.contains("allow_private")),
                "{url}: {answer:?}"
            );
        }
        assert_eq!(way.permits(&Url::parse("http://10.1.2.3/").unwrap()), Ok(()));
        assert_eq!(way.permits(&Url::parse("http://1.1.1.1/").unwrap()), Ok(()));
    }
}
