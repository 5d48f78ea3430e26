//! Random commands in random order never break the invariants of the architecture.
//!
//! The mission under test decides; a model that knows nothing but the records and the envelope checks each step. It is
//! naive on purpose: it counts from the beginning every time, and compares names of tools letter by letter.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use sortie_contract::digest::Digest;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::outcome::Verdict;
use sortie_contract::plugin::{self, Crash, LogLevel};
use sortie_contract::record::{ArtifactSource, HostQuestion, Record};
use sortie_contract::request::{Decision, Reach, RequestKind, RequestNo};
use sortie_contract::tool::{CallError, Repeat, ToolAnswer, ToolName};
use sortie_contract::{Stamped, Status, Timestamp};
use sortie_mission::{Command, Ending, Misfit, Mission, Refusal};
use support::{Tested, artifact, at, tools};

/// Something that happens to a mission. Numbers pick among what there is.
#[derive(Debug, Clone)]
enum Act {
    Pass(i64),
    SetBack(i64),
    Start,
    Tick,
    Call { tool: usize, cost: u64, stale: bool },
    Done { pick: usize, cost: Option<u64>, ok: bool, wrote: usize, stale: bool },
    Answer,
    Milestone,
    Log,
    Judge { criterion: u32, verdict: Verdict },
    Store(usize),
    Collect(usize),
    Cancel,
    Halt,
    End(usize, bool),
    Ask,
    Decide { pick: usize, how: usize, again: bool },
    Suspend { stale: bool, until: Option<i64> },
    GiveUp(usize),
}

const NAMES: [&str; 4] = ["report.md", "data.csv", "notes/a.txt", "odd"];
const TOOL_NAMES: [&str; 6] = ["Read", "Write", "Edit", "WebFetch", "mcp__mail__send", "mcp__odd__thing"];

fn act() -> impl Strategy<Value = Act> {
    let verdict = prop_oneof![Just(Verdict::Met), Just(Verdict::Met), Just(Verdict::Unmet), Just(Verdict::NotJudged)];
    let stale = || prop::bool::weighted(0.1);
    prop_oneof![
        6 => (0..4_i64).prop_map(Act::Pass),
        1 => (0..4_i64).prop_map(Act::SetBack),
        5 => Just(Act::Start),
        3 => Just(Act::Tick),
        12 => (0..6_usize, 0..8_u64, stale()).prop_map(|(tool, cost, stale)| Act::Call { tool, cost, stale }),
        8 => (0..4_usize, prop::option::weighted(0.5, 0..6_u64), any::<bool>(), 0..5_usize, stale())
            .prop_map(|(pick, cost, ok, wrote, stale)| Act::Done { pick, cost, ok, wrote, stale }),
        2 => Just(Act::Answer),
        2 => Just(Act::Milestone),
        1 => Just(Act::Log),
        3 => (0..3_u32, verdict).prop_map(|(criterion, verdict)| Act::Judge { criterion, verdict }),
        3 => (0..4_usize).prop_map(Act::Store),
        2 => (0..4_usize).prop_map(Act::Collect),
        1 => prop::bool::weighted(0.3).prop_map(|yes| if yes { Act::Cancel } else { Act::Halt }),
        2 => (0..4_usize, stale()).prop_map(|(how, stale)| Act::End(how, stale)),
        2 => Just(Act::Ask),
        6 => (0..4_usize, 0..8_usize, prop::bool::weighted(0.2))
            .prop_map(|(pick, how, again)| Act::Decide { pick, how, again }),
        1 => (0..4_usize).prop_map(Act::GiveUp),
        3 => (stale(), prop::option::of(0..5_i64)).prop_map(|(stale, until)| Act::Suspend { stale, until }),
    ]
}

fn names(of: &'static [&'static str], chance: f64) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::bool::weighted(chance), of.len())
        .prop_map(|picks| of.iter().zip(picks).filter(|(_, pick)| *pick).map(|(name, _)| *name).collect())
}

fn fields() -> impl Strategy<Value = Value> {
    let constraints = (
        names(&TOOL_NAMES, 0.8),
        names(&TOOL_NAMES, 0.1),
        names(&["Read", "outbound_email", "workspace_write", "misspelt"], 0.1),
    );
    let cadence = prop_oneof![Just("milestone"), Just("interval"), Just("hybrid")];
    let window = (prop::option::weighted(0.3, -5..10_i64), prop::option::weighted(0.3, 10..60_i64));
    let rest = (0..30_u64, prop::option::of(1..30_u32), names(&NAMES, 0.2), 0..3_usize, any::<bool>());
    (constraints, cadence, window, rest).prop_map(|((allowed, forbidden, approval), cadence, (start, end), rest)| {
        let (cost, seconds, outputs, criteria, pushback) = rest;
        json!({
            "constraints": {"allowed_tools": allowed, "forbidden_tools": forbidden, "approval_required": approval},
            "report_cadence": cadence,
            "heartbeat_interval_seconds": 5,
            "autonomy_window": window_of(start, end),
            "budget": {"max_cost_usd": cost as f64 / 1e6, "max_runtime_minutes": f64::from(seconds.unwrap_or(0)) / 60.0},
            "success_criteria": (0..criteria).map(|index| format!("criterion {index}")).collect::<Vec<_>>(),
            "artifact_policy": {"required_outputs": outputs, "storage_scope": if pushback { "pushback" } else { "factory" }},
            "callback": {"status_url": "https://simone.example/hooks", "auth_mode": "bearer", "auth_ref": "env://TOKEN"},
        })
    })
}

fn window_of(start: Option<i64>, end: Option<i64>) -> Value {
    let ends = [("start_at", start), ("end_at", end)];
    ends.into_iter().filter_map(|(key, second)| Some((key.to_owned(), json!(at(second?))))).collect()
}

/// Sends what an act means to the mission.
fn perform(tested: &mut Tested, act: &Act) -> Option<Result<Vec<Record>, Refusal>> {
    let current = tested.mission.run().unwrap_or(RunNo(1));
    let run_of = |stale: bool| if stale { RunNo(current.0 - 1) } else { current };
    let all = tools();
    let command = match act {
        Act::Pass(seconds) => {
            tested.pass(*seconds);
            return None;
        }
        Act::SetBack(seconds) => {
            tested.shift(-seconds);
            return None;
        }
        Act::Start => support::start(&all),
        Act::Tick => Command::Tick,
        Act::Call { tool, cost, stale } => Command::Call {
            run: run_of(*stale),
            tool: (&all[*tool]).into(),
            arguments: "{}".to_owned(),
            digest: Digest::of(b"{}"),
            quote: Spend::money(MicroUsd(*cost)),
        },
        Act::Done { pick, cost, ok, wrote, stale } => {
            let call = in_flight(tested).get(*pick).map_or(CallNo(999), |(call, _)| *call);
            let wrote = NAMES.get(*wrote).map(|name| support::written(name, name, None)).into_iter().collect();
            let answer = ToolAnswer { result: "null".to_owned(), wrote };
            let outcome = if *ok { Ok(answer) } else { Err(CallError::Failed("no".to_owned())) };
            Command::CallDone {
                run: run_of(*stale),
                call,
                outcome,
                spent: cost.map(|cost| Spend::money(MicroUsd(cost))),
            }
        }
        Act::Answer => support::answer(current, HostQuestion::Now, "0"),
        Act::Milestone => Command::Milestone { run: current, text: "so far".to_owned() },
        Act::Log => Command::Log { run: current, level: LogLevel::Info, text: "line".to_owned() },
        Act::Judge { criterion, verdict } => {
            Command::Judge { run: current, criterion: *criterion, verdict: *verdict, evidence: "seen".to_owned() }
        }
        Act::Store(name) => support::put(current, artifact(NAMES[*name])),
        Act::Collect(name) => Command::CollectArtifact { artifact: artifact(NAMES[*name]) },
        Act::Cancel => Command::Cancel { reason: String::new(), by: "simone".to_owned() },
        Act::Halt => Command::Halt,
        Act::End(how, stale) => {
            Command::PluginEnded { run: run_of(*stale), ending: ending(*how), uncollected: Vec::new() }
        }
        Act::Ask => Command::Ask { run: current, question: "which?".to_owned() },
        Act::Decide { pick, how, again } => {
            let open = tested.mission.open_requests();
            let request = match open.get(*pick) {
                Some(request) if !again => request.no,
                _ => RequestNo(u32::try_from(*pick).expect("small") + 1),
            };
            let decision = decision(*how);
            Command::Decide { request, decision, by: "ada".to_owned(), note: String::new(), changed: None }
        }
        Act::GiveUp(pick) => {
            let call = flights(&tested.records).get(*pick).map_or(CallNo(999), |flight| flight.call);
            Command::CallDone { run: current, call, outcome: Err(CallError::Cancelled), spent: Some(Spend::NOTHING) }
        }
        Act::Suspend { stale, until } => Command::Suspend {
            run: run_of(*stale),
            records: tested.mission.records(),
            until: until.map(|seconds| tested.now.wall + jiff::SignedDuration::from_secs(seconds)),
        },
    };
    Some(tested.take(command))
}

fn decision(how: usize) -> Decision {
    match how {
        0 => Decision::Approve { reach: Reach::Tool },
        1 => Decision::Approve { reach: Reach::Mission },
        2 => Decision::Approve { reach: Reach::Call },
        3 => Decision::Deny,
        4 => Decision::Answer { text: "this".to_owned() },
        5 => Decision::Grant { llm_calls: 0, cost: MicroUsd(5) },
        6 => Decision::Repeat,
        _ => Decision::Record { result: "null".to_owned() },
    }
}

fn ending(how: usize) -> Ending {
    let (summary, next_action) = ("said".to_owned(), None);
    match how {
        0 => Ending::Returned(plugin::Verdict::Failed { summary, tool: None, next_action }),
        1 => Ending::Crashed(Crash::Trapped("unreachable".to_owned())),
        _ => Ending::Returned(plugin::Verdict::Done { summary, next_action }),
    }
}

/// A call without a result, counted from the records.
#[derive(Debug, Clone)]
struct Flight {
    call: CallNo,
    tool: Option<ToolName>,
    reserved: u64,
    held: bool,
}

/// Calls without a result.
fn flights(records: &[Stamped]) -> Vec<Flight> {
    let mut flights: Vec<Flight> = Vec::new();
    for stamped in records {
        match &stamped.record {
            Record::CallStarted { call, tool, reserved, .. } => {
                flights.push(Flight { call: *call, tool: Some(tool.clone()), reserved: reserved.cost.0, held: false });
            }
            Record::CallHeld { call, tool, reserved, .. } => {
                flights.push(Flight { call: *call, tool: Some(tool.clone()), reserved: reserved.cost.0, held: true });
            }
            Record::Asked { call, .. } => flights.push(Flight { call: *call, tool: None, reserved: 0, held: true }),
            Record::Requested { call, .. } | Record::PaymentAwaited { call, .. } => {
                flights.iter_mut().find(|flight| flight.call == *call).expect("it is in flight").held = true;
            }
            Record::CallResumed { call } => {
                flights.iter_mut().find(|flight| flight.call == *call).expect("it is in flight").held = false;
            }
            Record::CallFinished { call, .. } => flights.retain(|flight| flight.call != *call),
            Record::Finished { .. } => flights.clear(),
            _ => {}
        }
    }
    flights
}

/// Calls that are being made, and what was set aside for each.
fn in_flight(tested: &Tested) -> Vec<(CallNo, u64)> {
    let made = flights(&tested.records).into_iter().filter(|flight| !flight.held);
    made.map(|flight| (flight.call, flight.reserved)).collect()
}

/// What was spent and is set aside together, counted from the records. What is asked about after a crash counts as spent, and
/// again when it is repeated; so does what is made again without a word.
fn booked(tested: &Tested) -> u64 {
    let mut sum = 0_u64;
    for (index, stamped) in tested.records.iter().enumerate() {
        let reserved_for = |call: &CallNo| {
            let flight = flights(&tested.records[..index]).into_iter().find(|flight| flight.call == *call);
            flight.expect("it is in flight")
        };
        match &stamped.record {
            Record::CallStarted { reserved, .. } => sum += reserved.cost.0,
            Record::CallResumed { call } | Record::CallAgain { call } => sum += reserved_for(call).reserved,
            Record::CallFinished { call, spent, .. } => {
                let flight = reserved_for(call);
                if !flight.held {
                    sum = sum - flight.reserved + spent.cost.0;
                }
            }
            _ => {}
        }
    }
    sum
}

/// Whether a call is held for nothing but its payment.
fn awaits_payment(records: &[Stamped], wanted: CallNo) -> bool {
    let about = records.iter().rev().find_map(|stamped| match &stamped.record {
        Record::PaymentAwaited { call, .. } if *call == wanted => Some(true),
        Record::Requested { call, .. } | Record::CallResumed { call } | Record::CallHeld { call, .. }
            if *call == wanted =>
        {
            Some(false)
        }
        _ => None,
    });
    about.unwrap_or(false)
}

/// By how much each call was dearer than it was quoted.
fn overbilled(records: &[Stamped]) -> impl Iterator<Item = u64> {
    records.iter().enumerate().filter_map(|(index, stamped)| match &stamped.record {
        Record::CallFinished { call, spent, .. } => {
            let flight = flights(&records[..index]).into_iter().find(|flight| flight.call == *call);
            let excess = spent.cost.0.saturating_sub(flight.filter(|flight| !flight.held)?.reserved);
            (excess > 0).then_some(excess)
        }
        _ => None,
    })
}

/// Requests that nobody has decided, counted from the records.
fn open(records: &[Stamped]) -> BTreeSet<RequestNo> {
    let mut open: BTreeMap<RequestNo, CallNo> = BTreeMap::new();
    for stamped in records {
        match &stamped.record {
            Record::Requested { request, call, .. } => drop(open.insert(*request, *call)),
            Record::Decided { request, .. } => drop(open.remove(request)),
            Record::CallFinished { call, .. } => open.retain(|_, waiting| waiting != call),
            Record::Finished { .. } => open.clear(),
            _ => {}
        }
    }
    open.into_keys().collect()
}

/// What is true of every mission at every moment.
fn check(tested: &Tested, fields: &Value) {
    let Tested { mission, records, events, outgoing, .. } = tested;
    // 2. One final event at most, and it is the last; sequences without gaps.
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.sequence, index as u64 + 1);
        assert_eq!(event.status.is_final(), mission.status().is_final() && index + 1 == events.len());
    }
    assert_eq!(mission.sequence(), events.len() as u64);
    assert_eq!(mission.outgoing(), outgoing.len() as u64);
    assert_eq!(mission.records() as usize, records.len());
    // 8. State equals the fold of the journal.
    assert_eq!(Mission::fold(mission.envelope().clone(), records).as_ref(), Ok(mission));
    // 4. No budget is passed, but by a call that was dearer than it was quoted, and people are told by how much.
    let excess: u64 = overbilled(records).sum();
    assert_eq!(booked(tested), mission.spent().cost.0 + mission.reserved().cost.0);
    assert!(mission.reserved().cost.0 == 0 || !mission.status().is_final());
    if let Some(max) = mission.budget().cost_max {
        assert!(booked(tested) <= max.0 + excess, "{} of {}", booked(tested), max.0);
    }
    let told = |event: &&sortie_contract::Event| event.detail["kind"] == "overbilled";
    assert_eq!(events.iter().filter(told).count(), overbilled(records).count());
    assert_eq!(mission.calls_in_flight(), in_flight(tested).len());
    // Blocked is who waits for somebody's answer, and nobody else.
    let asked: BTreeSet<RequestNo> = mission.open_requests().iter().map(|request| request.no).collect();
    assert_eq!(asked, open(records));
    assert_eq!(mission.status() == Status::Blocked, !asked.is_empty());
    check_decisions(tested);
    // 6. No call has two results.
    let finished = records.iter().filter_map(|stamped| match &stamped.record {
        Record::CallFinished { call, .. } => Some(*call),
        _ => None,
    });
    let mut results = BTreeSet::new();
    assert!(finished.into_iter().all(|call| results.insert(call)));
    check_end(tested, fields);
}

/// A decided request never changes: the same decision again is no change, another one is refused.
fn check_decisions(tested: &Tested) {
    let mut decided = BTreeMap::new();
    for stamped in &tested.records {
        if let Record::Decided { request, decision, .. } = &stamped.record {
            assert_eq!(decided.insert(*request, decision), None, "decided twice");
        }
    }
    if tested.mission.status().is_final() {
        return;
    }
    for (request, before) in decided {
        for again in (0..8).map(decision) {
            let same = *before == again;
            let (by, note) = ("bob".to_owned(), String::new());
            let again = Command::Decide { request, decision: again, by, note, changed: None };
            let taken = tested.mission.decide(tested.now, again);
            let refused = Refusal::AlreadyDecided { request, decision: before.as_str(), changed: false };
            assert_eq!(taken, if same { Ok(Vec::new()) } else { Err(refused) });
        }
    }
}

/// "Completed" means that everything is there.
fn check_end(tested: &Tested, fields: &Value) {
    let Some(Record::Finished { status, next_action, .. }) = tested.records.last().map(|last| &last.record) else {
        return assert!(!tested.mission.status().is_final());
    };
    assert!(!next_action.is_empty());
    if *status == Status::Completed {
        let stored =
            |name: &Value| tested.mission.artifacts().iter().any(|artifact| json!(artifact.name.as_str()) == *name);
        assert!(fields["artifact_policy"]["required_outputs"].as_array().expect("a list").iter().all(stored));
        assert!(tested.mission.criteria().all(|criterion| criterion.verdict != Verdict::Unmet));
    }
}

/// Whether somebody approved every call of a tool.
fn approved(records: &[Stamped], tool: &ToolName) -> bool {
    (0..records.len()).any(|index| match &records[index].record {
        Record::Decided { decision: Decision::Approve { reach: Reach::Mission }, .. } => true,
        Record::Decided { request, decision: Decision::Approve { reach: Reach::Tool }, .. } => {
            let call = records[..index].iter().find_map(|stamped| match &stamped.record {
                Record::Requested { request: asked, call, .. } if asked == request => Some(*call),
                _ => None,
            });
            let flights = flights(&records[..index]);
            flights.iter().any(|flight| Some(flight.call) == call && flight.tool.as_ref() == Some(tool))
        }
        _ => false,
    })
}

/// Whether the lists of the envelope allow a tool; without having `asked` anybody, if nobody has to be.
fn allows(constraints: &Value, name: &str, asked: bool) -> bool {
    let has = |list: &str, entry: &str| constraints[list].as_array().expect("a list").contains(&json!(entry));
    let class = match name {
        "Write" | "Edit" => "workspace_write",
        "mcp__mail__send" => "outbound_email",
        _ => "none",
    };
    let misspelt = has("approval_required", "misspelt") && name == "mcp__odd__thing";
    has("allowed_tools", name)
        && !has("forbidden_tools", name)
        && (asked || !has("approval_required", name) && !has("approval_required", class) && !misspelt)
}

/// What is true of each step.
fn check_step(before: &Tested, records: &[Record], fields: &Value) {
    let window = before.mission.envelope().window;
    let outside = |wall: Timestamp| {
        window.start_at.is_some_and(|start| wall < start) || window.end_at.is_some_and(|end| wall >= end)
    };
    let spent = before.now.ran_ms >= before.mission.budget().runtime_ms_max;
    let is_barred = overbilled(&before.records).next().is_some();
    for record in records {
        match record {
            // 3. and 5. Nothing begins outside the window or without a grant.
            Record::Started { .. } => {
                assert!(!outside(before.now.wall) && !spent);
                let made = flights(&before.records).into_iter().filter(|flight| !flight.held);
                let harmful = |flight: &Flight| {
                    let tool = tools().into_iter().find(|tool| Some(&tool.name) == flight.tool.as_ref());
                    tool.is_some_and(|tool| tool.repeat() == Repeat::Effectful)
                };
                // What was approved while it was out of memory has not been made by anybody.
                let last = before.records.iter().rev().find_map(|stamped| match stamped.record {
                    Record::Suspended { .. } => Some(true),
                    Record::Started { .. } => Some(false),
                    _ => None,
                });
                let made = made.filter(|_| last == Some(false));
                let harmful: BTreeSet<CallNo> = made.filter(harmful).map(|flight| flight.call).collect();
                let asked = records.iter().filter_map(|record| match record {
                    Record::Requested { call, kind: RequestKind::Uncertain, .. } => Some(*call),
                    _ => None,
                });
                assert_eq!(asked.collect::<BTreeSet<_>>(), harmful);
            }
            Record::CallStarted { tool, reserved, .. } => {
                assert!(!outside(before.now.wall) && !spent);
                assert!(reserved.is_nothing() || !is_barred, "{tool} costs something");
                let asked = approved(&before.records, tool);
                assert!(allows(&fields["constraints"], tool.as_str(), asked), "{tool} was granted");
            }
            Record::CallHeld { tool, reserved, .. } => {
                assert!(reserved.is_nothing() || !is_barred, "{tool} costs something");
                assert!(allows(&fields["constraints"], tool.as_str(), true), "{tool} could be granted");
            }
            Record::CallAgain { call } => {
                let flight = flights(&before.records).into_iter().find(|flight| flight.call == *call);
                assert!(flight.is_some_and(|flight| !flight.held && flight.reserved > 0) && !is_barred);
                assert!(matches!(records.first(), Some(Record::Started { .. })), "only a run that broke off");
            }
            // 5. A held call is made only by a decision about itself, or where it only waited for its payment; and inside the window.
            Record::CallResumed { call } if awaits_payment(&before.records, *call) => {
                assert!(!outside(before.now.wall) && !spent && !is_barred);
            }
            Record::CallResumed { call } => {
                assert!(!outside(before.now.wall) && !spent);
                let flight = flights(&before.records).into_iter().find(|flight| flight.call == *call);
                assert!(flight.is_some_and(|flight| flight.reserved == 0) || !is_barred);
                // Others may have been settled by that decision, each behind one of its own.
                let at = records.iter().position(|other| other == record).and_then(|at| at.checked_sub(1));
                let Some(Record::Decided { request, decision, .. }) = at.map(|at| &records[at]) else {
                    panic!("{records:?}")
                };
                let asked =
                    before.mission.open_requests().iter().find(|open| open.no == *request).expect("it was open");
                assert_eq!(asked.call, *call);
                let expected = match asked.kind {
                    RequestKind::Approval => "approve",
                    RequestKind::Budget => "grant",
                    RequestKind::Uncertain => "repeat",
                    RequestKind::Input => "never",
                };
                assert_eq!(decision.as_str(), expected);
            }
            // 6. What may have been done with effect is never silently done again.
            Record::Interrupted => panic!("nothing begins from the beginning any more"),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_commands_keep_the_invariants(fields in fields(), acts in prop::collection::vec(act(), 1..80)) {
        let mut tested = Tested::queued(fields.clone());
        check(&tested, &fields);
        for act in &acts {
            let before = Tested {
                mission: tested.mission.clone(),
                records: tested.records.clone(),
                events: Vec::new(),
                outgoing: Vec::new(),
                now: tested.now,
            };
            let final_before = before.mission.status().is_final();
            match perform(&mut tested, act) {
                Some(Ok(records)) => {
                    // 1. The final status never changes.
                    prop_assert!(!final_before || records.is_empty());
                    check_step(&before, &records, &fields);
                }
                Some(Err(_)) => prop_assert_eq!(&tested.mission, &before.mission, "a refusal changes nothing"),
                None => {}
            }
            check(&tested, &fields);
        }
        // Whatever comes, it follows or it changes nothing.
        for stamped in &tested.records {
            let mut again = tested.mission.clone();
            prop_assert!(again.apply(stamped).is_ok() || again == tested.mission, "{stamped:?}");
        }
        // Whatever happened, an end can still be had, and only one.
        let _ = tested.take(Command::Cancel { reason: String::new(), by: "simone".to_owned() });
        prop_assert!(tested.mission.status().is_final());
        check(&tested, &fields);
    }
}

/// Records that no mission of these tests comes to, at any moment: numbers that are not due, calls and requests that never were.
fn strangers() -> Vec<Record> {
    let (call, request) = (CallNo(900), RequestNo(900));
    let spent = Spend::NOTHING;
    vec![
        Record::Started { run: RunNo(900), alone: false, announced: true },
        Record::CallFinished { call, outcome: Err(CallError::Cancelled), spent },
        Record::CallResumed { call },
        Record::CallAgain { call },
        Record::Overbilled { call, tool: tools()[0].name.clone(), quoted: spent, spent },
        Record::Answered { call, question: HostQuestion::Now, about: String::new(), answer: "0".to_owned() },
        Record::Milestone { call, text: "far".to_owned() },
        Record::Logged { call, level: LogLevel::Info, text: "far".to_owned() },
        Record::Judged { call, criterion: 0, verdict: Verdict::Met, evidence: String::new() },
        Record::Asked { call, question: "far".to_owned() },
        Record::ArtifactStored { call: Some(call), artifact: artifact("odd"), source: ArtifactSource::Memory },
        Record::Requested {
            request,
            call,
            kind: RequestKind::Input,
            question: "far".to_owned(),
            expires_at: Timestamp::MAX,
        },
        Record::Reminded { request },
        Record::Decided { request, decision: decision(5), by: "ada".to_owned(), note: String::new() },
    ]
}

proptest! {
    // Each record of a history against each of its prefixes.
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_record_follows_every_prefix_or_is_refused_and_changes_nothing(
        fields in fields(),
        acts in prop::collection::vec(act(), 1..40),
    ) {
        let mut tested = Tested::queued(fields);
        for act in &acts {
            let _ = perform(&mut tested, act);
        }
        let Tested { records, mission: last, now, .. } = &tested;
        let strange = strangers().into_iter().map(|record| Stamped { at: now.wall, ran_ms: now.ran_ms, record });
        let strangers: Vec<Stamped> = strange.collect();
        let mut mission = Mission::begin(last.envelope().clone(), &records[0]).expect("a first record");
        for at in 1..=records.len() {
            for (stamped, is_strange) in records.iter().map(|own| (own, false)).chain(strangers.iter().map(|own| (own, true))) {
                let mut next = mission.clone();
                match next.apply(stamped) {
                    Ok(()) => {
                        prop_assert!(!is_strange, "{stamped:?} follows {at} records");
                        let all: Vec<Stamped> = records[..at].iter().chain([stamped]).cloned().collect();
                        prop_assert_eq!(Mission::fold(last.envelope().clone(), &all), Ok(next));
                    }
                    Err(illegal) => {
                        prop_assert_eq!(&next, &mission, "{:?} was refused, and left something", stamped);
                        prop_assert_eq!(illegal.status, mission.status());
                        prop_assert!(!matches!(illegal.why, Misfit::NotAccepted), "{}", illegal);
                    }
                }
            }
            match records.get(at) {
                Some(next) => prop_assert_eq!(mission.apply(next), Ok(()), "what was decided follows"),
                None => prop_assert_eq!(&mission, last, "the state is the fold"),
            }
        }
    }
}
