//! Every error that the HTTP interface answers with: `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! The public text says what was wrong and what to do; causes inside the node go to the log, under the same code.

use std::error::Error;
use std::io::ErrorKind;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Map, Value, json};
use sortie_contract::mistake::code::PLUGIN_NOT_INSTALLED;
use sortie_journal::WriteError;
use sortie_mission::Refusal;

use super::codes;
use sortie_engine::act::ActError;
use sortie_engine::fleet::Member;
use sortie_engine::intake::DispatchError;
use sortie_engine::shown::MissionView;
use sortie_engine::{ArtifactError, CarryError, ReadError};

/// A problem, ready to be answered.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// Boxed: problems are returned by value, through many hands.
    extra: Box<Map<String, Value>>,
    retry_after_seconds: Option<u32>,
}

/// The media type of every error.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// How long a client is asked to wait when the node is full: a few group commits.
const BREATHER_SECONDS: u32 = 1;

/// How long a client is asked to wait when the disk is full: somebody has to make room.
const DISK_SECONDS: u32 = 60;

/// How long a client is asked to wait for what somebody has to put back.
const OPERATOR_SECONDS: u32 = 60;

/// How long a client is asked to wait while the node is drained: others go on with what it had then.
const DRAIN_SECONDS: u32 = 5;

/// Where the page of each code is: what `type` names, on the node that answers. The last step of it is the code.
pub(crate) const PAGES: &str = "/problems";

/// Which code an answer has, for whoever looks at answers within the node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coded(pub(super) &'static str);

impl Problem {
    /// A problem with a stable code, which is one of [`codes::CODES`], and a sentence for people.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        debug_assert!(
            codes::find(code).is_some_and(|known| known.statuses.contains(&status.as_u16()))
                // What axum refuses by itself has statuses of its own.
                || matches!(code, "bad_request" | "internal"),
            "`{code}` with {status} is not in the list of codes"
        );
        Self { status, code, detail: detail.into(), extra: Box::default(), retry_after_seconds: None }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {what}"))
    }

    /// Something broke inside. The cause goes to the log and not to the client.
    pub(crate) fn internal(error: &(dyn Error + 'static)) -> Self {
        tracing::error!(error, code = "internal", "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong on the node; its log says what")
    }

    /// Somebody wants to go on after what is not there: perhaps an older copy of the journal was put back.
    fn position_ahead(last: u64) -> Self {
        let detail = format!(
            "the log ends at {last}, before the position that was named: this is not the log that it was read from; begin anew"
        );
        Self::new(StatusCode::CONFLICT, "position_ahead", detail).with("last", json!(last))
    }

    /// A task of the node ended before its time: it panicked, or the node is going down under it.
    pub(crate) fn task_failed(error: &(dyn Error + 'static)) -> Self {
        tracing::error!(error, code = "task_failed", "a request failed");
        let detail = "the node broke off what it was doing for this request; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "task_failed", detail)
    }

    /// It is another node's business, and was not sent on to it.
    pub(super) fn elsewhere(member: &Member) -> Self {
        let detail = format!("this is the business of the node `{}`: ask that one", member.name);
        Self::unavailable("holder_unreachable", &detail).with("node", json!(member.name))
    }

    fn overloaded() -> Self {
        Self::unavailable("overloaded", "the node takes no more at the moment; try again in a second")
    }

    /// Something of which the node has only so much is taken.
    pub(super) fn busy(code: &'static str, detail: &str) -> Self {
        Self::unavailable(code, detail)
    }

    pub(super) fn unavailable(code: &'static str, detail: &str) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        Self { retry_after_seconds: Some(BREATHER_SECONDS), ..problem }
    }

    /// An artifact that is on record is not given: its bytes are not here now, or not any more.
    pub(super) fn artifact(error: &ArtifactError) -> Self {
        let (code, at) = match error {
            ArtifactError::Away(_) | ArtifactError::NoStore => return Self::shared_store_away(error),
            ArtifactError::Elsewhere { .. } => {
                return Self::unavailable("artifact_elsewhere", &format!("the artifact cannot be read: {error}"));
            }
            ArtifactError::Missing { at } => ("artifact_missing", at),
            ArtifactError::Damaged { at, .. } => ("artifact_damaged", at),
            other => return Self::internal(other),
        };
        tracing::error!(%error, code, "the bytes of an artifact are not what is on record");
        let detail = match code {
            "artifact_missing" => format!("the bytes of this artifact are gone: there is no {at}"),
            _ => format!("what is there is not what was stored, and is not given out: {error}"),
        };
        Self::unavailable(code, &format!("{detail}; it can be asked for again once the operator has put it back"))
            .retry_after(OPERATOR_SECONDS)
            .with("at", json!(at))
    }

    /// The store that nodes share cannot be used now.
    pub(super) fn shared_store_away(error: &ArtifactError) -> Self {
        // Where it is, and what it says, is the operator's business.
        tracing::warn!(%error, code = "shared_store_away", "a request needs the shared store");
        let detail = match error {
            ArtifactError::NoStore => error.to_string(),
            _ => "the store that nodes share, where this is kept, cannot be used now".to_owned(),
        };
        Self::unavailable("shared_store_away", &detail)
    }

    /// What is wrong with one field of a body.
    fn of_field(code: &'static str, pointer: &str, detail: &str) -> Self {
        let errors = json!([{"pointer": pointer, "code": code, "detail": detail}]);
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail).with("errors", errors)
    }

    /// Names when it is worth to ask again.
    pub(super) fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_seconds: Some(seconds), ..self }
    }

    /// Adds a member of its own to the problem.
    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        self.extra.insert(key.to_owned(), value);
        self
    }

    /// Adds the state of the mission that it is about, where that may be shown.
    pub(crate) fn with_state(self, state: Option<MissionView>) -> Self {
        match state {
            Some(state) => self.with("mission", json!(state)),
            None => self,
        }
    }

    /// The problem as a JSON object: also what a line of a batch answers.
    pub(crate) fn body(&self) -> Value {
        let mut body = json!({
            "type": format!("{PAGES}/{}", self.code),
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        let members = body.as_object_mut().expect("an object was just written");
        members.extend(self.extra.iter().map(|(key, value)| (key.clone(), value.clone())));
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Extension(Coded(self.code)), Json(self.body())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The refusals of axum itself (of a path that is no UTF-8) are plain text; here every error is a problem.
pub(super) async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    if !(status.is_client_error() || status.is_server_error()) || kind.is_some_and(|kind| kind == PROBLEM_JSON) {
        return response;
    }
    // Such a text is a sentence.
    let text = axum::body::to_bytes(response.into_body(), 4_096).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let code = if status.is_client_error() { "bad_request" } else { "internal" };
    let detail = if text.is_empty() { status.canonical_reason().unwrap_or(code) } else { &text };
    Problem::new(status, code, detail).into_response()
}

impl From<DispatchError> for Problem {
    fn from(error: DispatchError) -> Self {
        let detail = error.to_string();
        match error {
            DispatchError::Invalid(mistakes) => {
                // A text that is no JSON, or a window that is over, is worth a code of its own.
                let code = match mistakes.as_slice() {
                    [only] if only.code == "not_json" => "not_json",
                    [only] if only.code == "window_closed" => "window_closed",
                    [only] if only.code == "invalid_pattern" => "invalid_pattern",
                    [only] if only.code == PLUGIN_NOT_INSTALLED => PLUGIN_NOT_INSTALLED,
                    [first, ..] if first.code == "unknown_constraint" => "unknown_constraint",
                    _ => "invalid_envelope",
                };
                let status =
                    if code == "not_json" { StatusCode::BAD_REQUEST } else { StatusCode::UNPROCESSABLE_ENTITY };
                let summary = match mistakes.as_slice() {
                    [only] => format!("{detail}: {}", only.detail),
                    all => format!("{detail}: it has {} mistakes", all.len()),
                };
                Self::new(status, code, summary).with("errors", json!(mistakes))
            }
            DispatchError::WrongInstance { .. } => Self::new(StatusCode::MISDIRECTED_REQUEST, "wrong_instance", detail),
            DispatchError::IdempotencyConflict { mission_id, fields } => {
                let named = fields.iter().map(sortie_contract::Pointer::as_str).collect::<Vec<_>>().join(", ");
                Self::new(StatusCode::CONFLICT, "idempotency_conflict", format!("{detail}; these differ: {named}"))
                    .with("mission_id", json!(mission_id))
                    .with("fields", json!(fields))
            }
            DispatchError::MissionIdConflict => Self::new(StatusCode::CONFLICT, "mission_id_conflict", detail),
            DispatchError::Elsewhere(member) => Self::elsewhere(&member),
            DispatchError::Draining => {
                Self { retry_after_seconds: Some(DRAIN_SECONDS), ..Self::unavailable("draining", &detail) }
            }
            DispatchError::Overloaded => Self::overloaded(),
            DispatchError::DiskLow => {
                Self { retry_after_seconds: Some(DISK_SECONDS), ..Self::unavailable("disk_low", &detail) }
            }
            DispatchError::Artifacts(
                error @ (ArtifactError::Away(_)
                | ArtifactError::NoStore
                | ArtifactError::Missing { .. }
                | ArtifactError::Damaged { .. }),
            ) => Self::artifact(&error),
            DispatchError::Artifacts(ArtifactError::Folder(error)) if error.kind() == ErrorKind::NotFound => {
                let at = "artifact of the mission in the node's data directory that the fork would begin with";
                Self::artifact(&ArtifactError::Missing { at: at.to_owned() })
            }
            DispatchError::Artifacts(_) => Self::unavailable("disk_low", &detail),
            DispatchError::Stopping => Self::unavailable("stopping", &detail),
            DispatchError::Journal(error) => {
                tracing::error!(error = &error as &dyn Error, code = "journal_failed", "a dispatch was not recorded");
                Self::unavailable("journal_failed", "the node cannot write its journal and is stopping")
            }
            DispatchError::Read(error) => error.into(),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unknown => Self::not_found("such mission"),
            ReadError::Ahead { last } => Self::position_ahead(last),
            ReadError::NoRecord { records } => {
                Self::not_found(&format!("such record of this mission: it has {records}, counted from 1"))
            }
            error @ ReadError::Task(_) => Self::task_failed(&error),
            ReadError::Workspace(CarryError::Away(why)) => Self::shared_store_away(&ArtifactError::Away(why)),
            error => Self::internal(&error),
        }
    }
}

impl From<ActError> for Problem {
    fn from(error: ActError) -> Self {
        match error {
            ActError::AlreadyFinal => Self::new(StatusCode::CONFLICT, "already_final", error.to_string()),
            ActError::Read(error) => error.into(),
            ActError::Refused(refusal @ Refusal::UnknownRequest { .. }) => {
                Self::new(StatusCode::NOT_FOUND, "not_found", refusal.to_string())
            }
            ActError::Refused(refusal @ Refusal::AlreadyDecided { decision, changed, .. }) => {
                let problem = Self::new(StatusCode::CONFLICT, "already_decided", refusal.to_string());
                problem.with("decision", json!(decision)).with("arguments_changed", json!(changed))
            }
            ActError::Refused(refusal @ Refusal::WrongDecision { .. }) => {
                Self::of_field("wrong_decision", "/decision", &refusal.to_string())
            }
            ActError::Refused(refusal @ Refusal::Barred { .. }) => {
                Self::new(StatusCode::CONFLICT, "overbilled", refusal.to_string())
            }
            ActError::Refused(refusal @ Refusal::Withdrawn { .. }) => {
                Self::new(StatusCode::CONFLICT, "request_withdrawn", refusal.to_string())
            }
            ActError::Answer(mistakes) => {
                let detail = "the answer does not fit the form that is asked for; see `errors`";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_decision", detail).with("errors", json!(mistakes))
            }
            ActError::Arguments(mistakes) => {
                let detail = "the changed arguments do not fit the tool's schema; see `errors`";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_decision", detail).with("errors", json!(mistakes))
            }
            ActError::Refused(refusal @ Refusal::NotAllowed { .. }) => {
                Self::of_field("arguments_not_allowed", "/arguments", &refusal.to_string())
            }
            ActError::Refused(refusal @ Refusal::NotAmendable { .. }) => {
                Self::of_field("wrong_decision", "/arguments", &refusal.to_string())
            }
            ActError::Refused(refusal @ Refusal::NotEnough { .. }) => {
                Self::of_field("not_enough", "/amount", &refusal.to_string())
            }
            ActError::Mark(error) => Self::internal(&error),
            ActError::Refused(refusal) => Self::new(StatusCode::CONFLICT, "refused", refusal.to_string()),
            ActError::Journal(WriteError::Overloaded) => Self::overloaded(),
            ActError::Journal(error) => {
                tracing::error!(error = &error as &dyn Error, code = "journal_failed", "a command was not recorded");
                Self::unavailable("journal_failed", "the node cannot write its journal and is stopping")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_against_an_act_is_told_by_its_code() {
        let refused = |refusal| Problem::from(ActError::Refused(refusal));
        let why = "an earlier call of `Search` cost 0.05 US dollars, and was quoted at 0.01".to_owned();
        for (problem, status, code) in [
            (refused(Refusal::Barred { why: why.clone() }), StatusCode::CONFLICT, "overbilled"),
            (refused(Refusal::NotEnough { why: why.clone() }), StatusCode::UNPROCESSABLE_ENTITY, "not_enough"),
            (
                refused(Refusal::UnknownRequest { request: sortie_contract::request::RequestNo(1) }),
                StatusCode::NOT_FOUND,
                "not_found",
            ),
            (
                refused(Refusal::NotAllowed { why: why.clone() }),
                StatusCode::UNPROCESSABLE_ENTITY,
                "arguments_not_allowed",
            ),
            (Problem::from(ActError::AlreadyFinal), StatusCode::CONFLICT, "already_final"),
        ] {
            assert!(
                ["not_found", "already_final"].contains(&code) || problem.body().to_string().contains(&why),
                "{code}"
            );
            assert_eq!((problem.code, problem.into_response().status()), (code, status));
        }
    }

    #[test]
    fn a_full_journal_is_no_failed_one() {
        let failed = || WriteError::Poisoned { why: "the disk is gone".into() };
        for (problem, code) in [
            (Problem::from(ActError::Journal(WriteError::Overloaded)), "overloaded"),
            (Problem::from(ActError::Journal(failed())), "journal_failed"),
            (Problem::from(DispatchError::from(WriteError::Overloaded)), "overloaded"),
            (Problem::from(DispatchError::from(failed())), "journal_failed"),
        ] {
            assert_eq!(problem.code, code);
            let answer = problem.into_response();
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(answer.headers().contains_key(header::RETRY_AFTER), "{code}");
        }
    }
}
