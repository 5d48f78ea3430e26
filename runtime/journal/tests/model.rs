//! Random appends, in random groups, with the journal closed and opened in between, against the naive model.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use std::ops::ControlFlow;

use common::{CursorStep, Model, Step};
use proptest::prelude::*;
use sortie_contract::{MissionNo, Status};
use sortie_journal::sim::{Crash, SimDisk};
use sortie_journal::{Journal, Options};

#[derive(Debug, Clone)]
enum Action {
    Append(Step),
    Wait,
    Reopen,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![8 => 0..300_usize, 1 => 3_000..9_000_usize];
    let records = prop::collection::vec(size, 0..5);
    let head = prop::option::of(prop::sample::select(Status::ALL.to_vec()));
    let cursor = prop_oneof![
        2 => Just(None),
        2 => (0..1_000_u64).prop_map(|acked| Some(CursorStep::Acked(acked))),
        1 => Just(Some(CursorStep::Delivered)),
    ];
    (1..12_u64, records, head, cursor).prop_map(|(mission, records, head, cursor)| Step {
        mission,
        records,
        head,
        cursor,
    })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        30 => step().prop_map(Action::Append),
        5 => Just(Action::Wait),
        1 => Just(Action::Reopen),
        1 => Just(Action::Crash),
    ]
}

fn open(disk: &SimDisk) -> Journal {
    Journal::open_backend(disk.clone(), &Options { cache_bytes: 1 << 20, ..Options::default() }).unwrap().0
}

fn check_reads(journal: &Journal, model: &Model, at: u32) {
    assert_eq!(&Model::of(journal), model);
    for (mission, records) in &model.records {
        let no = MissionNo(*mission);
        let from = (at as usize).min(records.len());
        assert_eq!(journal.read_from(no, at).unwrap(), records[from..], "from {at}");
        assert_eq!(journal.head(no).unwrap().as_ref(), model.heads.get(mission));
        assert_eq!(journal.cursor(no).unwrap().as_ref(), model.cursors.get(mission));
    }
    assert_eq!(journal.read(MissionNo(99)).unwrap(), []);
    check_pages(journal, model);
    let limit = at as usize + 1;
    let mut seen = 0;
    while let Some(last) = journal.feed_after(seen, limit).unwrap().last() {
        assert!(last.position > seen && last.position <= seen + limit as u64);
        seen = last.position;
    }
    assert_eq!(seen, model.feed.len() as u64);
}

fn check_pages(journal: &Journal, model: &Model) {
    let mut shown = Vec::new();
    let mut before = None;
    loop {
        let page = journal.heads_newest_first(before, 3).unwrap();
        assert!(page.len() <= 3);
        let Some((last, _)) = page.last() else { break };
        before = Some(*last);
        shown.extend(page.into_iter().map(|(no, head)| (no.0, head)));
    }
    assert_eq!(shown, model.heads.clone().into_iter().rev().collect::<Vec<_>>());
    let mut oldest = Vec::new();
    journal.scan_oldest_first(|no, head| oldest.push((no.0, head))).unwrap();
    shown.reverse();
    assert_eq!(oldest, shown);
    let mut first = None;
    let stop = |no, _| {
        first = Some(no);
        ControlFlow::Break(())
    };
    journal.scan_newest_first(None, stop).unwrap();
    assert_eq!(first.map(|no: MissionNo| no.0), model.heads.keys().next_back().copied());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_is_the_model(actions in prop::collection::vec(action(), 1..120), at in 0..9_u32) {
        let mut disk = SimDisk::default();
        let mut journal = open(&disk);
        let mut model = Model::default();
        for action in &actions {
            match action {
                Action::Append(step) => journal.append(model.apply(step)).unwrap(),
                Action::Wait => {
                    let position = journal.barrier().unwrap().wait().unwrap();
                    prop_assert_eq!(position, model.feed.len() as u64);
                }
                Action::Reopen => {
                    drop(journal);
                    journal = open(&disk);
                }
                Action::Crash => {
                    journal.barrier().unwrap().wait().unwrap();
                    disk = disk.after_crash(Crash::PowerKeepsNothing);
                    journal = open(&disk);
                }
            }
        }
        journal.barrier().unwrap().wait().unwrap();
        check_reads(&journal, &model, at);
    }
}
