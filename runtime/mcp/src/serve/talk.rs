//! What a call can say to its client before it is answered: how far it is, and questions to the client's person.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use rmcp::RoleServer;
use rmcp::model::{
    ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema, InputRequest,
    InputRequests, InputResponses, ProgressNotificationParam, ProtocolVersion,
};
use rmcp::service::RequestContext;
use serde_json::Value;

use super::desk::{Question, Said};

/// The line to the client of one call.
pub struct Talk {
    context: RequestContext<RoleServer>,
    /// What the client brought along, in the era without sessions: it was asked before, and calls again.
    brought: InputResponses,
    /// What the client is to bring along when it calls again.
    asked: Mutex<InputRequests>,
}

impl std::fmt::Debug for Talk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Talk").field("id", &self.context.id).finish_non_exhaustive()
    }
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Somebody said something.
    Said(Said),
    /// The call is to end now: its client asks, and calls again with the reply.
    Later,
    /// Nobody can be asked.
    Nobody,
}

impl Talk {
    pub(super) fn new(context: RequestContext<RoleServer>, brought: Option<InputResponses>) -> Self {
        Self { context, brought: brought.unwrap_or_default(), asked: Mutex::default() }
    }

    /// Whether the client has somebody to ask.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        can_ask(&self.context)
    }

    /// Whether a call may become a task.
    #[must_use]
    pub fn takes_tasks(&self) -> bool {
        self.context.client_capabilities().is_some_and(|can| can.supports_tasks())
    }

    /// Says how far the call is, where the client wants to know: `done` only grows.
    pub async fn progress(&self, done: f64, total: Option<f64>, message: &str) {
        let Some(token) = self.context.meta.get_progress_token() else { return };
        let mut told = ProgressNotificationParam::new(token, done).with_message(message);
        told.total = total;
        if let Err(error) = self.context.peer.notify_progress(told).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a client is not told of progress");
        }
    }

    /// Asks the client's person, under a key that the call uses for nothing else. May be dropped while it waits.
    pub async fn ask(&self, key: &str, question: &Question) -> Reply {
        if let Some(said) = self.brought.get(key).and_then(said) {
            return Reply::Said(said);
        }
        if !self.can_ask() {
            return Reply::Nobody;
        }
        let Some(request) = request(question) else { return Reply::Nobody };
        if calls_again(&self.context) {
            self.asked.lock().insert(key.to_owned(), InputRequest::Elicitation(ElicitRequest::new(request)));
            return Reply::Later;
        }
        match self.context.peer.create_elicitation(request).await {
            Ok(result) => Reply::Said(read(result)),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a question was not answered");
                Reply::Nobody
            }
        }
    }

    /// What the client is to be asked before it calls again.
    pub(super) fn into_asked(self) -> Option<InputRequests> {
        Some(self.asked.into_inner()).filter(|asked| !asked.is_empty())
    }
}

/// Whether the client has somebody to ask, by forms: where it says nothing of their kinds, it means those.
pub(super) fn can_ask(context: &RequestContext<RoleServer>) -> bool {
    let can = context.client_capabilities().and_then(|can| can.elicitation);
    can.is_some_and(|can| can.form.is_some() || can.url.is_none())
}

/// Whether a client of that era is asked by the answer to its call.
fn calls_again(context: &RequestContext<RoleServer>) -> bool {
    let version = context.protocol_version();
    version.is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

/// The question in the protocol's words.
fn request(question: &Question) -> Option<ElicitRequestParams> {
    let form: Result<ElicitationSchema, _> = serde_json::from_value(question.form.clone());
    let form = form.inspect_err(|error| tracing::error!(%error, form = %question.form, "no form")).ok()?;
    Some(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: question.message.clone(),
        requested_schema: form,
    })
}

/// Questions in the protocol's words, by their keys.
pub(super) fn requests(questions: &[(String, Question)]) -> InputRequests {
    let asked = questions.iter().filter_map(|(key, question)| {
        Some((key.clone(), InputRequest::Elicitation(ElicitRequest::new(request(question)?))))
    });
    asked.collect::<BTreeMap<_, _>>()
}

/// What somebody said; nothing, where that is no reply to a form: it is asked again.
pub(super) fn said(reply: &Value) -> Option<Said> {
    let result: ElicitResult = serde_json::from_value(reply.clone()).ok()?;
    let is_no = result.action != ElicitationAction::Accept;
    (is_no || result.content.as_ref().is_none_or(Value::is_object)).then(|| read(result))
}

fn read(result: ElicitResult) -> Said {
    match (result.action, result.content) {
        (ElicitationAction::Accept, Some(Value::Object(form))) => Said::Form(form),
        (ElicitationAction::Accept, None) => Said::Form(serde_json::Map::new()),
        _ => Said::No,
    }
}
