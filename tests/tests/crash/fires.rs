//! Schedules that fire each second, while their node is killed right around those seconds: no time is lost, none happens twice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sortie_tests::nights::{fires, made, pages, told};
use sortie_tests::node::is_final;
use sortie_tests::{Node, Options};

use super::{Random, number};

/// Kills of a run, where nobody says otherwise: each takes seconds.
const KILLS: u64 = 12;

/// From how long before a fire's time to how long after it a node is killed, in milliseconds.
const BEFORE_MS: u64 = 100;
const AROUND_MS: u64 = 350;

/// How long the missions of a run may take to end.
const END_MAX: Duration = Duration::from_secs(120);

/// One schedule for each policy, and how many seconds are between its times.
const ALL: [(&str, &str, i64); 5] = [
    ("all", "allow_all", 1),
    ("skip", "skip", 1),
    ("one", "buffer_one", 2),
    ("queue", "buffer_all", 2),
    ("cancel", "cancel_other", 2),
];

fn schedule(id: &str, overlap: &str, seconds: i64) -> Value {
    json!({
        "id": id, "every": format!("{seconds}s"), "allow_frequent": true, "overlap": overlap,
        "mission": {
            "vp_id": format!("vp.{id}"), "mission_type": "custom", "plugin": "hello",
            "objective": "Say hello at {{ scheduled_at }}, after {{ previous.status }}.",
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_after_kill_around_their_times_no_fire_is_lost_or_doubled() {
    let kills = number("FIRE_KILLS").unwrap_or(KILLS);
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("SEED={seed} FIRE_KILLS={kills}");
    let mut random = Random(seed);
    // It is not the missions that kill it here.
    let mut node = Options::new().config("[limits]\ncrashes_alone = 1000").start().await;
    for (id, overlap, seconds) in ALL {
        node.post("/v1/schedules", &schedule(id, overlap, seconds)).await.expect_status(201);
    }
    for _ in 0..kills {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let until_next = 1_000 - u64::from(now.subsec_millis());
        // Not before the first of its seconds that it sees from its beginning.
        let wait = if until_next < BEFORE_MS { until_next + 1_000 } else { until_next };
        tokio::time::sleep(Duration::from_millis(wait - BEFORE_MS + random.below(AROUND_MS))).await;
        node.kill();
        node.restart().await;
    }
    for (id, ..) in ALL {
        node.post(&format!("/v1/schedules/{id}/pause"), &json!({"note": "enough"})).await.expect_status(200);
    }
    let mut fired = 0;
    for (id, overlap, seconds) in ALL {
        fired += hold(&node, id, overlap, seconds).await;
    }
    eprintln!("{fired} fires");
    assert!(fired > 0, "nothing fired at all");
}

/// What must hold of a schedule at the end. Says how many of its fires made a mission.
async fn hold(node: &Node, id: &str, overlap: &str, seconds: i64) -> usize {
    let mut missions = all_ended(node, id).await;
    let fires = fires(node, id).await;
    let step = usize::try_from(seconds).expect("a few");
    let told = told(&fires, |first, last| (first..=last).step_by(step).collect());
    let times: Vec<i64> = told.keys().copied().collect();
    let unbroken: Vec<i64> = (times[0]..=times[times.len() - 1]).step_by(step).collect();
    assert_eq!(times, unbroken, "{id}: each of its times, and none left out");
    let expected: BTreeSet<String> = made(&fires);
    let found: BTreeSet<String> = missions.iter().map(|mission| of(mission, "mission_id").to_owned()).collect();
    assert_eq!((found.len(), &found), (missions.len(), &expected), "{id}: one mission for each fire");
    let fired = told.values().filter(|what| *what == "fired").count();
    assert_eq!(fired, expected.len(), "{id}: each fire has its mission");
    let paused = fires.iter().position(|fire| fire["what"] == "paused").expect("it was paused");
    let after = fires[paused..].iter().filter(|fire| fire["what"] == "fired").count();
    assert_eq!(after, 0, "{id}: nothing fires while it is paused");
    for mission in &missions {
        let status = of(mission, "status");
        assert!(status == "completed" || (overlap == "cancel_other" && status == "cancelled"), "{mission:#}");
    }
    if ["skip", "buffer_one", "buffer_all"].contains(&overlap) {
        missions.sort_by_key(|mission| time(mission, "accepted_at"));
        for pair in missions.windows(2) {
            assert!(time(&pair[0], "ended_at") <= time(&pair[1], "accepted_at"), "{id}: two at once: {pair:#?}");
        }
    }
    fired
}

/// The missions of a schedule, once all of them have ended.
async fn all_ended(node: &Node, id: &str) -> Vec<Value> {
    let deadline = Instant::now() + END_MAX;
    loop {
        let missions = pages(node, &format!("/v1/missions?vp_id=vp.{id}")).await;
        if missions.iter().all(|mission| is_final(of(mission, "status"))) {
            return missions;
        }
        assert!(Instant::now() < deadline, "{id}: after {END_MAX:?} not all have ended");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn of<'a>(mission: &'a Value, name: &str) -> &'a str {
    mission[name].as_str().unwrap_or_default()
}

fn time(mission: &Value, name: &str) -> jiff::Timestamp {
    of(mission, name).parse().expect("a time")
}
