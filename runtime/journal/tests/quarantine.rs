//! Rows of one mission that went bad: its neighbours, the lists and the start know nothing of it, and what can be read of it is.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use common::{Model, Step};
use sortie_contract::{MissionNo, Status};
use sortie_journal::sim::{SimDisk, Spot, spoil};
use sortie_journal::{Append, Cursor, EmbeddedLog, Journal, Log as _, Options, ReadError};

const BAD: MissionNo = MissionNo(2);

/// Three missions of four frames and two cursors each; rows of the second go bad.
fn spoilt(spots: &[Spot]) -> (EmbeddedLog, Model, Vec<MissionNo>) {
    let (disk, mut model) = (SimDisk::default(), Model::default());
    let (journal, _) = Journal::open_backend(disk.clone(), &Options::default()).unwrap();
    for mission in 1..=3 {
        journal.append(model.apply(&Step::dispatch(mission))).unwrap();
        for texts in [vec![5, 6], vec![7], vec![8, 9]] {
            let (head, cursor) = (Some(Status::Running), Some(common::CursorStep::Acked(2)));
            journal
                .append_durable(model.apply(&Step { mission, records: texts, head, cursor }))
                .unwrap()
                .wait()
                .unwrap();
        }
    }
    journal.close().unwrap();
    drop(journal);
    spoil(&disk, BAD, spots);
    let (journal, opened) = Journal::open_backend(disk, &Options::default()).unwrap();
    let mut shown = Vec::new();
    let log = EmbeddedLog::new(journal, &opened, |no, _| shown.push(no)).unwrap();
    (log, model, shown)
}

#[test]
fn a_bad_row_is_its_missions_trouble_alone() {
    let others = [MissionNo(1), MissionNo(3)];
    for spots in
        [&[Spot::Head][..], &[Spot::Cursor], &[Spot::Frame(0)], &[Spot::Frame(2)], &[Spot::Frame(3), Spot::Head]]
    {
        let (log, model, shown) = spoilt(spots);
        let numbers = |heads: Vec<(MissionNo, _)>| heads.into_iter().map(|(no, _)| no).collect::<Vec<_>>();
        let mut listed = numbers(log.heads_newest_first(None, 9).unwrap());
        listed.reverse();
        let has_head = !spots.contains(&Spot::Head);
        let expected = if has_head { vec![others[0], BAD, others[1]] } else { others.to_vec() };
        assert_eq!((&listed, &shown), (&expected, &expected), "{spots:?}");
        assert_eq!(numbers(log.heads_oldest_first(None, 9).unwrap()), expected, "{spots:?}");
        assert_eq!(log.headless(), if has_head { vec![] } else { vec![BAD] }, "{spots:?}");
        for no in others {
            assert_eq!(log.read_all(no, 0).unwrap(), model.records[&no.0], "{spots:?}");
            assert_eq!(log.cursor(no).unwrap(), model.cursors.get(&no.0).cloned(), "{spots:?}");
        }
        assert_eq!(log.undelivered().unwrap().len(), 3, "{spots:?}");
        let cursor = log.cursor(BAD).unwrap().unwrap();
        assert_eq!(cursor.acked, if spots == [Spot::Cursor] { 0 } else { 2 }, "{spots:?}");
        // It goes on from there, for whoever has seen it.
        let moved = Append::new(BAD, 0, &[]).moved_from(Some(cursor)).cursor(&Cursor { acked: 3, ..Cursor::default() });
        log.append_durable(moved).unwrap().wait().unwrap();
        assert_eq!(log.cursor(BAD).unwrap().unwrap().acked, 3, "{spots:?}");
    }
}

#[test]
fn what_can_be_read_is() {
    // Frames of 1, 2, 1 and 2 records.
    for (place, readable, until) in [(0, 0, 6), (1, 1, 6), (2, 3, 6), (3, 4, 24)] {
        let (log, model, _) = spoilt(&[Spot::Frame(place)]);
        assert!(matches!(log.read_all(BAD, 0), Err(ReadError::Frame { .. })), "{place}");
        let remains = log.remains(BAD).unwrap();
        let whole = &model.records[&BAD.0];
        assert_eq!(remains.records, whole[..readable], "{place}");
        assert!(matches!(remains.why, Some(ReadError::Frame { mission: BAD, .. })), "{place}: {:?}", remains.why);
        assert_eq!(remains.last.as_ref(), whole.last().filter(|_| place < 3), "{place}");
        assert_eq!(remains.until, until, "{place}: nothing that was recorded has that number");
    }
}

#[test]
fn who_goes_on_behind_a_frame_that_went_bad_stops_nobody() {
    let (log, model, _) = spoilt(&[Spot::Frame(3)]);
    let next = u32::try_from(model.records[&BAD.0].len()).unwrap();
    let record = model.records[&BAD.0][0].clone();
    log.append_durable(Append::new(BAD, next, &[record])).unwrap().wait().unwrap();
    assert!(log.poisoned().is_none());
}
