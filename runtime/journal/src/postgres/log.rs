//! The log in a database as the rest of a node sees it: see [`Log`].

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;

use jiff::civil::Date;
use sortie_contract::cursor::Cursor;
use sortie_contract::{MissionId, MissionNo, SessionId, Stamped, VpId};
use sortie_measure::Seconds;
use tokio::sync::watch;
use tokio_postgres::Row;

use super::PostgresLog;
use super::copy;
use super::hold;
use super::link::Param;
use super::read::{self, PAGE};
use super::script::int;
use crate::actions;
use crate::append::{Append, Change, HEAD_BYTES};
use crate::balance::{self, Account, Balance};
use crate::catalog::Session;
use crate::clocks;
use crate::cursor;
use crate::error::{ReadError, WriteError};
use crate::feed::FeedEntry;
use crate::fleet::{Fleet, ShareNo};
use crate::head::Head;
use crate::journal::Receipt;
use crate::log::index::{self, Rows};
use crate::log::{AdmitError, Admitted, Decision, Failure, Keys, Known, Lease, Log, Twin};
use crate::pin::Pinned;
use crate::quarantine::{Quarantine, Remains};
use crate::read::{kept, there};
use crate::room::Room;
use crate::schedule::{self, Kept, ScheduleChange};
use crate::snapshot::{Copied, SnapshotError};
use crate::writer::Message;

const HEAD: &str = "SELECT mission, row FROM sortie_heads WHERE mission = $1";
/// Of one range of numbers, as all that are asked for by numbers: `$3` is its other end.
const HEADS_DOWN: &str =
    "SELECT mission, row FROM sortie_heads WHERE mission < $1 AND mission > $3 ORDER BY mission DESC LIMIT $2";
pub(super) const HEADS_UP: &str =
    "SELECT mission, row FROM sortie_heads WHERE mission > $1 AND mission < $3 ORDER BY mission LIMIT $2";
const FRAMES_UP: &str =
    "SELECT first, row FROM sortie_frames WHERE mission = $1 AND first > $2 ORDER BY first LIMIT 256";
const QUARANTINED: &str =
    "SELECT mission FROM sortie_quarantine WHERE mission > $1 AND mission < $3 ORDER BY mission LIMIT $2";
const CURSOR: &str = "SELECT mission, row FROM sortie_cursors WHERE mission = $1";
pub(super) const CURSORS_UP: &str =
    "SELECT mission, row FROM sortie_cursors WHERE mission > $1 AND mission < $3 ORDER BY mission LIMIT $2";
const PINS_UP: &str =
    "SELECT mission, row FROM sortie_pins WHERE mission > $1 AND mission < $3 ORDER BY mission LIMIT $2";
pub(super) const SCHEDULES_UP: &str = "
SELECT s.id, s.row, p.row FROM sortie_schedules AS s
LEFT JOIN sortie_positions AS p ON p.share = s.share AND p.id = s.id
WHERE s.id > $1 AND s.share = $3 ORDER BY s.id LIMIT $2";
pub(super) const SCHEDULE: &str = "
SELECT s.id, s.row, p.row FROM sortie_schedules AS s
LEFT JOIN sortie_positions AS p ON p.share = s.share AND p.id = s.id WHERE s.id = $1 AND s.share = $2";
const FIRES_DOWN: &str =
    "SELECT no, row FROM sortie_fires WHERE id = $1 AND no < $2 AND share = $4 ORDER BY no DESC LIMIT $3";
const CLOCKS: &str = "SELECT no, row FROM sortie_clocks WHERE no = $1";
const ACTIONS_DOWN: &str = "SELECT no, row FROM sortie_actions WHERE no < $1 AND no > $3 ORDER BY no DESC LIMIT $2";
pub(super) const BALANCES_UP: &str =
    "SELECT key, row FROM sortie_balances WHERE key >= $1 AND share = $3 ORDER BY key LIMIT $2";

/// In which order rows are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

pub(super) fn number(row: &Row, column: usize) -> u64 {
    u64::try_from(row.get::<_, i64>(column)).unwrap_or(0)
}

/// A name of ours: one that is none is nobody's.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn head(row: &Row) -> Result<(MissionNo, Head), ReadError> {
    let mission = number(row, 0);
    let head =
        Head::decode(mission, row.get(1)).map_err(|source| ReadError::Row { table: "head", key: mission, source })?;
    Ok((MissionNo(mission), head))
}

/// One that cannot be read stands at the beginning.
pub(super) fn cursor_of(row: &Row) -> Result<(MissionNo, Cursor), ReadError> {
    let mission = number(row, 0);
    let cursor =
        cursor::decode(mission, row.get(1)).map_err(|source| ReadError::Row { table: "cursor", key: mission, source });
    Ok((MissionNo(mission), there(cursor)?.unwrap_or_default()))
}

fn schedule_of(row: &Row) -> Result<(String, Kept), ReadError> {
    let id = text(row.get(0));
    let kept = kept(&id, row.get(1), row.get(2))?;
    Ok((id, kept))
}

impl PostgresLog {
    /// At most `limit` of what the rows behind `first` hold, of all shares that are held; those that hold nothing are passed over.
    fn some<T>(
        &self,
        (sql, way): (&'static str, Way),
        first: i64,
        limit: usize,
        of: impl Fn(&Row) -> Result<Option<T>, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        let mut found = Vec::new();
        let mut spans = self.holding.spans().to_vec();
        if way == Way::Down {
            spans.reverse();
        }
        for span in spans {
            if found.len() >= limit {
                break;
            }
            let (begin, end) = match way {
                Way::Up => (first.max(span.after), span.before),
                Way::Down => (first.min(span.before), span.after),
            };
            if begin.abs_diff(end) > 1 && (begin < end) == (way == Way::Up) {
                self.some_between((sql, begin, end), limit, &of, &mut found)?;
            }
        }
        Ok(found)
    }

    /// The same, of one range.
    fn some_between<T>(
        &self,
        (sql, begin, end): (&'static str, i64, i64),
        limit: usize,
        of: &impl Fn(&Row) -> Result<Option<T>, ReadError>,
        found: &mut Vec<T>,
    ) -> Result<(), ReadError> {
        // A page is as long as what is wanted: mostly less than a page.
        let page = (limit - found.len()).min(PAGE);
        let mut key = begin;
        loop {
            let rows = self.rows(sql, vec![Box::new(key), Box::new(int(page as u64)), Box::new(end)])?;
            for row in &rows {
                key = row.get(0);
                found.extend(of(row)?);
                if found.len() >= limit {
                    return Ok(());
                }
            }
            if rows.len() < page {
                return Ok(());
            }
        }
    }

    fn is_mine(&self, mission: MissionNo) -> bool {
        self.holding.has(ShareNo::of(mission.0))
    }

    /// Rows of a mission: none, where it is another node's.
    fn rows_of(&self, mission: MissionNo, sql: &'static str, rest: Vec<Param<'static>>) -> Result<Vec<Row>, ReadError> {
        if !self.is_mine(mission) {
            return Ok(Vec::new());
        }
        let mut params: Vec<Param<'static>> = vec![Box::new(int(mission.0))];
        params.extend(rest);
        self.rows(sql, params)
    }

    fn cursors(&self, closed: bool) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.some((CURSORS_UP, Way::Up), -1, usize::MAX, |row| {
            Ok(Some(cursor_of(row)?).filter(|(_, cursor)| cursor.closed == closed))
        })
    }
}

/// The rows as admission asks for them: whoever dispatches is not kept waiting for a database that is away.
struct AtOnce<'a> {
    log: &'a PostgresLog,
    is_away: Cell<bool>,
}

impl Rows for AtOnce<'_> {
    fn head(&self, mission: MissionNo) -> Result<Option<Head>, ReadError> {
        // In the catalog already, while the rest of its share is being read: nothing of it is given out yet.
        if !self.log.holding.has(ShareNo::of(mission.0)) {
            self.is_away.set(true);
            return Err(read::storage("it is being adopted"));
        }
        match self.log.reader.rows_at_once(HEAD, vec![Box::new(int(mission.0))])? {
            Some(rows) => Ok(rows.first().map(head).transpose()?.map(|(_, head)| head)),
            None => {
                self.is_away.set(true);
                Err(read::storage("it is away"))
            }
        }
    }

    fn barrier(&self) -> Result<Receipt, WriteError> {
        self.log.barrier()
    }

    fn hand(&self, append: Append) -> Result<Receipt, WriteError> {
        self.log.change(Change::Append(append))
    }
}

impl Log for PostgresLog {
    fn admit(&self, keys: Keys<'_>, decide: &mut dyn FnMut(&Known) -> Decision) -> Result<Admitted, AdmitError> {
        // Whether it is known could not be looked up: nobody waits for that in here.
        if self.is_away() {
            return Err(WriteError::Overloaded.into());
        }
        let rows = AtOnce { log: self, is_away: Cell::new(false) };
        match index::admit(&self.index, &rows, keys, decide) {
            Err(AdmitError::Read(_)) if rows.is_away.get() => Err(WriteError::Overloaded.into()),
            admitted => admitted,
        }
    }

    fn append(&self, append: Append) -> Result<(), WriteError> {
        self.leases.fenced(append, |append| self.change_untold(Change::Append(append)))
    }

    fn append_durable(&self, append: Append) -> Result<Receipt, WriteError> {
        self.leases.fenced(append, |append| self.change(Change::Append(append)))
    }

    fn reserve(&self, append: &Append) -> Result<Room, WriteError> {
        self.takes()?;
        self.load.place(append.bytes() + HEAD_BYTES)
    }

    fn lease(&self, mission: MissionNo) -> Result<(Lease, Receipt), WriteError> {
        self.leases.lease(mission, || self.barrier())
    }

    fn release(&self, lease: Lease) {
        self.leases.release(lease);
    }

    fn remove(&self, mission: MissionNo) -> Result<(), AdmitError> {
        self.takes()?;
        let head = self.head(mission)?;
        self.change_untold(Change::Remove(mission.0))?;
        // Before nobody finds it: whoever claims its names then waits until they are free.
        self.removed.fetch_add(1, Ordering::SeqCst);
        if let Some(head) = head {
            self.index.lock().catalog.remove(mission, &head);
        }
        Ok(())
    }

    fn change_schedule(&self, change: ScheduleChange) -> Result<Receipt, WriteError> {
        let mut index = self.index.lock();
        let (written, mark) = index.place(&change)?;
        let receipt = self.change(Change::Schedule(written))?;
        self.removed.fetch_add(1, Ordering::SeqCst);
        index.placed(change, mark);
        Ok(receipt)
    }

    fn schedules_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Kept)>, ReadError> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        let share = [hold::no(self.holding.mine)];
        self.reader.pages(SCHEDULES_UP, after.unwrap_or_default().as_bytes().to_vec(), &share, |row| {
            found.extend(there(schedule_of(row))?);
            let key = row.get::<_, Vec<u8>>(0);
            Ok(if found.len() < limit { ControlFlow::Continue(key) } else { ControlFlow::Break(()) })
        })?;
        Ok(found)
    }

    fn schedule(&self, id: &str) -> Result<Option<Kept>, ReadError> {
        let rows =
            self.rows(SCHEDULE, vec![Box::new(id.as_bytes().to_vec()), Box::new(hold::no(self.holding.mine))])?;
        Ok(rows.first().map(schedule_of).transpose()?.map(|(_, kept)| kept))
    }

    fn fires(&self, id: &str, before: Option<u64>, limit: usize) -> Result<Vec<(u64, String)>, ReadError> {
        let rows = self.rows(
            FIRES_DOWN,
            vec![
                Box::new(id.as_bytes().to_vec()),
                Box::new(int(before.unwrap_or(u64::MAX))),
                Box::new(int(limit as u64)),
                Box::new(hold::no(self.holding.mine)),
            ],
        )?;
        let mut found = Vec::new();
        for row in &rows {
            let no = number(row, 0);
            let fire = schedule::unsealed(id, Some(no), row.get(1));
            let fire = fire.map_err(|source| ReadError::Schedule { id: id.to_owned(), what: "a fire", source });
            found.extend(there(fire)?.map(|fire| (no, fire)));
        }
        Ok(found)
    }

    fn keep_clocks(&self, clocks: &[(MissionNo, u64)]) -> Result<(), WriteError> {
        self.change_untold(Change::Clocks(clocks::encode(clocks)))
    }

    fn clocks(&self) -> Result<Vec<(MissionNo, u64)>, ReadError> {
        let rows = self.rows(CLOCKS, vec![Box::new(hold::no(self.holding.mine))])?;
        let Some(row) = rows.first() else { return Ok(Vec::new()) };
        let source = |source| ReadError::Row { table: "clocks", key: clocks::KEY, source };
        Ok(there(clocks::decode(row.get(1)).map_err(source))?.unwrap_or_default())
    }

    fn act(&self, text: String) -> Result<Receipt, WriteError> {
        self.change(Change::Action(text))
    }

    fn actions(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, String)>, ReadError> {
        self.some((ACTIONS_DOWN, Way::Down), int(before.unwrap_or(u64::MAX)), limit, |row| {
            let key = number(row, 0);
            let source = |source| ReadError::Row { table: "actions", key, source };
            Ok(there(actions::unsealed(key, row.get(1)).map_err(source))?.map(|text| (key, text)))
        })
    }

    fn pin(&self, mission: MissionNo, pin: Option<&Pinned>) -> Result<Receipt, WriteError> {
        self.change(Change::Pin(mission.0, pin.map(|pin| pin.encode(mission.0))))
    }

    fn pins(&self) -> Result<Vec<(MissionNo, Pinned)>, ReadError> {
        self.some((PINS_UP, Way::Up), -1, usize::MAX, |row| {
            let mission = number(row, 0);
            Ok(Some((MissionNo(mission), Pinned::read(mission, row.get(1)))))
        })
    }

    fn balances(&self, from: Date) -> Result<Vec<(Account, Balance)>, ReadError> {
        let mut found = BTreeMap::new();
        self.reader.pages(
            BALANCES_UP,
            balance::first_key(from).into_bytes(),
            &[hold::no(self.holding.mine)],
            |row| {
                let mut key = row.get::<_, Vec<u8>>(0);
                found.extend(balance::row(&text(&key), row.get(1)));
                // The one behind it.
                key.push(0);
                Ok(ControlFlow::Continue(key))
            },
        )?;
        Ok(found.into_iter().collect())
    }

    fn prune_feed_before(&self, position: u64) -> Result<(), WriteError> {
        self.change_untold(Change::PruneFeed(position))
    }

    fn barrier(&self) -> Result<Receipt, WriteError> {
        let (waker, receipt) = Receipt::pair();
        self.send(|| Ok(Message::Barrier(waker, self.load.place(0)?)))?;
        Ok(receipt)
    }

    fn read(&self, mission: MissionNo, first: u32, bytes: usize) -> Result<Vec<Stamped>, ReadError> {
        if self.is_mine(mission) { self.records_of(mission, first, bytes) } else { Ok(Vec::new()) }
    }

    fn remains(&self, mission: MissionNo) -> Result<Remains, ReadError> {
        let mut remains = Remains { records: Vec::new(), why: None, until: 0, last: None };
        let mut last = -1_i64;
        loop {
            let rows = self.rows_of(mission, FRAMES_UP, vec![Box::new(last)])?;
            let Some(end) = rows.last() else { return Ok(remains) };
            last = end.get(0);
            for row in &rows {
                let first = u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX);
                remains.add(mission, first, row.get(1));
            }
        }
    }

    fn quarantine(&self, mission: MissionNo) -> Result<Option<Quarantine>, ReadError> {
        if self.is_mine(mission) { self.quarantine_of(mission) } else { Ok(None) }
    }

    fn quarantined(&self) -> Result<Vec<MissionNo>, ReadError> {
        self.some((QUARANTINED, Way::Up), -1, usize::MAX, |row| Ok(Some(MissionNo(number(row, 0)))))
    }

    fn headless(&self) -> Vec<MissionNo> {
        self.headless.lock().iter().copied().collect()
    }

    fn mend(&self, append: Append, no: MissionNo, head: &Head) -> Result<Receipt, WriteError> {
        let receipt = self.append_durable(append.head(head))?;
        index::mended(&self.index, &self.headless, no, head);
        Ok(receipt)
    }

    fn head(&self, mission: MissionNo) -> Result<Option<Head>, ReadError> {
        let rows = self.rows_of(mission, HEAD, Vec::new())?;
        Ok(rows.first().map(head).transpose()?.map(|(_, head)| head))
    }

    fn find(&self, id: &MissionId) -> Result<Option<Twin>, ReadError> {
        index::find(&self.index, id, |no| self.head(no))
    }

    fn heads_newest_first(&self, before: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Head)>, ReadError> {
        self.some((HEADS_DOWN, Way::Down), int(before.map_or(u64::MAX, |no| no.0)), limit, |row| there(head(row)))
    }

    fn heads_oldest_first(&self, after: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Head)>, ReadError> {
        self.some((HEADS_UP, Way::Up), after.map_or(-1, |no| int(no.0)), limit, |row| there(head(row)))
    }

    fn has_session(&self, vp: &VpId, session: &SessionId) -> Result<bool, ReadError> {
        Ok(self.index.lock().catalog.has_session(vp, session))
    }

    fn sessions_newest_first(
        &self,
        before: Option<MissionNo>,
        limit: usize,
    ) -> Result<Vec<(VpId, Session)>, ReadError> {
        Ok(self.index.lock().catalog.sessions_newest_first(before, limit))
    }

    fn cursor(&self, mission: MissionNo) -> Result<Option<Cursor>, ReadError> {
        let rows = self.rows_of(mission, CURSOR, Vec::new())?;
        Ok(rows.first().map(cursor_of).transpose()?.map(|(_, cursor)| cursor))
    }

    fn cursors_after(&self, after: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.some((CURSORS_UP, Way::Up), after.map_or(-1, |no| int(no.0)), limit, |row| cursor_of(row).map(Some))
    }

    fn undelivered(&self) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.cursors(false)
    }

    fn incomplete(&self) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.cursors(true)
    }

    fn feed_after(&self, position: u64, limit: usize) -> Result<Vec<FeedEntry>, ReadError> {
        self.my_feed_after(position, limit)
    }

    fn feed_begin(&self) -> Result<u64, ReadError> {
        self.my_feed_begin()
    }

    fn follow(&self) -> watch::Receiver<u64> {
        self.durable.clone()
    }

    fn commits(&self) -> Option<&Seconds> {
        Some(&self.commits)
    }

    fn is_away(&self) -> bool {
        self.away.load(Ordering::SeqCst)
    }

    fn crowded(&self) -> bool {
        self.is_away() || self.load.is_crowded()
    }

    fn fleet(&self) -> Option<&dyn Fleet> {
        Some(self)
    }

    fn snapshot(&self, to: &Path) -> Result<Copied, SnapshotError> {
        copy::snapshot(self, to)
    }

    fn poisoned(&self) -> Option<WriteError> {
        self.failed.borrow().clone()
    }

    fn failed(&self) -> Failure {
        let mut failed = self.failed.clone();
        Box::pin(async move {
            if let Ok(error) = failed.wait_for(Option::is_some).await
                && let Some(error) = error.clone()
            {
                return error;
            }
            std::future::pending().await
        })
    }

    fn close(&self) -> Result<(), WriteError> {
        self.stop();
        self.failed.borrow().clone().map_or(Ok(()), Err)
    }
}
