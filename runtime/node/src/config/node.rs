//! `[node]`: who and where a node is, how much it does at once, and what it is among others on the same store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use sortie_journal::LEASE;
use url::Url;

use super::{Config, ConfigError};

/// The shortest lease: a node tells three times in it that it lives, and a database may take its time to answer.
const LEASE_MIN: Duration = Duration::from_secs(1);

/// The longest: nobody does what a dead node had to do before it is over.
const LEASE_MAX: Duration = Duration::from_secs(600);

/// Most characters of a group or label.
const WORD_MAX: usize = 100;

/// `[node]`: who and where it is, how much it does at once.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// What `target_instance_id` must name.
    pub instance_id: String,
    /// Journal, artifacts, workspaces, plugins, token.
    pub data_dir: Option<PathBuf>,
    /// The database that keeps the missions, `postgres://user@host/database`; without one a file in the data directory does.
    pub store: Option<String>,
    /// Where its password is, if it is not in `store`: `env://NAME` or `file:///path`.
    pub store_password: Option<String>,
    /// Where other nodes of the same store reach it, `http://host:port`.
    pub advertise: Option<String>,
    /// How long others of the same store wait for a sign of life before they take its missions over.
    #[serde(deserialize_with = "sortie_contract::duration::deserialize")]
    pub lease: Duration,
    /// The groups that it is in: what `target_instance_id = "group:NAME"` means.
    pub groups: Vec<String>,
    /// What it says of itself beside them: what `target_instance_id = "label:KEY=VALUE"` means.
    pub labels: BTreeMap<String, String>,
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: String,
    /// Names by which `/mcp` is asked for, beside addresses and `localhost`: of this machine, or of what stands before it.
    pub names: Vec<String>,
    /// Where people reach its pages: what the links of messages begin with.
    pub public_url: Option<String>,
    /// Most missions running at the same time.
    pub max_running: usize,
    /// The zone of hours that name none, of closed days, and of nights, by its name in the IANA list.
    pub time_zone: String,
    /// When it is open; without any, always.
    pub hours: Vec<String>,
    /// Days on which it is closed: dates, ranges of dates, calendars.
    pub closed: Vec<String>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            instance_id: "factory-1".to_owned(),
            data_dir: None,
            store: None,
            store_password: None,
            advertise: None,
            lease: LEASE,
            groups: Vec::new(),
            labels: BTreeMap::new(),
            listen: "127.0.0.1:7433".to_owned(),
            names: Vec::new(),
            public_url: None,
            // A running plugin takes about 50 KiB and a slot of the pool: a thousand of them is a normal node.
            max_running: 256,
            time_zone: "UTC".to_owned(),
            hours: Vec::new(),
            closed: Vec::new(),
        }
    }
}

impl Config {
    /// What the node is among others: whether that can be.
    ///
    /// # Errors
    /// [`ConfigError::Value`]
    pub(super) fn fleet(&self) -> Result<(), ConfigError> {
        let node = &self.node;
        if let Some(advertise) = &node.advertise {
            let is_address = Url::parse(advertise).is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.has_host()
                    && url.path() == "/"
                    && url.query().is_none()
                    && url.fragment().is_none()
                    && url.username().is_empty()
                    && url.password().is_none()
            });
            if !is_address {
                let why = "must be where other nodes reach this one, `http://host:port` without a path";
                return Err(ConfigError::value("node.advertise", why));
            }
        }
        if !(LEASE_MIN..=LEASE_MAX).contains(&node.lease) {
            return Err(ConfigError::value("node.lease", "must be 1s to 10m"));
        }
        if let Some(group) = node.groups.iter().find(|group| !is_word(group)) {
            return Err(ConfigError::value("node.groups", format!("`{group}` is no name of a group: {WORD}")));
        }
        let wrong = node.labels.iter().find(|(key, value)| !is_word(key) || !is_word(value));
        match wrong {
            Some((key, _)) => Err(ConfigError::value(&format!("node.labels.{key}"), format!("it is no label: {WORD}"))),
            None => Ok(()),
        }
    }
}

const WORD: &str = "1 to 100 of A-Z, a-z, 0-9, `.`, `_`, `-`";

fn is_word(text: &str) -> bool {
    let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=WORD_MAX).contains(&text.len()) && text.bytes().all(is_of_it)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_a_node_is_among_others_is_looked_at() {
        for (lines, expected) in [
            ("advertise = \"http://10.0.0.7:7433\"", None),
            ("advertise = \"https://node-1.example/\"", None),
            ("advertise = \"10.0.0.7:7433\"", Some("node.advertise")),
            ("advertise = \"http://node/sortie\"", Some("node.advertise")),
            ("advertise = \"http://me:secret@node:7433\"", Some("node.advertise")),
            ("lease = \"2s\"", None),
            ("lease = \"200ms\"", Some("node.lease")),
            ("lease = \"1h\"", Some("node.lease")),
            ("groups = [\"coders\"]", None),
            ("groups = [\"co ders\"]", Some("node.groups")),
            ("labels = { gpu = \"yes\" }", None),
            ("labels = { gpu = \"\" }", Some("node.labels.gpu")),
        ] {
            let config = Config::of(Path::new("sortie.toml"), &format!("[node]\n{lines}\n"));
            match (config, expected) {
                (Ok(_), None) => {}
                (Err(ConfigError::Value { key, .. }), Some(expected)) => assert_eq!(key, expected, "{lines}"),
                (config, _) => panic!("{lines}: {:?}", config.map(|config| config.node.advertise)),
            }
        }
    }
}
