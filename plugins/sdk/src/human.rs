//! People: questions that the mission waits for, for hours if need be.

#[cfg(target_arch = "wasm32")]
use crate::bindings::world::human as world;
use crate::{CallError, Pending};

/// Asks somebody and goes on: wait for the answer (a JSON string), or for it and others. Meanwhile the mission is `blocked`.
#[must_use]
pub fn start(question: &str) -> Pending {
    #[cfg(target_arch = "wasm32")]
    return Pending::of_node(world::ask(question));
    #[cfg(not(target_arch = "wasm32"))]
    Pending::known(crate::testing::ask(question))
}

/// Asks somebody and waits for the answer.
///
/// # Errors
/// [`CallError::Denied`] where the question was turned down. Where nobody answers in time, the mission ends.
pub fn ask(question: &str) -> Result<String, CallError> {
    let answer = start(question).get()?;
    Ok(answer.as_str().map_or_else(|| answer.to_string(), str::to_owned))
}
