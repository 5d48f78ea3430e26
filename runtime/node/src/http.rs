//! The HTTP interface: one table of routes, from which the router, the scopes and the OpenAPI document are made.

pub(crate) mod answers;
mod artifacts;
pub(crate) mod auth;
mod body;
mod connection;
mod deliveries;
mod error;
mod events;
mod metrics;
mod missions;
mod node;
mod openapi;
mod patient;
pub(crate) mod places;
mod plugins;
mod replay;
pub(crate) mod requests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use sortie_contract::MissionNo;

use crate::config::Scope;
use crate::engine::shown::MissionView;
use crate::engine::{Engine, ReadError};
use answers::Answers;
use auth::{Holder, Tokens};
pub(crate) use body::Body;
use error::Problem;
use places::Places;

/// What every handler works with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) engine: Arc<Engine>,
    pub(crate) body_bytes: usize,
    pub(crate) places: Arc<Places>,
    pub(crate) answers: Answers,
}

impl App {
    /// Reads from the journal, off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Problem> {
        let engine = Arc::clone(&self.engine);
        let joined = tokio::task::spawn_blocking(move || read(&engine)).await;
        joined.map_err(|error| Problem::task_failed(&error))?.map_err(Problem::from)
    }

    /// Does something to its end, even where who asked for it hangs up in the middle: handlers go with their connection.
    async fn to_the_end<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        act: impl FnOnce(Arc<Engine>) -> F,
    ) -> Result<T, Problem> {
        let done = self.engine.tasks.spawn(act(Arc::clone(&self.engine))).await;
        done.map_err(|error| Problem::task_failed(&error))
    }

    /// The state of a mission, for who may see it: what `read` shows is shown to nobody else, whatever else they may do.
    async fn state_for(&self, holder: &Holder, no: MissionNo) -> Result<Option<MissionView>, Problem> {
        if !holder.may(Scope::Read) {
            return Ok(None);
        }
        self.reading(move |engine| engine.show(no)).await.map(Some)
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
        route(GET, "/v1/missions/{id}/plugin", Read, "The component that it runs on", replay::component),
        route(GET, "/v1/missions/{id}/artifacts", Read, "Its artifacts", artifacts::index),
        route(GET, "/v1/missions/{id}/artifacts/{*name}", Read, "An artifact's bytes", artifacts::bytes),
        route(POST, "/v1/missions/{id}/cancel", Operate, "Cancel it", missions::cancel),
        route(GET, "/v1/requests", Read, "What missions ask of people", requests::list),
        route(POST, "/v1/missions/{id}/requests/{request}", Operate, "Decide about a request", requests::decide),
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
fn router(app: App, tokens: &Tokens) -> Router {
    let limit = app.body_bytes;
    let mut router = Router::new();
    for Route { path, scope, handler, .. } in routes() {
        let handler = match scope {
            None => handler,
            Some(scope) => {
                handler.route_layer(axum::middleware::from_fn_with_state((tokens.clone(), scope), auth::guard))
            }
        };
        router = router.route(path, handler);
    }
    let later = |what: &'static str| axum::routing::any(move || async move { Problem::not_available(what) });
    router
        .route("/v1/schedules", later("Scheduling missions"))
        .route("/v1/schedules/{*rest}", later("Scheduling missions"))
        .route("/", later("The dashboard"))
        .fallback(async || Problem::not_found("such path; /openapi.json lists those that there are"))
        .method_not_allowed_fallback(async || {
            let detail = "this path has no such method; /openapi.json lists those that there are";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        })
        // `Body` reads bodies, with its own limits; this one is for what would forget to.
        .layer(DefaultBodyLimit::max(limit))
        .layer(axum::middleware::map_response(as_problem))
        .with_state(app)
}

/// The refusals of axum itself (of a path that is no UTF-8) are plain text; here every error is a problem.
async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    if !(status.is_client_error() || status.is_server_error()) || kind.is_some_and(|kind| kind == error::PROBLEM_JSON) {
        return response;
    }
    // Such a text is a sentence.
    let text = axum::body::to_bytes(response.into_body(), 4_096).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let code = if status.is_client_error() { "bad_request" } else { "internal" };
    let detail = if text.is_empty() { status.canonical_reason().unwrap_or(code) } else { &text };
    Problem::new(status, code, detail).into_response()
}

/// Serves until `shutdown` resolves, then lets requests in flight finish.
pub(crate) async fn serve(
    listener: tokio::net::TcpListener,
    app: App,
    tokens: &Tokens,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = router(app.clone(), tokens);
    let App { engine, places, .. } = app;
    let stop = async move {
        shutdown.await;
        engine.stopping.store(true, Ordering::Release);
        // Watchers' streams would never end by themselves.
        engine.goodbye.notify_waiters();
    };
    connection::serve(listener, router, places, stop).await;
    Ok(())
}

/// What the node says of a dispatch that was not taken.
pub(crate) fn problem_of(error: crate::engine::intake::DispatchError) -> serde_json::Value {
    Problem::from(error).body()
}

/// A response of plain JSON text.
fn json_text(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sortie_contract::id::is_reserved;

    use super::routes;

    #[test]
    fn no_id_is_a_word_that_stands_beside_ids_in_a_path() {
        let paths: BTreeSet<Vec<&str>> = routes().iter().map(|route| route.path.split('/').collect()).collect();
        let mut words = BTreeSet::new();
        for named in &paths {
            let Some(at) = named.iter().position(|segment| segment.starts_with('{')) else { continue };
            let beside = paths.iter().filter(|path| path.len() > at && path[..at] == named[..at]);
            words.extend(beside.map(|path| path[at]).filter(|word| !word.starts_with('{')));
        }
        assert!(words.contains("batch"), "{words:?}");
        let free: Vec<_> = words.into_iter().filter(|word| !is_reserved(word)).collect();
        assert_eq!(free, [""; 0], "an id of that name could not be found under its path: see `id::RESERVED`");
    }
}
