//! A disk that is full, or read-only: the node stops and says so, and nothing that it acknowledged is lost.

use std::time::{Duration, Instant};

use serde_json::json;
use sortie_tests::envelope::{automation, in_ms, with, writing};
use sortie_tests::node::QUICK;
use sortie_tests::{Disk, Load, Node, Options, http, looping, until};

/// What a node says of each disk.
const ILL: [(Disk, &str); 2] = [(Disk::Full, "the disk is full"), (Disk::ReadOnly, "the disk is read-only")];

/// How often the disk fails under load.
const FAILURES: u64 = 3;

/// Waits until the node has ended over its disk, and sees that it says so.
async fn gave_up(node: &mut Node, says: &str) {
    let ended = node.ended().await;
    let log = node.read_log();
    let last = &log[log.rfind("sortie: the journal failed").unwrap_or_else(|| panic!("{ended}: {log}"))..];
    assert_eq!(ended.code(), Some(6), "{last}");
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

#[tokio::test]
async fn missions_that_outrun_a_stuck_disk_wait_for_it_and_go_on() {
    // Each call leaves three records, which nothing waits for: more than the journal's queue holds.
    let items: Vec<u32> = (0..1_000).collect();
    let calls = json!([{"id": "g", "tool": "Glob", "with": {"pattern": "*"}, "for_each": items, "concurrency": 1}]);
    let fast: Vec<String> = (0..8).map(|number| format!("fast-{number}")).collect();
    let node = Options::new().faulty().start().await;
    for id in &fast {
        node.accept(&with(automation(id, &calls), "/autonomy_window/start_at", in_ms(1_500).into())).await;
    }
    node.faults().set_disk(Disk::Stuck);
    // Dispatches are refused when half of the queue is full; until then they wait for the disk.
    let mut refused = None;
    for number in 0..300 {
        let envelope = writing(&format!("early-{number}")).to_string();
        let dispatch = node.request("POST", "/v1/missions").header("content-type", "application/json").body(envelope);
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(200), http::send(dispatch)).await {
            refused = Some(answer.expect("an answer"));
            break;
        }
    }
    refused.expect("the queue fills").expect_problem(503, "overloaded");
    // Until it is full.
    tokio::time::sleep(QUICK).await;
    node.faults().set_disk(Disk::Well);
    for id in &fast {
        assert_eq!(node.until_final(id).await["status"], "completed");
    }
}

#[tokio::test]
async fn a_decision_is_carried_out_though_its_sender_has_hung_up() {
    let node = Options::new().faulty().start().await;
    let question = json!([{"id": "q", "tool": "ask", "with": {"question": "A or B?"}}]);
    node.accept(&automation("asks", &question)).await;
    let suspended = async || {
        let journal = node.get("/v1/missions/asks/journal").await.json;
        journal["items"].as_array()?.iter().any(|record| record["kind"] == "suspended").then_some(())
    };
    until("it is out of memory", suspended).await;
    node.faults().set_disk(Disk::Stuck);
    let decide = node.request("POST", "/v1/missions/asks/requests/r1").header("content-type", "application/json");
    let answer = json!({"decision": "answer", "text": "A"}).to_string();
    let sent = tokio::time::timeout(Duration::from_millis(500), http::send(decide.body(answer))).await;
    assert!(sent.is_err(), "it waits for the disk");
    // Its connection is closed by now, and the node sees it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    node.faults().set_disk(Disk::Well);
    assert_eq!(node.until_final("asks").await["status"], "completed");
}
