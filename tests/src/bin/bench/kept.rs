//! A node that keeps a million missions: what it costs to dispatch to it, to list and to start it, beside one that keeps a hundred.

use std::time::Instant;

use serde_json::json;
use sortie_tests::Node;
use sortie_tests::envelope::with;

use crate::client::{mib, ms_since, quiet_node, trivial, waiting};
use crate::crowd::in_turns;
use crate::journal;
use crate::lists::pages;
use crate::report::{Report, Unit};
use crate::sizes::Sizes;

/// A node that was stopped after one mission, and whose journal was filled with so many copies of it.
async fn filled(missions: u64) -> Node {
    let mut node = quiet_node().await;
    node.run(&with(trivial(), "/mission_id", json!("kept"))).await;
    node.stop().await;
    journal::multiply(&node.data().join("journal.redb"), missions);
    node
}

pub(crate) async fn kept(sizes: &Sizes, report: &Report) {
    let mut small = filled(sizes.kept_small).await;
    let begun = Instant::now();
    let mut large = filled(sizes.kept).await;
    report.figure(&format!("filling a journal with {} missions", sizes.kept), ms_since(begun), Unit::Ms);
    let begun = Instant::now();
    small.restart().await;
    let few = ms_since(begun);
    let begun = Instant::now();
    large.restart().await;
    report.beside(&format!("start to ready with {} kept", sizes.kept), ms_since(begun), Unit::Ms, few);
    let (before, after) = (mib(small.resident_bytes()), mib(large.resident_bytes()));
    report.beside(&format!("resident memory with {} kept", sizes.kept), after, Unit::MiB, before);
    let (fresh, rate) = in_turns(sizes, (&small, &waiting()), (&large, &waiting())).await;
    report.beside(&format!("dispatches with {} kept", sizes.kept), rate, Unit::PerSecond, fresh);
    for path in ["/v1/missions?limit=50", "/v1/missions?status=queued&limit=50", "/v1/events?limit=50"] {
        let (few, many) = pages(&small, &large, path).await;
        report.beside(&format!("{path} with {} kept", sizes.kept), many, Unit::Ms, few);
    }
}
