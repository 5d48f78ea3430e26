//! *After a crash*: what goes on, and what is never done twice.

use serde_json::json;
use sortie_contract::Status;
use sortie_contract::id::RunNo;
use sortie_contract::outcome::Verdict;
use sortie_contract::record::Record;
use sortie_mission::{Command, RUNS_MAX, Refusal};

use crate::failed;
use crate::support::{Tested, the};

#[test]
fn a_running_mission_begins_again_if_none_of_its_calls_had_effects() {
    let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["*"]}, "success_criteria": ["One"]}));
    let call = mission.call(&the("Read"), 5).expect("granted");
    mission.done(call, &[], 2);
    mission.call(&the("WebFetch"), 7).expect("granted, and lost");
    let judged = Command::Judge { run: RunNo(1), criterion: 0, verdict: Verdict::Unmet, evidence: String::new() };
    mission.take(judged).expect("taken");
    assert_eq!(mission.take(Command::Recover), Ok(vec![Record::Interrupted]));
    assert_eq!(mission.mission.status(), Status::Queued);
    mission.take(Command::Start).expect("again");
    assert_eq!(mission.run(), RunNo(2));
    assert_eq!(mission.events.last().expect("an event").detail["run"], 2);
    let event = mission.says_done();
    assert_eq!(event.status, Status::Completed, "what the first run said is forgotten");
    assert_eq!(event.usage.estimated_cost_usd, 0.000_009, "what it did cost, or may have, is not");
}

#[test]
fn a_running_mission_with_effects_is_failed_as_interrupted() {
    for (name, expected) in [("Read", Status::Queued), ("Write", Status::Failed), ("Edit", Status::Failed)] {
        let mut mission = Tested::running(json!({"constraints": {"allowed_tools": ["*"]}}));
        mission.call(&the(name), 0).expect("granted");
        mission.take(Command::Recover).expect("recovered");
        assert_eq!(mission.mission.status(), expected, "{name}");
    }
    let mut mission = Tested::running(json!({}));
    mission.store("report.md");
    mission.take(Command::Recover).expect("recovered");
    assert_eq!(mission.end(), ("mission.failed", Status::Failed, "interrupted"));
}

#[test]
fn what_was_queued_goes_on() {
    let mut mission = Tested::queued(json!({}));
    assert_eq!(mission.take(Command::Recover), Ok(vec![]));
    mission.take(Command::Start).expect("it starts");
}

#[test]
fn what_a_stopped_run_still_returns_is_refused() {
    let mut mission = Tested::running(json!({}));
    mission.take(Command::Recover).expect("recovered");
    mission.take(Command::Start).expect("again");
    let late = Command::PluginEnded { run: RunNo(1), ending: failed("late", None, None) };
    assert_eq!(mission.take(late), Err(Refusal::Fenced { asked: RunNo(1), current: RunNo(2) }));
}

#[test]
fn a_mission_that_stops_its_node_again_and_again_is_given_up() {
    let mut mission = Tested::running(json!({}));
    for _ in 1..RUNS_MAX {
        assert_eq!(mission.take(Command::Recover), Ok(vec![Record::Interrupted]));
        mission.take(Command::Start).expect("again");
    }
    mission.take(Command::Recover).expect("its end");
    assert_eq!(mission.end(), ("mission.failed", Status::Failed, "interrupted"));
}
