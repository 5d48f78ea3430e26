//! What a log that one process holds knows in memory: who is there by name, where schedules stand, and which lease of a mission is the
//! newest. Where the rows are is another's to know.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use sortie_contract::{MissionId, MissionNo};

use super::{AdmitError, Admitted, Beginning, Decision, Keys, Known, Lease, Twin, Undo};
use crate::append::Append;
use crate::catalog::Catalog;
use crate::error::{ReadError, WriteError};
use crate::head::Head;
use crate::journal::Receipt;
use crate::schedule::{Mark, ScheduleChange, Written};

/// Whoever has the rows.
pub(crate) trait Rows {
    /// The head of a mission, as it is on disk.
    fn head(&self, mission: MissionNo) -> Result<Option<Head>, ReadError>;

    /// See [`super::Log::barrier`].
    fn barrier(&self) -> Result<Receipt, WriteError>;

    /// Hands over, and waits for nothing.
    fn hand(&self, append: Append) -> Result<Receipt, WriteError>;
}

#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) catalog: Catalog,
    pub(crate) last_no: u64,
    /// Where the last change left each schedule.
    pub(crate) schedules: FxHashMap<String, Mark>,
}

impl Index {
    /// A change of a schedule as it is written, and where it leaves it.
    pub(crate) fn place(&self, change: &ScheduleChange) -> Result<(Written, Option<Mark>), WriteError> {
        let last = self.schedules.get(&change.id).copied();
        Written::after(last, change).ok_or_else(|| WriteError::ScheduleMoved { id: change.id.clone() })
    }

    /// It was handed over.
    pub(crate) fn placed(&mut self, change: ScheduleChange, mark: Option<Mark>) {
        match mark {
            Some(mark) => drop(self.schedules.insert(change.id, mark)),
            None => drop(self.schedules.remove(&change.id)),
        }
    }

    /// Those that may be the mission's twins, and are not among `others`.
    fn twins(&self, keys: Keys<'_>, others: &FxHashSet<MissionNo>) -> Vec<MissionNo> {
        let same_key = self.catalog.by_key(keys.source, keys.idempotency_key);
        same_key.chain(self.catalog.by_id(keys.mission_id)).filter(|no| !others.contains(no)).collect()
    }

    fn known(&self, keys: Keys<'_>) -> Known {
        let newest_session = self.catalog.latest_session(keys.vp).cloned();
        Known { no: MissionNo(self.last_no + 1), twin: None, same_id: None, newest_session }
    }
}

/// See [`super::Log::admit`].
pub(crate) fn admit(
    index: &Mutex<Index>,
    rows: &impl Rows,
    keys: Keys<'_>,
    decide: &mut dyn FnMut(&Known) -> Decision,
) -> Result<Admitted, AdmitError> {
    // Candidates that turned out to be others, whose names have the same hash.
    let mut others = FxHashSet::default();
    loop {
        let (candidates, mut known) = {
            let mut index = index.lock();
            let candidates = index.twins(keys, &others);
            let known = index.known(keys);
            if candidates.is_empty() {
                let Decision::Accept(beginning) = decide(&known) else { return Ok(Admitted::Answered) };
                let Beginning { records, head, cursor, schedule, undo } = *beginning;
                let mut append = Append::new(known.no, 0, &records).head(&head);
                if let Some(cursor) = &cursor {
                    append = append.cursor(cursor);
                }
                let place = |change| index.place(&change).map(|(written, mark)| (written, (change, mark)));
                let taken = schedule.map(place).transpose().and_then(|change| {
                    let (written, placed) = change.unzip();
                    let append = written.into_iter().fold(append, Append::with);
                    Ok((placed, rows.hand(append)?))
                });
                let (placed, receipt) = Undo::unless(undo, taken)?;
                if let Some((change, mark)) = placed {
                    index.placed(change, mark);
                }
                index.catalog.insert(known.no, &head);
                index.last_no = known.no.0;
                return Ok(Admitted::Accepted { no: known.no, receipt });
            }
            (candidates, known)
        };
        for no in candidates {
            let Some(head) = rows.head(no)? else {
                // Being in the catalog and not on the disk: on its way, or just removed. The next look tells.
                return Ok(Admitted::OnItsWay(rows.barrier()?));
            };
            if head.source == *keys.source && head.idempotency_key == *keys.idempotency_key {
                known.twin = Some(Twin { no, head });
            } else if head.mission_id == *keys.mission_id {
                known.same_id = Some(Twin { no, head });
            } else {
                others.insert(no);
            }
        }
        if known.twin.is_some() || known.same_id.is_some() {
            // An acceptance beside a twin would be a second truth: there is none.
            let _ = decide(&known);
            return Ok(Admitted::Answered);
        }
    }
}

/// See [`super::Log::find`]; `head` reads the head of a mission as it is on disk.
pub(crate) fn find(
    index: &Mutex<Index>,
    id: &MissionId,
    head: impl Fn(MissionNo) -> Result<Option<Head>, ReadError>,
) -> Result<Option<Twin>, ReadError> {
    let candidates: Vec<MissionNo> = index.lock().catalog.by_id(id).collect();
    for no in candidates {
        if let Some(head) = head(no)?.filter(|head| head.mission_id == *id) {
            return Ok(Some(Twin { no, head }));
        }
    }
    Ok(None)
}

/// A mission that was among `headless` has this head now, and is found by its names. One whose head went bad later is in the catalog.
pub(crate) fn mended(index: &Mutex<Index>, headless: &Mutex<BTreeSet<MissionNo>>, no: MissionNo, head: &Head) {
    if headless.lock().remove(&no) {
        index.lock().catalog.insert(no, head);
    }
}

/// Which lease of each mission is the newest. Its lock is held while an append under a lease is handed over.
#[derive(Debug)]
pub(crate) struct Leases {
    newest: Mutex<FxHashMap<u64, u64>>,
    last_token: AtomicU64,
}

impl Leases {
    /// Whose first token is behind this one.
    pub(crate) fn after(token: u64) -> Self {
        Self { newest: Mutex::default(), last_token: AtomicU64::new(token) }
    }

    /// Those that are given from now on are behind this one, too.
    pub(crate) fn raise(&self, token: u64) {
        self.last_token.fetch_max(token, Ordering::Relaxed);
    }

    /// Hands over, unless another has a newer lease. The lock is held until it is in the queue, so that what is handed over under
    /// an older lease is before the newer one's barrier.
    pub(crate) fn fenced<T>(
        &self,
        append: Append,
        send: impl FnOnce(Append) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let Some(held) = append.lease else { return send(append) };
        let newest = self.newest.lock();
        match newest.get(&append.mission) {
            Some(newest) if *newest > held => {
                Err(WriteError::Fenced { mission: MissionNo(append.mission), held, newest: *newest })
            }
            _ => send(append),
        }
    }

    /// A new lease, and what resolves once everything that was handed over before is durable.
    pub(crate) fn lease(
        &self,
        mission: MissionNo,
        barrier: impl FnOnce() -> Result<Receipt, WriteError>,
    ) -> Result<(Lease, Receipt), WriteError> {
        let mut newest = self.newest.lock();
        let receipt = barrier()?;
        let token = self.last_token.fetch_add(1, Ordering::Relaxed) + 1;
        newest.insert(mission.0, token);
        Ok((Lease { mission, token }, receipt))
    }

    /// Nobody writes under it any more.
    pub(crate) fn release(&self, lease: Lease) {
        let mut newest = self.newest.lock();
        if newest.get(&lease.mission.0) == Some(&lease.token) {
            newest.remove(&lease.mission.0);
        }
    }
}
