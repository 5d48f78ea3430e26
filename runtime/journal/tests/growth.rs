//! A journal whose old missions are removed does not grow for ever, and one that lost most of them becomes small again.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use std::fs;
use std::path::Path;

use sortie_contract::id::CallNo;
use sortie_contract::plugin::LogLevel;
use sortie_contract::{MissionNo, Record, Stamped, Status, Timestamp};
use sortie_journal::sim::sample_head;
use sortie_journal::{Append, Cursor, Head, Journal, Options};

/// A life of five frames: its envelope, three steps, its end. One in ten has a frame of 9 KB, one in a hundred one of 70 KB.
fn live(journal: &Journal, no: u64) {
    let record = |len: usize| {
        let text = char::from(b'a' + u8::try_from(no % 26).unwrap()).to_string().repeat(len);
        let record = Record::Logged { call: CallNo(0), level: LogLevel::Info, text };
        [Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: 0, record }]
    };
    let mission = MissionNo(no);
    let step = match no {
        _ if no.is_multiple_of(100) => 70_000,
        _ if no.is_multiple_of(10) => 9_000,
        _ => 300,
    };
    let head = sample_head(no);
    hand_over(journal, &Append::new(mission, 0, &record(1_400)).head(&head).cursor(&Cursor::default()));
    for (first, len) in [(1, 200), (2, step), (3, 200)] {
        hand_over(journal, &Append::new(mission, first, &record(len)));
    }
    let head = Head { status: Status::Completed, ended_at: Some(Timestamp::UNIX_EPOCH), ..head };
    hand_over(journal, &Append::new(mission, 4, &record(500)).head(&head).delivered());
}

/// Waits where the queue is full.
fn hand_over(journal: &Journal, append: &Append) {
    while journal.append(append.clone()).is_err() {
        settle(journal);
    }
}

fn remove(journal: &Journal, no: u64) {
    while journal.remove(MissionNo(no)).is_err() {
        settle(journal);
    }
}

fn settle(journal: &Journal) {
    while !journal.barrier().is_ok_and(|receipt| receipt.wait().is_ok()) {
        assert!(!journal.is_poisoned());
    }
}

/// One mission after the other up to `until`, of which `kept` stay, and the feed of as many. The node's own limits are in
/// missions and days; what matters here is that as much goes as comes.
fn live_on(journal: &Journal, missions: std::ops::RangeInclusive<u64>, kept: u64) {
    for no in missions {
        live(journal, no);
        if no > kept {
            remove(journal, no - kept);
        }
        if no.is_multiple_of(64) {
            // A commit a millisecond, rather than one for all.
            settle(journal);
            let position = *journal.durable().borrow();
            let _ = journal.prune_feed_before(position.saturating_sub(5 * kept));
        }
    }
    settle(journal);
}

fn len_of(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

fn assert_holds(journal: &Journal, missions: std::ops::RangeInclusive<u64>) {
    let mut found = Vec::new();
    journal.scan_oldest_first(|no, _| found.push(no.0)).unwrap();
    assert!(found.into_iter().eq(missions.clone()));
    for no in missions.step_by(7) {
        assert_eq!(journal.read(MissionNo(no)).unwrap().len(), 5);
    }
}

#[test]
fn a_journal_that_is_pruned_stays_as_large_as_it_was_when_it_was_full() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.redb");
    let kept = 400;
    let (mut journal, _) = Journal::open(&path, &Options::default()).unwrap();
    live_on(&journal, 1..=kept, kept);
    let full = len_of(&path);
    let mut high = 0;
    for round in 1..=8 {
        live_on(&journal, round * kept + 1..=(round + 1) * kept, kept);
        high = high.max(len_of(&path));
        if round == 4 {
            // A restart in the middle changes nothing.
            drop(journal);
            journal = Journal::open(&path, &Options::default()).unwrap().0;
        }
    }
    assert!(high <= 2 * full, "{full} bytes when it was full, {high} after eight times as many missions");
    assert_holds(&journal, 8 * kept + 1..=9 * kept);
    let feed = journal.feed_after(0, usize::MAX).unwrap();
    assert!(feed.len() as u64 <= 5 * (kept + 64), "{} entries of the feed are left", feed.len());
}

#[test]
fn a_journal_that_lost_most_of_its_missions_is_small_when_it_is_opened_again() {
    let options = |compact_bytes_min| Options { compact_bytes_min, ..Options::default() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.redb");
    let (journal, _) = Journal::open(&path, &options(0)).unwrap();
    live_on(&journal, 1..=600, 600);
    // Every tenth stays: what is left lies all over the file.
    (1..=600).filter(|no| no % 10 != 1).for_each(|no| remove(&journal, no));
    journal.close().unwrap();
    drop(journal);
    let full = len_of(&path);
    drop(Journal::open(&path, &options(u64::MAX)).unwrap());
    assert!(len_of(&path) > full / 2, "it was not to be made smaller");
    let too_much = Options { compact_used_bytes_max: full / 100, ..options(0) };
    let copy = dir.path().join("copy.redb");
    fs::copy(&path, &copy).unwrap();
    drop(Journal::open(&copy, &too_much).unwrap());
    assert!(len_of(&copy) > full / 2, "too much would have been moved");

    let (journal, opened) = Journal::open(&path, &options(full / 2)).unwrap();
    assert!(len_of(&path) < full / 3, "{} of {full} bytes are left", len_of(&path));
    assert_eq!(opened.last_no, MissionNo(600));
    let mut found = Vec::new();
    journal.scan_oldest_first(|no, _| found.push(no.0)).unwrap();
    assert!(found.into_iter().eq((1..=600).step_by(10)));
    live_on(&journal, 601..=601, 700);
    drop(journal);

    // Once is enough: the next opening finds nothing to do, and the mark is content.
    let small = len_of(&path);
    drop(Journal::open(&path, &options(0)).unwrap());
    assert!(len_of(&path) <= small);
}

/// The figures of docs/JOURNAL.md: `cargo test --release -p sortie-journal --test growth -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes and says something only of a release build on a quiet machine"]
#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn figures() {
    use std::time::Instant;
    let kept: u64 = std::env::var("KEPT").map_or(20_000, |kept| kept.parse().unwrap());
    let dir = tempfile::tempdir_in(".").unwrap();
    let path = dir.path().join("journal.redb");
    let (journal, _) = Journal::open(&path, &Options::default()).unwrap();
    let mib = |path: &Path| len_of(path) >> 20;
    for round in 0..8 {
        let started = Instant::now();
        live_on(&journal, round * kept + 1..=(round + 1) * kept, kept);
        println!("round {round}: {} MiB, {:.1} s", mib(&path), started.elapsed().as_secs_f64());
    }
    drop(journal);
    println!("closed: {} MiB", mib(&path));
    let (journal, _) = Journal::open(&path, &Options::default()).unwrap();
    let (first, last) = (7 * kept + 1, 8 * kept);
    for many in [1, 16, 256] {
        let started = Instant::now();
        (first + many..first + 2 * many).for_each(|no| remove(&journal, no));
        settle(&journal);
        println!("{many} removals: {:.2} ms", started.elapsed().as_secs_f64() * 1e3);
    }
    let started = Instant::now();
    (first..=last).filter(|no| no % 10 != 1).for_each(|no| remove(&journal, no));
    settle(&journal);
    println!("nine in ten of {kept} removed: {:.1} s, {} MiB", started.elapsed().as_secs_f64(), mib(&path));
    drop(journal);
    println!("closed: {} MiB", mib(&path));
    for _ in 0..2 {
        let started = Instant::now();
        let (journal, _) = Journal::open(&path, &Options { compact_bytes_min: 1, ..Options::default() }).unwrap();
        println!("opened: {:.2} s, {} MiB", started.elapsed().as_secs_f64(), mib(&path));
        drop(journal);
        println!("closed: {} MiB", mib(&path));
    }
}
