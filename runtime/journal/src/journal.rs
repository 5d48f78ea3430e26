//! The handle: what the rest of the node holds of the journal.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use redb::{Database, StorageBackend};
use tokio::sync::{oneshot, watch};

use crate::append::{Append, Change, HEAD_BYTES};
use crate::clocks;
use crate::error::{OpenError, ReadError, WriteError};
use crate::open::{self, Checked, Opened, Options};
use crate::pin::Pinned;
use crate::room::{Load, Room};
use crate::schedule::Written;
use crate::tails::Tails;
use crate::writer::{Message, Waker, Writer};
use sortie_contract::MissionNo;
use sortie_measure::Seconds;

/// The journal of a node. Clones are the same journal; dropping the last one closes it, see [`Journal::close`].
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    db: Arc<Database>,
    queue: Sender<Message>,
    /// The other end, for what comes too late.
    messages: Receiver<Message>,
    ended: Arc<AtomicBool>,
    load: Arc<Load>,
    failed: watch::Receiver<Option<WriteError>>,
    durable: watch::Receiver<u64>,
    commits: Seconds,
    /// Taken by whoever closes the journal.
    hand: Mutex<Option<Hand>>,
}

/// Who writes.
#[derive(Debug)]
enum Hand {
    /// A thread of the journal's own.
    Thread(JoinHandle<()>),
    /// Whoever holds the [`Stepper`].
    Stepper(Arc<Mutex<Option<Writer>>>),
}

impl Journal {
    /// Opens the journal at `path`, or makes it where there was none.
    ///
    /// # Errors
    /// [`OpenError`] for a file that is in use, emptied, missing though it was there, cut, damaged, not a journal, or
    /// written by a newer Sortie; each says what to do about it.
    pub fn open(path: &Path, options: &Options) -> Result<(Self, Opened), OpenError> {
        let (journal, opened, writer) = Self::assemble(open::open_file(path, options)?, path, options)?;
        journal.start(writer, path)?;
        Ok((journal, opened))
    }

    /// Opens the journal that `backend` holds, or makes it where `backend` holds nothing.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_backend(backend: impl StorageBackend, options: &Options) -> Result<(Self, Opened), OpenError> {
        let path = Path::new("the given storage");
        let (journal, opened, writer) = Self::assemble(open::open_backend(backend, options)?, path, options)?;
        journal.start(writer, path)?;
        Ok((journal, opened))
    }

    /// As [`Journal::open_backend`], but without a thread: nothing is written until the [`Stepper`] is told to. For
    /// whoever must have each commit in hand, as a simulation must.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_backend_stepped(
        backend: impl StorageBackend,
        options: &Options,
    ) -> Result<(Self, Opened, Stepper), OpenError> {
        let path = Path::new("the given storage");
        let (journal, opened, writer) = Self::assemble(open::open_backend(backend, options)?, path, options)?;
        let writer = Arc::new(Mutex::new(Some(writer)));
        *journal.shared.hand.lock() = Some(Hand::Stepper(Arc::clone(&writer)));
        Ok((journal, opened, Stepper { writer }))
    }

    fn start(&self, writer: Writer, path: &Path) -> Result<(), OpenError> {
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || writer.run());
        let thread = thread.map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        *self.shared.hand.lock() = Some(Hand::Thread(thread));
        Ok(())
    }

    /// The journal, and the writer that nobody drives yet.
    fn assemble(checked: Checked, path: &Path, options: &Options) -> Result<(Self, Opened, Writer), OpenError> {
        let Checked { db, meta, mark, bytes, repaired, compacted } = checked;
        let db = Arc::new(db);
        #[expect(clippy::disallowed_methods, reason = "the load bounds it: each message has a place there")]
        let (queue, messages) = crossbeam_channel::unbounded();
        let load = Load::new(options.queue_appends_max, options.queue_bytes_max);
        let ended = Arc::new(AtomicBool::new(false));
        let (failed_sender, failed) = watch::channel(None);
        let (durable_sender, durable) = watch::channel(meta.position);
        let mut writer = Writer {
            db: Arc::clone(&db),
            queue: messages.clone(),
            meta,
            tails: Tails::default(),
            mark,
            error: None,
            failed: failed_sender,
            durable: durable_sender,
            ended: Arc::clone(&ended),
            quick_repair: options.quick_repair,
            gather: options.gather,
            commits: Seconds::quick(),
        };
        let commits = writer.commits.clone();
        let shared = Shared { db, queue, messages, ended, load, failed, durable, commits, hand: Mutex::new(None) };
        let journal = Self { shared: Arc::new(shared) };
        let damaged = |error: ReadError| OpenError::Damaged { path: path.to_owned(), detail: error.to_string() };
        let undelivered = journal.undelivered().map_err(damaged)?;
        // The newest may have been removed; those of a file of format 1 are all there.
        let last_no = journal.last_no().map_err(damaged)?.max(MissionNo(meta.last_no));
        writer.meta.last_no = last_no.0;
        let (position, commits) = (meta.position, meta.commits);
        let opened = Opened { undelivered, last_no, position, commits, bytes, repaired, compacted };
        Ok((journal, opened, writer))
    }

    /// Hands `append` over; it becomes durable with the next commit. Nobody waits, and nobody is told: a failure closes
    /// the journal for everybody, see [`Journal::failed`].
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    pub fn append(&self, append: Append) -> Result<(), WriteError> {
        self.change(Change::Append(append), None)
    }

    /// Hands `append` over. The receipt resolves once it, and everything that was handed over before it, is durable.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    pub fn append_durable(&self, append: Append) -> Result<Receipt, WriteError> {
        let (waker, receipt) = oneshot::channel();
        self.change(Change::Append(append), Some(waker))?;
        Ok(Receipt { receipt })
    }

    /// Keeps room in the queue for `append`, which may still get its head: made [`Append::within`] it, it is not refused as
    /// overload. For whoever has to change something of its own before the append can be complete.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was kept.
    pub fn reserve(&self, append: &Append) -> Result<Room, WriteError> {
        if let Some(error) = &*self.shared.failed.borrow() {
            return Err(error.clone());
        }
        if self.shared.ended.load(Ordering::SeqCst) {
            return Err(WriteError::Closed);
        }
        self.shared.load.place(append.bytes() + HEAD_BYTES)
    }

    /// Removes `mission`: its records, its head and its cursor become nothing together, in the order of the queue. A
    /// mission that is not there is no mistake. Nobody is told; a [`Journal::barrier`] tells.
    ///
    /// It is the last that is handed over of a mission: its number is never given again ([`Opened::last_no`]), and an
    /// append after it would be a mission without a beginning. Its entries in the feed stay until they are pruned, see
    /// [`Journal::feed_after`]. Who may be removed, and when, is decided elsewhere.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    pub fn remove(&self, mission: MissionNo) -> Result<(), WriteError> {
        self.change(Change::Remove(mission.0), None)
    }

    /// Removes the entries of the feed before `position`, in the order of the queue: it then begins there. Those that
    /// are not yet handed over are not meant: a position beyond them empties the feed. Nobody is told, as with
    /// [`Journal::remove`].
    ///
    /// The feed holds 16 bytes a frame and is never shortened otherwise: without this it grows for ever.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    pub fn prune_feed_before(&self, position: u64) -> Result<(), WriteError> {
        self.change(Change::PruneFeed(position), None)
    }

    /// Hands a change of a schedule over, as [`Journal::append_durable`].
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    pub(crate) fn change_schedule(&self, change: Written) -> Result<Receipt, WriteError> {
        let (waker, receipt) = oneshot::channel();
        self.change(Change::Schedule(change), Some(waker))?;
        Ok(Receipt { receipt })
    }

    /// Adds to what people did, as [`Journal::append_durable`].
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    pub(crate) fn act(&self, text: String) -> Result<Receipt, WriteError> {
        let (waker, receipt) = oneshot::channel();
        self.change(Change::Action(text), Some(waker))?;
        Ok(Receipt { receipt })
    }

    /// Keeps how long missions have been running, in the place of what was kept before. Nobody is told, as with [`Journal::remove`].
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    pub(crate) fn keep_clocks(&self, clocks: &[(MissionNo, u64)]) -> Result<(), WriteError> {
        self.change(Change::Clocks(clocks::encode(clocks)), None)
    }

    /// Keeps a mission, or takes that back, as [`Journal::append_durable`].
    ///
    /// # Errors
    /// [`WriteError`]; nothing was taken.
    pub(crate) fn pin(&self, mission: MissionNo, pin: Option<&Pinned>) -> Result<Receipt, WriteError> {
        let (waker, receipt) = oneshot::channel();
        self.change(Change::Pin(mission.0, pin.map(|pin| pin.encode(mission.0))), Some(waker))?;
        Ok(Receipt { receipt })
    }

    /// The receipt resolves once everything that was handed over before is durable. Costs no commit where nothing is on
    /// its way.
    ///
    /// # Errors
    /// [`WriteError`] where the queue is full or the journal closed.
    pub fn barrier(&self) -> Result<Receipt, WriteError> {
        let (waker, receipt) = oneshot::channel();
        self.send(|| Ok(Message::Barrier(waker, self.shared.load.place(0)?)))?;
        Ok(Receipt { receipt })
    }

    /// Whether the queue is more than half full: the time to refuse new missions, so that those that are running find
    /// room.
    #[must_use]
    pub fn crowded(&self) -> bool {
        self.shared.load.is_crowded()
    }

    /// How long commits took, the sync among it, since the journal was opened; of a stepped one nothing.
    #[must_use]
    pub fn commits(&self) -> &Seconds {
        &self.shared.commits
    }

    /// The position up to which the log is durable; changes with each commit that wrote frames. See
    /// [`Journal::feed_after`] for what was written.
    #[must_use]
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.shared.durable.clone()
    }

    /// Whether the journal has failed and takes nothing more.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.shared.failed.borrow().is_some()
    }

    /// Why the journal takes nothing more, where it has failed.
    #[must_use]
    pub fn poisoned(&self) -> Option<WriteError> {
        self.shared.failed.borrow().clone()
    }

    /// Resolves when the journal has failed and takes nothing more: the process is to stop then. Never resolves where
    /// the journal was closed without a failure.
    pub fn failed(&self) -> impl Future<Output = WriteError> + Send + 'static {
        let mut failed = self.shared.failed.clone();
        async move {
            if let Ok(error) = failed.wait_for(Option::is_some).await
                && let Some(error) = error.clone()
            {
                return error;
            }
            std::future::pending().await
        }
    }

    /// Writes what was handed over and stops the writer; what comes later is refused. Blocks for a commit. The file is
    /// closed when the last clone is dropped.
    ///
    /// # Errors
    /// [`WriteError::Poisoned`] where the journal failed, now or earlier.
    pub fn close(&self) -> Result<(), WriteError> {
        self.shared.stop();
        self.shared.failed.borrow().clone().map_or(Ok(()), Err)
    }

    pub(crate) fn database(&self) -> &Database {
        &self.shared.db
    }

    fn change(&self, mut change: Change, waker: Option<Waker>) -> Result<(), WriteError> {
        let kept = if let Change::Append(append) = &mut change { append.room.take() } else { None };
        self.send(|| {
            let room = kept.map_or_else(|| self.shared.load.place(change.bytes()), Ok)?;
            Ok(Message::Change(change, waker, room))
        })
    }

    /// Puts a message into the queue, if there is room for it.
    fn send(&self, message: impl FnOnce() -> Result<Message, WriteError>) -> Result<(), WriteError> {
        let Shared { queue, messages, ended, failed, .. } = &*self.shared;
        if let Some(error) = &*failed.borrow() {
            return Err(error.clone());
        }
        let outcome = message().and_then(|message| queue.send(message).map_err(|_| WriteError::Closed));
        if ended.load(Ordering::SeqCst) {
            // It came after the writer's last look, so nobody else takes it out: whoever waits for it would wait for ever.
            while messages.try_recv().is_ok() {}
            return Err(failed.borrow().clone().unwrap_or(WriteError::Closed));
        }
        outcome
    }
}

impl Shared {
    fn stop(&self) {
        match self.hand.lock().take() {
            Some(Hand::Thread(writer)) => {
                // Refused only where the writer has gone already.
                let _ = self.queue.send(Message::Stop);
                // A writer that panicked has dropped its receipts, which says so to those who wait.
                let _ = writer.join();
            }
            Some(Hand::Stepper(writer)) => {
                // Out of the stepper's hand: it has nothing more to write.
                let Some(mut writer) = writer.lock().take() else { return };
                while writer.step(usize::MAX) > 0 {}
                writer.settle();
            }
            None => {}
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // What nobody has written by stepping is not to be written by going away: that is how a crash looks.
        if matches!(self.hand.get_mut(), Some(Hand::Thread(_))) {
            self.stop();
        }
    }
}

/// Drives the writer of a journal that has no thread, see [`Journal::open_backend_stepped`]. Once it is dropped nothing more
/// is written, and the journal refuses everything as closed: a crash.
#[derive(Debug)]
pub struct Stepper {
    writer: Arc<Mutex<Option<Writer>>>,
}

impl Stepper {
    /// Writes what lies in the queue in one commit, of `appends_max` at most, and resolves its receipts. False where
    /// nothing lay there.
    ///
    /// # Errors
    /// [`WriteError`] where the journal failed, now or earlier, or was closed.
    pub fn commit(&self, appends_max: usize) -> Result<bool, WriteError> {
        let mut writer = self.writer.lock();
        let writer = writer.as_mut().ok_or(WriteError::Closed)?;
        let taken = writer.step(appends_max);
        writer.error.clone().map_or(Ok(taken > 0), Err)
    }

    /// How many appends, removals and barriers wait to be written.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.writer.lock().as_ref().map_or(0, |writer| writer.queue.len())
    }
}

impl Drop for Stepper {
    fn drop(&mut self) {
        self.writer.lock().take();
    }
}

/// Resolves to the position up to which the log is durable, once the append it stands for is.
#[derive(Debug)]
#[must_use = "an append is durable only once its receipt has resolved"]
pub struct Receipt {
    receipt: oneshot::Receiver<Result<u64, WriteError>>,
}

impl Receipt {
    /// One that has resolved already.
    pub(crate) fn of(outcome: Result<u64, WriteError>) -> Self {
        let (waker, receipt) = oneshot::channel();
        // The other end is right here.
        let _ = waker.send(outcome);
        Self { receipt }
    }

    /// One that the waker resolves.
    pub(crate) fn pair() -> (Waker, Self) {
        let (waker, receipt) = oneshot::channel();
        (waker, Self { receipt })
    }

    /// Waits on this thread; not to be called in asynchronous code.
    ///
    /// # Errors
    /// [`WriteError`] where the append may not be durable.
    pub fn wait(self) -> Result<u64, WriteError> {
        self.receipt.blocking_recv().unwrap_or(Err(WriteError::Closed))
    }
}

impl Future for Receipt {
    type Output = Result<u64, WriteError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receipt).poll(context).map(|outcome| outcome.unwrap_or(Err(WriteError::Closed)))
    }
}
