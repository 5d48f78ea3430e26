//! When a running mission shows a sign of life: milestones, heartbeats, or both.
//!
//! Owned here: what each cadence of the contract reports, and when the next heartbeat is due. Never here: a clock (times of the run
//! are arguments), and what the event says.

use sortie_contract::envelope::Cadence;

/// Whether a milestone becomes an event at once.
pub(crate) fn reports_milestones(cadence: Cadence) -> bool {
    matches!(cadence, Cadence::Milestone | Cadence::Hybrid)
}

/// How often a heartbeat becomes an event; `None` where the cadence has none.
pub(crate) fn heartbeat_interval_ms(cadence: Cadence, seconds: u32) -> Option<u64> {
    matches!(cadence, Cadence::Interval | Cadence::Hybrid).then(|| u64::from(seconds) * 1_000)
}

/// The run time at which the next heartbeat is due, after one that was due at `due_ms` and came at `came_ms`.
///
/// Heartbeats keep to their grid, so that being a little late never adds up. Those that were missed altogether (a suspended
/// laptop) are not made up for.
pub(crate) fn next_heartbeat_ms(due_ms: u64, came_ms: u64, interval_ms: u64) -> u64 {
    let interval_ms = interval_ms.max(1);
    let missed = came_ms.saturating_sub(due_ms) / interval_ms;
    due_ms.saturating_add(interval_ms.saturating_mul(missed.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_heartbeat_keeps_the_grid_and_missed_ones_are_not_made_up_for() {
        for (due, came, expected) in
            [(300, 300, 600), (300, 310, 600), (300, 599, 600), (300, 600, 900), (300, 5_000, 5_100)]
        {
            assert_eq!(next_heartbeat_ms(due, came, 300), expected, "due {due}, came {came}");
        }
        assert_eq!(next_heartbeat_ms(u64::MAX, u64::MAX, 0), u64::MAX);
    }
}
