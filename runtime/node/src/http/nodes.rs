//! The nodes of a store over HTTP: who is there; a node is drained; a session goes on without its files.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::Serialize;
use sortie_contract::Timestamp;
use sortie_engine::fleet::{Draining, Member};
use sortie_engine::shown::Acted;
use std::collections::{BTreeMap, BTreeSet};

use super::App;
use super::auth::Holder;
use super::error::Problem;
use super::query::NoParameters;

/// The nodes of a store.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct NodesView {
    /// Those that are there, and those that left missions which nobody has taken over yet; this node alone, where it has its store for itself.
    items: Vec<MemberView>,
    /// Always null: all of them are on this page.
    next_cursor: Option<String>,
}

/// How a node of a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum MemberState {
    /// It has only begun, and has not said yet what it is.
    Starting,
    /// It takes missions.
    Serving,
    /// It takes what names it or whose VP it has, and starts none; what may go elsewhere does.
    Paused,
    /// It takes none: it is being drained.
    Draining,
    /// It is silent for longer than its lease: another one takes its missions over.
    Away,
    /// It has given its missions back, and another one takes them over.
    Gone,
}

/// A node of a store.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Member")]
struct MemberView {
    /// What it calls itself.
    instance_id: String,
    /// What the store knows it by, from one process to the next.
    node: String,
    /// Whether it is the node that answers.
    is_this: bool,
    /// How it is.
    state: MemberState,
    /// Where the others reach it; null where it does not say.
    url: Option<String>,
    /// The version of its sortie.
    version: String,
    /// Since when it is there.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    since: Option<Timestamp>,
    /// How much was left of its lease when this node looked last, in seconds.
    lease_left_seconds: f64,
    /// The share of the store that it goes on in.
    share: Option<u32>,
    /// Missions that are not over there, as it said last.
    open_missions: u64,
    /// How many it runs at once.
    max_running: u64,
    /// The groups that it is in.
    groups: Vec<String>,
    /// What it says of itself beside them.
    labels: BTreeMap<String, String>,
    /// The names of nodes whose missions it has taken over.
    stands_for: BTreeSet<String>,
}

impl From<&Member> for MemberView {
    fn from(member: &Member) -> Self {
        let Member { share, node, name, card, since, lease_left, is_me } = member;
        let state = match member.is_live() {
            _ if node.is_empty() => MemberState::Gone,
            false => MemberState::Away,
            // The first that each says of itself is its version.
            true if card.version.is_empty() => MemberState::Starting,
            true if card.is_draining => MemberState::Draining,
            true if card.is_paused => MemberState::Paused,
            true => MemberState::Serving,
        };
        Self {
            instance_id: name.clone(),
            node: node.clone(),
            is_this: *is_me,
            state,
            url: card.url.clone(),
            version: card.version.clone(),
            since: Some(*since),
            lease_left_seconds: lease_left.as_secs_f64(),
            share: Some(share.0),
            open_missions: card.open,
            max_running: card.max_running,
            groups: card.groups.clone(),
            labels: card.labels.clone(),
            stands_for: card.stands_for.clone(),
        }
    }
}

/// `GET /v1/nodes`
pub(super) async fn list(State(app): State<App>, _: NoParameters) -> Json<NodesView> {
    let members = app.engine.members();
    let view = |member: &Member| match MemberView::from(member) {
        // Of itself it knows more than the store has been told.
        view if member.is_me && member.is_live() => MemberView { state: state(&app), ..view },
        view => view,
    };
    let items = if members.is_empty() { vec![alone(&app)] } else { members.iter().map(view).collect() };
    Json(NodesView { items, next_cursor: None })
}

/// How the node itself is.
fn state(app: &App) -> MemberState {
    match app.engine.draining() {
        Draining::No if app.engine.turns().paused => MemberState::Paused,
        Draining::No => MemberState::Serving,
        Draining::Going | Draining::Over => MemberState::Draining,
    }
}

/// A node that has its store for itself.
fn alone(app: &App) -> MemberView {
    let engine = &app.engine;
    MemberView {
        instance_id: engine.rules().instance_id.to_string(),
        node: String::new(),
        is_this: true,
        state: state(app),
        url: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: None,
        lease_left_seconds: 0.0,
        share: None,
        open_missions: engine.open_missions(),
        max_running: engine.max_running() as u64,
        groups: Vec::new(),
        labels: BTreeMap::new(),
        stands_for: BTreeSet::new(),
    }
}

/// How far a node is drained.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum DrainState {
    /// It takes missions.
    No,
    /// It takes none; what runs comes to a place where it can stop.
    Going,
    /// Nothing runs, what is there is anybody's, and the node stops.
    Over,
}

/// What draining a node has come to.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct DrainView {
    /// How far it is.
    draining: DrainState,
    /// Missions that run there now.
    running: usize,
    /// Whether another node can go on with what is there: not, where the node has its store for itself. It takes no missions then, and
    /// what is there goes on here.
    hands_over: bool,
}

impl DrainView {
    fn of(app: &App) -> Self {
        let draining = match app.engine.draining() {
            Draining::No => DrainState::No,
            Draining::Going => DrainState::Going,
            Draining::Over => DrainState::Over,
        };
        Self { draining, running: app.engine.turns().running, hands_over: app.engine.has_fleet() }
    }
}

/// `POST /v1/node/drain`
pub(super) async fn drain(State(app): State<App>) -> Response {
    app.engine.drain();
    (StatusCode::ACCEPTED, Json(DrainView::of(&app))).into_response()
}

/// `POST /v1/node/undrain`
pub(super) async fn undrain(State(app): State<App>) -> Result<Json<DrainView>, Problem> {
    if app.engine.undrain() {
        return Ok(Json(DrainView::of(&app)));
    }
    let detail = "the node is drained: what was there is anybody's, and it stops; start it again";
    Err(Problem::new(StatusCode::CONFLICT, "refused", detail))
}

/// `POST /v1/missions/{id}/workspace`
pub(super) async fn begin_empty(
    State(app): State<App>,
    Extension(holder): Extension<Holder>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let named = id.clone();
    let no = app.mission(id).await?;
    if !app.to_the_end(move |engine| async move { engine.go_on_empty(no).await }).await?? {
        let detail = "the mission does not wait for files that are on another node's disk, or cannot be read in the shared store";
        return Err(Problem::new(StatusCode::CONFLICT, "refused", detail));
    }
    Ok(match app.state_for(&holder, no).await? {
        Some(state) => Json(state).into_response(),
        None => Json(Acted::on(&named, None)).into_response(),
    })
}
