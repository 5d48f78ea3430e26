//! The models of a node as its driver sees them: what it asks, what it is answered, and what that did cost.
//!
//! Owned here: the seam. [`crate::Configured`] stands behind it in a node; a simulation hands in its own. Never here: who may call a
//! model, and which budget pays.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sortie_contract::Timestamp;
use sortie_contract::money::Spend;
use sortie_contract::tool::{CallError, ToolInfo};

use crate::answer::Usage;
use crate::config::Protocol;

/// All models of a node.
#[async_trait]
pub trait Models: Send + Sync + 'static {
    /// What there is, in the order of the names.
    fn list(&self) -> Vec<ModelInfo>;

    /// The most that a call can cost: it is set aside before the call is made. One call of a model, whatever rounds and retries it takes.
    ///
    /// # Errors
    /// [`CallError::InvalidArguments`] with a JSON Pointer into the request and what is wrong there; [`CallError::Failed`] where the
    /// request is right and no model answers it (there is none of that name, or it takes no images).
    fn quote(&self, ask: &Ask<'_>) -> Result<Spend, CallError>;

    /// Makes the call, with retries. Dropping the future gives it up.
    ///
    /// # Errors
    /// [`Failed`], with what it did cost until then.
    async fn complete(&self, ask: &Ask<'_>) -> Result<Completed, Failed>;
}

/// A call of a model.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The request, JSON, as the plugin gave it; [`crate::request_schema`] says what it looks like.
    pub request: &'a str,
    /// The tools that the model may ask for.
    pub tools: &'a [ToolInfo],
    /// The mission.
    pub mission_id: &'a str,
    /// The same for every attempt at this call, and for no other call.
    pub idempotency_key: &'a str,
    /// The trace that the call is a part of, in the form of W3C Trace Context.
    pub traceparent: Option<&'a str>,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Completed {
    /// The answer, JSON, for the plugin; [`crate::answer_schema`] says what it looks like. Never longer than the result of a call may be.
    pub answer: String,
    /// What it did cost. More than was quoted where the provider bills more than it can have been asked for.
    pub spent: Spend,
    /// The name of the model in the configuration.
    pub model: String,
    /// What the provider counted, over all rounds.
    pub usage: Usage,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// For the plugin.
    pub error: CallError,
    /// What it did cost until then. `None`: nobody knows, and it counts as quoted. Nothing where no provider has done anything for it:
    /// a call that is held has not been made.
    pub spent: Option<Spend>,
    /// The provider's limit, or the provider is out: the caller decides whether to wait and to make the call again.
    pub hold: Option<Hold>,
}

/// A provider that refuses for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Not before this should it be tried again; `None` where the provider does not say.
    pub until: Option<Timestamp>,
    /// For people: which model, and what its provider said.
    pub why: String,
}

/// What is known of a model, for lists and for plugins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelInfo {
    /// Its name in the configuration: what a request names.
    pub name: String,
    /// How its provider is spoken to.
    pub protocol: Protocol,
    /// What its provider calls it.
    pub model: String,
    /// How much it can read and write in all, in tokens, where the configuration says so.
    pub context_tokens: Option<u32>,
    /// The most that it writes in one answer unless a request asks for less, and the most that a request may ask for, in tokens.
    pub max_output_tokens: u32,
    /// Whether it can ask for tools.
    pub takes_tools: bool,
    /// Whether it sees images.
    pub takes_images: bool,
    /// Whether its provider holds it to a schema. Where it does not, the model is told, and the node checks in either case.
    pub takes_schemas: bool,
    /// What it costs.
    pub prices: PriceInfo,
    /// Whether it answers requests that name no model.
    pub is_default: bool,
}

/// Prices in US dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PriceInfo {
    /// What is read.
    pub input: f64,
    /// What is written.
    pub output: f64,
    /// What is read and was in the provider's cache.
    pub cached_input: f64,
}
