//! *Dispatch*: what is taken, and what its fields mean.

use serde_json::json;
use sortie_contract::Status;
use sortie_contract::id::RunNo;
use sortie_contract::money::Spend;
use sortie_contract::outcome::Verdict;
use sortie_contract::plugin::LogLevel;
use sortie_contract::record::Record;
use sortie_contract::tool::CallError;
use sortie_mission::{Command, Denial, Due, Refusal, effective_budget};

use crate::support::{Tested, at, intake, mistakes, moment, the};

/// Exactly one mistake.
fn one(code: &str, pointer: &str) -> Vec<(String, String)> {
    vec![(code.to_owned(), pointer.to_owned())]
}

#[test]
fn target_instance_id_another_nodes_mission_is_never_run() {
    assert!(intake(json!({"target_instance_id": "factory-1"})).is_ok());
    assert!(intake(json!({"target_instance_id": "*"})).is_ok());
    for target in ["factory-2", "Factory-1", "factory-*"] {
        assert!(matches!(intake(json!({"target_instance_id": target})), Err(Denial::WrongInstance { .. })), "{target}");
    }
}

#[test]
fn vp_runtime_id_omitted_is_the_default_lane_and_unknown_lists_the_lanes() {
    assert_eq!(intake(json!({})).expect("taken").lane.as_str(), "runtime.general");
    let named = intake(json!({"vp_runtime_id": "runtime.coder.external"})).expect("taken");
    assert_eq!(named.lane.as_str(), "runtime.coder.external");
    let Err(Denial::Mistakes(mistakes)) = intake(json!({"vp_runtime_id": "nowhere"})) else { panic!("a mistake") };
    assert_eq!((mistakes[0].code.as_str(), mistakes[0].pointer.as_str()), ("unknown_lane", "/vp_runtime_id"));
    for lane in ["runtime.general", "runtime.coder.external"] {
        assert!(mistakes[0].detail.contains(lane), "{}", mistakes[0].detail);
    }
}

#[test]
fn allowed_tools_default_deny() {
    for constraints in [json!(null), json!({}), json!({"allowed_tools": []})] {
        let mut mission = Tested::running(json!({"constraints": constraints}));
        assert!(mission.mission.granted().expect("it has started").is_empty());
        assert!(matches!(mission.call(&the("Read"), 0), Err(CallError::Denied(_))));
    }
}

#[test]
fn budget_absent_is_the_ceiling_and_above_it_is_lowered() {
    for (budget, expected) in [
        (json!(null), json!([60.0, 1_000, 50.0])),
        (json!({"max_runtime_minutes": 0, "max_llm_calls": 0, "max_cost_usd": 0}), json!([60.0, 1_000, 50.0])),
        (json!({"max_runtime_minutes": 0.5, "max_llm_calls": 20, "max_cost_usd": 1.5}), json!([0.5, 20, 1.5])),
        (json!({"max_runtime_minutes": 900, "max_llm_calls": 5_000, "max_cost_usd": 60}), json!([60.0, 1_000, 50.0])),
    ] {
        let admission = intake(json!({"budget": budget})).expect("taken");
        let told = effective_budget(&admission.budget);
        assert_eq!(
            json!([told["max_runtime_minutes"], told["max_llm_calls"], told["max_cost_usd"]]),
            expected,
            "{budget}"
        );
    }
}

#[test]
fn autonomy_window_already_closed_at_intake() {
    let window = |start: i64, end: i64| json!({"autonomy_window": {"start_at": at(start), "end_at": at(end)}});
    assert_eq!(mistakes(window(-20, -10)), one("window_closed", "/autonomy_window/end_at"));
    assert_eq!(mistakes(window(-20, 0)), one("window_closed", "/autonomy_window/end_at"), "half-open");
    assert!(intake(window(-20, 1)).is_ok());
}

#[test]
fn autonomy_window_before_it_opens_the_mission_is_queued() {
    let mut mission = Tested::queued(json!({"autonomy_window": {"start_at": at(10)}}));
    assert_eq!(mission.start(), Err(Refusal::NotYet { start_at: moment(10) }));
    mission.pass(9);
    assert!(mission.start().is_err());
    mission.pass(1).start().expect("open, to the instant");
    assert_eq!(mission.mission.status(), Status::Running);
}

#[test]
fn autonomy_window_when_it_closes_the_mission_is_timed_out() {
    let fields = || json!({"autonomy_window": {"end_at": at(10)}});
    let mut queued = Tested::queued(fields());
    assert_eq!(queued.mission.next_due(queued.now), Due { wall: Some(moment(10)), ..Due::default() });
    assert_eq!(queued.pass(9).take(Command::Tick), Ok(vec![]));
    queued.pass(1).take(Command::Tick).expect("its end");
    assert_eq!(queued.end(), ("mission.timed_out", Status::TimedOut, "window_closed"));

    let mut late = Tested::queued(fields());
    late.pass(10).start().expect("its end instead of a start");
    assert_eq!(late.end().2, "window_closed");

    let mut running = Tested::running(fields());
    running.pass(10).take(Command::Tick).expect("its end");
    assert_eq!(running.end(), ("mission.timed_out", Status::TimedOut, "window_closed"));
}

#[test]
fn autonomy_window_no_tool_call_and_no_result_outside() {
    let fields = json!({"autonomy_window": {"end_at": at(10)}, "constraints": {"allowed_tools": ["*"]}});
    let started = || {
        let mut mission = Tested::running(fields.clone());
        let call = mission.call(&the("Read"), 7).expect("granted");
        mission.pass(10);
        (mission, call)
    };
    let (mut mission, _) = started();
    let read = the("Read");
    let digest = sortie_contract::digest::Digest::of(b"{}");
    let run = mission.run();
    let command = Command::Call { run, tool: (&read).into(), arguments: "{}".into(), digest, quote: Spend::NOTHING };
    assert!(matches!(mission.take(command).as_deref(), Ok([Record::Finished { .. }])), "no timer has to be in time");

    let (mut mission, call) = started();
    mission.done(call, &[], 5);
    assert_eq!(mission.end().2, "window_closed", "the result is booked, and that is all");
    assert_eq!(mission.events.last().expect("an event").usage.estimated_cost_usd, 0.000_005);

    let (mut mission, _) = started();
    mission.says_done();
    assert_eq!(mission.end(), ("mission.timed_out", Status::TimedOut, "window_closed"));
}

#[test]
fn heartbeat_interval_seconds_paces_the_heartbeats() {
    let mut mission = Tested::running(json!({"heartbeat_interval_seconds": 60}));
    let due = mission.mission.next_due(mission.now).ran_ms;
    assert_eq!(due, Some(60_000));
    assert_eq!(mission.pass(59).take(Command::Tick), Ok(vec![]));
    assert_eq!(mission.pass(2).take(Command::Tick), Ok(vec![Record::Heartbeat]));
    assert_eq!(mission.take(Command::Tick), Ok(vec![]), "one each interval");
    assert_eq!(mission.mission.next_due(mission.now).ran_ms, Some(120_000), "lateness does not add up");
}

#[test]
fn report_cadence_milestone_interval_hybrid() {
    for (cadence, expected) in [
        (json!("milestone"), vec!["started", "milestone"]),
        (json!("interval"), vec!["started", "heartbeat", "heartbeat"]),
        (json!("hybrid"), vec!["started", "heartbeat", "milestone", "heartbeat"]),
        (json!(null), vec!["started", "heartbeat", "milestone", "heartbeat"]),
    ] {
        let mut mission = Tested::running(json!({"report_cadence": cadence, "heartbeat_interval_seconds": 60}));
        mission.pass(60).take(Command::Tick).expect("a tick");
        mission.take(Command::Milestone { run: RunNo(1), text: "Half way.".into() }).expect("taken");
        mission.pass(60).take(Command::Tick).expect("a tick");
        let progress = mission.events.iter().filter(|event| event.event_type.as_str() == "mission.progress");
        let (kinds, summaries): (Vec<_>, Vec<_>) =
            progress.map(|event| (event.detail["kind"].as_str().expect("a kind"), event.summary.as_str())).unzip();
        assert_eq!(kinds, expected, "{cadence}");
        assert_eq!(summaries.last(), Some(&"Half way."), "{cadence}: the latest milestone is the summary");
    }
}

#[test]
fn success_criteria_an_unmet_one_makes_the_mission_failed() {
    let fields = json!({"success_criteria": ["Tests pass", "Docs built", "Nobody was woken"]});
    let judge = |criterion, verdict, evidence: &str| Command::Judge {
        run: RunNo(1),
        criterion,
        verdict,
        evidence: evidence.to_owned(),
    };
    let mut mission = Tested::running(fields.clone());
    mission.take(judge(0, Verdict::Unmet, "3 of 90 fail")).expect("taken");
    mission.take(judge(1, Verdict::Met, "docs/index.html")).expect("taken");
    let event = mission.says_done();
    assert_eq!((event.status, &event.detail["reason"]), (Status::Failed, &json!("criterion_unmet")));
    assert_eq!(
        event.detail["criteria"],
        json!([
            {"criterion": "Tests pass", "verdict": "unmet", "evidence": "3 of 90 fail"},
            {"criterion": "Docs built", "verdict": "met", "evidence": "docs/index.html"},
            {"criterion": "Nobody was woken", "verdict": "not_judged", "evidence": ""},
        ])
    );

    let mut mission = Tested::running(fields);
    mission.take(judge(0, Verdict::Unmet, "3 of 90 fail")).expect("taken");
    mission.take(judge(0, Verdict::Met, "mended")).expect("taken");
    assert_eq!(mission.says_done().status, Status::Completed, "the last judgement counts");
    let next = mission.mission.next_action().expect("always there");
    assert!(next.contains("Docs built") && next.contains("Nobody was woken"), "{next}");
}

#[test]
fn success_criteria_a_judgement_of_no_criterion_is_logged() {
    let mut mission = Tested::running(json!({"success_criteria": ["One"]}));
    let command = Command::Judge { run: RunNo(1), criterion: 1, verdict: Verdict::Unmet, evidence: String::new() };
    assert!(matches!(mission.take(command).as_deref(), Ok([Record::Logged { level: LogLevel::Warn, .. }])));
    assert_eq!(mission.says_done().status, Status::Completed);
}

#[test]
fn required_outputs_a_mission_without_one_of_them_is_failed() {
    for (required, stored, expected) in [
        (json!([]), &[][..], "done"),
        (json!(["report.md"]), &[], "output_missing"),
        (json!(["report.md"]), &["other.md"], "output_missing"),
        (json!(["report.md"]), &["report.md"], "done"),
        (json!(["*.md", "data/**/*.csv"]), &["report.md"], "output_missing"),
        (json!(["*.md", "data/**/*.csv"]), &["report.md", "data/a/b.csv"], "done"),
    ] {
        let mut mission = Tested::running(json!({"artifact_policy": {"required_outputs": required}}));
        stored.iter().for_each(|name| mission.store(name));
        assert_eq!(mission.says_done().detail["reason"], expected, "{required} with {stored:?}");
    }
}

#[test]
fn storage_scope_that_is_not_configured_is_refused_at_intake() {
    let scope = |scope: &str| json!({"artifact_policy": {"storage_scope": scope}});
    assert!(intake(scope("factory")).is_ok());
    assert_eq!(mistakes(scope("shared")), one("storage_not_configured", "/artifact_policy/storage_scope"));
}

#[test]
fn several_mistakes_are_reported_together() {
    let found = mistakes(json!({
        "vp_runtime_id": "nowhere",
        "autonomy_window": {"end_at": at(-1)},
        "artifact_policy": {"storage_scope": "shared"},
    }));
    let codes: Vec<&str> = found.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(codes, ["unknown_lane", "window_closed", "storage_not_configured"]);
}
