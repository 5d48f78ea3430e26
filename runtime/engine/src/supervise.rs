//! Background tasks: each has a name, and one that dies is told to everybody who must know.
//!
//! Some do not end while the node serves; one that does has panicked or returned by mistake: windows would not close, or
//! events not leave, while all else looks well. Others are work that ends, a mission's turn say: one that panics would keep its slot
//! and its session for ever. The node then says so at `/readyz` and exits; the next start recovers.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use sortie_ambient::Joined;
use tokio::sync::watch;

use super::Engine;

/// The tasks of a node, and the first that died.
pub(crate) struct Background {
    tasks: Mutex<Vec<Joined<()>>>,
    died: watch::Sender<Option<&'static str>>,
}

impl Default for Background {
    fn default() -> Self {
        Self { tasks: Mutex::default(), died: watch::Sender::new(None) }
    }
}

impl Background {
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
                engine.background.died(name);
            }
        });
        self.background.tasks.lock().push(watched);
    }

    /// Starts a task that ends by itself, and must not panic.
    pub(crate) fn attend(self: &Arc<Self>, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let engine = Arc::downgrade(self);
        let attended = async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err()
                && let Some(engine) = engine.upgrade().filter(|engine| !engine.is_stopping())
            {
                tracing::error!(task = name, "a task has panicked; the node stops");
                engine.background.died(name);
            }
        };
        self.ambient.spawn(attended).detach();
    }

    /// The background task that has died, if one has.
    #[must_use]
    pub fn dead_task(&self) -> Option<&'static str> {
        *self.background.died.borrow()
    }

    /// Resolves when a background task has died: the process is to stop then.
    pub async fn death(&self) -> &'static str {
        let mut died = self.background.died.subscribe();
        match died.wait_for(Option::is_some).await.map(|name| *name) {
            Ok(Some(name)) => name,
            // The sender is in `self`.
            _ => std::future::pending().await,
        }
    }
}
