//! What would hold of an envelope if it were dispatched now.
//!
//! Owned here: the form of the answer. Never here: what holds, which the core says.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sortie_contract::Mistake;
use sortie_mission::gate::{List, Stands};

use super::{BudgetView, EffectiveWindowView, PluginName, TakesView, WindowView};

/// What would hold of an envelope if it were dispatched now.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Explained")]
pub struct ExplainedView {
    /// Whether the node would take it, but for one like it that is there.
    pub accepted: bool,
    /// What the node has against it.
    #[schemars(with = "Vec<Value>")]
    pub errors: Vec<Mistake>,
    /// What is odd about it.
    pub warnings: Vec<String>,
    /// Which plugin would run it; null where that is open.
    pub plugin: Option<PluginName>,
    /// What missions of that plugin take, as it says; null where it is open which one.
    pub takes: Option<TakesView>,
    /// The lane that it would be in; null where that is open.
    pub vp_runtime_id: Option<String>,
    /// What would hold of its budget, after the ceilings of the node; null where that is open.
    pub effective_budget: Option<BudgetView>,
    /// When it may run, as it says.
    pub autonomy_window: WindowView,
    /// What the hours of its lane and of the node leave of that; null where that is nothing, or open.
    pub effective_window: Option<EffectiveWindowView>,
    /// What its constraints say of each tool of the node.
    pub tools: Vec<ToolSaidView>,
    /// What its constraints and its budget say of each model of the node; none: the node has no model.
    pub models: Vec<ModelSaidView>,
    /// What it is held against at its end.
    pub success_criteria: Vec<String>,
    /// What it has to leave.
    pub required_outputs: Vec<String>,
}

/// What the constraints say of a tool.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "ToolSaid")]
pub struct ToolSaidView {
    /// The tool.
    pub tool: String,
    /// What becomes of its calls.
    pub verdict: ToolVerdict,
    /// Whether that holds of some calls only, and others are refused, or asked about.
    pub only_some: bool,
    /// The entries that say so, in the order in which they hold; none: no entry allows it.
    pub by: Vec<EntryView>,
}

/// What would become of the calls of a model.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "ModelSaid")]
pub struct ModelSaidView {
    /// Its name in the configuration.
    pub name: String,
    /// What its provider calls it.
    pub model: String,
    /// Whether it answers requests that name none.
    pub is_default: bool,
    /// What becomes of its calls. They need no entry that allows them.
    pub verdict: ToolVerdict,
    /// The entry that says so, where one does.
    pub by: Option<EntryView>,
    /// What is read costs, in US dollars for a million tokens.
    pub input_usd_per_mtok: f64,
    /// What is written costs, in US dollars for a million tokens.
    pub output_usd_per_mtok: f64,
    /// What the writing of its longest answer costs, in US dollars.
    pub longest_answer_usd: f64,
    /// How many answers the budget has room for, if each is the longest and what is read costs nothing; null where it has no limit, or is open.
    pub longest_answers: Option<u64>,
}

/// What becomes of the calls of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolVerdict {
    /// They are made.
    Allowed,
    /// Somebody is asked first.
    Asks,
    /// They are refused.
    Denied,
}

impl From<Stands> for ToolVerdict {
    fn from(stands: Stands) -> Self {
        match stands {
            Stands::Allowed => Self::Allowed,
            Stands::Asks => Self::Asks,
            Stands::Denied => Self::Denied,
        }
    }
}

/// An entry of the constraints.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "ConstraintEntry")]
pub struct EntryView {
    /// `allowed_tools`, `forbidden_tools` or `approval_required`.
    pub list: &'static str,
    /// As it is written.
    pub entry: String,
}

impl EntryView {
    /// Of a list.
    #[must_use]
    pub fn of(list: List, entry: String) -> Self {
        let list = match list {
            List::Allowed => "allowed_tools",
            List::Forbidden => "forbidden_tools",
            List::Approval => "approval_required",
        };
        Self { list, entry }
    }
}
