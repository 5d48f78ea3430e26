//! SIGHUP: the configuration is read again while the node serves.
//!
//! What can change then is taken ([`TAKEN`]); of the rest it is said which tables have changed and wait for a restart. A configuration that cannot
//! be used changes nothing.

use std::path::PathBuf;

use toml::Table;

use crate::config::{Config, ConfigError};
use crate::http::auth::Tokens;

/// The tables that are taken without a restart.
pub(crate) const TAKEN: [&str; 1] = ["token"];

/// What is looked at again.
pub(crate) struct Reload {
    /// The file; none where the node has none.
    place: Option<PathBuf>,
    /// What it said when the node started, but for what was taken since.
    holds: Table,
    own_token: String,
    tokens: Tokens,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reloaded {
    /// Tables that have changed, and hold from now on.
    pub(crate) taken: Vec<String>,
    /// Tables that have changed, and hold after a restart.
    pub(crate) waiting: Vec<String>,
}

impl Reload {
    /// Of a node that was started with what `place` says now, for `tokens`, of which one is its own.
    pub(crate) fn new(place: Option<PathBuf>, own_token: String, tokens: Tokens) -> Self {
        let text = place.as_ref().and_then(|place| std::fs::read_to_string(place).ok());
        let holds = text.and_then(|text| text.parse().ok()).unwrap_or_default();
        Self { place, holds, own_token, tokens }
    }

    /// Reads it again, and says in the log what came of that.
    pub(crate) fn now(&mut self) {
        match self.read() {
            Ok(Reloaded { taken, waiting }) => {
                tracing::info!(taken = taken.join(", "), "the configuration was read again");
                if !waiting.is_empty() {
                    tracing::warn!(tables = waiting.join(", "), "these have changed, and hold after a restart");
                }
            }
            Err(error) => tracing::error!(
                error = crate::cli::with_causes(&error),
                "the configuration cannot be used: the node goes on with what it has"
            ),
        }
    }

    fn read(&mut self) -> Result<Reloaded, ConfigError> {
        let Some(place) = &self.place else {
            let why = "the node was started without a file that it could read again".to_owned();
            return Err(ConfigError::Value { key: "--config".to_owned(), why });
        };
        let unreadable = |source| ConfigError::Unreadable { path: place.clone(), source };
        // What nobody writes into would keep it waiting, and every further reading with it.
        if !std::fs::metadata(place).map_err(unreadable)?.is_file() {
            return Err(unreadable(std::io::Error::other("it is no regular file")));
        }
        let text = std::fs::read_to_string(place).map_err(unreadable)?;
        let config = Config::of(place, &text)?;
        let tokens = Tokens::new(&self.own_token, config.tokens()?);
        let says: Table = text.parse().unwrap_or_default();
        let mut changed: Vec<String> = self.holds.keys().chain(says.keys()).cloned().collect();
        changed.sort();
        changed.dedup();
        changed.retain(|table| self.holds.get(table) != says.get(table));
        let (taken, waiting) = changed.into_iter().partition(|table: &String| TAKEN.contains(&table.as_str()));
        // Also where the table is as it was: a token lies in a file or a variable of its own.
        self.tokens.become_those_of(&tokens);
        for table in TAKEN {
            match says.get(table) {
                Some(value) => drop(self.holds.insert(table.to_owned(), value.clone())),
                None => drop(self.holds.remove(table)),
            }
        }
        Ok(Reloaded { taken, waiting })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_change_is_taken_and_the_rest_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("sortie.toml");
        let write = |text: &str| std::fs::write(&place, text).expect("writable");
        std::fs::write(folder.path().join("ada"), "a-long-token-of-ada").expect("writable");
        let token = format!(
            "[[token]]\nname = \"ada\"\nref = \"file://{}/ada\"\nscopes = [\"read\"]\n",
            folder.path().display()
        );
        write("[limits]\nbody_bytes = 1024\n");
        let tokens = Tokens::new("own", []);
        let mut reload = Reload::new(Some(place.clone()), "own".to_owned(), tokens.clone());
        let told = |taken: &[&str], waiting: &[&str]| {
            let owned = |tables: &[&str]| tables.iter().map(|table| (*table).to_owned()).collect();
            Reloaded { taken: owned(taken), waiting: owned(waiting) }
        };
        assert_eq!(reload.read().expect("usable"), told(&[], &[]));
        write(&format!("[limits]\nbody_bytes = 2048\n{token}"));
        assert_eq!(reload.read().expect("usable"), told(&["token"], &["limits"]));
        let ada = tokens.of("a-long-token-of-ada").expect("taken");
        // What waits goes on waiting; what was taken is no news.
        assert_eq!(reload.read().expect("usable"), told(&[], &["limits"]));
        write("[limits]\nbody_bytes = 1\n");
        assert!(reload.read().is_err() && tokens.has(&ada), "what cannot be used changes nothing");
        write(&format!("[limits]\nbody_bytes = 1024\n{token}"));
        std::fs::write(folder.path().join("ada"), "another-token-of-ada").expect("writable");
        assert_eq!(reload.read().expect("usable"), told(&[], &[]));
        assert!(!tokens.has(&ada) && tokens.of("another-token-of-ada").is_some() && tokens.of("own").is_some());
        std::fs::remove_file(&place).expect("it is there");
        assert!(reload.read().is_err() && tokens.of("another-token-of-ada").is_some());
    }
}
