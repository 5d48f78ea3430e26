//! The plan: `inputs.steps`, read into a graph that can be run.
//!
//! Parse, don't validate: a [`Plan`] has no cycle, names no step that is not there, and every template in it compiles.
//! Everything that is wrong is reported together, each with its place in the envelope.

mod graph;
pub(crate) mod literal;
mod read;

use core::time::Duration;

use serde_json::Value as Json;
use sortie_plugin::Mistake;

use crate::template::{Language, Question, Shape};
#[cfg(test)]
pub(crate) use read::KEYS;

/// Most steps of one plan: more is a program and wants a plugin of its own. It also bounds what intake spends on a plan.
pub(crate) const STEPS_MAX: usize = 1_000;

/// Most items of one `for_each`: their calls must leave room among the 100,000 that a node keeps of a mission.
pub(crate) const ITEMS_MAX: usize = 20_000;

/// Most attempts of one call, as the contract of steps says.
pub(crate) const ATTEMPTS_MAX: u32 = 100;

/// The step that asks people: no tool, so that no grant is needed; its result is the answer.
pub(crate) const ASK: &str = "ask";

/// What a step with `model` calls in place of a tool.
pub(crate) const MODEL: &str = "model";

/// What a step with `mission` calls in place of a tool.
pub(crate) const MISSION: &str = "mission";

/// What the plan is read from, beside the language.
#[derive(Clone, Copy)]
pub(crate) struct Source<'e> {
    /// The envelope's `inputs`.
    pub(crate) inputs: &'e Json,
    /// The envelope's `success_criteria`.
    pub(crate) success_criteria: &'e [String],
}

/// Deepest nesting of sub-graphs: more is a program and wants a plugin of its own.
pub(crate) const NESTING_MAX: usize = 3;

/// A graph of steps that can be run.
pub(crate) struct Plan<'e> {
    pub(crate) graph: Graph<'e>,
}

impl<'e> Plan<'e> {
    /// Reads `inputs.steps`.
    ///
    /// # Errors
    /// Everything that is wrong with them. The codes are `required`, `wrong_type`, `unknown_key`, `unknown_step`,
    /// `duplicate_id`, `cycle`, `bad_template`, `bad_duration`, `bad_name`, `bad_path`, `bad_media_type`, `out_of_range`,
    /// `invalid`, `unknown_criterion`, `empty` and `too_many`.
    pub(crate) fn parse(language: &'e Language<'e>, source: Source<'e>) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let drafts = read::steps(language, source, &mut mistakes);
        let graph = graph::connect(drafts, None, &mut mistakes);
        if mistakes.is_empty() { Ok(Self { graph }) } else { Err(mistakes) }
    }
}

/// Steps that refer to each other: those of the mission, or of a sub-graph.
pub(crate) struct Graph<'e> {
    /// In the order of the envelope, which decides wherever the graph leaves a choice.
    pub(crate) steps: Vec<Step<'e>>,
}

impl Graph<'_> {
    /// Whether something of it is to happen even where its mission is cut short: a `finally`, a `compensate`.
    pub(crate) fn cleans_up(&self) -> bool {
        self.steps.iter().any(|step| {
            let within = matches!(&step.action, Action::Graph(graph) if graph.cleans_up());
            step.is_finally || step.compensate.is_some() || within
        })
    }

    /// How many different calls it may make: of its steps, of those within them, and of what undoes them.
    pub(crate) fn calls(&self) -> usize {
        let of_step = |step: &Step<'_>| match &step.action {
            Action::Call(_) => 1,
            Action::Sleep(_) => 0,
            Action::Graph(graph) => graph.calls(),
        };
        self.steps.iter().map(|step| of_step(step) + usize::from(step.compensate.is_some())).sum()
    }

    /// Whether a graph within it may be tried again, or has so much time and no more: something waits for a moment beside the calls.
    pub(crate) fn has_moments(&self) -> bool {
        self.steps.iter().any(|step| match &step.action {
            Action::Graph(graph) => step.retry.attempts > 1 || step.timeout.is_some() || graph.has_moments(),
            Action::Call(_) | Action::Sleep(_) => false,
        })
    }
}

/// One step.
pub(crate) struct Step<'e> {
    pub(crate) id: &'e str,
    /// JSON Pointer to it.
    pub(crate) place: String,
    pub(crate) action: Action<'e>,
    /// `if`: of the step, or of each of its items.
    pub(crate) condition: Option<Question<'e>>,
    pub(crate) each: Option<Each<'e>>,
    pub(crate) retry: Retry,
    pub(crate) until: Option<Until<'e>>,
    /// Of one attempt.
    pub(crate) timeout: Option<Duration>,
    pub(crate) artifact: Option<Artifact<'e>>,
    pub(crate) milestone: Option<Text<'e>>,
    pub(crate) criterion: Option<Criterion<'e>>,
    /// `on_error: continue`: the mission goes on, and the steps that need this one run and see its `error`.
    pub(crate) goes_on: bool,
    pub(crate) compensate: Option<Compensate<'e>>,
    /// It runs when all other steps of its graph are over, whatever became of them.
    pub(crate) is_finally: bool,
    /// In the plan's order, none twice.
    pub(crate) needs: Vec<Need>,
    /// Neither it nor anything that it needs has an `if` of its own: it is never skipped.
    pub(crate) unconditional: bool,
}

impl Step<'_> {
    /// Whether its `if` is answered once, before its calls, and may have all of it skipped.
    pub(crate) fn may_be_skipped(&self) -> bool {
        self.condition.as_ref().is_some_and(|condition| !condition.is_of_items())
    }

    /// Whether the mission is certain to get to its call, and to fail if that fails.
    pub(crate) fn is_decisive(&self) -> bool {
        self.unconditional && self.each.is_none() && !self.goes_on
    }
}

/// What a step does, once or for each item.
pub(crate) enum Action<'e> {
    /// It calls a tool: a granted one, [`ASK`], [`MODEL`] or [`MISSION`].
    Call(Call<'e>),
    /// It waits for a duration.
    Sleep(Shape<'e>),
    /// It runs a graph of its own.
    Graph(Graph<'e>),
}

/// A call that is yet to be made.
pub(crate) struct Call<'e> {
    pub(crate) tool: &'e str,
    /// The arguments.
    pub(crate) with: Shape<'e>,
}

/// `until`: a result that does not hold against it is one that is not there yet.
pub(crate) struct Until<'e> {
    pub(crate) question: Question<'e>,
    /// It names its own step as `steps.<id>`, and not just as `result`.
    pub(crate) sees_itself: bool,
    /// What it says, for people.
    pub(crate) source: &'e str,
}

/// `compensate`: the call that undoes what the step's call did.
pub(crate) struct Compensate<'e> {
    pub(crate) call: Call<'e>,
    /// It names its own step as `steps.<id>`, and not just as `result`.
    pub(crate) sees_itself: bool,
    pub(crate) retry: Retry,
    pub(crate) timeout: Option<Duration>,
}

/// That one step needs another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// Which, in the plan.
    pub(crate) step: usize,
    /// It looks at whether that one was skipped, and therefore is not skipped with it.
    pub(crate) minds_skip: bool,
    /// It looks at that one's error.
    pub(crate) minds_error: bool,
}

/// `for_each`: the step's call once for each item.
pub(crate) struct Each<'e> {
    pub(crate) items: Shape<'e>,
    /// Nothing but the envelope is needed for the items.
    pub(crate) of_envelope: bool,
    /// Most calls of this step in flight together.
    pub(crate) concurrency: usize,
}

/// `retry`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Retry {
    pub(crate) attempts: u32,
    /// The rest after the first attempt.
    pub(crate) backoff: Duration,
    /// Each further rest is that many times as long.
    pub(crate) factor: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, backoff: Duration::from_secs(1), factor: 1.0 }
    }
}

/// A text of a step, rendered when the step is done.
pub(crate) struct Text<'e> {
    pub(crate) shape: Shape<'e>,
    /// It uses `item` or `index`: it is then rendered once for each of them.
    pub(crate) each_item: bool,
    /// Nothing but the envelope, and the item, is needed for it.
    pub(crate) of_envelope: bool,
}

/// `artifact`.
pub(crate) struct Artifact<'e> {
    pub(crate) name: Shape<'e>,
    pub(crate) content: Content<'e>,
    pub(crate) media_type: Option<&'e str>,
    /// It uses `item` or `index`: there is then one artifact for each of them.
    pub(crate) each_item: bool,
}

/// What an artifact holds.
pub(crate) enum Content<'e> {
    /// What the step's call gave: the file whose `path` it answered, the text that it read, or its result as JSON.
    Result,
    /// A file of the workspace.
    File(Shape<'e>),
    /// This: text as it is, everything else as JSON.
    This(Shape<'e>),
}

/// `criterion`.
pub(crate) struct Criterion<'e> {
    /// Its index among the envelope's success criteria.
    pub(crate) index: usize,
    pub(crate) met: Question<'e>,
    /// What `met` says, as evidence.
    pub(crate) source: String,
}
