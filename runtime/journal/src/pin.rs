//! Pins: missions that are kept whatever their age and number, since when, and who said so.
//!
//! They stand beside the records and not in them: keeping a mission is nothing that happens to it, and whether it has ended or cannot be
//! read makes no difference. A pin goes with its mission.

use redb::WriteTransaction;
use serde::{Deserialize, Serialize};
use sortie_contract::Timestamp;

use crate::seal::{self, SealError};
use crate::table::PINS;

/// That a mission is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Since when.
    pub at: Timestamp,
    /// Who said so.
    pub by: String,
}

const VERSION: u8 = 1;

/// Version 1 on the disk. Never changed once released: another form is another version.
#[derive(Serialize, Deserialize)]
struct V1 {
    at_ns: i128,
    by: String,
}

impl Pinned {
    pub(crate) fn encode(&self, mission: u64) -> Vec<u8> {
        let wire = V1 { at_ns: self.at.as_nanosecond(), by: self.by.clone() };
        let bytes = postcard::to_extend(&wire, seal::open(VERSION, 64)).expect("a vector takes every row");
        seal::close(bytes, &mission.to_le_bytes())
    }

    pub(crate) fn decode(mission: u64, bytes: &[u8]) -> Result<Self, SealError> {
        let (_, body) = seal::unseal(VERSION, &mission.to_le_bytes(), bytes)?;
        let V1 { at_ns, by } = postcard::from_bytes(body).map_err(|_| SealError::Form)?;
        Ok(Self { at: Timestamp::from_nanosecond(at_ns).map_err(|_| SealError::Form)?, by })
    }
}

impl Pinned {
    /// A pin that cannot be read is one all the same: nothing is removed for want of it.
    pub(crate) fn read(mission: u64, bytes: &[u8]) -> Self {
        Self::decode(mission, bytes).unwrap_or_else(|error| {
            tracing::error!(mission, %error, "a pin cannot be read; its mission is kept");
            Self { at: Timestamp::UNIX_EPOCH, by: "nobody knows: it cannot be read".to_owned() }
        })
    }
}

/// Sets pins and takes them away, in this order.
pub(crate) fn write(transaction: &WriteTransaction, pins: &[(u64, Option<&[u8]>)]) -> Result<(), redb::Error> {
    if pins.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(PINS)?;
    for (mission, row) in pins {
        match row {
            Some(row) => drop(table.insert(mission, *row)?),
            None => drop(table.remove(mission)?),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_reads_back_and_damage_is_seen() {
        let pin = Pinned { at: "2026-11-27T01:02:03.4Z".parse().unwrap(), by: "hq".to_owned() };
        let row = pin.encode(7);
        assert_eq!(Pinned::decode(7, &row), Ok(pin));
        assert_eq!(Pinned::decode(8, &row), Err(SealError::Checksum), "it is that mission's");
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Pinned::decode(7, &flipped), Err(SealError::Checksum), "bit {bit}");
        }
    }
}
