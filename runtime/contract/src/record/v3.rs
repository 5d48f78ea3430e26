//! Records of the versions 1 to 3, as they lie in journals. Nothing here changes any more.
//!
//! Version 1 has the variants up to `Finished`, version 2 those up to `Suspended`, version 3 those up to `Granted`, and
//! `HostQuestion::Describe`: each only added variants at the end, so that one type reads them all.

use jiff::Timestamp;
use serde::Deserialize;

use super::{Accepted, ArtifactSource, HostQuestion};
use crate::artifact::Artifact;
use crate::digest::Digest;
use crate::id::{CallNo, RunNo};
use crate::money::{MicroUsd, Spend};
use crate::outcome::{Reason, Status, Verdict};
use crate::plugin::LogLevel;
use crate::request::{Decision, RequestKind, RequestNo};
use crate::tool::{CallError, Repeat, ToolName, Written};

/// What a tool returned, until version 4.
#[derive(Deserialize)]
pub(super) struct ToolAnswer {
    result: String,
    wrote: Vec<String>,
}

impl From<ToolAnswer> for crate::tool::ToolAnswer {
    fn from(ToolAnswer { result, wrote }: ToolAnswer) -> Self {
        let unsaid = |path| Written { path, sha256: None, changed: None };
        Self { result, wrote: wrote.into_iter().map(unsaid).collect() }
    }
}

#[derive(Deserialize)]
pub(super) enum Record {
    Accepted(Box<Accepted>),
    Started { run: RunNo },
    CallStarted { call: CallNo, tool: ToolName, arguments: String, digest: Digest, repeat: Repeat, reserved: MicroUsd },
    CallRefused { call: CallNo, tool: ToolName, digest: Digest, error: CallError },
    CallFinished { call: CallNo, outcome: Result<ToolAnswer, CallError>, cost: MicroUsd },
    Answered { call: CallNo, question: HostQuestion, answer: String },
    Milestone { call: CallNo, text: String },
    Logged { call: CallNo, level: LogLevel, text: String },
    Judged { call: CallNo, criterion: u32, verdict: Verdict, evidence: String },
    ArtifactStored { call: Option<CallNo>, artifact: Artifact },
    Heartbeat,
    Interrupted,
    Finished { status: Status, reason: Reason, summary: String, next_action: String },
    CallHeld { call: CallNo, tool: ToolName, arguments: String, digest: Digest, repeat: Repeat, reserved: MicroUsd },
    Asked { call: CallNo, question: String },
    Requested { request: RequestNo, call: CallNo, kind: RequestKind, question: String, expires_at: Timestamp },
    Reminded { request: RequestNo },
    Decided { request: RequestNo, decision: Decision, by: String, note: String },
    CallResumed { call: CallNo },
    Suspended { until: Option<Timestamp> },
    Granted { tools: Vec<ToolName> },
}

impl From<Record> for super::Record {
    fn from(record: Record) -> Self {
        match record {
            Record::Accepted(accepted) => Self::Accepted(accepted),
            Record::Started { run } => Self::Started { run, alone: false, announced: true },
            Record::CallStarted { call, tool, arguments, digest, repeat, reserved } => {
                Self::CallStarted { call, tool, arguments, digest, repeat, reserved: Spend::money(reserved) }
            }
            Record::CallRefused { call, tool, digest, error } => Self::CallRefused { call, tool, digest, error },
            Record::CallFinished { call, outcome, cost } => {
                Self::CallFinished { call, outcome: outcome.map(Into::into), spent: Spend::money(cost) }
            }
            Record::Answered { call, question, answer } => {
                Self::Answered { call, question, about: String::new(), answer }
            }
            Record::Milestone { call, text } => Self::Milestone { call, text },
            Record::Logged { call, level, text } => Self::Logged { call, level, text },
            Record::Judged { call, criterion, verdict, evidence } => {
                Self::Judged { call, criterion, verdict, evidence }
            }
            Record::ArtifactStored { call, artifact } => {
                Self::ArtifactStored { call, artifact, source: ArtifactSource::Unsaid }
            }
            Record::Heartbeat => Self::Heartbeat,
            Record::Interrupted => Self::Interrupted,
            Record::Finished { status, reason, summary, next_action } => {
                Self::Finished { status, reason, summary, next_action }
            }
            Record::CallHeld { call, tool, arguments, digest, repeat, reserved } => {
                Self::CallHeld { call, tool, arguments, digest, repeat, reserved: Spend::money(reserved) }
            }
            Record::Asked { call, question } => Self::Asked { call, question },
            Record::Requested { request, call, kind, question, expires_at } => {
                Self::Requested { request, call, kind, question, expires_at }
            }
            Record::Reminded { request } => Self::Reminded { request },
            Record::Decided { request, decision, by, note } => Self::Decided { request, decision, by, note },
            Record::CallResumed { call } => Self::CallResumed { call },
            Record::Suspended { until } => Self::Suspended { until },
            Record::Granted { tools } => Self::Granted { tools, memory_bytes_max: None },
        }
    }
}
