//! Packages of npm in folders of their own, for those who need a set of exactly these versions.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::shell;

/// Empties a folder and installs packages into it, which `who` need.
pub(crate) fn install<'p>(folder: &Path, packages: impl IntoIterator<Item = &'p str>, who: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => fs::create_dir_all(folder).map_err(failed)?,
    }
    // Without a file of its own npm would look for one further up.
    fs::write(folder.join("package.json"), "{\"private\": true}\n").map_err(failed)?;
    let mut install = Command::new("npm");
    install
        .current_dir(folder)
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-save"])
        .args(packages);
    shell::run(&mut install).map_err(|error| format!("{error}; {who} need npm and Node 20"))
}
