//! `sortie schedule apply DIR`: a node comes to what a folder of files says.
//!
//! Owned here: what is different, and in which order it is done. What is on the node and in no file is left alone, unless it is to be
//! pruned.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::{Method, RequestBuilder, StatusCode, header};
use serde_json::{Value, json};

use super::super::client::{Client, is_problem, problem};
use super::super::{Exit, Failure, text};
use super::{read, sends};

/// Schedules that are looked at with one question.
const PAGE: usize = 500;

/// What to bring a node to.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// The folder: each of its .toml and .json files is a schedule.
    folder: PathBuf,
    /// Say what would be done and what of it the node would refuse, and do nothing.
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
    let mut refusals = BTreeMap::new();
    for (id, step) in steps.iter().filter(|_| args.dry_run) {
        refusals.extend(refusal(id, step, client).await?.map(|why| (id.as_str(), why)));
    }
    show(&steps, &refusals, args.dry_run, as_json)?;
    if args.dry_run {
        return Ok(if refusals.is_empty() { Exit::Completed } else { Exit::Unusable });
    }
    for (id, step) in &steps {
        match (step, change(id, step, client)) {
            (_, Some(request)) => drop(client.json(request, "revision").await?),
            (Step::Remove, None) => {
                drop(client.send(client.request(Method::DELETE, &["v1", "schedules", id])).await?);
            }
            _ => {}
        }
    }
    Ok(Exit::Completed)
}

fn show(
    steps: &[(String, Step)],
    refusals: &BTreeMap<&str, String>,
    dry_run: bool,
    as_json: bool,
) -> std::io::Result<()> {
    let refused = |id: &str| refusals.get(id);
    if as_json {
        let shown = steps.iter().map(|(id, step)| json!({"id": id, "step": step.says(), "refused": refused(id)}));
        return text::json(&json!({"dry_run": dry_run, "steps": shown.collect::<Vec<_>>()}));
    }
    let mut out = std::io::stdout().lock();
    for (id, step) in steps {
        let why = refused(id).map_or(String::new(), |why| format!("  refused: {why}"));
        writeln!(out, "{:<6}  {}{why}", step.says(), text::plain(id))?;
    }
    Ok(())
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

/// The request that makes or changes a schedule; `None` where neither is to be done.
fn change(id: &str, step: &Step, client: &Client) -> Option<RequestBuilder> {
    let path = ["v1", "schedules", id];
    match step {
        Step::Keep | Step::Remove => None,
        Step::Add(body) => Some(sends(client.request(Method::POST, &path[..2]), body)),
        Step::Set(body, revision) => {
            let request = client.request(Method::PUT, &path).header(header::IF_MATCH, format!("\"{revision}\""));
            Some(sends(request, body))
        }
    }
}

/// Why the node would refuse a step, as it says itself; it does nothing.
async fn refusal(id: &str, step: &Step, client: &Client) -> Result<Option<String>, Failure> {
    let Some(request) = change(id, step, client) else { return Ok(None) };
    let answer = client.first(request.query(&[("dry_run", "true")])).await?;
    let status = answer.status();
    if !matches!(
        status,
        StatusCode::CONFLICT
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY
    ) {
        client.good(answer).await?;
        return Ok(None);
    }
    let said = client.text(answer).await?;
    if is_problem(&said) { Ok(Some(problem(status, &said))) } else { Err(client.stranger(&status.to_string())) }
}
