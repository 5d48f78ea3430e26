//! Which missions are queued, running or blocked, by number: what lists of them go by, so that a page of a hundred blocked
//! missions does not look through the million that are over.
//!
//! It is an index and no truth: built from the heads that are read at the start anyway, moved along with each head that says
//! something else, and whoever lists reads the head that is on disk. It holds eight bytes and a little for each mission that is not
//! over; the others, which only grow in number, are not in it.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use sortie_contract::{MissionNo, Status};

/// Missions that are not over, by status.
#[derive(Debug, Default)]
pub(crate) struct Standings(Mutex<[BTreeSet<MissionNo>; 3]>);

/// The place of a status; none for a final one.
fn place(status: Status) -> Option<usize> {
    match status {
        Status::Queued => Some(0),
        Status::Running => Some(1),
        Status::Blocked => Some(2),
        Status::Completed | Status::Failed | Status::Cancelled | Status::TimedOut => None,
    }
}

impl Standings {
    /// A mission stands otherwise than before; new ones stood nowhere.
    pub(crate) fn moved(&self, no: MissionNo, from: Option<Status>, to: Status) {
        if from == Some(to) {
            return;
        }
        let mut sets = self.0.lock();
        if let Some(place) = from.and_then(place) {
            sets[place].remove(&no);
        }
        if let Some(place) = place(to) {
            sets[place].insert(no);
        }
    }

    /// How many missions stand so; none are counted that are over.
    pub(crate) fn count(&self, status: Status) -> usize {
        place(status).map_or(0, |place| self.0.lock()[place].len())
    }

    /// Whether a mission is not over.
    pub(crate) fn has(&self, no: MissionNo) -> bool {
        self.0.lock().iter().any(|set| set.contains(&no))
    }

    /// Whether it knows all missions in these statuses. None are no statuses, but all.
    pub(crate) fn cover(statuses: &[Status]) -> bool {
        !statuses.is_empty() && statuses.iter().all(|status| place(*status).is_some())
    }

    /// At most `limit` missions in these statuses before `before`, newest first.
    pub(crate) fn newest_first(&self, statuses: &[Status], before: Option<MissionNo>, limit: usize) -> Vec<MissionNo> {
        let sets = self.0.lock();
        let before = before.unwrap_or(MissionNo(u64::MAX));
        let mut found = BTreeSet::new();
        for set in statuses.iter().filter_map(|status| Some(&sets[place(*status)?])) {
            found.extend(set.range(..before).rev().take(limit));
        }
        found.into_iter().rev().take(limit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mission_stands_in_one_place_until_it_is_over() {
        let standings = Standings::default();
        let found = |statuses: &[Status], before: Option<u64>, limit| {
            let found = standings.newest_first(statuses, before.map(MissionNo), limit);
            found.into_iter().map(|no| no.0).collect::<Vec<_>>()
        };
        (1..=6).for_each(|no| standings.moved(MissionNo(no), None, Status::Queued));
        standings.moved(MissionNo(2), Some(Status::Queued), Status::Running);
        standings.moved(MissionNo(4), Some(Status::Queued), Status::Running);
        standings.moved(MissionNo(4), Some(Status::Running), Status::Blocked);
        standings.moved(MissionNo(6), Some(Status::Queued), Status::Cancelled);
        assert_eq!(found(&[Status::Queued], None, 9), [5, 3, 1]);
        assert_eq!(found(&[Status::Queued, Status::Blocked, Status::Blocked], None, 3), [5, 4, 3]);
        assert_eq!(found(&[Status::Queued, Status::Running], Some(3), 9), [2, 1]);
        assert_eq!(found(&[Status::Blocked], Some(4), 9), [0_u64; 0]);
        assert!(Standings::cover(&[Status::Blocked]) && !Standings::cover(&[]));
        assert!(!Standings::cover(&[Status::Blocked, Status::Failed]), "those that are over are not in it");
    }
}
