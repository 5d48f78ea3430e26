//! How far the delivery of a mission's outgoing items has come.

use serde::{Deserialize, Serialize};
use sortie_contract::Timestamp;

use crate::seal::{self, SealError};

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
    /// What came of the last attempt at the next item, for people, and when it is tried again: as of that attempt.
    pub retry: Option<Retry>,
}

/// A failed attempt that will be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// What came of it, for people.
    pub why: String,
    /// When it is tried again. A node that starts again does not wait for it.
    pub at: Timestamp,
}

const VERSION: u8 = 4;

/// Version 1 on the disk. Never changed once released: another form is another version.
#[derive(Serialize, Deserialize)]
struct V1<'a> {
    acked: u64,
    attempts: u32,
    #[serde(borrow)]
    parked: Option<&'a str>,
}

/// Version 2: what version 1 has, then `since`.
#[derive(Serialize, Deserialize)]
struct V2<'a> {
    #[serde(borrow)]
    v1: V1<'a>,
    since_ns: Option<i128>,
}

/// Version 3: what version 2 has, then what was skipped.
#[derive(Serialize, Deserialize)]
struct V3<'a> {
    #[serde(borrow)]
    v2: V2<'a>,
    skipped: Vec<u64>,
    closed: bool,
}

/// Version 4: what version 3 has, then what came of the last attempt.
#[derive(Serialize, Deserialize)]
struct V4<'a> {
    #[serde(borrow)]
    v3: V3<'a>,
    retry: Option<(&'a str, i128)>,
}

impl Cursor {
    /// The cursor once nothing is left to deliver; `None` where nothing is left to tell either.
    #[must_use]
    pub fn close(self) -> Option<Self> {
        let Self { acked, skipped, .. } = self;
        (!skipped.is_empty()).then(|| Self { acked, skipped, closed: true, ..Self::default() })
    }

    pub(crate) fn encode(&self, mission: u64) -> Vec<u8> {
        let v1 = V1 { acked: self.acked, attempts: self.attempts, parked: self.parked.as_deref() };
        let v2 = V2 { v1, since_ns: self.since.map(Timestamp::as_nanosecond) };
        let v3 = V3 { v2, skipped: self.skipped.clone(), closed: self.closed };
        let retry = self.retry.as_ref().map(|Retry { why, at }| (why.as_str(), at.as_nanosecond()));
        let wire = V4 { v3, retry };
        let bytes = postcard::to_extend(&wire, seal::open(VERSION, 16)).expect("a vector takes every cursor");
        seal::close(bytes, &mission.to_le_bytes())
    }

    pub(crate) fn decode(mission: u64, bytes: &[u8]) -> Result<Self, SealError> {
        let (version, body) = seal::unseal(VERSION, &mission.to_le_bytes(), bytes)?;
        let wire = match version {
            1 => postcard::from_bytes(body).map(|v1| V4::from(V3::from(V2 { v1, since_ns: None }))),
            2 => postcard::from_bytes::<V2<'_>>(body).map(|v2| V4::from(V3::from(v2))),
            3 => postcard::from_bytes::<V3<'_>>(body).map(V4::from),
            _ => postcard::from_bytes(body),
        };
        let V4 { v3, retry } = wire.map_err(|_| SealError::Form)?;
        let V3 { v2: V2 { v1, since_ns }, skipped, closed } = v3;
        let time = |ns| Timestamp::from_nanosecond(ns).map_err(|_| SealError::Form);
        let since = since_ns.map(time).transpose()?;
        let retry = retry.map(|(why, at)| Ok(Retry { why: why.to_owned(), at: time(at)? })).transpose()?;
        let parked = v1.parked.map(str::to_owned);
        Ok(Self { acked: v1.acked, attempts: v1.attempts, parked, since, skipped, closed, retry })
    }
}

impl<'a> From<V2<'a>> for V3<'a> {
    fn from(v2: V2<'a>) -> Self {
        Self { v2, skipped: Vec::new(), closed: false }
    }
}

impl<'a> From<V3<'a>> for V4<'a> {
    fn from(v3: V3<'a>) -> Self {
        Self { v3, retry: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        for parked in [None, Some("410 Gone".to_owned())] {
            for since in [None, Some(Timestamp::MAX)] {
                for (skipped, closed) in [(vec![], false), (vec![3, 299], false), (vec![300], true)] {
                    let retry = since.map(|at| Retry { why: "the receiver answered 503".to_owned(), at });
                    let cursor =
                        Cursor { acked: 300, attempts: 7, parked: parked.clone(), since, skipped, closed, retry };
                    assert_eq!(Cursor::decode(9, &cursor.encode(9)), Ok(cursor));
                }
            }
        }
    }

    #[test]
    fn cursors_of_older_versions_read() {
        let v1 = || V1 { acked: 300, attempts: 7, parked: Some("410 Gone") };
        let expected = Cursor { acked: 300, attempts: 7, parked: Some("410 Gone".to_owned()), ..Cursor::default() };
        let read = |version: u8, bytes: Vec<u8>| {
            let bytes = [seal::open(version, 16), bytes].concat();
            Cursor::decode(9, &seal::close(bytes, &9_u64.to_le_bytes())).unwrap()
        };
        assert_eq!(read(1, postcard::to_stdvec(&v1()).unwrap()), expected);
        let v2 = V2 { v1: v1(), since_ns: Some(Timestamp::MAX.as_nanosecond()) };
        let expected = Cursor { since: Some(Timestamp::MAX), ..expected };
        assert_eq!(read(2, postcard::to_stdvec(&v2).unwrap()), expected);
        let v3 = V3 { v2, skipped: vec![3, 299], closed: false };
        let expected = Cursor { skipped: vec![3, 299], ..expected };
        assert_eq!(read(3, postcard::to_stdvec(&v3).unwrap()), expected);
    }

    #[test]
    fn what_was_skipped_outlives_the_delivery() {
        assert_eq!(Cursor { acked: 3, ..Cursor::default() }.close(), None);
        let skipped = Cursor { acked: 3, attempts: 1, skipped: vec![2], ..Cursor::default() };
        assert_eq!(skipped.close(), Some(Cursor { acked: 3, skipped: vec![2], closed: true, ..Cursor::default() }));
    }
}
