//! Children: a mission gives those that it dispatches no more than it has, sets their share aside until they end, and waits for them out of
//! memory, whatever becomes of its runs.

use std::sync::Arc;

use serde_json::{Value, json};
use sortie_contract::artifact::StorageScope;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::{ChildOf, Envelope};
use sortie_contract::id::{CallNo, InstanceId, LaneId, MissionId, SessionId};
use sortie_contract::record::Record;
use sortie_contract::request::{ChildRequest, Decision, Reach, RequestKind, RequestNo};
use sortie_contract::tool::{CallError, MISSION, ToolAnswer, ToolName};
use sortie_contract::{MicroUsd, Spend, Stamped, Status};
use sortie_mission::child::{Bounds, Draft, Occasion};
use sortie_mission::replay::{Asked, Recorded, Replay};
use sortie_mission::{Command, Handle, NodeRules, Refusal};

use crate::support::{Tested, at, envelope, moment, rules, the};

const BOUNDS: Bounds = Bounds { depth_max: 2, children_max: 3, family_max: 7 };

/// What a plugin asks for, with these fields in place of the usual ones.
fn order(fields: Value) -> String {
    let mut order = json!({ "objective": "Count.", "mission_type": "automation", "inputs": { "steps": [] } });
    let (Value::Object(order), Value::Object(fields)) = (&mut order, fields) else { panic!("fields are an object") };
    order.extend(fields);
    serde_json::to_string(order).expect("JSON")
}

fn node() -> InstanceId {
    InstanceId::new("factory-1").expect("an id")
}

fn drafts(parent: &Tested, order: &str) -> Result<Draft, CallError> {
    parent.mission.child(parent.now, order, parent.mission.next_call(), &node(), Occasion::Asked(BOUNDS))
}

/// Dispatches it as the driver does.
fn dispatches(parent: &mut Tested, order: &str) -> Vec<Record> {
    let draft = drafts(parent, order);
    let (refused, quote) = match &draft {
        Ok(draft) => (None, draft.share),
        Err(error) => (Some(error), Spend::NOTHING),
    };
    let (run, digest) = (parent.run(), Digest::of(order.as_bytes()));
    let tool = Handle::Mission { refused };
    parent.take(Command::Call { run, tool, arguments: order.to_owned(), digest, quote }).expect("an answer")
}

/// The same, and it is dispatched.
pub(crate) fn dispatched(parent: &mut Tested, fields: Value) -> CallNo {
    match dispatches(parent, &order(fields)).as_slice() {
        [Record::CallStarted { call, tool, .. }] if tool.as_str() == MISSION => *call,
        other => panic!("not dispatched: {other:?}"),
    }
}

fn spend(llm_calls: u64, cents: u64) -> Spend {
    Spend { llm_calls, cost: MicroUsd(cents * 10_000) }
}

/// The child of a call has ended, having spent so much.
pub(crate) fn ends(parent: &mut Tested, call: CallNo, spent: Spend) -> Result<Vec<Record>, Refusal> {
    let result = json!({ "status": "completed", "summary": "Counted." }).to_string();
    let outcome = Ok(ToolAnswer { result, wrote: Vec::new() });
    parent.take(Command::ChildDone { call, outcome, spent: Some(spent) })
}

fn parsed(draft: &Draft) -> Envelope {
    Envelope::parse_accepted(&draft.text).unwrap_or_else(|rejected| panic!("{:?}", rejected.mistakes)).envelope
}

/// The child itself, accepted by the node.
fn child(draft: &Draft) -> Tested {
    let mut child = Tested::admitted(Arc::new(parsed(draft)), &rules());
    child.start().expect("it starts");
    child
}

#[test]
fn what_goes_beyond_its_parent_is_refused_where_it_is_asked_for() {
    let parent = json!({
        "constraints": { "allowed_tools": ["Read(docs/**)", "Write", "mcp__mail__*"] },
        "budget": { "max_cost_usd": 1.0, "max_llm_calls": 5, "max_runtime_minutes": 10 },
        "autonomy_window": { "end_at": at(3_600) },
    });
    let allowed = |tools: &[&str]| json!({ "constraints": { "allowed_tools": tools } });
    let window = |start: i64, end: i64| json!({ "autonomy_window": { "start_at": at(start), "end_at": at(end) } });
    let budget = |budget: Value| json!({ "budget": budget });
    let stored = |scope: &str| json!({ "artifact_policy": { "storage_scope": scope } });
    for (fields, code, part) in [
        (allowed(&["Write", "Edit"]), "denied", "/constraints/allowed_tools/1: `Edit`"),
        (allowed(&["*"]), "denied", "`*` is not within"),
        (allowed(&["Read"]), "denied", "`Read` is not within"),
        (allowed(&["Read(**)"]), "denied", "`Read(**)` is not within"),
        (allowed(&["Read(docs/a/**)"]), "denied", "is not within"),
        (allowed(&["mcp__*"]), "denied", "is not within"),
        (window(0, 7_200), "denied", "/autonomy_window/end_at"),
        (window(3_600, 3_601), "denied", "/autonomy_window/start_at"),
        (stored("shared"), "denied", "/artifact_policy/storage_scope: \"shared\" is not where"),
        (
            stored("pushback"),
            "invalid-arguments",
            "/artifact_policy/storage_scope: a child has no callback to upload to",
        ),
        (budget(json!({ "max_runtime_minutes": 11 })), "budget-exhausted", "/budget/max_runtime_minutes"),
        (budget(json!({ "max_cost_usd": 1.01 })), "budget-exhausted", "/budget/max_cost_usd"),
        (budget(json!({ "max_llm_calls": 6 })), "budget-exhausted", "/budget/max_llm_calls"),
        (budget(json!({ "max_missions": 7 })), "budget-exhausted", "/budget/max_missions"),
        (budget(json!({ "max_missions": 0.5 })), "invalid-arguments", "/budget/max_missions"),
        (budget(json!({ "max_cents": 6 })), "invalid-arguments", "/budget/max_cents"),
        (json!({ "mission_type": "dance" }), "invalid-arguments", "/mission_type"),
        (json!({ "callback": {} }), "invalid-arguments", "/callback: a child is dispatched with objective"),
        (json!({ "child_of": {} }), "invalid-arguments", "/child_of"),
        (json!({ "objective": " " }), "invalid-arguments", "/objective"),
    ] {
        let mut tested = Tested::running(parent.clone());
        match dispatches(&mut tested, &order(fields.clone())).as_slice() {
            [Record::CallRefused { error, .. }] => {
                assert_eq!(error.code(), code, "{fields}: {error}");
                assert!(error.to_string().contains(part), "{fields}: {error}");
            }
            other => panic!("{fields} is not refused: {other:?}"),
        }
        assert_eq!((tested.money(), tested.mission.children()), ((0, 0), 0), "{fields} takes nothing");
    }
    let mut tested = Tested::running(parent);
    for text in ["", "[]", "null", "{"] {
        assert!(matches!(dispatches(&mut tested, text).as_slice(), [Record::CallRefused { .. }]), "{text:?}");
    }
}

#[test]
fn a_child_has_its_parents_bars_and_no_more_than_it_was_given() {
    let parent = Tested::running(json!({
        "mission_id": "night", "vp_runtime_id": "runtime.coder.external", "on_expiry": "deny",
        "constraints": {
            "allowed_tools": ["Read(docs/**)", "Write", "mcp__mail__*"], "forbidden_tools": ["Write(secret/**)"],
            "approval_required": ["outbound_email"],
        },
        "budget": { "max_cost_usd": 1.0, "max_runtime_minutes": 10 },
        "autonomy_window": { "end_at": at(3_600) },
    }));
    let draft = drafts(
        &parent,
        &order(json!({
            "constraints": {
                "allowed_tools": ["Read(docs/**)", "write(a/*)", "mcp__mail__send"], "forbidden_tools": ["Write(a/b)"],
                "approval_required": ["Write"],
            },
            "budget": { "max_cost_usd": 0.25 },
        })),
    );
    let draft = draft.expect("within");
    let envelope = parsed(&draft);
    assert_eq!((draft.mission_id.as_str(), draft.share), ("night.child-1", spend(0, 25)));
    assert_eq!(envelope.constraints.forbidden_tools, ["Write(secret/**)", "Write(a/b)"]);
    assert_eq!(envelope.constraints.approval_required, ["outbound_email", "Write"]);
    assert_eq!(envelope.window.end_at.map(|end| end.to_string()), Some(at(3_600)));
    assert_eq!(envelope.budget.runtime_ms_max, Some(600_000), "what its parent has left");
    assert_eq!(envelope.vp_session_id.as_ref().map(SessionId::as_str), Some("child:night.child-1"));
    assert_eq!(envelope.vp_runtime_id.as_ref().map(LaneId::as_str), Some("runtime.coder.external"));
    assert_eq!((envelope.source_instance_id.as_str(), envelope.trace_id.as_str()), ("simone", "trace-1"));
    assert_eq!(envelope.on_expiry, parent.mission.envelope().on_expiry);
    assert!(envelope.callback.is_none(), "its parent's events tell of it");
    assert!(Envelope::parse(&draft.text).is_err(), "nobody else can say whose child it is");
    assert_eq!(
        Envelope::parse_of_child(&draft.text).map(|parsed| parsed.envelope),
        Ok(envelope.clone()),
        "but its node"
    );
    let of = envelope.parent().expect("a child");
    assert_eq!((of.mission_id.as_str(), of.call, of.depth), ("night", 1, 1));

    let child = child(&draft);
    assert_eq!(child.mission.budget().llm_calls_max, Some(0), "what it was not given is nothing");
    assert_eq!(child.mission.budget().cost_max, Some(MicroUsd(250_000)));
    let handed: Vec<&str> = child.mission.granted().into_iter().flatten().map(ToolName::as_str).collect();
    assert_eq!(handed, ["Read", "Write", "mcp__mail__send"]);
    assert_eq!(child.events[0].parent_id.as_deref(), Some("night"));
}

#[test]
fn a_child_is_handed_no_tool_that_its_parent_was_not_handed() {
    let parent = Tested::running(json!({ "constraints": { "allowed_tools": ["mcp__*"] } }));
    let mut draft = drafts(&parent, &order(json!({ "constraints": { "allowed_tools": ["mcp__*"] } }))).expect("within");
    // The node got a tool since that its parent's pattern means, too.
    draft.text = draft.text.replace("\"mcp__odd__thing\"", "\"mcp__odd__other\"");
    let handed = child(&draft).mission.granted().map(<[_]>::to_vec).unwrap_or_default();
    assert_eq!(handed.iter().map(ToolName::as_str).collect::<Vec<_>>(), ["mcp__mail__send"]);
}

#[test]
fn a_childs_artifacts_go_where_its_parents_do_or_stay_with_its_node() {
    let stored = |scope: &str| json!({ "artifact_policy": { "storage_scope": scope } });
    let mut pushed = stored("pushback");
    pushed["callback"] = json!({ "status_url": "https://simone.example/hooks/" });
    let (here, shared) = (Some(StorageScope::Factory), Some(StorageScope::Shared));
    for (parent, wanted, expected) in [
        (stored("factory"), stored("factory"), here),
        (stored("factory"), stored("shared"), None),
        (json!({}), stored("shared"), None),
        (stored("shared"), json!({}), here),
        (stored("shared"), stored("factory"), here),
        (stored("shared"), stored("shared"), shared),
        (pushed.clone(), json!({}), here),
        (pushed.clone(), stored("shared"), None),
        (pushed, stored("pushback"), None),
    ] {
        let of_node = NodeRules { shared_storage: true, ..rules() };
        let context = format!("{wanted} of {parent}");
        let mut parent = Tested::admitted(Arc::new(envelope(parent)), &of_node);
        parent.start().expect("it starts");
        match (drafts(&parent, &order(wanted)), expected) {
            (Ok(draft), Some(expected)) => assert_eq!(parsed(&draft).storage_scope, expected, "{context}"),
            (Err(CallError::Denied(why) | CallError::InvalidArguments(why)), None) => {
                assert!(why.starts_with("/artifact_policy/storage_scope: "), "{context}: {why}");
            }
            (other, _) => panic!("{context}: {other:?}"),
        }
    }
}

#[test]
fn how_deep_and_how_many_is_bounded() {
    let mut parent = Tested::running(json!({}));
    for _ in 0..BOUNDS.children_max {
        dispatched(&mut parent, json!({}));
    }
    let fourth = dispatches(&mut parent, &order(json!({})));
    assert!(
        matches!(fourth.as_slice(), [Record::CallRefused { error: CallError::Denied(why), .. }] if why.contains("children_max")),
        "{fourth:?}"
    );
    let first = Tested::running(json!({}));
    let second = child(&drafts(&first, &order(json!({ "budget": { "max_missions": 1 } }))).expect("a child"));
    let third = child(&drafts(&second, &order(json!({}))).expect("a child of a child"));
    let depth = third.mission.envelope().child_of.as_ref().map(|of: &ChildOf| of.depth);
    assert_eq!(depth, Some(BOUNDS.depth_max));
    let fourth = drafts(&third, &order(json!({})));
    assert!(matches!(&fourth, Err(CallError::Denied(why)) if why.contains("children_depth_max")), "{fourth:?}");
}

/// An order for a child of which so many missions may come.
fn with_missions(missions: u32) -> String {
    order(json!({ "budget": { "max_missions": missions } }))
}

fn is_out_of_missions(answer: &[Record], part: &str) -> bool {
    matches!(answer, [Record::CallRefused { error: CallError::BudgetExhausted(why), .. }]
        if why.starts_with("/budget/max_missions: ") && why.contains(part))
}

#[test]
fn how_many_missions_come_of_one_in_all_is_a_share_of_its_own() {
    let mut first = Tested::running(json!({}));
    let beyond = dispatches(&mut first, &with_missions(BOUNDS.family_max));
    assert!(
        is_out_of_missions(&beyond, "of the 7 missions that may come of this one 7 are left, and this would take 8"),
        "{beyond:?}"
    );
    assert_eq!(first.mission.family(), 0, "what is refused takes nothing");
    let draft = drafts(&first, &with_missions(4)).expect("five of seven");
    assert_eq!(parsed(&draft).child_of.map(|of| of.missions), Some(4));
    let call = dispatched(&mut first, json!({ "budget": { "max_missions": 4 } }));
    assert_eq!(first.mission.family(), 5);
    // What of a share comes to nothing is not given back: the sum is of all times, and not of those that run.
    ends(&mut first, call, Spend::NOTHING).expect("it waits");
    let beyond = dispatches(&mut first, &with_missions(2));
    assert!(is_out_of_missions(&beyond, "2 are left, and this would take 3"), "{beyond:?}");
    dispatched(&mut first, json!({ "budget": { "max_missions": 1 } }));
    let beyond = dispatches(&mut first, &order(json!({})));
    assert!(is_out_of_missions(&beyond, "0 are left"), "{beyond:?}");
    first.crash();
    assert_eq!(first.mission.family(), 7, "whatever becomes of its runs");

    let mut second = child(&draft);
    let beyond = dispatches(&mut second, &with_missions(4));
    assert!(is_out_of_missions(&beyond, "of the 4 missions"), "{beyond:?}");
    let third = child(&drafts(&second, &with_missions(0)).expect("a child"));
    let none = drafts(&third, &order(json!({})));
    assert!(matches!(none, Err(CallError::Denied(_))), "deeper than it may be: {none:?}");
    let wide = Bounds { depth_max: 9, ..BOUNDS };
    let none = third.mission.child(third.now, &order(json!({})), CallNo(1), &node(), Occasion::Asked(wide));
    assert!(
        matches!(&none, Err(CallError::BudgetExhausted(why)) if why.contains("names none in `budget.max_missions`")),
        "{none:?}"
    );
    // A node whose bound was lowered since holds it against what was given before.
    let narrow = Bounds { family_max: 2, ..BOUNDS };
    let lower = second.mission.child(second.now, &with_missions(2), CallNo(1), &node(), Occasion::Asked(narrow));
    assert!(matches!(&lower, Err(CallError::BudgetExhausted(why)) if why.contains("of the 2 missions")), "{lower:?}");
}

#[test]
fn an_envelope_may_say_that_fewer_missions_come_of_it() {
    for (said, missions, is_within) in [(2, 1, true), (2, 2, false), (100, 6, true), (100, 7, false)] {
        let mut parent = Tested::running(json!({ "budget": { "max_missions": said } }));
        let answer = dispatches(&mut parent, &with_missions(missions));
        assert_eq!(
            matches!(answer.as_slice(), [Record::CallStarted { .. }]),
            is_within,
            "{said} {missions}: {answer:?}"
        );
    }
}

/// However the shares are dealt out, no more missions come of one than it may have, in any number of levels.
#[test]
fn no_way_to_deal_it_out_passes_the_number_of_a_family() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u32| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        u32::try_from(random % u64::from(below)).expect("small")
    };
    let bounds = Bounds { depth_max: 6, children_max: 8, family_max: 40 };
    for _ in 0..40 {
        let (mut open, mut born) = (vec![Tested::running(json!({}))], 0);
        while let Some(mut parent) = open.pop() {
            for _ in 0..next(10) {
                let text = with_missions(next(20));
                let call = parent.mission.next_call();
                let draft = parent.mission.child(parent.now, &text, call, &node(), Occasion::Asked(bounds));
                let (refused, quote) = (draft.as_ref().err(), Spend::NOTHING);
                let (run, digest) = (parent.run(), Digest::of(text.as_bytes()));
                let tool = Handle::Mission { refused };
                parent.take(Command::Call { run, tool, arguments: text, digest, quote }).expect("an answer");
                if let Ok(draft) = draft {
                    born += 1;
                    open.push(child(&draft));
                }
            }
        }
        assert!(born <= bounds.family_max, "{born}");
    }
}

#[test]
fn a_share_is_set_aside_from_the_dispatch_to_the_end_and_what_comes_back_is_free_again() {
    let mut parent = Tested::running(json!({ "budget": { "max_cost_usd": 1.0, "max_llm_calls": 4 } }));
    let share = |calls: u64, usd: f64| json!({ "budget": { "max_llm_calls": calls, "max_cost_usd": usd } });
    let first = dispatched(&mut parent, share(2, 0.6));
    assert_eq!(parent.money(), (0, 600_000));
    let dear = dispatches(&mut parent, &order(share(1, 0.5)));
    assert!(
        matches!(dear.as_slice(), [Record::CallRefused { error: CallError::BudgetExhausted(why), .. }] if why.contains("/budget/max_cost_usd")),
        "nobody is asked, and nothing waits: {dear:?}"
    );
    let second = dispatched(&mut parent, share(2, 0.4));
    assert_eq!(parent.money(), (0, 1_000_000));
    let third = dispatches(&mut parent, &order(share(1, 0.0)));
    assert!(
        matches!(third.as_slice(), [Record::CallRefused { error: CallError::BudgetExhausted(_), .. }]),
        "{third:?}"
    );
    ends(&mut parent, first, spend(1, 10)).expect("it waits");
    assert_eq!((parent.money(), parent.mission.spent()), ((100_000, 400_000), spend(1, 10)));
    dispatched(&mut parent, share(1, 0.5));
    assert_eq!(ends(&mut parent, first, spend(1, 10)), Err(Refusal::UnknownCall { call: first }), "told once");
    // A run that ends with children under way: nobody will learn what they did spend.
    parent.says_done();
    assert_eq!(parent.money(), (1_000_000, 0));
    assert_eq!(ends(&mut parent, second, spend(0, 0)), Err(Refusal::AlreadyFinal { status: Status::Completed }));
}

#[test]
fn no_order_of_dispatches_and_ends_passes_the_budget() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for _ in 0..200 {
        let mut parent = Tested::running(json!({ "budget": { "max_cost_usd": 1.0, "max_llm_calls": 9 } }));
        let mut open: Vec<(CallNo, Spend)> = Vec::new();
        for _ in 0..12 {
            if next(3) > 0 {
                let (calls, cents) = (next(6), next(80));
                let usd = f64::from(u32::try_from(cents).expect("small")) / 100.0;
                let fields = json!({ "budget": { "max_llm_calls": calls, "max_cost_usd": usd } });
                if let [Record::CallStarted { call, reserved, .. }] = dispatches(&mut parent, &order(fields)).as_slice()
                {
                    open.push((*call, *reserved));
                }
            } else if !open.is_empty() {
                let (call, share) = open.remove(usize::try_from(next(open.len() as u64)).expect("small"));
                let spent = Spend { llm_calls: next(share.llm_calls + 1), cost: MicroUsd(next(share.cost.0 + 1)) };
                ends(&mut parent, call, spent).expect("it waits");
            }
            let booked = parent.mission.spent().saturating_add(parent.mission.reserved());
            assert!(booked.fits(spend(9, 100)), "{booked}");
            let shares = open.iter().fold(Spend::NOTHING, |sum, (_, share)| sum.saturating_add(*share));
            assert_eq!(parent.mission.reserved(), shares);
        }
    }
}

#[test]
fn who_waits_for_children_alone_leaves_memory_takes_no_run_time_and_comes_back_with_each() {
    let mut parent = Tested::running(json!({ "budget": { "max_runtime_minutes": 1 } }));
    let (first, second) = (dispatched(&mut parent, json!({})), dispatched(&mut parent, json!({})));
    assert!(!parent.mission.is_busy(), "a node that stops does not wait for it");
    parent.suspend(None).expect("it only waits");
    assert_eq!((parent.mission.status(), parent.mission.takes_run_time()), (Status::Running, false));
    parent.pass(3_600);
    assert!(!parent.mission.wants_turn(parent.now));
    ends(&mut parent, first, Spend::NOTHING).expect("a share of nothing is one, too");
    assert!(parent.mission.wants_turn(parent.now));
    parent.start().expect("its next run");
    parent.suspend(None).expect("it waits for the second");
    ends(&mut parent, second, Spend::NOTHING).expect("it waits");
    parent.start().expect("its next run");
    assert_eq!(parent.suspend(None), Err(Refusal::Busy), "there is nobody to wait for");
}

#[test]
fn a_crash_leaves_children_alone_and_asks_nobody_about_them() {
    let mut parent = Tested::running(json!({ "budget": { "max_cost_usd": 1.0 } }));
    let call = dispatched(&mut parent, json!({ "budget": { "max_cost_usd": 0.5 } }));
    let records = parent.crash();
    assert!(matches!(records.as_slice(), [Record::Started { .. }]), "{records:?}");
    assert_eq!((parent.money(), parent.mission.open_children().collect::<Vec<_>>()), ((0, 500_000), vec![call]));
    let order = order(json!({ "budget": { "max_cost_usd": 0.5 } }));
    assert_eq!(parent.mission.order_of_child(call), Some((order.as_str(), spend(0, 50))));
    let granted = Occasion::Granted(spend(0, 50));
    let again = parent.mission.child(parent.now, &order, call, &node(), granted).expect("the same again");
    assert_eq!((again.mission_id, again.share), (MissionId::new("m-1.child-1").expect("an id"), spend(0, 50)));
}

#[test]
fn a_replay_gets_the_ends_of_children_and_notices_another_order() {
    let mut parent = Tested::running(json!({}));
    let call = dispatched(&mut parent, json!({}));
    let tools = order(json!({ "constraints": { "allowed_tools": ["Edit"] } }));
    dispatches(&mut parent, &tools);
    ends(&mut parent, call, Spend::NOTHING).expect("it waits");
    let name = ToolName::new(MISSION);
    let mut replay = Replay::new(&parent.records);
    let first = replay.next(Asked::Call { tool: &name, arguments: &order(json!({})) });
    assert!(matches!(first, Ok(Some(Recorded::Call { call: of, outcome: Some(Ok(_)) })) if of == call), "{first:?}");
    let second = replay.next(Asked::Call { tool: &name, arguments: &tools });
    assert!(matches!(second, Ok(Some(Recorded::Refused { error: CallError::Denied(_) }))), "{second:?}");
    let mut replay = Replay::new(&parent.records);
    let other = order(json!({ "objective": "Count again." }));
    replay.next(Asked::Call { tool: &name, arguments: &other }).expect_err("another order");
}

#[test]
fn constraints_can_forbid_children_or_hold_them() {
    for entry in ["mission", "*", "MISS*"] {
        let mut parent = Tested::running(json!({ "constraints": { "forbidden_tools": [entry] } }));
        let refused = dispatches(&mut parent, &order(json!({})));
        assert!(matches!(refused.as_slice(), [Record::CallRefused { error: CallError::Denied(_), .. }]), "{refused:?}");
    }
    let mut parent = Tested::running(json!({ "constraints": { "approval_required": ["mission"] } }));
    let share = json!({ "budget": { "max_cost_usd": 0.5 } });
    let (call, request) = match dispatches(&mut parent, &order(share)).as_slice() {
        [Record::CallHeld { call, .. }, Record::Requested { request, kind: RequestKind::Approval, .. }] => {
            (*call, *request)
        }
        other => panic!("it is not held: {other:?}"),
    };
    assert_eq!((parent.money(), parent.mission.waits_for_children()), ((0, 0), false));
    assert!(parent.mission.amendable(request).is_none());
    let follows = parent.decided(request, Decision::Approve { reach: Reach::Call });
    assert_eq!((follows, parent.money()), (Record::CallResumed { call }, (0, 500_000)));
    ends(&mut parent, call, spend(0, 20)).expect("it waits");
    assert_eq!(parent.money(), (200_000, 0));
}

#[test]
fn a_child_out_of_its_share_asks_nobody_for_more() {
    let parent = Tested::running(json!({ "constraints": { "allowed_tools": ["WebFetch"] } }));
    let fields = json!({ "constraints": { "allowed_tools": ["WebFetch"] }, "budget": { "max_cost_usd": 0.1 } });
    let mut child = child(&drafts(&parent, &order(fields)).expect("within"));
    let fetch = the("WebFetch");
    let call = child.call(&fetch, 60_000).expect("covered");
    child.done(call, &[], 60_000);
    let error = child.call(&fetch, 60_000).expect_err("beyond its share");
    assert!(
        matches!(&error, CallError::BudgetExhausted(why) if why.contains("share of its parent's budget")),
        "{error}"
    );
}

#[test]
fn what_is_told_and_taken_is_of_its_schema() {
    use sortie_contract::envelope::{ORDER, order_schema, result_schema};
    let (order, result) = (order_schema(), result_schema());
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    let names = |object: &Value| sorted(object.as_object().expect("an object").keys().cloned().collect());
    let fields = |schema: &Value| names(&schema["properties"]);
    assert_eq!(fields(&order), sorted(ORDER.map(str::to_owned).to_vec()));
    let scopes = &order["properties"]["artifact_policy"]["properties"]["storage_scope"]["enum"];
    assert_eq!(scopes, &json!(["factory", "shared", null]), "there is no callback to push to");
    let mut mission = Tested::running(json!({}));
    assert_eq!(mission.mission.told_to_parent(), None, "it has not ended");
    mission.says_done();
    let told: Value = serde_json::from_str(&mission.mission.told_to_parent().expect("it has ended")).expect("JSON");
    assert_eq!(names(&told), fields(&result));
}

#[test]
fn events_tell_of_children() {
    let mut parent = Tested::running(json!({}));
    let call = dispatched(&mut parent, json!({}));
    ends(&mut parent, call, Spend::NOTHING).expect("it waits");
    let told: Vec<(&str, &str)> = parent
        .events
        .iter()
        .filter_map(|event| Some((event.detail["kind"].as_str()?, event.summary.as_str())))
        .filter(|(kind, _)| kind.starts_with("child"))
        .collect();
    assert_eq!(
        told,
        [("child", "Dispatched m-1.child-1: Count."), ("child_ended", "m-1.child-1 is completed: Counted.")]
    );
    let sequences: Vec<u64> = parent.events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
}

pub(crate) fn asks(of: &str, request: u32, question: &str) -> ChildRequest {
    ChildRequest {
        of: MissionId::new(of).expect("an id"),
        request: RequestNo(request),
        kind: RequestKind::Input,
        question: question.to_owned(),
        expires_at: moment(3_600),
    }
}

#[test]
fn what_a_child_asks_blocks_its_parent_and_is_told_once() {
    let mut parent = Tested::running(json!({}));
    let (call, other) = (dispatched(&mut parent, json!({})), dispatched(&mut parent, json!({})));
    parent.suspend(None).expect("it only waits");
    let (which, may) = (asks("m-1.child-1", 1, "Which?"), asks("m-1.child-1.child-4", 2, "May it?"));
    let tell = |parent: &mut Tested, call, open: &[&ChildRequest]| {
        parent.take(Command::ChildAsks { call, open: open.iter().map(|asks| (*asks).clone()).collect() })
    };
    let told = Record::ChildAsks { call, asks: which.clone() };
    assert_eq!(tell(&mut parent, call, &[&which]), Ok(vec![told.clone()]));
    let event = parent.events.last().expect("an event");
    assert_eq!((event.event_type.as_str(), event.status), ("mission.blocked", Status::Blocked));
    assert_eq!(event.summary, "m-1.child-1 asks: Which?");
    let request = &event.detail["child_request"];
    assert_eq!((&request["mission_id"], &request["request_id"]), (&json!("m-1.child-1"), &json!("r1")));
    assert_eq!((&request["decisions"], &event.detail["request"]), (&json!(["answer", "deny"]), &Value::Null));
    let overview = parent.mission.overview();
    assert_eq!((overview.requests, overview.expires_at), (0, Some(moment(3_600))), "none of its own");
    assert!(!parent.mission.wants_turn(parent.now) && !parent.mission.takes_run_time(), "it waits as before");

    assert_eq!(tell(&mut parent, call, &[&which]), Ok(vec![]), "it knows");
    parent.start().expect("its next run");
    parent.crash();
    assert_eq!(tell(&mut parent, call, &[&which]), Ok(vec![]), "and knows it after a crash");
    assert_eq!(parent.mission.asks(), std::slice::from_ref(&which), "those above it are told the same");
    let heard = Record::ChildHeard { call, of: which.of.clone(), request: which.request };
    let also = Record::ChildAsks { call, asks: may.clone() };
    assert_eq!(tell(&mut parent, call, &[&may]), Ok(vec![heard.clone(), also]));
    assert_eq!(parent.mission.status(), Status::Blocked);
    for misfit in
        [heard, Record::ChildAsks { call, asks: may.clone() }, Record::ChildAsks { call: CallNo(9), asks: which }]
    {
        let stamped = Stamped { at: parent.now.wall, ran_ms: parent.now.ran_ms, record: misfit };
        parent.mission.clone().apply(&stamped).expect_err("it does not follow");
    }

    let of_the_other = asks("m-1.child-2", 1, "Who?");
    assert_eq!(tell(&mut parent, other, &[&of_the_other]).map(|records| records.len()), Ok(1));
    ends(&mut parent, call, Spend::NOTHING).expect("it waits");
    assert_eq!(parent.mission.asks(), [of_the_other], "its questions end with it");
    assert_eq!(tell(&mut parent, call, &[&may]), Err(Refusal::UnknownCall { call }), "it is over");
    assert_eq!(tell(&mut parent, other, &[]).map(|records| records.len()), Ok(1));
    assert_eq!(parent.mission.status(), Status::Running);
    assert_eq!(parent.events.last().expect("an event").detail["kind"], "child_heard");
}
