//! The node itself over HTTP: identity and capacity, tools, sessions, pause and halt, health.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde_json::json;
use sortie_contract::tool::CallError;
use sortie_contract::{LaneId, MicroUsd, SessionId, VpId};

use super::auth::Holder;
use super::error::Problem;
use super::query::{Cursor, NoParameters, PageQuery, PageSize, Query};
use super::{App, Body};
use crate::config::Scope;
use sortie_engine::shown::{
    ConnectionsView, DiskView, Either, Halted, Health, LaneView, LimitsView, NodeState, NodeView, Paused, ProviderView,
    ToolsView, minutes,
};
use sortie_engine::{Engine, Turns};

/// `GET /v1/node`
pub(super) async fn show(State(app): State<App>, _: NoParameters) -> Json<NodeView> {
    Json(view(&app))
}

fn view(app: &App) -> NodeView {
    let engine = &app.engine;
    let Turns { queued, running, paused } = engine.turns();
    let (places, disk, rules) = (app.places.taken(), app.artifacts.shared_room().disk(), engine.rules());
    let lane = |(id, concurrency): &(LaneId, usize)| LaneView { id: id.to_string(), concurrency: *concurrency };
    NodeView {
        instance_id: rules.instance_id.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        zone_data: sortie_schedule::zone_data().to_owned(),
        state: match paused {
            _ if engine.is_stopping() => NodeState::Stopping,
            true => NodeState::Paused,
            false => NodeState::Serving,
        },
        lanes: engine.lanes().iter().map(lane).collect(),
        max_running: engine.max_running(),
        queued,
        running,
        suspended: engine.suspended(),
        blocked: engine.blocked(),
        quarantined: engine.quarantined(),
        not_shared: engine.not_shared(),
        providers: engine.providers().into_iter().map(ProviderView::from).collect(),
        last_backup: app.backups.last(),
        dialects: app.dialects.views(),
        restored: app.restored.as_deref().filter(|_| engine.holds_back()).cloned(),
        disk: DiskView {
            free_mib: disk.free_bytes() >> 20,
            reserve_mib: disk.reserve_bytes >> 20,
            warn_mib: disk.warn_bytes >> 20,
            scarce: disk.is_scarce(),
            low: disk.is_low(),
            files_mib: app.artifacts.shared_room().bytes() >> 20,
        },
        space: app.space.seen(),
        connections: ConnectionsView {
            places: app.places.most,
            open: places.open,
            strangers: places.strangers,
            displaced: places.displaced,
            refused: places.refused,
        },
        limits: LimitsView {
            body_bytes: app.body_bytes,
            max_runtime_minutes: minutes(rules.ceilings.runtime_ms),
            // Null is no ceiling. In an envelope 0 is no limit; here it would be read as one.
            max_llm_calls: rules.ceilings.llm_calls,
            max_cost_usd: rules.ceilings.cost.map(MicroUsd::as_usd),
        },
    }
}

/// `GET /v1/tools`
pub(super) async fn tools(State(app): State<App>, _: NoParameters) -> Json<ToolsView> {
    Json(ToolsView::of(&app.engine.toolbox(), app.engine.providers()))
}

/// The session whose workspace calls by hand see: an operator's, never a mission's.
const BY_HAND: &str = "operator";

/// `POST /v1/tools/{name}/call`
pub(super) async fn call_tool(
    State(app): State<App>,
    Path(name): Path<String>,
    Body(body): Body,
) -> Result<Response, Problem> {
    let tools = app.engine.toolbox();
    if tools.info(&name).is_none() {
        return Err(Problem::not_found(&format!("tool `{}`", sortie_contract::limit::clip(&name, 80))));
    }
    let arguments = std::str::from_utf8(&body).map_err(|_| Problem::bad_request("the arguments must be JSON"))?;
    let (vp, session) = (VpId::new(BY_HAND).expect("valid"), SessionId::new(BY_HAND).expect("valid"));
    let workspace = app.engine.workspace(&vp, &session).await.map_err(|error| Problem::internal(&error))?;
    let context = sortie_tools::CallContext {
        workspace,
        mission_id: BY_HAND.to_owned(),
        idempotency_key: format!("{BY_HAND}/{}", app.engine.ambient().wall()),
        run: sortie_contract::id::RunNo(1),
        trace_id: String::new(),
        bill: sortie_tools::Bill::default(),
        ask: std::sync::Arc::new(sortie_tools::Nobody),
    };
    let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
    let sleep = |limit| app.engine.ambient().sleep(limit);
    let quote = tools.quote(&name, arguments, None);
    let answer = tools.call(&name, &context, arguments, None, sleep).await;
    // No mission pays for it; it is counted all the same.
    let spent = tools.settled(&name, &context.bill).unwrap_or(quote);
    if let Some(info) = tools.info(&name) {
        app.engine.spending().spent(&info.name, spent);
    }
    match answer {
        Ok(answer) => Ok(super::json_text(answer.result)),
        Err(error) => {
            let status = match error {
                // What was asked for is not to be had: another question may get an answer.
                CallError::InvalidArguments(_) | CallError::Denied(_) | CallError::Failed(_) => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
                CallError::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
                CallError::BudgetExhausted(_) | CallError::Cancelled | CallError::Uncertain(_) => {
                    StatusCode::BAD_GATEWAY
                }
            };
            Err(Problem::new(status, "tool_failed", error.to_string()).with("error", json!(error.code())))
        }
    }
}

/// Sessions of a page, unless the client asks for another number.
const PAGE: usize = 100;

/// `GET /v1/sessions`
pub(super) async fn sessions(State(app): State<App>, Query(query): Query<PageQuery>) -> Result<Response, Problem> {
    let (before, size) = (query.cursor.map(|Cursor(no)| no), query.limit.map_or(PAGE, |PageSize(size)| size));
    app.shown(move |engine| engine.sessions(before, size)).await
}

/// `POST /v1/node/pause`
pub(super) async fn pause(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
) -> Result<Json<Either<NodeView, Paused>>, Problem> {
    paused(app, &holder, true).await
}

/// `POST /v1/node/resume`
pub(super) async fn resume(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
) -> Result<Json<Either<NodeView, Paused>>, Problem> {
    paused(app, &holder, false).await
}

async fn paused(app: App, holder: &Holder, paused: bool) -> Result<Json<Either<NodeView, Paused>>, Problem> {
    app.to_the_end(move |engine| async move { engine.pause(paused).await }).await??;
    let node = view(&app);
    Ok(Json(if holder.may(Scope::Read) { Either::Whole(node) } else { Either::Part(Paused { state: node.state }) }))
}

/// `POST /v1/node/halt`
pub(super) async fn halt(State(app): State<App>) -> Result<Response, Problem> {
    let halted = app.to_the_end(|engine| async move { engine.halt().await }).await??;
    Ok((StatusCode::ACCEPTED, Json(Halted { halted })).into_response())
}

/// `GET /healthz`: the process answers.
pub(super) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// `GET /readyz`: the node takes missions.
pub(super) async fn readyz(State(app): State<App>) -> Response {
    ready(&app.engine)
}

/// What a node says that was restored from a backup.
const HELD: &str = "held: restored from a backup; it starts, delivers and fires nothing until POST /v1/node/resume (`sortie node resume`)";

fn ready(engine: &Engine) -> Response {
    if let Some(task) = engine.dead_task() {
        let detail = format!("the background task `{task}` has died; the node stops, and its next start recovers");
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "task_died", detail).into_response();
    }
    if engine.is_stopping() || engine.log().poisoned().is_some() {
        let detail = "the node is stopping";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail).into_response();
    }
    if engine.log().is_away() {
        return super::away::problem().into_response();
    }
    Json(Health { status: if engine.holds_back() { HELD } else { "ready" } }).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::time::Duration;

    use sortie_ambient::{Abort, Ambient, BoxFuture, System};
    use sortie_contract::Timestamp;
    use sortie_engine::recover::Others;

    use super::*;
    use crate::config::Config;
    use crate::node::{Node, ServeError};

    /// The real thing, until it breaks: whoever wants to sleep next panics.
    struct Mortal {
        system: System,
        broken: AtomicBool,
    }

    impl Ambient for Mortal {
        fn wall(&self) -> Timestamp {
            self.system.wall()
        }

        fn steady(&self) -> Duration {
            self.system.steady()
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            assert!(!self.broken.swap(false, Relaxed), "on purpose");
            self.system.sleep(duration)
        }

        fn spawn_boxed(&self, task: BoxFuture<'static, ()>) -> Abort {
            self.system.spawn_boxed(task)
        }

        fn unblock_boxed(&self, work: Box<dyn FnOnce() + Send>) {
            self.system.unblock_boxed(work);
        }

        fn pause(&self, duration: Duration) {
            self.system.pause(duration);
        }

        fn chance(&self) -> f64 {
            self.system.chance()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_of_which_a_background_task_dies_says_so_and_stops() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut config = Config::default();
        config.node.data_dir = Some(dir.path().join("data"));
        let system = System::new(tokio::runtime::Handle::current());
        let mortal = Arc::new(Mortal { system, broken: AtomicBool::new(false) });
        let node = Node::open(&config, Arc::<Mortal>::clone(&mortal), Others::GoOn).await.expect("it opens");
        node.start();
        let engine = Arc::clone(&node.engine);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        mortal.broken.store(true, Relaxed);
        let served = node.serve(listener, std::future::pending()).await;
        let Err(ServeError::Task(task)) = served else { panic!("it ends as {served:?}") };
        let ready = ready(&engine);
        assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
        let body = axum::body::to_bytes(ready.into_body(), 4_096).await.expect("a short answer");
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains("task_died") && body.contains(task), "{body}");
    }
}
