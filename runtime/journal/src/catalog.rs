//! The catalog: what intake and lists look up by name, in memory, rebuilt from the heads when the node starts.
//!
//! It takes about 60 bytes a mission: names are kept as hashes. A hash is a hint, not an identity: whoever finds a
//! candidate here reads its head and compares the names.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use rustc_hash::FxBuildHasher;
use sortie_contract::id::IdempotencyKey;
use sortie_contract::{InstanceId, MissionId, MissionNo, SessionId, VpId};

use crate::head::Head;

/// Indexes over the heads: by mission id, by idempotency key, by session.
///
/// What it says is a fold over the heads that are there: one that a mission was removed from is one that never had it. Taking a
/// mission in or out, and finding a VP's newest session, cost the same with one session and with a hundred thousand.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Keyed with random numbers, so that nobody can choose names that collide.
    hasher: RandomState,
    ids: Index,
    keys: Index,
    /// The missions of each session: ascending, never empty. They come at the end, as a rule, and go at the front.
    sessions: HashMap<Place, VecDeque<u64>>,
    /// Each session by its newest mission.
    newest: BTreeMap<u64, Place>,
    /// The newest missions of each VP's sessions, but for those of forks.
    vps: HashMap<VpId, BTreeSet<u64>>,
    /// The sessions of forks: each has its own, and where a mission names no session, none of them is meant.
    forks: HashSet<Place>,
}

/// A session is one of a VP.
type Place = (VpId, SessionId);

/// What is known of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// How many missions it has.
    pub missions: u64,
    /// Its newest mission.
    pub latest: MissionNo,
}

impl Catalog {
    /// Takes a mission in: when the node starts, and when one is accepted.
    pub fn insert(&mut self, no: MissionNo, head: &Head) {
        self.ids.insert(self.id_hash(&head.mission_id), no);
        self.keys.insert(self.key_hash(&head.source, &head.idempotency_key), no);
        if head.is_of_a_fork() {
            self.sets_apart(head);
        }
        self.change(head, |missions| {
            if let Err(place) = missions.binary_search(&no.0) {
                missions.insert(place, no.0);
            }
        });
    }

    /// Takes a mission out: when it is removed, or when the journal did not take it. A session goes with its last mission.
    pub fn remove(&mut self, no: MissionNo, head: &Head) {
        self.ids.remove(self.id_hash(&head.mission_id), no);
        self.keys.remove(self.key_hash(&head.source, &head.idempotency_key), no);
        self.change(head, |missions| {
            if let Ok(place) = missions.binary_search(&no.0) {
                missions.remove(place);
            }
        });
        if head.is_of_a_fork() {
            self.sets_apart_no_more(head);
        }
    }

    /// The head's session is that of a fork.
    fn sets_apart(&mut self, head: &Head) {
        let place = (head.vp.clone(), head.session.clone());
        let newest = self.sessions.get(&place).and_then(|missions| missions.back().copied());
        if let (Some(newest), Some(of_vp)) = (newest, self.vps.get_mut(&head.vp)) {
            of_vp.remove(&newest);
        }
        self.forks.insert(place);
    }

    /// The fork is gone; who named its session may be there.
    fn sets_apart_no_more(&mut self, head: &Head) {
        let place = (head.vp.clone(), head.session.clone());
        self.forks.remove(&place);
        if let Some(newest) = self.sessions.get(&place).and_then(VecDeque::back) {
            self.vps.entry(place.0).or_default().insert(*newest);
        }
    }

    /// Changes the missions of the head's session, and what follows from that.
    fn change(&mut self, head: &Head, change: impl FnOnce(&mut VecDeque<u64>)) {
        let place = (head.vp.clone(), head.session.clone());
        let missions = self.sessions.entry(place.clone()).or_default();
        let before = missions.back().copied();
        change(missions);
        let after = missions.back().copied();
        if after.is_none() {
            self.sessions.remove(&place);
        }
        if before == after {
            return;
        }
        let is_of_a_fork = if after.is_none() { self.forks.remove(&place) } else { self.forks.contains(&place) };
        let of_vp = self.vps.entry(head.vp.clone()).or_default();
        if let Some(before) = before {
            self.newest.remove(&before);
            of_vp.remove(&before);
        }
        if let Some(after) = after {
            if !is_of_a_fork {
                of_vp.insert(after);
            }
            self.newest.insert(after, place);
        }
        if of_vp.is_empty() {
            self.vps.remove(&head.vp);
        }
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

    /// The session whose newest mission was accepted last, of those of `vp`: not that of a fork, which has it for itself.
    #[must_use]
    pub fn latest_session(&self, vp: &VpId) -> Option<&SessionId> {
        let newest = self.vps.get(vp)?.last()?;
        self.newest.get(newest).map(|(_, session)| session)
    }

    /// Whether there is a mission in that session.
    #[must_use]
    pub fn has_session(&self, vp: &VpId, session: &SessionId) -> bool {
        self.sessions.contains_key(&(vp.clone(), session.clone()))
    }

    /// Every session, by VP, the one with the newest mission last.
    pub fn sessions(&self) -> impl Iterator<Item = (&VpId, Session)> {
        self.newest.iter().map(|(latest, place)| (&place.0, self.session(*latest, place)))
    }

    /// At most `limit` sessions, the one with the newest mission first: those whose newest mission is before `before`, or all. The
    /// cursor of such a list is `latest` of the last that it showed. A session that gets a mission between two pages is at the front
    /// of the list then.
    #[must_use]
    pub fn sessions_newest_first(&self, before: Option<MissionNo>, limit: usize) -> Vec<(VpId, Session)> {
        let before = before.map_or(u64::MAX, |no| no.0);
        let page = self.newest.range(..before).rev().take(limit);
        page.map(|(latest, place)| (place.0.clone(), self.session(*latest, place))).collect()
    }

    fn session(&self, latest: u64, place: &Place) -> Session {
        let missions = self.sessions.get(place).map_or(0, |missions| missions.len() as u64);
        Session { id: place.1.clone(), missions, latest: MissionNo(latest) }
    }

    fn id_hash(&self, id: &MissionId) -> u64 {
        self.hasher.hash_one(id)
    }

    fn key_hash(&self, source: &InstanceId, key: &IdempotencyKey) -> u64 {
        self.hasher.hash_one((source, key))
    }
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
    fn a_catalog_that_missions_were_removed_from_is_one_that_never_had_them() {
        // Sessions 0, 1 and 2 take turns; those of 0 come last as well.
        let head = |no: u64| Head { session: sample_head(if no < 40 { no % 3 } else { 0 }).session, ..sample_head(no) };
        let sessions = |catalog: &Catalog| {
            let mut all: Vec<_> = catalog.sessions().map(|(_, session)| session).collect();
            all.sort_by(|a, b| a.id.cmp(&b.id));
            all
        };
        let vp = head(1).vp;
        let mut catalog = Catalog::default();
        (1..50).for_each(|no| catalog.insert(MissionNo(no), &head(no)));
        // The newest of all, the oldest, one session's last, and the rest.
        let order =
            (45..50).chain(1..10).chain((10..45).filter(|no| no % 3 == 1)).chain((10..45).filter(|no| no % 3 != 1));
        let mut gone = Vec::new();
        for no in order {
            catalog.remove(MissionNo(no), &head(no));
            gone.push(no);
            let mut rebuilt = Catalog::default();
            (1..50).filter(|no| !gone.contains(no)).for_each(|no| rebuilt.insert(MissionNo(no), &head(no)));
            assert_eq!(sessions(&catalog), sessions(&rebuilt), "without {gone:?}");
            assert_eq!(catalog.latest_session(&vp), rebuilt.latest_session(&vp), "without {gone:?}");
            assert_eq!(catalog.by_id(&head(no).mission_id).next(), None);
        }
        assert_eq!(gone.len(), 49);
        assert!(catalog.vps.is_empty(), "nothing is kept of a VP without missions");
        assert!(catalog.sessions.is_empty() && catalog.newest.is_empty(), "nor of its sessions");
    }

    #[test]
    fn a_session_is_a_forks_by_the_mission_that_made_it_and_not_by_its_name() {
        let named = |no: u64, session: &str| Head { session: session.parse().expect("a name"), ..sample_head(no) };
        let fork = |no: u64| {
            let head = sample_head(no);
            let key = format!("fork:{}", head.mission_id).parse().expect("a key");
            Head { session: SessionId::of_fork(&head.mission_id), idempotency_key: key, ..head }
        };
        let vp = sample_head(1).vp;
        let mut catalog = Catalog::default();
        catalog.insert(MissionNo(1), &named(1, "fork:lift-3"));
        assert_eq!(catalog.latest_session(&vp).map(SessionId::as_str), Some("fork:lift-3"), "anybody may say that");
        // A fork, and a mission that names its session: neither is where others fall into.
        catalog.insert(MissionNo(2), &fork(2));
        catalog.insert(MissionNo(3), &Head { session: fork(2).session, ..sample_head(3) });
        assert_eq!(catalog.latest_session(&vp).map(SessionId::as_str), Some("fork:lift-3"));
        assert!(catalog.has_session(&vp, &fork(2).session));
        for (no, head) in [(3, Head { session: fork(2).session, ..sample_head(3) }), (2, fork(2))] {
            catalog.remove(MissionNo(no), &head);
        }
        assert!(!catalog.has_session(&vp, &fork(2).session) && catalog.forks.is_empty());
        // It was somebody's before.
        catalog.insert(MissionNo(4), &Head { session: fork(5).session, ..sample_head(4) });
        assert_eq!(catalog.latest_session(&vp), Some(&fork(5).session));
        catalog.insert(MissionNo(5), &fork(5));
        assert_eq!(catalog.latest_session(&vp).map(SessionId::as_str), Some("fork:lift-3"));
    }

    #[test]
    fn sessions_are_paged_by_their_newest_mission() {
        // Sessions 0 to 6 in turns; then the oldest of them gets one more.
        let head = |no: u64| Head { session: sample_head(no % 7).session, ..sample_head(no) };
        let mut catalog = Catalog::default();
        (1..50).for_each(|no| catalog.insert(MissionNo(no), &head(no)));
        catalog.insert(MissionNo(50), &head(43));
        let (mut before, mut shown) = (None, Vec::new());
        loop {
            let page = catalog.sessions_newest_first(before, 3);
            let Some((_, last)) = page.last() else { break };
            before = Some(last.latest);
            shown.extend(page.iter().map(|(_, session)| (session.latest.0, session.missions)));
        }
        assert_eq!(shown, [(50, 8), (49, 7), (48, 7), (47, 7), (46, 7), (45, 7), (44, 7)]);
        assert_eq!(catalog.latest_session(&head(1).vp), Some(&head(43).session));
        assert_eq!(catalog.sessions_newest_first(None, 0), []);
    }
}
