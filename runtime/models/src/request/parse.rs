//! From the text that a plugin gave to a [`Request`]. All that is wrong is told together, each with its place.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonschema::PatternOptions;
use serde_json::Value;
use sortie_contract::envelope::read_strictly;
use sortie_contract::mistake::{Pointer, code};
use sortie_contract::tool::CallError;
use sortie_contract::{limit, unfold};

use super::fields::{Fields, Mistakes, kind};
use super::{
    BLOCKS_MAX, Block, Effort, IMAGES_MAX, Image, MESSAGES_MAX, MediaType, Message, OutputSchema, Part, Request, Role,
    SCHEMA_BYTES_MAX, USE_ID_BYTES_MAX, order,
};

const EFFORTS: [(&str, Effort); 3] = [("low", Effort::Low), ("medium", Effort::Medium), ("high", Effort::High)];

const ROLES: [(&str, Role); 2] = [("user", Role::User), ("assistant", Role::Assistant)];

/// Largest pattern of an `output_schema` once it is compiled, in bytes: a schema has room for thousands of them.
const PATTERN_BYTES_MAX: usize = 256 << 10;

/// The hottest that a provider takes.
const TEMPERATURE_MAX: f64 = 2.0;

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// [`CallError::InvalidArguments`] with what is wrong, each with a JSON Pointer into the request.
    pub(crate) fn parse(text: &str) -> Result<Self, CallError> {
        if text.len() > limit::CALL_BYTES_MAX {
            let why = format!("the request has {} bytes, {} are allowed", text.len(), limit::CALL_BYTES_MAX);
            return Err(CallError::InvalidArguments(why));
        }
        let (value, found) = read_strictly(text).map_err(|mistake| CallError::InvalidArguments(mistake.to_string()))?;
        let mut wrong = Mistakes::default();
        for mistake in found {
            wrong.add(&mistake.pointer, &mistake.code, mistake.detail);
        }
        let request = request(value, &mut wrong);
        match request {
            Some(request) if wrong.is_empty() => Ok(request),
            _ => Err(CallError::InvalidArguments(wrong.to_string())),
        }
    }
}

/// `None` only where `wrong` says why.
fn request(value: Value, wrong: &mut Mistakes) -> Option<Request> {
    let mut fields = Fields::of(value, Pointer::root(), wrong)?;
    let model = fields.text("model");
    let system = fields.text("system").filter(|text| !text.is_empty());
    let messages = fields.need("messages").and_then(|value| messages(value, fields.wrong));
    let max_tokens = fields.whole("max_tokens", 1);
    let temperature = temperature(&mut fields);
    let reasoning = fields.choice("reasoning", &EFFORTS);
    if temperature.is_some() && reasoning.is_some() {
        let detail = "cannot be given beside `reasoning`: models that reason take none";
        fields.wrong.add(&fields.at("temperature"), code::UNKNOWN_VALUE, detail);
    }
    let output = fields.take("output_schema").and_then(|schema| output_schema(schema, &mut fields));
    fields.close();
    Some(Request { model, system, messages: messages?, max_tokens, temperature, reasoning, output })
}

fn temperature(fields: &mut Fields<'_>) -> Option<f64> {
    let value = fields.take("temperature")?;
    let temperature = value.as_f64().filter(|value| (0.0..=TEMPERATURE_MAX).contains(value));
    if temperature.is_none() {
        fields.wrong.add(&fields.at("temperature"), code::OUT_OF_RANGE, "must be a number, 0 to 2");
    }
    temperature
}

fn output_schema(schema: Value, fields: &mut Fields<'_>) -> Option<OutputSchema> {
    let place = fields.at("output_schema");
    if !schema.is_object() {
        return fields.wrong_type("output_schema", "a JSON Schema, which is an object", &schema);
    }
    let bytes = schema.to_string().len();
    if bytes > SCHEMA_BYTES_MAX {
        fields.wrong.add(&place, code::TOO_LONG, format!("has {bytes} bytes, {SCHEMA_BYTES_MAX} are allowed"));
        return None;
    }
    if let Err(why) = unfold::bounded(&schema) {
        fields.wrong.add(&place, code::UNKNOWN_VALUE, format!("cannot be used: {why}"));
        return None;
    }
    // An engine whose time is bounded by the text's length, for the text is whatever a model writes: no look-around, no back-references.
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    match jsonschema::options().with_pattern_options(patterns).build(&schema) {
        Ok(validator) => Some(OutputSchema { schema, validator: Arc::new(validator) }),
        Err(error) => {
            let why = limit::clip(&error.to_string(), limit::NOTE_BYTES_MAX / 4);
            fields.wrong.add(&place, code::UNKNOWN_VALUE, format!("is no JSON Schema: {why}"));
            None
        }
    }
}

fn messages(value: Value, wrong: &mut Mistakes) -> Option<Vec<Message>> {
    let place = Pointer::root().join("messages");
    let list = list(value, &place, 1, MESSAGES_MAX, wrong)?;
    let parsed = list.into_iter().enumerate().filter_map(|(index, value)| message(value, place.join(index), wrong));
    let messages: Vec<Message> = parsed.collect();
    // Where a message could not be read, what follows it would seem wrong as well.
    if wrong.is_empty() {
        order::check(&messages, wrong);
        let images = messages.iter().flat_map(|message| &message.content).map(images_in).sum::<usize>();
        if images > IMAGES_MAX {
            wrong.add(&place, code::TOO_LONG, format!("hold {images} images, {IMAGES_MAX} are allowed"));
        }
    }
    Some(messages)
}

fn images_in(block: &Block) -> usize {
    match block {
        Block::Image(_) => 1,
        Block::ToolResult { content, .. } => content.iter().filter(|part| matches!(part, Part::Image(_))).count(),
        Block::Text { .. } | Block::ToolUse { .. } | Block::Reasoning(_) => 0,
    }
}

fn message(value: Value, place: Pointer, wrong: &mut Mistakes) -> Option<Message> {
    let mut fields = Fields::of(value, place, wrong)?;
    let role = fields.needed_choice("role", &ROLES);
    let at = fields.at("content");
    let content = match fields.need("content") {
        Some(Value::String(text)) if !text.is_empty() => Some(vec![Block::text(text)]),
        Some(Value::String(_)) if role == Some(Role::Assistant) => Some(Vec::new()),
        Some(Value::String(_)) => {
            fields.wrong.add(&at, code::EMPTY, "must not be empty");
            None
        }
        Some(value @ Value::Array(_)) => {
            // A model that said nothing is no mistake of who tells it.
            let least = usize::from(role != Some(Role::Assistant));
            list(value, &at, least, BLOCKS_MAX, fields.wrong).map(|list| {
                let blocks = list.into_iter().enumerate();
                blocks.filter_map(|(index, value)| block(value, at.join(index), fields.wrong)).collect()
            })
        }
        Some(other) => fields.wrong_type("content", "a string or a list of blocks", &other),
        None => None,
    };
    fields.close();
    Some(Message { role: role?, content: content? })
}

fn list(value: Value, place: &Pointer, least: usize, most: usize, wrong: &mut Mistakes) -> Option<Vec<Value>> {
    match value {
        Value::Array(list) if list.len() < least => {
            wrong.add(place, code::EMPTY, "must not be empty");
            None
        }
        Value::Array(list) if list.len() > most => {
            wrong.add(place, code::TOO_LONG, format!("has {} entries, {most} are allowed", list.len()));
            None
        }
        Value::Array(list) => Some(list),
        other => {
            wrong.add(place, code::WRONG_TYPE, format!("must be a list, not {}", kind(&other)));
            None
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    ToolUse,
    ToolResult,
    Image,
    Reasoning,
}

const KINDS: [(&str, Kind); 5] = [
    ("text", Kind::Text),
    ("tool_use", Kind::ToolUse),
    ("tool_result", Kind::ToolResult),
    ("image", Kind::Image),
    ("reasoning", Kind::Reasoning),
];

/// What an assistant says, read from a text of its own: the blocks of `value`, which stands at `place`.
///
/// # Errors
/// What is wrong with them, each with its place.
pub(crate) fn blocks(value: Value, place: &str) -> Result<Vec<Block>, String> {
    let mut wrong = Mistakes::default();
    let blocks = assistant_blocks(value, &Pointer::root().join(place), &mut wrong);
    if wrong.is_empty() { Ok(blocks.unwrap_or_default()) } else { Err(wrong.to_string()) }
}

/// The same, for whoever collects mistakes.
pub(crate) fn assistant_blocks(value: Value, place: &Pointer, wrong: &mut Mistakes) -> Option<Vec<Block>> {
    let list = list(value, place, 0, BLOCKS_MAX, wrong)?;
    let blocks: Vec<Block> =
        list.into_iter().enumerate().filter_map(|(index, value)| block(value, place.join(index), wrong)).collect();
    for (index, block) in blocks.iter().enumerate() {
        if matches!(block, Block::Image(_) | Block::ToolResult { .. }) {
            let detail = "no assistant says this: text, tool_use and reasoning are what it says";
            wrong.add(&place.join(index), code::UNKNOWN_VALUE, detail);
        }
    }
    Some(blocks)
}

/// What a tool may have returned.
const PARTS: [(&str, Kind); 2] = [("text", Kind::Text), ("image", Kind::Image)];

fn block(value: Value, place: Pointer, wrong: &mut Mistakes) -> Option<Block> {
    let mut fields = Fields::of(value, place, wrong)?;
    let block = match fields.needed_choice("type", &KINDS)? {
        Kind::Text => fields.needed_text("text").map(Block::text),
        Kind::ToolUse => tool_use(&mut fields),
        Kind::ToolResult => tool_result(&mut fields),
        Kind::Image => image(&mut fields).map(Block::Image),
        Kind::Reasoning => return Some(Block::Reasoning(fields.rest())),
    };
    fields.close();
    block
}

fn tool_use(fields: &mut Fields<'_>) -> Option<Block> {
    let id = fields.name("id", USE_ID_BYTES_MAX);
    let name = fields.name("name", limit::ID_BYTES_MAX);
    let input = match fields.need("input") {
        Some(Value::Object(input)) => Some(input),
        Some(other) => fields.wrong_type("input", "an object", &other),
        None => None,
    };
    Some(Block::ToolUse { id: id?, name: name?, input: input? })
}

fn tool_result(fields: &mut Fields<'_>) -> Option<Block> {
    let tool_use_id = fields.name("tool_use_id", USE_ID_BYTES_MAX);
    let is_error = fields.boolean("is_error").unwrap_or(false);
    let at = fields.at("content");
    let content = match fields.need("content") {
        Some(Value::String(text)) => Some(vec![Part::Text { text }]),
        Some(value @ Value::Array(_)) => list(value, &at, 0, BLOCKS_MAX, fields.wrong).map(|list| {
            list.into_iter()
                .enumerate()
                .filter_map(|(index, value)| part(value, at.join(index), fields.wrong))
                .collect()
        }),
        Some(other) => fields.wrong_type("content", "a string or a list of text and image blocks", &other),
        None => None,
    };
    Some(Block::ToolResult { tool_use_id: tool_use_id?, content: content?, is_error })
}

fn part(value: Value, place: Pointer, wrong: &mut Mistakes) -> Option<Part> {
    let mut fields = Fields::of(value, place, wrong)?;
    let part = match fields.needed_choice("type", &PARTS)? {
        Kind::Image => image(&mut fields).map(Part::Image),
        _ => fields.needed_text("text").map(|text| Part::Text { text }),
    };
    fields.close();
    part
}

fn image(fields: &mut Fields<'_>) -> Option<Image> {
    let media_type = fields.needed_choice("media_type", &MediaType::ALL);
    let place = fields.at("data");
    let (data, artifact) = (fields.text("data"), fields.text("artifact"));
    let data = match (data, artifact) {
        (Some(data), None) => {
            if data.is_empty() || STANDARD.decode(&data).is_err() {
                fields.wrong.add(&place, code::INVALID_CHARACTER, "must be the image's bytes in base64, with padding");
            }
            Some(data)
        }
        (None, Some(artifact)) => {
            let quoted = limit::clip(&artifact, limit::QUOTE_BYTES_MAX);
            let detail =
                format!("this mission has no artifact `{quoted}`: put it first, or send the image's bytes as `data`");
            fields.wrong.add(&fields.at("artifact"), code::UNKNOWN_VALUE, detail);
            None
        }
        (Some(_), Some(_)) => {
            fields.wrong.add(&place, code::UNKNOWN_VALUE, "stands beside `artifact`: one of both says what is shown");
            None
        }
        (None, None) => {
            fields.wrong.add(&place, code::REQUIRED, "must be there, or `artifact`");
            None
        }
    };
    Some(Image { media_type: media_type?, data: data? })
}
