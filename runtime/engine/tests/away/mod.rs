//! A log that cannot be read now and then: as one whose database is somewhere else, and away for a moment.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use sortie_contract::{MissionId, MissionNo, SessionId, Stamped, VpId};
use sortie_journal::{
    Account, AdmitError, Admitted, Append, Balance, Copied, Cursor, Decision, Failure, FeedEntry, Fleet, Head, Kept,
    Keys, Known, Lease, Log, Pinned, Quarantine, ReadError, Receipt, Remains, Room, ScheduleChange, Session,
    SnapshotError, Twin, WriteError,
};
use tokio::sync::watch;

/// Whether it can be read, and how often it could not be.
#[derive(Debug, Default)]
pub(crate) struct Away {
    pub(crate) now: AtomicBool,
    pub(crate) asked: AtomicUsize,
}

impl Away {
    fn answers(&self) -> Result<(), ReadError> {
        if !self.now.load(SeqCst) {
            return Ok(());
        }
        self.asked.fetch_add(1, SeqCst);
        Err(ReadError::Storage { why: "it is away".to_owned() })
    }
}

/// A log, and whether it can be read. What is written is written: only what missions and their heads are is not told.
#[derive(Debug)]
pub(crate) struct Flaky(pub(crate) Arc<dyn Log>, pub(crate) Arc<Away>);

impl Log for Flaky {
    fn admit(&self, keys: Keys<'_>, decide: &mut dyn FnMut(&Known) -> Decision) -> Result<Admitted, AdmitError> {
        self.0.admit(keys, decide)
    }

    fn append(&self, append: Append) -> Result<(), WriteError> {
        self.0.append(append)
    }

    fn append_durable(&self, append: Append) -> Result<Receipt, WriteError> {
        self.0.append_durable(append)
    }

    fn reserve(&self, append: &Append) -> Result<Room, WriteError> {
        self.0.reserve(append)
    }

    fn lease(&self, mission: MissionNo) -> Result<(Lease, Receipt), WriteError> {
        self.0.lease(mission)
    }

    fn release(&self, lease: Lease) {
        self.0.release(lease);
    }

    fn remove(&self, mission: MissionNo) -> Result<(), AdmitError> {
        self.0.remove(mission)
    }

    fn change_schedule(&self, change: ScheduleChange) -> Result<Receipt, WriteError> {
        self.0.change_schedule(change)
    }

    fn schedules_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Kept)>, ReadError> {
        self.0.schedules_after(after, limit)
    }

    fn schedule(&self, id: &str) -> Result<Option<Kept>, ReadError> {
        self.0.schedule(id)
    }

    fn fires(&self, id: &str, before: Option<u64>, limit: usize) -> Result<Vec<(u64, String)>, ReadError> {
        self.0.fires(id, before, limit)
    }

    fn keep_clocks(&self, clocks: &[(MissionNo, u64)]) -> Result<(), WriteError> {
        self.0.keep_clocks(clocks)
    }

    fn clocks(&self) -> Result<Vec<(MissionNo, u64)>, ReadError> {
        self.0.clocks()
    }

    fn act(&self, text: String) -> Result<Receipt, WriteError> {
        self.0.act(text)
    }

    fn actions(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, String)>, ReadError> {
        self.0.actions(before, limit)
    }

    fn pin(&self, mission: MissionNo, pin: Option<&Pinned>) -> Result<Receipt, WriteError> {
        self.0.pin(mission, pin)
    }

    fn pins(&self) -> Result<Vec<(MissionNo, Pinned)>, ReadError> {
        self.0.pins()
    }

    fn balances(&self, from: jiff::civil::Date) -> Result<Vec<(Account, Balance)>, ReadError> {
        self.0.balances(from)
    }

    fn prune_feed_before(&self, position: u64) -> Result<(), WriteError> {
        self.0.prune_feed_before(position)
    }

    fn barrier(&self) -> Result<Receipt, WriteError> {
        self.0.barrier()
    }

    fn read(&self, mission: MissionNo, first: u32, bytes: usize) -> Result<Vec<Stamped>, ReadError> {
        self.1.answers()?;
        self.0.read(mission, first, bytes)
    }

    fn read_all(&self, mission: MissionNo, first: u32) -> Result<Vec<Stamped>, ReadError> {
        self.1.answers()?;
        self.0.read_all(mission, first)
    }

    fn remains(&self, mission: MissionNo) -> Result<Remains, ReadError> {
        self.1.answers()?;
        self.0.remains(mission)
    }

    fn quarantine(&self, mission: MissionNo) -> Result<Option<Quarantine>, ReadError> {
        self.0.quarantine(mission)
    }

    fn quarantined(&self) -> Result<Vec<MissionNo>, ReadError> {
        self.0.quarantined()
    }

    fn headless(&self) -> Vec<MissionNo> {
        self.0.headless()
    }

    fn mend(&self, append: Append, no: MissionNo, head: &Head) -> Result<Receipt, WriteError> {
        self.0.mend(append, no, head)
    }

    fn head(&self, mission: MissionNo) -> Result<Option<Head>, ReadError> {
        self.1.answers()?;
        self.0.head(mission)
    }

    fn find(&self, id: &MissionId) -> Result<Option<Twin>, ReadError> {
        self.1.answers()?;
        self.0.find(id)
    }

    fn heads_newest_first(&self, before: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Head)>, ReadError> {
        self.0.heads_newest_first(before, limit)
    }

    fn heads_oldest_first(&self, after: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Head)>, ReadError> {
        self.0.heads_oldest_first(after, limit)
    }

    fn has_session(&self, vp: &VpId, session: &SessionId) -> Result<bool, ReadError> {
        self.0.has_session(vp, session)
    }

    fn sessions_newest_first(
        &self,
        before: Option<MissionNo>,
        limit: usize,
    ) -> Result<Vec<(VpId, Session)>, ReadError> {
        self.0.sessions_newest_first(before, limit)
    }

    fn cursor(&self, mission: MissionNo) -> Result<Option<Cursor>, ReadError> {
        self.0.cursor(mission)
    }

    fn cursors_after(&self, after: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.0.cursors_after(after, limit)
    }

    fn undelivered(&self) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.0.undelivered()
    }

    fn incomplete(&self) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.0.incomplete()
    }

    fn feed_after(&self, position: u64, limit: usize) -> Result<Vec<FeedEntry>, ReadError> {
        self.0.feed_after(position, limit)
    }

    fn feed_begin(&self) -> Result<u64, ReadError> {
        self.0.feed_begin()
    }

    fn follow(&self) -> watch::Receiver<u64> {
        self.0.follow()
    }

    fn is_away(&self) -> bool {
        self.0.is_away()
    }

    fn fleet(&self) -> Option<&dyn Fleet> {
        self.0.fleet()
    }

    fn crowded(&self) -> bool {
        self.0.crowded()
    }

    fn snapshot(&self, to: &Path) -> Result<Copied, SnapshotError> {
        self.0.snapshot(to)
    }

    fn poisoned(&self) -> Option<WriteError> {
        self.0.poisoned()
    }

    fn failed(&self) -> Failure {
        self.0.failed()
    }

    fn close(&self) -> Result<(), WriteError> {
        self.0.close()
    }
}
