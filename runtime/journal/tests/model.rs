//! Random appends, in random groups, with the journal closed and opened in between, against the naive model.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use std::ops::ControlFlow;

use common::{CursorStep, Deed, Model, Step};
use proptest::prelude::*;
use sortie_contract::{MissionNo, Status};
use sortie_journal::sim::{Crash, SimDisk};
use sortie_journal::{Journal, Opened, Options};

#[derive(Debug, Clone)]
enum Action {
    Do(Deed),
    Wait,
    Reopen,
    Crash,
}

impl Action {
    /// The mission that it names, or 0.
    fn mission(&self) -> u64 {
        match self {
            Self::Do(Deed::Append(Step { mission, .. }) | Deed::Remove(mission)) => *mission,
            _ => 0,
        }
    }
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
        30 => step().prop_map(|step| Action::Do(Deed::Append(step))),
        4 => (1..12_u64).prop_map(|mission| Action::Do(Deed::Remove(mission))),
        2 => (0..20_u64).prop_map(|behind| Action::Do(Deed::PruneFeed { behind })),
        5 => Just(Action::Wait),
        1 => Just(Action::Reopen),
        1 => Just(Action::Crash),
    ]
}

/// Compacts whenever there is something to gain.
fn open(disk: &SimDisk) -> (Journal, Opened) {
    let options = Options { cache_bytes: 1 << 20, compact_bytes_min: 0, ..Options::default() };
    Journal::open_backend(disk.clone(), &options).unwrap()
}

fn check_reads(journal: &Journal, model: &Model, at: u32) {
    assert_eq!(&Model::of(journal), model);
    for (mission, records) in &model.records {
        let no = MissionNo(*mission);
        let from = (at as usize).min(records.len());
        assert_eq!(journal.read_from(no, at).unwrap(), records[from..], "from {at}");
        for bytes_max in [0, 700, usize::MAX] {
            let mut read = Vec::new();
            loop {
                let next = at + u32::try_from(read.len()).unwrap();
                let page = journal.read_some(no, next, bytes_max).unwrap();
                if page.is_empty() {
                    break;
                }
                read.extend(page);
            }
            assert_eq!(read, records[from..], "from {at}, {bytes_max} bytes a page");
        }
        assert_eq!(journal.head(no).unwrap().as_ref(), model.heads.get(mission));
        assert_eq!(journal.cursor(no).unwrap().as_ref(), model.cursors.get(mission));
    }
    assert_eq!(journal.read(MissionNo(99)).unwrap(), []);
    check_pages(journal, model);
    let limit = at as usize + 1;
    assert_eq!(journal.feed_begin().unwrap(), model.feed_begin());
    let mut seen = 0;
    while let Some(last) = journal.feed_after(seen, limit).unwrap().last() {
        seen = seen.max(model.feed_begin() - 1);
        assert!(last.position > seen && last.position <= seen + limit as u64);
        seen = last.position;
    }
    assert_eq!(seen, if model.feed.is_empty() { 0 } else { model.position });
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
        let mut journal = open(&disk).0;
        let mut last_no = 0;
        let mut model = Model::default();
        for action in &actions {
            last_no = last_no.max(action.mission());
            match action {
                Action::Do(deed) => model.act(deed, &journal).unwrap(),
                Action::Wait => {
                    let position = journal.barrier().unwrap().wait().unwrap();
                    prop_assert_eq!(position, model.position);
                }
                Action::Reopen => {
                    drop(journal);
                    let opened;
                    (journal, opened) = open(&disk);
                    prop_assert_eq!((opened.last_no.0, opened.position), (last_no, model.position));
                }
                Action::Crash => {
                    journal.barrier().unwrap().wait().unwrap();
                    disk = disk.after_crash(Crash::PowerKeepsNothing);
                    let opened;
                    (journal, opened) = open(&disk);
                    prop_assert_eq!((opened.last_no.0, opened.position), (last_no, model.position));
                }
            }
        }
        journal.barrier().unwrap().wait().unwrap();
        check_reads(&journal, &model, at);
    }
}
