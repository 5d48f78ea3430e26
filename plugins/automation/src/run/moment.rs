//! Moments that a run comes to beside its calls: the end of a rest before a sub-graph is tried again, and the end of the time that one
//! has. Any number of them under one timer.
//!
//! A graph that rests holds nothing, neither a timer of its own nor the place of one that runs: items of a `for_each` may rest
//! by the thousand, and the others run meanwhile. When its rest is over it waits for a place, before any that has not begun.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use super::attempt::{Attempt, Doing, End};
use super::ending::Blame;
use super::frame::Phase;
use super::landing::GIVEN_UP;
use super::{FRAMES_MAX, Run};
use crate::World;
use crate::plan::{Action, NESTING_MAX};

/// What is to happen at a moment of its own.
pub(super) struct Moments<P> {
    /// By the moment, then by the order in which they were set.
    coming: BTreeMap<(u64, usize), Coming>,
    /// How many were set so far.
    set: usize,
    /// The timer of the first of them, and which one that is.
    alarm: Option<((u64, usize), P)>,
    /// The present moment, since the last wait: the node writes down each answer to that question.
    now: Option<u64>,
    /// Attempts at graphs whose rest is over, by the depth of their graph.
    due: [VecDeque<Attempt>; NESTING_MAX + 1],
}

/// What comes.
struct Coming {
    what: What,
    /// How long it is until then, in milliseconds.
    lasts: u64,
}

enum What {
    /// The rest after an attempt is over: the next one.
    Again(Attempt),
    /// The time of this graph is over.
    Deadline(usize),
}

impl<P> Moments<P> {
    pub(super) fn new() -> Self {
        Self { coming: BTreeMap::new(), set: 0, alarm: None, now: None, due: Default::default() }
    }

    /// Something was waited for: time has passed.
    pub(super) fn waited(&mut self) {
        self.now = None;
    }

    /// The timer of the moment that comes first.
    pub(super) fn alarm(&self) -> Option<&P> {
        self.alarm.as_ref().map(|(_, timer)| timer)
    }

    /// Takes out the attempts of a graph, in the order in which they would be made.
    fn take(&mut self, id: usize) -> Vec<Attempt> {
        let mut taken = Vec::new();
        for due in &mut self.due {
            for attempt in std::mem::take(due) {
                if attempt.frame == id { taken.push(attempt) } else { due.push_back(attempt) }
            }
        }
        let is_taken = |coming: &mut Coming| matches!(&coming.what, What::Again(attempt) if attempt.frame == id);
        taken.extend(self.coming.extract_if(.., |_, coming| is_taken(coming)).filter_map(
            |(_, coming)| match coming.what {
                What::Again(attempt) => Some(attempt),
                What::Deadline(_) => None,
            },
        ));
        taken
    }

    /// The graph has all the time that it needs from here on.
    pub(super) fn drop_deadline(&mut self, id: usize) {
        self.coming.retain(|_, coming| !matches!(coming.what, What::Deadline(graph) if graph == id));
    }
}

impl<W: World> Run<'_, '_, W> {
    /// Rests before another attempt at a graph.
    pub(super) fn rest(&mut self, attempt: Attempt, lasts: Duration) {
        self.frame(attempt.frame).busy += 1;
        self.set_moment(What::Again(attempt), lasts);
    }

    /// A graph has so much time, and no more.
    pub(super) fn set_deadline(&mut self, id: usize, lasts: Duration) {
        self.set_moment(What::Deadline(id), lasts);
    }

    fn set_moment(&mut self, what: What, lasts: Duration) {
        let lasts = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        let moment = self.now_ms().saturating_add(lasts);
        self.moments.coming.insert((moment, self.moments.set), Coming { what, lasts });
        self.moments.set += 1;
    }

    fn now_ms(&mut self) -> u64 {
        *self.moments.now.get_or_insert_with(|| self.world.now_ms())
    }

    /// Sees that there is a timer for the moment that comes first, and for none else.
    pub(super) fn set_alarm(&mut self) {
        let first = self.moments.coming.first_key_value().map(|(key, coming)| (*key, coming.lasts));
        if self.moments.alarm.as_ref().map(|(key, _)| *key) == first.map(|(key, _)| key) {
            return;
        }
        // The old one goes before the new one is asked for: a node holds so many of them.
        self.moments.alarm = None;
        if let Some((key, lasts)) = first {
            // A clock that was set back meanwhile makes none longer than it is from here on.
            let left = key.0.saturating_sub(self.now_ms()).min(lasts);
            self.moments.alarm = Some((key, self.world.after(Duration::from_millis(left))));
        }
    }

    /// The timer is ready: what it was for happens, with all else whose moment has come.
    pub(super) fn came_to_moment(&mut self) {
        let Some(((moment, _), _)) = self.moments.alarm.take() else { return };
        while let Some(first) = self.moments.coming.first_entry().filter(|first| first.key().0 <= moment) {
            match first.remove().what {
                What::Again(attempt) => {
                    let depth = self.frames[&attempt.frame].depth() + 1;
                    self.moments.due[depth].push_back(attempt);
                }
                What::Deadline(id) => self.time_is_over(id),
            }
        }
    }

    /// The time of a graph is over: what is on its way in it is cancelled, and it has failed, unless it has nothing left to do. What undoes
    /// it, and its `finally` steps, take their own time.
    fn time_is_over(&mut self, id: usize) {
        if self.frames.get(&id).is_none_or(|frame| frame.phase != Phase::Main) {
            return;
        }
        self.take_what_came();
        if self.is_at_rest(id) && !self.is_stopped(id) {
            return;
        }
        let parent = self.frames[&id].parent;
        let timeout = parent.and_then(|parent| self.frames[&parent.frame].graph.steps[parent.step].timeout);
        let why = format!("no result within {:?}", timeout.unwrap_or_default());
        self.frame(id).failed.get_or_insert((None, Blame::not_yet(why)));
        self.cancel_doomed(id, "its call was cancelled, because the time of the graph around it was over");
    }

    /// Makes one of the attempts that are due, where there is room for its graph; `false` where there is none.
    pub(super) fn resume(&mut self) -> bool {
        let depths = self.depths.iter().zip(&mut self.moments.due);
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
        for attempt in self.moments.take(id) {
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
