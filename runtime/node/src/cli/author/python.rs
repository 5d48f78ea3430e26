//! Building a plugin that is written in Python: `componentize-py`, of the project's own environment or of the path.
//!
//! What is handed to it is the project's convention: the module `plugin`, the world `plugin` of `wit/`, and the library that lies in
//! `vendor/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::on_path;

/// The program, and how it is got.
const PROGRAM: &str = "componentize-py";

/// Builds the project in a folder.
pub(super) fn build(folder: &Path) -> Result<Vec<u8>, String> {
    let program = program(folder).ok_or_else(|| {
        format!(
            "{PROGRAM} is neither in the project's .venv nor on the path. In the project's folder: `python3 -m venv .venv && \
             .venv/bin/pip install {PROGRAM}`"
        )
    })?;
    if !folder.join("plugin.py").is_file() {
        return Err(format!("{} has no plugin.py: the module that is made a component", folder.display()));
    }
    let made = tempfile::tempdir().map_err(|error| format!("no folder for what is built: {error}"))?;
    let file = made.path().join("plugin.wasm");
    let mut command = Command::new(program);
    command.current_dir(folder).args(["-d", "wit", "-w", "plugin", "componentize", "plugin", "-p", "."]);
    if folder.join("vendor").is_dir() {
        command.args(["-p", "vendor"]);
    }
    let output =
        command.arg("-o").arg(&file).output().map_err(|error| format!("{PROGRAM} cannot be started: {error}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        return Err(format!("the plugin does not build: {}", said.trim()));
    }
    std::fs::read(&file).map_err(|error| format!("{PROGRAM} made no component: {error}"))
}

fn program(folder: &Path) -> Option<PathBuf> {
    let own = folder.join(".venv/bin").join(PROGRAM);
    // Another folder is the current one when it is started.
    if own.is_file() { own.canonicalize().ok() } else { on_path(PROGRAM) }
}
