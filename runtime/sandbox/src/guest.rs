//! One guest: the data of its store, and the store itself. The data hands each capability what it stands on.

use sortie_contract::limit::ARTIFACT_BYTES_MAX;
use sortie_contract::tool::ToolName;
use wasmtime::{Engine, Store, UpdateDeadline};

use crate::capability::artifacts::{Artifacts, ArtifactsView};
use crate::capability::human::{Human, HumanView};
use crate::capability::limits::{Limits, LimitsView};
use crate::capability::missions::{Missions, MissionsView};
use crate::capability::model::{Model, ModelView};
use crate::capability::report::{Report, ReportView, Said};
use crate::capability::time::{Time, TimeView};
use crate::capability::tools::{Grants, Tools, ToolsView};
use crate::capability::wasi::{Played, Wasi, WasiView};
use crate::kill::Kill;
use crate::limiter::Limiter;
use crate::pending::Pendings;
use crate::side::Side;

/// What a guest may pass in one call, in bytes: the largest artifact, and some room for what is around it.
const HOSTCALL_BYTES_MAX: usize = ARTIFACT_BYTES_MAX + (1 << 20);

/// The data of one guest's store. It lives for one call of one export.
pub(crate) struct Guest {
    pub(crate) side: Side,
    pub(crate) grants: Grants,
    pub(crate) pendings: Pendings,
    pub(crate) said: Said,
    pub(crate) played: Played,
    pub(crate) kill: Kill,
    pub(crate) limiter: Limiter,
}

impl Guest {
    /// A guest that takes for randomness what follows from the seed.
    pub(crate) fn new(side: Side, seed: &str, grants: Vec<ToolName>, kill: Kill, memory_bytes_max: usize) -> Self {
        Self {
            side,
            grants: Grants::new(grants),
            pendings: Pendings::new(),
            said: Said::default(),
            played: Played::of(seed),
            kill,
            limiter: Limiter::new(memory_bytes_max),
        }
    }

    /// A store for it: bounded, and interrupted at each tick.
    pub(crate) fn store(self, engine: &Engine) -> Store<Self> {
        let mut store = Store::new(engine, self);
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
}

impl ToolsView for Guest {
    fn tools(&mut self) -> Tools<'_> {
        Tools::new(&mut self.side, &self.grants, &mut self.pendings)
    }
}

impl ReportView for Guest {
    fn report(&mut self) -> Report<'_> {
        Report::new(&mut self.side, &mut self.said)
    }
}

impl ArtifactsView for Guest {
    fn artifacts(&mut self) -> Artifacts<'_> {
        Artifacts::new(&mut self.side)
    }
}

impl TimeView for Guest {
    fn time(&mut self) -> Time<'_> {
        Time::new(&mut self.side, &mut self.pendings)
    }
}

impl HumanView for Guest {
    fn human(&mut self) -> Human<'_> {
        Human::new(&mut self.side, &mut self.pendings)
    }
}

impl ModelView for Guest {
    fn model(&mut self) -> Model<'_> {
        Model::new(&mut self.side, &self.grants, &mut self.pendings)
    }
}

impl LimitsView for Guest {
    fn limits(&mut self) -> Limits<'_> {
        Limits::new(&mut self.side, &mut self.pendings)
    }
}

impl MissionsView for Guest {
    fn missions(&mut self) -> Missions<'_> {
        Missions::new(&mut self.side, &mut self.pendings)
    }
}

impl WasiView for Guest {
    fn wasi(&mut self) -> Wasi<'_> {
        Wasi::new(&mut self.side, &mut self.said, &mut self.played)
    }
}
