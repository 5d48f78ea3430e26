//! W3C Trace Context: what a mission's trace id becomes as a `traceparent` header, and which spans there are. Pure: the ids of spans are made
//! of names that never change, so that a node that was killed goes on in the same tree.

use std::fmt;

use crate::digest::Digest;

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
    let (trace, flags) = parts(trace_id)?;
    Some(Joined { trace, span_id, flags }.to_string())
}

/// The trace that `trace_id` names, in lower case, where it has that form.
#[must_use]
pub fn trace_of(trace_id: &str) -> Option<String> {
    let (trace, _) = parts(trace_id)?;
    Some(trace.to_ascii_lowercase())
}

/// Whether `trace_id` names a trace that is kept: 32 hex digits always do, a `traceparent` where its flags say so. What has no such form names
/// none, so nobody before this node has decided against it: ask [`trace_of`] first.
#[must_use]
pub fn is_sampled(trace_id: &str) -> bool {
    parts(trace_id).is_some_and(|(_, flags)| u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1))
}

/// The span that `trace_id` names as its parent: that of a full `traceparent`.
#[must_use]
pub fn parent_of(trace_id: &str) -> Option<u64> {
    split(trace_id)?;
    let parent = u64::from_str_radix(trace_id.split('-').nth(2)?, 16).ok()?;
    (parent != 0).then_some(parent)
}

/// The span of a mission: the same, whoever asks, and after whatever crash. It is the parent of what its callbacks lead to.
#[must_use]
pub fn mission_span(mission_id: &str) -> u64 {
    span(&format!("{mission_id}/mission"))
}

/// The span of a run of a mission.
#[must_use]
pub fn run_span(mission_id: &str, run: u32) -> u64 {
    span(&format!("{mission_id}/run/{run}"))
}

/// The span of a call: each attempt at it is the same. It is the parent of what a tool or a model does for it.
#[must_use]
pub fn call_span(idempotency_key: &str) -> u64 {
    span(idempotency_key)
}

/// The span in which people are waited for.
#[must_use]
pub fn request_span(mission_id: &str, request: u32) -> u64 {
    span(&format!("{mission_id}/request/{request}"))
}

fn span(name: &str) -> u64 {
    Digest::of(name.as_bytes()).prefix().max(1)
}

/// The trace and the flags that `trace_id` stands for.
fn parts(trace_id: &str) -> Option<(&str, &str)> {
    let (trace, flags) = if trace_id.len() == 32 { (trace_id, "01") } else { split(trace_id)? };
    (is_hex(trace, 32) && trace.bytes().any(|byte| byte != b'0')).then_some((trace, flags))
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
            assert_eq!(trace_of(&trace_id), expected.is_some().then(|| TRACE.to_owned()), "{trace_id}");
            assert_eq!(is_sampled(&trace_id), expected == &sampled, "{trace_id}");
            let parent = (expected.is_some() && trace_id.len() > 32).then_some(0x00f0_67aa_0ba9_02b7);
            assert_eq!(expected.as_ref().and(parent_of(&trace_id)), parent, "{trace_id}");
        }
    }

    #[test]
    fn spans_of_a_mission_are_apart_whatever_it_is_called() {
        let spans = [
            mission_span("m"),
            run_span("m", 1),
            run_span("m", 2),
            call_span("m/1"),
            call_span("m/2"),
            request_span("m", 1),
            mission_span("n"),
        ];
        let apart: std::collections::BTreeSet<u64> = spans.into_iter().collect();
        assert_eq!(apart.len(), spans.len());
    }
}
