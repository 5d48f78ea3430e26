//! What the writer is given to do. An append is encoded by whoever makes it, so that the writer's thread only copies bytes.

use sortie_contract::cursor::Cursor;
use sortie_contract::{MissionNo, Stamped};

use crate::balance::{Movement, Moves};
use crate::cursor;
use crate::frame;
use crate::head::Head;
use crate::log::Lease;
use crate::quarantine::Quarantine;
use crate::room::Room;
use crate::schedule;

/// Changes of one mission that become durable together, or not at all.
#[derive(Debug, Clone)]
#[must_use = "an append does nothing until it is handed to the journal"]
pub struct Append {
    pub(crate) mission: u64,
    pub(crate) frame: Option<Frame>,
    pub(crate) head: Option<Vec<u8>>,
    pub(crate) cursor: Option<CursorChange>,
    /// Where the cursor must stand for it to be taken; `None` where that is of no concern.
    pub(crate) cursor_before: Option<Option<Box<Cursor>>>,
    pub(crate) quarantine: Option<Quarantined>,
    /// How far the schedule has come that the mission is a fire of.
    pub(crate) schedule: Option<Box<schedule::Written>>,
    /// What moves in the balances of wider budgets.
    pub(crate) moves: Option<Box<Moves>>,
    /// The token of the lease that it is made under.
    pub(crate) lease: Option<u64>,
    /// The place in the queue that was kept for it.
    pub(crate) room: Option<Room>,
}

#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) first: u32,
    pub(crate) count: u32,
    pub(crate) bytes: Vec<u8>,
}

/// A row that says what is read of a mission, and the number of its end, which the feed tells of.
#[derive(Debug, Clone)]
pub(crate) struct Quarantined {
    pub(crate) end_no: u32,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) enum CursorChange {
    Set(Vec<u8>),
    Remove,
}

/// One entry of the queue.
#[derive(Debug)]
pub(crate) enum Change {
    Append(Append),
    /// Removes all rows of the mission; the feed keeps its entries.
    Remove(u64),
    /// Removes the entries of the feed before the position.
    PruneFeed(u64),
    Schedule(schedule::Written),
    /// The row of run clocks.
    Clocks(Vec<u8>),
    /// What somebody did.
    Action(String),
    /// The pin of a mission; `None`: it is taken away.
    Pin(u64, Option<Vec<u8>>),
}

/// What a removal weighs in the queue and in a commit, whatever the mission holds: a commit has 256 removals at most, so
/// that those who wait for it wait for milliseconds. docs/JOURNAL.md has what they cost.
const REMOVAL_BYTES: usize = 64 << 10;

/// What a head that is still to come weighs in the queue: most are smaller.
pub(crate) const HEAD_BYTES: usize = 2 << 10;

impl Change {
    /// What it weighs in the queue.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Append(append) => append.bytes(),
            Self::Remove(_) | Self::PruneFeed(_) => REMOVAL_BYTES,
            Self::Schedule(change) => change.bytes(),
            Self::Clocks(row) => row.len(),
            Self::Action(text) => size_of::<Self>() + text.len(),
            Self::Pin(_, row) => row.as_ref().map_or(0, Vec::len),
        }
    }
}

impl Append {
    /// Records of `mission`; `first` is the number of the first of them in that mission, from 0. Without records, only a
    /// head or a cursor is written.
    pub fn new(mission: MissionNo, first: u32, records: &[Stamped]) -> Self {
        let frame = (!records.is_empty()).then(|| Frame {
            first,
            count: u32::try_from(records.len()).expect("an append has fewer than 2^32 records"),
            bytes: frame::encode((mission.0, first), records),
        });
        Self {
            mission: mission.0,
            frame,
            head: None,
            cursor: None,
            cursor_before: None,
            quarantine: None,
            schedule: None,
            moves: None,
            lease: None,
            room: None,
        }
    }

    /// The same, and `head` replaces the mission's head.
    pub fn head(mut self, head: &Head) -> Self {
        self.head = Some(head.encode(self.mission));
        self
    }

    /// The same, and `cursor` replaces the mission's cursor.
    pub fn cursor(mut self, cursor: &Cursor) -> Self {
        self.cursor = Some(CursorChange::Set(cursor::encode(cursor, self.mission)));
        self
    }

    /// The same, and the mission has nothing left to deliver: its cursor is removed.
    pub fn delivered(mut self) -> Self {
        self.cursor = Some(CursorChange::Remove);
        self
    }

    /// The same, and the mission has nothing left to deliver after `cursor`: it is removed, or tells what was skipped.
    pub fn closed(self, cursor: Cursor) -> Self {
        match cursor.close() {
            Some(closed) => self.cursor(&closed),
            None => self.delivered(),
        }
    }

    /// The same, only while the cursor stands at `before`: else refused as [`crate::WriteError::CursorMoved`].
    pub fn moved_from(mut self, before: Option<Cursor>) -> Self {
        self.cursor_before = Some(before.map(Box::new));
        self
    }

    /// The same, under a lease of the mission: refused as [`crate::WriteError::Fenced`] where somebody has a newer one.
    ///
    /// # Panics
    /// For a lease of another mission.
    pub fn under(mut self, lease: Lease) -> Self {
        assert_eq!(lease.mission.0, self.mission, "a lease is of one mission");
        self.lease = Some(lease.token);
        self
    }

    /// The same, and the mission is in quarantine from now on: its records are read as `quarantine` says. The feed tells of its end.
    pub fn quarantined(mut self, quarantine: &Quarantine) -> Self {
        self.quarantine = Some(Quarantined { end_no: quarantine.until(), bytes: quarantine.encode(self.mission) });
        self
    }

    /// The same, and a schedule has come so far with it.
    pub(crate) fn with(mut self, schedule: schedule::Written) -> Self {
        self.schedule = Some(Box::new(schedule));
        self
    }

    /// The same, and this moves in the balances.
    pub fn moves(mut self, movements: Vec<Movement>) -> Self {
        self.moves = (!movements.is_empty()).then(|| Box::new(Moves(movements)));
        self
    }

    /// The same, in the place that was kept for it.
    pub fn within(mut self, room: Room) -> Self {
        self.room = Some(room);
        self
    }

    pub(crate) fn movements(&self) -> &[Movement] {
        self.moves.as_ref().map_or(&[], |moves| &moves.0)
    }

    pub(crate) fn bytes(&self) -> usize {
        let frame = self.frame.as_ref().map_or(0, |frame| frame.bytes.len());
        let quarantine = self.quarantine.as_ref().map_or(0, |quarantine| quarantine.bytes.len());
        let schedule = self.schedule.as_ref().map_or(0, |schedule| schedule.bytes());
        let movements = size_of_val(self.movements());
        size_of::<Self>() + frame + quarantine + schedule + movements + self.head.as_ref().map_or(0, Vec::len)
    }

    /// What the feed tells of: the number of the first record, and how many there are.
    pub(crate) fn told(&self) -> Option<(u32, u32)> {
        let frame = self.frame.as_ref().map(|frame| (frame.first, frame.count));
        frame.or(self.quarantine.as_ref().map(|quarantine| (quarantine.end_no, 1)))
    }
}
