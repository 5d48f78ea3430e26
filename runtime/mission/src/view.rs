//! What others see of a mission: its events, and what leaves the node for the control plane.
//!
//! Both are views of records. A record is looked at right after it was applied: the state then is the one that its event
//! tells of.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sortie_contract::artifact::{Artifact, ArtifactName, StorageScope};
use sortie_contract::envelope::{Callback, EffectiveBudget};
use sortie_contract::event::{Event, EventType};
use sortie_contract::id::MissionId;
use sortie_contract::limit;
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::outcome::Status;
use sortie_contract::overview::RequestLine;
use sortie_contract::record::{Accepted, Closing, Record, Stamped};
use sortie_contract::request::{Decision, RequestKind, RequestNo};
use sortie_contract::tool::MISSION;
use url::Url;

use crate::cadence;
use crate::child::asking::{told_of_hearing, told_of_question};
use crate::state::{Mission, minutes};

/// Something that has to reach the control plane, in this order.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are events, and nobody keeps many")]
pub enum Outgoing {
    /// The bytes of an artifact, to where [`upload_url`] says.
    Upload(Artifact),
    /// An event.
    Event(Event),
}

impl Mission {
    /// The event of a record that was just applied; `None` where it has none.
    #[must_use]
    pub fn event_of(&self, stamped: &Stamped) -> Option<Event> {
        if self.is_inherited(self.records.saturating_sub(1)) {
            return None;
        }
        let (event_type, summary, detail) = self.told(&stamped.record)?;
        let envelope = &self.envelope;
        Some(Event {
            mission_id: envelope.mission_id.to_string(),
            parent_id: envelope.parent().map(|of| of.mission_id.to_string()),
            vp_id: envelope.vp_id.to_string(),
            vp_session_id: self.session.to_string(),
            vp_runtime_id: self.lane.to_string(),
            event_type,
            status: match event_type {
                // While a request holds one call, the others go on.
                EventType::Progress | EventType::Artifact => Status::Running,
                _ => self.status(),
            },
            summary,
            artifact_refs: self
                .artifacts()
                .iter()
                .map(|artifact| format!("{}/{}", envelope.mission_id, artifact.name))
                .collect(),
            usage: self.usage_at(self.ran_ms),
            trace_id: envelope.trace_id.to_string(),
            idempotency_key: event_key(&envelope.mission_id, self.outgoing.sequence),
            emitted_at: stamped.at,
            sequence: self.outgoing.sequence,
            detail,
        })
    }

    /// What has to leave the node because of a record that was just applied. The last of these items has the number
    /// [`Mission::outgoing`].
    #[must_use]
    pub fn outgoing_of(&self, stamped: &Stamped) -> Vec<Outgoing> {
        let Some(event) = self.event_of(stamped) else { return Vec::new() };
        match &stamped.record {
            Record::ArtifactStored { artifact, .. } if self.envelope.storage_scope == StorageScope::Pushback => {
                vec![Outgoing::Upload(artifact.clone()), Outgoing::Event(event)]
            }
            _ => vec![Outgoing::Event(event)],
        }
    }

    /// Type, summary and detail of a record's event.
    fn told(&self, record: &Record) -> Option<(EventType, String, Value)> {
        match record {
            Record::Accepted(accepted) => {
                let (summary, detail) = self.told_of_acceptance(accepted_detail(accepted));
                Some((EventType::Accepted, summary, detail))
            }
            Record::Started { .. } if self.went_on() => None,
            Record::Started { announced: false, .. } => None,
            Record::Started { run, .. } => {
                let summary = if run.0 == 1 { "Started." } else { "Goes on, after the node was restarted." };
                Some((EventType::Progress, summary.to_string(), json!({ "kind": "started", "run": run.0 })))
            }
            Record::CarriedOver { start_at, end_at } if self.tells_of_carry_over() => {
                let opens = start_at.map(|at| format!(", which opens at {at}")).unwrap_or_default();
                let summary = format!("Its window is over and it is not done: it goes on in the next one{opens}.");
                let detail = json!({
                    "kind": "carried_over",
                    "window": { "start_at": start_at, "end_at": end_at },
                    "times": self.carried_over(),
                });
                Some((EventType::Progress, summary, detail))
            }
            Record::Milestone { text, .. } if cadence::reports_milestones(self.envelope.report_cadence) => {
                let summary = if text.trim().is_empty() { "A milestone was reached." } else { text };
                Some((EventType::Progress, summary.to_string(), json!({ "kind": "milestone" })))
            }
            Record::Heartbeat => {
                let summary =
                    self.report.last_milestone().filter(|text| !text.trim().is_empty()).unwrap_or("Still running.");
                Some((EventType::Progress, summary.to_string(), json!({ "kind": "heartbeat" })))
            }
            Record::Requested { request, question, .. } => {
                Some((EventType::Blocked, question.clone(), json!({ "request": self.request_view(*request)? })))
            }
            Record::Elicited { request, .. } => {
                let summary = self.told_question(self.requests.get(*request)?);
                Some((EventType::Blocked, summary, json!({ "request": self.request_view(*request)? })))
            }
            Record::Withdrawn { request, why } => {
                let summary = format!("A question was taken back: {why}.");
                let detail = json!({ "kind": "withdrawn", "request_id": request.to_string(), "note": why });
                Some((EventType::Progress, summary, detail))
            }
            Record::ChildAsks { call, asks } => {
                let (summary, detail) = told_of_question(*call, asks);
                Some((EventType::Blocked, summary, detail))
            }
            Record::ChildHeard { call, of, request } => {
                let (summary, detail) = told_of_hearing(*call, of, *request);
                Some((EventType::Progress, summary, detail))
            }
            Record::Reminded { request } => {
                let view = self.request_view(*request)?;
                let summary = format!("Still waiting: {}", self.told_question(self.requests.get(*request)?));
                Some((EventType::Blocked, summary, json!({ "request": view, "reminder": true })))
            }
            Record::Decided { request, decision, by, note } => {
                let mut summary = match decision {
                    &Decision::NOT_NEEDED => format!("Nobody need decide about {request} any more: {note}."),
                    _ => format!("Decided by {by}: {}.", decision.as_str()),
                };
                let mut detail = json!({
                    "kind": "decided",
                    "request_id": request.to_string(),
                    "decision": decision.as_str(),
                    "by": by,
                    "note": note,
                });
                if let Some(flight) = self.requests.amends(*request).and_then(|call| self.calls.flight(call).ok()) {
                    summary = format!("Decided by {by}: {}, with other arguments.", decision.as_str());
                    detail["arguments"] = cut(&flight.arguments);
                    detail["arguments_wanted"] = cut(flight.wanted.as_deref().unwrap_or_default());
                }
                Some((EventType::Progress, summary, detail))
            }
            Record::Landing { call } if self.landing.landed() == Some(*call) => {
                let near = self.landing.closing();
                let summary =
                    near.map_or_else(|| "Lands.".to_string(), |limit| format!("Lands: {} comes near.", limit.as_str()));
                Some((EventType::Progress, summary, json!({ "kind": "landing", "limit": near.map(Closing::code) })))
            }
            Record::Overbilled { call, tool, quoted, spent } => {
                let excess = spent.saturating_sub(*quoted);
                let summary = format!(
                    "A call of `{tool}` did cost {excess} more than it was quoted at. The mission makes no further call that costs \
                     anything."
                );
                let detail = json!({
                    "kind": "overbilled",
                    "call": call.0,
                    "tool": tool.as_str(),
                    "quoted": spend_view(*quoted),
                    "spent": spend_view(*spent),
                    "excess": spend_view(excess),
                });
                Some((EventType::Progress, summary, detail))
            }
            Record::ArtifactStored { artifact, .. } => {
                let summary = format!("Stored {} ({} bytes).", artifact.name, artifact.bytes);
                Some((EventType::Artifact, summary, self.artifact_view(artifact)))
            }
            Record::Finished { status, reason, summary, next_action } => {
                let criteria = self.criteria().map(|criterion| {
                    json!({ "criterion": criterion.text, "verdict": criterion.verdict, "evidence": criterion.evidence })
                });
                let detail = json!({
                    "reason": reason,
                    "artifacts": self.artifacts().iter().map(|artifact| self.artifact_view(artifact)).collect::<Vec<_>>(),
                    "criteria": criteria.collect::<Vec<_>>(),
                    "next_action": next_action,
                });
                Some((EventType::of_end(*status)?, summary.clone(), detail))
            }
            Record::CallStarted { call, tool, arguments, .. } if tool.as_str() == MISSION => {
                let (summary, detail) = self.told_of_dispatch(*call, arguments);
                Some((EventType::Progress, summary, detail))
            }
            Record::CallFinished { call, outcome, .. } if self.calls.is_of_child_over(*call) => {
                let (summary, detail) = self.told_of_child(*call, outcome);
                Some((EventType::Progress, summary, detail))
            }
            Record::CallStarted { .. }
            | Record::CallRefused { .. }
            | Record::CallFinished { .. }
            | Record::Answered { .. }
            | Record::Milestone { .. }
            | Record::Logged { .. }
            | Record::Judged { .. }
            | Record::CallHeld { .. }
            | Record::Asked { .. }
            | Record::CallResumed { .. }
            | Record::CallAgain { .. }
            | Record::Requoted { .. }
            | Record::Suspended { .. }
            | Record::CarriedOver { .. }
            | Record::Closing { .. }
            | Record::Postponed { .. }
            | Record::PaymentAwaited { .. }
            | Record::Landing { .. }
            | Record::OpenUntil { .. }
            | Record::Accompanied
            | Record::NodeStopped
            | Record::Granted { .. }
            | Record::Unreadable { .. }
            | Record::Interrupted => None,
        }
    }

    /// Whether that it was just carried over has an event: not where it waits for its first turn, or for people, as before.
    pub(crate) fn tells_of_carry_over(&self) -> bool {
        self.active().is_some() && self.requests.open().is_empty()
    }

    /// An open request as the control plane sees it: what a person needs to decide.
    #[must_use]
    pub fn request_view(&self, no: RequestNo) -> Option<Value> {
        let open = self.requests.get(no)?;
        let line = self.request_line(open, open.question.len(), SHOWN_BYTES_MAX);
        let mut view = request_view(&line, self.spent(), self.reserved(), self.budget());
        if let Some(wanted) = self.calls.flight(open.call).ok().and_then(|flight| flight.wanted.as_deref()) {
            view["arguments_wanted"] = cut(wanted);
        }
        if let Some(form) = &open.form {
            view["schema"] = serde_json::from_str(form).unwrap_or_default();
        }
        Some(view)
    }

    /// An artifact as others see it, with where its bytes are to be found.
    #[must_use]
    pub fn artifact_view(&self, artifact: &Artifact) -> Value {
        let Artifact { name, media_type, bytes, sha256 } = artifact;
        json!({
            "name": name.as_str(),
            "media_type": media_type,
            "bytes": bytes,
            "sha256": sha256.to_string(),
            "where": self.whereabouts(name),
        })
    }

    /// Where the bytes of an artifact are to be found: on this node's API, or at the control plane.
    fn whereabouts(&self, name: &ArtifactName) -> String {
        match (self.envelope.storage_scope, &self.envelope.callback) {
            (StorageScope::Pushback, Some(callback)) => upload_url(callback, name).into(),
            _ => {
                let name = utf8_percent_encode(name.as_str(), PATH);
                format!("/v1/missions/{}/artifacts/{name}", self.envelope.mission_id)
            }
        }
    }
}

/// What the event of that sequence is known by, on every attempt to deliver it.
#[must_use]
pub fn event_key(mission: &MissionId, sequence: u64) -> String {
    format!("{mission}/{sequence}")
}

/// An open request as others see it, of a mission that has spent, set aside, and may spend so much.
#[must_use]
pub fn request_view(line: &RequestLine, spent: Spend, reserved: Spend, budget: &EffectiveBudget) -> Value {
    let mut view = json!({
        "request_id": line.no.to_string(),
        "kind": line.kind,
        "question": line.question,
        "decisions": line.kind.decisions(),
        "asked_at": line.asked_at,
        "expires_at": line.expires_at,
    });
    if let Some(call) = &line.call {
        view["tool"] = json!(call.tool);
        view["arguments"] = shown(&call.arguments, call.is_cut());
        // Whoever decides about what is cut can at least tell whether the whole is what he takes it for.
        view["arguments_bytes"] = json!(call.bytes);
        view["arguments_sha256"] = json!(call.sha256.to_string());
    }
    if line.kind == RequestKind::Budget {
        view["budget"] = json!({
            "wanted": spend_view(line.wanted),
            "spent": spend_view(spent),
            "reserved": spend_view(reserved),
            "limit": {
                "llm_calls": budget.llm_calls_max,
                "cost_usd": budget.cost_max.map(MicroUsd::as_usd),
            },
        });
    }
    view
}

/// Arguments as JSON; as the text that they are, where they are none, and where only their beginning is here: a text that is shorter
/// than they are is cut.
fn shown(arguments: &str, is_cut: bool) -> Value {
    let whole = (!is_cut).then(|| serde_json::from_str(arguments).ok()).flatten();
    whole.filter(|whole: &Value| !whole.is_string()).unwrap_or_else(|| arguments.into())
}

/// Arguments of any length, cut where they are long.
fn cut(arguments: &str) -> Value {
    let beginning = limit::clip(arguments, SHOWN_BYTES_MAX);
    shown(&beginning, beginning.len() < arguments.len())
}

/// Most bytes of a call's arguments in an event.
const SHOWN_BYTES_MAX: usize = 64 << 10;

fn accepted_detail(accepted: &Accepted) -> Value {
    let plugin = &accepted.plugin;
    let mut detail = json!({
        "effective_budget": effective_budget(&accepted.budget),
        "plugin": { "name": plugin.name, "version": plugin.version, "digest": plugin.digest.to_string() },
    });
    if !accepted.warnings.is_empty() {
        detail["warnings"] = json!(accepted.warnings);
    }
    detail
}

/// Calls of models and money, as others see them.
fn spend_view(spend: Spend) -> Value {
    json!({ "llm_calls": spend.llm_calls, "cost_usd": spend.cost.as_usd() })
}

/// What holds of a budget, in the contract's words; `null` where there is no limit.
#[must_use]
pub fn effective_budget(budget: &EffectiveBudget) -> Value {
    json!({
        "max_runtime_minutes": minutes(budget.runtime_ms_max),
        "max_llm_calls": budget.llm_calls_max,
        "max_cost_usd": budget.cost_max.map(MicroUsd::as_usd),
    })
}

/// Where an artifact is uploaded to, with the storage scope `pushback`: `{status_url}/artifacts/{name}`.
#[must_use]
pub fn upload_url(callback: &Callback, name: &ArtifactName) -> Url {
    let mut url = callback.status_url.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push("artifacts").extend(name.as_str().split('/'));
    }
    url
}

/// What is escaped in a path: everything but the unreserved characters of RFC 3986 and the slash between segments.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
