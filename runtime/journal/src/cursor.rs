//! Cursors on the disk: how far deliveries have come, in each form that was ever written.

use serde::{Deserialize, Serialize};
use sortie_contract::Timestamp;
use sortie_contract::cursor::{Cursor, Retry};

use crate::seal::{self, SealError};

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

/// The bytes of a mission's cursor.
pub(crate) fn encode(cursor: &Cursor, mission: u64) -> Vec<u8> {
    let v1 = V1 { acked: cursor.acked, attempts: cursor.attempts, parked: cursor.parked.as_deref() };
    let v2 = V2 { v1, since_ns: cursor.since.map(Timestamp::as_nanosecond) };
    let v3 = V3 { v2, skipped: cursor.skipped.clone(), closed: cursor.closed };
    let retry = cursor.retry.as_ref().map(|Retry { why, at }| (why.as_str(), at.as_nanosecond()));
    let wire = V4 { v3, retry };
    let bytes = postcard::to_extend(&wire, seal::open(VERSION, 16)).expect("a vector takes every cursor");
    seal::close(bytes, &mission.to_le_bytes())
}

/// The cursor of a mission, from bytes of any version.
pub(crate) fn decode(mission: u64, bytes: &[u8]) -> Result<Cursor, SealError> {
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
    Ok(Cursor { acked: v1.acked, attempts: v1.attempts, parked, since, skipped, closed, retry })
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
                    assert_eq!(decode(9, &encode(&cursor, 9)), Ok(cursor));
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
            decode(9, &seal::close(bytes, &9_u64.to_le_bytes())).unwrap()
        };
        assert_eq!(read(1, postcard::to_stdvec(&v1()).unwrap()), expected);
        let v2 = V2 { v1: v1(), since_ns: Some(Timestamp::MAX.as_nanosecond()) };
        let expected = Cursor { since: Some(Timestamp::MAX), ..expected };
        assert_eq!(read(2, postcard::to_stdvec(&v2).unwrap()), expected);
        let v3 = V3 { v2, skipped: vec![3, 299], closed: false };
        let expected = Cursor { skipped: vec![3, 299], ..expected };
        assert_eq!(read(3, postcard::to_stdvec(&v3).unwrap()), expected);
    }
}
