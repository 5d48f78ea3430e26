//! `sortie hook …`: where services outside deliver what happened, and what a delivery would come to.

use clap::{Subcommand, ValueHint};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::input::Input;
use super::look::items;
use super::text::{self, Cell, Column, Meaning, Screen};
use super::{Exit, Failure};

/// What to do with hooks.
#[derive(Debug, Subcommand)]
pub(super) enum HookCommand {
    /// List the hooks of the node: where each is delivered to, what came of its deliveries, and of the last. Exit code 1 if one's last was refused.
    Ls,
    /// Print the envelope that a delivery would come to, without a signature and without a mission. Exit code 1 if it is not meant.
    Try {
        /// Its name in the configuration.
        #[arg(value_parser = super::named)]
        name: String,
        /// The file with the body of the delivery; `-` is standard input.
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        body: Input,
        /// A header of the delivery; may be given more than once.
        #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
        headers: Vec<(String, String)>,
    },
}

/// A header as `curl` takes it.
fn header(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    pair.filter(|(name, _)| !name.is_empty()).ok_or_else(|| "write `NAME: VALUE`".to_owned())
}

pub(super) async fn hook(command: HookCommand, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    match command {
        HookCommand::Ls => list(client, as_json).await,
        HookCommand::Try { name, body, headers } => {
            let text = body.read()?;
            let delivered: Value =
                serde_json::from_str(&text).map_err(|error| body.unusable(format!("it is no JSON: {error}")))?;
            let headers: Map<String, Value> = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
            let request = client.request(Method::POST, &["v1", "hooks", &name, "try"]);
            let request = request.header("content-type", "application/json");
            let trial = json!({"body": delivered, "headers": headers}).to_string();
            let tried = client.json(request.body(trial), "is_meant").await?;
            let is_meant = tried["is_meant"] == true;
            match (as_json, is_meant) {
                (true, _) => text::json(&tried)?,
                (false, true) => text::json(&tried["envelope"])?,
                (false, false) => eprintln!("it is not meant: `when` of the hook is not true of it"),
            }
            Ok(if is_meant { Exit::Completed } else { Exit::Failed })
        }
    }
}

async fn list(client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let page = client.page(&["v1", "hooks"], &[]).await?;
    let fails = |hook: &Value| hook["last"]["outcome"] == "refused";
    let exit = if items(&page).any(fails) { Exit::Failed } else { Exit::Completed };
    if as_json {
        text::json(&page)?;
        return Ok(exit);
    }
    let screen = Screen::of_output();
    let row = |hook: &Value| {
        let [path, signature, accepted, replayed, not_meant, refused, unsigned] =
            ["path", "signature", "accepted", "replayed", "not_meant", "refused", "unsigned"]
                .map(|key| text::cell(&hook[key]));
        let last = &hook["last"];
        let at = if last.is_null() { "-".to_owned() } else { screen.time(&last["at"]) };
        let came_to = match last["outcome"].as_str() {
            Some("refused") => Cell::new(text::cell(&last["error"]), Meaning::Bad),
            Some(_) if last["mission_id"].is_string() => text::cell(&last["mission_id"]).into(),
            Some(_) => "not meant".to_owned().into(),
            None => "-".to_owned().into(),
        };
        vec![
            path.into(),
            signature.into(),
            accepted.into(),
            replayed.into(),
            not_meant.into(),
            refused.into(),
            unsigned.into(),
            at.into(),
            came_to,
        ]
    };
    let rows: Vec<_> = items(&page).map(row).collect();
    let columns = [
        Column::whole("PATH"),
        Column::whole("SIGNED").spare(),
        Column::whole("MISSIONS"),
        Column::whole("AGAIN").spare(),
        Column::whole("NOT MEANT").spare(),
        Column::whole("REFUSED"),
        Column::whole("UNSIGNED").spare(),
        Column::whole("LAST").spare(),
        Column::cut("CAME TO", 20),
    ];
    text::table(&columns, &rows, &screen)?;
    Ok(exit)
}
