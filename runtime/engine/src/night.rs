//! A night at a glance: what was done in it, what failed, what goes on, what waits for people, what it cost.
//!
//! What a night is `sortie_schedule` says, what became of a mission in it the core. Owned here: which missions are looked at, and how
//! much of each: most by their heads alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use jiff::civil::Date;
use parking_lot::Mutex;
use sortie_contract::{LaneId, MissionNo, Spend, Status, Timestamp};
use sortie_journal::Head;
use sortie_mission::{Left, Mission, Night, Part};
use sortie_schedule::{Action, Fire, LATE, is_closed, night, night_of};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;

use super::schedules::{Made, ScheduleError};
use super::shown::{GapView, NextWindow, NightLane, NightLine, NightView, SpendView, StretchView, WindowView, name};
use super::views::Next;
use super::{Engine, ReadError};

/// Heads that are looked at at once.
const HEADS: usize = 1_000;

/// Missions of a night that are listed.
const LINES_MAX: usize = 500;

/// How long the night is followed before all missions are gone through once more: nobody tells of those that are removed.
const ANEW: SignedDuration = SignedDuration::from_mins(10);

/// Times of a paused schedule that are looked at for the first behind its pause.
const LOOKED_AT: usize = 100;

/// Entries of a schedule's history that are looked at at once.
const FIRES: usize = 256;

/// A night, and the moment at which it is looked at.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: Timestamp,
    until: Timestamp,
    now: Timestamp,
}

/// What missions have to do with a night.
#[derive(Debug, Clone, Default)]
struct Parts {
    /// Those of the night, with their part in it.
    taken: BTreeMap<MissionNo, Part>,
    /// When windows open of those that are not over, also of later nights.
    opens: BTreeMap<MissionNo, Timestamp>,
}

impl Parts {
    fn put(&mut self, no: MissionNo, head: &Head, part: Option<Part>) {
        self.remove(no);
        if let Some(part) = part {
            self.taken.insert(no, part);
        }
        if let Some(opens) = head.start_at.filter(|_| matches!(head.status, Status::Queued | Status::Running)) {
            self.opens.insert(no, opens);
        }
    }

    fn remove(&mut self, no: MissionNo) {
        self.taken.remove(&no);
        self.opens.remove(&no);
    }
}

/// The night in which it is now, as far as it was gone through: who looks again pays for what has changed since, not for all missions.
#[derive(Default)]
pub(crate) struct Tonight(Mutex<Option<SoFar>>);

struct SoFar {
    from: Timestamp,
    /// When all of them were gone through.
    begun: Timestamp,
    /// Which missions have something new since.
    news: broadcast::Receiver<MissionNo>,
    parts: Arc<Parts>,
}

impl Tonight {
    /// The parts of all missions in it. Blocks, and so does who asks beside.
    fn parts(&self, engine: &Engine, time: Span) -> Result<Arc<Parts>, ReadError> {
        let mut kept = self.0.lock();
        let age = |so_far: &SoFar| time.now.duration_since(so_far.begun);
        let is_of = |so_far: &SoFar| so_far.from == time.from && age(so_far) < ANEW && !age(so_far).is_negative();
        // What went wrong in the middle is gone through anew.
        if let Some(mut so_far) = kept.take().filter(is_of)
            && so_far.follow(engine, time)?
        {
            let parts = Arc::clone(&so_far.parts);
            *kept = Some(so_far);
            return Ok(parts);
        }
        // First of all: what happens while they are gone through is looked at again.
        let news = engine.news();
        let parts = Arc::new(engine.all_parts(time)?);
        *kept = Some(SoFar { from: time.from, begun: time.now, news, parts: Arc::clone(&parts) });
        Ok(parts)
    }
}

impl SoFar {
    /// Looks at what has changed; false, where that is not known any more.
    fn follow(&mut self, engine: &Engine, time: Span) -> Result<bool, ReadError> {
        let mut changed = BTreeSet::new();
        loop {
            match self.news.try_recv() {
                Ok(no) => drop(changed.insert(no)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Lagged(_) | TryRecvError::Closed) => return Ok(false),
            }
        }
        if changed.is_empty() {
            return Ok(true);
        }
        let parts = Arc::make_mut(&mut self.parts);
        for no in changed {
            match engine.log.head(no)? {
                Some(head) => parts.put(no, &head, engine.part_of(no, &head, time)?),
                None => parts.remove(no),
            }
        }
        Ok(true)
    }
}

/// What the schedules of a node did in a night.
#[derive(Default)]
struct Fires {
    fired: u64,
    late: u64,
    skipped: u64,
    refused: u64,
    missed: u64,
    gaps: Vec<GapView>,
}

impl Fires {
    fn tell(&mut self, gap: GapView) {
        if self.gaps.len() < LINES_MAX {
            self.gaps.push(gap);
        }
    }
}

impl Engine {
    /// The night of a date; without one, the night in which it is now. Blocks.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn night(&self, date: Option<Date>) -> Result<NightView, ReadError> {
        let (zone, now) = (&self.settings.hours.zone, self.ambient.wall());
        let date = date.unwrap_or_else(|| night_of(now, zone));
        let (from, until) = night(date, zone);
        let time = Span { from, until, now };
        let parts = if (from..until).contains(&now) {
            self.tonight.parts(self, time)?
        } else {
            Arc::new(self.all_parts(time)?)
        };
        let lines = self.lines(&parts)?;
        let mut counts: BTreeMap<Left, usize> = BTreeMap::new();
        let mut spent = Spend::NOTHING;
        for part in parts.taken.values() {
            spent = spent.saturating_add(part.spent);
            *counts.entry(part.left).or_default() += 1;
        }
        let count = |wanted| counts.get(&wanted).copied().unwrap_or_default();
        let Fires { fired, late, skipped, refused, missed, gaps } = self.fires_between(from, until)?;
        Ok(NightView {
            date: date.to_string(),
            from,
            until,
            time_zone: zone.name().to_owned(),
            over: until <= now,
            done: count(Left::Done),
            failed: count(Left::Failed),
            cancelled: count(Left::Cancelled),
            carried_over: count(Left::CarriedOver),
            waiting: count(Left::Waiting),
            running: count(Left::Running),
            queued: count(Left::Queued),
            spent: SpendView::from(spent),
            fired,
            late,
            skipped,
            refused,
            missed,
            gaps,
            lanes: self.night_lanes(from, until),
            clock_changes: zone.changes(from, until),
            needs_people: missed + refused > 0 || counts.keys().any(|left| left.needs_people()),
            next_window: if (from..until).contains(&now) { Some(self.next_of_all(&parts, now)) } else { None }
                .flatten(),
            more: parts.taken.len() > lines.len(),
            missions: lines,
        })
    }

    /// The parts of all missions in a night: every head of the node is gone through.
    fn all_parts(&self, time: Span) -> Result<Parts, ReadError> {
        let (mut parts, mut before) = (Parts::default(), None);
        loop {
            let heads = self.log.heads_newest_first(before, HEADS)?;
            let Some((last, _)) = heads.last() else { return Ok(parts) };
            before = Some(*last);
            for (no, head) in heads {
                let part = self.part_of(no, &head, time)?;
                parts.put(no, &head, part);
            }
        }
    }

    /// Those that are listed: what needs people first, and of each kind the oldest.
    fn lines(&self, parts: &Parts) -> Result<Vec<NightLine>, ReadError> {
        let mut first: BTreeSet<(Left, MissionNo)> = BTreeSet::new();
        for (no, part) in &parts.taken {
            let place = (part.left, *no);
            if first.len() < LINES_MAX {
                first.insert(place);
            } else if first.last().is_some_and(|last| place < *last) {
                first.pop_last();
                first.insert(place);
            }
        }
        let mut lines = Vec::with_capacity(first.len());
        for (_, no) in first {
            // One that was removed meanwhile is not shown.
            if let (Some(head), Some(part)) = (self.log.head(no)?, parts.taken.get(&no)) {
                lines.push(self.night_line(no, &head, *part));
            }
        }
        Ok(lines)
    }

    /// A mission's part in a night. Its head says it, where all of its life lies in the night, or the night is not over and it has
    /// spent nothing; else its records are gone through.
    fn part_of(&self, no: MissionNo, head: &Head, Span { from, until, now }: Span) -> Result<Option<Part>, ReadError> {
        if from > now || head.accepted_at >= until || head.ended_at.is_some_and(|ended| ended < from) {
            return Ok(None);
        }
        let stands = match head.ended_at {
            Some(ended) => ended < until,
            None => until > now,
        };
        let Some(overview) = &head.overview else { return self.gone_through(no, Night::new(from, until)) };
        let whole = head.accepted_at >= from || overview.spent.is_nothing();
        // One that waits for its first turn may be of a later night, or carried over; one that was carried over may wait for its window.
        let is_plain = overview.started_at.is_some_and(|begun| head.start_at.is_none_or(|opens| opens <= begun));
        if stands && whole && (is_plain || head.status.is_final()) {
            return Ok(Some(Part { left: Left::of(head.status, false), spent: overview.spent }));
        }
        self.gone_through(no, Night::new(from, until))
    }

    fn gone_through(&self, no: MissionNo, mut night: Night) -> Result<Option<Part>, ReadError> {
        let mut fold = None;
        let each = |mission: &_, record: &_| if night.take(mission, record) { Next::More } else { Next::Enough };
        match self.advance(no, &mut fold, each) {
            Ok(_) => Ok(night.part()),
            // It has been removed meanwhile, or is seen to by now: the others are there.
            Err(
                ReadError::Unknown
                | ReadError::Illegal(_)
                | ReadError::NoEnvelope
                | ReadError::Journal(sortie_journal::ReadError::Row { .. }),
            ) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the histories of all schedules say of a time.
    fn fires_between(&self, from: Timestamp, until: Timestamp) -> Result<Fires, ReadError> {
        let mut all = Fires::default();
        let mut after: Option<String> = None;
        loop {
            let some = self.schedules(after.as_deref(), HEADS);
            let Some(last) = some.last() else { return Ok(all) };
            after = Some(last.schedule().id().to_owned());
            for state in some {
                self.fires_of(state.schedule().id(), from, until, &mut all)?;
            }
        }
    }

    fn fires_of(&self, id: &str, from: Timestamp, until: Timestamp, all: &mut Fires) -> Result<(), ReadError> {
        let mut before = None;
        loop {
            let fires = match self.fires(id, before, FIRES) {
                Ok(fires) => fires,
                // It has been removed meanwhile.
                Err(ScheduleError::Unknown) => return Ok(()),
                Err(ScheduleError::Read(error)) => return Err(error),
                Err(_) => return Ok(()),
            };
            let Some((oldest, _)) = fires.last() else { return Ok(()) };
            before = Some(*oldest);
            // What cannot be read stands in the history as such.
            for entry in fires.into_iter().filter_map(|(_, entry)| entry.ok()) {
                if entry.at < from {
                    return Ok(());
                }
                if entry.at >= until {
                    continue;
                }
                match &entry.action {
                    Action::Fired { .. } if entry.made == Some(Made::Refused) && is_closed(&entry.errors) => {
                        all.skipped += 1;
                    }
                    Action::Fired { fire, .. } if entry.made == Some(Made::Refused) => {
                        all.refused += 1;
                        let why = entry.errors.first().map_or("refused", |first| first.code.as_str());
                        all.tell(GapView::new(id, (fire.at, fire.at, 1), why));
                    }
                    Action::Fired { late_ms, .. } => {
                        all.fired += 1;
                        all.late += u64::from(u128::from(*late_ms) > LATE.as_millis());
                    }
                    Action::Skipped { fires, .. } => all.skipped += fires.count,
                    Action::Missed { fires, reason } => {
                        all.missed += fires.count;
                        all.tell(GapView::new(id, (fires.first, fires.last, fires.count), &name(reason)));
                    }
                    _ => {}
                }
            }
        }
    }

    /// The next thing that begins by itself: a fire of a schedule, or the window of a mission.
    fn next_of_all(&self, parts: &Parts, now: Timestamp) -> Option<NextWindow> {
        let mut next: Option<NextWindow> = None;
        let mut offer = |at: Timestamp, schedule: Option<&str>, mission: Option<&str>| {
            if next.as_ref().is_none_or(|next| at < next.at) {
                let [schedule, mission_id] = [schedule, mission].map(|id| id.map(str::to_owned));
                next = Some(NextWindow { at, schedule, mission_id });
            }
        };
        let mut after: Option<String> = None;
        loop {
            let some = self.schedules(after.as_deref(), HEADS);
            let Some(last) = some.last() else { break };
            after = Some(last.schedule().id().to_owned());
            for state in &some {
                let (schedule, position) = (state.schedule(), state.position());
                // One that is paused for good is asked for no time at all.
                let held = |fire: &Fire| position.pauses().hold(fire.due);
                let fire = schedule.fires(now).take(LOOKED_AT).find(|fire| !held(fire));
                if let Some(fire) = fire.filter(|_| position.runs_left(schedule) != Some(0)) {
                    offer(fire.due, Some(schedule.id()), None);
                }
            }
        }
        let opens = parts.opens.iter().filter(|(_, at)| **at > now).map(|(no, at)| (*at, *no));
        if let Some((at, no)) = opens.min()
            && let Some(head) = self.log.head(no).ok().flatten()
        {
            offer(at, None, Some(head.mission_id.as_str()));
        }
        next
    }
}

impl Engine {
    /// The lanes, with what of a night they are shut.
    fn night_lanes(&self, from: Timestamp, until: Timestamp) -> Vec<NightLane> {
        let stretch = |(from, until)| StretchView { from, until };
        let lane = |(id, _): &(LaneId, usize)| {
            let closed = self.settings.hours.closed(id, from, until).into_iter().map(stretch).collect();
            NightLane { id: id.to_string(), closed }
        };
        self.settings.lanes.iter().map(lane).collect()
    }

    fn night_line(&self, no: MissionNo, head: &Head, part: Part) -> NightLine {
        // Only what is in memory lands now.
        let lands = !head.status.is_final() && self.lives.get(no).is_some_and(|live| live.with(Mission::lands));
        NightLine { lands, ..line(head, part) }
    }
}

fn line(head: &Head, part: Part) -> NightLine {
    let overview = head.overview.as_ref();
    let requests = overview.and_then(|overview| overview.pending.as_ref()).map(|pending| &pending.requests);
    NightLine {
        mission_id: head.mission_id.to_string(),
        vp_id: head.vp.to_string(),
        vp_runtime_id: head.lane.to_string(),
        left: part.left.as_str(),
        status: head.status,
        reason: overview.and_then(|overview| overview.reason),
        summary: overview.map(|overview| overview.summary.clone()).unwrap_or_default(),
        spent: SpendView::from(part.spent),
        autonomy_window: WindowView { start_at: head.start_at, end_at: head.end_at },
        accepted_at: head.accepted_at,
        started_at: overview.and_then(|overview| overview.started_at),
        asked_at: requests.and_then(|requests| requests.iter().map(|request| request.asked_at).min()),
        lands: false,
        ended_at: head.ended_at,
    }
}
