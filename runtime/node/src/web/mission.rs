//! A mission, its files, and its cancel.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::Web;
use super::diff;
use super::door::{Posted, Viewer};
use super::frame::{Page, Refused, decides_nothing, form_key, live};
use super::inbox;
use super::missions::waits;
use super::session::Notice;
use super::text::{Clock, badge, block, bytes, cell, dollars, path, plain, str};
use super::timeline::Timeline;
use crate::mcp::Ask;

/// Bytes of an artifact that a page shows.
const SHOWN_MAX: usize = 256 << 10;

/// `GET /missions/{id}`
pub(super) async fn page(viewer: Viewer, State(web): State<Web>, Path(id): Path<String>) -> Result<Response, Refused> {
    // Whether it is there, and may be seen, the interface says.
    let mission = web.get(&viewer, &["v1", "missions", &id]).await?;
    let named = str(&mission, "mission_id").to_owned();
    let read = web.app.reading(move |engine| match engine.find(&named)? {
        Some(no) => Timeline::read(engine, no),
        None => Ok(Timeline::default()),
    });
    let timeline = read.await.map_err(|problem| Refused::problem(Some(&viewer), &problem.body()))?;
    let clock = web.clock();
    let again = path(&["missions", &id]);
    let main = html! {
        h1 { (plain(&id)) }
        (live(&again, &html! { (shown(&mission, &clock)) (timeline.shown(&clock, is_over(&mission))) }))
        @if !is_over(&mission) { (cancel_form(&viewer, &id)) }
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
        }
        (inbox::link(mission))
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
        (artifacts(mission))
        (delivery(&mission["delivery"], clock))
    }
}

/// What of its limits is spent, set aside, and free.
fn gauges(mission: &Value) -> Markup {
    let (usage, budget) = (&mission["usage"], &mission["effective_budget"]);
    let number = |value: &Value| value.as_f64();
    let minutes = |minutes: f64| format!("{minutes:.1} min");
    let calls = |calls: f64| format!("{calls:.0}");
    html! {
        section aria-labelledby="gauges" {
            h2 id="gauges" { "Budget" }
            div class="gauges" {
                (gauge("Run time", number(&usage["runtime_minutes"]).unwrap_or(0.0), 0.0, number(&budget["max_runtime_minutes"]), &minutes))
                (gauge("Model calls", number(&usage["llm_calls"]).unwrap_or(0.0), number(&usage["reserved"]["llm_calls"]).unwrap_or(0.0), number(&budget["max_llm_calls"]), &calls))
                (gauge("Money", number(&usage["estimated_cost_usd"]).unwrap_or(0.0), number(&usage["reserved"]["cost_usd"]).unwrap_or(0.0), number(&budget["max_cost_usd"]), &dollars))
            }
        }
    }
}

/// A limit in three parts; one that there is not is only told.
fn gauge(name: &str, spent: f64, reserved: f64, most: Option<f64>, form: &dyn Fn(f64) -> String) -> Markup {
    let free = most.map(|most| (most - spent - reserved).max(0.0));
    // What was spent over the limit makes it no wider.
    let whole = most.unwrap_or(0.0).max(spent + reserved).max(f64::MIN_POSITIVE);
    let width = |part: f64| format!("{:.1}", 200.0 * part / whole);
    html! {
        div class="gauge" {
            h3 { (name) }
            @if most.is_some() {
                svg viewBox="0 0 200 12" preserveAspectRatio="none" aria-hidden="true" {
                    rect class="free" width="200" height="12" rx="3" {}
                    rect class="reserved" x=(width(spent)) width=(width(reserved)) height="12" {}
                    rect class="spent" width=(width(spent)) height="12" rx="3" {}
                }
            }
            p {
                b { (form(spent)) } " spent, " (form(reserved)) " set aside, "
                @match free { Some(free) => { (form(free)) " free" } None => { "no limit" } }
            }
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

fn criteria(mission: &Value) -> Markup {
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

fn artifacts(mission: &Value) -> Markup {
    let id = str(mission, "mission_id");
    let artifacts = mission["artifacts"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        @if !artifacts.is_empty() {
            section aria-labelledby="artifacts" {
                h2 id="artifacts" { "Artifacts" }
                div class="wide" tabindex="0" role="group" aria-label="Artifacts" {
                    table {
                        thead { tr { th scope="col" { "Name" } th scope="col" { "Type" } th scope="col" class="num" { "Size" } th scope="col" { "Get" } } }
                        tbody {
                            @for artifact in artifacts {
                                @let name = str(artifact, "name");
                                tr {
                                    th scope="row" {
                                        @if is_text(artifact) { a href=(below(&["missions", id, "files"], name)) { (plain(name)) } } @else { (plain(name)) }
                                    }
                                    td data-label="Type" { (cell(&artifact["media_type"])) }
                                    td class="num" data-label="Size" { (bytes(&artifact["bytes"])) }
                                    td { a href=(below(&["missions", id, "download"], name)) download { "Download" span class="sr" { " " (plain(name)) } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The path of an artifact: the steps of its name are steps of the path.
fn below(steps: &[&str], name: &str) -> String {
    let steps: Vec<&str> = steps.iter().copied().chain(name.split('/')).collect();
    path(&steps)
}

fn is_text(artifact: &Value) -> bool {
    let (media_type, name) = (str(artifact, "media_type"), str(artifact, "name"));
    let ends = [".md", ".txt", ".json", ".jsonl", ".patch", ".diff", ".csv", ".toml", ".yaml", ".yml", ".log"];
    media_type.starts_with("text/")
        || media_type.contains("json")
        || media_type.contains("xml")
        || ends.iter().any(|end| name.ends_with(end))
}

fn delivery(delivery: &Value, clock: &Clock) -> Markup {
    if delivery.is_null() {
        return html! {};
    }
    html! {
        section aria-labelledby="delivery" {
            h2 id="delivery" { "Deliveries" }
            p {
                (badge(str(delivery, "state"))) " " (cell(&delivery["delivered"])) " of " (cell(&delivery["total"])) " delivered"
                @if delivery["attempts"] != 0 { ", " (cell(&delivery["attempts"])) " attempts at the next" }
                @if !delivery["next_attempt_at"].is_null() { ", tried again " (clock.time(&delivery["next_attempt_at"])) }
                "."
            }
            @if let Some(error) = delivery["error"].as_str() { p { "Last error: " code { (block(error)) } } }
            @for skipped in delivery["skipped"].as_array().into_iter().flatten() { p { "Skipped: " (cell(skipped)) } }
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

fn artifact(id: &str, name: &str) -> Ask {
    let steps = ["v1", "missions", id, "artifacts"].into_iter().chain(name.split('/'));
    Ask::new(Method::GET, steps)
}

/// `GET /missions/{id}/files/{name}`: a text, with nothing in it taken for anything else.
pub(super) async fn file(
    viewer: Viewer,
    State(web): State<Web>,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, Refused> {
    let ask = artifact(&id, &name).with_header(header::RANGE, format!("bytes=0-{}", SHOWN_MAX - 1));
    let (parts, body) = match web.send(&viewer, ask).await {
        Ok(response) => response.into_parts(),
        // An empty one has no part.
        Err(refused) if refused.code == "range_not_satisfiable" => {
            web.send(&viewer, artifact(&id, &name)).await?.into_parts()
        }
        Err(refused) => return Err(refused),
    };
    let is_part = parts.headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok()).is_some_and(|range| {
        let total = range.rsplit('/').next().and_then(|total| total.parse::<usize>().ok());
        total.is_some_and(|total| total > SHOWN_MAX)
    });
    let read = axum::body::to_bytes(body, SHOWN_MAX + 1).await;
    let read = read.map_err(|error| Refused::bad(&format!("The artifact cannot be read: {error}")).seen_by(&viewer))?;
    let text = String::from_utf8_lossy(&read);
    let is_patch = name.ends_with(".patch") || name.ends_with(".diff");
    let main = html! {
        h1 { (plain(&name)) }
        p {
            "Of " a href=(path(&["missions", &id])) { (plain(&id)) } ". "
            a href=(below(&["missions", &id, "download"], &name)) download { "Download" }
        }
        @if is_part { p class="notice" { "Only its beginning is shown." } }
        @if is_patch { (diff::patch(&text)) } @else { pre class="text" tabindex="0" role="region" aria-label="Text of the artifact" { (block(&text)) } }
    };
    Ok(Page { title: &name, at: "/missions", main }.shown(&web, &viewer))
}

/// `GET /missions/{id}/download/{name}`: the bytes, which no browser opens as a page of this node.
pub(super) async fn download(
    viewer: Viewer,
    State(web): State<Web>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let mut ask = artifact(&id, &name);
    for known in [header::RANGE, header::IF_RANGE] {
        if let Some(value) = headers.get(&known).and_then(|value| value.to_str().ok()) {
            ask = ask.with_header(known, value);
        }
    }
    let mut response = web.send(&viewer, ask).await?;
    let saved = name.rsplit('/').next().unwrap_or_default();
    let ascii: String =
        saved.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{ascii}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    let none_of_ours = [
        // Whatever the plugin called it: a script of ours has another type, and nothing else counts as one.
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
    ];
    for (name, value) in none_of_ours {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
