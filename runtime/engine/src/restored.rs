//! A node whose data were restored from a backup holds back: it knows a moment that is over, and the world went on. It starts no
//! missions (it is paused), delivers nothing and fires nothing, until an operator lets it go on.
//!
//! Owned here: that what reaches outside by itself starts once, and when. Never here: how a restore is done.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::AcqRel;

use super::Engine;

/// Whether what reaches outside by itself has started.
#[derive(Debug, Default)]
pub(crate) struct Outward(AtomicBool);

impl Engine {
    /// Whether it waits for an operator since its data were restored.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        !self.outward.0.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Starts deliveries and schedules, where they have not.
    pub(crate) fn reach_out(self: &Arc<Self>) {
        if self.begins_to_reach_out() {
            self.start_courier();
            self.start_schedules();
        }
    }

    /// Whether that is to be done now, by who asks.
    pub(crate) fn begins_to_reach_out(&self) -> bool {
        !self.outward.0.swap(true, AcqRel)
    }
}
