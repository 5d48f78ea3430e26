//! Why a mission stands as it does: what led there, record by record, as the interface says it.

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

use super::Web;
use super::door::Viewer;
use super::frame::{Page, Refused, live};
use super::missions::waits;
use super::text::{Clock, badge, block, cell, path, plain, str};

/// `GET /missions/{id}/why`
pub(super) async fn page(viewer: Viewer, State(web): State<Web>, Path(id): Path<String>) -> Result<Response, Refused> {
    let why = web.get(&viewer, &["v1", "missions", &id, "why"]).await?;
    let clock = web.clock();
    let main = html! {
        h1 { "Why " a href=(path(&["missions", &id])) { (plain(&id)) } " stands as it does" }
        (live(&path(&["missions", &id, "why"]), &shown(&why, &clock)))
    };
    Ok(Page { title: "Why", at: "/missions", main }.shown(&web, &viewer))
}

fn shown(why: &Value, clock: &Clock) -> Markup {
    let causes = why["causes"].as_array().map_or(&[][..], Vec::as_slice);
    let asks = why["pending_requests"].as_array().map_or(0, Vec::len);
    html! {
        p class="line" aria-live="polite" {
            (badge(str(why, "status")))
            @if !why["reason"].is_null() { " " (cell(&why["reason"])) }
            " " span class="dim" { (waits(&why["waits_for"], clock)) }
        }
        @if causes.is_empty() {
            p { "Nothing on its record led there by itself." }
        } @else {
            p { "The nearest cause first. The numbers are those of its records." }
            ol class="causes" {
                @for cause in causes {
                    li value=(cause["record"]) { p class="text" { (block(str(cause, "says"))) } p class="dim" { (clock.time(&cause["at"])) } }
                }
            }
        }
        @if asks > 0 { p { a href="/inbox" { "Decide what it asks" } } }
        @if let Some(next) = why["next_action"].as_str() { p { b { "Next: " } (block(next)) } }
    }
}
