//! An answer as a plugin gets it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::request::Block;

/// What a model answered: the JSON of [`crate::Completed::answer`].
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Answer {
    /// What it wrote, in its order: `text`, `tool_use` and `reasoning`. To go on with the conversation, put it into a message of the
    /// assistant as it is.
    #[schemars(with = "Vec<crate::schema::AnswerBlock>")]
    pub content: Vec<Block>,
    /// Why it stopped.
    pub stop_reason: StopReason,
    /// What fits `output_schema`. Absent where there is none, where the model asks for a tool first, and where it refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// What the provider counted, over all rounds.
    pub usage: Usage,
    /// What it did cost, in US dollars, exact to the millionth.
    pub cost_usd: f64,
    /// The name of the model in the configuration.
    pub model: String,
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It was done.
    EndTurn,
    /// It wants tools to be called, and their results in the next message.
    ToolUse,
    /// `max_tokens` were written.
    MaxTokens,
    /// It, or its provider, will not answer this.
    Refusal,
    /// Another reason of the provider's.
    Stop,
}

/// What a provider counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Tokens that were read, those from the cache among them.
    pub input_tokens: u64,
    /// Tokens that were written, those of reasoning among them.
    pub output_tokens: u64,
    /// Tokens that were read from the provider's cache.
    #[serde(default)]
    pub cached_input_tokens: u64,
    /// The provider did not say, or contradicts itself: these are the most that it can have been, and what counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

impl Usage {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cached_input_tokens: self.cached_input_tokens.saturating_add(other.cached_input_tokens),
            estimated: self.estimated || other.estimated,
        }
    }
}
