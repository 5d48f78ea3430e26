//! The tables, as redb knows them, and the format of the whole.

use redb::{ReadableTable, Table, TableDefinition};

use crate::frame::FrameKey;

/// The format of the whole journal. It goes up when an older Sortie could not read what a newer one writes.
/// 1: the first. 2: heads and cursors of version 2, missions that are removed, a feed that does not begin at 1.
/// 3: records and cursors of version 3. 4: heads of version 3 and records of version 4. 5: cursors of version 4. 6: heads of
/// version 4, records of version 5, and missions in quarantine. 7: heads of version 5, and what is recorded of a run that
/// was alone, or whose node stopped in good order. 8: schedules. 9: records of version 6. 10: records of version 7. 11: records of
/// version 8, and balances. 12: records of version 9. 13: missions that begin with what another one recorded.
/// 14: records of version 10.
pub(crate) const FORMAT: u64 = 14;

/// The greatest number that a record can have: they are `u32`.
pub(crate) const RECORD_LAST: u32 = u32::MAX;

/// (mission, number of its first record) → the frame.
pub(crate) const FRAMES: TableDefinition<'_, FrameKey, &[u8]> = TableDefinition::new("frames");
/// Mission → its head.
pub(crate) const HEADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("heads");
/// Position of the first frame of a row → the row.
pub(crate) const FEED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("feed");
/// Mission → its delivery cursor. Missions with nothing left to deliver have none, or a closed one.
pub(crate) const CURSORS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("cursors");
/// Mission → why it cannot be read, and what is read instead. Made with the first that cannot.
pub(crate) const QUARANTINE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("quarantine");
/// Schedule → what it is. An older Sortie made none of this and the next two.
pub(crate) const SCHEDULES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("schedules");
/// Schedule → how far it has come.
pub(crate) const POSITIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("positions");
/// (schedule, number) → what became of a fire.
pub(crate) const FIRES: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("fires");
/// One row: how long missions had been running when it was last looked. An older Sortie neither made it nor misses it.
pub(crate) const CLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("clocks");
/// Day and whose calls → what is booked to them. An older Sortie made none.
pub(crate) const BALANCES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("balances");
/// Number → what somebody did. An older Sortie neither made it nor misses it.
pub(crate) const ACTIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("actions");

/// Mission → that it is kept, since when and by whom. An older Sortie neither made it nor heeds it.
pub(crate) const PINS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("pins");
/// Name → number; the names are those of [`Meta`].
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const FORMAT_KEY: &str = "format";
const COMMITS_KEY: &str = "commits";
const POSITION_KEY: &str = "position";
const LAST_NO_KEY: &str = "last_no";
const FREED_KEY: &str = "freed";

/// The journal's own numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    /// See [`FORMAT`].
    pub(crate) format: u64,
    /// How many commits there were: each adds one.
    pub(crate) commits: u64,
    /// The position of the newest frame; 0 before the first.
    pub(crate) position: u64,
    /// The greatest mission number that was written or removed since format 2: a number is never given twice, though the
    /// mission that had it be gone. 0 before.
    pub(crate) last_no: u64,
    /// Bytes of frames that removals have freed and no frame has taken since. An estimate, of no consequence but that
    /// opening looks closer at a file of which much may be free.
    pub(crate) freed: u64,
}

impl Meta {
    /// Of a journal that has just been made.
    pub(crate) const NEW: Self = Self { format: FORMAT, commits: 0, position: 0, last_no: 0, freed: 0 };

    /// `None` where a number is missing that every format has: then it is no journal.
    pub(crate) fn read(table: &impl ReadableTable<&'static str, u64>) -> Result<Option<Self>, redb::StorageError> {
        let number = |key| table.get(key).map(|value| value.map(|value| value.value()));
        let (Some(format), Some(commits), Some(position)) =
            (number(FORMAT_KEY)?, number(COMMITS_KEY)?, number(POSITION_KEY)?)
        else {
            return Ok(None);
        };
        let (last_no, freed) = (number(LAST_NO_KEY)?.unwrap_or(0), number(FREED_KEY)?.unwrap_or(0));
        Ok(Some(Self { format, commits, position, last_no, freed }))
    }

    pub(crate) fn write(self, table: &mut Table<'_, &'static str, u64>) -> Result<(), redb::StorageError> {
        table.insert(FORMAT_KEY, self.format)?;
        table.insert(COMMITS_KEY, self.commits)?;
        table.insert(POSITION_KEY, self.position)?;
        table.insert(LAST_NO_KEY, self.last_no)?;
        table.insert(FREED_KEY, self.freed)?;
        Ok(())
    }
}
