//! What tools, people and receivers do.

use std::time::Duration;

use sortie_contract::request::{Decision, Reach, RequestKind, RequestNo};
use sortie_contract::tool::{CallError, Repeat, ToolAnswer};
use sortie_contract::{MicroUsd, Spend};
use sortie_journal::Cursor;
use sortie_mission::{Command, Kept, OpenRequest, Refusal, Retention};

use crate::check;
use crate::envelope::PRICE_MAX;
use crate::node::{Promise, Stage, Task};
use crate::outside::Answer;
use crate::world::{Stray, World};

/// The longest that a delivery rests.
const BACKOFF_MAX: Duration = Duration::from_secs(3_600);

/// How long missions are kept.
const RETENTION: Retention = Retention { age: Some(jiff::SignedDuration::from_hours(2)), missions: None };

impl World {
    /// Whether a call can go on.
    pub(crate) fn can_move(&self, task: &Task) -> bool {
        !matches!(task.stage, Stage::Waits(after) if after > self.node.committed)
    }

    /// A call goes on: it leaves the node, has its effect, comes back.
    pub(crate) fn move_task(&mut self, place: usize) {
        let Task { client, run, call, stage } = self.node.tasks[place].clone();
        match stage {
            Stage::Waits(_) => {
                let side = &self.node.sides[&client];
                check::may_be_sent(side, &self.outside.clients[client], call, self.wall);
                if check::grant(&side.records, call).is_some_and(|grant| grant.repeat != Repeat::ReadOnly) {
                    self.outside.clients[client].calls.entry(call).or_default().sent += 1;
                }
                self.node.tasks[place].stage = Stage::Sent;
                self.tell(client, &format!("call {call} leaves the node"));
            }
            Stage::Sent => self.node.tasks[place].stage = self.land(client, &self.node.tasks[place].clone()),
            Stage::Done(outcome, spent) => {
                self.node.tasks.remove(place);
                let done = || Command::CallDone { run, call, outcome: outcome.clone(), spent };
                self.command(client, done()).expect("it was in flight");
                if self.rng.u8(..10) == 0 {
                    assert!(self.command(client, done()).is_err(), "a result comes twice");
                    self.history.count("result that comes twice");
                }
            }
        }
    }

    /// A call has its effect, or fails.
    fn land(&mut self, client: usize, task: &Task) -> Stage {
        let call = task.call;
        let records = &self.node.sides[&client].records;
        let grant = check::grant(records, call).expect("it was granted");
        let dice = self.rng.u8(..20);
        if dice == 0 {
            let error = CallError::Failed("it is broken".to_owned());
            return Stage::Done(Err(error), Spend::NOTHING);
        }
        if grant.repeat != Repeat::ReadOnly {
            self.outside.clients[client].calls.entry(call).or_default().landed += 1;
            self.history.count("effect");
        }
        self.tell(client, &format!("call {call} has its effect"));
        if dice == 1 {
            return Stage::Done(Err(CallError::TimedOut("it took too long".to_owned())), grant.reserved);
        }
        let spent = Spend::money(MicroUsd(self.rng.u64(..=grant.reserved.cost.0)));
        let result = format!("\"{} {}\"", grant.tool, self.rng.u32(..));
        Stage::Done(Ok(ToolAnswer { result, wrote: Vec::new() }), spent)
    }

    /// What a run has left behind outside of the node goes on without it; nobody takes what it returns.
    pub(crate) fn move_stray(&mut self, place: usize) {
        let Stray { no, task, is_orphan } = self.strays.swap_remove(place);
        let Some(side) = self.node.sides.get(&task.client).filter(|side| side.no == no) else { return };
        match task.stage {
            Stage::Waits(_) => {}
            Stage::Sent => {
                if self.rng.bool() && check::grant(&side.records, task.call).is_some() {
                    let stage = self.land(task.client, &task);
                    self.history.count("effect after the run was over");
                    if !is_orphan {
                        self.strays.push(Stray { no, task: Task { stage, ..task }, is_orphan });
                    }
                }
            }
            Stage::Done(outcome, spent) => {
                let late =
                    self.command(task.client, Command::CallDone { run: task.run, call: task.call, outcome, spent });
                assert!(late.is_err(), "a result of a run that is over is taken");
                self.history.count("late result that is dropped");
            }
        }
    }

    /// Somebody decides about a request.
    pub(crate) fn decide(&mut self, client: usize) {
        let open = self.mission(client).open_requests().to_vec();
        let request = &open[self.rng.usize(..open.len())];
        let decision = self.decision(client, request);
        match self.say(client, request.no, &decision) {
            Ok(()) => {}
            Err(Refusal::NotEnough { .. }) => self.history.count("grant that is not enough"),
            Err(refusal) => assert!(matches!(refusal, Refusal::NotYet { .. }), "{refusal}"),
        }
    }

    /// Somebody decides about what was decided: the same, or something else.
    pub(crate) fn decide_again(&mut self, client: usize) {
        let decided = self.outside.clients[client].decided.clone();
        let Some((request, before)) = decided.into_iter().nth(self.rng.usize(..4)) else { return };
        let again = self.rng.bool();
        let decision = match again {
            true => before,
            false if before == Decision::Deny => Decision::Approve { reach: Reach::Call },
            false => Decision::Deny,
        };
        let ended = self.mission(client).status().is_final();
        match self.say(client, request, &decision) {
            Err(Refusal::AlreadyFinal { .. }) => assert!(ended, "it has not ended"),
            Err(Refusal::AlreadyDecided { .. }) => assert!(!again, "the same decision is no contradiction"),
            Err(other) => panic!("decided again: {other}"),
            Ok(()) => assert!(again && !ended, "a decision was changed"),
        }
        self.history.count("decided again");
    }

    /// A decision is made; whoever made it is told, once it is on disk.
    fn say(&mut self, client: usize, request: RequestNo, decision: &Decision) -> Result<(), Refusal> {
        self.tell(client, &format!("{request}: somebody says {}", decision.as_str()));
        let (by, note) = ("ada".to_owned(), String::new());
        let command = Command::Decide { request, decision: decision.clone(), by, note };
        let taken = self.command(client, command).map(drop);
        if taken.is_ok() && !self.mission(client).status().is_final() {
            self.node.promise(client, Promise::Decided(request, decision.clone()));
            self.history.count(decision.as_str());
        }
        taken
    }

    /// What somebody says who has looked at the world.
    fn decision(&mut self, client: usize, request: &OpenRequest) -> Decision {
        let dice = self.rng.u8(..10);
        match request.kind {
            _ if dice == 0 => Decision::Deny,
            RequestKind::Approval => {
                let reach = [Reach::Call, Reach::Call, Reach::Tool, Reach::Mission][usize::from(dice) % 4];
                Decision::Approve { reach }
            }
            RequestKind::Input => Decision::Answer { text: format!("answer {dice}") },
            RequestKind::Budget => {
                let cost = if dice == 1 { MicroUsd(1) } else { MicroUsd(PRICE_MAX.0 * 2) };
                Decision::Grant { llm_calls: 0, cost }
            }
            RequestKind::Uncertain => {
                let calls = &self.outside.clients[client].calls;
                let happened = calls.get(&request.call).is_some_and(|effects| effects.landed > 0);
                if happened { Decision::Record { result: "\"recorded\"".to_owned() } } else { Decision::Repeat }
            }
        }
    }

    /// Somebody cancels a mission, and is told once that is certain.
    pub(crate) fn cancel(&mut self, client: usize) {
        let (reason, by) = (String::new(), "simone".to_owned());
        self.tell(client, "somebody cancels it");
        match self.command(client, Command::Cancel { reason, by }) {
            Ok(_) => {
                self.node.promise(client, Promise::Cancelled);
                self.history.count("cancelled");
            }
            Err(refusal) => assert!(matches!(refusal, Refusal::AlreadyFinal { .. }), "{refusal}"),
        }
    }

    /// Somebody halts the node.
    pub(crate) fn halt(&mut self) {
        self.history.count("halted");
        for client in self.clients() {
            if !self.mission(client).status().is_final() {
                self.command(client, Command::Halt).expect("it has not ended");
                self.node.promise(client, Promise::Cancelled);
            }
        }
    }

    /// Whether something can be delivered.
    pub(crate) fn can_deliver(&self, client: usize) -> bool {
        let rests = self.node.next_try_ms.get(&client).is_some_and(|due| *due > self.steady_ms);
        self.side(client).next_item().is_some() && !rests
    }

    /// A delivery is tried.
    pub(crate) fn deliver(&mut self, client: usize) {
        let (number, item) = self.side(client).next_item().expect("there is one");
        let (item, cursor) = (item.clone(), self.side(client).cursor.clone().expect("it delivers"));
        let answer = self.answer(client);
        if matches!(answer, Answer::Taken | Answer::Lost) {
            self.outside.clients[client].take(number, &item.key, &item.body, &mut self.history);
        }
        self.tell(client, &format!("item {number}: {answer:?}"));
        let side = self.side(client);
        let attempts = cursor.attempts + 1;
        let moved = match answer {
            Answer::Taken => {
                let last = side.mission.status().is_final() && side.items.len() as u64 == number;
                (!last).then(|| Cursor { acked: number, ..Cursor::default() })
            }
            Answer::Lost | Answer::Silence => {
                let most = BACKOFF_MAX.min(Duration::from_secs(1) * 2_u32.saturating_pow(attempts.min(16)));
                let rest = self.rng.u64(1..=u64::try_from(most.as_millis()).expect("an hour"));
                self.node.next_try_ms.insert(client, self.steady_ms + rest);
                Some(Cursor { attempts, ..cursor })
            }
            Answer::Refused => {
                self.history.count("parked");
                Some(Cursor { attempts, parked: Some("410 Gone".to_owned()), ..cursor })
            }
        };
        self.node.move_cursor(client, moved);
    }

    fn answer(&mut self, client: usize) -> Answer {
        let host = self.outside.clients[client].host().expect("it has a callback");
        let receiver = self.outside.receivers.entry(host).or_default();
        if receiver.down_until_ms > self.steady_ms {
            self.history.count("delivery to nobody");
            return Answer::Silence;
        }
        match self.rng.u8(..40) {
            0..=3 => Answer::Lost,
            4 if self.faults => Answer::Refused,
            _ => Answer::Taken,
        }
    }

    /// An operator has a parked delivery tried again.
    pub(crate) fn redeliver(&mut self, client: usize) {
        let cursor = self.side(client).cursor.clone().expect("it delivers");
        self.node
            .move_cursor(client, Some(Cursor { acked: cursor.acked, since: Some(self.wall), ..Cursor::default() }));
    }

    /// Whether a mission has outlived its use.
    pub(crate) fn can_remove(&self, client: usize) -> bool {
        let side = self.side(client);
        let Some(ended_at) = side.mission.ended_at() else { return false };
        let delivered = side.cursor.is_none() && !self.node.is_changing(client);
        RETENTION.is_over(Kept { status: side.mission.status(), ended_at, delivered, newer: 0 }, self.wall)
    }
}
