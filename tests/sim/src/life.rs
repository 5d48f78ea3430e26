//! One life of a node: from what it finds on its disk to a crash, or to its orderly end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use sortie_ambient::{Ambient, Surroundings};
use sortie_callback::{CallbackConfig, Courier};
use sortie_engine::recover::Others;
use sortie_engine::{Engine, Guests, NodeHours, OpenLog, Parts, Settings};
use sortie_journal::sim::{Crash, SimDisk};
use sortie_journal::{EmbeddedLog, Journal, Options};
use sortie_mission::wider::WiderBudget;
use sortie_mission::{NodeRules, Retention, Retentions};
use sortie_models::{Configured, Models, ModelsConfig};
use sortie_tools::Providers;

use crate::check;
use crate::envelope::{ALONE, CONCURRENCY, EXPIRY, RETENTION, RUNNING_MAX, hours, lanes, rules};
use crate::executor::Executor;
use crate::guests::Plugins;
use crate::ledger::{Ledger, Source};
use crate::models::Oracle;
use crate::money;
use crate::people::People;
use crate::receivers::Wire;
use crate::scene::Scene;
use crate::store::Folder;
use crate::tools::providers;

/// Appends that the journal's queue holds: so few that it is full now and then.
pub(crate) const QUEUE_APPENDS: usize = 12;

/// Crashes in a row that a mission survives which runs alone: more than there are in a history.
const CRASHES_ALONE_MAX: u32 = 100;

/// Attempts before a delivery is parked.
const ATTEMPTS: u32 = 12;

/// The share of each limit that is kept for landing, in thousandths: more than in a node, so that it matters here.
pub(crate) const LANDING_SHARE: u16 = 200;

/// How long a provider is waited for that refuses for now.
const HOLD_MAX: Duration = Duration::from_secs(6 * 3_600);

/// What a life is given that is not the same in every history.
pub(crate) struct Outfit {
    pub(crate) guests: Arc<dyn Guests>,
    pub(crate) tools: Providers,
    pub(crate) models: Arc<dyn Models>,
    pub(crate) retention: Retentions,
    pub(crate) hours: NodeHours,
    pub(crate) budgets: Vec<WiderBudget>,
}

/// What a life is given whose missions control planes dispatch.
pub(crate) fn outfit(scene: &Arc<Scene>, executor: &Arc<Executor>) -> Outfit {
    Outfit {
        guests: Arc::new(Plugins { scene: Arc::clone(scene), executor: Arc::downgrade(executor) }),
        tools: providers(scene, executor),
        models: Arc::new(Oracle { scene: Arc::clone(scene), executor: Arc::downgrade(executor) }),
        retention: Retentions { general: Retention { age: Some(RETENTION), missions: None }, rules: Vec::new() },
        hours: hours(),
        budgets: money::wider(scene),
    }
}

/// A node without models.
pub(crate) fn no_models(executor: &Arc<Executor>) -> Arc<dyn Models> {
    let ambient: Surroundings = Arc::<Executor>::clone(executor);
    Arc::new(Configured::new(&ModelsConfig::default(), Path::new("."), ambient).expect("there are none"))
}

/// See the module.
pub(crate) struct Life {
    scene: Arc<Scene>,
    pub(crate) disk: SimDisk,
    pub(crate) journal: Journal,
    pub(crate) executor: Arc<Executor>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) people: People,
    /// It was told to stop, and has.
    stopped: Arc<AtomicBool>,
}

impl Life {
    /// The node starts on what a disk holds. Nothing that was on it before may be missing.
    pub(crate) fn begin(scene: &Arc<Scene>, folder: &Folder, disk: SimDisk) -> Self {
        let look = |journal: &Journal| {
            let source = Source::Journal(journal.clone());
            find(scene, folder, &source);
            scene.opens(Some(source));
        };
        Self::on(scene, folder, disk, look, |executor| outfit(scene, executor))
    }

    /// The node starts on what a disk holds, which is looked at first, with this outfit.
    pub(crate) fn on(
        scene: &Arc<Scene>,
        folder: &Folder,
        disk: SimDisk,
        look: impl FnOnce(&Journal),
        outfit: impl FnOnce(&Arc<Executor>) -> Outfit,
    ) -> Self {
        let options = Options { queue_appends_max: QUEUE_APPENDS, ..Options::default() };
        let opened = Journal::open_backend_stepped(disk.clone(), &options);
        let (journal, opened, stepper) = opened.expect("a journal opens after any crash");
        look(&journal);
        let executor = Executor::new(Arc::clone(scene), 0, stepper);
        let log = journal.clone();
        let log: OpenLog = Box::new(move |visit| Ok(Arc::new(EmbeddedLog::new(log, &opened, visit)?)));
        let engine = engine((scene, folder, &executor), rules(ALONE), log, outfit(&executor));
        engine.start();
        engine.start_retention();
        let people = People { scene: Arc::clone(scene), executor: Arc::clone(&executor), engine: Arc::clone(&engine) };
        Self { scene: Arc::clone(scene), disk, journal, executor, engine, people, stopped: Arc::default() }
    }

    /// Somebody stops the node in order; see [`Life::has_stopped`].
    pub(crate) fn stop(&self) {
        self.scene.line("somebody stops the node");
        let (engine, stopped) = (Arc::clone(&self.engine), Arc::clone(&self.stopped));
        let ambient: &dyn Ambient = &*self.executor;
        let stop = async move {
            engine.stop().await;
            stopped.store(true, Relaxed);
        };
        ambient.spawn(stop).detach();
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Whether its journal has failed: it is to stop.
    pub(crate) fn has_failed(&self) -> bool {
        self.journal.is_poisoned()
    }

    /// It is over. What is found on the disk afterwards.
    pub(crate) fn end(self, crash: Crash) -> SimDisk {
        self.scene.line(&format!("crash: {crash:?}"));
        // As it is at this moment: nothing that is dropped below may help it.
        let found = self.disk.after_crash(crash);
        self.scene.ledger(|_| ());
        self.scene.opens(None);
        let Self { executor, engine, people, journal, .. } = self;
        executor.die();
        let gone = Arc::downgrade(&engine);
        drop((people, journal, engine, executor));
        assert!(gone.upgrade().is_none(), "something keeps a driver that is over");
        found
    }
}

/// A driver of a node of this world, which has not started.
pub(crate) fn engine(
    (scene, folder, executor): (&Arc<Scene>, &Folder, &Arc<Executor>),
    rules: NodeRules,
    log: OpenLog,
    outfit: Outfit,
) -> Arc<Engine> {
    let Outfit { guests, tools, models, retention, hours, budgets } = outfit;
    let ambient: Surroundings = Arc::<Executor>::clone(executor);
    let settings = Settings {
        rules,
        plugins_by: BTreeMap::from([("automation".to_owned(), "script".parse().expect("a name"))]),
        lanes: lanes().map(|lane| (lane, CONCURRENCY)).to_vec(),
        max_running: RUNNING_MAX,
        request_expiry: EXPIRY,
        retention,
        on_expiry: sortie_contract::envelope::OnExpiry::End,
        crashes_alone_max: CRASHES_ALONE_MAX,
        children: sortie_mission::child::Bounds::default(),
        hours: Arc::new(hours),
        result_bytes_max: 0,
        schedules_max: 1_000,
        lanes_are_shared: true,
        landing_share: LANDING_SHARE,
        hold_max: HOLD_MAX,
        budgets,
    };
    let parts = Parts {
        shared: None,
        settings,
        log,
        guests,
        tools,
        models,
        artifacts: Arc::new(folder.clone()),
        workspaces: Arc::new(folder.clone()),
        pause_mark: Arc::new(folder.clone()),
        ambient: Arc::clone(&ambient),
    };
    let wire = Arc::new(Wire { scene: Arc::clone(scene), executor: Arc::downgrade(executor) });
    let callback = CallbackConfig { attempts: ATTEMPTS, ..CallbackConfig::default() };
    let courier = |outbox| Courier::new(&callback, outbox, wire, ambient);
    Engine::open(parts, Others::GoOn, courier).expect("a node starts on what is there")
}

/// What a node finds is what there was.
pub(crate) fn find(scene: &Scene, folder: &Folder, source: &Source) {
    let before = scene.replace_ledger(Ledger::default());
    let mut found = Ledger::open(scene, source, before.removed);
    for (no, side) in &before.sides {
        match found.sides.get(no) {
            Some(after) => check::survived(side, after),
            None => found.remove(scene, side),
        }
    }
    for side in found.sides.values() {
        check::fold(side);
        for artifact in side.mission.artifacts() {
            // Of a mission that is not to be kept they go first.
            assert!(side.is_over() || folder.has(side.no, &artifact.sha256), "the bytes of {} are gone", artifact.name);
        }
    }
    for no in &found.removed {
        assert_eq!(folder.artifacts_of(*no), 0, "artifacts of {no}, which is gone");
    }
    let clients = scene.outside(|outside| outside.clients.len());
    for index in 0..clients {
        scene.client(index, |client| match found.of(index) {
            Some(side) => check::promises(client, side),
            None => {
                let knows = client.accepted.is_some() || !client.calls.is_empty() || !client.bills.is_empty();
                assert!(!knows, "client {index}: its mission is lost");
            }
        });
    }
    scene.replace_ledger(found);
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::outside::Outside;
    use crate::panics;

    #[test]
    fn a_background_task_that_dies_is_noticed() {
        panics::watch();
        let outside = Outside { faults: false, ..Outside::default() };
        let scene =
            Arc::new(Scene::new(fastrand::Rng::with_seed(0), "2026-11-22T12:00:00Z".parse().expect("a time"), outside));
        let life = Life::begin(&scene, &Folder::new(&scene), SimDisk::default());
        let run = |minutes: u64| {
            for _ in 0..minutes * 60 {
                while let Some(step) = life.executor.steps().first().copied() {
                    life.executor.take(step);
                }
                scene.clock.pass(Duration::from_secs(1));
                life.executor.ring();
            }
        };
        run(2);
        assert_eq!((life.engine.dead_task(), life.engine.death().now_or_never()), (None, None), "all of them live");
        life.executor.breaks();
        run(2);
        let dead = life.engine.dead_task().expect("one has died");
        assert_eq!(life.engine.death().now_or_never(), Some(dead), "who serves is told, and stops");
        panics::forget();
    }
}
