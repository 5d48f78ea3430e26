//! What a night of coding takes: turns of the plugin `coding` on the files alone, with a model that a script plays; what they leave in the journal;
//! how long it takes to be back behind them after a kill; how large the plugins are, as they are shipped and as they run.
//!
//! A turn is an answer of the model and the edit that it wishes for. What a provider or a test takes is not in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sortie_tests::envelope::{with, write};
use sortie_tests::{Node, Options, automation};

use crate::client::{completed, metric, ms_since};
use crate::journal;
use crate::report::{Report, Unit};
use crate::sizes::Sizes;

/// All of it.
pub(crate) async fn agent(sizes: &Sizes, report: &Report) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let turns = sizes.turns;
    let count =
        |at: usize| json!({"path": "count.txt", "old": format!("now {at}."), "new": format!("now {}.", at + 1)});
    let edits: Vec<Value> = (0..turns).map(|at| wish(at, "Edit", &count(at))).collect();
    let last = wish(turns, "Write", &json!({"path": "last.txt", "content": "last"}));
    let done = |at: usize| json!({"when": {"turn": at}, "text": "It counts."});
    let mut config = "[node]\nmax_running = 64\n".to_owned();
    for (name, script) in [
        ("counts", [edits.clone(), vec![done(turns)]].concat()),
        ("once", vec![edits[0].clone(), done(1)]),
        ("asks", [edits, vec![last, done(turns + 1)]].concat()),
    ] {
        let file = folder.path().join(format!("{name}.json"));
        fs::write(&file, json!({"answers": script}).to_string()).expect("a writable folder");
        config += &format!("[model.{name}]\nprotocol = \"scripted\"\nfile = {file:?}\nfree = true\n");
    }
    let mut node = Options::new().config(&config).env("RUST_LOG", "warn").start().await;
    // The first mission loads the plugins, and leaves what the journal weighs without the turns.
    run(&node, &["first"], "once").await;
    node.stop().await;
    let before = journal::weigh(&node.data().join("journal.redb"));
    node.restart().await;
    let alone = run(&node, &["alone"], "counts").await;
    let rate = turns as f64 / alone.as_secs_f64();
    report.figure("turns of one mission", rate, Unit::PerSecond);
    let names: Vec<String> = (0..sizes.coders).map(|at| format!("coder-{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let together = run(&node, &names, "counts").await;
    let all = (turns * names.len()) as f64 / together.as_secs_f64();
    report.beside(&format!("turns of {} missions, beside one", names.len()), all, Unit::PerSecond, rate);
    node.stop().await;
    let added = journal::weigh(&node.data().join("journal.redb")) - before;
    report.figure("journal, a turn", kib(added) / (turns * (names.len() + 1)) as f64, Unit::KiB);
    node.restart().await;
    replay(&mut node, turns, report).await;
    plugins(&node, report).await;
}

/// An entry of a script: what the model wishes for in that turn.
fn wish(at: usize, name: &str, input: &Value) -> Value {
    let wish = json!({"type": "tool_use", "id": format!("t{at}"), "name": name, "input": input});
    json!({"when": {"turn": at}, "answer": {"content": [wish]}})
}

/// A coding mission with that model, and the one that puts a file there for it.
fn coding(id: &str, model: &str) -> [Value; 2] {
    let first = with(
        automation(&format!("{id}-begins"), &json!([write("w", "repo/count.txt", "now 0.\n")])),
        "/vp_id",
        json!(format!("vp.{id}")),
    );
    let mission = with(automation(id, &json!([])), "/mission_type", json!("coding"));
    let inputs = json!({"repository": "repo", "model": model, "max_turns": 1_000});
    let mission = with(with(mission, "/inputs", inputs), "/objective", json!("Count."));
    [first, with(mission, "/constraints/allowed_tools", json!(["Read", "Write", "Edit", "Glob"]))]
}

/// How long such missions take, side by side; what they begin with is there before.
async fn run(node: &Node, names: &[&str], model: &str) -> Duration {
    let mut missions = Vec::new();
    for name in names {
        let [first, mission] = coding(name, model);
        node.run(&first).await;
        missions.push(mission);
    }
    let done = metric(node, "sortie_missions_completed_total").await;
    let begun = Instant::now();
    for mission in &missions {
        node.accept(mission).await;
    }
    completed(node, done + missions.len() as u64).await;
    begun.elapsed()
}

/// A mission that waits for a person behind its turns, on a node that is killed: from the decision to its end, which is a replay and an edit.
async fn replay(node: &mut Node, turns: usize, report: &Report) {
    let [first, mission] = coding("asks", "asks");
    node.run(&first).await;
    node.accept(&with(mission, "/constraints/approval_required", json!(["Write"]))).await;
    let request = loop {
        let requests = node.get("/v1/requests").await.expect_status(200).json;
        match requests["items"][0]["request_id"].as_str() {
            Some(request) => break request.to_owned(),
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    node.kill();
    node.restart().await;
    let done = metric(node, "sortie_missions_completed_total").await;
    let begun = Instant::now();
    node.post(&format!("/v1/missions/asks/requests/{request}"), &json!({"decision": "approve"}))
        .await
        .expect_status(200);
    completed(node, done + 1).await;
    report.figure(&format!("after a kill, back behind {turns} turns"), ms_since(begun), Unit::Ms);
}

/// Each plugin's component, and what it is compiled to.
async fn plugins(node: &Node, report: &Report) {
    let mut files = BTreeMap::new();
    sizes_of(&node.data().join("plugins"), &mut files);
    let listed = node.get("/v1/plugins").await.expect_status(200).json;
    for plugin in listed["items"].as_array().expect("a list") {
        let (name, digest) = (plugin["name"].as_str().expect("a name"), plugin["digest"].as_str().expect("a digest"));
        for (end, what) in [(".wasm", "component"), (".cwasm", "compiled")] {
            let size = files.iter().find(|(file, _)| file.starts_with(digest) && file.ends_with(end));
            let (_, size) = size.unwrap_or_else(|| panic!("{name} has no {end} in {files:?}"));
            report.figure(&format!("{what} of {name}"), kib(*size), Unit::KiB);
        }
    }
}

/// The sizes of all files below a folder, by their names.
fn sizes_of(folder: &Path, files: &mut BTreeMap<String, u64>) {
    for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
        let metadata = entry.metadata().expect("it is there");
        if metadata.is_dir() {
            sizes_of(&entry.path(), files);
        } else {
            files.insert(entry.file_name().to_string_lossy().into_owned(), metadata.len());
        }
    }
}

fn kib(bytes: u64) -> f64 {
    bytes as f64 / 1_024.0
}
