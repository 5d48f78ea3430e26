//! What a node believes of the others, and of its database: one that hangs, one that is frozen, an address that is another's, a name that
//! is taken.

use std::sync::Arc;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};
use sortie_tests::envelope::{with, writing};
use sortie_tests::{Node, Options, http, until};
use tokio::sync::Notify;

use crate::kit::{Fleet, LEASE, Setting, TOKEN, sleeping};

/// A node on the same store, that says it is there.
async fn one_more(fleet: &Fleet, name: &str, advertise: &str) -> Node {
    let config =
        format!("[node]\nstore = {:?}\nadvertise = {advertise:?}\nlease = \"2s\"\n", fleet.server.url("fleet"));
    Options::new().config(&config).name(name).token(TOKEN).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_is_away_within_the_lease_for_those_who_read_as_well() {
    let Some(fleet) = Fleet::start(&["a", "b"]).await else { return };
    let a = &fleet.nodes[0];
    a.accept(&with(writing("m-1"), "/target_instance_id", json!("a"))).await;
    a.until_final("m-1").await;
    let stream = a.request("GET", "/v1/events?after=0");
    let begun = Arc::new(Notify::new());
    let begins = Arc::clone(&begun);
    let streamed = tokio::spawn(http::stream(stream, move |event| {
        begins.notify_one();
        event.data["code"] == "store_away"
    }));
    begun.notified().await;
    fleet.server.freeze(true);
    let hung = Instant::now();
    // It was asked before anybody knew.
    let read = a.get("/v1/missions/m-1/events").await;
    let told = hung.elapsed();
    let ready = until("it is told", async || {
        let answer = a.get("/readyz").await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    eprintln!("a read was answered after {told:?}, and readiness after {:?}", hung.elapsed());
    for answer in [read, ready, a.get("/v1/missions/m-1").await, a.get("/v1/events").await] {
        answer.expect_problem(503, "store_away");
        assert!(!answer.header("retry-after").is_empty(), "{answer:#?}");
    }
    assert!(told < 2 * LEASE, "it took {told:?}");
    let ended = tokio::time::timeout(10 * LEASE, streamed).await.expect("it ends").expect("no panic");
    assert_eq!(ended.last().expect("why").data["code"], "store_away", "{ended:#?}");
    fleet.server.freeze(false);
    until("it is back", async || (a.get("/readyz").await.status == 200).then_some(())).await;
    until("it is read", async || (a.get("/v1/missions/m-1").await.status == 200).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_node_that_is_frozen_ends_and_goes_on_at_whoever_has_the_mission_then() {
    let Some(fleet) = Fleet::start(&["a", "b"]).await else { return };
    let a = &fleet.nodes[0];
    a.accept(&with(sleeping("m-1", "6s"), "/target_instance_id", json!("b"))).await;
    let path = "/v1/missions/m-1/events";
    let first = http::stream(a.request("GET", path), |event| event.data["status"] == "running").await;
    let last = first.last().expect("one").id.clone();
    let held = tokio::spawn(http::stream(a.request("GET", path).header("last-event-id", &last), |_| false));
    // It is through to the other.
    tokio::time::sleep(LEASE / 2).await;
    fleet.nodes[1].signal(Signal::STOP);
    let frozen = Instant::now();
    let ended = tokio::time::timeout(20 * LEASE, held).await.expect("it ends").expect("no panic");
    let why = &ended.last().expect("why").data;
    eprintln!("it ended after {:?}", frozen.elapsed());
    assert!(["holder_away", "holder_unreachable"].contains(&why["code"].as_str().expect("a problem")), "{ended:#?}");
    until("another goes on with it", async || (a.get("/v1/missions/m-1").await.status == 200).then_some(())).await;
    let rest = http::stream(a.request("GET", path).header("last-event-id", &last), |_| false).await;
    assert_eq!(rest.last().expect("an end").data["status"], "completed", "{rest:#?}");
    fleet.nodes[1].signal(Signal::CONT);
}

/// The token of an agent, of those that all nodes are configured with.
const AGENT: &str = "agent-token-0123456789-0123456789";

/// Waits for a mission with the tool of `/mcp`, as that agent: all that is told before it ends, and its end.
async fn wait_over_mcp(node: &Node, id: &str) -> (Vec<Value>, Value) {
    let post = |message: &Value, session: &str| {
        let request = http::client()
            .post(format!("{}/mcp", node.url()))
            .bearer_auth(AGENT)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(message.to_string());
        if session.is_empty() { request } else { request.header("mcp-session-id", session) }
    };
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}});
    let begin = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    let begun = http::send(post(&begin, "")).await.expect("an answer").expect_status(200);
    let session = begun.header("mcp-session-id").to_owned();
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    http::send(post(&ready, &session)).await.expect("an answer").expect_status(202);
    let params = json!({"name": "wait_for_mission", "arguments": {"mission_id": id}, "_meta": {"progressToken": "p"}});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let answer = http::send(post(&call, &session)).await.expect("an answer").expect_status(200);
    let lines = answer.text.lines().map(|line| line.strip_prefix("data:").unwrap_or(line));
    let mut messages: Vec<Value> = lines.filter_map(|data| serde_json::from_str(data.trim()).ok()).collect();
    let end = messages.iter().position(|message| message["id"] == 1).unwrap_or_else(|| panic!("no end: {answer:#?}"));
    let end = messages.remove(end);
    (messages, end["result"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_over_mcp_for_a_mission_of_another_node_is_told_how_it_goes_on() {
    let lines = "lease = \"2s\"\n";
    let known = |_: usize, options: Options| {
        let agent = "[[token]]\nname = \"agent\"\nref = \"env://AGENT\"\nscopes = [\"admin\"]";
        options.config(agent).env("AGENT", AGENT)
    };
    let Some(fleet) = Fleet::start_on(Setting::default(), &[("a", lines), ("b", lines)], known).await else { return };
    let [a, b] = fleet.nodes.as_slice() else { panic!("two") };
    for (node, id) in [(a, "m-there"), (b, "m-here")] {
        a.accept(&with(sleeping(id, "3s"), "/target_instance_id", json!("b"))).await;
        let (told, end) = wait_over_mcp(node, id).await;
        assert_eq!(end["structuredContent"]["status"], "completed", "{id}: {end:#}");
        let progress: Vec<&Value> =
            told.iter().filter(|message| message["method"] == "notifications/progress").collect();
        assert!(!progress.is_empty(), "{id}: {told:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_reaches_another_node_or_something_else_is_told_as_that() {
    let Some(fleet) = Fleet::start(&["a", "b"]).await else { return };
    let [a, b] = fleet.nodes.as_slice() else { panic!("two") };
    // A service that answers whatever it is asked.
    let something = format!("http://{}", fleet.service.host());
    for (name, advertise) in [("of-a", a.url()), ("of-nobody", something.as_str())] {
        let node = one_more(&fleet, name, advertise).await;
        let id = format!("m-{name}");
        node.accept(&with(writing(&id), "/target_instance_id", json!(name))).await;
        node.until_final(&id).await;
        until("they know it", async || {
            let listed = b.get("/v1/nodes").await.json;
            listed["items"]
                .as_array()?
                .iter()
                .any(|node| node["instance_id"] == name && node["url"].is_string())
                .then_some(())
        })
        .await;
        let looked = node.cli(&["doctor"]).await;
        let said = String::from_utf8_lossy(&looked.stdout).into_owned();
        assert!(said.contains("is not this node"), "{said}");
        for path in [format!("/v1/missions/{id}"), format!("/v1/missions?node={name}"), format!("/metrics?node={name}")]
        {
            let answer = b.get(&path).await;
            answer.expect_problem(503, "holder_unreachable");
            assert_eq!(answer.json["node"], name, "{answer:#?}");
            assert!(answer.json["detail"].as_str().expect("why").contains("is not that node"), "{answer:#?}");
        }
    }
    let looked = b.cli(&["doctor"]).await;
    let said = String::from_utf8_lossy(&looked.stdout).into_owned();
    assert!(said.contains("reaches it"), "{said}");
    // And what is right is asked by name.
    let metrics = a.get("/metrics?node=b").await.expect_status(200).text;
    assert!(metrics.contains("sortie_"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_any_node_may_take_does_not_wait_for_one_that_cannot_be_reached() {
    let Some(fleet) = Fleet::start(&["a", "b"]).await else { return };
    let [a, b] = fleet.nodes.as_slice() else { panic!("two") };
    let known = async |node: &Node, name: &str| {
        until("it is known", async || {
            let listed = node.get("/v1/nodes").await.json;
            let is_it = |node: &Value| node["instance_id"] == name && node["url"].is_string();
            listed["items"].as_array()?.iter().any(is_it).then_some(())
        })
        .await;
    };
    // Of the first nobody hears, and the second is taken for another.
    let lost = [one_more(&fleet, "lost", "http://127.0.0.1:9").await, one_more(&fleet, "of-a", a.url()).await];
    for node in [a, b] {
        known(node, "lost").await;
        known(node, "of-a").await;
    }
    let mut ids = Vec::new();
    for n in 0..12 {
        let id = format!("m-{n}");
        let envelope = with(sleeping(&id, "30s"), "/target_instance_id", json!("*"));
        let node = [a, b][n % 2];
        node.dispatch(&envelope).await.expect_status(202);
        // It was made once, wherever it is.
        assert_eq!(node.dispatch(&envelope).await.expect_status(200).header("idempotent-replayed"), "true", "{id}");
        ids.push(id);
    }
    // In a batch as well.
    let lines: Vec<String> =
        (12..18).map(|n| with(writing(&format!("m-{n}")), "/target_instance_id", json!("*")).to_string()).collect();
    let batch = http::send(b.request("POST", "/v1/missions/batch").body(lines.join("\n"))).await.expect("an answer");
    assert!(batch.text.lines().all(|line| line.contains("\"replayed\":false")), "{batch:#?}");
    for id in &ids {
        b.get(&format!("/v1/missions/{id}")).await.expect_status(200);
    }
    // Whoever is meant by name is not exchanged for another.
    let named = with(writing("m-named"), "/target_instance_id", json!("lost"));
    b.dispatch(&named).await.expect_problem(503, "holder_unreachable");
    // And what one of them takes itself is there.
    lost[0].accept(&with(writing("m-own"), "/target_instance_id", json!("lost"))).await;
    lost[0].until_final("m-own").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_known_here_is_not_told_by_a_node_that_begins_again_that_nobody_knows_them() {
    let Some(mut fleet) = Fleet::start(&["a", "b"]).await else { return };
    for _ in 0..3 {
        fleet.nodes[1].kill();
        fleet.nodes[1].restart().await;
        let a = &fleet.nodes[0];
        // It hears another key from now on, which this one has not read yet.
        until("it is asked", async || {
            let answer = a.get("/v1/node?node=b").await;
            assert!([200, 503].contains(&answer.status), "{answer:#?}");
            assert!(answer.status == 200 || !answer.header("retry-after").is_empty(), "{answer:#?}");
            (answer.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_to_a_node_that_is_named_may_be_larger_than_what_this_one_reads_itself() {
    let Some(fleet) = Fleet::start(&["a", "b"]).await else { return };
    let [a, b] = fleet.nodes.as_slice() else { panic!("two") };
    // Lines that are mostly air, and together more than an envelope may be.
    let envelope = with(writing("m-1"), "/target_instance_id", json!("b")).to_string();
    let line = envelope.replacen('{', &format!("{{{}", " ".repeat(300 << 10)), 1);
    let lines = format!("{line}\n").repeat(6);
    let batch = http::send(a.request("POST", "/v1/missions/batch?node=b").body(lines)).await.expect("an answer");
    // Which of them is first is a matter of moments.
    let fresh = batch.text.lines().filter(|line| line.contains("\"replayed\":false")).count();
    assert_eq!((batch.status, batch.text.lines().count(), fresh), (200, 6, 1), "{batch:#?}");
    b.until_final("m-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_data_directory_beside_the_living_node_is_named_as_what_ended_it() {
    let Some(mut fleet) = Fleet::start(&["a", "b"]).await else { return };
    let mut copy = one_more(&fleet, "copy", "http://127.0.0.1:0").await;
    copy.kill();
    // Its name is kept for what it was until now.
    tokio::time::sleep(2 * LEASE).await;
    std::fs::copy(fleet.nodes[1].data().join("store.id"), copy.data().join("store.id")).expect("it is copied");
    copy.restart().await;
    let ended = fleet.nodes[1].ended().await;
    let said = fleet.nodes[1].read_log();
    assert!(!ended.success() && said.contains("another process has begun as this node"), "{ended}: {said}");
    assert!(!said.contains("silent for longer"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_one_nodes_while_it_lives_and_its_own_again_at_once() {
    let Some(mut fleet) = Fleet::start(&["a", "b"]).await else { return };
    // The same node starts again, whatever is left of its lease.
    fleet.nodes[1].kill();
    fleet.nodes[1].restart().await;
    fleet.nodes[1].kill();
    let a = &fleet.nodes[0];
    until("it is gone", async || {
        let listed = a.get("/v1/nodes").await.json;
        (listed["items"].as_array()?.iter().all(|node| node["instance_id"] == "a")).then_some(())
    })
    .await;
    let mut other = one_more(&fleet, "b", "http://127.0.0.1:0").await;
    let said = fleet.nodes[1].refused().await;
    for word in ["`b`", "another data directory", "instance_id", "lease"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    other.kill();
    other.restart().await;
    // One that stopped in good order is waited for as long.
    assert!(other.stop().await.success());
    let stopped = Instant::now();
    while stopped.elapsed() < 2 * LEASE {
        tokio::time::sleep(LEASE / 4).await;
    }
    fleet.nodes[1].restart().await;
}
