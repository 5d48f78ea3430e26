//! Whose turn it is: the pure half of the courier. Knows missions and receivers, never what is sent; time is an argument, as a steady clock shows it.
//!
//! A mission is in one of three phases (below); one that is not here has nothing to send as far as anybody knows. What
//! the board keeps for each is tens of bytes: ten thousand missions whose receiver is dead cost next to nothing.
//!
//! How one receiver is kept from delaying the others:
//! - At most `per_receiver` attempts to one of them are in flight, and [`AILING_IN_FLIGHT_MAX`] once an attempt was not
//!   answered, until one is. What the answer was does not matter: who answers is alive, and a refusal of one mission's
//!   items says nothing of another's.
//! - An ailing receiver rests between attempts, longer after each, whoever of its missions is due: that it is down is known.
//! - All ailing receivers together get at most half of the places, so that there is room for the well ones however many are dead.
//! - Places go round: missions whose receiver is not known yet, well receivers, ailing receivers; among receivers, each in turn; and
//!   among the missions of one, each with [`STREAK`] items that it takes.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use sortie_contract::MissionNo;

/// Attempts in flight to a receiver that did not answer the last: enough to notice that it is back.
const AILING_IN_FLIGHT_MAX: usize = 2;

/// How long an ailing receiver rests after the first attempt that it did not answer; twice as long after each.
const REST: Duration = Duration::from_millis(50);

/// The longest of these rests: when it is back, its missions have waited so long at most.
const REST_MAX: Duration = Duration::from_secs(5);

/// Items of a mission that are delivered one after the other before others of its receiver have their turn: what was read of it to
/// make the first of them is good for the next ones too.
const STREAK: u8 = 8;

/// A receiver: `host:port`.
pub(crate) type Origin = Arc<str>;

/// What came of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// There was nothing to send.
    Quiet,
    /// The receiver took an item; there may be more.
    Delivered,
    /// The receiver answered, and did not take the item; the next attempt is due then.
    Refused(Duration),
    /// There was no answer; the next attempt is due then.
    Unanswered(Duration),
    /// An item was given up for now.
    Parked(Health),
    /// The receiver was not asked, which is no fault of its own (the outbox failed, a secret is missing); the next turn is due then.
    Troubled(Duration),
}

/// What a turn says of the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// It answered, whatever it was.
    Answered,
    /// It did not.
    Silent,
    /// It was not asked.
    Unknown,
}

impl Health {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Answered, Self::Silent, Self::Unknown];

    /// What an attempt that failed so is counted as.
    pub(crate) fn failure(self) -> &'static str {
        match self {
            Self::Answered => "refused",
            Self::Silent => "unanswered",
            Self::Unknown => "unsent",
        }
    }
}

impl Ended {
    fn health(self) -> Health {
        match self {
            Self::Delivered | Self::Refused(_) => Health::Answered,
            Self::Unanswered(_) => Health::Silent,
            Self::Quiet | Self::Troubled(_) => Health::Unknown,
            Self::Parked(health) => health,
        }
    }
}

/// Where a mission stands.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// It will be woken, and it is known where its first item goes.
    Announced,
    /// In a queue: the fresh ones', or its receiver's.
    Waiting,
    /// Somebody has taken it.
    Busy {
        /// Whether it holds a place at its receiver.
        placed: bool,
        /// Whether it was woken since it was taken: what it reads may be older than the news.
        again: bool,
    },
    /// Waits for its next attempt, due then. The heap may still hold earlier dates of it; this one counts.
    Resting(Duration),
}

#[derive(Debug)]
struct Seat {
    phase: Phase,
    /// Where its last item went, and so most likely its next.
    origin: Option<Origin>,
    /// Items that were delivered since others had their turn.
    streak: u8,
}

#[derive(Debug, Default)]
struct Receiver {
    /// Missions whose `origin` this is; without any, the receiver is forgotten.
    members: usize,
    in_flight: usize,
    ailing: bool,
    /// Attempts that were made since it is ailing.
    probes: u32,
    /// No attempt is made before, while it is ailing.
    rests_until: Duration,
    /// Whether it is in `recovering` of the board.
    recovering: bool,
    /// Whether it is in `well` or `ailing` of the board.
    listed: bool,
    waiting: VecDeque<MissionNo>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Board {
    in_flight_max: usize,
    per_receiver: usize,
    missions: FxHashMap<MissionNo, Seat>,
    receivers: FxHashMap<Origin, Receiver>,
    /// Missions of which no receiver is known yet.
    fresh: VecDeque<MissionNo>,
    /// Receivers that somebody waits for and that have a place, by health. Entries may be out of date; they are checked when taken.
    well: VecDeque<Origin>,
    ailing: VecDeque<Origin>,
    resting: BinaryHeap<Reverse<(Duration, MissionNo)>>,
    /// Ailing receivers that somebody waits for, and when the rest of each is over.
    recovering: BinaryHeap<Reverse<(Duration, Origin)>>,
    /// The time of the latest [`Board::rise`].
    now: Duration,
    in_flight: usize,
    ailing_in_flight: usize,
    /// Which of the three queues is looked at first.
    turn: u8,
}

impl Board {
    pub(crate) fn new(in_flight_max: usize, per_receiver: usize) -> Self {
        Self {
            in_flight_max,
            per_receiver,
            missions: FxHashMap::default(),
            receivers: FxHashMap::default(),
            fresh: VecDeque::new(),
            well: VecDeque::new(),
            ailing: VecDeque::new(),
            resting: BinaryHeap::new(),
            recovering: BinaryHeap::new(),
            now: Duration::ZERO,
            in_flight: 0,
            ailing_in_flight: 0,
            turn: 0,
        }
    }

    /// A mission comes whose items go to `origin`. Once it is woken it waits for its turn there, and nothing of it is read before.
    pub(crate) fn announce(&mut self, mission: MissionNo, origin: &Origin) {
        if let Entry::Vacant(vacant) = self.missions.entry(mission) {
            vacant.insert(Seat { phase: Phase::Announced, origin: None, streak: 0 });
            self.move_to(mission, origin);
        }
    }

    /// A mission that was announced comes to nothing.
    pub(crate) fn withdraw(&mut self, mission: MissionNo) {
        if self.missions.get(&mission).is_some_and(|seat| seat.phase == Phase::Announced) {
            self.forget(mission);
        }
    }

    /// The mission may have something to send. Says whether that is news, so that somebody should [`Board::take`].
    pub(crate) fn wake(&mut self, mission: MissionNo) -> bool {
        match self.missions.entry(mission) {
            Entry::Vacant(vacant) => {
                vacant.insert(Seat { phase: Phase::Waiting, origin: None, streak: 0 });
                self.fresh.push_back(mission);
                true
            }
            Entry::Occupied(mut seat) => match &mut seat.get_mut().phase {
                Phase::Announced => {
                    self.queue(mission);
                    true
                }
                Phase::Busy { again, .. } => {
                    *again = true;
                    false
                }
                Phase::Waiting | Phase::Resting(_) => false,
            },
        }
    }

    /// As [`Board::wake`], and does not let it wait for its next attempt.
    pub(crate) fn hurry(&mut self, mission: MissionNo) -> bool {
        match self.missions.get(&mission) {
            Some(Seat { phase: Phase::Resting(_), origin, .. }) => {
                if let Some(receiver) = origin.as_ref().and_then(|origin| self.receivers.get_mut(origin)) {
                    receiver.rests_until = self.now;
                }
                self.queue(mission);
                true
            }
            _ => self.wake(mission),
        }
    }

    /// The next mission to be served, if there is one and a place for it. Every one that is taken is given back with [`Board::finish`].
    pub(crate) fn take(&mut self) -> Option<MissionNo> {
        if self.in_flight >= self.in_flight_max {
            return None;
        }
        for _ in 0..3 {
            let turn = self.turn;
            self.turn = (turn + 1) % 3;
            let (mission, placed) = match turn {
                0 => (self.fresh.pop_front(), false),
                1 => (self.take_placed(false), true),
                _ => (self.take_placed(true), true),
            };
            if let Some(mission) = mission {
                self.in_flight += 1;
                self.seat(mission).phase = Phase::Busy { placed, again: false };
                return Some(mission);
            }
        }
        None
    }

    /// Asks for a place at `origin` for a mission that was taken, now that it is known where its item goes. Without one, the mission
    /// has been put into the receiver's queue, and its turn is over: it must not be finished.
    pub(crate) fn claim(&mut self, mission: MissionNo, origin: &Origin) -> bool {
        let seat = self.seat(mission);
        let Phase::Busy { placed, .. } = seat.phase else {
            unreachable!("only a mission that was taken claims a place")
        };
        let same = seat.origin.as_ref() == Some(origin);
        if placed && same {
            return true;
        }
        if placed {
            self.leave(mission);
        }
        if !same {
            self.move_to(mission, origin);
        }
        let receiver = self.receivers.get_mut(origin).expect("it has a member: this mission");
        // Who waits already goes first.
        let free = receiver.waiting.is_empty()
            && receiver.has_place(self.per_receiver)
            && !receiver.rests(self.now)
            && !(receiver.ailing && self.ailing_in_flight >= self.in_flight_max / 2);
        if free {
            receiver.attempt(self.now);
            self.ailing_in_flight += usize::from(receiver.ailing);
            if let Phase::Busy { placed, .. } = &mut self.seat(mission).phase {
                *placed = true;
            }
        } else {
            self.in_flight -= 1;
            self.queue(mission);
        }
        free
    }

    /// A mission that was taken gives its place back.
    pub(crate) fn finish(&mut self, mission: MissionNo, ended: Ended) {
        self.in_flight -= 1;
        let Phase::Busy { placed, again } = self.seat(mission).phase else {
            unreachable!("only a mission that was taken is finished")
        };
        if placed {
            match ended.health() {
                Health::Answered => self.judge(mission, false),
                Health::Silent => self.judge(mission, true),
                Health::Unknown => self.spare(mission),
            }
            self.leave(mission);
        }
        match ended {
            Ended::Delivered => self.go_on(mission),
            Ended::Quiet | Ended::Parked(_) if again => self.queue(mission),
            Ended::Quiet | Ended::Parked(_) => self.forget(mission),
            Ended::Refused(due) | Ended::Unanswered(due) | Ended::Troubled(due) => {
                self.seat(mission).phase = Phase::Resting(due);
                self.resting.push(Reverse((due, mission)));
            }
        }
    }

    /// Ends the rest of those whose next attempt is due, and of receivers.
    pub(crate) fn rise(&mut self, now: Duration) {
        self.now = now;
        while self.recovering.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            let Some(Reverse((_, origin))) = self.recovering.pop() else { break };
            if let Some(receiver) = self.receivers.get_mut(&origin) {
                receiver.recovering = false;
            }
            self.list(&origin);
        }
        while let Some(&Reverse((due, mission))) = self.resting.peek() {
            if due > now {
                return;
            }
            self.resting.pop();
            // Otherwise it was hurried, and this date is over.
            if self.missions.get(&mission).is_some_and(|seat| seat.phase == Phase::Resting(due)) {
                self.queue(mission);
            }
        }
    }

    /// When [`Board::rise`] has something to do next.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let mission = self.resting.peek().map(|Reverse((due, _))| *due);
        let receiver = self.recovering.peek().map(|Reverse((due, _))| *due);
        mission.into_iter().chain(receiver).min()
    }

    /// Whether a mission that was taken is still to be given back.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight > 0
    }

    /// Missions that may have something to send.
    pub(crate) fn len(&self) -> usize {
        self.missions.len()
    }

    fn seat(&mut self, mission: MissionNo) -> &mut Seat {
        self.missions.get_mut(&mission).expect("a mission keeps its seat until it is quiet")
    }

    /// Puts it at the end of its queue.
    fn queue(&mut self, mission: MissionNo) {
        let seat = self.seat(mission);
        (seat.phase, seat.streak) = (Phase::Waiting, 0);
        let Some(origin) = seat.origin.clone() else {
            self.fresh.push_back(mission);
            return;
        };
        self.receivers.get_mut(&origin).expect("it has a member: this mission").waiting.push_back(mission);
        self.list(&origin);
    }

    /// Puts one of which an item was delivered before the others of its receiver, while it has not had more than they.
    fn go_on(&mut self, mission: MissionNo) {
        let seat = self.seat(mission);
        let (Some(origin), true) = (seat.origin.clone(), seat.streak + 1 < STREAK) else { return self.queue(mission) };
        (seat.phase, seat.streak) = (Phase::Waiting, seat.streak + 1);
        self.receivers.get_mut(&origin).expect("it has a member: this mission").waiting.push_front(mission);
        self.list(&origin);
    }

    /// Lists the receiver where somebody waits for it and it has a place; once it has rested, if it is ailing.
    fn list(&mut self, origin: &Origin) {
        let Some(receiver) = self.receivers.get_mut(origin) else { return };
        if receiver.waiting.is_empty() || !receiver.has_place(self.per_receiver) || receiver.listed {
            return;
        }
        if receiver.rests(self.now) {
            if !receiver.recovering {
                receiver.recovering = true;
                self.recovering.push(Reverse((receiver.rests_until, Arc::clone(origin))));
            }
        } else {
            receiver.listed = true;
            let list = if receiver.ailing { &mut self.ailing } else { &mut self.well };
            list.push_back(Arc::clone(origin));
        }
    }

    /// A mission from the receiver whose turn it is, with a place at it.
    fn take_placed(&mut self, ailing: bool) -> Option<MissionNo> {
        if ailing && self.ailing_in_flight >= self.in_flight_max / 2 {
            return None;
        }
        loop {
            let list = if ailing { &mut self.ailing } else { &mut self.well };
            let origin = list.pop_front()?;
            let Some(receiver) = self.receivers.get_mut(&origin) else { continue };
            receiver.listed = false;
            let fits = receiver.ailing == ailing && receiver.has_place(self.per_receiver) && !receiver.rests(self.now);
            let mission = if fits { receiver.waiting.pop_front() } else { None };
            if mission.is_some() {
                receiver.attempt(self.now);
                self.ailing_in_flight += usize::from(ailing);
            }
            self.list(&origin);
            if mission.is_some() {
                return mission;
            }
        }
    }

    /// Gives its place at its receiver back.
    fn leave(&mut self, mission: MissionNo) {
        let seat = self.seat(mission);
        if let Phase::Busy { placed, .. } = &mut seat.phase {
            *placed = false;
        }
        let Some(origin) = seat.origin.clone() else { unreachable!("a place is at a receiver") };
        let receiver = self.receivers.get_mut(&origin).expect("it has a member: this mission");
        receiver.in_flight -= 1;
        self.ailing_in_flight -= usize::from(receiver.ailing);
        self.list(&origin);
    }

    /// The receiver at which the mission has a place was not asked after all: another may ask it at once.
    fn spare(&mut self, mission: MissionNo) {
        let Some(origin) = self.seat(mission).origin.clone() else { return };
        let receiver = self.receivers.get_mut(&origin).expect("it has a member: this mission");
        receiver.probes = receiver.probes.saturating_sub(1);
        receiver.rests_until = self.now;
    }

    /// Notes the health of the receiver at which the mission has a place.
    fn judge(&mut self, mission: MissionNo, ailing: bool) {
        let Some(origin) = self.seat(mission).origin.clone() else { return };
        let receiver = self.receivers.get_mut(&origin).expect("it has a member: this mission");
        if receiver.ailing == ailing {
            return;
        }
        receiver.ailing = ailing;
        (receiver.probes, receiver.rests_until) = (0, self.now + REST);
        // An entry in the list of its former health is found out of date there, and listed anew.
        if ailing {
            self.ailing_in_flight += receiver.in_flight;
        } else {
            self.ailing_in_flight -= receiver.in_flight;
            // Its missions must not stay behind in a list that may not be looked at for long.
            if receiver.listed {
                receiver.listed = false;
                self.ailing.retain(|listed| *listed != origin);
                self.list(&origin);
            }
        }
    }

    fn move_to(&mut self, mission: MissionNo, origin: &Origin) {
        self.part(mission);
        let receiver = self.receivers.entry(Arc::clone(origin)).or_default();
        receiver.members += 1;
        // One text for all members.
        let shared = self.receivers.get_key_value(origin).map(|(shared, _)| Arc::clone(shared));
        self.seat(mission).origin = shared;
    }

    /// Takes the mission from its receiver's members.
    fn part(&mut self, mission: MissionNo) {
        let Some(origin) = self.seat(mission).origin.take() else { return };
        let receiver = self.receivers.get_mut(&origin).expect("it has a member: this mission");
        receiver.members -= 1;
        if receiver.members == 0 {
            debug_assert!(receiver.in_flight == 0 && receiver.waiting.is_empty(), "only members wait or have a place");
            self.receivers.remove(&origin);
        }
    }

    fn forget(&mut self, mission: MissionNo) {
        self.part(mission);
        self.missions.remove(&mission);
        // A burst should not cost memory for ever.
        if self.missions.is_empty() {
            self.missions.shrink_to(1_024);
            self.fresh.shrink_to(1_024);
        }
    }
}

impl Receiver {
    /// Whether one more attempt may be in flight, of so many to one that is well.
    fn has_place(&self, per_receiver: usize) -> bool {
        self.in_flight < if self.ailing { per_receiver.min(AILING_IN_FLIGHT_MAX) } else { per_receiver }
    }

    /// Whether it is ailing, and not to be asked again yet.
    fn rests(&self, now: Duration) -> bool {
        self.ailing && self.rests_until > now
    }

    /// Begins an attempt.
    fn attempt(&mut self, now: Duration) {
        self.in_flight += 1;
        if self.ailing {
            self.probes += 1;
            self.rests_until = now + REST.saturating_mul(1 << self.probes.min(16)).min(REST_MAX);
        }
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
