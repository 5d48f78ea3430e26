//! Whole missions on a played node: what the plugin asks of its tools, and what it makes of what they say.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use sortie_plugin::limits::Left;
use sortie_plugin::report::Verdict;
use sortie_plugin::testing::{Node, Ran};
use sortie_plugin::{CallError, Value, json};

use crate::Coding;

mod real;

type Files = Rc<RefCell<BTreeMap<String, String>>>;

/// What a command does: its exit code, and what it prints.
type Bash = fn(&str, &Files) -> Result<(i64, String), CallError>;

fn text(arguments: &Value, key: &str) -> String {
    arguments[key].as_str().unwrap_or_default().to_owned()
}

/// A path, or all that is in a folder.
fn matches(path: &str, pattern: &str) -> bool {
    pattern.strip_suffix("**").map_or(path == pattern, |folder| path.starts_with(folder))
}

/// A node with these files, a shell, and a model that says these things.
fn node(files: &Files, bash: Option<Bash>, answers: Vec<Value>) -> Node {
    let gone = |path: &str| CallError::Failed(format!("`{path}` does not exist in the workspace"));
    let (read, write, edit, glob, shell) = (files.clone(), files.clone(), files.clone(), files.clone(), files.clone());
    let mut node = Node::new()
        .left(Left::default(), false)
        .tool("Read", move |given| {
            let path = text(&given, "path");
            let content = read.borrow().get(&path).cloned().ok_or_else(|| gone(&path))?;
            Ok(json!({ "content": content, "bytes": content.len(), "truncated": false }))
        })
        .tool("Write", move |given| {
            write.borrow_mut().insert(text(&given, "path"), text(&given, "content"));
            Ok(json!({ "path": given["path"] }))
        })
        .tool("Edit", move |given| {
            let path = text(&given, "path");
            let mut files = edit.borrow_mut();
            let content = files.get_mut(&path).ok_or_else(|| gone(&path))?;
            *content = content.replace(&text(&given, "old"), &text(&given, "new"));
            Ok(json!({ "path": path, "replaced": 1 }))
        })
        .tool("Glob", move |given| {
            let paths: Vec<String> =
                glob.borrow().keys().filter(|path| matches(path, &text(&given, "pattern"))).cloned().collect();
            Ok(json!({ "paths": paths, "truncated": false }))
        });
    if let Some(bash) = bash {
        node = node.tool("Bash", move |given| {
            let (exit_code, stdout) = bash(&text(&given, "command"), &shell)?;
            Ok(json!({ "exit_code": exit_code, "stdout": stdout, "stderr": "", "truncated": false, "timed_out": false }))
        });
    }
    answers.into_iter().fold(node, |node, answer| node.model(Ok(answer)))
}

fn says(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }], "stop_reason": "end_turn" })
}

fn edits(old: &str, new: &str) -> Value {
    let input = json!({ "path": "a.txt", "old": old, "new": new });
    json!({ "content": [{ "type": "tool_use", "id": "e", "name": "Edit", "input": input }], "stop_reason": "tool_use" })
}

fn run(bash: Option<Bash>, answers: Vec<Value>) -> Ran {
    let files = Files::default();
    files.borrow_mut().insert("r/a.txt".to_owned(), "wrong\n".to_owned());
    let inputs = json!({ "repository": "r", "test": "make test", "max_turns": 9 });
    let mut brief = Node::brief("Mend it.", &inputs);
    brief.success_criteria = vec!["All tests pass.".to_owned()];
    // `Left` of a node that counts no calls.
    node(&files, bash, answers).left(Left { llm_calls: None, ..Left::default() }, false).run::<Coding>(brief)
}

/// There is no git, and the test looks into the file.
fn plain(command: &str, files: &Files) -> Result<(i64, String), CallError> {
    match command {
        "cd 'r' && make test" if files.borrow()["r/a.txt"].starts_with("right") => Ok((0, "1 passed\n".to_owned())),
        "cd 'r' && make test" => Ok((2, "1 failed: it is wrong\n".to_owned())),
        _ => Ok((127, String::new())),
    }
}

/// It fails the first time, and is not allowed again.
fn denied_again(command: &str, files: &Files) -> Result<(i64, String), CallError> {
    match (command, files.borrow()["r/a.txt"].trim_end()) {
        ("cd 'r' && make test", "worse") => Ok((2, "1 failed: it is worse\n".to_owned())),
        ("cd 'r' && make test", _) => Err(CallError::Denied("a person said no".to_owned())),
        _ => Ok((127, String::new())),
    }
}

/// The test has no result.
fn breaks(command: &str, _: &Files) -> Result<(i64, String), CallError> {
    match command {
        "cd 'r' && make test" => Err(CallError::TimedOut("nobody answered".to_owned())),
        _ => Ok((127, String::new())),
    }
}

/// The test passes, and takes the file away.
fn removes(command: &str, files: &Files) -> Result<(i64, String), CallError> {
    match command {
        "cd 'r' && make test" => {
            files.borrow_mut().remove("r/a.txt");
            Ok((0, "1 passed\n".to_owned()))
        }
        _ => Ok((127, String::new())),
    }
}

/// Nothing is allowed.
fn denied(_: &str, _: &Files) -> Result<(i64, String), CallError> {
    Err(CallError::Denied("no entry of allowed_tools means it".to_owned()))
}

#[test]
fn it_is_completed_only_where_nothing_contradicts() {
    let mends = || edits("wrong", "right");
    let spoils = || edits("wrong", "worse");
    let refusal = || json!({ "content": "no", "stop_reason": "refusal" });
    for (name, bash, answers, is_completed, verdict, told) in [
        ("right", Some(plain as Bash), vec![mends(), says("done")], true, Verdict::Met, "`make test`: exit code 0"),
        (
            "wrong",
            Some(plain),
            vec![spoils(), says("done"), says("done")],
            false,
            Verdict::Unmet,
            "1 failed: it is wrong",
        ),
        (
            "mended",
            Some(plain),
            vec![spoils(), says("done"), edits("worse", "right"), says("done")],
            true,
            Verdict::Met,
            "1 passed",
        ),
        ("unchanged", Some(plain), vec![says("done"), says("done")], false, Verdict::Unmet, "None."),
        ("mended, then refused", Some(plain), vec![mends(), refusal()], false, Verdict::Met, "refused"),
        ("out of answers", Some(plain), vec![spoils()], false, Verdict::Unmet, "could not be asked"),
        (
            "not allowed to test",
            Some(denied),
            vec![mends(), says("All tests pass!")],
            true,
            Verdict::NotJudged,
            "No test was run: no entry",
        ),
        (
            "not allowed to test again",
            Some(denied_again),
            vec![spoils(), says("done"), edits("worse", "right"), says("done")],
            false,
            Verdict::Unmet,
            "1 failed: it is worse",
        ),
        (
            "no result",
            Some(breaks),
            vec![mends(), says("done")],
            false,
            Verdict::NotJudged,
            "`make test` has no result",
        ),
        (
            "no shell",
            None,
            vec![mends(), says("All tests pass!")],
            true,
            Verdict::NotJudged,
            "No test was run: the mission is not granted Bash.",
        ),
    ] {
        let ran = run(bash, answers);
        let summary = String::from_utf8_lossy(&ran.artifacts["summary.md"]).into_owned();
        assert_eq!(ran.outcome.is_ok(), is_completed, "{name}: {:?}\n{summary}", ran.outcome);
        assert_eq!(ran.verdicts.last().map(|(_, verdict, _)| *verdict), Some(verdict), "{name}");
        assert!(summary.contains(told), "{name}: {summary}");
        let claim = ran.outcome.map_or_else(|failure| failure.summary, |outcome| outcome.summary);
        assert!(!claim.contains("tests pass") || verdict == Verdict::Met, "{name}: {claim}");
        assert!(ran.artifacts.contains_key("transcript.jsonl"), "{name}");
    }
}

#[test]
fn the_patch_of_files_alone_is_what_was_changed() {
    let ran = run(None, vec![edits("wrong", "right"), says("done")]);
    let patch = String::from_utf8_lossy(&ran.artifacts["changes.patch"]).into_owned();
    assert!(patch.contains("--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-wrong\n+right\n"), "{patch}");
    let ran = run(None, vec![edits("wrong", "right"), edits("right", "wrong"), says("done")]);
    assert!(!ran.artifacts.contains_key("changes.patch"), "it is as it was");
    assert!(ran.outcome.is_err_and(|failure| failure.summary.contains("nothing is changed")));
}

#[test]
fn what_commands_do_to_files_alone_is_told_or_not_done() {
    let ran = run(Some(plain), vec![edits("wrong", "right"), says("done")]);
    assert!(ran.outcome.is_ok(), "the plugin runs the tests: {:?}", ran.outcome);
    assert!(!ran.asked[0]["tools"].to_string().contains("Bash"), "the model runs nothing: {}", ran.asked[0]["tools"]);
    let ran = run(Some(removes), vec![edits("wrong", "right"), says("done")]);
    let patch = String::from_utf8_lossy(&ran.artifacts["changes.patch"]).into_owned();
    assert!(patch.contains("deleted file mode 100644\n--- a/a.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-wrong\n"), "{patch}");
}

#[test]
fn a_limit_that_is_near_leaves_what_there_is() {
    let files = Files::default();
    files.borrow_mut().insert("r/a.txt".to_owned(), "wrong\n".to_owned());
    let node = node(&files, Some(plain), vec![says("Nothing yet; begin with a.txt.")]);
    let ran = node
        .left(Left { llm_calls: Some(1), ..Left::default() }, true)
        .run::<Coding>(Node::brief("Mend it.", &json!({ "repository": "r", "test": "make test" })));
    assert!(ran.landed);
    let summary = String::from_utf8_lossy(&ran.artifacts["summary.md"]).into_owned();
    assert!(
        summary.contains("begin with a.txt") && summary.contains("No test was run: the mission was at its limit."),
        "{summary}"
    );
    assert!(ran.outcome.is_err_and(|failure| failure.summary.contains("came to its limit")));
}
