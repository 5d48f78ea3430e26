//! When a timer of a plugin is due, whatever clocks and crashes do.
//!
//! Owned here: how long it still is. Never here: reading a clock, waiting, and when a run that waits for it leaves memory.

use core::time::Duration;

use sortie_contract::Timestamp;

use crate::command::Now;

/// A timer that a plugin has set, as it is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    /// When it was set, by the wall clock.
    pub set_at: Timestamp,
    /// How long its mission had been running then, in milliseconds.
    pub ran_ms: u64,
    /// How long it was set for.
    pub lasts: Duration,
}

impl Timer {
    /// How long it still is: until it is due by the wall clock, or until its mission has run for as long. A clock that is set back
    /// makes no timer longer than it was to be.
    #[must_use]
    pub fn left(&self, now: Now) -> Duration {
        let due = self.set_at.checked_add(self.lasts).unwrap_or(Timestamp::MAX);
        let by_the_wall = Duration::try_from(due.duration_since(now.wall)).unwrap_or_default();
        let ran = Duration::from_millis(now.ran_ms.saturating_sub(self.ran_ms));
        by_the_wall.min(self.lasts.saturating_sub(ran))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_due_by_the_wall_clock_or_once_its_mission_has_run_for_as_long() {
        let at = |seconds: i64| Timestamp::from_second(1_000_000 + seconds).expect("a time");
        let timer = |lasts| Timer { set_at: at(0), ran_ms: 5_000, lasts };
        let minute = Duration::from_secs(60);
        for (what, lasts, wall, ran_ms, left) in [
            ("it was just set", minute, 0, 5_000, 60),
            ("it goes on", minute, 20, 25_000, 40),
            ("it is due", minute, 60, 65_000, 0),
            ("it was due while nothing ran", minute, 3_600, 6_000, 0),
            ("nothing ran for a while", minute, 30, 6_000, 30),
            ("the clock was set forward", minute, 50, 6_000, 10),
            ("the clock was set back", minute, -3_600, 6_000, 59),
            ("the clock was set back, and its mission ran for as long", minute, -3_600, 65_000, 0),
            ("the clock was set back, and its mission ran for longer", minute, -3_600, 99_000, 0),
            ("of no length", Duration::ZERO, 0, 5_000, 0),
        ] {
            let now = Now {
                wall: at(wall),
                ran_ms,
                out_ms: None,
                next_window: None,
                wider: Default::default(),
                expires_at: Timestamp::MAX,
                on_expiry: sortie_contract::envelope::OnExpiry::End,
            };
            assert_eq!(timer(lasts).left(now), Duration::from_secs(left), "{what}");
        }
        let now = Now {
            wall: Timestamp::MAX,
            ran_ms: 5_000,
            out_ms: None,
            next_window: None,
            wider: Default::default(),
            expires_at: Timestamp::MAX,
            on_expiry: sortie_contract::envelope::OnExpiry::End,
        };
        assert_eq!(timer(Duration::MAX).left(now), Duration::ZERO, "time ends before it is due");
    }
}
