//! `sortie schedule apply DIR`: a node comes to what a folder of files says.
//!
//! Owned here: what is different, and in which order it is done. What is on the node and in no file is left alone, unless it is to be
//! pruned.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::{Method, header};
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::{Exit, Failure, text};
use super::{read, sends};

/// Schedules that are looked at with one question.
const PAGE: usize = 500;

/// What to bring a node to.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// The folder: each of its .toml and .json files is a schedule.
    folder: PathBuf,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Remove the schedules that no file names.
    #[arg(long)]
    prune: bool,
}

/// What is to be done to one schedule.
enum Step {
    Add(Value),
    /// From this revision on.
    Set(Value, u64),
    Keep,
    Remove,
}

impl Step {
    fn says(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Set(..) => "set",
            Self::Keep => "keep",
            Self::Remove => "remove",
        }
    }
}

pub(super) async fn apply(args: ApplyArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let mut wanted = wanted(&args.folder)?;
    let mut steps = Vec::new();
    for id in there(client).await? {
        let step = match wanted.remove(&id) {
            Some(body) => {
                let found = client.get(&["v1", "schedules", &id], "revision").await?;
                if is_same(&found, &body) {
                    Step::Keep
                } else {
                    Step::Set(body, found["revision"].as_u64().unwrap_or_default())
                }
            }
            None if args.prune => Step::Remove,
            None => continue,
        };
        steps.push((id, step));
    }
    steps.extend(wanted.into_iter().map(|(id, body)| (id, Step::Add(body))));
    // What is removed is gone with its history: last, once all else is done.
    steps.sort_by(|a, b| (matches!(a.1, Step::Remove), &a.0).cmp(&(matches!(b.1, Step::Remove), &b.0)));
    if as_json {
        let shown = steps.iter().map(|(id, step)| json!({"id": id, "step": step.says()}));
        text::json(&json!({"dry_run": args.dry_run, "steps": shown.collect::<Vec<_>>()}))?;
    } else {
        let mut out = std::io::stdout().lock();
        for (id, step) in &steps {
            writeln!(out, "{:<6}  {}", step.says(), text::plain(id))?;
        }
    }
    if args.dry_run {
        return Ok(Exit::Completed);
    }
    for (id, step) in steps {
        carry_out(&id, step, client).await?;
    }
    Ok(Exit::Completed)
}

/// The schedules of a folder, by name, as bodies that say them to a node. All of them can be read, or nothing is done.
fn wanted(folder: &Path) -> Result<BTreeMap<String, Value>, Failure> {
    let named = |why: String| Failure::unusable(format!("{}: {why}", folder.display()));
    let entries = std::fs::read_dir(folder).map_err(|error| named(error.to_string()))?;
    let mut wanted = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(|error| named(error.to_string()))?.path();
        if !path.extension().is_some_and(|end| end == "toml" || end == "json") {
            continue;
        }
        let (schedule, body) = read(&path)?;
        if wanted.insert(schedule.id().to_owned(), body).is_some() {
            return Err(named(format!(
                "two files name the schedule `{}`; one of them is {}",
                schedule.id(),
                path.display()
            )));
        }
    }
    Ok(wanted)
}

/// The names of all schedules of a node.
async fn there(client: &Client) -> Result<Vec<String>, Failure> {
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let limit = ("limit", PAGE.to_string());
        let query: Vec<_> = [limit].into_iter().chain(cursor.map(|cursor| ("cursor", cursor))).collect();
        let page = client.page(&["v1", "schedules"], &query).await?;
        names.extend(page["items"].as_array().into_iter().flatten().map(|item| text::cell(&item["id"])));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(names),
        }
    }
}

/// Whether a schedule of a node is what a file says.
fn is_same(found: &Value, body: &Value) -> bool {
    let mut there = found["schedule"].clone();
    if let (Some(fields), Some(calendars)) = (there.as_object_mut(), found["calendars"].as_object())
        && !calendars.is_empty()
    {
        fields.insert("calendars".to_owned(), json!(calendars));
    }
    there == *body
}

async fn carry_out(id: &str, step: Step, client: &Client) -> Result<(), Failure> {
    let path = ["v1", "schedules", id];
    match step {
        Step::Keep => {}
        Step::Add(body) => {
            client.json(sends(client.request(Method::POST, &path[..2]), &body), "revision").await?;
        }
        Step::Set(body, revision) => {
            let request = client.request(Method::PUT, &path).header(header::IF_MATCH, format!("\"{revision}\""));
            client.json(sends(request, &body), "revision").await?;
        }
        Step::Remove => drop(client.send(client.request(Method::DELETE, &path)).await?),
    }
    Ok(())
}
