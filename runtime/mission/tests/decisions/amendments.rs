//! *An approval may change the arguments*: what is held against the rules, what it costs, and what is on record.

use serde_json::{Value, json};
use sortie_contract::digest::Digest;
use sortie_contract::id::CallNo;
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::record::Record;
use sortie_contract::request::{Decision, Reach, RequestKind, RequestNo};
use sortie_mission::replay::{Asked, Recorded, Replay};
use sortie_mission::{Command, Handle, Mission, Refusal};

use crate::support::{Called, Tested, the};

/// A mission whose writes need approval.
fn asking(fields: &Value) -> Tested {
    let mut envelope =
        json!({"constraints": {"allowed_tools": ["Write", "Edit"], "approval_required": ["Write", "Edit"]}});
    for (key, value) in fields.as_object().expect("fields") {
        envelope[key] = value.clone();
    }
    Tested::running(envelope)
}

fn held(mission: &mut Tested, tool: &str, arguments: &str, cost: u64) -> (CallNo, RequestNo) {
    match mission.calls_with(&the(tool), arguments, cost) {
        Called::Held(call, request, RequestKind::Approval) => (call, request),
        other => panic!("nobody is asked: {other:?}"),
    }
}

fn decided(request: RequestNo, arguments: &str) -> Record {
    let decision = Decision::Amend { arguments: arguments.to_owned() };
    Record::Decided { request, decision, by: "ada".to_owned(), note: "noted".to_owned() }
}

#[test]
fn the_call_is_made_as_it_was_approved_and_the_record_keeps_both() {
    let mut mission = asking(&json!({}));
    let write = the("Write");
    let (call, request) = held(&mut mission, "Write", r#"{"path":"a"}"#, 0);
    let taken = mission.amend(request, r#"{"path":"b"}"#, (&write).into(), 0);
    assert_eq!(taken, Ok(vec![decided(request, r#"{"path":"b"}"#), Record::CallResumed { call }]));
    assert_eq!(mission.mission.amended(call), Some(r#"{"path":"b"}"#));
    let event = mission.events.last().expect("an event");
    assert_eq!(event.detail["arguments"], json!({"path": "b"}), "{event:#?}");
    assert_eq!(event.detail["arguments_wanted"], json!({"path": "a"}), "{event:#?}");
    // The same again is no other decision; any other is.
    assert_eq!(mission.amend(request, r#"{"path":"b"}"#, (&write).into(), 0), Ok(Vec::new()));
    let already = Refusal::AlreadyDecided { request, decision: "approve", changed: true };
    assert_eq!(already.to_string(), "r1 was decided already: approve, with other arguments than the plugin wanted");
    let refused = Err(already);
    assert_eq!(mission.amend(request, r#"{"path":"c"}"#, (&write).into(), 0), refused);
    assert_eq!(mission.decide(request, Decision::Approve { reach: Reach::Call }), refused);
    // A replay is held against what the plugin asked for.
    let asks = |arguments: &str| {
        let asked = Asked::Call { tool: &write.name, arguments };
        Replay::new(&mission.records).next(asked)
    };
    assert_eq!(asks(r#"{"path":"a"}"#), Ok(Some(Recorded::Call { call, outcome: None })));
    assert!(asks(r#"{"path":"b"}"#).is_err());
    // It is known for as long as the mission is, also once it has its result, and after a crash.
    mission.done(call, &[], 0);
    assert_eq!(mission.mission.amended(call), Some(r#"{"path":"b"}"#));
    let folded = Mission::fold(mission.mission.envelope().clone(), &mission.records).expect("its own records");
    assert_eq!(folded.amended(call), Some(r#"{"path":"b"}"#));
}

#[test]
fn what_says_the_same_changes_nothing() {
    let mut mission = asking(&json!({}));
    let (call, request) = held(&mut mission, "Write", r#"{"path":"a","n":1}"#, 0);
    mission.amend(request, r#"{ "n": 1, "path": "a" }"#, (&the("Write")).into(), 0).expect("a decision");
    assert_eq!(mission.mission.amended(call), None);
    assert_eq!(mission.events.last().expect("an event").detail.get("arguments"), None);
}

#[test]
fn no_rule_but_the_need_of_approval_is_passed_over() {
    for (constraints, arguments, expected) in [
        // What another entry asks for is approved by this very decision.
        (json!({"allowed_tools": ["Write"], "approval_required": ["Write(a/**)", "Write(b/**)"]}), "b/x", None),
        (json!({"allowed_tools": ["Write"], "approval_required": ["Write(a/**)"]}), "c/x", None),
        (
            json!({"allowed_tools": ["Write"], "approval_required": ["Write(a/**)"], "forbidden_tools": ["Write(b/**)"]}),
            "b/x",
            Some("`Write(b/**)` in constraints.forbidden_tools"),
        ),
        (
            json!({"allowed_tools": ["Write(a/**)"], "approval_required": ["Write"]}),
            "b/x",
            Some("none that constraints.allowed_tools means, such as `Write(a/**)`"),
        ),
    ] {
        let mut mission = asking(&json!({ "constraints": constraints }));
        let (call, request) = held(&mut mission, "Write", r#"{"path":"a/x","content":""}"#, 0);
        let arguments = json!({"path": arguments, "content": ""}).to_string();
        let taken = mission.amend(request, &arguments, (&the("Write")).into(), 0);
        match expected {
            None => assert_eq!(taken, Ok(vec![decided(request, &arguments), Record::CallResumed { call }])),
            Some(rule) => {
                let Err(Refusal::NotAllowed { why }) = taken else { panic!("{constraints}: {taken:?}") };
                assert!(why.contains(rule), "{why}");
                assert_eq!(mission.mission.open_requests().len(), 1, "it still waits");
                mission.decide(request, Decision::Deny).expect("it can still be decided");
            }
        }
    }
}

#[test]
fn a_call_that_cannot_be_made_is_not_approved() {
    let (write, edit) = (the("Write"), the("Edit"));
    for (tool, says) in [
        (Handle::Gone(&write.name), "no longer has the tool `Write`"),
        (Handle::Away { tool: &write.name, why: "it is out" }, "it is out"),
        (Handle::Tool(&edit), "another tool"),
    ] {
        let mut mission = asking(&json!({}));
        let (_, request) = held(&mut mission, "Write", "{}", 0);
        let Err(Refusal::NotAllowed { why }) = mission.amend(request, r#"{"a":1}"#, tool, 0) else {
            panic!("{tool:?}")
        };
        assert!(why.contains(says), "{why}");
        assert_eq!(mission.mission.amendable(request), Some(&write.name), "it still waits");
    }
    let mut mission = asking(&json!({}));
    let (_, request) = held(&mut mission, "Write", "{}", 0);
    let long = format!("\"{}\"", "x".repeat(sortie_contract::limit::CALL_BYTES_MAX));
    assert!(matches!(mission.amend(request, &long, (&write).into(), 0), Err(Refusal::NotAllowed { .. })));
}

#[test]
fn the_changed_call_is_quoted_anew() {
    let mut mission = asking(&json!({"budget": {"max_cost_usd": 0.000_010}}));
    let edit = the("Edit");
    let (call, request) = held(&mut mission, "Edit", "{}", 4);
    let requoted = |reserved| Record::Requoted { call, reserved: Spend::money(MicroUsd(reserved)) };
    let taken = mission.amend(request, r#"{"n":1}"#, (&edit).into(), 7);
    assert_eq!(taken, Ok(vec![decided(request, r#"{"n":1}"#), requoted(7), Record::CallResumed { call }]));
    assert_eq!(mission.money(), (0, 7));
    mission.done(call, &[], 6);
    assert_eq!(mission.money(), (6, 0));
    // What the budget does not cover is asked about, as of any call; with the arguments that it would be made with.
    let (call, request) = held(&mut mission, "Edit", r#"{"n":2}"#, 1);
    let taken = mission.amend(request, r#"{"n":3}"#, (&edit).into(), 5).expect("a decision");
    let [Record::Decided { .. }, Record::Requoted { reserved, .. }, Record::Requested { request: more, kind, .. }] =
        taken.as_slice()
    else {
        panic!("{taken:?}")
    };
    assert_eq!((*reserved, *kind), (Spend::money(MicroUsd(5)), RequestKind::Budget));
    let view = mission.mission.request_view(*more).expect("it is open");
    assert_eq!((&view["arguments"], &view["arguments_wanted"]), (&json!({"n": 3}), &json!({"n": 2})));
    assert_eq!(view["arguments_sha256"], json!(Digest::of(br#"{"n":3}"#).to_string()));
    let grant = Decision::Grant { llm_calls: 0, cost: MicroUsd(5) };
    assert_eq!(mission.decided(*more, grant), Record::CallResumed { call });
    assert_eq!(mission.money(), (6, 5));
}

#[test]
fn after_a_crash_people_are_asked_about_the_changed_call() {
    let mut mission = asking(&json!({}));
    let (call, request) = held(&mut mission, "Edit", r#"{"n":1}"#, 0);
    mission.amend(request, r#"{"n":2}"#, (&the("Edit")).into(), 0).expect("a decision");
    let lost = mission.crash();
    let doubted = lost.iter().find_map(|record| match record {
        Record::Requested { request, call: of, kind: RequestKind::Uncertain, .. } if *of == call => Some(*request),
        _ => None,
    });
    let doubted = doubted.unwrap_or_else(|| panic!("{lost:?}"));
    let view = mission.mission.request_view(doubted).expect("it is open");
    assert_eq!((&view["arguments"], &view["arguments_wanted"]), (&json!({"n": 2}), &json!({"n": 1})));
    assert_eq!(mission.decided(doubted, Decision::Repeat), Record::CallResumed { call });
    assert_eq!(mission.mission.amended(call), Some(r#"{"n":2}"#));
}

#[test]
fn only_the_approval_of_a_tools_call_changes_arguments() {
    let mut mission = asking(&json!({"constraints": {
        "allowed_tools": ["Write"], "approval_required": ["model"]}, "budget": {"max_cost_usd": 0.000_001}}));
    let amend = |request| Command::Decide {
        request,
        decision: Decision::Amend { arguments: "{}".to_owned() },
        by: "ada".to_owned(),
        note: String::new(),
        changed: None,
    };
    let (_, question) = mission.asks("which?");
    assert_eq!(mission.take(amend(question)), Err(Refusal::WrongDecision { kind: RequestKind::Input }));
    let (_, budget) = mission.held(&the("Write"), 5, RequestKind::Budget);
    assert_eq!(mission.take(amend(budget)), Err(Refusal::WrongDecision { kind: RequestKind::Budget }));
    let command = Command::Call {
        run: mission.run(),
        tool: Handle::Model,
        arguments: "{}".to_owned(),
        digest: Digest::of(b"{}"),
        quote: Spend::NOTHING,
    };
    mission.take(command).expect("an answer");
    let asked = mission.mission.open_requests().last().expect("somebody is asked").no;
    assert_eq!(mission.mission.amendable(asked), None);
    assert!(matches!(mission.take(amend(asked)), Err(Refusal::NotAmendable { .. })));
}

#[test]
fn it_approves_one_call_and_no_later_one() {
    let mut mission = asking(&json!({"constraints": {"allowed_tools": ["Write"], "approval_required": ["Write"]}}));
    let (_, request) = held(&mut mission, "Write", "{}", 0);
    mission.amend(request, r#"{"n":1}"#, (&the("Write")).into(), 0).expect("a decision");
    held(&mut mission, "Write", r#"{"n":1}"#, 0);
}
