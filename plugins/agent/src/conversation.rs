//! The messages of a conversation, and what of them is left out when they become too many.
//!
//! What always stays: the task, the plan as the model last wrote it, what failed and was not seen to work since, and the last turns. What
//! goes first are old results and old arguments, which are abridged; then whole old turns. A wish and its result go together, and thoughts of
//! the model are never changed: providers refuse both.

use sortie_plugin::{Value, json};

use crate::tell::middle_cut;

/// So many of the last turns stay as they are.
const KEPT_TURNS: usize = 6;

/// Of an old result or argument so much stays, in bytes.
const OLD_BYTES: usize = 500;

/// Of one of the last turns, where even those are too much.
const RECENT_BYTES: usize = 4_000;

/// Longest text of the model's that is kept in the conversation, in bytes.
const SAID_BYTES_MAX: usize = 32 << 10;

/// What cutting leaves, in tenths: each cut makes what was said before a new text to the provider, so there are few.
const LEFT_TENTHS: usize = 6;

/// A conversation.
#[derive(Debug, Clone)]
pub(crate) struct Conversation {
    task: String,
    /// What is told in the place of what was left out.
    memory: Option<String>,
    /// What the user said behind the task, before the model spoke.
    lead: Vec<Value>,
    turns: Vec<Turn>,
    dropped: usize,
}

/// What the model said, and what it was told.
#[derive(Debug, Clone, Default)]
struct Turn {
    said: Vec<Value>,
    told: Vec<Value>,
    bytes: usize,
}

impl Conversation {
    pub(crate) fn new(task: &str) -> Self {
        Self { task: task.to_owned(), memory: None, lead: Vec::new(), turns: Vec::new(), dropped: 0 }
    }

    /// The model spoke; its blocks go in as they are, but for texts without end.
    pub(crate) fn said(&mut self, blocks: &[Value]) {
        let blocks = blocks.iter().cloned().map(|mut block| {
            if block["type"] == "text"
                && let Some(text) = block["text"].as_str().filter(|text| text.len() > SAID_BYTES_MAX)
            {
                block["text"] = middle_cut(text, SAID_BYTES_MAX).into();
            }
            block
        });
        let mut turn = Turn { said: blocks.collect(), ..Turn::default() };
        turn.weigh();
        self.turns.push(turn);
    }

    /// The user says something: results, a text.
    pub(crate) fn tell(&mut self, blocks: impl IntoIterator<Item = Value>) {
        match self.turns.last_mut() {
            Some(turn) => {
                turn.told.extend(blocks);
                turn.weigh();
            }
            None => self.lead.extend(blocks),
        }
    }

    /// The messages, as a request has them.
    pub(crate) fn messages(&self) -> Vec<Value> {
        let mut first = vec![text(&self.task)];
        first.extend(self.memory.as_deref().map(text));
        first.extend(self.lead.iter().cloned());
        let mut messages = vec![json!({ "role": "user", "content": first })];
        for turn in &self.turns {
            messages.push(json!({ "role": "assistant", "content": turn.said }));
            if !turn.told.is_empty() {
                messages.push(json!({ "role": "user", "content": turn.told }));
            }
        }
        messages
    }

    /// Whether the model spoke last.
    pub(crate) fn ends_with_the_model(&self) -> bool {
        self.turns.last().is_some_and(|turn| turn.told.is_empty())
    }

    fn bytes(&self) -> usize {
        let lead: usize = self.lead.iter().map(|block| block.to_string().len()).sum();
        let memory = self.memory.as_ref().map_or(0, String::len);
        self.task.len() + lead + memory + self.turns.iter().map(|turn| turn.bytes).sum::<usize>()
    }

    /// Makes it fit, if it does not: `memory` is what must not be forgotten. How many turns are gone by now, where something was cut.
    pub(crate) fn fit(&mut self, bytes_max: usize, memory: &str) -> Option<usize> {
        if self.bytes() <= bytes_max {
            return None;
        }
        let target = bytes_max / 10 * LEFT_TENTHS;
        let old = self.turns.len().saturating_sub(KEPT_TURNS);
        for at in 0..old {
            if self.bytes() <= target {
                break;
            }
            self.turns[at].abridge(OLD_BYTES);
        }
        while self.turns.len() > KEPT_TURNS && self.bytes() > target {
            self.turns.remove(0);
            self.dropped += 1;
        }
        let mut at = 0;
        while self.bytes() > bytes_max && at < self.turns.len() {
            self.turns[at].abridge(RECENT_BYTES);
            at += 1;
        }
        let gone = match self.dropped {
            0 => "Older results are abridged to keep this conversation short.".to_owned(),
            turns => format!(
                "{turns} earlier turns are left out here, and older results are abridged, to keep this conversation short."
            ),
        };
        self.memory = Some(format!("[{gone} Look again at what you need.]\n{memory}"));
        Some(self.dropped)
    }
}

impl Turn {
    fn weigh(&mut self) {
        self.bytes = self.said.iter().chain(&self.told).map(|block| block.to_string().len()).sum();
    }

    /// Cuts results and arguments to so many bytes each.
    fn abridge(&mut self, bytes: usize) {
        for block in &mut self.told {
            if block["type"] == "tool_result" {
                cut(&mut block["content"], bytes);
            }
        }
        for block in &mut self.said {
            if block["type"] == "tool_use" {
                cut(&mut block["input"], bytes);
            }
        }
        self.weigh();
    }
}

fn cut(value: &mut Value, bytes: usize) {
    match value {
        Value::String(text) if text.len() > bytes => *text = middle_cut(text, bytes),
        Value::Array(items) => items.iter_mut().for_each(|item| cut(item, bytes)),
        Value::Object(fields) => fields.values_mut().for_each(|field| cut(field, bytes)),
        _ => {}
    }
}

pub(crate) fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}
