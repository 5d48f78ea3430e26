//! The transcript: what is kept of a conversation for people, a line of JSON for each thing that was said.
//!
//! Lines are only ever added, and hold what was said before anything was left out of the conversation. What is huge is cut in the middle:
//! the journal of the mission has it whole.

use sortie_plugin::{Value, json};

use crate::tell::middle_cut;

/// Most of one text, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Most of a transcript, in bytes; what is said behind it is counted, and not kept.
const BYTES_MAX: usize = 32 << 20;

/// A transcript that grows.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    text: String,
    left_out: usize,
}

impl Transcript {
    /// Adds a line: an object, of which long texts are cut.
    pub fn add(&mut self, line: Value) {
        if self.text.len() > BYTES_MAX {
            self.left_out += 1;
            return;
        }
        self.text.push_str(&cut(line).to_string());
        self.text.push('\n');
    }

    /// All of it, as JSON Lines.
    #[must_use]
    pub fn text(&self) -> String {
        match self.left_out {
            0 => self.text.clone(),
            lines => format!("{}{}\n", self.text, json!({ "kind": "left_out", "lines": lines })),
        }
    }
}

fn cut(value: Value) -> Value {
    match value {
        Value::String(text) if text.len() > TEXT_BYTES_MAX => Value::String(middle_cut(&text, TEXT_BYTES_MAX)),
        Value::Array(items) => items.into_iter().map(cut).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, cut(value))).collect(),
        other => other,
    }
}
