//! Missions that missions dispatch: each is there once and ends once, whatever breaks off in between; its end comes to its parent, and its parent's
//! end to it; and a lane with one place is enough for a whole family.
//!
//! The driver as it is shipped, over a simulated disk.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod away;
#[expect(dead_code, reason = "here a node is opened with settings of its own")]
mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sortie_ambient::System;
use sortie_callback::{Reply as Told, Request, SendError, StatusCode, Transport};
use sortie_contract::plugin::{Brief, Verdict};
use sortie_contract::request::{Decision, RequestNo};
use sortie_contract::{MissionNo, Record, SessionId, Status, VpId};
use sortie_engine::intake::DispatchError;
use sortie_engine::recover::Others;
use sortie_engine::{Disk, Engine, Guests, OpenLog};
use sortie_journal::sim::{Crash, SimDisk};
use sortie_journal::{EmbeddedLog, Journal, Options};
use sortie_mission::{Mission, Retention, Retentions};
use sortie_sandbox::{Call, Ending, Host, Reply, Stop};

use away::{Away, Flaky};
use common::{Given, Play, done, envelope, open_given, until};

struct Nowhere;

#[async_trait]
impl Transport for Nowhere {
    async fn exchange(&self, _: Request) -> Result<Told, SendError> {
        Ok(Told { status: StatusCode::OK, retry_after: None })
    }
}

/// What plugins saw, and whether those that wait may go on.
#[derive(Default)]
struct Seen {
    /// By run of a parent: the ends of its children, or why one was not dispatched.
    told: Mutex<Vec<Value>>,
    /// How often a child did its work, by its name.
    worked: Mutex<BTreeMap<String, usize>>,
    /// Children that hang go on.
    goes_on: AtomicBool,
}

/// A child that does what it is told.
fn order(objective: &str) -> Value {
    json!({ "objective": objective, "mission_type": "automation", "inputs": { "steps": [] } })
}

/// The result of a call, wherever it is.
async fn result(host: &dyn Host, call: Call) -> Result<Value, Stop> {
    let number = call.number;
    let mut reply = call.answer.await?;
    if let Reply::Recorded(None) = reply {
        reply = host.again(number.unwrap()).await?;
    }
    Ok(match reply {
        Reply::Only(Ok(text)) => serde_json::from_str(&text).unwrap(),
        Reply::Only(Err(error)) => json!({ "error": error.code(), "says": error.to_string() }),
        Reply::Recorded(held) => serde_json::from_str(&held.unwrap().result).unwrap(),
    })
}

/// Dispatches what its objective says, with commas between, and waits for all of it.
async fn parent(brief: Brief, host: Arc<dyn Host>, seen: Arc<Seen>) -> Result<Ending, Stop> {
    while brief.mission_id.starts_with("late") && !seen.goes_on.load(Relaxed) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let mut calls = Vec::new();
    for objective in brief.objective.strip_prefix("parent:").unwrap().split(',') {
        match host.dispatch(order(objective).to_string()).await? {
            Ok(call) => calls.push(call),
            Err(error) => {
                seen.told.lock().push(json!({ "refused": error.code(), "says": error.to_string() }));
                return Ok(done());
            }
        }
    }
    if brief.mission_id.starts_with("gone") {
        return Ok(done());
    }
    let mut told = Vec::new();
    host.waits(true);
    for call in calls {
        told.push(result(&*host, call).await?);
    }
    host.waits(false);
    if let Some(left) = told.iter().find(|ended| ended["artifacts"][0]["name"] == "left.txt") {
        let id = left["mission_id"].as_str().unwrap().to_owned();
        let bytes = host.get_of(id.clone(), "left.txt".to_owned()).await?.unwrap();
        told.push(json!({ "read": String::from_utf8(bytes).unwrap() }));
        told.push(json!({ "none": host.get_of(id, "other.txt".to_owned()).await?.unwrap_err() }));
        told.push(json!({ "none": host.get_of("alone".to_owned(), "left.txt".to_owned()).await?.unwrap_err() }));
    }
    seen.told.lock().extend(told);
    Ok(done())
}

async fn child(brief: Brief, host: Arc<dyn Host>, seen: Arc<Seen>) -> Result<Ending, Stop> {
    *seen.worked.lock().entry(brief.mission_id.clone()).or_default() += 1;
    match brief.objective.as_str() {
        "hang" => {
            host.waits(true);
            while !seen.goes_on.load(Relaxed) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
        "ask" | "ask later" => {
            while brief.objective == "ask later" && !seen.goes_on.load(Relaxed) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            let asked = host.ask("Which one?".to_owned());
            host.waits(true);
            result(&*host, asked).await?;
            host.waits(false);
        }
        "fail" => {
            let verdict = Verdict::Failed { summary: "It could not.".to_owned(), tool: None, next_action: None };
            return Ok(Ending::Returned(verdict));
        }
        "leave" => {
            host.put("left.txt".to_owned(), "text/plain".to_owned(), b"for you".to_vec()).await?.unwrap();
        }
        _ => {}
    }
    Ok(done())
}

fn family(seen: &Arc<Seen>) -> Arc<dyn Guests> {
    let seen = Arc::clone(seen);
    Arc::new(Play(move |brief: Brief, host: Arc<dyn Host>| {
        let seen = Arc::clone(&seen);
        async move {
            let ran = match brief.objective.starts_with("parent:") {
                true => parent(brief, host, seen).await,
                false => child(brief, host, seen).await,
            };
            match ran {
                Ok(ending) => ending,
                Err(Stop::Over) => Ending::Killed,
                Err(Stop::Crash(crash)) => Ending::Crashed(crash),
            }
        }
    }))
}

/// What is otherwise with a node than with the usual one.
struct Otherwise {
    /// What is to stay free of the disk.
    reserve_bytes: u64,
    others: Others,
    away: Arc<Away>,
}

impl Default for Otherwise {
    fn default() -> Self {
        Self { reserve_bytes: 0, others: Others::GoOn, away: Arc::default() }
    }
}

impl Otherwise {
    /// A disk on which a node takes no mission any more, and those that it has go on.
    fn low(folder: &Path) -> Self {
        Self { reserve_bytes: Disk::new(folder, 0).look().saturating_mul(2), ..Self::default() }
    }
}

/// A node whose one lane has one place. One that comes after another gets the disk as a process leaves it that is gone: the other may still be
/// closing its own.
fn start(disk: &SimDisk, folder: &Path, seen: &Arc<Seen>) -> Arc<Engine> {
    start_otherwise(disk, folder, seen, Otherwise::default())
}

fn start_otherwise(disk: &SimDisk, folder: &Path, seen: &Arc<Seen>, otherwise: Otherwise) -> Arc<Engine> {
    let Otherwise { reserve_bytes, others, away } = otherwise;
    let ambient = Arc::new(System::new(tokio::runtime::Handle::current()));
    let set = |settings: &mut sortie_engine::Settings| {
        settings.lanes[0].1 = 1;
        settings.max_running = 1;
    };
    let (journal, opened) =
        Journal::open_backend(disk.clone(), &Options { cache_bytes: 0, ..Options::default() }).unwrap();
    let log: OpenLog =
        Box::new(move |visit| Ok(Arc::new(Flaky(Arc::new(EmbeddedLog::new(journal, &opened, visit)?), away))));
    let (guests, wire, tools) = (family(seen), Arc::new(Nowhere), Vec::new());
    let engine = open_given(Given { log, folder, guests, wire, ambient, tools, reserve_bytes, others }, set);
    engine.start();
    engine
}

fn bare(id: &str, objective: &str) -> String {
    let mut envelope: Value = serde_json::from_str(&envelope(id, objective)).unwrap();
    envelope["vp_session_id"] = json!(id);
    envelope.as_object_mut().unwrap().remove("callback");
    envelope.to_string()
}

/// All missions of a log: their names, and how they stand.
fn all(engine: &Engine) -> BTreeMap<String, Status> {
    let heads = engine.log().heads_oldest_first(None, 100).unwrap_or_default();
    heads.into_iter().map(|(_, head)| (head.mission_id.to_string(), head.status)).collect()
}

fn status(engine: &Engine, id: &str) -> Option<Status> {
    all(engine).get(id).copied()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_with_one_place_is_enough_for_a_family() {
    let (disk, folder, seen) = (SimDisk::default(), tempfile::tempdir().unwrap(), Arc::<Seen>::default());
    let engine = start(&disk, folder.path(), &seen);
    engine.dispatch(bare("m", "parent:work,fail,leave")).await.unwrap();
    until("all of it is done", || status(&engine, "m") == Some(Status::Completed)).await;
    let ended = [
        ("m", Status::Completed),
        ("m.child-1", Status::Completed),
        ("m.child-2", Status::Failed),
        ("m.child-3", Status::Completed),
    ];
    assert_eq!(all(&engine), ended.map(|(id, status)| (id.to_owned(), status)).into());
    let told = seen.told.lock().clone();
    let statuses: Vec<&Value> = told.iter().take(3).map(|ended| &ended["status"]).collect();
    assert_eq!(statuses, ["completed", "failed", "completed"]);
    assert_eq!((&told[1]["reason"], &told[1]["summary"]), (&json!("plugin_failed"), &json!("It could not.")));
    assert_eq!(told[3], json!({ "read": "for you" }));
    for none in &told[4..] {
        assert!(none["none"].as_str().unwrap().contains("left an artifact"), "{none}");
    }
    let child = engine.mission(MissionNo(2)).unwrap();
    assert_eq!(child.parent().map(|of| of.mission_id.to_string()), Some("m".to_owned()));
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ends_ends_its_children_however_it_ends() {
    let (disk, folder, seen) = (SimDisk::default(), tempfile::tempdir().unwrap(), Arc::<Seen>::default());
    let engine = start(&disk, folder.path(), &seen);
    engine.dispatch(bare("m", "parent:hang,hang")).await.unwrap();
    until("one hangs in the only place", || seen.worked.lock().contains_key("m.child-1")).await;
    engine.cancel(MissionNo(1), "enough".to_owned(), "ada".to_owned()).await.unwrap();
    let cancelled = || ["m", "m.child-1", "m.child-2"].iter().all(|id| status(&engine, id) == Some(Status::Cancelled));
    until("so are its children", cancelled).await;
    // One whose plugin does not wait for them.
    engine.dispatch(bare("gone", "parent:hang,hang")).await.unwrap();
    let ended = || ["gone.child-1", "gone.child-2"].iter().all(|id| status(&engine, id) == Some(Status::Cancelled));
    until("they end with it", ended).await;
    assert_eq!(status(&engine, "gone"), Some(Status::Completed));
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_is_cancelled_is_a_result() {
    let (disk, folder, seen) = (SimDisk::default(), tempfile::tempdir().unwrap(), Arc::<Seen>::default());
    let engine = start(&disk, folder.path(), &seen);
    engine.dispatch(bare("m", "parent:hang")).await.unwrap();
    until("it hangs", || seen.worked.lock().contains_key("m.child-1")).await;
    engine.cancel(MissionNo(2), "enough".to_owned(), "ada".to_owned()).await.unwrap();
    until("its parent goes on", || status(&engine, "m") == Some(Status::Completed)).await;
    assert_eq!(seen.told.lock()[0]["status"], "cancelled");
    engine.stop().await;
}

/// Whoever has the events of one mission alone is told what keeps its family, however deep, and whatever node there is by then.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_child_asks_people_is_told_by_those_above_it() {
    let (disk, folder, seen) = (SimDisk::default(), tempfile::tempdir().unwrap(), Arc::<Seen>::default());
    let engine = start(&disk, folder.path(), &seen);
    engine.dispatch(bare("m", "parent:ask")).await.unwrap();
    let kinds = |engine: &Engine| {
        let events = engine.events(MissionNo(1), 0, 100).unwrap().events;
        let events = events.iter().map(|event| serde_json::from_str::<Value>(&event.json).unwrap());
        events.map(|event| event["detail"]["kind"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let is_blocked = |engine: &Engine| status(engine, "m") == Some(Status::Blocked);
    until("its parent is told", || is_blocked(&engine)).await;
    until("both are out of memory", || (1..3).all(|no| engine.log().head(MissionNo(no)).unwrap().unwrap().suspended))
        .await;
    engine.stop().await;
    let disk = disk.after_crash(Crash::Process);
    let engine = start(&disk, folder.path(), &seen);
    let decision = Decision::Answer { text: "the blue one".to_owned() };
    let (by, note) = ("ada".to_owned(), String::new());
    engine.decide(MissionNo(2), RequestNo(1), decision, by, note).await.unwrap();
    until("it goes on", || status(&engine, "m") == Some(Status::Completed)).await;
    // That nobody need decide any more is told by the end as well, where that is there before.
    let mut told = kinds(&engine);
    told.retain(|kind| kind != "child_heard");
    assert_eq!(told, ["", "started", "child", "child_asks", "child_ended", ""], "each once");
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_child_asked_that_nobody_could_be_told_is_told_by_the_next_node() {
    let (disk, folder, seen) = (SimDisk::default(), tempfile::tempdir().unwrap(), Arc::<Seen>::default());
    let away = Arc::<Away>::default();
    let otherwise = || Otherwise { away: Arc::clone(&away), ..Otherwise::default() };
    let engine = start_otherwise(&disk, folder.path(), &seen, otherwise());
    engine.dispatch(bare("m", "parent:ask later")).await.unwrap();
    until("its parent is out of memory, and it has the place", || seen.worked.lock().contains_key("m.child-1")).await;
    until("its parent is forgotten", || engine.log().head(MissionNo(1)).unwrap().unwrap().suspended).await;
    away.now.store(true, SeqCst);
    seen.goes_on.store(true, Relaxed);
    until("its parent is to be told, and cannot be read", || away.asked.load(SeqCst) > 0).await;
    engine.stop().await;
    away.now.store(false, SeqCst);
    let disk = disk.after_crash(Crash::Process);
    let engine = start(&disk, folder.path(), &seen);
    until("its parent is told", || status(&engine, "m") == Some(Status::Blocked)).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_node_does_not_take_is_an_error_of_the_dispatch() {
    let (disk, folder, seen) = (SimDisk::default(), tempfile::tempdir().unwrap(), Arc::<Seen>::default());
    let engine = start(&disk, folder.path(), &seen);
    engine.dispatch(bare("n", "parent: ")).await.unwrap();
    until("it is done", || status(&engine, "n") == Some(Status::Completed)).await;
    let told = seen.told.lock().last().cloned().unwrap();
    assert_eq!(told["refused"], "invalid-arguments");
    assert!(told["says"].as_str().unwrap().contains("/objective"), "{told}");
    assert_eq!(all(&engine).len(), 1, "nothing was dispatched");
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_the_names_of_a_child_before_it_has() {
    let (disk, folder, seen) = (SimDisk::default(), tempfile::tempdir().unwrap(), Arc::<Seen>::default());
    let engine = start(&disk, folder.path(), &seen);
    for (place, name) in
        [("mission_id", "m.child-1"), ("vp_session_id", "child:m.child-1"), ("idempotency_key", "child:m/1")]
    {
        let mut envelope: Value = serde_json::from_str(&bare("stranger", "work")).unwrap();
        envelope[place] = json!(name);
        match engine.dispatch(envelope.to_string()).await {
            Err(DispatchError::Invalid(mistakes)) => {
                let told: Vec<_> = mistakes.iter().map(|mistake| (mistake.pointer.as_str(), &*mistake.code)).collect();
                assert_eq!(told, [(&*format!("/{place}"), "reserved")]);
            }
            other => panic!("{place}: {other:?}"),
        }
    }
    engine.dispatch(bare("m", "parent:work")).await.unwrap();
    until("it is done", || status(&engine, "m") == Some(Status::Completed)).await;
    assert_eq!(seen.told.lock()[0]["status"], "completed");
    engine.stop().await;
}

/// A node takes no mission, as its disk is nearly full, and is gone before there is room again: its parent is out of memory, and there is no child
/// whose head would tell anybody that it waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_was_granted_and_never_dispatched_is_dispatched_by_the_next_node() {
    let (disk, folder, seen) = (SimDisk::default(), tempfile::tempdir().unwrap(), Arc::<Seen>::default());
    let engine = start(&disk, folder.path(), &seen);
    engine.dispatch(bare("late", "parent:work,fail")).await.unwrap();
    until("it runs", || status(&engine, "late") == Some(Status::Running)).await;
    engine.stop().await;
    seen.goes_on.store(true, Relaxed);
    let disk = disk.after_crash(Crash::Process);
    let engine = start_otherwise(&disk, folder.path(), &seen, Otherwise::low(folder.path()));
    let is_out_of_memory = || engine.log().head(MissionNo(1)).unwrap().unwrap().suspended;
    until("it waits for what no node takes", is_out_of_memory).await;
    assert_eq!(all(&engine).len(), 1, "no child was dispatched");
    engine.stop().await;
    let disk = disk.after_crash(Crash::Process);
    let engine = start(&disk, folder.path(), &seen);
    until("it is done", || status(&engine, "late") == Some(Status::Completed)).await;
    let told = seen.told.lock().clone();
    assert_eq!((told.len(), &told[0]["status"], &told[1]["status"]), (2, &json!("completed"), &json!("failed")));
    engine.stop().await;
}

/// The same, of one that is cancelled before any node had room.
#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_ends_takes_a_child_along_that_was_never_dispatched() {
    let (disk, folder, seen) = (SimDisk::default(), tempfile::tempdir().unwrap(), Arc::<Seen>::default());
    let engine = start(&disk, folder.path(), &seen);
    engine.dispatch(bare("late", "parent:work")).await.unwrap();
    until("it runs", || status(&engine, "late") == Some(Status::Running)).await;
    engine.stop().await;
    seen.goes_on.store(true, Relaxed);
    let disk = disk.after_crash(Crash::Process);
    let engine = start_otherwise(&disk, folder.path(), &seen, Otherwise::low(folder.path()));
    until("it waits", || engine.log().head(MissionNo(1)).unwrap().unwrap().suspended).await;
    engine.cancel(MissionNo(1), "enough".to_owned(), "ada".to_owned()).await.unwrap();
    engine.stop().await;
    let disk = disk.after_crash(Crash::Process);
    let engine = start(&disk, folder.path(), &seen);
    // Had one been left over, it would have its turn before this one.
    engine.dispatch(bare("m", "work")).await.unwrap();
    until("another is done", || status(&engine, "m") == Some(Status::Completed)).await;
    assert_eq!(all(&engine).len(), 2, "no child was dispatched");
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_cannot_be_read_for_a_moment_is_told_once_it_can() {
    let (disk, folder, seen) = (SimDisk::default(), tempfile::tempdir().unwrap(), Arc::<Seen>::default());
    let away = Arc::new(Away::default());
    let engine =
        start_otherwise(&disk, folder.path(), &seen, Otherwise { away: Arc::clone(&away), ..Otherwise::default() });
    engine.dispatch(bare("m", "parent:hang")).await.unwrap();
    until("its child hangs", || seen.worked.lock().contains_key("m.child-1")).await;
    until("it waits", || engine.log().head(MissionNo(1)).unwrap().unwrap().suspended).await;
    away.now.store(true, SeqCst);
    seen.goes_on.store(true, Relaxed);
    let is_over = || status(&engine, "m.child-1") == Some(Status::Completed);
    until("it is over, and nobody can look at its parent", || is_over() && away.asked.load(SeqCst) > 0).await;
    away.now.store(false, SeqCst);
    until("it is done", || status(&engine, "m") == Some(Status::Completed)).await;
    assert_eq!(seen.told.lock()[0]["status"], "completed");
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_cannot_be_looked_for_for_a_moment_is_dispatched_once_it_can() {
    let (disk, folder, seen) = (SimDisk::default(), tempfile::tempdir().unwrap(), Arc::<Seen>::default());
    let away = Arc::new(Away::default());
    let engine =
        start_otherwise(&disk, folder.path(), &seen, Otherwise { away: Arc::clone(&away), ..Otherwise::default() });
    engine.dispatch(bare("late", "parent:work")).await.unwrap();
    until("it runs", || status(&engine, "late") == Some(Status::Running)).await;
    away.now.store(true, SeqCst);
    seen.goes_on.store(true, Relaxed);
    until("it is looked for in vain", || away.asked.load(SeqCst) > 0).await;
    away.now.store(false, SeqCst);
    until("it is done", || status(&engine, "late") == Some(Status::Completed)).await;
    assert_eq!(
        seen.told.lock()[0]["status"],
        "completed",
        "what was of the moment is no answer: {:?}",
        seen.told.lock()
    );
    engine.stop().await;
}

/// `sortie run` goes on with what an earlier process has left behind, and with what that waits for.
#[tokio::test(flavor = "multi_thread")]
async fn who_drives_one_mission_drives_those_that_it_waits_for() {
    let (disk, folder, seen) = (SimDisk::default(), tempfile::tempdir().unwrap(), Arc::<Seen>::default());
    let engine = start(&disk, folder.path(), &seen);
    engine.dispatch(bare("m", "parent:hang,hang")).await.unwrap();
    until("one hangs in the only place", || seen.worked.lock().contains_key("m.child-1")).await;
    engine.stop().await;
    seen.goes_on.store(true, Relaxed);
    let disk = disk.after_crash(Crash::Process);
    let engine =
        start_otherwise(&disk, folder.path(), &seen, Otherwise { others: Others::Wait, ..Otherwise::default() });
    let (driver, no) = (Arc::clone(&engine), MissionNo(1));
    tokio::task::spawn_blocking(move || driver.drive(no)).await.unwrap().unwrap();
    until("all of it ends", || status(&engine, "m") == Some(Status::Completed)).await;
    let statuses: Vec<Value> = seen.told.lock().iter().map(|ended| ended["status"].clone()).collect();
    assert_eq!(statuses, ["completed", "completed"]);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_drained_and_hands_nothing_over_takes_children_of_what_runs() {
    let (disk, folder, seen) = (SimDisk::default(), tempfile::tempdir().unwrap(), Arc::<Seen>::default());
    let engine = start(&disk, folder.path(), &seen);
    engine.dispatch(bare("late", "parent:work")).await.unwrap();
    until("it runs", || status(&engine, "late") == Some(Status::Running)).await;
    engine.drain();
    let refused = engine.dispatch(bare("m", "work")).await;
    assert!(matches!(refused, Err(DispatchError::Draining)), "{refused:?}");
    seen.goes_on.store(true, Relaxed);
    until("its child waits", || status(&engine, "late.child-1") == Some(Status::Queued)).await;
    assert!(engine.undrain());
    until("it is done", || status(&engine, "late") == Some(Status::Completed)).await;
    assert_eq!(seen.told.lock()[0]["status"], "completed");
    engine.stop().await;
}

/// A node that dies at some operation of its disk, and another one on what that left.
#[tokio::test(flavor = "multi_thread")]
async fn whenever_the_node_dies_each_child_is_there_once_and_ends_once() {
    for op in (3..).step_by(7).take(20) {
        let (disk, folder, seen) = (SimDisk::default(), tempfile::tempdir().unwrap(), Arc::<Seen>::default());
        let engine = start(&disk, folder.path(), &seen);
        disk.fail_at(disk.ops() + op);
        let dispatched = engine.dispatch(bare("m", "parent:work,leave,fail")).await;
        let is_over = || status(&engine, "m").is_none_or(Status::is_final) || engine.dead_task().is_some();
        if dispatched.is_ok() {
            let failed = engine.log().failed();
            let waits = until("it ends, or its node does", is_over);
            futures_util::future::select(Box::pin(waits), failed).await;
        }
        engine.stop().await;
        let disk = disk.after_crash(Crash::Power { seed: op });
        let engine = start(&disk, folder.path(), &seen);
        engine.dispatch(bare("m", "parent:work,leave,fail")).await.unwrap();
        until("all of it ends", || status(&engine, "m") == Some(Status::Completed)).await;
        let ended = [
            ("m", Status::Completed),
            ("m.child-1", Status::Completed),
            ("m.child-2", Status::Completed),
            ("m.child-3", Status::Failed),
        ];
        assert_eq!(all(&engine), ended.map(|(id, status)| (id.to_owned(), status)).into(), "dies at {op}");
        for no in 1..=4 {
            let records = engine.log().read_all(MissionNo(no), 0).unwrap();
            let ends = records.iter().filter(|stamped| matches!(stamped.record, Record::Finished { .. })).count();
            let mission: Mission = engine.mission(MissionNo(no)).unwrap();
            assert_eq!((ends, mission.reserved().is_nothing()), (1, true), "dies at {op}");
        }
        engine.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_child_had_for_itself_goes_with_it_and_its_parent_stays_for_as_long_as_any_does() {
    let (disk, folder, seen) = (SimDisk::default(), tempfile::tempdir().unwrap(), Arc::<Seen>::default());
    let engine = start(&disk, folder.path(), &seen);
    engine.dispatch(bare("m", "parent:work,work")).await.unwrap();
    until("it is done", || status(&engine, "m") == Some(Status::Completed)).await;
    let vp = VpId::new("vp").unwrap();
    let file = |session: &str| engine.workspaces().place(&vp, &SessionId::new(session).unwrap()).join("note.txt");
    for session in ["m", "child:m.child-1", "child:m.child-2"] {
        std::fs::create_dir_all(file(session).parent().unwrap()).unwrap();
        std::fs::write(file(session), "kept").unwrap();
    }
    let kept = engine.find("m.child-2").unwrap().unwrap();
    engine.keep_mission(kept, true, "ada".to_owned()).await.unwrap();
    let general = Retention { age: Some(jiff::SignedDuration::ZERO), missions: None };
    engine.keep_by(Retentions { general, rules: Vec::new() });
    engine.start_retention();
    until("what the first had is gone", || !file("child:m.child-1").exists()).await;
    assert_eq!(status(&engine, "m.child-1"), None, "it went first");
    // A round later.
    engine.dispatch(bare("later", "work")).await.unwrap();
    until("another is gone", || status(&engine, "later").is_none()).await;
    assert!(file("child:m.child-2").exists(), "somebody wants it kept");
    assert_eq!(status(&engine, "m"), Some(Status::Completed), "whoever had its name would have that child");
    engine.keep_mission(kept, false, "ada".to_owned()).await.unwrap();
    until("all of them are gone", || all(&engine).is_empty()).await;
    assert!(!file("child:m.child-2").exists() && file("m").exists(), "others may come to that session");
    engine.stop().await;
}
