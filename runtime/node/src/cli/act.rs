//! `cancel`, `redeliver`, `skip`, `fork`: what is done to one mission, or to all that fit a search.

use std::io::Write as _;

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::look::items;
use super::text::{self, Progress};
use super::{Exit, Failure, agree, complete, named};

/// Missions that are asked for at once.
const PAGE: &str = "500";

/// Most missions that one command acts on: more than that nobody means.
const MOST: usize = 10_000;

/// Missions that are named before somebody says that they are meant.
const NAMED: usize = 5;

/// Which missions are acted on.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The missions' ids.
    #[arg(value_name = "ID", value_parser = named, add = complete::missions(), required_unless_present = "matching")]
    ids: Vec<String>,
    /// All missions that fit this search instead, in the words of `sortie ls`, such as 'status:queued lane:coder'.
    #[arg(long, value_name = "SEARCH", conflicts_with = "ids")]
    matching: Option<String>,
    /// Do not ask before all that match are acted on.
    #[arg(long, short, requires = "matching")]
    yes: bool,
}

impl Which {
    /// The only one that is meant, where one is.
    pub(super) fn one(&self) -> Option<&str> {
        match (&self.matching, self.ids.as_slice()) {
            (None, [id]) => Some(id),
            _ => None,
        }
    }
}

/// What is done to each of them.
pub(super) struct Deed<'d> {
    /// What it is called, for people and for the node.
    pub(super) verb: &'d str,
    /// What of a mission it is done to: the node's list of them.
    pub(super) list: &'d str,
    /// Those of the missions that match to which it can be done, as a search.
    pub(super) among: &'d str,
    /// What is sent along: JSON, or nothing.
    pub(super) body: Option<String>,
    /// What came of it in a line, for people: from the verb, the mission's id and the answer.
    pub(super) says: fn(&str, &str, &Value) -> String,
}

/// Cancels missions.
pub(super) async fn cancel(which: &Which, reason: &str, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let deed = Deed {
        verb: "cancel",
        list: "missions",
        among: "status:open",
        body: Some(json!({"reason": reason}).to_string()),
        says: stands,
    };
    act(which, &deed, client, as_json).await
}

/// Tries parked deliveries again.
pub(super) async fn redeliver(which: &Which, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let deed = Deed { verb: "redeliver", list: "deliveries", among: "delivery:parked", body: None, says: stands };
    act(which, &deed, client, as_json).await
}

/// Leaves parked deliveries out.
pub(super) async fn skip(which: &Which, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let deed = Deed { verb: "skip", list: "deliveries", among: "delivery:parked", body: None, says: stands };
    act(which, &deed, client, as_json).await
}

/// Does it to those that are meant, once somebody says that they are.
pub(super) async fn act(which: &Which, deed: &Deed<'_>, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    if let Some(id) = which.one() {
        let answer = one(id, deed, client).await?;
        if as_json {
            text::json(&answer)?;
        } else {
            say(id, &answer, deed)?;
        }
        return Ok(Exit::Completed);
    }
    let ids = match &which.matching {
        None => which.ids.clone(),
        Some(search) => {
            let found = matching(format!("{search} {}", deed.among).trim(), client).await?;
            if found.is_empty() {
                eprintln!("No mission is like that: there is nothing to {}.", deed.verb);
            } else if !which.yes && !is_meant(&found, deed).await? {
                return Ok(Exit::Undone);
            }
            found
        }
    };
    several(&ids, deed, client, as_json).await
}

/// Acts on each; one that cannot be keeps nobody from the others.
async fn several(ids: &[String], deed: &Deed<'_>, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let (mut told, mut failed) = (Vec::with_capacity(ids.len()), 0_usize);
    for id in ids {
        match one(id, deed, client).await {
            Ok(answer) if as_json => told.push(answer),
            Ok(answer) => say(id, &answer, deed)?,
            Err(failure) => {
                failed += 1;
                let error = failure.error.to_string();
                if as_json {
                    told.push(json!({"mission_id": id, "error": error}));
                } else {
                    eprintln!("{}: {}", text::plain(id), text::plain(&error));
                }
            }
        }
    }
    if as_json {
        text::json(&json!({"items": told}))?;
    }
    Ok(if failed > 0 { Exit::Undone } else { Exit::Completed })
}

/// Does it to one.
pub(super) async fn one(id: &str, deed: &Deed<'_>, client: &Client) -> Result<Value, Failure> {
    let request = client.request(Method::POST, &["v1", deed.list, id, deed.verb]);
    let request = match &deed.body {
        None => request,
        Some(body) => request.header("content-type", "application/json").body(body.clone()),
    };
    client.json(request, "mission_id").await
}

fn say(id: &str, answer: &Value, deed: &Deed<'_>) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{}", (deed.says)(deed.verb, id, answer))?;
    Ok(())
}

/// How a mission stands, or its deliveries.
fn stands(verb: &str, _: &str, answer: &Value) -> String {
    let id = text::cell(&answer["mission_id"]);
    match answer["status"].as_str() {
        Some(status) => format!("{id} {}", text::plain(status)),
        None => format!("{id} {verb}: deliveries {}", text::cell(&answer["delivery"]["state"])),
    }
}

/// The missions that fit a search.
async fn matching(search: &str, client: &Client) -> Result<Vec<String>, Failure> {
    let progress = Progress::of("missions are looked for");
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let query = [("q", search.to_owned()), ("limit", PAGE.to_owned())];
        let query: Vec<_> = query.into_iter().chain(cursor.map(|cursor| ("cursor", cursor))).collect();
        let page = client.page(&["v1", "missions"], &query).await?;
        found.extend(items(&page).filter_map(|mission| mission["mission_id"].as_str().map(str::to_owned)));
        if found.len() > MOST {
            return Err(format!("more than {MOST} missions match: narrow the search").into());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(found),
        }
        progress.now(format!("missions are looked for: {} so far", found.len()));
    }
}

/// Whether somebody says that these are meant.
async fn is_meant(found: &[String], deed: &Deed<'_>) -> Result<bool, Failure> {
    let named: Vec<String> = found.iter().take(NAMED).map(|id| text::plain(id)).collect();
    let more = if found.len() > NAMED { ", …" } else { "" };
    let count =
        if found.len() == 1 { "1 mission matches".to_owned() } else { format!("{} missions match", found.len()) };
    let told = format!("{count}: {}{more}", named.join(", "));
    if !agree::can_ask() {
        return Err(format!("{told}. Say with --yes that they are meant").into());
    }
    agree::agrees(&format!("{told}. {} them?", capital(deed.verb)), false).await
}

/// A word at the beginning of a sentence.
fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
