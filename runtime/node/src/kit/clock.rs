//! Time that is skipped: it stands still as long as anybody does something, and then goes at once to the next thing that is due.
//!
//! The driver's tasks run on one thread, that of [`Clock::park`]'s runtime; the plugin runs on the sandbox's one thread. Nobody does
//! anything once the runtime has nothing to do, the journal nothing to write, each plugin waits for one of its calls, and the sandbox's
//! thread has gone over all that it was woken for. None of that is measured in real time, so that a busy machine changes nothing.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::SignedDuration;
use parking_lot::Mutex;
use sortie_ambient::{Abort, Ambient, BoxFuture};
use sortie_contract::Timestamp;
use sortie_journal::Stepper;
use sortie_sandbox::Sandbox;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// The longest that a case may take of its own time: more than any window, and an end to what would go on for ever.
const HORIZON: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// The most changes that share a commit.
const COMMIT_MAX: usize = 1_024;

/// See the module. Clones are the same clock.
#[derive(Clone)]
pub(super) struct Clock(Arc<Shared>);

struct Shared {
    begins: Timestamp,
    /// Where plugins run.
    sandbox: Sandbox,
    state: Mutex<State>,
    /// Something of what [`Clock::told`] tells has come.
    told: Notify,
}

#[derive(Default)]
struct State {
    steady: Duration,
    timers: BTreeMap<(Duration, u64), Waker>,
    last: u64,
    /// Of this life: what its tasks run on, and what writes its journal.
    tasks: Option<Handle>,
    stepper: Option<Stepper>,
    /// Things that are being done on other threads.
    busy: usize,
    guests: BTreeMap<u64, Stands>,
    /// Counts what plugins begin and end.
    turn: u64,
    /// The turn that has stood still for long enough.
    settled: u64,
    /// The turn of which somebody looks whether it does.
    settling: u64,
    told: Option<Told>,
}

/// How a plugin stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// It computes.
    Works,
    /// It waits for a call.
    Waits,
}

/// What the clock has to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// The node is to be lost here.
    Crash,
    /// Nothing is due any more, or it goes on for ever.
    Over,
}

impl Clock {
    pub(super) fn new(begins: Timestamp, sandbox: Sandbox) -> Self {
        Self(Arc::new(Shared { begins, sandbox, state: Mutex::default(), told: Notify::new() }))
    }

    /// A life begins.
    pub(super) fn begin(&self, tasks: Handle) {
        let mut state = self.0.state.lock();
        state.tasks = Some(tasks);
        state.told = None;
    }

    /// What writes the journal of this life.
    pub(super) fn writes(&self, stepper: Stepper) {
        self.0.state.lock().stepper = Some(stepper);
    }

    /// Everything that lies in the journal's queue is written.
    pub(super) fn flush(&self) {
        while self.commit() {}
    }

    /// A life is over: nothing that ran goes on, and nothing more is written.
    pub(super) fn end(&self) {
        let mut state = self.0.state.lock();
        let gone = (state.tasks.take(), state.stepper.take(), std::mem::take(&mut state.timers));
        state.guests.clear();
        state.busy = 0;
        drop(state);
        drop(gone);
    }

    /// The runtime's thread has nothing to do.
    pub(super) fn park(&self) {
        if self.commit() {
            return self.nudge();
        }
        let mut state = self.0.state.lock();
        if state.busy > 0 || state.guests.values().any(|stands| *stands == Stands::Works) {
            return;
        }
        if state.settled != state.turn {
            return self.settle(&mut state);
        }
        let Some(due) = state.timers.keys().next().map(|(at, _)| *at).filter(|at| *at <= HORIZON) else {
            state.told.get_or_insert(Told::Over);
            drop(state);
            return self.0.told.notify_one();
        };
        state.steady = state.steady.max(due);
        let now = state.steady;
        let later = state.timers.split_off(&(now, u64::MAX));
        let rings = std::mem::replace(&mut state.timers, later);
        // A plugin may wait for one of them by itself, with no task in between: it has its turn before time goes on.
        state.turn += u64::from(!state.guests.is_empty());
        drop(state);
        rings.into_values().for_each(Waker::wake);
        // Those who were woken may be gone.
        self.nudge();
    }

    /// Has the sandbox's thread go over what it was woken for; whoever goes on then has begun another turn.
    fn settle(&self, state: &mut State) {
        let turn = state.turn;
        if state.settling == turn {
            return;
        }
        state.settling = turn;
        let clock = self.clone();
        if let Some(tasks) = &state.tasks {
            tasks.spawn(async move {
                clock.0.sandbox.settles().await;
                let mut state = clock.0.state.lock();
                if state.turn == turn {
                    state.settled = turn;
                }
            });
        }
    }

    fn commit(&self) -> bool {
        let stepper = self.0.state.lock().stepper.take();
        let Some(stepper) = stepper else { return false };
        let wrote = stepper.queued() > 0 && stepper.commit(COMMIT_MAX).unwrap_or(false);
        self.0.state.lock().stepper.get_or_insert(stepper);
        wrote
    }

    /// Has the runtime's thread look once more.
    fn nudge(&self) {
        let tasks = self.0.state.lock().tasks.clone();
        if let Some(tasks) = tasks {
            tasks.spawn(async {});
        }
    }

    /// Somebody does something elsewhere, until what is returned is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.0.state.lock().busy += 1;
        Busy(self.clone())
    }

    /// A plugin begins.
    pub(super) fn guest(&self) -> Guest {
        let mut state = self.0.state.lock();
        state.last += 1;
        let no = state.last;
        state.guests.insert(no, Stands::Works);
        state.turn += 1;
        Guest { clock: self.clone(), no }
    }

    /// The node is to be lost here.
    pub(super) fn crash(&self) {
        self.0.state.lock().told.get_or_insert(Told::Crash);
        self.0.told.notify_one();
    }

    /// Resolves when there is something to tell.
    pub(super) async fn told(&self) -> Told {
        loop {
            if let Some(told) = self.0.state.lock().told {
                return told;
            }
            self.0.told.notified().await;
        }
    }
}

/// Somebody does something.
pub(super) struct Busy(Clock);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.0.state.lock();
        state.busy = state.busy.saturating_sub(1);
        state.turn += 1;
        drop(state);
        self.0.nudge();
    }
}

/// A plugin in memory.
pub(super) struct Guest {
    clock: Clock,
    no: u64,
}

impl Guest {
    /// It computes, or waits.
    pub(super) fn waits(&self, waits: bool) {
        self.stands(Some(if waits { Stands::Waits } else { Stands::Works }));
        if waits {
            self.clock.nudge();
        }
    }

    /// One of its calls has ended.
    pub(super) fn is_answered(&self) {
        self.stands(None);
    }

    /// It is out of memory.
    pub(super) fn leaves(&self) {
        let mut state = self.clock.0.state.lock();
        state.turn += u64::from(state.guests.remove(&self.no).is_some());
        drop(state);
        self.clock.nudge();
    }

    /// Something has become of it, and it stands otherwise, perhaps.
    fn stands(&self, otherwise: Option<Stands>) {
        let mut state = self.clock.0.state.lock();
        state.turn += 1;
        if let (Some(stands), Some(otherwise)) = (state.guests.get_mut(&self.no), otherwise) {
            *stands = otherwise;
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.leaves();
    }
}

impl Ambient for Clock {
    fn wall(&self) -> Timestamp {
        let steady = SignedDuration::try_from(self.steady()).unwrap_or(SignedDuration::MAX);
        self.0.begins.checked_add(steady).unwrap_or(Timestamp::MAX)
    }

    fn steady(&self) -> Duration {
        self.0.state.lock().steady
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let at = self.steady().saturating_add(duration);
        Box::pin(Sleep { clock: self.clone(), at, no: None })
    }

    fn spawn_boxed(&self, task: BoxFuture<'static, ()>) -> Abort {
        let tasks = self.0.state.lock().tasks.clone();
        let Some(tasks) = tasks else { return Abort::new(|| ()) };
        let handle = tasks.spawn(task).abort_handle();
        Abort::new(move || handle.abort())
    }

    fn unblock_boxed(&self, work: Box<dyn FnOnce() + Send>) {
        let tasks = self.0.state.lock().tasks.clone();
        if let Some(tasks) = tasks {
            // All that it may wait for is in memory.
            tasks.spawn(async move { work() });
        }
    }

    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn chance(&self) -> f64 {
        0.5
    }
}

struct Sleep {
    clock: Clock,
    at: Duration,
    no: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (shared, at, known) = (Arc::clone(&self.clock.0), self.at, self.no);
        let mut state = shared.state.lock();
        if at <= state.steady {
            return Poll::Ready(());
        }
        let no = known.unwrap_or_else(|| {
            state.last += 1;
            state.last
        });
        let before = state.timers.insert((at, no), context.waker().clone());
        drop(state);
        drop(before);
        self.no = Some(no);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(no) = self.no {
            let waker = self.clock.0.state.lock().timers.remove(&(self.at, no));
            drop(waker);
        }
    }
}
