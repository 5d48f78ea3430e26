//! Messages, as Anthropic has them.
//!
//! Caching is never asked for: what is written into a cache is dearer than input, and no quote would know.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};
use sortie_contract::tool::ToolInfo;

use super::{Count, Number, Round, Turn, Unreadable, bounded, object, parameters};
use crate::answer::{StopReason, Usage};
use crate::config::Thinking;
use crate::names::Names;
use crate::request::{Block, Effort, Image, Part, Request, Role};

/// Whose words a block of reasoning holds.
const OURS: &str = "anthropic";

/// The fewest tokens that may be given for thinking.
pub(crate) const THINKING_TOKENS_MIN: u32 = 1_024;

/// The body of a request.
pub(crate) fn render(round: &Round<'_>, thinking: Thinking) -> Value {
    let mut body = Map::new();
    body.insert("model".to_owned(), round.model.into());
    body.insert("max_tokens".to_owned(), round.max_tokens.into());
    if let Some(system) = round.system() {
        body.insert("system".to_owned(), system.into());
    }
    body.insert("messages".to_owned(), messages(round.request, round.names));
    if let Some(temperature) = round.request.temperature {
        body.insert("temperature".to_owned(), temperature.into());
    }
    let mut output = Map::new();
    if let Some(effort) = round.request.reasoning.filter(|_| may_think(round.request)) {
        match thinking {
            Thinking::Adaptive => {
                body.insert("thinking".to_owned(), json!({ "type": "adaptive" }));
                output.insert("effort".to_owned(), effort.name().into());
            }
            Thinking::Budget => {
                let tokens = budget(effort, round.max_tokens);
                body.insert("thinking".to_owned(), json!({ "type": "enabled", "budget_tokens": tokens }));
            }
        }
    }
    if let Some(schema) = round.schema() {
        output.insert("format".to_owned(), json!({ "type": "json_schema", "schema": schema }));
    }
    if !output.is_empty() {
        body.insert("output_config".to_owned(), output.into());
    }
    tools(round, &mut body);
    Value::Object(body)
}

/// A share of what may be written: thoughts count as output.
fn budget(effort: Effort, max_tokens: u32) -> u32 {
    let share = match effort {
        Effort::Low => max_tokens / 4,
        Effort::Medium => max_tokens / 2,
        Effort::High => max_tokens / 5 * 4,
    };
    share.clamp(THINKING_TOKENS_MIN, (max_tokens - 1).max(THINKING_TOKENS_MIN))
}

/// In the middle of a turn of tools that began without thoughts, there can be none.
fn may_think(request: &Request) -> bool {
    let last = request.messages.iter().rfind(|message| message.role == Role::Assistant);
    last.is_none_or(|message| {
        let asks = message.content.iter().any(|block| matches!(block, Block::ToolUse { .. }));
        let thinks = message.content.iter().any(|block| matches!(block, Block::Reasoning(members) if is_ours(members)));
        thinks || !asks
    })
}

fn is_ours(members: &Map<String, Value>) -> bool {
    members.get("protocol").is_some_and(|protocol| protocol == OURS)
}

fn tools(round: &Round<'_>, body: &mut Map<String, Value>) {
    let named: Vec<Value> = round.tools.iter().map(|tool| declared(tool, round.names)).collect();
    if !named.is_empty() {
        body.insert("tools".to_owned(), named.into());
        return;
    }
    // A conversation with tools in it wants them declared, also where none may be asked for any more.
    let mut seen = Vec::new();
    for block in round.request.messages.iter().flat_map(|message| &message.content) {
        if let Block::ToolUse { name, .. } = block
            && !seen.contains(&name)
        {
            seen.push(name);
        }
    }
    if !seen.is_empty() {
        let schema = json!({ "type": "object" });
        let named = seen.iter().map(|name| json!({ "name": round.names.told(name), "input_schema": schema }));
        body.insert("tools".to_owned(), named.collect());
        body.insert("tool_choice".to_owned(), json!({ "type": "none" }));
    }
}

fn declared(tool: &ToolInfo, names: &Names) -> Value {
    json!({
        "name": names.told(tool.name.as_str()),
        "description": tool.description,
        "input_schema": parameters(tool),
    })
}

/// Neighbours of one role are one message here: what a provider does with two of them is its own affair. Results must come first in it.
fn messages(request: &Request, names: &Names) -> Value {
    let runs = request.messages.chunk_by(|one, next| one.role == next.role);
    let sent = runs.filter_map(|run| {
        let (results, others): (Vec<&Block>, Vec<&Block>) = run
            .iter()
            .flat_map(|message| &message.content)
            .partition(|block| matches!(block, Block::ToolResult { .. }));
        let content: Vec<Value> =
            results.into_iter().chain(others).filter_map(|block| rendered(block, names)).collect();
        (!content.is_empty()).then(|| (run[0].role, content))
    });
    // One that says nothing is left out, and then its neighbours are some of one role.
    let mut merged: Vec<(Role, Vec<Value>)> = Vec::new();
    for (role, content) in sent {
        match merged.last_mut() {
            Some((before, all)) if *before == role => all.extend(content),
            _ => merged.push((role, content)),
        }
    }
    merged.into_iter().map(|(role, content)| json!({ "role": role, "content": content })).collect()
}

fn rendered(block: &Block, names: &Names) -> Option<Value> {
    match block {
        // A text of white space alone is refused.
        Block::Text { text } => (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text })),
        Block::Image(image) => Some(shown(image)),
        Block::ToolUse { id, name, input } => {
            Some(json!({ "type": "tool_use", "id": plain(id), "name": names.told(name), "input": input }))
        }
        Block::ToolResult { tool_use_id, content, is_error } => {
            let parts = content.iter().filter_map(|part| match part {
                Part::Text { text } => (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text })),
                Part::Image(image) => Some(shown(image)),
            });
            let parts: Vec<Value> = parts.collect();
            let mut sent = json!({ "type": "tool_result", "tool_use_id": plain(tool_use_id), "content": parts });
            if *is_error {
                sent["is_error"] = true.into();
            }
            Some(sent)
        }
        Block::Reasoning(members) if is_ours(members) => thought(members),
        Block::Reasoning(_) => None,
    }
}

/// As the provider gave it, or it refuses the signature.
fn thought(members: &Map<String, Value>) -> Option<Value> {
    if let Some(data) = members.get("redacted") {
        return Some(json!({ "type": "redacted_thinking", "data": data }));
    }
    let (text, signature) = (members.get("text")?, members.get("signature")?);
    Some(json!({ "type": "thinking", "thinking": text, "signature": signature }))
}

fn shown(image: &Image) -> Value {
    let source = json!({ "type": "base64", "media_type": image.media_type, "data": image.data });
    json!({ "type": "image", "source": source })
}

/// Ids of other providers may hold what this one does not take.
fn plain(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' }).collect()
}

/// Reads the body of an answer.
pub(crate) fn read(body: &str, names: &Names) -> Result<Turn, Unreadable> {
    let value = object(body)?;
    let usage = usage(&value["usage"]);
    let Some(blocks) = value["content"].as_array() else {
        return Err(Unreadable::new("it has no `content`").counted(usage));
    };
    let mut content = Vec::new();
    for block in blocks {
        content.extend(block_of(block, names).map_err(|error| error.counted(usage))?);
    }
    let stop_reason = match value["stop_reason"].as_str() {
        Some("end_turn") => StopReason::EndTurn,
        Some("tool_use") => StopReason::ToolUse,
        Some("max_tokens" | "model_context_window_exceeded") => StopReason::MaxTokens,
        Some("refusal") => StopReason::Refusal,
        Some(_) => StopReason::Stop,
        None => return Err(Unreadable::new("it has no `stop_reason`").counted(usage)),
    };
    let content = bounded(content).map_err(|error| error.counted(usage))?;
    Ok(Turn { content, stop_reason, usage })
}

fn block_of(block: &Value, names: &Names) -> Result<Option<Block>, Unreadable> {
    let members = |members: [(&str, &Value); 2]| {
        let ours = ("protocol".to_owned(), OURS.into());
        let rest = members.into_iter().map(|(key, value)| (key.to_owned(), value.clone()));
        Block::Reasoning(std::iter::once(ours).chain(rest).filter(|(_, value): &(_, Value)| !value.is_null()).collect())
    };
    match block["type"].as_str() {
        Some("text") => match block["text"].as_str() {
            Some("") => Ok(None),
            Some(text) => Ok(Some(Block::text(text))),
            None => Err(Unreadable::new("a block of text has none")),
        },
        Some("tool_use") => match (block["id"].as_str(), block["name"].as_str(), block["input"].as_object()) {
            (Some(id), Some(name), Some(input)) if !id.is_empty() && !name.is_empty() => {
                let (id, name) = (id.to_owned(), names.ours(name).to_owned());
                Ok(Some(Block::ToolUse { id, name, input: input.clone() }))
            }
            _ => Err(Unreadable::new("a tool_use has no id, name or input")),
        },
        Some("thinking") => Ok(Some(members([("text", &block["thinking"]), ("signature", &block["signature"])]))),
        Some("redacted_thinking") => Ok(Some(members([("redacted", &block["data"]), ("text", &Value::Null)]))),
        // Nothing else was asked for.
        _ => Ok(None),
    }
}

/// What comes from a cache, and what went into one, stands beside what was read otherwise.
fn usage(value: &Value) -> Option<Count> {
    let [from_cache, into_cache] =
        ["cache_read_input_tokens", "cache_creation_input_tokens"].map(|key| Number::of(&value[key]));
    let sum = value["input_tokens"].as_u64()?.saturating_add(from_cache.or_nothing());
    let count = Count::of(Usage {
        input_tokens: sum.saturating_add(into_cache.or_nothing()),
        output_tokens: value["output_tokens"].as_u64()?,
        cached_input_tokens: from_cache.or_nothing(),
        estimated: false,
    });
    if from_cache == Number::Odd || into_cache == Number::Odd {
        return Some(count.reads_up_to(u64::MAX));
    }
    // The same once more, by how long it is kept.
    let Some(kept) = value["cache_creation"].as_object() else { return Some(count) };
    let kept: Vec<Number> = kept.values().map(Number::of).collect();
    if kept.contains(&Number::Odd) {
        return Some(count.reads_up_to(u64::MAX));
    }
    let kept = kept.into_iter().map(Number::or_nothing).fold(0, u64::saturating_add);
    Some(match kept.cmp(&into_cache.or_nothing()) {
        Ordering::Equal => count,
        Ordering::Less => count.odd(),
        Ordering::Greater => count.reads_up_to(sum.saturating_add(kept)),
    })
}

#[cfg(test)]
#[path = "anthropic_tests.rs"]
mod tests;
