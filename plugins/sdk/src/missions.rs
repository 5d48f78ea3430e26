//! Missions that this one dispatches: children, each by itself, with no more than this mission has.
//!
//! An order is JSON in the words of an envelope, a result says how the child ended:
//!
//! ```no_run
//! use sortie_plugin::{CallError, json, missions};
//!
//! # fn delegate() -> Result<(), CallError> {
//! let child = missions::dispatch(&json!({
//!     "objective": "Leave a greeting behind.",
//!     "mission_type": "automation",
//!     "inputs": { "steps": [{ "id": "greet", "tool": "Write", "with": { "path": "a.md", "content": "hello" }, "artifact": "a.md" }] },
//!     "constraints": { "allowed_tools": ["Write"] },
//!     "budget": { "max_runtime_minutes": 5 },
//!     "artifact_policy": { "required_outputs": ["a.md"] },
//! }))?;
//! let ended = child.get()?;
//! if ended["status"] == "completed" {
//!     let _greeting = missions::artifact(ended["mission_id"].as_str().unwrap_or_default(), "a.md");
//! }
//! # Ok(())
//! # }
//! ```

use serde::Serialize;

#[cfg(target_arch = "wasm32")]
use crate::bindings::world::missions as world;
use crate::tool::text;
use crate::{CallError, Pending};

/// Dispatches a child and goes on: its end is the result, however it ended. Dropping the [`Pending`] cancels it.
///
/// # Errors
/// [`CallError`]: nothing was dispatched. [`CallError::Denied`], where it goes beyond what this mission may;
/// [`CallError::BudgetExhausted`], where its share is not left; [`CallError::InvalidArguments`], where the node would not take such a mission.
pub fn dispatch<O: Serialize + ?Sized>(order: &O) -> Result<Pending, CallError> {
    let order = text(order)?;
    #[cfg(target_arch = "wasm32")]
    return world::dispatch(&order).map(Pending::of_node).map_err(CallError::from);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::dispatch(&order).map(|ended| Pending::known(Ok(ended)))
}

/// Reads an artifact that a child left which has ended, by the `mission_id` of its result.
///
/// # Errors
/// Where there is none of that name.
pub fn artifact(mission_id: &str, name: &str) -> Result<Vec<u8>, String> {
    #[cfg(target_arch = "wasm32")]
    return world::artifact(mission_id, name);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::artifact_of(mission_id, name)
}
