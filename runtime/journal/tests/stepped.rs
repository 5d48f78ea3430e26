//! A journal without a thread: nothing is written but by its stepper, and what is written is what the thread would write.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use common::{Model, Step};
use sortie_journal::sim::{Crash, SimDisk};
use sortie_journal::{Journal, Opened, Options, Stepper, WriteError};

fn open(disk: &SimDisk) -> (Journal, Opened, Stepper) {
    Journal::open_backend_stepped(disk.clone(), &Options::default()).unwrap()
}

#[test]
fn nothing_is_written_but_by_a_step_of_the_size_that_was_asked_for() {
    let disk = SimDisk::default();
    let (journal, _, stepper) = open(&disk);
    let ops = disk.ops();
    let mut model = Model::default();
    let receipts: Vec<_> =
        (1..=5).map(|no| journal.append_durable(model.apply(&Step::dispatch(no))).unwrap()).collect();
    assert_eq!((disk.ops(), *journal.durable().borrow(), stepper.queued()), (ops, 0, 5));
    for (bound, position, left) in [(2, 2, 3), (0, 2, 3), (1, 3, 2), (99, 5, 0)] {
        assert_eq!(stepper.commit(bound), Ok(bound > 0));
        assert_eq!((*journal.durable().borrow(), stepper.queued()), (position, left), "a bound of {bound}");
    }
    assert_eq!(stepper.commit(99), Ok(false));
    let positions: Vec<_> = receipts.into_iter().map(|receipt| receipt.wait().unwrap()).collect();
    assert_eq!(positions, [2, 2, 3, 5, 5]);
    assert_eq!(Model::of(&journal), model);
}

#[test]
fn without_its_stepper_a_journal_is_as_after_a_crash() {
    let disk = SimDisk::default();
    let (journal, _, stepper) = open(&disk);
    let mut model = Model::default();
    journal.append(model.apply(&Step::dispatch(1))).unwrap();
    stepper.commit(1).unwrap();
    let receipt = journal.append_durable(Model::default().apply(&Step::dispatch(2))).unwrap();
    drop(stepper);
    assert_eq!(receipt.wait(), Err(WriteError::Closed));
    assert_eq!(journal.append(Model::default().apply(&Step::dispatch(3))), Err(WriteError::Closed));
    drop(journal);
    for crash in [Crash::Process, Crash::PowerKeepsNothing] {
        let (journal, opened, _stepper) = open(&disk.after_crash(crash));
        assert_eq!((Model::of(&journal), opened.position), (model.clone(), 1));
    }
}

#[test]
fn closing_writes_what_was_handed_over_and_takes_the_stepper_its_work() {
    let disk = SimDisk::default();
    let (journal, _, stepper) = open(&disk);
    let mut model = Model::default();
    journal.append(model.apply(&Step::dispatch(1))).unwrap();
    journal.close().unwrap();
    assert_eq!((stepper.commit(1), stepper.queued()), (Err(WriteError::Closed), 0));
    assert_eq!(Model::of(&journal), model);
}

#[test]
fn a_step_that_fails_says_so_and_so_does_every_later_one() {
    let disk = SimDisk::default();
    let (journal, _, stepper) = open(&disk);
    disk.fail_at(0);
    let receipt = journal.append_durable(Model::default().apply(&Step::dispatch(1))).unwrap();
    let error = stepper.commit(9).unwrap_err();
    assert_eq!((receipt.wait(), stepper.commit(9), journal.is_poisoned()), (Err(error.clone()), Err(error), true));
}
