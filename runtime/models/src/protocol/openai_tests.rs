//! What is sent, byte for byte, and what answers mean.

use sortie_contract::tool::{ToolInfo, ToolName};

use super::*;
use crate::request::Request;

pub(crate) fn tool(name: &str, schema: Value) -> ToolInfo {
    ToolInfo { description: format!("Does {name}."), input_schema: schema, ..ToolInfo::undeclared(ToolName::new(name)) }
}

fn rendered(request: &Value, tools: &[ToolInfo], takes_schemas: bool, key: MaxTokensKey) -> Value {
    let request = Request::parse(&request.to_string()).unwrap();
    let names = Names::of(tools, &request);
    let round = Round { request: &request, tools, names: &names, model: "gpt", max_tokens: 64, takes_schemas };
    render(&round, key)
}

#[test]
fn a_turn_of_tools_with_thoughts_and_images_is_sent_as_it_must_be() {
    let request = json!({
        "system": "Be brief.",
        "temperature": 0.5,
        "messages": [
            { "role": "user", "content": [
                { "type": "text", "text": "What is this?" },
                { "type": "image", "media_type": "image/png", "data": "iVBORw0KGgo=" }] },
            { "role": "assistant", "content": [
                { "type": "reasoning", "protocol": "anthropic", "text": "not ours", "signature": "s" },
                { "type": "reasoning", "protocol": "openai", "text": "Let me look." },
                { "type": "text", "text": "I look." },
                { "type": "tool_use", "id": "call_1", "name": "mcp.files.look", "input": { "path": "a", "n": 1 } },
                { "type": "tool_use", "id": "call_2", "name": "Read", "input": {} }] },
            { "role": "user", "content": [
                { "type": "text", "text": "Go on." },
                { "type": "tool_result", "tool_use_id": "call_1", "content": [
                    { "type": "text", "text": "found" },
                    { "type": "image", "media_type": "image/jpeg", "data": "AAAA" }] },
                { "type": "tool_result", "tool_use_id": "call_2", "content": "no such file", "is_error": true }] },
            { "role": "assistant", "content": [] },
            { "role": "assistant", "content": [
                { "type": "reasoning", "protocol": "openai", "text": "thought outside of a turn of tools" },
                { "type": "text", "text": "A cat." }] },
            { "role": "user", "content": "Thanks." }],
    });
    let schema = json!({ "type": "object", "properties": { "path": { "type": "string" } } });
    let tools = [tool("mcp.files.look", schema.clone()), tool("Read", true.into())];
    let expected = json!({
        "model": "gpt",
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": [
                { "type": "text", "text": "What is this?" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgo=" } }] },
            { "role": "assistant", "content": "I look.", "reasoning_content": "Let me look.", "tool_calls": [
                { "id": "call_1", "type": "function", "function": { "name": "mcp_files_look", "arguments": "{\"path\":\"a\",\"n\":1}" } },
                { "id": "call_2", "type": "function", "function": { "name": "Read", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "call_1", "content": "found" },
            { "role": "tool", "tool_call_id": "call_2", "content": "Error: no such file" },
            { "role": "user", "content": [
                { "type": "text", "text": "Go on." },
                { "type": "text", "text": "Images of the result of call_1:" },
                { "type": "image_url", "image_url": { "url": "data:image/jpeg;base64,AAAA" } }] },
            { "role": "assistant", "content": "A cat." },
            { "role": "user", "content": "Thanks." }],
        "max_tokens": 64,
        "temperature": 0.5,
        "tools": [
            { "type": "function", "function": { "name": "mcp_files_look", "description": "Does mcp.files.look.", "parameters": schema } },
            { "type": "function", "function": { "name": "Read", "description": "Does Read.", "parameters": { "type": "object" } } }],
    });
    let sent = rendered(&request, &tools, true, MaxTokensKey::MaxTokens);
    assert_eq!(sent.to_string(), expected.to_string());
}

#[test]
fn a_schema_is_handed_over_or_told() {
    let request = json!({
        "messages": [{ "role": "user", "content": "x" }],
        "reasoning": "high",
        "output_schema": { "type": "object" },
    });
    let expected = json!({
        "model": "gpt",
        "messages": [{ "role": "user", "content": "x" }],
        "max_completion_tokens": 64,
        "reasoning_effort": "high",
        "response_format": { "type": "json_schema", "json_schema": { "name": "output", "schema": { "type": "object" }, "strict": false } },
    });
    let sent = rendered(&request, &[], true, MaxTokensKey::MaxCompletionTokens);
    assert_eq!(sent.to_string(), expected.to_string());
    let told = rendered(&request, &[], false, MaxTokensKey::MaxCompletionTokens);
    assert_eq!(told.get("response_format"), None);
    let system = told["messages"][0]["content"].as_str().unwrap();
    assert!(system.starts_with("Answer with JSON alone") && system.ends_with(r#"{"type":"object"}"#), "{system}");
}

/// A request in which the user says something between a call and its result, in messages of its own.
pub(crate) fn interrupted() -> Value {
    json!({ "messages": [
        { "role": "user", "content": "go" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "1", "name": "x", "input": {} }] },
        { "role": "user", "content": "wait" },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "1", "content": "found" }] }] })
}

#[test]
fn results_follow_their_calls_whatever_is_said_between() {
    let sent = rendered(&interrupted(), &[], true, MaxTokensKey::MaxTokens);
    let expected =
        json!([{ "role": "tool", "tool_call_id": "1", "content": "found" }, { "role": "user", "content": "wait" }]);
    assert_eq!(sent["messages"].as_array().unwrap()[2..], expected.as_array().unwrap()[..]);
}

fn read_one(message: &Value, finish: &Value, usage: &Value) -> Result<Turn, Unreadable> {
    let tools = [tool("a.b", true.into())];
    let request = Request::parse(r#"{"messages": [{"role": "user", "content": "x"}]}"#).unwrap();
    let names = Names::of(&tools, &request);
    let body = json!({ "choices": [{ "index": 0, "message": message, "finish_reason": finish }], "usage": usage });
    read(&body.to_string(), &names, "mark")
}

fn call(id: &Value, arguments: &Value) -> Value {
    json!({ "id": id, "type": "function", "function": { "name": "a_b", "arguments": arguments } })
}

fn used(id: &str, input: &Value) -> Block {
    Block::ToolUse { id: id.to_owned(), name: "a.b".to_owned(), input: input.as_object().unwrap().clone() }
}

#[test]
fn answers_become_blocks() {
    let text = Block::text("hi");
    let thought = json!({ "protocol": "openai", "text": "hm" });
    let thought = Block::Reasoning(thought.as_object().unwrap().clone());
    let asked = used("1", &json!({ "x": 1 }));
    for (message, finish, content, stop_reason) in [
        (json!({ "content": "hi" }), json!("stop"), vec![text.clone()], StopReason::EndTurn),
        (json!({ "content": "hi" }), Value::Null, vec![text.clone()], StopReason::EndTurn),
        (
            json!({ "content": [{ "type": "text", "text": "hi" }] }),
            json!("stop"),
            vec![text.clone()],
            StopReason::EndTurn,
        ),
        (json!({ "content": "hi" }), json!("length"), vec![text.clone()], StopReason::MaxTokens),
        (json!({ "content": "hi" }), json!("content_filter"), vec![text.clone()], StopReason::Refusal),
        (json!({ "content": "hi" }), json!("eos"), vec![text.clone()], StopReason::Stop),
        (json!({ "content": null, "refusal": "hi" }), json!("stop"), vec![text.clone()], StopReason::Refusal),
        (json!({ "content": null }), json!("stop"), vec![], StopReason::EndTurn),
        (
            json!({ "content": "hi", "reasoning_content": "hm" }),
            json!("stop"),
            vec![thought.clone(), text.clone()],
            StopReason::EndTurn,
        ),
        (
            json!({ "content": "hi", "reasoning": "hm" }),
            json!("stop"),
            vec![thought, text.clone()],
            StopReason::EndTurn,
        ),
        (
            json!({ "content": null, "tool_calls": [call(&json!("1"), &json!("{\"x\":1}"))] }),
            json!("tool_calls"),
            vec![asked.clone()],
            StopReason::ToolUse,
        ),
        // As some local servers do it.
        (
            json!({ "content": "", "tool_calls": [call(&json!("1"), &json!({ "x": 1 })), call(&json!(""), &json!("")), call(&Value::Null, &Value::Null)] }),
            json!("stop"),
            vec![asked.clone(), used("call_mark_1", &json!({})), used("call_mark_2", &json!({}))],
            StopReason::ToolUse,
        ),
        // Cut in the middle of the second call.
        (
            json!({ "content": null, "tool_calls": [call(&json!("1"), &json!("{\"x\":1}")), call(&json!("2"), &json!("{\"x"))] }),
            json!("length"),
            vec![asked],
            StopReason::MaxTokens,
        ),
    ] {
        let turn = read_one(&message, &finish, &Value::Null).unwrap();
        assert_eq!(turn, Turn { content, stop_reason, usage: None }, "{message}");
    }
}

#[test]
fn usage_is_taken_whole_or_not_at_all() {
    let message = json!({ "content": "hi" });
    for (usage, expected) in [
        (json!({ "prompt_tokens": 9, "completion_tokens": 4 }), Some((9, 4, 0))),
        (
            json!({ "prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": { "cached_tokens": 8 } }),
            Some((9, 4, 8)),
        ),
        (json!({ "prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": null }), Some((9, 4, 0))),
        (json!({ "prompt_tokens": 9 }), None),
        (json!({ "prompt_tokens": -9, "completion_tokens": 4 }), None),
        (json!({ "prompt_tokens": "9", "completion_tokens": 4 }), None),
        (Value::Null, None),
    ] {
        let turn = read_one(&message, &json!("stop"), &usage).unwrap();
        assert_eq!(turn.usage.map(within_bounds), expected.map(|counted| (counted, false)), "{usage}");
    }
}

/// What counts where a hundred tokens can have been read and fifty written, and whether something is odd.
pub(crate) fn within_bounds(count: Count) -> ((u64, u64, u64), bool) {
    let usage = count.dearest(crate::price::Prices::FREE, 100, 50);
    ((usage.input_tokens, usage.output_tokens, usage.cached_input_tokens), count.is_odd())
}

#[test]
fn usage_that_contradicts_itself_counts_as_the_most_that_it_can_mean() {
    let message = json!({ "content": "hi" });
    for (more, expected) in [
        (json!({ "total_tokens": 13 }), ((9, 4, 0), false)),
        (json!({ "total_tokens": 0 }), ((9, 4, 0), false)),
        (
            json!({ "total_tokens": null, "prompt_tokens_details": {}, "completion_tokens_details": null }),
            ((9, 4, 0), false),
        ),
        (json!({ "completion_tokens_details": { "reasoning_tokens": 4 } }), ((9, 4, 0), false)),
        // More from the cache than was read at all.
        (json!({ "prompt_tokens_details": { "cached_tokens": 90 } }), ((99, 4, 0), true)),
        (json!({ "prompt_tokens_details": { "cached_tokens": 900 } }), ((100, 4, 0), true)),
        (json!({ "prompt_tokens_details": { "cached_tokens": -1 } }), ((9, 4, 0), true)),
        (json!({ "prompt_tokens_details": { "cached_tokens": "9" } }), ((9, 4, 0), true)),
        // Thoughts that stand beside what was written.
        (json!({ "completion_tokens_details": { "reasoning_tokens": 30 } }), ((9, 34, 0), true)),
        (json!({ "completion_tokens_details": { "reasoning_tokens": 300 } }), ((9, 50, 0), true)),
        (json!({ "completion_tokens_details": { "reasoning_tokens": 0.5 } }), ((9, 4, 0), true)),
        // A sum that is none.
        (json!({ "total_tokens": 43, "prompt_tokens_details": { "cached_tokens": 8 } }), ((9, 34, 8), true)),
        (json!({ "total_tokens": u64::MAX }), ((9, 50, 0), true)),
        (json!({ "total_tokens": 12, "prompt_tokens_details": { "cached_tokens": 8 } }), ((9, 4, 8), true)),
        (json!({ "total_tokens": "13" }), ((9, 4, 0), true)),
    ] {
        let mut usage = json!({ "prompt_tokens": 9, "completion_tokens": 4 });
        usage.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let turn = read_one(&message, &json!("stop"), &usage).unwrap();
        assert_eq!(turn.usage.map(within_bounds), Some(expected), "{usage}");
    }
}

#[test]
fn what_makes_no_sense_still_says_what_it_did_cost() {
    let usage = json!({ "prompt_tokens": 9, "completion_tokens": 4 });
    let cut = json!({ "tool_calls": [call(&json!("1"), &json!("{\"x"))] });
    for (message, told) in [
        (json!("hi"), "no `choices[0].message`"),
        (cut, "arguments for the tool `a.b` are no JSON object"),
        (json!({ "tool_calls": [{ "id": "1" }] }), "calls a tool without a name"),
        (json!({ "tool_calls": vec![call(&json!("1"), &json!("{}")); 1_001] }), "has 1001 blocks, 1000 are allowed"),
    ] {
        let error = read_one(&message, &json!("stop"), &usage).unwrap_err();
        assert!(error.why.contains(told), "{error:?}");
        assert_eq!(error.usage.map(within_bounds), Some(((9, 4, 0), false)), "{told}");
    }
    for body in ["", "<html>", "[]", "null", &format!("{}1{}", "[".repeat(500), "]".repeat(500))] {
        assert_eq!(read(body, &Names::default(), "m").unwrap_err().usage, None, "{body}");
    }
}
