//! `time`: the only clock that a guest has is the one that the journal keeps.
//!
//! It has no state of its own: what time it is, the host says; a timer is a pending call. One that is longer than any calendar
//! is taken as it is: the host records it, and a replay asks for the same.
//!
//! ```
//! use sortie_sandbox::capability::time::{self, Time, TimeView};
//! use sortie_sandbox::capability::{Pendings, Side};
//! use wasmtime::component::{Component, Linker};
//! use wasmtime::{Engine, Store};
//!
//! struct Data {
//!     side: Side,
//!     pendings: Pendings,
//! }
//!
//! impl TimeView for Data {
//!     fn time(&mut self) -> Time<'_> {
//!         Time::new(&mut self.side, &mut self.pendings)
//!     }
//! }
//!
//! # fn main() -> wasmtime::Result<()> {
//! let engine = Engine::default();
//! let component = wat::parse_str(
//!     r#"(component
//!         (import "sortie:mission/time@0.1.0" (instance $time (export "now" (func (result u64)))))
//!         (core func $now (canon lower (func $time "now")))
//!         (core module $m
//!             (import "time" "now" (func $now (result i64)))
//!             (func (export "ask") (result i64) (call $now)))
//!         (core instance $i (instantiate $m (with "time" (instance (export "now" (func $now))))))
//!         (func (export "ask") (result u64) (canon lift (core func $i "ask"))))"#,
//! )?;
//! let mut linker = Linker::<Data>::new(&engine);
//! time::add_to_linker(&mut linker)?;
//! let mut store = Store::new(&engine, Data { side: Side::absent(), pendings: Pendings::new() });
//! let guest = linker.instantiate(&mut store, &Component::new(&engine, component)?)?;
//! let ask = guest.get_typed_func::<(), (u64,)>(&mut store, "ask")?;
//! // Nobody's mission, nobody's time: there is no other clock to fall back on.
//! assert!(ask.call(&mut store, ()).is_err());
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use futures_util::FutureExt as _;
use wasmtime::component::{HasData, Linker, Resource};

use crate::bindings::v0_1::sortie::mission::time as world;
use crate::host::Call;
use crate::pending::{Pending, Pendings};
use crate::side::Side;

/// Time, as one guest sees it.
pub struct Time<'a> {
    side: &'a mut Side,
    pendings: &'a mut Pendings,
}

impl<'a> Time<'a> {
    /// Of the guest with that side; its timers are among these.
    pub fn new(side: &'a mut Side, pendings: &'a mut Pendings) -> Self {
        Self { side, pendings }
    }
}

/// Data of a store whose guest has a clock.
pub trait TimeView: Send {
    /// What the interface stands on.
    fn time(&mut self) -> Time<'_>;
}

/// Adds the interface to a linker.
///
/// # Errors
/// It is there already.
pub fn add_to_linker<T: TimeView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    world::add_to_linker::<T, HasTime>(linker, T::time)
}

struct HasTime;

impl HasData for HasTime {
    type Data<'a> = Time<'a>;
}

impl world::Host for Time<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        let answer = self.side.host("time.now")?.now();
        let now = self.side.answered(answer)?;
        Ok(u64::try_from(now.as_millisecond()).unwrap_or(0))
    }

    fn after(&mut self, milliseconds: u64) -> wasmtime::Result<Resource<Pending>> {
        let host = self.side.host("time.after")?;
        self.pendings.begin(self.side, "time.after", || {
            let timer = host.after(Duration::from_millis(milliseconds));
            Call { number: None, answer: timer.map(|fired| fired.map(|()| Ok("null".to_owned()).into())).boxed() }
        })
    }
}
