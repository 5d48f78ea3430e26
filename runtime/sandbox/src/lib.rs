//! The sandbox: runs mission plugins as WebAssembly components that hold what they were granted and nothing else.
//!
//! The only crate that names wasmtime. It owns the engine and its limits, the plugin store, the compiled code and the host
//! side of `wit/mission.wit`. It never decides which call is allowed: every call of a guest goes to the [`Host`] of its
//! run, and what the host answers is what the guest gets.
//!
//! In order: [`Sandbox::new`] opens the store, [`Sandbox::install`] takes a plugin in, [`Sandbox::check`] holds a brief
//! against it, and [`Sandbox::run`] does a mission, until its [`Ending`]. A [`Kill`] stops a run wherever it is.
//!
//! Guests run on a tokio runtime of the sandbox's own: a guest that spins would starve the timers of the node's. What the
//! host does for a guest runs on the runtime from which `run` was called.

mod bindings;
mod capability;
mod ending;
mod engine;
mod guest;
mod host;
mod kill;
mod limiter;
mod plugin;
mod sandbox;

pub use ending::Ending;
pub use engine::EngineError;
pub use host::{Answer, BoxFuture, Call, Host, Stop};
pub use kill::Kill;
pub use plugin::{InstallError, Installed, StoreError};
pub use sandbox::{OpenError, Options, Run, Sandbox};
