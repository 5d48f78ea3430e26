//! What lists of requests and deliveries show is in heads and cursors: no journal is read for them.

use std::fs;

use jiff::Timestamp;
use serde_json::{Value, json};
use sortie_tests::envelope::{with, write, writing};
use sortie_tests::{Node, Options, Receiver, Reply, automation, project, until};

/// How many records were taken up for readers.
async fn folded(node: &Node) -> u64 {
    let text = node.get("/metrics").await.expect_status(200).text;
    let value = text.lines().find_map(|line| line.strip_prefix("sortie_records_folded_total "));
    value.and_then(|value| value.parse().ok()).expect("it is told")
}

/// A list, and that no record was read for it.
async fn list(node: &Node, path: &str) -> Vec<Value> {
    let before = folded(node).await;
    let answer = node.get(path).await.expect_status(200).json;
    assert_eq!(folded(node).await, before, "{path} reads journals: {answer:#}");
    answer["items"].as_array().expect("a page").clone()
}

/// Missions that ask for an approval, for money and for an answer, newest first.
async fn asking(node: &Node) -> [&'static str; 4] {
    let long = write("w", "long.txt", &"x".repeat(5_000));
    let guarded = json!({"allowed_tools": ["Write"], "approval_required": ["Write"]});
    node.accept(&with(writing("approving"), "/constraints", guarded.clone())).await;
    node.accept(&with(automation("long", &json!([long])), "/constraints", guarded)).await;
    node.accept(&with(writing("paying"), "/budget", json!({"max_cost_usd": 0.001}))).await;
    let ask = json!([{"id": "q", "tool": "ask", "with": {"question": "A or B?"}}]);
    node.accept(&automation("asking", &ask)).await;
    let newest_first = ["asking", "paying", "long", "approving"];
    for id in newest_first {
        node.until_status(id, "blocked").await;
    }
    newest_first
}

#[tokio::test]
async fn open_requests_are_listed_without_a_look_at_a_journal() {
    let mut node = Options::new().config("[tool.Write]\ncost_usd = 0.01\n").start().await;
    let missions = asking(&node).await;
    for restarted in [false, true] {
        let listed = list(&node, "/v1/requests").await;
        assert_eq!(listed.len(), missions.len(), "{listed:#?}");
        for (line, id) in listed.iter().zip(missions) {
            let mut shown = node.mission(id).await["pending_requests"][0].clone();
            shown["mission_id"] = json!(id);
            shown["objective"] = json!("Do the steps.");
            shown["answer_at"] = json!(format!("/v1/missions/{id}/requests/r1"));
            if id == "long" {
                let (begins, bytes) = (line["arguments"].as_str().expect("a text"), shown["arguments_bytes"].as_u64());
                assert!(
                    begins.starts_with('{') && bytes.is_some_and(|bytes| (begins.len() as u64) < bytes),
                    "{line:#}"
                );
                shown["arguments"] = line["arguments"].clone();
            }
            assert_eq!(*line, shown, "restarted: {restarted}");
        }
        let printed = String::from_utf8_lossy(&node.cli(&["requests"]).await.stdout).into_owned();
        for part in ["A or B?", "note.txt", "sha256", "whole: sortie journal long --json"] {
            assert!(printed.contains(part), "{part}: {printed}");
        }
        if !restarted {
            node.kill();
            node.restart().await;
        }
    }
    node.post("/v1/missions/asking/requests/r1", &json!({"decision": "answer", "text": "A"})).await.expect_status(200);
    let left: Vec<Value> = list(&node, "/v1/requests").await.iter().map(|line| line["mission_id"].clone()).collect();
    assert_eq!(left, ["paying", "long", "approving"]);
}

#[tokio::test]
async fn what_is_to_be_delivered_is_listed_without_a_look_at_a_journal() {
    let receiver = Receiver::scripted(|got, _| Reply::Status(if got.mission() == "busy" { 503 } else { 410 })).await;
    let mut node = Options::new().config(&receiver.config()).env("CALLBACK_TOKEN", "hush-hush").start().await;
    for id in ["busy", "gone"] {
        node.accept(&with(writing(id), "/callback", receiver.callback())).await;
        node.until_final(id).await;
    }
    let parked = async |skipped: usize| {
        until("it is parked", async || {
            let line = node.get("/v1/deliveries?state=parked").await.json["items"][0].clone();
            (line["skipped"].as_array()?.len() == skipped).then_some(())
        })
        .await;
    };
    parked(0).await;
    node.post("/v1/deliveries/gone/skip", &Value::Null).await.expect_status(202);
    parked(1).await;
    for restarted in [false, true] {
        for (path, id, missions) in [("?state=parked", "gone", 1), ("?state=pending", "busy", 1), ("", "gone", 2)] {
            let listed = list(&node, &format!("/v1/deliveries{path}")).await;
            assert_eq!(listed.len(), missions, "{listed:#?}");
            let line = listed.iter().find(|line| line["mission_id"] == id).expect("it is listed");
            let delivery = node.mission(id).await["delivery"].clone();
            for field in ["state", "delivered", "skipped"] {
                assert_eq!(line[field], delivery[field], "{field}, restarted: {restarted}");
            }
            let done = u64::from(id == "gone");
            assert_eq!(line["waiting"].as_u64().map(|waiting| waiting + done), delivery["total"].as_u64(), "{line:#}");
            assert_eq!(line["status_url"], json!(receiver.url()));
        }
        let gone = &list(&node, "/v1/deliveries?state=parked").await[0];
        assert_eq!(gone["skipped"], json!(["gone/1"]));
        assert_eq!(gone["error"], "the receiver answered 410");
        if !restarted {
            node.kill();
            node.restart().await;
        }
    }
}

/// Where an upload is an item beside its event, the number of an item is no sequence.
#[tokio::test]
async fn what_was_left_out_is_listed_by_its_key_also_between_uploads() {
    let receiver = Receiver::scripted(|_, _| Reply::Status(410)).await;
    let node = Options::new().config(&receiver.config()).env("CALLBACK_TOKEN", "hush-hush").start().await;
    let mut step = write("w", "r.md", "x");
    step["artifact"] = json!({"name": "r.md", "path": "r.md"});
    let mission = with(automation("pushed", &json!([step])), "/callback", receiver.callback());
    node.accept(&with(mission, "/artifact_policy/storage_scope", json!("pushback"))).await;
    node.until_final("pushed").await;
    let mut skipped = Vec::new();
    for key in ["pushed/1", "pushed/2", "pushed/artifacts/r.md/3", "pushed/3", "pushed/4"] {
        let listed = until("it is parked", async || {
            let line = node.get("/v1/deliveries?state=parked").await.json["items"][0].clone();
            (line["skipped"].as_array()?.len() == skipped.len()).then_some(line)
        })
        .await;
        assert_eq!(listed["skipped"], json!(skipped));
        node.post("/v1/deliveries/pushed/skip", &Value::Null).await.expect_status(202);
        skipped.push(key);
    }
    let listed = node.get("/v1/deliveries?state=incomplete").await.expect_status(200).json["items"].clone();
    assert_eq!((&listed[0]["skipped"], &listed[0]["waiting"]), (&json!(skipped), &json!(0)), "{listed:#}");
}

/// One that an older Sortie left has heads that do not say so.
#[tokio::test]
async fn where_a_head_is_older_the_records_are_read() {
    let mut node = Options::new().faulty().start().await;
    node.kill();
    // What it asks for would be over a day after it was made.
    let then: Timestamp = "2026-11-26T03:00:00Z".parse().expect("a time");
    node.faults().set_clock(then.duration_since(Timestamp::now()));
    let fixtures = project().join("runtime/journal/tests/fixtures");
    for (fixture, file) in [("v6.redb", "journal.redb"), ("v6.redb.mark", "journal.redb.mark")] {
        fs::copy(fixtures.join(fixture), node.data().join(file)).expect("a writable folder");
    }
    node.restart().await;
    let listed = node.get("/v1/requests").await.expect_status(200).json["items"].clone();
    for (line, id, kind) in [(&listed[0], "paying", "budget"), (&listed[1], "approving", "approval")] {
        assert_eq!((&line["mission_id"], &line["kind"]), (&json!(id), &json!(kind)), "{listed:#}");
        let shown = node.mission(id).await["pending_requests"][0].clone();
        for (field, value) in shown.as_object().expect("a request") {
            assert_eq!(&line[field], value, "{id}: {field}");
        }
    }
    let listed = node.get("/v1/deliveries?state=parked").await.expect_status(200).json["items"].clone();
    let skipped = listed.as_array().expect("a page").iter().find(|line| line["mission_id"] == "skipped");
    let skipped = skipped.expect("it is listed");
    assert_eq!((&skipped["skipped"], &skipped["waiting"]), (&json!(["skipped/1"]), &json!(2)), "{listed:#}");
    assert!(folded(&node).await > 0, "only there they are");
}
