//! What a driver promises beyond each mission: that one thing that is slow is that thing's matter alone, and that the
//! node stops where a thing breaks that it cannot do without.
//!
//! The driver as it is shipped, over a simulated disk; the time of day and the threads that may block are the test's.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sortie_ambient::{Abort, Ambient, BoxFuture, System};
use sortie_callback::{Reply, Request, SendError, StatusCode, Transport};
use sortie_contract::plugin::Brief;
use sortie_contract::{MissionNo, Status, Timestamp};
use sortie_engine::{Engine, Guests};
use sortie_journal::sim::{Crash, SimDisk};

use common::{Play, done, envelope, open, until};

/// Plugins that do what the objective says.
fn obedient() -> Arc<dyn Guests> {
    Arc::new(Play(|brief: Brief, _| async move {
        assert_ne!(brief.objective, "panic", "as the objective says");
        done()
    }))
}

/// Who takes events as the test wants: what was taken, and the sequence that is refused so many times.
#[derive(Default)]
struct Receiver {
    is_down: AtomicBool,
    refused: Mutex<Option<(u64, usize)>>,
    taken: Mutex<Vec<u64>>,
    tries: AtomicUsize,
}

#[async_trait]
impl Transport for Receiver {
    async fn exchange(&self, request: Request) -> Result<Reply, SendError> {
        let event: Value = serde_json::from_slice(&request.body).unwrap();
        let sequence = event["sequence"].as_u64().unwrap();
        self.tries.fetch_add(1, Relaxed);
        let mut refused = self.refused.lock();
        let is_refused = refused.as_mut().is_some_and(|(which, times)| {
            let refuses = *which == sequence && *times > 0;
            *times -= usize::from(refuses);
            refuses
        });
        if is_refused || self.is_down.load(Relaxed) {
            return Err(SendError::Connect(String::new()));
        }
        self.taken.lock().push(sequence);
        Ok(Reply { status: StatusCode::OK, retry_after: None })
    }
}

/// The operating system's, but for the time of day, which the test puts forward, and for work that may block, of which the test can
/// hold up the next piece.
struct Outside {
    system: System,
    ahead_s: AtomicI64,
    holds: AtomicBool,
    under_way: Arc<AtomicUsize>,
    held: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Outside {
    fn new() -> Arc<Self> {
        let system = System::new(tokio::runtime::Handle::current());
        Arc::new(Self {
            system,
            ahead_s: AtomicI64::new(0),
            holds: AtomicBool::new(false),
            under_way: Arc::default(),
            held: Mutex::default(),
        })
    }
}

impl Ambient for Outside {
    fn wall(&self) -> Timestamp {
        self.system.wall() + SignedDuration::from_secs(self.ahead_s.load(Relaxed))
    }

    fn steady(&self) -> Duration {
        self.system.steady()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.system.sleep(duration)
    }

    fn spawn_boxed(&self, task: BoxFuture<'static, ()>) -> Abort {
        self.system.spawn_boxed(task)
    }

    fn unblock_boxed(&self, work: Box<dyn FnOnce() + Send>) {
        if self.holds.swap(false, Relaxed) {
            *self.held.lock() = Some(work);
        } else {
            let under_way = Arc::clone(&self.under_way);
            under_way.fetch_add(1, Relaxed);
            self.system.unblock_boxed(Box::new(move || {
                work();
                under_way.fetch_sub(1, Relaxed);
            }));
        }
    }

    fn pause(&self, duration: Duration) {
        self.system.pause(duration);
    }

    fn chance(&self) -> f64 {
        self.system.chance()
    }
}

fn status(engine: &Engine, no: u64) -> Status {
    engine.log().head(MissionNo(no)).unwrap().unwrap().status
}

/// A mission of a session of its own, of which nobody is told, in a window that closes in an hour.
fn for_an_hour(id: &str, now: Timestamp) -> String {
    let mut envelope: Value = serde_json::from_str(&envelope(id, "work")).unwrap();
    let end = now + SignedDuration::from_hours(1);
    envelope["autonomy_window"] = json!({"end_at": end.to_string()});
    envelope["vp_session_id"] = json!(id);
    envelope.as_object_mut().unwrap().remove("callback");
    envelope.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_that_takes_long_holds_up_no_other() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), Outside::new());
    let engine = open(&SimDisk::default(), folder.path(), obedient(), Arc::<Receiver>::default(), outside.clone());
    engine.start();
    engine.pause(true).await.unwrap();
    let mut news = engine.news();
    for (no, id) in [(1, "a"), (2, "b")] {
        engine.dispatch(for_an_hour(id, outside.wall())).await.unwrap();
        while news.recv().await.unwrap() != MissionNo(no) {}
    }
    until("nothing else is under way", || outside.under_way.load(Relaxed) == 0).await;
    outside.holds.store(true, Relaxed);
    outside.ahead_s.store(2 * 60 * 60, Relaxed);
    let ended = || [1, 2].into_iter().filter(|no| status(&engine, *no) == Status::TimedOut).count();
    until("one is held up, and the window of the other closes", || outside.held.lock().is_some() && ended() == 1).await;
    let held = outside.held.lock().take().unwrap();
    held();
    until("the other ends as well", || ended() == 2).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_panics_stops_the_node() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Arc::<Receiver>::default());
    let engine = open(&SimDisk::default(), folder.path(), obedient(), receiver, Outside::new());
    engine.start();
    engine.dispatch(envelope("well", "work")).await.unwrap();
    until("a turn that ends is no death", || status(&engine, 1) == Status::Completed).await;
    assert_eq!(engine.dead_task(), None);
    engine.dispatch(envelope("ill", "panic")).await.unwrap();
    let died = engine.ambient().timeout(Duration::from_secs(60), engine.death()).await;
    assert_eq!((died, engine.dead_task()), (Some("turn"), Some("turn")));
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_age_of_an_event_counts_from_its_turn() {
    let (folder, outside, receiver) = (tempfile::tempdir().unwrap(), Outside::new(), Arc::<Receiver>::default());
    receiver.is_down.store(true, Relaxed);
    let disk = SimDisk::default();
    let start = |disk: &SimDisk| open(disk, folder.path(), obedient(), receiver.clone(), outside.clone());
    let engine = start(&disk);
    engine.start();
    engine.dispatch(envelope("m", "work")).await.unwrap();
    until("it has ended", || status(&engine, 1) == Status::Completed).await;
    until("its first event does not get through", || receiver.tries.load(Relaxed) > 0).await;
    engine.stop().await;
    // Its events are older than any may become. The first gets through all the same, and then the second has its turn.
    outside.ahead_s.store(3 * 24 * 60 * 60, Relaxed);
    *receiver.refused.lock() = Some((2, 1));
    receiver.is_down.store(false, Relaxed);
    let engine = start(&disk.after_crash(Crash::Process));
    engine.start();
    until("the second is tried again, and gets through", || receiver.taken.lock().contains(&2)).await;
    until("so does the last", || engine.undelivered() == 0).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_fork_was_handed_is_no_other_missions_and_nothing_else_goes() {
    let (disk, folder) = (SimDisk::default(), tempfile::tempdir().unwrap());
    let start = |disk: &SimDisk| open(disk, folder.path(), obedient(), Arc::<Receiver>::default(), Outside::new());
    let engine = start(&disk);
    engine.start();
    engine.dispatch(envelope("m", "work")).await.unwrap();
    until("it has ended", || status(&engine, 1) == Status::Completed).await;
    engine.stop().await;
    // The log has the first; of the second only its folder is there. Nothing says that the third was a fork.
    let artifacts = folder.path().join("artifacts");
    for no in ["1", "2", "3"] {
        std::fs::create_dir_all(artifacts.join(no)).unwrap();
        std::fs::write(artifacts.join(no).join("file"), no).unwrap();
    }
    for mark in [".handed-1", ".handed-2"] {
        std::fs::write(artifacts.join(mark), "").unwrap();
    }
    let engine = start(&disk.after_crash(Crash::Process));
    engine.start();
    let left = [("1", true), ("2", false), ("3", true), (".handed-1", false), (".handed-2", false)];
    for (name, is_there) in left {
        assert_eq!(artifacts.join(name).exists(), is_there, "{name}");
    }
    engine.stop().await;
}
