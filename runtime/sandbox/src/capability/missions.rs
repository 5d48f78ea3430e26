//! `missions`: missions that a mission dispatches, as pending calls whose results are their ends.
//!
//! It has no state of its own. What a child may be given, and whether the node takes it, is the host's to say.
//!
//! ```
//! use sortie_sandbox::capability::missions::{self, Missions, MissionsView};
//! use sortie_sandbox::capability::{Pendings, Side};
//! use wasmtime::Engine;
//! use wasmtime::component::Linker;
//!
//! struct Data {
//!     side: Side,
//!     pendings: Pendings,
//! }
//!
//! impl MissionsView for Data {
//!     fn missions(&mut self) -> Missions<'_> {
//!         Missions::new(&mut self.side, &mut self.pendings)
//!     }
//! }
//!
//! # fn main() -> wasmtime::Result<()> {
//! let mut linker = Linker::<Data>::new(&Engine::default());
//! missions::add_to_linker(&mut linker)?;
//! assert!(missions::add_to_linker(&mut linker).is_err(), "once is enough");
//! # Ok(())
//! # }
//! ```

use sortie_contract::limit::{ARTIFACT_NAME_BYTES_MAX, ID_BYTES_MAX};
use wasmtime::component::{HasData, Linker, Resource};

use crate::bindings::missions::sortie::mission::missions as world;
use crate::bindings::v0_1::sortie::mission::types::CallError;
use crate::capability::tools::fits;
use crate::pending::{Pending, Pendings};
use crate::side::Side;

/// Missions, as one guest dispatches them.
pub struct Missions<'a> {
    side: &'a mut Side,
    pendings: &'a mut Pendings,
}

impl<'a> Missions<'a> {
    /// Of the guest with that side; its calls are among these.
    pub fn new(side: &'a mut Side, pendings: &'a mut Pendings) -> Self {
        Self { side, pendings }
    }
}

/// Data of a store whose guest dispatches missions.
pub trait MissionsView: Send {
    /// What the interface stands on.
    fn missions(&mut self) -> Missions<'_>;
}

/// Adds the interface to a linker.
///
/// # Errors
/// It is there already.
pub fn add_to_linker<T: MissionsView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    world::add_to_linker::<T, HasMissions>(linker, T::missions)
}

struct HasMissions;

impl HasData for HasMissions {
    type Data<'a> = Missions<'a>;
}

impl world::Host for Missions<'_> {
    async fn dispatch(&mut self, order: String) -> wasmtime::Result<Result<Resource<Pending>, CallError>> {
        let host = self.side.host("missions.dispatch")?;
        if let Err(error) = fits(&order).and_then(|()| self.pendings.has_room()) {
            return Ok(Err(error.into()));
        }
        match self.side.on_node(host.dispatch(order)).await? {
            Ok(call) => self.pendings.begin(self.side, "missions.dispatch", || call).map(Ok),
            Err(error) => Ok(Err(error.into())),
        }
    }

    async fn artifact(&mut self, mission_id: String, name: String) -> wasmtime::Result<Result<Vec<u8>, String>> {
        let host = self.side.host("missions.artifact")?;
        if mission_id.len() > ID_BYTES_MAX || name.len() > ARTIFACT_NAME_BYTES_MAX {
            return Ok(Err(format!(
                "the name of a mission has at most {ID_BYTES_MAX} bytes, that of an artifact {ARTIFACT_NAME_BYTES_MAX}"
            )));
        }
        self.side.on_node(host.get_of(mission_id, name)).await
    }
}
