//! A copy of the whole log in a file of its own, while the log is written on: what a backup is made of.
//!
//! Owned here: the draft, which is a journal under another name until it is whole. Never here: where the rows come from; each log
//! reads its own, of one moment.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, ReadTransaction, ReadableTable, TableError};
use sortie_contract::MissionNo;

use crate::error::{ReadError, storage_message};
use crate::frame::FrameKey;
use crate::head::Head;
use crate::open;
use crate::table::{
    ACTIONS, BALANCES, CLOCKS, CURSORS, FEED, FIRES, FRAMES, HEADS, META, Meta, PINS, POSITIONS, QUARANTINE, SCHEDULES,
};

/// Rows that are written with one commit: they are in memory until then.
const BYTES_A_COMMIT: usize = 8 << 20;

/// Memory for the copy's pages, which nobody reads again.
const CACHE_BYTES: usize = 8 << 20;

/// Why a log was not copied. What was written of the copy is removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Something is there already, and nothing is ever written over.
    #[error("{} is there already; name a file that is not", path.display())]
    Exists {
        /// What.
        path: PathBuf,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The copy cannot be written.
    #[error("the copy cannot be written: {why}")]
    Write {
        /// What redb said.
        why: String,
    },
    /// The operating system refused.
    #[error("{} cannot be made; check that its folder exists, that sortie may write there, and that there is room", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

impl From<redb::Error> for SnapshotError {
    fn from(error: redb::Error) -> Self {
        Self::Write { why: storage_message(&error) }
    }
}

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Of the file: see docs/JOURNAL.md.
    pub format: u64,
    /// How many commits there had been.
    pub commits: u64,
    /// The position of the newest frame; 0 where there is none.
    pub position: u64,
    /// The greatest number that a mission ever had.
    pub last_no: MissionNo,
    /// How many missions are in it.
    pub missions: u64,
    /// Those of them that had not ended.
    pub unfinished: u64,
}

/// A row of a journal.
#[derive(Debug)]
pub(crate) enum Row {
    Frame(FrameKey, Vec<u8>),
    Head(u64, Vec<u8>),
    Feed(u64, Vec<u8>),
    Cursor(u64, Vec<u8>),
    Quarantine(u64, Vec<u8>),
    Clocks(u64, Vec<u8>),
    Action(u64, Vec<u8>),
    Pin(u64, Vec<u8>),
    Schedule(String, Vec<u8>),
    Position(String, Vec<u8>),
    Fire(String, u64, Vec<u8>),
    Balance(String, Vec<u8>),
}

impl Row {
    fn bytes(&self) -> usize {
        let (Self::Frame(_, bytes)
        | Self::Head(_, bytes)
        | Self::Feed(_, bytes)
        | Self::Cursor(_, bytes)
        | Self::Quarantine(_, bytes)
        | Self::Clocks(_, bytes)
        | Self::Action(_, bytes)
        | Self::Pin(_, bytes)
        | Self::Schedule(_, bytes)
        | Self::Position(_, bytes)
        | Self::Fire(_, _, bytes)
        | Self::Balance(_, bytes)) = self;
        size_of::<Self>() + bytes.len()
    }
}

/// A journal that is being written.
pub(crate) struct Draft {
    db: Option<Database>,
    /// Where it is until it is whole.
    path: PathBuf,
    /// Where it goes.
    to: PathBuf,
    rows: Vec<Row>,
    bytes: usize,
    missions: u64,
    unfinished: u64,
}

impl Draft {
    /// Of a journal that is to be at `to`.
    pub(crate) fn create(to: &Path) -> Result<Self, SnapshotError> {
        if fs::exists(to).map_err(|source| SnapshotError::Io { path: to.to_owned(), source })? {
            return Err(SnapshotError::Exists { path: to.to_owned() });
        }
        let mut path = to.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        File::create(&path).map_err(|source| SnapshotError::Io { path: path.clone(), source })?;
        let mut draft =
            Self { db: None, path, to: to.to_owned(), rows: Vec::new(), bytes: 0, missions: 0, unfinished: 0 };
        open::restrict(&draft.path);
        let db = Database::builder().set_cache_size(CACHE_BYTES).create(&draft.path).map_err(redb::Error::from)?;
        open::initialise(&db)?;
        draft.db = Some(db);
        Ok(draft)
    }

    pub(crate) fn push(&mut self, row: Row) -> Result<(), SnapshotError> {
        self.bytes += row.bytes();
        if let Row::Head(no, bytes) = &row {
            self.missions += 1;
            // One that cannot be read is copied as it is, and its mission is told of when the copy is opened.
            self.unfinished += u64::from(Head::decode(*no, bytes).is_ok_and(|head| !head.status.is_final()));
        }
        self.rows.push(row);
        if self.bytes >= BYTES_A_COMMIT { self.write(None) } else { Ok(()) }
    }

    /// The copy is whole, and has these numbers. When this returns it is on disk, under its name.
    pub(crate) fn finish(mut self, meta: Meta) -> Result<Copied, SnapshotError> {
        self.write(Some(meta))?;
        // Closed before it is moved.
        self.db = None;
        let io = |source| SnapshotError::Io { path: self.to.clone(), source };
        File::open(&self.path).and_then(|file| file.sync_all()).map_err(io)?;
        fs::rename(&self.path, &self.to).map_err(io)?;
        let folder = self.to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
        let Meta { format, commits, position, last_no, .. } = meta;
        let (missions, unfinished) = (self.missions, self.unfinished);
        Ok(Copied { format, commits, position, last_no: MissionNo(last_no), missions, unfinished })
    }

    fn write(&mut self, meta: Option<Meta>) -> Result<(), SnapshotError> {
        let Some(db) = &self.db else { return Ok(()) };
        let write = |rows: &[Row]| -> Result<(), redb::Error> {
            let transaction = db.begin_write()?;
            {
                let mut frames = transaction.open_table(FRAMES)?;
                let mut heads = transaction.open_table(HEADS)?;
                let mut feed = transaction.open_table(FEED)?;
                let mut cursors = transaction.open_table(CURSORS)?;
                let mut quarantine = transaction.open_table(QUARANTINE)?;
                let mut clocks = transaction.open_table(CLOCKS)?;
                let mut actions = transaction.open_table(ACTIONS)?;
                let mut pins = transaction.open_table(PINS)?;
                let mut schedules = transaction.open_table(SCHEDULES)?;
                let mut positions = transaction.open_table(POSITIONS)?;
                let mut fires = transaction.open_table(FIRES)?;
                let mut balances = transaction.open_table(BALANCES)?;
                for row in rows {
                    match row {
                        Row::Frame(key, bytes) => drop(frames.insert(*key, bytes.as_slice())?),
                        Row::Head(key, bytes) => drop(heads.insert(*key, bytes.as_slice())?),
                        Row::Feed(key, bytes) => drop(feed.insert(*key, bytes.as_slice())?),
                        Row::Cursor(key, bytes) => drop(cursors.insert(*key, bytes.as_slice())?),
                        Row::Quarantine(key, bytes) => drop(quarantine.insert(*key, bytes.as_slice())?),
                        Row::Pin(key, bytes) => drop(pins.insert(*key, bytes.as_slice())?),
                        Row::Clocks(key, bytes) => drop(clocks.insert(*key, bytes.as_slice())?),
                        Row::Action(key, bytes) => drop(actions.insert(*key, bytes.as_slice())?),
                        Row::Schedule(id, bytes) => drop(schedules.insert(id.as_str(), bytes.as_slice())?),
                        Row::Position(id, bytes) => drop(positions.insert(id.as_str(), bytes.as_slice())?),
                        Row::Balance(key, bytes) => drop(balances.insert(key.as_str(), bytes.as_slice())?),
                        Row::Fire(id, no, bytes) => drop(fires.insert((id.as_str(), *no), bytes.as_slice())?),
                    }
                }
                if let Some(meta) = meta {
                    meta.write(&mut transaction.open_table(META)?)?;
                }
            }
            transaction.commit()?;
            Ok(())
        };
        write(&self.rows)?;
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }
}

impl Drop for Draft {
    /// What is not whole is not left. Nothing is there any more where it was moved into place.
    fn drop(&mut self) {
        self.db = None;
        let _ = fs::remove_file(&self.path);
    }
}

/// Copies what `read` sees.
pub(crate) fn copy(read: &ReadTransaction, mut draft: Draft) -> Result<Copied, SnapshotError> {
    for row in read.open_table(FRAMES).map_err(unreadable)?.iter().map_err(unreadable)? {
        let (key, value) = row.map_err(unreadable)?;
        draft.push(Row::Frame(key.value(), value.value().to_vec()))?;
    }
    for (table, row) in [
        (HEADS, Row::Head as fn(u64, Vec<u8>) -> Row),
        (FEED, Row::Feed),
        (CURSORS, Row::Cursor),
        (QUARANTINE, Row::Quarantine),
        (CLOCKS, Row::Clocks),
        (ACTIONS, Row::Action),
        (PINS, Row::Pin),
    ] {
        let Some(table) = there(read.open_table(table))? else { continue };
        for found in table.iter().map_err(unreadable)? {
            let (key, value) = found.map_err(unreadable)?;
            draft.push(row(key.value(), value.value().to_vec()))?;
        }
    }
    for (table, row) in
        [(SCHEDULES, Row::Schedule as fn(String, Vec<u8>) -> Row), (POSITIONS, Row::Position), (BALANCES, Row::Balance)]
    {
        let Some(table) = there(read.open_table(table))? else { continue };
        for found in table.iter().map_err(unreadable)? {
            let (id, value) = found.map_err(unreadable)?;
            draft.push(row(id.value().to_owned(), value.value().to_vec()))?;
        }
    }
    if let Some(fires) = there(read.open_table(FIRES))? {
        for found in fires.iter().map_err(unreadable)? {
            let (key, value) = found.map_err(unreadable)?;
            let (id, no) = key.value();
            draft.push(Row::Fire(id.to_owned(), no, value.value().to_vec()))?;
        }
    }
    let meta = Meta::read(&read.open_table(META).map_err(unreadable)?).map_err(unreadable)?;
    draft.finish(meta.expect("a journal was opened because it has them"))
}

/// A table, where there is one: an older Sortie made the file without it.
fn there<T>(table: Result<T, TableError>) -> Result<Option<T>, ReadError> {
    match table {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        table => table.map(Some).map_err(unreadable),
    }
}

fn unreadable(error: impl Into<redb::Error>) -> ReadError {
    ReadError::Storage { why: storage_message(&error.into()) }
}
