//! A fire becomes a mission, or the history says why not.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;
use sortie_contract::{MissionId, MissionNo, Mistake, Pointer};
use sortie_schedule::{Action, Previous};

use super::ScheduleError;
use super::act::in_the_mission;
use super::kept::Made;
use super::plan::{Plan, State, Step};
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
        if *late_ms > u64::try_from(sortie_schedule::LATE.as_millis()).unwrap_or(u64::MAX) {
            self.counters.late.fetch_add(1, Relaxed);
            tracing::warn!(schedule = %plan.id, %mission_id, late_ms, "a fire of a schedule is late");
        }
        let begun = Mutex::new(None);
        let bears = |no: MissionNo| {
            // The log may think of another number.
            if let Some(before) = begun.lock().replace(no) {
                self.schedules.runs.withdraw(before);
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
                Ok(self.stand(plan, step.state))
            }
            other => {
                begun.into_iter().for_each(|no| self.schedules.runs.withdraw(no));
                match other {
                    Ok(_) => self.found(plan, step, &mission_id).await,
                    Err(DispatchError::IdempotencyConflict { mission_id: twin, .. }) if twin == mission_id => {
                        self.found(plan, step, &mission_id).await
                    }
                    Err(DispatchError::Invalid(mistakes)) => {
                        let mistakes = mistakes.into_iter().map(|mistake| in_the_mission(&mistake));
                        self.refused(plan, step, mistakes.collect()).await
                    }
                    Err(
                        error @ (DispatchError::WrongInstance { .. }
                        | DispatchError::IdempotencyConflict { .. }
                        | DispatchError::MissionIdConflict),
                    ) => {
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
        if let Some(entry) = step.entries.last_mut() {
            entry.made = Some(Made::Found);
        }
        let (engine, id) = (Arc::clone(self), mission_id.clone());
        let twin = self.ambient.unblock(move || engine.log.find(&id)).await.map_err(ReadError::Task)??;
        if let Some(twin) = twin.filter(|twin| !twin.head.status.is_final()) {
            step.state.progress.running.insert(twin.no.0, mission_id.to_string());
            self.schedules.runs.begin(twin.no, &plan.id);
        }
        self.record(plan, step).await
    }

    /// A fire whose mission the node does not take: it counts as one that failed.
    async fn refused(
        self: &Arc<Self>,
        plan: &Arc<Plan>,
        mut step: Step,
        mistakes: Vec<Mistake>,
    ) -> Result<Step, ScheduleError> {
        let why = mistakes.first().map(ToString::to_string).unwrap_or_default();
        tracing::warn!(schedule = %plan.id, why, "the mission of a fire is not taken");
        if let Some(entry) = step.entries.last_mut() {
            (entry.made, entry.errors) = (Some(Made::Refused), mistakes);
        }
        let at = self.ambient.wall();
        for action in sortie_schedule::ended(&step.state.schedule.clone(), &step.state.progress.position, Some(false)) {
            step.take(&action, at);
        }
        self.record(plan, step).await
    }

    /// What became of the mission before.
    async fn previous(self: &Arc<Self>, state: &State) -> Result<Previous, ScheduleError> {
        let Some(no) = state.progress.previous.map(MissionNo) else { return Ok(Previous::default()) };
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
            previous => Ok(previous?),
        }
    }
}
