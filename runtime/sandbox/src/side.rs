//! The node's side of one guest: whom its calls go to, and why it was stopped.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use sortie_contract::id::CallNo;
use sortie_contract::plugin::Crash;
use sortie_contract::tool::CallError;
use tokio::runtime::Handle;

use crate::host::{BoxFuture, Host, Reply, Stop};

/// What every capability of a guest has in common: the [`Host`] that answers, where its futures run, and how the guest was
/// stopped, if it was.
///
/// In `describe` and `check` there is no mission and nobody answers: see [`Side::absent`].
#[derive(Default)]
pub struct Side {
    answering: Option<(Arc<dyn Host>, Handle)>,
    stopped: Option<Stopped>,
    /// How often the host was asked: what the guest did between two looks at a clock may have taken time if this has changed.
    asked: u64,
}

/// Why a host function ended the guest: traps lose their type on the way through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The host said so, or a bound did.
    Stop(Stop),
    /// It called a function that needs a mission, and there is none.
    NoMission(&'static str),
}

impl Side {
    /// Of a guest that does a mission: `host` answers, and its futures run on `node`.
    #[must_use]
    pub fn of(host: Arc<dyn Host>, node: Handle) -> Self {
        Self { answering: Some((host, node)), stopped: None, asked: 0 }
    }

    /// Of a guest without a mission: the first function that needs one ends it.
    #[must_use]
    pub fn absent() -> Self {
        Self::default()
    }

    pub(crate) fn stopped(&self) -> Option<&Stopped> {
        self.stopped.as_ref()
    }

    /// Who answers `function`; without a mission, the guest ends.
    pub(crate) fn host(&mut self, function: &'static str) -> wasmtime::Result<Arc<dyn Host>> {
        self.mission(function).map(|(host, _)| host)
    }

    /// Who answers, where there is a mission, of what takes no time of it: a line of its log, a call that is let go of.
    pub(crate) fn in_passing(&self) -> Option<Arc<dyn Host>> {
        self.answering.as_ref().map(|(host, _)| Arc::clone(host))
    }

    /// Whether there is a mission.
    pub(crate) fn has_mission(&self) -> bool {
        self.answering.is_some()
    }

    /// How often the host was asked, but for what is asked in passing: the same in each run.
    pub(crate) fn asked(&self) -> u64 {
        self.asked
    }

    /// Who answers `function`, and where.
    pub(crate) fn mission(&mut self, function: &'static str) -> wasmtime::Result<(Arc<dyn Host>, Handle)> {
        self.asked += 1;
        match &self.answering {
            Some((host, node)) => Ok((Arc::clone(host), node.clone())),
            None => Err(self.end(Stopped::NoMission(function))),
        }
    }

    /// Ends the run: the error to return from a host function.
    pub(crate) fn stop(&mut self, stop: Stop) -> wasmtime::Error {
        self.end(Stopped::Stop(stop))
    }

    /// Ends the run, because the guest asked for more than the node gives.
    pub(crate) fn exceeded(&mut self, what: impl Into<String>) -> wasmtime::Error {
        self.stop(Stop::Crash(Crash::LimitExceeded(what.into())))
    }

    /// What the host answered, or the end of the run.
    pub(crate) fn answered<T>(&mut self, answer: Result<T, Stop>) -> wasmtime::Result<T> {
        answer.map_err(|stop| self.stop(stop))
    }

    /// Waits for what the host does, in the context of the node's runtime.
    pub(crate) async fn on_node<T>(&mut self, future: BoxFuture<'static, Result<T, Stop>>) -> wasmtime::Result<T> {
        let (_, node) = self.mission("the host")?;
        let answer = OnNode { node, future }.await;
        self.answered(answer)
    }

    /// The result that a call came to, brought from the record where it is not held. `number` is the call's.
    pub(crate) async fn result(
        &mut self,
        reply: Reply,
        number: Option<CallNo>,
    ) -> wasmtime::Result<Result<String, CallError>> {
        match (reply, number) {
            (Reply::Only(result), _) => Ok(result),
            // Its room is given back here: what the guest gets is the guest's.
            (Reply::Recorded(Some(held)), _) => Ok(Ok(held.result)),
            (Reply::Recorded(None), Some(call)) => self.again(call).await,
            (Reply::Recorded(None), None) => Err(self.stop(Stop::Over)),
        }
    }

    /// The result of a call that the node has on record.
    pub(crate) async fn again(&mut self, call: CallNo) -> wasmtime::Result<Result<String, CallError>> {
        let again = self.host("the host")?.again(call);
        match self.on_node(again).await? {
            Reply::Only(result) => Ok(result),
            Reply::Recorded(Some(held)) => Ok(Ok(held.result)),
            Reply::Recorded(None) => Err(self.stop(Stop::Over)),
        }
    }

    fn end(&mut self, stopped: Stopped) -> wasmtime::Error {
        self.stopped = Some(stopped);
        wasmtime::Error::msg("the run was stopped")
    }
}

/// A future of the host, polled by a guest's task in the context of the node's runtime.
pub(crate) struct OnNode<T> {
    pub(crate) node: Handle,
    pub(crate) future: BoxFuture<'static, T>,
}

impl<T> Future for OnNode<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        let _in_node = this.node.enter();
        this.future.as_mut().poll(context)
    }
}
