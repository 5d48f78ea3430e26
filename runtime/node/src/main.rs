//! `sortie`: the mission runtime of a factory node, and the command line to it.

use std::process::ExitCode;

/// Dispatches allocate much and in several threads; with the C library's allocator a tenth of their time goes there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sortie::cli::main()
}
