//! `human`: questions to people. A question is a call like any other: it is on its way until somebody answers.
//!
//! It has no state of its own. A question of any length is taken, and [cut](sortie_contract::limit::NOTE_BYTES_MAX) before the
//! node sees it.
//!
//! ```
//! use sortie_sandbox::capability::human::{self, Human, HumanView};
//! use sortie_sandbox::capability::{Pendings, Side};
//! use wasmtime::Engine;
//! use wasmtime::component::Linker;
//!
//! struct Data {
//!     side: Side,
//!     pendings: Pendings,
//! }
//!
//! impl HumanView for Data {
//!     fn human(&mut self) -> Human<'_> {
//!         Human::new(&mut self.side, &mut self.pendings)
//!     }
//! }
//!
//! # fn main() -> wasmtime::Result<()> {
//! let mut linker = Linker::<Data>::new(&Engine::default());
//! human::add_to_linker(&mut linker)?;
//! assert!(human::add_to_linker(&mut linker).is_err(), "once is enough");
//! # Ok(())
//! # }
//! ```

use sortie_contract::limit::{NOTE_BYTES_MAX, clip};
use wasmtime::component::{HasData, Linker, Resource};

use crate::bindings::v0_1::sortie::mission::human as world;
use crate::pending::{Pending, Pendings};
use crate::side::Side;

/// People, as one guest sees them.
pub struct Human<'a> {
    side: &'a mut Side,
    pendings: &'a mut Pendings,
}

impl<'a> Human<'a> {
    /// Of the guest with that side; its questions are among these.
    pub fn new(side: &'a mut Side, pendings: &'a mut Pendings) -> Self {
        Self { side, pendings }
    }
}

/// Data of a store whose guest may ask people.
pub trait HumanView: Send {
    /// What the interface stands on.
    fn human(&mut self) -> Human<'_>;
}

/// Adds the interface to a linker.
///
/// # Errors
/// It is there already.
pub fn add_to_linker<T: HumanView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    world::add_to_linker::<T, HasHuman>(linker, T::human)
}

struct HasHuman;

impl HasData for HasHuman {
    type Data<'a> = Human<'a>;
}

impl world::Host for Human<'_> {
    fn ask(&mut self, question: String) -> wasmtime::Result<Resource<Pending>> {
        let host = self.side.host("human.ask")?;
        let question = clip(&question, NOTE_BYTES_MAX);
        self.pendings.begin(self.side, "human.ask", || host.ask(question))
    }
}
