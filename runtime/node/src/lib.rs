//! The composition root of Sortie: everything that is ambient (clock, configuration, sockets, signals) comes in here, and
//! everything that the other crates decide or do is put together here.
//!
//! The crate owns the configuration, the HTTP interface and the command line. It never decides a policy: what a mission
//! may do is asked of `sortie-mission`, always.

pub mod cli;
pub mod config;
pub mod replay;

mod among;
mod backup;
mod blanks;
mod bounded;
mod builtin;
mod collected;
mod dialects;
mod files;
mod hooks;
mod http;
mod kit;
mod mcp;
mod memory;
mod node;
mod notices;
mod portable;
mod private;
mod reload;
mod shared;
mod space;
mod store;
mod takes;
mod telemetry;
mod traces;
mod unheld;
mod vouched;
mod web;

/// The command that the node starts itself with to confine a command; nobody types it.
pub(crate) const SANDBOX: &str = "__sandbox";

pub use node::{Node, OpenError, ServeError};
