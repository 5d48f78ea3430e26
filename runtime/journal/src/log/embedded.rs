//! The log in a file: a [`Journal`], and in memory what admission must look up by name.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::civil::Date;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_contract::cursor::Cursor;
use sortie_contract::{MissionId, MissionNo, SessionId, Stamped, VpId};
use sortie_measure::Seconds;
use tokio::sync::watch;

use super::index::{self, Index, Leases, Rows};
use super::{AdmitError, Admitted, Decision, Failure, Keys, Known, Lease, Log, Twin};
use crate::append::Append;
use crate::balance::{Account, Balance};
use crate::catalog::{Catalog, Session};
use crate::error::{ReadError, WriteError};
use crate::feed::FeedEntry;
use crate::head::Head;
use crate::journal::{Journal, Receipt};
use crate::open::Opened;
use crate::pin::Pinned;
use crate::quarantine::{Quarantine, Remains};
use crate::room::Room;
use crate::schedule::{Kept, Mark, ScheduleChange};
use crate::snapshot::{Copied, SnapshotError};

/// A journal as a [`Log`].
///
/// Locks, none held over a read of the disk and never two of them: `index` while a mission gets its number, that of `leases` while an
/// append under a lease is handed over.
#[derive(Debug)]
pub struct EmbeddedLog {
    journal: Journal,
    index: Mutex<Index>,
    /// Those of one opening begin behind those of each earlier one that wrote anything.
    leases: Leases,
    /// Missions that have no readable head. Locked alone.
    headless: Mutex<BTreeSet<MissionNo>>,
}

/// A commit has thousands of changes at most, and whoever leases a mission writes it: no opening gives more leases than its
/// commits make room for.
const LEASES_A_COMMIT_LOG2: u32 = 24;

/// How many schedules are read at once.
const SCHEDULES: usize = 1_024;

impl EmbeddedLog {
    /// The log that `journal` holds. Every head is read, and shown to `visit`, oldest first: whoever builds something of its own
    /// from them need not read them again.
    ///
    /// # Errors
    /// [`ReadError`] where the file cannot be read. A head that cannot is [`Log::headless`].
    pub fn new(journal: Journal, opened: &Opened, mut visit: impl FnMut(MissionNo, Head)) -> Result<Self, ReadError> {
        let (mut catalog, mut headless) = (Catalog::default(), BTreeSet::new());
        journal.scan_all(|no, head| match head {
            Some(head) => {
                catalog.insert(no, &head);
                visit(no, head);
            }
            None => headless.extend([no]),
        })?;
        let schedules = marks(&journal)?;
        let index = Mutex::new(Index { catalog, last_no: opened.last_no.0, schedules });
        let leases = Leases::after(opened.commits << LEASES_A_COMMIT_LOG2);
        Ok(Self { journal, index, leases, headless: Mutex::new(headless) })
    }
}

/// Where the last change left each schedule.
fn marks(journal: &Journal) -> Result<FxHashMap<String, Mark>, ReadError> {
    let (mut marks, mut after) = (FxHashMap::default(), None);
    loop {
        let some = journal.schedules_after(after.as_deref(), SCHEDULES)?;
        let Some((last, _)) = some.last() else { return Ok(marks) };
        after = Some(last.clone());
        marks.extend(some.into_iter().map(|(id, kept)| {
            let mark = Mark { version: kept.version, last_fire: kept.last_fire };
            (id, mark)
        }));
    }
}

impl Rows for Journal {
    fn head(&self, mission: MissionNo) -> Result<Option<Head>, ReadError> {
        self.head(mission)
    }

    fn barrier(&self) -> Result<Receipt, WriteError> {
        self.barrier()
    }

    fn hand(&self, append: Append) -> Result<Receipt, WriteError> {
        self.append_durable(append)
    }
}

impl Log for EmbeddedLog {
    fn admit(&self, keys: Keys<'_>, decide: &mut dyn FnMut(&Known) -> Decision) -> Result<Admitted, AdmitError> {
        index::admit(&self.index, &self.journal, keys, decide)
    }

    fn append(&self, append: Append) -> Result<(), WriteError> {
        self.leases.fenced(append, |append| self.journal.append(append))
    }

    fn append_durable(&self, append: Append) -> Result<Receipt, WriteError> {
        self.leases.fenced(append, |append| self.journal.append_durable(append))
    }

    fn reserve(&self, append: &Append) -> Result<Room, WriteError> {
        self.journal.reserve(append)
    }

    fn lease(&self, mission: MissionNo) -> Result<(Lease, Receipt), WriteError> {
        self.leases.lease(mission, || self.journal.barrier())
    }

    fn release(&self, lease: Lease) {
        self.leases.release(lease);
    }

    fn remove(&self, mission: MissionNo) -> Result<(), AdmitError> {
        let head = self.journal.head(mission)?;
        self.journal.remove(mission)?;
        if let Some(head) = head {
            self.index.lock().catalog.remove(mission, &head);
        }
        Ok(())
    }

    fn change_schedule(&self, change: ScheduleChange) -> Result<Receipt, WriteError> {
        let mut index = self.index.lock();
        let (written, mark) = index.place(&change)?;
        let receipt = self.journal.change_schedule(written)?;
        index.placed(change, mark);
        Ok(receipt)
    }

    fn schedules_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Kept)>, ReadError> {
        self.journal.schedules_after(after, limit)
    }

    fn schedule(&self, id: &str) -> Result<Option<Kept>, ReadError> {
        self.journal.schedule(id)
    }

    fn balances(&self, from: Date) -> Result<Vec<(Account, Balance)>, ReadError> {
        self.journal.balances(from)
    }

    fn fires(&self, id: &str, before: Option<u64>, limit: usize) -> Result<Vec<(u64, String)>, ReadError> {
        self.journal.fires(id, before, limit)
    }

    fn keep_clocks(&self, clocks: &[(MissionNo, u64)]) -> Result<(), WriteError> {
        self.journal.keep_clocks(clocks)
    }

    fn clocks(&self) -> Result<Vec<(MissionNo, u64)>, ReadError> {
        self.journal.clocks()
    }

    fn act(&self, text: String) -> Result<Receipt, WriteError> {
        self.journal.act(text)
    }

    fn actions(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, String)>, ReadError> {
        self.journal.actions(before, limit)
    }

    fn pin(&self, mission: MissionNo, pin: Option<&Pinned>) -> Result<Receipt, WriteError> {
        self.journal.pin(mission, pin)
    }

    fn pins(&self) -> Result<Vec<(MissionNo, Pinned)>, ReadError> {
        self.journal.pins()
    }

    fn prune_feed_before(&self, position: u64) -> Result<(), WriteError> {
        self.journal.prune_feed_before(position)
    }

    fn barrier(&self) -> Result<Receipt, WriteError> {
        self.journal.barrier()
    }

    fn read(&self, mission: MissionNo, first: u32, bytes: usize) -> Result<Vec<Stamped>, ReadError> {
        self.journal.read_some(mission, first, bytes)
    }

    fn read_all(&self, mission: MissionNo, first: u32) -> Result<Vec<Stamped>, ReadError> {
        self.journal.read_from(mission, first)
    }

    fn remains(&self, mission: MissionNo) -> Result<Remains, ReadError> {
        self.journal.remains(mission)
    }

    fn quarantine(&self, mission: MissionNo) -> Result<Option<Quarantine>, ReadError> {
        self.journal.quarantine(mission)
    }

    fn quarantined(&self) -> Result<Vec<MissionNo>, ReadError> {
        self.journal.quarantined()
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
        self.journal.head(mission)
    }

    fn find(&self, id: &MissionId) -> Result<Option<Twin>, ReadError> {
        index::find(&self.index, id, |no| self.journal.head(no))
    }

    fn heads_newest_first(&self, before: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Head)>, ReadError> {
        self.journal.heads_newest_first(before, limit)
    }

    fn heads_oldest_first(&self, after: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Head)>, ReadError> {
        self.journal.heads_oldest_first(after, limit)
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
        match self.journal.cursor(mission) {
            Err(ReadError::Row { .. }) => Ok(Some(Cursor::default())),
            cursor => cursor,
        }
    }

    fn cursors_after(&self, after: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.journal.cursors_after(after, limit)
    }

    fn undelivered(&self) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.journal.undelivered()
    }

    fn incomplete(&self) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.journal.incomplete()
    }

    fn feed_after(&self, position: u64, limit: usize) -> Result<Vec<FeedEntry>, ReadError> {
        self.journal.feed_after(position, limit)
    }

    fn feed_begin(&self) -> Result<u64, ReadError> {
        self.journal.feed_begin()
    }

    fn follow(&self) -> watch::Receiver<u64> {
        self.journal.durable()
    }

    fn commits(&self) -> Option<&Seconds> {
        Some(self.journal.commits())
    }

    fn crowded(&self) -> bool {
        self.journal.crowded()
    }

    fn snapshot(&self, to: &Path) -> Result<Copied, SnapshotError> {
        self.journal.copy_to(to)
    }

    fn poisoned(&self) -> Option<WriteError> {
        self.journal.poisoned()
    }

    fn failed(&self) -> Failure {
        Box::pin(self.journal.failed())
    }

    fn close(&self) -> Result<(), WriteError> {
        self.journal.close()
    }
}
