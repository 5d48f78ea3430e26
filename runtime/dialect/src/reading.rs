//! How far a bridge is with its stream: what it had and never acknowledged, what of that waits, and when it is tried anew.
//!
//! A job may have to wait alone: the node that has its VP is away. Those of other VPs behind it do not wait for it; those of its own VP do,
//! for their order is that of the stream. It knows what this consumer has read and nothing of the others of its group: between these there
//! is no order. Pure: no clock and no Redis.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::bridge::BACKOFF;

/// Most jobs that wait alone before nothing new is read: what is read is this consumer's, and no other's.
const WAITING_MAX: usize = 1_024;

/// How far it is.
pub(crate) struct Reading {
    /// Behind which of those that it had and never acknowledged it reads on; nothing, where it reads what is new.
    left: Option<String>,
    /// Whose jobs wait, of those that were read since it began anew.
    waiting: BTreeSet<String>,
    /// How many wait, with those that wait for their dead letters.
    count: usize,
    /// Whether some of these wait for their dead letters.
    is_unburied: bool,
    /// When they are tried anew, by the steady clock.
    again: Option<Duration>,
    /// How long it is waited the next time.
    wait: Duration,
}

impl Reading {
    /// At the first of those that it had.
    pub(crate) fn new() -> Self {
        Self {
            left: Some("0".to_owned()),
            waiting: BTreeSet::new(),
            count: 0,
            is_unburied: false,
            again: None,
            wait: BACKOFF.0,
        }
    }

    /// Begins anew with those that it had.
    pub(crate) fn anew(&mut self) {
        *self = Self { wait: self.wait, ..Self::new() };
    }

    /// Begins anew, if it is time for those that wait. Never within a pass over what it had, so that what is new gets its turn.
    pub(crate) fn look(&mut self, now: Duration) {
        if self.left.is_none() && self.again.is_some_and(|at| now >= at) {
            self.anew();
        }
    }

    /// Behind which of those that it had it reads on; nothing, where it reads what is new.
    pub(crate) fn after(&self) -> Option<&str> {
        self.left.as_deref()
    }

    /// Whether so many wait that nothing new is read.
    pub(crate) fn is_full(&self) -> bool {
        self.left.is_none() && self.count >= WAITING_MAX
    }

    /// What was read is seen to, of which this was the last.
    pub(crate) fn has_seen(&mut self, last: Option<String>, now: Duration) {
        if self.left.is_some() {
            self.left = last;
        }
        if self.left.is_some() {
            return;
        }
        if self.count == 0 {
            self.wait = BACKOFF.0;
        } else if self.again.is_none() {
            self.again = Some(now + self.pause());
        }
    }

    /// A job of that VP waits alone.
    pub(crate) fn waits(&mut self, vp_id: String) {
        self.waiting.insert(vp_id);
        self.count += 1;
    }

    /// A message that is no job waits for its dead letter, and nothing behind it does.
    pub(crate) fn waits_for_its_letter(&mut self) {
        self.is_unburied = true;
        self.count += 1;
    }

    /// Whether all that it had was gone through, and none of it waits for its dead letter.
    pub(crate) fn has_buried_all(&self) -> bool {
        self.left.is_none() && !self.is_unburied
    }

    /// Whether a job of that VP has to wait for one before it.
    pub(crate) fn holds_up(&self, vp_id: &str) -> bool {
        self.waiting.contains(vp_id)
    }

    /// How long it is waited now; the next time it is longer.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.wait;
        self.wait = (self.wait * 2).min(BACKOFF.1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_that_waits_holds_up_its_own_vp_alone_and_is_tried_anew() {
        let mut reading = Reading::new();
        assert_eq!(reading.after(), Some("0"));
        reading.waits("x".to_owned());
        reading.has_seen(Some("1-0".to_owned()), at(0));
        assert_eq!(reading.after(), Some("1-0"), "what is behind it is read");
        assert!(reading.holds_up("x") && !reading.holds_up("y"));
        reading.look(at(1_000));
        assert_eq!(reading.after(), Some("1-0"), "a pass is gone through to its end");
        reading.has_seen(None, at(1_000));
        assert_eq!(reading.after(), None, "then comes what is new");
        reading.look(at(1_000));
        assert_eq!(reading.after(), None, "at once it is not tried again");
        assert!(reading.holds_up("x"), "what is new of its VP waits as well");
        reading.look(at(1_001));
        assert_eq!(reading.after(), Some("0"));
        assert!(!reading.holds_up("x"), "it is tried anew");
    }

    #[test]
    fn the_waits_grow_while_something_waits_and_are_short_again_behind_that() {
        let mut reading = Reading::new();
        let mut waits = Vec::new();
        for _ in 0..9 {
            reading.waits("x".to_owned());
            reading.has_seen(None, at(0));
            waits.push(reading.again.expect("a time"));
            reading.look(at(100));
            assert_eq!(reading.after(), Some("0"));
        }
        assert!(
            waits.is_sorted() && waits.first() == Some(&BACKOFF.0) && waits.last() == Some(&BACKOFF.1),
            "{waits:?}"
        );
        reading.has_seen(None, at(0));
        assert!(reading.again.is_none() && reading.pause() == BACKOFF.0);
    }

    #[test]
    fn what_is_new_and_has_to_wait_is_tried_anew_as_well() {
        let mut reading = Reading::new();
        reading.has_seen(None, at(0));
        reading.waits("x".to_owned());
        reading.has_seen(Some("7-0".to_owned()), at(5));
        assert_eq!(reading.after(), None);
        reading.look(at(5) + BACKOFF.0);
        assert_eq!(reading.after(), Some("0"));
    }

    #[test]
    fn one_without_its_dead_letter_holds_up_nobody_and_is_tried_anew() {
        let mut reading = Reading::new();
        reading.waits_for_its_letter();
        assert!(!reading.holds_up("x"));
        reading.has_seen(None, at(0));
        assert!(reading.after().is_none() && !reading.has_buried_all());
        reading.look(at(1));
        assert_eq!(reading.after(), Some("0"));
        assert!(!reading.has_buried_all(), "none is known to be buried before all were tried");
        reading.has_seen(None, at(1));
        assert!(reading.has_buried_all());
    }

    #[test]
    fn where_too_many_wait_nothing_new_is_read() {
        let mut reading = Reading::new();
        for n in 0..WAITING_MAX {
            assert!(!reading.is_full(), "{n}");
            reading.waits(format!("vp.{n}"));
        }
        assert!(!reading.is_full(), "what it had is gone through all the same");
        reading.has_seen(None, at(0));
        assert!(reading.is_full());
        reading.anew();
        assert!(!reading.is_full());
    }
}
