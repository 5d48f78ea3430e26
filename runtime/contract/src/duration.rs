//! Durations as an operator writes them: `30d`, `1h 30m`, `250ms`.
//!
//! A day is 24 hours and a week seven days. Months and years are refused: they have no length of their own.

use std::fmt;
use std::time::Duration;

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::SpanParser;
use serde::Deserializer;
use serde::de::{self, Visitor};

/// Why a text is no duration. Repeats nothing of the text: it may be a secret in the wrong place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No number with a unit, or more than can be counted.
    #[error(
        "must be a duration: whole numbers with units (w, d, h, m, s, ms), such as \"30d\", \"1h 30m\" or \"250ms\"; hours and less may have a fraction"
    )]
    Form,
    /// A month, or a year.
    #[error("must be a duration of weeks (w), days (d) and less: months and years have no length of their own")]
    Calendar,
    /// Less than nothing.
    #[error("must be a duration, and not less than zero")]
    Negative,
}

/// Reads a duration.
///
/// # Errors
/// [`DurationError`] with what is wrong with it.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    let span = SpanParser::new().parse_span(text).map_err(|_| DurationError::Form)?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err(DurationError::Calendar);
    }
    let counted = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| DurationError::Form)?;
    Duration::try_from(counted).map_err(|_| DurationError::Negative)
}

/// For serde's `deserialize_with`.
///
/// # Errors
/// What the deserializer makes of a [`DurationError`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_str(Text)
}

/// As [`deserialize`], for what may be left out.
///
/// # Errors
/// As [`deserialize`].
pub fn deserialize_some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    deserialize(deserializer).map(Some)
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"30d\" or \"1h 30m\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        duration(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_writes_is_understood() {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        for (text, expected) in [
            ("30d", Duration::from_secs(30 * DAY)),
            ("2w", Duration::from_secs(14 * DAY)),
            ("1w 2d", Duration::from_secs(9 * DAY)),
            ("1 day", Duration::from_secs(DAY)),
            ("3 weeks, 1 hour", Duration::from_secs(21 * DAY + HOUR)),
            ("1d 12h", Duration::from_secs(DAY + 12 * HOUR)),
            ("2160h", Duration::from_secs(90 * DAY)),
            ("1h 30m", Duration::from_secs(HOUR + 30 * MINUTE)),
            ("1.5h", Duration::from_secs(HOUR + 30 * MINUTE)),
            ("01:30:00", Duration::from_secs(HOUR + 30 * MINUTE)),
            ("15s", Duration::from_secs(15)),
            ("250ms", Duration::from_millis(250)),
            ("0s", Duration::ZERO),
        ] {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_told_without_repeating_it() {
        use DurationError::{Calendar, Form, Negative};
        for (text, expected) in [
            ("", Form),
            ("30", Form),
            ("whsec_abc", Form),
            ("30 d h", Form),
            ("1.5d", Form),
            ("99999999999999999999d", Form),
            ("1mo", Calendar),
            ("2 years", Calendar),
            ("1y 30d", Calendar),
            ("-24h", Negative),
            ("1d ago", Negative),
        ] {
            assert_eq!(duration(text), Err(expected), "{text}");
            let told = expected.to_string();
            assert!(told.starts_with("must be a duration") && !told.contains("whsec"), "{told}");
        }
    }
}
