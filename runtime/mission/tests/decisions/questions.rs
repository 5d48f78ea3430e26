//! What a tool asks people while it makes a call: the call is under way all the time, and only its own attempt is worth an answer.

use serde_json::{Value, json};
use sortie_contract::envelope::OnExpiry;
use sortie_contract::id::CallNo;
use sortie_contract::limit;
use sortie_contract::record::Record;
use sortie_contract::request::{Decision, Reach, RequestKind, RequestNo};
use sortie_contract::tool::{CallError, ToolInfo};
use sortie_contract::{Reason, Spend, Stamped, Status};
use sortie_mission::{Command, Idle, Leave, Mission, Refusal, RunClock};

use crate::support::{ANSWER_SECONDS, Tested, the, tools};

const FORM: &str = r#"{"type":"object","properties":{"name":{"type":"string"}}}"#;

/// Everything is allowed.
fn open(fields: &Value) -> Tested {
    let mut all = json!({"constraints": {"allowed_tools": ["*"]}, "budget": {"max_cost_usd": 0.000_010}});
    all.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    Tested::running(all)
}

fn answer(text: &str) -> Decision {
    Decision::Answer { text: text.to_owned() }
}

/// The tool of a call asks.
fn asks(mission: &mut Tested, call: CallNo) -> Result<RequestNo, Refusal> {
    let (run, question, schema) = (mission.run(), "Who are you?".to_owned(), FORM.to_owned());
    match mission.take(Command::AskFor { run, call, question, schema })?.as_slice() {
        [Record::Elicited { request, call: of, .. }] if *of == call => Ok(*request),
        other => panic!("nobody is asked: {other:?}"),
    }
}

/// A mission, a call of that tool that costs three, and what its tool asks.
fn asked(tool: &ToolInfo) -> (Tested, CallNo, RequestNo) {
    let mut mission = open(&json!({}));
    let call = mission.call(tool, 3).expect("granted");
    let request = asks(&mut mission, call).expect("it may ask");
    (mission, call, request)
}

fn withdrawn(records: &[Record]) -> Vec<RequestNo> {
    let no = |record: &Record| match record {
        Record::Withdrawn { request, .. } => Some(*request),
        _ => None,
    };
    records.iter().filter_map(no).collect()
}

#[test]
fn a_tool_asks_while_its_call_is_made_and_goes_on_with_the_answer() {
    let (mut mission, call, request) = asked(&the("Edit"));
    assert_eq!(mission.mission.status(), Status::Blocked);
    assert!(mission.mission.is_being_made(call) && !mission.mission.is_held(call), "it is under way");
    assert_eq!(mission.money(), (0, 3), "what was set aside stays");
    let view = mission.mission.request_view(request).expect("it is open");
    let form: Value = serde_json::from_str(FORM).expect("JSON");
    assert_eq!(
        (&view["kind"], &view["question"], &view["tool"]),
        (&json!("input"), &json!("Who are you?"), &json!("Edit"))
    );
    assert_eq!((&view["schema"], &view["decisions"]), (&form, &json!(["answer", "deny"])));
    let event = mission.events.last().expect("an event");
    assert_eq!((event.event_type.as_str(), event.summary.as_str()), ("mission.blocked", "`Edit` asks: Who are you?"));
    assert_eq!(event.detail["request"], view);
    assert_eq!(mission.mission.last_summary(), "`Edit` asks: Who are you?", "who asks is said where it stands alone");
    let records = mission.decide(request, answer("Ada")).expect("an answer");
    assert!(matches!(records.as_slice(), [Record::Decided { .. }]), "the call goes on by itself: {records:?}");
    assert_eq!((mission.mission.status(), mission.money()), (Status::Running, (0, 3)));
    // One after the other, as often as it wants.
    for number in 2..5 {
        assert_eq!(asks(&mut mission, call), Ok(RequestNo(number)));
        mission.decide(RequestNo(number), Decision::Deny).expect("a decision");
    }
    mission.done(call, &[], 2);
    assert_eq!(mission.money(), (2, 0));
    assert_eq!(mission.says_done().status, Status::Completed);
}

#[test]
fn the_same_answer_again_is_no_change_and_another_is_already_decided() {
    for (first, again, other) in
        [(answer("a"), answer("a"), answer("b")), (Decision::Deny, Decision::Deny, answer("a"))]
    {
        let (mut mission, _, request) = asked(&the("Read"));
        mission.decide(request, first.clone()).expect("a decision");
        assert_eq!(mission.decide(request, again), Ok(vec![]));
        let decision = first.as_str();
        assert_eq!(mission.decide(request, other), Err(Refusal::AlreadyDecided { request, decision, changed: false }));
    }
}

#[test]
fn a_question_of_a_tool_is_answered_or_denied_and_nothing_else() {
    let (mut mission, _, request) = asked(&the("Edit"));
    for decision in
        [Decision::Approve { reach: Reach::Mission }, Decision::Repeat, Decision::Record { result: String::new() }]
    {
        assert_eq!(mission.decide(request, decision), Err(Refusal::WrongDecision { kind: RequestKind::Input }));
    }
    assert_eq!(mission.mission.open_requests().len(), 1);
}

#[test]
fn who_asks_without_a_call_that_is_made_is_refused() {
    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]}}));
    let (held, _) = mission.held(&the("Edit"), 0, RequestKind::Approval);
    let (question, _) = mission.asks("Which?");
    let done = mission.call(&the("Read"), 0).expect("granted");
    mission.done(done, &[], 0);
    for call in [held, question, done, CallNo(99)] {
        assert_eq!(asks(&mut mission, call), Err(Refusal::UnknownCall { call }), "{call}");
    }
    let made = mission.call(&the("Read"), 0).expect("granted");
    asks(&mut mission, made).expect("it may ask");
    assert_eq!(asks(&mut mission, made), Err(Refusal::Busy), "one question after the other");
}

#[test]
fn several_calls_ask_side_by_side_and_each_answer_is_its_own() {
    let mut mission = open(&json!({}));
    let calls: Vec<CallNo> = (0..3).map(|_| mission.call(&the("Read"), 0).expect("granted")).collect();
    let requests: Vec<RequestNo> = calls.iter().map(|call| asks(&mut mission, *call).expect("it may ask")).collect();
    assert!(mission.mission.waits_with_its_tools());
    mission.decide(requests[1], answer("b")).expect("an answer");
    assert!(!mission.mission.waits_with_its_tools(), "one of them goes on");
    let open: Vec<RequestNo> = mission.mission.asked_by_tools().collect();
    assert_eq!(open, [requests[0], requests[2]]);
    assert_eq!(withdrawn(&mission.ends(calls[1], Ok(()))), [], "it was answered");
    assert_eq!(withdrawn(&mission.ends(calls[0], Ok(()))), [requests[0]]);
    assert_eq!(mission.mission.status(), Status::Blocked);
}

#[test]
fn once_nobody_waits_the_request_is_withdrawn_with_its_reason() {
    type Then = fn(&mut Tested, CallNo, RequestNo) -> Vec<Record>;
    let rows: [(&str, &str, Then); 6] = [
        ("its call ends", "its call has ended", |mission, call, _| mission.ends(call, Ok(()))),
        ("its call fails", "its call has ended", |mission, call, _| {
            mission.ends(call, Err(CallError::TimedOut("late".to_owned())))
        }),
        ("its plugin gives the call up", "its call has ended", |mission, call, _| {
            mission.ends(call, Err(CallError::Cancelled))
        }),
        ("the tool takes it back", "no more", |mission, _, request| {
            mission.take(Command::Withdraw { request, why: "no more".to_owned() }).expect("taken")
        }),
        ("the node stops", "its call broke off", |mission, _, _| mission.take(Command::StopNode).expect("taken")),
        ("the node is killed", "its call broke off", |mission, _, _| mission.crash()),
    ];
    for (name, why, then) in rows {
        let (mut mission, call, request) = asked(&the("Edit"));
        let records = then(&mut mission, call, request);
        assert_eq!(withdrawn(&records), [request], "{name}: {records:?}");
        let told = mission.events.iter().find(|event| event.detail["kind"] == "withdrawn").expect(name);
        assert_eq!((told.status, &told.detail["request_id"]), (Status::Running, &json!(request.to_string())), "{name}");
        assert!(told.detail["note"].as_str().is_some_and(|note| note.starts_with(why)), "{name}: {told:?}");
        match mission.decide(request, answer("late")) {
            Err(Refusal::Withdrawn { request: of, .. }) => assert_eq!(of, request, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(mission.take(Command::Withdraw { request, why: String::new() }), Ok(vec![]), "{name}: once");
    }
}

#[test]
fn after_a_crash_the_call_is_like_any_other_that_broke_off() {
    for (tool, asked_about) in [("Read", false), ("Write", false), ("Edit", true)] {
        let mut mission = open(&json!({}));
        let call = mission.call(&the(tool), 0).expect("granted");
        let request = asks(&mut mission, call).expect("it may ask");
        mission.crash();
        let open: Vec<RequestKind> = mission.mission.open_requests().iter().map(|open| open.kind).collect();
        assert_eq!(open, if asked_about { vec![RequestKind::Uncertain] } else { vec![] }, "{tool}");
        assert_eq!(mission.mission.is_being_made(call), !asked_about, "{tool}");
        if !asked_about {
            let again = asks(&mut mission, call).expect("it asks anew");
            assert_ne!(again, request, "{tool}");
            mission.decide(again, answer("x")).expect("an answer");
            mission.done(call, &[], 0);
        }
        assert!(!mission.mission.is_held(call) || asked_about, "{tool}");
    }
}

#[test]
fn an_end_takes_the_question_along() {
    let (mut mission, _, request) = asked(&the("Edit"));
    let records = mission.take(Command::Cancel { reason: String::new(), by: "simone".to_owned() }).expect("cancelled");
    assert!(matches!(records.as_slice(), [Record::Finished { .. }]), "{records:?}");
    assert_eq!(mission.decide(request, answer("x")), Err(Refusal::AlreadyFinal { status: Status::Cancelled }));
    assert_eq!(mission.money(), (3, 0), "what it may have cost counts");
}

#[test]
fn nobody_answers() {
    for (on_expiry, says) in [("end", Some(Reason::RequestExpired)), ("deny", None), ("wait", None)] {
        let mut mission = open(&json!({"on_expiry": on_expiry}));
        let call = mission.call(&the("Edit"), 0).expect("granted");
        let request = asks(&mut mission, call).expect("it may ask");
        mission.shift(ANSWER_SECONDS + 1);
        let records = mission.take(Command::Tick).expect("a tick");
        assert_eq!(mission.mission.reason(), says, "{on_expiry}");
        match on_expiry {
            "deny" => {
                assert!(
                    matches!(records.as_slice(), [Record::Decided { decision: Decision::Deny, .. }]),
                    "{records:?}"
                );
                assert!(mission.mission.is_being_made(call), "the tool goes on by itself");
                let decision = Decision::Deny.as_str();
                assert_eq!(
                    mission.decide(request, answer("x")),
                    Err(Refusal::AlreadyDecided { request, decision, changed: false })
                );
            }
            "wait" => assert_eq!(mission.mission.status(), Status::Blocked),
            _ => {
                let told = mission.events.last().expect("an end");
                assert!(told.summary.ends_with("`Edit` asks: Who are you?"), "{}", told.summary);
            }
        }
    }
    let mut mission = open(&json!({}));
    mission.now.on_expiry = OnExpiry::End;
    let call = mission.call(&the("Read"), 0).expect("granted");
    let request = asks(&mut mission, call).expect("it may ask");
    mission.shift(ANSWER_SECONDS + 1);
    let records = mission.decide(request, answer("late")).expect("the end");
    assert!(matches!(records.as_slice(), [Record::Finished { .. }]), "an answer behind its time: {records:?}");
}

#[test]
fn carried_over_the_call_breaks_off_and_an_answer_comes_too_late() {
    let window = json!({"start_at": "2026-11-22T10:00:00Z", "end_at": "2026-11-22T14:00:00Z"});
    let mut mission = open(&json!({"autonomy_window": window, "on_window_end": "suspend"}));
    let call = mission.call(&the("Edit"), 0).expect("granted");
    let request = asks(&mut mission, call).expect("it may ask");
    let end = mission.mission.window().end_at.expect("it closes");
    mission.now.wall = end;
    mission.now.next_window = Some(sortie_contract::envelope::Window { start_at: Some(end), end_at: None });
    let records = mission.decide(request, answer("late")).expect("time is over");
    assert!(matches!(records.as_slice(), [Record::Withdrawn { .. }, Record::CarriedOver { .. }]), "{records:?}");
    let asked = mission.take(Command::Doubt(&tools())).expect("taken");
    assert!(matches!(asked.as_slice(), [Record::Requested { kind: RequestKind::Uncertain, .. }]), "{asked:?}");
}

#[test]
fn a_run_stays_in_memory_with_a_tool_that_asks() {
    let (mut mission, _, request) = asked(&the("Read"));
    assert_eq!(mission.suspend(None), Err(Refusal::Busy));
    let hours = std::time::Duration::from_secs(7_200);
    let leaves = mission.mission.leaves(&Idle { waited: hours, quiet: hours, timer: None });
    assert!(matches!(leaves, Leave::NotYet { .. }), "its connection would be lost: {leaves:?}");
    // A journal in which it was is none.
    let mut fold = mission.mission.clone();
    let record = Record::Suspended { until: None };
    assert!(fold.apply(&Stamped { at: mission.now.wall, ran_ms: 0, record }).is_err());
    mission.decide(request, answer("x")).expect("an answer");
}

#[test]
fn the_run_clock_stands_while_people_think_and_the_plugin_waits() {
    let (mut mission, call, request) = asked(&the("Read"));
    let at = std::time::Duration::from_secs;
    let mut clock = RunClock::new(&mission.mission, 0, at(0));
    clock.turn(&mission.mission, true, false, at(0));
    let rests = |mission: &Mission, idle: bool| idle && mission.waits_with_its_tools();
    for (now, idle, ran) in [(10, true, 10_000), (100, false, 10_000), (105, true, 15_000), (200, true, 15_000)] {
        clock.turn(&mission.mission, false, rests(&mission.mission, idle), at(now));
        assert_eq!((clock.ran_ms(at(now)), clock.goes()), (ran, !idle), "at {now}");
    }
    // A plugin whose other call is under way uses its time.
    let other = mission.call(&the("Read"), 0).expect("granted");
    clock.turn(&mission.mission, false, rests(&mission.mission, true), at(300));
    assert!(clock.goes());
    mission.done(other, &[], 0);
    mission.decide(request, answer("x")).expect("an answer");
    clock.turn(&mission.mission, false, rests(&mission.mission, true), at(310));
    assert!(clock.goes(), "the tool goes on");
    assert_eq!(clock.ran_ms(at(320)), 35_000);
    mission.done(call, &[], 0);
}

#[test]
fn only_what_people_say_gives_a_call_more_time_to_ask() {
    let until = |mission: &Tested| mission.mission.open_requests()[0].expires_at;
    let mut mission = open(&json!({"on_expiry": "deny"}));
    let call = mission.call(&the("Read"), 0).expect("granted");
    let first = asks(&mut mission, call).expect("it may ask");
    let first_end = until(&mission);
    mission.shift(ANSWER_SECONDS / 2);
    mission.take(Command::Withdraw { request: first, why: String::new() }).expect("taken");
    let second = asks(&mut mission, call).expect("it may ask");
    assert_eq!(until(&mission), first_end, "what is taken back and asked anew has no more time");
    mission.decide(second, answer("x")).expect("an answer");
    asks(&mut mission, call).expect("it may ask");
    let end = until(&mission);
    assert!(end > first_end, "people are there");
    mission.shift(ANSWER_SECONDS);
    mission.take(Command::Tick).expect("a tick");
    assert!(mission.mission.open_requests().is_empty(), "it was turned down");
    assert_eq!(asks(&mut mission, call), Err(Refusal::NobodyAnswers { until: end }));
    let other = mission.call(&the("Read"), 0).expect("granted");
    asks(&mut mission, other).expect("another call may ask");
    mission.done(call, &[], 0);
}

#[test]
fn whoever_asks_without_end_is_stopped_and_long_words_are_cut() {
    let (mut mission, call, first) = asked(&the("Read"));
    mission.take(Command::Withdraw { request: first, why: "x".repeat(10_000) }).expect("taken");
    for _ in 1..limit::QUESTIONS_OF_CALL_MAX {
        let request = asks(&mut mission, call).expect("it may ask");
        mission.take(Command::Withdraw { request, why: String::new() }).expect("taken");
    }
    let max = limit::QUESTIONS_OF_CALL_MAX;
    assert_eq!(asks(&mut mission, call), Err(Refusal::TooManyQuestions { max }));
    let other = mission.call(&the("Read"), 0).expect("granted");
    let (run, question) = (mission.run(), "ä".repeat(limit::NOTE_BYTES_MAX));
    mission.take(Command::AskFor { run, call: other, question, schema: FORM.to_owned() }).expect("it may ask");
    let open = &mission.mission.open_requests()[0];
    assert!(open.question.len() <= limit::NOTE_BYTES_MAX && open.question.ends_with('…'));
    assert!(mission.mission.last_summary().len() <= limit::NOTE_BYTES_MAX);
    let longest = mission.records.iter().map(|stamped| match &stamped.record {
        Record::Withdrawn { why, .. } => why.len(),
        _ => 0,
    });
    assert!(longest.max().expect("some") <= limit::NOTE_BYTES_MAX);
}

#[test]
fn what_cannot_follow_is_no_journal() {
    let (mission, call, request) = asked(&the("Read"));
    let mut held = Tested::running(json!({"constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]}}));
    let (waits, approval) = held.held(&the("Edit"), 0, RequestKind::Approval);
    let elicited = |request, call| Record::Elicited {
        request: RequestNo(request),
        call,
        question: String::new(),
        schema: FORM.to_owned(),
        expires_at: mission.now.expires_at,
    };
    let ended = Record::CallFinished { call, outcome: Err(CallError::Cancelled), spent: Spend::NOTHING };
    let failed = Record::CallFinished { call, outcome: Err(CallError::Failed(String::new())), spent: Spend::NOTHING };
    for (of, record, is_legal) in [
        (&mission, elicited(2, call), false),
        (&mission, elicited(1, CallNo(7)), false),
        (&held, elicited(2, waits), false),
        (&held, Record::Withdrawn { request: approval, why: String::new() }, false),
        (&mission, Record::Withdrawn { request: RequestNo(9), why: String::new() }, false),
        (&mission, Record::Withdrawn { request, why: String::new() }, true),
        (&mission, failed, false),
        (&mission, ended, true),
    ] {
        let before = of.mission.clone();
        let mut fold = of.mission.clone();
        let applied = fold.apply(&Stamped { at: of.now.wall, ran_ms: 0, record: record.clone() });
        assert_eq!(applied.is_ok(), is_legal, "{record:?}");
        assert!(is_legal || fold == before, "{record:?} changed something");
    }
}
