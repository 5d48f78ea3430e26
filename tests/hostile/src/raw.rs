//! What no guest library would do: the world's functions by their core names, with numbers instead of handles.

use sortie_plugin::{Failure, Outcome};

#[link(wasm_import_module = "sortie:mission/tools@0.2.0")]
unsafe extern "C" {
    #[link_name = "[method]tool.name"]
    fn tool_name(handle: u32, answer: *mut [u32; 2]);
    #[link_name = "[method]pending.get"]
    fn pending_get(handle: u32, answer: *mut [u32; 8]);
    #[link_name = "wait-any"]
    fn wait_any(handles: *const u32, count: u32) -> u32;
}

#[link(wasm_import_module = "sortie:mission/artifacts@0.2.0")]
unsafe extern "C" {
    fn get(name: *const u8, bytes: u32, answer: *mut [u32; 8]);
}

/// Calls a tool by a number.
pub fn call_tool(handle: u32) -> Result<Outcome, Failure> {
    let mut answer = [0; 2];
    unsafe { tool_name(handle, &raw mut answer) };
    Ok(Outcome::new("the forged tool has a name"))
}

/// Takes the result of a number.
pub fn get_pending(handle: u32) -> Result<Outcome, Failure> {
    let mut answer = [0; 8];
    unsafe { pending_get(handle, &raw mut answer) };
    Ok(Outcome::new("the forged call has a result"))
}

/// The number of the first handle that a guest is given: a tool.
pub fn first_handle() -> u32 {
    1
}

/// Waits for any of none.
pub fn wait_for_nothing() -> Result<Outcome, Failure> {
    let ready = unsafe { wait_any(std::ptr::without_provenance(4), 0) };
    Ok(Outcome::new(format!("{ready} of nothing was ready")))
}

/// Names an artifact with more than a hundred megabytes.
pub fn giant_name() -> Result<Outcome, Failure> {
    let mut answer = [0; 8];
    let memory = core::arch::wasm32::memory_grow(0, 2_000) * 65_536;
    unsafe { get(std::ptr::without_provenance(memory), 2_000 * 65_536, &raw mut answer) };
    Ok(Outcome::new("the host copied all of it"))
}

/// A text that is none.
pub fn invalid_utf8() -> String {
    unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe, 0xc0]) }
}

/// A second owner of the same text: thousands of them cost the guest nothing, and the host a copy each.
pub fn alias(text: &'static str) -> String {
    unsafe { String::from_raw_parts(text.as_ptr().cast_mut(), text.len(), text.len()) }
}
