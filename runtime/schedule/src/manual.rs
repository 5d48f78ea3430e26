//! What people and missions do to a schedule: trigger it, fill in what is over, pause it, change it, fail.
//!
//! Every function answers with [`Action`]s, as `decide` does. Owns the name of a fire that is none of the schedule's times, and
//! what a change of a schedule does to what was due. Never acts.

use jiff::{SignedDuration, Timestamp};

use crate::decide::{Turn, decide, floor};
use crate::policy::Overlap;
use crate::position::{
    Action, BACKFILLS_MAX, Backfill, ByHand, Order, Origin, Pauses, Position, SkipReason, Span, just_before,
};
use crate::schedule::{Fire, Schedule};

/// How far from now a trigger looks for a second that no fire is named after.
const TRIGGER_SECONDS: i64 = 60;

/// Most times of one backfill: each is a mission.
pub const BACKFILL_MAX: usize = 10_000;

/// Why a schedule cannot be triggered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TriggerError {
    /// Each second of the next minute is a fire's already.
    #[error("this schedule fires each second: there is no time left to name another mission after")]
    NoTime,
}

/// Why times that are over cannot be filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BackfillError {
    /// The range ends before it begins.
    #[error("the backfill ends before it begins: change `from` and `to`")]
    Range,
    /// Nothing of the range is over.
    #[error("nothing of this range is over yet: the schedule itself will fire then; change `from`")]
    NotOver,
    /// The range has too many times.
    #[error("the range has more than {BACKFILL_MAX} times: fill it in by parts")]
    TooLong,
    /// Too many are under way.
    #[error("{BACKFILLS_MAX} backfills are under way: wait until one has ended")]
    TooMany,
}

/// Fires now, paused or not, under the schedule's overlap policy or another one.
///
/// It is named after this second, or the next one that names no other fire of this schedule.
///
/// # Errors
/// [`TriggerError`] where there is no such second.
pub fn trigger(
    schedule: &Schedule,
    position: &Position,
    running: usize,
    now: Timestamp,
    overlap: Option<Overlap>,
) -> Result<Vec<Action>, TriggerError> {
    // Beyond the last trigger, also where the clock was set back since: no two share a name.
    let from = position.triggered.map_or(floor(now), |last| floor(now).max(later(last, 1)));
    let free = (0..TRIGGER_SECONDS).map(|seconds| later(from, seconds)).find(|at| !schedule.fires_at(*at));
    let at = free.ok_or(TriggerError::NoTime)?;
    let mut turn = Turn::new(schedule, position, running, now);
    turn.overlap(Fire { at, due: now }, Origin::Triggered, overlap.unwrap_or(schedule.overlap));
    Ok(turn.actions)
}

fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// Makes the missions of times that are over: from `from` to `to`, both included, as far as the schedule has come.
///
/// A time that has been fired has its mission: making it again finds it by its id.
///
/// # Errors
/// [`BackfillError`] where there is nothing to fill in, or no room for it.
pub fn backfill(
    schedule: &Schedule,
    position: &Position,
    from: Timestamp,
    to: Timestamp,
    order: Order,
) -> Result<Vec<Action>, BackfillError> {
    let to = to.min(position.considered);
    if from > to {
        return Err(if from > position.considered { BackfillError::NotOver } else { BackfillError::Range });
    }
    if position.backfills.len() >= BACKFILLS_MAX {
        return Err(BackfillError::TooMany);
    }
    // The walk goes on after a whole second: a time of `from` itself is included, one before it is not.
    let whole = floor(from);
    let after = if whole == from { just_before(from) } else { whole };
    let times = std::iter::successors(schedule.next_hit(after), |hit| schedule.next_hit(hit.at));
    if times.take_while(|hit| hit.at <= to).nth(BACKFILL_MAX).is_some() {
        return Err(BackfillError::TooLong);
    }
    Ok(vec![Action::BackfillBegan { backfill: Backfill { after, to, order } }])
}

/// Pauses it by hand, until somebody resumes it or that time comes. Fires that are due meanwhile are skipped; what waits keeps waiting.
#[must_use]
pub fn pause(position: &Position, until: Option<Timestamp>, note: Option<String>) -> Vec<Action> {
    let pauses = Pauses { by_hand: Some(ByHand { until, note }), ..position.pauses.clone() };
    if pauses == position.pauses { vec![] } else { vec![Action::Paused { pauses }] }
}

/// Lifts every pause, by hand or not.
#[must_use]
pub fn resume(position: &Position) -> Vec<Action> {
    if position.pauses == Pauses::default() { vec![] } else { vec![Action::Resumed] }
}

/// One of its missions has ended; `None` for one that was cancelled, which says nothing about the next.
///
/// After `pause_after_failures` in a row the schedule pauses. A success ends the row, and lifts no pause: somebody is to look at it.
#[must_use]
pub fn ended(schedule: &Schedule, position: &Position, succeeded: Option<bool>) -> Vec<Action> {
    let count = match succeeded {
        None => return vec![],
        Some(true) => 0,
        Some(false) => position.failures.saturating_add(1),
    };
    let mut actions = vec![];
    if count != position.failures {
        actions.push(Action::Failures { count });
    }
    let enough = schedule.pause_after_failures.is_some_and(|most| count >= most);
    if enough && position.pauses.after_failures.is_none() {
        let pauses = Pauses { after_failures: Some(count), ..position.pauses.clone() };
        actions.push(Action::Paused { pauses });
    }
    actions
}

/// Puts another schedule in the place of one. What was due of the old one is seen to first; no time of the new one before now is
/// its own. A fire that jitter still held back is fired by the new one if that has the same time, else it is skipped.
#[must_use]
pub fn revise(old: &Schedule, new: &Schedule, position: &Position, running: usize, now: Timestamp) -> Vec<Action> {
    let mut actions = vec![];
    let mut position = position.clone();
    let mut running = running;
    loop {
        let further = decide(old, &position, running, now);
        if further.is_empty() {
            break;
        }
        for action in &further {
            position.apply(action);
            match action {
                Action::Fired { .. } => running += 1,
                Action::CancelledOthers => running = 0,
                _ => {}
            }
        }
        actions.extend(further);
    }
    let mut considered = floor(now);
    let runs_out = position.runs_left(old) == Some(0);
    // At most one: jitter ends before the next fire's time.
    if let Some(held) = old.next(position.considered).filter(|fire| fire.at <= now && !runs_out) {
        if new.fires_at(held.at) {
            considered = just_before(held.at);
        } else {
            let reason = SkipReason::Revised;
            actions.push(Action::Skipped {
                fires: Span::one(held.at),
                origin: Origin::Scheduled,
                waited: false,
                reason,
            });
        }
    }
    actions.push(Action::Revised { considered });
    actions
}
