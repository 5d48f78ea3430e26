//! How the command line looks to people: at a terminal and in a file, by the clock of the place, and across what goes wrong.

use std::io::{Read as _, Write as _};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sortie_tests::envelope::{with, without, writing};
use sortie_tests::{
    Node, Options, Receiver, at_a_terminal, automation, binary, hand_over, looping, until, without_colours,
};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command shows at a terminal of so many columns.
async fn seen(node: &Node, columns: u16, arguments: &[&str]) -> String {
    let (_, seen) = at_a_terminal(node.command(arguments), columns, "").await;
    seen
}

/// A node on which a mission failed, one is done, and one waits for its window.
async fn some_missions() -> Node {
    some_missions_on(Node::start().await).await
}

/// The same on this node.
async fn some_missions_on(node: Node) -> Node {
    let outside = with(writing("fails"), "/inputs/steps/0/with/path", json!("../outside"));
    let step = json!({"id": "w", "tool": "Write", "with": {"path": "a.md", "content": "x"}, "artifact": "report of the night.md"});
    for (id, envelope) in [("fails", outside), ("done", automation("done", &json!([step])))] {
        node.accept(&envelope).await;
        node.until_final(id).await;
    }
    let later = with(writing("later"), "/autonomy_window/start_at", json!("2999-01-01T00:00:00Z"));
    node.accept(&later).await;
    node
}

#[tokio::test]
async fn tables_fit_a_terminal_and_a_file_gets_all_of_them() {
    let nobody = Receiver::closed();
    let options = Options::new().config(&nobody.config()).env("CALLBACK_TOKEN", "hush-hush");
    let node = some_missions_on(options.start().await).await;
    node.accept(&with(writing("untold"), "/callback", nobody.callback())).await;
    node.until_final("untold").await;
    until("a delivery has failed", async || {
        let listed = node.get("/v1/deliveries").await.json;
        listed["items"][0]["error"].is_string().then_some(())
    })
    .await;
    let whole = text(&node.cli(&["ls"]).await.stdout);
    let summary = node.mission("fails").await["summary"].as_str().expect("a summary").to_owned();
    assert!(whole.contains(&summary) && !whole.contains(['\u{1b}', '…']), "{whole}");
    for columns in [40, 80, 120] {
        for arguments in [
            &["ls"][..],
            &["ls", "--sort", "status"],
            &["deliveries"],
            &["artifacts", "done"],
            &["schedule", "ls"],
            &["tool", "ls"],
            &["plugin", "ls"],
            &["journal", "done"],
        ] {
            let seen = without_colours(&seen(&node, columns, arguments).await);
            // Behind what moved, and without the talk below a table.
            let rows = seen.lines().map(|line| line.rsplit('\r').next().unwrap_or_default());
            let rows = rows.filter(|line| !line.contains("runs no mission here"));
            let widest = rows.map(|line| line.chars().count()).max().unwrap_or_default();
            assert!(widest > 10 && widest <= columns.into(), "{arguments:?} at {columns}: {widest}\n{seen}");
        }
    }
    let plugins = text(&node.cli(&["plugin", "ls"]).await.stdout);
    let digest = node.get("/v1/plugins").await.json["items"][0]["digest"].as_str().expect("a digest").to_owned();
    assert!(plugins.contains(&digest), "{plugins}");
    let at_the_terminal = seen(&node, 120, &["plugin", "ls"]).await;
    assert!(at_the_terminal.contains(&digest[..12]) && !at_the_terminal.contains(&digest), "{at_the_terminal}");
}

#[tokio::test]
async fn colours_are_for_terminals_alone_and_mean_something() {
    let node = some_missions().await;
    let seen = seen(&node, 120, &["ls"]).await;
    assert!(seen.contains("\u{1b}[31mfailed") && seen.contains("\u{1b}[32mcompleted\u{1b}[0m"), "{seen}");
    let mut quiet = Command::new("env");
    quiet.arg("NO_COLOR=1").arg(binary()).args(["ls", "--node", node.url(), "--token", node.token()]);
    let (code, seen) = at_a_terminal(quiet, 120, "").await;
    assert!(code == Some(0) && seen.contains("failed") && !seen.contains('\u{1b}'), "{seen}");
}

#[tokio::test]
async fn times_are_those_of_this_place() {
    let node = some_missions().await;
    let accepted: jiff::Timestamp =
        node.mission("done").await["accepted_at"].as_str().expect("a time").parse().expect("a time");
    // Without summer time, so that the test is the same all year; its name of letters is told on a terminal.
    let clock = accepted.checked_add(jiff::SignedDuration::from_hours(9)).expect("in range").to_string();
    let (date, time) = clock.get(..19).and_then(|clock| clock.split_once('T')).expect("a time");
    let mut there = node.command(&["show", "done"]);
    there.env("TZ", "Asia/Tokyo");
    let piped = there.output().expect("the binary starts");
    assert!(text(&piped.stdout).contains(&format!("{date}T{time}+09:00")), "{}", text(&piped.stdout));
    let mut there = node.command(&["show", "done"]);
    there.env("TZ", "Asia/Tokyo");
    let (_, seen) = at_a_terminal(there, 100, "").await;
    assert!(seen.contains(&format!("{date} {time} JST (")), "{seen}");
    // As in `21:54:34.123`.
    let is_fraction =
        |part: &[u8]| matches!(part, [b':', a, b, b'.', c] if [a, b, c].iter().all(|c| c.is_ascii_digit()));
    for arguments in [&["ls"][..], &["show", "done"], &["watch", "done"]] {
        let said = node.cli(arguments).await.stdout;
        assert!(!said.windows(5).any(is_fraction), "no fractions for people: {}", text(&said));
    }
}

#[tokio::test]
async fn a_page_says_what_is_next_with_the_command_for_it() {
    let node = some_missions().await;
    let shown = text(&node.cli(&["show", "done"]).await.stdout);
    for says in ["done  completed", "sortie artifacts done --get 'report of the night.md'", "run time"] {
        assert!(shown.contains(says), "{says}: {shown}");
    }
    assert!(!shown.contains("DELIVERIES") && !shown.contains('{'), "nothing that is not there, nothing raw: {shown}");
    let asking = with(writing("asks"), "/constraints/approval_required", json!(["Write"]));
    node.accept(&asking).await;
    node.until_status("asks", "blocked").await;
    for arguments in [&["show", "asks"][..], &["requests"], &["why", "asks"]] {
        let shown = text(&node.cli(arguments).await.stdout);
        // To the node that was named: another one may be the configured.
        for says in ["sortie approve asks r1", "sortie deny asks r1"] {
            let says = format!("{says} --node {}", node.url());
            assert!(shown.contains(&says), "{arguments:?}, {says}: {shown}");
        }
    }
}

#[tokio::test]
async fn a_list_has_an_order_and_says_how_many_more_there_are() {
    let node = Node::start().await;
    for id in ["m-1", "m-2", "m-3", "m-4"] {
        let later = with(writing(id), "/autonomy_window/start_at", json!("2999-01-01T00:00:00Z"));
        node.accept(&later).await;
    }
    let ids = |output: &Output| -> Vec<String> {
        let said = text(&output.stdout);
        said.lines().skip(1).filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
    };
    let paged = node.cli(&["ls", "--limit", "1"]).await;
    assert_eq!(ids(&paged), ["m-4"]);
    assert!(text(&paged.stderr).starts_with("There is more;"), "nobody counts for a file: {}", text(&paged.stderr));
    let counted = seen(&node, 120, &["ls", "--limit", "1"]).await;
    assert!(counted.contains("3 more; --limit, up to 500,"), "{counted}");
    let sorted = node.cli(&["ls", "--sort", "id", "--limit", "3"]).await;
    assert_eq!(ids(&sorted), ["m-1", "m-2", "m-3"]);
    assert_eq!(text(&sorted.stderr), "1 more; --limit 4 shows them\n");
    let json = node.cli(&["ls", "--sort", "id", "--limit", "2", "--json"]).await;
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!((&json["items"][1]["mission_id"], &json["more"]), (&json!("m-2"), &json!(true)));
    assert!(json.get("next_cursor").is_none(), "it is no page of the node's list: {json}");
}

#[tokio::test]
async fn mistakes_are_told_in_the_words_of_who_typed_them() {
    let node = Node::start().await;
    for (arguments, exit, says) in [
        (&["ls", "--cursor", "x"][..], 2, "--cursor must be what the page before said"),
        (&["ls", "--limit", "0"], 2, "'--limit <LIMIT>'"),
        (&["ls", "--status", "queud"], 2, "'--status <STATUS>'"),
        (&["deliveries", "--state", "lost"], 2, "'--state <STATE>'"),
        (&["plugin", "rm", "automation"], 6, "remove other versions with `--version`"),
    ] {
        let output = node.cli(arguments).await;
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(exit) && said.contains(says), "{arguments:?}: {said}");
        assert!(!said.contains("next_cursor") && !said.contains("?version="), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn watching_survives_a_restart_of_the_node() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let mut node = Options::new().listen(port).start().await;
    let envelope = with(looping("long"), "/inputs/steps/0/retry/backoff", json!("1s"));
    node.accept(&envelope).await;
    node.until_status("long", "running").await;
    let mut command = node.command(&["watch", "long"]);
    let (out, talk) = (node.folder().join("watched"), node.folder().join("said"));
    let file = |path| Stdio::from(std::fs::File::create(path).expect("writable"));
    let mut watching = command.stdout(file(&out)).stderr(file(&talk)).spawn().expect("the binary starts");
    let read = |path| std::fs::read_to_string(path).expect("readable");
    until("it watches", async || read(&out).contains("Started").then_some(())).await;
    node.kill();
    until("it says that the node is gone", async || read(&talk).contains("asked again").then_some(())).await;
    node.restart().await;
    until("it says that the node is back", async || read(&talk).contains("The node is back").then_some(())).await;
    hand_over(&node, "vp.long", "never.txt").await;
    let ended = until("the watching ends", async || watching.try_wait().expect("a child")).await;
    let (said, talk) = (read(&out), read(&talk));
    assert_eq!(ended.code(), Some(0), "{said}\n{talk}");
    let sequences: Vec<u32> = said.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse().ok()).collect();
    let all: Vec<u32> = (1..=u32::try_from(sequences.len()).expect("few")).collect();
    assert!(sequences == all && said.contains("completed"), "each event once, in order: {said}");
}

/// Something that answers like a node, each request (by its number, from 0) with what the function says: its URL, and how many came.
fn answering(says: impl Fn(usize) -> String + Send + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its own"));
    let count = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&count);
    std::thread::spawn(move || {
        while let Ok((mut connection, _)) = listener.accept() {
            let read = connection.read(&mut [0; 4096]).unwrap_or_default();
            if read > 0 {
                let answer = says(counting.fetch_add(1, Ordering::SeqCst));
                let _ = connection.write_all(answer.as_bytes());
            }
        }
    });
    (url, count)
}

#[tokio::test]
async fn a_list_asks_for_a_few_pages_whatever_a_node_answers() {
    let answer = |status: &str, body: &Value| {
        let body = body.to_string();
        let head = "content-type: application/json\r\nconnection: close\r\ncontent-length";
        format!("HTTP/1.1 {status}\r\n{head}: {}\r\n\r\n{body}", body.len())
    };
    let page = answer("200 OK", &json!({"items": [{"mission_id": "m", "status": "queued"}], "next_cursor": "further"}));
    let empty = answer("200 OK", &json!({"items": [], "next_cursor": "further"}));
    let broken = answer("500 Internal Server Error", &json!({"code": "internal", "detail": "no"}));
    for (first, then, arguments, expected, requests) in [
        (&page, &page, &["ls"][..], "More than 2 more;", 3),
        (&page, &broken, &["ls"], "There is more;", 2),
        (&page, &empty, &["ls", "--sort", "id"], "Only the newest 1 that match", 10),
    ] {
        let (first, then) = (first.clone(), then.clone());
        let (url, count) = answering(move |number| if number == 0 { first.clone() } else { then.clone() });
        let mut command = Command::new(binary());
        command.args(arguments).args(["--node", &url, "--token", "x"]);
        let (code, seen) = at_a_terminal(command, 120, "").await;
        assert!(code == Some(0) && seen.contains(expected), "{arguments:?}: {seen}");
        assert_eq!(count.load(Ordering::SeqCst), requests, "{arguments:?}: {seen}");
    }
}

#[tokio::test]
async fn what_moves_is_gone_before_the_answer() {
    let node = Node::start().await;
    let seen = seen(&node, 80, &["tool", "call", "Write", "{\"path\": \"a.txt\", \"content\": \"x\"}"]).await;
    let (answer, behind) = seen.rsplit_once('}').expect("JSON");
    assert!(answer.contains("a.txt") && behind.trim_matches('\n').is_empty(), "{seen:?}");
}

#[tokio::test]
async fn a_node_is_back_once_it_says_something() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let event = |sequence: u32, status: &str| {
        let event =
            json!({"sequence": sequence, "status": status, "mission_id": "m", "event_type": "mission.progress"});
        format!("{HEAD}data: {event}\n\n")
    };
    // The second answer has a head and breaks off.
    let answers = [event(1, "running"), HEAD.to_owned(), event(2, "completed")];
    let (url, _) = answering(move |number| answers[number.min(2)].clone());
    let mut watch = Command::new(binary());
    watch.args(["watch", "m", "--node", &url, "--token", "x"]).stdin(Stdio::null());
    let watched = tokio::task::spawn_blocking(move || watch.output()).await.expect("no panic").expect("it starts");
    let talk = text(&watched.stderr);
    assert_eq!(watched.status.code(), Some(0), "{talk}");
    let times = |says: &str| talk.matches(says).count();
    assert_eq!((times("does not answer any more"), times("The node is back")), (1, 1), "{talk}");
}

/// `sortie run` of this envelope, on the data directory of a node that runs.
fn beside(node: &Node, envelope: &Value) -> Command {
    std::fs::write(node.folder().join("mission.json"), envelope.to_string()).expect("writable");
    let config = format!("[node]\ninstance_id = \"factory-1\"\ndata_dir = {:?}\n", node.data());
    std::fs::write(node.folder().join("same.toml"), config).expect("writable");
    let mut command = Command::new(binary());
    command.args(["--config", "same.toml", "run", "mission.json"]).current_dir(node.folder());
    command.env_remove("SORTIE_TOKEN").env("TZ", "UTC");
    command
}

#[tokio::test]
async fn a_run_beside_a_node_is_offered_to_it() {
    let mut node = Node::start().await;
    let piped = beside(&node, &writing("told")).stdin(Stdio::null()).output().expect("the binary starts");
    let said = text(&piped.stderr);
    let command = format!("sortie submit mission.json --node {}", node.url());
    assert!(piped.status.code() == Some(6) && said.contains(&command) && said.contains("in use by another"), "{said}");
    // A file that leaves out what `run` fills in needs the same of `submit`, and gets it.
    let sparse = without(without(writing("sparse"), "mission_id"), "idempotency_key");
    let piped = beside(&node, &sparse).stdin(Stdio::null()).output().expect("the binary starts");
    assert!(text(&piped.stderr).contains("submit mission.json --fill --node"), "{}", text(&piped.stderr));
    let file = node.folder().join("mission.json").to_string_lossy().into_owned();
    let filled = node.cli(&["submit", "--fill", &file]).await;
    assert!(filled.status.success(), "{}", text(&filled.stderr));
    let (code, seen) = at_a_terminal(beside(&node, &writing("no")), 100, "n\n").await;
    assert_eq!(code, Some(6), "{seen}");
    node.get("/v1/missions/no").await.expect_status(404);
    let (code, seen) = at_a_terminal(beside(&node, &writing("yes")), 100, "y\n").await;
    assert!(code == Some(0) && seen.contains("completed"), "{seen}");
    assert_eq!(node.mission("yes").await["status"], "completed");
    // Where it listens is written down for as long as it does.
    let address = node.data().join("address");
    let written = format!("{}\nfactory-1\n", node.url());
    assert_eq!(std::fs::read_to_string(&address).expect("written"), written);
    // Whoever has the address by now is not told to run it.
    std::fs::write(&address, format!("{}\nfactory-2\n", node.url())).expect("writable");
    let (code, seen) = at_a_terminal(beside(&node, &writing("astray")), 100, "y\n").await;
    assert!(code == Some(6) && !seen.contains("Dispatch") && !seen.contains("sortie submit"), "{seen}");
    // Neither is one that has its name, too.
    let namesake = Node::start().await;
    std::fs::write(&address, format!("{}\nfactory-1\n", namesake.url())).expect("writable");
    let (code, seen) = at_a_terminal(beside(&node, &writing("namesake")), 100, "y\n").await;
    assert!(code == Some(6) && !seen.contains("Dispatch") && !seen.contains("sortie submit"), "{seen}");
    namesake.get("/v1/missions/namesake").await.expect_status(404);
    std::fs::write(&address, written).expect("writable");
    node.stop().await;
    assert!(!address.exists());
}

#[tokio::test]
async fn a_run_at_a_terminal_shows_its_events_and_no_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "[node]\ninstance_id = \"factory-1\"\ndata_dir = \"data\"\n";
    std::fs::write(folder.path().join("sortie.toml"), config).expect("writable");
    std::fs::write(folder.path().join("mission.json"), writing("m").to_string()).expect("writable");
    let mut command = Command::new(binary());
    command.args(["run", "mission.json"]).current_dir(folder.path()).env("TZ", "Asia/Tokyo");
    let (code, seen) = at_a_terminal(command, 100, "").await;
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("(JST, UTC+09:00)") && seen.contains("completed"), "{seen}");
    assert!(!seen.contains("INFO") && !seen.contains("\"level\""), "{seen}");
}

#[tokio::test]
async fn a_search_finds_the_same_on_the_command_line_and_over_http() {
    let node = some_missions().await;
    for (terms, expected) in [
        (&["status:over"][..], &["done", "fails"][..]),
        (&["status:open"], &["later"]),
        (&["--not", "status:completed", "type:automation"], &["later", "fails"]),
        (&["-q", "-status:completed text:'steps'"], &[]),
        (&["-q", "-status:completed text:\"the steps\""], &["later", "fails"]),
        (&["reason:tool_failed"], &["fails"]),
        (&["waits:window"], &["later"]),
        (&["DO", "text:the steps", "id:d*"], &["done"]),
        (&["since:today", "until:2999-01-01", "cost:<1", "ran:<1h", "plugin:automation"], &["later", "done", "fails"]),
        (&["cost:>0"], &[]),
        (&["delivery:parked"], &[]),
        (&["lane:nowhere"], &[]),
    ] {
        let arguments: Vec<&str> = ["ls", "--json"].iter().chain(terms).copied().collect();
        let output = node.cli(&arguments).await;
        let listed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let found: Vec<&str> =
            listed["items"].as_array().expect("a list").iter().filter_map(|item| item["mission_id"].as_str()).collect();
        assert_eq!(found, expected, "{terms:?}");
    }
    let refused = node.get("/v1/missions?q=statsu:failed").await.expect_status(400).json;
    assert!(refused["detail"].as_str().is_some_and(|says| says.contains("did you mean `status:`?")), "{refused}");
    let said = node.cli(&["ls", "since:soon"]).await;
    assert!(!said.status.success() && text(&said.stderr).contains("yesterday"), "{said:?}");
}

#[tokio::test]
async fn all_that_a_search_finds_are_cancelled_once_somebody_said_so() {
    let node = some_missions().await;
    let later = |id: &str| {
        with(with(writing(id), "/autonomy_window/start_at", json!("2999-01-01T00:00:00Z")), "/vp_id", json!(id))
    };
    node.accept(&later("later-too")).await;
    let cancel = ["cancel", "--matching", "later", "--reason", "wrong night"];
    let unasked = node.cli(&cancel).await;
    assert!(
        !unasked.status.success() && text(&unasked.stderr).contains("2 missions match: later-too, later"),
        "{unasked:?}"
    );
    // At a terminal somebody is asked, and an empty line is a no.
    for (answer, status) in [("\n", "queued"), ("y\n", "cancelled")] {
        let (_, seen) = at_a_terminal(node.command(&cancel), 100, answer).await;
        assert!(seen.contains("2 missions match"), "{seen}");
        for id in ["later", "later-too"] {
            assert_eq!(node.mission(id).await["status"], status, "{seen}");
        }
    }
    assert_eq!(node.mission("done").await["status"], "completed");
    let nothing = node.cli(&[&cancel[..], &["--yes"]].concat()).await;
    assert!(nothing.status.success() && text(&nothing.stderr).contains("nothing to cancel"), "{nothing:?}");
    // One that cannot be acted on keeps nobody from the others.
    let mixed = node.cli(&["--json", "redeliver", "done", "nobody"]).await;
    let told: Value = serde_json::from_slice(&mixed.stdout).expect("JSON");
    assert_eq!(mixed.status.code(), Some(6), "{told:#}");
    assert_eq!(told["items"].as_array().map(Vec::len), Some(2), "{told:#}");
}

#[tokio::test]
async fn why_names_the_records_that_led_to_the_end() {
    let node = some_missions().await;
    let said = text(&node.cli(&["why", "fails"]).await.stdout);
    let said_json = node.cli(&["why", "fails", "--json"]).await;
    let json: Value = serde_json::from_slice(&said_json.stdout).expect("JSON");
    let causes = json["causes"].as_array().expect("a list");
    assert!(causes.len() >= 2, "{json:#}");
    let journal = node.get("/v1/missions/fails/journal").await.json["items"].clone();
    for (cause, kinds) in causes.iter().zip([&["finished"][..], &["call_refused", "call_finished"]]) {
        let no = cause["record"].as_u64().expect("a number");
        let record = &journal[usize::try_from(no - 1).expect("few")];
        assert!(kinds.contains(&record["kind"].as_str().expect("a kind")), "{cause} is {record}");
        assert!(said.contains(&format!("record {no}")), "{said}");
    }
    assert!(causes[1]["says"].as_str().is_some_and(|says| says.contains("`Write`")), "{json:#}");
    let waits = text(&node.cli(&["why", "later"]).await.stdout);
    assert!(waits.contains("its window to open") && waits.contains("2999-01-01"), "{waits}");
}

#[tokio::test]
async fn completions_know_the_missions() {
    let node = some_missions().await;
    let script = text(&node.cli(&["completions", "bash"]).await.stdout);
    assert!(script.contains("SORTIE_COMPLETE=\"bash\""), "{script}");
    let complete = |words: &[&str]| {
        let mut command = Command::new(binary());
        let given = ["sortie", "--node", node.url(), "--token", node.token()];
        let index = given.len() + words.len() - 1;
        command.arg("--").args(given).args(words).current_dir(node.folder());
        command.env("SORTIE_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", index.to_string()).env("_CLAP_IFS", "\n");
        let output = command.output().expect("the binary starts");
        assert_eq!(text(&output.stderr), "", "a shell takes no talk");
        text(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // Options of the command are offered behind them.
    assert_eq!(complete(&["show", ""])[..3], ["later", "done", "fails"]);
    assert_eq!(complete(&["watch", "fa"]), ["fails"]);
    assert!(complete(&["tool", "call", "We"]).contains(&"WebFetch".to_owned()));
    assert!(complete(&["jou"]).contains(&"journal".to_owned()));
}

#[tokio::test]
async fn a_night_that_was_followed_is_the_one_that_a_new_look_finds() {
    let mut node = Node::start().await;
    let night = async |node: &Node| {
        let mut night = node.get("/v1/nights/current").await.expect_status(200).json.clone();
        // What has no part in it: nothing runs while a node is down.
        night["missions"].as_array_mut().expect("a list").iter_mut().for_each(|line| line["summary"] = json!(null));
        night
    };
    assert_eq!(night(&node).await["done"], 0);
    for (count, id) in (1..).zip(["one", "two", "three"]) {
        node.run(&writing(id)).await;
        assert_eq!(night(&node).await["done"], count, "{id}");
    }
    node.accept(&looping("runs")).await;
    node.until_status("runs", "running").await;
    let running = night(&node).await;
    assert_eq!((&running["running"], &running["done"]), (&json!(1), &json!(3)));
    node.post("/v1/missions/runs/cancel", &json!({"reason": "enough"})).await.expect_status(202);
    node.until_final("runs").await;
    let followed = night(&node).await;
    assert_eq!((&followed["running"], &followed["cancelled"]), (&json!(0), &json!(1)));
    node.kill();
    node.restart().await;
    assert_eq!(night(&node).await, followed);
    let later = with(writing("later"), "/autonomy_window/start_at", json!("2999-01-01T00:00:00Z"));
    node.accept(&later).await;
    let told = night(&node).await;
    assert_eq!(told["next_window"]["mission_id"], "later", "it is of no night that is near, and is what comes next");
    node.kill();
    node.restart().await;
    assert_eq!(night(&node).await, told);
}
