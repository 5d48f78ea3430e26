//! The large results of one run's calls: where each is recorded, and which of them are held for the plugin.
//!
//! A result is on record before its plugin gets it, so that nothing needs to be held: where the node has no room for it, it is
//! read back when the plugin takes it. Small ones are not worth it; they go with the call.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_contract::MissionNo;
use sortie_contract::id::CallNo;
use sortie_contract::limit;
use sortie_contract::plugin::Crash;
use sortie_contract::record::{Record, Stamped};
use sortie_contract::tool::{CallError, ToolAnswer};
use sortie_sandbox::{Answer, Held, Reply, Stop};

use super::Engine;
use super::live::Taken;
use super::results::{GUESS, Room};

/// A result of more bytes is held only where there is room for it. One of fewer costs less than finding it again.
const SMALL: usize = 1 << 10;

/// The large results of a run.
pub(super) struct OnRecord {
    engine: Arc<Engine>,
    no: MissionNo,
    found: Mutex<FxHashMap<CallNo, Found>>,
    /// Records before this one are on disk.
    durable: u32,
}

/// Where a result is.
struct Found {
    /// The number of its record.
    at: u32,
    /// The result, as long as it is held: until its plugin takes it.
    held: Option<(String, Room)>,
}

impl OnRecord {
    /// None yet.
    pub(super) fn new(engine: Arc<Engine>, no: MissionNo) -> Self {
        Self { engine, no, found: Mutex::default(), durable: 0 }
    }

    /// A record for a replay, without what is large in it and not needed there: results are set apart, of arguments the beginning is
    /// left, by which people know them.
    pub(super) fn set_apart(&mut self, at: u32, mut stamped: Stamped) -> Stamped {
        self.durable = at + 1;
        match &mut stamped.record {
            Record::CallFinished { call, outcome: Ok(answer), .. } if answer.result.len() > SMALL => {
                let result = std::mem::take(&mut answer.result);
                let held = self.engine.results.wait(result.len()).map(|room| (result, room));
                self.found.get_mut().insert(*call, Found { at, held });
            }
            Record::CallStarted { arguments, .. } | Record::CallHeld { arguments, .. } => {
                arguments.truncate(arguments.floor_char_boundary(limit::ID_BYTES_MAX + 4));
                arguments.shrink_to_fit();
            }
            _ => {}
        }
        stamped
    }

    /// What a recorded call came to.
    pub(super) fn recorded(&self, call: CallNo, outcome: Result<ToolAnswer, CallError>) -> Reply {
        match self.found.lock().get_mut(&call) {
            Some(found) => Reply::Recorded(found.held.take().map(held)),
            None => Reply::Only(outcome.map(|answer| answer.result)),
        }
    }

    /// What a call came to that was recorded just now, as number `at`; `passing` is the room that it had until then.
    pub(super) fn arrived(
        &self,
        call: CallNo,
        at: Option<u32>,
        outcome: Result<ToolAnswer, CallError>,
        passing: Room,
    ) -> Reply {
        match (outcome, at) {
            (Ok(answer), Some(at)) if answer.result.len() > SMALL => {
                self.found.lock().insert(call, Found { at, held: None });
                let waiting = self.engine.results.wait(answer.result.len());
                // Until it is on disk the journal's queue holds it, too.
                let engine = Arc::clone(&self.engine);
                let written = async move {
                    // A journal that failed holds nothing any more.
                    let _ = engine.durable().await;
                    drop(passing);
                };
                self.engine.ambient.spawn(written).detach();
                Reply::Recorded(waiting.map(|room| held((answer.result, room))))
            }
            (outcome, _) => Reply::Only(outcome.map(|answer| answer.result)),
        }
    }

    /// Brings a result from the record.
    pub(super) fn again(&self, call: CallNo) -> impl Future<Output = Answer> + Send + 'static {
        let at = self.found.lock().get(&call).map(|found| found.at);
        let (engine, no, durable) = (Arc::clone(&self.engine), self.no, self.durable);
        async move {
            let Some(at) = at else { return Err(Stop::Over) };
            let passing = engine.results.pass(GUESS).await;
            if at >= durable {
                engine.durable().await.map_err(|_| Stop::Over)?;
            }
            let log = Arc::clone(&engine.log);
            let read = engine.ambient.unblock(move || log.read(no, at, 0)).await.map_err(|_| Stop::Over)?;
            let is_it = |stamped: Stamped| match stamped.record {
                Record::CallFinished { call: found, outcome: Ok(answer), .. } if found == call => Some(answer.result),
                _ => None,
            };
            match read.map(|records| records.into_iter().find_map(is_it)) {
                Ok(Some(result)) => {
                    let room = engine.results.pass_on(passing, result.len()).await;
                    Ok(Reply::Recorded(Some(held((result, room)))))
                }
                Ok(None) => Err(unreadable(call, "it is not where it was recorded")),
                Err(error) => {
                    let text = error.to_string();
                    engine.cannot_read(no, &error.into());
                    Err(unreadable(call, &text))
                }
            }
        }
    }
}

/// Where a call's result was recorded.
pub(super) fn place_of(call: CallNo, taken: &Taken) -> Option<u32> {
    let is_it = |stamped: &Stamped| matches!(&stamped.record, Record::CallFinished { call: done, .. } if *done == call);
    (taken.first..).zip(&taken.records).find_map(|(at, stamped)| is_it(stamped).then_some(at))
}

fn held((result, room): (String, Room)) -> Held {
    Held { result, room: Box::new(room) }
}

fn unreadable(call: CallNo, why: &str) -> Stop {
    Stop::Crash(Crash::Unrunnable(format!("the result of call {call} cannot be read: {why}")))
}
