//! What a mission was told of its tools: it keeps the schemas that it was handed.
//!
//! What a plugin asks about a tool is on record, and each later run is told the same. A provider may change a tool meanwhile; the mission
//! goes on with what it knows: it is told the same again, and its arguments are held against that schema. What the changed tool does
//! not understand it says itself. Never here: whether it may call the tool, which is decided by what holds now.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde_json::Value;
use sortie_contract::tool::{ToolInfo, ToolName};

/// By name. Bounded by the tools that a plugin was handed, and filled by calls that are on record.
#[derive(Debug, Default)]
pub(crate) struct Handed(Mutex<FxHashMap<ToolName, Arc<ToolInfo>>>);

/// A tool that a plugin was handed and that the node no longer has.
pub(crate) fn gone(tool: &ToolName) -> ToolInfo {
    ToolInfo { description: "This node no longer has this tool.".to_owned(), ..ToolInfo::undeclared(tool.clone()) }
}

impl Handed {
    /// The mission is told this. What was told first stays; what says nothing of the arguments (of a tool that is not there) is not kept.
    pub(crate) fn tell(&self, info: &ToolInfo) {
        if info.input_schema != Value::Bool(true) {
            self.0.lock().entry(info.name.clone()).or_insert_with(|| Arc::new(info.clone()));
        }
    }

    /// What it was told of a tool.
    pub(crate) fn of(&self, tool: &ToolName) -> Option<Arc<ToolInfo>> {
        self.0.lock().get(tool).cloned()
    }
}
