//! Uploads that a node could not do before it died: whoever goes on with them says where the bytes are, and sends them once they are brought.

use std::path::Path;

use serde_json::{Value, json};
use sortie_tests::envelope::{automation, with, write};
use sortie_tests::{Reply, until};

use super::kit::Fleet;

/// The folder that a node has of the artifacts of its only mission, below its data directory.
fn folder_of(data: &Path) -> String {
    let mut folders = std::fs::read_dir(data.join("artifacts")).expect("listed").flatten();
    let number = folders.next().expect("it has stored some").file_name().into_string().expect("a number");
    assert!(folders.next().is_none(), "of one mission");
    format!("artifacts/{number}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_bytes_are_with_the_node_that_died_says_so_and_goes_once_they_are_brought() {
    let Some(mut fleet) = Fleet::start(&["a", "b"]).await else { return };
    fleet.receiver.rescript(|got, _| Reply::Status(if got.method == "PUT" { 503 } else { 200 }));
    let mut step = write("w", "page.md", "So it is.");
    step["artifact"] = json!({"name": "page.md", "content": "So it is."});
    let pushed = with(automation("m-1", &json!([step])), "/artifact_policy/storage_scope", json!("pushback"));
    let pushed = with(with(pushed, "/callback", fleet.receiver.callback()), "/target_instance_id", json!("b"));
    fleet.nodes[0].accept(&pushed).await;
    fleet.receiver.until("m-1", |got| got.method == "PUT").await;
    fleet.nodes[1].kill();

    let a = &fleet.nodes[0];
    let item = until("it is parked", async || {
        let listed = a.get("/v1/deliveries?state=parked").await;
        listed.json["items"].as_array()?.iter().find(|item| item["mission_id"] == "m-1").cloned()
    })
    .await;
    let (from, folder) = (fleet.nodes[1].data(), folder_of(&fleet.nodes[1].data()));
    let (quoted, why) = (format!("`{folder}`"), item["error"].as_str().expect("why"));
    let elsewhere = "its bytes are on the disk of the node that had this mission before";
    for part in ["page.md", elsewhere, quoted.as_str(), "`sortie redeliver m-1`"] {
        assert!(why.contains(part), "{part}: {why}");
    }
    // Whoever asks for it is told the same.
    let asked = a.get("/v1/missions/m-1/artifacts/page.md").await;
    asked.expect_problem(503, "artifact_elsewhere");
    let detail = asked.json["detail"].as_str().expect("detail");
    assert!(detail.contains(elsewhere) && detail.contains(&quoted), "{detail}");

    std::fs::create_dir_all(a.data().join(&folder)).expect("made");
    for file in std::fs::read_dir(from.join(&folder)).expect("listed").flatten() {
        std::fs::copy(file.path(), a.data().join(&folder).join(file.file_name())).expect("copied");
    }
    fleet.receiver.rescript(|_, _| Reply::Status(200));
    let done = a.post("/v1/deliveries/m-1/redeliver", &Value::Null).await;
    assert!((200..300).contains(&done.status), "{done:#?}");
    fleet.receiver.until_final("m-1").await;
    assert_eq!(a.get("/v1/missions/m-1/artifacts/page.md").await.status, 200);
}
