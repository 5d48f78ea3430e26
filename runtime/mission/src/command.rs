//! What can be asked of a mission: commands, and why one is refused.
//!
//! Owned here: the words of the question and of the refusal. Never here: the answer, which is [`crate::decide`]'s, and the time,
//! which whoever asks has read.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use jiff::Timestamp;
use sortie_contract::artifact::{Artifact, ArtifactName};
use sortie_contract::digest::Digest;
use sortie_contract::envelope::{OnExpiry, Window};
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::money::Spend;
use sortie_contract::outcome::{Status, Verdict};
use sortie_contract::plugin::{self, Crash, LogLevel};
use sortie_contract::record::{ArtifactSource, HostQuestion};
use sortie_contract::request::{ChildRequest, Decision, RequestKind, RequestNo};
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo, ToolName};

use crate::wider::Wider;

/// The time of a command, as the shell read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall clock: what windows are compared with.
    pub wall: Timestamp,
    /// How long the mission has been running, in milliseconds, through all its runs; from a clock that never jumps.
    pub ran_ms: u64,
    /// How long its plugin has been out of memory, in milliseconds, by a clock that never jumps; `None` where it is in memory, and
    /// where the node has started since.
    pub out_ms: Option<u64>,
    /// When a request that is made now expires, unless the window closes before.
    pub expires_at: Timestamp,
    /// What becomes of one that nobody answers, where its envelope does not say.
    pub on_expiry: OnExpiry,
    /// The window that follows, where the mission asks for one ([`Mission::wants_window`](crate::Mission::wants_window)) and there
    /// is one.
    pub next_window: Option<Window>,
    /// The budgets wider than the mission that it is under, where the command may take something of them.
    pub wider: Wider,
}

/// A tool that a plugin was handed, as its node knows it at the moment.
#[derive(Debug, Clone, Copy)]
pub enum Handle<'a> {
    /// The node has it.
    Tool(&'a ToolInfo),
    /// A model: no allowance is needed for it, but it may be forbidden, or held.
    Model,
    /// A child: no allowance is needed to dispatch one, for it is allowed nothing that its parent is not; but it may be forbidden, or held.
    Mission {
        /// Why it cannot be dispatched, where that is known.
        refused: Option<&'a CallError>,
    },
    /// It was taken away since.
    Gone(&'a ToolName),
    /// Whoever has it is out, and has not said since the node started whether it still does.
    Away {
        /// The tool.
        tool: &'a ToolName,
        /// Who is out, and since when.
        why: &'a str,
    },
}

impl<'a> From<&'a ToolInfo> for Handle<'a> {
    fn from(tool: &'a ToolInfo) -> Self {
        Self::Tool(tool)
    }
}

/// A call with other arguments than its plugin wanted, as its node knows it at the moment.
#[derive(Debug, Clone, Copy)]
pub struct Changed<'a> {
    /// Its tool. The arguments fit the schema that the mission was told.
    pub tool: Handle<'a>,
    /// The most that it can take of the budget.
    pub quote: Spend,
}

/// Under which conditions a run begins.
#[derive(Debug, Clone, Copy)]
pub struct Conditions<'a> {
    /// The node's tools. Which of them its plugin is handed is decided at the first start, for good.
    pub tools: &'a [ToolInfo],
    /// The most memory that the node gives a plugin, in bytes. The first start decides, for all of them.
    pub memory_bytes_max: u64,
    /// Whether no other plugin is in memory, and none will be until this run has come forward, or [`Command::Accompany`] was taken.
    pub alone: bool,
    /// So many runs in a row that ended with their node while nothing else ran are the last.
    pub crashes_alone_max: u32,
    /// When the mission's lane or the node closes, which are open now; `None` where they do not.
    pub open_until: Option<Timestamp>,
}

/// Something that somebody wants of a mission.
///
/// Those with a `run` come from a run of its plugin and are taken only while that very run is the current one.
#[derive(Debug)]
pub enum Command<'a> {
    /// It is the mission's turn: begin a run, or the next one. Whatever run there was before is over.
    Start(Conditions<'a>),
    /// A run broke off because the mission was carried over: people are asked about those of its calls that may have happened. The
    /// node has these tools.
    Doubt(&'a [ToolInfo]),
    /// Others are about to run beside it.
    Accompany,
    /// The node stops in good order, and its run with it.
    StopNode,
    /// The plugin wants to call a tool: answered with [`CallStarted`], [`CallRefused`], or [`CallHeld`] and what it waits for.
    ///
    /// [`CallStarted`]: sortie_contract::Record::CallStarted
    /// [`CallRefused`]: sortie_contract::Record::CallRefused
    /// [`CallHeld`]: sortie_contract::Record::CallHeld
    Call {
        /// The run that asks.
        run: RunNo,
        /// The tool.
        tool: Handle<'a>,
        /// The arguments: JSON text.
        arguments: String,
        /// Of the arguments.
        digest: Digest,
        /// The most that the call can take of the budget.
        quote: Spend,
    },
    /// The plugin asks people something.
    Ask {
        /// The run that asks.
        run: RunNo,
        /// In its words.
        question: String,
    },
    /// The tool of a call that is being made asks people something: answered with [`Elicited`].
    ///
    /// [`Elicited`]: sortie_contract::Record::Elicited
    AskFor {
        /// The run that makes the call.
        run: RunNo,
        /// Which.
        call: CallNo,
        /// In the words of the tool.
        question: String,
        /// What an answer must be: a JSON Schema, as JSON text.
        schema: String,
    },
    /// Nobody waits any more for the answer to what a tool asked; nothing, where it is open no more.
    Withdraw {
        /// Which request.
        request: RequestNo,
        /// For people.
        why: String,
    },
    /// Somebody decides about a request.
    Decide {
        /// Which.
        request: RequestNo,
        /// What.
        decision: Decision,
        /// Who.
        by: String,
        /// Why; may be empty.
        note: String,
        /// Of an approval that changes the arguments of a call: what the node knows of the changed one.
        changed: Option<Changed<'a>>,
    },
    /// The plugin waits for decisions, or for a time, and nothing else: it is to be dropped from memory.
    Suspend {
        /// The run that waits.
        run: RunNo,
        /// The records that there were when it began to wait: whatever came since may be what it waits for.
        records: u32,
        /// When it wants to go on by itself.
        until: Option<Timestamp>,
    },
    /// A call ended.
    CallDone {
        /// The run that made it.
        run: RunNo,
        /// Which.
        call: CallNo,
        /// What it returned.
        outcome: Result<ToolAnswer, CallError>,
        /// What it did take, as its tool says; `None`: what was set aside for it, or nothing, where its arguments did not fit.
        spent: Option<Spend>,
    },
    /// A child has ended, or came to nothing: whatever run there is by now, the call that dispatched it has its result.
    ChildDone {
        /// The call.
        call: CallNo,
        /// What came of it.
        outcome: Result<ToolAnswer, CallError>,
        /// What it did spend; `None`, where nobody knows.
        spent: Option<Spend>,
    },
    /// What a child, and those below it, ask people: all of it, as it is now. Nothing, where that is known.
    ChildAsks {
        /// The call.
        call: CallNo,
        /// Each.
        open: Vec<ChildRequest>,
    },
    /// The node answered a host call that is no tool call.
    Answer {
        /// The run that asked.
        run: RunNo,
        /// What was asked.
        question: HostQuestion,
        /// What it was about: see [`Asked::about`](crate::replay::Asked::about).
        about: String,
        /// The answer: JSON text.
        answer: String,
    },
    /// Whoever makes a call says that its provider refuses it for now and has done nothing for it: answered with [`Postponed`], or with
    /// [`CallFinished`], where that has lasted long enough.
    ///
    /// [`Postponed`]: sortie_contract::Record::Postponed
    /// [`CallFinished`]: sortie_contract::Record::CallFinished
    Postpone {
        /// The run that made it.
        run: RunNo,
        /// Which.
        call: CallNo,
        /// When it says that it is worth another try.
        hinted: Option<Timestamp>,
        /// For so long in all a call is put off; then it has failed.
        hold_max: Duration,
        /// For people.
        why: String,
    },
    /// The plugin lands: it may use what was kept for that.
    Land {
        /// The run that lands.
        run: RunNo,
    },
    /// The plugin reports a step worth a person's attention.
    Milestone {
        /// The run that reports.
        run: RunNo,
        /// For people.
        text: String,
    },
    /// The plugin logs a line.
    Log {
        /// The run that logs.
        run: RunNo,
        /// How serious it is.
        level: LogLevel,
        /// The line.
        text: String,
    },
    /// The plugin judges a success criterion.
    Judge {
        /// The run that judges.
        run: RunNo,
        /// Index into the envelope's `success_criteria`.
        criterion: u32,
        /// What it found.
        verdict: Verdict,
        /// Why.
        evidence: String,
    },
    /// The plugin's artifact is in the store.
    StoreArtifact {
        /// The run that stored it.
        run: RunNo,
        /// Its index entry.
        artifact: Artifact,
        /// Where its bytes come from.
        source: ArtifactSource,
    },
    /// A file of the workspace that is a required output is in the store: see [`Mission::collectable`].
    ///
    /// [`Mission::collectable`]: crate::Mission::collectable
    CollectArtifact {
        /// Its index entry.
        artifact: Artifact,
    },
    /// Time passed: see [`Mission::next_due`].
    ///
    /// [`Mission::next_due`]: crate::Mission::next_due
    Tick,
    /// Somebody wants it to stop.
    Cancel {
        /// Why; may be empty.
        reason: String,
        /// Who.
        by: String,
    },
    /// The whole node is halted.
    Halt,
    /// The plugin's run is over.
    PluginEnded {
        /// Which run.
        run: RunNo,
        /// How.
        ending: Ending,
        /// Required outputs that it wrote and that could not be collected, with why: in words for people.
        uncollected: Vec<String>,
    },
}

/// How a run of a plugin ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It said so itself.
    Returned(plugin::Verdict),
    /// The sandbox ended it.
    Crashed(Crash),
    /// It could not begin, through no fault of its own: the node has no workspace to give it.
    NoWorkspace {
        /// Where its workspace would be.
        place: String,
        /// What keeps the node from opening it.
        why: String,
    },
}

impl Command<'_> {
    /// The run that the command comes from, if it comes from one.
    #[must_use]
    pub fn run(&self) -> Option<RunNo> {
        match self {
            Self::Call { run, .. }
            | Self::Ask { run, .. }
            | Self::AskFor { run, .. }
            | Self::Suspend { run, .. }
            | Self::CallDone { run, .. }
            | Self::Answer { run, .. }
            | Self::Postpone { run, .. }
            | Self::Land { run }
            | Self::Milestone { run, .. }
            | Self::Log { run, .. }
            | Self::Judge { run, .. }
            | Self::StoreArtifact { run, .. }
            | Self::PluginEnded { run, .. } => Some(*run),
            Self::Start { .. }
            | Self::CollectArtifact { .. }
            | Self::Tick
            | Self::Cancel { .. }
            | Self::Withdraw { .. }
            | Self::Decide { .. }
            | Self::Halt
            | Self::Doubt(_)
            | Self::Accompany
            | Self::ChildDone { .. }
            | Self::ChildAsks { .. }
            | Self::StopNode => None,
        }
    }
}

/// Why a command changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The mission has ended; a final status never changes.
    #[error("the mission has ended: {status}")]
    AlreadyFinal {
        /// How.
        status: Status,
    },
    /// The command comes from a run that is no longer the current one.
    #[error("run {asked} is over; the current one is {current}")]
    Fenced {
        /// The run that it comes from.
        asked: RunNo,
        /// The current one.
        current: RunNo,
    },
    /// It takes a running mission.
    #[error("the mission is {status}, not running")]
    NotRunning {
        /// What it is.
        status: Status,
    },
    /// A run is not suspended while it may have something to do.
    #[error("the run has something to do")]
    Busy,
    /// There is no request of that number.
    #[error("the mission has no request {request}")]
    UnknownRequest {
        /// The number.
        request: RequestNo,
    },
    /// Nobody waits for the answer any more.
    #[error("{request} was taken back: {why}")]
    Withdrawn {
        /// Which.
        request: RequestNo,
        /// Why.
        why: String,
    },
    /// The tool of a call asks again and again.
    #[error("the tool of a call asks at most {max} questions")]
    TooManyQuestions {
        /// How many.
        max: u32,
    },
    /// Nobody has said anything to what the tool of a call asks, for as long as people have for it.
    #[error("nobody answered what the tool of this call asks until {until}, and it asks no more")]
    NobodyAnswers {
        /// When that time was over.
        until: Timestamp,
    },
    /// Somebody decided otherwise before.
    #[error("{request} was decided already: {decision}{}", if *changed { ", with other arguments than the plugin wanted" } else { "" })]
    AlreadyDecided {
        /// Which.
        request: RequestNo,
        /// How.
        decision: &'static str,
        /// Whether the call was approved with other arguments than its plugin wanted.
        changed: bool,
    },
    /// That is no decision about such a request.
    #[error("a request of kind `{kind}` is decided with: {}", kind.decisions().join(", "))]
    WrongDecision {
        /// What it asks for.
        kind: RequestKind,
    },
    /// The grant does not cover the call that waits for it.
    #[error("that is not enough: {why}")]
    NotEnough {
        /// What is missing.
        why: String,
    },
    /// The changed arguments make a call that the mission may not make, or that cannot be made.
    #[error("with the changed arguments the call is not made: {why}")]
    NotAllowed {
        /// The rule.
        why: String,
    },
    /// A call that is made as its plugin wants it, or not at all.
    #[error("{why}")]
    NotAmendable {
        /// Which.
        why: &'static str,
    },
    /// A call was dearer than it was quoted: none is made any more that costs something.
    #[error("{why}")]
    Barred {
        /// Which, and by how much.
        why: String,
    },
    /// The autonomy window is not open yet.
    #[error("the autonomy window opens at {start_at}")]
    NotYet {
        /// When it opens.
        start_at: Timestamp,
    },
    /// No call of that number is in flight.
    #[error("call {call} is not in flight")]
    UnknownCall {
        /// The number.
        call: CallNo,
    },
    /// The mission has as many artifacts as it may have.
    #[error("a mission has at most {max} artifacts")]
    TooManyArtifacts {
        /// How many that is.
        max: usize,
    },
    /// An artifact is larger than one may be.
    #[error("an artifact has at most {max} bytes, this one has {bytes}")]
    ArtifactTooLarge {
        /// Its size.
        bytes: u64,
        /// The largest.
        max: usize,
    },
    /// This file is no required output that a call of this mission wrote.
    #[error("`{name}` is no required output that this mission wrote")]
    NotCollectable {
        /// Its name.
        name: ArtifactName,
    },
}
