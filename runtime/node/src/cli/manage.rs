//! `sortie plugin …` and `sortie tool …`.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Subcommand;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use sortie_contract::plugin::PluginRef;

use super::client::Client;
use super::{Exit, Failure, text};

/// What to do with plugins.
#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// List installed plugins.
    Ls,
    /// Install a plugin: a component, or a core module that carries its component type.
    Install {
        /// The `.wasm` file.
        file: PathBuf,
    },
    /// Remove a plugin; missions that started with it keep it.
    Rm {
        /// Its name.
        #[arg(value_parser = plugin_name)]
        name: String,
        /// Only this version.
        #[arg(long)]
        version: Option<String>,
    },
}

/// What to do with tools.
#[derive(Debug, Subcommand)]
pub(super) enum ToolCommand {
    /// List the node's tools.
    Ls,
    /// Call a tool by hand, in a workspace for that.
    Call {
        /// Its name.
        #[arg(value_parser = super::named)]
        name: String,
        /// The arguments, a JSON object.
        arguments: String,
    },
}

/// The name of a plugin, without a version.
fn plugin_name(text: &str) -> Result<String, String> {
    match text.parse() {
        Ok(PluginRef { name, version: None }) => Ok(name),
        Ok(PluginRef { name, version: Some(version) }) => {
            Err(format!("a version is named apart: `sortie plugin rm {name} --version {version}`"))
        }
        Err(_) => Err("a plugin's name is made of a-z, 0-9 and `-`; a version is named with --version".to_owned()),
    }
}

pub(super) async fn plugin(command: PluginCommand, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    match command {
        PluginCommand::Ls => {
            let page = client.page(&["v1", "plugins"], &[]).await?;
            list(
                &page,
                as_json,
                &["NAME", "VERSION", "DIGEST", "DESCRIPTION"],
                &["name", "version", "digest", "description"],
            )?;
            if !as_json {
                for unusable in page["unusable"].as_array().into_iter().flatten() {
                    let [plugin, detail] = ["plugin", "detail"].map(|key| text::cell(&unusable[key]));
                    writeln!(std::io::stderr(), "{plugin} runs no mission here: {detail}")?;
                }
            }
        }
        PluginCommand::Install { file } => {
            let bytes =
                std::fs::read(&file).map_err(|error| Failure::unusable(format!("{}: {error}", file.display())))?;
            let request = client.request(Method::POST, &["v1", "plugins"]).header("content-type", "application/wasm");
            let installed = client.patient().json(request.body(bytes), "digest").await?;
            if as_json {
                text::json(&installed)?;
            } else {
                let [name, version, digest] = ["name", "version", "digest"].map(|key| text::cell(&installed[key]));
                writeln!(std::io::stdout(), "{name}@{version}  {digest}")?;
            }
        }
        PluginCommand::Rm { name, version } => {
            let request = client.request(Method::DELETE, &["v1", "plugins", &name]);
            let answer = client.send(request.query(&version.map(|version| [("version", version)]))).await?;
            if answer.status() != StatusCode::NO_CONTENT {
                return Err(client.stranger(&answer.status().to_string()));
            }
        }
    }
    Ok(Exit::Completed)
}

pub(super) async fn tool(command: ToolCommand, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    match command {
        ToolCommand::Ls => {
            let mut page = client.page(&["v1", "tools"], &[]).await?;
            if !as_json {
                with_states(&mut page);
            }
            list(
                &page,
                as_json,
                &["NAME", "PROVIDER", "STATE", "REPEAT", "COST_USD", "EFFECTS", "DESCRIPTION"],
                &["name", "provider", "state", "repeat", "cost_usd", "effects", "description"],
            )?;
        }
        ToolCommand::Call { name, arguments } => {
            let request = client.request(Method::POST, &["v1", "tools", &name, "call"]);
            let result =
                client.patient().any_json(request.header("content-type", "application/json").body(arguments)).await?;
            text::json(&result)?;
        }
    }
    Ok(Exit::Completed)
}

/// Says of each tool how its provider is.
fn with_states(page: &mut Value) {
    let providers = page["providers"].take();
    for item in page["items"].as_array_mut().into_iter().flatten() {
        let of = providers.as_array().into_iter().flatten().find(|provider| provider["name"] == item["provider"]);
        item["state"] = of.map(|provider| provider["state"].clone()).unwrap_or_default();
    }
}

fn list(page: &Value, as_json: bool, head: &[&str], keys: &[&str]) -> std::io::Result<()> {
    if as_json {
        return text::json(page);
    }
    let row = |item: &Value| keys.iter().map(|key| text::cell(&item[*key])).collect();
    let rows: Vec<Vec<String>> = page["items"].as_array().into_iter().flatten().map(row).collect();
    text::table(head, &rows)
}
