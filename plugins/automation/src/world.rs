//! What the interpreter needs of the outside, as a trait: the component answers with the mission world, the tests with a
//! simulation. The interpreter itself knows neither.

use core::time::Duration;

use serde_json::Value as Json;
use sortie_plugin::CallError;

/// Tools, time and reports of one mission.
pub trait World {
    /// A call on its way, or a timer. Dropping it cancels it.
    type Pending;

    /// Whether the mission holds this tool. Names are compared without regard to case.
    fn holds(&self, tool: &str) -> bool;
    /// The names of the tools that the mission holds, as the node writes them.
    fn tools(&self) -> Vec<String>;
    /// The JSON Schema of a tool's arguments, where the mission holds it.
    fn schema(&self, tool: &str) -> Option<Json>;
    /// Starts a call.
    ///
    /// # Errors
    /// Where there is no call at all: the mission does not hold the tool.
    fn start(&mut self, tool: &str, arguments: &Json) -> Result<Self::Pending, CallError>;
    /// A timer.
    fn after(&mut self, duration: Duration) -> Self::Pending;
    /// The present moment, in milliseconds since 1970.
    fn now_ms(&mut self) -> u64;
    /// Waits until one of these (never none) is ready: its index.
    fn wait_any(&mut self, pending: &[&Self::Pending]) -> usize;
    /// The result of a call that is ready.
    ///
    /// # Errors
    /// The call's own.
    fn result(&mut self, call: &Self::Pending) -> Result<Json, CallError>;
    /// What a call that is ready was made with, where whoever approved it changed its arguments.
    fn amended(&mut self, call: &Self::Pending) -> Option<Json>;
    /// The signal that the mission should come to its end, because one of its limits is near. Asked for at most once; from then on
    /// something is kept for that end.
    fn closing(&mut self) -> Self::Pending;
    /// From here on what was kept for the end may be used.
    fn land(&mut self);
    /// Reports a milestone.
    fn milestone(&mut self, text: &str);
    /// Writes a line into the mission's log: something that a person may want to know and no program needs.
    fn warn(&mut self, text: &str);
    /// Judges a success criterion by its index.
    fn judge(&mut self, criterion: usize, met: bool, evidence: &str);
    /// Stores an artifact.
    ///
    /// # Errors
    /// What is wrong with it.
    fn put(&mut self, name: &str, media_type: &str, bytes: &[u8]) -> Result<(), String>;
    /// Stores a file of the workspace as an artifact.
    ///
    /// # Errors
    /// What is wrong with it.
    fn put_file(&mut self, name: &str, media_type: &str, path: &str) -> Result<(), String>;
}
