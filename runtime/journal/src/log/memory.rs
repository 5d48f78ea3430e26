//! The log in memory, as naive as can be: what the others are held against. Everything is durable at once, and every question is
//! answered by looking at all there is.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::Date;
use parking_lot::Mutex;
use sortie_contract::cursor::Cursor;
use sortie_contract::{MissionId, MissionNo, SessionId, Stamped, VpId};
use tokio::sync::watch;

use super::{AdmitError, Admitted, Beginning, Decision, Failure, Keys, Known, Lease, Log, Twin, Undo};
use crate::actions::{self, ACTIONS_MAX};
use crate::append::{Append, CursorChange};
use crate::balance::{self, Account, Balance};
use crate::catalog::Session;
use crate::clocks;
use crate::cursor;
use crate::error::{ReadError, WriteError};
use crate::feed::{self, FeedEntry};
use crate::frame;
use crate::head::Head;
use crate::journal::Receipt;
use crate::pin::Pinned;
use crate::quarantine::{Quarantine, Remains};
use crate::room::Room;
use crate::schedule::{self, FIRES_MAX, Kept, Mark, ScheduleChange, To};
use crate::snapshot::{Copied, Draft, Row, SnapshotError};
use crate::table::Meta;

/// A log that is gone with its process.
#[derive(Debug)]
pub struct MemoryLog {
    state: Mutex<State>,
    position: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    missions: BTreeMap<u64, Mission>,
    feed: Vec<FeedEntry>,
    last_no: u64,
    last_token: u64,
    leases: BTreeMap<u64, u64>,
    schedules: BTreeMap<String, Plan>,
    clocks: Vec<(MissionNo, u64)>,
    actions: BTreeMap<u64, String>,
    pins: BTreeMap<u64, Pinned>,
    balances: BTreeMap<Account, Balance>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Mission {
    /// By frame.
    records: Vec<Vec<Stamped>>,
    head: Option<Head>,
    cursor: Option<Cursor>,
    quarantine: Option<Quarantine>,
}

#[derive(Debug)]
struct Plan {
    kept: Kept,
    /// By number.
    fires: BTreeMap<u64, String>,
}

impl Mission {
    fn next(&self) -> u32 {
        u32::try_from(self.records.iter().map(Vec::len).sum::<usize>()).expect("a mission has fewer than 2^32 records")
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self { state: Mutex::default(), position: watch::Sender::new(0) }
    }
}

impl State {
    fn heads(&self) -> impl DoubleEndedIterator<Item = (MissionNo, &Head)> {
        self.missions.iter().filter_map(|(no, mission)| Some((MissionNo(*no), mission.head.as_ref()?)))
    }

    fn twin(&self, is: impl Fn(&Head) -> bool) -> Option<Twin> {
        self.heads().find(|(_, head)| is(head)).map(|(no, head)| Twin { no, head: head.clone() })
    }

    /// Sessions by VP and name: how many missions, and the newest.
    fn sessions(&self) -> BTreeMap<(&VpId, &SessionId), (u64, MissionNo)> {
        let mut sessions = BTreeMap::new();
        for (no, head) in self.heads() {
            let (missions, latest) = sessions.entry((&head.vp, &head.session)).or_insert((0, no));
            *missions += 1;
            *latest = no;
        }
        sessions
    }

    fn cursors(&self, closed: bool) -> Vec<(MissionNo, Cursor)> {
        let all = self.missions.iter().filter_map(|(no, mission)| Some((MissionNo(*no), mission.cursor.clone()?)));
        all.filter(|(_, cursor)| cursor.closed == closed).collect()
    }

    /// Whether a change of a schedule is made from the last one.
    fn fits(&self, change: &ScheduleChange) -> Result<(), WriteError> {
        let version = self.schedules.get(&change.id).map_or(0, |plan| plan.kept.version);
        if version == change.from { Ok(()) } else { Err(WriteError::ScheduleMoved { id: change.id.clone() }) }
    }

    fn change(&mut self, change: ScheduleChange) {
        let To::Kept { definition, position, fires } = change.to else {
            self.schedules.remove(&change.id);
            return;
        };
        let empty = || Kept { version: 0, definition: String::new(), position: String::new(), last_fire: 0 };
        let plan = self.schedules.entry(change.id).or_insert_with(|| Plan { kept: empty(), fires: BTreeMap::new() });
        plan.kept.version += 1;
        plan.kept.position = position;
        if let Some(definition) = definition {
            plan.kept.definition = definition;
        }
        for fire in fires {
            plan.kept.last_fire += 1;
            plan.fires.insert(plan.kept.last_fire, fire);
        }
        let oldest = (plan.kept.last_fire + 1).saturating_sub(FIRES_MAX);
        plan.fires = plan.fires.split_off(&oldest);
    }

    fn append(&mut self, append: &Append, position: u64) -> Result<u64, WriteError> {
        let no = MissionNo(append.mission);
        if let (Some(held), Some(newest)) = (append.lease, self.leases.get(&append.mission))
            && *newest > held
        {
            return Err(WriteError::Fenced { mission: no, held, newest: *newest });
        }
        let cursor = self.missions.get(&append.mission).and_then(|mission| mission.cursor.as_ref());
        if append.cursor_before.as_ref().is_some_and(|before| before.as_deref() != cursor) {
            return Err(WriteError::CursorMoved { mission: no });
        }
        let expected = self.missions.get(&append.mission).map_or(0, Mission::next);
        if let Some(frame) = append.frame.as_ref().filter(|frame| frame.first != expected) {
            return Err(WriteError::Conflict { mission: no, first: frame.first, expected });
        }
        self.last_no = self.last_no.max(append.mission);
        for movement in append.movements() {
            let oldest = balance::kept_from(movement.account.day);
            let day = movement.account.day;
            let follows = self.balances.keys().any(|account| (balance::follows(day)..day).contains(&account.day));
            if follows && !self.balances.contains_key(&movement.account) {
                self.balances.retain(|account, _| account.day >= oldest);
            }
            let balance = self.balances.entry(movement.account.clone()).or_default();
            *balance = balance.moved(movement);
        }
        let mission = self.missions.entry(append.mission).or_default();
        if let Some(head) = &append.head {
            mission.head = Some(Head::decode(append.mission, head).expect("what was encoded decodes"));
        }
        match &append.cursor {
            Some(CursorChange::Set(cursor)) => {
                mission.cursor = Some(cursor::decode(append.mission, cursor).expect("what was encoded decodes"));
            }
            Some(CursorChange::Remove) => mission.cursor = None,
            None => {}
        }
        if let Some(quarantine) = &append.quarantine {
            let decoded = Quarantine::decode(append.mission, &quarantine.bytes);
            mission.quarantine = Some(decoded.expect("what was encoded decodes"));
        }
        if let Some(frame) = &append.frame {
            let mut records = Vec::new();
            frame::decode((append.mission, frame.first), &frame.bytes, &mut records).expect("what was encoded decodes");
            mission.records.push(records);
        }
        let Some((first, count)) = append.told() else { return Ok(position) };
        let position = position + 1;
        self.feed.push(FeedEntry { position, mission: no, first, count });
        Ok(position)
    }
}

impl MemoryLog {
    /// The state, while it is not closed.
    fn open<T>(&self, act: impl FnOnce(&mut State) -> Result<T, WriteError>) -> Result<T, WriteError> {
        let mut state = self.state.lock();
        if state.closed { Err(WriteError::Closed) } else { act(&mut state) }
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
        Ok(admitted)
    }

    fn append(&self, append: Append) -> Result<(), WriteError> {
        match self.append_durable(append)?.wait() {
            // Nobody is told.
            Ok(_) | Err(WriteError::Conflict { .. } | WriteError::CursorMoved { .. }) => Ok(()),
            Err(error) => Err(error),
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
        self.open(|state| {
            state.last_no = state.last_no.max(mission.0);
            state.missions.remove(&mission.0);
            state.pins.remove(&mission.0);
            Ok(())
        })?;
        Ok(())
    }

    fn change_schedule(&self, change: ScheduleChange) -> Result<Receipt, WriteError> {
        self.open(|state| {
            state.fits(&change)?;
            state.change(change);
            Ok(self.receipt())
        })
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
            let no = state.actions.last_key_value().map_or(0, |(no, _)| *no) + 1;
            state.actions.insert(no, text);
            state.actions.retain(|kept, _| *kept > no.saturating_sub(ACTIONS_MAX));
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
        // One frame is never too few.
        let state = self.state.lock();
        let quarantine = state.missions.get(&mission.0).and_then(|mission| mission.quarantine.as_ref());
        if let Some(quarantine) = quarantine {
            let records = state.missions[&mission.0].records.iter().flatten();
            let read = records.take(quarantine.readable as usize).skip(first as usize).cloned();
            return Ok(read.chain(quarantine.behind(first)).collect());
        }
        let mut begin = 0;
        for frame in state.missions.get(&mission.0).iter().flat_map(|mission| &mission.records) {
            let end = begin + frame.len();
            if end > first as usize {
                return Ok(frame[(first as usize).saturating_sub(begin)..].to_vec());
            }
            begin = end;
        }
        Ok(Vec::new())
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
        for entries in state.feed.chunks(feed::ENTRIES_A_ROW_MAX) {
            let begin = entries[0].position;
            draft.push(Row::Feed(begin, feed::encode(begin, entries)))?;
        }
        let position = *self.position.borrow();
        draft.finish(Meta { commits: 1, position, last_no: state.last_no, ..Meta::NEW })
    }

    fn poisoned(&self) -> Option<WriteError> {
        None
    }

    fn failed(&self) -> Failure {
        Box::pin(std::future::pending())
    }

    fn close(&self) -> Result<(), WriteError> {
        self.state.lock().closed = true;
        Ok(())
    }
}
