//! `sortie run` where a node works on the data directory: the mission is the node's to run. On a terminal it is offered to dispatch it
//! there; elsewhere it is said how.

use std::io::Write as _;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::client::Client;
use super::serve::Address;
use super::{Exit, Failure, agree, submit, text, watch};
use crate::config::Config;
use crate::node::OpenError;

/// How long a node that wrote down where it is may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was to be run, and where.
pub(super) struct Wanted<'a> {
    /// The file, as it was named.
    pub(super) file: &'a str,
    /// What it holds.
    pub(super) given: &'a str,
    /// The same, with its blanks filled in.
    pub(super) envelope: &'a str,
    /// The configuration whose data directory is in use.
    pub(super) config: &'a Config,
    /// The token that was named.
    pub(super) token: Option<&'a str>,
    /// Whether a node could do all that was asked for.
    pub(super) is_a_nodes: bool,
}

/// That a node works on the data directory, and what to type.
#[derive(Debug, thiserror::Error)]
#[error("the node at {node} works on this data directory and runs its missions: {command}")]
struct Taken {
    node: String,
    command: String,
    #[source]
    source: OpenError,
}

/// What becomes of a run that found its data directory `taken`.
pub(super) async fn run(wanted: Wanted<'_>, taken: OpenError, as_json: bool) -> Result<Exit, Failure> {
    let Some(client) = node(&wanted).await else { return Err(taken.into()) };
    let node = client.url().as_str().trim_end_matches('/').to_owned();
    let question = format!("The node at {node} works on this data directory. Dispatch the mission to it?");
    let dispatches = wanted.is_a_nodes && !as_json && agree::can_ask() && agree::agrees(&question, true).await?;
    if !dispatches {
        let fill = if crate::blanks::left_out(wanted.given).is_empty() { "" } else { " --fill" };
        let command = client.commands().line(&format!("submit {}{fill}", text::word(wanted.file)));
        return Err(Taken { node, command, source: taken }.into());
    }
    if !submit::dispatch(wanted.envelope, &client, false, wanted.file).await? {
        return Ok(Exit::Unusable);
    }
    let envelope: Value = serde_json::from_str(wanted.envelope)?;
    let id = envelope["mission_id"].as_str().unwrap_or_default();
    writeln!(std::io::stderr(), "Ctrl-C ends the watching only: the mission is the node's.")?;
    let exit = watch::watch(id, &client, false).await?;
    let command = client.commands().line(&format!("show {}", text::word(id)));
    writeln!(std::io::stderr(), "What it left behind: {command}")?;
    Ok(exit)
}

/// The node that works on the data directory, where one says so and answers. Another one that has its address by now is not meant.
async fn node(wanted: &Wanted<'_>) -> Option<Client> {
    let data_dir = wanted.config.data_dir().ok()?;
    let said = Address::read(&data_dir)?;
    let client = Client::new(Some(&said.url), wanted.token, wanted.config).ok()?;
    // That they are called the same says nothing: one that was killed leaves its address behind, and whoever has that by now may have its name.
    let is_it = async {
        submit::instance(&client).await.is_ok_and(|id| id == said.instance_id) && client.is_of(&data_dir).await
    };
    timeout(PATIENCE, is_it).await.unwrap_or(false).then_some(client)
}
