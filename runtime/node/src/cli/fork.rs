//! `sortie fork`: go on from a call of a mission, or of several, each as a mission of its own.

use std::io::Write as _;

use clap::{Args, ValueHint};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sortie_contract::Mistake;
use sortie_contract::envelope::{in_one_line, read_strictly};
use sortie_contract::mistake::code;
use sortie_engine::fork::Point;

use super::act::{self, Deed, Which};
use super::client::Client;
use super::input::Input;
use super::{Exit, Failure, text};

/// What is forked, and how.
#[derive(Debug, Args)]
pub(super) struct ForkArgs {
    #[command(flatten)]
    which: Which,
    /// Take the record over up to and with this call, as `sortie replay` numbers them; 0 begins anew. Or `failure`: up to the first of the
    /// calls that the mission failed of, which is made again (where none failed, as `last`); or `last`: up to the last call that can be
    /// gone on from.
    #[arg(long, value_name = "CALL")]
    at: Point,
    /// A file with other inputs: a JSON object; `-` is standard input. Of one mission alone.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "matching")]
    inputs: Option<Input>,
    /// Another plugin, or another version of it.
    #[arg(long, value_name = "NAME[@VERSION]")]
    plugin: Option<String>,
    /// Begin with an empty workspace, instead of a copy of the mission's as that is now.
    #[arg(long)]
    empty_workspace: bool,
    /// The same key again is the same fork of the same mission; without one, each run of this command makes another.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// What the node is asked for.
#[derive(Debug, Serialize)]
struct Order {
    at: Value,
    idempotency_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace: Option<&'static str>,
}

pub(super) async fn fork(args: ForkArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let ForkArgs { which, at, inputs, plugin, empty_workspace, key } = args;
    if inputs.is_some() && which.one().is_none() {
        return Err(Failure::unusable("--inputs are those of one mission: several keep theirs"));
    }
    let inputs = inputs.as_ref().map(read).transpose()?;
    let at = match at {
        Point::Call(at) => json!(at),
        word => json!(word.to_string()),
    };
    let idempotency_key = key.unwrap_or_else(crate::blanks::unique);
    let order = Order { at, idempotency_key, inputs, plugin, workspace: empty_workspace.then_some("empty") };
    let body = serde_json::to_string(&order)?;
    let deed = Deed { verb: "fork", list: "missions", among: "", body: Some(body), says };
    // Its plugin goes over the record first.
    let client = client.patient();
    match which.one() {
        Some(id) if !as_json => {
            let answer = act::one(id, &deed, &client).await?;
            told(id, &answer, &client)?;
            Ok(Exit::Completed)
        }
        _ => act::act(&which, &deed, &client, as_json).await,
    }
}

/// A fork, as one of several.
fn says(_: &str, id: &str, answer: &Value) -> String {
    let (fork, calls) = (text::cell(&answer["mission_id"]), text::cell(&answer["forked_from"]["calls"]));
    let leaves = &answer["forked_from"]["diverged_at"];
    let leaves = if leaves.is_null() {
        String::new()
    } else {
        format!(", and leaves the record at call {}", text::cell(leaves))
    };
    format!("{} {fork}: goes on behind call {calls}{leaves}", text::plain(id))
}

/// The only fork, with all that is to be known of it.
fn told(id: &str, answer: &Value, client: &Client) -> Result<(), Failure> {
    let fork = text::cell(&answer["mission_id"]);
    writeln!(std::io::stdout(), "{fork}  {}", text::cell(&answer["status"]))?;
    let calls = text::cell(&answer["forked_from"]["calls"]);
    let mut talk = std::io::stderr().lock();
    match calls.as_str() {
        "0" => writeln!(talk, "it begins anew, as {} did", text::plain(id))?,
        _ => writeln!(
            talk,
            "it has calls 1 to {calls} of {} on record, and goes on behind them for real",
            text::plain(id)
        )?,
    }
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        writeln!(talk, "warning: {}", text::cell(warning))?;
    }
    writeln!(talk, "see: {}", client.commands().line(&format!("watch {}", text::word(&fork))))?;
    Ok(())
}

/// Inputs in a file, with the numbers that are written there.
fn read(file: &Input) -> Result<Box<RawValue>, Failure> {
    let text = file.read()?;
    let wrong = |why: &str| file.unusable(format!("inputs are a JSON object: {why}"));
    let (inputs, mistakes) = read_strictly(&text).map_err(|mistake| wrong(&mistake.detail))?;
    if let Some(Mistake { pointer, detail, .. }) = mistakes.iter().find(|mistake| mistake.code != code::NOT_EXACT) {
        return Err(wrong(&format!("{pointer}: {detail}")));
    }
    in_one_line(&text).filter(|_| inputs.is_object()).ok_or_else(|| wrong("this is something else"))
}
