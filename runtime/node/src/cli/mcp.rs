//! `sortie mcp`: the node as an MCP server, for agents that start a program; and how others reach it.

use std::io::Write as _;
use std::os::fd::AsFd;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Response;
use clap::Args;
use serde_json::json;

use super::client::Client;
use super::{Exit, Failure, text};
use crate::mcp::{Api, Ask, Away, Service};
use crate::telemetry;

/// How the protocol is spoken.
#[derive(Debug, Args)]
pub(super) struct McpArgs {
    /// Speak it on standard input and output, as an agent that starts programs wants it. The node is asked over HTTP; it may come and go.
    #[arg(long)]
    stdio: bool,
}

pub(super) async fn mcp(args: &McpArgs, client: Client, as_json: bool) -> Result<Exit, Failure> {
    if !args.stdio {
        return tell(&client, as_json);
    }
    // Standard output is the protocol's.
    telemetry::start(crate::config::LogFormat::Auto, telemetry::Usual::All);
    let service = Service::new(client, None);
    let (input, output) = (pipe(&std::io::stdin())?, pipe(&std::io::stdout())?);
    sortie_mcp::serve::over(service, (), input, output).await?;
    Ok(Exit::Completed)
}

/// One end of this process, unbuffered.
fn pipe(end: &impl AsFd) -> std::io::Result<tokio::fs::File> {
    Ok(tokio::fs::File::from_std(end.as_fd().try_clone_to_owned()?.into()))
}

/// Says where `/mcp` is, and how clients are told of it.
fn tell(client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let mut url = client.url().clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push("mcp");
    }
    let http = json!({"type": "http", "url": url.as_str(), "headers": {"Authorization": "Bearer ${SORTIE_TOKEN}"}});
    let stdio = json!({"command": "sortie", "args": ["--node", client.url().as_str(), "mcp", "--stdio"]});
    if as_json {
        text::json(&json!({"url": url.as_str(), "mcpServers": {"sortie": http, "sortie-stdio": stdio}}))?;
        return Ok(Exit::Completed);
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{url}")?;
    writeln!(std::io::stderr(), "\nA client that speaks HTTP (the token is that of the agent: see `[[token]]`):")?;
    writeln!(out, "{:#}", json!({"mcpServers": {"sortie": http}}))?;
    writeln!(
        std::io::stderr(),
        "\nA client that starts programs (SORTIE_TOKEN in its environment, or the node's own token is found):"
    )?;
    writeln!(out, "{:#}", json!({"mcpServers": {"sortie": stdio}}))?;
    Ok(Exit::Completed)
}

#[async_trait]
impl Api for Client {
    /// There is one: who started this process.
    type Caller = ();

    async fn send(&self, (): &(), ask: Ask) -> Result<Response<Body>, Away> {
        let mut request = self.request_at(ask.method.clone(), ask.url(self.url()));
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        if let Some(body) = ask.body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = self.first(request).await.map_err(|failure| Away(failure.error.to_string()))?;
        let mut answer = Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        answer.body(Body::from_stream(response.bytes_stream())).map_err(|error| Away(error.to_string()))
    }
}
