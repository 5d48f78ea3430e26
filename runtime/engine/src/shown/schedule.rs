//! How schedules are shown: what each is, how far it has come, and what became of its fires.
//!
//! Owned here: the form of the answer, and how a state comes to it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use sortie_contract::{Mistake, Timestamp};
use sortie_schedule::{Action, Note, Origin, Outlook, Span, Upcoming, outlook, upcoming};

use crate::schedules::{Change, Entry, History, Made, State};

/// Times to come that a schedule shows.
const NEXT: usize = 5;

/// A schedule in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ScheduleLine {
    /// Its name.
    pub id: String,
    /// Counts the changes of what it is.
    pub revision: u64,
    /// The zone of its times.
    pub zone: String,
    /// What whoever wrote it says about it.
    pub note: Option<String>,
    /// Whether it is paused.
    pub paused: bool,
    /// How many of its missions have not ended.
    pub running: usize,
    /// How many fires wait for their turn.
    pub waiting: usize,
    /// How many of its missions failed in a row.
    pub failures: u32,
    /// Its next time; null where it has none.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub next_at: Option<Timestamp>,
    /// The same by the clock of its zone.
    pub next_local: Option<String>,
}

/// A schedule.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ScheduleView {
    /// Its name.
    pub id: String,
    /// Counts the changes of what it is; its `ETag` too.
    pub revision: u64,
    /// As it was written.
    pub schedule: Map<String, Value>,
    /// The calendars that it names, with their texts.
    pub calendars: BTreeMap<String, String>,
    /// What keeps it from firing; null where nothing does.
    pub paused: Option<PauseView>,
    /// Its missions that have not ended.
    pub running: Vec<String>,
    /// How many fires wait for their turn.
    pub waiting: usize,
    /// How many backfills are under way.
    pub backfills: usize,
    /// How many of its missions failed in a row.
    pub failures: u32,
    /// How often it still fires; null for ever.
    pub runs_left: Option<u64>,
    /// Its next times.
    pub next: Vec<UpcomingView>,
    /// What the next fire would meet if what runs now still did then; null where nothing runs, and where it would be skipped by a pause.
    pub outlook: Option<OutlookView>,
    /// Who changed what, the oldest first: the newest hundred.
    pub changes: Vec<Change>,
}

/// A schedule to which something was done, for a token that may not `read`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Planned {
    /// Its name.
    pub id: String,
    /// Counts the changes of what it is.
    pub revision: u64,
}

/// What keeps a schedule from firing.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PauseView {
    /// Somebody paused it.
    pub by_hand: bool,
    /// Until then; null until it is lifted.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub until: Option<Timestamp>,
    /// Why.
    pub note: Option<String>,
    /// So many missions had failed in a row.
    pub after_failures: Option<u32>,
}

/// A time to come.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct UpcomingView {
    /// In UTC: what the mission is named after.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// By the clock of the zone, with its offset.
    pub local: String,
    /// What a change of that clock has to do with it: `gap`, `fold`, or null.
    pub note: Option<&'static str>,
    /// When its mission may run.
    pub window: SpanView,
}

/// What the next fire of a schedule would meet if what runs and waits now still did then.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct OutlookView {
    /// The time of that fire, in UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// The same by the clock of the zone.
    pub local: String,
    /// What each overlap policy would do with it.
    pub policies: Vec<PolicyView>,
}

/// What an overlap policy would do with a fire.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PolicyView {
    /// The policy.
    pub overlap: &'static str,
    /// `fire` (it runs beside the others), `cancel_and_fire` (it takes their place), `wait`, `skip`, `full` (it is skipped, because as many wait
    /// as can) or `hold_up` (as many run as may).
    pub would: String,
    /// Whether it is the schedule's own.
    pub own: bool,
}

/// A time from one moment to another.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SpanView {
    /// From then on.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub opens: Timestamp,
    /// Until then; null where it does not close.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub closes: Option<Timestamp>,
}

/// What became of a fire, or of several in a row, or what else happened to a schedule.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct FireView {
    /// Its number in the history.
    pub no: u64,
    /// When it was recorded; null where that cannot be read.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub recorded_at: Option<Timestamp>,
    /// `fired`, `skipped`, `missed`, `waits`, `cancelled_others`, `backfill_began`, `backfill_ended`, `failures`, `paused`,
    /// `resumed`, `revised`, or `unreadable`: an entry of which this version of sortie knows nothing but its number.
    pub what: &'static str,
    /// The time of the fire, or of the first of them.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub first: Option<Timestamp>,
    /// The time of the last.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last: Option<Timestamp>,
    /// How many fires; for `failures` how many missions.
    pub count: Option<u64>,
    /// Why they were left out; why it cannot be read.
    pub reason: Option<String>,
    /// `scheduled`, `triggered` or `backfilled`.
    pub origin: Option<String>,
    /// How late it was, in milliseconds.
    pub late_ms: Option<u64>,
    /// Its mission.
    pub mission_id: Option<String>,
    /// `made`, `found` or `refused`.
    pub made: Option<Made>,
    /// What is wrong with the envelope that was made.
    #[schemars(with = "Vec<Value>")]
    pub errors: Vec<Mistake>,
}

impl ScheduleLine {
    /// Of a schedule as it stands.
    #[must_use]
    pub fn of(state: &State, now: Timestamp) -> Self {
        let (schedule, position) = (state.schedule(), state.position());
        let is_over = position.runs_left(schedule) == Some(0);
        let next = if is_over { None } else { schedule.next(position.considered().max(now)).map(|fire| fire.at) };
        Self {
            id: schedule.id().to_owned(),
            revision: state.revision(),
            zone: schedule.zone().name().to_owned(),
            note: schedule.note().map(str::to_owned),
            paused: position.pauses().hold(now),
            running: state.running().count(),
            waiting: position.waiting().count(),
            failures: position.failures(),
            next_at: next,
            next_local: next.map(|at| schedule.zone().shown(at)),
        }
    }
}

impl ScheduleView {
    /// Of a schedule as it stands.
    #[must_use]
    pub fn of(state: &State, now: Timestamp) -> Self {
        let (schedule, position) = (state.schedule(), state.position());
        let pauses = position.pauses();
        let by_hand = pauses.by_hand.as_ref();
        let left = position.runs_left(schedule);
        let next = usize::try_from(left.unwrap_or(u64::MAX)).unwrap_or(usize::MAX).min(NEXT);
        Self {
            id: schedule.id().to_owned(),
            revision: state.revision(),
            schedule: schedule.definition(),
            calendars: state.calendars().clone(),
            paused: pauses.hold(now).then(|| PauseView {
                by_hand: by_hand.is_some(),
                until: by_hand.and_then(|pause| pause.until),
                note: by_hand.and_then(|pause| pause.note.clone()),
                after_failures: pauses.after_failures,
            }),
            running: state.running().map(str::to_owned).collect(),
            waiting: position.waiting().count(),
            backfills: position.backfills().count(),
            failures: position.failures(),
            runs_left: left,
            next: upcoming(schedule, position.considered().max(now), next).iter().map(UpcomingView::of).collect(),
            outlook: outlook(schedule, position, state.running().count(), now)
                .map(|outlook| OutlookView::of(&outlook, state)),
            changes: state.changes().to_vec(),
        }
    }
}

impl UpcomingView {
    /// Of a time to come.
    #[must_use]
    pub fn of(upcoming: &Upcoming) -> Self {
        Self {
            at: upcoming.at,
            local: upcoming.local.clone(),
            note: upcoming.note.map(|note| match note {
                Note::Gap => "gap",
                Note::Fold => "fold",
            }),
            window: SpanView { opens: upcoming.window.opens, closes: upcoming.window.closes },
        }
    }
}

impl OutlookView {
    fn of(outlook: &Outlook, state: &State) -> Self {
        let schedule = state.schedule();
        let policies = outlook.places.iter().map(|(overlap, place)| PolicyView {
            overlap: overlap.as_str(),
            would: name(place),
            own: *overlap == schedule.overlap(),
        });
        Self { at: outlook.fire.at, local: schedule.zone().shown(outlook.fire.at), policies: policies.collect() }
    }
}

impl FireView {
    /// Of an entry of the history.
    #[must_use]
    pub fn of(no: u64, entry: History) -> Self {
        let mut view = Self {
            no,
            recorded_at: None,
            what: "unreadable",
            first: None,
            last: None,
            count: None,
            reason: None,
            origin: None,
            late_ms: None,
            mission_id: None,
            made: None,
            errors: Vec::new(),
        };
        match entry {
            Ok(entry) => view.tell_entry(entry),
            Err(why) => view.reason = Some(why.to_string()),
        }
        view
    }

    fn tell_entry(&mut self, entry: Entry) {
        let Entry { at, action, mission_id, made, errors } = entry;
        (self.recorded_at, self.mission_id, self.made, self.errors) = (Some(at), mission_id, made, errors);
        self.what = match action {
            Action::Fired { fire, origin, late_ms, .. } => {
                self.late_ms = Some(late_ms);
                self.tell(Span::one(fire.at), Some(origin), None::<()>);
                "fired"
            }
            Action::Buffered { waiting } => {
                self.tell(Span::one(waiting.fire.at), Some(waiting.origin), None::<()>);
                "waits"
            }
            Action::Skipped { fires, origin, reason, .. } => {
                self.tell(fires, Some(origin), Some(reason));
                "skipped"
            }
            Action::Missed { fires, reason } => {
                self.tell(fires, Some(Origin::Scheduled), Some(reason));
                "missed"
            }
            Action::Failures { count } => {
                self.count = Some(u64::from(count));
                "failures"
            }
            Action::CancelledOthers => "cancelled_others",
            Action::BackfillBegan { .. } => "backfill_began",
            Action::BackfillEnded => "backfill_ended",
            Action::Paused { .. } => "paused",
            Action::Resumed => "resumed",
            Action::Revised { .. } => "revised",
        };
    }

    fn tell(&mut self, fires: Span, origin: Option<Origin>, reason: Option<impl Serialize>) {
        (self.first, self.last, self.count) = (Some(fires.first), Some(fires.last), Some(fires.count));
        (self.origin, self.reason) = (origin.map(name), reason.map(name));
    }
}

/// The name of a case, as it is kept.
pub(crate) fn name(case: impl Serialize) -> String {
    serde_json::to_value(case).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_cannot_be_read_keeps_its_place_and_says_why() {
        let newer = serde_json::from_str(r#"{"at": "2026-11-25T02:00:00Z", "action": "Dreamt"}"#);
        let view = FireView::of(7, newer);
        assert_eq!((view.no, view.what, view.recorded_at), (7, "unreadable", None));
        assert!(view.reason.is_some_and(|why| why.contains("Dreamt")));
    }
}
