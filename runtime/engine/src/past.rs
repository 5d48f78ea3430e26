//! A mission as of one of its records: the core's own fold, stopped there.
//!
//! Nothing here says what a record means. What depends on the clock (what it waits for, how far its deliveries are) belongs to now, and is
//! not shown of the past.

use sortie_contract::{MicroUsd, MissionNo, Timestamp};
use sortie_mission::{Criterion, Mission};

use super::look;
use super::shown::{BudgetView, CriterionView, LandingView, LimitView, MissionAtView, UsageView, minutes};
use super::views::{MARK_RECORDS, Next};
use super::{Engine, ReadError};

impl Engine {
    /// The mission as of its record of that number, counted from 1. Blocks.
    ///
    /// # Errors
    /// [`ReadError::NoRecord`] where it has none of that number.
    pub fn past(&self, no: MissionNo, wanted: u32) -> Result<MissionAtView, ReadError> {
        let records = self.view(no, |fold| Ok(fold.mission.records()))?;
        if wanted == 0 || wanted > records {
            return Err(ReadError::NoRecord { records });
        }
        // One before it: the record itself is to be seen.
        let mut fold = self.views.take_past(no, wanted);
        // Whoever goes back and forth in a long record finds a fold near each of its places.
        while let Some(mark) = mark_before(fold.as_ref().map_or(0, |fold| fold.mission.records()), wanted) {
            let near = |mission: &Mission| if mission.records() < mark { Next::More } else { Next::Enough };
            self.advance(no, &mut fold, |mission, _| near(mission))?;
            match &fold {
                Some(fold) if fold.mission.records() >= mark => self.views.mark(fold),
                _ => break,
            }
        }
        let mut last = None;
        self.advance(no, &mut fold, |mission, record| {
            if mission.records() < wanted {
                return Next::More;
            }
            last = Some((record.at, look::record(u64::from(mission.records()), record).kind));
            Next::Enough
        })?;
        let (Some(found), Some((at, kind))) = (&fold, last) else { return Err(ReadError::Unknown) };
        let shown = self.as_of(&found.mission, records, at, kind);
        self.views.keep(fold);
        Ok(shown)
    }

    fn as_of(&self, mission: &Mission, records: u32, at: Timestamp, kind: String) -> MissionAtView {
        let usage = mission.usage(self.now(mission.ran_ms()));
        MissionAtView {
            mission_id: mission.envelope().mission_id.to_string(),
            record: mission.records(),
            records,
            at,
            kind,
            status: mission.status(),
            reason: mission.reason(),
            summary: mission.last_summary().into_owned(),
            next_action: mission.next_action().map(str::to_owned),
            usage: UsageView::new(usage.runtime_minutes, mission.spent(), mission.reserved()),
            effective_budget: BudgetView::from(mission.budget()),
            landing: landing(mission),
            carried_over: mission.carried_over(),
            pending_requests: look::requests(mission),
            calls_in_flight: look::calls_in_flight(mission),
            criteria: criteria(mission),
            artifacts: look::artifacts(mission),
            sequence: mission.sequence(),
            started_at: mission.started_at(),
            ended_at: mission.ended_at(),
        }
    }
}

/// The next mark behind so many records that is before the wanted one.
fn mark_before(records: u32, wanted: u32) -> Option<u32> {
    let next = (records / MARK_RECORDS).saturating_add(1).saturating_mul(MARK_RECORDS);
    (next < wanted).then_some(next)
}

/// From where on it lands, once its plugin has asked to be told.
pub(super) fn landing(mission: &Mission) -> Option<LandingView> {
    let marks = mission.landing_marks()?;
    Some(LandingView {
        from_runtime_minutes: minutes(marks.runtime_ms_max),
        from: LimitView { llm_calls: marks.llm_calls_max, cost_usd: marks.cost_max.map(MicroUsd::as_usd) },
        closing: mission.closing().map(sortie_contract::record::Closing::code),
        lands: mission.lands(),
    })
}

/// Its success criteria, and what became of each.
pub(super) fn criteria(mission: &Mission) -> Vec<CriterionView> {
    let owned = mission.criteria().map(|Criterion { text, verdict, evidence }| CriterionView {
        criterion: text.to_owned(),
        verdict,
        evidence: evidence.to_owned(),
    });
    owned.collect()
}
