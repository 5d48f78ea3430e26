//! How the collector of traces is told, as metrics: rows only where there is one.

use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use sortie_trace::Counters;

/// All of them; the journal ends there.
pub(super) fn register(registry: &mut Registry, counters: &Counters, end: u64) {
    let Counters { sent, refused, skipped, failures, told, is_failing } = counters;
    for (name, help, value) in [
        ("trace_spans_sent", "Spans that the collector took", sent),
        ("trace_spans_refused", "Spans that the collector refused for good", refused),
        ("trace_frames_skipped", "Frames of records that were passed over for traces", skipped),
        ("trace_export_failures", "Attempts to tell the collector that failed", failures),
    ] {
        registry.register(name, help, ConstCounter::new(value.load(Relaxed)));
    }
    let behind = i64::try_from(end.saturating_sub(told.load(Relaxed))).unwrap_or(i64::MAX);
    registry.register("trace_frames_behind", "Frames of records that it has not been told of", ConstGauge::new(behind));
    let failing = ConstGauge::new(i64::from(is_failing.load(Relaxed)));
    registry.register("trace_export_failing", "Whether the last attempt failed", failing);
}
