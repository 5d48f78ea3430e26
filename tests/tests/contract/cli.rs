//! The command line: exit codes, and data on standard output.

use std::process::Output;

use serde_json::{Value, json};
use sortie_tests::envelope::{with, without, write, writing};
use sortie_tests::{Node, Options, Receiver, Reply, automation, binary, looping, workspace_made};
use tempfile::TempDir;

/// `sortie run` on an envelope, with a data folder of its own.
async fn run(envelope: &Value, further: &[&str]) -> (Output, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("sortie.toml"), "[node]\ninstance_id = \"factory-1\"\ndata_dir = \"data\"\n")
        .expect("writable");
    std::fs::write(folder.path().join("mission.json"), envelope.to_string()).expect("writable");
    let mut command = std::process::Command::new(binary());
    command.args(["run", "mission.json"]).args(further).current_dir(folder.path()).env("NO_COLOR", "1");
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it starts");
    (output, folder)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn run_says_by_its_exit_code_how_the_mission_ended() {
    let failing = automation("fails", &json!([{"id": "r", "tool": "Read", "with": {"path": "absent"}}]));
    let rows = [
        (writing("ok"), 0),
        (failing, 1),
        (with(writing("unusable"), "/mission_type", json!("x")), 2),
        (with(looping("late"), "/budget/max_runtime_minutes", json!(0.02)), 3),
    ];
    for (envelope, code) in rows {
        let (output, _folder) = run(&envelope, &[]).await;
        assert_eq!(output.status.code(), Some(code), "{envelope}\n{}\n{}", text(&output.stdout), text(&output.stderr));
    }
}

#[tokio::test]
async fn run_fills_in_what_a_file_may_leave_out() {
    let mut envelope = writing("sparse");
    for field in ["mission_id", "idempotency_key", "created_at", "trace_id", "source_instance_id", "target_instance_id"]
    {
        envelope = without(envelope, field);
    }
    let (output, _folder) = run(&envelope, &["--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines: Vec<Value> = text(&output.stdout).lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(lines.iter().any(|line| line["event_type"] == "mission.completed"), "{}", text(&output.stdout));
}

#[tokio::test]
async fn run_takes_up_a_mission_that_was_left_behind() {
    let receiver = Receiver::start().await;
    let mut node = Options::new().config(&receiver.config()).env("CALLBACK_TOKEN", "hush").start().await;
    let envelope = with(looping("left"), "/callback", receiver.callback());
    node.accept(&envelope).await;
    node.until_status("left", "running").await;
    let workspace = workspace_made(&node, "vp.left").await;
    node.kill();
    std::fs::write(workspace.join("never.txt"), "after all").expect("a workspace");
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!("[node]\ninstance_id = \"factory-1\"\ndata_dir = {:?}\n{}", node.data(), receiver.config());
    std::fs::write(folder.path().join("sortie.toml"), config).expect("writable");
    std::fs::write(folder.path().join("left.json"), envelope.to_string()).expect("writable");
    let mut command = std::process::Command::new(binary());
    command.args(["run", "left.json"]).current_dir(folder.path()).env("CALLBACK_TOKEN", "hush");
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let told = receiver.received().iter().filter(|one| one.json["event_type"] == "mission.completed").count();
    assert_eq!(told, 1, "its events go on as well: {}", text(&output.stderr));
}

#[tokio::test]
async fn run_waits_until_its_events_have_arrived() {
    // Whoever has the last one gets it a second after the mission has ended: what is refused is sent again.
    let refused = std::sync::atomic::AtomicBool::new(false);
    let receiver = Receiver::scripted(move |received, _| {
        let is_last = received.json["event_type"] == "mission.completed";
        let refuses = is_last && !refused.swap(true, std::sync::atomic::Ordering::Relaxed);
        Reply::Status(if refuses { 503 } else { 200 })
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!("[node]\ninstance_id = \"factory-1\"\ndata_dir = \"data\"\n{}", receiver.config());
    std::fs::write(folder.path().join("sortie.toml"), config).expect("writable");
    let envelope = with(writing("told"), "/callback", receiver.callback());
    std::fs::write(folder.path().join("mission.json"), envelope.to_string()).expect("writable");
    let mut command = std::process::Command::new(binary());
    command.args(["run", "mission.json"]).current_dir(folder.path()).env("CALLBACK_TOKEN", "hush");
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lasts: Vec<_> =
        receiver.received().into_iter().filter(|one| one.json["event_type"] == "mission.completed").collect();
    assert_eq!(lasts.len(), 2, "refused once, and taken before the process ends: {}", text(&output.stderr));
}

#[tokio::test]
async fn the_commands_show_a_nodes_missions() {
    let node = Node::start().await;
    let mut step = write("w", "r.md", "text");
    step["artifact"] = json!("r.md");
    let file = node.folder().join("mission.json");
    std::fs::write(&file, automation("shown", &json!([step])).to_string()).expect("writable");
    let path = file.to_string_lossy().into_owned();
    let submitted = node.cli(&["submit", &path]).await;
    assert!(submitted.status.success(), "{}", text(&submitted.stderr));
    node.until_final("shown").await;
    let rows: [(&[&str], &str); 9] = [
        (&["ls"], "shown"),
        (&["show", "shown"], "completed"),
        (&["watch", "shown"], "mission.completed"),
        (&["journal", "shown"], "Write"),
        (&["artifacts", "shown"], "r.md"),
        (&["artifacts", "shown", "--get", "r.md"], "text"),
        (&["tool", "ls"], "WebFetch"),
        (&["plugin", "ls"], "automation"),
        (&["--json", "ls"], "\"mission_id\""),
    ];
    for (arguments, expected) in rows {
        let output = node.cli(arguments).await;
        let said = text(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        assert!(
            said.replace("\": \"", "\":\"").contains(expected) || said.contains("completed"),
            "{arguments:?}: {said}"
        );
    }
    let cancelled = node.cli(&["cancel", "shown", "--reason", "late"]).await;
    assert!(!cancelled.status.success(), "it is final");
    let missing = node.cli(&["show", "nobody"]).await;
    assert!(!missing.status.success() && missing.stdout.is_empty(), "talk goes to standard error");
}

#[tokio::test]
async fn ls_is_filtered_and_paged_and_says_that_there_is_more() {
    let node = Node::start().await;
    for number in 0..5 {
        let later = with(writing(&format!("m-{number}")), "/autonomy_window/start_at", json!("2999-01-01T00:00:00Z"));
        node.accept(&later).await;
    }
    node.accept(&writing("done")).await;
    node.until_final("done").await;
    let (mut seen, mut cursor) = (Vec::new(), Vec::new());
    loop {
        let page: Vec<&str> =
            ["ls", "--status", "queued", "--limit", "2"].into_iter().chain(cursor.iter().map(String::as_str)).collect();
        let output = node.cli(&page).await;
        let (said, talk) = (text(&output.stdout), text(&output.stderr));
        seen.extend(said.lines().skip(1).filter_map(|line| Some(line.split_whitespace().next()?.to_owned())));
        assert!(said.contains("queued (window, until 2"), "why it waits: {said}");
        let Some((_, next)) = talk.split_once("--cursor ") else { break };
        cursor = vec!["--cursor".to_owned(), next.trim().to_owned()];
    }
    assert_eq!(seen, ["m-4", "m-3", "m-2", "m-1", "m-0"]);
    let since = node.mission("m-3").await["accepted_at"].as_str().expect("a time").to_owned();
    let lane = node.mission("m-0").await["vp_runtime_id"].as_str().expect("a lane").to_owned();
    for (arguments, expected) in [
        (vec!["ls", "--since", &since], vec!["done", "m-4"]),
        (vec!["ls", "--vp", "vp.m-2"], vec!["m-2"]),
        (vec!["ls", "--lane", &lane, "--limit", "1"], vec!["done"]),
        (vec!["ls", "--lane", "no.such.lane"], vec![]),
        (vec!["ls", "--type", "research"], vec![]),
    ] {
        let said = text(&node.cli(&arguments).await.stdout);
        let found: Vec<&str> = said.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(found, expected, "{arguments:?}");
    }
}

#[tokio::test]
async fn submit_takes_a_list_and_lines() {
    let node = Node::start().await;
    let list = json!([writing("l-0"), writing("l-1")]).to_string();
    let lines = format!("{}\n{}\n", writing("n-0"), writing("n-1"));
    for (name, content) in [("list.json", list), ("lines.ndjson", lines)] {
        let file = node.folder().join(name);
        std::fs::write(&file, content).expect("writable");
        let output = node.cli(&["submit", &file.to_string_lossy()]).await;
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    }
    for id in ["l-0", "l-1", "n-0", "n-1"] {
        node.until_final(id).await;
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_said_in_words_for_people() {
    let node = Node::start().await;
    let write = |name: &str, content: &str| {
        let file = node.folder().join(name);
        std::fs::write(&file, content).expect("writable");
        file.to_string_lossy().into_owned()
    };
    let wrong = write("wrong.json", "{}");
    let mark = write("mark.json", &format!("\u{feff}{}", writing("mark")));
    let (list, half) = (write("list.json", "[{}]"), write("half.json", "{\"objective\": "));
    let toml = write("node.toml", "[node]\nmax_running = 4\n");
    let surrogate = write("surrogate.json", "{\"objective\": \"\\ud83d\"}");
    let sixteen = node.folder().join("sixteen.json");
    std::fs::write(&sixteen, b"\xff\xfe{\0}\0").expect("writable");
    let sixteen = sixteen.to_string_lossy();
    // Both commands read a file in one way.
    let rows: [(&[&str], &str); 23] = [
        (&["submit", "-"], "standard input: it is empty: there is no envelope in it"),
        (&["run", "-"], "standard input: it is empty: there is no envelope in it"),
        (&["submit", &mark], "it begins with a byte order mark"),
        (&["run", &mark], "it begins with a byte order mark"),
        (&["submit", &sixteen], "it is not UTF-8"),
        (&["run", &sixteen], "it is not UTF-8"),
        (&["submit", &wrong], "it has 9 mistakes"),
        (&["run", &toml], "node.toml: it is a configuration, as its name says: `--config` names one"),
        (&["submit", &toml], "node.toml: it is a configuration"),
        (&["run", &list], "it is JSON, and no envelope: that is one object"),
        (&["run", &half], "it is not JSON"),
        (&["submit", &surrogate], "holds half of a character: a `\\u` escape of D800 to DFFF stands for nothing"),
        (&["show", ""], "it is empty: say which one is meant"),
        (&["show", ".."], "it is a step of a path"),
        (&["approve", "", "r1"], "it is empty"),
        (&["ls", "--since", "yesterday"], "'--since <TIME>': it must be an RFC 3339 time"),
        (&["ls", "--type", "codnig"], "'--type <TYPE>'"),
        (&["plugin", "rm", "hello?version=1.0.0"], "a version is named with --version"),
        (&["plugin", "rm", "hello@1.0.0"], "sortie plugin rm hello --version 1.0.0"),
        (&["plugin", "show", "hello@1.0.0"], "`hello`, and not `hello@1.0.0`"),
        (&["ls", "--node", node.url(), "--token", "two\nlines"], "is no token: a token is one line"),
        (&["ls", "--node", "127.0.0.1:7433"], "write http://127.0.0.1:7433"),
        (&["ls", "--node", "localhost:7433"], "write http://localhost:7433"),
    ];
    for (arguments, expected) in rows {
        let output = if arguments.contains(&"--node") { only(&node, arguments) } else { node.cli(arguments).await };
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected) && !said.contains("see `errors`"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_configuration_that_cannot_be_used_is_exit_code_2_whoever_finds_it() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("mission.json"), writing("m").to_string()).expect("writable");
    let said = |text: &str, arguments: &[&str]| {
        let config = format!("[node]\ninstance_id = \"factory-1\"\ndata_dir = \"data\"\n{text}");
        std::fs::write(folder.path().join("sortie.toml"), config).expect("writable");
        let mut command = std::process::Command::new(binary());
        let output = command.args(arguments).current_dir(folder.path()).env_remove("SORTIE_TOKEN").output();
        let output = output.expect("the binary starts");
        (output.status.code(), crate::cli::text(&output.stderr))
    };
    for (config, expected) in [
        ("listen = \"x\"", "node.listen"),
        ("[callback]\nattempts = 0", "callback.attempts must be more than zero"),
        ("[callback]\nconcurrency = 1", "callback.concurrency must be at least 2"),
        ("[callback]\nallow_private = [\"10.0.0.0/99\"]", "`10.0.0.0/99` is neither an IP address"),
        ("[callback]\nsigning_secret = \"whsec_abc\"", "callback.signing_secret"),
        ("[[callback.secret]]\nref = \"env://A\"\nhosts = []", "lists no hosts"),
        ("[tool.Wirte]", "[tool.Wirte]: there is no such tool; known are"),
        ("[tool.WebFetch]\nhosts = [\"http://example.org/x\"]", "[tool.WebFetch]: hosts"),
        ("[secret.forge]\nref = \"whsec_abc\"\nhosts = [\"a.example\"]", "[secret.forge]: ref"),
        ("[tool.HttpRequest]\nkey = \"env://A\"", "`key` is a key of [tool.WebSearch] only"),
        ("[tool.WebSearch]\nprovider = \"searxng\"", "[tool.WebSearch]: url"),
        ("[tool.WebFetch]\nallow_private = [\"10.0.0.0/99\"]", "[tool.WebFetch]: allow_private"),
        ("[[token]]\nname = \"hq\"\nref = \"secret\"\nscopes = []", "token.ref"),
        ("[[token]]\nname = \"hq\"\nref = \"env://SORTIE_NOT_SET\"\nscopes = []", "`SORTIE_NOT_SET` is not set"),
        ("[[token]]\nname = \"hq\"\nref = \"file:///not/there\"\nscopes = []", "/not/there"),
    ] {
        for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["run", "mission.json"]] {
            let (code, said) = said(config, arguments);
            assert_eq!(code, Some(2), "{config}, {arguments:?}: {said}");
            assert!(said.contains(expected), "{config}, {arguments:?}: {said}");
            assert!(!folder.path().join("data").exists(), "{config}: something was written before it was refused");
        }
    }
}

#[tokio::test]
async fn a_token_that_can_be_guessed_is_told_at_the_start() {
    let token = |name: &str| format!("[[token]]\nname = \"{name}\"\nref = \"env://{name}\"\nscopes = [\"read\"]");
    let options = Options::new().config(&token("SHORT")).config(&token("LONG"));
    let node = options.env("SHORT", "hush").env("LONG", "0123456789abcdef").start().await;
    let log = node.read_log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("can be guessed")).collect();
    assert!(matches!(told[..], [line] if line.contains("SHORT") && !line.contains("hush")), "{log}");
}

/// The command line, without what [`Node::cli`] adds to it.
fn only(node: &Node, arguments: &[&str]) -> Output {
    let mut command = std::process::Command::new(binary());
    let token: &[&str] = if arguments.contains(&"--token") { &[] } else { &["--token", "x"] };
    command.args(arguments).args(token).current_dir(node.folder());
    command.output().expect("the binary starts")
}

#[test]
fn completions_may_be_cut_short() {
    use std::io::Read as _;
    let mut command = std::process::Command::new(binary());
    command.args(["completions", "bash"]).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    // As `head` does: whatever is left finds no reader.
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    assert!(child.wait().expect("it ends").success(), "{said}");
    assert_eq!(said, "");
}

#[tokio::test]
async fn a_tool_can_be_tried_by_hand() {
    let node = Node::start().await;
    let output = node.cli(&["tool", "call", "Write", "{\"path\": \"a.txt\", \"content\": \"x\"}"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("a.txt"));
}

#[tokio::test]
async fn doctor_looks_at_everything() {
    let node = Options::new().config("[node]\ndata_dir = \"data\"").start().await;
    let output = node.cli(&["doctor"]).await;
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
}
