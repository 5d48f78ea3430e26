//! The times to come, for people: in UTC, by the zone's clock, with a mark where that clock changes.
//!
//! Owns the marks. Never decides a fire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::position::Origin;
use crate::schedule::Schedule;
use crate::window::FireWindow;

/// What a clock change has to do with a fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// Its own time was left out: it fires at the gap's end.
    Gap,
    /// The clock shows its time twice.
    Fold,
}

/// A fire to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upcoming {
    /// The time that it is named after, in UTC.
    pub at: Timestamp,
    /// The same as RFC 3339 with the zone's offset.
    pub local: String,
    /// What a clock change has to do with it.
    pub note: Option<Note>,
    /// When it happens, jitter included.
    pub due: Timestamp,
    /// When its mission may run, before the hours of lane and node.
    pub window: FireWindow,
}

/// The next `count` fires after `after`, as far as there are so many.
#[must_use]
pub fn upcoming(schedule: &Schedule, after: Timestamp, count: usize) -> Vec<Upcoming> {
    let mut after = after;
    let next = || {
        let hit = schedule.next_hit(after)?;
        after = hit.at;
        let fire = schedule.fire(hit.at);
        let folded = || schedule.zone().is_twice(hit.at).then_some(Note::Fold);
        Some(Upcoming {
            at: hit.at,
            local: schedule.zone().shown(hit.at),
            note: if hit.moved { Some(Note::Gap) } else { folded() },
            due: fire.due,
            window: schedule.window(fire, Origin::Scheduled, fire.due),
        })
    };
    std::iter::from_fn(next).take(count).collect()
}
