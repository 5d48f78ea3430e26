//! Who answers: a protocol and the line that it is spoken over.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde_json::Value;

use crate::config::{MaxTokensKey, Thinking};
use crate::line::script::{self, Script};
use crate::line::{Broken, Http, Marks, Reply};
use crate::protocol::{Round, Turn, Unreadable, anthropic, openai};

/// A protocol and its line.
pub(crate) enum Provider {
    /// Chat completions.
    OpenAi { line: Http, max_tokens: MaxTokens },
    /// Messages.
    Anthropic { line: Http, thinking: Thinking },
    /// A file.
    Scripted(Script),
}

/// What the bound of an answer is called here: configured, or likely and then learned.
#[derive(Debug)]
pub(crate) struct MaxTokens {
    first: MaxTokensKey,
    is_fixed: bool,
    is_the_other: AtomicBool,
}

impl MaxTokens {
    pub(crate) fn fixed(key: MaxTokensKey) -> Self {
        Self { first: key, is_fixed: true, is_the_other: AtomicBool::new(false) }
    }

    pub(crate) fn learned(likely: MaxTokensKey) -> Self {
        Self { first: likely, is_fixed: false, is_the_other: AtomicBool::new(false) }
    }

    fn key(&self) -> MaxTokensKey {
        if self.is_the_other.load(Ordering::Relaxed) { other(self.first) } else { self.first }
    }

    /// The provider has taken this one.
    fn learn(&self, key: MaxTokensKey) {
        self.is_the_other.store(key != self.first, Ordering::Relaxed);
    }

    /// Whether a refusal is about the name of this key, and another may be tried.
    fn is_refused(&self, key: MaxTokensKey, reply: &Reply) -> bool {
        let name = match key {
            MaxTokensKey::MaxTokens => "max_tokens",
            MaxTokensKey::MaxCompletionTokens => "max_completion_tokens",
        };
        !self.is_fixed && matches!(reply.status, 400 | 422) && reply.body.contains(name)
    }
}

fn other(key: MaxTokensKey) -> MaxTokensKey {
    match key {
        MaxTokensKey::MaxTokens => MaxTokensKey::MaxCompletionTokens,
        MaxTokensKey::MaxCompletionTokens => MaxTokensKey::MaxTokens,
    }
}

/// For whom, beside the round itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) mission_id: &'a str,
    pub(crate) marks: Marks<'a>,
}

impl Provider {
    /// What would be sent.
    pub(crate) fn render(&self, round: &Round<'_>) -> Value {
        match self {
            // The longer name, so that a bound by bytes holds for both.
            Self::OpenAi { .. } => openai::render(round, MaxTokensKey::MaxCompletionTokens),
            Self::Anthropic { thinking, .. } => anthropic::render(round, *thinking),
            Self::Scripted(_) => script::render(round),
        }
    }

    /// Whether the provider puts words of its own before what is sent, and counts them.
    pub(crate) fn adds_words(&self) -> bool {
        !matches!(self, Self::Scripted(_))
    }

    /// Asks once.
    pub(crate) async fn ask(&self, round: &Round<'_>, sender: Sender<'_>) -> Result<Reply, Broken> {
        match self {
            Self::OpenAi { line, max_tokens } => {
                let key = max_tokens.key();
                let post = |key| line.post("/chat/completions", bytes(&openai::render(round, key)), sender.marks);
                let reply = post(key).await?;
                if !max_tokens.is_refused(key, &reply) {
                    return Ok(reply);
                }
                // A refusal costs nothing.
                let again = post(other(key)).await?;
                if again.status == 200 {
                    max_tokens.learn(other(key));
                }
                // Where neither is taken, it is about something else, and the first to say so is who knows.
                Ok(if max_tokens.is_refused(other(key), &again) { reply } else { again })
            }
            Self::Anthropic { line, thinking } => {
                line.post("/v1/messages", bytes(&anthropic::render(round, *thinking)), sender.marks).await
            }
            Self::Scripted(script) => script.exchange(round, sender.mission_id).await,
        }
    }

    /// Reads the body of a good answer.
    pub(crate) fn read(&self, body: &str, round: &Round<'_>, mark: &str) -> Result<Turn, Unreadable> {
        match self {
            Self::OpenAi { .. } => openai::read(body, round.names, mark),
            Self::Anthropic { .. } => anthropic::read(body, round.names),
            Self::Scripted(_) => script::read(body),
        }
    }

    /// Asks for something that costs nothing: the list of its models. `None` for a script, which is always there.
    pub(crate) async fn list(&self) -> Option<Result<Reply, Broken>> {
        match self {
            Self::OpenAi { line, .. } => Some(line.get("/models").await),
            Self::Anthropic { line, .. } => Some(line.get("/v1/models").await),
            Self::Scripted(_) => None,
        }
    }
}

fn bytes(body: &Value) -> Bytes {
    Bytes::from(body.to_string())
}
