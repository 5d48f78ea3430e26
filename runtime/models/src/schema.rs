//! The JSON Schemas of requests and answers, for authors of plugins. What is declared here is read by nobody: the parser has rules of
//! its own, and a test holds both against each other.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

use crate::answer::Answer;
use crate::request::{Effort, MediaType, Role};

/// The JSON Schema of a request, as [`crate::Ask::request`] holds one.
#[must_use]
pub fn request_schema() -> Value {
    SchemaGenerator::default().into_root_schema_for::<Request>().to_value()
}

/// The JSON Schema of an answer, as [`crate::Completed::answer`] holds one.
#[must_use]
pub fn answer_schema() -> Value {
    SchemaGenerator::default().into_root_schema_for::<Answer>().to_value()
}

/// What a model is asked.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it is only described")]
struct Request {
    /// The model's name in the configuration of the node; by default the node's default model.
    model: Option<String>,
    /// What the model is told before everything else.
    system: Option<String>,
    /// The conversation; the first message is of the user.
    #[schemars(length(min = 1, max = 10_000))]
    messages: Vec<Message>,
    /// The most that it may write, in tokens; by default, and at most, what the configuration gives the model.
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    max_tokens: Option<u32>,
    /// How much chance there is in the answer. Not beside `reasoning`.
    #[schemars(range(min = 0.0, max = 2.0))]
    temperature: Option<f64>,
    /// How much it is to think before it answers.
    reasoning: Option<Effort>,
    /// A JSON Schema that the answer is to fit: `output` of the answer does.
    output_schema: Option<Map<String, Value>>,
}

/// One turn of the conversation.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "it is only described")]
struct Message {
    /// Who speaks.
    role: Role,
    /// What is said.
    content: Content,
}

/// What is said: a text, or blocks.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it is only described")]
enum Content {
    Text(String),
    Blocks(#[schemars(length(max = 1_000))] Vec<RequestBlock>),
}

/// A part of a message.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "it is only described")]
enum RequestBlock {
    /// Text.
    Text {
        /// It.
        text: String,
    },
    /// The assistant asks for a tool.
    ToolUse {
        /// What its result answers.
        #[schemars(length(min = 1, max = 256))]
        id: String,
        /// The tool.
        #[schemars(length(min = 1, max = 200))]
        name: String,
        /// The arguments.
        input: Map<String, Value>,
    },
    /// The user says what a tool returned. It answers a `tool_use` of the assistant's message before.
    ToolResult {
        /// Which use it answers.
        #[schemars(length(min = 1, max = 256))]
        tool_use_id: String,
        /// What came of it.
        content: ResultContent,
        /// Whether the tool failed.
        is_error: Option<bool>,
    },
    /// The user shows something: its bytes in `data`, or the name of an artifact of this mission.
    Image {
        /// What it is.
        media_type: MediaType,
        /// Its bytes, in base64 with padding.
        data: Option<String>,
        /// The name of an artifact of this mission.
        artifact: Option<String>,
    },
    /// What the assistant thought, as it was answered.
    #[schemars(extend("additionalProperties" = true))]
    Reasoning {},
}

/// What a tool returned: a text, or blocks.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it is only described")]
enum ResultContent {
    Text(String),
    Blocks(#[schemars(length(max = 1_000))] Vec<ResultBlock>),
}

/// A part of what a tool returned.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "it is only described")]
enum ResultBlock {
    /// Text.
    Text {
        /// It.
        text: String,
    },
    /// An image.
    Image {
        /// What it is.
        media_type: MediaType,
        /// Its bytes, in base64 with padding.
        data: Option<String>,
        /// The name of an artifact of this mission.
        artifact: Option<String>,
    },
}

/// A part of an answer.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename_all = "snake_case")]
#[expect(dead_code, reason = "it is only described")]
pub(crate) enum AnswerBlock {
    /// Text.
    Text {
        /// It.
        text: String,
    },
    /// The model asks for a tool; a `tool_result` of the next message answers.
    ToolUse {
        /// What its result answers.
        id: String,
        /// The tool.
        name: String,
        /// The arguments.
        input: Map<String, Value>,
    },
    /// What the model thought: to be given back as it is.
    Reasoning {},
}
