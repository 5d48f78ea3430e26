//! The shell around two missions: whose turn it is, the disk, the people, and all that may happen next.

use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use sortie_contract::digest::Digest;
use sortie_contract::id::LaneId;
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::record::Record;
use sortie_contract::request::{Decision, Reach, RequestKind, RequestNo};
use sortie_contract::tool::{CallError, ToolAnswer};
use sortie_mission::queue::Queue;
use sortie_mission::replay::Replay;
use sortie_mission::{Changed, Command, Handle, Leave, Mission, Now};

use crate::side::{CHANGED, Hour, Kind, MADE, OVER, Run, Side, Task, byte};
use crate::support::{start, the, tools};

/// Everything: two missions, whose turn it is, the time, and the crashes that are still to come.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) sides: [Rc<Side>; 2],
    pub(crate) queue: Queue,
    pub(crate) hour: Hour,
    pub(crate) crashes: u8,
}

impl World {
    pub(crate) fn new(crashes: u8) -> Self {
        Self::of([1, 2].map(|no| Side::new(no, Kind::Free)), crashes)
    }

    /// The first mission is over; the second pays for what it reads.
    pub(crate) fn paying(crashes: u8) -> Self {
        Self::alone(Kind::Pays, crashes)
    }

    /// The first mission is over; the second asks models, whose provider may refuse for now, and lands.
    pub(crate) fn thinking(crashes: u8) -> Self {
        Self::alone(Kind::Thinks, crashes)
    }

    /// The first mission is over; the tools of the second ask people something while they make its calls.
    pub(crate) fn asking(crashes: u8) -> Self {
        Self::alone(Kind::Asks, crashes)
    }

    fn alone(kind: Kind, crashes: u8) -> Self {
        Self::but_for(0, [Side::new(1, Kind::Free), Side::new(2, kind)], crashes)
    }

    /// One of the two alone, which costs nothing.
    pub(crate) fn only(index: usize, crashes: u8) -> Self {
        Self::but_for(1 - index, [1, 2].map(|no| Side::new(no, Kind::Free)), crashes)
    }

    /// A fork of one of them, alone.
    pub(crate) fn forked(index: usize, fork: Side, crashes: u8) -> Self {
        let mut sides = [1, 2].map(|no| Side::new(no, Kind::Free));
        sides[index] = fork;
        Self::but_for(1 - index, sides, crashes)
    }

    /// Both, of which one is over.
    fn but_for(over: usize, sides: [Side; 2], crashes: u8) -> Self {
        let mut world = Self::of(sides, crashes);
        world.command(over, Command::Cancel { reason: String::new(), by: "simone".to_owned() });
        world.commit();
        world
    }

    fn of(sides: [Side; 2], crashes: u8) -> Self {
        let sides = sides.map(Rc::new);
        let mut world = Self { sides, queue: Queue::new([], 0), hour: Hour::Noon, crashes };
        world.recover();
        world
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.sides.iter().all(|side| side.durable == side.records.len())
    }

    pub(crate) fn ended(&self) -> usize {
        self.sides.iter().filter(|side| side.mission.status().is_final()).count()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ended() == self.sides.len()
    }

    /// What a node does with its journal when it starts.
    pub(crate) fn recover(&mut self) {
        let lane = LaneId::new("runtime.general").expect("a lane");
        self.queue = Queue::new([(lane, 2)], 2);
        for side in &self.sides {
            let standing = side.mission.standing();
            let waits = standing.suspended && !side.mission.wants_turn(self.hour.now());
            if !standing.status.is_final() && !waits {
                self.queue.push(&side.waiting());
            }
        }
    }

    /// What follows from a command for whose turn it is.
    pub(crate) fn settle(&mut self, index: usize) {
        let durable = self.is_durable();
        let side = Rc::make_mut(&mut self.sides[index]);
        side.make(durable);
        if side.mission.status().is_final() {
            self.queue.remove(side.no);
        }
        if side.mission.run().is_none() {
            self.queue.release(side.no);
            if side.mission.wants_turn(self.hour.now()) {
                self.queue.push(&side.waiting());
            }
        }
    }

    pub(crate) fn crash(&mut self) {
        self.crashes -= 1;
        for side in &mut self.sides {
            let side = Rc::make_mut(side);
            Rc::make_mut(&mut side.records).truncate(side.durable);
            side.shapes[0] = side.shapes[1].clone();
            side.mission = Mission::fold(side.mission.envelope().clone(), &side.records).expect("its own records");
            (side.run, side.tasks) = (None, Vec::new());
        }
        self.recover();
    }

    /// All that may happen next, and whether it is somebody's ordinary work.
    pub(crate) fn successors(&self) -> Vec<(bool, Self)> {
        let now = self.hour.now();
        let mut all = Vec::new();
        let mut then = |ordinary: bool, act: &dyn Fn(&mut Self)| {
            let mut world = self.clone();
            act(&mut world);
            all.push((ordinary, world));
        };
        if !self.is_durable() {
            then(true, &Self::commit);
        }
        if !self.queue.is_empty() && self.sides.iter().all(|side| side.run.is_none()) {
            then(true, &Self::turn);
        }
        if let Some(later) = self.hour.later() {
            // Who waits for a provider waits for nothing but that.
            let put_off = self.sides.iter().any(|side| side.mission.postponed_until().is_some());
            then(put_off, &|world| world.later(later));
        }
        if self.crashes > 0 {
            then(false, &Self::crash);
        }
        for (index, side) in self.sides.iter().enumerate().filter(|(_, side)| !side.mission.status().is_final()) {
            match (side.next(now), side.mission.run().filter(|_| side.run.is_some())) {
                (Some(_), _) => then(true, &|world| world.step(index)),
                (None, Some(run)) => {
                    let records = side.mission.records();
                    for until in leaves(side, now) {
                        then(true, &|world| world.command(index, Command::Suspend { run, records, until }));
                    }
                }
                (None, None) => {}
            }
            for (number, task) in side.tasks.iter().enumerate() {
                if let (Kind::Asks, Some(run)) = (side.kind, side.mission.run()) {
                    let (call, question, schema) = (task.call, String::new(), "{}".to_owned());
                    match task.asked {
                        // Before the first answer its tool does nothing else.
                        None => {
                            then(true, &|world| {
                                world.ask(
                                    index,
                                    number,
                                    Command::AskFor { run, call, question: question.clone(), schema: schema.clone() },
                                );
                            });
                            continue;
                        }
                        Some(request) if side.mission.form(request).is_some() => {
                            let withdraw = || Command::Withdraw { request, why: String::new() };
                            then(false, &|world| world.command(index, withdraw()));
                            then(false, &|world| world.break_off(index, number));
                            continue;
                        }
                        Some(_) => {}
                    }
                }
                if !task.effectful || task.performed {
                    then(true, &|world| world.finish(index, number));
                } else if task.durable {
                    then(true, &|world| world.perform(index, number));
                    if let (Kind::Thinks, Some(later)) = (side.kind, self.hour.later()) {
                        then(false, &|world| world.put_off(index, number, later));
                    }
                }
            }
            for open in side.mission.open_requests() {
                if open.form.is_some() && side.run.is_none() {
                    // Who asked is gone with its run: whoever brings the mission in says so.
                    let withdraw = || Command::Withdraw { request: open.no, why: String::new() };
                    then(false, &|world| world.command(index, withdraw()));
                    continue;
                }
                for decision in decisions(open.kind) {
                    then(true, &|world| world.decide(index, open.no, decision.clone()));
                }
            }
            let ticks = side.mission.decide(now, Command::Tick).unwrap_or_default();
            if !ticks.is_empty() {
                let goes_on = ticks.iter().any(|record| matches!(record, Record::CallResumed { .. }));
                let is_due = side.mission.postponed_until().is_some_and(|until| until <= now.wall);
                assert!(!goes_on || is_due, "a call goes on before its time");
                then(true, &|world| world.command(index, Command::Tick));
            }
            let cancel = || Command::Cancel { reason: String::new(), by: "simone".to_owned() };
            then(false, &|world| world.command(index, cancel()));
        }
        all
    }

    /// Time passes, and who has slept enough wants its turn.
    pub(crate) fn later(&mut self, hour: Hour) {
        self.hour = hour;
        for side in &self.sides {
            if side.mission.standing().suspended && side.mission.wants_turn(hour.now()) {
                self.queue.push(&side.waiting());
            }
        }
    }

    /// A group commit.
    pub(crate) fn commit(&mut self) {
        for side in &mut self.sides {
            let side = Rc::make_mut(side);
            side.durable = side.records.len();
            side.shapes[1] = side.shapes[0].clone();
            side.tasks.iter_mut().for_each(|task| task.durable = true);
        }
    }

    /// The next mission gets its turn.
    pub(crate) fn turn(&mut self) {
        let now = self.hour.now();
        let no = self.queue.pop(now.wall).expect("one waits, and none runs");
        let index = self.sides.iter().position(|side| side.no == no).expect("one of the two");
        let side = Rc::make_mut(&mut self.sides[index]);
        side.take(now, start(&tools())).expect("it is its turn");
        if side.mission.run().is_some() {
            side.run =
                Some(Run { step: 0, calls: Vec::new(), timer: false, replay: Rc::new(Replay::new(&side.records)) });
        }
        self.settle(index);
    }

    pub(crate) fn step(&mut self, index: usize) {
        let side = Rc::make_mut(&mut self.sides[index]);
        let now = self.hour.now();
        let next = side.next(now).expect("it does not wait");
        side.step(now, next);
        self.settle(index);
    }

    /// The outside world feels an `Edit`, or a model bills.
    pub(crate) fn perform(&mut self, index: usize, task: usize) {
        let side = Rc::make_mut(&mut self.sides[index]);
        side.tasks[task].performed = true;
        side.effects += 1;
    }

    /// A call returns.
    pub(crate) fn finish(&mut self, index: usize, task: usize) {
        let side = Rc::make_mut(&mut self.sides[index]);
        let Task { call, effectful, .. } = side.tasks.remove(task);
        let run = side.mission.run().expect("only a run makes calls");
        let result = if effectful { MADE } else { "\"read\"" };
        let outcome = Ok(ToolAnswer { result: result.to_owned(), wrote: Vec::new() });
        self.command(index, Command::CallDone { run, call, outcome, spent: None });
    }

    /// The tool of a call asks people something.
    fn ask(&mut self, index: usize, task: usize, asks: Command<'_>) {
        let side = Rc::make_mut(&mut self.sides[index]);
        let records = side.take(self.hour.now(), asks).expect("taken");
        let [Record::Elicited { request, .. }] = records.as_slice() else { panic!("nobody is asked: {records:?}") };
        side.tasks[task].asked = Some(*request);
        self.settle(index);
    }

    /// A call fails while its tool waits for an answer.
    fn break_off(&mut self, index: usize, task: usize) {
        let side = Rc::make_mut(&mut self.sides[index]);
        let call = side.tasks.remove(task).call;
        let run = side.mission.run().expect("only a run makes calls");
        let outcome = Err(CallError::Failed(String::new()));
        self.command(index, Command::CallDone { run, call, outcome, spent: None });
    }

    /// A model's provider refuses a call, and has done nothing for it.
    fn put_off(&mut self, index: usize, task: usize, until: Hour) {
        let side = Rc::make_mut(&mut self.sides[index]);
        let call = side.tasks.remove(task).call;
        let run = side.mission.run().expect("only a run makes calls");
        self.command(
            index,
            Command::Postpone {
                run,
                call,
                hinted: Some(until.now().wall),
                hold_max: Duration::MAX,
                why: String::new(),
            },
        );
    }

    pub(crate) fn decide(&mut self, index: usize, request: RequestNo, decision: Decision) {
        let (by, note, tool) = ("ada".to_owned(), String::new(), the("Edit"));
        let changed = matches!(decision, Decision::Amend { .. })
            .then_some(Changed { tool: Handle::Tool(&tool), quote: Spend::NOTHING });
        self.command(index, Command::Decide { request, decision, by, note, changed });
    }

    /// A command that changes something.
    pub(crate) fn command(&mut self, index: usize, command: Command<'_>) {
        let side = Rc::make_mut(&mut self.sides[index]);
        let records = side.take(self.hour.now(), command).expect("taken");
        assert!(!records.is_empty());
        self.settle(index);
    }

    /// Two worlds with the same key differ in nothing that can still matter.
    pub(crate) fn key(&self) -> Digest {
        let mut bytes = vec![self.hour as u8, self.crashes];
        for side in &self.sides {
            // Calls and replay follow from the records and the step.
            let step = side.run.as_ref().map_or(0xff, |run| run.step);
            let effects = if side.shapes[1][0] == OVER { 0 } else { byte(side.effects) };
            bytes.extend(side.shapes.iter().flatten());
            bytes.extend([step, effects]);
            for task in &side.tasks {
                let asked = u8::from(task.asked.is_some());
                bytes.extend([byte(task.call.0), u8::from(task.durable), u8::from(task.performed), asked]);
            }
            bytes.push(0xff);
        }
        // With one session, the order of turns is the order of acceptance.
        bytes.extend(self.queue.waiting().iter().map(|no| byte(no.0)));
        bytes.extend([0xff, byte(self.queue.running())]);
        Digest::of(&bytes)
    }
}

/// Until when a mission leaves memory whose plugin waits; not at all, while nothing says so.
fn leaves(side: &Side, now: Now) -> Vec<Option<Timestamp>> {
    let mission = &side.mission;
    let mut all = Vec::new();
    for idle in side.idles(now) {
        let only_waits = mission.calls_in_flight() == 0 && waits_for_others(mission, idle.timer.is_some());
        match mission.leaves(&idle) {
            Leave::NotYet { .. } => {
                assert!(idle.waited.is_zero() || !only_waits, "{} waits for people or a time, and stays", side.no);
            }
            Leave::Now { back_in } => {
                assert!(only_waits && !idle.waited.is_zero(), "{} leaves, and may have something to do", side.no);
                all.push(back_in.map(|left| now.wall + left));
            }
        }
    }
    all
}

/// Whether it has something to wait for that is not being done for it.
fn waits_for_others(mission: &Mission, timer: bool) -> bool {
    timer || !mission.open_requests().is_empty() || mission.postponed_until().is_some()
}

pub(crate) fn decisions(kind: RequestKind) -> Vec<Decision> {
    match kind {
        RequestKind::Approval => vec![
            Decision::Approve { reach: Reach::Call },
            Decision::Amend { arguments: CHANGED.to_owned() },
            Decision::Deny,
        ],
        RequestKind::Uncertain => {
            vec![Decision::Repeat, Decision::Record { result: "\"recorded\"".to_owned() }, Decision::Deny]
        }
        RequestKind::Budget => vec![Decision::Grant { llm_calls: 0, cost: MicroUsd(1) }, Decision::Deny],
        RequestKind::Input => vec![Decision::Answer { text: "{}".to_owned() }, Decision::Deny],
    }
}
