//! `sortie replay`: the plugin once more on its recorded answers, doing nothing: how an author tests a fix against last
//! night's failure.

mod verdict;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::future::{FutureExt as _, ready};
use parking_lot::Mutex;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sortie_contract::artifact::{Artifact, ArtifactName};
use sortie_contract::digest::Digest;
use sortie_contract::id::CallNo;
use sortie_contract::plugin::{Crash, Left, LogLevel, ModelInfo};
use sortie_contract::record::{HostQuestion, Record, Stamped};
use sortie_contract::tool::{EffectClass, MODEL, ToolInfo, ToolName};
use sortie_contract::{MicroUsd, Timestamp, limit, outcome};
use sortie_mission::replay::{Asked, Contents, Recorded as Recalled, Replay};
use sortie_mission::{Mission, ModelCall};
use sortie_sandbox::{Answer, BoxFuture, Call, Ending, Host, Kill, Options, Run, Sandbox, Stop};

use super::client::Client;
use super::text::{self, Progress};
use super::{Exit, Failure};
use verdict::{End, Ran, Recorded};

use sortie_engine::begin;
use sortie_engine::intake::brief;
use sortie_engine::look::parse_record;

/// What to replay.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The mission's id.
    #[arg(value_parser = super::named, add = super::complete::missions())]
    id: String,
    /// Run this build of the plugin instead of the one that the mission ran on.
    #[arg(long, value_name = "FILE.wasm")]
    plugin: Option<PathBuf>,
}

pub(super) async fn replay(args: ReplayArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let shown = client.page(&["v1", "missions", &args.id, "journal"], &[]).await?;
    let shown = shown["items"].as_array().cloned().unwrap_or_default();
    let records: Vec<Stamped> = shown.iter().filter_map(parse_record).collect();
    if records.len() != shown.len() || records.is_empty() {
        return Err(
            "the node shows records that this version of sortie does not know; use the node's own version".into()
        );
    }
    let mission = fold(&records)?;
    let before_end = fold(records.split(is_end).next().unwrap_or_default())?;
    let component = match &args.plugin {
        Some(file) => std::fs::read(file).map_err(|error| Failure::unusable(format!("{}: {error}", file.display())))?,
        None => {
            let request = client.request(Method::GET, &["v1", "missions", &args.id, "plugin"]);
            client.send(request).await?.bytes().await?.to_vec()
        }
    };
    let folder = tempfile::tempdir()?;
    let sandbox = Sandbox::new(Options { instances_max: 1, ..Options::new(folder.path().to_owned()) })?;
    let compiling = Progress::of("the plugin is compiled");
    let installed = sandbox.install(component).await.map_err(Failure::unusable)?;
    drop(compiling);
    let tools = client.page(&["v1", "tools"], &[]).await?;
    let tools: Vec<ToolInfo> = tools["items"].as_array().into_iter().flatten().filter_map(tool).collect();

    let grants = mission.granted().map_or_else(|| mission.grantable(&tools), <[ToolName]>::to_vec);
    let recorded = Recorded::of(mission.reason());
    let followed = followed(&records, recorded);
    let host = Player::new(&followed, mission.clone(), tools, client.clone(), args.id.clone(), as_json);
    let host = Arc::new(host);
    let ending = sandbox.run(Run {
        plugin: installed.identity.digest,
        brief: brief(mission.envelope(), mission.session()),
        grants,
        host: Arc::clone(&host) as Arc<dyn Host>,
        kill: Kill::new(),
        memory_bytes_max: mission.memory_bytes_max(),
    });
    let ending = ending.await;
    let would = ended(&ending).and_then(|ending| End::with(&before_end, ending, records.last()?));
    let was = End::recorded(&records);
    let (verdict, says) = verdict::compare((recorded, was.as_ref()), &host.conclude(ending), would.as_ref());
    let was = was.map_or_else(|| format!("{}, so far", mission.status()), |end| end.to_string());
    if as_json {
        let plugin = installed.identity.digest.to_string();
        text::json(&json!({"verdict": verdict.as_str(), "says": says, "recorded": was, "plugin": plugin}))?;
    } else {
        let says = format!("{}: {says}", verdict.as_str());
        writeln!(std::io::stdout(), "recorded: {}\n{}", text::plain(&was), text::plain(&says))?;
    }
    Ok(verdict.exit())
}

fn fold(records: &[Stamped]) -> Result<Mission, Failure> {
    let first = records.first().ok_or("a mission begins with a record")?;
    let mut mission = begin(first)?;
    records[1..].iter().try_for_each(|record| mission.apply(record))?;
    Ok(mission)
}

fn is_end(stamped: &Stamped) -> bool {
    matches!(stamped.record, Record::Finished { .. })
}

/// The record that a build has to keep to. The last line of a plugin that crashed is its panic: whoever does not panic does not
/// log it either.
fn followed(records: &[Stamped], recorded: Recorded) -> Vec<Stamped> {
    let last = Replay::new(records).times().last().map(|(call, _)| *call);
    let is_panic = |stamped: &Stamped| matches!(stamped.record, Record::Logged { call, level: LogLevel::Error, .. } if Some(call) == last);
    records.iter().filter(|stamped| recorded != Recorded::Crashed || !is_panic(stamped)).cloned().collect()
}

/// How the core is told of an end.
fn ended(ending: &Ending) -> Option<sortie_mission::Ending> {
    match ending {
        Ending::Returned(verdict) => Some(sortie_mission::Ending::Returned(verdict.clone())),
        Ending::Crashed(crash) => Some(sortie_mission::Ending::Crashed(crash.clone())),
        Ending::Killed => None,
    }
}

/// A tool as the node lists it.
fn tool(item: &Value) -> Option<ToolInfo> {
    let effects = item["effects"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Some(ToolInfo {
        name: ToolName::new(item["name"].as_str()?),
        description: item["description"].as_str().unwrap_or_default().to_owned(),
        input_schema: item["input_schema"].clone(),
        effects: effects.map(|class| EffectClass(class.to_owned())).collect(),
        read_only: item["read_only"] == true,
        idempotent: item["repeat"] == "idempotent",
        price: MicroUsd::ZERO,
    })
}

/// Most that a build may note behind the end of the record: it may do so for ever.
const BEYOND_MAX: usize = 1000;

/// How long a build may wait for nothing but a signal that is not on record: long enough to get there.
const NEVER: Duration = Duration::from_secs(5);

/// A host that has nothing but a record, and shows what is made of it; behind its end, what needs nobody to answer.
struct Player {
    replay: Mutex<Replay>,
    /// When each host call was made, in their order.
    times: Vec<(CallNo, Timestamp)>,
    beyond: Mutex<Beyond>,
    /// The node's: for records that do not say what they were said to be.
    tools: Vec<ToolInfo>,
    /// Whether the record holds that a limit came near.
    closing: bool,
    /// What the records come to.
    mission: Mission,
    client: Client,
    id: String,
    as_json: bool,
}

/// What the plugin does behind the end of the record.
#[derive(Default)]
struct Beyond {
    /// How much it noted there.
    noted: usize,
    /// What nobody can answer.
    next: Option<String>,
}

impl Player {
    fn new(
        records: &[Stamped],
        mission: Mission,
        tools: Vec<ToolInfo>,
        client: Client,
        id: String,
        as_json: bool,
    ) -> Self {
        let replay = Replay::new(records);
        let times = replay.times();
        let closing = records.iter().any(|stamped| matches!(stamped.record, Record::Closing { .. }));
        Self {
            replay: Mutex::new(replay),
            times,
            beyond: Mutex::default(),
            tools,
            closing,
            mission,
            client,
            id,
            as_json,
        }
    }

    /// The recorded answer, shown; `None` behind the end of the record.
    fn next(&self, asked: Asked<'_>) -> Result<Option<Recalled>, Stop> {
        let mut replay = self.replay.lock();
        let index = replay.calls() as usize;
        match replay.next(asked) {
            Ok(Some(recorded)) => {
                self.show(Some(index), asked, &recorded);
                Ok(Some(recorded))
            }
            Ok(None) => Ok(None),
            Err(diverged) => Err(Stop::Crash(diverged)),
        }
    }

    /// The same for what has to be answered: behind the end of the record the run is over.
    fn answered(&self, asked: Asked<'_>) -> Result<Recalled, Stop> {
        self.next(asked)?.ok_or_else(|| self.ends_with(asked.to_string()))
    }

    /// The same for what is only noted: behind the end of the record it is shown, and the run goes on.
    fn noted(&self, asked: Asked<'_>) -> Result<(), Stop> {
        if self.next(asked)?.is_some() {
            return Ok(());
        }
        self.show(None, asked, &Recalled::Noted);
        let mut beyond = self.beyond.lock();
        beyond.noted += 1;
        if beyond.noted < BEYOND_MAX {
            return Ok(());
        }
        drop(beyond);
        Err(self.ends_with(format!("more notes than {BEYOND_MAX}")))
    }

    fn ends_with(&self, next: String) -> Stop {
        self.beyond.lock().next = Some(next);
        Stop::Over
    }

    /// Shows a call: that of an index into the record, or one behind its end.
    fn show(&self, index: Option<usize>, asked: Asked<'_>, recorded: &Recalled) {
        let answer = match recorded {
            Recalled::Call { outcome: None, .. } => "no result yet".to_owned(),
            Recalled::Call { outcome: Some(Ok(answer)), .. } => limit::clip(&answer.result, limit::ID_BYTES_MAX),
            Recalled::Call { outcome: Some(Err(error)), .. } => format!("{}: {error}", error.code()),
            Recalled::Answer { answer, .. } => limit::clip(answer, limit::ID_BYTES_MAX),
            Recalled::Described(info) => limit::clip(&info.description, limit::ID_BYTES_MAX),
            Recalled::Stored(artifact) => format!("{} bytes", artifact.bytes),
            Recalled::Noted => String::new(),
        };
        let call = index.map(|index| self.times.get(index).copied().unwrap_or((CallNo(0), Timestamp::UNIX_EPOCH)));
        let asked = asked.to_string();
        // Whoever reads this has had enough when it cannot be written any more.
        let _ = match call {
            Some((call, at)) if self.as_json => {
                text::json(&json!({"call": call, "at": at, "asked": asked, "answer": answer}))
            }
            None if self.as_json => text::json(&json!({"beyond": true, "asked": asked})),
            Some((call, at)) => {
                let arrow = if answer.is_empty() { "" } else { "  ->  " };
                let (asked, answer) = (text::plain(&asked), text::plain(&answer));
                writeln!(std::io::stdout(), "{call:>5}  {at:.3}  {asked}{arrow}{answer}")
            }
            None => writeln!(std::io::stdout(), "    +  behind the record: {}", text::plain(&asked)),
        };
    }

    /// How the run ended, beside the record.
    fn conclude(&self, ending: Ending) -> Ran {
        let (replay, beyond) = (self.replay.lock(), self.beyond.lock());
        match (ending, replay.end()) {
            (Ending::Crashed(Crash::Diverged { recorded, attempted }), _)
            | (Ending::Returned(_), Err(Crash::Diverged { recorded, attempted })) => {
                Ran::Diverged { recorded, attempted }
            }
            (Ending::Crashed(crash), Err(_)) => Ran::CrashedWithin(crash),
            (Ending::Crashed(crash), Ok(())) | (Ending::Returned(_), Err(crash)) => Ran::Crashed(crash),
            (Ending::Killed, _) => {
                let waits = || "waiting for a call that has no result on record".to_owned();
                Ran::WentOn { next: beyond.next.clone().unwrap_or_else(waits) }
            }
            (Ending::Returned(said), Ok(())) => Ran::Returned { said, beyond: beyond.noted > 0 },
        }
    }

    /// What the node said, as the record has it.
    fn told<T: DeserializeOwned>(&self, question: HostQuestion) -> Result<T, Stop> {
        match self.answered(Asked::Question(question))? {
            Recalled::Answer { answer, .. } => serde_json::from_str(&answer).map_err(|_| Stop::Over),
            _ => Err(Stop::Over),
        }
    }

    fn call(&self, asked: Asked<'_>) -> Call {
        let (number, answer): (_, Answer) = match self.answered(asked) {
            Ok(Recalled::Call { call, outcome: Some(outcome) }) => {
                (Some(call), Ok(outcome.map(|answer| answer.result).into()))
            }
            // Still in flight in the record: it never comes. Whoever waits for it is at the end.
            Ok(_) => (None, Err(Stop::Over)),
            Err(stop) => (None, Err(stop)),
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
            Ok(Some(Recalled::Stored(artifact))) => Ok(Ok(artifact)),
            Ok(Some(Recalled::Answer { answer, .. })) => Ok(Err(serde_json::from_str(&answer).unwrap_or(answer))),
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

impl Host for Player {
    fn describe(&self, tool: &ToolName) -> Result<ToolInfo, Stop> {
        match self.next(Asked::Describe { tool })? {
            Some(Recalled::Described(info)) => Ok(info),
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
            Ok(_) => tokio::time::sleep(NEVER).map(|()| Err(Stop::Over)).boxed(),
            Err(stop) => ready(Err(stop)).boxed(),
        }
    }

    fn land(&self) -> Result<(), Stop> {
        self.noted(Asked::Land)
    }

    fn gave_up(&self, _call: CallNo) {}

    fn waits(&self, _waits: bool) {}

    fn choice(&self) -> Result<Option<u32>, Stop> {
        match self.answered(Asked::Question(HostQuestion::WaitAny))? {
            Recalled::Answer { answer, .. } => Ok(answer.parse().ok()),
            _ => Ok(None),
        }
    }

    fn waited(&self, _ready: u32) -> Result<(), Stop> {
        Ok(())
    }

    fn now(&self) -> Result<Timestamp, Stop> {
        match self.answered(Asked::Question(HostQuestion::Now))? {
            Recalled::Answer { answer, at, .. } => {
                Ok(answer.parse().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(at))
            }
            _ => Err(Stop::Over),
        }
    }

    fn after(&self, duration: Duration) -> BoxFuture<'static, Result<(), Stop>> {
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
        match self.answered(Asked::Get { name: &name }) {
            Ok(Recalled::Answer { answer, .. }) if answer != "null" => {}
            Ok(_) => return ready(Ok(Err(format!("this mission has no artifact `{name}`")))).boxed(),
            Err(stop) => return ready(Err(stop)).boxed(),
        }
        let (client, id) = (self.client.clone(), self.id.clone());
        async move {
            let segments: Vec<&str> = ["v1", "missions", &id, "artifacts"].into_iter().chain(name.split('/')).collect();
            let bytes = async { client.send(client.request(Method::GET, &segments)).await.ok()?.bytes().await.ok() };
            let gone = || Stop::Crash(Crash::Unrunnable(format!("the artifact `{name}` cannot be fetched")));
            Ok(Ok(bytes.await.ok_or_else(gone)?.to_vec()))
        }
        .boxed()
    }
}
