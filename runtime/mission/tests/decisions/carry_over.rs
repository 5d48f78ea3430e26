//! *Schedules*, carry-over: at the end of its window a mission is suspended, and goes on in the next one.

use serde_json::json;
use sortie_contract::envelope::Window;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::record::Record;
use sortie_contract::request::{Decision, Reach, RequestKind, RequestNo};
use sortie_contract::tool::CallError;
use sortie_contract::{Status, Timestamp};
use sortie_mission::{Command, Left, Mission, Night, Refusal};

use crate::children::{asks, dispatched};
use crate::support::{Tested, at, conditions, moment, start, the, tools};

const TEN_MINUTES: i64 = 600;
const DAY: i64 = 86_400;

/// The window of a night: forty minutes.
fn night(no: i64) -> Window {
    Window { start_at: Some(moment(no * DAY)), end_at: Some(moment(no * DAY + 4 * TEN_MINUTES)) }
}

fn carried(no: i64) -> Record {
    let Window { start_at, end_at } = night(no);
    Record::CarriedOver { start_at, end_at }
}

/// A mission of the night that begins at noon.
fn nightly(more: &serde_json::Value) -> Tested {
    let mut fields = json!({
        "autonomy_window": {"start_at": at(0), "end_at": at(4 * TEN_MINUTES)},
        "on_window_end": "suspend",
        "constraints": {"allowed_tools": ["*"], "approval_required": ["mcp__odd__thing"]},
        "budget": {"max_cost_usd": 0.0001},
        "heartbeat_interval_seconds": 1_200,
    });
    fields.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let mut mission = Tested::queued(fields);
    mission.now.next_window = Some(night(1));
    mission
}

fn running(more: &serde_json::Value) -> Tested {
    let mut mission = nightly(more);
    mission.start().expect("its turn");
    mission
}

/// The next night has come.
fn next_night(mission: &mut Tested) -> Vec<Record> {
    let left = moment(DAY).duration_since(mission.now.wall).as_secs();
    mission.pass(left);
    mission.start().expect("its turn")
}

#[test]
fn at_the_end_of_its_window_it_is_suspended_and_goes_on_in_the_next_with_its_budget() {
    let mut mission = running(&json!({}));
    let call = mission.call(&the("WebFetch"), 40).expect("granted");
    mission.done(call, &[], 40);
    mission.pass(4 * TEN_MINUTES - 1);
    assert_eq!(mission.take(Command::Tick).expect("a tick"), [Record::Heartbeat]);
    mission.pass(1);
    assert_eq!(mission.take(Command::Tick).expect("a tick"), [carried(1)]);
    assert_eq!((mission.mission.status(), mission.mission.run()), (Status::Running, None));
    let told = mission.events.last().expect("an event");
    assert_eq!((told.event_type.as_str(), &told.detail["kind"]), ("mission.progress", &json!("carried_over")));
    assert_eq!(told.detail["window"]["start_at"], at(DAY));
    // What comes late of the run that is over is not taken.
    let late = Command::Milestone { run: RunNo(1), text: "late".into() };
    assert_eq!(mission.take(late), Err(Refusal::Fenced { asked: RunNo(1), current: RunNo(1) }));
    let used = mission.mission.usage(mission.now);
    assert_eq!(mission.take(start(&tools())), Err(Refusal::NotYet { start_at: moment(DAY) }));
    assert!(mission.mission.wants_turn(mission.now), "the queue holds it until its window opens");
    assert_eq!(
        next_night(&mut mission),
        [Record::Started { run: RunNo(2), alone: false, announced: false }],
        "nothing of it is begun anew"
    );
    assert_eq!(mission.mission.usage(mission.now), used, "what lies between costs no run time");
    assert_eq!(mission.money(), (40, 0));
    assert_eq!(mission.call(&the("WebFetch"), 60), Ok(CallNo(2)), "what is left of the budget is there");
    assert_eq!((mission.mission.window(), mission.mission.carried_over()), (night(1), 1));
    assert_eq!(mission.says_done().detail["reason"], "done");
}

#[test]
fn it_tells_of_the_next_window_though_another_mission_asks() {
    let mut mission = running(&json!({}));
    let call = dispatched(&mut mission, json!({}));
    let open = vec![asks("m-1.child-1", 1, "Which?")];
    mission.take(Command::ChildAsks { call, open }).expect("it waits for it");
    mission.shift(4 * TEN_MINUTES);
    assert_eq!(mission.take(Command::Tick).expect("a tick"), [carried(1)]);
    assert_eq!(mission.mission.status(), Status::Blocked);
    assert_eq!(mission.events.last().expect("an event").detail["kind"], "carried_over");
}

#[test]
fn it_is_carried_over_so_often_and_then_timed_out() {
    for (fields, times) in [(json!({}), 5), (json!({"carry_over_max": 2}), 2), (json!({"carry_over_max": 0}), 0)] {
        let mut mission = running(&fields);
        for no in 1..=times {
            mission.now.next_window = Some(night(no));
            let closes = mission.mission.window().end_at.expect("an end");
            // Its run time has its own end.
            mission.shift(closes.duration_since(mission.now.wall).as_secs());
            assert!(mission.mission.wants_window(mission.now.wall));
            assert_eq!(mission.take(Command::Tick).expect("a tick"), [carried(no)]);
            mission.pass(moment(no * DAY).duration_since(mission.now.wall).as_secs());
            mission.start().expect("its turn");
        }
        mission.shift(4 * TEN_MINUTES);
        assert!(!mission.mission.wants_window(mission.now.wall), "nobody need look for a further one");
        mission.take(Command::Tick).expect("a tick");
        assert_eq!(mission.end(), ("mission.timed_out", Status::TimedOut, "window_closed"));
    }
}

#[test]
fn without_a_further_window_or_without_the_word_it_is_timed_out() {
    for (fields, next) in [(json!({}), None), (json!({"on_window_end": "end"}), Some(night(1)))] {
        let mut mission = running(&fields);
        mission.now.next_window = next;
        mission.pass(4 * TEN_MINUTES);
        mission.take(Command::Tick).expect("a tick");
        assert_eq!(mission.end(), ("mission.timed_out", Status::TimedOut, "window_closed"));
    }
    let mut spent = running(&json!({"budget": {"max_runtime_minutes": 40}}));
    spent.pass(4 * TEN_MINUTES);
    spent.take(Command::Tick).expect("a tick");
    assert_eq!(spent.end().2, "run_time_spent", "its budget is kept, and so is that it has none left");
}

#[test]
fn any_command_of_a_run_may_find_that_its_window_is_over_and_a_result_is_kept() {
    let mut mission = running(&json!({}));
    let call = mission.call(&the("mcp__mail__send"), 30).expect("granted");
    mission.pass(4 * TEN_MINUTES);
    let records = mission.ends(call, Ok(()));
    assert!(matches!(records.as_slice(), [Record::CallFinished { .. }, Record::CarriedOver { .. }]), "{records:?}");
    assert!(!mission.mission.has_broken_off());
    let mut mission = running(&json!({}));
    mission.pass(4 * TEN_MINUTES);
    let note = Command::Milestone { run: RunNo(1), text: "late".into() };
    assert_eq!(mission.take(note).expect("an answer"), [carried(1)], "and it is not recorded");
}

#[test]
fn a_call_that_its_window_cut_off_is_asked_about_at_once_or_made_again() {
    let mut mission = running(&json!({}));
    let mail = mission.call(&the("mcp__mail__send"), 30).expect("granted");
    let read = mission.call(&the("Read"), 0).expect("granted");
    let fetch = mission.call(&the("WebFetch"), 20).expect("granted");
    mission.pass(4 * TEN_MINUTES);
    mission.take(Command::Tick).expect("a tick");
    assert!(mission.mission.has_broken_off());
    // By day, while people are there.
    let asked = mission.take(Command::Doubt(&tools())).expect("an answer");
    match asked.as_slice() {
        [
            Record::Requested { call, kind: RequestKind::Uncertain, expires_at, .. },
            Record::CallAgain { call: again },
        ] => {
            assert_eq!((*call, *again), (mail, fetch));
            assert_eq!(*expires_at, moment(4 * TEN_MINUTES + DAY), "the question outlives the window");
        }
        other => panic!("not asked: {other:?}"),
    }
    assert_eq!(mission.money(), (50, 20), "what may have been spent is");
    assert_eq!(mission.take(Command::Doubt(&tools())), Ok(vec![]), "once");
    assert_eq!(mission.mission.status(), Status::Blocked);
    // What is decided by day is done at night.
    mission.pass(TEN_MINUTES);
    mission.decide(RequestNo(1), Decision::Repeat).expect("by day");
    assert_eq!(mission.mission.run(), None);
    assert_eq!(next_night(&mut mission).len(), 1, "nobody is asked again: {:?}", mission.records.last());
    for call in [mail, read, fetch] {
        assert!(mission.mission.is_being_made(call), "{call} is made by this run");
    }
}

#[test]
fn one_that_nobody_saw_to_is_asked_about_when_it_goes_on() {
    let mut mission = running(&json!({}));
    mission.call(&the("mcp__mail__send"), 0).expect("granted");
    mission.pass(4 * TEN_MINUTES);
    mission.take(Command::Tick).expect("a tick");
    let records = next_night(&mut mission);
    assert!(
        matches!(records.as_slice(), [Record::Started { .. }, Record::Requested { kind: RequestKind::Uncertain, .. }]),
        "{records:?}"
    );
}

#[test]
fn a_question_outlives_the_window_and_what_was_approved_by_day_has_not_happened() {
    let mut mission = running(&json!({}));
    let (call, request) = mission.held(&the("mcp__odd__thing"), 0, RequestKind::Approval);
    mission.suspend(None).expect("it only waits");
    mission.pass(4 * TEN_MINUTES);
    let told = mission.events.len();
    assert_eq!(mission.take(Command::Tick).expect("a tick"), [carried(1)]);
    assert_eq!(
        (mission.mission.status(), mission.events.len()),
        (Status::Blocked, told),
        "it waits for people as before"
    );
    assert!(!mission.mission.wants_turn(mission.now));
    let approve = Decision::Approve { reach: Reach::Call };
    assert_eq!(mission.decided(request, approve), Record::CallResumed { call });
    assert!(mission.mission.wants_turn(mission.now), "in its window");
    assert_eq!(next_night(&mut mission), [Record::Started { run: RunNo(2), alone: false, announced: false }]);
    assert!(mission.mission.is_being_made(call));
    // Nobody answers: it ends when the question does, not with the window.
    let mut mission = running(&json!({}));
    mission.pass(3 * TEN_MINUTES);
    let (_, request) = mission.asks("A or B?");
    let expires = mission.mission.open_requests()[0].expires_at;
    assert_eq!(expires, moment(3 * TEN_MINUTES + DAY));
    mission.suspend(None).expect("it only waits");
    // Decided in the very moment in which the window closes, before anybody saw to that.
    mission.pass(TEN_MINUTES);
    let records = mission.decide(request, Decision::Answer { text: "A".into() }).expect("a decision");
    assert!(
        matches!(records.as_slice(), [Record::CarriedOver { .. }, Record::Decided { .. }, Record::CallFinished { .. }]),
        "{records:?}"
    );
}

#[test]
fn a_sleep_takes_no_run_time_between_the_windows() {
    let mut mission = running(&json!({}));
    let until: Timestamp = moment(12 * TEN_MINUTES);
    mission.suspend(Some(until)).expect("it sleeps");
    mission.pass(4 * TEN_MINUTES);
    let slept = mission.now.ran_ms;
    assert_eq!(mission.take(Command::Tick).map(|records| records.last().cloned()), Ok(Some(carried(1))));
    assert!(!mission.mission.takes_run_time());
    next_night(&mut mission);
    assert_eq!(mission.now.ran_ms, slept, "its timer is due by the wall clock");
}

#[test]
fn one_that_had_no_turn_in_its_window_waits_for_the_next() {
    let mut mission = nightly(&json!({}));
    mission.pass(4 * TEN_MINUTES);
    let told = mission.events.len();
    assert_eq!(mission.take(start(&tools())).expect("an answer"), [carried(1)]);
    assert_eq!((mission.mission.status(), mission.mission.window()), (Status::Queued, night(1)));
    assert_eq!(mission.events.len(), told, "it is queued as before");
    next_night(&mut mission);
    assert_eq!(mission.mission.status(), Status::Running);
}

#[test]
fn a_run_meets_the_end_of_the_hours_like_that_of_its_window_and_one_that_waits_does_not() {
    let until = Some(moment(TEN_MINUTES));
    let all = tools();
    let open = || Command::Start(sortie_mission::Conditions { open_until: until, ..conditions(&all) });
    for (fields, end) in [(json!({"on_window_end": "end"}), true), (json!({}), false)] {
        let mut mission = nightly(&fields);
        mission.now.next_window = Some(Window { start_at: Some(moment(2 * TEN_MINUTES)), ..night(0) });
        let records = mission.take(open()).expect("its turn");
        assert!(records.contains(&Record::OpenUntil { at: moment(TEN_MINUTES) }), "{records:?}");
        assert_eq!(mission.mission.next_due(mission.now).wall, until, "somebody sees to it then");
        mission.pass(TEN_MINUTES);
        mission.take(Command::Tick).expect("a tick");
        if end {
            assert_eq!(mission.end(), ("mission.timed_out", Status::TimedOut, "window_closed"));
            assert!(mission.events.last().expect("an event").summary.contains("hours of its lane"));
        } else {
            assert_eq!(mission.mission.window().start_at, Some(moment(2 * TEN_MINUTES)));
        }
    }
    let mut blocked = nightly(&json!({"on_window_end": "end"}));
    blocked.take(open()).expect("its turn");
    blocked.asks("A or B?");
    blocked.suspend(None).expect("it only waits");
    blocked.pass(TEN_MINUTES + 1);
    assert_eq!(blocked.take(Command::Tick), Ok(vec![]), "it does not run");
    assert_eq!(blocked.mission.status(), Status::Blocked);
}

#[test]
fn what_was_refused_costs_nothing_and_a_crash_in_between_changes_nothing() {
    let mut mission = running(&json!({"constraints": {"allowed_tools": ["WebFetch"]}}));
    assert!(matches!(mission.call(&the("Edit"), 0), Err(CallError::Denied(_))));
    mission.pass(4 * TEN_MINUTES);
    mission.take(Command::Tick).expect("a tick");
    let before = mission.mission.clone();
    let folded = Mission::fold(mission.mission.envelope().clone(), &mission.records);
    assert_eq!(folded.expect("its own records"), before);
}

#[test]
fn what_was_approved_and_not_made_before_a_further_window_closes_is_not_doubted() {
    let mut mission = running(&json!({"constraints": {"allowed_tools": ["*"], "approval_required": ["WebFetch"]}}));
    let (call, request) = mission.held(&the("WebFetch"), 30, RequestKind::Approval);
    mission.suspend(None).expect("it only waits");
    mission.decided(request, Decision::Approve { reach: Reach::Call });
    assert_eq!(mission.money(), (0, 30));
    // It had no turn before its window closed, twice.
    for no in 1..=2 {
        mission.now.next_window = Some(night(no));
        let closes = mission.mission.window().end_at.expect("an end");
        mission.shift(closes.duration_since(mission.now.wall).as_secs());
        assert_eq!(mission.take(Command::Tick).expect("a tick"), [carried(no)]);
        assert!(!mission.mission.has_broken_off(), "nobody made it");
    }
    mission.shift(moment(2 * DAY).duration_since(mission.now.wall).as_secs());
    assert_eq!(mission.start().expect("its turn").len(), 1);
    assert!(mission.mission.is_being_made(call));
    assert_eq!(mission.money(), (0, 30), "and nothing is paid for it");
}

#[test]
fn a_call_that_was_seen_to_is_not_paid_for_with_each_further_window() {
    let mut mission = running(&json!({}));
    mission.call(&the("WebFetch"), 20).expect("granted");
    mission.pass(4 * TEN_MINUTES);
    mission.take(Command::Tick).expect("a tick");
    mission.take(Command::Doubt(&tools())).expect("an answer");
    assert_eq!(mission.money(), (20, 20));
    mission.now.next_window = Some(night(2));
    mission.shift(DAY);
    assert_eq!(mission.take(Command::Tick).expect("a tick"), [carried(2)]);
    assert_eq!(mission.take(Command::Doubt(&tools())), Ok(vec![]));
    assert_eq!(mission.money(), (20, 20), "it was not made in between");
}

#[test]
fn one_that_sleeps_meets_the_end_of_the_hours_and_takes_no_run_time_behind_it() {
    let all = tools();
    let mut mission = nightly(&json!({}));
    mission.now.next_window = Some(Window { start_at: Some(moment(2 * TEN_MINUTES)), ..night(0) });
    let open = Command::Start(sortie_mission::Conditions { open_until: Some(moment(TEN_MINUTES)), ..conditions(&all) });
    mission.take(open).expect("its turn");
    mission.suspend(Some(moment(TEN_MINUTES + 60))).expect("it sleeps");
    assert_eq!(mission.mission.next_due(mission.now).wall, Some(moment(TEN_MINUTES)), "somebody sees to it then");
    mission.pass(TEN_MINUTES);
    let records = mission.take(Command::Tick).expect("a tick");
    assert!(matches!(records.as_slice(), [Record::CarriedOver { .. }]), "{records:?}");
    assert!(!mission.mission.takes_run_time());
}

#[test]
fn being_carried_over_is_no_coming_forward() {
    let mut mission = running(&json!({}));
    for _ in 0..2 {
        mission.crash();
    }
    let crashes = mission.mission.crashes();
    assert!(crashes > 0);
    mission.pass(4 * TEN_MINUTES);
    mission.take(Command::Tick).expect("a tick");
    assert_eq!(mission.mission.crashes(), crashes);
}

#[test]
fn a_window_in_which_it_has_no_turn_uses_none_up() {
    let mut mission = running(&json!({"carry_over_max": 1}));
    mission.now.expires_at = moment(3 * DAY + 60);
    mission.asks("A or B?");
    mission.suspend(None).expect("it only waits");
    // It waits for people through more windows than it may be carried over into; the question ends by its own time.
    for no in 1..=3 {
        mission.now.next_window = Some(night(no));
        mission.now.wall = mission.mission.window().end_at.expect("an end");
        assert_eq!(mission.take(Command::Tick).map(|records| records.last().cloned()), Ok(Some(carried(no))));
        assert_eq!((mission.mission.carried_over(), mission.mission.status()), (1, Status::Blocked));
    }
    mission.now.wall = moment(3 * DAY + 60);
    mission.take(Command::Tick).expect("a tick");
    assert_eq!(mission.end(), ("mission.timed_out", Status::TimedOut, "request_expired"));
}

#[test]
fn a_night_has_what_was_spent_in_it_and_what_it_left() {
    let mut mission = running(&json!({}));
    let call = mission.call(&the("WebFetch"), 40).expect("granted");
    mission.done(call, &[], 40);
    mission.pass(4 * TEN_MINUTES);
    mission.take(Command::Tick).expect("a tick");
    next_night(&mut mission);
    let call = mission.call(&the("WebFetch"), 10).expect("granted");
    mission.done(call, &[], 10);
    mission.says_done();
    let part = |from: i64, until: i64| {
        let mut night = Night::new(moment(from), moment(until));
        for upto in 1..=mission.records.len() {
            let folded = Mission::fold(mission.mission.envelope().clone(), &mission.records[..upto]);
            night.take(&folded.expect("its own records"), &mission.records[upto - 1]);
        }
        night.part().map(|part| (part.left, part.spent.cost.0))
    };
    assert_eq!(part(-3_600, TEN_MINUTES), Some((Left::Running, 40)));
    assert_eq!(part(-3_600, DAY), Some((Left::CarriedOver, 40)));
    assert_eq!(part(DAY, 2 * DAY), Some((Left::Done, 10)), "and not what it had spent before");
    assert_eq!(part(2 * DAY, 3 * DAY), None, "it was over");
    assert_eq!(part(-7_200, -3_600), None, "it was not there yet");
}
