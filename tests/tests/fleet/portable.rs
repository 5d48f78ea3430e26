//! Workspaces that go with their sessions, from one node of a store to another.

use serde_json::{Value, json};
use sortie_tests::envelope::{automation, edit, with, write};
use sortie_tests::until;

use super::kit::{Fleet, ended_once};

/// A mission that writes, changes what it wrote, sleeps, changes it once more, and shows what is there then.
fn writing_on(id: &str) -> Value {
    let mut third = edit("three", "notes/a.txt", "second", "second and third");
    third["needs"] = json!(["s"]);
    let mut second = edit("two", "notes/a.txt", "first", "second");
    second["needs"] = json!(["one"]);
    let steps = json!([
        write("one", "notes/a.txt", "first"),
        second,
        {"id": "s", "needs": ["two"], "sleep": "3s"},
        third,
        {"id": "show", "needs": ["three"], "tool": "Read", "with": {"path": "notes/a.txt"},
            "artifact": {"name": "seen.txt", "content": "{{ steps.show.result.content }}"}},
    ]);
    automation(id, &steps)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_node_had_in_its_workspaces_goes_on_at_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let shared = format!("[artifact]\nshared = \"file://{}\"\n[workspace]\nportable = true\n", folder.path().display());
    let Some(mut fleet) = Fleet::start_with(&["a", "b"], &format!("lease = \"2s\"\n{shared}")).await else { return };
    let envelope = with(writing_on("m-1"), "/callback", fleet.receiver.callback());
    fleet.nodes[0].accept(&with(envelope, "/target_instance_id", json!("b"))).await;
    until("it has changed what it wrote", async || {
        let journal = fleet.nodes[0].get("/v1/missions/m-1/journal").await.json;
        let ended = journal["items"].as_array()?.iter().filter(|record| record["kind"] == "call_finished").count();
        (ended >= 2).then_some(())
    })
    .await;
    // The machine is lost, with its disk.
    fleet.nodes[1].kill();
    std::fs::remove_dir_all(fleet.nodes[1].data().join("workspaces")).expect("they were there");
    fleet.until_ended(&fleet.nodes[0], "m-1").await;
    ended_once(&fleet, "m-1").await;
    let seen = fleet.nodes[0].get("/v1/missions/m-1/artifacts/seen.txt").await.expect_status(200);
    assert_eq!(seen.text, "second and third");
    // The lost one comes back as one more. The session stays where it is, with its files; and goes back when that one is lost.
    fleet.restart(1).await;
    let session = fleet.nodes[1].mission("m-1").await["vp_session_id"].clone();
    let next = |id: &str, old: &str, new: &str| {
        let next = with(automation(id, &json!([edit("e", "notes/a.txt", old, new)])), "/vp_id", json!("vp.m-1"));
        with(with(next, "/vp_session_id", session.clone()), "/target_instance_id", json!("*"))
    };
    fleet.nodes[1].accept(&next("m-2", "third", "fourth")).await;
    fleet.until_ended(&fleet.nodes[1], "m-2").await;
    assert_eq!(fleet.nodes[1].mission("m-2").await["status"], "completed");
    fleet.nodes[0].kill();
    until("it is the other's", async || (fleet.nodes[1].get("/v1/missions/m-2").await.status == 200).then_some(()))
        .await;
    fleet.nodes[1].accept(&next("m-3", "fourth", "fifth")).await;
    fleet.until_ended(&fleet.nodes[1], "m-3").await;
    assert_eq!(fleet.nodes[1].mission("m-3").await["status"], "completed");
}
