//! The night strip: one axis from evening to evening, lanes as rows, missions as bars.
//!
//! It shows what `GET /v1/nights/{date}` says, and computes nothing but places. What a colour says a pattern and a word say, too.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use serde_json::Value;

use super::text::{Clock, moment, path, plain, str};

/// Its width, of which the names of lanes take the first part.
const WIDTH: f64 = 1_200.0;
const NAMES: f64 = 150.0;
/// Heights: of the axis, of a bar with its gap, of the gap between lanes.
const AXIS: f64 = 34.0;
const TRACK: f64 = 20.0;
const GAP: f64 = 10.0;
/// Bars beside each other in one lane, and bars of all lanes. The list below has all missions.
const TRACKS_MAX: usize = 12;
const BARS_MAX: usize = 120;
/// Windows that are shaded in one lane.
const WINDOWS_MAX: usize = 24;
/// No bar is narrower: it must be seen, and hit.
const BAR_MIN: f64 = 6.0;

/// The axis.
struct Axis {
    from: Timestamp,
    until: Timestamp,
}

impl Axis {
    /// Where a moment is.
    fn at(&self, moment: Timestamp) -> f64 {
        let seconds = |time: SignedDuration| time.as_secs_f64();
        let whole = seconds(self.until.duration_since(self.from)).max(1.0);
        let part = seconds(moment.duration_since(self.from)).clamp(0.0, whole);
        NAMES + (WIDTH - NAMES) * part / whole
    }

    fn holds(&self, moment: Timestamp) -> bool {
        self.from <= moment && moment < self.until
    }
}

/// A mission as a bar.
struct Bar<'a> {
    mission: &'a Value,
    /// Since when it waits for its turn, runs, asks; until when.
    queued: f64,
    started: Option<f64>,
    asked: Option<f64>,
    ends: f64,
    track: usize,
}

/// A lane with its bars.
struct Lane<'a> {
    id: &'a str,
    closed: Vec<(f64, f64)>,
    windows: BTreeSet<(Timestamp, Timestamp)>,
    bars: Vec<Bar<'a>>,
    tracks: usize,
    /// So many have no room.
    left_out: usize,
}

/// The strip of a night.
pub(super) fn strip(night: &Value, clock: &Clock) -> Markup {
    let (Some(from), Some(until)) = (moment(&night["from"]), moment(&night["until"])) else { return html! {} };
    let axis = Axis { from, until };
    let lanes = lanes(night, &axis, clock.now);
    let height = lanes.iter().fold(AXIS, |height, lane| height + lane_height(lane));
    let mut top = AXIS;
    let rows = lanes.iter().map(|lane| {
        let row = lane_row(lane, top, &axis);
        top += lane_height(lane);
        row
    });
    let rows: Vec<Markup> = rows.collect();
    html! {
        section aria-labelledby="strip-title" {
            h2 id="strip-title" class="sr" { "The night by lanes" }
            div class="wide strip" tabindex="0" role="region" aria-label="Night strip, can be scrolled" {
                svg viewBox=(format!("0 0 {WIDTH} {height}")) role="group" aria-label="Missions of the night by lane and time; the table below has the same" {
                    (patterns())
                    (ticks(&axis, clock, height))
                    @for row in &rows { (row) }
                    @for change in night["clock_changes"].as_array().into_iter().flatten().filter_map(moment) {
                        g class="change" {
                            line x1=(place(axis.at(change))) x2=(place(axis.at(change))) y1="14" y2=(height) {}
                            text x=(place(axis.at(change) + 4.0)) y="12" { "clock set to " (clock.short(change)) }
                        }
                    }
                    @if axis.holds(clock.now) {
                        g class="now" {
                            line x1=(place(axis.at(clock.now))) x2=(place(axis.at(clock.now))) y1="18" y2=(height) {}
                            text x=(place(axis.at(clock.now))) y="14" text-anchor="middle" { "now " (clock.short(clock.now)) }
                        }
                    }
                }
            }
            (legend())
        }
    }
}

/// A place or a size, as short as it can be seen.
fn place(at: f64) -> String {
    format!("{at:.1}")
}

fn lane_height(lane: &Lane<'_>) -> f64 {
    let rows = lane.tracks.max(1) + usize::from(lane.left_out > 0);
    f64::from(u32::try_from(rows).unwrap_or(u32::MAX)) * TRACK + GAP
}

/// The lanes of the configuration, and those that missions still name.
fn lanes<'a>(night: &'a Value, axis: &Axis, now: Timestamp) -> Vec<Lane<'a>> {
    let lane = |id| Lane { id, closed: vec![], windows: BTreeSet::new(), bars: vec![], tracks: 0, left_out: 0 };
    let mut lanes: Vec<Lane<'a>> = Vec::new();
    for known in night["lanes"].as_array().into_iter().flatten() {
        let closed = known["closed"].as_array().into_iter().flatten();
        let closed = closed.filter_map(|stretch| Some((moment(&stretch["from"])?, moment(&stretch["until"])?)));
        let closed = closed.map(|(shuts, opens)| (axis.at(shuts), axis.at(opens))).collect();
        lanes.push(Lane { closed, ..lane(str(known, "id")) });
    }
    let mut missions: Vec<&Value> = night["missions"].as_array().into_iter().flatten().collect();
    missions.sort_by_key(|mission| moment(&mission["accepted_at"]));
    let mut drawn = 0;
    for mission in missions {
        let id = str(mission, "vp_runtime_id");
        let at = lanes.iter().position(|lane| lane.id == id).unwrap_or_else(|| {
            lanes.push(lane(id));
            lanes.len() - 1
        });
        let lane = &mut lanes[at];
        let window = &mission["autonomy_window"];
        let window = (moment(&window["start_at"]), moment(&window["end_at"]));
        if window != (None, None) && lane.windows.len() < WINDOWS_MAX {
            lane.windows.insert((window.0.unwrap_or(axis.from), window.1.unwrap_or(axis.until)));
        }
        let Some(bar) = bar(mission, axis, now) else { continue };
        if drawn >= BARS_MAX || !lane.take(bar) {
            lane.left_out += 1;
        } else {
            drawn += 1;
        }
    }
    lanes
}

impl<'a> Lane<'a> {
    /// Gives a bar the first track that is free where it begins; false where there is none.
    fn take(&mut self, mut bar: Bar<'a>) -> bool {
        let is_free =
            |track: &usize| !self.bars.iter().any(|other| other.track == *track && other.ends + 2.0 > bar.queued);
        let Some(track) = (0..TRACKS_MAX).find(is_free) else { return false };
        bar.track = track;
        self.tracks = self.tracks.max(track + 1);
        self.bars.push(bar);
        true
    }
}

fn bar<'a>(mission: &'a Value, axis: &Axis, now: Timestamp) -> Option<Bar<'a>> {
    // What came behind a night is no part of it, though the mission has it.
    let at = |key: &str| moment(&mission[key]).filter(|at| *at < axis.until);
    let accepted = at("accepted_at")?;
    let ended = at("ended_at").unwrap_or(now).min(axis.until);
    let queued = axis.at(accepted);
    let ends = axis.at(ended).max(queued + BAR_MIN);
    let [started, asked] =
        ["started_at", "asked_at"].map(|key| at(key).map(|at| axis.at(at).min(ends - BAR_MIN / 2.0).max(queued)));
    Some(Bar { mission, queued, started, asked, ends, track: 0 })
}

fn lane_row(lane: &Lane<'_>, top: f64, axis: &Axis) -> Markup {
    let height = lane_height(lane) - GAP / 2.0;
    let rect = |class: &str, from: f64, to: f64| {
        html! { rect class=(class) x=(place(from)) y=(place(top)) width=(place((to - from).max(0.0))) height=(place(height)) {} }
    };
    html! {
        g {
            (rect("lane", NAMES, WIDTH))
            @for (from, until) in &lane.windows { (rect("window", axis.at(*from), axis.at(*until))) }
            @for (shuts, opens) in &lane.closed {
                rect class="closed" x=(place(*shuts)) y=(place(top)) width=(place(opens - shuts)) height=(place(height)) fill="url(#p-closed)" {
                    title { "closed" }
                }
            }
            text class="lane-name" x="0" y=(place(top + 14.0)) { (clipped(lane.id)) title { (plain(lane.id)) } }
            @for bar in &lane.bars { (drawn(bar, top)) }
            @if lane.left_out > 0 {
                text class="more" x=(place(NAMES + 4.0)) y=(place(top + height - 6.0)) { "and " (lane.left_out) " more, in the list below" }
            }
        }
    }
}

/// As much of a lane's name as there is room for: its end tells it apart.
fn clipped(id: &str) -> String {
    const LETTERS: usize = 20;
    let id = plain(id);
    let letters = id.chars().count();
    if letters <= LETTERS { id } else { format!("…{}", id.chars().skip(letters - LETTERS + 1).collect::<String>()) }
}

/// The parts of a bar: from, to, what it was then.
fn parts(bar: &Bar<'_>) -> Vec<(f64, f64, &'static str)> {
    let lands = bar.mission["lands"] == true;
    let at_last = match str(bar.mission, "left") {
        "done" => "done",
        "failed" => "failed",
        "cancelled" => "cancelled",
        "carried_over" => "carried",
        _ if lands => "landing",
        _ => "running",
    };
    let Some(started) = bar.started else {
        // It never ran: waiting is all that there was, and perhaps an end.
        let last = bar.ends - BAR_MIN / 2.0;
        return if matches!(at_last, "running" | "carried") {
            vec![(bar.queued, bar.ends, "queued")]
        } else {
            vec![(bar.queued, last, "queued"), (last, bar.ends, at_last)]
        };
    };
    let mut parts = vec![(bar.queued, started, "queued")];
    match bar.asked {
        Some(asked) => {
            parts.extend([(started, asked.max(started), at_last), (asked.max(started), bar.ends, "blocked")]);
        }
        None => parts.push((started, bar.ends, at_last)),
    }
    parts.retain(|(from, to, _)| to > from);
    parts
}

fn drawn(bar: &Bar<'_>, top: f64) -> Markup {
    let id = str(bar.mission, "mission_id");
    let said = format!(
        "{}: {}. {}",
        plain(id),
        str(bar.mission, "left").replace('_', " "),
        plain(str(bar.mission, "summary"))
    );
    let y = top + 3.0 + f64::from(u32::try_from(bar.track).unwrap_or(0)) * TRACK;
    html! {
        a href=(path(&["missions", id])) aria-label=(said) {
            title { (said) }
            @for (from, to, what) in parts(bar) {
                rect class=(format!("bar b-{what}")) x=(place(from)) y=(place(y)) width=(place(to - from)) height="14" rx="2" {}
                @if is_patterned(what) {
                    rect x=(place(from)) y=(place(y)) width=(place(to - from)) height="14" fill=(format!("url(#p-{what})")) {}
                }
            }
        }
    }
}

fn ticks(axis: &Axis, clock: &Clock, height: f64) -> Markup {
    let hours = (0..=30).map_while(|hour| {
        let at = axis.from.checked_add(SignedDuration::from_hours(hour)).ok()?;
        (at <= axis.until).then_some((hour, at))
    });
    html! {
        @for (hour, at) in hours {
            @let x = place(axis.at(at));
            line class="tick" x1=(x) x2=(x) y1="28" y2=(height) {}
            @if hour % 2 == 0 { text class="hour" x=(x) y="27" text-anchor=(if at < axis.until { "middle" } else { "end" }) { (clock.short(at)) } }
        }
    }
}

/// Whether a part of a bar has a pattern of its own beside its colour.
fn is_patterned(what: &str) -> bool {
    matches!(what, "failed" | "blocked" | "landing" | "cancelled" | "carried")
}

/// What tells bars apart without colour.
fn patterns() -> Markup {
    let pattern = |id: &str, lines: &str| {
        html! {
            pattern id=(format!("p-{id}")) width="6" height="6" patternUnits="userSpaceOnUse" { path class=(format!("p-{id}")) d=(lines) {} }
        }
    };
    html! {
        defs {
            (pattern("closed", "M0 6 L6 0"))
            (pattern("failed", "M0 0 L6 6 M0 6 L6 0"))
            (pattern("blocked", "M1 0 V6 M4 0 V6"))
            (pattern("landing", "M0 3 H6"))
            (pattern("cancelled", "M0 0 L6 6"))
            (pattern("carried", "M0 1 L3 3 L0 5"))
        }
    }
}

fn legend() -> Markup {
    let all = [
        ("queued", "queued"),
        ("running", "running"),
        ("blocked", "waiting for people"),
        ("landing", "landing"),
        ("done", "done"),
        ("failed", "failed"),
        ("cancelled", "cancelled"),
        ("carried", "carried over"),
    ];
    html! {
        ul class="legend" aria-label="What the bars mean" {
            @for (what, name) in all {
                li {
                    svg width="22" height="12" viewBox="0 0 22 12" aria-hidden="true" {
                        rect class=(format!("bar b-{what}")) width="22" height="12" rx="2" {}
                        @if is_patterned(what) { rect width="22" height="12" fill=(format!("url(#p-{what})")) {} }
                    }
                    " " (name)
                }
            }
            li { svg width="22" height="12" viewBox="0 0 22 12" aria-hidden="true" { rect class="closed" width="22" height="12" fill="url(#p-closed)" {} } " closed" }
            li { svg width="22" height="12" viewBox="0 0 22 12" aria-hidden="true" { rect class="window" width="22" height="12" {} } " a window" }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sortie_schedule::Zone;

    use super::*;

    fn night(missions: &Value) -> Value {
        json!({
            "from": "2026-11-25T18:00:00Z", "until": "2026-11-26T18:00:00Z",
            "lanes": [{"id": "a", "closed": [{"from": "2026-11-25T18:00:00Z", "until": "2026-11-26T00:00:00Z"}]}],
            "clock_changes": ["2026-11-26T01:00:00Z"], "missions": missions,
        })
    }

    fn mission(id: &str, lane: &str, begins: &str, ends: Option<&str>, left: &str) -> Value {
        json!({
            "mission_id": id, "vp_runtime_id": lane, "accepted_at": begins, "started_at": begins, "ended_at": ends, "left": left,
            "summary": "", "autonomy_window": {"start_at": null, "end_at": null}, "asked_at": null, "lands": false,
        })
    }

    fn axis() -> Axis {
        Axis {
            from: "2026-11-25T18:00:00Z".parse().expect("a time"),
            until: "2026-11-26T18:00:00Z".parse().expect("a time"),
        }
    }

    const NOW: &str = "2026-11-26T06:00:00Z";

    #[test]
    fn bars_that_overlap_are_beside_each_other() {
        let missions = json!([
            mission("one", "a", "2026-11-26T01:00:00Z", Some("2026-11-26T03:00:00Z"), "done"),
            mission("two", "a", "2026-11-26T02:00:00Z", None, "running"),
            mission("three", "a", "2026-11-26T04:00:00Z", Some("2026-11-26T05:00:00Z"), "failed"),
            mission("four", "gone", "2026-11-26T04:00:00Z", None, "waiting"),
        ]);
        let night = night(&missions);
        let lanes = lanes(&night, &axis(), NOW.parse().expect("a time"));
        let tracks = |lane: &Lane<'_>| -> Vec<usize> { lane.bars.iter().map(|bar| bar.track).collect() };
        assert_eq!(
            lanes.iter().map(|lane| (lane.id, tracks(lane))).collect::<Vec<_>>(),
            [("a", vec![0, 1, 0]), ("gone", vec![0])]
        );
        assert_eq!(
            lanes[0].bars[1].ends,
            axis().at(NOW.parse().expect("a time")),
            "what has not ended goes on until now"
        );
        assert_eq!(lanes[0].closed, [(NAMES, NAMES + (WIDTH - NAMES) / 4.0)]);
    }

    #[test]
    fn a_crowd_is_told_and_not_drawn() {
        let missions: Vec<Value> =
            (0..40).map(|no| mission(&format!("m{no}"), "a", "2026-11-26T01:00:00Z", None, "running")).collect();
        let night = night(&json!(missions));
        let lanes = lanes(&night, &axis(), NOW.parse().expect("a time"));
        assert_eq!((lanes[0].bars.len(), lanes[0].left_out), (TRACKS_MAX, 40 - TRACKS_MAX));
        let clock = Clock { zone: Zone::utc(), now: NOW.parse().expect("a time") };
        assert!(strip(&night, &clock).into_string().contains("and 28 more"));
    }

    #[test]
    fn a_bar_says_what_a_mission_was_when() {
        let mut asking = mission("ask", "a", "2026-11-26T00:00:00Z", None, "waiting");
        asking["started_at"] = json!("2026-11-26T01:00:00Z");
        asking["asked_at"] = json!("2026-11-26T02:00:00Z");
        // What came behind the night is of another one.
        let mut tomorrow = asking.clone();
        (tomorrow["started_at"], tomorrow["asked_at"]) = (json!("2026-11-26T00:00:00Z"), json!("2026-11-26T18:00:00Z"));
        let mut behind = mission("behind", "a", "2026-11-26T00:00:00Z", None, "carried_over");
        behind["started_at"] = json!("2026-11-26T19:00:00Z");
        let mut never = mission("never", "a", "2026-11-26T00:00:00Z", Some("2026-11-26T02:00:00Z"), "cancelled");
        never["started_at"] = Value::Null;
        let mut landing = mission("land", "a", "2026-11-26T00:00:00Z", None, "running");
        landing["lands"] = json!(true);
        for (mission, expected) in [
            (asking, vec!["queued", "running", "blocked"]),
            (tomorrow, vec!["running"]),
            (behind, vec!["queued"]),
            (never, vec!["queued", "cancelled"]),
            (landing, vec!["landing"]),
            (mission("ok", "a", "2026-11-26T00:00:00Z", Some("2026-11-26T02:00:00Z"), "done"), vec!["done"]),
        ] {
            let bar = bar(&mission, &axis(), NOW.parse().expect("a time")).expect("it was accepted");
            assert_eq!(parts(&bar).into_iter().map(|(.., what)| what).collect::<Vec<_>>(), expected, "{mission}");
        }
    }
}
