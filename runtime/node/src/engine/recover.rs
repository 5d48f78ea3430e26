//! Where the journal left off: what a node does with it when it starts.
//!
//! Queued missions wait again, undelivered events go on, and a mission that was running begins again if none of its calls
//! had an effect; otherwise it fails as `interrupted` rather than do something twice.

use std::sync::Arc;

use sortie_contract::{MissionNo, Status};
use sortie_journal::{Catalog, Head};
use sortie_mission::Command;
use sortie_mission::queue::{Queue, Waiting};

use super::live::{CommandError, Wait};
use super::{Desk, Engine};

/// What opening the journal tells before the engine exists.
pub(crate) struct Inventory {
    pub(crate) desk: Desk,
    /// Missions that were running when the node stopped.
    pub(crate) interrupted: Vec<MissionNo>,
}

/// Rebuilds what is kept in memory from the heads of all missions, in the order of acceptance.
pub(crate) fn take_inventory(heads: Vec<(MissionNo, Head)>, last_no: MissionNo, queue: Queue) -> Inventory {
    let mut desk = Desk { catalog: Catalog::default(), queue, last_no };
    let mut interrupted = Vec::new();
    for (no, head) in heads {
        desk.catalog.insert(no, &head);
        match head.status {
            Status::Queued => desk.queue.push(&waiting(no, head)),
            Status::Running | Status::Blocked => interrupted.push(no),
            Status::Completed | Status::Failed | Status::Cancelled | Status::TimedOut => {}
        }
    }
    Inventory { desk, interrupted }
}

fn waiting(no: MissionNo, head: Head) -> Waiting {
    Waiting { no, session: (head.vp, head.session), lane: head.lane, start_at: head.start_at, end_at: head.end_at }
}

impl Engine {
    /// Puts a mission back into the queue.
    pub(super) fn requeue(&self, no: MissionNo) {
        match self.live(no) {
            Ok(live) => self.desk.lock().queue.push(&waiting(no, live.head())),
            Err(error) => tracing::error!(%no, error = &error as &dyn std::error::Error, "a mission cannot be read"),
        }
    }

    /// Decides about the missions that were running, before anything else starts.
    pub(crate) async fn recover(self: &Arc<Self>, interrupted: Vec<MissionNo>) {
        for no in interrupted {
            let live = match self.live(no) {
                Ok(live) => live,
                Err(error) => {
                    tracing::error!(%no, error = &error as &dyn std::error::Error, "a running mission cannot be read");
                    continue;
                }
            };
            let taken = match self.command_patiently(&live, || Command::Recover, Wait::Durable).await {
                Ok(taken) => taken,
                Err(CommandError::Refused(_)) => continue,
                Err(error) => {
                    tracing::error!(%no, error = &error as &dyn std::error::Error, "the journal does not take a recovery");
                    return;
                }
            };
            if let Some(receipt) = taken.receipt
                && receipt.await.is_err()
            {
                return;
            }
            if taken.status == Status::Queued {
                self.requeue(no);
            }
            self.lives.release(&live);
        }
    }
}
