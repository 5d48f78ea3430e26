//! `sortie`: the mission runtime of a factory node, and the command line to it.

use std::process::ExitCode;

fn main() -> ExitCode {
    sortie::cli::main()
}
