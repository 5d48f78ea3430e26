//! How often something that a server brings about is told in the log of the node: a few times a minute. The rest is counted.

use std::time::Duration;

use tokio::time::Instant;

/// So many are told in so long.
const TOLD_MAX: u32 = 20;
const TOLD_PER: Duration = Duration::from_secs(60);

/// See the module.
pub(crate) struct Rate {
    told: u32,
    left_out: u64,
    since: Instant,
}

impl Default for Rate {
    fn default() -> Self {
        Self { told: 0, left_out: 0, since: Instant::now() }
    }
}

impl Rate {
    /// Whether one more is told. Before it, with the first one of a new minute: how many were left out since, where some were.
    pub(crate) fn one_more(&mut self) -> (bool, Option<u64>) {
        let mut left_out = None;
        if self.since.elapsed() >= TOLD_PER {
            left_out = self.left_out();
            (self.told, self.since) = (0, Instant::now());
        }
        let is_told = self.told < TOLD_MAX;
        if is_told {
            self.told += 1;
        } else {
            self.left_out += 1;
        }
        (is_told, left_out)
    }

    /// How many were left out and not told of yet, where some were.
    pub(crate) fn left_out(&mut self) -> Option<u64> {
        let left_out = std::mem::take(&mut self.left_out);
        (left_out > 0).then_some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_are_told_and_the_rest_is_counted() {
        let mut rate = Rate::default();
        let told = (0..50).filter(|_| rate.one_more() == (true, None)).count();
        assert_eq!(told, 20);
        tokio::time::advance(TOLD_PER).await;
        assert_eq!((rate.one_more(), rate.one_more(), rate.left_out()), ((true, Some(30)), (true, None), None));
    }
}
