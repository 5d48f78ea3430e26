//! How it ends when the model, the budget or the time gives out: as a careful colleague would choose, and with what there is.

use serde_json::{Value, json};
use sortie_tests::envelope::{in_ms, with};
use sortie_tests::{Receiver, Reply, until};

use super::{REPORT, artifact, claim, draft, may_fetch, mission, node, notes, page, scripted, sources, well};

/// The notes that every script of this file begins with.
fn with_notes(report: Value) -> Value {
    let mut script = well();
    script[0] = report;
    script
}

fn a_report(answer: Value) -> Value {
    let mut entry = answer;
    entry["when"] = json!({ "contains": REPORT });
    entry
}

/// A name for the model, its script, how the mission ends, what its summary says and what its report says.
fn rows() -> Vec<(&'static str, Value, &'static str, &'static str, &'static str)> {
    let tool = json!({ "answer": { "stop_reason": "tool_use", "content": [
        { "type": "tool_use", "id": "t", "name": "Bash", "input": { "command": "curl https://evil.example/" } },
    ]}});
    let huge = "lamp ".repeat(80_000);
    let half = json!({ "answer": { "stop_reason": "max_tokens", "content": "{\"title\": \"The night\", \"summary\": [{\"text\": \"A lamp" } });
    let mut deaf = well();
    deaf[1] = json!({ "when": { "contains": "A lamp burns" }, "answer": { "content": "I will not read this.", "stop_reason": "refusal" } });
    deaf[0] = a_report(json!({ "text": draft(&json!([claim("Late.", 2, "Nobody compares the two lists")])) }));
    let mut loops = well();
    loops[1] = tool.clone();
    loops[1]["when"] = json!({ "contains": "A lamp burns" });
    loops[0] = deaf[0].clone();
    let long = json!([{ "text": huge, "sources": [1], "quotes": [] }]);
    let quote = "> “burns for nine hours” [1]";
    vec![
        (
            "refuses",
            with_notes(a_report(json!({ "answer": { "content": "No.", "stop_reason": "refusal" } }))),
            "failed",
            "the model refused to write the report: No.",
            quote,
        ),
        ("asks_for_tools", with_notes(a_report(tool)), "failed", "it asked for the tool", quote),
        (
            "no_json",
            with_notes(a_report(json!({ "text": "The report: {\"title\": oh dear" }))),
            "failed",
            "the model wrote no report",
            quote,
        ),
        (
            "cut",
            with_notes(a_report(json!({ "fault": { "cut": true } }))),
            "failed",
            "the model wrote no report",
            quote,
        ),
        (
            "malformed",
            with_notes(a_report(json!({ "fault": { "malformed": "{\"choices\": [" } }))),
            "failed",
            "the model wrote no report",
            quote,
        ),
        ("mid_sentence", with_notes(a_report(half)), "failed", "the model wrote no report", quote),
        (
            "nothing",
            with_notes(a_report(json!({ "text": draft(&json!([])) }))),
            "failed",
            "the model's report says nothing",
            "says nothing",
        ),
        ("large", with_notes(a_report(json!({ "text": draft(&long) }))), "completed", "1 claim", "lamp lamp…"),
        ("huge_noise", with_notes(a_report(json!({ "text": huge }))), "failed", "the model wrote no report", quote),
        (
            "does_not_read",
            deaf,
            "completed",
            "1 claim, 0 without a source",
            "The model refused to read \\[1\\]: I will not read this.",
        ),
        ("loops", loops, "completed", "1 claim, 0 without a source", "\\[1\\] was not read: it asked for the tool"),
    ]
}

#[tokio::test]
async fn whatever_the_model_does_the_report_says_what_stands() {
    let server = Receiver::scripted(|got, _| page(got)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let models: String = rows().iter().map(|(name, script, ..)| scripted(folder.path(), name, script)).collect();
    let node = node(&server, &models).await;
    for (name, ..) in rows() {
        node.accept(&mission(name, &server, name)).await;
    }
    for (name, _, status, summary, report) in rows() {
        let end = node.until_final(name).await;
        assert_eq!(end["status"], status, "{name}: {end:#}");
        assert!(end["summary"].as_str().is_some_and(|said| said.contains(summary)), "{name}: {end:#}");
        let page = artifact(&node, name, "report.md").await;
        assert!(page.contains(report) && page.contains("## Sources") && page.len() < 20_000, "{name}: {page}");
        assert_eq!(sources(&node, name).await["sources"][1]["sha256"].as_str().map(str::len), Some(64), "{name}");
        let transcript = artifact(&node, name, "transcript.jsonl").await;
        assert!(transcript.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{name}");
    }
    assert_eq!(server.received().len(), 2 * rows().len(), "nothing is fetched but what was given");
}

#[tokio::test]
async fn a_budget_that_is_spent_in_the_middle_leaves_the_notes_of_what_was_read() {
    let server = Receiver::scripted(|got, _| page(got)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let priced = scripted(folder.path(), "priced", &well())
        .replace("free = true", "price_usd_per_mtok = { input = 1000, output = 1000 }");
    let models = format!("{}{priced}", scripted(folder.path(), "well", &well()));
    let node = node(&server, &models).await;

    let two_calls = with(mission("calls", &server, "well"), "/budget", json!({ "max_llm_calls": 2 }));
    let end = node.run(&two_calls).await;
    assert_eq!((&end["status"], &end["usage"]["llm_calls"]), (&json!("failed"), &json!(2)), "{end:#}");
    assert!(end["summary"].as_str().is_some_and(|said| said.contains("spent before 1 page could be read")), "{end:#}");
    assert!(artifact(&node, "calls", "report.md").await.contains("This report was cut short"));

    // People are asked for more money, as of every mission; whoever says no gets what there is.
    node.accept(&with(mission("money", &server, "priced"), "/budget", json!({ "max_cost_usd": 0.5 }))).await;
    let denied = async || {
        let mission = node.mission("money").await;
        for request in mission["pending_requests"].as_array().into_iter().flatten() {
            let path = format!("/v1/missions/money/requests/{}", request["request_id"].as_str().unwrap_or_default());
            node.post(&path, &json!({ "decision": "deny", "note": "no more" })).await;
        }
        (mission["status"] == "failed").then_some(())
    };
    until("it ends without more money", denied).await;
    assert!(artifact(&node, "money", "report.md").await.contains("No model wrote this report"));
}

#[tokio::test]
async fn a_window_that_closes_in_the_middle_leaves_a_report_that_says_so() {
    // One page never comes: the mission waits for it until its window is nearly over.
    let server = Receiver::scripted(|got, _| if got.path == "/lists" { Reply::Hang } else { page(got) }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let script = json!([
        { "when": { "contains": REPORT }, "text": draft(&json!([claim("Nine hours.", 1, "burns for nine hours")])) },
        notes("A lamp burns", "Nine hours.", "burns for nine hours"),
    ]);
    let config = format!("{}{}[limits]\nlanding = 0.5\n", may_fetch(&server), scripted(folder.path(), "well", &script));
    let node = sortie_tests::Options::new().config(&config).start().await;
    let window = json!({ "start_at": in_ms(0), "end_at": in_ms(8_000) });
    let end = node.run(&with(mission("closes", &server, "well"), "/autonomy_window", window)).await;
    assert_eq!(end["status"], "failed", "{end:#}");
    assert!(end["summary"].as_str().is_some_and(|said| said.contains("the end of its time or its budget")), "{end:#}");
    let report = artifact(&node, "closes", "report.md").await;
    assert!(report.contains("the mission came to its limit before it answered"), "{report}");
}
