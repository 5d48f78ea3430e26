//! The node itself over HTTP: identity and capacity, tools, sessions, pause and halt, health.

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};
use sortie_contract::tool::CallError;
use sortie_contract::{MicroUsd, SessionId, VpId};

use super::auth::Holder;
use super::error::Problem;
use super::missions::{page_size, parameters, unknown_parameter};
use super::{App, Body};
use crate::config::Scope;
use crate::engine::shown::minutes;
use crate::workspaces::workspace;

/// `GET /v1/node`
pub(super) async fn show(State(app): State<App>) -> Json<Value> {
    let engine = &app.engine;
    let (queued, running, paused) = {
        let desk = engine.desk.lock();
        (desk.queue.len(), desk.queue.running(), desk.queue.is_paused())
    };
    let places = app.places.taken();
    let rules = &engine.rules;
    let lanes: Vec<Value> = engine.lanes.iter().map(|(id, n)| json!({"id": id, "concurrency": n})).collect();
    Json(json!({
        "instance_id": rules.instance_id,
        "version": env!("CARGO_PKG_VERSION"),
        "state": if engine.is_stopping() { "stopping" } else if paused { "paused" } else { "serving" },
        "lanes": lanes,
        "max_running": engine.max_running,
        "queued": queued,
        "running": running,
        "disk": {
            "free_mib": engine.artifacts.disk.free_bytes() >> 20,
            "reserve_mib": engine.artifacts.disk.reserve_bytes >> 20,
            "low": engine.artifacts.disk.is_low(),
            "artifacts_mib": engine.artifacts.bytes() >> 20,
        },
        "connections": {
            "places": app.places.most,
            "open": places.open,
            "strangers": places.strangers,
            "displaced": places.displaced,
            "refused": places.refused,
        },
        "limits": {
            "body_bytes": app.body_bytes,
            "max_runtime_minutes": minutes(rules.ceilings.runtime_ms),
            // Null is no ceiling. In an envelope 0 is no limit; here it would be read as one.
            "max_llm_calls": rules.ceilings.llm_calls,
            "max_cost_usd": rules.ceilings.cost.map(MicroUsd::as_usd),
        },
    }))
}

/// `GET /v1/tools`
pub(super) async fn tools(State(app): State<App>) -> Json<Value> {
    let items: Vec<Value> = app
        .engine
        .tools
        .infos()
        .iter()
        .map(|tool| {
            json!({
                "name": tool.name,
                "description": tool.description,
                "input_schema": tool.input_schema,
                "effects": tool.effects,
                "read_only": tool.read_only,
                "repeat": tool.repeat(),
            })
        })
        .collect();
    Json(json!({"items": items, "next_cursor": null}))
}

/// The session whose workspace calls by hand see: an operator's, never a mission's.
const BY_HAND: &str = "operator";

/// `POST /v1/tools/{name}/call`
pub(super) async fn call_tool(
    State(app): State<App>,
    Path(name): Path<String>,
    Body(body): Body,
) -> Result<Response, Problem> {
    let tools = &app.engine.tools;
    if tools.info(&name).is_none() {
        return Err(Problem::not_found(&format!("tool `{}`", sortie_contract::limit::clip(&name, 80))));
    }
    let arguments = std::str::from_utf8(&body).map_err(|_| Problem::bad_request("the arguments must be JSON"))?;
    let (vp, session) = (VpId::new(BY_HAND).expect("valid"), SessionId::new(BY_HAND).expect("valid"));
    let folder = workspace(&app.engine.data_dir, &vp, &session);
    let workspace = sortie_tools::Workspace::open(&folder).map_err(|error| Problem::internal(&error))?;
    let context = sortie_tools::CallContext {
        workspace,
        mission_id: BY_HAND.to_owned(),
        idempotency_key: format!("{BY_HAND}/{}", app.engine.clock.wall()),
    };
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    match tools.call(&name, &context, arguments).await {
        Ok(answer) => Ok(super::json_text(answer.result)),
        Err(error) => {
            let status = match error {
                CallError::InvalidArguments(_) => StatusCode::UNPROCESSABLE_ENTITY,
                _ => StatusCode::BAD_GATEWAY,
            };
            Err(Problem::new(status, "tool_failed", error.to_string()).with("error", json!(error.code())))
        }
    }
}

/// Sessions of a page, unless the client asks for another number.
const PAGE: usize = 100;

/// `GET /v1/sessions`
pub(super) async fn sessions(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let (mut after, mut size) = (None, PAGE);
    for (key, value) in parameters(query.as_deref()) {
        match key.as_str() {
            "cursor" => after = Some(value),
            "limit" => size = page_size(&value)?,
            _ => return Err(unknown_parameter(&key)),
        }
    }
    app.shown(move |engine| engine.sessions(after.as_deref(), size)).await
}

/// `POST /v1/node/pause`
pub(super) async fn pause(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
) -> Result<Json<Value>, Problem> {
    paused(app, &holder, true).await
}

/// `POST /v1/node/resume`
pub(super) async fn resume(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
) -> Result<Json<Value>, Problem> {
    paused(app, &holder, false).await
}

async fn paused(app: App, holder: &Holder, paused: bool) -> Result<Json<Value>, Problem> {
    app.to_the_end(move |engine| async move { engine.pause(paused).await }).await??;
    if holder.may(Scope::Read) {
        return Ok(show(State(app)).await);
    }
    Ok(Json(json!({"state": if paused { "paused" } else { "serving" }})))
}

/// `POST /v1/node/halt`
pub(super) async fn halt(State(app): State<App>) -> Result<Response, Problem> {
    let halted = app.to_the_end(|engine| async move { engine.halt().await }).await??;
    Ok((StatusCode::ACCEPTED, Json(json!({"halted": halted}))).into_response())
}

/// `GET /healthz`: the process answers.
pub(super) async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /readyz`: the node takes missions.
pub(super) async fn readyz(State(app): State<App>) -> Response {
    if app.engine.is_stopping() || app.engine.journal.is_poisoned() {
        let detail = "the node is stopping";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail).into_response();
    }
    Json(json!({"status": "ready"})).into_response()
}
