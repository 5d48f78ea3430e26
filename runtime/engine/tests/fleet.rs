//! Several drivers over one store: what is another's is not decided here, what one left that is silent goes on at another, and a call with
//! an effect is made by nobody who is not certain that it is theirs to make.
//!
//! The driver as it is shipped, over a store in memory; how time passes there, and who is silent, the test says.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

#[expect(dead_code, reason = "here nodes are opened on a store of the test's own")]
mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sortie_ambient::{Surroundings, System};
use sortie_callback::{Reply, Request, SendError, StatusCode, Transport};
use sortie_contract::plugin::Brief;
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo, ToolName};
use sortie_contract::{InstanceId, Status};
use sortie_engine::fleet::{Card, Own};
use sortie_engine::intake::DispatchError;
use sortie_engine::{Engine, Guests, OpenLog, ReadError};
use sortie_journal::{Bookmark, Log as _, MemoryFleet, MemoryLog};
use sortie_sandbox::Host;
use sortie_tools::{CallContext, Changed, Provider, ProviderError, Tool};
use tempfile::TempDir;
use tokio::sync::Notify;

use common::{Play, done, envelope, open_on, until};

/// How long a share is held, by the clock of the store.
const LEASE: Duration = Duration::from_secs(10);

/// How often nodes look at each other, threefold, by the clock of the machine.
const LOOKS: Duration = Duration::from_millis(60);

/// Who takes events, whichever node sends them.
#[derive(Default)]
struct Receiver(Mutex<Vec<Value>>);

#[async_trait]
impl Transport for Receiver {
    async fn exchange(&self, request: Request) -> Result<Reply, SendError> {
        self.0.lock().push(serde_json::from_slice(&request.body).unwrap());
        Ok(Reply { status: StatusCode::OK, retry_after: None })
    }
}

impl Receiver {
    /// The sequences of a mission's events, as they came, and how many of them are an end.
    fn of(&self, id: &str) -> (Vec<u64>, usize) {
        let all = self.0.lock();
        let of = || all.iter().filter(|event| event["mission_id"] == id);
        let ends = of().filter(|event| event["status"] == "completed").count();
        (of().map(|event| event["sequence"].as_u64().unwrap()).collect(), ends)
    }
}

/// A tool with an effect, which is counted; each node has its own count.
struct Tools {
    calls: Arc<AtomicUsize>,
}

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
        let info = ToolInfo { input_schema: json!({"type": "object"}), ..ToolInfo::undeclared(ToolName::new("t__do")) };
        Ok(vec![Arc::new(Effect { info, calls: Arc::clone(&self.calls) })])
    }

    async fn health(&self) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn changed(&self) -> Changed {
        std::future::pending().await
    }

    async fn close(&self) {}
}

struct Effect {
    info: ToolInfo,
    calls: Arc<AtomicUsize>,
}

#[async_trait]
impl Tool for Effect {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    async fn call(&self, _: &CallContext, _: &Value) -> Result<ToolAnswer, CallError> {
        self.calls.fetch_add(1, Relaxed);
        Ok(ToolAnswer { result: "{}".to_owned(), wrote: Vec::new() })
    }
}

/// A node of a store.
struct Node {
    engine: Arc<Engine>,
    calls: Arc<AtomicUsize>,
    folder: TempDir,
}

fn node(store: &MemoryFleet, name: &str, guests: Arc<dyn Guests>, wire: &Arc<Receiver>) -> Node {
    node_in(tempfile::tempdir().unwrap(), store, name, guests, wire)
}

fn node_in(folder: TempDir, store: &MemoryFleet, name: &str, guests: Arc<dyn Guests>, wire: &Arc<Receiver>) -> Node {
    let log: MemoryLog = store.open(name, name);
    let log: OpenLog = Box::new(move |visit| {
        log.heads_oldest_first(None, usize::MAX)?.into_iter().for_each(|(no, head)| visit(no, head));
        Ok(Arc::new(log))
    });
    let ambient: Surroundings = Arc::new(System::new(tokio::runtime::Handle::current()));
    let calls = Arc::new(AtomicUsize::new(0));
    let tools: Vec<Arc<dyn Provider>> = vec![Arc::new(Tools { calls: Arc::clone(&calls) })];
    let wire = Arc::clone(wire) as Arc<dyn Transport>;
    let engine = open_on(log, folder.path(), guests, wire, ambient, tools, |settings| {
        settings.rules.instance_id = InstanceId::new(name).unwrap();
    });
    let card = Card { url: Some(format!("http://{name}:1")), ..Card::default() };
    engine.among(Own { card, plugins: Box::new(Vec::new), lease: LOOKS });
    engine.start();
    engine.start_fleet();
    Node { engine, calls, folder }
}

impl Node {
    async fn knows(&self, others: usize) {
        let known = || {
            let members = self.engine.members();
            members.len() == others + 1 && members.iter().all(|member| member.card.url.is_some())
        };
        until("they know each other", known).await;
    }

    fn status(&self, id: &str) -> Option<Status> {
        let no = self.engine.find(id).unwrap()?;
        Some(self.engine.log().head(no).unwrap()?.status)
    }
}

fn meant(id: &str, target: &str, objective: &str) -> String {
    let mut envelope: Value = serde_json::from_str(&envelope(id, objective)).unwrap();
    (envelope["target_instance_id"], envelope["vp_id"]) = (target.into(), format!("vp.{id}").into());
    envelope["vp_session_id"] = format!("s.{id}").into();
    envelope["constraints"] = json!({"allowed_tools": ["t__do"]});
    envelope.to_string()
}

/// A plugin that waits until it may, makes a call with an effect, and is done.
fn calling(may: &Arc<Notify>) -> Arc<dyn Guests> {
    let may = Arc::clone(may);
    Arc::new(Play(move |brief: Brief, host: Arc<dyn Host>| {
        let may = Arc::clone(&may);
        async move {
            if brief.objective == "call" {
                may.notified().await;
                drop(host.start(&ToolName::new("t__do"), "{}".to_owned()).answer.await);
            }
            done()
        }
    }))
}

fn allowed() -> Arc<Notify> {
    let may = Arc::new(Notify::new());
    may.notify_one();
    may
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_anothers_is_told_to_whoever_asks_and_goes_on_where_it_left_off() {
    let (store, wire) = (MemoryFleet::new(LEASE), Arc::new(Receiver::default()));
    let a = node(&store, "a", calling(&allowed()), &wire);
    let held = Arc::new(Notify::new());
    let b = node(&store, "b", calling(&held), &wire);
    a.knows(1).await;
    b.knows(1).await;
    // The one that is named, and the one that has the VP.
    let text = meant("m-1", "b", "call");
    let elsewhere = a.engine.dispatch(text.clone()).await;
    assert!(matches!(&elsewhere, Err(DispatchError::Elsewhere(member)) if member.name == "b"), "{elsewhere:?}");
    b.engine.dispatch_here(text.clone()).await.unwrap();
    let again = a.engine.dispatch_here(text.clone()).await;
    assert!(matches!(&again, Err(DispatchError::Elsewhere(member)) if member.name == "b"), "{again:?}");
    assert_eq!(a.engine.holder("m-1").unwrap().map(|member| member.name).as_deref(), Some("b"));
    // Nobody of that name.
    let nobody = a.engine.dispatch(meant("m-2", "z", "call")).await;
    assert!(matches!(nobody, Err(DispatchError::WrongInstance { .. })), "{nobody:?}");
    until("it runs there", || b.status("m-1") == Some(Status::Running)).await;
    // It falls silent: the other goes on with it, and no call is made twice.
    store.pause("b", true);
    store.pass(LEASE * 2);
    until("it ended here", || a.status("m-1") == Some(Status::Completed)).await;
    until("its end is told", || wire.of("m-1").1 == 1).await;
    held.notify_one();
    store.pause("b", false);
    until("the silent one has found out", || {
        b.engine.log().poisoned().is_some() || {
            // Whatever it tries next tells it.
            b.engine.log().barrier().is_err()
        }
    })
    .await;
    assert_eq!((a.calls.load(Relaxed), b.calls.load(Relaxed)), (1, 0), "the call is made where the mission is");
    let (sequences, ends) = wire.of("m-1");
    assert_eq!((sequences.clone(), ends), ((1..=sequences.len() as u64).collect(), 1));
    // What names it is this one's now.
    let replayed = a.engine.dispatch(text).await.unwrap();
    assert!(replayed.replayed);
    a.engine.dispatch(meant("m-3", "b", "nothing")).await.unwrap();
    until("it ended here", || a.status("m-3") == Some(Status::Completed)).await;
    a.engine.stop().await;
    // Also once it has started again.
    let a = node(&store, "a", calling(&allowed()), &wire);
    until("it has looked around", || a.engine.fleet_seen().is_some()).await;
    a.engine.dispatch(meant("m-4", "b", "nothing")).await.unwrap();
    until("it ended here", || a.status("m-4") == Some(Status::Completed)).await;
    a.engine.stop().await;
}

/// The missions and sequences of all events behind that place, as that node tells them, and by what each is resumed.
fn told(node: &Node, mut from: Bookmark) -> Vec<(String, u64, Bookmark)> {
    let (mut told, mut is_over) = (Vec::new(), false);
    loop {
        let since = node.engine.ambient().steady();
        let (events, to) = node.engine.events_of_all(&from, since, 2, usize::MAX).unwrap();
        assert!(events.len() <= 2, "{events:?}");
        // Entries without events are passed over: nothing is told only where there is nothing more.
        assert!(!is_over || events.is_empty(), "{events:?}");
        is_over |= events.is_empty();
        for event in events {
            let json: Value = serde_json::from_str(&event.json).unwrap();
            let id = json["mission_id"].as_str().unwrap().to_owned();
            told.push((id, json["sequence"].as_u64().unwrap(), event.id.parse().unwrap()));
        }
        if to == from {
            return told;
        }
        from = to;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_all_are_told_by_each_and_go_on_behind_any_of_them() {
    let (store, wire) = (MemoryFleet::new(LEASE), Arc::new(Receiver::default()));
    let [a, b] = ["a", "b"].map(|name| node(&store, name, calling(&allowed()), &wire));
    for (node, id) in [(&a, "m-a"), (&b, "m-b"), (&b, "m-c")] {
        node.engine.dispatch_here(meant(id, "*", "nothing")).await.unwrap();
        until("it ended", || node.status(id) == Some(Status::Completed)).await;
    }
    let names = |told: &[(String, u64, Bookmark)]| {
        let names: Vec<(String, u64)> = told.iter().map(|(id, sequence, _)| (id.clone(), *sequence)).collect();
        for id in ["m-a", "m-b", "m-c"] {
            let of_id = names.iter().filter(|(of, _)| of == id).map(|(_, sequence)| *sequence);
            assert!(of_id.clone().is_sorted(), "{id}: {names:?}");
        }
        names
    };
    let all = told(&a, Bookmark::default());
    let whole: BTreeSet<(String, u64)> = names(&all).into_iter().collect();
    assert!(whole.len() > 6 && whole.len() == all.len(), "{all:?}");
    for id in ["m-a", "m-b", "m-c"] {
        let of_id: Vec<u64> = whole.iter().filter(|(of, _)| of == id).map(|(_, sequence)| *sequence).collect();
        assert_eq!(of_id, (1..=of_id.len() as u64).collect::<Vec<_>>(), "{id}");
    }
    assert_eq!(names(&told(&b, Bookmark::default())).into_iter().collect::<BTreeSet<_>>(), whole);
    // Who breaks off behind any of them goes on at the other one.
    for seen in 1..=all.len() {
        let rest = names(&told(&b, all[seen - 1].2.clone()));
        let both: Vec<(String, u64)> = names(&all[..seen]).into_iter().chain(rest).collect();
        assert_eq!(both.len(), whole.len(), "behind {:?}: {both:?}", all[seen - 1]);
        assert_eq!(both.into_iter().collect::<BTreeSet<_>>(), whole, "behind {:?}", all[seen - 1]);
    }
    let beyond = a.engine.events_of_all(&"f~9.1".parse().unwrap(), Duration::ZERO, 2, 1);
    assert!(matches!(beyond, Err(ReadError::Ahead { .. })));
    for node in [a, b] {
        node.engine.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_come_at_once_are_spread_before_anybody_tells_of_them() {
    let (store, wire, held) = (MemoryFleet::new(LEASE), Arc::new(Receiver::default()), Arc::new(Notify::new()));
    let [a, b, c] = ["a", "b", "c"].map(|name| node(&store, name, calling(&held), &wire));
    a.knows(2).await;
    let told = || a.engine.members().iter().all(|member| !member.card.tools.is_empty());
    until("they have told of their tools", told).await;
    let mut given = BTreeSet::new();
    for no in 0..100 {
        // Those that it would send on never come there: nobody else tells of more to do.
        match a.engine.dispatch(meant(&format!("m-{no}"), "*", "call")).await {
            Ok(_) => given.insert("a".to_owned()),
            Err(DispatchError::Elsewhere(member)) => given.insert(member.name),
            Err(error) => panic!("{error}"),
        };
    }
    assert_eq!(given, BTreeSet::from(["a", "b", "c"].map(str::to_owned)));
    for node in [a, b, c] {
        node.engine.stop().await;
    }
}

/// A plugin that writes a file, says so, and waits until it may be done.
fn writing(wrote: &Arc<Notify>, may: &Arc<Notify>) -> Arc<dyn Guests> {
    let (wrote, may) = (Arc::clone(wrote), Arc::clone(may));
    Arc::new(Play(move |_: Brief, host: Arc<dyn Host>| {
        let (wrote, may) = (Arc::clone(&wrote), Arc::clone(&may));
        async move {
            let arguments = json!({"path": "a.txt", "content": "x"}).to_string();
            drop(host.start(&ToolName::new("Write"), arguments).answer.await);
            wrote.notify_one();
            may.notified().await;
            done()
        }
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ended_while_it_adopted_keeps_in_mind_where_files_are_when_it_starts_again() {
    let (store, wire, wrote) = (MemoryFleet::new(LEASE), Arc::new(Receiver::default()), Arc::new(Notify::new()));
    let b = node(&store, "b", writing(&wrote, &Arc::new(Notify::new())), &wire);
    let mut text: Value = serde_json::from_str(&meant("m-1", "b", "write")).unwrap();
    text["constraints"] = json!({"allowed_tools": ["Write"]});
    b.engine.dispatch(text.to_string()).await.unwrap();
    wrote.notified().await;
    store.pause("b", true);
    store.pass(LEASE * 2);
    // The log has given it, and that it was asked is all that is kept.
    let (folder, share) = (tempfile::tempdir().unwrap(), b.engine.log().fleet().unwrap().share());
    let workspaces = folder.path().join("workspaces");
    std::fs::create_dir_all(&workspaces).unwrap();
    std::fs::write(workspaces.join("adopting"), "").unwrap();
    let adopter: MemoryLog = store.open("a", "a");
    adopter.fleet().unwrap().adopt(share, &mut |_, _| ()).unwrap();
    drop(adopter);
    let a = node_in(folder, &store, "a", writing(&Arc::new(Notify::new()), &allowed()), &wire);
    assert!(!a.folder.path().join("workspaces/adopting").exists(), "it is kept in mind by session");
    let no = a.engine.find("m-1").unwrap().unwrap();
    while !a.engine.go_on_empty(no).await.unwrap() {
        assert_ne!(a.status("m-1"), Some(Status::Completed), "it went on without its files");
        tokio::task::yield_now().await;
    }
    until("it goes on once somebody says so", || a.status("m-1") == Some(Status::Completed)).await;
    a.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatch_that_is_refused_leaves_its_vp_at_home_nowhere() {
    let (store, wire) = (MemoryFleet::new(LEASE), Arc::new(Receiver::default()));
    let a = node(&store, "a", calling(&allowed()), &wire);
    let text = meant("m-1", "b", "nothing");
    let nobody = a.engine.dispatch(text.clone()).await;
    assert!(matches!(nobody, Err(DispatchError::WrongInstance { .. })), "{nobody:?}");
    // Now there is one of that name, and all of it is its own.
    let b = node(&store, "b", calling(&allowed()), &wire);
    let taken = b.engine.dispatch(text).await.unwrap();
    assert!(!taken.replayed);
    until("it ended there", || b.status("m-1") == Some(Status::Completed)).await;
    a.engine.stop().await;
    b.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_certain_makes_no_call_until_it_is() {
    let (store, wire) = (MemoryFleet::new(LEASE), Arc::new(Receiver::default()));
    let may = Arc::new(Notify::new());
    let b = node(&store, "b", calling(&may), &wire);
    b.engine.dispatch(meant("m-1", "b", "call")).await.unwrap();
    until("it runs", || b.status("m-1") == Some(Status::Running)).await;
    store.pause("b", true);
    store.pass(LEASE);
    may.notify_one();
    let no = b.engine.find("m-1").unwrap().unwrap();
    let is_granted = || {
        let records = b.engine.log().read_all(no, 0).unwrap();
        records.iter().any(|stamped| matches!(stamped.record, sortie_contract::Record::CallStarted { .. }))
    };
    until("the call is granted, and on record", is_granted).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!((b.calls.load(Relaxed), wire.of("m-1").1), (0, 0), "it is not certain that it is its own");
    store.pause("b", false);
    until("it goes on by itself", || b.status("m-1") == Some(Status::Completed)).await;
    assert_eq!(b.calls.load(Relaxed), 1);
    b.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_drained_takes_nothing_and_what_it_had_goes_on_at_once() {
    let (store, wire) = (MemoryFleet::new(LEASE), Arc::new(Receiver::default()));
    let a = node(&store, "a", calling(&allowed()), &wire);
    let b = node(&store, "b", calling(&Arc::new(Notify::new())), &wire);
    a.knows(1).await;
    b.engine.dispatch_here(meant("m-1", "b", "call")).await.unwrap();
    until("it runs there", || b.status("m-1") == Some(Status::Running)).await;
    b.engine.drain();
    let refused = b.engine.dispatch_here(meant("m-2", "b", "call")).await;
    assert!(matches!(refused, Err(DispatchError::Draining)), "{refused:?}");
    b.engine.drained().await;
    b.engine.stop().await;
    // No time passes in the store.
    until("it ended here", || a.status("m-1") == Some(Status::Completed)).await;
    assert_eq!(a.calls.load(Relaxed), 1);
    let no = a.engine.find("m-1").unwrap().unwrap();
    assert_eq!(a.engine.log().head(no).unwrap().unwrap().crashes, 0, "it was no crash");
    a.engine.stop().await;
}
