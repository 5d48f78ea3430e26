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

/// How many looks in a row may fail of a node that is there: half a minute.
const FAILURES_MAX: u32 = 150;

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
        drained = Progress::during("the node is drained".to_owned(), until_over(client, drained)).await?;
    }
    // Whoever waits goes on to what must not be done to a node that takes missions.
    let exit = if args.wait && drained["draining"] == "no" { Exit::Undone } else { Exit::Completed };
    if as_json {
        text::json(&drained)?;
        return Ok(exit);
    }
    let says = match drained["draining"].as_str() {
        Some("no") if args.wait => "not drained: that was taken back, and it takes missions",
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
    Ok(exit)
}

/// Looks, and changes nothing, until a node is drained or that is taken back: what draining it has come to.
async fn until_over(client: &Client, mut last: Value) -> Result<Value, Failure> {
    let mut failures = 0;
    while last["draining"] == "going" {
        tokio::time::sleep(LOOK).await;
        let error = match client.page(&["v1", "nodes"], &[]).await {
            Ok(page) => {
                failures = 0;
                last["draining"] = standing(&page).into();
                continue;
            }
            Err(error) => error,
        };
        // Once it is over the node stops, and nobody listens there. All else tells nothing of it: neither does what stands before it.
        if client.is_silent().await {
            last["draining"] = "over".into();
        } else if failures >= FAILURES_MAX {
            return Err(error);
        } else {
            failures += 1;
        }
    }
    Ok(last)
}

/// How far the node is drained that answers with these nodes.
fn standing(page: &Value) -> &'static str {
    let here = items(page).find(|node| node["is_this"] == true);
    let takes = here.is_some_and(|node| node["state"] == "serving" || node["state"] == "paused");
    if takes { "no" } else { "going" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_node_that_takes_missions_is_not_drained_any_more() {
        for (state, expected) in [("draining", "going"), ("gone", "going"), ("serving", "no"), ("paused", "no")] {
            let other = json!({"instance_id": "b", "is_this": false, "state": "serving"});
            let page = json!({"items": [other, {"instance_id": "a", "is_this": true, "state": state}]});
            assert_eq!(standing(&page), expected, "{state}");
        }
        assert_eq!(standing(&json!({"items": []})), "going");
    }
}
