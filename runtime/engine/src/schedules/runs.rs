//! The missions of schedules that have not ended, and those that just have: what tells a schedule that its turn has come.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_contract::{MissionNo, Status};
use tokio::sync::Notify;

/// See the module.
#[derive(Default)]
pub(crate) struct Runs {
    state: Mutex<State>,
    /// There may be something to see to.
    pub(super) news: Notify,
}

#[derive(Default)]
struct State {
    /// By mission, the schedule that it is of.
    going: FxHashMap<MissionNo, Arc<str>>,
    ended: FxHashMap<Arc<str>, Vec<(MissionNo, Status)>>,
}

impl Runs {
    /// A mission of this schedule is made.
    pub(super) fn begin(&self, no: MissionNo, schedule: &Arc<str>) {
        self.state.lock().going.insert(no, Arc::clone(schedule));
    }

    /// It was not, after all. Its number may be another's by now.
    pub(super) fn withdraw(&self, no: MissionNo, schedule: &str) {
        let mut state = self.state.lock();
        if state.going.get(&no).is_some_and(|of| **of == *schedule) {
            state.going.remove(&no);
        }
    }

    /// A mission has ended, of whatever it was.
    pub(crate) fn end(&self, no: MissionNo, status: Status) {
        let mut state = self.state.lock();
        let Some(schedule) = state.going.remove(&no) else { return };
        state.ended.entry(schedule).or_default().push((no, status));
        self.news.notify_one();
    }

    /// The schedule of a mission that has not ended.
    pub(super) fn schedule_of(&self, no: MissionNo) -> Option<Arc<str>> {
        self.state.lock().going.get(&no).cloned()
    }

    /// Schedules of which missions have ended.
    pub(super) fn with_ended(&self) -> Vec<Arc<str>> {
        self.state.lock().ended.keys().cloned().collect()
    }

    /// The missions of a schedule that have ended and are not seen to, in the order in which they did.
    pub(super) fn ended(&self, schedule: &str) -> Vec<(MissionNo, Status)> {
        self.state.lock().ended.get(schedule).cloned().unwrap_or_default()
    }

    /// They have been seen to.
    pub(super) fn seen_to(&self, schedule: &str, missions: usize) {
        let mut state = self.state.lock();
        if let Some(ended) = state.ended.get_mut(schedule) {
            ended.drain(..missions.min(ended.len()));
            if ended.is_empty() {
                state.ended.remove(schedule);
            }
        }
    }

    /// The schedule is gone; its missions are like any.
    pub(super) fn forget(&self, schedule: &str) {
        let mut state = self.state.lock();
        state.going.retain(|_, of| &**of != schedule);
        state.ended.remove(schedule);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_to_the_schedule_whose_mission_it_was() {
        let runs = Runs::default();
        let (nightly, weekly): (Arc<str>, Arc<str>) = ("nightly".into(), "weekly".into());
        runs.begin(MissionNo(1), &nightly);
        // The log gave the number to another one.
        runs.begin(MissionNo(1), &weekly);
        runs.withdraw(MissionNo(1), &nightly);
        runs.end(MissionNo(1), Status::Completed);
        runs.end(MissionNo(2), Status::Failed);
        assert_eq!(runs.with_ended(), [Arc::clone(&weekly)], "one that is of no schedule is nobody's");
        assert_eq!(runs.ended("weekly"), [(MissionNo(1), Status::Completed)]);
        runs.begin(MissionNo(3), &weekly);
        runs.end(MissionNo(3), Status::Failed);
        runs.seen_to("weekly", 1);
        assert_eq!(runs.ended("weekly"), [(MissionNo(3), Status::Failed)], "what came meanwhile is not lost");
        runs.forget("weekly");
        assert!(runs.with_ended().is_empty());
    }
}
