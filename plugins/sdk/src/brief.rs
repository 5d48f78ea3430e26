//! What the mission is.

use serde::de::DeserializeOwned;

use crate::Mistake;
use crate::bindings::world;

/// What the mission is: the parts of its envelope that a plugin works from.
#[derive(Debug, Clone, PartialEq)]
pub struct Brief {
    /// Globally unique.
    pub mission_id: String,
    /// The VP that the mission is done as.
    pub vp_id: String,
    /// The session that it belongs to: missions of one session share a workspace.
    pub vp_session_id: String,
    /// `coding`, `research`, `automation` or `custom`.
    pub mission_type: String,
    /// What is to be done, in words.
    pub objective: String,
    /// A JSON object, as text; `{}` where the envelope has none. [`Brief::inputs`] parses it.
    pub inputs_text: String,
    /// What must hold at the end; judge them with [`crate::report::judge`], by index.
    pub success_criteria: Vec<String>,
    /// Names or globs of artifacts that must exist at the end.
    pub required_outputs: Vec<String>,
}

impl Brief {
    /// The mission's `inputs` in the form that the plugin wants them.
    ///
    /// # Errors
    /// A [`Mistake`] at `/inputs` with the parser's words: `check` can return it, and `?` in `run` makes a failure of it.
    pub fn inputs<T: DeserializeOwned>(&self) -> Result<T, Mistake> {
        serde_json::from_str(&self.inputs_text)
            .map_err(|error| Mistake::new("/inputs", "invalid_inputs", error.to_string()))
    }
}

impl From<world::Brief> for Brief {
    fn from(brief: world::Brief) -> Self {
        Self {
            mission_id: brief.mission_id,
            vp_id: brief.vp_id,
            vp_session_id: brief.vp_session_id,
            mission_type: brief.mission_type,
            objective: brief.objective,
            inputs_text: brief.inputs,
            success_criteria: brief.success_criteria,
            required_outputs: brief.required_outputs,
        }
    }
}
