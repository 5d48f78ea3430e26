//! How a run is told: who is to blame, what was done, what should be done next.

use sortie_plugin::{CallError, Failure, Outcome};

use super::frame::{Frame, Progress, State};
use crate::plan::{MODEL, Step};
use crate::template::TemplateError;

/// Most steps that a summary names; it is a line for people.
const NAMED_MAX: usize = 12;

/// Most characters of a reason that it gives beside a step; what should be done next has all of them.
const REASON_MAX: usize = 200;

/// Why a step failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Blame {
    /// For people, and for templates as `steps.<id>.error`.
    pub(super) text: String,
    /// Another attempt may do better.
    pub(super) may_pass: bool,
    /// The budget did not cover it.
    pub(super) lacks_budget: bool,
    tool: Option<String>,
    advice: Option<String>,
}

impl Blame {
    /// The step itself is wrong.
    pub(super) fn step(text: String) -> Self {
        Self { text, ..Self::default() }
    }

    /// It did not come to pass this time; a graph around it that is tried again may see it.
    pub(super) fn not_yet(text: String) -> Self {
        Self { may_pass: true, ..Self::step(text) }
    }

    /// A template of the step is wrong.
    pub(super) fn template(step: &Step<'_>, error: &TemplateError) -> Self {
        let place = error.place.strip_prefix(&step.place).unwrap_or(&error.place).trim_start_matches('/');
        Self::step(format!("template in {place}: {}", error.detail))
    }

    /// A limit of the mission came near before it was done.
    pub(super) fn landing() -> Self {
        let advice =
            "see which of its limits it was (window, run time, model calls, cost), and dispatch it again with more";
        let text = "a limit of the mission came near before it was done".to_owned();
        Self { advice: Some(advice.to_owned()), ..Self::step(text) }
    }

    /// A call of a step failed for good: its own, or one that undoes it, which its `key` says.
    pub(super) fn call(id: &str, key: &str, tool: &str, error: &CallError, attempts: u32) -> Self {
        let attempts = if attempts > 1 { format!(" (attempt {attempts})") } else { String::new() };
        let advice = match error {
            CallError::Denied(_) => Some(format!("grant {tool} to the mission, or take step `{id}` out")),
            CallError::BudgetExhausted(_) => Some("raise the mission's budget and dispatch it again".to_owned()),
            CallError::InvalidArguments(_) => {
                let key = if tool == MODEL { MODEL } else { key };
                Some(format!("mend `{key}` of step `{id}`: `sortie tool ls` shows what {tool} takes"))
            }
            CallError::Uncertain(_) => {
                Some(format!("find out whether the call of {tool} happened before repeating it"))
            }
            CallError::Cancelled | CallError::Failed(_) | CallError::TimedOut(_) => None,
        };
        Self {
            text: format!("{tool}{attempts}: {error}"),
            may_pass: matches!(error, CallError::Failed(_) | CallError::TimedOut(_)),
            lacks_budget: matches!(error, CallError::BudgetExhausted(_)),
            tool: Some(tool.to_owned()),
            advice,
        }
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

/// The run's own account of itself.
pub(super) fn ending(root: &Frame<'_, '_>) -> Result<Outcome, Failure> {
    let steps = || root.graph.steps.iter().zip(&root.states);
    let done = list("done", steps().filter_map(|(step, state)| done(step, state)));
    let partly = list("done in part", steps().filter_map(|(step, state)| partly_done(step, state)));
    let did: Vec<_> = done.into_iter().chain(partly).collect();
    let nothing = |words: &str| did.is_empty().then(|| words.to_owned());
    if root.failed.is_some() {
        let blame = root.blame_of_step();
        let nothing = nothing("no step was done");
        let parts = [blame.text.clone()].into_iter().chain(did).chain(nothing).chain(root.aftermath());
        let summary = parts.collect::<Vec<_>>().join("; ");
        return Err(Failure { summary, tool: blame.tool, next_action: blame.advice });
    }
    let skipped = steps().filter(|(_, state)| matches!(state, State::Skipped));
    let skipped = list("skipped", skipped.map(|(step, _)| step.id.to_owned()));
    let failed = steps().filter_map(|(step, state)| Some((step, failure(state)?)));
    // Where many failed, most of them did so for the same reason.
    let failed = failed.enumerate().map(|(place, (step, blame))| match place {
        0 => format!("{} ({})", step.id, short(&blame.text)),
        _ => step.id.to_owned(),
    });
    let failed = list("failed, and passed over", failed);
    let nothing = nothing(if failed.is_some() { "no step was done" } else { "nothing was to be done" });
    let parts = did.into_iter().chain(nothing).chain(skipped).chain(failed);
    let outcome = Outcome::new(parts.collect::<Vec<_>>().join("; "));
    Ok(match steps().find_map(|(step, state)| Some((step, failure(state)?))) {
        Some((step, blame)) => outcome.next_action(format!("see why step `{}` failed: {}", step.id, blame.text)),
        None => outcome,
    })
}

impl Frame<'_, '_> {
    /// Why it failed, as the step has it that it was run for.
    pub(super) fn blame(&self) -> Blame {
        let mut blame = self.blame_of_step();
        let aftermath = self.aftermath().collect::<Vec<_>>().join("; ");
        if !aftermath.is_empty() {
            blame.text = format!("{}; {aftermath}", blame.text);
        }
        blame
    }

    /// Why it failed, with the name of the step that did.
    fn blame_of_step(&self) -> Blame {
        let Some((step, blame)) = &self.failed else { return Blame::default() };
        let text = match step {
            Some(index) => format!("step `{}` failed: {}", self.graph.steps[*index].id, blame.text),
            None => blame.text.clone(),
        };
        Blame { text, ..blame.clone() }
    }

    /// What became of it after it had failed.
    fn aftermath(&self) -> impl Iterator<Item = String> {
        let undone = list("undone", self.undone.iter().cloned());
        let left = list("could not be undone", self.left.iter().cloned());
        let late = list("failed besides", self.late.iter().cloned());
        undone.into_iter().chain(left).chain(late)
    }
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

/// A reason, as much of it as stands beside the name of its step.
fn short(reason: &str) -> String {
    match reason.char_indices().nth(REASON_MAX) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}

fn names(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
