//! What tools ask people while their calls are made: a mission whose question was taken back runs under its limits again. And what a mission
//! takes of a wider budget whose plugin runs nowhere any more.
//!
//! The driver as it is shipped, over a simulated disk; the steady clock is put forward by the test.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

#[expect(dead_code, reason = "here a node is opened with settings of its own")]
mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use sortie_ambient::{Abort, Ambient, BoxFuture, System};
use sortie_callback::{Reply as Told, Request, SendError, StatusCode, Transport};
use sortie_contract::plugin::Brief;
use sortie_contract::request::{Decision, RequestNo};
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo, ToolName};
use sortie_contract::{LaneId, MicroUsd, MissionNo, Pointer, Spend, Status, Timestamp};
use sortie_engine::{Engine, Guests, NodeHours};
use sortie_journal::sim::{Crash, SimDisk};
use sortie_mission::Limits;
use sortie_mission::wider::{Per, Scope, WiderBudget};
use sortie_sandbox::Host;
use sortie_schedule::{Calendars, Hours, Zone};
use sortie_tools::{CallContext, Changed, Form, Provider, ProviderError, Question, Tool};
use tokio::sync::Notify;

use common::{Play, done, envelope, open_set, until};

const NO: MissionNo = MissionNo(1);

/// A plugin that makes the one call that its objective names, and waits for it.
fn caller() -> Arc<dyn Guests> {
    Arc::new(Play(|brief: Brief, host: Arc<dyn Host>| async move {
        let call = host.start(&ToolName::new(&brief.objective), "{}".to_owned());
        host.waits(true);
        drop(call.answer.await);
        done()
    }))
}

struct Nowhere;

#[async_trait]
impl Transport for Nowhere {
    async fn exchange(&self, _: Request) -> Result<Told, SendError> {
        Ok(Told { status: StatusCode::OK, retry_after: None })
    }
}

/// Tools that never end. One asks people when it is told to, and takes that back.
struct Tools {
    asks: Arc<Notify>,
    takes_back: Arc<Notify>,
}

/// What a call may cost, in micro-dollars.
const PRICE: u64 = 600_000;

#[async_trait]
impl Provider for Tools {
    fn name(&self) -> &'static str {
        "t"
    }

    fn prefix(&self) -> &'static str {
        "t__"
    }

    async fn connect(&self) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn tools(&self) -> Result<Vec<Arc<dyn Tool>>, ProviderError> {
        let tool = |name| {
            let input_schema = json!({"type": "object"});
            let info = ToolInfo { input_schema, ..ToolInfo::undeclared(ToolName::new(name)) };
            let (asks, takes_back) = (Arc::clone(&self.asks), Arc::clone(&self.takes_back));
            Arc::new(Endless { info, asks, takes_back }) as Arc<dyn Tool>
        };
        Ok(vec![tool("t__ask"), tool("t__buy")])
    }

    async fn health(&self) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn changed(&self) -> Changed {
        std::future::pending().await
    }

    async fn close(&self) {}
}

struct Endless {
    info: ToolInfo,
    asks: Arc<Notify>,
    takes_back: Arc<Notify>,
}

#[async_trait]
impl Tool for Endless {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    fn time_limit(&self) -> Duration {
        Duration::from_secs(1_000_000)
    }

    async fn call(&self, context: &CallContext, _: &Value) -> Result<ToolAnswer, CallError> {
        if self.info.name.as_str() == "t__ask" {
            self.asks.notified().await;
            let form = Form::of(json!({"type": "object", "properties": {"name": {"type": "string"}}})).unwrap();
            let asked = context.ask.ask(Question { message: "Who?".to_owned(), form });
            futures_util::future::select(asked, std::pin::pin!(self.takes_back.notified())).await;
        }
        std::future::pending().await
    }

    fn is_priced(&self) -> bool {
        self.info.name.as_str() == "t__buy"
    }

    fn quote(&self, _: &Value) -> Spend {
        Spend::money(MicroUsd(PRICE))
    }
}

/// The operating system's, but for the steady clock.
struct Ahead {
    system: Arc<System>,
    ahead_s: Arc<AtomicU64>,
}

impl Ambient for Ahead {
    fn wall(&self) -> Timestamp {
        self.system.wall()
    }

    fn steady(&self) -> Duration {
        self.system.steady() + Duration::from_secs(self.ahead_s.load(Relaxed))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (system, ahead_s) = (Arc::clone(&self.system), Arc::clone(&self.ahead_s));
        let until = self.steady().saturating_add(duration);
        async move {
            // It may be put forward meanwhile.
            loop {
                let left = until.saturating_sub(system.steady() + Duration::from_secs(ahead_s.load(Relaxed)));
                if left.is_zero() {
                    return;
                }
                system.sleep(left.min(Duration::from_millis(20))).await;
            }
        }
        .boxed()
    }

    fn spawn_boxed(&self, task: BoxFuture<'static, ()>) -> Abort {
        self.system.spawn_boxed(task)
    }

    fn unblock_boxed(&self, work: Box<dyn FnOnce() + Send>) {
        self.system.unblock_boxed(work);
    }

    fn pause(&self, duration: Duration) {
        self.system.pause(duration);
    }

    fn chance(&self) -> f64 {
        self.system.chance()
    }
}

/// A node, and its tools.
struct Node {
    folder: tempfile::TempDir,
    ambient: Arc<Ahead>,
    asks: Arc<Notify>,
    takes_back: Arc<Notify>,
}

impl Node {
    fn new() -> Self {
        let system = Arc::new(System::new(tokio::runtime::Handle::current()));
        let ambient = Arc::new(Ahead { system, ahead_s: Arc::default() });
        Self { folder: tempfile::tempdir().unwrap(), ambient, asks: Arc::default(), takes_back: Arc::default() }
    }

    fn open(&self, disk: &SimDisk, hours: NodeHours) -> Arc<Engine> {
        let tools = Arc::new(Tools { asks: Arc::clone(&self.asks), takes_back: Arc::clone(&self.takes_back) });
        let (folder, ambient) = (self.folder.path(), self.ambient.clone());
        let engine = open_set(disk, folder, caller(), Arc::new(Nowhere), ambient, vec![tools], |settings| {
            let limits = Limits { llm_calls: None, cost: Some(MicroUsd(1_000_000)) };
            settings.budgets = vec![WiderBudget { scope: Scope::Node, per: Per::Day, limits }];
            settings.hours = Arc::new(hours);
        });
        engine.start();
        engine
    }
}

fn mission(calls: &str, further: &Value) -> String {
    let mut wanted: Value = serde_json::from_str(&envelope("m", calls)).unwrap();
    wanted["constraints"] = json!({"allowed_tools": ["*"]});
    let further = further.as_object().unwrap().clone();
    wanted.as_object_mut().unwrap().extend(further);
    wanted.to_string()
}

fn status(engine: &Engine) -> Status {
    engine.log().head(NO).unwrap().unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_its_question_back_runs_under_its_limits_again() {
    let (node, disk) = (Node::new(), SimDisk::default());
    let engine = node.open(&disk, NodeHours::default());
    engine.dispatch(mission("t__ask", &json!({"budget": {"max_runtime_minutes": 60}}))).await.unwrap();
    until("its call is made", || status(&engine) == Status::Running).await;
    node.asks.notify_one();
    until("it asks", || status(&engine) == Status::Blocked).await;
    node.ambient.ahead_s.store(2 * 60 * 60, Relaxed);
    node.takes_back.notify_one();
    until("it goes on: no time has passed", || status(&engine) == Status::Running).await;
    node.ambient.ahead_s.store(4 * 60 * 60, Relaxed);
    until("its run time is over", || status(&engine).is_final()).await;
    engine.stop().await;
}

/// The lane is shut for some hours from now on.
fn shut(now: Timestamp) -> NodeHours {
    let (zone, opens) = (Zone::utc(), (now.as_second() / 3_600 + 3) % 24);
    let hours = [format!("{opens:02}:00-{opens:02}:59")];
    let hours = Hours::parse(&hours, &[], &zone, &Calendars::none(), &Pointer::root());
    let lanes = BTreeMap::from([(LaneId::new("lane").unwrap(), hours.unwrap())]);
    NodeHours { zone, node: None, lanes }
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_plugin_runs_nowhere_takes_nothing_while_its_lane_is_shut() {
    let (node, disk) = (Node::new(), SimDisk::default());
    let engine = node.open(&disk, NodeHours::default());
    let constraints = json!({"allowed_tools": ["*"], "approval_required": ["t__buy"]});
    engine.dispatch(mission("t__buy", &json!({"constraints": constraints}))).await.unwrap();
    until("it waits for people", || status(&engine) == Status::Blocked).await;
    let found = disk.after_crash(Crash::Process);
    engine.stop().await;
    let engine = node.open(&found, shut(node.ambient.wall()));
    let approve = Decision::Approve { reach: sortie_contract::request::Reach::Call };
    engine.decide(NO, RequestNo(1), approve, "op".to_owned(), String::new()).await.unwrap();
    let reserved = engine.budgets(|standing| standing.reserved.cost.0)[0];
    assert_eq!(reserved, 0, "before its lane opens it takes nothing of the node's budget");
    engine.stop().await;
}
