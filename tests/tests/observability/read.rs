//! What a node tells, as the readers of Prometheus and OpenTelemetry understand it.
//!
//! `cargo xtask test` installs them and says where (`SORTIE_READERS`); without that there is nothing to read with, and it is said.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use sortie_tests::project;

const READERS: &str = "SORTIE_READERS";

/// Whether there are readers.
pub(crate) fn is_there() -> bool {
    let is_there = std::env::var_os(READERS).is_some();
    if !is_there {
        eprintln!("skipped: {READERS} is not set; `cargo xtask test` installs the readers and sets it");
    }
    is_there
}

/// What they read of a text in that form.
///
/// # Panics
/// Where they do not take it.
pub(crate) fn read(form: &str, text: &str) -> Vec<Value> {
    let mut reader = Command::new(std::env::var_os(READERS).expect("it was asked for"))
        .arg(project().join("tests/observability/read.py"))
        .arg(form)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut input = reader.stdin.take().expect("it was piped");
    // It reads all of it before it says anything.
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let output = reader.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}
