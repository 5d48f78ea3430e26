//! What may happen next: a command, and the records that it leads to.
//!
//! Deciding changes nothing. The order of the questions is the same for every command: has the mission ended, does the
//! command come from the current run, is there time left, and only then what it asks for.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::iter;

use jiff::Timestamp;
use sortie_contract::artifact::{Artifact, ArtifactName};
use sortie_contract::digest::Digest;
use sortie_contract::envelope::Window;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::limit;
use sortie_contract::money::Spend;
use sortie_contract::outcome::{Status, Verdict};
use sortie_contract::plugin::LogLevel;
use sortie_contract::record::{ArtifactSource, Record};
use sortie_contract::request::RequestKind;
use sortie_contract::tool::{ASK, CallError, MISSION, MODEL, ToolInfo, ToolName};

use crate::command::{Command, Conditions, Handle, Now, Refusal};
use crate::finish::Cause;
use crate::gate::Gate;
use crate::part::calls::InFlight;
use crate::part::runs::{Active, Phase};
use crate::payment::Payment;
use crate::state::Mission;
use crate::window::{Moment, moment};

/// What a mission's status alone answers to a command; `None` where its records must be asked. A final status never changes, and one
/// that waits for its first turn has asked nothing. Whoever has only the head need not read the rest for this.
#[must_use]
pub fn at_a_glance(status: Status, command: &Command<'_>) -> Option<Result<Vec<Record>, Refusal>> {
    match (status, command) {
        // Certain once answered, however often it is asked for.
        (Status::Cancelled, Command::Cancel { .. }) => Some(Ok(Vec::new())),
        (status, _) if status.is_final() => Some(Err(Refusal::AlreadyFinal { status })),
        (Status::Queued, Command::Decide { request, .. }) => Some(Err(Refusal::UnknownRequest { request: *request })),
        _ => None,
    }
}

impl Mission {
    /// What `command` leads to at `now`: records to be journaled and applied in this order. None at all where nothing is to
    /// be done.
    ///
    /// Any command of a run may find that time is over; the answer is then the end of the mission, or that it is carried over.
    ///
    /// # Errors
    /// [`Refusal`] where the command does not fit the mission as it stands.
    pub fn decide(&self, now: Now, command: Command<'_>) -> Result<Vec<Record>, Refusal> {
        if let Some(answer) = at_a_glance(self.status(), &command) {
            return answer;
        }
        let records = self.with_withdrawn(self.answer(now, command)?);
        Ok(self.with_closing(now, self.with_paid(now, records)))
    }

    fn answer(&self, now: Now, command: Command<'_>) -> Result<Vec<Record>, Refusal> {
        match (&self.runs.phase, command) {
            (Phase::Ended(end), _) => Err(Refusal::AlreadyFinal { status: end.status }),
            (_, Command::Cancel { reason, by }) => Ok(vec![self.end(Cause::Cancelled { reason: &reason, by: &by })]),
            (_, Command::Halt) => Ok(vec![self.end(Cause::Halted)]),
            (_, Command::Start(conditions)) => self.start(now, conditions),
            (Phase::Queued, Command::Tick) => Ok(self.time_over(now).into_iter().collect()),
            (Phase::Active(active), Command::Tick) => Ok(self.tick(active, now)),
            (Phase::Active(active), Command::Doubt(tools)) => {
                Ok(if active.suspended.is_some() { self.broke_off(now, tools) } else { Vec::new() })
            }
            (Phase::Active(active), Command::Accompany) => {
                Ok(active.alone.then_some(Record::Accompanied).into_iter().collect())
            }
            (Phase::Active(active), Command::StopNode) => {
                Ok(active.is_in_memory().then_some(Record::NodeStopped).into_iter().collect())
            }
            (Phase::Active(_), Command::Withdraw { request, why }) => Ok(self.withdraw(request, why)),
            (Phase::Active(_), Command::Decide { request, decision, by, note, changed }) => {
                self.decide_request(now, request, decision, by, note, changed)
            }
            (Phase::Active(_), Command::ChildDone { call, outcome, spent }) => {
                self.child_done(now, call, outcome, spent)
            }
            (Phase::Active(_), Command::ChildAsks { call, open }) => self.child_asks(call, open),
            (Phase::Queued, _) => Err(Refusal::NotRunning { status: Status::Queued }),
            (Phase::Active(active), command) => self.of_run(active, now, command),
        }
    }

    /// The next run. What the last one was making when it broke off is made again, or asked about: see [`Mission::broke_off`]. Which tools the plugin is handed is decided by the first, for all of them, whatever the node has by then: a
    /// replay must see what the first run saw.
    fn start(&self, now: Now, conditions: Conditions<'_>) -> Result<Vec<Record>, Refusal> {
        let Conditions { tools, memory_bytes_max, alone, crashes_alone_max, open_until } = conditions;
        if let Some(end) = self.time_over(now) {
            return Ok(vec![end]);
        }
        if let Moment::Before(start_at) = moment(self.windows.window, now.wall) {
            return Err(Refusal::NotYet { start_at });
        }
        if let Some(why) = self.runs.crashes().too_many(crashes_alone_max) {
            return Ok(vec![self.end(Cause::Interrupted(&why))]);
        }
        let started =
            Record::Started { run: RunNo(self.runs.begun + 1), alone, announced: self.runs.started_at.is_none() };
        let handed = || Record::Granted { tools: self.grantable(tools), memory_bytes_max: Some(memory_bytes_max) };
        let granted = self.runs.granted.is_none().then(handed);
        let until = open_until.map(|at| Record::OpenUntil { at });
        let lost = self.broke_off(now, tools);
        Ok(iter::once(started).chain(granted).chain(until).chain(lost).collect())
    }

    fn tick(&self, active: &Active, now: Now) -> Vec<Record> {
        let over = self.time_over(now).or_else(|| self.expired(now));
        if let Some(end) = over {
            return vec![end];
        }
        let turned_down = self.turned_down_late(now);
        if !turned_down.is_empty() {
            return turned_down;
        }
        if let Some(resumed) = self.go_on_with_postponed(now) {
            return resumed;
        }
        let unanswered = self.requests.open().iter().filter(|open| open.remind_at().is_some_and(|at| at <= now.wall));
        unanswered.map(|open| Record::Reminded { request: open.no }).chain(heartbeat(active, now)).collect()
    }

    /// What follows where the window has closed or the run time is spent: the end, or that the mission is carried over.
    pub(crate) fn time_over(&self, now: Now) -> Option<Record> {
        let is_spent = now.ran_ms >= self.budget.runtime_ms_max;
        let next = now.next_window.filter(|_| self.windows.may_go_on());
        match (self.closed(now.wall), next) {
            (Some(_), Some(Window { start_at, end_at })) if !is_spent => Some(Record::CarriedOver { start_at, end_at }),
            (Some(_), Some(_)) => Some(self.end(Cause::RunTimeSpent)),
            (Some(closed), None) => Some(self.end(Cause::Closed(closed))),
            (None, _) => is_spent.then(|| self.end(Cause::RunTimeSpent)),
        }
    }

    fn of_run(&self, active: &Active, now: Now, command: Command<'_>) -> Result<Vec<Record>, Refusal> {
        if let Some(asked) = command.run()
            && (asked != active.run || active.suspended.is_some())
        {
            return Err(Refusal::Fenced { asked, current: active.run });
        }
        let over = self.time_over(now);
        if let Command::CallDone { call, outcome, spent, .. } = command {
            return self.call_done(call, outcome, spent, over);
        }
        if let Command::Postpone { call, hinted, hold_max, why, .. } = command {
            // Nobody has done anything for it, also where its mission ends or is carried over now.
            let postponed = self.postpone(now, call, hinted, hold_max, why)?;
            return Ok(iter::once(postponed).chain(over).collect());
        }
        if let Some(end) = over {
            return Ok(vec![end]);
        }
        let record = match command {
            Command::Suspend { records, until, .. } => self.suspend(records, until)?,
            Command::Ask { question, .. } => return Ok(self.ask(now, question)),
            Command::AskFor { call, question, schema, .. } => self.ask_for(now, call, question, schema)?,
            Command::Call { tool, arguments, digest, quote, .. } => {
                return Ok(self.call(now, tool, arguments, digest, quote));
            }
            Command::CollectArtifact { artifact } => self.collect(artifact)?,
            Command::StoreArtifact { artifact, source, .. } => {
                self.artifact_fits(&artifact)?;
                self.numbered(|call| Record::ArtifactStored { call: Some(call), artifact, source })
            }
            Command::Answer { question, about, answer, .. } => {
                self.numbered(|call| Record::Answered { call, question, about, answer })
            }
            Command::Land { .. } => self.numbered(|call| Record::Landing { call }),
            Command::Milestone { .. } | Command::Log { .. } if self.report.notes() >= limit::NOTES_MAX => {
                return Ok(Vec::new());
            }
            Command::Milestone { text, .. } => self.numbered(|call| Record::Milestone { call, text: note(text) }),
            Command::Log { level, text, .. } => self.numbered(|call| Record::Logged { call, level, text: note(text) }),
            Command::Judge { criterion, verdict, evidence, .. } => return Ok(self.judge(criterion, verdict, evidence)),
            Command::PluginEnded { ending, uncollected, .. } => self.end(Cause::Ended(&ending, &uncollected)),
            // `decide` has answered all of these.
            Command::CallDone { .. }
            | Command::ChildDone { .. }
            | Command::ChildAsks { .. }
            | Command::Postpone { .. }
            | Command::Start { .. }
            | Command::Tick
            | Command::Cancel { .. }
            | Command::Withdraw { .. }
            | Command::Decide { .. }
            | Command::Halt
            | Command::Doubt(_)
            | Command::Accompany
            | Command::StopNode => return Err(Refusal::Busy),
        };
        Ok(vec![record])
    }

    /// A record with the next number among the host calls; the end, where the numbers are used up.
    fn numbered(&self, record: impl FnOnce(CallNo) -> Record) -> Record {
        if self.calls.numbered() >= limit::CALLS_MAX {
            return self
                .end(Cause::LimitExceeded(&format!("a mission makes at most {} calls to its node", limit::CALLS_MAX)));
        }
        if self.recorded_bytes >= limit::RECORDED_BYTES_MAX {
            return self.recorded_too_much();
        }
        record(self.calls.next())
    }

    pub(crate) fn recorded_too_much(&self) -> Record {
        let max = limit::RECORDED_BYTES_MAX;
        self.end(Cause::LimitExceeded(&format!(
            "what a mission's calls carry (arguments, results, questions, evidence, what those below it ask) has at most {max} bytes in all"
        )))
    }

    fn call(&self, now: Now, tool: Handle<'_>, arguments: String, digest: Digest, reserved: Spend) -> Vec<Record> {
        let unlisted = |name| ToolInfo { idempotent: true, ..ToolInfo::undeclared(ToolName::new(name)) };
        let (model, child) = (unlisted(MODEL), unlisted(MISSION));
        let (tool, is_unlisted) = match tool {
            Handle::Tool(tool) => (tool, false),
            Handle::Model => (&model, true),
            Handle::Mission { refused: None } => (&child, true),
            Handle::Mission { refused: Some(error) } => {
                let (tool, error) = (child.name, error.clone());
                return vec![self.numbered(|call| Record::CallRefused { call, tool, digest, error })];
            }
            Handle::Gone(name) => {
                let (tool, error) = (name.clone(), CallError::Denied(gone(name)));
                return vec![self.numbered(|call| Record::CallRefused { call, tool, digest, error })];
            }
            Handle::Away { tool, why } => {
                let (tool, error) = (tool.clone(), CallError::Failed(away(tool, why)));
                return vec![self.numbered(|call| Record::CallRefused { call, tool, digest, error })];
            }
        };
        let name = tool.name.clone();
        let repeat = tool.repeat();
        let gate = match is_unlisted {
            true => self.rules.of(&self.envelope.constraints).gate_of_unlisted(tool),
            false => self.gate(tool, &arguments),
        };
        if let Some(error) = self.refuse(now, gate, tool, &arguments, reserved) {
            return vec![self.numbered(|call| Record::CallRefused { call, tool: name, digest, error })];
        }
        let refused = |error| {
            let (tool, error) = (name.clone(), CallError::BudgetExhausted(error));
            self.numbered(|call| Record::CallRefused { call, tool, digest, error })
        };
        let payment = match self.payment(now, &self.means(now), &name, reserved) {
            Payment::Never(why, limit) => {
                let refused = refused(why);
                // Where the numbers are used up, the end stands there instead.
                let is_refused = matches!(refused, Record::CallRefused { .. });
                let is_told = is_refused && self.landing.expected().is_some();
                let closing = limit.filter(|_| is_told).map(|limit| Record::Closing { limit });
                return iter::once(refused).chain(closing).collect();
            }
            payment => payment,
        };
        // Approval first, then money.
        let payment = self.must_ask(gate, tool, &arguments).map_or(payment, Payment::Asks);
        if payment == Payment::Now {
            return vec![self.numbered(|call| Record::CallStarted {
                call,
                tool: name,
                arguments,
                digest,
                repeat,
                reserved,
            })];
        }
        let held = self.numbered(|call| Record::CallHeld { call, tool: name, arguments, digest, repeat, reserved });
        let follows = match (&held, payment) {
            (Record::CallHeld { call, .. }, Payment::Asks(ask)) => {
                Some(self.request(now, self.requests.next(), *call, ask))
            }
            (Record::CallHeld { call, .. }, Payment::Later(until, why)) => {
                Some(Self::awaits_payment(*call, until, why))
            }
            _ => None,
        };
        iter::once(held).chain(follows).collect()
    }

    /// Why a call is not granted: the window, the gate, an earlier call that was too dear, the limits of form, in this order.
    fn refuse(&self, now: Now, gate: Gate<'_>, tool: &ToolInfo, arguments: &str, quote: Spend) -> Option<CallError> {
        if let Moment::Before(start_at) = moment(self.windows.window, now.wall) {
            // Only where the wall clock was set back.
            return Some(CallError::Denied(format!("the autonomy window opens at {start_at}")));
        }
        if let Some(why) = denied(gate, tool) {
            return Some(CallError::Denied(why));
        }
        if let Some(why) = self.barred(quote) {
            return Some(CallError::BudgetExhausted(why));
        }
        limits_of_form(arguments).map(CallError::InvalidArguments).or_else(|| self.in_flight_full())
    }

    fn ask(&self, now: Now, question: String) -> Vec<Record> {
        let question = note(question);
        if let Some(error) = self.in_flight_full() {
            let (tool, digest) = (ToolName::new(ASK), Digest::of(question.as_bytes()));
            return vec![self.numbered(|call| Record::CallRefused { call, tool, digest, error })];
        }
        let asked = self.numbered(|call| Record::Asked { call, question: question.clone() });
        let requested = match &asked {
            Record::Asked { call, .. } => {
                Some(self.request(now, self.requests.next(), *call, (RequestKind::Input, question)))
            }
            _ => None,
        };
        iter::once(asked).chain(requested).collect()
    }

    /// What becomes of the calls that were put off until now.
    fn go_on_with_postponed(&self, now: Now) -> Option<Vec<Record>> {
        let is_due = |flight: &&InFlight| match flight.unpaid {
            // Money may have come back, or a budget may be another one, at any time. Before its next window a mission takes none.
            Some(_) => !self.windows.is_awaited(),
            None => flight.put_off_until().is_some_and(|until| until <= now.wall),
        };
        let due: Vec<&InFlight> = self.calls.in_flight().iter().filter(is_due).collect();
        let records = self.paid_or_asked(now, self.means(now), self.requests.next(), &due);
        (!records.is_empty()).then_some(records)
    }

    fn suspend(&self, records: u32, until: Option<Timestamp>) -> Result<Record, Refusal> {
        let is_due = until.is_some() || self.postponed_until().is_some() || self.waits_for_children();
        let waits = self.calls.only_waits().is_ok() && (!self.requests.open().is_empty() || is_due);
        if waits && records == self.records { Ok(Record::Suspended { until }) } else { Err(Refusal::Busy) }
    }

    fn judge(&self, criterion: u32, verdict: Verdict, evidence: String) -> Vec<Record> {
        let known = self.envelope.success_criteria.len();
        if usize::try_from(criterion).is_ok_and(|index| index < known) {
            return vec![self.numbered(|call| Record::Judged { call, criterion, verdict, evidence: note(evidence) })];
        }
        if self.report.notes() >= limit::NOTES_MAX {
            return Vec::new();
        }
        // The plugin cannot be answered; whoever debugs it finds this.
        let text = format!("judged criterion {criterion}; the mission has {known}, counted from 0");
        vec![self.numbered(|call| Record::Logged { call, level: LogLevel::Warn, text })]
    }

    fn collect(&self, artifact: Artifact) -> Result<Record, Refusal> {
        if !self.is_collectable(artifact.name.as_str()) {
            return Err(Refusal::NotCollectable { name: artifact.name });
        }
        self.artifact_fits(&artifact)?;
        let source = ArtifactSource::File { path: artifact.name.as_str().to_owned() };
        Ok(Record::ArtifactStored { call: None, artifact, source })
    }

    fn artifact_fits(&self, artifact: &Artifact) -> Result<(), Refusal> {
        let max = limit::ARTIFACT_BYTES_MAX;
        if usize::try_from(artifact.bytes).map_or(true, |bytes| bytes > max) {
            return Err(Refusal::ArtifactTooLarge { bytes: artifact.bytes, max });
        }
        if !self.has_room_for(&artifact.name) {
            return Err(Refusal::TooManyArtifacts { max: limit::ARTIFACTS_MAX });
        }
        Ok(())
    }

    /// Whether an artifact of that name may be stored beside those that there are: at the most of them, only in place of one.
    #[must_use]
    pub fn has_room_for(&self, name: &ArtifactName) -> bool {
        self.artifacts.has_room_for(name)
    }

    fn in_flight_full(&self) -> Option<CallError> {
        let max = limit::CALLS_IN_FLIGHT_MAX;
        let full = self.calls.in_flight().len() >= max;
        full.then(|| CallError::Failed(format!("at most {max} calls are in flight together")))
    }
}

fn heartbeat(active: &Active, now: Now) -> Option<Record> {
    active.heartbeat_due_ms.filter(|&due| now.ran_ms >= due).map(|_| Record::Heartbeat)
}

/// Of a tool that was taken away.
pub(crate) fn gone(tool: &ToolName) -> String {
    format!("this node no longer has the tool `{tool}`")
}

/// Of a tool whose provider is out.
pub(crate) fn away(tool: &ToolName, why: &str) -> String {
    format!("`{tool}` cannot be called: {why}")
}

/// What is wrong with arguments, whatever they say.
pub(crate) fn limits_of_form(arguments: &str) -> Option<String> {
    let (bytes, max) = (arguments.len(), limit::CALL_BYTES_MAX);
    (bytes > max).then(|| format!("arguments have at most {max} bytes, these have {bytes}"))
}

/// What a plugin is told by the gate; nothing, where it is open or somebody may open it.
pub(crate) fn denied(gate: Gate<'_>, tool: &ToolInfo) -> Option<String> {
    let name = &tool.name;
    let entry = |entry: &str| limit::clip(entry, limit::ID_BYTES_MAX);
    match gate {
        Gate::Granted | Gate::NeedsApproval(_) => None,
        Gate::Forbidden(by) => {
            let doubt = by.doubt.map(|why| format!(": {why}, so it may be meant")).unwrap_or_default();
            Some(format!("`{name}` is forbidden by `{}` in constraints.forbidden_tools{doubt}", entry(by.text)))
        }
        Gate::NotAllowed(None) => Some(format!("`{name}` is not in constraints.allowed_tools")),
        Gate::NotAllowed(Some(nearest)) => {
            let doubt = nearest.doubt.map(|why| format!(": {why}")).unwrap_or_default();
            Some(format!(
                "this call of `{name}` is none that constraints.allowed_tools means, such as `{}`{doubt}",
                entry(nearest.text)
            ))
        }
    }
}

/// A text of a plugin at the length that is kept.
pub(crate) fn note(text: String) -> String {
    if text.len() <= limit::NOTE_BYTES_MAX { text } else { limit::clip(&text, limit::NOTE_BYTES_MAX) }
}
