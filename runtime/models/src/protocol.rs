//! What all protocols have in common: one round of a call on its way out, and a turn of the model on its way in.
//!
//! A protocol is a file of its own: it renders a [`Round`] into the body of a request, and reads the body of an answer. It sends nothing,
//! decides nothing about errors, and knows no prices.

pub(crate) mod anthropic;
mod count;
pub(crate) mod openai;

use serde_json::Value;
use sortie_contract::limit;
use sortie_contract::tool::ToolInfo;

pub(crate) use self::count::{Count, Number};
use crate::answer::StopReason;
use crate::names::Names;
use crate::request::{BLOCKS_MAX, Block, Part, Request};

/// What is asked of a provider.
pub(crate) struct Round<'a> {
    pub(crate) request: &'a Request,
    pub(crate) tools: &'a [ToolInfo],
    pub(crate) names: &'a Names,
    /// What the provider calls the model.
    pub(crate) model: &'a str,
    pub(crate) max_tokens: u32,
    /// Whether the provider holds the answer to the schema; else the model is told.
    pub(crate) takes_schemas: bool,
}

impl Round<'_> {
    /// What the model is told before everything else, with the schema where only telling helps.
    pub(crate) fn system(&self) -> Option<String> {
        let system = self.request.system.clone();
        match &self.request.output {
            Some(output) if !self.takes_schemas => {
                let told = format!(
                    "Answer with JSON alone, without any text around it and without a code block. It must be valid against this JSON \
                     Schema:\n{}",
                    output.schema
                );
                Some(system.map_or_else(|| told.clone(), |system| format!("{system}\n\n{told}")))
            }
            _ => system,
        }
    }

    /// The schema, where the provider takes it.
    pub(crate) fn schema(&self) -> Option<&Value> {
        self.request.output.as_ref().filter(|_| self.takes_schemas).map(|output| &output.schema)
    }
}

/// What a model said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Turn {
    pub(crate) content: Vec<Block>,
    pub(crate) stop_reason: StopReason,
    /// `None`: the provider does not say.
    pub(crate) usage: Option<Count>,
}

/// An answer that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) why: String,
    /// What the provider counted, where that at least can be read.
    pub(crate) usage: Option<Count>,
}

impl Unreadable {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), usage: None }
    }

    pub(crate) fn counted(mut self, usage: Option<Count>) -> Self {
        self.usage = usage;
        self
    }
}

/// Any answer is JSON, an object.
pub(crate) fn object(body: &str) -> Result<Value, Unreadable> {
    let value: Value =
        serde_json::from_str(body).map_err(|error| Unreadable::new(format!("it is not JSON: {error}")))?;
    if value.is_object() { Ok(value) } else { Err(Unreadable::new("it is no JSON object")) }
}

/// More blocks than a message may have could not be given back.
pub(crate) fn bounded(content: Vec<Block>) -> Result<Vec<Block>, Unreadable> {
    if content.len() > BLOCKS_MAX {
        return Err(Unreadable::new(format!("it has {} blocks, {BLOCKS_MAX} are allowed", content.len())));
    }
    Ok(content)
}

/// The arguments that a tool takes, in the form that providers want: an object.
pub(crate) fn parameters(tool: &ToolInfo) -> Value {
    match &tool.input_schema {
        Value::Object(schema) if schema.contains_key("type") => Value::Object(schema.clone()),
        Value::Object(schema) => {
            let mut schema = schema.clone();
            schema.insert("type".to_owned(), "object".into());
            Value::Object(schema)
        }
        _ => serde_json::json!({ "type": "object" }),
    }
}

/// The texts among what a tool returned, one after the other.
pub(crate) fn texts(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text { text } => Some(text.as_str()),
        Part::Image(_) => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// What a provider says of an error: one line, not long, whatever it sent.
pub(crate) fn complaint(body: &str) -> String {
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    let places = ["/error/message", "/message", "/detail", "/error"];
    let said = places.iter().find_map(|place| value.pointer(place).and_then(Value::as_str)).unwrap_or(body);
    let line: String = said.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).fold(
        String::new(),
        |mut line, word| {
            if line.len() < COMPLAINT_BYTES_MAX {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            line
        },
    );
    limit::clip(&line, COMPLAINT_BYTES_MAX)
}

/// Most of a provider's message that is passed on, in bytes: a sentence or three.
const COMPLAINT_BYTES_MAX: usize = 500;

/// The names by which an error says what it is.
pub(crate) fn error_names(body: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    let places = ["/error/code", "/error/type"];
    places.iter().filter_map(|place| value.pointer(place).and_then(Value::as_str)).map(str::to_owned).collect()
}
