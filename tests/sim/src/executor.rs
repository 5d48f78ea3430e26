//! What the driver's tasks run on, in a simulation: one thread, and whoever drives it says which task goes on next.
//!
//! An executor is one life of a node: it goes with a crash, and everything that ran on it goes with it. Tasks, work that may
//! block, timers and gates (see [`Executor::pass`]) are all here, in the order of their numbers; nothing happens by itself.
//! Which of them is next, and how time passes, is the world's choice.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use sortie_ambient::{Abort, Ambient, BoxFuture};
use sortie_contract::{MissionNo, Timestamp};
use sortie_journal::Stepper;

use crate::scene::Scene;

/// The most changes that share a commit.
pub(crate) const COMMIT_MAX: usize = 16;

/// What writes the log of a life, when it is told to.
pub(crate) trait Pen: Send {
    /// Whether there is anything to write.
    fn has_something(&self) -> bool;

    /// Writes some of it. A failure is the log's, and is looked for there.
    fn write(&self, scene: &Scene);

    /// The same for somebody who waits for room and can do nothing else: nothing holds it up.
    fn hurry(&self, scene: &Scene) {
        self.write(scene);
    }

    /// Whether it is this life that may write a mission.
    fn holds(&self, no: MissionNo) -> bool;

    /// Whether whoever reads waits.
    fn is_away(&self) -> bool {
        false
    }
}

impl Pen for Stepper {
    fn has_something(&self) -> bool {
        self.queued() > 0
    }

    fn write(&self, scene: &Scene) {
        let most = scene.roll(|rng| rng.usize(1..=COMMIT_MAX));
        scene.written();
        drop(self.commit(most));
    }

    fn holds(&self, _: MissionNo) -> bool {
        true
    }
}

/// See the module.
pub(crate) struct Executor {
    scene: Arc<Scene>,
    this: Weak<Self>,
    /// Which node it is.
    pub(crate) node: usize,
    inner: Mutex<Inner>,
    ready: Arc<Ready>,
    /// Writes the log; none, once the node is gone.
    pen: Mutex<Option<Box<dyn Pen>>>,
    gone: AtomicBool,
    /// Whoever wants to sleep from now on panics.
    broken: AtomicBool,
}

#[derive(Default)]
struct Inner {
    last: u64,
    /// `None` while it is polled.
    tasks: BTreeMap<u64, Option<BoxFuture<'static, ()>>>,
    aborted: BTreeSet<u64>,
    works: BTreeMap<u64, Box<dyn FnOnce() + Send>>,
    timers: BTreeMap<(Duration, u64), Waker>,
    gates: BTreeMap<u64, Gate>,
}

/// Somebody who waits until the world lets it go on.
struct Gate {
    open: bool,
    waker: Waker,
}

/// Tasks that have something to do. A set: in which order they were woken must not matter, for some of those who wake draw lots of their
/// own.
#[derive(Default)]
struct Ready(Mutex<BTreeSet<u64>>);

struct Awake {
    ready: Arc<Ready>,
    task: u64,
}

impl Wake for Awake {
    fn wake(self: Arc<Self>) {
        self.ready.0.lock().insert(self.task);
    }
}

/// Something that can be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A task goes on.
    Task(u64),
    /// Work that may block is done.
    Work(u64),
    /// Somebody who waits for the world goes on.
    Gate(u64),
    /// What lies in the journal's queue is written.
    Commit,
}

impl Executor {
    pub(crate) fn new(scene: Arc<Scene>, node: usize, pen: impl Pen + 'static) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            scene,
            this: Weak::clone(this),
            node,
            inner: Mutex::default(),
            ready: Arc::default(),
            pen: Mutex::new(Some(Box::new(pen))),
            gone: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        })
    }

    /// Everything that can be done next.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut all: Vec<Step> = self.ready.0.lock().iter().copied().map(Step::Task).collect();
        let inner = self.inner.lock();
        let pen = self.pen.lock();
        if !pen.as_ref().is_some_and(|pen| pen.is_away()) {
            all.extend(inner.works.keys().copied().map(Step::Work));
        }
        all.extend(inner.gates.iter().filter(|(_, gate)| !gate.open).map(|(no, _)| Step::Gate(*no)));
        drop(inner);
        if pen.as_ref().is_some_and(|pen| pen.has_something()) {
            // It serves many: it needs its share.
            all.extend([Step::Commit; 3]);
        }
        all
    }

    /// Does it.
    pub(crate) fn take(&self, step: Step) {
        match step {
            Step::Task(no) => self.poll(no),
            Step::Work(no) => {
                let work = self.inner.lock().works.remove(&no);
                work.expect("it was listed")();
                self.scene.written();
            }
            Step::Gate(no) => {
                let mut inner = self.inner.lock();
                let gate = inner.gates.get_mut(&no).expect("it was listed");
                gate.open = true;
                gate.waker.wake_by_ref();
            }
            Step::Commit => {
                if let Some(pen) = &*self.pen.lock() {
                    pen.write(&self.scene);
                }
            }
        }
    }

    /// Whether it is this life that may write a mission; not, once it is gone.
    pub(crate) fn holds(&self, no: MissionNo) -> bool {
        self.pen.lock().as_ref().is_some_and(|pen| pen.holds(no))
    }

    fn poll(&self, no: u64) {
        self.ready.0.lock().remove(&no);
        let mut inner = self.inner.lock();
        let Some(place) = inner.tasks.get_mut(&no) else { return };
        let mut task = place.take().expect("a task is not polled while it is polled");
        let is_aborted = inner.aborted.remove(&no);
        drop(inner);
        if is_aborted {
            drop(task);
            self.inner.lock().tasks.remove(&no);
            return;
        }
        let waker = Waker::from(Arc::new(Awake { ready: Arc::clone(&self.ready), task: no }));
        let polled = task.as_mut().poll(&mut Context::from_waker(&waker));
        match polled {
            Poll::Pending => drop(self.inner.lock().tasks.insert(no, Some(task))),
            Poll::Ready(()) => {
                drop(task);
                let mut inner = self.inner.lock();
                inner.tasks.remove(&no);
                inner.aborted.remove(&no);
            }
        }
    }

    /// Time has passed: whoever waits for it is woken.
    pub(crate) fn ring(&self) {
        let steady = self.scene.clock.steady();
        let mut inner = self.inner.lock();
        let later = inner.timers.split_off(&(steady, u64::MAX));
        let due = std::mem::replace(&mut inner.timers, later);
        drop(inner);
        due.into_values().for_each(Waker::wake);
    }

    /// When timers ring, by the steady clock.
    pub(crate) fn timers(&self) -> Vec<Duration> {
        self.inner.lock().timers.keys().map(|(at, _)| *at).collect()
    }

    /// Waits until the world lets whoever calls go on: a tool's work, an answer on its way, a plugin's computing.
    pub(crate) fn pass(&self) -> impl Future<Output = ()> + Send + use<> {
        Passing { executor: Weak::clone(&self.this), no: None }
    }

    /// From now on whoever wants to sleep panics.
    #[cfg(test)]
    pub(crate) fn breaks(&self) {
        self.broken.store(true, Relaxed);
    }

    /// The node is gone: nothing that ran goes on, nothing more is written.
    pub(crate) fn die(&self) {
        self.gone.store(true, Relaxed);
        drop(self.pen.lock().take());
        // What goes may begin something else on its way.
        loop {
            let inner = std::mem::take(&mut *self.inner.lock());
            if inner.tasks.is_empty() && inner.works.is_empty() {
                return;
            }
            drop(inner);
        }
    }
}

impl Ambient for Executor {
    fn wall(&self) -> Timestamp {
        self.scene.clock.wall()
    }

    fn steady(&self) -> Duration {
        self.scene.clock.steady()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        assert!(!self.broken.load(Relaxed), "the clock is broken");
        let at = self.scene.clock.steady().saturating_add(duration);
        Box::pin(Sleep { executor: Weak::clone(&self.this), at, no: None })
    }

    fn spawn_boxed(&self, task: BoxFuture<'static, ()>) -> Abort {
        if self.gone.load(Relaxed) {
            drop(task);
            return Abort::new(|| ());
        }
        let mut inner = self.inner.lock();
        inner.last += 1;
        let no = inner.last;
        inner.tasks.insert(no, Some(task));
        drop(inner);
        self.ready.0.lock().insert(no);
        let this = Weak::clone(&self.this);
        Abort::new(move || {
            let Some(this) = this.upgrade() else { return };
            let mut inner = this.inner.lock();
            // It is dropped when its turn comes, as a task of many threads is.
            if inner.tasks.contains_key(&no) && inner.aborted.insert(no) {
                this.ready.0.lock().insert(no);
            }
        })
    }

    fn unblock_boxed(&self, work: Box<dyn FnOnce() + Send>) {
        if self.gone.load(Relaxed) {
            return;
        }
        let mut inner = self.inner.lock();
        inner.last += 1;
        let no = inner.last;
        inner.works.insert(no, work);
    }

    fn pause(&self, duration: Duration) {
        self.scene.count("thread that waits for room");
        self.scene.pass(duration);
        self.ring();
        // Meanwhile the log's own thread goes on. A failure is told to whoever tries again.
        if let Some(pen) = &*self.pen.lock() {
            pen.hurry(&self.scene);
        }
    }

    fn chance(&self) -> f64 {
        self.scene.roll(fastrand::Rng::f64)
    }
}

struct Sleep {
    executor: Weak<Executor>,
    at: Duration,
    no: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(executor) = self.executor.upgrade() else { return Poll::Pending };
        if self.at <= executor.scene.clock.steady() {
            return Poll::Ready(());
        }
        let mut inner = executor.inner.lock();
        let no = *self.no.get_or_insert_with(|| {
            inner.last += 1;
            inner.last
        });
        inner.timers.insert((self.at, no), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let (Some(executor), Some(no)) = (self.executor.upgrade(), self.no) {
            let waker = executor.inner.lock().timers.remove(&(self.at, no));
            drop(waker);
        }
    }
}

struct Passing {
    executor: Weak<Executor>,
    no: Option<u64>,
}

impl Future for Passing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(executor) = self.executor.upgrade() else { return Poll::Pending };
        let mut inner = executor.inner.lock();
        let no = *self.no.get_or_insert_with(|| {
            inner.last += 1;
            inner.last
        });
        let gate = inner.gates.entry(no).or_insert_with(|| Gate { open: false, waker: context.waker().clone() });
        if gate.open {
            return Poll::Ready(());
        }
        gate.waker.clone_from(context.waker());
        Poll::Pending
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let (Some(executor), Some(no)) = (self.executor.upgrade(), self.no) {
            let gate = executor.inner.lock().gates.remove(&no);
            drop(gate);
        }
    }
}
