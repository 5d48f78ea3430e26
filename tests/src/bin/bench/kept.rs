//! A node that keeps a million missions: what it costs to dispatch to it, to list and to start it, beside a new one.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use sortie_tests::project;

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

pub(crate) async fn kept(sizes: &Sizes, report: &Report) {
    let (small, mut large) = (quiet_node().await, quiet_node().await);
    // The pattern: one mission that is over.
    large.run(&sortie_tests::envelope::with(trivial(), "/mission_id", serde_json::json!("kept"))).await;
    large.stop().await;
    let begun = Instant::now();
    let filled = Command::new(multiplier())
        .arg(large.data().join("journal.redb"))
        .arg(sizes.kept.to_string())
        .stdout(std::process::Stdio::null())
        .status();
    assert!(filled.expect("it starts").success(), "the journal was not filled");
    report.figure(&format!("filling a journal with {} missions", sizes.kept), ms_since(begun), Unit::Ms);
    let begun = Instant::now();
    large.restart().await;
    report.figure(&format!("start to ready with {} kept", sizes.kept), ms_since(begun), Unit::Ms);
    let (before, after) = (mib(small.resident_bytes()), mib(large.resident_bytes()));
    report.beside(&format!("resident memory with {} kept", sizes.kept), after, Unit::MiB, before);
    let (fresh, rate) = in_turns(sizes, (&small, &waiting()), (&large, &waiting())).await;
    report.beside(&format!("dispatches with {} kept", sizes.kept), rate, Unit::PerSecond, fresh);
    for path in ["/v1/missions?limit=50", "/v1/missions?status=queued&limit=50", "/v1/events?limit=50"] {
        let (few, many) = pages(&small, &large, path).await;
        report.beside(&format!("{path} with {} kept", sizes.kept), many, Unit::Ms, few);
    }
}
