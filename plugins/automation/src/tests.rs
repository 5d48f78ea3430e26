//! Whole missions, in a simulated world.

#![expect(clippy::needless_pass_by_value, reason = "cases are literals, and read better without a & before each")]

mod check;
mod cleanup;
mod combinations;
mod deadline;
mod examples;
mod filters;
mod grants;
mod messages;
mod numbers;
mod poll;
mod reference;
mod run;
mod subgraph;
mod world;

use serde_json::Value as Json;
use sortie_plugin::Brief;

/// A mission with these inputs.
fn brief(inputs: &Json) -> Brief {
    Brief {
        mission_id: "m-1".into(),
        vp_id: "vp.general.primary".into(),
        vp_session_id: "vp.general.primary.session".into(),
        mission_type: "automation".into(),
        objective: "Test the interpreter.".into(),
        inputs_text: inputs.to_string(),
        success_criteria: vec!["the report names the week".into(), "nothing failed".into()],
        required_outputs: vec!["report.md".into()],
    }
}
