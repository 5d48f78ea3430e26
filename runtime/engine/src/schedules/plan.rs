//! A schedule in memory, as it stands on the disk, and a step from there to where it will stand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use sortie_contract::Timestamp;
use sortie_journal::{Kept, ScheduleChange};
use sortie_schedule::{Action, Position, Schedule};
use tokio::sync::Mutex as Turn;

use super::ScheduleError;
use super::kept::{About, Change, Defined, Definition, Entry, Progress, read, write};

/// A schedule in memory.
pub(crate) struct Plan {
    pub(super) id: Arc<str>,
    pub(super) state: Mutex<Arc<State>>,
    /// When it wants attention.
    pub(super) due: Mutex<Option<Timestamp>>,
    /// Whoever changes it has the turn, and waits for the disk meanwhile.
    pub(super) turn: Turn<()>,
    /// Somebody waits for the turn to see to what is due: nobody else has to.
    pub(super) asked: AtomicBool,
}

/// A schedule as it stands on the disk.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) schedule: Arc<Schedule>,
    pub(super) about: Arc<About>,
    pub(super) progress: Progress,
    pub(super) version: u64,
    /// It is removed.
    pub(super) gone: bool,
}

impl Plan {
    /// Of a schedule that stands so.
    pub(super) fn new(id: Arc<str>, state: State) -> Self {
        let (state, due) = (Mutex::new(Arc::new(state)), Mutex::default());
        Self { id, state, due, turn: Turn::new(()), asked: AtomicBool::new(false) }
    }

    pub(super) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.lock())
    }

    /// The schedule, unless it was removed while whoever asks waited for the turn.
    pub(super) fn present(&self) -> Result<Arc<State>, ScheduleError> {
        Some(self.state()).filter(|state| !state.gone).ok_or(ScheduleError::Unknown)
    }
}

impl State {
    /// A schedule of the log, or why it is none.
    pub(super) fn read(kept: &Kept) -> Result<Self, String> {
        let definition: Definition = read(&kept.definition).map_err(|error| error.to_string())?;
        let progress: Progress = read(&kept.position).map_err(|error| error.to_string())?;
        let (schedule, about) =
            definition.read().map_err(|mistakes| mistakes.first().map(ToString::to_string).unwrap_or_default())?;
        let (schedule, about, version) = (Arc::new(schedule), Arc::new(about), kept.version);
        Ok(Self { schedule, about, progress, version, gone: false })
    }

    /// What it is.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// How far it has come.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.progress.position
    }

    /// Counts the changes of what it is.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.about.revision
    }

    /// The calendars that it names, with their texts.
    #[must_use]
    pub fn calendars(&self) -> &BTreeMap<String, String> {
        &self.about.calendars
    }

    /// Who changed what, the oldest first.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.about.changes
    }

    /// What it is, as it is kept.
    pub(super) fn defined(&self) -> String {
        write(&Defined { schedule: &self.schedule.definition(), about: &self.about })
    }

    /// Somebody did something to it.
    pub(super) fn note(&mut self, change: Change) {
        Arc::make_mut(&mut self.about).note(change);
    }

    /// The names of its missions that have not ended.
    pub fn running(&self) -> impl Iterator<Item = &str> {
        self.progress.running.values().map(String::as_str)
    }
}

/// How a change goes on after what was recorded.
pub(super) struct Step {
    /// As it will stand.
    pub(super) state: State,
    pub(super) entries: Vec<Entry>,
    pub(super) revised: bool,
}

impl Step {
    pub(super) fn from(state: &State) -> Self {
        Self { state: state.clone(), entries: Vec::new(), revised: false }
    }

    pub(super) fn take(&mut self, action: &Action, at: Timestamp) {
        self.state.progress.position.apply(action);
        self.entries.push(Entry { at, action: action.clone(), mission_id: None, made: None, errors: Vec::new() });
    }

    /// Whether there is something to record.
    pub(super) fn says_something(&self) -> bool {
        self.revised || !self.entries.is_empty()
    }

    /// The change that brings the log there, with this progress.
    pub(super) fn change(&self, id: &str, progress: &Progress) -> ScheduleChange {
        let fires = self.entries.iter().map(write).collect();
        let change = ScheduleChange::moved(id, self.state.version, write(progress), fires);
        if self.revised { change.revised(self.state.defined()) } else { change }
    }
}
