//! The nodes of a store: what is told of them where there may be several.

use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use sortie_engine::Engine;
use sortie_engine::fleet::{Draining, Member};

/// Nothing, of a node that has its store for itself.
pub(super) fn register(registry: &mut Registry, engine: &Engine) {
    if !engine.has_fleet() {
        return;
    }
    let (members, counts) = (engine.members(), engine.fleet_counts());
    let counters = [
        ("fleet_adopted_shares", "Shares of other nodes that this one has taken over", &counts.shares),
        ("fleet_adopted_missions", "Missions that were not over and came with them", &counts.missions),
        ("fleet_forwarded", "Requests that were sent on to the node that has what they are about", &counts.forwarded),
    ];
    for (name, help, count) in counters {
        registry.register(name, help, ConstCounter::new(count.load(Relaxed)));
    }
    let count = |is_one: &dyn Fn(&Member) -> bool| {
        i64::try_from(members.iter().filter(|member| !member.is_me && is_one(member)).count()).unwrap_or(i64::MAX)
    };
    let live = count(&|member| member.is_live() && !member.node.is_empty());
    registry.register("fleet_peers", "Other nodes of the store that live", ConstGauge::new(live));
    let away = count(&|member| !member.is_live());
    registry.register(
        "fleet_peers_away",
        "Other nodes whose leases have run out, and that nobody has taken over yet",
        ConstGauge::new(away),
    );
    let is_draining = i64::from(engine.draining() != Draining::No);
    registry.register("fleet_draining", "Whether this node is being drained", ConstGauge::new(is_draining));
    if let Some(seen) = engine.fleet_seen() {
        let help = "How long ago this node looked at the others, and told them that it lives";
        registry.register("fleet_look_age_seconds", help, ConstGauge::new(seen.as_secs_f64()));
    }
}
