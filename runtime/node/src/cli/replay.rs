//! `sortie replay`: the plugin once more on its recorded answers, doing nothing: how an author tests a fix against last
//! night's failure.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::future::{FutureExt as _, ready};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use sortie_contract::artifact::Artifact;
use sortie_contract::id::CallNo;
use sortie_contract::plugin::{Crash, LogLevel, Verdict};
use sortie_contract::record::{HostQuestion, Stamped};
use sortie_contract::tool::{EffectClass, ToolInfo, ToolName};
use sortie_contract::{Timestamp, limit, outcome};
use sortie_mission::replay::{Asked, Recorded, Replay};
use sortie_sandbox::{Answer, BoxFuture, Call, Ending, Host, Kill, Options, Run, Sandbox, Stop};

use super::client::Client;
use super::{Exit, Failure, text};
use sortie_engine::begin;
use sortie_engine::intake::brief;
use sortie_engine::look::parse_record;

/// What to replay.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The mission's id.
    id: String,
    /// Run this build of the plugin instead of the one that the mission ran on.
    #[arg(long, value_name = "FILE.wasm")]
    plugin: Option<PathBuf>,
}

pub(super) async fn replay(args: ReplayArgs, client: &Client, as_json: bool) -> Result<Exit, Failure> {
    let shown = client.get(&["v1", "missions", &args.id, "journal"]).await?;
    let shown = shown["items"].as_array().cloned().unwrap_or_default();
    let records: Vec<Stamped> = shown.iter().filter_map(parse_record).collect();
    if records.len() != shown.len() || records.is_empty() {
        return Err(
            "the node shows records that this version of sortie does not know; use the node's own version".into()
        );
    }
    let mut mission = begin(&records[0])?;
    records[1..].iter().try_for_each(|record| mission.apply(record))?;
    let component = match &args.plugin {
        Some(file) => std::fs::read(file).map_err(|error| Failure::unusable(format!("{}: {error}", file.display())))?,
        None => {
            let request = client.request(Method::GET, &["v1", "missions", &args.id, "plugin"]);
            client.send(request).await?.bytes().await?.to_vec()
        }
    };
    let folder = tempfile::tempdir()?;
    let sandbox = Sandbox::new(Options { instances_max: 1, ..Options::new(folder.path().to_owned()) })?;
    let installed = sandbox.install(component).await.map_err(Failure::unusable)?;
    let tools = client.get(&["v1", "tools"]).await?;
    let tools: Vec<ToolInfo> = tools["items"].as_array().into_iter().flatten().filter_map(tool).collect();

    let grants = mission.granted().map_or_else(|| mission.grantable(&tools), <[ToolName]>::to_vec);
    let host = Arc::new(Player::new(&records, tools, client.clone(), args.id.clone(), as_json));
    let ending = sandbox.run(Run {
        plugin: installed.identity.digest,
        brief: brief(mission.envelope(), mission.session()),
        grants,
        host: Arc::clone(&host) as Arc<dyn Host>,
        kill: Kill::new(),
    });
    let ending = ending.await;
    let (exit, said) = host.conclude(ending);
    let recorded = match mission.reason() {
        Some(reason) => format!("recorded: {} ({reason}): {}", mission.status(), mission.last_summary()),
        None => format!("recorded: {}, so far", mission.status()),
    };
    if as_json {
        text::json(&json!({"end": said, "recorded": recorded, "plugin": installed.identity.digest.to_string()}))?;
    } else {
        writeln!(std::io::stdout(), "{}\n{}", text::plain(&said), text::plain(&recorded))?;
    }
    Ok(exit)
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
    })
}

/// A host that has nothing but a record, and shows what is made of it.
struct Player {
    replay: Mutex<Replay>,
    /// When each host call was made, in their order.
    times: Vec<(CallNo, Timestamp)>,
    /// What the plugin asked for behind the end of the record.
    beyond: Mutex<Option<String>>,
    /// The node's: for records that do not say what they were said to be.
    tools: Vec<ToolInfo>,
    client: Client,
    id: String,
    as_json: bool,
}

impl Player {
    fn new(records: &[Stamped], tools: Vec<ToolInfo>, client: Client, id: String, as_json: bool) -> Self {
        let replay = Replay::new(records);
        let times = replay.times();
        Self { replay: Mutex::new(replay), times, beyond: Mutex::default(), tools, client, id, as_json }
    }

    /// The recorded answer, shown. Behind the end of the record the run is over.
    fn next(&self, asked: Asked<'_>) -> Result<Recorded, Stop> {
        let mut replay = self.replay.lock();
        let index = replay.calls() as usize;
        match replay.next(asked) {
            Ok(Some(recorded)) => {
                self.show(index, asked, &recorded);
                Ok(recorded)
            }
            Ok(None) => {
                *self.beyond.lock() = Some(asked.to_string());
                Err(Stop::Over)
            }
            Err(diverged) => Err(Stop::Crash(diverged)),
        }
    }

    fn show(&self, index: usize, asked: Asked<'_>, recorded: &Recorded) {
        let answer = match recorded {
            Recorded::Call { outcome: None, .. } => "no result yet".to_owned(),
            Recorded::Call { outcome: Some(Ok(answer)), .. } => limit::clip(&answer.result, limit::ID_BYTES_MAX),
            Recorded::Call { outcome: Some(Err(error)), .. } => format!("{}: {error}", error.code()),
            Recorded::Answer { answer, .. } => limit::clip(answer, limit::ID_BYTES_MAX),
            Recorded::Described(info) => limit::clip(&info.description, limit::ID_BYTES_MAX),
            Recorded::Stored(artifact) => format!("{} bytes", artifact.bytes),
            Recorded::Noted => String::new(),
        };
        let (call, at) = self.times.get(index).copied().unwrap_or((CallNo(0), Timestamp::UNIX_EPOCH));
        let asked = asked.to_string();
        // Whoever reads this has had enough when it cannot be written any more.
        let _ = if self.as_json {
            text::json(&json!({"call": call, "at": at, "asked": asked, "answer": answer}))
        } else {
            let arrow = if answer.is_empty() { "" } else { "  ->  " };
            writeln!(std::io::stdout(), "{call:>5}  {at:.3}  {}{arrow}{}", text::plain(&asked), text::plain(&answer))
        };
    }

    fn conclude(&self, ending: Ending) -> (Exit, String) {
        let diverged = |crash: &Crash| match crash {
            Crash::Diverged { recorded, attempted } => {
                format!("here it goes another way: recorded is {recorded}; the plugin asks for {attempted}")
            }
            other => format!("the plugin ended: {other:?}"),
        };
        match (ending, self.replay.lock().end(), self.beyond.lock().take()) {
            (Ending::Crashed(crash), ..) => (Exit::Failed, diverged(&crash)),
            (Ending::Killed, _, Some(beyond)) => {
                (Exit::Completed, format!("the record ends here; the plugin would go on with {beyond}"))
            }
            (Ending::Killed, ..) => (Exit::Completed, "the record ends here".to_owned()),
            (Ending::Returned(_), Err(crash), _) => (Exit::Failed, diverged(&crash)),
            (Ending::Returned(Verdict::Done { summary, .. }), ..) => (Exit::Completed, format!("done: {summary}")),
            (Ending::Returned(Verdict::Failed { summary, .. }), ..) => (Exit::Completed, format!("failed: {summary}")),
        }
    }

    fn call(&self, asked: Asked<'_>) -> Call {
        let answer: Answer = match self.next(asked) {
            Ok(Recorded::Call { outcome: Some(outcome), .. }) => Ok(outcome.map(|answer| answer.result)),
            // Still in flight in the record: it never comes. Whoever waits for it is at the end.
            Ok(_) => Err(Stop::Over),
            Err(stop) => Err(stop),
        };
        Call { number: None, answer: ready(answer).boxed() }
    }

    fn noted(&self, asked: Asked<'_>) -> Result<(), Stop> {
        self.next(asked).map(drop)
    }

    fn put_recorded(&self, name: &str) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>> {
        let answer = self.next(Asked::Put { name }).map(|recorded| match recorded {
            Recorded::Stored(artifact) => Ok(artifact),
            Recorded::Answer { answer, .. } => Err(serde_json::from_str(&answer).unwrap_or(answer)),
            _ => Err("it was not stored".to_owned()),
        });
        ready(answer).boxed()
    }
}

impl Host for Player {
    fn describe(&self, tool: &ToolName) -> Result<ToolInfo, Stop> {
        match self.next(Asked::Describe { tool })? {
            Recorded::Described(info) => Ok(info),
            _ => self.tools.iter().find(|info| info.name == *tool).cloned().ok_or(Stop::Over),
        }
    }

    fn start(&self, tool: &ToolName, arguments: String) -> Call {
        self.call(Asked::Call { tool, arguments: &arguments })
    }

    fn ask(&self, question: String) -> Call {
        self.call(Asked::Ask { question: &question })
    }

    fn gave_up(&self, _call: CallNo) {}

    fn waits(&self, _waits: bool) {}

    fn choice(&self) -> Result<Option<u32>, Stop> {
        match self.next(Asked::Question(HostQuestion::WaitAny))? {
            Recorded::Answer { answer, .. } => Ok(answer.parse().ok()),
            _ => Ok(None),
        }
    }

    fn waited(&self, _ready: u32) -> Result<(), Stop> {
        Ok(())
    }

    fn now(&self) -> Result<Timestamp, Stop> {
        match self.next(Asked::Question(HostQuestion::Now))? {
            Recorded::Answer { answer, at, .. } => {
                Ok(answer.parse().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(at))
            }
            _ => Err(Stop::Over),
        }
    }

    fn after(&self, _duration: Duration) -> BoxFuture<'static, Result<(), Stop>> {
        ready(self.noted(Asked::Question(HostQuestion::After))).boxed()
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
        _media_type: String,
        _bytes: Vec<u8>,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>> {
        self.put_recorded(&name)
    }

    fn put_file(
        &self,
        name: String,
        _media_type: String,
        _path: String,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>> {
        self.put_recorded(&name)
    }

    fn get(&self, name: String) -> BoxFuture<'static, Result<Result<Vec<u8>, String>, Stop>> {
        match self.next(Asked::Question(HostQuestion::ArtifactGet)) {
            Ok(Recorded::Answer { answer, .. }) if answer != "null" => {}
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
