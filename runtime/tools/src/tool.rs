//! What a tool is to the toolbox, and helpers that all tools share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sortie_contract::id::RunNo;
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::tool::{CallError, EffectClass, ToolAnswer, ToolInfo, ToolName};
use sortie_contract::trace;

use crate::Workspace;
use crate::ask::Ask;
use crate::config::ToolConfig;

/// How long a call may take unless its tool says otherwise: far longer than a bounded walk of a workspace on a busy
/// disk.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Most of a file or a body that is looked at to tell text from binary, in bytes: what Git looks at.
const SNIFFED_BYTES: usize = 8_000;

/// What a call is made for.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The workspace of the mission's session.
    pub workspace: Workspace,
    /// The mission.
    pub mission_id: String,
    /// The same for every attempt at this call, and for no other call.
    pub idempotency_key: String,
    /// The mission's run, its fencing token: of two attempts, the one with the smaller number was made by a run that is over, perhaps on a
    /// node that does not know it yet.
    pub run: RunNo,
    /// The trace that the mission belongs to, in whatever form its envelope gives it.
    pub trace_id: String,
    /// Where its tool says what it did cost.
    pub bill: Bill,
    /// Whom its tool can ask.
    pub ask: Arc<dyn Ask>,
}

impl CallContext {
    /// The `traceparent` of the call, where its trace has that form: each attempt is the same span.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        trace::traceparent(&self.trace_id, trace::call_span(&self.idempotency_key))
    }
}

/// What a call did cost, as its tool says. It holds however the call ends: also when it fails, takes too long, or breaks off. A tool
/// that says nothing is taken to have cost what it was quoted at.
#[derive(Debug, Clone, Default)]
pub struct Bill(Arc<Mutex<Option<Spend>>>);

impl Bill {
    /// It did cost this, so far; the last word counts.
    pub fn is(&self, spent: Spend) {
        *self.0.lock() = Some(spent);
    }

    /// What its tool said.
    #[must_use]
    pub fn said(&self) -> Option<Spend> {
        *self.0.lock()
    }
}

/// Something that a plugin can be granted.
#[async_trait]
pub trait Tool: Send + Sync + 'static {
    /// Its name, description, schema and effects.
    fn info(&self) -> &ToolInfo;

    /// Does it. `arguments` fit the schema of [`Tool::info`]. Dropping the future cancels the call.
    async fn call(&self, context: &CallContext, arguments: &Value) -> Result<ToolAnswer, CallError>;

    /// The same for a tool that hands arguments on: `text` is what they were read from, in which numbers stand as they are written. By
    /// default the text is not looked at.
    async fn call_as_written(
        &self,
        context: &CallContext,
        arguments: &Value,
        text: &str,
    ) -> Result<ToolAnswer, CallError> {
        let _ = text;
        self.call(context, arguments).await
    }

    /// Whether calls may cost something by themselves, beside the price that the configuration gives the tool. Only then they are
    /// quoted: arguments are not read twice for nothing.
    fn is_priced(&self) -> bool {
        false
    }

    /// The most that a call can cost by itself: it is set aside before the call is made. `arguments` fit the schema of [`Tool::info`].
    /// What it did cost is said on the [`Bill`]; a call that costs more is the last one of its mission that costs anything.
    fn quote(&self, arguments: &Value) -> Spend {
        let _ = arguments;
        Spend::NOTHING
    }

    /// How long a call may take before it is `timed-out`.
    fn time_limit(&self) -> Duration {
        TIME_LIMIT
    }
}

/// What a tool does when a call is repeated, before the configuration has its say.
pub(crate) struct Nature {
    pub(crate) effects: &'static [&'static str],
    pub(crate) read_only: bool,
    pub(crate) idempotent: bool,
}

impl Nature {
    /// Changes nothing, so that repeating it is harmless.
    pub(crate) const READ_ONLY: Self = Self { effects: &[], read_only: true, idempotent: true };
}

/// The info of a built-in tool that takes `Arguments`, as the configuration has it.
pub(crate) fn info<Arguments: JsonSchema>(
    name: &str,
    description: &str,
    nature: &Nature,
    config: &ToolConfig,
) -> ToolInfo {
    let mut schema = schemars::schema_for!(Arguments);
    // For those who write calls, not for a schema registry.
    schema.remove("$schema");
    schema.remove("title");
    let declared: Vec<_> = nature.effects.iter().map(|&class| EffectClass(class.to_owned())).collect();
    // A class that the tool does not declare says that it does more than its author knew: what the author said of
    // repeating it counts no more. What the operator says of that does.
    let given = config.effects.as_ref().is_some_and(|given| given.iter().any(|class| !declared.contains(class)));
    let effects = config.effects.clone().unwrap_or(declared);
    ToolInfo {
        name: ToolName::new(name),
        description: description.to_owned(),
        input_schema: schema.to_value(),
        // Any class cancels it, so that what is told of the tool is what holds.
        read_only: config.read_only.unwrap_or(nature.read_only) && effects.is_empty(),
        idempotent: config.idempotent.unwrap_or(nature.idempotent && !given),
        price: config.cost_usd.map_or(MicroUsd::ZERO, |price| price.0),
        effects,
    }
}

/// The arguments as the tool's own type. They were held against its schema before.
pub(crate) fn arguments<T: DeserializeOwned>(arguments: &Value) -> Result<T, CallError> {
    T::deserialize(arguments).map_err(|error| CallError::InvalidArguments(error.to_string()))
}

/// The answer of a tool that wrote nothing.
pub(crate) fn answer(result: &impl Serialize) -> Result<ToolAnswer, CallError> {
    let result = serde_json::to_string(result)
        .map_err(|error| CallError::Failed(format!("the result cannot be written as JSON: {error}")))?;
    Ok(ToolAnswer { result, wrote: Vec::new() })
}

/// Whether bytes are no text: people write none with a NUL in it, except in UTF-16.
pub(crate) fn is_binary(beginning: &[u8]) -> bool {
    beginning[..beginning.len().min(SNIFFED_BYTES)].contains(&0)
}

/// Says whether somebody still waits for a result.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancelled(Arc<AtomicBool>);

impl Cancelled {
    /// An error once nobody waits any more: ask at each file, and before what cannot be taken back.
    pub(crate) fn check(&self) -> Result<(), CallError> {
        if self.0.load(Ordering::Relaxed) { Err(CallError::Cancelled) } else { Ok(()) }
    }
}

/// Does file work off the async threads. Dropping the future tells the work, which stops at its next
/// [`Cancelled::check`].
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&Cancelled) -> Result<T, CallError> + Send + 'static,
) -> Result<T, CallError> {
    struct CancelOnDrop(Cancelled);
    impl Drop for CancelOnDrop {
        fn drop(&mut self) {
            self.0.0.store(true, Ordering::Relaxed);
        }
    }

    let guard = CancelOnDrop(Cancelled::default());
    let cancelled = guard.0.clone();
    let task = tokio::task::spawn_blocking(move || {
        // It may have waited for a thread.
        cancelled.check()?;
        work(&cancelled)
    });
    task.await.unwrap_or_else(|_| Err(CallError::Failed("the tool broke off; the node's log says why".to_owned())))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_told() {
        let (tell, told) = mpsc::channel();
        let call = blocking(move |cancelled| {
            while cancelled.check().is_ok() {
                std::thread::yield_now();
            }
            tell.send(cancelled.check()).map_err(|_| CallError::Cancelled)
        });
        assert!(tokio::time::timeout(Duration::from_millis(10), call).await.is_err());
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(Err(CallError::Cancelled)));
    }

    #[tokio::test]
    async fn work_that_panics_is_a_failed_call() {
        let broken = blocking::<()>(|_| panic!("on purpose")).await;
        assert!(matches!(broken, Err(CallError::Failed(_))));
    }
}
