//! What has been read back from the node's journal: nothing else of what it keeps is believed.
//!
//! It is followed along the journal's feed, and what each commit has added is held against the invariants at once. Of a node that
//! is gone it is what was on disk at its end, which the next one must find.

use std::collections::{BTreeMap, BTreeSet};

use sortie_contract::digest::Digest;
use sortie_contract::overview::Overview;
use sortie_contract::record::{Record, Stamped};
use sortie_contract::{MissionNo, Status};
use sortie_journal::{Cursor, Head, Journal, Log as _, MemoryFleet};
use sortie_mission::{Mission, Outgoing, Standing};

use crate::check;
use crate::forks;
use crate::kin;
use crate::money;
use crate::scene::Scene;

/// How much of the feed is read at once.
const CHUNK: usize = 1_024;

/// Where it is read from.
#[derive(Clone)]
pub(crate) enum Source {
    /// The journal of a node.
    Journal(Journal),
    /// The store of many.
    Store(MemoryFleet),
}

impl Source {
    fn heads(&self) -> Vec<(MissionNo, Head)> {
        let mut all = Vec::new();
        match self {
            Self::Journal(journal) => {
                journal.scan_oldest_first(|no, head| all.push((no, head))).expect("readable heads");
            }
            Self::Store(store) => {
                for log in store.logs() {
                    all.extend(log.heads_oldest_first(None, usize::MAX).expect("readable heads"));
                }
                all.sort_unstable_by_key(|(no, _)| *no);
                assert!(all.windows(2).all(|two| two[0].0 < two[1].0), "a mission is in two shares");
            }
        }
        all
    }

    fn head(&self, no: MissionNo) -> Option<Head> {
        match self {
            Self::Journal(journal) => journal.head(no).expect("a readable head"),
            Self::Store(store) => store.logs().iter().find_map(|log| log.head(no).expect("a readable head")),
        }
    }

    fn records(&self, no: MissionNo, first: u32) -> Vec<Stamped> {
        match self {
            Self::Journal(journal) => journal.read_from(no, first).expect("readable records"),
            Self::Store(store) => {
                let mut logs = store.logs().into_iter();
                let log = logs.find(|log| log.head(no).expect("a readable head").is_some());
                log.map_or_else(Vec::new, |log| log.read_all(no, first).expect("readable records"))
            }
        }
    }

    fn cursor(&self, no: MissionNo) -> Option<Cursor> {
        match self {
            Self::Journal(journal) => journal.cursor(no).expect("a readable cursor"),
            Self::Store(store) => store.logs().iter().find_map(|log| log.cursor(no).expect("a readable cursor")),
        }
    }

    /// Up to where it is read at first.
    fn position(&self) -> u64 {
        match self {
            Self::Journal(journal) => *journal.durable().borrow(),
            Self::Store(_) => 0,
        }
    }

    /// What was written behind a position, and where it ends. A store has no order of its own: that is all there is in it.
    fn written(&self, position: &mut u64) -> BTreeSet<MissionNo> {
        let Self::Journal(journal) = self else {
            return self.heads().into_iter().map(|(no, _)| no).collect();
        };
        let (durable, mut written) = (self.position(), BTreeSet::new());
        while *position < durable {
            let entries = journal.feed_after(*position, CHUNK).expect("a readable feed");
            written.extend(entries.iter().map(|entry| entry.mission));
            *position = entries.last().map_or(durable, |entry| entry.position);
        }
        written
    }
}

/// All that is on disk.
#[derive(Default)]
pub(crate) struct Ledger {
    position: u64,
    pub(crate) sides: BTreeMap<MissionNo, Side>,
    /// Missions that are not kept any more.
    pub(crate) removed: BTreeSet<MissionNo>,
}

/// One mission.
pub(crate) struct Side {
    pub(crate) no: MissionNo,
    pub(crate) client: usize,
    /// The fold of its records.
    pub(crate) mission: Mission,
    pub(crate) records: Vec<Stamped>,
    pub(crate) items: Vec<Item>,
    /// How far its deliveries are; none, where nothing is left.
    pub(crate) cursor: Option<Cursor>,
}

/// Something to deliver.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) key: String,
    pub(crate) body: String,
}

impl Ledger {
    /// Of what a node finds when it starts.
    pub(crate) fn open(scene: &Scene, source: &Source, removed: BTreeSet<MissionNo>) -> Self {
        let mut ledger = Self { position: source.position(), sides: BTreeMap::new(), removed };
        for (no, head) in source.heads() {
            ledger.read(scene, source, no, &head, |_, _| ());
            let side = ledger.sides.get_mut(&no).expect("it was just read");
            side.cursor = source.cursor(no);
        }
        ledger
    }

    /// The mission of a client.
    pub(crate) fn of(&self, client: usize) -> Option<&Side> {
        self.sides.values().find(|side| side.client == client)
    }

    /// The mission of that name.
    pub(crate) fn named(&self, id: &str) -> Option<&Side> {
        self.sides.values().find(|side| side.mission.envelope().mission_id.as_str() == id)
    }

    /// Takes up what was written since.
    pub(crate) fn follow(&mut self, scene: &Scene, source: &Source) {
        for no in source.written(&mut self.position) {
            if let Some(head) = source.head(no) {
                self.read(scene, source, no, &head, |client, record| scene.note(client, record));
            }
        }
        for no in self.sides.keys().copied().collect::<Vec<_>>() {
            let side = self.sides.get_mut(&no).expect("it is listed");
            if side.mission.status().is_final() && source.head(no).is_none() {
                let side = self.sides.remove(&no).expect("it is listed");
                self.remove(scene, &side);
                continue;
            }
            let cursor = source.cursor(no);
            if cursor != side.cursor {
                scene.tell(side.client, &format!("{cursor:?}"));
                side.cursor = cursor;
            }
            scene.client(side.client, |client| check::cursor(side, client));
        }
        kin::between(scene, self);
    }

    /// A mission is not kept any more.
    pub(crate) fn remove(&mut self, scene: &Scene, side: &Side) {
        self.removed.insert(side.no);
        scene.client(side.client, |client| {
            check::over(client, side);
            client.forget(&side.records);
        });
        scene.outside(|outside| {
            outside.strays.retain(|stray| stray.client != side.client);
            outside.gone.insert(side.client);
        });
        scene.tell(side.client, "is removed");
        scene.count("removed");
        check::outlived(side, &scene.clock);
    }

    /// Takes up what was recorded of a mission since, and tells of it.
    fn read(&mut self, scene: &Scene, source: &Source, no: MissionNo, head: &Head, tell: impl Fn(usize, &Record)) {
        assert!(!self.removed.contains(&no), "{no} is gone, and is there");
        let first = self.sides.get(&no).map_or(0, |side| side.mission.records());
        let records = source.records(no, first);
        let is_new = first == 0;
        if records.is_empty() && matches!(source, Source::Store(_)) {
            return;
        }
        if is_new {
            let side = Side::begin(scene, no, &records[0]);
            assert!(self.of(side.client).is_none(), "client {} has two missions", side.client);
            scene.outside(|outside| outside.gone.remove(&side.client));
            tell(side.client, &records[0].record);
            self.sides.insert(no, side);
        }
        let side = self.sides.get_mut(&no).expect("it was just put there");
        for stamped in records.iter().skip(usize::from(is_new)) {
            side.mission.apply(stamped).expect("records that follow each other");
            side.keep(stamped);
            tell(side.client, &stamped.record);
        }
        scene.client(side.client, |client| {
            check::records(side);
            check::results(side, client);
            money::paid(side, client);
            check::window(&side.mission, &side.records);
        });
        side.is_headed(head);
        if is_new && side.mission.forked_from().is_some() {
            self.forked(scene, no);
        }
        if is_new {
            kin::begun(scene, self, &self.sides[&no]);
        }
    }

    /// A fork is met for the first time in this life of the node.
    fn forked(&self, scene: &Scene, no: MissionNo) {
        let side = &self.sides[&no];
        let origin = scene.client(side.client, |client| client.fork.clone()).expect("somebody has ordered it");
        let past = || scene.client(origin.of, |client| client.past.clone());
        let there = self.sides.get(&origin.no).map_or_else(past, |of| of.records.clone());
        forks::begun(side, (!there.is_empty()).then_some(there.as_slice()));
    }
}

impl Side {
    fn begin(scene: &Scene, no: MissionNo, first: &Stamped) -> Self {
        let mission = sortie_engine::begin(first).expect("an acceptance of a valid envelope");
        let Record::Accepted(accepted) = &first.record else { panic!("a mission begins with {first:?}") };
        let client = kin::client(scene, &mission, &accepted.envelope);
        let (records, items) = (Vec::new(), Vec::new());
        let mut side = Self { no, client, mission, records, items, cursor: None };
        side.keep(first);
        side
    }

    fn keep(&mut self, stamped: &Stamped) {
        let before = self.items.len() as u64;
        for (place, outgoing) in (before + 1..).zip(self.mission.outgoing_of(stamped)) {
            self.items.push(match outgoing {
                Outgoing::Event(event) => Item {
                    key: event.idempotency_key.clone(),
                    body: serde_json::to_string(&event).expect("an event is plain data"),
                },
                Outgoing::Upload(artifact) => Item {
                    key: format!("{}/artifacts/{}/{place}", self.mission.envelope().mission_id, artifact.name),
                    body: artifact.sha256.to_string(),
                },
            });
        }
        self.records.push(stamped.clone());
    }

    /// A head is a summary of the records, and was written with them.
    fn is_headed(&self, head: &Head) {
        let Standing { status, suspended, due } = self.mission.standing();
        assert_eq!(
            (head.status, head.suspended, head.due),
            (status, suspended, due),
            "a head that says something else"
        );
        assert_eq!(head.ended_at, self.mission.ended_at(), "a head that ended at another time");
        let crashes = (self.mission.crashes(), self.mission.outlived());
        assert_eq!((head.crashes, head.outlived), crashes, "a head of other crashes");
        let shown = head.overview.clone().expect("this Sortie shows an overview");
        let now = self.mission.overview();
        // Its run time is of the last record that changed something else.
        let Overview { ran_ms, .. } = shown;
        assert!(ran_ms <= now.ran_ms, "a head that is ahead of its mission");
        assert_eq!(shown, Overview { ran_ms, ..now }, "a head that shows something else");
    }

    /// Which of the client's texts was accepted.
    pub(crate) fn text(&self) -> &str {
        match &self.records[0].record {
            Record::Accepted(accepted) => &accepted.envelope,
            other => panic!("a mission begins with {other:?}"),
        }
    }

    /// Whether it is over, and has nothing left to deliver.
    pub(crate) fn is_over(&self) -> bool {
        self.mission.status().is_final() && self.is_delivered()
    }

    pub(crate) fn is_delivered(&self) -> bool {
        self.cursor.as_ref().is_none_or(|cursor| cursor.closed)
    }

    pub(crate) fn is_parked(&self) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| cursor.parked.is_some())
    }

    /// Items that an operator left out.
    pub(crate) fn skipped(&self) -> &[u64] {
        self.cursor.as_ref().map_or(&[], |cursor| &cursor.skipped)
    }

    pub(crate) fn ended(&self) -> Option<Status> {
        Some(self.mission.status()).filter(|status| status.is_final())
    }
}

/// What an upload is compared by.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}
