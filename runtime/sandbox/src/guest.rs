//! One guest: the state of its store, and what it is called with.

use std::sync::Arc;

use sortie_contract::limit::ARTIFACT_BYTES_MAX;
use sortie_contract::plugin::{Brief, Crash};
use sortie_contract::tool::ToolName;
use tokio::runtime::Handle;
use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable};
use wasmtime::{Engine, Store, UpdateDeadline};

use crate::bindings::{self as world, PluginPre};
use crate::capability::tools;
use crate::ending::{self, Ending};
use crate::host::{BoxFuture, Host, Stop};
use crate::kill::Kill;
use crate::limiter::Limiter;

/// What a guest may pass in one call, in bytes: the largest artifact, and some room for what is around it.
const HOSTCALL_BYTES_MAX: usize = ARTIFACT_BYTES_MAX + (1 << 20);

/// The state of one guest's store. It lives for one call of one export.
pub(crate) struct Guest {
    /// The mission's side of the world; `None` in `describe` and `check`.
    pub(crate) mission: Option<Mission>,
    pub(crate) table: ResourceTable,
    pub(crate) calls: tools::Calls,
    pub(crate) kill: Kill,
    pub(crate) limiter: Limiter,
    /// Set when a host function ended the run: traps lose their type on the way through the guest.
    pub(crate) stopped: Option<Stop>,
    /// The last error that the guest logged: guest libraries log a panic's text before they trap.
    pub(crate) last_error: Option<String>,
}

/// What a guest has of its mission.
pub(crate) struct Mission {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) grants: Vec<ToolName>,
    /// Where the host's futures run.
    pub(crate) node: Handle,
}

impl Guest {
    pub(crate) fn new(mission: Option<Mission>, kill: Kill, memory_bytes_max: usize) -> Self {
        Self {
            mission,
            table: ResourceTable::new(),
            calls: tools::Calls::default(),
            kill,
            limiter: Limiter::new(memory_bytes_max),
            stopped: None,
            last_error: None,
        }
    }

    /// The mission, for the host function `function`; without one, the guest ends.
    pub(crate) fn mission(&mut self, function: &str) -> wasmtime::Result<&Mission> {
        // Not `if let`: the borrow would last to the end of the function.
        if self.mission.is_none() {
            let said = self.last_error.as_ref().map(|said| format!("; it said: {said}")).unwrap_or_default();
            return Err(self.stop(Stop::Crash(Crash::Trapped(format!("`{function}` needs a running mission{said}")))));
        }
        Ok(self.mission.as_ref().expect("seen above"))
    }

    /// Ends the run: the error to return from a host function.
    pub(crate) fn stop(&mut self, stop: Stop) -> wasmtime::Error {
        self.stopped = Some(stop);
        wasmtime::Error::msg("the run was stopped")
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
        let node = self.mission("the host")?.node.clone();
        let answer = tools::OnNode { node, future }.await;
        self.answered(answer)
    }
}

/// The world's functions, for every guest.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    world::Plugin::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    Ok(linker)
}

fn store(engine: &Engine, guest: Guest) -> Store<Guest> {
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|context| {
        if context.data().kill.is_thrown() {
            return Err(wasmtime::Error::msg("killed"));
        }
        Ok(UpdateDeadline::Yield(1))
    });
    store
}

/// Does the mission, up to its end. Dropping the future stops the guest.
pub(crate) async fn run(pre: &PluginPre<Guest>, brief: Brief, guest: Guest) -> Ending {
    let kill = guest.kill.clone();
    let grants = guest.mission.as_ref().map_or(0, |mission| mission.grants.len());
    let mut store = store(pre.engine(), guest);
    let ended = {
        let call = async {
            let plugin = pre.instantiate_async(&mut store).await?;
            let grants = (0..grants).filter_map(|index| u32::try_from(index).ok());
            let tools: Vec<Resource<tools::Tool>> = grants.map(Resource::new_own).collect();
            plugin.call_run(&mut store, &brief.into(), &tools).await
        };
        tokio::select! {
            biased;
            () = kill.thrown() => return Ending::Killed,
            ended = call => ended,
        }
    };
    match ended {
        Ok(returned) => returned.into(),
        Err(error) => ending::explain(store.data(), &error),
    }
}

/// What the plugin finds wrong with a brief.
pub(crate) async fn check(pre: &PluginPre<Guest>, brief: Brief, guest: Guest) -> Result<Vec<world::Mistake>, Crash> {
    let mut store = store(pre.engine(), guest);
    let call = async {
        let plugin = pre.instantiate_async(&mut store).await?;
        plugin.call_check(&mut store, &brief.into()).await
    };
    let checked = call.await;
    checked.map_err(|error| ending::crash(store.data(), &error))
}

/// Who the plugin says that it is.
pub(crate) async fn describe(pre: &PluginPre<Guest>, guest: Guest) -> Result<world::Manifest, Crash> {
    let mut store = store(pre.engine(), guest);
    let call = async {
        let plugin = pre.instantiate_async(&mut store).await?;
        plugin.call_describe(&mut store).await
    };
    let described = call.await;
    described.map_err(|error| ending::crash(store.data(), &error))
}

impl From<Brief> for world::Brief {
    fn from(brief: Brief) -> Self {
        Self {
            mission_id: brief.mission_id,
            vp_id: brief.vp_id,
            vp_session_id: brief.vp_session_id,
            mission_type: brief.mission_type,
            objective: brief.objective,
            inputs: brief.inputs,
            success_criteria: brief.success_criteria,
            required_outputs: brief.required_outputs,
        }
    }
}
