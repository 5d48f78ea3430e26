//! Gets a server onto the machine that speaks as S3 does, and that others wrote: moto. From PyPI through its own client, into the target folder;
//! once for each version.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::shell::{self, Project};

/// Where the tests look for it.
pub(crate) const MOTO: &str = "SORTIE_MOTO";

const PYPI: &str = "moto[server]==5.1.18";

/// The program.
pub(crate) fn installed(project: &Project) -> Result<PathBuf, String> {
    let folder = project.target().join("tools").join("moto");
    let (mark, program) = (folder.join("version"), folder.join("bin/moto_server"));
    if fs::read_to_string(&mark).is_ok_and(|there| there == PYPI) {
        return Ok(program);
    }
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        .map_err(|error| format!("{error}; the tests of the shared store need Python 3.10 with venv"))?;
    let mut pip = Command::new(folder.join("bin/pip"));
    shell::run(pip.args(["install", "--quiet", "--disable-pip-version-check", PYPI]))?;
    fs::write(&mark, PYPI).map_err(|error| format!("{}: {error}", mark.display()))?;
    Ok(program)
}
