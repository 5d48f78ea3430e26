//! Missions whose calls providers refuse for now: what lists, models and metrics show of them.
//!
//! It is an index and no truth: moved along with the records that change it, and filled where a mission is brought into memory, which a
//! start does with all that wait so.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use sortie_contract::{MissionNo, Timestamp};

/// Missions whose calls are put off.
#[derive(Debug, Default)]
pub(crate) struct PutOff(Mutex<BTreeMap<MissionNo, Held>>);

/// That a call of a mission is put off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// When the first of its calls is made again.
    pub until: Timestamp,
    /// Who refuses, and what it said of the last one; nothing, where that is not known.
    pub why: String,
}

impl Held {
    /// The model that is refused. `sortie-models` begins what it says of one by its name.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.why.strip_prefix("[model.")?.split_once(']').map(|(name, _)| name)
    }
}

impl PutOff {
    /// A mission's calls are put off until then, or none of them is any more. Of the last one it may be known why.
    pub(crate) fn set(&self, no: MissionNo, until: Option<Timestamp>, why: Option<&str>) {
        let mut all = self.0.lock();
        let Some(until) = until else {
            all.remove(&no);
            return;
        };
        let held = all.entry(no).or_insert_with(|| Held { until, why: String::new() });
        held.until = until;
        if let Some(why) = why {
            why.clone_into(&mut held.why);
        }
    }

    /// How a mission is held, where it is.
    pub(crate) fn of(&self, no: MissionNo) -> Option<Held> {
        self.0.lock().get(&no).cloned()
    }

    /// All of them, oldest mission first.
    pub(crate) fn all(&self) -> Vec<Held> {
        self.0.lock().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mission_is_held_until_none_of_its_calls_is_put_off() {
        let put_off = PutOff::default();
        let (no, at) = (MissionNo(1), |seconds| Timestamp::from_second(seconds).expect("a time"));
        put_off.set(no, Some(at(9)), Some("[model.fast] is at its provider's limit (429): later"));
        put_off.set(no, Some(at(5)), None);
        let held = put_off.of(no).expect("held");
        assert_eq!((held.until, held.model()), (at(5), Some("fast")));
        put_off.set(MissionNo(2), Some(at(7)), Some("something else"));
        assert_eq!(put_off.all().iter().map(Held::model).collect::<Vec<_>>(), [Some("fast"), None]);
        put_off.set(no, None, None);
        assert_eq!((put_off.of(no), put_off.all().len()), (None, 1));
    }
}
