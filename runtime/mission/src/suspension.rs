//! When a run leaves memory: what a plugin that only waits costs, against what it costs to bring it back.
//!
//! Owned here: how long it stays, and until when it goes. What it measures by, its driver measures. Never here: whether it may
//! go at all at the moment in which it does, which [`Mission::decide`] asks again under the mission's lock; and what wakes it.

use core::time::Duration;

use jiff::SignedDuration;

use crate::state::Mission;

/// How long a plugin that waits for people, for a provider that refuses for now, for other missions, or for a late hour, stays in memory: long enough for an answer that comes at once,
/// too short to fill the memory with those that wait.
const GRACE: Duration = Duration::from_millis(500);

/// A plugin that waits for nothing but a timer stays in memory for so long: bringing it back costs a replay.
const NAP: Duration = Duration::from_secs(30);

/// A timer that is due so soon is waited for in memory: who goes has hardly gone when it must come back.
const SOON: Duration = Duration::from_secs(1);

const _: () = {
    assert!(GRACE.as_millis() < SOON.as_millis(), "a timer is looked at before it is due");
    assert!(SOON.as_millis() < NAP.as_millis());
};

/// A plugin that waits, as its driver sees it. All of it by a clock that never jumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle {
    /// How long it has been waiting, without a break.
    pub waited: Duration,
    /// For how much of that nothing was recorded of its mission: what was may be what it waits for.
    pub quiet: Duration,
    /// How far off the first of its timers is that was not due yet when it began to wait; negative where it is over. Nobody
    /// knows which of them it waits for, nor whether it has noticed one that is over.
    pub timer: Option<SignedDuration>,
}

/// What is to be done about a run whose plugin waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// It stays.
    NotYet {
        /// When to ask again.
        look_again_in: Duration,
    },
    /// It goes out of memory, until somebody decides, or for so long.
    Now {
        /// Then it wants its turn by itself.
        back_in: Option<Duration>,
    },
}

impl Mission {
    /// Whether a run of this mission is to leave memory, whose plugin is `idle`.
    #[must_use]
    pub fn leaves(&self, idle: &Idle) -> Leave {
        let asks = !self.open_requests().is_empty() || self.postponed_until().is_some() || self.waits_for_children();
        let waits_for_nothing_else = self.calls.only_waits().is_ok() && (asks || idle.timer.is_some());
        let enough = if asks { GRACE } else { NAP };
        let soon = |left: &SignedDuration| left.unsigned_abs() <= if left.is_negative() { GRACE } else { SOON };
        if !waits_for_nothing_else || idle.waited < enough || idle.timer.as_ref().is_some_and(soon) {
            return Leave::NotYet { look_again_in: GRACE };
        }
        if idle.quiet < GRACE {
            return Leave::NotYet { look_again_in: GRACE - idle.quiet };
        }
        // One that is over brings it back at once: whether it was what it waited for, its next run knows.
        Leave::Now { back_in: idle.timer.map(|left| left.try_into().unwrap_or_default()) }
    }
}
