//! The wall clock of a node set forward and back: windows follow it, run time and heartbeats do not.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sortie_tests::envelope::{with, writing};
use sortie_tests::load::one_end;
use sortie_tests::node::QUICK;
use sortie_tests::{Node, Options, automation, hand_over, looping, until};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);
const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// How long the missions here sleep that leave memory, as in their steps.
const SLEEP: Duration = Duration::from_secs(5 * 60);

async fn faulty() -> Node {
    Options::new().faulty().start().await
}

/// So long from now, by the node's clock.
fn later(node: &Node, by: SignedDuration) -> Timestamp {
    node.faults().now() + by
}

fn window(envelope: Value, key: &str, at: Timestamp) -> Value {
    with(envelope, &format!("/autonomy_window/{key}"), json!(at))
}

/// In the session of another VP's missions.
fn of(vp: &str, envelope: Value) -> Value {
    with(envelope, "/vp_id", json!(vp))
}

/// A step that asks people.
fn asking() -> Value {
    json!({"id": "q", "tool": "ask", "with": {"question": "A or B?"}})
}

/// A step that waits for `go.txt`.
fn waiting() -> Value {
    json!({"id": "wait", "tool": "Read", "with": {"path": "go.txt"}, "retry": {"attempts": 100, "backoff": "1s"}})
}

fn time(value: &Value) -> Timestamp {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("a time: {value}"))
}

async fn records(node: &Node, id: &str) -> Vec<Value> {
    let journal = node.get(&format!("/v1/missions/{id}/journal")).await.expect_status(200).json;
    journal["items"].as_array().expect("a list").clone()
}

/// When a mission's plugin was started, by the node's clock.
async fn started(node: &Node, id: &str) -> Option<Timestamp> {
    let records = records(node, id).await;
    records.iter().find(|record| record["kind"] == "started").map(|record| time(&record["at"]))
}

/// Waits until the node's clock, were it left alone, says that much.
async fn until_real(at: Timestamp) {
    until("time passes", async || (Timestamp::now() > at).then_some(())).await;
}

/// How much time goes by for the node with each look at a mission that naps.
const LOOK: Duration = Duration::from_millis(200);

/// Lets time go by until the mission is out of memory, which takes half a minute of waiting; returns how far ahead of ours the
/// node is then.
async fn left_memory(node: &Node, id: &str) -> Duration {
    let mut ahead = Duration::ZERO;
    until(&format!("{id} is out of memory"), async || {
        node.faults().set_ahead(ahead);
        ahead += LOOK;
        records(node, id).await.iter().any(|record| record["kind"] == "suspended").then_some(ahead)
    })
    .await
}

async fn ends(node: &Node, id: &str, status: &str, reason: &str) {
    let end = node.until_final(id).await;
    assert_eq!((&end["status"], &end["detail"]["reason"]), (&json!(status), &json!(reason)), "{end:#}");
    let _ = one_end(id, &node.events(id).await);
}

#[tokio::test]
async fn set_forward_past_its_start_a_window_opens_at_once() {
    let node = faulty().await;
    let start = later(&node, HOUR);
    node.accept(&window(writing("due"), "start_at", start)).await;
    assert_eq!(node.mission("due").await["status"], "queued");
    node.faults().set_clock(HOUR);
    let begun = Instant::now();
    ends(&node, "due", "completed", "done").await;
    assert!(begun.elapsed() < QUICK, "{:?}", begun.elapsed());
    assert!(started(&node, "due").await.is_some_and(|at| at >= start));
}

#[tokio::test]
async fn set_forward_past_their_end_windows_close_over_what_runs_waits_and_asks() {
    let node = faulty().await;
    let end = later(&node, HOUR);
    let asks = automation("asks", &json!([asking()]));
    for envelope in [looping("runs"), of("vp.runs", writing("waits")), asks] {
        node.accept(&window(envelope, "end_at", end)).await;
    }
    node.until_status("runs", "running").await;
    node.until_status("asks", "blocked").await;
    assert_eq!(node.mission("waits").await["status"], "queued");
    node.faults().set_clock(HOUR * 2);
    for id in ["runs", "waits", "asks"] {
        ends(&node, id, "timed_out", "window_closed").await;
    }
    assert_eq!(started(&node, "waits").await, None, "its window was never open in its turn");
}

#[tokio::test]
async fn set_back_a_mission_waits_for_its_window_by_the_new_time() {
    let node = faulty().await;
    let start = later(&node, SECOND * 2);
    node.accept(&window(writing("early"), "start_at", start)).await;
    node.faults().set_clock(-HOUR);
    until_real(start + SECOND).await;
    // What is due in this time has its turn, so that whatever was to happen has happened.
    node.accept(&window(writing("sentry"), "start_at", later(&node, SECOND))).await;
    ends(&node, "sentry", "completed", "done").await;
    assert_eq!((started(&node, "early").await, &node.mission("early").await["status"]), (None, &json!("queued")));
    node.faults().set_clock(SignedDuration::ZERO);
    ends(&node, "early", "completed", "done").await;
    assert!(started(&node, "early").await.is_some_and(|at| at >= start));
}

#[tokio::test]
async fn set_back_a_window_that_had_opened_shuts_again() {
    let node = faulty().await;
    let start = later(&node, SECOND);
    node.accept(&automation("first", &json!([waiting()]))).await;
    // Its window opens while it waits for the first of its session.
    node.accept(&window(of("vp.first", writing("second")), "start_at", start)).await;
    node.until_status("first", "running").await;
    until_real(start + SECOND).await;
    node.faults().set_clock(-HOUR);
    hand_over(&node, "vp.first", "go.txt").await;
    ends(&node, "first", "completed", "done").await;
    ends(&node, &node.accept(&writing("sentry")).await, "completed", "done").await;
    assert_eq!((started(&node, "second").await, &node.mission("second").await["status"]), (None, &json!("queued")));
    node.faults().set_clock(SignedDuration::ZERO);
    ends(&node, "second", "completed", "done").await;
    assert!(started(&node, "second").await.is_some_and(|at| at >= start));
}

#[tokio::test]
async fn set_back_before_its_window_a_running_mission_is_granted_nothing() {
    let node = faulty().await;
    let envelope = automation("granted", &json!([waiting()]));
    node.accept(&window(envelope, "start_at", later(&node, SECOND))).await;
    node.until_status("granted", "running").await;
    node.faults().set_clock(-HOUR);
    ends(&node, "granted", "failed", "tool_failed").await;
    assert!(records(&node, "granted").await.iter().any(|record| record["kind"] == "call_refused"));
}

#[tokio::test]
async fn set_back_a_run_goes_on_by_the_steady_clock() {
    let node = faulty().await;
    let envelope = automation("steady", &json!([asking(), waiting()]));
    let envelope = with(envelope, "/report_cadence", json!("interval"));
    node.accept(&with(envelope, "/heartbeat_interval_seconds", json!(5))).await;
    node.until_status("steady", "blocked").await;
    node.faults().set_clock(-DAY);
    let beats = async || records(&node, "steady").await.iter().filter(|record| record["kind"] == "heartbeat").count();
    let before = beats().await;
    until("two heartbeats after the clock was set back", async || (beats().await >= before + 2).then_some(())).await;
    assert_eq!(node.mission("steady").await["status"], "blocked", "the request is open");
    let answer = json!({"decision": "answer", "text": "B"});
    node.post("/v1/missions/steady/requests/r1", &answer).await.expect_status(200);
    hand_over(&node, "vp.steady", "go.txt").await;
    ends(&node, "steady", "completed", "done").await;
    let ran: Vec<u64> = records(&node, "steady").await.iter().filter_map(|record| record["ran_ms"].as_u64()).collect();
    assert!(ran.is_sorted(), "{ran:?}");
    let minutes = node.mission("steady").await["usage"]["runtime_minutes"].as_f64().expect("a number");
    assert!((10.0 / 60.0..3.0).contains(&minutes), "two heartbeats and no day: {minutes}");
}

#[tokio::test]
async fn set_forward_by_a_day_a_request_expires_and_set_back_it_does_not() {
    let node = faulty().await;
    for id in ["answered", "forgotten"] {
        node.accept(&automation(id, &json!([asking()]))).await;
        node.until_status(id, "blocked").await;
    }
    node.faults().set_clock(-DAY);
    ends(&node, &node.accept(&writing("sentry")).await, "completed", "done").await;
    let answer = json!({"decision": "answer", "text": "B"});
    node.post("/v1/missions/answered/requests/r1", &answer).await.expect_status(200);
    ends(&node, "answered", "completed", "done").await;
    assert_eq!(node.mission("forgotten").await["status"], "blocked");
    node.faults().set_clock(DAY + HOUR);
    ends(&node, "forgotten", "timed_out", "request_expired").await;
}

#[tokio::test]
async fn set_back_a_mission_that_sleeps_out_of_memory_wakes_on_time() {
    let node = faulty().await;
    node.accept(&automation("sleeps", &json!([with(waiting(), "/retry/backoff", json!("5m"))]))).await;
    node.until_status("sleeps", "running").await;
    hand_over(&node, "vp.sleeps", "go.txt").await;
    let count =
        async |kind: &str| records(&node, "sleeps").await.iter().filter(|record| record["kind"] == kind).count();
    let ahead = left_memory(&node, "sleeps").await;
    node.faults().set_clock(-DAY);
    // Not before its time by the other clock: whoever had a turn meanwhile had it.
    ends(&node, &node.accept(&writing("sentry")).await, "completed", "done").await;
    assert_eq!(count("started").await, 1);
    node.faults().set_steady(ahead + SLEEP);
    ends(&node, "sleeps", "completed", "done").await;
}

#[tokio::test]
async fn set_back_a_mission_that_sleeps_and_asks_wakes_on_time() {
    let node = faulty().await;
    node.accept(&automation("both", &json!([asking(), with(waiting(), "/retry/backoff", json!("5m"))]))).await;
    node.until_status("both", "blocked").await;
    hand_over(&node, "vp.both", "go.txt").await;
    let started = async || records(&node, "both").await.iter().filter(|record| record["kind"] == "started").count();
    let ahead = left_memory(&node, "both").await;
    node.faults().set_clock(-DAY);
    // Not before its time by the other clock: whoever had a turn meanwhile had it.
    ends(&node, &node.accept(&writing("sentry")).await, "completed", "done").await;
    assert_eq!(started().await, 1);
    node.faults().set_steady(ahead + SLEEP);
    until("it goes on", async || (started().await == 2).then_some(())).await;
    assert_eq!(node.mission("both").await["status"], "blocked", "nobody has answered");
}

#[tokio::test]
async fn what_waits_out_of_memory_is_remembered_through_a_restart() {
    let mut node = faulty().await;
    node.accept(&automation("sleeps", &json!([with(waiting(), "/retry/backoff", json!("5m"))]))).await;
    node.accept(&automation("asks", &json!([asking()]))).await;
    node.until_status("sleeps", "running").await;
    node.until_status("asks", "blocked").await;
    hand_over(&node, "vp.sleeps", "go.txt").await;
    let ahead = left_memory(&node, "sleeps").await;
    let asks = async || records(&node, "asks").await.iter().any(|record| record["kind"] == "suspended").then_some(());
    until("asks is out of memory", asks).await;
    node.kill();
    node.restart().await;
    node.faults().set_ahead(ahead + SLEEP);
    ends(&node, "sleeps", "completed", "done").await;
    assert_eq!(node.mission("asks").await["status"], "blocked");
    node.faults().set_clock(DAY + HOUR);
    ends(&node, "asks", "timed_out", "request_expired").await;
}

#[tokio::test]
async fn set_back_after_a_restart_a_sleeper_wakes_on_time_and_gives_signs_of_life() {
    let mut node = faulty().await;
    let sleeps = automation("sleeps", &json!([with(waiting(), "/retry/backoff", json!("5m"))]));
    node.accept(&with(sleeps, "/heartbeat_interval_seconds", json!(60))).await;
    node.until_status("sleeps", "running").await;
    hand_over(&node, "vp.sleeps", "go.txt").await;
    let ahead = left_memory(&node, "sleeps").await;
    node.kill();
    node.faults().set_clock(-DAY);
    node.restart().await;
    let count =
        async |kind: &str| records(&node, "sleeps").await.iter().filter(|record| record["kind"] == kind).count();
    let before = count("heartbeat").await;
    node.faults().set_steady(ahead + SLEEP / 2);
    until("a sign of life", async || (count("heartbeat").await > before).then_some(())).await;
    assert_eq!(count("started").await, 1);
    node.faults().set_steady(ahead + SLEEP);
    ends(&node, "sleeps", "completed", "done").await;
}

#[tokio::test]
async fn set_back_between_two_lives_a_node_goes_on_where_it_was() {
    let mut node = faulty().await;
    let start = later(&node, SECOND);
    node.accept(&looping("runs")).await;
    node.accept(&window(of("vp.runs", writing("waits")), "start_at", start)).await;
    node.until_status("runs", "running").await;
    until_real(start + SECOND).await;
    node.kill();
    node.faults().set_clock(-DAY);
    node.restart().await;
    until("its second run", async || {
        let runs = records(&node, "runs").await.iter().filter(|record| record["kind"] == "started").count();
        (runs == 2).then_some(())
    })
    .await;
    hand_over(&node, "vp.runs", "never.txt").await;
    ends(&node, "runs", "completed", "done").await;
    ends(&node, &node.accept(&writing("sentry")).await, "completed", "done").await;
    assert_eq!((started(&node, "waits").await, &node.mission("waits").await["status"]), (None, &json!("queued")));
    node.faults().set_clock(SignedDuration::ZERO);
    ends(&node, "waits", "completed", "done").await;
    let ran: Vec<u64> = records(&node, "runs").await.iter().filter_map(|record| record["ran_ms"].as_u64()).collect();
    assert!(ran.is_sorted(), "{ran:?}");
}
