//! Gets a browser onto the machine, with what drives it and what looks for barriers on pages: the dashboard is tested before people see it.
//!
//! Takes what is on the path; else Debian's packages, with `sudo` where whoever runs this is not root. axe comes from npm, pinned, into the
//! target folder, as tool servers do.

use std::fs;
use std::path::PathBuf;

use crate::shell::{self, Project};
use crate::{debian, npm};

/// The browser and its driver, with the packages that bring them.
const PROGRAMS: [(&str, &str); 2] = [("chromium", "chromium"), ("chromedriver", "chromium-driver")];

/// Finds what keeps people from a page who see it badly, or not at all.
const AXE: &str = "axe-core@4.14.1";

/// The folder with `node_modules/axe-core`, with a browser and its driver on the path.
pub(crate) fn installed(project: &Project) -> Result<PathBuf, String> {
    debian::have("the tests of the dashboard", &PROGRAMS)?;
    axe(project)
}

fn axe(project: &Project) -> Result<PathBuf, String> {
    let folder = project.target().join("tools").join("browser");
    let mark = folder.join("versions");
    if fs::read_to_string(&mark).is_ok_and(|there| there == AXE) {
        return Ok(folder);
    }
    npm::install(&folder, [AXE], "the tests of the dashboard")?;
    fs::write(&mark, AXE).map_err(|error| format!("{}: {error}", mark.display()))?;
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
