//! Records of version 4, as they lie in journals. Nothing here changes any more.
//!
//! What a call wrote is a path here; the bytes that it left there are not told.

use jiff::Timestamp;
use serde::Deserialize;

use super::v3::ToolAnswer;
use super::{Accepted, ArtifactSource, HostQuestion};
use crate::artifact::Artifact;
use crate::digest::Digest;
use crate::id::{CallNo, RunNo};
use crate::money::Spend;
use crate::outcome::{Reason, Status, Verdict};
use crate::plugin::LogLevel;
use crate::request::{Decision, RequestKind, RequestNo};
use crate::tool::{CallError, Repeat, ToolName};

#[derive(Deserialize)]
pub(super) enum Record {
    Accepted(Box<Accepted>),
    Started { run: RunNo, alone: bool, announced: bool },
    CallStarted { call: CallNo, tool: ToolName, arguments: String, digest: Digest, repeat: Repeat, reserved: Spend },
    CallRefused { call: CallNo, tool: ToolName, digest: Digest, error: CallError },
    CallFinished { call: CallNo, outcome: Result<ToolAnswer, CallError>, spent: Spend },
    Answered { call: CallNo, question: HostQuestion, about: String, answer: String },
    Milestone { call: CallNo, text: String },
    Logged { call: CallNo, level: LogLevel, text: String },
    Judged { call: CallNo, criterion: u32, verdict: Verdict, evidence: String },
    ArtifactStored { call: Option<CallNo>, artifact: Artifact, source: ArtifactSource },
    Heartbeat,
    Interrupted,
    Finished { status: Status, reason: Reason, summary: String, next_action: String },
    CallHeld { call: CallNo, tool: ToolName, arguments: String, digest: Digest, repeat: Repeat, reserved: Spend },
    Asked { call: CallNo, question: String },
    Requested { request: RequestNo, call: CallNo, kind: RequestKind, question: String, expires_at: Timestamp },
    Reminded { request: RequestNo },
    Decided { request: RequestNo, decision: Decision, by: String, note: String },
    CallResumed { call: CallNo },
    Suspended { until: Option<Timestamp> },
    Granted { tools: Vec<ToolName>, memory_bytes_max: Option<u64> },
}

impl From<Record> for super::Record {
    fn from(record: Record) -> Self {
        match record {
            Record::Accepted(accepted) => Self::Accepted(accepted),
            Record::Started { run, alone, announced } => Self::Started { run, alone, announced },
            Record::CallStarted { call, tool, arguments, digest, repeat, reserved } => {
                Self::CallStarted { call, tool, arguments, digest, repeat, reserved }
            }
            Record::CallRefused { call, tool, digest, error } => Self::CallRefused { call, tool, digest, error },
            Record::CallFinished { call, outcome, spent } => {
                Self::CallFinished { call, outcome: outcome.map(Into::into), spent }
            }
            Record::Answered { call, question, about, answer } => Self::Answered { call, question, about, answer },
            Record::Milestone { call, text } => Self::Milestone { call, text },
            Record::Logged { call, level, text } => Self::Logged { call, level, text },
            Record::Judged { call, criterion, verdict, evidence } => {
                Self::Judged { call, criterion, verdict, evidence }
            }
            Record::ArtifactStored { call, artifact, source } => Self::ArtifactStored { call, artifact, source },
            Record::Heartbeat => Self::Heartbeat,
            Record::Interrupted => Self::Interrupted,
            Record::Finished { status, reason, summary, next_action } => {
                Self::Finished { status, reason, summary, next_action }
            }
            Record::CallHeld { call, tool, arguments, digest, repeat, reserved } => {
                Self::CallHeld { call, tool, arguments, digest, repeat, reserved }
            }
            Record::Asked { call, question } => Self::Asked { call, question },
            Record::Requested { request, call, kind, question, expires_at } => {
                Self::Requested { request, call, kind, question, expires_at }
            }
            Record::Reminded { request } => Self::Reminded { request },
            Record::Decided { request, decision, by, note } => Self::Decided { request, decision, by, note },
            Record::CallResumed { call } => Self::CallResumed { call },
            Record::Suspended { until } => Self::Suspended { until },
            Record::Granted { tools, memory_bytes_max } => Self::Granted { tools, memory_bytes_max },
        }
    }
}
