//! The harness of the black-box tests: real nodes on temporary folders, receivers that do what a script says, envelopes.
//!
//! Speaks only what the outside speaks (HTTP, the command line, signals) and names no crate of the runtime: what these
//! tests hold is the contract, not the code. A test waits by asking again until a deadline, never by sleeping for luck.

#![expect(clippy::disallowed_methods, reason = "tests watch a node from outside, with the clock of the outside")]

pub mod chromium;
pub mod envelope;
pub mod faults;
pub mod files;
pub mod guest;
pub mod history;
pub mod http;
pub mod load;
pub mod net;
pub mod nights;
pub mod node;
pub mod payloads;
pub mod receiver;
pub mod showcase;
pub mod site;
pub mod terminal;
mod warm;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use chromium::{Chromium, Look};
pub use envelope::{automation, looping};
pub use faults::{Disk, Faults};
pub use files::Files;
pub use http::Answer;
pub use load::Load;
pub use net::Net;
pub use node::{Node, Options};
pub use receiver::{Received, Receiver, Reply};
pub use terminal::{Terminal, at_a_terminal, without_colours};
pub use warm::warm;

/// How long a test waits for what must happen. Far more than it takes: machines that test are slow and shared.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer.
///
/// # Panics
/// After [`PATIENCE`], naming what was awaited.
pub async fn until<T>(awaited: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {awaited}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The project's folder.
///
/// # Panics
/// Never: this package lies in it.
#[must_use]
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in the project's folder")
}

/// The workspace of a VP that named no session.
///
/// # Panics
/// If it has none yet.
#[must_use]
pub fn workspace_of(node: &Node, vp: &str) -> PathBuf {
    find_workspace(node, vp).expect("a mission of the VP has run")
}

/// Writes a file into the workspace of a VP, once its mission has asked for one: what missions wait for.
///
/// # Panics
/// If it does not come to that.
pub async fn hand_over(node: &Node, vp: &str, file: &str) {
    let folder = workspace_made(node, vp).await;
    std::fs::write(folder.join(file), "go").expect("a writable workspace");
}

/// How many processes of this machine have that text as an argument.
///
/// # Panics
/// Without a `/proc`.
#[must_use]
pub fn alive(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("a list of processes").flatten();
    let told = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    told.filter(|arguments| String::from_utf8_lossy(arguments).split('\0').any(|argument| argument == mark)).count()
}

/// The workspace of a VP, once a mission of it has begun.
///
/// # Panics
/// If it does not come to that.
pub async fn workspace_made(node: &Node, vp: &str) -> PathBuf {
    until(&format!("a workspace of {vp}"), async || find_workspace(node, vp)).await
}

fn find_workspace(node: &Node, vp: &str) -> Option<PathBuf> {
    let folders = std::fs::read_dir(node.data().join("workspaces")).ok()?;
    let mut paths = folders.filter_map(|entry| Some(entry.ok()?.path()));
    let is_its = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{vp}.session-")))
    };
    paths.find(is_its)
}

/// The binary under test: `SORTIE_BIN`, or the one that was built beside this test.
///
/// # Panics
/// If there is none: `cargo build -p sortie` makes it.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("SORTIE_BIN") {
        return named.into();
    }
    let own = std::env::current_exe().expect("a running program has a path");
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join("sortie")).find(|file| file.is_file());
    found.expect("the binary is built: run `cargo xtask test`, or `cargo build -p sortie` first")
}
