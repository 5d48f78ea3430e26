//! What the mission has left, and how it lands: a mission that is cut at its limit strands its work.
//!
//! A plugin that works in turns asks for the signal once, and looks at it between two turns:
//!
//! ```no_run
//! use sortie_plugin::limits;
//! # fn turn() -> bool { false }
//! # fn write_what_there_is() {}
//!
//! let closing = limits::closing();
//! while turn() {
//!     if closing.is_given() {
//!         limits::land();
//!         write_what_there_is();
//!         break;
//!     }
//! }
//! ```
//!
//! One that waits for what may outlast a limit (a page, a person) waits for the signal beside it, last: of several that are ready the first
//! is told.
//!
//! ```no_run
//! use sortie_plugin::{human, limits, wait_any};
//!
//! let closing = limits::closing();
//! let question = human::start("Does it stand?");
//! if wait_any([&question, closing.pending()]) == 1 {
//!     drop(question); // It is withdrawn.
//!     limits::land();
//! }
//! ```

use crate::Pending;
#[cfg(target_arch = "wasm32")]
use crate::bindings::world::limits as world;

/// What is left of the budget. What has no limit is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Run time, in milliseconds.
    pub runtime_ms: u64,
    /// Calls of models.
    pub llm_calls: Option<u64>,
    /// Money, in millionths of a US dollar.
    pub micro_usd: Option<u64>,
    /// So many of these calls are kept for landing.
    pub landing_llm_calls: u64,
    /// So much of this money is kept for landing.
    pub landing_micro_usd: u64,
}

/// Until when there is time, in milliseconds since 1970: the end of the window or of the run time, whichever comes first. A window that
/// the mission is carried over from has no say in it.
#[must_use]
pub fn deadline_ms() -> Option<u64> {
    #[cfg(target_arch = "wasm32")]
    return world::deadline();
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::deadline_ms()
}

/// What is left at this moment.
#[must_use]
pub fn left() -> Left {
    #[cfg(target_arch = "wasm32")]
    {
        let world::Remainder { runtime_ms, llm_calls, micro_usd, landing_llm_calls, landing_micro_usd } = world::left();
        Left { runtime_ms, llm_calls, micro_usd, landing_llm_calls, landing_micro_usd }
    }
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::left()
}

/// The signal that landing should begin: see [`closing`].
#[derive(Debug)]
pub struct Closing(Pending);

impl Closing {
    /// Whether it was given.
    #[must_use]
    pub fn is_given(&self) -> bool {
        #[cfg(target_arch = "wasm32")]
        {
            // The first of several that are ready is told: a timer that is over says that the signal is not.
            let now = crate::time::after(std::time::Duration::ZERO);
            crate::wait_any([&self.0, &now]) == 0
        }
        #[cfg(not(target_arch = "wasm32"))]
        crate::testing::is_closing()
    }

    /// To wait for it and for others.
    #[must_use]
    pub fn pending(&self) -> &Pending {
        &self.0
    }
}

/// Asks for the signal that landing should begin: at 95 % of the window, the run time, the model calls or the money, unless the node is
/// configured otherwise. From the first time that this is asked for, what is behind that mark is kept: a call that would take of it is
/// [`CallError::BudgetExhausted`](crate::CallError::BudgetExhausted) until [`land`] was called.
#[must_use]
pub fn closing() -> Closing {
    #[cfg(target_arch = "wasm32")]
    return Closing(Pending::of_node(world::closing()));
    #[cfg(not(target_arch = "wasm32"))]
    Closing(Pending::known(Ok("null".to_owned())))
}

/// The mission lands: from here on it may use what was kept for that.
pub fn land() {
    #[cfg(target_arch = "wasm32")]
    world::land();
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::land();
}
