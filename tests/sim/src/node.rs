//! The shell around the core, as thin as it can be: load, ask the core, hand over to the journal, and only then act.
//!
//! What is handed to the journal stays in a list until the world has it written, one append after the other: a commit has no
//! thread to race with, and so the same seed gives the same bytes on the disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sortie_contract::MissionNo;
use sortie_contract::Spend;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::canonical_digest;
use sortie_contract::id::{CallNo, RunNo, SessionId};
use sortie_contract::plugin::PluginIdentity;
use sortie_contract::record::{Accepted, Record, Stamped};
use sortie_contract::request::{Decision, RequestNo};
use sortie_contract::tool::Repeat;
use sortie_journal::sim::SimDisk;
use sortie_journal::{Append, Cursor, Head, Journal, Options, Receipt, WriteError};
use sortie_mission::queue::Queue;
use sortie_mission::{Admission, Command, Mission, Now, Refusal, admit, changes_standing};

use crate::check;
use crate::envelope::{lanes, rules, tools};
use crate::outside::Outside;
use crate::side::{Outcome, Side};
use crate::world::{Stray, World};

/// How long people may take to answer.
const EXPIRY: Duration = Duration::from_secs(86_400);

/// Missions that a lane runs at once, and all of them.
const CONCURRENCY: usize = 2;
const RUNNING_MAX: usize = 3;

/// A node between two crashes.
pub(crate) struct Node {
    pub(crate) disk: SimDisk,
    pub(crate) journal: Journal,
    pub(crate) queue: Queue,
    /// By the client that dispatched it.
    pub(crate) sides: BTreeMap<usize, Side>,
    last_no: MissionNo,
    pub(crate) pending: VecDeque<Pending>,
    /// Changes that were handed over, and that were written.
    pub(crate) handed: u64,
    pub(crate) committed: u64,
    pub(crate) tasks: Vec<Task>,
    /// What is told once so many changes are on disk, and to whom.
    promises: Vec<(u64, usize, Promise)>,
    /// When deliveries of a mission are tried again.
    pub(crate) next_try_ms: BTreeMap<usize, u64>,
}

/// A change on its way to the disk.
pub(crate) struct Pending {
    client: usize,
    change: Change,
}

enum Change {
    /// So many records, or the head or cursor alone.
    Append(Append, usize),
    /// Nothing is kept of the mission.
    Remove(MissionNo),
}

/// What somebody is told once everything that was handed over by then is on disk.
#[derive(Debug)]
pub(crate) enum Promise {
    Accepted(MissionNo),
    Cancelled,
    Decided(RequestNo, Decision),
}

/// A call that is being made.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) client: usize,
    pub(crate) run: RunNo,
    pub(crate) call: CallNo,
    pub(crate) stage: Stage,
}

/// How far a call is.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    /// It waits until so many changes are on disk.
    Waits(u64),
    /// It has left the node.
    Sent,
    /// It has its result.
    Done(Outcome, Spend),
}

impl Node {
    /// A node on what a disk holds.
    pub(crate) fn open(disk: SimDisk, outside: &Outside, steady: Duration) -> Self {
        let options = Options { queue_appends_max: 16, ..Options::default() };
        let opened = Journal::open_backend(disk.clone(), &options);
        let (journal, opened) = opened.expect("a journal opens after any crash");
        let mut heads: BTreeMap<MissionNo, Head> = BTreeMap::new();
        journal.scan_oldest_first(|no, head| drop(heads.insert(no, head))).expect("readable heads");
        let cursors: BTreeMap<MissionNo, Cursor> = opened.undelivered.into_iter().collect();
        let mut queue = Queue::new(lanes().map(|lane| (lane, CONCURRENCY)), RUNNING_MAX);
        queue.pause(outside.paused);
        let mut sides = BTreeMap::new();
        for (no, head) in heads {
            let mut clients = outside.clients.iter();
            let client = clients.position(|client| client.envelope.mission_id == head.mission_id);
            let client = client.expect("somebody dispatched it");
            let records = journal.read(no).expect("readable records");
            let envelope = &outside.clients[client].envelope;
            let side = Side::read(no, envelope, &records, head, cursors.get(&no).cloned(), steady);
            assert_eq!(side.head, side.head_now(), "a head is a summary of the records");
            if !side.head.status.is_final() && !side.head.suspended {
                queue.push(&side.waiting());
            }
            assert!(sides.insert(client, side).is_none(), "client {client} has two missions");
        }
        Self {
            disk,
            journal,
            queue,
            sides,
            last_no: opened.last_no,
            pending: VecDeque::new(),
            handed: 0,
            committed: 0,
            tasks: Vec::new(),
            promises: Vec::new(),
            next_try_ms: BTreeMap::new(),
        }
    }

    fn hand_over(&mut self, client: usize, change: Change) {
        self.pending.push_back(Pending { client, change });
        self.handed += 1;
    }

    /// Tells somebody something once nothing can take it back.
    pub(crate) fn promise(&mut self, client: usize, promise: Promise) {
        self.promises.push((self.handed, client, promise));
    }

    /// Moves how far deliveries are.
    pub(crate) fn move_cursor(&mut self, client: usize, cursor: Option<Cursor>) {
        let side = self.sides.get_mut(&client).expect("it has a mission");
        let append = Append::new(side.no, 0, &[]);
        let append = cursor.as_ref().map_or_else(|| append.clone().delivered(), |cursor| append.clone().cursor(cursor));
        side.cursor = cursor;
        self.hand_over(client, Change::Append(append, 0));
    }

    /// Keeps nothing of a mission any more.
    pub(crate) fn remove(&mut self, client: usize) {
        let side = self.sides.get_mut(&client).expect("it has a mission");
        side.removed = true;
        let no = side.no;
        self.hand_over(client, Change::Remove(no));
    }

    /// Whether a change of the mission is not on disk yet.
    pub(crate) fn is_changing(&self, client: usize) -> bool {
        self.pending.iter().any(|pending| pending.client == client)
    }

    /// A run is over: it gives its slot back, and what it had begun goes on without it, where it has left the node already.
    fn stop_run(&mut self, client: usize) -> Vec<Task> {
        let side = self.sides.get_mut(&client).expect("it has a mission");
        side.run = None;
        let no = side.no;
        self.queue.release(no);
        let (stopped, tasks) = self.tasks.drain(..).partition(|task| task.client == client);
        self.tasks = tasks;
        stopped
    }

    /// The grant of a call that is being made.
    pub(crate) fn spawn(&mut self, client: usize, run: RunNo, call: CallNo) {
        let repeat = check::grant(&self.sides[&client].records, call).expect("it was granted").repeat;
        let after = if repeat == Repeat::ReadOnly { 0 } else { self.handed };
        self.tasks.push(Task { client, run, call, stage: Stage::Waits(after) });
    }
}

impl World {
    /// The mission of a client.
    pub(crate) fn side(&self, client: usize) -> &Side {
        &self.node.sides[&client]
    }

    pub(crate) fn mission(&self, client: usize) -> &Mission {
        &self.side(client).mission
    }

    pub(crate) fn now(&self, client: usize) -> Now {
        let ran_ms = self.side(client).clock.ran_ms(Duration::from_millis(self.steady_ms));
        Now { wall: self.wall, ran_ms, expires_at: self.wall + EXPIRY }
    }

    /// Somebody dispatches: for the first time, or again.
    pub(crate) fn dispatch(&mut self, client: usize) {
        if let Some(side) = self.node.sides.get(&client) {
            let no = side.no;
            self.tell(client, "is dispatched again");
            self.history.count("dispatched again");
            self.node.promise(client, Promise::Accepted(no));
            return;
        }
        let (text, envelope) =
            (self.outside.clients[client].text.clone(), Arc::clone(&self.outside.clients[client].envelope));
        let Ok(Admission { lane, budget, unknown_approvals, warnings, .. }) =
            admit(&envelope, &rules(), &tools(), self.wall)
        else {
            self.tell(client, "is refused at intake");
            self.history.count("refused at intake");
            self.outside.clients[client].rejected = true;
            return;
        };
        let session = SessionId::of(&envelope.vp_id);
        let plugin = PluginIdentity { name: "script".into(), version: "1.0.0".into(), digest: Digest::of(b"script") };
        let digest = canonical_digest(&text).expect("it was parsed");
        let head = Head::accepted(&envelope, digest, session.clone(), lane.clone(), self.wall);
        let accepted = Accepted { envelope: text, session, lane, plugin, budget, unknown_approvals, warnings };
        let first = Stamped { at: self.wall, ran_ms: 0, record: Record::Accepted(Box::new(accepted)) };
        self.node.last_no = MissionNo(self.node.last_no.0 + 1);
        let no = self.node.last_no;
        let mut append = Append::new(no, 0, std::slice::from_ref(&first)).head(&head);
        let cursor = envelope.callback.is_some().then(Cursor::default);
        if let Some(cursor) = &cursor {
            append = append.cursor(cursor);
        }
        let side = Side::begin(no, &envelope, &first, head, cursor);
        self.node.queue.push(&side.waiting());
        self.node.sides.insert(client, side);
        self.node.hand_over(client, Change::Append(append, 1));
        self.node.promise(client, Promise::Accepted(no));
        self.tell(client, "is accepted");
    }

    /// Decides, hands over, takes up; and what follows for whose turn it is.
    pub(crate) fn command(&mut self, client: usize, command: Command<'_>) -> Result<Vec<Record>, Refusal> {
        let now = self.now(client);
        let side = self.node.sides.get_mut(&client).expect("it has a mission");
        let records = side.mission.decide(now, command)?;
        if records.is_empty() {
            return Ok(records);
        }
        let first = side.mission.records();
        let standing = side.mission.standing();
        let stamp = |record: &Record| Stamped { at: now.wall, ran_ms: now.ran_ms, record: record.clone() };
        let stamped: Vec<Stamped> = records.iter().map(stamp).collect();
        stamped.iter().for_each(|stamped| side.take(stamped, self.steady_ms));
        let mut append = Append::new(side.no, first, &stamped);
        if records.iter().any(changes_standing) {
            side.head = side.head_now();
            append = append.head(&side.head);
        }
        assert!(side.mission.standing() == standing || side.head == side.head_now(), "how it stands is in its head");
        check::fold(side);
        self.node.hand_over(client, Change::Append(append, stamped.len()));
        for record in &records {
            self.note(client, record);
        }
        self.go_on_with(client, &records);
        self.settle(client);
        Ok(records)
    }

    /// Calls that a decision lets go on, where the run that waits for them is there.
    fn go_on_with(&mut self, client: usize, records: &[Record]) {
        let Some(run) = &self.side(client).run else { return };
        let no = run.no;
        for record in records {
            if let Record::CallResumed { call } = record
                && self.side(client).run.as_ref().is_some_and(|run| run.holds(*call))
            {
                self.node.spawn(client, no, *call);
            }
        }
    }

    /// What follows from a command for whose turn it is.
    fn settle(&mut self, client: usize) {
        let no = self.side(client).no;
        if self.mission(client).status().is_final() {
            self.node.queue.remove(no);
        }
        if self.mission(client).run().is_some() {
            return;
        }
        let stopped = self.node.stop_run(client);
        let left = stopped.into_iter().filter(|task| !matches!(task.stage, Stage::Waits(_)));
        self.strays.extend(left.map(|task| Stray { no, task, is_orphan: false }));
        if self.mission(client).wants_turn(self.now(client)) {
            let waiting = self.side(client).waiting();
            self.node.queue.push(&waiting);
        }
    }

    /// Writes the first change that waits for it.
    ///
    /// # Errors
    /// Where the disk fails; the node is over then.
    pub(crate) fn commit(&mut self) -> Result<(), WriteError> {
        let Some(pending) = self.node.pending.pop_front() else { return Ok(()) };
        let journal = &self.node.journal;
        let receipt = match &pending.change {
            Change::Append(append, _) => journal.append_durable(append.clone()),
            Change::Remove(no) => journal.remove(*no).and_then(|()| journal.barrier()),
        };
        receipt.and_then(Receipt::wait)?;
        self.node.committed += 1;
        match pending.change {
            Change::Append(_, records) => {
                self.node.sides.get_mut(&pending.client).expect("it has a mission").durable += records;
            }
            Change::Remove(_) => {
                self.node.sides.remove(&pending.client);
                self.outside.clients[pending.client].forgotten = true;
                self.tell(pending.client, "is removed");
                self.history.count("removed");
            }
        }
        let committed = self.node.committed;
        let (due, later) = self.node.promises.drain(..).partition(|(after, _, _)| *after <= committed);
        self.node.promises = later;
        let due: Vec<(u64, usize, Promise)> = due;
        for (_, client, promise) in due {
            self.outside.clients[client].hear(promise);
        }
        Ok(())
    }
}
