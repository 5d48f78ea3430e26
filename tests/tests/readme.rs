//! The README's commands work as they are written.
//!
//! Blocks marked `sh` are run, in order, by bash, in a folder that has what the README says there is. `sortie serve` is started
//! and goes on in the background. Other blocks build, or are files; of those, the commands must exist.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sortie_tests::{binary, project};

/// The blocks of a document: what follows the fence, and the text.
fn blocks(document: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(project().join(document)).expect("a document");
    let parts: Vec<&str> = text.split("```").collect();
    parts
        .chunks(2)
        .filter_map(|chunk| {
            let (kind, body) = chunk.get(1)?.split_once('\n')?;
            Some((kind.to_owned(), body.to_owned()))
        })
        .collect()
}

/// Ends the node with the test.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A bash in the README's folder, with a home of its own.
fn bash(folder: &Path, script: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let tools = binary().parent().expect("a program lies in a folder").display().to_string();
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(folder).stdin(Stdio::null());
    command.env("PATH", format!("{tools}:{path}")).env("HOME", folder).env("NO_COLOR", "1");
    for name in ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "SORTIE_TOKEN", "SORTIE_NODE"] {
        command.env_remove(name);
    }
    command
}

#[test]
fn every_command_works_as_it_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["examples", "plugins"] {
        std::os::unix::fs::symlink(project().join(name), folder.path().join(name)).expect("a link");
    }
    // The default port may be somebody's; everything else is as a user has it.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    fs::write(folder.path().join("sortie.toml"), format!("[node]\nlisten = \"127.0.0.1:{port}\"\n")).expect("writable");
    let mut node = None;
    let mut ran = 0;
    for (_, script) in blocks("README.md").into_iter().filter(|(kind, _)| kind == "sh") {
        let script = script.replace("127.0.0.1:7433", &format!("127.0.0.1:{port}"));
        if script.trim() == "sortie serve" {
            let mut child = bash(folder.path(), "exec sortie serve").stdout(Stdio::piped()).spawn().expect("bash");
            let mut first = String::new();
            BufReader::new(child.stdout.take().expect("piped")).read_line(&mut first).expect("a line");
            assert_eq!(first.trim(), format!("sortie listening on http://127.0.0.1:{port}"));
            node = Some(Background(child));
            continue;
        }
        let mut child =
            bash(folder.path(), &script).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("bash");
        let status = child.wait().expect("it ends");
        let mut said = String::new();
        child.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
        child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        assert!(status.success(), "{script}\n{said}");
        // A refused dispatch is an answer to curl.
        assert!(!said.contains("\"errors\"") && !said.contains("\"code\""), "{script}\n{said}");
        ran += 1;
    }
    assert!(node.is_some() && ran >= 4, "the README has commands to run");
}

#[test]
fn what_the_documents_call_exists() {
    let usage = fs::read_to_string(project().join("xtask/src/main.rs")).expect("xtask");
    for document in ["README.md", "docs/OPERATIONS.md", "docs/PLUGINS.md", "docs/BENCHMARKS.md", "examples/README.md"] {
        let text = fs::read_to_string(project().join(document)).expect("a document");
        for command in text.split("cargo xtask ").skip(1) {
            let name: String = command.chars().take_while(char::is_ascii_alphanumeric).collect();
            assert!(usage.contains(&format!("\"{name}\"")), "{document}: cargo xtask {name}");
        }
        for block in blocks(document).iter().map(|(_, body)| body) {
            for line in block.lines().filter(|line| line.starts_with("sortie ")) {
                // The options that take a value and may stand before the command.
                let mut words = line.split_whitespace().skip(1);
                let mut name = words.next().unwrap_or_default();
                while name.starts_with("--") {
                    name = words.nth(usize::from(name != "--json")).unwrap_or_default();
                }
                let helped = Command::new(binary()).args([name, "--help"]).output().expect("the binary starts");
                assert!(helped.status.success(), "{document}: {line}");
            }
        }
    }
}
