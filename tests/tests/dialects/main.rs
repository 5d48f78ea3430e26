//! The control plane's older dialects, from outside: over HTTP, over a real Redis that is killed with the node, and as files and heartbeats.

#![expect(clippy::disallowed_methods, reason = "tests watch a node from outside, with the clock of the outside")]

mod http;
mod redis;

use std::collections::BTreeMap;

use redis::Redis;
use serde_json::{Value, json};
use sortie_tests::{Node, Options, Receiver, until};

/// Old types and what runs them: one that writes a file, one that fails, one that asks people before it writes.
const TYPES: &str = r#"
    [dialect]
    source = "simone-hq"
    [dialect.types.coding_task]
    runs = "automation"
    vp_id = "vp.coder.primary"
    envelope = { constraints = { allowed_tools = ["Write"] }, inputs = { steps = [{ id = "w", tool = "Write", with = { path = "note.txt", content = "x" } }] } }
    [dialect.types.failing]
    runs = "automation"
    vp_id = "vp.failing"
    envelope = { constraints = { allowed_tools = ["Read"] }, inputs = { steps = [{ id = "r", tool = "Read", with = { path = "never.txt" } }] } }
    [dialect.types.asking]
    runs = "automation"
    vp_id = "vp.asking"
    envelope = { constraints = { allowed_tools = ["Write"], approval_required = ["Write"] }, inputs = { steps = [{ id = "w", tool = "Write", with = { path = "note.txt", content = "x" } }] } }
"#;

fn job(id: &str, kind: &str) -> Value {
    json!({
        "job_id": id, "idempotency_key": format!("idem-{id}"), "priority": 50, "timeout_seconds": 600, "max_retries": 2,
        "payload": {"task": "implement feature X", "context": {"mission_kind": kind}},
    })
}

async fn bridged(redis: &Redis) -> Node {
    Options::new().config(TYPES).config(&redis.config()).start().await
}

/// Waits until a job has its result.
async fn result(redis: &Redis, id: &str) -> (Value, Value) {
    until("the result is in Redis", async || redis.results().into_iter().find(|(_, said)| said["job_id"] == id)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_one_mission_and_has_its_result_whatever_becomes_of_it() {
    let Some(redis) = Redis::start() else { return };
    for (id, kind) in
        [("test-job-001", "coding_task"), ("test-job-001", "coding_task"), ("bad", "failing"), ("held", "asking")]
    {
        redis.add(&job(id, kind));
    }
    // What is no job: of no type, without a task, no JSON, of another mission's name and key, no field that is known.
    redis.add(&job("odd", "tutorial"));
    redis.add(&json!({"job_id": "empty", "idempotency_key": "e", "payload": {"task": "", "context": {"mission_kind": "failing"}}}));
    let stream = "ua:missions:delegation";
    redis.ask(&["XADD", stream, "*", "job_id", "text", "envelope", "no JSON"]);
    let mut other = job("test-job-001", "coding_task");
    other["idempotency_key"] = json!("another");
    redis.add(&other);
    redis.ask(&["XADD", stream, "*", "x", "y"]);
    // As fields, the way that some write it.
    let payload = r#"{"task":"x","context":{"mission_kind":"coding_task"}}"#;
    redis.ask(&[
        "XADD",
        stream,
        "*",
        "job_id",
        "flat",
        "idempotency_key",
        "flat",
        "timeout_seconds",
        "60",
        "payload",
        payload,
    ]);
    let node = bridged(&redis).await;
    let (message, done) = result(&redis, "test-job-001").await;
    assert_eq!(done["status"], "SUCCESS");
    assert_eq!((&done["result"]["mission_id"], &done["error"]), (&json!("bridge-test-job-001"), &Value::Null));
    let place =
        done["result"]["result_ref"].as_str().and_then(|place| place.strip_prefix("workspace://")).expect("a place");
    assert_eq!(std::fs::read_to_string(format!("{place}/note.txt")).expect("written"), "x");
    assert_eq!((&message["job_id"], &message["status"]), (&json!("test-job-001"), &json!("SUCCESS")));
    result(&redis, "flat").await;
    let (_, failed) = result(&redis, "bad").await;
    assert_eq!((&failed["status"], &failed["result"]["terminal_status"]), (&json!("FAILED"), &json!("failed")));
    node.until_status("bridge-held", "blocked").await;
    node.post("/v1/missions/bridge-held/cancel", &json!({"reason": "not needed"})).await.expect_status(202);
    let (_, cancelled) = result(&redis, "held").await;
    assert_eq!(
        (&cancelled["status"], &cancelled["result"]["terminal_status"]),
        (&json!("FAILED"), &json!("cancelled"))
    );

    until("all is acknowledged", async || (redis.pending() == 0).then_some(())).await;
    let dead = redis.messages("ua:missions:dlq");
    let why: BTreeMap<&str, &str> =
        dead.iter().filter_map(|letter| Some((letter["job_id"].as_str()?, letter["error"].as_str()?))).collect();
    for (id, told) in [
        ("odd", "/payload/context/mission_kind"),
        ("empty", "/payload/task"),
        ("text", "not JSON"),
        ("test-job-001", "mission id was used before"),
        ("", "has no field `envelope`"),
    ] {
        assert!(why.get(id).is_some_and(|why| why.contains(told)), "{id}: {why:?}");
    }
    assert_eq!((dead.len(), redis.results().len()), (5, 4));
    let shown = node.mission("bridge-test-job-001").await;
    assert_eq!(
        (&shown["vp_session_id"], &shown["source_instance_id"]),
        (&json!("vp.coder.primary.session"), &json!("simone-hq"))
    );
    assert_eq!(node.get("/v1/node").await.json["dialects"][0]["connected"], true);
    let metrics = node.request("GET", "/metrics").send().await.expect("an answer").text().await.expect("a text");
    for line in [
        "sortie_bridge_jobs_taken_total 4",
        "sortie_bridge_jobs_replayed_total 1",
        "sortie_bridge_dead_letters_total 5",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_consumer_left_is_taken_and_a_paused_node_takes_and_acknowledges_nothing() {
    let Some(redis) = Redis::start() else { return };
    let node = bridged(&redis).await;
    until("the group is there", async || {
        node.get("/v1/node").await.json["dialects"][0]["connected"].as_bool().filter(|is| *is)
    })
    .await;
    node.post("/v1/node/pause", &Value::Null).await.expect_status(200);
    // What was asked for before the pause is answered within a second.
    until("nobody reads any more", async || redis.is_left_alone(2).then_some(())).await;
    let stream = "ua:missions:delegation";
    for id in ["a", "b"] {
        redis.add(&job(id, "coding_task"));
    }
    let taken = redis.ask(&["XREADGROUP", "GROUP", "ua_workers", "dead", "COUNT", "1", "STREAMS", stream, ">"]);
    assert!(taken.to_string().contains("idem-a"), "{taken}");
    until("three seconds are over", async || (redis.longest_pending() >= 3_000).then_some(())).await;
    assert_eq!(redis.pending(), 1, "the paused node took none, and acknowledged none");
    assert_eq!(node.get("/v1/missions").await.json["items"], json!([]));
    node.post("/v1/node/resume", &Value::Null).await.expect_status(200);
    for id in ["a", "b"] {
        result(&redis, id).await;
    }
    until("all is acknowledged", async || (redis.pending() == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_dead_letters_do_not_take_stays_in_the_stream_and_holds_up_no_job() {
    let Some(redis) = Redis::start() else { return };
    // An older tool left a list under that name.
    let letters = "ua:missions:dlq";
    redis.ask(&["RPUSH", letters, "an older letter"]);
    redis.add(&job("odd", "tutorial"));
    redis.add(&job("fine", "coding_task"));
    let node = bridged(&redis).await;
    result(&redis, "fine").await;
    let told = until("it is told", async || {
        let bridge = node.get("/v1/node").await.json["dialects"][0].clone();
        bridge["error"].as_str().filter(|_| bridge["connected"] == true).map(str::to_owned)
    })
    .await;
    assert!(told.contains(letters) && told.contains("WRONGTYPE"), "{told}");
    let doctor = node.cli(&["doctor"]).await;
    let says = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(!doctor.status.success() && says.contains("does not take dead letters"), "{says}");
    assert!(node.read_log().contains("does not take dead letters"));
    until("it alone is not acknowledged", async || (redis.pending() == 1).then_some(())).await;
    // However often it is tried.
    until("it is tried again", async || {
        let pending = redis.ask(&["XPENDING", "ua:missions:delegation", "ua_workers", "-", "+", "10"]);
        pending[0][3].as_u64().filter(|deliveries| *deliveries > 2)
    })
    .await;
    assert_eq!(redis.pending(), 1);
    redis.ask(&["DEL", letters]);
    until("it is acknowledged", async || (redis.pending() == 0).then_some(())).await;
    let dead = redis.messages(letters);
    assert_eq!((dead.len(), &dead[0]["job_id"]), (1, &json!("odd")), "{dead:?}");
    until("nothing is wrong any more", async || {
        node.get("/v1/node").await.json["dialects"][0]["error"].is_null().then_some(())
    })
    .await;
}

/// `KILLS` says how often.
#[tokio::test(flavor = "multi_thread")]
async fn kill_after_kill_of_node_and_redis_each_job_is_one_mission_and_none_is_without_its_result() {
    let Some(mut redis) = Redis::start() else { return };
    let mut node =
        Options::new().config(TYPES).config(&redis.config()).config("[limits]\ncrashes_alone = 1000").start().await;
    let kills: usize = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(6);
    let mut jobs = Vec::new();
    for kill in 0..kills {
        let told = redis.results().len() + [0, 1, 3, 5, 2][kill % 5];
        for n in 0..8 {
            let id = format!("job-{kill}-{n}");
            redis.add(&job(&id, if n % 4 == 3 { "failing" } else { "coding_task" }));
            jobs.push(id);
        }
        // Somewhere between reading, accepting, acknowledging, running and telling.
        until("some are told", async || (redis.results().len() >= told).then_some(())).await;
        if kill % 3 == 1 {
            redis.kill();
            // A node whose Redis is away serves.
            assert_eq!(node.get("/readyz").await.status, 200);
            redis.go_on();
        } else {
            node.kill();
            node.restart().await;
        }
    }
    for id in &jobs {
        result(&redis, id).await;
    }
    until("all is acknowledged", async || (redis.pending() == 0).then_some(())).await;
    let mut keys = BTreeMap::<String, String>::new();
    for (message, said) in redis.results() {
        let [job, key] =
            [&message["job_id"], &message["idempotency_key"]].map(|text| text.as_str().expect("a text").to_owned());
        // What came twice says the same, under the same key.
        let mission = said["result"]["mission_id"].as_str().expect("a mission");
        assert!(key.starts_with(&format!("{mission}/")), "{key}");
        assert_eq!(keys.entry(job).or_insert_with(|| key.clone()), &key);
    }
    assert_eq!(keys.len(), jobs.len());
    assert_eq!(redis.messages("ua:missions:dlq"), [] as [Value; 0]);
    let missions = node.get("/v1/missions?limit=500").await.json["items"].as_array().map(Vec::len);
    assert_eq!(missions, Some(jobs.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_told_of_its_own_mission_alone() {
    let Some(redis) = Redis::start() else { return };
    let node = bridged(&redis).await;
    // Whoever may dispatch may write any address: that of another's job is refused to it.
    let forged = sortie_tests::envelope::with(
        sortie_tests::envelope::writing("forger"),
        "/callback",
        json!({"status_url": "https://redis.dialect.invalid/results?job=victim"}),
    );
    node.accept(&forged).await;
    until("it is parked", async || {
        let parked = node.get("/v1/deliveries?state=parked").await.json;
        (parked["items"][0]["mission_id"] == "forger").then_some(())
    })
    .await;
    assert_eq!(redis.results(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_headquarters_hears_of_a_node_and_finds_receipts() {
    let headquarters = Receiver::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "a token of the operators\n").expect("written");
    let config = format!(
        "[dialect.heartbeat]\nhq = \"http://{}\"\nops_token = \"file://{}\"\nevery = \"1s\"\nallow_private = [\"127.0.0.1\"]\n[dialect.receipts]\n",
        headquarters.host(),
        token.display()
    );
    let mut node = Options::new().config(TYPES).config(&config).start().await;
    let heard = async |status: &str| {
        until("it is heard", async || {
            let is = |body: &Value| body["registration_status"] == status;
            headquarters.received().into_iter().rev().find(|received| is(&received.json))
        })
        .await
    };
    let online = heard("online").await;
    assert_eq!((online.method.as_str(), online.path.as_str()), ("POST", "/api/v1/factory/registrations"));
    assert_eq!(online.header("x-ua-ops-token"), "a token of the operators");
    assert_eq!(
        (&online.json["factory_id"], &online.json["factory_role"]),
        (&json!("factory-1"), &json!("LOCAL_WORKER"))
    );
    assert!(
        online.json["metadata"]["pid"].is_u64() && online.json["metadata"]["hostname"].is_string(),
        "{}",
        online.json
    );
    node.post("/v1/node/pause", &Value::Null).await.expect_status(200);
    heard("paused").await;
    node.post("/v1/node/resume", &Value::Null).await.expect_status(200);
    let node_view = node.get("/v1/node").await.json;
    assert_eq!(node_view["dialects"][0]["name"], "heartbeat");

    // A link out of the workspace in the place of a receipt is replaced, and what it led to stays as it was.
    let outside = folder.path().join("outside");
    std::fs::write(&outside, "mine").expect("written");
    let id = node.accept(&sortie_tests::envelope::writing("first")).await;
    node.until_final(&id).await;
    let workspace = until("its receipt is there", async || {
        let folders = std::fs::read_dir(node.data().join("workspaces")).ok()?;
        folders.flatten().map(|entry| entry.path()).find(|path| path.join("sync_ready.json").exists())
    })
    .await;
    let read =
        |name: &str| -> Option<Value> { serde_json::from_slice(&std::fs::read(workspace.join(name)).ok()?).ok() };
    let receipt = read("mission_receipt.json").expect("a receipt");
    assert_eq!((&receipt["mission_id"], &receipt["status"]), (&json!("first"), &json!("completed")));
    assert_eq!((&receipt["version"], &receipt["outcome"]["reason"]), (&json!(1), &json!("done")));
    std::fs::remove_file(workspace.join("mission_receipt.json")).expect("gone");
    std::os::unix::fs::symlink(&outside, workspace.join("mission_receipt.json")).expect("a link");
    let mut again = sortie_tests::envelope::writing("second");
    again["vp_id"] = json!("vp.first");
    // It ends, and the node is killed before it may have written anything.
    let id = node.accept(&again).await;
    node.until_final(&id).await;
    node.kill();
    node.restart().await;
    until("the receipt of the second is there", async || {
        read("mission_receipt.json").filter(|receipt| receipt["mission_id"] == "second")
    })
    .await;
    until("its mark, too", async || read("sync_ready.json").filter(|ready| ready["mission_id"] == "second")).await;
    assert!(workspace.join("mission_receipt.json").symlink_metadata().expect("there").is_file());
    assert_eq!(std::fs::read_to_string(&outside).expect("read"), "mine");
}
