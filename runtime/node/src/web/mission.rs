//! A mission, now or as of a record, and its cancel.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Web;
use super::ask::Read;
use super::door::{Posted, Viewer};
use super::frame::{Page, Refused, decides_nothing, form_key, live};
use super::gauges::gauges;
use super::missions::waits;
use super::session::Notice;
use super::text::{Clock, badge, block, cell, path, plain, str, with_query};
use super::timeline::Timeline;
use super::{compare, delivery, files, fork, inbox, keep, record};
use crate::mcp::Ask;

/// As of which record the mission is shown; empty is now.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MissionQuery {
    at: String,
}

/// `GET /missions/{id}`
pub(super) async fn page(
    viewer: Viewer,
    State(web): State<Web>,
    Path(id): Path<String>,
    Read(query): Read<MissionQuery>,
) -> Result<Response, Refused> {
    // Whether it is there, and may be seen, the interface says.
    let mut ask = Ask::new(Method::GET, ["v1", "missions", &id]);
    if !query.at.is_empty() {
        ask = ask.with_query("at", query.at.as_str());
    }
    let mission = web.ask(&viewer, ask).await?;
    let until = mission["record"].as_u64();
    let named = str(&mission, "mission_id").to_owned();
    let timelines = Arc::clone(&web.timelines);
    let read = web.app.reading(move |engine| match engine.find(&named)? {
        Some(no) => timelines.read(engine, no, until),
        None => Ok(Timeline::default()),
    });
    let timeline = read.await.map_err(|problem| Refused::problem(Some(&viewer), &problem.body()))?;
    let (clock, records) = (web.clock(), mission["records"].as_u64().unwrap_or(1));
    let main = html! {
        h1 { (plain(&id)) }
        @match until {
            Some(at) => (record::slider(&id, at, records, &html! {
                (record::shown(&mission, &timeline, &clock)) (fork::link(&viewer, &id, Some(at)))
            })),
            None => {
                (live(&path(&["missions", &id]), &html! {
                    (shown(&mission, &clock)) (delivery::forms(&viewer, &mission)) (timeline.shown(&clock, is_over(&mission)))
                }))
                @if !is_over(&mission) { (cancel_form(&viewer, &id)) }
                (keep::form(&viewer, &mission, &clock))
                (record::slider(&id, records, records, &html! {
                    (record::steps(&id, records, records)) (fork::link(&viewer, &id, None)) (compare::link(&viewer, &id))
                }))
            }
        }
    };
    Ok(Page { title: &id, at: "/missions", main }.shown(&web, &viewer))
}

fn is_over(mission: &Value) -> bool {
    !mission["ended_at"].is_null()
}

fn shown(mission: &Value, clock: &Clock) -> Markup {
    html! {
        p class="line" aria-live="polite" {
            (badge(str(mission, "status")))
            @if !mission["reason"].is_null() { " " (cell(&mission["reason"])) }
            " " span class="dim" { (waits(&mission["waits_for"], clock)) }
            " " a href=(path(&["missions", str(mission, "mission_id"), "why"])) { "Why?" }
        }
        (inbox::link(mission))
        (fork::origin(mission))
        (family(mission))
        @if !mission["quarantine"].is_null() {
            div class="notice bad" {
                p { "In quarantine since " (clock.time(&mission["quarantine"]["since"])) ": " (cell(&mission["quarantine"]["why"])) }
                p { (cell(&mission["quarantine"]["remedy"])) }
            }
        }
        section aria-labelledby="summary" {
            h2 id="summary" { "Summary" }
            p class="text" { (block(str(mission, "summary"))) }
            @if let Some(next) = mission["next_action"].as_str() { p { b { "Next: " } (block(next)) } }
            h3 { "Objective" }
            p class="text" { (block(str(mission, "objective"))) }
            @for warning in mission["warnings"].as_array().into_iter().flatten() { p class="notice" { (cell(warning)) } }
        }
        (gauges(mission))
        (facts(mission, clock))
        (criteria(mission))
        (files::listed(mission))
        (delivery::shown(&mission["delivery"], clock))
    }
}

/// Who dispatched it, and what it has dispatched.
fn family(mission: &Value) -> Markup {
    let (parent, children) = (str(mission, "parent_id"), mission["children"].as_u64().unwrap_or(0));
    let search = format!("parent:{}", str(mission, "mission_id"));
    html! {
        @if !parent.is_empty() {
            p { "Dispatched by " a href=(path(&["missions", parent])) { (plain(parent)) } "." }
        }
        @if children > 0 {
            p { a href=(with_query(&path(&["missions"]), &[("q", &search)])) { "Missions that it dispatched" } " (" (children) ")" }
        }
    }
}

fn facts(mission: &Value, clock: &Clock) -> Markup {
    let plugin = &mission["plugin"];
    let window = &mission["autonomy_window"];
    let row = |name: &str, value: Markup| html! { dt { (name) } dd { (value) } };
    let text = |key: &str| html! { (cell(&mission[key])) };
    html! {
        details {
            summary { "Details" }
            dl {
                (row("VP", text("vp_id"))) (row("Session", text("vp_session_id"))) (row("Lane", text("vp_runtime_id")))
                (row("Type", text("mission_type"))) (row("Trace", text("trace_id"))) (row("Dispatched by", text("source_instance_id")))
                (row("Plugin", html! { (cell(&plugin["name"])) " " (cell(&plugin["version"])) }))
                (row("Accepted", clock.time(&mission["accepted_at"]))) (row("Started", clock.time(&mission["started_at"])))
                (row("Ended", clock.time(&mission["ended_at"])))
                (row("Window", html! { (clock.time(&window["start_at"])) " to " (clock.time(&window["end_at"])) }))
                (row("Carried over", text("carried_over")))
            }
        }
    }
}

pub(super) fn criteria(mission: &Value) -> Markup {
    let criteria = mission["criteria"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        @if !criteria.is_empty() {
            section aria-labelledby="criteria" {
                h2 id="criteria" { "Criteria" }
                ul {
                    @for criterion in criteria {
                        li {
                            @match str(criterion, "verdict") {
                                "met" => b class="s-done" { "✓ met" },
                                "unmet" => b class="s-failed" { "✗ not met" },
                                _ => b class="dim" { "not judged" },
                            }
                            ": " (block(str(criterion, "criterion")))
                            @if !str(criterion, "evidence").is_empty() { div class="dim" { (block(str(criterion, "evidence"))) } }
                        }
                    }
                }
            }
        }
    }
}

fn cancel_form(viewer: &Viewer, id: &str) -> Markup {
    html! {
        @if viewer.operates() {
            section aria-labelledby="cancel" {
                h2 id="cancel" { "Cancel" }
                form method="post" action=(path(&["missions", id, "cancel"])) class="decide" {
                    (form_key(viewer))
                    (decides_nothing())
                    label for="reason" { "Why" }
                    input id="reason" name="reason" maxlength="2000";
                    button type="submit" class="danger" { "Cancel this mission" }
                }
            }
        }
    }
}

/// `POST /missions/{id}/cancel`
pub(super) async fn cancel(
    State(web): State<Web>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Refused> {
    let Posted { viewer, fields } = posted;
    let body = json!({"reason": fields.text("reason").trim()}).to_string();
    let ask = Ask::new(Method::POST, ["v1", "missions", &id, "cancel"]).with_body(body);
    let notice = match web.ask(&viewer, ask).await {
        Ok(_) => Notice { is_bad: false, lines: vec!["Cancelled.".to_owned()] },
        Err(refused) if refused.code == "already_final" => refused.notice(),
        Err(refused) if refused.is_unsure() => refused.about(&id),
        Err(refused) => return Err(refused),
    };
    web.sessions.tell(viewer.key, notice);
    Ok(Redirect::to(&path(&["missions", &id])).into_response())
}
