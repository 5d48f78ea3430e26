//! How long a mission has been running: from a clock that never jumps, through all its runs.
//!
//! Owned here: when that clock goes and when it stands. Never here: reading a clock (the time is an argument), and what is due by
//! it.

use core::time::Duration;

use crate::state::Mission;

/// The run clock of a mission in memory. It goes while [`Mission::takes_run_time`] says so. What another process left running
/// does not run before its next run begins here; what it left sleeping needs no run to sleep on.
#[derive(Debug, Clone, Copy)]
pub struct RunClock {
    base_ms: u64,
    has_begun: bool,
    since: Option<Duration>,
}

impl RunClock {
    /// Of a mission that was just brought into memory: it goes on where the record left it, or at `kept_ms`, where it is known to have run
    /// for so long. The next record of the mission says so, too.
    #[must_use]
    pub fn new(mission: &Mission, kept_ms: u64, steady: Duration) -> Self {
        let mut clock = Self { base_ms: mission.ran_ms().max(kept_ms), has_begun: false, since: None };
        clock.turn(mission, false, false, steady);
        clock
    }

    /// How long the mission has been running, in milliseconds. `steady` is the time since some fixed moment, the same for
    /// all calls.
    #[must_use]
    pub fn ran_ms(self, steady: Duration) -> u64 {
        let running = self.since.map_or(Duration::ZERO, |since| steady.saturating_sub(since));
        self.base_ms.saturating_add(u64::try_from(running.as_millis()).unwrap_or(u64::MAX))
    }

    /// Whether it goes at this moment.
    #[must_use]
    pub fn goes(self) -> bool {
        self.since.is_some()
    }

    /// Starts or stops it, after records were applied to the mission, or its plugin has begun to wait or gone on; `begins` where a run began
    /// with the records, `rests` where the plugin waits and all that is being done for it waits for people
    /// ([`Mission::waits_with_its_tools`]).
    pub fn turn(&mut self, mission: &Mission, begins: bool, rests: bool, steady: Duration) {
        self.has_begun |= begins;
        let goes = (self.has_begun || mission.suspension().is_some()) && !rests;
        match (mission.takes_run_time() && goes, self.since) {
            (true, None) => self.since = Some(steady),
            (false, Some(_)) => *self = Self { base_ms: self.ran_ms(steady), since: None, ..*self },
            _ => {}
        }
    }
}
