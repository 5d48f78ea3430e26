//! `sortie fork`: go on from a call of a mission, as a mission of its own.

use std::io::Write as _;

use clap::{Args, ValueHint};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::input::Input;
use super::{Exit, Failure, complete, named, text};

/// What is forked, and how.
#[derive(Debug, Args)]
pub(super) struct ForkArgs {
    /// The mission's id.
    #[arg(value_parser = named, add = complete::missions())]
    id: String,
    /// Take its record over up to and with this call, as `sortie replay` numbers them; 0 begins anew.
    #[arg(long, value_name = "CALL")]
    at: u32,
    /// A file with other inputs: a JSON object; `-` is standard input.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    inputs: Option<Input>,
    /// Another plugin, or another version of it.
    #[arg(long, value_name = "NAME[@VERSION]")]
    plugin: Option<String>,
    /// Begin with an empty workspace, instead of a copy of the mission's as that is now.
    #[arg(long)]
    empty_workspace: bool,
    /// The same key again is the same fork; without one, each run of this command makes another.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

pub(super) async fn fork(args: ForkArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let ForkArgs { id, at, inputs, plugin, empty_workspace, key } = args;
    let inputs = inputs.as_ref().map(read).transpose()?;
    let mut body = json!({"at": at, "idempotency_key": key.unwrap_or_else(crate::blanks::unique)});
    for (name, value) in [("inputs", inputs), ("plugin", plugin.map(Value::from))] {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    if empty_workspace {
        body["workspace"] = json!("empty");
    }
    let request = client.request(Method::POST, &["v1", "missions", &id, "fork"]);
    let request = request.header("content-type", "application/json").body(body.to_string());
    // Its plugin goes over the record first.
    let answer = client.patient().json(request, "mission_id").await?;
    if as_json {
        text::json(&answer)?;
        return Ok(Exit::Completed);
    }
    let fork = text::cell(&answer["mission_id"]);
    writeln!(std::io::stdout(), "{fork}  {}", text::cell(&answer["status"]))?;
    let calls = text::cell(&answer["forked_from"]["calls"]);
    let mut talk = std::io::stderr().lock();
    writeln!(talk, "it has calls 1 to {calls} of {} on record, and goes on behind them for real", text::plain(&id))?;
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        writeln!(talk, "warning: {}", text::cell(warning))?;
    }
    writeln!(talk, "see: {}", client.commands().line(&format!("watch {}", text::word(&fork))))?;
    Ok(Exit::Completed)
}

/// Inputs in a file.
fn read(file: &Input) -> Result<Value, Failure> {
    let text = file.read()?;
    let inputs: Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| file.unusable(format!("inputs are a JSON object: {error}")))?;
    Ok(Value::Object(inputs))
}
