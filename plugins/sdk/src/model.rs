//! Models: questions that the mission pays for. What is set aside for a call, what it did cost and whether the budget covers it is the
//! node's business; a call that the budget does not cover is [`CallError::BudgetExhausted`].
//!
//! A request and its answer are JSON:
//!
//! ```no_run
//! use sortie_plugin::{CallError, Tools, json, model};
//!
//! # fn ask(tools: &Tools) -> Result<(), CallError> {
//! let request = json!({ "messages": [{ "role": "user", "content": "Which of these files is a test?" }], "max_tokens": 500 });
//! let answer = model::complete(&request, tools)?;
//! for block in answer["content"].as_array().into_iter().flatten() {
//!     if block["type"] == "tool_use" {
//!         // A wish: whether it is granted is the plugin's to say, by a call of its handle.
//!         let tool = tools.get(block["name"].as_str().unwrap_or_default());
//!         let _result = tool.map(|tool| tool.call(&block["input"]));
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use serde::Serialize;
use serde_json::Value;

#[cfg(target_arch = "wasm32")]
use crate::bindings::world::model as world;
use crate::tool::{Tool, text};
use crate::{CallError, Pending};

/// A model that the node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// What a request names it by.
    pub name: String,
    /// How much of a conversation it takes, in tokens, where that is known.
    pub context_tokens: Option<u64>,
    /// It can ask for tools.
    pub takes_tools: bool,
    /// It can be shown images.
    pub takes_images: bool,
    /// It answers by a JSON Schema of itself; of one that does not, the node asks it and checks the answer.
    pub takes_schemas: bool,
    /// It is meant where a request names none.
    pub is_default: bool,
}

/// The node's models; none, where it has none.
#[must_use]
pub fn describe() -> Vec<ModelInfo> {
    #[cfg(target_arch = "wasm32")]
    {
        let info = |world::ModelInfo { name, context_tokens, takes_tools, takes_images, takes_schemas, is_default }| {
            ModelInfo { name, context_tokens, takes_tools, takes_images, takes_schemas, is_default }
        };
        world::describe().into_iter().map(info).collect()
    }
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::models()
}

/// Asks a model and waits for its answer. It may ask for these tools, and is told of no others.
///
/// # Errors
/// [`CallError`]: a refusal is a value, too.
pub fn complete<'a, R: Serialize + ?Sized>(
    request: &R,
    tools: impl IntoIterator<Item = &'a Tool>,
) -> Result<Value, CallError> {
    start(request, tools)?.get()
}

/// Asks a model and goes on: wait for the answer, or for it and others.
///
/// # Errors
/// [`CallError::InvalidArguments`] when the request cannot be written as JSON. Everything else is the [`Pending`]'s.
pub fn start<'a, R: Serialize + ?Sized>(
    request: &R,
    tools: impl IntoIterator<Item = &'a Tool>,
) -> Result<Pending, CallError> {
    let request = text(request)?;
    #[cfg(target_arch = "wasm32")]
    {
        let tools: Vec<_> = tools.into_iter().filter_map(Tool::granted).collect();
        Ok(Pending::of_node(world::complete(&request, &tools)))
    }
    #[cfg(not(target_arch = "wasm32"))]
    {
        let names = tools.into_iter().map(|tool| tool.name().to_owned()).collect();
        Ok(Pending::known(crate::testing::complete(&request, names)))
    }
}
