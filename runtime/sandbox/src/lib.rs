//! The sandbox: runs mission plugins as WebAssembly components that hold what they were granted and nothing else.
//!
//! The only crate that names wasmtime. It owns the engine and its limits, the plugin store, the compiled code and the host
//! side of `wit/`. It never decides which call is allowed: every call of a guest goes to the [`Host`] of its
//! run, and what the host answers is what the guest gets.
//!
//! In order: [`Sandbox::new`] opens the store, [`Sandbox::install`] takes a plugin in, [`Sandbox::check`] holds a brief
//! against it, and [`Sandbox::run`] does a mission, until its [`Ending`]. A [`Kill`] stops a run wherever it is.
//!
//! Guests run on a tokio runtime of the sandbox's own: a guest that spins would starve the timers of the node's. What the
//! host does for a guest runs on the runtime from which `run` was called.
//!
//! Within: `world` is the table of versions; it names the capabilities, and they are linked into the data of a `guest`. Below
//! them is what they share (`side`, `pending`), and at the bottom the `host`. Nothing below names anything above it.

mod bindings;
pub mod capability;
mod ending;
mod engine;
mod guest;
mod host;
mod kill;
mod limiter;
mod pending;
mod plugin;
mod sandbox;
mod side;
mod world;

pub use ending::Ending;
pub use engine::{EngineError, MEMORY_BYTES_CEILING};
pub use host::{Answer, BoxFuture, Call, Held, Host, Reply, Stop};
pub use kill::Kill;
pub use plugin::{Freed, InstallError, Installed, PLUGIN_BYTES_MAX, StoreError, component_of};
pub use sandbox::{OpenError, Options, Run, Sandbox};
