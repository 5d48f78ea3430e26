//! What can go wrong, by operation: opening, writing, reading. The texts say what to do.

use std::any::Any;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use sortie_contract::MissionNo;

use crate::frame::FrameError;
use crate::seal::SealError;

/// Why a journal cannot be opened. None of these is ever answered by making a new one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use by another process; stop the other sortie, or give this one a data directory of its own", path.display())]
    InUse {
        /// The journal.
        path: PathBuf,
    },
    /// The file has no bytes.
    #[error(
        "{0} is empty, and a journal never is: what it held is gone. Restore it from a backup. To begin again with nothing, \
         move {0} and {1} away",
        path.display(), mark.display()
    )]
    Emptied {
        /// The journal.
        path: PathBuf,
        /// The file beside it that remembers it.
        mark: PathBuf,
    },
    /// The file is gone.
    #[error(
        "{0} is gone, but {1} says that it was here. Put it back, or restore it from a backup. To begin again with nothing, \
         move {1} away",
        path.display(), mark.display()
    )]
    Missing {
        /// The journal.
        path: PathBuf,
        /// The file beside it that remembers it.
        mark: PathBuf,
    },
    /// The file holds less than what was acknowledged.
    #[error(
        "{0} has {found} commits, but {1} remembers {expected}: the newest are lost (a bad disk, or an older copy was put in \
         its place). Restore the newest copy. To go on with this one on purpose, move {1} away",
        path.display(), mark.display()
    )]
    Behind {
        /// The journal.
        path: PathBuf,
        /// The file beside it that remembers it.
        mark: PathBuf,
        /// Commits in the journal.
        found: u64,
        /// Commits that were acknowledged.
        expected: u64,
    },
    /// The file is cut, or its bytes have changed.
    #[error("{} is damaged ({detail}); sortie does not go on with a part of it. Restore it from a backup", path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// A redb file, but not a journal.
    #[error("{} is not a journal of sortie; give sortie a data directory of its own", path.display())]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// A newer Sortie wrote it.
    #[error(
        "{} has format {found}, and this sortie knows format {known} at most; start it with the sortie that wrote it, or a \
         newer one",
        path.display()
    )]
    NewerFormat {
        /// The journal.
        path: PathBuf,
        /// What it has.
        found: u64,
        /// The newest that is known here.
        known: u64,
    },
    /// The operating system refused.
    #[error("cannot open {}; check that the folder exists, that sortie may write there, and that the disk has room and is not read-only", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// Why something is not, or may not be, in the journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The queue is full: nothing was taken, and trying again later is fine.
    #[error("the journal's queue is full; try again later")]
    Overloaded,
    /// A write failed, now or earlier. Nothing is taken any more: the process must stop, and recovers when it starts again.
    #[error("the journal failed and takes nothing more: {why}; restart sortie, and it goes on from what was recorded")]
    Poisoned {
        /// What failed.
        why: Arc<str>,
    },
    /// Another node has adopted what this log had. Nothing is taken any more: the process must stop, and has a share of its own when it starts again.
    #[error(
        "another node has taken over what this one had, which was silent for longer than its lease; restart sortie, and it goes on as one more"
    )]
    TakenOver,
    /// Another process has begun as this node: with the same data directory, or with a copy of it. Nothing is taken any more: the process must stop.
    #[error(
        "another process has begun as this node, at {since}, with its data directory or a copy of it; stop one of the two"
    )]
    Doubled {
        /// When, by the database's clock.
        since: Timestamp,
    },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
    /// What nodes share out cannot be asked for, and trying again does not mend it. All else is taken as before.
    #[error("the database of the store refuses what nodes share out (sortie_pools): {why}")]
    Pools {
        /// What it said.
        why: Arc<str>,
    },
    /// Somebody else's records are there already, or some before these are not: nothing of this append was taken, and nobody else
    /// is told. Who means to go on reads the mission again.
    #[error(
        "records {first} and following of mission {mission} are not the next ones: those are {expected} and following"
    )]
    Conflict {
        /// Whose.
        mission: MissionNo,
        /// The number of the first record of the append.
        first: u32,
        /// The number that the next record has.
        expected: u32,
    },
    /// The mission's cursor does not stand any more where whoever moves it saw it: nothing of this append was taken, and nobody else
    /// is told. Who means to move it looks again.
    #[error("the delivery of mission {mission} was moved on meanwhile")]
    CursorMoved {
        /// Whose.
        mission: MissionNo,
    },
    /// The schedule is not any more as whoever changes it saw it: nothing of this change, and nothing of the append that bears it, was
    /// taken, and nobody else is told. Who means to change it looks again.
    #[error("the schedule {id} was changed meanwhile")]
    ScheduleMoved {
        /// Which.
        id: String,
    },
    /// Another has a newer lease of the mission: nothing of this append was taken, and nothing will be of any under this lease.
    #[error("the lease {held} of mission {mission} is no longer the newest: another has {newest}")]
    Fenced {
        /// Whose.
        mission: MissionNo,
        /// The token that the append bears.
        held: u64,
        /// The newest that was given.
        newest: u64,
    },
}

impl WriteError {
    pub(crate) fn poisoned(why: &str) -> Self {
        Self::Poisoned { why: why.into() }
    }
}

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A frame is not what was written.
    #[error("records {first} and following of mission {mission} cannot be read")]
    Frame {
        /// Whose.
        mission: MissionNo,
        /// The number of the first.
        first: u32,
        /// Why.
        #[source]
        source: FrameError,
    },
    /// Records are missing.
    #[error("records {expected} and following of mission {mission} are missing")]
    Gap {
        /// Whose.
        mission: MissionNo,
        /// The number of the first that is missing.
        expected: u32,
    },
    /// A head, a cursor or a row of the feed is not what was written.
    #[error("{table} {key} cannot be read")]
    Row {
        /// Which table.
        table: &'static str,
        /// Its key.
        key: u64,
        /// Why.
        #[source]
        source: SealError,
    },
    /// What is kept of a schedule is not what was written.
    #[error("{what} of the schedule {id} cannot be read")]
    Schedule {
        /// Which.
        id: String,
        /// What of it.
        what: &'static str,
        /// Why.
        #[source]
        source: SealError,
    },
    /// The file cannot be read.
    #[error("the journal cannot be read: {why}")]
    Storage {
        /// What redb said.
        why: String,
    },
}

/// What redb says, with the causes that an operator can do something about at once named first.
pub(crate) fn storage_message(error: &redb::Error) -> String {
    match error {
        redb::Error::Io(io) if matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            format!("the disk is full ({io}); make room")
        }
        redb::Error::Io(io) if io.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            format!("the disk is read-only ({io}); look at its health, and mount it writable")
        }
        error => error.to_string(),
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the storage engine gave up: {}", text.unwrap_or("it did not say why"))
}
