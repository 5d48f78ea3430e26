//! What the next fire would meet while a mission runs, for people who choose a policy.
//!
//! Owns which fire that is. What becomes of it the table of `policy` says; nothing is decided here.

use jiff::Timestamp;

use crate::policy::{Overlap, Place};
use crate::position::Position;
use crate::schedule::{Fire, Schedule};

/// The next fire of a schedule, and where each policy would send it if what runs and waits now still did then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// The fire.
    pub fire: Fire,
    /// By policy, in the order of [`Overlap::ALL`].
    pub places: [(Overlap, Place); Overlap::ALL.len()],
}

/// What the next fire after now would meet. `None` where nothing runs, where there is no such fire, and where it falls into a pause.
#[must_use]
pub fn outlook(schedule: &Schedule, position: &Position, running: usize, now: Timestamp) -> Option<Outlook> {
    if running == 0 || position.runs_left(schedule) == Some(0) {
        return None;
    }
    let fire = schedule.next(position.considered().max(now)).filter(|fire| !position.pauses().hold(fire.due))?;
    let waiting = position.waiting().count();
    Some(Outlook { fire, places: Overlap::ALL.map(|overlap| (overlap, overlap.place(running, waiting))) })
}
