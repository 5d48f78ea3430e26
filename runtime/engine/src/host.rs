//! What a running plugin asks of the node: every call becomes a command to the core, unless the record has its answer.
//!
//! A run begins by going over what earlier runs have recorded ([`Replay`]): it gets the recorded answers, and nothing of it
//! is done again. Behind the end of the record each call is decided, journaled and made.

mod artifacts;
mod missions;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{FutureExt as _, ready};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sortie_contract::artifact::Artifact;
use sortie_contract::digest::Digest;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::plugin::{Crash, Left, LogLevel, ModelInfo};
use sortie_contract::record::{HostQuestion, Record};
use sortie_contract::tool::{CallError, MODEL, Repeat, ToolAnswer, ToolInfo, ToolName};
use sortie_contract::{Spend, Stamped, Timestamp, limit, outcome};
use sortie_journal::WriteError;
use sortie_mission::replay::{Asked, Recorded, Replay};
use sortie_mission::{Command, Handle, Mission, Refusal, Timer};
use sortie_sandbox::{Answer, BoxFuture, Call, Host, Stop};
use sortie_tools::{Bill, CallContext, Found};

use super::asking::Asking;
use super::handed::{Handed, gone};
use super::keep::Source;
use super::live::{CommandError, Live, Released, Taken, Wait};
use super::model::{Came, ModelOrder};
use super::on_record::{OnRecord, place_of};
use super::order::{Order, ToolOrder};
use super::results::Place;
use super::start::ROOM;
use super::suspend::Waits;
use super::{Engine, Room};

/// How often it is looked whether there is room on the disk again.
const FULL_LOOK: Duration = Duration::from_millis(100);

/// The host of one run of one mission.
pub(super) struct RunHost {
    engine: Arc<Engine>,
    live: Arc<Live>,
    run: RunNo,
    context: CallContext,
    replay: Mutex<Replay>,
    on_record: OnRecord,
    handed: Handed,
    /// The record has been gone over: the lock of `replay` need not be asked any more.
    is_live: AtomicBool,
    waits: Arc<Waits>,
    this: Weak<Self>,
}

impl RunHost {
    pub(super) fn new(
        engine: Arc<Engine>,
        live: Arc<Live>,
        run: RunNo,
        context: CallContext,
        replay: Replay,
        on_record: OnRecord,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            is_live: AtomicBool::new(replay.is_over()),
            waits: Arc::new(Waits::new(Arc::clone(&engine), Arc::clone(&live), run)),
            engine,
            live,
            run,
            context,
            replay: Mutex::new(replay),
            on_record,
            handed: Handed::default(),
            this: Weak::clone(this),
        })
    }

    /// A run has ended: nothing, behind the end of its record.
    ///
    /// # Errors
    /// [`Crash::Diverged`] where the record goes on.
    pub(super) fn ended(&self) -> Result<(), Crash> {
        self.replay.lock().end()
    }

    /// What the record answers; `None` behind its end.
    fn recorded(&self, asked: Asked<'_>) -> Result<Option<Recorded>, Stop> {
        if self.is_live.load(Acquire) {
            return Ok(None);
        }
        let mut replay = self.replay.lock();
        let recorded = replay.next(asked).map_err(Stop::Crash)?;
        self.is_live.store(replay.is_over(), Release);
        Ok(recorded)
    }

    /// Sends a command of the plugin. While the journal has no room the plugin's own thread waits for it: whoever records more
    /// than the disk takes is slowed down.
    fn command<'a>(&self, command: impl Fn() -> Command<'a>) -> Result<Taken, CommandError> {
        // So it is, too, while what is left of the disk is for ending missions.
        while self.engine.artifacts.room() == Room::Full && !self.is_over() {
            self.engine.ambient.pause(FULL_LOOK);
        }
        loop {
            match self.engine.command(&self.live, command(), Wait::No) {
                Err(CommandError::Journal(WriteError::Overloaded)) => self.engine.ambient.pause(ROOM),
                other => return other,
            }
        }
    }

    /// Nothing that this run asks for is of use to anybody any more.
    fn is_over(&self) -> bool {
        self.engine.is_stopping() || self.live.with(Mission::run) != Some(self.run)
    }

    /// Tells the core something that has no answer.
    fn tell<'a>(&self, asked: Asked<'_>, command: impl Fn() -> Command<'a>) -> Result<(), Stop> {
        match self.recorded(asked)? {
            Some(_) => Ok(()),
            None => self.command(command).map(drop).map_err(stop),
        }
    }

    /// What the node says to a question that says all, as it said first.
    fn told<T: Serialize + DeserializeOwned>(
        &self,
        question: HostQuestion,
        says: impl FnOnce() -> T,
    ) -> Result<T, Stop> {
        if let Some(Recorded::Answer { answer, .. }) = self.recorded(Asked::Question(question))? {
            return serde_json::from_str(&answer).map_err(|error| {
                let (recorded, attempted) = (limit::clip(&answer, limit::QUOTE_BYTES_MAX), error.to_string());
                Stop::Crash(Crash::Diverged { recorded, attempted })
            });
        }
        let says = says();
        self.answered(question, "", &serde_json::to_string(&says).expect("what a node says is JSON"))?;
        Ok(says)
    }

    /// What a tool is to this mission.
    fn told_of(&self, tool: &ToolName) -> ToolInfo {
        match self.handed.of(tool) {
            Some(handed) => (*handed).clone(),
            None => self.engine.toolbox().info(tool.as_str()).cloned().unwrap_or_else(|| gone(tool)),
        }
    }

    /// Records the answer to `question`, and what that was about.
    fn answered(&self, question: HostQuestion, about: &str, answer: &str) -> Result<(), Stop> {
        let (run, about) = (self.run, about.to_owned());
        let command = || Command::Answer { run, question, about: about.clone(), answer: answer.to_owned() };
        self.command(command).map(drop).map_err(stop)
    }

    /// Where a recorded call goes on.
    fn go_on(&self, call: CallNo, outcome: Option<Result<ToolAnswer, CallError>>, order: Option<Order>) -> Call {
        let number = Some(call);
        if let Some(outcome) = outcome {
            return Call { number, answer: ready(Ok(self.on_record.recorded(call, outcome))).boxed() };
        }
        match order {
            // It was being made when the last run broke off, and making it again does no harm: the core asks about others.
            Some(Order::Tool(order)) if self.live.is_being_made(call) && order.is_gone => {
                let error = self.live.with(|mission| mission.told_of_lost(call, &order.tool, order.away.as_deref()));
                let outcome = || Err(error.clone());
                // What the last run may have spent on it was booked when this one began; nothing was made since.
                let spent = Some(Spend::NOTHING);
                let done = || Command::CallDone { run: self.run, call, outcome: outcome(), spent };
                match self.command(done) {
                    Ok(_) => Call { number, answer: ready(Ok(Err(error).into())).boxed() },
                    Err(error) => over(stop(error)),
                }
            }
            Some(order) if self.live.is_being_made(call) => Call { number, answer: self.perform(call, order) },
            order => Call { number, answer: self.held(call, order) },
        }
    }

    /// A call that was asked for, and what was decided about it.
    fn begun(&self, taken: Taken, order: Order) -> Call {
        match taken.records.into_iter().next().map(|stamped| stamped.record) {
            Some(Record::CallStarted { call, .. }) => Call { number: Some(call), answer: self.perform(call, order) },
            Some(Record::CallHeld { call, .. }) => Call { number: Some(call), answer: self.held(call, Some(order)) },
            Some(Record::CallRefused { call, error, .. }) => {
                Call { number: Some(call), answer: ready(Ok(Err(error).into())).boxed() }
            }
            // Time ran out with this very call.
            _ => over(Stop::Over),
        }
    }

    /// A call that waits for a decision, or for its time, and what comes of it.
    fn held(&self, call: CallNo, order: Option<Order>) -> BoxFuture<'static, Answer> {
        let released = self.live.decision(call);
        let this = self.this.upgrade().expect("a host that is called is there");
        async move {
            match (released.await, order) {
                (Ok(Released::Done(outcome)), _) => Ok(outcome.map(|answer| answer.result).into()),
                (Ok(Released::Resumed), Some(order)) => this.perform(call, order).await,
                // The mission is over, or this run is.
                (Ok(Released::Resumed) | Err(_), _) => Err(Stop::Over),
            }
        }
        .boxed()
    }

    /// A call that was granted: performed by a task of its own, so that calls run side by side.
    fn perform(&self, call: CallNo, order: Order) -> BoxFuture<'static, Answer> {
        if matches!(order, Order::Mission) {
            return self.await_child(call);
        }
        let this = self.this.upgrade().expect("a host that is called is there");
        let (engine, live, run) = (Arc::clone(&self.engine), Arc::clone(&self.live), self.run);
        let idempotency_key = format!("{}/{call}", self.context.mission_id);
        let mut context = CallContext { bill: Bill::default(), idempotency_key, ..self.context.clone() };
        let (set_aside, amended) =
            live.with(|mission| (mission.set_aside_for(call), mission.amended(call).map(str::to_owned)));
        let order = amended.into_iter().fold(order, Order::amended);
        let task = self.engine.ambient.spawn(async move {
            // What may have an effect is on disk before it happens, and everything that it may depend on with it. Money is one.
            let is_felt = order.has_effects() || !set_aside.is_nothing();
            engine.settled(is_felt).await.map_err(|_| Stop::Over)?;
            let place = Arc::new(Place::new(engine.results.pass(order.guess()).await));
            // However long a store is away: what it is made with is looked at behind that.
            let Some(filled) = order.filled(&engine, &live, run).await else { return Err(Stop::Over) };
            context.ask = Asking::of(&engine, &live, run, call, &place);
            loop {
                // What another node may do by now, because this one was silent for too long, is not done twice.
                let is_ours = engine.sure_of(is_felt).await;
                // It may have waited: for the disk, for room, for a thread, for a database that was away, for a laptop that slept. What has
                // come meanwhile holds for it: the end of its window, which nobody may have seen to yet, a cancel, that its plugin wants it
                // no more.
                let in_time = engine.command_patiently(&live, || Command::Tick, Wait::No).await;
                if in_time.is_err() || !is_ours || this.is_over() || !live.is_being_made(call) {
                    return Err(Stop::Over);
                }
                // Both at one moment: what it was looked at with may have taken its time.
                if engine.is_sure_of(is_felt) {
                    break;
                }
            }
            // What panics has failed; what it did until then is done, and its call is on record like any other.
            let making = AssertUnwindSafe(order.make(&engine, &context, filled, set_aside)).catch_unwind().await;
            let broken = |_| Came::Done(Err(CallError::Failed("the call broke off".to_owned())), None);
            let (outcome, spent) = match making.unwrap_or_else(broken) {
                Came::Done(outcome, spent) => (outcome, spent),
                Came::Refused { until, why } => match this.put_off(call, until, &why).await? {
                    // It waits, and so does whoever waits for it.
                    None => {
                        drop(place.take());
                        return this.held(call, Some(order)).await;
                    }
                    // It has waited for long enough.
                    Some(outcome) => return Ok(outcome.map(|answer| answer.result).into()),
                },
            };
            let Some(outcome) = engine.keep_what_is_left(&live, run, &order, outcome).await else {
                return Err(Stop::Over);
            };
            let bytes = outcome.as_ref().map_or(0, |answer| answer.result.len());
            let passing = engine.results.pass_from(&place, bytes).await;
            let done = || Command::CallDone { run, call, outcome: outcome.clone(), spent };
            match engine.command_patiently(&live, done, Wait::No).await {
                Ok(taken) => Ok(this.on_record.arrived(call, place_of(call, &taken), outcome, passing)),
                // The mission ended meanwhile; nobody gets this result.
                Err(error) => Err(stop(error)),
            }
        });
        // A task that is gone goes with the node.
        task.map(|joined| joined.unwrap_or(Err(Stop::Over))).boxed()
    }

    /// A provider refuses a call for now: it is put off, or has its result, where that has lasted long enough.
    async fn put_off(
        &self,
        call: CallNo,
        hinted: Option<Timestamp>,
        why: &str,
    ) -> Result<Option<Result<ToolAnswer, CallError>>, Stop> {
        let hold_max = self.engine.settings.hold_max;
        let postpone = || Command::Postpone { run: self.run, call, hinted, hold_max, why: why.to_owned() };
        let taken = self.engine.command_patiently(&self.live, postpone, Wait::No).await.map_err(stop)?;
        if let Some(Stamped { record: Record::CallFinished { outcome, .. }, .. }) = taken.records.into_iter().next() {
            return Ok(Some(outcome));
        }
        // Where its time is over the run is, too: it waits in vain.
        self.waits.watch();
        Ok(None)
    }
}

/// A command that is not taken ends the run: the mission is over, or the plugin goes beyond a limit.
fn stop(error: CommandError) -> Stop {
    match error {
        CommandError::Refused(
            refusal @ (Refusal::TooManyArtifacts { .. }
            | Refusal::ArtifactTooLarge { .. }
            | Refusal::NotCollectable { .. }),
        ) => Stop::Crash(Crash::LimitExceeded(refusal.to_string())),
        CommandError::Refused(_) | CommandError::Journal(_) => Stop::Over,
    }
}

/// The text of a JSON string.
fn unquoted(json: &str) -> String {
    serde_json::from_str(json).unwrap_or_else(|_| json.to_owned())
}

fn over(stop: Stop) -> Call {
    Call { number: None, answer: ready(Err(stop)).boxed() }
}

impl Host for RunHost {
    fn describe(&self, tool: &ToolName) -> Result<ToolInfo, Stop> {
        let recorded = self.recorded(Asked::Describe { tool })?;
        if let Some(Recorded::Described(info)) = recorded {
            self.handed.tell(&info);
            return Ok(info);
        }
        let info = self.told_of(tool);
        self.handed.tell(&info);
        if recorded.is_none() {
            let answer = serde_json::to_string(&info).expect("what is known of a tool is JSON");
            self.answered(HostQuestion::Describe, "", &answer)?;
        }
        Ok(info)
    }

    fn start(&self, tool: &ToolName, arguments: String) -> Call {
        let toolbox = self.engine.toolbox();
        let (info, away) = match toolbox.find(tool.as_str()) {
            Found::Here(info) => (Some(info), None),
            Found::Away(why) => (None, Some(why)),
            Found::Nowhere => (None, None),
        };
        let gone = away.as_deref().map_or(Handle::Gone(tool), |why| Handle::Away { tool, why });
        // Of one that is not there nothing is known; the toolbox refuses to call it.
        let repeat = info.map_or(Repeat::Effectful, ToolInfo::repeat);
        let order = |arguments: String| {
            Order::Tool(ToolOrder {
                tool: tool.clone(),
                toolbox: Arc::clone(&toolbox),
                repeat,
                is_gone: info.is_none(),
                away: away.clone(),
                handed: self.handed.of(tool),
                arguments,
            })
        };
        match self.recorded(Asked::Call { tool, arguments: &arguments }) {
            Err(stop) => return over(stop),
            Ok(Some(Recorded::Call { call, outcome })) => {
                return self.go_on(call, outcome, Some(order(arguments)));
            }
            Ok(_) => {}
        }
        self.engine.counters.calls.fetch_add(1, Relaxed);
        let digest = Digest::of(arguments.as_bytes());
        let told = self.handed.of(tool);
        let quote = toolbox.quote(tool.as_str(), &arguments, told.as_ref().map(|info| &info.input_schema));
        let command = || Command::Call {
            run: self.run,
            tool: info.map_or(gone, Handle::Tool),
            arguments: arguments.clone(),
            digest,
            quote,
        };
        match self.command(command) {
            Err(error) => over(stop(error)),
            Ok(taken) => self.begun(taken, order(arguments)),
        }
    }

    fn complete(&self, request: String, tools: Vec<ToolName>) -> Call {
        let name = ToolName::new(MODEL);
        let (whole, on_record) = ModelOrder::texts(&request, &tools);
        let asked = self.recorded(Asked::Call { tool: &name, arguments: &whole });
        let order = || ModelOrder::new(request, tools.iter().map(|tool| self.told_of(tool)).collect(), &self.live);
        let order = match asked {
            Err(stop) => return over(stop),
            Ok(Some(Recorded::Call { call, outcome: outcome @ Some(_) })) => return self.go_on(call, outcome, None),
            Ok(Some(Recorded::Call { call, outcome })) => {
                return self.go_on(call, outcome, Some(Order::Model(order())));
            }
            Ok(_) => order(),
        };
        let (digest, quote) = (Digest::of(whole.as_bytes()), order.quote(&self.engine));
        let command =
            || Command::Call { run: self.run, tool: Handle::Model, arguments: on_record.clone(), digest, quote };
        match self.command(command) {
            Err(error) => over(stop(error)),
            Ok(taken) => self.begun(taken, Order::Model(order)),
        }
    }

    fn models(&self) -> Result<Vec<ModelInfo>, Stop> {
        self.told(HostQuestion::Models, || self.engine.models_told())
    }

    fn deadline(&self) -> Result<Option<Timestamp>, Stop> {
        let now = self.live.now(&self.engine);
        let ms = self.told(HostQuestion::Deadline, || {
            self.live.with(|mission| mission.deadline(now)).map(Timestamp::as_millisecond)
        })?;
        Ok(ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()))
    }

    fn left(&self) -> Result<Left, Stop> {
        let now = self.live.now(&self.engine);
        self.told(HostQuestion::Left, || self.live.with(|mission| mission.left(now)))
    }

    fn closing(&self) -> BoxFuture<'static, Result<(), Stop>> {
        if let Err(stop) = self.told(HostQuestion::Closing, || self.engine.settings.landing_share) {
            return ready(Err(stop)).boxed();
        }
        // Gone with the run.
        self.live.closing().map(|told| told.map_err(|_| Stop::Over)).boxed()
    }

    fn land(&self) -> Result<(), Stop> {
        self.tell(Asked::Land, || Command::Land { run: self.run })
    }

    fn ask(&self, question: String) -> Call {
        match self.recorded(Asked::Ask { question: &question }) {
            Err(stop) => return over(stop),
            Ok(Some(Recorded::Call { call, outcome })) => return self.go_on(call, outcome, None),
            Ok(_) => {}
        }
        match self.command(|| Command::Ask { run: self.run, question: question.clone() }) {
            Err(error) => over(stop(error)),
            Ok(Taken { records, .. }) => match records.into_iter().next().map(|stamped| stamped.record) {
                Some(Record::Asked { call, .. }) => Call { number: Some(call), answer: self.held(call, None) },
                Some(Record::CallRefused { call, error, .. }) => {
                    Call { number: Some(call), answer: ready(Ok(Err(error).into())).boxed() }
                }
                _ => over(Stop::Over),
            },
        }
    }

    fn amended(&self, call: CallNo) -> Option<String> {
        self.live.with(|mission| mission.amended(call).map(str::to_owned))
    }

    fn again(&self, call: CallNo) -> BoxFuture<'static, Answer> {
        self.on_record.again(call).boxed()
    }

    fn gave_up(&self, call: CallNo) {
        let is_child = self.live.with(|mission| mission.order_of_child(call).is_some());
        let outcome = || Err(CallError::Cancelled);
        let command = || Command::CallDone { run: self.run, call, outcome: outcome(), spent: None };
        // A call whose result came in this moment is done, not given up.
        if self.command(command).is_ok() && is_child {
            self.engine.give_child_up(&self.live, call);
        }
    }

    fn waits(&self, waits: bool) {
        self.waits.turn(waits);
    }

    fn choice(&self, among: &[Option<CallNo>]) -> Result<Option<u32>, Stop> {
        Ok(match self.recorded(Asked::WaitAny { among })? {
            Some(Recorded::Answer { answer, .. }) => answer.parse().ok(),
            _ => None,
        })
    }

    fn waited(&self, among: &[Option<CallNo>], ready: u32) -> Result<(), Stop> {
        self.answered(HostQuestion::WaitAny, &Asked::WaitAny { among }.about(), &ready.to_string())
    }

    fn now(&self) -> Result<Timestamp, Stop> {
        if let Some(Recorded::Answer { answer, at, .. }) = self.recorded(Asked::Question(HostQuestion::Now))? {
            return Ok(answer.parse().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(at));
        }
        let now = self.engine.ambient.wall();
        self.answered(HostQuestion::Now, "", &now.as_millisecond().to_string())?;
        Ok(now)
    }

    fn after(&self, duration: Duration) -> BoxFuture<'static, Result<(), Stop>> {
        let now = self.live.now(&self.engine);
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let (set_at, ran_ms) = match self.recorded(Asked::After { ms }) {
            Err(stop) => return ready(Err(stop)).boxed(),
            Ok(Some(Recorded::Answer { at, ran_ms, .. })) => (at, ran_ms),
            Ok(_) => match self.answered(HostQuestion::After, "", &ms.to_string()) {
                Ok(()) => (now.wall, now.ran_ms),
                Err(stop) => return ready(Err(stop)).boxed(),
            },
        };
        let left = Timer { set_at, ran_ms, lasts: duration }.left(now);
        self.waits.set_timer(self.engine.ambient.steady().saturating_add(left));
        if left.is_zero() {
            return ready(Ok(())).boxed();
        }
        // A timer of the node's own: guests that spin do not delay it.
        let task = self.engine.ambient.spawn(self.engine.ambient.sleep(left));
        task.map(|_| Ok(())).boxed()
    }

    fn milestone(&self, text: String) -> Result<(), Stop> {
        self.tell(Asked::Milestone { text: &text }, || Command::Milestone { run: self.run, text: text.clone() })
    }

    fn log(&self, level: LogLevel, text: String) -> Result<(), Stop> {
        self.tell(Asked::Log { level, text: &text }, || Command::Log { run: self.run, level, text: text.clone() })
    }

    fn judge(&self, criterion: u32, verdict: outcome::Verdict, evidence: String) -> Result<(), Stop> {
        let asked = Asked::Judge { criterion, verdict, evidence: &evidence };
        self.tell(asked, || Command::Judge { run: self.run, criterion, verdict, evidence: evidence.clone() })
    }

    fn put(
        &self,
        name: String,
        media_type: String,
        bytes: Vec<u8>,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>> {
        let sha256 = Digest::of(&bytes);
        self.store(name, media_type, Source::Memory { bytes, sha256 })
    }

    fn put_file(
        &self,
        name: String,
        media_type: String,
        path: String,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>> {
        self.store(name, media_type, Source::File { path })
    }

    fn get(&self, name: String) -> BoxFuture<'static, Result<Result<Vec<u8>, String>, Stop>> {
        self.read(name)
    }

    fn dispatch(&self, order: String) -> BoxFuture<'static, Result<Result<Call, CallError>, Stop>> {
        let this = self.this.upgrade().expect("a host that is called is there");
        async move { this.dispatch_child(order).await }.boxed()
    }

    fn get_of(&self, mission: String, name: String) -> BoxFuture<'static, Result<Result<Vec<u8>, String>, Stop>> {
        let this = self.this.upgrade().expect("a host that is called is there");
        async move { this.read_of(mission, name).await }.boxed()
    }
}
