//! What is due, and what becomes of it.
//!
//! Owns the order in which policies are asked: pause, window, catch-up, overlap. Each due fire leaves here exactly once: fired,
//! skipped with a reason, or missed; or it waits, and leaves later. Never acts: it answers with [`Action`]s.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::policy::{CatchUpPolicy, Overlap, Place, RUNNING_MAX};
use crate::position::{Action, BUFFER_MAX, Backfill, MissReason, Order, Origin, Position, SkipReason, Span, Waiting};
use crate::schedule::{Fire, Schedule};

/// From this on a fire is late, and a matter of `catch_up`: until then nobody notices.
pub const LATE: Duration = Duration::from_secs(60);

/// Most fires that one decision looks at. After a year of downtime there are more: whoever asked asks again.
pub const CONSIDERED_MAX: usize = 1_000;

/// What is to happen now, while `running` missions of this schedule have not ended.
///
/// The answer is empty when nothing is. Otherwise there may be more: record, [apply](Position::apply), act, and ask again.
#[must_use]
pub fn decide(schedule: &Schedule, position: &Position, running: usize, now: Timestamp) -> Vec<Action> {
    let mut turn = Turn::new(schedule, position, running, now);
    turn.clear_waiting();
    turn.release();
    turn.see_to_due();
    turn.fill_back();
    turn.actions
}

/// When to ask again, if no mission ends, nothing else happens and there is nothing to do now: a fire is due, or the window of one that
/// waits or is held up is over.
#[must_use]
pub fn wakes_at(schedule: &Schedule, position: &Position, now: Timestamp) -> Option<Timestamp> {
    let runs_out = position.runs_left(schedule) == Some(0);
    let next = if runs_out { None } else { schedule.next(position.considered) };
    let closes = |fire| schedule.window(fire, Origin::Scheduled, fire.due).closes;
    // What is due and still there is held up until a mission ends.
    let due = next.and_then(|fire| if fire.due > now { Some(fire.due) } else { closes(fire) });
    let own = position.waiting.iter().filter(|waiting| waiting.origin == Origin::Scheduled);
    let over = own.filter_map(|waiting| closes(waiting.fire)).min();
    // A clock that was set back comes to their times again.
    let again = position.waiting.iter().map(|waiting| waiting.fire.due).filter(|due| *due > now).min();
    [due, over, again].into_iter().flatten().min()
}

/// One decision on its way: the position as it will be.
pub(crate) struct Turn<'s> {
    schedule: &'s Schedule,
    pub(crate) position: Position,
    running: usize,
    now: Timestamp,
    pub(crate) actions: Vec<Action>,
    looked_at: usize,
}

impl<'s> Turn<'s> {
    pub(crate) fn new(schedule: &'s Schedule, position: &Position, running: usize, now: Timestamp) -> Self {
        Self { schedule, position: position.clone(), running, now, actions: vec![], looked_at: 0 }
    }

    fn take(&mut self, action: Action) {
        self.position.apply(&action);
        match action {
            Action::Fired { .. } => self.running += 1,
            Action::CancelledOthers => self.running = 0,
            _ => {}
        }
        if !self.actions.last_mut().is_some_and(|last| is_continued(last, &action)) {
            self.actions.push(action);
        }
    }

    fn skip(&mut self, fire: Fire, origin: Origin, waited: bool, reason: SkipReason) {
        self.take(Action::Skipped { fires: Span::one(fire.at), origin, waited, reason });
    }

    fn fired(&mut self, fire: Fire, origin: Origin, waited: bool) {
        let own = origin == Origin::Scheduled && !waited;
        let late_ms = if own { u64::try_from(self.lateness(fire).as_millis()).unwrap_or(u64::MAX) } else { 0 };
        self.take(Action::Fired { fire, origin, waited, late_ms });
    }

    fn lateness(&self, fire: Fire) -> Duration {
        Duration::try_from(self.now.duration_since(fire.due)).unwrap_or_default()
    }

    fn is_window_over(&self, fire: Fire, origin: Origin) -> bool {
        origin == Origin::Scheduled && self.schedule.window(fire, origin, self.now).is_over(self.now)
    }

    fn is_out_of_runs(&self) -> bool {
        self.position.runs_left(self.schedule) == Some(0)
    }

    /// What waits and cannot come any more. After a pause nothing of before it runs, but for what a person asked for.
    fn clear_waiting(&mut self) {
        let all: Vec<Waiting> = self.position.waiting.iter().copied().collect();
        let paused = self.position.pauses.hold(self.now);
        for Waiting { fire, origin } in all {
            if paused && origin == Origin::Scheduled {
                self.skip(fire, origin, true, SkipReason::Paused);
            } else if self.is_window_over(fire, origin) {
                self.skip(fire, origin, true, SkipReason::WindowOver);
            } else if origin == Origin::Scheduled && self.is_out_of_runs() {
                self.skip(fire, origin, true, SkipReason::RunsOut);
            }
        }
    }

    /// What waits and has its turn. A clock that was set back to before its time holds up what the schedule itself made; nothing holds
    /// up what a person asked for.
    fn release(&mut self) {
        let together = self.schedule.overlap == Overlap::AllowAll;
        while self.running == 0 || together && self.running < RUNNING_MAX {
            let free = |waiting: &&Waiting| waiting.origin != Origin::Scheduled || waiting.fire.due <= self.now;
            let Some(Waiting { fire, origin }) = self.position.waiting.iter().find(free).copied() else { break };
            self.fired(fire, origin, true);
            // What it fired may have been the last.
            self.clear_waiting();
        }
    }

    /// The schedule's own times, in order.
    fn see_to_due(&mut self) {
        let mut next = self.schedule.next(self.position.considered);
        while let Some(fire) = next.filter(|fire| fire.due <= self.now) {
            if self.is_out_of_runs() || self.looked_at == CONSIDERED_MAX {
                return;
            }
            self.looked_at += 1;
            next = self.schedule.next(fire.at);
            let newer = next.is_some_and(|newer| newer.due <= self.now);
            if !self.leave_out(fire, newer) && !self.overlap(fire, Origin::Scheduled, self.schedule.overlap) {
                return;
            }
        }
    }

    /// Leaves out a fire that does not come to the overlap policy: one of a pause, one that is too late, one that a newer one would cancel
    /// at once. `false` where it is none of these.
    fn leave_out(&mut self, fire: Fire, newer: bool) -> bool {
        if self.position.pauses.hold(fire.due) || self.position.pauses.hold(self.now) {
            self.skip(fire, Origin::Scheduled, false, SkipReason::Paused);
        } else if let Some(reason) = self.missed(fire, newer) {
            self.take(Action::Missed { fires: Span::one(fire.at), reason });
        } else if newer && self.schedule.overlap == Overlap::CancelOther {
            self.skip(fire, Origin::Scheduled, false, SkipReason::Superseded);
        } else {
            return false;
        }
        true
    }

    /// Whether it is too late for a fire.
    fn missed(&self, fire: Fire, newer: bool) -> Option<MissReason> {
        let late = self.lateness(fire);
        if self.is_window_over(fire, Origin::Scheduled) {
            return Some(MissReason::WindowOver);
        }
        if late <= LATE {
            return None;
        }
        match self.schedule.catch_up_policy {
            CatchUpPolicy::None => Some(MissReason::NotCaughtUp),
            _ if late > self.schedule.catch_up => Some(MissReason::TooLate),
            CatchUpPolicy::Last if newer => Some(MissReason::NotTheLast),
            CatchUpPolicy::Last | CatchUpPolicy::All => None,
        }
    }

    /// What the overlap policy makes of a fire; `false` where that is held up.
    pub(crate) fn overlap(&mut self, fire: Fire, origin: Origin, overlap: Overlap) -> bool {
        match overlap.place(self.running, self.position.waiting.len()) {
            Place::Fire => self.fired(fire, origin, false),
            Place::CancelAndFire => {
                self.take(Action::CancelledOthers);
                self.fired(fire, origin, false);
            }
            Place::Wait => self.take(Action::Buffered { waiting: Waiting { fire, origin } }),
            Place::Skip => self.skip(fire, origin, false, SkipReason::Overlap),
            Place::Full => self.skip(fire, origin, false, SkipReason::BufferFull),
            Place::HoldUp => return false,
        }
        true
    }

    /// What is due of a schedule that gives its place to `new` and could not be made: it waits for its turn where the new one has the
    /// same time, else it is left out.
    pub(crate) fn hand_over(&mut self, new: &Schedule) {
        let mut next = self.schedule.next(self.position.considered);
        while let Some(fire) = next.filter(|fire| fire.due <= self.now && !self.is_out_of_runs()) {
            next = self.schedule.next(fire.at);
            let newer = next.is_some_and(|newer| newer.due <= self.now);
            if self.leave_out(fire, newer) {
                continue;
            }
            if !new.fires_at(fire.at) {
                self.skip(fire, Origin::Scheduled, false, SkipReason::Revised);
            } else if self.position.waiting.len() < BUFFER_MAX {
                self.take(Action::Buffered { waiting: Waiting { fire, origin: Origin::Scheduled } });
            } else {
                self.skip(fire, Origin::Scheduled, false, SkipReason::BufferFull);
            }
        }
    }

    /// What was asked for of times that are over: in turn only while nothing of the schedule's own runs or waits, so that no
    /// backfill pushes a night out.
    fn fill_back(&mut self) {
        while let Some(Backfill { after, to, order }) = self.position.backfills.front().copied() {
            let busy = self.running > 0 || !self.position.waiting.is_empty();
            match self.schedule.next_hit(after).filter(|hit| hit.at <= to) {
                None => self.take(Action::BackfillEnded),
                Some(_) if order == Order::InTurn && busy || self.running >= RUNNING_MAX => return,
                Some(_) if self.looked_at == CONSIDERED_MAX => return,
                Some(hit) => {
                    self.looked_at += 1;
                    // Nobody waits for a second of jitter in the past.
                    self.fired(Fire { at: hit.at, due: self.now }, Origin::Backfilled, false);
                }
            }
        }
    }
}

/// Makes one of two actions that say the same of fires in a row.
fn is_continued(last: &mut Action, next: &Action) -> bool {
    let (span, further) = match (last, next) {
        (Action::Missed { fires, reason }, Action::Missed { fires: further, reason: same }) if reason == same => {
            (fires, further)
        }
        (
            Action::Skipped { fires, origin: Origin::Scheduled, waited: false, reason },
            Action::Skipped { fires: further, origin: Origin::Scheduled, waited: false, reason: same },
        ) if reason == same => (fires, further),
        _ => return false,
    };
    span.last = further.last;
    span.count += further.count;
    true
}

/// The whole second of an instant.
pub(crate) fn floor(at: Timestamp) -> Timestamp {
    let nanoseconds = i64::from(at.subsec_nanosecond()).rem_euclid(1_000_000_000);
    at.saturating_sub(SignedDuration::from_nanos(nanoseconds)).unwrap_or(at)
}
