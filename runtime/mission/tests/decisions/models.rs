//! Models: a call of one is no tool's, so no constraint of tools has a say; what holds is the budget. One that its provider refuses for
//! now is put off, takes nothing meanwhile, and goes on by itself.

use core::time::Duration;

use serde_json::json;
use sortie_contract::digest::Digest;
use sortie_contract::id::CallNo;
use sortie_contract::record::Record;
use sortie_contract::request::RequestKind;
use sortie_contract::tool::{CallError, MODEL, Repeat, ToolAnswer};
use sortie_contract::{MicroUsd, Spend, Status};
use sortie_mission::{Command, Handle, Refusal};

use crate::support::{Tested, at, moment};

fn spend(cents: u64) -> Spend {
    Spend { llm_calls: 1, cost: MicroUsd(cents * 10_000) }
}

/// Asks a model, at the cost of so many cents at most.
fn asks(mission: &mut Tested, cents: u64) -> Vec<Record> {
    let command = Command::Call {
        run: mission.run(),
        tool: Handle::Model,
        arguments: "{}".to_owned(),
        digest: Digest::of(b"{}"),
        quote: spend(cents),
    };
    mission.take(command).expect("an answer")
}

/// The same, and it is made.
fn made(mission: &mut Tested, cents: u64) -> CallNo {
    match asks(mission, cents).as_slice() {
        [Record::CallStarted { call, tool, repeat: Repeat::Idempotent, .. }, ..] if tool.as_str() == MODEL => *call,
        other => panic!("not made: {other:?}"),
    }
}

fn answers(mission: &mut Tested, call: CallNo, cents: u64) -> Vec<Record> {
    let outcome = Ok(ToolAnswer { result: "{}".to_owned(), wrote: Vec::new() });
    mission.take(Command::CallDone { run: mission.run(), call, outcome, spent: Some(spend(cents)) }).expect("in flight")
}

/// Its provider refuses it for so many seconds.
fn put_off(mission: &mut Tested, call: CallNo, seconds: i64) {
    let until = mission.now.wall + jiff::SignedDuration::from_secs(seconds);
    let command = Command::Postpone {
        run: mission.run(),
        call,
        hinted: Some(until),
        hold_max: Duration::MAX,
        why: "429".to_owned(),
    };
    assert!(matches!(mission.take(command).expect("in flight").as_slice(), [Record::Postponed { .. }]));
}

#[test]
fn no_allowance_is_needed_for_a_model_and_what_is_forbidden_or_held_may_be_one() {
    for forbidden in ["*", "model", "MODEL", "mod*"] {
        let mut mission = Tested::running(json!({"constraints": {"forbidden_tools": [forbidden]}}));
        let records = asks(&mut mission, 1);
        let [Record::CallRefused { error: CallError::Denied(why), .. }] = records.as_slice() else {
            panic!("{records:?}")
        };
        assert!(why.contains(forbidden), "{why}");
    }
    for held in ["*", "model"] {
        let mut mission = Tested::running(json!({"constraints": {"approval_required": [held]}}));
        let records = asks(&mut mission, 1);
        assert!(
            matches!(
                records.as_slice(),
                [Record::CallHeld { .. }, Record::Requested { kind: RequestKind::Approval, .. }]
            ),
            "{records:?}"
        );
    }
    for constraints in [
        json!({}),
        json!({"allowed_tools": [], "forbidden_tools": ["outbound_email", "mcp__*"]}),
        json!({"approval_required": ["Write", "modle"]}),
    ] {
        let mut mission = Tested::running(json!({"constraints": constraints}));
        let call = made(&mut mission, 1);
        answers(&mut mission, call, 1);
        assert_eq!((mission.mission.spent(), mission.mission.reserved()), (spend(1), Spend::NOTHING));
    }
}

#[test]
fn eight_at_once_never_spend_the_eleventh_cent() {
    let mut mission = Tested::running(json!({"budget": {"max_cost_usd": 0.1}}));
    let (mut in_flight, mut waiting) = (Vec::new(), 0);
    for _ in 0..8 {
        match asks(&mut mission, 3).as_slice() {
            [Record::CallStarted { call, .. }] => in_flight.push(*call),
            [Record::CallHeld { .. }, Record::PaymentAwaited { .. }] => waiting += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((in_flight.len(), waiting), (3, 5), "9 of 10 cents");
    assert_eq!(mission.mission.status(), Status::Running, "nobody is asked for what comes back by itself");
    // Each costs a third of what it was quoted at, and what comes back pays for the next: until it does not.
    let mut asked = 0;
    while let Some(call) = in_flight.pop() {
        for record in answers(&mut mission, call, 1) {
            match record {
                Record::CallResumed { call } => in_flight.push(call),
                Record::Requested { kind: RequestKind::Budget, .. } => asked += 1,
                Record::CallFinished { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        let (spent, aside) = mission.money();
        assert!(spent + aside <= 100_000, "{spent} and {aside}");
    }
    assert_eq!((mission.money(), asked), ((80_000, 0), 0), "all eight were made");
}

#[test]
fn people_are_asked_once_nothing_can_come_back() {
    let mut mission = Tested::running(json!({"budget": {"max_cost_usd": 0.1}}));
    let dear = made(&mut mission, 6);
    let held = asks(&mut mission, 5);
    let [Record::CallHeld { call: waits, .. }, Record::PaymentAwaited { until, why, .. }] = held.as_slice() else {
        panic!("it waits for the other")
    };
    assert!(why.contains("$0.050000") && why.contains("$0.060000 of the mission's $0.100000"), "{why}");
    assert_eq!(mission.mission.postponed_until(), Some(*until), "and is looked at again in any case");
    let records = answers(&mut mission, dear, 6);
    assert!(
        matches!(&records[1..], [Record::Requested { call, kind: RequestKind::Budget, .. }] if call == waits),
        "{records:?}"
    );
    assert_eq!((mission.mission.status(), mission.mission.postponed_until()), (Status::Blocked, None));
}

#[test]
fn the_calls_of_a_budget_are_calls_whatever_they_cost() {
    let mut mission = Tested::running(json!({"budget": {"max_llm_calls": 2}}));
    for _ in 0..2 {
        let call = made(&mut mission, 0);
        answers(&mut mission, call, 0);
    }
    let third = asks(&mut mission, 0);
    assert!(matches!(third.as_slice(), [Record::CallHeld { .. }, Record::Requested { kind: RequestKind::Budget, .. }]));
    assert_eq!(mission.mission.status(), Status::Blocked);
}

#[test]
fn one_that_broke_off_is_made_again_and_counts_twice() {
    let mut mission = Tested::running(json!({"budget": {"max_cost_usd": 0.1}}));
    let call = made(&mut mission, 4);
    let records = mission.crash();
    assert!(records.contains(&Record::CallAgain { call }), "{records:?}");
    assert_eq!(mission.money(), (40_000, 40_000));
    mission.crash();
    assert_eq!(mission.money(), (80_000, 0), "a third does not fit: people are asked");
    assert_eq!(mission.mission.status(), Status::Blocked);
}

#[test]
fn one_that_is_put_off_takes_nothing_and_goes_on_by_itself() {
    let mut mission = Tested::running(json!({"budget": {"max_cost_usd": 0.1, "max_runtime_minutes": 10}}));
    let call = made(&mut mission, 8);
    put_off(&mut mission, call, 3_600);
    assert_eq!(mission.money(), (0, 0));
    assert_eq!((mission.mission.status(), mission.mission.postponed_until()), (Status::Running, Some(moment(3_600))));
    mission.suspend(None).expect("it only waits");
    assert!(!mission.mission.takes_run_time(), "its run clock stops");
    assert_eq!(mission.mission.next_due(mission.now).wall, Some(moment(3_600)));
    assert!(mission.pass(3_599).take(Command::Tick).expect("a tick").is_empty());
    let records = mission.pass(1).take(Command::Tick).expect("a tick");
    assert_eq!(records, [Record::CallResumed { call }]);
    assert_eq!(mission.money(), (0, 80_000));
    assert!(mission.mission.wants_turn(mission.now));
    mission.start().expect("its turn");
    assert!(mission.mission.is_being_made(call));
    answers(&mut mission, call, 2);
    assert_eq!(mission.money(), (20_000, 0));
    assert_eq!(mission.mission.ran_ms(), 0, "an hour of waiting is no run time");
}

#[test]
fn what_was_spent_meanwhile_is_asked_for_when_it_goes_on() {
    let mut mission = Tested::running(json!({"budget": {"max_cost_usd": 0.1}}));
    let off = made(&mut mission, 8);
    put_off(&mut mission, off, 60);
    let other = made(&mut mission, 8);
    answers(&mut mission, other, 8);
    let records = mission.pass(60).take(Command::Tick).expect("a tick");
    assert!(matches!(records.as_slice(), [Record::Requested { call, kind: RequestKind::Budget, .. }] if *call == off));
    assert_eq!(mission.mission.postponed_until(), None, "people are waited for, and no time");
    assert!(mission.pass(60).take(Command::Tick).expect("a tick").is_empty());
}

#[test]
fn one_that_is_put_off_outlives_a_crash_and_not_its_window() {
    let mut mission = Tested::running(json!({"autonomy_window": {"start_at": at(0), "end_at": at(1_000)}}));
    let call = made(&mut mission, 1);
    put_off(&mut mission, call, 5_000);
    let records = mission.crash();
    assert!(!records.contains(&Record::CallAgain { call }), "nobody has done anything for it: {records:?}");
    assert_eq!(mission.mission.spent(), Spend::NOTHING);
    mission.pass(1_000).take(Command::Tick).expect("a tick");
    assert_eq!(mission.end(), ("mission.timed_out", Status::TimedOut, "window_closed"));
}

#[test]
fn only_what_is_being_made_is_put_off() {
    let mut mission = Tested::running(json!({}));
    let call = made(&mut mission, 1);
    put_off(&mut mission, call, 10);
    let until = moment(20);
    let again = Command::Postpone {
        run: mission.run(),
        call,
        hinted: Some(until),
        hold_max: Duration::MAX,
        why: String::new(),
    };
    assert_eq!(mission.take(again), Err(Refusal::UnknownCall { call }));
    mission.ends(call, Err(CallError::Cancelled));
    assert_eq!((mission.mission.postponed_until(), mission.mission.spent()), (None, Spend::NOTHING));
}

#[test]
fn how_long_a_provider_is_waited_for() {
    let mut mission = Tested::running(json!({"budget": {"max_runtime_minutes": 60}}));
    let call = made(&mut mission, 1);
    let most = Duration::from_secs(3_600);
    let wait = |mission: &Tested, hinted: Option<i64>| {
        let (run, why) = (mission.run(), "429".to_owned());
        let command = Command::Postpone { run, call, hinted: hinted.map(moment), hold_max: most, why };
        match mission.mission.decide(mission.now, command).expect("in flight").as_slice() {
            [Record::Postponed { until, .. }] => Some(until.duration_since(mission.now.wall).as_secs()),
            [Record::CallFinished { outcome: Err(CallError::Failed(why)), .. }] if why.contains("hold_max") => None,
            records => panic!("{records:?}"),
        }
    };
    assert_eq!(wait(&mission, Some(600)), Some(600), "as the provider says");
    assert_eq!(wait(&mission, Some(-5)), Some(1), "a hint that is over");
    assert_eq!(wait(&mission, Some(3_601)), None, "longer than it may");
    // Without a hint: a minute, doubled each time, a quarter of an hour at most, until the hour is over.
    let mut waits = Vec::new();
    while let Some(seconds) = wait(&mission, None) {
        waits.push(seconds);
        put_off(&mut mission, call, seconds);
        mission.shift(seconds);
        mission.take(Command::Tick).expect("a tick");
    }
    assert_eq!(waits, [60, 120, 240, 480, 900, 900, 900]);
}
