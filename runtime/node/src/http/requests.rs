//! What missions ask of people, and people's answers.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use sortie_contract::request::{Decision, Reach, RequestNo};
use sortie_contract::{MicroUsd, MissionNo, Mistake, Pointer, limit};

use super::auth::Holder;
use super::error::Problem;
use super::missions::{bad_parameter, page_size, parameters, unknown_parameter};
use super::{App, Body};
use sortie_engine::Engine;
use sortie_engine::act::ActError;
use sortie_engine::shown::Acted;

/// Requests of a page, unless the client asks for another number.
const PAGE: usize = 100;

/// `GET /v1/requests`: those that are open.
pub(super) async fn list(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let (mut before, mut size) = (None, PAGE);
    for (key, value) in parameters(query.as_deref()) {
        match key.as_str() {
            "cursor" => {
                let no = value.parse().map_err(|_| bad_parameter(&key, "the `next_cursor` of a page"))?;
                before = Some(MissionNo(no));
            }
            "limit" => size = page_size(&value)?,
            _ => return Err(unknown_parameter(&key)),
        }
    }
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
#[schemars(rename = "Decision")]
pub(super) struct Form {
    /// `approve`, `deny`, `answer`, `grant`, `repeat` or `record`: which of them depends on the request.
    decision: String,
    #[schemars(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// Who decided; without it, the token's name.
    #[schemars(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// Of an approval: how far it reaches.
    #[schemars(skip_serializing_if = "Option::is_none")]
    r#for: Option<Reach>,
    /// Of a grant: US dollars, or an object with `cost_usd`, `llm_calls` or both.
    #[schemars(skip_serializing_if = "Option::is_none")]
    amount: Option<Value>,
    /// Of an answer.
    #[schemars(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Of a record: what the call returned.
    #[schemars(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
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

/// A decision as it is sent: `{decision, note?, by?, for?, amount?, text?, result?}`.
#[derive(Debug, PartialEq)]
struct Answer {
    decision: Decision,
    by: Option<String>,
    note: String,
}

impl Answer {
    fn parse(body: &Value) -> Result<Self, Vec<Mistake>> {
        let mut reader = Reader { mistakes: Vec::new(), fields: body.as_object() };
        if reader.fields.is_none() {
            reader.complain("", "wrong_type", "it must be a JSON object");
        }
        let known = ["decision", "note", "by", "for", "amount", "text", "result"];
        let unknown: Vec<&String> =
            reader.fields.into_iter().flat_map(Map::keys).filter(|key| !known.contains(&key.as_str())).collect();
        for key in unknown {
            reader.complain(key, "unknown_key", &format!("it is not one of {}", known.join(", ")));
        }
        reader.without_effect();
        let decision = reader.decision();
        let by = reader.text("by").filter(|by| !by.trim().is_empty()).map(|by| limit::clip(&by, limit::ID_BYTES_MAX));
        let note = reader.text("note").unwrap_or_default();
        match decision {
            Some(decision) if reader.mistakes.is_empty() => Ok(Self { decision, by, note }),
            _ => Err(reader.mistakes),
        }
    }
}

struct Reader<'a> {
    mistakes: Vec<Mistake>,
    fields: Option<&'a Map<String, Value>>,
}

impl Reader<'_> {
    fn complain(&mut self, key: &str, code: &'static str, detail: &str) {
        let pointer = if key.is_empty() { Pointer::root() } else { Pointer::root().join(key) };
        self.mistakes.push(Mistake::new(pointer, code, detail));
    }

    fn field(&self, key: &str) -> Option<Value> {
        self.fields?.get(key).filter(|value| !value.is_null()).cloned()
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.field(key)? {
            Value::String(text) => Some(text),
            _ => {
                self.complain(key, "wrong_type", "it must be a text");
                None
            }
        }
    }

    /// Whoever sends an amount with an approval believes that it matters.
    fn without_effect(&mut self) {
        let Some(Value::String(decision)) = self.field("decision") else { return };
        let used = match decision.as_str() {
            "approve" => "for",
            "answer" => "text",
            "grant" => "amount",
            "record" => "result",
            "deny" | "repeat" => "",
            _ => return,
        };
        for key in ["for", "text", "amount", "result"].into_iter().filter(|&key| key != used) {
            if self.field(key).is_some() {
                self.complain(key, "no_effect", &format!("it means nothing beside the decision `{decision}`"));
            }
        }
    }

    fn decision(&mut self) -> Option<Decision> {
        let name = self.text("decision");
        match name.as_deref() {
            Some("approve") => Some(Decision::Approve { reach: self.reach() }),
            Some("deny") => Some(Decision::Deny),
            Some("answer") => {
                let text = self.text("text");
                if text.is_none() {
                    self.complain("text", "required", "say what the answer is");
                }
                text.map(|text| Decision::Answer { text })
            }
            Some("grant") => self.grant(),
            Some("repeat") => Some(Decision::Repeat),
            Some("record") => {
                let result = self.fields.and_then(|fields| fields.get("result")).cloned();
                if result.is_none() {
                    self.complain("result", "required", "say what the call returned, as JSON");
                }
                result.map(|result| Decision::Record { result: result.to_string() })
            }
            Some(_) => {
                self.complain("decision", "invalid", "it must be approve, deny, answer, grant, repeat or record");
                None
            }
            None if self.mistakes.is_empty() => {
                self.complain("decision", "required", "approve, deny, answer, grant, repeat or record");
                None
            }
            None => None,
        }
    }

    fn reach(&mut self) -> Reach {
        match self.text("for").as_deref() {
            None | Some("call") => Reach::Call,
            Some("tool") => Reach::Tool,
            Some("mission") => Reach::Mission,
            Some(_) => {
                self.complain("for", "invalid", "it must be call, tool or mission");
                Reach::Call
            }
        }
    }

    /// `amount` is US dollars, or an object with `cost_usd`, `llm_calls` or both.
    fn grant(&mut self) -> Option<Decision> {
        let amount = self.field("amount");
        let parts = amount.as_ref().and_then(Value::as_object);
        for key in
            parts.into_iter().flat_map(Map::keys).filter(|key| !["cost_usd", "llm_calls"].contains(&key.as_str()))
        {
            let pointer = Pointer::root().join("amount").join(key);
            self.mistakes.push(Mistake::new(pointer, "unknown_key", "it is not one of cost_usd, llm_calls"));
        }
        let (cost, llm_calls) = match &amount {
            Some(Value::Object(parts)) => (parts.get("cost_usd").cloned(), parts.get("llm_calls").cloned()),
            other => (other.clone(), None),
        };
        let cost = match cost {
            None => Some(MicroUsd::ZERO),
            Some(usd) => usd.as_f64().and_then(MicroUsd::from_usd),
        };
        let llm_calls = llm_calls.map_or(Some(0), |calls| calls.as_u64());
        match (cost, llm_calls) {
            (Some(cost), Some(llm_calls)) if cost > MicroUsd::ZERO || llm_calls > 0 => {
                Some(Decision::Grant { llm_calls, cost })
            }
            _ => {
                let detail = "say how much more: US dollars above 0, or {\"cost_usd\": …, \"llm_calls\": …}";
                self.complain("amount", if amount.is_none() { "required" } else { "invalid" }, detail);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(body: &Value) -> Result<Decision, Vec<String>> {
        Answer::parse(body)
            .map(|answer| answer.decision)
            .map_err(|mistakes| mistakes.iter().map(|mistake| mistake.pointer.to_string()).collect())
    }

    #[test]
    fn decisions_are_read_or_named_with_their_place() {
        let approve = |reach| Ok(Decision::Approve { reach });
        let grant = |llm_calls, cost| Ok(Decision::Grant { llm_calls, cost: MicroUsd(cost) });
        let wrong = |pointer: &str| Err(vec![pointer.to_owned()]);
        for (body, expected) in [
            (json!({"decision": "approve"}), approve(Reach::Call)),
            (json!({"decision": "approve", "for": "tool", "note": "fine"}), approve(Reach::Tool)),
            (json!({"decision": "approve", "for": "ever"}), wrong("/for")),
            (json!({"decision": "deny"}), Ok(Decision::Deny)),
            (json!({"decision": "answer", "text": "B"}), Ok(Decision::Answer { text: "B".to_owned() })),
            (json!({"decision": "answer"}), wrong("/text")),
            (json!({"decision": "grant", "amount": 1.5}), grant(0, 1_500_000)),
            (json!({"decision": "grant", "amount": {"llm_calls": 3}}), grant(3, 0)),
            (json!({"decision": "grant", "amount": -1}), wrong("/amount")),
            (json!({"decision": "grant"}), wrong("/amount")),
            (json!({"decision": "grant", "amount": {"cost_usd": 1, "llm_cals": 5}}), wrong("/amount/llm_cals")),
            (json!({"decision": "repeat"}), Ok(Decision::Repeat)),
            (
                json!({"decision": "record", "result": {"a": 1}}),
                Ok(Decision::Record { result: "{\"a\":1}".to_owned() }),
            ),
            (json!({"decision": "record"}), wrong("/result")),
            (json!({"decision": "approve", "amount": 5}), wrong("/amount")),
            (json!({"decision": "approve", "text": "yes"}), wrong("/text")),
            (json!({"decision": "deny", "for": "tool"}), wrong("/for")),
            (json!({"decision": "repeat", "result": 1}), wrong("/result")),
            (json!({"decision": "grant", "amount": 1, "text": null}), grant(0, 1_000_000)),
            (json!({"decision": "maybe"}), wrong("/decision")),
            (json!({}), wrong("/decision")),
            (json!({"decision": "deny", "reson": "x"}), wrong("/reson")),
            (json!([]), wrong("")),
        ] {
            assert_eq!(decision(&body), expected, "{body}");
        }
    }
}
