//! The writer: the one thread that changes the journal.
//!
//! It takes what lies in the queue, writes it in one transaction, commits, and then resolves the receipts. What arrives
//! during a commit shares the next one, so that the cost of a sync is divided by as many as are waiting for it. An
//! idle journal commits at once; see [`Writer::gather`] for when it waits a moment. Without a thread the same writer is driven
//! a commit at a time, by [`Writer::step`].
//!
//! After a write or a commit that failed nothing is known for certain of what is on the disk. The writer then refuses
//! everything that is queued and everything that comes; the next opening recovers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use redb::Database;
use sortie_contract::limit;
use sortie_measure::Seconds;
use tokio::sync::{oneshot, watch};

use crate::append::Change;
use crate::error::{WriteError, storage_message};
use crate::mark::Mark;
use crate::room::Room;
use crate::table::Meta;
use crate::tails::Tails;
use crate::transaction;

/// Most changes of one transaction: beyond this a sync costs next to nothing each, and the first would wait for the last.
const CHANGES_A_COMMIT_MAX: usize = 4_096;

/// Most bytes of one transaction, after which it is committed with what it has: redb holds it in memory.
const BYTES_A_COMMIT_MAX: usize = 16 << 20;

const _: () = assert!(limit::CALL_BYTES_MAX < BYTES_A_COMMIT_MAX, "a result fits beside others");

/// How a waiting caller learns what became of its append: the position up to which the log is durable.
pub(crate) type Waker = oneshot::Sender<Result<u64, WriteError>>;

/// What is put into the queue.
#[derive(Debug)]
pub(crate) enum Message {
    /// Do this; wake the waker once it is durable. The room is free again when the writer has it.
    Change(Change, Option<Waker>, Room),
    /// Wake the waker once everything before is durable.
    Barrier(Waker, Room),
    /// Stop once everything before is durable.
    Stop,
}

/// The writer's own: everything that only who drives it touches, its thread or a [`crate::Stepper`].
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) db: Arc<Database>,
    pub(crate) queue: Receiver<Message>,
    pub(crate) meta: Meta,
    pub(crate) tails: Tails,
    pub(crate) mark: Option<Mark>,
    /// What closed the journal.
    pub(crate) error: Option<WriteError>,
    pub(crate) failed: watch::Sender<Option<WriteError>>,
    /// The position up to which the log is durable.
    pub(crate) durable: watch::Sender<u64>,
    /// Set when nobody will take anything out of the queue any more.
    pub(crate) ended: Arc<AtomicBool>,
    pub(crate) quick_repair: bool,
    /// See [`Writer::gather`].
    pub(crate) gather: Duration,
    /// How long commits take.
    pub(crate) commits: Seconds,
}

/// What shares a commit.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) changes: Vec<Change>,
    /// Each with the place of its change, or none for a barrier.
    wakers: Vec<(Option<usize>, Waker)>,
    bytes: usize,
    pub(crate) stop: bool,
}

impl Writer {
    /// Runs until it is stopped, or the last handle is gone.
    pub(crate) fn run(mut self) {
        let mut batch = Batch::default();
        let mut waiting = 0;
        while !batch.stop {
            batch.clear();
            let Ok(first) = self.queue.recv() else { break };
            batch.push(first);
            self.gather(&mut batch, waiting);
            waiting = batch.wakers.len();
            let (begun, changes) = (now(), !batch.changes.is_empty());
            self.finish(&mut batch);
            if changes {
                self.commits.took(begun.elapsed());
            }
        }
        self.settle();
    }

    /// One commit of at most `messages_max` that lie in the queue; how many it took. What a driven writer does instead of
    /// [`Writer::run`].
    pub(crate) fn step(&mut self, messages_max: usize) -> usize {
        let mut batch = Batch::default();
        let mut taken = 0;
        while taken < messages_max
            && !batch.full()
            && let Ok(message) = self.queue.try_recv()
        {
            batch.push(message);
            taken += 1;
        }
        self.finish(&mut batch);
        taken
    }

    /// Writes the batch and tells those who wait.
    fn finish(&mut self, batch: &mut Batch) {
        if self.error.is_none() {
            self.error = self.commit(batch).err();
        }
        match &self.error {
            None => {
                // Before the receipts: whoever has one finds its position durable.
                self.durable
                    .send_if_modified(|durable| std::mem::replace(durable, self.meta.position) != self.meta.position);
                batch.resolve(self.meta.position);
            }
            Some(error) => {
                // Before the receipts, so that whoever is told of the failure finds the journal closed.
                self.failed.send_if_modified(|failed| failed.replace(error.clone()).is_none());
                batch.refuse(error);
            }
        }
    }

    /// A clean end.
    pub(crate) fn settle(&self) {
        if let (Some(mark), None) = (&self.mark, &self.error) {
            mark.settle();
        }
    }

    /// Takes what lies in the queue. Those who waited for the last commit are likely to come back at once: where fewer
    /// have than were `waiting`, a moment is spent on the rest of them, because each commit costs a sync. The moment is
    /// one for all, so that a steady stream is not held up until it fills the batch.
    fn gather(&self, batch: &mut Batch, waiting: usize) {
        let mut moment = None;
        while !batch.full() {
            let next = match self.queue.try_recv() {
                Ok(next) => next,
                Err(_) if batch.wakers.len() >= waiting => break,
                Err(_) => {
                    let over = moment.get_or_insert_with(|| crossbeam_channel::after(self.gather));
                    crossbeam_channel::select_biased! {
                        recv(self.queue) -> next => match next {
                            Ok(next) => next,
                            Err(_) => break,
                        },
                        recv(over) -> _ => break,
                    }
                }
            };
            batch.push(next);
        }
    }

    fn commit(&mut self, batch: &mut Batch) -> Result<(), WriteError> {
        // redb promises errors, not the absence of panics; a panic must not leave the node running with a dead writer.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let refused = self.tails.check(&*self.db, self.meta.last_no, &batch.changes)?;
            batch.leave_out(refused);
            if batch.changes.is_empty() {
                return Ok(None);
            }
            transaction::write(&self.db, self.meta, &batch.changes, self.quick_repair).map(Some)
        }));
        self.meta = match outcome {
            Ok(Ok(Some(meta))) => meta,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(WriteError::poisoned(&storage_message(&error))),
            Err(panic) => return Err(WriteError::poisoned(&crate::error::panic_message(panic.as_ref()))),
        };
        if let Some(mark) = &self.mark {
            mark.set(self.meta.commits);
        }
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is measured of a thread of its own is told, and nothing goes by it"
)]
fn now() -> Instant {
    Instant::now()
}

impl Drop for Writer {
    /// What is still in the queue is nobody's: those who wait for it are told by its going. See [`crate::Journal`]'s `send` for
    /// those who come at this moment.
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        while self.queue.try_recv().is_ok() {}
    }
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.changes.clear();
        self.wakers.clear();
        self.bytes = 0;
    }

    pub(crate) fn full(&self) -> bool {
        self.stop || self.changes.len() >= CHANGES_A_COMMIT_MAX || self.bytes >= BYTES_A_COMMIT_MAX
    }

    pub(crate) fn push(&mut self, message: Message) {
        match message {
            Message::Change(change, waker, room) => {
                drop(room);
                self.bytes += change.bytes();
                self.wakers.extend(waker.map(|waker| (Some(self.changes.len()), waker)));
                self.changes.push(change);
            }
            Message::Barrier(waker, room) => {
                drop(room);
                self.wakers.push((None, waker));
            }
            Message::Stop => self.stop = true,
        }
    }

    /// Takes the refused out, in the order of their places, and tells those who wait for them; nobody else is concerned.
    pub(crate) fn leave_out(&mut self, refused: Vec<(usize, WriteError)>) {
        for (place, error) in refused.into_iter().rev() {
            self.changes.remove(place);
            match self.wakers.iter().position(|(waits_for, _)| *waits_for == Some(place)) {
                Some(waker) => drop(self.wakers.remove(waker).1.send(Err(error))),
                None => tracing::error!(%error, "an append that nobody waits for was not taken"),
            }
        }
    }

    /// A receiver that is gone lost interest; that is its right.
    pub(crate) fn resolve(&mut self, position: u64) {
        for (_, waker) in self.wakers.drain(..) {
            let _ = waker.send(Ok(position));
        }
    }

    pub(crate) fn refuse(&mut self, error: &WriteError) {
        for (_, waker) in self.wakers.drain(..) {
            let _ = waker.send(Err(error.clone()));
        }
    }
}
