//! Both sides of the tool protocol MCP. First, tools of MCP servers: programs that the node starts, and addresses that it asks.
//!
//! A [`McpServer`] is a [`Provider`](sortie_tools::Provider) like any other: its driver reaches it, asks it, watches it and tries it
//! again. Its tools are called `mcp__<server>__<tool>`. Here is what is between: both eras of the protocol, processes and pipes, HTTP
//! through the node's one way out, and what annotations, results and errors of servers that nobody has to trust mean for missions.
//!
//! The other side of the protocol, the node as a server, is in [`serve`].
//!
//! The only crate that names `rmcp`. It never decides who may call a tool, or when a server is reached.

mod asking;
mod calling;
mod config;
mod connection;
mod content;
mod digits;
mod effects;
mod handler;
mod http;
mod keep;
mod lines;
mod listing;
mod rate;
pub mod serve;
mod server;
mod stderr;
mod stdio;
mod throttle;
mod tool;

use std::sync::Arc;

use sortie_egress::{Redactor, Secret};

pub use config::{McpConfig, McpConfigError, McpToolConfig, ServerConfig, Setting};
pub use keep::keep;
pub use server::{McpServer, Seen};
pub use stdio::Keeper;

/// Largest message of a server, in bytes: a result of the largest size, as JSON in JSON.
const MESSAGE_BYTES_MAX: usize = 2 * sortie_contract::limit::CALL_BYTES_MAX;

/// Longest text of an error that a server has made, in bytes, where it is not the answer to a call.
const TOLD_BYTES_MAX: usize = sortie_contract::limit::NOTE_BYTES_MAX / 8;

/// Shorter secrets are not looked for in what a server says: they are none, and would be found everywhere.
const SECRET_BYTES_MIN: usize = 6;

/// What takes the secrets that a server was given out of what it says: it has them, and may tell.
fn veil(secrets: &[Secret]) -> Arc<Redactor> {
    Arc::new(Redactor::over(secrets.iter().filter(|secret| secret.expose().len() >= SECRET_BYTES_MIN)))
}

/// An error with its causes, cut to what is told of it. Libraries repeat a cause in what is around it: that is told once. A server may say
/// its secrets in it, so the veil is over it before it is cut: half of a secret nobody recognises.
fn causes(error: &dyn std::error::Error, veil: &Redactor) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !told.contains(&text) {
            told = format!("{told}: {text}");
        }
        cause = inner.source();
    }
    veil.clipped(&told, TOLD_BYTES_MAX)
}
