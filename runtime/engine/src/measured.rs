//! How long what this node does takes, since it started: for the metrics. What is due, and what is decided, goes by none of it.
//!
//! Calls are measured where they are made, and starts where they are recorded: whatever a plugin is told of the time, these are the node's.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use sortie_contract::id::RunNo;
use sortie_contract::{Record, Stamped, Timestamp};
use sortie_measure::{OTHER, Seconds, SecondsBy};

use super::Engine;
use super::live::Live;
use super::model::Came;
use super::order::Order;

/// What is measured.
#[derive(Debug)]
pub struct Measured {
    /// A dispatch over HTTP, from its whole body to its answer, which is on disk then: by `how` it came and its outcome.
    pub dispatches: SecondsBy,
    /// From when a mission could have started (its acceptance, or the opening of its window) to its first start.
    pub starts: Seconds,
    /// From the opening of a window to the first start of its mission.
    pub lateness: Seconds,
    /// Calls of tools, from when each is made to its result.
    pub calls: SecondsBy,
    /// Calls of models, by their names in the configuration.
    pub models: SecondsBy,
}

impl Default for Measured {
    fn default() -> Self {
        Self {
            dispatches: SecondsBy::quick("how"),
            starts: Seconds::slow(),
            lateness: Seconds::slow(),
            calls: SecondsBy::slow("tool"),
            models: SecondsBy::slow("model"),
        }
    }
}

impl Measured {
    /// Takes up the first start of a mission, where these records are of one.
    pub(crate) fn started(&self, live: &Live, records: &[Stamped]) {
        let first = |stamped: &&Stamped| matches!(stamped.record, Record::Started { run: RunNo(1), .. });
        let Some(started) = records.iter().find(first) else { return };
        let (accepted_at, start_at, trace_id) = live.due();
        let since = |due: Timestamp| Duration::try_from(started.at.duration_since(due)).unwrap_or_default();
        self.starts.took_in(since(start_at.map_or(accepted_at, |at| at.max(accepted_at))), trace_id.as_str());
        if let Some(opens) = start_at.filter(|at| *at > accepted_at) {
            self.lateness.took_in(since(opens), trace_id.as_str());
        }
    }

    /// Takes up a call that was begun then, by the steady clock, and has just been made.
    pub(crate) fn made(&self, engine: &Engine, order: &Order, came: &Came, begun: Duration, trace_id: &str) {
        let took = engine.ambient.steady().saturating_sub(begun);
        let outcome = match came {
            Came::Done(Ok(_), _) => "ok",
            Came::Done(Err(_), _) => "failed",
            Came::Refused { .. } => "refused",
        };
        match order {
            // A plugin may ask for whatever name it likes.
            // It is another mission's.
            Order::Mission => {}
            Order::Tool(order) if order.is_gone => self.calls.took(OTHER, outcome, took, trace_id),
            Order::Tool(order) => self.calls.took(order.tool.as_str(), outcome, took, trace_id),
            Order::Model(order) => self.models.took(&engine.model_of(order.request()), outcome, took, trace_id),
        }
    }
}

/// Which model a request names.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
}

impl Engine {
    /// The name in the configuration of the model that a request means; of one that there is not, [`OTHER`].
    fn model_of(&self, request: &str) -> String {
        let Ok(Named { model }) = serde_json::from_str::<Named<'_>>(request) else { return OTHER.to_owned() };
        let means = |info: &sortie_models::ModelInfo| match &model {
            Some(name) => info.name == **name,
            None => info.is_default,
        };
        self.models.list().into_iter().find(means).map_or_else(|| OTHER.to_owned(), |info| info.name)
    }
}
