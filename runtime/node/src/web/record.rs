//! A mission as of one of its records: a slider over them, and what the interface says of each (`?at=`).

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

use super::gauges::gauges;
use super::mission;
use super::text::{Clock, badge, block, bytes, cell, moment, path, plain, str, with_query};
use super::timeline::Timeline;

/// The id of what the slider fetches.
const PART: &str = "as-of";

/// The slider, at that record, with what `part` shows of it.
pub(super) fn slider(id: &str, at: u64, records: u64, part: &Markup) -> Markup {
    let own = path(&["missions", id]);
    let part_id = format!("#{PART}");
    html! {
        section aria-labelledby="record" {
            h2 id="record" { "Its record" }
            form method="get" action=(own) class="filter" hx-get=(own) hx-trigger="input changed delay:150ms" hx-select=(part_id) hx-target=(part_id) hx-swap="outerHTML" {
                div class="slider" {
                    label for="at" { "As of record, from 1 to " (records) }
                    input id="at" name="at" type="range" min="1" max=(records) step="1" value=(at);
                }
                button type="submit" { "Show" }
            }
            div id=(PART) { (part) }
        }
    }
}

/// What leads from a record to others.
pub(super) fn steps(id: &str, at: u64, records: u64) -> Markup {
    let own = path(&["missions", id]);
    let to = |no: u64| with_query(&own, &[("at", &no.to_string())]);
    let step = |words: &str, no: u64, is_there: bool| {
        html! {
            li { @if is_there { a href=(to(no)) { (words) } } @else { span class="dim" { (words) } } }
        }
    };
    html! {
        nav aria-label="Records" {
            ul class="legend" {
                (step("First", 1, at > 1)) (step("Previous", at.saturating_sub(1), at > 1))
                (step("Next", at + 1, at < records)) (step("Last", records, at < records))
                li { a href=(own) { "Now" } }
            }
        }
    }
}

/// The mission as of a record.
pub(super) fn shown(past: &Value, timeline: &Timeline, clock: &Clock) -> Markup {
    let number = |key: &str| past[key].as_u64().unwrap_or(0);
    let id = str(past, "mission_id");
    // As far as its words know of a now, it is that of the record.
    let then = Clock { zone: clock.zone.clone(), now: moment(&past["at"]).unwrap_or(Timestamp::UNIX_EPOCH) };
    let requests = past["pending_requests"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        p class="notice" role="status" {
            "As of record " b { (number("record")) } " of " (number("records")) ", " code { (plain(str(past, "kind"))) } ", "
            (clock.time(&past["at"])) ": not how it stands now."
        }
        (steps(id, number("record"), number("records")))
        p class="line" {
            (badge(str(past, "status")))
            @if !past["reason"].is_null() { " " (cell(&past["reason"])) }
        }
        p class="text" { (block(str(past, "summary"))) }
        @if let Some(next) = past["next_action"].as_str() { p { b { "Next: " } (block(next)) } }
        @if !requests.is_empty() {
            section aria-labelledby="open" {
                h3 id="open" { "Open requests" }
                ul {
                    @for request in requests {
                        li { b { (cell(&request["request_id"])) } " " (cell(&request["kind"])) ": " (block(str(request, "question"))) }
                    }
                }
            }
        }
        (gauges(past))
        (mission::criteria(past))
        (artifacts(past))
        (timeline.shown(&then, !past["ended_at"].is_null()))
    }
}

/// What it had stored then. There are no links: under the same name there may be something else by now.
fn artifacts(past: &Value) -> Markup {
    let artifacts = past["artifacts"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        @if !artifacts.is_empty() {
            section aria-labelledby="stored" {
                h3 id="stored" { "Artifacts, as they were" }
                ul {
                    @for artifact in artifacts {
                        li {
                            b { (plain(str(artifact, "name"))) } " " (bytes(&artifact["bytes"])) " "
                            code class="dim" { "sha256 " (str(artifact, "sha256").chars().take(12).collect::<String>()) "…" }
                        }
                    }
                }
            }
        }
    }
}
