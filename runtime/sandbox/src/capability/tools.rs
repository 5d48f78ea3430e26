//! `tools`: tools as capabilities.
//!
//! A `tool` handle is an index into the [`Grants`] of its guest: wasmtime's table of handles is what makes it unforgeable. A
//! `pending` is a call on its way ([`Pendings`]).
//!
//! ```
//! use sortie_contract::tool::ToolName;
//! use sortie_sandbox::capability::tools::{self, Grants, Tools, ToolsView};
//! use sortie_sandbox::capability::{Pendings, Side};
//! use wasmtime::Engine;
//! use wasmtime::component::Linker;
//!
//! struct Data {
//!     side: Side,
//!     grants: Grants,
//!     pendings: Pendings,
//! }
//!
//! impl ToolsView for Data {
//!     fn tools(&mut self) -> Tools<'_> {
//!         Tools::new(&mut self.side, &self.grants, &mut self.pendings)
//!     }
//! }
//!
//! # fn main() -> wasmtime::Result<()> {
//! let mut linker = Linker::<Data>::new(&Engine::default());
//! tools::add_to_linker(&mut linker)?;
//! // What a guest is handed, and all that it can ever name.
//! let grants = Grants::new(vec![ToolName::new("Read"), ToolName::new("Write")]);
//! assert_eq!(grants.len(), 2);
//! # Ok(())
//! # }
//! ```

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use futures_util::FutureExt as _;
use sortie_contract::limit::CALL_BYTES_MAX;
use sortie_contract::plugin::Crash;
use sortie_contract::tool::{self, ToolName};
use wasmtime::component::{HasData, Linker, Resource};

use crate::bindings::v0_1::sortie::mission::{tools as world, types};
use crate::host::{Call, Host, Stop};
use crate::pending::{HANDLES_MAX, Pending, Pendings, bounded};
use crate::side::{OnNode, Side};

/// The tools that a guest holds, in the order in which it is handed them.
#[derive(Debug, Default)]
pub struct Grants(Vec<ToolName>);

impl Grants {
    /// These, and no other.
    #[must_use]
    pub fn new(tools: Vec<ToolName>) -> Self {
        Self(tools)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Which one a handle is for.
    pub(crate) fn named(&self, handle: &Resource<Handle>) -> wasmtime::Result<&ToolName> {
        let grant = self.0.get(handle.rep() as usize);
        grant.ok_or_else(|| wasmtime::Error::msg("a tool handle that the node never gave"))
    }
}

/// What a handle of a guest stands for: its place among the grants.
pub(crate) use world::Tool as Handle;

/// Tools, as one guest holds them.
pub struct Tools<'a> {
    side: &'a mut Side,
    grants: &'a Grants,
    pendings: &'a mut Pendings,
}

impl<'a> Tools<'a> {
    /// Of the guest with that side and those grants; its calls are among these.
    pub fn new(side: &'a mut Side, grants: &'a Grants, pendings: &'a mut Pendings) -> Self {
        Self { side, grants, pendings }
    }

    /// The arguments that a call was made with, where they were changed when it was approved. Waits for its result: until then that may still
    /// happen, and a replay knows it sooner.
    pub(crate) async fn amended(&mut self, handle: &Resource<Pending>) -> wasmtime::Result<Option<String>> {
        let host = self.side.host("pending.info")?;
        let pending = self.pendings.table.get_mut(handle)?;
        waiting(host.as_ref(), poll_fn(|context| pending.poll_arrival(context))).await;
        if let Pending::Arrived(Err(stop), _) = pending {
            return Err(self.side.stop(stop.clone()));
        }
        Ok(pending.number().and_then(|call| host.amended(call)))
    }

    fn grant(&self, tool: &Resource<world::Tool>) -> wasmtime::Result<&ToolName> {
        self.grants.named(tool)
    }
}

/// Data of a store whose guest may hold tools.
pub trait ToolsView: Send {
    /// What the interface stands on.
    fn tools(&mut self) -> Tools<'_>;
}

/// Adds the interface to a linker.
///
/// # Errors
/// It is there already.
pub fn add_to_linker<T: ToolsView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    world::add_to_linker::<T, HasTools>(linker, T::tools)
}

struct HasTools;

impl HasData for HasTools {
    type Data<'a> = Tools<'a>;
}

impl world::HostTool for Tools<'_> {
    fn name(&mut self, tool: Resource<world::Tool>) -> wasmtime::Result<String> {
        self.grant(&tool).map(|name| name.as_str().to_owned())
    }

    fn describe(&mut self, tool: Resource<world::Tool>) -> wasmtime::Result<types::ToolInfo> {
        let host = self.side.host("tool.describe")?;
        let described = host.describe(self.grant(&tool)?);
        self.side.answered(described).map(Into::into)
    }

    async fn call(
        &mut self,
        tool: Resource<world::Tool>,
        arguments: String,
    ) -> wasmtime::Result<Result<String, types::CallError>> {
        let (host, node) = self.side.mission("tool.call")?;
        let name = self.grant(&tool)?;
        if let Err(error) = fits(&arguments) {
            return Ok(Err(error.into()));
        }
        let Call { number, answer: future } = {
            let _in_node = node.enter();
            host.start(name, arguments)
        };
        let answer = waiting(host.as_ref(), OnNode { node, future }).await;
        let reply = self.side.answered(answer)?;
        let result = self.side.result(reply, number).await?;
        Ok(bounded(result).map_err(Into::into))
    }

    fn start(&mut self, tool: Resource<world::Tool>, arguments: String) -> wasmtime::Result<Resource<Pending>> {
        let host = self.side.host("tool.start")?;
        let name = self.grant(&tool)?.clone();
        self.pendings.begin(self.side, "tool.start", || match fits(&arguments) {
            Ok(()) => host.start(&name, arguments),
            Err(error) => answered_already(Err(error)),
        })
    }

    fn drop(&mut self, _tool: Resource<world::Tool>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl world::HostPending for Tools<'_> {
    async fn get(&mut self, handle: Resource<Pending>) -> wasmtime::Result<Result<String, types::CallError>> {
        let host = self.side.host("pending.get")?;
        let pending = self.pendings.table.get_mut(&handle)?;
        waiting(host.as_ref(), poll_fn(|context| pending.poll_arrival(context))).await;
        Ok(self.pendings.take(self.side, &handle).await?.map_err(Into::into))
    }

    fn drop(&mut self, handle: Resource<Pending>) -> wasmtime::Result<()> {
        let pending = self.pendings.remove(handle)?;
        // In passing: whether the result had arrived is a matter of timing, and what a clock says must not be.
        if let Pending::Running(_, Some(call)) = &pending
            && let Some(host) = self.side.in_passing()
        {
            host.gave_up(*call);
        }
        Ok(())
    }
}

impl world::Host for Tools<'_> {
    async fn wait_any(&mut self, handles: Vec<Resource<Pending>>) -> wasmtime::Result<u32> {
        if handles.is_empty() {
            let text = "`wait-any` of an empty list waits for ever".to_owned();
            return Err(self.side.stop(Stop::Crash(Crash::Trapped(text))));
        }
        if handles.len() > HANDLES_MAX {
            return Err(self.side.exceeded(format!("`wait-any` takes at most {HANDLES_MAX} handles")));
        }
        let host = self.side.host("wait-any")?;
        let numbers = handles.iter().map(|handle| self.pendings.table.get(handle).map(Pending::number));
        let among = numbers.collect::<Result<Vec<_>, _>>()?;
        if let Some(ready) = self.side.answered(host.choice(&among))? {
            if ready as usize >= handles.len() {
                let (recorded, attempted) = (format!("choice {ready}"), format!("a choice among {}", handles.len()));
                return Err(self.side.stop(Stop::Crash(Crash::Diverged { recorded, attempted })));
            }
            return Ok(ready);
        }
        let table = &mut self.pendings.table;
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
        self.side.answered(host.waited(&among, ready))?;
        Ok(ready)
    }
}

/// A call that has its answer.
pub(crate) fn answered_already(result: Result<String, tool::CallError>) -> Call {
    Call { number: None, answer: std::future::ready(Ok(result.into())).boxed() }
}

/// Waits, and tells the host of it, unless it is over at once.
pub(crate) async fn waiting<T>(host: &dyn Host, future: impl Future<Output = T>) -> T {
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

pub(crate) fn fits(arguments: &str) -> Result<(), tool::CallError> {
    if arguments.len() <= CALL_BYTES_MAX {
        return Ok(());
    }
    let text = format!("arguments have at most {CALL_BYTES_MAX} bytes, these have {}", arguments.len());
    Err(tool::CallError::InvalidArguments(text))
}
