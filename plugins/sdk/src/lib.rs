//! The guest library of Sortie: everything that a mission plugin needs, and nothing that it may not have.
//!
//! A plugin is a type that implements [`Plugin`], and one line that makes it the component's face:
//!
//! ```no_run
//! use sortie_plugin::{Brief, Failure, Manifest, Outcome, Plugin, Tools, artifacts, json, report};
//!
//! struct Greeter;
//!
//! impl Plugin for Greeter {
//!     fn describe() -> Manifest {
//!         Manifest::new("greeter", env!("CARGO_PKG_VERSION"), "Reads a name and greets it.")
//!     }
//!
//!     fn run(brief: Brief, tools: Tools) -> Result<Outcome, Failure> {
//!         let read = tools.require("Read")?;
//!         let file = read.call(&json!({ "path": "name.txt" })).map_err(|error| read.failure(&error))?;
//!         report::milestone("the name is known");
//!         artifacts::put("greeting.txt", "text/plain", format!("Hello, {}!\n", file["content"]))?;
//!         Ok(Outcome::new(format!("greeted, as {} asked", brief.vp_id)))
//!     }
//! }
//!
//! sortie_plugin::export!(Greeter);
//! # fn main() {}
//! ```
//!
//! Build it as a `cdylib` for `wasm32-unknown-unknown`; the node makes a component of it when it is installed.
//!
//! What there is, is in the modules: [`Tools`] hold what the mission was granted, [`report`] speaks to people,
//! [`human`] asks them, [`model`] asks models, [`missions`] dispatches others, [`limits`] says what is left, [`artifacts`] keeps results, [`time`] is the only clock. There are no files, sockets, environment variables or
//! random numbers; what `std` has of them fails or panics on this target.
//!
//! `cargo test` runs a plugin natively, on a node that the test plays: see [`testing`](testing::Node).
//!
//! A panic ends the run; its text and place are logged first, so that whoever reads the mission's end sees why.

// Plugins run nowhere else; on the host the library is type-checked, documented, and tested against: see `testing`.
#[cfg(target_arch = "wasm32")]
mod alloc;
pub mod artifacts;
mod bindings;
mod brief;
pub mod human;
pub mod limits;
pub mod missions;
pub mod model;
mod plugin;
pub mod report;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod time;
mod tool;

pub use brief::Brief;
pub use plugin::{Failure, Manifest, Mistake, Outcome, Plugin};
pub use serde_json::{self, Value, json};
pub use tool::{CallError, CallInfo, Pending, Tool, ToolInfo, Tools, wait_any};

#[doc(hidden)]
pub use plugin::Adapter as __Adapter;
#[doc(hidden)]
pub use {bindings::__export_world, bindings::world as __world};

// The exported macro names the runtime by an absolute path, also when it is used in this crate.
extern crate self as sortie_plugin;
#[doc(hidden)]
pub use wit_bindgen as __wit_bindgen;

/// Makes a type that implements [`Plugin`] the face of the component. Once in a crate.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        type __SortiePlugin = $crate::__Adapter<$plugin>;
        $crate::__export_world!(__SortiePlugin with_types_in $crate::__world);
    };
}
