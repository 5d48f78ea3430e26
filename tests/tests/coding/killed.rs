//! kill -9 in the middle of each call of a mission in turn: what it leaves in the end is the same as if nothing had happened.
//!
//! Each request to the model, each command, and each file that is read or written is held in its middle until the node is dead, so that none is
//! over before anybody looks, and each is hit once. `Glob` alone cannot be held so, for it opens no file: it is hit before and behind, changes
//! nothing and is asked again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use sortie_tests::{Disk, Node, Options, Receiver, Reply, until};

use super::{Bench, coding, repository};

/// What each command runs first. Every second one waits for as long as it is to be held: the first time that it is made, for one that was
/// killed is made once more.
const HOLD: &str = "\
echo begun >> .begun
while [ $(($(wc -l < .begun) % 2)) = 1 ] && [ -e .hold ]; do sleep 0.02; done
";

/// What the model says in each turn: text, and calls.
fn turns() -> Vec<(&'static str, Vec<(&'static str, Value)>)> {
    vec![
        ("Plan:\n1. look\n2. mend", vec![("Glob", json!({"pattern": "*.sh"})), ("Read", json!({"path": "add.sh"}))]),
        ("", vec![("Edit", json!({"path": "add.sh", "old": "-", "new": "+"}))]),
        ("", vec![("Write", json!({"path": "notes/why.md", "content": "It took away.\n"}))]),
        ("", vec![("Bash", json!({"command": "sh test.sh"}))]),
        ("It adds.", vec![]),
    ]
}

/// The answer of a provider, by how often the model has spoken before.
fn answer(asked: &Value) -> Reply {
    let spoken = asked["messages"].as_array().into_iter().flatten().filter(|message| message["role"] == "assistant");
    let turns = turns();
    let (text, calls) = &turns[spoken.count().min(turns.len() - 1)];
    let call = |(at, (name, input)): (usize, &(&str, Value))| json!({"id": format!("t{at}"), "type": "function", "function": {"name": name, "arguments": input.to_string()}});
    let mut message = json!({"role": "assistant", "content": text});
    if !calls.is_empty() {
        message["tool_calls"] = calls.iter().enumerate().map(call).collect();
    }
    let reason = if calls.is_empty() { "stop" } else { "tool_calls" };
    let choice = json!({"index": 0, "finish_reason": reason, "message": message});
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20});
    let body = json!({"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage});
    Reply::Body(200, "application/json", body.to_string())
}

/// The tools whose calls are held by the disk below the workspaces, from which nothing comes.
const OF_FILES: [&str; 3] = ["Read", "Edit", "Write"];

/// Whether calls of a tool are held in their middle.
fn can_be_held(tool: &str) -> bool {
    ["Bash", "model"].contains(&tool) || OF_FILES.contains(&tool)
}

/// Those of the calls that are of files.
fn of_files(calls: &Calls) -> usize {
    calls.values().filter(|tool| OF_FILES.contains(&tool.as_str())).count()
}

/// Its calls: their numbers, with their tools.
type Calls = BTreeMap<u64, String>;

async fn records(node: &Node) -> Vec<Value> {
    let journal = node.get("/v1/missions/m/journal").await.expect_status(200).json;
    journal["items"].as_array().expect("records").clone()
}

/// All calls that were made, those that are on their way, and those that were when a node died.
fn calls(records: &[Value]) -> (Calls, Calls, Calls) {
    let (mut all, mut flying, mut hit) = (Calls::new(), Calls::new(), Calls::new());
    for record in records {
        let (kind, body) = (record["kind"].as_str().unwrap_or_default(), &record["body"]);
        match (kind, body["call"].as_u64()) {
            ("call_started", Some(call)) => {
                let tool = body["tool"].as_str().expect("a call has a tool").to_owned();
                all.insert(call, tool.clone());
                flying.insert(call, tool);
            }
            ("call_finished", Some(call)) => drop(flying.remove(&call)),
            // A run begins: what was on its way broke off.
            ("started", _) => hit.extend(flying.clone()),
            _ => {}
        }
    }
    (all, flying, hit)
}

/// Says for a person who has looked that a command can be run, and an edit made, again.
async fn repeat(node: &Node) {
    for request in node.get("/v1/requests").await.expect_status(200).json["items"].as_array().expect("a list") {
        let tool = request["tool"].as_str().unwrap_or_default();
        assert!(["Bash", "Edit"].contains(&tool) && request["kind"] == "uncertain", "{request:#}");
        let path = format!("/v1/missions/m/requests/{}", request["request_id"].as_str().expect("an id"));
        let answered = node.post(&path, &json!({"decision": "repeat"})).await;
        assert!(answered.status < 300, "{answered:#?}");
    }
}

fn begun(workspace: &Path) -> usize {
    fs::read_to_string(workspace.join(".begun")).unwrap_or_default().lines().count()
}

/// Kills the node in the middle of each call that is held, until the mission is over: of these calls.
async fn strike(node: &mut Node, workspace: &Path, asked: &AtomicUsize) -> Calls {
    let mut struck = Calls::new();
    loop {
        let held = until("a call that is held, or the end", async || {
            repeat(node).await;
            let records = records(node).await;
            if records.iter().any(|record| record["kind"] == "finished") {
                return Some(None);
            }
            let (_, flying, _) = calls(&records);
            let is_open = |call: &u64| !struck.contains_key(call);
            // One that was struck is made once more, and let through then; a command looks at the files itself. At every other moment the next
            // call of files may begin.
            let goes_on =
                flying.iter().any(|(call, tool)| tool == "Bash" || OF_FILES.contains(&tool.as_str()) && !is_open(call));
            let is_due = !goes_on && of_files(&struck) < OF_FILES.len();
            node.faults().set_disk(if is_due { Disk::Held } else { Disk::Well });
            let is_held = |(call, tool): &(u64, String)| {
                is_open(call)
                    && match tool.as_str() {
                        "Bash" => begun(workspace) % 2 == 1,
                        "model" => asked.load(Ordering::SeqCst) % 2 == 1,
                        tool => can_be_held(tool),
                    }
            };
            flying.into_iter().find(is_held).map(Some)
        })
        .await;
        let Some((call, tool)) = held else { return struck };
        node.kill();
        if tool != "model" {
            node.faults().set_disk(Disk::Well);
        }
        struck.insert(call, tool);
        node.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_in_each_call_leaves_the_same_patch_and_the_same_transcript() {
    let mut left = Vec::new();
    for is_killed in [false, true] {
        let (asked, holds) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, held) = (Arc::clone(&asked), Arc::clone(&holds));
        let provider = Receiver::scripted(move |got, _| {
            // Every second request waits, as every second command does.
            let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
            if held.load(Ordering::SeqCst) && number % 2 == 1 { Reply::Hang } else { answer(&got.json) }
        })
        .await;
        let config = format!(
            "env = {{ BASH_ENV = \".hold.sh\" }}\n[limits]\ncrashes_alone = 1000\n[model.m]\nprotocol = \"openai\"\n\
             base_url = \"http://{}/v1\"\nmodel = \"m\"\nfree = true\nallow_private = [\"127.0.0.1\"]\n",
            provider.host()
        );
        let mut bench = Bench::on(Options::new().faulty_below("workspaces"), &config, &BTreeMap::new()).await;
        let workspace = bench.workspace("vp.m").await;
        repository(&workspace.join("repo"));
        fs::write(workspace.join(".hold.sh"), HOLD).expect("writable");
        if is_killed {
            fs::write(workspace.join(".hold"), "").expect("writable");
        }
        holds.store(is_killed, Ordering::SeqCst);
        bench.node.accept(&coding("m")).await;
        let struck = if is_killed { strike(&mut bench.node, &workspace, &asked).await } else { Calls::new() };
        let end = bench.node.until_final("m").await;
        assert_eq!(end["status"], "completed", "{end:#}");
        let (all, flying, hit) = calls(&records(&bench.node).await);
        let expected: Calls = all.clone().into_iter().filter(|(_, tool)| is_killed && can_be_held(tool)).collect();
        eprintln!("{} kills, in the middle of {hit:?}; of {} calls", struck.len(), all.len());
        assert_eq!((&hit, &struck, flying.len()), (&expected, &expected, 0), "of {all:?}");
        let count = |tool: &str| all.values().filter(|known| *known == tool).count();
        // Worktree, commit and patch, the model's own test and the plugin's; each turn of the model.
        assert!(count("Bash") >= 5 && count("model") == turns().len(), "{all:?}");
        // The commit's hash has the time in it; the patch has none.
        let patch = bench.text("m", "changes.patch").await;
        left.push((patch, bench.text("m", "transcript.jsonl").await));
    }
    assert_eq!(left[0], left[1]);
}
