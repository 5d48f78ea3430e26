//! kill -9 at each call in turn: the report and the transcript are those of a night in which nothing happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sortie_tests::envelope::with;
use sortie_tests::{Options, Received, Receiver, Reply, until};

use super::{artifact, claim, draft, may_fetch, mission, page, read};

/// What the model says, by what it is asked.
fn answer(asked: &str) -> String {
    let note = |quote: &str| read(&[json!({ "question": 1, "claim": "So.", "quote": quote })], &[1]);
    if asked.contains("NOTES-1 BEGINS") {
        draft(&json!([claim("Nine hours.", 1, "burns for nine hours"), claim("Oil.", 3, "lasts for three nights")]))
    } else if asked.contains("A lamp burns") {
        note("burns for nine hours")
    } else if asked.contains("Nobody compares") {
        read(&[], &[])
    } else if asked.contains("A litre") {
        note("lasts for three nights")
    } else {
        json!({ "questions": ["How long?"], "searches": ["lamps", "oil"] }).to_string()
    }
}

/// Pages, a search engine and a model in one place.
fn serve(got: &Received, host: &str) -> Reply {
    match got.path.as_str() {
        "/v1/chat/completions" => {
            let message = json!({ "role": "assistant", "content": answer(&got.json["messages"].to_string()) });
            let usage = json!({ "prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20 });
            let choice = json!({ "index": 0, "finish_reason": "stop", "message": message });
            let body =
                json!({ "id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage });
            Reply::Body(200, "application/json", body.to_string())
        }
        "/search" => {
            let hit = json!({ "title": "Lists", "url": format!("http://{host}/lists"), "content": "x" });
            Reply::Body(200, "application/json", json!({ "results": [hit] }).to_string())
        }
        _ => page(got),
    }
}

/// What must be the same in the end, without the times of fetches.
async fn left(node: &sortie_tests::Node, id: &str) -> (String, String) {
    let report = artifact(node, id, "report.md").await;
    let timeless = report.lines().map(|line| match line.split_once(", fetched ") {
        Some((before, behind)) => {
            format!("{before}{}\n", behind.get(behind.find(", SHA").unwrap_or(0)..).unwrap_or_default())
        }
        None => format!("{line}\n"),
    });
    (timeless.collect(), artifact(node, id, "transcript.jsonl").await)
}

#[tokio::test]
async fn a_mission_that_is_killed_at_any_call_ends_as_one_that_is_not() {
    // The request of this number is never answered; behind every number, all are.
    let hung = Arc::new(AtomicUsize::new(usize::MAX));
    let begun = Arc::new(AtomicUsize::new(0));
    let server = Receiver::closed();
    let host = server.host();
    let (hangs, counts) = (Arc::clone(&hung), Arc::clone(&begun));
    server.rescript(move |got, _| {
        let number = counts.fetch_add(1, Ordering::SeqCst);
        if number == hangs.load(Ordering::SeqCst) { Reply::Hang } else { serve(got, &host) }
    });
    server.open();
    let config = format!(
        "{}[tool.WebSearch]\nprovider = \"searxng\"\nurl = \"http://{host}\"\nallow_private = [\"127.0.0.1\"]\n\
         [model]\ndefault = \"m\"\n[model.m]\nprotocol = \"openai\"\nbase_url = \"http://{host}/v1\"\nmodel = \"m\"\nfree = true\n\
         allow_private = [\"127.0.0.1\"]\n",
        may_fetch(&server),
        host = server.host()
    );
    let mut node = Options::new().config(&config).start().await;
    let research = |id: &str| {
        let inputs = json!({ "sources": [format!("http://{}/lamps", server.host())] });
        let envelope: Value = with(mission(id, &server, "m"), "/inputs", inputs);
        with(envelope, "/constraints/allowed_tools", json!(["WebFetch", "WebSearch"]))
    };
    let end = node.run(&research("whole")).await;
    assert_eq!(end["status"], "completed", "{end:#}");
    let expected = left(&node, "whole").await;
    let requests = begun.load(Ordering::SeqCst);
    assert!(requests >= 10, "a plan, two searches, three pages, three readers and a report: {requests}");
    for number in 0..requests {
        let id = format!("killed-{number}");
        begun.store(0, Ordering::SeqCst);
        hung.store(number, Ordering::SeqCst);
        node.accept(&research(&id)).await;
        until(&format!("request {number} is on its way"), async || {
            (begun.load(Ordering::SeqCst) > number).then_some(())
        })
        .await;
        node.kill();
        hung.store(usize::MAX, Ordering::SeqCst);
        node.restart().await;
        let end = node.until_final(&id).await;
        assert_eq!(end["status"], "completed", "killed at {number}: {end:#}");
        assert_eq!(left(&node, &id).await, expected, "killed at {number}");
    }
}
