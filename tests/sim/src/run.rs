//! A plugin's run: its script, the record that it goes over, the calls that it waits for. What it asks of the node is decided
//! there, see [`crate::node`].

use std::collections::BTreeMap;

use sortie_contract::Timestamp;
use sortie_contract::id::{CallNo, RunNo};
use sortie_mission::replay::Replay;

use crate::script::Script;
use crate::side::{Outcome, Side};

/// The run of a plugin that is in memory.
pub(crate) struct Run {
    pub(crate) no: RunNo,
    pub(crate) script: Script,
    pub(crate) replay: Replay,
    pub(crate) handles: Vec<Handle>,
    pub(crate) waits: Waits,
    /// How much of the record it had to go over.
    pub(crate) recorded: usize,
    /// Calls that had ended when it began.
    pub(crate) ended: BTreeMap<CallNo, Outcome>,
}

/// Something that a plugin has begun.
#[derive(Debug, Clone)]
pub(crate) enum Handle {
    /// With what the record says of it.
    Call {
        call: CallNo,
        recorded: Option<Outcome>,
    },
    Timer {
        due: Timestamp,
        ready_ms: u64,
    },
}

/// What a plugin waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// Nothing: it computes.
    No,
    /// This handle.
    One(usize),
    /// Any of them.
    Any,
}

impl Run {
    pub(crate) fn new(no: RunNo, seed: u64, side: &Side) -> Self {
        let replay = Replay::new(&side.records);
        let (recorded, ended) = (replay.times().len(), side.outcomes.clone());
        Self { no, script: Script::new(seed), replay, handles: Vec::new(), waits: Waits::No, recorded, ended }
    }

    /// Whether it has begun this call, and may wait for it.
    pub(crate) fn holds(&self, call: CallNo) -> bool {
        self.handles.iter().any(|handle| matches!(handle, Handle::Call { call: held, .. } if *held == call))
    }

    /// When the first of its timers wakes it.
    pub(crate) fn next_timer(&self, steady_ms: u64) -> Option<(Timestamp, u64)> {
        let timers = self.handles.iter().filter_map(|handle| match handle {
            Handle::Timer { due, ready_ms } if *ready_ms > steady_ms => Some((*due, *ready_ms)),
            _ => None,
        });
        timers.min()
    }
}

impl Handle {
    /// What the plugin is told, once it is there.
    pub(crate) fn answer(&self, side: &Side, steady_ms: u64) -> Option<String> {
        match self {
            Self::Timer { ready_ms, .. } => (*ready_ms <= steady_ms).then(|| "it rings".to_owned()),
            Self::Call { call, recorded } => {
                let outcome = recorded.as_ref().or_else(|| side.outcomes.get(call))?;
                Some(outcome.as_ref().map_or_else(ToString::to_string, |answer| answer.result.clone()))
            }
        }
    }
}
