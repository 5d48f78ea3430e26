//! Who acts next: somebody who has something to do, time, or a fault.

use std::time::Duration;

use fastrand::Rng;
use sortie_contract::record::Record;
use sortie_contract::{MissionNo, Timestamp};
use sortie_journal::sim::{Crash, SimDisk};
use sortie_mission::Command;

use crate::check;
use crate::envelope::envelope;
use crate::history::History;
use crate::node::{Node, Stage, Task};
use crate::outside::{Client, Outside};

/// Steps of a drained history that would be too many: something goes round in a circle.
const DRAIN_STEPS_MAX: usize = 50_000;

/// Everything.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) wall: Timestamp,
    /// From a clock that never jumps.
    pub(crate) steady_ms: u64,
    /// The wall clock was: what had begun in its window may now be before it.
    pub(crate) was_set_back: bool,
    pub(crate) history: History,
    pub(crate) outside: Outside,
    pub(crate) node: Node,
    /// Calls that have left the node and that no run waits for any more.
    pub(crate) strays: Vec<Stray>,
    /// Whether there are faults, still.
    pub(crate) faults: bool,
}

/// A call that no run waits for any more.
pub(crate) struct Stray {
    pub(crate) no: MissionNo,
    pub(crate) task: Task,
    /// The node that made it is gone: its result comes to nobody.
    pub(crate) is_orphan: bool,
}

/// Ordinary work that somebody can do now; a number is a client, or the place of a task.
#[derive(Debug, Clone, Copy)]
enum Work {
    Dispatch(usize),
    Commit,
    Turn,
    Plugin(usize),
    Task(usize),
    Stray(usize),
    Decide(usize),
    Suspend(usize),
    Deliver(usize),
    Redeliver(usize),
    Remove(usize),
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let wall: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a time");
        let mut outside = Outside::default();
        for client in 0..rng.usize(2..=6) {
            let (text, parsed) = envelope(&mut rng, client, wall);
            let (script, moody) = (rng.u64(..), rng.u8(..40) == 0);
            outside.clients.push(Client::new(text, parsed, script, moody));
        }
        let node = Node::open(SimDisk::default(), &outside, Duration::ZERO);
        Self {
            rng,
            wall,
            steady_ms: 0,
            was_set_back: false,
            history: History::default(),
            outside,
            node,
            strays: Vec::new(),
            faults: true,
        }
    }

    pub(crate) fn into_history(self) -> History {
        self.history
    }

    /// Lives through a history: first with faults, then until all is over.
    pub(crate) fn live(&mut self) {
        for _ in 0..self.rng.u32(100..500) {
            match self.rng.u8(..100) {
                0..=5 => self.fault(),
                6..=15 => self.let_time_pass(),
                _ => drop(self.work()),
            }
            self.look();
        }
        self.faults = false;
        self.outside.paused = false;
        self.node.queue.pause(false);
        for _ in 0..DRAIN_STEPS_MAX {
            if self.rng.u8(..10) == 0 || !self.work() {
                self.let_time_pass();
            }
            self.look();
            if self.is_over() {
                break;
            }
        }
        for (client, side) in &self.node.sides {
            check::over(&self.outside.clients[*client], side);
        }
        self.crash(Crash::PowerKeepsNothing);
        for (index, client) in self.outside.clients.iter().enumerate() {
            let kept = self.node.sides.contains_key(&index);
            assert!(kept || client.forgotten || client.rejected, "client {index} has no mission");
        }
    }

    fn is_over(&self) -> bool {
        let all = self.outside.clients.iter().enumerate();
        let mut open = all.filter(|(index, client)| {
            let side = self.node.sides.get(index);
            !(client.rejected || client.forgotten || side.is_some_and(|side| side.is_over() && side.is_durable()))
        });
        open.next().is_none() && self.node.pending.is_empty() && self.strays.is_empty()
    }

    /// The clients that have a mission which nobody removes.
    pub(crate) fn clients(&self) -> Vec<usize> {
        self.node.sides.iter().filter(|(_, side)| !side.removed).map(|(client, _)| *client).collect()
    }

    pub(crate) fn client_of(&self, no: MissionNo) -> usize {
        let found = self.node.sides.iter().find(|(_, side)| side.no == no);
        *found.expect("it has a client").0
    }

    pub(crate) fn tell(&mut self, client: usize, what: &str) {
        self.history.line(self.wall, &format!("m{client}: {what}"));
    }

    /// A record, in words and in numbers.
    pub(crate) fn note(&mut self, client: usize, record: &Record) {
        self.tell(client, &format!("{record:?}"));
        self.history.count(match record {
            Record::Requested { kind, .. } => kind.as_str(),
            Record::Reminded { .. } => "reminded",
            Record::Heartbeat => "heartbeat",
            Record::Finished { reason, .. } => reason.as_str(),
            _ => return,
        });
    }

    /// What holds at every moment; and what is due is seen to.
    fn look(&mut self) {
        for client in self.clients() {
            if self.rings(client) {
                self.command(client, Command::Tick).expect("a tick is always taken");
                assert!(!self.rings(client), "a tick sees to what is due");
            }
            let now = self.now(client);
            if self.mission(client).run().is_none() && self.mission(client).wants_turn(now) {
                let waiting = self.side(client).waiting();
                self.node.queue.push(&waiting);
            }
        }
        for no in self.node.queue.expired(self.wall) {
            let client = self.client_of(no);
            let _ = self.command(client, Command::Tick);
        }
        for (client, side) in &self.node.sides {
            check::effects(side, &self.outside.clients[*client]);
        }
        let mut sessions: Vec<_> =
            self.node.sides.values().filter(|side| side.run.is_some()).map(|side| &side.head.vp).collect();
        let running = sessions.len();
        sessions.sort_unstable();
        sessions.dedup();
        assert_eq!(sessions.len(), running, "missions of one session run one at a time");
    }

    /// Whether something is due for a mission.
    fn rings(&self, client: usize) -> bool {
        let now = self.now(client);
        let due = self.mission(client).next_due(now);
        due.wall.is_some_and(|at| at <= now.wall) || due.ran_ms.is_some_and(|at| at <= now.ran_ms)
    }

    /// All the ordinary work that there is.
    fn open_work(&self) -> Vec<Work> {
        let mut all = Vec::new();
        for (index, client) in self.outside.clients.iter().enumerate() {
            if client.accepted.is_none() && !client.rejected && !self.node.sides.contains_key(&index) {
                all.push(Work::Dispatch(index));
            }
        }
        if !self.node.pending.is_empty() {
            // One commit takes one change: it needs its share.
            all.extend([Work::Commit; 3]);
        }
        if !self.node.queue.is_empty() {
            all.push(Work::Turn);
        }
        for client in self.clients() {
            let side = self.side(client);
            let rules: [(bool, Work); 6] = [
                (self.can_step(client), Work::Plugin(client)),
                (!side.mission.open_requests().is_empty(), Work::Decide(client)),
                (self.can_suspend(client), Work::Suspend(client)),
                (self.can_deliver(client), Work::Deliver(client)),
                (side.cursor.as_ref().is_some_and(|cursor| cursor.parked.is_some()), Work::Redeliver(client)),
                (self.faults && self.can_remove(client), Work::Remove(client)),
            ];
            all.extend(rules.into_iter().filter(|(can, _)| *can).map(|(_, work)| work));
        }
        all.extend((0..self.node.tasks.len()).filter(|place| self.can_move(&self.node.tasks[*place])).map(Work::Task));
        all.extend((0..self.strays.len()).map(Work::Stray));
        all
    }

    /// Somebody does something; false, where nobody has anything to do.
    fn work(&mut self) -> bool {
        let all = self.open_work();
        let Some(work) = all.get(self.rng.usize(..all.len().max(1))) else { return false };
        match *work {
            Work::Dispatch(client) => self.dispatch(client),
            Work::Commit => self.commit_or_crash(),
            Work::Turn => self.turn(),
            Work::Plugin(client) => self.plugin_step(client),
            Work::Task(place) => self.move_task(place),
            Work::Stray(place) => self.move_stray(place),
            Work::Decide(client) => self.decide(client),
            Work::Suspend(client) => self.suspend(client),
            Work::Deliver(client) => self.deliver(client),
            Work::Redeliver(client) => self.redeliver(client),
            Work::Remove(client) => {
                check::over(&self.outside.clients[client], self.side(client));
                self.node.remove(client);
            }
        }
        // A turn may find that nobody can have it now.
        !matches!(work, Work::Turn) || self.rng.bool()
    }

    fn commit_or_crash(&mut self) {
        if self.commit().is_err() {
            self.history.count("crash in a commit");
            let crash = self.kind_of_crash();
            self.crash(crash);
        }
    }

    /// Time passes: a little, much, or until something is due.
    fn let_time_pass(&mut self) {
        let ms = match self.rng.u8(..20) {
            0..=3 => self.until_due().unwrap_or(1_000),
            4..=14 => self.rng.u64(1..1_000),
            15..=18 => self.rng.u64(1_000..600_000),
            _ => self.rng.u64(600_000..7_200_000),
        };
        self.steady_ms += ms;
        self.wall += Duration::from_millis(ms);
    }

    /// How long nothing happens by itself.
    fn until_due(&self) -> Option<u64> {
        let wall = |at: Timestamp| u64::try_from(at.duration_since(self.wall).as_millis()).map_or(0, |ms| ms + 1);
        let mut all: Vec<u64> = self.node.queue.next_due().into_iter().map(wall).collect();
        for client in self.clients() {
            let due = self.mission(client).next_due(self.now(client));
            all.extend(due.wall.map(wall));
            all.extend(due.ran_ms.map(|at| at.saturating_sub(self.now(client).ran_ms)));
            let timer = self.side(client).run.as_ref().and_then(|run| run.next_timer(self.steady_ms));
            all.extend(timer.map(|(_, ready_ms)| ready_ms - self.steady_ms));
        }
        all.extend(self.node.next_try_ms.values().map(|due| due.saturating_sub(self.steady_ms)));
        let down =
            self.outside.receivers.values().map(|receiver| receiver.down_until_ms.saturating_sub(self.steady_ms));
        all.extend(down);
        all.into_iter().filter(|ms| *ms > 0).min()
    }

    /// Something that nobody wishes for, or that few do.
    fn fault(&mut self) {
        let some = self.clients();
        let client = some.get(self.rng.usize(..some.len().max(1))).copied();
        match (self.rng.u8(..20), client) {
            (0..=5, _) => {
                self.history.count("crash between two commits");
                let crash = self.kind_of_crash();
                self.crash(crash);
            }
            (6..=8, _) => {
                // The disk fails in one of the next commits.
                let op = self.node.disk.ops() + self.rng.u64(..20);
                self.node.disk.fail_at(op);
            }
            (9, _) => {
                self.history.count("full disk");
                self.node.disk.fills_at(self.node.disk.bytes() / 2);
            }
            (10 | 11, _) => self.jump(),
            (12, _) => {
                self.outside.paused = self.rng.bool();
                self.node.queue.pause(self.outside.paused);
            }
            (13 | 14, _) => {
                let down_until_ms = self.steady_ms + self.rng.u64(..3_600_000);
                let hosts = self.outside.receivers.values_mut();
                let down = hosts.map(|receiver| receiver.down_until_ms = down_until_ms).count();
                self.history.line(self.wall, &format!("{down} receivers go down"));
            }
            (15, Some(client)) if self.rng.u8(..3) == 0 => self.cancel(client),
            (16, Some(_)) if self.rng.u8(..20) == 0 => self.halt(),
            (17, Some(client)) => self.dispatch(client),
            (18, Some(client)) => self.decide_again(client),
            (19, Some(client)) => self.haunt(client),
            _ => {}
        }
    }

    /// Somebody sets the wall clock.
    fn jump(&mut self) {
        let by = Duration::from_secs(self.rng.u64(..100_000));
        if self.rng.bool() {
            self.history.count("clock set forward");
            self.wall += by;
        } else {
            self.history.count("clock set back");
            self.was_set_back = true;
            self.wall -= by;
        }
        self.history.line(self.wall, "the clock was set");
    }

    fn kind_of_crash(&mut self) -> Crash {
        match self.rng.u8(..3) {
            0 => Crash::Process,
            1 => Crash::Power { seed: self.rng.u64(..) },
            _ => Crash::PowerKeepsNothing,
        }
    }

    /// The node is gone, and comes back on what the disk holds.
    fn crash(&mut self, crash: Crash) {
        self.history.line(self.wall, &format!("crash: {crash:?}"));
        let found = self.node.disk.after_crash(crash);
        let next = Node::open(found, &self.outside, Duration::from_millis(self.steady_ms));
        let before = std::mem::replace(&mut self.node, next);
        for (client, side) in &before.sides {
            match self.node.sides.get(client) {
                Some(after) => check::survived(side, after),
                None if side.removed => self.outside.clients[*client].forgotten = true,
                None => assert_eq!(side.durable, 0, "client {client}: an accepted mission is lost"),
            }
        }
        for (index, client) in self.outside.clients.iter().enumerate().filter(|(_, client)| !client.forgotten) {
            match self.node.sides.get(&index) {
                Some(side) => check::promises(client, side),
                None => assert_eq!(client.accepted, None, "client {index}: an acknowledged mission is lost"),
            }
        }
        // Calls that had left the node may still have their effect.
        let left =
            before.tasks.into_iter().map(|task| Stray { no: before.sides[&task.client].no, task, is_orphan: true });
        self.strays.extend(left);
        self.strays.retain(|stray| matches!(stray.task.stage, Stage::Sent));
        self.strays.iter_mut().for_each(|stray| stray.is_orphan = true);
    }
}
