//! Building a plugin that is written in Rust: `wasm32-unknown-unknown`, found where it is and fetched where it can be.
//!
//! In this order: the wasm target of the compiler in use; `rustup target add`; Debian's compiler, which carries the standard library as
//! source and builds it. What is missing is told with the command that gets it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Built, on_path};

/// What plugins are compiled for: no WASI, so that a plugin imports nothing but the mission world.
const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's compiler with its sources and its linker for wasm.
const DEBIAN_PACKAGES: &str = "rustc-web cargo-web rust-web-src rust-web-llvm lld-22";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/Cargo.lock";

/// Crates that come with the compiler: a package of that name hides them from what it depends on.
const OF_THE_COMPILER: [&str; 5] = ["alloc", "core", "proc-macro", "std", "test"];

/// Crates that a project is built with: Cargo and the compiler know them by their names.
const DEPENDENCIES: [&str; 5] = ["dlmalloc", "serde", "serde-json", "sortie-plugin", "wit-bindgen"];

/// Words of the language, in this and in older and coming editions.
const WORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield", "union",
];

/// Why no package is called so.
pub(super) fn refuses(name: &str) -> Option<String> {
    if WORDS.contains(&name) {
        return Some(format!("`{name}` is a word of Rust, and no name of a crate"));
    }
    if OF_THE_COMPILER.contains(&name) {
        return Some(format!("`{name}` is a crate that comes with the compiler"));
    }
    DEPENDENCIES
        .contains(&name)
        .then(|| format!("the project is built with the crate `{name}`, and cannot be called so itself"))
}

/// Builds the package in a folder: its core module, which carries the component's type.
pub(super) fn build(folder: &Path) -> Result<Built, String> {
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
    let component = std::fs::read(&module).map_err(|error| format!("{}: {error}", module.display()))?;
    Ok(Built { component, elsewhere: None })
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
    fn no_project_is_called_as_what_it_is_built_with() {
        let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
        let mut named = Vec::new();
        for file in ["templates/rust/Cargo.toml", "sdk/Cargo.toml"] {
            let manifest = std::fs::read_to_string(plugins.join(file)).expect("a manifest").replace("{{name}}", "name");
            let manifest: toml::Table = manifest.parse().expect("TOML");
            named.extend(
                manifest["dependencies"].as_table().expect("a table").keys().map(|name| name.replace('_', "-")),
            );
        }
        named.sort();
        named.dedup();
        assert_eq!(named, DEPENDENCIES);
        for name in ["fn", "gen", "core", "test", "serde", "sortie-plugin"] {
            assert!(refuses(name).is_some_and(|why| why.contains(name)), "{name}");
        }
        assert_eq!(refuses("json"), None);
    }

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
