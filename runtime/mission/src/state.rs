//! The state of a mission: what its records add up to.
//!
//! Nothing here is stored. Whoever has the records has the state, by [`Mission::begin`] and [`Mission::apply`].

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use jiff::Timestamp;
use sortie_contract::artifact::Artifact;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::{EffectiveBudget, Envelope, Window};
use sortie_contract::event::Usage;
use sortie_contract::id::{CallNo, LaneId, RunNo, SessionId};
use sortie_contract::limit;
use sortie_contract::money::Spend;
use sortie_contract::outcome::{Reason, Status, Verdict};
use sortie_contract::plugin::PluginIdentity;
use sortie_contract::tool::{CallError, Repeat, ToolInfo, ToolName};

use crate::command::Now;
use crate::crashes::{is_suspect, probation};
use crate::decide::gone;
use crate::gate::{Compiled, Gate};
use crate::outputs::Outputs;
use crate::part::artifacts::{Artifacts, Bytes};
use crate::part::books::Books;
use crate::part::calls::Calls;
use crate::part::landing::Landing;
use crate::part::outgoing::Outgoing;
use crate::part::report::Report;
use crate::part::requests::Requests;
use crate::part::runs::{Active, End, Phase, Runs, Suspension};
use crate::part::windows::{Closed, Windows};

pub use crate::part::requests::OpenRequest;

/// A mission, as its records so far say.
#[derive(Debug, Clone, PartialEq)]
pub struct Mission {
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) session: SessionId,
    pub(crate) lane: LaneId,
    pub(crate) plugin: PluginIdentity,
    /// What holds of its budget: as it was accepted, and raised by those who granted more.
    pub(crate) budget: EffectiveBudget,
    /// Approval entries that intake could not make sense of; not empty: tools without a declared class need approval.
    pub(crate) unknown_approvals: Vec<String>,
    pub(crate) rules: Compiled,
    pub(crate) runs: Runs,
    pub(crate) windows: Windows,
    pub(crate) calls: Calls,
    pub(crate) books: Books,
    pub(crate) landing: Landing,
    pub(crate) requests: Requests,
    pub(crate) report: Report,
    pub(crate) artifacts: Artifacts,
    pub(crate) outgoing: Outgoing,
    pub(crate) outputs: Outputs,
    /// Records folded so far.
    pub(crate) records: u32,
    /// Bytes of arguments, results and answers so far.
    pub(crate) recorded_bytes: usize,
    /// Run time at the latest record.
    pub(crate) ran_ms: u64,
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

/// Which bytes of a file may become an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storable {
    /// Whatever is in it.
    Any,
    /// These.
    Only(Digest),
}

impl Storable {
    /// Whether these bytes of the file may.
    ///
    /// # Errors
    /// They are others than it may be. In words for the plugin.
    pub fn takes(self, path: &str, bytes: &[u8]) -> Result<(), String> {
        match self {
            Self::Only(own) if own != Digest::of(bytes) => Err(format!(
                "`{}` was changed since this mission wrote it, by somebody else, and its constraints do not let it `Read` \
                 without asking: it cannot be stored",
                limit::clip(path, limit::QUOTE_BYTES_MAX)
            )),
            Self::Only(_) | Self::Any => Ok(()),
        }
    }
}

/// When a mission wants [`Command::Tick`](crate::Command::Tick) next: at whichever comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Due {
    /// By the wall clock.
    pub wall: Option<Timestamp>,
    /// By its own run time.
    pub ran_ms: Option<u64>,
    /// By the time that its plugin is out of memory.
    pub out_ms: Option<u64>,
}

/// How a mission stands, as far as others wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its status.
    pub status: Status,
    /// Whether it is out of memory and nothing that it waits for has happened.
    pub suspended: bool,
    /// When it wants a tick or a turn, while it is.
    pub due: Option<Timestamp>,
}

impl Mission {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.runs.phase {
            Phase::Queued => Status::Queued,
            Phase::Active(_) if self.requests.open().is_empty() && !self.do_children_ask() => Status::Running,
            Phase::Active(_) => Status::Blocked,
            Phase::Ended(end) => end.status,
        }
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let suspended = self.suspension().is_some_and(|suspension| !suspension.woken);
        let due = if suspended { self.due(self.suspension()).wall } else { None };
        Standing { status: self.status(), suspended, due }
    }

    /// Whether it has something to do that takes a turn: to begin, or to go on after something that it waited for.
    #[must_use]
    pub fn wants_turn(&self, now: Now) -> bool {
        match &self.runs.phase {
            Phase::Queued => true,
            Phase::Active(active) => match active.suspended {
                Some(suspension) => suspension.is_over(now),
                // Its run broke off.
                None => true,
            },
            Phase::Ended(_) => false,
        }
    }

    /// How many probations in a row it has outlived, where it may be what stops its node: its next run is better made alone.
    #[must_use]
    pub fn suspicion(&self) -> Option<u32> {
        is_suspect(self.runs.crashes().in_a_row).then_some(self.outlived())
    }

    /// How many probations it has outlived since it last came forward.
    #[must_use]
    pub fn outlived(&self) -> u32 {
        self.runs.crashed.outlived
    }

    /// How long it has the node for itself, should it run alone and neither come forward nor stop it.
    #[must_use]
    pub fn probation(&self) -> Duration {
        probation(self.outlived())
    }

    /// Whether its run is one that has been alone so far, and has not come forward.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.active().is_some_and(|active| active.alone && active.is_in_memory())
    }

    /// Whether its plugin is out of memory and is to go on at some time, and its run clock stands still: it waits for people, too.
    #[must_use]
    pub fn sleeps_off_its_run_clock(&self) -> bool {
        self.suspension().is_some_and(|suspension| suspension.until.is_some()) && !self.takes_run_time()
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
        self.outgoing.sequence
    }

    /// How many calls its plugin has made to the node.
    #[must_use]
    pub fn host_calls(&self) -> u32 {
        self.calls.numbered()
    }

    /// How many records it consists of.
    #[must_use]
    pub fn records(&self) -> u32 {
        self.records
    }

    /// How many outgoing items there are so far; they are numbered from 1.
    #[must_use]
    pub fn outgoing(&self) -> u64 {
        self.outgoing.items
    }

    /// When it may run: as its envelope says, until it is carried over into a further window.
    #[must_use]
    pub fn window(&self) -> Window {
        self.windows.window
    }

    /// How often it was carried over, having had a turn in its window.
    #[must_use]
    pub fn carried_over(&self) -> u32 {
        self.windows.carried
    }

    /// Whether it was carried over into the window that it is in, and has had no turn there.
    #[must_use]
    pub fn awaits_window(&self) -> bool {
        self.windows.is_awaited()
    }

    /// Whether an end has come that it is carried over, if there is a further window: whoever asks it anything says which.
    #[must_use]
    pub fn wants_window(&self, wall: Timestamp) -> bool {
        self.windows.may_go_on() && self.runs.not_over().is_ok() && self.closed(wall).is_some()
    }

    /// The current run, while its plugin is in memory.
    #[must_use]
    pub fn run(&self) -> Option<RunNo> {
        self.active().filter(|active| active.suspended.is_none()).map(|active| active.run)
    }

    /// How many runs in a row before its latest ended with their node and recorded nothing new; none, once it has come further.
    #[must_use]
    pub fn crashes(&self) -> u32 {
        self.runs.crashed.in_a_row
    }

    /// How many calls are being made.
    #[must_use]
    pub fn calls_in_flight(&self) -> usize {
        self.calls.made().count()
    }

    /// Whether calls broke off when it was carried over, and nobody has seen to them since ([`Command::Doubt`](crate::Command::Doubt)).
    #[must_use]
    pub fn has_broken_off(&self) -> bool {
        self.suspension().is_some() && self.calls.made().any(|flight| flight.broke_off)
    }

    /// Whether a call waits for a decision.
    #[must_use]
    pub fn is_held(&self, call: CallNo) -> bool {
        self.calls.flight(call).is_ok_and(|flight| flight.held)
    }

    /// Whether a call was granted and has no result.
    #[must_use]
    pub fn is_being_made(&self, call: CallNo) -> bool {
        self.calls.flight(call).is_ok_and(|flight| !flight.held)
    }

    /// The calls of tools that are being made, in the order in which they were asked for, each since when.
    pub fn calls_being_made(&self) -> impl Iterator<Item = (CallNo, &ToolName, Timestamp)> {
        self.calls.made().filter_map(|flight| Some((flight.call, flight.tool.as_ref()?, flight.since)))
    }

    /// What a plugin is told of a call that was being made when its run broke off, and whose tool this node no longer has; `away` says
    /// why, where only whoever has it is out.
    #[must_use]
    pub fn told_of_lost(&self, call: CallNo, tool: &ToolName, away: Option<&str>) -> CallError {
        match (self.calls.flight(call).map(|flight| flight.repeat), away) {
            // Nothing can have come of it.
            (Ok(Repeat::ReadOnly) | Err(_), Some(why)) => CallError::Failed(why.into()),
            (Ok(Repeat::ReadOnly) | Err(_), None) => CallError::Denied(gone(tool)),
            (Ok(Repeat::Idempotent | Repeat::Effectful), _) => CallError::Uncertain(format!(
                "the node stopped while `{tool}` was being called, and no longer has it: it is not known whether the call happened"
            )),
        }
    }

    /// Whether its run clock goes: while its plugin is in memory, and while it sleeps. Out of memory and waiting for people, for a
    /// provider that refuses for now, for a budget that is spent, or for its children, it takes none.
    #[must_use]
    pub fn takes_run_time(&self) -> bool {
        self.active().is_some_and(|active| match active.suspended {
            Some(Suspension { woken, .. }) => {
                let waits = self.calls.put_off().next().is_some() || self.waits_for_children();
                !woken && self.requests.open().is_empty() && !waits
            }
            None => true,
        })
    }

    /// Requests that nobody has decided, by number.
    #[must_use]
    pub fn open_requests(&self) -> &[OpenRequest] {
        self.requests.open()
    }

    /// What it has used at `now`.
    #[must_use]
    pub fn usage(&self, now: Now) -> Usage {
        self.usage_at(if self.active().is_some() { self.ran_ms.max(now.ran_ms) } else { self.ran_ms })
    }

    /// What it has used after so much run time.
    pub(crate) fn usage_at(&self, ran_ms: u64) -> Usage {
        let spent = self.spent();
        Usage { runtime_minutes: minutes(ran_ms), llm_calls: spent.llm_calls, estimated_cost_usd: spent.cost.as_usd() }
    }

    /// What its calls have cost.
    #[must_use]
    pub fn spent(&self) -> Spend {
        self.books.ledger().spent()
    }

    /// What is set aside for the calls that are being made.
    #[must_use]
    pub fn reserved(&self) -> Spend {
        self.books.ledger().reserved()
    }

    /// Its artifacts, in the order in which their names first came.
    #[must_use]
    pub fn artifacts(&self) -> &[Artifact] {
        self.artifacts.stored()
    }

    /// Its success criteria and what became of each.
    pub fn criteria(&self) -> impl ExactSizeIterator<Item = Criterion<'_>> {
        self.envelope.success_criteria.iter().enumerate().map(|(index, text)| {
            let (verdict, evidence) = self.report.judgement(index).unwrap_or((Verdict::NotJudged, ""));
            Criterion { text, verdict, evidence }
        })
    }

    /// The latest thing that people were told of it.
    #[must_use]
    pub fn last_summary(&self) -> Cow<'_, str> {
        match (&self.runs.phase, self.requests.open().first(), self.report.last_milestone()) {
            (Phase::Ended(end), ..) => end.summary.as_str().into(),
            (_, Some(open), _) => self.told_question(open).into(),
            (_, None, milestone) => match (self.told_below(), milestone) {
                (Some(told), _) => told.into(),
                (None, Some(milestone)) => milestone.into(),
                (None, None) if self.active().is_some() => "Started.".into(),
                (None, None) => "Accepted.".into(),
            },
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
        self.runs.started_at
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

    /// Paths that its own calls wrote, that are required outputs, and that are no artifacts yet: to be collected before
    /// the end of the plugin is reported.
    #[must_use]
    pub fn collectable(&self) -> Vec<&str> {
        self.artifacts.written().filter(|path| self.is_collectable(path)).collect()
    }

    /// Whether a path that its own calls wrote is a required output and no artifact yet.
    pub(crate) fn is_collectable(&self, path: &str) -> bool {
        let entries = &self.envelope.required_outputs;
        self.artifacts.left_at(path).is_some() && !self.artifacts.has(path) && self.outputs.has(entries, path)
    }

    /// The tools that its plugin is handed, by every run the same; `None` before its first start.
    #[must_use]
    pub fn granted(&self) -> Option<&[ToolName]> {
        self.runs.granted.as_ref().map(|granted| granted.tools.as_slice())
    }

    /// The most memory that its plugin gets, in bytes, by every run the same; `None` before its first start, and where that start
    /// was recorded before version 4: then the node's own limit holds.
    #[must_use]
    pub fn memory_bytes_max(&self) -> Option<u64> {
        self.runs.granted.as_ref().and_then(|granted| granted.memory_bytes_max)
    }

    /// Which of a node's tools it would be handed now: those of which a call may be allowed and not forbidden. Each call is still
    /// decided by its arguments, and may need approval.
    #[must_use]
    pub fn grantable(&self, tools: &[ToolInfo]) -> Vec<ToolName> {
        let rules = self.rules.of(&self.envelope.constraints);
        // A child is handed nothing that its parent was not.
        let of = self.envelope.child_of.as_ref();
        let is_parents = |tool: &ToolInfo| of.is_none_or(|of| of.tools.contains(&tool.name));
        tools.iter().filter(|tool| is_parents(tool) && rules.may_grant(tool)).map(|tool| tool.name.clone()).collect()
    }

    /// Which bytes of a file of the workspace may become an artifact: any, where its constraints let it read that file without asking;
    /// else those that its own calls left there, and no others, which another mission may have put in their place. `read` is what
    /// the node's tool `Read` is, where it has one.
    ///
    /// # Errors
    /// None of them. In words for the plugin.
    pub fn may_store_file(&self, path: &str, read: Option<&ToolInfo>) -> Result<Storable, String> {
        let arguments = || serde_json::json!({ "path": path }).to_string();
        if read.is_some_and(|read| self.gate(read, &arguments()) == Gate::Granted) {
            return Ok(Storable::Any);
        }
        let quoted = limit::clip(path, limit::QUOTE_BYTES_MAX);
        let may_not_read = "its constraints do not let it `Read` without asking: it cannot be stored";
        match self.artifacts.left_at(path) {
            Some(Bytes::Own(digest)) => Ok(Storable::Only(digest)),
            Some(Bytes::Unsaid) => Ok(Storable::Any),
            Some(Bytes::Mixed) => Err(format!(
                "`{quoted}` holds what this mission did not write and only changed a part of, and {may_not_read}"
            )),
            None => Err(format!("`{quoted}` was not written by this mission, and {may_not_read}")),
        }
    }

    /// What its constraints say about a call; `arguments` is JSON text.
    pub(crate) fn gate(&self, tool: &ToolInfo, arguments: &str) -> Gate<'_> {
        self.rules.of(&self.envelope.constraints).gate(&self.unknown_approvals, tool, arguments)
    }

    /// When it wants a tick next; nothing, once it has ended. One that slept until now wants its turn, and no further tick for it.
    #[must_use]
    pub fn next_due(&self, now: Now) -> Due {
        self.due(self.suspension().filter(|suspension| !suspension.is_over(now)))
    }

    /// The same, with this sleep.
    fn due(&self, sleep: Option<Suspension>) -> Due {
        match &self.runs.phase {
            Phase::Queued => Due { wall: self.windows.closes_at(false), ..Due::default() },
            Phase::Active(active) => {
                let requests =
                    self.requests.open().iter().map(|request| request.remind_at().unwrap_or(request.expires_at));
                let until = sleep.and_then(|sleep| sleep.until);
                let share = self.landing.expected().filter(|_| !self.windows.is_awaited());
                let closing_at = share.and_then(|share| self.closing_at(share));
                let closes_at = self.windows.closes_at(self.takes_run_time());
                let postponed = self.postponed_until();
                let wall = requests.chain(until).chain(postponed).chain(closing_at).chain(closes_at).min();
                let slept = sleep.and_then(|sleep| sleep.until_ran_ms);
                let closing_ms = share.map(|share| self.closing_ran_ms(share));
                let by_run_time = [active.heartbeat_due_ms, slept, closing_ms, Some(self.budget.runtime_ms_max)];
                let ran_ms = by_run_time.into_iter().flatten().min().filter(|_| self.takes_run_time());
                let out_ms = sleep.and_then(|sleep| sleep.until_out_ms).filter(|_| !self.takes_run_time());
                Due { wall, ran_ms, out_ms }
            }
            Phase::Ended(_) => Due::default(),
        }
    }

    /// What is known of it while it has begun and is not over.
    pub(crate) fn active(&self) -> Option<&Active> {
        self.runs.going().ok()
    }

    /// Which end has come: of its window, or of the hours of where it runs.
    pub(crate) fn closed(&self, wall: Timestamp) -> Option<Closed> {
        self.windows.closed(wall, self.takes_run_time())
    }

    pub(crate) fn suspension(&self) -> Option<Suspension> {
        self.runs.suspension()
    }

    /// Whether its latest run went on where the one before had been suspended.
    pub(crate) fn went_on(&self) -> bool {
        self.active().is_some_and(|active| active.went_on)
    }

    fn ended(&self) -> Option<&End> {
        self.runs.ended()
    }
}

/// Milliseconds as the contract counts run time.
#[expect(clippy::cast_precision_loss, reason = "run times stay far below 2^53 ms")]
pub(crate) fn minutes(ms: u64) -> f64 {
    ms as f64 / 60_000.0
}
