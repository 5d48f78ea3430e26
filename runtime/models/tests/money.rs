//! What is booked never exceeds what was quoted, as long as a provider counts what was sent and what it was allowed to write.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use std::sync::Arc;

use common::{Swift, at, chat, ok, tool};
use proptest::prelude::*;
use serde_json::{Value, json};
use sortie_contract::tool::ToolInfo;
use sortie_models::{Ask, Models as _};

/// A provider of a test that counts honestly, and as dearly as it can: a token for each byte that it reads of the request.
async fn booked_and_quoted(
    request: &Value,
    tools: &[ToolInfo],
    texts: &[&str],
    cached: f64,
    written: u64,
    protocol: &str,
) -> (u64, u64) {
    let text = request.to_string();
    let ask = Ask { tools, ..common::ask(&text) };
    // What is read is known once it was sent: a first run tells.
    let mut counted = vec![(0_u64, 0_u64); texts.len()];
    for _ in 0..2 {
        let answers = texts.iter().zip(&counted).map(|(text, (read, cached))| match protocol {
            "anthropic" => ok(&json!({
                "content": [{ "type": "text", "text": text }], "stop_reason": "end_turn",
                "usage": { "input_tokens": read - cached, "cache_read_input_tokens": cached, "output_tokens": written } })),
            _ => ok(&chat(
                text,
                &json!({ "prompt_tokens": read, "completion_tokens": written, "prompt_tokens_details": { "cached_tokens": cached } }),
            )),
        });
        let provider = common::Provider::start(answers.collect()).await;
        let models = at(&provider, protocol, "", Arc::new(Swift::default()));
        let quoted = models.quote(&ask).unwrap();
        let spent = match models.complete(&ask).await {
            Ok(completed) => completed.spent,
            Err(failed) => failed.spent.unwrap(),
        };
        if counted[0].0 > 0 {
            assert_eq!((quoted.llm_calls, spent.llm_calls), (1, 1));
            return (spent.cost.0, quoted.cost.0);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "small"
        )]
        let share = |read: u64| (read as f64 * cached) as u64;
        for (counted, body) in counted.iter_mut().zip(provider.bodies()) {
            let read = body.to_string().len() as u64;
            *counted = (read, share(read));
        }
    }
    unreachable!("the second run returns")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn what_is_booked_is_covered_by_what_was_quoted(
        system in proptest::option::of(".{0,200}"),
        said in proptest::collection::vec(".{1,80}", 1..6),
        tools in 0_usize..4,
        (wants_schema, answer) in (any::<bool>(), "[a-z \"\\\\]{0,60}"),
        (cached, written) in (0.0..=1.0_f64, 0_u64..=100),
        anthropic in any::<bool>(),
    ) {
        let mut messages: Vec<Value> = Vec::new();
        for (index, text) in said.iter().enumerate() {
            messages.push(json!({ "role": if index % 2 == 0 { "user" } else { "assistant" }, "content": text }));
        }
        let mut request = json!({ "messages": messages, "system": system });
        if wants_schema {
            request["output_schema"] = json!({ "type": "object", "required": ["x"] });
        }
        let tools: Vec<ToolInfo> = (0..tools).map(|number| tool(&format!("mcp.{number}"))).collect();
        let protocol = if anthropic { "anthropic" } else { "openai" };
        let texts = [answer.as_str(), answer.as_str()];
        let texts = if wants_schema { &texts[..] } else { &texts[..1] };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (booked, quoted) = runtime.block_on(booked_and_quoted(&request, &tools, texts, cached, written, protocol));
        prop_assert!(booked > 0 && booked <= quoted, "{booked} of {quoted}");
    }
}

/// With the longest answer that it may give, and nothing from a cache, a quote is near what is booked: a bound that is far off would keep
/// missions from calls that they can pay for.
#[tokio::test]
async fn a_quote_is_not_far_off() {
    let request = json!({ "messages": [{ "role": "user", "content": "x".repeat(10_000) }] });
    let (booked, quoted) = booked_and_quoted(&request, &[], &["y"], 0.0, 100, "openai").await;
    assert!(
        quoted - booked <= 300,
        "{booked} of {quoted}: 64 tokens for the provider's own words, and the longer name of max_tokens"
    );
}

#[tokio::test]
async fn images_count_by_their_number_and_a_context_bounds_what_is_read() {
    let provider = common::Provider::start(vec![]).await;
    let image = |bytes: usize| json!({ "type": "image", "media_type": "image/png", "data": "A".repeat(bytes) });
    let request = |blocks: Vec<Value>| json!({ "messages": [{ "role": "user", "content": blocks }] }).to_string();
    let quote = |request: &str, more: &str| {
        at(&provider, "openai", more, Arc::new(Swift::default())).quote(&common::ask(request)).unwrap().cost.0
    };
    let (small, large) = (request(vec![image(4)]), request(vec![image(400_000)]));
    assert_eq!(quote(&small, ""), quote(&large, ""), "an image's bytes say nothing of what it counts");
    let cheap = quote(&small, "image_tokens = 1000");
    assert_eq!(quote(&small, "") - cheap, 49_000 * 3);
    assert_eq!(quote(&small, "context = 8000"), 8_000 * 3 + 100 * 15);
    let two = request(vec![image(4), image(4)]);
    assert!(quote(&two, "image_tokens = 1000") - cheap >= 1_000 * 3);
}
