//! Scripted models: which entry answers, how faults go, and what is counted.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Paused, Swift, ask, say, scripted, tool};
use serde_json::{Value, json};
use sortie_contract::MicroUsd;
use sortie_contract::money::Spend;
use sortie_contract::tool::CallError;
use sortie_models::{Ask, Configured, Health, Models as _, Recorder};

/// The text of an answer, or why there is none.
async fn said(models: &Configured, ask: &Ask<'_>) -> String {
    match models.complete(ask).await {
        Ok(completed) => {
            let answer: Value = serde_json::from_str(&completed.answer).unwrap();
            answer["content"][0]["text"].as_str().unwrap_or_default().to_owned()
        }
        Err(failed) => failed.error.to_string(),
    }
}

/// A conversation in which the assistant has spoken so often.
fn after(turns: usize, last: &str) -> String {
    let mut messages = vec![];
    for _ in 0..turns {
        messages.push(json!({ "role": "user", "content": "go" }));
        messages.push(json!({ "role": "assistant", "content": "gone" }));
    }
    messages.push(json!({ "role": "user", "content": last }));
    json!({ "messages": messages }).to_string()
}

#[tokio::test]
async fn the_first_entry_that_fits_and_is_not_used_up_answers() {
    let script = json!({ "answers": [
        { "when": { "contains": "weather", "turn": 1 }, "text": "still sunny" },
        { "when": { "contains": "weather" }, "times": 2, "text": "sunny" },
        { "text": "first" },
        { "text": "second" },
        { "when": { "turn": 3 }, "text": "third turn" },
    ] });
    let models = scripted(&script, "", Arc::new(Swift::default()));
    let (weather, still, hi, third) = (say("the weather?"), after(1, "the weather?"), say("hi"), after(3, "hi"));
    for (request, expected) in [
        (&hi, "first"),
        (&weather, "sunny"),
        (&still, "still sunny"),
        (&weather, "sunny"),
        (&weather, "second"),
        (&still, "still sunny"),
        (&third, "third turn"),
        (&third, "third turn"),
    ] {
        assert_eq!(said(&models, &ask(request)).await, expected);
    }
    let failed = models.complete(&ask(&hi)).await.unwrap_err();
    let why = failed.error.to_string();
    let told =
        "[model.m] cannot be asked: its script has no answer for this request (after 0 answers of the assistant)";
    assert!(why.contains(told), "{why}");
    assert!(
        !why.contains('/') && !why.contains("script.json"),
        "where files of the host lie is nobody's business: {why}"
    );
    assert_eq!((failed.spent, failed.hold), (Some(Spend::NOTHING), None));
    let other = Ask { mission_id: "m-2", ..ask(&hi) };
    assert_eq!(said(&models, &other).await, "first", "each mission has its own place in the script");
}

#[tokio::test]
async fn a_script_looks_into_everything_that_is_said() {
    let script = json!({ "answers": [{ "when": { "contains": "needle" }, "text": "found" }] });
    let models = scripted(&script, "", Arc::new(Swift::default()));
    let turn = |input: &str, result: Value| {
        json!({ "messages": [
            { "role": "user", "content": "go" },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": "1", "name": "x", "input": { "a": input } }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "1", "content": result }] }] })
    };
    for (request, expected) in [
        (json!({ "system": "a needle", "messages": [{ "role": "user", "content": "x" }] }), "found"),
        (turn("needle", "".into()), "found"),
        (turn("", "the needle".into()), "found"),
        (turn("", json!([{ "type": "text", "text": "needle" }])), "found"),
        (turn("", "hay".into()), "[model.m] cannot be asked"),
    ] {
        let told = said(&models, &ask(&request.to_string())).await;
        assert!(told.starts_with(expected), "{request}: {told}");
    }
}

#[tokio::test]
async fn missions_beyond_what_is_kept_begin_anew_and_the_rest_do_not() {
    let models =
        scripted(&json!({ "answers": [{ "text": "first" }, { "text": "second" }] }), "", Arc::new(Swift::default()));
    let request = say("hi");
    let of = |mission_id| Ask { mission_id, ..ask(&request) };
    assert_eq!(said(&models, &of("old")).await, "first");
    assert_eq!(said(&models, &of("busy")).await, "first");
    for number in 0..16_383 {
        if number == 10_000 {
            assert_eq!(said(&models, &of("busy")).await, "second");
        }
        let mission_id = format!("m-{number}");
        said(&models, &Ask { mission_id: &mission_id, ..ask(&request) }).await;
    }
    assert_eq!(said(&models, &of("old")).await, "first", "forgotten");
    assert!(said(&models, &of("busy")).await.contains("used up"), "not forgotten");
}

#[tokio::test(start_paused = true)]
async fn faults_go_the_way_of_real_ones() {
    let good = json!({ "text": "at last" });
    let nothing = Some(Spend::NOTHING);
    for (fault, told, spent, holds_until) in [
        (json!({ "status": 429 }), "at last", None, None),
        (json!({ "status": 429, "retry_after_s": 5 }), "at last", None, None),
        (json!({ "status": 529 }), "at last", None, None),
        (json!({ "hang_s": 30 }), "at last", None, None),
        (
            json!({ "status": 429, "retry_after_s": 7200 }),
            "at its provider's limit (429)",
            nothing,
            Some("2026-11-22T10:00:00Z"),
        ),
        (
            json!({ "status": 401 }),
            "the key of [model.m] is refused (401)",
            Some(Spend { llm_calls: 1, cost: MicroUsd::ZERO }),
            None,
        ),
        (json!({ "cut": true }), "was cut", None, None),
        (json!({ "malformed": "{\"content\": " }), "makes no sense", None, None),
        (
            json!({ "malformed": "{\"content\": [], \"stop_reason\": \"bored\"}" }),
            "makes no sense: stop_reason",
            None,
            None,
        ),
        (json!({ "hang_s": 700 }), "did not answer within 600s", None, None),
    ] {
        let models = scripted(&json!({ "answers": [{ "fault": fault }, good] }), "", Paused::clock());
        let request = say("hi");
        match models.complete(&ask(&request)).await {
            Ok(completed) => assert!(told == "at last" && completed.answer.contains(told), "{fault}"),
            Err(failed) => {
                assert!(failed.error.to_string().contains(told), "{fault}: {failed:?}");
                let until = failed.hold.map(|hold| hold.until.unwrap());
                assert_eq!((failed.spent, until), (spent, holds_until.map(|time| time.parse().unwrap())), "{fault}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_does_not_end_is_a_hold_after_a_minute_and_goes_on_after_it() {
    let script = json!({ "answers": [{ "when": { "turn": 0 }, "times": 9, "fault": { "status": 429, "retry_after_s": 20 } }, { "text": "on" }] });
    let began = tokio::time::Instant::now();
    let models = scripted(&script, "", Paused::clock());
    let request = say("hi");
    let mut holds = 0;
    let answer = loop {
        match models.complete(&ask(&request)).await {
            Ok(completed) => break completed.answer,
            Err(failed) => assert!(failed.hold.is_some() && failed.spent == Some(Spend::NOTHING), "{failed:?}"),
        }
        holds += 1;
        assert!(began.elapsed() <= Duration::from_secs(60) * holds);
    };
    assert!(answer.contains("on") && holds == 3, "{holds} holds");
}

#[tokio::test]
async fn prices_hold_and_what_is_not_counted_is_four_bytes_a_token() {
    let counted =
        json!({ "content": "hello", "usage": { "input_tokens": 3, "output_tokens": 2, "cached_input_tokens": 1 } });
    let long = json!({ "content": "x".repeat(50), "usage": { "input_tokens": 1, "output_tokens": 999_999 } });
    let uses = json!({ "content": [{ "type": "tool_use", "id": "1", "name": "x", "input": { "a": 1 } }] });
    for (answer, expected) in [
        // A thousandth of a dollar for a token that is read, two for one that is written.
        (json!({ "text": "hello" }), 2 * 1_000 + 2 * 2_000),
        (json!({ "text": "" }), 2 * 1_000),
        (json!({ "answer": uses }), 2 * 1_000 + 2 * 2_000),
        (json!({ "answer": counted }), 3 * 1_000 + 2 * 2_000),
        (json!({ "answer": long }), 1_000 + 999_999 * 2_000),
    ] {
        let models = scripted(&json!({ "answers": [answer] }), "max_output_tokens = 10", Arc::new(Swift::default()));
        let request = say("five.");
        let completed = models.complete(&ask(&request)).await.unwrap();
        assert_eq!(completed.spent, Spend { llm_calls: 1, cost: MicroUsd(expected) }, "{answer}");
        let quote = models.quote(&ask(&request)).unwrap();
        assert_eq!(quote.llm_calls, 1);
        assert_eq!(completed.spent.cost > quote.cost, expected > 1_000_000, "only a lie is dearer than {}", quote.cost);
    }
}

#[tokio::test]
async fn tools_and_refusals_come_as_the_script_says_and_models_are_listed() {
    let uses = json!({ "content": [{ "type": "text", "text": "so" }, { "type": "tool_use", "id": "1", "name": "mcp.x", "input": {} }] });
    let refuses = json!({ "content": "no", "stop_reason": "refusal" });
    let models =
        scripted(&json!({ "answers": [{ "answer": uses }, { "answer": refuses }] }), "", Arc::new(Swift::default()));
    let (request, tools) = (say("hi"), [tool("mcp.x")]);
    for (reason, text) in [("tool_use", r#""name":"mcp.x""#), ("refusal", r#""text":"no""#)] {
        let answer = models.complete(&Ask { tools: &tools, ..ask(&request) }).await.unwrap().answer;
        assert!(answer.contains(&format!(r#""stop_reason":"{reason}""#)) && answer.contains(text), "{answer}");
    }
    let listed = models.list();
    assert_eq!(
        (listed.len(), listed[0].name.as_str(), listed[0].is_default, listed[0].prices.output),
        (1, "m", true, 2_000.0)
    );
    let shown = serde_json::to_value(&listed[0]).unwrap();
    assert_eq!((&shown["protocol"], &shown["context_tokens"]), (&json!("scripted"), &Value::Null));
    assert_eq!(models.check("m").await, Some(Health::Well));
}

#[tokio::test]
async fn a_request_without_a_model_needs_a_default_one() {
    let none = common::models("[model]\n", std::path::Path::new("."), Arc::new(Swift::default()));
    let two = "[model.a]\nprotocol = \"openai\"\nmodel = \"x\"\nfree = true\n[model.b]\nprotocol = \"openai\"\nmodel = \"x\"\nfree = true\n";
    let two = common::models(two, std::path::Path::new("."), Arc::new(Swift::default()));
    let request = say("hi");
    assert_eq!(none.quote(&ask(&request)), Err(CallError::Failed("no model is configured on this node".to_owned())));
    let why = "/model: must be there, for no model is the default; there is a, b";
    assert_eq!(two.quote(&ask(&request)), Err(CallError::InvalidArguments(why.to_owned())));
    assert!(two.list().iter().all(|model| !model.is_default));
}

#[tokio::test]
async fn what_was_recorded_plays_the_same_again() {
    let uses = json!({ "content": [{ "type": "reasoning", "x": 1 }, { "type": "tool_use", "id": "1", "name": "x", "input": { "a": "\n" } }] });
    let script = json!({ "answers": [
        { "when": { "turn": 1 }, "answer": { "content": "done", "usage": { "input_tokens": 7, "output_tokens": 3, "cached_input_tokens": 2 } } },
        { "answer": uses }, { "fault": { "status": 401 } }, { "text": "again" }] });
    let recorder = Recorder::new(Arc::new(scripted(&script, "", Arc::new(Swift::default()))));
    let (first, second) = (say("hi"), after(1, "hi"));
    let (mut answers, calls) = (vec![], [&first, &second, &first, &first]);
    for request in calls {
        answers.push(recorder.complete(&ask(request)).await);
    }
    assert!(answers[2].is_err(), "a call that failed is no part of what is recorded");
    let (text, left_out) = recorder.script();
    let again = scripted(&serde_json::from_str(&text).unwrap(), "", Arc::new(Swift::default()));
    for (request, expected) in calls.iter().zip(answers).filter(|(_, answer)| answer.is_ok()) {
        assert_eq!(again.complete(&ask(request)).await, expected, "{text}");
    }
    assert!(left_out == 0 && again.complete(&ask(&first)).await.is_err());
}

#[tokio::test]
async fn what_is_recorded_is_never_more_than_a_script_may_be() {
    let long = json!({ "answers": [{ "when": { "turn": 0 }, "text": "x".repeat(3 << 20) }] });
    let recorder = Recorder::new(Arc::new(scripted(&long, "", Arc::new(Swift::default()))));
    let request = say("hi");
    for _ in 0..7 {
        recorder.complete(&ask(&request)).await.unwrap();
    }
    let (text, left_out) = recorder.script();
    assert!(left_out == 2 && text.len() < 16 << 20, "{left_out}, {}", text.len());
    drop(scripted(&serde_json::from_str(&text).unwrap(), "", Arc::new(Swift::default())));
}
