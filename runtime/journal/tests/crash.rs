//! A scripted workload is crashed at every operation of its disk. What was acknowledged must be there, nothing half, in order.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use common::{CursorStep, Model, Step};
use sortie_contract::Status;
use sortie_journal::sim::{Crash, SimDisk};
use sortie_journal::{Journal, Options};

/// Dispatches and the life of their missions: small and large frames, heads that change, cursors that come and go.
fn script() -> Vec<Step> {
    let mut steps = Vec::new();
    for round in 0..2 {
        for mission in 1..=5 {
            steps.push(Step::dispatch(5 * round + mission));
        }
        for mission in 1..=5 {
            let mission = 5 * round + mission;
            steps.push(Step { mission, records: vec![10, 300], head: Some(Status::Running), cursor: None });
            let cursor = Some(CursorStep::Acked(mission));
            steps.push(Step { mission, records: vec![], head: None, cursor });
        }
        steps.push(Step { mission: 5 * round + 2, records: vec![20_000], head: None, cursor: None });
        let (head, cursor) = (Some(Status::Completed), Some(CursorStep::Delivered));
        steps.push(Step { mission: 5 * round + 1, records: vec![40; 30], head, cursor });
    }
    steps
}

fn options() -> Options {
    Options { cache_bytes: 1 << 20, ..Options::default() }
}

/// The states that the journal may be found in: that after each step, from 0 on.
fn states(script: &[Step]) -> Vec<Model> {
    let mut states = vec![Model::default()];
    for step in script {
        let mut next = states[states.len() - 1].clone();
        let _ = next.apply(step);
        states.push(next);
    }
    states
}

/// A disk with an empty journal. (Making one is not crashed here: a file becomes the journal when it is whole.)
fn made() -> SimDisk {
    let disk = SimDisk::default();
    drop(Journal::open_backend(disk.clone(), &options()).unwrap());
    disk.after_crash(Crash::Process)
}

/// Runs the script until the disk fails. Every third step is waited for. Returns how many steps were acknowledged.
fn run(disk: &SimDisk, script: &[Step]) -> usize {
    let mut acknowledged = 0;
    let Ok((journal, _)) = Journal::open_backend(disk.clone(), &options()) else { return acknowledged };
    let mut model = Model::default();
    for (step, number) in script.iter().zip(1..) {
        let append = model.apply(step);
        let waited = number % 3 == 0 || number == script.len();
        let outcome = if waited {
            journal.append_durable(append).and_then(|receipt| receipt.wait().map(drop))
        } else {
            journal.append(append)
        };
        match outcome {
            Ok(()) if waited => acknowledged = number,
            Ok(()) => {}
            Err(_) => break,
        }
    }
    acknowledged
}

fn check(disk: &SimDisk, crash: Crash, states: &[Model], acknowledged: usize, context: &str) {
    let found = disk.after_crash(crash);
    let context = format!("{context}, {crash:?}, {acknowledged} steps acknowledged");
    let (journal, opened) =
        Journal::open_backend(found.clone(), &options()).unwrap_or_else(|error| panic!("{context}: {error}"));
    let state = Model::of(&journal);
    assert!(
        states[acknowledged..].contains(&state),
        "{context}: not a state of the script, or one that lost something"
    );
    assert_eq!(opened.position, state.feed.len() as u64, "{context}");
    assert_eq!(opened.undelivered.len(), state.cursors.len(), "{context}");
    assert_eq!(opened.last_no.0, state.heads.keys().next_back().copied().unwrap_or(0), "{context}");

    // What was found stays, and the journal goes on.
    journal.append_durable(Model::default().apply(&Step::dispatch(1_000))).unwrap().wait().unwrap();
    drop(journal);
    let (journal, _) = Journal::open_backend(found, &options()).unwrap();
    let mut expected = state;
    let _ = expected.apply(&Step::dispatch(1_000));
    assert_eq!(Model::of(&journal), expected, "{context}: after going on");
}

#[test]
fn no_crash_loses_or_halves_anything() {
    let script = script();
    let states = states(&script);
    let disk = made();
    assert_eq!(run(&disk, &script), script.len());
    check(&disk, Crash::PowerKeepsNothing, &states, script.len(), "no failure");

    // How the steps share commits differs from run to run, and with it the number of operations: go on until one run
    // came through.
    for op in 0.. {
        let disk = made();
        disk.fail_at(op);
        let acknowledged = run(&disk, &script);
        if disk.ops() <= op {
            assert!(op > 100, "the disk failed at no more than {op} places: that is too few to be true");
            break;
        }
        let context = format!("failure of operation {op}");
        let whole = if op % 2 == 0 { Crash::Process } else { Crash::PowerKeepsNothing };
        for crash in [whole, Crash::Power { seed: op }] {
            check(&disk, crash, &states, acknowledged, &context);
        }
    }
}
