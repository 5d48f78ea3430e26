//! A world in which schedules make the missions: months and years of nights, laptops that are shut, clocks that are set, people who
//! change their minds, and crashes at any step.
//!
//! It believes nothing that the driver says of itself: each change of a schedule is read back from the journal and held against the
//! schedule's own recurrence.

mod book;
mod page;
mod plan;
mod planners;
mod sleepers;

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use jiff::SignedDuration;
use sortie_contract::{Timestamp, limit};
use sortie_engine::NodeHours;
use sortie_journal::Journal;
use sortie_journal::sim::{Crash, SimDisk};
use sortie_mission::Retentions;
use sortie_tools::{BuiltIn, Providers};

use self::book::{Book, NAMES};
use self::planners::{Planners, Wish, wish};
use self::sleepers::Sleepers;
use crate::executor::{Executor, Step};
use crate::life::{Life, Outfit, no_models};
use crate::outside::Outside;
use crate::panics;
use crate::scene::Scene;
use crate::store::Folder;

/// Steps of one day that would be too many: something goes round in a circle.
const SETTLE_STEPS_MAX: usize = 400_000;

/// How often a little time passes with nothing written, until nothing more will be: whoever rests, rests for a second.
const QUIET: u32 = 8;
const LITTLE: Duration = Duration::from_millis(300);

/// Everything.
pub(crate) struct Nights {
    scene: Arc<Scene>,
    folder: Folder,
    life: Option<Life>,
    planners: Planners,
    book: Book,
    /// The journal has failed, and so many steps pass until the node is gone.
    fails_in: Option<u32>,
    /// Time passes so often, with faults.
    moments: u32,
}

impl Nights {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let begins: Timestamp = "2026-01-01T12:00:00Z".parse().expect("a time");
        let wall = begins + SignedDuration::from_secs(rng.i64(0..100_000_000));
        let moments = rng.u32(40..400);
        let scene = Arc::new(Scene::new(rng, wall, Outside { faults: true, ..Outside::default() }));
        let folder = Folder::new(&scene);
        let life = None;
        let mut nights =
            Self { scene, folder, life, planners: Planners::default(), book: Book::default(), fails_in: None, moments };
        nights.begin(SimDisk::default());
        nights
    }

    pub(crate) fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Lives through a history: first with faults, then until nothing is left to do.
    pub(crate) fn live(&mut self) {
        let begun = self.scene.clock.steady();
        while self.moments > 0 {
            match self.scene.roll(|rng| rng.u16(..1_000)) {
                0..=4 => self.fault(),
                5..=16 => self.somebody_asks(),
                17..=30 => self.let_time_pass(),
                _ if self.work() => {}
                _ => self.let_time_pass(),
            }
            self.look();
        }
        self.scene.line("no more faults");
        self.scene.outside(|outside| (outside.faults, outside.disk_is_low) = (false, false));
        self.life().disk.fail_at(u64::MAX);
        self.life().disk.fills_at(u64::MAX);
        self.settle();
        let now = self.scene.clock.wall();
        let Self { scene, life, book, .. } = self;
        book.is_up_to(scene, &life.as_ref().expect("there is always one").journal, now);
        for _ in 0..(self.scene.clock.steady() - begun).as_secs() / 86_400 {
            self.scene.count("day");
        }
        self.close();
    }

    /// Nothing fires any more; all that was made comes to its end, and is on disk.
    fn close(&mut self) {
        for id in NAMES.into_iter().filter(|id| self.book.page(id).is_some()).collect::<Vec<_>>() {
            self.ask(id, Wish::Pause(None));
        }
        self.settle();
        // Whoever sleeps wakes, and windows that a clock which was set back has shut open again. What was carried over is held up by
        // the pause until each of its windows is over.
        for _ in 0..=limit::CARRY_OVER {
            self.pass(Duration::from_secs(40 * 86_400), true);
            self.settle();
        }
        self.crash(Crash::PowerKeepsNothing);
        self.book.is_all(&self.life().journal);
        // Nothing holds up what is of no schedule any more.
        for id in NAMES.into_iter().filter(|id| self.book.page(id).is_some()).collect::<Vec<_>>() {
            self.ask(id, Wish::Remove);
        }
        for _ in 0..2 {
            self.pass(Duration::from_secs(40 * 86_400), true);
            self.settle();
        }
        let turns = self.life().engine.turns();
        assert_eq!(
            (turns.queued, turns.running, self.life().engine.suspended()),
            (0, 0, 0),
            "somebody has a turn for ever"
        );
        let open = |_, head: sortie_journal::Head| assert!(head.ended_at.is_some(), "{} has no end", head.mission_id);
        self.life().journal.scan_oldest_first(open).expect("readable heads");
        self.life.take().expect("there is one").end(Crash::Process);
    }

    fn life(&self) -> &Life {
        self.life.as_ref().expect("there is always one")
    }

    /// The node starts on what a disk holds: what was on record is, and the next thing may be.
    fn begin(&mut self, disk: SimDisk) {
        let (scene, book) = (&self.scene, &mut self.book);
        let look = |journal: &Journal| {
            book.follow(scene, journal);
            book.is_all(journal);
        };
        let outfit = |executor: &Arc<Executor>| Outfit {
            guests: Arc::new(Sleepers { scene: Arc::clone(scene), executor: Arc::downgrade(executor) }),
            tools: Providers::new(BuiltIn::of(Vec::new()), Vec::new(), scene.clock.wall()).expect("there are none"),
            models: no_models(executor),
            retention: Retentions::default(),
            hours: NodeHours::default(),
            budgets: Vec::new(),
        };
        self.life = Some(Life::on(scene, &self.folder, disk, look, outfit));
    }

    fn crash(&mut self, crash: Crash) {
        let disk = self.life.take().expect("there is always one").end(crash);
        panics::check();
        self.planners.hear();
        self.book.hang_up();
        self.fails_in = None;
        self.begin(disk);
    }

    fn kind_of_crash(&self) -> Crash {
        match self.scene.roll(|rng| rng.u8(..3)) {
            0 => Crash::Process,
            1 => Crash::Power { seed: self.scene.roll(|rng| rng.u64(..)) },
            _ => Crash::PowerKeepsNothing,
        }
    }

    /// What holds at every moment; and the end of a node that has failed or was stopped.
    fn look(&mut self) {
        panics::check();
        for answer in self.planners.hear() {
            self.book.hear(&self.scene, &answer);
        }
        if self.life().has_stopped() {
            self.scene.count("stopped in order");
            return self.crash(Crash::PowerKeepsNothing);
        }
        if self.life().has_failed() {
            match self.fails_in {
                None => {
                    self.scene.count("crash in a commit");
                    self.fails_in = Some(self.scene.roll(|rng| rng.u32(..40)));
                }
                Some(0) => {
                    let crash = self.kind_of_crash();
                    self.crash(crash);
                }
                Some(left) => self.fails_in = Some(left - 1),
            }
            return;
        }
        assert_eq!(self.life().engine.dead_task(), None, "a background task has died");
    }

    /// Somebody goes on; false, where nobody has anything to do.
    fn work(&mut self) -> bool {
        let steps = self.life().executor.steps();
        if steps.is_empty() {
            return false;
        }
        let step = steps[self.scene.roll(|rng| rng.usize(..steps.len()))];
        self.take(step);
        true
    }

    fn take(&mut self, step: Step) {
        let Self { scene, life, book, .. } = self;
        let life = life.as_ref().expect("there is always one");
        life.executor.take(step);
        // Whoever waits for room lets the journal go on.
        if matches!(step, Step::Commit | Step::Work(_)) && !life.has_failed() {
            book.follow(scene, &life.journal);
        }
    }

    /// How much is on record of missions, and of schedules; run clocks, which are kept all the time, are no part of it.
    fn on_record(&self) -> (u64, u64) {
        (*self.life().journal.durable().borrow(), self.book.versions())
    }

    /// Lets a little time pass, again and again, until nothing more happens.
    fn settle(&mut self) {
        let (mut quiet, mut before) = (0, self.on_record());
        for _ in 0..SETTLE_STEPS_MAX {
            if !self.work() {
                let now = self.on_record();
                if now != before {
                    (quiet, before) = (0, now);
                }
                if quiet == QUIET {
                    return;
                }
                quiet += 1;
                self.pass(LITTLE, true);
            }
            self.look();
        }
        panic!("it does not come to rest: {:?}", self.life().engine.turns());
    }

    fn pass(&self, duration: Duration, awake: bool) {
        if awake {
            self.scene.clock.pass(duration);
        } else {
            self.scene.clock.set(duration, false);
        }
        self.life().executor.ring();
    }

    /// Time passes: a little, much, or until something is due; a laptop is shut, and its steady clock stands still.
    fn let_time_pass(&mut self) {
        self.moments = self.moments.saturating_sub(1);
        let awake = !self.scene.one_in(12);
        let most_ms = match self.scene.roll(|rng| rng.u8(..40)) {
            0..=15 => return self.pass(self.until_due(), true),
            16..=24 => 1_000,
            25..=29 => 600_000,
            30..=37 => 86_400_000,
            38 => 7 * 86_400_000,
            _ => 35 * 86_400_000,
        };
        if !awake {
            self.scene.count("laptop shut");
        }
        self.pass(Duration::from_millis(self.scene.roll(|rng| rng.u64(1..most_ms))), awake);
    }

    /// Until a schedule is due.
    fn until_due(&self) -> Duration {
        let wall = self.scene.clock.wall();
        let until = |at: Timestamp| Duration::try_from(at.duration_since(wall)).ok().filter(|left| !left.is_zero());
        let due = self.book.pages().filter_map(|page| page.due().and_then(until)).min();
        due.unwrap_or(Duration::from_secs(3_600)).min(Duration::from_secs(40 * 86_400))
    }

    /// Something that nobody wishes for.
    fn fault(&mut self) {
        match self.scene.roll(|rng| rng.u8(..16)) {
            0..=5 => {
                self.scene.count("crash between two commits");
                let crash = self.kind_of_crash();
                self.crash(crash);
            }
            6..=10 => {
                // The disk fails in one of the next commits.
                let disk = &self.life().disk;
                disk.fail_at(disk.ops() + self.scene.roll(|rng| rng.u64(..20)));
            }
            11 | 12 => {
                let back = self.scene.one_in(2);
                self.scene.count(if back { "clock set back" } else { "clock set forward" });
                self.scene.clock.set(Duration::from_secs(self.scene.roll(|rng| rng.u64(..200_000))), back);
                self.scene.line("the clock was set");
            }
            13 => self.life().stop(),
            _ => {
                let is_low = self.scene.one_in(4);
                self.scene.outside(|outside| outside.disk_is_low = is_low);
            }
        }
    }

    /// Somebody wants something of a schedule; of one that is not there, that it be.
    fn somebody_asks(&mut self) {
        let id = NAMES[self.scene.roll(|rng| rng.usize(..NAMES.len()))];
        let wall = self.scene.clock.wall();
        let wish = match self.book.page(id) {
            Some(page) if !self.scene.one_in(30) => wish(&self.scene, id, page.revision),
            _ => Wish::Make(Box::new(self.scene.roll(|rng| plan::plan(rng, id, wall)))),
        };
        self.ask(id, wish);
    }

    fn ask(&mut self, id: &'static str, wish: Wish) {
        let life = self.life.as_ref().expect("there is always one");
        self.scene.line(&format!("{id}: question {}: {wish}", self.planners.asked() + 1));
        self.book.ask(id, &wish, self.planners.asked() + 1);
        self.planners.ask(&life.engine, &life.executor, id, wish);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sortie_schedule::{Calendars, Form, Schedule};

    use super::*;

    #[test]
    fn a_clock_that_is_set_back_while_a_schedule_rests_makes_it_rest_no_longer() {
        panics::watch();
        let mut nights = Nights::new(0);
        let disk_is_low = |nights: &Nights, is_low| {
            nights.scene.outside(|outside| (outside.faults, outside.disk_is_low) = (false, is_low));
        };
        disk_is_low(&nights, false);
        let mission = json!({"vp_id": "vp", "mission_type": "automation", "objective": "Do.", "inputs": {"steps": []}});
        let text = json!({"id": "often", "every": "3h", "mission": mission}).to_string();
        let schedule = Schedule::parse(&text, Form::Json, &Calendars::none()).expect("a schedule");
        nights.ask("often", Wish::Make(Box::new(schedule)));
        nights.settle();
        // It is due, there is no room for its mission, and it rests.
        disk_is_low(&nights, true);
        nights.pass(Duration::from_secs(4 * 3_600), true);
        nights.settle();
        let before = nights.book.page("often").expect("it was made").considered;
        nights.scene.clock.set(Duration::from_secs(1_800), true);
        disk_is_low(&nights, false);
        nights.settle();
        let now = nights.scene.clock.wall();
        nights.book.is_up_to(&nights.scene, &nights.life.as_ref().expect("there is one").journal, now);
        assert!(nights.book.page("often").expect("it was made").considered > before, "nothing was due");
        panics::forget();
    }
}
