//! How long a mission is kept once it is over.
//!
//! Whoever removes them asks about each. One whose events have not all been delivered is kept, whatever its
//! age: its control plane has not heard of its end. So is one that somebody wants kept.

use alloc::string::String;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};
use sortie_contract::LaneId;
use sortie_contract::envelope::MissionType;
use sortie_contract::outcome::Status;

/// When final missions are removed. Without any bound they are kept for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// So long after their end.
    pub age: Option<SignedDuration>,
    /// The oldest, where there are more final ones than this.
    pub missions: Option<usize>,
}

/// Bounds for some missions, in the place of those for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// Of this lane; `None`: of any.
    pub lane: Option<LaneId>,
    /// Of this type.
    pub mission_type: Option<MissionType>,
    /// That this schedule made.
    pub schedule: Option<String>,
    /// What holds of them.
    pub bounds: Retention,
}

/// What holds of which missions: the first rule that fits, else what holds of all others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retentions {
    /// Of all others.
    pub general: Retention,
    /// In this order.
    pub rules: Vec<RetentionRule>,
}

/// By what it is told which rule fits a mission.
#[derive(Clone, Copy)]
pub struct KeptAs<'a> {
    /// Its lane.
    pub lane: &'a LaneId,
    /// Its type.
    pub mission_type: MissionType,
    /// Whether the schedule of that name made it.
    pub made_by: &'a dyn Fn(&str) -> bool,
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
    /// Whether somebody wants it kept.
    pub pinned: bool,
    /// How many final missions of which the same holds were accepted after it; those that somebody wants kept are beside them.
    pub newer: usize,
}

impl Retention {
    /// Whether a mission has outlived its use.
    #[must_use]
    pub fn is_over(&self, mission: Kept, wall: Timestamp) -> bool {
        let Kept { status, ended_at, delivered, quarantined, pinned, newer } = mission;
        let old = self.age.is_some_and(|age| wall.duration_since(ended_at) >= age);
        let many = self.missions.is_some_and(|missions| newer >= missions);
        status.is_final() && delivered && !quarantined && !pinned && (old || many)
    }
}

impl RetentionRule {
    /// Whether it is of such a mission: all that it names must be so.
    fn fits(&self, mission: KeptAs<'_>) -> bool {
        self.lane.as_ref().is_none_or(|lane| lane == mission.lane)
            && self.mission_type.is_none_or(|kind| kind == mission.mission_type)
            && self.schedule.as_deref().is_none_or(|schedule| (mission.made_by)(schedule))
    }
}

impl Retentions {
    /// The place of what holds of a mission among [`Retentions::each`].
    #[must_use]
    pub fn place_of(&self, mission: KeptAs<'_>) -> usize {
        self.rules.iter().position(|rule| rule.fits(mission)).unwrap_or(self.rules.len())
    }

    /// What holds of which: those of the rules in their order, then that of all others.
    pub fn each(&self) -> impl Iterator<Item = Retention> + '_ {
        self.rules.iter().map(|rule| rule.bounds).chain(core::iter::once(self.general))
    }

    /// The shortest age: how often it is worth a look.
    #[must_use]
    pub fn shortest(&self) -> Option<SignedDuration> {
        self.each().filter_map(|bounds| bounds.age).min()
    }
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::vec;

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
            let (quarantined, pinned) = (false, false);
            let mission = Kept { status, ended_at: at(ended), delivered, quarantined, pinned, newer };
            assert_eq!(retention.is_over(mission, at(1_000)), expected, "{mission:?}");
            assert!(!Retention::default().is_over(mission, at(1_000)), "without a bound: {mission:?}");
            let quarantined = Kept { quarantined: true, ..mission };
            assert!(!retention.is_over(quarantined, at(1_000)), "its bytes are kept: {mission:?}");
            let pinned = Kept { pinned: true, ..mission };
            assert!(!retention.is_over(pinned, at(1_000)), "somebody wants it kept: {mission:?}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_whole_holds_of_a_mission() {
        let lane = |name: &str| LaneId::new(name).expect("valid");
        let rule = |of: Option<&str>, mission_type, schedule: Option<&str>, missions| RetentionRule {
            lane: of.map(lane),
            mission_type,
            schedule: schedule.map(ToOwned::to_owned),
            bounds: Retention { age: None, missions: Some(missions) },
        };
        let age = SignedDuration::from_secs(9);
        let retentions = Retentions {
            general: Retention { age: Some(age), missions: None },
            rules: vec![
                rule(Some("coder"), None, Some("nightly"), 0),
                rule(None, None, Some("nightly"), 1),
                rule(Some("coder"), Some(MissionType::Coding), None, 2),
                rule(None, Some(MissionType::Research), None, 3),
            ],
        };
        for (of, mission_type, schedule, expected) in [
            ("coder", MissionType::Coding, Some("nightly"), 0),
            ("coder", MissionType::Coding, Some("weekly"), 2),
            ("coder", MissionType::Coding, None, 2),
            ("coder", MissionType::Automation, None, 4),
            ("general", MissionType::Coding, Some("nightly"), 1),
            ("general", MissionType::Research, Some("nightly"), 1),
            ("general", MissionType::Research, None, 3),
            ("coder", MissionType::Research, None, 3),
            ("general", MissionType::Automation, None, 4),
        ] {
            let made_by = |named: &str| schedule == Some(named);
            let place = retentions.place_of(KeptAs { lane: &lane(of), mission_type, made_by: &made_by });
            assert_eq!(place, expected, "{of} {mission_type:?} {schedule:?}");
        }
        let each: Vec<_> = retentions.each().collect();
        assert_eq!((each[2].missions, each[4]), (Some(2), retentions.general));
        assert_eq!(retentions.shortest(), Some(age), "of those that have one");
        assert_eq!(Retentions::default().shortest(), None);
    }
}
