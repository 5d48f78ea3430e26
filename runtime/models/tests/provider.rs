//! Calls over HTTP, of a provider that answers, refuses, lies, hangs, floods, cuts and repeats the key.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Does, KEY, Provider, Swift, ask, at, chat, ok, refuses, say, tool};
use serde_json::{Value, json};
use sortie_ambient::System;
use sortie_contract::MicroUsd;
use sortie_contract::money::Spend;
use sortie_contract::tool::CallError;
use sortie_models::{Ask, Completed, Failed, Health, Models as _};

fn usage() -> Value {
    json!({ "prompt_tokens": 1_000, "completion_tokens": 10, "prompt_tokens_details": { "cached_tokens": 900 } })
}

fn spent(micro: u64) -> Option<Spend> {
    Some(Spend { llm_calls: 1, cost: MicroUsd(micro) })
}

/// What came of a call, and what was sent. Nothing that came of it has the key in it.
async fn call(
    does: Vec<Does>,
    protocol: &str,
    more: &str,
    ask: &Ask<'_>,
) -> (Result<Completed, Failed>, Provider, Arc<Swift>) {
    let provider = Provider::start(does).await;
    let swift = Arc::new(Swift::default());
    let result = at(&provider, protocol, more, swift.clone()).complete(ask).await;
    let told = format!("{result:?}");
    assert!(!told.contains("planted"), "the key is told: {told}");
    (result, provider, swift)
}

#[tokio::test]
async fn a_call_of_chat_completions_goes_out_and_comes_back() {
    let request = say("hi");
    let tools = [tool("mcp.x.y")];
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let ask = Ask { tools: &tools, traceparent: Some(traceparent), ..ask(&request) };
    let (result, provider, _) = call(vec![ok(&chat("hello", &usage()))], "openai", "", &ask).await;
    let completed = result.unwrap();
    assert_eq!(completed.spent, Spend { llm_calls: 1, cost: MicroUsd(300 + 270 + 150) });
    let expected = json!({
        "content": [{ "type": "text", "text": "hello" }], "stop_reason": "end_turn",
        "usage": { "input_tokens": 1_000, "output_tokens": 10, "cached_input_tokens": 900 },
        "cost_usd": 0.00072, "model": "m" });
    assert_eq!(completed.answer, expected.to_string());
    let head = provider.head(0);
    assert!(head.starts_with("POST /base/chat/completions HTTP/1.1"), "{head}");
    for line in [
        format!("authorization: Bearer {KEY}"),
        format!("traceparent: {traceparent}"),
        "content-type: application/json".to_owned(),
    ] {
        assert!(head.contains(&line), "{line}: {head}");
    }
    assert!(head.contains("idempotency-key: ") && !head.contains("m-1"), "a mission is named to a stranger: {head}");
    assert_eq!(provider.bodies()[0]["tools"][0]["function"]["name"], "mcp_x_y");
    assert_eq!(provider.bodies()[0]["max_tokens"], 100);
}

#[tokio::test]
async fn a_call_of_messages_goes_out_and_comes_back() {
    let body = json!({
        "content": [{ "type": "text", "text": "hello" }, { "type": "tool_use", "id": "1", "name": "mcp_x_y", "input": {} }],
        "stop_reason": "tool_use",
        "usage": { "input_tokens": 100, "output_tokens": 10, "cache_read_input_tokens": 900 } });
    let (request, tools) = (say("hi"), [tool("mcp.x.y")]);
    let (result, provider, _) = call(vec![ok(&body)], "anthropic", "", &Ask { tools: &tools, ..ask(&request) }).await;
    let completed = result.unwrap();
    assert_eq!(completed.spent.cost, MicroUsd(720));
    assert!(
        completed.answer.contains(r#"{"type":"tool_use","id":"1","name":"mcp.x.y","input":{}}"#),
        "{}",
        completed.answer
    );
    let head = provider.head(0);
    assert!(head.starts_with("POST /base/v1/messages HTTP/1.1"), "{head}");
    assert!(head.contains(&format!("x-api-key: {KEY}")) && head.contains("anthropic-version: 2023-06-01"), "{head}");
    assert!(!head.contains("authorization"), "{head}");
}

/// What a plugin is told, what it did cost, and whether it is worth waiting for: each over both protocols' common way.
#[tokio::test]
async fn refusals_and_lies_are_told_for_what_they_are() {
    let echo = format!(
        "{{\"error\": {{\"message\": \"the key {} ({}) is\\n\\n wrong\"}}}}",
        KEY.replace('"', "\\\""),
        "x".repeat(2_000)
    );
    let no_credit = r#"{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}"#;
    let counted = |message: Value| ok(&json!({ "choices": [{ "message": message }], "usage": usage() }));
    let cut = Does::Sends("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"choices\": [".to_owned());
    for (does, told, cost) in [
        (refuses(401, "", &echo), "the key of [model.m] is refused (401): the key *** (xxx", spent(0)),
        (refuses(403, "", ""), "the key of [model.m] is refused (403)", spent(0)),
        (refuses(400, "", &echo), "[model.m] refuses the request (400): the key *** (", spent(0)),
        (
            refuses(404, "", "<html>nothing here</html>"),
            "check base_url and model: <html>nothing here</html>",
            spent(0),
        ),
        (
            refuses(307, "location: http://169.254.169.254/", ""),
            "answers with a redirect (307), which is not followed",
            spent(0),
        ),
        (
            refuses(429, "retry-after: 1", no_credit),
            "the account of [model.m] has no credit left (429): You exceeded",
            spent(0),
        ),
        (cut, "the answer of [model.m] was cut", None),
        (
            Does::Spits(b"HTTP/1.1 200 OK\r\n\r\n{\"choices\": [{\"message\": {\"content\": \"a\xffb\"}}]}"),
            "was cut: it is no UTF-8",
            None,
        ),
        (Does::Floods, "was cut: it is longer than 3145728 bytes", None),
        (ok(&json!("hi")), "makes no sense: it is no JSON object", None),
        (Does::Answers("200 OK".to_owned(), "<html>".to_owned()), "makes no sense: it is not JSON", None),
        (Does::Answers("200 OK".to_owned(), "[".repeat(100_000)), "makes no sense: it is not JSON", None),
        (counted(json!("hi")), "makes no sense: it has no `choices[0].message`", spent(720)),
    ] {
        let request = say("hi");
        let case = format!("{does:?}");
        let (result, provider, _) = call(vec![does], "openai", "", &ask(&request)).await;
        let failed = result.expect_err(&case);
        let why = failed.error.to_string();
        assert!(matches!(failed.error, CallError::Failed(_)) && why.contains(told), "{why}");
        assert!(why.len() < 700 && !why.contains('\n'), "{why}");
        assert_eq!((failed.spent, failed.hold), (cost, None), "{why}");
        assert_eq!(provider.requests.lock().len(), 1, "what may have been billed is not asked again: {why}");
    }
}

#[tokio::test]
async fn what_may_pass_is_asked_again_as_the_provider_says() {
    let request = say("hi");
    let does = vec![
        refuses(429, "retry-after: 7", ""),
        refuses(529, "", ""),
        refuses(503, "retry-after-ms: 250", ""),
        refuses(502, "", ""),
        refuses(503, "", ""),
        ok(&chat("at last", &usage())),
    ];
    let (result, provider, swift) = call(does, "openai", "", &ask(&request)).await;
    assert_eq!(result.unwrap().spent.cost, MicroUsd(720), "retries are no calls of their own");
    let pauses: Vec<u128> = swift.pauses.lock().iter().map(Duration::as_millis).collect();
    // Half of the longest of 2, 4, 8 and 16 seconds where nobody says, and half a second on top where somebody does, who is believed twice.
    assert_eq!(pauses, [7_500, 1_000, 2_000, 4_000, 8_000]);
    let keys: std::collections::BTreeSet<String> = (0..6)
        .map(|index| provider.head(index).lines().find(|line| line.starts_with("idempotency-key")).unwrap().to_owned())
        .collect();
    assert_eq!(keys.len(), 1, "the provider can know them for one call");
}

#[tokio::test]
async fn what_does_not_pass_within_a_minute_is_a_hold() {
    let nothing = Some(Spend::NOTHING);
    for (does, told, until, cost) in [
        (
            vec![refuses(429, "retry-after: 3600", "")],
            "is at its provider's limit (429)",
            Some("2026-11-22T09:00:00Z"),
            nothing,
        ),
        (
            vec![refuses(
                429,
                "anthropic-ratelimit-tokens-remaining: 0\nanthropic-ratelimit-tokens-reset: 2026-11-22T09:30:00Z",
                "",
            )],
            "limit",
            Some("2026-11-22T09:30:00Z"),
            nothing,
        ),
        (
            vec![refuses(529, "", r#"{"error": {"type": "overloaded_error", "message": "Overloaded"}}"#); 20],
            "is overloaded (529): Overloaded",
            None,
            nothing,
        ),
        (vec![refuses(503, "", ""); 20], "is out (503)", None, nothing),
    ] {
        let request = say("hi");
        let (result, provider, swift) = call(does, "openai", "", &ask(&request)).await;
        let failed = result.unwrap_err();
        let hold = failed.hold.unwrap();
        assert!(hold.why.contains(told) && hold.why == failed.error.to_string(), "{}", hold.why);
        assert_eq!((hold.until, failed.spent), (until.map(|time| time.parse().unwrap()), cost), "{told}");
        let waited: Duration = swift.pauses.lock().iter().sum();
        assert!(waited <= Duration::from_secs(60) && provider.requests.lock().len() <= 12, "{waited:?}");
    }
}

/// What a provider may have done and billed counts, whether or not another attempt brings an answer; and there is none that nobody has
/// set anything aside for.
#[tokio::test]
async fn an_attempt_that_may_have_been_billed_is_booked() {
    let good = || ok(&chat("at last", &usage()));
    for (does, held) in [
        (Does::Closes, true),
        (refuses(408, "", ""), false),
        (refuses(500, "", ""), false),
        (refuses(504, "", ""), false),
        (refuses(520, "", ""), false),
        (refuses(524, "", ""), false),
    ] {
        let (request, case) = (say("hi"), format!("{does:?}"));
        let (result, provider, _) = call(vec![refuses(503, "", ""), does, good()], "openai", "", &ask(&request)).await;
        let failed = result.expect_err(&case);
        assert!(failed.error.to_string().contains("may have been billed"), "{case}: {failed:?}");
        let quote = at(&provider, "openai", "", Arc::new(Swift::default())).quote(&ask(&request)).unwrap();
        assert_eq!((failed.spent, failed.hold.is_some()), (Some(quote), held), "{case}");
        assert_eq!(provider.requests.lock().len(), 2, "{case}: nothing is set aside for another");
    }
    // Where there is a second round, what is set aside for it covers one.
    let request = for_point();
    let fits = || ok(&chat(r#"{"x": 1, "y": 2}"#, &usage()));
    let (result, provider, _) = call(vec![refuses(500, "", ""), fits()], "openai", "", &ask(&request)).await;
    let quote = at(&provider, "openai", "", Arc::new(Swift::default())).quote(&ask(&request)).unwrap().cost;
    let booked = result.unwrap().spent.cost;
    assert!(booked > MicroUsd(720 + 100 * 15) && booked <= quote, "{booked} of {quote}");
    let does = vec![refuses(500, "", ""), ok(&chat("no", &usage())), fits()];
    let (result, provider, _) = call(does, "openai", "", &ask(&request)).await;
    let failed = result.unwrap_err();
    assert!(failed.error.to_string().contains("is not asked for again: an attempt that was lost"), "{failed:?}");
    assert_eq!((failed.spent.unwrap().cost, provider.requests.lock().len()), (booked, 2));
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_a_hold_and_costs_nothing() {
    let provider = Provider::start(vec![]).await;
    // Nobody listens at port 1; one that was free just now may be another test's by now.
    let models = at(&Provider { port: 1, ..provider }, "openai", "", Arc::new(Swift::default()));
    let failed = models.complete(&ask(&say("hi"))).await.unwrap_err();
    assert!(failed.error.to_string().contains("[model.m] cannot be reached"), "{failed:?}");
    assert!(failed.hold.is_some() && failed.spent == Some(Spend::NOTHING), "{failed:?}");
}

#[tokio::test]
async fn a_key_that_is_not_there_is_told_by_its_name() {
    let missing = common::models(
        "[model.m]\nprotocol = \"openai\"\nmodel = \"x\"\nkey = \"env://SORTIE_NO_SUCH_KEY\"\nfree = true\n",
        std::path::Path::new("."),
        Arc::new(Swift::default()),
    );
    let failed = missing.complete(&ask(&say("hi"))).await.unwrap_err();
    assert!(failed.error.to_string().contains("no usable variable `SORTIE_NO_SUCH_KEY`"), "{failed:?}");
    assert_eq!((failed.hold, failed.spent), (None, Some(Spend::NOTHING)));
}

/// Where files of the host lie is told to whoever runs the node, and to no plugin.
#[tokio::test]
async fn a_file_of_a_key_that_is_not_there_is_told_without_its_path_but_to_who_checks() {
    let missing = common::models(
        "[model.m]\nprotocol = \"openai\"\nmodel = \"x\"\nkey = \"file:///no/such/key\"\nfree = true\n",
        std::path::Path::new("."),
        Arc::new(System::new(tokio::runtime::Handle::current())),
    );
    let failed = missing.complete(&ask(&say("hi"))).await.unwrap_err();
    let why = failed.error.to_string();
    assert!(why.contains("[model.m] cannot be asked: the file of its key cannot be used"), "{why}");
    assert!(!why.contains("/no/such"), "{why}");
    assert_eq!((failed.hold, failed.spent), (None, Some(Spend::NOTHING)));
    let health = missing.check("m").await;
    assert!(matches!(&health, Some(Health::Ill(why)) if why.contains("/no/such/key cannot be read")), "{health:?}");
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_given_up() {
    let provider = Provider::start(vec![Does::Hangs]).await;
    let ambient = Arc::new(System::new(tokio::runtime::Handle::current()));
    let models = at(&provider, "openai", "timeout = \"100ms\"", ambient);
    let failed = models.complete(&ask(&say("hi"))).await.unwrap_err();
    assert_eq!(failed.error, CallError::TimedOut("[model.m] did not answer within 100ms".to_owned()));
    assert_eq!((failed.spent, failed.hold), (None, None));
}

#[tokio::test]
async fn a_call_that_is_given_up_closes_its_connection() {
    let provider = Provider::start(vec![Does::Hangs]).await;
    let models = at(&provider, "openai", "", Arc::new(Swift::default()));
    let request = say("hi");
    {
        let ask = ask(&request);
        let call = models.complete(&ask);
        let asked = async {
            while provider.requests.lock().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        futures_util::pin_mut!(call, asked);
        futures_util::future::select(call, asked).await;
    }
    provider.left.notified().await;
}

#[tokio::test]
async fn a_provider_that_calls_the_bound_otherwise_is_asked_once_more_and_remembered() {
    let refusal =
        r#"{"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}"#;
    let provider = Provider::start(vec![
        refuses(400, "", refusal),
        ok(&chat("a", &usage())),
        ok(&chat("b", &usage())),
        refuses(400, "", "another mistake of max_completion_tokens"),
        refuses(400, "", "max_tokens is too large"),
    ])
    .await;
    let models = at(&provider, "openai", "", Arc::new(Swift::default()));
    let request = say("hi");
    for answer in ["a", "b"] {
        assert!(models.complete(&ask(&request)).await.unwrap().answer.contains(answer));
    }
    let failed = models.complete(&ask(&request)).await.unwrap_err();
    assert!(failed.error.to_string().contains("another mistake"), "{failed:?}");
    let keys: Vec<bool> = provider.bodies().iter().map(|body| body.get("max_tokens").is_some()).collect();
    assert_eq!(keys, [true, false, false, false, true]);
    let (result, provider, _) =
        call(vec![refuses(400, "", refusal)], "openai", "max_tokens_key = \"max_tokens\"", &ask(&request)).await;
    assert!(result.is_err() && provider.requests.lock().len() == 1, "what is configured holds");
}

#[tokio::test]
async fn a_key_that_comes_back_in_a_good_answer_is_cut_out() {
    let request = say("hi");
    let (result, ..) =
        call(vec![ok(&chat(&format!("your key is {KEY}."), &usage()))], "openai", "", &ask(&request)).await;
    assert!(result.unwrap().answer.contains("your key is ***."));
}

#[tokio::test]
async fn what_was_not_counted_counts_as_the_most_that_it_can_have_been() {
    let request = say("hi");
    let (result, provider, _) = call(vec![ok(&chat("hello", &Value::Null))], "openai", "", &ask(&request)).await;
    let completed = result.unwrap();
    assert!(completed.usage.estimated && completed.answer.contains(r#""estimated":true"#), "{}", completed.answer);
    assert_eq!(completed.usage.output_tokens, 100);
    let quote = at(&provider, "openai", "", Arc::new(Swift::default())).quote(&ask(&request)).unwrap();
    assert_eq!(completed.spent, quote);
}

#[tokio::test]
async fn a_provider_that_counts_more_than_there_can_be_is_taken_at_its_word() {
    let request = say("hi");
    let wrong = json!({ "prompt_tokens": 1_000_000, "completion_tokens": 1_000_000 });
    let (result, provider, _) = call(vec![ok(&chat("hello", &wrong))], "openai", "", &ask(&request)).await;
    let completed = result.unwrap();
    let quote = at(&provider, "openai", "", Arc::new(Swift::default())).quote(&ask(&request)).unwrap();
    assert_eq!(completed.spent.cost, MicroUsd(18_000_000));
    assert!(completed.spent.cost > quote.cost, "who keeps budgets sees that it was overbilled");
}

fn for_point() -> String {
    let schema = json!({ "type": "object", "properties": { "x": { "type": "integer" } }, "required": ["x"] });
    json!({ "messages": [{ "role": "user", "content": "a point" }], "output_schema": schema }).to_string()
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_once_more() {
    let request = for_point();
    let good = "```json\n{\"x\": 3}\n```";
    for (texts, expected) in [
        (vec!["{\"x\": 3}"], Ok(720)),
        (vec![good], Ok(720)),
        (vec!["{\"x\": \"three\"}", good], Ok(1_440)),
        (vec!["Sure! Here you are.", good], Ok(1_440)),
        (vec!["", good], Ok(1_440)),
        (
            vec!["{}", "{}"],
            Err("does not fit output_schema, after it was asked for again: the whole: \"x\" is a required property"),
        ),
    ] {
        let does = texts.iter().map(|text| ok(&chat(text, &usage()))).collect();
        let (result, provider, _) = call(does, "openai", "", &ask(&request)).await;
        let answers: Vec<Value> = provider.bodies();
        assert_eq!(answers.len(), texts.len(), "{texts:?}");
        if let Some(again) = answers.get(1) {
            let last = again["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
            assert!(last.starts_with("That answer does not fit the JSON Schema"), "{last}");
        }
        match (result, expected) {
            (Ok(completed), Ok(cost)) => {
                assert!(completed.answer.contains(r#""output":{"x":3}"#), "{}", completed.answer);
                assert_eq!(completed.spent, Spend { llm_calls: 1, cost: MicroUsd(cost) });
            }
            (Err(failed), Err(told)) => {
                assert!(failed.error.to_string().contains(told), "{failed:?}");
                assert_eq!(failed.spent, spent(1_440));
            }
            (result, _) => panic!("{texts:?}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn a_second_round_that_fails_costs_what_the_first_did_and_is_never_held() {
    let request = for_point();
    let misfit = || ok(&chat("no", &usage()));
    for (second, cost) in [
        (refuses(429, "retry-after: 3600", ""), Some(720)),
        (refuses(401, "", ""), Some(720)),
        // As much as can have been.
        (Does::Answers("200 OK".to_owned(), "<html>".to_owned()), None),
    ] {
        let (result, provider, _) = call(vec![misfit(), second], "openai", "", &ask(&request)).await;
        let failed = result.unwrap_err();
        assert!(
            failed.hold.is_none() && failed.error.to_string().contains("could not be asked for again"),
            "{failed:?}"
        );
        let spent = failed.spent.unwrap().cost;
        let quote = at(&provider, "openai", "", Arc::new(Swift::default())).quote(&ask(&request)).unwrap().cost;
        assert!(
            cost.map_or(spent > MicroUsd(720) && spent < quote, |cost| spent == MicroUsd(cost)),
            "{spent} of {quote}"
        );
    }
    let cut =
        json!({ "choices": [{ "message": { "content": "{\"x\"" }, "finish_reason": "length" }], "usage": usage() });
    let (result, provider, _) = call(vec![ok(&cut)], "openai", "", &ask(&request)).await;
    let failed = result.unwrap_err();
    assert!(failed.error.to_string().contains("cut at max_tokens (100)"), "{failed:?}");
    assert_eq!((failed.spent, provider.requests.lock().len()), (spent(720), 1));
}

#[tokio::test]
async fn who_asks_for_a_tool_or_refuses_need_not_fit() {
    let request = for_point();
    let asks =
        json!({ "content": null, "tool_calls": [{ "id": "1", "function": { "name": "x", "arguments": "{}" } }] });
    for (message, reason) in [(asks, "tool_use"), (json!({ "refusal": "no" }), "refusal")] {
        let body = json!({ "choices": [{ "message": message, "finish_reason": "stop" }], "usage": usage() });
        let (result, provider, _) = call(vec![ok(&body)], "openai", "", &ask(&request)).await;
        let answer: Value = serde_json::from_str(&result.unwrap().answer).unwrap();
        assert_eq!((answer["stop_reason"].as_str(), answer.get("output")), (Some(reason), None));
        assert_eq!(provider.requests.lock().len(), 1);
    }
}

#[tokio::test]
async fn answers_are_as_the_published_schema_says() {
    let schema = jsonschema::validator_for(&sortie_models::answer_schema()).unwrap();
    let asks = json!({ "choices": [{ "message": { "content": "a", "reasoning_content": "b", "tool_calls":
        [{ "id": "1", "function": { "name": "x", "arguments": "{}" } }] }, "finish_reason": "tool_calls" }] });
    for (request, body) in
        [(say("hi"), chat("hello", &usage())), (say("hi"), asks), (for_point(), chat("{\"x\": 1}", &usage()))]
    {
        let (result, ..) = call(vec![ok(&body)], "openai", "", &ask(&request)).await;
        let answer: Value = serde_json::from_str(&result.unwrap().answer).unwrap();
        let fits = schema.validate(&answer);
        assert!(fits.is_ok(), "{answer}: {fits:?}");
    }
}

#[tokio::test]
async fn what_a_model_does_not_take_is_told_before_it_costs_anything() {
    let provider = Provider::start(vec![]).await;
    let models = at(&provider, "openai", "tools = false\nimages = false", Arc::new(Swift::default()));
    let image = json!({ "messages": [{ "role": "user", "content": [{ "type": "image", "media_type": "image/png", "data": "AAAA" }] }] });
    let other = json!({ "model": "other", "messages": [{ "role": "user", "content": "x" }] });
    let long = json!({ "max_tokens": 101, "messages": [{ "role": "user", "content": "x" }] });
    let (plain, tools) = (say("hi"), [tool("x")]);
    let many = vec![tool("x"); 513];
    let (image, other, long) = (image.to_string(), other.to_string(), long.to_string());
    for (ask, expected) in [
        (Ask { tools: &tools, ..ask(&plain) }, CallError::Failed("[model.m] takes no tools".to_owned())),
        (
            Ask { tools: &many, ..ask(&plain) },
            CallError::InvalidArguments("513 tools are handed over, 512 are allowed".to_owned()),
        ),
        (ask(&image), CallError::Failed("[model.m] takes no images".to_owned())),
        (ask(&other), CallError::Failed("there is no model `other`; there is m".to_owned())),
        (
            ask(&long),
            CallError::InvalidArguments("/max_tokens: must be 100 at most, which [model.m] writes".to_owned()),
        ),
    ] {
        assert_eq!(models.quote(&ask).unwrap_err(), expected);
        let failed = models.complete(&ask).await.unwrap_err();
        assert_eq!((failed.error, failed.spent, failed.hold), (expected, Some(Spend::NOTHING), None));
    }
    assert!(provider.requests.lock().is_empty());
}

#[tokio::test]
async fn a_doctor_learns_how_a_model_is_without_paying() {
    let listed = |id: &str| ok(&json!({ "data": [{ "id": "other" }, { "id": id }] }));
    for (does, expected) in [
        (listed("big"), Health::Well),
        (listed("small"), Health::Doubtful("its provider does not list `big`".to_owned())),
        (refuses(401, "", ""), Health::Ill("its key is refused (401)".to_owned())),
        (refuses(404, "", ""), Health::Doubtful("its server is there, and lists no models".to_owned())),
        (refuses(418, "", KEY), Health::Ill("its provider answers 418: ***".to_owned())),
    ] {
        for (protocol, path) in [("openai", "GET /base/models HTTP/1.1"), ("anthropic", "GET /base/v1/models HTTP/1.1")]
        {
            let provider = Provider::start(vec![does.clone()]).await;
            let models = at(&provider, protocol, "", Arc::new(System::new(tokio::runtime::Handle::current())));
            assert_eq!(models.check("m").await, Some(expected.clone()), "{does:?}");
            assert!(provider.head(0).starts_with(path), "{}", provider.head(0));
        }
    }
    let provider = Provider::start(vec![]).await;
    let models = at(&provider, "openai", "", Arc::new(Swift::default()));
    assert_eq!(models.check("nobody").await, None);
}
