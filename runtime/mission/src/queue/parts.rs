//! The part of each lane that a node holds, where several share them out: how much room that is, and what there is to say of it.

use alloc::vec::Vec;

use sortie_contract::id::LaneId;

use super::{Lane, Queue};
use crate::pool::{Need, Offer, Others, Part};

/// What a lane of a node holds and does not need it gives back when it was looked at so often in a row, though nobody lacks it.
const RESTS: u32 = 10;

impl Lane {
    /// How many missions this node may run of it.
    pub(super) fn room(&self) -> usize {
        let held = |part: Part| usize::try_from(part.held).unwrap_or(usize::MAX);
        self.part.map_or(self.concurrency, |part| self.concurrency.min(held(part)))
    }

    /// How many missions all nodes run of it, as this one has it configured. One that does not know a lane must not make it narrower for
    /// those that do.
    fn limit(&self) -> Option<u64> {
        self.is_configured.then_some(self.concurrency as u64)
    }

    /// How many more would run now, were they its alone and `free` slots of the node free.
    fn wants(&self, free: usize) -> usize {
        let ready = if self.doors.open { self.ready.len() } else { 0 };
        ready.min(self.concurrency.saturating_sub(self.running)).min(free)
    }
}

impl Queue {
    /// From now on lanes are shared out among nodes: this one holds nothing of any, until it is told that it does.
    pub fn share_out(&mut self) {
        self.is_shared = true;
        self.lanes.iter_mut().for_each(|lane| lane.part = Some(Part::default()));
    }

    /// Whether a mission would run, had this node a greater part of its lane.
    #[must_use]
    pub fn lacks(&self) -> bool {
        let free = self.free();
        self.is_shared && self.lanes.iter().any(|lane| lane.running + lane.wants(free) > lane.room().max(lane.running))
    }

    /// What there is to say of each lane's part, with how many missions all nodes run of it, where that is configured here. `runs`: whether
    /// turns are given at all.
    pub fn offers(&mut self, runs: bool) -> Vec<(LaneId, Option<u64>, Offer)> {
        let free = if runs { self.free() } else { 0 };
        let offer = |lane: &mut Lane| {
            let (wants, room) = (lane.wants(free), lane.room().saturating_sub(lane.running));
            lane.rests = if wants == 0 && room > 0 { lane.rests.saturating_add(1) } else { 0 };
            let begins = wants.min(room);
            let need = Need {
                taken: lane.running as u64,
                used: 0,
                begins: begins as u64,
                waits: (wants - begins) as u64,
                least: (wants - begins).min(1) as u64,
                spare: if lane.rests < RESTS { room as u64 } else { 0 },
            };
            let offer = lane.part.as_mut()?.offer(need);
            Some((lane.id.clone(), lane.limit(), offer))
        };
        self.lanes.iter_mut().filter_map(offer).collect()
    }

    /// What came of it. Whether more missions may run than before.
    pub fn take(&mut self, id: &LaneId, held: u64, others: Others) -> bool {
        let part = self.lanes.iter_mut().find(|lane| lane.id == *id).and_then(|lane| lane.part.as_mut());
        part.is_some_and(|part| part.take(held, others) > 0)
    }

    /// How many more missions the node has room for.
    fn free(&self) -> usize {
        let is_shut = self.paused || self.alone.is_some();
        if is_shut { 0 } else { self.running_max.saturating_sub(self.running.len()) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use jiff::Timestamp;
    use sortie_contract::id::{MissionNo, SessionId, VpId};

    use super::*;
    use crate::queue::{Waiting, WaitsFor};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn lane(name: &str) -> LaneId {
        LaneId::new(name).expect("a lane")
    }

    fn mission(no: u64, of: &str) -> Waiting {
        let vp = VpId::new("vp").expect("a vp");
        let session = (vp, SessionId::new(format!("s{no}")).expect("a session"));
        Waiting { no: MissionNo(no), session, lane: lane(of), start_at: None, end_at: None, suspicion: None }
    }

    fn queue() -> Queue {
        let mut queue = Queue::new([(lane("a"), 2), (lane("b"), 5)], 4);
        queue.share_out();
        queue
    }

    fn popped(queue: &mut Queue) -> Vec<u64> {
        core::iter::from_fn(|| queue.pop(NOW).map(|no| no.0)).collect()
    }

    /// Of lane `a`: what is kept, what it lacks, and whether it gives some back.
    fn offers(queue: &mut Queue) -> (u64, u64, bool) {
        let offers = queue.offers(true);
        let (id, limit, offer) = &offers[0];
        assert_eq!((id.as_str(), *limit), ("a", Some(2)));
        (offer.keeps, offer.lacks, offer.gives)
    }

    fn lack(lack: u64) -> Others {
        Others { lack, ..Others::default() }
    }

    #[test]
    fn no_more_run_than_the_part_that_is_held() {
        let mut queue = queue();
        (1..=4).for_each(|no| queue.push(&mission(no, "a")));
        assert_eq!((popped(&mut queue), queue.lacks()), (vec![], true));
        assert_eq!(queue.waits_for(MissionNo(1), NOW), Some(WaitsFor::LaneElsewhere));
        assert_eq!(offers(&mut queue), (0, 2, false), "two of a lane of two, whatever waits");
        assert!(queue.take(&lane("a"), 1, lack(0)));
        assert_eq!((popped(&mut queue), queue.lacks()), (vec![1], true));
        assert_eq!(offers(&mut queue), (1, 1, false));
        queue.take(&lane("a"), 2, lack(0));
        assert_eq!((popped(&mut queue), queue.lacks()), (vec![2], false), "the lane is full");
        assert_eq!(queue.waits_for(MissionNo(3), NOW), Some(WaitsFor::Lane));
        // Nobody else wants it: the next one has it without a word.
        assert!(!queue.release(MissionNo(1)));
        assert_eq!(popped(&mut queue), [3]);
        // A lane that nobody configured is one mission's at a time, of all nodes.
        queue.push(&mission(9, "gone"));
        queue.take(&lane("gone"), 1, lack(0));
        assert_eq!(popped(&mut queue), [9]);
    }

    #[test]
    fn a_lane_that_is_not_configured_here_runs_one_and_says_nothing_of_how_many_others_run() {
        let mut queue = queue();
        (1..=4).for_each(|no| queue.push(&mission(no, "gone")));
        let said = |queue: &mut Queue| -> Vec<(LaneId, Option<u64>, u64)> {
            queue.offers(true).into_iter().map(|(id, limit, offer)| (id, limit, offer.lacks)).collect()
        };
        let [a, b, gone] = ["a", "b", "gone"].map(lane);
        assert_eq!(said(&mut queue), [(a, Some(2), 0), (b, Some(5), 0), (gone.clone(), None, 1)]);
        queue.take(&gone, 3, lack(0));
        assert_eq!(popped(&mut queue), [1]);
        // Once it is configured that counts, here and for all.
        queue.make_room(&[(gone.clone(), 3)], 4);
        assert_eq!(popped(&mut queue), [2, 3]);
        assert_eq!(said(&mut queue)[2], (gone, Some(3), 0));
    }

    #[test]
    fn what_others_lack_is_theirs_when_a_mission_gives_its_slot_back() {
        let mut queue = queue();
        (1..=4).for_each(|no| queue.push(&mission(no, "a")));
        queue.take(&lane("a"), 2, lack(1));
        assert_eq!(popped(&mut queue), [1, 2], "what it holds it uses");
        assert!(queue.release(MissionNo(1)));
        assert_eq!((popped(&mut queue), queue.lacks()), (vec![], true));
        assert_eq!(offers(&mut queue), (1, 1, false), "it waits for its turn as the others do");
        assert!(!queue.release(MissionNo(2)), "there was one who lacked one");
        assert_eq!(popped(&mut queue), [3]);
    }

    #[test]
    fn what_nothing_needs_is_given_back_at_once_where_others_lack_it_and_after_a_while_where_nobody_does() {
        let mut queue = queue();
        queue.push(&mission(1, "a"));
        queue.take(&lane("a"), 2, lack(0));
        assert_eq!(popped(&mut queue), [1]);
        assert_eq!(offers(&mut queue), (2, 0, false));
        queue.take(&lane("a"), 2, lack(1));
        assert_eq!(offers(&mut queue), (1, 0, true));
        queue.release(MissionNo(1));
        queue.take(&lane("a"), 2, lack(0));
        let kept = (0..20).filter(|_| offers(&mut queue) == (2, 0, false)).count();
        assert!(kept > 0 && kept < RESTS as usize, "{kept}");
        assert_eq!(offers(&mut queue), (0, 0, false));
    }

    #[test]
    fn a_lane_lacks_nothing_that_the_node_could_not_run() {
        let mut queue = queue();
        (1..=2).for_each(|no| queue.push(&mission(no, "a")));
        (3..=9).for_each(|no| queue.push(&mission(no, "b")));
        queue.take(&lane("b"), 5, lack(0));
        assert_eq!(popped(&mut queue), [3, 4, 5, 6]);
        assert_eq!((offers(&mut queue), queue.lacks()), ((0, 0, false), false), "as many run as may");
        queue.release(MissionNo(3));
        assert_eq!(offers(&mut queue), (0, 1, false));
        queue.pause(true);
        assert_eq!((offers(&mut queue), queue.lacks()), ((0, 0, false), false));
        queue.pause(false);
        assert!(queue.lacks());
        assert_eq!(queue.offers(false)[0].2.lacks, 0, "no turns are given for another reason");
    }
}
