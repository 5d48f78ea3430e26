//! What a log holds of a store: shares, and the ranges of numbers that these are.

use std::sync::Arc;

use parking_lot::Mutex;

use super::script::int;
use crate::fleet::ShareNo;

/// A range of numbers: those between, without either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) after: i64,
    pub(crate) before: i64,
}

/// The ranges of these shares, ascending; those that touch are one.
pub(crate) fn spans(shares: &[ShareNo]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for share in shares {
        let (floor, before) = (int(share.floor()), int(ShareNo(share.0 + 1).floor()));
        match spans.last_mut() {
            Some(last) if last.before == floor => last.before = before,
            _ => spans.push(Span { after: floor - 1, before }),
        }
    }
    spans
}

/// The shares of a log: its own, and those that it has adopted.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) mine: ShareNo,
    now: Mutex<(Vec<ShareNo>, Arc<[Span]>)>,
}

impl Holding {
    /// These, ascending.
    pub(crate) fn new(mine: ShareNo, shares: &[ShareNo]) -> Self {
        Self { mine, now: Mutex::new((shares.to_vec(), spans(shares).into())) }
    }

    pub(crate) fn spans(&self) -> Arc<[Span]> {
        Arc::clone(&self.now.lock().1)
    }

    pub(crate) fn has(&self, share: ShareNo) -> bool {
        self.now.lock().0.binary_search(&share).is_ok()
    }

    /// All of them, ascending.
    pub(crate) fn shares(&self) -> Vec<ShareNo> {
        self.now.lock().0.clone()
    }

    /// These, too, from now on.
    pub(crate) fn extend(&self, shares: &[ShareNo]) {
        let mut now = self.now.lock();
        let mut all: Vec<ShareNo> = now.0.iter().chain(shares).copied().collect();
        all.sort_unstable();
        all.dedup();
        let ranges = spans(&all).into();
        *now = (all, ranges);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_that_touch_are_one_range() {
        let at = |share| int(ShareNo(share).floor());
        let span = |first, end| Span { after: at(first) - 1, before: at(end) };
        for (shares, expected) in [
            (vec![0], vec![span(0, 1)]),
            (vec![0, 1, 2], vec![span(0, 3)]),
            (vec![1, 3, 4, 9], vec![span(1, 2), span(3, 5), span(9, 10)]),
        ] {
            let shares: Vec<ShareNo> = shares.into_iter().map(ShareNo).collect();
            assert_eq!(spans(&shares), expected, "{shares:?}");
        }
        let holding = Holding::new(ShareNo(3), &[ShareNo(3)]);
        holding.extend(&[ShareNo(2), ShareNo(7)]);
        assert_eq!((holding.has(ShareNo(2)), holding.has(ShareNo(4))), (true, false));
        assert_eq!(*holding.spans(), [span(2, 4), span(7, 8)]);
    }
}
