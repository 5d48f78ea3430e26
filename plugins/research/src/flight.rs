//! Calls side by side, until the mission comes near one of its limits: then what is on its way is let go of, and there is time to land.

use std::collections::VecDeque;
use std::time::Duration;

use sortie_plugin::limits::{self, Closing};
use sortie_plugin::{CallError, Pending, Value, time, wait_any};

/// What of the time that is left when the mission lands may be spent waiting, in percent: the rest is for storing what there is.
const LANDING_PERCENT: u64 = 80;

/// The mission's calls.
#[derive(Debug)]
pub(crate) struct Flight {
    closing: Closing,
    is_landing: bool,
}

impl Flight {
    /// Asks to be told when a limit comes near.
    pub(crate) fn new() -> Self {
        Self { closing: limits::closing(), is_landing: false }
    }

    /// Whether the mission lands.
    pub(crate) fn is_landing(&self) -> bool {
        self.is_landing
    }

    /// Whether a limit is near, and the mission lands from now on.
    pub(crate) fn must_land(&mut self) -> bool {
        if !self.is_landing && self.closing.is_given() {
            self.land();
        }
        self.is_landing
    }

    /// Lands: what was kept for that may be used.
    pub(crate) fn land(&mut self) {
        if !self.is_landing {
            self.is_landing = true;
            limits::land();
        }
    }

    /// Makes a call for each item, at most `at_once` at a time; the results are in the order of the items, and those that came too late
    /// have none. `ended` is told the index of each that has one, when it has.
    pub(crate) fn all<T>(
        &mut self,
        items: &[T],
        at_once: usize,
        start: impl Fn(&T) -> Result<Pending, CallError>,
        mut ended: impl FnMut(usize),
    ) -> Vec<Option<Result<Value, CallError>>> {
        let mut results: Vec<Option<Result<Value, CallError>>> = items.iter().map(|_| None).collect();
        let mut waiting: VecDeque<(usize, &T)> = items.iter().enumerate().collect();
        let mut flying: Vec<(usize, Pending)> = Vec::new();
        // What is asked for while the mission lands is bounded by the time that is left; before, the signal ends it.
        let late = if self.is_landing && !items.is_empty() { landing_timer() } else { None };
        loop {
            while flying.len() < at_once
                && let Some((index, item)) = waiting.pop_front()
            {
                match start(item) {
                    Ok(pending) => flying.push((index, pending)),
                    Err(error) => results[index] = Some(Err(error)),
                }
            }
            if flying.is_empty() {
                return results;
            }
            let signal = if self.is_landing { late.as_ref() } else { Some(self.closing.pending()) };
            let first = wait_any(flying.iter().map(|(_, pending)| pending).chain(signal));
            if first == flying.len() {
                self.land();
                return results;
            }
            let (index, pending) = flying.remove(first);
            results[index] = Some(pending.get());
            ended(index);
        }
    }
}

fn landing_timer() -> Option<Pending> {
    let left = limits::deadline_ms()?.saturating_sub(time::now_ms());
    Some(time::after(Duration::from_millis(left * LANDING_PERCENT / 100)))
}
