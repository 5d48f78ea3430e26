//! What a run asks of the node: the other side of every function that a guest imports.

use std::time::Duration;

use sortie_contract::Timestamp;
use sortie_contract::artifact::Artifact;
use sortie_contract::id::CallNo;
use sortie_contract::outcome::Verdict;
use sortie_contract::plugin::{Crash, Left, LogLevel, ModelInfo};
use sortie_contract::tool::{CallError, ToolInfo, ToolName};

pub use futures_util::future::BoxFuture;

/// The run ends where it stands; the guest gets no answer and executes no further instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The mission is over: the run ends as [`crate::Ending::Killed`].
    Over,
    /// A limit was reached, or a replay diverged: the run ends as [`crate::Ending::Crashed`].
    Crash(Crash),
}

/// A call on its way.
pub struct Call {
    /// Its number, by which [`Host::gave_up`] names it; none where it has its answer already.
    pub number: Option<CallNo>,
    /// Brings its result.
    pub answer: BoxFuture<'static, Answer>,
}

/// What becomes of a tool call: what it came to, or the end of the run.
pub type Answer = Result<Reply, Stop>;

/// What a tool call came to.
pub enum Reply {
    /// Its result, or the error that the guest gets as a value. The guest's handle keeps it.
    Only(Result<String, CallError>),
    /// A result that the node has on record: held for the guest where there is room for that, and brought by [`Host::again`]
    /// where there is none. The guest's handle does not keep it.
    Recorded(Option<Held>),
}

/// A result that waits for its guest, and the room that it takes until it is dropped.
pub struct Held {
    /// JSON text.
    pub result: String,
    /// What counts it.
    pub room: Box<dyn Send + Sync>,
}

impl From<Result<String, CallError>> for Reply {
    fn from(result: Result<String, CallError>) -> Self {
        Self::Only(result)
    }
}

/// The node, as one run sees it. Methods are called one after another, in the order in which the guest calls.
///
/// None of them may block: the guest's thread waits. Futures are polled on the runtime from which the run was started (or
/// within its context), and dropping one cancels what it does. A future may be ready the first time it is polled; then it
/// costs the guest no switch of threads.
pub trait Host: Send + Sync + 'static {
    /// What a tool is that the guest holds a handle of.
    ///
    /// # Errors
    /// [`Stop`] ends the run.
    fn describe(&self, tool: &ToolName) -> Result<ToolInfo, Stop>;

    /// Begins a call. Everything that depends on the order of calls (its number, the budget, the journal's record) happens
    /// before this returns; the future only brings the result.
    fn start(&self, tool: &ToolName, arguments: String) -> Call;

    /// The arguments that a call was made with, where whoever approved it changed what the guest wanted: JSON text. The call has its result.
    fn amended(&self, call: CallNo) -> Option<String>;

    /// Asks people something, as a call whose result is the answer. The question is at most
    /// [`sortie_contract::limit::NOTE_BYTES_MAX`] bytes.
    fn ask(&self, question: String) -> Call;

    /// Asks a model, as a call whose result is its answer. The request is JSON text, not looked at yet; the model may ask for these
    /// tools, of which the guest holds handles.
    fn complete(&self, request: String, tools: Vec<ToolName>) -> Call;

    /// Dispatches a mission, as a call whose result is that mission's end. The order is JSON text, not looked at yet. Where it is not dispatched,
    /// the guest gets the error at once. Like [`Host::start`], all that depends on the order of calls has happened when this resolves.
    fn dispatch(&self, order: String) -> BoxFuture<'static, Result<Result<Call, CallError>, Stop>>;

    /// Which models there are.
    ///
    /// # Errors
    /// [`Stop`] ends the run.
    fn models(&self) -> Result<Vec<ModelInfo>, Stop>;

    /// Until when the mission has time.
    ///
    /// # Errors
    /// [`Stop`] ends the run.
    fn deadline(&self) -> Result<Option<Timestamp>, Stop>;

    /// What is left of its budget.
    ///
    /// # Errors
    /// [`Stop`] ends the run.
    fn left(&self) -> Result<Left, Stop>;

    /// Resolves when one of its limits comes near: at once, for whoever polls it behind that. It needs no runtime.
    fn closing(&self) -> BoxFuture<'static, Result<(), Stop>>;

    /// It lands.
    ///
    /// # Errors
    /// [`Stop`] ends the run.
    fn land(&self) -> Result<(), Stop>;

    /// Brings the result of a call that was [`Reply::Recorded`], as often as it is asked for. One that never says so need not.
    fn again(&self, _call: CallNo) -> BoxFuture<'static, Answer> {
        Box::pin(std::future::ready(Err(Stop::Over)))
    }

    /// The guest dropped the handle of a call that had no result yet; what it does is cancelled.
    fn gave_up(&self, call: CallNo);

    /// The guest has nothing to do until one of its calls has a result (`true`), or goes on (`false`).
    fn waits(&self, waits: bool);

    /// The guest is about to wait for several, each with its number if it is a call: which of them (an index into its list) a recorded run
    /// was told; none, where the first to be ready is to be taken.
    ///
    /// # Errors
    /// [`Stop`] ends the run.
    fn choice(&self, among: &[Option<CallNo>]) -> Result<Option<u32>, Stop>;

    /// The guest waited for several and was told that `ready` (an index into its list) is the one.
    ///
    /// # Errors
    /// [`Stop`] ends the run.
    fn waited(&self, among: &[Option<CallNo>], ready: u32) -> Result<(), Stop>;

    /// The time.
    ///
    /// # Errors
    /// [`Stop`] ends the run.
    fn now(&self) -> Result<Timestamp, Stop>;

    /// Begins a timer.
    fn after(&self, duration: Duration) -> BoxFuture<'static, Result<(), Stop>>;

    /// A step worth a person's attention. The text is at most [`sortie_contract::limit::NOTE_BYTES_MAX`] bytes; so below.
    ///
    /// # Errors
    /// [`Stop`] ends the run.
    fn milestone(&self, text: String) -> Result<(), Stop>;

    /// A line for the mission's log.
    ///
    /// # Errors
    /// [`Stop`] ends the run.
    fn log(&self, level: LogLevel, text: String) -> Result<(), Stop>;

    /// A success criterion (by its index, which may be none of the brief's) was judged.
    ///
    /// # Errors
    /// [`Stop`] ends the run.
    fn judge(&self, criterion: u32, verdict: Verdict, evidence: String) -> Result<(), Stop>;

    /// Stores an artifact of at most [`sortie_contract::limit::ARTIFACT_BYTES_MAX`] bytes. The name is not checked yet.
    fn put(
        &self,
        name: String,
        media_type: String,
        bytes: Vec<u8>,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>>;

    /// Stores a file of the workspace as an artifact. Neither name nor path is checked yet.
    fn put_file(
        &self,
        name: String,
        media_type: String,
        path: String,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>>;

    /// Reads an artifact of this mission.
    fn get(&self, name: String) -> BoxFuture<'static, Result<Result<Vec<u8>, String>, Stop>>;

    /// Reads an artifact of a mission that this one has dispatched, and that has ended.
    fn get_of(&self, mission: String, name: String) -> BoxFuture<'static, Result<Result<Vec<u8>, String>, Stop>>;
}
