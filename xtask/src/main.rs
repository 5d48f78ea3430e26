//! What the README's commands call: `cargo xtask demo`, `test`, `sim`, `plugins`, `bench`.
//!
//! Two of them do everything on a fresh machine that has rustup's cargo: each sets up what it needs, and says plainly what
//! it cannot get. Small on purpose (standard library only): it is the first thing that is compiled.

mod bench;
mod demo;
mod guests;
mod setup;
mod shell;
mod sim;
mod tally;
mod test;

use std::process::ExitCode;

use crate::shell::Project;

const USAGE: &str = "\
cargo xtask COMMAND

  demo                 builds everything, starts a node and a receiver for its callbacks, dispatches the missions of
                       examples/demo/, shows their events live, and ends with a table of what became of them
  test [--quick]       what CI runs: formatting, lints, documentation, every test; the last line is `N passed, N failed`;
                       --quick leaves out the lints and the documentation
  sim [--seeds N] [--seed FIRST]
                       simulates a node through N histories (10,000) of crashes, faults and contradictions, each from a seed
                       of its own; of one in which something is wrong, prints everything that happened
  plugins [--setup]    builds the first-party plugins; with --setup, gets the wasm target where it is missing, and ends
  bench [--json] [--only SHAPE]…
                       measures a release build on this machine, each shape beside its small case; the figures go to
                       docs/BENCHMARKS.md
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("", [].as_slice()),
    };
    let done = Project::find().and_then(|project| match command {
        "demo" => demo::run(&project),
        "test" => test::run(&project, rest.iter().any(|flag| flag == "--quick")),
        "sim" => sim::run(&project, rest),
        "plugins" if rest.iter().any(|flag| flag == "--setup") => setup::toolchain(&project).map(|_| ()),
        "plugins" => setup::plugins(&project),
        "bench" => bench::run(&project, rest),
        _ => {
            eprint!("{USAGE}");
            Err("there is no such command".to_owned())
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
