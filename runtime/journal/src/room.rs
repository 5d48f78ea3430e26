//! Room in the queue: how much may wait for the writer, and a place that is kept for one append.
//!
//! Everything that is handed over has a place until the writer takes it. Whoever must know beforehand that an append will not
//! be refused for want of room, because something is changed before it is made, takes the place first
//! ([`crate::Journal::reserve`]). What the writer does, and when, is not known here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::WriteError;

/// What waits for the writer, and how much may.
#[derive(Debug)]
pub(crate) struct Load {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    messages_max: usize,
    bytes_max: usize,
}

impl Load {
    pub(crate) fn new(messages_max: usize, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { messages: AtomicUsize::new(0), bytes: AtomicUsize::new(0), messages_max, bytes_max })
    }

    /// A place for a message of so many bytes. One that is larger than the whole bound still goes, alone.
    pub(crate) fn place(self: &Arc<Self>, bytes: usize) -> Result<Room, WriteError> {
        let messages = self.messages.fetch_add(1, Ordering::Relaxed);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Dropped, it gives back what it took.
        let room = Room(Some(Arc::new(Place { load: Arc::clone(self), bytes })));
        let full = messages >= self.messages_max || (before > 0 && before.saturating_add(bytes) > self.bytes_max);
        if full { Err(WriteError::Overloaded) } else { Ok(room) }
    }

    /// Whether it is more than half full.
    pub(crate) fn is_crowded(&self) -> bool {
        self.messages.load(Ordering::Relaxed) > self.messages_max / 2
            || self.bytes.load(Ordering::Relaxed) > self.bytes_max / 2
    }
}

/// A place in the queue of a log, for one append. Clones are the same place; it is free again when the last is gone and the append
/// has been taken.
#[derive(Debug, Clone)]
pub struct Room(#[expect(dead_code, reason = "what matters is when it is dropped")] Option<Arc<Place>>);

impl Room {
    /// In a log without a queue.
    #[must_use]
    pub fn unbounded() -> Self {
        Self(None)
    }
}

#[derive(Debug)]
struct Place {
    load: Arc<Load>,
    bytes: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.load.messages.fetch_sub(1, Ordering::Relaxed);
        self.load.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_until_it_is_given_back() {
        let load = Load::new(2, 100);
        let (one, two) = (load.place(30).unwrap(), load.place(30).unwrap());
        assert!(load.is_crowded());
        assert_eq!(load.place(1).map(drop), Err(WriteError::Overloaded), "two messages at most");
        let same = two.clone();
        drop(two);
        assert_eq!(load.place(1).map(drop), Err(WriteError::Overloaded), "a clone is the same place");
        drop(same);
        assert_eq!(load.place(71).map(drop), Err(WriteError::Overloaded), "a hundred bytes at most");
        drop(load.place(70).unwrap());
        drop(one);
        drop(load.place(1_000).expect("alone, it goes whatever its size"));
        assert_eq!((load.messages.load(Ordering::Relaxed), load.bytes.load(Ordering::Relaxed)), (0, 0));
    }
}
