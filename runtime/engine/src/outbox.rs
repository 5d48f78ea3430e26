//! What is still to be delivered: a view of the journal, with a cursor that moves along it.
//!
//! Only what is on disk is sent, and where a cursor stands is believed once it is there: a crash before that means that an event is
//! sent once more, under the same idempotency key.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
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

/// The folds of missions that are being delivered, so that an event costs neither a read of the whole journal nor, while there is
/// more to deliver, a change of threads.
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
    /// Where the cursor stood when it was last moved or read. A step that starts from an older one is refused by the log.
    cursor: Cursor,
    mission: Mission,
    /// Items that are not delivered yet; the last has the number [`Mission::outgoing`].
    items: VecDeque<(Timestamp, Outgoing)>,
}

impl Follower {
    fn begin(log: &dyn Log, no: MissionNo, cursor: Cursor) -> Result<Self, ReadError> {
        let records = log.read(no, 0, PIECE_BYTES)?;
        let first = records.first().ok_or(ReadError::Unknown)?;
        let mission = begin(first)?;
        let items = mission.outgoing_of(first).into_iter().map(|item| (first.at, item)).collect();
        let mut follower = Self { cursor, mission, items };
        follower.skip();
        follower.advance(log, no)?;
        Ok(follower)
    }

    /// Takes up what was recorded since, until there is enough to deliver.
    fn advance(&mut self, log: &dyn Log, no: MissionNo) -> Result<(), ReadError> {
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
                if self.mission.outgoing() > self.cursor.acked {
                    self.items.extend(self.mission.outgoing_of(&record).into_iter().map(|item| (record.at, item)));
                    self.skip();
                }
            }
        }
        Ok(())
    }

    /// The number of the first item that is left, or will come.
    fn first(&self) -> u64 {
        self.mission.outgoing() + 1 - self.items.len() as u64
    }

    /// Whether there is no item after `item`: the last of a mission is made by the record that ends it.
    fn is_last(&self, item: u64) -> bool {
        self.mission.status().is_final() && self.mission.outgoing() <= item
    }

    /// Whether an attempt may be made.
    fn is_open(&self) -> bool {
        self.cursor.parked.is_none() && !self.cursor.closed
    }

    /// Drops what has been delivered.
    fn skip(&mut self) {
        while self.first() <= self.cursor.acked && self.items.pop_front().is_some() {}
    }

    /// What a step would do from here; `None` where it is none.
    fn stride(&self, step: &Step) -> Option<Stride> {
        let after = step.taken_from(&self.cursor)?;
        let over = step.is_done() && self.is_last(after.acked);
        Some(Stride { before: self.cursor.clone(), after, over })
    }

    /// The first item that is not delivered.
    fn next(&self) -> Option<Next> {
        let (at, outgoing) = self.items.front().filter(|_| self.is_open())?;
        Some(Next {
            envelope: Arc::clone(self.mission.envelope()),
            item: self.first(),
            since: self.cursor.since.map_or(*at, |from| from.max(*at)),
            attempts: self.cursor.attempts,
            outgoing: outgoing.clone(),
        })
    }
}

/// An item to deliver, and whose it is.
struct Next {
    envelope: Arc<Envelope>,
    item: u64,
    /// From when its age counts.
    since: Timestamp,
    attempts: u32,
    outgoing: Outgoing,
}

/// What a step of a delivery would do, from where its cursor stands.
pub(super) struct Stride {
    pub(super) before: Cursor,
    pub(super) after: Cursor,
    /// Nothing is left to deliver then.
    pub(super) over: bool,
}

impl Followers {
    /// The first item that is not delivered, where it is at hand; `None` where the journal has to be asked.
    fn at_hand(&self, no: MissionNo) -> Option<Next> {
        self.0.lock().get(&no)?.next()
    }

    /// The first item that is not delivered, if there is one. Blocks.
    fn next(&self, log: &dyn Log, no: MissionNo) -> Result<Option<Next>, ReadError> {
        let Some(follower) = self.follow(log, no)? else { return Ok(None) };
        let next = follower.next();
        if follower.is_open() {
            self.keep(no, follower);
        }
        Ok(next)
    }

    /// A mission's fold, with where its cursor stands now and what was recorded meanwhile; `None` where nothing is left to deliver.
    /// Blocks.
    fn follow(&self, log: &dyn Log, no: MissionNo) -> Result<Option<Follower>, ReadError> {
        let taken = self.0.lock().remove(&no);
        let Some(cursor) = log.cursor(no)? else { return Ok(None) };
        let Some(mut follower) = taken.filter(|follower| follower.first() <= cursor.acked + 1) else {
            return Follower::begin(log, no, cursor).map(Some);
        };
        follower.cursor = cursor;
        follower.skip();
        if follower.items.is_empty() {
            follower.advance(log, no)?;
        }
        Ok(Some(follower))
    }

    /// What a step would do, where that is at hand: not once a mission is parked or closed, of which an operator decides.
    pub(super) fn stride_at_hand(&self, no: MissionNo, step: &Step) -> Option<Stride> {
        let followers = self.0.lock();
        followers.get(&no).filter(|follower| follower.is_open())?.stride(step)
    }

    /// What a step would do; `None` where it is none from where the cursor stands: then nothing is touched. Blocks.
    pub(super) fn stride(&self, log: &dyn Log, no: MissionNo, step: &Step) -> Result<Option<Stride>, ReadError> {
        let Some(before) = log.cursor(no)? else { return Ok(None) };
        let Some(after) = step.taken_from(&before) else { return Ok(None) };
        if !step.is_done() {
            return Ok(Some(Stride { before, after, over: false }));
        }
        let Some(follower) = self.follow(log, no)? else { return Ok(None) };
        let stride = follower.stride(step);
        if stride.as_ref().is_some_and(|stride| !stride.over) {
            self.keep(no, follower);
        }
        Ok(stride)
    }

    /// The step was made. Who stands elsewhere meanwhile has to look anew.
    pub(super) fn stepped(&self, no: MissionNo, Stride { before, after, over }: Stride) {
        if let Entry::Occupied(mut follower) = self.0.lock().entry(no) {
            // One that is parked may wait for long.
            if over || after.parked.is_some() || follower.get().cursor != before {
                follower.remove();
            } else {
                follower.get_mut().cursor = after;
                follower.get_mut().skip();
            }
        }
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
        // What another node may deliver by now is not delivered twice.
        engine.sure().await.map_err(OutboxError::new)?;
        // The bytes of an artifact are in a file.
        match engine.deliveries.followers.at_hand(no) {
            Some(next) if matches!(next.outgoing, Outgoing::Event(_)) => {
                engine.delivery_of(no, next).map(Some).map_err(OutboxError::new)
            }
            _ => reading(&engine, move |engine| engine.next_delivery(no)).await,
        }
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
        let next = self.deliveries.followers.next(&*self.log, no).inspect_err(|error| self.cannot_read(no, error));
        next?.map(|next| self.delivery_of(no, next)).transpose()
    }

    /// An item as it is sent. Blocks where it is an artifact.
    fn delivery_of(&self, no: MissionNo, next: Next) -> Result<Delivery, ReadError> {
        let Next { envelope, item, since, attempts, outgoing } = next;
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
                self.artifacts_of(no, &envelope).get(&artifact.sha256).map_err(|error| {
                    let (name, mission) = (&artifact.name, &envelope.mission_id);
                    let then = format!("once it can, `sortie redeliver {mission}` sends it");
                    format!("the artifact {name} cannot be read: {error}; {then}")
                }),
            ),
        };
        Ok(Delivery {
            item,
            key,
            method,
            url,
            mission_id: envelope.mission_id.clone(),
            trace_id: envelope.trace_id.clone(),
            content_type,
            body: body.map(Bytes::from),
            secret: callback.auth_ref.clone(),
            since,
            attempts,
        })
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

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
