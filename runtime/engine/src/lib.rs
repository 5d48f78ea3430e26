//! The driver: missions from their dispatch to their last delivered event.
//!
//! It is the thin shell around the pure core: it loads, asks the core, appends, and only then acts. One file for each
//! thing that it does:
//!
//! | file | what |
//! | --- | --- |
//! | `open` | what it is put together of, and how it starts and stops |
//! | `intake`, `check` | a dispatched envelope becomes an accepted mission, or an answer that says why not |
//! | `explain` | what would become of an envelope |
//! | `fleet` | several nodes on one store |
//! | `desk` | whose turn it is |
//! | `commit` | the way of records to the log, and what goes by them |
//! | `live`, `lives` | a mission in memory, how it comes there, and the one way to change it |
//! | `start`, `guests` | gives missions their turn and runs their plugins |
//! | `host` | what a running plugin asks of the node |
//! | `order` | a call as a plugin wants it made |
//! | `measured` | how long what is done takes |
//! | `model` | calls of models: what is asked, what it costs, what becomes of one that is refused for now |
//! | `on_record` | a run's large results: where each is recorded, and which of them are held |
//! | `results` | what results of calls hold of the memory |
//! | `suspend` | a run that only waits leaves memory |
//! | `keep`, `artifact_store`, `shared_store` | bytes become artifacts, and where they are |
//! | `workspaces`, `shared_room`, `disk` | where sessions work, and how much room there is for all of them |
//! | `handed` | what a mission was told of its tools |
//! | `collect` | outputs that were written but not stored |
//! | `timer` | windows, heartbeats, run time |
//! | `act` | what operators do: decide, cancel, halt, pause |
//! | `look`, `shown`, `standings` | what anybody may see, in which form, and what lists go by |
//! | `search` | the language in which lists are narrowed |
//! | `past` | a mission as of one of its records |
//! | `why` | which records led to how a mission stands |
//! | `views` | folds that are kept for readers |
//! | `herald` | says what is new on disk |
//! | `outbox`, `deliveries` | what is still to be delivered, and how far deliveries are |
//! | `quarantine` | missions that cannot be read |
//! | `recover` | where the journal left off |
//! | `probation` | missions that may be what stops the node run alone for a while |
//! | `held` | which plugins missions hold |
//! | `providers` | where tools come from: reached, watched, tried again |
//! | `pins` | missions that somebody wants kept |
//! | `rehearsal` | a plugin run on what is on record, with nothing done |
//! | `children` | missions that missions dispatch: there once, told of, ended with their parents |
//! | `fork` | a mission that goes on from a call of another |
//! | `removals`, `restored` | who keeps things from being removed; a node that holds back since it was restored |
//! | `retain` | what is removed when it has outlived its use |
//! | `schedules` | what is due of schedules fires, and what became of each fire is on record |
//! | `supervise` | background tasks, and what becomes of the node when one dies |
//!
//! Locks, in the order in which they may be taken; none is held over a read of the log or a wait:
//!
//! 1. a mission on its way into memory (`lives`), which is there to be waited for while that one mission is read;
//! 2. the log's own, under which [`Log::admit`] asks what becomes of a dispatch;
//! 3. a shard of the missions in memory (`lives`), or the alarms (`timer`);
//! 4. a mission in memory (`live`);
//! 5. the desk, the missions with something to deliver, followers, views, and what is due of schedules before each of them: the
//!    last, with nothing under them.
//!
//! A schedule's turn is no lock: whoever has it may wait for the log.

pub mod act;
mod amend;
mod artifact_store;
mod asking;
mod change;
mod check;
mod children;
mod clocks;
mod collect;
mod commit;
mod deliveries;
mod desk;
mod disk;
mod explain;
pub mod fleet;
pub mod fork;
mod guests;
mod handed;
mod held;
mod herald;
mod host;
mod hours;
pub mod intake;
mod keep;
mod live;
mod lives;
pub mod look;
mod measured;
mod model;
mod night;
mod on_record;
mod open;
mod order;
pub mod outbox;
mod past;
mod pins;
mod portable;
mod probation;
mod providers;
mod put_off;
mod quarantine;
mod recorded;
pub mod recover;
pub mod rehearsal;
mod removals;
mod restored;
mod results;
mod retain;
pub mod schedules;
pub mod search;
mod shared_room;
mod shared_store;
pub mod shown;
mod spending;
mod standings;
mod start;
mod supervise;
mod suspend;
mod timer;
pub mod views;
mod why;
mod wider;
mod workspaces;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use sortie_ambient::Surroundings;
use sortie_callback::Courier;
use sortie_contract::envelope::Envelope;
use sortie_contract::record::Record;
use sortie_contract::{MissionId, MissionNo, Stamped, Timestamp};
use sortie_journal::Log;
use sortie_mission::{Mission, NodeRules, Now};
use sortie_models::Models;
use sortie_tools::{ProviderHealth, Providers, Toolbox};
use tokio::sync::broadcast;

pub use artifact_store::{Artifacts, FolderArtifacts, Room};
pub use desk::Turns;
pub use disk::{Disk, Moment};
pub use guests::Guests;
pub use hours::NodeHours;
pub use measured::Measured;
pub use open::{OpenError, OpenLog, Parts, Settings};
pub use put_off::Held;
pub use removals::{Hold, Removals};
pub use results::RESULTS_BYTES_MIN;
pub use shared_room::SharedRoom;
pub use shared_store::{ArtifactError, ArtifactsOf, SharedStore, shared_place};
pub use spending::Spending;
pub use workspaces::{CarryError, Fetched, FolderWorkspaces, LeftBehind, Workspaces};

use desk::Desk;
use live::Live;
use lives::Lives;

/// How many of the last records of a mission are looked through for why a call of it is put off.
const HOLD_RECORDS: u32 = 256;

/// Most events that a slow watcher may lag behind before it has to catch up from the journal.
const NEWS_CAPACITY: usize = 4_096;

/// The driver of a node: missions from their dispatch to their last delivered event.
pub struct Engine {
    pub(crate) settings: Settings,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) commit: commit::Commit,
    changing: change::Changing,
    pub(crate) desk: Desk,
    pub(crate) lives: Lives,
    pub(crate) guests: Arc<dyn Guests>,
    pub(crate) results: Arc<results::Results>,
    pub(crate) timer: timer::Timer,
    pub(crate) deliveries: deliveries::Deliveries,
    pub(crate) views: views::Views,
    pub(crate) tonight: night::Tonight,
    /// Says which mission has something new on disk.
    pub(crate) news: broadcast::Sender<MissionNo>,
    pub(crate) checks: check::Checks,
    pub(crate) tools: Providers,
    pub(crate) models: Arc<dyn Models>,
    pub(crate) first_look: providers::FirstLook,
    pub(crate) artifacts: Arc<dyn Artifacts>,
    pub(crate) shared: Option<Arc<dyn SharedStore>>,
    pub(crate) workspaces: Arc<dyn Workspaces>,
    pub(crate) pause_mark: Arc<dyn act::PauseMark>,
    pub(crate) ambient: Surroundings,
    pub(crate) clocks: clocks::Clocks,
    pub(crate) counters: Counters,
    pub(crate) measured: Measured,
    pub(crate) unread: quarantine::Unread,
    pub(crate) life: supervise::Life,
    pub(crate) schedules: schedules::Schedules,
    pub(crate) removals: Removals,
    pub(crate) pins: pins::Pins,
    pub(crate) outward: restored::Outward,
    pub(crate) fleet: fleet::Membership,
    /// One fork is made at a time.
    pub(crate) forking: tokio::sync::Mutex<()>,
    /// Missions that were in the journal when it was opened.
    found: usize,
    /// Missions that were there go on where somebody says so ([`Engine::drive`]), and with them those that they wait for.
    drives_what_it_is_told: bool,
}

/// What the metrics count.
#[derive(Debug, Default)]
pub struct Counters {
    /// Missions that were accepted.
    pub accepted: AtomicU64,
    /// Dispatches that were answered as before.
    pub replayed: AtomicU64,
    /// Dispatches that were not taken.
    pub refused: AtomicU64,
    /// Tool calls that plugins asked for.
    pub calls: AtomicU64,
    /// Deliveries that an operator left out.
    pub skipped: AtomicU64,
    /// Fires of schedules whose missions were made.
    pub fired: AtomicU64,
    /// Those of them that were late by more than a minute.
    pub late: AtomicU64,
    /// Fires of schedules that nobody saw to in time.
    pub missed: AtomicU64,
    /// By final status, in the order of [`sortie_contract::Status::ALL`].
    pub ended: [AtomicU64; 7],
}

/// Why a mission cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The journal does not give it.
    #[error("the journal cannot be read")]
    Journal(#[from] sortie_journal::ReadError),
    /// There is no such mission.
    #[error("there is no such mission")]
    Unknown,
    /// A reader wants to go on behind what there is: after a restore, perhaps, of an older copy.
    #[error("the log ends at {last}")]
    Ahead {
        /// Its end.
        last: u64,
    },
    /// The task that read it ended before its time.
    #[error("the task that read it broke off")]
    Task(#[source] sortie_ambient::Gone),
    /// Its records make no sense.
    #[error("its records do not follow each other")]
    Illegal(#[from] sortie_mission::Illegal),
    /// There is no record of that number.
    #[error("there is no such record: the mission has {records}")]
    NoRecord {
        /// So many there are.
        records: u32,
    },
    /// The bytes of an artifact are gone.
    #[error("an artifact cannot be read")]
    Artifact(#[source] std::io::Error),
    /// The workspace of its session cannot be begun anew.
    #[error("the workspace of its session cannot be begun anew")]
    Workspace(#[source] CarryError),
    /// It does not begin with an acceptance of a valid envelope.
    #[error("it does not begin with a valid envelope")]
    NoEnvelope,
}

impl Engine {
    /// The state of a mission. Only what is on disk, of which no more than a piece is held at once. Blocks.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn mission(&self, no: MissionNo) -> Result<Mission, ReadError> {
        fold(&*self.log, no)
    }

    /// What a mission was accepted with. Its other records are not read. Blocks.
    pub(crate) fn accepted_with(&self, no: MissionNo) -> Result<Envelope, ReadError> {
        let first = self.log.read(no, 0, 0)?.into_iter().next().ok_or(ReadError::Unknown)?;
        let Record::Accepted(accepted) = first.record else { return Err(ReadError::NoEnvelope) };
        let parsed = Envelope::parse_accepted(&accepted.envelope).map_err(|_| ReadError::NoEnvelope)?;
        Ok(parsed.envelope)
    }

    /// The mission in memory; from the log, if it was not there. For tasks: the log is read where blocking is allowed.
    pub(crate) async fn bring(self: &Arc<Self>, no: MissionNo) -> Result<Arc<Live>, ReadError> {
        if let Some(live) = self.lives.get(no) {
            return Ok(live);
        }
        let engine = Arc::clone(self);
        self.ambient.unblock(move || engine.live(no)).await.map_err(ReadError::Task)?
    }

    /// The mission in memory; from the log, if it was not there. Blocks.
    pub(crate) fn live(&self, no: MissionNo) -> Result<Arc<Live>, ReadError> {
        let loaded = self.lives.get_or_load(no, || {
            let mission = self.mission(no)?;
            let head = self.log.head(no)?.ok_or(ReadError::Unknown)?;
            let out_since = self.timer.out_since(no);
            let kept_ms = self.clocks.kept_ms(no);
            self.take_up_hold(no, &mission)?;
            Ok(Live::new(no, mission, head, kept_ms, self.ambient.steady()).out_of_memory(out_since))
        });
        loaded.inspect_err(|error| self.cannot_read(no, error))
    }

    /// Sees to it that it is known how a mission is held, where it is.
    fn take_up_hold(&self, no: MissionNo, mission: &Mission) -> Result<(), ReadError> {
        let put_off = self.commit.put_off();
        let is_known = put_off.of(no).is_some();
        if put_off.take_up(no, mission, None) && !is_known {
            // It was recorded right before the mission left memory.
            let last = self.log.read_all(no, mission.records().saturating_sub(HOLD_RECORDS))?;
            put_off.take_up(no, mission, last.iter().rev().find_map(live::why_put_off));
        }
        Ok(())
    }

    /// Missions whose calls are put off.
    #[must_use]
    pub fn held(&self) -> Vec<Held> {
        self.commit.put_off().all()
    }

    /// The number of the mission of that id, once its acceptance is on disk. Blocks.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn find(&self, id: &str) -> Result<Option<MissionNo>, ReadError> {
        let Ok(id) = MissionId::new(id) else { return Ok(None) };
        Ok(self.log.find(&id)?.map(|twin| twin.no))
    }

    /// How each of the budgets stands that are wider than one mission.
    pub fn budgets<T>(&self, show: impl FnMut(sortie_mission::wider::Standing<'_>) -> T) -> Vec<T> {
        self.commit.wider().standings(self.ambient.wall(), show)
    }

    /// The times of a mission that has been running for so long.
    pub(crate) fn now(&self, ran_ms: u64) -> Now {
        let wall = self.ambient.wall();
        Now {
            wall,
            ran_ms,
            out_ms: None,
            next_window: None,
            wider: Default::default(),
            expires_at: wall.checked_add(self.settings.request_expiry).unwrap_or(Timestamp::MAX),
            on_expiry: self.settings.on_expiry,
        }
    }

    /// What the node is made of, for those who show it.
    #[must_use]
    pub fn rules(&self) -> &NodeRules {
        &self.settings.rules
    }

    /// The node's zone: that of its nights.
    #[must_use]
    pub fn zone(&self) -> &sortie_schedule::Zone {
        &self.settings.hours.zone
    }

    /// The tools that missions may be granted now. Take them once for each thing that is decided.
    #[must_use]
    pub fn toolbox(&self) -> Arc<Toolbox> {
        self.tools.toolbox()
    }

    /// The models that plugins may ask.
    #[must_use]
    pub fn models(&self) -> &dyn Models {
        &*self.models
    }

    /// How each provider of tools is.
    #[must_use]
    pub fn providers(&self) -> Vec<ProviderHealth> {
        self.tools.health()
    }

    /// The courier, for its counters.
    #[must_use]
    pub fn courier(&self) -> &Courier {
        &self.deliveries.courier
    }

    /// Who keeps what is over from being removed.
    #[must_use]
    pub fn removals(&self) -> &Removals {
        &self.removals
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// Clocks, tasks and chance.
    #[must_use]
    pub fn ambient(&self) -> &Surroundings {
        &self.ambient
    }

    /// Where sessions work.
    #[must_use]
    pub fn workspaces(&self) -> &dyn Workspaces {
        &*self.workspaces
    }

    /// What calls did cost since the node started.
    #[must_use]
    pub fn spending(&self) -> &Spending {
        self.commit.spending()
    }

    /// What was counted since the node started.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How long what was done took, since the node started.
    #[must_use]
    pub fn measured(&self) -> &Measured {
        &self.measured
    }

    /// How many missions wait for their turn, how many have it, and whether turns are given at all.
    #[must_use]
    pub fn turns(&self) -> Turns {
        self.desk.turns()
    }

    /// How many missions were in the journal when it was opened.
    #[must_use]
    pub fn missions_found(&self) -> usize {
        self.found
    }

    /// How many missions wait out of memory.
    #[must_use]
    pub fn suspended(&self) -> usize {
        self.commit.suspended()
    }

    /// How many missions wait for people, in memory or out of it.
    #[must_use]
    pub fn blocked(&self) -> usize {
        self.commit.standings().count(sortie_contract::Status::Blocked)
    }

    /// What results of calls hold of the memory now, and the most that they ever held, in bytes.
    #[must_use]
    pub fn result_bytes(&self) -> (usize, usize) {
        (self.results.bytes(), self.results.peak_bytes())
    }

    /// How many records were taken up for readers.
    #[must_use]
    pub fn records_folded(&self) -> u64 {
        self.views.folded()
    }

    /// How many missions have something to deliver.
    #[must_use]
    pub fn undelivered(&self) -> usize {
        self.deliveries.waiting()
    }

    /// Numbers of missions that have something new on disk.
    #[must_use]
    pub fn news(&self) -> broadcast::Receiver<MissionNo> {
        self.news.subscribe()
    }
}

/// The state of a mission after all its records, read in pieces.
pub(crate) fn fold(log: &dyn Log, no: MissionNo) -> Result<Mission, ReadError> {
    let mut mission: Option<Mission> = None;
    loop {
        let records = log.read(no, mission.as_ref().map_or(0, Mission::records), views::PIECE_BYTES)?;
        if records.is_empty() {
            return mission.ok_or(ReadError::Unknown);
        }
        for record in &records {
            match &mut mission {
                Some(mission) => mission.apply(record)?,
                None => drop(mission.insert(begin(record)?)),
            }
        }
    }
}

/// The state of a mission after its first record.
///
/// # Errors
/// [`ReadError`] where the record is no acceptance of a valid envelope.
pub fn begin(first: &Stamped) -> Result<Mission, ReadError> {
    let Record::Accepted(accepted) = &first.record else { return Err(ReadError::NoEnvelope) };
    let parsed = Envelope::parse_accepted(&accepted.envelope).map_err(|_| ReadError::NoEnvelope)?;
    Ok(Mission::begin(Arc::new(parsed.envelope), first)?)
}
