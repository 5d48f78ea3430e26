//! Run time that is on no record yet: kept in the log every few seconds while any mission runs, so that a node which is killed again and
//! again lets no mission run for longer than it may.
//!
//! Owned here: when it is written, and what a node before this one kept of missions of which nothing has been recorded since. Never
//! here: a mission's clock itself (`live.rs`), and what is due by it (the core).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_contract::MissionNo;
use tokio::sync::watch;

use super::{Engine, Room};

/// How often it is written while plugins run: what one death of the node may forget. One commit for all of them, which others share.
const PULSE: Duration = Duration::from_secs(2);

/// How much longer it takes while missions only sleep: a disk may rest meanwhile.
const SLEEPERS: Duration = Duration::from_secs(28);

/// See the module.
pub(crate) struct Clocks {
    /// What a node before this one kept, until a record of the mission has it.
    left: Mutex<FxHashMap<MissionNo, u64>>,
    /// A run clock goes that did not.
    begun: watch::Sender<()>,
}

/// Whose run clocks go.
enum Going {
    Nobodys,
    Sleepers,
    Runs,
}

impl Clocks {
    pub(crate) fn new(left: FxHashMap<MissionNo, u64>) -> Self {
        Self { left: Mutex::new(left), begun: watch::Sender::new(()) }
    }

    /// The same of missions that another node left.
    pub(crate) fn take_up(&self, left: impl IntoIterator<Item = (MissionNo, u64)>) {
        self.left.lock().extend(left);
    }

    /// How long a mission had been running, where that may be more than is on record.
    pub(crate) fn kept_ms(&self, no: MissionNo) -> Option<u64> {
        self.left.lock().get(&no).copied()
    }

    /// A record that has its run time was handed over.
    pub(crate) fn is_on_record(&self, no: MissionNo) {
        self.left.lock().remove(&no);
    }

    /// A run clock goes that did not.
    pub(crate) fn begins(&self) {
        self.begun.send_replace(());
    }
}

impl Engine {
    /// Starts to keep run clocks; it ends with the engine.
    pub(super) fn start_clocks(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        let ambient = Arc::clone(&self.ambient);
        let mut begun = self.clocks.begun.subscribe();
        // Those that go already.
        begun.mark_changed();
        self.supervise("run clocks", async move {
            let mut going = Going::Nobodys;
            loop {
                let is_gone = match going {
                    Going::Nobodys => begun.changed().await.is_err(),
                    Going::Sleepers => matches!(ambient.timeout(SLEEPERS, begun.changed()).await, Some(Err(_))),
                    Going::Runs => false,
                };
                if is_gone {
                    return;
                }
                ambient.sleep(PULSE).await;
                let Some(engine) = engine.upgrade() else { return };
                going = engine.keep_clocks();
            }
        });
    }

    fn keep_clocks(&self) -> Going {
        let (mut clocks, runs) = self.lives.run_times(self.ambient.steady());
        if clocks.is_empty() {
            return Going::Nobodys;
        }
        // Behind the look at those that run: what is no more among them has its record on the way.
        clocks.extend(self.clocks.left.lock().iter().map(|(no, ran_ms)| (*no, *ran_ms)));
        clocks.sort_unstable_by_key(|(no, ran_ms)| (*no, std::cmp::Reverse(*ran_ms)));
        clocks.dedup_by_key(|(no, _)| *no);
        // Where there is no room on the disk, what is recorded needs the rest of it.
        if self.artifacts.room() != Room::Full
            && let Err(error) = self.log.keep_clocks(&clocks)
        {
            tracing::debug!(%error, "run clocks are kept the next time");
        }
        if runs { Going::Runs } else { Going::Sleepers }
    }
}
