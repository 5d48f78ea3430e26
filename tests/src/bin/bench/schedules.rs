//! Schedules: what many of them hold in memory and cost at a start, how late fires are that are all due in one second, and how long a
//! preview of ten years takes.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sortie_tests::Node;

use crate::client::{Load, metric, mib, ms_since, quiet_node};
use crate::report::{Report, Unit};
use crate::sizes::Sizes;

/// Connections that make schedules.
const CONNECTIONS: usize = 64;

/// Times of one preview: as many as the node shows.
const PREVIEWED: usize = 5_000;

/// A schedule of this time, of the mission that does the least.
fn schedule(when: &Value) -> Value {
    let mut schedule = json!({
        "id": "{n}", "zone": "America/Chicago", "opens_for": "4h", "note": "before anybody is up",
        "mission": {
            "vp_id": "vp.night", "vp_session_id": "{n}", "mission_type": "custom", "plugin": "hello", "objective": "Say hello on {{ date }}.",
            "constraints": {"allowed_tools": ["Read", "Write", "Glob"], "forbidden_tools": ["WebFetch"]},
            "success_criteria": ["somebody is greeted"],
        },
    });
    let fields = when.as_object().expect("when it fires");
    schedule.as_object_mut().expect("an object").extend(fields.clone());
    schedule
}

pub(crate) async fn schedules(sizes: &Sizes, report: &Report) {
    many(sizes, report).await;
    due(sizes, report).await;
    preview(sizes, report).await;
}

/// Memory with many schedules, and the start with them after a kill.
async fn many(sizes: &Sizes, report: &Report) {
    let mut node = quiet_node().await;
    let before = mib(node.resident_bytes());
    let nightly = schedule(&json!({"at": "0 2 * * 1-5"})).to_string();
    let made = Load::count(nightly, sizes.schedules).at("/v1/schedules").run(&node, CONNECTIONS).await;
    report.figure("schedules made", made.per_second(), Unit::PerSecond);
    let case = |what: &str| format!("resident memory, {} schedules, {what}", sizes.schedules);
    report.beside(&case("made"), mib(node.resident_bytes()), Unit::MiB, before);
    node.kill();
    let begun = Instant::now();
    node.restart().await;
    report.figure("kill -9 to ready", ms_since(begun), Unit::Ms);
    report.beside(&case("at the start"), mib(node.resident_bytes()), Unit::MiB, before);
    // Each is looked at, for times may be over.
    tokio::time::sleep(sizes.load).await;
    report.beside(&case("looked at"), mib(node.resident_bytes()), Unit::MiB, before);
    let begun = Instant::now();
    node.get("/v1/schedules?limit=500").await.expect_status(200);
    report.figure("a page of 500 of them", ms_since(begun), Unit::Ms);
}

/// How late the missions are of schedules that are all due in one second.
async fn due(sizes: &Sizes, report: &Report) {
    let node = quiet_node().await;
    let now = Timestamp::now();
    let time = now.checked_add(SignedDuration::try_from(sizes.until_due).expect("a short while")).expect("a time");
    let at = Timestamp::from_second(time.as_second()).expect("a time");
    let once = schedule(&json!({"zone": "UTC", "once": at.strftime("%Y-%m-%dT%H:%M:%S").to_string()})).to_string();
    Load::count(once, sizes.due).at("/v1/schedules").run(&node, CONNECTIONS).await;
    assert!(Timestamp::now() < at, "not all were made before they were due");
    while metric(&node, "sortie_schedule_fires_total").await < sizes.due {
        assert!(Timestamp::now() < time + Duration::from_secs(120), "they do not fire");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut late: Vec<f64> = accepted(&node).await.iter().map(|accepted| lateness_ms(at, accepted)).collect();
    assert_eq!(late.len() as u64, sizes.due, "each has its mission");
    late.sort_unstable_by(f64::total_cmp);
    for (name, index) in [("p50", late.len() / 2), ("p99", late.len() * 99 / 100), ("the last", late.len() - 1)] {
        report.figure(&format!("{} due in one second, lateness, {name}", sizes.due), late[index], Unit::Ms);
    }
}

fn lateness_ms(at: Timestamp, accepted: &str) -> f64 {
    let accepted: Timestamp = accepted.parse().expect("a time");
    accepted.duration_since(at).as_secs_f64() * 1_000.0
}

/// When each mission of a node was accepted.
async fn accepted(node: &Node) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = node.get(&format!("/v1/missions?limit=500{cursor}")).await.expect_status(200).json;
        let items = page["items"].as_array().expect("a list").iter();
        all.extend(items.filter_map(|item| item["accepted_at"].as_str().map(str::to_owned)));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// Ten years of a schedule that fires each quarter of an hour, as many times an answer as there can be.
async fn preview(sizes: &Sizes, report: &Report) {
    let node = quiet_node().await;
    let (begun, mut shown, mut from) = (Instant::now(), 0, "2026-11-25T00:00:00Z".to_owned());
    while shown < sizes.previewed {
        let schedule = json!({"zone": "America/Chicago", "at": "*/15 * * * *"});
        let body = json!({"schedule": schedule, "count": PREVIEWED.min(sizes.previewed - shown), "from": from});
        let times = node.post("/v1/schedules/preview", &body).await.expect_status(200).json;
        let times = times.as_array().expect("a list");
        shown += times.len();
        from = times.last().and_then(|last| last["at"].as_str()).expect("a time").to_owned();
    }
    report.figure(
        &format!("a preview of {} times, a quarter of an hour apart", sizes.previewed),
        ms_since(begun),
        Unit::Ms,
    );
}
