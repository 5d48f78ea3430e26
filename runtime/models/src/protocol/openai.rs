//! Chat completions, as OpenAI has them and most local servers.

use serde_json::{Map, Value, json};

use super::{Count, Number, Round, Turn, Unreadable, bounded, object, parameters, texts};
use crate::answer::{StopReason, Usage};
use crate::config::MaxTokensKey;
use crate::names::Names;
use crate::request::{Block, Image, Message, Part, Role};

/// Whose words a block of reasoning holds.
const OURS: &str = "openai";

/// The body of a request.
pub(crate) fn render(round: &Round<'_>, max_tokens_key: MaxTokensKey) -> Value {
    let mut body = Map::new();
    body.insert("model".to_owned(), round.model.into());
    body.insert("messages".to_owned(), Value::Array(messages(round)));
    let key = match max_tokens_key {
        MaxTokensKey::MaxTokens => "max_tokens",
        MaxTokensKey::MaxCompletionTokens => "max_completion_tokens",
    };
    body.insert(key.to_owned(), round.max_tokens.into());
    if let Some(temperature) = round.request.temperature {
        body.insert("temperature".to_owned(), temperature.into());
    }
    if let Some(effort) = round.request.reasoning {
        body.insert("reasoning_effort".to_owned(), effort.name().into());
    }
    if !round.tools.is_empty() {
        let tools = round.tools.iter().map(|tool| {
            let function = json!({
                "name": round.names.told(tool.name.as_str()),
                "description": tool.description,
                "parameters": parameters(tool),
            });
            json!({ "type": "function", "function": function })
        });
        body.insert("tools".to_owned(), tools.collect());
    }
    if let Some(schema) = round.schema() {
        // Not `strict`: that takes a part of JSON Schema only. The node checks in any case.
        let format =
            json!({ "type": "json_schema", "json_schema": { "name": "output", "schema": schema, "strict": false } });
        body.insert("response_format".to_owned(), format);
    }
    Value::Object(body)
}

fn messages(round: &Round<'_>) -> Vec<Value> {
    let mut sent = Vec::new();
    if let Some(system) = round.system() {
        sent.push(json!({ "role": "system", "content": system }));
    }
    for run in round.request.messages.chunk_by(|one, next| one.role == next.role) {
        match run[0].role {
            Role::User => user(run, &mut sent),
            Role::Assistant => sent.extend(run.iter().filter_map(|message| assistant(message, round.names))),
        }
    }
    sent
}

/// What the user says between two messages of the assistant. A result of a tool is a message of its own, and all of them follow the calls
/// directly; what else is said comes behind.
fn user(run: &[Message], sent: &mut Vec<Value>) {
    for block in run.iter().flat_map(|message| &message.content) {
        if let Block::ToolResult { tool_use_id, content, is_error } = block {
            let mark = if *is_error { "Error: " } else { "" };
            let text = format!("{mark}{}", texts(content));
            sent.push(json!({ "role": "tool", "tool_call_id": tool_use_id, "content": text }));
        }
    }
    for message in run {
        let said: Vec<Value> = message.content.iter().flat_map(said).collect();
        match said.as_slice() {
            [] => {}
            // Many local servers take nothing but this form.
            [one] if one["type"] == "text" => sent.push(json!({ "role": "user", "content": one["text"] })),
            _ => sent.push(json!({ "role": "user", "content": said })),
        }
    }
}

/// What the user says by itself. Only users show images here, also those that a tool returned.
fn said(block: &Block) -> Vec<Value> {
    match block {
        Block::Text { text } => vec![json!({ "type": "text", "text": text })],
        Block::Image(image) => vec![shown(image)],
        Block::ToolResult { tool_use_id, content, .. } => {
            let images = content.iter().filter_map(|part| match part {
                Part::Image(image) => Some(shown(image)),
                Part::Text { .. } => None,
            });
            let images: Vec<Value> = images.collect();
            let title = json!({ "type": "text", "text": format!("Images of the result of {tool_use_id}:") });
            if images.is_empty() { images } else { std::iter::once(title).chain(images).collect() }
        }
        Block::ToolUse { .. } | Block::Reasoning(_) => Vec::new(),
    }
}

fn shown(image: &Image) -> Value {
    let url = format!("data:{};base64,{}", image.media_type.name(), image.data);
    json!({ "type": "image_url", "image_url": { "url": url } })
}

fn assistant(message: &Message, names: &Names) -> Option<Value> {
    let (mut text, mut calls, mut thought) = (String::new(), Vec::new(), String::new());
    for block in &message.content {
        match block {
            Block::Text { text: more } => text.push_str(more),
            Block::ToolUse { id, name, input } => {
                let arguments = Value::Object(input.clone()).to_string();
                let function = json!({ "name": names.told(name), "arguments": arguments });
                calls.push(json!({ "id": id, "type": "function", "function": function }));
            }
            Block::Reasoning(members) if members.get("protocol").is_some_and(|protocol| protocol == OURS) => {
                thought.push_str(members.get("text").and_then(Value::as_str).unwrap_or_default());
            }
            Block::Reasoning(_) | Block::ToolResult { .. } | Block::Image(_) => {}
        }
    }
    if text.is_empty() && calls.is_empty() {
        return None;
    }
    let mut sent = Map::new();
    sent.insert("role".to_owned(), "assistant".into());
    sent.insert("content".to_owned(), if text.is_empty() { Value::Null } else { text.into() });
    if !calls.is_empty() {
        // Who thinks aloud wants its thoughts back within a turn of tools, and at no other time.
        if !thought.is_empty() {
            sent.insert("reasoning_content".to_owned(), thought.into());
        }
        sent.insert("tool_calls".to_owned(), calls.into());
    }
    Some(Value::Object(sent))
}

/// Reads the body of an answer. `mark` makes an id where the provider gives none: the same for no two rounds of a conversation.
pub(crate) fn read(body: &str, names: &Names, mark: &str) -> Result<Turn, Unreadable> {
    let value = object(body)?;
    let usage = usage(&value["usage"]);
    let choice = &value["choices"][0];
    let message = choice["message"].as_object();
    let Some(message) = message else {
        return Err(Unreadable::new("it has no `choices[0].message`").counted(usage));
    };
    let finish = choice["finish_reason"].as_str().unwrap_or_default();
    let mut content = Vec::new();
    let thought = ["reasoning_content", "reasoning"].iter().find_map(|key| message.get(*key).and_then(Value::as_str));
    if let Some(thought) = thought.filter(|text| !text.is_empty()) {
        let members = [("protocol".to_owned(), OURS.into()), ("text".to_owned(), thought.into())];
        content.push(Block::Reasoning(members.into_iter().collect()));
    }
    let refusal = message.get("refusal").and_then(Value::as_str).filter(|text| !text.is_empty());
    let text = text_of(message.get("content"));
    content.extend([text.as_deref(), refusal].into_iter().flatten().filter(|text| !text.is_empty()).map(Block::text));
    let calls = message.get("tool_calls").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut asks = false;
    for (index, call) in calls.iter().enumerate() {
        match tool_use(call, names, || format!("call_{mark}_{index}")) {
            Ok(block) => {
                content.push(block);
                asks = true;
            }
            // It was cut in the middle of the arguments.
            Err(_) if finish == "length" => {}
            Err(error) => return Err(error.counted(usage)),
        }
    }
    let stop_reason = match finish {
        _ if refusal.is_some() => StopReason::Refusal,
        "length" => StopReason::MaxTokens,
        "content_filter" => StopReason::Refusal,
        // Some servers say `stop` even so.
        _ if asks => StopReason::ToolUse,
        "stop" | "" => StopReason::EndTurn,
        _ => StopReason::Stop,
    };
    let content = bounded(content).map_err(|error| error.counted(usage))?;
    Ok(Turn { content, stop_reason, usage })
}

/// A text, or the texts of parts.
fn text_of(content: Option<&Value>) -> Option<String> {
    match content? {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => Some(parts.iter().filter_map(|part| part["text"].as_str()).collect()),
        _ => None,
    }
}

fn tool_use(call: &Value, names: &Names, or_id: impl FnOnce() -> String) -> Result<Block, Unreadable> {
    let function = &call["function"];
    let Some(name) = function["name"].as_str().filter(|name| !name.is_empty()) else {
        return Err(Unreadable::new("it calls a tool without a name"));
    };
    let input = match &function["arguments"] {
        Value::Object(arguments) => Some(arguments.clone()),
        Value::String(text) if text.trim().is_empty() => Some(Map::new()),
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Null => Some(Map::new()),
        _ => None,
    };
    let Some(input) = input else {
        return Err(Unreadable::new(format!("its arguments for the tool `{}` are no JSON object", names.ours(name))));
    };
    let id = call["id"].as_str().filter(|id| !id.is_empty()).map_or_else(or_id, str::to_owned);
    Ok(Block::ToolUse { id, name: names.ours(name).to_owned(), input })
}

fn usage(value: &Value) -> Option<Count> {
    let (read, written) = (value["prompt_tokens"].as_u64()?, value["completion_tokens"].as_u64()?);
    let cached = Number::of(&value["prompt_tokens_details"]["cached_tokens"]);
    let thought = Number::of(&value["completion_tokens_details"]["reasoning_tokens"]);
    let mut count = Count::of(Usage {
        input_tokens: read,
        output_tokens: written,
        cached_input_tokens: cached.or_nothing(),
        estimated: false,
    });
    if cached == Number::Odd {
        count = count.reads_up_to(read);
    }
    match thought {
        // Some providers count it beside what was written.
        Number::Of(thought) if thought > written => count = count.writes_up_to(written.saturating_add(thought)),
        Number::Odd => count = count.odd(),
        Number::Of(_) | Number::Absent => {}
    }
    let sum = read.saturating_add(written);
    match Number::of(&value["total_tokens"]) {
        Number::Of(total) if total > sum => count = count.together_up_to(total),
        // Servers that do not count it say so.
        Number::Of(total) if 0 < total && total < sum => count = count.odd(),
        Number::Odd => count = count.odd(),
        Number::Of(_) | Number::Absent => {}
    }
    Some(count)
}

#[cfg(test)]
#[path = "openai_tests.rs"]
pub(crate) mod tests;
