//! `/v1/missions/{id}/fork`: from where a mission can be forked, and a mission that goes on from there.

use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sortie_contract::envelope::in_one_line;
use sortie_contract::id::IdempotencyKey;
use sortie_contract::mistake::code;
use sortie_contract::{MissionId, Status};
use sortie_engine::fork::{ForkError, ForkOrder, Forkable, Forked, Point};
use sortie_engine::shown::{BudgetView, ForkedView, Links};

use super::auth::Holder;
use super::error::Problem;
use super::form::{form_but, unusable};
use super::query::Query;
use super::schedules::may_dispatch;
use super::{App, Body};

/// What is to be forked, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fork {
    /// Up to and with this call the record is taken over; 0: nothing of it, the fork begins anew. `failure`: up to the first of the calls
    /// that the mission failed of, which is made again; where none failed, as `last`. `last`: up to the last call that can be gone on from.
    #[serde(deserialize_with = "point")]
    #[schemars(with = "At")]
    at: Point,
    /// Other inputs than the mission's.
    #[serde(default)]
    inputs: Option<Map<String, Value>>,
    /// Another plugin, or another version of it: `name` or `name@version`. Without it the fork runs on the one that the mission ran on.
    #[serde(default)]
    plugin: Option<String>,
    /// What is in its workspace: a copy of the mission's, as that is now, or nothing.
    #[serde(default)]
    workspace: Begins,
    /// The same key again is the same fork; without one, each request makes another.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1024))]
    idempotency_key: Option<String>,
}

/// The form of a point.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it is a form, and read by `point`")]
enum At {
    Call(u32),
    Found(Found),
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, reason = "it is a form, and read by `point`")]
enum Found {
    Failure,
    Last,
}

/// A number, or a word.
fn point<'de, D: Deserializer<'de>>(source: D) -> Result<Point, D::Error> {
    let wrong = |said: &Value| {
        de::Error::custom(format!("`at` is the number of a call, `failure` or `last`, and not `{said}`"))
    };
    match Value::deserialize(source)? {
        Value::String(word) => {
            let point = word.parse().ok().filter(|point| !matches!(point, Point::Call(_)));
            point.ok_or_else(|| wrong(&Value::String(word)))
        }
        said => {
            let at = said.as_u64().and_then(|at| u32::try_from(at).ok());
            at.map(Point::Call).ok_or_else(|| wrong(&said))
        }
    }
}

/// As of which record.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ForkQuery {
    /// The number of one of its records, from 1; without it the last.
    record: Option<u64>,
}

/// From where a mission can be forked, and what a fork of it would begin with.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Forkable", deny_unknown_fields)]
pub(super) struct ForkableView {
    mission_id: String,
    /// The plugin that it ran on, as `NAME@VERSION`: on which a fork runs, where no other is named.
    plugin: String,
    /// So many calls it has made.
    calls: u32,
    /// Up to and with this call a fork can take over what was on record as of the record that was named.
    at: u32,
    /// The last call that a fork can go on from: what `last` comes to now.
    last: u32,
    /// The call before the first that it failed of: what `failure` comes to now; null where no call failed.
    failure: Option<u32>,
    /// Its inputs, with the numbers that are written there.
    #[schemars(with = "Map<String, Value>")]
    inputs: Box<RawValue>,
}

/// `GET /v1/missions/{id}/fork`
pub(super) async fn forkable(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(ForkQuery { record }): Query<ForkQuery>,
) -> Result<Response, Problem> {
    let no = app.mission(id.clone()).await?;
    let record = record.map(|record| u32::try_from(record).unwrap_or(u32::MAX));
    app.shown(move |engine| {
        let Forkable { calls, at, last, failure, inputs, plugin } = engine.forkable(no, record)?;
        Ok(ForkableView { mission_id: id, plugin, calls, at, last, failure, inputs })
    })
    .await
}

/// What a workspace begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Begins {
    /// What is in that of the mission's session now.
    #[default]
    Copy,
    /// Nothing.
    Empty,
}

/// A fork that was taken.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Forked", deny_unknown_fields)]
pub(super) struct ForkAnswer {
    mission_id: String,
    vp_id: String,
    vp_session_id: String,
    vp_runtime_id: String,
    status: Status,
    effective_budget: BudgetView,
    forked_from: ForkedView,
    /// What people should know of it: what it has not of its mission, and where its plugin leaves the record.
    warnings: Vec<String>,
    links: Links,
}

/// `POST /v1/missions/{id}/fork`
pub(super) async fn fork(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
    Path(id): Path<String>,
    Body(body): Body,
) -> Result<Response, Problem> {
    // It is a mission of the caller's making.
    may_dispatch(&holder)?;
    // Inputs are handed on as they were written.
    let fork = form_but(&body, |mistake| mistake.code == code::NOT_EXACT && mistake.pointer.is_within("/inputs"))?;
    let Fork { at, inputs, plugin, workspace, idempotency_key } = fork;
    let no = app.mission(id.clone()).await?;
    let key = idempotency_key.unwrap_or_else(crate::blanks::unique);
    let key = IdempotencyKey::new(key)
        .map_err(|error| unusable("idempotency_key", "invalid", &format!("`idempotency_key` {error}")))?;
    let plugin = plugin.map(|plugin| plugin.parse()).transpose();
    let plugin = plugin.map_err(|error| unusable("plugin", code::INVALID_PLUGIN, &format!("`plugin`: {error}")))?;
    let order = ForkOrder {
        of: MissionId::new(id).map_err(|_| Problem::not_found("such mission"))?,
        at,
        inputs: inputs.map(|inputs| written(&body).unwrap_or_else(|| Value::Object(inputs).to_string())),
        plugin,
        copies: workspace == Begins::Copy,
        key: key.to_string(),
    };
    let forked = app.to_the_end(move |engine| async move { engine.fork(no, order).await }).await??;
    let is_new = !forked.dispatched.replayed;
    let status = if is_new { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut response = (status, Json(ForkAnswer::of(&forked))).into_response();
    if !is_new {
        response.headers_mut().insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The inputs in a body with the numbers that stand there: values have the next doubles. None where none are read.
fn written(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Written<'a> {
        #[serde(borrow)]
        inputs: Option<&'a RawValue>,
    }
    let Written { inputs } = serde_json::from_slice(body).ok()?;
    in_one_line(inputs?.get()).map(|inputs| inputs.get().to_owned())
}

impl ForkAnswer {
    fn of(Forked { dispatched, from }: &Forked) -> Self {
        let reply = &dispatched.reply;
        Self {
            mission_id: reply.mission_id.to_string(),
            vp_id: reply.vp_id.to_string(),
            vp_session_id: reply.session.to_string(),
            vp_runtime_id: reply.lane.to_string(),
            status: reply.status,
            effective_budget: BudgetView::from(&reply.budget),
            forked_from: ForkedView::from(from),
            warnings: reply.warnings.clone(),
            links: Links::of(reply.mission_id.as_str()),
        }
    }
}

impl From<ForkError> for Problem {
    fn from(error: ForkError) -> Self {
        let detail = error.to_string();
        match error {
            ForkError::No(_) | ForkError::TooLarge { .. } | ForkError::Unrunnable(_) | ForkError::Workspace(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "fork_refused", detail)
            }
            ForkError::Conflict { mission_id } => {
                Self::new(StatusCode::CONFLICT, "idempotency_conflict", detail).with("mission_id", json!(mission_id))
            }
            ForkError::Invalid(mistakes) => sortie_engine::intake::DispatchError::Invalid(mistakes).into(),
            ForkError::Dispatch(error) => error.into(),
            ForkError::Read(error) => error.into(),
        }
    }
}
