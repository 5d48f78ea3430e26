//! Forks: what another mission has on record up to a call is taken over as it was told, costs nothing, tells nobody, and is not done again.

mod support;

use std::sync::Arc;

use serde_json::{Value, json};
use sortie_contract::digest::Digest;
use sortie_contract::envelope::{ChildOf, Envelope, ForkedFrom};
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::plugin::{LogLevel, Verdict};
use sortie_contract::record::{Accepted, HostQuestion, Record, Stamped};
use sortie_contract::request::{Decision, Reach, RequestKind, RequestNo};
use sortie_contract::tool::{CallError, MISSION, ToolAnswer, ToolName};
use sortie_contract::{MicroUsd, Spend, Status};
use sortie_mission::fork::{Begun, Draft, NoDraft, NoFork, Order, Places, Point, taken_over, told_of_limits};
use sortie_mission::replay::{Asked, Recorded, Replay, host_call};
use sortie_mission::{Command, Ending, Handle, Mission};
use support::{Called, Tested, the};

fn fields() -> Value {
    json!({
        "constraints": {"allowed_tools": ["Read", "Edit", "Write"], "approval_required": ["Edit"]},
        "success_criteria": ["One"],
        "budget": {"max_cost_usd": 1.0},
    })
}

/// A mission that has done something of everything, and has ended: 9 calls.
fn whole() -> Tested {
    let mut mission = Tested::running(fields());
    let read = mission.call(&the("Read"), 7).expect("granted");
    mission.pass(5).done(read, &[], 5);
    let run = mission.run();
    mission.take(Command::Milestone { run, text: "Half way.".to_owned() }).expect("noted");
    let (_, request) = mission.held(&the("Edit"), 0, RequestKind::Approval);
    mission.decided(request, Decision::Approve { reach: Reach::Tool });
    mission.done(CallNo(3), &["a.md"], 0);
    let (_, request) = mission.asks("Which one?");
    mission.decided(request, Decision::Answer { text: "B".to_owned() });
    mission.take(support::answer(run, HostQuestion::Now, "17")).expect("noted");
    mission.store("report.md");
    let again = mission.call(&the("Edit"), 0).expect("approved for the tool");
    mission.crash();
    // It may have happened: people say that it did.
    let open = mission.mission.open_requests()[0].no;
    mission.decided(open, Decision::Record { result: "\"seen\"".to_owned() });
    assert_eq!(again, CallNo(7));
    let run = mission.run();
    mission.take(Command::Log { run, level: LogLevel::Info, text: "line".to_owned() }).expect("noted");
    let write = mission.call(&the("Write"), 0).expect("granted");
    mission.done(write, &["b.md"], 0);
    mission.says_done();
    mission
}

/// A fork of it at a call, before its first run.
fn forked(of: &Tested, at: u32) -> Tested {
    let records = taken_over(&of.records, CallNo(at)).expect("it can go on from there");
    let mut envelope = Envelope::clone(of.mission.envelope());
    envelope.forked_from = Some(ForkedFrom {
        mission_id: "m-1".parse().expect("an id"),
        root: "m-1".parse().expect("an id"),
        at,
        calls: at,
        records: u32::try_from(records.len()).expect("a few"),
        diverged_at: None,
        asked: Digest::of(b"asked"),
    });
    let mut fork = Tested::admitted(Arc::new(envelope), &support::rules());
    for stamped in records {
        fork.mission.apply(&stamped).unwrap_or_else(|illegal| panic!("{stamped:?}: {illegal}"));
        fork.events.extend(fork.mission.event_of(&stamped));
        fork.records.push(stamped);
    }
    fork.now = of.now;
    fork.now.ran_ms = 0;
    fork
}

#[test]
fn every_beginning_is_a_mission_that_waits_for_its_turn_and_has_spent_nothing() {
    let of = whole();
    assert_eq!(of.mission.host_calls(), 9);
    for at in 0..=9 {
        let mut fork = forked(&of, at);
        assert_eq!((fork.mission.status(), fork.mission.host_calls()), (Status::Queued, at));
        assert_eq!((fork.mission.spent(), fork.mission.reserved()), (Spend::NOTHING, Spend::NOTHING));
        assert_eq!((fork.mission.ran_ms(), fork.mission.open_requests().len()), (0, 0));
        assert_eq!(fork.event_types(), ["mission.accepted"], "what it was told is told by the other");
        assert_eq!(fork.mission.sequence(), 1);
        // The fold of its own records is the same mission, and its first run begins like any other.
        let folded = Mission::fold(fork.mission.envelope().clone(), &fork.records).expect("its records");
        assert_eq!(folded, fork.mission);
        let started = fork.start().expect("it starts");
        assert!(matches!(started[0], Record::Started { run: RunNo(1), announced: true, .. }), "{started:?}");
        let granted = started.iter().filter(|record| matches!(record, Record::Granted { .. })).count();
        assert_eq!(granted, usize::from(at == 0), "it is handed what the other was");
        assert_eq!(fork.event_types(), ["mission.accepted", "mission.progress"]);
        assert_eq!(fork.mission.sequence(), 2);
    }
}

/// Each call up to the fork is told as it was told, and behind the last of them nothing.
#[test]
fn what_is_taken_over_is_told_the_same_again() {
    let of = whole();
    let all = Replay::new(&of.records);
    for at in 0..=9_u32 {
        let fork = forked(&of, at);
        let (replay, times) = (Replay::new(&fork.records), all.times());
        let numbers: Vec<u32> = replay.times().iter().map(|(call, _)| call.0).collect();
        assert_eq!(numbers, (1..=at).collect::<Vec<_>>());
        for (own, theirs) in replay.times().iter().zip(&times) {
            assert_eq!(own, theirs, "at the time that it was");
        }
        // The outcomes of calls, by number.
        let outcomes = |records: &[Stamped]| {
            let finished = records.iter().filter_map(|stamped| match &stamped.record {
                Record::CallFinished { call, outcome, .. } if call.0 <= at => Some((*call, outcome.clone())),
                _ => None,
            });
            finished.collect::<Vec<_>>()
        };
        assert_eq!(outcomes(&fork.records), outcomes(&of.records));
    }
    let mut replay = Replay::new(&forked(&of, 2).records);
    let (read, edit) = (the("Read").name, the("Edit").name);
    assert!(matches!(replay.next(Asked::Call { tool: &read, arguments: "{}" }), Ok(Some(Recorded::Call { .. }))));
    assert_eq!(replay.next(Asked::Milestone { text: "Half way." }), Ok(Some(Recorded::Noted)));
    assert_eq!(replay.next(Asked::Call { tool: &edit, arguments: "{}" }), Ok(None), "from here on it is for real");
}

/// Who approved all calls of a tool did so for that mission.
#[test]
fn an_approval_holds_for_its_call_and_not_for_those_of_the_fork() {
    let of = whole();
    let mut fork = forked(&of, 6);
    let decided = fork.records.iter().find_map(|stamped| match &stamped.record {
        Record::Decided { request, decision: Decision::Approve { reach }, by, .. } => {
            Some((*request, *reach, by.clone()))
        }
        _ => None,
    });
    assert_eq!(decided, Some((RequestNo(1), Reach::Call, "ada".to_owned())), "who decided is told");
    fork.start().expect("it starts");
    let asked = fork.calls(&the("Edit"), 0);
    assert!(matches!(asked, Called::Held(CallNo(7), RequestNo(3), RequestKind::Approval)), "{asked:?}");
}

/// What a plugin was told of the time and the budget of the other is told again: people are to know from which call on.
#[test]
fn what_was_told_of_limits_is_found() {
    use HostQuestion::{Closing, Deadline, Left, Now};
    let near = Record::Closing { limit: sortie_contract::record::Closing::RunTime };
    for (asked, came_near, expected) in [
        (&[(Now, "17"), (Deadline, "null")][..], true, None),
        (&[(Now, "17"), (Deadline, "99"), (Left, "{}")], false, Some(CallNo(2))),
        (&[(Left, "{}")], false, Some(CallNo(1))),
        (&[(Closing, "null"), (Now, "17")], false, None),
        (&[(Now, "17"), (Closing, "null")], true, Some(CallNo(2))),
    ] {
        let answered = (1..).zip(asked).map(|(no, (question, answer))| Record::Answered {
            call: CallNo(no),
            question: *question,
            about: String::new(),
            answer: (*answer).to_owned(),
        });
        let records = answered.chain(came_near.then(|| near.clone()));
        let at = sortie_contract::Timestamp::UNIX_EPOCH;
        let records: Vec<Stamped> = records.map(|record| Stamped { at, ran_ms: 0, record }).collect();
        assert_eq!(told_of_limits(&records), expected, "{asked:?}");
    }
}

#[test]
fn a_call_that_was_being_made_is_asked_about_and_one_that_waits_is_none_to_go_on_from() {
    let mut of = Tested::running(fields());
    let edit = the("Write");
    let made = of.call(&edit, 0).expect("granted");
    let read = of.call(&the("Read"), 0).expect("granted");
    of.done(read, &[], 0);
    let (held, _) = of.held(&the("Edit"), 0, RequestKind::Approval);
    of.take(Command::Cancel { reason: String::new(), by: "ada".to_owned() }).expect("cancelled");
    assert_eq!((made, read, held), (CallNo(1), CallNo(2), CallNo(3)));
    // `Write` is idempotent: it is made again, and nobody is asked.
    let mut fork = forked(&of, 2);
    let started = fork.start().expect("it starts");
    assert!(!started.iter().any(|record| matches!(record, Record::Requested { .. })), "{started:?}");
    assert_eq!(taken_over(&of.records, CallNo(3)), Err(NoFork::Waits { call: CallNo(3) }));
    assert_eq!(taken_over(&of.records, CallNo(4)), Err(NoFork::NoCall { at: 4, calls: 3 }));

    let mut of = Tested::running(json!({"constraints": {"allowed_tools": ["Edit", "Read"]}}));
    of.call(&the("Edit"), 0).expect("granted");
    let read = of.call(&the("Read"), 0).expect("granted");
    of.done(read, &[], 0);
    of.take(Command::Cancel { reason: String::new(), by: "ada".to_owned() }).expect("cancelled");
    let mut fork = forked(&of, 2);
    let started = fork.start().expect("it starts");
    let asks =
        |record: &Record| matches!(record, Record::Requested { kind: RequestKind::Uncertain, call, .. } if call.0 == 1);
    assert!(started.iter().any(asks), "whether it happened nobody knows: {started:?}");

    // One that costs something, and of which nobody knows what it did cost.
    let mut of = Tested::running(fields());
    of.call(&the("Read"), 7).expect("granted");
    of.take(Command::Cancel { reason: String::new(), by: "ada".to_owned() }).expect("cancelled");
    assert_eq!(taken_over(&of.records, CallNo(1)), Err(NoFork::Waits { call: CallNo(1) }));
}

/// From where one goes on that names no call: before the first call that the mission failed of, or behind the last that has what it needs.
#[test]
fn a_place_is_found_in_the_record() {
    let places = |of: &Tested| {
        let mut places = Places::default();
        of.records.iter().for_each(|stamped| places.hear(stamped));
        (places.calls(), places.last(), places.before_failure())
    };
    let ends = |of: &mut Tested| {
        let said = Verdict::Failed { summary: "It cannot be done.".to_owned(), tool: None, next_action: None };
        of.ended(Ending::Returned(said));
    };
    let failed = || Err(CallError::Failed("no such file".to_owned()));
    // Calls 1, 3 and 4 ended badly, and at call 2 it had come to something.
    let mut of = Tested::running(fields());
    let run = of.run();
    let read = |of: &mut Tested| of.call(&the("Read"), 0).expect("granted");
    let first = read(&mut of);
    of.ends(first, failed());
    assert_eq!(places(&of), (1, 1, Some(0)));
    of.take(Command::Milestone { run, text: "Half way.".to_owned() }).expect("noted");
    assert_eq!(places(&of), (2, 2, None), "it went on all the same");
    for _ in 0..2 {
        let call = read(&mut of);
        of.ends(call, failed());
    }
    let good = read(&mut of);
    of.done(good, &[], 0);
    assert_eq!(places(&of), (5, 5, Some(2)));
    // One that waits for people is none to go on behind.
    of.held(&the("Edit"), 0, RequestKind::Approval);
    read(&mut of);
    assert_eq!(places(&of), (7, 5, Some(2)));
    ends(&mut of);
    assert_eq!(places(&of), (7, 5, Some(2)));
    let mut heard = Places::default();
    of.records.iter().for_each(|stamped| heard.hear(stamped));
    for (point, at) in [(Point::Failure, 2), (Point::Last, 5), (Point::Call(1), 1), (Point::Call(99), 99)] {
        assert_eq!(heard.at(point), at, "{point}");
    }
    for at in [2, 5] {
        taken_over(&of.records, CallNo(at)).expect("what is found can be gone on from");
    }
    // A mission that is done failed of nothing, and one of which nothing failed goes on behind its last call.
    let whole = whole();
    let (calls, last, failure) = places(&whole);
    assert_eq!((calls, last, failure), (9, 9, None));
}

/// The envelope of a fork is its mission's, but for what it must have of its own and for what would tell others of it.
#[test]
fn an_envelope_of_a_fork_is_that_of_its_mission_but_for_what_is_its_own() {
    let sent = json!({
        "mission_id": "m-1", "vp_id": "vp.a", "vp_session_id": "day", "plugin": "automation@1.0.0", "idempotency_key": "k",
        "source_instance_id": "simone", "target_instance_id": "factory-1", "objective": "Do it.",
        "inputs": {"n": 1.10}, "budget": {"max_cost_usd": 1.0},
        "callback": {"status_url": "https://simone.example"}, "autonomy_window": {"end_at": "2026-01-01T00:00:00Z"},
        "artifact_policy": {"storage_scope": "pushback", "x": 1},
    });
    let Record::Accepted(accepted) = &whole().records[0].record.clone() else { panic!("an acceptance") };
    let accepted = Accepted { envelope: sent.to_string(), ..Accepted::clone(accepted) };
    let order = |inputs: Option<&str>, plugin: Option<&str>| Order {
        of: "m-1".parse().expect("an id"),
        at: Point::Call(3),
        inputs: inputs.map(str::to_owned),
        plugin: plugin.map(|plugin| plugin.parse().expect("a plugin")),
        copies: false,
        key: "again".to_owned(),
    };
    let node = "factory-1".parse().expect("an id");
    let draft = |order: Order| Draft::new(&accepted, order, &node);
    let read = |order| -> Value {
        let text = draft(order).expect("an envelope").text(None);
        serde_json::from_str(&text).expect("JSON")
    };
    let (fork, id) = (read(order(None, None)), order(None, None).mission_id());
    assert!(id.as_str().starts_with("m-1.fork-"), "{id}");
    for key in ["callback", "autonomy_window", "forked_from"] {
        assert_eq!(fork.get(key), None, "{key} is left out");
    }
    for key in ["vp_id", "objective", "inputs", "budget"] {
        assert_eq!(fork[key], sent[key], "{key} is the mission's");
    }
    assert_eq!(fork["mission_id"], id.as_str());
    assert_eq!(fork["vp_session_id"], format!("fork:{id}"));
    assert_eq!((&fork["source_instance_id"], &fork["target_instance_id"]), (&json!("factory-1"), &json!("*")));
    assert_eq!(fork["artifact_policy"], json!({"storage_scope": "factory", "x": 1}), "nobody is there to push to");
    assert!(fork["plugin"].as_str().is_some_and(|plugin| plugin.contains('@')), "on the version that it ran on");
    let other = read(order(Some("{\"n\":2.50}"), Some("other@2.0.0")));
    assert_eq!((&other["plugin"], &other["inputs"]), (&json!("other@2.0.0"), &json!({"n": 2.50})));
    let text = draft(order(Some("{\"n\":2.50}"), None)).expect("an envelope").text(None);
    assert!(text.contains("2.50"), "as it was written: {text}");
    assert!(
        matches!(draft(order(Some("{"), None)), Err(NoDraft::Wrong(mistake)) if mistake.pointer.as_str() == "/inputs")
    );
    let unreadable = Accepted { envelope: "{".to_owned(), ..accepted.clone() };
    assert_eq!(Draft::new(&unreadable, order(None, None), &node).err(), Some(NoDraft::NoEnvelope));
    // What people are told, and what a second order is compared by.
    let drafted = draft(order(None, None)).expect("an envelope");
    let from = drafted.from(3, 2, &[]);
    assert_eq!((from.at, from.calls, from.diverged_at, from.root.as_str()), (3, 2, Some(3), "m-1"));
    let session = "day".parse().expect("a session");
    let notes = drafted.notes(&from, "it ends there", Begun { session: &session, copied: None }, &[]).join("\n");
    for part in
        ["and not to where those of m-1 went", "leaves the record at call 3: it ends there", "its own and empty"]
    {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    let digests = [Point::Call(3), Point::Call(4), Point::Failure, Point::Last]
        .map(|at| Order { at, ..order(None, None) }.digest());
    let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len());
}

#[test]
fn a_mission_takes_no_record_but_those_that_a_fork_may_have_before_it_begins() {
    let of = whole();
    let mut fork = forked(&of, 3);
    let at = fork.records.last().expect("some").at;
    let stray = Stamped { at, ran_ms: 0, record: Record::CallResumed { call: CallNo(3) } };
    assert!(fork.mission.apply(&stray).is_err(), "behind them it has not begun");
    let mut envelope = Envelope::clone(fork.mission.envelope());
    envelope.forked_from.as_mut().expect("a fork").records = 9;
    let Record::Accepted(accepted) = &fork.records[0].record else { panic!("an acceptance") };
    let accepted: Accepted = Accepted::clone(accepted);
    let first = Stamped { at, ran_ms: 0, record: Record::Accepted(Box::new(accepted)) };
    let mut other = Mission::begin(Arc::new(envelope), &first).expect("a first record");
    let beat = Stamped { at, ran_ms: 0, record: Record::Heartbeat };
    assert!(other.apply(&beat).is_err(), "a heartbeat is nothing to take over");
    assert!(of.records.iter().any(|stamped| host_call(&stamped.record) == Some(CallNo(9))));
}

/// What a mission was told of its children a fork is told, too; for one that goes on, it waits in vain, and does not dispatch it again.
#[test]
fn children_are_results_on_record_and_are_never_dispatched_again() {
    let mut of = Tested::running(json!({ "budget": { "max_cost_usd": 1.0 } }));
    let order = r#"{"objective":"Count."}"#;
    for quote in [Spend::money(MicroUsd(1_000)), Spend::NOTHING] {
        let (run, digest) = (of.run(), Digest::of(order.as_bytes()));
        let tool = Handle::Mission { refused: None };
        of.take(Command::Call { run, tool, arguments: order.to_owned(), digest, quote }).expect("granted");
    }
    let outcome = Ok(ToolAnswer { result: "{}".to_owned(), wrote: Vec::new() });
    of.take(Command::ChildDone { call: CallNo(1), outcome: outcome.clone(), spent: None }).expect("it waits");
    let mut fork = forked(&of, 2);
    assert_eq!((fork.mission.spent(), fork.mission.reserved()), (Spend::NOTHING, Spend::NOTHING));
    fork.start().expect("it starts");
    assert!(!fork.mission.waits_for_children() && fork.mission.open_requests().is_empty());
    let mut replay = Replay::new(&fork.records);
    let name = ToolName::new(MISSION);
    let mut next = || match replay.next(Asked::Call { tool: &name, arguments: order }) {
        Ok(Some(Recorded::Call { outcome, .. })) => outcome,
        other => panic!("no call: {other:?}"),
    };
    assert_eq!(next(), Some(outcome));
    let second = next();
    assert!(matches!(&second, Some(Err(CallError::Uncertain(why))) if why.contains("m-1.child-2")), "{second:?}");
}

#[test]
fn a_mission_reads_what_its_own_children_left_and_a_fork_what_was_there_before_it() {
    let child = |parent: &str, root: &str| ChildOf {
        mission_id: parent.parse().expect("an id"),
        root: root.parse().expect("an id"),
        call: 3,
        depth: 1,
        tools: Vec::new(),
        llm_calls: 0,
        micro_usd: 0,
        missions: 0,
    };
    let whole = whole();
    let mut envelope = Envelope::clone(forked(&whole, 9).mission.envelope());
    envelope.mission_id = "fork".parse().expect("an id");
    let fork = Tested::admitted(Arc::new(envelope), &support::rules());
    for (parent, root, is_older, reads, fork_reads) in [
        ("m-1", "m-1", true, true, true),
        // Of the mission itself, dispatched since; or of another one of its name.
        ("m-1", "m-1", false, true, false),
        ("fork", "m-1", false, false, true),
        // Of another fork.
        ("other", "m-1", true, false, true),
        ("other", "m-1", false, false, false),
        ("other", "other", true, false, false),
    ] {
        let of = child(parent, root);
        assert_eq!(whole.mission.may_read_of(&of, is_older), reads, "{parent} {root} {is_older}");
        assert_eq!(fork.mission.may_read_of(&of, is_older), fork_reads, "{parent} {root} {is_older}");
    }
}
