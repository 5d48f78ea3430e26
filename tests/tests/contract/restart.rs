//! After a stop or kill -9: what was acknowledged goes on, what was final stays.

use serde_json::{Value, json};
use sortie_tests::envelope::{edit, in_ms, with, write, writing};
use sortie_tests::node::QUICK;
use sortie_tests::{Node, Options, Receiver, Reply, automation, http, looping, until, workspace_of};

/// Waits until a run has begun. The control plane is told of the first alone; the journal holds them all.
async fn until_run(node: &Node, id: &str, run: u64) {
    until(&format!("run {run} of {id}"), async || {
        let answer = node.get(&format!("/v1/missions/{id}/journal")).await.expect_status(200);
        let records = answer.json["items"].as_array().expect("a list").clone();
        records.iter().any(|record| record["kind"] == "started" && record["body"]["run"] == run).then_some(())
    })
    .await;
    let told = node.events(id).await;
    let starts = told.iter().filter(|event| event["summary"] == "Started.").count();
    assert_eq!(starts, 1, "a run that begins again is no news: {told:#?}");
}

#[tokio::test]
async fn what_was_queued_goes_on_after_a_kill() {
    let mut node = Node::start().await;
    node.accept(&with(writing("due"), "/autonomy_window/start_at", json!(in_ms(2_000)))).await;
    node.run(&writing("done")).await;
    let before = node.events("done").await;
    node.kill();
    node.restart().await;
    assert_eq!(node.until_final("due").await["status"], "completed");
    assert_eq!(node.events("done").await, before, "what was final stays as it was");
    let again = node.dispatch(&writing("done")).await.expect_status(200);
    assert_eq!(again.header("idempotent-replayed"), "true");
}

#[tokio::test]
async fn a_session_keeps_its_workspace() {
    let mut node = Node::start().await;
    node.run(&with(automation("writes", &json!([write("w", "kept.txt", "kept")])), "/vp_id", json!("vp.home"))).await;
    node.kill();
    node.restart().await;
    let read = automation("reads", &json!([{"id": "r", "tool": "Read", "with": {"path": "kept.txt"}}]));
    assert_eq!(node.run(&with(read, "/vp_id", json!("vp.home"))).await["status"], "completed");
}

#[tokio::test]
async fn a_running_mission_goes_on_after_a_kill() {
    let mut node = Node::start().await;
    node.accept(&looping("pure")).await;
    node.until_status("pure", "running").await;
    node.kill();
    node.restart().await;
    until_run(&node, "pure", 2).await;
    node.post("/v1/missions/pure/cancel", &json!({"reason": "seen enough"})).await.expect_status(202);
    let events = node.events("pure").await;
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["sequence"].as_u64()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>(), "no gaps over a restart");
}

#[tokio::test]
async fn a_mission_that_may_be_what_kills_its_node_runs_alone_and_is_given_up() {
    let server = Receiver::scripted(|_, _| Reply::Hang).await;
    let config = "[limits]\ncrashes_alone = 2\n[tool.WebFetch]\nallow_private = [\"127.0.0.1\"]";
    let mut node = Options::new().config(&format!("{config}\nhosts = [{:?}]", server.host())).start().await;
    let fetch = json!([{"id": "f", "tool": "WebFetch", "with": {"url": format!("http://{}/", server.host())}}]);
    node.accept(&with(automation("poison", &fetch), "/constraints/allowed_tools", json!(["WebFetch"]))).await;
    until("the call is on its way", async || (!server.received().is_empty()).then_some(())).await;
    let began = async |node: &Node, run: u64| {
        until_run(node, "poison", run).await;
        let records = node.get("/v1/missions/poison/journal").await.expect_status(200).json["items"].clone();
        let records = records.as_array().expect("a list").clone();
        let start = records.iter().find(|record| record["kind"] == "started" && record["body"]["run"] == run);
        (
            start.expect("it began")["body"]["alone"].clone(),
            records.iter().any(|record| record["kind"] == "accompanied"),
        )
    };
    for run in 2..4 {
        node.kill();
        node.restart().await;
        assert_eq!(began(&node, run).await, (json!(run == 3), false), "run {run}");
    }
    // Others wait, and not for long.
    node.accept(&writing("neighbour")).await;
    assert_eq!(node.mission("neighbour").await["waits_for"]["what"], "node");
    assert_eq!(node.until_final("neighbour").await["status"], "completed");
    assert_eq!(began(&node, 3).await, (json!(true), true), "it is on record that it is alone no more");
    for run in 4..6 {
        node.kill();
        node.restart().await;
        assert_eq!(began(&node, run).await.0, json!(true), "run {run}");
    }
    node.kill();
    node.restart().await;
    let end = node.until_final("poison").await;
    assert_eq!((&end["status"], &end["detail"]["reason"]), (&json!("failed"), &json!("interrupted")));
    assert!(end["summary"].to_string().contains("2 of them while no other mission ran"), "{end}");
}

#[tokio::test]
async fn a_node_that_is_killed_again_and_again_lets_no_mission_run_for_longer() {
    let server = Receiver::scripted(|_, _| Reply::Hang).await;
    let config = "[limits]\ncrashes_alone = 50\n[tool.WebFetch]\nallow_private = [\"127.0.0.1\"]";
    let mut node = Options::new().config(&format!("{config}\nhosts = [{:?}]", server.host())).start().await;
    let fetch = json!([{"id": "f", "tool": "WebFetch", "with": {"url": format!("http://{}/", server.host())}}]);
    let envelope = with(automation("hangs", &fetch), "/constraints/allowed_tools", json!(["WebFetch"]));
    node.accept(&with(envelope, "/budget/max_runtime_minutes", json!(0.15))).await;
    // No life is as long as the nine seconds that it may run, and nothing is recorded in any of them.
    let mut lives = 1;
    let ended = loop {
        let before = until("its run has begun, or it is over", async || {
            let journal = node.get("/v1/missions/hangs/journal").await.expect_status(200);
            let records = journal.json["items"].as_array().expect("a list").clone();
            let is_it = |record: &&Value| record["body"]["run"] == lives || record["kind"] == "finished";
            records.iter().find(is_it).map(|record| record["ran_ms"].as_f64().expect("a figure") / 60_000.0)
        })
        .await;
        let mission = until("it has run for a while, or is over", async || {
            let mission = node.mission("hangs").await;
            let ran = mission["usage"]["runtime_minutes"].as_f64().expect("a figure") - before;
            (ran > 4.5 / 60.0 || !mission["ended_at"].is_null()).then_some(mission)
        })
        .await;
        if !mission["ended_at"].is_null() {
            break mission;
        }
        assert!(lives < 6, "it forgets what it ran: {mission:#}");
        node.kill();
        node.restart().await;
        lives += 1;
    };
    assert_eq!((&ended["status"], &ended["reason"]), (&json!("timed_out"), &json!("run_time_spent")));
    assert!(lives > 1, "it was killed");
}

#[tokio::test]
async fn a_running_mission_goes_on_and_does_nothing_twice() {
    let mut node = Node::start().await;
    let mut edit = edit("e", "log.txt", "END", "once END");
    edit["needs"] = json!(["w"]);
    edit["milestone"] = json!("edited");
    let wait = json!({
        "id": "wait", "needs": ["e"], "tool": "Read", "with": {"path": "go.txt"},
        "retry": {"attempts": 100, "backoff": "1s"}, "artifact": "go.txt",
    });
    node.accept(&automation("effects", &json!([write("w", "log.txt", "END"), edit, wait]))).await;
    until("the effect happened", async || {
        node.events("effects").await.iter().any(|event| event["summary"].to_string().contains("edited")).then_some(())
    })
    .await;
    for run in 2..5 {
        node.kill();
        node.restart().await;
        until_run(&node, "effects", run).await;
    }
    let workspace = workspace_of(&node, "vp.effects");
    std::fs::write(workspace.join("go.txt"), "go").expect("a workspace");
    let end = node.until_final("effects").await;
    assert_eq!(end["status"], "completed", "{end:#}");
    assert_eq!(std::fs::read_to_string(workspace.join("log.txt")).expect("it was written"), "once END");
    let journal = node.get("/v1/missions/effects/journal").await.json["items"].to_string();
    assert_eq!(journal.matches("\"call_started\"").count(), journal.matches("\"call_finished\"").count(), "{journal}");
}

#[tokio::test]
async fn a_call_that_an_operator_gave_an_effect_is_asked_about_and_not_made_again() {
    let server = Receiver::scripted(|_, _| Reply::Hang).await;
    let hosts = format!("hosts = [{:?}]\nallow_private = [\"127.0.0.1\"]\n", server.host());
    for (id, class, asked) in [("believed", "effects = [\"external_side_effect\"]\n", true), ("plain", "", false)] {
        server.rescript(|_, _| Reply::Hang);
        let mut node = Options::new().config(&format!("[tool.WebFetch]\n{hosts}{class}")).start().await;
        let listed = node.get("/v1/tools").await.expect_status(200).json;
        let tool = listed["items"].as_array().expect("a list").iter().find(|tool| tool["name"] == "WebFetch");
        let tool = tool.expect("it is there");
        assert_eq!(tool["read_only"], !asked, "{tool:#}");
        assert_eq!(tool["effects"].to_string().contains("external_side_effect"), asked, "{tool:#}");
        let url = format!("http://{}/{id}", server.host());
        let fetch = json!({"id": "f", "tool": "WebFetch", "with": {"url": url}});
        node.accept(&with(automation(id, &json!([fetch])), "/constraints/allowed_tools", json!(["WebFetch"]))).await;
        let calls = || server.received().iter().filter(|got| got.path == format!("/{id}")).count();
        until("the call is on its way", async || (calls() == 1).then_some(())).await;
        node.kill();
        server.rescript(|_, _| Reply::Status(200));
        node.restart().await;
        if asked {
            let mission = node.until_status(id, "blocked").await;
            assert_eq!(mission["pending_requests"][0]["kind"], "uncertain", "{mission:#}");
            assert_eq!(calls(), 1, "nobody was asked yet");
            let repeat = json!({"decision": "repeat"});
            node.post(&format!("/v1/missions/{id}/requests/r1"), &repeat).await.expect_status(200);
        }
        assert_eq!(node.until_final(id).await["status"], "completed");
        assert_eq!(calls(), 2);
    }
}

#[tokio::test]
async fn a_mission_stays_on_the_plugin_that_it_started_with() {
    let mut node = Node::start().await;
    node.run(&writing("carried")).await;
    let carried = node.request("GET", "/v1/missions/carried/plugin").send().await.expect("an answer");
    // Another build of the same version: an empty custom section more. Each start puts the carried one back in its place.
    let mut other = carried.bytes().await.expect("a component").to_vec();
    other.extend(b"\x00\x02\x01x");
    let installed = http::send(node.request("POST", "/v1/plugins").body(other)).await.expect("an answer");
    let digest = installed.expect_status(201).json["digest"].clone();
    node.accept(&looping("stays")).await;
    assert_eq!(node.until_status("stays", "running").await["plugin"]["digest"], digest);
    node.kill();
    node.restart().await;
    node.run(&writing("later")).await;
    assert_ne!(node.mission("later").await["plugin"]["digest"], digest);
    assert_eq!(node.until_status("stays", "running").await["plugin"]["digest"], digest);
    std::fs::write(workspace_of(&node, "vp.stays").join("never.txt"), "now").expect("a workspace");
    assert_eq!(node.until_final("stays").await["status"], "completed");
}

/// Builds that were replaced stay for the missions on them, whether they run or wait, and go with the last of these.
#[tokio::test]
async fn a_plugin_that_no_mission_holds_goes_and_one_that_waits_keeps_its_own() {
    let mut node = Node::start().await;
    node.run(&writing("carried")).await;
    let carried = node.request("GET", "/v1/missions/carried/plugin").send().await.expect("an answer");
    let carried = carried.bytes().await.expect("a component").to_vec();
    let mut digests = Vec::new();
    for (mark, hold) in [(b'a', false), (b'b', true), (b'c', false)] {
        let other = [carried.as_slice(), &[0, 2, 1, mark]].concat();
        let installed = http::send(node.request("POST", "/v1/plugins").body(other)).await.expect("an answer");
        digests.push(installed.expect_status(201).json["digest"].as_str().expect("a digest").to_owned());
        if hold {
            node.accept(&with(writing("queued"), "/autonomy_window/start_at", in_ms(3_600_000).into())).await;
        }
    }
    let there = |node: &Node, digest: &str| node.data().join(format!("plugins/{digest}.wasm")).exists();
    assert!(digests.iter().all(|digest| there(&node, digest)), "somebody may have been told of them");
    node.kill();
    node.restart().await;
    until("what nobody holds is gone", async || (!there(&node, &digests[0])).then_some(())).await;
    assert!(there(&node, &digests[1]), "a mission waits with it");
    assert_eq!(node.mission("queued").await["plugin"]["digest"], digests[1].as_str());
    assert_eq!(node.run(&writing("later")).await["status"], "completed");
}

#[tokio::test]
async fn a_tool_that_was_taken_away_is_refused_and_the_mission_goes_on_by_its_own_logic() {
    let mut node = Node::start().await;
    let steps = json!([
        write("before", "before.txt", "x"),
        {"id": "q", "tool": "ask", "with": {"question": "And now?"}, "needs": ["before"]},
        {"id": "after", "tool": "Write", "with": {"path": "after.txt", "content": "x"}, "needs": ["q"], "on_error": "continue"},
        {"id": "read", "tool": "Read", "with": {"path": "before.txt"}, "needs": ["after"], "artifact": "read.txt"},
    ]);
    node.accept(&automation("bereft", &steps)).await;
    node.until_status("bereft", "blocked").await;
    node.kill();
    node.reconfigure("[tool.Write]\nenabled = false\n[tool.Read]\neffects = [\"external_side_effect\"]\n");
    node.restart().await;
    let answer = json!({"decision": "answer", "text": "go on"});
    node.post("/v1/missions/bereft/requests/r1", &answer).await.expect_status(200);
    let end = node.until_final("bereft").await;
    assert_eq!((&end["status"], &end["detail"]["reason"]), (&json!("completed"), &json!("done")), "{end:#}");
    assert!(!workspace_of(&node, "vp.bereft").join("after.txt").exists());
    let journal = node.get("/v1/missions/bereft/journal").await.json["items"].to_string();
    assert!(journal.contains("no longer has the tool `Write`"), "{journal}");
    let replayed = node.cli(&["replay", "bereft"]).await;
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stdout));
}

#[tokio::test]
async fn a_pause_outlives_a_kill() {
    let mut node = Node::start().await;
    node.post("/v1/node/pause", &json!(null)).await.expect_status(200);
    node.kill();
    node.restart().await;
    assert_eq!(node.get("/v1/node").await.json["state"], "paused");
    node.accept(&writing("waits")).await;
    assert_eq!(node.mission("waits").await["status"], "queued");
    node.post("/v1/node/resume", &json!(null)).await.expect_status(200);
    node.until_final("waits").await;
    node.kill();
    node.restart().await;
    assert_eq!(node.get("/v1/node").await.json["state"], "serving");
}

#[tokio::test]
async fn undelivered_events_are_delivered_after_a_kill() {
    let receiver = Receiver::scripted(|_, _| Reply::Status(503)).await;
    let mut node = Options::new().config(&receiver.config()).env("CALLBACK_TOKEN", "hush").start().await;
    node.accept(&with(writing("told"), "/callback", receiver.callback())).await;
    node.until_final("told").await;
    receiver.until("told", |_| true).await;
    node.kill();
    receiver.rescript(|_, _| Reply::Status(200));
    node.restart().await;
    let received = receiver.until_final("told").await;
    let delivered: Vec<_> = received.iter().filter_map(sortie_tests::Received::sequence).collect();
    assert!(delivered.is_sorted() && delivered.contains(&1), "{delivered:?}");
}

#[tokio::test]
async fn a_cancel_outlives_a_kill() {
    let mut node = Node::start().await;
    node.accept(&looping("stopped")).await;
    node.until_status("stopped", "running").await;
    node.post("/v1/missions/stopped/cancel", &json!({"reason": "stop"})).await.expect_status(202);
    node.kill();
    node.restart().await;
    assert_eq!(node.mission("stopped").await["status"], "cancelled");
}

#[tokio::test]
async fn sigterm_ends_the_node_in_order_and_the_missions_go_on() {
    let mut node = Node::start().await;
    node.accept(&looping("running")).await;
    node.until_status("running", "running").await;
    let begun = std::time::Instant::now();
    let ended = node.stop().await;
    assert_eq!(ended.code(), Some(0), "{}", node.read_log());
    assert!(begun.elapsed() < 2 * QUICK, "{:?}", begun.elapsed());
    node.restart().await;
    until_run(&node, "running", 2).await;
}

#[tokio::test]
async fn a_damaged_journal_is_refused_with_what_to_do() {
    for damage in ["cut", "emptied", "flipped", "one bit"] {
        let mut node = Node::start().await;
        node.run(&writing("kept")).await;
        node.stop().await;
        let path = node.data().join("journal.redb");
        let mut bytes = std::fs::read(&path).expect("a journal");
        match damage {
            "cut" => bytes.truncate(bytes.len() / 3),
            "emptied" => bytes.clear(),
            // In every copy of the mission's name, so that one of them is in use.
            "one bit" => {
                let name = b"trace-kept";
                let places: Vec<usize> =
                    (0..bytes.len() - name.len()).filter(|&at| bytes[at..].starts_with(name)).collect();
                places.iter().for_each(|&at| bytes[at] ^= 1);
            }
            // The header names the tables' roots: garbage there must not look like an empty journal.
            _ => bytes[..512].iter_mut().for_each(|byte| *byte ^= 0xA5),
        }
        std::fs::write(&path, &bytes).expect("writable");
        let said = node.refused().await;
        assert!(said.contains("journal.redb"), "{damage}: {said}");
        assert_eq!(std::fs::read(&path).expect("readable"), bytes, "{damage}: evidence is not overwritten");
    }
}

#[tokio::test]
async fn start_and_stop_say_what_was_found_and_what_goes_on() {
    let mut node = Node::start().await;
    node.run(&writing("done")).await;
    node.accept(&looping("running")).await;
    node.until_status("running", "running").await;
    node.stop().await;
    node.restart().await;
    let log = node.read_log();
    let line = |message: &str| -> Value {
        let line = log.lines().rfind(|line| line.contains(message)).unwrap_or_else(|| panic!("{message}: {log}"));
        serde_json::from_str(line).expect("JSON where nobody looks on")
    };
    let opened = line("opened");
    assert_eq!((&opened["missions"], &opened["go_on"]), (&json!(2), &json!(1)), "{opened}");
    assert!(opened["took_ms"].is_u64(), "{opened}");
    let stopped = line("stopped");
    assert_eq!(stopped["go_on"], 1, "{stopped}");
    assert!(stopped["took_ms"].is_u64(), "{stopped}");
}

#[tokio::test]
async fn start_and_stop_say_in_the_log_what_was_found_what_goes_on_and_how_long_it_took() {
    let mut node = Node::start().await;
    node.accept(&looping("goes-on")).await;
    node.until_status("goes-on", "running").await;
    node.run(&writing("over")).await;
    node.kill();
    node.restart().await;
    node.until_status("goes-on", "running").await;
    node.stop().await;
    let log = node.read_log();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let said = |what: &str| {
        let said = |line: &&Value| line["message"].as_str().is_some_and(|message| message.starts_with(what));
        lines.iter().rfind(said).unwrap_or_else(|| panic!("nothing begins with {what:?}: {log}"))
    };
    let opened = said("opened");
    assert_eq!((&opened["missions"], &opened["go_on"]), (&json!(2), &json!(1)), "{opened}");
    let stopped = said("stopped");
    assert_eq!(stopped["go_on"], 1, "{stopped}");
    // Numbers, with their units in their names.
    for (line, key) in [(opened, "took_ms"), (opened, "journal_bytes"), (stopped, "took_ms")] {
        assert!(line[key].is_u64(), "{key}: {line}");
    }
}

/// What the operator allows plugins from now on is for missions that start from now on.
#[tokio::test]
async fn a_mission_keeps_the_memory_that_it_started_with() {
    let mut node = Options::new().config("[limits]\nplugin_memory_mib = 256\n").start().await;
    let items: Vec<u32> = (0..12).collect();
    let steps = json!([
        write("w", "f.txt", &"x".repeat(900_000)),
        {"id": "r", "needs": ["w"], "tool": "Read", "with": {"path": "f.txt"}, "for_each": items},
        {"id": "q", "needs": ["r"], "tool": "ask", "with": {"question": "A or B?"}},
    ]);
    node.accept(&automation("held", &steps)).await;
    node.until_status("held", "blocked").await;
    node.stop().await;
    node.reconfigure("[limits]\nplugin_memory_mib = 8\n");
    node.restart().await;
    assert_eq!(node.run(&automation("new", &steps)).await["status"], "failed", "it needs more than this");
    let answer = json!({"decision": "answer", "text": "A"});
    node.post("/v1/missions/held/requests/r1", &answer).await.expect_status(200);
    let last = node.until_final("held").await;
    assert_eq!(last["status"], "completed", "{last:#}");
}
