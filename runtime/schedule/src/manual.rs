//! What people and missions do to a schedule: trigger it, fill in what is over, pause it, change it, fail.
//!
//! Every function answers with [`Action`]s, as `decide` does. Owns the name of a fire that is none of the schedule's times, and
//! what a change of a schedule does to what was due. Never acts.

use jiff::{SignedDuration, Timestamp};
use sortie_contract::mistake::code;
use sortie_contract::{Mistake, Status};

use crate::decide::{Turn, decide, floor};
use crate::policy::{Overlap, RUNNING_MAX};
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
    /// As many missions run as may.
    #[error("{RUNNING_MAX} missions of this schedule are under way: wait until one has ended")]
    HeldUp,
}

/// Why times that are over cannot be filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BackfillError {
    /// The range ends before it begins.
    #[error("the backfill ends before it begins: change `from` and `to`")]
    Range,
    /// The range has no time.
    #[error("the schedule has none of its times in this range: change `from` and `to`")]
    NoTimes,
    /// No time of the range is over.
    #[error("no time of this range is over yet: the schedule itself will fire then; change `from`")]
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
/// [`TriggerError`] where there is no such second, or no room.
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
    let overlap = overlap.unwrap_or(schedule.overlap);
    let is_seen_to = turn.overlap(Fire { at, due: now }, Origin::Triggered, overlap);
    if is_seen_to { Ok(turn.actions) } else { Err(TriggerError::HeldUp) }
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
    if from > to {
        return Err(BackfillError::Range);
    }
    // The walk goes on after a whole second: a time of `from` itself is included, one before it is not.
    let whole = floor(from);
    let after = if whole == from { just_before(from) } else { whole };
    let first = schedule.next_hit(after).filter(|hit| hit.at <= to).ok_or(BackfillError::NoTimes)?;
    if first.at > position.considered {
        return Err(BackfillError::NotOver);
    }
    if position.backfills.len() >= BACKFILLS_MAX {
        return Err(BackfillError::TooMany);
    }
    let to = to.min(position.considered);
    let times = std::iter::successors(Some(first), |hit| schedule.next_hit(hit.at));
    if times.take_while(|hit| hit.at <= to).nth(BACKFILL_MAX).is_some() {
        return Err(BackfillError::TooLong);
    }
    Ok(vec![Action::BackfillBegan { backfill: Backfill { after, to, order } }])
}

/// Pauses it by hand, until somebody resumes it or that time comes. Fires that wait for their turn, and those that are due meanwhile, are
/// skipped; what a person asked for is not.
#[must_use]
pub fn pause(position: &Position, until: Option<Timestamp>, note: Option<String>) -> Vec<Action> {
    let pauses = Pauses { by_hand: Some(ByHand { until, note }), ..position.pauses.clone() };
    if pauses == position.pauses { vec![] } else { paused(position, pauses) }
}

/// A pause, and what it does to what waits: in one with it, so that nothing of before it runs after it.
fn paused(position: &Position, pauses: Pauses) -> Vec<Action> {
    let own = position.waiting.iter().filter(|waiting| waiting.origin == Origin::Scheduled);
    let skipped = own.map(|waiting| Action::Skipped {
        fires: Span::one(waiting.fire.at),
        origin: Origin::Scheduled,
        waited: true,
        reason: SkipReason::Paused,
    });
    std::iter::once(Action::Paused { pauses }).chain(skipped).collect()
}

/// Lifts every pause, by hand or not.
#[must_use]
pub fn resume(position: &Position) -> Vec<Action> {
    if position.pauses == Pauses::default() { vec![] } else { vec![Action::Resumed] }
}

/// One of its missions has ended so. One that was cancelled says nothing about the next.
///
/// After `pause_after_failures` in a row the schedule pauses. A success ends the row, and lifts no pause: somebody is to look at it.
#[must_use]
pub fn ended(schedule: &Schedule, position: &Position, status: Status) -> Vec<Action> {
    match status {
        Status::Completed => failures(schedule, position, 0),
        Status::Failed | Status::TimedOut => failures(schedule, position, position.failures.saturating_add(1)),
        Status::Cancelled | Status::Queued | Status::Running | Status::Blocked => vec![],
    }
}

/// The mission of a fire is refused: it counts as one that failed, unless all that is said of it is that its lane or its node is closed
/// then. A holiday is no failure.
#[must_use]
pub fn refused(schedule: &Schedule, position: &Position, why: &[Mistake]) -> Vec<Action> {
    if is_closed(why) { Vec::new() } else { ended(schedule, position, Status::Failed) }
}

/// Whether a mission is refused for nothing but the hours of its lane and its node.
#[must_use]
pub fn is_closed(why: &[Mistake]) -> bool {
    !why.is_empty() && why.iter().all(|mistake| mistake.code == code::OUTSIDE_HOURS)
}

/// So many failed in a row.
fn failures(schedule: &Schedule, position: &Position, count: u32) -> Vec<Action> {
    let mut actions = vec![];
    if count != position.failures {
        actions.push(Action::Failures { count });
    }
    let enough = schedule.pause_after_failures.is_some_and(|most| count >= most);
    if enough && position.pauses.after_failures.is_none() {
        let pauses = Pauses { after_failures: Some(count), ..position.pauses.clone() };
        actions.extend(paused(position, pauses));
    }
    actions
}

/// What is due of a schedule before another one takes its place: all that [`decide`](decide()) says, one after the other.
#[must_use]
pub fn settle(schedule: &Schedule, position: &Position, running: usize, now: Timestamp) -> Vec<Action> {
    let mut actions = vec![];
    let mut position = position.clone();
    let mut running = running;
    loop {
        let further = decide(schedule, &position, running, now);
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
    actions
}

/// Puts another schedule in the place of one, whose times until now have been [settled](settle) as far as they could be. What is left of
/// them waits for its turn where the new one has the same time, else it is skipped. No time of the new one before now is its own. A fire
/// that jitter still held back is fired by the new one if that has the same time, else it is skipped.
///
/// The last action is the change itself.
#[must_use]
pub fn revise(old: &Schedule, new: &Schedule, position: &Position, now: Timestamp) -> Vec<Action> {
    let mut turn = Turn::new(old, position, 0, now);
    turn.hand_over(new);
    let Turn { position, mut actions, .. } = turn;
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
