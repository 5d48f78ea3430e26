//! Schemathesis (nobody here wrote it) reads `/openapi.json` and asks a node whatever it can think of: what the document says, what it forbids,
//! and what lies at the edges. Whatever the node answers has to be what the document tells.
//!
//! `cargo xtask test` installs it and says where (`SORTIE_MCP_SERVERS`); without that there is nothing to test with, and it is said. What is
//! asked, and what is left out and why, is in `tests/schemathesis/schemathesis.toml`. A failure can be seen again with the command that it prints.

use std::path::PathBuf;
use std::process::Command;

use sortie_tests::project;

use crate::openapi::busy;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_answers_as_its_description_says_whatever_it_is_asked() {
    let Some(folder) = std::env::var_os("SORTIE_MCP_SERVERS").map(PathBuf::from) else {
        eprintln!("skipped: SORTIE_MCP_SERVERS is not set; `cargo xtask test` installs Schemathesis and sets it");
        return;
    };
    let (node, _receiver) = busy().await;
    let work = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(folder.join("schemathesis/bin/schemathesis"));
    command
        .current_dir(&work)
        .arg("--config-file")
        .arg(project().join("tests/schemathesis/schemathesis.toml"))
        .args(["run", &format!("{}/openapi.json", node.url()), "--no-color"])
        .env("SORTIE_TOKEN", node.token())
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", project().join("tests/schemathesis"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // It did ask, and each of the phases was one.
    let asked =
        said.split_once(" generated").and_then(|(before, _)| before.rsplit(char::is_whitespace).next()?.parse().ok());
    assert!(asked.is_some_and(|asked: u32| asked > 1_000), "{said}");
    node.get("/readyz").await.expect_status(200);
}
