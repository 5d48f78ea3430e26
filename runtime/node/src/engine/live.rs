//! A mission in memory: its state, its run clock, and the one way to change it.
//!
//! Whoever wants something of a mission (a plugin, a timer, an operator) sends a command. The core decides, the journal
//! gets the records in the order of the decisions, the state takes them up, all under one short lock. Nothing waits
//! for the disk here: what must not leave the node before it is durable awaits the [`Receipt`].

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_contract::record::Stamped;
use sortie_contract::{Event, MissionNo, Status};
use sortie_journal::{Append, Head, Receipt, WriteError};
use sortie_mission::{Command, Due, Mission, Now, Refusal, status_after};
use sortie_sandbox::Kill;

use crate::clock::Clock;

/// A mission that is being worked with.
pub(crate) struct Live {
    /// Its number.
    pub(crate) no: MissionNo,
    inner: Mutex<Inner>,
}

struct Inner {
    mission: Mission,
    head: Head,
    run: RunClock,
    kill: Option<Kill>,
}

/// How long the mission has been running: what the journal says, and since when it has been running again.
#[derive(Clone, Copy)]
struct RunClock {
    base_ms: u64,
    since: Option<Duration>,
}

impl RunClock {
    fn ran_ms(self, steady: Duration) -> u64 {
        let running = self.since.map_or(Duration::ZERO, |since| steady.saturating_sub(since));
        self.base_ms.saturating_add(u64::try_from(running.as_millis()).unwrap_or(u64::MAX))
    }
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Taken {
    /// What was recorded; nothing, where the command changed nothing.
    pub(crate) records: Vec<Stamped>,
    /// The status after it.
    pub(crate) status: Status,
    /// Resolves when the records are on disk; there where the command asked for it.
    pub(crate) receipt: Option<Receipt>,
}

/// Why a command was not taken. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The rules of the mission forbid it.
    #[error("refused")]
    Refused(#[source] Refusal),
    /// The journal does not take it: overload, or a failure that stops the node.
    #[error("the journal did not take the record")]
    Journal(#[from] WriteError),
}

/// Whether somebody will wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A receipt is wanted.
    Durable,
    /// Nobody waits; a crash may take the record back.
    No,
}

impl Live {
    /// Takes a mission into memory.
    pub(crate) fn new(no: MissionNo, mission: Mission, head: Head) -> Self {
        let run = RunClock { base_ms: mission.ran_ms(), since: None };
        Self { no, inner: Mutex::new(Inner { mission, head, run, kill: None }) }
    }

    /// Sends a command: decides, journals, applies.
    pub(crate) fn command(
        &self,
        journal: &sortie_journal::Journal,
        clock: &dyn Clock,
        command: Command<'_>,
        wait: Wait,
    ) -> Result<Taken, CommandError> {
        let mut inner = self.inner.lock();
        let steady = clock.steady();
        let now = Now { wall: clock.wall(), ran_ms: inner.run.ran_ms(steady) };
        let records: Vec<Stamped> = inner
            .mission
            .decide(now, command)
            .map_err(CommandError::Refused)?
            .into_iter()
            .map(|record| Stamped { at: now.wall, ran_ms: now.ran_ms, record })
            .collect();
        if records.is_empty() {
            return Ok(Taken { records, status: inner.mission.status(), receipt: None });
        }
        let receipt = inner.append(journal, self.no, &records, wait)?;
        let status = inner.mission.status();
        inner.run.turn(status, steady);
        if status.is_final()
            && let Some(kill) = inner.kill.take()
        {
            kill.now();
        }
        Ok(Taken { records, status, receipt })
    }

    /// The mission's entry in the index of all missions.
    pub(crate) fn head(&self) -> Head {
        self.inner.lock().head.clone()
    }

    /// Reads the state.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&Mission) -> T) -> T {
        read(&self.inner.lock().mission)
    }

    /// The mission's times now.
    pub(crate) fn now(&self, clock: &dyn Clock) -> Now {
        Now { wall: clock.wall(), ran_ms: self.inner.lock().run.ran_ms(clock.steady()) }
    }

    /// When the mission wants a tick, and its run clock now.
    pub(crate) fn next_due(&self, clock: &dyn Clock) -> (Due, Now) {
        let inner = self.inner.lock();
        let now = Now { wall: clock.wall(), ran_ms: inner.run.ran_ms(clock.steady()) };
        (inner.mission.next_due(), now)
    }

    /// Hands over the switch that stops the plugin's run. A mission that has ended meanwhile stops it at once.
    pub(crate) fn armed(&self, kill: Kill) {
        let mut inner = self.inner.lock();
        if inner.mission.status().is_final() {
            kill.now();
        } else {
            inner.kill = Some(kill);
        }
    }

    /// Stops the plugin's run without ending the mission: the node is shutting down.
    pub(crate) fn interrupt(&self) {
        if let Some(kill) = self.inner.lock().kill.take() {
            kill.now();
        }
    }
}

impl Inner {
    /// Appends to the journal and, if it takes the records, to the state.
    fn append(
        &mut self,
        journal: &sortie_journal::Journal,
        no: MissionNo,
        records: &[Stamped],
        wait: Wait,
    ) -> Result<Option<Receipt>, CommandError> {
        let mut append = Append::new(no, self.mission.records(), records);
        if let Some(status) = records.iter().rev().find_map(|stamped| status_after(&stamped.record)) {
            self.head.status = status;
            append = append.head(&self.head);
        }
        let receipt = match wait {
            Wait::Durable => Some(journal.append_durable(append)?),
            Wait::No => {
                journal.append(append)?;
                None
            }
        };
        for record in records {
            self.mission.apply(record).expect("the core applies what it decided");
        }
        Ok(receipt)
    }
}

impl RunClock {
    /// Starts or stops with the mission's status.
    fn turn(&mut self, status: Status, steady: Duration) {
        match (status == Status::Running, self.since) {
            (true, None) => self.since = Some(steady),
            (false, Some(_)) => *self = Self { base_ms: self.ran_ms(steady), since: None },
            _ => {}
        }
    }
}

/// The missions in memory, in shards so that they do not wait for each other.
pub(crate) struct Lives {
    shards: Vec<Mutex<FxHashMap<MissionNo, Arc<Live>>>>,
}

/// Enough that two busy cores rarely meet in one.
const SHARDS: u64 = 64;

impl Lives {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    fn shard(&self, no: MissionNo) -> &Mutex<FxHashMap<MissionNo, Arc<Live>>> {
        &self.shards[usize::try_from(no.0 % SHARDS).expect("a small number")]
    }

    /// The mission, if it is in memory.
    pub(crate) fn get(&self, no: MissionNo) -> Option<Arc<Live>> {
        self.shard(no).lock().get(&no).cloned()
    }

    /// The mission; `load` brings it from the journal if it is not in memory. Nobody can load it twice.
    pub(crate) fn get_or_load<E>(&self, no: MissionNo, load: impl FnOnce() -> Result<Live, E>) -> Result<Arc<Live>, E> {
        let mut shard = self.shard(no).lock();
        if let Some(live) = shard.get(&no) {
            return Ok(Arc::clone(live));
        }
        let live = Arc::new(load()?);
        shard.insert(no, Arc::clone(&live));
        Ok(live)
    }

    /// Puts a new mission in.
    pub(crate) fn insert(&self, live: Live) -> Arc<Live> {
        let live = Arc::new(live);
        self.shard(live.no).lock().insert(live.no, Arc::clone(&live));
        live
    }

    /// Lets go of a mission that nobody works with, so that waiting costs no memory. To be called only when everything
    /// that it recorded is on disk: the next one to want it reads it from there.
    pub(crate) fn release(&self, live: &Arc<Live>) {
        let mut shard = self.shard(live.no).lock();
        // Two: the map's and the caller's. Whoever else holds it calls this again.
        if live.with(Mission::status) != Status::Running && Arc::strong_count(live) <= 2 {
            shard.remove(&live.no);
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Live>> {
        self.shards.iter().flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>()).collect()
    }
}

/// What a mission's events look like, read from its records.
pub(crate) fn events_of(mission: &mut Mission, records: &[Stamped]) -> Vec<Event> {
    let mut events = Vec::new();
    for record in records {
        if mission.apply(record).is_err() {
            break;
        }
        events.extend(mission.event_of(record));
    }
    events
}
