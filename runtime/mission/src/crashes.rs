//! Missions that stop their node: when one is suspected of it, and when it is given up.
//!
//! A node that dies takes all its runs with it, and cannot say whose fault it was. So a mission is suspected once its runs have broken
//! off a few times in a row with nothing new on record. A suspect runs alone, with no other plugin in memory, until it has come
//! forward or others are let in beside it: if its node dies in that time, nothing else can have been the cause.

use alloc::format;
use alloc::string::String;

/// Most runs of one mission in a row that may end with their node and record nothing new, whatever else ran beside them.
pub const CRASHES_MAX: u32 = 100;

/// So many of them in a row make a suspect: that its node died with it once may be anybody's fault.
pub const SUSPECTED_AFTER: u32 = 2;

/// Whether a mission may be what stops its node, after so many crashes in a row.
#[must_use]
pub fn is_suspect(crashes: u32) -> bool {
    crashes >= SUSPECTED_AFTER
}

/// Runs in a row that ended with their node and recorded nothing new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Crashes {
    /// All of them.
    pub(crate) in_a_row: u32,
    /// Those with no other plugin in memory.
    pub(crate) alone: u32,
}

impl Crashes {
    /// One more.
    pub(crate) fn and_one(self, alone: bool) -> Self {
        Self { in_a_row: self.in_a_row.saturating_add(1), alone: self.alone.saturating_add(u32::from(alone)) }
    }

    /// Why the mission is not tried again, where it is not; `alone_max` is what the node takes of one that runs alone.
    pub(crate) fn too_many(self, alone_max: u32) -> Option<String> {
        if self.alone >= alone_max {
            let Self { in_a_row, alone } = self;
            return Some(format!(
                "The node stopped {in_a_row} times in a row at the same place of this mission, {alone} of them while nothing else ran; \
                 it is not tried again."
            ));
        }
        (self.in_a_row > CRASHES_MAX).then(|| {
            format!("The node stopped more than {CRASHES_MAX} times at the same place of this mission; it is not tried again.")
        })
    }
}
