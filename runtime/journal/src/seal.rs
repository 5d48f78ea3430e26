//! What every value of the journal is wrapped in: a version byte and a checksum over its key and its bytes.
//!
//! redb keeps checksums of its pages, but looks at them only when it repairs or checks a whole file. A value that went
//! bad on the disk since, or that lies under a key it was not written for, is found here, when it is read.

/// Length of the wrapping: one byte for the version, four for the checksum.
pub(crate) const SEAL_BYTES: usize = 5;

/// Why a value is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Shorter than the wrapping.
    #[error("it is cut short")]
    Short,
    /// Written by a newer Sortie.
    #[error(
        "it has version {found}, and this sortie knows {known} at most; use the sortie that wrote it, or a newer one"
    )]
    UnknownVersion {
        /// What it says.
        found: u8,
        /// The newest that is known here.
        known: u8,
    },
    /// The bytes, or the key they lie under, have changed since they were written.
    #[error("its checksum does not match: the disk did not keep what was written")]
    Checksum,
    /// The checksum holds, the form does not: written by something that is not this journal.
    #[error("it does not have the form of its version")]
    Form,
}

/// Begins a value: the body is appended to what this returns, then [`close`] is called.
pub(crate) fn open(version: u8, capacity: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SEAL_BYTES + capacity);
    bytes.push(version);
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

/// Ends a value that was begun with [`open`]: fills the checksum in.
pub(crate) fn close(mut bytes: Vec<u8>, key: &[u8]) -> Vec<u8> {
    let sum = checksum(bytes[0], key, &bytes[SEAL_BYTES..]);
    bytes[1..SEAL_BYTES].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Version and body of a value, once its checksum was seen to hold. `newest` is the newest version that the caller reads;
/// it reads all before that, too.
pub(crate) fn unseal<'a>(newest: u8, key: &[u8], bytes: &'a [u8]) -> Result<(u8, &'a [u8]), SealError> {
    let [found, a, b, c, d, body @ ..] = bytes else { return Err(SealError::Short) };
    // The checksum comes first: a flipped bit in the version byte is damage, not a newer Sortie.
    if checksum(*found, key, body) != u32::from_le_bytes([*a, *b, *c, *d]) {
        return Err(SealError::Checksum);
    }
    if !(1..=newest).contains(found) {
        return Err(SealError::UnknownVersion { found: *found, known: newest });
    }
    Ok((*found, body))
}

fn checksum(version: u8, key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[version]);
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_back_under_its_key_and_to_whoever_knows_its_version() {
        let mut bytes = open(2, 4);
        bytes.extend_from_slice(b"body");
        let bytes = close(bytes, b"key");
        assert_eq!(unseal(2, b"key", &bytes), Ok((2, b"body".as_slice())));
        assert_eq!(unseal(3, b"key", &bytes), Ok((2, b"body".as_slice())));
        assert_eq!(unseal(2, b"yek", &bytes), Err(SealError::Checksum));
        assert_eq!(unseal(1, b"key", &bytes), Err(SealError::UnknownVersion { found: 2, known: 1 }));
        assert_eq!(unseal(2, b"key", &bytes[..4]), Err(SealError::Short));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(2, b"key", &flipped), Err(SealError::Checksum), "bit {bit}");
        }
    }
}
