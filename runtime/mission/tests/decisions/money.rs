//! Money: what a call may cost is set aside before it and settled after it; a call that breaks off costs again when it is made again;
//! one that is dearer than it was quoted is told, and ends the spending.

use serde_json::{Value, json};
use sortie_contract::event::EventType;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::record::Record;
use sortie_contract::request::{Decision, Reach, RequestKind};
use sortie_contract::tool::{CallError, ToolAnswer};
use sortie_contract::{Stamped, Status};
use sortie_mission::{Booking, Command, Mission, Refusal};

use crate::support::{Tested, start, the, tools};

const APPROVE: Decision = Decision::Approve { reach: Reach::Call };

/// Everything is allowed, `Edit` needs approval, and so many micro-dollars may be spent.
fn with(micro_usd: u32) -> Tested {
    Tested::running(json!({
        "constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]},
        "budget": {"max_cost_usd": f64::from(micro_usd) / 1e6},
    }))
}

fn grant(cost: u64) -> Decision {
    Decision::Grant { llm_calls: 0, cost: MicroUsd(cost) }
}

fn finished(call: CallNo, error: &CallError, spent: u64) -> Record {
    Record::CallFinished { call, outcome: Err(error.clone()), spent: Spend::money(MicroUsd(spent)) }
}

/// The error with which a call ends that is the last of some records.
fn error_of(records: &[Record]) -> &CallError {
    match records.last() {
        Some(Record::CallFinished { outcome: Err(error), .. }) => error,
        other => panic!("no error: {other:?}"),
    }
}

#[test]
fn a_tool_that_does_not_say_what_a_call_did_cost_took_what_it_was_quoted_at() {
    let text = || "t".to_owned();
    for (outcome, spent) in [
        (Ok(()), 7),
        (Err(CallError::Failed(text())), 7),
        (Err(CallError::TimedOut(text())), 7),
        (Err(CallError::Cancelled), 7),
        (Err(CallError::Denied(text())), 7),
        (Err(CallError::Uncertain(text())), 7),
        (Err(CallError::InvalidArguments(text())), 0),
    ] {
        let mut mission = with(10);
        let call = mission.call(&the("WebFetch"), 7).expect("7 of 10");
        assert_eq!(mission.money(), (0, 7));
        mission.ends(call, outcome.clone());
        assert_eq!(mission.money(), (spent, 0), "{outcome:?}");
    }
}

#[test]
fn a_tool_that_says_what_a_call_did_cost_is_believed_however_it_ended() {
    for outcome in [Ok(ToolAnswer { result: "1".into(), wrote: vec![] }), Err(CallError::Failed("t".into()))] {
        let mut mission = with(10);
        let call = mission.call(&the("WebFetch"), 7).expect("7 of 10");
        let spent = Some(Spend { llm_calls: 0, cost: MicroUsd(2) });
        mission.take(Command::CallDone { run: mission.run(), call, outcome, spent }).expect("in flight");
        assert_eq!(mission.money(), (2, 0));
    }
}

#[test]
fn a_held_call_that_is_given_up_costs_nothing() {
    let mut mission = with(10);
    let (call, _) = mission.held(&the("Edit"), 7, RequestKind::Approval);
    mission.ends(call, Err(CallError::Cancelled));
    assert_eq!((mission.money(), mission.mission.status()), ((0, 0), Status::Running));
}

#[test]
fn what_is_being_made_when_the_mission_ends_counts_as_spent() {
    let mut mission = with(10);
    mission.call(&the("WebFetch"), 7).expect("7 of 10");
    mission.says_done();
    assert_eq!(mission.money(), (7, 0));
    assert_eq!(mission.events.last().expect("its end").usage.estimated_cost_usd, 0.000_007);
}

#[test]
fn a_call_that_broke_off_costs_again_when_it_is_made_again() {
    for tool in ["WebFetch", "Write"] {
        let mut mission = with(20);
        let call = mission.call(&the(tool), 6).expect("6 of 20");
        for attempt in 2..=3 {
            let again =
                [Record::Started { run: RunNo(attempt), alone: false, announced: false }, Record::CallAgain { call }];
            assert_eq!(mission.crash(), again, "{tool}");
            assert_eq!(mission.money(), (6 * u64::from(attempt - 1), 6), "{tool}");
        }
        mission.ends(call, Ok(()));
        assert_eq!(mission.money(), (18, 0), "{tool}");
    }
}

#[test]
fn free_calls_are_made_again_without_a_word() {
    let mut mission = with(20);
    mission.call(&the("WebFetch"), 0).expect("granted");
    assert_eq!(mission.crash().len(), 1);
}

#[test]
fn a_call_that_does_not_fit_a_second_time_asks_for_budget() {
    let mut mission = with(10);
    let [fits, too_much] = [4, 6].map(|cost| mission.call(&the("WebFetch"), cost).expect("10 of 10"));
    mission.ends(fits, Ok(()));
    let started = mission.crash();
    let [Record::Started { .. }, Record::Requested { request, call, kind: RequestKind::Budget, .. }] =
        started.as_slice()
    else {
        panic!("{started:?}")
    };
    assert_eq!((*call, mission.money(), mission.mission.status()), (too_much, (10, 0), Status::Blocked));
    let mut refused = mission.decide(*request, grant(5));
    assert!(matches!(refused, Err(Refusal::NotEnough { .. })), "{refused:?}");
    refused = mission.decide(*request, grant(6));
    assert_eq!(refused.expect("granted").last(), Some(&Record::CallResumed { call: too_much }));
    assert_eq!(mission.money(), (10, 6));
    mission.ends(too_much, Ok(()));
    assert_eq!(mission.money(), (16, 0));
}

#[test]
fn calls_that_broke_off_together_are_made_again_as_far_as_the_budget_covers_them() {
    let mut mission = with(20);
    let calls = [4, 4, 4].map(|cost| mission.call(&the("WebFetch"), cost).expect("12 of 20"));
    let started = mission.crash();
    assert_eq!(started[1..3], [Record::CallAgain { call: calls[0] }, Record::CallAgain { call: calls[1] }]);
    assert!(matches!(&started[3], Record::PaymentAwaited { call, .. } if *call == calls[2]), "{started:?}");
    assert_eq!(mission.money(), (12, 8));
    mission.ends(calls[0], Ok(()));
    mission.ends(calls[1], Ok(()));
    assert_eq!(mission.mission.open_requests()[0].call, calls[2], "nothing came back: people are asked");
}

#[test]
fn who_is_refused_the_money_for_a_call_that_may_have_happened_is_told_so() {
    for (tool, may_have_happened) in [("WebFetch", false), ("Write", true)] {
        let mut mission = with(10);
        mission.call(&the(tool), 6).expect("6 of 10");
        mission.crash();
        let request = mission.mission.open_requests()[0].no;
        let records = mission.decide(request, Decision::Deny).expect("decided");
        assert_eq!(matches!(error_of(&records), CallError::Uncertain(_)), may_have_happened, "{tool}: {records:?}");
        assert_eq!(mission.money(), (6, 0), "{tool}: the first attempt counts");
    }
}

#[test]
fn a_call_that_was_approved_out_of_memory_was_made_by_nobody() {
    let mut mission = with(10);
    let (call, request) = mission.held(&the("Edit"), 7, RequestKind::Approval);
    mission.suspend(None).expect("it only waits");
    mission.decided(request, APPROVE);
    assert_eq!(mission.start().expect("its turn").len(), 1);
    assert_eq!((mission.money(), mission.mission.is_being_made(call)), ((0, 7), true));
}

#[test]
fn nobody_is_asked_for_money_for_a_tool_that_is_gone() {
    for (tool, told) in [("WebFetch", "denied"), ("Write", "uncertain")] {
        let mut mission = with(6);
        let call = mission.call(&the(tool), 6).expect("6 of 6");
        mission.mission = Mission::fold(mission.mission.envelope().clone(), &mission.records).expect("its own");
        let left: Vec<_> = tools().into_iter().filter(|info| info.name.as_str() != tool).collect();
        let started = mission.take(start(&left)).expect("its next run");
        assert_eq!(error_of(&started).code(), told);
        assert_eq!(started[1], finished(call, error_of(&started), 6), "the first attempt counts");
    }
}

#[test]
fn a_call_that_is_dearer_than_quoted_is_booked_whole_and_told() {
    let mut mission = with(100);
    let call = mission.call(&the("WebFetch"), 5).expect("5 of 100");
    mission.done(call, &[], 12);
    assert_eq!(mission.money(), (12, 0));
    let event = mission.events.last().expect("an event");
    assert_eq!((event.event_type, event.status), (EventType::Progress, Status::Running));
    assert!(event.summary.contains("$0.000007 more"), "{}", event.summary);
    assert_eq!(
        event.detail,
        json!({
            "kind": "overbilled", "call": 1, "tool": "WebFetch",
            "quoted": {"llm_calls": 0, "cost_usd": 0.000_005},
            "spent": {"llm_calls": 0, "cost_usd": 0.000_012},
            "excess": {"llm_calls": 0, "cost_usd": 0.000_007},
        })
    );
    assert_eq!(event.usage.estimated_cost_usd, 0.000_012);
}

#[test]
fn one_model_call_too_many_is_too_dear_as_well() {
    let mut mission = with(100);
    let call = mission.call(&the("WebFetch"), 5).expect("5 of 100");
    let spent = Some(Spend { llm_calls: 1, cost: MicroUsd(5) });
    let outcome = Err(CallError::Failed("t".into()));
    let records = mission.take(Command::CallDone { run: mission.run(), call, outcome, spent }).expect("in flight");
    assert!(matches!(records.as_slice(), [Record::CallFinished { .. }, Record::Overbilled { .. }]), "{records:?}");
}

/// A mission in which a call was too dear, with one paid call held for each reason before that. The first attempt of `Write` was given
/// up by a crash, and costs again.
fn barred() -> Tested {
    let mut mission = with(40);
    mission.call(&the("mcp__mail__send"), 15).expect("made when its run breaks off");
    mission.call(&the("Write"), 15).expect("and so is this");
    mission.crash();
    mission.held(&the("Edit"), 1, RequestKind::Approval);
    mission.held(&the("WebFetch"), 50, RequestKind::Budget);
    let dear = mission.call(&the("Read"), 2).expect("2 of 10");
    let spent = Some(Spend::money(MicroUsd(3)));
    let outcome = Err(CallError::TimedOut("t".into()));
    mission.take(Command::CallDone { run: mission.run(), call: dear, outcome, spent }).expect("in flight");
    mission
}

#[test]
fn after_a_call_that_was_too_dear_nobody_is_asked_for_money() {
    let mut mission = barred();
    let kinds: Vec<RequestKind> = mission.mission.open_requests().iter().map(|open| open.kind).collect();
    assert_eq!(kinds, [RequestKind::Uncertain], "what may have happened can still be told");
    let request = mission.mission.open_requests()[0].no;
    let Err(Refusal::Barred { why }) = mission.decide(request, Decision::Repeat) else {
        panic!("it is not made again")
    };
    assert!(why.contains("`Read`") && why.contains("$0.000003") && why.contains("$0.000002"), "{why}");
    mission.decide(request, Decision::Record { result: "1".into() }).expect("it is what came of it");
    let told = |call: u32, records: &[Stamped]| {
        let outcome = records.iter().find_map(|stamped| match &stamped.record {
            Record::CallFinished { call: CallNo(no), outcome: Err(error), .. } if *no == call => Some(error.code()),
            _ => None,
        });
        outcome.expect("it has ended")
    };
    // `Write` did not fit a second time; `Edit` was to be approved, and `WebFetch` to be paid for.
    assert_eq!(
        [2, 3, 4].map(|call| told(call, &mission.records)),
        ["uncertain", "budget-exhausted", "budget-exhausted"]
    );
}

#[test]
fn after_a_call_that_was_too_dear_free_calls_go_on() {
    let mut mission = barred();
    for (tool, cost) in [("WebFetch", 1), ("Edit", 1)] {
        let Err(CallError::BudgetExhausted(why)) = mission.call(&the(tool), cost) else {
            panic!("{tool} costs something")
        };
        assert!(why.contains("no further call that costs anything"), "{why}");
    }
    mission.call(&the("WebFetch"), 0).expect("it is free");
    mission.held(&the("Edit"), 0, RequestKind::Approval);
}

#[test]
fn after_a_call_that_was_too_dear_none_is_made_again() {
    for (tool, told) in [("WebFetch", "budget-exhausted"), ("Write", "uncertain")] {
        let mut mission = with(100);
        let (dear, lost) = (mission.call(&the("Read"), 1).expect("paid"), mission.call(&the(tool), 6).expect("paid"));
        mission.done(dear, &[], 2);
        assert_eq!(mission.money(), (2, 6), "what is on its way goes on");
        let started = mission.crash();
        assert_eq!(error_of(&started).code(), told);
        assert_eq!(started[1..], [finished(lost, error_of(&started), 6)]);
        assert_eq!(mission.money(), (8, 0));
    }
}

#[test]
fn a_mission_that_is_over_is_told_what_its_last_call_did_cost() {
    let mut mission = Tested::running(json!({
        "constraints": {"allowed_tools": ["*"]},
        "budget": {"max_runtime_minutes": 1.0},
    }));
    let call = mission.call(&the("Read"), 1).expect("paid");
    mission.pass(61).done(call, &[], 5);
    let records: Vec<&Record> = mission.records.iter().rev().take(3).map(|stamped| &stamped.record).collect();
    assert!(
        matches!(records[..], [Record::Finished { .. }, Record::Overbilled { .. }, Record::CallFinished { .. }]),
        "{records:?}"
    );
    assert_eq!(mission.money(), (5, 0));
}

#[test]
fn a_request_for_budget_shows_what_is_wanted_and_what_there_is() {
    let mut mission = with(10);
    let spent = mission.call(&the("WebFetch"), 5).expect("5 of 10");
    mission.ends(spent, Ok(()));
    mission.call(&the("WebFetch"), 2).expect("7 of 10");
    let (_, request) = mission.held(&the("WebFetch"), 6, RequestKind::Budget);
    let money = |micro: u32| json!({"llm_calls": 0, "cost_usd": f64::from(micro) / 1e6});
    let expected = json!({
        "wanted": money(6), "spent": money(5), "reserved": money(2),
        "limit": {"llm_calls": 1_000, "cost_usd": 0.000_010},
    });
    assert_eq!(mission.mission.request_view(request).expect("it is open")["budget"], expected);
    assert_eq!(mission.events.last().expect("blocked").detail["request"]["budget"], expected);
    let (_, approval) = mission.held(&the("Edit"), 0, RequestKind::Approval);
    assert_eq!(mission.mission.request_view(approval).expect("it is open")["budget"], Value::Null);
}

#[test]
fn what_is_booked_by_tool_is_in_sum_what_the_mission_spent() {
    let mut mission = barred();
    mission.says_done();
    let (first, rest) = mission.records.split_first().expect("it was accepted");
    let mut fold = Mission::begin(mission.mission.envelope().clone(), first).expect("a beginning");
    let (mut spent, mut aside) = (0, 0);
    for stamped in rest {
        for Booking { set_aside, let_go, spent: cost, .. } in fold.bookings(&stamped.record) {
            aside = aside + set_aside.cost.0 - let_go.cost.0;
            spent += cost.cost.0;
        }
        fold.apply(stamped).expect("they follow each other");
        assert_eq!((spent, aside), (fold.spent().cost.0, fold.reserved().cost.0), "{:?}", stamped.record);
    }
    assert_eq!((spent, aside), (15 + 15 + 3, 0));
}
