//! Who acts next: somebody who has something to do, time, or a fault.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use sortie_ambient::Joined;
use sortie_contract::{MicroUsd, Timestamp};
use sortie_journal::sim::{Crash, SimDisk};

use crate::check;
use crate::envelope::{ALONE, RETENTION, envelope};
use crate::executor::Step;
use crate::forks;
use crate::kin;
use crate::ledger::Side;
use crate::life::Life;
use crate::money;
use crate::outside::{Client, Outside};
use crate::panics;
use crate::scene::Scene;
use crate::shop;
use crate::store::Folder;
use crate::tools::land;

/// Steps of a drained history that would be too many: something goes round in a circle.
const DRAIN_STEPS_MAX: usize = 50_000;

/// Questions of one control plane that wait for an answer, at most.
const DISPATCHES_MAX: u32 = 3;

/// Everything.
pub(crate) struct World {
    scene: Arc<Scene>,
    folder: Folder,
    life: Option<Life>,
    /// Control planes that wait for an answer.
    dispatches: Vec<(usize, Joined<()>)>,
    /// The disk is slow: so many steps pass without a commit.
    stalled: u32,
    /// The journal has failed, and so many steps pass until the node is gone.
    fails_in: Option<u32>,
    /// So many forks are still wanted.
    forks: u32,
}

/// What a node tells a moment later it tells within so many.
const MOMENTS_MAX: u32 = 20;

/// Longer than a node that waits for room waits at once.
const MOMENT: Duration = Duration::from_millis(600);

/// Ordinary work that somebody can do now; a number is a client, or the place of a call.
#[derive(Debug, Clone, Copy)]
enum Work {
    Node(Step),
    Dispatch(usize),
    Decide(usize),
    Unpark(usize),
    Stray(usize),
}

impl Work {
    /// Whether it is for people to do, who may be slow.
    fn is_peoples(&self) -> bool {
        matches!(self, Self::Decide(_) | Self::Unpark(_))
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(seed, false)
    }

    /// Of plugins that ask eight models at once and have ten cents each.
    pub(crate) fn thrifty(seed: u64) -> Self {
        Self::of(seed, true)
    }

    /// In which plugins dispatch missions, and those others.
    pub(crate) fn families(seed: u64) -> Self {
        let world = Self::of(seed, false);
        world.scene.outside(|outside| outside.families = true);
        world
    }

    /// In which people fork missions, those that go on and those that have ended, and forks.
    pub(crate) fn forking(seed: u64) -> Self {
        let world = Self::of(seed, false);
        let forks = world.scene.roll(|rng| rng.u32(2..=6));
        Self { forks, ..world }
    }

    fn of(seed: u64, thrifty: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let wall: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a time");
        let mut outside = Outside { faults: true, shop: shop::State::open(), thrifty, ..Outside::default() };
        outside.models.honest = thrifty;
        // In one history of three there is less for all than they would take.
        let enough = if thrifty { 500_000 } else { 2_000_000 };
        outside.purse = (rng.u8(..3) == 0).then(|| MicroUsd(rng.u64(enough / 4..enough)));
        for client in 0..rng.usize(2..=6) {
            let (texts, parsed) = envelope(&mut rng, client, wall, thrifty, ALONE);
            let (script, moody) = (rng.u64(..), rng.u8(..40) == 0);
            outside.clients.push(Client::new(texts, parsed, script, moody));
        }
        let scene = Arc::new(Scene::new(rng, wall, outside));
        let folder = Folder::new(&scene);
        let life = Some(Life::begin(&scene, &folder, SimDisk::default()));
        Self { scene, folder, life, dispatches: Vec::new(), stalled: 0, fails_in: None, forks: 0 }
    }

    pub(crate) fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Lives through a history: first with faults, then until all is over.
    pub(crate) fn live(&mut self) {
        for _ in 0..self.scene.roll(|rng| rng.u32(200..1_200)) {
            match self.scene.roll(|rng| rng.u8(..200)) {
                0..=5 => self.fault(),
                6..=13 => self.let_time_pass(),
                _ => drop(self.work()),
            }
            if self.forks > 0 && self.scene.one_in(100) {
                self.fork();
            }
            self.look();
        }
        self.scene.line("no more faults");
        self.scene.outside(|outside| (outside.faults, outside.disk_is_low) = (false, false));
        self.scene.in_shop("the shop opens", |shop| shop.is_open = true);
        let life = self.life();
        // A disk that has failed already stays so, and its node is on its way out.
        life.disk.fail_at(u64::MAX);
        life.disk.fills_at(u64::MAX);
        self.stalled = 0;
        let mut patience = MOMENTS_MAX;
        for _ in 0..DRAIN_STEPS_MAX {
            // In a family people are slow: who is asked hears of it before anything is decided.
            let is_let_rest = self.scene.outside(|outside| outside.families) && self.work_of(|work| !work.is_peoples());
            if !is_let_rest && !self.life().has_failed() {
                // A node that waits for room in its log tells a moment later.
                match self.scene.ledger(|ledger| kin::untold(&self.scene, ledger)) {
                    None => patience = MOMENTS_MAX,
                    Some(_) if patience > 0 => {
                        patience -= 1;
                        self.scene.clock.pass(MOMENT);
                        self.life().executor.ring();
                        continue;
                    }
                    Some(untold) => panic!("{untold}"),
                }
            }
            let is_idle = !is_let_rest && !self.work_of(|_| true);
            // One whose journal has failed does nothing more, and leaves it to the next.
            if is_idle && !self.life().has_failed() {
                self.scene.ledger(kin::no_orphans);
            }
            if is_idle && self.is_over() {
                if self.fork() {
                    continue;
                }
                return self.close();
            }
            if is_idle && self.life().engine.turns().paused {
                // A crash, or somebody who was late, has paused it again.
                self.life().people.pause(false);
            }
            if is_idle || self.scene.one_in(40) {
                self.let_time_pass();
            }
            self.look();
        }
        panic!("it does not come to an end, or somebody has a turn for ever: {:?}", self.life().engine.turns());
    }

    /// All is over: nothing is left of it in the node, and what is on disk is whole.
    fn close(&mut self) {
        let life = self.life();
        assert_eq!(life.engine.suspended(), 0, "somebody is suspended");
        assert_eq!(life.engine.undelivered(), 0, "something is to be delivered");
        assert_eq!(self.scene.outside(|outside| outside.in_memory.len()), 0, "a plugin is in memory");
        self.crash(Crash::PowerKeepsNothing);
        for index in self.clients() {
            self.scene.side(index, |side| self.scene.client(index, |client| check::over(client, side)));
        }
        self.scene.ledger(|ledger| money::all_within(&self.scene, ledger.sides.values()));
        let life = self.life.take().expect("there is one");
        life.end(Crash::Process);
    }

    fn is_over(&self) -> bool {
        let open = |index: &usize| {
            let is_done = self.scene.client(*index, |client| client.rejected || client.forgotten);
            !self.scene.side(*index, Side::is_over).unwrap_or(is_done)
        };
        let is_quiet = self.scene.outside(|outside| outside.waiting == 0 && outside.strays.is_empty());
        // A turn whose mission is over may wait a moment for the queue of the disk, and needs time to pass for that.
        let turns = self.life().engine.turns();
        is_quiet && (turns.queued, turns.running) == (0, 0) && !self.clients().iter().any(open)
    }

    fn life(&self) -> &Life {
        self.life.as_ref().expect("there is always one")
    }

    fn clients(&self) -> Vec<usize> {
        (0..self.scene.outside(|outside| outside.clients.len())).collect()
    }

    /// What holds at every moment; and the end of a node that has failed or was stopped.
    fn look(&mut self) {
        panics::check();
        self.scene.ledger(|_| ());
        let mut dispatches = std::mem::take(&mut self.dispatches);
        dispatches.retain(|(client, _)| !self.is_old(*client));
        self.dispatches = dispatches;
        let life = self.life();
        if life.has_stopped() {
            self.scene.count("stopped in order");
            // Everything that was handed over is on disk.
            return self.crash(Crash::PowerKeepsNothing);
        }
        if life.has_failed() {
            match self.fails_in {
                None => {
                    self.scene.count("crash in a commit");
                    self.fails_in = Some(self.scene.roll(|rng| rng.u32(..40)));
                    if self.scene.one_in(3) {
                        // As it does by itself when its journal fails.
                        self.life().stop();
                    }
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

    /// All the ordinary work that there is.
    fn open_work(&self) -> Vec<Work> {
        let is_stalled = self.stalled > 0;
        let steps = self.life().executor.steps();
        let mut all: Vec<Work> =
            steps.into_iter().filter(|step| !(is_stalled && *step == Step::Commit)).map(Work::Node).collect();
        let (strays, faults) = self.scene.outside(|outside| (outside.strays.len(), outside.faults));
        all.extend((0..strays).map(Work::Stray));
        for index in self.clients() {
            let is_to_dispatch = self.scene.client(index, |client| {
                let is_asked = client.accepted.is_some() || client.rejected || client.dispatches > 0;
                !is_asked && !client.forgotten && client.depth == 0
            });
            if is_to_dispatch {
                all.push(Work::Dispatch(index));
            }
            let busy = self.scene.outside(|outside| outside.waiting) > 8;
            let (asks, is_parked) = self
                .scene
                .side(index, |side| (!side.mission.open_requests().is_empty(), side.is_parked()))
                .unwrap_or_default();
            if asks && !busy && (!faults || self.scene.one_in(3)) {
                all.push(Work::Decide(index));
            }
            if is_parked && !busy && (!faults || self.scene.one_in(3)) {
                all.push(Work::Unpark(index));
            }
        }
        all
    }

    /// Somebody does something; false, where nobody has anything to do.
    fn work(&mut self) -> bool {
        self.work_of(|_| true)
    }

    /// The same, of what is wanted.
    fn work_of(&mut self, is_wanted: impl Fn(&Work) -> bool) -> bool {
        self.stalled = self.stalled.saturating_sub(1);
        let mut all = self.open_work();
        all.retain(is_wanted);
        if all.is_empty() {
            return false;
        }
        let place = self.scene.roll(|rng| rng.usize(..all.len()));
        match all[place] {
            Work::Node(step) => self.life().executor.take(step),
            Work::Dispatch(client) => self.dispatch(client, 0),
            Work::Decide(client) => self.life().people.decide(client),
            Work::Unpark(client) => self.life().people.unpark(client, self.scene.one_in(8)),
            Work::Stray(place) => {
                let stray = self.scene.outside(|outside| outside.strays.swap_remove(place));
                if self.scene.one_in(2) {
                    self.scene.count("effect after nobody waited for it");
                    land(&self.scene, stray.client, stray.call, stray.repeat);
                }
            }
        }
        true
    }

    /// Time passes: a little, much, or until something is due.
    fn let_time_pass(&mut self) {
        let dice = self.scene.roll(|rng| rng.u8(..20));
        let passes = match dice {
            0..=3 => self.until_due(),
            4..=14 => self.scene.roll(|rng| Duration::from_millis(rng.u64(1..1_000))),
            15..=18 => self.scene.roll(|rng| Duration::from_millis(rng.u64(1_000..600_000))),
            _ => self.scene.roll(|rng| Duration::from_millis(rng.u64(600_000..7_200_000))),
        };
        self.scene.clock.pass(passes);
        self.life().executor.ring();
    }

    /// Until something is due: a timer, a window, an answer.
    fn until_due(&self) -> Duration {
        let (wall, steady) = (self.scene.clock.wall(), self.scene.clock.steady());
        let until = |at: Timestamp| Duration::try_from(at.duration_since(wall)).ok();
        let mut all: Vec<Duration> =
            self.life().executor.timers().into_iter().map(|at| at.saturating_sub(steady)).collect();
        let due = self.scene.ledger(|ledger| {
            let windows = ledger.sides.values().filter(|side| side.ended().is_none()).flat_map(|side| {
                let window = side.mission.envelope().window;
                let asked = side.mission.open_requests().iter().map(|open| open.expires_at);
                let put_off = side.mission.postponed_until();
                window.start_at.into_iter().chain(window.end_at).chain(asked).chain(put_off).collect::<Vec<_>>()
            });
            windows.filter_map(until).collect::<Vec<_>>()
        });
        all.extend(due);
        all.retain(|left| !left.is_zero());
        if all.is_empty() {
            return Duration::from_secs(1);
        }
        all[self.scene.roll(|rng| rng.usize(..all.len()))]
    }

    /// Something that nobody wishes for, or that few do.
    fn fault(&mut self) {
        let clients = self.clients();
        let client = clients[self.scene.roll(|rng| rng.usize(..clients.len()))];
        match self.scene.roll(|rng| rng.u8(..29)) {
            0..=3 => {
                self.scene.count("crash between two commits");
                let crash = self.kind_of_crash();
                self.crash(crash);
            }
            4..=6 => {
                // The disk fails in one of the next commits.
                let disk = &self.life().disk;
                disk.fail_at(disk.ops() + self.scene.roll(|rng| rng.u64(..20)));
            }
            7 => {
                self.scene.count("full disk");
                let disk = &self.life().disk;
                disk.fills_at(disk.bytes() / 2);
            }
            8 | 9 => self.jump(),
            10 => self.life().people.pause(self.scene.one_in(2)),
            11 | 12 => self.take_receivers_down(),
            13 | 14 if self.scene.one_in(3) => self.life().people.cancel(client),
            15 if self.scene.one_in(20) => self.life().people.halt(),
            16 | 17 => self.dispatch_again(client),
            18 => self.life().people.decide_again(client),
            19 => self.life().stop(),
            20 => {
                let is_low = self.scene.one_in(2);
                self.scene.outside(|outside| outside.disk_is_low = is_low);
            }
            21 => {
                // Two operators at once.
                self.life().people.unpark(client, self.scene.one_in(2));
                self.life().people.unpark(client, self.scene.one_in(2));
            }
            22 | 23 => self.stalled = self.scene.roll(|rng| rng.u32(..200)),
            24 | 25 => {
                let has = self.scene.roll(|rng| rng.u8(..));
                self.scene.in_shop("the shop has other tools", |shop| shop.turns_over(has));
            }
            26 => self.scene.in_shop("the shop closes", |shop| shop.is_open = false),
            27 => self.scene.in_shop("the shop opens", |shop| shop.is_open = true),
            28 => {
                self.scene.count("models that change");
                self.scene.line("the models have other prices");
                self.scene.outside(|outside| outside.models.edition += 1);
            }
            _ => {}
        }
    }

    /// Somebody forks a mission; false, where nobody wants to, or there is none.
    fn fork(&mut self) -> bool {
        let mut there = self.clients();
        there.retain(|client| self.forks > 0 && self.scene.no_of(*client).is_some() && !self.is_old(*client));
        if there.is_empty() {
            return false;
        }
        self.forks -= 1;
        let of = there[self.scene.roll(|rng| rng.usize(..there.len()))];
        let fork = forks::client(&self.scene, of);
        fork.is_some_and(|fork| {
            self.dispatch(fork, 0);
            true
        })
    }

    fn dispatch(&mut self, client: usize, text: usize) {
        let people = &self.life().people;
        let forks = self.scene.client(client, |client| client.fork.is_some());
        let waits = if forks { people.fork(client, text) } else { people.dispatch(client, text) };
        self.dispatches.push((client, waits));
    }

    fn dispatch_again(&mut self, client: usize) {
        let can = self
            .scene
            .client(client, |client| !client.forgotten && client.depth == 0 && client.dispatches < DISPATCHES_MAX);
        if can && !self.is_old(client) {
            // Often as before, now and then something else by mistake.
            let text = self.scene.roll(|rng| [0, 0, 0, 1, 2][rng.usize(..5)]);
            // A fork that is not there would be another one.
            let is_unsure = self.scene.client(client, |client| client.fork.is_some() && client.accepted.is_none());
            self.dispatch(client, if is_unsure { 0 } else { text });
        }
    }

    /// Whether a mission may soon be kept no more: nobody dispatches it again then, for it would be another one.
    fn is_old(&self, client: usize) -> bool {
        let wall = self.scene.clock.wall();
        let is_old =
            |side: &Side| side.mission.ended_at().is_some_and(|ended| wall.duration_since(ended) * 2 >= RETENTION);
        self.scene.side(client, is_old).unwrap_or(false)
    }

    fn take_receivers_down(&self) {
        let down_until = self.scene.clock.steady() + Duration::from_millis(self.scene.roll(|rng| rng.u64(..3_600_000)));
        let down = self
            .scene
            .outside(|outside| outside.receivers.values_mut().map(|receiver| receiver.down_until = down_until).count());
        self.scene.line(&format!("{down} receivers go down"));
    }

    /// Somebody sets the wall clock.
    fn jump(&self) {
        let by = Duration::from_secs(self.scene.roll(|rng| rng.u64(..100_000)));
        let back = self.scene.one_in(2);
        self.scene.count(if back { "clock set back" } else { "clock set forward" });
        self.scene.clock.set(by, back);
        self.scene.line("the clock was set");
    }

    fn kind_of_crash(&self) -> Crash {
        match self.scene.roll(|rng| rng.u8(..3)) {
            0 => Crash::Process,
            1 => Crash::Power { seed: self.scene.roll(|rng| rng.u64(..)) },
            _ => Crash::PowerKeepsNothing,
        }
    }

    /// The node is gone, and comes back on what the disk holds.
    fn crash(&mut self, crash: Crash) {
        self.dispatches.clear();
        let disk = self.life.take().expect("there is always one").end(crash);
        panics::check();
        (self.fails_in, self.stalled) = (None, 0);
        self.life = Some(Life::begin(&self.scene, &self.folder, disk));
    }
}
