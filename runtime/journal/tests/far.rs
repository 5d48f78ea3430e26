//! A log that is far from its store keeps what a log promises, whatever becomes of what it sends.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

#[expect(dead_code, reason = "the whole suite is for logs that write by themselves")]
mod log_suite;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use sortie_contract::MissionNo;
use sortie_journal::sim::Fate::{self, Collides, Comes, ComesUnheard, IsLost};
use sortie_journal::sim::Went::{self, Again, Astray, FoundMissing, FoundThere, On};
use sortie_journal::sim::{FarLink, FarLog, Road};
use sortie_journal::{Admitted, Fleet as _, Log as _, MemoryFleet, WriteError};

const LEASE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Open;

impl Road for Open {
    fn passes(&self) -> BoxFuture<'static, bool> {
        ready(true).boxed()
    }
}

fn open(store: &MemoryFleet, node: &str) -> (FarLog, FarLink) {
    store.open_far(node, 100, Arc::new(Open), &mut |_, _| ())
}

/// Hands a mission over; what tells that it is accepted.
fn dispatch(log: &FarLog, name: u64) -> sortie_journal::Receipt {
    let (_, Admitted::Accepted { receipt, .. }) = log_suite::plain(name).ask(log, true) else { panic!("not taken") };
    receipt
}

fn is_there(store: &MemoryFleet, no: MissionNo) -> bool {
    store.logs().iter().any(|log| log.head(no).unwrap().is_some())
}

#[test]
fn whatever_becomes_of_a_commit_it_is_written_once_and_told_once_it_is_known() {
    let of = |fates: &[Fate]| {
        let store = MemoryFleet::new(LEASE);
        let (log, link) = open(&store, "a");
        let mut receipt = dispatch(&log, 1);
        assert_eq!(link.step(usize::MAX, Comes), On, "it is sent");
        let went: Vec<Went> = fates.iter().map(|fate| link.step(usize::MAX, *fate)).collect();
        let no = log.find(&log_suite::plain(1).names().0).unwrap().map(|twin| twin.no);
        assert_eq!(no.is_some_and(|no| is_there(&store, no)), no.is_some());
        (went, (&mut receipt).now_or_never().map(|told| told.is_ok()), no.is_some(), log.is_away())
    };
    for (fates, expected) in [
        (vec![Comes], (vec![On], None, true, false)),
        (vec![Comes, Comes], (vec![On, On], Some(true), true, false)),
        (vec![Collides, Comes, Comes], (vec![Again, On, On], Some(true), true, false)),
        (vec![IsLost], (vec![Astray], None, false, false)),
        (vec![IsLost, IsLost], (vec![Astray, Astray], None, false, true)),
        (vec![IsLost, Comes, Comes, Comes], (vec![Astray, FoundMissing, On, On], Some(true), true, false)),
        (vec![ComesUnheard], (vec![Astray], None, true, false)),
        (vec![ComesUnheard, Comes], (vec![Astray, FoundThere], Some(true), true, false)),
        (vec![Comes, IsLost, Comes], (vec![On, Astray, FoundThere], Some(true), true, false)),
    ] {
        assert_eq!(of(&fates), expected, "{fates:?}");
    }
}

#[test]
fn what_strays_comes_until_the_store_is_asked_and_never_once_another_has_the_share() {
    let store = MemoryFleet::new(LEASE);
    let (log, link) = open(&store, "a");
    let receipt = dispatch(&log, 1);
    link.step(usize::MAX, Comes);
    assert_eq!(link.step(usize::MAX, Fate::Strays), Astray);
    assert_eq!((link.comes_late(), link.comes_late()), (Some(true), None));
    assert_eq!(link.step(usize::MAX, Comes), FoundThere);
    receipt.now_or_never().unwrap().unwrap();
    // Its node is killed with something on its way, and the next one of that name is faster.
    drop(dispatch(&log, 2));
    link.step(usize::MAX, Comes);
    link.ends();
    drop(log);
    let (log, next) = open(&store, "a");
    assert_eq!((link.comes_late(), log.heads_oldest_first(None, 9).unwrap().len()), (Some(false), 1));
    assert!(next.holds(MissionNo(1)) && !link.holds(MissionNo(1)));
}

#[test]
fn who_is_silent_is_not_certain_and_is_fenced_once_another_has_adopted() {
    let store = MemoryFleet::new(LEASE);
    let (a, link) = open(&store, "a");
    let (b, heir) = open(&store, "b");
    let receipt = dispatch(&a, 1);
    for _ in 0..3 {
        link.step(usize::MAX, Comes);
    }
    receipt.now_or_never().unwrap().unwrap();
    let no = MissionNo(1);
    store.pass(LEASE / 2);
    heir.stays_heard();
    assert!(!a.certain_for().is_zero() && link.is_silent());
    store.pass(LEASE / 2);
    heir.stays_heard();
    assert!(a.certain_for().is_zero() && a.sure().now_or_never().is_none());
    b.adopt(a.share(), &mut |_, _| ()).unwrap();
    assert!(heir.holds(no) && !link.holds(no));
    drop(dispatch(&a, 2));
    let went: Vec<Went> = (0..3).map(|_| link.step(usize::MAX, Comes)).collect();
    assert_eq!(went, [On, On, Went::Fenced]);
    assert!(matches!(a.append_durable(sortie_journal::Append::new(no, 1, &[])), Err(WriteError::TakenOver)));
    assert_eq!(b.heads_oldest_first(None, 9).unwrap().len(), 1);
    assert!(matches!(a.sure().now_or_never(), Some(Err(WriteError::TakenOver))));
}

#[test]
fn whoever_was_cut_off_itself_gives_others_time() {
    let store = MemoryFleet::new(LEASE);
    let (a, _) = open(&store, "a");
    let (b, heir) = open(&store, "b");
    store.pass(LEASE * 2);
    assert!(b.adopt(a.share(), &mut |_, _| ()).is_err(), "it was silent for as long");
    for _ in 0..3 {
        heir.step(usize::MAX, Comes);
    }
    assert!(!b.certain_for().is_zero());
    assert!(b.adopt(a.share(), &mut |_, _| ()).is_err(), "it has only begun");
    store.pass(LEASE / 2);
    b.adopt(a.share(), &mut |_, _| ()).unwrap();
}
