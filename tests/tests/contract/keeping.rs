//! What is kept of a mission, and what can be made of it: replay, retention.

use serde_json::json;
use sortie_tests::envelope::{with, without, write, writing};
use sortie_tests::{Node, Options, Receiver, Reply, automation, http, until};

#[tokio::test]
async fn a_replay_shows_each_call_and_does_nothing() {
    let node = Node::start().await;
    let mut step = write("w", "note.txt", "written");
    step["milestone"] = json!("wrote it");
    step["artifact"] = json!("note.txt");
    node.run(&automation("last-night", &json!([step]))).await;
    let before = node.get("/v1/missions/last-night/journal").await.json;
    let replayed = node.cli(&["replay", "last-night"]).await;
    let said = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(replayed.status.success(), "{said}{}", String::from_utf8_lossy(&replayed.stderr));
    for expected in
        ["call of `Write`", "note.txt", "wrote it", "storing the artifact", "done: w", "recorded: completed"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(node.get("/v1/missions/last-night/journal").await.json, before, "nothing was recorded");
}

#[tokio::test]
async fn another_build_of_the_plugin_shows_the_first_difference() {
    let node = Node::start().await;
    node.run(&writing("last-night")).await;
    let hello = without(writing("other"), "inputs");
    let hello = with(with(hello, "/mission_type", json!("custom")), "/plugin", json!("hello"));
    node.run(&hello).await;
    let component = node.request("GET", "/v1/missions/other/plugin").send().await.expect("an answer");
    let file = node.folder().join("other.wasm");
    std::fs::write(&file, component.bytes().await.expect("a component")).expect("a writable folder");
    let replayed = node.cli(&["replay", "last-night", "--plugin", &file.to_string_lossy()]).await;
    let said = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert_eq!(replayed.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&replayed.stderr));
    assert!(said.contains("another way") && said.contains("`Write`") && said.contains("the end of its run"), "{said}");
}

#[tokio::test]
async fn what_is_over_is_removed_after_its_age_and_not_before_it_is_delivered() {
    let receiver =
        Receiver::scripted(|delivery, _| Reply::Status(if delivery.mission() == "undelivered" { 503 } else { 200 }))
            .await;
    let config = format!("{}\n[retention]\nage = \"1s\"", receiver.config());
    let node = Options::new().config(&config).env("CALLBACK_TOKEN", "hush").start().await;
    for id in ["delivered", "undelivered"] {
        let mut step = write("w", "note.txt", "written");
        step["artifact"] = json!("note.txt");
        node.run(&with(automation(id, &json!([step])), "/callback", receiver.callback())).await;
    }
    until("the delivered one is removed", async || {
        let answer = http::send(node.request("GET", "/v1/missions/delivered")).await.ok()?;
        (answer.status == 404).then_some(())
    })
    .await;
    let artifacts = || std::fs::read_dir(node.data().join("artifacts")).expect("artifacts").count();
    assert_eq!(artifacts(), 1, "its artifacts are gone");
    assert_eq!(node.mission("undelivered").await["status"], "completed");
    // Its id and its key are free again, and the node's stream of events goes on.
    node.accept(&writing("delivered")).await;
    node.until_final("delivered").await;
    node.get("/v1/events?limit=500").await.expect_status(200);
    receiver.rescript(|_, _| Reply::Status(200));
    receiver.until_final("undelivered").await;
    until("the other one is removed, too", async || {
        let answer = http::send(node.request("GET", "/v1/missions/undelivered")).await.ok()?;
        (answer.status == 404).then_some(())
    })
    .await;
}
