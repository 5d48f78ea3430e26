//! Guests that only tests install: the hostile one, for a plugin which does not do its work, and the agent, which does what a model says.
//! Each is built once, both into one folder, since they are made of the same crates.
//!
//! Owns where they are built; what they do is in `tests/hostile` and `tests/agent`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use crate::project;

/// The hostile guest as a core module, as the sandbox's tests build it.
static HOSTILE: LazyLock<Vec<u8>> = LazyLock::new(|| built("hostile"));

/// The agent as a core module.
static AGENT: LazyLock<Vec<u8>> = LazyLock::new(|| built("agent"));

/// Builds the guest of this name.
fn built(name: &str) -> Vec<u8> {
    let folders = project().join("tests");
    let target = std::env::var_os("HOSTILE_TARGET_DIR").map_or_else(|| folders.join("hostile/target"), PathBuf::from);
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--target", "wasm32-unknown-unknown", "--manifest-path"])
        .arg(folders.join(name).join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        // What is set for the tests (coverage, sanitizers) is not for the guest.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "the guest {name} is not built; `cargo xtask plugins --setup` gets its target");
    std::fs::read(target.join("wasm32-unknown-unknown/release").join(format!("{name}.wasm")))
        .expect("it was just built")
}

/// The hostile guest in one of its modes (at most 16 letters); its objective names what it does.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn hostile(mode: &str) -> Vec<u8> {
    const MARKER: &[u8] = b"HOSTILE:DESCRIBE";
    let mut module = HOSTILE.clone();
    let at = module.windows(MARKER.len()).position(|bytes| bytes == MARKER).expect("the marker is in the module");
    module[at + MARKER.len()..][..16].copy_from_slice(format!("{mode:16}").as_bytes());
    module
}

/// The agent, whose missions have the objective as what they ask first, and name a model in their inputs or do not.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn agent() -> &'static [u8] {
    &AGENT
}
