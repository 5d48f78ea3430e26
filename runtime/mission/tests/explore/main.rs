//! Every state that two missions of one session can reach, one after the other: with a crash and a cancel at each step.
//!
//! The missions, the queue and the replay are the real ones; around them stands a small shell with its plugins, its tools and
//! a disk, each reduced to what can be told apart from outside. Breadth first through all that may happen next: the
//! invariants of the architecture hold in each state, and from each one both missions can still come to their end without
//! anybody cancelling them.
//!
//! A crash takes everything but the records, and of those what is not on disk yet. Only what has an effect waits for the
//! disk; reading does not.

mod side;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use sortie_contract::record::{HostQuestion, Record};
use sortie_contract::request::{Decision, RequestKind};
use sortie_contract::tool::Repeat;
use sortie_contract::{Reason, Stamped, Status};
use sortie_mission::Mission;

use crate::side::{CHANGED, KEPT, Kind, Side, evening};
use crate::world::World;

/// Crashes in one history, unless the variable says otherwise. The second may come while the mission recovers from the first.
const CRASHES: u8 = 2;
const CRASHES_VAR: &str = "SORTIE_EXPLORE_CRASHES";

/// Fewer states than this would mean that the exploration is not what it was.
const STATES_MIN: usize = 500_000;
const THINKING_STATES_MIN: usize = 20_000;
const ASKING_STATES_MIN: usize = 500;
const FORKS_MIN: usize = 8;

/// What is true in every state.
fn check(world: &World) {
    let live = world.sides.iter().filter(|side| side.run.is_some()).count();
    assert!(live <= 1, "missions of one session run one at a time");
    assert_eq!(world.queue.running(), live);
    for side in &world.sides {
        let Side { mission, records, .. } = side.as_ref();
        let status = mission.status();
        // 1. and 2. One end at most, and nothing behind it.
        let ends = side.count(|record| matches!(record, Record::Finished { .. }));
        assert_eq!(ends, usize::from(status.is_final()));
        assert_eq!(matches!(records.last().map(|last| &last.record), Some(Record::Finished { .. })), ends == 1);
        // 3. Nothing runs after the end, or out of memory.
        assert!(side.run.is_none() || mission.run().is_some());
        assert!(side.run.is_some() || side.tasks.is_empty());
        // Who waits out of memory has its turn coming once something that it waits for is there.
        let waits = side.run.is_none() && mission.standing().suspended;
        if waits && side.waits_for_timer() {
            let is_due = world.hour.now().wall >= evening();
            assert_eq!(world.queue.waiting().contains(&side.no), is_due, "{} sleeps", side.no);
        }
        // 4. No budget is passed: what is spent, and what is set aside for the calls that are being made.
        let booked = mission.spent().saturating_add(mission.reserved()).cost;
        assert!(mission.budget().cost_max.is_some_and(|max| booked <= max), "{booked}");
        // 5. and 6. What has an effect is done once, and again only if somebody says so; and what allowed it is on disk.
        let durable = &records[..side.durable];
        let decided = |is: fn(&Decision) -> bool| {
            let decisions = durable.iter().filter(|stamped| match &stamped.record {
                Record::Decided { decision, .. } => is(decision),
                _ => false,
            });
            decisions.count()
        };
        let granted = durable.iter().any(|stamped| match &stamped.record {
            Record::CallStarted { repeat, .. } => *repeat == Repeat::Effectful,
            _ => false,
        });
        let approved = decided(|decision| matches!(decision, Decision::Approve { .. } | Decision::Amend { .. }))
            + usize::from(granted);
        if side.kind == Kind::Thinks {
            check_thoughts(side);
        } else {
            // What was allowed to the mission that a fork comes from was done by that one.
            assert!(side.effects + side.inherited[0] <= side.allowed(), "{} effects", side.effects);
            assert!(approved <= 1, "one call is approved once");
        }
        assert!(side.made() <= side.effects + side.inherited[1], "a result of nothing");
        check_calls(records);
        check_changed(side);
        assert_eq!(status == Status::Blocked, !mission.open_requests().is_empty());
        check_questions(side);
        // 8. State equals the fold of the journal.
        assert_eq!(Mission::fold(mission.envelope().clone(), records).as_ref(), Ok(mission));
    }
}

/// 4. What models have billed is booked. What is kept for landing is not spent before, unless somebody says so; and of a limit that
///    comes near it is told once, and only who has asked.
fn check_thoughts(side: &Side) {
    let booked = side.mission.spent().saturating_add(side.mission.reserved()).cost.0;
    assert!(side.effects as u64 <= booked, "{} were billed, {booked} are booked", side.effects);
    let first = |is: fn(&Record) -> bool| side.records.iter().position(|stamped| is(&stamped.record));
    let asked = first(|record| matches!(record, Record::Answered { question: HostQuestion::Closing, .. }));
    let told = first(|record| matches!(record, Record::Closing { .. }));
    assert!(told.is_none_or(|told| asked.is_some_and(|asked| asked < told)), "nobody has asked");
    assert!(side.count(|record| matches!(record, Record::Closing { .. })) <= 1, "it is told twice");
    let landed = first(|record| matches!(record, Record::Landing { .. }));
    let granted = first(|record| matches!(record, Record::Decided { decision: Decision::Grant { .. }, .. }));
    let max = side.mission.budget().cost_max.expect("it has one").0;
    assert!(landed.or(granted).is_some() || booked <= max - KEPT, "what is kept for landing is spent: {booked}");
    // What was being made when it ended counts as spent, and nobody is there to be told of it.
    let is_far = side.mission.spent().cost.0 < max - KEPT || side.mission.status().is_final();
    assert!(told.is_some() || landed.is_some() || granted.is_some() || is_far, "nobody is told");
}

/// A tool that makes a call waits for each open request of a tool, as long as there is a run; and no call ends with one.
fn check_questions(side: &Side) {
    let open: Vec<_> = side.mission.asked_by_tools().collect();
    let waits = |request: &_| side.tasks.iter().any(|task| task.asked == Some(*request));
    assert!(side.run.is_none() || open.iter().all(waits), "nobody waits for {open:?}");
    assert!(!side.mission.standing().suspended || open.is_empty(), "a tool waits out of memory");
    let mut asks = HashMap::new();
    for Stamped { record, .. } in side.records.iter() {
        match record {
            Record::Elicited { request, call, .. } => {
                assert_eq!(asks.insert(*call, *request), None, "{call} asks twice");
            }
            Record::Withdrawn { request, .. } | Record::Decided { request, .. } => {
                asks.retain(|_, open| open != request);
            }
            Record::CallFinished { call, .. } => assert!(!asks.contains_key(call), "{call} ends, and asks"),
            _ => {}
        }
    }
}

/// A call is made as it was approved, and as its plugin wanted it where nobody changed that.
fn check_changed(side: &Side) {
    let (mut calls, mut changed) = (HashMap::new(), Vec::new());
    for Stamped { record, .. } in side.records.iter() {
        match record {
            Record::Requested { request, call, .. } => drop(calls.insert(*request, *call)),
            Record::Decided { request, decision: Decision::Amend { .. }, .. } => changed.push(calls[request]),
            _ => {}
        }
    }
    for call in calls.into_values() {
        assert_eq!(side.mission.amended(call), changed.contains(&call).then_some(CHANGED), "{call}");
    }
}

/// No call is made twice, and none goes on but by a decision about itself.
fn check_calls(records: &[Stamped]) {
    let (mut asked, mut finished, mut put_off) = (HashMap::new(), Vec::new(), Vec::new());
    for (index, Stamped { record, .. }) in records.iter().enumerate() {
        match record {
            Record::Requested { request, call, .. } => {
                put_off.retain(|other| other != call);
                assert_eq!(asked.insert(*request, *call), None);
            }
            Record::Postponed { call, .. } | Record::PaymentAwaited { call, .. } => put_off.push(*call),
            Record::CallResumed { call } if put_off.contains(call) => put_off.retain(|other| other != call),
            Record::CallResumed { call } => {
                let Record::Decided { request, .. } = &records[index - 1].record else { panic!("nobody decided") };
                assert_eq!(asked.get(request), Some(call));
            }
            Record::CallFinished { call, .. } => {
                assert!(!finished.contains(call), "{call} has two results");
                finished.push(*call);
            }
            _ => {}
        }
    }
}

/// What must have been seen somewhere, lest the exploration be of nothing much.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Seen {
    uncertain: bool,
    done_twice_on_purpose: bool,
    lost_before_it_happened: bool,
    overtaken_while_blocked: bool,
    went_on_from_memory: bool,
    woken_by_its_timer: bool,
    expired: bool,
    both_completed: bool,
}

impl Seen {
    fn look(&mut self, world: &World) {
        let [one, two] = &world.sides;
        let completed = |side: &Side| side.mission.status() == Status::Completed;
        let any = |is: fn(&Side) -> bool| world.sides.iter().any(|side| is(side));
        self.uncertain |= any(|side| {
            side.mission.open_requests().iter().any(|open| open.kind == RequestKind::Uncertain) && side.effects == 1
        });
        self.lost_before_it_happened |= any(|side| {
            side.mission.open_requests().iter().any(|open| open.kind == RequestKind::Uncertain) && side.effects == 0
        });
        self.done_twice_on_purpose |= any(|side| side.effects == 2 && side.mission.status() == Status::Completed);
        self.overtaken_while_blocked |= one.mission.status() == Status::Blocked && completed(two);
        self.went_on_from_memory |= any(|side| {
            side.count(|record| matches!(record, Record::Suspended { .. })) > 0
                && side.mission.status() == Status::Completed
        });
        self.woken_by_its_timer |= any(|side| {
            let left = |stamped: &Stamped| matches!(stamped.record, Record::Suspended { until: Some(_) });
            let chose = |stamped: &Stamped| match &stamped.record {
                Record::Answered { question: HostQuestion::WaitAny, answer, .. } => answer == "1",
                _ => false,
            };
            side.records.iter().position(left).is_some_and(|at| side.records[at..].iter().any(chose))
        });
        self.expired |= any(|side| side.mission.reason() == Some(Reason::RequestExpired));
        self.both_completed |= completed(one) && completed(two);
    }

    fn all() -> Self {
        Self {
            uncertain: true,
            done_twice_on_purpose: true,
            lost_before_it_happened: true,
            overtaken_while_blocked: true,
            went_on_from_memory: true,
            woken_by_its_timer: true,
            expired: true,
            both_completed: true,
        }
    }
}

/// Looks at every state that can be reached from the first, and says how many there are.
fn explore(first: World, mut look: impl FnMut(&World)) -> usize {
    let mut ids = HashMap::from([(first.key(), 0_usize)]);
    // By state: those from which ordinary work leads to it, and whether it is an end.
    let mut before: Vec<Vec<usize>> = vec![Vec::new()];
    let mut ends = Vec::new();
    let mut left = VecDeque::from([first]);
    let mut id = 0;
    while let Some(world) = left.pop_front() {
        if world.is_over() {
            ends.push(id);
        }
        for (ordinary, next) in world.successors() {
            let known = ids.len();
            let next_id = *ids.entry(next.key()).or_insert(known);
            // All ways to end look the same afterwards: each is looked at as it comes.
            if next_id == known || next.ended() > world.ended() {
                check(&next);
                look(&next);
            }
            if next_id == known {
                before.push(Vec::new());
                left.push_back(next);
            }
            if ordinary {
                before[next_id].push(id);
            }
        }
        id += 1;
    }
    let mut reaches = vec![false; before.len()];
    let mut back = ends;
    while let Some(id) = back.pop() {
        if !std::mem::replace(&mut reaches[id], true) {
            back.extend(&before[id]);
        }
    }
    assert_eq!(reaches.iter().filter(|reaches| !**reaches).count(), 0, "states without a way out");
    ids.len()
}

fn crashes() -> u8 {
    std::env::var(CRASHES_VAR).map_or(CRASHES, |text| text.parse().expect("a number"))
}

#[test]
fn in_every_state_the_invariants_hold_and_an_end_can_be_reached() {
    let mut seen = Seen::default();
    let states = explore(World::new(crashes()), |world| seen.look(world));
    println!("{states} states with at most {} crashes", crashes());
    assert!(states >= STATES_MIN);
    assert_eq!(seen, Seen::all());
}

#[test]
fn in_every_state_of_a_mission_that_pays_no_budget_is_passed() {
    let (mut paid_for_again, mut granted_more) = (false, false);
    explore(World::paying(crashes()), |world| {
        let side = &world.sides[1];
        let is_completed = side.mission.status() == Status::Completed;
        let again = side.count(|record| matches!(record, Record::CallAgain { .. })) > 0;
        paid_for_again |= is_completed && again && side.mission.spent().cost.0 == 2;
        granted_more |= is_completed && side.mission.spent().cost.0 == 3;
    });
    assert!(paid_for_again && granted_more);
}

#[test]
fn in_every_state_of_a_mission_that_asks_models_what_is_kept_is_kept() {
    let (mut both_waited, mut waited_landing, mut out_of_memory) = (false, false, false);
    let (mut landed, mut was_kept, mut again) = (false, false, false);
    let states = explore(World::thinking(crashes()), |world| {
        let side = &world.sides[1];
        let is_completed = side.mission.status() == Status::Completed;
        let put_off = side.count(|record| matches!(record, Record::Postponed { .. }));
        // Once it has gone on it is as if it had never been put off; that it always does is looked for in each of these states.
        let waits = side.mission.postponed_until().is_some();
        both_waited |= waits && put_off > 1;
        waited_landing |= waits && side.mission.lands();
        landed |= is_completed && side.mission.spent().cost.0 == 3 && side.effects == 3;
        again |= is_completed && side.count(|record| matches!(record, Record::CallAgain { .. })) > 0;
        out_of_memory |= waits && side.mission.standing().suspended;
        was_kept |= side.count(|record| match record {
            Record::CallFinished { outcome: Err(error), .. } => error.to_string().contains("kept for landing"),
            _ => false,
        }) > 0;
    });
    println!("{states} states with at most {} crashes", crashes());
    assert_eq!((both_waited, waited_landing, out_of_memory), (true, true, true), "what is put off");
    assert_eq!((landed, was_kept, again), (true, true, true), "what is kept");
    assert!(states >= THINKING_STATES_MIN);
}

/// Of each state that a mission can reach, and at each call that it had made: the fork does nothing of that again, and comes to its end.
#[test]
fn in_every_state_of_a_fork_what_it_has_on_record_is_not_done_again() {
    let (mut known, mut states, mut forks) = (HashSet::new(), 0, 0);
    let (mut doubted, mut has_a_result, mut done) = (false, false, false);
    for index in [0, 1] {
        let mut origins = Vec::new();
        explore(World::only(index, 0), |world| origins.push(Rc::clone(&world.sides[index])));
        for of in origins {
            for at in 0..=of.mission.host_calls() {
                let Some(fork) = Side::forked(&of, at) else { continue };
                if !known.insert((index, fork.shapes[0].clone())) {
                    continue;
                }
                forks += 1;
                has_a_result |= fork.inherited[1] > 0;
                states += explore(World::forked(index, fork, 1), |world| {
                    let side = &world.sides[index];
                    let asks = side.mission.open_requests();
                    doubted |= side.effects == 0 && asks.iter().any(|open| open.kind == RequestKind::Uncertain);
                    done |= side.mission.status() == Status::Completed;
                });
            }
        }
    }
    println!("{states} states of {forks} forks with at most one crash");
    assert_eq!((doubted, has_a_result, done), (true, true, true));
    assert!(forks >= FORKS_MIN, "{forks} forks");
}

#[test]
fn in_every_state_of_a_mission_whose_tools_ask_somebody_waits_for_each_answer() {
    let (mut asked_again, mut both_ask, mut doubted, mut stale) = (false, false, false, false);
    let states = explore(World::asking(crashes()), |world| {
        let side = &world.sides[1];
        let is_completed = side.mission.status() == Status::Completed;
        let asked = side.count(|record| matches!(record, Record::Elicited { .. }));
        asked_again |= is_completed && asked > 2;
        both_ask |= side.mission.asked_by_tools().count() == 2;
        doubted |= asked > 0 && side.mission.open_requests().iter().any(|open| open.kind == RequestKind::Uncertain);
        stale |= side.run.is_none() && side.mission.asked_by_tools().count() > 0;
    });
    println!("{states} states with at most {} crashes", crashes());
    assert_eq!((asked_again, both_ask, doubted, stale), (true, true, true, true));
    assert!(states >= ASKING_STATES_MIN);
}
