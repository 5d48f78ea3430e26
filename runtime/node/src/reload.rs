//! SIGHUP: the configuration is read again while the node serves.
//!
//! What can change then is taken ([`TAKEN`]); of the rest it is said which tables have changed and wait for a restart. A configuration that cannot
//! be used changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use sortie_engine::Engine;
use toml::{Table, Value};

use crate::config::{Config, ConfigError};
use crate::http::auth::Tokens;

/// What is taken without a restart: tables, and of some these keys alone.
pub(crate) const TAKEN: [(&str, &[&str]); 4] = [
    ("lane", &["concurrency"]),
    ("node", &["max_running"]),
    ("retention", &["age", "missions", "rule"]),
    ("token", &[]),
];

/// What is looked at again.
pub(crate) struct Reload {
    /// The file; none where the node has none.
    place: Option<PathBuf>,
    /// What it said when the node started, but for what was taken since.
    holds: Table,
    own_token: String,
    tokens: Tokens,
    /// Whose room and bounds may change.
    engine: Option<Arc<Engine>>,
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
    pub(crate) fn new(place: Option<PathBuf>, own_token: String, tokens: Tokens, engine: Option<Arc<Engine>>) -> Self {
        let text = place.as_ref().and_then(|place| std::fs::read_to_string(place).ok());
        let holds = text.and_then(|text| text.parse().ok()).unwrap_or_default();
        Self { place, holds, own_token, tokens, engine }
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
        let retention = config.retention()?;
        let Compared { reloaded, lanes_are_the_same } = compared(&self.holds, &says);
        // Also where the table is as it was: a token lies in a file or a variable of its own.
        self.tokens.become_those_of(&tokens);
        if let Some(engine) = &self.engine {
            let lanes = if lanes_are_the_same { config.lanes()? } else { engine.lanes() };
            engine.make_room(lanes, config.node.max_running);
            engine.keep_by(retention);
        }
        take_over(&mut self.holds, &says, lanes_are_the_same);
        Ok(reloaded)
    }
}

/// What has changed between what held and what the file says.
struct Compared {
    reloaded: Reloaded,
    /// Lanes differ in what can be taken alone: one by one, they are who they were.
    lanes_are_the_same: bool,
}

fn compared(holds: &Table, says: &Table) -> Compared {
    let mut names: Vec<&String> = holds.keys().chain(says.keys()).collect();
    names.sort();
    names.dedup();
    let mut compared =
        Compared { reloaded: Reloaded { taken: Vec::new(), waiting: Vec::new() }, lanes_are_the_same: true };
    for name in names.into_iter().filter(|name| holds.get(*name) != says.get(*name)) {
        let Some((_, keys)) = TAKEN.iter().find(|(taken, _)| taken == name) else {
            compared.reloaded.waiting.push(name.clone());
            continue;
        };
        let waits = !keys.is_empty() && without(holds.get(name), keys) != without(says.get(name), keys);
        if waits {
            compared.reloaded.waiting.push(name.clone());
        }
        if name == "lane" {
            compared.lanes_are_the_same = !waits;
        }
        let is_taken = match (holds.get(name), says.get(name)) {
            _ if keys.is_empty() => true,
            (Some(Value::Array(_)), _) | (_, Some(Value::Array(_))) => !waits,
            (had, has) => keys.iter().any(|key| had.and_then(|had| had.get(key)) != has.and_then(|has| has.get(key))),
        };
        if is_taken {
            compared.reloaded.taken.push(name.clone());
        }
    }
    compared
}

/// A table, or a list of tables, without these keys; nothing where nothing is left.
fn without(value: Option<&Value>, keys: &[&str]) -> Option<Value> {
    let mut value = value?.clone();
    let tables: Vec<&mut Value> = match &mut value {
        Value::Array(items) => items.iter_mut().collect(),
        one => vec![one],
    };
    for table in tables.into_iter().filter_map(Value::as_table_mut) {
        keys.iter().for_each(|key| drop(table.remove(*key)));
    }
    (value.as_table().is_none_or(|left| !left.is_empty())).then_some(value)
}

/// What was taken holds now.
fn take_over(holds: &mut Table, says: &Table, lanes_are_the_same: bool) {
    for (name, keys) in TAKEN {
        let whole = keys.is_empty() || name == "lane" && lanes_are_the_same;
        match says.get(name) {
            Some(value) if whole => drop(holds.insert(name.to_owned(), value.clone())),
            None if whole => drop(holds.remove(name)),
            says if name != "lane" => {
                let table = holds.entry(name).or_insert_with(|| Table::new().into());
                let Some(table) = table.as_table_mut() else { continue };
                for key in keys {
                    match says.and_then(|says| says.get(key)) {
                        Some(value) => drop(table.insert((*key).to_owned(), value.clone())),
                        None => drop(table.remove(*key)),
                    }
                }
            }
            _ => {}
        }
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
        let mut reload = Reload::new(Some(place.clone()), "own".to_owned(), tokens.clone(), None);
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

    #[test]
    fn of_lanes_and_the_node_only_their_room_is_taken() {
        let table = |text: &str| text.parse::<Table>().expect("TOML");
        let names = |names: &[String]| names.join(",");
        let lane = |id: &str, concurrency: u8, more: &str| {
            format!("[[lane]]\nid = \"{id}\"\nconcurrency = {concurrency}\n{more}\n")
        };
        let hours = "hours = [\"22:00-06:00\"]";
        for (held, says, taken, waiting) in [
            (lane("a", 1, ""), lane("a", 2, ""), "lane", ""),
            (lane("a", 1, ""), lane("a", 2, hours), "", "lane"),
            (lane("a", 1, ""), lane("a", 1, "") + &lane("b", 1, ""), "", "lane"),
            (String::new(), lane("a", 1, ""), "", "lane"),
            ("[node]\nmax_running = 1\n".into(), "[node]\nmax_running = 2\n".into(), "node", ""),
            ("[node]\nmax_running = 1\n".into(), String::new(), "node", ""),
            ("[node]\nlisten = \"a\"\n".into(), "[node]\nlisten = \"b\"\nmax_running = 2\n".into(), "node", "node"),
            ("[retention]\nage = \"1d\"\n".into(), "[retention]\nage = \"2d\"\n".into(), "retention", ""),
            ("[retention]\nage = \"1d\"\n".into(), String::new(), "retention", ""),
            (String::new(), "[retention]\nunused_plugins = \"2d\"\n".into(), "", "retention"),
            (String::new(), "[[retention.rule]]\nlane = \"a\"\n".into(), "retention", ""),
            ("[limits]\nbody_bytes = 1\n".into(), String::new(), "", "limits"),
        ] {
            let (mut holds, says) = (table(&held), table(&says));
            let Compared { reloaded, lanes_are_the_same } = compared(&holds, &says);
            assert_eq!(
                (names(&reloaded.taken).as_str(), names(&reloaded.waiting).as_str()),
                (taken, waiting),
                "{held} {says}"
            );
            // What was taken is no news, and what waits goes on waiting.
            take_over(&mut holds, &says, lanes_are_the_same);
            let again = compared(&holds, &says).reloaded;
            assert_eq!((names(&again.taken).as_str(), names(&again.waiting).as_str()), ("", waiting), "{held} {says}");
        }
    }
}
