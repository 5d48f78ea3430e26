//! The automation plugin: an interpreter for the graph of tool calls in an envelope's `inputs.steps`.
//!
//! Every key, filter and name is in `docs/AUTOMATION.md`, whose examples are tests here (`tests/reference.rs`). In short:
//!
//! - `plan` reads steps into graphs that can be run, and finds all that is wrong with them at intake. A step calls a tool, asks a
//!   model, sleeps, or runs a graph of its own.
//! - `run` is a loop: start what is ready, wait for whatever comes first. Each graph on its way is a frame; its calls are flights. One
//!   that has failed undoes what it did (`compensate`, the last first) and then runs its `finally` steps; so does the mission whose limit
//!   comes near.
//! - `template` is Jinja, strict and bounded, with filters of its own; a question (`if`, `until`, `met`) is answered with `true` or
//!   `false` and nothing else.
//!
//! Nothing here looks at a clock, a die, or an address: a run that begins again with the same answers does the same.
//!
//! The library is free of the world that it runs in ([`World`]): that is what the tests use, and why they need no node.

mod digits;
mod duration;
#[cfg(target_arch = "wasm32")]
mod guest;
#[cfg(any(test, target_arch = "wasm32"))]
mod mission;
#[cfg(any(test, target_arch = "wasm32"))]
mod model;
mod near;
mod plan;
mod run;
mod template;
mod world;

use sortie_plugin::{Brief, Failure, Mistake, Outcome};

use plan::{Plan, Source};
use template::Language;
pub use world::World;

/// What is wrong with a brief's steps: everything that can be known before they run.
#[must_use]
pub fn check(brief: &Brief) -> Vec<Mistake> {
    let inputs = match inputs(brief) {
        Ok(inputs) => inputs,
        Err(mistake) => return vec![mistake],
    };
    let language = Language::of_check();
    match Plan::parse(&language, Source { inputs: &inputs, success_criteria: &brief.success_criteria }) {
        Ok(plan) => run::foresee(&plan, brief, &inputs),
        Err(mistakes) => mistakes,
    }
}

/// Runs a brief's steps.
///
/// # Errors
/// The step that failed, with the tool that is to blame, if one is.
pub fn run<W: World>(brief: &Brief, world: &mut W) -> Result<Outcome, Failure> {
    let inputs = inputs(brief)?;
    let language = Language::of_run();
    let source = Source { inputs: &inputs, success_criteria: &brief.success_criteria };
    let plan = Plan::parse(&language, source)?;
    run::run(&plan, brief, &inputs, world)
}

/// The inputs, with their numbers as they are written.
fn inputs(brief: &Brief) -> Result<serde_json::Value, Mistake> {
    // What is wrong with them the library says.
    digits::read(&brief.inputs_text).or_else(|_| brief.inputs())
}

#[cfg(test)]
mod tests;
