//! The places that connections take: how many there are, who has one, and who gives one up.
//!
//! Whoever connects is a stranger until it has shown a token of this node. Strangers have places of their own, and there is
//! always room for the next one: where all are taken, the peer that holds the most of them loses the one on which it has been
//! silent for longest. So a crowd that holds connections and asks for nothing holds them only until somebody else comes, and
//! an honest client, which asks as soon as it is connected, has its answer by then. Who has shown a token moves to the other
//! places, which no stranger can take, and keeps its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Most connections at a time, with what is buffered of each far from what a node has of memory.
const CONNECTIONS_MAX: usize = 4_096;

/// The share of all places that strangers have: one in so many. They need them for the length of one head of a request.
const STRANGERS_SHARE: usize = 4;

/// How often the log says that places run out.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// All places of a node.
#[derive(Debug)]
pub(crate) struct Places {
    /// All of them.
    pub(crate) most: usize,
    strangers: Arc<Semaphore>,
    known: Arc<Semaphore>,
    /// Strangers by peer, each peer's in the order in which they came.
    waiting: Mutex<FxHashMap<IpAddr, BTreeMap<u64, Arc<Notify>>>>,
    last: AtomicU64,
    /// Strangers that lost their place to the next one.
    displaced: AtomicU64,
    /// Requests with a token for which there was no place.
    refused: AtomicU64,
    said: Mutex<Option<Instant>>,
}

/// How the places are taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// Connections that are open.
    pub(crate) open: usize,
    /// Those of them that have shown no token.
    pub(crate) strangers: usize,
    /// Connections that were closed because others needed their place.
    pub(crate) displaced: u64,
    /// Requests that were refused for want of a place.
    pub(crate) refused: u64,
}

impl Places {
    /// So many places.
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(2);
        let strangers = (most / STRANGERS_SHARE).max(1);
        Self {
            most,
            strangers: Arc::new(Semaphore::new(strangers)),
            known: Arc::new(Semaphore::new(most - strangers)),
            waiting: Mutex::default(),
            last: AtomicU64::new(0),
            displaced: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            said: Mutex::new(None),
        }
    }

    /// As many as this process can hold: half of the files that it may open, for missions open files, too. The limit of
    /// files is the soft one, which [`raise_files`] has raised.
    pub(crate) fn of_this_process() -> Self {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
        Self::new(CONNECTIONS_MAX.min(files / 2))
    }

    /// How they are taken now.
    pub(crate) fn taken(&self) -> Taken {
        let strangers: usize = self.waiting.lock().values().map(BTreeMap::len).sum();
        let known = self.most - (self.most / STRANGERS_SHARE).max(1) - self.known.available_permits();
        Taken {
            open: strangers + known,
            strangers,
            displaced: self.displaced.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }

    /// A place for the next stranger. Waits only for one that has just lost its own to close.
    pub(super) async fn room(self: &Arc<Self>) -> OwnedSemaphorePermit {
        let strangers = Arc::clone(&self.strangers);
        if let Ok(permit) = strangers.clone().try_acquire_owned() {
            return permit;
        }
        self.displace();
        strangers.acquire_owned().await.expect("never closed")
    }

    /// Lets the peer with the most strangers lose the oldest of them.
    fn displace(&self) {
        let mut waiting = self.waiting.lock();
        let Some((&peer, _)) = waiting.iter().max_by_key(|(_, its)| its.len()) else { return };
        if let Some((_, told)) = waiting.get_mut(&peer).and_then(BTreeMap::pop_first) {
            told.notify_one();
            self.displaced.fetch_add(1, Relaxed);
        }
        if waiting.get(&peer).is_some_and(BTreeMap::is_empty) {
            waiting.remove(&peer);
        }
        drop(waiting);
        self.say(&peer.to_string());
    }

    fn say(&self, peer: &str) {
        let mut said = self.said.lock();
        if said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            *said = Some(Instant::now());
            let Taken { open, strangers, displaced, refused } = self.taken();
            tracing::warn!(peer, open, strangers, displaced, refused, places = self.most, "connection places run out");
        }
    }

    /// Seats a connection of `peer` in the room that was found for it.
    pub(super) fn seat(self: &Arc<Self>, peer: IpAddr, permit: OwnedSemaphorePermit) -> Arc<Place> {
        let (peer, number, told) = (share_of(peer), self.last.fetch_add(1, Relaxed), Arc::new(Notify::new()));
        self.waiting.lock().entry(peer).or_default().insert(number, Arc::clone(&told));
        let held = Mutex::new(Held { _permit: permit, known: false });
        Arc::new(Place { places: Arc::clone(self), peer, number, told, held })
    }

    fn leave(&self, peer: IpAddr, number: u64) {
        let mut waiting = self.waiting.lock();
        if let Some(its) = waiting.get_mut(&peer) {
            its.remove(&number);
            if its.is_empty() {
                waiting.remove(&peer);
            }
        }
    }
}

/// The place of one connection.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    peer: IpAddr,
    number: u64,
    told: Arc<Notify>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    _permit: OwnedSemaphorePermit,
    known: bool,
}

impl Place {
    /// Somebody else needs it more.
    pub(super) async fn lost(&self) {
        self.told.notified().await;
    }

    /// Whose it is: what counts as one peer.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// A token was shown on it. False where there is no place for that.
    pub(crate) fn is_known(&self) -> bool {
        let mut held = self.held.lock();
        if held.known {
            return true;
        }
        let Ok(permit) = Arc::clone(&self.places.known).try_acquire_owned() else {
            drop(held);
            self.places.refused.fetch_add(1, Relaxed);
            self.places.say(&self.peer.to_string());
            return false;
        };
        *held = Held { _permit: permit, known: true };
        self.places.leave(self.peer, self.number);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.leave(self.peer, self.number);
    }
}

/// What counts as one peer: an address; of IPv6 what one subscriber is given, which is never less than 64 bits.
fn share_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// Raises the soft limit of open files to the hard one: many systems begin with 1,024, for the sake of programs that use
/// `select`, and each connection, workspace and artifact takes one. What the system refuses is left as it is.
pub(crate) fn raise_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, ?current, ?maximum, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    async fn seated(places: &Arc<Places>, peer: &str) -> Arc<Place> {
        let room = places.room().await;
        places.seat(ip(peer), room)
    }

    async fn is_lost(place: &Place) -> bool {
        tokio::time::timeout(Duration::ZERO, place.lost()).await.is_ok()
    }

    #[tokio::test]
    async fn the_peer_with_the_most_places_gives_its_oldest_up() {
        // Sixteen places, four of them for strangers.
        let places = Arc::new(Places::new(16));
        let honest = seated(&places, "192.0.2.1").await;
        let mut crowd = Vec::new();
        for _ in 0..3 {
            crowd.push(Some(seated(&places, "192.0.2.2").await));
        }
        let mut came = Vec::new();
        for oldest in crowd.iter_mut().take(2) {
            let oldest = oldest.take().expect("it is there");
            let loses = async {
                oldest.lost().await;
                drop(oldest);
            };
            came.push(tokio::join!(seated(&places, "192.0.2.3"), loses).0);
            assert!(!is_lost(&honest).await, "whose peer holds one alone");
        }
        assert_eq!(places.taken().displaced, 2);
    }

    #[tokio::test]
    async fn who_has_shown_a_token_keeps_its_place_and_makes_room_for_strangers() {
        let places = Arc::new(Places::new(4));
        let known = seated(&places, "192.0.2.1").await;
        assert!(known.is_known() && known.is_known());
        let stranger = seated(&places, "192.0.2.1").await;
        assert_eq!((places.taken().open, places.taken().strangers), (2, 1));
        let (next, ()) = tokio::join!(seated(&places, "192.0.2.1"), async {
            stranger.lost().await;
            drop(stranger);
        });
        assert!(!is_lost(&known).await);
        assert!(next.is_known());
        let third = seated(&places, "192.0.2.1").await;
        assert!(third.is_known());
        let fourth = seated(&places, "192.0.2.1").await;
        assert!(!fourth.is_known(), "three places are for those that are known");
        assert_eq!(places.taken().refused, 1);
        drop(known);
        assert!(fourth.is_known());
    }

    #[test]
    fn a_peer_is_an_address_or_what_one_subscriber_has_of_them() {
        for (a, b, same) in [
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::2:0:0:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            assert_eq!(share_of(ip(a)) == share_of(ip(b)), same, "{a} {b}");
        }
    }
}
