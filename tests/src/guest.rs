//! The hostile guest, for tests that need a plugin which does not do its work: built once, and changed in the byte.
//!
//! Owns where it is built; what it does is in `tests/hostile`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use crate::project;

/// The guest as a core module, as the sandbox's tests build it.
static HOSTILE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = project().join("tests/hostile");
    let target = std::env::var_os("HOSTILE_TARGET_DIR").map_or_else(|| folder.join("target"), PathBuf::from);
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--target", "wasm32-unknown-unknown", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        // What is set for the tests (coverage, sanitizers) is not for the guest.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "the hostile guest is not built; `cargo xtask plugins --setup` gets its target");
    std::fs::read(target.join("wasm32-unknown-unknown/release/hostile.wasm")).expect("it was just built")
});

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
