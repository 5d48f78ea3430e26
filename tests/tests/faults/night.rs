//! Nights of a node whose clock is set: what is not done in its window goes on in the next, and lanes have hours.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::{Value, json};
use sortie_tests::envelope::{with, writing};
use sortie_tests::load::one_end;
use sortie_tests::{Node, Options, automation, hand_over, until};

/// When the node's clock next says so, in UTC.
fn next(node: &Node, hour: i8) -> Timestamp {
    let now = node.faults().now().to_zoned(TimeZone::UTC);
    let today = now.date().at(hour, 0, 0, 0).to_zoned(TimeZone::UTC).expect("a time");
    let next = if today > now { today } else { today.checked_add(1.day()).expect("a time") };
    next.timestamp()
}

/// Sets the node's clock to a moment after that time.
fn set(node: &Node, at: Timestamp) {
    node.faults().set_clock(at.duration_since(Timestamp::now()) + SignedDuration::from_millis(200));
}

/// Steps that wait for `go.txt` as long as it takes.
fn waiting() -> Value {
    json!([{"id": "wait", "tool": "Read", "with": {"path": "go.txt"}, "retry": {"attempts": 100, "backoff": "1s"}}])
}

/// A schedule of one mission a night that is carried over.
fn nightly() -> Value {
    json!({
        "id": "nightly", "zone": "UTC", "at": ["0 2 * * *"], "opens_for": "4h", "on_window_end": "suspend",
        "mission": {
            "vp_id": "vp.night", "mission_type": "automation", "objective": "Wait for the file.",
            "constraints": {"allowed_tools": ["Read"]}, "inputs": {"steps": waiting()},
        },
    })
}

async fn until_carried(node: &Node, id: &str, times: u64) -> Value {
    let what = format!("{id} is carried over {times} times");
    until(&what, async || Some(node.mission(id).await).filter(|mission| mission["carried_over"] == times)).await
}

async fn fired(node: &Node) -> String {
    until("the schedule fires", async || {
        let fires = node.get("/v1/schedules/nightly/fires").await.expect_status(200).json;
        let id = fires["items"][0]["mission_id"].as_str().map(str::to_owned);
        id.filter(|_| fires["items"][0]["what"] == "fired")
    })
    .await
}

#[tokio::test]
async fn work_that_is_not_done_in_its_night_goes_on_in_the_next_and_is_told_each_time() {
    let mut node = Options::new().faulty().start().await;
    node.post("/v1/schedules", &nightly()).await.expect_status(201);
    set(&node, next(&node, 2));
    let id = fired(&node).await;
    node.until_status(&id, "running").await;
    let (six, two) = (next(&node, 6), next(&node, 2));
    set(&node, six);
    let carried = until_carried(&node, &id, 1).await;
    assert_eq!(
        (&carried["status"], &carried["effective_window"], &carried["waits_for"]),
        (
            &json!("running"),
            &json!({
                "start_at": two, "end_at": two + SignedDuration::from_hours(4),
                "opens_by": "schedule", "closes_by": "schedule",
            }),
            &json!({"what": "window", "until": two})
        ),
        "{carried:#}"
    );
    assert!(carried["autonomy_window"]["end_at"].as_str().is_some_and(|end| end < two.to_string().as_str()));
    // By day the node is killed, and what it waits for comes: it goes on when its night comes, and not before.
    node.kill();
    node.restart().await;
    hand_over(&node, "vp.night", "go.txt").await;
    let ran = node.mission(&id).await["usage"]["runtime_minutes"].clone();
    let sentry = node.accept(&writing("sentry")).await;
    node.until_final(&sentry).await;
    let waits = node.mission(&id).await;
    assert_eq!((&waits["status"], &waits["usage"]["runtime_minutes"]), (&json!("running"), &ran), "{waits:#}");
    set(&node, two);
    let end = node.until_final(&id).await;
    assert_eq!((&end["status"], &end["detail"]["reason"]), (&json!("completed"), &json!("done")), "{end:#}");
    let events = node.events(&id).await;
    let _ = one_end(&id, &events);
    let told: Vec<&Value> = events.iter().filter(|event| event["detail"]["kind"] == "carried_over").collect();
    assert_eq!((told.len(), &told[0]["detail"]["times"]), (1, &json!(1)), "{events:#?}");
    // The fire of the night in which it went on was left out, for one of the schedule ran.
    let fires = node.get("/v1/schedules/nightly/fires").await.expect_status(200).json;
    let kinds: Vec<&str> =
        fires["items"].as_array().expect("a list").iter().filter_map(|fire| fire["what"].as_str()).collect();
    assert_eq!(kinds, ["skipped", "fired"], "{fires:#}");
}

#[tokio::test]
async fn a_pause_holds_up_what_was_carried_over_until_it_is_lifted() {
    let node = Options::new().faulty().start().await;
    node.post("/v1/schedules", &nightly()).await.expect_status(201);
    set(&node, next(&node, 2));
    let id = fired(&node).await;
    node.until_status(&id, "running").await;
    set(&node, next(&node, 6));
    until_carried(&node, &id, 1).await;
    node.post("/v1/schedules/nightly/pause", &json!({"note": "the wiki moves"})).await.expect_status(200);
    hand_over(&node, "vp.night", "go.txt").await;
    set(&node, next(&node, 2));
    let held = until("it is held up", async || {
        Some(node.mission(&id).await).filter(|mission| mission["waits_for"]["what"] == "schedule_paused")
    })
    .await;
    assert_eq!(held["status"], "running");
    node.post("/v1/schedules/nightly/resume", &json!({})).await.expect_status(200);
    node.faults().set_clock(node.faults().now().duration_since(Timestamp::now()) + SignedDuration::from_secs(61));
    let end = node.until_final(&id).await;
    assert_eq!(end["status"], "completed", "{end:#}");
}

#[tokio::test]
async fn a_lane_runs_missions_in_its_hours_and_they_meet_their_end_as_that_of_a_window() {
    let lanes = "[[lane]]\nid = \"day\"\nconcurrency = 4\ndefault = true\n[[lane]]\nid = \"night\"\nconcurrency = 4\n\
                 hours = [\"22:00-06:00 UTC\"]\n";
    let node = Options::new().faulty().config(lanes).start().await;
    set(&node, next(&node, 12));
    let of = |id: &str, steps: &Value| {
        let envelope = with(automation(id, steps), "/vp_runtime_id", json!("night"));
        with(envelope, "/vp_id", json!(format!("vp.{id}")))
    };
    let carried = with(of("carried", &waiting()), "/on_window_end", json!("suspend"));
    let short = with(with(writing("short"), "/vp_runtime_id", json!("night")), "/vp_id", json!("vp.short"));
    for envelope in [&of("ends", &waiting()), &carried, &short] {
        node.accept(envelope).await;
    }
    let ten = next(&node, 22);
    // What can never run is refused, and of what can the answer says when.
    let by_day = with(of("day", &waiting()), "/autonomy_window/end_at", json!(ten));
    let refused = node.dispatch(&by_day).await.expect_status(422);
    assert_eq!(refused.json["errors"][0]["code"], "outside_hours", "{refused:#?}");
    let taken = node.dispatch(&with(by_day, "/on_window_end", json!("suspend"))).await.expect_status(202);
    assert_eq!(taken.json["effective_window"], Value::Null, "they leave nothing of its own: {taken:#?}");
    for id in ["ends", "carried", "short"] {
        let mission = node.mission(id).await;
        assert_eq!(
            (&mission["status"], &mission["waits_for"]),
            (&json!("queued"), &json!({"what": "hours", "until": ten}))
        );
        assert_eq!(
            (&mission["effective_window"]["start_at"], &mission["effective_window"]["closes_by"]),
            (&json!(ten), &json!("lane"))
        );
    }
    let listed = node.cli(&["ls"]).await;
    assert!(String::from_utf8_lossy(&listed.stdout).contains("hours"), "{listed:?}");
    set(&node, ten);
    assert_eq!(node.until_final("short").await["status"], "completed");
    node.until_status("ends", "running").await;
    node.until_status("carried", "running").await;
    set(&node, next(&node, 6));
    let end = node.until_final("ends").await;
    assert_eq!((&end["status"], &end["detail"]["reason"]), (&json!("timed_out"), &json!("window_closed")), "{end:#}");
    until_carried(&node, "carried", 1).await;
    hand_over(&node, "vp.carried", "go.txt").await;
    set(&node, next(&node, 22));
    assert_eq!(node.until_final("carried").await["status"], "completed");
}

#[tokio::test]
async fn a_night_is_told_at_a_glance_and_stays_what_it_was() {
    let node = Options::new().faulty().config("[tool.Write]\ncost_usd = 0.25\n").start().await;
    node.post("/v1/schedules", &nightly()).await.expect_status(201);
    let two = next(&node, 2);
    let date = two.to_zoned(TimeZone::UTC).date();
    set(&node, two);
    let carried = fired(&node).await;
    node.until_status(&carried, "running").await;
    node.run(&writing("done")).await;
    let failing = json!([{"id": "read", "tool": "Read", "with": {"path": "nothing.txt"}}]);
    node.run(&automation("fails", &failing)).await;
    node.accept(&automation("asks", &json!([{"id": "q", "tool": "ask", "with": {"question": "A or B?"}}]))).await;
    node.until_status("asks", "blocked").await;
    set(&node, next(&node, 6));
    until_carried(&node, &carried, 1).await;
    let told = node.get("/v1/nights/current").await.expect_status(200).json;
    let counts = |night: &Value| {
        ["done", "failed", "carried_over", "waiting", "running", "queued", "fired", "missed"]
            .map(|key| night[key].clone())
    };
    assert_eq!(counts(&told), [1, 1, 1, 1, 0, 0, 1, 0].map(|count| json!(count)), "{told:#}");
    assert_eq!((&told["date"], &told["over"], &told["needs_people"]), (&json!(date), &json!(false), &json!(true)));
    assert_eq!((&told["spent"]["cost_usd"], &told["next_window"]["at"]), (&json!(0.25), &json!(next(&node, 2))));
    let order: Vec<&str> =
        told["missions"].as_array().expect("a list").iter().filter_map(|line| line["left"].as_str()).collect();
    assert_eq!(order, ["waiting", "failed", "carried_over", "done"], "who needs people comes first");
    let shown = node.cli(&["night"]).await;
    let said = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert_eq!(shown.status.code(), Some(1), "{said}");
    let line = format!(
        "Night of {date} so far: 1 done, 1 failed, 1 carried over, 1 waiting for people; $0.25 spent; next window "
    );
    assert!(said.starts_with(&line), "{said}");
    // The next evening, and what is done then is of another night.
    set(&node, next(&node, 19));
    hand_over(&node, "vp.night", "go.txt").await;
    node.run(&writing("later")).await;
    let tonight = node.get("/v1/nights/current").await.expect_status(200).json;
    assert_eq!(
        (&tonight["done"], &tonight["failed"], &tonight["spent"]["cost_usd"]),
        (&json!(1), &json!(0), &json!(0.25))
    );
    node.post("/v1/missions/asks/requests/r1", &json!({"decision": "answer", "text": "B"})).await.expect_status(200);
    node.until_final("asks").await;
    set(&node, next(&node, 2));
    assert_eq!(node.until_final(&carried).await["status"], "completed");
    let before = node.get(&format!("/v1/nights/{date}")).await.expect_status(200).json;
    assert_eq!((counts(&before), &before["over"]), (counts(&told), &json!(true)), "{before:#}");
    assert_eq!(before["spent"], told["spent"]);
    let empty = node.get("/v1/nights/2020-02-02").await.expect_status(200).json;
    assert_eq!((&empty["missions"], &empty["needs_people"]), (&json!([]), &json!(false)));
    for wrong in ["yesterday", "2026-13-01", "20261126"] {
        node.get(&format!("/v1/nights/{wrong}")).await.expect_status(400);
    }
}
