//! What is served: the words of the protocol that a [`Desk`] needs, without the protocol.

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::talk::Talk;

/// What a server offers. It answers many calls at once, and a call may be dropped at any await: its caller is gone.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// Who calls. Whoever authenticates a request over HTTP puts it into the request's extensions.
    type Caller: Clone + PartialEq + Send + Sync + 'static;

    /// What the server calls itself.
    fn about(&self) -> About;

    /// Its tools; they do not change.
    fn tools(&self) -> Vec<Tool>;

    /// Its resources, by patterns of their addresses. Without any, the server has no resources.
    fn templates(&self) -> Vec<Template> {
        Vec::new()
    }

    /// Resources that are always there: address, name, media type.
    fn resources(&self) -> Vec<Template> {
        Vec::new()
    }

    /// Calls the tool of that name. What goes wrong in it is an [`Answer`] that says so; a [`Fault`] is a call that could not be
    /// understood.
    async fn call(
        &self,
        caller: &Self::Caller,
        tool: &str,
        arguments: Map<String, Value>,
        talk: &Talk,
    ) -> Result<Outcome, Fault>;

    /// What there is at an address.
    async fn read(&self, caller: &Self::Caller, address: &str) -> Result<Contents, Fault> {
        let _ = caller;
        Err(Fault::unknown(format!("there is no resource `{address}`")))
    }

    /// How a task is. `asks` says whether the client's person can be asked.
    async fn task(&self, caller: &Self::Caller, id: &str, asks: bool) -> Result<Task, Fault> {
        let _ = (caller, asks);
        Err(Fault::unknown(format!("there is no task `{id}`")))
    }

    /// What people said to the questions of a task, by their keys; nothing, where that is no reply to a form. Answers to what is not asked are
    /// dropped (SEP-2663).
    async fn answer(&self, caller: &Self::Caller, id: &str, said: Vec<(String, Option<Said>)>) -> Result<(), Fault> {
        let _ = (caller, said);
        Err(Fault::unknown(format!("there is no task `{id}`")))
    }

    /// Asks for a task to be cancelled.
    async fn cancel(&self, caller: &Self::Caller, id: &str) -> Result<(), Fault> {
        let _ = caller;
        Err(Fault::unknown(format!("there is no task `{id}`")))
    }
}

/// What a server calls itself.
#[derive(Debug, Clone)]
pub struct About {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What a model that is to use it is told.
    pub instructions: &'static str,
    /// Whether calls of its tools may become tasks.
    pub has_tasks: bool,
}

/// A tool.
#[derive(Debug, Clone)]
pub struct Tool {
    /// What it is called by.
    pub name: String,
    /// The same for people.
    pub title: String,
    /// What it does.
    pub description: String,
    /// The JSON Schema of its arguments, an object.
    pub input: Map<String, Value>,
    /// The JSON Schema of its data, an object.
    pub output: Option<Map<String, Value>>,
    /// What its calls do to the world.
    pub hints: Hints,
}

/// What calls of a tool do to the world.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hints {
    /// Nothing.
    pub reads_only: bool,
    /// What cannot be taken back.
    pub is_destructive: bool,
    /// Nothing more, when they are repeated.
    pub is_idempotent: bool,
}

/// What came of a call.
#[derive(Debug)]
pub enum Outcome {
    /// It is done.
    Done(Answer),
    /// It goes on as a task. Only for a client that takes tasks ([`Talk::takes_tasks`]).
    Task(Task),
}

/// The answer to a call.
#[derive(Debug, Clone)]
pub struct Answer {
    /// For whoever reads.
    pub content: Vec<Content>,
    /// For programs: what the tool's schema describes.
    pub data: Option<Value>,
    /// Whether it says what went wrong.
    pub is_error: bool,
}

impl Answer {
    /// Data, and the same as a text.
    #[must_use]
    pub fn data(data: Value) -> Self {
        Self { content: vec![Content::Text(data.to_string())], data: Some(data), is_error: false }
    }

    /// A text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { content: vec![Content::Text(text.into())], data: None, is_error: false }
    }

    /// The same, as what went wrong.
    #[must_use]
    pub fn failed(self) -> Self {
        Self { is_error: true, ..self }
    }
}

/// A piece of an answer.
#[derive(Debug, Clone)]
pub enum Content {
    /// A text.
    Text(String),
    /// A picture: its bytes and media type.
    Image(Vec<u8>, String),
    /// A sound: its bytes and media type.
    Audio(Vec<u8>, String),
    /// A resource, with what is in it.
    Resource(Contents),
}

/// What there is at an address.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The address.
    pub address: String,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub body: Body,
}

/// Bytes, or a text where they are one.
#[derive(Debug, Clone)]
pub enum Body {
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Resources of a kind, or one of them.
#[derive(Debug, Clone)]
pub struct Template {
    /// The address, or its pattern (RFC 6570).
    pub address: String,
    /// What it is called.
    pub name: String,
    /// What it holds.
    pub description: String,
    /// Its media type, where it is always the same.
    pub media_type: Option<String>,
}

/// A question to the client's person: a form.
#[derive(Debug, Clone)]
pub struct Question {
    /// What is asked.
    pub message: String,
    /// The JSON Schema of what is filled in: an object of plain values.
    pub form: Value,
}

/// What somebody said to a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// The form, filled in.
    Form(Map<String, Value>),
    /// They would rather not.
    No,
}

/// A task.
#[derive(Debug, Clone)]
pub struct Task {
    /// What it is known by.
    pub id: String,
    /// How it is.
    pub stage: Stage,
    /// The same, in words.
    pub message: Option<String>,
    /// Since when it is there, as RFC 3339 says.
    pub created_at: String,
    /// Since when it is so.
    pub updated_at: String,
}

/// How a task is.
#[derive(Debug, Clone)]
pub enum Stage {
    /// It is under way.
    Working,
    /// It waits for what people say, by keys that are never used again in it.
    Asks(Vec<(String, Question)>),
    /// The call that it was has its answer.
    Done(Answer),
    /// The call could not be carried out at all: why.
    Failed(String),
    /// It was cancelled.
    Cancelled,
}

/// A call that was not understood, or that asks for what there is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What, where, and what to do.
    pub detail: String,
    /// What a program is told beside it.
    pub data: Option<Value>,
    /// Whether what was asked for is not there.
    pub(super) is_unknown: bool,
}

impl Fault {
    /// There is no such thing.
    #[must_use]
    pub fn unknown(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), data: None, is_unknown: true }
    }

    /// It cannot be taken.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), data: None, is_unknown: false }
    }

    /// With what a program is told beside it.
    #[must_use]
    pub fn with(self, data: Value) -> Self {
        Self { data: Some(data), ..self }
    }
}
