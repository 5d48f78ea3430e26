//! Schedules: what comes next, what became of each time, who changed what, and what people do to them.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::civil::DateTime;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sortie_contract::{Status, Timestamp};

use super::Web;
use super::ask::{Read, items};
use super::door::{Fields, Posted, Viewer};
use super::frame::{Page, Refused, decides_nothing, form_key};
use super::session::Notice;
use super::text::{Clock, badge, block, cell, moment, path, plain, str, with_query};
use crate::mcp::Ask;

/// Entries of the history on a page.
const PAST: &str = "90";

/// Where the history of the page begins.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ScheduleQuery {
    cursor: String,
}

/// `GET /schedules/{id}`
pub(super) async fn page(
    viewer: Viewer,
    State(web): State<Web>,
    Path(id): Path<String>,
    Read(query): Read<ScheduleQuery>,
) -> Result<Response, Refused> {
    let schedule = web.get(&viewer, &["v1", "schedules", &id]).await?;
    let mut ask = Ask::new(Method::GET, ["v1", "schedules", &id, "fires"]).with_query("limit", PAST);
    if !query.cursor.is_empty() {
        ask = ask.with_query("cursor", query.cursor.as_str());
    }
    let fires = web.ask(&viewer, ask).await?;
    let statuses = web.statuses(&viewer, items(&fires)).await?;
    let clock = web.clock();
    let further =
        fires["next_cursor"].as_str().map(|cursor| with_query(&path(&["schedules", &id]), &[("cursor", cursor)]));
    let main = html! {
        h1 { (plain(&id)) }
        (stands(&schedule, &clock))
        section aria-labelledby="next" {
            h2 id="next" { "Next" }
            (upcoming(schedule["next"].as_array().map_or(&[], Vec::as_slice), "The next times", &clock))
            (outlook(&schedule["outlook"]))
        }
        section aria-labelledby="past" {
            h2 id="past" { "Past" }
            (squares(items(&fires), &statuses, &clock))
            @if let Some(further) = further { nav aria-label="Pages of the history" { a href=(further) rel="next" { "Earlier →" } } }
        }
        (changes(&schedule["changes"], &clock))
        @if viewer.operates() { (forms(&viewer, &id, &schedule, &clock)) }
        details {
            summary { "As it was written" }
            pre tabindex="0" { (super::text::json(&schedule["schedule"])) }
        }
    };
    Ok(Page { title: &id, at: "/schedules", main }.shown(&web, &viewer))
}

fn stands(schedule: &Value, clock: &Clock) -> Markup {
    let (pause, definition) = (&schedule["paused"], &schedule["schedule"]);
    let running = schedule["running"].as_array().map_or(&[][..], Vec::as_slice);
    let number = |key: &str| schedule[key].as_u64().unwrap_or(0);
    html! {
        @if let Some(note) = definition["note"].as_str() { p class="text" { (block(note)) } }
        p class="line" {
            @if pause.is_null() { "It fires." }
            @else {
                b { "Paused" }
                @if let Some(count) = pause["after_failures"].as_u64() { " after " (count) " failures in a row" }
                @if !pause["until"].is_null() { ", until " (clock.time(&pause["until"])) }
                @if let Some(note) = pause["note"].as_str() { ": " (plain(note)) } @else { "." }
            }
            " Revision " (cell(&schedule["revision"])) ". "
            @if number("waiting") > 0 { (number("waiting")) " wait for their turn. " }
            @if number("failures") > 0 { (number("failures")) " failed in a row. " }
            @if number("backfills") > 0 { (number("backfills")) " backfills are under way. " }
            @if let Some(left) = schedule["runs_left"].as_u64() { "It fires " (left) " times more." }
        }
        @if !running.is_empty() {
            p { "Running: " @for (no, id) in running.iter().filter_map(Value::as_str).enumerate() { @if no > 0 { ", " } a href=(path(&["missions", id])) { (plain(id)) } } "." }
        }
    }
}

/// Times to come, by the clock of their zone and in UTC, with their windows.
pub(super) fn upcoming(times: &[Value], title: &str, clock: &Clock) -> Markup {
    html! {
        @if times.is_empty() { p { "It has no further time." } }
        @else {
            div class="wide" tabindex="0" role="region" aria-label=(title) {
                table {
                    thead { tr { th scope="col" { "In its zone" } th scope="col" { "UTC" } th scope="col" { "In" } th scope="col" { "Window" } th scope="col" { "Clock" } } }
                    tbody {
                        @for time in times {
                            @let window = &time["window"];
                            tr {
                                th scope="row" { (cell(&time["local"])) }
                                td data-label="UTC" { (cell(&time["at"])) }
                                td data-label="In" { (moment(&time["at"]).map(|at| clock.distance(at)).unwrap_or_default()) }
                                td data-label="Window" { (clock.time(&window["opens"])) " to " @if window["closes"].is_null() { "no end" } @else { (clock.time(&window["closes"])) } }
                                td data-label="Clock" {
                                    @match time["note"].as_str() {
                                        Some("gap") => "the clock leaves this time out",
                                        Some("fold") => "the clock shows this time twice",
                                        _ => "–",
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What each overlap policy would do with the next time.
fn outlook(outlook: &Value) -> Markup {
    let policies = outlook["policies"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        @if !policies.is_empty() {
            p { "If what runs now still ran then, the fire of " (cell(&outlook["local"])) " would, by policy:" }
            ul {
                @for policy in policies {
                    li {
                        code { (cell(&policy["overlap"])) } ": " (would(str(policy, "would")))
                        @if policy["own"] == true { b { " (its own)" } }
                    }
                }
            }
        }
    }
}

fn would(what: &str) -> &str {
    match what {
        "fire" => "run beside the others",
        "cancel_and_fire" => "take their place",
        "wait" => "wait",
        "skip" => "be skipped",
        "full" => "be skipped: as many wait as can",
        "hold_up" => "wait: as many run as may",
        other => other,
    }
}

/// What became of a time, as a square has it: its class, its mark, its words.
fn square(fire: &Value, status: Option<Status>) -> (&'static str, &'static str, String) {
    let reason = fire["reason"].as_str().map_or_else(String::new, |reason| format!(" ({})", reason.replace('_', " ")));
    match (str(fire, "what"), status, str(fire, "made")) {
        ("fired", _, "refused") => ("b-failed", "!", "the node did not take its mission".to_owned()),
        ("fired", Some(status), _) => {
            let (class, mark) = match status {
                Status::Completed => ("b-done", "✓"),
                Status::Failed | Status::TimedOut => ("b-failed", "✗"),
                Status::Cancelled => ("b-cancelled", "–"),
                Status::Queued => ("b-queued", "…"),
                Status::Running => ("b-running", "▶"),
                Status::Blocked => ("b-blocked", "?"),
            };
            (class, mark, status.as_str().replace('_', " "))
        }
        ("fired", None, _) => ("b-cancelled", "·", "its mission is not kept any more".to_owned()),
        ("missed", ..) => ("b-failed", "∅", format!("missed{reason}")),
        ("skipped", ..) => ("b-cancelled", "↷", format!("skipped{reason}")),
        ("waits", ..) => ("b-blocked", "…", "waited for its turn".to_owned()),
        (what, ..) => ("b-queued", "·", format!("{}{reason}", what.replace('_', " "))),
    }
}

/// The history as squares, the newest first.
fn squares(fires: &[Value], statuses: &BTreeMap<String, Status>, clock: &Clock) -> Markup {
    html! {
        @if fires.is_empty() { p { "Nothing so far." } }
        @else {
            ol class="squares" {
                @for fire in fires {
                    @let mission = fire["mission_id"].as_str();
                    @let status = mission.and_then(|id| statuses.get(id)).copied();
                    @let (class, mark, what) = square(fire, status);
                    @let words = words(fire, &what, clock);
                    li {
                        @match mission.filter(|_| status.is_some()) {
                            Some(id) => a class=(format!("square {class}")) href=(path(&["missions", id])) title=(words) aria-label=(words) { (mark) },
                            None => span class=(format!("square {class}")) role="img" title=(words) aria-label=(words) { (mark) },
                        }
                    }
                }
            }
            details {
                summary { "In words" }
                ul {
                    @for fire in fires {
                        @let mission = fire["mission_id"].as_str();
                        @let (_, _, what) = square(fire, mission.and_then(|id| statuses.get(id)).copied());
                        li { (words(fire, &what, clock)) @for error in fire["errors"].as_array().into_iter().flatten() { " " code { (cell(&error["pointer"])) } " " (cell(&error["detail"])) } }
                    }
                }
            }
        }
    }
}

/// When, how often, and what.
fn words(fire: &Value, what: &str, clock: &Clock) -> String {
    let at = |key: &str| moment(&fire[key]).map(|at| clock.local(at));
    let count = fire["count"].as_u64().unwrap_or(1);
    let when = match (at("first"), at("last")) {
        (Some(first), Some(last)) if count > 1 => format!("{first} to {last}, {count} times"),
        (Some(first), _) => first,
        (None, _) => at("recorded_at").unwrap_or_default(),
    };
    let origin = match str(fire, "origin") {
        "triggered" => ", by hand",
        "backfilled" => ", filled in later",
        _ => "",
    };
    plain(&format!("{when}: {what}{origin}"))
}

fn changes(changes: &Value, clock: &Clock) -> Markup {
    let changes = changes.as_array().map_or(&[][..], Vec::as_slice);
    html! {
        @if !changes.is_empty() {
            section aria-labelledby="changes" {
                h2 id="changes" { "Who changed what" }
                ul {
                    @for change in changes.iter().rev() {
                        li {
                            b { (cell(&change["what"])) } " by " b { (cell(&change["by"])) } ", " (clock.time(&change["at"])) ", revision " (cell(&change["revision"])) "."
                            @if !str(change, "note").is_empty() { " “" (plain(str(change, "note"))) "”" }
                        }
                    }
                }
            }
        }
    }
}

fn forms(viewer: &Viewer, id: &str, schedule: &Value, clock: &Clock) -> Markup {
    let to = |what: &str| path(&["schedules", id, what]);
    let note = |field: &str| html! { label for=(field) { "Why" } input id=(field) name="note" maxlength="2000"; };
    html! {
        section aria-labelledby="do" {
            h2 id="do" { "Change it" }
            p { a href=(to("edit")) { "Edit what it says" } }
            @if schedule["paused"].is_null() {
                form method="post" action=(to("pause")) class="decide" {
                    (form_key(viewer)) (decides_nothing())
                    label for="until" { "Pause until, by the clock of " (clock.zone.name()) " (empty: until it is resumed)" }
                    input id="until" name="until" type="datetime-local";
                    (note("note-pause"))
                    button type="submit" name="decision" value="pause" { "Pause" }
                }
            } @else {
                form method="post" action=(to("resume")) class="decide" {
                    (form_key(viewer)) (decides_nothing())
                    (note("note-resume"))
                    button type="submit" name="decision" value="resume" class="primary" { "Resume" }
                }
            }
            form method="post" action=(to("trigger")) class="decide" {
                (form_key(viewer)) (decides_nothing())
                label for="overlap" { "If one of its missions runs" }
                select id="overlap" name="overlap" {
                    option value="" { "as the schedule says" }
                    @for overlap in sortie_schedule::Overlap::ALL { option value=(overlap.as_str()) { (overlap.as_str()) } }
                }
                (note("note-trigger"))
                button type="submit" name="decision" value="trigger" { "Fire now" }
            }
            form method="post" action=(to("backfill")) class="decide" {
                (form_key(viewer)) (decides_nothing())
                p { "Fill in: makes the missions of times that are over, the first and the last included." }
                label for="from" { "From, by the clock of " (clock.zone.name()) }
                input id="from" name="from" type="datetime-local" required;
                label for="to" { "To" }
                input id="to" name="to" type="datetime-local" required;
                label for="order" { "How many at once" }
                select id="order" name="order" {
                    option value="in_turn" { "one after the other" }
                    option value="together" { "all together, as the lane has room" }
                }
                (note("note-backfill"))
                button type="submit" name="decision" value="backfill" { "Fill in" }
            }
            form method="post" action=(to("remove")) class="decide" {
                (form_key(viewer)) (decides_nothing())
                label for="name" { "To remove it with its history, write its name" }
                input id="name" name="name" autocomplete="off" spellcheck="false";
                button type="submit" name="decision" value="remove" class="danger" { "Remove" }
            }
        }
    }
}

/// What a form asks for, as the interface takes it.
fn body(what: &str, fields: &Fields, clock: &Clock) -> Result<Value, String> {
    let mut body = Map::new();
    if what != "remove" {
        body.extend(fields.given("note").map(|note| ("note".to_owned(), json!(note.trim()))));
    }
    let times = match what {
        "pause" => &["until"][..],
        "backfill" => &["from", "to"],
        _ => &[],
    };
    for name in times {
        if let Some(said) = fields.given(name) {
            body.insert((*name).to_owned(), json!(at(said, clock)?.to_string()));
        } else if what == "backfill" {
            return Err(format!("A time is missing: `{name}`."));
        }
    }
    if what == "backfill" {
        body.extend(fields.given("order").map(|order| ("order".to_owned(), json!(order))));
    }
    if what == "trigger" {
        body.extend(fields.given("overlap").map(|overlap| ("overlap".to_owned(), json!(overlap))));
    }
    Ok(Value::Object(body))
}

/// A time as a browser writes it: without a zone, which the form named.
fn at(said: &str, clock: &Clock) -> Result<Timestamp, String> {
    let local =
        said.trim().parse::<DateTime>().map_err(|_| format!("“{said}” is no time such as 2026-12-01T06:00."))?;
    clock.zone.rules().to_timestamp(local).map_err(|_| format!("“{said}” is out of range."))
}

/// `POST /schedules/{id}/{what}`: what its buttons do.
pub(super) async fn act(
    State(web): State<Web>,
    Path((id, what)): Path<(String, String)>,
    posted: Posted,
) -> Result<Response, Refused> {
    let Posted { viewer, fields } = posted;
    let done = match what.as_str() {
        "pause" => "Paused.",
        "resume" => "It fires again.",
        "trigger" => "Fired, or waits for its turn.",
        "backfill" => "Its past times are filled in.",
        "remove" => "Removed.",
        _ => return Err(Refused::missing("A schedule has no such button.").seen_by(&viewer)),
    };
    if fields.text("decision") != what {
        return Err(Refused::bad(super::decision::SAY_WHAT).seen_by(&viewer));
    }
    let ask = if what == "remove" {
        if fields.text("name").trim() != id {
            let said = "Nothing was removed: what was written is not the name of the schedule.";
            return Err(Refused::bad(said).seen_by(&viewer));
        }
        Ask::new(Method::DELETE, ["v1", "schedules", &id])
    } else {
        let body = body(&what, &fields, &web.clock()).map_err(|wrong| Refused::bad(&wrong).seen_by(&viewer))?;
        Ask::new(Method::POST, ["v1", "schedules", &id, &what]).with_body(body.to_string())
    };
    let notice = match web.ask(&viewer, ask).await {
        Ok(_) => Notice { is_bad: false, lines: vec![format!("{id}: {done}")] },
        Err(refused) if refused.is_late() || refused.is_unsure() => refused.about(&id),
        Err(refused) => return Err(refused),
    };
    let is_gone = what == "remove" && !notice.is_bad;
    web.sessions.tell(viewer.key, notice);
    let next = if is_gone { "/schedules".to_owned() } else { path(&["schedules", &id]) };
    Ok(Redirect::to(&next).into_response())
}

impl Web {
    /// How the missions of some fires stand, by name: of those that are kept.
    async fn statuses(&self, viewer: &Viewer, fires: &[Value]) -> Result<BTreeMap<String, Status>, Refused> {
        let ids: Vec<String> = fires.iter().filter_map(|fire| fire["mission_id"].as_str()).map(str::to_owned).collect();
        let read = self.app.reading(move |engine| {
            let mut statuses = BTreeMap::new();
            for id in ids {
                // Its head, and no more of it.
                let head = engine.find(&id)?.map(|no| engine.log().head(no)).transpose()?.flatten();
                statuses.extend(head.map(|head| (id, head.status)));
            }
            Ok(statuses)
        });
        read.await.map_err(|problem| Refused::problem(Some(viewer), &problem.body()))
    }
}

/// A schedule in a list, as a link.
pub(super) fn link(row: &Value) -> Markup {
    html! {
        a href=(path(&["schedules", str(row, "id")])) { b { (plain(str(row, "id"))) } }
        @if row["paused"] == true { " " (badge("waiting")) }
    }
}

#[cfg(test)]
mod tests {
    use sortie_schedule::Zone;

    use super::*;

    #[test]
    fn a_pause_ends_by_the_clock_that_the_form_named() {
        let clock = Clock { zone: Zone::named("Europe/Berlin").expect("a zone"), now: Timestamp::UNIX_EPOCH };
        let read = |until: &str| {
            body(
                "pause",
                &Fields(vec![("until".to_owned(), until.to_owned()), ("note".to_owned(), " why ".to_owned())]),
                &clock,
            )
        };
        for (until, expected) in [
            ("2026-12-01T06:00", Some("2026-12-01T05:00:00Z")),
            ("2026-07-01T06:00:30", Some("2026-07-01T04:00:30Z")),
            // One that the clock leaves out is behind the gap.
            ("2026-03-29T02:30", Some("2026-03-29T01:30:00Z")),
            ("", None),
        ] {
            let body = read(until).expect("a time");
            assert_eq!((body["until"].as_str(), &body["note"]), (expected, &json!("why")), "{until}");
        }
        for until in ["soon", "2026-13-01T00:00", "06:00"] {
            assert!(read(until).is_err(), "{until}");
        }
    }

    #[test]
    fn what_is_filled_in_has_both_ends() {
        let clock = Clock { zone: Zone::named("Europe/Berlin").expect("a zone"), now: Timestamp::UNIX_EPOCH };
        let read = |pairs: &[(&str, &str)]| {
            let fields = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            body("backfill", &Fields(fields.collect()), &clock)
        };
        let (from, to) = (("from", "2026-12-01T06:00"), ("to", "2026-12-03T06:00"));
        let both = json!({"from": "2026-12-01T05:00:00Z", "to": "2026-12-03T05:00:00Z", "order": "in_turn"});
        assert_eq!(read(&[from, to, ("order", "in_turn")]), Ok(both));
        for (pairs, part) in
            [(&[from][..], "`to`"), (&[to], "`from`"), (&[from, ("to", "later")], "“later” is no time")]
        {
            assert!(read(pairs).is_err_and(|why| why.contains(part)), "{pairs:?}");
        }
    }

    #[test]
    fn each_end_has_a_mark_and_words_of_its_own() {
        let fired = json!({"what": "fired", "made": "made"});
        for (fire, status, expected) in [
            (fired.clone(), Some(Status::Completed), ("b-done", "completed")),
            (fired.clone(), Some(Status::TimedOut), ("b-failed", "timed out")),
            (fired, None, ("b-cancelled", "its mission is not kept any more")),
            (json!({"what": "fired", "made": "refused"}), None, ("b-failed", "the node did not take its mission")),
            (json!({"what": "skipped", "reason": "buffer_full"}), None, ("b-cancelled", "skipped (buffer full)")),
            (json!({"what": "missed", "reason": "too_late"}), None, ("b-failed", "missed (too late)")),
            (json!({"what": "paused"}), None, ("b-queued", "paused")),
        ] {
            let (class, _, words) = square(&fire, status);
            assert_eq!((class, words.as_str()), expected, "{fire}");
        }
    }
}
