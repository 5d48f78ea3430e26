//! What people do to schedules, and what they see of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use sortie_contract::{Envelope, MissionNo, Mistake, Pointer, Timestamp};
use sortie_journal::{Owner, ScheduleChange, WriteError};
use sortie_schedule::{
    Action, FireWindow, Order, Origin, Overlap, Position, Previous, Schedule, is_closed, revise, settle,
};

use super::ScheduleError;
use super::kept::{About, Change, Entry, Progress, read, write};
use super::plan::{Plan, State, Step};
use crate::intake::DispatchError;
use crate::{Engine, ReadError};

/// Fires of a new schedule whose envelopes are made and held against the node.
const CHECKED: usize = 3;

/// An entry of a history, or why it cannot be read: a newer Sortie wrote it, say.
pub type History = Result<Entry, serde_json::Error>;

/// Who does something to a schedule, and why.
#[derive(Debug, Clone)]
pub struct By {
    /// The name of the token.
    pub who: String,
    /// In their words.
    pub note: String,
}

impl Engine {
    /// Whether this is a schedule whose missions the node would take: its next fires are made and held against it.
    ///
    /// # Errors
    /// [`ScheduleError::Invalid`] with everything that is wrong, each with its place in the schedule.
    pub async fn check_schedule(&self, schedule: &Schedule) -> Result<(), ScheduleError> {
        let now = self.ambient.wall();
        let mut mistakes = schedule.check(now);
        let node = self.settings.rules.instance_id.as_str();
        // A holiday among them is none; a lane that is closed at all of them is.
        let (mut closed, mut open) = (Vec::new(), false);
        for fire in schedule.fires(now).take(CHECKED) {
            if !mistakes.is_empty() {
                break;
            }
            let closes = schedule.window(fire, Origin::Scheduled, fire.due).closes;
            let window = FireWindow { opens: fire.due, closes };
            match schedule.envelope(fire, window, &Previous::default(), node) {
                Err(wrong) => mistakes.extend(wrong),
                Ok(envelope) => {
                    let text = serde_json::Value::Object(envelope).to_string();
                    match self.would_take(Envelope::parse(&text)).await {
                        Ok(()) => open = true,
                        Err(DispatchError::Invalid(wrong)) if is_closed(&wrong) => {
                            closed = wrong.iter().map(in_the_mission).collect();
                        }
                        Err(DispatchError::Invalid(wrong)) => mistakes.extend(wrong.iter().map(in_the_mission)),
                        Err(error @ DispatchError::WrongInstance { .. }) => {
                            let at = Pointer::root().join("mission").join("target_instance_id");
                            mistakes.push(Mistake::new(at, "wrong_instance", error.to_string()));
                        }
                        Err(error) => return Err(ScheduleError::Later(error)),
                    }
                }
            }
        }
        if !open {
            mistakes.append(&mut closed);
        }
        if mistakes.is_empty() { Ok(()) } else { Err(ScheduleError::Invalid(mistakes)) }
    }

    /// A schedule as it stands.
    ///
    /// # Errors
    /// [`ScheduleError::Unknown`]
    pub fn schedule(&self, id: &str) -> Result<Arc<State>, ScheduleError> {
        Ok(self.schedules.get(id)?.state())
    }

    /// At most `limit` schedules after `after`, by name.
    #[must_use]
    pub fn schedules(&self, after: Option<&str>, limit: usize) -> Vec<Arc<State>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let all = self.schedules.all.lock();
        let from = after.map_or(Unbounded, Excluded);
        let plans: Vec<Arc<Plan>> =
            all.range::<str, _>((from, Unbounded)).map(|(_, plan)| plan).take(limit).cloned().collect();
        drop(all);
        plans.iter().map(|plan| plan.state()).collect()
    }

    /// At most `limit` fires of a schedule before number `before`, the newest first. Blocks.
    ///
    /// # Errors
    /// [`ScheduleError`]
    pub fn fires(&self, id: &str, before: Option<u64>, limit: usize) -> Result<Vec<(u64, History)>, ScheduleError> {
        self.schedules.get(id)?;
        let fires = self.log.fires(id, before, limit)?;
        Ok(fires.into_iter().map(|(no, text)| (no, read(&text))).collect())
    }

    /// Whether a schedule could be made now: all that [`Engine::make_schedule`] asks, and nothing is done.
    ///
    /// # Errors
    /// [`ScheduleError`]
    pub async fn could_make_schedule(&self, schedule: &Schedule) -> Result<(), ScheduleError> {
        self.check_schedule(schedule).await?;
        if self.schedules.has(schedule.id()) {
            return Err(ScheduleError::Exists(schedule.id().to_owned()));
        }
        self.schedules.room(self.settings.schedules_max).map(drop)
    }

    /// Whether a schedule could be changed now, at this revision: all that [`Engine::revise_schedule`] asks, and nothing is done.
    ///
    /// # Errors
    /// [`ScheduleError`]
    pub async fn could_revise_schedule(&self, schedule: &Schedule, revision: u64) -> Result<(), ScheduleError> {
        self.check_schedule(schedule).await?;
        match self.schedules.get(schedule.id())?.state().revision() {
            there if there == revision => Ok(()),
            there => Err(ScheduleError::Revised(there)),
        }
    }

    /// Makes a schedule. When this returns it is on disk.
    ///
    /// # Errors
    /// [`ScheduleError`]
    pub async fn make_schedule(
        self: &Arc<Self>,
        schedule: Schedule,
        calendars: BTreeMap<String, String>,
        by: By,
    ) -> Result<Arc<State>, ScheduleError> {
        self.check_schedule(&schedule).await?;
        let _room = self.schedules.room(self.settings.schedules_max)?;
        if let Some(fleet) = self.log.fleet()
            && let Owner::Elsewhere(peer) = fleet.claim_schedule(schedule.id().to_owned()).await?
        {
            return Err(ScheduleError::Elsewhere(peer.name));
        }
        let (id, now): (Arc<str>, _) = (schedule.id().into(), self.ambient.wall());
        let about = Arc::new(About { calendars, revision: 1, changes: Vec::new() });
        let progress = Progress { position: Position::new(now), running: BTreeMap::new(), previous: None };
        let mut state = State { schedule: Arc::new(schedule), about, progress, version: 1, gone: false };
        state.note(by.did("made", now, 1));
        let change = ScheduleChange::made(&id, state.defined(), write(&state.progress));
        match self.log.change_schedule(change) {
            Err(WriteError::ScheduleMoved { id }) => return Err(ScheduleError::Exists(id)),
            receipt => receipt?.await?,
        };
        let plan = Arc::new(Plan::new(Arc::clone(&id), state));
        self.schedules.all.lock().insert(id, Arc::clone(&plan));
        self.after(&plan).await;
        Ok(plan.state())
    }

    /// Puts another schedule in the place of one, which is at this revision.
    ///
    /// # Errors
    /// [`ScheduleError`]
    pub async fn revise_schedule(
        self: &Arc<Self>,
        schedule: Schedule,
        calendars: BTreeMap<String, String>,
        revision: u64,
        by: By,
    ) -> Result<Arc<State>, ScheduleError> {
        self.check_schedule(&schedule).await?;
        let plan = self.schedules.get(schedule.id())?;
        let _turn = plan.turn.lock().await;
        let revised = self.revise_in_turn(&plan, schedule, calendars, revision, by).await;
        self.see_to_schedule(&plan).await;
        revised.map(|()| plan.state())
    }

    async fn revise_in_turn(
        self: &Arc<Self>,
        plan: &Arc<Plan>,
        schedule: Schedule,
        calendars: BTreeMap<String, String>,
        revision: u64,
        by: By,
    ) -> Result<(), ScheduleError> {
        self.note_ended(plan).await?;
        let state = plan.present()?;
        if state.revision() != revision {
            return Err(ScheduleError::Revised(state.revision()));
        }
        let now = self.ambient.wall();
        // What was due of the old one is made of the old one's template, unless the node cannot make it now.
        loop {
            let state = plan.state();
            let settled = settle(&state.schedule, state.position(), state.progress.running.len(), now);
            match self.carry_out(plan, Step::from(&state), &settled).await {
                Err(ScheduleError::Later(why)) => {
                    let why: &dyn std::error::Error = &why;
                    tracing::warn!(schedule = %plan.id, why, "what was due when a schedule was changed is left to the new one");
                    break;
                }
                done => {
                    if done? {
                        break;
                    }
                }
            }
        }
        let state = plan.state();
        let mut step = Step::from(&state);
        for action in revise(&state.schedule, &schedule, state.position(), now) {
            match action {
                // The changes tell of it.
                Action::Revised { .. } => step.state.progress.position.apply(&action),
                _ => step.take(&action, now),
            }
        }
        step.revised = true;
        let about = Arc::make_mut(&mut step.state.about);
        about.calendars = calendars;
        about.revision += 1;
        about.note(by.did("revised", now, revision + 1));
        step.state.schedule = Arc::new(schedule);
        self.record(plan, step).await.map(drop)
    }

    /// Removes a schedule and its history. Its missions go on, like any.
    ///
    /// # Errors
    /// [`ScheduleError`]
    pub async fn remove_schedule(self: &Arc<Self>, id: &str) -> Result<(), ScheduleError> {
        if let Some(version) = self.schedules.broken(id) {
            self.log.change_schedule(ScheduleChange::removed(id, version))?.await?;
            self.schedules.mended(id);
            return Ok(());
        }
        let Ok(plan) = self.schedules.get(id) else { return self.remove_damaged(id).await };
        let _turn = plan.turn.lock().await;
        let state = plan.present()?;
        // Before another of its name can be made.
        self.schedules.leave_out(&plan);
        match self.log.change_schedule(ScheduleChange::removed(id, state.version)) {
            Ok(receipt) => receipt.await.map(drop).map_err(ScheduleError::from),
            Err(error) => {
                self.schedules.take_back(&plan, self.ambient.wall());
                Err(error.into())
            }
        }
    }

    /// Removes one of which the log has a row that it cannot read itself, and so knows nothing.
    async fn remove_damaged(self: &Arc<Self>, id: &str) -> Result<(), ScheduleError> {
        let (engine, name) = (Arc::clone(self), id.to_owned());
        let looked = self.ambient.unblock(move || engine.log.schedule(&name)).await.map_err(ReadError::Task)?;
        match looked {
            Err(sortie_journal::ReadError::Schedule { .. }) => {
                self.log.change_schedule(ScheduleChange::removed(id, 0))?.await?;
                Ok(())
            }
            looked => looked.map_err(ScheduleError::from).and(Err(ScheduleError::Unknown)),
        }
    }

    /// Pauses a schedule by hand.
    ///
    /// # Errors
    /// [`ScheduleError`]
    pub async fn pause_schedule(
        self: &Arc<Self>,
        id: &str,
        until: Option<Timestamp>,
        by: By,
    ) -> Result<Arc<State>, ScheduleError> {
        let note = Some(by.note.clone()).filter(|note| !note.is_empty());
        let act = |state: &State, now| match until {
            Some(until) if until <= now => Err(ScheduleError::Over),
            until => Ok(sortie_schedule::pause(state.position(), until, note)),
        };
        self.act_on(id, "paused", by, act).await
    }

    /// Lifts every pause of a schedule.
    ///
    /// # Errors
    /// [`ScheduleError`]
    pub async fn resume_schedule(self: &Arc<Self>, id: &str, by: By) -> Result<Arc<State>, ScheduleError> {
        let resumed = self.act_on(id, "resumed", by, |state, _| Ok(sortie_schedule::resume(state.position()))).await?;
        self.let_go_on(resumed.progress.running.keys().copied().map(MissionNo));
        Ok(resumed)
    }

    /// Fires now.
    ///
    /// # Errors
    /// [`ScheduleError`]
    pub async fn trigger_schedule(
        self: &Arc<Self>,
        id: &str,
        overlap: Option<Overlap>,
        by: By,
    ) -> Result<Arc<State>, ScheduleError> {
        let mut skipped = false;
        let act = |state: &State, now| {
            let running = state.progress.running.len();
            let actions = sortie_schedule::trigger(&state.schedule, state.position(), running, now, overlap)?;
            skipped = matches!(actions.last(), Some(Action::Skipped { .. }));
            Ok(actions)
        };
        let state = self.act_on(id, "triggered", by, act).await?;
        if skipped { Err(ScheduleError::Skipped) } else { Ok(state) }
    }

    /// Makes the missions of times that are over.
    ///
    /// # Errors
    /// [`ScheduleError`]
    pub async fn backfill_schedule(
        self: &Arc<Self>,
        id: &str,
        from: Timestamp,
        to: Timestamp,
        order: Order,
        by: By,
    ) -> Result<Arc<State>, ScheduleError> {
        let act = |state: &State, _| Ok(sortie_schedule::backfill(&state.schedule, state.position(), from, to, order)?);
        self.act_on(id, "backfilled", by, act).await
    }

    /// Does something to a schedule, and then what follows of it.
    async fn act_on(
        self: &Arc<Self>,
        id: &str,
        what: &str,
        by: By,
        act: impl FnOnce(&State, Timestamp) -> Result<Vec<Action>, ScheduleError> + Send,
    ) -> Result<Arc<State>, ScheduleError> {
        let plan = self.schedules.get(id)?;
        let _turn = plan.turn.lock().await;
        let acted = self.act_in_turn(&plan, what, by, act).await;
        self.see_to_schedule(&plan).await;
        acted.map(|()| plan.state())
    }

    async fn act_in_turn(
        self: &Arc<Self>,
        plan: &Arc<Plan>,
        what: &str,
        by: By,
        act: impl FnOnce(&State, Timestamp) -> Result<Vec<Action>, ScheduleError> + Send,
    ) -> Result<(), ScheduleError> {
        self.note_ended(plan).await?;
        let (state, now) = (plan.present()?, self.ambient.wall());
        let actions = act(&state, now)?;
        let mut step = Step::from(&state);
        // Who did it stands with what was done, or nowhere.
        step.revised = true;
        step.state.note(by.did(what, now, state.revision()));
        self.carry_out(plan, step, &actions).await.map(drop)
    }

    /// A schedule that is new says when it is due.
    async fn after(self: &Arc<Self>, plan: &Arc<Plan>) {
        let _turn = plan.turn.lock().await;
        self.see_to_schedule(plan).await;
    }
}

impl By {
    fn did(self, what: &str, at: Timestamp, revision: u64) -> Change {
        Change { at, by: self.who, what: what.to_owned(), revision, note: self.note }
    }
}

/// A mistake of an envelope, at its place in the schedule.
pub(super) fn in_the_mission(mistake: &Mistake) -> Mistake {
    let pointer = Pointer::raw(format!("/mission{}", mistake.pointer.as_str()));
    Mistake { pointer, ..mistake.clone() }
}
