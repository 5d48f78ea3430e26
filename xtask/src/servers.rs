//! Gets the reference servers of the tool protocol, its conformance suite, AgentDojo and Schemathesis onto the machine: others wrote them, and
//! the node has to get along with them.
//!
//! From npm and PyPI through their own clients, whatever registries those are set up for, into the target folder; once for each set of
//! versions.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use crate::npm;
use crate::shell::{self, Project};

/// Servers, which speak the era of the handshake; and the suite.
const NPM: [&str; 5] = [
    "@modelcontextprotocol/conformance@0.1.16",
    // A later version of it, for servers: its scenarios are of both eras.
    "conformance-of-servers@npm:@modelcontextprotocol/conformance@0.2.0-alpha.12",
    "@modelcontextprotocol/server-everything@2026.8.31",
    "@modelcontextprotocol/server-filesystem@2026.8.31",
    "@modelcontextprotocol/server-memory@2026.8.31",
];

/// The suite wants this one, which many machines do not have.
const NODE: &str = "22.23.3";

/// Servers that speak the later era.
const PYPI: [&str; 3] = ["mcp-server-git==2026.10.19", "mcp-server-time==2026.10.19", "mcp-server-fetch==2026.10.24"];

/// Tasks of agents and injections that lead them astray, with an environment of its own: it brings the clients of many models along.
const AGENTDOJO: &str = "agentdojo==0.1.35";

/// All that it brings along, so that two machines test against the same: `pip freeze` of an environment with nothing else.
const AGENTDOJO_CONSTRAINTS: &str = include_str!("../../tests/agentdojo/constraints.txt");

/// What asks a node whatever its description of the interface tells and forbids, and all that it brings along.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
const SCHEMATHESIS_CONSTRAINTS: &str = include_str!("../../tests/schemathesis/constraints.txt");

/// The folder with `node_modules/.bin`, `venv/bin`, `agentdojo/bin` and `schemathesis/bin`, with all of them in it.
pub(crate) fn installed(project: &Project) -> Result<PathBuf, String> {
    let folder = project.target().join("tools").join("mcp");
    let node = node();
    let packages = NPM.into_iter().chain(node.as_deref());
    let (mark, versions) = (
        folder.join("versions"),
        packages
            .clone()
            .chain(PYPI)
            .chain([AGENTDOJO, AGENTDOJO_CONSTRAINTS, SCHEMATHESIS, SCHEMATHESIS_CONSTRAINTS])
            .collect::<Vec<_>>()
            .join("\n"),
    );
    if fs::read_to_string(&mark).is_ok_and(|there| there == versions) {
        return Ok(folder);
    }
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    npm::install(&folder, packages, "the tests of tool servers")?;
    let constrained = |package: &'static str, file: &'static str, constraints: &str| {
        fs::write(folder.join(file), constraints).map_err(failed)?;
        Ok::<_, String>([package, "--constraint", file])
    };
    let agentdojo = constrained(AGENTDOJO, "agentdojo.txt", AGENTDOJO_CONSTRAINTS)?;
    let schemathesis = constrained(SCHEMATHESIS, "schemathesis.txt", SCHEMATHESIS_CONSTRAINTS)?;
    for (venv, packages) in [("venv", &PYPI[..]), ("agentdojo", &agentdojo), ("schemathesis", &schemathesis)] {
        shell::run(Command::new("python3").current_dir(&folder).args(["-m", "venv", venv]))
            .map_err(|error| format!("{error}; the tests of tool servers need Python 3.10 with venv"))?;
        let mut pip = Command::new(folder.join(venv).join("bin/pip"));
        shell::run(
            pip.current_dir(&folder).args(["install", "--quiet", "--disable-pip-version-check"]).args(packages),
        )?;
    }
    fs::write(&mark, versions).map_err(failed)?;
    Ok(folder)
}

/// The package with that Node for this machine; without one, the suite takes the machine's own.
fn node() -> Option<String> {
    let system = match env::consts::OS {
        "linux" => "linux",
        "macos" => "darwin",
        _ => return None,
    };
    let processor = match env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        _ => return None,
    };
    Some(format!("node-{system}-{processor}@{NODE}"))
}
