//! The record format: a version byte, then the `postcard` encoding of the time in nanoseconds since 1970, the run time, and
//! the [`Record`] as it stands.
//!
//! Version 1 has the variants up to `Finished`, version 2 those up to `Suspended`, version 3 those up to `Granted`, and
//! `HostQuestion::Describe`. A version only ever adds variants at the end: none is reordered, none gets another field. So one
//! type reads them all, and the number tells an older Sortie that it is too old. A test holds the bytes of a
//! sample of every variant (`tests/record_format.rs`).

use jiff::Timestamp;

use crate::record::{Record, Stamped};

/// The version that is written.
const VERSION: u8 = 3;

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
    let body = match bytes {
        [] => return Err(DecodeError::Empty),
        [1..=VERSION, body @ ..] => body,
        [other, ..] => return Err(DecodeError::UnknownVersion(*other)),
    };
    let ((at, ran_ms, record), rest): ((i128, u64, Record), _) =
        postcard::take_from_bytes(body).map_err(DecodeError::Damaged)?;
    if !rest.is_empty() {
        return Err(DecodeError::Trailing);
    }
    Ok(Stamped { at: Timestamp::from_nanosecond(at).map_err(DecodeError::Time)?, ran_ms, record })
}
