//! `GET /metrics`: what this node counts and measures, for Prometheus and whatever else reads its forms.
//!
//! Names are in base units (`_seconds`, `_bytes`) and end in `_total` where they only grow; each has a line that says what it is, in
//! docs/OBSERVABILITY.md too. Labels have few values: what comes from outside without bound is never one.

mod durations;
mod fleet;
mod format;
mod shared;
mod traces;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use sortie_callback::Counters;
use sortie_contract::tool::ToolName;
use sortie_contract::{Spend, Status};
use sortie_engine::shown::SpaceView;
use sortie_engine::{Held, Turns};
use sortie_mission::Limits;
use sortie_mission::wider::Standing;
use sortie_models::ModelInfo;
use sortie_notify::View;
use sortie_tools::{LinkState, ProviderHealth};

use super::App;
use super::error::Problem;
use format::Format;

/// What tells rows of one figure apart.
type Labels = Vec<(&'static str, String)>;

fn bytes(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// What calls have cost, in all and by tool.
fn money(registry: &mut Registry, by_tool: &[(ToolName, Spend)]) {
    let (usd, calls) = (Family::<Labels, Counter<f64, AtomicU64>>::default(), Family::<Labels, Counter>::default());
    let mut sum = Spend::NOTHING;
    for (tool, spent) in by_tool {
        let of = vec![("tool", tool.to_string())];
        usd.get_or_create(&of).inc_by(spent.cost.as_usd());
        calls.get_or_create(&of).inc_by(spent.llm_calls);
        sum = sum.saturating_add(*spent);
    }
    registry.register("cost_usd", "What calls have cost, in US dollars", ConstCounter::new(sum.cost.as_usd()));
    registry.register("llm_calls", "Calls of language models", ConstCounter::new(sum.llm_calls));
    registry.register("tool_cost_usd", "What calls of each tool have cost, in US dollars", usd);
    registry.register("tool_llm_calls", "Calls of language models that each tool has made", calls);
}

/// What answers of models have cost: a row for each model, of which an operator has a few.
fn models(registry: &mut Registry, by_model: &[(String, Spend)]) {
    let (usd, calls) = (Family::<Labels, Counter<f64, AtomicU64>>::default(), Family::<Labels, Counter>::default());
    for (model, spent) in by_model {
        let of = vec![("model", model.clone())];
        usd.get_or_create(&of).inc_by(spent.cost.as_usd());
        calls.get_or_create(&of).inc_by(spent.llm_calls);
    }
    registry.register("model_cost_usd", "What answers of each model have cost, in US dollars", usd);
    registry.register("model_llm_calls", "Answers of each model", calls);
}

/// Missions whose calls providers refuse for now, by model: a row for each that there is, and for each that holds one.
fn held(registry: &mut Registry, models: Vec<ModelInfo>, held: &[Held]) {
    let missions = Family::<Labels, Gauge>::default();
    for model in models {
        missions.get_or_create(&vec![("model", model.name)]).set(0);
    }
    for held in held.iter().filter(|held| !held.is_unpaid) {
        missions.get_or_create(&vec![("model", held.model().unwrap_or_default().to_owned())]).inc();
    }
    registry.register("model_missions_held", "Missions that wait for a provider which refuses for now", missions);
}

/// What is taken of the budgets that are wider than one mission: a row for each, of which an operator has a few.
fn budgets(registry: &mut Registry, taken: Vec<(Labels, Spend, Limits)>) {
    let family = Family::<Labels, Gauge<f64, AtomicU64>>::default;
    let (usd, calls) = (family(), Family::<Labels, Gauge>::default());
    let (limit_usd, limit_calls) = (family(), Family::<Labels, Gauge>::default());
    for (of, taken, limits) in taken {
        if let Some(cost) = limits.cost {
            limit_usd.get_or_create(&of).set(cost.as_usd());
        }
        if let Some(calls) = limits.llm_calls {
            limit_calls.get_or_create(&of).set(i64::try_from(calls).unwrap_or(i64::MAX));
        }
        usd.get_or_create(&of).set(taken.cost.as_usd());
        calls.get_or_create(&of).set(i64::try_from(taken.llm_calls).unwrap_or(i64::MAX));
    }
    let usd_help = "What is spent or set aside of each budget wider than one mission, in US dollars";
    registry.register("budget_taken_usd", usd_help, usd);
    registry.register("budget_taken_llm_calls", "The same, in calls of language models", calls);
    registry.register("budget_limit_usd", "What there is of each budget wider than one mission", limit_usd);
    registry.register("budget_limit_llm_calls", "The same, in calls of language models", limit_calls);
}

/// What the data folder takes, by kind.
fn space(registry: &mut Registry, seen: Option<&SpaceView>) {
    let taken = Family::<Labels, Gauge>::default();
    for (kind, bytes) in seen.into_iter().flat_map(SpaceView::kinds) {
        taken.get_or_create(&vec![("kind", kind.to_owned())]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
    registry.register("data_bytes", "What the data folder takes on its disk, by kind", taken);
}

/// Where tools come from: a row for each provider, of which an operator has a few.
fn providers(registry: &mut Registry, providers: &[ProviderHealth]) {
    let (tools, up) = (Family::<Labels, Gauge>::default(), Family::<Labels, Gauge>::default());
    for ProviderHealth { name, standing, tools: count, .. } in providers {
        let labels = || vec![("provider", name.clone())];
        tools.get_or_create(&labels()).set(i64::try_from(*count).unwrap_or(i64::MAX));
        up.get_or_create(&labels()).set(i64::from(standing.state == LinkState::Connected));
    }
    registry.register("provider_tools", "Tools that missions can be granted of a provider", tools);
    registry.register("provider_up", "Whether the tools of a provider can be called", up);
}

/// Attempts to deliver that failed: how many, and when the last was.
fn failures(registry: &mut Registry, counters: &Counters) {
    let (count, last) = (Family::<Labels, Counter>::default(), Family::<Labels, Gauge>::default());
    for failed in counters.failures() {
        let labels = vec![("kind", failed.kind.to_owned())];
        count.get_or_create(&labels).inc_by(failed.count);
        last.get_or_create(&labels).set(failed.last);
    }
    registry.register("delivery_failures", "Attempts to deliver that failed, by what went wrong", count);
    registry.register(
        "delivery_failure_last_seconds",
        "When the last of them was, in seconds since 1970; 0: none",
        last,
    );
}

/// How people are told: a row for each channel, of which an operator has a few.
fn channels(registry: &mut Registry, channels: &[View]) {
    let (sent, failures) = (Family::<Labels, Counter>::default(), Family::<Labels, Counter>::default());
    let (owed, in_a_row) = (Family::<Labels, Gauge>::default(), Family::<Labels, Gauge>::default());
    for channel in channels {
        let labels = vec![("channel", channel.name.clone())];
        sent.get_or_create(&labels).inc_by(channel.sent);
        failures.get_or_create(&labels).inc_by(channel.failures);
        owed.get_or_create(&labels).set(i64::try_from(channel.owed).unwrap_or(i64::MAX));
        in_a_row.get_or_create(&labels).set(channel.failed_attempts.into());
    }
    registry.register("notify_sent", "Messages that arrived, by channel", sent);
    registry.register("notify_failures", "Attempts to send a message that failed, by channel", failures);
    registry.register("notify_owed", "What a channel has not been told of yet", owed);
    registry.register("notify_failed_attempts", "Attempts that failed in a row; 0: the channel is well", in_a_row);
}

/// The numbers of the node, at this moment.
pub(super) async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let engine = &app.engine;
    let mut registry = Registry::with_prefix("sortie");
    let counters = engine.counters();
    let places = app.places.taken();
    let counts = [
        ("missions_accepted", "Missions accepted", counters.accepted.load(Relaxed)),
        ("dispatches_replayed", "Dispatches that had been accepted before", counters.replayed.load(Relaxed)),
        ("dispatches_refused", "Dispatches that were refused", counters.refused.load(Relaxed)),
        ("tool_calls", "Tool calls that plugins asked for", counters.calls.load(Relaxed)),
        ("calls_overbilled", "Calls that cost more than they were quoted at", engine.spending().overbilled()),
        ("deliveries_delivered", "Deliveries that a receiver took", engine.courier().counters().delivered()),
        ("deliveries_retried", "Attempts that failed and were repeated", engine.courier().counters().retried()),
        ("deliveries_parked", "Deliveries that were given up for now", engine.courier().counters().parked()),
        ("deliveries_skipped", "Deliveries that an operator left out", counters.skipped.load(Relaxed)),
        ("schedule_fires", "Fires of schedules whose missions were made", counters.fired.load(Relaxed)),
        ("schedule_late", "Those of them that were late by more than a minute", counters.late.load(Relaxed)),
        ("schedule_missed", "Fires of schedules that nobody saw to in time", counters.missed.load(Relaxed)),
        ("records_folded", "Records that were taken up for readers", engine.records_folded()),
        ("connections_displaced", "Connections without a token that others needed the place of", places.displaced),
        ("connections_refused", "Requests for which there was no place", places.refused),
    ];
    for (name, help, value) in counts {
        registry.register(name, help, ConstCounter::new(value));
    }
    money(&mut registry, &engine.spending().by_tool());
    models(&mut registry, &engine.spending().by_model());
    held(&mut registry, engine.models().list(), &engine.held());
    let taken = |standing: Standing<'_>| {
        let (scope, per) = (standing.budget.scope.to_string(), standing.budget.per.as_str().to_owned());
        (vec![("scope", scope), ("per", per)], standing.spent.saturating_add(standing.reserved), standing.budget.limits)
    };
    budgets(&mut registry, engine.budgets(taken));
    for (status, count) in Status::ALL.into_iter().zip(&counters.ended).filter(|(status, _)| status.is_final()) {
        let name = format!("missions_{status}");
        registry.register(name, "Missions that ended so", ConstCounter::new(count.load(Relaxed)));
    }
    let Turns { queued, running, paused } = engine.turns();
    let undelivered = engine.undelivered();
    let gauges = [
        ("missions_queued", "Missions that wait", queued),
        ("missions_running", "Missions that run", running),
        ("missions_blocked", "Missions that wait for people", engine.blocked()),
        ("paused", "Whether an operator holds the node back: no mission starts", usize::from(paused)),
        ("missions_suspended", "Missions that wait out of memory", engine.suspended()),
        ("missions_quarantined", "Missions that cannot be read", engine.quarantined()),
        (
            "last_backup_timestamp_seconds",
            "The moment that the last backup shows, as Unix time; 0 where none was taken",
            app.backups.last().and_then(|at| usize::try_from(at.as_second()).ok()).unwrap_or_default(),
        ),
        ("missions_undelivered", "Missions of which something is to be delivered", undelivered),
        (
            "disk_free_bytes",
            "What is free on the disk of the data folder",
            bytes(app.artifacts.shared_room().disk().free_bytes()),
        ),
        (
            "disk_warn_bytes",
            "Below so much free room it is warned",
            bytes(app.artifacts.shared_room().disk().warn_bytes),
        ),
        ("files_bytes", "What artifacts and workspaces take on the disk", bytes(app.artifacts.shared_room().bytes())),
        ("connections_open", "Connections that are open", places.open),
        ("connections_places", "Connections that can be open", app.places.most),
        ("results_bytes", "What results of calls hold of the memory, in bytes", engine.result_bytes().0),
        ("results_bytes_peak", "The most that they held", engine.result_bytes().1),
        ("answers_bytes", "What answers hold of the memory, in bytes", app.answers.held()),
    ];
    for (name, help, value) in gauges {
        registry.register(name, help, ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)));
    }
    shared::register(&mut registry, app.shared.as_deref());
    space(&mut registry, app.space.seen().as_ref());
    providers(&mut registry, &engine.providers());
    failures(&mut registry, engine.courier().counters());
    channels(&mut registry, &app.notifier.views());
    durations::register(&mut registry, engine);
    fleet::register(&mut registry, engine);
    if let Some(exporter) = &app.exporter {
        let end = *engine.log().follow().borrow();
        traces::register(&mut registry, exporter.counters(), end);
    }
    for (name, help, count) in app.dialects.counts() {
        registry.register(name, help, ConstCounter::new(count));
    }
    let connected = Family::<Labels, Gauge>::default();
    for dialect in app.dialects.views() {
        connected.get_or_create(&vec![("dialect", dialect.name)]).set(i64::from(dialect.connected));
    }
    registry.register("dialect_connected", "Whether each older dialect that the node speaks is heard", connected);
    let build = Family::<Labels, Gauge>::default();
    build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
    registry.register("build_info", "Always 1; its label says which version this is", build);
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| Problem::internal(&error))?;
    let format = Format::of(&headers);
    let named = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")];
    Ok((named, format.told(text)).into_response())
}
