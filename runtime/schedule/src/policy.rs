//! The policies of a schedule: their names, and what each of them says.
//!
//! Owns the answer of an overlap policy to a fire, as one table. Never knows a schedule: `decide` brings fires and answers
//! together.

use serde::{Deserialize, Serialize};

/// Most missions of one schedule that have not ended: each fire records which they are.
pub const RUNNING_MAX: usize = 1_000;

/// What a fixed time does that the zone's clock leaves out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnGap {
    /// It fires when the gap ends.
    #[default]
    End,
    /// It does not fire.
    Skip,
}

/// What a fixed time does that the zone's clock shows twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFold {
    /// It fires the first time.
    #[default]
    First,
    /// It fires both times.
    Both,
}

/// Which of the fires that were missed are made up for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUpPolicy {
    /// Each, in order.
    #[default]
    All,
    /// The newest of what is due.
    Last,
    /// None.
    None,
}

/// What happens to a fire while a mission of the same schedule runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is skipped.
    #[default]
    Skip,
    /// One waits for its turn, the others are skipped.
    BufferOne,
    /// All wait for their turn, up to [`BUFFER_MAX`](crate::BUFFER_MAX).
    BufferAll,
    /// It takes the place of the one that runs, which is cancelled.
    CancelOther,
    /// It runs beside it.
    AllowAll,
}

/// Where a policy sends a fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Make the mission.
    Fire,
    /// Cancel what runs, then make it.
    CancelAndFire,
    /// Wait for a turn.
    Wait,
    /// Leave it out: something runs, or waits already.
    Skip,
    /// Leave it out: as many wait as can.
    Full,
    /// Ask again when one has ended: as many run as may ([`RUNNING_MAX`]).
    HoldUp,
}

impl Overlap {
    /// Every policy, for tables.
    pub const ALL: [Self; 5] = [Self::Skip, Self::BufferOne, Self::BufferAll, Self::CancelOther, Self::AllowAll];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::BufferOne => "buffer_one",
            Self::BufferAll => "buffer_all",
            Self::CancelOther => "cancel_other",
            Self::AllowAll => "allow_all",
        }
    }

    /// Where a fire goes while `running` missions of its schedule have not ended and `waiting` fires wait for their turn.
    #[must_use]
    pub fn place(self, running: usize, waiting: usize) -> Place {
        let free = running == 0 && waiting == 0;
        match self {
            Self::AllowAll if running >= RUNNING_MAX => Place::HoldUp,
            Self::AllowAll => Place::Fire,
            Self::CancelOther if running > 0 => Place::CancelAndFire,
            Self::CancelOther => Place::Fire,
            Self::Skip | Self::BufferOne | Self::BufferAll if free => Place::Fire,
            Self::Skip => Place::Skip,
            Self::BufferOne if waiting == 0 => Place::Wait,
            Self::BufferOne => Place::Skip,
            Self::BufferAll if waiting < crate::BUFFER_MAX => Place::Wait,
            Self::BufferAll => Place::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_answers_a_fire() {
        use Place::{CancelAndFire, Fire, Full, HoldUp, Skip, Wait};
        let most = crate::BUFFER_MAX;
        for (overlap, [idle, busy, queued, full, crowded]) in [
            (Overlap::Skip, [Fire, Skip, Skip, Skip, Skip]),
            (Overlap::BufferOne, [Fire, Wait, Skip, Skip, Wait]),
            (Overlap::BufferAll, [Fire, Wait, Wait, Full, Wait]),
            (Overlap::CancelOther, [Fire, CancelAndFire, CancelAndFire, CancelAndFire, CancelAndFire]),
            (Overlap::AllowAll, [Fire, Fire, Fire, Fire, HoldUp]),
        ] {
            assert_eq!(overlap.place(0, 0), idle, "{overlap:?}, idle");
            assert_eq!(overlap.place(1, 0), busy, "{overlap:?}, one runs");
            assert_eq!(overlap.place(1, 1), queued, "{overlap:?}, one runs and one waits");
            assert_eq!(overlap.place(1, most), full, "{overlap:?}, one runs and as many wait as can");
            assert_eq!(overlap.place(RUNNING_MAX, 0), crowded, "{overlap:?}, as many run as may");
        }
    }
}
