//! Missions that somebody wants kept: retention passes them over, with their artifacts, until that is taken back.
//!
//! Owned here: that a pin and a removal cannot both happen, and that what an operator was told is on disk. Never here: what is removed
//! otherwise.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use sortie_contract::MissionNo;
use sortie_journal::{Log, Pinned};

use super::act::ActError;
use super::{Engine, ReadError};

/// The pins, as they stand in the log, and what goes just now. Held while one is changed, and never while files are removed.
#[derive(Debug)]
pub(crate) struct Pins(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    pinned: FxHashMap<MissionNo, Pinned>,
    /// Missions that are being removed: nobody can keep them any more.
    going: FxHashSet<MissionNo>,
}

impl Pins {
    /// Those of a log.
    pub(crate) fn of(log: &dyn Log) -> Result<Self, sortie_journal::ReadError> {
        Ok(Self::new(log.pins()?))
    }

    fn new(pins: impl IntoIterator<Item = (MissionNo, Pinned)>) -> Self {
        Self(Mutex::new(State { pinned: pins.into_iter().collect(), going: FxHashSet::default() }))
    }

    /// Takes in those of missions that another node left.
    pub(crate) fn take_in(&self, pins: impl IntoIterator<Item = (MissionNo, Pinned)>) {
        self.0.lock().pinned.extend(pins);
    }

    /// That of a mission.
    pub(crate) fn of_mission(&self, no: MissionNo) -> Option<Pinned> {
        self.0.lock().pinned.get(&no).cloned()
    }

    /// Removes a mission, unless it is kept. Whoever wants to keep it meanwhile is told that it is gone.
    pub(crate) fn unless_kept<T>(&self, no: MissionNo, remove: impl FnOnce() -> T) -> Option<T> {
        let mut state = self.0.lock();
        if state.pinned.contains_key(&no) {
            return None;
        }
        state.going.insert(no);
        drop(state);
        let removed = remove();
        self.0.lock().going.remove(&no);
        Some(removed)
    }
}

impl Engine {
    /// Keeps a mission whatever its age and number, or leaves it to retention again. When this returns that is on disk. Who keeps it
    /// first is named.
    ///
    /// # Errors
    /// [`ActError`]: it is as before, or as it was to be.
    pub async fn keep_mission(self: &Arc<Self>, no: MissionNo, keeps: bool, by: String) -> Result<(), ActError> {
        let receipt = {
            let mut pins = self.pins.0.lock();
            if pins.going.contains(&no) {
                return Err(ReadError::Unknown.into());
            }
            match (keeps, pins.pinned.contains_key(&no)) {
                (true, false) => {
                    let pin = Pinned { at: self.ambient.wall(), by };
                    let receipt = self.log.pin(no, Some(&pin))?;
                    pins.pinned.insert(no, pin);
                    receipt
                }
                (false, true) => {
                    let receipt = self.log.pin(no, None)?;
                    pins.pinned.remove(&no);
                    receipt
                }
                // What is so already is on its way to the disk at least.
                _ => self.log.barrier()?,
            }
        };
        receipt.await?;
        if !keeps {
            return Ok(());
        }
        // It may have been on its way out when this was asked for.
        let engine = Arc::clone(self);
        let head = self.ambient.unblock(move || engine.log.head(no)).await.map_err(ReadError::Task)?;
        if head.map_err(ReadError::from)?.is_none() {
            // The row came behind the removal: nobody else would take it away.
            let mut pins = self.pins.0.lock();
            drop(self.log.pin(no, None)?);
            pins.pinned.remove(&no);
            return Err(ReadError::Unknown.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sortie_contract::Timestamp;

    use super::*;

    #[test]
    fn what_is_kept_stays_and_a_removal_that_takes_long_keeps_nobody_waiting() {
        let (kept, other) = (MissionNo(1), MissionNo(2));
        let pins = Pins::new([(kept, Pinned { at: Timestamp::UNIX_EPOCH, by: "ada".to_owned() })]);
        assert_eq!(pins.unless_kept(kept, || ()), None);
        // While it is under way the others are looked at, and it is known to go.
        let looked =
            pins.unless_kept(other, || (pins.of_mission(kept).is_some(), pins.0.lock().going.contains(&other)));
        assert_eq!(looked, Some((true, true)));
        assert!(!pins.0.lock().going.contains(&other), "if it failed, it can be kept again");
    }
}
