//! What the tests of `Bash` start in place of a node's own binary: the two roles of a confined command, and nothing else.

use std::process::ExitCode;

use sortie_confine::Role;

fn main() -> ExitCode {
    match std::env::args().next_back().as_deref().and_then(Role::of) {
        Some(role) => sortie_confine::main(role),
        None => ExitCode::FAILURE,
    }
}
