//! The dashboard: pages made on the server for whoever looks after a node.
//!
//! Nothing is known or decided here. What a page shows, and what its forms do, is asked of the node's own HTTP interface, within the process,
//! in the name of whoever signed in ([`ask`]): who may do what, what is refused and how, is said there, once. Owned here: how it looks, who
//! is signed in ([`session`]), and that a form was sent by a page of ours ([`door`]).
//!
//! Every page works without scripts, by links and forms; what is vendored in `web/assets` only fetches its live part anew.

mod actions;
mod ask;
mod assets;
mod channels;
mod compare;
mod decision;
mod delivery;
mod diff;
mod dispatch;
mod door;
mod explained;
mod files;
mod fork;
mod frame;
mod gauges;
mod go;
mod inbox;
mod inputs;
mod keep;
mod live;
mod markdown;
mod mission;
mod missions;
mod night;
mod plugins;
mod record;
mod request;
mod schedule_edit;
mod schedules;
mod session;
mod several;
mod signin;
mod strip;
mod tables;
mod takes;
mod text;
mod timeline;
mod timelines;
mod why;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

use crate::http::App;
use crate::http::auth::Tokens;
use ask::Inside;
use session::Sessions;

/// What every page works with.
#[derive(Clone)]
pub(crate) struct Web {
    app: App,
    inside: Inside,
    sessions: Arc<Sessions>,
    tonight: Arc<night::Tonight>,
    timelines: Arc<timelines::Timelines>,
    tokens: Tokens,
}

/// Where nothing comes from but this node, and nothing runs or is styled but what is a file of it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The pages of a node, which ask `own`.
pub(crate) fn router(app: &App, own: Router, tokens: Tokens) -> Router {
    let sessions = Arc::new(Sessions::new(&app.called.instance_id, &app.called.data_dir));
    let web = Web {
        app: app.clone(),
        inside: Inside(own),
        sessions,
        tonight: Arc::default(),
        timelines: Arc::default(),
        tokens,
    };
    Router::new()
        .route("/", get(night::page))
        .route("/signin", get(signin::page).post(signin::sign_in))
        .route("/signout", post(signin::sign_out))
        .route("/inbox", get(inbox::page).post(inbox::decide_several))
        .route("/dispatch", get(dispatch::page).post(dispatch::send))
        .route("/missions", get(missions::page).post(several::act))
        .route("/missions/{id}", get(mission::page))
        .route("/missions/{id}/cancel", post(mission::cancel))
        .route("/missions/{id}/fork", get(fork::page).post(fork::send))
        .route("/missions/{id}/keep", post(keep::keep))
        .route("/missions/{id}/replay", get(compare::page))
        .route("/missions/{id}/why", get(why::page))
        .route("/missions/{id}/requests/{request}", post(inbox::decide))
        .route("/missions/{id}/redeliver", post(delivery::redeliver))
        .route("/missions/{id}/skip", post(delivery::skip))
        .route("/missions/{id}/files/{*name}", get(files::page))
        .route("/missions/{id}/images/{*name}", get(files::image))
        .route("/missions/{id}/download/{*name}", get(files::download))
        .route("/go/{link}", get(go::page).post(go::decide))
        .route("/schedules", get(tables::schedules))
        .route("/schedules/{id}", get(schedules::page))
        .route("/schedules/{id}/edit", get(schedule_edit::edit).post(schedule_edit::change))
        .route("/schedules/{id}/{what}", post(schedules::act))
        .route("/new-schedule", get(schedule_edit::begin).post(schedule_edit::make))
        .route("/sessions", get(tables::sessions))
        .route("/deliveries", get(tables::deliveries))
        .route("/plugins", get(tables::plugins).post(plugins::install))
        .route("/plugins/remove", post(plugins::remove))
        .route("/tools", get(tables::tools))
        .route("/models", get(tables::models))
        .route("/node", get(tables::node))
        .route("/node/{what}", post(actions::node))
        .route("/channels/{name}/test", post(channels::test))
        .route("/actions", get(actions::page))
        .route(frame::LIVE, get(live::stream))
        .route("/assets/{name}", get(assets::file))
        .layer(axum::middleware::map_response(guarded))
        .with_state(web)
}

/// A page for everybody, whoever is signed in or not: it shows nothing of the node.
pub(crate) fn page_for_all(title: &str, main: &maud::Markup) -> Response {
    headed(axum::response::Html(frame::frame(title, None, main).into_string()).into_response())
}

async fn guarded(response: Response) -> Response {
    headed(in_a_page(response).await)
}

/// The refusals of axum itself are plain text, or nothing at all; here whoever meets one gets a page.
async fn in_a_page(response: Response) -> Response {
    let (status, headers) = (response.status(), response.headers());
    let kind = headers.get(header::CONTENT_TYPE).map_or("text/plain", |kind| kind.to_str().unwrap_or_default());
    // A part of a page says where its whole goes.
    let is_plain = kind.starts_with("text/plain") && !headers.contains_key("hx-redirect");
    if !is_plain || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let allowed = headers.get(header::ALLOW).cloned();
    // Such a text is a sentence.
    let text = axum::body::to_bytes(response.into_body(), 4_096).await.unwrap_or_default();
    let mut page = frame::Refused::unread(status, &String::from_utf8_lossy(&text)).into_response();
    page.headers_mut().extend(allowed.map(|allowed| (header::ALLOW, allowed)));
    page
}

/// What holds of every answer, unless it says something stricter itself.
fn headed(mut response: Response) -> Response {
    let all = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // Not `no-referrer`: under that a browser says `Origin: null` of our own forms, as of those of others.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in all {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
