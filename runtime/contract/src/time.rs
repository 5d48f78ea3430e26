//! Times as texts: RFC 3339 and no more.
//!
//! The reader of the calendar behind this takes other forms of ISO 8601, offsets of more than a day, and moves a leap second:
//! another reader of the same envelope would see another instant, or none. What is taken here every reader of RFC 3339 takes,
//! and at the same instant.

use jiff::Timestamp;

/// Why a text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// A time, but of which place?
    #[error("has no offset from UTC; write a time such as 2026-11-22T08:00:00Z or 2026-11-22T09:00:00+01:00")]
    Local,
    /// A second of 60: no clock here counts it, and moving it would make another time of it.
    #[error(
        "has a second of 60: leap seconds are not taken, for no window can begin or end in one; write second 59, or the next minute"
    )]
    Leap,
    /// No time.
    #[error("must be a time of RFC 3339 with an offset (to 23:59), such as 2026-11-22T08:00:00Z")]
    Form,
}

/// Digits of a second's fraction that are kept: nanoseconds.
const FRACTION_DIGITS: usize = 9;

/// The shape of a time up to its seconds.
const DATE_AND_TIME: &[u8] = b"0000-00-00T00:00:00";

/// Reads a time of RFC 3339. Digits beyond the nanosecond are dropped; a time that is later than can be reckoned with (in the
/// last days of the year 9999) is the latest that can.
///
/// # Errors
/// [`TimeError`] with what is wrong with it.
pub fn rfc3339(text: &str) -> Result<Timestamp, TimeError> {
    let parts = Parts::of(text)?;
    if parts.local.ends_with(":60") {
        return Err(TimeError::Leap);
    }
    if !parts.is_offset_within_a_day() {
        return Err(TimeError::Form);
    }
    parts.read()
}

/// Reads a time as the first versions did, which took offsets of up to 25:59 and moved a leap second: what they have accepted
/// stays what it was to them.
///
/// # Errors
/// As [`rfc3339`].
pub(crate) fn accepted(text: &str) -> Result<Timestamp, TimeError> {
    Parts::of(text)?.read()
}

/// A text of the right shape, in which every number may still be wrong.
struct Parts<'t> {
    local: &'t str,
    fraction: &'t str,
    offset: &'t str,
}

impl<'t> Parts<'t> {
    fn of(text: &'t str) -> Result<Self, TimeError> {
        let bytes = text.as_bytes();
        let shaped = bytes.len() >= DATE_AND_TIME.len()
            && bytes.iter().zip(DATE_AND_TIME).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                b'T' => matches!(byte, b'T' | b't'),
                _ => byte == form,
            });
        if !shaped {
            // `2026-11-22 08:00:00` and `2026-11-22` lack more than their offset.
            return Err(TimeError::Form);
        }
        let (local, rest) = text.split_at(DATE_AND_TIME.len());
        let (fraction, offset) = match rest.strip_prefix('.') {
            None => ("", rest),
            Some(rest) => {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                if digits == 0 {
                    return Err(TimeError::Form);
                }
                rest.split_at(digits)
            }
        };
        match offset.as_bytes() {
            [] => Err(TimeError::Local),
            [b'Z' | b'z'] | [b'+' | b'-', b'0'..=b'9', b'0'..=b'9', b':', b'0'..=b'9', b'0'..=b'9'] => {
                Ok(Self { local, fraction, offset })
            }
            _ => Err(TimeError::Form),
        }
    }

    fn is_offset_within_a_day(&self) -> bool {
        match self.offset.get(1..).and_then(|offset| offset.split_once(':')) {
            Some((hours, minutes)) => hours <= "23" && minutes <= "59",
            None => true,
        }
    }

    /// The instant. jiff refuses further digits of a fraction, and ends a day early.
    fn read(&self) -> Result<Timestamp, TimeError> {
        let Self { local, fraction, offset } = self;
        let kept = &fraction[..fraction.len().min(FRACTION_DIGITS)];
        let dot = if kept.is_empty() { "" } else { "." };
        let parsed = format!("{local}{dot}{kept}{offset}").parse();
        parsed.or_else(|_| if self.is_beyond_reckoning() { Ok(Timestamp::MAX) } else { Err(TimeError::Form) })
    }

    /// Whether this is a time that only is too late for [`Timestamp::MAX`], which leaves room for every offset.
    fn is_beyond_reckoning(&self) -> bool {
        self.is_offset_within_a_day()
            && self.local.parse::<jiff::civil::DateTime>().is_ok_and(|local| local.year() == 9999)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_rfc_3339() {
        for (text, expected) in [
            ("2026-11-22T08:00:00Z", Ok("2026-11-22T08:00:00Z")),
            ("2026-11-22t08:00:00z", Ok("2026-11-22T08:00:00Z")),
            ("2026-11-22T08:00:00.123456+00:00", Ok("2026-11-22T08:00:00.123456Z")),
            ("2026-11-22T08:00:00-00:00", Ok("2026-11-22T08:00:00Z")),
            ("2026-11-22T09:30:00+01:30", Ok("2026-11-22T08:00:00Z")),
            ("2027-01-01T00:00:00+23:59", Ok("2026-12-31T00:01:00Z")),
            ("2027-01-01T00:00:00-23:59", Ok("2027-01-01T23:59:00Z")),
            ("2026-11-22T08:00:00.123456789987654321Z", Ok("2026-11-22T08:00:00.123456789Z")),
            ("2026-11-22T08:00:00.1234567890123+00:00", Ok("2026-11-22T08:00:00.123456789Z")),
            ("9999-12-30T21:59:59Z", Ok("9999-12-30T21:59:59Z")),
            ("9999-12-31T23:59:59Z", Ok("9999-12-30T22:00:00.999999999Z")),
            ("9999-12-31T23:59:59.999999999999-23:59", Ok("9999-12-30T22:00:00.999999999Z")),
            ("9999-12-31t23:59:59z", Ok("9999-12-30T22:00:00.999999999Z")),
            ("9999-12-31T00:00:00+23:00", Ok("9999-12-30T01:00:00Z")),
            ("0000-01-01T00:00:00Z", Ok("0000-01-01T00:00:00Z")),
            ("9999-12-32T23:59:59Z", Err(TimeError::Form)),
            ("9999-12-31T23:59:59-99:00", Err(TimeError::Form)),
            ("2026-11-22T08:00:00-99:00", Err(TimeError::Form)),
            ("2027-01-01T00:00:00+24:00", Err(TimeError::Form)),
            ("2027-01-01T00:00:00-24:00", Err(TimeError::Form)),
            ("2027-01-01T00:00:00+25:59", Err(TimeError::Form)),
            ("2027-01-01T00:00:00+26:00", Err(TimeError::Form)),
            ("2027-01-01T00:00:00+12:60", Err(TimeError::Form)),
            ("2026-12-31T23:59:60Z", Err(TimeError::Leap)),
            ("2027-06-15T12:30:60Z", Err(TimeError::Leap)),
            ("2027-06-30t23:59:60z", Err(TimeError::Leap)),
            ("2026-12-31T23:59:60.5+01:00", Err(TimeError::Leap)),
            ("2026-12-31T23:59:61Z", Err(TimeError::Form)),
            ("2026-12-31T23:60:00Z", Err(TimeError::Form)),
            ("2026-11-22T08:00:00", Err(TimeError::Local)),
            ("2026-11-22T08:00:00.5", Err(TimeError::Local)),
            ("2026-11-22", Err(TimeError::Form)),
            ("2026-11-22 08:00:00Z", Err(TimeError::Form)),
            ("2026-11-22T08:00Z", Err(TimeError::Form)),
            ("2026-11-22T08:00:00+01", Err(TimeError::Form)),
            ("2026-11-22T08:00:00,5Z", Err(TimeError::Form)),
            ("2026-11-22T08:00:00[Europe/Berlin]", Err(TimeError::Form)),
            ("2026-02-30T08:00:00Z", Err(TimeError::Form)),
            ("2026-11-22T25:00:00Z", Err(TimeError::Form)),
            ("2026-11-22T24:00:00Z", Err(TimeError::Form)),
            ("2026-11-22T08:00:00.Z", Err(TimeError::Form)),
            ("2027-W01-1T00:00:00Z", Err(TimeError::Form)),
            ("2027-001T00:00:00Z", Err(TimeError::Form)),
            ("20261122T080000Z", Err(TimeError::Form)),
            ("tomorrow", Err(TimeError::Form)),
            ("", Err(TimeError::Form)),
            ("ä026-11-22T08:00:00Z", Err(TimeError::Form)),
        ] {
            assert_eq!(rfc3339(text), expected.map(|time| time.parse().expect("a time")), "{text:?}");
        }
    }

    #[test]
    fn what_was_accepted_by_an_earlier_version_stays_what_it_was() {
        for (text, expected) in [
            ("2026-12-31T23:59:60Z", "2026-12-31T23:59:59Z"),
            ("2027-01-01T00:00:00+24:00", "2026-12-31T00:00:00Z"),
            ("2027-01-01T00:00:00+25:59", "2026-12-30T22:01:00Z"),
        ] {
            assert_eq!(accepted(text), Ok(expected.parse().expect("a time")), "{text}");
        }
    }
}
