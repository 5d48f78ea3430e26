//! Lifecycle: statuses, events, windows, sessions, lanes, budgets, cancel, and how a mission ends.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use sortie_tests::envelope::{in_ms, with, write, writing};
use sortie_tests::node::QUICK;
use sortie_tests::{Node, Options, automation, looping, until};

/// What an event must have, by the contract's section 3 and its reading.
fn check_events(mission: &str, events: &[Value]) {
    for (sequence, event) in (1..).zip(events) {
        assert_eq!(event["sequence"], sequence, "no gaps: {event:#}");
        assert_eq!(event["mission_id"], mission);
        assert_eq!(event["idempotency_key"], format!("{mission}/{sequence}"));
        for text in
            ["vp_id", "vp_session_id", "vp_runtime_id", "event_type", "status", "summary", "trace_id", "emitted_at"]
        {
            assert!(event[text].is_string(), "{text}: {event:#}");
        }
        for number in ["runtime_minutes", "llm_calls", "estimated_cost_usd"] {
            assert!(event["usage"][number].is_number(), "{number}: {event:#}");
        }
        assert!(event["artifact_refs"].is_array() && event["detail"].is_object(), "{event:#}");
    }
    let finals =
        events.iter().filter(|event| sortie_tests::node::is_final(event["status"].as_str().unwrap_or_default()));
    assert!(finals.count() <= 1, "at most one final event");
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["event_type"].as_str()).collect()
}

fn time(value: &Value) -> Timestamp {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("a time: {value}"))
}

#[tokio::test]
async fn a_folder_that_the_node_lacks_is_no_fault_of_the_plugin() {
    let node = Node::start().await;
    let workspaces = node.data().join("workspaces");
    let _ = std::fs::remove_dir_all(&workspaces);
    std::fs::write(&workspaces, "in its place").expect("writable");
    let end = node.run(&writing("homeless")).await;
    let told = |field: &str| end["detail"][field].as_str().unwrap_or_default().to_owned();
    assert_eq!((&end["status"], told("reason").as_str()), (&json!("failed"), "node_failed"), "{end:#}");
    let summary = end["summary"].as_str().expect("a text");
    assert!(
        summary.contains("The node cannot open") && summary.contains(workspaces.to_str().expect("UTF-8")),
        "{end:#}"
    );
    assert!(told("next_action").contains("Its plugin is not to blame"), "{end:#}");
    std::fs::remove_file(&workspaces).expect("it is there");
    assert_eq!(node.run(&writing("housed")).await["status"], "completed");
}

#[tokio::test]
async fn a_mission_goes_from_accepted_to_one_final_event() {
    let node = Node::start().await;
    let mut step = write("w", "report.md", "# Report");
    step["artifact"] = json!("report.md");
    step["milestone"] = json!("report written");
    let end = node.run(&automation("whole", &json!([step]))).await;
    let events = node.events("whole").await;
    check_events("whole", &events);
    assert_eq!(types(&events)[..2], ["mission.accepted", "mission.progress"]);
    assert!(types(&events).contains(&"mission.artifact"));
    assert!(events.iter().any(|event| event["summary"].as_str().is_some_and(|text| text.contains("report written"))));
    assert_eq!(end["event_type"], "mission.completed");
    assert_eq!(end["detail"]["reason"], "done");
    assert_eq!(end["detail"]["artifacts"][0]["name"], "report.md");
    assert_eq!(end["detail"]["artifacts"][0]["bytes"], 8);
    assert_eq!(end["detail"]["criteria"], json!([]));
    assert!(end["detail"]["next_action"].as_str().is_some_and(|text| !text.is_empty()), "{end:#}");
    assert_eq!(end["artifact_refs"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn before_its_window_opens_a_mission_is_queued_and_then_starts_on_time() {
    let node = Node::start().await;
    let start = in_ms(2_000);
    node.accept(&with(writing("later"), "/autonomy_window/start_at", json!(start))).await;
    assert_eq!(node.mission("later").await["status"], "queued");
    node.until_final("later").await;
    let started = &node.events("later").await[1];
    assert_eq!(started["event_type"], "mission.progress");
    let late = time(&started["emitted_at"]).duration_since(time(&json!(start)));
    // The promise is 50 ms on an idle node; the machines that test are not idle.
    assert!(!late.is_negative() && late.as_millis() < 1_000, "{late:?}");
}

#[tokio::test]
async fn when_its_window_closes_a_mission_is_timed_out() {
    let node = Node::start().await;
    let running = with(looping("running"), "/autonomy_window/end_at", json!(in_ms(1_500)));
    node.accept(&running).await;
    // Of the same VP, so that it waits behind the first: its window closes while it is queued.
    let waiting =
        with(with(writing("waiting"), "/vp_id", json!("vp.running")), "/autonomy_window/end_at", json!(in_ms(1_000)));
    node.accept(&waiting).await;
    for id in ["waiting", "running"] {
        let end = node.until_final(id).await;
        assert_eq!(
            (&end["status"], &end["detail"]["reason"]),
            (&json!("timed_out"), &json!("window_closed")),
            "{end:#}"
        );
        check_events(id, &node.events(id).await);
    }
    assert_eq!(types(&node.events("waiting").await), ["mission.accepted", "mission.timed_out"]);
}

#[tokio::test]
async fn missions_of_a_session_run_one_at_a_time_in_order() {
    let node = Node::start().await;
    let ids: Vec<String> = (0..5).map(|number| format!("turn-{number}")).collect();
    for id in &ids {
        node.accept(&with(writing(id), "/vp_id", json!("vp.serial"))).await;
    }
    let mut ended = Timestamp::MIN;
    for id in &ids {
        node.until_final(id).await;
        let mission = node.mission(id).await;
        assert!(time(&mission["started_at"]) >= ended, "{mission:#}");
        ended = time(&mission["ended_at"]);
    }
}

#[tokio::test]
async fn sessions_run_in_parallel_and_lanes_bound_them() {
    let lanes = "[[lane]]\nid = \"wide\"\nconcurrency = 8\n[[lane]]\nid = \"narrow\"\nconcurrency = 1";
    let node = Options::new().config(lanes).start().await;
    for number in 0..3 {
        node.accept(&looping(&format!("wide-{number}"))).await;
        node.accept(&with(looping(&format!("narrow-{number}")), "/vp_runtime_id", json!("narrow"))).await;
    }
    for number in 0..3 {
        node.until_status(&format!("wide-{number}"), "running").await;
    }
    node.until_status("narrow-0", "running").await;
    for number in 1..3 {
        assert_eq!(node.mission(&format!("narrow-{number}")).await["status"], "queued");
    }
    node.post("/v1/missions/narrow-0/cancel", &json!({"reason": "make room"})).await.expect_status(202);
    node.until_status("narrow-1", "running").await;
}

#[tokio::test]
async fn the_node_runs_no_more_than_it_may() {
    let node = Options::new().config("[node]\nmax_running = 2").start().await;
    for number in 0..4 {
        node.accept(&looping(&format!("m-{number}"))).await;
    }
    node.until_status("m-0", "running").await;
    node.until_status("m-1", "running").await;
    let running = node.get("/v1/missions?status=running").await.json["items"].as_array().map(Vec::len);
    assert_eq!(running, Some(2));
}

#[tokio::test]
async fn cancelled_is_certain_once_the_node_has_answered() {
    let node = Node::start().await;
    node.accept(&looping("hot")).await;
    node.until_status("hot", "running").await;
    let cold = with(writing("cold"), "/autonomy_window/start_at", json!(in_ms(3_600_000)));
    node.accept(&cold).await;
    for id in ["hot", "cold"] {
        let begun = Instant::now();
        let cancel = format!("/v1/missions/{id}/cancel");
        node.post(&cancel, &json!({"reason": "not needed"})).await.expect_status(202);
        assert!(begun.elapsed() < QUICK);
        assert_eq!(node.mission(id).await["status"], "cancelled");
        let end = node.until_final(id).await;
        assert_eq!(end["detail"]["reason"], "cancelled_by_request");
        assert!(end.to_string().contains("not needed"), "the reason is told: {end:#}");
        node.post(&cancel, &json!({"reason": "again"})).await.expect_status(202);
        check_events(id, &node.events(id).await);
    }
    node.run(&writing("done")).await;
    let late = node.post("/v1/missions/done/cancel", &json!({"reason": "late"})).await;
    late.expect_problem(409, "already_final");
    assert!(late.text.contains("completed"), "the state is told: {late:#?}");
    assert_eq!(node.mission("done").await["status"], "completed");
    assert_eq!(node.post("/v1/missions/nobody/cancel", &json!({})).await.status, 404);
}

/// Its plugin is stopped in the middle of its wait: the session is free long before that would have been over.
#[tokio::test]
async fn a_cancel_frees_its_session() {
    let node = Node::start().await;
    let wait = json!({
        "id": "wait", "tool": "Read", "with": {"path": "never.txt"}, "retry": {"attempts": 2, "backoff": "10m"},
    });
    node.accept(&automation("waits", &json!([wait]))).await;
    node.until_status("waits", "running").await;
    node.post("/v1/missions/waits/cancel", &json!({})).await.expect_status(202);
    node.run(&with(writing("next"), "/vp_id", json!("vp.waits"))).await;
    assert_eq!(node.mission("next").await["status"], "completed");
}

#[tokio::test]
async fn run_time_spent_is_timed_out() {
    let node = Node::start().await;
    let end = node.run(&with(looping("short"), "/budget/max_runtime_minutes", json!(0.02))).await;
    assert_eq!((&end["status"], &end["detail"]["reason"]), (&json!("timed_out"), &json!("run_time_spent")), "{end:#}");
    let minutes = end["usage"]["runtime_minutes"].as_f64().expect("a number");
    assert!((0.019..0.1).contains(&minutes), "{minutes}");
}

#[tokio::test]
async fn usage_counts_the_time_that_a_mission_ran() {
    let node = Node::start().await;
    let end = node.run(&with(writing("waited"), "/autonomy_window/start_at", json!(in_ms(2_000)))).await;
    let minutes = end["usage"]["runtime_minutes"].as_f64().expect("a number");
    assert!(minutes < 2.0 / 60.0, "waiting is not running: {minutes}");
}

#[tokio::test]
async fn progress_comes_with_the_cadence() {
    let node = Node::start().await;
    let ids = ["milestone", "interval", "hybrid"];
    for cadence in ids {
        let mut first = write("w", "a", "b");
        first["milestone"] = json!("first step");
        let wait = json!({"id": "wait", "needs": ["w"], "tool": "Read", "with": {"path": "never"}, "retry": {"attempts": 100, "backoff": "5s"}});
        let envelope = with(automation(cadence, &json!([first, wait])), "/report_cadence", json!(cadence));
        node.accept(&with(envelope, "/heartbeat_interval_seconds", json!(5))).await;
    }
    // The started event is always there; then a milestone, a heartbeat, or both.
    for (cadence, progress) in [("milestone", 2), ("interval", 2), ("hybrid", 3)] {
        let events = until(cadence, async || {
            let events = node.events(cadence).await;
            (types(&events).iter().filter(|kind| **kind == "mission.progress").count() >= progress).then_some(events)
        })
        .await;
        let after_start = &events[2];
        let waited = time(&after_start["emitted_at"]).duration_since(time(&events[1]["emitted_at"]));
        assert_eq!(cadence == "interval", waited.as_secs() >= 4, "{cadence}: {events:#?}");
        assert!(
            after_start["summary"].as_str().is_some_and(|text| text.contains("first step")),
            "{cadence}: {after_start:#}"
        );
    }
}

#[tokio::test]
async fn a_mission_without_a_required_output_is_failed() {
    let node = Node::start().await;
    let requiring = |envelope: Value, outputs: Value| with(envelope, "/artifact_policy/required_outputs", outputs);
    let end = node.run(&requiring(writing("nothing"), json!(["report-*.md"]))).await;
    assert_eq!((&end["status"], &end["detail"]["reason"]), (&json!("failed"), &json!("output_missing")), "{end:#}");
    assert!(end.to_string().contains("report-*.md"), "it says which: {end:#}");

    // A file of the workspace that the mission wrote itself is collected; one that lay there before does not count.
    let report = |id: &str, steps: &Value| with(automation(id, steps), "/vp_id", json!("vp.reports"));
    let writes = report("wrote", &json!([write("w", "report-1.md", "text")]));
    let end = node.run(&requiring(writes, json!(["report-*.md"]))).await;
    assert_eq!(end["status"], "completed", "{end:#}");
    assert_eq!(end["detail"]["artifacts"][0]["name"], "report-1.md");
    let reads = report("lay-there", &json!([{"id": "r", "tool": "Read", "with": {"path": "report-1.md"}}]));
    let end = node.run(&requiring(reads, json!(["report-*.md"]))).await;
    assert_eq!(end["detail"]["reason"], "output_missing", "{end:#}");
}

#[tokio::test]
async fn criteria_have_verdicts_and_an_unmet_one_fails_the_mission() {
    let node = Node::start().await;
    let judged = |id: &str, met: &str| {
        let mut step = write("w", "a", "four");
        step["criterion"] = json!({"text": "four bytes", "met": met});
        with(automation(id, &json!([step])), "/success_criteria", json!(["four bytes", "nobody looks"]))
    };
    let end = node.run(&judged("met", "{{ steps.w.result.bytes == 4 }}")).await;
    assert_eq!(end["status"], "completed", "{end:#}");
    let verdicts: Vec<&Value> = (0..2).map(|index| &end["detail"]["criteria"][index]["verdict"]).collect();
    assert_eq!(verdicts, ["met", "not_judged"], "{end:#}");
    let end = node.run(&judged("unmet", "{{ steps.w.result.bytes == 5 }}")).await;
    assert_eq!((&end["status"], &end["detail"]["reason"]), (&json!("failed"), &json!("criterion_unmet")), "{end:#}");
}

#[tokio::test]
async fn a_failed_tool_fails_the_mission_unless_a_step_goes_on() {
    let node = Node::start().await;
    let read = json!({"id": "r", "tool": "Read", "with": {"path": "absent"}});
    let end = node.run(&automation("fails", &json!([read]))).await;
    assert_eq!((&end["status"], &end["detail"]["reason"]), (&json!("failed"), &json!("tool_failed")), "{end:#}");
    let mut tolerant = read.clone();
    tolerant["on_error"] = json!("continue");
    let end = node.run(&automation("goes-on", &json!([tolerant]))).await;
    assert_eq!(end["status"], "completed", "{end:#}");
}

#[tokio::test]
async fn a_paused_node_starts_nothing_and_a_halted_one_cancels_all() {
    let node = Node::start().await;
    node.accept(&looping("before")).await;
    node.until_status("before", "running").await;
    node.post("/v1/node/pause", &Value::Null).await;
    node.accept(&writing("after")).await;
    let deadline = Instant::now() + Duration::from_millis(500);
    while Instant::now() < deadline {
        assert_eq!(node.mission("after").await["status"], "queued");
    }
    assert_eq!(node.mission("before").await["status"], "running", "running missions go on");
    node.post("/v1/node/resume", &Value::Null).await;
    assert_eq!(node.until_final("after").await["status"], "completed");
    node.accept(&with(writing("queued"), "/autonomy_window/start_at", json!(in_ms(3_600_000)))).await;
    node.post("/v1/node/halt", &Value::Null).await;
    for id in ["before", "queued"] {
        let end = node.until_final(id).await;
        assert_eq!((&end["status"], &end["detail"]["reason"]), (&json!("cancelled"), &json!("halted")), "{end:#}");
    }
}
