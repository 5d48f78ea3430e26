//! W3C Trace Context: what a mission's trace id becomes as a `traceparent` header. Pure: the span id is an argument.

use std::fmt;

/// The `traceparent` of a request that belongs to `trace_id` and is the span `span_id`; `None` where the trace id has no such form.
///
/// 32 hex digits (not all zero) are a trace of their own and become a sampled one. A full `traceparent` keeps its trace and its
/// flags and gets the new span.
///
/// # Panics
/// With a `span_id` of zero in debug builds: that is no span.
#[must_use]
pub fn traceparent(trace_id: &str, span_id: u64) -> Option<String> {
    debug_assert_ne!(span_id, 0, "zero is no span id");
    let (trace, flags) = if trace_id.len() == 32 { (trace_id, "01") } else { split(trace_id)? };
    let valid = is_hex(trace, 32) && trace.bytes().any(|byte| byte != b'0');
    valid.then(|| Joined { trace, span_id, flags }.to_string())
}

/// The trace and the flags of a `traceparent`.
fn split(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Later versions may append fields; the one that we write may not.
    let ends = parts.next().is_none() || version != "00";
    let valid =
        is_hex(version, 2) && !version.eq_ignore_ascii_case("ff") && is_hex(parent, 16) && is_hex(flags, 2) && ends;
    valid.then_some((trace, flags))
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

struct Joined<'a> {
    trace: &'a str,
    span_id: u64,
    flags: &'a str,
}

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The standard wants lower case, and receivers compare bytes.
        let (trace, flags) = (self.trace.to_ascii_lowercase(), self.flags.to_ascii_lowercase());
        write!(f, "00-{trace}-{:016x}-{flags}", self.span_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_becomes_a_traceparent_where_it_has_that_form() {
        const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        let sampled = Some(format!("00-{TRACE}-00000000000000ff-01"));
        let unsampled = Some(format!("00-{TRACE}-00000000000000ff-00"));
        for (trace_id, expected) in [
            (TRACE.to_owned(), &sampled),
            (TRACE.to_uppercase(), &sampled),
            (format!("00-{TRACE}-00f067aa0ba902b7-01"), &sampled),
            (format!("00-{TRACE}-00f067aa0ba902b7-00"), &unsampled),
            (format!("01-{TRACE}-00f067aa0ba902b7-00-later"), &unsampled),
            (format!("00-{TRACE}-00f067aa0ba902b7-00-later"), &None),
            (format!("ff-{TRACE}-00f067aa0ba902b7-00"), &None),
            (format!("00-{TRACE}-00f067aa0ba902b7"), &None),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), &None),
            ("0".repeat(32), &None),
            ("g".repeat(32), &None),
            ("ä".repeat(16), &None),
            ("nightly-wiki".to_owned(), &None),
            (String::new(), &None),
        ] {
            assert_eq!(&traceparent(&trace_id, 0xff), expected, "{trace_id}");
        }
    }
}
