//! What templates see: the mission, its inputs, and the steps that have ended.

use std::collections::BTreeMap;

use minijinja::{Value, context};
use serde_json::Value as Json;
use sortie_plugin::Brief;

use super::frame::Progress;
use crate::template;

/// The names that templates see while a mission runs.
pub(super) struct Scope<'p> {
    fixed: Value,
    steps: BTreeMap<&'p str, Value>,
    /// All of it, until the next step ends.
    whole: Option<Value>,
}

impl<'p> Scope<'p> {
    pub(super) fn new(brief: &Brief, inputs: &Json) -> Self {
        let fixed = context! {
            inputs => template::value(inputs),
            objective => brief.objective.as_str(),
            mission => context! {
                id => brief.mission_id.as_str(),
                mission_id => brief.mission_id.as_str(),
                mission_type => brief.mission_type.as_str(),
                vp_id => brief.vp_id.as_str(),
                vp_session_id => brief.vp_session_id.as_str(),
                objective => brief.objective.as_str(),
                success_criteria => brief.success_criteria.clone(),
                required_outputs => brief.required_outputs.clone(),
            },
        };
        Self { fixed, steps: BTreeMap::new(), whole: None }
    }

    /// What the steps of a sub-graph see: all this, and the item that it is run for.
    pub(super) fn within(&self, item: Option<(usize, &Value)>) -> Self {
        let fixed = match item {
            Some((index, item)) => context! { item, index, ..self.fixed.clone() },
            None => self.fixed.clone(),
        };
        Self { fixed, steps: self.steps.clone(), whole: None }
    }

    /// Shows from now on why the graph failed, or null where it did not: to `finally` steps and compensations.
    pub(super) fn show_failure(&mut self, failure: &Value) {
        self.fixed = context! { failure, ..self.fixed.clone() };
        self.whole = None;
    }

    /// Shows how a step ended to all templates from now on.
    pub(super) fn show(&mut self, id: &'p str, view: Value) {
        self.steps.insert(id, view);
        self.whole = None;
    }

    /// What a step's own templates see.
    pub(super) fn step(&mut self) -> Value {
        let Self { fixed, steps, whole } = self;
        let all = || context! { steps => Value::from_pairs(steps.iter().map(|(id, view)| (*id, view.clone()))), ..fixed.clone() };
        whole.get_or_insert_with(all).clone()
    }

    /// What `until` and `compensate` see: `base`, the call's result, and where they name the step itself, that in its place.
    pub(super) fn result(&self, base: &Value, own: Option<&str>, result: &Json) -> Value {
        let result = template::value(result);
        let Some(own) = own else { return context! { result, ..base.clone() } };
        let view = context! { skipped => false, error => (), result => result.clone() };
        // Of two of that id the last one counts.
        let steps = self.steps.iter().map(|(id, view)| (*id, view.clone()));
        context! { result, steps => Value::from_pairs(steps.chain([(own, view)])), ..base.clone() }
    }

    /// What the templates of one item of a `for_each` see.
    pub(super) fn item(&mut self, index: usize, item: &Value) -> Value {
        context! { item, index, ..self.step() }
    }
}

/// `steps.<id>` of a step that was skipped.
pub(super) fn skipped() -> Value {
    context! { skipped => true, error => () }
}

/// `steps.<id>` of a step that ran. A `result` that there is not stays undefined, so that nothing takes it for one; after a
/// `for_each` there is one entry for each item in `results`, `errors` and `amended`, null where the item has none. `amended` is what a call was
/// made with, where people changed that.
pub(super) fn ended(each: bool, progress: Option<&Progress>, error: Option<&str>) -> Value {
    let end = context! { skipped => false, error };
    let results = progress.map_or(&[][..], |progress| &progress.results);
    let amended = progress.map_or(&[][..], |progress| &progress.amended);
    let mut amended = amended.iter().map(|amended| amended.as_ref().map_or(Value::from(()), template::value));
    if each {
        let results: Vec<Value> =
            results.iter().map(|result| result.as_ref().map_or(Value::from(()), template::value)).collect();
        let errors = progress.map_or(&[][..], |progress| &progress.errors);
        let errors: Vec<Value> =
            errors.iter().map(|error| error.as_deref().map_or(Value::from(()), Value::from)).collect();
        context! { results, errors, amended => amended.collect::<Vec<_>>(), ..end }
    } else if let Some(Some(result)) = results.first() {
        context! { result => template::value(result), amended => amended.next(), ..end }
    } else {
        context! { amended => amended.next(), ..end }
    }
}
