//! The log of what operators did: who, when, what and from where; and the buttons that take back.

use serde_json::{Value, json};
use sortie_tests::envelope::{with, writing};
use sortie_tests::payloads::PAYLOADS;
use sortie_tests::{Node, looping};

use crate::browser::{Browser, OPERATOR, READER, options, text};
use crate::markup;

async fn actions(node: &Node) -> Vec<Value> {
    node.get("/v1/actions?limit=500").await.expect_status(200).json["items"].as_array().expect("a list").clone()
}

/// What was done, the newest first: what, to what, by whom, from where.
async fn told(node: &Node) -> Vec<[String; 4]> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    actions(node).await.iter().map(|action| ["what", "subject", "by", "via"].map(|key| text(&action[key]))).collect()
}

#[tokio::test]
async fn whatever_was_done_is_told_wherever_it_came_from_and_after_a_kill() {
    let mut node = options().start().await;
    let schedule = json!({
        "id": "far", "zone": "UTC", "once": ["2090-01-01T02:00:00"],
        "mission": {"vp_id": "vp.n", "mission_type": "custom", "plugin": "hello", "objective": "Say hello."},
    });
    node.accept(&looping("runs")).await;
    node.accept(&with(writing("asks"), "/constraints/approval_required", json!(["Write"]))).await;
    node.until_status("asks", "blocked").await;
    // What fails, what is only tried, what is dispatched and what is looked at is no action.
    node.post("/v1/missions/gone/cancel", &json!({})).await.expect_status(404);
    node.post("/v1/schedules?dry_run=true", &schedule).await.expect_status(200);
    for path in ["/v1/node/halt", "/v1/missions/runs/cancel", "/v1/tools/Glob/call", "/v1/node/pause"] {
        let tried = node.post(&format!("{path}?dry_run=true"), &json!({})).await;
        tried.expect_problem(400, "bad_request");
    }
    node.get("/v1/actions").await.expect_status(200);
    assert_eq!(told(&node).await, [[""; 4]; 0]);
    node.post("/v1/schedules", &schedule).await.expect_status(201);
    let browser = Browser::signed_in(&node, OPERATOR).await;
    let fields = [("decision", "deny"), ("note", "not tonight")];
    browser.send("/missions/asks/requests/r1", &fields).await.expect_status(303);
    let cli = node.cli(&["cancel", "runs", "--reason", "too long"]).await;
    assert!(cli.status.success(), "{cli:?}");
    node.post("/v1/node/pause", &Value::Null).await.expect_status(200);
    let expected = [
        ["pause_node", "", "admin", "api"],
        ["cancel", "runs", "admin", "cli"],
        ["decide", "asks", "OPERATOR", "dashboard"],
        ["make_schedule", "far", "admin", "api"],
    ]
    .map(|row| row.map(str::to_owned));
    assert_eq!(told(&node).await, expected);
    node.kill();
    node.restart().await;
    assert_eq!(told(&node).await, expected, "they are on disk before they are answered");
    let all = actions(&node).await;
    assert_eq!(
        (&all[2]["said"], &all[2]["request"]),
        (&json!({"decision": "deny", "note": "not tonight"}), &json!("r1"))
    );
    assert_eq!(all[1]["said"]["reason"], "too long");
    // Page by page.
    let (mut seen, mut path) = (Vec::new(), "/v1/actions?limit=3".to_owned());
    loop {
        let page = node.get(&path).await.expect_status(200).json;
        seen.extend(page["items"].as_array().expect("a list").clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/actions?limit=3&cursor={cursor}");
    }
    assert_eq!(seen, all);
    for bad in ["cursor=0", "cursor=x", "limit=0", "from=1"] {
        node.get(&format!("/v1/actions?{bad}")).await.expect_status(400);
    }
    node.get("/v1/actions").await.expect_status(200);
    let reader = Browser::signed_in(&node, READER).await;
    reader.get("/actions").await.expect_status(403);
}

#[tokio::test]
async fn what_has_a_contrary_is_taken_back_by_a_button() {
    let node = options().start().await;
    let browser = Browser::signed_in(&node, OPERATOR).await;
    let schedule = json!({
        "id": "far", "zone": "UTC", "once": ["2090-01-01T02:00:00"],
        "mission": {"vp_id": "vp.n", "mission_type": "custom", "plugin": "hello", "objective": "Say hello."},
    });
    node.post("/v1/schedules", &schedule).await.expect_status(201);
    browser.send("/schedules/far/pause", &[("decision", "pause"), ("note", "wait")]).await.expect_status(303);
    browser.send("/node/pause", &[("decision", "pause")]).await.expect_status(303);
    assert_eq!(node.get("/v1/node").await.json["state"], "paused");
    let page = browser.page("/actions").await;
    markup::is_ours("actions", &page);
    markup::is_readable("actions", &page);
    assert_eq!(page.select("main tbody form").nodes().len(), 2, "{}", text(&page, "main"));
    assert_eq!(page.select("main tbody tr").nodes().len(), 3);
    for path in ["/schedules/far/resume", "/node/resume"] {
        let button = page.select(&format!("main form[action='{path}'] button"));
        assert_eq!(button.attr("value").as_deref(), Some("resume"), "{path}");
        browser.post(path, &[("decision", "resume")]).await.expect_status(403);
        browser.send(path, &[]).await.expect_status(400);
        browser.send(path, &[("decision", "resume")]).await.expect_status(303);
    }
    assert_eq!(node.get("/v1/node").await.json["state"], "serving");
    assert_eq!(node.get("/v1/schedules/far").await.json["paused"], Value::Null);
    // Only the newest of each has one.
    let page = browser.page("/actions").await;
    let forms: Vec<String> =
        page.select("main tbody form").iter().filter_map(|form| form.attr("action")).map(String::from).collect();
    assert_eq!(forms, ["/node/pause", "/schedules/far/pause"]);
    browser.send("/node/drain", &[("decision", "drain")]).await.expect_status(404);
    // Everything is cancelled once somebody has said that all of it is meant.
    browser.send("/node/halt", &[("decision", "halt")]).await.expect_status(400);
    browser.send("/node/halt", &[("decision", "halt"), ("sure", "yes")]).await.expect_status(303);
    // Whatever somebody says is text.
    for payload in PAYLOADS {
        browser.send("/schedules/far/pause", &[("decision", "pause"), ("note", payload)]).await.expect_status(303);
    }
    let page = browser.page("/actions").await;
    markup::is_ours("payloads", &page);
    assert!(PAYLOADS.iter().all(|payload| text(&page, "main").contains(payload)));
}
