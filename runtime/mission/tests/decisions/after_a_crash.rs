//! *After a crash*: what goes on, and what is never done twice.

use serde_json::json;
use sortie_contract::Status;
use sortie_contract::digest::Digest;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::outcome::Verdict;
use sortie_contract::plugin::Crash;
use sortie_contract::record::{HostQuestion, Record, Stamped};
use sortie_contract::request::{Decision, Reach, RequestKind, RequestNo};
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo};
use sortie_mission::replay::{Asked, Recorded, Replay};
use sortie_mission::{CRASHES_MAX, Command, Conditions, Handle, Mission, Refusal, SUSPECTED_AFTER};

use crate::failed;
use crate::support::{
    self, CRASHES_ALONE_MAX, Tested, artifact, conditions, granted, moment, put, start, the, tool, tools,
};

/// What a call returned that is none of the mission's own.
fn answer(result: &str) -> Result<ToolAnswer, CallError> {
    Ok(ToolAnswer { result: result.into(), wrote: vec![] })
}

#[test]
fn a_running_mission_goes_on_with_what_it_has_recorded() {
    let mut mission = Tested::running(json!({
        "constraints": {"allowed_tools": ["*"]},
        "success_criteria": ["One"],
        "artifact_policy": {"required_outputs": ["*.md"]},
    }));
    let call = mission.call(&the("Write"), 5).expect("granted");
    mission.done(call, &["report.md", "notes.md"], 2);
    mission.store("report.md");
    let judged = Command::Judge { run: RunNo(1), criterion: 0, verdict: Verdict::Unmet, evidence: String::new() };
    mission.take(judged).expect("taken");
    let before = (mission.mission.host_calls(), mission.mission.artifacts().len());
    assert_eq!(
        mission.crash(),
        [Record::Started { run: RunNo(2), alone: false, announced: false }],
        "nothing to ask about"
    );
    assert_eq!((mission.mission.status(), mission.run()), (Status::Running, RunNo(2)));
    assert_eq!((mission.mission.host_calls(), mission.mission.artifacts().len()), before);
    assert_eq!(mission.mission.collectable(), ["notes.md"]);
    assert_eq!(
        mission.event_types().last(),
        Some(&"mission.artifact"),
        "what was told last still holds: nothing new is told"
    );
    let event = mission.says_done();
    assert_eq!(event.detail["reason"], "criterion_unmet", "what the first run said still holds");
    assert_eq!(event.usage.estimated_cost_usd, 0.000_002, "and what it did cost is paid once");
}

#[test]
fn a_blocked_mission_looks_blocked_after_a_crash() {
    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]}}));
    mission.held(&the("Edit"), 0, RequestKind::Approval);
    mission.crash();
    mission.crash();
    assert_eq!(mission.event_types(), ["mission.accepted", "mission.progress", "mission.blocked"]);
    assert_eq!(mission.mission.status(), Status::Blocked);
}

/// Before version 4 each start behind a crash had an event, and receivers know it by its sequence.
#[test]
fn what_older_journals_told_keeps_its_sequence() {
    let mut mission = Tested::running(json!({}));
    mission.crash();
    for stamped in &mut mission.records {
        if let Record::Started { announced, .. } = &mut stamped.record {
            *announced = true;
        }
    }
    let folded = Mission::fold(mission.mission.envelope().clone(), &mission.records).expect("an older journal");
    assert_eq!((folded.sequence(), mission.mission.sequence()), (3, 2));
    let told = folded.event_of(mission.records.last().expect("a record")).expect("an event");
    assert_eq!(told.summary, "Goes on, after the node was restarted.");
}

#[test]
fn a_call_whose_tool_was_taken_away_is_uncertain_where_it_may_have_had_an_effect() {
    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["*"]}}));
    let (read, write) = (the("Read"), the("Write"));
    let reads = mission.call(&read, 0).expect("granted");
    let writes = mission.call(&write, 0).expect("granted");
    mission.crash();
    let told = |call, tool: &ToolInfo, away| mission.mission.told_of_lost(call, &tool.name, away);
    assert!(matches!(told(reads, &read, None), CallError::Denied(_)));
    assert!(matches!(told(writes, &write, None), CallError::Uncertain(_)));
    // Of one whose server is out nobody knows whether it is gone.
    assert_eq!(told(reads, &read, Some("it is out")), CallError::Failed("it is out".to_owned()));
    assert!(matches!(told(writes, &write, Some("it is out")), CallError::Uncertain(_)));
}

/// *After a crash*: an effect class that the operator gives a tool cancels its being repeated, also for a call that was made before.
#[test]
fn a_call_whose_tool_got_a_class_since_is_asked_about() {
    for (now, asked) in
        [(tool("Read", &[], true, false), false), (tool("Read", &["outbound_email"], false, false), true)]
    {
        let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["*"]}}));
        mission.call(&the("Read"), 0).expect("granted");
        mission.mission = Mission::fold(mission.mission.envelope().clone(), &mission.records).expect("its own records");
        mission.take(start(&[now])).expect("it goes on");
        let kinds: Vec<_> = mission.mission.open_requests().iter().map(|open| open.kind).collect();
        assert_eq!(kinds, if asked { vec![RequestKind::Uncertain] } else { vec![] });
    }
}

#[test]
fn what_was_queued_goes_on() {
    let mut mission = Tested::queued(json!({}));
    assert_eq!(mission.crash(), [Record::Started { run: RunNo(1), alone: false, announced: true }, granted(&[])]);
}

#[test]
fn every_run_is_handed_what_the_first_was_and_calls_are_held_against_what_the_node_has_now() {
    let mut mission = Tested::queued(json!({
        "constraints": {"allowed_tools": ["Re*", "Write"], "approval_required": ["workspace_write"]},
    }));
    let read = the("Read");
    let handed = vec![read.name.clone(), the("Write").name];
    let first = mission.start().expect("it starts");
    assert_eq!(first[1], granted(&handed));
    // The operator takes one tool away, gives the other a class, and adds a third that the mission would be granted.
    let now = [tool("Read", &["workspace_write"], true, false), tool("Rename", &[], true, false)];
    mission.mission = Mission::fold(mission.mission.envelope().clone(), &mission.records).expect("its own records");
    assert_eq!(mission.take(start(&now)), Ok(vec![Record::Started { run: RunNo(2), alone: false, announced: false }]));
    assert_eq!(mission.mission.granted(), Some(handed.as_slice()));
    mission.held(&now[0], 0, RequestKind::Approval);
    let (name, digest) = (the("Write").name, Digest::of(b"{}"));
    let (run, tool, arguments) = (mission.run(), Handle::Gone(&name), "{}".to_owned());
    let gone = mission.take(Command::Call { run, tool, arguments, digest, quote: Spend::NOTHING });
    let Ok([Record::CallRefused { error: CallError::Denied(why), .. }]) = gone.as_deref() else { panic!("{gone:?}") };
    assert!(why.contains("no longer has the tool `Write`"), "{why}");
    // Of one whose server is out nobody knows whether it is gone.
    let away = Handle::Away { tool: &name, why: "the tool provider `x` is failed" };
    let away =
        mission.take(Command::Call { run, tool: away, arguments: "{}".to_owned(), digest, quote: Spend::NOTHING });
    let Ok([Record::CallRefused { error: CallError::Failed(why), .. }]) = away.as_deref() else { panic!("{away:?}") };
    assert!(why.contains("`Write` cannot be called: the tool provider `x`"), "{why}");
}

/// What the record of a mission answers when the plugin asks what `Read` is.
fn described(records: &[Stamped]) -> Option<Recorded> {
    Replay::new(records).next(Asked::Describe { tool: &the("Read").name }).expect("no divergence")
}

#[test]
fn a_tool_is_described_as_it_was() {
    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["*"]}}));
    assert_eq!(described(&mission.records), None);
    let answer = serde_json::to_string(&the("Read")).expect("JSON");
    mission.take(support::answer(RunNo(1), HostQuestion::Describe, &answer)).expect("taken");
    assert_eq!(described(&mission.records), Some(Recorded::Described(the("Read"))));
    let other = Replay::new(&mission.records).next(Asked::Describe { tool: &the("Write").name });
    assert!(matches!(other, Err(Crash::Diverged { .. })), "{other:?}");

    // Records before version 3 do not say it: whoever asks is told what is so now.
    let mut older = Tested::running(json!({}));
    older.records.retain(|stamped| !matches!(stamped.record, Record::Granted { .. }));
    older.mission = Mission::fold(older.mission.envelope().clone(), &older.records).expect("legal without it");
    older.take(Command::Milestone { run: RunNo(1), text: "one".into() }).expect("taken");
    assert_eq!(older.crash(), [Record::Started { run: RunNo(2), alone: false, announced: false }, granted(&[])]);
    assert_eq!(described(&older.records), Some(Recorded::Noted));
}

#[test]
fn a_call_without_a_result_is_repeated_if_it_is_read_only_or_idempotent() {
    for name in ["Read", "Write"] {
        let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["*"]}}));
        let call = mission.call(&the(name), 3).expect("granted");
        assert_eq!(
            mission.crash(),
            [Record::Started { run: RunNo(2), alone: false, announced: false }, Record::CallAgain { call }],
            "{name}: nobody is asked"
        );
        assert!(mission.mission.is_being_made(call), "{name}: to be made again under its number");
        mission.done(call, &[], 1);
        assert_eq!(mission.says_done().status, Status::Completed, "{name}");
    }
}

#[test]
fn a_call_without_a_result_is_otherwise_uncertain() {
    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["*"]}}));
    let read = mission.call(&the("Read"), 0).expect("granted");
    let edit = mission.call(&the("Edit"), 0).expect("granted");
    let mail = mission.call(&the("mcp__mail__send"), 0).expect("granted");
    let records = mission.crash();
    let asked: Vec<(RequestNo, CallNo)> = records[1..]
        .iter()
        .map(|record| match record {
            Record::Requested { request, call, kind: RequestKind::Uncertain, .. } => (*request, *call),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(asked, [(RequestNo(1), edit), (RequestNo(2), mail)]);
    assert_eq!(mission.mission.status(), Status::Blocked);
    assert!(mission.mission.is_being_made(read) && mission.mission.is_held(edit) && mission.mission.is_held(mail));
    let event = mission.events.last().expect("an event");
    assert_eq!(event.event_type.as_str(), "mission.blocked");
    let request = &event.detail["request"];
    assert_eq!((&request["kind"], &request["tool"]), (&json!("uncertain"), &json!("mcp__mail__send")));
    assert_eq!(request["decisions"], json!(["repeat", "record", "deny"]));
    assert_eq!(
        mission.crash(),
        [Record::Started { run: RunNo(3), alone: false, announced: false }],
        "asked once, however often the node stops"
    );
}

/// A mission whose one call of `Edit`, which may cost 6 of 10, was in flight at a crash.
fn uncertain() -> (Tested, CallNo, RequestNo) {
    let mut mission = Tested::running(json!({
        "constraints": {"allowed_tools": ["*"]},
        "budget": {"max_cost_usd": 0.000_010},
    }));
    let call = mission.call(&the("Edit"), 6).expect("granted");
    mission.crash();
    (mission, call, RequestNo(1))
}

#[test]
fn an_uncertain_call_is_repeated_recorded_or_denied() {
    let (mut mission, call, request) = uncertain();
    let recorded = mission.decided(request, Decision::Record { result: "{\"ok\":true}".into() });
    assert_eq!(recorded, Record::CallFinished { call, outcome: answer("{\"ok\":true}"), spent: Spend::NOTHING });
    assert_eq!(mission.mission.status(), Status::Running);

    let (mut mission, call, request) = uncertain();
    let Record::CallFinished { call: finished, outcome: Err(CallError::Uncertain(why)), .. } =
        mission.decided(request, Decision::Deny)
    else {
        panic!("the plugin is told that nobody knows");
    };
    assert_eq!(finished, call);
    assert!(why.contains("Edit") && why.contains("ada") && why.contains("noted"), "{why}");

    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["*"]}}));
    let call = mission.call(&the("Edit"), 6).expect("granted");
    mission.crash();
    assert!(!mission.mission.is_being_made(call));
    assert_eq!(mission.decided(RequestNo(1), Decision::Repeat), Record::CallResumed { call });
    assert!(mission.mission.is_being_made(call));
    mission.done(call, &[], 6);
    let usage = mission.says_done().usage;
    assert_eq!(usage.estimated_cost_usd, 0.000_012, "it may have been paid twice, and the books say so");
}

#[test]
fn a_call_that_is_repeated_costs_again_and_the_budget_is_asked() {
    let (mut mission, call, request) = uncertain();
    let Record::Requested { request: budget, call: of, kind: RequestKind::Budget, .. } =
        mission.decided(request, Decision::Repeat)
    else {
        panic!("6 of 10 are spent, 6 more are wanted");
    };
    assert_eq!((of, mission.mission.status()), (call, Status::Blocked));
    let grant = |cost| Decision::Grant { llm_calls: 0, cost: MicroUsd(cost) };
    assert!(matches!(mission.decide(budget, grant(1)), Err(Refusal::NotEnough { .. })));
    assert_eq!(mission.decided(budget, grant(2)), Record::CallResumed { call });
}

#[test]
fn a_call_that_waited_for_a_decision_waits_on() {
    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]}}));
    let (call, request) = mission.held(&the("Edit"), 0, RequestKind::Approval);
    assert_eq!(
        mission.crash(),
        [Record::Started { run: RunNo(2), alone: false, announced: false }],
        "nothing of it had happened: nothing is uncertain"
    );
    assert_eq!(mission.mission.status(), Status::Blocked);
    assert_eq!(mission.decided(request, Decision::Approve { reach: Reach::Call }), Record::CallResumed { call });
    // Approved and made, and only now it may have happened.
    assert!(matches!(
        mission.crash().as_slice(),
        [Record::Started { .. }, Record::Requested { kind: RequestKind::Uncertain, .. }]
    ));
}

#[test]
fn a_decision_outlives_the_crash() {
    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["*"], "approval_required": ["*"]}}));
    let (call, request) = mission.held(&the("Read"), 0, RequestKind::Approval);
    let approve = Decision::Approve { reach: Reach::Tool };
    mission.decided(request, approve.clone());
    mission.crash();
    assert!(mission.mission.is_being_made(call));
    assert_eq!(mission.decide(request, approve), Ok(vec![]));
    assert!(matches!(mission.decide(request, Decision::Deny), Err(Refusal::AlreadyDecided { .. })));
    mission.call(&the("Read"), 0).expect("approved for the tool");
}

#[test]
fn what_a_stopped_run_still_returns_is_refused() {
    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["*"]}}));
    let call = mission.call(&the("Read"), 0).expect("granted");
    mission.crash();
    let (run, read) = (RunNo(1), the("Read"));
    let artifact = artifact("late.md");
    let late = [
        Command::PluginEnded { run, ending: failed("late", None, None), uncollected: Vec::new() },
        Command::CallDone { run, call, outcome: answer("1"), spent: Some(Spend::NOTHING) },
        Command::Ask { run, question: "late?".into() },
        Command::Suspend { run, records: mission.mission.records(), until: Some(moment(1)) },
        Command::Milestone { run, text: "late".into() },
        Command::Call {
            run,
            tool: (&read).into(),
            arguments: "{}".into(),
            digest: artifact.sha256,
            quote: Spend::NOTHING,
        },
        put(run, artifact),
    ];
    for command in late {
        let described = format!("{command:?}");
        let fenced = Refusal::Fenced { asked: RunNo(1), current: RunNo(2) };
        assert_eq!(mission.take(command), Err(fenced), "{described}");
    }
}

#[test]
fn a_mission_that_stops_its_node_again_and_again_is_given_up() {
    let mut mission = Tested::running(json!({}));
    for crash in 1..=CRASHES_MAX {
        assert_eq!(mission.crash(), [Record::Started { run: RunNo(crash + 1), alone: false, announced: false }]);
    }
    assert!(matches!(mission.crash().as_slice(), [Record::Finished { .. }]));
    assert_eq!(mission.end(), ("mission.failed", Status::Failed, "interrupted"));
}

#[test]
fn a_mission_that_goes_on_between_crashes_is_not_given_up() {
    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["Read"]}}));
    for _ in 0..3 {
        for _ in 0..CRASHES_MAX {
            mission.crash();
        }
        let call = mission.call(&the("Read"), 0).expect("granted");
        mission.done(call, &[], 0);
    }
    assert_eq!(mission.mission.status(), Status::Running);
}

/// The start of a run with no other plugin in memory.
fn start_alone(mission: &mut Tested) -> Vec<Record> {
    mission.take(Command::Start(Conditions { alone: true, ..conditions(&tools()) })).expect("its turn")
}

#[test]
fn one_that_stops_its_node_while_nothing_else_runs_is_given_up_soon() {
    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["Read"]}}));
    assert!(mission.mission.suspicion().is_none(), "anybody may have stopped the node once");
    for _ in 1..SUSPECTED_AFTER {
        mission.crash();
    }
    assert!(mission.mission.suspicion().is_some());
    for _ in 0..CRASHES_ALONE_MAX {
        assert!(matches!(start_alone(&mut mission).as_slice(), [Record::Started { alone: true, .. }]));
        assert!(mission.mission.is_alone());
    }
    let end = start_alone(&mut mission);
    let [Record::Finished { summary, .. }] = end.as_slice() else { panic!("{end:?}") };
    assert!(
        summary.starts_with("The node stopped 5 times in a row at the same place of this mission, 3 of them"),
        "{summary}"
    );
    assert_eq!(mission.end(), ("mission.failed", Status::Failed, "interrupted"));
}

#[test]
fn what_shows_that_it_may_not_have_been_the_mission_is_believed() {
    type Deed = fn(&mut Tested);
    let coming_forward: Deed = |mission| {
        mission.call(&the("Read"), 0).expect("granted");
    };
    let company: Deed = |mission| assert_eq!(mission.take(Command::Accompany), Ok(vec![Record::Accompanied]));
    let a_stop: Deed = |mission| assert_eq!(mission.take(Command::StopNode), Ok(vec![Record::NodeStopped]));
    for (deed, leaves_a_suspect) in [(coming_forward, false), (company, true), (a_stop, true)] {
        let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["Read"]}}));
        mission.crash();
        for _ in 0..CRASHES_ALONE_MAX + 2 {
            start_alone(&mut mission);
            deed(&mut mission);
            assert!(!mission.mission.is_alone());
            assert_eq!(mission.mission.suspicion().is_some(), leaves_a_suspect);
        }
        assert_eq!(mission.mission.status(), Status::Running);
    }
}

#[test]
fn who_comes_through_and_breaks_off_again_is_tried_longer() {
    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["Read"]}}));
    mission.crash();
    let mut tried = Vec::new();
    for _ in 0..8 {
        start_alone(&mut mission);
        tried.push(mission.mission.probation().as_secs());
        mission.take(Command::Accompany).expect("it is alone");
    }
    assert_eq!(tried, [5, 10, 20, 40, 80, 160, 160, 160]);
    assert_eq!(mission.mission.suspicion(), Some(8));
    mission.call(&the("Read"), 0).expect("granted");
    assert_eq!((mission.mission.suspicion(), mission.mission.outlived()), (None, 0));
}

#[test]
fn one_that_runs_beside_others_is_not_told_so_twice() {
    let mut mission = Tested::running(json!({}));
    assert_eq!(mission.take(Command::Accompany), Ok(Vec::new()), "it was never alone");
    start_alone(&mut mission);
    assert_eq!(mission.take(Command::Accompany), Ok(vec![Record::Accompanied]));
    assert_eq!(mission.take(Command::Accompany), Ok(Vec::new()));
}

#[test]
fn a_node_that_stops_in_good_order_is_no_crash() {
    let mut mission = Tested::running(json!({}));
    for run in 1..=CRASHES_MAX + 10 {
        assert_eq!(mission.take(Command::StopNode), Ok(vec![Record::NodeStopped]));
        assert_eq!(mission.take(Command::StopNode), Ok(Vec::new()));
        assert_eq!(mission.crash(), [Record::Started { run: RunNo(run + 1), alone: false, announced: false }]);
    }
    assert!(mission.mission.suspicion().is_none());
}

#[test]
fn going_out_of_memory_is_no_crash() {
    let mut mission = Tested::running(json!({}));
    for run in 1..=CRASHES_MAX + 10 {
        mission.suspend(Some(moment(0))).expect("it only waits");
        assert_eq!(mission.start(), Ok(vec![Record::Started { run: RunNo(run + 1), alone: false, announced: false }]));
    }
    assert_eq!(mission.mission.status(), Status::Running);
    assert_eq!(mission.event_types(), ["mission.accepted", "mission.progress"], "and nobody is told of it");
}
