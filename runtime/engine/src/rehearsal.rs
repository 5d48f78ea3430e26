//! A rehearsal: a plugin run on what is on record, with nothing done. What it asks is answered by the record; behind its end it goes on
//! only with what needs nobody to answer.
//!
//! Owned here: the host of such a run, and where it left the record. Never here: what follows from that (a verdict on a build, the
//! beginning of a fork), and how it is shown.

use std::sync::Arc;

use futures_util::future::{FutureExt as _, ready};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use sortie_contract::artifact::{Artifact, ArtifactName};
use sortie_contract::digest::Digest;
use sortie_contract::id::CallNo;
use sortie_contract::plugin::{Crash, Left, LogLevel, ModelInfo};
use sortie_contract::record::{HostQuestion, Record, Stamped};
use sortie_contract::tool::{CallError, MISSION, MODEL, ToolInfo, ToolName};
use sortie_contract::{Timestamp, limit, outcome};
use sortie_mission::replay::{Asked, Contents, Recorded, Replay};
use sortie_mission::{Mission, ModelCall};
use sortie_sandbox::{Answer, BoxFuture, Call, Ending, Host, Stop};

/// Whoever watches a rehearsal.
pub trait Audience: Send + Sync + 'static {
    /// A call is answered from the record, or, behind its end, noted.
    ///
    /// # Errors
    /// It has seen enough: the rehearsal ends before the plugin is answered.
    fn sees(&self, step: &Step<'_>) -> Result<(), Enough>;

    /// What an artifact of the mission holds, of that digest where the record says one; `None` where it cannot be had.
    fn artifact(&self, name: String, sha256: Option<Digest>) -> BoxFuture<'static, Option<Vec<u8>>>;

    /// The same of a child of that name.
    fn artifact_of(&self, mission: String, name: String, sha256: Option<Digest>)
    -> BoxFuture<'static, Option<Vec<u8>>>;

    /// Resolves when a plugin that waits for nothing but what is not on record has waited for long enough.
    fn patience(&self) -> BoxFuture<'static, ()>;
}

/// Its audience wants to see no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enough;

/// One call of a rehearsal.
#[derive(Debug)]
pub struct Step<'a> {
    /// Its number, and when it was made first; `None` behind the end of the record.
    pub call: Option<(CallNo, Timestamp)>,
    /// What is asked.
    pub asked: Asked<'a>,
    /// What the record answers.
    pub answer: &'a Recorded,
}

/// What is rehearsed.
#[derive(Debug)]
pub struct Piece<'a> {
    /// The records that answer.
    pub records: &'a [Stamped],
    /// What all records of the mission come to.
    pub mission: Mission,
    /// The node's tools: for records that do not say what they were said to be.
    pub tools: Vec<ToolInfo>,
    /// The most that the plugin may note behind the end of the record: it may do so for ever.
    pub beyond_max: usize,
    /// Whether it may look at the clock there, which stands, and log: neither is anything that it did.
    pub looks: bool,
}

/// Where a plugin left the record.
#[derive(Debug, Clone, PartialEq)]
pub struct Parting {
    /// The record that it met; `None` where it asked for something behind their end.
    pub recorded: Option<Stamped>,
    /// What it asks for instead; `None` where its run ended there.
    pub wanted: Option<Wanted>,
}

/// What a plugin asks for: a call to compare with a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// In words, as a divergence names it.
    pub words: String,
    /// Of which tool, where it is a call of one.
    pub tool: Option<ToolName>,
    /// Its arguments, whole: JSON text of a call, else what tells two askings of its kind apart.
    pub arguments: String,
}

impl Wanted {
    /// Of an asking.
    #[must_use]
    pub fn of(asked: Asked<'_>) -> Self {
        let (tool, arguments) = match asked {
            Asked::Call { tool, arguments } => (Some(tool.clone()), arguments.to_owned()),
            Asked::Describe { tool } => (None, tool.to_string()),
            Asked::Ask { question } => (None, question.to_owned()),
            Asked::Milestone { text } | Asked::Log { text, .. } => (None, text.to_owned()),
            Asked::Judge { criterion, verdict, evidence } => (
                None,
                serde_json::json!({ "criterion": criterion, "verdict": verdict, "evidence": evidence }).to_string(),
            ),
            Asked::After { ms } => (None, ms.to_string()),
            Asked::Get { .. } | Asked::GetOf { .. } | Asked::Put { .. } | Asked::WaitAny { .. } => {
                (None, asked.about())
            }
            Asked::Question(_) | Asked::Land => (None, String::new()),
        };
        Self { words: asked.to_string(), tool, arguments }
    }
}

/// How a rehearsal ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Rehearsed {
    /// So many recorded calls were gone over.
    pub calls: u32,
    /// How its run ended.
    pub came: Came,
    /// Where it left the record, where it did.
    pub parting: Option<Parting>,
}

/// How the run of a rehearsal ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Came {
    /// Within the record, where it is left by what the plugin asks for.
    Diverged {
        /// What the record holds.
        recorded: String,
        /// What the plugin asks for.
        attempted: String,
    },
    /// Within the record, with a crash.
    CrashedWithin(Crash),
    /// At the end of the record or behind it, with a crash.
    Crashed(Crash),
    /// Behind the end of the record, at something that only a run for real can answer.
    WentOn {
        /// What the plugin asks for.
        next: String,
    },
    /// By itself; `beyond` says whether it did something behind the end of the record.
    Returned {
        /// What it says of itself.
        said: sortie_contract::plugin::Verdict,
        /// Whether it did something behind the end of the record.
        beyond: bool,
    },
    /// Its audience had seen enough.
    Stopped,
}

/// The host of a rehearsal.
pub struct Rehearsal {
    replay: Mutex<Replay>,
    /// When each host call was made, in their order.
    times: Vec<(CallNo, Timestamp)>,
    state: Mutex<State>,
    tools: Vec<ToolInfo>,
    /// Whether the record holds that a limit came near.
    closing: bool,
    mission: Mission,
    beyond_max: usize,
    looks: bool,
    audience: Arc<dyn Audience>,
}

/// What the plugin did.
#[derive(Default)]
struct State {
    /// How much it noted behind the end of the record.
    noted: usize,
    /// Whether it did anything there, of what counts.
    did: bool,
    /// What nobody can answer.
    next: Option<String>,
    parting: Option<Parting>,
    /// Its audience has seen enough.
    stopped: bool,
}

impl Rehearsal {
    /// Of that piece, before that audience.
    #[must_use]
    pub fn new(piece: Piece<'_>, audience: Arc<dyn Audience>) -> Self {
        let Piece { records, mission, tools, beyond_max, looks } = piece;
        let replay = Replay::new(records);
        let times = replay.times();
        let closing = records.iter().any(|stamped| matches!(stamped.record, Record::Closing { .. }));
        Self {
            replay: Mutex::new(replay),
            times,
            state: Mutex::default(),
            tools,
            closing,
            mission,
            beyond_max,
            looks,
            audience,
        }
    }

    /// How it ended, once its run has.
    #[must_use]
    pub fn conclude(&self, ending: Ending) -> Rehearsed {
        let (replay, mut state) = (self.replay.lock(), self.state.lock());
        let came = match (ending, replay.end()) {
            _ if state.stopped => Came::Stopped,
            (Ending::Crashed(Crash::Diverged { recorded, attempted }), _) => Came::Diverged { recorded, attempted },
            (Ending::Returned(_), Err(Crash::Diverged { recorded, attempted })) => {
                state.parting = Some(Parting { recorded: replay.front().cloned(), wanted: None });
                Came::Diverged { recorded, attempted }
            }
            (Ending::Crashed(crash), Err(_)) => Came::CrashedWithin(crash),
            (Ending::Crashed(crash), Ok(())) | (Ending::Returned(_), Err(crash)) => Came::Crashed(crash),
            (Ending::Killed, _) => {
                let waits = || "waiting for a call that has no result on record".to_owned();
                Came::WentOn { next: state.next.clone().unwrap_or_else(waits) }
            }
            (Ending::Returned(said), Ok(())) => Came::Returned { said, beyond: state.did },
        };
        Rehearsed { calls: replay.calls(), came, parting: state.parting.clone() }
    }

    /// The recorded answer, shown; `None` behind the end of the record.
    fn next(&self, asked: Asked<'_>) -> Result<Option<Recorded>, Stop> {
        let mut replay = self.replay.lock();
        let index = replay.calls() as usize;
        match replay.next(asked) {
            Ok(Some(answer)) => {
                let call = self.times.get(index).copied().unwrap_or((CallNo(0), Timestamp::UNIX_EPOCH));
                drop(replay);
                self.shown(&Step { call: Some(call), asked, answer: &answer })?;
                Ok(Some(answer))
            }
            Ok(None) => Ok(None),
            Err(diverged) => {
                let parting = Parting { recorded: replay.front().cloned(), wanted: Some(Wanted::of(asked)) };
                self.state.lock().parting = Some(parting);
                Err(Stop::Crash(diverged))
            }
        }
    }

    fn shown(&self, step: &Step<'_>) -> Result<(), Stop> {
        self.audience.sees(step).map_err(|Enough| {
            self.state.lock().stopped = true;
            Stop::Over
        })
    }

    /// The same for what has to be answered: behind the end of the record the run is over.
    fn answered(&self, asked: Asked<'_>) -> Result<Recorded, Stop> {
        self.next(asked)?.ok_or_else(|| self.ends_with(asked))
    }

    /// The same for what is only noted: behind the end of the record it is shown, and the run goes on.
    fn noted(&self, asked: Asked<'_>) -> Result<(), Stop> {
        if self.next(asked)?.is_some() {
            return Ok(());
        }
        let counts = !self.looks || !matches!(asked, Asked::Log { .. });
        self.behind(asked, &Recorded::Noted, counts)
    }

    /// Behind the end of the record: it is shown, and the run goes on.
    fn behind(&self, asked: Asked<'_>, answer: &Recorded, counts: bool) -> Result<(), Stop> {
        let noted = {
            let mut state = self.state.lock();
            state.noted += 1;
            state.did |= counts;
            state.noted
        };
        if noted > self.beyond_max {
            return Err(self.ends_with(asked));
        }
        self.shown(&Step { call: None, asked, answer })
    }

    fn ends_with(&self, asked: Asked<'_>) -> Stop {
        let mut state = self.state.lock();
        state.next = Some(asked.to_string());
        state.parting = Some(Parting { recorded: None, wanted: Some(Wanted::of(asked)) });
        Stop::Over
    }

    /// What the node said, as the record has it.
    fn told<T: DeserializeOwned>(&self, question: HostQuestion) -> Result<T, Stop> {
        match self.answered(Asked::Question(question))? {
            Recorded::Answer { answer, .. } => serde_json::from_str(&answer).map_err(|_| Stop::Over),
            _ => Err(Stop::Over),
        }
    }

    fn call(&self, asked: Asked<'_>) -> Call {
        match self.answered(asked) {
            Ok(recorded) => self.of_record(recorded),
            Err(stop) => Call { number: None, answer: ready(Err(stop)).boxed() },
        }
    }

    /// A call as the record has it.
    fn of_record(&self, recorded: Recorded) -> Call {
        let (number, answer): (_, Answer) = match recorded {
            Recorded::Call { call, outcome: Some(outcome) } => {
                (Some(call), Ok(outcome.map(|answer| answer.result).into()))
            }
            // Still in flight in the record: it never comes. Whoever waits for nothing else is at the end, and whoever has begun it only
            // goes on.
            Recorded::Call { call, outcome: None } => {
                let answer = self.audience.patience().map(|()| Err(Stop::Over)).boxed();
                return Call { number: Some(call), answer };
            }
            _ => (None, Err(Stop::Over)),
        };
        Call { number, answer: ready(answer).boxed() }
    }

    /// What came of storing an artifact. Behind the end of the record nothing is stored, and the plugin is told that it was.
    fn put_recorded(
        &self,
        name: &str,
        media_type: &str,
        bytes: &[u8],
        contents: Contents<'_>,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>> {
        let asked = Asked::Put { name, media_type, contents };
        let answer = match self.next(asked) {
            Ok(Some(Recorded::Stored(artifact))) => Ok(Ok(artifact)),
            Ok(Some(Recorded::Answer { answer, .. })) => Ok(Err(serde_json::from_str(&answer).unwrap_or(answer))),
            Ok(Some(_)) => Ok(Err("it was not stored".to_owned())),
            Ok(None) => self.noted(asked).map(|()| {
                let media_type = media_type.to_owned();
                let name = ArtifactName::new(name).map_err(|error| error.to_string())?;
                Ok(Artifact { name, media_type, bytes: bytes.len() as u64, sha256: Digest::of(bytes) })
            }),
            Err(stop) => Err(stop),
        };
        ready(answer).boxed()
    }
}

impl Host for Rehearsal {
    fn describe(&self, tool: &ToolName) -> Result<ToolInfo, Stop> {
        match self.next(Asked::Describe { tool })? {
            Some(Recorded::Described(info)) => Ok(info),
            // Behind the end of the record, or in one that does not say.
            _ => self.tools.iter().find(|info| info.name == *tool).cloned().ok_or(Stop::Over),
        }
    }

    fn start(&self, tool: &ToolName, arguments: String) -> Call {
        self.call(Asked::Call { tool, arguments: &arguments })
    }

    fn amended(&self, call: CallNo) -> Option<String> {
        self.mission.amended(call).map(str::to_owned)
    }

    fn ask(&self, question: String) -> Call {
        self.call(Asked::Ask { question: &question })
    }

    fn complete(&self, request: String, tools: Vec<ToolName>) -> Call {
        let whole = ModelCall { request: &request, tools: &tools }.whole();
        self.call(Asked::Call { tool: &ToolName::new(MODEL), arguments: &whole })
    }

    fn dispatch(&self, order: String) -> BoxFuture<'static, Result<Result<Call, CallError>, Stop>> {
        let name = ToolName::new(MISSION);
        let dispatched = match self.answered(Asked::Call { tool: &name, arguments: &order }) {
            Ok(Recorded::Refused { error }) => Ok(Err(error)),
            Ok(recorded) => Ok(Ok(self.of_record(recorded))),
            Err(stop) => Err(stop),
        };
        ready(dispatched).boxed()
    }

    fn models(&self) -> Result<Vec<ModelInfo>, Stop> {
        self.told(HostQuestion::Models)
    }

    fn deadline(&self) -> Result<Option<Timestamp>, Stop> {
        let ms: Option<i64> = self.told(HostQuestion::Deadline)?;
        Ok(ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()))
    }

    fn left(&self) -> Result<Left, Stop> {
        self.told(HostQuestion::Left)
    }

    fn closing(&self) -> BoxFuture<'static, Result<(), Stop>> {
        match self.answered(Asked::Question(HostQuestion::Closing)) {
            // When it was taken, each recorded choice says.
            Ok(_) if self.closing => ready(Ok(())).boxed(),
            // It never comes: whoever waits for nothing else is at the end.
            Ok(_) => self.audience.patience().map(|()| Err(Stop::Over)).boxed(),
            Err(stop) => ready(Err(stop)).boxed(),
        }
    }

    fn land(&self) -> Result<(), Stop> {
        self.noted(Asked::Land)
    }

    fn gave_up(&self, _call: CallNo) {}

    fn waits(&self, _waits: bool) {}

    fn choice(&self, among: &[Option<CallNo>]) -> Result<Option<u32>, Stop> {
        match self.answered(Asked::WaitAny { among })? {
            Recorded::Answer { answer, .. } => Ok(answer.parse().ok()),
            _ => Ok(None),
        }
    }

    fn waited(&self, _among: &[Option<CallNo>], _ready: u32) -> Result<(), Stop> {
        Ok(())
    }

    fn now(&self) -> Result<Timestamp, Stop> {
        let asked = Asked::Question(HostQuestion::Now);
        match self.next(asked)? {
            Some(Recorded::Answer { answer, at, .. }) => {
                Ok(answer.parse().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(at))
            }
            None if self.looks => {
                let at = self.times.last().map_or(Timestamp::UNIX_EPOCH, |(_, at)| *at);
                let answer = Recorded::Answer { answer: at.as_millisecond().to_string(), at, ran_ms: 0 };
                self.behind(asked, &answer, false)?;
                Ok(at)
            }
            None => Err(self.ends_with(asked)),
            Some(_) => Err(Stop::Over),
        }
    }

    fn after(&self, duration: std::time::Duration) -> BoxFuture<'static, Result<(), Stop>> {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        ready(self.answered(Asked::After { ms }).map(drop)).boxed()
    }

    fn milestone(&self, text: String) -> Result<(), Stop> {
        self.noted(Asked::Milestone { text: &text })
    }

    fn log(&self, level: LogLevel, text: String) -> Result<(), Stop> {
        self.noted(Asked::Log { level, text: &text })
    }

    fn judge(&self, criterion: u32, verdict: outcome::Verdict, evidence: String) -> Result<(), Stop> {
        self.noted(Asked::Judge { criterion, verdict, evidence: &evidence })
    }

    fn put(
        &self,
        name: String,
        media_type: String,
        bytes: Vec<u8>,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>> {
        self.put_recorded(&name, &media_type, &bytes, Contents::Memory(Digest::of(&bytes)))
    }

    fn put_file(
        &self,
        name: String,
        media_type: String,
        path: String,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>> {
        self.put_recorded(&name, &media_type, &[], Contents::File(&path))
    }

    fn get(&self, name: String) -> BoxFuture<'static, Result<Result<Vec<u8>, String>, Stop>> {
        let of = Asked::Get { name: &name };
        self.read(of, None, &name, || format!("this mission has no artifact `{name}`"))
    }

    fn get_of(&self, mission: String, name: String) -> BoxFuture<'static, Result<Result<Vec<u8>, String>, Stop>> {
        let of = Asked::GetOf { mission: &mission, name: &name };
        self.read(of, Some(&mission), &name, || no_artifact_of(&mission, &name))
    }
}

/// What a plugin is told that asks for what no child of its mission left.
pub(crate) fn no_artifact_of(mission: &str, name: &str) -> String {
    let (mission, name) = (limit::clip(mission, limit::ID_BYTES_MAX), limit::clip(name, limit::ID_BYTES_MAX));
    format!("no mission `{mission}` that this one has dispatched, and that has ended, left an artifact `{name}`")
}

impl Rehearsal {
    /// The bytes of an artifact of the mission, or of a child of it.
    fn read(
        &self,
        asked: Asked<'_>,
        of: Option<&str>,
        name: &str,
        none: impl Fn() -> String,
    ) -> BoxFuture<'static, Result<Result<Vec<u8>, String>, Stop>> {
        let sha256 = match self.answered(asked) {
            Ok(Recorded::Answer { answer, .. }) if answer != "null" => serde_json::from_str(&answer).ok(),
            Ok(_) => return ready(Ok(Err(none()))).boxed(),
            Err(stop) => return ready(Err(stop)).boxed(),
        };
        let name = name.to_owned();
        let bytes = match of {
            None => self.audience.artifact(name.clone(), sha256),
            Some(of) => self.audience.artifact_of(of.to_owned(), name.clone(), sha256),
        };
        async move {
            let gone = || Stop::Crash(Crash::Unrunnable(format!("the artifact `{name}` cannot be fetched")));
            Ok(Ok(bytes.await.ok_or_else(gone)?))
        }
        .boxed()
    }
}
