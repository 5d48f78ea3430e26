//! Replay: a run that asks the same again is told the same again, and any other is stopped.

mod support;

use serde_json::json;
use sortie_contract::Stamped;
use sortie_contract::artifact::Artifact;
use sortie_contract::digest::Digest;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::limit;
use sortie_contract::outcome::Verdict;
use sortie_contract::plugin::{Crash, LogLevel};
use sortie_contract::record::{ArtifactSource, HostQuestion, Record};
use sortie_contract::request::{Decision, RequestKind};
use sortie_contract::tool::{CallError, ToolAnswer, ToolName};
use sortie_mission::replay::{Asked, Contents, Recorded, Replay};
use sortie_mission::{Command, Now};
use support::{Called, Tested, artifact, the};

const RUN: RunNo = RunNo(1);

const QUESTIONS: [HostQuestion; 6] = [
    HostQuestion::Now,
    HostQuestion::Random,
    HostQuestion::WaitAny,
    HostQuestion::After,
    HostQuestion::ArtifactGet,
    HostQuestion::ArtifactPut,
];

/// What a plugin says that stores `artifact(name)` of `support`.
fn put(name: &str) -> Asked<'_> {
    Asked::Put { name, media_type: "text/markdown", contents: memory(name) }
}

fn memory(text: &str) -> Contents<'static> {
    Contents::Memory(Digest::of(text.as_bytes()))
}

fn running() -> Tested {
    Tested::running(json!({
        "constraints": {"allowed_tools": ["Read", "Edit"], "approval_required": ["Edit"]},
        "success_criteria": ["One"],
    }))
}

fn milestone(text: &str) -> Command<'static> {
    Command::Milestone { run: RUN, text: text.to_owned() }
}

fn log(text: &str) -> Command<'static> {
    Command::Log { run: RUN, level: LogLevel::Info, text: text.to_owned() }
}

fn judge(criterion: u32) -> Command<'static> {
    Command::Judge { run: RUN, criterion, verdict: Verdict::Met, evidence: "seen".to_owned() }
}

fn logged(text: &str) -> Asked<'_> {
    Asked::Log { level: LogLevel::Info, text }
}

fn judged(criterion: u32) -> Asked<'static> {
    Asked::Judge { criterion, verdict: Verdict::Met, evidence: "seen" }
}

fn call(call: u32, outcome: Option<Result<ToolAnswer, CallError>>) -> Recorded {
    Recorded::Call { call: CallNo(call), outcome }
}

fn answer(result: &str) -> Result<ToolAnswer, CallError> {
    Ok(ToolAnswer { result: result.to_owned(), wrote: Vec::new() })
}

/// The error with which a call was refused or ended.
fn error_of(records: &[Stamped], call: u32) -> CallError {
    let error = records.iter().find_map(|stamped| match &stamped.record {
        Record::CallRefused { call: refused, error, .. } if refused.0 == call => Some(error.clone()),
        Record::CallFinished { call: finished, outcome, .. } if finished.0 == call => outcome.clone().err(),
        _ => None,
    });
    error.expect("it was refused, or failed")
}

/// A mission that has made host calls of every kind, what its plugin asked, and what it was told.
fn everything() -> (Tested, Vec<(Asked<'static>, Recorded)>) {
    let [read, edit, bash] = ["Read", "Edit", "WebFetch"].map(|name| &*Box::leak(Box::new(ToolName::new(name))));
    let asked = |tool| Asked::Call { tool, arguments: "{}" };
    let mut mission = running();
    let mut told = Vec::new();

    let done = mission.call(&the("Read"), 0).expect("granted");
    mission.done(done, &[], 0);
    told.push((asked(read), call(1, Some(answer("null")))));
    mission.call(&the("WebFetch"), 0).expect_err("not allowed");
    told.push((asked(bash), call(2, Some(Err(error_of(&mission.records, 2))))));
    let (_, request) = mission.held(&the("Edit"), 0, RequestKind::Approval);
    mission.decided(request, Decision::Deny);
    told.push((asked(edit), call(3, Some(Err(error_of(&mission.records, 3))))));
    let (_, request) = mission.asks("Which one?");
    mission.decided(request, Decision::Answer { text: "B".to_owned() });
    told.push((Asked::Ask { question: "Which one?" }, call(4, Some(answer("\"B\"")))));
    // In flight: being made, waiting for approval, waiting for an answer.
    mission.call(&the("Read"), 0).expect("granted");
    told.push((asked(read), call(5, None)));
    assert!(matches!(mission.calls(&the("Edit"), 0), Called::Held(..)));
    told.push((asked(edit), call(6, None)));
    mission.asks("And which one?");
    told.push((Asked::Ask { question: "And which one?" }, call(7, None)));
    for (number, question) in QUESTIONS.into_iter().enumerate() {
        mission.pass(1);
        let answer = number.to_string();
        // That an artifact could not be stored is told to who wants to store it.
        let asked = match question {
            HostQuestion::After => Asked::After { ms: 3 },
            HostQuestion::ArtifactGet => Asked::Get { name: "notes.md" },
            HostQuestion::ArtifactPut => put("bad"),
            question => Asked::Question(question),
        };
        let (about, of_run) = (asked.about(), answer.clone());
        mission.take(Command::Answer { run: RUN, question, about, answer: of_run }).expect("taken");
        let Now { wall: at, ran_ms, .. } = mission.now;
        told.push((asked, Recorded::Answer { answer, at, ran_ms }));
    }
    mission.take(milestone("Half way.")).expect("taken");
    told.push((Asked::Milestone { text: "Half way." }, Recorded::Noted));
    mission.take(log("line")).expect("taken");
    told.push((logged("line"), Recorded::Noted));
    mission.take(judge(0)).expect("taken");
    told.push((judged(0), Recorded::Noted));
    mission.take(judge(7)).expect("logged instead");
    told.push((judged(7), Recorded::Noted));
    mission.store("report.md");
    told.push((put("report.md"), Recorded::Stored(artifact("report.md"))));
    (mission, told)
}

#[test]
fn every_kind_of_host_call_is_told_the_same_again() {
    let (mut mission, told) = everything();
    mission.crash();
    let mut replay = Replay::new(&mission.records);
    assert_eq!(replay.times().len(), told.len());
    for (number, (asked, expected)) in told.iter().enumerate() {
        assert!(!replay.is_over());
        assert_eq!(replay.calls() as usize, number);
        assert_eq!(replay.next(*asked), Ok(Some(expected.clone())), "{asked}");
    }
    assert!(replay.is_over());
    assert_eq!(replay.calls(), mission.mission.host_calls());
    for (asked, _) in &told {
        assert_eq!(replay.next(*asked), Ok(None), "behind the end of the record nothing is told: {asked}");
    }
    assert_eq!(replay.end(), Ok(()));
}

#[test]
fn whoever_asks_for_something_else_has_diverged_and_both_are_named() {
    let (mission, told) = everything();
    let read = ToolName::new("Read");
    let others = [
        Asked::Call { tool: &read, arguments: "{\"path\": \"other\"}" },
        Asked::Call { tool: &ToolName::new("Bash"), arguments: "{}" },
        Asked::Ask { question: "Where to?" },
        Asked::Milestone { text: "All the way." },
        Asked::Log { level: LogLevel::Error, text: "line" },
        Asked::Log { level: LogLevel::Info, text: "other line" },
        Asked::Judge { criterion: 0, verdict: Verdict::Unmet, evidence: "seen" },
        Asked::Judge { criterion: 0, verdict: Verdict::Met, evidence: "heard" },
        Asked::Judge { criterion: 1, verdict: Verdict::Met, evidence: "seen" },
        put("other.md"),
    ];
    // How each record is named, by its kind and its content.
    let names = [
        ["call 1", "`Read`", "{}"],
        ["call 2", "`WebFetch`", "refused"],
        ["call 3", "`Edit`", "{}"],
        ["call 4", "question", "Which one?"],
        ["call 5", "`Read`", "{}"],
        ["call 6", "`Edit`", "{}"],
        ["call 7", "question", "And which one?"],
        ["call 8", "time", ""],
        ["call 9", "randomness", ""],
        ["call 10", "waiting", ""],
        ["call 11", "timer", "3 ms"],
        ["call 12", "reading an artifact", "notes.md"],
        ["call 13", "storing an artifact", "bad"],
        ["call 14", "milestone", "Half way."],
        ["call 15", "log line", "line"],
        ["call 16", "criterion 0", "Met"],
        ["call 17", "log line", "judged criterion 7"],
        ["storing the artifact", "report.md", "text/markdown"],
    ];
    assert_eq!(names.len(), told.len());
    let mut replay = Replay::new(&mission.records);
    for ((asked, expected), name) in told.iter().zip(names) {
        let kinds = told.iter().map(|(asked, _)| *asked).chain(others);
        let same = |other: &Asked<'_>| other.to_string() == asked.to_string();
        for other in kinds.filter(|other| !same(other)) {
            let Err(Crash::Diverged { recorded, attempted }) = replay.next(other) else {
                panic!("{other} instead of {asked}")
            };
            assert!(name.iter().all(|part| recorded.contains(part)), "{recorded}: {name:?}");
            assert_eq!(attempted, other.to_string());
            assert!(!attempted.is_empty());
        }
        let Err(Crash::Diverged { recorded, attempted }) = replay.end() else { panic!("the record goes on") };
        assert!(
            name.iter().all(|part| recorded.contains(part)) && attempted.contains("end"),
            "{recorded}, {attempted}"
        );
        assert_eq!(replay.next(*asked), Ok(Some(expected.clone())), "a divergence takes nothing from the record");
    }
}

#[test]
fn what_tells_two_askings_apart_is_all_of_them() {
    let (mission, told) = everything();
    let replay_to = |number: usize| {
        let mut replay = Replay::new(&mission.records);
        told[..number].iter().for_each(|(asked, _)| drop(replay.next(*asked).expect("the same again")));
        replay
    };
    let (read, edit) = (ToolName::new("Read"), ToolName::new("Edit"));
    for (number, other) in [
        (0, Asked::Call { tool: &edit, arguments: "{}" }),
        (0, Asked::Call { tool: &read, arguments: "{ }" }),
        (1, Asked::Call { tool: &read, arguments: "{}" }),
        (2, Asked::Call { tool: &edit, arguments: "" }),
        (3, Asked::Ask { question: "Which one" }),
        (7, Asked::Question(HostQuestion::Random)),
        (10, Asked::After { ms: 4 }),
        (11, Asked::Get { name: "note.md" }),
        (12, put("bade")),
        (13, Asked::Milestone { text: "half way." }),
        (14, Asked::Log { level: LogLevel::Warn, text: "line" }),
        (15, Asked::Judge { criterion: 0, verdict: Verdict::NotJudged, evidence: "seen" }),
        (15, Asked::Judge { criterion: 0, verdict: Verdict::Met, evidence: "" }),
        (16, Asked::Judge { criterion: 8, verdict: Verdict::Met, evidence: "seen" }),
        (17, put("Report.md")),
        (17, Asked::Put { name: "report.md", media_type: "text/plain", contents: memory("report.md") }),
        (17, Asked::Put { name: "report.md", media_type: "text/markdown", contents: memory("other") }),
        (17, Asked::Put { name: "report.md", media_type: "text/markdown", contents: Contents::File("report.md") }),
    ] {
        let diverged = replay_to(number).next(other);
        assert!(matches!(diverged, Err(Crash::Diverged { .. })), "{number}: {other}: {diverged:?}");
    }
}

#[test]
fn a_question_that_was_refused_is_refused_again_and_no_other_one() {
    let mut mission = running();
    let questions: Vec<String> = (0..=limit::CALLS_IN_FLIGHT_MAX).map(|number| format!("Which {number}?")).collect();
    for question in &questions {
        mission.take(Command::Ask { run: RUN, question: question.clone() }).expect("an answer");
    }
    let mut replay = Replay::new(&mission.records);
    let (last, held) = questions.split_last().expect("some");
    for question in held {
        assert!(matches!(replay.next(Asked::Ask { question }), Ok(Some(Recorded::Call { outcome: None, .. }))));
    }
    assert!(matches!(replay.next(Asked::Ask { question: "Which?" }), Err(Crash::Diverged { .. })));
    let refused = Some(Err(error_of(&mission.records, mission.mission.host_calls())));
    assert_eq!(replay.next(Asked::Ask { question: last }), Ok(Some(call(mission.mission.host_calls(), refused))));
}

#[test]
fn a_decision_that_came_while_nobody_listened_is_told() {
    let mut mission = running();
    let (_, request) = mission.asks("Which one?");
    mission.suspend(None).expect("it only waits");
    mission.decided(request, Decision::Answer { text: "B".to_owned() });
    mission.start().expect("its next run");
    let mut replay = Replay::new(&mission.records);
    let told = replay.next(Asked::Ask { question: "Which one?" });
    assert_eq!(told, Ok(Some(call(1, Some(answer("\"B\""))))));
}

#[test]
fn what_the_node_collected_is_no_call_of_the_plugin() {
    let mut mission = Tested::running(json!({
        "constraints": {"allowed_tools": ["Write"]},
        "artifact_policy": {"required_outputs": ["report.md"]},
    }));
    let write = mission.call(&the("Write"), 0).expect("granted");
    mission.done(write, &["report.md"], 0);
    mission.take(Command::CollectArtifact { artifact: artifact("report.md") }).expect("collected");
    let mut replay = Replay::new(&mission.records);
    let tool = ToolName::new("Write");
    let made = ToolAnswer { result: "null".to_owned(), wrote: vec![support::written("report.md", "report.md", None)] };
    let told = replay.next(Asked::Call { tool: &tool, arguments: "{}" });
    assert_eq!(told, Ok(Some(call(1, Some(Ok(made))))));
    assert!(replay.is_over());
}

#[test]
fn texts_are_compared_as_they_were_cut() {
    let long = "ä".repeat(limit::NOTE_BYTES_MAX);
    let mut mission = running();
    mission.take(milestone(&long)).expect("taken");
    mission.take(log(&long)).expect("taken");
    mission.take(Command::Ask { run: RUN, question: long.clone() }).expect("taken");
    let evidence = long.clone();
    mission.take(Command::Judge { run: RUN, criterion: 0, verdict: Verdict::Met, evidence }).expect("taken");
    let mut replay = Replay::new(&mission.records);
    for asked in [
        Asked::Milestone { text: &long },
        logged(&long),
        Asked::Ask { question: &long },
        Asked::Judge { criterion: 0, verdict: Verdict::Met, evidence: &long },
    ] {
        assert!(matches!(replay.next(asked), Ok(Some(_))), "{asked}");
    }
}

/// Puts a record into a mission that its decisions no longer make.
fn append(mission: &mut Tested, record: Record) {
    let stamped = Stamped { at: mission.now.wall, ran_ms: mission.now.ran_ms, record };
    mission.mission.apply(&stamped).expect("it may follow");
    mission.records.push(stamped);
}

#[test]
fn in_a_journal_of_the_first_format_a_run_begins_behind_the_interruption() {
    let mut mission = running();
    let read = mission.call(&the("Read"), 0).expect("granted");
    mission.done(read, &[], 0);
    mission.take(log("said once")).expect("taken");
    append(&mut mission, Record::Interrupted);
    mission.start().expect("again");
    let asked = |replay: &mut Replay| replay.next(Asked::Call { tool: &ToolName::new("Read"), arguments: "{}" });
    let mut replay = Replay::new(&mission.records);
    assert!(replay.is_over(), "nothing of the first run is part of the second");
    assert_eq!(asked(&mut replay), Ok(None));

    mission.call(&the("Read"), 0).expect("granted");
    let mut replay = Replay::new(&mission.records);
    assert_eq!(asked(&mut replay), Ok(Some(call(3, None))), "numbers go on; results of the first run do not");
    assert!(replay.is_over());
}

#[test]
fn notes_beyond_the_limit_are_in_no_record_and_stop_nobody() {
    let read = ToolName::new("Read");
    let asked = Asked::Call { tool: &read, arguments: "{}" };
    // In one run, or in two of the first format, which count together.
    for interrupted in [None, Some(limit::NOTES_MAX / 2)] {
        let mut mission = running();
        let mut kept = Vec::new();
        for number in 0..limit::NOTES_MAX {
            if interrupted == Some(number) {
                append(&mut mission, Record::Interrupted);
                mission.start().expect("again");
                kept.clear();
            }
            let (run, text) = (mission.run(), number.to_string());
            mission.take(Command::Log { run, level: LogLevel::Info, text: text.clone() }).expect("kept");
            kept.push(text);
        }
        let run = mission.run();
        let dropped = [
            Command::Milestone { run, text: "more".to_owned() },
            Command::Log { run, level: LogLevel::Info, text: "more".to_owned() },
            Command::Judge { run, criterion: 9, verdict: Verdict::Met, evidence: "seen".to_owned() },
        ];
        for command in dropped {
            assert_eq!(mission.take(command), Ok(Vec::new()));
        }
        mission.call(&the("Read"), 0).expect("granted");
        let judged_for_real = Command::Judge { run, criterion: 0, verdict: Verdict::Met, evidence: "seen".to_owned() };
        mission.take(judged_for_real).expect("taken");
        mission.call(&the("Read"), 0).expect("granted");

        let mut replay = Replay::new(&mission.records);
        for text in &kept {
            assert_eq!(replay.next(logged(text)), Ok(Some(Recorded::Noted)), "{text}");
        }
        for beyond in [Asked::Milestone { text: "more" }, logged("more"), judged(9)] {
            assert_eq!(replay.next(beyond), Ok(Some(Recorded::Noted)), "{beyond}");
        }
        assert!(matches!(replay.next(asked), Ok(Some(Recorded::Call { outcome: None, .. }))));
        assert_eq!(replay.next(judged(0)), Ok(Some(Recorded::Noted)));
        assert!(!replay.is_over());
        assert!(matches!(replay.next(asked), Ok(Some(Recorded::Call { outcome: None, .. }))));
        assert!(replay.is_over());
        assert_eq!(replay.next(logged("more")), Ok(None), "behind the record the core is asked, which keeps no more");
    }
}

#[test]
fn a_timer_and_the_time_are_told_with_the_time_at_which_they_were() {
    let mut mission = running();
    mission.pass(5).take(support::answer(RUN, HostQuestion::After, "1")).expect("taken");
    let Now { wall: at, ran_ms, .. } = mission.now;
    mission.pass(60);
    mission.crash();
    let mut replay = Replay::new(&mission.records);
    let told = replay.next(Asked::After { ms: 1 });
    assert_eq!(told, Ok(Some(Recorded::Answer { answer: "1".to_owned(), at, ran_ms })));
}

/// What is stored twice under a name is told twice, each as it was.
#[test]
fn artifacts_are_told_as_they_were_stored() {
    let mut mission = running();
    let first = artifact("report.md");
    let second = Artifact { bytes: 4, ..first.clone() };
    for artifact in [&first, &second] {
        mission.take(support::put(RUN, artifact.clone())).expect("there is room");
    }
    let mut replay = Replay::new(&mission.records);
    for artifact in [first, second] {
        assert_eq!(replay.next(put("report.md")), Ok(Some(Recorded::Stored(artifact))));
    }
}

/// Which file an artifact was read from is part of the asking; a record that says neither file nor memory takes any.
#[test]
fn a_file_is_known_again_by_its_path() {
    let of_file = |path| Asked::Put { name: "report.md", media_type: "text/markdown", contents: Contents::File(path) };
    let file = || ArtifactSource::File { path: "out/report.md".to_owned() };
    for (source, asked, same) in [
        (file(), of_file("out/report.md"), true),
        (file(), of_file("out/./report.md"), false),
        (file(), put("report.md"), false),
        (ArtifactSource::Memory, of_file("out/report.md"), false),
        (ArtifactSource::Unsaid, of_file("out/report.md"), true),
        (ArtifactSource::Unsaid, put("report.md"), true),
    ] {
        let mut mission = running();
        let artifact = artifact("report.md");
        let stored = Command::StoreArtifact { run: RUN, artifact: artifact.clone(), source: source.clone() };
        mission.take(stored).expect("there is room");
        let told = Replay::new(&mission.records).next(asked);
        assert_eq!(told.is_ok(), same, "{source:?} {asked}: {told:?}");
    }
}

/// Whoever waits for others than were waited for, or for the same in another order, would be told of another one.
#[test]
fn those_that_are_waited_for_are_known_again() {
    let calls = |numbers: &[u32]| -> Vec<Option<CallNo>> {
        numbers.iter().map(|number| (*number > 0).then_some(CallNo(*number))).collect()
    };
    // 0 stands for a timer; so many as in the last are told by a digest.
    let many: Vec<u32> = (1..=200).collect();
    let mut fewer = many.clone();
    fewer.pop();
    let mut turned = many.clone();
    turned.swap(7, 8);
    for (recorded, asked, same) in [
        (&[3, 5, 0][..], &[3, 5, 0][..], true),
        (&[3, 5, 0], &[5, 3, 0], false),
        (&[3, 5, 0], &[3, 5], false),
        (&[3, 5, 0], &[3, 5, 7], false),
        (&[3], &[35], false),
        (&many, &many, true),
        (&many, &fewer, false),
        (&many, &turned, false),
    ] {
        let mut mission = running();
        let about = Asked::WaitAny { among: &calls(recorded) }.about();
        assert!(about.len() < 120, "it is written each time: {about}");
        mission.take(support::answer_about(RUN, HostQuestion::WaitAny, &about, "0")).expect("taken");
        let among = calls(asked);
        let asked = Asked::WaitAny { among: &among };
        let told = Replay::new(&mission.records).next(asked);
        assert_eq!(told.is_ok(), same, "{about}: {asked}: {told:?}");
        if let Err(Crash::Diverged { recorded, attempted }) = told {
            assert!(recorded.contains(&about[..1]) && attempted.starts_with("waiting for any of"), "{recorded}");
        }
    }
}

/// Records before version 4 do not say which artifact was read, or could not be stored.
#[test]
fn an_old_record_takes_any_name() {
    let among = [Some(CallNo(1))];
    for (question, asked) in [
        (HostQuestion::ArtifactGet, Asked::Get { name: "a" }),
        (HostQuestion::ArtifactPut, put("b")),
        (HostQuestion::WaitAny, Asked::WaitAny { among: &among }),
    ] {
        let mut mission = running();
        mission.take(support::answer(RUN, question, "null")).expect("taken");
        assert!(matches!(Replay::new(&mission.records).next(asked), Ok(Some(Recorded::Answer { .. }))), "{asked}");
    }
}
