//! A driver whose second provider adds, changes and takes away tools, does not come, dies and comes back, while missions run. Time is
//! tokio's, paused; plugins are in the test's own hands.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use jiff::SignedDuration;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sortie_ambient::{Abort, Ambient, BoxFuture};
use sortie_callback::{CallbackConfig, Courier, Reply, Request, SendError, Transport};
use sortie_contract::digest::Digest;
use sortie_contract::plugin::{Brief, Crash, Manifest, PluginIdentity, Verdict};
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo, ToolName};
use sortie_contract::{InstanceId, LaneId, MissionNo, Mistake, SessionId, Timestamp, VpId};
use sortie_journal::sim::SimDisk;
use sortie_journal::{EmbeddedLog, Journal, Options};
use sortie_mission::{Ceilings, NodeRules, Retentions};
use sortie_models::{Configured, ModelsConfig};
use sortie_sandbox::{Ending, Host, Installed, Run};
use sortie_tools::{BuiltIn, CallContext, Providers, Standing, Tool, Workspace};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::*;
use crate::recover::Others;
use crate::{Artifacts, Guests, Parts, Room, Settings, Workspaces};

/// Tokio's paused clock.
struct Paused(Instant);

impl Ambient for Paused {
    fn wall(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.steady()
    }

    fn steady(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }

    fn spawn_boxed(&self, task: BoxFuture<'static, ()>) -> Abort {
        let handle = tokio::spawn(task).abort_handle();
        Abort::new(move || handle.abort())
    }

    fn unblock_boxed(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }

    fn pause(&self, _: Duration) {
        unreachable!("nobody's thread waits here");
    }

    fn chance(&self) -> f64 {
        0.5
    }
}

/// What a provider does when it is asked something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    Fails,
    Hangs,
    Panics,
}

impl Mood {
    async fn act(self) -> Result<(), ProviderError> {
        match self {
            Self::Well => Ok(()),
            Self::Fails => Err(ProviderError("it does not want to".to_owned())),
            Self::Hangs => pending().await,
            Self::Panics => panic!("on purpose"),
        }
    }
}

/// What a provider is asked.
const QUESTIONS: [&str; 5] = ["connect", "tools", "health", "changed", "close"];

/// The second provider.
#[derive(Default)]
struct Shop {
    /// Its mood about a question; well, where nothing is said.
    moods: Mutex<BTreeMap<&'static str, Mood>>,
    /// The name of each tool, and the key that its arguments have.
    tools: Mutex<Vec<(&'static str, &'static str)>>,
    lost: Mutex<Option<String>>,
    news: Notify,
    connected: AtomicUsize,
    closed: AtomicUsize,
}

impl Shop {
    fn of(tools: &[(&'static str, &'static str)]) -> Arc<Self> {
        Arc::new(Self { tools: Mutex::new(tools.to_vec()), ..Self::default() })
    }

    fn feels(&self, question: &'static str, mood: Mood) {
        self.moods.lock().insert(question, mood);
    }

    fn mood(&self, question: &'static str) -> Mood {
        self.moods.lock().get(question).copied().unwrap_or(Mood::Well)
    }

    fn has_now(&self, tools: &[(&'static str, &'static str)]) {
        *self.tools.lock() = tools.to_vec();
        self.news.notify_one();
    }

    fn dies(&self) {
        *self.lost.lock() = Some("exit code 1".to_owned());
        self.news.notify_one();
    }
}

#[async_trait]
impl Provider for Shop {
    fn name(&self) -> &'static str {
        "shop"
    }

    fn prefix(&self) -> &'static str {
        "shop__"
    }

    async fn connect(&self) -> Result<(), ProviderError> {
        self.mood("connect").act().await?;
        self.connected.fetch_add(1, Relaxed);
        Ok(())
    }

    async fn tools(&self) -> Result<Vec<Arc<dyn Tool>>, ProviderError> {
        self.mood("tools").act().await?;
        let tool = |(name, key): &(&str, &str)| -> Arc<dyn Tool> { Arc::new(Takes::new(name, key)) };
        Ok(self.tools.lock().iter().map(tool).collect())
    }

    async fn health(&self) -> Result<(), ProviderError> {
        self.mood("health").act().await
    }

    async fn changed(&self) -> Changed {
        match self.mood("changed") {
            Mood::Panics => panic!("on purpose"),
            Mood::Fails => return Changed::Lost("it does not want to".to_owned()),
            Mood::Well | Mood::Hangs => {}
        }
        self.news.notified().await;
        self.lost.lock().take().map_or(Changed::Tools, Changed::Lost)
    }

    async fn close(&self) {
        let _ = self.mood("close").act().await;
        self.closed.fetch_add(1, Relaxed);
    }
}

/// A tool that takes arguments with one key, and says so itself where it gets others.
struct Takes {
    info: ToolInfo,
    key: String,
}

impl Takes {
    fn new(name: &str, key: &str) -> Self {
        let schema = json!({ "type": "object", "required": [key] });
        let info = ToolInfo { input_schema: schema, read_only: true, ..ToolInfo::undeclared(ToolName::new(name)) };
        Self { info, key: key.to_owned() }
    }
}

#[async_trait]
impl Tool for Takes {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    async fn call(&self, _: &CallContext, arguments: &Value) -> Result<ToolAnswer, CallError> {
        if arguments.get(&self.key).is_none() {
            return Err(CallError::Failed(format!("{} wants `{}`", self.info.name, self.key)));
        }
        Ok(ToolAnswer { result: format!("\"{}\"", self.info.name), wrote: Vec::new() })
    }
}

/// A plugin in the test's hands.
struct Plugin {
    host: Arc<dyn Host>,
    grants: Vec<String>,
    end: oneshot::Sender<Verdict>,
}

impl Plugin {
    async fn call(&self, tool: &str, key: &str) -> Result<String, CallError> {
        let call = self.host.start(&ToolName::new(tool), json!({ key: 1 }).to_string());
        match call.answer.await.expect("the run goes on") {
            sortie_sandbox::Reply::Only(told) => told,
            sortie_sandbox::Reply::Recorded(held) => Ok(held.expect("there is room").result),
        }
    }

    /// The key that the tool is said to want.
    fn is_told(&self, tool: &str) -> String {
        let info = self.host.describe(&ToolName::new(tool)).expect("the run goes on");
        info.input_schema["required"][0].as_str().unwrap_or_default().to_owned()
    }
}

/// Hands each run to the test.
struct Hands(mpsc::Sender<Plugin>);

impl Guests for Hands {
    fn installed(&self, _: &str) -> Vec<Installed> {
        let identity = PluginIdentity { name: "hand".into(), version: "1.0.0".into(), digest: Digest::of(b"hand") };
        let (name, version) = (identity.name.clone(), identity.version.clone());
        let manifest = Manifest { name, version, ..Manifest::default() };
        vec![Installed { identity, manifest: Arc::new(manifest), origin: sortie_contract::plugin::Origin::default() }]
    }

    fn check(&self, _: Digest, _: Brief) -> BoxFuture<'_, Result<Vec<Mistake>, Crash>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn memory_bytes_max(&self) -> u64 {
        1 << 20
    }

    fn run(&self, run: Run) -> BoxFuture<'_, Ending> {
        let (end, ended) = oneshot::channel();
        let grants = run.grants.iter().map(ToString::to_string).collect();
        let _ = self.0.try_send(Plugin { host: run.host, grants, end });
        async move {
            let killed = std::pin::pin!(run.kill.thrown());
            match select(killed, ended).await {
                Either::Left(_) => Ending::Killed,
                Either::Right((verdict, _)) => Ending::Returned(verdict.expect("the test ends it")),
            }
        }
        .boxed()
    }
}

/// Folders that nobody uses.
struct Nothing;

impl Artifacts for Nothing {
    fn put(&self, _: MissionNo, _: &[u8]) -> std::io::Result<Digest> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn get(&self, _: MissionNo, _: &Digest) -> std::io::Result<Vec<u8>> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn remove(&self, _: MissionNo) -> std::io::Result<()> {
        Ok(())
    }

    fn is_over(&self, _: MissionNo) {}

    fn room(&self) -> Room {
        Room::Enough
    }
}

impl Workspaces for Nothing {
    fn open(&self, vp: &VpId, session: &SessionId) -> std::io::Result<Workspace> {
        Workspace::open(&self.place(vp, session))
    }

    fn place(&self, _: &VpId, _: &SessionId) -> PathBuf {
        PathBuf::from("/nowhere-in-a-test")
    }
}

impl crate::act::PauseMark for Nothing {
    fn is_set(&self) -> bool {
        false
    }

    fn set(&self, _: bool) -> std::io::Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Transport for Nothing {
    async fn exchange(&self, _: Request) -> Result<Reply, SendError> {
        unreachable!("there are no callbacks here")
    }
}

/// A driver that has started, with `Read` built in and the shop beside it.
struct Bench {
    engine: Arc<Engine>,
    shop: Arc<Shop>,
    plugins: mpsc::Receiver<Plugin>,
    dispatched: u32,
}

impl Bench {
    fn start(shop: &Arc<Shop>) -> Self {
        let ambient: Surroundings = Arc::new(Paused(Instant::now()));
        let lane = LaneId::new("lane").expect("an id");
        let rules = NodeRules {
            instance_id: InstanceId::new("factory-1").expect("an id"),
            lanes: vec![lane.clone()],
            default_lane: lane.clone(),
            ceilings: Ceilings { runtime_ms: 24 * 3_600_000, llm_calls: None, cost: None },
            shared_storage: false,
            classes: Vec::new(),
        };
        let settings = Settings {
            rules,
            plugins_by: BTreeMap::from([("automation".to_owned(), "hand".parse().expect("a name"))]),
            lanes: vec![(lane, 9)],
            max_running: 9,
            request_expiry: SignedDuration::from_hours(24),
            retention: Retentions::default(),
            on_expiry: sortie_contract::envelope::OnExpiry::End,
            crashes_alone_max: 3,
            children: sortie_mission::child::Bounds::default(),
            hours: Arc::default(),
            result_bytes_max: 1 << 20,
            schedules_max: 1_000,
            lanes_are_shared: true,
            landing_share: 50,
            hold_max: std::time::Duration::from_secs(6 * 3_600),
            budgets: Vec::new(),
        };
        let built_in = BuiltIn::of(vec![Arc::new(Takes::new("Read", "path"))]);
        let others: Vec<Arc<dyn Provider>> = vec![Arc::<Shop>::clone(shop)];
        let (tell, plugins) = mpsc::channel(9);
        let disk = Journal::open_backend_stepped(SimDisk::default(), &Options::default());
        let (journal, opened, stepper) = disk.expect("it opens");
        // Written by this thread: the clock does not run away from the disk.
        tokio::spawn(async move {
            while stepper.commit(usize::MAX).is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let none = ModelsConfig::default();
        let models = Configured::new(&none, std::path::Path::new("."), Arc::clone(&ambient)).expect("there are none");
        let parts = Parts {
            shared: None,
            settings,
            log: Box::new(move |visit| Ok(Arc::new(EmbeddedLog::new(journal, &opened, visit)?))),
            guests: Arc::new(Hands(tell)),
            tools: Providers::new(built_in, others, ambient.wall()).expect("they differ"),
            models: Arc::new(models),
            artifacts: Arc::new(Nothing),
            workspaces: Arc::new(Nothing),
            pause_mark: Arc::new(Nothing),
            ambient: Arc::clone(&ambient),
        };
        let courier = |outbox| Courier::new(&CallbackConfig::default(), outbox, Arc::new(Nothing), ambient);
        let engine = Engine::open(parts, Others::GoOn, courier).expect("it opens");
        engine.start();
        Self { engine, shop: Arc::clone(shop), plugins, dispatched: 0 }
    }

    /// A mission that may call anything, once its plugin runs.
    async fn mission(&mut self) -> Plugin {
        self.dispatched += 1;
        let n = self.dispatched;
        let envelope = json!({
            "mission_id": format!("m-{n}"), "vp_id": format!("vp-{n}"), "source_instance_id": "hq",
            "target_instance_id": "factory-1", "mission_type": "automation", "objective": "Shop.",
            "inputs": {"steps": []}, "idempotency_key": format!("k-{n}"), "trace_id": "t",
            "created_at": "2026-11-22T00:00:00Z", "constraints": {"allowed_tools": ["*"]},
        });
        self.engine.dispatch(envelope.to_string()).await.expect("it is taken");
        self.plugins.recv().await.expect("it starts")
    }

    fn standing(&self) -> Standing {
        self.engine.providers()[1].standing.clone()
    }

    /// Waits until it is so; time passes as fast as nobody does anything.
    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..100_000 {
            if is_so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it never comes to: {what}; {:?}", self.engine.providers());
    }

    async fn stands(&self, state: LinkState) {
        self.until(state.as_str(), |bench| bench.standing().state == state).await;
    }

    /// Whatever the shop does, the others go on.
    async fn all_else_is_well(&self, plugin: &Plugin) {
        assert_eq!(plugin.call("Read", "path").await, Ok("\"Read\"".to_owned()));
        assert_eq!(self.engine.dead_task(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn tools_come_and_go_and_change_while_missions_run() {
    let mut bench = Bench::start(&Shop::of(&[("shop__a", "old"), ("shop__b", "old")]));
    let early = bench.mission().await;
    assert_eq!(early.grants, ["Read", "shop__a", "shop__b"], "it began once the shop had said what it has");
    assert_eq!(early.is_told("shop__a"), "old");
    assert!(early.call("shop__a", "old").await.is_ok());

    bench.shop.has_now(&[("shop__a", "new"), ("shop__b", "new"), ("shop__c", "new")]);
    bench.until("three tools", |bench| bench.engine.providers()[1].tools == 3).await;
    let late = bench.mission().await;
    assert_eq!(late.grants, ["Read", "shop__a", "shop__b", "shop__c"]);
    assert_eq!((early.is_told("shop__a"), late.is_told("shop__a")), ("old".to_owned(), "new".to_owned()));
    // It keeps the schema that it was handed; what has changed says itself that it does not understand.
    let answer = early.call("shop__a", "old").await.expect_err("it has changed");
    assert!(matches!(&answer, CallError::Failed(text) if text.contains("wants `new`")), "{answer:?}");
    assert!(matches!(early.call("shop__a", "new").await, Err(CallError::InvalidArguments(_))));
    // Nobody had told it of this one.
    assert!(early.call("shop__b", "new").await.is_ok());
    assert!(late.call("shop__a", "new").await.is_ok());

    bench.shop.has_now(&[("shop__b", "new")]);
    bench.until("one tool", |bench| bench.engine.providers()[1].tools == 1).await;
    for plugin in [&early, &late] {
        let gone = plugin.call("shop__a", "new").await.expect_err("it is gone");
        assert!(
            matches!(&gone, CallError::Denied(text) if text.contains("no longer has the tool `shop__a`")),
            "{gone:?}"
        );
        assert!(plugin.call("shop__b", "new").await.is_ok());
        bench.all_else_is_well(plugin).await;
    }
    assert_eq!(early.is_told("shop__a"), "old", "what it was told it is told again");
    bench.shop.has_now(&[("shop__a", "old"), ("shop__b", "new")]);
    bench.until("two tools", |bench| bench.engine.providers()[1].tools == 2).await;
    assert!(early.call("shop__a", "old").await.is_ok(), "it was handed it, and it is back");
    for plugin in [early, late] {
        let _ = plugin.end.send(Verdict::Done { summary: "Done.".to_owned(), next_action: None });
    }
    bench.until("all over", |bench| bench.engine.turns().running == 0).await;
    bench.engine.stop().await;
    assert_eq!(bench.shop.closed.load(Relaxed), 1, "it is let go of");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_dies_is_out_by_name_until_it_is_back() {
    let mut bench = Bench::start(&Shop::of(&[("shop__a", "x")]));
    let plugin = bench.mission().await;
    assert!(plugin.call("shop__a", "x").await.is_ok());
    bench.shop.feels("connect", Mood::Fails);
    bench.shop.dies();
    bench.stands(LinkState::Failed).await;
    let since = bench.standing().since;
    let out = plugin.call("shop__a", "x").await.expect_err("it is out");
    for said in ["shop__a cannot be called", "`shop` is", "exit code 1", &format!("since {since}")] {
        assert!(matches!(&out, CallError::Failed(text) if text.contains(said)), "{said}: {out:?}");
    }
    bench
        .until("it was tried again", |bench| bench.standing().last_error.is_some_and(|why| why.contains("want")))
        .await;
    bench.all_else_is_well(&plugin).await;
    // A mission that starts meanwhile is handed what it will be able to call.
    let other = bench.mission().await;
    assert_eq!(other.grants, ["Read", "shop__a"]);
    bench.shop.feels("connect", Mood::Well);
    bench.stands(LinkState::Connected).await;
    assert!(plugin.call("shop__a", "x").await.is_ok() && other.call("shop__a", "x").await.is_ok());
    assert_eq!(bench.shop.connected.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_hangs_or_panics_harms_itself_alone() {
    for question in QUESTIONS {
        for mood in [Mood::Fails, Mood::Hangs, Mood::Panics] {
            let shop = Shop::of(&[("shop__a", "x")]);
            if matches!(question, "connect" | "tools") {
                shop.feels(question, mood);
            }
            let mut bench = Bench::start(&shop);
            let plugin = bench.mission().await;
            shop.feels(question, mood);
            // To hang while nothing changes, or to fail in letting go, is no fault that could be seen now.
            if question != "close" && (question, mood) != ("changed", Mood::Hangs) {
                shop.has_now(&[("shop__a", "x")]);
                bench.stands(LinkState::Failed).await;
                assert!(bench.standing().last_error.is_some(), "{question} {mood:?}");
                let out = plugin.call("shop__a", "x").await;
                assert!(out.is_err(), "{question} {mood:?}");
                bench.all_else_is_well(&plugin).await;
                shop.feels(question, Mood::Well);
                bench.stands(LinkState::Connected).await;
            }
            bench.all_else_is_well(&plugin).await;
            let begun = Instant::now();
            bench.engine.stop().await;
            assert!(begun.elapsed() < CLOSE_LIMIT * 2, "{question} {mood:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn missions_wait_for_the_first_look_and_no_longer() {
    let begun = Instant::now();
    let shop = Shop::of(&[("shop__a", "x")]);
    shop.feels("connect", Mood::Hangs);
    let mut bench = Bench::start(&shop);
    let plugin = bench.mission().await;
    assert_eq!((begun.elapsed().as_secs(), &plugin.grants[..]), (FIRST_LOOK.as_secs(), &["Read".to_owned()][..]));
    // What it may have is not known: that is not the same as that it has it no more.
    let early = plugin.call("shop__a", "x").await.expect_err("it never came");
    assert!(matches!(&early, CallError::Failed(text) if text.contains("`shop` is connecting")), "{early:?}");
    bench.all_else_is_well(&plugin).await;
    bench.stands(LinkState::Failed).await;
    assert!(bench.standing().last_error.is_some_and(|why| why.contains("no answer within 30 s")));
    shop.feels("connect", Mood::Well);
    bench.stands(LinkState::Connected).await;
    assert_eq!(bench.mission().await.grants, ["Read", "shop__a"]);
}

#[test]
fn it_is_tried_again_ever_later_up_to_a_minute() {
    let waits: Vec<u128> = (1..10).map(|failures| again(failures, 0.5).as_millis()).collect();
    assert_eq!(waits, [750, 1_500, 3_000, 6_000, 12_000, 24_000, 45_000, 45_000, 45_000]);
    assert_eq!(again(u32::MAX, 0.0), AGAIN_MAX / 2, "not in step, and not at once");
}
