//! A node whose data were restored from a backup holds back: it knows a moment that is over, and the world went on. It starts no
//! missions (it is paused), ends none because its time is over, delivers nothing, fires nothing and tells nobody, until an operator
//! lets it go on.
//!
//! Owned here: that what reaches outside by itself starts once, and when. Never here: how a restore is done.

use std::sync::Arc;

use tokio::sync::watch;

use super::Engine;

/// Whether what reaches outside by itself has started.
#[derive(Debug, Default)]
pub(crate) struct Outward(watch::Sender<bool>);

impl Engine {
    /// Whether it waits for an operator since its data were restored.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        !*self.outward.0.borrow()
    }

    /// Resolves once it holds nothing back: at once, where it does not. Does not keep the driver.
    pub fn reaches_out(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut outward = self.outward.0.subscribe();
        async move {
            if outward.wait_for(|begun| *begun).await.is_err() {
                // There is no driver any more, and nothing to begin.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Starts what waits for it, where it has not: windows close and requests expire, deliveries leave, schedules fire.
    pub(crate) fn reach_out(self: &Arc<Self>) {
        if self.begins_to_reach_out() {
            self.start_timer();
            self.start_courier();
            self.start_schedules();
        }
    }

    /// Whether that is to be done now, by who asks.
    pub(crate) fn begins_to_reach_out(&self) -> bool {
        self.outward.0.send_if_modified(|begun| !std::mem::replace(begun, true))
    }
}
