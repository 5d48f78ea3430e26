//! How far the delivery of a mission's outgoing items has come.

use serde::{Deserialize, Serialize};

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
}

const VERSION: u8 = 1;

/// Version 1 on the disk. Never changed once released: another form is another version.
#[derive(Serialize, Deserialize)]
struct V1<'a> {
    acked: u64,
    attempts: u32,
    #[serde(borrow)]
    parked: Option<&'a str>,
}

impl Cursor {
    pub(crate) fn encode(&self, mission: u64) -> Vec<u8> {
        let wire = V1 { acked: self.acked, attempts: self.attempts, parked: self.parked.as_deref() };
        let bytes = postcard::to_extend(&wire, seal::open(VERSION, 16)).expect("a vector takes every cursor");
        seal::close(bytes, &mission.to_le_bytes())
    }

    pub(crate) fn decode(mission: u64, bytes: &[u8]) -> Result<Self, SealError> {
        let body = seal::unseal(VERSION, &mission.to_le_bytes(), bytes)?;
        let wire: V1<'_> = postcard::from_bytes(body).map_err(|_| SealError::Form)?;
        Ok(Self { acked: wire.acked, attempts: wire.attempts, parked: wire.parked.map(str::to_owned) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        for parked in [None, Some("410 Gone".to_owned())] {
            let cursor = Cursor { acked: 300, attempts: 7, parked };
            assert_eq!(Cursor::decode(9, &cursor.encode(9)), Ok(cursor));
        }
    }
}
