//! The tool servers over HTTP: what is known of each, beside how it is as a provider of tools.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use sortie_contract::Timestamp;
use sortie_engine::shown::{ProviderState, ProviderView};

use super::App;
use super::query::NoParameters;

/// The tool servers of a node.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct ServersView {
    /// Those of the configuration that are not switched off.
    items: Vec<ServerView>,
    /// Always null: all of them are on this page.
    next_cursor: Option<String>,
}

/// A tool server.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ServerView {
    /// Its name in the configuration; its tools are `mcp__NAME__TOOL`.
    name: String,
    /// `stdio`, a program, or `http`, an address.
    transport: &'static str,
    /// Whether its tools can be called.
    state: ProviderState,
    /// Since when they can, or cannot.
    #[schemars(with = "String")]
    since: Timestamp,
    /// What went wrong last, however long ago.
    last_error: Option<String>,
    /// The version of the protocol that was spoken last.
    protocol_version: Option<String>,
    /// What the server calls itself.
    server: Option<String>,
    /// How long it took to answer last, when it was asked whether it is well.
    latency_ms: Option<f64>,
    /// How many tools missions can be granted of it.
    tools: usize,
    /// What it offers beside them and could not be taken, with the reason.
    left_out: Vec<String>,
}

/// `GET /v1/mcp`
pub(super) async fn servers(State(app): State<App>, _: NoParameters) -> Json<ServersView> {
    use sortie_tools::Provider as _;
    let providers: Vec<ProviderView> = app.engine.providers().into_iter().map(ProviderView::from).collect();
    let view = |provider: ProviderView| {
        let server = app.mcp.iter().find(|server| server.name() == provider.name)?;
        let seen = server.seen();
        Some(ServerView {
            transport: server.transport(),
            protocol_version: seen.protocol,
            server: seen.called,
            latency_ms: seen.latency.map(|latency| latency.as_secs_f64() * 1_000.0),
            name: provider.name,
            state: provider.state,
            since: provider.since,
            last_error: provider.last_error,
            tools: provider.tools,
            left_out: provider.left_out,
        })
    };
    Json(ServersView { items: providers.into_iter().filter_map(view).collect(), next_cursor: None })
}
