//! One run of a graph: that of the mission, or of one item of a step with `steps`.

use std::collections::BTreeSet;

use minijinja::Value;
use serde_json::{Map, Value as Json};

use crate::plan::{Compensate, Graph, Step};

use super::ending::Blame;
use super::scope::Scope;

/// A graph on its way.
pub(super) struct Frame<'p, 'e> {
    pub(super) graph: &'p Graph<'e>,
    pub(super) scope: Scope<'p>,
    /// Whose attempt it is; none for the mission's own graph.
    pub(super) parent: Option<Parent>,
    pub(super) phase: Phase,
    /// One for each step of the graph.
    pub(super) states: Vec<State>,
    /// Which steps wait for a step, by its index. A `finally` step waits for none but others of its kind.
    pub(super) needed_by: Vec<Vec<usize>>,
    /// Steps whose needs have all ended.
    pub(super) ready: BTreeSet<usize>,
    /// Steps that have calls to start and may start one.
    pub(super) open: BTreeSet<usize>,
    /// Calls, rests and sub-graphs of it that are on their way.
    pub(super) busy: usize,
    /// What made it fail: a step, or, where none is named, the mission's landing.
    pub(super) failed: Option<(Option<usize>, Blame)>,
    /// What failed besides when it was failing already, or over: `finally` steps.
    pub(super) late: Vec<String>,
    /// What can be undone, in the order in which it was done.
    pub(super) undo: Vec<Undo<'p, 'e>>,
    /// What was undone.
    pub(super) undone: Vec<String>,
    /// What could not be, with why.
    pub(super) left: Vec<String>,
}

/// How far a graph is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its steps run, but for those with `finally`.
    Main,
    /// It has failed, and what it did is undone.
    Undo,
    /// Its `finally` steps run.
    Finally,
}

/// The attempt of a step that a graph is run for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parent {
    pub(super) frame: usize,
    pub(super) step: usize,
    pub(super) item: usize,
    /// From 1.
    pub(super) number: u32,
    /// In how many sub-graphs this one lies, itself included.
    pub(super) depth: usize,
}

/// Something that was done and can be undone.
pub(super) struct Undo<'p, 'e> {
    pub(super) step: &'p Step<'e>,
    pub(super) compensate: &'p Compensate<'e>,
    /// For people: the step's id, with the number of its item.
    pub(super) label: String,
    /// What the step's templates saw when it was done.
    pub(super) scope: Value,
}

/// How a step stands.
pub(super) enum State {
    /// So many of its needs have not ended.
    Waiting(usize),
    Running(Progress),
    Skipped,
    /// Its calls gave results (with `for_each` and `on_error: continue`, some of them).
    Done(Progress),
    /// With its calls, where it came to them: some may have been made.
    Failed(Blame, Option<Progress>),
}

/// The calls of one step.
pub(super) struct Progress {
    /// With `for_each`; otherwise the step is one call.
    pub(super) items: Option<Vec<Value>>,
    /// One for each call; `None` until it has one.
    pub(super) results: Vec<Option<Json>>,
    /// One for each call, in step with the results: why it has none.
    pub(super) errors: Vec<Option<String>>,
    /// One for each call, in step with the results: what it was made with, where whoever approved it changed its arguments.
    pub(super) amended: Vec<Option<Json>>,
    /// How many items were passed over by `if`.
    pub(super) passed_over: usize,
    /// The next call to start.
    pub(super) next: usize,
    /// Calls in flight or at rest.
    pub(super) flying: usize,
    /// Of the first call that failed.
    pub(super) error: Option<Blame>,
}

impl Progress {
    pub(super) fn new(items: Option<Vec<Value>>) -> Self {
        let calls = items.as_ref().map_or(1, Vec::len);
        let (results, errors, amended) = (vec![None; calls], vec![None; calls], vec![None; calls]);
        Self { items, results, errors, amended, passed_over: 0, next: 0, flying: 0, error: None }
    }

    /// Whether all its calls have ended.
    pub(super) fn is_over(&self) -> bool {
        self.next == self.results.len() && self.flying == 0
    }

    /// How many of its calls gave a result.
    pub(super) fn got(&self) -> usize {
        self.results.iter().flatten().count()
    }

    pub(super) fn got_nothing(&self) -> bool {
        self.error.is_some() && self.got() == 0
    }
}

impl<'p, 'e> Frame<'p, 'e> {
    pub(super) fn new(graph: &'p Graph<'e>, scope: Scope<'p>, parent: Option<Parent>) -> Self {
        let steps = &graph.steps;
        let waits_for = |step: &Step<'_>, need: usize| !step.is_finally || steps[need].is_finally;
        let mut needed_by = vec![Vec::new(); steps.len()];
        let mut states = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            let needs = step.needs.iter().map(|need| need.step).filter(|need| waits_for(step, *need));
            states.push(State::Waiting(needs.map(|need| needed_by[need].push(index)).count()));
        }
        let mut frame = Self {
            graph,
            scope,
            parent,
            phase: Phase::Main,
            states,
            needed_by,
            ready: BTreeSet::new(),
            open: BTreeSet::new(),
            busy: 0,
            failed: None,
            late: Vec::new(),
            undo: Vec::new(),
            undone: Vec::new(),
            left: Vec::new(),
        };
        frame.ready = frame.waiting_for_nothing(false);
        frame
    }

    /// The steps of a phase that can begin at once.
    pub(super) fn waiting_for_nothing(&self, is_finally: bool) -> BTreeSet<usize> {
        let steps = self.graph.steps.iter().zip(&self.states).enumerate();
        let can =
            steps.filter(|(_, (step, state))| step.is_finally == is_finally && matches!(state, State::Waiting(0)));
        can.map(|(index, _)| index).collect()
    }

    pub(super) fn depth(&self) -> usize {
        self.parent.map_or(0, |parent| parent.depth)
    }

    /// A step has ended: what waited just for it is ready.
    pub(super) fn release(&mut self, index: usize) {
        for waiting in &self.needed_by[index] {
            if let State::Waiting(missing) = &mut self.states[*waiting] {
                *missing -= 1;
                if *missing == 0 {
                    self.ready.insert(*waiting);
                }
            }
        }
    }

    /// What a step's own templates see, or those of one of its items.
    pub(super) fn scope_of(&mut self, step: usize, item: usize) -> Value {
        match &self.states[step] {
            State::Running(Progress { items: Some(items), .. })
            | State::Failed(_, Some(Progress { items: Some(items), .. })) => self.scope.item(item, &items[item]),
            _ => self.scope.step(),
        }
    }

    /// What the step that it is run for gets: the result of each of its steps that has one.
    pub(super) fn result(&self) -> Json {
        let mut result = Map::new();
        for (step, state) in self.graph.steps.iter().zip(&self.states) {
            let State::Done(progress) = state else { continue };
            let given = match &progress.items {
                Some(_) => progress.results.iter().map(|result| result.clone().unwrap_or_default()).collect(),
                None => progress.results.first().cloned().flatten().unwrap_or_default(),
            };
            result.insert(step.id.to_owned(), given);
        }
        Json::Object(result)
    }
}
