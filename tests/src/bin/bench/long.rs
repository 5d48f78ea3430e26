//! One mission with a long record: its pages, places of its slider, and a fork of it, beside one with a short record.

use std::time::Instant;

use serde_json::json;
use sortie_tests::{Node, http};

use crate::client::{completed, many_calls, ms_since, quiet_node};
use crate::pages::Viewer;
use crate::report::{Report, Unit, middle};
use crate::sizes::Sizes;

/// Where a page is of a mission that has so many records.
type Path = fn(u64) -> String;

/// How often each page is asked for behind the first time.
const TIMES: usize = 15;

/// Each page of such a mission, when it is looked at first and when it is looked at again; then a fork in the middle of it.
pub(crate) async fn long(sizes: &Sizes, report: &Report) {
    let filled = async |calls: u64| {
        let node = quiet_node().await;
        node.accept(&many_calls("long", calls, false)).await;
        completed(&node, 1).await;
        let records = node.get("/v1/missions/long?at=1").await.expect_status(200).json["records"].as_u64();
        let viewer = Viewer::of(&node).await;
        (node, viewer, records.expect("a number"))
    };
    let (small, large) = (filled(sizes.long_small).await, filled(sizes.long).await);
    let pages: [(&str, Path); 6] = [
        ("its page", |_| "/missions/long".to_owned()),
        ("in the middle of its record", |records| format!("/missions/long?at={}", records / 2)),
        ("a step further", |records| format!("/missions/long?at={}", records / 2 + 1)),
        ("near its end", |records| format!("/missions/long?at={}", records - 2)),
        ("why", |_| "/missions/long/why".to_owned()),
        ("the form that forks it", |_| "/missions/long/fork".to_owned()),
    ];
    for (name, path) in pages {
        let (mut first, mut again, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (_, viewer, records) in [&small, &large] {
            let mut took = Vec::new();
            for _ in 0..=TIMES {
                let begun = Instant::now();
                let page = viewer.get(&path(*records)).await.expect_status(200);
                took.push(ms_since(begun));
                bytes = page.text.len();
            }
            first.push(took[0]);
            again.push(middle(took.split_off(1)));
        }
        report.beside(&format!("{name}, of {} records, first", large.2), first[1], Unit::Ms, first[0]);
        report.beside(&format!("{name}, again"), again[1], Unit::Ms, again[0]);
        report.figure(&format!("{name}, its size"), bytes as f64 / 1_024.0, Unit::KiB);
    }
    let (few, many) = (forked(&small.0, sizes.long_small / 2).await, forked(&large.0, sizes.forked).await);
    report.beside(&format!("a fork at call {}", sizes.forked), many, Unit::Ms, few);
}

/// How long it takes until a fork at that call is on disk.
async fn forked(node: &Node, at: u64) -> f64 {
    let body = json!({"at": at, "workspace": "empty"}).to_string();
    let request = node.request("POST", "/v1/missions/long/fork").header("content-type", "application/json").body(body);
    let begun = Instant::now();
    http::send(request).await.expect("an answer").expect_status(202);
    ms_since(begun)
}
