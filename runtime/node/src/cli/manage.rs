//! `sortie plugin …` and `sortie tool …`.

use std::io::Write as _;

use clap::Subcommand;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use sortie_contract::plugin::PluginRef;

use super::client::Client;
use super::distribute::{self, InstallArgs, PushArgs};
use super::look::items;
use super::manifest::manifest;
use super::text::{self, Cell, Column, Meaning, Progress, Screen};
use super::{Exit, Failure};
use crate::config::Config;

/// What to do with plugins.
#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    #[command(flatten)]
    Author(super::author::AuthorCommand),
    /// List installed plugins: versions, who signed them, which missions hold them.
    Ls,
    /// Show a plugin's versions: where each came from, who signed it, which missions hold it.
    Show {
        /// Its name.
        #[arg(value_parser = plugin_name, add = super::complete::plugins())]
        name: String,
    },
    /// Install a plugin: a component, or a core module that carries its component type.
    Install(InstallArgs),
    /// Push a plugin to a registry, with its signature.
    Push(PushArgs),
    /// Remove a plugin; what missions have that are not over is not removed without --force.
    Rm {
        /// Its name.
        #[arg(value_parser = removed_name, add = super::complete::plugins())]
        name: String,
        /// Only this version.
        #[arg(long)]
        version: Option<String>,
        /// Also where missions that are not over run on it: no other can begin on it, and they keep it.
        #[arg(long)]
        force: bool,
    },
    /// Remove the versions that nobody needs any more: replaced by a newer one, and named or held by nobody.
    Gc {
        /// Say what would go, and remove nothing.
        #[arg(long)]
        dry_run: bool,
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
            Err(format!("a plugin's name stands without a version: `{name}`, and not `{name}@{version}`"))
        }
        Err(_) => Err("a plugin's name is made of a-z, 0-9 and `-`, and stands without a version".to_owned()),
    }
}

/// The same of one that is to be removed, which may be one version of it.
fn removed_name(text: &str) -> Result<String, String> {
    match text.parse() {
        Ok(PluginRef { name, version: Some(version) }) => {
            Err(format!("a version is named apart: `sortie plugin rm {name} --version {version}`"))
        }
        _ => plugin_name(text).map_err(|why| format!("{why}; a version is named with --version")),
    }
}

pub(super) async fn plugin(
    command: PluginCommand,
    client: impl FnOnce() -> Result<Client, Failure>,
    config: &Config,
    as_json: bool,
) -> Result<Exit, Failure> {
    match command {
        PluginCommand::Push(args) => distribute::push_plugin(&args, config, as_json).await,
        PluginCommand::Author(command) => super::author::author(command, client, as_json).await,
        command => installed(command, &client()?, as_json).await,
    }
}

async fn installed(command: PluginCommand, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    match command {
        // Those need no node.
        PluginCommand::Author(_) | PluginCommand::Push(_) => {}
        PluginCommand::Ls => {
            let page = client.page(&["v1", "plugins"], &[("held", "true".to_owned())]).await?;
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
        PluginCommand::Show { name } => {
            let page = client.page(&["v1", "plugins", &name], &[("held", "true".to_owned())]).await?;
            if as_json {
                text::json(&page)?;
            } else {
                for version in items(&page) {
                    shown(version)?;
                }
            }
        }
        PluginCommand::Install(args) => {
            // A slip of the pen (the version was not raised) is nothing to refuse, and nothing to keep quiet about.
            let before = client.page(&["v1", "plugins"], &[]).await.unwrap_or_default();
            let installed = distribute::install(&args, client).await?;
            if let Some(told) = replaced(&before, &installed) {
                writeln!(std::io::stderr(), "{told}")?;
            }
            if as_json {
                text::json(&installed)?;
            } else {
                let [name, version, digest] = ["name", "version", "digest"].map(|key| text::cell(&installed[key]));
                writeln!(std::io::stdout(), "{name}@{version}  {digest}")?;
                for told in manifest(&installed).into_iter().chain(vouched(&installed)) {
                    writeln!(std::io::stdout(), "  {told}")?;
                }
            }
        }
        PluginCommand::Gc { dry_run } => {
            let request = client.request(Method::POST, &["v1", "plugin-gc"]);
            let request = if dry_run { request.query(&[("dry_run", "true")]) } else { request };
            let collected = client.patient().json(request, "removed").await?;
            if as_json {
                text::json(&collected)?;
            } else {
                gone(&collected, dry_run)?;
            }
        }
        PluginCommand::Rm { name, version, force } => {
            let request = client.request(Method::DELETE, &["v1", "plugins", &name]);
            let request = request.query(&version.map(|version| [("version", version)]));
            let request = if force { request.query(&[("force", "true")]) } else { request };
            let answer = client.send(request).await?;
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

/// A version of a plugin, with all that is known of it.
fn shown(plugin: &Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let [name, version, digest, description] =
        ["name", "version", "digest", "description"].map(|key| text::cell(&plugin[key]));
    writeln!(out, "{name}@{version}  {digest}")?;
    writeln!(out, "  {description}")?;
    for told in manifest(plugin).into_iter().chain(vouched(plugin)).chain(holders(plugin)) {
        writeln!(out, "  {told}")?;
    }
    Ok(())
}

/// That another build of the same version was there, where one was.
fn replaced(before: &Value, installed: &Value) -> Option<String> {
    let is_same = |plugin: &&Value, key: &str| plugin[key] == installed[key];
    let other = items(before)
        .find(|plugin| is_same(plugin, "name") && is_same(plugin, "version") && !is_same(plugin, "digest"))?;
    let [name, version, digest] = ["name", "version", "digest"].map(|key| text::cell(&other[key]));
    Some(format!(
        "it replaces another build of {name}@{version} ({digest}): new missions get this one, and those that were accepted before keep theirs"
    ))
}

/// Where it came from, and who stands for it.
fn vouched(plugin: &Value) -> Vec<String> {
    let [source, installed_at] = ["source", "installed_at"].map(|key| text::cell(&plugin[key]));
    let since = if installed_at.is_empty() { String::new() } else { format!(", {installed_at}") };
    let from = (!source.is_empty()).then(|| format!("from: {source}{since}"));
    let signed = &plugin["signed"];
    let [name, key, comment] = ["name", "key", "comment"].map(|part| text::cell(&signed[part]));
    let signed = signed.is_object().then(|| format!("signed by: {name} ({key}): {comment}"));
    let aside = plugin["aside"].as_str().map(|why| format!("set aside: {}", text::plain(why)));
    from.into_iter().chain(signed).chain(aside).collect()
}

/// Which missions hold it.
fn holders(plugin: &Value) -> Vec<String> {
    let held = &plugin["held"];
    let told = held_by(held);
    let missions: Vec<String> = held["missions"].as_array().into_iter().flatten().map(text::cell).collect();
    let first = (!told.is_empty()).then(|| format!("held by: {told}"));
    let named = (!missions.is_empty()).then(|| format!("not over: {}", missions.join(", ")));
    first.into_iter().chain(named).collect()
}

/// What was collected, and why the rest was not.
fn gone(collected: &Value, is_tried: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let what = if is_tried { "would go" } else { "removed" };
    for plugin in collected["removed"].as_array().into_iter().flatten() {
        writeln!(out, "{what}  {}  {}", text::cell(&plugin["plugin"]), text::cell(&plugin["digest"]))?;
    }
    for plugin in collected["kept"].as_array().into_iter().flatten() {
        writeln!(out, "stays  {}  {}", text::cell(&plugin["plugin"]), text::cell(&plugin["why"]))?;
    }
    Ok(())
}

/// How many missions hold it, and how they stand.
fn held_by(held: &Value) -> String {
    let counted = ["running", "waiting", "kept"].map(|how| (held[how].as_u64().unwrap_or(0), how));
    let told: Vec<String> =
        counted.into_iter().filter(|(count, _)| *count > 0).map(|(count, how)| format!("{count} {how}")).collect();
    told.join(", ")
}

fn plugins(page: &Value) -> std::io::Result<()> {
    let screen = Screen::of_output();
    let row = |plugin: &Value| {
        let [name, version, description] = ["name", "version", "description"].map(|key| text::cell(&plugin[key]));
        let signed = match (&plugin["signed"]["name"], plugin["source"].as_str()) {
            (Value::Null, Some("carried")) => "carried".to_owned(),
            (name, _) => text::cell(name),
        };
        vec![
            Cell::from(name),
            version.into(),
            text::digest(&plugin["digest"], &screen).into(),
            signed.into(),
            held_by(&plugin["held"]).into(),
            description.into(),
        ]
    };
    let columns = [
        Column::whole("NAME"),
        Column::whole("VERSION"),
        Column::whole("DIGEST").spare(),
        Column::cut("SIGNED", 8).spare(),
        Column::cut("HELD BY", 8).spare(),
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
