//! How far the delivery of a mission's outgoing items has come.

use serde::{Deserialize, Serialize};
use sortie_contract::Timestamp;

use crate::seal::{self, SealError};

/// How far delivery has come. A mission without one has nothing left to deliver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Items that are done with, delivered or skipped: the next one is `acked + 1`.
    pub acked: u64,
    /// How often the next item has been tried.
    pub attempts: u32,
    /// Why the next item is not tried any more; it and those behind it wait for an operator.
    pub parked: Option<String>,
    /// When an operator had it tried again: its age counts from then, not from when it was recorded.
    pub since: Option<Timestamp>,
}

const VERSION: u8 = 2;

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

impl Cursor {
    pub(crate) fn encode(&self, mission: u64) -> Vec<u8> {
        let v1 = V1 { acked: self.acked, attempts: self.attempts, parked: self.parked.as_deref() };
        let wire = V2 { v1, since_ns: self.since.map(Timestamp::as_nanosecond) };
        let bytes = postcard::to_extend(&wire, seal::open(VERSION, 16)).expect("a vector takes every cursor");
        seal::close(bytes, &mission.to_le_bytes())
    }

    pub(crate) fn decode(mission: u64, bytes: &[u8]) -> Result<Self, SealError> {
        let (version, body) = seal::unseal(VERSION, &mission.to_le_bytes(), bytes)?;
        let wire = match version {
            1 => postcard::from_bytes(body).map(|v1| V2 { v1, since_ns: None }),
            _ => postcard::from_bytes(body),
        };
        let V2 { v1, since_ns } = wire.map_err(|_| SealError::Form)?;
        let since = since_ns.map(Timestamp::from_nanosecond).transpose().map_err(|_| SealError::Form)?;
        Ok(Self { acked: v1.acked, attempts: v1.attempts, parked: v1.parked.map(str::to_owned), since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        for parked in [None, Some("410 Gone".to_owned())] {
            for since in [None, Some(Timestamp::MAX)] {
                let cursor = Cursor { acked: 300, attempts: 7, parked: parked.clone(), since };
                assert_eq!(Cursor::decode(9, &cursor.encode(9)), Ok(cursor));
            }
        }
    }

    #[test]
    fn a_cursor_of_version_1_reads() {
        let wire = V1 { acked: 300, attempts: 7, parked: Some("410 Gone") };
        let bytes = postcard::to_extend(&wire, seal::open(1, 16)).unwrap();
        let read = Cursor::decode(9, &seal::close(bytes, &9_u64.to_le_bytes())).unwrap();
        assert_eq!(read, Cursor { acked: 300, attempts: 7, parked: Some("410 Gone".to_owned()), since: None });
    }
}
