//! After a failed write nothing more is taken, and everybody is told why.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use common::{Model, Step};
use sortie_contract::{MissionNo, Record, Stamped, Status, Timestamp};
use sortie_journal::sim::{SimDisk, sample_head};
use sortie_journal::{Append, Head, Journal, Options, WriteError};

fn durable(journal: &Journal, mission: u64) -> Result<u64, WriteError> {
    journal.append_durable(Model::default().apply(&Step::dispatch(mission)))?.wait()
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_taken() {
    let disk = SimDisk::default();
    let (journal, _) = Journal::open_backend(disk.clone(), &Options::default()).unwrap();
    assert_eq!(durable_async(&journal, 1).await, Ok(1));
    assert!(!journal.is_poisoned());
    disk.fail_at(0);
    let refused = durable_async(&journal, 2).await.unwrap_err();
    assert!(
        matches!(&refused, WriteError::Poisoned { why } if why.contains("the simulated disk is gone")),
        "{refused}"
    );
    assert_eq!(journal.failed().await, refused);
    assert!(journal.is_poisoned());
    assert_eq!(*journal.durable().borrow(), 1);
    assert_eq!(durable_async(&journal, 3).await, Err(refused.clone()));
    assert_eq!(journal.append(Model::default().apply(&Step::dispatch(4))), Err(refused.clone()));
    assert_eq!(journal.barrier().map(drop), Err(refused.clone()));
    assert_eq!(journal.close(), Err(refused));
}

async fn durable_async(journal: &Journal, mission: u64) -> Result<u64, WriteError> {
    journal.append_durable(Model::default().apply(&Step::dispatch(mission)))?.await
}

#[test]
fn a_full_disk_is_named() {
    let disk = SimDisk::default();
    let (journal, _) = Journal::open_backend(disk.clone(), &Options::default()).unwrap();
    disk.fills_at(1 << 20);
    let error = (1..10_000).find_map(|mission| durable(&journal, mission).err()).unwrap();
    assert!(error.to_string().contains("the disk is full"), "{error}");
}

#[test]
fn an_append_that_is_not_the_next_is_told_so_and_harms_nobody_else() {
    let disk = SimDisk::default();
    for remembered in [true, false] {
        // From the writer's memory, and from the disk after it was opened again.
        let (journal, opened, stepper) = Journal::open_backend_stepped(disk.clone(), &Options::default()).unwrap();
        let mut model = Model::of(&journal);
        if remembered {
            journal.append(model.apply(&Step::dispatch(1))).unwrap();
            stepper.commit(1).unwrap();
        }
        let new = opened.last_no.0 + 2;
        let at = |first: u32, mission: u64| {
            let record = Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: 0, record: Record::Heartbeat };
            let head = Head { status: Status::Failed, ..sample_head(mission) };
            Append::new(MissionNo(mission), first, &[record]).head(&head)
        };
        // A duplicate, a stale one, one from the future; twice of a new mission, in the same commit as others' appends.
        let expected = u32::try_from(model.records[&1].len()).unwrap();
        let refused = [(0, 1, expected), (expected + 1, 1, expected), (9, new + 7, 0)];
        let mut receipts = Vec::new();
        for (first, mission, expected) in refused {
            let receipt = journal.append_durable(at(first, mission)).unwrap();
            receipts.push((receipt, WriteError::Conflict { mission: MissionNo(mission), first, expected }));
        }
        let dispatch = Step::dispatch(new);
        let taken = journal.append_durable(model.apply(&dispatch)).unwrap();
        let twice = journal.append_durable(Model::default().apply(&dispatch)).unwrap();
        receipts.push((twice, WriteError::Conflict { mission: MissionNo(new), first: 0, expected: 1 }));
        let next = Step { mission: 1, records: vec![10, 10], head: None, cursor: None };
        let also = journal.append_durable(model.apply(&next)).unwrap();
        assert_eq!(stepper.commit(usize::MAX), Ok(true));
        for (receipt, error) in receipts {
            assert_eq!(receipt.wait(), Err(error));
        }
        assert_eq!((taken.wait(), also.wait()), (Ok(model.position), Ok(model.position)));
        assert!(!journal.is_poisoned());
        assert_eq!(Model::of(&journal), model, "nothing of what was refused is there");
    }
}

#[test]
fn a_closed_journal_keeps_what_it_took_and_takes_no_more() {
    let disk = SimDisk::default();
    let (journal, _) = Journal::open_backend(disk.clone(), &Options::default()).unwrap();
    let mut model = Model::default();
    for mission in 1..=50 {
        journal.append(model.apply(&Step::dispatch(mission))).unwrap();
    }
    journal.close().unwrap();
    assert_eq!(durable(&journal, 51), Err(WriteError::Closed));
    assert_eq!(Model::of(&journal), model);
    drop(journal);
    let (journal, _) = Journal::open_backend(disk, &Options::default()).unwrap();
    assert_eq!(Model::of(&journal), model);
}

#[test]
fn a_full_queue_refuses_and_loses_nothing() {
    let options = Options { queue_appends_max: 4, queue_bytes_max: 1 << 20, ..Options::default() };
    let (journal, _) = Journal::open_backend(SimDisk::default(), &options).unwrap();
    let mut model = Model::default();
    let mut refused = 0;
    for mission in 1..=2_000 {
        let before = model.clone();
        match journal.append(model.apply(&Step::dispatch(mission))) {
            Ok(()) => {}
            Err(WriteError::Overloaded) => {
                model = before;
                refused += 1;
                // The barrier may find the queue full as well; then the next round finds room.
                let _ = journal.barrier().map(sortie_journal::Receipt::wait);
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0, "the writer is faster than this test: the queue never filled");
    journal.close().unwrap();
    assert_eq!(Model::of(&journal), model);
}
