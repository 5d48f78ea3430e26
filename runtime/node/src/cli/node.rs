//! `sortie node …`: whether the node starts missions.

use std::io::Write as _;

use clap::Subcommand;
use reqwest::Method;

use super::client::Client;
use super::{Exit, Failure, text};

/// What to do with the node.
#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// Start no more missions; those that run go on. It holds through restarts.
    Pause,
    /// Start missions again; after a restore, deliver and fire schedules again, too.
    Resume,
}

pub(super) async fn node(command: NodeCommand, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let (step, says) = match command {
        NodeCommand::Pause => {
            ("pause", "paused: it takes missions and starts none; `sortie node resume` lets it go on")
        }
        NodeCommand::Resume => ("resume", "it starts missions"),
    };
    let node = client.json(client.request(Method::POST, &["v1", "node", step]), "state").await?;
    if as_json {
        text::json(&node)?;
    } else {
        writeln!(std::io::stdout(), "{says}")?;
    }
    Ok(Exit::Completed)
}
