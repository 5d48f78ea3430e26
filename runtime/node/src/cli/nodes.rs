//! `sortie nodes`, `sortie drain`: the nodes of a store, and one of them that hands over what it has.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::client::Client;
use super::look::items;
use super::text::{self, Cell, Column, Meaning, Progress, Screen};
use super::{Exit, Failure};

/// How often it is looked whether a node is drained.
const LOOK: Duration = Duration::from_millis(200);

/// How to drain a node.
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// Wait until the node has handed over what it has, and stops.
    #[arg(long, conflicts_with = "undo")]
    wait: bool,
    /// Take missions again.
    #[arg(long)]
    undo: bool,
}

/// Lists the nodes of a store. Exit code 1 if one is away.
pub(super) async fn nodes(client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let page = client.page(&["v1", "nodes"], &[]).await?;
    let is_away = |node: &Value| node["state"] == "away";
    let exit = if items(&page).any(is_away) { Exit::Failed } else { Exit::Completed };
    if as_json {
        text::json(&page)?;
        return Ok(exit);
    }
    let screen = Screen::of_output();
    let row = |node: &Value| {
        let [name, state, version, open] =
            ["instance_id", "state", "version", "open_missions"].map(|key| text::cell(&node[key]));
        let name = if node["is_this"] == true { format!("{name} (this one)") } else { name };
        let meaning = match state.as_str() {
            "serving" => Meaning::Good,
            "away" => Meaning::Bad,
            _ => Meaning::Attention,
        };
        let since = if node["since"].is_null() { "-".to_owned() } else { screen.time(&node["since"]) };
        let url = if node["url"].is_null() { "-".to_owned() } else { text::cell(&node["url"]) };
        let groups: Vec<String> = node["groups"].as_array().into_iter().flatten().map(text::cell).collect();
        vec![
            Cell::from(name),
            Cell::new(state, meaning),
            open.into(),
            since.into(),
            version.into(),
            groups.join(",").into(),
            url.into(),
        ]
    };
    let rows: Vec<_> = items(&page).map(row).collect();
    let columns = [
        Column::whole("NODE"),
        Column::whole("STATE"),
        Column::whole("OPEN"),
        Column::whole("SINCE").spare(),
        Column::whole("VERSION").spare(),
        Column::cut("GROUPS", 12).spare(),
        Column::cut("ADDRESS", 16),
    ];
    text::table(&columns, &rows, &screen)?;
    Ok(exit)
}

/// Drains a node, or takes that back.
pub(super) async fn drain(args: DrainArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let step = if args.undo { "undrain" } else { "drain" };
    let mut drained = client.json(client.request(Method::POST, &["v1", "node", step]), "draining").await?;
    let hands_over = drained["hands_over"] == true;
    if args.wait && hands_over {
        drained = Progress::during("the node is drained".to_owned(), async {
            let mut last = drained;
            // Once it is over the node stops, and whoever asks is asked in vain.
            while last["draining"] != "over" {
                tokio::time::sleep(LOOK).await;
                match client.json(client.request(Method::POST, &["v1", "node", step]), "draining").await {
                    Ok(now) => last = now,
                    Err(_) => last["draining"] = "over".into(),
                }
            }
            last
        })
        .await;
    }
    if as_json {
        text::json(&drained)?;
        return Ok(Exit::Completed);
    }
    let says = match drained["draining"].as_str() {
        Some("no") => "it takes missions",
        Some("over") => "drained: other nodes go on with what it had, and it stops",
        _ if hands_over => {
            "draining: it takes no missions; what runs comes to rest, then other nodes go on with it, and this one stops"
        }
        _ => {
            "it takes no missions; what is there goes on here, for no other node writes its store: wait until `sortie node show` has \
             none that run, or stop it, and they go on after the next start"
        }
    };
    writeln!(std::io::stdout(), "{says}")?;
    Ok(Exit::Completed)
}
