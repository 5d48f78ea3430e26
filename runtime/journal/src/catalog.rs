//! The catalog: what intake and lists look up by name, in memory, rebuilt from the heads when the node starts.
//!
//! It takes about 50 bytes a mission: names are kept as hashes. A hash is a hint, not an identity: whoever finds a
//! candidate here reads its head and compares the names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};

use rustc_hash::FxBuildHasher;
use sortie_contract::id::IdempotencyKey;
use sortie_contract::{InstanceId, MissionId, MissionNo, SessionId, Status, VpId};

use crate::head::Head;

/// Indexes over the heads: by mission id, by idempotency key, by session, by status.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Keyed with random numbers, so that nobody can choose names that collide.
    hasher: RandomState,
    ids: Index,
    keys: Index,
    /// By mission number; `None` where a number was never used.
    statuses: Vec<Option<Status>>,
    vps: HashMap<VpId, Vp>,
}

/// What is known of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// How many missions it has had.
    pub missions: u64,
    /// Its newest mission.
    pub latest: MissionNo,
}

/// The sessions of a VP, in the order in which they were first seen: a handful.
type Vp = Vec<Session>;

impl Catalog {
    /// Takes a mission in: when the node starts, and when one is accepted.
    pub fn insert(&mut self, no: MissionNo, head: &Head) {
        self.ids.insert(self.id_hash(&head.mission_id), no);
        self.keys.insert(self.key_hash(&head.source, &head.idempotency_key), no);
        self.set_status(no, head.status);
        let sessions = self.vps.entry(head.vp.clone()).or_default();
        if let Some(session) = sessions.iter_mut().find(|session| session.id == head.session) {
            session.missions += 1;
            session.latest = session.latest.max(no);
        } else {
            sessions.push(Session { id: head.session.clone(), missions: 1, latest: no });
        }
    }

    /// Undoes the insertion of a mission that the journal did not take. Its session stays known.
    pub fn remove(&mut self, no: MissionNo, head: &Head) {
        self.ids.remove(self.id_hash(&head.mission_id), no);
        self.keys.remove(self.key_hash(&head.source, &head.idempotency_key), no);
        if let Some(status) = index(no).and_then(|index| self.statuses.get_mut(index)) {
            *status = None;
        }
        let sessions = self.vps.get_mut(&head.vp);
        if let Some(session) = sessions.and_then(|all| all.iter_mut().find(|session| session.id == head.session)) {
            session.missions = session.missions.saturating_sub(1);
        }
    }

    /// Follows a mission's status.
    pub fn set_status(&mut self, no: MissionNo, status: Status) {
        let Some(index) = index(no) else { return };
        if index >= self.statuses.len() {
            self.statuses.resize(index + 1, None);
        }
        self.statuses[index] = Some(status);
    }

    /// How a mission stands.
    #[must_use]
    pub fn status(&self, no: MissionNo) -> Option<Status> {
        index(no).and_then(|index| *self.statuses.get(index)?)
    }

    /// The missions that may have this id: read their heads and compare. None means that there is none.
    pub fn by_id(&self, id: &MissionId) -> impl Iterator<Item = MissionNo> + '_ {
        self.ids.candidates(self.id_hash(id))
    }

    /// The missions that may have been dispatched by `source` under `key`: read their heads and compare. None means that
    /// there is none.
    pub fn by_key(&self, source: &InstanceId, key: &IdempotencyKey) -> impl Iterator<Item = MissionNo> + '_ {
        self.keys.candidates(self.key_hash(source, key))
    }

    /// The missions before `before`, or all, that stand as `wanted` says, newest first.
    pub fn newest_first(
        &self,
        before: Option<MissionNo>,
        wanted: impl Fn(Status) -> bool,
    ) -> impl Iterator<Item = MissionNo> {
        let end = before.and_then(index).map_or(self.statuses.len(), |end| end.min(self.statuses.len()));
        let range = self.statuses[..end].iter().enumerate().rev();
        range.filter(move |(_, status)| status.is_some_and(&wanted)).map(|(index, _)| MissionNo(index as u64))
    }

    /// The session whose newest mission was accepted last, of those of `vp`.
    #[must_use]
    pub fn latest_session(&self, vp: &VpId) -> Option<&SessionId> {
        self.vps.get(vp)?.iter().max_by_key(|session| session.latest).map(|session| &session.id)
    }

    /// Every session, by VP, in no particular order.
    pub fn sessions(&self) -> impl Iterator<Item = (&VpId, &Session)> {
        self.vps.iter().flat_map(|(vp, sessions)| sessions.iter().map(move |session| (vp, session)))
    }

    fn id_hash(&self, id: &MissionId) -> u64 {
        self.hasher.hash_one(id)
    }

    fn key_hash(&self, source: &InstanceId, key: &IdempotencyKey) -> u64 {
        self.hasher.hash_one((source, key))
    }
}

/// The place of a mission in a list by number: none where this machine could not hold such a list.
fn index(no: MissionNo) -> Option<usize> {
    usize::try_from(no.0).ok()
}

/// Hash → number.
#[derive(Debug, Default)]
struct Index {
    /// The hashes are evenly spread already: they need no second hashing.
    first: HashMap<u64, u64, FxBuildHasher>,
    /// Those whose hash was taken: next to none.
    more: Vec<(u64, u64)>,
}

impl Index {
    fn insert(&mut self, hash: u64, no: MissionNo) {
        match self.first.entry(hash) {
            Entry::Vacant(entry) => drop(entry.insert(no.0)),
            Entry::Occupied(_) => self.more.push((hash, no.0)),
        }
    }

    fn remove(&mut self, hash: u64, no: MissionNo) {
        self.more.retain(|candidate| *candidate != (hash, no.0));
        if self.first.get(&hash) == Some(&no.0) {
            self.first.remove(&hash);
        }
    }

    fn candidates(&self, hash: u64) -> impl Iterator<Item = MissionNo> + '_ {
        let more = self.more.iter().filter(move |(candidate, _)| *candidate == hash).map(|(_, no)| no);
        self.first.get(&hash).into_iter().chain(more).copied().map(MissionNo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::sample_head;

    #[test]
    fn a_mission_is_found_by_id_and_by_key() {
        let mut catalog = Catalog::default();
        for no in 1..=100 {
            catalog.insert(MissionNo(no), &sample_head(no));
        }
        let head = sample_head(42);
        assert_eq!(catalog.by_id(&head.mission_id).collect::<Vec<_>>(), [MissionNo(42)]);
        assert_eq!(catalog.by_key(&head.source, &head.idempotency_key).collect::<Vec<_>>(), [MissionNo(42)]);
        catalog.remove(MissionNo(42), &head);
        assert_eq!(catalog.by_id(&head.mission_id).next(), None);
        assert_eq!(catalog.by_key(&head.source, &head.idempotency_key).next(), None);
        assert_eq!(catalog.status(MissionNo(42)), None);
        assert_eq!(catalog.status(MissionNo(41)), Some(Status::Queued));
    }

    #[test]
    fn equal_hashes_are_all_candidates() {
        let mut index = Index::default();
        for no in [3, 5, 8] {
            index.insert(1, MissionNo(no));
        }
        assert_eq!(index.candidates(1).collect::<Vec<_>>(), [3, 5, 8].map(MissionNo));
        index.remove(1, MissionNo(3));
        assert_eq!(index.candidates(1).collect::<Vec<_>>(), [5, 8].map(MissionNo));
        assert_eq!(index.candidates(2).next(), None);
    }

    #[test]
    fn the_latest_session_is_that_of_the_newest_mission() {
        let mut catalog = Catalog::default();
        let head = sample_head(1);
        assert_eq!(catalog.latest_session(&head.vp), None);
        for no in [1, 3, 2] {
            catalog.insert(MissionNo(no), &sample_head(no));
        }
        assert_eq!(catalog.latest_session(&head.vp), Some(&sample_head(3).session));
        catalog.insert(MissionNo(4), &head);
        assert_eq!(catalog.latest_session(&head.vp), Some(&head.session));
        assert_eq!(catalog.sessions().count(), 3);
    }

    #[test]
    fn lists_by_status_are_newest_first() {
        let mut catalog = Catalog::default();
        for no in [1, 2, 4, 7] {
            catalog.insert(MissionNo(no), &sample_head(no));
        }
        catalog.set_status(MissionNo(4), Status::Completed);
        let queued = |before| catalog.newest_first(before, |status| status == Status::Queued).map(|no| no.0);
        assert_eq!(queued(None).collect::<Vec<_>>(), [7, 2, 1]);
        assert_eq!(queued(Some(MissionNo(7))).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(queued(Some(MissionNo(2))).collect::<Vec<_>>(), [1]);
    }
}
