//! SIGHUP: the configuration is read again, and missions know nothing of it.

use std::fs;

use rustix::process::Signal;
use serde_json::json;
use sortie_tests::envelope::writing;
use sortie_tests::{Node, Options, automation, http, until};

/// Whether a token opens the list of missions.
async fn opens(node: &Node, token: &str) -> bool {
    let request = http::client().get(format!("{}/v1/missions", node.url())).bearer_auth(token);
    http::send(request).await.expect("an answer").status == 200
}

#[tokio::test]
async fn a_token_that_is_taken_away_reads_no_further_event() {
    let config = "[[token]]\nname = \"ada\"\nref = \"env://TOKEN\"\nscopes = [\"read\"]\n";
    let token = "the-long-token-of-ada";
    let mut node = Options::new().config(config).env("TOKEN", token).start().await;
    node.run(&writing("before")).await;
    let mut streams = Vec::new();
    for token in [token, node.token()] {
        let request = http::client().get(format!("{}/v1/events", node.url())).bearer_auth(token);
        let stream = request.header("accept", "text/event-stream").send().await.expect("an answer");
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
    let [of_ada, own] = streams.as_mut_slice() else { panic!("two streams") };
    until_said(of_ada, "before").await.expect("it is said");
    node.reconfigure("");
    node.signal(Signal::HUP);
    until("the token is gone", async || (!opens(&node, token).await).then_some(())).await;
    node.run(&writing("after")).await;
    until_said(own, "after").await.expect("who is let in hears on");
    assert_eq!(until_said(of_ada, "after").await, None, "the stream has ended, and said nothing more");
}

/// Reads a stream until it says this; nothing, where it ends before.
async fn until_said(stream: &mut reqwest::Response, text: &str) -> Option<()> {
    let mut said = String::new();
    while !said.contains(text) {
        said.push_str(&String::from_utf8_lossy(&stream.chunk().await.expect("no error")?));
    }
    Some(())
}

#[tokio::test]
async fn tokens_come_and_go_without_a_restart_and_what_cannot_be_used_changes_nothing() {
    let mut node = Options::new().start().await;
    let file = node.folder().join("ada");
    fs::write(&file, "the-long-token-of-ada").expect("writable");
    let ada = format!("[[token]]\nname = \"ada\"\nref = \"file://{}\"\nscopes = [\"read\"]\n", file.display());
    let ask = json!([{"id": "q", "tool": "ask", "with": {"question": "A or B?"}}]);
    node.accept(&automation("asks", &ask)).await;
    node.until_status("asks", "blocked").await;

    node.reconfigure(&format!("{ada}[limits]\nrequest_expiry = \"2h\"\n"));
    node.signal(Signal::HUP);
    until("the token is taken", async || opens(&node, "the-long-token-of-ada").await.then_some(())).await;
    until("what waits is named", async || {
        let log = node.read_log();
        (log.contains("hold after a restart") && log.contains("limits")).then_some(())
    })
    .await;

    node.reconfigure("[limits]\nrequest_expiry = \"soon\"\n");
    node.signal(Signal::HUP);
    until("the mistake is told", async || node.read_log().contains("request_expiry").then_some(())).await;
    assert!(opens(&node, "the-long-token-of-ada").await, "it changes nothing");

    node.reconfigure(&ada);
    fs::write(&file, "another-long-token-of-ada").expect("writable");
    node.signal(Signal::HUP);
    until("the new one is taken", async || opens(&node, "another-long-token-of-ada").await.then_some(())).await;
    assert!(!opens(&node, "the-long-token-of-ada").await && opens(&node, node.token()).await);
    node.post("/v1/missions/asks/requests/r1", &json!({"decision": "answer", "text": "A"})).await.expect_status(200);
    assert_eq!(node.until_final("asks").await["status"], "completed");
}

/// A configuration with so much room in its one lane.
fn with_room(concurrency: u8, more: &str) -> String {
    format!("{more}[[lane]]\nid = \"only\"\nconcurrency = {concurrency}\n")
}

#[tokio::test]
async fn room_and_retention_change_without_a_restart() {
    let mut node = Options::new().config(&with_room(1, "")).start().await;
    for id in ["a", "b"] {
        let envelope = sortie_tests::envelope::with(sortie_tests::looping(id), "/vp_id", json!(format!("vp.{id}")));
        node.accept(&envelope).await;
    }
    node.until_status("a", "running").await;
    assert_eq!(node.mission("b").await["status"], "queued", "there is room for one");
    node.reconfigure(&with_room(2, ""));
    node.signal(Signal::HUP);
    node.until_status("b", "running").await;
    let lanes = node.get("/v1/node").await.expect_status(200).json["lanes"].clone();
    assert_eq!(lanes[0]["concurrency"], 2, "{lanes}");

    node.post("/v1/missions/a/cancel", &json!(null)).await.expect_status(202);
    node.until_final("a").await;
    node.reconfigure(&with_room(2, "[retention]\nage = \"1s\"\n"));
    node.signal(Signal::HUP);
    until("it is removed", async || (node.get("/v1/missions/a").await.status == 404).then_some(())).await;
    assert!(!node.read_log().contains("hold after a restart"));
    assert_eq!(node.mission("b").await["status"], "running");
}
