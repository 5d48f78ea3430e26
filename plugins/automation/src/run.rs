//! Runs a plan: starts what is ready, waits for whatever comes first, and so on until nothing is left.
//!
//! Where the graph leaves a choice, the order of the envelope decides; nothing here depends on addresses, on the order of
//! a hash map or on a clock.

mod attempt;
mod ending;
mod finish;
mod foresee;
mod frame;
mod grants;
mod landing;
mod moment;
mod scope;

use std::collections::BTreeMap;

use minijinja::Value;
use minijinja::value::ValueKind;
use serde_json::Value as Json;
use sortie_plugin::{Brief, Failure, Outcome};

use crate::World;
use crate::plan::{Action, ITEMS_MAX, NESTING_MAX, Need, Plan, Step};
use attempt::{Attempt, Doing, Flight};
use ending::Blame;
pub(crate) use foresee::foresee;
use frame::{Frame, Phase, Progress, State};
use moment::Moments;
use scope::Scope;

/// Most calls that are in flight or rest before a retry. Each has at most one timer beside it, and a node holds 64; where
/// something else is waited for beside them, it is one call less.
const FLIGHTS_MAX: usize = 32;

/// Most sub-graphs that run together, of each depth: those of one depth never wait for room at another that waits for theirs.
const FRAMES_MAX: usize = 32;

/// The mission's own graph, among the frames.
const ROOT: usize = 0;

/// Runs the plan to its end.
pub(crate) fn run<W: World>(plan: &Plan<'_>, brief: &Brief, inputs: &Json, world: &mut W) -> Result<Outcome, Failure> {
    grants::refuse_early(plan, brief, inputs, world)?;
    let closing = plan.graph.cleans_up().then(|| world.closing());
    let flights_max = FLIGHTS_MAX - usize::from(closing.is_some() || plan.graph.has_moments());
    let root = Frame::new(&plan.graph, Scope::new(brief, inputs), None);
    let frames = BTreeMap::from([(ROOT, root)]);
    let may_land = closing.is_some();
    let mut run = Run {
        world,
        frames,
        next_frame: ROOT + 1,
        depths: [0; NESTING_MAX + 1],
        flights: Vec::new(),
        flights_max,
        moments: Moments::new(),
        closing,
        may_land,
        end: None,
    };
    loop {
        run.launch();
        if let Some(end) = run.end {
            return ending::ending(&end);
        }
        run.set_alarm();
        run.land();
    }
}

/// A plan on its way.
struct Run<'p, 'e, W: World> {
    world: &'p mut W,
    /// The graphs that run, by the order in which they began.
    frames: BTreeMap<usize, Frame<'p, 'e>>,
    next_frame: usize,
    /// How many of them there are in each depth, at most [`FRAMES_MAX`] below the first.
    depths: [usize; NESTING_MAX + 1],
    /// At most `flights_max`.
    flights: Vec<Flight<W::Pending>>,
    flights_max: usize,
    moments: Moments<W::Pending>,
    /// The signal that the mission should come to its end, until it was given; for plans that have something to do then.
    closing: Option<W::Pending>,
    /// What is kept for that was asked for, and not yet taken.
    may_land: bool,
    /// The mission's own graph, once it is over.
    end: Option<Frame<'p, 'e>>,
}

impl<'p, 'e, W: World> Run<'p, 'e, W> {
    /// Does everything that can be done without waiting.
    fn launch(&mut self) {
        let mut may_go_on = true;
        while may_go_on && self.end.is_none() {
            may_go_on = self.resume();
            // A step may begin graphs and end them: these have their turn in the next round.
            let frames: Vec<usize> = self.frames.keys().copied().collect();
            for frame in frames {
                while self.forward(frame) {
                    may_go_on = true;
                }
            }
        }
    }

    /// Takes a graph one step further; `false` where it has to wait.
    fn forward(&mut self, id: usize) -> bool {
        let Some(phase) = self.frames.get(&id).map(|frame| frame.phase) else { return false };
        match phase {
            Phase::Main if self.is_stopped(id) => {
                self.give_up_waiting(id);
                self.is_idle(id) && self.undo_all(id)
            }
            Phase::Main => self.go_on(id) || (self.is_at_rest(id) && self.clean_up(id)),
            Phase::Undo if !self.is_idle(id) || self.flights.len() >= self.flights_max => false,
            Phase::Undo => self.undo_next(id) || self.clean_up(id),
            Phase::Finally => self.go_on(id) || (self.is_at_rest(id) && self.over(id)),
        }
    }

    /// Begins a step that is ready, or a call of one that is open.
    fn go_on(&mut self, id: usize) -> bool {
        if let Some(step) = self.frame(id).ready.pop_first() {
            self.begin(id, step);
            return true;
        }
        let frame = &self.frames[&id];
        match frame.open.iter().copied().find(|step| self.has_room(id, &frame.graph.steps[*step])) {
            Some(step) => {
                self.start_next(id, step);
                true
            }
            None => false,
        }
    }

    /// Whether one more call of a step can be made, or one more run of its graph.
    fn has_room(&self, id: usize, step: &Step<'_>) -> bool {
        match step.action {
            Action::Graph(_) => {
                // Nothing lies deeper than the plan allows.
                self.depths.get(self.frames[&id].depth() + 1).is_some_and(|frames| *frames < FRAMES_MAX)
            }
            Action::Call(_) | Action::Sleep(_) => self.flights.len() < self.flights_max,
        }
    }

    /// Whether nothing of a graph is on its way.
    fn is_idle(&self, id: usize) -> bool {
        self.frames[&id].busy == 0
    }

    /// Whether there is nothing left to wait for in a graph's phase.
    fn is_at_rest(&self, id: usize) -> bool {
        let frame = &self.frames[&id];
        frame.busy == 0 && frame.open.is_empty() && frame.ready.is_empty()
    }

    /// Whether nothing new is started in a graph: it has failed, or one that it is part of.
    fn is_stopped(&self, id: usize) -> bool {
        let frame = &self.frames[&id];
        if frame.failed.is_some() {
            return true;
        }
        frame.parent.is_some_and(|parent| {
            let within_finally = self.frames[&parent.frame].graph.steps[parent.step].is_finally;
            !within_finally && self.is_stopped(parent.frame)
        })
    }

    /// Whether a graph is another one, or part of it.
    fn lies_in(&self, id: usize, around: usize) -> bool {
        id == around || self.frames[&id].parent.is_some_and(|parent| self.lies_in(parent.frame, around))
    }

    /// Whether what a graph does now is none of its cleaning up, and is for nothing.
    fn is_doomed(&self, id: usize) -> bool {
        self.frames[&id].phase == Phase::Main && self.is_stopped(id)
    }

    /// Begins a step, or skips it.
    fn begin(&mut self, id: usize, index: usize) {
        let frame = self.frame(id);
        let step = &frame.graph.steps[index];
        let is_missing = |need: &&Need| match &frame.states[need.step] {
            State::Skipped => !need.minds_skip,
            State::Done(_) => false,
            // What cleans up after a step has nothing to do where that step did nothing.
            _ => step.is_finally && !frame.graph.steps[need.step].is_finally && !need.minds_skip && !need.minds_error,
        };
        if step.needs.iter().any(|need| is_missing(&need)) {
            return self.skip(id, index);
        }
        let condition = step.condition.as_ref().filter(|_| step.may_be_skipped());
        match condition.map_or(Ok(true), |condition| condition.answer(&frame.scope.step())) {
            Ok(true) => {}
            Ok(false) => return self.skip(id, index),
            Err(error) => return self.fail(id, index, Blame::template(step, &error)),
        }
        let items = match step.each.as_ref().map(|each| each.items.evaluate(&frame.scope.step())).transpose() {
            Ok(items) => items.as_ref().map(list).transpose(),
            Err(error) => return self.fail(id, index, Blame::template(step, &error)),
        };
        match items {
            Ok(items) => {
                let progress = Progress::new(items);
                let over = progress.is_over();
                frame.states[index] = State::Running(progress);
                if over {
                    self.finish(id, index);
                } else {
                    frame.open.insert(index);
                }
            }
            Err((_, why)) => self.fail(id, index, Blame::step(format!("for_each {why}"))),
        }
    }

    /// Starts the next call of a step that is open.
    fn start_next(&mut self, id: usize, index: usize) {
        let frame = self.frame(id);
        let step = &frame.graph.steps[index];
        let State::Running(progress) = &mut frame.states[index] else {
            frame.open.remove(&index);
            return;
        };
        let item = progress.next;
        progress.next += 1;
        progress.flying += 1;
        let width = step.each.as_ref().map_or(1, |each| each.concurrency);
        if progress.next == progress.results.len() || progress.flying >= width {
            frame.open.remove(&index);
        }
        let scope = frame.scope_of(index, item);
        let of_items = step.condition.as_ref().filter(|condition| condition.is_of_items());
        match of_items.map_or(Ok(true), |condition| condition.answer(&scope)) {
            Ok(true) => {}
            Ok(false) => return self.ended(id, index, item, Ok(None)),
            Err(error) => return self.ended(id, index, item, Err(Blame::template(step, &error))),
        }
        let arguments = match &step.action {
            Action::Call(call) => call.with.render(&scope),
            Action::Sleep(duration) => duration.render(&scope),
            Action::Graph(_) => Ok(Json::Null),
        };
        match arguments {
            Ok(arguments) => {
                self.attempt(Attempt { frame: id, doing: Doing::Step { step: index, item }, number: 1, arguments });
            }
            Err(error) => self.ended(id, index, item, Err(Blame::template(step, &error))),
        }
    }

    /// One call of a step has ended for good. Without a result: its item was passed over.
    fn ended(&mut self, id: usize, index: usize, item: usize, end: Result<Option<Json>, Blame>) {
        let frame = self.frame(id);
        let step = &frame.graph.steps[index];
        if let Ok(Some(result)) = &end {
            frame.note_undo(index, item, result);
        }
        let progress = match (&mut frame.states[index], &end) {
            (State::Running(progress), _) => progress,
            // A step that has failed already keeps what its other calls give, and does not care for more.
            (State::Failed(_, Some(progress)), Ok(Some(result))) => {
                progress.results[item] = Some(result.clone());
                return;
            }
            _ => return,
        };
        progress.flying -= 1;
        match end {
            Ok(Some(result)) => progress.results[item] = Some(result),
            Ok(None) => progress.passed_over += 1,
            Err(blame) => {
                progress.errors[item] = Some(blame.text.clone());
                let blame = if progress.items.is_some() { blame.of_item(item, progress.results.len()) } else { blame };
                if !step.goes_on {
                    return self.fail(id, index, blame);
                }
                progress.error.get_or_insert(blame);
            }
        }
        if progress.is_over() {
            self.finish(id, index);
        } else if progress.next < progress.results.len() {
            frame.open.insert(index);
        }
    }

    fn skip(&mut self, id: usize, index: usize) {
        let frame = self.frame(id);
        frame.scope.show(frame.graph.steps[index].id, scope::skipped());
        frame.states[index] = State::Skipped;
        frame.release(index);
    }

    /// A step has failed: its graph with it, unless it says `on_error: continue`.
    fn fail(&mut self, id: usize, index: usize, blame: Blame) {
        let is_doomed = self.is_doomed(id);
        let frame = self.frame(id);
        let step = &frame.graph.steps[index];
        frame.open.remove(&index);
        let progress = match std::mem::replace(&mut frame.states[index], State::Waiting(0)) {
            State::Running(progress) => Some(progress),
            _ => None,
        };
        if step.goes_on {
            frame.scope.show(step.id, scope::ended(step.each.is_some(), progress.as_ref(), Some(&blame.text)));
            let told = format!("step `{}` failed, and the mission goes on: {}", step.id, blame.text);
            frame.states[index] = State::Failed(blame, progress);
            frame.release(index);
            if !is_doomed {
                self.world.warn(&told);
            }
            return;
        }
        frame.states[index] = State::Failed(blame.clone(), progress);
        if frame.failed.is_some() && step.is_finally {
            frame.late.push(format!("{} ({})", step.id, blame.text));
        }
        frame.failed.get_or_insert((Some(index), blame));
    }

    fn frame(&mut self, id: usize) -> &mut Frame<'p, 'e> {
        self.frames.get_mut(&id).expect("a graph is there until it is over")
    }
}

/// The items of a `for_each`; or what is wrong with them, as a code and for people.
fn list(value: &Value) -> Result<Vec<Value>, (&'static str, String)> {
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Err(("wrong_type", format!("must be a list, and it is {}", value.kind())));
    }
    let items = value.try_iter().map_err(|error| ("wrong_type", error.to_string()))?;
    let items: Vec<Value> = items.take(ITEMS_MAX + 1).collect();
    if items.len() > ITEMS_MAX { Err(("too_many", format!("has more than {ITEMS_MAX} items"))) } else { Ok(items) }
}
