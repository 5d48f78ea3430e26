//! Missions that somebody wants kept: retention passes them over, with their artifacts, until that is taken back.
//!
//! Owned here: that a pin and a removal cannot both happen, and that what an operator was told is on disk. Never here: what is removed
//! otherwise.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_contract::MissionNo;
use sortie_journal::{Log, Pinned};

use super::act::ActError;
use super::{Engine, ReadError};

/// The pins, as they stand in the log. Held while one is changed, and while a mission is removed.
#[derive(Debug)]
pub(crate) struct Pins(Mutex<FxHashMap<MissionNo, Pinned>>);

impl Pins {
    /// Those of a log.
    pub(crate) fn of(log: &dyn Log) -> Result<Self, sortie_journal::ReadError> {
        Ok(Self(Mutex::new(log.pins()?.into_iter().collect())))
    }

    /// That of a mission.
    pub(crate) fn of_mission(&self, no: MissionNo) -> Option<Pinned> {
        self.0.lock().get(&no).cloned()
    }

    /// Removes a mission, unless it is kept. Whoever wants to keep it waits.
    pub(crate) fn unless_kept<T>(&self, no: MissionNo, remove: impl FnOnce() -> T) -> Option<T> {
        let pins = self.0.lock();
        (!pins.contains_key(&no)).then(remove)
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
            match (keeps, pins.contains_key(&no)) {
                (true, false) => {
                    let pin = Pinned { at: self.ambient.wall(), by };
                    let receipt = self.log.pin(no, Some(&pin))?;
                    pins.insert(no, pin);
                    receipt
                }
                (false, true) => {
                    let receipt = self.log.pin(no, None)?;
                    pins.remove(&no);
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
            self.pins.0.lock().remove(&no);
            return Err(ReadError::Unknown.into());
        }
        Ok(())
    }
}
