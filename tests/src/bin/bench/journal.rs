//! Programs of the journal's own crate, for what cannot be asked of a node: they fill a journal, and weigh one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sortie_tests::project;

/// Adds so many copies of a journal's last mission to it.
pub(crate) fn multiply(journal: &Path, missions: u64) {
    let filled =
        Command::new(program("multiply")).arg(journal).arg(missions.to_string()).stdout(Stdio::null()).status();
    assert!(filled.expect("it starts").success(), "the journal was not filled");
}

/// The bytes that the journal of a node that is stopped holds.
pub(crate) fn weigh(journal: &Path) -> u64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copy = folder.path().join("journal.redb");
    std::fs::copy(journal, &copy).expect("room for a copy");
    let weighed = Command::new(program("weigh")).arg(copy).output().expect("it starts");
    let told = String::from_utf8_lossy(&weighed.stdout).trim().parse();
    told.unwrap_or_else(|_| panic!("the journal was not weighed: {}", String::from_utf8_lossy(&weighed.stderr)))
}

/// An example of the journal's crate: in the folder that `SORTIE_JOURNAL_EXAMPLES` names, or built here.
fn program(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("SORTIE_JOURNAL_EXAMPLES") {
        return PathBuf::from(folder).join(name);
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "sortie-journal", "--example", name, "--manifest-path"]);
    let status = cargo.arg(project().join("Cargo.toml")).status().expect("cargo can be started");
    assert!(status.success(), "the example `{name}` is not built");
    let own = std::env::current_exe().expect("a running program has a path");
    let folders = own.ancestors().skip(1).map(|folder| folder.join("debug/examples").join(name));
    folders.into_iter().find(|file| file.is_file()).expect("it was just built in the target folder of this program")
}
