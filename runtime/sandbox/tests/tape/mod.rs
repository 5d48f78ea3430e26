//! A node that answers by chance and records it, or gives what is recorded and holds the guest to it: what the driver does with the journal,
//! without a journal.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use sortie_contract::Timestamp;
use sortie_contract::artifact::{Artifact, ArtifactName};
use sortie_contract::digest::Digest;
use sortie_contract::id::CallNo;
use sortie_contract::outcome::Verdict;
use sortie_contract::plugin::{Crash, Left, LogLevel, ModelInfo};
use sortie_contract::tool::{CallError, ToolInfo, ToolName};
use sortie_sandbox::{Answer, BoxFuture, Call, Host, Stop};

/// What a guest said, in its order, each with what it was answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tape {
    said: Vec<(String, String)>,
    /// Whose mission it is, where that is not said by the seed of the answers.
    of: Option<u64>,
}

impl Tape {
    pub fn len(&self) -> usize {
        self.said.len()
    }

    /// For a run of another seed: the mission is that of this one.
    pub fn of_seed(mut self, seed: u64) -> Self {
        self.of = Some(seed);
        self
    }

    pub fn begins_with(&self, other: &Self) -> bool {
        self.said.starts_with(&other.said)
    }

    pub fn mission(&self, seed: u64) -> u64 {
        self.of.unwrap_or(seed)
    }
}

pub struct Recorder {
    state: Mutex<State>,
    /// Whether landing should begin.
    closing: Arc<AtomicBool>,
}

struct State {
    tape: Tape,
    at: usize,
    random: SmallRng,
    now_ms: i64,
    calls: u64,
    broken_off_at: Option<usize>,
}

impl Recorder {
    pub fn new(seed: u64, tape: Tape, broken_off_at: Option<usize>) -> Self {
        let (random, now_ms) = (SmallRng::seed_from_u64(seed), 1_790_000_000_000);
        let state = State { tape, at: 0, random, now_ms, calls: 0, broken_off_at };
        Self { state: Mutex::new(state), closing: Arc::default() }
    }

    pub fn tape(&self) -> Tape {
        let mut tape = self.state.lock().tape.clone();
        tape.of = None;
        tape
    }

    /// The guest says something, and is answered from the tape as long as that goes; whether it was.
    fn heard(&self, said: String, answer: impl FnOnce(&mut State) -> String) -> Result<(String, bool), Stop> {
        let state = &mut *self.state.lock();
        if state.broken_off_at == Some(state.at) {
            return Err(Stop::Over);
        }
        let at = state.at;
        state.at += 1;
        if let Some((recorded, answer)) = state.tape.said.get(at) {
            if *recorded != said {
                let (recorded, attempted) = (recorded.clone(), said);
                return Err(Stop::Crash(Crash::Diverged { recorded, attempted }));
            }
            return Ok((answer.clone(), true));
        }
        // Time passes, and somebody sets the clock back now and then.
        state.now_ms += state.random.random_range(-200..2_000);
        if state.random.random_ratio(1, 40) {
            self.closing.store(true, Ordering::Relaxed);
        }
        let answer = answer(state);
        state.tape.said.push((said, answer.clone()));
        Ok((answer, false))
    }

    fn told(&self, said: String) -> Result<(), Stop> {
        self.heard(said, |_| String::new()).map(drop)
    }

    /// A call: its answer comes when it comes, or at once from the tape.
    fn call(&self, said: String, result: impl FnOnce(&mut SmallRng) -> Value) -> Call {
        let answered = self.heard(said, |state| {
            let error = ["denied", "budget-exhausted", "failed", "timed-out"];
            match state.random.random_range(0..14) {
                0 => json!({ "error": error[state.random.random_range(0..error.len())] }).to_string(),
                _ => json!({ "result": result(&mut state.random) }).to_string(),
            }
        });
        let (answer, is_recorded) = match answered {
            Ok(answered) => answered,
            Err(stop) => return Call { number: None, answer: ready(Err(stop)).boxed() },
        };
        let (number, after) = {
            let state = &mut *self.state.lock();
            state.calls += 1;
            (CallNo(u32::try_from(state.calls).expect("a few")), state.random.random_range(0..4))
        };
        let answer: Value = serde_json::from_str(&answer).expect("it was recorded here");
        let result = match answer["error"].as_str() {
            None => Ok(answer["result"].to_string()),
            Some("denied") => Err(CallError::Denied("no".to_owned())),
            Some("budget-exhausted") => Err(CallError::BudgetExhausted("all is spent".to_owned())),
            Some("failed") => Err(CallError::Failed("it broke".to_owned())),
            Some(_) => Err(CallError::TimedOut("too slow".to_owned())),
        };
        let answer = async move {
            if !is_recorded && after > 0 {
                tokio::time::sleep(Duration::from_millis(after)).await;
            }
            Ok(result.into())
        };
        Call { number: Some(number), answer: answer.boxed() }
    }
}

fn words(random: &mut SmallRng) -> String {
    (0..random.random_range(1..60))
        .map(|_| ["ja ", "€uro ", "and\n", "\"so\" ", "on "][random.random_range(0..5)])
        .collect()
}

impl Host for Recorder {
    fn describe(&self, _tool: &ToolName) -> Result<ToolInfo, Stop> {
        Err(Stop::Over)
    }

    fn start(&self, tool: &ToolName, arguments: String) -> Call {
        let is_read = tool.as_str() == "Read";
        self.call(format!("{tool} {arguments}"), |random| {
            let text = words(random);
            if is_read {
                json!({ "content": text, "bytes": text.len(), "truncated": false })
            } else {
                json!({ "status": 200, "markdown": text })
            }
        })
    }

    fn amended(&self, _call: CallNo) -> Option<String> {
        None
    }

    fn ask(&self, question: String) -> Call {
        self.call(format!("ask {question}"), |random| json!(["yes", "no"][random.random_range(0..2)]))
    }

    fn complete(&self, request: String, _tools: Vec<ToolName>) -> Call {
        self.call(
            format!("model {request}"),
            |random| json!({ "content": [{ "type": "text", "text": words(random) }], "stop_reason": "end" }),
        )
    }

    fn dispatch(&self, order: String) -> BoxFuture<'static, Result<Result<Call, CallError>, Stop>> {
        let call = self.call(format!("dispatch {order}"), |random| {
            let status = ["completed", "failed"][random.random_range(0..2)];
            json!({ "status": status, "summary": words(random) })
        });
        ready(Ok(Ok(call))).boxed()
    }

    fn models(&self) -> Result<Vec<ModelInfo>, Stop> {
        self.told("models".to_owned()).map(|()| Vec::new())
    }

    fn deadline(&self) -> Result<Option<Timestamp>, Stop> {
        self.told("deadline".to_owned()).map(|()| None)
    }

    fn left(&self) -> Result<Left, Stop> {
        self.told("left".to_owned()).map(|()| Left {
            runtime_ms: 1,
            llm_calls: None,
            cost_micro_usd: None,
            landing_llm_calls: 0,
            landing_micro_usd: 0,
        })
    }

    fn closing(&self) -> BoxFuture<'static, Result<(), Stop>> {
        if let Err(stop) = self.told("closing".to_owned()) {
            return ready(Err(stop)).boxed();
        }
        // Looked at beside a timer that is over, never waited for alone.
        let closing = Arc::clone(&self.closing);
        poll_fn(move |_| if closing.load(Ordering::Relaxed) { Poll::Ready(Ok(())) } else { Poll::Pending }).boxed()
    }

    fn land(&self) -> Result<(), Stop> {
        self.told("land".to_owned())
    }

    fn again(&self, _call: CallNo) -> BoxFuture<'static, Answer> {
        ready(Err(Stop::Over)).boxed()
    }

    fn gave_up(&self, _call: CallNo) {}

    fn waits(&self, _waits: bool) {}

    fn choice(&self, among: &[Option<CallNo>]) -> Result<Option<u32>, Stop> {
        let is_recorded = {
            let state = self.state.lock();
            state.at < state.tape.len()
        };
        if !is_recorded {
            return Ok(None);
        }
        let (answer, _) = self.heard(format!("wait-any {among:?}"), |_| String::new())?;
        let choice: Option<u32> = answer.parse().ok();
        // A signal that was given is given again: whoever chose it may wait for it alone. Timers have no number either, and are over at once.
        let chosen = choice.and_then(|index| among.get(usize::try_from(index).ok()?));
        if chosen.is_some_and(Option::is_none) {
            self.closing.store(true, Ordering::Relaxed);
        }
        Ok(choice)
    }

    fn waited(&self, among: &[Option<CallNo>], ready: u32) -> Result<(), Stop> {
        self.heard(format!("wait-any {among:?}"), |_| ready.to_string()).map(drop)
    }

    fn now(&self) -> Result<Timestamp, Stop> {
        let (ms, is_recorded) = self.heard("now".to_owned(), |state| state.now_ms.to_string())?;
        // A clock is finer than what is recorded of it.
        let us = if is_recorded { 0 } else { self.state.lock().random.random_range(0..1_000) };
        let ms: i64 = ms.parse().expect("a number");
        Ok(Timestamp::from_microsecond(ms * 1_000 + us).expect("a time"))
    }

    fn after(&self, duration: Duration) -> BoxFuture<'static, Result<(), Stop>> {
        ready(self.told(format!("after {duration:?}"))).boxed()
    }

    fn milestone(&self, text: String) -> Result<(), Stop> {
        self.told(format!("milestone {text}"))
    }

    fn log(&self, level: LogLevel, text: String) -> Result<(), Stop> {
        self.told(format!("log {level:?} {text}"))
    }

    fn judge(&self, criterion: u32, verdict: Verdict, evidence: String) -> Result<(), Stop> {
        self.told(format!("judge {criterion} {verdict:?} {evidence}"))
    }

    fn put(
        &self,
        name: String,
        media_type: String,
        bytes: Vec<u8>,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>> {
        let sha256 = Digest::of(&bytes);
        let told = self.told(format!("put {name} {media_type} {sha256}"));
        let name = ArtifactName::new(name).expect("it is a name");
        ready(told.map(|()| Ok(Artifact { name, media_type, bytes: bytes.len() as u64, sha256 }))).boxed()
    }

    fn put_file(
        &self,
        name: String,
        _media_type: String,
        path: String,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>> {
        ready(self.told(format!("put-file {name} {path}")).map(|()| Err("nothing is kept here".to_owned()))).boxed()
    }

    fn get(&self, name: String) -> BoxFuture<'static, Result<Result<Vec<u8>, String>, Stop>> {
        ready(self.told(format!("get {name}")).map(|()| Err("nothing is kept here".to_owned()))).boxed()
    }

    fn get_of(&self, mission: String, name: String) -> BoxFuture<'static, Result<Result<Vec<u8>, String>, Stop>> {
        ready(self.told(format!("get {name} of {mission}")).map(|()| Err("nothing is kept here".to_owned()))).boxed()
    }
}
