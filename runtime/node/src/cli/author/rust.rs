//! Building a plugin that is written in Rust: `wasm32-unknown-unknown`, found where it is and fetched where it can be.
//!
//! In this order: the wasm target of the compiler in use; `rustup target add`; Debian's compiler, which carries the standard library as
//! source and builds it. What is missing is told with the command that gets it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::on_path;

/// What plugins are compiled for: no WASI, so that a plugin imports nothing but the mission world.
const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's compiler with its sources and its linker for wasm.
const DEBIAN_PACKAGES: &str = "rustc-web cargo-web rust-web-src rust-web-llvm lld-22";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/Cargo.lock";

/// Builds the package in a folder: its core module, which carries the component's type.
pub(super) fn build(folder: &Path) -> Result<Vec<u8>, String> {
    let mut command = toolchain(folder)?;
    command.current_dir(folder).args(["build", "--release", "--target", TARGET]);
    command.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stderr(Stdio::inherit());
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    let output = command.output().map_err(|error| format!("cargo cannot be started: {error}"))?;
    if !output.status.success() {
        return Err("the plugin does not build: what is wrong is told above by the compiler".to_owned());
    }
    let module = module(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
        "the project builds no module: its Cargo.toml wants `[lib]` with `crate-type = [\"cdylib\"]`".to_owned()
    })?;
    std::fs::read(&module).map_err(|error| format!("{}: {error}", module.display()))
}

/// The last module that cargo says it has made: what it depends on comes before it.
fn module(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let made = messages.filter(|message| message["reason"] == "compiler-artifact");
    let files = made.flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default());
    let mut paths = files.filter_map(|file| file.as_str().map(PathBuf::from));
    paths.rfind(|file| file.extension().is_some_and(|end| end == "wasm"))
}

/// A cargo that can build plugins.
fn toolchain(folder: &Path) -> Result<Command, String> {
    if on_path("cargo").is_none() {
        return Err("cargo is not on the path: plugins in Rust are built with it. https://rustup.rs gets it".to_owned());
    }
    if has_target(folder) {
        return Ok(Command::new("cargo"));
    }
    if on_path("rustup").is_some() {
        // Where there is a file `rust-toolchain.toml`, rustup chooses by the folder.
        let added =
            Command::new("rustup").current_dir(folder).args(["target", "add", TARGET]).stdout(Stdio::null()).status();
        if added.is_ok_and(|status| status.success()) && has_target(folder) {
            return Ok(Command::new("cargo"));
        }
    }
    debian().ok_or_else(|| {
        format!(
            "this compiler has no target {TARGET}, and it could not be fetched. Do one of: `rustup target add {TARGET}`; or, on Debian, as \
             root, `apt-get install {DEBIAN_PACKAGES}`"
        )
    })
}

/// Whether the compiler of that folder has the standard library for plugins.
fn has_target(folder: &Path) -> bool {
    let asked =
        Command::new("rustc").current_dir(folder).args(["--print", "target-libdir", "--target", TARGET]).output();
    asked.is_ok_and(|answer| {
        answer.status.success() && Path::new(String::from_utf8_lossy(&answer.stdout).trim()).exists()
    })
}

/// Debian's, which builds the standard library on its way.
fn debian() -> Option<Command> {
    if ![DEBIAN_RUSTC, DEBIAN_CARGO, DEBIAN_SOURCE].iter().all(|path| Path::new(path).exists()) {
        return None;
    }
    let mut command = Command::new(DEBIAN_CARGO);
    // `build-std` is not stable; a compiler that a distribution releases takes it with this variable only.
    command.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1").args(["-Z", "build-std=std,panic_abort"]);
    if on_path("rust-lld").is_none() {
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", on_path("wasm-ld")?);
    }
    Some(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_the_last_one_that_was_made() {
        let messages = concat!(
            "{\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/libserde.rlib\"]}\n",
            "not json\n",
            "{\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/mine.wasm\",\"/t/mine.d\"]}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\n",
        );
        assert_eq!(module(messages), Some(PathBuf::from("/t/mine.wasm")));
        assert_eq!(module("{\"reason\":\"build-finished\"}"), None);
    }
}
