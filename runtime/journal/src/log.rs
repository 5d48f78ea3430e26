//! The log as the rest of a node sees it, whatever keeps it: one process with a file, or many with a database.
//!
//! Whatever must be decided once for all of those who write is decided in here, in one step: which number a new mission gets,
//! whether it is known already, and which session is its VP's newest ([`Log::admit`]); whether an append is the next one of its
//! mission ([`WriteError::Conflict`]) and whether its writer still holds it ([`WriteError::Fenced`]). Nobody above needs to know
//! what only one process can know.
//!
//! Three keep it today: [`EmbeddedLog`], the journal in a file, [`PostgresLog`](crate::PostgresLog), the tables of a database, and
//! [`MemoryLog`], which is as naive as can be. `tests/log.rs` holds the others against it, and a fourth would have to pass that.

mod embedded;
pub(crate) mod index;
mod memory;

use std::fmt::{self, Debug};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;

use jiff::civil::Date;
use sortie_contract::cursor::Cursor;
use sortie_contract::id::IdempotencyKey;
use sortie_contract::{InstanceId, MissionId, MissionNo, SessionId, Stamped, VpId};
use sortie_measure::Seconds;
use tokio::sync::watch;

use crate::append::Append;
use crate::balance::{Account, Balance};
use crate::catalog::Session;
use crate::error::{ReadError, WriteError};
use crate::feed::FeedEntry;
use crate::fleet::Fleet;
use crate::head::Head;
use crate::journal::Receipt;
use crate::pin::Pinned;
use crate::quarantine::{Quarantine, Remains};
use crate::room::Room;
use crate::schedule::{Kept, ScheduleChange};
use crate::snapshot::{Copied, SnapshotError};

pub use embedded::EmbeddedLog;
pub(crate) use memory::far;
pub use memory::{MemoryFleet, MemoryLog};

/// By what a dispatched mission may be known already.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a> {
    /// Its public name.
    pub mission_id: &'a MissionId,
    /// Who dispatched it.
    pub source: &'a InstanceId,
    /// With `source`: what makes a second dispatch the same one.
    pub idempotency_key: &'a IdempotencyKey,
    /// Who it is done as.
    pub vp: &'a VpId,
}

/// What is known at the one moment at which it is decided whether a mission is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The number that it gets, if it is taken: greater than any that was ever given.
    pub no: MissionNo,
    /// The mission that was dispatched by the same source under the same key.
    pub twin: Option<Twin>,
    /// The mission of the same name, where it is not the twin.
    pub same_id: Option<Twin>,
    /// The session of the VP's most recently accepted mission that is no fork.
    pub newest_session: Option<SessionId>,
}

/// A mission that is there, and on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twin {
    /// Its number.
    pub no: MissionNo,
    /// Its head.
    pub head: Head,
}

/// What becomes of a dispatch.
#[derive(Debug)]
pub enum Decision {
    /// It is taken: these are its first records, its head, and where its delivery begins.
    Accept(Box<Beginning>),
    /// It is not: whoever decided has the answer. The only decision there is where a twin, or a mission of the same name, is
    /// known.
    Answer,
}

/// How a mission begins.
#[derive(Debug)]
pub struct Beginning {
    /// Its first records.
    pub records: Vec<Stamped>,
    /// Its head.
    pub head: Head,
    /// How far its delivery is; `None` where nothing is to be delivered.
    pub cursor: Option<Cursor>,
    /// How far the schedule has come that it is a fire of: with the mission, or not at all.
    pub schedule: Option<ScheduleChange>,
    /// What was set up for it outside of the log.
    pub undo: Option<Undo>,
}

/// What takes back what was set up for a mission, where the log does not take it: before anybody else gets its number.
pub struct Undo(Box<dyn FnOnce() + Send>);

impl Undo {
    /// By this, in a moment: others wait meanwhile.
    pub fn by(undo: impl FnOnce() + Send + 'static) -> Self {
        Self(Box::new(undo))
    }

    /// Does it where there is something to undo, and nothing was taken.
    pub(crate) fn unless<T, E>(undo: Option<Self>, taken: Result<T, E>) -> Result<T, E> {
        if let (Err(_), Some(Self(undo))) = (&taken, undo) {
            undo();
        }
        taken
    }
}

impl Debug for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Undo")
    }
}

/// What came of [`Log::admit`].
#[derive(Debug)]
#[must_use = "a mission is accepted only once its receipt has resolved"]
pub enum Admitted {
    /// It is accepted, once the receipt resolves.
    Accepted {
        /// Its number.
        no: MissionNo,
        /// Resolves when it is durable.
        receipt: Receipt,
    },
    /// It was answered for by whoever decided.
    Answered,
    /// One with the same key or name is on its way to the disk: it must not be answered for before it is there. Ask again once
    /// the receipt resolves. Nothing was decided.
    OnItsWay(Receipt),
}

/// The right to write a mission, until somebody takes a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Of which mission.
    pub mission: MissionNo,
    /// Greater than that of each earlier lease of the mission.
    pub token: u64,
}

/// Resolves when a log has failed.
pub type Failure = Pin<Box<dyn Future<Output = WriteError> + Send>>;

/// The log of a node, or of many. What is read is what is durable. Reading blocks; handing over does not.
///
/// A mission begins with [`Log::admit`] and is gone with [`Log::remove`]: nothing is appended to one that was not admitted, or
/// that was removed.
pub trait Log: Debug + Send + Sync {
    /// Decides about a mission in one atomic step: `decide` is told what is known, and what it decides is what happens, whoever
    /// else dispatches at this moment. It may be asked again, where somebody else was faster, and may be asked under a lock: it
    /// is to be quick and to wait for nothing.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken: [`WriteError::ScheduleMoved`] where the schedule that it is a fire of was changed meanwhile.
    /// [`ReadError`] where one that may be its twin cannot be read.
    fn admit(&self, keys: Keys<'_>, decide: &mut dyn FnMut(&Known) -> Decision) -> Result<Admitted, AdmitError>;

    /// Hands `append` over; nobody is told what becomes of it, but of the log's failure.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    fn append(&self, append: Append) -> Result<(), WriteError>;

    /// Hands `append` over; the receipt resolves when it is durable, or to [`WriteError::Conflict`],
    /// [`WriteError::CursorMoved`] or [`WriteError::Fenced`], which are this append's alone.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    fn append_durable(&self, append: Append) -> Result<Receipt, WriteError>;

    /// Keeps room for `append`, which may still get its head: made [`Append::within`] it, it is not refused as overload. For
    /// whoever has to change something of its own before the append can be complete.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was kept.
    fn reserve(&self, append: &Append) -> Result<Room, WriteError>;

    /// Takes the mission: appends under an older lease of it are [`WriteError::Fenced`] from now on. Once the receipt resolves,
    /// everything that was appended under older ones can be read.
    ///
    /// # Errors
    /// [`WriteError`]; the older lease is still good.
    fn lease(&self, mission: MissionNo) -> Result<(Lease, Receipt), WriteError>;

    /// Gives a lease back: nobody writes under it any more.
    fn release(&self, lease: Lease);

    /// Removes a mission whole, in the order of what was handed over. Its number is never given again.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken. [`ReadError`] where its head cannot be read.
    fn remove(&self, mission: MissionNo) -> Result<(), AdmitError>;

    /// Changes a schedule, in the order of what is handed over.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken: [`WriteError::ScheduleMoved`] where the change was not made from the last one.
    fn change_schedule(&self, change: ScheduleChange) -> Result<Receipt, WriteError>;

    /// At most `limit` schedules after `after`, by name. One that cannot be read is passed over.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn schedules_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Kept)>, ReadError>;

    /// The schedule of that name.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn schedule(&self, id: &str) -> Result<Option<Kept>, ReadError>;

    /// At most `limit` fires of a schedule before number `before`, the newest first, with their numbers. The newest
    /// [`FIRES_MAX`](crate::FIRES_MAX) are remembered.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn fires(&self, id: &str, before: Option<u64>, limit: usize) -> Result<Vec<(u64, String)>, ReadError>;

    /// Keeps how long missions have been running, in milliseconds, in the place of all that was kept before: what a crash must not
    /// forget although nothing is recorded. It is written with the next commit.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    fn keep_clocks(&self, clocks: &[(MissionNo, u64)]) -> Result<(), WriteError>;

    /// What was kept last; nothing, where that cannot be read.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn clocks(&self) -> Result<Vec<(MissionNo, u64)>, ReadError>;

    /// Adds to what people did: a text that is its writer's own. The newest [`ACTIONS_MAX`](crate::ACTIONS_MAX) are kept. The receipt resolves
    /// once it is durable.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    fn act(&self, text: String) -> Result<Receipt, WriteError>;

    /// At most `limit` of what people did, before number `before`, the newest first, each with its number.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn actions(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, String)>, ReadError>;

    /// Keeps a mission, or takes that back, in the order of what is handed over: whoever removes missions asks. A pin goes with its
    /// mission.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    fn pin(&self, mission: MissionNo, pin: Option<&Pinned>) -> Result<Receipt, WriteError>;

    /// The missions that are kept, oldest first.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn pins(&self) -> Result<Vec<(MissionNo, Pinned)>, ReadError>;

    /// The balances of a day and of all later ones: see [`Append::moves`]. Those of [`BALANCE_DAYS`](crate::BALANCE_DAYS) are kept.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn balances(&self, from: Date) -> Result<Vec<(Account, Balance)>, ReadError>;

    /// Lets the feed begin at `position`.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    fn prune_feed_before(&self, position: u64) -> Result<(), WriteError>;

    /// The receipt resolves once everything that was handed over before is durable.
    ///
    /// # Errors
    /// [`WriteError`].
    fn barrier(&self) -> Result<Receipt, WriteError>;

    /// Records of `mission` from number `first` on: one frame at least, and as many more as fit into `bytes`. None: the end.
    ///
    /// # Errors
    /// [`ReadError`], of this mission alone where its own rows are damaged.
    fn read(&self, mission: MissionNo, first: u32, bytes: usize) -> Result<Vec<Stamped>, ReadError>;

    /// All records of `mission` from number `first` on. Where there may be many, [`Log::read`] holds fewer at once.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn read_all(&self, mission: MissionNo, first: u32) -> Result<Vec<Stamped>, ReadError> {
        let (mut records, mut next) = (Vec::new(), first);
        loop {
            let some = self.read(mission, next, usize::MAX)?;
            if some.is_empty() {
                return Ok(records);
            }
            next = some.iter().fold(next, |no, stamped| stamped.next_no(no));
            records.extend(some);
        }
    }

    /// What can be read of `mission`, as it was written, where not all of it can.
    ///
    /// # Errors
    /// [`ReadError`] of the log as a whole.
    fn remains(&self, mission: MissionNo) -> Result<Remains, ReadError>;

    /// Why `mission` is in quarantine, where it is: see [`Append::quarantined`].
    ///
    /// # Errors
    /// As [`Log::read`].
    fn quarantine(&self, mission: MissionNo) -> Result<Option<Quarantine>, ReadError>;

    /// The missions in quarantine, oldest first.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn quarantined(&self) -> Result<Vec<MissionNo>, ReadError>;

    /// Missions whose heads could not be read when the log was opened, oldest first: nobody finds them by name, and no list has them,
    /// until each has a head again ([`Log::mend`]).
    fn headless(&self) -> Vec<MissionNo>;

    /// As [`Log::append_durable`], of a mission whose head could not be read: it gets this one.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    fn mend(&self, append: Append, no: MissionNo, head: &Head) -> Result<Receipt, WriteError>;

    /// The head of `mission`.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn head(&self, mission: MissionNo) -> Result<Option<Head>, ReadError>;

    /// The mission of that name.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn find(&self, id: &MissionId) -> Result<Option<Twin>, ReadError>;

    /// At most `limit` heads before `before`, newest first. One that cannot be read is passed over.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn heads_newest_first(&self, before: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Head)>, ReadError>;

    /// At most `limit` heads after `after`, oldest first.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn heads_oldest_first(&self, after: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Head)>, ReadError>;

    /// Whether there is a mission in that session.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn has_session(&self, vp: &VpId, session: &SessionId) -> Result<bool, ReadError>;

    /// At most `limit` sessions whose newest mission is before `before`, the one with the newest first.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn sessions_newest_first(&self, before: Option<MissionNo>, limit: usize)
    -> Result<Vec<(VpId, Session)>, ReadError>;

    /// How far the delivery of `mission` is: at the beginning, where that cannot be read.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn cursor(&self, mission: MissionNo) -> Result<Option<Cursor>, ReadError>;

    /// At most `limit` missions after `after` that have something left to deliver or of which something was skipped, oldest first.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn cursors_after(&self, after: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Cursor)>, ReadError>;

    /// The missions that have something left to deliver, oldest first.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn undelivered(&self) -> Result<Vec<(MissionNo, Cursor)>, ReadError>;

    /// The missions that have nothing left to deliver, and of which something was skipped; oldest first.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn incomplete(&self) -> Result<Vec<(MissionNo, Cursor)>, ReadError>;

    /// At most `limit` entries of the feed after `position`.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn feed_after(&self, position: u64, limit: usize) -> Result<Vec<FeedEntry>, ReadError>;

    /// Where the feed begins.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn feed_begin(&self) -> Result<u64, ReadError>;

    /// The position up to which the log is durable, as it changes: what there is to follow is [`Log::feed_after`].
    fn follow(&self) -> watch::Receiver<u64>;

    /// How long its commits took since it was opened, where it knows.
    fn commits(&self) -> Option<&Seconds> {
        None
    }

    /// Whether what keeps it cannot be reached at this moment: what is handed over waits, and so does whoever reads.
    fn is_away(&self) -> bool {
        false
    }

    /// Others that write the same store, where it is one of many.
    fn fleet(&self) -> Option<&dyn Fleet> {
        None
    }

    /// Whether it is time to refuse new missions, so that those that are running find room.
    fn crowded(&self) -> bool;

    /// Copies the log, as it is at this moment, to a file at `to` that is not there yet and that opens as a journal: whatever keeps
    /// the log, its copies have one form. Everything that was acknowledged before is in it. Blocks; what is written meanwhile is not
    /// held up.
    ///
    /// # Errors
    /// [`SnapshotError`]; nothing is left at `to` then.
    fn snapshot(&self, to: &Path) -> Result<Copied, SnapshotError>;

    /// Why nothing is taken any more, where it has failed.
    fn poisoned(&self) -> Option<WriteError>;

    /// Resolves when it fails; never, where it is closed without a failure.
    fn failed(&self) -> Failure;

    /// Writes what was handed over and takes nothing more. Blocks.
    ///
    /// # Errors
    /// [`WriteError`] where it has failed.
    fn close(&self) -> Result<(), WriteError>;
}

/// Why nothing was decided about a mission.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// It was not taken.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// What may be its twin cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}
