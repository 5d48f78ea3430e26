//! The sandbox itself: plugins go in, runs come out.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use semver::Version;
use sortie_contract::Mistake;
use sortie_contract::digest::Digest;
use sortie_contract::plugin::{Brief, Crash, Manifest, Origin, PluginIdentity};
use sortie_contract::tool::ToolName;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::task::AbortOnDropHandle;
use wasmtime::Engine;

use crate::capability::wasi::WasiView as _;
use crate::engine::{self, EngineError, Ticker};
use crate::guest::Guest;
use crate::plugin::{self, Cache, Component, Freed, InstallError, Installed, PLUGIN_BYTES_MAX, Store, StoreError};
use crate::side::Side;
use crate::world::{Exports, Linkers};
use crate::{Ending, Host, Kill, ending};

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
    /// The folder of compiled code, where it is another than `compiled` of that one: such as one that several sandboxes share. Machine code is
    /// loaded from it as it lies there if it carries a code under the folder's key: nobody but this user may be able to write in it.
    pub compiled: Option<PathBuf>,
    /// Whether the functions of what is compiled are kept in that folder one by one, too: for who compiles a plugin that has changed a little,
    /// time and again. What is in the folder then is for its user to bound: [`Sandbox::discard`] leaves packs of functions alone.
    pub by_function: bool,
    /// Runs that are alive together; one more waits for its turn.
    pub instances_max: u32,
    /// Memory of a guest that says nothing else ([`Run::memory_bytes_max`]), in bytes; at most [`MEMORY_BYTES_CEILING`](crate::MEMORY_BYTES_CEILING). A guest
    /// can see it, so that it is part of what a replay depends on.
    pub memory_bytes_max: usize,
    /// The most memory that a plugin may say its runs need, in bytes, to be taken in; none for what a guest gets here. More, where each run brings
    /// a bound of its own.
    pub needs_bytes_max: Option<usize>,
    /// Threads that guests run on.
    pub threads: usize,
}

impl Options {
    /// The defaults, for plugins in `dir`.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
        Self {
            dir,
            compiled: None,
            by_function: false,
            instances_max: 512,
            memory_bytes_max: 256 << 20,
            needs_bytes_max: None,
            threads,
        }
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
    /// What it takes for randomness follows from this: the same for each run that has to ask the same again.
    pub seed: String,
    /// The tools that it gets, in this order.
    pub grants: Vec<ToolName>,
    /// What answers its calls.
    pub host: Arc<dyn Host>,
    /// What stops it.
    pub kill: Kill,
    /// Memory of its guest, in bytes; none for what a run that begins now gets here. A replay must meet the limit that the run
    /// before it met, whatever the options say today.
    pub memory_bytes_max: Option<u64>,
}

/// Runs plugins. Clones share everything.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    engine: Engine,
    linkers: Linkers,
    ticker: Ticker,
    store: Store,
    cache: Cache,
    /// Components that are ready to be instantiated. Each is prepared once, however many ask for it.
    ready: Mutex<HashMap<Digest, Ready>>,
    runs: Semaphore,
    checks: Semaphore,
    /// One plugin at a time is taken in: a compiler takes many times the size of what it compiles.
    installing: tokio::sync::Mutex<()>,
    memory_bytes_max: usize,
    needs_bytes_max: usize,
    guests: Handle,
    /// Where `describe` and `check` run: on threads of their own, half as many, so that what somebody sends never costs the
    /// missions that run more than a third of the machine.
    checkers: Handle,
    /// Taken when the last clone is dropped.
    runtimes: Mutex<Vec<Runtime>>,
}

type Ready = Arc<OnceCell<Plugin>>;

/// A component, compiled and linked to its world.
type Plugin = Arc<dyn Exports>;

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
        let compiled = options.compiled.unwrap_or_else(|| options.dir.join("compiled"));
        let cache = Cache::open(compiled, options.by_function).map_err(OpenError::Cache)?;
        let engine = engine::engine(options.instances_max.saturating_add(CHECKS_MAX), cache.functions())?;
        let linkers = Linkers::new(&engine).expect("the functions of a world have different names");
        let guests = threads("sortie-guest", options.threads).map_err(OpenError::Threads)?;
        let checkers = threads("sortie-check", options.threads.div_ceil(2)).map_err(OpenError::Threads)?;
        Ok(Self(Arc::new(Inner {
            ticker: Ticker::start(&engine).map_err(OpenError::Threads)?,
            store: Store::open(options.dir)?,
            cache,
            ready: Mutex::default(),
            runs: Semaphore::new(options.instances_max as usize),
            checks: Semaphore::new(CHECKS_MAX as usize),
            installing: tokio::sync::Mutex::default(),
            memory_bytes_max: options.memory_bytes_max,
            needs_bytes_max: options.needs_bytes_max.unwrap_or(options.memory_bytes_max),
            guests: guests.handle().clone(),
            checkers: checkers.handle().clone(),
            runtimes: Mutex::new(vec![guests, checkers]),
            engine,
            linkers,
        })))
    }

    /// Takes a plugin in: a component, or a core module that carries its component type. The same bytes again change
    /// nothing, and mend what is damaged; other bytes of the same name and version replace it for missions that start later.
    ///
    /// # Errors
    /// [`InstallError`]; the store is then as before.
    pub async fn install(&self, bytes: Vec<u8>) -> Result<Installed, InstallError> {
        let taken = self.take_in(|| Ok((Component::from_wasm(bytes)?, Origin::default()))).await?;
        let inner = Arc::clone(&self.0);
        let kept = self.0.guests.spawn_blocking(move || inner.keep(taken));
        kept.await.map_err(|_| InstallError::ShuttingDown)?
    }

    /// The same, of a file: it is read only when its turn has come, so that many at once take no memory. `vet` says where the bytes come
    /// from and who vouches for them, or why they are not taken, before anybody looks into them.
    ///
    /// # Errors
    /// [`InstallError`]; the store is then as before.
    pub async fn install_file(
        &self,
        mut file: File,
        vet: impl FnOnce(&[u8]) -> Result<Origin, String> + Send + 'static,
    ) -> Result<Installed, InstallError> {
        let read = move || {
            let mut bytes = Vec::new();
            file.rewind()?;
            file.take(PLUGIN_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let vetted = move || {
            let bytes = read().map_err(InstallError::Unread)?;
            // The bound first: of what is too large only so much was read.
            if bytes.len() > PLUGIN_BYTES_MAX {
                return Err(InstallError::TooLarge { bytes: bytes.len(), max: PLUGIN_BYTES_MAX });
            }
            let origin = vet(&bytes).map_err(InstallError::Unvouched)?;
            let signed = origin.signed.is_some().then(|| Digest::of(&bytes));
            let component = Component::from_wasm(bytes)?;
            if signed.is_some_and(|signed| signed != component.digest) {
                return Err(InstallError::SignedModule);
            }
            Ok((component, origin))
        };
        let taken = self.take_in(vetted).await?;
        let inner = Arc::clone(&self.0);
        let kept = self.0.guests.spawn_blocking(move || inner.keep(taken));
        kept.await.map_err(|_| InstallError::ShuttingDown)?
    }

    /// The same, of a plugin that comes back at each start. One that is installed already costs a look at its files: nothing of it is
    /// in memory until a mission runs on it. Where the disk does not take it, it is used from memory: a node whose disk is full must
    /// start, so that somebody can look and cancel.
    ///
    /// # Errors
    /// [`InstallError`], for anything but the disk.
    pub async fn install_carried(&self, bytes: Vec<u8>) -> Result<Installed, InstallError> {
        let inner = Arc::clone(&self.0);
        let looked = self.0.guests.spawn_blocking(move || {
            let component = Component::from_wasm(bytes)?;
            let installed = inner.store.installed(&component);
            Ok::<_, InstallError>((component, installed))
        });
        let (component, installed) = looked.await.map_err(|_| InstallError::ShuttingDown)??;
        if let Some(installed) = installed {
            return Ok(installed);
        }
        let taken = self.take_in(|| Ok((component, Origin::default()))).await?;
        let inner = Arc::clone(&self.0);
        let kept = self.0.guests.spawn_blocking(move || inner.keep_or_lend(taken));
        kept.await.map_err(|_| InstallError::ShuttingDown)
    }

    /// A file for what is to be installed: on the store's disk, without a name, gone when it is closed.
    ///
    /// # Errors
    /// The disk takes none.
    pub fn incoming(&self) -> io::Result<File> {
        tempfile::tempfile_in(self.0.store.folder())
    }

    /// Components that are in the store and not installed. Missions may still hold them: whoever knows which, hands the others
    /// to [`Sandbox::discard`].
    #[must_use]
    pub fn unused(&self) -> Vec<Digest> {
        self.0.store.unused()
    }

    /// Removes components that nobody holds any more (of [`Sandbox::unused`]), and compiled code of what is not there. It reads and
    /// changes folders: not for an async worker.
    ///
    /// # Errors
    /// A folder cannot be read. Files that cannot be removed stay.
    pub fn discard(&self, unheld: &[Digest]) -> io::Result<Freed> {
        let mut freed = Freed::default();
        self.0.store.discard(unheld, &mut freed)?;
        self.0.cache.prune(&self.0.engine, |digest| self.0.store.has(digest), &mut freed)?;
        let mut ready = self.0.ready.lock();
        unheld.iter().filter(|digest| !self.0.store.has(digest)).for_each(|digest| drop(ready.remove(digest)));
        Ok(freed)
    }

    /// The packs of functions ([`Options::by_function`]) that something was taken from.
    #[must_use]
    pub fn packs_used(&self) -> Vec<PathBuf> {
        self.0.cache.functions().map(|functions| functions.used()).unwrap_or_default()
    }

    /// What is installed, by name and version.
    #[must_use]
    pub fn plugins(&self) -> Vec<Installed> {
        self.0.store.all()
    }

    /// Lets what is installed not be chosen any more, and says why, until it is installed again. Missions that have it keep it.
    pub fn set_aside(&self, digest: Digest, why: String) {
        self.0.store.set_aside(digest, why);
    }

    /// Why an installed component may not be chosen; nothing, where it may.
    #[must_use]
    pub fn aside(&self, digest: &Digest) -> Option<String> {
        self.0.store.aside(digest)
    }

    /// What is installed under a name and may be chosen, by version.
    #[must_use]
    pub fn plugins_named(&self, name: &str) -> Vec<Installed> {
        self.0.store.named(name)
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
        Version::parse(version).map_or(Ok(false), |version| self.0.store.remove(name, &version, None))
    }

    /// The same, unless other bytes have been installed as this version meanwhile.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn remove_exact(&self, plugin: &PluginIdentity) -> Result<bool, StoreError> {
        let PluginIdentity { name, version, digest } = plugin;
        Version::parse(version).map_or(Ok(false), |version| self.0.store.remove(name, &version, Some(digest)))
    }

    /// What the plugin finds wrong with a brief, without any grant and under tight limits.
    ///
    /// # Errors
    /// [`Crash`] where the plugin did not get to an answer.
    pub async fn check(&self, plugin: &Digest, brief: Brief) -> Result<Vec<Mistake>, Crash> {
        let plugin = self.plugin(plugin).await?;
        let check = move |mut store: wasmtime::Store<Guest>| async move {
            let found = plugin.check(&mut store, brief).await;
            found.map_err(|error| ending::crash(store.data(), &error))
        };
        self.tightly("check", check).await
    }

    /// Resolves once the guests' threads have gone over what they had to do when it was asked: whoever was woken by then has had its
    /// turn. Exact where there is one thread ([`Options::threads`]), as for whoever skips time while all guests wait.
    pub async fn settles(&self) {
        // A runtime that is on its way out has nothing to do.
        drop(self.0.guests.spawn(async {}).await);
    }

    /// Runs a mission to its end. Dropping the future stops the run, too.
    ///
    /// # Panics
    /// Outside a tokio runtime: the host's futures run on the caller's.
    pub async fn run(&self, run: Run) -> Ending {
        let Run { plugin, brief, seed, grants, host, kill, memory_bytes_max } = run;
        let plugin = match self.plugin(&plugin).await {
            Ok(plugin) => plugin,
            Err(crash) => return Ending::Crashed(crash),
        };
        let side = Side::of(host, Handle::current());
        let memory =
            memory_bytes_max.map_or(self.0.memory_bytes_max, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let guest = Guest::new(side, &seed, grants, kill.clone(), memory);
        let inner = Arc::clone(&self.0);
        let task = self.0.guests.spawn(async move {
            let permit = tokio::select! {
                biased;
                () = kill.thrown() => return Ending::Killed,
                permit = inner.runs.acquire() => permit.expect("never closed"),
            };
            let alive = inner.ticker.guest();
            let ending = run_to_its_end(plugin.as_ref(), brief, guest.store(&inner.engine), &kill).await;
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

    /// Everything of an installation up to what is written, one at a time.
    async fn take_in(
        &self,
        read: impl FnOnce() -> Result<(Component, Origin), InstallError> + Send + 'static,
    ) -> Result<Taken, InstallError> {
        let _turn = self.0.installing.lock().await;
        let inner = Arc::clone(&self.0);
        let prepared = self.0.guests.spawn_blocking(move || {
            let (component, origin) = read()?;
            Ok::<_, InstallError>((inner.prepare(component)?, origin))
        });
        let ((component, plugin), origin) = prepared.await.map_err(|_| InstallError::ShuttingDown)??;
        let describing = Arc::clone(&plugin);
        let describe = move |mut store: wasmtime::Store<Guest>| async move {
            let described = describing.describe(&mut store).await;
            described.map_err(|error| ending::crash(store.data(), &error))
        };
        let described = self.tightly("describe", describe).await.map_err(InstallError::Undescribed)?;
        let manifest = plugin::manifest(described)?;
        let limit = self.0.needs_bytes_max as u64;
        if let Some(wants) = manifest.profile.memory_bytes.filter(|wants| *wants > limit) {
            return Err(InstallError::TooMuchMemory { wants, limit });
        }
        Ok(Taken { component, manifest, origin, plugin })
    }

    /// Calls an export that needs no mission.
    async fn tightly<T, C>(
        &self,
        export: &'static str,
        call: impl FnOnce(wasmtime::Store<Guest>) -> C + Send + 'static,
    ) -> Result<T, Crash>
    where
        T: Send + 'static,
        C: Future<Output = Result<T, Crash>> + Send,
    {
        let inner = Arc::clone(&self.0);
        let task = self.0.checkers.spawn(async move {
            let permit = inner.checks.acquire().await.expect("never closed");
            let alive = inner.ticker.guest();
            let memory = CHECK_MEMORY_BYTES.min(inner.memory_bytes_max);
            let guest = Guest::new(Side::absent(), "", Vec::new(), Kill::new(), memory);
            let called = tokio::time::timeout(CHECK_TIME, call(guest.store(&inner.engine))).await;
            drop((alive, permit));
            called.unwrap_or_else(|_| {
                Err(Crash::LimitExceeded(format!("`{export}` took longer than {} ms", CHECK_TIME.as_millis())))
            })
        });
        let joined = AbortOnDropHandle::new(task).await;
        joined.unwrap_or_else(|_| Err(Crash::Unrunnable("the node is shutting down".to_owned())))
    }

    /// The component of that digest, ready to be instantiated.
    async fn plugin(&self, digest: &Digest) -> Result<Plugin, Crash> {
        let ready = Arc::clone(self.0.ready.lock().entry(*digest).or_default());
        if let Some(plugin) = ready.get() {
            return Ok(Arc::clone(plugin));
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
    fn prepare(&self, component: Component) -> Result<(Component, Plugin), InstallError> {
        let compiled = self.cache.component(&self.engine, &component.digest, &component.bytes);
        let plugin = compiled.and_then(|compiled| self.linkers.link(&compiled));
        let plugin = plugin.map_err(|error| InstallError::NotAPlugin(format!("{error:#}")))?;
        Ok((component, plugin.into()))
    }

    fn keep(&self, Taken { component, manifest, origin, plugin }: Taken) -> Result<Installed, InstallError> {
        let (version, installed) = installed(&component, manifest, origin);
        let installed = self.store.install(&component, version, installed)?;
        self.ready.lock().insert(component.digest, Arc::new(OnceCell::new_with(Some(plugin))));
        Ok(installed)
    }

    fn keep_or_lend(&self, Taken { component, manifest, origin, plugin }: Taken) -> Installed {
        let (version, installed) = installed(&component, manifest, origin);
        if let Err(error) = self.store.install(&component, version.clone(), installed.clone()) {
            let error = chain(&error);
            tracing::warn!(plugin = %installed.identity, error, "a plugin that the node carries cannot be written; it is used from memory");
            self.store.lend(&component, version, installed.clone());
            self.ready.lock().insert(component.digest, Arc::new(OnceCell::new_with(Some(plugin))));
        }
        installed
    }

    fn load(&self, digest: &Digest) -> Result<Plugin, Crash> {
        let unrunnable = |error: String| Crash::Unrunnable(format!("the plugin {digest} cannot be loaded: {error}"));
        let compiled = match self.cache.load(&self.engine, digest) {
            Some(compiled) => Ok(compiled),
            None => {
                let bytes = self.store.bytes(digest).map_err(|error| unrunnable(chain(&error)))?;
                self.cache.component(&self.engine, digest, &bytes)
            }
        };
        let linked = compiled.and_then(|compiled| self.linkers.link(&compiled));
        linked.map(Into::into).map_err(|error| unrunnable(format!("{error:#}")))
    }
}

/// A plugin that may be installed.
struct Taken {
    component: Component,
    manifest: Manifest,
    origin: Origin,
    plugin: Plugin,
}

fn installed(component: &Component, manifest: Manifest, origin: Origin) -> (Version, Installed) {
    let version = Version::parse(&manifest.version).expect("the manifest's version was checked");
    let (name, digest) = (manifest.name.clone(), component.digest);
    let identity = PluginIdentity { name, version: manifest.version.clone(), digest };
    (version, Installed { identity, manifest: Arc::new(manifest), origin })
}

/// Does the mission, up to its end. Dropping the future stops the guest.
async fn run_to_its_end(plugin: &dyn Exports, brief: Brief, mut store: wasmtime::Store<Guest>, kill: &Kill) -> Ending {
    let ended = tokio::select! {
        biased;
        () = kill.thrown() => return Ending::Killed,
        ended = plugin.run(&mut store, brief) => ended,
    };
    // What it wrote and did not end by a line break.
    let ended = match store.data_mut().wasi().written_out() {
        Ok(()) => ended,
        Err(stopped) => ended.and(Err(stopped)),
    };
    match ended {
        Ok(verdict) => Ending::Returned(verdict),
        Err(error) => ending::explain(store.data(), &error),
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
