//! How a run is told: who is to blame, what was done, what should be done next.

use sortie_plugin::{CallError, Failure, Outcome};

use super::{Run, State};
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
    let done: Vec<_> = steps().filter_map(|(step, state)| done(step, state)).collect();
    if let Some((index, blame)) = &run.failed {
        let did = if done.is_empty() { "no step was done".to_owned() } else { format!("done: {}", names(&done)) };
        let summary = format!("step `{}` failed: {}; {did}", run.plan.steps[*index].id, blame.text);
        return Err(Failure { summary, tool: blame.tool.clone(), next_action: blame.advice.clone() });
    }
    let mut parts =
        vec![if done.is_empty() { "nothing was to be done".to_owned() } else { format!("done: {}", names(&done)) }];
    let skipped: Vec<_> =
        steps().filter(|(_, state)| matches!(state, State::Skipped)).map(|(step, _)| step.id.to_owned()).collect();
    if !skipped.is_empty() {
        parts.push(format!("skipped: {}", names(&skipped)));
    }
    let failed: Vec<_> =
        steps().filter(|(_, state)| failure(state).is_some()).map(|(step, _)| step.id.to_owned()).collect();
    if !failed.is_empty() {
        parts.push(format!("failed, and passed over: {}", names(&failed)));
    }
    let outcome = Outcome::new(parts.join("; "));
    Ok(match steps().find_map(|(step, state)| Some((step, failure(state)?))) {
        Some((step, blame)) => outcome.next_action(format!("see why step `{}` failed: {}", step.id, blame.text)),
        None => outcome,
    })
}

/// What failed in a step without failing the mission.
fn failure(state: &State) -> Option<&Blame> {
    match state {
        State::Failed(blame) => Some(blame),
        State::Done(progress) => progress.error.as_ref(),
        _ => None,
    }
}

fn done(step: &Step<'_>, state: &State) -> Option<String> {
    let State::Done(progress) = state else { return None };
    let Some(items) = &progress.items else { return Some(step.id.to_owned()) };
    let got = progress.results.iter().flatten().count();
    let count = if got == items.len() { got.to_string() } else { format!("{got} of {}", items.len()) };
    Some(format!("{} ({count} {})", step.id, if items.len() == 1 { "item" } else { "items" }))
}

fn names(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
