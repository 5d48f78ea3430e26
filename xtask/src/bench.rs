//! `cargo xtask bench`: the figures of `docs/BENCHMARKS.md`, from a release build and a load generator on this machine.

use crate::authored;
use crate::postgres;
use crate::setup;
use crate::shell::{self, Project};

/// Runs and kills of guests, without a node around them: measured by a test of the sandbox.
const SANDBOX: &str = "sandbox";

/// What agents have: here what a decision about a call costs, by the benchmark of the core; the rest is among the shapes.
const TOOLS: &str = "tools";

/// What nodes on a database do.
const STORE: &str = "store";

/// Measures the shapes that are named, or everything.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<(), String> {
    setup::plugins(project)?;
    let node = project.build_node(true)?;
    let names = || arguments.iter().filter(|argument| !argument.starts_with("--"));
    if names().next().is_none() || names().any(|name| name == SANDBOX) {
        let test =
            "test --release --quiet --package sortie-sandbox --test measure -- --ignored --nocapture --test-threads 1";
        let mut measured = project.cargo_with(test);
        match authored::examples(project) {
            Ok(built) => drop(measured.env(authored::EXAMPLES, built)),
            Err(why) => eprintln!("plugins in other languages are not measured: {why}"),
        }
        shell::run(&mut measured)?;
        if names().next().is_some() && names().all(|name| name == SANDBOX) {
            return Ok(());
        }
    }
    if names().next().is_none() || names().any(|name| name == TOOLS) {
        shell::run(&mut project.cargo_with("bench --quiet --package sortie-mission --bench gate"))?;
    }
    // What fills a journal, and what weighs one, lie beside the node.
    let examples = "build --release --quiet --package sortie-journal --example multiply --example weigh";
    shell::run(&mut project.cargo_with(examples))?;
    let examples = node.with_file_name("examples");
    let mut bench = project.cargo_with("run --release --quiet --package sortie-tests --bin bench --");
    bench.args(arguments.iter().filter(|argument| *argument != SANDBOX));
    if names().next().is_none() || names().any(|name| name == STORE) {
        match postgres::installed(project) {
            Ok(postgres) => drop(bench.env(postgres::POSTGRES, postgres)),
            Err(why) => eprintln!("missions in a database are not measured: {why}"),
        }
    }
    shell::run(bench.env("SORTIE_BIN", node).env("SORTIE_JOURNAL_EXAMPLES", examples))
}
