//! The channels by which people are told, on the node's page, and a message to try one.

use axum::extract::{Path, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde_json::Value;

use super::Web;
use super::door::{Posted, Viewer};
use super::frame::{Refused, form_key};
use super::session::Notice;
use super::text::{Clock, cell, path, plain, str};
use crate::mcp::Ask;

/// Each channel: what it is told of, how it is, and the button that tries it.
pub(super) fn table(viewer: &Viewer, channels: &[Value], clock: &Clock) -> Markup {
    html! {
        h2 { "How people are told" }
        @if channels.is_empty() { p { "Nobody is told: there is no " code { "[[notify]]" } " in the configuration." } }
        @else {
            div class="wide" tabindex="0" role="region" aria-label="How people are told" {
                table {
                    thead { tr { th scope="col" { "Channel" } th scope="col" { "Of what" } th scope="col" { "How it is" } th scope="col" { "Try it" } } }
                    tbody { @for channel in channels { (row(viewer, channel, clock)) } }
                }
            }
        }
    }
}

fn row(viewer: &Viewer, channel: &Value, clock: &Clock) -> Markup {
    let name = str(channel, "name");
    let on: Vec<&str> = channel["on"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    html! {
        tr {
            th scope="row" { (plain(name)) div class="dim" { (cell(&channel["form"])) } }
            td data-label="Of what" { (on.join(", ")) }
            td data-label="How it is" {
                @if let Some(error) = channel["error"].as_str() { b class="s-failed" { "✗ fails since " (clock.time(&channel["failing_since"])) } div { (plain(error)) } }
                @else { b class="s-done" { "✓ well" } }
                div class="dim" { (cell(&channel["sent"])) " messages arrived, " (cell(&channel["owed"])) " things are owed" }
            }
            td {
                @if viewer.operates() {
                    form method="post" action=(path(&["channels", name, "test"])) {
                        (form_key(viewer))
                        button type="submit" aria-label=(format!("Send a message by {}", plain(name))) { "Send a message" }
                    }
                }
            }
        }
    }
}

/// `POST /channels/{name}/test`
pub(super) async fn test(
    State(web): State<Web>,
    Path(name): Path<String>,
    posted: Posted,
) -> Result<Response, Refused> {
    let Posted { viewer, .. } = posted;
    let notice = match web.ask(&viewer, Ask::new(Method::POST, ["v1", "notify", &name, "test"])).await {
        Ok(_) => Notice { is_bad: false, lines: vec![format!("{name}: the message arrived.")] },
        // That it does not arrive is what somebody wanted to know.
        Err(refused) if refused.is_unsure() => refused.notice(),
        Err(refused) => return Err(refused),
    };
    web.sessions.tell(viewer.key, notice);
    Ok(Redirect::to("/node").into_response())
}
