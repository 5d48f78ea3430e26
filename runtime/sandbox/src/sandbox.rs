//! The sandbox itself: plugins go in, runs come out.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use semver::Version;
use sortie_contract::Mistake;
use sortie_contract::digest::Digest;
use sortie_contract::plugin::{Brief, Crash, PluginIdentity, PluginRef};
use sortie_contract::tool::ToolName;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::task::AbortOnDropHandle;
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::bindings::{Manifest, PluginPre};
use crate::engine::{self, EngineError, Ticker};
use crate::guest::{self, Guest, Mission};
use crate::plugin::{self, Cache, Component, InstallError, Installed, Store, StoreError};
use crate::{Ending, Host, Kill};

/// How many `describe` and `check` calls are alive together, beside the runs.
const CHECKS_MAX: u32 = 16;

/// How long `describe` and `check` may take. They compute, and wait for nothing.
const CHECK_TIME: Duration = Duration::from_secs(2);

/// Memory of `describe` and `check`, in bytes.
const CHECK_MEMORY_BYTES: usize = 64 << 20;

/// How a sandbox is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of plugins and compiled code, such as `DATA/plugins`.
    pub dir: PathBuf,
    /// Runs that are alive together; one more waits for its turn.
    pub instances_max: u32,
    /// Memory of one guest, in bytes. A guest can see it, so that it is part of what a replay depends on.
    pub memory_bytes_max: usize,
    /// Threads that guests run on.
    pub threads: usize,
}

impl Options {
    /// The defaults, for plugins in `dir`.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
        Self { dir, instances_max: 512, memory_bytes_max: 256 << 20, threads }
    }
}

/// The sandbox cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// No plugin store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No cache of compiled code.
    #[error("the folder of compiled plugins cannot be used")]
    Cache(#[source] io::Error),
    /// No threads.
    #[error("the threads of the guests cannot be started")]
    Threads(#[source] io::Error),
}

/// One run of a plugin.
pub struct Run {
    /// The component.
    pub plugin: Digest,
    /// What it is told.
    pub brief: Brief,
    /// The tools that it gets, in this order.
    pub grants: Vec<ToolName>,
    /// What answers its calls.
    pub host: Arc<dyn Host>,
    /// What stops it.
    pub kill: Kill,
}

/// Runs plugins. Clones share everything.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    engine: Engine,
    linker: Linker<Guest>,
    ticker: Ticker,
    store: Store,
    cache: Cache,
    /// Components that are ready to be instantiated. Each is prepared once, however many ask for it.
    ready: Mutex<HashMap<Digest, Ready>>,
    runs: Semaphore,
    checks: Semaphore,
    memory_bytes_max: usize,
    guests: Handle,
    /// Where `describe` and `check` run: on threads of their own, half as many, so that what somebody sends never costs the
    /// missions that run more than a third of the machine.
    checkers: Handle,
    /// Taken when the last clone is dropped.
    runtimes: Mutex<Vec<Runtime>>,
}

type Ready = Arc<OnceCell<Arc<PluginPre<Guest>>>>;

impl Sandbox {
    /// The most memory that a plugin gets here, in bytes.
    #[must_use]
    pub fn memory_bytes_max(&self) -> u64 {
        self.0.memory_bytes_max as u64
    }

    /// Opens the plugin store in `options.dir` and starts the threads of the guests.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn new(options: Options) -> Result<Self, OpenError> {
        let engine = engine::engine(options.instances_max.saturating_add(CHECKS_MAX), options.memory_bytes_max)?;
        let linker = guest::linker(&engine).expect("the world's functions have different names");
        let cache = Cache::open(options.dir.join("compiled")).map_err(OpenError::Cache)?;
        let guests = threads("sortie-guest", options.threads).map_err(OpenError::Threads)?;
        let checkers = threads("sortie-check", options.threads.div_ceil(2)).map_err(OpenError::Threads)?;
        Ok(Self(Arc::new(Inner {
            ticker: Ticker::start(&engine).map_err(OpenError::Threads)?,
            store: Store::open(options.dir)?,
            cache,
            ready: Mutex::default(),
            runs: Semaphore::new(options.instances_max as usize),
            checks: Semaphore::new(CHECKS_MAX as usize),
            memory_bytes_max: options.memory_bytes_max,
            guests: guests.handle().clone(),
            checkers: checkers.handle().clone(),
            runtimes: Mutex::new(vec![guests, checkers]),
            engine,
            linker,
        })))
    }

    /// Takes a plugin in: a component, or a core module that carries its component type. The same bytes again change
    /// nothing; other bytes of the same name and version replace it for missions that start later.
    ///
    /// # Errors
    /// [`InstallError`]; the store is then as before.
    pub async fn install(&self, bytes: Vec<u8>) -> Result<Installed, InstallError> {
        let inner = Arc::clone(&self.0);
        let prepared = self.0.guests.spawn_blocking(move || inner.prepare(&bytes));
        let (component, pre) = prepared.await.map_err(|_| InstallError::ShuttingDown)??;
        let described = self.describe(&pre).await.map_err(InstallError::Undescribed)?;
        let manifest = plugin::manifest(described)?;
        let version = Version::parse(&manifest.version).expect("the manifest's version was checked");
        let (name, digest) = (manifest.name.clone(), component.digest);
        let identity = PluginIdentity { name, version: manifest.version.clone(), digest };
        let installed = Installed { identity, manifest: Arc::new(manifest) };
        self.0.store.keep(&component)?;
        self.0.store.install(version, installed.clone())?;
        self.0.ready.lock().insert(digest, Arc::new(OnceCell::new_with(Some(pre))));
        Ok(installed)
    }

    /// What is installed, by name and version.
    #[must_use]
    pub fn plugins(&self) -> Vec<Installed> {
        self.0.store.all()
    }

    /// The installed plugin that is meant: without a version, the newest.
    #[must_use]
    pub fn resolve(&self, plugin: &PluginRef) -> Option<Installed> {
        self.0.store.resolve(plugin)
    }

    /// The bytes of a component that is or was installed.
    ///
    /// # Errors
    /// [`StoreError`] where it is not in the store, or damaged.
    pub fn component(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        self.0.store.bytes(digest)
    }

    /// Removes a plugin from what can be chosen; `false` where it was not installed. Its bytes stay in the store: missions
    /// that started with it go on with it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn remove(&self, name: &str, version: &str) -> Result<bool, StoreError> {
        Version::parse(version).map_or(Ok(false), |version| self.0.store.remove(name, &version))
    }

    /// What the plugin finds wrong with a brief, without any grant and under tight limits.
    ///
    /// # Errors
    /// [`Crash`] where the plugin did not get to an answer.
    pub async fn check(&self, plugin: &Digest, brief: Brief) -> Result<Vec<Mistake>, Crash> {
        let pre = self.pre(plugin).await?;
        let found = self.tightly("check", move |guest| async move { guest::check(&pre, brief, guest).await }).await?;
        Ok(plugin::mistakes(found))
    }

    /// Runs a mission to its end. Dropping the future stops the run, too.
    ///
    /// # Panics
    /// Outside a tokio runtime: the host's futures run on the caller's.
    pub async fn run(&self, run: Run) -> Ending {
        let Run { plugin, brief, grants, host, kill } = run;
        let pre = match self.pre(&plugin).await {
            Ok(pre) => pre,
            Err(crash) => return Ending::Crashed(crash),
        };
        let mission = Mission { host, grants, node: Handle::current() };
        let guest = Guest::new(Some(mission), kill.clone(), self.0.memory_bytes_max);
        let inner = Arc::clone(&self.0);
        let task = self.0.guests.spawn(async move {
            let permit = tokio::select! {
                biased;
                () = kill.thrown() => return Ending::Killed,
                permit = inner.runs.acquire() => permit.expect("never closed"),
            };
            let alive = inner.ticker.guest();
            let ending = guest::run(&pre, brief, guest).await;
            drop((alive, permit));
            ending
        });
        AbortOnDropHandle::new(task).await.unwrap_or_else(|error| {
            Ending::Crashed(Crash::Unrunnable(if error.is_panic() {
                "a host function failed; the node's log says more".to_owned()
            } else {
                "the node is shutting down".to_owned()
            }))
        })
    }

    async fn describe(&self, pre: &Arc<PluginPre<Guest>>) -> Result<Manifest, Crash> {
        let pre = Arc::clone(pre);
        self.tightly("describe", move |guest| async move { guest::describe(&pre, guest).await }).await
    }

    /// Calls an export that needs no mission.
    async fn tightly<T, C>(
        &self,
        export: &'static str,
        call: impl FnOnce(Guest) -> C + Send + 'static,
    ) -> Result<T, Crash>
    where
        T: Send + 'static,
        C: Future<Output = Result<T, Crash>> + Send,
    {
        let inner = Arc::clone(&self.0);
        let task = self.0.checkers.spawn(async move {
            let permit = inner.checks.acquire().await.expect("never closed");
            let alive = inner.ticker.guest();
            let guest = Guest::new(None, Kill::new(), CHECK_MEMORY_BYTES.min(inner.memory_bytes_max));
            let called = tokio::time::timeout(CHECK_TIME, call(guest)).await;
            drop((alive, permit));
            called.unwrap_or_else(|_| {
                Err(Crash::LimitExceeded(format!("`{export}` took longer than {} ms", CHECK_TIME.as_millis())))
            })
        });
        let joined = AbortOnDropHandle::new(task).await;
        joined.unwrap_or_else(|_| Err(Crash::Unrunnable("the node is shutting down".to_owned())))
    }

    /// The component of that digest, ready to be instantiated.
    async fn pre(&self, digest: &Digest) -> Result<Arc<PluginPre<Guest>>, Crash> {
        let ready = Arc::clone(self.0.ready.lock().entry(*digest).or_default());
        if let Some(pre) = ready.get() {
            return Ok(Arc::clone(pre));
        }
        let loaded = ready.get_or_try_init(async || {
            let (inner, digest) = (Arc::clone(&self.0), *digest);
            let loaded = self.0.guests.spawn_blocking(move || inner.load(&digest)).await;
            loaded.unwrap_or_else(|_| Err(Crash::Unrunnable("the node is shutting down".to_owned())))
        });
        let loaded = loaded.await.cloned();
        if loaded.is_err() {
            // A digest that is not in the store must not stay in memory.
            self.0.ready.lock().remove_entry(digest);
        }
        loaded
    }
}

impl Inner {
    /// Everything about an installation that takes a while and runs no guest.
    fn prepare(&self, bytes: &[u8]) -> Result<(Component, Arc<PluginPre<Guest>>), InstallError> {
        let component = Component::from_wasm(bytes)?;
        let compiled = self.cache.component(&self.engine, &component.digest, &component.bytes);
        let pre = compiled.and_then(|compiled| self.linked(&compiled));
        let pre = pre.map_err(|error| InstallError::NotAPlugin(format!("{error:#}")))?;
        Ok((component, pre))
    }

    fn load(&self, digest: &Digest) -> Result<Arc<PluginPre<Guest>>, Crash> {
        let unrunnable = |error: String| Crash::Unrunnable(format!("the plugin {digest} cannot be loaded: {error}"));
        let compiled = match self.cache.load(&self.engine, digest) {
            Some(compiled) => Ok(compiled),
            None => {
                let bytes = self.store.bytes(digest).map_err(|error| unrunnable(chain(&error)))?;
                self.cache.component(&self.engine, digest, &bytes)
            }
        };
        compiled.and_then(|compiled| self.linked(&compiled)).map_err(|error| unrunnable(format!("{error:#}")))
    }

    fn linked(&self, component: &wasmtime::component::Component) -> wasmtime::Result<Arc<PluginPre<Guest>>> {
        Ok(Arc::new(PluginPre::new(self.linker.instantiate_pre(component)?)?))
    }
}

fn threads(name: &str, count: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(count.max(1))
        .thread_name(name)
        // A spinning guest gives way each millisecond; so often do timers and sockets get their turn.
        .event_interval(4)
        .enable_time()
        .build()
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A runtime that is dropped in an async context panics; nothing that still runs here has anybody to answer to.
        self.runtimes.get_mut().drain(..).for_each(Runtime::shutdown_background);
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("store", &self.0.store).finish_non_exhaustive()
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
