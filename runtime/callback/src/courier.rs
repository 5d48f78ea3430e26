//! The courier: takes turns from the board, makes attempts, tells the outbox what came of them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use sortie_ambient::{Joined, Surroundings};
use sortie_contract::cursor::Retry;
use sortie_contract::envelope::{NotSent, SecretRef, host_of};
use sortie_contract::limit::{STOP_DELIVERIES, TROUBLE_WAIT, TROUBLE_WAIT_MAX};
use sortie_contract::{MissionNo, Timestamp};
use sortie_egress::{Refused, SecretError};
use sortie_measure::{Seconds, SecondsBy};
use tokio::sync::{Notify, watch};
use url::Url;

use crate::backoff::Backoff;
use crate::board::{Board, Ended, Health};
use crate::config::{CallbackConfig, ConfigError};
use crate::outbox::{Delivery, Outbox, OutboxError};
use crate::send::{Sender, Transport, Verdict};

/// Delivers missions' items, in order per mission. See the crate for how it is used. Clones are the same courier.
#[derive(Clone)]
pub struct Courier {
    shared: Arc<Shared>,
}

struct Shared {
    board: Mutex<Board>,
    /// There may be something to take.
    news: Notify,
    outbox: Arc<dyn Outbox>,
    sender: Sender,
    ambient: Surroundings,
    backoff: Backoff,
    attempts_max: u32,
    age_max: Duration,
    counters: Counters,
    life: watch::Sender<Life>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    New,
    Running,
    Stopping,
    Over,
}

/// What the courier did so far, for the node's metrics.
#[derive(Debug)]
pub struct Counters {
    waited: Seconds,
    attempts: SecondsBy,
    delivered: AtomicU64,
    retried: AtomicU64,
    parked: AtomicU64,
    /// In the order of [`Health::ALL`].
    failures: [Failures; Health::ALL.len()],
}

#[derive(Debug, Default)]
struct Failures {
    count: AtomicU64,
    /// In seconds since 1970; 0 before the first.
    last: AtomicI64,
}

/// Attempts that failed in one way, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// In a word: `refused` by the receiver, `unanswered`, or `unsent`.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// When the last of them was, in seconds since 1970; 0 before the first.
    pub last: i64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            waited: Seconds::slow(),
            attempts: SecondsBy::quick("method"),
            delivered: AtomicU64::default(),
            retried: AtomicU64::default(),
            parked: AtomicU64::default(),
            failures: Default::default(),
        }
    }
}

impl Counters {
    /// How long items waited until their receiver took them, since they could have been sent.
    pub fn waited(&self) -> &Seconds {
        &self.waited
    }

    /// How long attempts took, by method.
    pub fn attempts(&self) -> &SecondsBy {
        &self.attempts
    }

    /// Items that a receiver took.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }

    /// Attempts that failed and are repeated.
    pub fn retried(&self) -> u64 {
        self.retried.load(Relaxed)
    }

    /// Items that were given up for now.
    pub fn parked(&self) -> u64 {
        self.parked.load(Relaxed)
    }

    /// Attempts that failed, by kind.
    pub fn failures(&self) -> impl Iterator<Item = Failed> {
        Health::ALL.into_iter().zip(&self.failures).map(|(health, Failures { count, last })| Failed {
            kind: health.failure(),
            count: count.load(Relaxed),
            last: last.load(Relaxed),
        })
    }

    fn failed(&self, health: Health, at: Timestamp) {
        for (_, failures) in Health::ALL.into_iter().zip(&self.failures).filter(|(kind, _)| *kind == health) {
            failures.count.fetch_add(1, Relaxed);
            failures.last.store(at.as_second(), Relaxed);
        }
    }
}

impl Courier {
    /// A courier that does nothing yet, and will send through `transport` ([`Http`](crate::Http), in a node). Its clocks, tasks and chance
    /// are those of `ambient`.
    ///
    /// # Errors
    /// [`ConfigError`] for a configuration that cannot be meant.
    pub fn new(
        config: &CallbackConfig,
        outbox: Arc<dyn Outbox>,
        transport: Arc<dyn Transport>,
        ambient: Surroundings,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let sender = Sender::new(config, transport, Arc::clone(&ambient))?;
        Ok(Self { shared: Arc::new(Shared::new(config, outbox, sender, ambient)) })
    }

    /// Whether the guard lets anything through to the address that a URL names, as far as that can be known without a resolver.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn reaches(&self, url: &Url) -> Result<(), Refused> {
        self.shared.sender.guard().literal(url)
    }

    /// Whether the configuration lets a secret be sent to the host of a URL.
    ///
    /// # Errors
    /// [`NotSent`]
    pub fn may_send(&self, secret: &SecretRef, url: &Url) -> Result<(), NotSent> {
        self.shared.sender.secrets().may_send(secret, url)
    }

    /// The secrets of the configuration that have no usable value right now, for whoever examines a node.
    pub async fn unavailable_secrets(&self) -> Vec<(SecretRef, SecretError)> {
        self.shared.sender.secrets().unavailable().await
    }

    /// A mission comes whose items go to this URL. Not needed, but it saves a look at what is recorded of each mission whose receiver
    /// is slow or dead. To be followed by [`Courier::wake`], or by [`Courier::withdraw`].
    pub fn announce(&self, mission: MissionNo, url: &Url) {
        self.shared.board.lock().announce(mission, &host_of(url).into());
    }

    /// A mission that was announced comes to nothing.
    pub fn withdraw(&self, mission: MissionNo) {
        self.shared.board.lock().withdraw(mission);
    }

    /// The mission may have something to send. Cheap, never blocks; calling it too often is harmless. An item that waits for its next
    /// attempt goes on waiting.
    pub fn wake(&self, mission: MissionNo) {
        if self.shared.board.lock().wake(mission) {
            self.shared.news.notify_one();
        }
    }

    /// As [`Courier::wake`], and an item that waits for its next attempt is tried now: the operator knows more than the backoff. One
    /// that was parked waits, like any, until its receiver may be asked again, where nothing came from that: a few seconds.
    pub fn hurry(&self, mission: MissionNo) {
        if self.shared.board.lock().hurry(mission) {
            self.shared.news.notify_one();
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Missions that wait for their turn, for an answer or for their next attempt.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.shared.board.lock().len()
    }

    /// Delivers until `shutdown` resolves or [`Courier::stop`] is called; then gives attempts in flight a moment. To be run once.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        self.shared.run(shutdown).await;
    }

    /// Ends [`Courier::run`], and waits until it has ended. After that, nothing touches the outbox any more.
    pub async fn stop(&self) {
        self.shared.stop().await;
    }
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").field("counters", &self.shared.counters).finish_non_exhaustive()
    }
}

impl Shared {
    fn new(config: &CallbackConfig, outbox: Arc<dyn Outbox>, sender: Sender, ambient: Surroundings) -> Self {
        Self {
            board: Mutex::new(Board::new(config.concurrency, config.concurrency_per_receiver)),
            news: Notify::new(),
            outbox,
            sender,
            ambient,
            backoff: Backoff { first: config.backoff_first, max: config.backoff_max },
            attempts_max: config.attempts,
            age_max: config.max_age,
            counters: Counters::default(),
            life: watch::Sender::new(Life::New),
        }
    }

    async fn run(self: &Arc<Self>, shutdown: impl Future<Output = ()>) {
        let started = self.life.send_if_modified(|life| {
            let new = *life == Life::New;
            if new {
                *life = Life::Running;
            }
            new
        });
        if !started {
            return;
        }
        // Also when this future is dropped half way: then the attempts are, too.
        let _over = Over(&self.life);
        let mut stopping = self.life.subscribe();
        let stop = async {
            tokio::select! {
                () = shutdown => {}
                // The sender lives in `self`.
                _ = stopping.wait_for(|life| *life == Life::Stopping) => {}
            }
        };
        let mut turns = FuturesUnordered::new();
        {
            tokio::pin!(stop);
            loop {
                let next_due = self.start_turns(&mut turns);
                let rest = async {
                    match next_due {
                        Some(due) => self.ambient.sleep(due.saturating_sub(self.ambient.steady())).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    () = &mut stop => break,
                    () = self.news.notified() => {}
                    Some(_) = turns.next(), if !turns.is_empty() => {}
                    () = rest => {}
                }
            }
        }
        let in_flight = async { while turns.next().await.is_some() {} };
        if self.ambient.timeout(STOP_DELIVERIES, in_flight).await.is_none() {
            tracing::info!("deliveries in flight are broken off; they are repeated after the next start");
            drop(turns);
            // One that is in the middle of a step stops behind it.
            let stopped = async {
                while self.board.lock().is_busy() {
                    self.news.notified().await;
                }
            };
            if self.ambient.timeout(STOP_DELIVERIES, stopped).await.is_none() {
                tracing::warn!("a delivery in flight could not be broken off");
            }
        }
    }

    /// Starts every turn that there is a place for. Says when the next rest ends.
    fn start_turns(self: &Arc<Self>, turns: &mut FuturesUnordered<Joined<()>>) -> Option<Duration> {
        let mut board = self.board.lock();
        board.rise(self.ambient.steady());
        while let Some(mission) = board.take() {
            // From here on it is given back, also where its task is stopped before it begins.
            let turn = Turn { shared: Arc::clone(self), mission, ended: None };
            turns.push(self.ambient.spawn(Self::turn(turn)));
        }
        board.next_due()
    }

    async fn stop(&self) {
        let mut life = self.life.subscribe();
        self.life.send_modify(|life| {
            *life = match *life {
                Life::New | Life::Over => Life::Over,
                Life::Running | Life::Stopping => Life::Stopping,
            };
        });
        // An error means that the sender is gone, which is in `self`.
        let _ = life.wait_for(|life| *life == Life::Over).await;
    }

    /// One turn of one mission: at most one attempt at one item.
    async fn turn(mut turn: Turn) {
        let (this, mission) = (Arc::clone(&turn.shared), turn.mission);
        let delivery = match this.outbox.next(mission).await {
            Ok(Some(delivery)) => delivery,
            Ok(None) => return turn.end(Ended::Quiet),
            Err(error) => {
                tracing::error!(%mission, error = &error as &dyn std::error::Error, "what is to be delivered cannot be read");
                return turn.end(Ended::Troubled(this.ambient.steady() + TROUBLE_WAIT_MAX));
            }
        };
        if !this.board.lock().claim(mission, &host_of(&delivery.url).into()) {
            return turn.disclaim();
        }
        let begun = this.ambient.steady();
        let verdict = this.sender.attempt(&delivery, this.ambient.wall()).await;
        let took = this.ambient.steady().saturating_sub(begun);
        let outcome = if matches!(verdict, Verdict::Delivered) { "ok" } else { "failed" };
        this.counters.attempts.took(delivery.method.as_str(), outcome, took, delivery.trace_id.as_str());
        let ended = this.record(mission, &delivery, verdict).await;
        turn.end(ended);
    }

    /// Tells the outbox and the log what came of an attempt.
    async fn record(&self, mission: MissionNo, delivery: &Delivery, verdict: Verdict) -> Ended {
        let item = delivery.item;
        let attempts = delivery.attempts.saturating_add(1);
        let (mission_id, trace_id) = (&delivery.mission_id, &delivery.trace_id);
        match self.consequence(delivery.since, attempts, verdict) {
            Consequence::Delivered => {
                self.counters.delivered.fetch_add(1, Relaxed);
                let waited = Duration::try_from(self.ambient.wall().duration_since(delivery.since)).unwrap_or_default();
                self.counters.waited.took_in(waited, trace_id.as_str());
                tracing::debug!(%mission_id, %trace_id, item, attempts, "delivered");
                self.insist(|| self.outbox.delivered(mission, item)).await;
                Ended::Delivered
            }
            Consequence::Again { wait, why, health } => {
                self.counters.retried.fetch_add(1, Relaxed);
                tracing::info!(%mission_id, %trace_id, item, attempts, why, wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "a delivery is repeated");
                let due = self.ambient.steady() + wait;
                let at = self.ambient.wall().checked_add(wait).unwrap_or(Timestamp::MAX);
                let retry = Retry { why, at };
                self.insist(|| self.outbox.attempted(mission, item, attempts, &retry)).await;
                match health {
                    Health::Answered => Ended::Refused(due),
                    Health::Silent => Ended::Unanswered(due),
                    Health::Unknown => Ended::Troubled(due),
                }
            }
            Consequence::Parked { why, health } => {
                self.counters.parked.fetch_add(1, Relaxed);
                tracing::warn!(%mission_id, %trace_id, item, attempts, why, "a delivery is parked");
                self.insist(|| self.outbox.parked(mission, item, attempts, why.clone())).await;
                Ended::Parked(health)
            }
        }
    }

    fn consequence(&self, since: Timestamp, attempts: u32, verdict: Verdict) -> Consequence {
        if let Verdict::Failed { health, .. } | Verdict::Hopeless { health, .. } = &verdict {
            self.counters.failed(*health, self.ambient.wall());
        }
        let (why, retry_after, health) = match verdict {
            Verdict::Delivered => return Consequence::Delivered,
            Verdict::Hopeless { why, health } => return Consequence::Parked { why, health },
            Verdict::Failed { why, retry_after, health } => (why, retry_after, health),
        };
        // A clock that went back makes nothing old.
        let age = Duration::try_from(self.ambient.wall().duration_since(since)).unwrap_or_default();
        let left = self.age_max.saturating_sub(age);
        if attempts >= self.attempts_max {
            Consequence::Parked { why: format!("{why}; given up after {attempts} attempts"), health }
        } else if left.is_zero() {
            Consequence::Parked { why: format!("{why}; given up after {:?}", self.age_max), health }
        } else {
            // The last attempt is when its time is over, not long after.
            let wait = self.backoff.wait(attempts, retry_after, self.ambient.chance()).min(left);
            Consequence::Again { wait, why, health }
        }
    }

    /// Repeats a call of the outbox until it succeeds. An outcome that is not recorded must not be passed over: the item would be sent
    /// again at once, and again.
    async fn insist<F>(&self, call: impl Fn() -> F)
    where
        F: Future<Output = Result<(), OutboxError>>,
    {
        let mut wait = TROUBLE_WAIT;
        while let Err(error) = call().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the outcome of a delivery cannot be recorded yet"
            );
            self.ambient.sleep(wait).await;
            wait = (wait * 2).min(TROUBLE_WAIT_MAX);
        }
    }
}

/// What follows from a verdict.
enum Consequence {
    Delivered,
    Again { wait: Duration, why: String, health: Health },
    Parked { why: String, health: Health },
}

/// A mission that was taken from the board. Gives it back however the turn ends, a panic included.
struct Turn {
    shared: Arc<Shared>,
    mission: MissionNo,
    /// `None` until the turn has come to an end that is known.
    ended: Option<End>,
}

#[derive(Clone, Copy)]
enum End {
    /// To be told to the board.
    Finished(Ended),
    /// The board has put the mission into a queue already.
    Disclaimed,
}

impl Turn {
    fn end(&mut self, ended: Ended) {
        self.ended = Some(End::Finished(ended));
    }

    fn disclaim(&mut self) {
        self.ended = Some(End::Disclaimed);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let ended = match self.ended {
            Some(End::Disclaimed) => None,
            Some(End::Finished(ended)) => Some(ended),
            None => Some(Ended::Troubled(self.shared.ambient.steady() + TROUBLE_WAIT_MAX)),
        };
        if let Some(ended) = ended {
            self.shared.board.lock().finish(self.mission, ended);
        }
        self.shared.news.notify_one();
    }
}

/// Says that a run is over, however it ended.
struct Over<'a>(&'a watch::Sender<Life>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.send_replace(Life::Over);
    }
}

#[cfg(test)]
#[path = "courier_tests.rs"]
mod tests;
