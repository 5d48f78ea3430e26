//! What is still to be delivered: a view of the journal, with a cursor that moves along it.
//!
//! Only what is on disk is sent. Moving the cursor waits for nobody: a crash that takes the move back means that an event
//! is sent once more, under the same idempotency key.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_callback::{Delivery, Method, Outbox, OutboxError};
use sortie_contract::cursor::Retry;
use sortie_contract::envelope::Envelope;
use sortie_contract::{MissionNo, Timestamp, limit};
use sortie_journal::{Cursor, Log};
use sortie_mission::delivery::Step;
use sortie_mission::{Mission, Outgoing, upload_url};

use super::{Engine, ReadError, begin};

/// The folds of missions that are being delivered, so that an event does not cost a read of the whole journal.
#[derive(Default)]
pub(crate) struct Followers(Mutex<FxHashMap<MissionNo, Follower>>);

/// Most folds that are kept; further ones are read anew each time.
const FOLLOWERS_MAX: usize = 4_096;

/// Most bytes of what came of an attempt: it is for people, and kept with each mission that a dead receiver holds up.
const ERROR_BYTES_MAX: usize = super::shown::LISTED_BYTES_MAX;

/// Most items that are made in advance; an event lists all artifacts of its mission.
const ITEMS_MAX: usize = 32;

/// How much of a journal is read at once: what waits behind a receiver that is down may be all of it, and what is read beyond
/// [`ITEMS_MAX`] is read again.
const PIECE_BYTES: usize = 64 << 10;

/// A mission as far as deliveries have read it.
struct Follower {
    mission: Mission,
    /// Items that are not delivered yet; the last has the number [`Mission::outgoing`].
    items: VecDeque<(Timestamp, Outgoing)>,
}

impl Follower {
    fn begin(log: &dyn Log, no: MissionNo, acked: u64) -> Result<Self, ReadError> {
        let records = log.read(no, 0, PIECE_BYTES)?;
        let first = records.first().ok_or(ReadError::Unknown)?;
        let mission = begin(first)?;
        let items = mission.outgoing_of(first).into_iter().map(|item| (first.at, item)).collect();
        let mut follower = Self { mission, items };
        follower.skip_to(acked);
        follower.advance(log, no, acked)?;
        Ok(follower)
    }

    /// Takes up what was recorded since, until there is enough to deliver after `acked`.
    fn advance(&mut self, log: &dyn Log, no: MissionNo, acked: u64) -> Result<(), ReadError> {
        while self.items.len() < ITEMS_MAX {
            let records = log.read(no, self.mission.records(), PIECE_BYTES)?;
            if records.is_empty() {
                break;
            }
            for record in records {
                if self.items.len() >= ITEMS_MAX {
                    break;
                }
                self.mission.apply(&record)?;
                if self.mission.outgoing() > acked {
                    self.items.extend(self.mission.outgoing_of(&record).into_iter().map(|item| (record.at, item)));
                    self.skip_to(acked);
                }
            }
        }
        Ok(())
    }

    /// The number of the first item that is left, or will come.
    fn first(&self) -> u64 {
        self.mission.outgoing() + 1 - self.items.len() as u64
    }

    /// Whether there may be an item after `item`, as far as was read.
    fn is_to_go_on(&self, item: u64) -> bool {
        !self.mission.status().is_final() || self.mission.outgoing() > item
    }

    /// Drops what has been delivered.
    fn skip_to(&mut self, acked: u64) {
        while self.first() <= acked && self.items.pop_front().is_some() {}
    }
}

/// An item to deliver, and whose it is.
struct Next {
    envelope: Arc<Envelope>,
    item: u64,
    since: Timestamp,
    outgoing: Outgoing,
}

impl Followers {
    /// The first item after `acked`, if there is one.
    fn next(&self, engine: &Engine, no: MissionNo, acked: u64) -> Result<Option<Next>, ReadError> {
        let taken = self.0.lock().remove(&no);
        // One that is ahead of the cursor went on for a move of it that the journal did not take.
        let mut follower = match taken.filter(|follower| follower.first() <= acked + 1) {
            Some(follower) => follower,
            None => Follower::begin(&*engine.log, no, acked)?,
        };
        follower.skip_to(acked);
        if follower.items.is_empty() {
            follower.advance(&*engine.log, no, acked)?;
        }
        let next = follower.items.front().map(|(since, outgoing)| Next {
            envelope: Arc::clone(follower.mission.envelope()),
            item: follower.first(),
            since: *since,
            outgoing: outgoing.clone(),
        });
        self.keep(no, follower);
        Ok(next)
    }

    /// Whether the mission has ended and sends nothing after `item`. Reads only what was recorded since it was last looked
    /// at. One that is over is not followed any more.
    fn is_last(&self, engine: &Engine, no: MissionNo, item: u64) -> Result<bool, ReadError> {
        let taken = self.0.lock().remove(&no);
        let mut follower = match taken {
            Some(follower) => follower,
            None => Follower::begin(&*engine.log, no, item)?,
        };
        if follower.mission.outgoing() <= item && !follower.mission.status().is_final() {
            follower.skip_to(item);
            follower.advance(&*engine.log, no, item)?;
        }
        let over = !follower.is_to_go_on(item);
        if !over {
            self.keep(no, follower);
        }
        Ok(over)
    }

    fn keep(&self, no: MissionNo, follower: Follower) {
        let mut followers = self.0.lock();
        if followers.len() < FOLLOWERS_MAX {
            followers.insert(no, follower);
        }
    }

    pub(crate) fn forget(&self, no: MissionNo) {
        self.0.lock().remove(&no);
    }
}

/// The engine, as the courier sees it: set once the engine is there.
pub struct EngineOutbox(Arc<OnceLock<Weak<Engine>>>);

impl EngineOutbox {
    /// Of the engine that `this` will hold.
    pub(crate) fn of(this: Arc<OnceLock<Weak<Engine>>>) -> Self {
        Self(this)
    }

    /// Of no engine: for whoever examines a configuration and delivers nothing.
    #[must_use]
    pub fn nowhere() -> Self {
        Self(Arc::default())
    }

    /// Moves the cursor of a mission. Where it was moved meanwhile, there is nothing to be done.
    async fn step(&self, no: MissionNo, step: Step) -> Result<(), OutboxError> {
        self.engine()?.step(no, step).await.map(drop).map_err(OutboxError::new)
    }

    fn engine(&self) -> Result<Arc<Engine>, OutboxError> {
        self.0.get().and_then(Weak::upgrade).ok_or_else(|| OutboxError::new("the node is stopping"))
    }
}

#[async_trait]
impl Outbox for EngineOutbox {
    async fn next(&self, no: MissionNo) -> Result<Option<Delivery>, OutboxError> {
        let engine = self.engine()?;
        reading(&engine, move |engine| engine.next_delivery(no)).await
    }

    async fn delivered(&self, no: MissionNo, item: u64) -> Result<(), OutboxError> {
        let at = self.engine()?.ambient.wall();
        self.step(no, Step::Delivered { item, at }).await
    }

    async fn attempted(&self, no: MissionNo, item: u64, attempts: u32, retry: &Retry) -> Result<(), OutboxError> {
        let retry = Retry { why: limit::clip(&retry.why, ERROR_BYTES_MAX), at: retry.at };
        self.step(no, Step::Attempted { item, attempts, retry }).await
    }

    async fn parked(&self, no: MissionNo, item: u64, attempts: u32, why: String) -> Result<(), OutboxError> {
        self.engine()?.deliveries.followers.forget(no);
        let why = limit::clip(&why, ERROR_BYTES_MAX);
        self.step(no, Step::Parked { item, attempts, why }).await
    }
}

/// Reads the journal on a thread that may block.
async fn reading<T: Send + 'static>(
    engine: &Arc<Engine>,
    read: impl FnOnce(&Engine) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, OutboxError> {
    let reader = Arc::clone(engine);
    let read = engine.ambient.unblock(move || read(&reader)).await;
    read.map_err(OutboxError::new)?.map_err(OutboxError::new)
}

impl Engine {
    /// Starts to deliver: first what was left over, then whatever is new.
    pub(crate) fn start_courier(self: &Arc<Self>) {
        self.deliveries.all().into_iter().for_each(|no| self.courier().wake(no));
        let engine = Arc::clone(self);
        self.supervise("courier", async move { engine.courier().run(std::future::pending()).await });
        let courier = self.courier().clone();
        let look = async move {
            // They may still come; meanwhile what needs them waits.
            for (reference, error) in courier.unavailable_secrets().await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%reference, error, "a secret of [callback] cannot be used now");
            }
        };
        self.attend("look at secrets", look);
    }

    /// Blocks.
    fn next_delivery(&self, no: MissionNo) -> Result<Option<Delivery>, ReadError> {
        let open = |cursor: &Cursor| cursor.parked.is_none() && !cursor.closed;
        let Some(cursor) = self.log.cursor(no)?.filter(open) else { return Ok(None) };
        let next =
            self.deliveries.followers.next(self, no, cursor.acked).inspect_err(|error| self.cannot_read(no, error));
        let Some(next) = next? else { return Ok(None) };
        let Next { envelope, item, since, outgoing } = next;
        let callback = envelope.callback.as_ref().ok_or(ReadError::NoEnvelope)?;
        let key = key_of(&envelope, item, &outgoing);
        let (method, url, content_type, body) = match outgoing {
            Outgoing::Event(event) => {
                let body = serde_json::to_vec(&event).expect("an event is plain data");
                (Method::Post, callback.status_url.clone(), "application/json".to_owned(), Ok(body))
            }
            Outgoing::Upload(artifact) => (
                Method::Put,
                upload_url(callback, &artifact.name),
                artifact.media_type,
                // Asking again does not bring them back; an operator may.
                self.artifacts
                    .get(no, &artifact.sha256)
                    .map_err(|error| format!("the artifact {} cannot be read: {error}", artifact.name)),
            ),
        };
        Ok(Some(Delivery {
            item,
            key,
            method,
            url,
            mission_id: envelope.mission_id.clone(),
            trace_id: envelope.trace_id.clone(),
            content_type,
            body: body.map(Bytes::from),
            secret: callback.auth_ref.clone(),
            since: cursor.since.map_or(since, |from| from.max(since)),
            attempts: cursor.attempts,
        }))
    }
}

/// What an item is known by, on every attempt.
pub(super) fn key_of(envelope: &Envelope, item: u64, outgoing: &Outgoing) -> String {
    match outgoing {
        Outgoing::Event(event) => event.idempotency_key.clone(),
        // A name may be stored again, with other bytes or with those of long ago: each is an upload of its own.
        Outgoing::Upload(artifact) => format!("{}/artifacts/{}/{item}", envelope.mission_id, artifact.name),
    }
}

/// Whether the mission has ended and sends nothing after `item`. Blocks.
pub(super) fn mission_over(engine: &Engine, no: MissionNo, item: u64) -> Result<bool, ReadError> {
    engine.deliveries.followers.is_last(engine, no, item).inspect_err(|error| engine.cannot_read(no, error))
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
