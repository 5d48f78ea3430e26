//! Background tasks: each has a name, and one that dies is told to everybody who must know.
//!
//! None of them ends while the node serves. One that does has panicked or returned by mistake: windows would not close, or
//! events not leave, while all else looks well. The node then says so at `/readyz` and exits; the next start recovers.

use std::sync::Arc;

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

impl Engine {
    /// Starts a task that must not end before the node stops.
    pub fn supervise(self: &Arc<Self>, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let died = self.background.died.clone();
        let engine = Arc::downgrade(self);
        let running = self.ambient.spawn(task);
        let watched = self.ambient.spawn(async move {
            let outcome = running.await;
            if engine.upgrade().is_some_and(|engine| !engine.is_stopping()) {
                tracing::error!(task = name, ?outcome, "a background task has died; the node stops");
                died.send_if_modified(|first| {
                    let is_first = first.is_none();
                    first.get_or_insert(name);
                    is_first
                });
            }
        });
        self.background.tasks.lock().push(watched);
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
