//! How long a mission is kept once it is over.
//!
//! Whoever removes them asks about each. One whose events have not all been delivered is kept, whatever its
//! age: its control plane has not heard of its end.

use jiff::{SignedDuration, Timestamp};
use sortie_contract::outcome::Status;

/// When final missions are removed. Without any bound they are kept for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// So long after their end.
    pub age: Option<SignedDuration>,
    /// The oldest, where there are more final ones than this.
    pub missions: Option<usize>,
}

/// What has to be known of a mission.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// How it stands.
    pub status: Status,
    /// When it ended; when it was accepted, where that is not known.
    pub ended_at: Timestamp,
    /// Whether everything that it sends has been delivered.
    pub delivered: bool,
    /// Whether it is in quarantine: what is left of its records is for whoever looks into it, and they are few.
    pub quarantined: bool,
    /// How many final missions were accepted after it.
    pub newer: usize,
}

impl Retention {
    /// Whether a mission has outlived its use.
    #[must_use]
    pub fn is_over(&self, mission: Kept, wall: Timestamp) -> bool {
        let Kept { status, ended_at, delivered, quarantined, newer } = mission;
        let old = self.age.is_some_and(|age| wall.duration_since(ended_at) >= age);
        let many = self.missions.is_some_and(|missions| newer >= missions);
        status.is_final() && delivered && !quarantined && (old || many)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_final_and_delivered_is_kept_for_its_age_and_number() {
        let retention = Retention { age: Some(SignedDuration::from_secs(100)), missions: Some(3) };
        let at = |second| Timestamp::from_second(second).expect("in range");
        for (status, ended, delivered, newer, expected) in [
            (Status::Completed, 900, true, 0, true),
            (Status::Completed, 901, true, 0, false),
            (Status::Failed, 950, true, 2, false),
            (Status::Failed, 950, true, 3, true),
            (Status::Cancelled, 0, false, 9, false),
            (Status::Running, 0, true, 9, false),
            (Status::Blocked, 0, true, 9, false),
            (Status::Queued, 0, true, 9, false),
            // A clock that was set back makes nothing old.
            (Status::TimedOut, 2_000, true, 0, false),
        ] {
            let mission = Kept { status, ended_at: at(ended), delivered, quarantined: false, newer };
            assert_eq!(retention.is_over(mission, at(1_000)), expected, "{mission:?}");
            assert!(!Retention::default().is_over(mission, at(1_000)), "without a bound: {mission:?}");
            let quarantined = Kept { quarantined: true, ..mission };
            assert!(!retention.is_over(quarantined, at(1_000)), "its bytes are kept: {mission:?}");
        }
    }
}
