//! The fold: one record more, one state further.
//!
//! A single total match of phase and record. A pair that no decision leads to is [`Illegal`]: a journal that holds one was
//! not written by this state machine, and whoever reads it must stop.

use alloc::borrow::ToOwned as _;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use jiff::Timestamp;
use sortie_contract::artifact::{Artifact, StorageScope};
use sortie_contract::envelope::Envelope;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::money::Spend;
use sortie_contract::outcome::{Status, Verdict};
use sortie_contract::record::{Accepted, Record, Stamped};
use sortie_contract::request::{Decision, Reach};
use sortie_contract::tool::{CallError, Repeat};

use crate::budget::Ledger;
use crate::state::{Active, Approved, End, Granted, InFlight, Mission, OpenRequest, Phase, Suspension};
use crate::{budget, cadence};

/// A record that cannot follow the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record `{record}` cannot follow in status {status}: {why}")]
pub struct Illegal {
    /// The status before it; `queued` also before the first record.
    pub status: Status,
    /// Which kind of record.
    pub record: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Mission {
    /// The state after the first record. The caller has parsed `envelope` from that very record.
    ///
    /// # Errors
    /// [`Illegal`] if the first record is not `Accepted`.
    pub fn begin(envelope: Arc<Envelope>, first: &Stamped) -> Result<Self, Illegal> {
        let Record::Accepted(accepted) = &first.record else {
            return Err(Illegal {
                status: Status::Queued,
                record: name(&first.record),
                why: "a journal begins with `accepted`",
            });
        };
        let Accepted { envelope: _, session, lane, plugin, budget, unknown_approvals, warnings: _ } = accepted.as_ref();
        Ok(Self {
            envelope,
            session: session.clone(),
            lane: lane.clone(),
            plugin: plugin.clone(),
            budget: *budget,
            unknown_approvals: unknown_approvals.clone(),
            granted: None,
            phase: Phase::Queued,
            records: 1,
            sequence: 1,
            outgoing: 1,
            runs: 0,
            crashes: 0,
            calls: 0,
            requests: 0,
            decided: BTreeMap::new(),
            approved: Approved::default(),
            recorded_bytes: 0,
            notes: 0,
            ledger: Ledger::default(),
            artifacts: Vec::new(),
            judgements: Vec::new(),
            wrote: BTreeSet::new(),
            last_milestone: None,
            last_refused: None,
            started_at: None,
            ran_ms: first.ran_ms,
        })
    }

    /// The state after all of `records`.
    ///
    /// # Errors
    /// [`Illegal`] at the first record that cannot follow, and for no record at all.
    pub fn fold(envelope: Arc<Envelope>, records: &[Stamped]) -> Result<Self, Illegal> {
        let (first, rest) = records.split_first().ok_or(Illegal {
            status: Status::Queued,
            record: "none",
            why: "a journal begins with `accepted`",
        })?;
        let mut mission = Self::begin(envelope, first)?;
        rest.iter().try_for_each(|record| mission.apply(record))?;
        Ok(mission)
    }

    /// Takes up one record more. An illegal one changes nothing.
    ///
    /// # Errors
    /// [`Illegal`] for a record that cannot follow the ones before it.
    pub fn apply(&mut self, stamped: &Stamped) -> Result<(), Illegal> {
        let (status, record) = (self.status(), &stamped.record);
        let illegal = |why| Err(Illegal { status, record: name(record), why });
        match (&mut self.phase, record) {
            (_, Record::Accepted(_)) => return illegal("a mission is accepted once"),
            (Phase::Ended(_), _) => return illegal("nothing follows the end"),
            (Phase::Queued | Phase::Active(_), Record::Started { run, alone: _, announced }) => {
                if run.0 != self.runs + 1 {
                    return illegal("runs are numbered 1, 2, 3 …");
                }
                self.started(*run, *announced, stamped);
            }
            (Phase::Queued | Phase::Active(_), Record::Finished { status, reason, summary, next_action }) => {
                if !status.is_final() {
                    return illegal("the status is not final");
                }
                let (status, reason) = (*status, *reason);
                self.finished(End {
                    status,
                    reason,
                    summary: summary.clone(),
                    next_action: next_action.clone(),
                    at: stamped.at,
                });
            }
            (Phase::Queued, _) => return illegal("it has not begun"),
            (Phase::Active(_), Record::Interrupted) => self.interrupted(),
            (Phase::Active(active), Record::Heartbeat) => {
                let Some((due, interval)) = active.heartbeat_due_ms.zip(interval_ms(&self.envelope)) else {
                    return illegal("its cadence has no heartbeats");
                };
                active.heartbeat_due_ms = Some(cadence::next_heartbeat_ms(due, stamped.ran_ms, interval));
                self.emit(true);
            }
            (Phase::Active(active), Record::CallFinished { call, outcome, spent }) => {
                let Some(index) = active.in_flight.iter().position(|flight| flight.call == *call) else {
                    return illegal("no such call is in flight");
                };
                // Given up by its plugin: then nobody needs to decide any more.
                if matches!(outcome, Err(CallError::Cancelled)) {
                    active.open.retain(|request| request.call != *call);
                } else if active.open.iter().any(|request| request.call == *call) {
                    return illegal("the call waits for a decision");
                }
                let flight = active.in_flight.remove(index);
                active.wake();
                if !flight.held {
                    self.ledger.settle(flight.reserved, *spent);
                }
                if let Ok(answer) = outcome {
                    self.wrote.extend(answer.wrote.iter().cloned());
                }
            }
            (Phase::Active(active), Record::Requested { request, call, kind, question, expires_at }) => {
                if request.0 != self.requests + 1 {
                    return illegal("requests are numbered 1, 2, 3 …");
                }
                let Some(flight) = active.in_flight.iter_mut().find(|flight| flight.call == *call) else {
                    return illegal("no such call is in flight");
                };
                if active.open.iter().any(|open| open.call == *call) {
                    return illegal("the call waits for another decision");
                }
                // An uncertain call had been made: what it had set aside is given up as spent. Made again, it costs again.
                if !flight.held {
                    self.ledger.settle(flight.reserved, flight.reserved);
                }
                flight.held = true;
                active.open.push(OpenRequest {
                    no: *request,
                    call: *call,
                    kind: *kind,
                    question: question.clone(),
                    asked_at: stamped.at,
                    expires_at: *expires_at,
                    reminded: false,
                });
                self.requests = request.0;
                self.emit(true);
            }
            (Phase::Active(active), Record::Reminded { request }) => {
                let Some(open) = active.open.iter_mut().find(|open| open.no == *request && !open.reminded) else {
                    return illegal("no such request waits for a reminder");
                };
                open.reminded = true;
                self.emit(true);
            }
            (Phase::Active(active), Record::Decided { request, decision, .. }) => {
                let Some(index) = active.open.iter().position(|open| open.no == *request) else {
                    return illegal("no such request is open");
                };
                let open = active.open.remove(index);
                let tool = active
                    .in_flight
                    .iter()
                    .find(|flight| flight.call == open.call)
                    .and_then(|flight| flight.tool.clone());
                match (decision, tool) {
                    (Decision::Approve { reach: Reach::Mission }, _) => self.approved.everything = true,
                    (Decision::Approve { reach: Reach::Tool }, Some(tool)) => drop(self.approved.tools.insert(tool)),
                    (Decision::Grant { llm_calls, cost }, _) => {
                        self.budget = budget::raised(&self.budget, *llm_calls, *cost);
                    }
                    _ => {}
                }
                self.decided.insert(*request, decision.clone());
                self.emit(true);
            }
            (Phase::Active(active), Record::CallResumed { call }) => {
                let open = active.open.iter().any(|open| open.call == *call);
                let Some(flight) =
                    active.in_flight.iter_mut().find(|flight| flight.call == *call && flight.held && !open)
                else {
                    return illegal("no such call has been decided about");
                };
                flight.held = false;
                self.ledger.reserve(flight.reserved);
                active.wake();
            }
            (Phase::Active(active), Record::Suspended { until }) => {
                if active.suspended.is_some() || active.in_flight.iter().any(|flight| !flight.held) {
                    return illegal("only a run that waits is suspended");
                }
                let until_ran_ms = until.map(|until| stamped.ran_ms.saturating_add(ms_until(stamped.at, until)));
                active.suspended = Some(Suspension { until: *until, until_ran_ms, woken: false });
            }
            (Phase::Active(_), Record::Granted { tools, memory_bytes_max }) => {
                if self.granted.is_some() {
                    return illegal("tools are handed out once");
                }
                self.granted = Some(Granted { tools: tools.clone(), memory_bytes_max: *memory_bytes_max });
            }
            (Phase::Active(active), record) => {
                let number = host_call(record);
                if number.is_some_and(|call| call.0 != self.calls + 1) {
                    return illegal("host calls are numbered 1, 2, 3 …");
                }
                if matches!(record, Record::Judged { criterion, .. } if !has_criterion(&self.envelope, *criterion)) {
                    return illegal("it has no such criterion");
                }
                self.calls = number.map_or(self.calls, |call| call.0);
                active.in_flight.extend(in_flight(record));
                self.host_called(record);
            }
        }
        if goes_on(record) {
            self.crashes = 0;
        }
        self.recorded_bytes = self.recorded_bytes.saturating_add(bytes(record));
        self.records += 1;
        self.ran_ms = self.ran_ms.max(stamped.ran_ms);
        debug_assert_eq!(self.ledger.reserved(), self.set_aside(), "the books agree with the calls in flight");
        Ok(())
    }

    /// Takes up what the plugin asked of the node.
    fn host_called(&mut self, record: &Record) {
        match record {
            Record::CallStarted { reserved, .. } => self.ledger.reserve(*reserved),
            Record::CallRefused { tool, error, .. } => self.last_refused = Some((tool.clone(), error.clone())),
            Record::Milestone { text, .. } => {
                self.notes += 1;
                self.last_milestone = Some(text.clone());
                self.emit(cadence::reports_milestones(self.envelope.report_cadence));
            }
            Record::Logged { .. } => self.notes += 1,
            Record::Judged { criterion, verdict, evidence, .. } => self.judged(*criterion as usize, *verdict, evidence),
            Record::ArtifactStored { artifact, .. } => self.stored(artifact),
            // Kept for replay, or in flight.
            Record::Answered { .. } | Record::CallHeld { .. } | Record::Asked { .. } => {}
            _ => debug_assert!(host_call(record).is_some(), "`apply` has handled it"),
        }
    }

    fn started(&mut self, no: RunNo, announced: bool, stamped: &Stamped) {
        let heartbeat_due_ms = interval_ms(&self.envelope).map(|interval| stamped.ran_ms.saturating_add(interval));
        let went_on = self.suspension().is_some();
        match &mut self.phase {
            Phase::Active(active) => {
                self.crashes += u32::from(!went_on);
                active.run = no;
                active.went_on = went_on;
                active.suspended = None;
                active.heartbeat_due_ms = active.heartbeat_due_ms.or(heartbeat_due_ms);
            }
            Phase::Queued | Phase::Ended(_) => {
                let (suspended, in_flight, open) = (None, Vec::new(), Vec::new());
                self.phase = Phase::Active(Active { run: no, went_on, suspended, in_flight, open, heartbeat_due_ms });
            }
        }
        self.runs = no.0;
        self.started_at.get_or_insert(stamped.at);
        // One that only waited has been spoken of when it was decided about.
        self.emit(announced && !went_on);
    }

    /// Back to the beginning: what the run said of itself will be said again.
    fn interrupted(&mut self) {
        self.phase = Phase::Queued;
        self.ledger.abandon();
        self.judgements = Vec::new();
        self.wrote = BTreeSet::new();
        self.last_milestone = None;
        self.last_refused = None;
    }

    fn stored(&mut self, artifact: &Artifact) {
        match self.artifacts.iter_mut().find(|known| known.name == artifact.name) {
            Some(known) => known.clone_from(artifact),
            None => self.artifacts.push(artifact.clone()),
        }
        // Its upload is an item of its own, ahead of the event that speaks of it.
        self.outgoing += u64::from(self.envelope.storage_scope == StorageScope::Pushback);
        self.emit(true);
    }

    fn judged(&mut self, index: usize, verdict: Verdict, evidence: &str) {
        if self.judgements.len() <= index {
            self.judgements.resize(index + 1, (Verdict::NotJudged, String::new()));
        }
        self.judgements[index] = (verdict, evidence.to_owned());
    }

    fn finished(&mut self, end: End) {
        self.ledger.abandon();
        self.phase = Phase::Ended(end);
        self.emit(true);
    }

    /// The sum of what the calls in flight have reserved.
    fn set_aside(&self) -> Spend {
        let in_flight = self.active().map_or(&[][..], |active| &active.in_flight);
        in_flight
            .iter()
            .filter(|flight| !flight.held)
            .fold(Spend::NOTHING, |sum, flight| sum.saturating_add(flight.reserved))
    }

    /// Counts the event of a record, where it has one.
    fn emit(&mut self, has_event: bool) {
        self.sequence += u64::from(has_event);
        self.outgoing += u64::from(has_event);
    }
}

impl Active {
    /// Something that it waited for has come.
    fn wake(&mut self) {
        if let Some(suspension) = &mut self.suspended {
            suspension.woken = true;
        }
    }
}

/// The call that a record begins, where it begins one.
fn in_flight(record: &Record) -> Option<InFlight> {
    match record {
        Record::CallStarted { call, tool, arguments, repeat, reserved, .. }
        | Record::CallHeld { call, tool, arguments, repeat, reserved, .. } => Some(InFlight {
            call: *call,
            tool: Some(tool.clone()),
            arguments: arguments.clone(),
            repeat: *repeat,
            reserved: *reserved,
            held: matches!(record, Record::CallHeld { .. }),
        }),
        Record::Asked { call, question } => Some(InFlight {
            call: *call,
            tool: None,
            arguments: question.clone(),
            repeat: Repeat::ReadOnly,
            reserved: Spend::NOTHING,
            held: true,
        }),
        _ => None,
    }
}

fn interval_ms(envelope: &Envelope) -> Option<u64> {
    cadence::heartbeat_interval_ms(envelope.report_cadence, envelope.heartbeat_interval_seconds)
}

fn has_criterion(envelope: &Envelope, criterion: u32) -> bool {
    usize::try_from(criterion).is_ok_and(|index| index < envelope.success_criteria.len())
}

/// What a record weighs whose size is the plugin's or a tool's choice.
fn bytes(record: &Record) -> usize {
    match record {
        Record::CallStarted { arguments, .. } | Record::CallHeld { arguments, .. } => arguments.len(),
        Record::CallFinished { outcome: Ok(answer), .. } => answer.result.len(),
        Record::Answered { answer, .. } => answer.len(),
        Record::Asked { question, .. } | Record::Requested { question, .. } => question.len(),
        Record::Judged { evidence, .. } => evidence.len(),
        _ => 0,
    }
}

/// Whether the mission has come forward with this record: its plugin, a tool or a person did what no run before had on record.
fn goes_on(record: &Record) -> bool {
    host_call(record).is_some()
        || matches!(record, Record::CallFinished { .. } | Record::Decided { .. } | Record::Suspended { .. })
}

/// The number that a record takes among the host calls, where it takes one.
pub(crate) fn host_call(record: &Record) -> Option<CallNo> {
    match record {
        Record::CallStarted { call, .. }
        | Record::CallHeld { call, .. }
        | Record::CallRefused { call, .. }
        | Record::Asked { call, .. }
        | Record::Answered { call, .. }
        | Record::Milestone { call, .. }
        | Record::Logged { call, .. }
        | Record::Judged { call, .. } => Some(*call),
        Record::ArtifactStored { call, .. } => *call,
        Record::Accepted(_)
        | Record::Started { .. }
        | Record::CallFinished { .. }
        | Record::CallResumed { .. }
        | Record::Requested { .. }
        | Record::Reminded { .. }
        | Record::Decided { .. }
        | Record::Suspended { .. }
        | Record::Granted { .. }
        | Record::Heartbeat
        | Record::Interrupted
        | Record::Finished { .. } => None,
    }
}

/// From `at` to `until`, in milliseconds and no less than that; 0 where it is over.
fn ms_until(at: Timestamp, until: Timestamp) -> u64 {
    u64::try_from(until.duration_since(at).as_millis()).map_or(0, |whole| whole + 1)
}

fn name(record: &Record) -> &'static str {
    match record {
        Record::Accepted(_) => "accepted",
        Record::Started { .. } => "started",
        Record::CallStarted { .. } => "call_started",
        Record::CallRefused { .. } => "call_refused",
        Record::CallFinished { .. } => "call_finished",
        Record::Answered { .. } => "answered",
        Record::Milestone { .. } => "milestone",
        Record::Logged { .. } => "logged",
        Record::Judged { .. } => "judged",
        Record::ArtifactStored { .. } => "artifact_stored",
        Record::Heartbeat => "heartbeat",
        Record::Interrupted => "interrupted",
        Record::Finished { .. } => "finished",
        Record::CallHeld { .. } => "call_held",
        Record::Asked { .. } => "asked",
        Record::Requested { .. } => "requested",
        Record::Reminded { .. } => "reminded",
        Record::Decided { .. } => "decided",
        Record::CallResumed { .. } => "call_resumed",
        Record::Suspended { .. } => "suspended",
        Record::Granted { .. } => "granted",
    }
}
