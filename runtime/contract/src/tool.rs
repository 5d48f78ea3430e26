//! Tools as the contract names them: names, effect classes, and how a call can end without a result.
//!
//! What a tool does is in `sortie-tools`; who may call it is decided in `sortie-mission`.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::limit;
use crate::money::MicroUsd;

/// The name of a tool, such as `Read` or `mcp__github__create_issue`. Compared with patterns without regard to case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ToolName(Arc<str>);

impl ToolName {
    /// A name; cut at [`limit::ID_BYTES_MAX`], which no tool of a registry comes near.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name[..name.floor_char_boundary(limit::ID_BYTES_MAX)].into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a call of a model is called among the calls. No tool of a node bears the name.
pub const MODEL: &str = "model";

/// What the dispatch of a child is called among the calls, and in constraints that forbid it or hold it. No tool of a node bears the name.
pub const MISSION: &str = "mission";

/// What a question to people is called among the calls. No tool of a node bears the name.
pub const ASK: &str = "ask";

/// A class of effects, such as `outbound_email`: what approval rules speak of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct EffectClass(pub String);

/// The classes that every node knows; its configuration may add more.
pub const KNOWN_CLASSES: [&str; 8] = [
    "destructive_file_actions",
    "external_messaging",
    "public_posting",
    "outbound_email",
    "external_side_effect",
    "money_movement",
    "destructive_local_ops",
    "workspace_write",
];

/// What is known of a tool beside its code: enough to decide about it, to describe it to a plugin and to list it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolInfo {
    /// Its name.
    pub name: ToolName,
    /// A sentence or two for whoever chooses among tools.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: serde_json::Value,
    /// Its effect classes; empty where none is declared.
    pub effects: Vec<EffectClass>,
    /// Declared to change nothing. Any effect class cancels it: ask [`ToolInfo::repeat`].
    pub read_only: bool,
    /// Declared to do nothing more when done twice with the same arguments.
    pub idempotent: bool,
    /// The price of a call that the operator gave it, beside what it may cost by itself.
    #[serde(default, skip_serializing_if = "MicroUsd::is_zero")]
    pub price: MicroUsd,
}

/// What repeating a call would do: decides what happens to it after a crash. The more harm, the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// Changes nothing: may be repeated, and need not wait for the disk.
    ReadOnly,
    /// Has an effect, but the same one: may be repeated.
    Idempotent,
    /// Has an effect each time: never silently repeated.
    Effectful,
}

impl ToolInfo {
    /// A tool of which nothing is declared, and that takes any arguments.
    #[must_use]
    pub fn undeclared(name: ToolName) -> Self {
        Self {
            name,
            description: String::new(),
            input_schema: serde_json::Value::Bool(true),
            effects: Vec::new(),
            read_only: false,
            idempotent: false,
            price: MicroUsd::ZERO,
        }
    }

    /// What repeating a call of this tool would do.
    #[must_use]
    pub fn repeat(&self) -> Repeat {
        if self.read_only && self.effects.is_empty() {
            Repeat::ReadOnly
        } else if self.idempotent {
            Repeat::Idempotent
        } else {
            Repeat::Effectful
        }
    }

    /// Whether anything was declared about its effects; a misspelt approval rule covers the tools of which nothing was.
    #[must_use]
    pub fn is_classified(&self) -> bool {
        self.read_only || !self.effects.is_empty()
    }
}

/// How a call ends without a result: the cases of the plugin world's `call-error`. A refusal is a value, never a trap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallError {
    /// The mission may not do this; the text says which rule.
    Denied(String),
    /// Calls or cost of the budget are spent.
    BudgetExhausted(String),
    /// The call was stopped: its handle was dropped, or the mission is ending.
    Cancelled,
    /// The arguments do not fit the tool's schema.
    InvalidArguments(String),
    /// The tool tried and failed.
    Failed(String),
    /// The tool took longer than it may.
    TimedOut(String),
    /// It is not known whether the call happened.
    Uncertain(String),
}

impl CallError {
    /// The name of the case, as plugins and the journal show it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::BudgetExhausted(_) => "budget-exhausted",
            Self::Cancelled => "cancelled",
            Self::InvalidArguments(_) => "invalid-arguments",
            Self::Failed(_) => "failed",
            Self::TimedOut(_) => "timed-out",
            Self::Uncertain(_) => "uncertain",
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the call was cancelled"),
            Self::Denied(text)
            | Self::BudgetExhausted(text)
            | Self::InvalidArguments(text)
            | Self::Failed(text)
            | Self::TimedOut(text)
            | Self::Uncertain(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for CallError {}

/// What a tool returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolAnswer {
    /// The result: JSON text.
    pub result: String,
    /// Files of the workspace that the call wrote: candidates for required outputs.
    pub wrote: Vec<Written>,
}

/// A file of the workspace that a call wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Its path.
    pub path: String,
    /// Of the whole file, as the call left it. `None` in records before version 5, which do not say.
    pub sha256: Option<Digest>,
    /// Of the whole file, as it was before, where the call changed a part of it and kept the rest.
    pub changed: Option<Digest>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(effects: &[&str], read_only: bool, idempotent: bool) -> ToolInfo {
        let effects = effects.iter().map(|&class| EffectClass(class.to_owned())).collect();
        ToolInfo { effects, read_only, idempotent, ..ToolInfo::undeclared(ToolName::new("X")) }
    }

    #[test]
    fn an_effect_class_cancels_read_only() {
        assert_eq!(info(&[], true, false).repeat(), Repeat::ReadOnly);
        assert_eq!(info(&["external_side_effect"], true, false).repeat(), Repeat::Effectful);
        assert_eq!(info(&["workspace_write"], false, true).repeat(), Repeat::Idempotent);
        assert_eq!(info(&[], false, false).repeat(), Repeat::Effectful);
        assert!(!info(&[], false, true).is_classified());
    }
}
