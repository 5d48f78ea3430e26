//! Where the journal left off: what a node does with it when it starts.
//!
//! There is no second path: whoever was queued waits again, whoever was running or had been answered gets a turn and goes on
//! by replay, whoever waits for people or for a time goes on waiting, out of memory.

use std::sync::Arc;
use std::time::Duration;

use sortie_ambient::Gone;
use sortie_contract::{MissionNo, Status, Timestamp};
use sortie_journal::Head;
use sortie_mission::is_suspect;
use sortie_mission::queue::{Queue, Waiting};

use super::children::Found;
use super::standings::Standings;
use super::{Engine, ReadError};

/// What becomes of the missions that are in the journal already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// They go on: a node.
    GoOn,
    /// They are left for the next node: one mission is run, and this process ends with it.
    Wait,
}

/// What opening the journal tells before the engine exists.
pub(crate) struct Inventory {
    /// How many missions there are.
    pub(crate) found: usize,
    pub(crate) queue: Queue,
    /// Missions that wait out of memory, and when each wants attention.
    pub(crate) asleep: Vec<(MissionNo, Timestamp)>,
    /// Those of them that sleep: their run clock goes on, and they give signs of life.
    pub(crate) sleepers: Vec<MissionNo>,
    /// How many wait out of memory, with the ones that no time wakes.
    pub(crate) suspended: usize,
    pub(crate) standings: Standings,
    /// Which missions wait for which.
    pub(crate) families: Found,
}

impl Inventory {
    /// Of a journal without missions.
    pub(crate) fn new(queue: Queue) -> Self {
        Self {
            found: 0,
            queue,
            asleep: Vec::new(),
            sleepers: Vec::new(),
            suspended: 0,
            standings: Standings::default(),
            families: Found::default(),
        }
    }

    /// Takes a mission in, by its head; to be called in the order of acceptance.
    pub(crate) fn add(&mut self, no: MissionNo, head: &Head, others: Others) {
        self.found += 1;
        self.standings.moved(no, None, head.status);
        if others == Others::Wait {
            return;
        }
        self.families.add(no, head);
        match GoesOn::of(no, head) {
            GoesOn::Asleep { wakes_at, sleeps } => {
                self.suspended += 1;
                self.asleep.extend(wakes_at.map(|at| (no, at)));
                self.sleepers.extend(sleeps.then_some(no));
            }
            GoesOn::Waiting { waiting, wakes_at } => {
                self.queue.push(&waiting);
                self.asleep.extend(wakes_at.map(|at| (no, at)));
            }
            GoesOn::Not => {}
        }
    }
}

/// How a mission goes on whose node is gone, by its head.
pub(crate) enum GoesOn {
    /// Not at all: it is over.
    Not,
    /// It waits out of memory.
    Asleep {
        /// When it wants attention.
        wakes_at: Option<Timestamp>,
        /// Its run clock goes on, and it gives signs of life.
        sleeps: bool,
    },
    /// It waits for its turn.
    Waiting {
        /// Its place in the queue.
        waiting: Waiting,
        /// When it wants attention before it has one.
        wakes_at: Option<Timestamp>,
    },
}

impl GoesOn {
    pub(crate) fn of(no: MissionNo, head: &Head) -> Self {
        match head.status {
            Status::Running | Status::Blocked if head.suspended => {
                // Blocked by what is asked below it alone, it waits as it would otherwise: for its children, for money, for a provider.
                let asks = head.overview.as_ref().is_none_or(|overview| overview.requests > 0);
                Self::Asleep { wakes_at: head.due, sleeps: head.status == Status::Running || !asks }
            }
            Status::Running | Status::Blocked => {
                // Its run may have ended with the node.
                let suspicion = is_suspect(head.crashes.saturating_add(1)).then_some(head.outlived);
                let waiting = Waiting { suspicion, ..waiting(no, head) };
                // One that was carried over may have calls that nobody has asked about.
                let begun = head.overview.as_ref().and_then(|overview| overview.started_at);
                let is_carried = begun.zip(head.start_at).is_some_and(|(begun, opens)| opens > begun);
                Self::Waiting { waiting, wakes_at: is_carried.then_some(Timestamp::MIN) }
            }
            Status::Queued => Self::Waiting { waiting: waiting(no, head), wakes_at: None },
            Status::Completed | Status::Failed | Status::Cancelled | Status::TimedOut => Self::Not,
        }
    }
}

/// A mission's place in the queue.
pub(super) fn waiting(no: MissionNo, head: &Head) -> Waiting {
    Waiting {
        no,
        session: (head.vp.clone(), head.session.clone()),
        lane: head.lane.clone(),
        start_at: head.start_at,
        end_at: head.end_at,
        suspicion: None,
    }
}

/// How often missions are looked for that stayed in memory for nothing.
const SWEEP: Duration = Duration::from_secs(10);

impl Engine {
    /// A mission that was left for the next node is this one's after all: it goes on where its record ends, and so do its deliveries.
    /// Blocks.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn drive(self: &Arc<Self>, no: MissionNo) -> Result<(), ReadError> {
        let live = self.live(no)?;
        let (standing, envelope) = live.with(|mission| (mission.standing(), Arc::clone(mission.envelope())));
        if let Some(callback) = &envelope.callback
            && self.log.cursor(no)?.is_some_and(|cursor| !cursor.closed)
        {
            self.deliveries.announce(no, callback);
            self.courier().wake(no);
        }
        self.watch(&live);
        if live.with(sortie_mission::Mission::waits_for_children) {
            // They were left with it.
            self.commit.children().look(no);
        }
        if standing.suspended {
            self.go_on(&live);
        } else if !standing.status.is_final() {
            self.desk.push(&live.waiting());
            self.pump();
        }
        Ok(())
    }

    /// Takes missions that sleep into memory (not their plugins), so that their run clocks go on. There may be many: nothing
    /// waits for it.
    pub(crate) fn watch_sleepers(self: &Arc<Self>, sleepers: Vec<MissionNo>) {
        if sleepers.is_empty() {
            return;
        }
        let engine = Arc::downgrade(self);
        let look = move || {
            for no in sleepers {
                let Some(engine) = engine.upgrade().filter(|engine| !engine.is_stopping()) else { return };
                match engine.live(no) {
                    Ok(live) => {
                        engine.watch(&live);
                        engine.clocks.begins();
                        if live.with(sortie_mission::Mission::waits_for_children) {
                            // One of them may never have been dispatched: none has a head that would tell of it.
                            engine.commit.children().look(no);
                        }
                        if live.with(sortie_mission::Mission::unpaid_until).is_some() {
                            // A budget may be another one since.
                            engine.wake_at(no, engine.ambient.wall());
                        }
                    }
                    Err(error) => {
                        tracing::error!(%no, error = &error as &dyn std::error::Error, "a mission cannot be read");
                    }
                }
            }
        };
        let looked = self.ambient.unblock(look);
        self.attend("run clocks of sleepers", async move {
            if let Err(gone @ Gone::Panicked) = looked.await {
                std::panic::resume_unwind(Box::new(gone));
            }
        });
    }

    /// Starts to let go of missions that somebody brought into memory and did not let go of: an error on the way, a call that
    /// was broken off.
    pub(super) fn start_sweep(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        let ambient = Arc::clone(&self.ambient);
        self.supervise("sweep", async move {
            loop {
                ambient.sleep(SWEEP).await;
                let Some(engine) = engine.upgrade() else { return };
                let idle = engine.lives.idle();
                if !idle.is_empty() && engine.durable().await.is_ok() {
                    idle.into_iter().for_each(|no| engine.lives.forget(no));
                }
            }
        });
    }
}
