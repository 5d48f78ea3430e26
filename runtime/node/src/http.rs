//! The HTTP interface: what every handler works with, the router, and how it is served. What there is stands in the table of [`routes()`].

mod actions;
mod agents;
pub(crate) mod answers;
mod artifacts;
pub(crate) mod auth;
mod away;
pub(crate) mod backup;
pub(crate) mod body;
mod budgets;
mod codes;
mod compare;
mod connection;
mod deliveries;
mod dialect;
pub(crate) mod error;
mod events;
mod fork;
mod form;
pub(crate) mod forward;
mod hooks;
mod lingering;
mod mcp;
pub(crate) mod meant;
mod metrics;
mod missions;
pub(crate) mod models;
mod nights;
mod node;
mod nodes;
mod notify;
mod openapi;
mod outcomes;
mod passing;
mod patient;
pub(crate) mod places;
mod plugin_fetch;
mod plugin_gc;
mod plugins;
mod problems;
pub(crate) mod query;
mod reasons;
mod replay;
pub(crate) mod requests;
mod routes;
mod samples;
mod schedules;
mod tries;
mod vouch;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use sortie_contract::MissionNo;
use sortie_contract::plugin::PluginIdentity;

use crate::collected::Shelf;
use crate::config::Scope;
use crate::dialects::Dialects;
use crate::hooks::Hooks;
use crate::shared::Shared;
use crate::space::Space;
use actions::Deed;
pub(crate) use actions::Via;
use answers::Answers;
use auth::{Holder, Tokens};
pub(crate) use body::Body;
use error::Problem;
pub(crate) use missions::taken;
use places::Places;
pub(crate) use routes::{Content, Route, routes};
use sortie_engine::shown::{MissionView, RestoredView};
use sortie_engine::{Engine, FolderArtifacts, ReadError};
use sortie_mcp::McpServer;
use sortie_notify::Notifier;
use sortie_origin::Sources;
use sortie_sandbox::Sandbox;
use sortie_trace::Exporter;

/// What every handler works with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) engine: Arc<Engine>,
    pub(crate) sandbox: Sandbox,
    /// The plugins that the binary brings along: each start installs them.
    pub(crate) carried: Arc<[PluginIdentity]>,
    /// Which plugins are needed beside those that missions have.
    pub(crate) shelf: Shelf,
    /// From where it fetches plugins, and whose signatures it trusts.
    pub(crate) sources: Arc<Sources>,
    /// The artifacts as files, which are sent as they lie there.
    pub(crate) artifacts: FolderArtifacts,
    /// The store that nodes share, where there is one.
    pub(crate) shared: Option<Arc<Shared>>,
    /// The tool servers of the configuration.
    pub(crate) mcp: Arc<[McpServer]>,
    pub(crate) body_bytes: usize,
    pub(crate) places: Arc<Places>,
    pub(crate) answers: Answers,
    /// What the node is called, by envelopes and by who asks for `/mcp`.
    pub(crate) called: Called,
    pub(crate) backups: backup::Backups,
    /// What the data folder takes.
    pub(crate) space: Space,
    /// From which backup its data are, where they were restored and nobody has let it go on since.
    pub(crate) restored: Option<Arc<RestoredView>>,
    /// How people are told while they are away.
    pub(crate) notifier: Arc<Notifier>,
    /// The way to the other nodes of the store.
    pub(crate) peers: Arc<forward::Peers>,
    /// Where services outside deliver what happened.
    pub(crate) hooks: Arc<Hooks>,
    /// The older dialects of the control plane.
    pub(crate) dialects: Arc<Dialects>,
    /// What tells the collector of traces, where there is one.
    pub(crate) exporter: Option<Arc<Exporter>>,
}

/// What the node is called.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    /// What `target_instance_id` must name.
    pub(crate) instance_id: Arc<str>,
    /// The names of this machine, or of what stands before it.
    pub(crate) names: Arc<[String]>,
    /// What the store knows it by, where it is one of many.
    pub(crate) node: Option<Arc<str>>,
    /// Where its data are, which tells it apart from others on this machine that have the same name.
    pub(crate) data_dir: Arc<str>,
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
        let done = tokio::spawn(act(Arc::clone(&self.engine))).await;
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

/// The router of a node, but for `/mcp`, which asks it.
fn router(app: App, tokens: &Tokens) -> Router {
    let limit = app.body_bytes;
    let mut router = Router::new();
    for route in routes() {
        let outcomes = cfg!(debug_assertions).then(|| Arc::new(outcomes::of(&route)));
        let Route { method, path, scope, query, takes, handler, .. } = route;
        let has_json = takes.is_some_and(|takes| matches!(takes, Content::Json(_)));
        let handler = match Deed::of(&method, path) {
            None => handler,
            Some(deed) => {
                let state = (app.clone(), deed, has_json);
                let handler = handler.route_layer(axum::middleware::from_fn_with_state(state, actions::written));
                // Whoever says `dry_run` where it means nothing would be surprised.
                match query {
                    Some(_) => handler,
                    None => handler.route_layer(axum::middleware::from_extractor::<query::NoParameters>()),
                }
            }
        };
        let handler = match scope {
            Some(_) => handler.route_layer(axum::middleware::from_fn_with_state(app.clone(), forward::guard)),
            None => handler,
        };
        let handler = match scope {
            // What tells how the node is doing reads no log.
            Some(_) if path != "/metrics" => {
                handler.route_layer(axum::middleware::from_fn_with_state(app.clone(), away::guard))
            }
            _ => handler,
        };
        let handler = match scope {
            None => handler,
            Some(scope) => {
                let handler = handler
                    .route_layer(axum::middleware::from_fn_with_state((tokens.clone(), Some(scope)), auth::guard));
                handler.route_layer(axum::middleware::from_fn_with_state(app.clone(), vouch::listen))
            }
        };
        // Those that look at tokens of their own (hooks, the older dialects) are sent on, too.
        let handler = handler.route_layer(axum::middleware::from_fn_with_state(app.clone(), meant::guard));
        let handler = match outcomes {
            None => handler,
            Some(outcomes) => handler.route_layer(axum::middleware::map_response(move |response| {
                let outcomes = Arc::clone(&outcomes);
                async move { outcomes::held(&outcomes, response) }
            })),
        };
        router = router.route(path, handler);
    }
    router
        .fallback(async || Problem::not_found("such path; /openapi.json lists those that there are"))
        .method_not_allowed_fallback(async || {
            let detail = "this path has no such method; /openapi.json lists those that there are";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        })
        // `Body` reads bodies, with its own limits; this one is for what would forget to.
        .layer(DefaultBodyLimit::max(limit))
        .layer(axum::middleware::map_response(error::as_problem))
        .with_state(app)
}

/// Serves until `shutdown` resolves, then lets requests in flight finish.
pub(crate) async fn serve(
    listener: tokio::net::TcpListener,
    app: App,
    tokens: &Tokens,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let own = router(app.clone(), tokens);
    let agents = agents::mount(&app, own.clone());
    let dashboard = crate::web::router(&app, own.clone(), tokens.clone());
    let router = own.merge(agents::router(agents.clone(), app.body_bytes, tokens)).merge(dashboard);
    let App { engine, places, .. } = app;
    let stop = async move {
        shutdown.await;
        agents.stop();
        engine.say_goodbye();
    };
    connection::serve(listener, router, places, stop).await;
    Ok(())
}

/// What to do about a problem of that code.
pub(crate) fn remedy(code: &str) -> Option<&'static str> {
    codes::find(code).map(|known| known.remedy)
}

/// What the node says of a dispatch that was not taken.
pub(crate) fn problem_of(error: sortie_engine::intake::DispatchError) -> Value {
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
