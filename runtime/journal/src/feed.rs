//! The feed: every frame of the node in the order in which it was written, so that a reader can follow the whole node.
//!
//! A frame's position is 1, 2, 3 … without gaps. The frames of a commit share a few rows (a row a frame would be a third
//! of the insertions of the write path): the key is the position of the row's first frame.

use sortie_contract::MissionNo;

use crate::fleet::ShareNo;
use crate::seal::{self, SealError};

/// A frame's place in the order of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedEntry {
    /// 1, 2, 3 … without gaps.
    pub position: u64,
    /// Whose frame it is.
    pub mission: MissionNo,
    /// The number of its first record in that mission.
    pub first: u32,
    /// How many records it holds.
    pub count: u32,
}

/// One share's part of the feed of a store that many write, as of a moment that is the same for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedPart {
    /// Whose positions these are.
    pub share: ShareNo,
    /// The share that whoever goes on with it began with: parts of one holder are read in the order of their shares, because a mission's
    /// later entries are in the greater one.
    pub holder: ShareNo,
    /// The position of its last entry; where nothing comes any more, the last that there could be.
    pub end: u64,
    /// Nothing comes any more: its holder writes into a greater one.
    pub is_over: bool,
}

const VERSION: u8 = 1;

/// Mission (u64), first (u32), count (u32), little-endian.
const ENTRY_BYTES: usize = 16;

/// Most entries of a row: two rows fit a page of 4 KiB, so that none spills into larger pages.
pub(crate) const ENTRIES_A_ROW_MAX: usize = 120;

/// A row, from its entries in order. The position of the first is the key; those within are not looked at.
pub(crate) fn encode(position: u64, entries: &[FeedEntry]) -> Vec<u8> {
    let mut bytes = seal::open(VERSION, entries.len() * ENTRY_BYTES);
    for entry in entries {
        bytes.extend_from_slice(&entry.mission.0.to_le_bytes());
        bytes.extend_from_slice(&entry.first.to_le_bytes());
        bytes.extend_from_slice(&entry.count.to_le_bytes());
    }
    seal::close(bytes, &position.to_le_bytes())
}

pub(crate) fn decode(position: u64, bytes: &[u8]) -> Result<Vec<FeedEntry>, SealError> {
    let (_, body) = seal::unseal(VERSION, &position.to_le_bytes(), bytes)?;
    let (entries, rest) = body.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        return Err(SealError::Form);
    }
    let positions = position..;
    Ok(entries.iter().zip(positions).map(|(bytes, position)| entry(position, *bytes)).collect())
}

fn entry(position: u64, bytes: [u8; ENTRY_BYTES]) -> FeedEntry {
    let [m0, m1, m2, m3, m4, m5, m6, m7, f0, f1, f2, f3, c0, c1, c2, c3] = bytes;
    FeedEntry {
        position,
        mission: MissionNo(u64::from_le_bytes([m0, m1, m2, m3, m4, m5, m6, m7])),
        first: u32::from_le_bytes([f0, f1, f2, f3]),
        count: u32::from_le_bytes([c0, c1, c2, c3]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_with_its_positions() {
        let entries: Vec<_> = (0..5_u32)
            .map(|n| FeedEntry {
                position: 40 + u64::from(n),
                mission: MissionNo(7 - u64::from(n)),
                first: n,
                count: 9,
            })
            .collect();
        assert_eq!(decode(40, &encode(40, &entries)), Ok(entries.clone()));
        assert_eq!(decode(41, &encode(40, &entries)), Err(SealError::Checksum));
    }
}
