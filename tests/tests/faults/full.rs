//! A disk with not a byte free: the node starts on it, shows what there is, ends missions, and goes on when there is room.

use std::fs::File;
use std::io::Write as _;

use serde_json::{Value, json};
use sortie_tests::envelope::{automation, with, writing};
use sortie_tests::{Node, Options, looping, until};

/// What the node keeps free: small, so that the disk can be.
const CONFIG: &str = "[limits]\ndisk_reserve_mib = 32\n";

const DISK_BYTES: u64 = 128 << 20;

/// How many missions wait for people, each with an objective that its records and its head take room for.
const ASKING: usize = 60;

fn asking(id: &str) -> Value {
    let question = json!([{"id": "q", "tool": "ask", "with": {"question": "A or B?"}}]);
    with(automation(id, &question), "/objective", "x".repeat(20_000).into())
}

/// Takes all the room that is left.
fn fill(node: &Node) {
    let mut filler = File::create(node.data().join("filler")).expect("a writable folder");
    for size in [1 << 20, 4_096, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
}

/// Waits until the node has taken room aside again.
async fn holds(node: &Node) {
    let reserve = node.data().join("reserve");
    until("room is held", async || (reserve.metadata().ok()?.len() == 8 << 20).then_some(())).await;
}

#[tokio::test]
async fn a_node_starts_serves_reads_cancels_and_halts_on_a_disk_without_a_free_byte() {
    let mut node = Options::new().config(CONFIG).disk(DISK_BYTES).start().await;
    holds(&node).await;
    node.run(&writing("kept")).await;
    for number in 0..ASKING {
        node.accept(&asking(&format!("asks-{number}"))).await;
    }
    node.accept(&looping("running")).await;
    node.until_status("running", "running").await;
    for number in 0..ASKING {
        node.until_status(&format!("asks-{number}"), "blocked").await;
    }
    // As after kill -9, and as after a stop in order, again and again: a start must not use up what the next one needs.
    for round in 0..3 {
        if round % 2 == 0 {
            node.kill();
        } else {
            node.stop().await;
        }
        fill(&node);
        node.restart().await;
        node.dispatch(&writing("refused")).await.expect_problem(503, "disk_low");
        assert_eq!(node.mission("kept").await["status"], "completed");
        assert!(!node.events("running").await.is_empty());
        let one = format!("asks-{round}");
        let cancel = json!({"reason": "no room"});
        node.post(&format!("/v1/missions/{one}/cancel"), &cancel).await.expect_status(202);
        assert_eq!(node.until_final(&one).await["status"], "cancelled");
    }
    node.post("/v1/node/halt", &json!({"reason": "no room"})).await.expect_status(202);
    assert_eq!(node.until_final("running").await["status"], "cancelled");
    for number in 3..ASKING {
        assert_eq!(node.until_final(&format!("asks-{number}")).await["status"], "cancelled");
    }
    std::fs::remove_file(node.data().join("filler")).expect("it is there");
    holds(&node).await;
    assert_eq!(node.run(&writing("refused")).await["status"], "completed");
    assert!(!node.read_log().contains("panicked"));
}

#[tokio::test]
async fn what_ran_goes_on_when_there_is_room_again() {
    let mut node = Options::new().config(CONFIG).disk(DISK_BYTES).start().await;
    holds(&node).await;
    let steps = json!([
        {"id": "wait", "tool": "Read", "with": {"path": "go.txt"}, "retry": {"attempts": 100, "backoff": "200ms"}},
        {"id": "said", "tool": "Write", "needs": ["wait"], "with": {"path": "said.txt", "content": "gone on"}},
    ]);
    node.accept(&automation("waits", &steps)).await;
    node.until_status("waits", "running").await;
    node.kill();
    fill(&node);
    node.restart().await;
    assert_eq!(node.mission("waits").await["status"], "running");
    std::fs::remove_file(node.data().join("filler")).expect("it is there");
    sortie_tests::hand_over(&node, "vp.waits", "go.txt").await;
    assert_eq!(node.until_final("waits").await["status"], "completed");
}

#[tokio::test]
async fn a_log_that_takes_nothing_stops_nothing() {
    let mut node = Options::new().mute().start().await;
    node.run(&writing("one")).await;
    node.kill();
    node.restart().await;
    assert_eq!(node.run(&writing("two")).await["status"], "completed");
    assert!(node.stop().await.success());
}
