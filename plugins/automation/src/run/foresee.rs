//! What a plan is certain to stumble over, found at intake.

use serde_json::Value as Json;
use sortie_plugin::{Brief, Mistake};

use crate::duration;
use crate::plan::{Action, Graph, MODEL, Plan, Step, literal};
use crate::template::{self, Question, Shape, TemplateError, Why};

use super::list;
use super::scope::Scope;

/// Most items of a `for_each` whose `if` is answered at intake.
const FORESEEN_MAX: usize = 32;

/// Finds what is certain to fail: templates, durations and lists of steps that run in any case and depend on nothing that is
/// not in the envelope, and questions that the envelope alone answers with neither yes nor no. Better to hear of them now than
/// at two in the morning.
pub(crate) fn foresee(plan: &Plan<'_>, brief: &Brief, inputs: &Json) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    of_graph(&plan.graph, true, &mut Scope::new(brief, inputs), &mut mistakes);
    mistakes
}

/// `comes`: the graph is certain to run, once, and what is in the scope is all that it can see before its first step.
fn of_graph(graph: &Graph<'_>, comes: bool, scope: &mut Scope<'_>, mistakes: &mut Vec<Mistake>) {
    for step in &graph.steps {
        // What a `finally` step sees depends on what went before it.
        let certain = comes && step.needs.is_empty() && !step.is_finally;
        let runs = certain && step.is_decisive();
        if certain && step.unconditional && !step.goes_on {
            mistakes.extend(of_items(step, scope));
        }
        match &step.action {
            Action::Call(call) if runs => match call.with.render(&scope.step()) {
                Ok(asked) if call.tool == MODEL => mistakes.extend(of_model(step, &asked)),
                rendered => mistakes.extend(rendered.err().and_then(told)),
            },
            Action::Sleep(lasts) if runs => mistakes.extend(of_sleep(step, lasts, scope)),
            Action::Graph(graph) => of_graph(graph, runs, scope, mistakes),
            Action::Call(_) | Action::Sleep(_) => {}
        }
        if let Some(condition) = step.condition.as_ref().filter(|condition| condition.is_of_envelope()) {
            let error = ask_early(step, condition, scope);
            // What else is wrong with it need not come to pass where the step need not come to its turn.
            let certain = certain && !step.goes_on;
            mistakes.extend(error.filter(|error| certain || error.why == Why::NoAnswer).and_then(told));
        }
        let until = step.until.as_ref().map(|until| &until.question);
        let met = step.criterion.as_ref().map(|criterion| &criterion.met);
        for question in until.into_iter().chain(met).filter(|question| question.is_of_envelope()) {
            let error = question.answer(&scope.step()).err();
            mistakes.extend(error.filter(|error| error.why == Why::NoAnswer).and_then(told));
        }
    }
}

/// What is said of a template that fails. Work that is too much for intake may still be fine for a run.
fn told(error: TemplateError) -> Option<Mistake> {
    let code = match error.why {
        Why::OutOfFuel => return None,
        Why::NoAnswer => "wrong_type",
        Why::Wrong => "bad_template",
    };
    Some(Mistake::new(error.place, code, error.detail))
}

/// What is wrong with the items of a `for_each`.
fn of_items(step: &Step<'_>, scope: &mut Scope<'_>) -> Option<Mistake> {
    match step.each.as_ref()?.items.evaluate(&scope.step()) {
        Ok(items) => {
            let (code, why) = list(&items).err()?;
            Some(Mistake::new(format!("{}/for_each", step.place), code, format!("it {why}")))
        }
        Err(error) => told(error),
    }
}

/// What is wrong with how long a step sleeps.
fn of_sleep(step: &Step<'_>, lasts: &Shape<'_>, scope: &mut Scope<'_>) -> Option<Mistake> {
    match lasts.render(&scope.step()) {
        Ok(lasts) if lasts.as_str().and_then(duration::parse).is_some() => None,
        Ok(lasts) => {
            let detail = format!("it is {lasts}: {}", duration::EXPECTED);
            Some(Mistake::new(format!("{}/sleep", step.place), "bad_duration", detail))
        }
        Err(error) => told(error),
    }
}

/// What is wrong with what a model is asked, its templates filled in.
fn of_model(step: &Step<'_>, asked: &Json) -> Vec<Mistake> {
    let wrong = asked.as_object().into_iter().flatten().filter_map(|(key, value)| {
        let (code, why) = literal::wrong_for_model(key, value)?;
        Some(Mistake::new(format!("{}/model/{key}", step.place), code, why))
    });
    wrong.collect()
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
