//! Gets a browser onto the machine, with what drives it and what looks for barriers on pages: the dashboard is tested before people see it.
//!
//! Takes what is on the path; else Debian's packages, with `sudo` where whoever runs this is not root. axe comes from npm, pinned, into the
//! target folder, as tool servers do.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::shell::{self, Project};

/// The browser and its driver, by the programs that they bring.
const PROGRAMS: [&str; 2] = ["chromium", "chromedriver"];
const DEBIAN_PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// Finds what keeps people from a page who see it badly, or not at all.
const AXE: &str = "axe-core@4.14.1";

/// The folder with `node_modules/axe-core`, with a browser and its driver on the path.
pub(crate) fn installed(project: &Project) -> Result<PathBuf, String> {
    let is_there = || PROGRAMS.iter().all(|program| shell::works(program, &["--version"]));
    if !is_there() {
        install_debian();
    }
    if !is_there() {
        return Err(format!(
            "the tests of the dashboard need a browser, {}, and none could be installed. On Debian, as root: `apt-get install {}`",
            PROGRAMS.join(" and "),
            DEBIAN_PACKAGES.join(" ")
        ));
    }
    axe(project)
}

fn install_debian() {
    if !shell::works("apt-get", &["--version"]) {
        return;
    }
    // `-n`: nobody may be there to type a password.
    let needs_sudo = !shell::works("sh", &["-c", "test \"$(id -u)\" = 0"]);
    if needs_sudo && !shell::works("sudo", &["-n", "true"]) {
        return;
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new(if needs_sudo { "sudo" } else { "apt-get" });
        if needs_sudo {
            command.args(["-n", "apt-get"]);
        }
        shell::run(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let install: Vec<&str> =
        ["install", "--yes", "--no-install-recommends"].into_iter().chain(DEBIAN_PACKAGES).collect();
    // A fresh container has no package lists.
    if apt(&install).is_err()
        && let Err(error) = apt(&["update"]).and_then(|()| apt(&install))
    {
        eprintln!("{error}");
    }
}

fn axe(project: &Project) -> Result<PathBuf, String> {
    let folder = project.target().join("tools").join("browser");
    let mark = folder.join("versions");
    if fs::read_to_string(&mark).is_ok_and(|there| there == AXE) {
        return Ok(folder);
    }
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => fs::create_dir_all(&folder).map_err(failed)?,
    }
    // Without a file of its own npm would look for one further up.
    fs::write(folder.join("package.json"), "{\"private\": true}\n").map_err(failed)?;
    let mut install = Command::new("npm");
    install.current_dir(&folder).args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-save", AXE]);
    shell::run(&mut install).map_err(|error| format!("{error}; the tests of the dashboard need npm"))?;
    fs::write(&mark, AXE).map_err(failed)?;
    Ok(folder)
}

/// Takes pictures of each page of the dashboard, of a night that a node plays, for docs/DASHBOARD.md.
pub(crate) fn screenshots(project: &Project) -> Result<(), String> {
    crate::setup::plugins(project)?;
    let tools = installed(project)?;
    let node = project.build_node(false)?;
    // The clocks of the node are set by a library beneath it.
    shell::run(&mut project.cargo_with("build --package sortie-faults --examples"))?;
    let mut taken = project.cargo_with("run --quiet --package sortie-tests --bin screenshots");
    shell::run(taken.env("SORTIE_BIN", node).env(TOOLS, tools))
}

/// What tells tests where axe is.
pub(crate) const TOOLS: &str = "SORTIE_BROWSER_TOOLS";
