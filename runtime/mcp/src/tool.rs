//! A tool of a server, as missions call it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rmcp::model::JsonObject;
use serde_json::Value;
use sortie_contract::limit;
use sortie_contract::tool::{CallError, ToolAnswer, ToolInfo};
use sortie_tools::{CallContext, Tool};

use crate::calling::{self, Order};
use crate::content;
use crate::digits;
use crate::server::Server;

/// Under which names a call carries what it is made for, in its `_meta`.
const IDEMPOTENCY_KEY: &str = "sortie/idempotency-key";
const MISSION_ID: &str = "sortie/mission-id";
const FENCING_TOKEN: &str = "sortie/fencing-token";

/// So much later than the call itself the toolbox gives it up: it is the call's own word that is to be told.
const LATER: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct McpTool {
    pub(crate) server: Arc<Server>,
    /// As the server calls it.
    pub(crate) name: String,
    pub(crate) info: ToolInfo,
}

#[async_trait]
impl Tool for McpTool {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    async fn call(&self, context: &CallContext, arguments: &Value) -> Result<ToolAnswer, CallError> {
        self.call_as_written(context, arguments, "").await
    }

    async fn call_as_written(
        &self,
        context: &CallContext,
        arguments: &Value,
        text: &str,
    ) -> Result<ToolAnswer, CallError> {
        let failed = |why: String| CallError::Failed(format!("{} cannot be called: {why}", self.info.name));
        let limits = self.server.limits();
        // Those that wait for their turn wait within their time.
        let turn = tokio::time::timeout(limits.idle, self.server.turn()).await;
        let _turn = turn.map_err(|_| {
            let seconds = limits.idle.as_secs();
            CallError::TimedOut(format!("{}: the server had no room for a call within {seconds} s", self.info.name))
        })?;
        let connection = self.server.connection().map_err(failed)?;
        let mut meta = JsonObject::new();
        meta.insert(IDEMPOTENCY_KEY.to_owned(), context.idempotency_key.as_str().into());
        meta.insert(MISSION_ID.to_owned(), context.mission_id.as_str().into());
        meta.insert(FENCING_TOKEN.to_owned(), context.run.0.into());
        // As the protocol names it.
        if let Some(traceparent) = context.traceparent() {
            meta.insert("traceparent".to_owned(), traceparent.into());
        }
        digits::note_arguments(&mut meta, arguments, text);
        let order = Order { tool: &self.name, arguments, meta, limits, repeat: self.info.repeat(), ask: &context.ask };
        let veil = &connection.veil;
        let answer = calling::call(&connection, &order).await;
        let answer = answer.and_then(|answer| Ok((content::result(&answer, veil)?, answer)));
        let (result, answer) = answer.map_err(|error| veiled(error, |text| veil.owned(text)))?;
        let result = veil.json(result);
        let structured = digits::structured(&answer, |text| veil.text(text));
        let written = structured.and_then(|it| digits::with(result.as_object()?, content::STRUCTURED, &it));
        let result = written.map_or_else(|| result.to_string(), |written| written.get().to_owned());
        if result.len() > limit::CALL_BYTES_MAX {
            let (bytes, max) = (result.len(), limit::CALL_BYTES_MAX);
            return Err(CallError::Failed(format!("the result has {bytes} bytes, {max} are allowed; ask for less")));
        }
        Ok(ToolAnswer { result, wrote: Vec::new() })
    }

    fn time_limit(&self) -> Duration {
        // It may wait for its turn before.
        let limits = self.server.limits();
        limits.idle + limits.most + LATER
    }
}

fn veiled(error: CallError, over: impl Fn(String) -> String) -> CallError {
    match error {
        CallError::Failed(why) => CallError::Failed(over(why)),
        CallError::InvalidArguments(why) => CallError::InvalidArguments(over(why)),
        CallError::Uncertain(why) => CallError::Uncertain(over(why)),
        CallError::TimedOut(why) => CallError::TimedOut(over(why)),
        CallError::Denied(why) => CallError::Denied(over(why)),
        CallError::BudgetExhausted(why) => CallError::BudgetExhausted(over(why)),
        CallError::Cancelled => CallError::Cancelled,
    }
}
