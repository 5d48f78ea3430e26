//! Until when it is certain that a share is held: what this machine's own clocks say of a lease that runs by the database's.
//!
//! The lease was renewed at some moment after the request was sent: it holds for as long from that sending on, whatever the answer took.
//! A machine that sleeps must not think that no time has passed. What counts is the clock that goes on meanwhile, where the system has one
//! (`/proc/uptime`), and the process's own beside it: whichever says that more time has passed is believed.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::fleet::margin;

/// A moment, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    at: Instant,
    /// How long the machine has been up, asleep or awake.
    up: Option<Duration>,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), up: up() }
    }

    fn elapsed(self) -> Duration {
        let awake = self.at.elapsed();
        let up = self.up.zip(up()).map(|(then, now)| now.saturating_sub(then));
        up.map_or(awake, |up| up.max(awake))
    }
}

fn up() -> Option<Duration> {
    of_text(&std::fs::read_to_string("/proc/uptime").ok()?)
}

fn of_text(text: &str) -> Option<Duration> {
    let seconds: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Certain {
    lease: Duration,
    /// When the last renewal was sent that was confirmed; `None` once another has the share.
    sent: Arc<Mutex<Option<Moment>>>,
}

impl Certain {
    pub(crate) fn since(sent: Moment, lease: Duration) -> Self {
        Self { lease, sent: Arc::new(Mutex::new(Some(sent))) }
    }

    /// A renewal that was sent then has happened.
    pub(crate) fn confirm(&self, sent: Moment) {
        if let Some(last) = &mut *self.sent.lock()
            && sent.at > last.at
        {
            *last = sent;
        }
    }

    /// It is another's.
    pub(crate) fn is_over(&self) {
        *self.sent.lock() = None;
    }

    /// For how long from now on.
    pub(crate) fn left(&self) -> Duration {
        let Some(sent) = *self.sent.lock() else { return Duration::ZERO };
        (self.lease - margin(self.lease)).saturating_sub(sent.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whichever_clock_says_that_more_has_passed_is_believed() {
        let now = Moment::now();
        let lease = Duration::from_secs(10);
        let left = |sent: Moment| Certain::since(sent, lease).left();
        assert!(left(now) > Duration::from_secs(8) && left(now) <= Duration::from_secs(9));
        let slept = Moment { up: now.up.map(|up| up.saturating_sub(Duration::from_secs(5))), ..now };
        if now.up.is_some_and(|up| up > Duration::from_secs(5)) {
            assert!(left(slept) <= Duration::from_secs(4), "{:?}", left(slept));
        }
        let set_back = Moment { up: now.up.map(|up| up + Duration::from_secs(60)), ..now };
        assert!(left(set_back) <= Duration::from_secs(9), "{:?}", left(set_back));
        let certain = Certain::since(now, lease);
        certain.is_over();
        certain.confirm(Moment::now());
        assert!(certain.left().is_zero(), "what is another's is never certain again");
    }

    #[test]
    fn the_time_that_a_machine_is_up_is_the_first_number() {
        for (text, expected) in [("12.50 99.00\n", Some(12_500)), ("7 8", Some(7_000)), ("", None), ("x 1", None)] {
            assert_eq!(of_text(text), expected.map(Duration::from_millis), "{text}");
        }
    }
}
