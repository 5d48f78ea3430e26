//! Background tasks: each has a name, and one that dies is told to everybody who must know.
//!
//! Some do not end while the node serves; one that does has panicked or returned by mistake: windows would not close, or
//! events not leave, while all else looks well. Others are work that ends, a mission's turn say: one that panics would keep its slot
//! and its session for ever. The node then says so at `/readyz` and exits; the next start recovers.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use sortie_ambient::Joined;
use tokio::sync::{Notify, watch};

use super::Engine;

/// The tasks of a node, the first that died, and whether all are to end.
pub(crate) struct Life {
    tasks: Mutex<Vec<Joined<()>>>,
    died: watch::Sender<Option<&'static str>>,
    stopping: AtomicBool,
    /// Tells watchers that the node stops.
    goodbye: Notify,
}

impl Default for Life {
    fn default() -> Self {
        Self {
            tasks: Mutex::default(),
            died: watch::Sender::new(None),
            stopping: AtomicBool::new(false),
            goodbye: Notify::new(),
        }
    }
}

impl Life {
    /// Everything is to end.
    pub(crate) fn stops(&self) {
        self.stopping.store(true, Release);
        // Watchers' streams would never end by themselves.
        self.goodbye.notify_waiters();
    }

    fn died(&self, name: &'static str) {
        self.died.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(name);
            is_first
        });
    }
}

impl Engine {
    /// Starts a task that must not end before the node stops.
    pub fn supervise(self: &Arc<Self>, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let engine = Arc::downgrade(self);
        let running = self.ambient.spawn(task);
        let watched = self.ambient.spawn(async move {
            let outcome = running.await;
            if let Some(engine) = engine.upgrade().filter(|engine| !engine.is_stopping()) {
                tracing::error!(task = name, ?outcome, "a background task has died; the node stops");
                engine.life.died(name);
            }
        });
        self.life.tasks.lock().push(watched);
    }

    /// Starts a task that ends by itself, and must not panic.
    pub(crate) fn attend(self: &Arc<Self>, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let engine = Arc::downgrade(self);
        let attended = async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err()
                && let Some(engine) = engine.upgrade().filter(|engine| !engine.is_stopping())
            {
                tracing::error!(task = name, "a task has panicked; the node stops");
                engine.life.died(name);
            }
        };
        self.ambient.spawn(attended).detach();
    }

    /// Resolves for those who wait for it when the node stops.
    #[must_use]
    pub fn goodbye(&self) -> &Notify {
        &self.life.goodbye
    }

    /// Whether the node is on its way out.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.life.stopping.load(Acquire)
    }

    /// The background task that has died, if one has.
    #[must_use]
    pub fn dead_task(&self) -> Option<&'static str> {
        *self.life.died.borrow()
    }

    /// Resolves when a background task has died: the process is to stop then.
    pub async fn death(&self) -> &'static str {
        let mut died = self.life.died.subscribe();
        match died.wait_for(Option::is_some).await.map(|name| *name) {
            Ok(Some(name)) => name,
            // The sender is in `self`.
            _ => std::future::pending().await,
        }
    }
}
