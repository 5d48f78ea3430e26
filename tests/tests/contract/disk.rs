//! The disk of a node: what missions may take of it, what is kept for the journal, and who can read it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use sortie_tests::envelope::{automation, edit, with, write, writing};
use sortie_tests::{Node, Options, looping};

/// A configuration under which any disk is nearly full.
const FULL: &str = "[limits]\ndisk_reserve_mib = 1000000000\n";

#[tokio::test]
async fn a_node_on_a_full_disk_takes_nothing_and_serves_reads_and_cancels() {
    let mut node = Node::start().await;
    node.run(&writing("before")).await;
    node.accept(&looping("running")).await;
    node.until_status("running", "running").await;
    node.stop().await;
    node.reconfigure(FULL);
    node.restart().await;
    let refused = node.dispatch(&writing("refused")).await;
    refused.expect_problem(503, "disk_low");
    assert!(!refused.header("retry-after").is_empty(), "{refused:#?}");
    // What was accepted before is answered as before.
    assert_eq!(node.dispatch(&writing("before")).await.expect_status(200).json["status"], "completed");
    assert_eq!(node.mission("before").await["status"], "completed");
    assert!(!node.events("before").await.is_empty());
    assert_eq!(node.get("/v1/node").await.json["disk"]["low"], true);
    let doctor = node.cli(&["doctor"]).await;
    let says = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(!doctor.status.success() && says.contains("takes no missions"), "{says}");
    node.until_status("running", "running").await;
    node.post("/v1/missions/running/cancel", &json!({"reason": "no room"})).await.expect_status(202);
    assert_eq!(node.mission("running").await["status"], "cancelled");
    assert!(node.read_log().contains("the disk is nearly full"));
    node.stop().await;
    node.reconfigure("");
    node.restart().await;
    assert_eq!(node.run(&writing("refused")).await["status"], "completed");
}

/// A mission that stores a file of 300 kB again and again, with another letter each time.
fn hoarding(id: &str, artifacts: usize, name: impl Fn(usize) -> String) -> Value {
    let mut steps = vec![write("w0", "f.txt", &format!("0{}", "x".repeat(300_000)))];
    for number in 1..=artifacts {
        let mut step = edit(&format!("w{number}"), "f.txt", &format!("{}x", number - 1), &format!("{number}x"));
        step["needs"] = json!([format!("w{}", number - 1)]);
        step["artifact"] = json!({"name": name(number), "path": "f.txt"});
        steps.push(step);
    }
    automation(id, &json!(steps))
}

#[tokio::test]
async fn the_artifacts_of_a_mission_take_so_much_and_no_more() {
    let node = Options::new().config("[limits]\nmission_artifacts_mib = 1\n").start().await;
    assert_eq!(node.run(&hoarding("fits", 3, |number| format!("a{number}.txt"))).await["status"], "completed");
    for (id, same_name) in [("many", false), ("replaced", true)] {
        let name = |number| if same_name { "a.txt".to_owned() } else { format!("a{number}.txt") };
        let last = node.run(&hoarding(id, 4, name)).await;
        assert_eq!(last["status"], "failed", "{last:#}");
        assert!(last.to_string().contains("mission_artifacts_mib"), "{last:#}");
    }
    let bytes = size(&node.data().join("artifacts"));
    assert!(bytes <= 3 << 20, "{bytes}");
}

/// A mission that doubles a file again and again: a small envelope, and large files.
fn doubling(id: &str, times: usize) -> Value {
    let mut steps = vec![write("w0", "f.txt", &"a".repeat(1_000))];
    for number in 1..=times {
        let mut step = edit(&format!("w{number}"), "f.txt", "a", "aa");
        step["with"]["all"] = true.into();
        step["needs"] = json!([format!("w{}", number - 1)]);
        steps.push(step);
    }
    automation(id, &json!(steps))
}

#[tokio::test]
async fn a_workspace_takes_so_much_and_no_more() {
    let mut node = Options::new().config("[limits]\nworkspace_mib = 1\nworkspace_files = 6\n").start().await;
    let refused = async |node: &Node, envelope: Value, key: &str| {
        let last = node.run(&envelope).await;
        assert_eq!(last["status"], "failed", "{last:#}");
        assert!(last.to_string().contains(key), "{last:#}");
        let bytes = size(&node.data().join("workspaces"));
        assert!(bytes <= 1 << 20, "{bytes}");
    };
    refused(&node, doubling("doubles", 12), "limits.workspace_mib").await;
    // Its successor in the session is bound by what lies there, after a restart as well; a file may be replaced.
    let next = |id: &str, steps: Value| with(automation(id, &steps), "/vp_id", "vp.doubles".into());
    let more = || json!([write("w", "g.txt", &"b".repeat(900_000))]);
    refused(&node, next("more", more()), "limits.workspace_mib").await;
    node.kill();
    node.restart().await;
    refused(&node, next("more-yet", more()), "limits.workspace_mib").await;
    let replaced = json!([write("w", "f.txt", &"b".repeat(900_000))]);
    assert_eq!(node.run(&next("replaces", replaced)).await["status"], "completed");
    // A folder is a place of the file system, too.
    let many = json!([write("w", "a/b/c/d/e.txt", "x")]);
    assert_eq!(node.run(&next("fits", many)).await["status"], "completed");
    refused(&node, next("many", json!([write("w", "one-too-many.txt", "x")])), "limits.workspace_files").await;
}

#[tokio::test]
async fn workspaces_and_artifacts_share_the_room_of_the_node() {
    let mut node = Options::new().config("[limits]\nfiles_mib = 1\n").start().await;
    assert_eq!(node.run(&hoarding("first", 1, |_| "a.txt".to_owned())).await["status"], "completed");
    for restarted in [false, true] {
        if restarted {
            node.kill();
            node.restart().await;
            // What lay there before is counted in the background.
            sortie_tests::until("it is counted", async || {
                let disk = node.get("/metrics").await.text;
                let line = disk.lines().find_map(|line| line.strip_prefix("sortie_files_bytes "))?;
                (line.parse::<u64>().ok()? >= 600_000).then_some(())
            })
            .await;
        }
        let last = node
            .run(&automation(&format!("more-{restarted}"), &json!([write("w", "f.txt", &"y".repeat(600_000))])))
            .await;
        assert_eq!(last["status"], "failed", "{last:#}");
        assert!(last.to_string().contains("limits.files_mib"), "{last:#}");
    }
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path());
    entries.map(|path| if path.is_dir() { size(&path) } else { path.metadata().expect("there").len() }).sum()
}

#[tokio::test]
async fn the_data_folder_is_for_its_owner_alone() {
    let mut node = Node::start().await;
    node.run(&hoarding("m", 1, |_| "a.txt".to_owned())).await;
    let loose = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o077 != 0;
    let data = node.data();
    let readable = |node: &Node| {
        let mut all = vec![node.data()];
        let mut found = Vec::new();
        while let Some(path) = all.pop() {
            if loose(&path) {
                found.push(path.clone());
            }
            if path.is_dir() && !path.ends_with("plugins") {
                all.extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("readable").path()));
            }
        }
        found
    };
    assert_eq!(readable(&node), [""; 0].map(std::path::PathBuf::from));
    node.stop().await;
    for name in ["", "journal.redb", "workspaces", "artifacts"] {
        let path = data.join(name);
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("loosened");
    }
    node.restart().await;
    assert_eq!(readable(&node), [""; 0].map(std::path::PathBuf::from));
    assert!(node.read_log().contains("others could read missions"));
}
