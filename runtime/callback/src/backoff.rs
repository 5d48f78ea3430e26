//! How long to wait before the next attempt: exponential, with full jitter, honouring `Retry-After`. Pure: the random number is an
//! argument.

use std::time::Duration;

/// The longest wait that a receiver is granted: one that asks for more may as well be down, and is asked again.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// The bounds of the waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    /// The longest wait after the first failure.
    pub(crate) first: Duration,
    /// The longest wait that nobody asked for.
    pub(crate) max: Duration,
}

impl Backoff {
    /// The wait after `attempts` failures (at least one), where `random` is uniform in `[0, 1)`.
    ///
    /// Full jitter: anything from nothing to the whole exponential wait, so that a thousand missions whose receiver came back do not
    /// return in step. Where the receiver said when to come, that time holds, with a little jitter on top and never more than
    /// [`RETRY_AFTER_MAX`].
    pub(crate) fn wait(self, attempts: u32, retry_after: Option<Duration>, random: f64) -> Duration {
        debug_assert!((0.0..1.0).contains(&random), "random is in [0, 1)");
        match retry_after {
            Some(asked) => asked.saturating_add(self.first.mul_f64(random)).min(RETRY_AFTER_MAX),
            None => {
                let doublings = attempts.saturating_sub(1).min(31);
                self.first.saturating_mul(1 << doublings).min(self.max).mul_f64(random)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };

    #[test]
    fn the_longest_wait_doubles_up_to_the_maximum() {
        let almost_one = 1.0 - f64::EPSILON;
        for (attempts, seconds) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (u32::MAX, 60)] {
            let wait = BACKOFF.wait(attempts, None, almost_one);
            assert!(wait.abs_diff(Duration::from_secs(seconds)) < Duration::from_millis(1), "{attempts}: {wait:?}");
        }
    }

    proptest! {
        #[test]
        fn every_wait_keeps_its_bounds(attempts in 1_u32.., random in 0.0..1.0_f64, asked in proptest::option::of(0_u64..)) {
            let asked = asked.map(Duration::from_secs);
            let wait = BACKOFF.wait(attempts, asked, random);
            let longest = if asked.is_some() { RETRY_AFTER_MAX } else { BACKOFF.max };
            prop_assert!(wait <= longest);
            if let Some(asked) = asked {
                prop_assert!(wait >= asked.min(RETRY_AFTER_MAX), "earlier than the receiver asked for");
            }
        }
    }
}
