//! Building a plugin that is written in JavaScript: `componentize-js` of the project's `node_modules`.
//!
//! What is handed to it is the project's convention: `build.mjs FILE.wasm` makes the component, with every feature of the library that
//! is no plugin's turned off. It is the project's own file, for bundlers differ.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Built, on_path, stamp};

/// What projects depend on: npm installs nothing under a package of its own name.
const DEPENDENCIES: [&str; 1] = ["rolldown"];

/// What gets them into a project.
pub(super) const SETUP: &str = "npm install";

/// Where a project has them.
const OWN: &str = "node_modules";

/// Why no package is called so.
pub(super) fn refuses(name: &str) -> Option<String> {
    DEPENDENCIES
        .contains(&name)
        .then(|| format!("the project depends on the package `{name}`, and cannot be called so itself"))
}

/// Builds the project in a folder.
pub(super) fn build(folder: &Path) -> Result<Built, String> {
    let missing = |what: &str, how: &str| Err(format!("{what}: {how}"));
    let Some(node) = on_path("node") else {
        return missing("node is not on the path", "plugins in JavaScript are built with Node.js 20 or later");
    };
    if !folder.join("build.mjs").is_file() {
        return missing("the project has no build.mjs", "it is what makes a component of the sources");
    }
    if !folder.join(OWN).join("@bytecodealliance/componentize-js").is_dir() {
        return missing("componentize-js is not installed", "`npm install` in the project's folder gets it");
    }
    let made = tempfile::tempdir().map_err(|error| format!("no folder for what is built: {error}"))?;
    let (file, modules) = (made.path().join("plugin.wasm"), made.path().join("modules.json"));
    let output = Command::new(node).current_dir(folder).arg("build.mjs").args([&file, &modules]).output();
    let output = output.map_err(|error| format!("node cannot be started: {error}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        return Err(format!("the plugin does not build: {}", said.trim()));
    }
    let component = std::fs::read(&file).map_err(|error| format!("build.mjs made no component: {error}"))?;
    Ok(Built { component, elsewhere: elsewhere(folder, &modules) })
}

/// The modules in the component that do not lie in the project, as `build.mjs` lists all of them; none where it lists none.
fn elsewhere(folder: &Path, modules: &Path) -> Option<Vec<PathBuf>> {
    let listed: Vec<PathBuf> = serde_json::from_str(&crate::bounded::text(modules).ok()?).ok()?;
    let whole = folder.canonicalize().ok()?;
    // What the bundler adds itself is no file.
    Some(listed.into_iter().filter(|module| module.is_absolute() && !module.starts_with(&whole)).collect())
}

/// Which one builds the project: Node.js, and what npm has installed.
pub(super) fn builder(folder: &Path) -> Option<String> {
    let node = on_path("node")?.canonicalize().ok()?;
    let written = stamp::written(&node).ok()?;
    Some(format!("{} {written} {}", node.display(), stamp::installed(&folder.join(OWN))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_outside_of_the_project_is_told_as_elsewhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let list = folder.path().join("modules.json");
        let own = folder.path().canonicalize().expect("it is there").join("plugin.js");
        for (text, expected) in [
            (
                serde_json::json!([own, "/elsewhere/a.js", "\0rolldown/runtime.js"]).to_string(),
                Some(vec!["/elsewhere/a.js"]),
            ),
            ("[]".to_owned(), Some(Vec::new())),
            ("no list".to_owned(), None),
        ] {
            std::fs::write(&list, &text).expect("writable");
            let expected = expected.map(|all| all.into_iter().map(PathBuf::from).collect());
            assert_eq!(elsewhere(folder.path(), &list), expected, "{text}");
        }
        assert_eq!(elsewhere(folder.path(), Path::new("/none")), None, "one that lists nothing");
    }

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
