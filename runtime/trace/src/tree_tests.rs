//! Records in, spans out: which there are, below which, and that the same come whatever broke off in between.

use sortie_contract::envelope::EffectiveBudget;
use sortie_contract::outcome::Reason;
use sortie_contract::plugin::PluginIdentity;
use sortie_contract::request::{Decision, Reach};
use sortie_contract::tool::Repeat;
use sortie_contract::{LaneId, SessionId};

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// All traces are kept, and there is one model.
pub(crate) fn all() -> Told {
    share(1.0)
}

fn share(share: f64) -> Told {
    Told { sampling: Sampling::of(share), models: Arc::new(["brain".to_owned()].into()) }
}

/// The tree of a mission with a run in memory.
pub(crate) fn running() -> Tree {
    Tree { run: Some(Run { no: RunNo(1), begun_at: Timestamp::UNIX_EPOCH }), ..Tree::new(all()) }
}

fn accepted(trace_id: &str) -> Record {
    forked(trace_id, None)
}

/// The acceptance of a mission, or of a fork with so many records of another mission.
fn forked(trace_id: &str, records: Option<u32>) -> Record {
    let from = |records: u32| {
        serde_json::json!({
            "mission_id": "another", "root": "another", "at": 9, "calls": 9, "records": records, "diverged_at": null,
            "asked": Digest::of(b"").to_string(),
        })
    };
    let mut envelope = serde_json::json!({
        "mission_id": "m", "vp_id": "vp", "source_instance_id": "hq", "target_instance_id": "factory-1",
        "mission_type": "automation", "objective": "A secret objective.", "inputs": {"steps": []},
        "idempotency_key": "k", "trace_id": trace_id, "created_at": "2026-11-22T00:00:00Z",
    });
    if let Some(records) = records {
        envelope["forked_from"] = from(records);
    }
    Record::Accepted(Box::new(Accepted {
        envelope: envelope.to_string(),
        session: SessionId::new("s").expect("a name"),
        lane: LaneId::new("default").expect("a name"),
        plugin: PluginIdentity { name: "automation".to_owned(), version: "1.0.0".to_owned(), digest: Digest::of(b"") },
        budget: EffectiveBudget { runtime_ms_max: 1, llm_calls_max: None, cost_max: None },
        unknown_approvals: Vec::new(),
        warnings: Vec::new(),
    }))
}

fn started(run: u32) -> Record {
    Record::Started { run: RunNo(run), alone: false, announced: run == 1 }
}

fn called(call: u32, tool: &str, arguments: &str) -> Record {
    Record::CallStarted {
        call: CallNo(call),
        tool: ToolName::new(tool),
        arguments: arguments.to_owned(),
        digest: Digest::of(arguments.as_bytes()),
        repeat: Repeat::ReadOnly,
        reserved: Spend::NOTHING,
    }
}

fn done(call: u32, result: &str) -> Record {
    let answer = ToolAnswer { result: result.to_owned(), wrote: Vec::new() };
    Record::CallFinished { call: CallNo(call), outcome: Ok(answer), spent: Spend::NOTHING }
}

fn failed(call: u32) -> Record {
    let outcome = Err(CallError::Failed("a secret reason".to_owned()));
    Record::CallFinished { call: CallNo(call), outcome, spent: Spend::NOTHING }
}

fn finished(status: Status, reason: Reason) -> Record {
    Record::Finished { status, reason, summary: "a secret summary".to_owned(), next_action: String::new() }
}

/// Each a second behind the one before.
fn stamped(records: Vec<Record>) -> Vec<Stamped> {
    let at = |second: i64| Timestamp::from_second(1_000_000 + second).expect("a time");
    (0..).zip(records).map(|(second, record)| Stamped { at: at(second), ran_ms: 0, record }).collect()
}

fn fold(records: &[Stamped]) -> Vec<Span> {
    let (mut tree, mut spans) = (Tree::new(all()), Vec::new());
    records.iter().for_each(|record| tree.take(record, &mut spans));
    spans
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

fn seconds(span: &Span) -> i64 {
    span.ended_at.as_second() - span.begun_at.as_second()
}

/// A mission with a call of each kind, one that broke off with its node, and one that waited for people.
pub(crate) fn records(trace_id: &str) -> Vec<Stamped> {
    let approval = Record::Requested {
        request: RequestNo(1),
        call: CallNo(3),
        kind: RequestKind::Approval,
        question: "a secret question".to_owned(),
        expires_at: Timestamp::MAX,
    };
    let held = match called(3, "Write", r#"{"content":"a secret argument"}"#) {
        Record::CallStarted { call, tool, arguments, digest, repeat, reserved } => {
            Record::CallHeld { call, tool, arguments, digest, repeat, reserved }
        }
        other => other,
    };
    let approve = Record::Decided {
        request: RequestNo(1),
        decision: Decision::Approve { reach: Reach::Call },
        by: "a secret person".to_owned(),
        note: "a secret note".to_owned(),
    };
    stamped(vec![
        accepted(trace_id),
        started(1),
        called(1, "model", r#"{"request":{"model":"brain","messages":["a secret prompt"]},"tools":[]}"#),
        done(1, r#"{"content":["a secret answer"],"model":"brain","usage":{"input_tokens":10,"output_tokens":2}}"#),
        called(2, "Read", r#"{"path":"a secret path"}"#),
        // The node is killed here.
        started(2),
        failed(2),
        held,
        approval,
        Record::Suspended { until: None },
        approve,
        Record::CallResumed { call: CallNo(3) },
        started(3),
        done(3, "\"a secret result\""),
        finished(Status::Completed, Reason::Done),
    ])
}

#[test]
fn a_mission_is_a_tree_of_runs_and_calls() {
    let spans = fold(&records(TRACE));
    assert!(spans.iter().all(|span| span.trace_id == TRACE), "{spans:#?}");
    let root = spans.last().expect("its own span comes last");
    assert_eq!((root.name.as_str(), root.parent, root.kind), ("mission automation", None, Kind::Consumer));
    assert_eq!((root.id, seconds(root), root.failed), (mission_span("m"), 14, false));
    let runs: Vec<_> = spans.iter().filter(|span| span.name == "run").collect();
    let shown = |run: &&Span| (run.id, run.parent, seconds(run), run.failed);
    let runs: Vec<_> = runs.iter().map(shown).collect();
    assert_eq!(
        runs,
        [
            // Until the last that it recorded.
            (run_span("m", 1), Some(root.id), 3, true),
            (run_span("m", 2), Some(root.id), 4, false),
            (run_span("m", 3), Some(root.id), 2, false),
        ]
    );
    let model = named(&spans, "chat brain");
    assert_eq!((model.id, model.parent, seconds(model)), (call_span("m/1"), Some(run_span("m", 1)), 1));
    for (key, value) in [("gen_ai.usage.input_tokens", 10_u64), ("gen_ai.usage.output_tokens", 2)] {
        assert!(model.attributes.contains(&(key, value.into())), "{model:#?}");
    }
    // It was begun by the run that broke off, and is one span however many runs it took.
    let read = named(&spans, "execute_tool Read");
    assert_eq!((read.id, read.parent, seconds(read), read.failed), (call_span("m/2"), Some(run_span("m", 1)), 2, true));
    assert!(read.attributes.contains(&("error.type", "failed".into())), "{read:#?}");
    let write = named(&spans, "execute_tool Write");
    assert_eq!((write.parent, seconds(write), write.failed), (Some(run_span("m", 2)), 6, false));
    assert_eq!(write.events.iter().map(|(_, what)| *what).collect::<Vec<_>>(), ["resumed"]);
    let request = named(&spans, "request approval");
    assert_eq!((request.parent, seconds(request)), (Some(write.id), 2));
    assert!(request.attributes.contains(&("sortie.request.decision", "approve".into())), "{request:#?}");
    let ids: BTreeSet<u64> = spans.iter().map(|span| span.id).collect();
    assert_eq!(ids.len(), spans.len(), "each has an id of its own");
}

#[test]
fn nothing_that_missions_say_leaves_with_a_span() {
    let spans = fold(&records(TRACE));
    let shown = format!("{spans:?}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_name_that_a_plugin_makes_up_does_not_leave_with_a_span() {
    let refused = Record::CallRefused {
        call: CallNo(2),
        tool: ToolName::new("a secret tool"),
        digest: Digest::of(b""),
        error: CallError::Denied("there is none".to_owned()),
    };
    let spans = fold(&stamped(vec![
        accepted(TRACE),
        started(1),
        called(1, "model", &serde_json::json!({"model": "a secret file".repeat(1_000)}).to_string()),
        failed(1),
        refused,
        called(3, "model", r#"{"model":"brain"}"#),
        done(
            3,
            &serde_json::json!({"model": "m".repeat(9_999), "usage": {"input_tokens": 1, "output_tokens": 1}})
                .to_string(),
        ),
        finished(Status::Completed, Reason::Done),
    ]));
    let shown = format!("{spans:?}");
    assert!(!shown.contains("secret"), "{shown}");
    assert!(shown.len() < 5_000, "{}", shown.len());
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["chat other", "execute_tool other", "chat brain", "run", "mission automation"]);
}

#[test]
fn a_fork_tells_what_it_does_itself() {
    let made = records(TRACE);
    // Up to and with the call that people approved; but for its result, which the fork gets itself.
    let taken: Vec<Record> = [2, 3, 4, 6, 7, 8, 10, 11].map(|no: usize| made[no].record.clone()).into_iter().collect();
    let count = u32::try_from(taken.len()).expect("a few");
    let mut all = vec![forked(TRACE, Some(count))];
    all.extend(taken);
    all.extend([
        started(1),
        Record::CallAgain { call: CallNo(3) },
        done(3, "1"),
        called(4, "Read", "{}"),
        done(4, "1"),
    ]);
    all.push(finished(Status::Completed, Reason::Done));
    let mut all = stamped(all);
    // What is of the other mission is as old as it was there.
    let then = Timestamp::from_second(7).expect("a time");
    all[1..=count as usize].iter_mut().for_each(|stamped| stamped.at = then);
    let spans = fold(&all);
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["execute_tool Write", "execute_tool Read", "run", "mission automation"]);
    let (write, root) = (&spans[0], &spans[3]);
    assert_eq!((write.begun_at, write.parent), (all[0].at, Some(root.id)), "{write:#?}");
    assert_eq!(write.events.iter().map(|(_, what)| *what).collect::<Vec<_>>(), ["made_again"]);
    assert!(spans.iter().all(|span| span.begun_at >= root.begun_at), "{spans:#?}");
}

#[test]
fn wherever_it_is_cut_the_same_spans_come_once() {
    let records = records(TRACE);
    let whole = fold(&records);
    for cut in 0..records.len() {
        // Another process goes over what was told, and tells the rest.
        let (mut tree, mut told, mut rest) = (Tree::new(all()), Vec::new(), Vec::new());
        records[..cut].iter().for_each(|record| tree.take(record, &mut told));
        assert_eq!(tree.next() as usize, cut);
        records[cut..].iter().for_each(|record| tree.take(record, &mut rest));
        told.extend(rest);
        assert_eq!(told, whole, "cut at {cut}");
    }
}

#[test]
fn a_mission_that_ends_takes_along_what_is_open() {
    let spans = fold(&stamped(vec![
        accepted(TRACE),
        started(1),
        called(1, "Read", "{}"),
        finished(Status::TimedOut, Reason::WindowClosed),
    ]));
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["execute_tool Read", "run", "mission automation"]);
    assert!(spans[0].attributes.contains(&("error.type", "cancelled".into())));
    assert!(spans[2].failed && spans[2].attributes.contains(&("error.type", "window_closed".into())), "{spans:#?}");
}

#[test]
fn whose_trace_is_not_kept_has_no_spans_and_whose_id_is_none_gets_one() {
    let parent = "00f067aa0ba902b7";
    for (trace_id, expected) in [
        (TRACE.to_owned(), Some((TRACE, None))),
        (format!("00-{TRACE}-{parent}-01"), Some((TRACE, Some(0x00f0_67aa_0ba9_02b7)))),
        // Somebody has decided before this node.
        (format!("00-{TRACE}-{parent}-00"), None),
    ] {
        let spans = fold(&records(&trace_id));
        let root = spans.last().map(|root| (root.trace_id.as_str(), root.parent));
        assert_eq!(root, expected, "{trace_id}");
    }
    let (some, others) = (fold(&records("nightly wiki")), fold(&records("another")));
    let of = |spans: &[Span]| spans.last().expect("spans").trace_id.clone();
    assert!(of(&some).len() == 32 && of(&some) != of(&others));
    assert_eq!(of(&some), of(&fold(&records("nightly wiki"))), "missions of one name are one trace");
}

#[test]
fn sampling_keeps_about_its_share_and_always_the_same() {
    let trace = |n: u32| Digest::of(&n.to_le_bytes()).to_string()[..32].to_owned();
    for (share, least, most) in [(0.0, 0, 0), (0.25, 200, 300), (1.0, 1_000, 1_000)] {
        let sampling = Sampling::of(share);
        let kept = (0..1_000).filter(|n| sampling.keeps(&trace(*n))).count();
        assert!((least..=most).contains(&kept), "{kept} of {share}");
    }
    let mut tree = Tree::new(share(0.0));
    let mut spans = Vec::new();
    records(TRACE).iter().for_each(|record| tree.take(record, &mut spans));
    assert!(spans.is_empty() && tree.is_over());
}
