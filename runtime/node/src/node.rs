//! The composition root: what a configuration says becomes the parts of a driver, and its faces.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sortie_ambient::{Surroundings, System};
use sortie_callback::Courier;
use sortie_contract::Timestamp;
use sortie_contract::plugin::PluginIdentity;
use sortie_engine::act::PauseFile;
use sortie_engine::recover::Others;
use sortie_engine::shown::RestoredView;
use sortie_engine::{Disk, Engine, FolderArtifacts, Moment, Parts, Settings, SharedStore};
use sortie_journal::WriteError;
use sortie_mcp::McpServer;
use sortie_mission::NodeRules;
use sortie_models::{Configured, Models, Recorder};
use sortie_notify::Notifier;
use sortie_origin::Sources;
use sortie_sandbox::Sandbox;
use sortie_tools::{BuiltIn, Provider, Providers, Shell};
use sortie_trace::Exporter;

use crate::among::Among;
use crate::builtin;
use crate::collected::{Shelf, hooked};
use crate::config::{Config, ConfigError, ONE_LINE, Scope, TOKEN_CHARS_MIN, is_weak, may_be_sent};
use crate::dialects::Dialects;
use crate::hooks::Hooks;
use crate::http::auth::{self, Tokens};
use crate::http::{self, App, answers::Answers, backup::Backups, places::Places};
use crate::reload::Reload;
use crate::shared::Shared;
use crate::space::Space;
use crate::store::{self, Kept};
use crate::{SANDBOX, backup, files, notices, private, traces, unheld, vouched};

/// How often the disk is looked at: between two looks a fast one takes less than what is kept free.
const DISK_ROUND: Duration = Duration::from_millis(250);

/// A node that is open: its journal is read, and it is ready to serve.
pub struct Node {
    pub(crate) engine: Arc<Engine>,
    pub(crate) artifacts: FolderArtifacts,
    /// The store that nodes share, where there is one.
    pub(crate) shared: Option<Arc<Shared>>,
    workspaces: PathBuf,
    /// What lay there before is counted in the background.
    opened_at: SystemTime,
    sandbox: Sandbox,
    carried: Vec<PluginIdentity>,
    sources: Arc<Sources>,
    shelf: Shelf,
    tokens: Tokens,
    mcp: Vec<McpServer>,
    body_bytes: usize,
    called: http::Called,
    backups: Backups,
    space: Space,
    restored: Option<backup::Mark>,
    /// The hold on the data directory, where the journal's own is none.
    _seat: Option<sortie_journal::Claim>,
    notifier: Arc<Notifier>,
    hooks: Arc<Hooks>,
    dialects: Arc<Dialects>,
    exporter: Option<Arc<Exporter>>,
    /// What models answer, where it is written down.
    pub(crate) recorder: Option<Arc<Recorder>>,
    /// What it is among others.
    among: Among,
    /// The token that the node's own command line uses.
    pub token: String,
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
    /// A restore.
    #[error(
        "a restore of {} was broken off: `sortie restore FILE --replace` with the same backup makes it whole; what was there before \
         lies in its folder `before-restore-…`", path.display()
    )]
    HalfRestored {
        /// The data directory.
        path: PathBuf,
    },
    /// The journal.
    #[error("the journal cannot be opened")]
    Journal(#[from] sortie_journal::OpenError),
    /// The database that `store` names.
    #[error(transparent)]
    Store(#[from] sortie_journal::StoreError),
    /// A journal beside a database.
    #[error("{}", store::two_stores(path))]
    TwoStores {
        /// The journal.
        path: PathBuf,
    },
    /// The driver.
    #[error(transparent)]
    Engine(#[from] sortie_engine::OpenError),
    /// The tools.
    #[error("the tools cannot be set up")]
    Tools(#[from] sortie_tools::ConfigError),
    /// The models.
    #[error("the models cannot be set up")]
    Models(#[from] sortie_models::ConfigError),
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

impl OpenError {
    /// Whether another process works on the data directory.
    pub(crate) fn is_in_use(&self) -> bool {
        matches!(self, Self::Journal(sortie_journal::OpenError::InUse { .. }))
    }

    /// Whether the configuration has to be corrected, and nothing else will do.
    pub(crate) fn is_of_the_configuration(&self) -> bool {
        use sortie_callback::ConfigError as Callback;
        match self {
            Self::Config(_) | Self::Tools(_) | Self::Models(_) => true,
            Self::Callback(error) | Self::Engine(sortie_engine::OpenError::Callback(error)) => {
                !matches!(error, Callback::Client(_))
            }
            Self::Store(error) => store::is_of_the_configuration(error),
            Self::TwoStores { .. } => true,
            Self::Engine(sortie_engine::OpenError::Unreadable(_))
            | Self::DataDir { .. }
            | Self::HalfRestored { .. }
            | Self::Journal(_)
            | Self::Sandbox(_)
            | Self::BuiltIn { .. } => false,
        }
    }
}

/// The operating system's clocks and this runtime's tasks.
pub(crate) fn system() -> Surroundings {
    Arc::new(System::new(tokio::runtime::Handle::current()))
}

/// How a command of `Bash` is confined: by this very program, whatever lies in its place by now.
pub(crate) fn shell(data_dir: &Path) -> Shell {
    let program = PathBuf::from("/proc/self/exe");
    Shell { program, arguments: vec![SANDBOX.to_owned()], data_dir: data_dir.to_owned() }
}

/// The node's rules, from its configuration.
pub(crate) fn rules(config: &Config) -> Result<NodeRules, ConfigError> {
    let lanes = config.lanes()?;
    Ok(NodeRules {
        instance_id: config.instance_id()?,
        default_lane: lanes[0].0.clone(),
        lanes: lanes.into_iter().map(|(id, _)| id).collect(),
        ceilings: config.ceilings()?,
        shared_storage: config.artifact.shared.is_some(),
        classes: config.effects.classes.clone(),
    })
}

/// What a configuration says to a driver.
pub(crate) fn settings(config: &Config) -> Result<Settings, ConfigError> {
    Ok(Settings {
        rules: rules(config)?,
        plugins_by: config.plugins()?,
        lanes: config.lanes()?,
        // The one that there is without any is as wide as its node.
        lanes_are_shared: !config.lane.is_empty(),
        hours: Arc::new(config.hours()?),
        max_running: config.node.max_running,
        request_expiry: config.request_expiry()?,
        on_expiry: config.limits.on_expiry,
        retention: config.retention()?,
        crashes_alone_max: config.limits.crashes_alone,
        children: sortie_mission::child::Bounds {
            depth_max: config.limits.children_depth_max,
            children_max: config.limits.children_max,
            family_max: config.limits.family_max,
        },
        result_bytes_max: usize::try_from(config.limits.results_mib).unwrap_or(usize::MAX).saturating_mul(1 << 20),
        schedules_max: config.limits.schedules,
        landing_share: config.landing_share()?,
        hold_max: config.model.hold_max,
        budgets: config.budgets()?,
    })
}

impl Node {
    /// Opens the node that `config` describes: its data directory, its journal, its plugins. `others` says what becomes of
    /// the missions that are there.
    ///
    /// Nothing runs yet; [`Node::start`] does that.
    ///
    /// # Errors
    /// [`OpenError`], with what to do about it.
    pub async fn open(config: &Config, ambient: Surroundings, others: Others) -> Result<Self, OpenError> {
        Self::open_as(config, ambient, others, false).await
    }

    /// The same; with `records`, what models answer is written down.
    ///
    /// # Errors
    /// [`OpenError`], with what to do about it.
    pub async fn open_as(
        config: &Config,
        ambient: Surroundings,
        others: Others,
        records: bool,
    ) -> Result<Self, OpenError> {
        let (begun, opened_at) = (ambient.steady(), SystemTime::from(ambient.wall()));
        let data_dir = config.data_dir()?;
        // What is wrong with the configuration is told before anything is written.
        config.callback.examine()?;
        let (given, further) = (std::env::var("SORTIE_TOKEN").ok(), config.tokens()?);
        given.iter().try_for_each(|token| sendable("SORTIE_TOKEN", token))?;
        let mcp = config.mcp_servers()?;
        let servers = mcp.iter().map(|server| Arc::new(server.clone()) as Arc<dyn Provider>).collect();
        let (built_in, confinement) =
            BuiltIn::with_shell(config.tool.clone(), &config.secret, shell(&data_dir)).await?;
        match confinement {
            Some(confinement) if confinement.is_whole() => tracing::info!(%confinement, "Bash is enabled"),
            Some(confinement) => {
                tracing::warn!(%confinement, "Bash is enabled with less than all that could confine it");
            }
            None => {}
        }
        let tools = Providers::new(built_in, servers, ambient.wall())?;
        let models: Arc<dyn Models> = Arc::new(Configured::new(&config.model, config.folder(), Arc::clone(&ambient))?);
        let recorder = records.then(|| Arc::new(Recorder::new(Arc::clone(&models))));
        let models = recorder.clone().map_or(models, |recorder| recorder as Arc<dyn Models>);
        for (place, _, error) in config.secret.unavailable(&config.tool).await? {
            tracing::warn!(
                place,
                error = &error as &dyn std::error::Error,
                "a secret cannot be used, and calls that need it fail"
            );
        }
        let unusable = |source| OpenError::DataDir { path: data_dir.clone(), source };
        let whole = || match backup::is_half_restored(&data_dir) {
            false => Ok(()),
            true => Err(OpenError::HalfRestored { path: data_dir.clone() }),
        };
        whole()?;
        let mib = |mib: u64| mib.saturating_mul(1 << 20);
        let disk = Disk::new(&data_dir, mib(config.limits.disk_reserve_mib)).warning(mib(config.limits.disk_warn_mib));
        let disk = Arc::new(disk);
        // Before anything is written: on a full disk there is nothing else to write it to.
        if let Err(error) = disk.balance(Moment::Start) {
            tracing::warn!(%error, "the room that was held for the journal cannot be given to it");
        }
        private::prepare(&data_dir).map_err(unusable)?;
        // A folder that was not there yet said nothing.
        disk.look();
        let settings = settings(config)?;
        let sandbox = Sandbox::new(sortie_sandbox::Options {
            instances_max: u32::try_from(config.node.max_running).unwrap_or(u32::MAX),
            memory_bytes_max: usize::try_from(config.limits.plugin_memory_mib).unwrap_or(usize::MAX) << 20,
            ..sortie_sandbox::Options::new(data_dir.join("plugins"))
        })?;
        let Kept { log, bytes: journal_bytes, node, seat } = store::open(config, &data_dir)?;
        // The journal is this process's now, and so is everything beside it: unless somebody was moving it away just now.
        whole()?;
        backup::clean(&data_dir).map_err(unusable)?;
        let restored = backup::Mark::read(&data_dir);
        let token = auth::own_token(&data_dir, given).map_err(unusable)?;
        sendable(&data_dir.join("token").display().to_string(), &token)?;
        warn_of_weak_tokens(&token, &further);
        let tokens = Tokens::new(&token, further);
        let hooks = Hooks::new(&config.hook).map_err(ConfigError::from)?;
        hooks.warn().await;
        let notifier = Arc::new(notices::notifier(config, &data_dir, &ambient)?);
        let exporter = traces::exporter(config, &data_dir, &ambient)?;
        let dialects = Arc::new(Dialects::new(config, &ambient)?);
        dialects.warn().await;
        let (artifacts, workspaces) = files::files(&config.limits, &data_dir, disk).map_err(unusable)?;
        let shared = Shared::open(config, &data_dir)?;
        let carried = builtin::install(&sandbox).await?;
        let sources = Arc::new(Sources::new(&config.plugin_source).map_err(ConfigError::from)?);
        vouched::look(&sandbox, sources.keys(), &carried);
        let shelf = Shelf {
            carried: carried.clone().into(),
            configured: config.plugins()?.into_values().chain(config.dialect.plugins()).collect(),
            hooked: hooked(&config.hook),
            age: config.unused_plugins()?,
        };
        let transport = dialects.carrier(sortie_callback::Http::new(&config.callback)?, &workspaces);
        let outside = Arc::clone(&ambient);
        let folder = workspaces.root();
        let parts = Parts {
            settings,
            log,
            guests: Arc::new(sandbox.clone()),
            tools,
            models,
            artifacts: Arc::new(artifacts.clone()),
            shared: shared.clone().map(|shared| shared as Arc<dyn SharedStore>),
            pause_mark: Arc::new(PauseFile::of(&data_dir)),
            workspaces: files::portable(config, shared.as_ref(), &artifacts, workspaces).map_err(unusable)?,
            ambient,
        };
        let courier = |outbox| Courier::new(&config.callback, outbox, transport, outside);
        let engine = Engine::open(parts, others, courier)?;
        let (turns, suspended, undelivered) = (engine.turns(), engine.suspended(), engine.undelivered());
        let took_ms = millis(engine.ambient().steady().saturating_sub(begun));
        let (missions, go_on, paused) = (engine.missions_found(), turns.queued, turns.paused);
        tracing::info!(
            missions,
            go_on,
            suspended,
            undelivered,
            paused,
            journal_bytes,
            took_ms,
            "opened: this is what was found"
        );
        Ok(Self {
            engine,
            artifacts,
            shared,
            workspaces: folder,
            opened_at,
            sandbox,
            carried,
            sources,
            shelf,
            tokens,
            mcp,
            body_bytes: config.limits.body_bytes,
            called: http::Called {
                instance_id: config.node.instance_id.as_str().into(),
                names: config.node.names.clone().into(),
                node: node.map(Into::into),
                data_dir: data_dir.canonicalize().unwrap_or_else(|_| data_dir.clone()).to_string_lossy().into(),
            },
            backups: Backups::of(&data_dir),
            space: Space::default(),
            restored,
            notifier,
            hooks: Arc::new(hooks),
            dialects,
            exporter,
            recorder,
            token,
            _seat: seat,
            among: Among::of(config),
        })
    }

    /// Starts running missions and delivering events.
    pub fn start(&self) {
        self.engine.start();
        self.watch_disk();
    }

    /// Says what it is among the nodes of its store, and begins to look at them.
    fn among_others(&self, listener: &tokio::net::TcpListener, peers: &http::forward::Peers) {
        let port = listener.local_addr().ok().map(|address| address.port());
        self.engine.among(self.among.own(port, peers.key(), &self.sandbox));
        self.engine.start_fleet();
    }

    /// What reads the configuration in that file again, for this node.
    pub(crate) fn reload(&self, file: Option<PathBuf>) -> Reload {
        Reload::new(file, self.token.clone(), self.tokens.clone(), Some(Arc::clone(&self.engine)))
    }

    /// Looks at the disk again and again, and says when it runs out and when there is room again.
    fn watch_disk(&self) {
        let (room, disk) = (self.artifacts.shared_room(), Arc::clone(self.artifacts.shared_room().disk()));
        for folder in [self.artifacts.root().to_owned(), self.workspaces.clone()] {
            let (room, since) = (Arc::clone(room), self.opened_at);
            tokio::task::spawn_blocking(move || room.weigh(&folder, since));
        }
        let (engine, ambient) = (Arc::downgrade(&self.engine), Arc::clone(self.engine.ambient()));
        self.engine.supervise("disk", async move {
            let (mut was_low, mut was_full, mut cannot_hold, mut was_scarce) = (false, false, false, false);
            loop {
                let (free_mib, reserve_mib) = (disk.free_bytes() >> 20, disk.reserve_bytes >> 20);
                let (is_low, is_full) = (disk.is_low(), disk.is_full());
                if is_full && !was_full {
                    tracing::error!(free_mib, reserve_mib, "the disk is full: no plugin goes on until there is room");
                } else if was_full
                    && !is_full
                    && let Some(engine) = engine.upgrade()
                {
                    engine.pump();
                }
                was_full = is_full;
                let is_scarce = disk.is_scarce();
                if is_scarce && !was_scarce && !is_low {
                    let warn_mib = disk.warn_bytes >> 20;
                    tracing::warn!(free_mib, warn_mib, "room on the disk is getting scarce: nothing has stopped yet");
                }
                was_scarce = is_scarce;
                if is_low && !was_low {
                    tracing::error!(free_mib, reserve_mib, "the disk is nearly full: no missions are taken");
                } else if was_low && !is_low {
                    tracing::info!(free_mib, reserve_mib, "there is room on the disk again");
                }
                was_low = is_low;
                ambient.sleep(DISK_ROUND).await;
                let looking = Arc::clone(&disk);
                match ambient.unblock(move || looking.balance(Moment::Running)).await {
                    Ok(Err(error)) if !cannot_hold => {
                        cannot_hold = true;
                        tracing::warn!(%error, "no room can be held on this disk: if it is full, the node may not start");
                    }
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        });
    }

    /// Serves HTTP on `listener` until `shutdown` resolves or something that the node cannot do without fails; then stops
    /// the node, so that everything goes on after the next start.
    ///
    /// # Errors
    /// What failed.
    pub async fn serve(
        self,
        listener: tokio::net::TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        self.engine.start_retention();
        unheld::start(&self.engine, &self.sandbox, &self.shelf);
        self.space.watch(&self.engine, self.called.data_dir.as_ref().into());
        notices::start(&self.engine, &self.notifier);
        traces::start(&self.engine, self.exporter.as_ref());
        let peers = Arc::default();
        self.dialects.start(&self.engine, &peers, self.called.data_dir.as_ref().as_ref());
        let places = Arc::new(Places::of_this_process());
        let app = App {
            engine: Arc::clone(&self.engine),
            sandbox: self.sandbox.clone(),
            carried: self.carried.clone().into(),
            sources: Arc::clone(&self.sources),
            shelf: self.shelf.clone(),
            artifacts: self.artifacts.clone(),
            shared: self.shared.clone(),
            mcp: self.mcp.clone().into(),
            body_bytes: self.body_bytes,
            places,
            answers: Answers::new(),
            called: self.called.clone(),
            backups: self.backups.clone(),
            space: self.space.clone(),
            restored: self.restored.clone().map(|mark| {
                let backup::Mark { taken_at, restored_at, unfinished } = mark;
                Arc::new(RestoredView { taken_at, restored_at, unfinished })
            }),
            notifier: Arc::clone(&self.notifier),
            peers,
            hooks: Arc::clone(&self.hooks),
            dialects: Arc::clone(&self.dialects),
            exporter: self.exporter.clone(),
        };
        self.among_others(&listener, &app.peers);
        let failed = self.engine.log().failed();
        let drained = self.engine.drained();
        let shutdown = async move {
            futures_util::future::select(pin!(shutdown), pin!(drained)).await;
        };
        let served = tokio::select! {
            served = http::serve(listener, app, &self.tokens, shutdown) => served.map_err(ServeError::Listener),
            error = failed => Err(match error {
                WriteError::TakenOver => ServeError::TakenOver,
                WriteError::Doubled { since } => ServeError::Doubled { since },
                other => ServeError::Journal(other),
            }),
            task = self.engine.death() => Err(ServeError::Task(task)),
        };
        self.stop().await;
        served
    }

    /// Stops everything that runs, after its calls in flight have had a moment to end, and closes the journal.
    pub async fn stop(self) {
        // First: runs that wait for it are to come to their end.
        self.shared.iter().for_each(|shared| shared.stop());
        self.engine.stop().await;
    }
}

/// Refuses a token that could not come with any request; `place` is where it stands.
fn sendable(place: &str, token: &str) -> Result<(), ConfigError> {
    if may_be_sent(token.trim()) {
        return Ok(());
    }
    Err(ConfigError::Value { key: place.to_owned(), why: format!("it holds more than a token: {ONE_LINE}") })
}

/// Says which tokens could be guessed: `own` is the node's, `further` are those of the configuration with their names.
fn warn_of_weak_tokens(own: &str, further: &[(String, String, Vec<Scope>)]) {
    let named = further.iter().map(|(name, token, _)| (name.as_str(), token.as_str()));
    for (name, _) in std::iter::once((auth::ADMIN, own)).chain(named).filter(|(_, token)| is_weak(token)) {
        tracing::warn!(
            token = name,
            chars_min = TOKEN_CHARS_MIN,
            "a token is so short that it can be guessed: take a longer one, such as of `openssl rand -hex 32`"
        );
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Why a node stopped serving by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener broke.
    #[error("the listener failed")]
    Listener(#[source] std::io::Error),
    /// The journal takes nothing more: the node must not pretend otherwise.
    #[error(
        "the journal failed; start the node again when its disk, or the database that `[node] store` names, is well"
    )]
    Journal(#[source] WriteError),
    /// Another node of the store goes on with what this one had.
    #[error(
        "another node of the store has taken over what this one had, because it was silent for longer than its lease; start it again: it goes on as \
         one more, and what it had goes on where it is"
    )]
    TakenOver,
    /// Another process goes on as this node.
    #[error(
        "another process has begun as this node, at {since} by the database's clock: two with one data directory, or with a copy of it, cannot serve \
         at once. `sortie nodes` says where the other one is. Stop one of the two; a copy that is to be a node of its own begins without `store.id`, \
         and with an `instance_id` of its own"
    )]
    Doubled {
        /// When.
        since: Timestamp,
    },
    /// Windows would not close, or events not leave.
    #[error("the background task `{0}` died; the log says why, and the next start recovers")]
    Task(&'static str),
}
