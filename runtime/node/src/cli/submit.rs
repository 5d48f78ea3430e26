//! `sortie submit`: dispatch envelopes to a node.

use std::io::Write as _;

use clap::{Args, ValueHint};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use sortie_contract::Status;

use super::client::{Client, is_problem, problem};
use super::input::Input;
use super::{Exit, Failure, text};

/// What to dispatch.
#[derive(Debug, Args)]
pub(super) struct SubmitArgs {
    /// Files with one envelope, an array of them, or one a line; `-` is standard input.
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<Input>,
    /// Fill in what a person may leave out of an envelope, as `sortie run` does: ids, `created_at`, `idempotency_key`. What is filled
    /// in is new each time: the same file once more is another mission.
    #[arg(long)]
    fill: bool,
}

pub(super) async fn submit(args: SubmitArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let mut refused = false;
    let node = if args.fill { Some(instance(client).await?) } else { None };
    for file in &args.files {
        let envelopes = split(&file.read()?).map_err(|error| file.no_envelope(&error))?;
        if envelopes.is_empty() && !as_json {
            writeln!(std::io::stderr(), "{}: an empty list: nothing is dispatched", text::plain(&file.to_string()))?;
        }
        for (number, envelope) in (1..).zip(envelopes) {
            let envelope = match &node {
                Some(node) => crate::blanks::filled(&envelope, "submit", "terminal", Some(node))
                    .map_err(|error| file.no_envelope(&error))?,
                None => envelope,
            };
            refused |= !dispatch(&envelope, client, as_json, &format!("{file}:{number}")).await?;
        }
    }
    Ok(if refused { Exit::Unusable } else { Exit::Completed })
}

/// What the node calls itself: what an envelope has to be meant for.
pub(super) async fn instance(client: &Client) -> Result<String, Failure> {
    let node = client.get(&["v1", "node"], "instance_id").await?;
    Ok(node["instance_id"].as_str().unwrap_or_default().to_owned())
}

/// Dispatches one; false where the node refuses it. The others still go.
pub(super) async fn dispatch(envelope: &str, client: &Client, as_json: bool, place: &str) -> Result<bool, Failure> {
    let request = client.request(Method::POST, &["v1", "missions"]).header("content-type", "application/json");
    let response = client.first(request.body(envelope.to_owned())).await?;
    let status = response.status();
    let body = client.text(response).await?;
    let answer = serde_json::from_str::<Value>(&body).unwrap_or_default();
    if !(is_problem(&body) || status.is_success() && answer["mission_id"].is_string()) {
        return Err(client.stranger(&format!("{status} and no mission")));
    }
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::SERVICE_UNAVAILABLE) {
        return Err(problem(status, &body).into());
    }
    if as_json {
        text::json(&answer)?;
    } else if status.is_success() {
        let replayed = if status == StatusCode::OK { "  (accepted before)" } else { "" };
        let line = format!("{}  {}{replayed}", text::cell(&answer["mission_id"]), text::cell(&answer["status"]));
        writeln!(std::io::stdout(), "{line}")?;
        let ended = serde_json::from_value(answer["status"].clone()).ok().filter(|_| status == StatusCode::OK);
        if let Some(talk) = ended.and_then(|ended| again(answer["mission_id"].as_str()?, ended)) {
            writeln!(std::io::stderr(), "{}", text::plain(&talk))?;
        }
        for warning in answer["warnings"].as_array().into_iter().flatten() {
            writeln!(std::io::stderr(), "warning: {}", text::cell(warning))?;
        }
    } else {
        writeln!(std::io::stderr(), "{place}: {}", problem(status, &body))?;
    }
    Ok(status.is_success())
}

/// What to say where an envelope was accepted before, and its mission did not come to what was wanted: it does not run again,
/// whatever was mended since.
pub(super) fn again(mission_id: &str, status: Status) -> Option<String> {
    (status.is_final() && status != Status::Completed).then(|| {
        format!(
            "{mission_id} has ended {status}, and the same envelope does not run twice. To try again (after a plugin was mended, \
             for example), dispatch it with another mission_id and another idempotency_key"
        )
    })
}

/// The envelopes of a file, each as it was written: the node compares what was sent.
fn split(input: &str) -> serde_json::Result<Vec<String>> {
    use serde_json::value::RawValue;
    if input.trim_start().starts_with('[') {
        let all: Vec<&RawValue> = serde_json::from_str(input)?;
        return Ok(all.into_iter().map(|envelope| envelope.get().to_owned()).collect());
    }
    serde_json::Deserializer::from_str(input)
        .into_iter::<&RawValue>()
        .map(|envelope| Ok(envelope?.get().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_an_array_or_lines() {
        for (input, expected) in [
            ("{\"a\": 1}\n", vec!["{\"a\": 1}"]),
            (" [{\"a\":1}, {\"b\":2}]", vec!["{\"a\":1}", "{\"b\":2}"]),
            ("{\"a\":1}\n{\"b\":2}\n", vec!["{\"a\":1}", "{\"b\":2}"]),
            // A list may be empty on purpose.
            ("[]", vec![]),
        ] {
            assert_eq!(split(input).expect(input), expected);
        }
        assert!(split("{\"a\":").is_err());
    }
}
