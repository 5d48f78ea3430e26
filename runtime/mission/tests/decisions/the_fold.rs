//! The fold: what the records add up to, and which cannot follow each other.

use serde_json::json;
use sortie_contract::digest::Digest;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::money::Spend;
use sortie_contract::record::{ArtifactSource, HostQuestion, Record, Stamped};
use sortie_contract::request::{Decision, Reach, RequestKind, RequestNo};
use sortie_contract::tool::{CallError, Repeat};
use sortie_contract::{MissionId, Status};
use sortie_mission::{Command, Mission};

use crate::support::{ANSWER_SECONDS, Tested, artifact, granted, moment, the};

/// Every pair of status and record that no decision leads to is a typed error and changes nothing.
#[test]
fn an_illegal_pair_is_an_error() {
    let queued = Tested::queued(json!({}));
    let running = Tested::running(json!({}));
    let mut ended = Tested::running(json!({}));
    ended.says_done();
    let guarded = json!({"constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]}});
    let mut blocked = Tested::running(guarded.clone());
    blocked.held(&the("Edit"), 0, RequestKind::Approval);
    blocked.call(&the("Read"), 0).expect("granted");
    let mut reminded = Tested::running(guarded.clone());
    reminded.held(&the("Edit"), 0, RequestKind::Approval);
    reminded.pass(ANSWER_SECONDS / 2).take(Command::Tick).expect("a reminder");
    let mut suspended = Tested::running(guarded.clone());
    suspended.held(&the("Edit"), 0, RequestKind::Approval);
    suspended.suspend(None).expect("it only waits");
    let mut decided_about = Tested::running(guarded);
    let (_, request) = decided_about.held(&the("Edit"), 0, RequestKind::Approval);
    decided_about.decided(request, Decision::Approve { reach: Reach::Call });
    let requested = |request, call| Record::Requested {
        request: RequestNo(request),
        call: CallNo(call),
        kind: RequestKind::Approval,
        question: "?".into(),
        expires_at: moment(60),
    };
    let decided = |request| Record::Decided {
        request: RequestNo(request),
        decision: Decision::Deny,
        by: "ada".into(),
        note: String::new(),
    };
    let call_held = |call| Record::CallHeld {
        call: CallNo(call),
        tool: the("Edit").name,
        arguments: "{}".into(),
        digest: Digest::of(b"{}"),
        repeat: Repeat::Effectful,
        reserved: Spend::NOTHING,
    };
    let call_finished = |call, outcome| Record::CallFinished { call: CallNo(call), outcome, spent: Spend::NOTHING };
    let started = |run| Record::Started { run: RunNo(run), alone: false, announced: false };
    let accepted = queued.records[0].record.clone();
    let finished = |status| Record::Finished {
        status,
        reason: sortie_contract::Reason::Done,
        summary: String::new(),
        next_action: "x".into(),
    };
    let answered = |call| Record::Answered {
        call: CallNo(call),
        question: HostQuestion::Now,
        about: String::new(),
        answer: "0".into(),
    };
    let mission_at = queued.now.wall;
    for (mission, record) in [
        (&queued, accepted.clone()),
        (&queued, started(2)),
        (&queued, Record::Heartbeat),
        (&queued, Record::Interrupted),
        (&queued, Record::Accompanied),
        (&queued, Record::NodeStopped),
        (&queued, Record::OpenUntil { at: mission_at }),
        (&queued, answered(1)),
        (&queued, finished(Status::Running)),
        (&running, accepted.clone()),
        (&running, started(1)),
        (&running, started(3)),
        (&running, answered(2)),
        (&running, requested(1, 1)),
        (&running, Record::Reminded { request: RequestNo(1) }),
        (&running, decided(1)),
        (&running, Record::CallResumed { call: CallNo(1) }),
        (&running, call_held(2)),
        (&running, Record::Asked { call: CallNo(2), question: "?".into() }),
        (&queued, Record::Suspended { until: None }),
        (&queued, granted(&[])),
        (&running, granted(&[])),
        (&blocked, requested(2, 1)),
        (&blocked, requested(3, 2)),
        (&blocked, decided(2)),
        (&blocked, Record::CallResumed { call: CallNo(1) }),
        (&blocked, call_finished(1, Err(CallError::Failed("no".into())))),
        (&blocked, Record::Suspended { until: None }),
        (&blocked, Record::CallAgain { call: CallNo(1) }),
        (&blocked, Record::CallAgain { call: CallNo(3) }),
        (&reminded, Record::Reminded { request: RequestNo(1) }),
        (&decided_about, decided(1)),
        (&decided_about, requested(1, 1)),
        (&decided_about, Record::CallResumed { call: CallNo(1) }),
        (&suspended, Record::Suspended { until: None }),
        (&suspended, call_finished(2, Err(CallError::Cancelled))),
        (&running, finished(Status::Blocked)),
        (
            &running,
            Record::ArtifactStored { call: Some(CallNo(9)), artifact: artifact("a"), source: ArtifactSource::Memory },
        ),
        (&ended, accepted),
        (&ended, started(2)),
        (&ended, Record::Heartbeat),
        (&ended, Record::Accompanied),
        (&ended, Record::NodeStopped),
        (&running, Record::CarriedOver { start_at: None, end_at: None }),
        (&queued, Record::CarriedOver { start_at: None, end_at: None }),
        (&suspended, Record::OpenUntil { at: mission_at }),
        (&ended, Record::OpenUntil { at: mission_at }),
        (&ended, Record::CarriedOver { start_at: None, end_at: None }),
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
