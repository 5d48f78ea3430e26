//! Says what is new on disk: to those who watch events, and to the courier.
//!
//! It follows the journal's feed, so that nothing is announced before it is durable and nothing that is durable is
//! forgotten.

use std::sync::{Arc, Weak};

use super::{Engine, ReadError};

/// How much of the feed is read at once.
const CHUNK: usize = 4_096;

impl Engine {
    /// Starts to announce what is recorded from now on.
    pub(crate) fn start_herald(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        let mut durable = self.journal.durable();
        let mut told = *durable.borrow_and_update();
        self.tasks.spawn(async move {
            while durable.changed().await.is_ok() {
                let to = *durable.borrow_and_update();
                match announce(&engine, told, to) {
                    Ok(true) => told = to,
                    Ok(false) => return,
                    Err(error) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "news cannot be read");
                        told = to;
                    }
                }
            }
        });
    }
}

/// Announces the frames after `from` up to `to`. False when the engine is gone.
fn announce(engine: &Weak<Engine>, from: u64, to: u64) -> Result<bool, ReadError> {
    let Some(engine) = engine.upgrade() else { return Ok(false) };
    let watched = engine.news.receiver_count() > 0;
    if !watched && engine.undelivered.lock().is_empty() {
        return Ok(true);
    }
    let mut read = from;
    while read < to {
        let entries = engine.journal.feed_after(read, CHUNK)?;
        let Some(last) = entries.last() else { break };
        read = last.position;
        let undelivered = engine.undelivered.lock();
        for entry in &entries {
            if undelivered.contains(&entry.mission) {
                engine.courier.wake(entry.mission);
            }
            if watched {
                // No receiver is no error: nobody watches any more.
                let _ = engine.news.send(entry.mission);
            }
        }
    }
    Ok(true)
}
