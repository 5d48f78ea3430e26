//! Gets readers of metrics and traces onto the machine: those of Prometheus and OpenTelemetry themselves, by which the tests read what a node
//! tells. From PyPI through its own client, into the target folder; once for each set of versions.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::shell::{self, Project};

/// Where the tests look for the interpreter that has them.
pub(crate) const READERS: &str = "SORTIE_READERS";

/// All of them, with what they bring along.
const PYPI: [&str; 3] = ["prometheus-client==0.26.0", "opentelemetry-proto==1.45.2", "protobuf==7.36.2"];

/// The interpreter that has all of them.
pub(crate) fn installed(project: &Project) -> Result<PathBuf, String> {
    let folder = project.target().join("tools").join("readers");
    let (mark, versions) = (folder.join("versions"), PYPI.join("\n"));
    let python = folder.join("bin/python3");
    if fs::read_to_string(&mark).is_ok_and(|there| there == versions) {
        return Ok(python);
    }
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        .map_err(|error| format!("{error}; the tests of metrics and traces need Python 3.10 with venv"))?;
    let mut pip = Command::new(folder.join("bin/pip"));
    shell::run(pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(PYPI))?;
    fs::write(&mark, versions).map_err(|error| format!("{}: {error}", mark.display()))?;
    Ok(python)
}
