//! Durations as people write them in steps: `500ms`, `1s`, `1.5m`, `2h`, `1d`.

use core::time::Duration;

/// The longest duration that a step may name: longer than any autonomy window, short enough that no sum overflows.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// What is said of a text that is none.
pub(crate) const EXPECTED: &str =
    "it must be a duration such as \"500ms\", \"30s\", \"5m\", \"2h\" or \"1d\", at most a year";

/// Reads a duration: digits, perhaps with a fraction, and a unit. `None` for anything else.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let milliseconds_per_unit = match unit {
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let plain =
        number.bytes().all(|b| b.is_ascii_digit() || b == b'.') && number.starts_with(|c: char| c.is_ascii_digit());
    let number: f64 = number.parse().ok().filter(|_| plain)?;
    let duration = Duration::try_from_secs_f64(number * milliseconds_per_unit / 1_000.0).ok()?;
    (duration <= LONGEST).then_some(duration)
}

/// `first * factor^(attempt - 1)`: how long to rest after the attempt of that number (the first is 1), at most a year.
pub(crate) fn backoff(first: Duration, factor: f64, attempt: u32) -> Duration {
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    Duration::try_from_secs_f64(first.as_secs_f64() * factor.powi(exponent)).unwrap_or(LONGEST).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        let cases = [
            ("1s", Some(1_000)),
            ("500ms", Some(500)),
            ("1.5m", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("1d", Some(86_400_000)),
            ("0s", Some(0)),
            ("", None),
            ("s", None),
            ("1", None),
            ("1 s", None),
            ("-1s", None),
            ("+1s", None),
            (".5s", None),
            ("1e3s", None),
            ("1S", None),
            ("400d", None),
            ("1s2", None),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(parse(text), milliseconds.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn a_backoff_grows_by_its_factor_and_stays_within_a_year() {
        let second = Duration::from_secs(1);
        assert_eq!(backoff(second, 1.0, 3), second);
        assert_eq!(backoff(second, 2.0, 1), second);
        assert_eq!(backoff(second, 2.0, 4), Duration::from_secs(8));
        assert_eq!(backoff(second, 10.0, 100), LONGEST);
    }
}
