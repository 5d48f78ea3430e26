//! The sandbox as it is, and the host as it is, watched: who computes, who waits, and which calls have been answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use sortie_ambient::Ambient as _;
use sortie_contract::artifact::Artifact;
use sortie_contract::digest::Digest;
use sortie_contract::id::CallNo;
use sortie_contract::outcome::Verdict;
use sortie_contract::plugin::{Brief, Crash, Left, LogLevel, ModelInfo};
use sortie_contract::tool::{CallError, ToolInfo, ToolName};
use sortie_contract::{Mistake, Timestamp};
use sortie_engine::Guests;
use sortie_sandbox::{Answer, BoxFuture, Call, Ending, Host, Installed, Run, Sandbox, Stop};
use tokio::sync::Notify;

use super::children::Children;
use super::clock::{Clock, Guest};

/// The sandbox, with one plugin.
pub(super) struct Bench {
    pub(super) sandbox: Sandbox,
    pub(super) plugin: Installed,
    pub(super) memory_bytes_max: u64,
    pub(super) clock: Clock,
    pub(super) answered: Arc<Answered>,
    /// What missions come to that the plugin dispatches.
    pub(super) children: Arc<Children>,
    /// The name of the case's own mission.
    pub(super) mission_id: String,
}

/// The calls that plugins were answered, over all lives; and the one behind which the node is lost.
#[derive(Debug, Default)]
pub(super) struct Answered {
    calls: Mutex<BTreeSet<CallNo>>,
    crash_after: Mutex<Option<usize>>,
    /// The calls that were asked for, each with when that was first.
    asked: Mutex<BTreeMap<CallNo, Duration>>,
    /// There was one since it was last looked.
    again: Notify,
}

impl Answered {
    /// Loses the node behind so many answers, if any.
    pub(super) fn crashing(after: Option<usize>) -> Self {
        Self { crash_after: Mutex::new(after), ..Self::default() }
    }

    /// When the plugin had asked for so many calls, once it has; from the beginning it has asked for none.
    pub(super) fn asked_at(&self, count: u32) -> Option<Duration> {
        match usize::try_from(count).ok()?.checked_sub(1) {
            None => Some(Duration::ZERO),
            Some(index) => self.asked.lock().values().nth(index).copied(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.calls.lock().len()
    }

    /// Resolves when a plugin was answered a call, or a replay of one, since it did so last.
    pub(super) async fn again(&self) {
        self.again.notified().await;
    }

    /// A call was answered. Whether the node is lost here.
    pub(super) fn is_lost_behind(&self, call: CallNo) -> bool {
        self.again.notify_one();
        let mut calls = self.calls.lock();
        calls.insert(call);
        let mut crash = self.crash_after.lock();
        let is_lost = crash.is_some_and(|after| calls.len() == after);
        if is_lost {
            *crash = None;
        }
        is_lost
    }
}

impl Guests for Bench {
    fn installed(&self, name: &str) -> Vec<Installed> {
        if name == self.plugin.identity.name { vec![self.plugin.clone()] } else { vec![self.children.installed(name)] }
    }

    fn check(&self, plugin: Digest, brief: Brief) -> BoxFuture<'_, Result<Vec<Mistake>, Crash>> {
        // Whose a plan is, `check` is not told.
        if let Some(mistakes) = self.children.check(&brief) {
            return std::future::ready(Ok(mistakes)).boxed();
        }
        let busy = self.clock.busy();
        async move {
            let found = self.sandbox.check(&plugin, brief).await;
            drop(busy);
            found
        }
        .boxed()
    }

    fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max
    }

    fn run(&self, run: Run) -> BoxFuture<'_, Ending> {
        if run.brief.mission_id != self.mission_id {
            return self.children.run(run).boxed();
        }
        let guest = Arc::new(self.clock.guest());
        let (clock, answered, inner) = (self.clock.clone(), Arc::clone(&self.answered), run.host);
        let children = Arc::clone(&self.children);
        let host = Arc::new(Watched { inner, guest: Arc::clone(&guest), clock, answered, children });
        let run = Run { host, ..run };
        async move {
            let ending = self.sandbox.run(run).await;
            // The host may be held for a moment longer than the run goes on.
            guest.leaves();
            ending
        }
        .boxed()
    }
}

/// The host of a run.
struct Watched {
    inner: Arc<dyn Host>,
    guest: Arc<Guest>,
    clock: Clock,
    answered: Arc<Answered>,
    children: Arc<Children>,
}

impl Watched {
    fn watch(&self, call: Call) -> Call {
        let Call { number, answer } = call;
        if let Some(number) = number {
            self.answered.asked.lock().entry(number).or_insert_with(|| self.clock.steady());
        }
        let (guest, clock, answered) = (Arc::clone(&self.guest), self.clock.clone(), Arc::clone(&self.answered));
        let answer = async move {
            let answer = answer.await;
            if answer.is_ok() && number.is_some_and(|call| answered.is_lost_behind(call)) {
                clock.crash();
                return std::future::pending().await;
            }
            guest.is_answered();
            answer
        };
        Call { number, answer: answer.boxed() }
    }

    fn watch_signal(&self, signal: BoxFuture<'static, Result<(), Stop>>) -> BoxFuture<'static, Result<(), Stop>> {
        let guest = Arc::clone(&self.guest);
        signal.inspect(move |_| guest.is_answered()).boxed()
    }
}

type Stored = BoxFuture<'static, Result<Result<Artifact, String>, Stop>>;

impl Host for Watched {
    fn describe(&self, tool: &ToolName) -> Result<ToolInfo, Stop> {
        self.inner.describe(tool)
    }

    fn start(&self, tool: &ToolName, arguments: String) -> Call {
        self.watch(self.inner.start(tool, arguments))
    }

    fn amended(&self, call: CallNo) -> Option<String> {
        self.inner.amended(call)
    }

    fn ask(&self, question: String) -> Call {
        self.watch(self.inner.ask(question))
    }

    fn complete(&self, request: String, tools: Vec<ToolName>) -> Call {
        self.watch(self.inner.complete(request, tools))
    }

    fn dispatch(&self, order: String) -> BoxFuture<'static, Result<Result<Call, CallError>, Stop>> {
        self.children.ordered(&order);
        // The driver works meanwhile, and the guest waits for it.
        let (guest, dispatched) = (Arc::clone(&self.guest), self.inner.dispatch(order));
        let watched = Watched {
            inner: Arc::clone(&self.inner),
            guest: Arc::clone(&self.guest),
            clock: self.clock.clone(),
            answered: Arc::clone(&self.answered),
            children: Arc::clone(&self.children),
        };
        let busy = self.clock.busy();
        async move {
            let dispatched = dispatched.await.map(|dispatched| dispatched.map(|call| watched.watch(call)));
            guest.is_answered();
            drop(busy);
            dispatched
        }
        .boxed()
    }

    fn models(&self) -> Result<Vec<ModelInfo>, Stop> {
        self.inner.models()
    }

    fn deadline(&self) -> Result<Option<Timestamp>, Stop> {
        self.inner.deadline()
    }

    fn left(&self) -> Result<Left, Stop> {
        self.inner.left()
    }

    fn closing(&self) -> BoxFuture<'static, Result<(), Stop>> {
        self.watch_signal(self.inner.closing())
    }

    fn land(&self) -> Result<(), Stop> {
        self.inner.land()
    }

    fn again(&self, call: CallNo) -> BoxFuture<'static, Answer> {
        self.inner.again(call)
    }

    fn gave_up(&self, call: CallNo) {
        self.inner.gave_up(call);
    }

    fn waits(&self, waits: bool) {
        // The driver first: what it sets going is there when it is looked who does something.
        self.inner.waits(waits);
        self.guest.waits(waits);
    }

    fn choice(&self, among: &[Option<CallNo>]) -> Result<Option<u32>, Stop> {
        self.inner.choice(among)
    }

    fn waited(&self, among: &[Option<CallNo>], ready: u32) -> Result<(), Stop> {
        self.inner.waited(among, ready)
    }

    fn now(&self) -> Result<Timestamp, Stop> {
        self.inner.now()
    }

    fn after(&self, duration: Duration) -> BoxFuture<'static, Result<(), Stop>> {
        self.watch_signal(self.inner.after(duration))
    }

    fn milestone(&self, text: String) -> Result<(), Stop> {
        self.inner.milestone(text)
    }

    fn log(&self, level: LogLevel, text: String) -> Result<(), Stop> {
        self.inner.log(level, text)
    }

    fn judge(&self, criterion: u32, verdict: Verdict, evidence: String) -> Result<(), Stop> {
        self.inner.judge(criterion, verdict, evidence)
    }

    fn put(&self, name: String, media_type: String, bytes: Vec<u8>) -> Stored {
        self.inner.put(name, media_type, bytes)
    }

    fn put_file(&self, name: String, media_type: String, path: String) -> Stored {
        self.inner.put_file(name, media_type, path)
    }

    fn get(&self, name: String) -> BoxFuture<'static, Result<Result<Vec<u8>, String>, Stop>> {
        self.inner.get(name)
    }

    fn get_of(&self, mission: String, name: String) -> BoxFuture<'static, Result<Result<Vec<u8>, String>, Stop>> {
        self.inner.get_of(mission, name)
    }
}
