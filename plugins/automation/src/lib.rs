//! The automation plugin: an interpreter for the graph of tool calls in an envelope's `inputs.steps`.
//!
//! | key of a step | what it says |
//! | --- | --- |
//! | `id`, `tool` | its name among the steps, and the tool that it calls; both required |
//! | `with` | the tool's arguments |
//! | `needs` | ids of steps that come first; a template that names a step needs it, too |
//! | `if` | `true`, `false`, or one `{{ … }}` that gives one of them: without a yes the step is skipped. One that uses `item` or `index` is answered for each of them, and items without a yes are passed over |
//! | `for_each` | a list: one call for each `item`, with its `index` (from 0); `steps.<id>.results` has what each gave, `steps.<id>.errors` why one gave nothing, each with null where there is none |
//! | `concurrency` | how many of these calls are in flight together |
//! | `retry` | `{attempts, backoff, factor}`: tries a call that failed or timed out again (never one that was refused) |
//! | `timeout` | of one attempt |
//! | `artifact` | a name, or `{name, path \| content, media_type}`, in which the media type is no template. Without path and content it holds what the call gave: the file whose `path` it answered, the text that it read, or its result as JSON |
//! | `milestone` | a text that is reported when the step is done |
//! | `criterion` | `{text, met}`: judges the success criterion of that text; `met` is answered as `if` is |
//! | `on_error` | `fail` (the mission; the default) or `continue` (with `steps.<id>.error`) |
//!
//! Steps without mutual needs are started together. A step is skipped when a step that it needs was skipped, unless one of
//! its templates looks at that step's `.skipped`. An `artifact` or a `milestone` that uses `item` or `index` is made once
//! for each item. After a failure nothing new is started; calls that are on their way may end.
//!
//! A question (`if`, `met`) is answered with `true` or `false`. A text, a number, null or a list is an error that names the
//! step, at intake where the envelope alone gives it: "no" never counts as yes. The operands of `and`, `or` and `not` in it are
//! held to the same.
//!
//! The tool `ask` is the plugin's own: it asks people `with.question`, needs no grant, and its result is the answer.
//!
//! Templates are Jinja's, strict and bounded; within a text, what is no string is JSON. Whole numbers are exact from -2^63 to
//! 2^64 - 1. A longer one that a template computes is refused as a value (as text it is exact up to 128 bits); one that an
//! envelope or a tool holds is a double before it gets here, and who needs each of its digits sends it as a string.
//!
//! The library is free of the world that it runs in ([`World`]): that is what the tests use, and why they need no node.

mod duration;
#[cfg(target_arch = "wasm32")]
mod guest;
#[cfg(any(test, target_arch = "wasm32"))]
mod model;
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
    let inputs = match brief.inputs() {
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
    let inputs = brief.inputs()?;
    let language = Language::of_run();
    let source = Source { inputs: &inputs, success_criteria: &brief.success_criteria };
    let plan = Plan::parse(&language, source).map_err(|mistakes| mistakes.into_iter().next().map(Failure::from));
    match plan {
        Ok(plan) => run::run(&plan, brief, &inputs, world),
        Err(mistake) => Err(mistake.unwrap_or_else(|| Failure::new("the steps cannot be run"))),
    }
}

#[cfg(test)]
mod tests;
