//! Schedules at work: what is due fires, and what became of each fire is on record.
//!
//! What is to happen the pure core of schedules says ([`sortie_schedule::decide`]); an envelope is taken or not by the same intake as
//! any. Owned here: that a fire's mission and how far its schedule has come are one append, that nothing else happens to a schedule
//! in between (its turn), and what each mission's end means for it. Never here: times, policies, and what a template comes to.

mod act;
mod fire;
mod kept;
mod named;
mod plan;
mod runs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::time::Duration;

use parking_lot::Mutex;
use sortie_contract::{MissionNo, Mistake, Status, Timestamp};
use sortie_journal::{Log, WriteError};
use sortie_schedule::{Action, BackfillError, TriggerError, decide, wakes_at};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::intake::DispatchError;
use super::recover::Others;
use super::{Engine, ReadError};

pub use act::{By, History};
pub(crate) use kept::made_by;
pub use kept::{Change, Entry, Made};
pub use plan::State;
pub(crate) use runs::Runs;

use plan::{Plan, Step};

/// Schedules that are seen to side by side.
const SIDE_BY_SIDE: usize = 64;

/// How many schedules are read at once.
const READ: usize = 1_024;

/// How long a schedule rests that could not be seen to: the node was full, or its disk.
const REST: Duration = Duration::from_secs(1);

/// All schedules of a node.
pub(crate) struct Schedules {
    all: Mutex<BTreeMap<Arc<str>, Arc<Plan>>>,
    due: Mutex<BTreeSet<(Timestamp, Arc<str>)>>,
    runs: Arc<Runs>,
    places: Arc<Semaphore>,
    /// The versions of those that cannot be read: they can be removed.
    broken: Mutex<BTreeMap<String, u64>>,
    /// How many are being made.
    making: AtomicUsize,
}

/// The room of a schedule that is being made.
struct Room<'a>(&'a AtomicUsize);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, AcqRel);
    }
}

/// Why something was not done to a schedule.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// There is no such schedule.
    #[error("there is no such schedule")]
    Unknown,
    /// There is one of that name.
    #[error("there is a schedule `{0}`; change it with its revision, or name this one otherwise")]
    Exists(String),
    /// Another node of the store has one of that name.
    #[error("the node `{0}` has a schedule of that name: change that one, or name this one otherwise")]
    Elsewhere(String),
    /// The node has as many as it may.
    #[error("the node has {0} schedules, which is as many as it may (`limits.schedules`): remove one, or raise that")]
    TooMany(usize),
    /// Somebody changed it.
    #[error("the schedule is at revision {0}: look at it again, and change that")]
    Revised(u64),
    /// It is none, or its missions would not be taken.
    #[error("the schedule cannot be accepted")]
    Invalid(Vec<Mistake>),
    /// It cannot be triggered.
    #[error(transparent)]
    Trigger(#[from] TriggerError),
    /// A pause until then is none.
    #[error("`until` is over: name a time to come, or none; `resume` lifts a pause")]
    Over,
    /// Its overlap policy left the fire out.
    #[error(
        "a mission of this schedule runs, or as many wait as can, and its overlap policy skips what comes then; name another with \
         `overlap`"
    )]
    Skipped,
    /// It cannot be filled in.
    #[error(transparent)]
    Backfill(#[from] BackfillError),
    /// The journal does not take it.
    #[error("the journal does not take it")]
    Journal(#[from] WriteError),
    /// The journal cannot be read.
    #[error("the journal cannot be read")]
    Read(#[from] ReadError),
    /// The node cannot make missions at the moment.
    #[error("the node takes no missions at the moment")]
    Later(#[source] DispatchError),
}

impl From<sortie_journal::ReadError> for ScheduleError {
    fn from(error: sortie_journal::ReadError) -> Self {
        Self::Read(error.into())
    }
}

impl Schedules {
    /// Those of a log. What cannot be read is told, and fires nothing.
    pub(crate) fn of(
        log: &dyn Log,
        others: Others,
        runs: Arc<Runs>,
        now: Timestamp,
    ) -> Result<Self, sortie_journal::ReadError> {
        let schedules = Self {
            all: Mutex::default(),
            due: Mutex::default(),
            runs,
            places: Arc::new(Semaphore::new(SIDE_BY_SIDE)),
            broken: Mutex::default(),
            making: AtomicUsize::new(0),
        };
        if others == Others::Wait {
            return Ok(schedules);
        }
        let mut after: Option<String> = None;
        loop {
            let some = log.schedules_after(after.as_deref(), READ)?;
            let Some((last, _)) = some.last() else { return Ok(schedules) };
            after = Some(last.clone());
            for (id, kept) in some {
                match State::read(&kept) {
                    Ok(state) => schedules.take_in(log, id.into(), state, now)?,
                    Err(why) => {
                        tracing::error!(schedule = %id, why, "a schedule cannot be read, and fires nothing; remove it and make it anew");
                        schedules.broken.lock().insert(id, kept.version);
                    }
                }
            }
        }
    }

    /// Takes in one that was found: it is looked at at once, for times may be over.
    fn take_in(
        &self,
        log: &dyn Log,
        id: Arc<str>,
        state: State,
        now: Timestamp,
    ) -> Result<(), sortie_journal::ReadError> {
        for no in state.progress.running.keys().copied().map(MissionNo) {
            self.runs.begin(no, &id);
            let status = match log.head(no) {
                Ok(Some(head)) => head.status,
                // One that has been removed has ended.
                Ok(None) => Status::Cancelled,
                // Whoever sees to it tells of its end.
                Err(sortie_journal::ReadError::Row { .. }) => continue,
                Err(error) => return Err(error),
            };
            if status.is_final() {
                self.runs.end(no, status);
            }
        }
        let plan = Arc::new(Plan::new(Arc::clone(&id), state));
        self.all.lock().insert(id, Arc::clone(&plan));
        self.wake_at(&plan, Some(now));
        Ok(())
    }

    /// Takes in those that another node left, by name. Blocks.
    pub(crate) fn take_over(
        &self,
        log: &dyn Log,
        ids: &[String],
        now: Timestamp,
    ) -> Result<(), sortie_journal::ReadError> {
        for id in ids {
            let Some(kept) = log.schedule(id)? else { continue };
            match State::read(&kept) {
                Ok(state) => self.take_in(log, id.as_str().into(), state, now)?,
                Err(why) => {
                    tracing::error!(schedule = %id, why, "a schedule cannot be read, and fires nothing; remove it and make it anew");
                    self.broken.lock().insert(id.clone(), kept.version);
                }
            }
        }
        Ok(())
    }

    /// The schedule of that name.
    fn get(&self, id: &str) -> Result<Arc<Plan>, ScheduleError> {
        self.all.lock().get(id).cloned().ok_or(ScheduleError::Unknown)
    }

    /// The schedule that a mission is of which has not ended, as it stands.
    pub(crate) fn of_mission(&self, no: MissionNo) -> Option<Arc<State>> {
        let id = self.runs.schedule_of(no)?;
        self.all.lock().get(&id).map(|plan| plan.state())
    }

    /// Whether there is one of that name.
    fn has(&self, id: &str) -> bool {
        self.all.lock().contains_key(id) || self.broken.lock().contains_key(id)
    }

    /// Room for one more, of so many at most: it is held for as long as that is being made.
    fn room(&self, most: usize) -> Result<Room<'_>, ScheduleError> {
        let room = Room(&self.making);
        let making = self.making.fetch_add(1, AcqRel);
        let there = self.all.lock().len() + self.broken.lock().len();
        if there + making < most { Ok(room) } else { Err(ScheduleError::TooMany(most)) }
    }

    /// The version of one that cannot be read.
    fn broken(&self, id: &str) -> Option<u64> {
        self.broken.lock().get(id).copied()
    }

    /// It is gone.
    fn mended(&self, id: &str) {
        self.broken.lock().remove(id);
    }

    /// One is removed: nobody finds it any more, and its missions are like any.
    fn leave_out(&self, plan: &Plan) {
        self.wake_at(plan, None);
        Arc::make_mut(&mut plan.state.lock()).gone = true;
        self.all.lock().remove(&plan.id);
        self.runs.forget(&plan.id);
    }

    /// It was not removed after all.
    fn take_back(&self, plan: &Arc<Plan>, now: Timestamp) {
        let state = plan.state();
        state.progress.running.keys().for_each(|no| self.runs.begin(MissionNo(*no), &plan.id));
        Arc::make_mut(&mut plan.state.lock()).gone = false;
        self.all.lock().insert(Arc::clone(&plan.id), Arc::clone(plan));
        self.wake_at(plan, Some(now));
    }

    /// When it is to be seen to.
    fn wake_at(&self, plan: &Plan, at: Option<Timestamp>) {
        let mut due = self.due.lock();
        if let Some(before) = std::mem::replace(&mut *plan.due.lock(), at) {
            due.remove(&(before, Arc::clone(&plan.id)));
        }
        due.extend(at.map(|at| (at, Arc::clone(&plan.id))));
    }

    /// When the first of them is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.due.lock().first().map(|(at, _)| *at)
    }

    /// There may be something to see to.
    pub(crate) fn nudge(&self) {
        self.runs.news.notify_one();
    }

    /// Those that are due, or of which a mission has ended. They say when they are due again.
    fn take_due(&self, now: Timestamp) -> Vec<Arc<Plan>> {
        let mut ids: BTreeSet<Arc<str>> = self.runs.with_ended().into_iter().collect();
        let mut due = self.due.lock();
        while let Some((at, id)) = due.pop_first() {
            if at > now {
                due.insert((at, id));
                break;
            }
            ids.insert(id);
        }
        drop(due);
        let all = self.all.lock();
        ids.iter().filter_map(|id| all.get(id).cloned()).collect()
    }
}

impl Engine {
    /// Starts to see to schedules.
    pub(crate) fn start_schedules(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        let (runs, places) = (Arc::clone(&self.schedules.runs), Arc::clone(&self.schedules.places));
        self.supervise("schedules", async move {
            loop {
                let due = match engine.upgrade() {
                    Some(engine) => engine.schedules.take_due(engine.ambient.wall()),
                    None => return,
                };
                for plan in due {
                    if plan.asked.swap(true, AcqRel) {
                        continue;
                    }
                    // It has its place before it is a task: a hundred thousand that are due at once take no memory for that.
                    let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                    let Some(engine) = engine.upgrade() else { return };
                    engine.attend("schedule", Arc::clone(&engine).see_to_soon(plan, place));
                }
                runs.news.notified().await;
            }
        });
        self.schedules.nudge();
    }

    async fn see_to_soon(self: Arc<Self>, plan: Arc<Plan>, _place: OwnedSemaphorePermit) {
        let _turn = plan.turn.lock().await;
        // What comes from here on is asked for again.
        plan.asked.store(false, Release);
        self.see_to_schedule(&plan).await;
    }

    /// Sees to what is due of a schedule. Whoever calls it has the turn.
    async fn see_to_schedule(self: &Arc<Self>, plan: &Arc<Plan>) {
        if let Err(error) = self.catch_up(plan).await {
            if !self.is_stopping() {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(schedule = %plan.id, error, "a schedule cannot be seen to now; it is tried again in a second");
            }
            self.try_again(plan);
        }
        self.timer.nudge();
    }

    /// Sees to a schedule once more after a rest, by the steady clock: one that is set back meanwhile makes it no longer.
    fn try_again(self: &Arc<Self>, plan: &Arc<Plan>) {
        self.schedules.wake_at(plan, None);
        let (engine, plan, rest) = (Arc::downgrade(self), Arc::clone(plan), self.ambient.sleep(REST));
        self.attend("rest of a schedule", async move {
            rest.await;
            let Some(engine) = engine.upgrade() else { return };
            engine.schedules.wake_at(&plan, Some(Timestamp::MIN));
            engine.schedules.nudge();
        });
    }

    /// One decision: where there may be more, others have their turn first.
    async fn catch_up(self: &Arc<Self>, plan: &Arc<Plan>) -> Result<(), ScheduleError> {
        if self.is_stopping() || plan.state().gone {
            return Ok(());
        }
        self.note_ended(plan).await?;
        let (state, now) = (plan.state(), self.ambient.wall());
        let actions = decide(&state.schedule, &state.progress.position, state.progress.running.len(), now);
        if actions.is_empty() {
            let due = wakes_at(&state.schedule, &state.progress.position, now);
            self.schedules.wake_at(plan, due);
            return Ok(());
        }
        self.carry_out(plan, Step::from(&state), &actions).await?;
        // At once, also by a clock that is set back before anybody looks.
        self.schedules.wake_at(plan, Some(Timestamp::MIN));
        Ok(())
    }

    /// Takes up which missions of a schedule have ended.
    async fn note_ended(self: &Arc<Self>, plan: &Arc<Plan>) -> Result<(), ScheduleError> {
        let ended = self.schedules.runs.ended(&plan.id);
        if ended.is_empty() {
            return Ok(());
        }
        let state = plan.state();
        let (mut step, at) = (Step::from(&state), self.ambient.wall());
        for (no, status) in &ended {
            if step.state.progress.running.remove(&no.0).is_none() {
                continue;
            }
            step.state.progress.previous = Some(no.0);
            for action in sortie_schedule::ended(&state.schedule, &step.state.progress.position, *status) {
                step.take(&action, at);
            }
        }
        self.record(plan, step).await?;
        self.schedules.runs.seen_to(&plan.id, ended.len());
        Ok(())
    }

    /// Does what was decided, each after it is on record, from a step on that may have begun already. It goes no further than a fire
    /// whose mission does not run after all: what was decided behind that counted on it. Says whether all was done.
    async fn carry_out(
        self: &Arc<Self>,
        plan: &Arc<Plan>,
        mut step: Step,
        actions: &[Action],
    ) -> Result<bool, ScheduleError> {
        for (place, action) in actions.iter().enumerate() {
            step.take(action, self.ambient.wall());
            match action {
                Action::Fired { .. } => {
                    let before = step.state.progress.running.len();
                    step = self.fire(plan, step, action).await?;
                    if step.state.progress.running.len() == before {
                        return Ok(place + 1 == actions.len());
                    }
                }
                Action::CancelledOthers => {
                    let others: Vec<u64> = step.state.progress.running.keys().copied().collect();
                    step = self.record(plan, step).await?;
                    for no in others.into_iter().map(MissionNo) {
                        let reason = format!("the next fire of the schedule {} takes its place", plan.id);
                        // One that has ended meanwhile need not be.
                        if let Err(error) = self.cancel(no, reason, "schedule".to_owned()).await {
                            tracing::debug!(%no, error = &error as &dyn std::error::Error, "not cancelled");
                        }
                    }
                }
                _ => {}
            }
        }
        if step.says_something() {
            self.record(plan, step).await?;
        }
        Ok(true)
    }

    /// Brings a step to the disk; what follows begins there.
    async fn record(self: &Arc<Self>, plan: &Arc<Plan>, step: Step) -> Result<Step, ScheduleError> {
        let change = step.change(&plan.id, &step.state.progress);
        self.log.change_schedule(change)?.await?;
        Ok(self.stand(plan, step))
    }

    /// So it stands on the disk now: what was missed is counted and told.
    fn stand(&self, plan: &Plan, step: Step) -> Step {
        for action in step.entries.iter().map(|entry| &entry.action) {
            if let Action::Missed { fires, reason } = action {
                self.counters.missed.fetch_add(fires.count, Relaxed);
                let (schedule, first, last) = (&plan.id, fires.first, fires.last);
                tracing::warn!(%schedule, %first, %last, count = fires.count, ?reason, "fires of a schedule were missed");
            }
        }
        let state = Arc::new(State { version: step.state.version + 1, ..step.state });
        *plan.state.lock() = Arc::clone(&state);
        Step::from(&state)
    }
}
