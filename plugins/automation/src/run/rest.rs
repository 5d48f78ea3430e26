//! Rests of sub-graphs before they are tried again: any number of them under one timer.
//!
//! A graph that rests holds nothing, neither a timer of its own nor the place of one that runs: items of a `for_each` may rest
//! by the thousand, and the others run meanwhile. When its rest is over it waits for a place, before any that has not begun.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use super::attempt::{Attempt, Doing, End};
use super::ending::Blame;
use super::landing::GIVEN_UP;
use super::{FRAMES_MAX, Run};
use crate::World;
use crate::plan::{Action, NESTING_MAX};

/// The attempts at graphs that failed, or gave what was not there yet, and are to be made again.
pub(super) struct Rests<P> {
    /// By the moment at which a rest is over, then by the order in which they began.
    resting: BTreeMap<(u64, usize), Rest>,
    /// How many began so far.
    begun: usize,
    /// The timer of the first of them, and which one that is.
    alarm: Option<((u64, usize), P)>,
    /// The present moment, since the last wait: the node writes down each answer to that question.
    now: Option<u64>,
    /// Those whose rest is over, by the depth of their graph.
    due: [VecDeque<Attempt>; NESTING_MAX + 1],
}

/// A rest before the next attempt.
struct Rest {
    /// The one that was made.
    attempt: Attempt,
    /// In milliseconds.
    lasts: u64,
}

impl<P> Rests<P> {
    pub(super) fn new() -> Self {
        Self { resting: BTreeMap::new(), begun: 0, alarm: None, now: None, due: Default::default() }
    }

    /// Something was waited for: time has passed.
    pub(super) fn waited(&mut self) {
        self.now = None;
    }

    /// The timer of the rest that is over first.
    pub(super) fn alarm(&self) -> Option<&P> {
        self.alarm.as_ref().map(|(_, timer)| timer)
    }

    /// Takes out those of which this is true, in the order in which they would be made.
    pub(super) fn take(&mut self, is_taken: impl Fn(&Attempt) -> bool) -> Vec<Attempt> {
        let mut taken = Vec::new();
        for due in &mut self.due {
            for attempt in std::mem::take(due) {
                if is_taken(&attempt) { taken.push(attempt) } else { due.push_back(attempt) }
            }
        }
        let out = self.resting.extract_if(.., |_, rest| is_taken(&rest.attempt));
        taken.extend(out.map(|(_, rest)| rest.attempt));
        taken
    }
}

impl<W: World> Run<'_, '_, W> {
    /// Rests before another attempt at a graph.
    pub(super) fn rest(&mut self, attempt: Attempt, lasts: Duration) {
        self.frame(attempt.frame).busy += 1;
        let lasts = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        let over = self.now_ms().saturating_add(lasts);
        self.rests.resting.insert((over, self.rests.begun), Rest { attempt, lasts });
        self.rests.begun += 1;
    }

    fn now_ms(&mut self) -> u64 {
        *self.rests.now.get_or_insert_with(|| self.world.now_ms())
    }

    /// Sees that there is a timer for the rest that is over first, and for none else.
    pub(super) fn set_alarm(&mut self) {
        let first = self.rests.resting.first_key_value().map(|(key, rest)| (*key, rest.lasts));
        if self.rests.alarm.as_ref().map(|(key, _)| *key) == first.map(|(key, _)| key) {
            return;
        }
        // The old one goes before the new one is asked for: a node holds so many of them.
        self.rests.alarm = None;
        if let Some((key, lasts)) = first {
            // A clock that was set back meanwhile makes no rest longer than it is from here on.
            let left = key.0.saturating_sub(self.now_ms()).min(lasts);
            self.rests.alarm = Some((key, self.world.after(Duration::from_millis(left))));
        }
    }

    /// The timer is ready: what it was for is due, with all others whose moment has come.
    pub(super) fn rested(&mut self) {
        let Some(((moment, _), _)) = self.rests.alarm.take() else { return };
        while let Some(first) = self.rests.resting.first_entry().filter(|first| first.key().0 <= moment) {
            let attempt = first.remove().attempt;
            let depth = self.frames[&attempt.frame].depth() + 1;
            self.rests.due[depth].push_back(attempt);
        }
    }

    /// Makes one of the attempts that are due, where there is room for its graph; `false` where there is none.
    pub(super) fn resume(&mut self) -> bool {
        let depths = self.depths.iter().zip(&mut self.rests.due);
        let next = depths.filter(|(running, _)| **running < FRAMES_MAX).find_map(|(_, due)| due.pop_front());
        let Some(attempt) = next else { return false };
        self.frame(attempt.frame).busy -= 1;
        if self.is_doomed(attempt.frame) {
            self.settle(&attempt, End::Never(Blame::step(GIVEN_UP.to_owned())));
        } else {
            self.attempt(Attempt { number: attempt.number + 1, ..attempt });
        }
        true
    }

    /// Gives up the rests of attempts that a graph makes.
    pub(super) fn drop_rests(&mut self, id: usize) {
        for attempt in self.rests.take(|attempt| attempt.frame == id) {
            self.frame(id).busy -= 1;
            self.settle(&attempt, End::Never(Blame::step(GIVEN_UP.to_owned())));
        }
    }

    /// Whether it is an attempt at a graph.
    pub(super) fn is_of_graph(&self, attempt: &Attempt) -> bool {
        let Doing::Step { step, .. } = attempt.doing else { return false };
        matches!(self.frames[&attempt.frame].graph.steps[step].action, Action::Graph(_))
    }
}
