//! Calls on their way: what is behind the `pending` handles of a guest.
//!
//! A handle is a task on the node's runtime, or its result. What a guest can observe here follows from what it did and from
//! what the host answered, never from timing: how many calls count as in flight, for one, depends on which results the guest
//! has taken, not on which have arrived. A replay therefore meets the same limits at the same calls.

use std::task::{Context, Poll, Waker};

use futures_util::FutureExt as _;
use sortie_contract::id::CallNo;
use sortie_contract::limit::{CALL_BYTES_MAX, CALLS_IN_FLIGHT_MAX};
use sortie_contract::plugin::Crash;
use sortie_contract::tool;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::{Resource, ResourceTable};

use crate::host::{Answer, BoxFuture, Call, Reply, Stop};
use crate::side::Side;

/// Most `pending` handles that a guest may hold, with taken results and without.
pub(crate) const HANDLES_MAX: usize = 1_024;

/// Most bytes of results that are kept for the handles that a guest holds on to.
pub(crate) const HELD_BYTES_MAX: usize = 64 << 20;

const _: () = assert!(CALLS_IN_FLIGHT_MAX <= HANDLES_MAX && CALL_BYTES_MAX <= HELD_BYTES_MAX);

/// A call on its way, or a timer, or the result of one.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum Pending {
    /// The task is aborted when the handle is dropped. With the number of the call, where it is one.
    Running(AbortOnDropHandle<Answer>, Option<CallNo>),
    /// A signal, looked at by whoever waits: it has come as soon as it was given, and not when a task of its own gets to it.
    Signal(BoxFuture<'static, Answer>),
    /// Arrived; the guest has not taken it yet.
    Arrived(Answer, Option<CallNo>),
    /// The guest has taken it, and gets the same again.
    Taken(Result<String, tool::CallError>, Option<CallNo>),
    /// The guest has taken so many bytes, and gets the same again: from the record.
    OnRecord(CallNo, usize),
}

/// The handles of one guest, and what they add up to.
#[derive(Default)]
pub struct Pendings {
    pub(crate) table: ResourceTable,
    handles: usize,
    /// Handles whose result the guest has not taken.
    in_flight: usize,
    /// Bytes of the results that were taken and whose handles are still there, wherever the bytes are: so it is the same in
    /// every run.
    held_bytes: usize,
}

impl Pending {
    /// The number of the call, where it is one.
    pub(crate) fn number(&self) -> Option<CallNo> {
        match self {
            Self::Running(_, number) | Self::Arrived(_, number) | Self::Taken(_, number) => *number,
            Self::OnRecord(call, _) => Some(*call),
            Self::Signal(_) => None,
        }
    }

    pub(crate) fn poll_arrival(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Self::Signal(signal) = self {
            let Poll::Ready(answer) = signal.as_mut().poll(context) else { return Poll::Pending };
            *self = Self::Arrived(answer, None);
            return Poll::Ready(());
        }
        let Self::Running(task, number) = self else { return Poll::Ready(()) };
        let number = *number;
        let Poll::Ready(joined) = task.poll_unpin(context) else { return Poll::Pending };
        // The node's runtime is shutting down, or the tool panicked: neither is the guest's doing.
        *self = Self::Arrived(
            joined.unwrap_or_else(|error| {
                let text = format!("the node could not finish a call: {error}");
                Err(if error.is_cancelled() { Stop::Over } else { Stop::Crash(Crash::Unrunnable(text)) })
            }),
            number,
        );
        Poll::Ready(())
    }
}

impl Pendings {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins what `begin` does, and makes a handle for it.
    pub(crate) fn begin(
        &mut self,
        side: &mut Side,
        function: &'static str,
        begin: impl FnOnce() -> Call,
    ) -> wasmtime::Result<Resource<Pending>> {
        let (_, node) = side.mission(function)?;
        let (mut stopped, in_node) = (None, node.clone());
        let pending = || {
            let _in_node = in_node.enter();
            let Call { number, mut answer } = begin();
            // Many are ready at once: refusals, recorded results. They need no task.
            match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Err(stop)) => {
                    stopped = Some(stop);
                    Pending::Arrived(Err(Stop::Over), number)
                }
                Poll::Ready(answer) => Pending::Arrived(answer, number),
                Poll::Pending => Pending::Running(AbortOnDropHandle::new(node.spawn(answer)), number),
            }
        };
        let handle = self.begin_as(side, pending)?;
        stopped.map_or(Ok(handle), |stop| Err(side.stop(stop)))
    }

    /// Whether one more call may be in flight: for what must not be begun where it may not.
    pub(crate) fn has_room(&self) -> Result<(), tool::CallError> {
        if self.in_flight < CALLS_IN_FLIGHT_MAX { Ok(()) } else { Err(full()) }
    }

    /// Makes a handle for what `pending` makes, where there is room for one.
    fn begin_as(&mut self, side: &mut Side, pending: impl FnOnce() -> Pending) -> wasmtime::Result<Resource<Pending>> {
        if self.handles >= HANDLES_MAX {
            return Err(side.exceeded(format!("a plugin holds at most {HANDLES_MAX} pending calls")));
        }
        let pending = if self.in_flight >= CALLS_IN_FLIGHT_MAX {
            Pending::Arrived(Ok(Reply::Only(Err(full()))), None)
        } else {
            pending()
        };
        let handle = self.table.push(pending)?;
        self.handles += 1;
        self.in_flight += 1;
        Ok(handle)
    }

    /// Makes a handle for a signal that needs no runtime.
    pub(crate) fn signal(
        &mut self,
        side: &mut Side,
        mut signal: BoxFuture<'static, Answer>,
    ) -> wasmtime::Result<Resource<Pending>> {
        match signal.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(stop)) => Err(side.stop(stop)),
            Poll::Ready(given) => self.begin_as(side, || Pending::Arrived(given, None)),
            Poll::Pending => self.begin_as(side, || Pending::Signal(signal)),
        }
    }

    /// The result of a call that has arrived. Every further time it is the same.
    pub(crate) async fn take(
        &mut self,
        side: &mut Side,
        handle: &Resource<Pending>,
    ) -> wasmtime::Result<Result<String, tool::CallError>> {
        let (answer, number) = match self.table.get_mut(handle)? {
            Pending::Running(..) | Pending::Signal(_) => unreachable!("whoever takes has waited for it"),
            Pending::Taken(result, _) => return Ok(result.clone()),
            Pending::OnRecord(call, _) => {
                let call = *call;
                return side.again(call).await.map(bounded);
            }
            // Taken out, not copied: it may be large.
            Pending::Arrived(answer, number) => (std::mem::replace(answer, Err(Stop::Over)), *number),
        };
        let reply = side.answered(answer)?;
        let recorded = number.filter(|_| matches!(reply, Reply::Recorded(_)));
        let result = bounded(side.result(reply, number).await?);
        let bytes = result.as_ref().map_or(0, String::len);
        self.in_flight -= 1;
        self.held_bytes += bytes;
        if self.held_bytes > HELD_BYTES_MAX {
            return Err(side.exceeded(format!("a plugin holds at most {HELD_BYTES_MAX} bytes of results")));
        }
        *self.table.get_mut(handle)? = match recorded {
            Some(call) => Pending::OnRecord(call, bytes),
            None => Pending::Taken(result.clone(), number),
        };
        Ok(result)
    }

    /// Takes a handle away. What it stood for ends when the value is dropped.
    pub(crate) fn remove(&mut self, handle: Resource<Pending>) -> wasmtime::Result<Pending> {
        let pending = self.table.delete(handle)?;
        self.handles -= 1;
        match &pending {
            Pending::Running(..) | Pending::Signal(_) | Pending::Arrived(..) => self.in_flight -= 1,
            Pending::OnRecord(_, bytes) => self.held_bytes -= bytes,
            Pending::Taken(result, _) => self.held_bytes -= result.as_ref().map_or(0, String::len),
        }
        Ok(pending)
    }
}

/// What a guest is told that has as many calls in flight as it may.
fn full() -> tool::CallError {
    tool::CallError::Failed(format!("{CALLS_IN_FLIGHT_MAX} calls are in flight; take the result of one first"))
}

/// A result that the guest and the journal can hold.
pub(crate) fn bounded(result: Result<String, tool::CallError>) -> Result<String, tool::CallError> {
    match result {
        Ok(text) if text.len() > CALL_BYTES_MAX => {
            Err(tool::CallError::Failed(format!("the result has more than {CALL_BYTES_MAX} bytes")))
        }
        result => result,
    }
}
