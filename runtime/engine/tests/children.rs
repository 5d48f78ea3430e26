//! Missions that missions dispatch: each is there once and ends once, whatever breaks off in between; its end comes to its parent, and its parent's
//! end to it; and a lane with one place is enough for a whole family.
//!
//! The driver as it is shipped, over a simulated disk.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

#[expect(dead_code, reason = "here a node is opened with settings of its own")]
mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sortie_ambient::System;
use sortie_callback::{Reply as Told, Request, SendError, StatusCode, Transport};
use sortie_contract::plugin::{Brief, Verdict};
use sortie_contract::{MissionNo, Record, Status};
use sortie_engine::intake::DispatchError;
use sortie_engine::{Engine, Guests};
use sortie_journal::sim::{Crash, SimDisk};
use sortie_mission::Mission;
use sortie_sandbox::{Call, Ending, Host, Reply, Stop};

use common::{Play, done, envelope, open_set, until};

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

/// A node whose one lane has one place.
fn start(disk: &SimDisk, folder: &Path, seen: &Arc<Seen>) -> Arc<Engine> {
    let system = System::new(tokio::runtime::Handle::current());
    let set = |settings: &mut sortie_engine::Settings| {
        settings.lanes[0].1 = 1;
        settings.max_running = 1;
    };
    let engine = open_set(disk, folder, family(seen), Arc::new(Nowhere), Arc::new(system), Vec::new(), set);
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
    let ended =
        [("m", Status::Completed), ("m.child-1", Status::Completed), ("m.child-2", Status::Failed), ("m.child-3", Status::Completed)];
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
    for op in (3..).step_by(17).take(8) {
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
        let ended =
            [("m", Status::Completed), ("m.child-1", Status::Completed), ("m.child-2", Status::Completed), ("m.child-3", Status::Failed)];
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
