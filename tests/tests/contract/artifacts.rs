//! Artifacts: the node's own store, and the upload to the control plane.

use serde_json::{Value, json};
use sortie_tests::envelope::{with, write};
use sortie_tests::{Node, Options, Receiver, Reply, automation, http};

fn producing(id: &str) -> Value {
    let mut report = write("a", "report.md", "# Report\n");
    report["artifact"] = json!("reports/weekly.md");
    let made = json!({"id": "b", "needs": ["a"], "tool": "Read", "with": {"path": "report.md"},
        "artifact": {"name": "data.json", "content": "{\"ok\": true}", "media_type": "application/json"}});
    automation(id, &json!([report, made]))
}

#[tokio::test]
async fn the_nodes_store_serves_index_bytes_and_ranges() {
    let node = Node::start().await;
    assert_eq!(node.run(&producing("factory")).await["status"], "completed");
    let index = node.get("/v1/missions/factory/artifacts").await.expect_status(200).json;
    let items = index["items"].as_array().expect("a list");
    assert_eq!(items.len(), 2, "{index:#}");
    let report = items.iter().find(|item| item["name"] == "reports/weekly.md").expect("it is there");
    let sha256 = report["sha256"].as_str().expect("a digest");
    assert_eq!((report["bytes"].as_u64(), sha256.len()), (Some(9), 64));

    let path = "/v1/missions/factory/artifacts/reports/weekly.md";
    let whole = node.get(path).await.expect_status(200);
    assert_eq!(whole.text, "# Report\n");
    assert_eq!(whole.header("etag"), format!("\"{sha256}\""));
    let part = http::send(node.request("GET", path).header("range", "bytes=2-4")).await.expect("an answer");
    assert_eq!((part.status, part.text.as_str(), part.header("content-range")), (206, "Rep", "bytes 2-4/9"));
    let etag = whole.header("etag");
    for known in [etag.to_owned(), format!("W/{etag}"), format!("\"other\", W/{etag}"), "*".to_owned()] {
        let answer = http::send(node.request("GET", path).header("if-none-match", &known)).await.expect("an answer");
        assert_eq!((answer.status, answer.text.as_str()), (304, ""), "{known}");
    }
    let changed =
        http::send(node.request("GET", path).header("if-none-match", "W/\"other\"")).await.expect("an answer");
    assert_eq!(changed.status, 200);
    let json = node.get("/v1/missions/factory/artifacts/data.json").await.expect_status(200);
    assert!(json.header("content-type").starts_with("application/json"));
    assert_eq!(node.get("/v1/missions/factory/artifacts/absent").await.status, 404);
    assert_eq!(node.get("/v1/missions/factory/artifacts/..%2f..%2ftoken").await.status, 404);
}

#[tokio::test]
async fn pushback_uploads_before_the_final_event_and_repeats_what_fails() {
    let receiver =
        Receiver::scripted(|got, before| Reply::Status(if got.method == "PUT" && before < 4 { 503 } else { 200 }))
            .await;
    let node = Options::new().config(&receiver.config()).env("CALLBACK_TOKEN", "hush").start().await;
    let envelope = with(producing("push"), "/artifact_policy/storage_scope", json!("pushback"));
    node.accept(&with(envelope, "/callback", receiver.callback())).await;
    let received = receiver.until_final("push").await;
    let uploads: Vec<_> = received.iter().filter(|got| got.method == "PUT").collect();
    let last = uploads.last().expect("uploads");
    assert_eq!(last.path, "/events/artifacts/data.json");
    assert_eq!(&last.bytes[..], b"{\"ok\": true}");
    assert!(
        uploads.iter().any(|got| got.path == "/events/artifacts/reports/weekly.md" && &got.bytes[..] == b"# Report\n")
    );
    for upload in uploads {
        assert_eq!((upload.header("authorization"), upload.header("x-mission-id")), ("Bearer hush", "push"));
        assert_eq!(upload.header("x-trace-id"), "trace-push");
        assert!(!upload.header("idempotency-key").is_empty());
    }
    assert_eq!(
        received.last().map(|got| got.json["status"].clone()),
        Some(json!("completed")),
        "the final event is the last"
    );
    let told = &received.last().expect("a final event").json["detail"]["artifacts"];
    assert_eq!(node.mission("push").await["artifacts"], *told, "one place to say where an artifact is");
    assert_eq!(node.get("/v1/missions/push/artifacts").await.json["items"], *told);
}

/// Missions of one session work in one folder, and one that waits gives its turn to the next.
#[tokio::test]
async fn a_mission_gives_away_no_bytes_that_another_one_put_in_the_place_of_its_own() {
    let node = Node::start().await;
    let of_one_session = |id: &str, steps: Value, tools: Value| {
        let envelope = with(automation(id, &steps), "/vp_id", json!("vp.desk"));
        with(envelope, "/constraints", json!({"allowed_tools": tools}))
    };
    let ask = json!({"id": "q", "tool": "ask", "with": {"question": "Go on?"}, "needs": ["w"]});
    let putting = |mut step: Value| {
        step["artifact"] = json!({"name": "kept.md", "path": "report.md"});
        step
    };
    let required = |envelope: Value| with(envelope, "/artifact_policy/required_outputs", json!(["report.md"]));
    let (w, reads) = (write("w", "report.md", "mine"), json!(["Write", "Read"]));
    let edits = json!([w, ask, {"id": "e", "tool": "Edit", "needs": ["q"],
        "with": {"path": "report.md", "old": "e", "new": "e", "all": true}}]);
    for (id, envelope, reason, said) in [
        (
            "put",
            of_one_session("put", json!([w, putting(ask.clone())]), json!(["Write"])),
            "plugin_failed",
            "was changed",
        ),
        (
            "collect",
            required(of_one_session("collect", json!([w, ask]), json!(["Write"]))),
            "output_missing",
            "was changed",
        ),
        (
            "edit",
            required(of_one_session("edit", edits, json!(["Write", "Edit"]))),
            "output_missing",
            "only changed a part",
        ),
        ("read", required(of_one_session("read", json!([w, putting(ask.clone())]), reads)), "done", "kept.md"),
    ] {
        node.accept(&envelope).await;
        node.until_status(id, "blocked").await;
        let theirs =
            of_one_session(&format!("{id}-next"), json!([write("w", "report.md", "theirs")]), json!(["Write"]));
        assert_eq!(node.run(&theirs).await["status"], "completed");
        let answer = json!({"decision": "answer", "text": "yes"});
        node.post(&format!("/v1/missions/{id}/requests/r1"), &answer).await.expect_status(200);
        let end = node.until_final(id).await;
        assert_eq!(end["detail"]["reason"], reason, "{end:#}");
        assert!(end.to_string().contains(said), "{end:#}");
        assert_eq!(end["detail"]["artifacts"] == json!([]), reason != "done", "{end:#}");
    }
}
