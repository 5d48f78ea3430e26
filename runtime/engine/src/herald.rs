//! Says what is new on disk: to those who watch events, and to the courier.
//!
//! It follows the journal's feed, so that nothing is announced before it is durable and nothing that is durable is
//! forgotten.

use std::sync::{Arc, Weak};

use sortie_ambient::{Gone, Surroundings};
use sortie_contract::limit::{TROUBLE_WAIT, TROUBLE_WAIT_MAX};
use tokio::sync::watch;

use super::Engine;

/// How much of the feed is read at once.
const CHUNK: usize = 4_096;

impl Engine {
    /// Starts to announce what is recorded from now on.
    pub(crate) fn start_herald(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        let mut durable = self.log.follow();
        let told = *durable.borrow_and_update();
        let ambient = Arc::clone(&self.ambient);
        let tell = move |told, to| tell(Weak::clone(&engine), told, to);
        self.supervise("herald", follow(ambient, durable, told, tell));
    }
}

/// What came of telling.
struct Told {
    /// Up to here everything was announced.
    up_to: u64,
    /// What kept the rest from it.
    error: Option<Trouble>,
}

type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// Has everything told that becomes durable after `told`, until there is nobody any more who tells or writes. What cannot be
/// read is read again: passing over it would lose a wake, and a mission's last event would wait for the next start.
async fn follow<F>(
    ambient: Surroundings,
    mut durable: watch::Receiver<u64>,
    mut told: u64,
    mut tell: impl FnMut(u64, u64) -> F,
) where
    F: Future<Output = Option<Told>>,
{
    let mut wait = TROUBLE_WAIT;
    loop {
        let to = *durable.borrow_and_update();
        let mut error = None;
        if told < to {
            let Some(outcome) = tell(told, to).await else { return };
            (told, error) = (outcome.up_to, outcome.error);
        }
        let Some(error) = error else {
            wait = TROUBLE_WAIT;
            if durable.changed().await.is_err() {
                return;
            }
            continue;
        };
        tracing::error!(error = &*error as &(dyn std::error::Error + 'static), "news cannot be read yet");
        ambient.sleep(wait).await;
        wait = (wait * 2).min(TROUBLE_WAIT_MAX);
        if durable.has_changed().is_err() {
            return;
        }
    }
}

/// Announces the frames after `from` up to `to`. `None` when the engine is gone.
async fn tell(engine: Weak<Engine>, from: u64, to: u64) -> Option<Told> {
    let engine = engine.upgrade()?;
    if !engine.is_listened_to() {
        return Some(Told { up_to: to, error: None });
    }
    let announcer = Arc::clone(&engine);
    match engine.ambient.unblock(move || announce(&announcer, from, to)).await {
        Ok(told) => Some(told),
        // What runs tasks is on its way out.
        Err(Gone::Stopped) => None,
        Err(error) => Some(Told { up_to: from, error: Some(error.into()) }),
    }
}

impl Engine {
    fn is_listened_to(&self) -> bool {
        self.news.receiver_count() > 0 || self.deliveries.waiting() > 0
    }
}

/// Blocks.
fn announce(engine: &Engine, from: u64, to: u64) -> Told {
    let watched = engine.news.receiver_count() > 0;
    let mut read = from;
    while read < to {
        let entries = match engine.log.feed_after(read, CHUNK) {
            Ok(entries) => entries,
            Err(error) => return Told { up_to: read, error: Some(error.into()) },
        };
        // The rest was pruned.
        let Some(last) = entries.last() else { break };
        read = last.position;
        let sent = engine.deliveries.among(&entries);
        for (entry, is_sent) in entries.iter().zip(sent) {
            // Most records are nobody's business: a mission of a thousand calls has a handful of events.
            if !engine.lives.may_tell(entry.mission, entry.first) {
                continue;
            }
            if is_sent {
                engine.courier().wake(entry.mission);
            }
            if watched {
                // No receiver is no error: nobody watches any more.
                let _ = engine.news.send(entry.mission);
            }
        }
    }
    Told { up_to: to, error: None }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_could_not_be_read_is_told_later_even_if_nothing_new_comes() {
        let (written, durable) = watch::channel(0);
        let (asked, mut asks) = tokio::sync::mpsc::channel(8);
        let mut failures = 2;
        let ambient: Surroundings = Arc::new(sortie_ambient::System::new(tokio::runtime::Handle::current()));
        let following = tokio::spawn(follow(ambient, durable, 0, move |from, to| {
            asked.try_send((from, to)).expect("room");
            let failed = failures > 0;
            failures -= i32::from(failed);
            // The first failure comes in the middle.
            let told = match failures {
                1 => Told { up_to: 3, error: Some("on purpose".into()) },
                _ if failed => Told { up_to: from, error: Some("on purpose".into()) },
                _ => Told { up_to: to, error: None },
            };
            std::future::ready(Some(told))
        }));
        written.send_replace(7);
        for expected in [(0, 7), (3, 7), (3, 7)] {
            let asked = tokio::time::timeout(Duration::from_secs(10), asks.recv()).await;
            assert_eq!(asked.expect("asked again"), Some(expected));
        }
        written.send_replace(9);
        assert_eq!(asks.recv().await, Some((7, 9)));
        drop(written);
        following.await.expect("it ends with the journal");
    }
}
