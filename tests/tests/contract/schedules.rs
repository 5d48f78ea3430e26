//! Schedules: each fire is made once, whatever happens, or stands in the history as left out.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use sortie_tests::envelope::{in_ms, with};
use sortie_tests::http::{self, Answer};
use sortie_tests::{Node, Options, at_a_terminal, until, without_colours};

/// A schedule that fires each second the mission that does the least.
fn each_second(id: &str) -> Value {
    json!({
        "id": id, "every": "1s", "allow_frequent": true, "overlap": "allow_all",
        "mission": {
            "vp_id": "vp.night", "mission_type": "custom", "plugin": "hello", "objective": "Say hello at {{ scheduled_at }}.",
        },
    })
}

/// One that never comes to its time.
fn next_century(id: &str) -> Value {
    let once = with(each_second(id), "/once", json!(["2090-01-01T02:00:00"]));
    let mut once = with(once, "/zone", json!("America/Chicago"));
    once.as_object_mut().expect("an object").remove("every");
    once
}

async fn make(node: &Node, schedule: &Value) -> Answer {
    node.post("/v1/schedules", schedule).await
}

/// All that is told of its fires, the oldest first.
async fn fires(node: &Node, id: &str) -> Vec<Value> {
    let answer = node.get(&format!("/v1/schedules/{id}/fires?limit=500")).await.expect_status(200);
    let mut items = answer.json["items"].as_array().expect("a list").clone();
    items.reverse();
    items
}

async fn until_fires(node: &Node, id: &str, count: usize) -> Vec<Value> {
    until(&format!("{id} has fired {count} times"), async || {
        let fires = fires(node, id).await;
        (fires.iter().filter(|fire| fire["what"] == "fired").count() >= count).then_some(fires)
    })
    .await
}

fn second(time: &Value) -> i64 {
    time.as_str().and_then(|text| text.parse::<Timestamp>().ok()).expect("a time").as_second()
}

#[tokio::test]
async fn a_fire_makes_a_mission_of_its_time() {
    let node = Node::start().await;
    let made = make(&node, &each_second("often")).await.expect_status(201);
    assert_eq!((made.header("etag"), &made.json["revision"]), ("\"1\"", &json!(1)));
    let fires = until_fires(&node, "often", 2).await;
    let fired = fires.iter().find(|fire| fire["what"] == "fired").expect("one fired");
    let id = fired["mission_id"].as_str().expect("a mission");
    assert!(id.starts_with("often:2") && id.ends_with('Z'), "{id}");
    let end = node.until_final(id).await;
    assert_eq!(end["status"], "completed", "{end:#}");
    let mission = node.mission(id).await;
    let objective = format!("Say hello at {}.", fired["first"].as_str().expect("a time"));
    assert_eq!((&mission["objective"], &mission["idempotency_key"]), (&json!(objective), &json!(id)));
    let listed = node.get("/v1/schedules").await.expect_status(200);
    assert_eq!((&listed.json["items"][0]["id"], &listed.json["items"][0]["paused"]), (&json!("often"), &json!(false)));
    let metrics = node.get("/metrics").await.text;
    assert!(metrics.contains("sortie_schedule_fires_total"), "{metrics}");
}

#[tokio::test]
async fn no_fire_is_lost_or_doubled_by_kills() {
    let mut node = Node::start().await;
    make(&node, &each_second("often")).await.expect_status(201);
    for round in 0..6_u64 {
        tokio::time::sleep(Duration::from_millis(700 + 230 * round)).await;
        node.kill();
        node.restart().await;
    }
    let seen = until_fires(&node, "often", 5).await;
    node.post("/v1/schedules/often/pause", &json!({"note": "enough"})).await.expect_status(200);
    let told: Vec<(i64, i64)> = seen
        .iter()
        .filter(|fire| ["fired", "skipped", "missed"].contains(&fire["what"].as_str().unwrap_or_default()))
        .map(|fire| (second(&fire["first"]), second(&fire["last"])))
        .collect();
    for pair in told.windows(2) {
        assert_eq!(pair[0].1 + 1, pair[1].0, "each second once, none left out: {told:?}");
    }
    let fired: Vec<&str> = seen.iter().filter_map(|fire| fire["mission_id"].as_str()).collect();
    assert_eq!(fired.iter().collect::<BTreeSet<_>>().len(), fired.len(), "{fired:?}");
    for id in fired {
        assert_eq!(node.until_final(id).await["status"], "completed", "{id}");
    }
    let all = node.get("/v1/missions?vp_id=vp.night&limit=500").await.expect_status(200);
    let missions = all.json["items"].as_array().expect("a list").len();
    let now = fires(&node, "often").await;
    assert_eq!(missions, now.iter().filter(|fire| fire["made"] == "made").count(), "no mission without its fire");
}

#[tokio::test]
async fn what_was_missed_is_caught_up_or_told() {
    let mut node = Node::start().await;
    let schedule = with(each_second("late"), "/catch_up_policy", json!("last"));
    make(&node, &with(schedule, "/opens_for", json!("2s"))).await.expect_status(201);
    until_fires(&node, "late", 1).await;
    node.kill();
    tokio::time::sleep(Duration::from_secs(5)).await;
    node.restart().await;
    until("what was missed is told", async || {
        let fires = fires(&node, "late").await;
        fires.iter().any(|fire| fire["what"] == "missed" && fire["reason"] == "window_over").then_some(())
    })
    .await;
    let metrics = node.get("/metrics").await.text;
    assert!(metrics.contains("sortie_schedule_missed_total"), "{metrics}");
}

#[tokio::test]
async fn a_schedule_is_changed_by_who_knows_its_revision() {
    let node = Node::start().await;
    let schedule = next_century("plan");
    make(&node, &schedule).await.expect_status(201);
    assert_eq!(make(&node, &schedule).await.expect_status(409).json["code"], "schedule_exists");
    let changed = with(schedule.clone(), "/note", json!("Another."));
    let put = async |revision: Option<&str>| {
        let request = node.request("PUT", "/v1/schedules/plan").header("content-type", "application/json");
        let request = revision.into_iter().fold(request, |request, tag| request.header("if-match", tag));
        http::send(request.body(changed.to_string())).await.expect("an answer")
    };
    assert_eq!(put(None).await.expect_status(428).json["code"], "revision_required");
    assert_eq!(put(Some("\"7\"")).await.expect_status(412).json["revision"], 1);
    let done = put(Some("\"1\"")).await.expect_status(200);
    assert_eq!((done.header("etag"), &done.json["schedule"]["note"]), ("\"2\"", &json!("Another.")));
    assert_eq!(done.json["changes"][1]["what"], "revised");
    http::send(node.request("DELETE", "/v1/schedules/plan")).await.expect("an answer").expect_status(204);
    node.get("/v1/schedules/plan").await.expect_status(404);
    make(&node, &schedule).await.expect_status(201);
}

#[tokio::test]
async fn a_schedule_is_changed_also_where_what_was_due_of_it_cannot_be_made() {
    let node = Options::new().config("[limits]\ndisk_reserve_mib = 1000000000").start().await;
    make(&node, &each_second("often")).await.expect_status(201);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let put = node.request("PUT", "/v1/schedules/often").header("if-match", "\"1\"");
    let changed = with(each_second("often"), "/note", json!("Another."));
    let put = put.header("content-type", "application/json").body(changed.to_string());
    let done = http::send(put).await.expect("an answer").expect_status(200);
    assert_eq!(done.json["revision"], 2);
    let fires = fires(&node, "often").await;
    assert!(fires.iter().any(|fire| fire["what"] == "waits"), "{fires:#?}");
    assert!(!fires.iter().any(|fire| fire["made"] == "made"), "there is no room for it: {fires:#?}");
}

#[tokio::test]
async fn what_people_do_to_a_schedule_is_done_and_told() {
    let mut node = Node::start().await;
    make(&node, &next_century("plan")).await.expect_status(201);
    let act =
        async |node: &Node, what: &str, body: Value| node.post(&format!("/v1/schedules/plan/{what}"), &body).await;
    let paused = act(&node, "pause", json!({"until": in_ms(3_600_000), "note": "Holidays."})).await.expect_status(200);
    assert_eq!(paused.json["paused"]["note"], "Holidays.");
    act(&node, "trigger", json!({"note": "Now."})).await.expect_status(200);
    let triggered = until_fires(&node, "plan", 1).await;
    let id = triggered.iter().find_map(|fire| fire["mission_id"].as_str()).expect("a mission").to_owned();
    assert_eq!(node.until_final(&id).await["status"], "completed", "a pause holds up nothing that a person asks for");
    node.kill();
    node.restart().await;
    let shown = node.get("/v1/schedules/plan").await.expect_status(200);
    assert_eq!(shown.json["paused"]["by_hand"], true, "a pause outlasts a restart");
    let resumed = act(&node, "resume", json!({})).await.expect_status(200);
    assert_eq!(resumed.json["paused"], Value::Null);
    let whats: Vec<&str> = resumed.json["changes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|change| change["what"].as_str())
        .collect();
    assert_eq!(whats, ["made", "paused", "triggered", "resumed"]);
    for (from, to, expected) in [
        (in_ms(60_000), in_ms(90_000), "none of its times in this range"),
        ("2020-01-01T00:00:00Z".to_owned(), "2020-01-02T00:00:00Z".to_owned(), "none of its times in this range"),
        ("2089-01-01T00:00:00Z".to_owned(), "2091-01-01T00:00:00Z".to_owned(), "no time of this range is over"),
        ("2020-01-02T00:00:00Z".to_owned(), "2020-01-01T00:00:00Z".to_owned(), "ends before it begins"),
    ] {
        let refused = act(&node, "backfill", json!({"from": from, "to": to})).await.expect_status(422);
        assert_eq!(
            (&refused.json["code"], &refused.json["errors"][0]["pointer"]),
            (&json!("invalid_action"), &json!("/from"))
        );
        assert!(refused.text.contains(expected), "{}", refused.text);
    }
    for what in ["pause", "resume", "trigger"] {
        let refused = act(&node, what, json!({"note": "x".repeat(4_097)})).await.expect_status(422);
        assert_eq!(
            (&refused.json["errors"][0]["pointer"], &refused.json["errors"][0]["code"]),
            (&json!("/note"), &json!("too_long"))
        );
    }
    act(&node, "pause", json!({"until": "tomorrow"})).await.expect_status(422);
    act(&node, "pause", json!({"until": "2020-01-01T00:00:00Z"})).await.expect_status(409);
    act(&node, "trigger", json!(["allow_all"])).await.expect_status(422);
    act(&node, "trigger", json!({"overlap": "both"})).await.expect_status(422);
}

#[tokio::test]
async fn times_that_are_over_are_filled_in_and_found_where_they_are_there() {
    let node = Node::start().await;
    make(&node, &with(each_second("often"), "/overlap", json!("allow_all"))).await.expect_status(201);
    let fires = until_fires(&node, "often", 3).await;
    node.post("/v1/schedules/often/pause", &json!({})).await.expect_status(200);
    let first = fires.iter().find(|fire| fire["what"] == "fired").expect("one fired")["first"].clone();
    let body = json!({"from": first, "to": first});
    node.post("/v1/schedules/often/backfill", &body).await.expect_status(200);
    until("the time is found", async || {
        let fires = self::fires(&node, "often").await;
        fires.iter().any(|fire| fire["origin"] == "backfilled" && fire["made"] == "found").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_schedule_is_said_when_it_is_made() {
    let node = Node::start().await;
    for (change, value, pointer) in [
        ("/zone", json!("Mars/Olympus"), "/zone"),
        ("/every", json!("soon"), "/every"),
        ("/allow_frequent", json!(false), ""),
        ("/mission/objective", json!("{{ dat }}"), "/mission/objective"),
        ("/mission/mission_type", json!("nothing"), "/mission/mission_type"),
        ("/mission/plugin", json!("nowhere"), "/mission/plugin"),
        ("/mission/mission_id", json!("mine"), "/mission/mission_id"),
        ("/on_window_end", json!("later"), "/on_window_end"),
        ("/wrong", json!(1), "/wrong"),
    ] {
        let answer = make(&node, &with(each_second("bad"), change, value)).await.expect_status(422);
        let pointers: Vec<&str> = answer.json["errors"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|error| error["pointer"].as_str())
            .collect();
        assert!(pointers.iter().any(|at| at.starts_with(pointer)), "{change}: {:#}", answer.json);
    }
    node.get("/v1/schedules/bad").await.expect_status(404);
}

#[tokio::test]
async fn the_command_line_plans_nights() {
    let node = Node::start().await;
    let next = node
        .cli(&[
            "--json",
            "schedule",
            "next",
            "0 2 * * 1-5",
            "--zone",
            "America/Chicago",
            "--count",
            "3",
            "--from",
            "2026-03-06T12:00:00Z",
        ])
        .await;
    let times: Value = serde_json::from_slice(&next.stdout).expect("JSON");
    assert_eq!(times[0], json!({"at": "2026-03-09T07:00:00Z", "local": "2026-03-09T02:00:00-05:00", "note": null}));
    let named = node.cli(&["schedule", "next", "0 2 * * *", "--zone", "america/chicago"]).await;
    assert!(String::from_utf8_lossy(&named.stdout).starts_with("America/Chicago"), "{named:?}");
    let file = node.folder().join("nightly.toml");
    let toml = "id = \"nightly\"\nzone = \"America/Chicago\"\nat = \"0 2 * * *\"\nopens_for = \"4h\"\nexcept = [\"days.ics\"]\n\
                [mission]\nvp_id = \"vp\"\nmission_type = \"custom\"\nplugin = \"hello\"\nobjective = \"Hello.\"\n";
    std::fs::write(&file, toml).expect("written");
    let file = file.to_str().expect("a path");
    let missing = node.cli(&["schedule", "add", file]).await;
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("days.ics"), "{missing:?}");
    let ics = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\n\
               DTSTART;VALUE=DATE:20301224\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    std::fs::write(node.folder().join("days.ics"), ics).expect("written");
    let added = node.cli(&["schedule", "add", file]).await;
    assert!(added.status.success(), "{added:?}");
    std::fs::write(file, toml.replace("4h", "5h")).expect("written");
    let set = node.cli(&["--json", "schedule", "set", file]).await;
    let set: Value = serde_json::from_slice(&set.stdout).expect("JSON");
    assert_eq!((&set["revision"], &set["schedule"]["opens_for"]), (&json!(2), &json!("5h")));
    for arguments in [
        ["schedule", "pause", "nightly", "--note", "x"].as_slice(),
        &["schedule", "resume", "nightly"],
        &["schedule", "trigger", "nightly"],
        &["schedule", "show", "nightly"],
        &["schedule", "fires", "nightly"],
        &["schedule", "ls"],
        &["schedule", "rm", "nightly"],
    ] {
        let done = node.cli(arguments).await;
        assert!(done.status.success(), "{arguments:?}: {done:?}");
    }
    let gone = node.cli(&["schedule", "show", "nightly"]).await;
    assert_eq!(gone.status.code(), Some(6), "{gone:?}");
    let wrong = node.cli(&["schedule", "next", "0 0 30 2 *"]).await;
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}

#[tokio::test]
async fn a_preview_needs_no_schedule() {
    let node = Node::start().await;
    let body = json!({
        "schedule": {"zone": "Europe/London", "at": "30 1 * * *", "opens_for": "2h"}, "count": 2, "from": "2026-03-28T12:00:00Z",
    });
    let times = node.post("/v1/schedules/preview", &body).await.expect_status(200).json;
    assert_eq!(
        times[0],
        json!({
            "at": "2026-03-29T01:00:00Z", "local": "2026-03-29T02:00:00+01:00", "note": "gap",
            "window": {"opens": "2026-03-29T01:00:00Z", "closes": "2026-03-29T03:00:00Z"},
        })
    );
    assert_eq!(times.as_array().map(Vec::len), Some(2));
    // What making it would refuse of its times is refused.
    for (schedule, count, code) in [
        (json!({"every": "1h"}), 0, "invalid_action"),
        (json!({"every": "1h"}), 5_001, "invalid_action"),
        (json!({"zone": "UTC", "once": "2020-01-01T00:00:00"}), 1, "invalid_schedule"),
        (json!({"zone": "UTC", "at": ["0 2 * * *"], "once": "2090-06-01T02:00:30"}), 1, "invalid_schedule"),
        (json!({"every": "1s"}), 1, "invalid_schedule"),
    ] {
        let from = if schedule["at"].is_null() { json!(null) } else { json!("2090-05-31T00:00:00Z") };
        let body = json!({"schedule": schedule, "count": count, "from": from});
        let refused = node.post("/v1/schedules/preview", &body).await.expect_status(422);
        assert_eq!(refused.json["code"], code, "{schedule}: {:#}", refused.json);
    }
}

#[tokio::test]
async fn a_page_begins_where_another_ended_or_is_refused() {
    let node = Node::start().await;
    make(&node, &next_century("plan")).await.expect_status(201);
    for path in [
        "/v1/schedules?cursor=",
        "/v1/schedules?cursor=no%20name",
        "/v1/schedules/plan/fires?cursor=",
        "/v1/schedules/plan/fires?cursor=x",
        "/v1/schedules/plan/fires?cursor=0",
        "/v1/schedules/plan/fires?cursor=-1",
        "/v1/schedules/plan/fires?cursor=%2B1",
    ] {
        let refused = node.get(path).await.expect_status(400);
        assert!(refused.text.contains("the `next_cursor` of a page"), "{path}: {}", refused.text);
    }
    assert_eq!(node.get("/v1/schedules?cursor=a").await.expect_status(200).json["items"][0]["id"], "plan");
}

#[tokio::test]
async fn a_node_has_as_many_schedules_as_it_may() {
    let node = Options::new().config("[limits]\nschedules = 2").start().await;
    for id in ["a", "b"] {
        make(&node, &next_century(id)).await.expect_status(201);
    }
    let refused = make(&node, &next_century("c")).await.expect_status(422);
    assert_eq!(refused.json["code"], "too_many_schedules");
    http::send(node.request("DELETE", "/v1/schedules/a")).await.expect("an answer").expect_status(204);
    make(&node, &next_century("c")).await.expect_status(201);
}

#[tokio::test]
async fn a_schedule_says_what_each_policy_would_do_with_what_runs() {
    let node = Node::start().await;
    let mut plan = next_century("plan");
    plan["mission"] = json!({
        "vp_id": "vp.night", "mission_type": "automation", "objective": "Ask.",
        "inputs": {"steps": [{"id": "q", "tool": "ask", "with": {"question": "And now?"}}]},
    });
    let made = make(&node, &plan).await.expect_status(201);
    assert_eq!(made.json["outlook"], Value::Null, "nothing runs");
    node.post("/v1/schedules/plan/trigger", &json!({})).await.expect_status(200);
    let shown = node.get("/v1/schedules/plan").await.expect_status(200).json;
    let outlook = &shown["outlook"];
    assert_eq!(outlook["at"], shown["next"][0]["at"], "{shown:#}");
    let would = |policy: &Value| (policy["overlap"].clone(), policy["would"].clone(), policy["own"].clone());
    assert_eq!(
        outlook["policies"].as_array().expect("a list").iter().map(would).collect::<Vec<_>>(),
        [
            (json!("skip"), json!("skip"), json!(false)),
            (json!("buffer_one"), json!("wait"), json!(false)),
            (json!("buffer_all"), json!("wait"), json!(false)),
            (json!("cancel_other"), json!("cancel_and_fire"), json!(false)),
            (json!("allow_all"), json!("fire"), json!(true)),
        ]
    );
    let told = node.cli(&["schedule", "show", "plan"]).await;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("allow_all     it runs beside the others  (its own)"), "{told}");
}

#[tokio::test]
async fn whether_a_schedule_would_be_taken_is_said_and_nothing_done() {
    let node = Node::start().await;
    let dry = "/v1/schedules?dry_run=true";
    assert_eq!(
        node.post(dry, &next_century("plan")).await.expect_status(200).json,
        json!({"id": "plan", "revision": 1})
    );
    node.get("/v1/schedules/plan").await.expect_status(404);
    node.post(dry, &with(next_century("plan"), "/mission/plugin", json!("nowhere"))).await.expect_status(422);
    make(&node, &next_century("plan")).await.expect_status(201);
    node.post(dry, &next_century("plan")).await.expect_status(409);
    node.post("/v1/schedules?dry_run=1", &next_century("other")).await.expect_status(400);
    let put = async |revision: &str, schedule: Value| {
        let request = node.request("PUT", "/v1/schedules/plan?dry_run=true").header("if-match", revision);
        http::send(request.header("content-type", "application/json").body(schedule.to_string()))
            .await
            .expect("an answer")
    };
    put("\"7\"", next_century("plan")).await.expect_status(412);
    let done = put("\"1\"", with(next_century("plan"), "/note", json!("Another."))).await.expect_status(200);
    assert_eq!(done.json, json!({"id": "plan", "revision": 2}));
    assert_eq!(node.get("/v1/schedules/plan").await.expect_status(200).json["revision"], 1);
    // A folder of one that it would take and one that it would not.
    let folder = node.folder().join("plans");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("good.json"), next_century("good").to_string()).expect("written");
    let bad = with(next_century("bad"), "/mission/plugin", json!("nowhere"));
    std::fs::write(folder.join("bad.json"), bad.to_string()).expect("written");
    let folder = folder.to_str().expect("a path");
    let told = node.cli(&["--json", "schedule", "apply", folder, "--dry-run"]).await;
    assert_eq!(told.status.code(), Some(2), "{told:?}");
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!((&told["steps"][1]["id"], &told["steps"][1]["refused"]), (&json!("good"), &Value::Null));
    assert!(told["steps"][0]["refused"].as_str().is_some_and(|why| why.contains("nowhere")), "{told:#}");
    let told = node.cli(&["schedule", "apply", folder, "--dry-run"]).await;
    assert!(String::from_utf8_lossy(&told.stdout).contains("add     bad  refused: "), "{told:?}");
}

#[tokio::test]
async fn the_examples_are_taken() {
    let node = Node::start().await;
    let folder = sortie_tests::project().join("examples/schedules");
    let page = std::fs::read_to_string(folder.with_file_name("README.md")).expect("the examples' page");
    let mut taken = 0;
    for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(page.contains(&name), "{name} is not in examples/README.md");
        if path.extension().is_some_and(|end| end == "toml") {
            let added = node.cli(&["--json", "schedule", "add", path.to_str().expect("a path")]).await;
            assert!(added.status.success(), "{name}: {}", String::from_utf8_lossy(&added.stderr));
            let schedule: Value = serde_json::from_slice(&added.stdout).expect("JSON");
            let id = schedule["id"].as_str().expect("an id").to_owned();
            node.post(&format!("/v1/schedules/{id}/trigger"), &json!({})).await.expect_status(200);
            let fires = fires(&node, &id).await;
            let mission = fires.iter().find_map(|fire| fire["mission_id"].as_str()).expect("it was made").to_owned();
            let end = node.until_final(&mission).await;
            assert_eq!(end["status"], "completed", "{name}: {end:#}");
            taken += 1;
        }
    }
    assert_eq!(taken, 5);
}

#[tokio::test]
async fn a_folder_says_what_a_node_plans() {
    let node = Node::start().await;
    let folder = sortie_tests::project().join("examples/schedules");
    make(&node, &next_century("other")).await.expect_status(201);
    let apply = async |more: &[&str]| {
        let arguments = [&["--json", "schedule", "apply", folder.to_str().expect("a path")], more].concat();
        let output = node.cli(&arguments).await;
        assert!(output.status.success(), "{output:?}");
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let steps = told["steps"].as_array().expect("a list").clone();
        steps.iter().map(|step| step["step"].as_str().expect("a word").to_owned()).collect::<Vec<_>>()
    };
    let listed = async || node.get("/v1/schedules").await.json["items"].as_array().expect("a list").len();
    assert_eq!((apply(&["--dry-run"]).await, listed().await), (vec!["add".to_owned(); 5], 1), "nothing is done");
    assert_eq!((apply(&[]).await, listed().await), (vec!["add".to_owned(); 5], 6));
    assert_eq!(apply(&[]).await, ["keep"; 5], "it is as the folder says");
    let revised = with(next_century("migration"), "/note", json!("By hand."));
    let put = node.request("PUT", "/v1/schedules/migration").header("if-match", "\"1\"");
    let put = put.header("content-type", "application/json").body(revised.to_string());
    http::send(put).await.expect("an answer").expect_status(200);
    let mut steps = apply(&["--prune"]).await;
    steps.sort();
    assert_eq!(steps, ["keep", "keep", "keep", "keep", "remove", "set"]);
    assert_eq!((listed().await, apply(&[]).await), (5, vec!["keep".to_owned(); 5]));
}

#[tokio::test]
async fn nobody_takes_the_place_of_a_fire() {
    let node = Node::start().await;
    let mut soon = next_century("soon");
    soon["once"] = json!([(Timestamp::now() + Duration::from_secs(3)).strftime("%Y-%m-%dT%H:%M:%S").to_string()]);
    soon["zone"] = json!("UTC");
    let made = make(&node, &soon).await.expect_status(201);
    let at = made.json["next"][0]["at"].as_str().expect("a time").replace(['-', ':'], "");
    let id = format!("soon:{at}");
    let theirs = with(sortie_tests::envelope::writing("y"), "/mission_id", json!(id));
    let theirs = with(theirs, "/idempotency_key", json!(id));
    node.accept(&with(theirs, "/source_instance_id", json!("factory-1"))).await;
    until("the fire is refused", async || {
        let fires = fires(&node, "soon").await;
        let fire = fires.iter().find(|fire| fire["what"] == "fired")?.clone();
        (fire["made"] == "refused" && fire["errors"][0]["code"] == "mission_id_conflict").then_some(())
    })
    .await;
    let night = node.get("/v1/nights/current").await.expect_status(200).json;
    assert_eq!((&night["fired"], &night["refused"], &night["needs_people"]), (&json!(0), &json!(1), &json!(true)));
    assert_eq!(night["gaps"][0]["reason"], "mission_id_conflict", "{night:#}");
    for (columns, arguments) in [40_u16, 80].into_iter().flat_map(|columns| {
        [&["night"][..], &["schedule", "ls"], &["schedule", "fires", "soon"]].map(|arguments| (columns, arguments))
    }) {
        let (_, seen) = at_a_terminal(node.command(arguments), columns, "").await;
        let seen = without_colours(&seen);
        // A night in a line is a sentence, which is as long as it is.
        let rows: Vec<&str> = seen.lines().skip_while(|line| line.starts_with("Night of")).collect();
        let widest = rows.iter().map(|line| line.chars().count()).max().unwrap_or_default();
        assert!(widest > 10 && widest <= columns.into(), "{arguments:?} at {columns}: {widest}\n{seen}");
    }
}
