//! How far the delivery of a mission's outgoing items has come.
//!
//! Where it stands after each attempt, `sortie-mission` says; `sortie-journal` keeps it.

use crate::Timestamp;

/// How far delivery has come. A mission without one has nothing left to deliver, and nothing of it was skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Items that are done with, delivered or skipped: the next one is `acked + 1`.
    pub acked: u64,
    /// How often the next item has been tried.
    pub attempts: u32,
    /// Why the next item is not tried any more; it and those behind it wait for an operator.
    pub parked: Option<String>,
    /// When the item before the next was done with, or an operator had the next one tried again: where that is later than its
    /// record, its age counts from then.
    pub since: Option<Timestamp>,
    /// Items that an operator left out, ascending. Bounded by the mission's items, and each takes an operator's word.
    pub skipped: Vec<u64>,
    /// Nothing is left to deliver; the cursor stays to tell what was skipped.
    pub closed: bool,
    /// What came of the last attempt at the next item, and when it is tried again: as of that attempt.
    pub retry: Option<Retry>,
}

/// A failed attempt that will be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Why it failed, for people: short, and nothing of what was sent.
    pub why: String,
    /// When it is tried again. A node that starts again does not wait for it.
    pub at: Timestamp,
}

impl Cursor {
    /// The cursor once nothing is left to deliver; `None` where nothing is left to tell either.
    #[must_use]
    pub fn close(self) -> Option<Self> {
        let Self { acked, skipped, .. } = self;
        (!skipped.is_empty()).then(|| Self { acked, skipped, closed: true, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_skipped_outlives_the_delivery() {
        assert_eq!(Cursor { acked: 3, ..Cursor::default() }.close(), None);
        let skipped = Cursor { acked: 3, attempts: 1, skipped: vec![2], ..Cursor::default() };
        assert_eq!(skipped.close(), Some(Cursor { acked: 3, skipped: vec![2], closed: true, ..Cursor::default() }));
    }
}
