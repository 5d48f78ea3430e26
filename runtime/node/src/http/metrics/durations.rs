//! How long things take, as metrics: histograms of seconds. What each of them is from and to is said where it is measured.

use prometheus_client::registry::{Metric, Registry, Unit};
use sortie_engine::Engine;

/// All of them.
pub(super) fn register(registry: &mut Registry, engine: &Engine) {
    let (measured, deliveries) = (engine.measured(), engine.courier().counters());
    let mut register = |name, help, metric| of(registry, name, help, metric);
    register(
        "dispatch_duration",
        "From the body of a dispatch to its answer, which is on disk then",
        measured.dispatches.histograms(),
    );
    register("tool_call_duration", "How long calls of tools took", measured.calls.histograms());
    register("model_call_duration", "How long calls of models took, retries among them", measured.models.histograms());
    register("delivery_request_duration", "How long attempts to deliver took", deliveries.attempts().histograms());
    let mut register = |name, help, metric| of(registry, name, help, metric);
    register(
        "mission_start_delay",
        "From when a mission could have started to its first start",
        measured.starts.histogram(),
    );
    register(
        "window_start_delay",
        "From the opening of a window to the first start of its mission",
        measured.lateness.histogram(),
    );
    register(
        "delivery_delay",
        "From when an event could have been sent to when its receiver had taken it",
        deliveries.waited().histogram(),
    );
    if let Some(commits) = engine.log().commits() {
        register("journal_commit_duration", "How long commits to the journal took", commits.histogram());
    }
}

fn of(registry: &mut Registry, name: &str, help: &str, metric: impl Metric) {
    registry.register_with_unit(name, help, Unit::Seconds, metric);
}
