//! The record format: a version byte, then the `postcard` encoding of the time in nanoseconds since 1970, the run time, and
//! the record as its version has it.
//!
//! Version 10 is [`Record`] as it stands; so is version 9 but for its last two variants, version 8 but for two more, version 7 but for two more and the last decision, version 6
//! but for three variants and four questions more, and version 5 but for two variants more. The versions before it are read as [`v4`] and [`v3`] have them, and taken for what they meant.
//! Whoever gives a record another field begins a version: what was current until then moves to a module of its own. A variant
//! more at the end needs only a number, which tells an older Sortie that it is too old. A test holds the bytes of a sample of
//! every variant (`tests/record_format.rs`).

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::record::{Record, Stamped, v3, v4};

/// The version that is written.
const VERSION: u8 = 10;

/// Bytes that are no record.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Nothing there.
    #[error("an empty record")]
    Empty,
    /// Written by a newer Sortie.
    #[error(
        "a record of version {0}, which this version of sortie does not know; use the version that wrote it, or a newer one"
    )]
    UnknownVersion(u8),
    /// Not in the form of its version.
    #[error("a damaged record")]
    Damaged(#[source] postcard::Error),
    /// More bytes than the record has.
    #[error("a damaged record: bytes behind its end")]
    Trailing,
    /// A time that no clock shows.
    #[error("a damaged record: a time out of range")]
    Time(#[source] jiff::Error),
}

pub(super) fn encode(stamped: &Stamped) -> Vec<u8> {
    // A time as text would be a third of a short record.
    let Stamped { at, ran_ms, record } = stamped;
    postcard::to_extend(&(at.as_nanosecond(), ran_ms, record), vec![VERSION]).expect("a vector takes every record")
}

pub(super) fn decode(bytes: &[u8]) -> Result<Stamped, DecodeError> {
    match bytes {
        [] => Err(DecodeError::Empty),
        [1..=3, body @ ..] => read::<v3::Record>(body),
        [4, body @ ..] => read::<v4::Record>(body),
        [5..=VERSION, body @ ..] => read::<Record>(body),
        [other, ..] => Err(DecodeError::UnknownVersion(*other)),
    }
}

fn read<R: DeserializeOwned + Into<Record>>(body: &[u8]) -> Result<Stamped, DecodeError> {
    let ((at, ran_ms, record), rest): ((i128, u64, R), _) =
        postcard::take_from_bytes(body).map_err(DecodeError::Damaged)?;
    if !rest.is_empty() {
        return Err(DecodeError::Trailing);
    }
    let at = Timestamp::from_nanosecond(at).map_err(DecodeError::Time)?;
    Ok(Stamped { at, ran_ms, record: record.into() })
}
