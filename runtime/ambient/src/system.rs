//! The operating system's clocks and tokio's tasks: what a node runs on.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use sortie_contract::Timestamp;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::{Abort, Ambient, BoxFuture};

/// The real thing.
#[derive(Debug)]
pub struct System {
    origin: Instant,
    tasks: Handle,
}

impl System {
    /// Starts counting now; tasks run on `tasks`.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where the clocks are read")]
    pub fn new(tasks: Handle) -> Self {
        Self { origin: Instant::now(), tasks }
    }
}

impl Ambient for System {
    #[expect(clippy::disallowed_methods, reason = "this is where the clocks are read")]
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn steady(&self) -> Duration {
        self.origin.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // A timer belongs to a runtime, and a future that a guest's runtime polls is to use this one.
        let _entered = self.tasks.enter();
        tokio::time::sleep(duration).boxed()
    }

    fn spawn_boxed(&self, task: BoxFuture<'static, ()>) -> Abort {
        let handle = self.tasks.spawn(task).abort_handle();
        Abort::new(move || handle.abort())
    }

    fn unblock_boxed(&self, work: Box<dyn FnOnce() + Send>) {
        drop(self.tasks.spawn_blocking(work));
    }

    fn pause(&self, duration: Duration) {
        let sleep = || std::thread::sleep(duration);
        // A worker that sleeps would keep others' tasks: the end of a guest that was killed is one.
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(sleep),
            _ => sleep(),
        }
    }

    fn chance(&self) -> f64 {
        fastrand::f64()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::oneshot;

    use super::*;
    use crate::{Gone, Surroundings};

    fn system() -> Surroundings {
        Arc::new(System::new(Handle::current()))
    }

    #[tokio::test]
    async fn a_task_brings_what_it_came_to() {
        assert_eq!(system().spawn(async { 7 }).await, Ok(7));
        assert_eq!(system().unblock(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_panic_is_told_and_stays_where_it_was() {
        let system = system();
        assert_eq!(system.spawn(async { panic!("on purpose") }).await, Err::<(), _>(Gone::Panicked));
        assert_eq!(system.unblock(|| panic!("on purpose")).await, Err::<(), _>(Gone::Panicked));
        assert_eq!(system.spawn(async { 7 }).await, Ok(7));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_worker_that_pauses_keeps_no_other_task_from_going_on() {
        let system = system();
        let gone_on = Arc::new(AtomicBool::new(false));
        let (pausing, seen, (begun, begins)) = (Arc::clone(&system), Arc::clone(&gone_on), oneshot::channel());
        let paused = system.spawn(async move {
            begun.send(()).expect("somebody waits");
            for _ in 0..1_000 {
                pausing.pause(Duration::from_millis(10));
                if seen.load(Ordering::Relaxed) {
                    return true;
                }
            }
            false
        });
        begins.await.expect("it pauses");
        system.spawn(async move { gone_on.store(true, Ordering::Relaxed) }).detach();
        assert_eq!(paused.await, Ok(true), "ten seconds, and the other task has not had its turn");
    }

    #[tokio::test]
    async fn a_task_that_nobody_waits_for_is_aborted_unless_it_was_let_go() {
        let system = system();
        let (tell, told) = oneshot::channel::<()>();
        drop(system.spawn(async move {
            std::future::pending::<()>().await;
            drop(tell);
        }));
        assert!(told.await.is_err(), "what the task held is dropped with it");
        let (tell, told) = oneshot::channel();
        system.spawn(async move { tell.send(7) }).detach();
        assert_eq!(told.await, Ok(7));
    }

    #[tokio::test]
    async fn what_takes_too_long_is_given_up() {
        let system = system();
        let never = std::future::pending::<()>();
        assert_eq!(system.timeout(Duration::ZERO, never).await, None);
        assert_eq!(system.timeout(Duration::from_secs(60), async { 7 }).await, Some(7));
    }
}
