//! A disk that is full, or read-only: the node stops and says so, and nothing that it acknowledged is lost.

use std::time::{Duration, Instant};

use serde_json::json;
use sortie_tests::envelope::writing;
use sortie_tests::node::QUICK;
use sortie_tests::{Disk, Load, Node, Options, http, looping};

/// What a node says of each disk.
const ILL: [(Disk, &str); 2] = [(Disk::Full, "the disk is full"), (Disk::ReadOnly, "the disk is read-only")];

/// How often the disk fails under load.
const FAILURES: u64 = 3;

/// Waits until the node has ended over its disk, and sees that it says so.
async fn gave_up(node: &mut Node, says: &str) {
    let ended = node.ended().await;
    let log = node.read_log();
    let last = &log[log.rfind("sortie: the journal failed").unwrap_or_else(|| panic!("{ended}: {log}"))..];
    assert_eq!(ended.code(), Some(1), "{last}");
    assert!(last.contains(says) && last.contains("restart sortie"), "{last}");
    assert!(!log.contains("panicked"), "{log}");
}

/// Sees that the node does not start on such a disk, and says where it must be mended.
async fn does_not_start(node: &mut Node, says: &str) {
    let data = node.data();
    let said = node.refused().await;
    assert!(said.contains(&*data.to_string_lossy()) && said.contains(says), "{said}");
    assert!(!said.contains("damaged") && !said.contains("backup"), "nothing is wrong with the journal: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_under_load_stops_the_node_and_loses_nothing() {
    for (disk, says) in ILL {
        let mut load = Load::new().await;
        let mut node = load.node(Options::new().faulty()).await;
        for failure in 0..FAILURES {
            // Each a little later in the missions' lives.
            load.press(&node, Duration::from_millis(100 + 200 * failure)).await;
            node.faults().set_disk(disk);
            load.press(&node, Duration::from_millis(300)).await;
            gave_up(&mut node, says).await;
            does_not_start(&mut node, "disk").await;
            node.faults().set_disk(Disk::Well);
            node.restart().await;
        }
        load.finish(&node).await;
    }
}

#[tokio::test]
async fn what_an_ill_disk_cannot_take_is_not_acknowledged() {
    for (disk, says) in ILL {
        let mut node = Options::new().faulty().start().await;
        node.run(&writing("before")).await;
        node.faults().set_disk(disk);
        let dispatch = node.request("POST", "/v1/missions").header("content-type", "application/json");
        let answer = http::send(dispatch.body(writing("refused").to_string())).await;
        // It may be gone before it answers.
        if let Ok(answer) = answer {
            answer.expect_problem(503, "journal_failed");
        }
        gave_up(&mut node, says).await;
        node.faults().set_disk(Disk::Well);
        node.restart().await;
        assert_eq!(node.mission("before").await["status"], "completed");
        assert_eq!(node.get("/v1/missions/refused").await.status, 404);
        assert_eq!(node.run(&writing("refused")).await["status"], "completed");
    }
}

#[tokio::test]
async fn a_node_does_not_start_on_an_ill_disk_and_says_what_to_do() {
    for (disk, _) in ILL {
        // As after kill -9, and as after a stop in order.
        for killed in [true, false] {
            let mut node = Options::new().faulty().start().await;
            node.run(&writing("kept")).await;
            if killed {
                node.kill();
            } else {
                node.stop().await;
            }
            let journal = std::fs::read(node.data().join("journal.redb")).expect("a journal");
            node.faults().set_disk(disk);
            does_not_start(&mut node, "disk").await;
            let after = std::fs::read(node.data().join("journal.redb")).expect("a journal");
            assert!(journal == after, "{disk:?}: the journal was touched");
            node.faults().set_disk(Disk::Well);
            node.restart().await;
            assert_eq!(node.mission("kept").await["status"], "completed");
        }
    }
}

#[tokio::test]
async fn a_first_start_on_an_ill_disk_leaves_nothing_that_keeps_the_next_from_working() {
    for (disk, _) in ILL {
        let mut node = Options::new().faulty().start().await;
        node.stop().await;
        for entry in ["journal.redb", "journal.redb.mark", "token"] {
            std::fs::remove_file(node.data().join(entry)).expect("it was there");
        }
        node.faults().set_disk(disk);
        does_not_start(&mut node, "disk").await;
        node.faults().set_disk(Disk::Well);
        node.restart().await;
        assert_eq!(node.run(&writing("first")).await["status"], "completed");
    }
}

#[tokio::test]
async fn a_node_that_is_stopped_on_an_ill_disk_ends_and_loses_nothing() {
    for (disk, _) in ILL {
        let mut node = Options::new().faulty().start().await;
        node.run(&writing("kept")).await;
        node.accept(&looping("running")).await;
        node.until_status("running", "running").await;
        node.faults().set_disk(disk);
        let begun = Instant::now();
        node.stop().await;
        assert!(begun.elapsed() < 3 * QUICK, "{:?}", begun.elapsed());
        node.faults().set_disk(Disk::Well);
        node.restart().await;
        assert_eq!(node.mission("kept").await["status"], "completed");
        node.until_status("running", "running").await;
        node.post("/v1/missions/running/cancel", &json!({"reason": "seen enough"})).await.expect_status(202);
    }
}
