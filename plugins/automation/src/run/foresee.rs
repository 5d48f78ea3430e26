//! What a plan is certain to stumble over, found at intake.

use serde_json::Value as Json;
use sortie_plugin::{Brief, Mistake};

use crate::plan::{Action, Graph, Plan, Step};
use crate::template::{self, Question, Shape, TemplateError, Why};

use super::scope::Scope;

/// Most items of a `for_each` whose `if` is answered at intake.
const FORESEEN_MAX: usize = 32;

/// Finds templates that are certain to fail: those of steps that run in any case and depend on nothing that is not in the
/// envelope, and questions that the envelope alone answers with neither yes nor no. Better to hear of them now than at two in
/// the morning.
pub(crate) fn foresee(plan: &Plan<'_>, brief: &Brief, inputs: &Json) -> Vec<Mistake> {
    let mut errors = Vec::new();
    of_graph(&plan.graph, true, &mut Scope::new(brief, inputs), &mut errors);
    // Work that is too much for intake may still be fine for a run.
    let errors = errors.into_iter().filter(|error| error.why != Why::OutOfFuel);
    let code = |why| if why == Why::NoAnswer { "wrong_type" } else { "bad_template" };
    errors.map(|TemplateError { place, detail, why }| Mistake::new(place, code(why), detail)).collect()
}

/// `comes`: the graph is certain to run, once, and what is in the scope is all that it can see before its first step.
fn of_graph(graph: &Graph<'_>, comes: bool, scope: &mut Scope<'_>, errors: &mut Vec<TemplateError>) {
    for step in &graph.steps {
        // What a `finally` step sees depends on what went before it.
        let certain = comes && step.needs.is_empty() && !step.is_finally;
        let runs = certain && step.is_decisive();
        match &step.action {
            Action::Call(call) if runs => errors.extend(call.with.render(&scope.step()).err()),
            Action::Sleep(duration) if runs => errors.extend(duration.render(&scope.step()).err()),
            Action::Graph(graph) => of_graph(graph, runs, scope, errors),
            Action::Call(_) | Action::Sleep(_) => {}
        }
        if let Some(condition) = step.condition.as_ref().filter(|condition| condition.is_of_envelope()) {
            let error = ask_early(step, condition, scope);
            // What else is wrong with it need not come to pass where the step need not come to its turn.
            let certain = certain && !step.goes_on;
            errors.extend(error.filter(|error| certain || error.why == Why::NoAnswer));
        }
        let until = step.until.as_ref().map(|until| &until.question);
        let met = step.criterion.as_ref().map(|criterion| &criterion.met);
        for question in until.into_iter().chain(met).filter(|question| question.is_of_envelope()) {
            let error = question.answer(&scope.step()).err();
            errors.extend(error.filter(|error| error.why == Why::NoAnswer));
        }
    }
}

/// The first error of a question that needs nothing but the envelope.
fn ask_early(step: &Step<'_>, condition: &Question<'_>, scope: &mut Scope<'_>) -> Option<TemplateError> {
    if !condition.is_of_items() {
        return condition.answer(&scope.step()).err();
    }
    let Shape::Fixed(Json::Array(items)) = &step.each.as_ref()?.items else { return None };
    let mut items = items.iter().take(FORESEEN_MAX).enumerate();
    items.find_map(|(index, item)| condition.answer(&scope.item(index, &template::value(item))).err())
}
