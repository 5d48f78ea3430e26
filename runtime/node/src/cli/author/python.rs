//! Building a plugin that is written in Python: `componentize-py`, of the project's own environment or of the path.
//!
//! What is handed to it is the project's convention: the module `plugin`, the world `plugin` of `wit/`, and the library that lies in
//! `vendor/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::on_path;

/// The program.
const PROGRAM: &str = "componentize-py";

/// The version of it that the library goes with: it imports modules that the program generates, by their names.
const PACKAGE: &str = "componentize-py==0.25.1";

/// Builds the project in a folder.
pub(super) fn build(folder: &Path) -> Result<Vec<u8>, String> {
    let program = program(folder).ok_or_else(|| {
        format!(
            "{PROGRAM} is neither in the project's .venv nor on the path. In the project's folder: `python3 -m venv .venv && \
             .venv/bin/pip install {PACKAGE}`"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_project_names_the_version_that_the_remedy_names() {
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/templates/python");
        for file in ["pyproject.toml", "README.md"] {
            let text = std::fs::read_to_string(template.join(file)).expect("a file of the template");
            let pin = format!("{PROGRAM}==");
            let named = text.matches(&pin).count();
            assert!(named > 0 && named == text.matches(PACKAGE).count(), "{file} names another version than {PACKAGE}");
        }
        let missing = tempfile::tempdir().expect("a folder");
        if on_path(PROGRAM).is_none() {
            assert!(build(missing.path()).is_err_and(|told| told.contains(PACKAGE)));
        }
    }
}
