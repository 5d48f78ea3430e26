//! What lists show of a mission is as of the last record that changes it, and bounded.

use serde_json::json;
use sortie_contract::limit;
use sortie_contract::overview::{Overview, REQUESTS_MAX, TEXT_BYTES_MAX};
use sortie_contract::request::{Decision, Reach, RequestKind};
use sortie_contract::{Reason, Status};
use sortie_mission::{Command, Mission, changes_overview};

use crate::support::{ANSWER_SECONDS, Tested, the};

/// What a head that was written with the last record that changes it shows as the state itself does: all but what goes on in
/// between.
fn settled(mission: &Mission) -> Overview {
    Overview { sequence: 0, ran_ms: 0, ..mission.overview() }
}

/// Whoever writes heads with those records only shows the truth at every moment.
fn check(tested: &Tested) {
    let (first, rest) = tested.records.split_first().expect("it was accepted");
    let mut mission = Mission::begin(tested.mission.envelope().clone(), first).expect("a beginning");
    for stamped in rest {
        let (before, moves_money) = (settled(&mission), !mission.bookings(&stamped.record).is_empty());
        mission.apply(stamped).expect("they follow each other");
        if !changes_overview(&stamped.record) && !moves_money {
            assert_eq!(settled(&mission), before, "{:?} changes what lists show", stamped.record);
        }
    }
    assert_eq!(mission.overview(), tested.mission.overview(), "it is a fold of the records");
}

#[test]
fn a_head_that_is_written_with_what_changes_it_is_true_in_between() {
    let guarded = json!({"constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]}});
    let mut approved = Tested::running(guarded.clone());
    let (call, request) = approved.held(&the("Edit"), 7, RequestKind::Approval);
    approved.decided(request, Decision::Approve { reach: Reach::Call });
    approved.done(call, &["report.md"], 7);
    approved.store("report.md");
    approved.pass(400).take(Command::Tick).expect("a sign of life");
    let run = approved.run();
    approved.take(Command::Milestone { run, text: "Half way.".into() }).expect("taken");
    check(&approved);
    approved.says_done();
    let mut expired = Tested::running(guarded.clone());
    expired.asks("Which one?");
    expired.pass(ANSWER_SECONDS / 2).take(Command::Tick).expect("a reminder");
    expired.pass(ANSWER_SECONDS);
    let mut crashed = Tested::running(guarded.clone());
    let (_, request) = crashed.held(&the("Edit"), 1, RequestKind::Approval);
    crashed.decided(request, Decision::Approve { reach: Reach::Call });
    crashed.crash();
    let mut poor =
        Tested::running(json!({"constraints": {"allowed_tools": ["*"]}, "budget": {"max_cost_usd": 0.000_010}}));
    let (_, request) = poor.held(&the("WebFetch"), 11, RequestKind::Budget);
    poor.decided(request, Decision::Grant { llm_calls: 0, cost: sortie_contract::MicroUsd(5) });
    for tested in [&approved, &expired, &crashed, &poor] {
        check(tested);
    }
    assert_eq!(approved.mission.overview().reason, Some(Reason::Done));
    assert_eq!((approved.mission.status(), expired.mission.status()), (Status::Completed, Status::TimedOut));
}

#[test]
fn an_overview_is_bounded_and_counts_what_it_leaves_out() {
    let mut tested = Tested::running(json!({"objective": "o".repeat(limit::NOTE_BYTES_MAX)}));
    for number in 0..=REQUESTS_MAX {
        tested.asks(&format!("{number}{}", "?".repeat(1_000)));
    }
    let overview = tested.mission.overview();
    assert_eq!((overview.requests as usize, overview.first_requests.len()), (REQUESTS_MAX + 1, REQUESTS_MAX));
    let questions = overview.first_requests.iter().map(|line| &line.question);
    for text in questions.chain([&overview.objective, &overview.summary]) {
        assert!(text.len() <= TEXT_BYTES_MAX && text.ends_with('…'), "{text}");
    }
    assert_eq!(overview.first_requests[0].tool, None);
}
