//! Several nodes on one PostgreSQL: each answers for all of them, one that dies or freezes is gone on with by another, and whatever happens
//! to them each mission ends once and each effect is there once.

#![expect(clippy::disallowed_methods, reason = "tests watch a node from outside, with the clock of the outside")]

#[path = "../../../runtime/journal/tests/postgres_kit/server.rs"]
#[allow(dead_code, reason = "the tests of the journal use more of it")]
mod server;

#[path = "../dialects/redis.rs"]
#[allow(dead_code, reason = "the tests of the dialects use more of it")]
mod redis;

mod bridge;
mod carried;
mod chance;
mod clients;
mod dialects;
mod faults;
mod feed;
mod kit;
mod pools;
mod trust;
mod upgrade;
mod uploads;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use kit::{Fleet, LEASE, Setting, chain, ended_once, sleeping};
use rustix::process::Signal;
use serde_json::{Value, json};
use sortie_tests::envelope::{automation, edit, with, write, writing};
use sortie_tests::{Received, http, until};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_asked_answers_for_all() {
    let Some(fleet) = Fleet::start(&["a", "b"]).await else { return };
    let [a, b] = fleet.nodes.as_slice() else { panic!("two") };
    // What is meant for the one is sent on to it by the other, and taken once.
    let envelope = with(writing("m-1"), "/target_instance_id", json!("b"));
    let answer = a.dispatch(&envelope).await.expect_status(202);
    assert_eq!(answer.json["mission_id"], "m-1", "{answer:#?}");
    let again = a.dispatch(&envelope).await.expect_status(200);
    assert_eq!(again.header("idempotent-replayed"), "true");
    b.until_final("m-1").await;
    // Each question about it, to the one that does not have it.
    for path in ["", "/events", "/journal", "/why", "/artifacts"] {
        let (of_a, of_b) =
            (a.get(&format!("/v1/missions/m-1{path}")).await, b.get(&format!("/v1/missions/m-1{path}")).await);
        assert_eq!((of_a.status, of_a.json), (200, of_b.json), "{path}");
    }
    a.get("/v1/missions/none").await.expect_problem(404, "not_found");
    // A problem of the other comes as it is.
    a.post("/v1/missions/m-1/cancel", &Value::Null).await.expect_problem(409, "already_final");
    // Lists are of the node that is asked, or named.
    let listed = |answer: http::Answer| answer.expect_status(200).json["items"].as_array().expect("a list").len();
    assert_eq!(listed(a.get("/v1/missions").await), 0);
    assert_eq!(listed(a.get("/v1/missions?node=b&limit=10").await), 1);
    assert_eq!(listed(a.get("/v1/missions?node=a").await), 0);
    a.get("/v1/missions?node=c").await.expect_problem(404, "not_found");
    // A stream goes through as it is made.
    let live = with(sleeping("m-2", "1500ms"), "/target_instance_id", json!("b"));
    a.accept(&live).await;
    let streamed = a.request("GET", "/v1/missions/m-2/events").header("accept", "text/event-stream").send().await;
    let streamed = streamed.expect("an answer").text().await.expect("a stream that ends");
    assert!(streamed.contains("mission.accepted") && streamed.contains("mission.completed"), "{streamed}");
    // The lines of a batch come to where each belongs.
    let lines = format!(
        "{}\n{}\n{}\n",
        with(writing("m-3"), "/target_instance_id", json!("b")),
        with(writing("m-4"), "/target_instance_id", json!("a")),
        envelope
    );
    let batch = http::send(a.request("POST", "/v1/missions/batch").body(lines)).await.expect("an answer");
    let told: Vec<Value> = batch.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told: Vec<_> = told.iter().map(|line| (line["mission_id"].as_str(), line["replayed"].as_bool())).collect();
    assert_eq!(told, [(Some("m-3"), Some(false)), (Some("m-4"), Some(false)), (Some("m-1"), Some(true))]);
    // Whose the VP is takes its missions, whatever they name.
    let same_vp = with(with(writing("m-5"), "/vp_id", json!("vp.m-1")), "/target_instance_id", json!("*"));
    a.accept(&same_vp).await;
    assert_eq!(listed(a.get("/v1/missions?node=b&vp_id=vp.m-1").await), 2);
    // Who is there.
    let nodes = a.get("/v1/nodes").await.expect_status(200).json;
    let names: Vec<_> =
        nodes["items"].as_array().expect("a list").iter().map(|node| (&node["instance_id"], &node["state"])).collect();
    assert_eq!(names.len(), 2, "{nodes:#}");
    assert!(names.iter().all(|(_, state)| *state == "serving"), "{nodes:#}");
    let said = a.cli(&["nodes"]).await;
    assert!(said.status.success() && String::from_utf8_lossy(&said.stdout).contains("a (this one)"), "{said:?}");
    // A node without a token of theirs is none.
    let stranger = http::client().get(format!("{}/v1/missions/m-1", a.url())).bearer_auth("wrong");
    http::send(stranger).await.expect("an answer").expect_problem(401, "unauthorized");
    let forged = http::client().get(format!("{}/v1/missions/m-1", b.url())).header("sortie-vouched", "e30.e30");
    http::send(forged).await.expect("an answer").expect_problem(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_whose_clocks_are_minutes_apart_vouch_for_each_other() {
    let Some(fleet) =
        Fleet::start_on(Setting::default(), &["a", "b"].map(|name| (name, "lease = \"2s\"\n")), |no, options| {
            if no == 1 { options.faulty() } else { options }
        })
        .await
    else {
        return;
    };
    let [a, b] = fleet.nodes.as_slice() else { panic!("two") };
    for (id, minutes) in [("m-1", 10), ("m-2", -10)] {
        b.faults().set_clock(SignedDuration::from_mins(minutes));
        // Both ways: each asks with a token of its own, for which the other has nothing but the one's word.
        for (one, other) in [(a, "b"), (b, "a")] {
            let id = format!("{id}-{other}");
            one.accept(&with(writing(&id), "/target_instance_id", json!(other))).await;
            until("it ends", async || (one.mission(&id).await["status"] == "completed").then_some(())).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_what_another_node_has() {
    let Some(fleet) = Fleet::start(&["a", "b"]).await else { return };
    let [a, b] = fleet.nodes.as_slice() else { panic!("two") };
    a.accept(&with(writing("m-1"), "/target_instance_id", json!("b"))).await;
    b.until_final("m-1").await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let signed_in = client
        .post(format!("{}/signin", a.url()))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("origin", a.url())
        .body(format!("token={}", a.token()))
        .send()
        .await
        .expect("an answer");
    let cookie = signed_in.headers().get("set-cookie").unwrap_or_else(|| panic!("{signed_in:?}"));
    let cookie = cookie.to_str().expect("text").split(';').next().expect("a pair").to_owned();
    let page =
        client.get(format!("{}/missions/m-1", a.url())).header("cookie", cookie).send().await.expect("an answer");
    let (status, page) = (page.status(), page.text().await.expect("text"));
    assert!(status == 200 && page.contains("m-1") && page.contains("completed"), "{status}: {page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_at_three_nodes_at_once_is_one_mission() {
    let Some(fleet) = Fleet::start(&["a", "b", "c"]).await else { return };
    for round in 0..8 {
        let id = format!("m-{round}");
        let envelope =
            with(with(writing(&id), "/target_instance_id", json!("*")), "/callback", fleet.receiver.callback());
        let answers = futures_util::future::join_all(fleet.nodes.iter().map(|node| node.dispatch(&envelope))).await;
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 202], "{answers:#?}");
        ended_once(&fleet, &id).await;
        for node in &fleet.nodes {
            assert_eq!(node.mission(&id).await["status"], "completed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_is_gone_on_with_within_the_lease() {
    let Some(mut fleet) = Fleet::start(&["a", "b"]).await else { return };
    let ids: Vec<String> = (0..6).map(|n| format!("m-{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        // Some run, some wait for people, some for their turn.
        let envelope = match n % 3 {
            0 => chain(&fleet, id),
            1 => sleeping(id, "3s"),
            _ => with(chain(&fleet, id), "/constraints/approval_required", json!(["HttpRequest"])),
        };
        let envelope = with(envelope, "/callback", fleet.receiver.callback());
        fleet.nodes[0].accept(&with(envelope, "/target_instance_id", json!("b"))).await;
    }
    // One of whose files are on the disk of the one that dies.
    let steps = json!([write("w", "n.txt", "0x"), {"id": "s", "sleep": "2s", "needs": ["w"]},
        {"needs": ["s"], "id": "e", "tool": "Edit", "with": {"path": "n.txt", "old": "0x", "new": "1x"}}]);
    let files = with(automation("files", &steps), "/callback", fleet.receiver.callback());
    fleet.nodes[0].accept(&with(files, "/target_instance_id", json!("b"))).await;
    until("it has written", async || {
        let journal = fleet.nodes[0].get("/v1/missions/files/journal").await;
        journal.text.contains("call_finished").then_some(())
    })
    .await;
    fleet.nodes[1].kill();
    let killed = Instant::now();
    let a = &fleet.nodes[0];
    // Until then whoever asks is told when to come back.
    let away = a.get("/v1/missions/m-0").await;
    if away.status != 200 {
        away.expect_problem(503, if away.code() == "holder_away" { "holder_away" } else { "holder_unreachable" });
        assert!(!away.header("retry-after").is_empty());
    }
    until("the other goes on with them", async || (a.get("/v1/missions/m-0").await.status == 200).then_some(())).await;
    let took = killed.elapsed();
    assert!(took < 3 * LEASE, "it took {took:?}");
    eprintln!("taken over after {took:?}");
    // What names the dead one is this one's, too.
    a.accept(&with(writing("m-9"), "/target_instance_id", json!("b"))).await;
    for id in &ids {
        fleet.until_ended(a, id).await;
        ended_once(&fleet, id).await;
    }
    fleet.each_effect_once(&["m-0", "m-2", "m-3", "m-5"]);
    // Its files are not here, and nobody acts as if they were.
    let held = until("it is held back", async || {
        let mission = a.mission("files").await;
        (mission["waits_for"]["what"] == "workspace_elsewhere").then_some(mission)
    })
    .await;
    assert_eq!(held["status"], "running", "{held:#}");
    assert!(held["waits_for"]["why"].as_str().expect("why").contains("disk"), "{held:#}");
    a.post("/v1/missions/m-0/workspace", &Value::Null).await.expect_problem(409, "refused");
    a.post("/v1/missions/files/workspace", &Value::Null).await.expect_status(200);
    let end = a.until_final("files").await;
    assert_eq!(end["status"], "failed", "what it changes is not there, and it says so: {end:#}");
    // The one that died comes back as one more, and what it had stays where it is.
    fleet.nodes[1].restart().await;
    assert_eq!(fleet.nodes[1].mission("m-0").await["status"], "completed");
    let metrics = fleet.nodes[0].get("/metrics").await.text;
    assert!(metrics.contains("sortie_fleet_adopted_shares_total 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_frozen_for_longer_than_its_lease_is_fenced() {
    let Some(mut fleet) = Fleet::start(&["a", "b"]).await else { return };
    let ids: Vec<String> = (0..6).map(|n| format!("m-{n}")).collect();
    for id in &ids {
        let envelope = with(chain(&fleet, id), "/callback", fleet.receiver.callback());
        fleet.nodes[0].accept(&with(envelope, "/target_instance_id", json!("b"))).await;
    }
    until("they run", async || (fleet.service.received().len() > 4).then_some(())).await;
    fleet.nodes[1].signal(Signal::STOP);
    let a = &fleet.nodes[0];
    until("the other goes on with them", async || (a.get("/v1/missions/m-0").await.status == 200).then_some(())).await;
    fleet.nodes[1].signal(Signal::CONT);
    // It finds that all of it is another's, and ends: it can do nothing more.
    let ended = fleet.nodes[1].ended().await;
    assert!(!ended.success(), "{ended}");
    for id in &ids {
        fleet.until_ended(&fleet.nodes[0], id).await;
        ended_once(&fleet, id).await;
    }
    fleet.each_effect_once(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    // What the other one asks for can be told from what the first still had on its way.
    let tokens: BTreeSet<u32> = fleet.service.received().iter().map(fencing_token).collect();
    assert!(tokens.contains(&1) && tokens.iter().any(|token| *token > 1), "{tokens:?}");
    // It starts again as one more.
    fleet.nodes[1].restart().await;
    fleet.nodes[1].accept(&with(writing("m-9"), "/target_instance_id", json!("b"))).await;
    fleet.nodes[1].until_final("m-9").await;
}

fn fencing_token(call: &Received) -> u32 {
    call.header("sortie-fencing-token").parse().expect("the number of a run")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_drained_hands_over_what_it_has_at_once() {
    let Some(mut fleet) = Fleet::start_with(&["a", "b"], "lease = \"12s\"\n").await else { return };
    let ids: Vec<String> = (0..4).map(|n| format!("m-{n}")).collect();
    for id in &ids {
        let envelope = if id == "m-3" { sleeping(id, "4s") } else { chain(&fleet, id) };
        let envelope = with(envelope, "/callback", fleet.receiver.callback());
        fleet.nodes[0].accept(&with(envelope, "/target_instance_id", json!("b"))).await;
    }
    let drained = fleet.nodes[1].cli(&["drain", "--wait"]).await;
    assert!(drained.status.success(), "{drained:?}");
    let ended = fleet.nodes[1].ended().await;
    assert!(ended.success(), "{ended}: {}", fleet.nodes[1].read_log());
    let begun = Instant::now();
    let a = &fleet.nodes[0];
    until("the other goes on with them", async || (a.get("/v1/missions/m-0").await.status == 200).then_some(())).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "nobody waits for the lease: {:?}", begun.elapsed());
    for id in &ids {
        fleet.until_ended(&fleet.nodes[0], id).await;
        ended_once(&fleet, id).await;
    }
    fleet.each_effect_once(&["m-0", "m-1", "m-2"]);
    // What is not drained takes missions.
    let undone = a.post("/v1/node/undrain", &Value::Null).await.expect_status(200);
    assert_eq!(undone.json["draining"], "no", "{undone:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missions_go_to_a_node_of_the_group_that_can() {
    let Some(fleet) =
        Fleet::start_each(&[("a", ""), ("b", "groups = [\"coders\"]\nlabels = { gpu = \"yes\" }\n")]).await
    else {
        return;
    };
    let [a, b] = fleet.nodes.as_slice() else { panic!("two") };
    for (n, target) in ["group:coders", "label:gpu=yes"].into_iter().enumerate() {
        let id = format!("m-{n}");
        a.accept(&with(writing(&id), "/target_instance_id", json!(target))).await;
        b.until_final(&id).await;
        let listed = b.get("/v1/missions").await.expect_status(200).json;
        assert_eq!(listed["items"][0]["mission_id"], id, "{target}: {listed:#}");
    }
    let nobody = a.dispatch(&with(writing("m-9"), "/target_instance_id", json!("group:writers"))).await;
    nobody.expect_problem(421, "wrong_instance");
    // What was refused is at home nowhere: it goes to whoever is meant the next time.
    a.accept(&with(writing("m-9"), "/target_instance_id", json!("b"))).await;
    b.until_final("m-9").await;
    let listed = b.get("/v1/missions?vp_id=vp.m-9").await.expect_status(200).json;
    assert_eq!(listed["items"][0]["mission_id"], "m-9", "{listed:#}");
    // An edit that is told to whoever is asked and belongs to another.
    let changed = with(
        automation(
            "m-8",
            &json!([write("w", "n.txt", "0x"), {
                "id": "e", "needs": ["w"], "tool": "Edit", "with": edit("e", "n.txt", "0x", "1x")["with"]
            }]),
        ),
        "/target_instance_id",
        json!("group:coders"),
    );
    a.accept(&changed).await;
    assert_eq!(a.until_final("m-8").await["status"], "completed");
}
