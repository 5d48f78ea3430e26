//! Reading: each call sees one state of the journal (redb's snapshots), and never waits for the writer.
//!
//! All of these read the disk: call them where blocking is allowed. They see what was committed; what is still in the
//! queue is behind a [`Journal::barrier`].

use std::ops::{Bound, ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use jiff::civil::Date;
use redb::{AccessGuard, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use sortie_contract::cursor::Cursor;
use sortie_contract::{MissionNo, Stamped};

use crate::Journal;
use crate::actions;
use crate::balance::{self, Account, Balance};
use crate::clocks;
use crate::cursor;
use crate::error::{ReadError, panic_message};
use crate::feed::{self, FeedEntry};
use crate::frame;
use crate::head::Head;
use crate::pin::Pinned;
use crate::quarantine::{Quarantine, Remains};
use crate::schedule::{self, Kept, Mark};
use crate::seal::SealError;
use crate::snapshot::{self, Copied, Draft, SnapshotError};
use crate::table::{
    ACTIONS, BALANCES, CLOCKS, CURSORS, FEED, FIRES, FRAMES, HEADS, META, Meta, PINS, POSITIONS, QUARANTINE,
    RECORD_LAST, SCHEDULES,
};

impl Journal {
    /// Copies the journal, as it is at this moment, to a file at `to` that is not there yet; what is written meanwhile is not held up
    /// and not in the copy. Everything that was acknowledged before is. The copy opens as a journal.
    ///
    /// # Errors
    /// [`SnapshotError`]; nothing is left at `to` then.
    pub fn copy_to(&self, to: &Path) -> Result<Copied, SnapshotError> {
        let draft = Draft::create(to)?;
        self.snapshot(|read| Ok(snapshot::copy(read, draft)))?
    }

    /// All records of `mission`, in order; empty for a mission that is not there, or not any more.
    ///
    /// # Errors
    /// [`ReadError`] where the journal is not what was written. Nothing is skipped.
    pub fn read(&self, mission: MissionNo) -> Result<Vec<Stamped>, ReadError> {
        self.read_from(mission, 0)
    }

    /// The records of `mission` from number `first` on, in order.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn read_from(&self, mission: MissionNo, first: u32) -> Result<Vec<Stamped>, ReadError> {
        self.read_some(mission, first, usize::MAX)
    }

    /// Some records of `mission` from number `first` on, in order: those of one frame at least, if there are any, and of as
    /// many more as fit into `bytes`. Whoever reads a mission in such pieces never holds all of it.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn read_some(&self, mission: MissionNo, first: u32, bytes: usize) -> Result<Vec<Stamped>, ReadError> {
        self.snapshot(|snapshot| {
            let Some(quarantine) = quarantine_of(snapshot, mission)? else {
                return frames(snapshot, mission, first..RECORD_LAST, bytes);
            };
            let mut records = frames(snapshot, mission, first..quarantine.readable, bytes)?;
            let read = u32::try_from(records.len()).expect("records are counted with a u32");
            if first.saturating_add(read) >= quarantine.readable {
                records.extend(quarantine.behind(first));
            }
            Ok(records)
        })
    }

    /// What can be read of `mission`, as it was written, whether it is in quarantine or not.
    ///
    /// # Errors
    /// [`ReadError::Storage`] where the file cannot be read: that is not this mission's trouble alone.
    pub fn remains(&self, mission: MissionNo) -> Result<Remains, ReadError> {
        self.snapshot(|snapshot| {
            let table = snapshot.open_table(FRAMES).map_err(storage)?;
            let mut remains = Remains { records: Vec::new(), why: None, until: 0, last: None };
            for row in table.range((mission.0, 0)..=(mission.0, RECORD_LAST)).map_err(storage)? {
                let (key, value) = row.map_err(storage)?;
                remains.add(mission, key.value().1, value.value());
            }
            Ok(remains)
        })
    }

    /// Why `mission` is in quarantine, where it is.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn quarantine(&self, mission: MissionNo) -> Result<Option<Quarantine>, ReadError> {
        self.snapshot(|snapshot| quarantine_of(snapshot, mission))
    }

    /// The missions in quarantine, oldest first.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn quarantined(&self) -> Result<Vec<MissionNo>, ReadError> {
        self.snapshot(|snapshot| {
            let Some(table) = open(snapshot, QUARANTINE)? else { return Ok(Vec::new()) };
            let rows = table.iter().map_err(storage)?;
            rows.map(|row| row.map(|(key, _)| MissionNo(key.value())).map_err(storage)).collect()
        })
    }

    /// How long missions had been running when that was last kept. None, where it cannot be read.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub(crate) fn clocks(&self) -> Result<Vec<(MissionNo, u64)>, ReadError> {
        self.snapshot(|snapshot| {
            let Some(table) = open(snapshot, CLOCKS)? else { return Ok(Vec::new()) };
            let Some(row) = table.get(clocks::KEY).map_err(storage)? else { return Ok(Vec::new()) };
            let source = |source| ReadError::Row { table: "clocks", key: clocks::KEY, source };
            Ok(there(clocks::decode(row.value()).map_err(source))?.unwrap_or_default())
        })
    }

    /// At most `limit` actions before number `before`, the newest first. One that cannot be read is passed over, and told in the log.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub(crate) fn actions(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, String)>, ReadError> {
        self.snapshot(|snapshot| {
            let Some(table) = open(snapshot, ACTIONS)? else { return Ok(Vec::new()) };
            let mut actions = Vec::new();
            for row in table.range(..before.unwrap_or(u64::MAX)).map_err(storage)?.rev() {
                if actions.len() >= limit {
                    break;
                }
                let (key, value) = row.map_err(storage)?;
                let key = key.value();
                let source = |source| ReadError::Row { table: "actions", key, source };
                actions.extend(there(actions::unsealed(key, value.value()).map_err(source))?.map(|text| (key, text)));
            }
            Ok(actions)
        })
    }

    /// The missions that are kept, and who said so. A pin that cannot be read is one all the same: nothing is removed for want of it.
    pub(crate) fn pins(&self) -> Result<Vec<(MissionNo, Pinned)>, ReadError> {
        self.snapshot(|snapshot| {
            let Some(table) = open(snapshot, PINS)? else { return Ok(Vec::new()) };
            let mut pins = Vec::new();
            for row in table.iter().map_err(storage)? {
                let (key, row) = row.map_err(storage)?;
                let pin = Pinned::read(key.value(), row.value());
                pins.push((MissionNo(key.value()), pin));
            }
            Ok(pins)
        })
    }

    /// At most `limit` schedules after `after`, by name. One that cannot be read is passed over, and told in the log.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn schedules_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Kept)>, ReadError> {
        self.snapshot(|snapshot| {
            let (Some(schedules), Some(positions)) = (open(snapshot, SCHEDULES)?, open(snapshot, POSITIONS)?) else {
                return Ok(Vec::new());
            };
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let mut found = Vec::new();
            for row in schedules.range::<&str>((from, Bound::Unbounded)).map_err(storage)? {
                if found.len() >= limit {
                    break;
                }
                let (id, definition) = row.map_err(storage)?;
                let id = id.value();
                let position = positions.get(id).map_err(storage)?;
                found.extend(
                    there(kept(id, definition.value(), position.as_ref().map(AccessGuard::value)))?
                        .map(|kept| (id.to_owned(), kept)),
                );
            }
            Ok(found)
        })
    }

    /// The schedule of that name.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn schedule(&self, id: &str) -> Result<Option<Kept>, ReadError> {
        self.snapshot(|snapshot| {
            let (Some(schedules), Some(positions)) = (open(snapshot, SCHEDULES)?, open(snapshot, POSITIONS)?) else {
                return Ok(None);
            };
            let Some(definition) = schedules.get(id).map_err(storage)? else { return Ok(None) };
            let position = positions.get(id).map_err(storage)?;
            kept(id, definition.value(), position.as_ref().map(AccessGuard::value)).map(Some)
        })
    }

    /// At most `limit` fires of a schedule before number `before`, the newest first, with their numbers.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn fires(&self, id: &str, before: Option<u64>, limit: usize) -> Result<Vec<(u64, String)>, ReadError> {
        self.snapshot(|snapshot| {
            let Some(fires) = open(snapshot, FIRES)? else { return Ok(Vec::new()) };
            let end = before.map_or(Bound::Included((id, u64::MAX)), |before| Bound::Excluded((id, before)));
            let mut found = Vec::new();
            for row in fires.range::<(&str, u64)>((Bound::Included((id, 0)), end)).map_err(storage)?.rev() {
                if found.len() >= limit {
                    break;
                }
                let (key, value) = row.map_err(storage)?;
                let no = key.value().1;
                let what = "a fire";
                let fire = schedule::unsealed(id, Some(no), value.value());
                found.extend(
                    there(fire.map_err(|source| ReadError::Schedule { id: id.to_owned(), what, source }))?
                        .map(|fire| (no, fire)),
                );
            }
            Ok(found)
        })
    }

    /// The balances of a day and of all later ones. One that cannot be read counts from nothing, and is told in the log.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn balances(&self, from: Date) -> Result<Vec<(Account, Balance)>, ReadError> {
        self.snapshot(|snapshot| {
            let Some(balances) = open(snapshot, BALANCES)? else { return Ok(Vec::new()) };
            let mut found = Vec::new();
            for row in balances.range::<&str>(balance::first_key(from).as_str()..).map_err(storage)? {
                let (key, value) = row.map_err(storage)?;
                found.extend(balance::row(key.value(), value.value()));
            }
            Ok(found)
        })
    }

    /// The head of `mission`.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn head(&self, mission: MissionNo) -> Result<Option<Head>, ReadError> {
        self.snapshot(|snapshot| {
            let table = snapshot.open_table(HEADS).map_err(storage)?;
            table.get(mission.0).map_err(storage)?.map(|value| head(mission.0, value.value())).transpose()
        })
    }

    /// At most `limit` heads, newest first: those before `before`, or from the newest on. The cursor of a list is the
    /// number of the last mission that it showed.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn heads_newest_first(
        &self,
        before: Option<MissionNo>,
        limit: usize,
    ) -> Result<Vec<(MissionNo, Head)>, ReadError> {
        let mut heads = Vec::new();
        if limit > 0 {
            self.scan_newest_first(before, |no, head| {
                heads.push((no, head));
                if heads.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
        }
        Ok(heads)
    }

    /// Shows the heads before `before`, or all, to `visit`, newest first, until it breaks off. One that cannot be read keeps nobody from
    /// the others: it is passed over, and told in the log.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn scan_newest_first(
        &self,
        before: Option<MissionNo>,
        mut visit: impl FnMut(MissionNo, Head) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.snapshot(|snapshot| {
            let table = snapshot.open_table(HEADS).map_err(storage)?;
            for row in table.range(..before.map_or(u64::MAX, |no| no.0)).map_err(storage)?.rev() {
                let (key, value) = row.map_err(storage)?;
                let Some(head) = there(head(key.value(), value.value()))? else { continue };
                if visit(MissionNo(key.value()), head).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// At most `limit` heads, oldest first: those after `after`, or from the oldest on. One that cannot be read is passed over.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn heads_oldest_first(
        &self,
        after: Option<MissionNo>,
        limit: usize,
    ) -> Result<Vec<(MissionNo, Head)>, ReadError> {
        self.snapshot(|snapshot| {
            let table = snapshot.open_table(HEADS).map_err(storage)?;
            let begin = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.0));
            let mut heads = Vec::new();
            for row in table.range((begin, Bound::Unbounded)).map_err(storage)? {
                if heads.len() >= limit {
                    break;
                }
                let (key, value) = row.map_err(storage)?;
                heads.extend(there(head(key.value(), value.value()))?.map(|head| (MissionNo(key.value()), head)));
            }
            Ok(heads)
        })
    }

    /// Shows every head to `visit`, oldest first: for building indexes when the node starts.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn scan_oldest_first(&self, mut visit: impl FnMut(MissionNo, Head)) -> Result<(), ReadError> {
        self.snapshot(|snapshot| {
            for row in snapshot.open_table(HEADS).map_err(storage)?.iter().map_err(storage)? {
                let (key, value) = row.map_err(storage)?;
                visit(MissionNo(key.value()), head(key.value(), value.value())?);
            }
            Ok(())
        })
    }

    /// The same, and `None` for each that cannot be read: for whoever must start all the same.
    ///
    /// # Errors
    /// As [`Journal::read`], of the file alone.
    pub fn scan_all(&self, mut visit: impl FnMut(MissionNo, Option<Head>)) -> Result<(), ReadError> {
        self.snapshot(|snapshot| {
            for row in snapshot.open_table(HEADS).map_err(storage)?.iter().map_err(storage)? {
                let (key, value) = row.map_err(storage)?;
                visit(MissionNo(key.value()), there(head(key.value(), value.value()))?);
            }
            Ok(())
        })
    }

    /// At most `limit` entries of the feed after `position` (0: from the beginning), in order and without gaps, except
    /// that the first may be later than `position + 1`: what is before [`Journal::feed_begin`] was pruned.
    ///
    /// An entry says that records were written, not that they are still there: where its mission was removed since,
    /// [`Journal::read`] gives none and [`Journal::head`] gives `None`. Whoever follows the feed passes over such an entry
    /// and goes on after its position.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn feed_after(&self, position: u64, limit: usize) -> Result<Vec<FeedEntry>, ReadError> {
        self.snapshot(|snapshot| {
            let table = snapshot.open_table(FEED).map_err(storage)?;
            let next = position.saturating_add(1);
            // The row that holds `next` may begin before it.
            let begin = table.range(..=next).map_err(storage)?.next_back();
            let begin = begin.transpose().map_err(storage)?.map_or(next, |(key, _)| key.value());
            let mut entries = Vec::new();
            for row in table.range(begin..).map_err(storage)? {
                let (key, value) = row.map_err(storage)?;
                let row = feed::decode(key.value(), value.value()).map_err(|source| ReadError::Row {
                    table: "feed",
                    key: key.value(),
                    source,
                })?;
                entries.extend(row.into_iter().filter(|entry| entry.position > position));
                if entries.len() >= limit {
                    entries.truncate(limit);
                    break;
                }
            }
            Ok(entries)
        })
    }

    /// The position at which the feed begins: 1, or where it was pruned. One beyond the newest frame for a feed without
    /// entries. Whoever has followed it up to before this has missed something.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn feed_begin(&self) -> Result<u64, ReadError> {
        self.snapshot(|snapshot| {
            let table = snapshot.open_table(FEED).map_err(storage)?;
            if let Some((key, _)) = table.first().map_err(storage)? {
                return Ok(key.value());
            }
            let meta = Meta::read(&snapshot.open_table(META).map_err(storage)?).map_err(storage)?;
            Ok(meta.expect("a journal was opened because it has them").position + 1)
        })
    }

    /// How far the delivery of `mission` has come; `None` where nothing is left to deliver and nothing was skipped.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn cursor(&self, mission: MissionNo) -> Result<Option<Cursor>, ReadError> {
        self.snapshot(|snapshot| {
            let table = snapshot.open_table(CURSORS).map_err(storage)?;
            table.get(mission.0).map_err(storage)?.map(|value| cursor(mission.0, value.value())).transpose()
        })
    }

    /// At most `limit` missions after `after` that have something left to deliver or of which something was skipped, oldest first.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn cursors_after(&self, after: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.snapshot(|snapshot| {
            let table = snapshot.open_table(CURSORS).map_err(storage)?;
            let rows = table.range(after.map_or(0, |no| no.0.saturating_add(1))..).map_err(storage)?;
            let cursor_of = |row: Result<(AccessGuard<'_, u64>, AccessGuard<'_, &[u8]>), _>| {
                let (key, value) = row.map_err(storage)?;
                Ok((MissionNo(key.value()), there(cursor(key.value(), value.value()))?.unwrap_or_default()))
            };
            rows.take(limit).map(cursor_of).collect()
        })
    }

    /// The missions that have something left to deliver, oldest first. One whose cursor cannot be read is among them, from its first
    /// item on: what is delivered again is known by its keys.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn undelivered(&self) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.cursors(|cursor| !cursor.closed)
    }

    /// The missions that have nothing left to deliver, and of which something was skipped; oldest first.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn incomplete(&self) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.cursors(|cursor| cursor.closed)
    }

    fn cursors(&self, wanted: impl Fn(&Cursor) -> bool) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.snapshot(|snapshot| {
            let mut missions = Vec::new();
            for row in snapshot.open_table(CURSORS).map_err(storage)?.iter().map_err(storage)? {
                let (key, value) = row.map_err(storage)?;
                let cursor = there(cursor(key.value(), value.value()))?.unwrap_or_default();
                if wanted(&cursor) {
                    missions.push((MissionNo(key.value()), cursor));
                }
            }
            Ok(missions)
        })
    }

    /// The number of the newest mission that is there; 0 where there is none.
    pub(crate) fn last_no(&self) -> Result<MissionNo, ReadError> {
        self.snapshot(|snapshot| {
            let heads = snapshot.open_table(HEADS).map_err(storage)?;
            let frames = snapshot.open_table(FRAMES).map_err(storage)?;
            let head = heads.last().map_err(storage)?.map_or(0, |(key, _)| key.value());
            let frame = frames.last().map_err(storage)?.map_or(0, |(key, _)| key.value().0);
            Ok(MissionNo(head.max(frame)))
        })
    }

    fn snapshot<T>(&self, read: impl FnOnce(&ReadTransaction) -> Result<T, ReadError>) -> Result<T, ReadError> {
        // A page that went bad since the file was checked may make redb panic; that is no reason to lose the node.
        catch_unwind(AssertUnwindSafe(|| read(&self.database().begin_read().map_err(storage)?)))
            .unwrap_or_else(|panic| Err(ReadError::Storage { why: panic_message(panic.as_ref()) }))
    }
}

fn head(mission: u64, bytes: &[u8]) -> Result<Head, ReadError> {
    Head::decode(mission, bytes).map_err(|source| ReadError::Row { table: "head", key: mission, source })
}

fn cursor(mission: u64, bytes: &[u8]) -> Result<Cursor, ReadError> {
    cursor::decode(mission, bytes).map_err(|source| ReadError::Row { table: "cursor", key: mission, source })
}

/// A schedule, of its two rows.
pub(crate) fn kept(id: &str, definition: &[u8], position: Option<&[u8]>) -> Result<Kept, ReadError> {
    let unread = |what| move |source| ReadError::Schedule { id: id.to_owned(), what, source };
    let definition = schedule::unsealed(id, None, definition).map_err(unread("the definition"))?;
    // Both are written with the first change.
    let position = position.ok_or(SealError::Short).and_then(|position| schedule::decode_position(id, position));
    let (Mark { version, last_fire }, position) = position.map_err(unread("the position"))?;
    Ok(Kept { version, definition, position, last_fire })
}

/// A table, where there is one: an older Sortie made the file without it.
fn open<K: redb::Key + 'static, V: redb::Value + 'static>(
    snapshot: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<Option<ReadOnlyTable<K, V>>, ReadError> {
    match snapshot.open_table(table) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        table => table.map(Some).map_err(storage),
    }
}

/// What is there; nothing, where just this row cannot be read. That is told in the log.
pub(crate) fn there<T>(row: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
    match row {
        Err(error @ (ReadError::Row { .. } | ReadError::Schedule { .. })) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a row of the journal is damaged");
            Ok(None)
        }
        row => row.map(Some),
    }
}

/// Records of `mission` with these numbers, in order: those of one frame at least, if there are any, and of as many more as fit into
/// `bytes`.
fn frames(
    snapshot: &ReadTransaction,
    mission: MissionNo,
    numbers: Range<u32>,
    bytes: usize,
) -> Result<Vec<Stamped>, ReadError> {
    let Range { start: first, end } = numbers;
    let mut records = Vec::new();
    if first >= end {
        return Ok(records);
    }
    let table = snapshot.open_table(FRAMES).map_err(storage)?;
    // The frame that holds `first` may begin before it.
    let begin = table.range((mission.0, 0)..=(mission.0, first)).map_err(storage)?.next_back();
    let begin = begin.transpose().map_err(storage)?.map_or(first, |(key, _)| key.value().1);
    let (mut expected, mut left) = (begin, bytes);
    for row in table.range((mission.0, begin)..(mission.0, end)).map_err(storage)? {
        let (key, value) = row.map_err(storage)?;
        if key.value().1 != expected {
            return Err(ReadError::Gap { mission, expected });
        }
        if expected > first && value.value().len() > left {
            break;
        }
        left = left.saturating_sub(value.value().len());
        let before = records.len();
        frame::decode(key.value(), value.value(), &mut records).map_err(|source| ReadError::Frame {
            mission,
            first: expected,
            source,
        })?;
        expected += u32::try_from(records.len() - before).expect("a frame counts its records with a u32");
    }
    if first > begin {
        records.drain(..records.len().min((first - begin) as usize));
    }
    records.truncate((end - first) as usize);
    Ok(records)
}

fn quarantine_of(snapshot: &ReadTransaction, mission: MissionNo) -> Result<Option<Quarantine>, ReadError> {
    let Some(table) = open(snapshot, QUARANTINE)? else { return Ok(None) };
    let Some(row) = table.get(mission.0).map_err(storage)? else { return Ok(None) };
    // Without it the mission cannot be read, and is put there again.
    let source = |source| ReadError::Row { table: "quarantine", key: mission.0, source };
    there(Quarantine::decode(mission.0, row.value()).map_err(source))
}

fn storage(error: impl Into<redb::Error>) -> ReadError {
    ReadError::Storage { why: crate::error::storage_message(&error.into()) }
}
