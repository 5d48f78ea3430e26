//! Gets the reference servers of the tool protocol onto the machine: others wrote them, and the node has to get along with them.
//!
//! From npm and PyPI through their own clients, whatever registries those are set up for, into the target folder; once for each set of
//! versions.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::shell::{self, Project};

/// They speak the era of the handshake.
const NPM: [&str; 3] = [
    "@modelcontextprotocol/server-everything@2026.8.31",
    "@modelcontextprotocol/server-filesystem@2026.8.31",
    "@modelcontextprotocol/server-memory@2026.8.31",
];

/// They speak the later one.
const PYPI: [&str; 3] = ["mcp-server-git==2026.10.19", "mcp-server-time==2026.10.19", "mcp-server-fetch==2026.10.24"];

/// The folder with `node_modules/.bin` and `venv/bin`, with all of them in it.
pub(crate) fn installed(project: &Project) -> Result<PathBuf, String> {
    let folder = project.target().join("tools").join("mcp");
    let (mark, versions) = (folder.join("versions"), [NPM, PYPI].concat().join("\n"));
    if fs::read_to_string(&mark).is_ok_and(|there| there == versions) {
        return Ok(folder);
    }
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => fs::create_dir_all(&folder).map_err(failed)?,
    }
    // Without a file of its own npm would look for one further up.
    fs::write(folder.join("package.json"), "{\"private\": true}\n").map_err(failed)?;
    let mut npm = Command::new("npm");
    npm.current_dir(&folder).args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-save"]).args(NPM);
    shell::run(&mut npm).map_err(|error| format!("{error}; the tests of tool servers need npm and Node 20"))?;
    shell::run(Command::new("python3").current_dir(&folder).args(["-m", "venv", "venv"]))
        .map_err(|error| format!("{error}; the tests of tool servers need Python 3.10 with venv"))?;
    let mut pip = Command::new(folder.join("venv/bin/pip"));
    shell::run(pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(PYPI))?;
    fs::write(&mark, versions).map_err(failed)?;
    Ok(folder)
}
