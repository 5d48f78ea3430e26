//! The HTTP interface: one table of routes, from which the router, the scopes and the OpenAPI document are made.

mod actions;
mod agents;
pub(crate) mod answers;
mod artifacts;
pub(crate) mod auth;
pub(crate) mod backup;
pub(crate) mod body;
mod budgets;
mod codes;
mod connection;
mod deliveries;
pub(crate) mod error;
mod events;
mod mcp;
mod metrics;
mod missions;
pub(crate) mod models;
mod nights;
mod node;
mod notify;
mod openapi;
mod outcomes;
mod patient;
pub(crate) mod places;
mod plugins;
mod problems;
pub(crate) mod query;
mod reasons;
mod replay;
pub(crate) mod requests;
mod samples;
mod schedules;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};
use sortie_contract::plugin::PluginIdentity;
use sortie_contract::{Event, MissionNo};

use crate::config::Scope;
use crate::space::Space;
use actions::Deed;
pub(crate) use actions::Via;
use answers::Answers;
use auth::{Holder, Tokens};
pub(crate) use body::Body;
use error::Problem;
use places::Places;
use sortie_engine::shown::{
    Acted, ArtifactView, Either, ExplainedView, FireView, Halted, Health, MissionAtView, MissionLine, MissionView,
    Moved, NightView, NodeView, OpenRequestView, Page, Paused, Planned, PluginView, PluginsView, RecordView,
    RestoredView, ScheduleLine, ScheduleView, SessionView, ToolsView, UndeliveredView, UpcomingView, WhyView,
};
use sortie_engine::{Engine, FolderArtifacts, ReadError};
use sortie_mcp::McpServer;
use sortie_notify::Notifier;
use sortie_sandbox::Sandbox;

/// What every handler works with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) engine: Arc<Engine>,
    pub(crate) sandbox: Sandbox,
    /// The plugins that the binary brings along: each start installs them.
    pub(crate) carried: Arc<[PluginIdentity]>,
    /// The artifacts as files, which are sent as they lie there.
    pub(crate) artifacts: FolderArtifacts,
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
}

/// What the node is called.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    /// What `target_instance_id` must name.
    pub(crate) instance_id: Arc<str>,
    /// The names of this machine, or of what stands before it.
    pub(crate) names: Arc<[String]>,
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

/// One row of the interface.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// `None` is open to everybody.
    pub(crate) scope: Option<Scope>,
    pub(crate) summary: &'static str,
    /// The parameters of its query.
    pub(crate) query: Option<Form>,
    pub(crate) takes: Option<Content>,
    pub(crate) gives: Content,
    handler: MethodRouter<App>,
}

/// A form of JSON, to be described.
pub(crate) type Form = fn(&mut SchemaGenerator) -> Schema;

/// What a body holds.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    /// JSON of this form.
    Json(Form),
    /// JSON of this form, or the same as a stream of events.
    Stream(Form),
    /// JSON of this form, or the same as a page or a text for people.
    Page(Form),
    /// JSON of this form on each line.
    Lines(Form),
    /// An envelope, whose schema is written by hand.
    Envelope,
    /// An envelope on each line.
    Envelopes,
    /// Bytes of this media type.
    Bytes(&'static str),
    /// Nothing.
    Nothing,
}

fn form<T: JsonSchema>() -> Form {
    |generator| generator.subschema_for::<T>()
}

fn json<T: JsonSchema>() -> Content {
    Content::Json(form::<T>())
}

impl Route {
    fn asks<T: JsonSchema>(mut self) -> Self {
        self.query = Some(|generator| T::json_schema(generator));
        self
    }

    fn takes(mut self, content: Content) -> Self {
        self.takes = Some(content);
        self
    }
}

fn route<H, T>(
    method: Method,
    path: &'static str,
    scope: Scope,
    summary: &'static str,
    gives: Content,
    handler: H,
) -> Route
where
    H: axum::handler::Handler<T, App>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).expect("an ordinary method");
    Route { method, path, scope: Some(scope), summary, query: None, takes: None, gives, handler: on(filter, handler) }
}

/// The whole interface.
pub(crate) fn routes() -> Vec<Route> {
    use Scope::{Admin, Dispatch, Operate, Read};
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const PUT: Method = Method::PUT;
    const DELETE: Method = Method::DELETE;
    let open = |path, summary, gives, handler| Route {
        method: GET,
        path,
        scope: None,
        summary,
        query: None,
        takes: None,
        gives,
        handler,
    };
    let health = |path, summary, handler| open(path, summary, json::<Health>(), handler);
    let (acted, state) = (json::<Either<MissionView, Acted>>(), json::<Either<MissionView, MissionAtView>>());
    let answer = form::<missions::Answer<'_>>();
    let schedule = json::<Either<ScheduleView, Planned>>();
    let (schema, events) = (json::<Map<String, Value>>(), Content::Stream(form::<Page<Event>>()));
    vec![
        route(POST, "/v1/missions", Dispatch, "Dispatch a mission", Content::Json(answer), missions::dispatch)
            .takes(Content::Envelope),
        route(
            POST,
            "/v1/missions/batch",
            Dispatch,
            "Dispatch many: NDJSON in, NDJSON out",
            Content::Lines(answer),
            missions::batch,
        )
        .takes(Content::Envelopes),
        route(
            POST,
            "/v1/explain",
            Dispatch,
            "What would hold of an envelope",
            json::<ExplainedView>(),
            missions::explain,
        )
        .takes(Content::Envelope),
        route(GET, "/v1/missions", Read, "Missions, newest first", json::<Page<MissionLine>>(), missions::list)
            .asks::<missions::MissionsQuery>(),
        route(GET, "/v1/missions/{id}", Read, "The state of a mission, now or as of a record", state, missions::show)
            .asks::<missions::ShowQuery>(),
        route(GET, "/v1/missions/{id}/events", Read, "Its events", events, events::of_mission)
            .asks::<events::EventsQuery>(),
        route(
            GET,
            "/v1/missions/{id}/journal",
            Read,
            "Every record of it",
            json::<Page<RecordView>>(),
            missions::journal,
        ),
        route(GET, "/v1/missions/{id}/why", Read, "What led to how it stands", json::<WhyView>(), missions::why),
        route(
            GET,
            "/v1/missions/{id}/plugin",
            Read,
            "The component that it runs on",
            Content::Bytes("application/wasm"),
            replay::component,
        ),
        route(
            GET,
            "/v1/missions/{id}/artifacts",
            Read,
            "Its artifacts",
            json::<Page<ArtifactView>>(),
            artifacts::index,
        ),
        route(
            GET,
            "/v1/missions/{id}/artifacts/{*name}",
            Read,
            "An artifact's bytes",
            Content::Bytes("*/*"),
            artifacts::bytes,
        ),
        route(POST, "/v1/missions/{id}/cancel", Operate, "Cancel it", acted, missions::cancel)
            .takes(json::<missions::Cancel>()),
        route(POST, "/v1/missions/{id}/keep", Operate, "Keep it whatever its age", acted, missions::keep)
            .takes(json::<missions::Keep>()),
        route(
            GET,
            "/v1/requests",
            Read,
            "What missions ask of people",
            json::<Page<OpenRequestView>>(),
            requests::list,
        )
        .asks::<query::PageQuery>(),
        route(POST, "/v1/missions/{id}/requests/{request}", Operate, "Decide about a request", acted, requests::decide)
            .takes(json::<requests::Form>()),
        route(GET, "/v1/events", Read, "Events of the whole node", events, events::of_node)
            .asks::<events::EventsQuery>(),
        route(GET, "/v1/plugins", Read, "Installed plugins", json::<PluginsView>(), plugins::list),
        route(
            POST,
            "/v1/plugins",
            Admin,
            "Install a plugin: the component is the body",
            json::<PluginView>(),
            plugins::install,
        )
        .takes(Content::Bytes("application/wasm")),
        route(GET, "/v1/plugins/{name}", Read, "A plugin's versions", json::<Page<PluginView>>(), plugins::show),
        route(DELETE, "/v1/plugins/{name}", Admin, "Remove a plugin", Content::Nothing, plugins::remove)
            .asks::<plugins::RemoveQuery>(),
        route(
            GET,
            "/v1/tools",
            Read,
            "Tools, with schema and effect classes, and where they come from",
            json::<ToolsView>(),
            node::tools,
        ),
        route(
            GET,
            "/v1/mcp",
            Read,
            "Tool servers: how each is reached, what it speaks, how it is",
            json::<mcp::ServersView>(),
            mcp::servers,
        ),
        route(
            GET,
            "/v1/models",
            Read,
            "Models: what they are called and take, what they cost, what was spent on them",
            json::<models::ModelsView>(),
            models::list,
        ),
        route(
            GET,
            "/v1/budgets",
            Read,
            "Budgets wider than one mission: what is spent of each, what is set aside, when it is renewed",
            json::<budgets::BudgetsView>(),
            budgets::list,
        ),
        route(
            POST,
            "/v1/tools/{name}/call",
            Admin,
            "Call a tool by hand, in a workspace for that",
            json::<Value>(),
            node::call_tool,
        )
        .takes(json::<Map<String, Value>>()),
        route(GET, "/v1/sessions", Read, "VP sessions", json::<Page<SessionView>>(), node::sessions)
            .asks::<query::PageQuery>(),
        route(GET, "/v1/node", Read, "Identity, capacity, limits", json::<NodeView>(), node::show),
        route(
            POST,
            "/v1/node/pause",
            Operate,
            "Stop starting missions",
            json::<Either<NodeView, Paused>>(),
            node::pause,
        ),
        route(
            POST,
            "/v1/node/resume",
            Operate,
            "Start missions again",
            json::<Either<NodeView, Paused>>(),
            node::resume,
        ),
        route(
            GET,
            "/v1/backup",
            Admin,
            "A backup: the node as it is at this moment, as one archive",
            Content::Bytes("application/x-tar"),
            backup::take,
        ),
        route(POST, "/v1/node/halt", Operate, "Cancel everything", json::<Halted>(), node::halt),
        route(
            GET,
            "/v1/deliveries",
            Read,
            "Callbacks that are on their way or parked",
            json::<Page<UndeliveredView>>(),
            deliveries::list,
        )
        .asks::<deliveries::DeliveriesQuery>(),
        route(
            POST,
            "/v1/deliveries/{id}/redeliver",
            Operate,
            "Try a parked delivery again",
            json::<Moved>(),
            deliveries::redeliver,
        ),
        route(
            POST,
            "/v1/deliveries/{id}/skip",
            Operate,
            "Give a parked delivery up",
            json::<Moved>(),
            deliveries::skip,
        ),
        route(
            GET,
            "/v1/actions",
            Operate,
            "What operators did, newest first",
            json::<Page<actions::ActionView>>(),
            actions::list,
        )
        .asks::<actions::ActionsQuery>(),
        route(GET, "/v1/notify", Read, "Channels: how people are told", json::<notify::ChannelsView>(), notify::list),
        route(POST, "/v1/notify/{name}/test", Operate, "Send a test message", json::<notify::Tested>(), notify::test),
        route(GET, "/v1/nights/{date}", Read, "A night at a glance", json::<NightView>(), nights::show),
        route(GET, "/v1/schedules", Read, "Schedules", json::<Page<ScheduleLine>>(), schedules::list)
            .asks::<schedules::SchedulesQuery>(),
        route(POST, "/v1/schedules", Operate, "Make a schedule", schedule, schedules::make)
            .asks::<schedules::ChangeQuery>()
            .takes(Content::Json(schedules::made)),
        route(
            POST,
            "/v1/schedules/preview",
            Read,
            "The times to come of a schedule that need not be there",
            json::<Vec<UpcomingView>>(),
            schedules::preview,
        )
        .takes(json::<schedules::Preview>()),
        route(GET, "/v1/schedules/{id}", Read, "A schedule", json::<ScheduleView>(), schedules::show),
        route(
            PUT,
            "/v1/schedules/{id}",
            Operate,
            "Change it: `If-Match` names the revision",
            schedule,
            schedules::revise,
        )
        .asks::<schedules::ChangeQuery>()
        .takes(Content::Json(schedules::revised)),
        route(DELETE, "/v1/schedules/{id}", Operate, "Remove it", Content::Nothing, schedules::remove),
        route(
            GET,
            "/v1/schedules/{id}/fires",
            Read,
            "Its fires, newest first",
            json::<Page<FireView>>(),
            schedules::fires,
        )
        .asks::<schedules::FiresQuery>(),
        route(POST, "/v1/schedules/{id}/pause", Operate, "Pause it", schedule, schedules::pause)
            .takes(json::<schedules::Pause>()),
        route(POST, "/v1/schedules/{id}/resume", Operate, "Lift every pause", schedule, schedules::resume)
            .takes(json::<schedules::Resume>()),
        route(POST, "/v1/schedules/{id}/trigger", Operate, "Fire now", schedule, schedules::trigger)
            .takes(json::<schedules::Trigger>()),
        route(
            POST,
            "/v1/schedules/{id}/backfill",
            Operate,
            "Make the missions of times that are over",
            schedule,
            schedules::backfill,
        )
        .takes(json::<schedules::Backfill>()),
        route(
            GET,
            "/metrics",
            Read,
            "Prometheus metrics",
            Content::Bytes("application/openmetrics-text"),
            metrics::metrics,
        ),
        route(GET, "/openapi.json", Read, "This interface", schema, openapi::document),
        route(GET, "/schemas/envelope.json", Read, "JSON Schema of the envelope", schema, openapi::envelope),
        route(GET, "/schemas/schedule.json", Read, "JSON Schema of a schedule", schema, openapi::schedule),
        route(GET, "/schemas/event.json", Read, "JSON Schema of an event", schema, openapi::event),
        route(
            GET,
            "/schemas/model-request.json",
            Read,
            "JSON Schema of what a plugin asks a model",
            schema,
            models::request,
        ),
        route(GET, "/schemas/model-answer.json", Read, "JSON Schema of what it is answered", schema, models::answer),
        health("/healthz", "Alive", get(node::healthz)),
        health("/readyz", "Ready for missions", get(node::readyz)),
        open("/problems", "Every problem", Content::Page(form::<Page<problems::About>>()), get(problems::index)),
        open(
            "/problems/{code}",
            "A problem: what happened, why, what to do",
            Content::Page(form::<problems::About>()),
            get(problems::show),
        ),
    ]
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
            None => handler,
            Some(scope) => {
                handler.route_layer(axum::middleware::from_fn_with_state((tokens.clone(), Some(scope)), auth::guard))
            }
        };
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
