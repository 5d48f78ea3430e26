//! `sortie plugin …` and `sortie tool …`.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Subcommand;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use sortie_contract::plugin::PluginRef;

use super::client::Client;
use super::input::component;
use super::look::items;
use super::manifest::manifest;
use super::text::{self, Cell, Column, Meaning, Progress, Screen};
use super::{Exit, Failure};

/// What to do with plugins.
#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    #[command(flatten)]
    Author(super::author::AuthorCommand),
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
        #[arg(value_parser = plugin_name, add = super::complete::plugins())]
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
        #[arg(value_parser = super::named, add = super::complete::tools())]
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

pub(super) async fn plugin(
    command: PluginCommand,
    client: impl FnOnce() -> Result<Client, Failure>,
    as_json: bool,
) -> Result<Exit, Failure> {
    match command {
        PluginCommand::Author(command) => super::author::author(command, client, as_json).await,
        command => installed(command, &client()?, as_json).await,
    }
}

async fn installed(command: PluginCommand, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    match command {
        // Those need no node.
        PluginCommand::Author(_) => {}
        PluginCommand::Ls => {
            let page = client.page(&["v1", "plugins"], &[]).await?;
            if as_json {
                text::json(&page)?;
            } else {
                plugins(&page)?;
                for unusable in page["unusable"].as_array().into_iter().flatten() {
                    let [plugin, detail] = ["plugin", "detail"].map(|key| text::cell(&unusable[key]));
                    writeln!(std::io::stderr(), "{plugin} runs no mission here: {detail}")?;
                }
            }
        }
        PluginCommand::Install { file } => {
            let bytes = component(&file)?;
            let what = format!("the node compiles {}", text::plain(&file.display().to_string()));
            let request = client.request(Method::POST, &["v1", "plugins"]).header("content-type", "application/wasm");
            let patient = client.patient();
            let installed = Progress::during(what, patient.json(request.body(bytes), "digest")).await?;
            if as_json {
                text::json(&installed)?;
            } else {
                let [name, version, digest] = ["name", "version", "digest"].map(|key| text::cell(&installed[key]));
                writeln!(std::io::stdout(), "{name}@{version}  {digest}")?;
                for told in manifest(&installed) {
                    writeln!(std::io::stdout(), "  {told}")?;
                }
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
            let page = client.page(&["v1", "tools"], &[]).await?;
            if as_json {
                text::json(&page)?;
            } else {
                tools(&page)?;
            }
        }
        ToolCommand::Call { name, arguments } => {
            let request = client.request(Method::POST, &["v1", "tools", &name, "call"]);
            let request = request.header("content-type", "application/json").body(arguments);
            let (what, patient) = (format!("{} is called", text::plain(&name)), client.patient());
            let result = Progress::during(what, patient.any_json(request)).await?;
            text::json(&result)?;
        }
    }
    Ok(Exit::Completed)
}

fn plugins(page: &Value) -> std::io::Result<()> {
    let screen = Screen::of_output();
    let row = |plugin: &Value| {
        let [name, version, description] = ["name", "version", "description"].map(|key| text::cell(&plugin[key]));
        vec![Cell::from(name), version.into(), text::digest(&plugin["digest"], &screen).into(), description.into()]
    };
    let columns = [
        Column::whole("NAME"),
        Column::whole("VERSION"),
        Column::whole("DIGEST").spare(),
        Column::cut("DESCRIPTION", 16).spare(),
    ];
    text::table(&columns, &items(page).map(row).collect::<Vec<_>>(), &screen)
}

/// The tools of a node, each with how its provider is.
fn tools(page: &Value) -> std::io::Result<()> {
    let screen = Screen::of_output();
    let row = |tool: &Value| {
        let [name, provider, repeat, cost, description] =
            ["name", "provider", "repeat", "cost_usd", "description"].map(|key| text::cell(&tool[key]));
        let providers = page["providers"].as_array();
        let of = providers.into_iter().flatten().find(|known| known["name"] == tool["provider"]);
        let state = of.map(|known| text::cell(&known["state"])).unwrap_or_default();
        let meaning = if matches!(state.as_str(), "" | "connected") { Meaning::Plain } else { Meaning::Bad };
        let effects: Vec<String> = tool["effects"].as_array().into_iter().flatten().map(text::cell).collect();
        vec![
            Cell::from(name),
            provider.into(),
            Cell::new(state, meaning),
            repeat.into(),
            cost.into(),
            effects.join(", ").into(),
            description.into(),
        ]
    };
    let columns = [
        Column::whole("NAME"),
        Column::cut("PROVIDER", 8),
        Column::whole("STATE"),
        Column::whole("REPEAT").spare(),
        Column::whole("COST_USD").spare(),
        Column::cut("EFFECTS", 12).spare(),
        Column::cut("DESCRIPTION", 16).spare(),
    ];
    text::table(&columns, &items(page).map(row).collect::<Vec<_>>(), &screen)
}
