//! What a node says of itself to the others of its store: by what it can be reached, what it can do, how much it has to do.
//!
//! Every field may be missing: what another version writes is read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sortie_contract::plugin::PluginIdentity;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Card {
    /// The version of its Sortie.
    pub version: String,
    /// Where the others reach it.
    pub url: Option<String>,
    /// What the others sign with what they ask in the name of those who are known to them.
    pub key: String,
    /// Whether its answers to what others send on to it say whose they are.
    pub is_named_in_answers: bool,
    /// The groups that it is in.
    pub groups: Vec<String>,
    /// What it says of itself beside them.
    pub labels: BTreeMap<String, String>,
    /// Which plugin runs missions, by type or VP.
    pub plugins_by: BTreeMap<String, String>,
    /// The plugins that are installed.
    pub plugins: Vec<PluginIdentity>,
    /// The names of its tools.
    pub tools: Vec<String>,
    /// Its lanes.
    pub lanes: Vec<String>,
    /// Missions that are not over.
    pub open: u64,
    /// How many it runs at once.
    pub max_running: u64,
    /// Whether it gives no turns.
    pub is_paused: bool,
    /// Whether it takes no missions, for it is to be stopped.
    pub is_draining: bool,
    /// The names of nodes whose missions are its own now.
    pub stands_for: BTreeSet<String>,
}

impl Card {
    /// What is written of it.
    pub(super) fn write(&self) -> String {
        serde_json::to_string(self).expect("plain data")
    }

    /// Of what is written; nothing is known of a node of which it cannot be read.
    pub(super) fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_of_another_version_is_read_for_what_is_known_of_it() {
        let card = Card::read(r#"{"version": "9.9.9", "url": "http://a:1", "moods": ["sunny"]}"#);
        assert_eq!((card.version.as_str(), card.url.as_deref(), card.max_running), ("9.9.9", Some("http://a:1"), 0));
        assert_eq!(Card::read(&card.write()), card);
        assert_eq!(Card::read(""), Card::default());
    }
}
