//! How long missions had been running when the node last looked: one row, which is written anew every few seconds while any of them
//! runs, so that a node that is killed forgets no more of it than that.
//!
//! It is no second truth: the next record of a mission has its run time, and whoever reads takes the greater of the two.

use redb::WriteTransaction;
use sortie_contract::MissionNo;

use crate::seal::{self, SealError};
use crate::table::CLOCKS;

/// The one row of its table.
pub(crate) const KEY: u64 = 0;

const VERSION: u8 = 1;

/// Room for a mission's two numbers.
const BYTES_EACH: usize = 8;

/// The row that holds these: missions, and how long each has been running, in milliseconds.
pub(crate) fn encode(clocks: &[(MissionNo, u64)]) -> Vec<u8> {
    let wire: Vec<(u64, u64)> = clocks.iter().map(|(no, ran_ms)| (no.0, *ran_ms)).collect();
    let bytes = postcard::to_extend(&wire, seal::open(VERSION, wire.len() * BYTES_EACH));
    seal::close(bytes.expect("a vector takes every row"), &KEY.to_le_bytes())
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<(MissionNo, u64)>, SealError> {
    let (_, body) = seal::unseal(VERSION, &KEY.to_le_bytes(), bytes)?;
    let wire: Vec<(u64, u64)> = postcard::from_bytes(body).map_err(|_| SealError::Form)?;
    Ok(wire.into_iter().map(|(no, ran_ms)| (MissionNo(no), ran_ms)).collect())
}

/// Puts a row in the place of the one before.
pub(crate) fn write(transaction: &WriteTransaction, row: Option<&[u8]>) -> Result<(), redb::Error> {
    if let Some(row) = row {
        transaction.open_table(CLOCKS)?.insert(KEY, row)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_read_back_and_damage_is_seen() {
        for clocks in [vec![], vec![(MissionNo(7), 0), (MissionNo(u64::MAX), u64::MAX)]] {
            let row = encode(&clocks);
            assert_eq!(decode(&row), Ok(clocks));
            for bit in 0..row.len() * 8 {
                let mut flipped = row.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&flipped), Err(SealError::Checksum), "bit {bit}");
            }
        }
    }
}
