//! The README's commands work as they are written.
//!
//! Blocks marked `sh` are run, in order, by bash, in a folder that has what the README says there is. `sortie serve` is started
//! and goes on in the background. Other blocks build, or are files; of those, the commands must exist. So it is with what
//! `docs/OPERATIONS.md` tells of backups, in a folder that is laid out as systemd does it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

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

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port()
}

#[test]
fn every_command_works_as_it_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["examples", "plugins"] {
        std::os::unix::fs::symlink(project().join(name), folder.path().join(name)).expect("a link");
    }
    // The default port may be somebody's; everything else is as a user has it.
    let port = free_port();
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

/// `systemctl` as far as the commands need it. What it starts ends with `stop`; its file `pid` is there as long as it runs.
const SYSTEMCTL: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
[ "$2" = sortie ] || exit 1
case $1 in
start)
    : > log
    (sortie --config sortie.toml serve < /dev/null > log 2>&1 & echo $! > pid; wait $!; rm pid) > /dev/null 2>&1 &
    until grep -q '^sortie listening' log; do sleep 0.05; kill -0 $! || exit 1; done ;;
stop)
    [ ! -e pid ] || kill "$(cat pid)"
    while [ -e pid ]; do sleep 0.05; done ;;
*) exit 1 ;;
esac
"#;

/// A machine with the README's unit: `DynamicUser` and `StateDirectory` make `/var/lib/sortie` a link.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for path in ["var/lib/private/sortie", "backup"] {
            fs::create_dir_all(root.join(path)).expect("a folder");
        }
        std::os::unix::fs::symlink("private/sortie", root.join("var/lib/sortie")).expect("a link");
        let data = root.join("var/lib/sortie");
        let data = data.display().to_string();
        let config = format!("[node]\nlisten = \"127.0.0.1:{}\"\ndata_dir = {data:?}\n", free_port());
        fs::write(root.join("sortie.toml"), config).expect("writable");
        fs::write(root.join("systemctl"), SYSTEMCTL).expect("writable");
        fs::set_permissions(root.join("systemctl"), fs::Permissions::from_mode(0o755)).expect("its own file");
        Self(folder)
    }

    /// Runs commands, with this machine's folders in the place of the system's.
    fn run(&self, script: &str) -> Output {
        let root = self.0.path().display();
        let script = [("/var/lib", "/var/lib"), ("/backup", "/backup"), ("/etc/sortie/", "/")]
            .into_iter()
            .fold(script.to_owned(), |script, (there, here)| script.replace(there, &format!("{root}{here}")));
        // What is started in the background must not hold the output: it has a file for that.
        let mut command = bash(self.0.path(), &format!("PATH=\"{root}:$PATH\"\n{script}"));
        command.output().expect("bash")
    }

    /// What commands say that must work.
    fn said(&self, script: &str) -> String {
        let output = self.run(script);
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        let log = fs::read_to_string(self.0.path().join("log")).unwrap_or_default();
        assert!(output.status.success(), "{script}\n{said}\n{log}");
        said
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.run("systemctl stop sortie"));
    }
}

#[test]
fn a_backup_that_is_made_and_put_back_as_it_is_written_has_the_missions() {
    let scripts: Vec<String> = blocks("docs/OPERATIONS.md")
        .into_iter()
        .filter_map(|(kind, script)| (kind == "sh").then_some(script))
        .collect();
    let [backup, restore] = scripts.as_slice() else {
        panic!("one block makes a backup, one puts it back: {scripts:?}")
    };
    let machine = Machine::new();
    let data = machine.0.path().join("var/lib/sortie");
    let envelope = project().join("examples/nightly-report.json");
    let ran = machine.said(&format!("sortie --config sortie.toml --json run {}", envelope.display()));
    let event: serde_json::Value = serde_json::from_str(ran.lines().next().expect("an event")).expect("an event");
    let mission = event["mission_id"].as_str().expect("an id").to_owned();
    let show = format!("sortie --config sortie.toml journal {mission}");

    machine.said("systemctl start sortie");
    let before = machine.said(&show);
    assert!(machine.said(backup).contains("sortie-2026-11-22.tar  whole"));
    assert_eq!(machine.said(&show), before, "the node goes on");

    machine.said("systemctl stop sortie");
    fs::write(data.join("journal.redb"), "").expect("a damaged disk");
    assert!(
        !machine.run("systemctl start sortie").status.success(),
        "a node does not begin anew over a damaged journal"
    );

    assert!(machine.said(restore).contains("restored"));
    assert_eq!(machine.said(&show), before, "the mission is there");
    assert_eq!(fs::read_link(&data).expect("still a link"), Path::new("private/sortie"));
    let aside = fs::read_dir(&data).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut aside = aside.filter(|path| path.to_string_lossy().contains("/before-restore-"));
    let damaged = aside.next().expect("what was there is moved aside").join("journal.redb");
    assert!(damaged.is_file(), "what was damaged is kept");
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
