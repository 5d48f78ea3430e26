//! Gets programs of Debian onto the machine: what is on the path is taken, the rest installed, with `sudo` where whoever runs this is not root.

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
    let missing = || programs.iter().filter(|(program, _)| !shell::works(program, &["--version"]));
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

/// Gets the lists of packages, where that is allowed; what came of it is seen by whoever needs them.
pub(crate) fn update() {
    if let Err(error) = apt(&["update"]) {
        eprintln!("{error}");
    }
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
