//! The engine: missions from their dispatch to their last delivered event.
//!
//! It is the thin shell around the pure core: it loads, asks the core, appends, and only then acts. One file for each
//! thing that it does:
//!
//! | file | what |
//! | --- | --- |
//! | `intake` | a dispatched envelope becomes an accepted mission, or an answer that says why not |
//! | `live` | a mission in memory, and the one way to change it |
//! | `start` | gives missions their turn and runs their plugins |
//! | `host` | what a running plugin asks of the node |
//! | `collect` | outputs that were written but not stored |
//! | `timer` | windows, heartbeats, run time |
//! | `act` | what operators do: decide, cancel, halt, pause |
//! | `look`, `shown` | what anybody may see, and in which form |
//! | `views` | folds that are kept for readers |
//! | `herald` | says what is new on disk |
//! | `outbox` | what is still to be delivered |
//! | `recover` | where the journal left off |
//! | `retain` | what is removed when it has outlived its use |

pub(crate) mod act;
mod collect;
mod herald;
mod host;
pub(crate) mod intake;
pub(crate) mod live;
pub(crate) mod look;
pub(crate) mod outbox;
pub mod recover;
mod retain;
pub(crate) mod shown;
mod start;
pub(crate) mod timer;
pub(crate) mod views;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use jiff::SignedDuration;
use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use sortie_callback::Courier;
use sortie_contract::envelope::Envelope;
use sortie_contract::plugin::{PluginIdentity, PluginRef};
use sortie_contract::record::Record;
use sortie_contract::{LaneId, MissionId, MissionNo, Stamped, Timestamp};
use sortie_journal::{Catalog, Journal};
use sortie_mission::queue::Queue;
use sortie_mission::{Mission, NodeRules, Now, Retention};
use sortie_sandbox::Sandbox;
use sortie_tools::Registry;
use tokio::sync::{Notify, broadcast};

use crate::artifact_store::ArtifactStore;
use crate::clock::Clock;
use crate::config::{Config, ConfigError};

use live::{Live, Lives};

/// Most events that a slow watcher may lag behind before it has to catch up from the journal.
pub(crate) const NEWS_CAPACITY: usize = 4_096;

/// What a running node is made of.
pub struct Engine {
    pub(crate) rules: NodeRules,
    pub(crate) plugins_by: BTreeMap<String, PluginRef>,
    pub(crate) journal: Journal,
    pub(crate) sandbox: Sandbox,
    /// The plugins that the binary brings along: each start installs them.
    pub(crate) carried: Vec<PluginIdentity>,
    pub(crate) tools: Arc<Registry>,
    pub(crate) courier: Courier,
    pub(crate) artifacts: ArtifactStore,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lives: Lives,
    pub(crate) desk: Mutex<Desk>,
    /// Missions of which something is still to be delivered.
    pub(crate) undelivered: Mutex<FxHashSet<MissionNo>>,
    /// Says which mission has something new on disk.
    pub(crate) news: broadcast::Sender<MissionNo>,
    pub(crate) timer: timer::Timer,
    pub(crate) outbox: outbox::Followers,
    pub(crate) views: views::Views,
    pub(crate) inputs: intake::InputSchemas,
    pub(crate) checked: intake::Checked,
    pub(crate) stopping: AtomicBool,
    /// Tells watchers that the node stops.
    pub(crate) goodbye: Notify,
    pub(crate) data_dir: PathBuf,
    pub(crate) lanes: Vec<(LaneId, usize)>,
    pub(crate) max_running: usize,
    /// How long a request waits for its answer.
    pub(crate) request_expiry: SignedDuration,
    pub(crate) retention: Retention,
    pub(crate) counters: Counters,
    /// Missions that wait out of memory.
    pub(crate) suspended: AtomicUsize,
    /// The runtime that missions' tasks are spawned on.
    pub(crate) tasks: tokio::runtime::Handle,
}

/// What intake and the scheduler share. Held for microseconds.
pub(crate) struct Desk {
    pub(crate) catalog: Catalog,
    pub(crate) queue: Queue,
    pub(crate) last_no: MissionNo,
}

/// What the metrics count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) replayed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) calls: AtomicU64,
    /// Deliveries that an operator left out.
    pub(crate) skipped: AtomicU64,
    /// By final status, in the order of [`sortie_contract::Status::ALL`].
    pub(crate) ended: [AtomicU64; 7],
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory.
    #[error(
        "cannot use the data directory {}; check that sortie may write there, and that the disk has room and is not read-only",
        path.display()
    )]
    DataDir {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The journal.
    #[error("the journal cannot be opened")]
    Journal(#[from] sortie_journal::OpenError),
    /// A journal that is there, but does not read as one.
    #[error("the journal of mission number {no} cannot be read")]
    Unreadable {
        /// Which mission.
        no: MissionNo,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// The tools.
    #[error("the tools cannot be set up")]
    Tools(#[from] sortie_tools::ConfigError),
    /// The callbacks.
    #[error("callbacks cannot be set up")]
    Callback(#[from] sortie_callback::ConfigError),
    /// The sandbox.
    #[error("the sandbox cannot be set up")]
    Sandbox(#[from] sortie_sandbox::OpenError),
    /// A plugin that comes with the node.
    #[error("the built-in plugin `{name}` cannot be installed")]
    BuiltIn {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        source: sortie_sandbox::InstallError,
    },
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
    Task(#[source] tokio::task::JoinError),
    /// Its records make no sense.
    #[error("its records do not follow each other")]
    Illegal(#[from] sortie_mission::Illegal),
    /// The bytes of an artifact are gone.
    #[error("an artifact cannot be read")]
    Artifact(#[source] std::io::Error),
    /// It does not begin with an acceptance of a valid envelope.
    #[error("it does not begin with a valid envelope")]
    NoEnvelope,
}

impl Engine {
    /// Reads a mission: its records and the state that they fold to. Only what is on disk.
    pub(crate) fn read(&self, no: MissionNo) -> Result<(Mission, Vec<Stamped>), ReadError> {
        let records = self.journal.read(no)?;
        let (first, rest) = records.split_first().ok_or(ReadError::Unknown)?;
        let mut mission = begin(first)?;
        for record in rest {
            mission.apply(record)?;
        }
        Ok((mission, records))
    }

    /// The mission in memory; from the journal, if it was not there.
    pub(crate) fn live(&self, no: MissionNo) -> Result<Arc<Live>, ReadError> {
        self.lives.get_or_load(no, || {
            let (mission, _) = self.read(no)?;
            let head = self.journal.head(no)?.ok_or(ReadError::Unknown)?;
            Ok(Live::new(no, mission, head, self.clock.steady()))
        })
    }

    /// The number of the mission of that id, once its acceptance is on disk.
    pub(crate) fn find(&self, id: &str) -> Result<Option<MissionNo>, ReadError> {
        let Ok(id) = MissionId::new(id) else { return Ok(None) };
        let candidates: Vec<MissionNo> = self.desk.lock().catalog.by_id(&id).collect();
        for no in candidates {
            // The catalog holds hashes, and learns of a mission a moment before the disk does.
            if self.journal.head(no)?.is_some_and(|head| head.mission_id == id) {
                return Ok(Some(no));
            }
        }
        Ok(None)
    }

    /// The times of a mission that has been running for so long.
    pub(crate) fn now(&self, ran_ms: u64) -> Now {
        let wall = self.clock.wall();
        Now { wall, ran_ms, expires_at: wall.checked_add(self.request_expiry).unwrap_or(Timestamp::MAX) }
    }

    /// Whether the node is on its way out.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(std::sync::atomic::Ordering::Acquire)
    }
}

/// The state of a mission after its first record.
pub(crate) fn begin(first: &Stamped) -> Result<Mission, ReadError> {
    let Record::Accepted(accepted) = &first.record else { return Err(ReadError::NoEnvelope) };
    let parsed = Envelope::parse_accepted(&accepted.envelope).map_err(|_| ReadError::NoEnvelope)?;
    Ok(Mission::begin(Arc::new(parsed.envelope), first)?)
}

/// The node's rules, from its configuration and its tools.
pub(crate) fn rules(config: &Config, tools: &Registry) -> Result<NodeRules, ConfigError> {
    let lanes = config.lanes()?;
    Ok(NodeRules {
        instance_id: config.instance_id()?,
        default_lane: lanes[0].0.clone(),
        lanes: lanes.into_iter().map(|(id, _)| id).collect(),
        ceilings: config.ceilings()?,
        shared_storage: false,
        tools: tools.infos().to_vec(),
        classes: config.effects.classes.clone(),
    })
}
