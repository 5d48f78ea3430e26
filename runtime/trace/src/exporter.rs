//! Who reads the records and tells the collector: one task, for which no mission ever waits.
//!
//! What it holds is bounded: a batch on its way, and the trees of missions that are not over, which are made anew from the journal where there
//! are too many. While the collector is down nothing is read: the journal keeps it. A collector that is down for too long misses what lies
//! furthest back, and that is counted.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};
use sortie_ambient::Surroundings;
use sortie_contract::{MissionNo, Stamped};
use sortie_egress::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use sortie_egress::{Method, NamedSecrets, Request, retry_after};
use tokio::sync::watch;

use crate::config::{Collector, ConfigError, TracesConfig};
use crate::otlp::{self, Service};
use crate::place;
use crate::span::Span;
use crate::tree::{Told, Tree};

/// How long what is recorded is gathered before it is read: a busy node commits a thousand times in that time.
const GATHER: Duration = Duration::from_secs(1);

/// Frames that are read at once.
const FRAMES: usize = 1_000;

/// Spans of one request, at most but for what one frame ends with: a few hundred KiB.
const SPANS: usize = 512;

/// Most missions whose trees are kept between two batches.
const TREES: usize = 4_096;

/// Most frames that a collector may lag behind; of more, the oldest half of this is passed over.
const BACKLOG: u64 = 1_000_000;

/// How long it is waited behind an attempt that failed: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The records of a node, in the order in which they were written. All but [`Source::follow`] block.
pub trait Source: Send + Sync + 'static {
    /// The position up to which there is something, as it grows.
    fn follow(&self) -> watch::Receiver<u64>;

    /// At most so many frames behind a position; none, where there are none, or not any more.
    ///
    /// # Errors
    /// [`SourceError`], where nothing can be read now.
    fn after(&self, position: u64, limit: usize) -> Result<Vec<Entry>, SourceError>;

    /// Records of a mission from that number on: some of them at least, and none at the end. Nothing, where they are gone or damaged.
    ///
    /// # Errors
    /// [`SourceError`]
    fn read(&self, mission: MissionNo, first: u32) -> Result<Option<Vec<Stamped>>, SourceError>;
}

/// Why nothing can be read.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// A frame: records of one mission that were written together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the order of the node.
    pub position: u64,
    /// Whose it is.
    pub mission: MissionNo,
    /// The number of its first record in that mission.
    pub first: u32,
    /// How many records it holds.
    pub count: u32,
}

/// What an exporter is made with.
pub struct Setup<'a> {
    /// `[telemetry.otlp]`
    pub config: &'a TracesConfig,
    /// The node.
    pub node: String,
    /// Its version.
    pub version: &'static str,
    /// Where it is put down how far the collector has been told.
    pub place: PathBuf,
    /// What headers may name.
    pub secrets: Arc<NamedSecrets>,
    /// The names that models have.
    pub models: BTreeSet<String>,
}

/// Tells a collector.
pub struct Exporter {
    collector: Collector,
    told: Told,
    service: Service,
    place: PathBuf,
    secrets: Arc<NamedSecrets>,
    ambient: Surroundings,
    counters: Counters,
}

/// What it did so far, for the node's metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Spans that the collector took.
    pub sent: AtomicU64,
    /// Spans that it refused for good.
    pub refused: AtomicU64,
    /// Frames that were passed over: the collector lagged too far behind, or they could not be read.
    pub skipped: AtomicU64,
    /// Attempts that failed.
    pub failures: AtomicU64,
    /// The position in the journal up to which it was told.
    pub told: AtomicU64,
    /// Whether the last attempt failed.
    pub is_failing: AtomicBool,
}

/// What is kept between two batches.
#[derive(Default)]
struct Reader {
    trees: FxHashMap<MissionNo, Tree>,
}

/// What was read at once.
struct Batch {
    spans: Vec<Span>,
    /// All of it lies before here.
    to: u64,
    skipped: u64,
    /// There may be more at once: it ended because of its size.
    is_full: bool,
}

/// How an attempt failed.
struct Failed {
    why: String,
    /// Trying again is of no use.
    for_good: bool,
    retry_after: Option<Duration>,
}

impl Exporter {
    /// To the collector of a configuration. Nothing is read or sent yet.
    ///
    /// # Errors
    /// [`ConfigError`] for what cannot be meant.
    pub fn new(setup: Setup<'_>, ambient: Surroundings) -> Result<Self, ConfigError> {
        let Setup { config, node, version, place, secrets, models } = setup;
        let collector = config.read(&secrets)?;
        let told = Told { sampling: collector.sampling, models: Arc::new(models) };
        let service = Service { name: collector.service.clone(), instance: node, version };
        Ok(Self { collector, told, service, place, secrets, ambient, counters: Counters::default() })
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where the collector is.
    #[must_use]
    pub fn address(&self) -> &str {
        self.collector.address.as_str()
    }

    /// Tries whether the collector takes spans: it is told none.
    ///
    /// # Errors
    /// Why it does not, in words.
    pub async fn reach(&self) -> Result<(), String> {
        let limit = self.collector.timeout;
        let sending = self.send(Bytes::from(otlp::request(&self.service, &[])));
        match self.ambient.timeout(limit, sending).await {
            None => Err(format!("no answer within {limit:?}")),
            Some(answer) => answer.map(drop).map_err(|failed| failed.why),
        }
    }

    /// Tells what is recorded from now on, or since the place that was put down; but nothing before `may_begin` resolves. Never ends by itself
    /// while there is a node.
    pub async fn run(self: Arc<Self>, source: Arc<dyn Source>, may_begin: impl Future<Output = ()> + Send) {
        let mut durable = source.follow();
        let end = *durable.borrow();
        let mut position = self.begin(end).await;
        self.counters.told.store(position, Relaxed);
        may_begin.await;
        let mut reader = Reader::default();
        loop {
            let end = *durable.borrow_and_update();
            if end <= position {
                if durable.changed().await.is_err() {
                    // There is no journal any more, and nothing to tell.
                    return std::future::pending().await;
                }
                self.ambient.sleep(GATHER).await;
                continue;
            }
            if end - position > BACKLOG {
                let to = end - BACKLOG / 2;
                tracing::warn!(
                    frames = to - position,
                    "the collector of traces lags too far behind: what lies furthest back is passed over"
                );
                self.counters.skipped.fetch_add(to - position, Relaxed);
                position = to;
            }
            let (from, told) = (Arc::clone(&source), self.told.clone());
            let read = self.ambient.unblock(move || {
                let batch = reader.read(&*from, position, || Tree::new(told.clone()));
                (reader, batch)
            });
            let batch = match read.await {
                Ok((back, Ok(batch))) => {
                    reader = back;
                    batch
                }
                // What was on its way is read again.
                Ok((_, Err(error))) => {
                    tracing::error!(error = &*error as &dyn std::error::Error, "records cannot be read for traces yet");
                    reader = Reader::default();
                    self.ambient.sleep(BACKOFF.1).await;
                    continue;
                }
                // What runs tasks is on its way out.
                Err(_) => return std::future::pending().await,
            };
            self.counters.skipped.fetch_add(batch.skipped, Relaxed);
            self.deliver(&batch.spans).await;
            // Pruned, or not on the disk yet: it is looked again when there is more.
            position = if batch.to > position { batch.to } else { end };
            self.counters.told.store(position, Relaxed);
            // On the way through much of which nothing is told, it is not put down at each step.
            if !batch.is_full || !batch.spans.is_empty() {
                self.put_down(position).await;
            }
            if !batch.is_full {
                self.ambient.sleep(GATHER).await;
            }
        }
    }

    /// Where it left off. One that begins says nothing of what was before, and puts down where that is: a collector that takes nothing yet gets
    /// all from there on, whatever becomes of the node until then.
    async fn begin(&self, end: u64) -> u64 {
        let position = self.left_off(end).await;
        if position.is_none() {
            self.put_down(end).await;
        }
        position.unwrap_or(end)
    }

    /// Where it left off, as far as that is known.
    async fn left_off(&self, end: u64) -> Option<u64> {
        let path = self.place.clone();
        let found = self.ambient.unblock(move || place::read(&path)).await;
        match found {
            Ok(Ok(Some(position))) if position <= end => Some(position),
            Ok(Ok(Some(_))) => {
                tracing::warn!(
                    "the journal ends before what the collector was told of: an older copy was put back; traces go on from its end"
                );
                None
            }
            Ok(Ok(None)) | Err(_) => None,
            Ok(Err(error)) => {
                tracing::warn!(%error, "how far the collector of traces was told cannot be read: it is told from here on");
                None
            }
        }
    }

    async fn put_down(&self, position: u64) {
        let path = self.place.clone();
        let written = self.ambient.unblock(move || place::write(&path, position)).await;
        if let Ok(Err(error)) = written {
            tracing::debug!(%error, "how far the collector was told cannot be put down: if the node is killed now, it is told some of it again");
        }
    }

    /// Sends spans until the collector has them, or does not want them.
    async fn deliver(&self, spans: &[Span]) {
        if spans.is_empty() {
            return;
        }
        let body = Bytes::from(otlp::request(&self.service, spans));
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        let mut wait = BACKOFF.0;
        loop {
            let sending = self.send(body.clone());
            let limit = self.collector.timeout;
            let late = || Failed { why: format!("no answer within {limit:?}"), for_good: false, retry_after: None };
            let Failed { why, for_good, retry_after } =
                match self.ambient.timeout(limit, sending).await.unwrap_or_else(|| Err(late())) {
                    Ok(refused) => {
                        self.counters.sent.fetch_add(count.saturating_sub(refused), Relaxed);
                        self.counters.refused.fetch_add(refused, Relaxed);
                        if self.counters.is_failing.swap(false, Relaxed) {
                            tracing::info!("the collector of traces takes spans again");
                        }
                        return;
                    }
                    Err(failed) => failed,
                };
            self.counters.failures.fetch_add(1, Relaxed);
            // Once: a night without a collector is no night of warnings.
            if !self.counters.is_failing.swap(true, Relaxed) {
                tracing::warn!(why, for_good, "the collector of traces does not take spans; missions go on as ever");
            }
            if for_good {
                self.counters.refused.fetch_add(count, Relaxed);
                return;
            }
            // Half of it by chance: nodes of one collector do not return in step.
            let own = wait.mul_f64(0.5 + self.ambient.chance() / 2.0);
            self.ambient.sleep(retry_after.map_or(own, |asked| asked.clamp(own, BACKOFF.1))).await;
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    /// Tries once: how many of them the collector refused for good.
    async fn send(&self, body: Bytes) -> Result<u64, Failed> {
        let again = |why: String| Failed { why, for_good: false, retry_after: None };
        let Collector { address, headers: further, client, .. } = &self.collector;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(otlp::CONTENT_TYPE));
        let names: Vec<&str> = further.iter().flat_map(|(_, template)| template.names()).collect();
        let opened = self.secrets.open(names, address).await.map_err(|error| again(error.to_string()))?;
        for (name, template) in further {
            let value = opened.fill(template);
            headers.insert(name, value.ok_or_else(|| again(format!("the header `{name}` cannot be sent")))?);
        }
        let request = Request { method: Method::POST, url: address.clone(), headers, body };
        let answer = client.send(request).await.map_err(|error| again(error.to_string()))?;
        let status = answer.status().as_u16();
        let retry_after = retry_after(answer.header(RETRY_AFTER), self.ambient.wall());
        let said = answer.body(ANSWER_BYTES_MAX).await;
        let failed = |for_good| Err(Failed { why: format!("it answered {status}"), for_good, retry_after });
        match status {
            200..=299 => Ok(said.map_or(0, |(body, _)| otlp::rejected(&body))),
            // What a change of configuration mends, here or there, is not lost meanwhile.
            300..=399 | 401 | 403..=405 | 408 | 429 | 500..=599 => failed(false),
            _ => failed(true),
        }
    }
}

impl Reader {
    /// What ended in frames behind a position.
    fn read(&mut self, source: &dyn Source, position: u64, new: impl Fn() -> Tree) -> Result<Batch, SourceError> {
        let entries = source.after(position, FRAMES)?;
        let is_full = entries.len() >= FRAMES;
        let mut batch = Batch { spans: Vec::new(), to: position, skipped: 0, is_full };
        let mut touched = FxHashSet::default();
        for entry in entries {
            touched.insert(entry.mission);
            let tree = self.trees.entry(entry.mission).or_insert_with(&new);
            if !tree.is_over() && !take(source, tree, entry, &mut batch.spans)? {
                batch.skipped += 1;
            }
            batch.to = entry.position;
            if batch.spans.len() >= SPANS {
                batch.is_full = true;
                break;
            }
        }
        self.shrink(&touched);
        Ok(batch)
    }

    /// Lets go of trees beyond the bound, first of those that cost least to make anew. One that goes on in each batch stays: it would be read from
    /// its beginning each time.
    fn shrink(&mut self, touched: &FxHashSet<MissionNo>) {
        if self.trees.len() > TREES {
            self.trees.retain(|_, tree| !tree.is_over());
        }
        if self.trees.len() > TREES {
            self.trees.retain(|_, tree| !tree.is_idle());
        }
        if self.trees.len() > TREES {
            // A batch has fewer than the bound.
            self.trees.retain(|mission, _| touched.contains(mission));
        }
    }
}

/// Has a tree take up the records of a frame, behind those that it does not know: of these the collector was told. Whether they could be read.
fn take(source: &dyn Source, tree: &mut Tree, entry: Entry, ended: &mut Vec<Span>) -> Result<bool, SourceError> {
    let behind = entry.first.saturating_add(entry.count);
    let mut told = Vec::new();
    while tree.next() < behind && !tree.is_over() {
        let Some(records) = source.read(entry.mission, tree.next())? else { return Ok(false) };
        if records.is_empty() {
            return Ok(false);
        }
        for stamped in &records {
            if tree.next() >= behind || tree.is_over() {
                break;
            }
            let is_told = tree.next() < entry.first;
            tree.take(stamped, if is_told { &mut told } else { ended });
        }
        told.clear();
    }
    Ok(true)
}

#[cfg(test)]
#[path = "exporter_tests.rs"]
mod tests;
