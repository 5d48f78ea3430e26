//! The node's clocks. Only the composition root reads them; everybody else is told the time.
//!
//! Wall-clock time decides windows and stamps records. It may jump (NTP, a suspended laptop, an operator), so how long
//! something took is always read from the other one.

use std::time::{Duration, Instant};

use sortie_contract::Timestamp;

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The time of day.
    fn wall(&self) -> Timestamp;
    /// Time since some fixed moment; never goes back, never jumps.
    fn steady(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// Starts counting now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where the clocks are read")]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the clocks are read")]
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn steady(&self) -> Duration {
        self.origin.elapsed()
    }
}
