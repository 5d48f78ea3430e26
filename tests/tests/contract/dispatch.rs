//! Dispatch: what is accepted, what is refused, and what the answer says.

use serde_json::{Value, json};
use sortie_tests::envelope::{in_ms, with, without, write, writing};
use sortie_tests::{Node, Options, Receiver, automation};

/// A change to a valid envelope, and the pointers that the refusal must name.
type Row = (&'static str, Value, &'static [&'static str]);

#[tokio::test]
async fn what_is_wrong_is_named_with_its_place() {
    let node = Node::start().await;
    let rows: Vec<Row> = vec![
        ("/mission_id", json!("has spaces"), &["/mission_id"]),
        ("/mission_id", json!("x".repeat(201)), &["/mission_id"]),
        ("/mission_id", json!(".."), &["/mission_id"]),
        ("/mission_type", json!("general_task"), &["/mission_type"]),
        ("/objective", json!(""), &["/objective"]),
        ("/objective", json!(7), &["/objective"]),
        ("/constraints/allowed_tools", json!("Read"), &["/constraints/allowed_tools"]),
        ("/constraints/allowed_tools", json!(["Read", 1]), &["/constraints/allowed_tools/1"]),
        ("/constraints/tech_stack", json!("rust"), &["/constraints/tech_stack"]),
        ("/budget/max_minutes", json!(5), &["/budget/max_minutes"]),
        ("/budget/max_runtime_minutes", json!(-1), &["/budget/max_runtime_minutes"]),
        ("/budget/max_llm_calls", json!(1.5), &["/budget/max_llm_calls"]),
        ("/budget/max_cost_usd", json!("NaN"), &["/budget/max_cost_usd"]),
        ("/autonomy_window/start_at", json!("2026-11-22T01:00:00"), &["/autonomy_window/start_at"]),
        ("/autonomy_window/end_at", json!("2020-01-01T00:00:00Z"), &["/autonomy_window/end_at"]),
        ("/heartbeat_interval_seconds", json!(4), &["/heartbeat_interval_seconds"]),
        ("/heartbeat_interval_seconds", json!(86_401), &["/heartbeat_interval_seconds"]),
        ("/report_cadence", json!("sometimes"), &["/report_cadence"]),
        ("/success_criteria", json!("good"), &["/success_criteria"]),
        ("/artifact_policy/storage_scope", json!("moon"), &["/artifact_policy/storage_scope"]),
        ("/artifact_policy/storage_scope", json!("shared"), &["/artifact_policy/storage_scope"]),
        ("/callback", json!({"status_url": "ftp://x/", "auth_mode": "bearer"}), &["/callback/status_url"]),
        ("/callback", json!({"status_url": "https://example.org/", "auth_mode": "basic"}), &["/callback/auth_mode"]),
        ("/created_at", json!("yesterday"), &["/created_at"]),
        ("/inputs", json!([1]), &["/inputs"]),
    ];
    for (number, (place, value, pointers)) in rows.into_iter().enumerate() {
        let envelope = with(writing(&format!("wrong-{number}")), place, value.clone());
        let answer = node.dispatch(&envelope).await;
        assert_eq!(answer.status, 422, "{place} = {value}: {answer:#?}");
        let named: Vec<String> = answer.mistakes().into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(named, pointers, "{place} = {value}: {answer:#?}");
    }
    let listed = node.get("/v1/missions").await.json;
    assert_eq!(listed["items"], json!([]), "a refused envelope leaves nothing behind");
}

#[tokio::test]
async fn required_fields_are_named_where_they_should_be() {
    let node = Node::start().await;
    let required = [
        "mission_id",
        "vp_id",
        "source_instance_id",
        "target_instance_id",
        "mission_type",
        "objective",
        "idempotency_key",
        "trace_id",
        "created_at",
    ];
    for field in required {
        let answer = node.dispatch(&without(writing("lacking"), field)).await.expect_status(422);
        assert_eq!(answer.mistakes().first().map(|(pointer, _)| pointer.as_str()), Some(&*format!("/{field}")));
    }
    let mut envelope = writing("lacking");
    for field in required {
        envelope = without(envelope, field);
    }
    let answer = node.dispatch(&envelope).await.expect_status(422);
    assert_eq!(answer.mistakes().len(), required.len(), "several mistakes are reported together: {answer:#?}");
}

#[tokio::test]
async fn all_that_is_wrong_is_said_at_once() {
    let node = Node::start().await;
    let broken = json!([{"id": "a", "tool": "Read", "with": {"path": "x"}, "needs": ["zz"]}]);
    let mut envelope = automation("many", &broken);
    for (place, value) in [
        ("/vp_runtime_id", json!("nowhere")),
        ("/autonomy_window/end_at", json!("2020-01-01T00:00:00Z")),
        ("/callback", json!({"status_url": "http://10.0.0.1/events", "auth_mode": "bearer"})),
    ] {
        envelope = with(envelope, place, value);
    }
    let nodes = ["/vp_runtime_id", "/autonomy_window/end_at", "/callback/status_url", "/inputs/steps/0/needs/0"];
    let answer = node.dispatch(&envelope).await.expect_status(422);
    let named: Vec<String> = answer.mistakes().into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!(named, nodes, "{answer:#?}");
    // And with what is wrong with the text itself.
    let envelope = with(without(envelope, "trace_id"), "/budget/max_llm_calls", json!("few"));
    let answer = node.dispatch(&envelope).await.expect_status(422);
    let named: Vec<String> = answer.mistakes().into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!(named, [&["/trace_id", "/budget/max_llm_calls"][..], &nodes].concat(), "{answer:#?}");
    // Whose plugin it would be is open: nothing is said of that.
    let answer = node.dispatch(&with(envelope, "/mission_type", json!("custom"))).await.expect_status(422);
    let named: Vec<String> = answer.mistakes().into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!(named, [&["/trace_id", "/budget/max_llm_calls", "/plugin"][..], &nodes[..3]].concat(), "{answer:#?}");
}

#[tokio::test]
async fn an_accepted_mission_is_answered_with_all_that_was_decided() {
    let node = Node::start().await;
    let answer = node.dispatch(&with(writing("first"), "/budget", json!({}))).await.expect_status(202);
    assert_eq!(answer.json["mission_id"], "first");
    assert_eq!(answer.json["vp_id"], "vp.first");
    assert_eq!(answer.json["vp_session_id"], "vp.first.session");
    assert!(answer.json["vp_runtime_id"].is_string());
    assert_eq!(answer.json["status"], "queued");
    assert!(answer.json["effective_budget"]["max_runtime_minutes"].as_f64().is_some_and(|minutes| minutes > 0.0));
    assert_eq!(answer.json["warnings"], json!([]));
    assert!(answer.json["links"].is_object());
}

#[tokio::test]
async fn the_same_key_and_envelope_is_the_same_mission() {
    let node = Node::start().await;
    let envelope = writing("once");
    node.dispatch(&envelope).await.expect_status(202);
    let mut turned = serde_json::Map::new();
    for (key, value) in envelope.as_object().expect("an object").iter().rev() {
        turned.insert(key.clone(), value.clone());
    }
    turned.insert("created_at".to_owned(), json!("2026-11-22T09:00:00+01:00"));
    let again = node.dispatch(&Value::Object(turned)).await.expect_status(200);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.json["mission_id"], "once");
    node.until_final("once").await;
    node.dispatch(&envelope).await.expect_status(200);
    assert_eq!(node.get("/v1/missions").await.json["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_same_key_and_another_envelope_is_a_conflict_that_names_the_fields() {
    let node = Node::start().await;
    node.dispatch(&writing("key")).await.expect_status(202);
    let other = with(with(writing("key"), "/objective", json!("Something else.")), "/mission_id", json!("key-2"));
    let answer = node.dispatch(&other).await;
    answer.expect_problem(409, "idempotency_conflict");
    assert!(answer.text.contains("objective") && answer.text.contains("mission_id"), "{answer:#?}");
    // The comparison is of the JSON as sent: an explicit default differs from an absent field.
    let explicit = with(writing("key"), "/heartbeat_interval_seconds", json!(300));
    node.dispatch(&explicit).await.expect_problem(409, "idempotency_conflict");
    // The key's scope is its source.
    let elsewhere = with(with(writing("key"), "/source_instance_id", json!("hq-2")), "/mission_id", json!("key-3"));
    node.dispatch(&elsewhere).await.expect_status(202);
}

#[tokio::test]
async fn the_same_id_with_another_key_is_a_conflict() {
    let node = Node::start().await;
    node.dispatch(&writing("id")).await.expect_status(202);
    let other = with(writing("id"), "/idempotency_key", json!("another"));
    node.dispatch(&other).await.expect_problem(409, "mission_id_conflict");
}

#[tokio::test]
async fn an_omitted_session_is_the_latest_of_the_vp() {
    let node = Node::start().await;
    let of_vp = |id: &str| with(writing(id), "/vp_id", json!("vp.coder"));
    let answer = node.dispatch(&of_vp("a")).await.expect_status(202);
    assert_eq!(answer.json["vp_session_id"], "vp.coder.session");
    let named = with(of_vp("b"), "/vp_session_id", json!("night-shift"));
    node.dispatch(&named).await.expect_status(202);
    let answer = node.dispatch(&of_vp("c")).await.expect_status(202);
    assert_eq!(answer.json["vp_session_id"], "night-shift");
    for id in ["a", "b", "c"] {
        let session = node.mission(id).await["vp_session_id"].clone();
        for event in node.events(id).await {
            assert_eq!(event["vp_session_id"], session);
        }
    }
}

#[tokio::test]
async fn lanes_are_those_of_the_configuration() {
    let lanes =
        "[[lane]]\nid = \"runtime.a\"\nconcurrency = 1\n[[lane]]\nid = \"runtime.b\"\nconcurrency = 2\ndefault = true";
    let node = Options::new().config(lanes).start().await;
    let answer = node.dispatch(&writing("default")).await.expect_status(202);
    assert_eq!(answer.json["vp_runtime_id"], "runtime.b");
    let named = with(writing("named"), "/vp_runtime_id", json!("runtime.a"));
    assert_eq!(node.dispatch(&named).await.expect_status(202).json["vp_runtime_id"], "runtime.a");
    let answer =
        node.dispatch(&with(writing("unknown"), "/vp_runtime_id", json!("runtime.c"))).await.expect_status(422);
    assert_eq!(answer.mistakes()[0].0, "/vp_runtime_id");
    assert!(
        answer.text.contains("runtime.a") && answer.text.contains("runtime.b"),
        "the lanes are listed: {answer:#?}"
    );
}

#[tokio::test]
async fn another_nodes_mission_is_never_run() {
    let node = Node::start().await;
    let elsewhere = with(writing("elsewhere"), "/target_instance_id", json!("factory-2"));
    node.dispatch(&elsewhere).await.expect_problem(421, "wrong_instance");
    let wrong = without(with(elsewhere, "/mission_type", json!("x")), "trace_id");
    node.dispatch(&wrong).await.expect_problem(421, "wrong_instance");
    for (target, told) in [
        ("group:none", "no node here is in the group `none`"),
        ("label:gpu=yes", "no node here has the label `gpu=yes`"),
        ("label:k", "`label:k` wants KEY=VALUE"),
        ("Factory-1", "this node is `factory-1`, the envelope is for `Factory-1`; capital letters count"),
    ] {
        let refused = node.dispatch(&with(writing("nobody"), "/target_instance_id", json!(target))).await;
        refused.expect_problem(421, "wrong_instance");
        let detail = refused.json["detail"].as_str().unwrap_or_default();
        assert!(detail.starts_with(told), "{target}: {detail}");
    }
    node.dispatch(&with(writing("any"), "/target_instance_id", json!("*"))).await.expect_status(202);
}

#[tokio::test]
async fn a_type_without_a_plugin_is_refused_at_intake() {
    let config = "[plugin]\ncoding = \"nowhere\"\nresearch = \"nowhere-else\"";
    let node = Options::new().config(config).start().await;
    for kind in ["coding", "research"] {
        let envelope = without(with(writing(kind), "/mission_type", json!(kind)), "inputs");
        node.dispatch(&envelope).await.expect_problem(422, "plugin_not_installed");
    }
    // A VP that is called like a mission type is not that type.
    let called = with(with(writing("called"), "/mission_type", json!("coding")), "/vp_id", json!("automation"));
    node.dispatch(&called).await.expect_problem(422, "plugin_not_installed");
    let custom = with(writing("custom"), "/mission_type", json!("custom"));
    let answer = node.dispatch(&custom).await.expect_status(422);
    assert_eq!(answer.mistakes()[0].0, "/plugin", "{answer:#?}");
    let absent = with(custom, "/plugin", json!("nobody@1.0.0"));
    node.dispatch(&absent).await.expect_problem(422, "plugin_not_installed");
}

#[tokio::test]
async fn unknown_keys_are_holes_in_limits_and_warnings_elsewhere() {
    let node = Node::start().await;
    let hole = with(writing("hole"), "/constraints/max_duration_minutes", json!(5));
    let answer = node.dispatch(&hole).await.expect_status(422);
    assert_eq!(answer.mistakes(), [("/constraints/max_duration_minutes".to_owned(), "unknown_constraint".to_owned())]);
    let answer = node.dispatch(&with(writing("extra"), "/priority", json!(50))).await.expect_status(202);
    let warnings = answer.json["warnings"].to_string();
    assert!(warnings.contains("priority"), "{warnings}");
}

#[tokio::test]
async fn budgets_are_lowered_to_the_nodes_ceilings() {
    let limits = "[limits]\nmax_runtime_minutes = 10\nmax_llm_calls = 100\nmax_cost_usd = 5.0";
    let node = Options::new().config(limits).start().await;
    let rows = [
        (json!({}), (10.0, 100, 5.0)),
        (json!({"max_runtime_minutes": 0, "max_llm_calls": 0, "max_cost_usd": 0}), (10.0, 100, 5.0)),
        (json!({"max_runtime_minutes": 180, "max_llm_calls": 300, "max_cost_usd": 25}), (10.0, 100, 5.0)),
        (json!({"max_runtime_minutes": 0.5, "max_llm_calls": 3, "max_cost_usd": 0.25}), (0.5, 3, 0.25)),
    ];
    for (number, (budget, (minutes, calls, cost))) in rows.into_iter().enumerate() {
        let answer =
            node.dispatch(&with(writing(&format!("budget-{number}")), "/budget", budget)).await.expect_status(202);
        let holds = &answer.json["effective_budget"];
        assert_eq!(holds["max_runtime_minutes"].as_f64(), Some(minutes), "{holds}");
        assert_eq!(holds["max_llm_calls"].as_u64(), Some(calls), "{holds}");
        assert_eq!(holds["max_cost_usd"].as_f64(), Some(cost), "{holds}");
    }
}

#[tokio::test]
async fn windows_that_cannot_be_are_refused() {
    let node = Node::start().await;
    let window =
        |start: &str, end: &str| with(writing("window"), "/autonomy_window", json!({"start_at": start, "end_at": end}));
    let empty = in_ms(60_000);
    let answer = node.dispatch(&window(&empty, &empty)).await.expect_status(422);
    assert_eq!(answer.mistakes()[0].0, "/autonomy_window/end_at", "{answer:#?}");
    let answer = node.dispatch(&window(&in_ms(-60_000), &in_ms(-1_000))).await.expect_status(422);
    assert_eq!(answer.mistakes()[0], ("/autonomy_window/end_at".to_owned(), "window_closed".to_owned()), "{answer:#?}");
}

#[tokio::test]
async fn a_large_body_is_refused() {
    let node = Node::start().await;
    let large = with(writing("large"), "/objective", json!("x".repeat(1 << 20)));
    assert_eq!(node.dispatch(&large).await.status, 413);
}

#[tokio::test]
async fn a_budget_that_is_set_is_never_none() {
    let node = Node::start().await;
    let answer = node.dispatch(&with(writing("tiny"), "/budget/max_cost_usd", json!(1e-7))).await.expect_status(202);
    assert_eq!(answer.json["effective_budget"]["max_cost_usd"].as_f64(), Some(1e-6), "{answer:#?}");
}

#[tokio::test]
async fn a_window_may_be_open_to_the_end_of_time() {
    let node = Node::start().await;
    let window = json!({"start_at": "2026-01-01T00:00:00.123456789123Z", "end_at": "9999-12-31T23:59:59Z"});
    node.dispatch(&with(writing("ever"), "/autonomy_window", window)).await.expect_status(202);
    let end = node.mission("ever").await["autonomy_window"]["end_at"].clone();
    assert_eq!(end, "9999-12-30T22:00:00.999999999Z");
    assert_eq!(node.until_final("ever").await["status"], "completed");
}

#[tokio::test]
async fn pushback_needs_a_callback() {
    let node = Node::start().await;
    let answer = node.dispatch(&with(writing("push"), "/artifact_policy/storage_scope", json!("pushback"))).await;
    assert_eq!(answer.expect_status(422).mistakes()[0].0, "/callback", "a missing field is named where it should be");
}

#[tokio::test]
async fn a_secret_goes_only_where_the_configuration_sends_it() {
    let receiver = Receiver::start().await;
    let node = Options::new().config(&receiver.config()).env("CALLBACK_TOKEN", "hush").start().await;
    let to = |id: &str, url: &str, secret: &str| {
        with(writing(id), "/callback", json!({"status_url": url, "auth_mode": "bearer", "auth_ref": secret}))
    };
    let rows = [
        ("unlisted-ref", receiver.url(), "env://PATH", "/callback/auth_ref"),
        ("other-host", "https://example.org/events".to_owned(), "env://CALLBACK_TOKEN", "/callback/auth_ref"),
        ("private", "http://10.0.0.1/events".to_owned(), "env://CALLBACK_TOKEN", "/callback"),
        ("link-local", "http://169.254.169.254/latest".to_owned(), "env://CALLBACK_TOKEN", "/callback"),
    ];
    for (id, url, secret, pointer) in rows {
        let answer = node.dispatch(&to(id, &url, secret)).await.expect_status(422);
        assert!(answer.mistakes()[0].0.starts_with(pointer), "{id}: {answer:#?}");
    }
    node.dispatch(&to("listed", &receiver.url(), "env://CALLBACK_TOKEN")).await.expect_status(202);
}

#[tokio::test]
async fn a_graph_of_steps_is_checked_at_intake() {
    let node = Node::start().await;
    let rows = [
        ("none", Value::Null, "/inputs/steps"),
        (
            "cycle",
            json!([{"id": "a", "tool": "Read", "with": {"path": "x"}, "needs": ["b"]}, {"id": "b", "tool": "Read", "with": {"path": "x"}, "needs": ["a"]}]),
            "/inputs/steps",
        ),
        (
            "unknown-need",
            json!([{"id": "a", "tool": "Read", "with": {"path": "x"}, "needs": ["zz"]}]),
            "/inputs/steps/0/needs/0",
        ),
        (
            "unknown-in-template",
            json!([{"id": "a", "tool": "Read", "with": {"path": "{{ steps.zz.result }}"}}]),
            "/inputs/steps/0/with/path",
        ),
        (
            "bad-template",
            json!([write("ok", "a", "b"), {"id": "a", "tool": "Read", "with": {"path": "{{ inputs. }}"}}]),
            "/inputs/steps/1/with/path",
        ),
        ("twice", json!([write("a", "x", ""), write("a", "y", "")]), "/inputs/steps/1/id"),
        (
            "unknown-key",
            json!([{"id": "a", "tool": "Read", "with": {"path": "x"}, "wiht": {}}]),
            "/inputs/steps/0/wiht",
        ),
    ];
    for (id, steps, pointer) in rows {
        let mut envelope = automation(id, &steps);
        if steps.is_null() {
            envelope = without(envelope, "inputs");
        }
        let answer = node.dispatch(&envelope).await.expect_status(422);
        assert!(answer.mistakes().iter().any(|(place, _)| place.starts_with(pointer)), "{id}: {answer:#?}");
    }
}

#[tokio::test]
async fn an_integer_that_cannot_be_kept_is_refused_at_its_place() {
    let node = Node::start().await;
    let text = |number: &str| with(writing("exact"), "/priority", json!("@")).to_string().replace("\"@\"", number);
    let send = async |text: String| {
        let request = node.request("POST", "/v1/missions").header("content-type", "application/json");
        sortie_tests::http::send(request.body(text)).await.expect("an answer")
    };
    let refused = send(text("18446744073709551616")).await.expect_status(422);
    assert_eq!(refused.mistakes()[0].0, "/priority", "{refused:#?}");
    send(text("9007199254740993")).await.expect_status(202);
    send(text("9007199254740993")).await.expect_status(200);
    send(text("9007199254740992")).await.expect_problem(409, "idempotency_conflict");

    let file = node.folder().join("huge.json");
    std::fs::write(&file, text("18446744073709551616")).expect("a writable folder");
    let ran = node.cli(&["run", &file.to_string_lossy()]).await;
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.code() == Some(2) && said.contains("/priority"), "{said}");
}
