//! Attempts: a call, a rest before the next one (of a graph: `moment`), a sleep, a run of a sub-graph; and whether there is a further one.

use serde_json::Value as Json;
use sortie_plugin::CallError;

use super::ending::Blame;
use super::frame::{Frame, Parent, State};
use super::{FRAMES_MAX, Phase, Run};
use crate::plan::{ASK, Action, Call, Retry};
use crate::{World, duration};

/// One attempt at something.
pub(super) struct Attempt {
    pub(super) frame: usize,
    pub(super) doing: Doing,
    /// From 1.
    pub(super) number: u32,
    /// Of a `sleep`, how long.
    pub(super) arguments: Json,
}

/// What is attempted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Doing {
    /// A step, for one of its items.
    Step { step: usize, item: usize },
    /// What undoes something: the last that the graph has to undo.
    Undo,
}

/// An attempt on its way.
pub(super) struct Flight<P> {
    pub(super) attempt: Attempt,
    pub(super) leg: Leg<P>,
}

pub(super) enum Leg<P> {
    Call { call: P, deadline: Option<P> },
    Rest(P),
    Sleep(P),
}

/// What can be ready first.
#[derive(Clone, Copy)]
enum Ready {
    /// The signal that the mission should come to its end.
    Closing,
    /// The timer of the moments.
    Alarm,
    /// A flight: what is waited for `came`, or the time for it is over.
    Flight { index: usize, came: bool },
}

/// How an attempt, or all of them, can end.
pub(super) enum End {
    Result(Json),
    /// It may be another time.
    NotYet(Blame),
    Never(Blame),
}

impl<'p, 'e, W: World> Run<'p, 'e, W> {
    /// Makes an attempt at a step's call, its sleep, or its graph.
    pub(super) fn attempt(&mut self, attempt: Attempt) {
        let Doing::Step { step: index, item } = attempt.doing else { return self.call(attempt) };
        let frame = self.frame(attempt.frame);
        // What an earlier attempt was made with is not what this one is.
        if let State::Running(progress) = &mut frame.states[index] {
            progress.amended[item] = None;
        }
        match &frame.graph.steps[index].action {
            Action::Call(_) => self.call(attempt),
            Action::Sleep(_) => match attempt.arguments.as_str().and_then(duration::parse) {
                Some(lasts) => {
                    let timer = self.world.after(lasts);
                    self.fly(attempt, Leg::Sleep(timer));
                }
                None => {
                    let why = format!("sleep is {}: {}", attempt.arguments, duration::EXPECTED);
                    self.ended(attempt.frame, index, item, Err(Blame::step(why)));
                }
            },
            Action::Graph(graph) => {
                let scope = match &frame.states[index] {
                    State::Running(progress) => {
                        frame.scope.within(progress.items.as_ref().map(|items| (item, &items[item])))
                    }
                    _ => frame.scope.within(None),
                };
                let depth = frame.depth() + 1;
                frame.busy += 1;
                let parent = Parent { frame: attempt.frame, step: index, item, number: attempt.number, depth };
                let timeout = frame.graph.steps[index].timeout;
                let id = self.next_frame;
                self.frames.insert(id, Frame::new(graph, scope, Some(parent)));
                self.next_frame += 1;
                if let Some(timeout) = timeout {
                    self.set_deadline(id, timeout);
                }
                self.depths[depth] += 1;
                debug_assert!(self.depths[depth] <= FRAMES_MAX, "whoever begins a graph has seen that there is room");
            }
        }
    }

    /// Makes a call.
    fn call(&mut self, attempt: Attempt) {
        let call = self.call_of(&attempt);
        match self.world.start(call.tool, &attempt.arguments) {
            Ok(call) => {
                let timeout = self.timeout_of(&attempt);
                let deadline = timeout.map(|timeout| self.world.after(timeout));
                self.fly(attempt, Leg::Call { call, deadline });
            }
            Err(error) => {
                let blame = self.blame(&attempt, &error);
                self.settle(&attempt, End::Never(blame));
            }
        }
    }

    fn fly(&mut self, attempt: Attempt, leg: Leg<W::Pending>) {
        debug_assert!(self.flights.len() < self.flights_max, "whoever starts something has seen that there is room");
        self.frame(attempt.frame).busy += 1;
        self.flights.push(Flight { attempt, leg });
    }

    /// Waits for whatever comes first and takes it in.
    pub(super) fn land(&mut self) {
        let mut waiting = Vec::with_capacity(2 * self.flights.len() + 2);
        let mut owner = Vec::with_capacity(2 * self.flights.len() + 2);
        // Of several that are ready the first is told: what keeps coming in must not keep this one out.
        waiting.extend(&self.closing);
        owner.extend(self.closing.iter().map(|_| Ready::Closing));
        waiting.extend(self.moments.alarm());
        owner.extend(self.moments.alarm().map(|_| Ready::Alarm));
        for (index, flight) in self.flights.iter().enumerate() {
            let (awaited, deadline) = match &flight.leg {
                Leg::Call { call, deadline } => (call, deadline.as_ref()),
                Leg::Rest(timer) | Leg::Sleep(timer) => (timer, None),
            };
            waiting.push(awaited);
            owner.push(Ready::Flight { index, came: true });
            waiting.extend(deadline);
            owner.extend(deadline.map(|_| Ready::Flight { index, came: false }));
        }
        let ready = owner[self.world.wait_any(&waiting)];
        self.moments.waited();
        match ready {
            Ready::Closing => self.close(),
            Ready::Alarm => self.came_to_moment(),
            Ready::Flight { index, came } => self.arrive(index, came),
        }
    }

    /// Something is ready: what was waited for, or the end of the time for it.
    pub(super) fn arrive(&mut self, index: usize, came: bool) {
        let Flight { attempt, leg } = self.flights.remove(index);
        self.frame(attempt.frame).busy -= 1;
        match leg {
            Leg::Rest(_) => self.attempt(Attempt { number: attempt.number + 1, ..attempt }),
            Leg::Sleep(_) => self.settle(&attempt, End::Result(Json::Null)),
            Leg::Call { call, .. } if came => {
                self.note_amended(&attempt, &call);
                match self.world.result(&call) {
                    Ok(result) => self.came(attempt, result),
                    Err(error) => self.went_wrong(attempt, &error),
                }
            }
            // The call is dropped here, and with that cancelled.
            Leg::Call { .. } => {
                let timeout = self.timeout_of(&attempt).unwrap_or_default();
                self.went_wrong(attempt, &CallError::TimedOut(format!("no result within {timeout:?}")));
            }
        }
    }

    /// A call, or a sub-graph, gave a result: it is held against `until`.
    pub(super) fn came(&mut self, attempt: Attempt, result: Json) {
        let Doing::Step { step: index, item } = attempt.doing else {
            return self.settle(&attempt, End::Result(result));
        };
        let frame = self.frame(attempt.frame);
        let step = &frame.graph.steps[index];
        let Some(until) = &step.until else { return self.settle(&attempt, End::Result(result)) };
        let base = frame.scope_of(index, item);
        let scope = frame.scope.result(&base, until.sees_itself.then_some(step.id), &result);
        let end = match until.question.answer(&scope) {
            Ok(true) => End::Result(result),
            Ok(false) => {
                let times = if attempt.number == 1 { "once".to_owned() } else { format!("{} times", attempt.number) };
                End::NotYet(Blame::not_yet(format!("it was tried {times}, and until {} is false", until.source)))
            }
            Err(error) => End::Never(Blame::template(step, &error)),
        };
        self.again(attempt, end);
    }

    fn went_wrong(&mut self, attempt: Attempt, error: &CallError) {
        let blame = self.blame(&attempt, error);
        // A refusal stays one, and what may have happened already is not done twice.
        let may_pass = matches!(error, CallError::Failed(_) | CallError::TimedOut(_));
        self.again(attempt, if may_pass { End::NotYet(blame) } else { End::Never(blame) });
    }

    /// Rests before another attempt, or leaves it at this one.
    pub(super) fn again(&mut self, attempt: Attempt, end: End) {
        let retry = self.retry_of(&attempt);
        let is_last = attempt.number >= retry.attempts || self.is_doomed(attempt.frame);
        match end {
            End::NotYet(_) if !is_last => {
                let lasts = duration::backoff(retry.backoff, retry.factor, attempt.number);
                if self.is_of_graph(&attempt) {
                    self.rest(attempt, lasts);
                } else {
                    let rest = self.world.after(lasts);
                    self.fly(attempt, Leg::Rest(rest));
                }
            }
            end => self.settle(&attempt, end),
        }
    }

    /// It ends for good.
    pub(super) fn settle(&mut self, attempt: &Attempt, end: End) {
        let end = match end {
            End::Result(result) => Ok(result),
            End::NotYet(blame) | End::Never(blame) => Err(blame),
        };
        match attempt.doing {
            Doing::Step { step, item } => self.ended(attempt.frame, step, item, end.map(Some)),
            Doing::Undo => self.undone(attempt.frame, end.map(drop)),
        }
    }

    /// Keeps what a call was made with, where people changed that.
    fn note_amended(&mut self, attempt: &Attempt, call: &W::Pending) {
        let Some(amended) = self.world.amended(call) else { return };
        let frame = self.frames.get_mut(&attempt.frame).expect("a graph is there while calls of it are on their way");
        let who = match attempt.doing {
            Doing::Step { step, .. } => format!("step `{}`", frame.graph.steps[step].id),
            Doing::Undo => frame.undo.last().map_or_else(String::new, |undo| format!("what undoes `{}`", undo.label)),
        };
        self.world.warn(&format!("{who}: whoever approved its call changed the arguments to {amended}"));
        if let Doing::Step { step, item } = attempt.doing
            && let State::Running(progress) = &mut frame.states[step]
        {
            progress.amended[item] = Some(amended);
        }
    }

    /// Whether it is a question to people.
    pub(super) fn is_question(&self, attempt: &Attempt) -> bool {
        self.call_of(attempt).tool.eq_ignore_ascii_case(ASK)
    }

    fn blame(&self, attempt: &Attempt, error: &CallError) -> Blame {
        let frame = &self.frames[&attempt.frame];
        let (id, key) = match attempt.doing {
            Doing::Step { step, .. } => (frame.graph.steps[step].id, "with"),
            Doing::Undo => (frame.undo.last().map_or("", |undo| undo.step.id), "compensate"),
        };
        Blame::call(id, key, self.call_of(attempt).tool, error, attempt.number)
    }

    fn call_of(&self, attempt: &Attempt) -> &'p Call<'e> {
        let frame = &self.frames[&attempt.frame];
        let called = match attempt.doing {
            Doing::Step { step, .. } => match &frame.graph.steps[step].action {
                Action::Call(call) => Some(call),
                Action::Sleep(_) | Action::Graph(_) => None,
            },
            Doing::Undo => frame.undo.last().map(|undo| &undo.compensate.call),
        };
        called.expect("only what calls has calls on their way")
    }

    fn retry_of(&self, attempt: &Attempt) -> Retry {
        let frame = &self.frames[&attempt.frame];
        match attempt.doing {
            Doing::Step { step, .. } => frame.graph.steps[step].retry,
            Doing::Undo => frame.undo.last().map_or_else(Retry::default, |undo| undo.compensate.retry),
        }
    }

    fn timeout_of(&self, attempt: &Attempt) -> Option<core::time::Duration> {
        let frame = &self.frames[&attempt.frame];
        match attempt.doing {
            Doing::Step { step, .. } => frame.graph.steps[step].timeout,
            Doing::Undo => frame.undo.last()?.compensate.timeout,
        }
    }

    /// A graph that was run for a step is over.
    pub(super) fn delivered(&mut self, frame: Frame<'p, 'e>, parent: Parent) {
        debug_assert_eq!(frame.phase, Phase::Finally, "only what has cleaned up is over");
        let doing = Doing::Step { step: parent.step, item: parent.item };
        let attempt = Attempt { frame: parent.frame, doing, number: parent.number, arguments: Json::Null };
        self.frame(parent.frame).busy -= 1;
        self.depths[parent.depth] -= 1;
        match &frame.failed {
            None => {
                let result = frame.result();
                self.frame(parent.frame).undo.extend(frame.undo);
                self.came(attempt, result);
            }
            Some(_) => {
                let blame = frame.blame();
                let end = if blame.may_pass { End::NotYet(blame) } else { End::Never(blame) };
                self.again(attempt, end);
            }
        }
    }
}
