//! The window that a mission is in, how often it was carried over, and when the place closes that it runs in.

use jiff::Timestamp;
use sortie_contract::envelope::{OnWindowEnd, Window};

use crate::window::{Moment, moment};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Windows {
    /// The envelope's, or that which it was carried over into.
    pub(crate) window: Window,
    /// How often it was, having had a turn.
    pub(crate) carried: u32,
    /// How often it may be.
    carried_max: u32,
    /// When the lane or the node closes to the latest run.
    open_until: Option<Timestamp>,
    /// Whether a run has begun in it.
    begun: bool,
    /// Whether it is another one than the envelope's.
    moved: bool,
}

/// Why something cannot have happened to the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WindowMisfit {
    /// Its envelope does not let it, or not as often.
    #[error("it is not carried over once more")]
    MayNotGoOn,
    /// The hours stand behind the start of a run, once.
    #[error("it is known already until when its run may go on, or it has none")]
    NoHours,
}

/// Which end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// That of the window.
    Window(Timestamp),
    /// That of the hours of lane and node.
    Hours(Timestamp),
}

impl Windows {
    /// Of an envelope that was accepted.
    pub(crate) fn new(window: Window, on_window_end: OnWindowEnd, carry_over_max: u32) -> Self {
        let carried_max = match on_window_end {
            OnWindowEnd::End => 0,
            OnWindowEnd::Suspend => carry_over_max,
        };
        Self { window, carried: 0, carried_max, open_until: None, begun: false, moved: false }
    }

    /// A run begins.
    pub(crate) fn begins(&mut self) {
        (self.open_until, self.begun) = (None, true);
    }

    /// Lane and node close to that run then.
    ///
    /// # Errors
    /// [`WindowMisfit::NoHours`]; nothing has changed then.
    pub(crate) fn open_until(&mut self, at: Timestamp, runs: bool) -> Result<(), WindowMisfit> {
        if !runs || self.open_until.is_some() {
            return Err(WindowMisfit::NoHours);
        }
        self.open_until = Some(at);
        Ok(())
    }

    /// That it may be carried over once more.
    pub(crate) fn go_on(&self) -> Result<(), WindowMisfit> {
        if self.may_go_on() { Ok(()) } else { Err(WindowMisfit::MayNotGoOn) }
    }

    /// It goes on in this window.
    pub(crate) fn carry_over(&mut self, window: Window) {
        self.window = window;
        // One that had no turn in its window (it waited for people, for its session, for the end of a pause) has used none up.
        self.carried = self.carried.saturating_add(u32::from(self.begun));
        (self.open_until, self.begun, self.moved) = (None, false, true);
    }

    /// Whether it was carried over into this window, and no run has begun in it.
    pub(crate) fn is_awaited(&self) -> bool {
        self.moved && !self.begun
    }

    /// Whether it may be carried over once more.
    pub(crate) fn may_go_on(&self) -> bool {
        self.carried < self.carried_max + u32::from(!self.begun && self.carried_max > 0)
    }

    /// Which end has come: to one that runs, or sleeps by its run clock, also that of the hours.
    pub(crate) fn closed(&self, wall: Timestamp, runs: bool) -> Option<Closed> {
        let hours = self.open_until.filter(|at| runs && *at <= wall).map(Closed::Hours);
        match moment(self.window, wall) {
            Moment::After(at) => Some(Closed::Window(at)),
            Moment::Before(_) | Moment::Within => hours,
        }
    }

    /// When the first of these ends comes.
    pub(crate) fn closes_at(&self, runs: bool) -> Option<Timestamp> {
        self.window.end_at.into_iter().chain(self.open_until.filter(|_| runs)).min()
    }
}
