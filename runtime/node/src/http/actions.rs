//! What operators did: every request that changes something on the node, but for dispatches, is written down once it succeeded, in this one
//! place; and the list of it.
//!
//! Owned here: which routes count ([`DEEDS`]), what of a request is kept, and the form of the list. What an action did to a mission or a
//! schedule stands in the records of that, too: nothing is decided by this list, and a request does not fail because of it.

use axum::body::{Body, Bytes};
use axum::extract::{RawPathParams, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::de;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use sortie_contract::Timestamp;
use sortie_contract::limit::clip;
use sortie_engine::shown::Page;

use super::App;
use super::auth::{Holder, Inside};
use super::body;
use super::error::Problem;
use super::query::{PageSize, Query};

/// Actions of a page, unless the client asks for another number.
const PAGE: usize = 50;
/// Most bytes of a text that is kept of a request.
const SAID_MAX: usize = 500;
/// Most bytes of an answer that is looked into for what was made.
const ANSWER_MAX: usize = 4 << 20;

/// What is kept of the body of a request: what somebody decided, why, and until when. Never arguments, answers or secrets.
const SAID: [&str; 12] =
    ["at", "plugin", "decision", "reason", "note", "until", "overlap", "from", "to", "order", "for", "keep"];

/// A route whose requests are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deed {
    method: &'static str,
    path: &'static str,
    /// What it is called in the list.
    what: &'static str,
}

const fn deed(method: &'static str, path: &'static str, what: &'static str) -> Deed {
    Deed { method, path, what }
}

/// All of them.
const DEEDS: [Deed; 25] = [
    deed("POST", "/v1/missions/{id}/cancel", "cancel"),
    deed("POST", "/v1/missions/{id}/fork", "fork"),
    deed("POST", "/v1/missions/{id}/keep", "keep"),
    deed("POST", "/v1/missions/{id}/requests/{request}", "decide"),
    deed("POST", "/v1/notify/{name}/test", "test_channel"),
    deed("POST", "/v1/plugins", "install_plugin"),
    deed("POST", "/v1/plugin-fetch", "fetch_plugin"),
    deed("POST", "/v1/plugin-gc", "collect_plugins"),
    deed("DELETE", "/v1/plugins/{name}", "remove_plugin"),
    deed("POST", "/v1/tools/{name}/call", "call_tool"),
    deed("POST", "/v1/node/pause", "pause_node"),
    deed("POST", "/v1/node/resume", "resume_node"),
    deed("POST", "/v1/node/halt", "halt_node"),
    deed("POST", "/v1/node/drain", "drain_node"),
    deed("POST", "/v1/node/undrain", "undrain_node"),
    deed("POST", "/v1/missions/{id}/workspace", "begin_workspace"),
    deed("POST", "/v1/deliveries/{id}/redeliver", "redeliver"),
    deed("POST", "/v1/deliveries/{id}/skip", "skip"),
    deed("POST", "/v1/schedules", "make_schedule"),
    deed("PUT", "/v1/schedules/{id}", "revise_schedule"),
    deed("DELETE", "/v1/schedules/{id}", "remove_schedule"),
    deed("POST", "/v1/schedules/{id}/pause", "pause_schedule"),
    deed("POST", "/v1/schedules/{id}/resume", "resume_schedule"),
    deed("POST", "/v1/schedules/{id}/trigger", "trigger_schedule"),
    deed("POST", "/v1/schedules/{id}/backfill", "backfill_schedule"),
];

impl Deed {
    /// What a request of this route is, where it is one.
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        DEEDS.into_iter().find(|deed| deed.method == method.as_str() && deed.path == path)
    }

    /// Whether `dry_run` means something to it.
    fn may_be_tried(self) -> bool {
        ["make_schedule", "revise_schedule", "collect_plugins"].contains(&self.what)
    }
}

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Via {
    /// Over HTTP, by a program of somebody's own.
    Api,
    /// The command line, as it says.
    Cli,
    /// A form of the dashboard.
    Dashboard,
    /// A tool of `/mcp`.
    Agent,
}

impl Via {
    fn of(request: &Request) -> Self {
        // What the node asks of itself has no agent; what another node vouches for has that of whoever asked there.
        if request.extensions().get::<Inside>().is_some() && !request.headers().contains_key(header::USER_AGENT) {
            return Self::Dashboard;
        }
        if let Some(via) = request.extensions().get::<Self>() {
            return *via;
        }
        let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        if agent.is_some_and(|agent| agent.starts_with("sortie/")) { Self::Cli } else { Self::Api }
    }
}

/// Something that somebody did.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Action")]
pub(super) struct ActionView {
    /// Its number; the newest has the greatest.
    #[serde(default)]
    no: u64,
    /// When it was done.
    #[schemars(with = "String", extend("format" = "date-time"))]
    at: Timestamp,
    /// The name of the token that was shown.
    by: String,
    /// From where.
    via: Via,
    /// What, such as `cancel` or `pause_schedule`.
    what: String,
    /// To what: a mission, a schedule, a plugin or a tool; null where it is the node.
    subject: Option<String>,
    /// Which request of the mission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    /// What was said: `decision`, `reason`, `note`, `until` and the like.
    #[serde(default)]
    said: Map<String, Value>,
}

/// Lets a request through, whose body is JSON or nothing that is looked at, and writes it down once it has succeeded: to the end, even where who asked hangs up in the middle.
pub(super) async fn written(
    State((app, deed, has_json)): State<(App, Deed, bool)>,
    params: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    let named: Vec<(String, String)> =
        params.iter().map(|(name, value)| (name.to_owned(), clip(value, SAID_MAX))).collect();
    let done = tokio::spawn(async move { through(&app, (deed, has_json), &named, request, next).await }).await;
    done.unwrap_or_else(|error| Problem::task_failed(&error).into_response())
}

async fn through(
    app: &App,
    (deed, has_json): (Deed, bool),
    named: &[(String, String)],
    request: Request,
    next: Next,
) -> Response {
    let by = request.extensions().get::<Holder>().map_or_else(String::new, |holder| holder.name.to_string());
    let (via, is_tried) = (Via::of(&request), deed.may_be_tried() && is_dry(request.uri().query()));
    let (request, sent) = if has_json {
        match opened(request, app.body_bytes).await {
            Ok(opened) => opened,
            Err(problem) => return problem.into_response(),
        }
    } else {
        (request, Bytes::new())
    };
    let mut response = next.run(request).await;
    if is_tried || !response.status().is_success() {
        return response;
    }
    let sent: Value = serde_json::from_slice(&sent).unwrap_or_default();
    let param = |name: &str| named.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    let mut subject = param("id").or_else(|| param("name"));
    if deed.what == "make_schedule" {
        subject = sent["id"].as_str().map(|id| clip(id, SAID_MAX));
    }
    let mut said = said(&sent);
    if ["install_plugin", "fetch_plugin"].contains(&deed.what) {
        let source;
        (response, subject, source) = installed(response).await;
        // As the plugin's own entry has it: what stands behind a `?` may open something.
        said.remove("from");
        said.extend(source.map(|source| ("from".to_owned(), json!(source))));
    }
    let (at, what) = (app.engine.ambient().wall(), deed.what.to_owned());
    keep(app, ActionView { no: 0, at, by, via, what, subject, request: param("request"), said }).await;
    response
}

/// Puts down what somebody did whom no token of the node's own let in.
pub(super) async fn put_down(app: &App, by: String, what: &str, subject: Option<String>, sent: &Value) {
    let (at, via, what) = (app.engine.ambient().wall(), Via::Api, what.to_owned());
    keep(app, ActionView { no: 0, at, by, via, what, subject, request: None, said: said(sent) }).await;
}

async fn keep(app: &App, action: ActionView) {
    let text = serde_json::to_string(&action).expect("plain data");
    let kept = match app.engine.log().act(text) {
        Ok(receipt) => receipt.await.map(drop),
        Err(error) => Err(error),
    };
    if let Err(error) = kept {
        tracing::warn!(
            what = action.what,
            by = action.by,
            error = &error as &dyn std::error::Error,
            "an action is in no list: the journal did not take it"
        );
    }
}

/// Whether it is only to be said whether it would be done.
fn is_dry(query: Option<&str>) -> bool {
    url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .any(|(name, value)| name == "dry_run" && value != "false")
}

/// A request with its body, once it is here.
async fn opened(request: Request, bytes_max: usize) -> Result<(Request, Bytes), Problem> {
    let (parts, sent) = request.into_parts();
    let sent = body::whole(Request::from_parts(parts.clone(), sent), bytes_max).await?;
    Ok((Request::from_parts(parts, Body::from(sent.clone())), sent))
}

/// What was installed, and from where, as the answer says.
async fn installed(response: Response) -> (Response, Option<String>, Option<String>) {
    let (parts, answer) = response.into_parts();
    match axum::body::to_bytes(answer, ANSWER_MAX).await {
        Ok(answer) => {
            let told: Value = serde_json::from_slice(&answer).unwrap_or_default();
            let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
            let subject = format!("{}@{}", text("name"), text("version"));
            (Response::from_parts(parts, Body::from(answer)), Some(subject), Some(text("source")))
        }
        Err(error) => (Problem::internal(&error).into_response(), None, None),
    }
}

fn said(sent: &Value) -> Map<String, Value> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(json!(clip(text, SAID_MAX))),
        Value::Bool(said) => Some(json!(said)),
        _ => None,
    };
    SAID.iter().filter_map(|key| Some(((*key).to_owned(), text(&sent[*key])?))).collect()
}

/// Which page of actions.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ActionsQuery {
    /// Where to go on: the `next_cursor` of the page before.
    cursor: Option<Before>,
    /// Most items of the page. More than 500 are never on one.
    limit: Option<PageSize>,
}

/// Where a page begins: before the action of this number.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(transparent)]
struct Before(#[schemars(with = "String")] u64);

impl<'de> Deserialize<'de> for Before {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        let no = text.parse().ok().filter(|no: &u64| *no > 0 && no.to_string() == text);
        no.map(Self).ok_or_else(|| de::Error::custom("the `next_cursor` of a page"))
    }
}

/// `GET /v1/actions`
pub(super) async fn list(State(app): State<App>, Query(query): Query<ActionsQuery>) -> Result<Response, Problem> {
    let size = query.limit.map_or(PAGE, |PageSize(size)| size);
    let before = query.cursor.map(|Before(no)| no);
    app.shown(move |engine| {
        let mut page = Page::<ActionView>::new();
        let mut last: Option<u64> = None;
        for (no, text) in engine.log().actions(before, size + 1)? {
            if page.is_full(size) {
                return Ok(page.followed_by(last));
            }
            last = Some(no);
            match serde_json::from_str::<ActionView>(&text) {
                Ok(action) => page.push(&ActionView { no, ..action }),
                // A newer Sortie wrote it.
                Err(error) => tracing::warn!(no, %error, "an action cannot be read"),
            }
        }
        Ok(page)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Scope;

    #[test]
    fn whatever_operators_may_change_is_written_down() {
        for route in super::super::routes() {
            let changes = route.method != Method::GET && matches!(route.scope, Some(Scope::Operate | Scope::Admin));
            let deed = Deed::of(&route.method, route.path);
            assert_eq!(deed.is_some(), changes, "{} {}: see DEEDS", route.method, route.path);
        }
        for deed in DEEDS {
            let is_route = super::super::routes().iter().any(|route| Deed::of(&route.method, route.path) == Some(deed));
            assert!(is_route, "{deed:?} is no route");
        }
    }

    #[test]
    fn of_a_request_only_the_why_is_kept() {
        let long = "x".repeat(2_000);
        let sent = json!({"decision": "answer", "text": "a secret", "arguments": {"path": "x"}, "note": long, "until": 5, "keep": false});
        let said = said(&sent);
        assert_eq!(said.keys().collect::<Vec<_>>(), ["decision", "note", "keep"]);
        assert!(said["note"].as_str().is_some_and(|note| note.len() <= SAID_MAX + 10), "{said:?}");
        for (query, expected) in [
            (None, false),
            (Some("dry_run=true"), true),
            (Some("dry_run=false&x=1"), false),
            (Some("version=1"), false),
        ] {
            assert_eq!(is_dry(query), expected, "{query:?}");
        }
    }
}
