//! Building a plugin that is written in JavaScript: `componentize-js` of the project's `node_modules`.
//!
//! What is handed to it is the project's convention: `build.mjs FILE.wasm` makes the component, with every feature of the library that
//! is no plugin's turned off. It is the project's own file, for bundlers differ.

use std::path::Path;
use std::process::Command;

use super::on_path;

/// What projects depend on: npm installs nothing under a package of its own name.
const DEPENDENCIES: [&str; 1] = ["rolldown"];

/// Why no package is called so.
pub(super) fn refuses(name: &str) -> Option<String> {
    DEPENDENCIES
        .contains(&name)
        .then(|| format!("the project depends on the package `{name}`, and cannot be called so itself"))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_project_is_called_as_what_it_depends_on() {
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/templates/javascript/package.json");
        let manifest = std::fs::read_to_string(template).expect("a file of the template");
        let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
        let mut named: Vec<&str> = ["dependencies", "devDependencies"]
            .iter()
            .flat_map(|kind| manifest[kind].as_object().into_iter().flat_map(|all| all.keys()))
            .map(String::as_str)
            // No plugin has a scope in its name.
            .filter(|name| !name.starts_with('@'))
            .collect();
        named.sort_unstable();
        assert_eq!(named, DEPENDENCIES);
        assert!(refuses("rolldown").is_some() && refuses("json").is_none() && refuses("fs").is_none());
    }
}
