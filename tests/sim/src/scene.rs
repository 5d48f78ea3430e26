//! What a crash of the node does not touch, and all lives of it share: the dice, the clocks, the world outside, and what has been read
//! back from its journal.
//!
//! All of it is asked from within the node's tasks (a tool is called, an event arrives), so each part has a lock. There is one
//! thread: whoever holds one of them must not ask for it again.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use sortie_contract::record::Record;
use sortie_contract::{MissionNo, Timestamp};
use sortie_journal::MemoryFleet;
use tokio::sync::Notify;

use crate::executor::Executor;
use crate::history::History;
use crate::ledger::{Ledger, Side, Source};
use crate::outside::{Client, Outside};
use crate::shop;

/// See the module.
pub(crate) struct Scene {
    pub(crate) clock: Clock,
    dice: Mutex<Rng>,
    history: Mutex<History>,
    outside: Mutex<Outside>,
    ledger: Mutex<Ledger>,
    /// Where the ledger is read from: the journal of the life that there is.
    source: Mutex<Option<Source>>,
    /// Where many nodes have one.
    pub(crate) store: Option<MemoryFleet>,
    /// Something may have been written since the ledger was read.
    stale: AtomicBool,
    /// Something is new in the shop.
    pub(crate) shop_news: Notify,
}

impl Scene {
    pub(crate) fn new(dice: Rng, wall: Timestamp, outside: Outside) -> Self {
        Self {
            clock: Clock::new(wall),
            dice: Mutex::new(dice),
            history: Mutex::default(),
            outside: Mutex::new(outside),
            ledger: Mutex::default(),
            source: Mutex::new(None),
            store: None,
            stale: AtomicBool::new(true),
            shop_news: Notify::new(),
        }
    }

    /// The same, of many nodes on one store.
    pub(crate) fn on(store: MemoryFleet, dice: Rng, wall: Timestamp, outside: Outside) -> Self {
        let source = Mutex::new(Some(Source::Store(store.clone())));
        Self { source, store: Some(store), ..Self::new(dice, wall, outside) }
    }

    /// Time passes, wherever there is a clock.
    pub(crate) fn pass(&self, duration: Duration) {
        self.clock.pass(duration);
        if let Some(store) = &self.store {
            store.pass(duration);
        }
    }

    pub(crate) fn roll<T>(&self, roll: impl FnOnce(&mut Rng) -> T) -> T {
        roll(&mut self.dice.lock())
    }

    /// One of so many times.
    pub(crate) fn one_in(&self, sides: u32) -> bool {
        self.roll(|rng| rng.u32(..sides) == 0)
    }

    pub(crate) fn count(&self, what: &'static str) {
        self.history.lock().count(what);
    }

    pub(crate) fn line(&self, text: &str) {
        self.history.lock().line(self.clock.wall(), text);
    }

    pub(crate) fn tell(&self, client: usize, what: &str) {
        self.line(&format!("m{client}: {what}"));
    }

    /// Something becomes new in the shop.
    pub(crate) fn in_shop(&self, what: &str, change: impl FnOnce(&mut shop::State)) {
        self.line(what);
        self.outside(|outside| change(&mut outside.shop));
        self.shop_news.notify_one();
    }

    /// A record, in words and in numbers.
    pub(crate) fn note(&self, client: usize, record: &Record) {
        self.tell(client, &format!("{record:?}"));
        self.count(match record {
            Record::Requested { kind, .. } => kind.as_str(),
            Record::Elicited { .. } => "tool that asks",
            Record::Withdrawn { .. } => "question that is taken back",
            Record::ChildAsks { .. } => "child that asks",
            Record::ChildHeard { .. } => "child that asks no more",
            Record::Reminded { .. } => "reminded",
            Record::Heartbeat => "heartbeat",
            Record::CallAgain { .. } => "call that is paid for again",
            Record::Overbilled { .. } => "overbilled",
            Record::Suspended { .. } => "suspended",
            Record::Postponed { .. } => "call that is put off",
            Record::PaymentAwaited { .. } => "call that waits for its payment",
            Record::Closing { limit } => limit.code(),
            Record::Landing { .. } => "landing",
            Record::CarriedOver { .. } => "carried over",
            Record::Finished { reason, .. } => reason.as_str(),
            _ => return,
        });
    }

    pub(crate) fn take_history(&self) -> History {
        std::mem::take(&mut self.history.lock())
    }

    pub(crate) fn outside<T>(&self, look: impl FnOnce(&mut Outside) -> T) -> T {
        look(&mut self.outside.lock())
    }

    pub(crate) fn client<T>(&self, client: usize, look: impl FnOnce(&mut Client) -> T) -> T {
        look(&mut self.outside.lock().clients[client])
    }

    /// Where the life that begins writes; none, once that is over.
    pub(crate) fn opens(&self, source: Option<Source>) {
        *self.source.lock() = source;
        self.written();
    }

    /// Something was written, perhaps.
    pub(crate) fn written(&self) {
        self.stale.store(true, Relaxed);
    }

    /// What is on disk at this moment.
    pub(crate) fn ledger<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        let mut ledger = self.ledger.lock();
        if let Some(source) = &*self.source.lock()
            && self.stale.swap(false, Relaxed)
        {
            ledger.follow(self, source);
        }
        look(&ledger)
    }

    /// What is on disk of a client's mission; nothing, where it has none there.
    pub(crate) fn side<T>(&self, client: usize, look: impl FnOnce(&Side) -> T) -> Option<T> {
        self.ledger(|ledger| ledger.of(client).map(look))
    }

    /// Whether somebody is known who has a mission of that name: all but children are from the beginning.
    pub(crate) fn meets(&self, mission_id: &str) -> bool {
        if !self.outside(|outside| outside.families) {
            return true;
        }
        self.ledger(|_| ());
        self.outside(|outside| outside.clients.iter().any(|client| client.envelope.mission_id.as_str() == mission_id))
    }

    /// Whether a client's mission is, or will be, that life's to write: another node may have it by now.
    pub(crate) fn is_held(&self, executor: &Executor, client: usize) -> bool {
        self.store.is_none() || self.no_of(client).is_none_or(|no| executor.holds(no))
    }

    /// The number of a client's mission, where it is on disk.
    pub(crate) fn no_of(&self, client: usize) -> Option<MissionNo> {
        self.side(client, |side| side.no)
    }

    /// Replaces what was read back from a life that is over with what the next one finds; and gives it out.
    pub(crate) fn replace_ledger(&self, next: Ledger) -> Ledger {
        std::mem::replace(&mut self.ledger.lock(), next)
    }
}

/// The clocks: one that jumps, and one that does not.
pub(crate) struct Clock(Mutex<Times>);

struct Times {
    wall: Timestamp,
    steady: Duration,
    was_set_back: bool,
    /// The latest that the wall clock has shown.
    latest: Timestamp,
}

impl Clock {
    fn new(wall: Timestamp) -> Self {
        Self(Mutex::new(Times { wall, steady: Duration::ZERO, was_set_back: false, latest: wall }))
    }

    pub(crate) fn wall(&self) -> Timestamp {
        self.0.lock().wall
    }

    pub(crate) fn steady(&self) -> Duration {
        self.0.lock().steady
    }

    /// Whether the wall clock was set back some time: what had begun in its window may now be before it.
    pub(crate) fn was_set_back(&self) -> bool {
        self.0.lock().was_set_back
    }

    /// The latest that the wall clock has shown.
    pub(crate) fn latest(&self) -> Timestamp {
        self.0.lock().latest
    }

    pub(crate) fn pass(&self, duration: Duration) {
        let mut times = self.0.lock();
        times.steady += duration;
        times.wall += duration;
        times.latest = times.latest.max(times.wall);
    }

    /// Somebody sets the wall clock.
    pub(crate) fn set(&self, by: Duration, back: bool) {
        let mut times = self.0.lock();
        times.was_set_back |= back;
        if back {
            times.wall -= by;
        } else {
            times.wall += by;
            times.latest = times.latest.max(times.wall);
        }
    }
}
