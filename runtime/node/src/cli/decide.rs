//! `requests`, `approve`, `deny`, `answer`: what missions ask of people, and people's answers.

use std::io::{self, BufRead as _, Write as _};

use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::{Exit, Failure, text};

/// Which request.
#[derive(Debug, Args)]
pub(super) struct RequestArgs {
    /// The mission's id.
    id: String,
    /// The request's id, such as `r1`.
    request: String,
    /// Why: part of the record.
    #[arg(long, default_value = "")]
    note: String,
}

/// How far an approval reaches.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Reach {
    Call,
    Tool,
    Mission,
}

/// A yes.
#[derive(Debug, Args)]
pub(super) struct ApproveArgs {
    #[command(flatten)]
    which: RequestArgs,
    /// Approve this call, every call of the tool, or every call of the mission.
    #[arg(long = "for", value_enum, default_value = "call")]
    reach: Reach,
    /// For a request for more budget: how many US dollars more.
    #[arg(long, value_name = "USD")]
    amount: Option<f64>,
}

pub(super) async fn requests(client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let page = client.get(&["v1", "requests"]).await?;
    if as_json {
        text::json(&page)?;
        return Ok(Exit::Completed);
    }
    let row = |item: &Value| {
        ["mission_id", "request_id", "kind", "expires_at", "question"].map(|key| text::cell(&item[key])).to_vec()
    };
    let rows: Vec<_> = page["items"].as_array().into_iter().flatten().map(row).collect();
    text::table(&["MISSION", "REQUEST", "KIND", "EXPIRES", "QUESTION"], &rows)?;
    Ok(Exit::Completed)
}

/// Approves a call, lets an uncertain one be repeated, or grants budget.
pub(super) async fn approve(args: ApproveArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let ApproveArgs { which, reach, amount } = args;
    let decision = match (kind(&which, client).await?.as_str(), amount) {
        ("uncertain", _) => json!({"decision": "repeat"}),
        ("budget", None) => return Err(Failure::unusable("say how many US dollars more with --amount")),
        ("budget", Some(amount)) => json!({"decision": "grant", "amount": amount}),
        _ => json!({"decision": "approve", "for": format!("{reach:?}").to_lowercase()}),
    };
    decide(&which, decision, client, as_json).await
}

pub(super) async fn deny(which: RequestArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    decide(&which, json!({"decision": "deny"}), client, as_json).await
}

/// Answers a question, or records what an uncertain call returned.
pub(super) async fn answer(
    which: RequestArgs,
    answer: String,
    client: &Client,
    as_json: bool,
) -> Result<Exit, Failure> {
    let decision = if kind(&which, client).await? == "uncertain" {
        let result: Value = serde_json::from_str(&answer)
            .map_err(|error| Failure::unusable(format!("what the call returned must be JSON: {error}")))?;
        json!({"decision": "record", "result": result})
    } else {
        json!({"decision": "answer", "text": answer})
    };
    decide(&which, decision, client, as_json).await
}

/// What an open request asks for; nothing, where it is not open: the node then says why.
async fn kind(which: &RequestArgs, client: &Client) -> Result<String, Failure> {
    let mission = client.get(&["v1", "missions", &which.id]).await?;
    let mut open = mission["pending_requests"].as_array().into_iter().flatten();
    let request = open.find(|request| request["request_id"] == which.request.as_str());
    Ok(request.map(|request| text::cell(&request["kind"])).unwrap_or_default())
}

async fn decide(which: &RequestArgs, mut decision: Value, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    decision["note"] = json!(which.note);
    let request = client.request(Method::POST, &["v1", "missions", &which.id, "requests", &which.request]);
    let mission = client.json(request.header("content-type", "application/json").body(decision.to_string())).await?;
    if as_json {
        text::json(&mission)?;
    } else {
        writeln!(io::stdout(), "{}  {}", text::cell(&mission["mission_id"]), text::cell(&mission["status"]))?;
    }
    Ok(Exit::Completed)
}

/// Asks on this terminal; `None` where nobody answers (the end of the input).
pub(super) fn ask(request: &Value) -> io::Result<Option<Value>> {
    let mut talk = io::stderr().lock();
    writeln!(talk, "{}", text::cell(&request["question"]))?;
    if !request["tool"].is_null() {
        writeln!(talk, "  {} {}", text::cell(&request["tool"]), text::cell(&request["arguments"]))?;
    }
    let kind = request["kind"].as_str().unwrap_or_default();
    let choice = match kind {
        "approval" => "[y]es, yes to [t]his tool from now on, [n]o: ",
        "uncertain" => "[r]epeat, [n]o: ",
        "budget" => "how many US dollars more, or [n]o: ",
        _ => "answer: ",
    };
    loop {
        write!(talk, "{choice}")?;
        talk.flush()?;
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim();
        let decision = match (kind, line.to_lowercase().as_str()) {
            ("input", _) if !line.is_empty() => json!({"decision": "answer", "text": line}),
            ("approval", "y" | "yes") => json!({"decision": "approve"}),
            ("approval", "t") => json!({"decision": "approve", "for": "tool"}),
            ("uncertain", "r" | "repeat") => json!({"decision": "repeat"}),
            ("approval" | "uncertain" | "budget", "n" | "no") => json!({"decision": "deny"}),
            ("budget", amount) if amount.parse::<f64>().is_ok_and(|usd| usd > 0.0) => {
                json!({"decision": "grant", "amount": amount.parse::<f64>().unwrap_or_default()})
            }
            _ => continue,
        };
        return Ok(Some(decision));
    }
}
