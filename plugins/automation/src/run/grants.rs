//! Whether a mission holds what its plan calls, seen before its first call: better nothing done than half of it.
//!
//! A tool that was not granted can never be called, whatever `on_error` says of a call that fails. What cannot come to its turn
//! (the envelope itself answers its `if`, or that of a step that it needs, with no; or gives its `for_each` no items) needs no tool.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use sortie_plugin::{Brief, Failure};

use super::list;
use super::scope::Scope;
use crate::World;
use crate::near::{did_you_mean, listed};
use crate::plan::{Action, Call, Graph, MODEL, Plan, Step};
use crate::template::Shape;

/// Most mistakes that one failure tells.
const TOLD_MAX: usize = 12;

/// Fails a mission where a step lacks its tool, or the one that undoes it, or gives a tool arguments that its schema does not know.
pub(super) fn refuse_early<W: World>(plan: &Plan<'_>, brief: &Brief, inputs: &Json, world: &W) -> Result<(), Failure> {
    let mut look = Look {
        world,
        calls: plan.graph.calls(),
        scope: Scope::new(brief, inputs),
        schemas: BTreeMap::new(),
        lacking: vec![],
        wrong: vec![],
    };
    look.at(&plan.graph);
    let Look { lacking, wrong, .. } = look;
    let Some((tool, _)) = lacking.first().or(wrong.first()) else { return Ok(()) };
    let granted = world.tools();
    let held = listed(granted.iter().map(String::as_str)).unwrap_or_else(|| "none".to_owned());
    let advice = if lacking.is_empty() {
        format!("mend the arguments: `sortie tool ls` shows what {tool} takes")
    } else if *tool == MODEL {
        "add `[model.NAME]` to the node's configuration, or take the step out".to_owned()
    } else {
        format!("grant {tool} to the mission, or take the step out; the mission holds {held}")
    };
    let mut told: Vec<String> = lacking.iter().chain(&wrong).map(|(_, text)| text.clone()).collect();
    let more = told.len().saturating_sub(TOLD_MAX);
    told.truncate(TOLD_MAX);
    told.extend((more > 0).then(|| format!("and {more} more mistakes of this kind")));
    told.push("nothing was done".to_owned());
    Err(Failure::new(told.join("; ")).of_tool(*tool).next_action(advice))
}

/// What is seen of a plan. Each mistake is one of a tool.
struct Look<'e, 'w, 'p, W> {
    world: &'w W,
    /// How many calls there are.
    calls: usize,
    /// What the envelope gives.
    scope: Scope<'p>,
    /// Of each tool that was asked for its schema; asking is written down by the node.
    schemas: BTreeMap<&'e str, Option<Json>>,
    /// Tools that the mission does not hold.
    lacking: Vec<(&'e str, String)>,
    /// Arguments that are missing, or that a tool does not have.
    wrong: Vec<(&'e str, String)>,
}

impl<'e, W: World> Look<'e, '_, '_, W> {
    fn at(&mut self, graph: &Graph<'e>) {
        let never = self.never(graph);
        for (step, never) in graph.steps.iter().zip(never) {
            if never || self.is_for_nothing(step) {
                continue;
            }
            match &step.action {
                Action::Call(call) => self.at_call(step, call, ""),
                Action::Sleep(_) => {}
                Action::Graph(graph) => self.at(graph),
            }
            if let Some(compensate) = &step.compensate {
                self.at_call(step, &compensate.call, " to undo what it does");
            }
        }
    }

    /// Which steps cannot come to their turn.
    fn never(&mut self, graph: &Graph<'e>) -> Vec<bool> {
        let scope = self.scope.step();
        let answered = |step: &Step<'_>| step.condition.as_ref().and_then(|condition| condition.foreseen(&scope));
        let mut never: Vec<bool> = graph.steps.iter().map(|step| answered(step) == Some(false)).collect();
        // What needs one of these and does not ask whether it was skipped is skipped with it, and so on.
        loop {
            let mut found_more = false;
            for (index, step) in graph.steps.iter().enumerate().filter(|(_, step)| !step.needs.is_empty()) {
                let is_skipped = step.needs.iter().any(|need| never[need.step] && !need.minds_skip);
                found_more |= is_skipped && !never[index];
                never[index] |= is_skipped;
            }
            if !found_more {
                return never;
            }
        }
    }

    /// Whether a step is certain to be done for no item. It is done then, and not skipped: what needs it comes to its turn.
    fn is_for_nothing(&mut self, step: &Step<'e>) -> bool {
        let Some(each) = step.each.as_ref().filter(|each| each.of_envelope) else { return false };
        let items = each.items.evaluate(&self.scope.step());
        items.is_ok_and(|items| list(&items).is_ok_and(|items| items.is_empty()))
    }

    fn at_call(&mut self, step: &Step<'e>, call: &Call<'e>, what_for: &str) {
        let (id, tool) = (step.id, call.tool);
        if !self.world.holds(tool) {
            if tool == MODEL {
                self.lacking.push((tool, format!("step `{id}` asks a model, and this node has no model")));
                return;
            }
            let granted = self.world.tools();
            let meant = did_you_mean(tool, granted.iter().map(String::as_str));
            let text = format!("step `{id}` needs the tool {tool}{what_for}, which the mission was not granted{meant}");
            self.lacking.push((tool, text));
            return;
        }
        let given: Vec<&str> = match &call.with {
            Shape::Fixed(Json::Object(fields)) => fields.keys().map(String::as_str).collect(),
            Shape::Object(fields) => fields.iter().map(|(key, _)| *key).collect(),
            // What a template gives is known when it has given it.
            _ => return,
        };
        // Of the only call that there is the node says the same, with nothing done before it.
        if self.calls < 2 {
            return;
        }
        let world = self.world;
        let schema = self.schemas.entry(tool).or_insert_with(|| world.schema(tool));
        let Some(takes) = schema.as_ref().and_then(Takes::of) else { return };
        for name in takes.required.iter().filter(|name| !given.contains(name)) {
            let text = format!("step `{id}` calls {tool}{what_for} without the argument `{name}`");
            self.wrong.push((tool, text));
        }
        let Some(known) = takes.known else { return };
        for name in given.iter().filter(|name| !known.contains_key(**name)) {
            let names = || known.keys().map(String::as_str);
            let meant = did_you_mean(name, names());
            let takes = listed(names()).map_or_else(|| "none".to_owned(), |names| format!("it takes {names}"));
            let text = format!("step `{id}` gives {tool}{what_for} the argument `{name}`{meant}: {takes}");
            self.wrong.push((tool, text));
        }
    }
}

/// What a schema says of the names of arguments.
struct Takes<'s> {
    required: Vec<&'s str>,
    /// All that there are; nothing where others may be given.
    known: Option<&'s Map<String, Json>>,
}

impl<'s> Takes<'s> {
    /// Only what holds whatever else the schema says: the node holds calls against the whole of it.
    fn of(schema: &'s Json) -> Option<Self> {
        let schema = schema.as_object()?;
        // In older drafts nothing beside a reference counts.
        if schema.contains_key("$ref") {
            return None;
        }
        let required = schema.get("required").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
        let is_closed =
            schema.get("additionalProperties") == Some(&Json::Bool(false)) && !schema.contains_key("patternProperties");
        Some(Self {
            required: required.iter().filter_map(Json::as_str).collect(),
            known: schema.get("properties").and_then(Json::as_object).filter(|_| is_closed),
        })
    }
}
