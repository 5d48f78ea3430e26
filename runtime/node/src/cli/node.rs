//! `sortie node …`: how the node is, and whether it starts missions.

use std::io::Write as _;

use clap::Subcommand;
use reqwest::Method;

use super::client::Client;
use super::text::{self, Meaning, Page, Screen};
use super::{Exit, Failure};

/// What to do with the node.
#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// Show whether it starts missions, how many there are, and what takes the room on its disk.
    Show,
    /// Start no more missions; those that run go on. It holds through restarts.
    Pause,
    /// Start missions again; after a restore, deliver and fire schedules again, too.
    Resume,
}

pub(super) async fn node(command: NodeCommand, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let (step, says) = match command {
        NodeCommand::Show => return show(client, as_json).await,
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

async fn show(client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let node = client.get(&["v1", "node"], "instance_id").await?;
    if as_json {
        text::json(&node)?;
        return Ok(Exit::Completed);
    }
    let screen = Screen::of_output();
    let mut page = Page::new(&screen);
    let [id, state, version] = ["instance_id", "state", "version"].map(|key| text::cell(&node[key]));
    page.title(&id, &state, if state == "serving" { Meaning::Good } else { Meaning::Attention });
    page.fact("version", &version);
    if node["restored"].is_object() {
        let taken = screen.when(&node["restored"]["taken_at"]);
        page.fact_that(
            "held",
            &format!("restored from a backup of {taken}; `sortie node resume` lets it go on"),
            Meaning::Attention,
        );
    }
    let backup = if node["last_backup"].is_null() {
        "none was taken".to_owned()
    } else {
        format!("the last is of {}", screen.when(&node["last_backup"]))
    };
    page.fact("backup", &backup);
    let counts = ["running", "queued", "suspended", "blocked"].map(|key| format!("{} {key}", text::cell(&node[key])));
    page.fact("missions", &counts.join(", "));
    let mib = |key: &str| text::size(node["disk"][key].as_u64().unwrap_or_default().saturating_mul(1 << 20));
    let (free, reserve) = (mib("free_mib"), mib("reserve_mib"));
    let meaning = if node["disk"]["scarce"] == true { Meaning::Bad } else { Meaning::Plain };
    page.fact_that("disk", &format!("{free} free, of which {reserve} are kept for the journal"), meaning);
    for (kind, bytes) in node["space"].as_object().into_iter().flatten() {
        if let Some(bytes) = bytes.as_u64().filter(|bytes| *bytes > 0) {
            page.fact(&kind.replace('_', " "), &text::size(bytes));
        }
    }
    page.show()?;
    Ok(Exit::Completed)
}
