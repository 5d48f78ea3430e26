//! The fold: what the records add up to, and which cannot follow each other.

use serde_json::json;
use sortie_contract::id::RunNo;
use sortie_contract::record::{HostQuestion, Record, Stamped};
use sortie_contract::tool::CallError;
use sortie_contract::{MissionId, Status};
use sortie_mission::Mission;

use crate::support::{Tested, artifact, the};

/// Every pair of status and record that no decision leads to is a typed error and changes nothing.
#[test]
fn an_illegal_pair_is_an_error() {
    let queued = Tested::queued(json!({}));
    let running = Tested::running(json!({}));
    let mut ended = Tested::running(json!({}));
    ended.says_done();
    let started = |run| Record::Started { run: RunNo(run) };
    let accepted = queued.records[0].record.clone();
    let finished = |status| Record::Finished {
        status,
        reason: sortie_contract::Reason::Done,
        summary: String::new(),
        next_action: "x".into(),
    };
    let answered = |call| Record::Answered {
        call: sortie_contract::id::CallNo(call),
        question: HostQuestion::Now,
        answer: "0".into(),
    };
    for (mission, record) in [
        (&queued, accepted.clone()),
        (&queued, started(2)),
        (&queued, Record::Heartbeat),
        (&queued, Record::Interrupted),
        (&queued, answered(1)),
        (&queued, finished(Status::Running)),
        (&running, accepted.clone()),
        (&running, started(2)),
        (&running, answered(2)),
        (&running, finished(Status::Blocked)),
        (&running, Record::ArtifactStored { call: Some(sortie_contract::id::CallNo(9)), artifact: artifact("a") }),
        (&ended, accepted),
        (&ended, started(2)),
        (&ended, Record::Heartbeat),
        (&ended, finished(Status::Failed)),
    ] {
        let mut state = mission.mission.clone();
        let stamped = Stamped { at: mission.now.wall, ran_ms: 0, record };
        let illegal = state.apply(&stamped).expect_err("illegal");
        assert_eq!(illegal.status, mission.mission.status(), "{stamped:?}");
        assert_eq!(state, mission.mission, "{stamped:?}");
    }
}

#[test]
fn a_journal_begins_with_accepted() {
    let mission = Tested::running(json!({}));
    let envelope = mission.mission.envelope().clone();
    assert!(Mission::fold(envelope.clone(), &[]).is_err());
    assert!(Mission::fold(envelope.clone(), &mission.records[1..]).is_err());
    assert_eq!(Mission::fold(envelope, &mission.records), Ok(mission.mission));
}

#[test]
fn a_call_that_turns_out_dearer_is_booked_as_it_was_and_stops_the_spending() {
    let mut mission = Tested::running(json!({
        "constraints": {"allowed_tools": ["*"]},
        "budget": {"max_cost_usd": 0.000_010},
    }));
    let call = mission.call(&the("WebFetch"), 5).expect("granted");
    mission.done(call, &[], 30);
    assert!(matches!(mission.call(&the("WebFetch"), 1), Err(CallError::BudgetExhausted(_))));
    assert_eq!(mission.mission.usage(mission.now).estimated_cost_usd, 0.000_030);
}

#[test]
fn ids_are_those_of_the_envelope() {
    let mission = Tested::queued(json!({}));
    assert_eq!(mission.mission.envelope().mission_id, MissionId::new("m-1").expect("an id"));
    assert_eq!(mission.mission.session().as_str(), "vp.coder.primary.session");
}
