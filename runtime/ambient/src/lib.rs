//! What a driver takes from outside: clocks, sleep, spawn and chance, as one trait.
//!
//! The engine and the courier name none of the operating system's; they are handed an [`Ambient`]. A node hands them
//! [`System`], which is tokio; the simulator hands them its own, which runs every task on one thread, lets time pass
//! when it likes and draws chance from a seed. What is simulated is therefore what is shipped.
//!
//! Owned here: the trait, its extension methods, and the one implementation over tokio. Never here: what is done with
//! the time.

mod system;
mod task;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use sortie_contract::Timestamp;

pub use futures_util::future::BoxFuture;
pub use system::System;
pub use task::{Abort, Gone, Joined};

/// Where a driver's time, tasks and chance come from.
///
/// Wall-clock time decides windows and stamps records. It may jump (NTP, a suspended laptop, an operator), so how long
/// something took is always read from [`Ambient::steady`], and [`Ambient::sleep`] follows that one.
pub trait Ambient: Send + Sync + 'static {
    /// The time of day.
    fn wall(&self) -> Timestamp;

    /// Time since some fixed moment; never goes back, never jumps.
    fn steady(&self) -> Duration;

    /// Ready once `duration` of steady time has passed.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Runs a task until it ends or is aborted. It must not block.
    fn spawn_boxed(&self, task: BoxFuture<'static, ()>) -> Abort;

    /// Runs work that may block (a file, a read of the journal), where nobody waits for its thread.
    fn unblock_boxed(&self, work: Box<dyn FnOnce() + Send>);

    /// Blocks this thread for `duration`: for a guest while the disk has no room. Where it is a worker of a runtime, its other tasks
    /// go on elsewhere meanwhile.
    fn pause(&self, duration: Duration);

    /// A number in `0.0..1.0`, for backoff and jitter.
    fn chance(&self) -> f64;
}

/// How drivers hold it.
pub type Surroundings = Arc<dyn Ambient>;

impl dyn Ambient {
    /// Runs a task; dropping what is returned aborts it, see [`Joined::detach`].
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> Joined<T> {
        let (tell, told) = task::pair();
        let abort = self.spawn_boxed(tell.running(task).boxed());
        told.aborted_by(abort)
    }

    /// Runs work that may block, and brings what came of it. It is not stopped where nobody waits for it any more.
    pub fn unblock<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Joined<T> {
        let (tell, told) = task::pair();
        self.unblock_boxed(Box::new(move || tell.doing(work)));
        told
    }

    /// What `future` brings, unless `limit` of steady time passes first.
    pub async fn timeout<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        let sleep = self.sleep(limit);
        futures_util::pin_mut!(future);
        match futures_util::future::select(future, sleep).await {
            futures_util::future::Either::Left((value, _)) => Some(value),
            futures_util::future::Either::Right(_) => None,
        }
    }
}
