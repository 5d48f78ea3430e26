//! Compiled plugins, once for all tests: compiling them takes seconds, and every test starts a node of its own.
//!
//! A node is started once for each build of the binary; what it compiled is copied into the data folders of the others
//! before they start. Nodes that begin with nothing are tested where that matters.
//!
//! It lies beside the tests, and not in the system's temporary folder, which nobody would clear of it; what another build
//! of the binary has left there goes.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::binary;

/// Puts compiled plugins into `data`, the folder of a node that has not started yet.
///
/// # Panics
/// If no node comes up at all.
pub fn warm(data: &Path) {
    let plugins = compiled();
    copy(&plugins, &data.join("plugins"));
}

/// The plugins folder of a node of this very binary.
fn compiled() -> PathBuf {
    let binary = binary();
    let changed = fs::metadata(&binary).and_then(|metadata| metadata.modified()).expect("the binary is there");
    let built = changed.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos();
    let own = std::env::current_exe().expect("a running program has a path");
    let all = own.with_file_name("compiled-plugins");
    fs::create_dir_all(&all).expect("a writable folder");
    let lock = File::create(all.join("lock")).expect("a writable folder");
    lock.lock().expect("a lockable file");
    let folder = all.join(built.to_string());
    let done = folder.join("done");
    if !done.is_file() {
        clear(&all);
        start_once(&binary, &folder.join("data"));
        fs::write(&done, "").expect("a writable folder");
    }
    folder.join("data/plugins")
}

/// Removes what is there for any build.
fn clear(all: &Path) {
    for entry in fs::read_dir(all).expect("a readable folder").flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            fs::remove_dir_all(entry.path()).expect("a folder that nobody uses");
        }
    }
}

fn start_once(binary: &Path, data: &Path) {
    let mut node = Command::new(binary);
    node.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
    let mut node = node.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut first = String::new();
    BufReader::new(node.stdout.take().expect("it was piped")).read_line(&mut first).expect("readable output");
    assert!(first.starts_with("sortie listening"), "a node did not come up: {first:?}");
    node.kill().expect("a child can be killed");
    node.wait().expect("a killed child ends");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a writable folder");
    for entry in fs::read_dir(from).expect("a readable folder") {
        let entry = entry.expect("a readable folder");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a readable folder").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a readable file and a writable folder");
        }
    }
}
