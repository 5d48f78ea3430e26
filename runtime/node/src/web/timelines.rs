//! Timelines that are kept for whoever looks next: a page that is open looks once a second, and a slider anywhere, at missions of a hundred
//! thousand records.
//!
//! What is kept is bounded, and no second truth: each is the fold of so many records of the journal.

use std::collections::VecDeque;

use parking_lot::Mutex;
use sortie_contract::MissionNo;
use sortie_engine::{Engine, ReadError};

use super::timeline::Timeline;

/// Missions of which timelines are kept.
const MISSIONS_MAX: usize = 16;
/// Beside the newest one of a mission, one is kept each time that so many records are behind the one before.
const STRIDE: u32 = 8 << 10;

/// What is kept.
#[derive(Default)]
pub(super) struct Timelines(Mutex<VecDeque<Kept>>);

/// Of a mission.
struct Kept {
    no: MissionNo,
    /// The longest last.
    timelines: Vec<Timeline>,
}

impl Timelines {
    /// That of a mission; where `until` is given, of so many of its records. Blocks.
    pub(super) fn read(&self, engine: &Engine, no: MissionNo, until: Option<u64>) -> Result<Timeline, ReadError> {
        let until = until.map_or(u32::MAX, |until| u32::try_from(until).unwrap_or(u32::MAX));
        let mut timeline = self.before(no, until);
        let mut kept = Vec::new();
        loop {
            // At the end of each stride, too: it is looked at as it is there.
            let next = (timeline.records() / STRIDE).saturating_add(1).saturating_mul(STRIDE);
            let is_over = timeline.advance(engine, no, next.min(until))?;
            if is_over || timeline.records() >= until {
                self.keep(no, kept, (until == u32::MAX).then(|| timeline.clone()));
                return Ok(timeline);
            }
            kept.push(timeline.clone());
        }
    }

    /// The longest that has no more than so many records.
    fn before(&self, no: MissionNo, until: u32) -> Timeline {
        let kept = self.0.lock();
        let of_it = kept.iter().find(|kept| kept.no == no).into_iter().flat_map(|kept| &kept.timelines);
        of_it.rev().find(|timeline| timeline.records() <= until).cloned().unwrap_or_default()
    }

    fn keep(&self, no: MissionNo, strides: Vec<Timeline>, newest: Option<Timeline>) {
        let mut all = self.0.lock();
        let place = all.iter().position(|kept| kept.no == no);
        let mut kept = place.and_then(|place| all.remove(place)).unwrap_or(Kept { no, timelines: Vec::new() });
        let known = |timelines: &[Timeline], records: u32| timelines.iter().any(|kept| kept.records() == records);
        if newest.is_some() {
            // Of those between two strides it is the only one.
            kept.timelines.retain(|timeline| timeline.records().is_multiple_of(STRIDE));
        }
        for timeline in strides.into_iter().chain(newest) {
            if !known(&kept.timelines, timeline.records()) {
                kept.timelines.push(timeline);
            }
        }
        kept.timelines.sort_by_key(Timeline::records);
        all.push_back(kept);
        if all.len() > MISSIONS_MAX {
            all.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_mission_the_newest_is_kept_and_one_of_each_stride() {
        let timelines = Timelines::default();
        let of = Timeline::of_records;
        timelines.keep(MissionNo(1), vec![of(STRIDE), of(2 * STRIDE)], Some(of(2 * STRIDE + 7)));
        timelines.keep(MissionNo(1), vec![of(3 * STRIDE)], Some(of(3 * STRIDE + 1)));
        // Somebody who looks at its past adds a stride and no newest one.
        timelines.keep(MissionNo(1), vec![of(STRIDE)], None);
        for (until, expected) in [
            (0, 0),
            (STRIDE - 1, 0),
            (STRIDE, STRIDE),
            (2 * STRIDE + 7, 2 * STRIDE),
            (3 * STRIDE, 3 * STRIDE),
            (u32::MAX, 3 * STRIDE + 1),
        ] {
            assert_eq!(timelines.before(MissionNo(1), until).records(), expected, "{until}");
        }
        for no in 2..20 {
            timelines.keep(MissionNo(no), Vec::new(), Some(of(1)));
        }
        assert_eq!(timelines.0.lock().len(), MISSIONS_MAX);
        assert_eq!(timelines.before(MissionNo(1), u32::MAX).records(), 0, "it was looked at last of all");
    }
}
