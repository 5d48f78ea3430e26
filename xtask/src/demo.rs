//! `cargo xtask demo`: the whole way of a handful of missions, in sight; with `--fleet`, a night of three nodes.
//!
//! Builds, then hands over to a program of `tests/`, which has a harness that starts nodes and receivers.

use crate::postgres;
use crate::setup;
use crate::shell::{self, Project};

/// Builds everything and plays the demo.
pub(crate) fn run(project: &Project, fleet: bool) -> Result<(), String> {
    setup::plugins(project)?;
    let node = project.build_node(false)?;
    let program = if fleet { "fleet" } else { "demo" };
    let mut play = project.cargo_with(&format!("run --quiet --package sortie-tests --bin {program}"));
    if fleet {
        play.env(postgres::POSTGRES, postgres::installed(project)?);
    }
    shell::run(play.env("SORTIE_BIN", node))
}
