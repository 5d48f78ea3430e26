//! Where a mission's delivery stands after each attempt, and after each act of an operator.
//!
//! Owned here: how the cursor moves, and that it never goes back: what comes too late is no step. Never here: whether an attempt is
//! repeated or parked, which the courier says, and moving the cursor that is on the disk.

use alloc::string::String;

use sortie_contract::Timestamp;
use sortie_contract::cursor::{Cursor, Retry};

/// What happened to the first item that is not delivered.
#[derive(Debug, Clone)]
pub enum Step {
    /// Its receiver took it.
    Delivered {
        /// The number of the item.
        item: u64,
        /// When.
        at: Timestamp,
    },
    /// An attempt failed, and there will be another.
    Attempted {
        /// The number of the item.
        item: u64,
        /// How many attempts there have been.
        attempts: u32,
        /// What came of the last one, and when the next one is.
        retry: Retry,
    },
    /// An attempt failed, and there will be no other until an operator says so.
    Parked {
        /// The number of the item.
        item: u64,
        /// How many attempts there have been.
        attempts: u32,
        /// What came of the last one, for people.
        why: String,
    },
    /// An operator has it tried again.
    Again {
        /// When.
        at: Timestamp,
    },
    /// An operator leaves it out.
    Skipped {
        /// When.
        at: Timestamp,
    },
}

impl Step {
    /// Where the cursor stands after it; `None` where it is no step from there: the item is done with, or nothing is parked.
    #[must_use]
    pub fn taken_from(&self, before: &Cursor) -> Option<Cursor> {
        // The next item can be sent from the moment on in which the one before it is done with.
        let next = |acked, at: &Timestamp| Cursor {
            acked,
            since: Some(*at),
            skipped: before.skipped.clone(),
            ..Cursor::default()
        };
        let is_next = |item: u64| !before.closed && before.acked + 1 == item;
        match self {
            Self::Delivered { item, at } => (!before.closed && before.acked < *item).then(|| next(*item, at)),
            Self::Attempted { item, attempts, retry } => (is_next(*item) && before.parked.is_none()).then(|| Cursor {
                attempts: *attempts,
                retry: Some(retry.clone()),
                ..before.clone()
            }),
            Self::Parked { item, attempts, why } => {
                let parked = Some(why.clone());
                is_next(*item).then(|| Cursor { attempts: *attempts, parked, retry: None, ..before.clone() })
            }
            Self::Again { at } => before.parked.as_ref().map(|_| next(before.acked, at)),
            Self::Skipped { at } => before.parked.as_ref().map(|_| {
                let mut after = next(before.acked + 1, at);
                after.skipped.push(after.acked);
                after
            }),
        }
    }

    /// Whether the item is done with.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Delivered { .. } | Self::Skipped { .. })
    }
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned as _;
    use alloc::vec;

    use super::*;

    /// The time of each step.
    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(acked: u64) -> Cursor {
        Cursor { acked, ..Cursor::default() }
    }

    /// Where the one before was done with just now.
    fn since(acked: u64) -> Cursor {
        Cursor { acked, since: Some(NOW), ..Cursor::default() }
    }

    #[test]
    fn a_cursor_goes_on_and_never_back() {
        let again = Step::Again { at: NOW };
        let skip = Step::Skipped { at: NOW };
        let retry = Retry { why: "503".to_owned(), at: NOW };
        let delivered = |item| Step::Delivered { item, at: NOW };
        let attempted = |item| Step::Attempted { item, attempts: 2, retry: retry.clone() };
        let failed = Cursor { attempts: 2, retry: Some(retry.clone()), ..Cursor::default() };
        let parked = |item| Step::Parked { item, attempts: 3, why: "410".to_owned() };
        let waits = Cursor { attempts: 3, parked: Some("410".to_owned()), ..at(4) };
        let retried = since(4);
        let skipped = Cursor { skipped: vec![5], ..since(5) };
        let closed = Cursor { closed: true, ..skipped.clone() };
        for (before, step, after) in [
            (at(4), delivered(5), Some(since(5))),
            (at(4), attempted(5), Some(Cursor { acked: 4, ..failed.clone() })),
            (at(4), parked(5), Some(waits.clone())),
            (Cursor { acked: 4, ..failed.clone() }, parked(5), Some(waits.clone())),
            (waits.clone(), parked(5), Some(waits.clone())),
            (waits.clone(), again.clone(), Some(retried.clone())),
            (waits.clone(), skip.clone(), Some(skipped.clone())),
            (retried, attempted(5), Some(Cursor { acked: 4, since: Some(NOW), ..failed })),
            // What comes too late: somebody else was faster.
            (at(5), delivered(5), None),
            (at(6), attempted(5), None),
            (skipped.clone(), parked(5), None),
            (skipped.clone(), delivered(5), None),
            (skipped.clone(), skip.clone(), None),
            (skipped.clone(), again.clone(), None),
            (waits, attempted(5), None),
            (closed.clone(), delivered(9), None),
            (closed, parked(6), None),
            // What was skipped stays told.
            (skipped, delivered(6), Some(Cursor { skipped: vec![5], ..since(6) })),
        ] {
            assert_eq!(step.taken_from(&before), after, "{step:?} from {before:?}");
        }
    }
}
