//! The window that a mission is in, how often it was carried over, and when the place closes that it runs in.

use jiff::Timestamp;
use sortie_contract::envelope::{OnWindowEnd, Window};

use crate::window::{Moment, moment};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Windows {
    /// The envelope's, or that which it was carried over into.
    pub(crate) window: Window,
    /// How often it was.
    pub(crate) carried: u32,
    /// How often it may be.
    carried_max: u32,
    /// When the lane or the node closes to the latest run.
    open_until: Option<Timestamp>,
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
        Self { window, carried: 0, carried_max, open_until: None }
    }

    /// A run begins.
    pub(crate) fn begins(&mut self) {
        self.open_until = None;
    }

    /// Lane and node close to that run then.
    pub(crate) fn open_until(&mut self, at: Timestamp) {
        self.open_until = Some(at);
    }

    /// It goes on in this window.
    pub(crate) fn carry_over(&mut self, window: Window) {
        self.window = window;
        self.carried = self.carried.saturating_add(1);
        self.open_until = None;
    }

    /// Whether it may be carried over once more.
    pub(crate) fn may_go_on(&self) -> bool {
        self.carried < self.carried_max
    }

    /// Which end has come: to a run, also that of the hours.
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
