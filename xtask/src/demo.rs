//! `cargo xtask demo`: the whole way of a handful of missions, in sight.
//!
//! Builds, then hands over to the program `demo` of `tests/`, which has a harness that starts nodes and receivers.

use crate::setup;
use crate::shell::{self, Project};

/// Builds everything and plays the demo.
pub(crate) fn run(project: &Project) -> Result<(), String> {
    setup::plugins(project)?;
    let node = project.build_node(false)?;
    shell::run(project.cargo_with("run --quiet --package sortie-tests --bin demo").env("SORTIE_BIN", node))
}
