//! What a guest can do: a file for each interface of `wit/mission.wit`, and in it the capability whole: its state, its view
//! and its `add_to_linker`.
//!
//! A view is a trait that the data of a store implements (`TimeView`), and gives out what its interface stands on
//! (`Time`). So a capability knows neither the store's data nor the other capabilities; a new one is a file here, a field of
//! the data, and a name in the row of its world (`world.rs`).
//!
//! `wasi` is no interface of it but the part of WASI 0.2 that languages with a standard library cannot do without, played by the
//! sandbox. It stands on the same host.
//!
//! Each bounds what comes from the guest, asks the run's [`Host`](crate::Host), and hands the answer back. No rule of the
//! mission is here.

pub mod artifacts;
pub mod human;
pub mod limits;
pub mod missions;
pub mod model;
pub mod report;
pub mod time;
pub mod tools;
pub mod types;
pub mod wasi;

pub use crate::pending::Pendings;
pub use crate::side::Side;
