//! A request of a plugin, in types that hold no wrong one. [`Request::parse`] is the only way to one.
//!
//! Owned here: what a request is, and which blocks may follow which. Never here: whether a model takes it, and what it costs.

mod artifact;
mod fields;
mod order;
mod parse;

pub use artifact::{artifacts_of, with_artifacts};
pub(crate) use fields::{Fields, Mistakes};
pub(crate) use parse::{assistant_blocks, blocks};

use std::sync::Arc;

use jsonschema::Validator;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Most messages of a request: a conversation that is longer has long outgrown every model's context.
pub(crate) const MESSAGES_MAX: usize = 10_000;

/// Most blocks of a message: what one turn may hold of tools' results, many times over.
pub(crate) const BLOCKS_MAX: usize = 1_000;

/// Most images of a request: what providers take at most.
pub(crate) const IMAGES_MAX: usize = 100;

/// Largest `output_schema`, in bytes: it is compiled for each call, and sent with it. As much as a tool's schema may have.
pub(crate) const SCHEMA_BYTES_MAX: usize = 64 << 10;

/// Longest id of a tool's use, in bytes: the longest of a provider has about 60, and some put the tool's name into it.
pub(crate) const USE_ID_BYTES_MAX: usize = 256;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The model's name in the configuration; absent: the default one.
    pub(crate) model: Option<String>,
    /// What the model is told before everything else.
    pub(crate) system: Option<String>,
    /// The conversation: at least one message, the first of the user. Each `tool_result` answers a `tool_use` of the assistant's message
    /// before it, and each `tool_use` is answered before the assistant speaks again.
    pub(crate) messages: Vec<Message>,
    /// The most that it may write, in tokens; not 0.
    pub(crate) max_tokens: Option<u32>,
    /// 0 to 2. Never beside `reasoning`.
    pub(crate) temperature: Option<f64>,
    /// How much it is to think.
    pub(crate) reasoning: Option<Effort>,
    /// What the answer is to fit.
    pub(crate) output: Option<OutputSchema>,
}

/// A JSON Schema for an answer, and what holds answers against it.
#[derive(Clone)]
pub(crate) struct OutputSchema {
    pub(crate) schema: Value,
    pub(crate) validator: Arc<Validator>,
}

impl std::fmt::Debug for OutputSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OutputSchema").field(&self.schema).finish()
    }
}

/// How much a model is to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// A little.
    Low,
    /// As it would.
    Medium,
    /// At length.
    High,
}

impl Effort {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The plugin, and whoever it speaks for.
    User,
    /// The model.
    Assistant,
}

/// One turn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Message {
    pub(crate) role: Role,
    /// Empty only where an assistant said nothing.
    pub(crate) content: Vec<Block>,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// Text.
    Text {
        /// It.
        text: String,
    },
    /// The assistant asks for a tool.
    ToolUse {
        /// What its result answers.
        id: String,
        /// The tool.
        name: String,
        /// The arguments.
        input: Map<String, Value>,
    },
    /// The user says what a tool returned.
    ToolResult {
        /// Which use it answers.
        tool_use_id: String,
        /// What came of it.
        content: Vec<Part>,
        /// Whether the tool failed.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
    /// The user shows something.
    Image(Image),
    /// What the assistant thought: its provider's own words, which nobody else reads.
    Reasoning(Map<String, Value>),
}

/// A part of what a tool returned.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text.
    Text {
        /// It.
        text: String,
    },
    /// An image.
    Image(Image),
}

/// An image, in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    /// What it is.
    pub media_type: MediaType,
    /// Its bytes, in base64 with padding.
    pub data: String,
}

/// The kinds of images that models see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MediaType {
    /// PNG.
    #[serde(rename = "image/png")]
    Png,
    /// JPEG.
    #[serde(rename = "image/jpeg")]
    Jpeg,
    /// GIF.
    #[serde(rename = "image/gif")]
    Gif,
    /// WebP.
    #[serde(rename = "image/webp")]
    WebP,
}

impl MediaType {
    pub(crate) const ALL: [(&'static str, Self); 4] =
        [("image/png", Self::Png), ("image/jpeg", Self::Jpeg), ("image/gif", Self::Gif), ("image/webp", Self::WebP)];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::WebP => "image/webp",
        }
    }
}

impl Block {
    /// Text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

impl Request {
    /// Every image of the conversation.
    pub(crate) fn images(&self) -> impl Iterator<Item = &Image> {
        self.messages.iter().flat_map(|message| &message.content).flat_map(|block| match block {
            Block::Image(image) => vec![image],
            Block::ToolResult { content, .. } => content
                .iter()
                .filter_map(|part| match part {
                    Part::Image(image) => Some(image),
                    Part::Text { .. } => None,
                })
                .collect(),
            Block::Text { .. } | Block::ToolUse { .. } | Block::Reasoning(_) => Vec::new(),
        })
    }

    /// How many messages of the assistant there are: which turn this is, counted from 0.
    pub(crate) fn turn(&self) -> usize {
        self.messages.iter().filter(|message| message.role == Role::Assistant).count()
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
