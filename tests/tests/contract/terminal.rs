//! `sortie run` at a terminal: what it asks there, and that a question holds up no signal.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sortie_tests::envelope::{with, writing};
use sortie_tests::{Node, Receiver, Reply, Terminal, automation, binary, looping};
use tempfile::TempDir;

/// `sortie run` of a mission that asks, with a terminal as its standard input, at its prompt.
struct AtThePrompt {
    child: Child,
    terminal: Terminal,
    _folder: TempDir,
}

impl AtThePrompt {
    fn begin() -> Self {
        Self::of(&with(writing("asks"), "/constraints/approval_required", json!(["Write"])), b"[y]es")
    }

    /// The same of that mission, until it prompts so.
    fn of(mission: &Value, prompt: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = "[node]\ninstance_id = \"factory-1\"\ndata_dir = \"data\"\n";
        std::fs::write(folder.path().join("sortie.toml"), config).expect("writable");
        std::fs::write(folder.path().join("mission.json"), mission.to_string()).expect("writable");
        let terminal = Terminal::open(80);
        let mut command = Command::new(binary());
        command.args(["run", "mission.json"]).current_dir(folder.path()).env("NO_COLOR", "1");
        command.stdin(terminal.end()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut talk = child.stderr.take().expect("it was piped");
        let mut said = Vec::new();
        while !said.windows(prompt.len()).any(|part| part == prompt) {
            let mut more = [0; 256];
            let read = talk.read(&mut more).expect("readable");
            assert!(read > 0, "it does not ask: {}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&more[..read]);
        }
        std::thread::spawn(move || std::io::copy(&mut talk, &mut std::io::sink()));
        Self { child, terminal, _folder: folder }
    }

    /// How it ends: its exit code, and what it said of the mission.
    async fn end(self) -> (Option<i32>, String) {
        let ended = tokio::task::spawn_blocking(move || {
            // The terminal stays open until it has ended: its end would be one, too.
            let output = self.child.wait_with_output();
            drop(self.terminal);
            output
        });
        let output = ended.await.expect("no panic").expect("it ends");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[tokio::test]
async fn an_interrupt_at_the_prompt_cancels_the_mission() {
    for signal in [Signal::INT, Signal::TERM] {
        let run = AtThePrompt::begin();
        kill_process(Pid::from_child(&run.child), signal).expect("it runs");
        let (code, said) = run.end().await;
        assert_eq!(code, Some(4), "{signal:?}: {said}");
        assert!(said.contains("cancelled"), "{said}");
    }
}

#[tokio::test]
async fn an_answer_at_the_prompt_lets_the_mission_go_on() {
    let mut run = AtThePrompt::begin();
    // What is no answer is asked again.
    run.terminal.screen.write_all(b"perhaps\ny\n").expect("a terminal");
    let (code, said) = run.end().await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn what_a_child_asks_is_asked_at_the_prompt_of_its_parent() {
    let child = json!({
        "objective": "Ask.", "mission_type": "automation",
        "inputs": { "steps": [{ "id": "q", "tool": "ask", "with": { "question": "Which one?" } }] },
    });
    let mut run = AtThePrompt::of(&automation("night", &json!([{ "id": "c", "mission": child }])), b"Which one?");
    run.terminal.screen.write_all(b"the blue one\n").expect("a terminal");
    let (code, said) = run.end().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("night.child-1 asks: Which one?"), "{said}");
}

#[tokio::test]
async fn what_was_not_carried_out_has_an_exit_code_of_its_own() {
    let node = Node::start().await;
    let code =
        |output: std::process::Output| (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned());
    // A journal that is in use is no mission that failed.
    let file = node.folder().join("mission.json");
    std::fs::write(&file, writing("local").to_string()).expect("writable");
    let config = format!("[node]\ndata_dir = {:?}\n", node.data());
    std::fs::write(node.folder().join("same.toml"), config).expect("writable");
    let mut command = Command::new(binary());
    command.args(["--config", "same.toml", "run", "mission.json"]).current_dir(node.folder());
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it starts");
    let (exit, said) = code(output);
    assert_eq!(exit, Some(6), "{said}");
    assert!(said.contains("in use by another process"), "{said}");
    let (exit, said) = code(node.cli(&["show", "nobody"]).await);
    assert_eq!(exit, Some(6), "{said}");
}

#[tokio::test]
async fn a_mission_that_failed_says_how_to_try_again() {
    let node = Node::start().await;
    let failing = with(writing("fails"), "/inputs/steps/0/with/path", json!("../outside"));
    let file = node.folder().join("mission.json");
    std::fs::write(&file, failing.to_string()).expect("writable");
    let submit = async || node.cli(&["submit", &file.to_string_lossy()]).await;
    let first = submit().await;
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    node.until_final("fails").await;
    let again = submit().await;
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    for expected in ["fails has ended failed", "another mission_id and another idempotency_key"] {
        assert!(said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn a_run_waits_until_its_events_have_arrived() {
    let receiver = Receiver::scripted(|_, _| Reply::After(Duration::from_millis(400))).await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!("[node]\ninstance_id = \"factory-1\"\ndata_dir = \"data\"\n{}", receiver.config());
    std::fs::write(folder.path().join("sortie.toml"), config).expect("writable");
    let mission = with(writing("told"), "/callback", receiver.callback());
    std::fs::write(folder.path().join("mission.json"), mission.to_string()).expect("writable");
    let mut command = Command::new(binary());
    command.args(["run", "mission.json"]).current_dir(folder.path()).env("CALLBACK_TOKEN", "hush").stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let last = receiver.of("told").last().map(|event| event.json["status"].clone());
    assert_eq!(last, Some(json!("completed")), "it ended before its last event had arrived: {said}");
    assert!(!said.contains("not all events"), "{said}");
}

#[tokio::test]
async fn a_run_that_was_killed_holds_no_other_run_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "[node]\ninstance_id = \"factory-1\"\ndata_dir = \"data\"\n";
    std::fs::write(folder.path().join("sortie.toml"), config).expect("writable");
    // Both are of one session.
    for (file, mission) in [("endless.json", looping("endless")), ("short.json", writing("short"))] {
        let mission = with(mission, "/vp_id", json!("vp.same"));
        std::fs::write(folder.path().join(file), mission.to_string()).expect("writable");
    }
    let run = |file: &str| {
        let mut command = Command::new(binary());
        command.args(["run", file]).current_dir(folder.path()).stdin(Stdio::null()).stderr(Stdio::null());
        command
    };
    let mut killed = run("endless.json").stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut shown = BufReader::new(killed.stdout.take().expect("it was piped")).lines();
    assert!(shown.any(|line| line.is_ok_and(|line| line.contains("Started"))), "it runs");
    killed.kill().expect("a child can be killed");
    killed.wait().expect("a killed child ends");
    let mut command = run("short.json");
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

/// `sortie doctor --json` with these arguments, on the machine of a node.
async fn doctor(node: &Node, arguments: &[&str]) -> (Option<i32>, Value) {
    let mut command = Command::new(binary());
    command.args(["doctor", "--json"]).args(arguments).current_dir(node.folder()).env_remove("SORTIE_TOKEN");
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it starts");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    (output.status.code(), said)
}

/// The findings of one side, by what they are of.
fn found<'a>(said: &'a Value, of: &str, what: &str) -> Option<&'a Value> {
    said["findings"].as_array()?.iter().find(|finding| finding["of"] == of && finding["what"] == what)
}

#[tokio::test]
async fn doctor_has_one_subject_and_names_it() {
    let mut node = Node::start().await;
    let listen = node.url().trim_start_matches("http://").to_owned();
    let own = format!("[node]\ndata_dir = {:?}\nlisten = {listen:?}\n", node.data());
    let other = "[node]\ndata_dir = \"elsewhere\"\nlisten = \"127.0.0.1:0\"\n";
    for (name, text) in [("own.toml", own), ("other.toml", other.to_owned())] {
        std::fs::write(node.folder().join(name), text).expect("writable");
    }
    // Its own node: both sides, and the folder is the node's.
    let (code, said) = doctor(&node, &["--config", "own.toml"]).await;
    assert_eq!(code, Some(0), "{said:#}");
    assert_eq!(said["node"]["of_this_data_dir"], true, "{said:#}");
    assert_eq!(found(&said, "here", "journal").expect("looked at")["says"], "it is in use by the node");
    // A node that was named, and is another's: nothing is said of a folder that it has nothing to do with.
    let (url, token) = (node.url().to_owned(), node.token().to_owned());
    let named = ["--config", "other.toml", "--node", &url, "--token", &token];
    let (code, said) = doctor(&node, &named).await;
    assert_eq!((code, &said["here"]), (Some(0), &Value::Null), "{said:#}");
    assert!(found(&said, "here", "journal").is_none() && found(&said, "node", "state").is_some(), "{said:#}");
    // Paused is not well.
    node.post("/v1/node/pause", &json!(null)).await.expect_status(200);
    let (code, said) = doctor(&node, &named).await;
    assert_eq!(code, Some(1), "{said:#}");
    assert_eq!(found(&said, "node", "state").expect("looked at")["level"], "look", "{said:#}");
    // Without a node, what the next start would refuse: here a copy of the journal that is older than its mark.
    node.stop().await;
    let mark = node.data().join("journal.redb.mark");
    std::fs::write(&mark, format!("sortie journal, commits: {:020}\n", 1_000_000)).expect("writable");
    let (code, said) = doctor(&node, &["--config", "own.toml"]).await;
    assert_eq!(code, Some(1), "{said:#}");
    let journal = found(&said, "here", "journal").expect("looked at");
    assert!(journal["level"] == "look" && journal["says"].to_string().contains("older copy"), "{said:#}");
    assert!(node.refused().await.contains("older copy"), "as the start says");
}
