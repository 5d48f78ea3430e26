//! What is kept of a schedule in the log, as JSON: what it is, how far it has come, and what became of each fire.
//!
//! Fields are only added, each with a default: what an older Sortie wrote is read.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sortie_contract::{Mistake, Timestamp};
use sortie_journal::{Log, ReadError};
use sortie_schedule::{Action, Calendars, Form, Position, Schedule};

/// Changes of a schedule that are remembered: the newest.
const CHANGES_MAX: usize = 100;

/// Fires that are read at once.
const FIRES: usize = 1_024;

/// What a schedule is.
#[derive(Debug, Deserialize)]
pub(crate) struct Definition {
    /// As it was written.
    pub(crate) schedule: Map<String, Value>,
    #[serde(flatten)]
    pub(crate) about: About,
}

/// The same, to be written.
#[derive(Debug, Serialize)]
pub(crate) struct Defined<'a> {
    pub(crate) schedule: &'a Map<String, Value>,
    #[serde(flatten)]
    pub(crate) about: &'a About,
}

/// What belongs to a schedule beside its own text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct About {
    /// The calendars that it names, with their texts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) calendars: BTreeMap<String, String>,
    /// Counts the changes of what it is: the first is 1.
    pub(crate) revision: u64,
    /// Who changed what, the oldest first.
    #[serde(default)]
    pub(crate) changes: Vec<Change>,
}

/// What somebody did to a schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// The name of the token that was shown.
    pub by: String,
    /// What: `made`, `revised`, `paused`, `resumed`, `triggered`, `backfilled`.
    pub what: String,
    /// The revision that it has since.
    pub revision: u64,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Definition {
    /// The schedule, and what belongs to it.
    ///
    /// # Errors
    /// What is wrong with it, with its place.
    pub(crate) fn read(self) -> Result<(Schedule, About), Vec<Mistake>> {
        let calendars = self.about.calendars.iter();
        let calendars = calendars.fold(Calendars::none(), |all, (name, text)| all.with(name, text));
        let schedule = Schedule::parse(&Value::Object(self.schedule).to_string(), Form::Json, &calendars)?;
        Ok((schedule, self.about))
    }
}

impl About {
    /// Somebody did something.
    pub(crate) fn note(&mut self, change: Change) {
        self.changes.push(change);
        let surplus = self.changes.len().saturating_sub(CHANGES_MAX);
        self.changes.drain(..surplus);
    }
}

/// How far a schedule has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) position: Position,
    /// Its missions that are not known to have ended, by number, with their names.
    #[serde(default)]
    pub(crate) running: BTreeMap<u64, String>,
    /// The mission of it that ended last.
    #[serde(default)]
    pub(crate) previous: Option<u64>,
}

/// What became of a fire, or of several in a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was recorded.
    pub at: Timestamp,
    /// What happened.
    pub action: Action,
    /// Its mission, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mission_id: Option<String>,
    /// What came of making it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Made>,
    /// What is wrong with the envelope that was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Mistake>,
}

/// What came of making the mission of a fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    /// It was made.
    Made,
    /// It was there.
    Found,
    /// The node did not take it.
    Refused,
}

/// The missions that a schedule made, by name, as far as its history goes. Blocks.
pub(crate) fn made_by(log: &dyn Log, schedule: &str) -> Result<FxHashSet<String>, ReadError> {
    let (mut made, mut before) = (FxHashSet::default(), None);
    loop {
        let fires = log.fires(schedule, before, FIRES)?;
        let Some((last, _)) = fires.last() else { return Ok(made) };
        before = Some(*last);
        // One that cannot be read made none that anybody knows of.
        let entries = fires.iter().filter_map(|(_, text)| read::<Entry>(text).ok());
        made.extend(entries.filter(|entry| entry.made == Some(Made::Made)).filter_map(|entry| entry.mission_id));
    }
}

/// Text of the log.
pub(crate) fn write(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what is kept is plain data")
}

/// What such a text says.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    serde_json::from_str(text)
}
