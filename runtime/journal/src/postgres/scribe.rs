//! The scribe: the one task of this process that writes into the store.
//!
//! It takes what lies in the queue, writes it in one transaction that is sent whole, in one flight, and then resolves the receipts. What
//! arrives meanwhile shares the next one. After whatever went wrong on the way it asks, under a new token ([`hold::ask`]): the store
//! has counted the commit or it has not, and once the new token is given nothing that was sent under the old one can come after. So
//! nothing is written twice, and nothing is reported lost that is there. While the database is away it waits, for as long as it takes:
//! what was handed over stays in the queue, and who dispatches is refused before the queue is full.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{join_all, join3};
use parking_lot::Mutex;
use sortie_measure::Seconds;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::adopt::Legacy;
use super::certain::{Certain, Moment};
use super::hold::{self, Held, Holder};
use super::link::{self, Dial, Link, PATIENCE, Param, borrowed};
use super::script::{self, Known, Script, int};
use super::trouble;
use crate::append::Change;
use crate::error::WriteError;
use crate::fleet::{self, AdoptError, ShareNo};
use crate::tails::{Ends, Tails, next_after};
use crate::transaction::Sum;
use crate::writer::{Batch, Message};

/// A commit that takes longer than this is one that is waited for: those who dispatch are told to come back. So is any other question, and
/// a sign of life or a new connection that takes as long, or half of a lease, where that is less: a database that hangs without ending its
/// connections is away within the lease.
const SLOW: Duration = Duration::from_secs(2);

/// How often it is still tried once the log is to be closed.
const LAST_ATTEMPTS: u32 = 4;

const LAST_FRAMES: &str = "
SELECT f.mission, f.first, f.row FROM sortie_frames AS f
JOIN (SELECT mission, max(first) AS first FROM sortie_frames WHERE mission = ANY($1) GROUP BY mission) AS l
    ON f.mission = l.mission AND f.first = l.first";
const CURSORS: &str = "SELECT mission, row FROM sortie_cursors WHERE mission = ANY($1)";
const FEED_BEFORE: &str =
    "SELECT position, row FROM sortie_feed WHERE position < $1 AND position > $2 ORDER BY position DESC LIMIT 1";

/// See the module.
pub(super) struct Scribe {
    pub(super) dial: Dial,
    pub(super) link: Option<Link>,
    pub(super) holder: Holder,
    pub(super) share: ShareNo,
    pub(super) token: i64,
    pub(super) known: Known,
    pub(super) tails: Tails,
    pub(super) queue: mpsc::UnboundedReceiver<Message>,
    pub(super) orders: mpsc::Receiver<Order>,
    /// What the node says of itself.
    pub(super) card: Arc<Mutex<String>>,
    /// Whether nothing is kept for this node once it has ended.
    pub(super) gives_back: Arc<AtomicBool>,
    pub(super) certain: Certain,
    /// What closed the log.
    pub(super) error: Option<WriteError>,
    pub(super) failed: watch::Sender<Option<WriteError>>,
    pub(super) durable: watch::Sender<u64>,
    /// Whether the database is.
    pub(super) away: Arc<AtomicBool>,
    pub(super) closing: Arc<AtomicBool>,
    pub(super) commits: Seconds,
}

/// What is done between two commits.
#[derive(Debug)]
pub(super) enum Order {
    /// A sign of life; whoever waits is told that it was given.
    Beat(oneshot::Sender<Result<(), WriteError>>),
    /// See [`Scribe::adopt`].
    Adopt(ShareNo, oneshot::Sender<Result<Legacy, AdoptError>>),
    /// The log has failed, of this.
    Fail(WriteError),
}

/// What was looked up for a batch.
#[derive(Default)]
struct Looked {
    frames: BTreeMap<u64, (u32, Vec<u8>)>,
    cursors: BTreeMap<u64, Vec<u8>>,
}

impl Ends for Looked {
    type Error = Infallible;

    fn next(&self, mission: u64, brought: u32) -> Result<u32, Infallible> {
        let last = self.frames.get(&mission);
        Ok(last.map_or(0, |(first, row)| next_after((mission, *first), row, brought)))
    }

    fn cursor(&self, mission: u64) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.cursors.get(&mission).cloned())
    }
}

impl Scribe {
    /// Runs until it is stopped, or the log is gone.
    pub(super) async fn run(mut self) {
        let mut batch = Batch::default();
        let mut beats = interval(self.holder.lease / 3);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !batch.stop {
            batch.clear();
            tokio::select! {
                biased;
                // Both are rare, and must not wait for a queue that is never empty.
                Some(order) = self.orders.recv() => {
                    self.follow(order).await;
                    continue;
                }
                _ = beats.tick() => {
                    self.beat().await;
                    continue;
                }
                first = self.queue.recv() => match first {
                    Some(first) => batch.push(first),
                    None => break,
                },
            }
            while !batch.full()
                && let Ok(next) = self.queue.try_recv()
            {
                batch.push(next);
            }
            self.finish(&mut batch).await;
        }
        // Whoever hands over at this moment is refused, and what is in the queue is nobody's: those who wait are told by its going.
        self.queue.close();
        while self.queue.recv().await.is_some() {}
        self.orders.close();
        self.certain.is_over();
        if self.error.is_none() {
            self.lets_go().await;
        }
    }

    /// The share is kept for this node until its lease has run out, or is anybody's at once. It is not waited for.
    async fn lets_go(&mut self) {
        let kept = (!self.gives_back.load(Ordering::SeqCst)).then_some(self.holder.lease);
        if self.link.is_none() {
            match timeout(SLOW, self.ask()).await {
                Ok(Ok((link, Some(held)))) => (self.link, self.token) = (Some(link), held.token),
                _ => return,
            }
        }
        if let Some(link) = &self.link
            && let Ok(Err(error)) = timeout(SLOW, hold::release(&link.client, (self.share, self.token), kept)).await
        {
            tracing::warn!(
                error = trouble::told(&error),
                "the share of the store was not given back; it is free when the lease has run out"
            );
        }
    }

    /// Whoever asked and is gone lost interest.
    async fn follow(&mut self, order: Order) {
        match order {
            Order::Beat(told) => {
                self.beat().await;
                let _ = told.send(self.error.clone().map_or(Ok(()), Err));
            }
            Order::Adopt(share, told) => {
                let _ = told.send(self.adopt(share).await);
            }
            Order::Fail(error) => self.fails(Some(error)),
        }
    }

    /// Writes the batch and tells those who wait.
    async fn finish(&mut self, batch: &mut Batch) {
        let (begun, changes) = (Instant::now(), !batch.changes.is_empty());
        if self.error.is_none() {
            let outcome = self.commit(batch).await;
            self.fails(outcome.err());
        }
        match &self.error {
            None => {
                let position = self.known.meta.position;
                // Before the receipts: whoever has one finds its position durable.
                self.durable.send_if_modified(|durable| std::mem::replace(durable, position) != position);
                batch.resolve(position);
            }
            Some(error) => batch.refuse(error),
        }
        if changes {
            self.commits.took(begun.elapsed());
        }
    }

    /// Before the receipts, so that whoever is told of the failure finds the log closed.
    pub(super) fn fails(&mut self, error: Option<WriteError>) {
        if let Some(error) = error {
            self.failed.send_if_modified(|failed| failed.replace(error.clone()).is_none());
            self.error = Some(error);
        }
    }

    async fn commit(&mut self, batch: &mut Batch) -> Result<(), WriteError> {
        let looked = self.look(&batch.changes).await?;
        let Ok(refused) = self.tails.check(&looked, self.known.meta.last_no, &batch.changes);
        batch.leave_out(refused);
        if batch.changes.is_empty() {
            return Ok(());
        }
        let sum = Sum::of(&batch.changes, self.known.meta.position);
        let before = match sum.feed_begin {
            Some(begin) => self.feed_before(begin).await?,
            None => None,
        };
        let script = Script::of(&sum, &mut self.known, before)?;
        self.write(&script).await
    }

    /// Writes it once, however often that takes.
    async fn write(&mut self, script: &Script<'_>) -> Result<(), WriteError> {
        let (commits, mut attempts) = (self.known.meta.commits, 0);
        while let Some(error) = self.attempt(script).await {
            let mistake = error.as_ref().filter(|error| !trouble::is_passing(error)).map(trouble::told);
            let why = error.as_ref().map_or_else(|| "it does not answer".to_owned(), trouble::told);
            let held = self.recover(&why).await?;
            if held.commits == commits {
                break;
            }
            if held.commits + 1 != commits {
                return Err(lost(held.commits, commits - 1));
            }
            if let Some(mistake) = mistake {
                // What is wrong with it is wrong the next time, too.
                return Err(WriteError::poisoned(&format!("the database of the store: {mistake}")));
            }
            attempts += 1;
            self.pauses(attempts, error.as_ref().is_some_and(trouble::is_a_collision), &why).await;
        }
        self.is_back();
        Ok(())
    }

    /// What went wrong so often in a row, though the database answers, gets time; and is told, unless somebody was merely in the way.
    async fn pauses(&self, attempts: u32, is_a_collision: bool, why: &str) {
        if attempts < 2 {
            return;
        }
        if !is_a_collision {
            self.is_away(why);
        }
        sleep(link::pause(attempts)).await;
    }

    /// Waits for what the database says, and says meanwhile that it is away, where that is slow. `None`: nothing was heard.
    async fn patiently<T>(&self, slow: Duration, why: &str, asked: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(asked);
        if let Ok(said) = timeout(slow, &mut asked).await {
            return Some(said);
        }
        self.is_away(why);
        timeout(PATIENCE, asked).await.ok()
    }

    /// Sends it whole. What went wrong; `Some(None)`: nothing was heard.
    async fn attempt(&self, script: &Script<'_>) -> Option<Option<Error>> {
        let Some(link) = &self.link else { return Some(None) };
        let sent = Moment::now();
        let (sql, params) = script::store(self.known.meta, (self.share, self.token), self.holder.lease.as_secs_f64());
        let steps: Vec<(&'static str, Vec<&(dyn ToSql + Sync)>)> = std::iter::once((sql, borrowed(&params)))
            .chain(script.steps().iter().map(|(sql, params)| (*sql, borrowed(params))))
            .collect();
        let Some(outcome) = self.patiently(SLOW, "a commit takes long", transact(link, &steps)).await else {
            return Some(None);
        };
        if outcome.is_ok() {
            self.certain.confirm(sent);
        }
        outcome.err().map(Some)
    }

    /// Connects anew, for as long as it takes, and asks how far the store has come. That it answers says nothing yet of what was wanted
    /// of it: whoever sees that done says that it is back.
    pub(super) async fn recover(&mut self, why: &str) -> Result<Held, WriteError> {
        self.link = None;
        tracing::debug!(why, "the store is asked how far it has come");
        let (mut attempts, mut last) = (0, 0);
        loop {
            let asked = self.patiently(self.slow(), "a new connection takes long", self.ask()).await;
            let why = match asked.unwrap_or(Err(None)) {
                Ok((link, Some(held))) => {
                    (self.link, self.token) = (Some(link), held.token);
                    return Ok(held);
                }
                Ok((link, None)) => {
                    self.certain.is_over();
                    let doubled = timeout(SLOW, hold::doubled(&link.client, &self.holder, self.share)).await;
                    let since = doubled.ok().and_then(Result::ok).flatten();
                    return Err(since.map_or_else(fleet::taken, |since| WriteError::Doubled { since }));
                }
                Err(error) => error.as_ref().map_or_else(|| "it does not answer".to_owned(), trouble::told),
            };
            // One that was merely in somebody's way is not away.
            self.is_away(&why);
            if self.closing.load(Ordering::SeqCst) {
                last += 1;
            }
            if last >= LAST_ATTEMPTS {
                return Err(WriteError::poisoned(&format!(
                    "the database of the store was away when it was closed: {why}"
                )));
            }
            attempts += 1;
            sleep(link::pause(attempts)).await;
        }
    }

    /// Over a new connection.
    async fn ask(&self) -> Result<(Link, Option<Held>), Option<Error>> {
        let link = Link::new(&self.dial).await.map_err(Some)?;
        let sent = Moment::now();
        let held = hold::ask(&link.client, &self.holder, self.share).await.map_err(Some)?;
        if held.is_some() {
            self.certain.confirm(sent);
        }
        Ok((link, held))
    }

    /// How long the database may take that a share is held of, before it is said to be away.
    fn slow(&self) -> Duration {
        SLOW.min(self.holder.lease / 2)
    }

    /// A sign of life: for the next node that wants the store, and of the database.
    async fn beat(&mut self) {
        if self.error.is_some() {
            return;
        }
        let (sent, card) = (Moment::now(), self.card.lock().clone());
        let beaten = match &self.link {
            Some(link) => {
                let beat = hold::beat(&link.client, (self.share, self.token), self.holder.lease, &card);
                self.patiently(self.slow(), "a sign of life takes long", beat).await
            }
            None => Some(Ok(false)),
        };
        let why = match beaten {
            Some(Ok(true)) => {
                self.certain.confirm(sent);
                self.is_back();
                return;
            }
            Some(Ok(false)) => "the lease is another's".to_owned(),
            Some(Err(error)) => trouble::told(&error),
            None => "it does not answer".to_owned(),
        };
        let outcome = self.at_rest(&why).await;
        if outcome.is_ok() {
            self.is_back();
        }
        self.fails(outcome.err());
    }

    /// Asks, where nothing is on its way.
    async fn at_rest(&mut self, why: &str) -> Result<(), WriteError> {
        let (held, commits) = (self.recover(why).await?, self.known.meta.commits);
        if held.commits == commits { Ok(()) } else { Err(lost(held.commits, commits)) }
    }

    /// What must be known to tell whether appends are the next ones.
    async fn look(&mut self, changes: &[Change]) -> Result<Looked, WriteError> {
        let (ends, cursors) = self.tails.asks(self.known.meta.last_no, changes);
        let mut looked = Looked::default();
        let ints = |missions: Vec<u64>| missions.into_iter().map(int).collect::<Vec<i64>>();
        let number = |no: i64| u64::try_from(no).unwrap_or(0);
        if !ends.is_empty() {
            let rows = self.rows(LAST_FRAMES, &[Box::new(ints(ends))]).await?;
            looked.frames.extend(rows.iter().map(|row| {
                let first = u32::try_from(row.get::<_, i64>(1)).unwrap_or(u32::MAX);
                (number(row.get(0)), (first, row.get(2)))
            }));
        }
        if !cursors.is_empty() {
            let rows = self.rows(CURSORS, &[Box::new(ints(cursors))]).await?;
            looked.cursors.extend(rows.iter().map(|row| (number(row.get(0)), row.get(1))));
        }
        Ok(looked)
    }

    async fn feed_before(&mut self, begin: u64) -> Result<Option<(u64, Vec<u8>)>, WriteError> {
        let floor = int(ShareNo::of(begin).floor()) - 1;
        let rows = self.rows(FEED_BEFORE, &[Box::new(int(begin)), Box::new(floor)]).await?;
        Ok(rows.first().map(|row| (u64::try_from(row.get::<_, i64>(0)).unwrap_or(0), row.get(1))))
    }

    /// Reads, for as long as it takes.
    async fn rows(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<tokio_postgres::Row>, WriteError> {
        let mut attempts = 0;
        loop {
            let read = match &self.link {
                Some(link) => self.patiently(SLOW, "a question takes long", link.rows(sql, params)).await,
                None => {
                    self.at_rest("there is no connection").await?;
                    continue;
                }
            };
            let (is_a_collision, why) = match read {
                Some(Ok(rows)) => {
                    self.is_back();
                    return Ok(rows);
                }
                Some(Err(error)) if !trouble::is_passing(&error) => {
                    return Err(WriteError::poisoned(&format!("the database of the store: {}", trouble::told(&error))));
                }
                Some(Err(error)) => (trouble::is_a_collision(&error), trouble::told(&error)),
                None => (false, "it does not answer".to_owned()),
            };
            self.at_rest(&why).await?;
            attempts += 1;
            self.pauses(attempts, is_a_collision, &why).await;
        }
    }

    fn is_away(&self, why: &str) {
        if !self.away.swap(true, Ordering::SeqCst) {
            tracing::error!(why, "the database of the store is away: no missions are taken until it is back");
        }
    }

    pub(super) fn is_back(&self) {
        if self.away.swap(false, Ordering::SeqCst) {
            tracing::info!("the database of the store is back");
        }
    }
}

/// All steps in one transaction, sent in one flight. Where one goes wrong, so do those behind it: the reason is the first that is none of
/// their consequences.
async fn transact(link: &Link, steps: &[(&'static str, Vec<&(dyn ToSql + Sync)>)]) -> Result<(), Error> {
    let mut statements = Vec::with_capacity(steps.len());
    for (sql, _) in steps {
        statements.push(link.prepared(sql).await?);
    }
    let done = statements.iter().zip(steps).map(|(statement, (_, params))| link.client.execute(statement, params));
    let begin = link.client.batch_execute("BEGIN READ WRITE");
    let (begun, done, ended) = join3(begin, join_all(done), link.client.batch_execute("COMMIT")).await;
    let mut errors = done.into_iter().filter_map(Result::err).chain(begun.err()).chain(ended.err()).collect::<Vec<_>>();
    match errors.iter().position(|error| !trouble::is_a_consequence(error)) {
        Some(reason) => Err(errors.swap_remove(reason)),
        None => errors.pop().map_or(Ok(()), Err),
    }
}

pub(super) fn lost(found: u64, expected: u64) -> WriteError {
    WriteError::poisoned(&format!(
        "the store has {found} commits, and {expected} were acknowledged: its database is an older copy, or a replica that was behind"
    ))
}
