//! How far deliveries are: the one place where a mission's cursor is moved, by the courier and by operators.
//!
//! Where it stands after a step the core says ([`Step::taken_from`]). Owned here: that the step is appended only if the cursor still
//! stands where it was asked about: of two that move it at once one looks again; and which missions have something to deliver. What an
//! item is, `outbox` knows.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use sortie_callback::Courier;
use sortie_contract::MissionNo;
use sortie_contract::envelope::Callback;
use sortie_journal::{Append, FeedEntry, WriteError};
use sortie_mission::delivery::Step;

use super::act::ActError;
use super::outbox::{Followers, Stride};
use super::{Engine, ReadError};

/// What a node has to deliver.
pub(crate) struct Deliveries {
    /// Missions of which something is still to be delivered.
    undelivered: Mutex<FxHashSet<MissionNo>>,
    pub(crate) followers: Followers,
    pub(crate) courier: Courier,
}

impl Deliveries {
    /// Of these missions something is left over.
    pub(crate) fn new(undelivered: FxHashSet<MissionNo>, courier: Courier) -> Self {
        Self { undelivered: Mutex::new(undelivered), followers: Followers::default(), courier }
    }

    /// A mission comes that has a receiver.
    pub(crate) fn announce(&self, no: MissionNo, callback: &Callback) {
        self.undelivered.lock().insert(no);
        self.courier.announce(no, &callback.status_url);
    }

    /// Missions come that another node left, of which something is still to be delivered.
    pub(crate) fn take_in(&self, missions: &[MissionNo]) {
        self.undelivered.lock().extend(missions);
        missions.iter().for_each(|no| self.courier.wake(*no));
    }

    /// One that was announced comes to nothing.
    pub(crate) fn withdraw(&self, no: MissionNo) {
        self.are_over(no);
        self.courier.withdraw(no);
    }

    /// Nothing is left to deliver of it.
    pub(crate) fn are_over(&self, no: MissionNo) {
        self.undelivered.lock().remove(&no);
    }

    /// What waits for its next attempt is tried now.
    pub(crate) fn hurry(&self, no: MissionNo) {
        if self.undelivered.lock().contains(&no) {
            self.courier.hurry(no);
        }
    }

    /// Missions that have something to deliver.
    pub(crate) fn all(&self) -> Vec<MissionNo> {
        self.undelivered.lock().iter().copied().collect()
    }

    /// How many they are.
    pub(crate) fn waiting(&self) -> usize {
        self.undelivered.lock().len()
    }

    /// Which of these entries are of missions that have.
    pub(crate) fn among(&self, entries: &[FeedEntry]) -> Vec<bool> {
        let undelivered = self.undelivered.lock();
        entries.iter().map(|entry| undelivered.contains(&entry.mission)).collect()
    }
}

impl Engine {
    /// Moves the cursor of a mission and waits until that is on disk: the next look at it must see it. A group commit serves many.
    /// False where there was nothing to move.
    pub(crate) async fn step(self: &Arc<Self>, no: MissionNo, step: Step) -> Result<bool, ActError> {
        let followers = &self.deliveries.followers;
        let mut at_hand = followers.stride_at_hand(no, &step);
        loop {
            let look = match at_hand.take() {
                Some(stride) => Some(stride),
                None => self.stride(no, &step).await?,
            };
            let Some(stride) = look else { return Ok(false) };
            let append = Append::new(no, 0, &[]).moved_from(Some(stride.before.clone()));
            let append = if stride.over { append.closed(stride.after.clone()) } else { append.cursor(&stride.after) };
            match self.log.append_durable(append)?.await {
                Err(WriteError::CursorMoved { .. }) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    if stride.over {
                        self.deliveries.are_over(no);
                    }
                    followers.stepped(no, stride);
                    return Ok(true);
                }
            }
        }
    }

    /// What the step would do from where the mission's cursor stands on disk.
    async fn stride(self: &Arc<Self>, no: MissionNo, step: &Step) -> Result<Option<Stride>, ReadError> {
        let (engine, asked) = (Arc::clone(self), step.clone());
        let look = move || {
            let stride = engine.deliveries.followers.stride(&*engine.log, no, &asked);
            stride.inspect_err(|error| engine.cannot_read(no, error))
        };
        self.ambient.unblock(look).await.map_err(ReadError::Task)?
    }

    /// Lets a parked delivery be tried again, or gives it up. False where nothing is parked.
    ///
    /// # Errors
    /// [`ActError`]
    pub async fn unpark(self: &Arc<Self>, no: MissionNo, skip: bool) -> Result<bool, ActError> {
        let at = self.ambient.wall();
        let step = if skip { Step::Skipped { at } } else { Step::Again { at } };
        if !self.step(no, step).await? {
            return Ok(false);
        }
        self.counters.skipped.fetch_add(u64::from(skip), Relaxed);
        self.deliveries.hurry(no);
        Ok(true)
    }
}
