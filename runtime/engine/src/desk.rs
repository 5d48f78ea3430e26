//! The desk: whose turn it is, and who is on the way to it. What intake and the scheduler share.
//!
//! It owns the queue and the arrivals, behind one lock that is held for microseconds: never over a read, an append or another
//! lock. Who may run when is the core's business ([`Queue`]); what is done with a turn is `start`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};

use parking_lot::Mutex;
use sortie_ambient::Surroundings;
use sortie_contract::{LaneId, MissionNo, Timestamp};
use sortie_mission::pool::{Offer, Others};
use sortie_mission::queue::{Doors, Queue, Waiting, WaitsFor};
use tokio::sync::Notify;

use super::hours::NodeHours;

/// The queue of a node, and what is about to join it.
pub(crate) struct Desk {
    inner: Mutex<Inner>,
    /// Whether some mission may have the node for itself: told without the lock, because each turn asks.
    may_be_alone: AtomicBool,
    hours: Arc<NodeHours>,
    /// There is something to say to the nodes that share lanes and budgets out with this one.
    short: Arc<Notify>,
}

struct Inner {
    queue: Queue,
    arrivals: Arrivals,
}

/// Missions between their number and their place in the queue. They get their numbers one after the other and may be handed over
/// in another order; a session's missions run in the order of their numbers. So each waits for those that have a lower one.
#[derive(Default)]
struct Arrivals {
    /// They have a number, and may come to nothing.
    announced: BTreeSet<MissionNo>,
    /// They are in the log's hand, and wait for those of a lower number.
    here: BTreeMap<MissionNo, Waiting>,
}

/// How busy a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turns {
    /// Missions that wait for their turn.
    pub queued: usize,
    /// Missions that have it.
    pub running: usize,
    /// Whether no turns are given.
    pub paused: bool,
}

/// What time has done to the queue.
pub(crate) struct Look {
    /// The time of the look.
    pub(crate) wall: Timestamp,
    /// Missions whose window closed while they waited.
    pub(crate) expired: Vec<MissionNo>,
    /// When there is something to see again.
    pub(crate) next_due: Option<Timestamp>,
}

impl Desk {
    pub(crate) fn new(queue: Queue, hours: Arc<NodeHours>) -> Self {
        let inner = Mutex::new(Inner { queue, arrivals: Arrivals::default() });
        Self { inner, may_be_alone: AtomicBool::new(false), hours, short: Arc::default() }
    }

    /// A mission has got its number, and will arrive or be withdrawn. To be called in the order of numbers.
    pub(crate) fn announce(&self, no: MissionNo) {
        self.inner.lock().arrivals.announced.insert(no);
    }

    /// It is in the log's hand: it waits for its turn. Says whether the queue's next alarm is another one now.
    pub(crate) fn arrive(&self, waiting: Waiting) -> bool {
        let mut inner = self.inner.lock();
        inner.arrivals.announced.remove(&waiting.no);
        inner.arrivals.here.insert(waiting.no, waiting);
        inner.settle()
    }

    /// It comes to nothing. Says whether the queue's next alarm is another one now.
    pub(crate) fn withdraw(&self, no: MissionNo) -> bool {
        let mut inner = self.inner.lock();
        inner.arrivals.announced.remove(&no);
        inner.settle()
    }

    /// Lets a mission wait for its turn.
    pub(crate) fn push(&self, waiting: &Waiting) {
        self.inner.lock().queue.push(waiting);
    }

    /// The next mission whose turn it is. It takes its slot.
    pub(crate) fn pop(&self, ambient: &Surroundings) -> Option<MissionNo> {
        let mut inner = self.inner.lock();
        // Read under the lock: threads that overtake each other must not look like a clock that was set back.
        let wall = ambient.wall();
        self.hours.let_in(&mut inner.queue, wall);
        let no = inner.queue.pop(wall);
        if no.is_none() && inner.queue.lacks() {
            self.short.notify_one();
        }
        if inner.queue.alone().is_some() {
            self.may_be_alone.store(true, Release);
        }
        no
    }

    /// Whether a mission has the node for itself.
    pub(crate) fn is_alone(&self, no: MissionNo) -> bool {
        self.may_be_alone.load(Acquire) && self.inner.lock().queue.alone() == Some(no)
    }

    /// Others may run beside a mission that had the node for itself.
    pub(crate) fn accompany(&self, no: MissionNo) {
        let mut inner = self.inner.lock();
        inner.queue.accompany(no);
        self.may_be_alone.store(inner.queue.alone().is_some(), Release);
    }

    /// A mission gives its slot back.
    pub(crate) fn release(&self, no: MissionNo) {
        if self.inner.lock().queue.release(no) {
            self.short.notify_one();
        }
    }

    /// What tells whoever waits for it that there is something to say about what nodes share out.
    pub(crate) fn short(&self) -> &Arc<Notify> {
        &self.short
    }

    /// What there is to say of each lane's part: see [`Queue::offers`].
    pub(crate) fn offers(&self, runs: bool, ambient: &Surroundings) -> Vec<(LaneId, Option<u64>, Offer)> {
        let mut inner = self.inner.lock();
        // As in `pop`.
        self.hours.let_in(&mut inner.queue, ambient.wall());
        inner.queue.offers(runs)
    }

    /// What came of it. Whether more missions may run than before.
    pub(crate) fn take(&self, lane: &LaneId, held: u64, others: Others) -> bool {
        self.inner.lock().queue.take(lane, held, others)
    }

    /// A mission waits no longer. Says whether it did.
    pub(crate) fn remove(&self, no: MissionNo) -> bool {
        let mut inner = self.inner.lock();
        let here = inner.arrivals.here.remove(&no).is_some();
        inner.queue.remove(no) || here
    }

    /// What time has done.
    pub(crate) fn look(&self, ambient: &Surroundings) -> Look {
        let mut inner = self.inner.lock();
        // As in `pop`.
        let wall = ambient.wall();
        self.hours.let_in(&mut inner.queue, wall);
        Look { wall, expired: inner.queue.expired(wall), next_due: inner.queue.next_due() }
    }

    /// Whether a lane is open now, and until when.
    pub(crate) fn doors(&self, lane: &LaneId, wall: Timestamp) -> Doors {
        if self.hours.is_always_open() {
            return Doors::OPEN;
        }
        let mut inner = self.inner.lock();
        self.hours.let_in(&mut inner.queue, wall);
        inner.queue.doors(lane)
    }

    /// There is room for so many missions in each lane, and in all of them.
    pub(crate) fn make_room(&self, lanes: &[(LaneId, usize)], running_max: usize) {
        self.inner.lock().queue.make_room(lanes, running_max);
    }

    /// Gives no more turns, or goes on.
    pub(crate) fn pause(&self, paused: bool) {
        self.inner.lock().queue.pause(paused);
    }

    /// Why a mission waits, where it does.
    pub(crate) fn waits_for(&self, no: MissionNo, wall: Timestamp) -> Option<WaitsFor> {
        self.inner.lock().queue.waits_for(no, wall)
    }

    pub(crate) fn turns(&self) -> Turns {
        let Inner { queue, arrivals } = &*self.inner.lock();
        Turns { queued: queue.len() + arrivals.here.len(), running: queue.running(), paused: queue.is_paused() }
    }
}

impl Inner {
    /// Lets those wait for their turn that nobody of a lower number can come before any more.
    fn settle(&mut self) -> bool {
        let due = self.queue.next_due();
        let Arrivals { announced, here } = &mut self.arrivals;
        while let Some(entry) = here.first_entry()
            && announced.first().is_none_or(|first| entry.key() < first)
        {
            self.queue.push(&entry.remove());
        }
        self.queue.next_due() != due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(no: u64) -> Waiting {
        let session = ("vp".parse().expect("an id"), "session".parse().expect("an id"));
        let lane = "lane".parse().expect("an id");
        Waiting { no: MissionNo(no), session, lane, start_at: None, end_at: None, suspicion: None }
    }

    fn next(desk: &Desk) -> Option<u64> {
        let mut inner = desk.inner.lock();
        let no = inner.queue.pop(Timestamp::UNIX_EPOCH)?;
        inner.queue.release(no);
        Some(no.0)
    }

    #[test]
    fn missions_wait_in_the_order_of_their_numbers_whoever_is_handed_over_first() {
        let desk = Desk::new(Queue::new([("lane".parse().expect("an id"), 8)], 8), Arc::default());
        (1..=4).for_each(|no| desk.announce(MissionNo(no)));
        desk.arrive(waiting(2));
        assert_eq!(next(&desk), None, "the first may still come");
        desk.arrive(waiting(4));
        desk.arrive(waiting(1));
        assert_eq!((next(&desk), next(&desk), next(&desk)), (Some(1), Some(2), None));
        assert_eq!(desk.turns().queued, 1);
        desk.withdraw(MissionNo(3));
        assert_eq!((next(&desk), next(&desk)), (Some(4), None));
    }

    #[test]
    fn one_that_ends_on_its_way_does_not_arrive() {
        let desk = Desk::new(Queue::new([("lane".parse().expect("an id"), 8)], 8), Arc::default());
        (1..=2).for_each(|no| desk.announce(MissionNo(no)));
        desk.arrive(waiting(2));
        desk.remove(MissionNo(2));
        desk.arrive(waiting(1));
        assert_eq!((next(&desk), next(&desk)), (Some(1), None));
    }
}
