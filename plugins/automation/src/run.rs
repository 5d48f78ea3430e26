//! Runs a plan: starts what is ready, waits for whatever comes first, and so on until nothing is left.
//!
//! Where the graph leaves a choice, the order of the envelope decides; nothing here depends on addresses, on the order of
//! a hash map or on a clock.

mod ending;
mod finish;
mod scope;

use std::collections::BTreeSet;

use minijinja::Value;
use minijinja::value::ValueKind;
use serde_json::Value as Json;
use sortie_plugin::{Brief, CallError, Failure, Mistake, Outcome};

use crate::plan::{Need, Plan, Step};
use crate::template::{self, Question, Shape, TemplateError, Why};
use crate::{World, duration};
use ending::Blame;
use scope::Scope;

/// Most calls that are in flight or rest before a retry. Each has at most one timer beside it, and a node holds 64.
const FLIGHTS_MAX: usize = 32;

/// Most items of one `for_each`: their calls must leave room among the 100,000 that a node keeps of a mission.
const ITEMS_MAX: usize = 20_000;

/// Runs the plan to its end.
pub(crate) fn run<W: World>(plan: &Plan<'_>, brief: &Brief, inputs: &Json, world: &mut W) -> Result<Outcome, Failure> {
    ending::refuse_early(plan, world)?;
    let mut run = Run::new(plan, Scope::new(brief, inputs), world);
    run.launch();
    while !run.flights.is_empty() {
        run.land();
        run.launch();
    }
    ending::ending(&run)
}

/// Most items of a `for_each` whose `if` is answered at intake.
const FORESEEN_MAX: usize = 32;

/// Finds templates that are certain to fail: those of steps that run in any case and depend on nothing that is not in the
/// envelope, and questions that the envelope alone answers with neither yes nor no. Better to hear of them now than at two in
/// the morning.
pub(crate) fn foresee(plan: &Plan<'_>, brief: &Brief, inputs: &Json) -> Vec<Mistake> {
    let mut scope = Scope::new(brief, inputs);
    let mut errors = Vec::new();
    for step in &plan.steps {
        if step.is_decisive() && step.needs.is_empty() {
            errors.extend(step.with.render(&scope.step()).err());
        }
        if let Some(condition) = step.condition.as_ref().filter(|condition| condition.is_of_envelope()) {
            let error = ask_early(step, condition, &mut scope);
            // What else is wrong with it need not come to pass where the step need not come to its turn.
            let certain = step.needs.is_empty() && !step.goes_on;
            errors.extend(error.filter(|error| certain || error.why == Why::NoAnswer));
        }
        if let Some(criterion) = step.criterion.as_ref().filter(|criterion| criterion.met.is_of_envelope()) {
            let error = criterion.met.answer(&scope.step()).err();
            errors.extend(error.filter(|error| error.why == Why::NoAnswer));
        }
    }
    // Work that is too much for intake may still be fine for a run.
    let errors = errors.into_iter().filter(|error| error.why != Why::OutOfFuel);
    let code = |why| if why == Why::NoAnswer { "wrong_type" } else { "bad_template" };
    errors.map(|TemplateError { place, detail, why }| Mistake::new(place, code(why), detail)).collect()
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

/// A plan on its way.
struct Run<'p, 'e, W: World> {
    plan: &'p Plan<'e>,
    world: &'p mut W,
    scope: Scope<'p>,
    /// One for each step of the plan.
    states: Vec<State>,
    /// Which steps wait for a step, by its index.
    needed_by: Vec<Vec<usize>>,
    /// Steps whose needs have all ended.
    ready: BTreeSet<usize>,
    /// Steps that have calls to start and may start one.
    open: BTreeSet<usize>,
    /// At most [`FLIGHTS_MAX`].
    flights: Vec<Flight<W::Pending>>,
    /// The step that made the mission fail.
    failed: Option<(usize, Blame)>,
}

/// How a step stands.
enum State {
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
struct Progress {
    /// With `for_each`; otherwise the step is one call.
    items: Option<Vec<Value>>,
    /// One for each call; `None` until it has one.
    results: Vec<Option<Json>>,
    /// One for each call, in step with the results: why it has none.
    errors: Vec<Option<String>>,
    /// One for each call, in step with the results: what it was made with, where whoever approved it changed its arguments.
    amended: Vec<Option<Json>>,
    /// How many items were passed over by `if`.
    passed_over: usize,
    /// The next call to start.
    next: usize,
    /// Calls in flight or at rest.
    flying: usize,
    /// Of the first call that failed.
    error: Option<Blame>,
}

impl Progress {
    fn new(items: Option<Vec<Value>>) -> Self {
        let calls = items.as_ref().map_or(1, Vec::len);
        let (results, errors, amended) = (vec![None; calls], vec![None; calls], vec![None; calls]);
        Self { items, results, errors, amended, passed_over: 0, next: 0, flying: 0, error: None }
    }

    /// Whether all its calls have ended.
    fn is_over(&self) -> bool {
        self.next == self.results.len() && self.flying == 0
    }

    /// How many of its calls gave a result.
    fn got(&self) -> usize {
        self.results.iter().flatten().count()
    }

    fn got_nothing(&self) -> bool {
        self.error.is_some() && self.got() == 0
    }
}

/// One call of a step, over all its attempts.
struct Flight<P> {
    step: usize,
    item: usize,
    /// From 1.
    attempt: u32,
    arguments: Json,
    leg: Leg<P>,
}

enum Leg<P> {
    Call { call: P, deadline: Option<P> },
    Rest(P),
}

impl<'p, 'e, W: World> Run<'p, 'e, W> {
    fn new(plan: &'p Plan<'e>, scope: Scope<'p>, world: &'p mut W) -> Self {
        let mut needed_by = vec![Vec::new(); plan.steps.len()];
        for (index, step) in plan.steps.iter().enumerate() {
            step.needs.iter().for_each(|need| needed_by[need.step].push(index));
        }
        let states = plan.steps.iter().map(|step| State::Waiting(step.needs.len())).collect();
        let ready = (0..plan.steps.len()).filter(|index| plan.steps[*index].needs.is_empty()).collect();
        Self { plan, world, scope, states, needed_by, ready, open: BTreeSet::new(), flights: Vec::new(), failed: None }
    }

    /// Starts everything that may be started. After a failure that is nothing.
    fn launch(&mut self) {
        while self.failed.is_none() {
            if let Some(step) = self.ready.pop_first() {
                self.begin(step);
            } else if let Some(step) = self.open.first().copied().filter(|_| self.flights.len() < FLIGHTS_MAX) {
                self.start_next(step);
            } else {
                return;
            }
        }
        // What rests before another attempt has nothing on its way that could still end.
        self.flights.retain(|flight| matches!(flight.leg, Leg::Call { .. }));
    }

    /// Begins a step, or skips it.
    fn begin(&mut self, index: usize) {
        let step = &self.plan.steps[index];
        let skipped_need = |need: &&Need| matches!(self.states[need.step], State::Skipped) && !need.minds_skip;
        if step.needs.iter().any(|need| skipped_need(&need)) {
            return self.skip(index);
        }
        let condition = step.condition.as_ref().filter(|_| step.may_be_skipped());
        match condition.map_or(Ok(true), |condition| condition.answer(&self.scope.step())) {
            Ok(true) => {}
            Ok(false) => return self.skip(index),
            Err(error) => return self.fail(index, Blame::template(step, &error)),
        }
        let items = match step.each.as_ref().map(|each| each.items.evaluate(&self.scope.step())).transpose() {
            Ok(items) => items.as_ref().map(list).transpose(),
            Err(error) => return self.fail(index, Blame::template(step, &error)),
        };
        match items {
            Ok(items) => {
                let progress = Progress::new(items);
                let over = progress.is_over();
                self.states[index] = State::Running(progress);
                if over {
                    self.finish(index);
                } else {
                    self.open.insert(index);
                }
            }
            Err(why) => self.fail(index, Blame::step(format!("for_each {why}"))),
        }
    }

    /// Starts the next call of a step that is open.
    fn start_next(&mut self, index: usize) {
        let step = &self.plan.steps[index];
        let State::Running(progress) = &mut self.states[index] else {
            self.open.remove(&index);
            return;
        };
        let item = progress.next;
        progress.next += 1;
        progress.flying += 1;
        let width = step.each.as_ref().map_or(1, |each| each.concurrency);
        if progress.next == progress.results.len() || progress.flying >= width {
            self.open.remove(&index);
        }
        let scope = match &progress.items {
            Some(items) => self.scope.item(item, &items[item]),
            None => self.scope.step(),
        };
        let of_items = step.condition.as_ref().filter(|condition| condition.is_of_items());
        match of_items.map_or(Ok(true), |condition| condition.answer(&scope)) {
            Ok(true) => {}
            Ok(false) => return self.ended(index, item, Ok(None)),
            Err(error) => return self.ended(index, item, Err(Blame::template(step, &error))),
        }
        match step.with.render(&scope) {
            Ok(arguments) => self.attempt(Attempt { step: index, item, number: 1, arguments }),
            Err(error) => self.ended(index, item, Err(Blame::template(step, &error))),
        }
    }

    /// Makes an attempt at a call.
    fn attempt(&mut self, attempt: Attempt) {
        let step = &self.plan.steps[attempt.step];
        // What an earlier attempt was made with is not what this one is.
        if let State::Running(progress) = &mut self.states[attempt.step] {
            progress.amended[attempt.item] = None;
        }
        match self.world.start(step.tool, &attempt.arguments) {
            Ok(call) => {
                let deadline = step.timeout.map(|timeout| self.world.after(timeout));
                self.fly(attempt, Leg::Call { call, deadline });
            }
            Err(error) => self.ended(attempt.step, attempt.item, Err(Blame::call(step, &error, attempt.number))),
        }
    }

    fn fly(&mut self, Attempt { step, item, number: attempt, arguments }: Attempt, leg: Leg<W::Pending>) {
        debug_assert!(self.flights.len() < FLIGHTS_MAX, "launch leaves room");
        self.flights.push(Flight { step, item, attempt, arguments, leg });
    }

    /// Waits for whatever comes first and takes it in.
    fn land(&mut self) {
        let mut waiting = Vec::with_capacity(2 * self.flights.len());
        let mut owner = Vec::with_capacity(2 * self.flights.len());
        for (index, flight) in self.flights.iter().enumerate() {
            match &flight.leg {
                Leg::Call { call, deadline } => {
                    waiting.push(call);
                    owner.push((index, true));
                    waiting.extend(deadline);
                    owner.extend(deadline.iter().map(|_| (index, false)));
                }
                Leg::Rest(timer) => {
                    waiting.push(timer);
                    owner.push((index, false));
                }
            }
        }
        let (index, answered) = owner[self.world.wait_any(&waiting)];
        let Flight { step, item, attempt: number, arguments, leg } = self.flights.remove(index);
        let attempt = Attempt { step, item, number, arguments };
        let timeout = self.plan.steps[step].timeout.unwrap_or_default();
        match leg {
            Leg::Rest(_) => self.attempt(Attempt { number: number + 1, ..attempt }),
            Leg::Call { call, .. } if answered => {
                self.note_amended(step, item, &call);
                match self.world.result(&call) {
                    Ok(result) => self.ended(step, item, Ok(Some(result))),
                    Err(error) => self.again(attempt, &error),
                }
            }
            // The call is dropped here, and with that cancelled.
            Leg::Call { .. } => self.again(attempt, &CallError::TimedOut(format!("no result within {timeout:?}"))),
        }
    }

    /// Keeps what a call was made with, where people changed that.
    fn note_amended(&mut self, index: usize, item: usize, call: &W::Pending) {
        let Some(amended) = self.world.amended(call) else { return };
        let id = self.plan.steps[index].id;
        self.world.warn(&format!("step `{id}`: whoever approved its call changed the arguments to {amended}"));
        if let State::Running(progress) = &mut self.states[index] {
            progress.amended[item] = Some(amended);
        }
    }

    /// Rests before another attempt, or gives the call up.
    fn again(&mut self, attempt: Attempt, error: &CallError) {
        let step = &self.plan.steps[attempt.step];
        // A refusal stays one, and what may have happened already is not done twice.
        let may_pass = matches!(error, CallError::Failed(_) | CallError::TimedOut(_));
        if !may_pass || attempt.number >= step.retry.attempts || self.failed.is_some() {
            return self.ended(attempt.step, attempt.item, Err(Blame::call(step, error, attempt.number)));
        }
        let rest = self.world.after(duration::backoff(step.retry.backoff, step.retry.factor, attempt.number));
        self.fly(attempt, Leg::Rest(rest));
    }

    /// One call of a step has ended for good. Without a result: its item was passed over.
    fn ended(&mut self, index: usize, item: usize, end: Result<Option<Json>, Blame>) {
        let step = &self.plan.steps[index];
        // A step that has failed already does not care for its other calls any more.
        let State::Running(progress) = &mut self.states[index] else { return };
        progress.flying -= 1;
        match end {
            Ok(Some(result)) => progress.results[item] = Some(result),
            Ok(None) => progress.passed_over += 1,
            Err(blame) => {
                progress.errors[item] = Some(blame.text.clone());
                let blame = if progress.items.is_some() { blame.of_item(item, progress.results.len()) } else { blame };
                if !step.goes_on {
                    return self.fail(index, blame);
                }
                progress.error.get_or_insert(blame);
            }
        }
        if progress.is_over() {
            self.finish(index);
        } else if progress.next < progress.results.len() {
            self.open.insert(index);
        }
    }

    fn skip(&mut self, index: usize) {
        self.scope.show(self.plan.steps[index].id, scope::skipped());
        self.states[index] = State::Skipped;
        self.release(index);
    }

    /// A step has failed: the mission with it, unless it says `on_error: continue`.
    fn fail(&mut self, index: usize, blame: Blame) {
        let step = &self.plan.steps[index];
        self.open.remove(&index);
        let progress = match std::mem::replace(&mut self.states[index], State::Waiting(0)) {
            State::Running(progress) => Some(progress),
            _ => None,
        };
        if step.goes_on {
            self.world.warn(&format!("step `{}` failed, and the mission goes on: {}", step.id, blame.text));
            self.scope.show(step.id, scope::ended(step.each.is_some(), progress.as_ref(), Some(&blame.text)));
            self.states[index] = State::Failed(blame, progress);
            return self.release(index);
        }
        self.states[index] = State::Failed(blame.clone(), progress);
        self.failed.get_or_insert((index, blame));
    }

    /// A step has ended: what waited just for it is ready.
    fn release(&mut self, index: usize) {
        for waiting in &self.needed_by[index] {
            if let State::Waiting(missing) = &mut self.states[*waiting] {
                *missing -= 1;
                if *missing == 0 {
                    self.ready.insert(*waiting);
                }
            }
        }
    }
}

/// One attempt at one call.
struct Attempt {
    step: usize,
    item: usize,
    /// From 1.
    number: u32,
    arguments: Json,
}

/// The items of a `for_each`.
fn list(value: &Value) -> Result<Vec<Value>, String> {
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Err(format!("must be a list, and it is {}", value.kind()));
    }
    let items: Vec<Value> = value.try_iter().map_err(|error| error.to_string())?.take(ITEMS_MAX + 1).collect();
    if items.len() > ITEMS_MAX { Err(format!("has more than {ITEMS_MAX} items")) } else { Ok(items) }
}
