//! The bridge to Redis of a fleet: what a killed node had claimed is done by another, once.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sortie_tests::envelope::with;
use sortie_tests::until;

use super::kit::{CALLS, Fleet, sleeping};
use super::redis::Redis;

const STREAM: &str = "ua:missions:delegation";

/// A type whose missions call the service that their task names.
fn types() -> String {
    let call = |n: usize| {
        let needs = n.checked_sub(1).map_or_else(String::new, |before| format!(", needs = [\"c{before}\"]"));
        format!(
            "{{ id = \"c{n}\", tool = \"HttpRequest\"{needs}, \
             with = {{ method = \"POST\", url = \"http://{{{{ objective }}}}/count/{{{{ mission.id }}}}/{n}\", body = \"once\" }} }}"
        )
    };
    let steps: Vec<String> = (0..CALLS).map(call).collect();
    format!(
        "[dialect]\nsource = \"simone-hq\"\n[dialect.types.counting]\nruns = \"automation\"\nvp_id = \"vp.counting\"\n\
         envelope = {{ constraints = {{ allowed_tools = [\"HttpRequest\"] }}, inputs = {{ steps = [{}] }} }}\n",
        steps.join(", ")
    )
}

/// A job of a VP, whose calls go to that service.
fn job(id: &str, vp: &str, service: &str) -> Value {
    json!({"job_id": id, "idempotency_key": format!("idem-{id}"), "timeout_seconds": 600,
        "payload": {"task": service, "context": {"mission_kind": "counting", "vp_id": vp}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_a_killed_node_had_claimed_are_done_once_by_the_other() {
    let Some(redis) = Redis::start() else { return };
    let bridge = redis.config();
    // How events are repeated is said for all nodes of these tests.
    let bridge = bridge.split("[callback]").next().unwrap_or_default();
    let lines = format!("lease = \"2s\"\n{}{bridge}", types());
    let Some(mut fleet) = Fleet::start_each(&[("a", &lines), ("b", &lines)]).await else { return };
    // A VP is at home with each.
    for (vp, node) in [("vp.at-a", "a"), ("vp.at-b", "b")] {
        let id = format!("home-{node}");
        let first = with(sleeping(&id, "10ms"), "/target_instance_id", json!(node));
        fleet.nodes[0].accept(&with(first, "/vp_id", json!(vp))).await;
        fleet.until_ended(&fleet.nodes[0], &id).await;
    }
    let service = fleet.service.host();
    let mut jobs = Vec::new();
    for n in 0..10 {
        let id = format!("job-{n}");
        redis.add(&job(&id, if n % 2 == 0 { "vp.at-b" } else { "vp.at-a" }, &service));
        jobs.push(id);
    }
    // Whoever has read them, half of them are for the one that is killed: some run there, some wait for their turn.
    until("both work on some", async || (fleet.service.received().len() > 5).then_some(())).await;
    fleet.nodes[1].kill();
    // And some it had read, and nothing more. The other one reads nothing meanwhile, or it would be quicker.
    let a = &fleet.nodes[0];
    a.post("/v1/node/pause", &Value::Null).await.expect_status(200);
    until("nobody reads any more", async || redis.is_left_alone(2).then_some(())).await;
    for (id, vp) in [("read-0", "vp.at-b"), ("read-1", "vp.at-a")] {
        redis.add(&job(id, vp, &service));
        let read = redis.ask(&["XREADGROUP", "GROUP", "ua_workers", "b", "COUNT", "1", "STREAMS", STREAM, ">"]);
        assert!(read.to_string().contains(id), "{read}");
        jobs.push(id.to_owned());
    }
    assert!(redis.pending() >= 2, "they are the dead one's");
    a.post("/v1/node/resume", &Value::Null).await.expect_status(200);

    let missions: Vec<String> = jobs.iter().map(|id| format!("bridge-{id}")).collect();
    for mission in &missions {
        fleet.until_ended(a, mission).await;
        assert_eq!(a.mission(mission).await["status"], "completed", "{mission}");
    }
    let results = until("all have their results", async || {
        let mut results = BTreeMap::<String, Vec<Value>>::new();
        for (message, said) in redis.results() {
            results.entry(said["job_id"].as_str()?.to_owned()).or_default().push(message);
        }
        (results.len() == jobs.len()).then_some(results)
    })
    .await;
    for id in &jobs {
        // One that was told in the moment of the kill may be told again, under the same key.
        let told = &results[id];
        assert!(told.iter().all(|message| message["status"] == "SUCCESS"), "{id}: {told:?}");
        assert!(told.iter().all(|message| message["idempotency_key"] == told[0]["idempotency_key"]), "{id}: {told:?}");
    }
    until("all is acknowledged", async || (redis.pending() == 0).then_some(())).await;
    assert_eq!(redis.messages("ua:missions:dlq"), [] as [Value; 0]);
    fleet.each_effect_once(&missions.iter().map(String::as_str).collect::<Vec<_>>());
}
