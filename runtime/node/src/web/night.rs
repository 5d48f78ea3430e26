//! The first page: a night at a glance.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use sortie_contract::MissionNo;
use sortie_schedule::night_of;
use tokio::sync::Mutex;
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, sleep};

use super::Web;
use super::ask::Read;
use super::door::Viewer;
use super::frame::{Page, Refused, live};
use super::strip;
use super::text::{Clock, badge, cell, line, moment, money, path, plain, str, with_query};
use crate::config::Scope;
use crate::mcp::Ask;

/// Which night, and which of its missions are listed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NightQuery {
    date: String,
    left: String,
}

/// The numbers of the morning line: the key, the name, whether it is said of none, too.
const COUNTS: [(&str, &str, bool); 7] = [
    ("done", "done", true),
    ("failed", "failed", true),
    ("carried_over", "carried over", true),
    ("waiting", "waiting for people", true),
    ("running", "running", false),
    ("queued", "queued", false),
    ("cancelled", "cancelled", false),
];

/// Times of schedules that did not come to a mission in time.
const TIMES: [(&str, &str); 4] =
    [("missed", "missed"), ("refused", "refused"), ("late", "late"), ("skipped", "skipped")];

/// `GET /`
pub(super) async fn page(
    viewer: Viewer,
    State(web): State<Web>,
    Read(query): Read<NightQuery>,
) -> Result<Response, Refused> {
    let clock = web.clock();
    let is_tonight = query.date.is_empty() || query.date == night_of(clock.now, &clock.zone).to_string();
    let night = if is_tonight { web.tonight(&viewer).await? } else { web.night(&viewer, &query.date).await?.into() };
    let part = shown(&night, &query, &clock);
    let main = html! {
        h1 { "Night of " (cell(&night["date"])) }
        (others(&night))
        // Of another night nothing changes while one looks.
        @if is_tonight { (live(&with_query("/", &[("date", &query.date), ("left", &query.left)]), &part)) }
        @else { div id="live" { (part) } }
    };
    Ok(Page { title: "Night", at: "/", main }.shown(&web, &viewer))
}

/// How long a night is kept that was made.
const AGAIN: Duration = Duration::from_secs(2);

/// The night in which it is now, which all pages share that show it.
#[derive(Default)]
pub(super) struct Tonight(Mutex<Option<Kept>>);

/// A night as it was.
struct Kept {
    begun: Instant,
    done: Instant,
    /// What happened since it was begun.
    news: Receiver<MissionNo>,
    night: Arc<Value>,
}

impl Tonight {
    /// The night as it stood when this was asked or later. However many pages ask, it is made once in [`AGAIN`]: they wait, where something
    /// has happened since.
    async fn get<E>(
        &self,
        news: impl FnOnce() -> Receiver<MissionNo>,
        make: impl Future<Output = Result<Value, E>>,
    ) -> Result<Arc<Value>, E> {
        let asked = Instant::now();
        let mut kept = self.0.lock().await;
        if let Some(kept) = &*kept {
            let age = kept.done.elapsed();
            if kept.begun > asked || (age < AGAIN && kept.news.is_empty()) {
                return Ok(Arc::clone(&kept.night));
            }
            sleep(AGAIN.saturating_sub(age)).await;
        }
        let (begun, news) = (Instant::now(), news());
        let night = Arc::new(make.await?);
        *kept = Some(Kept { begun, done: Instant::now(), news, night: Arc::clone(&night) });
        Ok(night)
    }
}

impl Web {
    async fn night(&self, viewer: &Viewer, date: &str) -> Result<Value, Refused> {
        self.ask(viewer, Ask::new(Method::GET, ["v1", "nights", date])).await
    }

    /// The night in which it is now: the same for all who may read.
    async fn tonight(&self, viewer: &Viewer) -> Result<Arc<Value>, Refused> {
        let make = self.night(viewer, "current");
        if viewer.holder.may(Scope::Read) {
            self.tonight.get(|| self.app.engine.news(), make).await
        } else {
            make.await.map(Arc::new)
        }
    }
}

/// The nights before and after.
fn others(night: &Value) -> Markup {
    let date = str(night, "date").parse::<jiff::civil::Date>().ok();
    let link = |date: Option<jiff::civil::Date>, name: &str| {
        html! { @if let Some(date) = date { a href=(with_query("/", &[("date", &date.to_string())])) { (name) } " " } }
    };
    html! {
        nav aria-label="Nights" class="others" {
            (link(date.and_then(|date| date.yesterday().ok()), "← Night before"))
            a href="/" { "Tonight" } " "
            (link(date.and_then(|date| date.tomorrow().ok()), "Night after →"))
        }
    }
}

/// What changes while one looks: the line, the strip, the missions.
fn shown(night: &Value, query: &NightQuery, clock: &Clock) -> Markup {
    let missions = night["missions"].as_array().map_or(&[][..], Vec::as_slice);
    let listed = missions.iter().filter(|mission| query.left.is_empty() || str(mission, "left") == query.left);
    let listed: Vec<&Value> = listed.collect();
    html! {
        (morning_line(night, query, clock))
        (strip::strip(night, clock))
        h2 id="missions" {
            "Missions"
            @if !query.left.is_empty() { ": " (plain(&query.left.replace('_', " "))) }
        }
        @if !query.left.is_empty() { p { a href=(with_query("/", &[("date", &query.date)])) { "Show all of them" } } }
        (table(&listed, clock))
        @if night["more"] == true { p { "There are more; " a href="/missions" { "the list" } " has all of them." } }
        (gaps(night, clock))
        p class="dim" { "As of " (clock.local(clock.now)) "." }
    }
}

fn morning_line(night: &Value, query: &NightQuery, clock: &Clock) -> Markup {
    let count = |key: &str| night[key].as_u64().unwrap_or(0);
    let needs = night["needs_people"] == true;
    let next = &night["next_window"];
    html! {
        section aria-labelledby="line" {
            h2 id="line" class="sr" { "The night in a line" }
            @if needs {
                p class="line needs" {
                    strong { "Needs you. " }
                    @if count("waiting") > 0 { a href="/inbox" { (count("waiting")) " waiting: the inbox has what is asked" } }
                }
            }
            ul class="counts" {
                @for (key, name, _) in COUNTS.into_iter().filter(|(key, _, always)| *always || count(key) > 0) {
                    li {
                        a class={ "count s-" (key) @if count(key) == 0 { " none" } } aria-current=[(query.left == key).then_some("true")]
                            href={ (with_query("/", &[("date", &query.date), ("left", key)])) "#missions" } { b { (count(key)) } " " (name) }
                    }
                }
            }
            p class="line" {
                (money(&night["spent"]["cost_usd"])) " spent, " (times(count("fired"))) " fired"
                @for (key, name) in TIMES.into_iter().filter(|(key, _)| count(key) > 0) {
                    ", " a href="#gaps" { (times(count(key))) " " (name) }
                }
                ". "
                @match moment(&next["at"]) {
                    Some(_) => {
                        "Next begins " (clock.time(&next["at"])) ": "
                        @if let Some(mission) = next["mission_id"].as_str() { a href=(path(&["missions", mission])) { (plain(mission)) } }
                        @else { "schedule " (cell(&next["schedule"])) }
                        "."
                    }
                    None if night["over"] == true => { "It is over." }
                    None => { "Nothing begins by itself." }
                }
            }
        }
    }
}

fn times(count: u64) -> String {
    if count == 1 { "1 time".to_owned() } else { format!("{count} times") }
}

fn table(missions: &[&Value], clock: &Clock) -> Markup {
    html! {
        @if missions.is_empty() { p class="empty" { "None." } }
        @else {
            div class="wide" tabindex="0" role="region" aria-label="Missions of the night" {
                table {
                    thead { tr { th scope="col" { "Mission" } th scope="col" { "Left" } th scope="col" { "Lane" } th scope="col" class="num" { "Spent" } th scope="col" { "Ended" } th scope="col" { "Summary" } } }
                    tbody {
                        @for mission in missions {
                            tr {
                                th scope="row" { a href=(path(&["missions", str(mission, "mission_id")])) { (plain(str(mission, "mission_id"))) } }
                                td data-label="Left" { (badge(str(mission, "left"))) @if !mission["reason"].is_null() && mission["reason"] != "done" { " " span class="dim" { (cell(&mission["reason"])) } } }
                                td data-label="Lane" { (cell(&mission["vp_runtime_id"])) }
                                td class="num" data-label="Spent" { (money(&mission["spent"]["cost_usd"])) }
                                td data-label="Ended" { (clock.brief(&mission["ended_at"])) }
                                td { (line(str(mission, "summary"))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Times that were missed or refused.
fn gaps(night: &Value, clock: &Clock) -> Markup {
    let gaps = night["gaps"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        @if !gaps.is_empty() {
            h2 id="gaps" { "Times that made no mission" }
            ul {
                @for gap in gaps {
                    li {
                        "Schedule " b { (cell(&gap["schedule"])) } ": " (cell(&gap["count"])) " from " (clock.time(&gap["first"]))
                        " to " (clock.time(&gap["last"])) ", " (cell(&gap["reason"])) "."
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU64, Ordering};

    use serde_json::json;
    use tokio::sync::broadcast;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_night_is_made_once_for_all_who_ask_and_again_for_what_happened_since() {
        let (tell, _) = broadcast::channel(16);
        let (tonight, made) = (Tonight::default(), AtomicU64::new(0));
        let get = async || {
            let make = async {
                sleep(Duration::from_millis(100)).await;
                Ok::<_, Infallible>(json!(made.fetch_add(1, Ordering::Relaxed)))
            };
            let Ok(night) = tonight.get(|| tell.subscribe(), make).await;
            night
        };
        let all = async || futures_util::future::join_all((0..20).map(|_| get())).await;
        assert!(all().await.iter().all(|night| **night == 0));
        assert!(all().await.iter().all(|night| **night == 0), "nothing has happened since");
        let before = Instant::now();
        tell.send(MissionNo(1)).expect("it is heard");
        assert!(all().await.iter().all(|night| **night == 1), "whoever asks behind it is shown it");
        assert!(before.elapsed() >= AGAIN, "one that was just made is not made again at once");
        // What nobody tells, such as the time, is seen, too.
        sleep(AGAIN).await;
        assert_eq!(*get().await, 2);
        assert_eq!(made.load(Ordering::Relaxed), 3);
    }
}
