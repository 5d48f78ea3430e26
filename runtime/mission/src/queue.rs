//! Whose turn it is: the missions that wait, and the room that there is for them.
//!
//! The rules (contract reading, *Dispatch*):
//!
//! - a mission waits until its window is open, and no longer than its window lasts;
//! - missions of one session run one at a time, in the order of acceptance among those whose window is open;
//! - sessions take turns: one that was served goes to the back, so that a long backlog of one never holds up another;
//! - a lane runs as many missions as its concurrency says, the node as many as its own limit says;
//! - where nodes share a lane out, one runs no more of it than the part that it holds ([`crate::pool`]); while others lack some, it gives
//!   up what a mission had that runs no longer;
//! - a lane that is shut ([`Doors`]) gives no turns;
//! - where nothing runs, suspects come first, those before that have outlived fewer probations; each has the node for itself until it ends,
//!   leaves memory, or is accompanied.
//!
//! Every operation takes a time that is logarithmic in what waits. A waiting mission is a few entries of ordered maps, 110
//! to 210 bytes, whatever its envelope holds. The order does not depend on hashes or clocks: the same calls give
//! the same answers.

mod parts;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::mem;

use jiff::{SignedDuration, Timestamp};
use sortie_contract::digest::Digest;
use sortie_contract::id::{LaneId, MissionNo, SessionId, VpId};

use crate::pool::Part;

/// What the queue has to know of a mission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its number; lower is accepted earlier.
    pub no: MissionNo,
    /// Its session.
    pub session: (VpId, SessionId),
    /// Its lane.
    pub lane: LaneId,
    /// When its window opens.
    pub start_at: Option<Timestamp>,
    /// When its window closes.
    pub end_at: Option<Timestamp>,
    /// How many probations in a row it has outlived, where it may be what stops the node.
    pub suspicion: Option<u32>,
}

/// What a mission in the queue waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// That its window opens.
    Window,
    /// That the node gives turns again: it is paused.
    Node,
    /// The missions of its session that come first.
    Session {
        /// The one that has its turn, or the first of those that wait.
        first: MissionNo,
    },
    /// That its lane and its node open: they have hours.
    Hours {
        /// When that is; `None` where no end is in sight.
        until: Option<Timestamp>,
    },
    /// Room in its lane.
    Lane,
    /// The same, and this node has some: but others run what the lane has room for.
    LaneElsewhere,
    /// Room on the node: as many run as may, or one that may be what stops it has it for itself.
    Room,
}

/// For how long it is believed what doors said: whoever says it looks only so far ahead.
const BELIEVED: SignedDuration = SignedDuration::from_hours(24);

/// Whether a lane is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doors {
    /// Whether it gives turns.
    pub open: bool,
    /// Until when that holds; `None` where no end is in sight.
    pub until: Option<Timestamp>,
}

impl Doors {
    /// Those of a lane without hours.
    pub const OPEN: Self = Self { open: true, until: None };
}

/// The queue of a node.
///
/// A mission is pushed, and popped when it may run; whoever pops it owes a [`Queue::release`] when it runs no longer.
/// [`Queue::next_due`] says when to look again although nothing else happened.
#[derive(Debug, Clone)]
pub struct Queue {
    lanes: Vec<Lane>,
    running_max: usize,
    paused: bool,
    waiting: BTreeMap<MissionNo, Entry>,
    /// The next thing that time does to each waiting mission that has a window: opens it, or ends its wait.
    alarms: BTreeSet<(Micros, MissionNo)>,
    /// Waiting missions with an open window, by session and in the order of acceptance.
    open: BTreeSet<(SessionKey, MissionNo)>,
    /// Sessions whose first open mission may run as soon as its lane has room.
    ready: BTreeMap<SessionKey, Place>,
    /// Those of the waiting that are suspects, by the probations that they have outlived.
    suspects: BTreeSet<(u32, MissionNo)>,
    running: BTreeMap<MissionNo, Slot>,
    /// The suspect that has the node for itself.
    alone: Option<MissionNo>,
    /// Sessions with a running mission, and which.
    busy: BTreeMap<SessionKey, MissionNo>,
    /// Missions whose window closed while they waited and of which nobody has been told yet.
    overdue: Vec<MissionNo>,
    last_turn: u64,
    /// The time that windows were last held against.
    advanced_to: Micros,
    /// Nodes share lanes out.
    is_shared: bool,
}

#[derive(Debug, Clone)]
struct Lane {
    id: LaneId,
    concurrency: usize,
    /// Whether that is what the configuration says: one that it does not name runs one mission at a time here.
    is_configured: bool,
    /// What this node holds of it, where nodes share it out.
    part: Option<Part>,
    /// How often in a row nothing wanted what it holds besides what runs.
    rests: u32,
    running: usize,
    /// Its ready sessions; the one with the lowest turn is next.
    ready: BTreeSet<(u64, SessionKey)>,
    doors: Doors,
    /// When it was last looked at them; `None` before that.
    looked_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    session: SessionKey,
    /// [`Micros::MIN`] where the window has no start.
    start: Micros,
    /// [`Micros::MAX`] where the window has no end.
    end: Micros,
    lane: LaneIx,
    /// Where it is in `suspects`.
    suspicion: Option<u32>,
    /// Whether it is in `open`. Its alarm is then its end, else its start.
    is_open: bool,
}

/// Where a ready session stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    turn: u64,
    lane: LaneIx,
}

/// What a running mission takes up.
#[derive(Debug, Clone, Copy)]
struct Slot {
    session: SessionKey,
    lane: LaneIx,
}

type LaneIx = u16;

/// A point in time in microseconds: half the size of a timestamp, and a queue holds many.
type Micros = i64;

/// Stands for a session in eight bytes. Should two sessions ever share a key, they take turns as if they were one; nothing
/// else comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SessionKey(u64);

impl Lane {
    /// With the concurrency that is configured for it, if any is.
    fn new(id: LaneId, configured: Option<usize>, is_shared: bool) -> Self {
        Self {
            id,
            concurrency: configured.unwrap_or(1),
            is_configured: configured.is_some(),
            part: is_shared.then(Part::default),
            rests: 0,
            running: 0,
            ready: BTreeSet::new(),
            doors: Doors::OPEN,
            looked_at: None,
        }
    }
}

impl SessionKey {
    fn of((vp, session): &(VpId, SessionId)) -> Self {
        let mut text = Vec::with_capacity(vp.as_str().len() + session.as_str().len() + 1);
        text.extend_from_slice(vp.as_str().as_bytes());
        // No identifier holds a control character, so no two pairs give the same text.
        text.push(0);
        text.extend_from_slice(session.as_str().as_bytes());
        Self(Digest::of(&text).prefix())
    }
}

impl Queue {
    /// An empty queue for lanes with their concurrency, on a node that runs at most `running_max` missions.
    #[must_use]
    pub fn new(lanes: impl IntoIterator<Item = (LaneId, usize)>, running_max: usize) -> Self {
        Self {
            lanes: lanes.into_iter().map(|(id, concurrency)| Lane::new(id, Some(concurrency), false)).collect(),
            running_max,
            paused: false,
            waiting: BTreeMap::new(),
            alarms: BTreeSet::new(),
            open: BTreeSet::new(),
            ready: BTreeMap::new(),
            suspects: BTreeSet::new(),
            running: BTreeMap::new(),
            alone: None,
            busy: BTreeMap::new(),
            overdue: Vec::new(),
            last_turn: 0,
            advanced_to: Micros::MIN,
            is_shared: false,
        }
    }

    /// From now on there is room for so many missions in each of these lanes, and for `running_max` in all. What runs goes on, also where it is
    /// more than that.
    pub fn make_room(&mut self, lanes: &[(LaneId, usize)], running_max: usize) {
        self.running_max = running_max;
        for lane in &mut self.lanes {
            if let Some((_, concurrency)) = lanes.iter().find(|(id, _)| *id == lane.id) {
                (lane.concurrency, lane.is_configured) = (*concurrency, true);
            }
        }
    }

    /// Lets a mission wait. One that waits or runs already is left as it is.
    pub fn push(&mut self, mission: &Waiting) {
        let &Waiting { no, ref session, ref lane, start_at, end_at, suspicion } = mission;
        if self.waiting.contains_key(&no) || self.running.contains_key(&no) {
            return;
        }
        let entry = Entry {
            session: SessionKey::of(session),
            start: start_at.map_or(Micros::MIN, ceil),
            end: end_at.map_or(Micros::MAX, ceil),
            lane: self.lane(lane),
            suspicion,
            is_open: false,
        };
        self.waiting.insert(no, entry);
        self.suspects.extend(suspicion.map(|outlived| (outlived, no)));
        if entry.start == Micros::MIN {
            self.open(no);
        } else {
            self.alarms.insert((entry.start, no));
        }
    }

    /// The next mission that may run at `now`, if there is one and there is room. It takes its slot.
    pub fn pop(&mut self, now: Timestamp) -> Option<MissionNo> {
        let now = floor(now);
        self.advance(now);
        if self.paused || self.alone.is_some() || self.running.len() >= self.running_max {
            return None;
        }
        let suspect = if self.running.is_empty() { self.first_suspect() } else { None };
        self.alone = suspect;
        let no = suspect.or_else(|| self.first_in_turn())?;
        let Entry { session, lane, .. } = self.withdraw(no)?;
        self.running.insert(no, Slot { session, lane });
        let of = &mut self.lanes[usize::from(lane)];
        (of.running, of.rests) = (of.running + 1, 0);
        let before = self.busy.insert(session, no);
        debug_assert!(before.is_none(), "missions of one session run one at a time");
        self.refresh(session);
        Some(no)
    }

    /// Opens and shuts lanes, as `doors` says of each that has to be looked at again.
    pub fn open_lanes(&mut self, now: Timestamp, doors: impl Fn(&LaneId) -> Doors) {
        for lane in &mut self.lanes {
            // A clock that is set back is one more reason.
            let is_new = |at: Timestamp| at <= now && now.duration_since(at) < BELIEVED;
            let holds = lane.looked_at.is_some_and(is_new) && lane.doors.until.is_none_or(|until| now < until);
            if !holds {
                (lane.doors, lane.looked_at) = (doors(&lane.id), Some(now));
            }
        }
    }

    /// Whether a lane was open when it was last looked at.
    #[must_use]
    pub fn doors(&self, id: &LaneId) -> Doors {
        self.lanes.iter().find(|lane| lane.id == *id).map_or(Doors::OPEN, |lane| lane.doors)
    }

    /// The suspect that has the node for itself.
    #[must_use]
    pub fn alone(&self) -> Option<MissionNo> {
        self.alone
    }

    /// Others may run beside a suspect.
    pub fn accompany(&mut self, no: MissionNo) {
        self.alone.take_if(|alone| *alone == no);
    }

    /// Missions that waited until their window closed. They wait no longer.
    pub fn expired(&mut self, now: Timestamp) -> Vec<MissionNo> {
        self.advance(floor(now));
        mem::take(&mut self.overdue)
    }

    /// Takes a waiting mission out; says whether it was waiting.
    pub fn remove(&mut self, no: MissionNo) -> bool {
        if let Some(index) = self.overdue.iter().position(|&overdue| overdue == no) {
            self.overdue.remove(index);
            return true;
        }
        self.withdraw(no).is_some()
    }

    /// Gives the slot of a mission back: it ended, or gave its turn up. Says whether other nodes are to have it: they are to be told.
    pub fn release(&mut self, no: MissionNo) -> bool {
        let Some(slot) = self.running.remove(&no) else { return false };
        self.accompany(no);
        let lane = &mut self.lanes[usize::from(slot.lane)];
        lane.running -= 1;
        let yields = lane.part.as_mut().is_some_and(Part::yields);
        self.busy.remove(&slot.session);
        self.refresh(slot.session);
        yields
    }

    /// Why a mission waits at `now`: the first of the reasons, in the order in which they must go. `None` where it does not wait,
    /// or is about to be given its turn.
    #[must_use]
    pub fn waits_for(&self, no: MissionNo, now: Timestamp) -> Option<WaitsFor> {
        let entry = self.waiting.get(&no)?;
        if entry.start > floor(now) {
            return Some(WaitsFor::Window);
        }
        if self.paused {
            return Some(WaitsFor::Node);
        }
        let lane = &self.lanes[usize::from(entry.lane)];
        if !lane.doors.open {
            return Some(WaitsFor::Hours { until: lane.doors.until });
        }
        if let Some(first) = self.before(no, entry.session) {
            return Some(WaitsFor::Session { first });
        }
        if lane.running >= lane.concurrency {
            return Some(WaitsFor::Lane);
        }
        if lane.running >= lane.room() {
            return Some(WaitsFor::LaneElsewhere);
        }
        (self.running.len() >= self.running_max || self.alone.is_some()).then_some(WaitsFor::Room)
    }

    /// When a window opens or closes next among the waiting, or a lane that they wait for.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        if !self.overdue.is_empty() {
            return Some(Timestamp::MIN);
        }
        // Rounding up may lead past the last moment that can be named; nobody waits for that one.
        let alarm = self.alarms.first().map(|&(at, _)| Timestamp::from_microsecond(at).unwrap_or(Timestamp::MAX));
        let shut = self.lanes.iter().filter(|lane| !lane.doors.open && !lane.ready.is_empty());
        alarm.into_iter().chain(shut.filter_map(|lane| lane.doors.until)).min()
    }

    /// Stops giving turns, or goes on. What runs, runs on.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Whether it gives no turns.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// How many missions wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len() + self.overdue.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The missions that wait, in the order of acceptance.
    #[must_use]
    pub fn waiting(&self) -> Vec<MissionNo> {
        let mut all: Vec<MissionNo> = self.waiting.keys().chain(&self.overdue).copied().collect();
        all.sort_unstable();
        all
    }

    /// How many missions run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Opens windows and ends waits, up to `now`.
    fn advance(&mut self, now: Micros) {
        if now < self.advanced_to {
            self.set_back(now);
        }
        self.advanced_to = now;
        while let Some(&(at, no)) = self.alarms.first()
            && at <= now
        {
            if self.waiting.get(&no).is_some_and(|entry| entry.end <= now) {
                self.withdraw(no);
                self.overdue.push(no);
            } else {
                self.alarms.pop_first();
                self.open(no);
            }
        }
    }

    /// The window of a waiting mission is open.
    fn open(&mut self, no: MissionNo) {
        let Some(entry) = self.waiting.get_mut(&no) else { return };
        entry.is_open = true;
        let Entry { session, end, .. } = *entry;
        self.open.insert((session, no));
        if end != Micros::MAX {
            self.alarms.insert((end, no));
        }
        self.refresh(session);
    }

    /// The wall clock was set back: what had opened may not be open after all. Rare enough to look at everything.
    fn set_back(&mut self, now: Micros) {
        let early = |entry: &Entry| entry.is_open && entry.start > now;
        let shut: Vec<MissionNo> = self.waiting.iter().filter(|(_, entry)| early(entry)).map(|(&no, _)| no).collect();
        for no in shut {
            let Some(entry) = self.waiting.get_mut(&no) else { continue };
            entry.is_open = false;
            let Entry { session, start, end, .. } = *entry;
            self.open.remove(&(session, no));
            self.alarms.remove(&(end, no));
            self.alarms.insert((start, no));
            self.refresh(session);
        }
    }

    /// Takes a mission out of everything that speaks of waiting.
    fn withdraw(&mut self, no: MissionNo) -> Option<Entry> {
        let entry = self.waiting.remove(&no)?;
        if let Some(outlived) = entry.suspicion {
            self.suspects.remove(&(outlived, no));
        }
        if entry.is_open {
            self.open.remove(&(entry.session, no));
            self.alarms.remove(&(entry.end, no));
            self.refresh(entry.session);
        } else {
            self.alarms.remove(&(entry.start, no));
        }
        Some(entry)
    }

    /// The mission whose turn it is, as sessions and lanes have it.
    fn first_in_turn(&self) -> Option<MissionNo> {
        let free = self.lanes.iter().filter(|lane| lane.doors.open && lane.running < lane.room());
        let &(_, session) = free.filter_map(|lane| lane.ready.first()).min()?;
        self.first_open(session)
    }

    /// The first suspect that may run.
    fn first_suspect(&self) -> Option<MissionNo> {
        let may_run = |no: &MissionNo| {
            self.waiting.get(no).is_some_and(|entry| {
                let lane = &self.lanes[usize::from(entry.lane)];
                lane.doors.open
                    && lane.room() > 0
                    && self.ready.contains_key(&entry.session)
                    && self.first_open(entry.session) == Some(*no)
            })
        };
        self.suspects.iter().map(|&(_, no)| no).find(may_run)
    }

    /// The mission of a session that another one waits for.
    fn before(&self, no: MissionNo, session: SessionKey) -> Option<MissionNo> {
        let first = self.busy.get(&session).copied().or_else(|| self.first_open(session));
        first.filter(|first| *first != no)
    }

    fn first_open(&self, session: SessionKey) -> Option<MissionNo> {
        let &(found, no) = self.open.range((session, MissionNo(0))..).next()?;
        (found == session).then_some(no)
    }

    /// Brings a session's place in line with its missions. One that stays ready keeps its turn; one that becomes ready goes
    /// to the back.
    fn refresh(&mut self, session: SessionKey) {
        let first = if self.busy.contains_key(&session) { None } else { self.first_open(session) };
        let wanted = first.and_then(|no| self.waiting.get(&no)).map(|entry| entry.lane);
        let place = self.ready.get(&session).copied();
        if place.map(|place| place.lane) == wanted {
            return;
        }
        if let Some(Place { turn, lane }) = place {
            self.lanes[usize::from(lane)].ready.remove(&(turn, session));
            self.ready.remove(&session);
        }
        if let Some(lane) = wanted {
            let turn = place.map_or(self.last_turn + 1, |place| place.turn);
            self.last_turn = self.last_turn.max(turn);
            self.lanes[usize::from(lane)].ready.insert((turn, session));
            self.ready.insert(session, Place { turn, lane });
        }
    }

    /// The index of a lane. One that the configuration no longer names still serves what was accepted for it, one mission
    /// at a time.
    fn lane(&mut self, id: &LaneId) -> LaneIx {
        let index = self.lanes.iter().position(|lane| lane.id == *id).unwrap_or_else(|| {
            self.lanes.push(Lane::new(id.clone(), None, self.is_shared));
            self.lanes.len() - 1
        });
        LaneIx::try_from(index).expect("a configuration has no 65,536 lanes")
    }
}

/// The first whole microsecond that is not before `at`: a window never opens early.
fn ceil(at: Timestamp) -> Micros {
    let floor = floor(at);
    if at.subsec_nanosecond() % 1_000 == 0 { floor } else { floor + 1 }
}

/// The last whole microsecond that is not after `at`.
fn floor(at: Timestamp) -> Micros {
    let micros = at.as_microsecond();
    // Before 1970 the time is cut towards zero, which is later.
    if at.subsec_nanosecond() % 1_000 < 0 { micros - 1 } else { micros }
}

#[cfg(test)]
mod tests;
