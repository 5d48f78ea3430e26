//! Several nodes on one store: who the others are, what is theirs, and what this node says of itself.
//!
//! Whose something is the log decides ([`sortie_journal::Fleet`]); which of several nodes takes a mission that names none, the core
//! ([`sortie_mission::placement`]). Owned here: when the log is asked, what the others are told, and the look at them each third of a
//! lease. Never here: how a request gets to another node.
//!
//! | file | what |
//! | --- | --- |
//! | `card` | what a node says of itself to the others |
//! | `place` | whose a dispatch is, before this node decides about it |
//! | `adopt` | what another left that died goes on here |
//! | `workspace` | missions whose files are on another node's disk |
//! | `feed` | the events of all of them, for whoever reads them here |
//! | `pools` | what nodes share out among themselves: lanes, and budgets wider than a mission |
//! | `drain` | a node that is to be stopped for good, or for a while |

mod adopt;
mod card;
mod drain;
mod feed;
mod place;
mod pools;
mod workspace;

pub(crate) use workspace::Unreachable;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::select;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_contract::plugin::PluginIdentity;
use sortie_contract::{MissionId, Status, Timestamp};
use sortie_journal::{Peer, ShareNo};
use tokio::sync::{Notify, watch};

use super::{Engine, ReadError};

pub use card::Card;
pub use drain::Draining;
pub use feed::Told;

/// A node looks at the others so many times in a lease.
const LOOKS: u32 = 3;

/// The longest between two looks: one that has given its share back is not waited for.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// What a node is among others, as it was configured.
pub struct Own {
    /// What it says of itself that does not change.
    pub card: Card,
    /// The plugins that are installed.
    pub plugins: Box<dyn Fn() -> Vec<PluginIdentity> + Send + Sync>,
    /// How long the others wait for a sign of life of it.
    pub lease: Duration,
}

/// A node of the store.
#[derive(Debug, Clone)]
pub struct Member {
    /// The share that it goes on in.
    pub share: ShareNo,
    /// What it is known by from one process to the next; empty where it has given its share back.
    pub node: String,
    /// What it calls itself.
    pub name: String,
    /// What it says of itself.
    pub card: Card,
    /// Since when it is there.
    pub since: Timestamp,
    /// How much was left of its lease when it was looked at; zero: it has run out.
    pub lease_left: Duration,
    /// Whether it is this node.
    pub is_me: bool,
}

impl Member {
    fn of(peer: Peer) -> Self {
        let Peer { share, node, name, card, since, lease_left, is_me, asked_at: _ } = peer;
        Self { share, node, name, card: Card::read(&card), since, lease_left, is_me }
    }

    /// Whether its lease has not run out.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.lease_left.is_zero()
    }

    /// Whether it is called that, or goes on with what a node of that name left.
    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.card.stands_for.contains(name)
    }
}

/// A node among others on one store.
#[derive(Default)]
pub(crate) struct Membership {
    own: OnceLock<Own>,
    /// The others, and itself, as they were looked at last.
    members: Mutex<Arc<[Member]>>,
    /// In how many looks in a row a share was found whose lease had run out.
    lapsed: Mutex<FxHashMap<ShareNo, u32>>,
    /// Shares that are not adopted here: a newer Sortie wrote them.
    newer: Mutex<BTreeSet<ShareNo>>,
    /// The names of nodes whose shares are this one's.
    stands_for: Mutex<BTreeSet<String>>,
    /// While a share is being adopted no turns are given: what comes of it may have to go before what is here.
    is_adopting: AtomicBool,
    draining: watch::Sender<Draining>,
    /// By the steady clock, when the others were looked at last.
    seen_at: Mutex<Option<Duration>>,
    /// What time it was by the store's clock at that moment of the steady one.
    store_clock: Mutex<Option<(Timestamp, Duration)>>,
    sessions: workspace::Sessions,
    /// Shares that came while this process runs, once their books are taken up.
    came: Mutex<Vec<ShareNo>>,
    /// Why lanes and budgets are not shared out, where people have to mend that.
    not_shared: Mutex<Option<String>>,
    /// What others were given since they said last how much they have to do.
    placed: Mutex<FxHashMap<ShareNo, place::Placed>>,
    /// Others that could not be reached a moment ago.
    unreached: Mutex<FxHashMap<ShareNo, place::Unreached>>,
    /// How far the feed of all of them goes.
    ends: feed::Ends,
    /// There is something to tell at once.
    nudged: Arc<Notify>,
    counts: Counts,
}

/// What is counted of it, since the node started.
#[derive(Debug, Default)]
pub struct Counts {
    /// Shares of others that were adopted.
    pub shares: AtomicU64,
    /// Missions that were not over and came with them.
    pub missions: AtomicU64,
    /// Requests that were sent on to who has what they are about.
    pub forwarded: AtomicU64,
}

impl Engine {
    /// Says what this node is among others. To be called once, before it starts; without it, it tells them nothing and adopts nothing.
    pub fn among(&self, own: Own) {
        let _ = self.fleet.own.set(own);
    }

    /// Whether the store is one that others may write, too.
    #[must_use]
    pub fn has_fleet(&self) -> bool {
        self.log.fleet().is_some()
    }

    /// The nodes of the store as they were looked at last, this one among them; none, where it has the store for itself.
    #[must_use]
    pub fn members(&self) -> Arc<[Member]> {
        Arc::clone(&self.fleet.members.lock())
    }

    /// What was counted of it.
    #[must_use]
    pub fn fleet_counts(&self) -> &Counts {
        &self.fleet.counts
    }

    /// The same node as the store has it in this moment, where it is there still: it may have said something else since the others were looked
    /// at last.
    pub async fn member_now(self: &Arc<Self>, member: &Member) -> Option<Member> {
        let engine = Arc::clone(self);
        let look = move || engine.log.fleet().map_or(Ok(Vec::new()), sortie_journal::Fleet::peers);
        let peers = self.ambient.unblock(look).await.ok()?.ok()?;
        let found = peers.into_iter().map(Member::of).find(|other| other.share == member.share);
        found.filter(|other| other.node == member.node && other.is_live())
    }

    /// How long ago the others were looked at, where they have been.
    #[must_use]
    pub fn fleet_seen(&self) -> Option<Duration> {
        let seen_at = (*self.fleet.seen_at.lock())?;
        Some(self.ambient.steady().saturating_sub(seen_at))
    }

    /// What time it is by the store's clock, which all of its nodes have in common: as the store said with the last look, and what has gone by
    /// since. This node's own, where it has not looked yet.
    #[must_use]
    pub fn store_time(&self) -> Timestamp {
        let told = *self.fleet.store_clock.lock();
        let since = |at: Duration| self.ambient.steady().saturating_sub(at);
        told.and_then(|(time, at)| time.checked_add(since(at)).ok()).unwrap_or_else(|| self.ambient.wall())
    }

    /// How long a node of this store is waited for.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.fleet.own.get().map_or(sortie_journal::LEASE, |own| own.lease)
    }

    /// Who has the mission of that name, where it is another node, or was. Blocks.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn holder(&self, id: &str) -> Result<Option<Member>, ReadError> {
        let (Some(fleet), Ok(id)) = (self.log.fleet(), MissionId::new(id)) else { return Ok(None) };
        Ok(fleet.holder(&id)?.map(Member::of).filter(|member| !member.is_me))
    }

    /// The same of a schedule. Blocks.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn schedule_holder(&self, id: &str) -> Result<Option<Member>, ReadError> {
        let Some(fleet) = self.log.fleet() else { return Ok(None) };
        Ok(fleet.schedule_holder(id)?.map(Member::of).filter(|member| !member.is_me))
    }

    /// Starts to tell the others, to look at them, and to go on with what those leave that die. Where this node has its store for
    /// itself there is nothing to start.
    pub fn start_fleet(self: &Arc<Self>) {
        if self.log.fleet().is_none() || self.fleet.own.get().is_none() {
            return;
        }
        let (engine, ambient) = (Arc::downgrade(self), Arc::clone(&self.ambient));
        let (round, nudged) = ((self.lease() / LOOKS).min(LOOK_MAX), Arc::clone(&self.fleet.nudged));
        self.supervise("fleet", async move {
            loop {
                let Some(engine) = engine.upgrade() else { return };
                engine.look_around().await;
                drop(engine);
                select(ambient.sleep(round), std::pin::pin!(nudged.notified())).await;
            }
        });
    }

    /// One look at the others, and what follows from it.
    async fn look_around(self: &Arc<Self>) {
        let engine = Arc::clone(self);
        let peers = match self.ambient.unblock(move || engine.say_and_ask()).await {
            Ok(Ok(peers)) => peers,
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "the other nodes of the store cannot be looked at now");
                return;
            }
            Err(_) => return,
        };
        let now = self.ambient.steady();
        if let Some(peer) = peers.first() {
            *self.fleet.store_clock.lock() = Some((peer.asked_at, now));
        }
        let members: Arc<[Member]> = peers.into_iter().map(Member::of).collect();
        *self.fleet.seen_at.lock() = Some(now);
        self.forget_placed(&members);
        *self.fleet.members.lock() = Arc::clone(&members);
        for member in self.to_adopt(&members) {
            self.take_over(&member).await;
        }
    }

    /// Says what there is to say, and asks who the others are. Blocks.
    fn say_and_ask(&self) -> Result<Vec<Peer>, sortie_journal::ReadError> {
        let Some(fleet) = self.log.fleet() else { return Ok(Vec::new()) };
        if self.fleet.seen_at.lock().is_none() {
            // A process of this node before this one may have adopted some.
            self.stand_for(fleet.adopted_from()?);
        }
        fleet.say(self.card().write());
        fleet.peers()
    }

    /// Whoever means nodes of these names means this one from now on, where they are not there.
    fn stand_for(&self, names: impl IntoIterator<Item = String>) {
        let mut stands_for = self.fleet.stands_for.lock();
        stands_for.extend(names);
        stands_for.remove(self.settings.rules.instance_id.as_str());
    }

    /// How many missions are not over.
    #[must_use]
    pub fn open_missions(&self) -> u64 {
        let open = [Status::Queued, Status::Running, Status::Blocked];
        open.into_iter().map(|status| self.commit.standings().count(status) as u64).sum()
    }

    /// What this node says of itself now.
    fn card(&self) -> Card {
        let Some(own) = self.fleet.own.get() else { return Card::default() };
        Card {
            plugins: (own.plugins)(),
            plugins_by: self.settings.plugins_by.iter().map(|(by, plugin)| (by.clone(), plugin.to_string())).collect(),
            tools: self.toolbox().infos().iter().map(|tool| tool.name.to_string()).collect(),
            lanes: self.settings.lanes.iter().map(|(lane, _)| lane.to_string()).collect(),
            open: self.open_missions(),
            max_running: self.settings.max_running as u64,
            is_paused: self.turns().paused,
            is_draining: self.draining() != Draining::No,
            stands_for: self.fleet.stands_for.lock().clone(),
            ..own.card.clone()
        }
    }

    /// Tells the others what has changed, and looks at them, before it is time for that.
    pub(crate) fn tell_fleet(&self) {
        self.fleet.nudged.notify_one();
    }

    /// Counts a request that was sent on.
    pub fn has_forwarded(&self) {
        self.fleet.counts.forwarded.fetch_add(1, Relaxed);
    }

    /// The same of a call of which it is known whether it will be felt outside; false: it must not be made.
    pub(crate) async fn sure_of(&self, is_felt: bool) -> bool {
        !is_felt || self.sure().await.is_ok()
    }

    /// Whether it may be made in this moment.
    pub(crate) fn is_sure_of(&self, is_felt: bool) -> bool {
        !is_felt || self.log.fleet().is_none_or(|fleet| !fleet.certain_for().is_zero())
    }

    /// Resolves once a call with an effect may be made: it is certain that nobody else has this node's missions.
    pub(crate) async fn sure(&self) -> Result<(), sortie_journal::WriteError> {
        match self.log.fleet() {
            Some(fleet) if fleet.certain_for().is_zero() => fleet.sure().await,
            _ => Ok(()),
        }
    }
}
