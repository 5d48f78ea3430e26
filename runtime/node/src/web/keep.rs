//! Keeping a mission whatever its age, and leaving it to retention again.

use axum::extract::{Path, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::Web;
use super::door::{Posted, Viewer};
use super::frame::{Refused, form_key};
use super::session::Notice;
use super::text::{Clock, cell, path, str};
use crate::mcp::Ask;

/// Whether a mission is kept, by whom, and the button for the contrary.
pub(super) fn form(viewer: &Viewer, mission: &Value, clock: &Clock) -> Markup {
    let (id, kept) = (str(mission, "mission_id"), &mission["kept"]);
    let (what, words) = if kept.is_object() { ("leave", "Leave it to retention") } else { ("keep", "Keep it") };
    html! {
        @if kept.is_object() || viewer.operates() {
            section aria-labelledby="keep" {
                h2 id="keep" { "Kept" }
                p {
                    @if kept.is_object() { "Whatever its age, since " (clock.time(&kept["since"])) ", by " (cell(&kept["by"])) "." }
                    @else { "As long as retention says." }
                }
                @if viewer.operates() {
                    form method="post" action=(path(&["missions", id, "keep"])) class="decide" {
                        (form_key(viewer))
                        button type="submit" name="decision" value=(what) { (words) }
                    }
                }
            }
        }
    }
}

/// `POST /missions/{id}/keep`
pub(super) async fn keep(State(web): State<Web>, Path(id): Path<String>, posted: Posted) -> Result<Response, Refused> {
    let Posted { viewer, fields } = posted;
    let (keep, done) = match fields.text("decision") {
        "keep" => (true, "It is kept."),
        "leave" => (false, "It is left to retention."),
        _ => return Err(Refused::bad(super::decision::SAY_WHAT).seen_by(&viewer)),
    };
    let ask = Ask::new(Method::POST, ["v1", "missions", &id, "keep"]).with_body(json!({"keep": keep}).to_string());
    let notice = match web.ask(&viewer, ask).await {
        Ok(_) => Notice { is_bad: false, lines: vec![done.to_owned()] },
        Err(refused) if refused.is_unsure() => refused.about(&id),
        Err(refused) => return Err(refused),
    };
    web.sessions.tell(viewer.key, notice);
    Ok(Redirect::to(&path(&["missions", &id])).into_response())
}
