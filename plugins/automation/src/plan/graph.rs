//! From drafts to a graph: ids become indexes, templates' references become needs, cycles are found.

use std::collections::BTreeMap;

use sortie_plugin::Mistake;

use crate::near::did_you_mean;
use crate::template::{Look, References};

use super::{Action, Graph, Need, Step};

/// A step whose needs are still names.
pub(super) struct Draft<'e> {
    pub(super) step: Step<'e>,
    /// What `needs`, `with`, `if`, `for_each` and, from within, `steps` name.
    pub(super) needs: Vec<Named>,
    /// References from what runs after the call (`until`, `artifact`, `milestone`, `criterion`, `compensate`): these may name the
    /// step itself.
    pub(super) afterwards: Vec<Named>,
}

/// A step, named somewhere.
pub(super) struct Named {
    pub(super) id: String,
    pub(super) place: String,
    pub(super) look: Look,
}

/// Everything that templates refer to.
pub(super) fn named(references: References) -> impl Iterator<Item = Named> {
    references.steps.into_iter().map(|(id, (place, look))| Named { id, place, look })
}

/// Connects the drafts. What is wrong is added to `mistakes`; the steps are then not to be run.
///
/// Of a sub-graph, `outer` gets what its steps name that is none of them: the step that it belongs to needs that.
pub(super) fn connect<'e>(
    drafts: Vec<Draft<'e>>,
    mut outer: Option<&mut Vec<Named>>,
    mistakes: &mut Vec<Mistake>,
) -> Graph<'e> {
    let index_of = indexes(&drafts, mistakes);
    let mut steps = Vec::with_capacity(drafts.len());
    let mut nowhere = Vec::new();
    let mut too_late = Vec::new();
    for (index, draft) in drafts.into_iter().enumerate() {
        let mut step = draft.step;
        let mut needs = BTreeMap::<usize, Look>::new();
        let before = draft.needs.into_iter().map(|named| (named, false));
        for (named, may_be_itself) in before.chain(draft.afterwards.into_iter().map(|named| (named, true))) {
            match index_of.get(named.id.as_str()) {
                Some(found) if *found == index && may_be_itself => {}
                Some(found) => {
                    needs.entry(*found).or_default().add(named.look);
                    too_late.push((index, *found, named));
                }
                None => match outer.as_deref_mut() {
                    Some(outer) => outer.push(named),
                    None => nowhere.push(named),
                },
            }
        }
        let need = |(step, look): (usize, Look)| Need { step, minds_skip: look.at_skipped, minds_error: look.at_error };
        step.needs = needs.into_iter().map(need).collect();
        steps.push(step);
    }
    mistakes.extend(nowhere.iter().map(|named| unknown(named, &steps)));
    for (index, found, named) in too_late {
        if steps[found].is_finally && !steps[index].is_finally {
            let detail = format!(
                "`{}` runs when everything else is over, so that nothing but another `finally` step can need it",
                named.id
            );
            mistakes.push(Mistake::new(&named.place, "invalid", detail));
        }
    }
    match order(&steps) {
        Ok(order) => {
            for index in order {
                let step = &steps[index];
                let unconditional =
                    !step.may_be_skipped() && step.needs.iter().all(|need| steps[need.step].unconditional);
                steps[index].unconditional = unconditional;
            }
        }
        Err(cycle) => {
            let path: Vec<_> = cycle.iter().chain(cycle.first()).map(|index| steps[*index].id).collect();
            let detail = format!("these steps wait for each other: {}", path.join(" needs "));
            mistakes.push(Mistake::new(&steps[cycle[0]].place, "cycle", detail));
        }
    }
    Graph { steps }
}

/// Where each id is. Ids that are there twice are reported.
fn indexes<'e>(drafts: &[Draft<'e>], mistakes: &mut Vec<Mistake>) -> BTreeMap<&'e str, usize> {
    let mut index_of = BTreeMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        if draft.step.id.is_empty() {
            continue; // reported as missing
        }
        if let Some(first) = index_of.insert(draft.step.id, index) {
            let detail = format!("`{}` is already the id of {}", draft.step.id, drafts[first].step.place);
            mistakes.push(Mistake::new(format!("{}/id", draft.step.place), "duplicate_id", detail));
            index_of.insert(draft.step.id, first);
        }
    }
    index_of
}

fn unknown(named: &Named, steps: &[Step<'_>]) -> Mistake {
    let has_it = |step: &&Step<'_>| match &step.action {
        Action::Graph(graph) => graph.steps.iter().any(|inner| inner.id == named.id),
        _ => false,
    };
    let hint = match steps.iter().find(has_it) {
        Some(step) => {
            let results = if step.each.is_some() { "results[…]" } else { "result" };
            format!("; the one within `{0}` is seen from here as steps[\"{0}\"].{results}[\"{1}\"]", step.id, named.id)
        }
        None => did_you_mean(&named.id, steps.iter().map(|step| step.id)),
    };
    Mistake::new(&named.place, "unknown_step", format!("there is no step `{}`{hint}", named.id))
}

/// An order in which every step comes after those that it needs; otherwise a cycle.
fn order(steps: &[Step<'_>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut missing: Vec<_> = steps.iter().map(|step| step.needs.len()).collect();
    let mut needed_by = vec![Vec::new(); steps.len()];
    for (index, step) in steps.iter().enumerate() {
        step.needs.iter().for_each(|need| needed_by[need.step].push(index));
    }
    let mut order: Vec<_> = (0..steps.len()).filter(|index| missing[*index] == 0).collect();
    let mut taken = 0;
    while let Some(done) = order.get(taken).copied() {
        taken += 1;
        for index in &needed_by[done] {
            missing[*index] -= 1;
            if missing[*index] == 0 {
                order.push(*index);
            }
        }
    }
    match (0..steps.len()).find(|index| missing[*index] > 0) {
        None => Ok(order),
        Some(start) => Err(cycle(steps, &missing, start)),
    }
}

/// The cycle that `start` leads to, beginning with its first step in the plan's order. Every step that still misses one
/// needs another that does, so following those comes back to where it has been.
fn cycle(steps: &[Step<'_>], missing: &[usize], start: usize) -> Vec<usize> {
    let mut path = vec![start];
    loop {
        let last = path[path.len() - 1];
        let next = steps[last].needs.iter().find(|need| missing[need.step] > 0).map_or(start, |need| need.step);
        if let Some(seen) = path.iter().position(|index| *index == next) {
            let mut cycle = path.split_off(seen);
            let first = cycle.iter().enumerate().min_by_key(|(_, index)| **index).map_or(0, |(at, _)| at);
            cycle.rotate_left(first);
            return cycle;
        }
        path.push(next);
    }
}
