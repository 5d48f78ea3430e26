//! The events of all nodes of a store, for whoever reads them at this one.
//!
//! In which order they are read the log says ([`Bookmark`]): each mission's in theirs, none twice, whichever node is asked and whoever
//! goes on with a mission meanwhile. Owned here: what events the entries have, and how often the store is asked how far it goes. Never
//! here: missions of others as anything but readers have them. They are not brought into memory, and one that cannot be read is passed over,
//! and seen to by whoever has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use sortie_journal::{Bookmark, FeedPart};

use crate::{Engine, ReadError};

/// Entries whose events are made at once: several of them are mostly one mission's, which is read once for all.
const TOGETHER: usize = 64;

/// An event as whoever reads all of them is told it.
#[derive(Debug, Clone)]
pub struct Told {
    /// By what a reader goes on behind it.
    pub id: String,
    /// Its type, such as `mission.progress`.
    pub kind: &'static str,
    /// The event itself.
    pub json: Arc<str>,
}

/// How far the feed went when the store was asked last: one question for all who read at the same time.
#[derive(Debug, Default)]
pub(super) struct Ends {
    last: Mutex<Option<Looked>>,
    /// Whose turn it is to be read first.
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Looked {
    /// By the steady clock, before it was asked.
    at: Duration,
    parts: Arc<[FeedPart]>,
}

impl Engine {
    /// Events of all nodes behind `from`, of at most `limit` entries and of about `bytes`, and where it is behind them. All are there that
    /// were recorded by `since`, by the steady clock. Blocks.
    ///
    /// # Errors
    /// [`ReadError`]: [`ReadError::Ahead`] where there is no such place.
    pub fn events_of_all(
        &self,
        from: &Bookmark,
        since: Duration,
        limit: usize,
        bytes: usize,
    ) -> Result<(Vec<Told>, Bookmark), ReadError> {
        let Some(fleet) = self.log.fleet() else { return Ok((Vec::new(), from.clone())) };
        let mut parts = self.feed_ends(since)?;
        if from.is_beyond(&parts).is_some() {
            // It may have been further at another node by now.
            parts = self.feed_ends(self.ambient.steady())?;
            if let Some(last) = from.is_beyond(&parts) {
                return Err(ReadError::Ahead { last });
            }
        }
        let turn = self.fleet.ends.turn.fetch_add(1, Relaxed);
        let (entries, end) = from.entries(fleet, &parts, limit, turn)?;
        let (mut told, mut held, mut here) = (Vec::new(), 0, from.clone());
        for entries in entries.chunks(TOGETHER) {
            for (entry, events) in entries.iter().zip(self.events_of_any(entries, fleet)?) {
                let seen = here.seen_of(entry.position) as usize;
                for (no, event) in (1..).zip(events.iter()).skip(seen) {
                    if no as usize == events.len() {
                        here.passes(entry.position);
                    } else {
                        here.passes_some(entry.position, no);
                    }
                    held += event.json.len();
                    told.push(Told { id: here.to_string(), kind: event.kind, json: Arc::clone(&event.json) });
                }
                here.passes(entry.position);
            }
            if held >= bytes {
                return Ok((told, here));
            }
        }
        Ok((told, end))
    }

    /// How far the feed goes, as the store was asked at `since` or later.
    fn feed_ends(&self, since: Duration) -> Result<Arc<[FeedPart]>, ReadError> {
        let Some(fleet) = self.log.fleet() else { return Ok(Arc::default()) };
        // Held while the store is asked, and with nothing else: who waits for it waits for that answer.
        let mut last = self.fleet.ends.last.lock();
        if let Some(looked) = last.as_ref().filter(|looked| looked.at >= since) {
            return Ok(Arc::clone(&looked.parts));
        }
        let at = self.ambient.steady();
        let parts: Arc<[FeedPart]> = fleet.feed_parts()?.into();
        *last = Some(Looked { at, parts: Arc::clone(&parts) });
        Ok(parts)
    }
}
