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
use sortie_journal::{Bookmark, FeedEntry, FeedPart, Fleet};

use crate::{Engine, ReadError};

/// Entries whose events are made at once: several of them are mostly one mission's, which is read once for all.
const TOGETHER: usize = 64;

/// How often one question looks on where no entry has an event.
const LOOKS_MAX: usize = 12;

/// Most entries of such a look; each looks at twice as many as the one before.
const ENTRIES_MAX: usize = 512;

/// How long a reader waits for an answer that another one asked for, before it asks by itself.
const WITH_ANOTHER_MAX: Duration = Duration::from_secs(2);

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
    /// Never held while the store is asked.
    last: Mutex<Option<Looked>>,
    /// Held by whoever asks, and with nothing else.
    asks: Mutex<()>,
    /// Whose turn it is to be read first.
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Looked {
    /// By the steady clock, before it was asked.
    at: Duration,
    parts: Arc<[FeedPart]>,
}

impl Ends {
    /// As the store was asked at that moment or later.
    fn since(&self, moment: Duration) -> Option<Arc<[FeedPart]>> {
        let last = self.last.lock();
        last.as_ref().filter(|looked| looked.at >= moment).map(|looked| Arc::clone(&looked.parts))
    }

    /// Of two answers the one is kept that was asked for later.
    fn keep(&self, at: Duration, parts: &Arc<[FeedPart]>) {
        let mut last = self.last.lock();
        if last.as_ref().is_none_or(|looked| looked.at <= at) {
            *last = Some(Looked { at, parts: Arc::clone(parts) });
        }
    }
}

impl Engine {
    /// Events of all nodes behind `from`, at most `limit` and of about `bytes`, and where it is behind them: at least one, where there is one within
    /// some thousands of entries. All are there that were recorded by `since`, by the steady clock. Blocks.
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
        let (mut told, mut here, mut few) = (Vec::new(), from.clone(), limit);
        // Most entries have no event: it is looked on until there is one.
        for _ in 0..LOOKS_MAX {
            let (entries, end) = here.entries(fleet, &parts, few, turn)?;
            let is_over = end == here;
            if !self.tells(&entries, fleet, (limit, bytes), &mut told, &mut here)? {
                return Ok((told, here));
            }
            here = end;
            if is_over || !told.is_empty() {
                break;
            }
            few = (few * 2).min(ENTRIES_MAX.max(limit));
        }
        Ok((told, here))
    }

    /// Adds the events of these entries, and goes on with `here` behind each. False: there is no room for more of them, of which there are so many
    /// and of so many bytes at most.
    fn tells(
        &self,
        entries: &[FeedEntry],
        fleet: &dyn Fleet,
        (limit, bytes): (usize, usize),
        told: &mut Vec<Told>,
        here: &mut Bookmark,
    ) -> Result<bool, ReadError> {
        let mut held = 0;
        for entries in entries.chunks(TOGETHER) {
            for (entry, events) in entries.iter().zip(self.events_of_any(entries, fleet)?) {
                let seen = here.seen_of(entry.position) as usize;
                for (no, event) in (1..).zip(events.iter()).skip(seen) {
                    // Of an entry a part may be told: the rest is behind it.
                    if told.len() == limit {
                        return Ok(false);
                    }
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
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How far the feed goes, as the store was asked at `since` or later.
    fn feed_ends(&self, since: Duration) -> Result<Arc<[FeedPart]>, ReadError> {
        let Some(fleet) = self.log.fleet() else { return Ok(Arc::default()) };
        let ends = &self.fleet.ends;
        if let Some(parts) = ends.since(since) {
            return Ok(parts);
        }
        // One asks for all who come meanwhile. Where that takes long, as of a store that hangs, each has what its own question brings.
        let _asks = ends.asks.try_lock_for(WITH_ANOTHER_MAX);
        if let Some(parts) = ends.since(since) {
            return Ok(parts);
        }
        let at = self.ambient.steady();
        let parts: Arc<[FeedPart]> = fleet.feed_parts()?.into();
        ends.keep(at, &parts);
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use sortie_journal::ShareNo;

    use super::*;

    #[test]
    fn of_two_answers_the_one_counts_that_was_asked_for_later() {
        let (ends, at) = (Ends::default(), Duration::from_secs);
        let parts = |shares: u32| -> Arc<[FeedPart]> {
            let part = |share| FeedPart { share: ShareNo(share), holder: ShareNo(share), end: 0, is_over: false };
            (0..shares).map(part).collect()
        };
        assert!(ends.since(at(0)).is_none());
        ends.keep(at(3), &parts(2));
        // It was asked before, and told later.
        ends.keep(at(2), &parts(1));
        for (moment, expected) in [(0, Some(2)), (3, Some(2)), (4, None)] {
            assert_eq!(ends.since(at(moment)).map(|parts| parts.len()), expected, "{moment}");
        }
        ends.keep(at(4), &parts(3));
        assert_eq!(ends.since(at(4)).map(|parts| parts.len()), Some(3));
    }
}
