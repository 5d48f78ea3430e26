//! A frame: the records of one append, as one value. It is there whole or not at all.
//!
//! Body of version 1: the number of records (u32), then each as its length (u32) and its own versioned encoding. All
//! numbers are little-endian.

use sortie_contract::record::{DecodeError, Stamped};

use crate::seal::{self, SealError};

const VERSION: u8 = 1;

/// Room for a record that is none of the large ones: saves the growing of most frames.
const RECORD_BYTES_TYPICAL: usize = 256;

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// It is not what was written.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// One of its records is of no known version.
    #[error(transparent)]
    Record(#[from] DecodeError),
}

impl FrameError {
    /// Whether a newer Sortie wrote it: nothing is wrong with it.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Seal(SealError::UnknownVersion { .. }) | Self::Record(DecodeError::UnknownVersion(_)))
    }
}

/// The key of a frame: its mission's number and the number of its first record in that mission, from 0.
pub(crate) type FrameKey = (u64, u32);

pub(crate) fn encode(key: FrameKey, records: &[Stamped]) -> Vec<u8> {
    let count = u32::try_from(records.len()).expect("an append has fewer than 2^32 records");
    let mut bytes = seal::open(VERSION, 4 + records.len() * RECORD_BYTES_TYPICAL);
    bytes.extend_from_slice(&count.to_le_bytes());
    for record in records {
        let record = record.encode();
        let len = u32::try_from(record.len()).expect("a record is far smaller than 4 GiB");
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(&record);
    }
    seal::close(bytes, &key_bytes(key))
}

/// Appends the frame's records to `records`.
pub(crate) fn decode(key: FrameKey, bytes: &[u8], records: &mut Vec<Stamped>) -> Result<(), FrameError> {
    let (_, mut rest) = seal::unseal(VERSION, &key_bytes(key), bytes)?;
    for _ in 0..take_u32(&mut rest)? {
        let len = take_u32(&mut rest)? as usize;
        let (record, tail) = rest.split_at_checked(len).ok_or(SealError::Form)?;
        records.push(Stamped::decode(record)?);
        rest = tail;
    }
    if rest.is_empty() { Ok(()) } else { Err(SealError::Form.into()) }
}

/// How many records the frame holds.
pub(crate) fn count(key: FrameKey, bytes: &[u8]) -> Result<u32, SealError> {
    let (_, mut rest) = seal::unseal(VERSION, &key_bytes(key), bytes)?;
    take_u32(&mut rest)
}

fn take_u32(rest: &mut &[u8]) -> Result<u32, SealError> {
    let (number, tail) = rest.split_first_chunk::<4>().ok_or(SealError::Form)?;
    *rest = tail;
    Ok(u32::from_le_bytes(*number))
}

fn key_bytes((mission, first): FrameKey) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&mission.to_le_bytes());
    key[8..].copy_from_slice(&first.to_le_bytes());
    key
}

#[cfg(test)]
mod tests {
    use sortie_contract::{Record, Timestamp};

    use super::*;

    fn heartbeat(ran_ms: u64) -> Stamped {
        Stamped { at: Timestamp::UNIX_EPOCH, ran_ms, record: Record::Heartbeat }
    }

    #[test]
    fn a_frame_reads_back() {
        for count in [0, 1, 3] {
            let records: Vec<_> = (0..count).map(heartbeat).collect();
            let bytes = encode((7, 3), &records);
            let mut read = Vec::new();
            decode((7, 3), &bytes, &mut read).unwrap();
            assert_eq!(read, records);
            assert!(matches!(decode((7, 4), &bytes, &mut read), Err(FrameError::Seal(SealError::Checksum))));
        }
    }

    #[test]
    fn the_bytes_of_version_1_never_change() {
        let bytes = encode((1, 2), &[heartbeat(9)]);
        let record = heartbeat(9).encode();
        assert_eq!(bytes[0], VERSION);
        assert_eq!(bytes[5..9], 1_u32.to_le_bytes());
        assert_eq!(bytes[9..13], u32::try_from(record.len()).unwrap().to_le_bytes());
        assert_eq!(bytes[13..], record);
    }
}
