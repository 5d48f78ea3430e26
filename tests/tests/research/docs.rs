//! The documentation keeper on a real node: it asks, waits through a crash, and changes what somebody said yes to.

use std::fs;

use serde_json::{Value, json};
use sortie_tests::envelope::{with, write};
use sortie_tests::{Node, Options, automation, workspace_of};

const PAGE: &str = "---\nlast_reviewed: 2025-01-10\n---\n# Lamps\n\nSee [the list](evening.md).\n";

/// A node on which the workspace of `vp.keep` has a page whose link leads nowhere, and the file that it means.
async fn node() -> Node {
    let node = Options::new().start().await;
    let steps = json!([write("a", "docs/lamps.md", PAGE), write("b", "docs/archive/evening.md", "# Evening\n")]);
    assert_eq!(node.run(&of_keeper(automation("pages", &steps))).await["status"], "completed");
    node
}

fn of_keeper(envelope: Value) -> Value {
    with(with(envelope, "/vp_id", json!("vp.keep")), "/vp_session_id", json!("vp.keep.session-docs"))
}

fn keeper(id: &str, ask: &str) -> Value {
    let envelope = with(of_keeper(automation(id, &json!([]))), "/inputs", json!({ "ask": ask }));
    let envelope = with(with(envelope, "/mission_type", json!("custom")), "/plugin", json!("docs-keeper"));
    let envelope = with(envelope, "/constraints/allowed_tools", json!(["Glob", "Read", "Edit"]));
    with(envelope, "/success_criteria", json!(["no link is broken", "it reads well"]))
}

#[tokio::test]
async fn it_changes_what_somebody_said_yes_to_and_nothing_else() {
    let mut node = node().await;
    let page = || fs::read_to_string(workspace_of(&node, "vp.keep").join("docs/lamps.md")).expect("the page");
    let end = node.run(&keeper("proposes", "never")).await;
    assert_eq!(
        (&end["status"], page().as_str()),
        (&json!("failed"), PAGE),
        "a link is broken, and nothing is changed: {end:#}"
    );
    let patch = node.get("/v1/missions/proposes/artifacts/proposals.patch").await.expect_status(200).text;
    assert!(patch.contains("+See [the list](archive/evening.md).\n"), "{patch}");

    for (id, answer, changed) in
        [("no", "not tonight", PAGE.to_owned()), ("yes", "yes", PAGE.replace("evening.md", "archive/evening.md"))]
    {
        node.accept(&keeper(id, "page")).await;
        let request = node.until_status(id, "blocked").await["pending_requests"][0].clone();
        let question = request["question"].as_str().unwrap_or_default();
        assert!(
            question.contains("docs/lamps.md") && question.contains("+See [the list](archive/evening.md)."),
            "{request:#}"
        );
        node.kill();
        node.restart().await;
        let path = format!("/v1/missions/{id}/requests/{}", request["request_id"].as_str().unwrap_or_default());
        node.post(&path, &json!({ "decision": "answer", "text": answer })).await.expect_status(200);
        let end = node.until_final(id).await;
        assert_eq!(end["status"], "failed", "the link was broken when it looked: {end:#}");
        let page = fs::read_to_string(workspace_of(&node, "vp.keep").join("docs/lamps.md")).expect("the page");
        assert_eq!(page, changed, "{answer}");
    }
    let end = node.run(&keeper("again", "never")).await;
    assert_eq!(end["status"], "completed", "no link is broken any more: {end:#}");
    let answer = node.dispatch(&with(keeper("blind", "never"), "/constraints/allowed_tools", json!(["Glob"]))).await;
    assert_eq!(
        answer.expect_status(422).mistakes(),
        [("/constraints/allowed_tools".to_owned(), "needs_tool".to_owned())]
    );
}
