//! The HTTP interface: one table of routes, from which the router, the scopes and the OpenAPI document are made.

mod artifacts;
pub(crate) mod auth;
mod deliveries;
mod error;
mod events;
mod metrics;
mod missions;
mod node;
mod openapi;
mod plugins;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::BytesRejection;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, get, on};
use sortie_contract::MissionNo;

use crate::config::Scope;
use crate::engine::{Engine, ReadError};
use auth::Tokens;
use error::Problem;

/// What every handler works with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) engine: Arc<Engine>,
    pub(crate) body_bytes: usize,
}

impl App {
    /// Reads from the journal, off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Problem> {
        let engine = Arc::clone(&self.engine);
        let joined = tokio::task::spawn_blocking(move || read(&engine)).await;
        joined.map_err(|error| Problem::internal(&error))?.map_err(Problem::from)
    }

    /// The number of the mission of that id.
    async fn mission(&self, id: String) -> Result<MissionNo, Problem> {
        let named = sortie_contract::limit::clip(&id, 80);
        let found = self.blocking(move |engine| engine.find(&id)).await?;
        found.ok_or_else(|| Problem::not_found(&format!("mission `{named}`")))
    }
}

/// One row of the interface.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// `None` is open to everybody.
    pub(crate) scope: Option<Scope>,
    pub(crate) summary: &'static str,
    handler: MethodRouter<App>,
}

fn route<H, T>(method: Method, path: &'static str, scope: Scope, summary: &'static str, handler: H) -> Route
where
    H: axum::handler::Handler<T, App>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).expect("an ordinary method");
    Route { method, path, scope: Some(scope), summary, handler: on(filter, handler) }
}

/// The whole interface.
pub(crate) fn routes() -> Vec<Route> {
    use Scope::{Admin, Dispatch, Operate, Read};
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const DELETE: Method = Method::DELETE;
    let open = |path, summary, handler| Route { method: GET, path, scope: None, summary, handler };
    vec![
        route(POST, "/v1/missions", Dispatch, "Dispatch a mission", missions::dispatch),
        route(POST, "/v1/missions/batch", Dispatch, "Dispatch many: NDJSON in, NDJSON out", missions::batch),
        route(GET, "/v1/missions", Read, "Missions, newest first", missions::list),
        route(GET, "/v1/missions/{id}", Read, "The state of a mission", missions::show),
        route(GET, "/v1/missions/{id}/events", Read, "Its events; streamed as text/event-stream", events::of_mission),
        route(GET, "/v1/missions/{id}/journal", Read, "Every record of it", missions::journal),
        route(GET, "/v1/missions/{id}/artifacts", Read, "Its artifacts", artifacts::index),
        route(GET, "/v1/missions/{id}/artifacts/{*name}", Read, "An artifact's bytes", artifacts::bytes),
        route(POST, "/v1/missions/{id}/cancel", Operate, "Cancel it", missions::cancel),
        route(GET, "/v1/events", Read, "Events of the whole node; streamed as text/event-stream", events::of_node),
        route(GET, "/v1/plugins", Read, "Installed plugins", plugins::list),
        route(POST, "/v1/plugins", Admin, "Install a plugin: the component is the body", plugins::install),
        route(GET, "/v1/plugins/{name}", Read, "A plugin's versions", plugins::show),
        route(DELETE, "/v1/plugins/{name}", Admin, "Remove a plugin", plugins::remove),
        route(GET, "/v1/tools", Read, "Tools, with schema and effect classes", node::tools),
        route(POST, "/v1/tools/{name}/call", Admin, "Call a tool by hand, in a workspace for that", node::call_tool),
        route(GET, "/v1/sessions", Read, "VP sessions", node::sessions),
        route(GET, "/v1/node", Read, "Identity, capacity, limits", node::show),
        route(POST, "/v1/node/pause", Operate, "Stop starting missions", node::pause),
        route(POST, "/v1/node/resume", Operate, "Start missions again", node::resume),
        route(POST, "/v1/node/halt", Operate, "Cancel everything", node::halt),
        route(GET, "/v1/deliveries", Read, "Callbacks that are on their way or parked", deliveries::list),
        route(POST, "/v1/deliveries/{id}/redeliver", Operate, "Try a parked delivery again", deliveries::redeliver),
        route(POST, "/v1/deliveries/{id}/skip", Operate, "Give a parked delivery up", deliveries::skip),
        route(GET, "/metrics", Read, "Prometheus metrics", metrics::metrics),
        route(GET, "/openapi.json", Read, "This interface", openapi::document),
        route(GET, "/schemas/envelope.json", Read, "JSON Schema of the envelope", openapi::envelope),
        route(GET, "/schemas/event.json", Read, "JSON Schema of an event", openapi::event),
        open("/healthz", "Alive", get(node::healthz)),
        open("/readyz", "Ready for missions", get(node::readyz)),
    ]
}

/// The router of a node.
pub(crate) fn router(app: App, tokens: &Tokens) -> Router {
    let limit = app.body_bytes;
    let mut router = Router::new();
    for Route { path, scope, handler, .. } in routes() {
        let handler = match scope {
            None => handler,
            Some(scope) => {
                handler.route_layer(axum::middleware::from_fn_with_state((tokens.clone(), scope), auth::guard))
            }
        };
        let handler = if path == "/v1/plugins" {
            handler.layer(DefaultBodyLimit::max(plugins::COMPONENT_BYTES_MAX))
        } else {
            handler
        };
        router = router.route(path, handler);
    }
    let later = |what: &'static str| axum::routing::any(move || async move { Problem::not_available(what) });
    router
        .route("/v1/requests", later("Answering requests"))
        .route("/v1/missions/{id}/requests/{request}", later("Answering requests"))
        .route("/v1/schedules", later("Scheduling missions"))
        .route("/v1/schedules/{*rest}", later("Scheduling missions"))
        .route("/", later("The dashboard"))
        .fallback(async || Problem::not_found("such path; /openapi.json lists those that there are"))
        .method_not_allowed_fallback(async || {
            let detail = "this path has no such method; /openapi.json lists those that there are";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        })
        .layer(DefaultBodyLimit::max(limit))
        .with_state(app)
}

/// A body, or the problem that says why there is none.
pub(crate) struct Body(pub(crate) axum::body::Bytes);

impl axum::extract::FromRequest<App> for Body {
    type Rejection = Problem;

    async fn from_request(request: axum::extract::Request, app: &App) -> Result<Self, Problem> {
        match axum::body::Bytes::from_request(request, app).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(BytesRejection::FailedToBufferBody(error)) if error_is_length(&error) => {
                Err(missions::too_large(app.body_bytes))
            }
            Err(error) => Err(Problem::bad_request(error.body_text())),
        }
    }
}

fn error_is_length(error: &axum::extract::rejection::FailedToBufferBody) -> bool {
    matches!(error, axum::extract::rejection::FailedToBufferBody::LengthLimitError(_))
}

/// How long connections may take to end after the last answer.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves until `shutdown` resolves, then lets requests in flight finish.
pub(crate) async fn serve(
    listener: tokio::net::TcpListener,
    router: Router,
    engine: Arc<Engine>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    use axum::serve::ListenerExt as _;
    let listener = listener.tap_io(|stream| {
        // Answers are small and waited for; a socket that refuses the option works without it.
        let _ = stream.set_nodelay(true);
    });
    let (told, drained) = tokio::sync::oneshot::channel();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        shutdown.await;
        engine.stopping.store(true, Ordering::Release);
        // Watchers' streams would never end by themselves.
        engine.goodbye.notify_waiters();
        let _ = told.send(());
    });
    tokio::select! {
        served = server.into_future() => served,
        () = async { let _ = drained.await; tokio::time::sleep(DRAIN).await } => Ok(()),
    }
}

/// What the node says of a dispatch that was not taken.
pub(crate) fn problem_of(error: crate::engine::intake::DispatchError) -> serde_json::Value {
    Problem::from(error).body()
}

/// A response of plain JSON text.
fn json_text(text: String) -> Response {
    use axum::response::IntoResponse as _;
    ([(axum::http::header::CONTENT_TYPE, "application/json")], text).into_response()
}
