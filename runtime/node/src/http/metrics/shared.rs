//! The store that nodes share, as metrics: rows only where there is one.

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use sortie_objects::Counted;

use crate::shared::Shared;

/// All of them.
pub(super) fn register(registry: &mut Registry, shared: Option<&Shared>) {
    let Some(shared) = shared else { return };
    let Counted { written, written_bytes, read_bytes, removed, failed, is_away } = shared.objects().counted();
    for (name, help, value) in [
        ("shared_store_objects_written", "Objects that were written to the shared store", written),
        ("shared_store_written_bytes", "Bytes that were written to it", written_bytes),
        ("shared_store_read_bytes", "Bytes that were read from it", read_bytes),
        ("shared_store_objects_removed", "Objects that were removed from it", removed),
        ("shared_store_failures", "What failed of it after all attempts", failed),
    ] {
        registry.register(name, help, ConstCounter::new(value));
    }
    let away = ConstGauge::new(i64::from(is_away));
    registry.register("shared_store_away", "Whether what was tried last of it failed so", away);
}
