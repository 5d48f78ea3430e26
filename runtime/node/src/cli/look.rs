//! `ls`, `show`, `watch`, `journal`, `artifacts`, `cancel`: one mission, or many, on a node.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use futures_util::StreamExt as _;
use reqwest::Method;
use reqwest::header::{self, HeaderName};
use serde_json::{Value, json};
use sortie_contract::envelope::MissionType;
use sortie_contract::time::rfc3339;

use super::client::Client;
use super::{Exit, Failure, decide, text};

/// Which page of a list.
#[derive(Debug, Args)]
pub(super) struct PageArgs {
    /// How many, at most.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Where to go on: what the page before said.
    #[arg(long)]
    cursor: Option<String>,
}

impl PageArgs {
    /// As parameters of a query.
    fn query(&self) -> Vec<(&'static str, String)> {
        let cursor = self.cursor.clone().map(|cursor| ("cursor", cursor));
        [("limit", self.limit.to_string())].into_iter().chain(cursor).collect()
    }

    /// Asks for the page.
    pub(super) async fn get(&self, client: &Client, path: &[&str]) -> Result<Value, Failure> {
        client.page(path, &self.query()).await
    }
}

/// Says that there is more of a list, and how to get it. Nothing of it belongs to the list itself.
pub(super) fn say_more(page: &Value) {
    if let Some(cursor) = page["next_cursor"].as_str() {
        eprintln!("There is more: the same again with --cursor {}", text::plain(cursor));
    }
}

/// What to list.
#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// Only missions in this status; several with commas.
    #[arg(long)]
    status: Option<String>,
    /// Only missions of this VP.
    #[arg(long, value_name = "ID")]
    vp: Option<String>,
    /// Only missions of this session.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only missions of this lane.
    #[arg(long, value_name = "ID")]
    lane: Option<String>,
    /// Only missions of this type.
    #[arg(long = "type", value_name = "TYPE", value_parser = PossibleValuesParser::new(MissionType::ALL.map(MissionType::as_str)))]
    mission_type: Option<String>,
    /// Only missions that were accepted after this time, such as 2026-11-22T20:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<String>,
    /// Only missions whose id, or the beginning of whose objective or summary, holds this text.
    #[arg(short, value_name = "TEXT")]
    q: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

/// A time, as it was written: who mistakes it is told of the option, not of what the node calls it.
fn time(text: &str) -> Result<String, &'static str> {
    rfc3339(text).map(|_| text.to_owned()).map_err(|_| "it must be an RFC 3339 time such as 2026-11-22T20:00:00Z")
}

pub(super) async fn ls(args: LsArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let filters = [
        ("status", args.status),
        ("vp_id", args.vp),
        ("vp_session_id", args.session),
        ("vp_runtime_id", args.lane),
        ("mission_type", args.mission_type),
        ("created_after", args.since),
        ("q", args.q),
    ];
    let filters = filters.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let query: Vec<(&str, String)> = filters.chain(args.page.query()).collect();
    let page = client.page(&["v1", "missions"], &query).await?;
    if as_json {
        text::json(&page)?;
        return Ok(Exit::Completed);
    }
    let row = |mission: &Value| {
        let mut row = ["mission_id", "status", "mission_type", "vp_id", "accepted_at", "summary"]
            .map(|key| text::cell(&mission[key]));
        if let Some(wait) = wait(&mission["waits_for"]) {
            row[1] = format!("{} ({wait})", row[1]);
        }
        if mission["quarantined"] == true {
            row[1].push_str(" (quarantine)");
        }
        row.to_vec()
    };
    let rows: Vec<_> = page["items"].as_array().into_iter().flatten().map(row).collect();
    text::table(&["MISSION", "STATUS", "TYPE", "VP", "ACCEPTED", "SUMMARY"], &rows)?;
    say_more(&page);
    Ok(Exit::Completed)
}

/// Which deliveries.
#[derive(Debug, Args)]
pub(super) struct DeliveriesArgs {
    /// Only those in this state: `pending`, `parked` or `incomplete`. Without it, those that are pending or parked.
    #[arg(long)]
    state: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

pub(super) async fn deliveries(args: DeliveriesArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let state = args.state.into_iter().map(|state| ("state", state));
    let query: Vec<(&str, String)> = state.chain(args.page.query()).collect();
    let page = client.page(&["v1", "deliveries"], &query).await?;
    if as_json {
        text::json(&page)?;
        return Ok(Exit::Completed);
    }
    let row = |item: &Value| {
        ["mission_id", "state", "waiting", "attempts", "next_attempt_at", "error"]
            .map(|key| text::cell(&item[key]))
            .to_vec()
    };
    let rows: Vec<_> = page["items"].as_array().into_iter().flatten().map(row).collect();
    text::table(&["MISSION", "STATE", "WAITING", "ATTEMPTS", "NEXT ATTEMPT", "ERROR"], &rows)?;
    say_more(&page);
    Ok(Exit::Completed)
}

pub(super) async fn show(id: &str, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let state = client.get(&["v1", "missions", id], "mission_id").await?;
    if as_json {
        text::json(&state)?;
        return Ok(Exit::Completed);
    }
    let plugin = format!("{}@{}", text::cell(&state["plugin"]["name"]), text::cell(&state["plugin"]["version"]));
    let mut rows: Vec<Vec<String>> = [
        "mission_id",
        "status",
        "reason",
        "summary",
        "next_action",
        "objective",
        "mission_type",
        "vp_id",
        "vp_session_id",
        "vp_runtime_id",
        "trace_id",
        "accepted_at",
        "started_at",
        "ended_at",
    ]
    .iter()
    .filter(|key| !state[**key].is_null())
    .map(|key| vec![(*key).to_owned(), text::cell(&state[*key])])
    .collect();
    rows.push(vec!["plugin".to_owned(), plugin]);
    for key in ["usage", "effective_budget", "autonomy_window", "delivery"] {
        rows.push(vec![key.to_owned(), text::cell(&state[key])]);
    }
    rows.extend(reasons(&state).into_iter().map(|(name, said)| vec![name.to_owned(), said]));
    text::table(&["FIELD", "VALUE"], &rows)?;
    let call = |call: &Value| ["call", "tool", "started_at"].map(|key| text::cell(&call[key])).to_vec();
    let calls: Vec<_> = state["calls_in_flight"].as_array().into_iter().flatten().map(call).collect();
    if !calls.is_empty() {
        writeln!(std::io::stdout())?;
        text::table(&["CALL", "TOOL", "SINCE"], &calls)?;
    }
    let criterion = |found: &Value| ["criterion", "verdict", "evidence"].map(|key| text::cell(&found[key])).to_vec();
    let criteria: Vec<_> = state["criteria"].as_array().into_iter().flatten().map(criterion).collect();
    if !criteria.is_empty() {
        writeln!(std::io::stdout())?;
        text::table(&["CRITERION", "VERDICT", "EVIDENCE"], &criteria)?;
    }
    let requests = state["pending_requests"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !requests.is_empty() {
        let tools = decide::tools(client).await;
        writeln!(std::io::stdout())?;
        for line in
            requests.iter().flat_map(|request| decide::shown(request, &text::cell(&state["mission_id"]), &tools))
        {
            writeln!(std::io::stdout(), "{line}")?;
        }
    }
    let artifacts = text::artifact_rows(&state["artifacts"]);
    if !artifacts.is_empty() {
        writeln!(std::io::stdout())?;
        text::table(&text::ARTIFACT_HEAD, &artifacts)?;
    }
    Ok(Exit::Completed)
}

/// What a mission waits for, in words; nothing where it does not wait.
fn wait(wait: &Value) -> Option<String> {
    let what = text::plain(wait["what"].as_str()?);
    let (until, first) = (text::cell(&wait["until"]), text::cell(&wait["mission_id"]));
    let until = if until.is_empty() { until } else { format!(", until {until}") };
    let first = if first.is_empty() { first } else { format!(", busy with {first}") };
    Some(format!("{what}{until}{first}"))
}

/// Why a mission, or its deliveries, are no further, in words.
fn reasons(state: &Value) -> Vec<(&'static str, String)> {
    let mut reasons = Vec::new();
    reasons.extend(wait(&state["waits_for"]).map(|wait| ("waits_for", wait)));
    let why = text::cell(&state["waits_for"]["why"]);
    reasons.extend((!why.is_empty()).then_some(("because", why)));
    let window = &state["effective_window"];
    for (end, by, key) in [("start_at", "opens_by", "opens"), ("end_at", "closes_by", "closes")] {
        let at = text::cell(&window[end]);
        if !at.is_empty() && state["ended_at"].is_null() {
            reasons.push((key, format!("{at}, by its {}", text::cell(&window[by]))));
        }
    }
    if state["carried_over"].as_u64().is_some_and(|times| times > 0) {
        reasons.push(("carried over", text::cell(&state["carried_over"])));
    }
    let quarantine = &state["quarantine"];
    if quarantine.is_object() {
        let [why, remedy] = ["why", "remedy"].map(|key| text::cell(&quarantine[key]));
        reasons.push(("quarantine", format!("{why}. {remedy}")));
    }
    let delivery = &state["delivery"];
    let (error, next) = (text::cell(&delivery["error"]), text::cell(&delivery["next_attempt_at"]));
    reasons.extend((!error.is_empty()).then_some(("delivery error", error)));
    reasons.extend((!next.is_empty()).then_some(("next attempt", next)));
    reasons
}

pub(super) async fn watch(id: &str, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let mut last = 0;
    // How often the node was asked in vain since it was heard; nothing, before it was heard at all.
    let mut tries: Option<u32> = None;
    loop {
        let request = client
            .request(Method::GET, &["v1", "missions", id, "events"])
            .header("accept", "text/event-stream")
            .header("last-event-id", last.to_string());
        let patient = tries.is_some_and(|tries| tries < TRIES_MAX);
        let mut chunks = match client.first(request).await {
            Ok(response) if patient && response.status().is_server_error() => None,
            Err(_) if patient => None,
            Ok(response) => Some(client.marked(client.good(response).await?, EVENTS)?.bytes_stream()),
            Err(failure) => return Err(failure),
        };
        let mut buffer = Vec::new();
        while let Some(chunks) = &mut chunks {
            let Some(Ok(chunk)) = chunks.next().await else { break };
            tries = Some(0);
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                let Some(data) = line.strip_prefix(b"data:") else { continue };
                let event: Value = serde_json::from_slice(data)?;
                last = event["sequence"].as_u64().unwrap_or(last);
                if as_json {
                    text::json(&event)?;
                } else {
                    writeln!(std::io::stdout(), "{}", text::event(&event))?;
                }
                if let Some(exit) = exit_of(event["status"].as_str().unwrap_or_default()) {
                    return Ok(exit);
                }
            }
        }
        // The node went away in the middle; ask whether it is back, after the last event that was shown.
        let before = tries.unwrap_or_default();
        tokio::time::sleep(pause(before)).await;
        tries = Some(before + 1);
    }
}

/// What says that an answer is a stream of events.
const EVENTS: (HeaderName, &str) = (header::CONTENT_TYPE, "text/event-stream");

/// What says that an answer is the bytes of an artifact: its tag.
const BYTES: (HeaderName, &str) = (header::ETAG, "\"");

/// How often a node that went away is asked for in vain before `watch` gives up: for about a minute.
const TRIES_MAX: u32 = 16;

/// How long `watch` waits after so many tries in vain.
fn pause(tries: u32) -> Duration {
    Duration::from_millis(250 << tries.min(4))
}

/// The exit code of a final status.
pub(super) fn exit_of(status: &str) -> Option<Exit> {
    match status {
        "completed" => Some(Exit::Completed),
        "failed" => Some(Exit::Failed),
        "timed_out" => Some(Exit::TimedOut),
        "cancelled" => Some(Exit::Cancelled),
        _ => None,
    }
}

pub(super) async fn journal(id: &str, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let journal = client.page(&["v1", "missions", id, "journal"], &[]).await?;
    if as_json {
        text::json(&journal)?;
        return Ok(Exit::Completed);
    }
    let row = |record: &Value| ["record", "at", "kind", "body"].map(|key| text::cell(&record[key])).to_vec();
    let rows: Vec<_> = journal["items"].as_array().into_iter().flatten().map(row).collect();
    text::table(&["NO", "AT", "KIND", "WHAT"], &rows)?;
    Ok(Exit::Completed)
}

pub(super) async fn artifacts(id: &str, get: Option<&str>, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    if let Some(name) = get {
        let path: Vec<&str> = ["v1", "missions", id, "artifacts"].into_iter().chain(name.split('/')).collect();
        let mut chunks = client.stream(client.request(Method::GET, &path), BYTES).await?.bytes_stream();
        let mut out = std::io::stdout();
        while let Some(chunk) = chunks.next().await {
            out.write_all(&chunk?)?;
        }
        out.flush()?;
        return Ok(Exit::Completed);
    }
    let index = client.page(&["v1", "missions", id, "artifacts"], &[]).await?;
    if as_json {
        text::json(&index)?;
    } else {
        text::table(&text::ARTIFACT_HEAD, &text::artifact_rows(&index["items"]))?;
    }
    Ok(Exit::Completed)
}

pub(super) async fn cancel(id: &str, reason: &str, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let request = client.request(Method::POST, &["v1", "missions", id, "cancel"]);
    let body = json!({"reason": reason}).to_string();
    let state = client.json(request.header("content-type", "application/json").body(body), "mission_id").await?;
    if as_json {
        text::json(&state)?;
    } else {
        writeln!(std::io::stdout(), "{} {}", text::cell(&state["mission_id"]), text::cell(&state["status"]))?;
    }
    Ok(Exit::Completed)
}
