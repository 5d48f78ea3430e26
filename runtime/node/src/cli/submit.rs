//! `sortie submit`: dispatch envelopes to a node.

use std::io::{Read as _, Write as _};

use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::client::{Client, problem};
use super::{Exit, Failure, text};

/// What to dispatch.
#[derive(Debug, Args)]
pub(super) struct SubmitArgs {
    /// Files with one envelope, an array of them, or one a line; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
}

pub(super) async fn submit(args: SubmitArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let mut refused = false;
    for file in &args.files {
        let named = if file == "-" { "standard input" } else { file };
        let input = read(file).map_err(|error| Failure::unusable(format!("{named}: {error}")))?;
        let envelopes = split(&input).map_err(|error| Failure::unusable(format!("{named}: {error}")))?;
        for (number, envelope) in (1..).zip(envelopes) {
            refused |= !dispatch(&envelope, client, as_json, &format!("{named}:{number}")).await?;
        }
    }
    Ok(if refused { Exit::Unusable } else { Exit::Completed })
}

/// Dispatches one; false where the node refuses it. The others still go.
async fn dispatch(envelope: &str, client: &Client, as_json: bool, place: &str) -> Result<bool, Failure> {
    let request = client.request(Method::POST, &["v1", "missions"]).header("content-type", "application/json");
    let response = request.body(envelope.to_owned()).send().await?;
    let status = response.status();
    let body = response.text().await?;
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::SERVICE_UNAVAILABLE) {
        return Err(problem(status, &body).into());
    }
    if as_json {
        text::json(&serde_json::from_str(&body)?)?;
    } else if status.is_success() {
        let answer: Value = serde_json::from_str(&body)?;
        let replayed = if status == StatusCode::OK { "  (accepted before)" } else { "" };
        let line = format!("{}  {}{replayed}", text::cell(&answer["mission_id"]), text::cell(&answer["status"]));
        writeln!(std::io::stdout(), "{line}")?;
        for warning in answer["warnings"].as_array().into_iter().flatten() {
            writeln!(std::io::stderr(), "warning: {}", text::cell(warning))?;
        }
    } else {
        writeln!(std::io::stderr(), "{place}: {}", problem(status, &body))?;
    }
    Ok(status.is_success())
}

fn read(file: &str) -> std::io::Result<String> {
    if file == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}

/// Why a text holds no envelopes.
#[derive(Debug, thiserror::Error)]
enum SplitError {
    #[error("it is empty: there is no envelope in it")]
    Nothing,
    #[error("it begins with a byte order mark (U+FEFF), which JSON does not know: save it as UTF-8 without one")]
    ByteOrderMark,
    #[error("it is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
}

/// The envelopes of a file, each as it was written: the node compares what was sent.
fn split(input: &str) -> Result<Vec<String>, SplitError> {
    use serde_json::value::RawValue;
    if input.trim().is_empty() {
        return Err(SplitError::Nothing);
    }
    if input.starts_with('\u{feff}') {
        return Err(SplitError::ByteOrderMark);
    }
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
        assert!(matches!(split("{\"a\":"), Err(SplitError::NotJson(_))));
        assert!(matches!(split(" \n"), Err(SplitError::Nothing)));
        assert!(matches!(split("\u{feff}{}"), Err(SplitError::ByteOrderMark)));
    }
}
