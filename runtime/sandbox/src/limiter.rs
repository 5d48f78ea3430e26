//! How much memory one guest may have.

use wasmtime::ResourceLimiter;

/// Most elements of one table: a large Rust guest has some thousand functions.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 20_000;

/// Refuses growth beyond the limits, and remembers that it did: a guest that is refused memory mostly ends in a bare
/// `unreachable`, which says nothing.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes_max: usize,
    memory_bytes: usize,
    refused: bool,
}

impl Limiter {
    pub(crate) fn new(memory_bytes_max: usize) -> Self {
        Self { memory_bytes_max, memory_bytes: 0, refused: false }
    }

    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max as u64
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        // The sum over all memories of the instance: a component may have several.
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        let granted = total <= self.memory_bytes_max;
        if granted {
            self.memory_bytes = total;
        }
        self.refused |= !granted;
        Ok(granted)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let granted = desired <= TABLE_ELEMENTS_MAX;
        self.refused |= !granted;
        Ok(granted)
    }
}
