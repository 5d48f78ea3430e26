//! Forks, from outside: what is on record up to a call is not done again, and behind it everything is.

use serde_json::{Value, json};
use sortie_tests::envelope::{automation, edit, with, write};
use sortie_tests::{Node, Options, Receiver, Reply, until};

/// A mission of three writes and a milestone, whose last step fails.
async fn failed(node: &Node) -> Value {
    let mut first = write("one", "one.txt", "one");
    first["artifact"] = json!("one.txt");
    first["milestone"] = json!("wrote one");
    let last_two = [write("two", "two.txt", "two"), edit("three", "two.txt", "nothing", "x")];
    let steps = in_turn([first].into_iter().chain(last_two));
    let last = node.run(&automation("night", &steps)).await;
    assert_eq!(last["status"], "failed", "{last:#}");
    last
}

/// Steps of which each waits for the one before.
fn in_turn(steps: impl Iterator<Item = Value>) -> Value {
    let mut before = Value::Null;
    let steps = steps.map(|mut step| {
        if !before.is_null() {
            step["needs"] = json!([before]);
        }
        before = step["id"].clone();
        step
    });
    Value::Array(steps.collect())
}

/// The number of the call by which a tool was called first with this in its arguments.
async fn call_of(node: &Node, id: &str, part: &str) -> u64 {
    let journal = node.get(&format!("/v1/missions/{id}/journal")).await.json;
    let records = journal["items"].as_array().expect("records").clone();
    let found = records.iter().find(|record| {
        record["kind"] == "call_started" && record["body"]["arguments"].as_str().is_some_and(|text| text.contains(part))
    });
    found.unwrap_or_else(|| panic!("no call with {part}: {journal:#}"))["body"]["call"].as_u64().expect("a number")
}

/// A mission's state once it has ended.
async fn ended(node: &Node, id: &str) -> Value {
    node.until_final(id).await;
    node.mission(id).await
}

#[tokio::test]
async fn a_fork_goes_on_for_real_behind_what_is_on_record() {
    let node = Node::start().await;
    failed(&node).await;
    let at = call_of(&node, "night", "two.txt").await;
    let body = json!({"at": at, "idempotency_key": "again", "workspace": "empty"});
    let made = node.post("/v1/missions/night/fork", &body).await;
    assert_eq!(made.status, 202, "{:#}", made.json);
    let id = made.json["mission_id"].as_str().expect("an id").to_owned();
    assert_eq!(made.json["forked_from"]["mission_id"], "night");
    assert_eq!(
        (&made.json["forked_from"]["calls"], &made.json["forked_from"]["diverged_at"]),
        (&json!(at), &Value::Null)
    );
    let warnings = made.json["warnings"].to_string();
    assert!(
        warnings.contains("workspace is its own and empty") && warnings.contains("wrote 2 files, such as `one.txt`"),
        "{warnings}"
    );

    // The same key is the same fork; another call under it is another one, and refused.
    let again = node.post("/v1/missions/night/fork", &body).await;
    assert_eq!((again.status, &again.json["mission_id"]), (200, &json!(id)), "{:#}", again.json);
    let other = node
        .post("/v1/missions/night/fork", &json!({"at": at - 1, "idempotency_key": "again", "workspace": "empty"}))
        .await;
    assert_eq!((other.status, &other.json["code"]), (409, &json!("idempotency_conflict")), "{:#}", other.json);

    let state = ended(&node, &id).await;
    assert_eq!(state["status"], "failed", "its last step is made for real, and its file is not there: {state:#}");
    assert_eq!(state["forked_from"]["mission_id"], "night");
    assert_eq!(state["usage"]["runtime_minutes"].as_f64().map(|minutes| minutes < 1.0), Some(true));
    // What its calls wrote is not there: they were not made.
    let sessions = node.get("/v1/sessions").await.json;
    let own = sessions["items"]
        .as_array()
        .expect("sessions")
        .iter()
        .find(|session| session["vp_session_id"] == format!("fork:{id}"));
    let folder = own.expect("a session of its own")["workspace"].as_str().expect("a path").to_owned();
    let folder = std::path::Path::new(&folder);
    assert!(!folder.join("one.txt").exists() && !folder.join("two.txt").exists());
    // The artifact of the record is there, and stays when the other is gone from memory.
    let artifact =
        node.request("GET", &format!("/v1/missions/{id}/artifacts/one.txt")).send().await.expect("an answer");
    assert_eq!(artifact.text().await.expect("a text"), "one");
    // Events of its own, from 1; the milestone was the other's.
    let events = node.events(&id).await;
    let sequences: Vec<u64> = events.iter().filter_map(|event| event["sequence"].as_u64()).collect();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
    assert_eq!(events[0]["detail"]["forked_from"]["mission_id"], "night");
    assert!(!events.iter().any(|event| event["detail"]["kind"] == "milestone"), "{events:#?}");
    let why = node.get(&format!("/v1/missions/{id}/why")).await.json;
    assert!(why["causes"].to_string().contains("it is a fork of night"), "{why:#}");
    // A fork of it begins where it began: what its plugin draws follows from that mission, which asked for what is on record.
    let of_it = node.post(&format!("/v1/missions/{id}/fork"), &json!({"at": at})).await;
    assert_eq!((of_it.status, &of_it.json["forked_from"]["mission_id"]), (202, &json!(id)), "{:#}", of_it.json);
    let of_it = of_it.json["mission_id"].as_str().expect("an id").to_owned();
    for fork in [&id, &of_it] {
        let journal = node.get(&format!("/v1/missions/{fork}/journal")).await.json;
        let accepted = journal["items"][0].to_string().replace('\\', "");
        assert!(accepted.contains("\"root\":\"night\""), "{accepted}");
    }
    // A replay of the fork follows its record from the beginning.
    let replayed = node.cli(&["replay", &id]).await;
    assert_eq!(replayed.status.code(), Some(0), "{}", String::from_utf8_lossy(&replayed.stdout));
}

#[tokio::test]
async fn other_inputs_leave_the_record_where_they_differ_first() {
    let node = Node::start().await;
    failed(&node).await;
    let at = call_of(&node, "night", "two.txt").await;
    let mut first = write("one", "one.txt", "one");
    first["artifact"] = json!("one.txt");
    first["milestone"] = json!("wrote one");
    let last_two = [write("two", "two.txt", "other"), edit("three", "two.txt", "other", "mended")];
    let steps = in_turn([first].into_iter().chain(last_two));
    let file = node.folder().join("inputs.json");
    std::fs::write(&file, json!({"steps": steps}).to_string()).expect("a writable folder");
    let forked =
        node.cli(&["--json", "fork", "night", "--at", &at.to_string(), "--inputs", &file.to_string_lossy()]).await;
    let said: Value = serde_json::from_slice(&forked.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&forked.stderr)));
    assert_eq!(said["forked_from"]["diverged_at"], json!(at), "{said:#}");
    assert_eq!(said["forked_from"]["calls"], json!(at - 1));
    assert!(said["warnings"].to_string().contains("a copy of that of the session"), "{said:#}");
    assert!(said["warnings"].to_string().contains("leaves the record at call"), "{said:#}");
    let id = said["mission_id"].as_str().expect("an id");
    let state = ended(&node, id).await;
    assert_eq!(state["status"], "completed", "{state:#}");
    let shown = node.cli(&["show", id]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("of night") && shown.contains(&format!("leaves the record at call {at}")), "{shown}");
}

#[tokio::test]
async fn other_inputs_keep_the_digits_of_their_numbers() {
    let node = Node::start().await;
    let mut step = write("one", "one.txt", "n: {{ inputs.n | tojson }}");
    step["artifact"] = json!("one.txt");
    let mut envelope = automation("digits", &json!([step]));
    envelope["inputs"]["n"] = json!("@");
    assert_eq!(node.run(&envelope).await["status"], "completed");
    let body = json!({"at": 0, "idempotency_key": "once", "inputs": envelope["inputs"]}).to_string();
    let numbers = "[123456789012345678901234567890,1.10,1e3]";
    // Written otherwise it is the same fork.
    for (numbers, status) in [(numbers.to_owned(), 202), (numbers.replace(',', " ,\n"), 200)] {
        let request = node.request("POST", "/v1/missions/digits/fork").header("content-type", "application/json");
        let sent = sortie_tests::http::send(request.body(body.replace("\"@\"", &numbers))).await.expect("an answer");
        let fork = sent.expect_status(status).json["mission_id"].as_str().expect("an id").to_owned();
        assert_eq!(node.until_final(&fork).await["status"], "completed");
        let kept = node.get(&format!("/v1/missions/{fork}/artifacts/one.txt")).await.expect_status(200).text;
        assert_eq!(kept.replace(char::is_whitespace, ""), "n:[123456789012345678901234567890,1.10,1e3]");
        // Who forks that one is shown what it has.
        let shown = node.get(&format!("/v1/missions/{fork}/fork")).await.expect_status(200).text;
        assert!(
            shown
                .replace(char::is_whitespace, "")
                .contains(&format!("\"n\":{numbers}").replace(char::is_whitespace, "")),
            "{shown}"
        );
    }
    let file = node.folder().join("inputs.json");
    let inputs = envelope["inputs"].to_string();
    for (inputs, says) in [
        (inputs.replace("\"@\"", numbers), None),
        (inputs.replace("\"@\"", "1,\"n\":2"), Some("`n`")),
        ("[1]".to_owned(), Some("inputs are a JSON object")),
    ] {
        std::fs::write(&file, &inputs).expect("a writable folder");
        let forked = node.cli(&["fork", "digits", "--at", "0", "--inputs", &file.to_string_lossy(), "--json"]).await;
        let said = [&forked.stdout, &forked.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
        if let Some(says) = says {
            assert!(!forked.status.success() && said.contains(says), "{inputs}: {said}");
            continue;
        }
        assert!(forked.status.success(), "{inputs}: {said}");
        let fork: Value = serde_json::from_slice(&forked.stdout).expect("JSON");
        let fork = fork["mission_id"].as_str().expect("an id").to_owned();
        assert_eq!(node.until_final(&fork).await["status"], "completed");
        let kept = node.get(&format!("/v1/missions/{fork}/artifacts/one.txt")).await.expect_status(200).text;
        assert_eq!(kept.replace(char::is_whitespace, ""), format!("n:{numbers}"));
    }
}

#[tokio::test]
async fn a_fork_survives_the_node_and_its_mission() {
    let mut node = Node::start().await;
    let steps = json!([write("one", "one.txt", "one"), {"id": "wait", "tool": "Read", "with": {"path": "never.txt"}, "retry": {"attempts": 100, "backoff": "5s"}}]);
    node.accept(&automation("long", &steps)).await;
    until("its first call is over", async || {
        let journal = node.get("/v1/missions/long/journal").await.json;
        let records = journal["items"].as_array()?;
        records.iter().any(|record| record["kind"] == "call_finished").then_some(())
    })
    .await;
    let at = call_of(&node, "long", "one.txt").await;
    let made = node.post("/v1/missions/long/fork", &json!({"at": at})).await;
    assert_eq!(made.status, 202, "{:#}", made.json);
    let id = made.json["mission_id"].as_str().expect("an id").to_owned();
    node.kill();
    node.restart().await;
    let state = node.get(&format!("/v1/missions/{id}")).await.json;
    assert_eq!(state["forked_from"]["calls"], json!(at), "{state:#}");
    let count = |journal: &Value, kind: &str| {
        journal["items"].as_array().expect("records").iter().filter(|record| record["kind"] == kind).count()
    };
    let journal = node.get(&format!("/v1/missions/{id}/journal")).await.json;
    assert_eq!(count(&journal, "accepted"), 1);
    for id in ["long", id.as_str()] {
        node.post(&format!("/v1/missions/{id}/cancel"), &json!({})).await;
    }
}

/// A call that was on its way when the mission ended is no reason to make those beside it again.
#[tokio::test]
async fn calls_beside_one_without_a_result_are_not_made_again() {
    let slow = Receiver::scripted(|_, _| Reply::Hang).await;
    let host = slow.host();
    let config = format!("[tool.WebFetch]\nhosts = [{host:?}]\nallow_private = [\"127.0.0.1\"]");
    let node = Options::new().config(&config).start().await;
    let fetch = json!({"id": "slow", "tool": "WebFetch", "with": {"url": format!("http://{host}/page")}});
    let others = in_turn([write("one", "one.txt", "one"), write("two", "two.txt", "two")].into_iter());
    let steps: Vec<Value> = [fetch].into_iter().chain(others.as_array().expect("steps").iter().cloned()).collect();
    let envelope = with(automation("night", &json!(steps)), "/constraints/allowed_tools", json!(["Write", "WebFetch"]));
    node.accept(&envelope).await;
    let at = until("both files are written", async || {
        let journal = node.get("/v1/missions/night/journal").await.json;
        let records = journal["items"].as_array()?;
        let written = records.iter().filter(|record| record["kind"] == "call_finished").count();
        let calls = records.iter().filter_map(|record| record["body"]["call"].as_u64());
        (written == 2).then(|| calls.max().unwrap_or(0))
    })
    .await;
    node.post("/v1/missions/night/cancel", &json!({})).await;
    node.until_final("night").await;
    let made = node.post("/v1/missions/night/fork", &json!({"at": at, "workspace": "empty"})).await;
    assert_eq!(made.status, 202, "{:#}", made.json);
    let from = &made.json["forked_from"];
    assert_eq!((&from["calls"], &from["diverged_at"]), (&json!(at), &Value::Null), "{:#}", made.json);
    node.post(&format!("/v1/missions/{}/cancel", made.json["mission_id"].as_str().expect("an id")), &json!({})).await;
}

/// Where nobody names a call, the node finds it, and says which it is.
#[tokio::test]
async fn a_mission_is_forked_from_where_it_failed_or_from_its_last_call() {
    let node = Node::start().await;
    failed(&node).await;
    let (three, calls) = (call_of(&node, "night", "nothing").await, node.get("/v1/missions/night/fork").await);
    let calls = calls.expect_status(200).json;
    assert_eq!(
        (&calls["failure"], &calls["last"], &calls["at"]),
        (&json!(three - 1), &calls["calls"], &calls["calls"])
    );
    assert_eq!(calls["plugin"].as_str().map(|plugin| plugin.starts_with("automation@")), Some(true), "{calls:#}");
    assert!(calls["inputs"]["steps"].is_array(), "{calls:#}");
    // As of a record it has made no more calls than are on record there.
    let two = call_of(&node, "night", "two.txt").await;
    let journal = node.get("/v1/missions/night/journal").await.json["items"].clone();
    let journal = journal.as_array().expect("records");
    let record = journal.iter().position(|record| record["body"]["call"] == json!(two)).expect("it is there") + 1;
    for (record, at) in [
        (1, 0),
        (record as u64, two),
        (record as u64 - 1, two - 1),
        (u64::from(u32::MAX) + 7, calls["calls"].as_u64().expect("a number")),
    ] {
        let then = node.get(&format!("/v1/missions/night/fork?record={record}")).await.expect_status(200).json;
        assert_eq!(then["at"], json!(at), "{record}: {then:#}");
    }
    node.get("/v1/missions/night/fork?record=x").await.expect_status(400);
    node.get("/v1/missions/nowhere/fork").await.expect_status(404);

    let tools = async |id: &str| {
        let journal = node.get(&format!("/v1/missions/{id}/journal")).await.json["items"].clone();
        let behind = journal.as_array().expect("records").iter().skip_while(|record| record["kind"] != "started");
        let made = behind.filter(|record| record["kind"] == "call_started");
        made.map(|record| record["body"]["tool"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    for (at, expected, again) in
        [("failure", three - 1, vec!["Edit"]), ("last", calls["last"].as_u64().expect("a number"), vec![])]
    {
        let body = json!({"at": at, "idempotency_key": "night"});
        let body = if at == "last" { json!({"at": at}) } else { body };
        let made = node.post("/v1/missions/night/fork", &body).await.expect_status(202);
        let from = &made.json["forked_from"];
        assert_eq!((&from["at"], &from["calls"]), (&json!(expected), &json!(expected)), "{:#}", made.json);
        let id = made.json["mission_id"].as_str().expect("an id").to_owned();
        ended(&node, &id).await;
        assert_eq!(tools(&id).await, again, "{at}");
    }
    // What a word comes to may change while a mission goes on: the word is what is asked for, and the fork the one that was made.
    let again = node.post("/v1/missions/night/fork", &json!({"at": "failure", "idempotency_key": "night"})).await;
    again.expect_status(200);
    let number = json!({"at": three - 1, "idempotency_key": "night"});
    node.post("/v1/missions/night/fork", &number).await.expect_status(409);
}

#[tokio::test]
async fn several_are_forked_by_one_command() {
    let node = Node::start().await;
    failed(&node).await;
    node.run(&automation("day", &json!([write("one", "one.txt", "one")]))).await;
    let said = async |arguments: &[&str]| {
        let ran = node.cli(arguments).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (ran.status.code(), text(&ran.stdout), text(&ran.stderr))
    };
    let fork = ["fork", "night", "day", "nowhere", "--at", "failure", "--key", "once"];
    let (code, out, err) = said(&fork).await;
    assert_eq!((code, out.lines().count()), (Some(6), 2), "{out}{err}");
    assert!(
        out.contains("night night.fork-") && out.contains("day day.fork-") && out.contains("goes on behind call"),
        "{out}"
    );
    assert!(err.contains("nowhere: "), "{err}");
    assert_eq!(said(&fork).await.1, out, "the same key again is the same forks");
    let (code, out, err) =
        said(&["--json", "fork", "--matching", "vp:vp.day", "--yes", "--at", "last", "--empty-workspace"]).await;
    let told: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    // The mission, and its fork.
    assert_eq!((code, told["items"].as_array().map(Vec::len)), (Some(0), Some(2)), "{told:#}");
    assert!(told["items"][0]["forked_from"]["mission_id"].is_string(), "{told:#}");
    for (arguments, part) in [
        (&["fork", "night", "day", "--at", "0", "--inputs", "-"][..], "of one mission"),
        (&["fork", "night", "--at", "first"], "nor `last`"),
        (&["fork", "night"], "--at"),
        (&["fork", "--at", "0"], "ID"),
    ] {
        let (code, _, err) = said(arguments).await;
        assert!(code == Some(2) && err.contains(part), "{arguments:?}: {code:?}: {err}");
    }
}

#[tokio::test]
async fn what_cannot_be_forked_says_why() {
    let node = Node::start().await;
    failed(&node).await;
    for (path, body, status, code, part) in [
        ("night", json!({"at": 900}), 422, "fork_refused", "there is no call 900"),
        ("night", json!({}), 422, "invalid_action", "at"),
        ("night", json!({"at": "first"}), 422, "invalid_action", "`failure` or `last`"),
        ("night", json!({"at": "3"}), 422, "invalid_action", "number of a call"),
        ("night", json!({"at": -1}), 422, "invalid_action", "number of a call"),
        ("night", json!({"at": 1.5}), 422, "invalid_action", "number of a call"),
        ("night", json!({"at": 4_294_967_296_u64}), 422, "invalid_action", "number of a call"),
        ("night", json!({"at": null}), 422, "invalid_action", "number of a call"),
        ("night", json!({"at": 1, "plugin": "nobody"}), 422, "plugin_not_installed", "nobody"),
        ("night", json!({"at": 1, "plugin": "N!"}), 422, "invalid_action", "plugin"),
        ("nowhere", json!({"at": 0}), 404, "not_found", ""),
    ] {
        let answer = node.post(&format!("/v1/missions/{path}/fork"), &body).await;
        assert_eq!((answer.status, answer.json["code"].as_str()), (status, Some(code)), "{:#}", answer.json);
        assert!(answer.json["detail"].as_str().is_some_and(|detail| detail.contains(part)), "{:#}", answer.json);
    }
    // Nobody but the node says where a mission comes from.
    let forged = with(automation("forged", &json!([])), "/forked_from", json!({"mission_id": "night", "records": 9}));
    let answer = node.post("/v1/missions", &forged).await;
    assert_eq!(answer.status, 422, "{:#}", answer.json);
    assert_eq!(answer.json["errors"][0]["pointer"], "/forked_from");
}
