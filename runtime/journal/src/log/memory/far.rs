//! A log of a store in memory that is far away: what is handed over lies in a queue until whoever drives it sends it, and what
//! becomes of it on the way is theirs to say. What a simulation of several nodes stands on.
//!
//! It does by steps what the log in a database does by threads: one parcel at a time is on its way; it comes or does not, and that is heard or
//! not; after whatever was not heard the store is asked, and what has not come by then never does. A share is held for as long as
//! signs of life arrive, and that is certain by this node's own clock only.
//!
//! Schedules are none of it: a change of one goes through at once, and a fire of one is a mistake.

mod log;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_contract::MissionNo;
use tokio::sync::watch;

use super::{MemoryFleet, MemoryLog};
use crate::append::Append;
use crate::catalog::Catalog;
use crate::error::WriteError;
use crate::fleet::{self, Fleet, OwnedKeys};
use crate::head::Head;
use crate::journal::Receipt;
use crate::log::index::{Index, Leases};
use crate::log::{AdmitError, Log};
use crate::pin::Pinned;
use crate::room::{Load, Room};
use crate::writer::Waker;

/// What a message of this test's size may take: the queue is bounded by their number.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// What is asked of the store beside its one writer: whether that gets there, and back.
pub trait Road: Debug + Send + Sync {
    /// Resolves once what was sent has come, or is lost: false.
    fn passes(&self) -> BoxFuture<'static, bool>;
}

/// What becomes of a step on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It comes.
    Comes,
    /// It comes, and that is not heard.
    ComesUnheard,
    /// Nobody hears of it, and it may still come.
    Strays,
    /// It does not come, and nobody hears of that.
    IsLost,
    /// The store refuses it, for somebody else was in the way: it is to be sent again.
    Collides,
}

/// What was done of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// There was nothing to do.
    Nothing,
    /// It went as it should.
    On,
    /// It was not heard what became of it, or nobody answered.
    Astray,
    /// The store was asked what had become of it, and it was there.
    FoundThere,
    /// The same, and it was not.
    FoundMissing,
    /// It is sent again, for it collided.
    Again,
    /// Another has the share: this log takes nothing more.
    Fenced,
}

/// A log of [`MemoryFleet`] that is far from it.
#[derive(Debug)]
pub struct FarLog {
    near: Arc<Near>,
}

/// What drives a [`FarLog`]. It outlives it: what is on its way when a process ends may still come.
#[derive(Debug, Clone)]
pub struct FarLink {
    near: Arc<Near>,
}

#[derive(Debug)]
struct Near {
    store: MemoryLog,
    index: Mutex<Index>,
    leases: Leases,
    load: Arc<Load>,
    way: Mutex<Way>,
    road: Arc<dyn Road>,
    lease: Duration,
    /// `None` once another has the share.
    renewed: Mutex<Option<Renewed>>,
    card: Mutex<String>,
    /// Somebody waits for a sign of life to be heard of.
    wants_beat: AtomicBool,
    is_away: AtomicBool,
    is_closed: AtomicBool,
    failed: watch::Sender<Option<WriteError>>,
    /// How far it is heard to be durable.
    durable: watch::Sender<u64>,
    /// Grows with whatever is heard.
    heard: watch::Sender<u64>,
}

/// Until when a share is certainly held.
#[derive(Debug, Clone, Copy)]
struct Renewed {
    /// When the last sign of life was sent that was heard of.
    sent: Duration,
    /// Since when it never ran out.
    since: Duration,
}

#[derive(Debug, Default)]
struct Way {
    queue: VecDeque<Handed>,
    flight: Flight,
}

/// What lies in the queue.
#[derive(Debug)]
struct Handed {
    what: What,
    waker: Option<Waker>,
    /// The place that it takes until it is sent.
    room: Option<Room>,
}

#[derive(Debug)]
enum What {
    /// With the names of a mission that begins.
    Append(Append, Option<OwnedKeys>),
    Remove(MissionNo),
    Clocks(Vec<(MissionNo, u64)>),
    Action(String),
    Pin(MissionNo, Option<Pinned>),
    PruneFeed(u64),
    Barrier,
}

/// Where the parcel is that is on its way; one without anything in it is a sign of life.
#[derive(Debug, Default)]
enum Flight {
    #[default]
    None,
    Sent {
        parcel: Vec<Handed>,
        at: Duration,
    },
    /// It is there, and its answer is on the way.
    There {
        parcel: Vec<Handed>,
        at: Duration,
        came: Came,
    },
    /// Nobody heard what became of it.
    Unheard {
        parcel: Vec<Handed>,
        came: Option<Came>,
        /// It may still come.
        strays: bool,
    },
}

/// What the store made of a parcel: of each in it, or that it is another's.
type Came = Result<Vec<Result<(), WriteError>>, WriteError>;

impl MemoryFleet {
    /// As [`MemoryFleet::open`], far away: nothing gets to the store, no sign of life either, but by the link. Its queue takes so
    /// many messages. Each head is shown to `visit`, oldest first.
    ///
    /// # Panics
    /// As [`MemoryFleet::open`].
    pub fn open_far(
        &self,
        node: &str,
        messages_max: usize,
        road: Arc<dyn Road>,
        visit: &mut dyn FnMut(MissionNo, Head),
    ) -> (FarLog, FarLink) {
        let store = self.open(node, node);
        store.is_far();
        let mut catalog = Catalog::default();
        let heads: Vec<(MissionNo, Head)> = store.state.lock().heads().map(|(no, head)| (no, head.clone())).collect();
        for (no, head) in heads {
            catalog.insert(no, &head);
            visit(no, head);
        }
        let last_no = store.state.lock().last_no;
        let (now, lease, position) = (store.now(), self.lease(), *store.position.borrow());
        let near = Arc::new(Near {
            store,
            index: Mutex::new(Index { catalog, last_no, schedules: FxHashMap::default() }),
            leases: Leases::after(0),
            load: Load::new(messages_max, QUEUE_BYTES_MAX),
            way: Mutex::default(),
            road,
            lease,
            renewed: Mutex::new(Some(Renewed { sent: now, since: now })),
            card: Mutex::default(),
            wants_beat: AtomicBool::new(false),
            is_away: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            failed: watch::Sender::new(None),
            durable: watch::Sender::new(position),
            heard: watch::Sender::new(0),
        });
        (FarLog { near: Arc::clone(&near) }, FarLink { near })
    }
}

impl FarLink {
    /// Whether a step would do anything: something is to be sent, or is on its way.
    #[must_use]
    pub fn has_something(&self) -> bool {
        let way = self.near.way.lock();
        let is_open = self.near.failed.borrow().is_none();
        is_open && (!matches!(way.flight, Flight::None) || !way.queue.is_empty() || self.near.is_to_beat())
    }

    /// Whether the node is silent for longer than it should be: it is time for a sign of life.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.near.is_to_beat()
    }

    /// The next step of what is on its way: at most so many messages are sent together.
    pub fn step(&self, most: usize, fate: Fate) -> Went {
        let near = &*self.near;
        if near.failed.borrow().is_some() {
            return Went::Nothing;
        }
        let flight = std::mem::take(&mut near.way.lock().flight);
        let (next, went) = match flight {
            Flight::None => near.send(most),
            Flight::Sent { parcel, at } => near.comes(parcel, at, fate),
            Flight::There { parcel, at, came } if matches!(fate, Fate::Comes | Fate::Collides) => {
                (Flight::None, near.hears(parcel, at, came))
            }
            Flight::There { parcel, came, .. } => {
                near.is_away.store(true, Ordering::SeqCst);
                (Flight::Unheard { parcel, came: Some(came), strays: false }, Went::Astray)
            }
            Flight::Unheard { parcel, came, strays } => near.asks(parcel, came, strays, fate),
        };
        near.way.lock().flight = next;
        went
    }

    /// What was on its way when it was not heard of any more comes after all, unless the store was asked meanwhile: whether it is
    /// taken. `None`: nothing of that kind is on its way.
    pub fn comes_late(&self) -> Option<bool> {
        let mut way = self.near.way.lock();
        let Flight::Unheard { parcel, came: came @ None, strays: true } = &mut way.flight else { return None };
        let late = self.near.land(parcel);
        let is_taken = late.is_ok();
        *came = Some(late);
        Some(is_taken)
    }

    /// It was heard of all the while, up to now.
    pub fn stays_heard(&self) {
        if self.near.store.takes().is_ok()
            && let Some(renewed) = &mut *self.near.renewed.lock()
        {
            renewed.sent = self.near.store.now();
        }
    }

    /// Its process is gone: nobody hears of what is on its way, which may still come.
    pub fn ends(&self) {
        let mut way = self.near.way.lock();
        way.queue.clear();
        if let Flight::Sent { parcel, .. } = std::mem::take(&mut way.flight) {
            way.flight = Flight::Unheard { parcel, came: None, strays: true };
        }
    }

    /// Whether this log is the one that may write a mission, as the store has it.
    #[must_use]
    pub fn holds(&self, mission: MissionNo) -> bool {
        self.near.store.holds(mission)
    }

    /// Whether it takes nothing more.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.near.failed.borrow().is_some()
    }
}

impl Near {
    fn takes(&self) -> Result<(), WriteError> {
        if let Some(error) = &*self.failed.borrow() {
            return Err(error.clone());
        }
        if self.is_closed.load(Ordering::SeqCst) { Err(WriteError::Closed) } else { Ok(()) }
    }

    fn hand(&self, what: What, bytes: usize, room: Option<Room>, waker: Option<Waker>) -> Result<(), WriteError> {
        self.takes()?;
        let room = room.map_or_else(|| self.load.place(bytes), Ok)?;
        self.way.lock().queue.push_back(Handed { what, waker, room: Some(room) });
        Ok(())
    }

    fn told(&self, what: What, bytes: usize, room: Option<Room>) -> Result<Receipt, WriteError> {
        let (waker, receipt) = Receipt::pair();
        self.hand(what, bytes, room, Some(waker))?;
        Ok(receipt)
    }

    fn append(&self, mut append: Append, keys: Option<OwnedKeys>) -> Result<Receipt, WriteError> {
        // Fenced when it was handed over.
        append.lease = None;
        let (bytes, room) = (append.bytes(), append.room.take());
        self.told(What::Append(append, keys), bytes, room)
    }

    fn is_to_beat(&self) -> bool {
        let silent = |renewed: Renewed| self.store.now().saturating_sub(renewed.sent) >= self.lease / 3;
        self.wants_beat.load(Ordering::SeqCst) || self.renewed.lock().is_some_and(silent)
    }

    /// Takes what lies in the queue, or gives a sign of life.
    fn send(&self, most: usize) -> (Flight, Went) {
        let mut way = self.way.lock();
        if way.queue.is_empty() && !self.is_to_beat() {
            return (Flight::None, Went::Nothing);
        }
        let most = most.min(way.queue.len());
        let mut parcel: Vec<Handed> = way.queue.drain(..most).collect();
        parcel.iter_mut().for_each(|handed| handed.room = None);
        (Flight::Sent { parcel, at: self.store.now() }, Went::On)
    }

    fn comes(&self, mut parcel: Vec<Handed>, at: Duration, fate: Fate) -> (Flight, Went) {
        match fate {
            Fate::Comes => {
                let came = self.land(&mut parcel);
                (Flight::There { parcel, at, came }, Went::On)
            }
            Fate::ComesUnheard => {
                let came = self.land(&mut parcel);
                (Flight::Unheard { parcel, came: Some(came), strays: false }, Went::Astray)
            }
            Fate::Strays | Fate::IsLost => {
                (Flight::Unheard { parcel, came: None, strays: fate == Fate::Strays }, Went::Astray)
            }
            Fate::Collides => (Flight::Sent { parcel, at: self.store.now() }, Went::Again),
        }
    }

    /// The store takes it, or none of it.
    fn land(&self, parcel: &mut [Handed]) -> Came {
        // A sign of life, too.
        drop(self.store.takes()?);
        Fleet::say(&self.store, self.card.lock().clone());
        Ok(parcel.iter_mut().map(|handed| self.store.lands(&mut handed.what)).collect())
    }

    /// Whoever waits is told.
    fn hears(&self, parcel: Vec<Handed>, sent: Duration, came: Came) -> Went {
        let outcomes = match came {
            Ok(outcomes) => outcomes,
            Err(error) => {
                self.fails(&error, parcel);
                return Went::Fenced;
            }
        };
        self.is_heard(sent);
        let position = *self.store.position.borrow();
        self.durable.send_if_modified(|durable| std::mem::replace(durable, position) != position);
        for (handed, outcome) in parcel.into_iter().zip(outcomes) {
            if let Some(waker) = handed.waker {
                // One that is gone lost interest.
                let _ = waker.send(outcome.map(|()| position));
            }
        }
        Went::On
    }

    /// The store is asked, over a new connection: what has not come by then never does.
    fn asks(&self, parcel: Vec<Handed>, came: Option<Came>, strays: bool, fate: Fate) -> (Flight, Went) {
        if fate != Fate::Comes {
            self.is_away.store(true, Ordering::SeqCst);
            return (Flight::Unheard { parcel, came, strays }, Went::Astray);
        }
        let now = self.store.now();
        match (self.store.takes().map(drop), came) {
            (Err(error), _) => {
                self.fails(&error, parcel);
                (Flight::None, Went::Fenced)
            }
            (Ok(()), Some(came)) => {
                self.hears(parcel, now, came);
                (Flight::None, Went::FoundThere)
            }
            (Ok(()), None) => {
                self.is_heard(now);
                (Flight::Sent { parcel, at: now }, Went::FoundMissing)
            }
        }
    }

    /// A sign of life that was sent then was taken.
    fn is_heard(&self, sent: Duration) {
        self.is_away.store(false, Ordering::SeqCst);
        self.wants_beat.store(false, Ordering::SeqCst);
        let now = self.store.now();
        if let Some(renewed) = &mut *self.renewed.lock()
            && sent >= renewed.sent
        {
            if now.saturating_sub(renewed.sent) > self.lease {
                renewed.since = now;
            }
            renewed.sent = sent;
        }
        self.heard.send_modify(|heard| *heard += 1);
    }

    /// It takes nothing more, and those who wait are told.
    fn fails(&self, error: &WriteError, parcel: Vec<Handed>) {
        *self.renewed.lock() = None;
        self.failed.send_if_modified(|failed| failed.replace(error.clone()).is_none());
        let queue = std::mem::take(&mut self.way.lock().queue);
        for handed in parcel.into_iter().chain(queue) {
            if let Some(waker) = handed.waker {
                let _ = waker.send(Err(error.clone()));
            }
        }
        self.heard.send_modify(|heard| *heard += 1);
    }

    fn certain_for(&self) -> Duration {
        let Some(renewed) = *self.renewed.lock() else { return Duration::ZERO };
        (self.lease - fleet::margin(self.lease)).saturating_sub(self.store.now().saturating_sub(renewed.sent))
    }

    /// Whether others, who may have been cut off as this one was, would have been heard by now.
    fn judges_others(&self) -> bool {
        let since = self.renewed.lock().map(|renewed| self.store.now().saturating_sub(renewed.since));
        since.is_some_and(|since| since >= self.lease / 2) && !self.certain_for().is_zero()
    }

    /// What the store says that it is another's is the end.
    fn seen<T>(&self, outcome: Result<T, WriteError>) -> Result<T, WriteError> {
        if let Err(error @ (WriteError::Poisoned { .. } | WriteError::TakenOver)) = &outcome {
            self.fails(error, Vec::new());
        }
        outcome
    }

    async fn asked<T>(&self, question: BoxFuture<'_, Result<T, WriteError>>) -> Result<T, WriteError> {
        self.takes()?;
        if self.is_away.load(Ordering::SeqCst) || !self.road.passes().await {
            return Err(WriteError::Overloaded);
        }
        self.takes()?;
        let answer = self.seen(question.await)?;
        // What nobody hears of has happened all the same.
        if self.road.passes().await { Ok(answer) } else { Err(WriteError::Overloaded) }
    }
}

impl MemoryLog {
    fn lands(&self, what: &mut What) -> Result<(), WriteError> {
        // It is not asked for again.
        match std::mem::replace(what, What::Barrier) {
            What::Append(append, keys) => {
                let outcome = self.open(|state| {
                    let position = state.append(&append, *self.position.borrow())?;
                    self.position.send_if_modified(|before| std::mem::replace(before, position) != position);
                    Ok(())
                });
                if let (Some(seat), Some(keys), Ok(())) = (&self.seat, keys, &outcome) {
                    seat.keeps(keys.keys());
                }
                outcome
            }
            What::Remove(no) => match self.remove(no) {
                Ok(()) => Ok(()),
                Err(AdmitError::Write(error)) => Err(error),
                Err(AdmitError::Read(_)) => unreachable!("what is in memory can be read"),
            },
            What::Clocks(clocks) => self.keep_clocks(&clocks),
            What::Action(text) => self.act(text).map(drop),
            What::Pin(no, pin) => self.pin(no, pin.as_ref()).map(drop),
            What::PruneFeed(position) => self.prune_feed_before(position),
            What::Barrier => Ok(()),
        }
    }
}
