//! What every log must do: laws, each by itself, and random histories that are held against the naive [`MemoryLog`].
//!
//! An implementation passes by calling [`laws`] and [`agrees_with_the_model`] with a way to make an empty one.

mod balances;
pub(crate) mod feed;
pub(crate) mod fleet;
mod pins;
mod pools;
mod snapshots;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use sortie_contract::id::{CallNo, IdempotencyKey};
use sortie_contract::plugin::LogLevel;
use sortie_contract::{MissionId, MissionNo, Record, SessionId, Stamped, Status, Timestamp, VpId};
use sortie_journal::sim::sample_head;
use sortie_journal::{
    AdmitError, Admitted, Append, Beginning, Cursor, Decision, FIRES_MAX, Head, Kept, Keys, Known, Lease, Log,
    MemoryLog, Quarantine, Receipt, ScheduleChange, Twin, Undo, WriteError,
};

/// Makes an empty log.
pub(crate) type Make<'a> = &'a dyn Fn() -> Box<dyn Log>;

/// Every law, on a log of its own each.
pub(crate) fn laws(make: Make<'_>) {
    for law in [
        numbers_grow_and_are_never_given_again as fn(&dyn Log),
        a_twin_is_known_and_its_number_is_not_given_away,
        a_twin_is_never_answered_for_before_it_is_on_disk,
        a_decision_not_to_take_it_leaves_nothing,
        one_of_many_twins_at_once_is_accepted,
        the_newest_session_is_that_of_the_newest_mission,
        a_duplicate_is_told_so_and_harms_nobody_else,
        an_older_lease_is_fenced_and_a_newer_one_sees_what_it_wrote,
        a_cursor_is_moved_only_from_where_it_was_seen,
        a_mission_in_quarantine_is_read_as_far_as_it_can_be_and_then_to_its_end,
        a_schedule_is_changed_only_from_where_it_stands,
        a_fire_and_how_far_its_schedule_has_come_are_one,
        a_history_of_fires_keeps_the_newest,
        pins::one_stays_until_it_is_taken_back_or_goes_with_its_mission,
        balances::they_move_with_the_records_that_move_them,
        snapshots::a_snapshot_opens_with_all_that_was_acknowledged,
        a_snapshot_of_a_busy_log_has_no_gaps,
        a_closed_log_takes_nothing,
    ] {
        law(&*make());
    }
}

fn stamped(text: &str) -> Stamped {
    let record = Record::Logged { call: CallNo(0), level: LogLevel::Info, text: text.to_owned() };
    Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: 0, record }
}

/// A dispatch: the mission's name, its key, its VP's session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dispatch {
    id: u64,
    key: u64,
    vp: u64,
    /// `None`: the newest, else the first.
    session: Option<u64>,
}

/// A dispatch with a name and a key of its own.
pub(crate) fn plain(name: u64) -> Dispatch {
    Dispatch { id: name, key: name, vp: 0, session: Some(0) }
}

impl Dispatch {
    pub(crate) fn names(self) -> (MissionId, IdempotencyKey, VpId) {
        let name = |kind: &str, n: u64| format!("{kind}-{n}");
        let parsed = (name("m", self.id).parse(), name("k", self.key).parse(), name("vp", self.vp).parse());
        (parsed.0.unwrap(), parsed.1.unwrap(), parsed.2.unwrap())
    }

    fn head(self, newest: Option<&SessionId>) -> Head {
        let (mission_id, idempotency_key, vp) = self.names();
        let session = match self.session {
            Some(session) => format!("s-{session}").parse().unwrap(),
            None => newest.cloned().unwrap_or_else(|| SessionId::of(&vp)),
        };
        Head { mission_id, idempotency_key, vp, session, ..sample_head(0) }
    }

    /// Asks until it is decided; takes what is not known. What was known then, and what came of it.
    pub(crate) fn to(self, log: &dyn Log) -> (Known, Option<MissionNo>) {
        loop {
            let (known, admitted) = self.ask(log, true);
            match admitted {
                Admitted::OnItsWay(receipt) => drop(receipt.wait().unwrap()),
                Admitted::Answered => return (known.unwrap(), None),
                Admitted::Accepted { no, receipt } => {
                    receipt.wait().unwrap();
                    return (known.unwrap(), Some(no));
                }
            }
        }
    }

    /// Asks once.
    pub(crate) fn ask(self, log: &dyn Log, take: bool) -> (Option<Known>, Admitted) {
        let (told, admitted) = self.fires(log, take, None);
        (told, admitted.unwrap())
    }

    /// The same, as a fire of a schedule.
    pub(crate) fn fires(
        self,
        log: &dyn Log,
        take: bool,
        schedule: Option<&ScheduleChange>,
    ) -> (Option<Known>, Result<Admitted, AdmitError>) {
        let (mission_id, idempotency_key, vp) = self.names();
        let source = sample_head(0).source;
        let keys = Keys { mission_id: &mission_id, source: &source, idempotency_key: &idempotency_key, vp: &vp };
        let (mut told, undone) = (None, Arc::new(AtomicBool::new(false)));
        let admitted = log.admit(keys, &mut |known| {
            told = Some(known.clone());
            let taken = take && known.twin.is_none() && known.same_id.is_none();
            if !taken {
                return Decision::Answer;
            }
            let head = self.head(known.newest_session.as_ref());
            let cursor = self.id.is_multiple_of(2).then(Cursor::default);
            let records = vec![stamped("accepted")];
            let of_it = Arc::clone(&undone);
            let undo = Some(Undo::by(move || of_it.store(true, Relaxed)));
            Decision::Accept(Box::new(Beginning { records, head, cursor, schedule: schedule.cloned(), undo }))
        });
        // What was set up for it goes where the log does not take it, and only then.
        assert_eq!(undone.load(Relaxed), told.is_some() && admitted.is_err());
        (told, admitted)
    }
}

fn numbers_grow_and_are_never_given_again(log: &dyn Log) {
    for name in 1..=3 {
        assert_eq!(plain(name).to(log).1, Some(MissionNo(name)));
    }
    log.remove(MissionNo(3)).unwrap();
    log.barrier().unwrap().wait().unwrap();
    assert_eq!(log.head(MissionNo(3)).unwrap(), None);
    assert_eq!(plain(3).to(log).1, Some(MissionNo(4)), "a name is free again, a number is not");
}

fn a_twin_is_known_and_its_number_is_not_given_away(log: &dyn Log) {
    plain(1).to(log);
    plain(2).to(log);
    let head = log.head(MissionNo(1)).unwrap().unwrap();
    let twin = Some(Twin { no: MissionNo(1), head });
    let of_two = Some(Twin { no: MissionNo(2), head: log.head(MissionNo(2)).unwrap().unwrap() });
    for (id, key, expected, same_id) in
        [(1, 1, &twin, &None), (9, 1, &twin, &None), (1, 9, &None, &twin), (2, 1, &twin, &of_two)]
    {
        let (known, taken) = Dispatch { id, key, ..plain(0) }.to(log);
        assert_eq!((&known.twin, &known.same_id, taken), (expected, same_id, None), "m-{id} k-{key}");
    }
    assert_eq!(plain(3).to(log).1, Some(MissionNo(3)));
    assert_eq!(log.find(&plain(2).names().0).unwrap(), of_two);
    assert_eq!(log.find(&plain(4).names().0).unwrap(), None);
}

fn a_twin_is_never_answered_for_before_it_is_on_disk(log: &dyn Log) {
    for name in 1..=50 {
        let (_, Admitted::Accepted { no, receipt: _on_its_way }) = plain(name).ask(log, true) else { panic!("taken") };
        match plain(name).ask(log, true) {
            (None, Admitted::OnItsWay(receipt)) => {
                receipt.wait().unwrap();
                assert!(log.head(no).unwrap().is_some(), "what was waited for is there");
            }
            // The disk was faster.
            (Some(known), Admitted::Answered) => {
                let twin = known.twin.unwrap();
                assert_eq!(log.head(no).unwrap(), Some(twin.head));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn a_decision_not_to_take_it_leaves_nothing(log: &dyn Log) {
    assert!(matches!(plain(1).ask(log, false), (Some(_), Admitted::Answered)));
    assert_eq!(plain(1).to(log).1, Some(MissionNo(1)));
}

fn one_of_many_twins_at_once_is_accepted(log: &dyn Log) {
    let taken: Vec<Option<MissionNo>> = std::thread::scope(|scope| {
        let dispatch = |name| scope.spawn(move || plain(name).to(log).1);
        let threads: Vec<_> = (0..8).map(|turn| dispatch(turn % 2)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let taken: BTreeSet<_> = taken.into_iter().flatten().collect();
    assert_eq!(taken, BTreeSet::from([MissionNo(1), MissionNo(2)]));
}

fn the_newest_session_is_that_of_the_newest_mission(log: &dyn Log) {
    let newest = |vp| Dispatch { vp, ..plain(999) }.ask(log, false).0.unwrap().newest_session;
    let name = |session| Some(format!("s-{session}").parse().unwrap());
    assert_eq!(newest(0), None);
    for (no, vp, session) in [(1, 0, 1), (2, 0, 2), (3, 1, 7), (4, 0, 1)] {
        Dispatch { vp, session: Some(session), ..plain(no) }.to(log);
        assert_eq!(newest(vp), name(session));
    }
    log.remove(MissionNo(4)).unwrap();
    log.barrier().unwrap().wait().unwrap();
    assert_eq!(newest(0), name(2));
    let sessions = log.sessions_newest_first(Some(MissionNo(3)), 9).unwrap();
    let shown: Vec<_> = sessions.iter().map(|(_, session)| (session.latest.0, session.missions)).collect();
    assert_eq!(shown, [(2, 1), (1, 1)]);
}

fn a_duplicate_is_told_so_and_harms_nobody_else(log: &dyn Log) {
    plain(1).to(log);
    plain(2).to(log);
    let append = |no: u64, first| Append::new(MissionNo(no), first, &[stamped("more")]);
    let conflict = |no, first, expected| Err(WriteError::Conflict { mission: MissionNo(no), first, expected });
    let told = |append| log.append_durable(append).unwrap().wait();
    assert_eq!(told(append(1, 0)), conflict(1, 0, 1));
    assert_eq!(told(append(1, 2)), conflict(1, 2, 1));
    assert_eq!(told(append(2, 1)), Ok(3));
    assert_eq!(told(append(1, 1)), Ok(4));
    assert_eq!(told(append(1, 1)), conflict(1, 1, 2));
    assert_eq!(log.poisoned(), None);
    assert_eq!(log.read(MissionNo(1), 1, usize::MAX).unwrap(), [stamped("more")]);
}

fn an_older_lease_is_fenced_and_a_newer_one_sees_what_it_wrote(log: &dyn Log) {
    plain(1).to(log);
    plain(2).to(log);
    let append = |lease: Lease, first| Append::new(lease.mission, first, &[stamped("more")]).under(lease);
    let lease = |no| log.lease(MissionNo(no)).unwrap();
    let (old, _) = lease(1);
    let (other, _) = lease(2);
    log.append(append(old, 1)).unwrap();
    let (new, seen) = lease(1);
    seen.wait().unwrap();
    assert_eq!(log.read(MissionNo(1), 1, usize::MAX).unwrap().len(), 1, "what the old one wrote is there");
    assert!(new.token > old.token);
    let fenced = WriteError::Fenced { mission: MissionNo(1), held: old.token, newest: new.token };
    assert_eq!(log.append_durable(append(old, 2)).map(drop), Err(fenced.clone()));
    assert_eq!(log.append(append(old, 2)), Err(fenced));
    log.append_durable(append(other, 1)).unwrap().wait().unwrap();
    log.append_durable(append(new, 2)).unwrap().wait().unwrap();
    log.release(old);
    assert!(log.append(append(old, 3)).is_err(), "an old lease gives nothing back");
    assert_eq!(log.poisoned(), None);
}

fn a_cursor_is_moved_only_from_where_it_was_seen(log: &dyn Log) {
    plain(2).to(log);
    let no = MissionNo(1);
    let at = |acked| Cursor { acked, ..Cursor::default() };
    let moved = |from: Option<u64>, to: Append| log.append_durable(to.moved_from(from.map(at))).unwrap().wait();
    let to = |acked| Append::new(no, 0, &[]).cursor(&at(acked));
    assert!(moved(Some(0), to(1)).is_ok());
    let overtaken = Err(WriteError::CursorMoved { mission: no });
    assert_eq!(moved(Some(0), to(2)), overtaken, "another was faster");
    assert_eq!(moved(None, to(2)), overtaken);
    assert_eq!(log.cursor(no).unwrap(), Some(at(1)));
    // Of two that saw the same, one: also where both are on their way at once.
    let both = [to(2), to(3)].map(|to| log.append_durable(to.moved_from(Some(at(1)))).unwrap());
    let [first, second] = both.map(|receipt| receipt.wait().is_ok());
    assert_eq!((first, second, log.cursor(no).unwrap()), (true, false, Some(at(2))));
    assert!(moved(Some(2), Append::new(no, 0, &[]).delivered()).is_ok());
    assert_eq!(moved(Some(2), to(3)), overtaken, "there is none any more");
    assert!(moved(None, to(3)).is_ok());
    assert_eq!(log.poisoned(), None);
}

fn made(name: u64) -> ScheduleChange {
    ScheduleChange::made(&id_of(name), format!("definition {name}"), "0".to_owned())
}

fn moved(name: u64, from: u64, fires: u64) -> ScheduleChange {
    let fires = (0..fires).map(|fire| format!("fire {fire} from {from}")).collect();
    ScheduleChange::moved(&id_of(name), from, format!("after {from}"), fires)
}

fn id_of(name: u64) -> String {
    format!("schedule-{name}")
}

fn a_schedule_is_changed_only_from_where_it_stands(log: &dyn Log) {
    let told = |change: ScheduleChange| log.change_schedule(change).map(|receipt| assert!(receipt.wait().is_ok()));
    let refused = Err(WriteError::ScheduleMoved { id: id_of(1) });
    assert_eq!(told(moved(1, 1, 0)), refused, "there is none");
    assert_eq!(log.schedule(&id_of(1)).unwrap(), None);
    assert_eq!(told(made(1)), Ok(()));
    assert_eq!(told(made(1)), refused, "it is there");
    assert_eq!(told(moved(1, 1, 2)), Ok(()));
    assert_eq!(told(moved(1, 1, 1)), refused, "somebody was faster");
    assert_eq!(told(moved(1, 2, 0).revised("another".to_owned())), Ok(()));
    let (definition, position) = ("another".to_owned(), "after 2".to_owned());
    let kept = Kept { version: 3, definition, position, last_fire: 2 };
    assert_eq!(log.schedule(&id_of(1)).unwrap(), Some(kept.clone()));
    assert_eq!(told(made(2)), Ok(()));
    let all = log.schedules_after(None, 9).unwrap();
    assert_eq!(
        all.iter().map(|(id, kept)| (id.as_str(), kept.version)).collect::<Vec<_>>(),
        [("schedule-1", 3), ("schedule-2", 1)]
    );
    assert_eq!(log.schedules_after(Some("schedule-1"), 9).unwrap(), all[1..]);
    assert_eq!(log.schedules_after(None, 1).unwrap(), all[..1]);
    assert_eq!(told(ScheduleChange::removed(&id_of(1), 2)), refused);
    assert_eq!(told(ScheduleChange::removed(&id_of(1), 3)), Ok(()));
    assert_eq!((log.schedule(&id_of(1)).unwrap(), log.fires(&id_of(1), None, 9).unwrap()), (None, vec![]));
    assert_eq!(told(made(1)), Ok(()), "its name is free again");
    assert_eq!(log.schedule(&id_of(1)).unwrap().unwrap().last_fire, 0);
    assert_eq!(log.poisoned(), None);
}

fn a_fire_and_how_far_its_schedule_has_come_are_one(log: &dyn Log) {
    log.change_schedule(made(1)).unwrap().wait().unwrap();
    let fire = |mission, from| plain(mission).fires(log, true, Some(&moved(1, from, 1))).1;
    let Ok(Admitted::Accepted { no, receipt }) = fire(1, 1) else { panic!("not taken") };
    receipt.wait().unwrap();
    assert!(log.head(no).unwrap().is_some());
    assert_eq!(log.schedule(&id_of(1)).unwrap().unwrap().version, 2);
    assert_eq!(log.fires(&id_of(1), None, 9).unwrap(), [(1, "fire 0 from 1".to_owned())]);
    // From where it does not stand any more, neither.
    let Err(AdmitError::Write(WriteError::ScheduleMoved { .. })) = fire(2, 1) else { panic!("taken") };
    assert_eq!(log.find(&plain(2).names().0).unwrap(), None);
    assert_eq!(plain(3).to(log).1, Some(MissionNo(no.0 + 1)), "no number was given for it");
    // Whose twin is known, neither: the answer is not about the schedule.
    assert!(matches!(fire(1, 2), Ok(Admitted::Answered)));
    assert_eq!(log.schedule(&id_of(1)).unwrap().unwrap().version, 2);
}

fn a_history_of_fires_keeps_the_newest(log: &dyn Log) {
    log.change_schedule(made(1)).unwrap().wait().unwrap();
    log.change_schedule(moved(1, 1, FIRES_MAX - 1)).unwrap().wait().unwrap();
    log.change_schedule(moved(1, 2, 3)).unwrap().wait().unwrap();
    let numbers = |before, limit| {
        let fires = log.fires(&id_of(1), before, limit).unwrap();
        fires.into_iter().map(|(no, _)| no).collect::<Vec<_>>()
    };
    assert_eq!(numbers(None, 2), [FIRES_MAX + 2, FIRES_MAX + 1]);
    assert_eq!(numbers(Some(5), 9), [4, 3], "the first two are forgotten");
    assert_eq!(numbers(None, usize::MAX).len() as u64, FIRES_MAX);
}

fn a_mission_in_quarantine_is_read_as_far_as_it_can_be_and_then_to_its_end(log: &dyn Log) {
    let no = plain(1).to(log).1.unwrap();
    let more: Vec<_> = ["a", "b", "c"].map(stamped).into();
    log.append(Append::new(no, 1, &more[..2])).unwrap();
    log.append_durable(Append::new(no, 3, &more[2..])).unwrap().wait().unwrap();
    let whole = log.read_all(no, 0).unwrap();
    let (gap, end) = (stamped("gap"), stamped("end"));
    let gap = Stamped { record: Record::Unreadable { until: 9, sequence: 1, items: 1 }, ..gap };
    let why = "damaged".to_owned();
    let kept = Quarantine { at: Timestamp::UNIX_EPOCH, why, readable: 2, beginning: None, gap, end };
    let head = Head { status: Status::Failed, ..log.head(no).unwrap().unwrap() };
    let before = *log.follow().borrow();
    log.mend(Append::new(no, 0, &[]).quarantined(&kept), no, &head).unwrap().wait().unwrap();
    let expected = [&whole[..2], &[kept.gap.clone(), kept.end.clone()]].concat();
    assert_eq!(log.read_all(no, 0).unwrap(), expected);
    for (first, from) in [(0, 0), (1, 1), (2, 2), (5, 2), (8, 2), (9, 3), (10, 4)] {
        assert_eq!(log.read_all(no, first).unwrap(), expected[from..], "from {first}");
    }
    let told = log.feed_after(before, 9).unwrap();
    let [entry] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(
        (entry.mission, entry.first, entry.count),
        (no, 9, 1),
        "its end is told, and nothing that was told before"
    );
    let remains = log.remains(no).unwrap();
    assert_eq!(
        (&remains.records, remains.until, remains.last),
        (&whole, 4, whole.last().cloned()),
        "its bytes are kept"
    );
    assert_eq!((log.quarantine(no).unwrap(), log.quarantined().unwrap()), (Some(kept), vec![no]));
    assert_eq!((log.headless(), log.head(no).unwrap()), (vec![], Some(head)));
    let folder = tempfile::tempdir().unwrap();
    let copy = snapshots::copy_of(log, folder.path(), "copy");
    assert_eq!((copy.read_all(no, 0).unwrap(), copy.quarantined().unwrap()), (expected, vec![no]));
    log.remove(no).unwrap();
    log.barrier().unwrap().wait().unwrap();
    assert_eq!((log.read_all(no, 0).unwrap(), log.quarantined().unwrap()), (vec![], vec![]));
}

fn a_snapshot_of_a_busy_log_has_no_gaps(log: &dyn Log) {
    let folder = tempfile::tempdir().unwrap();
    for name in 1..=20 {
        plain(name).to(log);
    }
    let done = AtomicBool::new(false);
    let acknowledged = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for first in 1.. {
                if done.load(Relaxed) {
                    break;
                }
                let append = |no| log.append_durable(Append::new(MissionNo(no), first, &[stamped("more")])).unwrap();
                let receipts: Vec<_> = (1..=20).map(append).collect();
                for receipt in receipts {
                    receipt.wait().unwrap();
                }
                acknowledged.store(first, std::sync::atomic::Ordering::Release);
            }
        });
        for round in 0..5 {
            let before = acknowledged.load(std::sync::atomic::Ordering::Acquire);
            let copy = snapshots::copy_of(log, folder.path(), &format!("copy-{round}"));
            for no in (1..=20).map(MissionNo) {
                assert!(all(&copy, no).len() > before as usize, "{no} in round {round}");
            }
            let feed = copy.feed_after(0, usize::MAX).unwrap();
            let expected: Vec<u64> = (1..=*copy.follow().borrow()).collect();
            assert_eq!(feed.iter().map(|entry| entry.position).collect::<Vec<_>>(), expected);
        }
        done.store(true, Relaxed);
    });
}

fn a_closed_log_takes_nothing(log: &dyn Log) {
    plain(1).to(log);
    log.close().unwrap();
    assert_eq!(log.append(Append::new(MissionNo(1), 1, &[stamped("more")])), Err(WriteError::Closed));
    assert_eq!(log.barrier().map(drop), Err(WriteError::Closed));
    assert_eq!(log.remove(MissionNo(1)).unwrap_err().to_string(), WriteError::Closed.to_string());
    assert_eq!(log.read(MissionNo(1), 0, usize::MAX).unwrap().len(), 1);
}

/// A history of `steps` random steps, the same for the same seed, done to a new log and to the naive one; both answer each step,
/// and every question at the end, alike.
pub(crate) fn agrees_with_the_model(make: Make<'_>, seed: u64, steps: usize) {
    history(&*make(), &MemoryLog::default(), seed, steps);
}

/// The same, of two logs that have come to the same state.
pub(crate) fn history(log: &dyn Log, model: &MemoryLog, seed: u64, steps: usize) {
    let mut dice = Dice(seed);
    for step in 0..steps {
        // One that is there or was removed, and nothing is appended to what was removed: that is the callers' part.
        let given = plain(99).ask(model, false).0.unwrap().no.0 - 1;
        let no = MissionNo(dice.below(given.max(1)) + 1);
        let there = model.head(no).unwrap().is_some();
        match dice.below(26) {
            20..24 => {
                let name = dice.below(3);
                let stands = model.schedule(&id_of(name)).unwrap().map_or(0, |kept| kept.version);
                let from = [stands, stands, stands, stands + 1][dice.at(4)];
                let change = match dice.below(5) {
                    _ if from == 0 => made(name),
                    0 => ScheduleChange::removed(&id_of(name), from),
                    1 => moved(name, from, 1).revised(format!("definition of {step}")),
                    _ => moved(name, from, dice.below(4)),
                };
                let told = |log: &dyn Log| log.change_schedule(change.clone()).map(Receipt::wait);
                assert_eq!(told(log), told(model), "step {step}: {change:?}");
            }
            0..6 => {
                let session = Some(dice.below(4)).filter(|session| *session > 0);
                let dispatch = Dispatch { id: dice.below(14), key: dice.below(14), vp: dice.below(3), session };
                assert_eq!(dispatch.to(log), dispatch.to(model), "step {step}: {dispatch:?}");
            }
            6..14 if there => {
                let next = u32::try_from(all(model, no).len()).unwrap();
                // Now and then one too many or too few.
                let first = [next, next, next, next + 1, next.saturating_sub(1)][dice.at(5)];
                let records: Vec<_> = (0..dice.below(3)).map(|n| stamped(&format!("{step} {n}"))).collect();
                let mut append = Append::new(no, first, &records);
                if let Some(head) = model.head(no).unwrap() {
                    let status = Status::ALL[dice.at(Status::ALL.len())];
                    append = append.head(&Head { status, ..head });
                }
                append = match dice.below(5) {
                    0 => append.cursor(&Cursor { acked: step as u64, ..Cursor::default() }),
                    1 => append.delivered(),
                    2 => append.closed(Cursor { skipped: vec![1], ..Cursor::default() }),
                    _ => append,
                };
                if dice.below(3) == 0 {
                    // Where it stands, or where it may have stood.
                    let stands = model.cursor(no).unwrap();
                    append = append.moved_from(if dice.below(2) == 0 { stands } else { Some(Cursor::default()) });
                }
                let told = |log: &dyn Log| log.append_durable(append.clone()).unwrap().wait();
                // What was not taken has no position; what was has the same.
                assert_eq!(told(log), told(model), "step {step}: {append:?}");
            }
            14 if there => {
                log.remove(no).unwrap();
                model.remove(no).unwrap();
                log.barrier().unwrap().wait().unwrap();
            }
            15 => {
                let position = (*model.follow().borrow()).saturating_sub(dice.below(9));
                log.prune_feed_before(position).unwrap();
                model.prune_feed_before(position).unwrap();
            }
            24 | 25 => pins::step([log, model], no, step, dice.below(3) > 0),
            16 => [log, model as &dyn Log].iter().for_each(|log| log.keep_clocks(&[(no, step as u64)]).unwrap()),
            17 => [log, model as &dyn Log].map(|log| log.act(step.to_string()).unwrap().wait().unwrap()).fill(0),
            _ => {
                let leased = |log: &dyn Log| {
                    let (lease, receipt) = log.lease(no).unwrap();
                    receipt.wait().map(|position| (lease.mission, position))
                };
                assert_eq!(leased(log), leased(model), "step {step}");
            }
        }
    }
    log.barrier().unwrap().wait().unwrap();
    agree(log, model);
}

/// Every question has the same answer.
fn agree(log: &dyn Log, model: &dyn Log) {
    assert_eq!(*log.follow().borrow(), *model.follow().borrow());
    assert_eq!(log.clocks().unwrap(), model.clocks().unwrap());
    assert_eq!(log.pins().unwrap(), model.pins().unwrap());
    for no in (0..120).map(MissionNo) {
        assert_eq!(all(log, no), all(model, no), "records of {no}");
        for first in 0..4 {
            let (whole, part) = (all(model, no), log.read(no, first, usize::MAX).unwrap());
            let from = &whole[(first as usize).min(whole.len())..];
            assert!(from.starts_with(&part) && part.is_empty() == from.is_empty(), "records of {no} from {first}");
            assert_eq!(log.read_all(no, first).unwrap(), from, "all records of {no} from {first}");
        }
        assert_eq!(log.head(no).unwrap(), model.head(no).unwrap());
        assert_eq!(log.cursor(no).unwrap(), model.cursor(no).unwrap());
    }
    for (before, limit) in [(None, 100), (None, 2), (Some(MissionNo(7)), 3), (Some(MissionNo(0)), 3), (None, 0)] {
        let (newest, oldest) = (Log::heads_newest_first, Log::heads_oldest_first);
        let sessions = Log::sessions_newest_first;
        assert_eq!(newest(log, before, limit).unwrap(), newest(model, before, limit).unwrap());
        assert_eq!(oldest(log, before, limit).unwrap(), oldest(model, before, limit).unwrap());
        assert_eq!(sessions(log, before, limit).unwrap(), sessions(model, before, limit).unwrap());
        assert_eq!(log.cursors_after(before, limit).unwrap(), model.cursors_after(before, limit).unwrap());
    }
    for position in 0..40 {
        for limit in [0, 1, 5, 1_000] {
            assert_eq!(log.feed_after(position, limit).unwrap(), model.feed_after(position, limit).unwrap());
        }
    }
    for name in 0..14 {
        let id = plain(name).names().0;
        assert_eq!(log.find(&id).unwrap(), model.find(&id).unwrap());
    }
    for (after, limit) in [(None, 9), (None, 1), (Some("schedule-0"), 9)] {
        assert_eq!(log.schedules_after(after, limit).unwrap(), model.schedules_after(after, limit).unwrap());
    }
    for name in 0..3 {
        assert_eq!(log.schedule(&id_of(name)).unwrap(), model.schedule(&id_of(name)).unwrap());
        for (before, limit) in [(None, 99), (None, 2), (Some(3), 9)] {
            let fires = |log: &dyn Log| log.fires(&id_of(name), before, limit).unwrap();
            assert_eq!(fires(log), fires(model));
        }
    }
    assert_eq!(log.feed_begin().unwrap(), model.feed_begin().unwrap());
    assert_eq!(log.undelivered().unwrap(), model.undelivered().unwrap());
    assert_eq!(log.incomplete().unwrap(), model.incomplete().unwrap());
}

/// All records, a frame at a time.
fn all(log: &dyn Log, no: MissionNo) -> Vec<Stamped> {
    let mut records = Vec::new();
    loop {
        let page = log.read(no, u32::try_from(records.len()).unwrap(), 0).unwrap();
        if page.is_empty() {
            return records;
        }
        records.extend(page);
    }
}

/// The same numbers for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) % bound
    }

    fn at(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }
}
