//! A scripted workload is crashed at every operation of its disk. What was acknowledged must be there, nothing half, in order.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use common::{CursorStep, Deed, Model, Step};
use sortie_contract::Status;
use sortie_journal::sim::{Crash, SimDisk};
use sortie_journal::{Journal, Options};

/// Dispatches and the life of their missions: small and large frames, heads that change, cursors that come and go, until
/// they are removed, the newest of all included, and the feed is pruned.
fn script() -> Vec<Deed> {
    let mut deeds = Vec::new();
    for round in 0..2 {
        let mut step = |step| deeds.push(Deed::Append(step));
        for mission in 1..=5 {
            step(Step::dispatch(5 * round + mission));
        }
        for mission in 1..=5 {
            let mission = 5 * round + mission;
            step(Step { mission, records: vec![10, 300], head: Some(Status::Running), cursor: None });
            let cursor = Some(CursorStep::Acked(mission));
            step(Step { mission, records: vec![], head: None, cursor });
        }
        for records in [vec![20_000], vec![40; 30], vec![9_000; 3]] {
            step(Step { mission: 5 * round + 2, records, head: None, cursor: None });
        }
        let (head, cursor) = (Some(Status::Completed), Some(CursorStep::Delivered));
        step(Step { mission: 5 * round + 1, records: vec![40; 30], head, cursor });
        deeds.extend([2, 1, 5].map(|mission| Deed::Remove(5 * round + mission)));
        deeds.push(Deed::PruneFeed { behind: 6 });
    }
    deeds
}

/// Compacts whenever there is something to gain.
fn options() -> Options {
    Options { cache_bytes: 1 << 20, compact_bytes_min: 0, ..Options::default() }
}

/// The states that the journal may be found in: that after each deed, from 0 on.
fn states(script: &[Deed]) -> Vec<Model> {
    let mut states = vec![Model::default()];
    for deed in script {
        let mut next = states[states.len() - 1].clone();
        next.imagine(deed);
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

/// Runs the script until the disk fails. Every third deed is waited for. Returns how many were acknowledged.
fn run(disk: &SimDisk, script: &[Deed]) -> usize {
    let mut acknowledged = 0;
    let Ok((journal, _)) = Journal::open_backend(disk.clone(), &options()) else { return acknowledged };
    let mut model = Model::default();
    for (deed, number) in script.iter().zip(1..) {
        let waited = number % 3 == 0 || number == script.len();
        let outcome = model.act(deed, &journal).and_then(|()| match waited {
            true => journal.barrier()?.wait().map(drop),
            false => Ok(()),
        });
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
    let context = format!("{context}, {crash:?}, {acknowledged} deeds acknowledged");
    let (journal, opened) =
        Journal::open_backend(found.clone(), &options()).unwrap_or_else(|error| panic!("{context}: {error}"));
    let state = Model::of(&journal);
    assert!(
        states[acknowledged..].contains(&state),
        "{context}: not a state of the script, or one that lost something"
    );
    assert_eq!(opened.position, state.position, "{context}");
    assert_eq!(opened.undelivered.len(), state.cursors.len(), "{context}");
    // Those that were removed since count.
    let seen = states.iter().take_while(|earlier| **earlier != state).chain([&state]);
    let last_no = seen.filter_map(|state| state.heads.keys().next_back()).max().copied().unwrap_or(0);
    assert_eq!(opened.last_no.0, last_no, "{context}");

    // What was found stays, and the journal goes on.
    let mut expected = state;
    expected.act(&Deed::Append(Step::dispatch(99)), &journal).unwrap();
    expected.act(&Deed::Remove(4), &journal).unwrap();
    journal.close().unwrap();
    drop(journal);
    let (journal, _) = Journal::open_backend(found, &options()).unwrap();
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

/// The disk of a process that removed most of what it had, and was killed.
fn mostly_free() -> (SimDisk, Model) {
    let disk = made();
    let (journal, _) =
        Journal::open_backend(disk.clone(), &Options { compact_bytes_min: u64::MAX, ..options() }).unwrap();
    let mut model = Model::default();
    for mission in 1..=60 {
        let records = vec![3_000 + usize::try_from(mission).unwrap() * 50; 3];
        let step = Step { records, ..Step::dispatch(mission) };
        model.act(&Deed::Append(step), &journal).unwrap();
        journal.barrier().unwrap().wait().unwrap();
    }
    for mission in (1..=60).filter(|mission| mission % 7 != 0) {
        model.act(&Deed::Remove(mission), &journal).unwrap();
    }
    journal.barrier().unwrap().wait().unwrap();
    (disk.after_crash(Crash::Process), model)
}

#[test]
fn no_crash_while_a_file_is_made_smaller_loses_anything() {
    let (full, model) = mostly_free();
    let before = full.bytes();
    for op in 0.. {
        let disk = full.after_crash(Crash::Process);
        disk.fail_at(op);
        let opened = Journal::open_backend(disk.clone(), &options());
        if disk.ops() <= op {
            drop(opened.unwrap());
            assert!(op > 10, "the disk failed at no more than {op} places: that is too few to be true");
            assert!(disk.bytes() < before / 2, "{} of {before} bytes are left", disk.bytes());
            break;
        }
        drop(opened);
        for crash in [Crash::Process, Crash::PowerKeepsNothing, Crash::Power { seed: op }] {
            let found = disk.after_crash(crash);
            let (journal, opened) = Journal::open_backend(found, &options())
                .unwrap_or_else(|error| panic!("failure of operation {op}, {crash:?}: {error}"));
            assert_eq!(Model::of(&journal), model, "failure of operation {op}, {crash:?}");
            assert_eq!(opened.last_no.0, 60);
        }
    }
}
