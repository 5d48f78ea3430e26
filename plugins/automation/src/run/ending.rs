//! How a run is told: who is to blame, what was done, what should be done next.

use sortie_plugin::{CallError, Failure, Outcome};

use super::{Progress, Run, State};
use crate::World;
use crate::plan::{Plan, Step};
use crate::template::TemplateError;

/// Most steps that a summary names; it is a line for people.
const NAMED_MAX: usize = 12;

/// Why a step failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Blame {
    /// For people, and for templates as `steps.<id>.error`.
    pub(super) text: String,
    tool: Option<String>,
    advice: Option<String>,
}

impl Blame {
    /// The step itself is wrong.
    pub(super) fn step(text: String) -> Self {
        Self { text, tool: None, advice: None }
    }

    /// A template of the step is wrong.
    pub(super) fn template(step: &Step<'_>, error: &TemplateError) -> Self {
        let place = error.place.strip_prefix(&step.place).unwrap_or(&error.place).trim_start_matches('/');
        Self::step(format!("template in {place}: {}", error.detail))
    }

    /// A call of the step's tool failed for good.
    pub(super) fn call(step: &Step<'_>, error: &CallError, attempts: u32) -> Self {
        let tool = step.tool;
        let attempts = if attempts > 1 { format!(" (attempt {attempts})") } else { String::new() };
        let advice = match error {
            CallError::Denied(_) => Some(format!("grant {tool} to the mission, or take step `{}` out", step.id)),
            CallError::BudgetExhausted(_) => Some("raise the mission's budget and dispatch it again".to_owned()),
            CallError::InvalidArguments(_) => {
                Some(format!("mend `with` of step `{}`: `sortie tool ls` shows what {tool} takes", step.id))
            }
            CallError::Uncertain(_) => {
                Some(format!("find out whether the call of {tool} happened before repeating it"))
            }
            CallError::Cancelled | CallError::Failed(_) | CallError::TimedOut(_) => None,
        };
        Self { text: format!("{tool}{attempts}: {error}"), tool: Some(tool.to_owned()), advice }
    }

    /// It came after the step's calls: whoever reads of it must not take them for undone.
    pub(super) fn after_calls(mut self, each: bool, calls: usize) -> Self {
        self.text = match (each, calls) {
            (_, 0) => self.text,
            (false, _) => format!("the step's call was made, but {}", self.text),
            (true, 1) => format!("the step's 1 call was made, but {}", self.text),
            (true, calls) => format!("the step's {calls} calls were made, but {}", self.text),
        };
        self
    }

    /// It was one of the calls of a `for_each`.
    pub(super) fn of_item(mut self, item: usize, items: usize) -> Self {
        self.text = format!("item {} of {items}: {}", item + 1, self.text);
        self
    }
}

/// Fails a mission before its first call where it is certain to end at a tool that it does not hold: better nothing done
/// than half of it.
pub(super) fn refuse_early<W: World>(plan: &Plan<'_>, world: &W) -> Result<(), Failure> {
    match plan.steps.iter().find(|step| step.is_decisive() && !world.holds(step.tool)) {
        None => Ok(()),
        Some(step) => {
            let summary = format!(
                "step `{}` needs the tool {}, which the mission was not granted; nothing was done",
                step.id, step.tool
            );
            Err(Failure::new(summary)
                .of_tool(step.tool)
                .next_action(format!("grant {} to the mission, or take the step out", step.tool)))
        }
    }
}

/// The run's own account of itself.
pub(super) fn ending<W: World>(run: &Run<'_, '_, W>) -> Result<Outcome, Failure> {
    let steps = || run.plan.steps.iter().zip(&run.states);
    let done = list("done", steps().filter_map(|(step, state)| done(step, state)));
    let partly = list("done in part", steps().filter_map(|(step, state)| partly_done(step, state)));
    let did: Vec<_> = done.into_iter().chain(partly).collect();
    let nothing = |words: &str| did.is_empty().then(|| words.to_owned());
    if let Some((index, blame)) = &run.failed {
        let failed = format!("step `{}` failed: {}", run.plan.steps[*index].id, blame.text);
        let nothing = nothing("no step was done");
        let summary = [failed].into_iter().chain(did).chain(nothing).collect::<Vec<_>>().join("; ");
        return Err(Failure { summary, tool: blame.tool.clone(), next_action: blame.advice.clone() });
    }
    let ids =
        |holds: fn(&State) -> bool| steps().filter(move |(_, state)| holds(state)).map(|(step, _)| step.id.to_owned());
    let skipped = list("skipped", ids(|state| matches!(state, State::Skipped)));
    let failed = list("failed, and passed over", ids(|state| failure(state).is_some()));
    let nothing = nothing(if failed.is_some() { "no step was done" } else { "nothing was to be done" });
    let parts = did.into_iter().chain(nothing).chain(skipped).chain(failed);
    let outcome = Outcome::new(parts.collect::<Vec<_>>().join("; "));
    Ok(match steps().find_map(|(step, state)| Some((step, failure(state)?))) {
        Some((step, blame)) => outcome.next_action(format!("see why step `{}` failed: {}", step.id, blame.text)),
        None => outcome,
    })
}

/// What became of these steps; nothing where there are none.
fn list(what: &str, steps: impl Iterator<Item = String>) -> Option<String> {
    let steps: Vec<_> = steps.collect();
    (!steps.is_empty()).then(|| format!("{what}: {}", names(&steps)))
}

/// What failed in a step without failing the mission.
fn failure(state: &State) -> Option<&Blame> {
    match state {
        State::Failed(blame, _) => Some(blame),
        State::Done(progress) => progress.error.as_ref(),
        _ => None,
    }
}

fn done(step: &Step<'_>, state: &State) -> Option<String> {
    let State::Done(progress) = state else { return None };
    Some(told(step, progress))
}

/// A step that was not done, although calls of it were.
fn partly_done(step: &Step<'_>, state: &State) -> Option<String> {
    match state {
        State::Failed(_, Some(progress)) | State::Running(progress) if progress.got() > 0 => Some(told(step, progress)),
        _ => None,
    }
}

/// A step, with how many of its items gave a result, and how many its `if` passed over.
fn told(step: &Step<'_>, progress: &Progress) -> String {
    let Some(items) = &progress.items else { return step.id.to_owned() };
    let (got, wanted) = (progress.got(), items.len() - progress.passed_over);
    let count = if got == wanted { got.to_string() } else { format!("{got} of {wanted}") };
    let passed_over = match progress.passed_over {
        0 => String::new(),
        passed_over => format!(", {passed_over} passed over"),
    };
    format!("{} ({count} {}{passed_over})", step.id, if wanted == 1 { "item" } else { "items" })
}

fn names(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
