//! `limits`: what a mission has left, and how it lands.
//!
//! It has no state of its own: when a limit comes near, and what is kept for landing, the host says; the signal is a pending call
//! without a number.
//!
//! ```
//! use sortie_sandbox::capability::limits::{self, Limits, LimitsView};
//! use sortie_sandbox::capability::{Pendings, Side};
//! use wasmtime::Engine;
//! use wasmtime::component::Linker;
//!
//! struct Data {
//!     side: Side,
//!     pendings: Pendings,
//! }
//!
//! impl LimitsView for Data {
//!     fn limits(&mut self) -> Limits<'_> {
//!         Limits::new(&mut self.side, &mut self.pendings)
//!     }
//! }
//!
//! # fn main() -> wasmtime::Result<()> {
//! let mut linker = Linker::<Data>::new(&Engine::default());
//! limits::add_to_linker(&mut linker)?;
//! assert!(limits::add_to_linker(&mut linker).is_err(), "once is enough");
//! # Ok(())
//! # }
//! ```

use futures_util::FutureExt as _;
use sortie_contract::plugin::Left;
use wasmtime::component::{HasData, Linker, Resource};

use crate::bindings::v0_2::sortie::mission::limits as world;
use crate::pending::{Pending, Pendings};
use crate::side::Side;

/// Limits, as one guest sees them.
pub struct Limits<'a> {
    side: &'a mut Side,
    pendings: &'a mut Pendings,
}

impl<'a> Limits<'a> {
    /// Of the guest with that side; its signals are among these.
    pub fn new(side: &'a mut Side, pendings: &'a mut Pendings) -> Self {
        Self { side, pendings }
    }
}

/// Data of a store whose guest is told of its limits.
pub trait LimitsView: Send {
    /// What the interface stands on.
    fn limits(&mut self) -> Limits<'_>;
}

/// Adds the interface to a linker.
///
/// # Errors
/// It is there already.
pub fn add_to_linker<T: LimitsView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    world::add_to_linker::<T, HasLimits>(linker, T::limits)
}

struct HasLimits;

impl HasData for HasLimits {
    type Data<'a> = Limits<'a>;
}

impl world::Host for Limits<'_> {
    fn deadline(&mut self) -> wasmtime::Result<Option<u64>> {
        let deadline = self.side.host("limits.deadline")?.deadline();
        let deadline = self.side.answered(deadline)?;
        Ok(deadline.map(|at| u64::try_from(at.as_millisecond()).unwrap_or(0)))
    }

    fn left(&mut self) -> wasmtime::Result<world::Remainder> {
        let left = self.side.host("limits.left")?.left();
        self.side.answered(left).map(Into::into)
    }

    fn closing(&mut self) -> wasmtime::Result<Resource<Pending>> {
        let host = self.side.host("limits.closing")?;
        let signal = host.closing().map(|given| given.map(|()| Ok("null".to_owned()).into()));
        self.pendings.signal(self.side, signal.boxed())
    }

    fn land(&mut self) -> wasmtime::Result<()> {
        let landed = self.side.host("limits.land")?.land();
        self.side.answered(landed)
    }
}

impl From<Left> for world::Remainder {
    fn from(left: Left) -> Self {
        let Left { runtime_ms, llm_calls, cost_micro_usd, landing_llm_calls, landing_micro_usd } = left;
        Self { runtime_ms, llm_calls, micro_usd: cost_micro_usd, landing_llm_calls, landing_micro_usd }
    }
}
