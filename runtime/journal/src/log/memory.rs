//! The log in memory, as naive as can be: what the others are held against. Everything is durable at once, and every question is
//! answered by looking at all there is.

pub(crate) mod far;
mod fleet;
mod state;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use jiff::civil::Date;
use parking_lot::Mutex;
use sortie_contract::cursor::Cursor;
use sortie_contract::{MissionId, MissionNo, SessionId, Stamped, VpId};
use tokio::sync::watch;

use self::fleet::Seat;
use self::state::{Mission, Plan, State};
use super::{AdmitError, Admitted, Beginning, Decision, Failure, Keys, Known, Lease, Log, Twin, Undo};
use crate::actions;
use crate::append::Append;
use crate::balance::{self, Account, Balance};
use crate::catalog::Session;
use crate::clocks;
use crate::cursor;
use crate::error::{ReadError, WriteError};
use crate::feed::{self, FeedEntry};
use crate::fleet::Fleet;
use crate::frame;
use crate::head::Head;
use crate::journal::Receipt;
use crate::pin::Pinned;
use crate::quarantine::{Quarantine, Remains};
use crate::room::Room;
use crate::schedule::{self, Kept, Mark, ScheduleChange, To};
use crate::snapshot::{Copied, Draft, Row, SnapshotError};
use crate::table::Meta;

pub use self::fleet::MemoryFleet;

/// A log that is gone with its process.
#[derive(Debug)]
pub struct MemoryLog {
    state: Arc<Mutex<State>>,
    position: Arc<watch::Sender<u64>>,
    closed: AtomicBool,
    failed: watch::Sender<Option<WriteError>>,
    /// Where it is one of many: see [`MemoryFleet`].
    seat: Option<Seat>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::of(Arc::default(), Arc::new(watch::Sender::new(0)), None)
    }
}

impl MemoryLog {
    fn of(state: Arc<Mutex<State>>, position: Arc<watch::Sender<u64>>, seat: Option<Seat>) -> Self {
        Self { state, position, closed: AtomicBool::new(false), failed: watch::Sender::new(None), seat }
    }

    /// The state, while it is not closed, and nobody has adopted it.
    fn open<T>(&self, act: impl FnOnce(&mut State) -> Result<T, WriteError>) -> Result<T, WriteError> {
        let _writing = self.takes()?;
        act(&mut self.state.lock())
    }

    /// Whether it takes anything, and will until this is dropped.
    fn takes(&self) -> Result<Option<fleet::Writing<'_>>, WriteError> {
        if let Some(error) = &*self.failed.borrow() {
            return Err(error.clone());
        }
        if self.closed.load(Ordering::SeqCst) {
            return Err(WriteError::Closed);
        }
        let writing = self.seat.as_ref().map(Seat::writes).transpose();
        if let Err(error) = &writing {
            self.failed.send_if_modified(|failed| failed.replace(error.clone()).is_none());
        }
        writing
    }

    fn receipt(&self) -> Receipt {
        Receipt::of(Ok(*self.position.borrow()))
    }
}

impl Log for MemoryLog {
    fn admit(&self, keys: Keys<'_>, decide: &mut dyn FnMut(&Known) -> Decision) -> Result<Admitted, AdmitError> {
        let admitted = self.open(|state| {
            let twin = state.twin(|head| head.source == *keys.source && head.idempotency_key == *keys.idempotency_key);
            let of_twin = twin.as_ref().map(|twin| twin.no);
            let same_id = state.twin(|head| head.mission_id == *keys.mission_id);
            let same_id = same_id.filter(|same| Some(same.no) != of_twin);
            let of_vp = || state.heads().map(|(_, head)| head).filter(|head| head.vp == *keys.vp);
            let is_of_a_fork =
                |session: &SessionId| of_vp().any(|head| head.session == *session && head.is_of_a_fork());
            let newest = of_vp().rev().find(|head| !is_of_a_fork(&head.session));
            let newest_session = newest.map(|head| head.session.clone());
            let known = Known { no: MissionNo(state.last_no + 1), twin, same_id, newest_session };
            let Decision::Accept(beginning) = decide(&known) else { return Ok(Admitted::Answered) };
            if known.twin.is_some() || known.same_id.is_some() {
                return Ok(Admitted::Answered);
            }
            let Beginning { records, head, cursor, schedule, undo } = *beginning;
            let mut append = Append::new(known.no, 0, &records).head(&head);
            if let Some(cursor) = &cursor {
                append = append.cursor(cursor);
            }
            let fits = schedule.as_ref().map_or(Ok(()), |change| state.fits(change));
            let taken = fits.and_then(|()| state.append(&append, *self.position.borrow()));
            let position = Undo::unless(undo, taken)?;
            if let Some(change) = schedule {
                state.change(change);
            }
            self.position.send_replace(position);
            Ok(Admitted::Accepted { no: known.no, receipt: Receipt::of(Ok(position)) })
        })?;
        if let (Some(seat), Admitted::Accepted { .. }) = (&self.seat, &admitted) {
            seat.keeps(keys);
        }
        Ok(admitted)
    }

    fn append(&self, append: Append) -> Result<(), WriteError> {
        // It has resolved: a driver hands over from asynchronous code, too.
        match self.append_durable(append)?.now_or_never() {
            // Nobody is told.
            None | Some(Ok(_) | Err(WriteError::Conflict { .. } | WriteError::CursorMoved { .. })) => Ok(()),
            Some(Err(error)) => Err(error),
        }
    }

    fn append_durable(&self, append: Append) -> Result<Receipt, WriteError> {
        self.open(|state| {
            let outcome = state.append(&append, *self.position.borrow());
            if let Ok(position) = outcome {
                self.position.send_if_modified(|before| std::mem::replace(before, position) != position);
            }
            match outcome {
                Err(fenced @ WriteError::Fenced { .. }) => Err(fenced),
                outcome => Ok(Receipt::of(outcome)),
            }
        })
    }

    fn reserve(&self, _append: &Append) -> Result<Room, WriteError> {
        self.open(|_| Ok(Room::unbounded()))
    }

    fn lease(&self, mission: MissionNo) -> Result<(Lease, Receipt), WriteError> {
        self.open(|state| {
            state.last_token += 1;
            state.leases.insert(mission.0, state.last_token);
            Ok((Lease { mission, token: state.last_token }, self.receipt()))
        })
    }

    fn release(&self, lease: Lease) {
        let mut state = self.state.lock();
        if state.leases.get(&lease.mission.0) == Some(&lease.token) {
            state.leases.remove(&lease.mission.0);
        }
    }

    fn remove(&self, mission: MissionNo) -> Result<(), AdmitError> {
        let removed = self.open(|state| {
            state.last_no = state.last_no.max(mission.0);
            state.pins.remove(&mission.0);
            Ok(state.missions.remove(&mission.0))
        })?;
        if let (Some(seat), Some(head)) = (&self.seat, removed.and_then(|mission| mission.head)) {
            seat.forgets(&head);
        }
        Ok(())
    }

    fn change_schedule(&self, change: ScheduleChange) -> Result<Receipt, WriteError> {
        let (id, is_removed) = (change.id.clone(), matches!(change.to, To::Removed));
        self.open(|state| {
            state.fits(&change)?;
            state.change(change);
            Ok(())
        })?;
        match &self.seat {
            Some(seat) if is_removed => seat.forgets_schedule(&id),
            Some(seat) => seat.keeps_schedule(&id),
            None => {}
        }
        Ok(self.receipt())
    }

    fn schedules_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Kept)>, ReadError> {
        let state = self.state.lock();
        let plans = state.schedules.iter().filter(|(id, _)| after.is_none_or(|after| id.as_str() > after));
        Ok(plans.take(limit).map(|(id, plan)| (id.clone(), plan.kept.clone())).collect())
    }

    fn schedule(&self, id: &str) -> Result<Option<Kept>, ReadError> {
        Ok(self.state.lock().schedules.get(id).map(|plan| plan.kept.clone()))
    }

    fn fires(&self, id: &str, before: Option<u64>, limit: usize) -> Result<Vec<(u64, String)>, ReadError> {
        let state = self.state.lock();
        let fires = state.schedules.get(id).into_iter().flat_map(|plan| plan.fires.iter().rev());
        let fires = fires.filter(|(no, _)| before.is_none_or(|before| **no < before));
        Ok(fires.take(limit).map(|(no, fire)| (*no, fire.clone())).collect())
    }

    fn keep_clocks(&self, clocks: &[(MissionNo, u64)]) -> Result<(), WriteError> {
        self.open(|state| {
            state.clocks = clocks.to_vec();
            Ok(())
        })
    }

    fn clocks(&self) -> Result<Vec<(MissionNo, u64)>, ReadError> {
        Ok(self.state.lock().clocks.clone())
    }

    fn act(&self, text: String) -> Result<Receipt, WriteError> {
        self.open(|state| {
            let last = state.actions.last_key_value().map_or(0, |(no, _)| *no);
            state.actions.insert(last.max(state.floor) + 1, text);
            state.keeps_the_newest_actions();
            Ok(())
        })?;
        Ok(self.receipt())
    }

    fn actions(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, String)>, ReadError> {
        let state = self.state.lock();
        let actions = state.actions.range(..before.unwrap_or(u64::MAX)).rev().take(limit);
        Ok(actions.map(|(no, text)| (*no, text.clone())).collect())
    }

    fn pin(&self, mission: MissionNo, pin: Option<&Pinned>) -> Result<Receipt, WriteError> {
        self.open(|state| {
            match pin {
                Some(pin) => drop(state.pins.insert(mission.0, pin.clone())),
                None => drop(state.pins.remove(&mission.0)),
            }
            Ok(self.receipt())
        })
    }

    fn pins(&self) -> Result<Vec<(MissionNo, Pinned)>, ReadError> {
        Ok(self.state.lock().pins.iter().map(|(no, pin)| (MissionNo(*no), pin.clone())).collect())
    }

    fn balances(&self, from: Date) -> Result<Vec<(Account, Balance)>, ReadError> {
        let state = self.state.lock();
        let rows = state.balances.iter().filter(|(account, _)| account.day >= from);
        Ok(rows.map(|(account, balance)| (account.clone(), *balance)).collect())
    }

    fn prune_feed_before(&self, position: u64) -> Result<(), WriteError> {
        self.open(|state| {
            state.feed.retain(|entry| entry.position >= position);
            Ok(())
        })
    }

    fn barrier(&self) -> Result<Receipt, WriteError> {
        self.open(|_| Ok(self.receipt()))
    }

    fn read(&self, mission: MissionNo, first: u32, _bytes: usize) -> Result<Vec<Stamped>, ReadError> {
        Ok(self.state.lock().read(mission, first))
    }

    fn remains(&self, mission: MissionNo) -> Result<Remains, ReadError> {
        let state = self.state.lock();
        let mission = state.missions.get(&mission.0);
        let records: Vec<_> = mission.iter().flat_map(|mission| &mission.records).flatten().cloned().collect();
        let until = mission.map_or(0, Mission::next);
        Ok(Remains { last: records.last().cloned(), records, why: None, until })
    }

    fn quarantine(&self, mission: MissionNo) -> Result<Option<Quarantine>, ReadError> {
        Ok(self.state.lock().missions.get(&mission.0).and_then(|mission| mission.quarantine.clone()))
    }

    fn quarantined(&self) -> Result<Vec<MissionNo>, ReadError> {
        let state = self.state.lock();
        let quarantined = state.missions.iter().filter(|(_, mission)| mission.quarantine.is_some());
        Ok(quarantined.map(|(no, _)| MissionNo(*no)).collect())
    }

    fn headless(&self) -> Vec<MissionNo> {
        Vec::new()
    }

    fn mend(&self, append: Append, _no: MissionNo, head: &Head) -> Result<Receipt, WriteError> {
        self.append_durable(append.head(head))
    }

    fn head(&self, mission: MissionNo) -> Result<Option<Head>, ReadError> {
        Ok(self.state.lock().missions.get(&mission.0).and_then(|mission| mission.head.clone()))
    }

    fn find(&self, id: &MissionId) -> Result<Option<Twin>, ReadError> {
        Ok(self.state.lock().twin(|head| head.mission_id == *id))
    }

    fn heads_newest_first(&self, before: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Head)>, ReadError> {
        let state = self.state.lock();
        let heads = state.heads().rev().filter(|(no, _)| before.is_none_or(|before| *no < before));
        Ok(heads.take(limit).map(|(no, head)| (no, head.clone())).collect())
    }

    fn heads_oldest_first(&self, after: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Head)>, ReadError> {
        let state = self.state.lock();
        let heads = state.heads().filter(|(no, _)| after.is_none_or(|after| *no > after));
        Ok(heads.take(limit).map(|(no, head)| (no, head.clone())).collect())
    }

    fn has_session(&self, vp: &VpId, session: &SessionId) -> Result<bool, ReadError> {
        Ok(self.state.lock().sessions().contains_key(&(vp, session)))
    }

    fn sessions_newest_first(
        &self,
        before: Option<MissionNo>,
        limit: usize,
    ) -> Result<Vec<(VpId, Session)>, ReadError> {
        let state = self.state.lock();
        let mut sessions: Vec<_> = state
            .sessions()
            .into_iter()
            .map(|((vp, id), (missions, latest))| (vp.clone(), Session { id: id.clone(), missions, latest }))
            .filter(|(_, session)| before.is_none_or(|before| session.latest < before))
            .collect();
        sessions.sort_by_key(|(_, session)| std::cmp::Reverse(session.latest));
        sessions.truncate(limit);
        Ok(sessions)
    }

    fn cursor(&self, mission: MissionNo) -> Result<Option<Cursor>, ReadError> {
        Ok(self.state.lock().missions.get(&mission.0).and_then(|mission| mission.cursor.clone()))
    }

    fn cursors_after(&self, after: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        let state = self.state.lock();
        let all = state.missions.iter().filter_map(|(no, mission)| Some((MissionNo(*no), mission.cursor.clone()?)));
        Ok(all.filter(|(no, _)| after.is_none_or(|after| *no > after)).take(limit).collect())
    }

    fn undelivered(&self) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        Ok(self.state.lock().cursors(false))
    }

    fn incomplete(&self) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        Ok(self.state.lock().cursors(true))
    }

    fn feed_after(&self, position: u64, limit: usize) -> Result<Vec<FeedEntry>, ReadError> {
        let state = self.state.lock();
        Ok(state.feed.iter().filter(|entry| entry.position > position).take(limit).copied().collect())
    }

    fn feed_begin(&self) -> Result<u64, ReadError> {
        let first = self.state.lock().feed.first().map(|entry| entry.position);
        Ok(first.unwrap_or(*self.position.borrow() + 1))
    }

    fn follow(&self) -> watch::Receiver<u64> {
        self.position.subscribe()
    }

    fn crowded(&self) -> bool {
        false
    }

    fn snapshot(&self, to: &Path) -> Result<Copied, SnapshotError> {
        // Of one moment: nobody writes while the copy is drafted.
        let state = self.state.lock();
        let mut draft = Draft::create(to)?;
        for (no, mission) in &state.missions {
            let mut first = 0;
            for records in &mission.records {
                draft.push(Row::Frame((*no, first), frame::encode((*no, first), records)))?;
                first += u32::try_from(records.len()).expect("an append has fewer than 2^32 records");
            }
            if let Some(head) = &mission.head {
                draft.push(Row::Head(*no, head.encode(*no)))?;
            }
            if let Some(cursor) = &mission.cursor {
                draft.push(Row::Cursor(*no, cursor::encode(cursor, *no)))?;
            }
            if let Some(quarantine) = &mission.quarantine {
                draft.push(Row::Quarantine(*no, quarantine.encode(*no)))?;
            }
        }
        for (id, Plan { kept, fires }) in &state.schedules {
            let mark = Mark { version: kept.version, last_fire: kept.last_fire };
            draft.push(Row::Schedule(id.clone(), schedule::sealed(id, None, &kept.definition)))?;
            draft.push(Row::Position(id.clone(), schedule::encode_position(id, mark, &kept.position)))?;
            for (no, fire) in fires {
                draft.push(Row::Fire(id.clone(), *no, schedule::sealed(id, Some(*no), fire)))?;
            }
        }
        draft.push(Row::Clocks(clocks::KEY, clocks::encode(&state.clocks)))?;
        for (no, text) in &state.actions {
            draft.push(Row::Action(*no, actions::sealed(*no, text)))?;
        }
        for (no, pin) in &state.pins {
            draft.push(Row::Pin(*no, pin.encode(*no)))?;
        }
        for (account, balance) in &state.balances {
            let (key, bytes) = balance::written(account, *balance);
            draft.push(Row::Balance(key, bytes))?;
        }
        // A row has positions without gaps; between two shares is one.
        let runs = state.feed.chunk_by(|one, next| one.position + 1 == next.position);
        for entries in runs.flat_map(|run| run.chunks(feed::ENTRIES_A_ROW_MAX)) {
            let begin = entries[0].position;
            draft.push(Row::Feed(begin, feed::encode(begin, entries)))?;
        }
        let position = *self.position.borrow();
        draft.finish(Meta { commits: 1, position, last_no: state.last_no, ..Meta::NEW })
    }

    fn fleet(&self) -> Option<&dyn Fleet> {
        self.seat.is_some().then_some(self)
    }

    fn poisoned(&self) -> Option<WriteError> {
        self.failed.borrow().clone()
    }

    fn failed(&self) -> Failure {
        let mut failed = self.failed.subscribe();
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
        self.closed.store(true, Ordering::SeqCst);
        if let Some(seat) = &self.seat {
            seat.leaves();
        }
        self.failed.borrow().clone().map_or(Ok(()), Err)
    }
}
