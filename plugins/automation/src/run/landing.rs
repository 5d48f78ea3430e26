//! How a graph comes to its end: what it did is undone where it failed, then its `finally` steps run, whatever came before.
//!
//! A mission whose limit comes near is brought to its end in the same way, as long as there is something left to do it with.

use core::time::Duration;

use minijinja::context;
use serde_json::Value as Json;

use super::attempt::{Attempt, Doing, Leg};
use super::ending::Blame;
use super::frame::{Frame, Phase, State, Undo};
use super::{Flight, ROOT, Run, scope};
use crate::World;

/// Why something was given up that might still have come.
pub(super) const GIVEN_UP: &str = "it was given up, because the graph around it had failed";

impl<'p, 'e, W: World> Run<'p, 'e, W> {
    /// A limit of the mission comes near.
    pub(super) fn close(&mut self) {
        self.closing = None;
        let root = self.frame(ROOT);
        if root.phase == Phase::Main {
            root.failed.get_or_insert((None, Blame::landing()));
            self.take_what_came();
            self.cancel_doomed(ROOT, "its call was cancelled, because the mission had to come to its end");
        }
        self.take_reserve();
    }

    /// Cancels what is for nothing now that a graph has failed, calls too: in it, and in the graphs within it.
    pub(super) fn cancel_doomed(&mut self, around: usize, why: &str) {
        let is_doomed = |id: usize| self.is_doomed(id) && self.lies_in(id, around);
        let graphs: Vec<usize> = self.frames.keys().copied().filter(|id| is_doomed(*id)).collect();
        let doomed: Vec<bool> = self.flights.iter().map(|flight| is_doomed(flight.attempt.frame)).collect();
        graphs.into_iter().for_each(|id| self.frame(id).give_up());
        self.drop_flights(&doomed, why);
    }

    /// Takes the results that are there already: what was done is to be known, so that it can be undone.
    pub(super) fn take_what_came(&mut self) {
        loop {
            let calls = self.flights.iter().enumerate();
            let calls: Vec<usize> = calls.filter(|(_, f)| matches!(f.leg, Leg::Call { .. })).map(|(i, _)| i).collect();
            let now = self.world.after(Duration::ZERO);
            let awaited = calls.iter().filter_map(|index| match &self.flights[*index].leg {
                Leg::Call { call, .. } => Some(call),
                Leg::Rest(_) | Leg::Sleep(_) => None,
            });
            let waiting: Vec<_> = awaited.chain([&now]).collect();
            match calls.get(self.world.wait_any(&waiting)) {
                Some(index) => self.arrive(*index, true),
                None => return,
            }
        }
    }

    /// What was kept for the end may be used from here on.
    fn take_reserve(&mut self) {
        if std::mem::take(&mut self.may_land) {
            self.world.land();
        }
    }

    /// Gives up what a graph that has failed need not wait for: rests, sleeps, questions. Calls that are on their way may end.
    pub(super) fn give_up_waiting(&mut self, id: usize) {
        self.frame(id).give_up();
        let waits = |flight: &Flight<W::Pending>| match flight.leg {
            Leg::Call { .. } => self.is_question(&flight.attempt),
            Leg::Rest(_) | Leg::Sleep(_) => true,
        };
        let given_up: Vec<bool> =
            self.flights.iter().map(|flight| flight.attempt.frame == id && waits(flight)).collect();
        self.drop_flights(&given_up, GIVEN_UP);
        self.drop_rests(id);
    }

    /// Drops flights, and with that cancels them.
    fn drop_flights(&mut self, dropped: &[bool], why: &str) {
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        for (flight, is_dropped) in std::mem::take(&mut self.flights).into_iter().zip(dropped) {
            if *is_dropped { gone.push(flight.attempt) } else { kept.push(flight) }
        }
        self.flights = kept;
        for attempt in gone {
            self.frame(attempt.frame).busy -= 1;
            if let Doing::Step { step, item } = attempt.doing {
                self.ended(attempt.frame, step, item, Err(Blame::step(why.to_owned())));
            }
        }
    }

    /// The graph has failed: what it did is undone from here on.
    pub(super) fn undo_all(&mut self, id: usize) -> bool {
        let frame = self.frame(id);
        let lacks_budget = frame.failed.as_ref().is_some_and(|(_, blame)| blame.lacks_budget);
        frame.phase = Phase::Undo;
        frame.show_failure();
        self.moments.drop_deadline(id);
        if lacks_budget {
            self.take_reserve();
        }
        true
    }

    /// Undoes the last thing that was not undone yet; `false` where there is none.
    pub(super) fn undo_next(&mut self, id: usize) -> bool {
        let frame = self.frame(id);
        let Some(undo) = frame.undo.last() else { return false };
        let failure = frame.failure();
        match undo.compensate.call.with.render(&context! { failure, ..undo.scope.clone() }) {
            Ok(arguments) => self.attempt(Attempt { frame: id, doing: Doing::Undo, number: 1, arguments }),
            Err(error) => {
                let blame = Blame::template(undo.step, &error);
                self.undone(id, Err(blame));
            }
        }
        true
    }

    /// What undoes something has ended. Whatever came of it, the others are undone too.
    pub(super) fn undone(&mut self, id: usize, end: Result<(), Blame>) {
        let frame = self.frame(id);
        let Some(Undo { label, .. }) = frame.undo.pop() else { return };
        match end {
            Ok(()) => frame.undone.push(label),
            Err(blame) => {
                let told = format!("step `{label}` could not be undone: {}", blame.text);
                frame.left.push(format!("{label} ({})", blame.text));
                self.world.warn(&told);
            }
        }
    }

    /// From here on the `finally` steps run. They see how all others ended, also those that it never came to.
    pub(super) fn clean_up(&mut self, id: usize) -> bool {
        self.moments.drop_deadline(id);
        let frame = self.frame(id);
        frame.phase = Phase::Finally;
        frame.open.clear();
        frame.show_failure();
        for (step, state) in frame.graph.steps.iter().zip(&frame.states).filter(|(step, _)| !step.is_finally) {
            let each = step.each.is_some();
            match state {
                State::Waiting(_) => frame.scope.show(step.id, scope::skipped()),
                State::Running(progress) => {
                    frame.scope.show(step.id, scope::ended(each, Some(progress), Some(GIVEN_UP)));
                }
                State::Failed(blame, progress) => {
                    frame.scope.show(step.id, scope::ended(each, progress.as_ref(), Some(&blame.text)));
                }
                State::Skipped | State::Done(_) => {}
            }
        }
        frame.ready = frame.waiting_for_nothing(true);
        true
    }

    /// The graph is over: the mission, or what a step was waiting for.
    pub(super) fn over(&mut self, id: usize) -> bool {
        let Some(frame) = self.frames.remove(&id) else { return false };
        match frame.parent {
            None => self.end = Some(frame),
            Some(parent) => self.delivered(frame, parent),
        }
        true
    }
}

impl Frame<'_, '_> {
    /// It fails with the graph around it, where it has not failed itself.
    fn give_up(&mut self) {
        self.failed.get_or_insert_with(|| (None, Blame::step(GIVEN_UP.to_owned())));
    }

    /// Keeps how to undo what a call of a step did.
    pub(super) fn note_undo(&mut self, index: usize, item: usize, result: &Json) {
        let step = &self.graph.steps[index];
        let Some(compensate) = &step.compensate else { return };
        let base = self.scope_of(index, item);
        let scope = self.scope.result(&base, compensate.sees_itself.then_some(step.id), result);
        let label = if step.each.is_some() { format!("{}[{item}]", step.id) } else { step.id.to_owned() };
        self.undo.push(Undo { step, compensate, label, scope });
    }

    /// Why it failed, as `finally` steps and compensations see it.
    pub(super) fn failure(&self) -> minijinja::Value {
        self.failed.as_ref().map_or_else(
            || minijinja::Value::from(()),
            |(step, blame)| {
                context! { step => step.map(|index| self.graph.steps[index].id), error => blame.text.as_str() }
            },
        )
    }

    fn show_failure(&mut self) {
        let failure = self.failure();
        self.scope.show_failure(&failure);
    }
}
