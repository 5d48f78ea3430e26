//! The fold: one record more, one state further.
//!
//! One total match says which parts of the state a record concerns, and in which order they are asked. A record that no decision
//! leads to is [`Illegal`]: a journal that holds one was not written by this state machine, and whoever reads it must stop. What
//! follows here never changes anything before the last part that may refuse has been asked.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use sortie_contract::digest::Digest;
use sortie_contract::envelope::{Envelope, Window};
use sortie_contract::id::CallNo;
use sortie_contract::outcome::Status;
use sortie_contract::record::{Accepted, HostQuestion, Record, Stamped};
use sortie_contract::request::{Decision, NOBODY, RequestKind};
use sortie_contract::tool::MISSION;

use crate::gate::Compiled;
use crate::kind::{bytes, goes_on, name};
use crate::outputs::Outputs;
use crate::part::artifacts::Artifacts;
use crate::part::books::{Books, Overbill};
use crate::part::calls::{CallStep, Calls, InFlight};
use crate::part::landing::Landing;
use crate::part::outgoing::Outgoing;
use crate::part::report::{Report, ReportStep};
use crate::part::requests::{OpenRequest, RequestStep, Requests};
use crate::part::runs::{End, Granted, RunStep, Runs};
use crate::part::windows::Windows;
use crate::request::changed;
use crate::state::Mission;
use crate::{budget, cadence, fork};

pub use crate::part::calls::CallMisfit;
pub use crate::part::landing::LandingMisfit;
pub use crate::part::report::ReportMisfit;
pub use crate::part::requests::RequestMisfit;
pub use crate::part::runs::RunMisfit;
pub use crate::part::windows::WindowMisfit;

/// A record that cannot follow the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record `{record}` cannot follow in status {status}: {why}")]
pub struct Illegal {
    /// The status before it; `queued` also before the first record.
    pub status: Status,
    /// Which kind of record.
    pub record: &'static str,
    /// What is wrong with it.
    pub why: Misfit,
}

/// Why a record cannot follow: the part of the mission that does not take it, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Something else came first.
    #[error("a journal begins with `accepted`")]
    NotAccepted,
    /// It came twice.
    #[error("a mission is accepted once")]
    AcceptedTwice,
    /// Its runs.
    #[error(transparent)]
    Run(#[from] RunMisfit),
    /// Its calls.
    #[error(transparent)]
    Call(#[from] CallMisfit),
    /// Its requests.
    #[error(transparent)]
    Request(#[from] RequestMisfit),
    /// The window that it is in.
    #[error(transparent)]
    Window(#[from] WindowMisfit),
    /// What its plugin reports.
    #[error(transparent)]
    Report(#[from] ReportMisfit),
    /// Its landing.
    #[error(transparent)]
    Landing(#[from] LandingMisfit),
}

impl Mission {
    /// The state after the first record. The caller has parsed `envelope` from that very record.
    ///
    /// # Errors
    /// [`Illegal`] if the first record is not `Accepted`.
    pub fn begin(envelope: Arc<Envelope>, first: &Stamped) -> Result<Self, Illegal> {
        let Record::Accepted(accepted) = &first.record else {
            let (status, record) = (Status::Queued, name(&first.record));
            return Err(Illegal { status, record, why: Misfit::NotAccepted });
        };
        let Accepted { envelope: _, session, lane, plugin, budget, unknown_approvals, warnings: _ } = accepted.as_ref();
        let forked_from = envelope.forked_from.as_ref();
        let inherits = forked_from.is_some_and(|from| from.records > 0);
        Ok(Self {
            session: session.clone(),
            lane: lane.clone(),
            plugin: plugin.clone(),
            budget: *budget,
            unknown_approvals: unknown_approvals.clone(),
            rules: Compiled::default(),
            runs: Runs { inherits, ..Runs::new() },
            windows: Windows::new(envelope.window, envelope.on_window_end, envelope.carry_over_max),
            calls: Calls::default(),
            books: Books::default(),
            landing: Landing::default(),
            requests: Requests::default(),
            report: Report::new(envelope.success_criteria.len()),
            artifacts: Artifacts::default(),
            outgoing: Outgoing { silent: inherits, ..Outgoing::ACCEPTED },
            outputs: Outputs::default(),
            records: 1,
            recorded_bytes: 0,
            ran_ms: first.ran_ms,
            envelope,
        })
    }

    /// The state after all of `records`.
    ///
    /// # Errors
    /// [`Illegal`] at the first record that cannot follow, and for no record at all.
    pub fn fold(envelope: Arc<Envelope>, records: &[Stamped]) -> Result<Self, Illegal> {
        let none = Illegal { status: Status::Queued, record: "none", why: Misfit::NotAccepted };
        let (first, rest) = records.split_first().ok_or(none)?;
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
        let bookings = self.bookings(record);
        self.take_up(stamped).map_err(|why| Illegal { status, record: name(record), why })?;
        self.books.book(&bookings);
        debug_assert_eq!(
            self.books.ledger().reserved(),
            self.calls.set_aside(),
            "the books agree with the calls that are being made"
        );
        if goes_on(record) {
            self.runs.came_forward();
        }
        self.recorded_bytes = self.recorded_bytes.saturating_add(bytes(record));
        self.records = stamped.next_no(self.records);
        let inherits = self.is_inherited(self.records);
        (self.runs.inherits, self.outgoing.silent) = (inherits, inherits);
        self.ran_ms = self.ran_ms.max(stamped.ran_ms);
        Ok(())
    }

    /// The parts that a record concerns, one after the other.
    fn take_up(&mut self, stamped: &Stamped) -> Result<(), Misfit> {
        let Stamped { at, ran_ms, record } = stamped;
        let (at, ran_ms) = (*at, *ran_ms);
        if self.runs.inherits && !fork::may_be_inherited(record) {
            return Err(RunMisfit::NotBegun.into());
        }
        match record {
            Record::Accepted(_) => Err(Misfit::AcceptedTwice),
            Record::Started { run, alone, announced } => {
                let (run, alone, interval_ms) = (*run, *alone, interval_ms(&self.envelope));
                self.runs.apply(RunStep::Started { run, alone, at, ran_ms, interval_ms })?;
                self.windows.begins();
                self.calls.apply(CallStep::RunBegins)?;
                // One that only waited has been spoken of when it was decided about.
                self.outgoing.event(*announced && !self.went_on());
                Ok(())
            }
            Record::Finished { status, reason, summary, next_action } => {
                let (status, reason) = (*status, *reason);
                let (summary, next_action) = (summary.clone(), next_action.clone());
                self.runs.apply(RunStep::Finished(End { status, reason, summary, next_action, at }))?;
                self.outgoing.event(true);
                self.break_off()
            }
            Record::Interrupted => {
                self.runs.apply(RunStep::Interrupted)?;
                self.calls.forget_refused();
                self.report.apply(ReportStep::Forgotten)?;
                self.artifacts.forget_written();
                self.break_off()
            }
            Record::Accompanied => Ok(self.runs.apply(RunStep::Accompanied)?),
            Record::NodeStopped => Ok(self.runs.apply(RunStep::NodeStopped)?),
            Record::Heartbeat => {
                self.runs.apply(RunStep::Heartbeat { ran_ms, interval_ms: interval_ms(&self.envelope) })?;
                self.outgoing.event(true);
                Ok(())
            }
            Record::Suspended { until } => {
                self.runs.going()?;
                self.calls.only_waits()?;
                Ok(self.runs.apply(RunStep::Suspended { at, ran_ms, until: *until })?)
            }
            Record::OpenUntil { at: until } => {
                self.runs.going()?;
                Ok(self.windows.open_until(*until, self.run().is_some())?)
            }
            Record::CarriedOver { start_at, end_at } => {
                self.windows.go_on()?;
                let ran = self.run().is_some();
                self.runs.apply(RunStep::CarriedOver { asks: !self.requests.open().is_empty() })?;
                if ran {
                    self.calls.apply(CallStep::CarriedOver)?;
                }
                self.windows.carry_over(Window { start_at: *start_at, end_at: *end_at });
                self.outgoing.event(self.tells_of_carry_over());
                Ok(())
            }
            Record::Unreadable { until: _, sequence, items } => {
                self.runs.not_over()?;
                self.outgoing.pass_over(*sequence, *items);
                Ok(())
            }
            Record::Granted { tools, memory_bytes_max } => {
                let granted = Granted { tools: tools.clone(), memory_bytes_max: *memory_bytes_max };
                Ok(self.runs.apply(RunStep::Granted(granted))?)
            }
            Record::CallFinished { call, outcome, .. } => {
                self.runs.takes()?;
                self.calls.flight(*call)?;
                let given_up = self.withdraws(outcome);
                self.requests.apply(RequestStep::CallOver { call: *call, given_up })?;
                self.calls.apply(CallStep::Finished(*call))?;
                self.outgoing.event(self.calls.is_of_child_over(*call));
                self.runs.wake();
                outcome.iter().for_each(|answer| self.artifacts.write(&answer.wrote));
                Ok(())
            }
            Record::Requoted { call, reserved } => {
                self.requests.none_about(*call)?;
                self.called(CallStep::Requoted { call: *call, reserved: *reserved })
            }
            Record::CallAgain { call } => self.called(CallStep::Again { call: *call, at }),
            Record::Overbilled { call, tool, quoted, spent } => {
                self.runs.takes()?;
                self.calls.has_ended(*call)?;
                self.books.overbilled(Overbill { tool: tool.clone(), quoted: *quoted, spent: *spent });
                self.outgoing.event(true);
                Ok(())
            }
            Record::CallResumed { call } => {
                self.runs.takes()?;
                self.requests.none_about(*call)?;
                self.calls.apply(CallStep::Resumed { call: *call, at })?;
                self.runs.wake();
                Ok(())
            }
            Record::Requested { request, call, kind, question, expires_at } => {
                self.runs.takes()?;
                self.calls.flight(*call)?;
                self.requests.apply(RequestStep::Asked(OpenRequest {
                    no: *request,
                    call: *call,
                    kind: *kind,
                    question: question.clone(),
                    asked_at: at,
                    expires_at: *expires_at,
                    reminded: false,
                    form: None,
                }))?;
                self.calls.apply(CallStep::Waits(*call))?;
                self.outgoing.event(true);
                Ok(())
            }
            Record::Elicited { request, call, question, schema, expires_at } => {
                self.runs.takes()?;
                self.calls.is_made(*call)?;
                self.requests.apply(RequestStep::Asked(OpenRequest {
                    no: *request,
                    call: *call,
                    kind: RequestKind::Input,
                    question: question.clone(),
                    asked_at: at,
                    expires_at: *expires_at,
                    reminded: false,
                    form: Some(schema.clone()),
                }))?;
                self.calls.apply(CallStep::Asks { call: *call, until: *expires_at })?;
                self.outgoing.event(true);
                Ok(())
            }
            Record::ChildAsks { call, asks } => {
                self.called(CallStep::ChildAsks { call: *call, asks })?;
                self.outgoing.event(true);
                Ok(())
            }
            Record::ChildHeard { call, of, request } => {
                self.called(CallStep::ChildHeard { call: *call, of, request: *request })?;
                self.outgoing.event(true);
                Ok(())
            }
            Record::Withdrawn { request, why } => {
                self.runs.takes()?;
                self.requests.apply(RequestStep::Withdrawn { no: *request, why })?;
                self.outgoing.event(true);
                Ok(())
            }
            Record::Reminded { request } => {
                self.runs.takes()?;
                self.requests.apply(RequestStep::Reminded(*request))?;
                self.outgoing.event(true);
                Ok(())
            }
            Record::Decided { request, decision, by, .. } => {
                self.runs.takes()?;
                let open = self.requests.get(*request);
                let (call, is_heard) = (open.map(|open| open.call), open.is_some_and(|open| open.form.is_some()));
                let flight = call.and_then(|call| self.calls.flight(call).ok());
                let tool = flight.and_then(|flight| flight.tool.as_ref());
                let scopes = flight.map(|flight| self.scoped_approvals(flight)).unwrap_or_default();
                let amended = flight.and_then(|flight| changed(flight, decision)).filter(|_| tool.is_some());
                let changes = amended.is_some();
                self.requests.apply(RequestStep::Decided { no: *request, decision, tool, scopes, changes })?;
                if let (Some(arguments), Some(call)) = (amended, call) {
                    self.calls.apply(CallStep::Amended { call, arguments })?;
                }
                if let Some(call) = call.filter(|_| is_heard && by != NOBODY) {
                    self.calls.apply(CallStep::Heard(call))?;
                }
                if let Some(call) = call.filter(|_| decision.is_to_make()) {
                    self.calls.apply(CallStep::Decided(call))?;
                }
                if let Decision::Grant { llm_calls, cost } = decision {
                    self.budget = budget::raised(&self.budget, *llm_calls, *cost);
                }
                self.outgoing.event(true);
                Ok(())
            }
            Record::CallStarted { call, tool, arguments, digest, repeat, reserved }
            | Record::CallHeld { call, tool, arguments, digest, repeat, reserved } => {
                let held = matches!(record, Record::CallHeld { .. });
                self.begun(InFlight {
                    tool: Some(tool.clone()),
                    repeat: *repeat,
                    reserved: *reserved,
                    held,
                    ..InFlight::begun(*call, at, arguments, *digest)
                })?;
                self.outgoing.event(!held && tool.as_str() == MISSION);
                Ok(())
            }
            Record::Asked { call, question } => {
                self.begun(InFlight::begun(*call, at, question, Digest::of(question.as_bytes())))
            }
            Record::CallRefused { call, tool, error, .. } => {
                self.called(CallStep::Refused { call: *call, tool, error })
            }
            Record::Answered { call, question: HostQuestion::Closing, answer, .. } => {
                self.called(CallStep::Numbered(*call))?;
                self.landing.asked(answer.parse().ok());
                Ok(())
            }
            // Kept for replay.
            Record::Answered { call, .. } => self.called(CallStep::Numbered(*call)),
            Record::Postponed { call, until, .. } => {
                self.called(CallStep::Postponed { call: *call, at, until: *until })
            }
            Record::PaymentAwaited { call, until, .. } => {
                self.runs.takes()?;
                self.requests.none_about(*call)?;
                Ok(self.calls.apply(CallStep::Unpaid { call: *call, until: *until })?)
            }
            Record::Closing { limit } => {
                self.runs.takes()?;
                self.landing.close(*limit)?;
                self.runs.wake();
                Ok(())
            }
            Record::Landing { call } => {
                self.called(CallStep::Numbered(*call))?;
                self.outgoing.event(!self.lands());
                self.landing.land(*call);
                Ok(())
            }
            Record::Milestone { call, text } => {
                self.say(*call, ReportStep::Milestone(text))?;
                self.outgoing.event(cadence::reports_milestones(self.envelope.report_cadence));
                Ok(())
            }
            Record::Logged { call, .. } => self.say(*call, ReportStep::Logged),
            Record::Judged { call, criterion, verdict, evidence } => {
                self.say(*call, ReportStep::Judged { criterion: *criterion, verdict: *verdict, evidence })
            }
            Record::ArtifactStored { call, artifact, .. } => {
                match call {
                    Some(call) => self.called(CallStep::Numbered(*call))?,
                    // Collected, after the plugin's own doing.
                    None => self.runs.takes()?,
                }
                self.artifacts.store(artifact);
                self.outgoing.stored(self.envelope.storage_scope);
                Ok(())
            }
        }
    }

    /// The entries of its constraints with scopes that hold a call.
    fn scoped_approvals(&self, flight: &InFlight) -> Vec<String> {
        let Some(tool) = &flight.tool else { return Vec::new() };
        let rules = self.rules.of(&self.envelope.constraints);
        rules.scoped_approvals(tool, &flight.arguments).map(ToOwned::to_owned).collect()
    }

    /// A host call that concerns nothing but the calls.
    fn called(&mut self, step: CallStep<'_>) -> Result<(), Misfit> {
        self.runs.takes()?;
        Ok(self.calls.apply(step)?)
    }

    fn begun(&mut self, flight: InFlight) -> Result<(), Misfit> {
        self.called(CallStep::Begun(flight))
    }

    /// A host call by which the plugin says something.
    fn say(&mut self, call: CallNo, step: ReportStep<'_>) -> Result<(), Misfit> {
        self.runs.takes()?;
        self.calls.is_next(call)?;
        self.report.apply(step)?;
        Ok(self.calls.apply(CallStep::Numbered(call))?)
    }

    /// What was under way is given up.
    fn break_off(&mut self) -> Result<(), Misfit> {
        self.requests.apply(RequestStep::AllOver)?;
        Ok(self.calls.apply(CallStep::BrokenOff)?)
    }
}

fn interval_ms(envelope: &Envelope) -> Option<u64> {
    cadence::heartbeat_interval_ms(envelope.report_cadence, envelope.heartbeat_interval_seconds)
}
