//! Taking a run that only waits out of memory: when its plugin waits, since when, and on which timers.
//!
//! Owned here: the waits of one run and its timers, as this process sees them. When a run goes, the core says
//! ([`Mission::leaves`]); here it is measured and done. Never here: what is recorded of it, and how a mission comes back.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use parking_lot::Mutex;
use sortie_contract::Timestamp;
use sortie_contract::id::RunNo;
use sortie_journal::WriteError;
use sortie_mission::{Command, Idle, Leave, Mission, Refusal};

use super::Engine;
use super::live::{CommandError, Live, Wait};
use super::start::ROOM;

/// The waits of one run.
pub(super) struct Waits {
    engine: Arc<Engine>,
    live: Arc<Live>,
    run: RunNo,
    state: Mutex<State>,
}

/// How the guest stands. All times by the steady clock.
#[derive(Default)]
struct State {
    /// How often it has begun to wait.
    waits: u64,
    /// Since when it waits, while it does.
    since: Option<Duration>,
    /// Somebody watches: from a wait that may last to the first look that finds it going.
    watched: bool,
    /// When its timers are due. Those of dropped handles are among them, and wake in vain.
    timers: BTreeSet<Duration>,
}

/// A wait that somebody watches.
#[derive(Clone, Copy)]
struct Watched {
    wait: u64,
    records: u32,
    /// When these were first seen.
    since: Duration,
}

impl Waits {
    /// Of a run that begins.
    pub(super) fn new(engine: Arc<Engine>, live: Arc<Live>, run: RunNo) -> Self {
        Self { engine, live, run, state: Mutex::default() }
    }

    /// The guest begins to wait, or goes on.
    pub(super) fn turn(self: &Arc<Self>, waits: bool) {
        let steady = self.engine.ambient.steady();
        {
            let mut state = self.state.lock();
            state.since = waits.then_some(steady);
            state.waits += u64::from(waits);
        }
        if self.live.idles(waits, steady) {
            self.engine.watch(&self.live);
        }
        // Asked behind that: whoever puts a call off from here on finds that it waits.
        let for_others = |mission: &Mission| {
            let waits = mission.postponed_until().is_some() || mission.waits_for_children();
            waits || !mission.open_requests().is_empty()
        };
        if waits && self.live.with(for_others) {
            return self.watch();
        }
        if waits && !self.state.lock().timers.is_empty() {
            self.watch();
        }
    }

    /// From now on somebody looks whether it only waits, while it waits: for people, for a time, or for a call that was just put off.
    pub(super) fn watch(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if state.since.is_some() && !state.watched {
            state.watched = true;
            self.engine.attend("suspension", Arc::clone(self).suspend_when_idle());
        }
    }

    /// The guest, which does not wait, has set a timer that is due then.
    pub(super) fn set_timer(&self, due: Duration) {
        let steady = self.engine.ambient.steady();
        let mut state = self.state.lock();
        // Those that are due already concern no later wait.
        state.timers = state.timers.split_off(&steady);
        state.timers.insert(due);
    }

    /// The wait that lasts, its beginning, and when the first timer is due that was not due then. `None`, and nobody watches any
    /// more, if the guest does not wait.
    fn look(&self) -> Option<(u64, Duration, Option<Duration>)> {
        let mut state = self.state.lock();
        state.watched = state.since.is_some();
        let since = state.since?;
        Some((state.waits, since, state.timers.range((Excluded(since), Unbounded)).next().copied()))
    }

    /// Has the run dropped from memory once the core says so.
    async fn suspend_when_idle(self: Arc<Self>) {
        let mut watched = Watched { wait: 0, records: 0, since: Duration::ZERO };
        while self.live.with(Mission::run) == Some(self.run) {
            // Before the records are counted: a wait that ends from here on does so by what is recorded, or by a timer.
            let Some((wait, waits_since, timer)) = self.look() else { return };
            let steady = self.engine.ambient.steady();
            let waited = steady.saturating_sub(waits_since);
            let left = timer.map(|due| signed(due).saturating_sub(signed(steady)));
            let (records, leave) = self.live.with(|mission| {
                let records = mission.records();
                if (watched.wait, watched.records) != (wait, records) {
                    watched = Watched { wait, records, since: steady };
                }
                let quiet = steady.saturating_sub(watched.since);
                (records, mission.leaves(&Idle { waited, quiet, timer: left }))
            });
            let nap = match leave {
                Leave::NotYet { look_again_in } => look_again_in,
                Leave::Now { back_in } => match self.suspend(records, back_in) {
                    Err(CommandError::Refused(Refusal::Busy) | CommandError::Journal(WriteError::Overloaded)) => ROOM,
                    Ok(()) | Err(_) => return,
                },
            };
            self.engine.ambient.sleep(nap).await;
        }
    }

    fn suspend(&self, records: u32, back_in: Option<Duration>) -> Result<(), CommandError> {
        let wall = self.engine.ambient.wall();
        let until = back_in.map(|left| wall.checked_add(left).unwrap_or(Timestamp::MAX));
        self.engine.command(&self.live, Command::Suspend { run: self.run, records, until }, Wait::No).map(drop)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    duration.try_into().unwrap_or(SignedDuration::MAX)
}
