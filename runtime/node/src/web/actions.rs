//! What operators did, with the button for the contrary where there is one; and the node's own pause.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::Web;
use super::ask::{Read, items};
use super::door::{Posted, Viewer};
use super::frame::{Page, Refused, form_key};
use super::session::Notice;
use super::text::{Clock, cell, path, plain, str, with_query};
use crate::mcp::Ask;

/// Where the page of the list begins.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ActionsQuery {
    cursor: String,
}

/// `GET /actions`
pub(super) async fn page(
    viewer: Viewer,
    State(web): State<Web>,
    Read(query): Read<ActionsQuery>,
) -> Result<Response, Refused> {
    let mut ask = Ask::new(Method::GET, ["v1", "actions"]).with_query("limit", "100");
    if !query.cursor.is_empty() {
        ask = ask.with_query("cursor", query.cursor.as_str());
    }
    let list = web.ask(&viewer, ask).await?;
    let clock = web.clock();
    let is_first = query.cursor.is_empty();
    let main = html! {
        h1 { "What operators did" }
        (table(&viewer, items(&list), is_first, &clock))
        @if let Some(cursor) = list["next_cursor"].as_str() {
            nav aria-label="Pages of the list" { a href=(with_query("/actions", &[("cursor", cursor)])) rel="next" { "Earlier →" } }
        }
    };
    Ok(Page { title: "What operators did", at: "/actions", main }.shown(&web, &viewer))
}

fn table(viewer: &Viewer, actions: &[Value], is_first: bool, clock: &Clock) -> Markup {
    // Only the newest of each can be taken back by its contrary.
    let mut seen = BTreeSet::new();
    html! {
        @if actions.is_empty() { p { "Nothing so far." } }
        @else {
            div class="wide" tabindex="0" role="region" aria-label="What operators did" {
                table {
                    thead { tr { th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" } th scope="col" { "To what" } th scope="col" { "Said" } th scope="col" { "From" } th scope="col" { "Take back" } } }
                    tbody {
                        @for action in actions {
                            @let what = str(action, "what");
                            @let is_newest = seen.insert((topic(what), str(action, "subject")));
                            tr {
                                td data-label="When" { (clock.time(&action["at"])) }
                                td data-label="Who" { b { (cell(&action["by"])) } }
                                th scope="row" { (plain(&what.replace('_', " "))) }
                                td data-label="To what" { (subject(action)) }
                                td data-label="Said" { @for (key, value) in action["said"].as_object().into_iter().flatten() { div { span class="dim" { (plain(key)) ": " } (cell(value)) } } }
                                td data-label="From" { (cell(&action["via"])) }
                                td { @if is_first && is_newest { (contrary(viewer, action)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What an action is about: two of one topic and one subject follow each other.
fn topic(what: &str) -> &str {
    match what {
        "pause_node" | "resume_node" => "node",
        "pause_schedule" | "resume_schedule" | "remove_schedule" => "schedule",
        other => other,
    }
}

/// What it was done to, as a link.
fn subject(action: &Value) -> Markup {
    let Some(subject) = action["subject"].as_str() else { return html! { "the node" } };
    let what = str(action, "what");
    let to = match what {
        "cancel" | "decide" | "fork" | "keep" | "redeliver" | "skip" => Some(path(&["missions", subject])),
        "remove_schedule" => None,
        _ if what.ends_with("_schedule") => Some(path(&["schedules", subject])),
        _ => None,
    };
    html! {
        @match to { Some(to) => a href=(to) { (plain(subject)) }, None => (plain(subject)) }
        @if let Some(request) = action["request"].as_str() { " " (plain(request)) }
    }
}

/// The button for the contrary.
fn contrary(viewer: &Viewer, action: &Value) -> Markup {
    let subject = str(action, "subject");
    let (to, how, words) = match str(action, "what") {
        "pause_node" => ("/node/resume".to_owned(), "resume", "Resume"),
        "resume_node" => ("/node/pause".to_owned(), "pause", "Pause"),
        "pause_schedule" => (path(&["schedules", subject, "resume"]), "resume", "Resume"),
        "resume_schedule" => (path(&["schedules", subject, "pause"]), "pause", "Pause"),
        _ => return html! {},
    };
    let of = if subject.is_empty() { "the node" } else { subject };
    html! {
        form method="post" action=(to) {
            (form_key(viewer))
            button type="submit" name="decision" value=(how) aria-label=(format!("{words} {}", plain(of))) { (words) }
        }
    }
}

/// The button that pauses a node, or lets it go on.
pub(super) fn node_form(viewer: &Viewer, state: &str) -> Markup {
    let (how, words) =
        if state == "paused" { ("resume", "Start missions again") } else { ("pause", "Start no missions") };
    html! {
        form method="post" action=(path(&["node", how])) class="decide" {
            (form_key(viewer))
            button type="submit" name="decision" value=(how) { (words) }
        }
    }
}

/// The button that cancels everything.
pub(super) fn halt_form(viewer: &Viewer) -> Markup {
    html! {
        section aria-labelledby="halt" {
            h2 id="halt" { "Halt" }
            p { "Cancels all missions that have not ended, the queued ones, too. Nothing takes it back." }
            form method="post" action=(path(&["node", "halt"])) class="decide" {
                (form_key(viewer))
                input type="checkbox" id="sure" name="sure" value="yes" required;
                label for="sure" { "All of them" }
                button type="submit" name="decision" value="halt" class="danger" { "Cancel everything" }
            }
        }
    }
}

/// `POST /node/{what}`: the node starts no missions, or starts them again, or cancels all.
pub(super) async fn node(
    State(web): State<Web>,
    Path(what): Path<String>,
    posted: Posted,
) -> Result<Response, Refused> {
    let Posted { viewer, fields } = posted;
    let done = match what.as_str() {
        "pause" => "The node starts no missions until it is resumed.",
        "resume" => "The node starts missions again.",
        "halt" if fields.text("sure") != "yes" => {
            return Err(Refused::bad("Say that all missions are meant.").seen_by(&viewer));
        }
        "halt" => "All missions are cancelled.",
        _ => return Err(Refused::missing("The node has no such button.").seen_by(&viewer)),
    };
    if fields.text("decision") != what {
        return Err(Refused::bad(super::decision::SAY_WHAT).seen_by(&viewer));
    }
    let notice = match web.ask(&viewer, Ask::new(Method::POST, ["v1", "node", &what])).await {
        Ok(_) => Notice { is_bad: false, lines: vec![done.to_owned()] },
        Err(refused) if refused.is_unsure() => refused.about("The node"),
        Err(refused) => return Err(refused),
    };
    web.sessions.tell(viewer.key, notice);
    Ok(Redirect::to("/actions").into_response())
}
