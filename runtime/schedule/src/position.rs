//! How far a schedule has come, and what can happen to it.
//!
//! A position is a fold over [`Action`]s: [`Position::apply`] is its only way on. Owns what is kept between two decisions, and its
//! bounds. Never asks what is due: `decide` does.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::schedule::{Fire, Schedule};

/// Most fires of one schedule that wait for their turn.
pub const BUFFER_MAX: usize = 100;

/// Most backfills of one schedule that are under way: each is a range, and they come one after the other.
pub const BACKFILLS_MAX: usize = 10;

/// Why there is a fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It is one of the schedule's times.
    Scheduled,
    /// Somebody asked for it.
    Triggered,
    /// Somebody asked for a time that is over.
    Backfilled,
}

/// Fires of a schedule in a row, from the first to the last: as many as it has times in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The time of the first.
    pub first: Timestamp,
    /// The time of the last.
    pub last: Timestamp,
    /// How many.
    pub count: u64,
}

impl Span {
    /// One fire.
    #[must_use]
    pub fn one(at: Timestamp) -> Self {
        Self { first: at, last: at, count: 1 }
    }
}

/// Why a fire was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// A mission of this schedule ran, or one waited already.
    Overlap,
    /// As many waited as can.
    BufferFull,
    /// A newer one was due, which would have cancelled it at once.
    Superseded,
    /// The schedule was paused.
    Paused,
    /// It waited until its window was over.
    WindowOver,
    /// It waited, and the schedule had fired as often as it may.
    RunsOut,
    /// The schedule was changed, and does not have this time any more.
    Revised,
}

/// Why a fire was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissReason {
    /// Nobody looked within `catch_up`.
    TooLate,
    /// Nobody looked while its window was open.
    WindowOver,
    /// `catch_up_policy` is `none`.
    NotCaughtUp,
    /// `catch_up_policy` is `last`, and a newer one was due.
    NotTheLast,
}

/// A fire that waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The fire.
    pub fire: Fire,
    /// Why there is one.
    pub origin: Origin,
}

/// How the fires of a backfill run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// One after the other.
    #[default]
    InTurn,
    /// All at once.
    Together,
}

/// A range of times that somebody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfill {
    /// Everything up to here has been made.
    pub after: Timestamp,
    /// The last time, included.
    pub to: Timestamp,
    /// How they run.
    pub order: Order,
}

/// What keeps a schedule from firing. A pause by hand and an automatic one stand beside each other: neither lifts the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pauses {
    /// Somebody paused it.
    pub by_hand: Option<ByHand>,
    /// It failed so often in a row.
    pub after_failures: Option<u32>,
}

/// A pause by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByHand {
    /// Until then (exclusive); `None` until it is lifted.
    pub until: Option<Timestamp>,
    /// Why.
    pub note: Option<String>,
}

impl Pauses {
    /// Whether a fire that is due then is held up.
    #[must_use]
    pub fn hold(&self, due: Timestamp) -> bool {
        let by_hand = self.by_hand.as_ref().is_some_and(|pause| pause.until.is_none_or(|until| due < until));
        by_hand || self.after_failures.is_some()
    }
}

/// Something that happens to a schedule. It is recorded before it is acted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Make the mission of this fire.
    Fired {
        /// The fire.
        fire: Fire,
        /// Why there is one.
        origin: Origin,
        /// Whether it had waited for its turn.
        waited: bool,
        /// How late it was looked at; of one that had waited, 0.
        late_ms: u64,
    },
    /// Cancel the missions of this schedule that have not ended: the next fire takes their place.
    CancelledOthers,
    /// It waits for its turn.
    Buffered {
        /// The fire.
        waiting: Waiting,
    },
    /// Left out, and why.
    Skipped {
        /// The fires.
        fires: Span,
        /// Why there were any.
        origin: Origin,
        /// Whether they had waited for their turn.
        waited: bool,
        /// Why they were left out.
        reason: SkipReason,
    },
    /// Times of the schedule that nobody saw to.
    Missed {
        /// The fires.
        fires: Span,
        /// Why nobody did.
        reason: MissReason,
    },
    /// A range of times was asked for.
    BackfillBegan {
        /// The range.
        backfill: Backfill,
    },
    /// The oldest range has been seen to.
    BackfillEnded,
    /// So many missions failed in a row.
    Failures {
        /// How many.
        count: u32,
    },
    /// It does not fire until this is lifted.
    Paused {
        /// By whom.
        pauses: Pauses,
    },
    /// Every pause is lifted, and failures are counted anew.
    Resumed,
    /// It was changed: fires up to `considered` were the old one's.
    Revised {
        /// The last time that has been seen to.
        considered: Timestamp,
    },
}

/// How far a schedule has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Every fire up to this time has been fired, skipped, recorded as missed, or waits. It never goes back.
    pub(crate) considered: Timestamp,
    /// The last time that was made up for a trigger.
    pub(crate) triggered: Option<Timestamp>,
    /// In order of arrival; at most [`BUFFER_MAX`].
    pub(crate) waiting: VecDeque<Waiting>,
    /// In order of arrival; at most [`BACKFILLS_MAX`].
    pub(crate) backfills: VecDeque<Backfill>,
    /// How many of its own times it has fired.
    pub(crate) fired: u64,
    /// How many missions failed in a row.
    pub(crate) failures: u32,
    pub(crate) pauses: Pauses,
}

impl Position {
    /// That of a schedule which is made now: no time before this is its own.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            considered: now,
            triggered: None,
            waiting: VecDeque::new(),
            backfills: VecDeque::new(),
            fired: 0,
            failures: 0,
            pauses: Pauses::default(),
        }
    }

    /// Every fire up to this time has been seen to.
    #[must_use]
    pub fn considered(&self) -> Timestamp {
        self.considered
    }

    /// The fires that wait for their turn, first come, first served.
    pub fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter()
    }

    /// The backfills that are under way.
    pub fn backfills(&self) -> impl Iterator<Item = &Backfill> {
        self.backfills.iter()
    }

    /// What keeps it from firing.
    #[must_use]
    pub fn pauses(&self) -> &Pauses {
        &self.pauses
    }

    /// How many missions failed in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// How often it still fires; `None` for ever.
    #[must_use]
    pub fn runs_left(&self, schedule: &Schedule) -> Option<u64> {
        schedule.runs().map(|runs| u64::from(runs).saturating_sub(self.fired))
    }

    /// Folds what has happened.
    pub fn apply(&mut self, action: &Action) {
        match action {
            Action::Fired { fire, origin, waited, .. } => {
                self.fired += u64::from(*origin == Origin::Scheduled);
                self.pass(*origin, *waited, fire.at, fire.at);
            }
            Action::Skipped { fires, origin, waited, .. } => self.pass(*origin, *waited, fires.first, fires.last),
            Action::Missed { fires, .. } => self.pass(Origin::Scheduled, false, fires.first, fires.last),
            Action::Buffered { waiting } => {
                self.pass(waiting.origin, false, waiting.fire.at, waiting.fire.at);
                self.waiting.push_back(*waiting);
            }
            Action::CancelledOthers => {}
            Action::BackfillBegan { backfill } => self.backfills.push_back(*backfill),
            Action::BackfillEnded => drop(self.backfills.pop_front()),
            Action::Failures { count } => self.failures = *count,
            Action::Paused { pauses } => self.pauses.clone_from(pauses),
            Action::Resumed => {
                self.pauses = Pauses::default();
                self.failures = 0;
            }
            Action::Revised { considered } => self.considered = self.considered.max(*considered),
        }
    }

    /// Fires from `first` to `last` have been seen to, where they came from.
    fn pass(&mut self, origin: Origin, waited: bool, first: Timestamp, last: Timestamp) {
        if waited {
            self.waiting
                .retain(|waiting| waiting.origin != origin || waiting.fire.at < first || waiting.fire.at > last);
            return;
        }
        match origin {
            Origin::Scheduled => self.considered = self.considered.max(last),
            Origin::Triggered => self.triggered = Some(last),
            Origin::Backfilled => {
                if let Some(backfill) = self.backfills.front_mut() {
                    backfill.after = last;
                }
            }
        }
    }
}

/// A second earlier, where there is one.
pub(crate) fn just_before(at: Timestamp) -> Timestamp {
    at.saturating_sub(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MIN)
}
