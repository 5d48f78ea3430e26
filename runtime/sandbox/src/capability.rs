//! What a guest can do: one file per interface of `wit/mission.wit`.
//!
//! Each bounds what comes from the guest, asks the run's [`crate::Host`], and hands the answer back. No rule of the
//! mission is here.

mod artifacts;
mod human;
mod report;
mod time;
pub mod tools;

use crate::bindings::sortie::mission::types;
use crate::guest::Guest;

impl types::Host for Guest {}
