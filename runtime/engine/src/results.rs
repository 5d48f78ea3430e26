//! What the node holds of its memory for results of calls: one bound for all missions together.
//!
//! One half is for results in passing: calls that are being made, results that are being recorded, results that are brought from
//! the record for a plugin that takes them. A call waits for its share of it before it is made; what has it ends by itself, so
//! that each gets its turn. A call whose tool waits for people gives its share back meanwhile ([`Place`]). The other half is for results that have come and wait for their plugin. Nobody waits for that: a
//! result for which there is no room is let go of, and brought from the record when its plugin takes it. So a plugin that takes
//! nothing keeps nobody from anything.
//!
//! It counts bytes of results and nothing else: what plugins themselves hold is bounded for each (`limits.plugin_memory_mib`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use sortie_contract::limit::CALL_BYTES_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room is counted in these, so that a semaphore can count it.
const UNIT: usize = 1 << 10;

/// What a call counts as before its result is known.
pub(crate) const GUESS: usize = 1 << 20;

/// What a call of a model counts as before its answer is known: some 16,000 tokens. A model takes minutes, and a thousand missions that wait
/// for one are to keep nobody waiting.
pub(crate) const GUESS_OF_MODEL: usize = 64 << 10;

/// The least that a node needs: the largest result must fit into either half.
pub const RESULTS_BYTES_MIN: usize = 2 * CALL_BYTES_MAX;

// What is guessed of a result is no more than the least room that there may be.
const _: () = assert!(UNIT <= GUESS_OF_MODEL && GUESS_OF_MODEL <= GUESS && GUESS <= CALL_BYTES_MAX);

/// The room for results.
#[derive(Debug)]
pub(crate) struct Results {
    passing: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Of each half, in units.
    half: usize,
    peak: AtomicUsize,
}

/// Room that a result takes until it is dropped.
#[derive(Debug)]
pub(crate) struct Room(OwnedSemaphorePermit);

/// The room of a call that is being made. It has none while its tool waits for people: what has room is to end by itself.
#[derive(Debug)]
pub(crate) struct Place(Mutex<Option<Room>>);

impl Place {
    pub(crate) fn new(room: Room) -> Self {
        Self(Mutex::new(Some(room)))
    }

    /// Takes the room out, where there is any.
    pub(crate) fn take(&self) -> Option<Room> {
        self.0.lock().take()
    }
}

impl Results {
    /// So many bytes in all, and no less than [`RESULTS_BYTES_MIN`].
    pub(crate) fn new(bytes_max: usize) -> Self {
        let half = (bytes_max.max(RESULTS_BYTES_MIN) / 2 / UNIT).min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        let semaphore = || Arc::new(Semaphore::new(half));
        Self { passing: semaphore(), waiting: semaphore(), half, peak: AtomicUsize::new(0) }
    }

    /// Room for a result of `bytes` that passes, in its turn.
    pub(crate) async fn pass(&self, bytes: usize) -> Room {
        let permit = Arc::clone(&self.passing).acquire_many_owned(self.units(bytes)).await.expect("never closed");
        self.count();
        Room(permit)
    }

    /// Room for a result that turned out to be of `bytes`, in the place of what was guessed. Nobody waits for more while he
    /// holds some: what he has is given back first.
    pub(crate) async fn pass_on(&self, mut room: Room, bytes: usize) -> Room {
        let (has, wants) = (room.0.num_permits(), self.units(bytes) as usize);
        if wants > has {
            drop(room);
            return self.pass(bytes).await;
        }
        drop(room.0.split(has - wants));
        room
    }

    /// Room for the result of a call that turned out to be of `bytes`, in the place of what the call has.
    pub(crate) async fn pass_from(&self, place: &Place, bytes: usize) -> Room {
        match place.take() {
            Some(room) => self.pass_on(room, bytes).await,
            None => self.pass(bytes).await,
        }
    }

    /// A call whose tool has waited for people has room again, in its turn.
    pub(crate) async fn come_back(&self, place: &Place) {
        let room = self.pass(GUESS).await;
        *place.0.lock() = Some(room);
    }

    /// Room for a result that waits for its plugin, if there is any.
    pub(crate) fn wait(&self, bytes: usize) -> Option<Room> {
        let permit = Arc::clone(&self.waiting).try_acquire_many_owned(self.units(bytes)).ok()?;
        self.count();
        Some(Room(permit))
    }

    /// What results hold now, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        (2 * self.half - self.passing.available_permits() - self.waiting.available_permits()) * UNIT
    }

    /// The most that they ever held.
    pub(crate) fn peak_bytes(&self) -> usize {
        self.peak.load(Relaxed)
    }

    fn units(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT).min(self.half)).unwrap_or(u32::MAX)
    }

    fn count(&self) {
        self.peak.fetch_max(self.bytes(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn calls_that_wait_for_people_keep_nothing_from_passing() {
        let results = Results::new(0);
        let all = RESULTS_BYTES_MIN / 2 / GUESS;
        let place = |_| Place::new(results.pass(GUESS).now_or_never().expect("room for each"));
        let places: Vec<Place> = (0..all).map(place).collect();
        assert!(results.pass(1).now_or_never().is_none(), "all of it is taken");
        places.iter().for_each(|asks| drop(asks.take()));
        let large = results.pass(CALL_BYTES_MAX).now_or_never().expect("room for the largest there is");
        assert!(results.come_back(&places[0]).now_or_never().is_none(), "in its turn");
        drop(large);
        results.come_back(&places[0]).now_or_never().expect("it has room again");
        assert_eq!(results.bytes(), GUESS);
        for (asks, bytes) in [(&places[0], 3 * UNIT), (&places[1], 2 * UNIT)] {
            let room = results.pass_from(asks, bytes).now_or_never().expect("room for its result");
            assert_eq!(results.bytes(), bytes);
            drop(room);
        }
    }

    #[test]
    fn what_waits_for_plugins_keeps_nothing_from_passing() {
        let results = Results::new(0);
        let half = RESULTS_BYTES_MIN / 2;
        let waiting: Vec<Room> = std::iter::from_fn(|| results.wait(GUESS)).collect();
        assert_eq!(waiting.len(), half / GUESS);
        assert!(results.wait(1).is_none(), "it is let go of");
        let large = results.pass(CALL_BYTES_MAX).now_or_never().expect("room for the largest there is");
        assert_eq!(results.bytes(), RESULTS_BYTES_MIN);
        assert!(results.pass(1).now_or_never().is_none(), "it waits");
        drop(large);
        results.pass(1).now_or_never().expect("its turn");
        drop(waiting);
        assert_eq!((results.bytes(), results.peak_bytes()), (0, RESULTS_BYTES_MIN));
    }

    #[test]
    fn two_that_grow_do_not_wait_for_each_other() {
        let results = Results::new(0);
        let mut guessed: Vec<Room> =
            std::iter::from_fn(|| results.pass(GUESS).now_or_never()).take(RESULTS_BYTES_MIN / 2 / GUESS).collect();
        let mut first = Box::pin(results.pass_on(guessed.pop().expect("some"), CALL_BYTES_MAX));
        let mut second = Box::pin(results.pass_on(guessed.pop().expect("some"), CALL_BYTES_MAX));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        drop(guessed);
        drop(first.as_mut().now_or_never().expect("its turn"));
        let grown = second.as_mut().now_or_never().expect("its turn");
        let shrunk = results.pass_on(grown, 10).now_or_never().expect("less needs no turn");
        assert_eq!(results.bytes(), UNIT);
        drop(shrunk);
    }
}
