//! What a mission in memory hands to its log: heads that are what its records add up to, and nothing that the log has no room for.

use std::sync::Arc;

use jiff::SignedDuration;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::EffectiveBudget;
use sortie_contract::id::{CallNo, LaneId, RunNo, SessionId};
use sortie_contract::plugin::PluginIdentity;
use sortie_contract::record::Accepted;
use sortie_contract::request::{ChildRequest, Decision, RequestKind, RequestNo};
use sortie_contract::tool::{MISSION, Repeat, ToolName};
use sortie_contract::{Spend, Status, Timestamp};
use sortie_journal::sim::SimDisk;
use sortie_journal::{EmbeddedLog, Journal, Log, MemoryLog, Options};
use sortie_mission::{Conditions, Ending};

use super::*;
use crate::begin;
use crate::recover::GoesOn;
use crate::standings::Standings;

const NO: MissionNo = MissionNo(1);

fn wider(log: &dyn Log) -> crate::wider::WiderBooks {
    let zone = sortie_schedule::Zone::utc();
    crate::wider::WiderBooks::of(log, &zone, Vec::new()).expect("it can be read")
}

/// A mission that was just accepted, in memory and on the log.
fn accepted(log: &dyn Log) -> Inner {
    let text = r#"{
        "mission_id": "m-1", "vp_id": "vp", "source_instance_id": "hq", "target_instance_id": "factory-1",
        "mission_type": "automation", "objective": "Mind the gap.", "inputs": {"steps": []},
        "idempotency_key": "k", "trace_id": "t", "created_at": "2026-11-22T00:00:00Z"
    }"#;
    let (session, lane) = (SessionId::new("s").expect("an id"), LaneId::new("lane").expect("an id"));
    let (name, version) = ("automation".to_owned(), "1.0.0".to_owned());
    let record = Record::Accepted(Box::new(Accepted {
        envelope: text.to_owned(),
        session: session.clone(),
        lane: lane.clone(),
        plugin: PluginIdentity { name, version, digest: Digest::of(b"p") },
        budget: EffectiveBudget { runtime_ms_max: 3_600_000, llm_calls_max: None, cost_max: None },
        warnings: Vec::new(),
        unknown_approvals: Vec::new(),
    }));
    let first = Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: 0, record };
    let mission = begin(&first).expect("it begins");
    let head = Head::accepted(mission.envelope(), Digest::of(text.as_bytes()), session, lane, first.at);
    let head = Head { overview: Some(mission.overview()), ..head };
    log.append(Append::new(NO, 0, &[first]).head(&head)).expect("room");
    let run = RunClock::new(&mission, 0, Duration::ZERO);
    Inner {
        mission,
        head,
        run,
        is_kept: false,
        is_put_off: false,
        kill: None,
        condemned: false,
        told: 1,
        out_since: None,
        waiting: FxHashMap::default(),
        decided: FxHashMap::default(),
        asked: FxHashMap::default(),
        is_idle: false,
        closing: Vec::new(),
    }
}

/// The records of a command, at some second; none, where the core refuses it.
fn decided(inner: &Inner, second: u32, command: Command<'_>) -> Vec<Stamped> {
    let wall = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second.into());
    let now = Now {
        wall,
        ran_ms: u64::from(second),
        out_ms: None,
        next_window: None,
        wider: Default::default(),
        expires_at: wall + SignedDuration::from_hours(24),
        on_expiry: sortie_contract::envelope::OnExpiry::End,
    };
    let records = inner.mission.decide(now, command).unwrap_or_default();
    records.into_iter().map(|record| Stamped { at: wall, ran_ms: now.ran_ms, record }).collect()
}

/// A few of everything that changes what a head shows, and of what does not.
fn command(choice: u32, run: u32, records: u32) -> Command<'static> {
    let run = RunNo(run);
    match choice % 9 {
        0 => Command::Start(Conditions {
            tools: &[],
            memory_bytes_max: 1 << 20,
            alone: false,
            crashes_alone_max: 3,
            open_until: None,
        }),
        1 | 2 => Command::Milestone { run, text: format!("step {choice}") },
        3 => Command::Ask { run, question: format!("question {choice}?") },
        4 => Command::Decide {
            request: RequestNo(1 + choice % 3),
            decision: Decision::Answer { text: "yes".to_owned() },
            by: "op".to_owned(),
            note: String::new(),
            changed: None,
        },
        5 => Command::Suspend { run, records, until: None },
        6 => Command::Log { run, level: sortie_contract::plugin::LogLevel::Info, text: "line".to_owned() },
        7 => Command::Tick,
        _ if choice > 200 => Command::Cancel { reason: String::new(), by: "op".to_owned() },
        _ => Command::PluginEnded {
            run: RunNo(run.0 + 7),
            ending: Ending::Crashed(sortie_contract::plugin::Crash::Trapped(String::new())),
            uncollected: Vec::new(),
        },
    }
}

#[test]
fn the_head_is_what_the_records_add_up_to_after_every_command() {
    for seed in 0..40_u32 {
        let log = Arc::new(MemoryLog::default());
        let mut inner = accepted(&*log);
        let commit = Commit::new(log.clone(), 0, Standings::default(), Arc::default(), wider(&*log));
        commit.moved(NO, None, (inner.head.status, false));
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        for second in 0..60 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let run = inner.mission.run().map_or(0, |run| run.0);
            let records = decided(&inner, second, command(state >> 24, run, inner.mission.records()));
            if records.is_empty() {
                continue;
            }
            let tells = |mission: &Mission| (mission.outgoing(), mission.open_requests().len());
            let (first, before) = (inner.mission.records(), tells(&inner.mission));
            inner.append(&commit, NO, &records, None, Wait::No).expect("room");
            assert_eq!(
                inner.told > first,
                tells(&inner.mission) != before,
                "whoever is to be told of something is woken, and nobody else"
            );

            let all = log.read_all(NO, 0).expect("it reads");
            let mut fold = begin(&all[0]).expect("it begins");
            apply(&mut fold, &all[1..]);
            assert_eq!(fold, inner.mission, "seed {seed}, second {second}");
            let mut head = log.head(NO).expect("it reads").expect("it is there");
            let mut expected = inner.head.clone();
            shown_by(&mut expected, &fold);
            // Alone it writes no head.
            let shown = head.overview.as_mut().expect("this Sortie shows an overview");
            assert!(shown.ran_ms <= fold.ran_ms(), "seed {seed}, second {second}");
            shown.ran_ms = fold.ran_ms();
            assert_eq!(head, expected, "seed {seed}, second {second}");
            assert_eq!((head.status, head.suspended), (fold.status(), fold.standing().suspended));
            assert_eq!(commit.suspended(), usize::from(head.suspended));
            let found = commit.standings().newest_first(&[head.status], None, 9);
            assert_eq!(found, if head.status.is_final() { vec![] } else { vec![NO] });
        }
    }
}

#[test]
fn what_the_log_has_no_room_for_has_not_happened() {
    let options = Options { queue_appends_max: 2, ..Options::default() };
    let (journal, opened, stepper) = Journal::open_backend_stepped(SimDisk::default(), &options).expect("it opens");
    let log = Arc::new(EmbeddedLog::new(journal, &opened, |_, _| {}).expect("it reads"));
    let mut inner = accepted(&*log);
    let commit = Commit::new(log.clone(), 0, Standings::default(), Arc::default(), wider(&*log));
    let start = decided(&inner, 1, command(0, 0, 0));
    inner.append(&commit, NO, &start, None, Wait::No).expect("the queue takes two");
    let (mission, head) = (inner.mission.clone(), inner.head.clone());
    let milestone = decided(&inner, 2, command(1, 1, 0));
    assert!(!milestone.is_empty());
    assert_eq!(inner.append(&commit, NO, &milestone, None, Wait::No).map(drop), Err(WriteError::Overloaded));
    assert_eq!((&inner.mission, &inner.head), (&mission, &head), "neither state nor head has moved");
    while stepper.commit(usize::MAX).expect("it writes") {}
    inner.append(&commit, NO, &milestone, None, Wait::No).expect("there is room again");
    stepper.commit(usize::MAX).expect("it writes");
    let records = log.read_all(NO, 0).expect("it reads");
    assert_eq!(records.len(), 1 + start.len() + milestone.len());
    assert_eq!(log.head(NO).expect("it reads").expect("it is there"), inner.head);
}

#[test]
fn what_is_decided_before_the_tool_waits_for_it_is_kept_for_it() {
    let log = MemoryLog::default();
    let live = Live { no: NO, inner: Mutex::new(accepted(&log)) };
    let stamped = |record| Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: 0, record };
    let happens = |record| live.inner.lock().release(&[stamped(record)], None);
    let elicited = |no| Record::Elicited {
        request: RequestNo(no),
        call: CallNo(1),
        question: "Who?".to_owned(),
        schema: "{}".to_owned(),
        expires_at: Timestamp::MAX,
    };
    let answer = Decision::Answer { text: "Ada".to_owned() };
    let decided = |no| Record::Decided {
        request: RequestNo(no),
        decision: answer.clone(),
        by: "op".to_owned(),
        note: String::new(),
    };
    happens(elicited(1));
    happens(decided(1));
    let said = live.said(RequestNo(1)).map(|mut said| said.try_recv());
    assert_eq!(said, Some(Ok(answer.clone())));
    happens(elicited(2));
    let mut waiting = live.said(RequestNo(2)).expect("it is asked");
    happens(decided(2));
    assert_eq!(waiting.try_recv(), Ok(answer.clone()));
    happens(elicited(3));
    happens(Record::Withdrawn { request: RequestNo(3), why: String::new() });
    assert!(live.said(RequestNo(3)).is_none(), "nobody is to wait for it");
    assert!(live.inner.lock().asked.is_empty(), "and nothing is kept of them");
}

/// Blocked by another mission's question it waits for its children, as it would otherwise; blocked by its own it waits for people.
#[test]
fn who_is_blocked_by_what_is_asked_below_sleeps_and_who_asks_does_not() {
    let asks = |of: &str| ChildRequest {
        of: of.parse().expect("an id"),
        request: RequestNo(1),
        kind: RequestKind::Input,
        question: "Which?".to_owned(),
        expires_at: Timestamp::MAX,
    };
    let started = |call, tool| Record::CallStarted {
        call: CallNo(call),
        tool: ToolName::new(tool),
        arguments: "{}".to_owned(),
        digest: Digest::of(b"{}"),
        repeat: Repeat::Idempotent,
        reserved: Spend::NOTHING,
    };
    let asked = Record::Requested {
        request: RequestNo(1),
        call: CallNo(2),
        kind: RequestKind::Input,
        question: "Who?".to_owned(),
        expires_at: Timestamp::MAX,
    };
    let below = [Record::ChildAsks { call: CallNo(1), asks: asks("m-1.child-1") }].to_vec();
    let own = [Record::Asked { call: CallNo(2), question: "Who?".to_owned() }, asked].to_vec();
    for (asks, sleeps) in [(Vec::new(), true), (below, true), (own, false)] {
        let Inner { mut mission, mut head, .. } = accepted(&MemoryLog::default());
        let begun = [Record::Started { run: RunNo(1), alone: true, announced: true }, started(1, MISSION)];
        let blocks = !asks.is_empty();
        for record in begun.into_iter().chain(asks).chain([Record::Suspended { until: None }]) {
            mission.apply(&Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: 0, record }).expect("it follows");
        }
        shown_by(&mut head, &mission);
        assert_eq!(head.status == Status::Blocked, blocks);
        let GoesOn::Asleep { sleeps: found, .. } = GoesOn::of(NO, &head) else { panic!("it is out of memory") };
        assert_eq!(found, sleeps, "{:?}", head.status);
    }
}
