//! Another world, in which two or three nodes write one store: who acts next.
//!
//! All that holds of the missions of one node holds of those of all together, whichever is asked, and whoever has them at the moment: the
//! ledger is read from the store, and what a node does of which another has taken over what it had is held against that. Links are cut, all at
//! once or one; commits go astray; nodes are killed, frozen for longer than their lease, drained, and started anew.

mod node;

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use sortie_ambient::Joined;
use sortie_contract::Timestamp;
use sortie_journal::MemoryFleet;
use sortie_journal::sim::FarLink;
use tempfile::TempDir;

use self::node::{LEASE, Line, Node};
use crate::check;
use crate::envelope::{RETENTION, envelope};
use crate::executor::Step;
use crate::ledger::{Side, Source};
use crate::life::find;
use crate::outside::{Client, Outside};
use crate::panics;
use crate::people::People;
use crate::scene::Scene;
use crate::shop;
use crate::store::Folder;
use crate::tools::land;

/// What nodes are called.
const NAMES: [&str; 3] = ["factory-1", "factory-2", "factory-3"];

/// Steps of a drained history that would be too many: something goes round in a circle.
const DRAIN_STEPS_MAX: usize = 100_000;

/// Questions of one control plane that wait for an answer, at most.
const DISPATCHES_MAX: u32 = 3;

/// See the module.
pub(crate) struct Fleet {
    scene: Arc<Scene>,
    store: MemoryFleet,
    places: Vec<Place>,
    /// Control planes that wait for the answer of a node.
    dispatches: Vec<(usize, usize, Joined<()>)>,
}

/// Where a node is, or will be again.
struct Place {
    name: &'static str,
    folder: Folder,
    _room: TempDir,
    line: Line,
    life: Option<Node>,
    /// It does nothing until then, by the steady clock, and knows nothing of it.
    frozen_until: Option<Duration>,
    /// It is started again then.
    down_until: Duration,
    /// It has failed, and so many steps pass until it is gone.
    fails_in: Option<u32>,
    /// What former lives have sent.
    late: Vec<FarLink>,
}

impl Place {
    /// The node, while it does anything.
    fn awake(&self) -> Option<&Node> {
        self.life.as_ref().filter(|_| self.frozen_until.is_none())
    }
}

/// Ordinary work that somebody can do now; a number is a node, a client, or a place among others.
#[derive(Debug, Clone, Copy)]
enum Work {
    Node(usize, Step),
    Late(usize),
    Dispatch(usize),
    SendOn(usize),
    Decide(usize),
    Unpark(usize),
    Stray(usize),
}

impl Fleet {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let wall: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a time");
        let nodes = rng.usize(2..=3);
        let mut outside = Outside { faults: true, shop: shop::State::open(), is_fleet: true, ..Outside::default() };
        for client in 0..rng.usize(2..=6) {
            // Any of them, or whichever has room.
            let target = NAMES[..nodes].get(client % (nodes + 1)).copied().unwrap_or("*");
            let (texts, parsed) = envelope(&mut rng, client, wall, false, target);
            let (script, moody) = (rng.u64(..), rng.u8(..40) == 0);
            outside.clients.push(Client::new(texts, parsed, script, moody));
        }
        let store = MemoryFleet::new(LEASE);
        let scene = Arc::new(Scene::on(store.clone(), rng, wall, outside));
        let folder = Folder::new(&scene);
        let place = |name| {
            let room = tempfile::tempdir().expect("room for workspaces");
            let folder = folder.beside(&room.path().join("workspaces"));
            Place {
                name,
                folder,
                _room: room,
                line: Line::new(&scene),
                life: None,
                frozen_until: None,
                down_until: Duration::ZERO,
                fails_in: None,
                late: Vec::new(),
            }
        };
        let places = NAMES[..nodes].iter().copied().map(place).collect();
        let mut fleet = Self { scene, store, places, dispatches: Vec::new() };
        (0..nodes).for_each(|node| fleet.begin(node));
        fleet
    }

    pub(crate) fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Lives through a history: first with faults, then until all is over.
    pub(crate) fn live(&mut self) {
        for _ in 0..self.scene.roll(|rng| rng.u32(400..2_000)) {
            match self.scene.roll(|rng| rng.u8(..200)) {
                0..=3 => self.fault(),
                4..=13 => self.let_time_pass(),
                _ => drop(self.work()),
            }
            self.look();
        }
        self.scene.line("no more faults");
        self.scene.outside(|outside| (outside.faults, outside.disk_is_low) = (false, false));
        self.scene.in_shop("the shop opens", |shop| shop.is_open = true);
        for place in &mut self.places {
            place.line.cut(Duration::ZERO);
            (place.frozen_until, place.down_until) = (None, Duration::ZERO);
        }
        for _ in 0..DRAIN_STEPS_MAX {
            let is_idle = !self.work();
            if is_idle {
                if self.is_over() {
                    return self.close();
                }
                self.help();
            }
            if is_idle || self.scene.one_in(40) {
                self.let_time_pass();
            }
            self.look();
        }
        let turns: Vec<_> = self.awake().map(|(_, node)| node.engine.turns()).collect();
        panic!("it does not come to an end, or somebody has a turn for ever: {turns:?}");
    }

    /// What nobody but people can do, where nothing goes on by itself.
    fn help(&self) {
        for (_, node) in self.awake().filter(|(_, node)| node.engine.turns().paused) {
            node.people.pause(false);
        }
        for client in self.clients() {
            if self.scene.side(client, |side| side.ended().is_none()) == Some(true)
                && let Some(people) = self.asked(client)
            {
                people.go_on_empty(client);
            }
        }
    }

    /// All is over: nothing is left of it in the nodes, and what is in the store is whole.
    fn close(&mut self) {
        assert_eq!(self.scene.outside(|outside| outside.in_memory.len()), 0, "a plugin is in memory");
        self.dispatches.clear();
        for place in &mut self.places {
            place.life.take().into_iter().for_each(|node| drop(node.end()));
        }
        panics::check();
        find(&self.scene, &self.places[0].folder, &Source::Store(self.store.clone()));
        for index in self.clients() {
            self.scene.side(index, |side| self.scene.client(index, |client| check::over(client, side)));
        }
    }

    fn is_over(&self) -> bool {
        let open = |index: &usize| {
            let is_done = self.scene.client(*index, |client| client.rejected || client.forgotten);
            !self.scene.side(*index, Side::is_over).unwrap_or(is_done)
        };
        let is_quiet = self
            .scene
            .outside(|outside| outside.waiting == 0 && outside.strays.is_empty() && outside.sent_on.is_empty());
        // Also of one that does not know yet that another has what it had.
        let has_turns = |node: &Node| {
            let turns = node.engine.turns();
            (turns.queued, turns.running, node.engine.suspended(), node.engine.undelivered()) != (0, 0, 0, 0)
        };
        is_quiet
            && self.places.iter().all(|place| place.awake().is_some_and(|node| !has_turns(node)))
            && !self.clients().iter().any(open)
    }

    fn awake(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.places.iter().enumerate().filter_map(|(number, place)| Some((number, place.awake()?)))
    }

    /// One of the nodes that are awake.
    fn any(&self) -> Option<usize> {
        let awake: Vec<usize> = self.awake().map(|(number, _)| number).collect();
        (!awake.is_empty()).then(|| awake[self.scene.roll(|rng| rng.usize(..awake.len()))])
    }

    fn clients(&self) -> Vec<usize> {
        (0..self.scene.outside(|outside| outside.clients.len())).collect()
    }

    /// Those who are asked about a client's mission, whichever node somebody turned to; nobody, where that is away.
    fn asked(&self, client: usize) -> Option<&People> {
        let node = self.places[self.any()?].life.as_ref()?;
        let id = self.scene.client(client, |client| client.envelope.mission_id.clone());
        if node.engine.find(id.as_str()).is_ok_and(|no| no.is_some()) {
            return Some(&node.people);
        }
        let holder = node.engine.holder(id.as_str()).ok().flatten()?;
        let there = self.places.iter().find(|place| place.name == holder.name)?;
        let Some(node) = there.awake() else {
            self.scene.count("question about a mission whose node is away");
            return None;
        };
        self.scene.count("question that is sent on");
        Some(&node.people)
    }

    fn begin(&mut self, node: usize) {
        let Self { scene, store, places, .. } = self;
        let place = &mut places[node];
        place.life = Some(Node::begin(scene, &place.folder, (node, place.name), (store, &place.line)));
    }

    /// A node is gone, and is started again some time.
    fn end(&mut self, node: usize) {
        self.dispatches.retain(|(of, _, _)| *of != node);
        let wait = match self.scene.outside(|outside| outside.faults) && self.scene.one_in(2) {
            true => self.scene.roll(|rng| Duration::from_secs(rng.u64(..120))),
            false => Duration::ZERO,
        };
        let place = &mut self.places[node];
        let Some(life) = place.life.take() else { return };
        place.late.push(life.end());
        (place.fails_in, place.frozen_until) = (None, None);
        place.down_until = self.scene.clock.steady() + wait;
        panics::check();
    }

    /// What holds at every moment; nodes that have failed or were stopped end, and others begin.
    fn look(&mut self) {
        panics::check();
        self.scene.ledger(|_| ());
        let mut dispatches = std::mem::take(&mut self.dispatches);
        dispatches.retain(|(_, client, _)| !self.is_old(*client));
        self.dispatches = dispatches;
        let steady = self.scene.clock.steady();
        for number in 0..self.places.len() {
            let place = &mut self.places[number];
            if place.frozen_until.is_some_and(|until| until <= steady) {
                place.frozen_until = None;
                self.scene.line(&format!("node {number} wakes"));
                place.life.iter().for_each(|node| node.executor.ring());
            }
            if place.life.is_none() && place.down_until <= steady {
                self.begin(number);
                continue;
            }
            let Some(node) = place.awake() else { continue };
            if node.has_stopped() {
                self.scene.count(if node.has_failed() { "stopped after it was fenced" } else { "stopped in order" });
                self.end(number);
            } else if node.has_failed() {
                match place.fails_in {
                    None => {
                        let fails_in = self.scene.roll(|rng| rng.u32(..40));
                        if self.scene.one_in(3) {
                            node.stop(false);
                        }
                        place.fails_in = Some(fails_in);
                    }
                    Some(0) => self.end(number),
                    Some(left) => place.fails_in = Some(left - 1),
                }
            } else {
                assert_eq!(node.engine.dead_task(), None, "a background task has died");
            }
        }
    }

    /// All the ordinary work that there is.
    fn open_work(&self) -> Vec<Work> {
        let mut all = Vec::new();
        for (number, node) in self.awake() {
            all.extend(node.executor.steps().into_iter().map(|step| Work::Node(number, step)));
        }
        let late = |(number, place): (usize, &Place)| (!place.late.is_empty()).then_some(Work::Late(number));
        all.extend(self.places.iter().enumerate().filter_map(late));
        let (strays, sent_on, faults, busy) = self
            .scene
            .outside(|outside| (outside.strays.len(), outside.sent_on.len(), outside.faults, outside.waiting > 8));
        all.extend((0..strays).map(Work::Stray));
        all.extend((0..sent_on).map(Work::SendOn));
        for index in self.clients() {
            let is_to_dispatch = self.scene.client(index, |client| {
                client.accepted.is_none() && !client.rejected && !client.forgotten && client.dispatches == 0
            });
            if is_to_dispatch && (!faults || self.scene.one_in(4)) {
                all.push(Work::Dispatch(index));
            }
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
        let all = self.open_work();
        if all.is_empty() {
            return false;
        }
        match all[self.scene.roll(|rng| rng.usize(..all.len()))] {
            Work::Node(number, step) => {
                let node = self.places[number].awake();
                node.expect("it was listed").executor.take(step);
            }
            Work::Late(number) => self.comes_late(number),
            Work::Dispatch(client) => self.dispatch(client, 0),
            Work::SendOn(place) => {
                let (client, text, name) = self.scene.outside(|outside| outside.sent_on.swap_remove(place));
                self.send_on(client, text, &name);
            }
            Work::Decide(client) => self.asked(client).into_iter().for_each(|people| people.decide(client)),
            Work::Unpark(client) => self.unpark(client, self.scene.one_in(8)),
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

    /// What a former life has sent comes after all, or never does.
    fn comes_late(&mut self, number: usize) {
        let late = &mut self.places[number].late;
        let which = self.scene.roll(|rng| rng.usize(..late.len()));
        let link = late.swap_remove(which);
        if self.scene.one_in(2)
            && let Some(is_taken) = link.comes_late()
        {
            self.scene.written();
            self.scene.count(if is_taken { "commit of a node that is gone" } else { "commit that comes too late" });
        }
    }

    fn unpark(&self, client: usize, skip: bool) {
        self.asked(client).into_iter().for_each(|people| people.unpark(client, skip));
    }

    fn dispatch(&mut self, client: usize, text: usize) {
        let Some(number) = self.any() else { return };
        let node = self.places[number].awake().expect("it is awake");
        self.dispatches.push((number, client, node.people.dispatch(client, text)));
    }

    /// A node sends on to another what is not its own to take.
    fn send_on(&mut self, client: usize, text: usize, name: &str) {
        let Some(number) = self.places.iter().position(|place| place.name == name) else { return };
        let Some(node) = self.places[number].awake() else {
            return self.scene.count("dispatch that is sent on to nobody");
        };
        if !self.is_old(client) {
            self.scene.count("dispatch that is sent on");
            self.dispatches.push((number, client, node.people.dispatch_to(client, text, true)));
        }
    }

    fn dispatch_again(&mut self, client: usize) {
        let can = self.scene.client(client, |client| !client.forgotten && client.dispatches < DISPATCHES_MAX);
        if can && !self.is_old(client) {
            // Often as before, now and then something else by mistake.
            let text = self.scene.roll(|rng| [0, 0, 0, 1, 2][rng.usize(..5)]);
            self.dispatch(client, text);
        }
    }

    /// Whether a mission may soon be kept no more: nobody dispatches it again then, for it would be another one.
    fn is_old(&self, client: usize) -> bool {
        let wall = self.scene.clock.wall();
        let is_old =
            |side: &Side| side.mission.ended_at().is_some_and(|ended| wall.duration_since(ended) * 2 >= RETENTION);
        self.scene.side(client, is_old).unwrap_or(false)
    }

    /// Time passes: a little, much, or until something is due. Who is not cut off gives signs of life all the while, mostly.
    fn let_time_pass(&mut self) {
        let dice = self.scene.roll(|rng| rng.u8(..20));
        let passes = match dice {
            0..=5 => self.until_due(),
            6..=15 => self.scene.roll(|rng| Duration::from_millis(rng.u64(1..2_000))),
            16..=18 => self.scene.roll(|rng| Duration::from_millis(rng.u64(1_000..60_000))),
            _ => self.scene.roll(|rng| Duration::from_millis(rng.u64(60_000..3_600_000))),
        };
        self.scene.pass(passes);
        for (number, node) in self.awake() {
            if !self.places[number].line.is_cut() && !self.scene.one_in(10) {
                node.link.stays_heard();
            }
            node.executor.ring();
        }
    }

    /// Until something is due: a timer, a window, an answer, a node that wakes or starts.
    fn until_due(&self) -> Duration {
        let (wall, steady) = (self.scene.clock.wall(), self.scene.clock.steady());
        let until = |at: Timestamp| Duration::try_from(at.duration_since(wall)).ok();
        let mut all: Vec<Duration> = Vec::new();
        for (_, node) in self.awake() {
            all.extend(node.executor.timers().into_iter().map(|at| at.saturating_sub(steady)));
        }
        for place in &self.places {
            all.extend(place.frozen_until.map(|at| at.saturating_sub(steady)));
            all.extend(place.life.is_none().then(|| place.down_until.saturating_sub(steady)));
        }
        let due = self.scene.ledger(|ledger| {
            let windows = ledger.sides.values().filter(|side| side.ended().is_none()).flat_map(|side| {
                let window = side.mission.envelope().window;
                let asked = side.mission.open_requests().iter().map(|open| open.expires_at);
                let put_off = side.mission.postponed_until();
                window.start_at.into_iter().chain(window.end_at).chain(asked).chain(put_off).collect::<Vec<_>>()
            });
            windows.filter_map(until).collect::<Vec<_>>()
        });
        // The nodes' own looks at each other come every other second.
        if !due.is_empty() && self.scene.one_in(2) {
            all = due;
        }
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
        let number = self.scene.roll(|rng| rng.usize(..self.places.len()));
        match self.scene.roll(|rng| rng.u8(..32)) {
            0..=3 if self.places[number].life.is_some() => {
                self.scene.count("node that is killed");
                self.end(number);
            }
            0..=3 => {}
            4..=6 => self.freeze(number),
            7..=9 => {
                self.scene.count("link that is cut");
                self.cut(number, 90);
            }
            10 => {
                self.scene.count("fail-over");
                (0..self.places.len()).for_each(|number| self.cut(number, 60));
            }
            11 => self.jump(),
            12 => {
                let paused = self.scene.one_in(2);
                self.places[number].awake().into_iter().for_each(|node| node.people.pause(paused));
            }
            13 | 14 => self.take_receivers_down(),
            15 | 16 if self.scene.one_in(3) => {
                self.asked(client).into_iter().for_each(|people| people.cancel(client));
            }
            17 => self.places[number].awake().into_iter().for_each(|node| node.stop(false)),
            18 => {
                self.scene.count("node that is drained");
                self.places[number].awake().into_iter().for_each(|node| node.stop(true));
            }
            19..=21 => self.dispatch_again(client),
            22 => self.asked(client).into_iter().for_each(|people| people.decide_again(client)),
            23 | 24 => self.asked(client).into_iter().for_each(|people| people.go_on_empty(client)),
            25 => {
                // Two operators at once.
                self.unpark(client, self.scene.one_in(2));
                self.unpark(client, self.scene.one_in(2));
            }
            26 | 27 => {
                let has = self.scene.roll(|rng| rng.u8(..));
                self.scene.in_shop("the shop has other tools", |shop| shop.turns_over(has));
            }
            28 => self.scene.in_shop("the shop closes", |shop| shop.is_open = false),
            29 => self.scene.in_shop("the shop opens", |shop| shop.is_open = true),
            30 => self.scene.outside(|outside| outside.models.edition += 1),
            _ => {}
        }
    }

    /// A node does nothing for a while, often for longer than its lease. What it had sent comes, or does not.
    fn freeze(&mut self, number: usize) {
        let lasts = self.scene.roll(|rng| Duration::from_secs(rng.u64(1..180)));
        let place = &mut self.places[number];
        if place.awake().is_some() {
            self.scene.count(if lasts > LEASE { "node that freezes for long" } else { "node that freezes" });
            self.scene.line(&format!("node {number} freezes for {lasts:?}"));
            place.frozen_until = Some(self.scene.clock.steady() + lasts);
        }
    }

    fn cut(&self, number: usize, seconds_max: u64) {
        let until = self.scene.clock.steady() + Duration::from_secs(self.scene.roll(|rng| rng.u64(1..seconds_max)));
        self.places[number].line.cut(until);
        self.scene.line(&format!("node {number} is cut off"));
    }

    fn take_receivers_down(&self) {
        let down_until = self.scene.clock.steady() + Duration::from_millis(self.scene.roll(|rng| rng.u64(..3_600_000)));
        self.scene.outside(|outside| {
            outside.receivers.values_mut().for_each(|receiver| receiver.down_until = down_until);
        });
        self.scene.line("receivers go down");
    }

    /// Somebody sets the wall clock.
    fn jump(&self) {
        let by = Duration::from_secs(self.scene.roll(|rng| rng.u64(..100_000)));
        let back = self.scene.one_in(2);
        self.scene.count(if back { "clock set back" } else { "clock set forward" });
        self.scene.clock.set(by, back);
        self.scene.line("the clock was set");
    }
}
