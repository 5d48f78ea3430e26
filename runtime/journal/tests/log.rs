//! Each log passes the suite that every log must pass.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod log_suite;

use log_suite::{agrees_with_the_model, fleet, laws};
use sortie_contract::MissionNo;
use sortie_journal::sim::SimDisk;
use sortie_journal::{Admitted, EmbeddedLog, Journal, Log, MemoryLog, Options};

fn embedded() -> Box<dyn Log> {
    let (journal, opened) = Journal::open_backend(SimDisk::default(), &Options::default()).unwrap();
    Box::new(EmbeddedLog::new(journal, &opened, |_, _| ()).unwrap())
}

fn memory() -> Box<dyn Log> {
    Box::new(MemoryLog::default())
}

#[test]
fn the_embedded_log_obeys_the_laws() {
    laws(&embedded);
}

#[test]
fn the_log_in_memory_obeys_the_laws() {
    laws(&memory);
}

#[test]
fn logs_in_memory_of_one_store_obey_the_laws() {
    fleet::laws(&|| Box::new(fleet::Memory::new()));
    for seed in 0..40 {
        fleet::history(&fleet::Memory::new(), (3, true), seed, 120);
    }
}

#[test]
fn the_embedded_log_is_the_model() {
    for seed in 0..60 {
        agrees_with_the_model(&embedded, seed, 90);
    }
}

#[test]
fn a_twin_waits_for_the_disk_and_no_longer() {
    let (journal, opened, stepper) = Journal::open_backend_stepped(SimDisk::default(), &Options::default()).unwrap();
    let log = EmbeddedLog::new(journal, &opened, |_, _| ()).unwrap();
    let first = log_suite::plain(1).ask(&log, true);
    assert!(matches!(first, (Some(_), Admitted::Accepted { no: MissionNo(1), .. })));
    let (decided, Admitted::OnItsWay(receipt)) = log_suite::plain(1).ask(&log, true) else { panic!("answered early") };
    assert_eq!((decided, log.head(MissionNo(1)).unwrap()), (None, None));
    stepper.commit(usize::MAX).unwrap();
    receipt.wait().unwrap();
    let (known, Admitted::Answered) = log_suite::plain(1).ask(&log, true) else { panic!("not answered") };
    assert_eq!(known.unwrap().twin.unwrap().no, MissionNo(1));
}

#[test]
fn a_lease_of_an_earlier_opening_is_older_than_each_of_this_one() {
    let disk = SimDisk::default();
    let mut last = None;
    for name in 1..=4 {
        let (journal, opened) = Journal::open_backend(disk.clone(), &Options::default()).unwrap();
        let log = EmbeddedLog::new(journal, &opened, |_, _| ()).unwrap();
        let leases: Vec<u64> = (0..3).map(|_| log.lease(MissionNo(1)).unwrap().0.token).collect();
        assert!(leases.is_sorted() && Some(leases[0]) > last, "{leases:?} after {last:?}");
        last = leases.last().copied();
        let (_, Admitted::Accepted { receipt, .. }) = log_suite::plain(name).ask(&log, true) else { panic!("taken") };
        receipt.wait().unwrap();
    }
}

#[test]
fn of_what_people_did_the_newest_are_kept_and_outlive_their_node() {
    let (disk, most) = (SimDisk::default(), sortie_journal::ACTIONS_MAX);
    let open = || {
        let (journal, opened) = Journal::open_backend(disk.clone(), &Options::default()).unwrap();
        EmbeddedLog::new(journal, &opened, |_, _| ()).unwrap()
    };
    let (log, model) = (open(), MemoryLog::default());
    for no in 1..=most + 3 {
        drop(model.act(no.to_string()).unwrap());
        let receipt = log.act(no.to_string()).unwrap();
        if no % 500 == 0 || no > most {
            receipt.wait().unwrap();
        }
    }
    let kept = log.actions(None, usize::MAX).unwrap();
    assert_eq!(kept, model.actions(None, usize::MAX).unwrap());
    assert_eq!((kept.len() as u64, kept.last().map(|(no, _)| *no), kept[0].0), (most, Some(4), most + 3));
    assert!(kept.iter().all(|(no, text)| no.to_string() == *text), "each under its own number");
    drop(log);
    assert_eq!(open().actions(None, usize::MAX).unwrap(), kept);
}

#[test]
fn an_opened_log_knows_what_the_one_before_knew() {
    let disk = SimDisk::default();
    let model = MemoryLog::default();
    for round in 0..4 {
        let (journal, opened) = Journal::open_backend(disk.clone(), &Options::default()).unwrap();
        let mut shown = 0;
        let log = EmbeddedLog::new(journal, &opened, |_, _| shown += 1).unwrap();
        assert_eq!(shown, model.heads_newest_first(None, 1_000).unwrap().len());
        log_suite::history(&log, &model, round, 40);
        assert_eq!(log.actions(None, 999).unwrap(), model.actions(None, 999).unwrap());
        assert_eq!(log.actions(Some(3), 1).unwrap(), model.actions(Some(3), 1).unwrap());
    }
}
