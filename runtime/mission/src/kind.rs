//! What a record is by its kind alone, whatever the state of its mission.
//!
//! One total match a question: a new kind of record does not compile until each has an answer.

use sortie_contract::id::CallNo;
use sortie_contract::record::Record;
use sortie_contract::tool::CallError;

/// Whether a record may change how its mission stands.
#[must_use]
pub fn changes_standing(record: &Record) -> bool {
    match record {
        Record::Accepted(_)
        | Record::Interrupted
        | Record::Started { .. }
        | Record::Finished { .. }
        | Record::Requested { .. }
        | Record::Elicited { .. }
        | Record::Withdrawn { .. }
        | Record::ChildAsks { .. }
        | Record::ChildHeard { .. }
        | Record::Reminded { .. }
        | Record::Decided { .. }
        | Record::Suspended { .. }
        | Record::Closing { .. }
        | Record::Postponed { .. }
        | Record::PaymentAwaited { .. }
        | Record::Requoted { .. }
        | Record::CallResumed { .. }
        | Record::CarriedOver { .. } => true,
        // Given up, or not to be paid for any more, it takes its request with it.
        Record::CallFinished { outcome, .. } => {
            matches!(outcome, Err(CallError::Cancelled | CallError::BudgetExhausted(_) | CallError::Uncertain(_)))
        }
        Record::CallStarted { .. }
        | Record::CallRefused { .. }
        | Record::CallHeld { .. }
        | Record::CallAgain { .. }
        | Record::Overbilled { .. }
        | Record::Asked { .. }
        | Record::Answered { .. }
        | Record::Milestone { .. }
        | Record::Logged { .. }
        | Record::Judged { .. }
        | Record::ArtifactStored { .. }
        | Record::Landing { .. }
        | Record::Granted { .. }
        | Record::Unreadable { .. }
        | Record::Accompanied
        | Record::NodeStopped
        | Record::OpenUntil { .. }
        | Record::Heartbeat => false,
    }
}

/// Whether a record may change what a mission asks people, or what it was told that those below it ask.
#[must_use]
pub fn changes_asks(record: &Record) -> bool {
    match record {
        Record::Requested { .. }
        | Record::Elicited { .. }
        | Record::Withdrawn { .. }
        | Record::Decided { .. }
        | Record::ChildAsks { .. }
        | Record::ChildHeard { .. }
        // What it ends with is asked no more.
        | Record::CallFinished { .. }
        | Record::Interrupted
        | Record::Finished { .. } => true,
        Record::Accepted(_)
        | Record::Started { .. }
        | Record::CallStarted { .. }
        | Record::CallRefused { .. }
        | Record::CallHeld { .. }
        | Record::CallResumed { .. }
        | Record::CallAgain { .. }
        | Record::Requoted { .. }
        | Record::Overbilled { .. }
        | Record::Asked { .. }
        | Record::Answered { .. }
        | Record::Milestone { .. }
        | Record::Logged { .. }
        | Record::Judged { .. }
        | Record::ArtifactStored { .. }
        | Record::Reminded { .. }
        | Record::Suspended { .. }
        | Record::CarriedOver { .. }
        | Record::OpenUntil { .. }
        | Record::Closing { .. }
        | Record::Postponed { .. }
        | Record::PaymentAwaited { .. }
        | Record::Landing { .. }
        | Record::Granted { .. }
        | Record::Unreadable { .. }
        | Record::Accompanied
        | Record::NodeStopped
        | Record::Heartbeat => false,
    }
}

/// What a record weighs whose size is the plugin's or a tool's choice.
pub(crate) fn bytes(record: &Record) -> usize {
    match record {
        Record::CallStarted { arguments, .. } | Record::CallHeld { arguments, .. } => arguments.len(),
        Record::CallFinished { outcome, .. } => outcome.as_ref().map_or(0, |answer| answer.result.len()),
        Record::Answered { answer, .. } => answer.len(),
        Record::Asked { question, .. } | Record::Requested { question, .. } => question.len(),
        Record::Elicited { question, schema, .. } => question.len() + schema.len(),
        // In the words of a mission below it.
        Record::ChildAsks { asks, .. } => asks.question.len(),
        Record::Judged { evidence, .. } => evidence.len(),
        // Of these, so many bytes at most, and so many of them.
        Record::Milestone { .. }
        | Record::Logged { .. }
        | Record::ArtifactStored { .. }
        | Record::CallRefused { .. } => 0,
        // These are the node's own, or people's.
        Record::Accepted(_)
        | Record::Started { .. }
        | Record::CallResumed { .. }
        | Record::Requoted { .. }
        | Record::CallAgain { .. }
        | Record::Overbilled { .. }
        | Record::Withdrawn { .. }
        | Record::ChildHeard { .. }
        | Record::Reminded { .. }
        | Record::Decided { .. }
        | Record::Suspended { .. }
        | Record::CarriedOver { .. }
        | Record::OpenUntil { .. }
        | Record::Closing { .. }
        | Record::Postponed { .. }
        | Record::PaymentAwaited { .. }
        | Record::Landing { .. }
        | Record::Granted { .. }
        | Record::Unreadable { .. }
        | Record::Accompanied
        | Record::NodeStopped
        | Record::Heartbeat
        | Record::Interrupted
        | Record::Finished { .. } => 0,
    }
}

/// Whether the mission has come forward with this record: its plugin, a tool or a person did what no run before had on record.
pub(crate) fn goes_on(record: &Record) -> bool {
    match record {
        Record::CallStarted { .. }
        | Record::CallHeld { .. }
        | Record::CallRefused { .. }
        | Record::Asked { .. }
        | Record::Answered { .. }
        | Record::Milestone { .. }
        | Record::Logged { .. }
        | Record::Judged { .. }
        | Record::CallFinished { .. }
        | Record::Decided { .. }
        | Record::Landing { .. }
        | Record::Suspended { .. } => true,
        // What the node collects comes with the end of a run, and that may break off as well.
        Record::ArtifactStored { call, .. } => call.is_some(),
        Record::Accepted(_)
        | Record::Started { .. }
        | Record::CallResumed { .. }
        | Record::Requoted { .. }
        | Record::CallAgain { .. }
        | Record::Overbilled { .. }
        | Record::Requested { .. }
        // A call that is made again asks again.
        | Record::Elicited { .. }
        | Record::Withdrawn { .. }
        | Record::ChildAsks { .. }
        | Record::ChildHeard { .. }
        | Record::Reminded { .. }
        // The node's doing: a run that stopped its node has not come forward by that.
        | Record::CarriedOver { .. }
        | Record::OpenUntil { .. }
        | Record::Closing { .. }
        | Record::Postponed { .. }
        | Record::PaymentAwaited { .. }
        | Record::Granted { .. }
        | Record::Unreadable { .. }
        | Record::Accompanied
        | Record::NodeStopped
        | Record::Heartbeat
        | Record::Interrupted
        | Record::Finished { .. } => false,
    }
}

/// The number that a record takes among the host calls, where it takes one.
#[must_use]
pub fn host_call(record: &Record) -> Option<CallNo> {
    match record {
        Record::CallStarted { call, .. }
        | Record::CallHeld { call, .. }
        | Record::CallRefused { call, .. }
        | Record::Asked { call, .. }
        | Record::Answered { call, .. }
        | Record::Milestone { call, .. }
        | Record::Logged { call, .. }
        | Record::Judged { call, .. }
        | Record::Landing { call } => Some(*call),
        Record::ArtifactStored { call, .. } => *call,
        Record::Accepted(_)
        | Record::Started { .. }
        | Record::CallFinished { .. }
        | Record::CallResumed { .. }
        | Record::Requoted { .. }
        | Record::CallAgain { .. }
        | Record::Overbilled { .. }
        | Record::Requested { .. }
        | Record::Elicited { .. }
        | Record::Withdrawn { .. }
        | Record::ChildAsks { .. }
        | Record::ChildHeard { .. }
        | Record::Reminded { .. }
        | Record::Decided { .. }
        | Record::Suspended { .. }
        | Record::CarriedOver { .. }
        | Record::OpenUntil { .. }
        | Record::Closing { .. }
        | Record::Postponed { .. }
        | Record::PaymentAwaited { .. }
        | Record::Granted { .. }
        | Record::Unreadable { .. }
        | Record::Accompanied
        | Record::NodeStopped
        | Record::Heartbeat
        | Record::Interrupted
        | Record::Finished { .. } => None,
    }
}

/// What it is called in errors.
pub(crate) fn name(record: &Record) -> &'static str {
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
        Record::Unreadable { .. } => "unreadable",
        Record::CallAgain { .. } => "call_again",
        Record::Overbilled { .. } => "overbilled",
        Record::Accompanied => "accompanied",
        Record::NodeStopped => "node_stopped",
        Record::OpenUntil { .. } => "open_until",
        Record::CarriedOver { .. } => "carried_over",
        Record::Closing { .. } => "closing",
        Record::Postponed { .. } => "postponed",
        Record::Landing { .. } => "landing",
        Record::PaymentAwaited { .. } => "payment_awaited",
        Record::Requoted { .. } => "requoted",
        Record::Elicited { .. } => "elicited",
        Record::Withdrawn { .. } => "withdrawn",
        Record::ChildAsks { .. } => "child_asks",
        Record::ChildHeard { .. } => "child_heard",
    }
}
