//! *Lifecycle* and *Fine print*: what is asked of people, and what follows from what they say.

use serde_json::{Value, json};
use sortie_contract::Status;
use sortie_contract::digest::Digest;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::limit;
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::record::Record;
use sortie_contract::request::{Decision, Reach, RequestKind, RequestNo};
use sortie_contract::tool::{CallError, ToolAnswer};
use sortie_mission::{Command, Due, Refusal};

use crate::support::{ANSWER_SECONDS, Called, Tested, at, moment, the};

const APPROVE: Decision = Decision::Approve { reach: Reach::Call };

fn grant(cost: u64) -> Decision {
    Decision::Grant { llm_calls: 0, cost: MicroUsd(cost) }
}

/// Everything is allowed, `Edit` and outgoing mail need approval, and 10 micro-dollars may be spent.
fn guarded() -> Tested {
    Tested::running(json!({
        "constraints": {"allowed_tools": ["*"], "approval_required": ["Edit", "outbound_email"]},
        "budget": {"max_cost_usd": 0.000_010},
    }))
}

/// A mission with one open request of that kind, and the call that waits for it.
fn asked(kind: RequestKind) -> (Tested, CallNo, RequestNo) {
    let mut mission = guarded();
    let (call, request) = match kind {
        RequestKind::Approval => mission.held(&the("Edit"), 1, kind),
        RequestKind::Budget => mission.held(&the("WebFetch"), 11, kind),
        RequestKind::Input => mission.asks("Which one?"),
        RequestKind::Uncertain => {
            let (call, request) = mission.held(&the("Edit"), 1, RequestKind::Approval);
            mission.decided(request, APPROVE);
            mission.crash();
            (call, mission.mission.open_requests()[0].no)
        }
    };
    assert_eq!(mission.mission.open_requests()[0].kind, kind);
    (mission, call, request)
}

const KINDS: [RequestKind; 4] =
    [RequestKind::Approval, RequestKind::Input, RequestKind::Budget, RequestKind::Uncertain];

#[test]
fn whoever_decides_about_what_is_too_long_to_be_shown_has_its_length_and_digest() {
    for (bytes, whole) in [(1_000, true), (70_000, false)] {
        let mut mission = guarded();
        let arguments = json!({"content": "x".repeat(bytes)}).to_string();
        let (run, digest) = (mission.run(), Digest::of(arguments.as_bytes()));
        let (edit, quote) = (the("Edit"), Spend::NOTHING);
        let call = Command::Call { run, tool: (&edit).into(), arguments: arguments.clone(), digest, quote };
        mission.take(call).expect("somebody is asked");
        let request = mission.mission.open_requests()[0].no;
        let view = mission.mission.request_view(request).expect("it is open");
        assert_eq!(view["arguments"].is_object(), whole);
        let (length, sha256) = (json!(arguments.len()), json!(Digest::of(arguments.as_bytes()).to_string()));
        assert_eq!((&view["arguments_bytes"], &view["arguments_sha256"]), (&length, &sha256));
        let shown = view["arguments"].as_str().map(str::len);
        assert_eq!(shown.is_some_and(|shown| shown < arguments.len()), !whole, "who reads it can tell");
    }
}

#[test]
fn a_call_is_being_made_since_it_was_granted_or_approved() {
    let mut mission = guarded();
    let (held, request) = mission.held(&the("Edit"), 1, RequestKind::Approval);
    let granted = mission.call(&the("Read"), 0).expect("granted");
    let began = mission.now.wall;
    mission.pass(60);
    mission.decided(request, APPROVE);
    let made: Vec<_> = mission.mission.calls_being_made().map(|(call, _, since)| (call, since)).collect();
    assert_eq!(made, [(held, mission.now.wall), (granted, began)]);
}

fn outcome(record: Record) -> Result<String, CallError> {
    match record {
        Record::CallFinished { outcome, spent: Spend::NOTHING, .. } => outcome.map(|answer| answer.result),
        other => panic!("the call is not over: {other:?}"),
    }
}

#[test]
fn approval_is_asked_before_each_call() {
    let mut mission = guarded();
    for (number, tool) in [(1, "Edit"), (2, "mcp__mail__send"), (3, "Edit")] {
        let (call, request) = mission.held(&the(tool), 0, RequestKind::Approval);
        assert_eq!((call, request), (CallNo(number), RequestNo(number)), "one request for each call");
        assert!(mission.mission.is_held(call) && !mission.mission.is_being_made(call), "nothing of it has happened");
        assert_eq!(mission.decided(request, APPROVE), Record::CallResumed { call });
        assert!(mission.mission.is_being_made(call));
        mission.done(call, &[], 0);
    }
    mission.call(&the("Read"), 0).expect("nobody is asked for what needs no approval");
}

#[test]
fn an_approval_that_is_denied_is_an_error_for_the_plugin() {
    let (mut mission, call, request) = asked(RequestKind::Approval);
    let Err(CallError::Denied(why)) = outcome(mission.decided(request, Decision::Deny)) else { panic!("denied") };
    assert!(why.contains("`Edit`") && why.contains("ada") && why.contains("noted"), "{why}");
    assert!(!mission.mission.is_held(call) && !mission.mission.is_being_made(call));
    assert_eq!(mission.says_done().status, Status::Completed, "it is the plugin's to decide what that means");
}

#[test]
fn an_approval_reaches_as_far_as_it_says() {
    for (reach, edit_again, mail) in
        [(Reach::Call, false, false), (Reach::Tool, true, false), (Reach::Mission, true, true)]
    {
        let mut mission = guarded();
        let (_, request) = mission.held(&the("Edit"), 0, RequestKind::Approval);
        mission.decided(request, Decision::Approve { reach });
        for (name, granted) in [("Edit", edit_again), ("mcp__mail__send", mail)] {
            let called = mission.calls(&the(name), 0);
            let as_said = match called {
                Called::Granted(_) => granted,
                Called::Held(_, _, RequestKind::Approval) => !granted,
                _ => false,
            };
            assert!(as_said, "{reach:?}, {name}: {called:?}");
        }
    }
}

#[test]
fn an_approval_for_the_mission_opens_nothing_that_is_not_allowed() {
    let constraints =
        json!({"allowed_tools": ["Edit", "Write"], "forbidden_tools": ["Write"], "approval_required": ["*"]});
    let mut mission = Tested::running(json!({"constraints": constraints}));
    let (_, request) = mission.held(&the("Edit"), 0, RequestKind::Approval);
    mission.decided(request, Decision::Approve { reach: Reach::Mission });
    for name in ["Write", "Read"] {
        assert!(matches!(mission.calls(&the(name), 0), Called::Refused(CallError::Denied(_))), "{name}");
    }
    mission.call(&the("Edit"), 0).expect("approved");
}

#[test]
fn the_same_decision_again_is_no_change_and_another_is_already_decided() {
    let reach = |reach| Decision::Approve { reach };
    for (first, same, other) in [
        (reach(Reach::Tool), true, reach(Reach::Tool)),
        (reach(Reach::Tool), false, reach(Reach::Mission)),
        (reach(Reach::Tool), false, Decision::Deny),
        (Decision::Deny, true, Decision::Deny),
        (Decision::Deny, false, reach(Reach::Call)),
        // Not even a decision of the wrong kind is told apart from another one.
        (Decision::Deny, false, Decision::Repeat),
    ] {
        let (mut mission, _, request) = asked(RequestKind::Approval);
        mission.decided(request, first.clone());
        let before = mission.mission.clone();
        let expected = if same {
            Ok(vec![])
        } else {
            Err(Refusal::AlreadyDecided { request, decision: first.as_str(), changed: false })
        };
        assert_eq!(mission.decide(request, other.clone()), expected, "{first:?}, then {other:?}");
        assert_eq!(mission.mission, before);
    }
}

#[test]
fn after_the_end_a_decision_is_already_final() {
    for decided in [true, false] {
        let (mut mission, _, request) = asked(RequestKind::Approval);
        if decided {
            mission.decided(request, APPROVE);
        }
        mission.take(Command::Halt).expect("halted");
        let refused = Err(Refusal::AlreadyFinal { status: Status::Cancelled });
        assert_eq!(mission.decide(request, APPROVE), refused);
        assert!(mission.mission.open_requests().is_empty());
    }
}

#[test]
fn a_request_that_there_is_not_cannot_be_decided() {
    let unknown = |no| Err(Refusal::UnknownRequest { request: RequestNo(no) });
    assert_eq!(Tested::queued(json!({})).decide(RequestNo(1), Decision::Deny), unknown(1));
    let (mut mission, _, _) = asked(RequestKind::Approval);
    for no in [0, 2, u32::MAX] {
        assert_eq!(mission.decide(RequestNo(no), APPROVE), unknown(no));
    }
}

#[test]
fn each_kind_of_request_has_its_own_decisions() {
    let decisions = [
        APPROVE,
        Decision::Answer { text: "B".into() },
        grant(100),
        Decision::Repeat,
        Decision::Record { result: "1".into() },
        Decision::Deny,
    ];
    for kind in KINDS {
        for decision in &decisions {
            let (mut mission, _, request) = asked(kind);
            let taken = mission.decide(request, decision.clone());
            if kind.decisions().contains(&decision.as_str()) {
                assert_eq!(taken.as_ref().map(Vec::len), Ok(2), "{kind}: {decision:?}");
                assert_eq!(mission.mission.status(), Status::Running, "{kind}: {decision:?}");
            } else {
                assert_eq!(taken, Err(Refusal::WrongDecision { kind }), "{decision:?}");
                assert_eq!(mission.mission.status(), Status::Blocked, "{kind}: {decision:?} changes nothing");
            }
        }
    }
}

#[test]
fn a_question_is_answered_with_a_json_text_or_turned_down() {
    let (mut mission, _, request) = asked(RequestKind::Input);
    let answered = outcome(mission.decided(request, Decision::Answer { text: "the \"second\"".into() }));
    assert_eq!(answered, Ok(r#""the \"second\"""#.to_owned()));
    let (mut mission, _, request) = asked(RequestKind::Input);
    assert!(matches!(outcome(mission.decided(request, Decision::Deny)), Err(CallError::Denied(_))));
}

#[test]
fn budget_spent_is_asked_for_and_a_grant_must_cover_the_call() {
    let mut mission = guarded();
    let spent = mission.call(&the("WebFetch"), 8).expect("8 of 10");
    mission.done(spent, &[], 8);
    let (call, request) = mission.held(&the("WebFetch"), 5, RequestKind::Budget);
    assert_eq!(mission.mission.status(), Status::Blocked);
    for too_little in [0, 1, 2] {
        assert!(matches!(mission.decide(request, grant(too_little)), Err(Refusal::NotEnough { .. })), "{too_little}");
        assert_eq!(mission.mission.budget().cost_max, Some(MicroUsd(10)), "a grant that is refused raises nothing");
    }
    assert_eq!(mission.decided(request, grant(3)), Record::CallResumed { call });
    assert_eq!(mission.mission.budget().cost_max, Some(MicroUsd(13)));
    mission.unpaid(&the("WebFetch"), 1);
    mission.done(call, &[], 5);
    assert_eq!(mission.mission.usage(mission.now).estimated_cost_usd, 0.000_013);
}

#[test]
fn nobody_is_asked_for_what_a_grant_for_another_call_has_brought() {
    // What each of three calls may cost, what is granted for the second, and how each request stands then: 10 there are.
    for (costs, granted, open) in [
        ([12, 11, 13], 1, [true, false, true]),
        ([12, 11, 13], 2, [false, false, true]),
        ([12, 11, 13], 13, [false, false, false]),
        ([12, 11, 13], 26, [false, false, false]),
        ([24, 11, 12], 13, [true, false, false]),
    ] {
        let mut mission = guarded();
        let held = costs.map(|cost| mission.held(&the("WebFetch"), cost, RequestKind::Budget));
        let records = mission.decide(held[1].1, grant(granted)).expect("a decision");
        let is_open = |no| mission.mission.open_requests().iter().any(|request| request.no == no);
        assert_eq!(held.map(|(_, no)| is_open(no)), open, "{costs:?}, {granted}");
        for ((call, no), cost) in held.into_iter().zip(costs).filter(|((_, no), _)| *no != held[1].1 && !is_open(*no)) {
            let index = records.iter().position(|record| {
                matches!(record, Record::Decided { request, decision: Decision::NOT_NEEDED, by, .. }
                    if *request == no && by == "nobody")
            });
            let follows = &records[index.expect("it is settled") + 1];
            // What has to wait for the second call's money waits, as it would if it came now.
            let is_there = costs[1] + cost <= 10 + granted;
            match follows {
                Record::CallResumed { call: made } => {
                    assert_eq!((*made, is_there), (call, true), "{costs:?}, {granted}");
                }
                Record::PaymentAwaited { call: waits, .. } => assert_eq!((*waits, is_there), (call, false)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(mission.mission.budget().cost_max, Some(MicroUsd(10 + granted)), "nobody granted more");
    }
}

#[test]
fn whoever_decides_about_a_request_that_settled_itself_is_told_so() {
    let mut mission = guarded();
    let (_, first) = mission.held(&the("WebFetch"), 11, RequestKind::Budget);
    let (_, second) = mission.held(&the("WebFetch"), 12, RequestKind::Budget);
    mission.decide(second, grant(13)).expect("a decision");
    let told = mission.events.iter().rev().find(|event| event.detail["request_id"] == first.to_string()).expect("told");
    assert_eq!(told.summary, "Nobody need decide about r1 any more: the budget covers the call by now.");
    for decision in [grant(1), Decision::Deny] {
        assert!(matches!(mission.decide(first, decision), Err(Refusal::AlreadyDecided { .. })));
    }
    assert_eq!(mission.mission.status(), Status::Running);
}

#[test]
fn a_call_that_costs_too_much_as_ever_is_asked_about_as_ever() {
    let mut mission = guarded();
    let (_, first) = mission.held(&the("WebFetch"), 20, RequestKind::Budget);
    let (_, approval) = mission.held(&the("Edit"), 0, RequestKind::Approval);
    let (other, second) = mission.held(&the("WebFetch"), 11, RequestKind::Budget);
    mission.decided(second, grant(1));
    mission.done(other, &[], 1);
    let open: Vec<RequestNo> = mission.mission.open_requests().iter().map(|request| request.no).collect();
    assert_eq!(open, [first, approval], "10 are left for 20, and an approval is no matter of money");
}

#[test]
fn a_budget_that_is_refused_is_an_error_for_the_plugin() {
    let (mut mission, _, request) = asked(RequestKind::Budget);
    let Err(CallError::BudgetExhausted(why)) = outcome(mission.decided(request, Decision::Deny)) else {
        panic!("exhausted")
    };
    assert!(why.contains("ada"), "{why}");
    mission.held(&the("WebFetch"), 11, RequestKind::Budget);
    mission.call(&the("Read"), 0).expect("what costs nothing goes on");
}

#[test]
fn a_call_that_needs_both_is_approved_first_and_paid_for_then() {
    let mut mission = guarded();
    let (call, approval) = mission.held(&the("Edit"), 11, RequestKind::Approval);
    let Record::Requested { request: budget, call: of, kind: RequestKind::Budget, .. } =
        mission.decided(approval, APPROVE)
    else {
        panic!("11 of 10")
    };
    assert_eq!((of, mission.mission.status()), (call, Status::Blocked), "still held");
    assert_eq!(mission.decided(budget, grant(1)), Record::CallResumed { call });
}

#[test]
fn what_was_set_aside_meanwhile_counts_when_a_call_is_approved() {
    let mut mission = guarded();
    let (_, approval) = mission.held(&the("Edit"), 6, RequestKind::Approval);
    let other = mission.call(&the("WebFetch"), 6).expect("a held call has nothing set aside");
    let follows = mission.decided(approval, APPROVE);
    assert!(matches!(follows, Record::PaymentAwaited { .. }), "6 + 6 passes 10: {follows:?}");
    let Some(Record::Requested { kind: RequestKind::Budget, .. }) = mission.ends(other, Ok(())).pop() else {
        panic!("6 were spent, and nothing came back")
    };
}

#[test]
fn a_request_holds_its_own_call_and_nothing_else() {
    for kind in KINDS {
        let (mut mission, call, request) = asked(kind);
        assert_eq!(mission.mission.status(), Status::Blocked, "{kind}");
        let other = mission.call(&the("Read"), 0).expect("granted");
        mission.take(Command::Milestone { run: mission.run(), text: "Meanwhile.".into() }).expect("taken");
        mission.store("report.md");
        mission.done(other, &[], 0);
        assert!(mission.mission.is_held(call), "{kind}");
        let late = Command::CallDone {
            run: mission.run(),
            call,
            outcome: Err(CallError::TimedOut("t".into())),
            spent: Some(Spend::NOTHING),
        };
        assert_eq!(mission.take(late), Err(Refusal::UnknownCall { call }), "{kind}: it is not being made");
        assert_eq!(mission.mission.open_requests().len(), 1, "{kind}");
        mission.decided(request_of(&mission, request), Decision::Deny);
        assert_eq!(mission.mission.status(), Status::Running, "{kind}");
    }
}

/// The open request; it has another number where an approval came before it.
fn request_of(mission: &Tested, request: RequestNo) -> RequestNo {
    let open = mission.mission.open_requests()[0].no;
    assert!(open >= request);
    open
}

#[test]
fn the_status_is_blocked_while_a_request_is_open() {
    let mut mission = guarded();
    let (_, first) = mission.held(&the("Edit"), 0, RequestKind::Approval);
    let (_, second) = mission.asks("Which one?");
    assert_eq!(mission.mission.last_summary(), mission.mission.open_requests()[0].question);
    mission.decided(first, APPROVE);
    assert_eq!(mission.mission.status(), Status::Blocked, "one is still open");
    mission.decided(second, Decision::Answer { text: "B".into() });
    assert_eq!(mission.mission.status(), Status::Running);
}

#[test]
fn a_blocked_event_names_its_request() {
    let mut mission = guarded();
    mission.held(&the("Edit"), 0, RequestKind::Approval);
    let event = mission.events.last().expect("an event");
    assert_eq!((event.event_type.as_str(), event.status), ("mission.blocked", Status::Blocked));
    let request = &event.detail["request"];
    assert!(request["question"].as_str().expect("a text").contains("Edit"));
    assert_eq!(request["request_id"], "r1");
    assert_eq!(request["kind"], "approval");
    assert_eq!(request["tool"], "Edit");
    assert_eq!(request["arguments"], json!({}));
    assert_eq!(request["decisions"], json!(["approve", "deny"]));
    assert_eq!(request["expires_at"], json!(moment(ANSWER_SECONDS)));
    mission.asks("Which one?");
    let request = &mission.events.last().expect("an event").detail["request"];
    assert_eq!((&request["kind"], &request["question"]), (&json!("input"), &json!("Which one?")));
    assert_eq!(request.get("tool"), None);
    mission.decided(RequestNo(2), Decision::Answer { text: "B".into() });
    let decided = mission.events.last().expect("an event");
    assert_eq!((decided.event_type.as_str(), decided.status), ("mission.progress", Status::Running));
    assert_eq!((&decided.detail["request_id"], &decided.detail["decision"]), (&json!("r2"), &json!("answer")));
    let types = ["mission.accepted", "mission.progress", "mission.blocked", "mission.blocked", "mission.progress"];
    assert_eq!(mission.event_types(), types);
}

#[test]
fn nobody_answers_the_request_expires_and_the_mission_is_timed_out() {
    for kind in KINDS {
        let (mut mission, _, request) = asked(kind);
        mission.pass(ANSWER_SECONDS - 1);
        // It takes no run time while it waits for people out of memory; here its clock is of no interest.
        mission.now.ran_ms = 0;
        let ticked = mission.take(Command::Tick).expect("a tick");
        assert!(ticked.iter().all(|record| !matches!(record, Record::Finished { .. })), "{kind}: a second is left");
        mission.shift(1);
        mission.take(Command::Tick).expect("its end");
        assert_eq!(mission.end(), ("mission.timed_out", Status::TimedOut, "request_expired"), "{kind}");
        let question = &mission.events.last().expect("an event").summary;
        assert!(question.contains("Nobody answered"), "{question}");
        assert!(matches!(mission.decide(request, Decision::Deny), Err(Refusal::AlreadyFinal { .. })));
    }
}

#[test]
fn a_decision_that_comes_too_late_finds_the_end() {
    let (mut mission, _, request) = asked(RequestKind::Approval);
    mission.shift(ANSWER_SECONDS);
    mission.decide(request, APPROVE).expect("no timer has to be in time");
    assert_eq!(mission.end(), ("mission.timed_out", Status::TimedOut, "request_expired"));
}

#[test]
fn the_window_closes_first() {
    let fields = json!({
        "constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]},
        "autonomy_window": {"end_at": at(100)},
    });
    for tick in [true, false] {
        let mut mission = Tested::running(fields.clone());
        let (_, request) = mission.held(&the("Edit"), 0, RequestKind::Approval);
        assert_eq!(mission.mission.open_requests()[0].expires_at, moment(100), "whichever comes first");
        mission.pass(100);
        if tick {
            mission.take(Command::Tick).expect("its end");
        } else {
            mission.decide(request, APPROVE).expect("its end");
        }
        assert_eq!(mission.end(), ("mission.timed_out", Status::TimedOut, "window_closed"));
    }
}

#[test]
fn nothing_is_approved_before_the_window_though_the_clock_is_set_back() {
    let mut mission = Tested::queued(json!({
        "constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]},
        "autonomy_window": {"start_at": at(10)},
    }));
    mission.pass(10).start().expect("open");
    let (call, request) = mission.held(&the("Edit"), 0, RequestKind::Approval);
    mission.shift(-1);
    assert_eq!(mission.decide(request, APPROVE), Err(Refusal::NotYet { start_at: moment(10) }));
    mission.shift(1);
    assert_eq!(mission.decided(request, APPROVE), Record::CallResumed { call });
}

#[test]
fn one_reminder_half_way() {
    let (mut mission, _, request) = asked(RequestKind::Input);
    mission.now.ran_ms = 0;
    let half = moment(ANSWER_SECONDS / 2);
    assert_eq!(mission.mission.next_due(mission.now).wall, Some(half));
    mission.shift(ANSWER_SECONDS / 2 - 1);
    assert_eq!(mission.take(Command::Tick), Ok(vec![]));
    mission.shift(1);
    assert_eq!(mission.take(Command::Tick), Ok(vec![Record::Reminded { request }]));
    let event = mission.events.last().expect("an event");
    assert_eq!((event.event_type.as_str(), event.status), ("mission.blocked", Status::Blocked));
    assert_eq!((&event.detail["reminder"], &event.detail["request"]["request_id"]), (&json!(true), &json!("r1")));
    assert_eq!(mission.take(Command::Tick), Ok(vec![]), "once");
    assert_eq!(mission.mission.next_due(mission.now).wall, Some(moment(ANSWER_SECONDS)), "the next thing is its end");
}

#[test]
fn a_held_call_that_its_plugin_gives_up_takes_its_request_with_it() {
    for kind in KINDS {
        let (mut mission, call, _) = asked(kind);
        let request = mission.mission.open_requests()[0].no;
        let given_up = Command::CallDone {
            run: mission.run(),
            call,
            outcome: Err(CallError::Cancelled),
            spent: Some(Spend::NOTHING),
        };
        let records = mission.take(given_up).expect("taken");
        assert!(records.iter().any(sortie_mission::changes_standing), "{kind}: it is blocked no longer");
        assert_eq!(mission.mission.status(), Status::Running, "{kind}");
        assert_eq!(
            mission.mission.next_due(mission.now),
            Due { ran_ms: mission.mission.next_due(mission.now).ran_ms, ..Due::default() }
        );
        assert_eq!(mission.decide(request, Decision::Deny), Err(Refusal::UnknownRequest { request }));
    }
}

#[test]
fn a_question_beyond_the_calls_in_flight_is_failed() {
    let mut mission = guarded();
    for _ in 0..limit::CALLS_IN_FLIGHT_MAX {
        mission.asks("Which one?");
    }
    let one_more = Command::Ask { run: RunNo(1), question: "And which one?".into() };
    let refused = mission.take(one_more).expect("an answer");
    assert!(matches!(refused.as_slice(), [Record::CallRefused { error: CallError::Failed(_), .. }]), "{refused:?}");
}

#[test]
fn a_call_that_was_answered_by_people_wrote_nothing() {
    let (mut mission, call, _) = asked(RequestKind::Uncertain);
    let request = mission.mission.open_requests()[0].no;
    let recorded = mission.decided(request, Decision::Record { result: "null".into() });
    let answer = ToolAnswer { result: "null".into(), wrote: vec![] };
    assert_eq!(recorded, Record::CallFinished { call, outcome: Ok(answer), spent: Spend::NOTHING });
}

#[test]
fn nobody_answers_and_what_follows_is_what_the_envelope_says() {
    let fields = |on_expiry: Value| json!({"constraints": {"allowed_tools": ["*"], "approval_required": ["Write"]}, "on_expiry": on_expiry});
    for (on_expiry, status) in [
        (json!(null), Status::TimedOut),
        (json!("end"), Status::TimedOut),
        (json!("deny"), Status::Running),
        (json!("wait"), Status::Blocked),
    ] {
        let mut mission = Tested::running(fields(on_expiry.clone()));
        let (call, request) = mission.held(&the("Write"), 0, RequestKind::Approval);
        mission.suspend(None).expect("it only waits");
        mission.pass(ANSWER_SECONDS + 1).take(Command::Tick).expect("a tick");
        assert_eq!(mission.mission.status(), status, "{on_expiry}");
        if status == Status::Running {
            let told = mission.events.iter().rev().find(|event| event.detail["kind"] == "decided").expect("it is told");
            assert_eq!((&told.detail["by"], &told.detail["decision"]), (&json!("nobody"), &json!("deny")));
            assert!(mission.mission.wants_turn(mission.now), "its plugin gets an error");
            assert!(!mission.mission.is_held(call));
            assert!(matches!(
                mission.decide(request, Decision::Approve { reach: Reach::Call }),
                Err(Refusal::AlreadyDecided { .. })
            ));
        }
    }
}

#[test]
fn one_that_waits_for_its_answer_waits_until_its_window_closes() {
    let mut mission = Tested::running(json!({
        "constraints": {"allowed_tools": ["*"], "approval_required": ["Write"]}, "on_expiry": "wait",
        "autonomy_window": {"start_at": at(0), "end_at": at(3 * ANSWER_SECONDS)},
    }));
    mission.held(&the("Write"), 0, RequestKind::Approval);
    assert_eq!(mission.mission.open_requests()[0].expires_at, moment(3 * ANSWER_SECONDS));
    mission.suspend(None).expect("it only waits");
    mission.pass(3 * ANSWER_SECONDS).take(Command::Tick).expect("a tick");
    assert_eq!(mission.end(), ("mission.timed_out", Status::TimedOut, "window_closed"));
}

#[test]
fn an_approval_for_a_tool_is_one_of_the_scopes_that_held_the_call() {
    let fields = json!({"constraints": {
        "allowed_tools": ["*"], "approval_required": ["Write(reports/**)", "Write(secrets/**)"],
    }});
    let mut mission = Tested::running(fields);
    let write = |mission: &mut Tested, path: &str| {
        let (tool, arguments) = (the("Write"), json!({"path": path, "content": ""}).to_string());
        let digest = Digest::of(arguments.as_bytes());
        let quote = Spend::NOTHING;
        let records = mission
            .take(Command::Call { run: mission.run(), tool: (&tool).into(), arguments, digest, quote })
            .expect("an answer");
        records
            .iter()
            .find_map(|record| if let Record::Requested { request, .. } = record { Some(*request) } else { None })
    };
    let asked = write(&mut mission, "reports/a.md").expect("it is held");
    mission.decide(asked, Decision::Approve { reach: Reach::Tool }).expect("a decision");
    assert_eq!(write(&mut mission, "reports/b.md"), None, "approved with it");
    assert_eq!(write(&mut mission, "notes.md"), None, "nobody holds it");
    let other = write(&mut mission, "secrets/a.md").expect("nobody has approved that");
    mission.decide(other, Decision::Approve { reach: Reach::Tool }).expect("a decision");
    assert_eq!(write(&mut mission, "secrets/b.md"), None);
}
