//! Which blocks may follow which: as strict as the strictest provider, for what one refuses no other needs.

use std::collections::BTreeMap;

use sortie_contract::limit;
use sortie_contract::mistake::{Pointer, code};

use super::fields::Mistakes;
use super::{Block, Message, Role};

/// The rules of a conversation that single messages do not show.
pub(super) fn check(messages: &[Message], wrong: &mut Mistakes) {
    let root = Pointer::root().join("messages");
    if messages.first().is_some_and(|first| first.role == Role::Assistant) {
        wrong.add(&root.join(0).join("role"), code::UNKNOWN_VALUE, "the first message must be of the user");
    }
    // What the assistant asked for last and nobody answered yet, with its place.
    let mut open: BTreeMap<&str, Pointer> = BTreeMap::new();
    for (number, message) in messages.iter().enumerate() {
        let place = root.join(number).join("content");
        if message.role == Role::Assistant {
            unanswered(&open, wrong);
            open.clear();
        }
        for (index, block) in message.content.iter().enumerate() {
            let place = place.join(index);
            match (message.role, block) {
                (_, Block::Text { .. }) | (Role::User, Block::Image(_)) | (Role::Assistant, Block::Reasoning(_)) => {}
                (Role::Assistant, Block::ToolUse { id, .. }) => {
                    if open.insert(id, place.clone()).is_some() {
                        wrong.add(
                            &place.join("id"),
                            code::DUPLICATE_KEY,
                            "another tool_use of this message has this id",
                        );
                    }
                }
                (Role::User, Block::ToolResult { tool_use_id, .. }) => {
                    if open.remove(tool_use_id.as_str()).is_none() {
                        let quoted = limit::clip(tool_use_id, limit::QUOTE_BYTES_MAX);
                        let detail = format!(
                            "`{quoted}` is no tool_use of the assistant's message before, or was answered already"
                        );
                        wrong.add(&place.join("tool_use_id"), code::UNKNOWN_VALUE, detail);
                    }
                }
                (Role::User, Block::ToolUse { .. }) => elsewhere(&place, "tool_use", "assistant", wrong),
                (Role::User, Block::Reasoning(_)) => elsewhere(&place, "reasoning", "assistant", wrong),
                (Role::Assistant, Block::ToolResult { .. }) => elsewhere(&place, "tool_result", "user", wrong),
                (Role::Assistant, Block::Image(_)) => elsewhere(&place, "image", "user", wrong),
            }
        }
    }
    unanswered(&open, wrong);
}

fn elsewhere(place: &Pointer, block: &str, role: &str, wrong: &mut Mistakes) {
    wrong.add(&place.join("type"), code::UNKNOWN_VALUE, format!("{block} stands in messages of the {role} only"));
}

fn unanswered(open: &BTreeMap<&str, Pointer>, wrong: &mut Mistakes) {
    for place in open.values() {
        let detail = "no tool_result of the messages behind it answers this tool_use: each must be answered before the assistant speaks again";
        wrong.add(place, code::REQUIRED, detail);
    }
}
