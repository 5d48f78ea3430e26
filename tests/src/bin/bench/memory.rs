//! Memory: of a node with nothing to do, and with many missions that wait; and how it comes back to them after a kill.

use std::time::{Duration, Instant};

use sortie_tests::{Node, Options};

use crate::client::{Load, asking, metric, mib, ms_since, quiet_node, waiting};
use crate::lists::pages;
use crate::report::{Report, Unit};
use crate::sizes::Sizes;

/// A node that was just started.
pub(crate) async fn idle(report: &Report) {
    let node = Node::start().await;
    report.figure("resident memory", mib(node.resident_bytes()), Unit::MiB);
}

/// Memory with many queued missions, and the restart with them after a kill.
pub(crate) async fn queued(sizes: &Sizes, report: &Report) {
    let mut node = quiet_node().await;
    let before = mib(node.resident_bytes());
    Load::count(waiting().to_string(), sizes.queued).run(&node, 64).await;
    report.beside(&format!("resident memory, {} queued", sizes.queued), mib(node.resident_bytes()), Unit::MiB, before);
    node.kill();
    let begun = Instant::now();
    node.restart().await;
    report.figure("kill -9 to ready", ms_since(begun), Unit::Ms);
    report.figure("resident memory after it", mib(node.resident_bytes()), Unit::MiB);
    assert_eq!(metric(&node, "sortie_missions_queued").await, sizes.queued, "none was lost");
}

/// A node with so many missions that wait for an answer, out of memory, and what it took before.
async fn asks(missions: u64) -> (Node, f64) {
    let node = Options::new().config("[node]\nmax_running = 256").env("RUST_LOG", "warn").start().await;
    let before = mib(node.resident_bytes());
    Load::count(asking().to_string(), missions).run(&node, 64).await;
    let begun = Instant::now();
    while metric(&node, "sortie_missions_suspended").await < missions {
        assert!(begun.elapsed() < Duration::from_secs(600), "they do not leave the memory");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    (node, before)
}

/// Memory with many missions that wait for an answer, the lists of them, and the restart with them and many more on their way.
pub(crate) async fn blocked(sizes: &Sizes, report: &Report) {
    let (few, _) = asks(sizes.listed_small.min(sizes.blocked)).await;
    let (mut node, before) = asks(sizes.blocked).await;
    // What was let go of goes back to the system with a delay.
    tokio::time::sleep(Duration::from_secs(5)).await;
    report.beside(
        &format!("resident memory, {} blocked", sizes.blocked),
        mib(node.resident_bytes()),
        Unit::MiB,
        before,
    );
    for path in ["/v1/requests", "/v1/missions?status=blocked&limit=50"] {
        let (small, large) = pages(&few, &node, path).await;
        report.beside(&format!("{path} of {}", sizes.blocked), large, Unit::Ms, small);
    }
    let body = sortie_tests::looping("{n}").to_string();
    Load::count(body, sizes.going).run(&node, 64).await;
    node.kill();
    let begun = Instant::now();
    node.restart().await;
    let case = format!("kill -9 to ready, {} blocked and {} on their way", sizes.blocked, sizes.going);
    report.figure(&case, ms_since(begun), Unit::Ms);
}
