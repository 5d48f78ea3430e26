//! *Lifecycle*, as far as people are asked: approvals, questions, expiry, decisions.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};
use sortie_tests::envelope::{edit, in_ms, with, write, writing};
use sortie_tests::{Answer, Node, Options, Receiver, automation, until, workspace_of};

/// A mission that may write, after somebody said so.
fn asking(id: &str) -> Value {
    let envelope = automation(id, &json!([write("w", "note.txt", "written")]));
    with(envelope, "/constraints/approval_required", json!(["Write"]))
}

async fn decide(node: &Node, id: &str, request: &str, body: Value) -> Answer {
    node.post(&format!("/v1/missions/{id}/requests/{request}"), &body).await
}

/// The open request of a mission that is blocked.
async fn blocked(node: &Node, id: &str) -> Value {
    node.until_status(id, "blocked").await["pending_requests"][0].clone()
}

#[tokio::test]
async fn a_decision_that_says_two_things_decides_nothing() {
    let node = Node::start().await;
    node.accept(&asking("ask")).await;
    blocked(&node, "ask").await;
    for (path, body, pointer) in [
        ("/v1/missions/ask/requests/r1", r#"{"decision":"deny","decision":"approve"}"#, "/decision"),
        (
            "/v1/missions/ask/requests/r1",
            r#"{"decision":"grant","amount":{"cost_usd":1,"cost_usd":9}}"#,
            "/amount/cost_usd",
        ),
        ("/v1/missions/ask/cancel", r#"{"reason":"a","reason":"b"}"#, "/reason"),
    ] {
        let sent = node.request("POST", path).header("content-type", "application/json").body(body);
        let refused = sortie_tests::http::send(sent).await.expect("an answer").expect_status(422);
        let error = &refused.json["errors"][0];
        assert_eq!((&error["code"], &error["pointer"]), (&json!("duplicate_key"), &json!(pointer)), "{}", refused.text);
    }
    assert_eq!(blocked(&node, "ask").await["request_id"], "r1", "it still waits");
}

#[tokio::test]
async fn a_call_that_needs_approval_waits_for_it() {
    let node = Node::start().await;
    node.accept(&asking("ask")).await;
    let request = blocked(&node, "ask").await;
    assert_eq!((&request["kind"], &request["tool"]), (&json!("approval"), &json!("Write")));
    assert_eq!(request["arguments"], json!({"path": "note.txt", "content": "written"}));
    assert!(request["expires_at"].is_string(), "{request:#}");
    let asked = node.events("ask").await.pop().expect("events");
    assert_eq!((&asked["event_type"], &asked["status"]), (&json!("mission.blocked"), &json!("blocked")));
    assert_eq!(asked["detail"]["request"], request);
    let listed = node.get("/v1/requests").await.expect_status(200).json;
    assert_eq!((&listed["items"][0]["mission_id"], &listed["items"][0]["request_id"]), (&json!("ask"), &json!("r1")));
    let journal = node.get("/v1/missions/ask/journal").await.json["items"].to_string();
    assert!(
        !journal.contains("call_started") && !journal.contains("call_resumed"),
        "nothing happens before: {journal}"
    );

    decide(&node, "ask", "r1", json!({"decision": "approve", "by": "Ada", "note": "fine"})).await.expect_status(200);
    let end = node.until_final("ask").await;
    assert_eq!(end["status"], "completed", "{end:#}");
    assert!(workspace_of(&node, "vp.ask").join("note.txt").exists());
    let journal = node.get("/v1/missions/ask/journal").await.json["items"].to_string();
    assert!(journal.contains("Ada") && journal.contains("fine"), "{journal}");
    assert_eq!(node.get("/v1/requests").await.json["items"], json!([]));
}

#[tokio::test]
async fn an_approval_may_change_the_arguments() {
    let node = Node::start().await;
    let told = json!({
        "id": "told", "tool": "Glob", "needs": ["w"], "with": { "pattern": "{{ steps.w.amended.path }}" }, "artifact": "told.json",
    });
    let envelope = with(asking("amend"), "/inputs/steps", json!([write("w", "note.txt", "written"), told]));
    let envelope = with(envelope, "/constraints/allowed_tools", json!(["Write(*.txt)", "Glob"]));
    let envelope = with(envelope, "/constraints/forbidden_tools", json!(["Write(secret*)"]));
    node.accept(&envelope).await;
    let request = blocked(&node, "amend").await;
    let amend = |arguments: Value| json!({"decision": "approve", "arguments": arguments});
    // What does not fit the schema is told with its place, and what the constraints forbid with their entry. It still waits.
    for (body, code, says) in [
        (amend(json!({"path": 1, "content": "x"})), "invalid_decision", "/arguments/path"),
        (amend(json!({"content": "x"})), "invalid_decision", "/arguments"),
        (amend(json!([])), "invalid_decision", "/arguments"),
        (amend(json!({"path": "secret.txt", "content": "x"})), "arguments_not_allowed", "Write(secret*)"),
        (amend(json!({"path": "other.md", "content": "x"})), "arguments_not_allowed", "Write(*.txt)"),
        (json!({"decision": "approve", "arguments": {}, "for": "tool"}), "invalid_decision", "/for"),
    ] {
        let refused = decide(&node, "amend", "r1", body).await;
        assert!(refused.text.contains(says), "{says}: {}", refused.text);
        refused.expect_problem(422, code);
        assert_eq!(blocked(&node, "amend").await, request, "it still waits");
    }
    let changed = json!({"path": "other.txt", "content": "changed"});
    decide(&node, "amend", "r1", amend(changed.clone())).await.expect_status(200);
    let end = node.until_final("amend").await;
    assert_eq!(end["status"], "completed", "{end:#}");
    let workspace = workspace_of(&node, "vp.amend");
    assert_eq!(std::fs::read_to_string(workspace.join("other.txt")).expect("it was written"), "changed");
    assert!(!workspace.join("note.txt").exists(), "what the plugin wanted was not done");
    // Its plugin was told: the next step has looked for what was written.
    let found = node.get("/v1/missions/amend/artifacts/told.json").await.expect_status(200).text;
    assert!(found.contains("other.txt"), "{found}");
    // The record keeps both, and so does the event.
    let journal = node.get("/v1/missions/amend/journal").await.json["items"].clone();
    let body = |kind: &str| {
        let records = journal.as_array().expect("a list");
        records.iter().find(|record| record["kind"] == kind).map(|record| record["body"].to_string())
    };
    assert!(body("call_held").is_some_and(|held| held.contains("note.txt")), "{journal:#}");
    assert!(body("decided").is_some_and(|decided| decided.contains("other.txt")), "{journal:#}");
    let events = node.events("amend").await;
    let decided = events.iter().find(|event| event["detail"]["kind"] == "decided").expect("it is told");
    assert_eq!(
        (&decided["detail"]["arguments"], &decided["detail"]["arguments_wanted"]),
        (&changed, &request["arguments"])
    );
    let replayed = node.cli(&["replay", "amend"]).await;
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stdout));
}

#[tokio::test]
async fn changed_arguments_hold_through_a_kill_before_the_call() {
    let mut node = Options::new().config("[node]\nmax_running = 1").start().await;
    node.accept(&asking("amend")).await;
    blocked(&node, "amend").await;
    // Somebody else has its turn: it is out of memory. While nothing is started the decision stands, and the call is not made.
    node.run(&writing("next")).await;
    node.post("/v1/node/pause", &Value::Null).await.expect_status(200);
    let path = node.data().join("changed.json");
    std::fs::write(&path, r#"{"path": "other.txt", "content": "changed"}"#).expect("a file");
    let file = format!("@{}", path.display());
    let twice = node.cli(&["approve", "amend", "r1", "--arguments", "{\"path\": \"a\", \"path\": \"b\"}"]).await;
    let told = String::from_utf8_lossy(&twice.stderr);
    assert!(!twice.status.success() && told.contains("at `/path`"), "{told}");
    let approved = node.cli(&["approve", "amend", "r1", "--arguments", &file]).await;
    assert!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
    node.kill();
    node.restart().await;
    assert_eq!(node.mission("amend").await["status"], "running", "it is decided, and has no turn yet");
    // The same again is the same decision, another one is not.
    let arguments = json!({"path": "other.txt", "content": "changed"});
    decide(&node, "amend", "r1", json!({"decision": "approve", "arguments": arguments})).await.expect_status(200);
    let other = decide(&node, "amend", "r1", json!({"decision": "approve"})).await;
    assert_eq!((other.status, &other.json["code"]), (409, &json!("already_decided")), "{other:#?}");
    assert_eq!(
        (&other.json["decision"], &other.json["arguments_changed"]),
        (&json!("approve"), &json!(true)),
        "{other:#?}"
    );
    assert!(other.json["detail"].as_str().is_some_and(|told| told.contains("with other arguments")), "{other:#?}");
    node.post("/v1/node/resume", &Value::Null).await.expect_status(200);
    assert_eq!(node.until_final("amend").await["status"], "completed");
    let workspace = workspace_of(&node, "vp.amend");
    assert_eq!(std::fs::read_to_string(workspace.join("other.txt")).expect("it was written"), "changed");
    assert!(!workspace.join("note.txt").exists(), "what the plugin wanted was not done");
}

#[tokio::test]
async fn an_approval_by_effect_class_and_a_denial() {
    let node = Node::start().await;
    node.accept(&with(asking("class"), "/constraints/approval_required", json!(["workspace_write"]))).await;
    blocked(&node, "class").await;
    decide(&node, "class", "r1", json!({"decision": "deny", "note": "not tonight"})).await.expect_status(200);
    let end = node.until_final("class").await;
    assert_eq!((&end["status"], &end["detail"]["reason"]), (&json!("failed"), &json!("tool_failed")), "{end:#}");
    assert!(end.to_string().contains("not tonight"), "{end:#}");
}

#[tokio::test]
async fn a_decision_is_taken_once_and_must_fit() {
    let node = Node::start().await;
    node.accept(&asking("once")).await;
    blocked(&node, "once").await;
    decide(&node, "once", "r9", json!({"decision": "approve"})).await.expect_problem(404, "not_found");
    decide(&node, "once", "r1", json!({"decision": "repeat"})).await.expect_problem(422, "wrong_decision");
    decide(&node, "once", "r1", json!({"decision": "perhaps"})).await.expect_problem(422, "invalid_decision");
    decide(&node, "once", "r1", json!({"decison": "approve"})).await.expect_problem(422, "invalid_decision");
    let wait = json!({"id": "q", "tool": "ask", "with": {"question": "And?"}, "needs": ["w"]});
    let two = with(asking("two"), "/inputs/steps", json!([write("w", "note.txt", "x"), wait]));
    node.accept(&two).await;
    blocked(&node, "two").await;
    decide(&node, "two", "r1", json!({"decision": "approve"})).await.expect_status(200);
    until("the question", async || {
        (node.mission("two").await["pending_requests"][0]["request_id"] == "r2").then_some(())
    })
    .await;
    decide(&node, "two", "r1", json!({"decision": "approve"})).await.expect_status(200);
    decide(&node, "two", "r1", json!({"decision": "deny"})).await.expect_problem(409, "already_decided");
    node.post("/v1/missions/two/cancel", &json!({"reason": "enough"})).await.expect_status(202);
    decide(&node, "two", "r2", json!({"decision": "answer", "text": "B"})).await.expect_problem(409, "already_final");
}

#[tokio::test]
async fn a_question_is_answered_and_the_answer_is_the_steps_result() {
    let node = Node::start().await;
    let steps = json!([
        {"id": "q", "tool": "ask", "with": {"question": "A or B?"}},
        write("w", "answer.txt", "{{ steps.q.result }}"),
    ]);
    let mut steps = steps;
    steps[1]["needs"] = json!(["q"]);
    node.accept(&automation("question", &steps)).await;
    let request = blocked(&node, "question").await;
    assert_eq!((&request["kind"], &request["question"]), (&json!("input"), &json!("A or B?")));
    decide(&node, "question", "r1", json!({"decision": "answer", "text": "B"})).await.expect_status(200);
    assert_eq!(node.until_final("question").await["status"], "completed");
    let written = std::fs::read_to_string(workspace_of(&node, "vp.question").join("answer.txt"));
    assert_eq!(written.expect("it was written"), "B");
}

#[tokio::test]
async fn a_request_holds_only_the_call_that_needs_it() {
    let node = Node::start().await;
    let mut free = json!({"id": "free", "tool": "Glob", "with": {"pattern": "*"}});
    free["milestone"] = json!("looked");
    let envelope = with(asking("beside"), "/inputs/steps", json!([write("w", "note.txt", "x"), free]));
    node.accept(&envelope).await;
    blocked(&node, "beside").await;
    until("the other step", async || {
        node.events("beside").await.iter().any(|event| event["summary"] == "looked").then_some(())
    })
    .await;
    assert_eq!(node.mission("beside").await["status"], "blocked");
}

#[tokio::test]
async fn a_sticky_approval_is_said_and_reaches_as_far_as_it_says() {
    let node = Node::start().await;
    let mut second = edit("e", "note.txt", "x", "y");
    second["needs"] = json!(["w2"]);
    let mut w2 = write("w2", "other.txt", "x");
    w2["needs"] = json!(["w"]);
    let steps = json!([write("w", "note.txt", "x"), w2, second]);
    let envelope = with(asking("sticky"), "/inputs/steps", steps);
    node.accept(&with(envelope, "/constraints/approval_required", json!(["Write", "Edit"]))).await;
    blocked(&node, "sticky").await;
    decide(&node, "sticky", "r1", json!({"decision": "approve", "for": "tool"})).await.expect_status(200);
    let next = until("the edit asks", async || {
        let request = node.mission("sticky").await["pending_requests"][0].clone();
        (request["tool"] == "Edit").then_some(request)
    })
    .await;
    assert_eq!(next["request_id"], "r2", "the second Write was not asked about: {next:#}");
}

#[tokio::test]
async fn what_was_approved_out_of_memory_is_made_once_and_not_doubted() {
    let mut node = Node::start().await;
    let mut change = edit("e", "note.txt", "x", "xx");
    change["needs"] = json!(["w"]);
    let envelope = with(asking("late"), "/inputs/steps", json!([write("w", "note.txt", "x"), change]));
    node.accept(&with(envelope, "/constraints/approval_required", json!(["Edit"]))).await;
    blocked(&node, "late").await;
    until("it is out of memory", async || {
        let metrics = node.get("/metrics").await.text;
        metrics.lines().any(|line| line == "sortie_missions_suspended 1").then_some(())
    })
    .await;
    node.kill();
    node.restart().await;
    decide(&node, "late", "r1", json!({"decision": "approve"})).await.expect_status(200);
    assert_eq!(node.until_final("late").await["status"], "completed");
    let written = std::fs::read_to_string(workspace_of(&node, "vp.late").join("note.txt"));
    assert_eq!(written.expect("it was written"), "xx");
    let asked = node.events("late").await.iter().filter(|event| event["status"] == "blocked").count();
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn nobody_answers() {
    let node = Options::new().config("[limits]\nrequest_expiry = \"2s\"").start().await;
    node.accept(&asking("expires")).await;
    blocked(&node, "expires").await;
    let end = node.until_final("expires").await;
    assert_eq!((&end["status"], &end["detail"]["reason"]), (&json!("timed_out"), &json!("request_expired")), "{end:#}");
    let events = node.events("expires").await;
    let reminders = events.iter().filter(|event| event["detail"]["reminder"] == true).count();
    assert_eq!(reminders, 1, "one reminder: {events:#?}");
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["sequence"].as_u64()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_window_closes_on_a_request() {
    let node = Node::start().await;
    node.accept(&with(asking("closes"), "/autonomy_window", json!({"end_at": in_ms(2_500)}))).await;
    blocked(&node, "closes").await;
    let end = node.until_final("closes").await;
    assert_eq!((&end["status"], &end["detail"]["reason"]), (&json!("timed_out"), &json!("window_closed")), "{end:#}");
}

#[tokio::test]
async fn a_blocked_mission_gives_its_turn_up_and_takes_no_run_time() {
    let node = Options::new().config("[node]\nmax_running = 1").start().await;
    node.accept(&with(asking("first"), "/vp_id", json!("vp.shared"))).await;
    blocked(&node, "first").await;
    // Of the same session, on a node with room for one.
    let second = automation("second", &json!([write("w", "second.txt", "x")]));
    let end = node.run(&with(second, "/vp_id", json!("vp.shared"))).await;
    assert_eq!(end["status"], "completed");
    let used = |mission: Value| mission["usage"]["runtime_minutes"].as_f64().expect("a number");
    let before = used(node.mission("first").await);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let after = used(node.mission("first").await);
    assert!(after - before < 0.5 / 60.0, "{before} {after}");
    decide(&node, "first", "r1", json!({"decision": "approve"})).await.expect_status(200);
    assert_eq!(node.until_final("first").await["status"], "completed");
}

#[tokio::test]
async fn a_question_after_a_nap_gives_the_turn_up_too() {
    let node = Options::new().config("[node]\nmax_running = 1").start().await;
    let nap = json!({
        "id": "nap", "tool": "Read", "with": {"path": "never.txt"}, "retry": {"attempts": 2, "backoff": "1s"},
        "on_error": "continue",
    });
    let ask = json!({"id": "q", "tool": "ask", "with": {"question": "A or B?"}, "needs": ["nap"]});
    node.accept(&automation("first", &json!([nap, ask]))).await;
    blocked(&node, "first").await;
    node.run(&writing("second")).await;
    assert_eq!(node.mission("first").await["status"], "blocked");
    decide(&node, "first", "r1", json!({"decision": "answer", "text": "B"})).await.expect_status(200);
    assert_eq!(node.until_final("first").await["status"], "completed");
}

#[tokio::test]
async fn a_request_outlives_kills_and_its_decision_too() {
    let receiver = Receiver::start().await;
    let mut node = Options::new().config(&receiver.config()).env("CALLBACK_TOKEN", "hush").start().await;
    node.accept(&with(asking("patient"), "/callback", receiver.callback())).await;
    let request = blocked(&node, "patient").await;
    for _ in 0..2 {
        node.kill();
        node.restart().await;
        assert_eq!(node.until_status("patient", "blocked").await["pending_requests"][0], request);
    }
    decide(&node, "patient", "r1", json!({"decision": "approve"})).await.expect_status(200);
    node.kill();
    node.restart().await;
    assert_eq!(node.until_final("patient").await["status"], "completed");
    let received = receiver.until_final("patient").await;
    let blocked = received.iter().filter(|delivery| delivery.json["event_type"] == "mission.blocked").count();
    assert!(blocked >= 1, "{blocked}");
    let finals = node.events("patient").await.iter().filter(|event| event["status"] == "completed").count();
    assert_eq!(finals, 1);
}

#[tokio::test]
async fn a_cancel_reaches_a_waiting_request() {
    let node = Node::start().await;
    node.accept(&asking("cancelled")).await;
    blocked(&node, "cancelled").await;
    node.post("/v1/missions/cancelled/cancel", &json!({"reason": "no"})).await.expect_status(202);
    assert_eq!(node.mission("cancelled").await["status"], "cancelled");
    assert_eq!(node.get("/v1/requests").await.json["items"], json!([]));
    decide(&node, "cancelled", "r1", json!({"decision": "approve"})).await.expect_problem(409, "already_final");
}

#[tokio::test]
async fn the_command_line_lists_and_decides() {
    let node = Node::start().await;
    node.accept(&asking("cli")).await;
    blocked(&node, "cli").await;
    let listed = node.cli(&["requests"]).await;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(text.contains("cli") && text.contains("r1") && text.contains("approval"), "{text}");
    let shown = node.cli(&["show", "cli"]).await;
    for text in [&text, &String::from_utf8_lossy(&shown.stdout).into_owned()] {
        for says in ["expires 2", "tool Write  (workspace_write", "note.txt", "written"] {
            assert!(text.contains(says), "{says}: {text}");
        }
    }
    let refused = node.cli(&["approve", "cli", "r1", "--amount", "5"]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(node.mission("cli").await["status"], "blocked");
    let approved = node.cli(&["approve", "cli", "r1", "--note", "fine"]).await;
    assert!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
    assert_eq!(node.until_final("cli").await["status"], "completed");
    let steps = json!([{"id": "q", "tool": "ask", "with": {"question": "Which?"}}]);
    node.accept(&automation("asks", &steps)).await;
    blocked(&node, "asks").await;
    assert!(node.cli(&["answer", "asks", "r1", "this one"]).await.status.success());
    assert_eq!(node.until_final("asks").await["status"], "completed");
    node.accept(&asking("denied")).await;
    blocked(&node, "denied").await;
    assert!(node.cli(&["deny", "denied", "r1"]).await.status.success());
    assert_eq!(node.until_final("denied").await["status"], "failed");
}

#[tokio::test]
async fn watch_goes_on_after_a_restart_of_the_node() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let mut node = Options::new().listen(port).start().await;
    node.accept(&asking("watched")).await;
    blocked(&node, "watched").await;
    let mut watch = node.command(&["watch", "watched", "--json"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("it was piped")).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next()?.expect("text")).ok();
    let mut shown = Vec::new();
    while let Some(event) = next() {
        let blocked = event["status"] == "blocked";
        shown.push(event);
        if blocked {
            break;
        }
    }
    node.kill();
    node.restart().await;
    decide(&node, "watched", "r1", json!({"decision": "approve"})).await.expect_status(200);
    let rest = tokio::task::spawn_blocking(move || {
        let rest: Vec<Value> = lines.map_while(|line| serde_json::from_str(&line.ok()?).ok()).collect();
        (rest, watch.wait().expect("it ends"))
    });
    let (rest, ended) = rest.await.expect("no panic");
    shown.extend(rest);
    assert!(ended.success(), "{ended}: {shown:#?}");
    assert!(shown.iter().map(|event| event["sequence"].as_u64()).eq((1..).map(Some).take(shown.len())), "{shown:#?}");
}

#[tokio::test]
async fn an_answer_of_no_is_no_yes() {
    let node = Node::start().await;
    let ask = json!({"id": "ok", "tool": "ask", "with": {"question": "May it be sent?"}});
    let send = json!({
        "id": "send", "tool": "Write", "with": {"path": "sent.txt", "content": "sent"}, "if": "{{ steps.ok.result }}",
        "criterion": {"text": "a person agreed", "met": "{{ steps.ok.result }}"},
    });
    for (id, answer) in [("no", "no"), ("yes", "yes"), ("true", "true")] {
        let mission = automation(id, &json!([ask, send]));
        node.accept(&with(mission, "/success_criteria", json!(["a person agreed"]))).await;
        node.until_status(id, "blocked").await;
        assert!(node.cli(&["answer", id, "r1", answer]).await.status.success());
        let end = node.until_final(id).await;
        // A text is neither yes nor no, whatever it says: the mission fails, and the error names the step.
        assert_eq!(end["status"], "failed", "{answer}: {end:#}");
        assert!(end["summary"].to_string().contains("send"), "{answer}: {end:#}");
        assert_ne!(end["detail"]["criteria"][0]["verdict"], "met", "{answer}: {end:#}");
        let journal = node.get(&format!("/v1/missions/{id}/journal")).await.json;
        let calls =
            journal["items"].as_array().expect("a list").iter().filter(|record| record["kind"] == "call_started");
        assert_eq!(calls.count(), 0, "{answer}: nothing was written: {journal:#}");
    }
}
