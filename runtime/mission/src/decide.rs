//! What may happen next: a command, and the records that it leads to.
//!
//! Deciding changes nothing. The order of the questions is the same for every command: has the mission ended, does the
//! command come from the current run, is there time left, and only then what it asks for.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use sortie_contract::artifact::Artifact;
use sortie_contract::digest::Digest;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::limit;
use sortie_contract::money::MicroUsd;
use sortie_contract::outcome::{Status, Verdict};
use sortie_contract::plugin::LogLevel;
use sortie_contract::record::Record;
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo};

use crate::budget::Spend;
use crate::command::{Command, Now, Refusal};
use crate::finish::Cause;
use crate::gate::{Approval, Gate};
use crate::state::{Mission, Phase, Run};
use crate::window::{Moment, moment};

/// Most runs of one mission. A node that stops this often while a mission runs is being stopped by that mission.
pub const RUNS_MAX: u32 = 100;

impl Mission {
    /// What `command` leads to at `now`: records to be journaled and applied in this order. None at all where nothing is to
    /// be done.
    ///
    /// Any command of a run may find that time is over; the answer is then the end of the mission.
    ///
    /// # Errors
    /// [`Refusal`] where the command does not fit the mission as it stands.
    pub fn decide(&self, now: Now, command: Command<'_>) -> Result<Vec<Record>, Refusal> {
        match (&self.phase, command) {
            // Certain once answered, however often it is asked for.
            (Phase::Ended(end), Command::Cancel { .. }) if end.status == Status::Cancelled => Ok(Vec::new()),
            (Phase::Ended(end), _) => Err(Refusal::AlreadyFinal { status: end.status }),
            (_, Command::Cancel { reason, by }) => Ok(vec![self.end(Cause::Cancelled { reason: &reason, by: &by })]),
            (_, Command::Halt) => Ok(vec![self.end(Cause::Halted)]),
            (Phase::Queued, Command::Start) => self.start(now),
            (Phase::Running(run), Command::Start) => Err(Refusal::AlreadyRunning { run: run.no }),
            (Phase::Queued, Command::Tick | Command::Recover) => Ok(self.time_over(now).into_iter().collect()),
            (Phase::Running(run), Command::Tick) => {
                Ok(self.time_over(now).or_else(|| heartbeat(run, now)).into_iter().collect())
            }
            (Phase::Running(run), Command::Recover) => {
                Ok(vec![self.time_over(now).unwrap_or_else(|| self.recover(run))])
            }
            (Phase::Queued, _) => Err(Refusal::NotRunning { status: Status::Queued }),
            (Phase::Running(run), command) => self.of_run(run, now, command),
        }
    }

    fn start(&self, now: Now) -> Result<Vec<Record>, Refusal> {
        if let Some(end) = self.time_over(now) {
            return Ok(vec![end]);
        }
        if let Moment::Before(start_at) = moment(self.envelope.window, now.wall) {
            return Err(Refusal::NotYet { start_at });
        }
        Ok(vec![Record::Started { run: RunNo(self.runs + 1) }])
    }

    /// The end, where the window has closed or the run time is spent.
    fn time_over(&self, now: Now) -> Option<Record> {
        if let Moment::After(closed_at) = moment(self.envelope.window, now.wall) {
            return Some(self.end(Cause::WindowClosed { closed_at }));
        }
        (now.ran_ms >= self.budget.runtime_ms_max).then(|| self.end(Cause::RunTimeSpent))
    }

    /// After a restart of the node: once more from the beginning, where nothing would be done twice.
    fn recover(&self, run: &Run) -> Record {
        if run.left_traces || run.no.0 >= RUNS_MAX { self.end(Cause::Interrupted) } else { Record::Interrupted }
    }

    fn of_run(&self, run: &Run, now: Now, command: Command<'_>) -> Result<Vec<Record>, Refusal> {
        if let Some(asked) = command.run()
            && asked != run.no
        {
            return Err(Refusal::Fenced { asked, current: run.no });
        }
        let over = self.time_over(now);
        if let Command::CallDone { call, outcome, cost, .. } = command {
            let done = call_done(run, call, outcome, cost);
            // A result that is there is not thrown away, even now: what it cost belongs to the usage.
            return match over {
                Some(end) => Ok(done.into_iter().chain([end]).collect()),
                None => Ok(vec![done?]),
            };
        }
        if let Some(end) = over {
            return Ok(vec![end]);
        }
        let record = match command {
            Command::CollectArtifact { artifact } => self.collect(artifact)?,
            Command::StoreArtifact { artifact, .. } => {
                self.artifact_fits(&artifact)?;
                self.numbered(|call| Record::ArtifactStored { call: Some(call), artifact })
            }
            Command::Call { tool, arguments, digest, cost_estimate, .. } => {
                self.call(run, now, tool, arguments, digest, cost_estimate)
            }
            Command::Answer { question, answer, .. } => {
                self.numbered(|call| Record::Answered { call, question, answer })
            }
            Command::Milestone { .. } | Command::Log { .. } if self.notes >= limit::NOTES_MAX => return Ok(Vec::new()),
            Command::Milestone { text, .. } => self.numbered(|call| Record::Milestone { call, text: note(text) }),
            Command::Log { level, text, .. } => self.numbered(|call| Record::Logged { call, level, text: note(text) }),
            Command::Judge { criterion, verdict, evidence, .. } => return Ok(self.judge(criterion, verdict, evidence)),
            Command::PluginEnded { ending, .. } => self.end(Cause::Ended(&ending)),
            // `decide` has answered all of these.
            Command::CallDone { .. }
            | Command::Start
            | Command::Tick
            | Command::Cancel { .. }
            | Command::Halt
            | Command::Recover => {
                return Err(Refusal::AlreadyRunning { run: run.no });
            }
        };
        Ok(vec![record])
    }

    /// A record with the next number among the host calls; the end, where the numbers are used up.
    fn numbered(&self, record: impl FnOnce(CallNo) -> Record) -> Record {
        if self.calls >= limit::CALLS_MAX {
            return self
                .end(Cause::LimitExceeded(&format!("a mission makes at most {} calls to its node", limit::CALLS_MAX)));
        }
        record(CallNo(self.calls + 1))
    }

    fn call(
        &self,
        run: &Run,
        now: Now,
        tool: &ToolInfo,
        arguments: String,
        digest: Digest,
        reserved: MicroUsd,
    ) -> Record {
        let refused = self.refuse(run, now, tool, &arguments, reserved);
        self.numbered(|call| match refused {
            Some(error) => Record::CallRefused { call, tool: tool.name.clone(), digest, error },
            None => Record::CallStarted {
                call,
                tool: tool.name.clone(),
                arguments,
                digest,
                repeat: tool.repeat(),
                reserved,
            },
        })
    }

    /// Why a call is not granted: the window, the gate, the limits of form, the budget, in this order.
    fn refuse(&self, run: &Run, now: Now, tool: &ToolInfo, arguments: &str, cost: MicroUsd) -> Option<CallError> {
        if let Moment::Before(start_at) = moment(self.envelope.window, now.wall) {
            // Only where the wall clock was set back.
            return Some(CallError::Denied(format!("the autonomy window opens at {start_at}")));
        }
        if let Some(why) = denied(self.gate(tool), tool) {
            return Some(CallError::Denied(why));
        }
        if arguments.len() > limit::CALL_BYTES_MAX {
            let max = limit::CALL_BYTES_MAX;
            return Some(CallError::InvalidArguments(format!(
                "arguments have at most {max} bytes, these have {}",
                arguments.len()
            )));
        }
        if run.in_flight.len() >= limit::CALLS_IN_FLIGHT_MAX {
            return Some(CallError::Failed(format!(
                "at most {} calls are in flight together",
                limit::CALLS_IN_FLIGHT_MAX
            )));
        }
        let exhausted = self.ledger.check(&self.budget, Spend { llm_calls: 0, cost }).err()?;
        Some(CallError::BudgetExhausted(exhausted.0))
    }

    fn judge(&self, criterion: u32, verdict: Verdict, evidence: String) -> Vec<Record> {
        let known = self.envelope.success_criteria.len();
        if usize::try_from(criterion).is_ok_and(|index| index < known) {
            return vec![self.numbered(|call| Record::Judged { call, criterion, verdict, evidence: note(evidence) })];
        }
        if self.notes >= limit::NOTES_MAX {
            return Vec::new();
        }
        // The plugin cannot be answered; whoever debugs it finds this.
        let text = format!("judged criterion {criterion}; the mission has {known}, counted from 0");
        vec![self.numbered(|call| Record::Logged { call, level: LogLevel::Warn, text })]
    }

    fn collect(&self, artifact: Artifact) -> Result<Record, Refusal> {
        if !self.collectable().contains(&artifact.name.as_str()) {
            return Err(Refusal::NotCollectable { name: artifact.name });
        }
        self.artifact_fits(&artifact)?;
        Ok(Record::ArtifactStored { call: None, artifact })
    }

    fn artifact_fits(&self, artifact: &Artifact) -> Result<(), Refusal> {
        let max = limit::ARTIFACT_BYTES_MAX;
        if usize::try_from(artifact.bytes).map_or(true, |bytes| bytes > max) {
            return Err(Refusal::ArtifactTooLarge { bytes: artifact.bytes, max });
        }
        let replaces = || self.artifacts.iter().any(|known| known.name == artifact.name);
        if self.artifacts.len() >= limit::ARTIFACTS_MAX && !replaces() {
            return Err(Refusal::TooManyArtifacts { max: limit::ARTIFACTS_MAX });
        }
        Ok(())
    }
}

fn call_done(
    run: &Run,
    call: CallNo,
    outcome: Result<ToolAnswer, CallError>,
    cost: MicroUsd,
) -> Result<Record, Refusal> {
    let in_flight = run.in_flight.iter().any(|flight| flight.call == call);
    if in_flight { Ok(Record::CallFinished { call, outcome, cost }) } else { Err(Refusal::UnknownCall { call }) }
}

fn heartbeat(run: &Run, now: Now) -> Option<Record> {
    run.heartbeat_due_ms.filter(|&due| now.ran_ms >= due).map(|_| Record::Heartbeat)
}

/// What a plugin is told by the gate; nothing, where it is open.
fn denied(gate: Gate<'_>, tool: &ToolInfo) -> Option<String> {
    let name = &tool.name;
    let entry = |entry: &str| limit::clip(entry, limit::ID_BYTES_MAX);
    match gate {
        Gate::Granted => None,
        Gate::Forbidden(by) => Some(format!("`{name}` is forbidden by `{}` in constraints.forbidden_tools", entry(by))),
        Gate::NotAllowed => Some(format!("`{name}` is not in constraints.allowed_tools")),
        Gate::NeedsApproval(Approval::Required(by)) => Some(format!(
            "`{name}` needs approval by `{}` in constraints.approval_required, and this version of sortie cannot ask for it",
            entry(by)
        )),
        Gate::NeedsApproval(Approval::Unclassified(by)) => Some(format!(
            "`{name}` declares no effect class, so `{}` in constraints.approval_required, which names nothing known, may mean it; \
             it needs approval, and this version of sortie cannot ask for it",
            entry(by)
        )),
    }
}

/// A text of a plugin at the length that is kept.
fn note(text: String) -> String {
    if text.len() <= limit::NOTE_BYTES_MAX { text } else { limit::clip(&text, limit::NOTE_BYTES_MAX) }
}
