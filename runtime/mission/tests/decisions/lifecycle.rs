//! *Lifecycle*: statuses, events, budgets, ends.

use serde_json::json;
use sortie_contract::Status;
use sortie_contract::id::RunNo;
use sortie_contract::money::Spend;
use sortie_contract::request::{Decision, RequestNo};
use sortie_contract::tool::ToolAnswer;
use sortie_mission::{Command, Refusal};

use crate::failed;
use crate::support::{Tested, artifact, put, start, the};

#[test]
fn a_final_status_never_changes_whatever_arrives_later() {
    let mut mission = Tested::running(json!({}));
    mission.says_done();
    let (before, read) = (mission.mission.clone(), the("Read"));
    let artifact = artifact("late.md");
    let digest = artifact.sha256;
    let run = RunNo(1);
    let late = [
        start(&[]),
        Command::Tick,
        Command::Halt,
        Command::Ask { run, question: "late?".into() },
        Command::Suspend { run, records: before.records(), until: None },
        Command::Decide {
            request: RequestNo(1),
            decision: Decision::Deny,
            by: "ada".into(),
            note: String::new(),
            changed: None,
        },
        Command::Cancel { reason: "late".into(), by: "simone".into() },
        Command::Milestone { run, text: "late".into() },
        put(run, artifact.clone()),
        Command::CollectArtifact { artifact },
        Command::PluginEnded { run, ending: failed("late", None, None), uncollected: Vec::new() },
        Command::Call { run, tool: (&read).into(), arguments: "{}".into(), digest, quote: Spend::NOTHING },
    ];
    for command in late {
        let described = format!("{command:?}");
        assert_eq!(mission.take(command), Err(Refusal::AlreadyFinal { status: Status::Completed }), "{described}");
    }
    assert_eq!(mission.mission, before);
}

#[test]
fn events_have_sequences_without_gaps_and_keys_of_mission_and_sequence() {
    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["Read"]}}));
    let call = mission.call(&the("Read"), 0).expect("granted");
    mission.done(call, &[], 0);
    mission.store("report.md");
    mission.take(Command::Milestone { run: RunNo(1), text: "Half way.".into() }).expect("taken");
    mission.says_done();
    assert_eq!(
        mission.event_types(),
        ["mission.accepted", "mission.progress", "mission.artifact", "mission.progress", "mission.completed"]
    );
    for (index, event) in mission.events.iter().enumerate() {
        assert_eq!(event.sequence, index as u64 + 1);
        assert_eq!(event.idempotency_key, format!("m-1/{}", event.sequence));
        assert!(event.detail.is_object());
    }
}

#[test]
fn events_carry_the_assignment_of_the_dispatch() {
    let mut mission = Tested::running(json!({"vp_session_id": "s-1", "vp_runtime_id": "runtime.coder.external"}));
    mission.says_done();
    for event in &mission.events {
        let told = (event.vp_id.as_str(), event.vp_session_id.as_str(), event.vp_runtime_id.as_str());
        assert_eq!(told, ("vp.coder.primary", "s-1", "runtime.coder.external"));
        assert_eq!((event.mission_id.as_str(), event.trace_id.as_str()), ("m-1", "trace-1"));
    }
    let accepted = &mission.events[0].detail;
    assert_eq!(accepted["effective_budget"]["max_runtime_minutes"], 60.0);
    assert_eq!(accepted["plugin"]["name"], "automation");
}

#[test]
fn a_mission_that_starts_emits_started_whatever_its_cadence() {
    for cadence in ["milestone", "interval", "hybrid"] {
        let mission = Tested::running(json!({"report_cadence": cadence}));
        assert_eq!(mission.event_types(), ["mission.accepted", "mission.progress"]);
        assert_eq!(mission.events[1].detail["kind"], "started");
        assert_eq!(mission.events[1].status, Status::Running);
    }
}

#[test]
fn the_final_event_has_reason_artifacts_criteria_and_next_action() {
    let mut mission = Tested::running(json!({"success_criteria": ["It is short"]}));
    mission.store("report.md");
    mission.store("a b/ü.md");
    let event = mission.says_done();
    let sha256 = artifact("report.md").sha256.to_string();
    assert_eq!(event.detail["reason"], "done");
    assert_eq!(
        event.detail["artifacts"][0],
        json!({"name": "report.md", "media_type": "text/markdown", "bytes": 3, "sha256": sha256,
               "where": "/v1/missions/m-1/artifacts/report.md"})
    );
    assert_eq!(event.detail["artifacts"][1]["where"], "/v1/missions/m-1/artifacts/a%20b/%C3%BC.md");
    assert_eq!(event.detail["criteria"][0]["verdict"], "not_judged");
    assert!(!event.detail["next_action"].as_str().expect("a text").is_empty());
    assert_eq!(event.artifact_refs, ["m-1/report.md", "m-1/a b/ü.md"]);
}

#[test]
fn an_artifact_stored_again_replaces_the_one_of_that_name() {
    let mut mission = Tested::running(json!({}));
    mission.store("report.md");
    mission.store("report.md");
    assert_eq!(mission.mission.artifacts().len(), 1);
    assert_eq!(mission.event_types().iter().filter(|name| **name == "mission.artifact").count(), 2);
}

#[test]
fn runtime_minutes_count_the_time_that_the_mission_was_running() {
    let mut mission = Tested::queued(json!({}));
    mission.pass(600).start().expect("it starts");
    mission.pass(90);
    assert_eq!(mission.mission.usage(mission.now).runtime_minutes, 1.5);
    assert_eq!(mission.says_done().usage.runtime_minutes, 1.5);
    mission.pass(600);
    assert_eq!(mission.mission.usage(mission.now).runtime_minutes, 1.5, "and no longer");
}

#[test]
fn cancel_is_certain_once_answered() {
    let cancel = || Command::Cancel { reason: "not needed".into(), by: "simone".into() };
    let mut queued = Tested::queued(json!({}));
    queued.take(cancel()).expect("cancelled");
    assert_eq!(queued.end(), ("mission.cancelled", Status::Cancelled, "cancelled_by_request"));
    assert!(queued.events[1].summary.contains("simone") && queued.events[1].summary.contains("not needed"));

    let mut running = Tested::running(json!({"constraints": {"allowed_tools": ["*"]}}));
    let call = running.call(&the("Edit"), 0).expect("granted");
    running.take(cancel()).expect("cancelled");
    let late = Command::CallDone {
        run: RunNo(1),
        call,
        outcome: Ok(ToolAnswer { result: "null".into(), wrote: vec![] }),
        spent: None,
    };
    let dropped = Err(Refusal::AlreadyFinal { status: Status::Cancelled });
    assert_eq!(running.take(late), dropped, "an in-flight result that arrives later is dropped");
    assert_eq!(running.take(cancel()), Ok(vec![]), "cancelling it again is fine");
}

#[test]
fn budget_calls_in_parallel_never_pass_the_limit() {
    let mut mission = Tested::running(json!({
        "constraints": {"allowed_tools": ["*"]},
        "budget": {"max_cost_usd": 0.000_010},
    }));
    let first = mission.call(&the("WebFetch"), 6).expect("6 of 10");
    let waits = mission.unpaid(&the("WebFetch"), 5);
    let second = mission.call(&the("WebFetch"), 4).expect("10 of 10: what waits has nothing set aside");
    let last = mission.unpaid(&the("WebFetch"), 4);
    mission.call(&the("Read"), 0).expect("what costs nothing goes on");
    mission.done(first, &[], 1);
    assert!(mission.mission.is_being_made(waits), "what was reserved in vain is free again");
    assert_eq!((mission.mission.is_held(last), mission.money()), (true, (1, 9)));
    mission.done(second, &[], 4);
    assert_eq!((mission.mission.is_held(last), mission.money()), (true, (5, 5)), "4 + 5 + 5 pass 10");
    mission.done(waits, &[], 5);
    assert_eq!(mission.mission.open_requests().len(), 1, "9 + 4 pass 10 for good: people are asked");
}

#[test]
fn run_time_spent_is_timed_out() {
    let mut mission =
        Tested::running(json!({"budget": {"max_runtime_minutes": 0.5}, "heartbeat_interval_seconds": 60}));
    assert_eq!(mission.mission.next_due(mission.now).ran_ms, Some(30_000));
    assert_eq!(mission.pass(29).take(Command::Tick), Ok(vec![]));
    mission.pass(1).take(Command::Tick).expect("its end");
    assert_eq!(mission.end(), ("mission.timed_out", Status::TimedOut, "run_time_spent"));
}

#[test]
fn halt_cancels_what_waits_and_what_runs() {
    for mut mission in [Tested::queued(json!({})), Tested::running(json!({}))] {
        mission.take(Command::Halt).expect("halted");
        assert_eq!(mission.end(), ("mission.cancelled", Status::Cancelled, "halted"));
    }
}
