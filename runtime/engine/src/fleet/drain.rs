//! A node that is drained: it takes no missions, those that run come to a place where they can go on elsewhere, and then its share is
//! anybody's at once.
//!
//! Runs are stopped as by an orderly end of the node, once their calls have ended: no call is cut off that ends within [`CALLS`], and
//! none of them counts as a crash. Where the node has its store for itself, nobody else could go on with them: there it takes no missions,
//! and what runs goes on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sortie_mission::{Command, Mission};

use crate::Engine;
use crate::live::{Live, Wait};

/// How often it is looked whether calls have ended.
const LOOK: Duration = Duration::from_millis(50);

/// How long a call is waited for.
const CALLS: Duration = Duration::from_secs(600);

/// How far a node is drained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Draining {
    /// It takes missions.
    #[default]
    No,
    /// It takes none; what runs comes to a place where it can stop.
    Going,
    /// Nothing runs, and what is there is anybody's: the node is to stop.
    Over,
}

impl Engine {
    /// How far it is drained.
    #[must_use]
    pub fn draining(&self) -> Draining {
        *self.fleet.draining.borrow()
    }

    /// Begins to drain it.
    pub fn drain(self: &Arc<Self>) {
        let begins = |draining: &mut Draining| {
            let begins = *draining == Draining::No;
            if begins {
                *draining = Draining::Going;
            }
            begins
        };
        if !self.fleet.draining.send_if_modified(begins) {
            return;
        }
        tracing::info!("draining: no missions are taken");
        self.tell_fleet();
        if self.has_fleet() {
            let engine = Arc::clone(self);
            self.attend("drain", async move { engine.come_to_rest().await });
        }
    }

    /// Takes missions again, unless it is drained already. Says whether it does.
    pub fn undrain(self: &Arc<Self>) -> bool {
        let ends = |draining: &mut Draining| {
            let ends = *draining == Draining::Going;
            if ends {
                *draining = Draining::No;
            }
            ends
        };
        if self.fleet.draining.send_if_modified(ends) {
            tracing::info!("not drained any more: missions are taken");
            self.tell_fleet();
            self.pump();
        }
        self.draining() == Draining::No
    }

    /// Resolves once it is drained, and is to stop. Does not keep the driver.
    pub fn drained(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut draining = self.fleet.draining.subscribe();
        async move {
            if draining.wait_for(|draining| *draining == Draining::Over).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Stops what runs, each once its calls have ended, and gives the share back.
    async fn come_to_rest(self: &Arc<Self>) {
        let begun = self.ambient.steady();
        let mut at_rest = BTreeSet::new();
        loop {
            if self.draining() != Draining::Going || self.is_stopping() {
                return;
            }
            let is_late = self.ambient.steady().saturating_sub(begun) > CALLS;
            let running = self.running().into_iter().filter(|live| !at_rest.contains(&live.no));
            let running: Vec<Arc<Live>> = running.collect();
            for live in running.iter().filter(|live| is_late || !live.with(Mission::is_busy)) {
                if self.rest(live) {
                    at_rest.insert(live.no);
                }
            }
            // Each has its slot until its plugin is gone.
            if running.is_empty() && self.turns().running == 0 {
                break;
            }
            self.ambient.sleep(LOOK).await;
        }
        if self.durable().await.is_err() {
            return;
        }
        let ends = |draining: &mut Draining| {
            let ends = *draining == Draining::Going;
            if ends {
                *draining = Draining::Over;
            }
            ends
        };
        if self.fleet.draining.send_if_modified(ends) {
            if let Some(fleet) = self.log.fleet() {
                fleet.give_back();
            }
            tracing::info!("drained: what is here goes on elsewhere; the node stops");
        }
    }

    /// The missions that have their plugin in memory.
    fn running(&self) -> Vec<Arc<Live>> {
        self.lives.all().into_iter().filter(|live| live.with(Mission::run).is_some()).collect()
    }

    /// Stops a run; false: at the next look.
    fn rest(&self, live: &Live) -> bool {
        match self.command(live, Command::StopNode, Wait::No) {
            Ok(_) => live.interrupt(),
            Err(error) => {
                tracing::debug!(no = %live.no, error = &error as &dyn std::error::Error, "it is stopped later");
                return false;
            }
        }
        true
    }
}
