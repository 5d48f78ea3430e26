//! Building a plugin that is written in Python: `componentize-py`, of the project's own environment or of the path.
//!
//! What is handed to it is the project's convention: the module `plugin`, the world `plugin` of `wit/`, and the library that lies in
//! `vendor/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Built, on_path, stamp};

/// The program.
const PROGRAM: &str = "componentize-py";

/// What gets it into a project: the version that the library goes with, which imports modules that the program generates, by their names.
pub(super) const SETUP: &str = "python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1";

/// Where a project has it.
const OWN: &str = ".venv";

/// Builds the project in a folder.
pub(super) fn build(folder: &Path) -> Result<Built, String> {
    let program = program(folder).ok_or_else(|| {
        format!("{PROGRAM} is neither in the project's .venv nor on the path. In the project's folder: `{SETUP}`")
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
    let component = std::fs::read(&file).map_err(|error| format!("{PROGRAM} made no component: {error}"))?;
    // It reads below the project alone, and follows no link.
    Ok(Built { component, elsewhere: Some(Vec::new()) })
}

/// Which one builds the project: the files of its environment, or what one of the path says of itself.
pub(super) fn builder(folder: &Path) -> Option<String> {
    let program = program(folder)?;
    if folder.join(OWN).join("bin").join(PROGRAM).is_file() {
        return Some(stamp::installed(&folder.join(OWN)));
    }
    let version = Command::new(&program).arg("--version").output().ok()?;
    let written = stamp::written(&program).ok()?;
    Some(format!("{} {written} {}", program.display(), String::from_utf8_lossy(&version.stdout)))
}

fn program(folder: &Path) -> Option<PathBuf> {
    let own = folder.join(OWN).join("bin").join(PROGRAM);
    // Another folder is the current one when it is started.
    if own.is_file() { own.canonicalize().ok() } else { on_path(PROGRAM) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: &str = "componentize-py==0.25.1";

    #[test]
    fn a_new_project_names_the_version_that_the_remedy_names() {
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/templates/python");
        for file in ["pyproject.toml", "README.md"] {
            let text = std::fs::read_to_string(template.join(file)).expect("a file of the template");
            let pin = format!("{PROGRAM}==");
            let named = text.matches(&pin).count();
            assert!(named > 0 && named == text.matches(PACKAGE).count(), "{file} names another version than {PACKAGE}");
            assert!(file != "README.md" || text.contains(SETUP), "{file} says another command than `{SETUP}`");
        }
        assert!(SETUP.ends_with(PACKAGE));
        let missing = tempfile::tempdir().expect("a folder");
        if on_path(PROGRAM).is_none() {
            assert!(build(missing.path()).is_err_and(|told| told.contains(PACKAGE)));
        }
    }
}
