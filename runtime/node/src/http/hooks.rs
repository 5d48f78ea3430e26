//! Hooks over HTTP: a delivery from outside becomes a mission; how the hooks are; what a delivery would come to.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sortie_contract::{Mistake, Pointer, Timestamp};
use sortie_engine::fleet::Member;
use sortie_engine::intake::DispatchError;
use sortie_hook::{Delivery, Made, Refused, Sender};

use super::error::Problem;
use super::forward::Asked;
use super::query::NoParameters;
use super::tries::Tries;
use super::{App, Body, missions};
use crate::hooks::{Kept, Outcome};

/// What a delivery came to.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Delivered {
    /// `accepted`, `replayed` where it was sent before, `not_meant` where the hook's `when` is not true of it.
    outcome: Outcome,
    /// The mission that it is.
    mission_id: Option<String>,
}

/// `POST /v1/hooks/{name}`
pub(super) async fn deliver(
    State(app): State<App>,
    Path(name): Path<String>,
    asked: Asked,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    let kept = found(&app, &name)?;
    let at = app.engine.ambient().wall();
    let delivery = Delivery { headers: &headers, body: &body, at };
    let delivered = match kept.hook.sender(delivery).await {
        Ok(sender) => {
            let mut tries = Tries::default();
            loop {
                match delivered(&app, kept, &sender, delivery, asked.is_forwarded()).await {
                    // Its sender signed it for this hook, which the other node has, too.
                    Ok(Ended::Elsewhere(member)) => {
                        if let Some(answer) = tries.send(&app, &asked, &member, body.clone()).await {
                            return answer;
                        }
                    }
                    Ok(Ended::Here(delivered)) => break Ok(delivered),
                    Err(problem) => break Err(problem),
                }
            }
        }
        Err(Refused::Unsigned(why)) => {
            kept.came_unsigned(at, &why);
            return Err(Refused::Unsigned(why).into());
        }
        Err(refused) => Err(refused.into()),
    };
    match &delivered {
        Ok(Delivered { outcome, mission_id }) => kept.came(at, *outcome, mission_id.as_deref(), None),
        Err(problem) => {
            let body = problem.body();
            tracing::warn!(hook = name, code = %body["code"], detail = %body["detail"], "a delivery to a hook was refused");
            kept.came(at, Outcome::Refused, None, body["detail"].as_str().map(str::to_owned));
        }
    }
    let delivered = delivered?;
    let status = if delivered.outcome == Outcome::Accepted { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(delivered)).into_response())
}

/// Where a delivery comes to something.
enum Ended {
    Here(Delivered),
    Elsewhere(Box<Member>),
}

async fn delivered(
    app: &App,
    kept: &Kept,
    sender: &Sender,
    delivery: Delivery<'_>,
    is_forwarded: bool,
) -> Result<Ended, Problem> {
    let replayed = |mission_id| Ended::Here(Delivered { outcome: Outcome::Replayed, mission_id: Some(mission_id) });
    let mission_id = kept.hook.mission_id(sender);
    let id = mission_id.clone();
    let known = app.blocking(move |engine| match engine.find(&id)? {
        Some(no) => engine.show(no).map(|mission| Some(mission.idempotency_key)),
        None => Ok(None),
    });
    match known.await? {
        Some(key) if kept.hook.is_made_by(sender, &mission_id, &key) => return Ok(replayed(mission_id)),
        Some(_) => return Err(DispatchError::MissionIdConflict.into()),
        None => {}
    }
    let (mission_id, envelope) = match kept.hook.envelope(sender, delivery, &app.called.instance_id)? {
        Made::NotMeant => return Ok(Ended::Here(Delivered { outcome: Outcome::NotMeant, mission_id: None })),
        Made::Mission { mission_id, envelope } => (mission_id, envelope),
    };
    match missions::taken(&app.engine, "hook", Value::Object(envelope).to_string(), is_forwarded).await {
        Ok(dispatched) if !dispatched.replayed => {}
        // The other of two at once was faster.
        Ok(_) => return Ok(replayed(mission_id)),
        Err(DispatchError::IdempotencyConflict { mission_id: of, .. })
            if kept.hook.is_made_by(sender, of.as_str(), &mission_id) =>
        {
            return Ok(replayed(mission_id));
        }
        Err(DispatchError::Elsewhere(member)) => return Ok(Ended::Elsewhere(member)),
        Err(error) => return Err(error.into()),
    }
    Ok(Ended::Here(Delivered { outcome: Outcome::Accepted, mission_id: Some(mission_id) }))
}

/// The hooks of a node.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct HooksView {
    /// Those of the configuration, in its order.
    items: Vec<HookView>,
    /// Always null: all of them are on this page.
    next_cursor: Option<String>,
}

/// A hook: where services outside deliver what happened.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct HookView {
    /// What the configuration calls it.
    name: String,
    /// Where it is delivered to.
    path: String,
    /// How its sender signs: `standard`, `github`, `hex:HEADER`.
    signature: String,
    /// How many deliveries became missions since the node started.
    accepted: u64,
    /// How many had been sent before.
    replayed: u64,
    /// Of how many its `when` was not true.
    not_meant: u64,
    /// How many were refused, though they were signed.
    refused: u64,
    /// How many were not signed as they must be: anybody can send such.
    unsigned: u64,
    /// What came of the last one that was signed; null before it.
    last: Option<LastView>,
}

/// What came of a delivery.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct LastView {
    /// When it came.
    #[schemars(with = "String", extend("format" = "date-time"))]
    at: Timestamp,
    /// What it came to.
    outcome: Outcome,
    /// The mission that it is.
    mission_id: Option<String>,
    /// Why it was refused.
    error: Option<String>,
}

impl From<&Kept> for HookView {
    fn from(kept: &Kept) -> Self {
        let (hook, tally) = (&kept.hook, kept.tally());
        Self {
            name: hook.name().to_owned(),
            path: format!("/v1/hooks/{}", hook.name()),
            signature: hook.scheme().to_string(),
            accepted: tally.accepted,
            replayed: tally.replayed,
            not_meant: tally.not_meant,
            refused: tally.refused,
            unsigned: tally.unsigned,
            last: tally.last.map(|last| LastView {
                at: last.at,
                outcome: last.outcome,
                mission_id: last.mission_id,
                error: last.error,
            }),
        }
    }
}

/// `GET /v1/hooks`
pub(super) async fn list(State(app): State<App>, _: NoParameters) -> Json<HooksView> {
    Json(HooksView { items: app.hooks.iter().map(HookView::from).collect(), next_cursor: None })
}

/// A delivery to try a hook with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Trial {
    /// What would be its body.
    body: Value,
    /// What would be its headers, but for the signature.
    #[serde(default)]
    headers: Map<String, Value>,
}

/// What a delivery would come to.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Tried {
    /// Whether it would be a mission: `when` is true of it.
    is_meant: bool,
    /// The envelope that would be dispatched; null where it is not meant.
    envelope: Option<Map<String, Value>>,
}

/// `POST /v1/hooks/{name}/try`
pub(super) async fn trial(
    State(app): State<App>,
    Path(name): Path<String>,
    _: NoParameters,
    Body(body): Body,
) -> Result<Json<Tried>, Problem> {
    let kept = found(&app, &name)?;
    let trial: Trial = super::form::form(&body)?;
    let headers = headers_of(&trial.headers)?;
    let body = Bytes::from(trial.body.to_string());
    let delivery = Delivery { headers: &headers, body: &body, at: app.engine.ambient().wall() };
    Ok(Json(match kept.hook.envelope(&Sender::trying(), delivery, &app.called.instance_id)? {
        Made::NotMeant => Tried { is_meant: false, envelope: None },
        Made::Mission { envelope, .. } => Tried { is_meant: true, envelope: Some(envelope) },
    }))
}

fn headers_of(named: &Map<String, Value>) -> Result<HeaderMap, Problem> {
    let mut headers = HeaderMap::new();
    for (name, value) in named {
        let pair =
            HeaderName::try_from(name).ok().zip(value.as_str().and_then(|value| HeaderValue::from_str(value).ok()));
        let Some((name, value)) = pair else {
            let at = Pointer::root().join("headers").join(name);
            let mistake = Mistake::new(at, "invalid_action", "must be the name of a header and its text");
            return Err(unprocessable("invalid_action", "the delivery cannot be tried; see `errors`", &[mistake]));
        };
        headers.insert(name, value);
    }
    Ok(headers)
}

fn found<'a>(app: &'a App, name: &str) -> Result<&'a Kept, Problem> {
    let named = sortie_contract::limit::clip(name, 80);
    app.hooks
        .find(name)
        .ok_or_else(|| Problem::not_found(&format!("hook `{named}`; `[[hook]]` has those that there are")))
}

fn unprocessable(code: &'static str, detail: &str, mistakes: &[Mistake]) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail).with("errors", json!(mistakes))
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let told = refused.to_string();
        match refused {
            Refused::NoSecret(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, code = "hook_unusable", "{told}");
                Self::unavailable("hook_unusable", "the node cannot read the secret of this hook; its log says why")
            }
            Refused::Unsigned(why) => Self::new(StatusCode::FORBIDDEN, "invalid_signature", why),
            Refused::NotJson(why) => {
                let mistake = Mistake::new(Pointer::root(), "not_json", why.as_str());
                Self::new(StatusCode::BAD_REQUEST, "not_json", why).with("errors", json!([mistake]))
            }
            Refused::Unfit { mistakes, .. } => {
                // Where these are is a place in `[[hook]]`.
                let told = match mistakes.as_slice() {
                    [only] => format!("{told}: {}: {}", only.pointer, only.detail),
                    _ => format!("{told}; see `errors`"),
                };
                unprocessable("hook_unfit", &told, &mistakes)
            }
        }
    }
}
