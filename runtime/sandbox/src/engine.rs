//! The engine: how guests are compiled, where their memory comes from, and the thread that interrupts them.
//!
//! Settings were measured; the reasons stand beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{CacheStore, Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::limiter::TABLE_ELEMENTS_MAX;
use crate::plugin::Functions;

/// How often a running guest is interrupted: it then gives way to others, or ends if it was killed.
const TICK: Duration = Duration::from_millis(1);

/// Ticks without any guest before the ticking thread goes to sleep.
const IDLE_TICKS_MAX: u32 = 200;

/// Core instances of one component: the module, wit-component's shims, and room for the adapters of other languages. A
/// component with more is refused when it is compiled, as for tables and memories.
const CORE_INSTANCES_PER_COMPONENT: u32 = 40;
const TABLES_PER_COMPONENT: u32 = 20;
/// All modules of a component share one.
const MEMORIES_PER_COMPONENT: u32 = 1;

/// Most memory that any guest can have, in bytes: what a linear memory of 32 bits can address. The address space for it is set
/// aside for each guest either way; how much of it a guest gets is bounded for each run, so that one that began under another
/// configuration keeps its limit.
pub const MEMORY_BYTES_CEILING: usize = 4 << 30;

/// The machine offers no WebAssembly engine.
#[derive(Debug, thiserror::Error)]
#[error("the WebAssembly engine cannot be set up")]
pub struct EngineError(#[source] wasmtime::Error);

/// An engine for `instances_max` guests alive together: pooled where the address space allows it.
/// Functions that are given are not compiled again.
pub(crate) fn engine(instances_max: u32, functions: Option<&Arc<Functions>>) -> Result<Engine, EngineError> {
    let mut pooled = config(functions)?;
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances_max)));
    Engine::new(&pooled).or_else(|error| {
        // A container with a limit on virtual memory: slower runs are better than none.
        tracing::warn!(error = %format!("{error:#}"), "no pool of instances; each is allocated on demand");
        Engine::new(&config(functions)?).map_err(EngineError)
    })
}

fn config(functions: Option<&Arc<Functions>>) -> Result<Config, EngineError> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(1 << 20)
        // A replay must compute what the first run computed, on whichever processor.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        // The world is synchronous; concurrency is `start` and `wait-any`.
        .concurrency_support(false);
    if let Some(functions) = functions {
        config.enable_incremental_compilation(Arc::clone(functions) as Arc<dyn CacheStore>).map_err(EngineError)?;
    }
    Ok(config)
}

fn pool(instances_max: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    // As many guests as there may be, each of the largest shape: none can take what is another's. Core instances are only
    // counted, and tables take address space until they are used.
    pool.total_component_instances(instances_max)
        .total_core_instances(instances_max.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_memories(instances_max.saturating_mul(MEMORIES_PER_COMPONENT))
        .total_tables(instances_max.saturating_mul(TABLES_PER_COMPONENT))
        .total_stacks(instances_max)
        .max_memory_size(MEMORY_BYTES_CEILING)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        // Keeping pages resident saves the page faults of the next run, but only where the kernel tells which are dirty.
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(4 << 10)
        .async_stack_keep_resident(16 << 10)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// The thread that advances the engine's epoch. An OS thread: a tokio task would be starved by the very guests that it is
/// to interrupt.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct Shared {
    /// Guests that are alive.
    active: AtomicUsize,
    parked: AtomicBool,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let handle = thread::Builder::new().name("sortie-epoch".to_owned()).spawn({
            let (shared, engine) = (Arc::clone(&shared), engine.weak());
            move || tick(&shared, &engine)
        })?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    /// A guest is alive for as long as the value is.
    pub(crate) fn guest(&self) -> Alive<'_> {
        // Ordered with the ticker's look at `active` after it has set `parked`: one of the two sees the other.
        self.shared.active.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Alive(&self.shared)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // It finds the engine gone, or parks again if somebody still holds it.
        self.thread.unpark();
    }
}

pub(crate) struct Alive<'a>(&'a Shared);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick(shared: &Shared, engine: &EngineWeak) {
    let mut idle = 0;
    while let Some(engine) = engine.upgrade() {
        engine.increment_epoch();
        drop(engine);
        thread::sleep(TICK);
        idle = if shared.active.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
        if idle >= IDLE_TICKS_MAX {
            shared.parked.store(true, Ordering::SeqCst);
            if shared.active.load(Ordering::SeqCst) == 0 {
                thread::park();
            }
            shared.parked.store(false, Ordering::SeqCst);
            idle = 0;
        }
    }
}
