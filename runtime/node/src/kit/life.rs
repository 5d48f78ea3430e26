//! One life of a node after another, until the case's mission has ended: each begins on what the one before left on the disk.

use std::path::{Component, Path};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use sortie_ambient::Ambient as _;
use sortie_callback::{CallbackConfig, Courier, Reply, Request, SendError, Transport};
use sortie_contract::outcome::Status;
use sortie_contract::{MissionNo, SessionId, Timestamp, VpId};
use sortie_engine::act::{ActError, PauseFile};
use sortie_engine::intake::DispatchError;
use sortie_engine::recover::Others;
use sortie_engine::{Artifacts as _, Disk, Engine, Parts};
use sortie_journal::sim::{Crash, SimDisk};
use sortie_journal::{EmbeddedLog, Journal, Options};
use sortie_mission::Mission;
use sortie_sandbox::{Installed, Sandbox};
use sortie_tools::{BuiltIn, Providers};
use tempfile::TempDir;
use tokio::runtime::Builder;

use super::bench::{Answered, Bench};
use super::case::{Cancel, Case, read_time};
use super::children::{Children, ToCancel};
use super::clock::{Clock, Told};
use super::people::People;
use super::prompter::Prompter;
use super::seen::{Kept, Seen};
use super::stage::{self, Stage};
use crate::config::Config;
use crate::files::files;
use crate::node::settings;

/// The longest, in real time, that a plugin may be without an answer to a call. Time within a run is skipped: who takes so long computes. Each answer
/// begins it anew, so that many calls on a busy machine are no reason to give up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is otherwise in a run than the case says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twist {
    /// Nothing.
    None,
    /// The node is lost behind so many answered calls.
    CrashAfter(usize),
    /// This call fails, of those that can.
    Fails(usize),
}

/// What a run came to.
pub(super) struct Ran {
    pub(super) seen: Seen,
    /// How many calls were answered: behind each of them a node can be lost.
    pub(super) answered: usize,
    /// The calls that can fail.
    pub(super) turns: Vec<String>,
}

/// Why a run came to nothing.
#[derive(Debug, Clone)]
pub(super) struct Stuck(pub(super) String);

impl<E: std::error::Error> From<E> for Stuck {
    fn from(error: E) -> Self {
        Self(crate::cli::with_causes(&error))
    }
}

/// How a life ended.
enum Left {
    /// With the end of the mission.
    Done(Box<Seen>),
    /// By a crash.
    Lost,
}

/// The world of a run: everything that outlives a node.
struct World {
    config: Config,
    clock: Clock,
    stage: Arc<Stage>,
    prompter: Arc<Prompter>,
    people: Mutex<People>,
    children: Arc<Children>,
    answered: Arc<Answered>,
    tools: BuiltInTools,
    sandbox: Sandbox,
    plugin: Installed,
    memory_bytes_max: u64,
    folder: TempDir,
    begins: Timestamp,
    mission_id: String,
    envelope: String,
    files: Vec<(String, String)>,
    cancel: Option<Cancel>,
}

impl World {
    /// When it is cancelled, and what is said to that, once it is known when.
    fn cancelled_at(&self, mission: &Mission) -> Option<(Duration, String)> {
        let Cancel { call, after, host_calls, under_way, reason } = self.cancel.as_ref()?;
        let has_begun = mission.status() != Status::Queued;
        if host_calls.is_some_and(|calls| !has_begun || mission.host_calls() < calls)
            || under_way.is_some_and(|calls| under_way_of(mission) > calls)
        {
            return None;
        }
        let after = after.as_deref().and_then(|after| read_time("cancel.after", after).ok()).unwrap_or_default();
        Some((self.answered.asked_at(*call)?.saturating_add(after), reason.clone()))
    }
}

/// How many calls of a plugin have no result yet.
fn under_way_of(mission: &Mission) -> usize {
    let waiting = mission.open_requests().iter().filter(|request| !mission.is_being_made(request.call)).count();
    mission.calls_in_flight() + waiting
}

type BuiltInTools = Vec<Arc<dyn sortie_tools::Tool>>;

/// Runs a case once. Blocks: not for an async worker.
pub(super) fn run(case: &Case, sandbox: &Sandbox, plugin: &Installed, twist: Twist) -> Result<Ran, Stuck> {
    let config = Config::default();
    let begins = case.begins().map_err(Stuck)?;
    let clock = Clock::new(begins, sandbox.clone());
    let (crash, fails) = match twist {
        Twist::None => (None, None),
        Twist::CrashAfter(after) => (Some(after), None),
        Twist::Fails(call) => (None, Some(call)),
    };
    let stage = Arc::new(Stage::new(case, clock.clone(), fails));
    let (tools, names) = futures_util::FutureExt::now_or_never(stage::tools(case, &stage, &plugin.manifest.needs))
        .ok_or_else(|| Stuck("the built-in tools are not there at once".to_owned()))?
        .map_err(Stuck)?;
    let folder = tempfile::tempdir()?;
    let ambient = Arc::new(clock.clone());
    let prompter = Prompter::new(case, folder.path(), ambient, Arc::clone(&stage)).map_err(Stuck)?;
    let children = Arc::new(Children::new(case, Arc::clone(&stage)));
    // A node that has the plugin gives it what it needs.
    let needs_mib = plugin.manifest.profile.memory_bytes.map_or(0, |bytes| bytes.div_ceil(1 << 20));
    let memory_mib = case.memory_mib.unwrap_or_else(|| config.limits.plugin_memory_mib.max(needs_mib));
    let envelope = case.envelope(&plugin.identity.name, &names).map_err(Stuck)?;
    let fields: serde_json::Value = serde_json::from_str(&envelope)?;
    let world = World {
        mission_id: fields["mission_id"].as_str().unwrap_or_default().to_owned(),
        envelope,
        config,
        clock,
        stage,
        prompter: Arc::new(prompter),
        people: Mutex::new(People::new(case)),
        children,
        answered: Arc::new(Answered::crashing(crash)),
        tools,
        sandbox: sandbox.clone(),
        plugin: plugin.clone(),
        memory_bytes_max: memory_mib.saturating_mul(1 << 20),
        folder,
        begins,
        files: case.files.iter().map(|(path, text)| (path.clone(), text.clone())).collect(),
        cancel: case.cancel.clone(),
    };
    let (mut disk, mut no) = (SimDisk::default(), None);
    loop {
        match life(&world, &disk, &mut no)? {
            Left::Lost => disk = disk.after_crash(Crash::Process),
            Left::Done(mut seen) => {
                seen.unanswered = world.stage.unanswered();
                seen.unanswered.extend(world.people.lock().unanswered().iter().cloned());
                seen.unanswered.extend(world.children.unanswered());
                let (answered, turns) = (world.answered.count(), world.stage.turns());
                return Ok(Ran { seen: *seen, answered, turns });
            }
        }
    }
}

/// A node lives, until the mission has ended or the node is lost.
fn life(world: &World, disk: &SimDisk, no: &mut Option<MissionNo>) -> Result<Left, Stuck> {
    let parks = world.clock.clone();
    let runtime = Builder::new_current_thread().enable_time().on_thread_park(move || parks.park()).build()?;
    world.clock.begin(runtime.handle().clone());
    let left = runtime.block_on(async {
        let engine = open(world, disk)?;
        engine.start();
        let lived = patiently(&world.answered, live(world, &engine, no)).await;
        // What is on record is on the disk: of what is lost, nothing was told to anybody.
        world.clock.flush();
        lived
            .ok_or_else(|| Stuck(format!("it computes for more than {} s and asks for nothing", PATIENCE.as_secs())))?
    });
    world.clock.end();
    runtime.shutdown_timeout(Duration::from_secs(1));
    left
}

/// What comes of it; nothing, where no call is answered for as long as there is patience.
async fn patiently<T>(answered: &Answered, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            came = &mut work => return Some(came),
            () = answered.again() => {}
            () = tokio::time::sleep(PATIENCE) => return None,
        }
    }
}

fn open(world: &World, disk: &SimDisk) -> Result<Arc<Engine>, Stuck> {
    let (journal, opened, stepper) = Journal::open_backend_stepped(disk.clone(), &Options::default())?;
    world.clock.writes(stepper);
    let ambient: sortie_ambient::Surroundings = Arc::new(world.clock.clone());
    let folder = world.folder.path();
    let (artifacts, workspaces) = files(&world.config.limits, folder, Arc::new(Disk::new(folder, 0)))?;
    let bench = Bench {
        sandbox: world.sandbox.clone(),
        plugin: world.plugin.clone(),
        memory_bytes_max: world.memory_bytes_max,
        clock: world.clock.clone(),
        answered: Arc::clone(&world.answered),
        children: Arc::clone(&world.children),
        mission_id: world.mission_id.clone(),
    };
    let parts = Parts {
        shared: None,
        settings: settings(&world.config)?,
        log: Box::new(move |visit| Ok(Arc::new(EmbeddedLog::new(journal, &opened, visit)?))),
        guests: Arc::new(bench),
        tools: Providers::new(BuiltIn::of(world.tools.clone()), Vec::new(), world.clock.wall())?,
        models: Arc::<Prompter>::clone(&world.prompter),
        artifacts: Arc::new(artifacts),
        workspaces,
        pause_mark: Arc::new(PauseFile::of(folder)),
        ambient: Arc::clone(&ambient),
    };
    let callback = CallbackConfig::default();
    let courier = |outbox| Courier::new(&callback, outbox, Arc::new(Nobody), ambient);
    Ok(Engine::open(parts, Others::GoOn, courier)?)
}

/// The mission goes on, as far as it comes.
async fn live(world: &World, engine: &Arc<Engine>, known: &mut Option<MissionNo>) -> Result<Left, Stuck> {
    let no = match *known {
        Some(no) => no,
        None => *known.insert(dispatch(world, engine).await?),
    };
    let mut news = engine.news();
    loop {
        let mission = engine.mission(no)?;
        if mission.status().is_final() {
            return Ok(Left::Done(Box::new(seen(world, engine, no)?)));
        }
        let next = {
            let mut people = world.people.lock();
            people.look(&mission, world.clock.steady(), &world.stage);
            people.next(&mission)
        };
        let ends = world.cancelled_at(&mission);
        if let Some(reason) = ends.as_ref().filter(|(at, _)| *at <= world.clock.steady()).map(|(_, reason)| reason) {
            match engine.cancel(no, reason.clone(), "case".to_owned()).await {
                Ok(()) | Err(ActError::AlreadyFinal) => continue,
                Err(error) => return Err(Stuck(format!("it cannot be cancelled: {}", told(&error)))),
            }
        }
        let due = next.as_ref().map(|(_, plan)| plan.due.saturating_sub(world.clock.steady()));
        if let (Some((request, plan)), Some(Duration::ZERO)) = (next, due) {
            let said = engine.decide(no, request, plan.decision, plan.by, plan.note).await;
            match said {
                Ok(()) | Err(ActError::AlreadyFinal) => world.people.lock().said(request),
                Err(error) => {
                    return Err(Stuck(format!("what somebody says to {request} is not taken: {}", told(&error))));
                }
            }
            continue;
        }
        let until = ends.map(|(at, _)| at.saturating_sub(world.clock.steady()));
        let waits = world.clock.sleep(due.into_iter().chain(until).min().unwrap_or(Duration::MAX));
        tokio::select! {
            biased;
            told = world.clock.told() => match told {
                Told::Crash => return Ok(Left::Lost),
                Told::Over => {
                    let status = mission.status();
                    return Err(Stuck(format!("nothing more will happen, and the mission is {status}: it waits for what never comes")));
                }
            },
            child = world.children.to_cancel() => cancel(engine, child).await?,
            _ = news.recv() => {}
            () = waits => {}
        }
    }
}

/// Somebody cancels a mission that the plugin has dispatched.
async fn cancel(engine: &Arc<Engine>, ToCancel { child, by, why }: ToCancel) -> Result<(), Stuck> {
    let Some(no) = engine.find(&child)? else { return Ok(()) };
    match engine.cancel(no, why, by).await {
        Ok(()) | Err(ActError::AlreadyFinal) => Ok(()),
        Err(error) => Err(Stuck(format!("{child} cannot be cancelled: {}", told(&error)))),
    }
}

fn told(error: &ActError) -> String {
    match error {
        ActError::Answer(mistakes) | ActError::Arguments(mistakes) => {
            mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
        other => crate::cli::with_causes(other),
    }
}

/// The files of the case are laid out, and its envelope is dispatched.
async fn dispatch(world: &World, engine: &Arc<Engine>) -> Result<MissionNo, Stuck> {
    lay_out(world, engine)?;
    let dispatched = engine.dispatch(world.envelope.clone()).await.map_err(|error| match error {
        DispatchError::Invalid(mistakes) => {
            let told: Vec<String> = mistakes.iter().map(|mistake| format!("  {mistake}")).collect();
            Stuck(format!("the mission is refused when it is dispatched:\n{}", told.join("\n")))
        }
        other => Stuck(crate::cli::with_causes(&other)),
    })?;
    Ok(dispatched.no)
}

/// Puts the files of the case where the mission's session works.
fn lay_out(world: &World, engine: &Engine) -> Result<(), Stuck> {
    let envelope: serde_json::Value = serde_json::from_str(&world.envelope)?;
    let name = |key: &str| envelope[key].as_str().unwrap_or_default().to_owned();
    let (Ok(vp), Ok(session)) = (VpId::new(name("vp_id")), SessionId::new(name("vp_session_id"))) else {
        // What is wrong with them is told when it is dispatched.
        return Ok(());
    };
    let room = engine.workspaces().place(&vp, &session);
    for (path, text) in &world.files {
        let within = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if !within || path.is_empty() {
            return Err(Stuck(format!("files: `{path}` is no path within a workspace")));
        }
        let file = room.join(path);
        std::fs::create_dir_all(file.parent().unwrap_or(&room))?;
        std::fs::write(&file, text)?;
    }
    Ok(())
}

/// What is on record of the mission.
fn seen(world: &World, engine: &Engine, no: MissionNo) -> Result<Seen, Stuck> {
    let (mission, records) = (engine.mission(no)?, engine.log().read_all(no, 0)?);
    let folder = world.folder.path();
    let (artifacts, _) = files(&world.config.limits, folder, Arc::new(Disk::new(folder, 0)))?;
    let kept = mission.artifacts().iter().map(|artifact| Kept {
        name: artifact.name.as_str().to_owned(),
        media_type: artifact.media_type.clone(),
        sha256: artifact.sha256.to_string(),
        bytes: artifacts.get(no, &artifact.sha256).unwrap_or_default(),
    });
    Ok(Seen::of(&mission, &records, kept.collect(), world.begins))
}

/// Nobody is reached from a case.
struct Nobody;

#[async_trait]
impl Transport for Nobody {
    async fn exchange(&self, _: Request) -> Result<Reply, SendError> {
        Err(SendError::Connect("a case reaches nobody".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use sortie_contract::id::CallNo;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn patience_ends_where_nothing_is_answered_and_not_because_there_is_much() {
        let answered = Answered::crashing(None);
        let many = async {
            for call in 1..=100 {
                tokio::time::sleep(PATIENCE / 2).await;
                answered.is_lost_behind(CallNo(call));
            }
        };
        assert_eq!(patiently(&answered, many).await, Some(()));
        let began = tokio::time::Instant::now();
        let last = async {
            answered.is_lost_behind(CallNo(101));
            std::future::pending::<()>().await;
        };
        assert_eq!(patiently(&answered, last).await, None);
        assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
    }
}
