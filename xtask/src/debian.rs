//! Gets programs of Debian onto the machine: what is on the path is taken, the rest installed, with `sudo` where whoever runs this is not root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell;

/// What builds and judges packages.
const OF_PACKAGES: [(&str, &str); 5] = [
    ("strip", "binutils"),
    ("dpkg-deb", "dpkg"),
    ("lintian", "lintian"),
    ("systemd-analyze", "systemd"),
    ("buildah", "buildah"),
];

/// Sees to it that packages can be built and judged.
pub(crate) fn for_packages() -> Result<(), String> {
    have("the tests of packages", &OF_PACKAGES)
}

/// Sees to it that these programs are there, each with the package that brings it; `who` needs them.
pub(crate) fn have(who: &str, programs: &[(&str, &str)]) -> Result<(), String> {
    // Not each of them knows the long form.
    let works = |program: &str| shell::works(program, &["--version"]) || shell::works(program, &["-v"]);
    let missing = || programs.iter().filter(|(program, _)| !works(program));
    let packages: Vec<&str> = missing().map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    install(&packages);
    let missing: Vec<&str> = missing().map(|(program, _)| *program).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{who} need {}, which could not be installed. On Debian, as root: `apt-get install {}`",
        missing.join(", "),
        packages.join(" ")
    ))
}

/// Installs packages, where that is allowed; what came of it is seen by whoever needs them.
pub(crate) fn install(packages: &[&str]) {
    let install: Vec<&str> =
        ["install", "--yes", "--no-install-recommends"].into_iter().chain(packages.iter().copied()).collect();
    // A fresh container has no package lists.
    if apt(&install).is_err()
        && let Err(error) = apt(&["update"]).and_then(|()| apt(&install))
    {
        eprintln!("{error}");
    }
}

/// A program of a package that would run as a service where it is installed: one that is on the path, else the one of the package, which is
/// unpacked into `folder` and not installed; that needs no root. `inside` is where the package has it.
pub(crate) fn unpacked_program(folder: &Path, package: &str, inside: &str) -> Result<PathBuf, String> {
    let name = inside.rsplit('/').next().unwrap_or(inside);
    if shell::works(name, &["--version"]) {
        return Ok(name.into());
    }
    let program = folder.join(inside);
    let is_there = || program.to_str().is_some_and(|program| shell::works(program, &["--version"]));
    if is_there() {
        return Ok(program);
    }
    let why = match unpacked(folder, package) {
        Ok(()) if is_there() => return Ok(program),
        Ok(()) => "what it holds does not run here".to_owned(),
        Err(error) => error,
    };
    Err(format!("Debian's package `{package}` could not be unpacked: {why}. Put a {name} on the path"))
}

/// Has Debian's package lie unpacked in a folder.
fn unpacked(folder: &Path, package: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed)?;
    }
    fs::create_dir_all(folder).map_err(failed)?;
    let download = || shell::run(Command::new("apt-get").args(["download", package]).current_dir(folder));
    // A fresh container has no package lists.
    if download().is_err() {
        if let Err(error) = apt(&["update"]) {
            eprintln!("{error}");
        }
        download()?;
    }
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let file = fs::read_dir(folder).map_err(failed)?.flatten().map(|entry| entry.path()).find(is_package);
    let file = file.ok_or("apt-get left no package")?;
    shell::run(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(folder))?;
    fs::remove_file(file).map_err(failed)
}

/// Runs `apt-get` as root.
fn apt(arguments: &[&str]) -> Result<(), String> {
    if !shell::works("apt-get", &["--version"]) {
        return Err("there is no apt-get".to_owned());
    }
    // `-n`: nobody may be there to type a password.
    let needs_sudo = !shell::works("sh", &["-c", "test \"$(id -u)\" = 0"]);
    if needs_sudo && !shell::works("sudo", &["-n", "true"]) {
        return Err("apt-get needs root".to_owned());
    }
    let mut command = Command::new(if needs_sudo { "sudo" } else { "apt-get" });
    if needs_sudo {
        command.args(["-n", "apt-get"]);
    }
    shell::run(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}
