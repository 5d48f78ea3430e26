//! `POST /v1/missions/{id}/fork`: a mission that goes on from a call of another one.

use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sortie_contract::id::IdempotencyKey;
use sortie_contract::mistake::code;
use sortie_contract::{MissionId, Status};
use sortie_engine::fork::{ForkError, ForkOrder, Forked};
use sortie_engine::shown::{BudgetView, ForkedView, Links};

use super::auth::Holder;
use super::error::Problem;
use super::form::{form, unusable};
use super::schedules::may_dispatch;
use super::{App, Body};

/// What is to be forked, and how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fork {
    /// Up to and with this call the record is taken over; 0: nothing of it, the fork begins anew.
    at: u32,
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
    let Fork { at, inputs, plugin, workspace, idempotency_key } = form(&body)?;
    let no = app.mission(id.clone()).await?;
    let key = idempotency_key.unwrap_or_else(crate::blanks::unique);
    let key = IdempotencyKey::new(key)
        .map_err(|error| unusable("idempotency_key", "invalid", &format!("`idempotency_key` {error}")))?;
    let plugin = plugin.map(|plugin| plugin.parse()).transpose();
    let plugin = plugin.map_err(|error| unusable("plugin", code::INVALID_PLUGIN, &format!("`plugin`: {error}")))?;
    let order = ForkOrder {
        of: MissionId::new(id).map_err(|_| Problem::not_found("such mission"))?,
        at,
        inputs: inputs.map(|inputs| Value::Object(inputs).to_string()),
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
