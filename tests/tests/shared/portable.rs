//! Workspaces that go with their sessions: a node that has nothing of a workspace on its disk goes on with what calls on record left in it.

use std::path::Path;

use serde_json::{Value, json};
use sortie_tests::envelope::{automation, edit, write};
use sortie_tests::{Node, hand_over, until};

use crate::bucket::{Bucket, Weather};
use crate::options;

/// A mission that writes, changes what it wrote, waits for a file, and shows what is there then.
fn waiting(id: &str) -> Value {
    let steps = json!([
        write("one", "notes/a.txt", "first"),
        {"id": "two", "needs": ["one"], "tool": "Edit", "with": {"path": "notes/a.txt", "old": "first", "new": "second"}},
        {"id": "wait", "needs": ["two"], "tool": "Read", "with": {"path": "go.txt"}, "retry": {"attempts": 100, "backoff": "100ms"}},
        edit("three", "notes/a.txt", "second", "second and third"),
        {"id": "show", "needs": ["three"], "tool": "Read", "with": {"path": "notes/a.txt"},
            "artifact": {"name": "seen.txt", "content": "{{ steps.show.result.content }}"}},
    ]);
    let mut mission = automation(id, &steps);
    mission["inputs"]["steps"][3]["needs"] = json!(["wait"]);
    mission
}

/// Ends a node as a machine that is lost: nothing of its workspaces is left.
fn lose(node: &mut Node) {
    node.kill();
    std::fs::remove_dir_all(node.data().join("workspaces")).expect("they were there");
}

/// Waits until the mission has asked for the file that it waits for.
async fn until_it_waits(node: &Node, id: &str) {
    until("it to wait", async || {
        let journal = node.get(&format!("/v1/missions/{id}/journal")).await.json;
        let records = journal["items"].as_array()?;
        records
            .iter()
            .any(|record| record["kind"] == "call_started" && record["body"].to_string().contains("go.txt"))
            .then_some(())
    })
    .await;
}

async fn goes_on_elsewhere(config: &str) {
    let config = format!("{config}[workspace]\nportable = true\n");
    let mut node = options(&config).start().await;
    node.accept(&waiting("session")).await;
    until_it_waits(&node, "session").await;
    for _ in 0..2 {
        lose(&mut node);
        node.restart().await;
    }
    until("its workspace", async || {
        let workspaces = std::fs::read_dir(node.data().join("workspaces")).ok()?.flatten();
        let mut notes = workspaces.filter_map(|entry| std::fs::read_to_string(entry.path().join("notes/a.txt")).ok());
        notes.any(|text| text == "second").then_some(())
    })
    .await;
    hand_over(&node, "vp.session", "go.txt").await;
    let last = node.until_final("session").await;
    assert_eq!(last["status"], "completed", "{last:#}");
    let seen = node.get("/v1/missions/session/artifacts/seen.txt").await.expect_status(200);
    assert_eq!(seen.text, "second and third");
    // The next mission of the session, on a machine that has nothing of it.
    lose(&mut node);
    node.restart().await;
    let mut next = automation("next", &json!([edit("e", "notes/a.txt", "third", "fourth")]));
    next["vp_id"] = json!("vp.session");
    next["vp_session_id"] = node.mission("session").await["vp_session_id"].clone();
    assert_eq!(node.run(&next).await["status"], "completed");
}

#[tokio::test]
async fn a_session_goes_on_where_nothing_of_its_workspace_is() {
    let folder = tempfile::tempdir().expect("a folder");
    goes_on_elsewhere(&format!("[artifact]\nshared = \"file://{}\"\n", folder.path().display())).await;
}

#[tokio::test]
async fn a_bucket_does_as_well() {
    let Some(bucket) = Bucket::start().await else { return };
    goes_on_elsewhere(&bucket.config(None)).await;
}

#[tokio::test]
async fn no_record_says_what_a_call_came_to_before_what_it_left_is_kept() {
    let Some(bucket) = Bucket::start().await else { return };
    let way = bucket.way().await;
    let config = format!("{}[workspace]\nportable = true\n", bucket.config(Some(&way)));
    let mut node = options(&config).start().await;
    // The workspace is fetched, which tells that there is none; from then on the store is away.
    node.accept(&waiting("held")).await;
    until_it_waits(&node, "held").await;
    way.turn(Weather::Busy);
    hand_over(&node, "vp.held", "go.txt").await;
    let file = |node: &Node| file_of(node.data().as_path());
    until("it to be written here", async || (file(&node).as_deref() == Some("second and third")).then_some(())).await;
    until("it to be tried", async || (way.met() > 3).then_some(())).await;
    let journal = node.get("/v1/missions/held/journal").await.json;
    let records = journal["items"].as_array().expect("records");
    let is_its = |record: &&Value| record["body"]["arguments"].as_str().is_some_and(|text| text.contains("and third"));
    let begun = records.iter().find(|record| record["kind"] == "call_started" && is_its(record)).expect("it has begun");
    let call = &begun["body"]["call"];
    let ended = |record: &Value| record["kind"] == "call_finished" && &record["body"]["call"] == call;
    assert!(!records.iter().any(ended), "{journal:#}");
    // What is lost with the machine is a call that nobody knows the end of: people are asked.
    lose(&mut node);
    way.turn(Weather::Fair);
    node.restart().await;
    node.until_status("held", "blocked").await;
    let requests = node.get("/v1/requests").await.json;
    assert_eq!(requests["items"][0]["kind"], "uncertain", "{requests:#}");
    let id = requests["items"][0]["request_id"].as_str().expect("an id").to_owned();
    node.post(&format!("/v1/missions/held/requests/{id}"), &json!({"decision": "repeat"})).await.expect_status(200);
    assert_eq!(node.until_final("held").await["status"], "completed");
    let seen = node.get("/v1/missions/held/artifacts/seen.txt").await.expect_status(200);
    assert_eq!(seen.text, "second and third", "once, and not twice");
}

fn file_of(data: &Path) -> Option<String> {
    let workspaces = std::fs::read_dir(data.join("workspaces")).ok()?.flatten();
    workspaces.filter_map(|entry| std::fs::read_to_string(entry.path().join("notes/a.txt")).ok()).next()
}
