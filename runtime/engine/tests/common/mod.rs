//! What the tests of a driver have in common: how one is put together, and what it is given to do.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use serde_json::json;
use sortie_ambient::Surroundings;
use sortie_callback::{CallbackConfig, Courier, Transport};
use sortie_contract::digest::Digest;
use sortie_contract::plugin::{Brief, Crash, Manifest, PluginIdentity, Verdict};
use sortie_contract::{InstanceId, LaneId, Mistake};
use sortie_engine::act::PauseFile;
use sortie_engine::recover::Others;
use sortie_engine::{Disk, Engine, FolderArtifacts, FolderWorkspaces, Guests, OpenLog, Parts, Settings, SharedRoom};
use sortie_journal::sim::SimDisk;
use sortie_journal::{EmbeddedLog, Journal, Options};
use sortie_mission::wider::WiderBudget;
use sortie_mission::{Ceilings, NodeRules, Retentions};
use sortie_models::{Configured, ModelsConfig};
use sortie_sandbox::{BoxFuture, Ending, Host, Installed, Run};
use sortie_tools::{BuiltIn, Provider, Providers, ToolsConfig, WorkspaceBounds};

/// Guests that do in each run what the test says, until they are killed.
pub(crate) struct Play<F>(pub(crate) F);

impl<F, R> Guests for Play<F>
where
    F: Fn(Brief, Arc<dyn Host>) -> R + Send + Sync + 'static,
    R: Future<Output = Ending> + Send + 'static,
{
    fn installed(&self, _: &str) -> Vec<Installed> {
        vec![installed()]
    }

    fn check(&self, _: Digest, _: Brief) -> BoxFuture<'_, Result<Vec<Mistake>, Crash>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn memory_bytes_max(&self) -> u64 {
        1 << 20
    }

    fn run(&self, Run { brief, host, kill, .. }: Run) -> BoxFuture<'_, Ending> {
        let work = self.0(brief, host);
        async move {
            match select(pin!(kill.thrown()), pin!(work)).await {
                Either::Left(_) => Ending::Killed,
                Either::Right((ending, _)) => ending,
            }
        }
        .boxed()
    }
}

/// The end of a run that did what it was to do.
pub(crate) fn done() -> Ending {
    Ending::Returned(Verdict::Done { summary: "Done.".to_owned(), next_action: None })
}

/// The one plugin that there is.
fn installed() -> Installed {
    let identity = PluginIdentity { name: "p".into(), version: "1.0.0".into(), digest: Digest::of(b"p") };
    let (name, version) = (identity.name.clone(), identity.version.clone());
    let manifest = Manifest { name, version, ..Manifest::default() };
    Installed { identity, manifest: Arc::new(manifest), origin: sortie_contract::plugin::Origin::default() }
}

fn settings() -> Settings {
    let lane = LaneId::new("lane").unwrap();
    Settings {
        rules: NodeRules {
            instance_id: InstanceId::new("factory-1").unwrap(),
            lanes: vec![lane.clone()],
            default_lane: lane.clone(),
            ceilings: Ceilings { runtime_ms: 3_600_000_000, llm_calls: None, cost: None },
            shared_storage: false,
            classes: Vec::new(),
        },
        plugins_by: BTreeMap::from([("automation".to_owned(), "p".parse().unwrap())]),
        lanes: vec![(lane, 4)],
        max_running: 4,
        request_expiry: jiff::SignedDuration::from_hours(24),
        retention: Retentions::default(),
        on_expiry: sortie_contract::envelope::OnExpiry::End,
        crashes_alone_max: 3,
        children: sortie_mission::child::Bounds::default(),
        hours: Arc::default(),
        result_bytes_max: 0,
        schedules_max: 1_000,
        lanes_are_shared: true,
        landing_share: 50,
        hold_max: Duration::from_secs(6 * 3_600),
        budgets: Vec::new(),
    }
}

/// A driver as it is shipped, on what an earlier one left on the disk, with guests, a way out and surroundings of the test's own.
pub(crate) fn open(
    disk: &SimDisk,
    folder: &Path,
    guests: Arc<dyn Guests>,
    wire: Arc<dyn Transport>,
    ambient: Surroundings,
) -> Arc<Engine> {
    open_with(disk, folder, guests, wire, ambient, Vec::new(), Vec::new())
}

/// The same, with tools of others and with budgets that are wider than a mission.
pub(crate) fn open_with(
    disk: &SimDisk,
    folder: &Path,
    guests: Arc<dyn Guests>,
    wire: Arc<dyn Transport>,
    ambient: Surroundings,
    tools: Vec<Arc<dyn Provider>>,
    budgets: Vec<WiderBudget>,
) -> Arc<Engine> {
    open_set(disk, folder, guests, wire, ambient, tools, |settings| settings.budgets = budgets)
}

/// The same, with tools of others, and set otherwise.
pub(crate) fn open_set(
    disk: &SimDisk,
    folder: &Path,
    guests: Arc<dyn Guests>,
    wire: Arc<dyn Transport>,
    ambient: Surroundings,
    tools: Vec<Arc<dyn Provider>>,
    set: impl FnOnce(&mut Settings),
) -> Arc<Engine> {
    let options = Options { cache_bytes: 0, ..Options::default() };
    let (journal, opened) = Journal::open_backend(disk.clone(), &options).unwrap();
    let log: OpenLog = Box::new(move |visit| Ok(Arc::new(EmbeddedLog::new(journal, &opened, visit)?)));
    open_on(log, folder, guests, wire, ambient, tools, set)
}

/// The same, on a log of the test's own.
pub(crate) fn open_on(
    log: OpenLog,
    folder: &Path,
    guests: Arc<dyn Guests>,
    wire: Arc<dyn Transport>,
    ambient: Surroundings,
    tools: Vec<Arc<dyn Provider>>,
    set: impl FnOnce(&mut Settings),
) -> Arc<Engine> {
    open_given(Given { log, folder, guests, wire, ambient, tools, reserve_bytes: 0, others: Others::GoOn }, set)
}

/// What a driver of a test is put together of.
pub(crate) struct Given<'a> {
    pub(crate) log: OpenLog,
    pub(crate) folder: &'a Path,
    pub(crate) guests: Arc<dyn Guests>,
    pub(crate) wire: Arc<dyn Transport>,
    pub(crate) ambient: Surroundings,
    pub(crate) tools: Vec<Arc<dyn Provider>>,
    /// What is to stay free of the disk.
    pub(crate) reserve_bytes: u64,
    pub(crate) others: Others,
}

/// The same, of all that.
pub(crate) fn open_given(given: Given<'_>, set: impl FnOnce(&mut Settings)) -> Arc<Engine> {
    let Given { log, folder, guests, wire, ambient, tools, reserve_bytes, others } = given;
    let mut settings = settings();
    set(&mut settings);
    let room = Arc::new(SharedRoom::new(Arc::new(Disk::new(folder, reserve_bytes)), u64::MAX));
    let bounds = WorkspaceBounds { bytes_max: u64::MAX, files_max: u64::MAX };
    let parts = Parts {
        shared: None,
        settings,
        log,
        guests,
        tools: Providers::new(BuiltIn::new(ToolsConfig::default()).unwrap(), tools, ambient.wall()).unwrap(),
        models: Arc::new(Configured::new(&ModelsConfig::default(), folder, Arc::clone(&ambient)).unwrap()),
        artifacts: Arc::new(FolderArtifacts::open(folder, Arc::clone(&room), u64::MAX).unwrap()),
        workspaces: Arc::new(FolderWorkspaces::new(folder.to_owned(), bounds, room)),
        pause_mark: Arc::new(PauseFile::of(folder)),
        ambient: Arc::clone(&ambient),
    };
    let config = CallbackConfig::default();
    let courier = |outbox| Courier::new(&config, outbox, wire, ambient);
    Engine::open(parts, others, courier).expect("a node starts, whatever one mission is like")
}

/// A mission that tells its control plane of each step.
pub(crate) fn envelope(id: &str, objective: &str) -> String {
    json!({
        "mission_id": id, "vp_id": "vp", "vp_session_id": "s", "source_instance_id": "hq", "target_instance_id": "factory-1",
        "mission_type": "automation", "objective": objective, "inputs": {"steps": []}, "report_cadence": "milestone",
        "idempotency_key": id, "trace_id": "t", "created_at": "2026-11-22T00:00:00Z",
        "callback": {"status_url": "https://hq.example/status", "auth_mode": "bearer"},
    })
    .to_string()
}

/// Until it is so.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..12_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is never so: {what}");
}
