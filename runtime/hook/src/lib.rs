//! Triggers from outside: whether a delivery is who it says, and the envelope that it comes to.
//!
//! A service that tells others what happened (a repository, a monitor, a shop) posts it to `/v1/hooks/NAME`, signed. What the operator wrote
//! under `[[hook]]` makes an envelope of it, which is dispatched like any other.
//!
//! ```text
//! delivery ── Hook::sender ──▶ Sender ── Hook::envelope ──▶ envelope, or not meant
//!              (signature)     (who, under which key)       (templates)
//! ```
//!
//! What is signed is what counts: the key of the mission is made of nothing that a third party could change, so that a delivery that is sent
//! again, by its sender or by whoever recorded it, is the same mission.
//!
//! Never reads a clock, never dispatches, never knows what an envelope must be: who takes it says that.

mod config;
mod hook;
mod signature;

pub use config::{ConfigError, HookConfig};
pub use hook::{Delivery, Hook, INVALID_TEMPLATE, Made, NAMES, Refused, Sender};
pub use signature::{AGE_MAX_SECONDS, Scheme};
