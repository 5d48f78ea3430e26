//! A task that was spawned, and how it is waited for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use tokio::sync::oneshot;

/// Aborts a task when called; does nothing to one that is over.
pub struct Abort(Box<dyn FnOnce() + Send + Sync>);

impl Abort {
    /// What `abort` does.
    #[must_use]
    pub fn new(abort: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Box::new(abort))
    }

    /// Aborts it.
    pub fn now(self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Abort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Abort")
    }
}

/// Why a task brings nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// It panicked; the panic is in the log.
    #[error("it failed in a way that nobody foresaw; the node's log says more")]
    Panicked,
    /// It was aborted, or what runs tasks is on its way out.
    #[error("it was stopped")]
    Stopped,
}

/// A spawned task: a future of what it brings. Dropping it aborts the task.
#[derive(Debug)]
#[must_use = "a task is aborted when its handle is dropped"]
pub struct Joined<T> {
    told: oneshot::Receiver<Result<T, Gone>>,
    abort: Option<Abort>,
}

impl<T> Joined<T> {
    /// Lets the task go on without anybody who waits for it.
    pub fn detach(mut self) {
        self.abort = None;
    }

    pub(crate) fn aborted_by(mut self, abort: Abort) -> Self {
        self.abort = Some(abort);
        self
    }
}

impl<T> Drop for Joined<T> {
    fn drop(&mut self) {
        if let Some(abort) = self.abort.take() {
            abort.now();
        }
    }
}

impl<T> Future for Joined<T> {
    type Output = Result<T, Gone>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.told).poll(context).map(|told| {
            self.abort = None;
            told.unwrap_or(Err(Gone::Stopped))
        })
    }
}

/// The side of whoever runs it.
pub(crate) struct Teller<T>(oneshot::Sender<Result<T, Gone>>);

pub(crate) fn pair<T>() -> (Teller<T>, Joined<T>) {
    let (tell, told) = oneshot::channel();
    (Teller(tell), Joined { told, abort: None })
}

impl<T> Teller<T> {
    /// Runs a task and tells what it brought. Nobody who listens is no error.
    pub(crate) async fn running(self, task: impl Future<Output = T>) {
        let outcome = AssertUnwindSafe(task).catch_unwind().await;
        let _ = self.0.send(outcome.map_err(|_| Gone::Panicked));
    }

    /// Does blocking work and tells what it brought.
    pub(crate) fn doing(self, work: impl FnOnce() -> T) {
        let outcome = catch_unwind(AssertUnwindSafe(work));
        let _ = self.0.send(outcome.map_err(|_| Gone::Panicked));
    }
}
