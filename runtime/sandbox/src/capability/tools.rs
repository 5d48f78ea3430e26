//! `tools`: tools as capabilities, and calls on their way.
//!
//! A `tool` handle is an index into the mission's grants: wasmtime's handle table is what makes it unforgeable. A
//! `pending` is a task on the node's runtime, or its result.
//!
//! What a guest can observe here follows from what it did and from what the host answered, never from timing: how many
//! calls count as in flight, for one, depends on which results the guest has taken, not on which have arrived. A replay
//! therefore meets the same limits at the same calls.

#![expect(unreachable_pub, reason = "the generated bindings re-export the types of handles")]

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt as _;
use sortie_contract::id::CallNo;
use sortie_contract::limit::{CALL_BYTES_MAX, CALLS_IN_FLIGHT_MAX};
use sortie_contract::plugin::Crash;
use sortie_contract::tool::{self, ToolName};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::Resource;

use crate::bindings::sortie::mission::{tools as world, types};
use crate::guest::Guest;
use crate::host::{Answer, BoxFuture, Call, Host, Stop};

/// Most `pending` handles that a guest may hold, with taken results and without.
const HANDLES_MAX: usize = 1_024;

/// Most bytes of results that are kept for the handles that a guest holds on to.
const HELD_BYTES_MAX: usize = 64 << 20;

const _: () = assert!(CALLS_IN_FLIGHT_MAX <= HANDLES_MAX && CALL_BYTES_MAX <= HELD_BYTES_MAX);

/// The permission to call one tool. Never a value: the handle's number is the index into the grants.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum Tool {}

/// A call on its way, or a timer, or the result of one.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum Pending {
    /// The task is aborted when the handle is dropped. With the number of the call, where it is one.
    Running(AbortOnDropHandle<Answer>, Option<CallNo>),
    /// Arrived; the guest has not taken it yet.
    Arrived(Answer),
    /// The guest has taken it, and gets the same again.
    Taken(Result<String, tool::CallError>),
}

/// What the handles of one guest add up to.
#[derive(Default)]
pub(crate) struct Calls {
    handles: usize,
    /// Handles whose result the guest has not taken.
    in_flight: usize,
    /// Bytes of the results that were taken and are still held.
    held_bytes: usize,
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

impl Pending {
    fn poll_arrival(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Self::Running(task, _) = self else { return Poll::Ready(()) };
        let Poll::Ready(joined) = task.poll_unpin(context) else { return Poll::Pending };
        // The node's runtime is shutting down, or the tool panicked: neither is the guest's doing.
        *self = Self::Arrived(joined.unwrap_or_else(|error| {
            let text = format!("the node could not finish a call: {error}");
            Err(if error.is_cancelled() { Stop::Over } else { Stop::Crash(Crash::Unrunnable(text)) })
        }));
        Poll::Ready(())
    }
}

impl Guest {
    /// Begins what `begin` does, and makes a handle for it.
    pub(super) fn begin(&mut self, begin: impl FnOnce() -> Call) -> wasmtime::Result<Resource<Pending>> {
        if self.calls.handles >= HANDLES_MAX {
            return Err(self.exceeded(format!("a plugin holds at most {HANDLES_MAX} pending calls")));
        }
        let pending = if self.calls.in_flight >= CALLS_IN_FLIGHT_MAX {
            let text = format!("{CALLS_IN_FLIGHT_MAX} calls are in flight; take the result of one first");
            Pending::Arrived(Ok(Err(tool::CallError::Failed(text))))
        } else {
            let node = self.mission("tools")?.node.clone();
            let _in_node = node.enter();
            let Call { number, mut answer } = begin();
            // Many are ready at once: refusals, recorded results. They need no task.
            match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Err(stop)) => return Err(self.stop(stop)),
                Poll::Ready(answer) => Pending::Arrived(answer),
                Poll::Pending => Pending::Running(AbortOnDropHandle::new(node.spawn(answer)), number),
            }
        };
        let handle = self.table.push(pending)?;
        self.calls.handles += 1;
        self.calls.in_flight += 1;
        Ok(handle)
    }

    fn grant(&mut self, tool: &Resource<Tool>, function: &str) -> wasmtime::Result<&ToolName> {
        let grant = self.mission(function)?.grants.get(tool.rep() as usize);
        grant.ok_or_else(|| wasmtime::Error::msg("a tool handle that the node never gave"))
    }
}

impl world::HostTool for Guest {
    fn name(&mut self, tool: Resource<Tool>) -> wasmtime::Result<String> {
        Ok(self.grant(&tool, "tool.name")?.as_str().to_owned())
    }

    fn describe(&mut self, tool: Resource<Tool>) -> wasmtime::Result<types::ToolInfo> {
        let name = self.grant(&tool, "tool.describe")?.clone();
        let described = self.mission("tool.describe")?.host.describe(&name);
        let info = self.answered(described)?;
        Ok(types::ToolInfo {
            name: info.name.as_str().to_owned(),
            read_only: info.repeat() == tool::Repeat::ReadOnly,
            description: info.description,
            input_schema: info.input_schema.to_string(),
            effects: info.effects.into_iter().map(|class| class.0).collect(),
        })
    }

    async fn call(
        &mut self,
        tool: Resource<Tool>,
        arguments: String,
    ) -> wasmtime::Result<Result<String, types::CallError>> {
        let name = self.grant(&tool, "tool.call")?.clone();
        if let Err(error) = fits(&arguments) {
            return Ok(Err(error.into()));
        }
        let mission = self.mission("tool.call")?;
        let (host, node) = (Arc::clone(&mission.host), mission.node.clone());
        let future = {
            let _in_node = node.enter();
            host.start(&name, arguments).answer
        };
        let answer = waiting(host.as_ref(), OnNode { node, future }).await;
        let answer = self.answered(answer)?;
        Ok(bounded(answer).map_err(Into::into))
    }

    fn start(&mut self, tool: Resource<Tool>, arguments: String) -> wasmtime::Result<Resource<Pending>> {
        let name = self.grant(&tool, "tool.start")?.clone();
        let host = Arc::clone(&self.mission("tool.start")?.host);
        self.begin(|| match fits(&arguments) {
            Ok(()) => host.start(&name, arguments),
            Err(error) => answered_already(Err(error)),
        })
    }

    fn drop(&mut self, _tool: Resource<Tool>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl world::HostPending for Guest {
    async fn get(&mut self, handle: Resource<Pending>) -> wasmtime::Result<Result<String, types::CallError>> {
        let host = Arc::clone(&self.mission("pending.get")?.host);
        let pending = self.table.get_mut(&handle)?;
        waiting(host.as_ref(), poll_fn(|context| pending.poll_arrival(context))).await;
        let result = match pending {
            Pending::Running(..) => unreachable!("it arrived above"),
            Pending::Taken(result) => result.clone(),
            Pending::Arrived(answer) => {
                let answer = answer.clone();
                let result = bounded(self.answered(answer)?);
                self.calls.in_flight -= 1;
                self.calls.held_bytes += result.as_ref().map_or(0, String::len);
                if self.calls.held_bytes > HELD_BYTES_MAX {
                    return Err(self.exceeded(format!("a plugin holds at most {HELD_BYTES_MAX} bytes of results")));
                }
                *self.table.get_mut(&handle)? = Pending::Taken(result.clone());
                result
            }
        };
        Ok(result.map_err(Into::into))
    }

    fn drop(&mut self, handle: Resource<Pending>) -> wasmtime::Result<()> {
        let pending = self.table.delete(handle)?;
        self.calls.handles -= 1;
        if let Pending::Running(_, Some(call)) = &pending {
            let host = Arc::clone(&self.mission("pending.drop")?.host);
            host.gave_up(*call);
        }
        match pending {
            Pending::Running(..) | Pending::Arrived(_) => self.calls.in_flight -= 1,
            Pending::Taken(result) => self.calls.held_bytes -= result.map_or(0, |text| text.len()),
        }
        Ok(())
    }
}

impl world::Host for Guest {
    async fn wait_any(&mut self, handles: Vec<Resource<Pending>>) -> wasmtime::Result<u32> {
        if handles.is_empty() {
            return Err(self.stop(Stop::Crash(Crash::Trapped("`wait-any` of an empty list waits for ever".to_owned()))));
        }
        if handles.len() > HANDLES_MAX {
            return Err(self.exceeded(format!("`wait-any` takes at most {HANDLES_MAX} handles")));
        }
        let host = Arc::clone(&self.mission("wait-any")?.host);
        let choice = host.choice();
        if let Some(ready) = self.answered(choice)? {
            if ready as usize >= handles.len() {
                let (recorded, attempted) = (format!("choice {ready}"), format!("a choice among {}", handles.len()));
                return Err(self.stop(Stop::Crash(Crash::Diverged { recorded, attempted })));
            }
            return Ok(ready);
        }
        let table = &mut self.table;
        let ready = poll_fn(|context| {
            for (index, handle) in (0_u32..).zip(&handles) {
                match table.get_mut(handle).map(|pending| pending.poll_arrival(context)) {
                    Ok(Poll::Pending) => {}
                    Ok(Poll::Ready(())) => return Poll::Ready(Ok(index)),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            Poll::Pending
        });
        let ready = waiting(host.as_ref(), ready).await?;
        let answer = host.waited(ready);
        self.answered(answer)?;
        Ok(ready)
    }
}

/// A call that has its answer.
fn answered_already(result: Result<String, tool::CallError>) -> Call {
    Call { number: None, answer: std::future::ready(Ok(result)).boxed() }
}

/// Waits, and tells the host of it, unless it is over at once.
async fn waiting<T>(host: &dyn Host, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    if let Poll::Ready(output) = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        return output;
    }
    let _wait = Wait::begin(host);
    future.await
}

/// A wait of the guest; it ends, too, where the guest is dropped in the middle of it.
struct Wait<'a>(&'a dyn Host);

impl<'a> Wait<'a> {
    fn begin(host: &'a dyn Host) -> Self {
        host.waits(true);
        Self(host)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.waits(false);
    }
}

fn fits(arguments: &str) -> Result<(), tool::CallError> {
    if arguments.len() <= CALL_BYTES_MAX {
        return Ok(());
    }
    let text = format!("arguments have at most {CALL_BYTES_MAX} bytes, these have {}", arguments.len());
    Err(tool::CallError::InvalidArguments(text))
}

/// A result that the guest and the journal can hold.
fn bounded(result: Result<String, tool::CallError>) -> Result<String, tool::CallError> {
    match result {
        Ok(text) if text.len() > CALL_BYTES_MAX => {
            Err(tool::CallError::Failed(format!("the result has more than {CALL_BYTES_MAX} bytes")))
        }
        result => result,
    }
}

impl From<tool::CallError> for types::CallError {
    fn from(error: tool::CallError) -> Self {
        match error {
            tool::CallError::Denied(text) => Self::Denied(text),
            tool::CallError::BudgetExhausted(text) => Self::BudgetExhausted(text),
            tool::CallError::Cancelled => Self::Cancelled,
            tool::CallError::InvalidArguments(text) => Self::InvalidArguments(text),
            tool::CallError::Failed(text) => Self::Failed(text),
            tool::CallError::TimedOut(text) => Self::TimedOut(text),
            tool::CallError::Uncertain(text) => Self::Uncertain(text),
        }
    }
}
