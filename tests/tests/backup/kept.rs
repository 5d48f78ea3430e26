//! Missions that are kept, and those that go: by pins, lanes, types and schedules; through restarts, backups and restores.

use serde_json::{Value, json};
use sortie_tests::envelope::{with, write, writing};
use sortie_tests::{Node, Options, automation, http, until};

async fn is_gone(node: &Node, id: &str) -> bool {
    let answer = http::send(node.request("GET", &format!("/v1/missions/{id}"))).await;
    answer.is_ok_and(|answer| answer.status == 404)
}

async fn until_gone(node: &Node, id: &str) {
    until(&format!("{id} is removed"), async || is_gone(node, id).await.then_some(())).await;
}

fn leaving(id: &str) -> Value {
    let mut step = write("w", "note.txt", id);
    step["artifact"] = json!("note.txt");
    automation(id, &json!([step]))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_wants_kept_stays_with_its_artifacts_until_that_is_taken_back() {
    let config = "[retention]\nage = \"1s\"\n[[token]]\nname = \"op\"\nref = \"env://OP\"\nscopes = [\"operate\"]";
    let mut node = Options::new().config(config).env("OP", "operator-operator").start().await;
    // Before it has ended, by somebody who may not read.
    node.accept(&with(leaving("pinned"), "/constraints/approval_required", json!(["Write"]))).await;
    node.until_status("pinned", "blocked").await;
    let asked = http::client().post(format!("{}/v1/missions/pinned/keep", node.url())).bearer_auth("operator-operator");
    let answer = http::send(asked).await.expect("an answer").expect_status(200);
    assert_eq!(answer.json["mission_id"], "pinned");
    let request = node.mission("pinned").await["pending_requests"][0]["request_id"].clone();
    let path = format!("/v1/missions/pinned/requests/{}", request.as_str().expect("a request"));
    node.post(&path, &json!({"decision": "approve"})).await;
    node.until_final("pinned").await;
    let shown = node.mission("pinned").await;
    assert_eq!(shown["kept"]["by"], "op", "{shown}");
    // Again is the same, and says who was first.
    assert!(node.cli(&["keep", "pinned"]).await.status.success());
    assert_eq!(node.mission("pinned").await["kept"], shown["kept"]);
    let list = String::from_utf8(node.cli(&["ls"]).await.stdout).expect("text");
    assert!(list.contains("completed (kept)"), "{list}");
    let page = String::from_utf8(node.cli(&["show", "pinned"]).await.stdout).expect("text");
    assert!(page.contains("whatever its age"), "{page}");
    for restarted in [false, true] {
        let passing = format!("passing-{restarted}");
        node.run(&leaving(&passing)).await;
        until_gone(&node, &passing).await;
        let artifact = node.get("/v1/missions/pinned/artifacts/note.txt").await.expect_status(200);
        assert_eq!(artifact.text, "pinned");
        node.kill();
        node.restart().await;
    }
    node.get("/v1/missions/pinned").await.expect_status(200);
    node.post("/v1/missions/pinned/keep", &json!({"kep": true})).await.expect_problem(422, "invalid_action");
    node.post("/v1/missions/nobody/keep", &json!({})).await.expect_problem(404, "not_found");
    assert!(node.cli(&["keep", "pinned", "--off"]).await.status.success());
    until_gone(&node, "pinned").await;
    let left = std::fs::read_dir(node.data().join("artifacts")).expect("artifacts").count();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_types_and_schedules_have_bounds_of_their_own() {
    let config = "[retention]\nage = \"1s\"\n\
        [[lane]]\nid = \"long\"\nconcurrency = 4\n[[lane]]\nid = \"short\"\nconcurrency = 4\ndefault = true\n\
        [[retention.rule]]\nschedule = \"nightly\"\nage = \"1000d\"\nmissions = 1\n\
        [[retention.rule]]\nlane = \"long\"\n";
    let node = Options::new().config(config).start().await;
    node.run(&with(writing("in-long"), "/vp_runtime_id", json!("long"))).await;
    node.run(&writing("in-short")).await;
    let mission = json!({"vp_id": "vp.night", "mission_type": "custom", "plugin": "hello", "objective": "Say hello."});
    let schedule = json!({"id": "nightly", "once": ["2090-01-01T02:00:00"], "zone": "UTC", "mission": mission});
    node.post("/v1/schedules", &schedule).await.expect_status(201);
    let mut made = Vec::new();
    for number in 0..2 {
        node.post("/v1/schedules/nightly/trigger", &json!({})).await;
        let fire = until("it fires", async || {
            let fires = node.get("/v1/schedules/nightly/fires").await.json["items"].as_array().cloned()?;
            let ids: Vec<_> = fires.iter().filter_map(|fire| fire["mission_id"].as_str().map(str::to_owned)).collect();
            (ids.len() == number + 1).then(|| ids[0].clone())
        })
        .await;
        node.until_final(&fire).await;
        made.push(fire);
    }
    until_gone(&node, "in-short").await;
    until_gone(&node, &made[0]).await;
    // One more that goes by age: by then a round has looked at all of them again.
    node.run(&writing("in-short-again")).await;
    until_gone(&node, "in-short-again").await;
    assert!(!is_gone(&node, "in-long").await, "its rule has no bound");
    assert!(!is_gone(&node, &made[1]).await, "the newest of its schedule");
}
