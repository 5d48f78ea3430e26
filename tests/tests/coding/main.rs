//! The plugin `coding` on a real node, with models that are played by scripts: each ending that a careful colleague would choose, repositories
//! as they are found, and a node that dies at each call.
//!
//! All missions of a test run on one node, side by side; each has a model, a session and a repository of its own.

#![expect(clippy::disallowed_methods, reason = "tests watch a node from outside, with the clock of the outside")]

mod endings;
mod intake;
mod killed;
mod polyglot;
mod strange;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sortie_tests::envelope::with;
use sortie_tests::{Node, Options, automation, workspace_of};
use tempfile::TempDir;

/// What missions may call unless a test says otherwise.
const TOOLS: [&str; 6] = ["Read", "Write", "Edit", "Glob", "Grep", "Bash"];

/// A node, and the scripts of its models.
struct Bench {
    node: Node,
    _scripts: TempDir,
}

/// A wish of a model.
#[expect(clippy::needless_pass_by_value, reason = "tests write it down where they call")]
fn call(name: &str, input: Value) -> Value {
    json!({"content": [{"type": "tool_use", "id": "t", "name": name, "input": input}], "stop_reason": "tool_use"})
}

/// An entry of a script: what the model says in that turn.
#[expect(clippy::needless_pass_by_value, reason = "tests write it down where they call")]
fn turn(turn: usize, answer: Value) -> Value {
    json!({"when": {"turn": turn}, "answer": answer})
}

/// The same, in words.
fn says(at: usize, text: &str) -> Value {
    json!({"when": {"turn": at}, "text": text})
}

/// What mends the repository of [`repository`].
fn mends(at: usize) -> Value {
    turn(at, call("Edit", json!({"path": "add.sh", "old": "-", "new": "+"})))
}

impl Bench {
    /// A node with a model for each script, and with these further lines of configuration.
    async fn start(config: &str, scripts: &BTreeMap<&str, Vec<Value>>) -> Self {
        Self::on(Options::new(), config, scripts).await
    }

    /// The same, of a node that is started so.
    async fn on(options: Options, config: &str, scripts: &BTreeMap<&str, Vec<Value>>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut toml = format!("[tool.Bash]\nenabled = true\n{config}\n");
        for (name, answers) in scripts {
            let file = folder.path().join(format!("{name}.json"));
            fs::write(&file, json!({"answers": answers}).to_string()).expect("writable");
            toml += &format!("[model.{name}]\nprotocol = \"scripted\"\nfile = {file:?}\nfree = true\n");
        }
        let node = options.config(&toml).start().await;
        Self { node, _scripts: folder }
    }

    /// The workspace in which the missions of a VP find things.
    async fn workspace(&self, vp: &str) -> PathBuf {
        let id = format!("{}-begins", vp.trim_start_matches("vp."));
        let first = automation(&id, &json!([sortie_tests::envelope::write("w", "note.txt", "here")]));
        let end = self.node.run(&with(first, "/vp_id", json!(vp))).await;
        assert_eq!(end["status"], "completed", "{end:#}");
        workspace_of(&self.node, vp)
    }

    async fn artifact(&self, id: &str, name: &str) -> Vec<u8> {
        let answer = self.node.get(&format!("/v1/missions/{id}/artifacts/{name}")).await.expect_status(200);
        answer.text.into_bytes()
    }

    async fn text(&self, id: &str, name: &str) -> String {
        String::from_utf8(self.artifact(id, name).await).expect("a text")
    }
}

/// A coding mission with the model and the session of its own name.
fn coding(id: &str) -> Value {
    json!({
        "mission_id": id, "vp_id": format!("vp.{id}"), "source_instance_id": "hq", "target_instance_id": "factory-1",
        "mission_type": "coding", "objective": "Make add.sh add.",
        "inputs": {"repository": "repo", "test": "sh test.sh", "model": id},
        "constraints": {"allowed_tools": TOOLS},
        "idempotency_key": id, "trace_id": id, "created_at": "2026-11-22T00:00:00Z",
    })
}

/// Git, as whoever owns a repository calls it.
fn git(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("git")
        .args(["-c", "user.name=Owner", "-c", "user.email=owner@localhost", "-c", "protocol.file.allow=always"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::null())
        .output()
        .expect("these tests ask git");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned();
    (output.status.success(), said)
}

fn git_must(folder: &Path, arguments: &[&str]) -> String {
    let (well, said) = git(folder, arguments);
    assert!(well, "git {arguments:?}: {said}");
    said
}

/// A repository with a script that does not add, and a test that says so.
fn repository(at: &Path) {
    fs::create_dir_all(at).expect("writable");
    fs::write(at.join("add.sh"), "echo $(($1 - $2))\n").expect("writable");
    let test = "sum=$(sh add.sh 2 3)\n[ \"$sum\" = 5 ] || { echo \"2 and 3 make $sum\"; exit 1; }\necho all is well\n";
    fs::write(at.join("test.sh"), test).expect("writable");
    commit_all(at);
}

/// Makes a repository of what is there.
fn commit_all(at: &Path) {
    git_must(at, &["init", "-q", "-b", "main"]);
    git_must(at, &["add", "-A"]);
    git_must(at, &["commit", "-q", "-m", "base"]);
}

/// A fresh checkout of a commit with the patch on it.
fn applied(repository: &Path, base: &str, patch: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    git_must(folder.path(), &["clone", "-q", &repository.display().to_string(), "fresh"]);
    let fresh = folder.path().join("fresh");
    git_must(&fresh, &["checkout", "-q", base]);
    let file = folder.path().join("changes.patch");
    fs::write(&file, patch).expect("writable");
    git_must(&fresh, &["am", "-q", &file.display().to_string()]);
    folder
}

/// Whether the repository's own test passes in a fresh checkout with the patch.
fn passes(repository: &Path, patch: &[u8]) -> bool {
    let fresh = applied(repository, "main", patch);
    let output = Command::new("sh").arg("test.sh").current_dir(fresh.path().join("fresh")).output().expect("a shell");
    output.status.success()
}
