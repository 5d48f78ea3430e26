//! kill -9 at each call of a mission in turn: what it leaves in the end is the same as if nothing had happened.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sortie_tests::{Node, until};

use super::{Bench, call, coding, mends, repository, says, turn};

fn script() -> Vec<Value> {
    let two = json!({"content": [
        {"type": "text", "text": "Plan:\n1. look\n2. mend"},
        {"type": "tool_use", "id": "a", "name": "Glob", "input": {"pattern": "*.sh"}},
        {"type": "tool_use", "id": "b", "name": "Read", "input": {"path": "add.sh"}},
    ], "stop_reason": "tool_use"});
    let write = call("Write", json!({"path": "notes/why.md", "content": "It took away.\n"}));
    vec![
        turn(0, two),
        mends(1),
        turn(2, write),
        turn(3, call("Bash", json!({"command": "sh test.sh"}))),
        says(4, "It adds."),
    ]
}

/// How many calls are on record, and whether the mission is over.
async fn progress(node: &Node) -> (usize, bool) {
    let items = node.get("/v1/missions/m/journal").await.expect_status(200).json["items"].clone();
    let items = items.as_array().expect("records");
    let is = |kind: &str| items.iter().filter(|record| record["kind"] == kind).count();
    (is("call_started") + is("call_finished"), is("finished") > 0)
}

/// Answers for a person who looks before saying what became of a call.
async fn answer(node: &Node, worktree: &Path) {
    for request in node.get("/v1/requests").await.expect_status(200).json["items"].as_array().expect("a list") {
        let is_edited = || fs::read_to_string(worktree.join("add.sh")).is_ok_and(|text| text.contains('+'));
        let decision = match request["tool"].as_str() {
            Some("Edit") if is_edited() => {
                json!({"decision": "record", "result": {"path": "worktrees/m/add.sh", "replaced": 1}})
            }
            _ => json!({"decision": "repeat"}),
        };
        let path = format!("/v1/missions/m/requests/{}", request["request_id"].as_str().expect("an id"));
        let answered = node.post(&path, &decision).await;
        assert!(answered.status < 300, "{decision}: {answered:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_at_each_call_leaves_the_same_patch_and_the_same_transcript() {
    let mut left = Vec::new();
    for is_killed in [false, true] {
        let mut bench = Bench::start("[limits]\ncrashes_alone = 1000", &BTreeMap::from([("m", script())])).await;
        let workspace = bench.workspace("vp.m").await;
        repository(&workspace.join("repo"));
        bench.node.accept(&coding("m")).await;
        let (mut seen, mut kills) = (0, 0);
        loop {
            if !is_killed {
                break;
            }
            let node = &bench.node;
            let (calls, is_over) = until("the next call", async || {
                answer(node, &workspace.join("worktrees/m")).await;
                let now = progress(node).await;
                (now.0 > seen || now.1).then_some(now)
            })
            .await;
            if is_over {
                break;
            }
            seen = calls;
            bench.node.kill();
            kills += 1;
            bench.node.restart().await;
        }
        assert!(!is_killed || kills >= 5, "some calls are over before anybody looks, and never so many: {kills} kills");
        eprintln!("{kills} kills");
        let end = bench.node.until_final("m").await;
        assert_eq!(end["status"], "completed", "{end:#}");
        // The commit's hash has the time in it; the patch has none.
        let patch = bench.text("m", "changes.patch").await;
        left.push((patch, bench.text("m", "transcript.jsonl").await));
    }
    assert_eq!(left[0], left[1]);
}
