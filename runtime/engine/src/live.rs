//! A mission in memory: its state, its run clock, and the one way to change it.
//!
//! Whoever wants something of a mission (a plugin, a timer, an operator) sends a command. The core decides, the journal
//! gets the records in the order of the decisions, the state takes them up, all under one short lock. Nothing waits
//! for the disk here: what must not leave the node before it is durable awaits the [`Receipt`].

use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_contract::id::{CallNo, RunNo, TraceId};
use sortie_contract::record::{Record, Stamped};
use sortie_contract::request::{Decision, RequestNo};
use sortie_contract::tool::{CallError, ToolAnswer};
use sortie_contract::{MissionNo, Status, Timestamp};
use sortie_journal::{Append, Head, Receipt, WriteError};
use sortie_mission::queue::Waiting;
use sortie_mission::{Booking, Command, Due, Mission, Now, Refusal, RunClock, Standing, changes_asks};
use sortie_sandbox::Kill;
use tokio::sync::oneshot;

use super::Engine;
use super::commit::Commit;
use super::wider::Held;

/// A mission that is being worked with.
pub(crate) struct Live {
    /// Its number.
    pub(crate) no: MissionNo,
    inner: Mutex<Inner>,
}

struct Inner {
    mission: Mission,
    head: Head,
    run: RunClock,
    /// Its run time is kept beside its record until the next one has it.
    is_kept: bool,
    /// Its provider refuses a call of it for now.
    is_put_off: bool,
    kill: Option<Kill>,
    /// It goes into quarantine: nothing more is recorded of it.
    condemned: bool,
    /// How many records it had when one was last recorded that others are told of, as far as this is known.
    told: u32,
    /// By the steady clock, since when its plugin is out of memory, where that is known.
    out_since: Option<Duration>,
    /// Held calls that the current run waits for.
    waiting: FxHashMap<CallNo, oneshot::Sender<Released>>,
    /// What was decided about held calls since the current run began and before it came to wait for them.
    decided: FxHashMap<CallNo, Result<ToolAnswer, CallError>>,
    /// What tools of the current run have asked and wait for: where the decision goes, and, until somebody takes it, where it comes from.
    asked: FxHashMap<RequestNo, Asked>,
    /// Whether the plugin waits, as far as its run has said.
    is_idle: bool,
    /// Who waits to be told that a limit comes near: the current run.
    closing: Vec<oneshot::Sender<()>>,
}

/// A question of a tool. What is decided before the tool comes to wait for it is kept until it does.
struct Asked {
    tell: Option<oneshot::Sender<Decision>>,
    said: Option<oneshot::Receiver<Decision>>,
}

/// What a decision makes of a held call.
#[derive(Debug)]
pub(crate) enum Released {
    /// It is to be made.
    Resumed,
    /// It has its result.
    Done(Result<ToolAnswer, CallError>),
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Taken {
    /// What was recorded; nothing, where the command changed nothing.
    pub(crate) records: Vec<Stamped>,
    /// The number of the first of them among the mission's.
    pub(crate) first: u32,
    /// The status after it.
    pub(crate) status: Status,
    /// Whether the run clock began to go or to stand with it: then other things are due than before.
    pub(crate) turned: bool,
    /// Resolves when the records are on disk; there where the command asked for it.
    pub(crate) receipt: Option<Receipt>,
}

/// Why a command was not taken. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The rules of the mission forbid it.
    #[error("refused")]
    Refused(#[source] Refusal),
    /// The journal does not take it: overload, or a failure that stops the node.
    #[error("the journal did not take the record")]
    Journal(#[from] WriteError),
}

/// Whether somebody will wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A receipt is wanted.
    Durable,
    /// Nobody waits; a crash may take the record back.
    No,
}

impl Live {
    /// Takes a mission into memory. Of its run time, `kept_ms` may be known that is not on record yet.
    pub(crate) fn new(no: MissionNo, mission: Mission, head: Head, kept_ms: Option<u64>, steady: Duration) -> Self {
        let run = RunClock::new(&mission, kept_ms.unwrap_or(0), steady);
        let (told, is_put_off) = (mission.records(), mission.postponed_until().is_some());
        let (waiting, decided) = (FxHashMap::default(), FxHashMap::default());
        let (kill, condemned) = (None, false);
        Self {
            no,
            inner: Mutex::new(Inner {
                mission,
                head,
                run,
                is_kept: kept_ms.is_some(),
                is_put_off,
                kill,
                condemned,
                told,
                out_since: None,
                waiting,
                decided,
                asked: FxHashMap::default(),
                is_idle: false,
                closing: Vec::new(),
            }),
        }
    }

    /// Its plugin has been out of memory since then.
    pub(crate) fn out_of_memory(self, since: Option<Duration>) -> Self {
        self.inner.lock().out_since = since;
        self
    }

    /// By the steady clock, since when its plugin is out of memory, where its run clock does not tell.
    pub(crate) fn sleeps_since(&self) -> Option<Duration> {
        let inner = self.inner.lock();
        inner.out_since.filter(|_| inner.mission.sleeps_off_its_run_clock())
    }

    /// Sends a command: decides, journals, applies.
    pub(crate) fn command(&self, engine: &Engine, command: Command<'_>, wait: Wait) -> Result<Taken, CommandError> {
        let mut inner = self.inner.lock();
        if inner.condemned {
            return Err(CommandError::Refused(Refusal::AlreadyFinal { status: Status::Failed }));
        }
        let steady = engine.ambient.steady();
        let done = match &command {
            Command::CallDone { call, .. } | Command::Postpone { call, .. } => Some(*call),
            _ => None,
        };
        let mut now = inner.now(engine, steady);
        if inner.mission.wants_window(now.wall) {
            now.next_window = engine.next_window(self.no, &inner.mission, now.wall);
        }
        let held = engine.commit.wider().hold_for(&inner.mission, &command);
        if let Some(purses) = &held {
            let wider = purses.of(inner.mission.payer(), now.wall);
            let shut = engine.settings.hours.shut(inner.mission.lane(), now.wall);
            now.wider = wider.of_turn(&inner.mission, &command, inner.kill.is_some(), shut, now.wall);
        }
        let records: Vec<Stamped> = inner
            .mission
            .decide(now, command)
            .map_err(CommandError::Refused)?
            .into_iter()
            .map(|record| Stamped { at: now.wall, ran_ms: now.ran_ms, record })
            .collect();
        let first = inner.mission.records();
        if records.is_empty() {
            let status = inner.mission.status();
            return Ok(Taken { records, first, status, turned: false, receipt: None });
        }
        let receipt = inner.append(&engine.commit, self.no, &records, held, wait)?;
        let why = records.iter().rev().find_map(why_put_off);
        if inner.is_put_off || inner.mission.postponed_until().is_some() {
            inner.is_put_off = engine.commit.put_off().take_up(self.no, &inner.mission, why);
            if records.iter().any(|stamped| matches!(stamped.record, Record::PaymentAwaited { .. })) {
                // What this node holds of a budget may not be all that there is.
                engine.desk.short().notify_one();
            }
        }
        if std::mem::take(&mut inner.is_kept) {
            engine.clocks.is_on_record(self.no);
        }
        inner.release(&records, done);
        let begins = records.iter().any(|stamped| matches!(stamped.record, Record::Started { .. }));
        if begins {
            inner.is_idle = false;
        }
        let went = inner.run.goes();
        inner.turn_clock(begins, steady);
        let turned = went != inner.run.goes();
        if begins {
            engine.clocks.begins();
        }
        let status = inner.mission.status();
        let suspended = records
            .iter()
            .any(|stamped| matches!(stamped.record, Record::Suspended { .. } | Record::CarriedOver { .. }));
        if suspended {
            inner.out_since = Some(steady);
        } else if begins {
            inner.out_since = None;
        }
        if (status.is_final() || suspended)
            && let Some(kill) = inner.kill.take()
        {
            kill.now();
        }
        Ok(Taken { records, first, status, turned, receipt })
    }

    /// What is decided about a held call, or becomes of a child, once it is known. Gone, when the run that waits for it is.
    pub(crate) fn decision(&self, call: CallNo) -> oneshot::Receiver<Released> {
        let (tell, told) = oneshot::channel();
        let mut inner = self.inner.lock();
        if inner.mission.is_held(call) || inner.mission.order_of_child(call).is_some() {
            inner.waiting.insert(call, tell);
        } else if let Some(outcome) = inner.decided.remove(&call) {
            let _ = tell.send(Released::Done(outcome));
        } else if inner.mission.is_being_made(call) {
            let _ = tell.send(Released::Resumed);
        }
        told
    }

    /// What is decided about a question that a tool of this run has just asked, once it is. Gone, when nobody is to wait for it any more.
    pub(crate) fn said(&self, request: RequestNo) -> Option<oneshot::Receiver<Decision>> {
        let mut inner = self.inner.lock();
        let asked = inner.asked.get_mut(&request)?;
        let said = asked.said.take();
        if asked.tell.is_none() {
            inner.asked.remove(&request);
        }
        said
    }

    /// What tools asked and do not wait for: it was asked before this mission came into memory.
    pub(crate) fn unheard(&self) -> Vec<RequestNo> {
        let inner = self.inner.lock();
        inner.mission.asked_by_tools().filter(|request| !inner.asked.contains_key(request)).collect()
    }

    /// Its plugin waits, or goes on; whether its run clock starts or stops by that.
    pub(crate) fn idles(&self, is_idle: bool, steady: Duration) -> bool {
        let mut inner = self.inner.lock();
        let went = inner.run.goes();
        inner.is_idle = is_idle;
        inner.turn_clock(false, steady);
        went != inner.run.goes()
    }

    /// That one of its limits comes near, once it does. Gone, when the run that waits for it is.
    pub(crate) fn closing(&self) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        let mut inner = self.inner.lock();
        if inner.mission.is_closing() {
            let _ = tell.send(());
        } else {
            // A plugin that asks again and again lets go of what it was given.
            inner.closing.retain(|waiting| !waiting.is_closed());
            inner.closing.push(tell);
        }
        told
    }

    /// Whether a call has been granted and has no result.
    pub(crate) fn is_being_made(&self, call: CallNo) -> bool {
        self.with(|mission| mission.is_being_made(call))
    }

    /// Its place in the queue.
    pub(crate) fn waiting(&self) -> Waiting {
        let inner = self.inner.lock();
        Waiting { suspicion: inner.mission.suspicion(), ..super::recover::waiting(self.no, &inner.head) }
    }

    /// When it was accepted, when its window opens, and the trace that it belongs to.
    pub(crate) fn due(&self) -> (Timestamp, Option<Timestamp>, TraceId) {
        let inner = self.inner.lock();
        (inner.head.accepted_at, inner.mission.window().start_at, inner.head.trace_id.clone())
    }

    /// Reads the state.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&Mission) -> T) -> T {
        read(&self.inner.lock().mission)
    }

    /// The mission's times now.
    pub(crate) fn now(&self, engine: &Engine) -> Now {
        self.inner.lock().now(engine, engine.ambient.steady())
    }

    /// Whether it has no run, and wants one.
    pub(crate) fn wants_turn(&self, engine: &Engine) -> bool {
        let now = self.now(engine);
        let inner = self.inner.lock();
        !inner.condemned && inner.mission.run().is_none() && inner.mission.wants_turn(now)
    }

    /// Whether others may have to be told of its record number `first`, or of one behind it.
    pub(crate) fn may_tell(&self, first: u32) -> bool {
        first < self.inner.lock().told
    }

    /// How long it has been running by the steady clock, and whether its plugin is in memory: while its run clock goes.
    pub(crate) fn run_time(&self, steady: Duration) -> Option<(u64, bool)> {
        let inner = self.inner.lock();
        inner.run.goes().then(|| (inner.run.ran_ms(steady), inner.mission.run().is_some()))
    }

    /// When the mission wants a tick, and its run clock now.
    pub(crate) fn next_due(&self, engine: &Engine) -> (Due, Now) {
        let inner = self.inner.lock();
        let now = inner.now(engine, engine.ambient.steady());
        let due = if inner.condemned { Due::default() } else { inner.mission.next_due(now) };
        // Nothing is due by a clock that stands.
        (Due { ran_ms: due.ran_ms.filter(|_| inner.run.goes()), ..due }, now)
    }

    /// Hands over the switch that stops the plugin's run. One that is over meanwhile (its mission has ended, or was carried over) is
    /// stopped at once.
    pub(crate) fn armed(&self, run: RunNo, kill: Kill) {
        let mut inner = self.inner.lock();
        if inner.condemned || inner.mission.run() != Some(run) {
            kill.now();
        } else {
            inner.kill = Some(kill);
        }
    }

    /// It cannot be read, and goes into quarantine: its run stops, and it takes no command any more. How its head stood, and what its end
    /// moves in the books, by all that it has recorded.
    pub(crate) fn condemn(&self) -> ((Status, bool), Vec<Booking>) {
        let mut inner = self.inner.lock();
        inner.condemned = true;
        // Its end is told, whatever it had on record.
        inner.told = u32::MAX;
        if let Some(kill) = inner.kill.take() {
            kill.now();
        }
        let bookings = inner.mission.bookings_beside(&Record::Interrupted);
        ((inner.head.status, inner.head.suspended), bookings)
    }

    /// Has its head written again, where the one on disk cannot be read.
    pub(crate) fn write_head(&self, engine: &Engine) -> Result<Receipt, WriteError> {
        let inner = self.inner.lock();
        engine.log.mend(Append::new(self.no, 0, &[]), self.no, &inner.head)
    }

    /// Stops the plugin's run without ending the mission: the node is shutting down.
    pub(crate) fn interrupt(&self) {
        if let Some(kill) = self.inner.lock().kill.take() {
            kill.now();
        }
    }
}

/// Why a record puts a call off, where it does.
pub(crate) fn why_put_off(stamped: &Stamped) -> Option<&str> {
    match &stamped.record {
        Record::Postponed { why, .. } | Record::PaymentAwaited { why, .. } => Some(why),
        _ => None,
    }
}

impl Inner {
    /// Starts or stops the run clock. While a plugin waits, and all that is being done for it waits for people, it takes no run time: it
    /// stays in memory for the sake of its tools alone.
    fn turn_clock(&mut self, begins: bool, steady: Duration) {
        let rests = self.is_idle && self.mission.waits_with_its_tools();
        self.run.turn(&self.mission, begins, rests, steady);
    }

    /// The mission's times.
    fn now(&self, engine: &Engine, steady: Duration) -> Now {
        let out = self.out_since.map(|since| steady.saturating_sub(since));
        let out_ms = out.map(|out| u64::try_from(out.as_millis()).unwrap_or(u64::MAX));
        Now { out_ms, ..engine.now(self.run.ran_ms(steady)) }
    }

    /// Appends to the log, and to the state. Nothing has changed where the log has no room.
    ///
    /// The room is taken first: from then on only a failure of the log, which ends the process, can keep the records from it. So
    /// the state takes them up before they are handed over, and tells what the head shows of it without a copy to go back to,
    /// whatever the mission has grown to. Nobody sees it in between: its lock is held.
    fn append<'a>(
        &mut self,
        to: &'a Commit,
        no: MissionNo,
        records: &[Stamped],
        mut held: Option<Held<'a>>,
        wait: Wait,
    ) -> Result<Option<Receipt>, WriteError> {
        let mut append = Append::new(no, self.mission.records(), records);
        let room = to.log().reserve(&append)?;
        // Whoever prompts people wants to know as well that there is nothing to decide about any more.
        let tells = |mission: &Mission| (mission.outgoing(), mission.open_requests().len());
        let before = tells(&self.mission);
        // Its parent wants to know what it asks, and no other.
        let may_ask = self.mission.parent().is_some() && records.iter().any(|stamped| changes_asks(&stamped.record));
        let asked = may_ask.then(|| self.mission.asks());
        let (bookings, changes_head) = apply(&mut self.mission, records);
        if tells(&self.mission) != before {
            self.told = self.mission.records();
        }
        to.spending().book(&bookings);
        append = append.moves(to.wider().book(&mut held, self.mission.payer(), &bookings));
        let mut moved = None;
        if changes_head {
            to.spending().count(records);
            let before = (self.head.status, self.head.suspended);
            shown_by(&mut self.head, &self.mission);
            append = append.head(&self.head);
            moved = Some((before, (self.head.status, self.head.suspended)));
        }
        let receipt = to.append(append.within(room), wait)?;
        // Whoever takes what is left comes behind it in the log.
        drop(held);
        // Behind it: what follows of an end is recorded after the end.
        if let Some((before, after)) = moved {
            to.moved(no, Some(before), after);
        }
        if asked.is_some_and(|asked| asked != self.mission.asks()) {
            to.children().ask(no);
        }
        Ok(receipt)
    }

    /// Tells whoever waits for a held call what was decided about it. Results, which may be large, are copied for nobody else.
    /// Of the one that is `done`, its own run knows.
    fn release(&mut self, records: &[Stamped], done: Option<CallNo>) {
        let starts = matches!(records.first().map(|stamped| &stamped.record), Some(Record::Started { .. }));
        for Stamped { record, .. } in records {
            match record {
                // What was decided before is in the record that this run goes over.
                Record::Started { .. }
                | Record::Finished { .. }
                | Record::Suspended { .. }
                | Record::CarriedOver { .. } => {
                    self.waiting.clear();
                    self.decided.clear();
                    self.closing.clear();
                    self.asked.clear();
                }
                Record::Elicited { request, .. } => {
                    let (tell, said) = oneshot::channel();
                    self.asked.insert(*request, Asked { tell: Some(tell), said: Some(said) });
                }
                Record::Decided { request, decision, .. } => {
                    if let Some(asked) = self.asked.get_mut(request) {
                        let _ = asked.tell.take().map(|tell| tell.send(decision.clone()));
                        if asked.said.is_none() {
                            self.asked.remove(request);
                        }
                    }
                }
                Record::Withdrawn { request, .. } => drop(self.asked.remove(request)),
                Record::Closing { .. } => {
                    for waiting in self.closing.drain(..) {
                        let _ = waiting.send(());
                    }
                }
                Record::CallResumed { call } => {
                    if let Some(waiting) = self.waiting.remove(call) {
                        let _ = waiting.send(Released::Resumed);
                    }
                }
                Record::CallFinished { call, outcome, .. } => {
                    if let Some(waiting) = self.waiting.remove(call) {
                        let _ = waiting.send(Released::Done(outcome.clone()));
                    // What became of calls that were held, by a decision, by time, or by what another call did cost. What stands
                    // behind a start is in the record that the run goes over.
                    } else if Some(*call) != done && !starts {
                        self.decided.insert(*call, outcome.clone());
                    }
                }
                _ => {}
            }
        }
    }
}

/// Brings a head in line with its mission.
pub(crate) fn shown_by(head: &mut Head, mission: &Mission) {
    let Standing { status, suspended, due } = mission.standing();
    (head.status, head.suspended, head.due) = (status, suspended, due);
    (head.ended_at, head.crashes, head.outlived) = (mission.ended_at(), mission.crashes(), mission.outlived());
    (head.start_at, head.end_at) = (mission.window().start_at, mission.window().end_at);
    head.overview = Some(mission.overview());
}

/// The state takes the records up. What they move in the books, each with its time, and whether the head is to be written with them.
fn apply(mission: &mut Mission, records: &[Stamped]) -> (Vec<(Timestamp, Booking)>, bool) {
    let (mut bookings, mut changes_head) = (Vec::new(), false);
    for record in records {
        changes_head |= mission.changes_head(&record.record);
        bookings.extend(mission.bookings_beside(&record.record).into_iter().map(|booking| (record.at, booking)));
        mission.apply(record).expect("the core applies what it decided");
    }
    (bookings, changes_head)
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
