//! Missions whose calls are put off, because providers refuse them or nobody pays for them for now: what lists, models and metrics show of them.
//!
//! It is an index and no truth: moved along with the records that change it, and filled where a mission is brought into memory, which a
//! start does with all that wait so.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use sortie_contract::{MissionNo, Timestamp};
use sortie_mission::Mission;
use sortie_mission::wider::Bill;

/// Missions whose calls are put off.
#[derive(Debug, Default)]
pub(crate) struct PutOff {
    held: Mutex<BTreeMap<MissionNo, Held>>,
    /// What those wait for that wait for money. Locked alone.
    bills: Mutex<BTreeMap<MissionNo, Vec<Bill>>>,
}

/// That a call of a mission is put off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// When the first of its calls is made again.
    pub until: Timestamp,
    /// It is not for its provider, but because nobody pays for it for now.
    pub is_unpaid: bool,
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
    /// How a mission stands now, some calls of which are put off, or none any more. Of the last one it may be known why.
    pub(crate) fn take_up(&self, no: MissionNo, mission: &Mission, why: Option<&str>) -> bool {
        let until = mission.postponed_until().filter(|_| !mission.status().is_final());
        self.set(no, until, until.is_some() && mission.unpaid_until() == until, why);
        let bills: Vec<Bill> = until.map(|_| mission.bills().collect()).unwrap_or_default();
        if bills.is_empty() {
            self.bills.lock().remove(&no);
        } else {
            self.bills.lock().insert(no, bills);
        }
        until.is_some()
    }

    /// It has ended.
    pub(crate) fn forget(&self, no: MissionNo) {
        self.set(no, None, false, None);
        self.bills.lock().remove(&no);
    }

    fn set(&self, no: MissionNo, until: Option<Timestamp>, is_unpaid: bool, why: Option<&str>) {
        let mut all = self.held.lock();
        let Some(until) = until else {
            all.remove(&no);
            return;
        };
        let held = all.entry(no).or_insert_with(|| Held { until, is_unpaid, why: String::new() });
        (held.until, held.is_unpaid) = (until, is_unpaid);
        if let Some(why) = why {
            why.clone_into(&mut held.why);
        }
    }

    /// How a mission is held, where it is.
    pub(crate) fn of(&self, no: MissionNo) -> Option<Held> {
        self.held.lock().get(&no).cloned()
    }

    /// Those that wait for money.
    pub(crate) fn unpaid(&self) -> Vec<MissionNo> {
        self.held.lock().iter().filter(|(_, held)| held.is_unpaid).map(|(no, _)| *no).collect()
    }

    /// The calls that wait for money, oldest mission first.
    pub(crate) fn bills(&self) -> Vec<(MissionNo, Bill)> {
        let bills = self.bills.lock();
        bills.iter().flat_map(|(no, bills)| bills.iter().map(|bill| (*no, bill.clone()))).collect()
    }

    /// All of them, oldest mission first.
    pub(crate) fn all(&self) -> Vec<Held> {
        self.held.lock().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mission_is_held_until_none_of_its_calls_is_put_off() {
        let put_off = PutOff::default();
        let (no, at) = (MissionNo(1), |seconds| Timestamp::from_second(seconds).expect("a time"));
        put_off.set(no, Some(at(9)), false, Some("[model.fast] is at its provider's limit (429): later"));
        put_off.set(no, Some(at(5)), true, None);
        let held = put_off.of(no).expect("held");
        assert_eq!((held.until, held.is_unpaid, held.model()), (at(5), true, Some("fast")));
        put_off.set(MissionNo(2), Some(at(7)), false, Some("something else"));
        assert_eq!(put_off.all().iter().map(Held::model).collect::<Vec<_>>(), [Some("fast"), None]);
        put_off.forget(no);
        assert_eq!((put_off.of(no), put_off.all().len()), (None, 1));
    }
}
