//! Schedules while the wall clock of their node goes over a change of summer time, or finds a week gone.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sortie_tests::nights::{fires, metric, second};
use sortie_tests::{Node, Options, until};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// What time it is for the node, from now on.
fn set(node: &Node, time: Timestamp) {
    node.faults().set_clock(time.duration_since(Timestamp::now()));
}

async fn node_at(time: Timestamp) -> Node {
    let node = Options::new().faulty().start().await;
    set(&node, time);
    node
}

async fn make(node: &Node, id: &str, zone: &str, more: Value) {
    let mut schedule = json!({
        "id": id, "zone": zone, "overlap": "allow_all",
        "mission": {
            "vp_id": format!("vp.{id}"), "mission_type": "custom", "plugin": "hello",
            "objective": "Say hello at {{ scheduled_at }}.",
        },
    });
    let Value::Object(more) = more else { panic!("an object") };
    schedule.as_object_mut().expect("an object").extend(more);
    node.post("/v1/schedules", &schedule).await.expect_status(201);
}

/// The times that a schedule has fired.
async fn fired(node: &Node, id: &str) -> Vec<Timestamp> {
    let fires = fires(node, id).await;
    let fired = fires.iter().filter(|fire| fire["what"] == "fired");
    fired.map(|fire| Timestamp::from_second(second(&fire["first"])).expect("a time")).collect()
}

async fn until_fired(node: &Node, id: &str, time: Timestamp) {
    until(&format!("{id} has fired {time}"), async || fired(node, id).await.contains(&time).then_some(())).await;
}

async fn expect(node: &Node, id: &str, times: &[&str]) {
    let expected: Vec<Timestamp> = times.iter().map(|time| at(time)).collect();
    assert_eq!(fired(node, id).await, expected, "{id}");
    for time in times {
        let mission = format!("{id}:{}", time.replace(['-', ':'], ""));
        assert_eq!(node.until_final(&mission).await["status"], "completed", "{mission}");
    }
}

/// A night in which the clock of Chicago changes, and the next one: a quarter of an hour after the other, with a kill in its midst.
async fn a_night(mut node: Node, quarters: &[&str], next_night: &str) -> Node {
    make(&node, "quarters", "America/Chicago", json!({"at": "*/15 * * * *"})).await;
    for (place, quarter) in quarters.iter().enumerate() {
        set(&node, at(quarter));
        until_fired(&node, "quarters", at(quarter)).await;
        if place == quarters.len() / 2 {
            node.kill();
            node.restart().await;
        }
    }
    expect(&node, "quarters", quarters).await;
    node.post("/v1/schedules/quarters/pause", &json!({})).await.expect_status(200);
    set(&node, at(next_night));
    node
}

#[tokio::test]
async fn over_a_gap_a_fixed_time_fires_at_its_end_and_steps_follow_real_time() {
    let node = node_at(at("2027-03-14T07:20:00Z")).await;
    make(&node, "end", "America/Chicago", json!({"at": "30 2 * * *"})).await;
    make(&node, "skip", "America/Chicago", json!({"at": "30 2 * * *", "on_gap": "skip"})).await;
    // From 01:30 to 04:00 by the clock on the wall, which shows no time from 02:00 to 03:00.
    let quarters = [
        "2027-03-14T07:30:00Z",
        "2027-03-14T07:45:00Z",
        "2027-03-14T08:00:00Z",
        "2027-03-14T08:15:00Z",
        "2027-03-14T08:30:00Z",
        "2027-03-14T08:45:00Z",
        "2027-03-14T09:00:00Z",
    ];
    let node = a_night(node, &quarters, "2027-03-15T07:30:00Z").await;
    until_fired(&node, "end", at("2027-03-15T07:30:00Z")).await;
    until_fired(&node, "skip", at("2027-03-15T07:30:00Z")).await;
    expect(&node, "end", &["2027-03-14T08:00:00Z", "2027-03-15T07:30:00Z"]).await;
    expect(&node, "skip", &["2027-03-15T07:30:00Z"]).await;
}

#[tokio::test]
async fn over_a_fold_a_fixed_time_fires_once_or_twice_and_steps_follow_real_time() {
    let node = node_at(at("2027-11-07T06:20:00Z")).await;
    make(&node, "first", "America/Chicago", json!({"at": "30 1 * * *"})).await;
    make(&node, "both", "America/Chicago", json!({"at": "30 1 * * *", "on_fold": "both"})).await;
    // From 01:30 over 01:00 and 01:30, as the clock on the wall shows them a second time, to 02:00.
    let quarters = [
        "2027-11-07T06:30:00Z",
        "2027-11-07T06:45:00Z",
        "2027-11-07T07:00:00Z",
        "2027-11-07T07:15:00Z",
        "2027-11-07T07:30:00Z",
        "2027-11-07T07:45:00Z",
        "2027-11-07T08:00:00Z",
    ];
    let node = a_night(node, &quarters, "2027-11-08T07:30:00Z").await;
    until_fired(&node, "first", at("2027-11-08T07:30:00Z")).await;
    until_fired(&node, "both", at("2027-11-08T07:30:00Z")).await;
    expect(&node, "first", &["2027-11-07T06:30:00Z", "2027-11-08T07:30:00Z"]).await;
    expect(&node, "both", &["2027-11-07T06:30:00Z", "2027-11-07T07:30:00Z", "2027-11-08T07:30:00Z"]).await;
}

/// What is told of the times from the first night that was slept through on, by night: `fired`, or why not.
async fn nights(node: &Node, id: &str, first: Timestamp) -> Vec<String> {
    let mut nights = BTreeMap::new();
    for fire in fires(node, id).await {
        let what = fire["what"].as_str().expect("a word");
        if !["fired", "missed", "skipped"].contains(&what) {
            continue;
        }
        let late = fire["late_ms"].as_u64().is_some_and(|late| late > 60_000);
        let told = if what == "missed" {
            format!("missed: {}", fire["reason"].as_str().expect("a reason"))
        } else {
            what.to_owned()
        };
        let told = if late { format!("{told} late") } else { told };
        let (mut time, last) = (second(&fire["first"]), second(&fire["last"]));
        while time <= last {
            assert_eq!(nights.insert(time, told.clone()), None, "{id}: {time} is told of twice");
            time += DAY.as_secs();
        }
    }
    let from = first.as_second();
    assert!(
        nights.keys().copied().eq((0..nights.len() as i64).map(|night| from + night * DAY.as_secs())),
        "{nights:?}"
    );
    nights.into_values().collect()
}

#[tokio::test]
async fn after_a_week_down_each_night_is_made_up_for_or_told_as_the_policy_says() {
    // A Monday noon, and the next one.
    let (monday, week) = (at("2027-05-03T12:00:00Z"), DAY * 7);
    let mut node = node_at(monday).await;
    let daily = |more: Value| {
        let mut schedule = json!({"at": "0 2 * * *"});
        schedule.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        schedule
    };
    let all = [
        ("day", json!({})),
        ("all", json!({"catch_up": "72h"})),
        ("last", json!({"catch_up": "72h", "catch_up_policy": "last"})),
        ("none", json!({"catch_up": "72h", "catch_up_policy": "none"})),
        ("window", json!({"catch_up": "72h", "opens_for": "4h"})),
    ];
    for (id, more) in &all {
        make(&node, id, "UTC", daily(more.clone())).await;
    }
    node.kill();
    set(&node, monday + week);
    node.restart().await;
    let (late, old, over) = ("fired late", "missed: too_late", "missed: window_over");
    let (newer, not) = ("missed: not_the_last", "missed: not_caught_up");
    for (id, expected) in [
        ("day", [old, old, old, old, old, old, late]),
        ("all", [old, old, old, old, late, late, late]),
        ("last", [old, old, old, old, newer, newer, late]),
        ("none", [not; 7]),
        ("window", [over; 7]),
    ] {
        let first = at("2027-05-04T02:00:00Z");
        let told = until(&format!("{id} has told of seven nights"), async || {
            Some(nights(&node, id, first).await).filter(|nights| nights.len() == 7)
        })
        .await;
        assert_eq!(told, expected, "{id}");
    }
    for (name, expected) in [("fires", 5), ("late", 5), ("missed", 6 + 4 + 6 + 7 + 7)] {
        assert_eq!(metric(&node, &format!("sortie_schedule_{name}_total")).await, expected, "{name}");
    }
    let log = node.read_log();
    for (said, id, times) in
        [("a fire of a schedule is late", "all", 3), ("fires of a schedule were missed", "none", 1)]
    {
        let lines = log.lines().filter(|line| line.contains(said) && line.contains(id)).count();
        assert!(lines >= times, "{said}: {log}");
    }
    // The next night is one like any.
    set(&node, at("2027-05-11T02:00:00Z") + MINUTE / 2);
    for (id, _) in &all {
        until_fired(&node, id, at("2027-05-11T02:00:00Z")).await;
        assert_eq!(nights(&node, id, at("2027-05-04T02:00:00Z")).await[7], "fired", "{id}");
    }
    assert_eq!(metric(&node, "sortie_schedule_fires_total").await, 10);
    assert_eq!(metric(&node, "sortie_schedule_late_total").await, 5);
}
