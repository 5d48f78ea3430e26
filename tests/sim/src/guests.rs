//! Plugins: what is told of them, and what they do. Each of their steps waits for the world.
//!
//! It stands where the sandbox stands in a node, and does with calls and handles what that does: a call is asked once whether it is ready,
//! else it runs in a task of its own, which goes with its handle.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt as _;
use futures_util::future::{Either, poll_fn, select};
use sortie_ambient::{Ambient, BoxFuture, Joined};
use sortie_contract::digest::Digest;
use sortie_contract::id::CallNo;
use sortie_contract::plugin::{Brief, Crash, LogLevel, Manifest, PluginIdentity};
use sortie_contract::tool::{CallError, ToolInfo, ToolName};
use sortie_contract::{Mistake, Timestamp};
use sortie_engine::Guests;
use sortie_sandbox::{Answer, Call, Ending, Host, Installed, Reply, Run, Stop};

use crate::envelope::{CONCURRENCY, RUNNING_MAX};
use crate::executor::Executor;
use crate::ledger::digest;
use crate::models::MODELS;
use crate::scene::Scene;
use crate::script::{Op, Script};

/// The memory that a plugin is told to have.
pub(crate) const MEMORY_BYTES: u64 = 64 << 20;

/// The one plugin that is installed.
pub(crate) fn installed() -> Installed {
    let identity = PluginIdentity { name: "script".into(), version: "1.0.0".into(), digest: Digest::of(b"script") };
    let (name, version) = (identity.name.clone(), identity.version.clone());
    let manifest = Manifest { name, version, ..Manifest::default() };
    Installed { identity, manifest: Arc::new(manifest), origin: sortie_contract::plugin::Origin::default() }
}

/// The plugins of one life of a node.
pub(crate) struct Plugins {
    pub(crate) scene: Arc<Scene>,
    pub(crate) executor: Weak<Executor>,
}

impl Guests for Plugins {
    fn installed(&self, _: &str) -> Vec<Installed> {
        vec![installed()]
    }

    fn check(&self, _: Digest, _: Brief) -> BoxFuture<'_, Result<Vec<Mistake>, Crash>> {
        let pass = self.executor().pass();
        async move {
            pass.await;
            Ok(Vec::new())
        }
        .boxed()
    }

    fn memory_bytes_max(&self) -> u64 {
        MEMORY_BYTES
    }

    fn run(&self, run: Run) -> BoxFuture<'_, Ending> {
        let (kill, executor, scene) = (run.kill.clone(), self.executor(), Arc::clone(&self.scene));
        async move {
            // A child is met in the journal, and its acceptance may be on its way there.
            while !scene.meets(&run.brief.mission_id) && !kill.is_thrown() {
                executor.pass().await;
            }
            if kill.is_thrown() {
                return Ending::Killed;
            }
            let guest = Guest::new(scene, executor, run);
            let killed = std::pin::pin!(kill.thrown());
            let done = std::pin::pin!(guest.live());
            match select(killed, done).await {
                Either::Left(_) => Ending::Killed,
                Either::Right((ending, _)) => ending,
            }
        }
        .boxed()
    }
}

impl Plugins {
    fn executor(&self) -> Arc<Executor> {
        self.executor.upgrade().expect("a plugin runs on what is there")
    }
}

/// A plugin in memory.
struct Guest {
    scene: Arc<Scene>,
    executor: Arc<Executor>,
    client: usize,
    host: Arc<dyn Host>,
    grants: Vec<ToolName>,
    script: Script,
    handles: Vec<Handle>,
    /// What it was told of tools, this run.
    told: BTreeMap<ToolName, ToolInfo>,
    /// None in a rehearsal, of which the node keeps one at a time beside all others.
    place: Option<Place>,
}

/// Something that a plugin has begun.
struct Handle {
    number: Option<CallNo>,
    /// It is told when a limit comes near.
    is_signal: bool,
    going: Going,
}

/// How far that is.
enum Going {
    Running(Joined<Answer>),
    Arrived(Answer),
}

impl Handle {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Going::Running(task) = &mut self.going else { return Poll::Ready(()) };
        let Poll::Ready(joined) = task.poll_unpin(context) else { return Poll::Pending };
        self.going = Going::Arrived(joined.unwrap_or(Err(Stop::Over)));
        Poll::Ready(())
    }
}

/// A plugin's place in memory: one for each session, so many for each lane and in all.
struct Place {
    scene: Arc<Scene>,
    /// Of which node, and which of its sessions.
    session: (usize, String),
}

impl Place {
    fn take(scene: &Arc<Scene>, session: (usize, String), lane: &str) -> Self {
        let (in_lane, all) = scene.outside(|outside| {
            let before = outside.in_memory.insert(session.clone(), lane.to_owned());
            assert_eq!(before, None, "two missions of one session are in memory");
            let of_node = outside.in_memory.iter().filter(|((node, _), _)| *node == session.0);
            let in_lane = of_node.clone().filter(|(_, other)| *other == lane).count();
            (in_lane, of_node.count())
        });
        assert!(in_lane <= CONCURRENCY && all <= RUNNING_MAX, "{in_lane} of a lane and {all} in all are in memory");
        Self { scene: Arc::clone(scene), session }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.scene.outside(|outside| outside.in_memory.remove(&self.session));
    }
}

/// Why a run does not go on.
struct Ended(Ending);

impl From<Stop> for Ended {
    fn from(stop: Stop) -> Self {
        Self(match stop {
            Stop::Over => Ending::Killed,
            Stop::Crash(crash) => Ending::Crashed(crash),
        })
    }
}

impl Guest {
    fn new(scene: Arc<Scene>, executor: Arc<Executor>, run: Run) -> Self {
        let Run { brief, grants, host, .. } = run;
        let client = scene.outside(|outside| outside.client_of(&brief.mission_id));
        // A fork that is not there is rehearsed, over the record that it is to begin with; or its acceptance is on its way to the disk.
        let is_rehearsal = scene.client(client, |client| client.fork.is_some()) && scene.side(client, |_| ()).is_none();
        let is_ours = scene.is_held(&executor, client);
        let (seed, runs, lane, forbidden) = scene.client(client, |client| {
            assert!(!client.cancelled || !is_ours, "it runs after its cancel");
            client.runs += u64::from(!is_rehearsal);
            let seed = if client.moody { client.script + client.runs } else { client.script };
            let forbidden = client.envelope.constraints.forbidden_tools.clone();
            (
                seed,
                client.runs,
                client.envelope.vp_runtime_id.as_ref().map(ToString::to_string).unwrap_or_default(),
                forbidden,
            )
        });
        let is_forbidden = |grant: &ToolName| forbidden.iter().any(|tool| tool == grant.as_str());
        assert!(!grants.iter().any(is_forbidden), "a forbidden tool is handed out");
        if runs > 1 {
            scene.count("run that begins again");
        }
        let session = (executor.node, format!("{} {}", brief.vp_id, brief.vp_session_id));
        let place = (!is_rehearsal).then(|| Place::take(&scene, session, &lane));
        if is_rehearsal {
            scene.count("rehearsal");
        }
        let (thrifty, families) = scene.outside(|outside| (outside.thrifty, outside.families));
        let script = match (thrifty, families) {
            (true, _) => Script::thrifty(seed),
            (_, true) => Script::of_a_family(seed, scene.client(client, |client| client.depth)),
            _ => Script::new(seed),
        };
        let handles = Vec::new();
        Self { scene, executor, client, host, grants, script, handles, told: BTreeMap::new(), place }
    }

    async fn live(mut self) -> Ending {
        loop {
            self.executor.pass().await;
            let is_cancelled = self.scene.client(self.client, |client| client.cancelled);
            assert!(!is_cancelled || !self.scene.is_held(&self.executor, self.client), "it runs after its cancel");
            let signal = self.handles.iter().position(|handle| handle.is_signal);
            let op = self.script.next(self.handles.len(), signal);
            if let Err(Ended(ending)) = self.perform(op).await {
                if matches!(ending, Ending::Crashed(Crash::Diverged { .. })) {
                    self.scene.count("replay that differs");
                }
                return ending;
            }
        }
    }

    async fn perform(&mut self, op: Op) -> Result<(), Ended> {
        match op {
            Op::Call { tool, arguments } => match self.grant(tool) {
                Some(tool) => {
                    let call = self.host.start(&tool, arguments);
                    self.begin(call)?;
                }
                None => self.script.told("it has no such tool"),
            },
            Op::Think { request, tool } => {
                let tools = tool.and_then(|tool| self.grant(tool)).into_iter().collect();
                let call = self.host.complete(request, tools);
                self.begin(call)?;
            }
            Op::Dispatch(order) => match self.host.dispatch(order).await? {
                Ok(call) => self.begin(call)?,
                Err(error) => {
                    self.scene.count("child that is refused");
                    self.script.told(&error.to_string());
                }
            },
            Op::Ask(question) => {
                let call = self.host.ask(question);
                self.begin(call)?;
            }
            Op::After(duration) => {
                let timer =
                    self.host.after(duration).map(|fired| fired.map(|()| Reply::Only(Ok("it rings".to_owned()))));
                self.begin(Call { number: None, answer: timer.boxed() })?;
            }
            Op::Wait(place) => {
                self.wait_for(place).await;
                self.take_answer(place).await?;
            }
            Op::WaitAny => {
                let place = self.choose().await?;
                self.take_answer(place).await?;
            }
            Op::GiveUp(place) => {
                let handle = self.handles.remove(place);
                if let (Going::Running(_), Some(call)) = (&handle.going, handle.number) {
                    self.host.gave_up(call);
                    self.scene.count("call given up");
                }
            }
            Op::Now => {
                let now = self.host.now()?;
                self.script.told(&now.as_millisecond().to_string());
            }
            Op::Milestone(text) => self.host.milestone(text)?,
            Op::Log(text) => self.host.log(LogLevel::Info, text)?,
            Op::Judge(verdict) => self.host.judge(0, verdict, "It was looked at.".to_owned())?,
            Op::Put(name, bytes) => self.put(name, bytes).await?,
            Op::Get(name) => {
                let got = self.host.get(name.to_owned()).await?;
                self.script.told(&got.map_or_else(|why| why, |bytes| digest(&bytes)));
            }
            Op::Describe(tool) => match self.grant(tool) {
                Some(tool) => {
                    let info = self.host.describe(&tool)?;
                    // Of one that is not there nothing is said.
                    if !info.input_schema.is_boolean() {
                        let first = self.told.entry(tool).or_insert_with(|| info.clone());
                        // Behind the record a rehearsal is told what there is now.
                        let is_same = *first == info || self.place.is_none();
                        assert!(is_same, "a tool is not what the mission was handed");
                    }
                    self.script.told(&serde_json::to_string(&info).expect("plain data"));
                }
                None => self.script.told("it has no such tool"),
            },
            Op::Models => {
                let names: Vec<String> = self.host.models()?.into_iter().map(|model| model.name).collect();
                assert!(names.iter().all(|name| MODELS.contains(&name.as_str())), "other models: {names:?}");
                self.script.told(&names.join(" "));
            }
            Op::Deadline => {
                let deadline = self.host.deadline()?;
                self.script.told(&format!("{:?}", deadline.map(Timestamp::as_millisecond)));
            }
            Op::Left => {
                let left = self.host.left()?;
                self.script.told(&format!("{left:?}"));
            }
            Op::Closing => {
                let closing =
                    self.host.closing().map(|told| told.map(|()| Reply::Only(Ok("a limit is near".to_owned()))));
                self.begin(Call { number: None, answer: closing.boxed() })?;
                self.handles.last_mut().expect("it was just begun").is_signal = true;
            }
            Op::Land => self.host.land()?,
            Op::Crash => return Err(Ended(Ending::Crashed(Crash::Trapped("unreachable".to_owned())))),
            Op::End(verdict) => return Err(Ended(Ending::Returned(verdict))),
        }
        Ok(())
    }

    fn grant(&self, name: &str) -> Option<ToolName> {
        self.grants.iter().find(|grant| grant.as_str() == name).cloned()
    }

    async fn put(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), Ended> {
        let wanted = digest(&bytes);
        let put = self.host.put(name.to_owned(), "text/markdown".to_owned(), bytes).await?;
        match put {
            Ok(artifact) => {
                assert_eq!(artifact.sha256.to_string(), wanted, "other bytes were stored");
                self.script.told(&wanted);
            }
            Err(why) => self.script.told(&why),
        }
        Ok(())
    }

    fn begin(&mut self, call: Call) -> Result<(), Ended> {
        let Call { number, mut answer } = call;
        let going = match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(stop)) => return Err(stop.into()),
            Poll::Ready(answer) => Going::Arrived(answer),
            Poll::Pending => {
                let ambient: &dyn Ambient = &*self.executor;
                Going::Running(ambient.spawn(answer))
            }
        };
        self.handles.push(Handle { number, is_signal: false, going });
        Ok(())
    }

    /// Waits for one of its handles, and tells the host of it, unless it is there already.
    async fn wait_for(&mut self, place: usize) {
        let handle = &mut self.handles[place];
        waiting(&*self.host, |context| handle.poll(context)).await;
    }

    /// Waits for any of them: the one of the record, else the first that is there.
    async fn choose(&mut self) -> Result<usize, Ended> {
        let among: Vec<Option<CallNo>> = self.handles.iter().map(|handle| handle.number).collect();
        if let Some(place) = self.host.choice(&among)? {
            let place = place as usize;
            if place >= self.handles.len() {
                let (recorded, attempted) = (format!("choice {place}"), "fewer".to_owned());
                return Err(Stop::Crash(Crash::Diverged { recorded, attempted }).into());
            }
            self.wait_for(place).await;
            return Ok(place);
        }
        let handles = &mut self.handles;
        let mut there = 0;
        let any = |context: &mut Context<'_>| {
            let found = handles.iter_mut().position(|handle| handle.poll(context).is_ready());
            found.map_or(Poll::Pending, |place| {
                there = place;
                Poll::Ready(())
            })
        };
        waiting(&*self.host, any).await;
        self.host.waited(&among, u32::try_from(there).expect("a few"))?;
        Ok(there)
    }

    /// The plugin takes the answer of one of its handles.
    async fn take_answer(&mut self, place: usize) -> Result<(), Ended> {
        let Handle { number, is_signal, going } = self.handles.remove(place);
        let Going::Arrived(mut answer) = going else { panic!("whoever takes has waited for it") };
        let told = loop {
            match answer? {
                Reply::Only(told) => break told,
                Reply::Recorded(Some(held)) => break Ok(held.result),
                Reply::Recorded(None) => {
                    self.scene.count("result that is brought from the record");
                    answer = self.host.again(number.expect("what is on record has a number")).await;
                }
            }
        };
        if is_signal {
            self.scene.count("plugin that is told of a limit");
        }
        if let Err(error) = &told {
            let text = error.to_string();
            if text.contains("kept for landing") {
                self.scene.count("call that is kept from what is for landing");
            } else if text.contains("it is not made again") {
                self.scene.count("call whose model got dearer");
            } else if text.contains("no longer has") {
                self.scene.count("call of a tool that is gone");
            } else if text.contains("out since") {
                self.scene.count("call of a provider that is out");
            }
        }
        self.script.told(&told.unwrap_or_else(|error: CallError| error.to_string()));
        Ok(())
    }
}

/// Waits, and tells the host of it, unless it is over at once.
async fn waiting(host: &dyn Host, mut poll: impl FnMut(&mut Context<'_>) -> Poll<()>) {
    /// It ends, too, where the guest is dropped in the middle of it.
    struct Wait<'a>(&'a dyn Host);
    impl Drop for Wait<'_> {
        fn drop(&mut self) {
            self.0.waits(false);
        }
    }

    if poll_fn(|context| Poll::Ready(poll(context))).await.is_ready() {
        return;
    }
    host.waits(true);
    let _wait = Wait(host);
    poll_fn(poll).await;
}
