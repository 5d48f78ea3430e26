//! What a node writes into the envelope of a mission that another one dispatched: whose child it is, and the bounds of that.

use serde::{Deserialize, Serialize};

use crate::id::MissionId;
use crate::money::{MicroUsd, Spend};
use crate::tool::ToolName;

/// What a plugin says of a child: fields of an envelope. The others are its parent's, or the node's.
pub const ORDER: [&str; 10] = [
    "objective",
    "mission_type",
    "plugin",
    "inputs",
    "constraints",
    "budget",
    "autonomy_window",
    "success_criteria",
    "artifact_policy",
    "on_expiry",
];

/// Whose child a mission is. What it says holds beside the rest of the envelope: neither tools nor budget go beyond it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChildOf {
    /// The mission that dispatched it.
    pub mission_id: MissionId,
    /// Where the forks of that one began: that one itself, where it is none. They may read what its children left, too.
    pub root: MissionId,
    /// The call by which it was dispatched.
    pub call: u32,
    /// How many missions are above it: 1, where its parent is nobody's child.
    pub depth: u32,
    /// The tools that its parent was handed: it is handed no others.
    pub tools: Vec<ToolName>,
    /// Its share of the calls of models.
    pub llm_calls: u64,
    /// Its share of the money, in millionths of a US dollar.
    pub micro_usd: u64,
    /// Its share of the missions that may come of the first one above it: so many may come of this one.
    #[serde(default)]
    pub missions: u32,
}

impl ChildOf {
    /// What its parent has set aside for it: the most that it may spend.
    #[must_use]
    pub fn share(&self) -> Spend {
        Spend { llm_calls: self.llm_calls, cost: MicroUsd(self.micro_usd) }
    }
}
