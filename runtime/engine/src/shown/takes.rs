//! What a plugin says that its missions take, and what comes of them: for whoever installs it, and for whoever dispatches to it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sortie_contract::plugin::{Manifest, Need};

use super::minutes;

/// What missions of a plugin take.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Takes")]
pub struct TakesView {
    /// What none of them can be done without: of each entry one, a tool by its name, or `model` for a model.
    pub needs: Vec<Vec<String>>,
    /// Tools that are made use of where they are granted.
    pub optional_tools: Vec<String>,
    /// Memory that a run may take, in bytes; null where the plugin does not say.
    pub memory_bytes: Option<u64>,
    /// Run time without which none can be done, in minutes; null where the plugin does not say.
    pub runtime_minutes: Option<f64>,
    /// What they leave, where the plugin says so: JSON Schema of an object that has each artifact as a property, by its name.
    pub outputs_schema: Option<Value>,
}

impl TakesView {
    /// As its manifest says.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        let profile = &manifest.profile;
        Self {
            needs: manifest.needs.iter().map(need).collect(),
            optional_tools: profile.optional.iter().map(|tool| tool.as_str().to_owned()).collect(),
            memory_bytes: profile.memory_bytes,
            runtime_minutes: profile.runtime_ms.map(minutes),
            outputs_schema: profile.outputs_schema.clone(),
        }
    }
}

/// The names of which one will do.
fn need(need: &Need) -> Vec<String> {
    match need {
        Need::Model => vec!["model".to_owned()],
        Need::Tool(_) | Need::OneOf(_) => need.tools().iter().map(|tool| tool.as_str().to_owned()).collect(),
    }
}
