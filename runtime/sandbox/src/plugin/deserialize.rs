//! The one place where the sandbox trusts bytes: machine code that this node compiled and wrote itself.

use wasmtime::Engine;
use wasmtime::component::Component;

/// Loads compiled code.
///
/// `code` must be what [`Component::serialize`] returned on this machine. [`super::Cache`] is the only caller, and it
/// passes nothing whose authentication code it has not checked.
#[expect(unsafe_code, reason = "wasmtime cannot check machine code; the caller's cache authenticates it")]
pub(super) fn component(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` carries an authentication code under a key that only this node's user can read (mode 0600), made over
    // exactly these bytes when this node had compiled them. Whoever can forge that can replace the node's binary, too.
    // wasmtime itself refuses code of another version, configuration or processor.
    unsafe { Component::deserialize(engine, code) }
}
