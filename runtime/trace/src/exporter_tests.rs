//! What is read at once, and what another process reads behind a place that was put down: nothing twice, nothing left out.

use std::collections::BTreeMap;

use sortie_contract::Timestamp;
use sortie_contract::record::Record;

use super::*;
use crate::tree::Sampling;
use crate::tree::tests::records;

/// Frames of two missions, one record each, in turn; of a third one nothing can be read.
struct Frames {
    missions: BTreeMap<u64, Vec<Stamped>>,
    entries: Vec<Entry>,
    durable: watch::Receiver<u64>,
}

impl Frames {
    fn new() -> Self {
        let missions: BTreeMap<u64, Vec<Stamped>> =
            [(1, records("4bf92f3577b34da6a3ce929d0e0e4736")), (2, records("another"))].into();
        let mut entries = Vec::new();
        for first in 0..u32::try_from(missions[&1].len()).expect("a few") {
            for mission in [1, 2, 3] {
                let position = entries.len() as u64 + 1;
                entries.push(Entry { position, mission: MissionNo(mission), first, count: 1 });
            }
        }
        Self { missions, entries, durable: watch::channel(0).1 }
    }
}

impl Source for Frames {
    fn follow(&self) -> watch::Receiver<u64> {
        self.durable.clone()
    }

    fn after(&self, position: u64, limit: usize) -> Result<Vec<Entry>, SourceError> {
        Ok(self.entries.iter().filter(|entry| entry.position > position).take(limit).copied().collect())
    }

    fn read(&self, mission: MissionNo, first: u32) -> Result<Option<Vec<Stamped>>, SourceError> {
        // As much as fits: more than was asked about.
        Ok(self.missions.get(&mission.0).map(|records| records[first as usize..].iter().take(3).cloned().collect()))
    }
}

fn new() -> Tree {
    Tree::new(Sampling::of(1.0))
}

/// All that is read from a position on, with the place behind each batch.
fn rest(reader: &mut Reader, frames: &Frames, mut position: u64) -> (Vec<Span>, u64) {
    let (mut spans, mut skipped) = (Vec::new(), 0);
    loop {
        let batch = reader.read(frames, position, new).expect("it can be read");
        spans.extend(batch.spans);
        skipped += batch.skipped;
        if batch.to == position {
            return (spans, skipped);
        }
        position = batch.to;
    }
}

#[test]
fn what_was_put_down_anywhere_is_gone_on_from() {
    let frames = Frames::new();
    let (whole, skipped) = rest(&mut Reader::default(), &frames, 0);
    let of_one = whole.iter().filter(|span| span.trace_id.starts_with("4bf9")).count();
    assert_eq!((whole.len(), skipped), (of_one * 2, frames.entries.len() as u64 / 3));
    for cut in 0..=frames.entries.len() {
        let before = Frames { entries: frames.entries[..cut].to_vec(), ..Frames::new() };
        let (mut told, _) = rest(&mut Reader::default(), &before, 0);
        // The process that told it is gone, and its trees with it.
        told.extend(rest(&mut Reader::default(), &frames, cut as u64).0);
        assert_eq!(told, whole, "cut at {cut}");
    }
}

#[test]
fn trees_beyond_the_bound_are_made_anew() {
    let frames = Frames::new();
    let (whole, _) = rest(&mut Reader::default(), &frames, 0);
    let (mut reader, mut spans) = (Reader::default(), Vec::new());
    for entry in &frames.entries {
        let one = Frames { entries: vec![*entry], ..Frames::new() };
        spans.extend(reader.read(&one, entry.position - 1, new).expect("it can be read").spans);
        for mission in 0..TREES as u64 {
            reader.trees.entry(MissionNo(1_000 + mission)).or_insert_with(new);
        }
        reader.read(&one, u64::MAX, new).expect("nothing");
        assert!(reader.trees.len() <= TREES);
    }
    assert_eq!(spans, whole);
}

#[test]
fn a_mission_that_is_removed_meanwhile_stops_nobody() {
    let mut frames = Frames::new();
    let gone = frames.missions.get_mut(&2).expect("there");
    gone.truncate(1);
    gone[0] = Stamped { at: Timestamp::UNIX_EPOCH, ran_ms: 0, record: Record::Heartbeat };
    let (spans, _) = rest(&mut Reader::default(), &frames, 0);
    assert!(!spans.is_empty() && spans.iter().all(|span| span.trace_id.starts_with("4bf9")));
}
