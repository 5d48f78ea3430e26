//! Missions that may be what stops the node run alone for a while.
//!
//! Which these are, how long they do, and when one is given up is the core's; that nothing else runs, the queue's. Owned here: that others are
//! let in again.

use std::sync::Arc;
use std::time::Duration;

use sortie_contract::MissionNo;
use sortie_mission::{Command, Mission};

use super::Engine;
use super::live::{Live, Wait};

/// How often it is looked whether it has come forward.
const LOOK: Duration = Duration::from_millis(50);

impl Engine {
    /// Sees that others are let in again beside a mission that has begun to run alone.
    pub(crate) fn watch_suspect(self: &Arc<Self>, live: &Arc<Live>) {
        if !self.desk.is_alone(live.no) {
            return;
        }
        tracing::warn!(
            no = %live.no,
            mission_id = %live.with(|mission| mission.envelope().mission_id.clone()),
            "the node stopped again and again while this mission ran: it runs alone for a while"
        );
        let (engine, live) = (Arc::clone(self), Arc::clone(live));
        self.attend("probation", async move {
            let over = engine.ambient.steady().saturating_add(live.with(Mission::probation));
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
        // The node stops where this fails.
        let _ = match taken.map(|taken| taken.receipt) {
            Ok(Some(receipt)) => receipt.await.map(drop),
            // It came forward, or is over: that is to be on disk, too.
            _ => self.durable().await,
        };
        self.let_others_in(live.no);
    }

    pub(crate) fn let_others_in(self: &Arc<Self>, no: MissionNo) {
        self.desk.accompany(no);
        self.pump();
    }
}
