//! `date`: a moment, written in another way.
//!
//! There is no clock here and no database of time zones: a moment comes from the envelope or from a tool, and where it is told is
//! the offset that it was written with, or the one that is asked for.

use jiff::SignedDuration;
use jiff::civil::{DateTime, date as day};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::tz::{Offset, TimeZone};
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, State, Value};

use super::wrong;
use crate::duration;
use crate::template::paid::pay;

/// RFC 3339, as everything in Sortie writes it.
const RFC_3339: &str = "%Y-%m-%dT%H:%M:%S%.f%:z";

/// A moment as it is told: what clocks show, and how far they are from UTC. Not a count since 1970, whose last one comes a day
/// before the last that RFC 3339 can write (`9999-12-31T23:59:59Z`, with which many services say "never").
struct Moment {
    local: DateTime,
    offset: Offset,
}

/// `time | date(format, offset=, add=)`: an RFC 3339 text, or seconds since 1970, by strftime.
#[expect(clippy::needless_pass_by_value, reason = "a filter gets its arguments by value")]
pub(super) fn date(state: &State<'_, '_>, value: &Value, format: Option<&str>, named: Kwargs) -> Result<String, Error> {
    let format = if format.is_some() { format } else { named.get("format")? }.unwrap_or(RFC_3339);
    let (offset, add): (Option<&str>, Option<&str>) = (named.get("offset")?, named.get("add")?);
    named.assert_all_used()?;
    let mut moment = read(value)?;
    if let Some(add) = add {
        moment = moment.after(how_long(add)?)?;
    }
    if let Some(offset) = offset {
        moment = moment.told_in(read_offset(offset)?)?;
    }
    pay(state, 4_096)?;
    let written = moment.parts().to_string(format);
    let written = written.map_err(|error| wrong(format!("date: {format:?} is no format: {error}")))?;
    // The offset of UTC is written as the contract writes it.
    let is_utc = format == RFC_3339 && moment.offset == Offset::UTC;
    Ok(if is_utc { written.replace("+00:00", "Z") } else { written })
}

impl Moment {
    /// So much later.
    fn after(self, duration: SignedDuration) -> Result<Self, Error> {
        let local = self.local.checked_add(duration).map_err(|error| wrong(format!("date: {error}")))?;
        Ok(Self { local, ..self })
    }

    /// The same moment, told in another offset.
    fn told_in(self, offset: Offset) -> Result<Self, Error> {
        let between = i64::from(offset.seconds()) - i64::from(self.offset.seconds());
        Ok(Self { offset, ..self.after(SignedDuration::from_secs(between))? })
    }

    fn parts(&self) -> BrokenDownTime {
        if let Ok(zoned) = TimeZone::fixed(self.offset).to_zoned(self.local) {
            return BrokenDownTime::from(&zoned);
        }
        // The hours at either end of time, of which there is no count since 1970.
        let mut parts = BrokenDownTime::from(self.local);
        parts.set_offset(Some(self.offset));
        parts
    }
}

/// The moment that a value tells.
fn read(value: &Value) -> Result<Moment, Error> {
    if value.kind() == ValueKind::Number {
        let since_1970 =
            f64::try_from(value.clone()).ok().and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok());
        let local = since_1970.and_then(|since| day(1970, 1, 1).at(0, 0, 0, 0).checked_add(since).ok());
        let local = local.ok_or_else(|| wrong(format!("date: {value} seconds since 1970 are no moment")))?;
        return Ok(Moment { local, offset: Offset::UTC });
    }
    let text = value.as_str().ok_or_else(|| wrong("date takes an RFC 3339 text, or seconds since 1970"))?;
    let unread = || {
        wrong(format!("date: {text:?} is no RFC 3339 time such as 2026-11-26T18:30:00Z or 2026-11-26T12:30:00-06:00"))
    };
    let pieces = Pieces::parse(text).map_err(|_| unread())?;
    let local = DateTime::from_parts(pieces.date(), pieces.time().ok_or_else(unread)?);
    let offset = match pieces.offset() {
        Some(PiecesOffset::Numeric(offset)) => offset.offset(),
        Some(PiecesOffset::Zulu) => Offset::UTC,
        // Without an offset it is no moment.
        _ => return Err(unread()),
    };
    Ok(Moment { local, offset })
}

/// How much later, or with a `-` earlier.
fn how_long(by: &str) -> Result<SignedDuration, Error> {
    let (back, size) = by.strip_prefix('-').map_or((false, by), |size| (true, size));
    let size = duration::parse(size).and_then(|size| SignedDuration::try_from(size).ok());
    let size =
        size.ok_or_else(|| wrong(format!("date: add is {by:?}; {}, with a - to go back", duration::EXPECTED)))?;
    Ok(if back { -size } else { size })
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
