//! Time, as the journal knows it. `std::time` panics on this target.

use std::time::Duration;

#[cfg(target_arch = "wasm32")]
use crate::bindings::world::time as world;
use crate::{Pending, Value};

/// Milliseconds since 1970-01-01T00:00:00Z. A replay gets the recorded answer.
#[must_use]
pub fn now_ms() -> u64 {
    #[cfg(target_arch = "wasm32")]
    return world::now();
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::now_ms()
}

/// A timer that is ready after `duration`, with the result `null`: wait for it, or for it and others.
#[must_use]
pub fn after(duration: Duration) -> Pending {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    #[cfg(target_arch = "wasm32")]
    return Pending::of_node(world::after(ms));
    #[cfg(not(target_arch = "wasm32"))]
    {
        crate::testing::after(ms);
        Pending::known(Ok("null".to_owned()))
    }
}

/// Waits for `duration`.
pub fn sleep(duration: Duration) {
    // A timer that is cut short belongs to a mission that is ending: there is nobody left to tell.
    let _: Result<Value, _> = after(duration).get();
}
