//! The protocol's own conformance suites, as `cargo xtask test` installs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A suite that is installed, and a Node that is new enough for it.
pub(crate) fn suite(folder: &Path, package: &str) -> Command {
    let packages = std::fs::read_dir(folder.join("node_modules")).expect("installed").flatten();
    let is_node = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("node-") && path.join("bin/node").exists()
    };
    let node =
        packages.map(|entry| entry.path()).find(is_node).map_or_else(|| "node".into(), |path| path.join("bin/node"));
    let mut command = Command::new(node);
    command.arg(folder.join("node_modules").join(package).join("dist/index.js"));
    command
}

/// Where the suites are installed; nothing, where they are not, which is said.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("SORTIE_MCP_SERVERS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: SORTIE_MCP_SERVERS is not set; `cargo xtask test` installs the suite and sets it");
    }
    folder
}

/// All that a run of a suite said.
pub(crate) fn told(output: &Output) -> String {
    let [out, error] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    format!("{out}\n{error}")
}
