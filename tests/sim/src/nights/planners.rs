//! People who do something to schedules. Each asks in a task of the node's, as over HTTP; a crash takes it away unanswered. What is
//! answered lies here until the world hears of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::SignedDuration;
use parking_lot::Mutex;
use serde_json::Value;
use sortie_ambient::Ambient;
use sortie_contract::Timestamp;
use sortie_engine::Engine;
use sortie_engine::schedules::{By, ScheduleError};
use sortie_schedule::{Order, Overlap, Schedule};

use crate::executor::Executor;
use crate::scene::Scene;

/// What somebody wants.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    Make(Box<Schedule>),
    Revise(Box<Schedule>, u64),
    Remove,
    Pause(Option<Timestamp>),
    Resume,
    Trigger(Option<Overlap>),
    Backfill(Timestamp, Timestamp, Order),
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make(schedule) => write!(f, "make {}", Value::Object(schedule.definition().clone())),
            Self::Revise(schedule, from) => {
                write!(f, "from revision {from} on, {}", Value::Object(schedule.definition().clone()))
            }
            other => write!(f, "{other:?}"),
        }
    }
}

/// Something that was asked and has been answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Of which schedule.
    pub(crate) id: String,
    pub(crate) wish: Wish,
    /// The question's number, from 1.
    pub(crate) no: u64,
    /// It was done, or why not.
    pub(crate) done: Result<(), ScheduleError>,
}

/// Those who ask; they outlive the node.
#[derive(Default)]
pub(crate) struct Planners {
    asked: u64,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Planners {
    /// The number of the last question.
    pub(crate) fn asked(&self) -> u64 {
        self.asked
    }

    /// What has been answered since it was asked for last.
    pub(crate) fn hear(&self) -> Vec<Answer> {
        std::mem::take(&mut self.answers.lock())
    }

    /// Somebody asks.
    pub(crate) fn ask(&mut self, engine: &Arc<Engine>, executor: &Executor, id: &str, wish: Wish) {
        self.asked += 1;
        let (no, id, answers) = (self.asked, id.to_owned(), Arc::clone(&self.answers));
        let engine = Arc::clone(engine);
        let ambient: &dyn Ambient = executor;
        let asking = async move {
            let done = carry(&engine, &id, wish.clone(), no).await;
            answers.lock().push(Answer { id, wish, no, done });
        };
        ambient.spawn(asking).detach();
    }
}

/// What a question is noted as in the schedule that it changes.
pub(crate) fn note(no: u64) -> String {
    format!("question {no}")
}

async fn carry(engine: &Arc<Engine>, id: &str, wish: Wish, no: u64) -> Result<(), ScheduleError> {
    let by = By { who: "somebody".to_owned(), note: note(no) };
    match wish {
        Wish::Make(schedule) => engine.make_schedule(*schedule, BTreeMap::new(), by).await.map(drop),
        Wish::Revise(schedule, from) => engine.revise_schedule(*schedule, BTreeMap::new(), from, by).await.map(drop),
        Wish::Remove => engine.remove_schedule(id).await,
        Wish::Pause(until) => engine.pause_schedule(id, until, by).await.map(drop),
        Wish::Resume => engine.resume_schedule(id, by).await.map(drop),
        Wish::Trigger(overlap) => engine.trigger_schedule(id, overlap, by).await.map(drop),
        Wish::Backfill(from, to, order) => engine.backfill_schedule(id, from, to, order, by).await.map(drop),
    }
}

/// What somebody may want of a schedule that is there.
pub(crate) fn wish(scene: &Scene, id: &str, revision: u64) -> Wish {
    let wall = scene.clock.wall();
    scene.roll(|rng| match rng.u8(..20) {
        0 | 1 => Wish::Pause(None),
        2 | 3 => Wish::Pause(Some(wall + SignedDuration::from_secs(rng.i64(-600..200_000)))),
        4..=9 => Wish::Resume,
        10..=12 => {
            let overlap = rng.bool().then(|| Overlap::ALL[rng.usize(..Overlap::ALL.len())]);
            Wish::Trigger(overlap)
        }
        13..=15 => {
            let from = wall - SignedDuration::from_secs(rng.i64(0..200_000));
            let order = if rng.bool() { Order::InTurn } else { Order::Together };
            Wish::Backfill(from, from + SignedDuration::from_secs(rng.i64(-60..40_000)), order)
        }
        16..=18 => Wish::Revise(Box::new(super::plan::plan(rng, id, wall)), revision),
        _ => Wish::Remove,
    })
}
