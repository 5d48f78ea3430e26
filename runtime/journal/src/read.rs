//! Reading: each call sees one state of the journal (redb's snapshots), and never waits for the writer.
//!
//! All of these read the disk: call them where blocking is allowed. They see what was committed; what is still in the
//! queue is behind a [`Journal::barrier`].

use std::ops::{Bound, ControlFlow};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::{AccessGuard, ReadTransaction, ReadableDatabase, ReadableTable};
use sortie_contract::{MissionNo, Stamped};

use crate::Journal;
use crate::cursor::Cursor;
use crate::error::{ReadError, panic_message};
use crate::feed::{self, FeedEntry};
use crate::frame;
use crate::head::Head;
use crate::snapshot::{self, Draft, SnapshotError};
use crate::table::{CURSORS, FEED, FRAMES, HEADS, META, Meta, RECORD_LAST};

impl Journal {
    /// Copies the journal, as it is at this moment, to a file at `to` that is not there yet; what is written meanwhile is not held up
    /// and not in the copy. Everything that was acknowledged before is. The copy opens as a journal.
    ///
    /// # Errors
    /// [`SnapshotError`]; nothing is left at `to` then.
    pub fn copy_to(&self, to: &Path) -> Result<(), SnapshotError> {
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
            let table = snapshot.open_table(FRAMES).map_err(storage)?;
            // The frame that holds `first` may begin before it.
            let begin = table.range((mission.0, 0)..=(mission.0, first)).map_err(storage)?.next_back();
            let begin = begin.transpose().map_err(storage)?.map_or(first, |(key, _)| key.value().1);
            let mut records = Vec::new();
            let (mut expected, mut left) = (begin, bytes);
            for row in table.range((mission.0, begin)..=(mission.0, RECORD_LAST)).map_err(storage)? {
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
            Ok(records)
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

    /// Shows the heads before `before`, or all, to `visit`, newest first, until it breaks off.
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
                if visit(MissionNo(key.value()), head(key.value(), value.value())?).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// At most `limit` heads, oldest first: those after `after`, or from the oldest on.
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
            for row in table.range((begin, Bound::Unbounded)).map_err(storage)?.take(limit) {
                let (key, value) = row.map_err(storage)?;
                heads.push((MissionNo(key.value()), head(key.value(), value.value())?));
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
                Ok((MissionNo(key.value()), cursor(key.value(), value.value())?))
            };
            rows.take(limit).map(cursor_of).collect()
        })
    }

    /// The missions that have something left to deliver, oldest first.
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
                let cursor = cursor(key.value(), value.value())?;
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
    Cursor::decode(mission, bytes).map_err(|source| ReadError::Row { table: "cursor", key: mission, source })
}

fn storage(error: impl Into<redb::Error>) -> ReadError {
    ReadError::Storage { why: crate::error::storage_message(&error.into()) }
}
