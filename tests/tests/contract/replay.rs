//! `sortie replay`: what it says of a build, and its exit codes. A build that panicked, the same once more, and one that was mended.

use serde_json::json;
use sortie_tests::envelope::{with, without, write, writing};
use sortie_tests::{Node, automation, guest};

/// `sortie replay` of a mission, on another build where one is given: its exit code and what it says.
async fn replay(node: &Node, id: &str, build: Option<&[u8]>) -> (Option<i32>, String) {
    let file = node.folder().join("build.wasm");
    let mut arguments = vec!["replay".to_owned(), id.to_owned()];
    if let Some(build) = build {
        std::fs::write(&file, build).expect("a writable folder");
        arguments.extend(["--plugin".to_owned(), file.to_string_lossy().into_owned()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = node.cli(&arguments).await;
    let [said, talk] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code(), format!("{said}{talk}"))
}

/// A node with the hostile guest and a mission of it that has panicked.
async fn panicked() -> Node {
    failed("panic until mended", "plugin_trapped").await
}

/// The same of another deed, with the reason for which it fails.
async fn failed(deed: &str, reason: &str) -> Node {
    let node = Node::start().await;
    let file = node.folder().join("hostile.wasm");
    std::fs::write(&file, guest::hostile("honest")).expect("a writable folder");
    let installed = node.cli(&["plugin", "install", &file.to_string_lossy()]).await;
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let mission = without(writing("last-night"), "inputs");
    let mission = with(with(mission, "/mission_type", json!("custom")), "/plugin", json!("hostile"));
    let mission = without(with(mission, "/objective", json!(deed)), "artifact_policy");
    let last = node.run(&mission).await;
    assert_eq!(last["detail"]["reason"], reason, "{last:#}");
    node
}

#[tokio::test]
async fn a_panic_is_the_same_in_the_same_build_and_mended_in_another() {
    let node = panicked().await;
    let (code, said) = replay(&node, "last-night", None).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("same: it crashes where the recorded run did") && said.contains("half way"), "{said}");
    assert!(!said.contains("Trapped("), "a crash is told in words: {said}");

    let (code, said) = replay(&node, "last-night", Some(&guest::hostile("mended"))).await;
    assert_eq!(code, Some(7), "{said}");
    // The record is followed to the failure, what comes behind it is shown, and the last line is the verdict.
    for expected in ["half way", "behind the record: the milestone past it", "recorded: failed (plugin_trapped)"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let verdict = said.lines().last().unwrap_or_default();
    assert!(verdict.starts_with("mended: ") && verdict.contains("went well"), "{said}");

    let (_, said) = replay(&node, "last-night", Some(&guest::hostile("honest"))).await;
    assert!(said.contains("same: "), "{said}");
}

/// A traceback of several lines, and an error that a library caught: neither is anything that a mended build has to say.
#[tokio::test]
async fn what_was_logged_of_a_failure_is_no_part_of_what_a_mended_build_does() {
    for (deed, reason) in [("complain until mended", "plugin_trapped"), ("fail until mended", "plugin_failed")] {
        let node = failed(deed, reason).await;
        let (code, said) = replay(&node, "last-night", None).await;
        assert_eq!(code, Some(0), "{deed}: {said}");
        let (code, said) = replay(&node, "last-night", Some(&guest::hostile("mended"))).await;
        assert_eq!(code, Some(7), "{deed}: {said}");
        assert!(said.contains("behind the record: the milestone past it"), "{deed}: {said}");
        assert_eq!(said.matches("a call of `Write`").count(), 1, "{deed}: what was shown is not shown again: {said}");
    }
}

/// An engine looks at the clock around what it logs of an error, and what it logs has the folder in it that it was built in.
#[tokio::test]
async fn looks_at_the_clock_around_what_was_logged_of_a_failure_are_no_part_of_it() {
    let node = failed("look until mended", "plugin_failed").await;
    for (build, code, says) in [
        ("honest", 0, "same: it ends as the recorded run did"),
        ("rebuilt", 0, "same: it ends as the recorded run did; only what it logs of that is different"),
        ("mended", 7, "mended: it gets past what the recorded run ended with, and would go on with a call of `Write`"),
    ] {
        let (found, said) = replay(&node, "last-night", Some(&guest::hostile(build))).await;
        assert_eq!(found, Some(code), "{build}: {said}");
        assert!(said.lines().last().is_some_and(|last| last.starts_with(says)), "{build}: {said}");
        assert_eq!(said.matches("half way").count(), 1, "{build}: what was shown is not shown again: {said}");
    }
}

#[tokio::test]
async fn another_plugin_is_different_and_it_says_where() {
    let node = Node::start().await;
    node.run(&writing("last-night")).await;
    let hello = without(writing("other"), "inputs");
    let hello = with(with(hello, "/mission_type", json!("custom")), "/plugin", json!("hello"));
    node.run(&hello).await;
    let component = node.request("GET", "/v1/missions/other/plugin").send().await.expect("an answer");
    let component = component.bytes().await.expect("a component");
    let (code, said) = replay(&node, "last-night", Some(&component)).await;
    assert_eq!(code, Some(8), "{said}");
    let verdict = said.lines().last().unwrap_or_default();
    assert!(verdict.starts_with("different: ") && verdict.contains("`Write`"), "{said}");
    assert!(verdict.contains("the end of its run"), "{said}");
}

#[tokio::test]
async fn a_replay_shows_each_call_and_does_nothing() {
    let node = Node::start().await;
    let mut step = write("w", "note.txt", "written");
    step["milestone"] = json!("wrote it");
    step["artifact"] = json!("note.txt");
    node.run(&automation("last-night", &json!([step]))).await;
    let before = node.get("/v1/missions/last-night/journal").await.json;
    let (code, said) = replay(&node, "last-night", None).await;
    assert_eq!(code, Some(0), "{said}");
    for expected in
        ["call of `Write`", "note.txt", "wrote it", "storing the artifact", "recorded: completed (done)", "same: "]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(node.get("/v1/missions/last-night/journal").await.json, before, "nothing was recorded");
}
