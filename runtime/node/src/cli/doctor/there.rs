//! What `sortie doctor` is told by a node that answers.

use std::time::Duration;

use reqwest::Url;
use serde_json::Value;
use sortie_contract::plugin::PluginRef;
use tokio::time::timeout;

use super::here::named;
use super::{Finding, taken_by};
use crate::cli::client::Client;
use crate::cli::{Failure, text};
use crate::config::Config;
use crate::http::meant;

/// How long whoever answers where a node says that it is may think.
const ADVERTISED: Duration = Duration::from_secs(5);

/// Looks. `config` is the node's own configuration, where it is known.
pub(super) async fn look(node: &Value, client: &Client, config: Option<&Config>) -> Vec<Finding> {
    let mut findings = vec![
        Finding::new("node", Ok(described(node))),
        Finding::new("state", state(node)),
        Finding::new("missions", missions(node)),
        Finding::new("ready", ready(client).await),
        Finding::new("room", room(node)),
        Finding::new("plugins", plugins(config, client).await),
        Finding::new("callbacks", callbacks(client).await),
    ];
    findings.extend(node["not_shared"].as_str().map(|why| Finding::new("pools", Err(not_shared(why)))));
    findings.extend(advertised(client).await);
    findings.extend(channels(client).await);
    findings.extend(node["dialects"].as_array().into_iter().flatten().map(|one| Finding::new("dialect", dialect(one))));
    findings.extend(node["providers"].as_array().into_iter().flatten().map(|one| Finding::new("tools", provider(one))));
    findings
}

fn described(node: &Value) -> String {
    let [id, version, zones] = ["instance_id", "version", "zone_data"].map(|key| text::cell(&node[key]));
    format!("{id}, version {version}, zones as of {zones}; {}", counted(node))
}

/// Whether an older dialect of the control plane is heard.
fn dialect(one: &Value) -> Result<String, String> {
    let [name, address, since] = ["name", "address", "since"].map(|key| text::cell(&one[key]));
    if one["connected"].as_bool() == Some(true) {
        let heard = format!("{name} {address}: heard since {since}");
        return match one["error"].as_str() {
            None => Ok(heard),
            Some(why) => Err(format!("{heard}; but {why}")),
        };
    }
    let why = one["error"].as_str().unwrap_or("nothing was tried yet");
    Err(format!("{name} {address}: not heard: {why}; missions go on, and it is tried again"))
}

/// How many missions there are that are not over. A node of an older version tells less.
fn counted(node: &Value) -> String {
    let count = |key: &str| node[key].as_u64();
    let told = [
        (count("running"), "missions running"),
        (count("queued"), "waiting for their turn"),
        (count("suspended"), "waiting out of memory"),
        (
            count("blocked").filter(|blocked| *blocked > 0),
            "of all of them waiting for people: `sortie requests` has what is asked",
        ),
    ];
    let told = told.into_iter().filter_map(|(count, what)| Some(format!("{} {what}", count?)));
    told.collect::<Vec<_>>().join(", ")
}

/// Whether the others reach it where it says, if several write its store: what answers there has to say that it is the one that is meant.
async fn advertised(client: &Client) -> Option<Finding> {
    // A node of an older version has none.
    let page = client.page(&["v1", "nodes"], &[]).await.ok()?;
    let me = page["items"].as_array()?.iter().find(|node| node["is_this"] == true)?;
    let (node, url) = (me["node"].as_str()?, me["url"].as_str()?);
    let address = Url::parse(url).ok()?.join("/v1/node").ok()?;
    let asked = timeout(ADVERTISED, client.bare(address).header(meant::MEANT, node).send()).await;
    Some(match asked {
        Ok(Ok(answer)) => {
            let is_it = answer.headers().get(meant::FROM).is_some_and(|from| from.as_bytes() == node.as_bytes());
            Finding::new("advertise", if is_it { Ok(format!("{url} reaches it")) } else { Err(wrong(url)) })
        }
        Ok(Err(_)) | Err(_) => {
            let says =
                format!("{url} cannot be reached from here; the other nodes of its store have to reach it there");
            Finding::note("advertise", says)
        }
    })
}

fn wrong(url: &str) -> String {
    format!(
        "what answers at {url} is not this node, so that the others can send nothing on to it: set `[node] advertise` to where they reach it"
    )
}

/// Whether it starts missions.
fn state(node: &Value) -> Result<String, String> {
    match node["state"].as_str() {
        Some("serving") => Ok("serving".to_owned()),
        Some("paused") if !node["restored"].is_null() => {
            let [taken, unfinished] = ["taken_at", "unfinished"].map(|key| text::cell(&node["restored"][key]));
            Err(format!(
                "held since it was restored from a backup of {taken}: it starts, delivers and fires nothing. {unfinished} missions had \
                 not ended then, and do again what they did since; look at them, cancel what was done (`sortie ls`, `sortie cancel`), \
                 then `sortie node resume`"
            ))
        }
        Some("paused") => {
            Err("paused: it takes missions and starts none; `sortie node resume` lets it go on".to_owned())
        }
        Some("stopping") => Err("stopping: it takes nothing any more".to_owned()),
        other => Err(format!("it says `{}`, which this version of sortie does not know", other.unwrap_or_default())),
    }
}

/// What keeps the nodes of a store from sharing out what they have together.
fn not_shared(why: &str) -> String {
    format!(
        "lanes and budgets are not shared out among the nodes of the store ({}): this one goes on with what it holds of them, and no more; \
         mend the database, it is asked again every second",
        text::plain(why)
    )
}

/// Whether all of them can be read.
fn missions(node: &Value) -> Result<String, String> {
    match node["quarantined"].as_u64().unwrap_or_default() {
        0 => Ok("all of them can be read".to_owned()),
        quarantined => Err(format!(
            "{quarantined} in quarantine, because what was recorded of them cannot be read: see the node's log and `sortie ls`, and \
             check the disk; a backup has their records"
        )),
    }
}

/// Whether it takes work, by its own word.
async fn ready(client: &Client) -> Result<String, String> {
    let says = |failure: Failure| failure.error.to_string();
    let answer = client.first(client.request(reqwest::Method::GET, &["readyz"])).await.map_err(says)?;
    if answer.status().is_success() {
        return Ok("it takes missions".to_owned());
    }
    let status = answer.status();
    let said = client.text(answer).await.map_err(says)?;
    Err(crate::cli::client::problem(status, &said))
}

/// Whether the node has what it needs of connections and of its disk.
fn room(node: &Value) -> Result<String, String> {
    let number = |pointer: &str| node.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let (open, places) = (number("/connections/open"), number("/connections/places"));
    let (displaced, refused) = (number("/connections/displaced"), number("/connections/refused"));
    let (free, reserve) = (number("/disk/free_mib"), number("/disk/reserve_mib"));
    let (warn, scarce) = (number("/disk/warn_mib"), node["disk"]["scarce"] == true);
    let kinds = node["space"].as_object().into_iter().flatten();
    let kinds: Vec<_> = kinds.filter_map(|(kind, bytes)| Some((kind.as_str(), bytes.as_u64()?))).collect();
    let says = format!("{open} of {places} connections, {free} MiB free on its disk{}", taken_by(&kinds));
    let mut wrong = Vec::new();
    if free < reserve {
        wrong.push(format!("it takes no missions until there are {reserve} MiB: make room"));
    } else if free < reserve.saturating_mul(2) {
        wrong.push(format!("missions write no files until there are {} MiB: make room", reserve.saturating_mul(2)));
    } else if scarce {
        wrong.push(format!(
            "less than {warn} MiB are free: make room before it stops taking missions, at {reserve} MiB"
        ));
    }
    if displaced + refused > 0 {
        wrong.push(format!(
            "since its start {displaced} connections lost their place and {refused} requests found none: see who connects, or raise \
             the limit of open files"
        ));
    }
    if wrong.is_empty() { Ok(says) } else { Err(format!("{says}; {}", wrong.join("; "))) }
}

/// Whether the tools of a provider can be called.
fn provider(provider: &Value) -> Result<String, String> {
    let [name, state, since, error] = ["name", "state", "since", "last_error"].map(|key| text::cell(&provider[key]));
    let tools = provider["tools"].as_u64().unwrap_or_default();
    if state != "connected" {
        let why = if provider["last_error"].is_null() { String::new() } else { format!(": {error}") };
        return Err(format!(
            "{name} is {state}, and out since {since}{why}; calls of its {tools} tools fail until it is back, and it is tried again"
        ));
    }
    let left_out: Vec<String> = provider["left_out"].as_array().into_iter().flatten().map(text::cell).collect();
    if left_out.is_empty() {
        return Ok(format!("{name}: {tools} tools"));
    }
    Err(format!("{name}: {tools} tools; left out: {}", left_out.join("; ")))
}

/// Whether it has the plugins that its configuration names, where that is known.
async fn plugins(config: Option<&Config>, client: &Client) -> Result<String, String> {
    let page = client.page(&["v1", "plugins"], &[]).await.map_err(|failure| failure.error.to_string())?;
    let installed = page["items"].as_array().into_iter().flatten();
    let installed = installed.map(|item| (text::cell(&item["name"]), Some(text::cell(&item["version"]))));
    // One that needs a model is there, if nothing is to be mended but that: and a node without a model is none that is broken.
    let unusable = page["unusable"].as_array().into_iter().flatten().map(|item| text::cell(&item["plugin"]));
    let unusable: Vec<String> = unusable.collect();
    let there = unusable.iter().filter_map(|plugin| plugin.parse::<PluginRef>().ok());
    let there = installed.chain(there.map(|plugin| (plugin.name, plugin.version)));
    let says = named(config.unwrap_or(&Config::default()), &there.collect())?;
    Ok(if unusable.is_empty() {
        says
    } else {
        format!("{says}; without a model these run no mission: {}", unusable.join(", "))
    })
}

/// Each channel by which people are told: one that fails is told before somebody waits for its message.
async fn channels(client: &Client) -> Vec<Finding> {
    // A node of an older version has none.
    let Ok(page) = client.page(&["v1", "notify"], &[]).await else { return Vec::new() };
    page["items"].as_array().into_iter().flatten().map(|one| Finding::new("notify", channel(one))).collect()
}

fn channel(channel: &Value) -> Result<String, String> {
    let [name, form, owed, since, error] =
        ["name", "form", "owed", "failing_since", "error"].map(|key| text::cell(&channel[key]));
    match channel["failed_attempts"].as_u64().unwrap_or_default() {
        0 => Ok(format!("{name} ({form}): well; `sortie notify test {name}` tries it")),
        attempts => Err(format!(
            "{name} ({form}) has failed {attempts} times since {since}: {error}; {owed} things wait to be told, and it is tried again"
        )),
    }
}

async fn callbacks(client: &Client) -> Result<String, String> {
    let parked = [("state", "parked".to_owned())];
    let page = client.page(&["v1", "deliveries"], &parked).await.map_err(|failure| failure.error.to_string())?;
    let parked: Vec<String> =
        page["items"].as_array().into_iter().flatten().map(|item| text::cell(&item["mission_id"])).collect();
    if parked.is_empty() {
        return Ok("none are parked".to_owned());
    }
    Err(format!("parked for {}: mend the receiver, then `sortie redeliver MISSION`", parked.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_that_starts_nothing_is_not_well() {
        assert!(state(&json!({"state": "serving"})).is_ok());
        for (node, expected) in [
            (json!({"state": "paused"}), "resume"),
            (json!({"state": "stopping"}), "takes nothing"),
            (json!({"state": "dreaming"}), "`dreaming`"),
        ] {
            let says = state(&node).expect_err(expected);
            assert!(says.contains(expected), "{says}");
        }
    }

    #[test]
    fn a_dialect_that_is_heard_is_well_unless_something_of_it_fails() {
        let of = |connected: bool, error: Value| {
            dialect(&json!({"name": "redis", "address": "jobs", "connected": connected, "since": null, "error": error}))
        };
        assert!(of(true, Value::Null).is_ok());
        let says = of(true, json!("`dead` does not take dead letters")).expect_err("something fails");
        assert!(says.contains("heard since") && says.ends_with("but `dead` does not take dead letters"), "{says}");
        assert!(of(false, json!("away")).expect_err("it is away").contains("not heard: away"));
    }

    #[test]
    fn missions_that_wait_are_counted_wherever_they_wait() {
        for (node, expected) in [
            (
                json!({"running": 1, "queued": 2, "suspended": 3, "blocked": 4}),
                "1 missions running, 2 waiting for their turn, 3 waiting out of memory, 4 of all of them waiting for people: `sortie requests` has what is asked",
            ),
            (
                json!({"running": 0, "queued": 0, "suspended": 3, "blocked": 0}),
                "0 missions running, 0 waiting for their turn, 3 waiting out of memory",
            ),
            (json!({"running": 1, "queued": 2}), "1 missions running, 2 waiting for their turn"),
        ] {
            assert_eq!(counted(&node), expected);
        }
    }

    #[test]
    fn missions_that_cannot_be_read_are_told() {
        assert!(missions(&json!({"quarantined": 0})).is_ok());
        let says = missions(&json!({"quarantined": 3})).expect_err("some cannot");
        assert!(says.starts_with("3 in quarantine"), "{says}");
    }

    #[test]
    fn a_provider_that_is_out_or_whose_tools_cannot_be_taken_is_told() {
        let one = |state: &str, error: Value, left_out: Value| {
            let since = "2026-11-25T02:00:00Z";
            json!({
                "name": "github", "state": state, "since": since, "last_error": error, "tools": 3, "left_out": left_out
            })
        };
        assert_eq!(provider(&one("connected", json!("long ago"), json!([]))), Ok("github: 3 tools".to_owned()));
        for (provided, expected) in [
            (
                one("failed", json!("exit code 1"), json!([])),
                "github is failed, and out since 2026-11-25T02:00:00Z: exit code 1",
            ),
            (
                one("connecting", Value::Null, json!([])),
                "github is connecting, and out since 2026-11-25T02:00:00Z; calls",
            ),
            (one("connected", Value::Null, json!(["`a`: taken"])), "left out: `a`: taken"),
        ] {
            let says = provider(&provided).expect_err(expected);
            assert!(says.contains(expected), "{says}");
        }
    }

    #[test]
    fn a_channel_that_fails_is_told() {
        let one = |attempts: u64| {
            json!({
                "name": "night", "form": "slack", "owed": 3, "failed_attempts": attempts,
                "failing_since": "2026-11-27T02:00:00Z", "error": "the receiver answered 404",
            })
        };
        assert!(channel(&one(0)).is_ok());
        let says = channel(&one(7)).expect_err("it fails");
        assert!(says.contains("7 times since 2026-11-27T02:00:00Z: the receiver answered 404; 3 things"), "{says}");
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
        let mut scarce = node(900, 0);
        (scarce["disk"]["warn_mib"], scarce["disk"]["scarce"]) = (json!(1_024), json!(true));
        scarce["space"] =
            json!({"measured_at": "2026-11-27T01:02:03Z", "artifacts": 3 << 20, "journal": 5 << 20, "other": 7});
        let says = room(&scarce).expect_err("it is warned");
        assert!(says.contains("less than 1024 MiB are free") && says.contains("journal 5"), "{says}");
        assert!(says.contains("artifacts 3") && !says.contains("other"), "{says}");
        for (node, expected) in [
            (node(511, 0), "write no files until there are 512 MiB"),
            (node(255, 0), "takes no missions until there are 256 MiB"),
            (node(512, 2), "2 connections lost their place"),
        ] {
            let says = room(&node).expect_err(expected);
            assert!(says.contains(expected), "{says}");
        }
    }
}
