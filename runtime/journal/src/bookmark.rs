//! Where a reader of the feed of a whole store is: how far it has read each share's part, as one word that it keeps and any node takes.
//!
//! Owned here: that word, and in which order entries of several parts are read. A mission's entries are read in their order, because those
//! of one holder's parts are read part by part, and no mission is two holders'. Never here: what an entry says, and when it is looked again.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::error::ReadError;
use crate::feed::{FeedEntry, FeedPart};
use crate::fleet::{Fleet, ShareNo};

/// What each begins with: nothing that is a number does.
const MARK: char = 'f';

/// Between what is said of shares.
const BETWEEN: char = '~';

/// Most characters of one: shares that are over take none once their neighbours are, so that these are hundreds of nodes.
const CHARS_MAX: usize = 4_096;

/// See the module. What is nowhere in it has not been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bookmark {
    /// Shares that were read to their end and are over, as ranges with both ends: ascending, none touches the next.
    over: Vec<(u32, u32)>,
    at: BTreeMap<ShareNo, At>,
}

/// How far a part was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    /// Up to this position.
    read: u64,
    /// And so many events of the entry behind it.
    seen: u32,
}

/// It is no bookmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not how far the events of a store were read")]
pub struct NoBookmark;

impl Bookmark {
    /// Of whoever read one node's feed up to there, and nothing of the others.
    #[must_use]
    pub fn behind(position: u64) -> Self {
        let mut bookmark = Self::default();
        bookmark.goes_to(position, 0);
        bookmark
    }

    /// It read the entry at that position.
    pub fn passes(&mut self, position: u64) {
        self.goes_to(position, 0);
    }

    /// It read so many events of the entry at that position, and nothing behind them.
    pub fn passes_some(&mut self, position: u64, events: u32) {
        self.goes_to(position.saturating_sub(1), events);
    }

    /// How many events of the entry at that position it read before.
    #[must_use]
    pub fn seen_of(&self, position: u64) -> u32 {
        self.at.get(&ShareNo::of(position)).filter(|at| at.read + 1 == position).map_or(0, |at| at.seen)
    }

    /// Where the feed ends that it is beyond: it is of another store, or of this one before an older copy was put back.
    #[must_use]
    pub fn is_beyond(&self, parts: &[FeedPart]) -> Option<u64> {
        let part = |share: ShareNo| parts.iter().find(|part| part.share == share);
        let end = || parts.iter().filter(|part| !part.is_over).map(|part| part.end).max().unwrap_or(0);
        for (share, at) in &self.at {
            match part(*share) {
                None => return Some(end()),
                Some(part) if at.read + u64::from(at.seen > 0) > part.end => return Some(part.end),
                Some(_) => {}
            }
        }
        let ends = self.over.iter().flat_map(|(first, last)| [*first, *last]);
        let is_over = |share: u32| part(ShareNo(share)).is_some_and(|part| part.is_over);
        ends.into_iter().any(|share| !is_over(share)).then(end)
    }

    /// The next entries of all parts, at most `limit`, and where it is behind them. Of one holder's parts the lower are read first; which
    /// holder is first `turn` says, which is to be another each time.
    ///
    /// # Errors
    /// As [`Fleet::feed_between`].
    pub fn entries(
        &self,
        fleet: &dyn Fleet,
        parts: &[FeedPart],
        limit: usize,
        turn: usize,
    ) -> Result<(Vec<FeedEntry>, Self), ReadError> {
        let mut holders: BTreeMap<ShareNo, Vec<&FeedPart>> = BTreeMap::new();
        for part in parts.iter().filter(|part| self.has_more_in(part)) {
            holders.entry(part.holder).or_default().push(part);
        }
        let mut holders: Vec<Vec<&FeedPart>> = holders.into_values().collect();
        let count = holders.len();
        if count > 0 {
            holders.rotate_left(turn % count);
        }
        let (mut entries, mut to) = (Vec::new(), self.clone());
        for (no, parts) in holders.into_iter().enumerate() {
            // What one has not used is the others'.
            let mut left = (limit - entries.len()).div_ceil(count - no);
            for part in parts {
                if left == 0 {
                    break;
                }
                let some = fleet.feed_between(to.read(part.share), part.end, left)?;
                left = left.saturating_sub(some.len());
                match some.last().filter(|_| left == 0) {
                    Some(last) => to.passes(last.position),
                    None => to.finishes(part),
                }
                entries.extend(some);
            }
        }
        Ok((entries, to))
    }

    /// Up to which position a part was read.
    fn read(&self, share: ShareNo) -> u64 {
        self.at.get(&share).map_or(share.floor(), |at| at.read)
    }

    fn has_more_in(&self, part: &FeedPart) -> bool {
        !self.is_over(part.share) && (part.is_over || self.read(part.share) < part.end)
    }

    fn is_over(&self, share: ShareNo) -> bool {
        self.over.iter().any(|(first, last)| (*first..=*last).contains(&share.0))
    }

    fn goes_to(&mut self, read: u64, seen: u32) {
        let share = ShareNo::of(read);
        if read == share.floor() && seen == 0 {
            self.at.remove(&share);
        } else {
            self.at.insert(share, At { read, seen });
        }
    }

    /// There is nothing more in it.
    fn finishes(&mut self, part: &FeedPart) {
        if !part.is_over {
            self.goes_to(part.end, 0);
            return;
        }
        self.at.remove(&part.share);
        let place = self.over.partition_point(|(first, _)| *first < part.share.0);
        self.over.insert(place, (part.share.0, part.share.0));
        self.over.dedup_by(|next, before| {
            let touches = before.1 + 1 == next.0;
            if touches {
                before.1 = next.1;
            }
            touches
        });
    }
}

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}")?;
        for (first, last) in &self.over {
            write!(f, "{BETWEEN}{first:x}-{last:x}")?;
        }
        for (share, At { read, seen }) in &self.at {
            write!(f, "{BETWEEN}{:x}.{:x}", share.0, read - share.floor())?;
            if *seen > 0 {
                write!(f, ".{seen:x}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Bookmark {
    type Err = NoBookmark;

    /// Only what one is written as is one.
    fn from_str(text: &str) -> Result<Self, NoBookmark> {
        if text.len() > CHARS_MAX {
            return Err(NoBookmark);
        }
        let mut bookmark = Self::default();
        for said in text.strip_prefix(MARK).ok_or(NoBookmark)?.split(BETWEEN).skip(1) {
            let numbers = said.split(['-', '.']).map(|number| u64::from_str_radix(number, 16).ok());
            let numbers: Vec<u64> = numbers.collect::<Option<_>>().ok_or(NoBookmark)?;
            let small = |number: u64| u32::try_from(number).map_err(|_| NoBookmark);
            match numbers.as_slice() {
                [first, last] if said.contains('-') => bookmark.over.push((small(*first)?, small(*last)?)),
                [share, n, rest @ ..] if rest.len() < 2 => {
                    let share = ShareNo(small(*share)?);
                    let seen = small(rest.first().copied().unwrap_or(0))?;
                    let read = share.floor().checked_add(*n).ok_or(NoBookmark)?;
                    bookmark.at.insert(share, At { read, seen });
                }
                _ => return Err(NoBookmark),
            }
        }
        let is_in_order = bookmark.over.windows(2).all(|two| u64::from(two[0].1) + 1 < u64::from(two[1].0));
        let is_sound = bookmark.over.iter().all(|(first, last)| first <= last && *last <= ShareNo::MAX.0)
            && bookmark.at.iter().all(|(share, at)| {
                let is_somewhere = at.read > share.floor() || at.seen > 0;
                *share <= ShareNo::MAX && ShareNo::of(at.read) == *share && is_somewhere && !bookmark.is_over(*share)
            });
        // Another way to write the same is nobody's: a letter that is large, a zero before a number, something behind the end.
        if is_in_order && is_sound && bookmark.to_string() == text { Ok(bookmark) } else { Err(NoBookmark) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(share: u32, holder: u32, n: u64, is_over: bool) -> FeedPart {
        FeedPart { share: ShareNo(share), holder: ShareNo(holder), end: ShareNo(share).floor() + n, is_over }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is() {
        let mut bookmark = Bookmark::behind(7);
        bookmark.passes(ShareNo(5).floor() + 0x1a2b);
        bookmark.passes_some(ShareNo(6).floor() + 1, 2);
        for share in [2, 4, 3] {
            bookmark.finishes(&part(share, 6, 9, true));
        }
        assert_eq!(bookmark.to_string(), "f~2-4~0.7~5.1a2b~6.0.2");
        for text in ["f", "f~2-4~0.7~5.1a2b~6.0.2", "f~0-1ffff", "f~1ffff.fffffffff"] {
            assert_eq!(text.parse::<Bookmark>().map(|bookmark| bookmark.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "7",
            "g",
            "f~",
            "f~~0.7",
            "f~0.7~",
            "f0.7",
            "f~0",
            "f~0.",
            "f~0.7.1.1",
            "f~0.07",
            "f~0.A",
            "f~0.0",
            "f~0.+7",
            "f~0.7-8",
            "f~5.1~0.7",
            "f~0.7~0.8",
            "f~4-2",
            "f~2-4~3.1",
            "f~2-4~5-6",
            "f~0-20000",
            "f~20000.1",
            "f~0.1000000000",
            "f~0-1.2",
            "f~ffffffffffffffffff.1",
            "f~0.7 ",
        ] {
            assert_eq!(text.parse::<Bookmark>(), Err(NoBookmark), "{text}");
        }
        assert_eq!(format!("f{}", "~0.7".repeat(2_000)).parse::<Bookmark>(), Err(NoBookmark));
        assert_eq!((Bookmark::behind(0), Bookmark::behind(ShareNo(3).floor())), Default::default());
    }

    #[test]
    fn one_that_is_beyond_the_end_is_told_and_the_end_itself_is_not_beyond() {
        let parts = [part(0, 2, u64::from(u32::MAX), true), part(1, 1, 5, false), part(2, 2, 0, false)];
        let end = ShareNo(1).floor() + 5;
        for (text, expected) in [
            ("f", None),
            ("f~0-0~1.5", None),
            ("f~1.6", Some(end)),
            ("f~1.5.1", Some(end)),
            ("f~1.4.1", None),
            ("f~2.1", Some(ShareNo(2).floor())),
            ("f~3.1", Some(ShareNo(2).floor())),
            // It was over there, and is not here.
            ("f~0-1", Some(ShareNo(2).floor())),
            ("f~3-4", Some(ShareNo(2).floor())),
        ] {
            assert_eq!(text.parse::<Bookmark>().map(|bookmark| bookmark.is_beyond(&parts)), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_was_seen_of_an_entry_is_not_seen_again() {
        let mut bookmark = Bookmark::behind(3);
        assert_eq!(bookmark.seen_of(4), 0);
        bookmark.passes_some(4, 2);
        assert_eq!((bookmark.seen_of(3), bookmark.seen_of(4), bookmark.seen_of(5)), (0, 2, 0));
        bookmark.passes(4);
        assert_eq!(bookmark, Bookmark::behind(4));
    }
}
