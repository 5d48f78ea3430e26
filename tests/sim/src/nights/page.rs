//! What became of the times of one schedule, followed from entry to entry of its history and held against its recurrence: each
//! entry must be about the next time of all, so that none is left out and none is told of twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use sortie_contract::envelope::Envelope;
use sortie_contract::record::Record;
use sortie_contract::{MissionNo, Timestamp};
use sortie_journal::{Journal, Kept};
use sortie_mission::Mission;
use sortie_schedule::{
    Action, Backfill, Calendars, CatchUpPolicy, Fire, Form, LATE, MissReason, Order, Origin, Overlap, Pauses, Position,
    Schedule, SkipReason, Span, Waiting,
};

use crate::check;
use crate::scene::Scene;

/// One schedule, since it was made.
pub(crate) struct Page {
    id: String,
    pub(crate) version: u64,
    last_fire: u64,
    pub(crate) revision: u64,
    pub(crate) definition: String,
    pub(crate) schedule: Schedule,
    /// All its times up to here have been told of.
    pub(crate) considered: Timestamp,
    waiting: Vec<Waiting>,
    backfills: VecDeque<Backfill>,
    pub(crate) pauses: Pauses,
    failures: u32,
    fired: u64,
    /// Entries that somebody triggered.
    pub(crate) triggers: u64,
    /// Missions that it made.
    made: BTreeSet<String>,
    /// Those of them that have not ended, as far as anybody has looked.
    open: BTreeMap<MissionNo, String>,
    /// Since when nothing of its own may fire, for it was told so: until then, or for ever.
    pub(crate) held: Option<Option<Timestamp>>,
}

/// What stands beside the history.
struct Told {
    revision: u64,
    schedule: Value,
    position: Position,
    running: BTreeMap<u64, String>,
}

impl Told {
    fn read(kept: &Kept) -> Self {
        let definition: Value = serde_json::from_str(&kept.definition).expect("a definition is JSON");
        let progress: Value = serde_json::from_str(&kept.position).expect("a position is JSON");
        let read = |value: &Value| serde_json::from_value(value.clone()).expect("a position");
        let running = serde_json::from_value(progress["running"].clone()).expect("missions");
        let revision = definition["revision"].as_u64().expect("a number");
        Self { revision, schedule: definition["schedule"].clone(), position: read(&progress["position"]), running }
    }

    fn schedule(&self) -> Schedule {
        Schedule::parse(&self.schedule.to_string(), Form::Json, &Calendars::none()).expect("a schedule is kept")
    }
}

impl Page {
    /// Of a schedule that is new.
    pub(crate) fn begin(id: &str, kept: &Kept) -> Self {
        let told = Told::read(kept);
        assert_eq!((kept.version, kept.last_fire, told.revision), (1, 0, 1), "{id} begins in the middle");
        assert_eq!(told.position, Position::new(told.position.considered()), "{id} begins with a past");
        Self {
            id: id.to_owned(),
            version: 1,
            last_fire: 0,
            revision: 1,
            definition: kept.definition.clone(),
            schedule: told.schedule(),
            considered: told.position.considered(),
            waiting: Vec::new(),
            backfills: VecDeque::new(),
            pauses: Pauses::default(),
            failures: 0,
            fired: 0,
            triggers: 0,
            made: BTreeSet::new(),
            open: BTreeMap::new(),
            held: None,
        }
    }

    /// Takes up the next change. The missions that it made are what is returned.
    pub(crate) fn follow(&mut self, scene: &Scene, journal: &Journal, kept: &Kept) -> Vec<String> {
        assert_eq!(kept.version, self.version + 1, "a change of {} was written over", self.id);
        let told = Told::read(kept);
        self.look(scene, journal);
        let entries = usize::try_from(kept.last_fire - self.last_fire).expect("a few");
        let mut fires = journal.fires(&self.id, None, entries).expect("a readable history");
        fires.reverse();
        let mut made = Vec::new();
        for (no, text) in fires {
            self.last_fire += 1;
            assert_eq!(no, self.last_fire, "a gap in the history of {}", self.id);
            scene.line(&format!("{} {no}: {text}", self.id));
            let entry: Value = serde_json::from_str(&text).expect("an entry is JSON");
            let action: Action = serde_json::from_value(entry["action"].clone()).expect("an action");
            self.take(scene, &action);
            if let Action::Fired { fire, .. } = action {
                made.extend(self.mission(scene, journal, fire, &entry, &told));
            }
        }
        assert_eq!(self.last_fire, kept.last_fire, "{}: the history is short", self.id);
        if told.revision != self.revision {
            self.revise(scene, &told);
        }
        self.definition.clone_from(&kept.definition);
        self.version = kept.version;
        self.is_where(&told);
        made
    }

    /// Looks which of its missions have ended, and whether those ran in their windows.
    fn look(&mut self, scene: &Scene, journal: &Journal) {
        let head = |no: MissionNo| journal.head(no).expect("a readable head");
        let has_ended = |no: &MissionNo| head(*no).is_none_or(|head| head.ended_at.is_some());
        let ended: Vec<MissionNo> = self.open.keys().copied().filter(has_ended).collect();
        for no in ended {
            self.open.remove(&no);
            let records = journal.read(no).expect("a readable mission");
            let Some(Record::Accepted(accepted)) = records.first().map(|first| &first.record) else { continue };
            let envelope = Envelope::parse(&accepted.envelope).expect("it was accepted").envelope;
            let mission = Mission::fold(Arc::new(envelope), &records).expect("its own records");
            check::window(&mission, &records);
            (0..mission.carried_over()).for_each(|_| scene.count("carried over"));
        }
    }

    /// The mission of a fire that is on record.
    fn mission(&mut self, scene: &Scene, journal: &Journal, fire: Fire, entry: &Value, told: &Told) -> Option<String> {
        let id = self.schedule.mission_id(fire.at).to_string();
        assert_eq!(entry["mission_id"], Value::from(id.as_str()), "the mission of another time");
        let no = told.running.iter().find(|(_, name)| **name == id).map(|(no, _)| MissionNo(*no));
        match entry["made"].as_str() {
            Some("made") => {
                let no = no.unwrap_or_else(|| panic!("{id} was made, and {} does not know its number", self.id));
                let head = journal.head(no).expect("a readable head");
                let head = head.unwrap_or_else(|| panic!("{id} was made, and there is no mission"));
                assert_eq!(head.mission_id.as_str(), id, "another mission");
                assert!(self.made.insert(id.clone()), "{id} was made twice");
                self.open.insert(no, id.clone());
                scene.count("made");
                Some(id)
            }
            Some("found") => {
                scene.count("found");
                assert!(self.made.contains(&id), "{id} is another's");
                self.open.extend(no.map(|no| (no, id)));
                None
            }
            Some("refused") => {
                scene.count("refused");
                assert!(!self.made.contains(&id), "{id} is its own");
                assert!(entry["errors"][0]["code"].is_string(), "{id} was refused without a word");
                None
            }
            other => panic!("{id}: {other:?}"),
        }
    }

    fn take(&mut self, scene: &Scene, action: &Action) {
        match action {
            Action::Fired { fire, origin, waited, late_ms } => {
                self.fired(*fire, *origin, *waited, scene.clock.latest());
                self.in_time(*late_ms);
                scene.count(match (origin, waited, *late_ms > 60_000) {
                    (Origin::Scheduled, true, _) => "fired after it waited",
                    (Origin::Scheduled, false, true) => "fired late",
                    (Origin::Scheduled, false, false) => "fired",
                    (Origin::Triggered, ..) => "triggered",
                    (Origin::Backfilled, ..) => "filled in",
                });
            }
            Action::CancelledOthers => scene.count("others cancelled"),
            Action::Buffered { waiting } => {
                self.pass(waiting.origin, Span::one(waiting.fire.at));
                self.waiting.push(*waiting);
                scene.count("buffered");
            }
            Action::Skipped { fires, origin, waited, reason } => {
                self.skipped(*fires, *origin, *waited, *reason);
                scene.count(match reason {
                    SkipReason::Overlap => "skipped: overlap",
                    SkipReason::BufferFull => "skipped: buffer full",
                    SkipReason::Superseded => "skipped: superseded",
                    SkipReason::Paused => "skipped: paused",
                    SkipReason::WindowOver => "skipped: window over",
                    SkipReason::RunsOut => "skipped: runs out",
                    SkipReason::Revised => "skipped: revised",
                });
            }
            Action::Missed { fires, reason } => {
                self.pass(Origin::Scheduled, *fires);
                let policy = self.schedule.catch_up_policy();
                let (is_so, what) = match reason {
                    MissReason::TooLate => (policy != CatchUpPolicy::None, "missed: too late"),
                    MissReason::WindowOver => (self.schedule.opens_for().is_some(), "missed: window over"),
                    MissReason::NotCaughtUp => (policy == CatchUpPolicy::None, "missed: not caught up"),
                    MissReason::NotTheLast => (policy == CatchUpPolicy::Last, "missed: not the last"),
                };
                assert!(is_so, "{}: {fires:?} {reason:?}, which its policy does not say", self.id);
                scene.count(what);
            }
            Action::BackfillBegan { backfill } => self.backfills.push_back(*backfill),
            Action::BackfillEnded => {
                let ended = self.backfills.pop_front().expect("a backfill that began");
                let next = self.schedule.next(ended.after);
                assert!(next.is_none_or(|fire| fire.at > ended.to), "{}: {next:?} is not filled in", self.id);
                scene.count("filled in to its end");
            }
            Action::Failures { count } => self.failures = *count,
            Action::Paused { pauses } => {
                let neither = self.pauses.by_hand.is_some() <= pauses.by_hand.is_some()
                    && self.pauses.after_failures.is_some() <= pauses.after_failures.is_some();
                assert!(neither, "{}: one pause lifts another", self.id);
                scene.count(if pauses.after_failures == self.pauses.after_failures {
                    "paused"
                } else {
                    "paused after failures"
                });
                self.pauses = pauses.clone();
            }
            Action::Resumed => {
                (self.pauses, self.failures) = (Pauses::default(), 0);
                scene.count("resumed");
            }
            Action::Revised { .. } => panic!("a change stands with the schedule, not in its history"),
        }
    }

    fn fired(&mut self, fire: Fire, origin: Origin, waited: bool, latest: Timestamp) {
        let id = &self.id;
        if origin == Origin::Scheduled {
            assert!(fire.due <= latest, "{id}: {} fires before its time", fire.at);
            assert!(
                !self.may_not(fire, waited, latest),
                "{id}: {} fires while it is paused: {:?}",
                fire.at,
                self.pauses
            );
            let together = matches!(self.schedule.overlap(), Overlap::AllowAll | Overlap::CancelOther);
            assert!(together || self.open.is_empty(), "{id}: {} fires beside {:?}", fire.at, self.open);
            self.fired += 1;
            let runs = self.schedule.runs().map(u64::from);
            assert!(runs.is_none_or(|runs| self.fired <= runs), "{id}: it fires too often");
        }
        if origin == Origin::Backfilled && self.backfills.front().is_some_and(|one| one.order == Order::InTurn) {
            assert!(self.open.is_empty(), "{id}: {} is filled in beside {:?}", fire.at, self.open);
        }
        if waited { self.leave(origin, fire.at) } else { self.pass(origin, Span::one(fire.at)) }
    }

    /// Whether a pause is in the way: one of the history, or one of which somebody was told.
    fn may_not(&self, fire: Fire, waited: bool, latest: Timestamp) -> bool {
        let by_hand = self.pauses.by_hand.as_ref().map(|pause| pause.until);
        let lasts =
            |until: Option<Timestamp>| until.is_none_or(|until| latest < until || (!waited && fire.due < until));
        self.pauses.after_failures.is_some() || by_hand.is_some_and(lasts) || self.held.is_some_and(lasts)
    }

    fn in_time(&self, late_ms: u64) {
        let late = std::time::Duration::from_millis(late_ms);
        let is_caught_up = self.schedule.catch_up_policy() != CatchUpPolicy::None && late <= self.schedule.catch_up();
        assert!(late <= LATE || is_caught_up, "{}: it fires {late:?} late", self.id);
    }

    fn skipped(&mut self, fires: Span, origin: Origin, waited: bool, reason: SkipReason) {
        let is_so = match reason {
            SkipReason::Paused => self.pauses != Pauses::default(),
            SkipReason::Superseded => self.schedule.overlap() == Overlap::CancelOther,
            SkipReason::WindowOver => waited && self.schedule.opens_for().is_some(),
            SkipReason::RunsOut => waited && self.schedule.runs().is_some_and(|runs| self.fired >= u64::from(runs)),
            SkipReason::Overlap | SkipReason::BufferFull | SkipReason::Revised => !waited,
        };
        assert!(is_so, "{}: {fires:?} skipped, {reason:?}: {:?}", self.id, self.pauses);
        if waited {
            assert_eq!(fires.count, 1, "each waits for itself");
            self.leave(origin, fires.first);
        } else {
            self.pass(origin, fires);
        }
    }

    /// A fire that waited does so no more.
    fn leave(&mut self, origin: Origin, at: Timestamp) {
        let place = self.waiting.iter().position(|waiting| waiting.origin == origin && waiting.fire.at == at);
        self.waiting.remove(place.unwrap_or_else(|| panic!("{}: {at} did not wait", self.id)));
    }

    /// These are told of: of the schedule's own times, they are the next ones.
    fn pass(&mut self, origin: Origin, fires: Span) {
        let id = &self.id;
        match origin {
            Origin::Scheduled => {
                let mut times = self.schedule.fires(self.considered).map(|fire| fire.at);
                assert_eq!(times.next(), Some(fires.first), "{id}: a time is told of twice, or left out");
                let further = usize::try_from(fires.count - 1).expect("a few");
                let last = if further == 0 { Some(fires.first) } else { times.nth(further - 1) };
                assert_eq!(last, Some(fires.last), "{id}: {fires:?} are others");
                self.considered = fires.last;
            }
            Origin::Triggered => {
                assert!(!self.schedule.fires_at(fires.first), "{id}: a trigger takes the name of a fire");
                self.triggers += 1;
            }
            Origin::Backfilled => {
                let front = self.backfills.front_mut().expect("a backfill that began");
                let next = self.schedule.next(front.after).map(|fire| fire.at);
                assert_eq!(next, Some(fires.first), "{id}: a time is filled in twice, or left out");
                assert!(fires.first <= front.to, "{id}: more is filled in than was asked for");
                front.after = fires.first;
            }
        }
    }

    /// It is another one from now on. What was the old one's and due has been told of.
    fn revise(&mut self, scene: &Scene, told: &Told) {
        assert_eq!(told.revision, self.revision + 1, "{}: a revision is missing", self.id);
        let considered = told.position.considered();
        let left = self.schedule.next(self.considered).filter(|fire| fire.at <= considered);
        assert!(self.runs_out() || left.is_none(), "{}: {left:?} vanishes with a change", self.id);
        self.considered = self.considered.max(considered);
        (self.revision, self.schedule) = (told.revision, told.schedule());
        scene.count("revised");
    }

    fn runs_out(&self) -> bool {
        self.schedule.runs().is_some_and(|runs| self.fired >= u64::from(runs))
    }

    /// What is kept of how far it has come is what its history comes to.
    fn is_where(&self, told: &Told) {
        let position = &told.position;
        assert_eq!(position.considered(), self.considered, "{} is elsewhere", self.id);
        assert!(position.waiting().eq(&self.waiting), "{}: others wait", self.id);
        assert!(position.backfills().eq(&self.backfills), "{}: others are filled in", self.id);
        assert_eq!((position.pauses(), position.failures()), (&self.pauses, self.failures), "{}", self.id);
        let enough = self.schedule.runs().map(|runs| u64::from(runs).saturating_sub(self.fired));
        assert_eq!(position.runs_left(&self.schedule), enough, "{}: other runs are left", self.id);
        for (no, name) in &self.open {
            assert_eq!(told.running.get(&no.0), Some(name), "{} has lost sight of a mission", self.id);
        }
    }

    /// Nothing of it is left to do at this time.
    pub(crate) fn is_up_to(&mut self, scene: &Scene, journal: &Journal, now: Timestamp) {
        self.look(scene, journal);
        let next = self.schedule.next(self.considered).filter(|fire| fire.due <= now);
        assert!(self.runs_out() || next.is_none(), "{}: nobody sees to {next:?}", self.id);
        let free = |waiting: &&Waiting| waiting.origin != Origin::Scheduled || waiting.fire.due <= now;
        let waits = self.waiting.iter().find(free).filter(|_| !self.pauses.hold(now));
        assert!(waits.is_none() || !self.open.is_empty(), "{}: {waits:?} still waits", self.id);
    }

    /// When it is due next, if nothing else happens.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        let due = self.schedule.next(self.considered).map(|fire| fire.due).filter(|_| !self.runs_out());
        let until = self.pauses.by_hand.as_ref().and_then(|pause| pause.until);
        due.into_iter().chain(until).min()
    }
}
