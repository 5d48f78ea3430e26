//! `model`: models, as pending calls that the mission pays for.
//!
//! It has no state of its own. Which tools a model may ask for, the guest says by its handles: so a request can name none that it does
//! not hold. What a request must look like, what it may cost and whether it is made is the host's to say.
//!
//! ```
//! use sortie_sandbox::capability::model::{self, Model, ModelView};
//! use sortie_sandbox::capability::tools::Grants;
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
//! impl ModelView for Data {
//!     fn model(&mut self) -> Model<'_> {
//!         Model::new(&mut self.side, &self.grants, &mut self.pendings)
//!     }
//! }
//!
//! # fn main() -> wasmtime::Result<()> {
//! let mut linker = Linker::<Data>::new(&Engine::default());
//! model::add_to_linker(&mut linker)?;
//! assert!(model::add_to_linker(&mut linker).is_err(), "once is enough");
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeSet;

use sortie_contract::plugin::ModelInfo;
use wasmtime::component::{HasData, Linker, Resource};

use crate::bindings::v0_2::sortie::mission::model as world;
use crate::capability::tools::{Grants, answered_already, fits};
use crate::pending::{HANDLES_MAX, Pending, Pendings};
use crate::side::Side;

/// Models, as one guest sees them.
pub struct Model<'a> {
    side: &'a mut Side,
    grants: &'a Grants,
    pendings: &'a mut Pendings,
}

impl<'a> Model<'a> {
    /// Of the guest with that side and those grants; its calls are among these.
    pub fn new(side: &'a mut Side, grants: &'a Grants, pendings: &'a mut Pendings) -> Self {
        Self { side, grants, pendings }
    }
}

/// Data of a store whose guest may ask models.
pub trait ModelView: Send {
    /// What the interface stands on.
    fn model(&mut self) -> Model<'_>;
}

/// Adds the interface to a linker.
///
/// # Errors
/// It is there already.
pub fn add_to_linker<T: ModelView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    world::add_to_linker::<T, HasModel>(linker, T::model)
}

struct HasModel;

impl HasData for HasModel {
    type Data<'a> = Model<'a>;
}

impl world::Host for Model<'_> {
    fn describe(&mut self) -> wasmtime::Result<Vec<world::ModelInfo>> {
        let models = self.side.host("model.describe")?.models();
        Ok(self.side.answered(models)?.into_iter().map(Into::into).collect())
    }

    fn complete(
        &mut self,
        request: String,
        tools: Vec<Resource<crate::capability::tools::Handle>>,
    ) -> wasmtime::Result<Resource<Pending>> {
        let host = self.side.host("model.complete")?;
        if tools.len() > HANDLES_MAX {
            return Err(self.side.exceeded(format!("`complete` takes at most {HANDLES_MAX} tools")));
        }
        // One that is handed over twice is meant once.
        let mut seen = BTreeSet::new();
        let once = tools.iter().filter(|tool| seen.insert(tool.rep()));
        let tools = once.map(|tool| self.grants.named(tool).cloned()).collect::<wasmtime::Result<Vec<_>>>()?;
        self.pendings.begin(self.side, "model.complete", || match fits(&request) {
            Ok(()) => host.complete(request, tools),
            Err(error) => answered_already(Err(error)),
        })
    }
}

impl From<ModelInfo> for world::ModelInfo {
    fn from(info: ModelInfo) -> Self {
        let ModelInfo { name, context_tokens, takes_tools, takes_images, takes_schemas, is_default } = info;
        Self { name, context_tokens, takes_tools, takes_images, takes_schemas, is_default }
    }
}
