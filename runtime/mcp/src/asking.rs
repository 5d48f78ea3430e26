//! What a server asks people while it makes a call: for whom, in which form, and what it is answered.
//!
//! A server asks in one of two ways: with a request of its own (`elicitation/create`), or, since 2026-07-28, with the answer to the call, which
//! is then made once more with what people said. Owned here: to which call a request belongs, that its words are veiled and bounded before
//! anybody is shown them, and how many wait at once. Never here: who is asked, and for how long ([`Ask`]).

use std::fmt::Display;
use std::sync::Arc;

use crate::TOLD_BYTES_MAX;
use crate::connection::Connection;
use crate::handler::News;
use rmcp::model::{ElicitRequestParams, ElicitResult, ElicitationAction};
use sortie_contract::limit::{self, QUESTIONS_OF_SERVER_MAX};
use sortie_egress::Redactor;
use sortie_tools::{Ask, Form, Question, Reply};

/// Under which name the transport says, in the `_meta` of what a server asks, in the answer to which request it came.
pub(crate) const RELATED: &str = "sortie/related-request";

/// Why a server is not asked back by an address that people are to open.
pub(crate) const NO_ADDRESSES: &str =
    "this client shows people forms only (mode `form`): an address that a server names is opened for nobody";

/// A call, and whom its server can ask meanwhile.
pub(crate) struct Asking {
    server: Arc<str>,
    tool: String,
    ask: Arc<dyn Ask>,
    veil: Arc<Redactor>,
    /// Of its server: questions that may wait for people at once.
    news: Arc<News>,
}

impl Asking {
    pub(crate) fn new(connection: &Connection, tool: &str, ask: &Arc<dyn Ask>) -> Self {
        Self {
            server: Arc::clone(&connection.server),
            tool: tool.to_owned(),
            ask: Arc::clone(ask),
            veil: Arc::clone(&connection.veil),
            news: Arc::clone(&connection.news),
        }
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn elicit(&self, wanted: ElicitRequestParams) -> ElicitResult {
        let ElicitRequestParams::FormElicitationParams { message, requested_schema, .. } = wanted else {
            return self.declined(NO_ADDRESSES);
        };
        let schema = self.veil.json(serde_json::to_value(requested_schema).unwrap_or_default());
        let form = match Form::of(schema) {
            Ok(form) => form,
            Err(why) => return self.declined(&why),
        };
        let Ok(_place) = self.news.room.try_acquire() else {
            return self
                .declined(&format!("{QUESTIONS_OF_SERVER_MAX} questions of its server wait for people already"));
        };
        // Half of a secret nobody recognises: what is cut is cut where there is none any more.
        let message = self.veil.clipped(&message, limit::NOTE_BYTES_MAX);
        match self.ask.ask(Question { message, form }).await {
            Reply::Accepted(content) => ElicitResult::new(ElicitationAction::Accept).with_content(content.into()),
            Reply::Declined => ElicitResult::new(ElicitationAction::Decline),
            Reply::Cancelled => ElicitResult::new(ElicitationAction::Cancel),
        }
    }

    fn declined(&self, why: &str) -> ElicitResult {
        declined(&self.server, &self.news, format_args!("what `{}` asks reaches nobody: {why}", self.tool), &self.veil)
    }
}

/// A question of a server that nobody is asked.
pub(crate) fn declined(server: &str, news: &News, why: impl Display, veil: &Redactor) -> ElicitResult {
    let (is_told, left_out) = news.declined.lock().one_more();
    if let Some(questions) = left_out {
        tracing::warn!(server, questions, "a tool server was declined more often than is told");
    }
    if is_told {
        let why = veil.clipped(&why.to_string(), TOLD_BYTES_MAX);
        tracing::warn!(server, why, "a tool server asks people for input, and is declined");
    }
    ElicitResult::new(ElicitationAction::Decline)
}
