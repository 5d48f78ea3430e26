//! Landing: a plugin that asks is told when a limit comes near, and what is behind that mark is kept until it says that it lands.

use core::time::Duration;

use serde_json::json;
use sortie_contract::digest::Digest;
use sortie_contract::id::RunNo;
use sortie_contract::record::{Closing, HostQuestion, Record};
use sortie_contract::request::{Decision, Reach, RequestKind};
use sortie_contract::tool::CallError;
use sortie_contract::{MicroUsd, Spend};
use sortie_mission::{Command, Handle, Mission, Refusal};

use crate::support::{Tested, answer, at, moment, the};

/// It runs, its plugin has asked for the signal, and so much of each limit is kept, in thousandths.
fn asked(fields: serde_json::Value, share: u16) -> Tested {
    let mut mission = Tested::running(fields);
    ask(&mut mission, share);
    mission
}

fn ask(mission: &mut Tested, share: u16) -> Vec<Record> {
    mission.take(answer(RunNo(1), HostQuestion::Closing, &share.to_string())).expect("an answer")
}

fn budget(cents: u32) -> serde_json::Value {
    json!({"constraints": {"allowed_tools": ["*"]}, "budget": {"max_cost_usd": f64::from(cents) / 100.0}})
}

fn land(mission: &mut Tested) -> Vec<Record> {
    mission.take(Command::Land { run: mission.run() }).expect("it lands")
}

fn closing(records: &[Record]) -> Option<Closing> {
    records.iter().find_map(|record| if let Record::Closing { limit } = record { Some(*limit) } else { None })
}

#[test]
fn the_signal_is_given_at_the_mark_of_each_limit_and_once() {
    let window = json!({"autonomy_window": {"start_at": at(0), "end_at": at(1_000)}});
    let run_time = json!({"budget": {"max_runtime_minutes": 10}});
    for (what, fields, seconds, expected) in
        [("window", window, 950, Closing::Window), ("run time", run_time, 570, Closing::RunTime)]
    {
        let mut mission = asked(fields, 50);
        let before = mission.pass(seconds - 1).take(Command::Tick).expect("a tick");
        assert_eq!(closing(&before), None, "{what}: a second before");
        assert!(!mission.mission.is_closing());
        let due = mission.mission.next_due(mission.now);
        assert!(due.wall == Some(moment(seconds)) || due.ran_ms == Some(570_000), "{what}: {due:?}");
        let then = mission.pass(1).take(Command::Tick).expect("a tick");
        assert_eq!(closing(&then), Some(expected), "{what}");
        assert!(mission.mission.is_closing());
        assert_eq!(closing(&mission.pass(1).take(Command::Tick).expect("a tick")), None, "{what}: once");
    }
}

#[test]
fn the_marks_that_are_shown_are_those_at_which_the_signal_is_given() {
    let limits = json!({
        "constraints": {"allowed_tools": ["*"]},
        "budget": {"max_runtime_minutes": 10, "max_cost_usd": 1, "max_llm_calls": 40},
    });
    assert_eq!(Tested::running(limits.clone()).mission.landing_marks(), None, "nobody asked");
    let mut mission = asked(limits, 50);
    let marks = mission.mission.landing_marks().expect("it was asked for");
    assert_eq!(
        (marks.runtime_ms_max, marks.llm_calls_max, marks.cost_max),
        (570_000, Some(38), Some(MicroUsd(950_000)))
    );
    let call = mission.call(&the("WebFetch"), 950_000).expect("before the mark");
    mission.done(call, &[], 949_999);
    assert_eq!(mission.mission.closing(), None, "a millionth before");
    let call = mission.call(&the("WebFetch"), 1).expect("before the mark");
    mission.done(call, &[], 1);
    assert_eq!(mission.mission.closing(), Some(Closing::Cost));
    assert_eq!(mission.mission.landing_marks(), Some(marks), "they stay where they were");
}

#[test]
fn who_never_asks_is_not_told_and_has_all_of_its_budget() {
    let mut mission = Tested::running(budget(100));
    let call = mission.call(&the("WebFetch"), 1_000_000).expect("all of it");
    mission.done(call, &[], 1_000_000);
    assert!(!mission.mission.is_closing());
    assert!(!mission.records.iter().any(|stamped| matches!(stamped.record, Record::Closing { .. })));
}

#[test]
fn what_is_kept_is_refused_until_the_plugin_lands_and_nobody_is_asked() {
    let mut mission = asked(budget(100), 50);
    let call = mission.call(&the("WebFetch"), 940_000).expect("before the mark");
    mission.done(call, &[], 940_000);
    assert!(!mission.mission.is_closing(), "94 of 100");
    let refused = fetches(&mut mission, 20_000);
    let [Record::CallRefused { error: CallError::BudgetExhausted(why), .. }, Record::Closing { limit: Closing::Cost }] =
        refused.as_slice()
    else {
        panic!("{refused:?}")
    };
    assert!(why.contains("kept for landing"), "{why}");
    land(&mut mission);
    let call = mission.call(&the("WebFetch"), 20_000).expect("what was kept");
    mission.done(call, &[], 20_000);
    // Beyond the limit itself people are asked, as ever.
    let (_, request) = mission.held(&the("WebFetch"), 50_000, RequestKind::Budget);
    let granted = Decision::Grant { llm_calls: 0, cost: MicroUsd(10_000) };
    assert!(matches!(mission.decided(request, granted), Record::CallResumed { .. }));
}

/// Calls `WebFetch`, which may take so many micro-dollars, and what is recorded then.
fn fetches(mission: &mut Tested, cost: u64) -> Vec<Record> {
    let (fetch, arguments, digest) = (the("WebFetch"), "{}".to_owned(), Digest::of(b"{}"));
    let quote = Spend::money(MicroUsd(cost));
    mission
        .take(Command::Call { run: mission.run(), tool: (&fetch).into(), arguments, digest, quote })
        .expect("an answer")
}

/// Asks a model, which may take so many cents.
fn think(mission: &mut Tested, cents: u64) -> Vec<Record> {
    let quote = Spend { llm_calls: 1, cost: MicroUsd(cents * 10_000) };
    let (arguments, digest) = ("{}".to_owned(), Digest::of(b"{}"));
    let command = Command::Call { run: mission.run(), tool: Handle::Model, arguments, digest, quote };
    mission.take(command).expect("an answer")
}

fn is_kept(record: &Record) -> bool {
    let Record::CallFinished { outcome: Err(error), .. } = record else { return false };
    error.to_string().contains("kept for landing")
}

#[test]
fn a_call_that_was_put_off_does_not_go_on_with_what_is_kept() {
    let mut mission = asked(budget(100), 200);
    let first = think(&mut mission, 50);
    let [Record::CallStarted { call, .. }] = first.as_slice() else { panic!("{first:?}") };
    let until = moment(60);
    let put_off = Command::Postpone {
        run: mission.run(),
        call: *call,
        hinted: Some(until),
        hold_max: Duration::MAX,
        why: "429".to_owned(),
    };
    mission.take(put_off).expect("in flight");
    let other = mission.call(&the("WebFetch"), 400_000).expect("before the mark");
    mission.done(other, &[], 400_000);
    let records = mission.pass(60).take(Command::Tick).expect("a tick");
    let [ended, Record::Closing { limit: Closing::Cost }] = records.as_slice() else { panic!("{records:?}") };
    assert!(is_kept(ended), "{ended:?}");
    assert_eq!(mission.money(), (400_000, 0));
    land(&mut mission);
    assert!(matches!(think(&mut mission, 50).as_slice(), [Record::CallStarted { .. }]), "what was kept");
}

#[test]
fn a_call_that_broke_off_is_not_made_again_with_what_is_kept() {
    let mut mission = asked(budget(100), 200);
    let first = think(&mut mission, 45);
    assert!(matches!(first.as_slice(), [Record::CallStarted { .. }]), "{first:?}");
    let records = mission.crash();
    assert!(records.iter().any(is_kept), "90 of 100, and 20 are kept: {records:?}");
    assert_eq!(mission.money(), (450_000, 0), "nobody knows what came of the first attempt");
}

#[test]
fn money_that_is_granted_is_not_near_its_end() {
    let mut mission = asked(budget(100), 200);
    let call = mission.call(&the("WebFetch"), 700_000).expect("before the mark");
    mission.done(call, &[], 700_000);
    let (_, request) = mission.held(&the("WebFetch"), 400_000, RequestKind::Budget);
    let granted = Decision::Grant { llm_calls: 0, cost: MicroUsd(1_000_000) };
    assert!(matches!(mission.decided(request, granted), Record::CallResumed { .. }));
    assert_eq!((mission.money(), mission.mission.is_closing()), ((700_000, 400_000), false), "110 of 200");
}

#[test]
fn behind_the_end_nobody_is_told_that_it_comes_near() {
    let mut mission = asked(json!({"budget": {"max_runtime_minutes": 10}}), 50);
    let records = mission.pass(600).take(Command::StopNode).expect("it stops");
    assert_eq!(records, [Record::NodeStopped]);
}

#[test]
fn what_costs_nothing_is_never_kept() {
    let mut mission = asked(budget(100), 500);
    let call = mission.call(&the("WebFetch"), 500_000).expect("half of it");
    mission.done(call, &[], 500_000);
    assert!(mission.mission.is_closing());
    assert!(mission.call(&the("Read"), 0).is_ok());
}

#[test]
fn money_that_comes_near_its_end_is_told_with_the_call_that_brings_it_there() {
    let mut mission = asked(budget(100), 50);
    let call = mission.call(&the("WebFetch"), 950_000).expect("before the mark");
    assert!(!mission.mission.is_closing(), "95 of 100 are set aside, and most of it may come back");
    mission.done(call, &[], 10_000);
    assert!(!mission.mission.is_closing(), "1 of 100");
    let call = mission.call(&the("WebFetch"), 940_000).expect("before the mark");
    mission.done(call, &[], 940_000);
    assert!(mission.mission.is_closing(), "95 of 100 are spent");
}

#[test]
fn a_grant_moves_the_mark_before_it_is_looked_at() {
    let mut mission = asked(budget(100), 50);
    let call = mission.call(&the("WebFetch"), 900_000).expect("before the mark");
    mission.done(call, &[], 900_000);
    let (_, request) = mission.held(&the("WebFetch"), 200_000, RequestKind::Budget);
    let granted = Decision::Grant { llm_calls: 0, cost: MicroUsd(1_000_000) };
    assert!(matches!(mission.decided(request, granted), Record::CallResumed { .. }));
    assert!(!mission.mission.is_closing(), "90 of 200");
}

#[test]
fn who_asks_behind_the_mark_is_told_at_once() {
    let mut mission = Tested::running(budget(100));
    let call = mission.call(&the("WebFetch"), 960_000).expect("nothing is kept yet");
    mission.done(call, &[], 960_000);
    assert_eq!(closing(&ask(&mut mission, 50)), Some(Closing::Cost));
}

#[test]
fn what_was_approved_or_put_off_does_not_take_what_is_kept_without_being_asked_about() {
    let fields = json!({
        "constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]}, "budget": {"max_cost_usd": 1.0},
    });
    let mut mission = asked(fields, 50);
    let (_, request) = mission.held(&the("Edit"), 100_000, RequestKind::Approval);
    let call = mission.call(&the("WebFetch"), 900_000).expect("before the mark");
    mission.done(call, &[], 900_000);
    let decided = mission.decide(request, Decision::Approve { reach: Reach::Call }).expect("a decision");
    assert!(
        matches!(decided.as_slice(), [Record::Decided { .. }, Record::Requested { kind: RequestKind::Budget, .. }]),
        "{decided:?}"
    );
}

#[test]
fn nobody_is_asked_any_more_for_what_landing_sets_free() {
    let fields = json!({
        "constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]}, "budget": {"max_cost_usd": 1.0},
    });
    for (cost, is_covered) in [(100_000, true), (100_001, false)] {
        let mut mission = asked(fields.clone(), 50);
        let (call, request) = mission.held(&the("Edit"), cost, RequestKind::Approval);
        let other = mission.call(&the("WebFetch"), 900_000).expect("before the mark");
        mission.done(other, &[], 900_000);
        mission.decide(request, Decision::Approve { reach: Reach::Call }).expect("a decision");
        assert_eq!(mission.mission.open_requests()[0].kind, RequestKind::Budget);
        let records = land(&mut mission);
        let resumed = records.contains(&Record::CallResumed { call });
        assert_eq!(
            (resumed, mission.mission.open_requests().is_empty()),
            (is_covered, is_covered),
            "{cost}: {records:?}"
        );
    }
}

#[test]
fn a_window_that_was_half_over_when_it_began_is_no_shorter_for_it() {
    let window = json!({"autonomy_window": {"start_at": at(-1_000_000), "end_at": at(1_000)}});
    let mission = asked(window, 50);
    assert!(!mission.mission.is_closing());
    assert_eq!(mission.mission.next_due(mission.now).wall, Some(moment(950)));
}

/// Where as much is on record as may be, a call that is kept for landing ends the mission, and nothing stands behind its end.
#[test]
fn the_end_is_the_last_record_also_where_a_call_is_kept() {
    let mut mission = asked(budget(100), 50);
    let call = mission.call(&the("WebFetch"), 940_000).expect("before the mark");
    mission.done(call, &[], 940_000);
    let large = "x".repeat(sortie_contract::limit::CALL_BYTES_MAX);
    for _ in 0..sortie_contract::limit::RECORDED_BYTES_MAX / sortie_contract::limit::CALL_BYTES_MAX {
        mission.take(answer(RunNo(1), HostQuestion::Now, &large)).expect("there is room");
    }
    assert!(matches!(fetches(&mut mission, 20_000).as_slice(), [Record::Finished { .. }]));
}

#[test]
fn shares_are_rounded_down() {
    let calls = |max: u32| json!({"constraints": {"allowed_tools": ["*"]}, "budget": {"max_llm_calls": max}});
    for (max, kept) in [(3, 0), (19, 0), (20, 1), (100, 5)] {
        let mission = asked(calls(max), 50);
        assert_eq!(mission.mission.left(mission.now).landing_llm_calls, kept, "of {max}");
    }
}

#[test]
fn landing_is_told_once_whatever_the_cadence() {
    for cadence in ["milestone", "interval", "hybrid"] {
        let mut mission = asked(json!({"report_cadence": cadence}), 50);
        let before = mission.events.len();
        land(&mut mission);
        land(&mut mission);
        let told: Vec<_> = mission.events[before..].iter().collect();
        assert_eq!(told.len(), 1, "{cadence}");
        assert_eq!((told[0].event_type.as_str(), &told[0].detail["kind"]), ("mission.progress", &json!("landing")));
        assert!(mission.mission.lands());
    }
}

#[test]
fn a_window_that_the_mission_is_carried_over_from_is_no_limit() {
    let window = json!({
        "autonomy_window": {"start_at": at(0), "end_at": at(1_000)}, "on_window_end": "suspend", "carry_over_max": 1,
    });
    let mut mission = asked(window, 50);
    assert_eq!(closing(&mission.pass(999).take(Command::Tick).expect("a tick")), None);
    assert!(mission.mission.deadline(mission.now).is_some_and(|at| at > moment(1_000)), "the run time's");
}

#[test]
fn one_that_is_out_of_memory_is_brought_back_to_land() {
    let window = json!({
        "constraints": {"allowed_tools": ["*"], "approval_required": ["Write"]},
        "autonomy_window": {"start_at": at(0), "end_at": at(1_000)},
    });
    let mut mission = asked(window, 50);
    mission.held(&the("Write"), 0, RequestKind::Approval);
    mission.suspend(None).expect("it only waits");
    assert!(!mission.mission.wants_turn(mission.now));
    assert_eq!(closing(&mission.pass(950).take(Command::Tick).expect("a tick")), Some(Closing::Window));
    assert!(mission.mission.wants_turn(mission.now));
}

#[test]
fn what_is_left_and_until_when() {
    let fields = json!({
        "constraints": {"allowed_tools": ["*"]},
        "budget": {"max_cost_usd": 1.0, "max_llm_calls": 40, "max_runtime_minutes": 10},
        "autonomy_window": {"start_at": at(0), "end_at": at(100)},
    });
    let mut mission = asked(fields, 50);
    mission.call(&the("WebFetch"), 100_000).expect("a tenth");
    mission.pass(60);
    let left = mission.mission.left(mission.now);
    let expected = (540_000, Some(40), Some(900_000), 2, 50_000);
    let got = (left.runtime_ms, left.llm_calls, left.cost_micro_usd, left.landing_llm_calls, left.landing_micro_usd);
    assert_eq!(got, expected);
    assert_eq!(mission.mission.deadline(mission.now), Some(moment(100)), "the window's, not the run time's");
    land(&mut mission);
    assert_eq!(mission.mission.left(mission.now).landing_micro_usd, 0, "nothing is kept any more");
}

#[test]
fn a_run_that_is_over_lands_no_more() {
    let mut mission = asked(json!({}), 50);
    mission.crash();
    assert!(matches!(mission.take(Command::Land { run: RunNo(1) }), Err(Refusal::Fenced { .. })));
    // What its plugin asked before is on record: the signal needs no second asking.
    mission.pass(58 * 60);
    assert_eq!(closing(&mission.take(Command::Tick).expect("a tick")), Some(Closing::RunTime));
    assert_eq!(Mission::fold(mission.mission.envelope().clone(), &mission.records).ok(), Some(mission.mission));
}

#[test]
fn an_approval_takes_nothing_of_what_is_kept_without_the_budget() {
    let fields = json!({
        "constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]}, "budget": {"max_cost_usd": 1.0},
    });
    let mut mission = asked(fields, 50);
    let (_, request) = mission.held(&the("Edit"), 900_000, RequestKind::Approval);
    assert!(!mission.mission.is_closing(), "a held call sets nothing aside");
    let decided = mission.decide(request, Decision::Approve { reach: Reach::Call }).expect("a decision");
    assert!(matches!(decided.as_slice(), [Record::Decided { .. }, Record::CallResumed { .. }]), "{decided:?}");
}
