//! Where tools come from: something that is reached, says which tools it has, may lose them, and is let go of.
//!
//! The tools that are built in are one provider, a tool server is another. Here is what each has to answer, and what is taken of its
//! answer: an [`Offer`] holds whatever it says against what a node can do with it, so that a provider that says nonsense loses the tool
//! that it said it of, and no other. Never here: when a provider is asked, and what is done where it does not answer. That is its
//! driver's business, which asks under a time limit, in a task of its own.

use std::sync::Arc;

use async_trait::async_trait;
use jsonschema::Validator;
use serde_json::Value;
use sortie_contract::tool::{ASK, MISSION, MODEL, ToolInfo};
use sortie_contract::{limit, unfold};

use crate::tool::Tool;

/// Most tools of one provider: far more than a plugin can choose among, and few enough to list.
pub const TOOLS_MAX: usize = 512;

/// Largest schema of a tool's arguments, in bytes: it is kept, compiled, and recorded by each mission that asks for it.
pub const SCHEMA_BYTES_MAX: usize = 64 << 10;

/// Longest name of a tool, in bytes: what models take of one, with room for more.
pub const TOOL_NAME_BYTES_MAX: usize = 128;

const _: () = assert!(TOOL_NAME_BYTES_MAX <= limit::ID_BYTES_MAX);

/// Most of what was left out that is told, each by a line.
const LEFT_OUT_TOLD_MAX: usize = 20;

/// Where tools come from.
///
/// None of the futures needs to be afraid of being dropped: whoever waits does not wait for ever.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// What it is called in errors, in its health and in metrics. Never changes.
    fn name(&self) -> &str;

    /// What the names of all its tools begin with (`mcp__github__`); empty for those that are built in. Never changes. A tool that is
    /// called otherwise is left out: nobody takes another's name.
    fn prefix(&self) -> &str;

    /// Reaches what stands behind it. Called again after it was lost.
    async fn connect(&self) -> Result<(), ProviderError>;

    /// The tools that it has now.
    async fn tools(&self) -> Result<Vec<Arc<dyn Tool>>, ProviderError>;

    /// Whether it is well. Asked now and then while it is connected.
    async fn health(&self) -> Result<(), ProviderError>;

    /// Resolves when something is new, also where it came while nobody waited here.
    async fn changed(&self) -> Changed;

    /// Lets go of what stands behind it: the node stops.
    async fn close(&self);
}

/// What is new of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// It has other tools.
    Tools,
    /// It is gone, for this reason, and is to be connected again.
    Lost(String),
}

/// Why a provider does not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProviderError(pub String);

/// What a provider has at a moment, as far as a node can use it.
#[derive(Default)]
pub struct Offer {
    pub(crate) tools: Vec<Arc<Offered>>,
    /// What it said of others, and why that does not do.
    pub(crate) left_out: Vec<String>,
}

/// A tool, and what is known of it. What it says of itself is asked for once: the two cannot part.
pub(crate) struct Offered {
    pub(crate) info: ToolInfo,
    pub(crate) tool: Arc<dyn Tool>,
    /// Compiled once: compiling takes a hundred times as long as a check.
    pub(crate) schema: Validator,
}

impl Offer {
    /// What is taken of the tools that a provider says it has. Compiles schemas: of many tools, not a thing of a moment.
    #[must_use]
    pub fn of(prefix: &str, tools: Vec<Arc<dyn Tool>>) -> Self {
        let mut offer = Self::default();
        for tool in tools {
            if offer.tools.len() == TOOLS_MAX {
                offer.leave_out(&format!("what comes after the first {TOOLS_MAX} tools"));
                break;
            }
            match Offered::of(prefix, tool) {
                Ok(offered) if offer.bears(offered.info.name.as_str()) => {
                    offer.leave_out(&format!("a second `{}`", offered.info.name));
                }
                Ok(offered) => offer.tools.push(Arc::new(offered)),
                Err(why) => offer.leave_out(&why),
            }
        }
        offer
    }

    fn bears(&self, name: &str) -> bool {
        self.tools.iter().any(|offered| offered.info.name.as_str().eq_ignore_ascii_case(name))
    }

    fn leave_out(&mut self, what: &str) {
        leave_out(&mut self.left_out, what);
    }
}

/// Tells one thing more that is left out; the last of those that are told says that there are more.
pub(crate) fn leave_out(told: &mut Vec<String>, what: &str) {
    match told.len() {
        0..LEFT_OUT_TOLD_MAX => told.push(limit::clip(what, limit::NOTE_BYTES_MAX / 8)),
        LEFT_OUT_TOLD_MAX => told.push("and more".to_owned()),
        _ => {}
    }
}

impl Offered {
    fn of(prefix: &str, tool: Arc<dyn Tool>) -> Result<Self, String> {
        let mut info = tool.info().clone();
        let name = info.name.as_str();
        let quoted = limit::clip(name, limit::QUOTE_BYTES_MAX);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if name.is_empty() || name.len() > TOOL_NAME_BYTES_MAX || !name.bytes().all(is_plain) {
            // A pattern has to be able to say it.
            return Err(format!(
                "`{quoted}`: a name has up to {TOOL_NAME_BYTES_MAX} letters, digits, `_`, `-` and `.`"
            ));
        }
        if [MODEL, MISSION, ASK].iter().any(|taken| name.eq_ignore_ascii_case(taken)) {
            return Err(format!("`{quoted}`: the name is taken, for calls that are no tool's"));
        }
        if !begins_with(name, prefix) || name.len() == prefix.len() {
            return Err(format!("`{quoted}`: it does not begin with `{prefix}`"));
        }
        let bytes = info.input_schema.to_string().len();
        if bytes > SCHEMA_BYTES_MAX {
            return Err(format!("`{quoted}`: its input schema has {bytes} bytes, {SCHEMA_BYTES_MAX} are allowed"));
        }
        let schema = compiled(&info.input_schema).map_err(|why| format!("`{quoted}`: its input schema {why}"))?;
        info.description = limit::clip(&info.description, limit::NOTE_BYTES_MAX);
        Ok(Self { info, tool, schema })
    }
}

/// A schema that can be held against arguments, or why it is none.
pub(crate) fn compiled(schema: &Value) -> Result<Validator, String> {
    unfold::bounded(schema).map_err(|why| format!("cannot be used: {why}"))?;
    jsonschema::validator_for(schema).map_err(|error| format!("is no JSON Schema: {error}"))
}

/// Whether a name begins so, without regard to case.
pub(crate) fn begins_with(name: &str, prefix: &str) -> bool {
    name.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}
