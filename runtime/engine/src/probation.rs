//! Missions that may be what stops the node run alone for a while.
//!
//! Which these are, and when one is given up, is the core's; that nothing else runs, the queue's. Owned here: how long the others wait.

use std::sync::Arc;
use std::time::Duration;

use sortie_mission::{Command, Mission};

use super::Engine;
use super::live::{Live, Wait};

/// How long a suspect that neither comes forward nor stops the node has it for itself. What stops a node at its start does it sooner;
/// and the others wait.
const PROBATION: Duration = Duration::from_secs(5);

/// How often it is looked whether it has come forward.
const LOOK: Duration = Duration::from_millis(50);

impl Engine {
    /// Sees that others are let in again beside a mission that has begun to run alone.
    pub(crate) fn watch_suspect(self: &Arc<Self>, live: &Arc<Live>) {
        if !live.with(Mission::is_alone) {
            return;
        }
        tracing::warn!(
            no = %live.no,
            mission_id = %live.with(|mission| mission.envelope().mission_id.clone()),
            "the node stopped again and again while this mission ran: it runs alone for a while"
        );
        let (engine, live) = (Arc::clone(self), Arc::clone(live));
        self.attend("probation", async move {
            let over = engine.ambient.steady().saturating_add(PROBATION);
            while live.with(Mission::is_alone) && engine.ambient.steady() < over {
                engine.ambient.sleep(LOOK).await;
                if engine.is_stopping() {
                    return;
                }
            }
            engine.accompany(&live).await;
        });
    }

    /// Lets others run beside a mission, once it is on disk that it is not alone any more.
    async fn accompany(self: &Arc<Self>, live: &Live) {
        let taken = self.command_patiently(live, || Command::Accompany, Wait::Durable).await;
        if let Ok(Some(receipt)) = taken.map(|taken| taken.receipt) {
            // The node stops where it fails.
            let _ = receipt.await;
        }
        self.desk.accompany(live.no);
        self.pump();
    }
}
