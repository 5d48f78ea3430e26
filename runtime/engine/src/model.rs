//! Calls of models: a plugin's request becomes a call among its others, quoted before it is decided, and made like the call of a tool.
//!
//! Owned here: what is asked of the models, the tools that they are told of, and what becomes of a call that a provider refuses for
//! now. Never here: what a call costs, which the models say, and whether the budget covers it, which the core says.

use std::sync::Arc;

use sortie_contract::plugin::ModelInfo;
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo, ToolName};
use sortie_contract::{Spend, Timestamp};
use sortie_mission::ModelCall;
use sortie_models::{Ask, Failed};
use sortie_tools::CallContext;

use super::Engine;

/// What a plugin asks of a model.
pub(crate) struct ModelOrder {
    request: String,
    /// The tools that the model may ask for, as the mission was told of them.
    tools: Vec<ToolInfo>,
}

/// What came of a call.
pub(crate) enum Came {
    /// Its result, and what it did cost, as far as is known.
    Done(Result<ToolAnswer, CallError>, Option<Spend>),
    /// Its provider refuses it for now and has done nothing for it: until when, if it says, and why.
    Refused { until: Option<Timestamp>, why: String },
}

impl ModelOrder {
    /// With what the mission was told of each tool.
    pub(crate) fn new(request: String, tools: Vec<ToolInfo>) -> Self {
        Self { request, tools }
    }

    /// What of it is compared in a replay, and what of it is on record.
    pub(crate) fn texts(request: &str, tools: &[ToolName]) -> (String, String) {
        let call = ModelCall { request, tools };
        (call.whole(), call.on_record())
    }

    fn ask<'a>(&'a self, mission_id: &'a str, idempotency_key: &'a str, traceparent: Option<&'a str>) -> Ask<'a> {
        Ask { request: &self.request, tools: &self.tools, mission_id, idempotency_key, traceparent }
    }

    /// The most that it can cost; nothing, where it is not made at all: why, its plugin is told when it is to be made.
    pub(crate) fn quote(&self, engine: &Engine) -> Spend {
        engine.models.quote(&self.ask("", "", None)).unwrap_or(Spend::NOTHING)
    }

    /// Makes it. So much was set aside for it, and it is not made where it may cost more by now.
    pub(crate) async fn make(&self, engine: &Arc<Engine>, context: &CallContext, set_aside: Spend) -> Came {
        let traceparent = context.traceparent();
        let ask = self.ask(&context.mission_id, &context.idempotency_key, traceparent.as_deref());
        match engine.models.quote(&ask) {
            Err(error) => return Came::Done(Err(error), Some(Spend::NOTHING)),
            Ok(quote) if !quote.fits(set_aside) => {
                let why =
                    format!("it may cost {quote} by now, and {set_aside} were set aside for it: it is not made again");
                return Came::Done(Err(CallError::Failed(why)), Some(Spend::NOTHING));
            }
            Ok(_) => {}
        }
        match engine.models.complete(&ask).await {
            Ok(completed) => {
                engine.spending().answered(&completed.model, completed.spent);
                let answer = ToolAnswer { result: completed.answer, wrote: Vec::new() };
                Came::Done(Ok(answer), Some(completed.spent))
            }
            // One of which nobody knows whether it was paid for has been made, for all that is known.
            Err(Failed { hold: Some(hold), spent: Some(Spend::NOTHING), .. }) => {
                Came::Refused { until: hold.until, why: hold.why }
            }
            Err(Failed { error, spent, .. }) => Came::Done(Err(error), spent),
        }
    }
}

impl Engine {
    /// The models, as plugins are told of them.
    pub(crate) fn models_told(&self) -> Vec<ModelInfo> {
        let told = |info: sortie_models::ModelInfo| ModelInfo {
            name: info.name,
            context_tokens: info.context_tokens.map(u64::from),
            takes_tools: info.takes_tools,
            takes_images: info.takes_images,
            takes_schemas: info.takes_schemas,
            is_default: info.is_default,
        };
        self.models.list().into_iter().map(told).collect()
    }
}
