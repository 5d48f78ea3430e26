//! The bytes of the record format. They lie in journals: what is here never changes, it is only added to.

use sortie_contract::artifact::{Artifact, ArtifactName};
use sortie_contract::digest::Digest;
use sortie_contract::envelope::EffectiveBudget;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::outcome::Verdict;
use sortie_contract::plugin::{LogLevel, PluginIdentity};
use sortie_contract::record::{Accepted, ArtifactSource, Closing, DecodeError, HostQuestion};
use sortie_contract::request::{ChildRequest, Decision, Reach, RequestKind, RequestNo};
use sortie_contract::tool::{CallError, Repeat, ToolAnswer, ToolName, Written};
use sortie_contract::{LaneId, MicroUsd, MissionId, Reason, Record, SessionId, Spend, Stamped, Status};

fn stamped(record: Record) -> Stamped {
    Stamped { at: "2026-11-22T22:00:00.000000001Z".parse().expect("a time"), ran_ms: 300, record }
}

fn digest() -> Digest {
    Digest::from([0xab; 32])
}

fn call_started(repeat: Repeat) -> Record {
    Record::CallStarted {
        call: CallNo(1),
        tool: ToolName::new("Read"),
        arguments: "{}".to_owned(),
        digest: digest(),
        repeat,
        reserved: spend(2, 5),
    }
}

fn spend(llm_calls: u64, cost: u64) -> Spend {
    Spend { llm_calls, cost: MicroUsd(cost) }
}

fn refused(error: CallError) -> Record {
    Record::CallRefused { call: CallNo(2), tool: ToolName::new("Bash"), digest: digest(), error }
}

fn answered(question: HostQuestion) -> Record {
    Record::Answered { call: CallNo(4), question, about: "n".to_owned(), answer: "0".to_owned() }
}

fn logged(level: LogLevel) -> Record {
    Record::Logged { call: CallNo(6), level, text: "x".to_owned() }
}

fn judged(verdict: Verdict) -> Record {
    Record::Judged { call: CallNo(7), criterion: 0, verdict, evidence: "y".to_owned() }
}

fn finished(status: Status, reason: Reason) -> Record {
    Record::Finished { status, reason, summary: "s".to_owned(), next_action: "n".to_owned() }
}

/// A sample of every variant, with what follows the version, the time and the run time.
fn samples() -> Vec<(Record, &'static str)> {
    vec![
        (
            Record::Accepted(Box::new(Accepted {
                envelope: "{}".to_owned(),
                session: SessionId::new("s").expect("an id"),
                lane: LaneId::new("l").expect("an id"),
                plugin: PluginIdentity { name: "p".to_owned(), version: "1.0.0".to_owned(), digest: digest() },
                budget: EffectiveBudget { runtime_ms_max: 60_000, llm_calls_max: None, cost_max: Some(MicroUsd(7)) },
                unknown_approvals: vec!["a".to_owned()],
                warnings: vec![],
            })),
            "00027b7d0173016c017005312e302e30ababababababababababababababababababababababababababababababababe0d40300010701016100",
        ),
        (Record::Started { run: RunNo(1), alone: true, announced: false }, "01010100"),
        (
            call_started(Repeat::Idempotent),
            "02010452656164027b7dabababababababababababababababababababababababababababababababab010205",
        ),
        (
            refused(CallError::Denied("no".to_owned())),
            "03020442617368abababababababababababababababababababababababababababababababab00026e6f",
        ),
        (
            Record::CallFinished {
                call: CallNo(1),
                outcome: Ok(ToolAnswer {
                    result: "{}".to_owned(),
                    wrote: vec![Written { path: "a".to_owned(), sha256: Some(digest()), changed: None }],
                }),
                spent: spend(1, 3),
            },
            "040100027b7d01016101abababababababababababababababababababababababababababababababab000103",
        ),
        (
            Record::CallFinished { call: CallNo(1), outcome: Err(CallError::Cancelled), spent: Spend::NOTHING },
            "040101020000",
        ),
        (answered(HostQuestion::Now), "050400016e0130"),
        (Record::Milestone { call: CallNo(5), text: "m".to_owned() }, "0605016d"),
        (logged(LogLevel::Info), "0706010178"),
        (judged(Verdict::Met), "080700000179"),
        (
            Record::ArtifactStored {
                call: None,
                artifact: Artifact {
                    name: ArtifactName::new("a.md").expect("a name"),
                    media_type: "text/markdown".to_owned(),
                    bytes: 1_000,
                    sha256: digest(),
                },
                source: ArtifactSource::File { path: "b".to_owned() },
            },
            "090004612e6d640d746578742f6d61726b646f776ee807abababababababababababababababababababababababababababababababab020162",
        ),
        (Record::Heartbeat, "0a"),
        (Record::Interrupted, "0b"),
        (finished(Status::TimedOut, Reason::WindowClosed), "0c06090173016e"),
        // Version 2.
        (
            Record::CallHeld {
                call: CallNo(1),
                tool: ToolName::new("Read"),
                arguments: "{}".to_owned(),
                digest: digest(),
                repeat: Repeat::Effectful,
                reserved: spend(2, 5),
            },
            "0d010452656164027b7dabababababababababababababababababababababababababababababababab020205",
        ),
        (Record::Asked { call: CallNo(2), question: "q".to_owned() }, "0e020171"),
        (requested(RequestKind::Approval), "0f010200017114323032362d31312d32335432323a30303a30305a"),
        (Record::Reminded { request: RequestNo(1) }, "1001"),
        (decided(Decision::Approve { reach: Reach::Tool }), "11010001016200"),
        (decided(Decision::Deny), "110101016200"),
        (decided(Decision::Answer { text: "t".to_owned() }), "1101020174016200"),
        (decided(Decision::Grant { llm_calls: 3, cost: MicroUsd(1_000) }), "11010303e807016200"),
        (decided(Decision::Repeat), "110104016200"),
        (decided(Decision::Record { result: "1".to_owned() }), "1101050131016200"),
        (amended(), "110106027b7d016200"),
        (Record::CallResumed { call: CallNo(1) }, "1201"),
        (Record::Suspended { until: None }, "1300"),
        (
            Record::Suspended { until: Some("2026-11-23T22:00:00Z".parse().expect("a time")) },
            "130114323032362d31312d32335432323a30303a30305a",
        ),
        // Version 3.
        (
            Record::Granted { tools: vec![ToolName::new("Read"), ToolName::new("X")], memory_bytes_max: Some(1_000) },
            "14020452656164015801e807",
        ),
        // Version 5.
        (Record::Unreadable { until: 300, sequence: 4, items: 5 }, "15ac020405"),
        (Record::CallAgain { call: CallNo(1) }, "1601"),
        (
            Record::Overbilled { call: CallNo(1), tool: ToolName::new("X"), quoted: spend(1, 3), spent: spend(2, 5) },
            "1701015801030205",
        ),
        (Record::Accompanied, "18"),
        (Record::NodeStopped, "19"),
        // Version 6.
        (
            Record::OpenUntil { at: "2026-11-23T22:00:00Z".parse().expect("a time") },
            "1a14323032362d31312d32335432323a30303a30305a",
        ),
        (
            Record::CarriedOver { start_at: Some("2026-11-23T22:00:00Z".parse().expect("a time")), end_at: None },
            "1b0114323032362d31312d32335432323a30303a30305a00",
        ),
        // Version 7.
        (Record::Closing { limit: Closing::Cost }, "1c03"),
        (
            Record::Postponed {
                call: CallNo(9),
                until: "2026-11-23T22:00:00Z".parse().expect("a time"),
                why: "w".to_owned(),
            },
            "1d0914323032362d31312d32335432323a30303a30305a0177",
        ),
        (Record::Landing { call: CallNo(9) }, "1e09"),
        // Version 8.
        (
            Record::PaymentAwaited {
                call: CallNo(9),
                until: "2026-11-23T22:00:00Z".parse().expect("a time"),
                why: "w".to_owned(),
            },
            "1f0914323032362d31312d32335432323a30303a30305a0177",
        ),
        (Record::Requoted { call: CallNo(9), reserved: spend(2, 5) }, "20090205"),
        // Version 9.
        (
            Record::Elicited {
                request: RequestNo(2),
                call: CallNo(9),
                question: "q".to_owned(),
                schema: "{}".to_owned(),
                expires_at: "2026-11-23T22:00:00Z".parse().expect("a time"),
            },
            "2102090171027b7d14323032362d31312d32335432323a30303a30305a",
        ),
        (Record::Withdrawn { request: RequestNo(2), why: "w".to_owned() }, "22020177"),
        // Version 10.
        (
            Record::ChildAsks {
                call: CallNo(9),
                asks: ChildRequest {
                    of: MissionId::new("m").expect("an id"),
                    request: RequestNo(2),
                    kind: RequestKind::Input,
                    question: "q".to_owned(),
                    expires_at: "2026-11-23T22:00:00Z".parse().expect("a time"),
                },
            },
            "2309016d0201017114323032362d31312d32335432323a30303a30305a",
        ),
        (
            Record::ChildHeard { call: CallNo(9), of: MissionId::new("m").expect("an id"), request: RequestNo(2) },
            "2409016d02",
        ),
    ]
}

/// The same as the versions 1 to 3 wrote it, and what it is taken for.
fn samples_v3() -> Vec<(Record, &'static str)> {
    vec![
        (
            Record::Accepted(Box::new(Accepted {
                envelope: "{}".to_owned(),
                session: SessionId::new("s").expect("an id"),
                lane: LaneId::new("l").expect("an id"),
                plugin: PluginIdentity { name: "p".to_owned(), version: "1.0.0".to_owned(), digest: digest() },
                budget: EffectiveBudget { runtime_ms_max: 60_000, llm_calls_max: None, cost_max: Some(MicroUsd(7)) },
                unknown_approvals: vec!["a".to_owned()],
                warnings: vec![],
            })),
            "00027b7d0173016c017005312e302e30ababababababababababababababababababababababababababababababababe0d40300010701016100",
        ),
        (Record::Started { run: RunNo(1), alone: false, announced: true }, "0101"),
        (
            before_v4(call_started(Repeat::Idempotent)),
            "02010452656164027b7dabababababababababababababababababababababababababababababababab0105",
        ),
        (
            refused(CallError::Denied("no".to_owned())),
            "03020442617368abababababababababababababababababababababababababababababababab00026e6f",
        ),
        (
            Record::CallFinished { call: CallNo(1), outcome: Ok(wrote_unsaid()), spent: spend(0, 3) },
            "040100027b7d01016103",
        ),
        (
            Record::CallFinished { call: CallNo(1), outcome: Err(CallError::Cancelled), spent: Spend::NOTHING },
            "0401010200",
        ),
        (before_v4(answered(HostQuestion::Now)), "0504000130"),
        (Record::Milestone { call: CallNo(5), text: "m".to_owned() }, "0605016d"),
        (logged(LogLevel::Info), "0706010178"),
        (judged(Verdict::Met), "080700000179"),
        (
            Record::ArtifactStored {
                call: None,
                artifact: Artifact {
                    name: ArtifactName::new("a.md").expect("a name"),
                    media_type: "text/markdown".to_owned(),
                    bytes: 1_000,
                    sha256: digest(),
                },
                source: ArtifactSource::Unsaid,
            },
            "090004612e6d640d746578742f6d61726b646f776ee807abababababababababababababababababababababababababababababababab",
        ),
        (Record::Heartbeat, "0a"),
        (Record::Interrupted, "0b"),
        (finished(Status::TimedOut, Reason::WindowClosed), "0c06090173016e"),
        // Version 2.
        (
            Record::CallHeld {
                call: CallNo(1),
                tool: ToolName::new("Read"),
                arguments: "{}".to_owned(),
                digest: digest(),
                repeat: Repeat::Effectful,
                reserved: spend(0, 5),
            },
            "0d010452656164027b7dabababababababababababababababababababababababababababababababab0205",
        ),
        (Record::Asked { call: CallNo(2), question: "q".to_owned() }, "0e020171"),
        (requested(RequestKind::Approval), "0f010200017114323032362d31312d32335432323a30303a30305a"),
        (Record::Reminded { request: RequestNo(1) }, "1001"),
        (decided(Decision::Approve { reach: Reach::Tool }), "11010001016200"),
        (decided(Decision::Deny), "110101016200"),
        (decided(Decision::Answer { text: "t".to_owned() }), "1101020174016200"),
        (decided(Decision::Grant { llm_calls: 3, cost: MicroUsd(1_000) }), "11010303e807016200"),
        (decided(Decision::Repeat), "110104016200"),
        (decided(Decision::Record { result: "1".to_owned() }), "1101050131016200"),
        (Record::CallResumed { call: CallNo(1) }, "1201"),
        (Record::Suspended { until: None }, "1300"),
        (
            Record::Suspended { until: Some("2026-11-23T22:00:00Z".parse().expect("a time")) },
            "130114323032362d31312d32335432323a30303a30305a",
        ),
        // Version 3.
        (
            Record::Granted { tools: vec![ToolName::new("Read"), ToolName::new("X")], memory_bytes_max: None },
            "140204526561640158",
        ),
    ]
}

/// What is left of a record of today in one of theirs: they counted no model calls, and did not say what a question was about.
fn before_v4(mut record: Record) -> Record {
    match &mut record {
        Record::CallStarted { reserved, .. } => reserved.llm_calls = 0,
        Record::Answered { about, .. } => about.clear(),
        _ => {}
    }
    record
}

/// What a call wrote, as records before version 5 have it.
fn wrote_unsaid() -> ToolAnswer {
    let written = Written { path: "a".to_owned(), sha256: None, changed: None };
    ToolAnswer { result: "{}".to_owned(), wrote: vec![written] }
}

/// How many of the samples a version has.
const IN_VERSION: [(u8, usize); 3] = [(1, 14), (2, 27), (3, 28)];

/// So many of today's are those of version 4, to the byte.
const IN_VERSION_4: usize = 28;

fn requested(kind: RequestKind) -> Record {
    let expires_at = "2026-11-23T22:00:00Z".parse().expect("a time");
    Record::Requested { request: RequestNo(1), call: CallNo(2), kind, question: "q".to_owned(), expires_at }
}

fn decided(decision: Decision) -> Record {
    Record::Decided { request: RequestNo(1), decision, by: "b".to_owned(), note: String::new() }
}

/// Since version 8.
fn amended() -> Record {
    decided(Decision::Amend { arguments: "{}".to_owned() })
}

/// Without a wildcard: a new variant does not compile until it is here, and the count below is not right until it has a sample.
fn number(record: &Record) -> usize {
    match record {
        Record::Accepted(_) => 0,
        Record::Started { .. } => 1,
        Record::CallStarted { .. } => 2,
        Record::CallRefused { .. } => 3,
        Record::CallFinished { .. } => 4,
        Record::Answered { .. } => 5,
        Record::Milestone { .. } => 6,
        Record::Logged { .. } => 7,
        Record::Judged { .. } => 8,
        Record::ArtifactStored { .. } => 9,
        Record::Heartbeat => 10,
        Record::Interrupted => 11,
        Record::Finished { .. } => 12,
        Record::CallHeld { .. } => 13,
        Record::Asked { .. } => 14,
        Record::Requested { .. } => 15,
        Record::Reminded { .. } => 16,
        Record::Decided { .. } => 17,
        Record::CallResumed { .. } => 18,
        Record::Suspended { .. } => 19,
        Record::Granted { .. } => 20,
        Record::Unreadable { .. } => 21,
        Record::CallAgain { .. } => 22,
        Record::Overbilled { .. } => 23,
        Record::Accompanied => 24,
        Record::NodeStopped => 25,
        Record::OpenUntil { .. } => 26,
        Record::CarriedOver { .. } => 27,
        Record::Closing { .. } => 28,
        Record::Postponed { .. } => 29,
        Record::Landing { .. } => 30,
        Record::PaymentAwaited { .. } => 31,
        Record::Requoted { .. } => 32,
        Record::Elicited { .. } => 33,
        Record::Withdrawn { .. } => 34,
        Record::ChildAsks { .. } => 35,
        Record::ChildHeard { .. } => 36,
    }
}

/// What stands between the version and the record: 2026-11-22T22:00:00.000000001Z, 300 ms.
const HEAD: &str = "828096f2d2bdbeea31ac02";

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(digits).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_variant_keeps_its_bytes() {
    for (record, expected) in samples() {
        let sample = stamped(record);
        let bytes = sample.encode();
        assert_eq!(hex(&bytes), format!("0a{HEAD}{expected}"), "{sample:?}");
        assert_eq!(Stamped::decode(&bytes).expect("a record"), sample);
    }
    let mut seen: Vec<usize> = samples().iter().map(|(record, _)| number(record)).collect();
    seen.dedup();
    assert_eq!(seen, (0..37).collect::<Vec<_>>(), "a sample of every variant, in its order");
}

/// Told from the bytes as they were pinned, not from what is written now.
#[test]
fn what_older_versions_wrote_is_read() {
    for (version, count) in IN_VERSION {
        for (record, pinned) in samples_v3().into_iter().take(count) {
            let bytes = unhex(&format!("0{version}{HEAD}{pinned}"));
            assert_eq!(Stamped::decode(&bytes).expect("a record"), stamped(record));
        }
    }
}

/// Version 9 is version 10, but for the variants that came later.
#[test]
fn what_version_9_wrote_is_read() {
    let withdrawn = number(&Record::Withdrawn { request: RequestNo(1), why: String::new() });
    for (record, pinned) in samples().into_iter().filter(|(record, _)| number(record) <= withdrawn) {
        let bytes = unhex(&format!("09{HEAD}{pinned}"));
        assert_eq!(Stamped::decode(&bytes).expect("a record"), stamped(record));
    }
}

/// Version 8 is version 9, but for the variants that came later.
#[test]
fn what_version_8_wrote_is_read() {
    let requoted = number(&Record::Requoted { call: CallNo(1), reserved: Spend::NOTHING });
    for (record, pinned) in samples().into_iter().filter(|(record, _)| number(record) <= requoted) {
        let bytes = unhex(&format!("08{HEAD}{pinned}"));
        assert_eq!(Stamped::decode(&bytes).expect("a record"), stamped(record));
    }
}

/// Version 7 is version 8, but for the variants that came later.
#[test]
fn what_version_7_wrote_is_read() {
    let landing = number(&Record::Landing { call: CallNo(1) });
    for (record, pinned) in samples().into_iter().filter(|(record, _)| number(record) <= landing) {
        let bytes = unhex(&format!("07{HEAD}{pinned}"));
        assert_eq!(Stamped::decode(&bytes).expect("a record"), stamped(record));
    }
}

/// Version 5 is version 6, but for what came later.
#[test]
fn what_version_5_wrote_is_read() {
    let all = samples().into_iter().filter(|(record, _)| number(record) <= number(&Record::NodeStopped));
    let all = all.filter(|(record, _)| *record != amended());
    for (record, pinned) in all {
        let bytes = unhex(&format!("05{HEAD}{pinned}"));
        assert_eq!(Stamped::decode(&bytes).expect("a record"), stamped(record));
    }
}

/// Version 4 is version 5, but for what a call wrote, and the variants that came later.
#[test]
fn what_version_4_wrote_is_read() {
    let all = samples().into_iter().filter(|(record, _)| *record != amended());
    for (record, mut pinned) in all.take(IN_VERSION_4) {
        let record = match record {
            Record::CallFinished { call, outcome: Ok(_), spent } => {
                pinned = "040100027b7d0101610103";
                Record::CallFinished { call, outcome: Ok(wrote_unsaid()), spent }
            }
            same => same,
        };
        let bytes = unhex(&format!("04{HEAD}{pinned}"));
        assert_eq!(Stamped::decode(&bytes).expect("a record"), stamped(record));
    }
}

#[test]
fn every_name_within_a_record_keeps_its_number() {
    let one = |record: Record| stamped(record).encode();
    let differ = |all: Vec<Vec<u8>>, at: usize| {
        for (number, bytes) in all.iter().enumerate() {
            assert_eq!(usize::from(bytes[bytes.len() - at]), number, "{}", hex(bytes));
        }
    };
    differ([Repeat::ReadOnly, Repeat::Idempotent, Repeat::Effectful].map(call_started).map(one).into(), 3);
    let questions = [
        HostQuestion::Now,
        HostQuestion::Random,
        HostQuestion::WaitAny,
        HostQuestion::After,
        HostQuestion::ArtifactGet,
        HostQuestion::ArtifactPut,
        HostQuestion::Describe,
        HostQuestion::Models,
        HostQuestion::Deadline,
        HostQuestion::Left,
        HostQuestion::Closing,
    ];
    differ(questions.map(answered).map(one).into(), 5);
    let limits = [Closing::Window, Closing::RunTime, Closing::LlmCalls, Closing::Cost];
    differ(limits.map(|limit| one(Record::Closing { limit })).into(), 1);
    differ([LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error].map(logged).map(one).into(), 3);
    differ([Verdict::Met, Verdict::Unmet, Verdict::NotJudged].map(judged).map(one).into(), 3);
    let kinds = [RequestKind::Approval, RequestKind::Input, RequestKind::Budget, RequestKind::Uncertain];
    differ(kinds.map(requested).map(one).into(), 24);
    let reaches = [Reach::Call, Reach::Tool, Reach::Mission];
    differ(reaches.map(|reach| decided(Decision::Approve { reach })).map(one).into(), 4);
    let decisions = [
        Decision::Approve { reach: Reach::Call },
        Decision::Deny,
        Decision::Answer { text: String::new() },
        Decision::Grant { llm_calls: 0, cost: MicroUsd(0) },
        Decision::Repeat,
        Decision::Record { result: String::new() },
        Decision::Amend { arguments: String::new() },
    ];
    let numbers: Vec<u8> = decisions.map(decided).map(one).iter().map(|bytes| bytes[14]).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
    differ(Status::ALL.map(|status| finished(status, Reason::Done)).map(one).into(), 6);
    let reasons = [
        Reason::Done,
        Reason::PluginFailed,
        Reason::PluginTrapped,
        Reason::OutOfMemory,
        Reason::OutputMissing,
        Reason::CriterionUnmet,
        Reason::ToolFailed,
        Reason::CancelledByRequest,
        Reason::Halted,
        Reason::WindowClosed,
        Reason::RunTimeSpent,
        Reason::RequestExpired,
        Reason::Interrupted,
        Reason::Nondeterminism,
        Reason::LimitExceeded,
        Reason::Unreadable,
        Reason::NodeFailed,
    ];
    differ(reasons.map(|reason| finished(Status::Failed, reason)).map(one).into(), 5);
    let text = || "x".to_owned();
    let errors = [
        CallError::Denied(text()),
        CallError::BudgetExhausted(text()),
        CallError::InvalidArguments(text()),
        CallError::Failed(text()),
        CallError::TimedOut(text()),
        CallError::Uncertain(text()),
    ];
    let numbers: Vec<u8> =
        errors.into_iter().map(|error| one(refused(error))).map(|bytes| bytes[bytes.len() - 3]).collect();
    assert_eq!(numbers, [0, 1, 3, 4, 5, 6]);
    assert_eq!(one(refused(CallError::Cancelled)).last(), Some(&2));
}

#[test]
fn damaged_bytes_are_errors() {
    let bytes = stamped(finished(Status::Completed, Reason::Done)).encode();
    assert!(matches!(Stamped::decode(&[]), Err(DecodeError::Empty)));
    assert!(matches!(Stamped::decode(&[11, 0, 0]), Err(DecodeError::UnknownVersion(11))));
    for end in 1..bytes.len() {
        assert!(Stamped::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(Stamped::decode(&longer), Err(DecodeError::Trailing)));
}
