//! What the journal keeps of a mission: its only truth. Everything else is a fold over these records.
//!
//! A record is encoded as a version byte and the version's own encoding; a format that was ever released is read for ever.
//! The types here are what the newest version writes; what older ones wrote is in a module of theirs that never changes.

mod v3;
mod v4;
mod wire;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::digest::Digest;
use crate::envelope::EffectiveBudget;
use crate::id::{CallNo, LaneId, MissionId, RunNo, SessionId};
use crate::money::Spend;
use crate::outcome::{Reason, Status, Verdict};
use crate::plugin::{LogLevel, PluginIdentity};
use crate::request::{ChildRequest, Decision, RequestKind, RequestNo};
use crate::tool::{CallError, Repeat, ToolAnswer, ToolName};

pub use wire::DecodeError;

/// A record with its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// Wall clock of the node.
    pub at: Timestamp,
    /// How long the mission had been running by then, in milliseconds, through all its runs; from a clock that never jumps.
    pub ran_ms: u64,
    /// What happened.
    pub record: Record,
}

/// Something that happened to a mission, or that the node decided about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// First of every journal.
    Accepted(Box<Accepted>),
    /// A run of the plugin begins.
    Started {
        /// 1, 2 …: the fencing token of everything that this run returns.
        run: RunNo,
        /// Whether no other plugin is in memory with it: runs before broke off with their nodes, and if this one does the same, nothing
        /// else can have been the cause. It holds until the mission has come forward, or [`Record::Accompanied`].
        alone: bool,
        /// Whether it has an event of its own: the first start of a mission. Before version 4 each start behind a crash had one, and
        /// what was told keeps its sequence.
        announced: bool,
    },
    /// The plugin asked for a tool call and it was granted: from here on its effects may exist.
    CallStarted {
        /// Its number.
        call: CallNo,
        /// The tool.
        tool: ToolName,
        /// The arguments: JSON text.
        arguments: String,
        /// Of the arguments, for replay.
        digest: Digest,
        /// What repeating it would do.
        repeat: Repeat,
        /// What was set aside for it: the most that it was quoted at.
        reserved: Spend,
    },
    /// The plugin asked for a tool call and it was refused.
    CallRefused {
        /// Its number.
        call: CallNo,
        /// The tool.
        tool: ToolName,
        /// Of the arguments, for replay.
        digest: Digest,
        /// What the plugin was told.
        error: CallError,
    },
    /// A tool call ended.
    CallFinished {
        /// Its number.
        call: CallNo,
        /// What it returned.
        outcome: Result<ToolAnswer, CallError>,
        /// What it did take, which may be more than was set aside.
        spent: Spend,
    },
    /// The node answered a host call that is no tool call; kept so that a replay gets the same answer.
    Answered {
        /// Its number.
        call: CallNo,
        /// What was asked.
        question: HostQuestion,
        /// What it was about, for replay: the name of an artifact, or what was to be stored as one. Empty where the question says
        /// all, and in records before version 4.
        about: String,
        /// What was answered: JSON text.
        answer: String,
    },
    /// The plugin reported a step worth a person's attention.
    Milestone {
        /// Its number among the host calls.
        call: CallNo,
        /// For people.
        text: String,
    },
    /// The plugin logged a line.
    Logged {
        /// Its number among the host calls.
        call: CallNo,
        /// How serious it is.
        level: LogLevel,
        /// The line.
        text: String,
    },
    /// The plugin judged a success criterion. The last judgement of each counts.
    Judged {
        /// Its number among the host calls.
        call: CallNo,
        /// Index into the envelope's `success_criteria`.
        criterion: u32,
        /// What it found.
        verdict: Verdict,
        /// Why.
        evidence: String,
    },
    /// An artifact is in the store.
    ArtifactStored {
        /// Its number among the host calls; `None` where the node collected it at the end.
        call: Option<CallNo>,
        /// Its index entry.
        artifact: Artifact,
        /// Where its bytes come from, for replay.
        source: ArtifactSource,
    },
    /// A heartbeat interval passed.
    Heartbeat,
    /// The node stopped while the mission was running, and it is to begin again: no call of its last run had effects. Only
    /// in journals of the first format; since then a mission goes on where its record ends.
    Interrupted,
    /// The end. Nothing follows it.
    Finished {
        /// A final status.
        status: Status,
        /// Why.
        reason: Reason,
        /// For people.
        summary: String,
        /// One recommendation.
        next_action: String,
    },
    /// The plugin asked for a tool call that somebody has to decide about first. Nothing of it has happened.
    CallHeld {
        /// Its number.
        call: CallNo,
        /// The tool.
        tool: ToolName,
        /// The arguments: JSON text.
        arguments: String,
        /// Of the arguments, for replay.
        digest: Digest,
        /// What repeating it would do.
        repeat: Repeat,
        /// What will be set aside for it: the most that it was quoted at.
        reserved: Spend,
    },
    /// The plugin asked people something.
    Asked {
        /// Its number among the host calls.
        call: CallNo,
        /// In its words.
        question: String,
    },
    /// Somebody is asked to decide; the call waits for it.
    Requested {
        /// Its number.
        request: RequestNo,
        /// The call that waits.
        call: CallNo,
        /// What is asked for.
        kind: RequestKind,
        /// For people.
        question: String,
        /// When the mission gives up.
        expires_at: Timestamp,
    },
    /// Half of the time to answer has passed without an answer.
    Reminded {
        /// Which request.
        request: RequestNo,
    },
    /// Somebody decided. What follows from it stands in the records behind.
    Decided {
        /// Which request.
        request: RequestNo,
        /// What.
        decision: Decision,
        /// Who.
        by: String,
        /// Why; may be empty.
        note: String,
    },
    /// A call that waited for a decision is made: from here on its effects may exist.
    CallResumed {
        /// Which.
        call: CallNo,
    },
    /// The plugin was dropped from memory: it waits for decisions, or for a time, and nothing else. The next run brings it
    /// back by replay.
    Suspended {
        /// When it wants to go on by itself.
        until: Option<Timestamp>,
    },
    /// What the plugin is handed by every run of the mission, its tools in their order: right behind the start of the first.
    Granted {
        /// Their names, as the node writes them.
        tools: Vec<ToolName>,
        /// The most memory that the plugin gets, in bytes, by every run the same: a replay that got less would end elsewhere.
        /// `None` in records before version 4: the node's own limit holds.
        memory_bytes_max: Option<u64>,
    },
    /// What stands here in the journal cannot be read any more, and is passed over. Never among what a mission records: it is read
    /// in the place of that, once the mission is in quarantine, and its end follows.
    Unreadable {
        /// The number of the record behind it: greater than that of any that was ever recorded.
        until: u32,
        /// The sequence of the latest event that may have been told.
        sequence: u64,
        /// How many outgoing items may have been made.
        items: u64,
    },
    /// A call that was being made when its run broke off is made again: what was set aside for it counts as spent, and as much is
    /// set aside once more. Only of a call that may cost something.
    CallAgain {
        /// Which.
        call: CallNo,
    },
    /// A call that has just finished did cost more than was set aside for it: the mission makes no further call that costs anything.
    Overbilled {
        /// Which.
        call: CallNo,
        /// Of this tool.
        tool: ToolName,
        /// What it was quoted at.
        quoted: Spend,
        /// What it did cost.
        spent: Spend,
    },
    /// Others run beside a run that was alone so far: if it breaks off from here on, they may be the cause.
    Accompanied,
    /// The node stops in good order: that the run breaks off is not the mission's doing.
    NodeStopped,
    /// Behind the start of a run: its lane or its node closes then, and the run meets that like the end of its window.
    OpenUntil {
        /// When.
        at: Timestamp,
    },
    /// A window is over and the mission is not done: it goes on in this one. A run that there is breaks off with its calls.
    CarriedOver {
        /// Not before this.
        start_at: Option<Timestamp>,
        /// Not at or after this.
        end_at: Option<Timestamp>,
    },
    /// One of its limits comes near, and its plugin had asked to be told of it: what is kept for landing begins here.
    Closing {
        /// Which limit.
        limit: Closing,
    },
    /// A provider refuses a call for now, and has done nothing for it: it is made again then, and takes nothing of the budget until then.
    Postponed {
        /// Which.
        call: CallNo,
        /// When it is made again.
        until: Timestamp,
        /// For people: who refuses, and what it said.
        why: String,
    },
    /// The plugin lands: from here on it may use what was kept for that.
    Landing {
        /// Its number among the host calls.
        call: CallNo,
    },
    /// A call is not paid for now, and people need not be asked: others have set aside what it may cost, or a budget that is wider than
    /// its mission is spent until it is renewed. What was set aside for it, where its run broke off, counts as spent.
    PaymentAwaited {
        /// Which.
        call: CallNo,
        /// When it is looked at again, if nothing is set free before.
        until: Timestamp,
        /// For people: which budget, and what of it is taken.
        why: String,
    },
    /// A call that waits was quoted anew, because somebody changed its arguments.
    Requoted {
        /// Which.
        call: CallNo,
        /// What will be set aside for it.
        reserved: Spend,
    },
    /// The tool of a call that is being made asks people something. The call is under way meanwhile, and what was set aside for it stays.
    Elicited {
        /// Its number among the requests.
        request: RequestNo,
        /// The call that is being made.
        call: CallNo,
        /// In the words of the tool.
        question: String,
        /// What an answer must be: a JSON Schema, as JSON text.
        schema: String,
        /// When the mission gives up.
        expires_at: Timestamp,
    },
    /// Nobody waits any more for the answer to what a tool asked: its call has ended or broken off, or the tool took the question back.
    Withdrawn {
        /// Which request.
        request: RequestNo,
        /// For people.
        why: String,
    },
    /// A child that it waits for, or one that came of that, asks people something: whoever hears of this mission alone hears of it here.
    ChildAsks {
        /// The call that dispatched the child.
        call: CallNo,
        /// What it asks.
        asks: ChildRequest,
    },
    /// Nobody need decide any more about what a child asked.
    ChildHeard {
        /// The call that dispatched the child.
        call: CallNo,
        /// The mission that asked.
        of: MissionId,
        /// Which of its requests.
        request: RequestNo,
    },
}

/// A limit that comes near.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Closing {
    /// The end of its window, or of the hours of where it runs.
    Window,
    /// Its run time.
    RunTime,
    /// Its calls of models.
    LlmCalls,
    /// Its money.
    Cost,
}

impl Closing {
    /// For programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::RunTime => "run_time",
            Self::LlmCalls => "llm_calls",
            Self::Cost => "cost",
        }
    }

    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Window => "the end of its window",
            Self::RunTime => "the end of its run time",
            Self::LlmCalls => "the last of its model calls",
            Self::Cost => "the end of its money",
        }
    }
}

/// What intake decided when it accepted an envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// The envelope: the JSON text as it was sent.
    pub envelope: String,
    /// The session that it was assigned to.
    pub session: SessionId,
    /// The lane that it was assigned to.
    pub lane: LaneId,
    /// The plugin that will run it.
    pub plugin: PluginIdentity,
    /// What holds of the budget on this node.
    pub budget: EffectiveBudget,
    /// Approval entries that neither name a known class nor match a tool of this node: from these on, every tool without a
    /// declared class needs approval.
    pub unknown_approvals: Vec<String>,
    /// What the dispatcher was warned of.
    pub warnings: Vec<String>,
}

/// Where the bytes of an artifact come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArtifactSource {
    /// Records before version 4 do not say.
    Unsaid,
    /// The plugin's own memory.
    Memory,
    /// A file of the workspace.
    File {
        /// As the plugin wrote it.
        path: String,
    },
}

/// A host call that is no tool call and whose answer a replay must repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostQuestion {
    /// The time.
    Now,
    /// Randomness.
    Random,
    /// Which of the pending calls is ready.
    WaitAny,
    /// A timer was set.
    After,
    /// An artifact was read back.
    ArtifactGet,
    /// An artifact could not be stored.
    ArtifactPut,
    /// What a tool is. The answer is its [`ToolInfo`](crate::tool::ToolInfo).
    Describe,
    /// Which models there are. The answer is a list of [`ModelInfo`](crate::plugin::ModelInfo).
    Models,
    /// Until when the mission has time.
    Deadline,
    /// What is left of its budget. The answer is a [`Left`](crate::plugin::Left).
    Left,
    /// To be told when one of its limits comes near. The answer is the share that is kept for landing, in thousandths.
    Closing,
}

impl Stamped {
    /// The number of the record behind this one, whose own is `no`.
    #[must_use]
    pub fn next_no(&self, no: u32) -> u32 {
        match self.record {
            Record::Unreadable { until, .. } => until.max(no + 1),
            _ => no + 1,
        }
    }

    /// The record as the journal keeps it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Reads a record of any released version.
    ///
    /// # Errors
    /// [`DecodeError`] for bytes of no known version, and for damaged ones.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        wire::decode(bytes)
    }
}
