//! `sortie doctor`: is everything well, and if not, what to do.

use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use sortie_contract::Timestamp;

use super::client::Client;
use super::{Exit, Failure, text};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;

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

pub(super) async fn doctor(config: &Config, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let data_dir = config.data_dir().map_err(Failure::unusable)?;
    let node = client.get(&["v1", "node"]).await;
    let mut findings = vec![
        Finding::new("configuration", Ok("it can be used".to_owned())),
        Finding::new("data directory", writable(&data_dir)),
        Finding::new("disk", space(&data_dir)),
        Finding::new("clock", clock(SystemClock::new().wall())),
        Finding::new("node", node.as_ref().map(described).map_err(|failure| failure.error.to_string())),
    ];
    if node.is_ok() {
        findings.push(Finding::new("plugins", plugins(client).await));
        findings.push(Finding::new("callbacks", callbacks(client).await));
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

fn writable(data_dir: &Path) -> Result<String, String> {
    match tempfile::tempfile_in(data_dir) {
        Ok(_) => Ok(format!("{} can be written", data_dir.display())),
        Err(error) if !data_dir.exists() => {
            Err(format!("{} is not there yet ({error}); `sortie serve` makes it", data_dir.display()))
        }
        Err(error) => Err(format!("{} cannot be written: {error}; see its owner and mode", data_dir.display())),
    }
}

fn space(data_dir: &Path) -> Result<String, String> {
    let stat = rustix::fs::statvfs(data_dir).map_err(|error| format!("{}: {error}", data_dir.display()))?;
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

async fn plugins(client: &Client) -> Result<String, String> {
    let page = client.get(&["v1", "plugins"]).await.map_err(|failure| failure.error.to_string())?;
    let names: Vec<String> =
        page["items"].as_array().into_iter().flatten().map(|item| text::cell(&item["name"])).collect();
    if names.is_empty() {
        Err("none are installed: `sortie plugin install FILE`".to_owned())
    } else {
        Ok(names.join(", "))
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
