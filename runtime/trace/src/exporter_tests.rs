//! What is read at once, and what another process reads behind a place that was put down: nothing twice, nothing left out.

use std::collections::BTreeMap;
use std::future::ready;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::pin::pin;

use sortie_ambient::System;
use sortie_contract::Timestamp;
use sortie_contract::record::Record;

use super::*;
use crate::tree::tests::{all, records, running};

/// Frames of two missions, one record each, in turn; of a third one nothing can be read.
struct Frames {
    missions: BTreeMap<u64, Vec<Stamped>>,
    entries: Vec<Entry>,
    durable: watch::Receiver<u64>,
    reads: AtomicU64,
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
        Self { missions, entries, durable: watch::channel(0).1, reads: AtomicU64::new(0) }
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
        self.reads.fetch_add(1, Relaxed);
        // As much as fits: more than was asked about.
        Ok(self.missions.get(&mission.0).map(|records| records[first as usize..].iter().take(3).cloned().collect()))
    }
}

fn new() -> Tree {
    Tree::new(all())
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
    for other in [new, running] {
        let (mut reader, mut spans) = (Reader::default(), Vec::new());
        for entry in &frames.entries {
            let one = Frames { entries: vec![*entry], ..Frames::new() };
            spans.extend(reader.read(&one, entry.position - 1, new).expect("it can be read").spans);
            for mission in 0..TREES as u64 {
                reader.trees.entry(MissionNo(1_000 + mission)).or_insert_with(other);
            }
            reader.read(&one, u64::MAX, new).expect("nothing");
            assert!(reader.trees.len() <= TREES);
        }
        assert_eq!(spans, whole);
    }
}

#[test]
fn a_mission_that_runs_is_read_once_however_many_wait() {
    for other in [new, running] {
        let (mut reader, mut reads) = (Reader::default(), 0);
        // Up to where it is suspended.
        for entry in Frames::new().entries.into_iter().filter(|entry| entry.mission.0 == 1 && entry.first < 9) {
            for mission in 0..TREES as u64 {
                reader.trees.entry(MissionNo(1_000 + mission)).or_insert_with(other);
            }
            let one = Frames { entries: vec![entry], ..Frames::new() };
            reader.read(&one, entry.position - 1, new).expect("it can be read");
            reads += one.reads.load(Relaxed);
        }
        assert_eq!(reads, 9, "once for each frame");
    }
}

/// Of a collector at which nobody listens.
fn exporter(place: &Path) -> Arc<Exporter> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    exporter_to(address, place)
}

fn exporter_to(address: SocketAddr, place: &Path) -> Arc<Exporter> {
    let text = format!("url = \"http://{address}\"\nallow_private = [\"127.0.0.1\"]");
    let config = toml::from_str(&text).expect("a configuration");
    let setup = Setup {
        config: &config,
        node: "n".to_owned(),
        version: "0",
        place: place.to_owned(),
        secrets: Arc::default(),
        models: BTreeSet::new(),
    };
    let ambient = Arc::new(System::new(tokio::runtime::Handle::current()));
    Arc::new(Exporter::new(setup, ambient).unwrap_or_else(|error| panic!("{error}")))
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_is_down_from_the_start_is_told_all_behind_a_kill() {
    let dir = tempfile::tempdir().expect("a folder");
    let place = dir.path().join("traces.json");
    // A place that cannot be read is as good as none.
    for before in [None, Some("{")] {
        if let Some(before) = before {
            std::fs::write(&place, before).expect("written");
        }
        let (durable, follows) = watch::channel(0);
        let frames = Frames { durable: follows, ..Frames::new() };
        let end = frames.entries.len() as u64;
        let killed = exporter(&place);
        let mut run = pin!(Arc::clone(&killed).run(Arc::new(frames), ready(())));
        assert!(tokio::time::timeout(GATHER, &mut run).await.is_err(), "it waits for what is recorded");
        durable.send_replace(end);
        while killed.counters().failures.load(Relaxed) < 3 {
            assert!(tokio::time::timeout(GATHER, &mut run).await.is_err(), "it goes on");
        }
        assert_eq!(exporter(&place).begin(end).await, 0, "{before:?}");
        std::fs::remove_file(&place).expect("it was put down");
    }
}

/// A node on which something is recorded whenever one looks, for a while; nothing of it can be read.
struct Busy {
    durable: watch::Sender<u64>,
    looks: AtomicU64,
}

impl Source for Busy {
    fn follow(&self) -> watch::Receiver<u64> {
        self.durable.subscribe()
    }

    fn after(&self, position: u64, _: usize) -> Result<Vec<Entry>, SourceError> {
        if self.looks.fetch_add(1, Relaxed) < 1_000 {
            self.durable.send_modify(|end| *end += 1);
        }
        Ok(vec![Entry { position: position + 1, mission: MissionNo(1), first: 0, count: 1 }])
    }

    fn read(&self, _: MissionNo, _: u32) -> Result<Option<Vec<Stamped>>, SourceError> {
        Ok(None)
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_busy_node_records_is_gathered() {
    let dir = tempfile::tempdir().expect("a folder");
    let source = Arc::new(Busy { durable: watch::Sender::new(0), looks: AtomicU64::new(0) });
    let exporter = exporter(&dir.path().join("traces.json"));
    let mut run = pin!(Arc::clone(&exporter).run(Arc::<Busy>::clone(&source), ready(())));
    assert!(tokio::time::timeout(GATHER, &mut run).await.is_err());
    source.durable.send_modify(|end| *end += 1);
    assert!(tokio::time::timeout(GATHER * 10, &mut run).await.is_err());
    let looks = source.looks.load(Relaxed);
    assert!((8..=11).contains(&looks), "it looked {looks} times in ten seconds");
    assert_eq!(exporter.counters().skipped.load(Relaxed), looks);
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

#[tokio::test]
async fn a_collector_says_in_either_form_when_to_come_again() {
    let dir = tempfile::tempdir().expect("a folder");
    for (said, least) in [("7", 7), ("Tue, 01 Jan 2999 00:00:00 GMT", 1_000_000), ("99999999999999999999999", u64::MAX)]
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let answers = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody comes");
            let (mut asked, mut more) = (Vec::new(), [0; 1_024]);
            while !asked.ends_with(b"{}") {
                let count = stream.read(&mut more).expect("it asks");
                asked.extend(&more[..count]);
            }
            let answer = format!("HTTP/1.1 503 Busy\r\nRetry-After: {said}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).expect("it listens");
        });
        let exporter = exporter_to(address, &dir.path().join("traces.json"));
        let failed = exporter.send(Bytes::from_static(b"{}")).await.expect_err("it is busy");
        assert!(!failed.for_good && failed.retry_after.is_some_and(|asked| asked.as_secs() >= least), "{said}");
        answers.join().expect("it answered");
    }
}
