//! `cargo xtask bench`: the figures of `docs/BENCHMARKS.md`, from a release build and a load generator on this machine.

use crate::setup;
use crate::shell::{self, Project};

/// Measures what is named, or everything.
pub(crate) fn run(project: &Project, names: &[String]) -> Result<(), String> {
    setup::plugins(project)?;
    let node = project.build_node(true)?;
    if names.is_empty() || names.iter().any(|name| name == "sandbox") {
        // Runs and kills without a node around them.
        let test = "test --release --quiet --package sortie-sandbox --test measure -- --ignored --nocapture";
        shell::run(&mut project.cargo_with(test))?;
    }
    let mut bench = project.cargo_with("run --release --quiet --package sortie-tests --bin bench --");
    shell::run(bench.args(names).env("SORTIE_BIN", node))
}
