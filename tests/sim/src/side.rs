//! One mission in the node's memory: its state, its records and how many of them are on disk, its run clock, what it has to
//! deliver.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sortie_contract::MissionNo;
use sortie_contract::envelope::Envelope;
use sortie_contract::id::CallNo;
use sortie_contract::record::{Record, Stamped};
use sortie_contract::tool::{CallError, ToolAnswer};
use sortie_journal::{Cursor, Head};
use sortie_mission::queue::Waiting;
use sortie_mission::{Mission, Outgoing, RunClock, Standing};

use crate::run::Run;

/// What came of a call.
pub(crate) type Outcome = Result<ToolAnswer, CallError>;

/// A mission as the node knows it.
pub(crate) struct Side {
    pub(crate) no: MissionNo,
    pub(crate) mission: Mission,
    /// All that was handed to the journal.
    pub(crate) records: Vec<Stamped>,
    /// How many of them are on disk.
    pub(crate) durable: usize,
    pub(crate) head: Head,
    /// How far deliveries are; nothing, where nothing is left.
    pub(crate) cursor: Option<Cursor>,
    pub(crate) items: Vec<Item>,
    pub(crate) outcomes: BTreeMap<CallNo, Outcome>,
    pub(crate) clock: RunClock,
    pub(crate) run: Option<Run>,
    /// Its removal was handed over.
    pub(crate) removed: bool,
}

/// Something to deliver.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    /// The record that it is of.
    pub(crate) record: usize,
    pub(crate) key: String,
    pub(crate) body: String,
}

impl Side {
    /// Of the records that the journal holds, all of which are on disk.
    pub(crate) fn read(
        no: MissionNo,
        envelope: &Arc<Envelope>,
        records: &[Stamped],
        head: Head,
        cursor: Option<Cursor>,
        steady: Duration,
    ) -> Self {
        let (first, rest) = records.split_first().expect("a mission has records");
        let mut side = Self::begin(no, envelope, first, head, cursor);
        rest.iter().for_each(|stamped| side.take(stamped, 0));
        side.durable = side.records.len();
        side.clock = RunClock::new(&side.mission, steady);
        side
    }

    /// Of its first record.
    pub(crate) fn begin(
        no: MissionNo,
        envelope: &Arc<Envelope>,
        first: &Stamped,
        head: Head,
        cursor: Option<Cursor>,
    ) -> Self {
        let mission = Mission::begin(Arc::clone(envelope), first).expect("a first record");
        let mut side = Self {
            no,
            clock: RunClock::new(&mission, Duration::ZERO),
            mission,
            records: Vec::new(),
            durable: 0,
            head,
            cursor,
            items: Vec::new(),
            outcomes: BTreeMap::new(),
            run: None,
            removed: false,
        };
        side.keep(first);
        side
    }

    /// Takes a further record up.
    pub(crate) fn take(&mut self, stamped: &Stamped, steady_ms: u64) {
        self.mission.apply(stamped).expect("the core applies what it decided");
        let begins = matches!(stamped.record, Record::Started { .. });
        self.clock.turn(&self.mission, begins, Duration::from_millis(steady_ms));
        self.keep(stamped);
    }

    fn keep(&mut self, stamped: &Stamped) {
        let record = self.records.len();
        self.items.extend(self.mission.outgoing_of(stamped).into_iter().map(|outgoing| match outgoing {
            Outgoing::Event(event) => Item {
                record,
                key: event.idempotency_key.clone(),
                body: serde_json::to_string(&event).expect("an event is plain data"),
            },
            Outgoing::Upload(artifact) => {
                Item { record, key: format!("{}@{record}", artifact.name), body: artifact.sha256.to_string() }
            }
        }));
        match &stamped.record {
            Record::CallFinished { call, outcome, .. } => drop(self.outcomes.insert(*call, outcome.clone())),
            Record::CallRefused { call, error, .. } => drop(self.outcomes.insert(*call, Err(error.clone()))),
            _ => {}
        }
        self.records.push(stamped.clone());
    }

    /// The head that follows from its state.
    pub(crate) fn head_now(&self) -> Head {
        let Standing { status, suspended, due } = self.mission.standing();
        Head { status, suspended, due, ended_at: self.mission.ended_at(), ..self.head.clone() }
    }

    pub(crate) fn waiting(&self) -> Waiting {
        let Head { vp, session, lane, start_at, end_at, .. } = self.head.clone();
        Waiting { no: self.no, session: (vp, session), lane, start_at, end_at }
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.durable == self.records.len()
    }

    /// The number of the item that follows `acked`, if it may leave the node.
    pub(crate) fn next_item(&self) -> Option<(u64, &Item)> {
        let cursor = self.cursor.as_ref().filter(|cursor| cursor.parked.is_none())?;
        let item = self.items.get(usize::try_from(cursor.acked).expect("few items"))?;
        (item.record < self.durable).then_some((cursor.acked + 1, item))
    }

    /// Whether it is over, and has nothing left to deliver.
    pub(crate) fn is_over(&self) -> bool {
        self.mission.status().is_final() && self.cursor.is_none()
    }
}
