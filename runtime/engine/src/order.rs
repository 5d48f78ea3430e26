//! A call as a plugin wants it made: of a tool or of a model, with what it was decided by.

use std::sync::Arc;

use sortie_contract::Spend;
use sortie_contract::id::RunNo;
use sortie_contract::tool::{Repeat, ToolInfo, ToolName};
use sortie_tools::{CallContext, Toolbox};

use super::Engine;
use super::live::Live;
use super::model::{Came, Filled, ModelOrder};
use super::results::{GUESS, GUESS_OF_MODEL};

/// A call as the plugin wants it made.
pub(super) enum Order {
    /// Of a tool.
    Tool(ToolOrder),
    /// Of a model.
    Model(ModelOrder),
    /// A child: what it is to do stands in the call.
    Mission,
}

/// A call of a tool.
pub(super) struct ToolOrder {
    pub(super) tool: ToolName,
    /// The tools that it was decided by.
    pub(super) toolbox: Arc<Toolbox>,
    pub(super) repeat: Repeat,
    /// The node no longer has the tool; or it cannot say whether it has, and why.
    pub(super) is_gone: bool,
    pub(super) away: Option<String>,
    /// What the mission was told of it, where it was told something.
    pub(super) handed: Option<Arc<ToolInfo>>,
    pub(super) arguments: String,
}

impl Order {
    /// Whether making it may have an effect.
    pub(super) fn has_effects(&self) -> bool {
        match self {
            Self::Tool(order) => order.repeat != Repeat::ReadOnly,
            // It is paid for, and what is free of it is still somebody's.
            Self::Model(_) | Self::Mission => true,
        }
    }

    /// Whether making it may leave something in the workspace.
    pub(super) fn may_write(&self) -> bool {
        matches!(self, Self::Tool(order) if order.repeat != Repeat::ReadOnly)
    }

    /// What it counts as, in bytes, before its result is known.
    pub(super) fn guess(&self) -> usize {
        match self {
            Self::Tool(_) | Self::Mission => GUESS,
            Self::Model(_) => GUESS_OF_MODEL,
        }
    }

    /// The same, with the arguments that it was approved with.
    pub(super) fn amended(self, arguments: String) -> Self {
        match self {
            Self::Tool(order) => Self::Tool(ToolOrder { arguments, ..order }),
            // A model's call is approved as it is.
            Self::Model(order) => Self::Model(order),
            // So is a child.
            Self::Mission => Self::Mission,
        }
    }

    /// What has to be here before it is made, however long that takes; none, where the run is over by then.
    pub(super) async fn filled(&self, engine: &Arc<Engine>, live: &Live, run: RunNo) -> Option<Filled> {
        match self {
            Self::Model(order) => order.filled(engine, live, run).await,
            Self::Tool(_) | Self::Mission => Some(Ok(None)),
        }
    }

    /// Makes it. So much was set aside for it.
    pub(super) async fn make(
        &self,
        engine: &Arc<Engine>,
        context: &CallContext,
        filled: Filled,
        set_aside: Spend,
    ) -> Came {
        let begun = engine.ambient.steady();
        let came = self.come(engine, context, filled, set_aside).await;
        engine.measured.made(engine, self, &came, begun, &context.trace_id);
        came
    }

    async fn come(&self, engine: &Arc<Engine>, context: &CallContext, filled: Filled, set_aside: Spend) -> Came {
        match self {
            Self::Tool(order) => {
                let sleep = |limit| engine.ambient.sleep(limit);
                let (name, handed) = (order.tool.as_str(), order.handed.as_ref().map(|info| &info.input_schema));
                let outcome = order.toolbox.call(name, context, &order.arguments, handed, sleep).await;
                Came::Done(outcome, order.toolbox.settled(name, &context.bill))
            }
            Self::Model(order) => order.make(engine, context, filled, set_aside).await,
            Self::Mission => unreachable!("a child is dispatched and waited for, and not made here"),
        }
    }
}
