//! What lists show of a mission is as of the last record that changes it, and bounded.

use serde_json::json;
use sortie_contract::digest::Digest;
use sortie_contract::limit;
use sortie_contract::overview::{
    REQUEST_TEXT_BYTES_MAX, REQUEST_TEXTS_BYTES_MAX, REQUESTS_MAX, RequestLine, TEXT_BYTES_MAX,
};
use sortie_contract::plugin::LogLevel;
use sortie_contract::request::{Decision, Reach, RequestKind};
use sortie_contract::{Reason, Spend, Status};
use sortie_mission::{Command, Mission, request_view};

use crate::support::{ANSWER_SECONDS, Tested, head_of, the};

/// Whoever writes heads with those records only has the truth in it after each of them.
fn check(tested: &Tested) {
    let (first, rest) = tested.records.split_first().expect("it was accepted");
    let mut mission = Mission::begin(tested.mission.envelope().clone(), first).expect("a beginning");
    // How it stands follows with the other records of the same command.
    let head_of = |mission: &Mission| (head_of(mission).1, head_of(mission).2);
    let mut head = head_of(&mission);
    for stamped in rest {
        let changes_head = mission.changes_head(&stamped.record);
        mission.apply(stamped).expect("they follow each other");
        if changes_head {
            head = head_of(&mission);
        }
        assert_eq!(head, head_of(&mission), "{:?} changes what the head says", stamped.record);
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
fn a_run_that_comes_further_than_those_that_crashed_is_told_by_the_head() {
    let mut tested = Tested::running(json!({"constraints": {"allowed_tools": ["*"]}}));
    tested.crash();
    tested.crash();
    assert_eq!(tested.mission.crashes(), 2);
    let run = tested.run();
    tested.take(Command::Log { run, level: LogLevel::Info, text: "on".into() }).expect("taken");
    assert_eq!(tested.mission.crashes(), 0);
    check(&tested);
}

#[test]
fn an_overview_is_bounded_whatever_is_open() {
    let envelope = json!({
        "objective": "o".repeat(limit::NOTE_BYTES_MAX),
        "callback": {"status_url": format!("https://hq.example/{}", "x".repeat(2_000)), "auth_mode": "bearer"},
        "constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]},
    });
    let mut tested = Tested::running(envelope);
    for number in 1..REQUESTS_MAX {
        tested.asks(&format!("{number}{}", "?".repeat(limit::NOTE_BYTES_MAX)));
    }
    tested.held(&the("Edit"), 0, RequestKind::Approval);
    let overview = tested.mission.overview();
    let pending = overview.pending.expect("this Sortie says so");
    assert_eq!((overview.requests as usize, pending.requests.len()), (REQUESTS_MAX, REQUESTS_MAX), "all that can be");
    let url = pending.status_url.expect("it has a callback");
    assert!(url.starts_with("https://hq.example/xx") && url.len() <= 512 && url.ends_with('…'), "{url}");
    for text in [&overview.objective, &overview.summary] {
        assert!(text.len() <= TEXT_BYTES_MAX && text.ends_with('…'), "{text}");
    }
    let texts = |line: &RequestLine| line.question.len() + line.call.as_ref().map_or(0, |call| call.arguments.len());
    let bytes: usize = pending.requests.iter().map(texts).sum();
    assert!(bytes <= REQUEST_TEXTS_BYTES_MAX, "{bytes}");
    assert!(pending.requests[0].question.len() >= TEXT_BYTES_MAX - 2 && pending.requests[0].call.is_none());
}

#[test]
fn what_is_decided_about_is_told_whole_or_by_length_and_digest() {
    let guarded = json!({"constraints": {"allowed_tools": ["*"], "approval_required": ["Edit"]}});
    for (content, cut) in [(9, false), (REQUEST_TEXT_BYTES_MAX, true)] {
        let mut tested = Tested::running(guarded.clone());
        let arguments = json!({"path": "x".repeat(content)}).to_string();
        let digest = Digest::of(arguments.as_bytes());
        let (run, tool, quote) = (tested.run(), the("Edit"), Spend::NOTHING);
        let call = Command::Call { run, tool: (&tool).into(), arguments: arguments.clone(), digest, quote };
        tested.take(call).expect("it is held");
        let request = tested.mission.open_requests()[0].no;
        let overview = tested.mission.overview();
        let line = &overview.pending.expect("this Sortie says so").requests[0];
        let call = line.call.as_ref().expect("it is a tool's");
        assert_eq!((call.is_cut(), call.bytes), (cut, arguments.len() as u64));
        let listed = request_view(line, overview.spent, overview.reserved, &overview.budget);
        let mut whole = tested.mission.request_view(request).expect("it is open");
        if cut {
            assert_eq!(listed["arguments"], json!(limit::clip(&arguments, REQUEST_TEXT_BYTES_MAX)));
            whole["arguments"] = listed["arguments"].clone();
        }
        assert_eq!(listed, whole, "a list shows what the mission shows");
    }
}
