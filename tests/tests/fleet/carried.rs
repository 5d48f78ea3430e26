//! Workspaces that go with their sessions, in a fleet: whoever goes on with what a killed node had has its files, and waits for those that are lost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sortie_tests::envelope::{automation, edit, with, write};
use sortie_tests::{Node, until};

use super::kit::Fleet;

/// A mission that writes a file, rests, and changes it.
fn changing(id: &str) -> Value {
    let mut change = edit("e", "notes/n.txt", "first", "second");
    change["needs"] = json!(["s"]);
    let steps = json!([write("w", "notes/n.txt", "first"), {"id": "s", "sleep": "2s", "needs": ["w"]}, change,
        {"id": "r", "needs": ["e"], "tool": "Read", "with": {"path": "notes/n.txt"},
            "milestone": "it reads {{ steps.r.result.content }}"}]);
    with(automation(id, &steps), "/target_instance_id", json!("b"))
}

/// The objects that the store has of a session's workspace.
fn objects(store: &Path, mission: &str, part: &str) -> Vec<PathBuf> {
    let sessions = std::fs::read_dir(store.join("workspaces")).expect("listed").flatten();
    let its = sessions.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains(mission));
    let part = std::fs::read_dir(its.expect("it was kept").join(part)).expect("listed");
    part.flatten().map(|entry| entry.path()).collect()
}

async fn held_back(node: &Node, id: &str) -> Value {
    until("it is held back", async || {
        let mission = node.mission(id).await;
        (mission["waits_for"]["what"] == "workspace_damaged").then_some(mission)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_on_has_the_files_of_the_one_that_died_and_waits_for_those_that_are_lost() {
    let store = tempfile::tempdir().expect("a folder");
    let lines = format!(
        "lease = \"2s\"\n[artifact]\nshared = \"file://{}\"\n[workspace]\nportable = true\n",
        store.path().display()
    );
    let Some(mut fleet) = Fleet::start_each(&[("a", &lines), ("b", &lines)]).await else { return };
    let ids = ["carried", "mended", "emptied"];
    for id in ids {
        fleet.nodes[0].accept(&changing(id)).await;
        until("it has written", async || {
            let journal = fleet.nodes[0].get(&format!("/v1/missions/{id}/journal")).await;
            journal.text.contains("call_finished").then_some(())
        })
        .await;
    }
    fleet.nodes[1].kill();
    // The machine is lost, and with it some of what it had kept.
    std::fs::remove_dir_all(fleet.nodes[1].data().join("workspaces")).expect("they were there");
    let aside = store.path().join("aside");
    let pack = objects(store.path(), "mended", "packs").remove(0);
    std::fs::rename(&pack, &aside).expect("moved");
    for list in objects(store.path(), "emptied", "log") {
        let bytes = std::fs::read(&list).expect("read");
        std::fs::write(&list, &bytes[..bytes.len() / 2]).expect("written");
    }

    let a = &fleet.nodes[0];
    until("the other goes on with them", async || (a.get("/v1/missions/carried").await.status == 200).then_some(()))
        .await;
    let end = a.until_final("carried").await;
    assert_eq!(end["status"], "completed", "{end:#}");
    let events = a.get("/v1/missions/carried/events").await.text;
    assert!(events.contains("it reads second"), "{events}");
    // What is lost is said with its object, and nothing goes on without it.
    for (id, object) in [("mended", pack.as_path()), ("emptied", Path::new("log/"))] {
        let held = held_back(a, id).await;
        let why = held["waits_for"]["why"].as_str().expect("why");
        assert!(why.contains(&*object.to_string_lossy()) && why.contains("empty folder"), "{id}: {why}");
        assert_eq!(held["status"], "running", "{id}: {held:#}");
    }
    // What is put back is gone on with; what is not, with an empty folder, once somebody says so.
    std::fs::rename(&aside, &pack).expect("moved back");
    a.post("/v1/missions/carried/workspace", &Value::Null).await.expect_problem(409, "refused");
    a.post("/v1/missions/emptied/workspace", &Value::Null).await.expect_status(200);
    let end = a.until_final("emptied").await;
    assert_eq!(end["status"], "failed", "what it changes is not there, and it says so: {end:#}");
    // It is looked at again half a minute after it was found missing, which is as long as is waited for anything here.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let end = a.until_final("mended").await;
    assert_eq!(end["status"], "completed", "{end:#}");
    let events = a.get("/v1/missions/mended/events").await.text;
    assert!(events.contains("it reads second"), "{events}");
}
