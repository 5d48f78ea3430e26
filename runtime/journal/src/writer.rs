//! The writer: the one thread that changes the journal.
//!
//! It takes what lies in the queue, writes it in one transaction, commits, and then resolves the receipts. What arrives
//! during a commit shares the next one, so that the cost of a sync is divided by as many as are waiting for it. An
//! idle journal commits at once; see [`Writer::gather`] for when it waits a moment.
//!
//! After a write or a commit that failed nothing is known for certain of what is on the disk. The writer then refuses
//! everything that is queued and everything that comes; the next opening recovers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::Receiver;
use redb::{Database, WriteTransaction};
use tokio::sync::{oneshot, watch};

use crate::append::{Append, CursorChange};
use crate::error::{WriteError, storage_message};
use crate::feed::{self, FeedEntry};
use crate::mark::Mark;
use crate::table::{CURSORS, FEED, FRAMES, HEADS, META, Meta};
use sortie_contract::MissionNo;

/// Most appends of one transaction: beyond this a sync costs next to nothing each, and the first would wait for the last.
const APPENDS_A_COMMIT_MAX: usize = 4_096;

/// Most bytes of one transaction, after which it is committed with what it has: redb holds it in memory.
const BYTES_A_COMMIT_MAX: usize = 16 << 20;

/// How a waiting caller learns what became of its append: the position up to which the log is durable.
pub(crate) type Waker = oneshot::Sender<Result<u64, WriteError>>;

/// What is put into the queue.
pub(crate) enum Message {
    /// Write this; wake the waker once it is durable.
    Append(Append, Option<Waker>),
    /// Wake the waker once everything before is durable.
    Barrier(Waker),
    /// Stop once everything before is durable.
    Stop,
}

/// The writer's own: everything that only its thread touches.
pub(crate) struct Writer {
    pub(crate) db: Arc<Database>,
    pub(crate) queue: Receiver<Message>,
    /// Bytes that lie in the queue; the callers add, the writer takes away.
    pub(crate) queued_bytes: Arc<AtomicUsize>,
    pub(crate) meta: Meta,
    pub(crate) mark: Option<Mark>,
    pub(crate) failed: watch::Sender<Option<WriteError>>,
    /// The position up to which the log is durable.
    pub(crate) durable: watch::Sender<u64>,
    pub(crate) quick_repair: bool,
    /// See [`Writer::gather`].
    pub(crate) gather: Duration,
}

/// What shares a commit.
#[derive(Default)]
struct Batch {
    appends: Vec<Append>,
    wakers: Vec<Waker>,
    bytes: usize,
    stop: bool,
}

impl Writer {
    /// Runs until it is stopped, or the last handle is gone.
    pub(crate) fn run(mut self) {
        let mut batch = Batch::default();
        let mut error = None;
        let mut waiting = 0;
        while !batch.stop {
            batch.clear();
            let Ok(first) = self.queue.recv() else { break };
            batch.push(first);
            self.gather(&mut batch, waiting);
            waiting = batch.wakers.len();
            self.queued_bytes.fetch_sub(batch.bytes, Ordering::Relaxed);
            if error.is_none() {
                error = self.commit(&batch.appends).err();
            }
            match &error {
                None => {
                    batch.resolve(self.meta.position);
                    self.durable.send_if_modified(|durable| {
                        std::mem::replace(durable, self.meta.position) != self.meta.position
                    });
                }
                Some(error) => {
                    // Before the receipts, so that whoever is told of the failure finds the journal closed.
                    self.failed.send_if_modified(|failed| failed.replace(error.clone()).is_none());
                    batch.refuse(error);
                }
            }
        }
        if let (Some(mark), None) = (&self.mark, &error) {
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

    fn commit(&mut self, appends: &[Append]) -> Result<(), WriteError> {
        if appends.is_empty() {
            return Ok(());
        }
        // redb promises errors, not the absence of panics; a panic must not leave the node running with a dead writer.
        let outcome = catch_unwind(AssertUnwindSafe(|| write(&self.db, self.meta, appends, self.quick_repair)));
        self.meta = match outcome {
            Ok(Ok(meta)) => meta,
            Ok(Err(error)) => return Err(WriteError::poisoned(&storage_message(&error))),
            Err(panic) => return Err(WriteError::poisoned(&crate::error::panic_message(panic.as_ref()))),
        };
        if let Some(mark) = &self.mark {
            mark.set(self.meta.commits);
        }
        Ok(())
    }
}

impl Batch {
    fn clear(&mut self) {
        self.appends.clear();
        self.wakers.clear();
        self.bytes = 0;
    }

    fn full(&self) -> bool {
        self.stop || self.appends.len() >= APPENDS_A_COMMIT_MAX || self.bytes >= BYTES_A_COMMIT_MAX
    }

    fn push(&mut self, message: Message) {
        match message {
            Message::Append(append, waker) => {
                self.bytes += append.bytes();
                self.appends.push(append);
                self.wakers.extend(waker);
            }
            Message::Barrier(waker) => self.wakers.push(waker),
            Message::Stop => self.stop = true,
        }
    }

    /// A receiver that is gone lost interest; that is its right.
    fn resolve(&mut self, position: u64) {
        for waker in self.wakers.drain(..) {
            let _ = waker.send(Ok(position));
        }
    }

    fn refuse(&mut self, error: &WriteError) {
        for waker in self.wakers.drain(..) {
            let _ = waker.send(Err(error.clone()));
        }
    }
}

/// Writes `appends` in one transaction and commits it. Within each table the insertions are in the order of its keys.
fn write(db: &Database, meta: Meta, appends: &[Append], quick_repair: bool) -> Result<Meta, redb::Error> {
    let mut transaction = db.begin_write()?;
    transaction.set_quick_repair(quick_repair);
    let position = write_frames(&transaction, meta.position, appends)?;
    write_heads(&transaction, appends)?;
    write_cursors(&transaction, appends)?;
    let meta = Meta { commits: meta.commits + 1, position, ..meta };
    meta.write(&mut transaction.open_table(META)?)?;
    transaction.commit()?;
    Ok(meta)
}

/// Returns the position of the last frame.
fn write_frames(transaction: &WriteTransaction, position: u64, appends: &[Append]) -> Result<u64, redb::Error> {
    let mut frames: Vec<_> =
        appends.iter().filter_map(|append| Some((append.mission, append.frame.as_ref()?))).collect();
    if frames.is_empty() {
        return Ok(position);
    }
    let mut feed = transaction.open_table(FEED)?;
    let mut next = position + 1;
    for row in frames.chunks(feed::ENTRIES_A_ROW_MAX) {
        let entries: Vec<_> = row
            .iter()
            .map(|(mission, frame)| FeedEntry {
                position: next,
                mission: MissionNo(*mission),
                first: frame.first,
                count: frame.count,
            })
            .collect();
        feed.insert(next, feed::encode(next, &entries).as_slice())?;
        next += row.len() as u64;
    }
    frames.sort_unstable_by_key(|(mission, frame)| (*mission, frame.first));
    let mut table = transaction.open_table(FRAMES)?;
    for (mission, frame) in frames {
        let previous = table.insert((mission, frame.first), frame.bytes.as_slice())?;
        if previous.is_some() {
            // The log is append-only: two that believe to hold the same mission must not both be believed.
            return Err(redb::Error::Corrupted(format!(
                "records {} of mission {mission} were written twice",
                frame.first
            )));
        }
    }
    Ok(next - 1)
}

/// The last head of each mission counts.
fn write_heads(transaction: &WriteTransaction, appends: &[Append]) -> Result<(), redb::Error> {
    let heads = appends.iter().filter_map(|append| Some((append.mission, append.head.as_deref()?)));
    let heads = last_of_each(heads.collect());
    if heads.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(HEADS)?;
    for (mission, head) in heads {
        table.insert(mission, head)?;
    }
    Ok(())
}

/// The last change of each mission's cursor counts.
fn write_cursors(transaction: &WriteTransaction, appends: &[Append]) -> Result<(), redb::Error> {
    let changes = appends.iter().filter_map(|append| Some((append.mission, append.cursor.as_ref()?)));
    let changes = last_of_each(changes.collect());
    if changes.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(CURSORS)?;
    for (mission, change) in changes {
        match change {
            CursorChange::Set(cursor) => drop(table.insert(mission, cursor.as_slice())?),
            CursorChange::Remove => drop(table.remove(mission)?),
        }
    }
    Ok(())
}

/// In the order of the keys, the last of each.
fn last_of_each<T: Copy>(mut changes: Vec<(u64, T)>) -> Vec<(u64, T)> {
    changes.reverse();
    changes.sort_by_key(|(mission, _)| *mission);
    changes.dedup_by_key(|(mission, _)| *mission);
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_change_of_each_mission_counts() {
        assert_eq!(
            last_of_each(vec![(2, 'a'), (1, 'b'), (2, 'c'), (3, 'd'), (1, 'e')]),
            [(1, 'e'), (2, 'c'), (3, 'd')]
        );
    }
}
