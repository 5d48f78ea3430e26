//! `cargo xtask test`: what CI runs, on a clean checkout and on a developer's machine alike.
//!
//! Everything is run even where something failed before, so that one run tells all; the last line is the sum.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{self, Project, tell};
use crate::tally::Tally;
use crate::{authored, browser, debian, moto, network, postgres, promtool, readers, redis, registry, servers, setup};

/// What a run takes of the disk where nothing was built before, in MiB, with a little to spare; without incremental compilation and debug information, as CI
/// runs it. A developer's takes several times as much.
const ROOM_MIB: u64 = 12 << 10;

/// With less than that free, in MiB, a disk is as good as full.
const FULL_MIB: u64 = 256;

/// Runs all checks; `quick` leaves out those that compile a second time.
pub(crate) fn run(project: &Project, quick: bool) -> Result<(), String> {
    let tally = Tally::default();
    // It may be on another disk than the project.
    let _ = std::fs::create_dir_all(project.target());
    if let Some(free) = shell::free_mib(&project.target()).filter(|free| *free < ROOM_MIB) {
        tell(&format!(
            "{free} MiB of the disk are free: all of it takes some {ROOM_MIB} where nothing was built before"
        ));
    }
    tally.check(&mut project.cargo_with("fmt --all --check"));
    tally.check(&mut in_plugins(project, "fmt --all --check"));
    // Without plugins there is no binary, and without the binary nothing that is worth to be tested further.
    let ready = tally.step(setup::plugins(project)).and_then(|()| tally.step(project.build_tests()));
    if let Some(node) = ready {
        if !quick {
            lints(project, &tally);
        }
        tests(project, &tally, &node);
    }
    if let Some(free) = shell::free_mib(&project.target()).filter(|free| !tally.is_green() && *free < FULL_MIB) {
        tell(&format!("FAILED {free} MiB of the disk are free: what failed may have failed of that; make room first"));
    }
    print_sum(&tally);
    if tally.is_green() { Ok(()) } else { Err("something failed; the lines above tell what".to_owned()) }
}

fn tests(project: &Project, tally: &Tally, node: &Path) {
    let Some(temporary) = tally.step(temporary_folder(project)) else { return };
    // What could not be installed is a failure, and the rest is tested all the same.
    let servers = tally.step(servers::installed(project));
    let readers = tally.step(readers::installed(project));
    let promtool = tally.step(promtool::installed(project));
    let registry = tally.step(registry::installed(project));
    let moto = tally.step(moto::installed(project));
    let postgres = tally.step(postgres::installed(project));
    let redis = tally.step(redis::installed());
    tally.step(debian::for_packages());
    network::installed();
    let tools = tally.step(browser::installed(project));
    tally.step(setup::wasip2(project));
    let authored = tally.step(authored::examples(project));
    let cargo = |arguments: &str| {
        let mut command = project.cargo_with(arguments);
        command.env("SORTIE_BIN", node).env("TMPDIR", &temporary);
        if let Some(servers) = &servers {
            command.env("SORTIE_MCP_SERVERS", servers);
        }
        if let Some(readers) = &readers {
            command.env(readers::READERS, readers);
        }
        if let Some(promtool) = &promtool {
            command.env(promtool::PROMTOOL, promtool);
        }
        if let Some(registry) = &registry {
            command.env(registry::REGISTRY, registry);
        }
        if let Some(moto) = &moto {
            command.env(moto::MOTO, moto);
        }
        if let Some(postgres) = &postgres {
            command.env(postgres::POSTGRES, postgres);
        }
        if let Some(redis) = &redis {
            command.env(redis::REDIS, redis);
        }
        if let Some(tools) = &tools {
            command.env(browser::TOOLS, tools);
        }
        if let Some(authored) = &authored {
            command.env(authored::EXAMPLES, authored);
        }
        command
    };
    tally.run(&mut in_plugins(project, "test --workspace --no-fail-fast"));
    // The black-box tests start this binary; building them does not build it.
    if shell::works("cargo", &["nextest", "--version"]) {
        // nextest does not run the examples in the documentation.
        tally.run(&mut project.cargo_with("test --workspace --doc --no-fail-fast"));
        tally.run(&mut cargo("nextest run --workspace --no-fail-fast"));
    } else {
        tally.run(&mut cargo("test --workspace --no-fail-fast"));
    }
}

/// Where tests have their temporary folders. One that was killed leaves them behind: here they go with the next run, and not one
/// lies in the system's own folder, which nobody would clear of them.
fn temporary_folder(project: &Project) -> Result<PathBuf, String> {
    let folder = project.target().join("temporary");
    let made = match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => std::fs::create_dir_all(&folder),
    };
    made.map(|()| folder.clone()).map_err(|error| format!("{}: {error}", folder.display()))
}

fn lints(project: &Project, tally: &Tally) {
    tally.check(&mut project.cargo_with("clippy --workspace --all-targets --locked -- -D warnings"));
    tally.check(&mut in_plugins(project, "clippy --workspace --all-targets --locked -- -D warnings"));
    tally.check(
        project.cargo_with("doc --workspace --no-deps --document-private-items").env("RUSTDOCFLAGS", "-D warnings"),
    );
    tally.check(in_plugins(project, "doc --workspace --no-deps --locked").env("RUSTDOCFLAGS", "-D warnings"));
    if shell::works("cargo", &["deny", "--version"]) {
        tally.check(&mut project.cargo_with("deny check bans licenses sources"));
    } else {
        tell("cargo-deny is not installed: dependencies were not checked against deny.toml");
    }
}

/// A call of cargo in the plugins' workspace, on this machine's own target: their logic is tested without the sandbox.
fn in_plugins(project: &Project, arguments: &str) -> Command {
    let mut command = project.cargo_with(arguments);
    command.current_dir(project.root().join("plugins")).env("CARGO_TARGET_DIR", project.target().join("plugins"));
    command
}

/// The sum is this command's data: it is said as far as anybody hears it, also where a full disk takes no log.
fn print_sum(tally: &Tally) {
    let _ = writeln!(io::stdout(), "{tally}");
}
