//! The composition root of Sortie: everything that is ambient (clock, configuration, sockets, signals) comes in here, and
//! everything that the other crates decide or do is put together here.
//!
//! The crate owns the driver loop, the HTTP interface and the command line. It never decides a policy: what a mission
//! may do is asked of `sortie-mission`, always.

pub mod cli;
pub mod clock;
pub mod config;
mod disk;
pub mod engine;

mod artifact_store;
mod builtin;
mod http;
mod node;
mod telemetry;
mod workspaces;

pub use node::Node;
