//! `sortie doctor`: is everything well, and if not, what to do.
//!
//! It is run before there is a node, to see whether there could be one, and beside one that runs. It never opens the journal,
//! which belongs to the node, and changes nothing.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use sortie_contract::Timestamp;
use sortie_contract::plugin::PluginRef;
use sortie_tools::Registry;

use super::client::Client;
use super::{Exit, Failure, text};
use crate::builtin;
use crate::config::Config;
use crate::node::system;

/// Free space below which the journal is in danger, in bytes.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    well: bool,
    says: String,
}

impl Finding {
    fn new(what: &'static str, outcome: Result<String, String>) -> Self {
        let well = outcome.is_ok();
        Self { what, well, says: outcome.unwrap_or_else(|says| says) }
    }
}

/// A node that was asked.
enum Asked<'a> {
    /// It answered.
    There(&'a Client, Value),
    /// Nothing answers there, or it is not known with which token to ask.
    NotRunning(String),
    /// Something answers, but not as it should.
    Odd(String),
}

/// `client` is how to ask the node; none where that is not known, as before its first start.
pub(super) async fn doctor<'a>(
    config: &Config,
    client: impl Into<Option<&'a Client>>,
    as_json: bool,
) -> Result<Exit, Failure> {
    let data_dir = config.data_dir().map_err(Failure::unusable)?;
    let asked = ask(client.into(), &data_dir).await;
    let mut findings = vec![
        Finding::new("configuration", configuration(config)),
        Finding::new("secrets", secrets(config).await),
        Finding::new("data directory", writable(&data_dir)),
        Finding::new("disk", space(&data_dir)),
        Finding::new("clock", clock(system().wall())),
    ];
    match asked {
        Asked::There(client, node) => {
            findings.push(Finding::new("node", Ok(described(&node))));
            findings.push(Finding::new("room", room(&node)));
            findings.push(Finding::new("plugins", plugins(config, client).await));
            findings.push(Finding::new("callbacks", callbacks(client).await));
        }
        Asked::NotRunning(says) => {
            findings.push(Finding::new("address", listenable(&config.node.listen).await));
            findings.push(Finding::new("plugins", plugins_to_be(config, &data_dir)));
            findings.push(Finding::new("node", Ok(says)));
        }
        Asked::Odd(says) => findings.push(Finding::new("node", Err(says))),
    }
    let well = findings.iter().all(|finding| finding.well);
    if as_json {
        let view = |finding: &Finding| json!({"what": finding.what, "well": finding.well, "says": finding.says});
        text::json(&json!({"well": well, "findings": findings.iter().map(view).collect::<Vec<_>>()}))?;
    } else {
        for Finding { what, well, says } in &findings {
            writeln!(std::io::stdout(), "{}  {what}: {}", if *well { "ok  " } else { "look" }, text::plain(says))?;
        }
    }
    Ok(if well { Exit::Completed } else { Exit::Failed })
}

async fn ask<'a>(client: Option<&'a Client>, data_dir: &Path) -> Asked<'a> {
    let Some(client) = client else {
        return Asked::NotRunning(format!("not running: there is no token in {} yet", data_dir.display()));
    };
    match client.request(reqwest::Method::GET, &["v1", "node"]).send().await {
        Err(error) if error.is_connect() => Asked::NotRunning("not running; `sortie serve` starts it".to_owned()),
        Err(error) => Asked::Odd(with_causes(&error)),
        Ok(_) => match client.get(&["v1", "node"]).await {
            Ok(node) => Asked::There(client, node),
            Err(failure) => Asked::Odd(failure.error.to_string()),
        },
    }
}

/// Whether `sortie serve` would take the configuration: what it does with it before it opens the journal.
fn configuration(config: &Config) -> Result<String, String> {
    let tools = Registry::new(config.tool.clone()).map_err(|error| with_causes(&error));
    let rules = tools.and_then(|tools| crate::node::rules(config, &tools).map_err(|error| with_causes(&error)));
    let checked = [
        rules.map(drop),
        config.plugins().map(drop).map_err(|error| with_causes(&error)),
        config.retention().map(drop).map_err(|error| with_causes(&error)),
        config.request_expiry().map(drop).map_err(|error| with_causes(&error)),
        config.tokens().map(drop).map_err(|error| with_causes(&error)),
        config.callback.examine().map_err(|error| with_causes(&error)),
    ];
    let wrong: Vec<String> = checked.into_iter().filter_map(Result::err).collect();
    if wrong.is_empty() { Ok("it can be used".to_owned()) } else { Err(wrong.join("; ")) }
}

async fn secrets(config: &Config) -> Result<String, String> {
    let Ok(missing) = config.callback.unavailable_secrets().await else {
        return Ok("not looked at: [callback] is wrong".to_owned());
    };
    if missing.is_empty() {
        return Ok("all of [callback] can be read".to_owned());
    }
    let told: Vec<String> = missing.iter().map(|(_, error)| with_causes(error)).collect();
    Err(format!("{}; deliveries that need them wait", told.join("; ")))
}

async fn listenable(listen: &str) -> Result<String, String> {
    match tokio::net::TcpListener::bind(listen).await {
        Ok(_) => Ok(format!("{listen} can be listened on")),
        Err(error) => Err(format!("cannot listen on {listen}: {error}")),
    }
}

/// The nearest folder above that is there: where `sortie serve` would make the others.
fn nearest(data_dir: &Path) -> Option<&Path> {
    let found = data_dir.ancestors().find(|folder| folder.exists())?;
    Some(if found.as_os_str().is_empty() { Path::new(".") } else { found })
}

fn writable(data_dir: &Path) -> Result<String, String> {
    let wrong =
        |folder: &Path, error| Err(format!("{} cannot be written: {error}; see its owner and mode", folder.display()));
    if data_dir.exists() {
        return match tempfile::tempfile_in(data_dir) {
            Ok(_) => Ok(format!("{} can be written", data_dir.display())),
            Err(error) => wrong(data_dir, error),
        };
    }
    let parent = nearest(data_dir).unwrap_or(Path::new("."));
    match tempfile::tempfile_in(parent) {
        Ok(_) => Ok(format!("{} is not there yet; `sortie serve` makes it", data_dir.display())),
        Err(error) => wrong(parent, error),
    }
}

fn space(data_dir: &Path) -> Result<String, String> {
    let folder = nearest(data_dir).unwrap_or(Path::new("."));
    let stat = rustix::fs::statvfs(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let says = format!("{} MiB are free", free >> 20);
    if free >= FREE_BYTES_MIN {
        Ok(says)
    } else {
        Err(format!("{says}: make room, the node stops when the journal finds none"))
    }
}

/// A clock before the program was written is wrong, and every window with it.
fn clock(now: Timestamp) -> Result<String, String> {
    let earliest: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    if now > earliest {
        Ok(format!("it is {now}"))
    } else {
        Err(format!("it says {now}: set it, or windows mean nothing"))
    }
}

fn described(node: &Value) -> String {
    let [id, version, state, queued, running] =
        ["instance_id", "version", "state", "queued", "running"].map(|key| text::cell(&node[key]));
    format!("{id}, version {version}, {state}; {running} missions running, {queued} waiting")
}

/// Whether the node has what it needs of connections and of its disk.
fn room(node: &Value) -> Result<String, String> {
    let number = |pointer: &str| node.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let (open, places) = (number("/connections/open"), number("/connections/places"));
    let (displaced, refused) = (number("/connections/displaced"), number("/connections/refused"));
    let (free, reserve) = (number("/disk/free_mib"), number("/disk/reserve_mib"));
    let says = format!("{open} of {places} connections, {free} MiB on its disk");
    let mut wrong = Vec::new();
    if free < reserve {
        wrong.push(format!("it takes no missions until there are {reserve} MiB: make room"));
    } else if free < reserve.saturating_mul(2) {
        wrong.push(format!("missions write no files until there are {} MiB: make room", reserve.saturating_mul(2)));
    }
    if displaced + refused > 0 {
        wrong.push(format!(
            "since its start {displaced} connections lost their place and {refused} requests found none: see who connects, or raise \
             the limit of open files"
        ));
    }
    if wrong.is_empty() { Ok(says) } else { Err(format!("{says}; {}", wrong.join("; "))) }
}

async fn plugins(config: &Config, client: &Client) -> Result<String, String> {
    let page = client.get(&["v1", "plugins"]).await.map_err(|failure| failure.error.to_string())?;
    let installed = page["items"].as_array().into_iter().flatten();
    let installed = installed.map(|item| (text::cell(&item["name"]), Some(text::cell(&item["version"]))));
    named(config, &installed.collect())
}

/// The plugins that a node would have.
fn plugins_to_be(config: &Config, data_dir: &Path) -> Result<String, String> {
    let carried = builtin::EMBEDDED.iter().map(|(name, _)| ((*name).to_owned(), None));
    // As the plugin store keeps them: `DIGEST.json` says what is installed.
    let installed = std::fs::read_dir(data_dir.join("plugins")).into_iter().flatten().flatten().filter_map(|entry| {
        let is_entry = entry.path().extension().is_some_and(|end| end == "json");
        let text = is_entry.then(|| std::fs::read(entry.path()).ok()).flatten()?;
        let identity = serde_json::from_slice::<Value>(&text).ok()?["identity"].take();
        Some((text::cell(&identity["name"]), Some(text::cell(&identity["version"]))))
    });
    named(config, &carried.chain(installed).collect())
}

/// Plugins by name and version; without one, any will do.
type Plugins = BTreeSet<(String, Option<String>)>;

/// Whether there is every plugin that `[plugin]` names.
fn named(config: &Config, there: &Plugins) -> Result<String, String> {
    if there.is_empty() {
        return Err("none are installed: `sortie plugin install FILE`".to_owned());
    }
    let is_there = |wanted: &PluginRef| {
        there.iter().any(|(name, version)| {
            *name == wanted.name && (wanted.version.is_none() || version.is_none() || *version == wanted.version)
        })
    };
    let missing = config.plugin.iter().filter(|(_, text)| text.parse().is_ok_and(|wanted| !is_there(&wanted)));
    let missing: Vec<String> = missing.map(|(key, text)| format!("`{text}` (plugin.{key})")).collect();
    if missing.is_empty() {
        let names: BTreeSet<&str> = there.iter().map(|(name, _)| name.as_str()).collect();
        Ok(names.into_iter().collect::<Vec<_>>().join(", "))
    } else {
        Err(format!("{} not installed: `sortie plugin install FILE`", missing.join(", ")))
    }
}

async fn callbacks(client: &Client) -> Result<String, String> {
    let request = client.request(reqwest::Method::GET, &["v1", "deliveries"]).query(&[("state", "parked")]);
    let page = client.json(request).await.map_err(|failure| failure.error.to_string())?;
    let parked: Vec<String> =
        page["items"].as_array().into_iter().flatten().map(|item| text::cell(&item["mission_id"])).collect();
    if parked.is_empty() {
        return Ok("none are parked".to_owned());
    }
    Err(format!("parked for {}: mend the receiver, then POST /v1/deliveries/MISSION/redeliver", parked.join(", ")))
}

/// An error with its causes, on one line.
fn with_causes(error: &dyn Error) -> String {
    let mut says = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        says.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    says
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).expect("TOML of this form")
    }

    #[test]
    fn what_a_node_would_refuse_is_found() {
        for (text, expected) in [
            ("[tool.Nope]", "Nope"),
            ("[tool.WebFetch]\nhosts = [\"http://example.org/x\"]", "hosts"),
            ("[callback]\nattempts = 0", "attempts"),
            ("[callback]\nsigning_secret = \"whsec_abc\"", "signing_secret"),
            ("[[callback.secret]]\nref = \"env://A\"\nhosts = []", "hosts"),
            ("[[token]]\nname = \"hq\"\nref = \"env://SORTIE_NOT_SET\"\nscopes = []", "SORTIE_NOT_SET"),
            ("[[lane]]\nid = \"a\"\nconcurrency = 0", "lane.concurrency"),
            ("[limits]\nmax_cost_usd = -1.0", "max_cost_usd"),
        ] {
            let says = configuration(&config(text)).expect_err(text);
            assert!(says.contains(expected) && !says.contains("whsec_abc"), "{text}: {says}");
        }
        assert_eq!(configuration(&Config::default()), Ok("it can be used".to_owned()));
    }

    #[test]
    fn a_node_that_runs_out_of_something_is_told() {
        let node = |free: u64, displaced: u64| {
            json!({
                "connections": {"open": 3, "places": 8, "displaced": displaced, "refused": 0},
                "disk": {"free_mib": free, "reserve_mib": 256},
            })
        };
        assert!(room(&node(512, 0)).is_ok());
        for (node, expected) in [
            (node(511, 0), "write no files until there are 512 MiB"),
            (node(255, 0), "takes no missions until there are 256 MiB"),
            (node(512, 2), "2 connections lost their place"),
        ] {
            let says = room(&node).expect_err(expected);
            assert!(says.contains(expected), "{says}");
        }
    }

    #[tokio::test]
    async fn secrets_that_are_not_there_are_found() {
        for text in [
            "[callback]\nsigning_secret = \"env://SORTIE_NOT_SET\"",
            "[[callback.secret]]\nref = \"env://SORTIE_NOT_SET\"\nhosts = [\"a.example\"]",
        ] {
            let says = secrets(&config(text)).await.expect_err(text);
            assert!(says.contains("SORTIE_NOT_SET"), "{says}");
        }
        assert!(secrets(&Config::default()).await.is_ok());
    }

    #[test]
    fn plugins_that_are_not_there_are_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let says = |text: &str| plugins_to_be(&config(text), dir.path());
        assert_eq!(says(""), Ok("automation, briefing, hello".to_owned()), "their own names, as a node lists them");
        assert!(says("[plugin]\nautomation = \"automation\"").is_ok());
        let missing = says("[plugin]\nautomation = \"nope\"").expect_err("not there");
        assert!(missing.contains("`nope` (plugin.automation)"), "{missing}");
        std::fs::create_dir(dir.path().join("plugins")).expect("a folder");
        let entry = r#"{"identity": {"name": "nope", "version": "1.0.0"}}"#;
        std::fs::write(dir.path().join("plugins/0.json"), entry).expect("written");
        assert!(says("[plugin]\nautomation = \"nope@1.0.0\"").is_ok());
        assert!(says("[plugin]\nautomation = \"nope@2.0.0\"").is_err());
    }

    #[tokio::test]
    async fn before_the_first_start_there_is_nothing_to_complain_of() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut config = config("[node]\nlisten = \"127.0.0.1:0\"");
        config.node.data_dir = Some(dir.path().join("a/b"));
        let exit = doctor(&config, None, true).await.map_err(|failure| failure.error.to_string());
        assert_eq!(exit, Ok(Exit::Completed));
    }
}
