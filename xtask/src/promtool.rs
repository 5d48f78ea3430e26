//! Gets `promtool` onto the machine, by which Prometheus itself tests the alert rules.
//!
//! What is on the path is taken; else it is taken out of Debian's package, which is unpacked into the target folder and not installed: nobody who
//! tests Sortie wants a Prometheus that runs as a service. That needs no root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian;
use crate::shell::{self, Project};

/// What tells the test where it is.
pub(crate) const PROMTOOL: &str = "SORTIE_PROMTOOL";

/// The package that has it.
const PACKAGE: &str = "prometheus";

/// The program.
pub(crate) fn installed(project: &Project) -> Result<PathBuf, String> {
    if shell::works("promtool", &["--version"]) {
        return Ok("promtool".into());
    }
    let folder = project.target().join("tools").join("promtool");
    let program = folder.join("usr/bin/promtool");
    let is_there = || program.to_str().is_some_and(|program| shell::works(program, &["--version"]));
    if is_there() {
        return Ok(program);
    }
    let why = match unpacked(&folder) {
        Ok(()) if is_there() => return Ok(program),
        Ok(()) => "what it holds does not run here".to_owned(),
        Err(error) => error,
    };
    Err(format!(
        "the test of the alert rules needs promtool, and Debian's package `{PACKAGE}` could not be unpacked: {why}. \
         Put a promtool on the path"
    ))
}

/// Has Debian's package lie unpacked in a folder.
fn unpacked(folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed)?;
    }
    fs::create_dir_all(folder).map_err(failed)?;
    let download = || shell::run(Command::new("apt-get").args(["download", PACKAGE]).current_dir(folder));
    // A fresh container has no package lists.
    if download().is_err() {
        debian::update();
        download()?;
    }
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let package = fs::read_dir(folder).map_err(failed)?.flatten().map(|entry| entry.path()).find(is_package);
    let package = package.ok_or("apt-get left no package")?;
    shell::run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(folder))?;
    fs::remove_file(package).map_err(failed)
}
