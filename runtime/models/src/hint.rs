//! When a provider wants to be asked again, as its headers say. Pure: the time is an argument.

use std::time::Duration;

use jiff::Timestamp;
use sortie_egress::header::HeaderMap;

/// The longest wait that is believed: a month's quota resets within it. A provider that says more is taken to say this.
const HINT_MAX: Duration = Duration::from_secs(32 * 24 * 60 * 60);

/// What stands behind `anthropic-ratelimit-`.
const ANTHROPIC: [&str; 4] = ["requests", "tokens", "input-tokens", "output-tokens"];

/// What stands behind `x-ratelimit-reset-`.
const OPENAI: [&str; 2] = ["requests", "tokens"];

/// How long to wait, if the headers say. `Retry-After` is meant for this answer; else the limits count of which nothing is left, and of
/// several the last to be there again. `None` for anything else: nonsense is as good as nothing.
pub(crate) fn wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked =
        text("retry-after-ms").and_then(milliseconds).or_else(|| text("retry-after").and_then(|it| after(it, now)));
    let asked = asked.or_else(|| {
        let is_spent = |name: String| text(&name).is_none_or(|left| left == "0");
        let anthropic = ANTHROPIC.iter().filter(|limit| is_spent(format!("anthropic-ratelimit-{limit}-remaining")));
        let anthropic = anthropic.filter_map(|limit| text(&format!("anthropic-ratelimit-{limit}-reset")));
        let openai = OPENAI.iter().filter(|limit| is_spent(format!("x-ratelimit-remaining-{limit}")));
        let openai = openai.filter_map(|limit| text(&format!("x-ratelimit-reset-{limit}")));
        anthropic.filter_map(|time| until(time, now)).chain(openai.filter_map(span)).max()
    });
    asked.map(|wait| wait.min(HINT_MAX))
}

/// `retry-after-ms`: a number, maybe with a fraction.
fn milliseconds(text: &str) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(number / 1e3).ok()
}

/// `retry-after`: seconds, maybe with a fraction, or an HTTP date.
fn after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return match Duration::try_from_secs_f64(seconds) {
            Ok(wait) => Some(wait),
            // More than can be counted is "very long".
            Err(_) => (seconds > 0.0).then_some(HINT_MAX),
        };
    }
    let date = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// A time of RFC 3339.
fn until(text: &str, now: Timestamp) -> Option<Duration> {
    let time: Timestamp = text.parse().ok()?;
    Some(Duration::try_from(time.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// `6m0s`, `20ms`, `1.5s`: numbers with units, as Go writes them.
fn span(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = rest[number..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| number + end);
        let seconds = match &rest[number..unit] {
            "d" => 86_400.0,
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let amount: f64 = rest[..number].parse().ok()?;
        sum = sum.saturating_add(Duration::try_from_secs_f64(amount * seconds).unwrap_or(HINT_MAX));
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use sortie_egress::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn headers_say_when_to_come_again() {
        let day = 86_400_000;
        for (headers, expected) in [
            ("", None),
            ("retry-after: 7", Some(7_000)),
            ("retry-after: 0", Some(0)),
            ("retry-after: 1.5", Some(1_500)),
            ("retry-after: -1", None),
            ("retry-after: soon", None),
            ("retry-after: nan", None),
            ("retry-after: 99999999999999999999999999", Some(32 * day)),
            ("retry-after: 1e999", Some(32 * day)),
            ("retry-after: Sun, 22 Nov 2026 08:01:30 GMT", Some(90_000)),
            ("retry-after: Sun, 22 Nov 2026 07:00:00 GMT", Some(0)),
            ("retry-after-ms: 250\nretry-after: 7", Some(250)),
            ("retry-after-ms: x\nretry-after: 7", Some(7_000)),
            ("x-ratelimit-reset-requests: 1s\nx-ratelimit-reset-tokens: 6m0s", Some(360_000)),
            ("x-ratelimit-reset-requests: 20ms", Some(20)),
            ("x-ratelimit-reset-requests: 1h2m3.5s", Some(3_723_500)),
            ("x-ratelimit-reset-requests: 1d", Some(day)),
            ("x-ratelimit-reset-requests: 1fortnight", None),
            ("x-ratelimit-reset-requests: s", None),
            ("x-ratelimit-reset-requests: 7", None),
            (
                "x-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 2s\n\
                 x-ratelimit-remaining-tokens: 99\nx-ratelimit-reset-tokens: 6m0s",
                Some(2_000),
            ),
            (
                "anthropic-ratelimit-requests-remaining: 5\nanthropic-ratelimit-requests-reset: 2026-11-22T09:00:00Z\n\
                 anthropic-ratelimit-input-tokens-remaining: 0\nanthropic-ratelimit-input-tokens-reset: 2026-11-22T08:00:20Z",
                Some(20_000),
            ),
            ("anthropic-ratelimit-tokens-reset: 2026-11-22T07:00:00Z", Some(0)),
            ("anthropic-ratelimit-tokens-reset: tomorrow", None),
            ("retry-after: 3\nanthropic-ratelimit-tokens-reset: 2026-11-22T09:00:00Z", Some(3_000)),
        ] {
            let map: HeaderMap = headers
                .lines()
                .filter_map(|line| line.trim().split_once(": "))
                .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
                .collect();
            let now = "2026-11-22T08:00:00Z".parse().unwrap();
            assert_eq!(wait(&map, now), expected.map(Duration::from_millis), "{headers:?}");
        }
    }
}
