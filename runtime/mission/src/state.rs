//! The state of a mission: what its records add up to.
//!
//! Nothing here is stored. Whoever has the records has the state, by [`Mission::begin`] and [`Mission::apply`].

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use jiff::Timestamp;
use sortie_contract::artifact::Artifact;
use sortie_contract::envelope::{EffectiveBudget, Envelope};
use sortie_contract::event::Usage;
use sortie_contract::id::{CallNo, LaneId, RunNo, SessionId};
use sortie_contract::outcome::{Reason, Status, Verdict};
use sortie_contract::plugin::PluginIdentity;
use sortie_contract::record::Record;
use sortie_contract::tool::{CallError, ToolInfo, ToolName};

use crate::budget::{Ledger, Spend};
use crate::command::Now;
use crate::gate::{self, Gate};
use crate::outputs::Output;

/// A mission, as its records so far say.
#[derive(Debug, Clone, PartialEq)]
pub struct Mission {
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) session: SessionId,
    pub(crate) lane: LaneId,
    pub(crate) plugin: PluginIdentity,
    pub(crate) budget: EffectiveBudget,
    /// Approval entries that intake could not make sense of; not empty: tools without a declared class need approval.
    pub(crate) unknown_approvals: Vec<String>,
    pub(crate) phase: Phase,
    /// Records folded so far.
    pub(crate) records: u32,
    /// The sequence of the latest event.
    pub(crate) sequence: u64,
    /// Outgoing items so far; at least as many as events.
    pub(crate) outgoing: u64,
    /// Runs begun so far.
    pub(crate) runs: u32,
    /// The number of the latest host call.
    pub(crate) calls: u32,
    /// Log lines and milestones so far.
    pub(crate) notes: u32,
    pub(crate) ledger: Ledger,
    /// By the order in which their names first came.
    pub(crate) artifacts: Vec<Artifact>,
    /// By criterion; shorter than the list of criteria where the last ones were never judged.
    pub(crate) judgements: Vec<(Verdict, String)>,
    /// Paths that this mission's own calls wrote in the workspace.
    pub(crate) wrote: BTreeSet<String>,
    pub(crate) last_milestone: Option<String>,
    /// The latest call that was refused: what a failed mission's next step often hangs on.
    pub(crate) last_refused: Option<(ToolName, CallError)>,
    pub(crate) started_at: Option<Timestamp>,
    /// Run time at the latest record.
    pub(crate) ran_ms: u64,
}

/// Where a mission stands, and what is known of it only there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Phase {
    /// Waits for its turn.
    Queued,
    /// Its plugin runs.
    Running(Run),
    /// It is over.
    Ended(End),
}

/// A run that goes on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Run {
    /// Its number: the fencing token.
    pub(crate) no: RunNo,
    /// Calls without a result yet, by number. Invariant: the sum of what they reserved is the ledger's.
    pub(crate) in_flight: Vec<InFlight>,
    /// Something of this run cannot be taken back: a call that was not read-only, or an artifact.
    pub(crate) left_traces: bool,
    /// The run time at which the next heartbeat is due; `None` where the cadence has none.
    pub(crate) heartbeat_due_ms: Option<u64>,
}

/// A call that was granted and has no result yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InFlight {
    pub(crate) call: CallNo,
    pub(crate) reserved: Spend,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct End {
    /// A final one.
    pub(crate) status: Status,
    pub(crate) reason: Reason,
    pub(crate) summary: String,
    pub(crate) next_action: String,
    pub(crate) at: Timestamp,
}

/// A success criterion and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Criterion<'a> {
    /// The criterion, in the words of the envelope.
    pub text: &'a str,
    /// What the plugin found.
    pub verdict: Verdict,
    /// Why; empty where nobody looked.
    pub evidence: &'a str,
}

/// When a mission wants [`Command::Tick`](crate::Command::Tick) next: at whichever comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Due {
    /// By the wall clock.
    pub wall: Option<Timestamp>,
    /// By its own run time.
    pub ran_ms: Option<u64>,
}

/// The status that a mission has after `record`; `None` where it does not change it.
#[must_use]
pub fn status_after(record: &Record) -> Option<Status> {
    match record {
        Record::Accepted(_) | Record::Interrupted => Some(Status::Queued),
        Record::Started { .. } => Some(Status::Running),
        Record::Finished { status, .. } => Some(*status),
        Record::CallStarted { .. }
        | Record::CallRefused { .. }
        | Record::CallFinished { .. }
        | Record::Answered { .. }
        | Record::Milestone { .. }
        | Record::Logged { .. }
        | Record::Judged { .. }
        | Record::ArtifactStored { .. }
        | Record::Heartbeat => None,
    }
}

impl Mission {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.phase {
            Phase::Queued => Status::Queued,
            Phase::Running(_) => Status::Running,
            Phase::Ended(end) => end.status,
        }
    }

    /// What was dispatched.
    #[must_use]
    pub fn envelope(&self) -> &Arc<Envelope> {
        &self.envelope
    }

    /// The session that it was assigned to.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// The lane that it was assigned to.
    #[must_use]
    pub fn lane(&self) -> &LaneId {
        &self.lane
    }

    /// The plugin that runs it.
    #[must_use]
    pub fn plugin(&self) -> &PluginIdentity {
        &self.plugin
    }

    /// What holds of its budget.
    #[must_use]
    pub fn budget(&self) -> &EffectiveBudget {
        &self.budget
    }

    /// The sequence of its latest event.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How many records it consists of.
    #[must_use]
    pub fn records(&self) -> u32 {
        self.records
    }

    /// How many outgoing items there are so far; they are numbered from 1.
    #[must_use]
    pub fn outgoing(&self) -> u64 {
        self.outgoing
    }

    /// The current run, while it is running.
    #[must_use]
    pub fn run(&self) -> Option<RunNo> {
        self.running().map(|run| run.no)
    }

    /// How many calls are in flight.
    #[must_use]
    pub fn calls_in_flight(&self) -> usize {
        self.running().map_or(0, |run| run.in_flight.len())
    }

    /// What it has used at `now`.
    #[must_use]
    pub fn usage(&self, now: Now) -> Usage {
        self.usage_at(if self.running().is_some() { self.ran_ms.max(now.ran_ms) } else { self.ran_ms })
    }

    /// What it has used after so much run time.
    pub(crate) fn usage_at(&self, ran_ms: u64) -> Usage {
        let spent = self.ledger.spent();
        Usage { runtime_minutes: minutes(ran_ms), llm_calls: spent.llm_calls, estimated_cost_usd: spent.cost.as_usd() }
    }

    /// Its artifacts, in the order in which their names first came.
    #[must_use]
    pub fn artifacts(&self) -> &[Artifact] {
        &self.artifacts
    }

    /// Its success criteria and what became of each.
    pub fn criteria(&self) -> impl ExactSizeIterator<Item = Criterion<'_>> {
        self.envelope.success_criteria.iter().enumerate().map(|(index, text)| match self.judgements.get(index) {
            Some((verdict, evidence)) => Criterion { text, verdict: *verdict, evidence },
            None => Criterion { text, verdict: Verdict::NotJudged, evidence: "" },
        })
    }

    /// The latest thing that people were told of it.
    #[must_use]
    pub fn last_summary(&self) -> &str {
        match (&self.phase, &self.last_milestone) {
            (Phase::Ended(end), _) => &end.summary,
            (_, Some(milestone)) => milestone,
            (Phase::Queued, None) => "Accepted.",
            (Phase::Running(_), None) => "Started.",
        }
    }

    /// Why it ended, once it has.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.ended().map(|end| end.reason)
    }

    /// What somebody should do next, once it has ended.
    #[must_use]
    pub fn next_action(&self) -> Option<&str> {
        self.ended().map(|end| end.next_action.as_str())
    }

    /// When its first run began.
    #[must_use]
    pub fn started_at(&self) -> Option<Timestamp> {
        self.started_at
    }

    /// When it ended.
    #[must_use]
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended().map(|end| end.at)
    }

    /// How long it had been running at its latest record, in milliseconds.
    #[must_use]
    pub fn ran_ms(&self) -> u64 {
        self.ran_ms
    }

    /// Paths in the workspace that its own calls wrote.
    #[must_use]
    pub fn wrote(&self) -> &BTreeSet<String> {
        &self.wrote
    }

    /// Paths that its own calls wrote, that are required outputs, and that are no artifacts yet: to be collected before
    /// the end of the plugin is reported.
    #[must_use]
    pub fn collectable(&self) -> Vec<&str> {
        if self.wrote.is_empty() || self.envelope.required_outputs.is_empty() {
            return Vec::new();
        }
        let outputs: Vec<Output<'_>> = self.envelope.required_outputs.iter().map(|entry| Output::new(entry)).collect();
        let stored = |path: &str| self.artifacts.iter().any(|artifact| artifact.name.as_str() == path);
        let wanted = |path: &&str| !stored(path) && outputs.iter().any(|output| output.is(path));
        self.wrote.iter().map(String::as_str).filter(wanted).collect()
    }

    /// The tools that the mission is handed: those that are allowed and not forbidden. A call may still need approval.
    #[must_use]
    pub fn granted<'a>(&self, tools: &'a [ToolInfo]) -> Vec<&'a ToolInfo> {
        tools.iter().filter(|tool| matches!(self.gate(tool), Gate::Granted | Gate::NeedsApproval(_))).collect()
    }

    pub(crate) fn gate(&self, tool: &ToolInfo) -> Gate<'_> {
        gate::gate(&self.envelope.constraints, &self.unknown_approvals, tool)
    }

    /// When it wants a tick next; nothing, once it has ended.
    #[must_use]
    pub fn next_due(&self) -> Due {
        match &self.phase {
            Phase::Queued => Due { wall: self.envelope.window.end_at, ran_ms: None },
            Phase::Running(run) => Due {
                wall: self.envelope.window.end_at,
                ran_ms: Some(
                    run.heartbeat_due_ms.map_or(self.budget.runtime_ms_max, |due| due.min(self.budget.runtime_ms_max)),
                ),
            },
            Phase::Ended(_) => Due::default(),
        }
    }

    pub(crate) fn running(&self) -> Option<&Run> {
        match &self.phase {
            Phase::Running(run) => Some(run),
            Phase::Queued | Phase::Ended(_) => None,
        }
    }

    fn ended(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ended(end) => Some(end),
            Phase::Queued | Phase::Running(_) => None,
        }
    }
}

/// Milliseconds as the contract counts run time.
#[expect(clippy::cast_precision_loss, reason = "run times stay far below 2^53 ms")]
pub(crate) fn minutes(ms: u64) -> f64 {
    ms as f64 / 60_000.0
}
