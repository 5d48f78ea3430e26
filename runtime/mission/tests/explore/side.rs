//! One mission under exploration: its journal, its plugin, its calls.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sortie_contract::digest::Digest;
use sortie_contract::envelope::{Envelope, ForkedFrom};
use sortie_contract::id::{CallNo, MissionNo};
use sortie_contract::money::{MicroUsd, Spend};
use sortie_contract::plugin;
use sortie_contract::record::{HostQuestion, Record};
use sortie_contract::request::{Decision, RequestKind, RequestNo};
use sortie_contract::tool::{CallError, MODEL, Repeat, ToolAnswer, ToolName};
use sortie_contract::{Stamped, Status};
use sortie_mission::fork;
use sortie_mission::queue::Waiting;
use sortie_mission::replay::{Asked, Recorded, Replay};
use sortie_mission::{Command, Ending, Handle, Idle, Mission, Now, Refusal};

use crate::support::{self, Tested, envelope, noon, rules, the};

/// One mission, its journal, and what is in memory of it.
#[derive(Clone)]
pub(crate) struct Side {
    pub(crate) no: MissionNo,
    pub(crate) kind: Kind,
    pub(crate) mission: Mission,
    pub(crate) records: Rc<Vec<Stamped>>,
    /// So many of the records are on disk.
    pub(crate) durable: usize,
    pub(crate) run: Option<Run>,
    pub(crate) tasks: Vec<Task>,
    /// How often the outside world has felt its `Edit`, or a model has billed it. No crash takes that back.
    pub(crate) effects: usize,
    /// Of what a fork has on record: so often an `Edit` was allowed there, and so many results of one there are.
    pub(crate) inherited: [usize; 2],
    /// Of all records, and of those on disk.
    pub(crate) shapes: [Vec<u8>; 2],
}

/// A plugin in memory.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) step: u8,
    /// Its calls so far, in the order in which it made them.
    pub(crate) calls: Vec<CallNo>,
    /// It has set its timer.
    pub(crate) timer: bool,
    pub(crate) replay: Rc<Replay>,
}

/// What a plugin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its calls cost nothing.
    Free,
    /// Its calls of `Read` cost something.
    Pays,
    /// It asks models, and wants to be told when its money comes near its end.
    Thinks,
    /// Each of its tools asks people something while it makes a call.
    Asks,
}

/// A call that is being made.
#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) call: CallNo,
    /// The outside world feels it: what allows it is on disk before.
    pub(crate) effectful: bool,
    /// What was recorded before it is on disk.
    pub(crate) durable: bool,
    /// It has happened, and nobody has heard of it.
    pub(crate) performed: bool,
    /// What its tool has asked.
    pub(crate) asked: Option<RequestNo>,
}

/// The times at which something is due.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hour {
    Noon,
    /// Every timer is due, whenever it was set.
    Evening,
    Expiry,
}

/// How long the timer runs.
const TIMER: SignedDuration = SignedDuration::from_hours(1);

/// Longer than anybody stays in memory who only waits.
const HOURS: Duration = Duration::from_secs(7_200);

/// Longer than it can take a plugin to notice its timer.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

/// When every timer is due.
pub(crate) fn evening() -> Timestamp {
    noon() + TIMER
}

/// What a made `Edit` returns; what people record in its place is something else.
pub(crate) const MADE: &str = "\"made\"";

/// What people put in the place of the arguments of an `Edit`.
pub(crate) const CHANGED: &str = "{\"changed\":true}";

/// What is kept for landing, in thousandths, of the one that thinks: one of its three millionths. Each thought costs one.
const SHARE: u16 = 334;
pub(crate) const KEPT: u64 = 1;
const THOUGHT: Spend = Spend { llm_calls: 1, cost: MicroUsd(1) };

/// What a plugin does next.
pub(crate) enum Next {
    Call(&'static str, String),
    /// Asks a model.
    Think(&'static str),
    /// Wants to be told when a limit comes near.
    Closing,
    Land,
    /// Sets its timer.
    After,
    /// Waits for any of its calls, or its timer; the choice is journaled.
    WaitAny,
    /// Waits for these of its calls, and goes on.
    Wait(Vec<usize>),
    End,
}

/// The plugins. One waits for people or its timer, whichever comes first, and then for two calls at once; the other's second call
/// depends on what became of the first. The one that thinks asks two models at once, and a third when it lands.
pub(crate) fn program(kind: Kind, no: MissionNo, step: u8, outcome: impl Fn(usize) -> Option<String>) -> Next {
    if kind == Kind::Thinks {
        return match step {
            0 => Next::Closing,
            1 => Next::Think("1"),
            2 => Next::Think("2"),
            3 => Next::Wait(vec![0, 1]),
            4 => Next::Land,
            5 => Next::Think("3"),
            6 => Next::Wait(vec![2]),
            _ => Next::End,
        };
    }
    if kind == Kind::Asks {
        return match step {
            0 => Next::Call("Edit", "{}".to_owned()),
            1 => Next::Call("Read", "{}".to_owned()),
            2 => Next::Wait(vec![0, 1]),
            _ => Next::End,
        };
    }
    match (no.0, step) {
        (1, 0) => Next::Call("Edit", "{}".to_owned()),
        (1, 1) => Next::After,
        (1, 2) => Next::WaitAny,
        (1, 3) => Next::Call("Read", "{}".to_owned()),
        (1, 4) => Next::Wait(vec![0, 1]),
        (2, 0) => Next::Call("Edit", "{}".to_owned()),
        (2, 1) => match outcome(0) {
            Some(outcome) => Next::Call("Read", json!({ "after": outcome }).to_string()),
            None => Next::Wait(vec![0]),
        },
        (2, 2) => Next::Wait(vec![1]),
        _ => Next::End,
    }
}

impl Side {
    pub(crate) fn new(no: u64, kind: Kind) -> Self {
        let fields = json!({
            "mission_id": format!("m-{no}"),
            "constraints": {"allowed_tools": ["Read", "Edit"], "approval_required": if no == 1 { vec!["Edit"] } else { vec![] }},
            "report_cadence": "milestone",
            "budget": {"max_cost_usd": if kind == Kind::Thinks { 0.000_003 } else { 0.000_002 }},
        });
        let Tested { mission, records, .. } = Tested::admitted(Arc::new(envelope(fields)), &rules());
        let (run, tasks) = (None, Vec::new());
        // It is accepted: that is on disk.
        let (durable, shapes) = (records.len(), [shape(&records), shape(&records)]);
        let (no, records) = (MissionNo(no), Rc::new(records));
        Self { no, kind, mission, records, durable, run, tasks, effects: 0, inherited: [0; 2], shapes }
    }

    /// A fork at a call, where there can be one.
    pub(crate) fn forked(of: &Self, at: u32) -> Option<Self> {
        let taken = fork::taken_over(&of.records, CallNo(at)).ok()?;
        let mut envelope = Envelope::clone(of.mission.envelope());
        let records = u32::try_from(taken.len()).expect("a few");
        let (mission_id, asked) = (envelope.mission_id.clone(), Digest::of(b"asked"));
        let root = mission_id.clone();
        envelope.forked_from = Some(ForkedFrom { mission_id, root, at, calls: at, records, diverged_at: None, asked });
        let Tested { mut mission, mut records, .. } = Tested::admitted(Arc::new(envelope), &rules());
        for stamped in taken {
            mission.apply(&stamped).expect("what a fork begins with");
            records.push(stamped);
        }
        assert_eq!((mission.spent(), mission.reserved()), (Spend::NOTHING, Spend::NOTHING), "it costs nothing");
        assert_eq!((mission.sequence(), mission.status()), (1, Status::Queued), "it has been told of once");
        let (durable, shapes) = (records.len(), [shape(&records), shape(&records)]);
        let fork = Self {
            mission,
            records: Rc::new(records),
            durable,
            run: None,
            tasks: Vec::new(),
            effects: 0,
            shapes,
            ..of.clone()
        };
        Some(Self { inherited: [fork.allowed(), fork.made()], ..fork })
    }

    /// How often an `Edit` was allowed, by what is on disk: each time it may be felt outside.
    pub(crate) fn allowed(&self) -> usize {
        let durable = &self.records[..self.durable];
        let allowed = durable.iter().filter(|stamped| match &stamped.record {
            Record::CallStarted { repeat, .. } => *repeat == Repeat::Effectful,
            Record::Decided { decision, .. } => {
                matches!(decision, Decision::Approve { .. } | Decision::Amend { .. } | Decision::Repeat)
            }
            _ => false,
        });
        allowed.count()
    }

    /// How many results of an `Edit` there are.
    pub(crate) fn made(&self) -> usize {
        self.count(|record| matches!(record, Record::CallFinished { outcome: Ok(answer), .. } if answer.result == MADE))
    }

    /// Decides, journals, applies, as the node does.
    pub(crate) fn take(&mut self, now: Now, command: Command<'_>) -> Result<Vec<Record>, Refusal> {
        let records = self.mission.decide(now, command)?;
        for record in &records {
            let sequence = self.mission.sequence();
            // Only of a request does it matter when it was made; one time for all others leaves fewer states to look at.
            let is_asked = matches!(record, Record::Requested { .. } | Record::Elicited { .. });
            let at = if is_asked { now.wall } else { noon() };
            let stamped = Stamped { at, ran_ms: 0, record: record.clone() };
            self.mission.apply(&stamped).expect("the core applies what it decided");
            let told = self.mission.event_of(&stamped).map_or(sequence, |event| event.sequence);
            assert_eq!(told, self.mission.sequence());
            assert!(self.mission.sequence() - sequence <= 1, "no gaps");
            Rc::make_mut(&mut self.records).push(stamped);
        }
        self.shapes[0] = shape(&self.records);
        if self.mission.run().is_none() {
            // Over, or out of memory.
            assert!(self.mission.status().is_final() || self.tasks.is_empty(), "a call is being made");
            self.run = None;
            self.tasks.clear();
        }
        Ok(records)
    }

    pub(crate) fn outcome(&self, call: CallNo) -> Option<Result<&ToolAnswer, &CallError>> {
        self.records.iter().find_map(|stamped| match &stamped.record {
            Record::CallFinished { call: finished, outcome, .. } if *finished == call => Some(outcome.as_ref()),
            Record::CallRefused { call: refused, error, .. } if *refused == call => Some(Err(error)),
            _ => None,
        })
    }

    /// Whether the timer of its run is due.
    fn rings(&self, now: Now) -> bool {
        self.run.as_ref().is_some_and(|run| run.timer) && now.wall >= evening()
    }

    /// How its plugin may have been waiting until `now`, as its shell measures it: for a moment or for hours, and its timer may have
    /// come due meanwhile.
    pub(crate) fn idles(&self, now: Now) -> Vec<Idle> {
        let mut timers = vec![None];
        if self.run.as_ref().is_some_and(|run| run.timer) {
            let left = evening().duration_since(now.wall);
            // One that was due before is none of this wait's.
            timers = if left.is_positive() { vec![Some(left)] } else { vec![None, Some(left - GRACE)] };
        }
        let idle = |waited, timer| Idle { waited, quiet: waited, timer };
        timers.into_iter().flat_map(|timer| [Duration::ZERO, HOURS].map(|waited| idle(waited, timer))).collect()
    }

    /// Whether its plugin has set its timer and has not gone on since, as its records tell.
    pub(crate) fn waits_for_timer(&self) -> bool {
        let answered = |wanted: HostQuestion| {
            self.count(|record| matches!(record, Record::Answered { question, .. } if *question == wanted)) > 0
        };
        answered(HostQuestion::After) && !answered(HostQuestion::WaitAny)
    }

    /// What its plugin does next; nothing, while it waits.
    pub(crate) fn next(&self, now: Now) -> Option<Next> {
        let run = self.run.as_ref()?;
        let outcome = |index: usize| self.outcome(*run.calls.get(index)?);
        let text = |index| {
            outcome(index).map(|outcome| match outcome {
                Ok(answer) => answer.result.clone(),
                Err(error) => error.to_string(),
            })
        };
        let next = program(self.kind, self.no, run.step, text);
        let may = match &next {
            Next::Wait(calls) => calls.iter().all(|&index| outcome(index).is_some()),
            Next::WaitAny => self.rings(now) || (0..run.calls.len()).any(|index| outcome(index).is_some()),
            Next::Call(..) | Next::Think(_) | Next::Closing | Next::Land | Next::After | Next::End => true,
        };
        may.then_some(next)
    }

    /// The plugin goes one step further.
    pub(crate) fn step(&mut self, now: Now, next: Next) {
        let run = self.mission.run().expect("it runs");
        match next {
            Next::Call(name, arguments) => {
                let tool = the(name);
                let replay = Rc::make_mut(&mut self.run.as_mut().expect("it runs").replay);
                let recorded = replay.next(Asked::Call { tool: &tool.name, arguments: &arguments });
                let call = match recorded.expect("the same again") {
                    Some(Recorded::Call { call, .. }) => call,
                    Some(other) => panic!("{other:?}"),
                    None => {
                        let digest = Digest::of(arguments.as_bytes());
                        // Who pays for reading has money for two attempts.
                        let costs = self.kind == Kind::Pays && tool.repeat() == Repeat::ReadOnly;
                        let quote = Spend::money(MicroUsd(u64::from(costs)));
                        let command = Command::Call { run, tool: (&tool).into(), arguments, digest, quote };
                        match self.take(now, command).expect("an answer").first() {
                            Some(Record::CallStarted { call, .. } | Record::CallHeld { call, .. }) => *call,
                            other => panic!("{other:?}"),
                        }
                    }
                };
                self.run.as_mut().expect("it runs").calls.push(call);
            }
            Next::Think(request) => {
                let (name, replay) = (ToolName::new(MODEL), self.replay());
                let recorded = replay.next(Asked::Call { tool: &name, arguments: request }).expect("the same again");
                let call = match recorded {
                    Some(Recorded::Call { call, .. }) => call,
                    Some(other) => panic!("{other:?}"),
                    None => {
                        let (digest, quote) = (Digest::of(request.as_bytes()), THOUGHT);
                        let arguments = request.to_owned();
                        let command = Command::Call { run, tool: Handle::Model, arguments, digest, quote };
                        match self.take(now, command).expect("an answer").first() {
                            Some(
                                Record::CallStarted { call, .. }
                                | Record::CallHeld { call, .. }
                                | Record::CallRefused { call, .. },
                            ) => *call,
                            other => panic!("{other:?}"),
                        }
                    }
                };
                self.run.as_mut().expect("it runs").calls.push(call);
            }
            Next::Closing => {
                let recorded = self.replay().next(Asked::Question(HostQuestion::Closing)).expect("the same again");
                if recorded.is_none() {
                    self.take(now, support::answer(run, HostQuestion::Closing, &SHARE.to_string())).expect("taken");
                }
            }
            Next::Land => {
                if self.replay().next(Asked::Land).expect("the same again").is_none() {
                    self.take(now, Command::Land { run }).expect("taken");
                }
            }
            Next::After => {
                let run_ = self.run.as_mut().expect("it runs");
                run_.timer = true;
                let replay = Rc::make_mut(&mut run_.replay);
                let ms = u64::try_from(TIMER.as_millis()).expect("an hour");
                if replay.next(Asked::After { ms }).expect("the same again").is_none() {
                    self.take(now, support::answer(run, HostQuestion::After, &ms.to_string())).expect("taken");
                }
            }
            Next::WaitAny => {
                let calls = self.run.as_ref().expect("it runs").calls.clone();
                // Its calls, and its timer.
                let among: Vec<Option<CallNo>> = calls.iter().copied().map(Some).chain([None]).collect();
                let asked = Asked::WaitAny { among: &among };
                let recorded = self.replay().next(asked).expect("the same again");
                if let Some(Recorded::Answer { answer, .. }) = recorded {
                    let chosen: usize = answer.parse().expect("an index");
                    let is_there = chosen == calls.len() || self.outcome(calls[chosen]).is_some();
                    assert!(is_there, "what was chosen is recorded before the choice");
                } else {
                    let ready = calls.iter().position(|call| self.outcome(*call).is_some());
                    assert!(ready.is_some() || self.rings(now), "one is ready");
                    let ready = ready.unwrap_or(calls.len());
                    let question = HostQuestion::WaitAny;
                    self.take(now, support::answer_about(run, question, &asked.about(), &ready.to_string()))
                        .expect("taken");
                }
            }
            Next::Wait(_) => {}
            Next::End => {
                self.run.as_ref().expect("it runs").replay.end().expect("the record has been gone over");
                let said = plugin::Verdict::Done { summary: "Done.".to_owned(), next_action: None };
                self.take(now, Command::PluginEnded { run, ending: Ending::Returned(said), uncollected: Vec::new() })
                    .expect("it ran");
            }
        }
        if let Some(run) = &mut self.run {
            run.step += 1;
        }
    }

    fn replay(&mut self) -> &mut Replay {
        Rc::make_mut(&mut self.run.as_mut().expect("it runs").replay)
    }

    /// Makes the calls that were granted and that the plugin has asked for. `durable`: everything so far is on disk.
    pub(crate) fn make(&mut self, durable: bool) {
        let Some(run) = &self.run else { return };
        for &call in &run.calls {
            if self.mission.is_being_made(call) && !self.tasks.iter().any(|task| task.call == call) {
                let effectful = self.records.iter().any(|stamped| match &stamped.record {
                    Record::CallStarted { call: asked, repeat, .. } | Record::CallHeld { call: asked, repeat, .. } => {
                        *asked == call && (*repeat == Repeat::Effectful || self.kind == Kind::Thinks)
                    }
                    _ => false,
                });
                self.tasks.push(Task { call, effectful, durable, performed: false, asked: None });
            }
        }
    }

    pub(crate) fn waiting(&self) -> Waiting {
        Waiting {
            no: self.no,
            session: (self.mission.envelope().vp_id.clone(), self.mission.session().clone()),
            lane: self.mission.lane().clone(),
            start_at: None,
            end_at: None,
            suspicion: self.mission.suspicion(),
        }
    }

    pub(crate) fn count(&self, is: impl Fn(&Record) -> bool) -> usize {
        self.records.iter().filter(|stamped| is(&stamped.record)).count()
    }
}

impl Hour {
    pub(crate) fn now(self) -> Now {
        let hours = |hours| noon() + SignedDuration::from_hours(hours);
        let (wall, expires_at) = match self {
            Self::Noon => (noon(), hours(24)),
            Self::Evening => (evening(), hours(24)),
            Self::Expiry => (hours(24), hours(48)),
        };
        Now {
            wall,
            ran_ms: 0,
            out_ms: None,
            next_window: None,
            wider: Default::default(),
            expires_at,
            on_expiry: sortie_contract::envelope::OnExpiry::End,
        }
    }

    pub(crate) fn later(self) -> Option<Self> {
        match self {
            Self::Noon => Some(Self::Evening),
            Self::Evening => Some(Self::Expiry),
            Self::Expiry => None,
        }
    }
}

/// What of a mission's records can still matter: what its plugin asked and in which order, how each of its calls stands, and
/// whether it is out of memory. Numbers of runs and of requests, and the order of what happened at once, do not.
pub(crate) fn shape(records: &[Stamped]) -> Vec<u8> {
    let (mut asked, mut calls, mut repeats, mut paid) = (Vec::new(), BTreeMap::new(), 0, 0);
    let (mut memory, mut back, mut lost, mut closing, mut changed) = (0, 0, 0, 0, 0);
    // What tools ask that make calls.
    let mut tools: BTreeMap<RequestNo, CallNo> = BTreeMap::new();
    for Stamped { at, record, .. } in records {
        match record {
            Record::Finished { status, .. } => return vec![OVER, u8::from(*status == Status::Completed)],
            Record::Started { .. } => (memory, back) = (1, 0),
            Record::Suspended { until } => (memory, back) = (2, u8::from(until.is_some())),
            Record::CallStarted { call, digest, .. } => {
                asked.push(1);
                asked.extend(digest.prefix().to_le_bytes());
                calls.insert(*call, vec![1]);
            }
            Record::CallHeld { call, digest, .. } => {
                asked.push(2);
                asked.extend(digest.prefix().to_le_bytes());
                calls.insert(*call, vec![2]);
            }
            Record::Answered { answer, .. } => asked.extend([&[3], answer.as_bytes()].concat()),
            Record::CallRefused { digest, error, .. } => {
                asked.push(4);
                asked.extend(digest.prefix().to_le_bytes());
                asked.extend(error.code().as_bytes());
            }
            Record::Landing { .. } => asked.push(5),
            Record::Closing { .. } => closing = 1,
            Record::Postponed { call, until, .. } => {
                calls.insert(*call, vec![5, u8::from(*until > evening())]);
            }
            Record::PaymentAwaited { call, .. } => {
                lost += u8::from(calls.get(call).is_some_and(|call| *call == [1]));
                calls.insert(*call, vec![6]);
            }
            Record::Requested { call, kind, .. } => {
                let was_made = calls.get(call).is_some_and(|call| *call == [1]);
                lost += u8::from(was_made && *kind == RequestKind::Budget);
                calls.insert(*call, vec![3, *kind as u8, hour_of(*at)]);
            }
            Record::Elicited { request, call, .. } => {
                tools.insert(*request, *call);
                calls.insert(*call, vec![7, hour_of(*at)]);
            }
            // Once nobody waits any more it is as if nothing had been asked: what its tool was told, it knows itself.
            Record::Withdrawn { request, .. } => drop(calls.insert(tools[request], vec![1])),
            Record::Decided { request, .. } if tools.contains_key(request) => {
                calls.insert(tools[request], vec![1]);
            }
            Record::CallAgain { .. } => paid += 1,
            Record::Decided { decision: Decision::NOT_NEEDED, .. } => {}
            Record::Decided { decision: Decision::Grant { .. }, .. } => paid += 4,
            Record::Decided { decision, .. } => {
                repeats += u8::from(matches!(decision, Decision::Repeat));
                changed |= u8::from(matches!(decision, Decision::Amend { .. }));
            }
            Record::CallResumed { call } => {
                calls.insert(*call, vec![1]);
                memory |= memory << 1 & 4;
            }
            Record::CallFinished { call, outcome, .. } => {
                let told = match outcome {
                    Ok(answer) => answer.result.as_str(),
                    Err(error) => error.code(),
                };
                calls.insert(*call, [&[4], told.as_bytes()].concat());
                memory |= memory << 1 & 4;
            }
            _ => {}
        }
    }
    let calls = calls.into_values().flat_map(|call| call.into_iter().chain([0xff]));
    let rest = [0xff, repeats, paid, memory, back, lost, closing, changed];
    asked.into_iter().chain([0xff]).chain(calls).chain(rest).collect()
}

/// How the shape of a mission begins that is over.
pub(crate) const OVER: u8 = 0xfe;

/// The hour at which a request was made. Those of one day expire together.
pub(crate) fn hour_of(at: Timestamp) -> u8 {
    if at < Hour::Expiry.now().wall { Hour::Noon as u8 } else { Hour::Expiry as u8 }
}

pub(crate) fn byte<T: TryInto<u8>>(number: T) -> u8 {
    number.try_into().unwrap_or_else(|_| panic!("a small number"))
}
