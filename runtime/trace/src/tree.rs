//! The fold of a mission's records into spans. Pure: no clock, no chance; the same records give the same spans, whoever folds them.
//!
//! | span | from | to | below |
//! | --- | --- | --- | --- |
//! | `mission TYPE` | its acceptance | its end | the span of whoever dispatched it |
//! | `run` | its start | its end, its going out of memory, or the last that is recorded of it | the mission |
//! | `execute_tool NAME`, `chat MODEL`, `ask` | when the plugin asked for it | its result | the run that asked for it |
//! | `request KIND` | when people were asked | when that was settled | the call that waits |
//!
//! A fork's records of the mission that it comes from are no spans of it: the other tells them. A call that was still being made then, and is
//! made by the fork, begins with the fork.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::Envelope;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::record::{Accepted, Record, Stamped};
use sortie_contract::request::{NOBODY, RequestKind, RequestNo};
use sortie_contract::tool::{CallError, MODEL, ToolAnswer, ToolName};
use sortie_contract::trace::{call_span, is_sampled, mission_span, parent_of, request_span, run_span, trace_of};
use sortie_contract::{Spend, Status, limit};

use crate::span::{Kind, Span, Value};

/// Most events that are told of one call: a provider may refuse for a night.
const EVENTS_MAX: usize = 32;

/// What stands for a name that a plugin made up: its words may be anything.
const OTHER: &str = "other";

/// What of missions is told.
#[derive(Debug, Clone)]
pub struct Told {
    /// Which traces are kept.
    pub sampling: Sampling,
    /// The names that models have: a plugin may ask for whatever it likes.
    pub models: Arc<BTreeSet<String>>,
}

/// Which traces are kept: a share of them, and always the same ones, whichever node asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling(f64);

impl Sampling {
    /// That share, of `0.0` to `1.0`.
    #[must_use]
    pub fn of(share: f64) -> Self {
        Self(share)
    }

    /// As OpenTelemetry's `TraceIdRatioBased` decides: by the lower half of the trace's id.
    fn keeps(self, trace_id: &str) -> bool {
        let lower = trace_id.get(16..).and_then(|half| u64::from_str_radix(half, 16).ok()).unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "which of two neighbours is kept does not matter")]
        let place = (lower >> 1) as f64 / (u64::MAX >> 1) as f64;
        place < self.0 || self.0 >= 1.0
    }
}

/// What is known of a mission so far, and is no span yet.
#[derive(Debug)]
pub struct Tree {
    told: Told,
    /// Nothing before its acceptance, and where its trace is not kept.
    mission: Option<Mission>,
    next: u32,
    last_at: Timestamp,
    run: Option<Run>,
    calls: BTreeMap<CallNo, Call>,
    requests: BTreeMap<RequestNo, Request>,
    is_over: bool,
}

#[derive(Debug)]
struct Mission {
    id: String,
    /// How many records behind its acceptance are another mission's.
    inherits: u32,
    trace_id: String,
    parent: Option<u64>,
    name: String,
    begun_at: Timestamp,
    attributes: Vec<(&'static str, Value)>,
    spent: Spend,
}

#[derive(Debug)]
struct Run {
    no: RunNo,
    begun_at: Timestamp,
}

#[derive(Debug)]
struct Call {
    run: Option<RunNo>,
    begun_at: Timestamp,
    name: String,
    kind: Kind,
    attributes: Vec<(&'static str, Value)>,
    events: Vec<(Timestamp, &'static str)>,
}

#[derive(Debug)]
struct Request {
    call: CallNo,
    kind: RequestKind,
    begun_at: Timestamp,
}

impl Tree {
    /// Of a mission of which nothing has been read.
    #[must_use]
    pub fn new(told: Told) -> Self {
        Self {
            told,
            mission: None,
            next: 0,
            last_at: Timestamp::UNIX_EPOCH,
            run: None,
            calls: BTreeMap::new(),
            requests: BTreeMap::new(),
            is_over: false,
        }
    }

    /// The number of the record that it is to be given next.
    #[must_use]
    pub fn next(&self) -> u32 {
        self.next
    }

    /// Whether nothing will ever come of it: the mission has ended, or its trace is not kept.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over || (self.next > 0 && self.mission.is_none())
    }

    /// Whether it waits: no run is in memory. To make it anew costs one reading of what is recorded so far, and none while it goes on to wait.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.run.is_none()
    }

    /// Takes up the next record, and gives out what has ended with it.
    pub fn take(&mut self, stamped: &Stamped, ended: &mut Vec<Span>) {
        let no = self.next;
        self.next = stamped.next_no(no);
        if let Record::Accepted(accepted) = &stamped.record {
            self.mission = Mission::of(accepted, stamped.at, self.told.sampling);
        }
        let Some(mission) = &self.mission else { return };
        if self.is_over {
            return;
        }
        if no > 0 && no <= mission.inherits {
            let begun_at = mission.begun_at;
            return self.inherit(&stamped.record, begun_at);
        }
        self.fold(stamped.at, &stamped.record, ended);
        self.last_at = self.last_at.max(stamped.at);
    }

    /// Notes what another mission left open, as of this one's acceptance.
    fn inherit(&mut self, record: &Record, at: Timestamp) {
        match record {
            Record::CallStarted { .. }
            | Record::CallHeld { .. }
            | Record::Asked { .. }
            | Record::Requested { .. }
            | Record::Unreadable { .. } => {
                self.fold(at, record, &mut Vec::new());
            }
            Record::CallFinished { call, .. } => drop(self.calls.remove(call)),
            Record::Decided { request, .. } => drop(self.requests.remove(request)),
            _ => {}
        }
    }

    fn fold(&mut self, at: Timestamp, record: &Record, ended: &mut Vec<Span>) {
        match record {
            Record::Started { run, .. } => {
                // The last one broke off with its node: until when it ran nobody knows but by what it recorded.
                self.end_run("broke_off", self.last_at, ended);
                self.run = Some(Run { no: *run, begun_at: at });
            }
            Record::Suspended { .. } => self.end_run("suspended", at, ended),
            Record::CarriedOver { .. } => self.end_run("carried_over", at, ended),
            Record::NodeStopped => self.end_run("node_stopped", at, ended),
            Record::Interrupted => self.end_run("interrupted", at, ended),
            Record::CallStarted { call, tool, arguments, .. } | Record::CallHeld { call, tool, arguments, .. } => {
                self.begin_call(*call, tool, arguments, at);
            }
            Record::Asked { call, .. } => {
                let attributes = vec![("sortie.call", call.0.into())];
                self.insert(*call, "ask".to_owned(), Kind::Internal, attributes, at);
            }
            Record::CallRefused { call, tool, error, .. } => {
                // What is denied may be no tool that there is.
                let is_known = !matches!(error, CallError::Denied(_));
                let tool = if is_known { tool.clone() } else { ToolName::new(OTHER) };
                self.begin_call(*call, &tool, "", at);
                self.end_call(*call, Err(error), Spend::NOTHING, at, ended);
            }
            Record::CallResumed { call } => self.event(*call, at, "resumed"),
            Record::CallAgain { call } => self.event(*call, at, "made_again"),
            Record::Postponed { call, .. } => self.event(*call, at, "postponed"),
            Record::PaymentAwaited { call, .. } => self.event(*call, at, "payment_awaited"),
            Record::Overbilled { call, .. } => self.event(*call, at, "overbilled"),
            Record::CallFinished { call, outcome, spent } => {
                self.end_call(*call, outcome.as_ref(), *spent, at, ended);
            }
            Record::Requested { request, call, kind, .. } => {
                self.requests.insert(*request, Request { call: *call, kind: *kind, begun_at: at });
            }
            Record::Elicited { request, call, .. } => {
                self.requests.insert(*request, Request { call: *call, kind: RequestKind::Input, begun_at: at });
            }
            Record::Decided { request, decision, by, .. } => {
                // Who it was is nobody's business outside.
                let by_people = by != NOBODY;
                self.end_request(*request, decision.as_str(), by_people, at, ended);
            }
            Record::Withdrawn { request, .. } => self.end_request(*request, "withdrawn", false, at, ended),
            Record::Finished { status, reason, .. } => self.finish(*status, reason.as_str(), at, ended),
            // An end follows it, in the same mission's words; what was open is not known any more.
            Record::Unreadable { .. } => {
                self.run = None;
                self.calls.clear();
                self.requests.clear();
            }
            Record::Accepted(_)
            | Record::Answered { .. }
            | Record::Milestone { .. }
            | Record::Logged { .. }
            | Record::Judged { .. }
            | Record::ArtifactStored { .. }
            | Record::Heartbeat
            // A span of its own mission has it.
            | Record::ChildAsks { .. }
            | Record::ChildHeard { .. }
            | Record::Reminded { .. }
            | Record::Granted { .. }
            | Record::Accompanied
            | Record::OpenUntil { .. }
            | Record::Closing { .. }
            | Record::Landing { .. }
            | Record::Requoted { .. } => {}
        }
    }

    fn begin_call(&mut self, call: CallNo, tool: &ToolName, arguments: &str, at: Timestamp) {
        // As OpenTelemetry's conventions for generative AI have it.
        if tool.as_str() == MODEL {
            let is_known = |model: &String| self.told.models.contains(model);
            let other = || OTHER.to_owned();
            let model = Asking::model(arguments).map(|model| Some(model).filter(is_known).unwrap_or_else(other));
            let name = model.as_ref().map_or_else(|| "chat".to_owned(), |model| format!("chat {model}"));
            let mut attributes = vec![("gen_ai.operation.name", "chat".into()), ("sortie.call", call.0.into())];
            attributes.extend(model.map(|model| ("gen_ai.request.model", model.into())));
            self.insert(call, name, Kind::Client, attributes, at);
        } else {
            let attributes = vec![
                ("gen_ai.operation.name", "execute_tool".into()),
                ("gen_ai.tool.name", tool.as_str().into()),
                ("sortie.call", call.0.into()),
            ];
            self.insert(call, format!("execute_tool {tool}"), Kind::Internal, attributes, at);
        }
    }

    fn insert(
        &mut self,
        call: CallNo,
        name: String,
        kind: Kind,
        attributes: Vec<(&'static str, Value)>,
        begun_at: Timestamp,
    ) {
        let run = self.run.as_ref().map(|run| run.no);
        self.calls.insert(call, Call { run, begun_at, name, kind, attributes, events: Vec::new() });
    }

    fn event(&mut self, call: CallNo, at: Timestamp, what: &'static str) {
        if let Some(call) = self.calls.get_mut(&call)
            && call.events.len() < EVENTS_MAX
        {
            call.events.push((at, what));
        }
    }

    fn end_call(
        &mut self,
        no: CallNo,
        outcome: Result<&ToolAnswer, &CallError>,
        spent: Spend,
        at: Timestamp,
        ended: &mut Vec<Span>,
    ) {
        let (Some(mut call), Some(mission)) = (self.calls.remove(&no), &mut self.mission) else { return };
        mission.spent = mission.spent.saturating_add(spent);
        if !spent.is_nothing() {
            call.attributes.push(("sortie.cost_usd", spent.cost.as_usd().into()));
        }
        match outcome {
            Ok(answer) if call.name.starts_with("chat") => call.attributes.extend(Answered::of(&answer.result)),
            Ok(_) => {}
            // What went wrong in words may be anything: those stay here.
            Err(error) => call.attributes.push(("error.type", error.code().into())),
        }
        ended.push(mission.span_of(no, call, at, outcome.is_err()));
    }

    fn end_request(&mut self, no: RequestNo, decision: &str, by_people: bool, at: Timestamp, ended: &mut Vec<Span>) {
        let (Some(request), Some(mission)) = (self.requests.remove(&no), &self.mission) else { return };
        ended.push(Span {
            trace_id: mission.trace_id.clone(),
            id: request_span(&mission.id, no.0),
            parent: Some(mission.call(request.call)),
            name: format!("request {}", request.kind),
            kind: Kind::Internal,
            begun_at: request.begun_at,
            ended_at: at.max(request.begun_at),
            attributes: vec![
                ("sortie.request", no.to_string().into()),
                ("sortie.request.kind", request.kind.as_str().into()),
                ("sortie.request.decision", decision.into()),
                ("sortie.request.by_people", by_people.into()),
            ],
            events: Vec::new(),
            failed: false,
        });
    }

    fn end_run(&mut self, how: &'static str, at: Timestamp, ended: &mut Vec<Span>) {
        let (Some(run), Some(mission)) = (self.run.take(), &self.mission) else { return };
        ended.push(Span {
            trace_id: mission.trace_id.clone(),
            id: run_span(&mission.id, run.no.0),
            parent: Some(mission_span(&mission.id)),
            name: "run".to_owned(),
            kind: Kind::Internal,
            begun_at: run.begun_at,
            ended_at: at.max(run.begun_at),
            attributes: vec![("sortie.run", run.no.0.into()), ("sortie.run.ended", how.into())],
            events: Vec::new(),
            failed: how == "broke_off",
        });
    }

    /// The end: of its run, and of whatever is open.
    fn finish(&mut self, status: Status, reason: &str, at: Timestamp, ended: &mut Vec<Span>) {
        for no in self.requests.keys().copied().collect::<Vec<_>>() {
            self.end_request(no, "withdrawn", false, at, ended);
        }
        for no in self.calls.keys().copied().collect::<Vec<_>>() {
            self.end_call(no, Err(&CallError::Cancelled), Spend::NOTHING, at, ended);
        }
        self.end_run("finished", at, ended);
        self.is_over = true;
        let Some(mission) = self.mission.take() else { return };
        let mut attributes = mission.attributes;
        attributes.push(("sortie.mission.status", status.as_str().into()));
        attributes.push(("sortie.mission.reason", reason.into()));
        attributes.push(("sortie.cost_usd", mission.spent.cost.as_usd().into()));
        attributes.push(("sortie.llm_calls", mission.spent.llm_calls.into()));
        let failed = matches!(status, Status::Failed | Status::TimedOut);
        if failed {
            attributes.push(("error.type", reason.into()));
        }
        ended.push(Span {
            id: mission_span(&mission.id),
            trace_id: mission.trace_id,
            parent: mission.parent,
            name: mission.name,
            kind: Kind::Consumer,
            begun_at: mission.begun_at,
            ended_at: at.max(mission.begun_at),
            attributes,
            events: Vec::new(),
            failed,
        });
    }
}

impl Mission {
    /// Nothing, where its trace is not kept: by this node, or by whoever dispatched it.
    fn of(accepted: &Accepted, at: Timestamp, sampling: Sampling) -> Option<Self> {
        let envelope = Envelope::parse_accepted(&accepted.envelope).ok()?.envelope;
        let given = envelope.trace_id.as_str();
        let trace_id = trace_of(given);
        if trace_id.is_some() && !is_sampled(given) {
            return None;
        }
        // What is no trace to others is one here, so that missions of one name are found together.
        let trace_id = trace_id.unwrap_or_else(|| Digest::of(given.as_bytes()).to_string()[..32].to_owned());
        if !sampling.keeps(&trace_id) {
            return None;
        }
        let mission_type = envelope.mission_type.as_str();
        Some(Self {
            id: envelope.mission_id.to_string(),
            inherits: envelope.forked_from.as_ref().map_or(0, |from| from.records),
            trace_id,
            parent: parent_of(given),
            name: format!("mission {mission_type}"),
            begun_at: at,
            attributes: vec![
                ("sortie.mission.id", envelope.mission_id.to_string().into()),
                ("sortie.mission.type", mission_type.into()),
                ("sortie.trace_id", given.into()),
                ("sortie.vp.id", envelope.vp_id.to_string().into()),
                ("sortie.session.id", accepted.session.to_string().into()),
                ("sortie.lane.id", accepted.lane.to_string().into()),
                ("sortie.source.id", envelope.source_instance_id.to_string().into()),
                ("sortie.plugin", accepted.plugin.to_string().into()),
            ],
            spent: Spend::NOTHING,
        })
    }

    /// The span that tools, models and servers are told of.
    fn call(&self, no: CallNo) -> u64 {
        call_span(&format!("{}/{no}", self.id))
    }

    fn span_of(&self, no: CallNo, call: Call, at: Timestamp, failed: bool) -> Span {
        Span {
            trace_id: self.trace_id.clone(),
            id: self.call(no),
            parent: Some(call.run.map_or_else(|| mission_span(&self.id), |run| run_span(&self.id, run.0))),
            name: call.name,
            kind: call.kind,
            begun_at: call.begun_at,
            ended_at: at.max(call.begun_at),
            attributes: call.attributes,
            events: call.events,
            failed,
        }
    }
}

/// What stands on record of a request to a model: all of it, or its parts.
#[derive(Deserialize)]
struct Asking {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    request: Option<AskedOf>,
}

#[derive(Deserialize)]
struct AskedOf {
    #[serde(default)]
    model: Option<String>,
}

impl Asking {
    /// The name of the model that it is for, where it names one.
    fn model(arguments: &str) -> Option<String> {
        let asking: Self = serde_json::from_str(arguments).ok()?;
        asking.model.or(asking.request.and_then(|request| request.model))
    }
}

/// What of a model's answer is told: who it was, and how much it read and wrote.
#[derive(Deserialize)]
struct Answered {
    model: String,
    usage: Usage,
}

#[derive(Deserialize)]
struct Usage {
    input_tokens: u64,
    output_tokens: u64,
}

impl Answered {
    fn of(result: &str) -> Vec<(&'static str, Value)> {
        let Ok(Self { model, usage }) = serde_json::from_str(result) else { return Vec::new() };
        vec![
            ("gen_ai.response.model", limit::clip(&model, limit::ID_BYTES_MAX).into()),
            ("gen_ai.usage.input_tokens", usage.input_tokens.into()),
            ("gen_ai.usage.output_tokens", usage.output_tokens.into()),
        ]
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
pub(crate) mod tests;
