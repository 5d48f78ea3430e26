//! Others on the same store, as this node sees them: see [`Fleet`].

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sortie_contract::{MissionId, MissionNo, Stamped};
use tokio::sync::oneshot;

use super::PostgresLog;
use super::adopt::Legacy;
use super::claims::{self, Wanted};
use super::held::spans;
use super::hold;
use super::log::{self, CURSORS_UP, HEADS_UP, cursor_of, number};
use super::pools::{self, Exchange};
use super::read::wait;
use super::scribe::Order;
use crate::error::{ReadError, WriteError};
use crate::feed::{FeedEntry, FeedPart};
use crate::fleet::{AdoptError, Adopted, Fleet, OwnedKeys, Owner, Peer, ShareNo};
use crate::head::Head;
use crate::log::Log;
use crate::pool::{PoolAsk, PoolSaid};
use crate::read::there;
use crate::schedule;

impl PostgresLog {
    async fn claimed(&self, keys: Vec<Vec<u8>>) -> Result<Owner, WriteError> {
        self.takes()?;
        if self.is_away() {
            return Err(WriteError::Overloaded);
        }
        let (answer, told) = oneshot::channel();
        let removed = self.removed.load(Ordering::SeqCst);
        let after = if self.gone.load(Ordering::SeqCst) < removed { Some(self.barrier()?) } else { None };
        self.claims.try_send(Wanted { keys, after, answer }).map_err(|_| WriteError::Overloaded)?;
        let owner = told.await.unwrap_or(Err(WriteError::Closed))?;
        self.gone.fetch_max(removed, Ordering::SeqCst);
        Ok(owner)
    }

    /// What this node has adopted, and is reading still, is not there yet: it is told as that of whoever left it.
    fn held_elsewhere(&self, name: Vec<u8>) -> Result<Option<Peer>, ReadError> {
        let mine = self.holding.mine;
        let rows = self.rows(claims::OWNERS, vec![Box::new(vec![name])])?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (peer, of) = (claims::peer(row, mine), hold::share(row, 7));
        if !peer.is_me {
            return Ok(Some(peer));
        }
        if self.holding.has(of) {
            return Ok(None);
        }
        let left = self.rows(claims::LEFT, vec![Box::new(hold::no(of))])?;
        Ok(left.first().map(|row| claims::peer(row, mine)))
    }

    /// Gives the scribe something to do, and waits for what comes of it on a thread that may.
    fn ordered<T: Send + 'static>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, WriteError> {
        self.takes()?;
        let (told, answer) = oneshot::channel();
        let (orders, order) = (self.orders.clone(), order(told));
        let work = async move {
            orders.send(order).await.map_err(|_| WriteError::Closed)?;
            answer.await.map_err(|_| WriteError::Closed)
        };
        wait(&self.hand.runtime, work).map_err(|_| WriteError::Closed)?
    }

    /// Takes in what is this node's now: heads first, so that nothing of it is claimed before it is known.
    fn takes_in(&self, legacy: &Legacy, visit: &mut dyn FnMut(MissionNo, Head)) -> Result<Adopted, ReadError> {
        let (mut headless, mut cursors) = (Vec::new(), Vec::new());
        for span in spans(&legacy.shares) {
            self.reader.pages(HEADS_UP, span.after, &[span.before], |row| {
                let mission = number(row, 0);
                let head = Head::decode(mission, row.get(1));
                match there(head.map_err(|source| ReadError::Row { table: "head", key: mission, source }))? {
                    Some(head) => {
                        self.index.lock().catalog.insert(MissionNo(mission), &head);
                        visit(MissionNo(mission), head);
                    }
                    None => headless.push(MissionNo(mission)),
                }
                Ok(ControlFlow::Continue(row.get(0)))
            })?;
            self.reader.pages(CURSORS_UP, span.after, &[span.before], |row| {
                cursors.push(cursor_of(row)?);
                Ok(ControlFlow::Continue(row.get(0)))
            })?;
        }
        let mut marks = Vec::new();
        for id in &legacy.schedules {
            let mine = hold::no(self.holding.mine);
            let rows = self.rows(log::SCHEDULE, vec![Box::new(id.clone().into_bytes()), Box::new(mine)])?;
            if let Some(position) = rows.first().and_then(|row| row.get::<_, Option<&[u8]>>(2))
                && let Ok((mark, _)) = schedule::decode_position(id, position)
            {
                marks.push((id.clone(), mark));
            }
        }
        self.headless.lock().extend(headless.iter().copied());
        self.nameless.lock().extend(headless.iter().map(|no| no.0));
        {
            let mut index = self.index.lock();
            index.last_no = index.last_no.max(legacy.last_no);
            index.schedules.extend(marks);
        }
        self.leases.raise(super::first_lease(legacy.token));
        self.holding.extend(&legacy.shares);
        let Legacy { shares, clocks, schedules, balances, .. } = legacy.clone();
        Ok(Adopted { shares, headless, cursors, clocks, schedules, balances })
    }
}

impl Fleet for PostgresLog {
    fn share(&self) -> ShareNo {
        self.holding.mine
    }

    fn claim(&self, keys: OwnedKeys) -> BoxFuture<'_, Result<Owner, WriteError>> {
        Box::pin(async move {
            let is_known = {
                let index = self.index.lock();
                let same_key = index.catalog.by_key(&keys.source, &keys.idempotency_key);
                same_key.chain(index.catalog.by_id(&keys.mission_id)).next().is_some()
            };
            // Whoever has the mission answers for it, wherever its VP is at home.
            if is_known && !self.certain.left().is_zero() {
                self.takes()?;
                return Ok(Owner::Mine);
            }
            let (twin, id) = (claims::twin(&keys.source, &keys.idempotency_key), claims::id(&keys.mission_id));
            self.claimed(if is_known { vec![twin] } else { vec![twin, id, claims::home(&keys.vp)] }).await
        })
    }

    fn other(&self, keys: &OwnedKeys) -> Result<Option<Peer>, ReadError> {
        let twin = claims::twin(&keys.source, &keys.idempotency_key);
        let names = [twin, claims::id(&keys.mission_id), claims::home(&keys.vp)];
        let rows = self.rows(claims::OWNERS, vec![Box::new(names.to_vec())])?;
        // Those whose owner is told first come first.
        let other = |name: &Vec<u8>| {
            let row = rows.iter().find(|row| row.get::<_, Vec<u8>>(8) == *name)?;
            Some(claims::peer(row, self.holding.mine)).filter(|peer| !peer.is_me)
        };
        Ok(names.iter().find_map(other))
    }

    fn claim_schedule(&self, id: String) -> BoxFuture<'_, Result<Owner, WriteError>> {
        Box::pin(async move { self.claimed(vec![claims::schedule(&id)]).await })
    }

    fn holder(&self, id: &MissionId) -> Result<Option<Peer>, ReadError> {
        self.held_elsewhere(claims::id(id))
    }

    fn schedule_holder(&self, id: &str) -> Result<Option<Peer>, ReadError> {
        self.held_elsewhere(claims::schedule(id))
    }

    fn peers(&self) -> Result<Vec<Peer>, ReadError> {
        let rows = self.rows(claims::PEERS, Vec::new())?;
        Ok(rows.iter().map(|row| claims::peer(row, self.holding.mine)).collect())
    }

    fn adopted_from(&self) -> Result<Vec<String>, ReadError> {
        let rows = self.rows(claims::ADOPTED, vec![Box::new(hold::no(self.holding.mine))])?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    fn feed_parts(&self) -> Result<Vec<FeedPart>, ReadError> {
        self.parts_of_feed()
    }

    fn feed_between(&self, after: u64, end: u64, limit: usize) -> Result<Vec<FeedEntry>, ReadError> {
        self.feed_of(after, end, limit)
    }

    fn records(&self, mission: MissionNo, first: u32, bytes: usize) -> Result<Vec<Stamped>, ReadError> {
        self.records_of(mission, first, bytes)
    }

    fn say(&self, card: String) {
        *self.card.lock() = card;
    }

    fn adopt(&self, share: ShareNo, visit: &mut dyn FnMut(MissionNo, Head)) -> Result<Adopted, AdoptError> {
        let legacy = self.ordered(|told| Order::Adopt(share, told))??;
        self.takes_in(&legacy, visit)
            .inspect_err(|error| {
                let why = WriteError::poisoned(&format!("what was adopted cannot be read: {error}"));
                let orders = self.orders.clone();
                // Refused only where it has ended already.
                let _ = wait(&self.hand.runtime, async move { orders.send(Order::Fail(why)).await.is_ok() });
            })
            .map_err(AdoptError::Read)
    }

    fn shares(&self) -> Vec<ShareNo> {
        self.holding.shares()
    }

    fn exchange(&self, shares: Vec<ShareNo>, asks: Vec<PoolAsk>) -> BoxFuture<'_, Result<Vec<PoolSaid>, WriteError>> {
        Box::pin(async move {
            self.takes()?;
            if self.is_away() {
                return Err(WriteError::Overloaded);
            }
            let (answer, told) = oneshot::channel();
            let exchange = Exchange { shares, asks, answer };
            self.pools.send(exchange).await.map_err(|_| WriteError::Closed)?;
            told.await.unwrap_or(Err(WriteError::Closed))
        })
    }

    fn pools(&self, shares: &[ShareNo]) -> Result<Vec<(String, u64)>, ReadError> {
        let mut found = Vec::new();
        for row in self.rows(pools::ALL, Vec::new())? {
            let name = log::text(row.get(0));
            // Of one that cannot be read it is said where it is asked for.
            let used = pools::decode(&name, row.get(1)).ok().and_then(|pool| pool.used_by(shares));
            found.extend(used.map(|used| (name, used)));
        }
        Ok(found)
    }

    fn give_back(&self) {
        self.gives_back.store(true, Ordering::SeqCst);
    }

    fn certain_for(&self) -> Duration {
        self.certain.left()
    }

    fn sure(&self) -> BoxFuture<'_, Result<(), WriteError>> {
        Box::pin(async move {
            loop {
                if !self.certain.left().is_zero() {
                    return Ok(());
                }
                self.takes()?;
                let (told, beaten) = oneshot::channel();
                self.orders.send(Order::Beat(told)).await.map_err(|_| WriteError::Closed)?;
                beaten.await.map_err(|_| WriteError::Closed)??;
            }
        })
    }
}
