//! Answers that are to fit a JSON Schema: found in what a model wrote, held against it, and asked for once more where they do not fit.

use std::sync::Arc;

use jsonschema::Validator;
use serde_json::Value;
use sortie_ambient::Surroundings;
use sortie_contract::{limit, unfold};

use crate::protocol::Turn;
use crate::request::{Block, Message, OutputSchema, Request, Role};

/// Most of what does not fit that is told, in bytes: the model gets it, and so does the plugin.
const WHY_BYTES_MAX: usize = 1_024;

/// What the model is told in the second round, around what was wrong.
const AGAIN: [&str; 2] = [
    "That answer does not fit the JSON Schema that it must fit: ",
    " Answer again, with JSON alone that is valid against the schema.",
];

/// The most tokens that the second round adds to the first, beside what was answered.
pub(crate) const REPAIR_TOKENS: u64 = (WHY_BYTES_MAX + AGAIN[0].len() + AGAIN[1].len() + 256) as u64;

/// What in an answer fits the schema, or what is wrong with it. Looks where nobody waits for its thread: both may be large.
pub(crate) async fn fit(turn: &Turn, schema: &OutputSchema, ambient: &Surroundings) -> Result<Value, String> {
    let texts = turn.content.iter().filter_map(|block| match block {
        Block::Text { text } => Some(text.as_str()),
        _ => None,
    });
    let (text, validator): (String, _) = (texts.collect(), Arc::clone(&schema.validator));
    let declared = schema.schema.clone();
    let looked = ambient.unblock(move || held_against(&declared, &validator, &text)).await;
    looked.unwrap_or_else(|gone| Err(format!("it could not be looked at: {gone}.")))
}

fn held_against(declared: &Value, validator: &Validator, text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(bare(text)).map_err(|error| format!("it is not JSON ({error})."))?;
    unfold::looks(declared, &value).map_err(|why| format!("it cannot be held against the schema: {why}."))?;
    if validator.is_valid(&value) {
        return Ok(value);
    }
    // The first mistake alone: the validator gathers all of them before it tells one, and there may be as many as an answer has bytes.
    let Err(error) = validator.validate(&value) else { return Ok(value) };
    let place = error.instance_path().to_string();
    let place = if place.is_empty() { "the whole".to_owned() } else { place };
    // What is wrong may be all that was written, and is not repeated at length.
    Err(limit::clip(&format!("{place}: {error}"), WHY_BYTES_MAX))
}

/// The JSON in a text: models like to put it into a block of code.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let Some(inner) = text.strip_prefix("```").and_then(|text| text.strip_suffix("```")) else { return text };
    // The first line names the language.
    inner.split_once('\n').map_or(inner, |(_, rest)| rest).trim()
}

/// The request of the second round: the first one, its answer, and what was wrong with it.
pub(crate) fn again(request: &Request, turn: &Turn, why: &str) -> Request {
    let mut again = request.clone();
    if !turn.content.is_empty() {
        again.messages.push(Message { role: Role::Assistant, content: turn.content.clone() });
    }
    let told = format!("{}{}{}", AGAIN[0], limit::clip(why, WHY_BYTES_MAX), AGAIN[1]);
    again.messages.push(Message { role: Role::User, content: vec![Block::text(told)] });
    again
}
