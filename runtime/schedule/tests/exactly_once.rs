//! Each due fire is exactly once fired, skipped with a reason, or recorded as missed: never both, never neither.
//!
//! Random schedules under random times: clocks that jump both ways, crashes between a decision and its record, restarts, pauses,
//! triggers, backfills, changes. A model that knows nothing but the actions counts what became of each time.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::sample::select;
use sortie_contract::{Status, Timestamp};
use sortie_schedule::{
    Action, BUFFER_MAX, CatchUpPolicy, LATE, Order, Origin, Overlap, Position, Schedule, Span, backfill, decide, ended,
    pause, resume, revise, settle, trigger, wakes_at,
};
use support::{at, schedule};

/// Something that happens.
#[derive(Debug, Clone)]
enum Act {
    Pass(i64),
    SetBack(i64),
    /// The node decides, and dies before it has recorded anything.
    Crash,
    Restart,
    End {
        which: usize,
        status: Status,
    },
    Pause(Option<i64>),
    Resume,
    Trigger(Option<Overlap>),
    Backfill {
        back: i64,
        length: i64,
        order: Order,
    },
    /// To that one; and how much of what is due the node still makes of the old one.
    Revise(usize, Option<usize>),
}

fn act() -> impl Strategy<Value = Act> {
    let overlap = || prop::option::of(select(&Overlap::ALL[..]));
    let order = prop_oneof![Just(Order::InTurn), Just(Order::Together)];
    prop_oneof![
        10 => (0..7_200_i64).prop_map(Act::Pass),
        3 => (0..400_000_i64).prop_map(Act::Pass),
        2 => (0..20_000_i64).prop_map(Act::SetBack),
        2 => Just(Act::Crash),
        2 => Just(Act::Restart),
        8 => (0..4_usize, select(vec![Status::Completed, Status::Failed, Status::TimedOut, Status::Cancelled]))
            .prop_map(|(which, status)| Act::End { which, status }),
        1 => prop::option::of(-4_000..20_000_i64).prop_map(Act::Pause),
        3 => Just(Act::Resume),
        1 => overlap().prop_map(Act::Trigger),
        1 => (0..200_000_i64, -100..60_000_i64, order).prop_map(|(back, length, order)| Act::Backfill { back, length, order }),
        1 => (0..4_usize, prop::option::of(0..3_usize)).prop_map(|(which, made)| Act::Revise(which, made)),
    ]
}

/// The lines of a schedule.
fn lines() -> impl Strategy<Value = String> {
    let when = select(vec![
        "zone = \"America/Chicago\"\nat = \"30 1,2 * * *\"",
        "zone = \"America/Chicago\"\nat = \"30 1,2 * * *\"\non_fold = \"both\"\non_gap = \"skip\"",
        "zone = \"Australia/Lord_Howe\"\nat = [\"*/20 1-3 * * *\", \"0 2 * * *\"]",
        "every = \"10m\"\noffset = \"3m\"",
        "every = \"7h\"\nexcept = \"2026-10-31..2026-11-01\"",
        "at = \"0 */3 * * *\"\nonce = [\"2026-11-01T01:30:00\", \"2026-11-03T00:00:00\"]",
        "at = \"* * * * *\"\nstart_at = \"2026-11-01T03:00:00\"\nend_at = \"2026-11-02T01:00:00Z\"",
    ]);
    let overlap = select(&Overlap::ALL[..]).prop_map(|overlap| format!("\noverlap = \"{}\"", overlap.as_str()));
    let catch_up = select(vec!["", "\ncatch_up = \"0s\"", "\ncatch_up = \"3h\"", "\ncatch_up = \"30d\""]);
    let policy = select(vec!["", "\ncatch_up_policy = \"last\"", "\ncatch_up_policy = \"none\""]);
    let window = select(vec!["", "\nopens_for = \"5m\"", "\nopens_for = \"4h\""]);
    let jitter = select(vec!["", "\njitter = \"4m\""]);
    let runs = select(vec!["", "", "\nruns = 9"]);
    let failures = select(vec!["", "\npause_after_failures = 2"]);
    (when, overlap, catch_up, policy, window, jitter, runs, failures).prop_map(
        |(when, overlap, catch_up, policy, window, jitter, runs, failures)| {
            // A window that is longer than ten minutes has no place where every fire waits.
            let window = if overlap.contains("buffer_all") { "" } else { window };
            format!("{when}{overlap}{catch_up}{policy}{window}{jitter}{runs}{failures}")
        },
    )
}

/// What the model counts.
struct Model {
    schedules: Vec<Schedule>,
    schedule: Schedule,
    position: Position,
    running: Vec<Timestamp>,
    now: Timestamp,
    /// What became of each of the schedule's own times: everything that was said of it for good.
    settled: BTreeMap<Timestamp, Vec<String>>,
    /// Names that scheduled and triggered missions have.
    named: BTreeSet<Timestamp>,
    /// Since when this schedule is the one.
    since: Timestamp,
}

impl Model {
    fn new(schedules: Vec<Schedule>) -> Self {
        let now = at("2026-10-31T20:00:00Z");
        Self {
            schedule: schedules[0].clone(),
            schedules,
            position: Position::new(now),
            running: vec![],
            now,
            settled: BTreeMap::new(),
            named: BTreeSet::new(),
            since: now,
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Pass(seconds) => self.now += SignedDuration::from_secs(*seconds),
            Act::SetBack(seconds) => self.now -= SignedDuration::from_secs(*seconds),
            Act::Crash => drop(decide(&self.schedule, &self.position, self.running.len(), self.now)),
            Act::Restart => {
                let kept = postcard::to_stdvec(&self.position).expect("a position is kept");
                self.position = postcard::from_bytes(&kept).expect("and read");
            }
            Act::End { which, status } if !self.running.is_empty() => {
                self.running.remove(which % self.running.len());
                let actions = ended(&self.schedule, &self.position, *status);
                self.take(&actions);
            }
            Act::End { .. } => {}
            Act::Pause(until) => {
                let until = until.map(|until| self.now + SignedDuration::from_secs(until));
                let actions = pause(&self.position, until, None);
                self.take(&actions);
            }
            Act::Resume => self.take(&resume(&self.position)),
            Act::Trigger(overlap) => {
                let actions = trigger(&self.schedule, &self.position, self.running.len(), self.now, *overlap);
                self.take(&actions.expect("no schedule here fires each second"));
            }
            Act::Backfill { back, length, order } => {
                let from = self.now - SignedDuration::from_secs(*back);
                if let Ok(actions) =
                    backfill(&self.schedule, &self.position, from, from + SignedDuration::from_secs(*length), *order)
                {
                    self.take(&actions);
                }
            }
            Act::Revise(which, made) => {
                let new = self.schedules[which % self.schedules.len()].clone();
                let mut settled = settle(&self.schedule, &self.position, self.running.len(), self.now);
                settled.truncate(made.unwrap_or(usize::MAX));
                self.take(&settled);
                let actions = revise(&self.schedule, &new, &self.position, self.now);
                let (last, before) = actions.split_last().expect("it is revised");
                self.take(before);
                self.hold_against_the_schedule();
                self.take(std::slice::from_ref(last));
                self.schedule = new;
                self.since = self.position.considered();
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            let actions = decide(&self.schedule, &self.position, self.running.len(), self.now);
            assert_eq!(
                actions,
                decide(&self.schedule, &self.position, self.running.len(), self.now),
                "it is a function"
            );
            if actions.is_empty() {
                break;
            }
            self.take(&actions);
        }
        let wakes = wakes_at(&self.schedule, &self.position, self.now);
        assert!(wakes.is_none_or(|wakes| wakes > self.now), "nothing is left to do at {}: {wakes:?}", self.now);
    }

    fn take(&mut self, actions: &[Action]) {
        for action in actions {
            self.look_at(action);
            let kept = postcard::to_stdvec(action).expect("an action is recorded");
            assert_eq!(postcard::from_bytes(&kept).as_ref(), Ok(action), "and read");
            let considered = self.position.considered();
            self.position.apply(action);
            assert!(self.position.considered() >= considered, "a position never goes back");
            assert!(self.position.waiting().count() <= BUFFER_MAX);
        }
    }

    fn look_at(&mut self, action: &Action) {
        match action {
            Action::Fired { fire, origin, waited, .. } => {
                if *origin != Origin::Backfilled {
                    assert!(self.named.insert(fire.at), "{} names two missions", fire.at);
                }
                if *origin == Origin::Scheduled {
                    self.may_fire(*fire, *waited);
                    self.settled.entry(fire.at).or_default().push("fired".to_owned());
                }
                self.running.push(fire.at);
            }
            Action::CancelledOthers => self.running.clear(),
            Action::Skipped { fires, origin: Origin::Scheduled, reason, .. } => {
                self.settle_span(fires, &format!("{reason:?}"));
            }
            Action::Missed { fires, reason } => self.settle_span(fires, &format!("{reason:?}")),
            _ => {}
        }
    }

    /// What must hold whenever one of the schedule's own times is fired.
    fn may_fire(&self, fire: sortie_schedule::Fire, waited: bool) {
        let schedule = &self.schedule;
        assert!(fire.due <= self.now, "not before it is due");
        assert!(!self.position.pauses().hold(self.now), "nothing runs after a pause");
        assert!(!schedule.window(fire, Origin::Scheduled, self.now).is_over(self.now), "nor after its window");
        assert_ne!(self.position.runs_left(schedule), Some(0), "nor more often than it may");
        let late = self.now.duration_since(fire.due);
        let on_time = late <= SignedDuration::try_from(LATE).expect("in range");
        if !waited && !on_time {
            assert!(late <= SignedDuration::try_from(schedule.catch_up()).expect("in range"), "nor later than it may");
            assert_ne!(schedule.catch_up_policy(), CatchUpPolicy::None);
        }
        if !waited && matches!(schedule.overlap(), Overlap::Skip | Overlap::BufferOne | Overlap::BufferAll) {
            assert!(self.running.is_empty(), "nor beside another");
        }
    }

    fn settle_span(&mut self, span: &Span, reason: &str) {
        let before = span.first - SignedDuration::from_secs(1);
        // A schedule that was changed may not have the times of one that waits any more.
        let mut times: Vec<Timestamp> =
            self.schedule.fires(before).map(|fire| fire.at).take_while(|at| *at <= span.last).collect();
        if span.count == 1 {
            times = vec![span.first];
        }
        assert_eq!(u64::try_from(times.len()), Ok(span.count), "a span says how many there are");
        for at in times {
            self.settled.entry(at).or_default().push(reason.to_owned());
        }
    }

    /// Every time of the schedule since it is the one, as far as the position has come: settled once, or waiting.
    fn hold_against_the_schedule(&self) {
        let waiting: BTreeSet<Timestamp> = self
            .position
            .waiting()
            .filter(|waiting| waiting.origin == Origin::Scheduled)
            .map(|waiting| waiting.fire.at)
            .collect();
        for (at, outcomes) in &self.settled {
            assert_eq!(outcomes.len(), 1, "{at} was settled more than once: {outcomes:?}");
            assert!(!waiting.contains(at), "{at} was settled and waits");
        }
        let considered = self.position.considered();
        for fire in self.schedule.fires(self.since).take_while(|fire| fire.at <= considered) {
            assert!(self.settled.contains_key(&fire.at) || waiting.contains(&fire.at), "{} vanished", fire.at);
        }
        let runs_out = self.position.runs_left(&self.schedule) == Some(0);
        let next = self.schedule.next(considered);
        assert!(runs_out || next.is_none_or(|next| next.due > self.now), "what is due has been considered");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_due_fire_is_settled_exactly_once(
        lines in prop::collection::vec(lines(), 1..4),
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let schedules: Vec<Schedule> = lines.iter().map(|lines| schedule(lines)).collect();
        let mut model = Model::new(schedules);
        for act in &acts {
            model.act(act);
        }
        model.hold_against_the_schedule();
    }
}
