//! What is kept of a mission, and for how long: retention.

use serde_json::json;
use sortie_tests::envelope::{with, write, writing};
use sortie_tests::{Options, Receiver, Reply, automation, http, until};

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
