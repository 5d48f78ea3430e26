//! *Fine print*: what is fixed so that nobody has to guess.

use serde_json::json;
use sortie_contract::id::RunNo;
use sortie_contract::limit;
use sortie_contract::plugin::{self, Crash, LogLevel};
use sortie_contract::record::{HostQuestion, Record};
use sortie_contract::tool::{CallError, ToolAnswer};
use sortie_contract::{Envelope, Spend, Status};
use sortie_mission::{Command, Denial, Ending, Outgoing, Refusal, admit};

use crate::failed;
use crate::support::{Tested, answer, artifact, envelope_text, noon, put, rules, the, tools};

#[test]
fn a_file_that_this_missions_own_calls_wrote_is_collected() {
    let mut mission = Tested::running(json!({
        "constraints": {"allowed_tools": ["*"]},
        "artifact_policy": {"required_outputs": ["*.md", "data.csv"]},
    }));
    let call = mission.call(&the("Write"), 0).expect("granted");
    mission.done(call, &["report.md", "notes.txt", "stored.md"], 0);
    mission.store("stored.md");
    assert_eq!(mission.mission.collectable(), ["report.md"]);
    // One that lay there before does not count, and what nobody asked for is not collected.
    for name in ["data.csv", "notes.txt"] {
        let refused = mission.take(Command::CollectArtifact { artifact: artifact(name) });
        assert!(matches!(refused, Err(Refusal::NotCollectable { .. })), "{name}");
    }
    mission.take(Command::CollectArtifact { artifact: artifact("report.md") }).expect("collected");
    assert!(mission.mission.collectable().is_empty());
    assert_eq!(mission.says_done().detail["reason"], "output_missing", "data.csv is still missing");
}

#[test]
fn what_could_not_be_collected_is_told_with_its_reason() {
    let ended = |required: &str| {
        let mut mission = Tested::running(json!({
            "constraints": {"allowed_tools": ["*"]},
            "artifact_policy": {"required_outputs": [required]},
        }));
        let call = mission.call(&the("Write"), 0).expect("granted");
        mission.done(call, &["report.md", "other.md"], 0);
        mission.take(Command::CollectArtifact { artifact: artifact("other.md") }).ok();
        let said = plugin::Verdict::Done { summary: "Wrote it.".to_owned(), next_action: None };
        let (run, ending) = (mission.run(), Ending::Returned(said));
        let uncollected = vec!["`report.md` was changed by somebody else".to_owned()];
        mission.take(Command::PluginEnded { run, ending, uncollected }).expect("it ran");
        let event = mission.events.pop().expect("a final event");
        (event.detail["reason"].clone(), event.detail["next_action"].as_str().expect("a text").to_owned())
    };
    for (required, reason) in [("report.md", "output_missing"), ("*.md", "done")] {
        let (ended, next_action) = ended(required);
        assert_eq!(ended, reason);
        assert!(next_action.starts_with("Not collected: `report.md` was changed by somebody else. "), "{next_action}");
    }
}

#[test]
fn pushback_without_a_callback_is_refused() {
    // The parser says so already; whoever gets past it hears it from the core.
    let text = envelope_text(json!({"artifact_policy": {"storage_scope": "pushback"}}));
    let mistakes = match Envelope::parse(&text) {
        Err(rejected) => rejected.mistakes,
        Ok(parsed) => match admit(&parsed.envelope, &rules(), &tools(), noon()) {
            Err(Denial::Mistakes(mistakes)) => mistakes,
            other => panic!("expected mistakes, got {other:?}"),
        },
    };
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
}

#[test]
fn pushback_uploads_are_deliveries_before_the_final_event() {
    let mut mission = Tested::running(json!({
        "artifact_policy": {"storage_scope": "pushback"},
        "callback": {"status_url": "https://simone.example/hooks/", "auth_mode": "bearer", "auth_ref": "env://TOKEN"},
    }));
    mission.store("reports/a b.md");
    mission.says_done();
    let kinds: Vec<&str> = mission
        .outgoing
        .iter()
        .map(|item| match item {
            Outgoing::Upload(_) => "upload",
            Outgoing::Event(event) => event.event_type.as_str(),
        })
        .collect();
    assert_eq!(kinds, ["mission.accepted", "mission.progress", "upload", "mission.artifact", "mission.completed"]);
    assert_eq!(mission.mission.outgoing(), 5);
    assert_eq!(
        mission.events.last().expect("an event").detail["artifacts"][0]["where"],
        "https://simone.example/hooks/artifacts/reports/a%20b.md"
    );
}

#[test]
fn reason_codes_and_a_next_action_for_every_end() {
    let crash = |crash| Ending::Crashed(crash);
    for (ending, status, reason, next) in [
        (failed("No.", None, None), Status::Failed, "plugin_failed", "journal"),
        (failed("No.", None, Some("Ask Ada.")), Status::Failed, "plugin_failed", "Ask Ada."),
        (failed("No.", Some("WebFetch"), None), Status::Failed, "tool_failed", "`WebFetch`"),
        (failed("No.", Some("write"), None), Status::Failed, "tool_failed", "allowed_tools"),
        (crash(Crash::Trapped("unreachable".into())), Status::Failed, "plugin_trapped", "automation@1.0.0"),
        (crash(Crash::OutOfMemory { limit_bytes: 1 }), Status::Failed, "out_of_memory", "memory"),
        (crash(Crash::LimitExceeded("fuel".into())), Status::Failed, "limit_exceeded", "smaller"),
        (crash(Crash::Unrunnable("gone".into())), Status::Failed, "plugin_trapped", "Install"),
        (
            Ending::NoWorkspace { place: "/data/workspaces/a".into(), why: "Not a directory".into() },
            Status::Failed,
            "node_failed",
            "operator",
        ),
        (
            crash(Crash::Diverged { recorded: "Read a".into(), attempted: "Read b".into() }),
            Status::Failed,
            "nondeterminism",
            "author",
        ),
    ] {
        let mut mission = Tested::running(json!({}));
        mission.call(&the("Write"), 0).expect_err("not allowed");
        let event = mission.ended(ending);
        assert_eq!((event.status, event.detail["reason"].as_str()), (status, Some(reason)));
        let told = event.detail["next_action"].as_str().expect("a text");
        assert!(told.contains(next), "{reason}: {told}");
        assert!(!event.summary.is_empty());
    }
}

#[test]
fn limits_of_a_mission() {
    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["*"]}}));
    for _ in 0..limit::CALLS_IN_FLIGHT_MAX {
        mission.call(&the("Read"), 0).expect("granted");
    }
    assert!(matches!(mission.call(&the("Read"), 0), Err(CallError::Failed(_))), "one more is failed");
    for name in 0..limit::ARTIFACTS_MAX {
        mission.store(&format!("{name}"));
    }
    let one_more = put(RunNo(1), artifact("more"));
    assert_eq!(mission.take(one_more), Err(Refusal::TooManyArtifacts { max: limit::ARTIFACTS_MAX }));
    mission.store("0");
    for _ in 0..limit::NOTES_MAX {
        mission.take(Command::Log { run: RunNo(1), level: LogLevel::Info, text: "x".into() }).expect("taken");
    }
    let dropped = mission.take(Command::Milestone { run: RunNo(1), text: "x".into() });
    assert_eq!(dropped, Ok(vec![]), "those beyond are not kept");
    while mission.mission.status() == Status::Running {
        let command = answer(RunNo(1), HostQuestion::Now, "0");
        mission.take(command).expect("taken");
    }
    assert_eq!(mission.end(), ("mission.failed", Status::Failed, "limit_exceeded"));
}

#[test]
fn texts_of_a_plugin_are_cut() {
    let mut mission = Tested::running(json!({}));
    let text = "ä".repeat(limit::NOTE_BYTES_MAX);
    mission.take(Command::Milestone { run: RunNo(1), text: text.clone() }).expect("taken");
    assert!(mission.mission.last_summary().len() <= limit::NOTE_BYTES_MAX);
    let event =
        mission.ended(Ending::Returned(plugin::Verdict::Done { summary: text.clone(), next_action: Some(text) }));
    assert!(event.summary.len() <= limit::NOTE_BYTES_MAX);
}

/// The bound is asked before a call is made; so many may be on their way by then that together they would pass it many times.
#[test]
fn results_in_flight_do_not_pass_the_bound_on_recorded_bytes() {
    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["Read"]}}));
    let calls = [0; 4].map(|_| mission.call(&the("Read"), 0).expect("granted"));
    let done = |call| {
        let result = "x".repeat(limit::RECORDED_BYTES_MAX / 5 * 2);
        let outcome = Ok(ToolAnswer { result, wrote: Vec::new() });
        Command::CallDone { run: RunNo(1), call, outcome, spent: Some(Spend::NOTHING) }
    };
    for (index, call) in calls.into_iter().take(3).enumerate() {
        let records = mission.mission.decide(mission.now, done(call)).expect("a result");
        if index < 2 {
            mission.take(done(call)).expect("taken");
            continue;
        }
        let [Record::CallFinished { outcome: Err(CallError::Failed(_)), .. }, Record::Finished { reason, .. }] =
            records.as_slice()
        else {
            panic!("the third does not fit")
        };
        assert_eq!(*reason, sortie_contract::Reason::LimitExceeded);
    }
}
