//! Taking a run that only waits out of memory: when its plugin waits, how long it has, and what for.
//!
//! Owned here: the waits of one run and its timers, as this process sees them. Never here: what is recorded of them, and how
//! a suspended mission comes back.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use parking_lot::Mutex;
use sortie_contract::Timestamp;
use sortie_contract::id::RunNo;
use sortie_journal::WriteError;
use sortie_mission::{Command, Mission, Refusal};

use super::Engine;
use super::live::{CommandError, Live, Wait};

/// How long a plugin that only waits for people, or for a late hour, stays in memory: long enough for an answer that comes at
/// once, too short to fill the memory with those that wait.
const GRACE: Duration = Duration::from_millis(500);

/// A plugin that waits for nothing but a timer stays in memory for so long: bringing it back costs a replay.
const NAP: Duration = Duration::from_secs(30);

/// The waits of one run.
pub(super) struct Waits {
    engine: Arc<Engine>,
    live: Arc<Live>,
    run: RunNo,
    /// Goes up each time that the guest begins or ends to wait; odd while it waits.
    turns: AtomicU64,
    /// Something watches over this wait already.
    watched: AtomicBool,
    /// When the timers of this run are due, by the steady clock. Those of dropped handles are among them, and wake in vain.
    timers: Mutex<Vec<Duration>>,
}

impl Waits {
    /// Of a run that begins.
    pub(super) fn new(engine: Arc<Engine>, live: Arc<Live>, run: RunNo) -> Self {
        let (turns, watched, timers) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::default());
        Self { engine, live, run, turns, watched, timers }
    }

    /// The guest begins to wait, or goes on.
    pub(super) fn turn(self: &Arc<Self>, waits: bool) {
        self.turns.fetch_add(1, SeqCst);
        let may_last = || {
            let asks = self.live.with(|mission| !mission.open_requests().is_empty());
            asks || !self.timers.lock().is_empty()
        };
        if waits && may_last() && !self.watched.swap(true, SeqCst) {
            self.engine.ambient.spawn(Arc::clone(self).suspend_when_idle()).detach();
        }
    }

    /// The guest has set a timer, which is due then by the steady clock.
    pub(super) fn set_timer(&self, due: Duration) {
        self.timers.lock().push(due);
    }

    /// When the first timer is due that is not due yet, by the steady clock.
    fn next_timer(&self) -> Option<Duration> {
        let steady = self.engine.ambient.steady();
        self.timers.lock().iter().copied().filter(|due| *due > steady).min()
    }

    /// Has the run dropped from memory once it has waited long enough for nothing but people, or a late hour.
    async fn suspend_when_idle(self: Arc<Self>) {
        // Which wait is watched, and since when.
        let mut watch = (0, Duration::ZERO);
        while self.live.with(Mission::run) == Some(self.run) {
            let turns = self.turns.load(SeqCst);
            if turns.is_multiple_of(2) {
                self.watched.store(false, SeqCst);
                // A wait that began in this very moment found it watched.
                if self.turns.load(SeqCst).is_multiple_of(2) || self.watched.swap(true, SeqCst) {
                    return;
                }
                continue;
            }
            let records = self.live.with(Mission::records);
            // Read before: one that is due meanwhile, and has not woken the guest yet, must not be lost.
            let next_timer = self.next_timer();
            let asks = self.live.with(|mission| !mission.open_requests().is_empty());
            if watch.0 != turns {
                watch = (turns, self.engine.ambient.steady());
            }
            self.engine.ambient.sleep(GRACE).await;
            let is_nap = !asks && self.engine.ambient.steady().saturating_sub(watch.1) < NAP;
            if is_nap || self.turns.load(SeqCst) != turns {
                continue;
            }
            let left = next_timer.map(|due| due.saturating_sub(self.engine.ambient.steady()));
            if left.map_or(!asks, |left| left <= GRACE * 2) {
                continue;
            }
            let wall = self.engine.ambient.wall();
            let until = left.map(|left| wall.checked_add(left).unwrap_or(Timestamp::MAX));
            match self.engine.command(&self.live, Command::Suspend { run: self.run, records, until }, Wait::No) {
                Err(CommandError::Refused(Refusal::Busy) | CommandError::Journal(WriteError::Overloaded)) => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}
