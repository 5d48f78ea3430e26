//! Gets PostgreSQL onto the machine, and makes a server for the tests to copy: what a test kills is its own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian;
use crate::shell::{self, Project};

/// What tells the tests where it is.
pub(crate) const POSTGRES: &str = "SORTIE_POSTGRES";

/// The package that has it. What it starts as a service is nobody's concern here.
const PACKAGE: &str = "postgresql-15";

/// Where that puts its programs; each version has a folder of its own.
const PROGRAMS: &str = "/usr/lib/postgresql";

/// Who runs it where root tests: it refuses to run as root.
const NOBODY: u32 = 65_534;

/// A folder with its programs in `bin`, and in `data` a server that has never run.
pub(crate) fn installed(project: &Project) -> Result<PathBuf, String> {
    let programs = match programs() {
        Some(programs) => programs,
        None => {
            debian::install(&[PACKAGE]);
            programs().ok_or_else(|| {
                format!(
                    "the tests of the store in a database need PostgreSQL, which could not be installed. On Debian, as root: \
                     `apt-get install {PACKAGE}`"
                )
            })?
        }
    };
    let folder = project.target().join("tools").join("postgres");
    if is_of(&folder, &programs) {
        return Ok(folder);
    }
    make(&folder, &programs).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// The newest that is there.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(PROGRAMS).ok()?.flatten().map(|entry| entry.path().join("bin"));
    let usable = versions.filter(|bin| bin.join("initdb").exists() && bin.join("psql").exists());
    // By number: as texts, 9.6 comes behind 15.
    usable.max_by_key(|bin| {
        let parts = version(bin).split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        parts.collect::<Vec<_>>()
    })
}

/// What their folder is called.
fn version(programs: &Path) -> &str {
    programs.parent().and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default()
}

/// Whether all of the folder was made, and with these programs: it may be kept for longer than they are.
fn is_of(folder: &Path, programs: &Path) -> bool {
    folder.join("made").exists()
        && fs::read_link(folder.join("bin")).is_ok_and(|bin| bin == programs)
        && fs::read_to_string(folder.join("data/PG_VERSION")).is_ok_and(|made| made.trim() == version(programs))
}

fn make(folder: &Path, programs: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed)?;
    }
    fs::create_dir_all(folder).map_err(failed)?;
    symlink(programs, folder.join("bin")).map_err(failed)?;
    let mut initdb = Command::new(programs.join("initdb"));
    initdb.args(["--username=sortie", "--auth=trust", "--encoding=UTF8", "--no-locale", "--pgdata"]);
    initdb.arg(folder.join("data")).current_dir(folder).env("LC_ALL", "C");
    if fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        chown(folder, Some(NOBODY), Some(NOBODY)).map_err(failed)?;
        initdb.uid(NOBODY).gid(NOBODY);
    }
    shell::run(&mut initdb)?;
    // Last: one that was broken off is made anew.
    fs::write(folder.join("made"), "").map_err(failed)
}
