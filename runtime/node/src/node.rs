//! Putting a node together, and taking it apart again.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustc_hash::FxHashSet;
use sortie_callback::Courier;
use sortie_contract::MissionNo;
use sortie_journal::Journal;
use sortie_mission::queue::Queue;
use sortie_sandbox::Sandbox;
use sortie_tools::Registry;
use tokio::sync::{Notify, broadcast};

use crate::artifact_store::{ArtifactStore, Bounds};
use crate::builtin;
use crate::clock::Clock;
use crate::config::Config;
use crate::disk::Disk;
use crate::engine::recover::{Inventory, Others};
use crate::engine::{self, Engine, OpenError};
use crate::http::{self, App, answers::Answers, auth::Tokens, places::Places};

/// How long running calls may take to reach a point that is on disk, when the node stops.
const LAST_CALLS: Duration = Duration::from_secs(6);

/// How often the disk is looked at: between two looks a fast one takes less than what is kept free.
const DISK_ROUND: Duration = Duration::from_millis(250);

/// A node that is open: its journal is read, and it is ready to serve.
pub struct Node {
    pub(crate) engine: Arc<Engine>,
    tokens: Tokens,
    body_bytes: usize,
    /// The token that the node's own command line uses.
    pub token: String,
}

impl Node {
    /// Opens the node that `config` describes: its data directory, its journal, its plugins. `others` says what becomes of
    /// the missions that are there.
    ///
    /// Nothing runs yet; [`Node::start`] does that.
    ///
    /// # Errors
    /// [`OpenError`], with what to do about it.
    pub async fn open(config: &Config, clock: Arc<dyn Clock>, others: Others) -> Result<Self, OpenError> {
        let begun = clock.steady();
        let data_dir = config.data_dir()?;
        let unusable = |source| OpenError::DataDir { path: data_dir.clone(), source };
        prepare(&data_dir).map_err(unusable)?;
        let tools = Arc::new(Registry::new(config.tool.clone())?);
        let rules = engine::rules(config, &tools)?;
        let sandbox = Sandbox::new(sortie_sandbox::Options {
            instances_max: u32::try_from(config.node.max_running).unwrap_or(u32::MAX),
            memory_bytes_max: usize::try_from(config.limits.plugin_memory_mib).unwrap_or(usize::MAX) << 20,
            ..sortie_sandbox::Options::new(data_dir.join("plugins"))
        })?;
        let (journal, opened) = Journal::open(&data_dir.join("journal.redb"), &sortie_journal::Options::default())?;
        // The journal is this process's now, and so is everything beside it.
        let token = http::auth::own_token(&data_dir, std::env::var("SORTIE_TOKEN").ok()).map_err(unusable)?;
        let tokens = Tokens::new(&token, config.tokens()?);
        let disk = Arc::new(Disk::new(&data_dir, config.limits.disk_reserve_mib.saturating_mul(1 << 20)));
        let bounds = Bounds {
            mission_bytes_max: config.limits.mission_artifacts_mib.saturating_mul(1 << 20),
            node_bytes_max: config.limits.artifacts_mib.saturating_mul(1 << 20),
        };
        let artifacts = ArtifactStore::open(&data_dir, disk, bounds).map_err(unusable)?;
        let carried = builtin::install(&sandbox).await?;

        let lanes = config.lanes()?;
        let mut queue = Queue::new(lanes.iter().cloned(), config.node.max_running);
        queue.pause(engine::act::paused_mark(&data_dir).exists());
        let mut inventory = Inventory::new(queue, opened.last_no);
        let mut missions = 0_usize;
        journal
            .scan_oldest_first(|no, head| {
                missions += 1;
                inventory.add(no, &head, others);
            })
            .map_err(|error| OpenError::Unreadable { no: MissionNo(0), source: error.into() })?;

        let this = Arc::new(OnceLock::new());
        let outbox = Arc::new(engine::outbox::EngineOutbox(Arc::clone(&this)));
        let transport = Arc::new(sortie_callback::Http::new(&config.callback)?);
        let ambient = Arc::new(sortie_ambient::System::new(tokio::runtime::Handle::current()));
        let courier = Courier::new(&config.callback, outbox, transport, ambient)?;
        let (news, _) = broadcast::channel(engine::NEWS_CAPACITY);
        let engine = Arc::new(Engine {
            rules,
            plugins_by: config.plugins()?,
            journal,
            sandbox,
            carried,
            tools,
            courier,
            artifacts,
            clock,
            lives: engine::live::Lives::new(),
            desk: parking_lot::Mutex::new(inventory.desk),
            undelivered: parking_lot::Mutex::new(match others {
                Others::GoOn => opened.undelivered.iter().map(|(no, _)| *no).collect(),
                Others::Wait => FxHashSet::default(),
            }),
            news,
            timer: engine::timer::Timer::default(),
            outbox: engine::outbox::Followers::default(),
            views: engine::views::Views::default(),
            inputs: engine::intake::InputSchemas::default(),
            checked: engine::intake::Checked::default(),
            stopping: std::sync::atomic::AtomicBool::new(false),
            goodbye: Notify::new(),
            data_dir,
            lanes,
            max_running: config.node.max_running,
            request_expiry: config.request_expiry()?,
            retention: config.retention()?,
            counters: engine::Counters::default(),
            suspended: std::sync::atomic::AtomicUsize::new(inventory.suspended),
            tasks: tokio::runtime::Handle::current(),
        });
        this.set(Arc::downgrade(&engine)).expect("set once");
        let (go_on, paused) = {
            let desk = engine.desk.lock();
            (desk.queue.len(), desk.queue.is_paused())
        };
        let (suspended, undelivered) = (inventory.suspended, engine.undelivered.lock().len());
        let took_ms = millis(engine.clock.steady().saturating_sub(begun));
        tracing::info!(missions, go_on, suspended, undelivered, paused, took_ms, "opened: this is what was found");
        inventory.asleep.into_iter().for_each(|(no, at)| engine.wake_at(no, at));
        engine.watch_sleepers(inventory.sleepers);
        Ok(Self { engine, tokens, body_bytes: config.limits.body_bytes, token })
    }

    /// Starts running missions and delivering events.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn start(&self) -> std::io::Result<()> {
        self.engine.start_timer()?;
        self.engine.start_herald();
        self.engine.start_sweep();
        self.engine.start_courier();
        self.watch_disk();
        self.engine.pump();
        Ok(())
    }

    /// Looks at the disk again and again, and says when it runs out and when there is room again.
    fn watch_disk(&self) {
        let artifacts = self.engine.artifacts.clone();
        self.engine.tasks.spawn_blocking(move || artifacts.weigh());
        let engine = Arc::downgrade(&self.engine);
        self.engine.tasks.spawn(async move {
            let mut was_low = false;
            loop {
                let Some(disk) = engine.upgrade().map(|engine| Arc::clone(&engine.artifacts.disk)) else { return };
                let (free, reserve) = (disk.free_bytes() >> 20, disk.reserve_bytes >> 20);
                let is_low = disk.is_low();
                if is_low && !was_low {
                    tracing::error!(free, reserve, "the disk is nearly full: no missions are taken; in MiB");
                } else if was_low && !is_low {
                    tracing::info!(free, reserve, "there is room on the disk again; in MiB");
                }
                was_low = is_low;
                tokio::time::sleep(DISK_ROUND).await;
                if tokio::task::spawn_blocking(move || disk.look()).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Serves HTTP on `listener` until `shutdown` resolves or the journal fails; then stops the node, so that everything
    /// goes on after the next start.
    ///
    /// # Errors
    /// The journal failed, or the listener did.
    pub async fn serve(
        self,
        listener: tokio::net::TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        self.engine.start_retention();
        let places = Arc::new(Places::of_this_process());
        let app =
            App { engine: Arc::clone(&self.engine), body_bytes: self.body_bytes, places, answers: Answers::new() };
        let failed = self.engine.journal.failed();
        let served = tokio::select! {
            served = http::serve(listener, app, &self.tokens, shutdown) => served.map_err(ServeError::Listener),
            error = failed => Err(ServeError::Journal(error)),
        };
        self.stop().await;
        served
    }

    /// Stops everything that runs, after its calls in flight have had a moment to end, and closes the journal.
    pub async fn stop(self) {
        let engine = self.engine;
        let begun = engine.clock.steady();
        engine.stopping.store(true, std::sync::atomic::Ordering::Release);
        engine.goodbye.notify_waiters();
        let running = || {
            let lives = engine.lives.all();
            lives.into_iter().filter(|live| live.with(sortie_mission::Mission::run).is_some()).collect::<Vec<_>>()
        };
        let busy = async {
            while running().iter().any(|live| live.with(|mission| mission.calls_in_flight() > 0)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Calls that take longer are found without a result after the next start; so are all, where nothing is recorded any more.
        tokio::select! {
            () = busy => {}
            _ = engine.journal.failed() => {}
            () = tokio::time::sleep(LAST_CALLS) => {}
        }
        let interrupted = running();
        let calls: usize = interrupted.iter().map(|live| live.with(sortie_mission::Mission::calls_in_flight)).sum();
        interrupted.iter().for_each(|live| live.interrupt());
        engine.courier.stop().await;
        let journal = engine.journal.clone();
        let closed = tokio::task::spawn_blocking(move || journal.close()).await;
        if let Ok(Err(error)) = closed {
            tracing::error!(error = &error as &dyn std::error::Error, "the journal was not closed cleanly");
        }
        tracing::info!(
            go_on = interrupted.len(),
            calls_in_flight = calls,
            took_ms = millis(engine.clock.steady().saturating_sub(begun)),
            "stopped: what ran goes on after the next start"
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
    #[error("the journal failed; start the node again when its disk is well")]
    Journal(#[source] sortie_journal::WriteError),
}

/// Makes the data directory, or takes the one that is there, for its owner alone, and sees that it can be written. What is made
/// in it is for its owner alone, too.
fn prepare(data_dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
    for (name, mode) in [
        ("", 0o700),
        ("journal.redb", 0o600),
        ("journal.redb.mark", 0o600),
        ("artifacts", 0o700),
        ("workspaces", 0o700),
        ("plugins", 0o700),
    ] {
        tighten(&data_dir.join(name), mode)?;
    }
    tempfile::tempfile_in(data_dir)?;
    File::open(data_dir)?.sync_all()
}

/// Takes from others what they may do with a file or folder. What they could read until now they may have read; that is said.
fn tighten(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let found = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        found => found?.permissions().mode(),
    };
    if found & 0o077 != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        let (path, mode) = (path.display(), format!("{:o}", found & 0o777));
        tracing::warn!(%path, mode, "others could read missions; now only their owner can");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_there_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        std::fs::create_dir_all(data.join("workspaces")).expect("made");
        std::fs::write(data.join("journal.redb"), "x").expect("written");
        for (path, loose) in [("", 0o755), ("workspaces", 0o777), ("journal.redb", 0o644)] {
            std::fs::set_permissions(data.join(path), std::fs::Permissions::from_mode(loose)).expect("loosened");
        }
        prepare(&data).expect("usable");
        std::fs::write(data.join("later"), "x").expect("written");
        for (path, tight) in [("", 0o700), ("workspaces", 0o700), ("journal.redb", 0o600), ("later", 0o600)] {
            assert_eq!(mode(&data.join(path)), tight, "{path}");
        }
    }
}
