//! *Dispatch* and *Lifecycle*: a mission that waits gives its turn up, and goes on when what it waits for has come.

use serde_json::json;
use sortie_contract::Status;
use sortie_contract::id::RunNo;
use sortie_contract::money::Spend;
use sortie_contract::record::Record;
use sortie_contract::request::{Decision, Reach, RequestKind};
use sortie_contract::tool::{CallError, ToolAnswer};
use sortie_mission::{Command, Now, Refusal, Standing};

use crate::failed;
use crate::support::{ANSWER_SECONDS, Tested, at, moment, start, the};

const APPROVE: Decision = Decision::Approve { reach: Reach::Call };

fn guarded() -> Tested {
    Tested::running(json!({
        "constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]},
        "budget": {"max_cost_usd": 0.000_010},
    }))
}

#[test]
fn a_run_is_suspended_only_while_every_call_in_flight_is_held() {
    let mut mission = guarded();
    assert_eq!(mission.suspend(None), Err(Refusal::Busy), "it waits for nothing");
    let read = mission.call(&the("Read"), 0).expect("granted");
    assert_eq!(mission.suspend(Some(moment(60))), Err(Refusal::Busy), "a call is being made");
    mission.held(&the("Edit"), 0, RequestKind::Approval);
    assert_eq!(mission.suspend(None), Err(Refusal::Busy), "one is held, another is being made");
    mission.done(read, &[], 0);
    assert_eq!(mission.suspend(None), Ok(vec![Record::Suspended { until: None }]));

    let mut sleeper = guarded();
    let until = Some(moment(60));
    assert_eq!(sleeper.suspend(until), Ok(vec![Record::Suspended { until }]));
}

#[test]
fn a_run_is_not_suspended_if_anything_was_recorded_since_it_began_to_wait() {
    let mut mission = guarded();
    let (call, request) = mission.held(&the("Edit"), 0, RequestKind::Approval);
    mission.asks("Which one?");
    let records = mission.mission.records();
    assert_eq!(
        mission.decided(request, Decision::Deny),
        Record::CallFinished {
            call,
            outcome: Err(CallError::Denied("`Edit` was not approved by ada: noted".into())),
            spent: Spend::NOTHING,
        }
    );
    let stale = Command::Suspend { run: RunNo(1), records, until: None };
    assert_eq!(mission.take(stale), Err(Refusal::Busy), "the plugin has not seen the denial yet");
    mission.suspend(None).expect("it has seen all there is");
}

#[test]
fn a_suspended_run_is_fenced() {
    let mut mission = guarded();
    let (call, _) = mission.held(&the("Edit"), 0, RequestKind::Approval);
    mission.suspend(None).expect("it only waits");
    let (run, read, records) = (RunNo(1), the("Read"), mission.mission.records());
    assert_eq!(mission.mission.run(), None);
    let digest = sortie_contract::digest::Digest::of(b"{}");
    for command in [
        Command::PluginEnded { run, ending: failed("late", None, None), uncollected: Vec::new() },
        Command::CallDone { run, call, outcome: Err(CallError::Cancelled), spent: Some(Spend::NOTHING) },
        Command::Call { run, tool: (&read).into(), arguments: "{}".into(), digest, quote: Spend::NOTHING },
        Command::Ask { run, question: "?".into() },
        Command::Suspend { run, records, until: None },
    ] {
        let described = format!("{command:?}");
        assert_eq!(mission.take(command), Err(Refusal::Fenced { asked: run, current: run }), "{described}");
    }
}

#[test]
fn a_decision_wakes_it() {
    let mut mission = guarded();
    let (call, request) = mission.held(&the("Edit"), 0, RequestKind::Approval);
    mission.suspend(None).expect("it only waits");
    let waits = Standing { status: Status::Blocked, suspended: true, due: Some(moment(ANSWER_SECONDS / 2)) };
    assert_eq!(mission.mission.standing(), waits);
    assert!(!mission.mission.wants_turn(mission.now));
    assert_eq!(mission.decided(request, APPROVE), Record::CallResumed { call });
    assert_eq!(mission.mission.standing(), Standing { status: Status::Running, suspended: false, due: None });
    assert!(mission.mission.wants_turn(mission.now));
    assert_eq!(mission.start(), Ok(vec![Record::Started { run: RunNo(2), alone: false, announced: false }]));
    assert!(mission.mission.is_being_made(call), "nobody has made it: that is the next run's");
    let outcome = Ok(ToolAnswer { result: "null".into(), wrote: vec![] });
    mission.take(Command::CallDone { run: RunNo(2), call, outcome, spent: Some(Spend::NOTHING) }).expect("made");
    assert_eq!(mission.says_done().status, Status::Completed);
}

#[test]
fn a_decision_that_leads_to_another_request_does_not_wake_it() {
    let mut mission = guarded();
    let (_, request) = mission.held(&the("Edit"), 11, RequestKind::Approval);
    mission.suspend(None).expect("it only waits");
    let Record::Requested { request: budget, .. } = mission.decided(request, APPROVE) else { panic!("11 of 10") };
    assert!(mission.mission.standing().suspended && !mission.mission.wants_turn(mission.now));
    mission.decided(budget, Decision::Deny);
    assert!(!mission.mission.standing().suspended && mission.mission.wants_turn(mission.now));
}

#[test]
fn one_decision_of_several_wakes_it() {
    let mut mission = guarded();
    let (_, first) = mission.held(&the("Edit"), 0, RequestKind::Approval);
    mission.asks("Which one?");
    mission.suspend(None).expect("it only waits");
    mission.decided(first, Decision::Deny);
    assert_eq!(mission.mission.status(), Status::Blocked);
    assert!(mission.mission.wants_turn(mission.now), "a request holds its own call and nothing else");
}

#[test]
fn a_call_that_was_approved_out_of_memory_is_uncertain_only_once_a_run_has_begun() {
    let mut mission = guarded();
    let (_, request) = mission.held(&the("Edit"), 0, RequestKind::Approval);
    mission.suspend(None).expect("it only waits");
    mission.decided(request, APPROVE);
    assert_eq!(
        mission.crash(),
        [Record::Started { run: RunNo(2), alone: false, announced: false }],
        "no run was there that could have made it"
    );
    let records = mission.crash();
    assert!(matches!(records.as_slice(), [_, Record::Requested { kind: RequestKind::Uncertain, .. }]), "{records:?}");
}

#[test]
fn a_sleeper_wants_its_turn_when_its_time_has_come() {
    let mut mission = guarded();
    mission.suspend(Some(moment(60))).expect("it only sleeps");
    assert_eq!(
        mission.mission.standing(),
        Standing { status: Status::Running, suspended: true, due: Some(moment(60)) }
    );
    mission.pass(59);
    assert!(!mission.mission.wants_turn(mission.now));
    mission.pass(1);
    assert!(mission.mission.wants_turn(mission.now));
    mission.start().expect("it goes on");
    assert_eq!(mission.event_types(), ["mission.accepted", "mission.progress"], "nobody is told: it never stopped");
}

#[test]
fn a_clock_that_is_set_back_makes_no_sleep_longer() {
    let mut mission = guarded();
    mission.suspend(Some(moment(60))).expect("it only sleeps");
    let due_ms = mission.mission.next_due(mission.now).ran_ms.expect("it runs on while it sleeps");
    let day_before = moment(-24 * 60 * 60);
    for (ran_ms, wants) in [(due_ms - 1, false), (due_ms, true)] {
        assert_eq!(mission.mission.wants_turn(Now { wall: day_before, ran_ms, ..mission.now }), wants, "{ran_ms}");
    }
}

#[test]
fn who_sleeps_and_asks_wakes_by_the_time_that_it_is_out_of_memory() {
    let mut mission = guarded();
    mission.held(&the("Edit"), 0, RequestKind::Approval);
    mission.suspend(Some(moment(60))).expect("it only waits");
    let due = mission.mission.next_due(mission.now);
    assert_eq!((due.ran_ms, due.out_ms), (None, Some(60_001)), "its run time stands still");
    let day_before = moment(-24 * 60 * 60);
    for (out_ms, wants) in [(None, false), (Some(60_000), false), (Some(60_001), true)] {
        assert_eq!(mission.mission.wants_turn(Now { wall: day_before, out_ms, ..mission.now }), wants, "{out_ms:?}");
    }
}

#[test]
fn who_has_slept_enough_wants_its_turn_and_rings_no_more() {
    let mut mission = guarded();
    mission.suspend(Some(moment(60))).expect("it only sleeps");
    mission.pass(61);
    let due = mission.mission.next_due(mission.now);
    assert!(mission.mission.wants_turn(mission.now));
    assert!(due.wall.is_none_or(|at| at > mission.now.wall) && due.ran_ms.is_none_or(|at| at > mission.now.ran_ms));
}

#[test]
fn waiting_for_people_takes_no_run_time_and_sleeping_does() {
    let mut waits = guarded();
    waits.held(&the("Edit"), 0, RequestKind::Approval);
    waits.suspend(Some(moment(60))).expect("it only waits");
    assert!(!waits.mission.takes_run_time() && waits.mission.next_due(waits.now).ran_ms.is_none());
    let mut sleeps = guarded();
    sleeps.suspend(Some(moment(7_200))).expect("it only sleeps");
    assert!(sleeps.mission.takes_run_time());
    assert_eq!(sleeps.pass(3_600).take(Command::Tick).map(|records| records.len()), Ok(1), "the hour is spent");
    assert_eq!(sleeps.end().2, "run_time_spent");
}

#[test]
fn what_is_suspended_still_ends_in_time() {
    let suspended = || {
        let mut mission = Tested::running(json!({
            "constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]},
            "autonomy_window": {"end_at": at(2 * ANSWER_SECONDS)},
        }));
        mission.held(&the("Edit"), 0, RequestKind::Approval);
        mission.suspend(None).expect("it only waits");
        mission
    };
    let cancel = || Command::Cancel { reason: String::new(), by: "simone".into() };
    for (seconds, command, reason) in [
        (1, cancel(), "cancelled_by_request"),
        (1, Command::Halt, "halted"),
        (ANSWER_SECONDS, Command::Tick, "request_expired"),
        (2 * ANSWER_SECONDS, Command::Tick, "window_closed"),
        (2 * ANSWER_SECONDS, start(&[]), "window_closed"),
    ] {
        let mut mission = suspended();
        mission.pass(seconds).take(command).expect("its end");
        assert_eq!(mission.end().2, reason);
        assert!(!mission.mission.wants_turn(mission.now));
    }
}

#[test]
fn a_reminder_comes_while_it_is_out_of_memory() {
    let mut mission = guarded();
    let (_, request) = mission.held(&the("Edit"), 0, RequestKind::Approval);
    mission.suspend(None).expect("it only waits");
    let reminded = mission.pass(ANSWER_SECONDS / 2).take(Command::Tick);
    assert_eq!(reminded, Ok(vec![Record::Reminded { request }]));
    assert!(!mission.mission.wants_turn(mission.now));
}
