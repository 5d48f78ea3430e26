//! A fire becomes a mission, or the history says why not.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use sortie_contract::{MissionId, MissionNo, Mistake, Pointer, Status};
use sortie_schedule::{Action, LATE, Previous};

use super::ScheduleError;
use super::act::in_the_mission;
use super::kept::{Entry, Made, read};
use super::plan::{Plan, State, Step};
use crate::fleet::Member;
use crate::intake::DispatchError;
use crate::look::artifacts;
use crate::{Engine, ReadError};

impl Engine {
    /// Makes the mission of a fire, which `step` ends with; in one append with it.
    pub(super) async fn fire(
        self: &Arc<Self>,
        plan: &Arc<Plan>,
        mut step: Step,
        action: &Action,
    ) -> Result<Step, ScheduleError> {
        let Action::Fired { fire, origin, late_ms, .. } = action else { return Ok(step) };
        let state = plan.state();
        let made_at = self.ambient.wall();
        let window = state.schedule.window(*fire, *origin, made_at);
        let mission_id = state.schedule.mission_id(fire.at);
        let entry = step.entries.last_mut().expect("the fire is what was taken last");
        (entry.mission_id, entry.made) = (Some(mission_id.to_string()), Some(Made::Made));
        let previous = self.previous(&state).await?;
        let node = self.settings.rules.instance_id.as_str();
        let text = match state.schedule.envelope(*fire, window, &previous, node) {
            Ok(envelope) => serde_json::Value::Object(envelope).to_string(),
            Err(mistakes) => return self.refused(plan, step, mistakes).await,
        };
        let begun = Mutex::new(None);
        let bears = |no: MissionNo| {
            // The log may think of another number.
            if let Some(before) = begun.lock().replace(no) {
                self.schedules.runs.withdraw(before, &plan.id);
            }
            self.schedules.runs.begin(no, &plan.id);
            let mut progress = step.state.progress.clone();
            progress.running.insert(no.0, mission_id.to_string());
            step.change(&plan.id, &progress)
        };
        let dispatched = self.dispatch_of_schedule(text, &bears).await;
        let begun = begun.into_inner();
        match dispatched {
            Ok(dispatched) if !dispatched.replayed => {
                step.state.progress.running.insert(dispatched.no.0, mission_id.to_string());
                self.counters.fired.fetch_add(1, Relaxed);
                if Duration::from_millis(*late_ms) > LATE {
                    self.counters.late.fetch_add(1, Relaxed);
                    tracing::warn!(schedule = %plan.id, %mission_id, late_ms, "a fire of a schedule is late");
                }
                Ok(self.stand(plan, step))
            }
            other => {
                begun.into_iter().for_each(|no| self.schedules.runs.withdraw(no, &plan.id));
                match other {
                    Ok(_) => self.found(plan, step, &mission_id).await,
                    Err(DispatchError::IdempotencyConflict { mission_id: twin, .. }) if twin == mission_id => {
                        self.found(plan, step, &mission_id).await
                    }
                    Err(DispatchError::MissionIdConflict) => self.found(plan, step, &mission_id).await,
                    Err(DispatchError::Elsewhere(member)) => {
                        self.found_elsewhere(plan, step, &mission_id, *member).await
                    }
                    Err(DispatchError::Invalid(mistakes)) => {
                        let mistakes = mistakes.into_iter().map(|mistake| in_the_mission(&mistake));
                        self.refused(plan, step, mistakes.collect()).await
                    }
                    Err(error @ (DispatchError::WrongInstance { .. } | DispatchError::IdempotencyConflict { .. })) => {
                        let mistake = Mistake::new(Pointer::root().join("mission"), "refused", error.to_string());
                        self.refused(plan, step, vec![mistake]).await
                    }
                    Err(error) => Err(ScheduleError::Later(error)),
                }
            }
        }
    }

    /// A fire whose mission is there already: somebody asked for its time again.
    async fn found(
        self: &Arc<Self>,
        plan: &Arc<Plan>,
        mut step: Step,
        mission_id: &MissionId,
    ) -> Result<Step, ScheduleError> {
        // A name can be guessed: only one that this schedule made is its fire's.
        if !self.has_made(plan, mission_id).await? {
            let detail =
                format!("a mission `{mission_id}` is there that this schedule did not make: the fire has none");
            let at = Pointer::root().join("mission");
            return self.refused(plan, step, vec![Mistake::new(at, "mission_id_conflict", detail)]).await;
        }
        if let Some(entry) = step.entries.last_mut() {
            entry.made = Some(Made::Found);
        }
        let find = || {
            let (engine, id) = (Arc::clone(self), mission_id.clone());
            self.ambient.unblock(move || engine.log.find(&id))
        };
        if let Some(twin) = find().await.map_err(ReadError::Task)?? {
            step.state.progress.running.insert(twin.no.0, mission_id.to_string());
            self.schedules.runs.begin(twin.no, &plan.id);
            // Its end may have been told before anybody waited for it.
            self.log.barrier()?.await?;
            let status = find().await.map_err(ReadError::Task)??.map(|twin| twin.head.status);
            if status.is_none_or(Status::is_final) {
                self.schedules.runs.withdraw(twin.no, &plan.id);
                step.state.progress.running.remove(&twin.no.0);
            }
        }
        self.record(plan, step).await
    }

    /// A fire whose mission another node of the store has, or would have to have.
    async fn found_elsewhere(
        self: &Arc<Self>,
        plan: &Arc<Plan>,
        mut step: Step,
        mission_id: &MissionId,
        member: Member,
    ) -> Result<Step, ScheduleError> {
        let (engine, id) = (Arc::clone(self), mission_id.clone());
        let there = self.ambient.unblock(move || engine.holder(id.as_str())).await.map_err(ReadError::Task)??;
        if there.is_some() {
            if let Some(entry) = step.entries.last_mut() {
                entry.made = Some(Made::Found);
            }
            return self.record(plan, step).await;
        }
        if !member.is_live() {
            return Err(ScheduleError::Later(DispatchError::Elsewhere(Box::new(member))));
        }
        let at = Pointer::root().join("mission").join("vp_id");
        let detail = format!("the missions of this VP are with the node `{}`: make the schedule there", member.name);
        self.refused(plan, step, vec![Mistake::new(at, "elsewhere", detail)]).await
    }

    /// Whether the history of a schedule says that it made this mission.
    async fn has_made(self: &Arc<Self>, plan: &Arc<Plan>, mission_id: &MissionId) -> Result<bool, ScheduleError> {
        let (engine, id, named) = (Arc::clone(self), Arc::clone(&plan.id), mission_id.to_string());
        let look = move || {
            let fires = engine.log.fires(&id, None, usize::MAX)?;
            let made = |text: &String| {
                // Most are of others: they are not taken apart.
                let entry = text.contains(&named).then(|| read::<Entry>(text).ok()).flatten();
                entry.is_some_and(|entry| entry.made == Some(Made::Made) && entry.mission_id.as_ref() == Some(&named))
            };
            Ok::<_, ReadError>(fires.iter().any(|(_, text)| made(text)))
        };
        Ok(self.ambient.unblock(look).await.map_err(ReadError::Task)??)
    }

    /// A fire whose mission the node does not take.
    async fn refused(
        self: &Arc<Self>,
        plan: &Arc<Plan>,
        mut step: Step,
        mistakes: Vec<Mistake>,
    ) -> Result<Step, ScheduleError> {
        let why = mistakes.first().map(ToString::to_string).unwrap_or_default();
        tracing::warn!(schedule = %plan.id, why, "the mission of a fire is not taken");
        let follows = sortie_schedule::refused(&step.state.schedule, &step.state.progress.position, &mistakes);
        if let Some(entry) = step.entries.last_mut() {
            (entry.made, entry.errors) = (Some(Made::Refused), mistakes);
        }
        let at = self.ambient.wall();
        for action in follows {
            step.take(&action, at);
        }
        self.record(plan, step).await
    }

    /// What became of the mission before.
    async fn previous(self: &Arc<Self>, state: &State) -> Result<Previous, ScheduleError> {
        let named = state.progress.previous.map(MissionNo).filter(|_| state.schedule.names_previous());
        let Some(no) = named else { return Ok(Previous::default()) };
        let engine = Arc::clone(self);
        let look = move || {
            engine.view(no, |fold| {
                let mission = &fold.mission;
                let shown = |artifact| serde_json::to_value(artifact).expect("a view is plain data");
                Ok(Previous {
                    mission_id: Some(mission.envelope().mission_id.to_string()),
                    status: Some(mission.status().to_string()),
                    summary: mission.overview().summary,
                    artifacts: artifacts(mission).into_iter().map(shown).collect(),
                })
            })
        };
        match self.ambient.unblock(look).await.map_err(ReadError::Task)? {
            // It has been removed.
            Err(ReadError::Unknown) => Ok(Previous::default()),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(%no, error, "the mission before cannot be read: its schedule goes on as if there were none");
                Ok(Previous::default())
            }
            Ok(previous) => Ok(previous),
        }
    }
}
