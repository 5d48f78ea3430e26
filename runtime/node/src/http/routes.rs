//! The table of routes: what each takes, gives and wants of whoever asks. The router, the scopes and the OpenAPI document are made from it.

use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, get, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};
use sortie_contract::Event;
use sortie_engine::shown::{
    Acted, ArtifactView, Either, ExplainedView, FireView, Halted, Health, MissionAtView, MissionLine, MissionView,
    Moved, NightView, NodeView, OpenRequestView, Page, Paused, Planned, PluginView, PluginsView, RecordView,
    ScheduleLine, ScheduleView, SessionView, ToolsView, UndeliveredView, UpcomingView, WhyView,
};

use super::{
    App, actions, artifacts, backup, budgets, compare, deliveries, dialect, events, fork, hooks, mcp, metrics,
    missions, models, nights, node, nodes, notify, openapi, plugin_fetch, plugin_gc, plugins, problems, query, replay,
    requests, schedules,
};
use crate::config::Scope;

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
    pub(super) handler: MethodRouter<App>,
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
    /// Metrics, in either form.
    Metrics,
    /// Nothing.
    Nothing,
}

pub(super) fn form<T: JsonSchema>() -> Form {
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
            "/v1/missions/{id}/replay",
            Operate,
            "Its record against a build of its plugin",
            json::<compare::ComparedView>(),
            compare::show,
        )
        .asks::<compare::CompareQuery>(),
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
        route(
            GET,
            "/v1/missions/{id}/fork",
            Read,
            "From where it can be forked",
            json::<fork::ForkableView>(),
            fork::forkable,
        )
        .asks::<fork::ForkQuery>(),
        route(
            POST,
            "/v1/missions/{id}/fork",
            Operate,
            "Go on from one of its calls, as a mission of its own",
            json::<fork::ForkAnswer>(),
            fork::fork,
        )
        .takes(json::<fork::Fork>()),
        route(POST, "/v1/missions/{id}/keep", Operate, "Keep it whatever its age", acted, missions::keep)
            .takes(json::<missions::Keep>()),
        route(
            POST,
            "/v1/missions/{id}/workspace",
            Operate,
            "Go on with an empty workspace, where its own is on another node's disk or cannot be read in the shared store",
            json::<Either<MissionView, Acted>>(),
            nodes::begin_empty,
        ),
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
        route(
            GET,
            "/v1/events",
            Read,
            "Events of the whole node, and of all nodes of its store",
            events,
            events::of_node,
        )
        .asks::<events::FeedQuery>(),
        Route {
            method: POST,
            takes: Some(Content::Bytes("application/json")),
            ..open(
                "/v1/hooks/{name}",
                "Deliver to a hook, signed with its secret",
                json::<hooks::Delivered>(),
                on(MethodFilter::POST, hooks::deliver),
            )
        },
        Route {
            method: POST,
            takes: Some(json::<dialect::OldDispatch>()),
            ..open(
                "/api/v1/ops/vp/missions/dispatch",
                "Dispatch in the older dialect, with its own tokens",
                json::<dialect::OldAnswer>(),
                on(MethodFilter::POST, dialect::dispatch),
            )
        },
        Route {
            method: POST,
            takes: Some(json::<missions::Cancel>()),
            ..open(
                "/api/v1/ops/vp/missions/{id}/cancel",
                "Cancel in the older dialect, with its own tokens",
                json::<dialect::OldCancelled>(),
                on(MethodFilter::POST, dialect::cancel),
            )
        },
        route(
            GET,
            "/v1/hooks",
            Read,
            "Hooks, and what came of their deliveries",
            json::<hooks::HooksView>(),
            hooks::list,
        ),
        route(
            POST,
            "/v1/hooks/{name}/try",
            Dispatch,
            "What a delivery would come to",
            json::<hooks::Tried>(),
            hooks::trial,
        )
        .takes(json::<hooks::Trial>()),
        route(GET, "/v1/plugins", Read, "Installed plugins", json::<PluginsView>(), plugins::list)
            .asks::<plugins::PluginsQuery>(),
        route(
            POST,
            "/v1/plugins",
            Admin,
            "Install a plugin: the component is the body",
            json::<PluginView>(),
            plugins::install,
        )
        .takes(Content::Bytes("application/wasm")),
        route(
            POST,
            "/v1/plugin-fetch",
            Admin,
            "Fetch a plugin from an address or a registry, and install it",
            json::<PluginView>(),
            plugin_fetch::fetch,
        )
        .takes(json::<plugin_fetch::FetchForm>()),
        route(
            POST,
            "/v1/plugin-gc",
            Admin,
            "Remove the versions of plugins that nobody needs any more",
            json::<plugin_gc::CollectedView>(),
            plugin_gc::collect,
        )
        .asks::<plugin_gc::CollectQuery>(),
        route(GET, "/v1/plugins/{name}", Read, "A plugin's versions", json::<Page<PluginView>>(), plugins::show)
            .asks::<plugins::PluginsQuery>(),
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
            POST,
            "/v1/node/drain",
            Operate,
            "Take no more missions, bring those that run to rest, hand them over to other nodes",
            json::<nodes::DrainView>(),
            nodes::drain,
        ),
        route(POST, "/v1/node/undrain", Operate, "Take missions again", json::<nodes::DrainView>(), nodes::undrain),
        route(GET, "/v1/nodes", Read, "The nodes of the store", json::<nodes::NodesView>(), nodes::list),
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
        route(GET, "/metrics", Read, "Prometheus metrics", Content::Metrics, metrics::metrics),
        route(GET, "/openapi.json", Read, "This interface", schema, openapi::document),
        route(GET, "/schemas/envelope.json", Read, "JSON Schema of the envelope", schema, openapi::envelope),
        route(GET, "/schemas/schedule.json", Read, "JSON Schema of a schedule", schema, openapi::schedule),
        route(
            GET,
            "/schemas/mission-order.json",
            Read,
            "JSON Schema of what a plugin dispatches",
            schema,
            openapi::order,
        ),
        route(
            GET,
            "/schemas/mission-result.json",
            Read,
            "JSON Schema of what it is told of that",
            schema,
            openapi::result,
        ),
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
