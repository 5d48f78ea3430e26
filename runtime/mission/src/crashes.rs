//! Missions that stop their node: when one is suspected of it, and when it is given up.
//!
//! A node that dies takes all its runs with it, and cannot say whose fault it was. So a mission is suspected once its runs have broken
//! off a few times in a row with nothing new on record. A suspect runs alone, with no other mission's plugin in memory, until it has
//! come forward or others are let in beside it: if its node dies in that time, no other mission can have been the cause.
//!
//! Who has come through that time and then broke off again is tried behind the others, and longer: so the one that does it is found,
//! whoever stands before it, and however long it takes to do it.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

/// Most runs of one mission in a row that may end with their node and record nothing new, whatever else ran beside them.
pub const CRASHES_MAX: u32 = 100;

/// So many of them in a row make a suspect: that its node died with it once may be anybody's fault.
pub const SUSPECTED_AFTER: u32 = 2;

/// How long a suspect that neither comes forward nor stops the node has it for itself. Twice as long after each time that it came
/// through: what stops a node at its start does so sooner, and the others wait.
const PROBATION: Duration = Duration::from_secs(5);

/// As often as that is doubled: not quite three minutes.
const DOUBLED_MAX: u32 = 5;

/// How long a suspect has the node for itself that has outlived so many probations in a row.
pub(crate) fn probation(outlived: u32) -> Duration {
    PROBATION * (1 << outlived.min(DOUBLED_MAX))
}

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
    /// Those while no other mission ran.
    pub(crate) alone: u32,
    /// Times that others were let in beside it, since it last came forward.
    pub(crate) outlived: u32,
}

impl Crashes {
    /// One more.
    pub(crate) fn and_one(self, alone: bool) -> Self {
        let (in_a_row, alone) = (self.in_a_row.saturating_add(1), self.alone.saturating_add(u32::from(alone)));
        Self { in_a_row, alone, ..self }
    }

    /// Why the mission is not tried again, where it is not; `alone_max` is what the node takes of one that runs alone.
    pub(crate) fn too_many(self, alone_max: u32) -> Option<String> {
        if self.alone >= alone_max {
            let Self { in_a_row, alone, .. } = self;
            return Some(format!(
                "The node stopped {in_a_row} times in a row at the same place of this mission, {alone} of them while no other mission ran; \
                 it is not tried again."
            ));
        }
        (self.in_a_row > CRASHES_MAX).then(|| {
            format!("The node stopped more than {CRASHES_MAX} times at the same place of this mission; it is not tried again.")
        })
    }
}
