//! A node on whose disk a schedule went bad: it starts and tells it, the others fire, and the bad one can be removed and made anew.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::json;
use sortie_ambient::System;
use sortie_callback::{Reply, Request, SendError, Transport};
use sortie_engine::Engine;
use sortie_engine::schedules::{By, ScheduleError};
use sortie_journal::ScheduleChange;
use sortie_journal::sim::{Crash, Row, SimDisk, spoil_schedule};
use sortie_schedule::{Calendars, Form, Schedule};

use common::{Play, done, envelope, open, until};

/// Nobody is told anything here.
struct Nowhere;

#[async_trait]
impl Transport for Nowhere {
    async fn exchange(&self, _: Request) -> Result<Reply, SendError> {
        Err(SendError::Connect(String::new()))
    }
}

fn live(disk: &SimDisk, folder: &Path) -> Arc<Engine> {
    let ambient = Arc::new(System::new(tokio::runtime::Handle::current()));
    let engine = open(disk, folder, Arc::new(Play(|_, _| async { done() })), Arc::new(Nowhere), ambient);
    engine.start();
    engine
}

fn each_second(id: &str) -> Schedule {
    let schedule = json!({
        "id": id, "every": "1s", "allow_frequent": true,
        "mission": {"vp_id": "vp", "mission_type": "automation", "objective": "Work.", "inputs": {"steps": []}},
    });
    Schedule::parse(&schedule.to_string(), Form::Json, &Calendars::none()).unwrap()
}

fn me() -> By {
    By { who: "me".to_owned(), note: String::new() }
}

async fn make(engine: &Arc<Engine>, id: &str) {
    engine.make_schedule(each_second(id), BTreeMap::new(), me()).await.unwrap();
}

/// Missions of a schedule that there are.
fn missions(engine: &Engine, id: &str) -> usize {
    let heads = engine.log().heads_newest_first(None, usize::MAX).unwrap();
    heads.iter().filter(|(_, head)| head.mission_id.as_str().starts_with(&format!("{id}:"))).count()
}

/// Until each of these schedules has fired once more.
async fn until_one_more<const N: usize>(engine: &Engine, ids: [&str; N]) {
    let before = ids.map(|id| missions(engine, id));
    for (id, before) in ids.iter().zip(before) {
        until(&format!("{id} fires"), || missions(engine, id) > before).await;
    }
}

/// How a schedule goes bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Row(Row),
    /// What is there is whole, and no Sortie that this one knows has written it.
    Strange,
}

/// Two lives of a node with such a damage between them, and a third one.
async fn lives_with(damage: Damage) {
    let (disk, folder) = (SimDisk::default(), tempfile::tempdir().unwrap());
    let all = ["before", "damaged", "well"];
    let engine = live(&disk, folder.path());
    for id in all {
        make(&engine, id).await;
    }
    until_one_more(&engine, all).await;
    engine.pause_schedule("damaged", None, me()).await.unwrap();
    if damage == Damage::Strange {
        let version = engine.log().schedule("damaged").unwrap().unwrap().version;
        let strange = ScheduleChange::moved("damaged", version, "[]".to_owned(), Vec::new());
        engine.log().change_schedule(strange).unwrap().await.unwrap();
    }
    engine.stop().await;
    let disk = disk.after_crash(Crash::PowerKeepsNothing);
    if let Damage::Row(row) = damage {
        spoil_schedule(&disk, "damaged", row);
    }

    let engine = live(&disk, folder.path());
    let made = missions(&engine, "damaged");
    assert!(made > 0, "{damage:?}");
    until_one_more(&engine, ["before", "well"]).await;
    engine.dispatch(envelope("other", "Work.")).await.unwrap_or_else(|error| panic!("{damage:?}: {error}"));
    assert_eq!(missions(&engine, "damaged"), made, "{damage:?}: it fires nothing");
    assert!(matches!(engine.schedule("damaged"), Err(ScheduleError::Unknown)), "{damage:?}");
    let listed: Vec<String> = engine.schedules(None, 9).iter().map(|one| one.schedule().id().to_owned()).collect();
    assert_eq!(listed, ["before", "well"], "{damage:?}");
    engine.remove_schedule("damaged").await.unwrap_or_else(|error| panic!("{damage:?}: {error}"));
    let again = engine.remove_schedule("damaged").await;
    assert!(matches!(again, Err(ScheduleError::Unknown)), "{damage:?}: {again:?}");
    make(&engine, "damaged").await;
    until_one_more(&engine, ["damaged"]).await;
    engine.stop().await;

    let engine = live(&disk.after_crash(Crash::PowerKeepsNothing), folder.path());
    until_one_more(&engine, all).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_schedule_that_cannot_be_read_holds_up_nobody_and_can_be_removed() {
    let damages = [Damage::Row(Row::Definition), Damage::Row(Row::Position), Damage::Strange];
    join_all(damages.map(lives_with)).await;
}
