//! What a running plugin asks of the node: every call becomes a command to the core.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::{FutureExt as _, ready};
use sortie_contract::artifact::{Artifact, ArtifactName};
use sortie_contract::digest::Digest;
use sortie_contract::id::{CallNo, RunNo};
use sortie_contract::plugin::{Crash, LogLevel};
use sortie_contract::record::{HostQuestion, Record};
use sortie_contract::tool::{CallError, Repeat, ToolInfo, ToolName};
use sortie_contract::{MicroUsd, Timestamp, limit, outcome};
use sortie_journal::Receipt;
use sortie_mission::{Command, Mission, Refusal};
use sortie_sandbox::{Answer, BoxFuture, Host, Stop};
use sortie_tools::CallContext;
use tokio_util::task::AbortOnDropHandle;

use super::Engine;
use super::live::{CommandError, Live, Wait};

/// The host of one run of one mission.
pub(super) struct RunHost {
    engine: Arc<Engine>,
    live: Arc<Live>,
    run: RunNo,
    context: CallContext,
}

impl RunHost {
    pub(super) fn new(engine: Arc<Engine>, live: Arc<Live>, run: RunNo, context: CallContext) -> Self {
        Self { engine, live, run, context }
    }

    fn tell(&self, command: Command<'_>) -> Result<(), Stop> {
        self.engine.command(&self.live, command, Wait::No).map(drop).map_err(stop)
    }

    fn answered(&self, question: HostQuestion, answer: String) -> Result<(), Stop> {
        self.tell(Command::Answer { run: self.run, question, answer })
    }

    /// A call that was granted: performed by a task of its own, so that calls run side by side.
    fn perform(
        &self,
        call: CallNo,
        tool: &ToolInfo,
        arguments: String,
        started: Option<Receipt>,
    ) -> BoxFuture<'static, Answer> {
        let engine = Arc::clone(&self.engine);
        let live = Arc::clone(&self.live);
        let run = self.run;
        let name = tool.name.clone();
        let mut context = self.context.clone();
        context.idempotency_key = format!("{}/{call}", context.mission_id);
        let task = self.engine.tasks.spawn(async move {
            // What may have an effect is on disk before it happens.
            if let Some(started) = started
                && started.await.is_err()
            {
                return Err(Stop::Over);
            }
            let outcome = engine.tools.call(name.as_str(), &context, &arguments).await;
            let done = || Command::CallDone { run, call, outcome: outcome.clone(), cost: MicroUsd::ZERO };
            match engine.command_patiently(&live, done, Wait::No).await {
                Ok(_) => Ok(outcome.map(|answer| answer.result)),
                // The mission ended meanwhile; nobody gets this result.
                Err(error) => Err(stop(error)),
            }
        });
        AbortOnDropHandle::new(task)
            .map(|joined| joined.unwrap_or_else(|_| Ok(Err(CallError::Failed("the tool broke off".to_owned())))))
            .boxed()
    }

    fn store(
        &self,
        name: String,
        media_type: String,
        bytes: impl FnOnce(&CallContext) -> Result<Vec<u8>, String> + Send + 'static,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>> {
        let (engine, live, run, context) =
            (Arc::clone(&self.engine), Arc::clone(&self.live), self.run, self.context.clone());
        async move {
            let artifact = match engine.keep(&live, name, media_type, move || bytes(&context)).await {
                Ok(artifact) => artifact,
                Err(why) => return Ok(Err(why)),
            };
            let command = || Command::StoreArtifact { run, artifact: artifact.clone() };
            engine.command_patiently(&live, command, Wait::No).await.map_err(stop)?;
            Ok(Ok(artifact))
        }
        .boxed()
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

impl Engine {
    /// Puts bytes into the artifact store, off the async threads.
    pub(super) async fn keep(
        &self,
        live: &Live,
        name: String,
        media_type: String,
        bytes: impl FnOnce() -> Result<Vec<u8>, String> + Send + 'static,
    ) -> Result<Artifact, String> {
        let name = ArtifactName::new(name).map_err(|error| error.to_string())?;
        let plain = media_type.len() <= limit::ID_BYTES_MAX
            && media_type.split_once('/').is_some_and(|(kind, rest)| !kind.is_empty() && !rest.is_empty())
            && media_type.bytes().all(|b| (0x20..0x7f).contains(&b));
        if !plain {
            return Err(format!("`{}` is no media type such as text/markdown", limit::clip(&media_type, 80)));
        }
        if live.with(|mission| mission.artifacts().len()) >= limit::ARTIFACTS_MAX {
            return Err(format!("a mission has at most {} artifacts", limit::ARTIFACTS_MAX));
        }
        let (store, no) = (self.artifacts.clone(), live.no);
        let stored = tokio::task::spawn_blocking(move || {
            let bytes = bytes()?;
            if bytes.len() > limit::ARTIFACT_BYTES_MAX {
                return Err(format!("an artifact has at most {} bytes", limit::ARTIFACT_BYTES_MAX));
            }
            let sha256 = store.put(no, &bytes).map_err(|error| format!("it cannot be stored: {error}"))?;
            Ok((bytes.len() as u64, sha256))
        });
        let (bytes, sha256) = stored.await.map_err(|_| "it cannot be stored".to_owned())??;
        Ok(Artifact { name, media_type, bytes, sha256 })
    }
}

impl Host for RunHost {
    fn start(&self, tool: &ToolName, arguments: String) -> BoxFuture<'static, Answer> {
        self.engine.counters.calls.fetch_add(1, Relaxed);
        let info = self.engine.tools.info(tool.as_str()).expect("handles are made of this registry's tools");
        let digest = Digest::of(arguments.as_bytes());
        let wait = if info.repeat() == Repeat::ReadOnly { Wait::No } else { Wait::Durable };
        let call = Command::Call {
            run: self.run,
            tool: info,
            arguments: arguments.clone(),
            digest,
            cost_estimate: MicroUsd::ZERO,
        };
        let taken = match self.engine.command(&self.live, call, wait) {
            Ok(taken) => taken,
            Err(error) => return ready(Err(stop(error))).boxed(),
        };
        match taken.records.into_iter().next().map(|stamped| stamped.record) {
            Some(Record::CallStarted { call, .. }) => self.perform(call, info, arguments, taken.receipt),
            Some(Record::CallRefused { error, .. }) => ready(Ok(Err(error))).boxed(),
            // Time ran out with this very call.
            _ => ready(Err(Stop::Over)).boxed(),
        }
    }

    fn waited(&self, ready: u32) -> Result<(), Stop> {
        self.answered(HostQuestion::WaitAny, ready.to_string())
    }

    fn now(&self) -> Result<Timestamp, Stop> {
        let now = self.engine.clock.wall();
        self.answered(HostQuestion::Now, now.as_millisecond().to_string())?;
        Ok(now)
    }

    fn after(&self, duration: Duration) -> BoxFuture<'static, Result<(), Stop>> {
        if let Err(stop) = self.answered(HostQuestion::After, duration.as_millis().to_string()) {
            return ready(Err(stop)).boxed();
        }
        // A timer of the node's own runtime: guests that spin do not delay it.
        let task = self.engine.tasks.spawn(async move { tokio::time::sleep(duration).await });
        AbortOnDropHandle::new(task).map(|_| Ok(())).boxed()
    }

    fn milestone(&self, text: String) -> Result<(), Stop> {
        self.tell(Command::Milestone { run: self.run, text })
    }

    fn log(&self, level: LogLevel, text: String) -> Result<(), Stop> {
        self.tell(Command::Log { run: self.run, level, text })
    }

    fn judge(&self, criterion: u32, verdict: outcome::Verdict, evidence: String) -> Result<(), Stop> {
        self.tell(Command::Judge { run: self.run, criterion, verdict, evidence })
    }

    fn put(
        &self,
        name: String,
        media_type: String,
        bytes: Vec<u8>,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>> {
        self.store(name, media_type, move |_| Ok(bytes))
    }

    fn put_file(
        &self,
        name: String,
        media_type: String,
        path: String,
    ) -> BoxFuture<'static, Result<Result<Artifact, String>, Stop>> {
        self.store(name, media_type, move |context| {
            context.workspace.read_file(&path, limit::ARTIFACT_BYTES_MAX).map_err(|error| format!("{path}: {error}"))
        })
    }

    fn get(&self, name: String) -> BoxFuture<'static, Result<Result<Vec<u8>, String>, Stop>> {
        let sha256 = self.live.with(|mission: &Mission| {
            mission.artifacts().iter().find(|artifact| artifact.name.as_str() == name).map(|artifact| artifact.sha256)
        });
        let answer = sha256.map_or_else(|| "null".to_owned(), |sha256| format!("\"{sha256}\""));
        if let Err(stop) = self.answered(HostQuestion::ArtifactGet, answer) {
            return ready(Err(stop)).boxed();
        }
        let (store, no) = (self.engine.artifacts.clone(), self.live.no);
        async move {
            let Some(sha256) = sha256 else { return Ok(Err(format!("this mission has no artifact `{name}`"))) };
            let read = tokio::task::spawn_blocking(move || store.get(no, &sha256)).await;
            Ok(match read {
                Ok(Ok(bytes)) => Ok(bytes),
                Ok(Err(error)) => Err(format!("the artifact cannot be read: {error}")),
                Err(_) => Err("the artifact cannot be read".to_owned()),
            })
        }
        .boxed()
    }
}
