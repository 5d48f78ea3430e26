//! What has been read back from the node's journal: nothing else of what it keeps is believed.
//!
//! It is followed along the journal's feed, and what each commit has added is held against the invariants at once. Of a node that
//! is gone it is what was on disk at its end, which the next one must find.

use std::collections::{BTreeMap, BTreeSet};

use sortie_contract::digest::Digest;
use sortie_contract::overview::Overview;
use sortie_contract::record::{Record, Stamped};
use sortie_contract::{MissionNo, Status};
use sortie_journal::{Cursor, Head, Journal};
use sortie_mission::{Mission, Outgoing, Standing};

use crate::check;
use crate::forks;
use crate::money;
use crate::scene::Scene;

/// How much of the feed is read at once.
const CHUNK: usize = 1_024;

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
    pub(crate) fn open(scene: &Scene, journal: &Journal, removed: BTreeSet<MissionNo>) -> Self {
        let mut all = Vec::new();
        journal.scan_oldest_first(|no, head| all.push((no, head))).expect("readable heads");
        let mut ledger = Self { position: *journal.durable().borrow(), sides: BTreeMap::new(), removed };
        for (no, head) in all {
            ledger.read(scene, journal, no, &head, |_, _| ());
            let side = ledger.sides.get_mut(&no).expect("it was just read");
            side.cursor = journal.cursor(no).expect("a readable cursor");
        }
        ledger
    }

    /// The mission of a client.
    pub(crate) fn of(&self, client: usize) -> Option<&Side> {
        self.sides.values().find(|side| side.client == client)
    }

    /// Takes up what was written since.
    pub(crate) fn follow(&mut self, scene: &Scene, journal: &Journal) {
        let durable = *journal.durable().borrow();
        let mut written = BTreeSet::new();
        while self.position < durable {
            let entries = journal.feed_after(self.position, CHUNK).expect("a readable feed");
            written.extend(entries.iter().map(|entry| entry.mission));
            self.position = entries.last().map_or(durable, |entry| entry.position);
        }
        for no in written {
            if let Some(head) = journal.head(no).expect("a readable head") {
                self.read(scene, journal, no, &head, |client, record| scene.note(client, record));
            }
        }
        for no in self.sides.keys().copied().collect::<Vec<_>>() {
            let side = self.sides.get_mut(&no).expect("it is listed");
            if side.mission.status().is_final() && journal.head(no).expect("a readable head").is_none() {
                let side = self.sides.remove(&no).expect("it is listed");
                self.remove(scene, &side);
                continue;
            }
            let cursor = journal.cursor(no).expect("a readable cursor");
            if cursor != side.cursor {
                scene.tell(side.client, &format!("{cursor:?}"));
                side.cursor = cursor;
            }
            scene.client(side.client, |client| check::cursor(side, client));
        }
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
    fn read(&mut self, scene: &Scene, journal: &Journal, no: MissionNo, head: &Head, tell: impl Fn(usize, &Record)) {
        assert!(!self.removed.contains(&no), "{no} is gone, and is there");
        let first = self.sides.get(&no).map_or(0, |side| side.mission.records());
        let records = journal.read_from(no, first).expect("readable records");
        let is_new = first == 0;
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
        let client = scene.outside(|outside| outside.client_of(mission.envelope().mission_id.as_str()));
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
