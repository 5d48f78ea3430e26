//! What people did to the node and to what is on it: a list that is only added to, of which the newest are kept.
//!
//! What an entry says is its writer's business; here it is a text under a number. A mission's own records say what became of it: this is no
//! second truth, and nothing is decided by it.

use redb::{ReadableTable as _, WriteTransaction};

use crate::seal::{self, SealError};
use crate::table::ACTIONS;

/// So many actions are kept: weeks of many people's work, at some hundred bytes each.
pub const ACTIONS_MAX: u64 = 10_000;

const VERSION: u8 = 1;

/// The row of an entry under that number.
pub(crate) fn sealed(no: u64, text: &str) -> Vec<u8> {
    let mut bytes = seal::open(VERSION, text.len());
    bytes.extend_from_slice(text.as_bytes());
    seal::close(bytes, &no.to_le_bytes())
}

/// The entry that was written under that number.
pub(crate) fn unsealed(no: u64, bytes: &[u8]) -> Result<String, SealError> {
    let (_, body) = seal::unseal(VERSION, &no.to_le_bytes(), bytes)?;
    String::from_utf8(body.to_vec()).map_err(|_| SealError::Form)
}

/// Adds entries behind those that there are, in their order, and lets go of the oldest that are too many.
pub(crate) fn write(transaction: &WriteTransaction, entries: &[&str]) -> Result<(), redb::Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(ACTIONS)?;
    let mut no = table.last()?.map_or(0, |(key, _)| key.value());
    for text in entries {
        no += 1;
        table.insert(no, sealed(no, text).as_slice())?;
    }
    table.retain_in(..=no.saturating_sub(ACTIONS_MAX), |_, _| false)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back_under_its_own_number_and_damage_is_seen() {
        let row = sealed(7, "{\"by\":\"ada\"}");
        assert_eq!(unsealed(7, &row), Ok("{\"by\":\"ada\"}".to_owned()));
        assert_eq!(unsealed(8, &row), Err(SealError::Checksum));
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unsealed(7, &flipped), Err(SealError::Checksum), "bit {bit}");
        }
    }
}
