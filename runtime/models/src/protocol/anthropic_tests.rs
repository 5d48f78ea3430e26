//! What is sent, byte for byte, and what answers mean.

use super::*;
use crate::protocol::openai::tests::{interrupted, tool, within_bounds};

fn rendered(request: &Value, tools: &[ToolInfo], takes_schemas: bool, thinking: Thinking, max_tokens: u32) -> Value {
    let request = Request::parse(&request.to_string()).unwrap();
    let names = Names::of(tools, &request);
    let round = Round { request: &request, tools, names: &names, model: "claude", max_tokens, takes_schemas };
    render(&round, thinking)
}

/// A turn of tools, with a thought in front where `thought` holds one.
fn turn_of_tools(thought: Option<Value>) -> Value {
    let asked = json!({ "type": "tool_use", "id": "functions.look:0", "name": "mcp.files.look", "input": { "n": 1 } });
    let said: Vec<Value> = thought.into_iter().chain([asked]).collect();
    json!({
        "reasoning": "medium",
        "messages": [
            { "role": "user", "content": "go" },
            { "role": "assistant", "content": said },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "functions.look:0", "content": "found" }] }],
    })
}

#[test]
fn a_turn_of_tools_with_thoughts_and_images_is_sent_as_it_must_be() {
    let request = json!({
        "system": "Be brief.",
        "reasoning": "high",
        "messages": [
            { "role": "user", "content": "What is this?" },
            { "role": "user", "content": [{ "type": "image", "media_type": "image/png", "data": "iVBORw0KGgo=" }] },
            { "role": "assistant", "content": [
                { "type": "reasoning", "protocol": "anthropic", "text": "Let me look.", "signature": "sig" },
                { "type": "reasoning", "protocol": "anthropic", "redacted": "opaque" },
                { "type": "reasoning", "protocol": "openai", "text": "not ours" },
                { "type": "text", "text": " " },
                { "type": "tool_use", "id": "functions.look:0", "name": "mcp.files.look", "input": { "path": "a", "n": 1 } }] },
            { "role": "user", "content": [
                { "type": "text", "text": "Go on." },
                { "type": "tool_result", "tool_use_id": "functions.look:0", "is_error": true, "content": [
                    { "type": "text", "text": "found" },
                    { "type": "text", "text": "" },
                    { "type": "image", "media_type": "image/jpeg", "data": "AAAA" }] }] }],
    });
    let schema = json!({ "properties": {} });
    let tools = [tool("mcp.files.look", schema)];
    let expected = json!({
        "model": "claude",
        "max_tokens": 4096,
        "system": "Be brief.",
        "messages": [
            { "role": "user", "content": [
                { "type": "text", "text": "What is this?" },
                { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo=" } }] },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "Let me look.", "signature": "sig" },
                { "type": "redacted_thinking", "data": "opaque" },
                { "type": "tool_use", "id": "functions_look_0", "name": "mcp_files_look", "input": { "path": "a", "n": 1 } }] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "functions_look_0", "content": [
                    { "type": "text", "text": "found" },
                    { "type": "image", "source": { "type": "base64", "media_type": "image/jpeg", "data": "AAAA" } }], "is_error": true },
                { "type": "text", "text": "Go on." }] }],
        "thinking": { "type": "enabled", "budget_tokens": 3276 },
        "tools": [{ "name": "mcp_files_look", "description": "Does mcp.files.look.", "input_schema": { "properties": {}, "type": "object" } }],
    });
    let sent = rendered(&request, &tools, false, Thinking::Budget, 4_096);
    assert_eq!(sent.to_string(), expected.to_string());
}

#[test]
fn a_schema_is_handed_over_or_told_and_an_effort_goes_with_it() {
    let request = json!({
        "system": "Be brief.",
        "messages": [{ "role": "user", "content": "x" }],
        "reasoning": "low",
        "output_schema": { "type": "object" },
    });
    let expected = json!({
        "model": "claude",
        "max_tokens": 64,
        "system": "Be brief.",
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "x" }] }],
        "thinking": { "type": "adaptive" },
        "output_config": { "effort": "low", "format": { "type": "json_schema", "schema": { "type": "object" } } },
    });
    assert_eq!(rendered(&request, &[], true, Thinking::Adaptive, 64).to_string(), expected.to_string());
    let told = rendered(&request, &[], false, Thinking::Adaptive, 64);
    assert_eq!(told["output_config"], json!({ "effort": "low" }));
    let system = told["system"].as_str().unwrap();
    assert!(
        system.starts_with("Be brief.\n\nAnswer with JSON alone") && system.ends_with(r#"{"type":"object"}"#),
        "{system}"
    );
}

#[test]
fn thoughts_are_asked_for_only_where_there_may_be_some() {
    let ours = json!({ "type": "reasoning", "protocol": "anthropic", "text": "hm", "signature": "s" });
    let foreign = json!({ "type": "reasoning", "protocol": "openai", "text": "hm" });
    for (thought, expected) in [(Some(ours), true), (Some(foreign), false), (None, false)] {
        let sent = rendered(&turn_of_tools(thought.clone()), &[], false, Thinking::Adaptive, 64);
        assert_eq!(sent.get("thinking").is_some(), expected, "{thought:?}");
    }
    for (effort, max_tokens, expected) in [
        (Effort::Low, 8_000, 2_000),
        (Effort::Medium, 8_000, 4_000),
        (Effort::High, 8_000, 6_400),
        (Effort::Low, 1_025, 1_024),
        (Effort::High, 1_025, 1_024),
    ] {
        assert_eq!(budget(effort, max_tokens), expected, "{effort:?} {max_tokens}");
    }
}

#[test]
fn tools_of_the_conversation_are_declared_where_none_may_be_asked_for_any_more() {
    let sent = rendered(&turn_of_tools(None), &[], false, Thinking::Adaptive, 64);
    assert_eq!(sent["tools"], json!([{ "name": "mcp_files_look", "input_schema": { "type": "object" } }]));
    assert_eq!(sent["tool_choice"], json!({ "type": "none" }));
}

#[test]
fn results_follow_their_calls_whatever_is_said_between() {
    let sent = rendered(&interrupted(), &[], false, Thinking::Adaptive, 64);
    let result = json!({ "type": "tool_result", "tool_use_id": "1", "content": [{ "type": "text", "text": "found" }] });
    let expected = json!([{ "role": "user", "content": [result, { "type": "text", "text": "wait" }] }]);
    assert_eq!(sent["messages"].as_array().unwrap()[2..], expected.as_array().unwrap()[..]);
}

fn read_one(content: &Value, stop_reason: &Value, usage: &Value) -> Result<Turn, Unreadable> {
    let request = Request::parse(r#"{"messages": [{"role": "user", "content": "x"}]}"#).unwrap();
    let names = Names::of(&[tool("a.b", true.into())], &request);
    read(&json!({ "content": content, "stop_reason": stop_reason, "usage": usage }).to_string(), &names)
}

#[test]
fn answers_become_blocks_and_thoughts_come_back_as_they_were() {
    let content = json!([
        { "type": "thinking", "thinking": "hm", "signature": "sig" },
        { "type": "redacted_thinking", "data": "opaque" },
        { "type": "text", "text": "" },
        { "type": "text", "text": "hi", "citations": null },
        { "type": "server_tool_use", "id": "x" },
        { "type": "tool_use", "id": "1", "name": "a_b", "input": { "x": 1 } }]);
    let turn = read_one(&content, &json!("tool_use"), &Value::Null).unwrap();
    let expected = json!([
        { "type": "reasoning", "protocol": "anthropic", "text": "hm", "signature": "sig" },
        { "type": "reasoning", "protocol": "anthropic", "redacted": "opaque" },
        { "type": "text", "text": "hi" },
        { "type": "tool_use", "id": "1", "name": "a.b", "input": { "x": 1 } }]);
    assert_eq!(serde_json::to_value(&turn.content).unwrap(), expected);
    assert_eq!(turn.stop_reason, StopReason::ToolUse);
    let request = json!({ "messages": [
        { "role": "user", "content": "x" },
        { "role": "assistant", "content": expected },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "1", "content": "y" }] }] });
    let sent = rendered(&request, &[], false, Thinking::Adaptive, 64);
    assert_eq!(sent["messages"][1]["content"][0], content[0]);
    assert_eq!(sent["messages"][1]["content"][1], content[1]);
}

#[test]
fn stop_reasons_and_usage_are_ours() {
    for (stop_reason, expected) in [
        ("end_turn", StopReason::EndTurn),
        ("tool_use", StopReason::ToolUse),
        ("max_tokens", StopReason::MaxTokens),
        ("model_context_window_exceeded", StopReason::MaxTokens),
        ("refusal", StopReason::Refusal),
        ("stop_sequence", StopReason::Stop),
        ("pause_turn", StopReason::Stop),
    ] {
        let turn = read_one(&json!([]), &json!(stop_reason), &Value::Null).unwrap();
        assert_eq!((turn.stop_reason, turn.usage), (expected, None), "{stop_reason}");
    }
    for (usage, expected) in [
        (json!({ "input_tokens": 9, "output_tokens": 4 }), Some((9, 4, 0))),
        (
            json!({ "input_tokens": 9, "output_tokens": 4, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 10 }),
            Some((119, 4, 100)),
        ),
        (json!({ "input_tokens": u64::MAX, "output_tokens": 4, "cache_read_input_tokens": 1 }), Some((u64::MAX, 4, 1))),
        (json!({ "output_tokens": 4 }), None),
        (json!({ "input_tokens": 1.5, "output_tokens": 4 }), None),
    ] {
        let turn = read_one(&json!([]), &json!("end_turn"), &usage).unwrap();
        assert_eq!(turn.usage.map(within_bounds), expected.map(|counted| (counted, false)), "{usage}");
    }
}

#[test]
fn usage_that_contradicts_itself_counts_as_the_most_that_it_can_mean() {
    for (more, expected) in [
        (json!({ "cache_creation": null, "cache_read_input_tokens": null }), ((9, 4, 0), false)),
        (
            json!({
                "cache_creation_input_tokens": 30, "cache_read_input_tokens": 5,
                "cache_creation": { "ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20 } }),
            ((44, 4, 5), false),
        ),
        // What is kept for how long adds up to something else.
        (
            json!({
                "cache_creation_input_tokens": 20, "cache_read_input_tokens": 5,
                "cache_creation": { "ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20 } }),
            ((44, 4, 0), true),
        ),
        (
            json!({ "cache_read_input_tokens": 5, "cache_creation": { "ephemeral_5m_input_tokens": 300 } }),
            ((100, 4, 0), true),
        ),
        (
            json!({ "cache_creation_input_tokens": 20, "cache_creation": { "ephemeral_5m_input_tokens": 10 } }),
            ((29, 4, 0), true),
        ),
        // How much came beside the rest nobody knows.
        (json!({ "cache_creation": { "ephemeral_5m_input_tokens": "300" } }), ((100, 4, 0), true)),
        (
            json!({ "cache_creation_input_tokens": 10, "cache_creation": {
                "ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": -1 } }),
            ((100, 4, 0), true),
        ),
        (json!({ "cache_read_input_tokens": -5 }), ((100, 4, 0), true)),
        (json!({ "cache_read_input_tokens": 5, "cache_creation_input_tokens": "20" }), ((100, 4, 0), true)),
    ] {
        let mut usage = json!({ "input_tokens": 9, "output_tokens": 4 });
        usage.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let turn = read_one(&json!([]), &json!("end_turn"), &usage).unwrap();
        assert_eq!(turn.usage.map(within_bounds), Some(expected), "{usage}");
    }
}

#[test]
fn what_makes_no_sense_still_says_what_it_did_cost() {
    let usage = json!({ "input_tokens": 9, "output_tokens": 4 });
    for (content, stop_reason, told) in [
        (json!("hi"), json!("end_turn"), "no `content`"),
        (json!([{ "type": "text" }]), json!("end_turn"), "a block of text has none"),
        (json!([{ "type": "tool_use", "id": "1", "name": "x" }]), json!("tool_use"), "no id, name or input"),
        (json!([]), Value::Null, "no `stop_reason`"),
        (json!(vec![json!({ "type": "text", "text": "x" }); 1_001]), json!("end_turn"), "has 1001 blocks"),
    ] {
        let error = read_one(&content, &stop_reason, &usage).unwrap_err();
        assert!(error.why.contains(told), "{error:?}");
        assert_eq!(error.usage.map(within_bounds), Some(((9, 4, 0), false)), "{told}");
    }
    assert_eq!(read("<html>", &Names::default()).unwrap_err().usage, None);
}
