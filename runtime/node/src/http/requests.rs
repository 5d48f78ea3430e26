//! What missions ask of people, and people's answers.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use sortie_contract::request::{Decision, Reach, RequestNo};
use sortie_contract::{MissionNo, Mistake, Pointer, limit};

use super::auth::Holder;
use super::error::Problem;
use super::query::{Cursor, PageQuery, PageSize, Query};
use super::{App, Body};
use sortie_engine::Engine;
use sortie_engine::act::ActError;
use sortie_engine::shown::Acted;
use sortie_mission::SentDecision;

/// Requests of a page, unless the client asks for another number.
const PAGE: usize = 100;

/// `GET /v1/requests`: those that are open.
pub(super) async fn list(State(app): State<App>, Query(query): Query<PageQuery>) -> Result<Response, Problem> {
    let (before, size) = (query.cursor.map(|Cursor(no)| no), query.limit.map_or(PAGE, |PageSize(size)| size));
    app.shown(move |engine| engine.requests(before, size)).await
}

/// `POST /v1/missions/{id}/requests/{request}`: the mission's state after the decision.
pub(super) async fn decide(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
    Path((id, request)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, Problem> {
    let named = id.clone();
    let no = app.mission(id).await?;
    let request: RequestNo = request.parse().map_err(|_| Problem::not_found("such request"))?;
    let (body, mistakes) = super::body::json(&body, "{\"decision\": \"…\"}")?;
    let answer = if mistakes.is_empty() { Answer::parse(&body) } else { Err(mistakes) };
    let answer = answer.map_err(|mistakes| {
        let detail = "the decision cannot be taken; see `errors`";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_decision", detail).with("errors", json!(mistakes))
    })?;
    let by = answer.by.unwrap_or_else(|| holder.name.to_string());
    let Answer { decision, note, .. } = answer;
    let decided =
        app.to_the_end(move |engine| async move { engine.decide(no, request, decision, by, note).await }).await?;
    let state = app.state_for(&holder, no).await?;
    match decided {
        Ok(()) => {
            Ok(state.map_or_else(|| Json(Acted::on(&named, None)).into_response(), |state| Json(state).into_response()))
        }
        Err(error) => Err(Problem::from(error).with_state(state)),
    }
}

/// The body of a decision.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it describes what is read by hand, so that mistakes are told with their place")]
#[schemars(rename = "Decision", deny_unknown_fields)]
pub(super) struct Form {
    /// `approve`, `deny`, `answer`, `grant`, `repeat` or `record`: which of them depends on the request.
    #[schemars(schema_with = "decisions")]
    decision: String,
    /// Why: it is on record.
    #[schemars(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// Who decided; without it, the token's name.
    #[schemars(skip_serializing_if = "Option::is_none", regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    by: Option<String>,
    /// Of an approval: how far it reaches.
    #[schemars(skip_serializing_if = "Option::is_none")]
    r#for: Option<Reach>,
    /// Of an approval of a tool's call: what it is made with, in the place of what its plugin wanted. Held against the tool's schema and the
    /// mission's constraints; a need of approval is met by this one.
    #[schemars(skip_serializing_if = "Option::is_none")]
    arguments: Option<Value>,
    /// Of a grant: US dollars, or an object with `cost_usd`, `llm_calls` or both.
    #[schemars(default, skip_serializing_if = "Option::is_none", schema_with = "amount")]
    amount: Option<Value>,
    /// Of an answer.
    #[schemars(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Of a record: what the call returned.
    #[schemars(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
}

fn decisions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": ["approve", "deny", "answer", "grant", "repeat", "record"]})
}

fn amount(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"anyOf": [
        {"type": ["number", "null"], "minimum": 0},
        {
            "type": "object",
            "properties": {
                "cost_usd": {"type": "number", "minimum": 0},
                "llm_calls": {"type": "integer", "minimum": 0},
            },
            "additionalProperties": false,
        },
    ]})
}

/// A decision made on the node's own terminal, in the same form.
pub(crate) async fn decide_here(
    engine: &Arc<Engine>,
    no: MissionNo,
    request: &str,
    answer: &Value,
) -> Result<(), ActError> {
    let (Ok(request), Ok(answer)) = (request.parse::<RequestNo>(), Answer::parse(answer)) else { return Ok(()) };
    engine.decide(no, request, answer.decision, "terminal".to_owned(), answer.note).await
}

/// A decision as it is sent, `{decision, note?, by?, for?, arguments?, amount?, text?, result?}`, and what the core says that it is.
#[derive(Debug, PartialEq)]
struct Answer {
    decision: Decision,
    by: Option<String>,
    note: String,
}

/// What a decision may hold.
const FIELDS: [&str; 8] = ["decision", "note", "by", "for", "arguments", "amount", "text", "result"];

impl Answer {
    fn parse(body: &Value) -> Result<Self, Vec<Mistake>> {
        let Some(fields) = body.as_object() else {
            return Err(vec![Mistake::new(Pointer::root(), "wrong_type", "it must be a JSON object")]);
        };
        let unknown = fields.keys().filter(|key| !FIELDS.contains(&key.as_str()));
        let detail = format!("it is not one of {}", FIELDS.join(", "));
        let mut mistakes: Vec<Mistake> =
            unknown.map(|key| Mistake::new(Pointer::root().join(key), "unknown_key", detail.as_str())).collect();
        let field = |key| fields.get(key).cloned();
        let sent = SentDecision {
            decision: text(fields, "decision", &mut mistakes),
            reach: field("for"),
            arguments: field("arguments"),
            text: field("text"),
            amount: field("amount"),
            result: field("result"),
        };
        let (decision, mut mistakes) = match sent.read(mistakes) {
            Ok(decision) => (Some(decision), Vec::new()),
            Err(mistakes) => (None, mistakes),
        };
        let by = text(fields, "by", &mut mistakes).filter(|by| !by.trim().is_empty());
        // What stands in events and in lines of logs is one line, as ids are.
        if by.as_ref().is_some_and(|by| by.chars().any(char::is_control)) {
            mistakes.push(Mistake::new(Pointer::root().join("by"), "invalid", "it must not hold control characters"));
        }
        let by = by.map(|by| limit::clip(&by, limit::ID_BYTES_MAX));
        let note = text(fields, "note", &mut mistakes).unwrap_or_default();
        decision.filter(|_| mistakes.is_empty()).map(|decision| Self { decision, by, note }).ok_or(mistakes)
    }
}

/// A field that is a text, if it is there.
fn text(fields: &Map<String, Value>, key: &str, mistakes: &mut Vec<Mistake>) -> Option<String> {
    match fields.get(key)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        _ => {
            mistakes.push(Mistake::new(Pointer::root().join(key), "wrong_type", "it must be a text"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use sortie_contract::MicroUsd;

    use super::*;

    #[test]
    fn an_answer_is_read_or_its_mistakes_are_named_with_their_place() {
        let read = |body: &Value| {
            let told = |mistake: &Mistake| format!("{} {}", mistake.pointer, mistake.code);
            Answer::parse(body).map_err(|mistakes| mistakes.iter().map(told).collect::<Vec<_>>())
        };
        let answer = |decision, by: Option<&str>, note: &str| {
            Ok(Answer { decision, by: by.map(str::to_owned), note: note.to_owned() })
        };
        let approve = |reach| Decision::Approve { reach };
        let record = |result: &str| Decision::Record { result: result.to_owned() };
        let wrong = |told: &[&str]| Err(told.iter().map(ToString::to_string).collect());
        for (body, expected) in [
            (json!({"decision": "approve", "for": "tool", "note": "fine"}), answer(approve(Reach::Tool), None, "fine")),
            (json!({"decision": "deny", "by": "sam", "note": null}), answer(Decision::Deny, Some("sam"), "")),
            (json!({"decision": "deny", "by": " "}), answer(Decision::Deny, None, "")),
            (
                json!({"decision": "deny", "by": "Ada Lovelace, Zürich"}),
                answer(Decision::Deny, Some("Ada Lovelace, Zürich"), ""),
            ),
            (json!({"decision": "deny", "by": "ada\u{1b}[2K"}), wrong(&["/by invalid"])),
            (json!({"decision": "answer", "text": "B"}), answer(Decision::Answer { text: "B".to_owned() }, None, "")),
            (
                json!({"decision": "grant", "amount": {"llm_calls": 3}}),
                answer(Decision::Grant { llm_calls: 3, cost: MicroUsd::ZERO }, None, ""),
            ),
            (json!({"decision": "record", "result": null}), answer(record("null"), None, "")),
            (
                json!({"decision": "approve", "arguments": {"a": 1}}),
                answer(Decision::Amend { arguments: "{\"a\":1}".to_owned() }, None, ""),
            ),
            (json!({"decision": "deny", "reson": "x"}), wrong(&["/reson unknown_key"])),
            (json!({"reson": "x"}), wrong(&["/reson unknown_key"])),
            (json!({"decision": 1}), wrong(&["/decision wrong_type"])),
            (json!({"decision": "deny", "note": 1, "by": 2}), wrong(&["/by wrong_type", "/note wrong_type"])),
            (json!({"note": 1}), wrong(&["/decision required", "/note wrong_type"])),
            (json!({}), wrong(&["/decision required"])),
            (json!([]), wrong(&[" wrong_type"])),
        ] {
            assert_eq!(read(&body), expected, "{body}");
        }
    }
}
