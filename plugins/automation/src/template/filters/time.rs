//! `date`: a moment, written in another way.
//!
//! There is no clock here and no database of time zones: a moment comes from the envelope or from a tool, and where it is told is
//! the offset that it was written with, or the one that is asked for.

use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, State, Value};

use super::{pay, wrong};
use crate::duration;

/// RFC 3339, as everything in Sortie writes it.
const RFC_3339: &str = "%Y-%m-%dT%H:%M:%S%.f%:z";

/// `time | date(format, offset=, add=)`: an RFC 3339 text, or seconds since 1970, by strftime.
#[expect(clippy::needless_pass_by_value, reason = "a filter gets its arguments by value")]
pub(super) fn date(state: &State<'_, '_>, value: &Value, format: Option<&str>, named: Kwargs) -> Result<String, Error> {
    let format = if format.is_some() { format } else { named.get("format")? }.unwrap_or(RFC_3339);
    let (offset, add): (Option<&str>, Option<&str>) = (named.get("offset")?, named.get("add")?);
    named.assert_all_used()?;
    let (mut moment, mut at) = read(value)?;
    if let Some(add) = add {
        moment = moved(moment, add)?;
    }
    if let Some(offset) = offset {
        at = read_offset(offset)?;
    }
    pay(state, 4_096)?;
    let local = moment.to_zoned(TimeZone::fixed(at));
    let written = BrokenDownTime::from(&local).to_string(format);
    // The offset of UTC is written as the contract writes it.
    let written = written.map_err(|error| wrong(format!("date: {format:?} is no format: {error}")))?;
    Ok(if format == RFC_3339 && at == Offset::UTC { written.replace("+00:00", "Z") } else { written })
}

/// The moment, and the offset that it was told in.
fn read(value: &Value) -> Result<(Timestamp, Offset), Error> {
    if value.kind() == ValueKind::Number {
        let seconds =
            f64::try_from(value.clone()).ok().and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok());
        let moment = seconds.and_then(|since| Timestamp::from_duration(since).ok());
        let moment = moment.ok_or_else(|| wrong(format!("date: {value} seconds since 1970 are no moment")))?;
        return Ok((moment, Offset::UTC));
    }
    let text = value.as_str().ok_or_else(|| wrong("date takes an RFC 3339 text, or seconds since 1970"))?;
    let unread = || {
        wrong(format!("date: {text:?} is no RFC 3339 time such as 2026-11-26T18:30:00Z or 2026-11-26T12:30:00-06:00"))
    };
    let pieces = Pieces::parse(text).map_err(|_| unread())?;
    let local = DateTime::from_parts(pieces.date(), pieces.time().ok_or_else(unread)?);
    let at = match pieces.offset() {
        Some(PiecesOffset::Numeric(offset)) => offset.offset(),
        Some(PiecesOffset::Zulu) => Offset::UTC,
        // Without an offset it is no moment.
        _ => return Err(unread()),
    };
    let moment = at.to_timestamp(local).map_err(|_| unread())?;
    Ok((moment, at))
}

/// The moment, that much later, or with a `-` earlier.
fn moved(moment: Timestamp, by: &str) -> Result<Timestamp, Error> {
    let (back, size) = by.strip_prefix('-').map_or((false, by), |size| (true, size));
    let size = duration::parse(size).and_then(|size| SignedDuration::try_from(size).ok());
    let size =
        size.ok_or_else(|| wrong(format!("date: add is {by:?}; {}, with a - to go back", duration::EXPECTED)))?;
    let by = if back { -size } else { size };
    moment.checked_add(by).map_err(|error| wrong(format!("date: {error}")))
}

/// `Z`, `+02:00`, `-06:00`.
fn read_offset(text: &str) -> Result<Offset, Error> {
    let as_written = format!("1970-01-01T00:00:00{text}");
    let offset = Pieces::parse(&as_written).ok().and_then(|pieces| match pieces.offset()? {
        PiecesOffset::Numeric(offset) => Some(offset.offset()),
        PiecesOffset::Zulu => Some(Offset::UTC),
        _ => None,
    });
    offset.ok_or_else(|| {
        wrong(format!("date: {text:?} is no offset such as \"+02:00\" or \"Z\"; names of zones are not known here"))
    })
}
