//! How far the deliveries of a mission are, why they are no further, and moving them along.

use axum::extract::{Path, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde_json::Value;

use super::Web;
use super::door::{Posted, Viewer};
use super::frame::{Refused, form_key};
use super::session::Notice;
use super::text::{Clock, badge, block, cell, path, str};
use crate::mcp::Ask;

/// The deliveries of a mission, on its page.
pub(super) fn shown(delivery: &Value, clock: &Clock) -> Markup {
    if delivery.is_null() {
        return html! {};
    }
    let number = |key: &str| delivery[key].as_u64().unwrap_or(0);
    let skipped = delivery["skipped"].as_array().map_or(&[][..], Vec::as_slice);
    let next = number("delivered") + skipped.len() as u64 + 1;
    html! {
        section aria-labelledby="delivery" {
            h2 id="delivery" { "Deliveries" }
            p {
                (badge(str(delivery, "state"))) " " (number("delivered")) " of " (number("total")) " delivered"
                @if next <= number("total") { "; the next is number " (next) }
                @if number("attempts") > 0 { ", tried " (number("attempts")) " times" }
                @if !delivery["next_attempt_at"].is_null() { ", tried again " (clock.time(&delivery["next_attempt_at"])) }
                "."
            }
            @if let Some(error) = delivery["error"].as_str() { p { "Last error: " code { (block(error)) } } }
            @for skipped in skipped { p { "Skipped: " code { (cell(skipped)) } } }
        }
    }
}

/// Forms for a delivery that was given up for now.
pub(super) fn forms(viewer: &Viewer, mission: &Value) -> Markup {
    let id = str(mission, "mission_id");
    html! {
        @if viewer.operates() && mission["delivery"]["state"] == "parked" {
            section aria-labelledby="move" {
                h2 id="move" { "The delivery that is parked" }
                div class="decide" {
                    form method="post" action=(path(&["missions", id, "redeliver"])) class="decide" {
                        (form_key(viewer))
                        button type="submit" class="primary" { "Try it again" }
                    }
                    form method="post" action=(path(&["missions", id, "skip"])) class="decide" {
                        (form_key(viewer))
                        button type="submit" class="danger" { "Leave it out, and go on with the next" }
                    }
                }
            }
        }
    }
}

/// `POST /missions/{id}/redeliver`
pub(super) async fn redeliver(state: State<Web>, path: Path<String>, posted: Posted) -> Result<Response, Refused> {
    moved(state, path, posted, "redeliver", "It is tried again.").await
}

/// `POST /missions/{id}/skip`
pub(super) async fn skip(state: State<Web>, path: Path<String>, posted: Posted) -> Result<Response, Refused> {
    moved(state, path, posted, "skip", "It is left out.").await
}

async fn moved(
    State(web): State<Web>,
    Path(id): Path<String>,
    Posted { viewer, .. }: Posted,
    how: &str,
    done: &str,
) -> Result<Response, Refused> {
    let notice = match web.ask(&viewer, Ask::new(Method::POST, ["v1", "deliveries", &id, how])).await {
        Ok(_) => Notice { is_bad: false, lines: vec![done.to_owned()] },
        // Somebody was faster, or the node failed in the middle.
        Err(refused) if refused.code == "not_parked" || refused.is_unsure() => refused.about(&id),
        Err(refused) => return Err(refused),
    };
    web.sessions.tell(viewer.key, notice);
    Ok(Redirect::to(&path(&["missions", &id])).into_response())
}
