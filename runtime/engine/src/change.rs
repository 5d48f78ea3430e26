//! What a configuration changes of a driver that runs: how much room there is for missions, and what is removed when. All else holds from its
//! start to its end.

use std::sync::Arc;

use parking_lot::RwLock;
use sortie_contract::LaneId;
use sortie_mission::Retentions;
use tokio::sync::Notify;

use super::Engine;
use super::open::Settings;

/// What may change.
pub(crate) struct Changing {
    room: RwLock<Room>,
    retention: RwLock<Arc<Retentions>>,
    /// That there are other bounds.
    pub(crate) is_other: Arc<Notify>,
}

#[derive(Clone)]
struct Room {
    lanes: Vec<(LaneId, usize)>,
    running_max: usize,
}

impl Changing {
    /// As it is at the start.
    pub(crate) fn of(settings: &Settings) -> Self {
        let room = Room { lanes: settings.lanes.clone(), running_max: settings.max_running };
        Self {
            room: RwLock::new(room),
            retention: RwLock::new(Arc::new(settings.retention.clone())),
            is_other: Arc::default(),
        }
    }

    /// What is removed, and when.
    pub(crate) fn retention(&self) -> Arc<Retentions> {
        Arc::clone(&self.retention.read())
    }
}

impl Engine {
    /// Its lanes and how many missions each runs side by side.
    #[must_use]
    pub fn lanes(&self) -> Vec<(LaneId, usize)> {
        self.changing.room.read().lanes.clone()
    }

    /// How many missions run side by side, in all lanes.
    #[must_use]
    pub fn max_running(&self) -> usize {
        self.changing.room.read().running_max
    }

    /// From now on its lanes have room for so many missions, and all of them together for so many. What runs goes on.
    pub fn make_room(self: &Arc<Self>, lanes: Vec<(LaneId, usize)>, running_max: usize) {
        self.desk.make_room(&lanes, running_max);
        *self.changing.room.write() = Room { lanes, running_max };
        self.pump();
    }

    /// From now on missions are removed by these bounds.
    pub fn keep_by(&self, retention: Retentions) {
        *self.changing.retention.write() = Arc::new(retention);
        self.changing.is_other.notify_one();
    }
}
