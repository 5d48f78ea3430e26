//! Journals that older Sorties wrote are opened, read whole, and gone on with.
//!
//! Each fixture was written by a node of that format that was killed: `v1.redb` has heads and records of version 1, `v2.redb` also
//! has missions out of memory, requests and a delivery that an operator had tried again, `v3.redb` one of which an operator left a
//! part out, `v4.redb` the same missions with heads that have an overview, `v5.redb` a call under way and a delivery that waits for its
//! next attempt, `v6.redb` the same with prices, `v7.redb` a mission each that is over, waits for people and waits for its window,
//! `v8.redb` the same with a schedule that was triggered, `v9.redb` as `v7.redb`, the last of them to be carried over, `v10.redb` to `v13.redb` as `v7.redb`.
//! Missions are named for what became of them.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::Step;
use redb::ReadableDatabase;
use sortie_contract::cursor::Retry;
use sortie_contract::{MissionId, MissionNo, Record, SessionId, Stamped, Status, Timestamp};
use sortie_journal::{
    Admitted, Append, Cursor, Decision, EmbeddedLog, Head, Journal, Keys, Log, Options, ScheduleChange,
};

/// In the order of dispatch: the mission, how it stands, how many records it has at least.
const MISSIONS: [(&str, Status, usize); 7] = [
    ("completed", Status::Completed, 5),
    ("queued", Status::Queued, 1),
    ("failed", Status::Failed, 5),
    ("cancelled", Status::Cancelled, 3),
    ("running-read-only", Status::Running, 2),
    ("running-with-effects", Status::Running, 3),
    ("parked", Status::Completed, 5),
];

/// The same of the second format, with whether it is out of memory.
const MISSIONS_2: [(&str, Status, bool); 10] = [
    ("completed", Status::Completed, false),
    ("queued", Status::Queued, false),
    ("failed", Status::Failed, false),
    ("cancelled", Status::Cancelled, false),
    ("asking", Status::Blocked, true),
    ("approving", Status::Blocked, true),
    ("decided", Status::Completed, false),
    ("running", Status::Running, false),
    ("parked", Status::Completed, false),
    ("redelivered", Status::Completed, false),
];

/// The same of the third.
const MISSIONS_3: [(&str, Status, bool); 6] = [
    ("completed", Status::Completed, false),
    ("queued", Status::Queued, false),
    ("approving", Status::Blocked, true),
    ("failed", Status::Failed, false),
    ("parked", Status::Completed, false),
    ("skipped", Status::Completed, false),
];

/// The same of the fifth.
const MISSIONS_5: [(&str, Status, bool); 5] = [
    ("completed", Status::Completed, false),
    ("queued", Status::Queued, false),
    ("approving", Status::Blocked, true),
    ("fetching", Status::Running, false),
    ("retrying", Status::Completed, false),
];

/// The same of the sixth.
const MISSIONS_6: [(&str, Status, bool); 7] = [
    ("completed", Status::Completed, false),
    ("queued", Status::Queued, false),
    ("approving", Status::Blocked, true),
    ("paying", Status::Blocked, true),
    ("fetching", Status::Running, false),
    ("retrying", Status::Completed, false),
    ("skipped", Status::Completed, false),
];

/// A copy of a fixture that may be written.
fn copy_of(fixture: &str) -> (tempfile::TempDir, PathBuf) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.redb");
    fs::copy(fixtures.join(fixture), &path).unwrap();
    fs::copy(fixtures.join(format!("{fixture}.mark")), dir.path().join("journal.redb.mark")).unwrap();
    (dir, path)
}

fn check_missions(journal: &Journal) {
    let mut found = Vec::new();
    journal.scan_oldest_first(|no, head| found.push((no, head))).unwrap();
    for ((no, head), (name, status, records_min)) in found.iter().zip(MISSIONS) {
        assert_eq!((head.mission_id.as_str(), head.status), (name, status));
        assert_eq!((head.suspended, head.due, head.ended_at), (false, None, None), "{name}");
        assert_eq!(head.has_callback, name == "parked");
        assert_eq!(head.trace_id.as_str(), format!("trace-{name}"));
        let records = journal.read(*no).unwrap();
        assert!(records.len() >= records_min, "{name} has {} records", records.len());
        assert!(matches!(records[0].record, Record::Accepted(_)), "{name} begins with {:?}", records[0]);
    }
    assert!(found.len() >= MISSIONS.len());
}

fn format_of(path: &Path) -> u64 {
    let db = redb::Database::open(path).unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    db.begin_read().unwrap().open_table(meta).unwrap().get("format").unwrap().unwrap().value()
}

#[test]
fn a_journal_of_format_1_is_read_whole_and_gone_on_with() {
    let (_dir, path) = copy_of("v1.redb");
    let (journal, opened) = Journal::open(&path, &Options::default()).unwrap();
    assert_eq!(opened.last_no, MissionNo(7));
    check_missions(&journal);

    let [(no, cursor)] = opened.undelivered.as_slice() else { panic!("{:?}", opened.undelivered) };
    assert_eq!(*no, MissionNo(7));
    assert!(cursor.parked.as_ref().is_some_and(|why| why.contains("refused")), "{cursor:?}");
    assert_eq!(cursor.since, None);

    let feed = journal.feed_after(0, usize::MAX).unwrap();
    assert!(feed.iter().map(|entry| entry.position).eq(1..=opened.position));
    for entry in feed {
        let records = journal.read(entry.mission).unwrap();
        assert!(records.len() >= (entry.first + entry.count) as usize);
    }
    drop(journal);
    assert_eq!(format_of(&path), 1, "whoever only looks can still go back");

    let (journal, _) = Journal::open(&path, &Options::default()).unwrap();
    let mut model = common::Model { position: opened.position, ..common::Model::default() };
    let position = journal.append_durable(model.apply(&Step::dispatch(8))).unwrap().wait().unwrap();
    assert_eq!(position, opened.position + 1);
    drop(journal);
    assert_eq!(format_of(&path), 14, "an older sortie refuses what it could not read whole");

    let (journal, opened) = Journal::open(&path, &Options::default()).unwrap();
    assert_eq!((opened.last_no, opened.position), (MissionNo(8), position));
    check_missions(&journal);
    assert_eq!(journal.read(MissionNo(8)).unwrap(), model.records[&8]);
    assert_eq!(journal.head(MissionNo(8)).unwrap().as_ref(), model.heads.get(&8));
    assert_eq!(opened.undelivered.len(), 2);

    // Old missions are removed like new ones, and the newest's number is not given again.
    for no in [1, 8] {
        journal.remove(MissionNo(no)).unwrap();
    }
    journal.barrier().unwrap().wait().unwrap();
    assert_eq!((journal.read(MissionNo(1)).unwrap(), journal.head(MissionNo(1)).unwrap()), (vec![], None));
    drop(journal);
    let (_journal, opened) = Journal::open(&path, &Options::default()).unwrap();
    assert_eq!(opened.last_no, MissionNo(8));
}

#[test]
fn a_journal_of_format_2_is_read_whole_and_gone_on_with() {
    let (_dir, path) = copy_of("v2.redb");
    let (journal, opened) = Journal::open(&path, &Options::default()).unwrap();
    let mut found = Vec::new();
    journal.scan_oldest_first(|no, head| found.push((no, head))).unwrap();
    assert_eq!(found.len(), MISSIONS_2.len());
    for ((no, head), (name, status, suspended)) in found.iter().zip(MISSIONS_2) {
        assert_eq!((head.mission_id.as_str(), head.status, head.suspended), (name, status, suspended));
        assert_eq!((head.due.is_some(), head.ended_at.is_some()), (suspended, status.is_final()), "{name}");
        let records = journal.read(*no).unwrap();
        let kinds = |is: fn(&Record) -> bool| records.iter().filter(|stamped| is(&stamped.record)).count();
        assert_eq!(
            kinds(|record| matches!(record, Record::Requested { .. })),
            usize::from(suspended || name == "decided")
        );
        assert_eq!(kinds(|record| matches!(record, Record::Decided { .. })), usize::from(name == "decided"));
        assert_eq!(kinds(|record| matches!(record, Record::Finished { .. })), usize::from(status.is_final()));
    }
    let [(_, parked), (_, redelivered)] = opened.undelivered.as_slice() else { panic!("{:?}", opened.undelivered) };
    assert!(parked.parked.is_some() && parked.since.is_none(), "{parked:?}");
    assert!(redelivered.parked.is_some() && redelivered.since.is_some(), "{redelivered:?}");
    assert_eq!((parked.skipped.as_slice(), parked.closed), ([].as_slice(), false));

    let mut model = common::Model { position: opened.position, ..common::Model::default() };
    journal.append_durable(model.apply(&Step::dispatch(11))).unwrap().wait().unwrap();
    drop(journal);
    assert_eq!(format_of(&path), 14, "an older sortie refuses what it could not read whole");
}

#[test]
fn a_journal_of_format_3_is_read_whole_and_gone_on_with() {
    let (_dir, path) = copy_of("v3.redb");
    let (journal, opened) = Journal::open(&path, &Options::default()).unwrap();
    assert!(opened.repaired, "its node was killed");
    let mut found = Vec::new();
    journal.scan_oldest_first(|no, head| found.push((no, head))).unwrap();
    assert_eq!(found.len(), MISSIONS_3.len());
    for ((no, head), (name, status, suspended)) in found.iter().zip(MISSIONS_3) {
        assert_eq!((head.mission_id.as_str(), head.status, head.suspended), (name, status, suspended));
        assert_eq!(head.overview, None, "{name} is of before there was one");
        let records = journal.read(*no).unwrap();
        assert!(matches!(records[0].record, Record::Accepted(_)), "{name} begins with {:?}", records[0]);
        let finished = records.iter().any(|stamped| matches!(stamped.record, Record::Finished { .. }));
        assert_eq!(finished, status.is_final(), "{name}");
    }
    let [(_, parked), (_, skipped)] = opened.undelivered.as_slice() else { panic!("{:?}", opened.undelivered) };
    assert!(parked.parked.is_some() && parked.skipped.is_empty(), "{parked:?}");
    assert_eq!((skipped.skipped.as_slice(), skipped.acked), ([1].as_slice(), 1));

    let mut model = common::Model { position: opened.position, ..common::Model::default() };
    journal.append_durable(model.apply(&Step::dispatch(7))).unwrap().wait().unwrap();
    assert_eq!(journal.head(MissionNo(7)).unwrap().as_ref(), model.heads.get(&7));
    drop(journal);
    assert_eq!(format_of(&path), 14, "an older sortie refuses what it could not read whole");
}

#[test]
fn a_journal_of_format_4_is_read_whole_and_gone_on_with() {
    let (_dir, path) = copy_of("v4.redb");
    let (journal, opened) = Journal::open(&path, &Options::default()).unwrap();
    assert!(opened.repaired, "its node was killed");
    let mut found = Vec::new();
    journal.scan_oldest_first(|no, head| found.push((no, head))).unwrap();
    assert_eq!(found.len(), MISSIONS_3.len());
    for ((_, head), (name, status, suspended)) in found.iter().zip(MISSIONS_3) {
        assert_eq!((head.mission_id.as_str(), head.status, head.suspended), (name, status, suspended));
        let overview = head.overview.as_ref().unwrap();
        assert_eq!((overview.objective.as_str(), overview.requests), ("Do the steps.", u32::from(name == "approving")));
    }
    let [(_, parked), (no, skipped)] = opened.undelivered.as_slice() else { panic!("{:?}", opened.undelivered) };
    for cursor in [parked, skipped] {
        assert!(cursor.parked.is_some() && cursor.retry.is_none(), "{cursor:?}");
    }
    let retry = Some(Retry { why: "the receiver answered 503".to_owned(), at: Timestamp::MAX });
    let cursor = Cursor { retry, parked: None, ..skipped.clone() };
    journal.append_durable(Append::new(*no, 0, &[]).cursor(&cursor)).unwrap().wait().unwrap();
    assert_eq!(journal.cursor(*no).unwrap(), Some(cursor));
    assert_eq!(journal.cursors_after(None, 1).unwrap(), [(MissionNo(5), parked.clone())]);
    drop(journal);
    assert_eq!(format_of(&path), 14, "an older sortie refuses what it could not read whole");
}

#[test]
fn a_journal_of_format_5_is_read_whole_and_gone_on_with() {
    let (_dir, path) = copy_of("v5.redb");
    let (journal, opened) = Journal::open(&path, &Options::default()).unwrap();
    assert!(opened.repaired, "its node was killed");
    let mut found = Vec::new();
    journal.scan_oldest_first(|no, head| found.push((no, head))).unwrap();
    assert_eq!(found.len(), MISSIONS_5.len());
    for ((no, head), (name, status, suspended)) in found.iter().zip(MISSIONS_5) {
        assert_eq!((head.mission_id.as_str(), head.status, head.suspended), (name, status, suspended));
        let overview = head.overview.as_ref().unwrap();
        assert!(
            overview.spent.is_nothing() && overview.reserved.is_nothing(),
            "{name} is of before calls cost anything"
        );
        let under_way = journal.read(*no).unwrap().iter().fold(0, |sum, stamped| match &stamped.record {
            Record::CallStarted { reserved, .. } if reserved.is_nothing() => sum + 1,
            Record::CallFinished { .. } => sum - 1,
            _ => sum,
        });
        assert_eq!(under_way, i32::from(name == "fetching"), "{name}");
    }
    let [(_, retrying)] = opened.undelivered.as_slice() else { panic!("{:?}", opened.undelivered) };
    assert!(retrying.retry.is_some() && retrying.parked.is_none(), "{retrying:?}");

    let mut model = common::Model { position: opened.position, ..common::Model::default() };
    journal.append_durable(model.apply(&Step::dispatch(6))).unwrap().wait().unwrap();
    drop(journal);
    assert_eq!(format_of(&path), 14, "an older sortie refuses what it could not read whole");
}

#[test]
fn a_journal_of_format_6_is_read_whole_and_gone_on_with() {
    let (_dir, path) = copy_of("v6.redb");
    let (journal, opened) = Journal::open(&path, &Options::default()).unwrap();
    assert!(opened.repaired, "its node was killed");
    let mut found = Vec::new();
    journal.scan_oldest_first(|no, head| found.push((no, head))).unwrap();
    assert_eq!(found.len(), MISSIONS_6.len());
    for ((_, head), (name, status, suspended)) in found.iter().zip(MISSIONS_6) {
        assert_eq!((head.mission_id.as_str(), head.status, head.suspended), (name, status, suspended));
        assert_eq!(head.crashes, 0, "{name}");
        let overview = head.overview.as_ref().unwrap();
        assert_eq!(overview.pending, None, "{name} is of before heads had that");
        assert_eq!((overview.requests, overview.expires_at.is_some()), (u32::from(suspended), suspended), "{name}");
        assert_eq!(overview.reserved.is_nothing(), name != "fetching", "{name}");
    }
    let [(_, retrying), (_, skipped)] = opened.undelivered.as_slice() else { panic!("{:?}", opened.undelivered) };
    assert!(retrying.retry.is_some() && retrying.parked.is_none(), "{retrying:?}");
    assert_eq!((skipped.skipped.as_slice(), skipped.parked.is_some()), ([1].as_slice(), true));

    let mut model = common::Model { position: opened.position, ..common::Model::default() };
    journal.append_durable(model.apply(&Step::dispatch(8))).unwrap().wait().unwrap();
    drop(journal);
    assert_eq!(format_of(&path), 14, "an older sortie refuses what it could not read whole");
}

#[test]
fn a_journal_of_format_7_is_read_whole_and_takes_schedules() {
    let (_dir, path) = copy_of("v7.redb");
    let (journal, opened) = Journal::open(&path, &Options::default()).unwrap();
    assert!(opened.repaired, "its node was killed");
    let mut found = Vec::new();
    let log = EmbeddedLog::new(journal, &opened, |_, head| {
        found.push((head.mission_id.to_string(), head.status, head.suspended));
    })
    .unwrap();
    let expected =
        [("completed", Status::Completed, false), ("asks", Status::Blocked, true), ("queued", Status::Queued, false)];
    assert_eq!(found, expected.map(|(name, status, suspended)| (name.to_owned(), status, suspended)));
    assert_eq!(log.schedules_after(None, 9).unwrap(), [], "it is of before there were any");
    assert_eq!((log.schedule("nightly").unwrap(), log.fires("nightly", None, 9).unwrap()), (None, vec![]));
    let copy = path.with_file_name("copy.redb");
    log.snapshot(&copy).unwrap();
    let made = ScheduleChange::made("nightly", "{}".to_owned(), "{}".to_owned());
    log.change_schedule(made).unwrap().wait().unwrap();
    assert_eq!(log.schedule("nightly").unwrap().map(|kept| kept.version), Some(1));
    drop(log);
    assert_eq!(format_of(&path), 14, "an older sortie refuses what it could not read whole");
    // And after the next opening.
    let (journal, opened) = Journal::open(&path, &Options::default()).unwrap();
    let log = EmbeddedLog::new(journal, &opened, |_, _| ()).unwrap();
    assert!(log.change_schedule(ScheduleChange::moved("nightly", 1, "{}".to_owned(), vec![])).is_ok());
}

#[test]
fn a_journal_of_format_8_is_read_whole_and_takes_what_is_carried_over() {
    let (_dir, path) = copy_of("v8.redb");
    let (journal, opened) = Journal::open(&path, &Options::default()).unwrap();
    let mut found = Vec::new();
    let log = EmbeddedLog::new(journal, &opened, |_, head| {
        found.push((head.mission_id.to_string(), head.status, head.suspended));
    })
    .unwrap();
    let expected = [
        ("completed", Status::Completed, false),
        ("asks", Status::Blocked, true),
        ("queued", Status::Queued, false),
        ("nightly:20261126T090336Z", Status::Completed, false),
    ];
    assert_eq!(found, expected.map(|(name, status, suspended)| (name.to_owned(), status, suspended)));
    assert_eq!(
        log.schedule("nightly").unwrap().map(|kept| kept.version),
        Some(3),
        "made, triggered, and its mission ended"
    );
    assert_eq!(log.fires("nightly", None, 9).unwrap().len(), 1);
    let queued = MissionNo(3);
    let first = log.read(queued, 0, usize::MAX).unwrap();
    assert_eq!(first.len(), 1);
    let over = Record::CarriedOver { start_at: Some("2091-01-01T00:00:00Z".parse().unwrap()), end_at: None };
    let carried = Stamped { at: "2090-01-02T00:00:00Z".parse().unwrap(), ran_ms: 0, record: over };
    log.append_durable(Append::new(queued, 1, std::slice::from_ref(&carried))).unwrap().wait().unwrap();
    assert_eq!(log.read(queued, 1, usize::MAX).unwrap(), [carried]);
    drop(log);
    assert_eq!(format_of(&path), 14, "an older sortie refuses what it could not read whole");
}

/// The log in a file that has a mission each that is over, waits for people and waits for its window.
fn with_its_three_missions(path: &Path) -> EmbeddedLog {
    let (journal, opened) = Journal::open(path, &Options::default()).unwrap();
    let mut found = Vec::new();
    let log = EmbeddedLog::new(journal, &opened, |_, head| {
        found.push((head.mission_id.to_string(), head.status, head.suspended));
    })
    .unwrap();
    let expected =
        [("completed", Status::Completed, false), ("asks", Status::Blocked, true), ("queued", Status::Queued, false)];
    assert_eq!(found, expected.map(|(name, status, suspended)| (name.to_owned(), status, suspended)));
    log
}

/// That behind the records of the mission that asks these are taken, and come back: the file has the format of today then.
fn takes_behind(fixture: &str, records: Vec<Record>) {
    let (_dir, path) = copy_of(fixture);
    let log = with_its_three_missions(&path);
    let asks = MissionNo(2);
    let after = u32::try_from(log.read(asks, 0, usize::MAX).unwrap().len()).unwrap();
    let at: Timestamp = "2090-01-02T00:00:00Z".parse().unwrap();
    let records: Vec<Stamped> = records.into_iter().map(|record| Stamped { at, ran_ms: 0, record }).collect();
    log.append_durable(Append::new(asks, after, &records)).unwrap().wait().unwrap();
    assert_eq!(log.read(asks, after, usize::MAX).unwrap(), records);
    drop(log);
    assert_eq!(format_of(&path), 14, "an older sortie refuses what it could not read whole");
}

#[test]
fn a_journal_of_format_9_is_read_whole_and_takes_what_models_and_landing_leave() {
    takes_behind("v9.redb", vec![Record::Closing { limit: sortie_contract::record::Closing::Cost }]);
}

#[test]
fn a_journal_of_format_10_is_read_whole_and_takes_what_people_change() {
    let decision = sortie_contract::request::Decision::Amend { arguments: "{}".to_owned() };
    let request = sortie_contract::request::RequestNo(1);
    takes_behind("v10.redb", vec![Record::Decided { request, decision, by: "ada".to_owned(), note: String::new() }]);
}

#[test]
fn a_journal_of_format_11_is_read_whole_and_takes_what_tools_ask() {
    let (request, call) = (sortie_contract::request::RequestNo(2), sortie_contract::id::CallNo(1));
    let (question, schema) = ("Which one?".to_owned(), "{}".to_owned());
    let asked = Record::Elicited { request, call, question, schema, expires_at: Timestamp::MAX };
    takes_behind("v11.redb", vec![asked, Record::Withdrawn { request, why: "its call has ended".to_owned() }]);
}

/// The session of that VP into which a mission falls that names none.
fn newest_session(log: &EmbeddedLog, of: &Head) -> Option<SessionId> {
    let (id, key) = ("unknown".parse().unwrap(), "unknown".parse().unwrap());
    let keys = Keys { mission_id: &id, source: &of.source, idempotency_key: &key, vp: &of.vp };
    let mut newest = None;
    let admitted = log.admit(keys, &mut |known| {
        newest.clone_from(&known.newest_session);
        Decision::Answer
    });
    assert!(matches!(admitted, Ok(Admitted::Answered)));
    newest
}

#[test]
fn a_journal_of_format_12_is_read_whole_and_takes_what_a_fork_begins_with() {
    let (_dir, path) = copy_of("v12.redb");
    let log = with_its_three_missions(&path);
    let (of, fork) = (MissionNo(1), MissionNo(4));
    // An acceptance, and calls that no run of its own made. That they are a mission is the core's to say (`mission/tests/fork.rs`): here they
    // come back, and the session is a fork's.
    let records = log.read(of, 0, usize::MAX).unwrap();
    let is_taken = |stamped: &&Stamped| {
        matches!(stamped.record, Record::Accepted(_) | Record::Granted { .. } | Record::CallStarted { .. })
    };
    let beginning: Vec<Stamped> = records.iter().filter(is_taken).cloned().collect();
    assert!(beginning.len() > 2, "{records:?}");
    let mut head = log.head(of).unwrap().unwrap();
    let newest_before = newest_session(&log, &head);
    head.mission_id = "completed.fork-1".parse().unwrap();
    head.idempotency_key = "fork:completed.fork-1".parse().unwrap();
    head.session = SessionId::of_fork(&head.mission_id);
    log.append_durable(Append::new(fork, 0, &beginning).head(&head)).unwrap().wait().unwrap();
    drop(log);
    let (journal, opened) = Journal::open(&path, &Options::default()).unwrap();
    let log = EmbeddedLog::new(journal, &opened, |_, _| ()).unwrap();
    assert_eq!(log.read(fork, 0, usize::MAX).unwrap(), beginning);
    assert_eq!(log.head(fork).unwrap().unwrap(), head);
    assert!(log.has_session(&head.vp, &head.session).unwrap());
    assert_eq!(newest_session(&log, &head), newest_before, "nobody falls into the session of a fork");
    drop(log);
    assert_eq!(format_of(&path), 14, "an older sortie takes calls before a start for damage, and refuses all of it");
}

#[test]
fn a_journal_of_format_13_is_read_whole_and_takes_what_children_ask() {
    let (call, request) = (sortie_contract::id::CallNo(1), sortie_contract::request::RequestNo(1));
    let (of, kind) = ("asks.child-1".parse::<MissionId>().unwrap(), sortie_contract::request::RequestKind::Approval);
    let (question, expires_at) = ("May it?".to_owned(), Timestamp::MAX);
    let asks = sortie_contract::request::ChildRequest { of: of.clone(), request, kind, question, expires_at };
    takes_behind("v13.redb", vec![Record::ChildAsks { call, asks }, Record::ChildHeard { call, of, request }]);
}
