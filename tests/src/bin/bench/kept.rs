//! A node that keeps a million missions: what it costs to dispatch to it, to list and to start it, beside one that keeps a hundred.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;
use sortie_tests::envelope::with;
use sortie_tests::{Node, project};

use crate::client::{mib, ms_since, quiet_node, trivial, waiting};
use crate::crowd::in_turns;
use crate::lists::pages;
use crate::report::{Report, Unit};
use crate::sizes::Sizes;

/// What fills a journal: named by `SORTIE_MULTIPLY`, or built here.
fn multiplier() -> PathBuf {
    if let Some(named) = std::env::var_os("SORTIE_MULTIPLY") {
        return named.into();
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "sortie-journal", "--example", "multiply", "--manifest-path"]);
    let status = cargo.arg(project().join("Cargo.toml")).status().expect("cargo can be started");
    assert!(status.success(), "the example `multiply` is not built");
    let own = std::env::current_exe().expect("a running program has a path");
    let folders = own.ancestors().skip(1).map(|folder| folder.join("debug/examples/multiply"));
    folders.into_iter().find(|file| file.is_file()).expect("it was just built in the target folder of this program")
}

/// A node that was stopped after one mission, and whose journal was filled with so many copies of it.
async fn filled(missions: u64) -> Node {
    let mut node = quiet_node().await;
    node.run(&with(trivial(), "/mission_id", json!("kept"))).await;
    node.stop().await;
    let journal = node.data().join("journal.redb");
    let filled = Command::new(multiplier()).arg(journal).arg(missions.to_string()).stdout(Stdio::null()).status();
    assert!(filled.expect("it starts").success(), "the journal was not filled");
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
