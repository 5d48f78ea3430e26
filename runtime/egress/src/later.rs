//! What a receiver says of when to come again.

use std::time::Duration;

use sortie_contract::Timestamp;

/// What a `Retry-After` header asks for at the time `now`: seconds, or the time until an HTTP date (nothing, if that is over). `None`
/// for anything else: a receiver that says nonsense is treated as one that says nothing.
#[must_use]
pub fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 holds is "very long", not nonsense; the caller has a maximum.
        return Some(Duration::from_secs(header.parse().unwrap_or(u64::MAX)));
    }
    let date = Timestamp::try_from(httpdate::parse_http_date(header).ok()?).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-22T08:00:00Z".parse().unwrap();
        for (header, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 22 Nov 2026 08:01:30 GMT", Some(90)),
            ("Sunday, 22-Nov-26 08:01:30 GMT", Some(90)),
            ("Sun Nov 22 08:01:30 2026", Some(90)),
            ("Sun, 22 Nov 2026 07:00:00 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(header, now), expected.map(Duration::from_secs), "{header:?}");
        }
    }
}
