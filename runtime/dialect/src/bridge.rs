//! The bridge: jobs of a Redis stream become missions, and how these end goes to another.
//!
//! It reads as one consumer of a group. What it had and never acknowledged comes first, then what other consumers left for too long, then
//! what is new. A message is acknowledged once its mission is on record, and not before; so it may be read twice, and the second time it is
//! the mission that is there. Whoever does not take it now (a node that is paused, or full) leaves it where it is. What can never become a
//! mission goes to the dead letters, with why, and is acknowledged once its letter is there.
//!
//! A Redis that is away is connected to again and again, with growing waits, and nothing else of a node depends on it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use sortie_ambient::Surroundings;
use sortie_contract::mistake::code;
use sortie_contract::{Event, Mistake, Pointer, Timestamp};
use sortie_egress::SecretError;

use crate::config::{ConfigError, RedisConfig};
use crate::desk::{Desk, Untaken};
use crate::envelope::{Dialect, Made};
use crate::link::{Link, Message, Trouble, acknowledge, add, claim, make_group, offer, read, send};
use crate::message::{dead_letter, job_of};
use crate::name::mission_of_job;
use crate::reading::Reading;
use crate::result::result_of;

/// Messages that are read at once.
const COUNT: usize = 32;

/// How long it is waited for what is new before it is looked whether the node still takes jobs.
const BLOCK: Duration = Duration::from_secs(1);

/// How often a node that takes no jobs is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// How long it is waited behind what failed: at first, and at most.
pub(crate) const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Shortest time after which a job of another consumer is taken: a consumer that is alive may need a moment.
const CLAIM_MIN: Duration = Duration::from_secs(1);

/// Between a Redis and a node.
pub struct Bridge {
    link: Link,
    names: Names,
    dialect: Arc<Dialect>,
    bytes_max: usize,
    claim_after: Duration,
    ambient: Surroundings,
    /// What results are sent over.
    writer: tokio::sync::Mutex<Option<MultiplexedConnection>>,
    standing: Mutex<Standing>,
    counters: Counters,
}

/// What streams, group and consumer are called.
pub(crate) struct Names {
    stream: String,
    group: String,
    consumer: String,
    results: String,
    dead_letters: String,
}

/// What it did so far, for the node's metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Jobs that became missions.
    pub taken: AtomicU64,
    /// Jobs whose missions were there.
    pub replayed: AtomicU64,
    /// Messages that went to the dead letters.
    pub dead: AtomicU64,
    /// Jobs that other consumers had left.
    pub claimed: AtomicU64,
    /// Results that were sent.
    pub results: AtomicU64,
    /// Times at which Redis did not do what was asked of it.
    pub failures: AtomicU64,
}

/// How it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether jobs are read.
    pub is_connected: bool,
    /// Since when that is so; nothing before the first attempt.
    pub since: Option<Timestamp>,
    /// What failed last; nothing, while nothing does. Beside a connection: Redis does not take dead letters.
    pub error: Option<String>,
}

/// What has become of a message.
enum Handled {
    /// It is acknowledged.
    Done,
    /// It stays where it is, and so do those of its VP behind it.
    Waits { vp_id: String, why: String },
    /// It stays where it is, and alone: it is no job, and its dead letter is not taken.
    Unburied,
    /// It stays where it is, and so does everything behind it: the node takes nothing now.
    Stops(String),
}

/// Why a result is not where it belongs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// It never will be: the job has another mission.
    #[error("the event is of another mission than that of the job")]
    NotItsMission,
    /// Redis did not take it; it may, another time.
    #[error("Redis does not take the result: {0}")]
    Away(String),
}

impl Bridge {
    /// As the configuration has it, of the node of this name, whose envelopes have at most so many bytes. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ConfigError`] for what cannot be meant.
    pub fn new(
        config: &RedisConfig,
        dialect: Arc<Dialect>,
        node: &str,
        bytes_max: usize,
        ambient: Surroundings,
    ) -> Result<Self, ConfigError> {
        let (link, names) = Self::examine(config, node)?;
        Ok(Self {
            link,
            names,
            dialect,
            bytes_max,
            claim_after: config.claim_after,
            ambient,
            writer: tokio::sync::Mutex::default(),
            standing: Mutex::default(),
            counters: Counters::default(),
        })
    }

    /// Whether it can be meant, and what it comes to.
    pub(crate) fn examine(config: &RedisConfig, node: &str) -> Result<(Link, Names), ConfigError> {
        let link = Link::new(config)?;
        let results = config.results.clone().unwrap_or_else(|| format!("{}:results", config.stream));
        let names = Names {
            stream: config.stream.clone(),
            group: config.group.clone(),
            consumer: config.consumer.clone().unwrap_or_else(|| node.to_owned()),
            results,
            dead_letters: config.dead_letters.clone(),
        };
        let named = [
            ("stream", &names.stream),
            ("group", &names.group),
            ("consumer", &names.consumer),
            ("results", &names.results),
            ("dead_letters", &names.dead_letters),
        ];
        if let Some((key, _)) = named.iter().find(|(_, name)| name.is_empty()) {
            return Err(ConfigError::new(format!("redis.{key}"), "must not be empty"));
        }
        if [&names.results, &names.dead_letters].contains(&&names.stream) || names.results == names.dead_letters {
            return Err(ConfigError::new("redis.stream", "jobs, results and dead letters must be three streams"));
        }
        if !(CLAIM_MIN..=Duration::from_secs(86_400)).contains(&config.claim_after) {
            return Err(ConfigError::new("redis.claim_after", "must be 1s to 24h"));
        }
        Ok((link, names))
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing.lock().clone()
    }

    /// The stream of jobs, for people.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.names.stream
    }

    /// What keeps its password from being read right now.
    pub async fn unavailable(&self) -> Option<SecretError> {
        self.link.unavailable().await
    }

    /// Tries whether Redis answers: nothing is read or written.
    ///
    /// # Errors
    /// Why it does not, in words.
    pub async fn reach(&self) -> Result<(), String> {
        let answered = async {
            let mut connection = self.link.connect(Duration::ZERO, &self.ambient).await?;
            send(&mut connection, redis::cmd("PING")).await
        };
        answered.await.map_err(|trouble: Trouble| trouble.to_string())
    }

    /// Reads jobs for as long as there is a node, but none before `may_begin` resolves.
    pub async fn run(self: Arc<Self>, desk: Arc<dyn Desk>, may_begin: impl Future<Output = ()> + Send) {
        may_begin.await;
        let mut wait = BACKOFF.0;
        loop {
            if !desk.is_open() {
                self.ambient.sleep(LOOK).await;
                continue;
            }
            let began = self.ambient.steady();
            let Err(trouble) = self.serve(&*desk).await;
            self.fails(&trouble, &*desk);
            // One that held for a while was a good one: what broke it may be over.
            if self.ambient.steady().saturating_sub(began) > BACKOFF.1 {
                wait = BACKOFF.0;
            }
            self.ambient.sleep(wait.mul_f64(0.5 + self.ambient.chance() / 2.0)).await;
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    /// Reads jobs over one connection until it fails.
    async fn serve(&self, desk: &dyn Desk) -> Result<std::convert::Infallible, Trouble> {
        let Names { stream, group, consumer, .. } = &self.names;
        let of = (stream.as_str(), group.as_str(), consumer.as_str());
        let mut connection = self.link.connect(BLOCK, &self.ambient).await?;
        make_group(&mut connection, stream, group).await?;
        self.is_well(desk);
        // What others left is taken between what it had and what is new, and something new is read before that is done again.
        let (mut reading, mut claimed, mut may_claim) = (Reading::new(), None::<Duration>, true);
        loop {
            if !desk.is_open() {
                self.ambient.sleep(LOOK).await;
                reading.anew();
                continue;
            }
            let now = self.ambient.steady();
            let is_time = claimed.is_none_or(|at| now.saturating_sub(at) >= self.claim_after.min(BACKOFF.1));
            if is_time && may_claim && reading.after().is_none() {
                (claimed, may_claim) = (Some(now), false);
                let count = claim(&mut connection, of, self.claim_after).await?;
                if count > 0 {
                    self.counters.claimed.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Relaxed);
                    reading.anew();
                }
            }
            reading.look(now);
            if reading.is_full() {
                self.ambient.sleep(LOOK).await;
                continue;
            }
            let messages = match reading.after() {
                Some(after) => read(&mut connection, of, COUNT, None, after).await?,
                None => {
                    may_claim = true;
                    read(&mut connection, of, COUNT, Some(BLOCK), ">").await?
                }
            };
            let stopped = self.handle_all(&mut connection, desk, &mut reading, &messages).await?;
            let Some(why) = stopped else {
                reading.has_seen(messages.last().map(|last| last.id.clone()), self.ambient.steady());
                if reading.has_buried_all() {
                    self.buries_again();
                }
                continue;
            };
            // It stays where it is, and so does what was read with it.
            reading.anew();
            if desk.is_open() {
                tracing::debug!(why, "a job waits: the node does not take it yet");
                self.ambient.sleep(reading.pause()).await;
            }
        }
    }

    /// Sees to messages, in their order. Why the node takes none now, where that is so.
    async fn handle_all(
        &self,
        connection: &mut MultiplexedConnection,
        desk: &dyn Desk,
        reading: &mut Reading,
        messages: &[Message],
    ) -> Result<Option<String>, Trouble> {
        for message in messages {
            match self.handle(connection, desk, reading, message).await? {
                Handled::Done => {}
                Handled::Waits { vp_id, why } => {
                    tracing::debug!(vp_id, why, "a job waits, and those of its VP behind it");
                    reading.waits(vp_id);
                }
                Handled::Unburied => reading.waits_for_its_letter(),
                Handled::Stops(why) => return Ok(Some(why)),
            }
        }
        Ok(None)
    }

    /// Sees to one message.
    async fn handle(
        &self,
        connection: &mut MultiplexedConnection,
        desk: &dyn Desk,
        reading: &Reading,
        message: &Message,
    ) -> Result<Handled, Trouble> {
        if !desk.is_open() {
            return Ok(Handled::Stops("the node takes no jobs".to_owned()));
        }
        // A job needs a key of its own: none stands for it.
        let made = Made { node: desk.node(), at: desk.now(), fresh: "" };
        let translated = match message.fields.is_empty() {
            true => Err(vec![Mistake::new(
                Pointer::root(),
                code::REQUIRED,
                "the message was taken out of the stream before it was read",
            )]),
            false => job_of(&message.fields, self.bytes_max).and_then(|job| self.dialect.job(&job, made)),
        };
        let job = match translated {
            Ok(job) => job,
            Err(mistakes) => return self.bury(connection, message, &mistakes).await,
        };
        if reading.holds_up(&job.vp_id) {
            return Ok(Handled::Waits { vp_id: job.vp_id, why: "one of its VP before it waits".to_owned() });
        }
        match desk.take(&job).await {
            Ok(was_there) => {
                let Names { stream, group, .. } = &self.names;
                send(connection, acknowledge(stream, group, &message.id)).await?;
                let count = if was_there { &self.counters.replayed } else { &self.counters.taken };
                count.fetch_add(1, Relaxed);
                tracing::debug!(mission_id = job.mission_id, was_there, warnings = ?job.warnings, "a job of the bridge is a mission");
                Ok(Handled::Done)
            }
            Err(Untaken::NotNow(why)) => Ok(Handled::Stops(why)),
            Err(Untaken::Alone(why)) => Ok(Handled::Waits { vp_id: job.vp_id, why }),
            Err(Untaken::Refused(mistakes)) => self.bury(connection, message, &job.told(mistakes)).await,
        }
    }

    /// Lays a message with the dead, and acknowledges it once its letter is there. One after the other: a transaction of Redis goes on
    /// behind a command that fails, and the message would be gone without a letter. A crash in between makes a second one.
    async fn bury(
        &self,
        connection: &mut MultiplexedConnection,
        message: &Message,
        why: &[Mistake],
    ) -> Result<Handled, Trouble> {
        let Names { stream, group, dead_letters, .. } = &self.names;
        let letter = dead_letter(&message.id, &message.fields, why);
        let letter = add(dead_letters, letter.iter().map(|(name, value)| (*name, value.as_str())));
        if let Some(refusal) = offer(connection, letter).await? {
            self.cannot_bury(&message.id, &refusal);
            return Ok(Handled::Unburied);
        }
        send(connection, acknowledge(stream, group, &message.id)).await?;
        self.counters.dead.fetch_add(1, Relaxed);
        let told = why.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        tracing::warn!(
            message = message.id,
            why = told,
            "a message of the bridge is no job, and lies with the dead letters"
        );
        Ok(Handled::Done)
    }

    /// Sends the result of a job, if this event is the end of its mission; `workspace` is where that worked. Sent again, it is the same.
    ///
    /// # Errors
    /// [`Untold`]
    pub async fn tell(&self, job_id: &str, event: &Event, workspace: &str) -> Result<(), Untold> {
        // An address says which job is meant, and anybody who dispatches may write one: a result is told of its own mission alone.
        if event.mission_id != mission_of_job(job_id) {
            return Err(Untold::NotItsMission);
        }
        let Some(result) = result_of(event, job_id, workspace) else { return Ok(()) };
        let (status, text) = (result["status"].as_str().unwrap_or_default(), result.to_string());
        let fields = [
            ("job_id", job_id),
            ("status", status),
            ("envelope", text.as_str()),
            ("terminal_status", event.status.as_str()),
            ("idempotency_key", event.idempotency_key.as_str()),
        ];
        let mut writer = self.writer.lock().await;
        let sent = async {
            if writer.is_none() {
                *writer = Some(self.link.connect(Duration::ZERO, &self.ambient).await?);
            }
            match &mut *writer {
                Some(connection) => send(connection, add(&self.names.results, fields)).await,
                None => Ok(()),
            }
        };
        match sent.await {
            Ok(()) => {
                self.counters.results.fetch_add(1, Relaxed);
                Ok(())
            }
            Err(trouble) => {
                *writer = None;
                self.counters.failures.fetch_add(1, Relaxed);
                Err(Untold::Away(trouble.to_string()))
            }
        }
    }

    fn is_well(&self, desk: &dyn Desk) {
        let mut standing = self.standing.lock();
        if !standing.is_connected {
            *standing = Standing { is_connected: true, since: Some(desk.now()), error: None };
            tracing::info!(stream = self.names.stream, group = self.names.group, "the bridge reads jobs");
        }
    }

    /// Redis is there, and does not take the dead letter of this message: another tool keeps something else under that name.
    fn cannot_bury(&self, message_id: &str, refusal: &str) {
        self.counters.failures.fetch_add(1, Relaxed);
        let told = format!("`{}` does not take dead letters: {refusal}", self.names.dead_letters);
        let mut standing = self.standing.lock();
        // Once: it is tried again and again.
        if standing.error.as_ref() != Some(&told) {
            tracing::warn!(
                message_id,
                error = told,
                "what is no job stays in the stream of the bridge, unacknowledged"
            );
            standing.error = Some(told);
        }
    }

    /// No message waits for its dead letter any more.
    fn buries_again(&self) {
        if self.standing.lock().error.take().is_some() {
            tracing::info!(stream = self.names.dead_letters, "what was no job has its dead letter");
        }
    }

    fn fails(&self, trouble: &Trouble, desk: &dyn Desk) {
        self.counters.failures.fetch_add(1, Relaxed);
        let mut standing = self.standing.lock();
        // Once: a night without Redis is no night of warnings.
        if standing.is_connected || standing.since.is_none() {
            standing.since = Some(desk.now());
            tracing::warn!(error = %trouble, "the bridge cannot read jobs; missions go on as ever, and it tries again");
        }
        standing.is_connected = false;
        standing.error = Some(trouble.to_string());
    }
}
