//! Several logs in memory over one store: what a fleet of others is held against, and what a test of several nodes stands on.
//!
//! As naive as can be: one lock around everything, a clock that whoever tests moves, and a share that is adopted is copied.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use sortie_contract::{MissionId, MissionNo, Stamped};
use tokio::sync::watch;

use super::MemoryLog;
use super::state::State;
use crate::error::{ReadError, WriteError};
use crate::feed::{FeedEntry, FeedPart};
use crate::fleet::{self, AdoptError, Adopted, Fleet, OwnedKeys, Owner, Peer, ShareNo};
use crate::head::Head;
use crate::log::Keys;
use crate::pool::{Pool, PoolAsk, PoolSaid};

/// A store in memory that several logs write.
#[derive(Debug, Clone)]
pub struct MemoryFleet {
    store: Arc<Store>,
}

#[derive(Debug)]
struct Store {
    inner: Mutex<Inner>,
    /// Grows with whatever whoever waits may wait for.
    turns: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    lease: Duration,
    now: Duration,
    places: BTreeMap<ShareNo, Place>,
    claims: BTreeMap<Name, ShareNo>,
    pools: BTreeMap<String, Pool>,
}

/// What is claimed: its kind, and the name.
type Name = (char, String);

#[derive(Debug)]
struct Place {
    /// Grows with each hand that it comes into.
    token: u64,
    node: String,
    name: String,
    card: String,
    since: Duration,
    until: Duration,
    heir: Option<ShareNo>,
    /// Nothing of its holder comes through.
    is_paused: bool,
    gives_back: bool,
    /// Its holder gives signs of life by itself: time that passes is none.
    is_far: bool,
    state: Arc<Mutex<State>>,
    position: Arc<watch::Sender<u64>>,
}

/// A log's place in a store.
#[derive(Debug)]
pub(super) struct Seat {
    store: Arc<Store>,
    share: ShareNo,
    token: u64,
}

/// Nobody else does anything while it is held.
pub(super) struct Writing<'a>(MutexGuard<'a, Inner>);

impl MemoryFleet {
    /// An empty one, at time zero, whose shares are held for `lease` without a sign of life.
    #[must_use]
    pub fn new(lease: Duration) -> Self {
        let inner = Inner {
            lease,
            now: Duration::ZERO,
            places: BTreeMap::new(),
            claims: BTreeMap::new(),
            pools: BTreeMap::new(),
        };
        Self { store: Arc::new(Store { inner: Mutex::new(inner), turns: watch::Sender::new(0) }) }
    }

    /// A log of that node: with the share that it had, else with one that was given back, else with a new one. A log that it opened
    /// before is fenced.
    ///
    /// # Panics
    /// Where there are no shares left.
    #[must_use]
    pub fn open(&self, node: &str, name: &str) -> MemoryLog {
        let mut inner = self.store.inner.lock();
        let (now, lease) = (inner.now, inner.lease);
        let is_own = |place: &Place| place.heir.is_none() && place.node == node;
        let is_free = |place: &Place| place.heir.is_none() && place.node.is_empty() && place.until <= now;
        let find =
            |is: &dyn Fn(&Place) -> bool| inner.places.iter().find(|(_, place)| is(place)).map(|(share, _)| *share);
        let share = find(&is_own)
            .or_else(|| find(&is_free))
            .unwrap_or_else(|| inner.places.last_key_value().map_or(ShareNo(0), |(last, _)| ShareNo(last.0 + 1)));
        assert!(share <= ShareNo::MAX, "a store has no more shares than that");
        let place = inner.places.entry(share).or_insert_with(|| Place {
            token: 0,
            node: String::new(),
            name: String::new(),
            card: String::new(),
            since: now,
            until: now,
            heir: None,
            is_paused: false,
            gives_back: false,
            is_far: false,
            state: Arc::new(Mutex::new(State::of(share))),
            position: Arc::new(watch::Sender::new(share.floor())),
        });
        place.token += 1;
        (place.node, place.name, place.card) = (node.to_owned(), name.to_owned(), String::new());
        (place.since, place.until) = (now, now + lease);
        (place.is_paused, place.gives_back, place.is_far) = (false, false, false);
        let seat = Seat { store: Arc::clone(&self.store), share, token: place.token };
        MemoryLog::of(Arc::clone(&place.state), Arc::clone(&place.position), Some(seat))
    }

    /// What each share holds that nobody has adopted, with what it has adopted itself: for whoever reads all there is. By share.
    #[must_use]
    pub fn logs(&self) -> Vec<MemoryLog> {
        let inner = self.store.inner.lock();
        let there = inner.places.values().filter(|place| place.heir.is_none());
        there.map(|place| MemoryLog::of(Arc::clone(&place.state), Arc::clone(&place.position), None)).collect()
    }

    /// How long a share is held without a sign of life.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.store.inner.lock().lease
    }

    /// Lets so much time pass. Those that are not paused gave signs of life all the while, but for those that are far away.
    pub fn pass(&self, time: Duration) {
        let mut inner = self.store.inner.lock();
        inner.now += time;
        let until = inner.now + inner.lease;
        let is_heard = |place: &&mut Place| place.is_held() && !place.is_paused && !place.is_far;
        for place in inner.places.values_mut().filter(is_heard) {
            place.until = until;
        }
        self.store.turns.send_modify(|turns| *turns += 1);
    }

    /// Holds up whatever a node sends, or lets it go on: it gives no signs of life, claims nothing and is sure of nothing meanwhile.
    pub fn pause(&self, node: &str, is_paused: bool) {
        let mut inner = self.store.inner.lock();
        for place in inner.places.values_mut().filter(|place| place.node == node) {
            place.is_paused = is_paused;
        }
        self.store.turns.send_modify(|turns| *turns += 1);
    }
}

impl Place {
    /// Whether a log has it open.
    fn is_held(&self) -> bool {
        self.heir.is_none() && !self.node.is_empty()
    }
}

impl Inner {
    fn peer(&self, share: ShareNo, me: ShareNo) -> Option<Peer> {
        let place = self.places.get(&share)?;
        Some(Peer {
            share,
            node: place.node.clone(),
            name: place.name.clone(),
            card: place.card.clone(),
            since: moment(place.since),
            asked_at: moment(self.now),
            lease_left: place.until.saturating_sub(self.now),
            is_me: share == me,
        })
    }

    /// Which share decides about that name now.
    fn owner(&self, name: &Name) -> Option<ShareNo> {
        let mut share = *self.claims.get(name)?;
        while let Some(heir) = self.places.get(&share)?.heir {
            share = heir;
        }
        Some(share)
    }

    /// See [`Fleet::claim`]: those whose owner is told first come first.
    fn claim(&mut self, names: &[Name], me: ShareNo) -> Owner {
        let other = names.iter().filter_map(|name| self.owner(name)).find(|owner| *owner != me);
        if let Some(peer) = other.and_then(|owner| self.peer(owner, me)) {
            return Owner::Elsewhere(peer);
        }
        for name in names {
            self.claims.entry(name.clone()).or_insert(me);
        }
        Owner::Mine
    }
}

fn names(keys: Keys<'_>) -> [Name; 3] {
    let Keys { mission_id, source, idempotency_key, vp } = keys;
    [('k', format!("{source}\0{idempotency_key}")), ('m', mission_id.to_string()), ('v', vp.to_string())]
}

fn schedule(id: &str) -> Name {
    ('s', id.to_owned())
}

impl Seat {
    /// Nothing else happens until what this returns is dropped.
    pub(super) fn writes(&self) -> Result<Writing<'_>, WriteError> {
        let mut inner = self.store.inner.lock();
        let until = inner.now + inner.lease;
        match inner.places.get_mut(&self.share) {
            Some(place) if place.token == self.token && place.heir.is_none() => {
                if !place.is_paused {
                    place.until = until;
                }
                Ok(Writing(inner))
            }
            _ => Err(fleet::taken()),
        }
    }

    /// A mission with these names is there.
    pub(super) fn keeps(&self, keys: Keys<'_>) {
        let mut inner = self.store.inner.lock();
        for name in names(keys) {
            inner.claims.entry(name).or_insert(self.share);
        }
    }

    /// A mission with these names is not there any more.
    pub(super) fn forgets(&self, head: &Head) {
        let Head { mission_id, source, idempotency_key, vp, .. } = head;
        let [key, id, _] = names(Keys { mission_id, source, idempotency_key, vp });
        let mut inner = self.store.inner.lock();
        inner.claims.remove(&key);
        inner.claims.remove(&id);
    }

    pub(super) fn keeps_schedule(&self, id: &str) {
        self.store.inner.lock().claims.entry(schedule(id)).or_insert(self.share);
    }

    pub(super) fn forgets_schedule(&self, id: &str) {
        self.store.inner.lock().claims.remove(&schedule(id));
    }

    /// Its log is closed.
    pub(super) fn leaves(&self) {
        let mut inner = self.store.inner.lock();
        let (now, lease) = (inner.now, inner.lease);
        let Some(place) = inner.places.get_mut(&self.share).filter(|place| place.token == self.token) else { return };
        place.token += 1;
        if place.gives_back {
            (place.node, place.until) = (String::new(), now);
        } else {
            // Nobody beats for it any more.
            (place.is_paused, place.until) = (true, now + lease);
        }
    }
}

impl MemoryLog {
    fn seat(&self) -> &Seat {
        self.seat.as_ref().expect("only one of a fleet is asked as one")
    }

    /// From now on only what it sends is a sign of life.
    pub(super) fn is_far(&self) {
        if let Some(place) = self.seat().store.inner.lock().places.get_mut(&self.seat().share) {
            place.is_far = true;
        }
    }

    /// The store's clock.
    pub(super) fn now(&self) -> Duration {
        self.seat().store.inner.lock().now
    }

    /// Whether nobody else may write that mission.
    pub(super) fn holds(&self, mission: MissionNo) -> bool {
        let (seat, inner) = (self.seat(), self.seat().store.inner.lock());
        let mut share = ShareNo::of(mission.0);
        while let Some(heir) = inner.places.get(&share).and_then(|place| place.heir) {
            share = heir;
        }
        share == seat.share && inner.places.get(&share).is_some_and(|place| place.token == seat.token)
    }

    fn claims(&self, names: &[Name], is_known: bool) -> Result<Owner, WriteError> {
        let share = self.seat().share;
        let Some(Writing(mut inner)) = self.takes()? else { return Ok(Owner::Mine) };
        if inner.places.get(&share).is_some_and(|place| place.is_paused) {
            return Err(WriteError::Overloaded);
        }
        Ok(if is_known { Owner::Mine } else { inner.claim(names, share) })
    }

    /// What whoever goes on with a share knows.
    fn state_of(&self, share: ShareNo) -> Option<Arc<Mutex<State>>> {
        let inner = self.seat().store.inner.lock();
        let holder = inner.places.get(&share)?.heir.unwrap_or(share);
        inner.places.get(&holder).map(|place| Arc::clone(&place.state))
    }

    fn held_elsewhere(&self, name: &Name) -> Option<Peer> {
        let (seat, inner) = (self.seat(), self.seat().store.inner.lock());
        inner.owner(name).filter(|owner| *owner != seat.share).and_then(|owner| inner.peer(owner, seat.share))
    }
}

/// Its clock begins with everybody's.
fn moment(since: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(since).map_or(Timestamp::MAX, |since| Timestamp::UNIX_EPOCH + since)
}

impl Fleet for MemoryLog {
    fn share(&self) -> ShareNo {
        self.seat().share
    }

    fn claim(&self, keys: OwnedKeys) -> BoxFuture<'_, Result<Owner, WriteError>> {
        Box::pin(async move {
            // Whoever has the mission answers for it, wherever its VP is at home.
            let is_known = self.state.lock().twin(|head| {
                head.mission_id == keys.mission_id
                    || (head.source == keys.source && head.idempotency_key == keys.idempotency_key)
            });
            self.claims(&names(keys.keys()), is_known.is_some())
        })
    }

    fn other(&self, keys: &OwnedKeys) -> Result<Option<Peer>, ReadError> {
        Ok(names(keys.keys()).iter().find_map(|name| self.held_elsewhere(name)))
    }

    fn claim_schedule(&self, id: String) -> BoxFuture<'_, Result<Owner, WriteError>> {
        Box::pin(async move { self.claims(&[schedule(&id)], false) })
    }

    fn holder(&self, id: &MissionId) -> Result<Option<Peer>, ReadError> {
        Ok(self.held_elsewhere(&('m', id.to_string())))
    }

    fn schedule_holder(&self, id: &str) -> Result<Option<Peer>, ReadError> {
        Ok(self.held_elsewhere(&schedule(id)))
    }

    fn peers(&self) -> Result<Vec<Peer>, ReadError> {
        let (seat, inner) = (self.seat(), self.seat().store.inner.lock());
        let there = inner.places.iter().filter(|(_, place)| place.heir.is_none());
        Ok(there.filter_map(|(share, _)| inner.peer(*share, seat.share)).collect())
    }

    fn adopted_from(&self) -> Result<Vec<String>, ReadError> {
        let (seat, inner) = (self.seat(), self.seat().store.inner.lock());
        let adopted = inner.places.values().filter(|place| place.heir == Some(seat.share));
        Ok(adopted.map(|place| place.name.clone()).collect())
    }

    fn feed_parts(&self) -> Result<Vec<FeedPart>, ReadError> {
        let inner = self.seat().store.inner.lock();
        let shares =
            inner.places.iter().map(|(share, place)| (*share, place.heir.unwrap_or(*share), *place.position.borrow()));
        Ok(fleet::parts(&shares.collect::<Vec<_>>()))
    }

    fn feed_between(&self, after: u64, end: u64, limit: usize) -> Result<Vec<FeedEntry>, ReadError> {
        let share = ShareNo::of(end);
        let Some(state) = self.state_of(share) else { return Ok(Vec::new()) };
        let state = state.lock();
        let part = state.feed.iter().filter(|entry| ShareNo::of(entry.position) == share);
        let between = part.filter(|entry| entry.position > after && entry.position <= end);
        Ok(between.take(limit).copied().collect())
    }

    fn records(&self, mission: MissionNo, first: u32, _bytes: usize) -> Result<Vec<Stamped>, ReadError> {
        let state = self.state_of(ShareNo::of(mission.0));
        Ok(state.map_or_else(Vec::new, |state| state.lock().read(mission, first)))
    }

    fn say(&self, card: String) {
        if let Ok(Writing(mut inner)) = self.seat().writes()
            && let Some(place) = inner.places.get_mut(&self.seat().share)
        {
            place.card = card;
        }
    }

    fn adopt(&self, share: ShareNo, visit: &mut dyn FnMut(MissionNo, Head)) -> Result<Adopted, AdoptError> {
        let me = self.seat().share;
        let Some(Writing(mut inner)) = self.takes()? else { return Err(AdoptError::Gone { share }) };
        let now = inner.now;
        let Some(place) = inner.places.get_mut(&share).filter(|place| share != me && place.heir.is_none()) else {
            return Err(AdoptError::Gone { share });
        };
        if place.until > now {
            return Err(AdoptError::Held { share, name: place.name.clone() });
        }
        place.heir = Some(me);
        let theirs = Arc::clone(&place.state);
        let position = *place.position.borrow();
        let mut shares = vec![share];
        for (brought, place) in &mut inner.places {
            if place.heir == Some(share) {
                place.heir = Some(me);
                shares.push(*brought);
            }
        }
        shares.sort_unstable();
        let theirs = theirs.lock();
        let mut mine = self.state.lock();
        let before: Vec<String> = mine.schedules.keys().cloned().collect();
        mine.inherits(&theirs);
        self.position.send_modify(|mine| *mine = (*mine).max(position));
        let schedules = theirs.schedules.keys().filter(|id| !before.contains(id)).cloned().collect();
        let heads: Vec<(MissionNo, Head)> = theirs.heads().map(|(no, head)| (no, head.clone())).collect();
        let cursors =
            theirs.missions.iter().filter_map(|(no, mission)| Some((MissionNo(*no), mission.cursor.clone()?)));
        let cursors = cursors.collect();
        let clocks = theirs.clocks.clone();
        let balances = theirs.balances.iter().map(|(account, balance)| (account.clone(), *balance)).collect();
        let adopted = Adopted { shares, headless: Vec::new(), cursors, clocks, schedules, balances };
        drop((mine, theirs, inner));
        heads.into_iter().for_each(|(no, head)| visit(no, head));
        Ok(adopted)
    }

    fn shares(&self) -> Vec<ShareNo> {
        let (seat, inner) = (self.seat(), self.seat().store.inner.lock());
        let mine = inner.places.iter().filter(|(share, place)| **share == seat.share || place.heir == Some(seat.share));
        mine.map(|(share, _)| *share).collect()
    }

    fn exchange(&self, shares: Vec<ShareNo>, asks: Vec<PoolAsk>) -> BoxFuture<'_, Result<Vec<PoolSaid>, WriteError>> {
        Box::pin(async move {
            let me = self.seat().share;
            let Some(Writing(mut inner)) = self.takes()? else { return Ok(Vec::new()) };
            if inner.places.get(&me).is_some_and(|place| place.is_paused) {
                return Err(WriteError::Overloaded);
            }
            let now_ms = i64::try_from(inner.now.as_millis()).unwrap_or(i64::MAX);
            let mut exchange =
                |ask: &PoolAsk| inner.pools.entry(ask.pool.clone()).or_default().exchange(now_ms, &shares, me, ask).0;
            Ok(asks.iter().map(&mut exchange).collect())
        })
    }

    fn pools(&self, shares: &[ShareNo]) -> Result<Vec<(String, u64)>, ReadError> {
        let inner = self.seat().store.inner.lock();
        Ok(inner.pools.iter().filter_map(|(name, pool)| Some((name.clone(), pool.used_by(shares)?))).collect())
    }

    fn give_back(&self) {
        if let Ok(Writing(mut inner)) = self.seat().writes()
            && let Some(place) = inner.places.get_mut(&self.seat().share)
        {
            place.gives_back = true;
        }
    }

    fn certain_for(&self) -> Duration {
        let (seat, inner) = (self.seat(), self.seat().store.inner.lock());
        let held = inner.places.get(&seat.share).filter(|place| place.token == seat.token && place.heir.is_none());
        held.map_or(Duration::ZERO, |place| place.until.saturating_sub(inner.now + fleet::margin(inner.lease)))
    }

    fn sure(&self) -> BoxFuture<'_, Result<(), WriteError>> {
        Box::pin(async move {
            let mut turns = self.seat().store.turns.subscribe();
            loop {
                if !self.certain_for().is_zero() {
                    return Ok(());
                }
                let share = self.seat().share;
                let is_paused = self.seat().store.inner.lock().places.get(&share).is_some_and(|place| place.is_paused);
                if !is_paused {
                    // A sign of life.
                    self.takes()?;
                    continue;
                }
                if turns.changed().await.is_err() {
                    return Err(WriteError::Closed);
                }
            }
        })
    }
}

impl State {
    /// All that another knew, beside all that this one knows.
    fn inherits(&mut self, theirs: &Self) {
        self.missions.extend(theirs.missions.iter().map(|(no, mission)| (*no, mission.clone())));
        self.feed.extend(theirs.feed.iter().copied());
        self.feed.sort_unstable_by_key(|entry| entry.position);
        self.last_no = self.last_no.max(theirs.last_no);
        self.last_token = self.last_token.max(theirs.last_token);
        for (id, plan) in &theirs.schedules {
            self.schedules.entry(id.clone()).or_insert_with(|| plan.clone());
        }
        self.clocks.extend(theirs.clocks.iter().copied());
        self.clocks.sort_unstable();
        self.actions.extend(theirs.actions.iter().map(|(no, text)| (*no, text.clone())));
        self.keeps_the_newest_actions();
        self.floor = self.floor.max(theirs.floor);
        self.pins.extend(theirs.pins.iter().map(|(no, pin)| (*no, pin.clone())));
        for (account, balance) in &theirs.balances {
            let mine = self.balances.entry(account.clone()).or_default();
            *mine = mine.with(*balance);
        }
    }
}
