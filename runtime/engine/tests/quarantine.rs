//! A node on whose disk rows of one mission went bad: it starts, everybody else is served, and the mission is mended or has its one end.
//!
//! The driver as it is shipped, over a simulated disk and real time: each life is opened on what the one before left. Guests do what
//! the objective says.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sortie_ambient::System;
use sortie_callback::{Reply, Request, SendError, StatusCode, Transport};
use sortie_contract::plugin::Brief;
use sortie_contract::request::{Decision, RequestNo};
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo, ToolName};
use sortie_contract::{MicroUsd, MissionNo, Reason, Spend, Status};
use sortie_engine::search::Filter;
use sortie_engine::{Engine, Guests};
use sortie_journal::sim::{Crash, SimDisk, Spot, spoil};
use sortie_mission::Limits;
use sortie_mission::wider::{Per, Scope, WiderBudget};
use sortie_sandbox::{Ending, Host};
use sortie_tools::{CallContext, Changed, Provider, ProviderError, Tool};

use common::{Play, done, envelope, open, open_with, until};

/// Plugins that do what the objective says, and count their runs.
fn obedient(runs: &Arc<AtomicUsize>) -> Arc<dyn Guests> {
    let runs = Arc::clone(runs);
    Arc::new(Play(move |brief: Brief, host: Arc<dyn Host>| {
        runs.fetch_add(1, Relaxed);
        async move {
            if host.milestone("The first of several steps.".to_owned()).is_err() {
                return Ending::Killed;
            }
            match brief.objective.as_str() {
                "hang" => std::future::pending::<()>().await,
                "ask" => {
                    let call = host.ask("Which one?".to_owned());
                    host.waits(true);
                    drop(call.answer.await);
                }
                "buy" => {
                    let call = host.start(&ToolName::new("shop__buy"), "{}".to_owned());
                    if host.milestone("It is paid for.".to_owned()).is_err() {
                        return Ending::Killed;
                    }
                    drop(call.answer.await);
                }
                "sleep" => {
                    let timer = host.after(Duration::from_secs(50_000));
                    host.waits(true);
                    drop(timer.await);
                }
                _ => {}
            }
            done()
        }
    }))
}

/// What a control plane has received, by key; `None` for as long as it is down.
#[derive(Debug, Default)]
struct Headquarters {
    down: Mutex<bool>,
    received: Mutex<BTreeMap<String, Value>>,
}

struct Wire(Arc<Headquarters>);

#[async_trait]
impl Transport for Wire {
    async fn exchange(&self, request: Request) -> Result<Reply, SendError> {
        if *self.0.down.lock() {
            return Err(SendError::Connect(String::new()));
        }
        let event: Value = serde_json::from_slice(&request.body).unwrap();
        let key = event["idempotency_key"].as_str().unwrap().to_owned();
        let before = self.0.received.lock().insert(key.clone(), event.clone());
        assert!(before.is_none_or(|before| before == event), "{key} is told twice, and otherwise");
        Ok(Reply { status: StatusCode::OK, retry_after: None })
    }
}

impl Headquarters {
    /// The events of a mission: sequence and type.
    fn events_of(&self, mission: &str) -> Vec<(u64, String)> {
        let received = self.received.lock();
        let of_mission = received.values().filter(|event| event["mission_id"] == mission);
        let mut events: Vec<_> = of_mission
            .map(|event| (event["sequence"].as_u64().unwrap(), event["event_type"].as_str().unwrap().to_owned()))
            .collect();
        events.sort();
        events
    }
}

struct Life {
    engine: Arc<Engine>,
    /// Of its plugins.
    runs: Arc<AtomicUsize>,
}

fn live(disk: &SimDisk, folder: &Path, headquarters: &Arc<Headquarters>) -> Life {
    let runs = Arc::default();
    let ambient = Arc::new(System::new(tokio::runtime::Handle::current()));
    let engine = open(disk, folder, obedient(&runs), Arc::new(Wire(Arc::clone(headquarters))), ambient);
    Life { engine, runs }
}

/// How a mission stands when its node dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    Running,
    Blocked,
    Sleeping,
    Undelivered,
}

const NO: MissionNo = MissionNo(1);

impl State {
    const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Blocked, Self::Sleeping, Self::Undelivered];

    fn objective(self) -> &'static str {
        match self {
            Self::Queued | Self::Undelivered => "work",
            Self::Running => "hang",
            Self::Blocked => "ask",
            Self::Sleeping => "sleep",
        }
    }

    /// The disk of a node that died with a mission that stood so, and how many frames that mission has.
    async fn disk(self, folder: &Path, headquarters: &Arc<Headquarters>) -> (SimDisk, usize) {
        let disk = SimDisk::default();
        let Life { engine, .. } = live(&disk, folder, headquarters);
        *headquarters.down.lock() = self == Self::Undelivered;
        if self == Self::Queued {
            engine.pause(true).await.unwrap();
        }
        engine.start();
        engine.dispatch(envelope("m", self.objective())).await.unwrap();
        let head = || engine.log().head(NO).unwrap().unwrap();
        let told = |sequence: u64| headquarters.events_of("m").iter().any(|(last, _)| *last == sequence);
        let stands = || match self {
            Self::Queued => told(1),
            Self::Running => told(3),
            Self::Blocked => head().suspended && head().status == Status::Blocked && told(4),
            Self::Sleeping => head().suspended && told(3),
            Self::Undelivered => head().status == Status::Completed,
        };
        until(&format!("{self:?}"), stands).await;
        let found = disk.after_crash(Crash::Process);
        let frames = engine.log().feed_after(0, 1_000).unwrap().len();
        engine.stop().await;
        *headquarters.down.lock() = false;
        if self == Self::Queued {
            std::fs::remove_file(folder.join("paused")).unwrap();
        }
        (found, frames)
    }
}

/// What goes bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    First,
    Last,
    Head,
    Cursor,
    HeadAndLast,
    HeadAndFirst,
}

impl Damage {
    const ALL: [Self; 6] = [Self::First, Self::Last, Self::Head, Self::Cursor, Self::HeadAndLast, Self::HeadAndFirst];

    fn spots(self, frames: usize) -> Vec<Spot> {
        let (first, last) = (Spot::Frame(0), Spot::Frame(frames - 1));
        match self {
            Self::First => vec![first],
            Self::Last => vec![last],
            Self::Head => vec![Spot::Head],
            Self::Cursor => vec![Spot::Cursor],
            Self::HeadAndLast => vec![Spot::Head, last],
            Self::HeadAndFirst => vec![Spot::Head, first],
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_whatever_went_bad_of_one_mission_and_that_mission_has_one_end() {
    let all = State::ALL.into_iter().flat_map(|state| Damage::ALL.map(|damage| (state, damage)));
    futures_util::future::join_all(all.map(|(state, damage)| starts(state, damage))).await;
}

/// One state and one damage, from the first life to the third.
async fn starts(state: State, damage: Damage) {
    let (folder, headquarters) = (tempfile::tempdir().unwrap(), Arc::default());
    let (disk, frames) = state.disk(folder.path(), &headquarters).await;
    let spots = damage.spots(frames);
    spoil(&disk, NO, &spots);
    let context = format!("{state:?}, {damage:?}");
    let life = live(&disk, folder.path(), &headquarters);
    life.engine.start();
    // Its session goes on without it: one that still runs or asks keeps its turn.
    let is_first_lost = spots.contains(&Spot::Frame(0));
    match damage {
        Damage::Head | Damage::Cursor => mended(state, &life, &headquarters, &context).await,
        _ if is_first_lost && spots.contains(&Spot::Head) => {
            assert_eq!(life.engine.find("m").unwrap(), None, "{context}: nobody knows its name");
            until(&context, || life.engine.quarantined() == 1).await;
        }
        _ => quarantined(state, &life, &headquarters, !is_first_lost, &context).await,
    }
    if !matches!(damage, Damage::Head | Damage::Cursor) {
        let other = envelope("other", "work");
        life.engine.dispatch(other).await.unwrap();
        let ended = || headquarters.events_of("other").iter().any(|(_, kind)| kind == "mission.completed");
        until(&format!("{context}: its session goes on"), ended).await;
        let shown = life.engine.show(NO).map(|shown| serde_json::to_value(shown).unwrap()).ok();
        life.engine.stop().await;
        let again = live(&disk.after_crash(Crash::Process), folder.path(), &headquarters);
        assert_eq!(again.engine.quarantined(), 1, "{context}: it is known after a restart");
        let shown_then = again.engine.show(NO).map(|shown| serde_json::to_value(shown).unwrap()).ok();
        assert_eq!(shown_then, shown, "{context}: and is what it was");
    } else {
        life.engine.stop().await;
    }
}

/// Its head, or how far its delivery is, is made anew: it goes on as if nothing had been.
async fn mended(state: State, life: &Life, headquarters: &Headquarters, context: &str) {
    let engine = &life.engine;
    assert_eq!((engine.quarantined(), engine.log().headless()), (0, vec![]), "{context}");
    until(context, || engine.log().head(NO).is_ok()).await;
    let again = engine.dispatch(envelope("m", state.objective())).await.unwrap();
    assert!(again.replayed, "{context}: it is known by its key");
    let status = || engine.log().head(NO).unwrap().map(|head| head.status);
    match state {
        State::Running => until(context, || life.runs.load(Relaxed) == 1).await,
        State::Sleeping => until(context, || status() == Some(Status::Running)).await,
        State::Blocked => {
            let decision = Decision::Answer { text: "This one.".to_owned() };
            engine.decide(NO, RequestNo(1), decision, "ada".to_owned(), String::new()).await.unwrap();
        }
        State::Queued | State::Undelivered => {}
    }
    if matches!(state, State::Blocked | State::Queued | State::Undelivered) {
        let told = || headquarters.events_of("m").last().is_some_and(|(_, kind)| kind == "mission.completed");
        until(context, told).await;
        let sequences: Vec<u64> = headquarters.events_of("m").iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "{context}");
    }
    assert!(engine.show(NO).unwrap().quarantine.is_none(), "{context}");
}

/// It has one end, its control plane is told, and its bytes are kept.
async fn quarantined(state: State, life: &Life, headquarters: &Headquarters, has_address: bool, context: &str) {
    let engine = &life.engine;
    if state == State::Blocked {
        // Nobody looks at it until something is to be done.
        let decision = Decision::Answer { text: "This one.".to_owned() };
        let decided = engine.decide(NO, RequestNo(1), decision, "ada".to_owned(), String::new()).await;
        assert!(decided.is_err(), "{context}");
    }
    let (status, reason) = match state {
        State::Undelivered if !context.contains("HeadAndLast") => (Status::Completed, Reason::Done),
        _ => (Status::Failed, Reason::Unreadable),
    };
    until(context, || engine.quarantined() == 1 && engine.log().head(NO).is_ok_and(|head| head.is_some())).await;
    let head = engine.log().head(NO).unwrap().unwrap();
    assert_eq!((head.status, head.suspended), (status, false), "{context}");
    let shown = engine.show(NO).unwrap();
    assert_eq!((shown.status, shown.reason), (status, Some(reason)), "{context}");
    let items = head.overview.unwrap().pending.unwrap().items;
    assert!(shown.delivery.is_none_or(|delivery| delivery.total == items), "{context}: the head says {items}");
    let quarantine = shown.quarantine.expect("it says so");
    assert!(quarantine.why.contains("checksum") && quarantine.remedy.contains("backup"), "{context}: {quarantine:?}");
    let list = serde_json::to_value(engine.list(&Filter::default(), None, 9).unwrap()).unwrap();
    assert_eq!(
        (&list["items"][0]["quarantined"], &list["items"][0]["status"]),
        (&json!(true), &json!(status)),
        "{context}"
    );
    assert!(engine.log().remains(NO).unwrap().why.is_some(), "{context}: what is left of it is kept");
    let last = engine.events(NO, 0, 100).unwrap().events.pop().unwrap();
    if !has_address {
        let cursor = engine.log().cursor(NO).unwrap().unwrap();
        assert!(cursor.parked.is_some(), "{context}: an operator sees what is not told");
        let list = serde_json::to_value(engine.deliveries(None, None, 9).unwrap()).unwrap();
        assert_eq!(list["items"][0]["waiting"], json!(items - cursor.acked), "{context}");
        return;
    }
    let told = || headquarters.events_of("m").last().is_some_and(|(sequence, _)| *sequence == last.id);
    until(&format!("{context}: its end is told"), told).await;
    let events = headquarters.events_of("m");
    let sequences: Vec<u64> = events.iter().map(|(sequence, _)| *sequence).collect();
    let finals = |kind: &str| matches!(kind, "mission.completed" | "mission.failed");
    assert_eq!(events.iter().filter(|(_, kind)| finals(kind)).count(), 1, "{context}: {events:?}");
    assert!(finals(&events.last().unwrap().1), "{context}: {events:?}");
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "{context}: no number twice, and no gap");
    until(context, || engine.log().cursor(NO).unwrap().is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_runs_while_its_record_goes_bad_stops() {
    let (folder, headquarters) = (tempfile::tempdir().unwrap(), Arc::default());
    let disk = SimDisk::default();
    let life = live(&disk, folder.path(), &headquarters);
    life.engine.start();
    life.engine.dispatch(envelope("m", "hang")).await.unwrap();
    until("it runs", || life.engine.log().cursor(NO).unwrap().is_some_and(|cursor| cursor.acked == 3)).await;
    disk.garble(b"The first of several steps.");
    until("somebody looks", || {
        let _ = life.engine.show(NO);
        life.engine.quarantined() == 1
    })
    .await;
    let shown = serde_json::to_value(life.engine.show(NO).unwrap()).unwrap();
    assert_eq!(
        (&shown["status"], &shown["reason"], &shown["sequence"]),
        (&json!("failed"), &json!("unreadable"), &json!(4))
    );
    until("its slot is free", || life.engine.turns().running == 0).await;
    until("its end is told", || headquarters.events_of("m").len() == 4).await;
    life.engine.stop().await;
}

/// What a call of the shop may cost, in micro-dollars. It never ends.
const PRICE: u64 = 600_000;

struct Shop;

#[async_trait]
impl Provider for Shop {
    fn name(&self) -> &'static str {
        "shop"
    }

    fn prefix(&self) -> &'static str {
        "shop__"
    }

    async fn connect(&self) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn tools(&self) -> Result<Vec<Arc<dyn Tool>>, ProviderError> {
        let input_schema = json!({"type": "object"});
        Ok(vec![Arc::new(Buy(ToolInfo { input_schema, ..ToolInfo::undeclared(ToolName::new("shop__buy")) }))])
    }

    async fn health(&self) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn changed(&self) -> Changed {
        std::future::pending().await
    }

    async fn close(&self) {}
}

struct Buy(ToolInfo);

#[async_trait]
impl Tool for Buy {
    fn info(&self) -> &ToolInfo {
        &self.0
    }

    async fn call(&self, _: &CallContext, _: &Value) -> Result<ToolAnswer, CallError> {
        std::future::pending().await
    }

    fn is_priced(&self) -> bool {
        true
    }

    fn quote(&self, _: &Value) -> Spend {
        Spend::money(MicroUsd(PRICE))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_had_set_aside_of_wider_budgets_counts_as_spent() {
    let (folder, headquarters) = (tempfile::tempdir().unwrap(), Arc::<Headquarters>::default());
    let open = |disk: &SimDisk| {
        let limits = Limits { llm_calls: None, cost: Some(MicroUsd(1_000_000)) };
        let budgets = vec![WiderBudget { scope: Scope::Node, per: Per::Day, limits }];
        let (guests, wire) = (obedient(&Arc::default()), Arc::new(Wire(Arc::clone(&headquarters))));
        let ambient = Arc::new(System::new(tokio::runtime::Handle::current()));
        let engine = open_with(disk, folder.path(), guests, wire, ambient, vec![Arc::new(Shop)], budgets);
        engine.start();
        engine
    };
    let books = |engine: &Engine| engine.budgets(|standing| (standing.spent.cost.0, standing.reserved.cost.0))[0];
    let disk = SimDisk::default();
    let engine = open(&disk);
    let mut wanted: Value = serde_json::from_str(&envelope("m", "buy")).unwrap();
    wanted["constraints"] = json!({"allowed_tools": ["*"]});
    engine.dispatch(wanted.to_string()).await.unwrap();
    let told = || headquarters.events_of("m").len();
    until("it has paid, and said so", || books(&engine) == (0, PRICE) && told() == 4).await;
    // Its node dies, and one of its records goes bad: out of memory, only what can be read says what it had set aside.
    let found = disk.after_crash(Crash::Process);
    let frames = engine.log().feed_after(0, 1_000).unwrap().len();
    spoil(&found, NO, &[Spot::Frame(frames - 1)]);
    // In memory nothing is lost.
    disk.garble(b"The first of several steps.");
    until("somebody looks", || {
        let _ = engine.show(NO);
        engine.quarantined() == 1
    })
    .await;
    assert_eq!(books(&engine), (PRICE, 0));
    engine.stop().await;
    let engine = open(&found);
    until("it is in quarantine", || engine.quarantined() == 1).await;
    assert_eq!(books(&engine), (PRICE, 0), "nothing is set aside for what nobody makes any more");
    engine.stop().await;
    let again = open(&found.after_crash(Crash::Process));
    assert_eq!(books(&again), (PRICE, 0), "and so it is on the disk");
    again.stop().await;
}
