//! Building a plugin that is written in JavaScript: `componentize-js` of the project's `node_modules`.
//!
//! What is handed to it is the project's convention: `build.mjs FILE.wasm` makes the component, with every feature of the library that
//! is no plugin's turned off. It is the project's own file, for bundlers differ.

use std::path::Path;
use std::process::Command;

use super::on_path;

/// Builds the project in a folder.
pub(super) fn build(folder: &Path) -> Result<Vec<u8>, String> {
    let missing = |what: &str, how: &str| Err(format!("{what}: {how}"));
    let Some(node) = on_path("node") else {
        return missing("node is not on the path", "plugins in JavaScript are built with Node.js 20 or later");
    };
    if !folder.join("build.mjs").is_file() {
        return missing("the project has no build.mjs", "it is what makes a component of the sources");
    }
    if !folder.join("node_modules/@bytecodealliance/componentize-js").is_dir() {
        return missing("componentize-js is not installed", "`npm install` in the project's folder gets it");
    }
    let made = tempfile::tempdir().map_err(|error| format!("no folder for what is built: {error}"))?;
    let file = made.path().join("plugin.wasm");
    let output = Command::new(node).current_dir(folder).arg("build.mjs").arg(&file).output();
    let output = output.map_err(|error| format!("node cannot be started: {error}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        return Err(format!("the plugin does not build: {}", said.trim()));
    }
    std::fs::read(&file).map_err(|error| format!("build.mjs made no component: {error}"))
}
