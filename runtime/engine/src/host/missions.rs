//! What a running plugin dispatches: each child is a call, decided by the core, and waited for as an answer of people is.

use std::sync::Arc;

use futures_util::future::FutureExt as _;
use sortie_contract::Spend;
use sortie_contract::digest::Digest;
use sortie_contract::id::CallNo;
use sortie_contract::record::Record;
use sortie_contract::tool::{CallError, MISSION, ToolName};
use sortie_mission::child::Occasion;
use sortie_mission::replay::{Asked, Recorded};
use sortie_mission::{Command, Handle};
use sortie_sandbox::{Answer, BoxFuture, Call, Stop};

use super::{RunHost, over, stop};
use crate::live::Wait;
use crate::order::Order;

impl RunHost {
    /// Dispatches a child; or says why not, and that is on record.
    pub(super) async fn dispatch_child(self: Arc<Self>, order: String) -> Result<Result<Call, CallError>, Stop> {
        let name = ToolName::new(MISSION);
        match self.recorded(Asked::Call { tool: &name, arguments: &order })? {
            Some(Recorded::Refused { error }) => return Ok(Err(error)),
            Some(Recorded::Call { call, outcome }) => return Ok(Ok(self.go_on(call, outcome, Some(Order::Mission)))),
            _ => {}
        }
        let now = self.live.now(&self.engine);
        let occasion = Occasion::Asked(self.engine.settings.children);
        let node = &self.engine.settings.rules.instance_id;
        let drafted = self.live.with(|mission| mission.child(now, &order, mission.next_call(), node, occasion));
        let drafted = match drafted {
            Ok(draft) => self.engine.would_take_child(&draft).await.map(|()| draft.share),
            Err(error) => Err(error),
        };
        let (refused, quote) = match &drafted {
            Ok(share) => (None, *share),
            Err(error) => (Some(error), Spend::NOTHING),
        };
        let digest = Digest::of(order.as_bytes());
        let command = || Command::Call {
            run: self.run,
            tool: Handle::Mission { refused },
            arguments: order.clone(),
            digest,
            quote,
        };
        let taken = self.engine.command_patiently(&self.live, command, Wait::No).await.map_err(stop)?;
        match taken.records.into_iter().next().map(|stamped| stamped.record) {
            Some(Record::CallStarted { call, .. }) => {
                // Before the plugin goes on: what it does next may take for granted that the child is there.
                self.engine.see_to_child(&self.live, call).await;
                Ok(Ok(Call { number: Some(call), answer: self.held(call, None) }))
            }
            Some(Record::CallHeld { call, .. }) => {
                Ok(Ok(Call { number: Some(call), answer: self.held(call, Some(Order::Mission)) }))
            }
            Some(Record::CallRefused { error, .. }) => Ok(Err(error)),
            // Time ran out with this very call.
            _ => Ok(Ok(over(Stop::Over))),
        }
    }

    /// A child that was granted: it is there, or is dispatched now; and what comes of it.
    pub(super) fn await_child(&self, call: CallNo) -> BoxFuture<'static, Answer> {
        let told = self.held(call, None);
        let (engine, live) = (Arc::clone(&self.engine), Arc::clone(&self.live));
        self.engine.attend("child", async move { engine.see_to_child(&live, call).await });
        told.boxed()
    }
}
