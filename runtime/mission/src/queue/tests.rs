//! The queue against its rules: one test for each, and random use against a naive model.

use alloc::format;
use alloc::vec;

use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn lane(name: &str) -> LaneId {
    LaneId::new(name).expect("a lane")
}

/// A mission of session `session`, always open, in lane `a`.
fn mission(no: u64, session: u64) -> Waiting {
    let vp = VpId::new("vp").expect("a vp");
    let session = SessionId::new(format!("s{session}")).expect("a session");
    Waiting {
        no: MissionNo(no),
        session: (vp, session),
        lane: lane("a"),
        start_at: None,
        end_at: None,
        suspicion: None,
    }
}

fn queue(lanes: &[(&str, usize)], running_max: usize) -> Queue {
    Queue::new(lanes.iter().map(|&(name, concurrency)| (lane(name), concurrency)), running_max)
}

fn popped(queue: &mut Queue, now: i64) -> Vec<u64> {
    core::iter::from_fn(|| queue.pop(at(now)).map(|no| no.0)).collect()
}

#[test]
fn missions_of_one_session_run_one_at_a_time_in_order_of_acceptance() {
    let mut queue = queue(&[("a", 10)], 10);
    for no in [3, 1, 2] {
        queue.push(&mission(no, 1));
    }
    for no in 1..=3 {
        assert_eq!(popped(&mut queue, 0), [no]);
        queue.release(MissionNo(no));
    }
    assert!(queue.is_empty());
}

#[test]
fn room_may_change_while_missions_run() {
    let mut queue = queue(&[("a", 1)], 10);
    for no in 1..=6 {
        queue.push(&mission(no, no));
    }
    assert_eq!(popped(&mut queue, 0), [1]);
    queue.make_room(&[(lane("a"), 3), (lane("b"), 9)], 10);
    assert_eq!(popped(&mut queue, 0), [2, 3]);
    // What runs goes on; there is room again once there are fewer.
    queue.make_room(&[(lane("a"), 2)], 10);
    queue.release(MissionNo(1));
    assert_eq!(popped(&mut queue, 0), [0; 0]);
    queue.release(MissionNo(2));
    assert_eq!(popped(&mut queue, 0), [4]);
    queue.make_room(&[(lane("a"), 9)], 3);
    assert_eq!(popped(&mut queue, 0), [5]);
    queue.make_room(&[], 9);
    assert_eq!(popped(&mut queue, 0), [6]);
}

#[test]
fn sessions_take_turns() {
    let mut queue = queue(&[("a", 1)], 10);
    for no in 1..=4 {
        queue.push(&mission(no, 1));
    }
    queue.push(&mission(5, 2));
    queue.push(&mission(6, 2));
    queue.push(&mission(7, 3));
    let mut order = Vec::new();
    while let Some(no) = queue.pop(at(0)) {
        order.push(no.0);
        queue.release(no);
    }
    assert_eq!(order, [1, 5, 7, 2, 6, 3, 4]);
}

#[test]
fn a_mission_that_waits_for_its_window_does_not_hold_its_session() {
    let mut queue = queue(&[("a", 1)], 10);
    queue.push(&Waiting { start_at: Some(at(10)), ..mission(1, 1) });
    queue.push(&mission(2, 1));
    assert_eq!(queue.next_due(), Some(at(10)));
    assert_eq!(popped(&mut queue, 9), [2]);
    queue.release(MissionNo(2));
    assert_eq!(popped(&mut queue, 9), [0; 0]);
    assert_eq!(popped(&mut queue, 10), [1]);
    assert_eq!(queue.next_due(), None);
}

#[test]
fn a_window_that_closes_ends_the_wait() {
    let mut queue = queue(&[("a", 1)], 10);
    queue.push(&Waiting { start_at: Some(at(10)), end_at: Some(at(20)), ..mission(1, 1) });
    queue.push(&Waiting { end_at: Some(at(30)), ..mission(2, 1) });
    assert_eq!(queue.expired(at(19)), []);
    assert_eq!(queue.next_due(), Some(at(20)));
    assert_eq!(popped(&mut queue, 20), [2], "closed at its end, to the instant");
    assert_eq!(queue.next_due(), Some(Timestamp::MIN), "somebody has to be told");
    assert_eq!(queue.expired(at(20)), [MissionNo(1)]);
    assert_eq!(queue.expired(at(40)), [], "told once; what runs does not wait");
}

#[test]
fn a_suspect_has_the_node_for_itself_until_it_is_accompanied_or_over() {
    let mut queue = queue(&[("a", 2)], 10);
    let suspect = |no, session| Waiting { suspicion: Some(0), ..mission(no, session) };
    queue.push(&mission(1, 1));
    queue.push(&suspect(2, 2));
    queue.push(&suspect(3, 3));
    queue.push(&mission(4, 4));
    assert_eq!(popped(&mut queue, 0), [2], "it comes first, and nothing beside it");
    assert_eq!(queue.alone(), Some(MissionNo(2)));
    assert_eq!(queue.waits_for(MissionNo(1), at(0)), Some(WaitsFor::Room));
    queue.release(MissionNo(2));
    assert_eq!(popped(&mut queue, 0), [3]);
    queue.accompany(MissionNo(4));
    assert_eq!(popped(&mut queue, 0), [0; 0], "4 is not the one that is alone");
    queue.accompany(MissionNo(3));
    assert_eq!(popped(&mut queue, 0), [1], "beside 3 there is room for one in the lane");
    assert_eq!(queue.alone(), None);
}

#[test]
fn who_has_outlived_more_probations_comes_behind_the_others() {
    let mut queue = queue(&[("a", 2)], 10);
    queue.push(&Waiting { suspicion: Some(1), ..mission(1, 1) });
    queue.push(&Waiting { suspicion: Some(0), ..mission(2, 2) });
    assert_eq!(popped(&mut queue, 0), [2]);
    queue.release(MissionNo(2));
    assert_eq!(popped(&mut queue, 0), [1]);
}

#[test]
fn a_suspect_that_comes_while_others_run_takes_its_turn_like_any() {
    let mut queue = queue(&[("a", 2)], 10);
    queue.push(&mission(1, 1));
    assert_eq!(popped(&mut queue, 0), [1]);
    queue.push(&mission(2, 2));
    queue.push(&Waiting { suspicion: Some(0), ..mission(3, 3) });
    assert_eq!(popped(&mut queue, 0), [2], "whoever came first");
    queue.release(MissionNo(1));
    assert_eq!(popped(&mut queue, 0), [3], "it need not wait until the node is empty");
    assert_eq!(queue.alone(), None);
}

#[test]
fn a_suspect_that_may_not_run_holds_nobody_up() {
    let mut queue = queue(&[("a", 2)], 10);
    queue.push(&Waiting { suspicion: Some(0), start_at: Some(at(10)), ..mission(1, 1) });
    queue.push(&mission(2, 2));
    queue.push(&Waiting { suspicion: Some(0), ..mission(3, 2) });
    assert_eq!(popped(&mut queue, 0), [2], "1 waits for its window, 3 for its session");
    queue.remove(MissionNo(3));
    queue.release(MissionNo(2));
    assert_eq!(popped(&mut queue, 10), [1]);
    assert_eq!(queue.alone(), Some(MissionNo(1)));
}

#[test]
fn lanes_and_the_node_have_room_for_so_many() {
    let mut queue = queue(&[("a", 2), ("b", 2)], 3);
    for no in 1..=4 {
        queue.push(&mission(no, no));
    }
    for no in 5..=8 {
        queue.push(&Waiting { lane: lane("b"), ..mission(no, no) });
    }
    assert_eq!(popped(&mut queue, 0), [1, 2, 5], "two of lane a, then the node is full");
    queue.release(MissionNo(1));
    assert_eq!(popped(&mut queue, 0), [3]);
    queue.release(MissionNo(3));
    queue.release(MissionNo(2));
    assert_eq!(popped(&mut queue, 0), [4, 6]);
}

#[test]
fn a_pause_gives_no_turns_and_lets_what_runs_run() {
    let mut queue = queue(&[("a", 2)], 2);
    queue.push(&mission(1, 1));
    queue.push(&mission(2, 2));
    assert_eq!(queue.pop(at(0)), Some(MissionNo(1)));
    queue.pause(true);
    assert_eq!((popped(&mut queue, 0), queue.running()), (vec![], 1));
    queue.pause(false);
    assert_eq!(popped(&mut queue, 0), [2]);
}

#[test]
fn a_mission_that_waits_says_for_what() {
    let mut queue = queue(&[("a", 1), ("b", 2)], 2);
    let why = |queue: &Queue, no: u64, now: i64| queue.waits_for(MissionNo(no), at(now));
    let after = |first: u64| Some(WaitsFor::Session { first: MissionNo(first) });
    queue.push(&Waiting { start_at: Some(at(10)), ..mission(1, 1) });
    assert_eq!(why(&queue, 1, 5), Some(WaitsFor::Window));
    queue.pause(true);
    queue.push(&mission(2, 2));
    assert_eq!(why(&queue, 2, 5), Some(WaitsFor::Node));
    queue.pause(false);
    assert_eq!(why(&queue, 2, 5), None, "it is next");
    assert_eq!(popped(&mut queue, 5), [2]);
    assert_eq!(why(&queue, 2, 5), None, "it runs");
    queue.push(&mission(3, 2));
    queue.push(&mission(4, 3));
    assert_eq!((why(&queue, 3, 5), why(&queue, 4, 5)), (after(2), Some(WaitsFor::Lane)));
    queue.push(&Waiting { lane: lane("b"), ..mission(5, 5) });
    queue.push(&Waiting { lane: lane("b"), ..mission(6, 6) });
    queue.push(&Waiting { lane: lane("b"), ..mission(7, 6) });
    assert_eq!(popped(&mut queue, 5), [5]);
    assert_eq!((why(&queue, 6, 5), why(&queue, 7, 5)), (Some(WaitsFor::Room), after(6)));
}

#[test]
fn a_removed_mission_lets_the_next_of_its_session_come() {
    let mut queue = queue(&[("a", 1)], 10);
    queue.push(&mission(1, 1));
    queue.push(&Waiting { end_at: Some(at(5)), ..mission(2, 1) });
    assert!(queue.remove(MissionNo(1)));
    assert!(!queue.remove(MissionNo(1)));
    assert_eq!(popped(&mut queue, 6), [0; 0]);
    assert!(queue.remove(MissionNo(2)), "overdue, and cancelled before anybody was told");
    assert_eq!(queue.expired(at(6)), []);
}

#[test]
fn a_clock_that_is_set_back_closes_windows_again() {
    let mut queue = queue(&[("a", 1)], 10);
    queue.push(&Waiting { start_at: Some(at(10)), end_at: Some(at(20)), ..mission(1, 1) });
    queue.pause(true);
    assert_eq!(popped(&mut queue, 15), [0; 0]);
    queue.pause(false);
    assert_eq!(popped(&mut queue, 5), [0; 0]);
    assert_eq!(queue.next_due(), Some(at(10)));
    assert_eq!(popped(&mut queue, 10), [1]);
}

#[test]
fn a_lane_that_is_configured_no_longer_serves_what_it_has() {
    let mut queue = queue(&[("a", 1)], 10);
    queue.push(&Waiting { lane: lane("gone"), ..mission(1, 1) });
    queue.push(&Waiting { lane: lane("gone"), ..mission(2, 2) });
    assert_eq!(popped(&mut queue, 0), [1]);
}

#[test]
fn a_window_never_opens_early() {
    let moment = |nanos: i128| Timestamp::from_nanosecond(nanos).expect("in range");
    for (nanos, down, up) in [(1_000, 1, 1), (1_001, 1, 2), (0, 0, 0), (-1, -1, 0), (-1_000, -1, -1), (-1_001, -2, -1)]
    {
        assert_eq!((floor(moment(nanos)), ceil(moment(nanos))), (down, up), "{nanos} ns");
    }
    assert!(ceil(Timestamp::MAX) > floor(Timestamp::MAX));
    let mut queue = queue(&[("a", 1)], 1);
    queue.push(&Waiting { end_at: Some(Timestamp::MAX), ..mission(1, 1) });
    assert_eq!(queue.next_due(), Some(Timestamp::MAX));
}

/// What a test does to a queue.
#[derive(Debug, Clone)]
enum Act {
    Push(Waiting),
    Pop,
    Expired,
    Remove(u64),
    Release(u64),
    Pause(bool),
    Advance(i64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let waiting = (1..40_u64, 0..5_u64, 0..3_u8, proptest::option::of(-2..30_i64), proptest::option::of(1..30_i64));
    let waiting = waiting.prop_map(|(no, session, on, start, length)| Waiting {
        lane: lane(["a", "b", "gone"][usize::from(on)]),
        start_at: start.map(at),
        end_at: length.map(|length| at(start.unwrap_or(0) + length)),
        ..mission(no, session)
    });
    let act = prop_oneof![
        6 => waiting.prop_map(Act::Push),
        8 => Just(Act::Pop),
        2 => Just(Act::Expired),
        1 => (1..40_u64).prop_map(Act::Remove),
        5 => (0..4_u64).prop_map(Act::Release),
        1 => any::<bool>().prop_map(Act::Pause),
        3 => (-1..4_i64).prop_map(Act::Advance),
    ];
    proptest::collection::vec(act, 1..200)
}

/// The rules in their plainest form: two lists.
#[derive(Debug, Default)]
struct Model {
    now: i64,
    waiting: Vec<Waiting>,
    running: Vec<Waiting>,
    paused: bool,
}

const RUNNING_MAX: usize = 4;

impl Model {
    fn has(&self, no: MissionNo) -> bool {
        self.waiting.iter().chain(&self.running).any(|mission| mission.no == no)
    }

    fn is_open(&self, mission: &Waiting) -> bool {
        mission.start_at.is_none_or(|start| start <= at(self.now)) && !self.is_over(mission)
    }

    fn is_over(&self, mission: &Waiting) -> bool {
        mission.end_at.is_some_and(|end| end <= at(self.now))
    }

    fn may_run(&self, mission: &Waiting) -> bool {
        let concurrency = if mission.lane.as_str() == "a" { 2 } else { 1 };
        let first = |other: &&Waiting| other.session == mission.session && other.no < mission.no && self.is_open(other);
        !self.paused
            && self.running.len() < RUNNING_MAX
            && self.is_open(mission)
            && self.running.iter().filter(|other| other.lane == mission.lane).count() < concurrency
            && !self.running.iter().any(|other| other.session == mission.session)
            && !self.waiting.iter().any(|other| first(&other))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_use_keeps_the_rules(acts in acts()) {
        let mut queue = queue(&[("a", 2), ("b", 1)], RUNNING_MAX);
        let mut model = Model::default();
        // Waits that the queue has seen the end of stay ended, even if the clock is set back.
        let mut over: Vec<MissionNo> = Vec::new();
        for act in acts {
            match act {
                Act::Push(mission) if !model.has(mission.no) && !over.contains(&mission.no) => {
                    queue.push(&mission);
                    model.waiting.push(mission);
                }
                Act::Push(_) => {}
                Act::Pop => {
                    let popped = queue.pop(at(model.now));
                    over.extend(model.waiting.iter().filter(|mission| model.is_over(mission)).map(|mission| mission.no));
                    model.waiting.retain(|mission| !over.contains(&mission.no));
                    match popped {
                        None => prop_assert!(!model.waiting.iter().any(|mission| model.may_run(mission)), "nobody was served: {model:?}"),
                        Some(no) => {
                            let index = model.waiting.iter().position(|mission| mission.no == no);
                            let index = index.expect("what is popped was waiting");
                            prop_assert!(model.may_run(&model.waiting[index]), "{no} may not run: {model:?}");
                            let mission = model.waiting.remove(index);
                            model.running.push(mission);
                        }
                    }
                }
                Act::Expired => {
                    over.extend(model.waiting.iter().filter(|mission| model.is_over(mission)).map(|mission| mission.no));
                    model.waiting.retain(|mission| !over.contains(&mission.no));
                    let mut told = queue.expired(at(model.now));
                    told.sort_unstable();
                    over.sort_unstable();
                    prop_assert_eq!(&told, &over);
                    over.clear();
                }
                Act::Remove(no) => {
                    let no = MissionNo(no);
                    let waited = model.waiting.iter().any(|mission| mission.no == no) || over.contains(&no);
                    prop_assert_eq!(queue.remove(no), waited);
                    model.waiting.retain(|mission| mission.no != no);
                    over.retain(|&other| other != no);
                }
                Act::Release(index) => {
                    let index = usize::try_from(index).expect("small");
                    if index < model.running.len() {
                        queue.release(model.running.remove(index).no);
                    }
                }
                Act::Pause(paused) => {
                    queue.pause(paused);
                    model.paused = paused;
                }
                Act::Advance(by) => model.now += by,
            }
            let mut waiting: Vec<_> = model.waiting.iter().map(|mission| mission.no).chain(over.iter().copied()).collect();
            waiting.sort_unstable();
            prop_assert_eq!(queue.waiting(), waiting);
            prop_assert_eq!(queue.len(), model.waiting.len() + over.len());
            prop_assert_eq!(queue.running(), model.running.len());
            check_indexes(&queue);
        }
    }

    /// Between two turns of a session, every other one that is ready gets one.
    #[test]
    fn no_session_is_passed_over(backlog in proptest::collection::vec(1..6_u64, 2..6)) {
        let mut queue = queue(&[("a", 1)], 1);
        let mut no = 0;
        for (session, &count) in backlog.iter().enumerate() {
            for _ in 0..count {
                no += 1;
                queue.push(&mission(no, session as u64));
            }
        }
        let mut left = backlog.clone();
        let session_of = |no: u64| {
            let ends = backlog.iter().scan(0, |sum, count| { *sum += count; Some(*sum) });
            ends.take_while(|&end| end < no).count()
        };
        while left.iter().any(|&count| count > 0) {
            // One round: each session that has something gets exactly one turn.
            let mut round: Vec<usize> = Vec::new();
            for _ in 0..left.iter().filter(|&&count| count > 0).count() {
                let no = queue.pop(at(0)).expect("something waits");
                queue.release(no);
                round.push(session_of(no.0));
            }
            round.sort_unstable();
            let expected: Vec<usize> = (0..left.len()).filter(|&session| left[session] > 0).collect();
            prop_assert_eq!(round, expected);
            left.iter_mut().for_each(|count| *count = count.saturating_sub(1));
        }
    }
}

/// What each index holds follows from `waiting`, `running` and nothing else.
fn check_indexes(queue: &Queue) {
    for (&no, entry) in &queue.waiting {
        assert_eq!(queue.open.contains(&(entry.session, no)), entry.is_open);
        let alarm = if entry.is_open { entry.end } else { entry.start };
        assert_eq!(queue.alarms.contains(&(alarm, no)), alarm != Micros::MAX);
    }
    assert_eq!(queue.open.len(), queue.waiting.values().filter(|entry| entry.is_open).count());
    let alarms = queue.waiting.values().filter(|entry| !entry.is_open || entry.end != Micros::MAX).count();
    assert_eq!(queue.alarms.len(), alarms);
    for lane in &queue.lanes {
        for (turn, session) in &lane.ready {
            assert_eq!(queue.ready.get(session).map(|place| place.turn), Some(*turn));
            assert!(!queue.busy.contains_key(session) && queue.first_open(*session).is_some());
        }
    }
    assert_eq!(queue.ready.len(), queue.lanes.iter().map(|lane| lane.ready.len()).sum::<usize>());
}

#[test]
fn a_lane_that_is_shut_gives_no_turns_until_it_opens_again() {
    let mut queue = queue(&[("a", 2), ("b", 2)], 10);
    queue.push(&mission(1, 1));
    queue.push(&Waiting { suspicion: Some(0), ..mission(2, 2) });
    queue.push(&Waiting { lane: lane("b"), ..mission(3, 3) });
    // Lane `a` is shut until 10, and from 20 on.
    let doors = |id: &LaneId, now: i64| match (id.as_str(), now) {
        ("a", now) if now < 10 => Doors { open: false, until: Some(at(10)) },
        ("a", now) if now < 20 => Doors { open: true, until: Some(at(20)) },
        ("a", _) => Doors { open: false, until: None },
        _ => Doors::OPEN,
    };
    let look = |queue: &mut Queue, now: i64| queue.open_lanes(at(now), |id| doors(id, now));
    look(&mut queue, 5);
    assert_eq!(popped(&mut queue, 5), [3], "not even a suspect");
    assert_eq!(queue.waits_for(MissionNo(1), at(5)), Some(WaitsFor::Hours { until: Some(at(10)) }));
    assert_eq!(queue.next_due(), Some(at(10)), "somebody looks then");
    look(&mut queue, 10);
    queue.release(MissionNo(3));
    assert_eq!(queue.pop(at(10)), Some(MissionNo(2)));
    queue.accompany(MissionNo(2));
    look(&mut queue, 20);
    assert_eq!((popped(&mut queue, 20), queue.running()), (vec![], 1), "what runs is not the queue's to stop");
    assert_eq!((queue.next_due(), queue.doors(&lane("a")).open), (None, false));
    // The clock is set back.
    look(&mut queue, 15);
    assert_eq!(popped(&mut queue, 15), [1]);
}
