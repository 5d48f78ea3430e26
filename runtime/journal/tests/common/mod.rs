//! The naive model that the journal is held against: maps and lists in memory, and what a test does to both.

#![allow(dead_code, reason = "each test is a crate of its own and uses its part")]

use std::collections::BTreeMap;

use sortie_contract::id::CallNo;
use sortie_contract::plugin::LogLevel;
use sortie_contract::{MissionNo, Record, Stamped, Status, Timestamp};
use sortie_journal::sim::sample_head;
use sortie_journal::{Append, Cursor, Head, Journal, WriteError};

/// Missions that are looked for though nothing names them: a test gives no others after it has pruned the feed.
const MISSIONS: std::ops::RangeInclusive<u64> = 0..=100;

/// What is done to a journal.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Append(Step),
    Remove(u64),
    /// Prunes the feed before the position that is so far behind the next one.
    PruneFeed {
        behind: u64,
    },
}

/// One append, as a test writes it down.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) mission: u64,
    /// The size of the text of each record.
    pub(crate) records: Vec<usize>,
    pub(crate) head: Option<Status>,
    pub(crate) cursor: Option<CursorStep>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum CursorStep {
    Acked(u64),
    Delivered,
}

impl Step {
    /// The dispatch of a mission: a record, a head, a cursor.
    pub(crate) fn dispatch(mission: u64) -> Self {
        let (head, cursor) = (Some(Status::Queued), Some(CursorStep::Acked(0)));
        Self { mission, records: vec![700], head, cursor }
    }
}

/// Everything that can be read of a journal.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) records: BTreeMap<u64, Vec<Stamped>>,
    pub(crate) heads: BTreeMap<u64, Head>,
    pub(crate) cursors: BTreeMap<u64, Cursor>,
    /// By position: mission, first record, number of records.
    pub(crate) feed: BTreeMap<u64, (u64, u32, u32)>,
    /// The position of the newest frame.
    pub(crate) position: u64,
}

impl Model {
    /// What is in `journal`; panics where it cannot be read or contradicts itself.
    pub(crate) fn of(journal: &Journal) -> Self {
        Self::try_of(journal).unwrap()
    }

    pub(crate) fn try_of(journal: &Journal) -> Result<Self, sortie_journal::ReadError> {
        let mut model = Self::default();
        for (no, head) in journal.heads_newest_first(None, usize::MAX)? {
            model.heads.insert(no.0, head);
        }
        // Lists pass over what they cannot read.
        journal.scan_oldest_first(|_, _| ())?;
        model.position = *journal.durable().borrow();
        let feed = journal.feed_after(0, usize::MAX)?;
        for (entry, position) in feed.into_iter().zip(journal.feed_begin()?..) {
            assert_eq!(entry.position, position, "the feed has no gaps");
            model.feed.insert(position, (entry.mission.0, entry.first, entry.count));
        }
        let named = model.feed.values().map(|(mission, ..)| *mission);
        for mission in named.chain(MISSIONS) {
            let records = journal.read(MissionNo(mission))?;
            if !records.is_empty() {
                model.records.insert(mission, records);
            }
        }
        for (no, _) in journal.undelivered()? {
            model.cursors.extend(journal.cursor(no)?.map(|cursor| (no.0, cursor)));
        }
        Ok(model)
    }

    /// Does `deed` to the model, and to `journal`; the error is the journal's.
    pub(crate) fn act(&mut self, deed: &Deed, journal: &Journal) -> Result<(), WriteError> {
        match deed {
            Deed::Append(step) => journal.append(self.apply(step)),
            Deed::Remove(mission) => {
                self.remove(*mission);
                journal.remove(MissionNo(*mission))
            }
            Deed::PruneFeed { behind } => journal.prune_feed_before(self.prune(*behind)),
        }
    }

    /// Does `deed` to the model alone.
    pub(crate) fn imagine(&mut self, deed: &Deed) {
        match deed {
            Deed::Append(step) => drop(self.apply(step)),
            Deed::Remove(mission) => self.remove(*mission),
            Deed::PruneFeed { behind } => drop(self.prune(*behind)),
        }
    }

    fn remove(&mut self, mission: u64) {
        self.records.remove(&mission);
        self.heads.remove(&mission);
        self.cursors.remove(&mission);
    }

    fn prune(&mut self, behind: u64) -> u64 {
        let begin = (self.position + 1).saturating_sub(behind);
        self.feed.retain(|position, _| *position >= begin);
        begin
    }

    /// The position at which the feed begins.
    pub(crate) fn feed_begin(&self) -> u64 {
        self.feed.keys().next().copied().unwrap_or(self.position + 1)
    }

    /// Does `step` to the model, and returns the append that does it to a journal.
    pub(crate) fn apply(&mut self, step: &Step) -> Append {
        let records = self.records.entry(step.mission).or_default();
        let first = u32::try_from(records.len()).unwrap();
        let new: Vec<_> = (first..).zip(&step.records).map(|(number, len)| record(number, *len)).collect();
        let mut append = Append::new(MissionNo(step.mission), first, &new);
        if !new.is_empty() {
            self.position += 1;
            self.feed.insert(self.position, (step.mission, first, u32::try_from(new.len()).unwrap()));
        }
        records.extend(new);
        if records.is_empty() {
            self.records.remove(&step.mission);
        }
        if let Some(status) = step.head {
            let head = Head { status, ..sample_head(step.mission) };
            append = append.head(&head);
            self.heads.insert(step.mission, head);
        }
        match step.cursor {
            Some(CursorStep::Acked(acked)) => {
                let cursor = Cursor { acked, ..Cursor::default() };
                append = append.cursor(&cursor);
                self.cursors.insert(step.mission, cursor);
            }
            Some(CursorStep::Delivered) => {
                append = append.delivered();
                self.cursors.remove(&step.mission);
            }
            None => {}
        }
        append
    }
}

fn record(number: u32, len: usize) -> Stamped {
    let text = char::from(b'a' + u8::try_from(number % 26).unwrap()).to_string().repeat(len);
    let record = Record::Logged { call: CallNo(number), level: LogLevel::Info, text };
    Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: u64::from(number), record }
}
