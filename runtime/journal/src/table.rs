//! The tables, as redb knows them, and the format of the whole.

use redb::{ReadableTable, Table, TableDefinition};

use crate::frame::FrameKey;

/// The format of the whole journal. It goes up when an older Sortie could not read what a newer one writes.
pub(crate) const FORMAT: u64 = 1;

/// (mission, number of its first record) → the frame.
pub(crate) const FRAMES: TableDefinition<'_, FrameKey, &[u8]> = TableDefinition::new("frames");
/// Mission → its head.
pub(crate) const HEADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("heads");
/// Position of the first frame of a row → the row.
pub(crate) const FEED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("feed");
/// Mission → its delivery cursor. Missions with nothing left to deliver have none.
pub(crate) const CURSORS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("cursors");
/// Name → number; the names are those of [`Meta`].
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const FORMAT_KEY: &str = "format";
const COMMITS_KEY: &str = "commits";
const POSITION_KEY: &str = "position";

/// The journal's own numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    /// See [`FORMAT`].
    pub(crate) format: u64,
    /// How many commits there were: each adds one.
    pub(crate) commits: u64,
    /// The position of the newest frame; 0 before the first.
    pub(crate) position: u64,
}

impl Meta {
    /// Of a journal that has just been made.
    pub(crate) const NEW: Self = Self { format: FORMAT, commits: 0, position: 0 };

    /// `None` where a number is missing: then it is no journal.
    pub(crate) fn read(table: &impl ReadableTable<&'static str, u64>) -> Result<Option<Self>, redb::StorageError> {
        let number = |key| table.get(key).map(|value| value.map(|value| value.value()));
        let (format, commits, position) = (number(FORMAT_KEY)?, number(COMMITS_KEY)?, number(POSITION_KEY)?);
        Ok(match (format, commits, position) {
            (Some(format), Some(commits), Some(position)) => Some(Self { format, commits, position }),
            _ => None,
        })
    }

    pub(crate) fn write(self, table: &mut Table<'_, &'static str, u64>) -> Result<(), redb::StorageError> {
        table.insert(FORMAT_KEY, self.format)?;
        table.insert(COMMITS_KEY, self.commits)?;
        table.insert(POSITION_KEY, self.position)?;
        Ok(())
    }
}
