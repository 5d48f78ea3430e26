//! `sortie notify …`: how the channels are by which people are told, and a message to try one.

use std::io::Write as _;

use clap::Subcommand;
use reqwest::Method;
use serde_json::Value;

use super::client::Client;
use super::look::items;
use super::text::{self, Cell, Column, Meaning, Progress, Screen};
use super::{Exit, Failure};

/// What to do with channels.
#[derive(Debug, Subcommand)]
pub(super) enum NotifyCommand {
    /// List the channels of the node: what each is told of, what it is owed, and why it fails. Exit code 1 if one fails.
    Ls,
    /// Send a message that says nothing, to see that a channel works.
    Test {
        /// Its name in the configuration.
        #[arg(value_parser = super::named)]
        name: String,
    },
}

pub(super) async fn notify(command: NotifyCommand, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    match command {
        NotifyCommand::Ls => list(client, as_json).await,
        NotifyCommand::Test { name } => {
            let request = client.request(Method::POST, &["v1", "notify", &name, "test"]);
            let (what, patient) = (format!("{} is tried", text::plain(&name)), client.patient());
            let tested = Progress::during(what, patient.json(request, "arrived")).await?;
            if as_json {
                text::json(&tested)?;
            } else {
                writeln!(std::io::stdout(), "a message went through {}", text::plain(&name))?;
            }
            Ok(Exit::Completed)
        }
    }
}

async fn list(client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let page = client.page(&["v1", "notify"], &[]).await?;
    let fails = |channel: &Value| channel["failed_attempts"].as_u64().unwrap_or_default() > 0;
    let exit = if items(&page).any(fails) { Exit::Failed } else { Exit::Completed };
    if as_json {
        text::json(&page)?;
        return Ok(exit);
    }
    let screen = Screen::of_output();
    let row = |channel: &Value| {
        let [name, form, owed, error] = ["name", "form", "owed", "error"].map(|key| text::cell(&channel[key]));
        let on: Vec<String> = channel["on"].as_array().into_iter().flatten().map(text::cell).collect();
        let state = if fails(channel) {
            Cell::new("fails".to_owned(), Meaning::Bad)
        } else {
            Cell::new("well".to_owned(), Meaning::Good)
        };
        let sent_at = if channel["sent_at"].is_null() { "-".to_owned() } else { screen.time(&channel["sent_at"]) };
        vec![Cell::from(name), form.into(), state, owed.into(), sent_at.into(), on.join(",").into(), error.into()]
    };
    let rows: Vec<_> = items(&page).map(row).collect();
    let columns = [
        Column::whole("CHANNEL"),
        Column::whole("FORM"),
        Column::whole("STATE"),
        Column::whole("OWED"),
        Column::whole("LAST SENT").spare(),
        Column::cut("ON", 12).spare(),
        Column::cut("WHY", 16),
    ];
    text::table(&columns, &rows, &screen)?;
    Ok(exit)
}
