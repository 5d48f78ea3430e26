//! One life of a node that is one of several, and the way from it to the store.
//!
//! The store is the model of one (`MemoryFleet`), and the log of a node is far away from it: what becomes of a commit on its way is the dice's
//! to say. It comes or does not, which is heard or is not; it collides; it strays, and may still come when its node is gone.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use sortie_ambient::{Ambient, BoxFuture};
use sortie_contract::MissionNo;
use sortie_engine::fleet::{Card, Own};
use sortie_engine::{Engine, OpenLog};
use sortie_journal::MemoryFleet;
use sortie_journal::sim::{FarLink, Fate, Road, Went};

use crate::envelope::rules;
use crate::executor::{COMMIT_MAX, Executor, Pen};
use crate::guests::installed;
use crate::ledger::Source;
use crate::life::{QUEUE_APPENDS, engine, find, outfit};
use crate::people::People;
use crate::scene::Scene;
use crate::store::Folder;

/// How long a share is held without a sign of life.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// The way from a node to the store, whichever life it is in.
#[derive(Clone)]
pub(crate) struct Line(Arc<Wires>);

struct Wires {
    scene: Arc<Scene>,
    executor: Mutex<Weak<Executor>>,
    /// Until then, by the steady clock, nothing gets through.
    cut_until: Mutex<Duration>,
}

impl Line {
    pub(crate) fn new(scene: &Arc<Scene>) -> Self {
        let (executor, cut_until) = (Mutex::new(Weak::new()), Mutex::new(Duration::ZERO));
        Self(Arc::new(Wires { scene: Arc::clone(scene), executor, cut_until }))
    }

    pub(crate) fn cut(&self, until: Duration) {
        *self.0.cut_until.lock() = until;
    }

    pub(crate) fn is_cut(&self) -> bool {
        *self.0.cut_until.lock() > self.0.scene.clock.steady()
    }

    fn fate(&self) -> Fate {
        let scene = &self.0.scene;
        if self.is_cut() {
            return if scene.one_in(2) { Fate::IsLost } else { Fate::Strays };
        }
        if !scene.outside(|outside| outside.faults) {
            return Fate::Comes;
        }
        match scene.roll(|rng| rng.u8(..48)) {
            0 => Fate::IsLost,
            1 => Fate::Strays,
            2 | 3 => Fate::ComesUnheard,
            4 | 5 => Fate::Collides,
            _ => Fate::Comes,
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

impl Road for Line {
    fn passes(&self) -> BoxFuture<'static, bool> {
        let this = self.clone();
        Box::pin(async move {
            let Some(executor) = this.0.executor.lock().upgrade() else { return false };
            let pass = executor.pass();
            drop(executor);
            pass.await;
            let is_lost = this.is_cut() || this.fate() == Fate::IsLost;
            if is_lost {
                this.0.scene.count("claim that is lost");
            }
            !is_lost
        })
    }
}

/// Sends what a node writes.
struct FarPen {
    link: FarLink,
    line: Line,
}

impl Pen for FarPen {
    fn has_something(&self) -> bool {
        self.link.has_something()
    }

    fn write(&self, scene: &Scene) {
        let most = scene.roll(|rng| rng.usize(1..=COMMIT_MAX));
        let went = self.link.step(most, self.line.fate());
        scene.written();
        scene.count(match went {
            Went::Nothing => return,
            Went::On => "step of a commit",
            Went::Astray if self.line.is_cut() => "store that is away",
            Went::Astray => "commit that is not heard of",
            Went::FoundThere => "unknown commit that was there",
            Went::FoundMissing => "unknown commit that was not there",
            Went::Again => "commit that collides",
            Went::Fenced => "node that is fenced",
        });
    }

    fn hurry(&self, scene: &Scene) {
        self.link.step(COMMIT_MAX, Fate::Comes);
        scene.written();
    }

    fn holds(&self, no: MissionNo) -> bool {
        self.link.holds(no)
    }

    fn is_away(&self) -> bool {
        self.line.is_cut()
    }
}

/// See the module.
pub(crate) struct Node {
    scene: Arc<Scene>,
    pub(crate) link: FarLink,
    pub(crate) executor: Arc<Executor>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) people: People,
    /// It was told to stop, or was drained, and has.
    stopped: Arc<AtomicBool>,
}

impl Node {
    /// It starts, with the share that it had if that is its own still. Nothing that was in the store before may be missing.
    pub(crate) fn begin(
        scene: &Arc<Scene>,
        folder: &Folder,
        (number, name): (usize, &'static str),
        (store, line): (&MemoryFleet, &Line),
    ) -> Self {
        scene.line(&format!("{name} starts"));
        find(scene, folder, &Source::Store(store.clone()));
        let mut heads = Vec::new();
        let road: Arc<dyn Road> = Arc::new(line.clone());
        let (log, link) = store.open_far(name, QUEUE_APPENDS, road, &mut |no, head| heads.push((no, head)));
        let pen = FarPen { link: link.clone(), line: line.clone() };
        let executor = Executor::new(Arc::clone(scene), number, pen);
        *line.0.executor.lock() = Arc::downgrade(&executor);
        let log: OpenLog = Box::new(move |visit| {
            heads.into_iter().for_each(|(no, head)| visit(no, head));
            Ok(Arc::new(log))
        });
        let engine = engine((scene, folder, &executor), rules(name), log, outfit(scene, &executor));
        let card = Card { url: Some(format!("http://{name}")), ..Card::default() };
        engine.among(Own { card, plugins: Box::new(|| vec![installed().identity]), lease: LEASE });
        engine.start();
        engine.start_fleet();
        engine.start_retention();
        let people = People { scene: Arc::clone(scene), executor: Arc::clone(&executor), engine: Arc::clone(&engine) };
        Self { scene: Arc::clone(scene), link, executor, engine, people, stopped: Arc::default() }
    }

    /// Somebody stops it in order, or has it drained; see [`Node::has_stopped`].
    pub(crate) fn stop(&self, drains: bool) {
        self.scene.line(&format!("somebody {} node {}", if drains { "drains" } else { "stops" }, self.executor.node));
        let (engine, stopped) = (Arc::clone(&self.engine), Arc::clone(&self.stopped));
        let ambient: &dyn Ambient = &*self.executor;
        let stop = async move {
            if drains {
                engine.drain();
                engine.drained().await;
            }
            engine.stop().await;
            stopped.store(true, Relaxed);
        };
        ambient.spawn(stop).detach();
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Whether another has what it had: it is to stop.
    pub(crate) fn has_failed(&self) -> bool {
        self.link.is_poisoned()
    }

    /// It is over. What it has sent may be on its way still.
    pub(crate) fn end(self) -> FarLink {
        self.scene.line(&format!("node {} is gone", self.executor.node));
        self.scene.ledger(|_| ());
        let Self { executor, engine, people, link, .. } = self;
        link.ends();
        executor.die();
        let gone = Arc::downgrade(&engine);
        drop((people, engine, executor));
        assert!(gone.upgrade().is_none(), "something keeps a driver that is over");
        link
    }
}
