//! Channels over HTTP: how each is, and a message to try one.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use sortie_contract::Timestamp;
use sortie_notify::{Kind, TestError, View};

use super::App;
use super::error::Problem;
use super::query::NoParameters;

/// The channels of a node.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct ChannelsView {
    /// Those of the configuration, in its order.
    items: Vec<ChannelView>,
    /// Always null: all of them are on this page.
    next_cursor: Option<String>,
}

/// A channel, by which people are told.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ChannelView {
    /// What the configuration calls it.
    name: String,
    /// `slack`, `ntfy`, `json`, `template` or `mail`.
    form: &'static str,
    /// What it is told of: `blocked`, `budget`, `failed`, `missed`, `hold`, `digest`.
    on: Vec<&'static str>,
    /// Whether its messages have links that decide.
    links: bool,
    /// How many things it has not been told of yet.
    owed: u64,
    /// How many messages arrived.
    sent: u64,
    /// When the last of them did.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    sent_at: Option<Timestamp>,
    /// Attempts that failed in a row; 0 where it is well.
    failed_attempts: u32,
    /// Since when it fails.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    failing_since: Option<Timestamp>,
    /// Why.
    error: Option<String>,
    /// When it is tried again.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    next_attempt_at: Option<Timestamp>,
}

impl From<View> for ChannelView {
    fn from(view: View) -> Self {
        Self {
            name: view.name,
            form: view.form,
            on: view.on.into_iter().map(Kind::as_str).collect(),
            links: view.links,
            owed: view.owed,
            sent: view.sent,
            sent_at: view.sent_at,
            failed_attempts: view.failed_attempts,
            failing_since: view.failing_since,
            error: view.error,
            next_attempt_at: view.next_attempt_at,
        }
    }
}

/// That a test message arrived.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Tested {
    /// The channel.
    name: String,
    /// Always true: one that did not arrive is a problem.
    arrived: bool,
}

/// `GET /v1/notify`
pub(super) async fn list(State(app): State<App>, _: NoParameters) -> Json<ChannelsView> {
    let items = app.notifier.views().into_iter().map(ChannelView::from).collect();
    Json(ChannelsView { items, next_cursor: None })
}

/// `POST /v1/notify/{name}/test`
pub(super) async fn test(
    State(app): State<App>,
    Path(name): Path<String>,
    _: NoParameters,
) -> Result<Json<Tested>, Problem> {
    let named = sortie_contract::limit::clip(&name, 80);
    match app.notifier.test(&name).await {
        Ok(()) => Ok(Json(Tested { name, arrived: true })),
        Err(TestError::Unknown) => {
            Err(Problem::not_found(&format!("channel `{named}`; `[[notify]]` has those that there are")))
        }
        Err(TestError::Failed(why)) => {
            let detail = format!("the message did not get through the channel `{named}`: {why}");
            Err(Problem::new(StatusCode::BAD_GATEWAY, "channel_failed", detail))
        }
    }
}
