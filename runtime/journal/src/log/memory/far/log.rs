//! The log that is far away, as the rest of a node sees it: see [`Log`].

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::civil::Date;
use sortie_contract::cursor::Cursor;
use sortie_contract::{MissionId, MissionNo, SessionId, Stamped, VpId};
use tokio::sync::watch;

use super::{FarLink, FarLog, Fate, Flight, Near, What};
use crate::append::{Append, HEAD_BYTES};
use crate::balance::{Account, Balance};
use crate::catalog::Session;
use crate::error::{ReadError, WriteError};
use crate::feed::{FeedEntry, FeedPart};
use crate::fleet::{AdoptError, Adopted, Fleet, OwnedKeys, Owner, Peer, ShareNo};
use crate::head::Head;
use crate::journal::Receipt;
use crate::log::index::{self, Rows};
use crate::log::{AdmitError, Admitted, Decision, Failure, Keys, Known, Lease, Log, Twin};
use crate::pin::Pinned;
use crate::pool::{PoolAsk, PoolSaid};
use crate::quarantine::{Quarantine, Remains};
use crate::room::Room;
use crate::schedule::{Kept, ScheduleChange};
use crate::snapshot::{Copied, SnapshotError};

/// What admission looks up, and where it hands over.
struct Admission<'a> {
    near: &'a Near,
    keys: Keys<'a>,
}

impl Rows for Admission<'_> {
    fn head(&self, mission: MissionNo) -> Result<Option<Head>, ReadError> {
        self.near.store.head(mission)
    }

    fn barrier(&self) -> Result<Receipt, WriteError> {
        self.near.told(What::Barrier, 0, None)
    }

    fn hand(&self, append: Append) -> Result<Receipt, WriteError> {
        assert!(append.schedule.is_none(), "no schedule fires over a store that is far away");
        self.near.append(append, Some(self.keys.into()))
    }
}

impl Log for FarLog {
    fn admit(&self, keys: Keys<'_>, decide: &mut dyn FnMut(&Known) -> Decision) -> Result<Admitted, AdmitError> {
        self.near.takes()?;
        if self.is_away() {
            return Err(WriteError::Overloaded.into());
        }
        index::admit(&self.near.index, &Admission { near: &self.near, keys }, keys, decide)
    }

    fn append(&self, append: Append) -> Result<(), WriteError> {
        self.append_durable(append).map(drop)
    }

    fn append_durable(&self, append: Append) -> Result<Receipt, WriteError> {
        self.near.leases.fenced(append, |append| self.near.append(append, None))
    }

    fn reserve(&self, append: &Append) -> Result<Room, WriteError> {
        self.near.takes()?;
        self.near.load.place(append.bytes() + HEAD_BYTES)
    }

    fn lease(&self, mission: MissionNo) -> Result<(Lease, Receipt), WriteError> {
        self.near.leases.lease(mission, || self.barrier())
    }

    fn release(&self, lease: Lease) {
        self.near.leases.release(lease);
    }

    fn remove(&self, mission: MissionNo) -> Result<(), AdmitError> {
        let head = self.head(mission)?;
        self.near.hand(What::Remove(mission), 0, None, None)?;
        if let Some(head) = head {
            self.near.index.lock().catalog.remove(mission, &head);
        }
        Ok(())
    }

    fn change_schedule(&self, change: ScheduleChange) -> Result<Receipt, WriteError> {
        self.near.takes()?;
        self.near.store.change_schedule(change)
    }

    fn schedules_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Kept)>, ReadError> {
        self.near.store.schedules_after(after, limit)
    }

    fn schedule(&self, id: &str) -> Result<Option<Kept>, ReadError> {
        self.near.store.schedule(id)
    }

    fn fires(&self, id: &str, before: Option<u64>, limit: usize) -> Result<Vec<(u64, String)>, ReadError> {
        self.near.store.fires(id, before, limit)
    }

    fn keep_clocks(&self, clocks: &[(MissionNo, u64)]) -> Result<(), WriteError> {
        self.near.hand(What::Clocks(clocks.to_vec()), 0, None, None)
    }

    fn clocks(&self) -> Result<Vec<(MissionNo, u64)>, ReadError> {
        self.near.store.clocks()
    }

    fn act(&self, text: String) -> Result<Receipt, WriteError> {
        let bytes = text.len();
        self.near.told(What::Action(text), bytes, None)
    }

    fn actions(&self, before: Option<u64>, limit: usize) -> Result<Vec<(u64, String)>, ReadError> {
        self.near.store.actions(before, limit)
    }

    fn pin(&self, mission: MissionNo, pin: Option<&Pinned>) -> Result<Receipt, WriteError> {
        self.near.told(What::Pin(mission, pin.cloned()), 0, None)
    }

    fn pins(&self) -> Result<Vec<(MissionNo, Pinned)>, ReadError> {
        self.near.store.pins()
    }

    fn balances(&self, from: Date) -> Result<Vec<(Account, Balance)>, ReadError> {
        self.near.store.balances(from)
    }

    fn prune_feed_before(&self, position: u64) -> Result<(), WriteError> {
        self.near.hand(What::PruneFeed(position), 0, None, None)
    }

    fn barrier(&self) -> Result<Receipt, WriteError> {
        self.near.told(What::Barrier, 0, None)
    }

    fn read(&self, mission: MissionNo, first: u32, bytes: usize) -> Result<Vec<Stamped>, ReadError> {
        self.near.store.read(mission, first, bytes)
    }

    fn remains(&self, mission: MissionNo) -> Result<Remains, ReadError> {
        self.near.store.remains(mission)
    }

    fn quarantine(&self, mission: MissionNo) -> Result<Option<Quarantine>, ReadError> {
        self.near.store.quarantine(mission)
    }

    fn quarantined(&self) -> Result<Vec<MissionNo>, ReadError> {
        self.near.store.quarantined()
    }

    fn headless(&self) -> Vec<MissionNo> {
        Vec::new()
    }

    fn mend(&self, append: Append, _no: MissionNo, head: &Head) -> Result<Receipt, WriteError> {
        self.append_durable(append.head(head))
    }

    fn head(&self, mission: MissionNo) -> Result<Option<Head>, ReadError> {
        self.near.store.head(mission)
    }

    fn find(&self, id: &MissionId) -> Result<Option<Twin>, ReadError> {
        index::find(&self.near.index, id, |no| self.head(no))
    }

    fn heads_newest_first(&self, before: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Head)>, ReadError> {
        self.near.store.heads_newest_first(before, limit)
    }

    fn heads_oldest_first(&self, after: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Head)>, ReadError> {
        self.near.store.heads_oldest_first(after, limit)
    }

    fn has_session(&self, vp: &VpId, session: &SessionId) -> Result<bool, ReadError> {
        Ok(self.near.index.lock().catalog.has_session(vp, session))
    }

    fn sessions_newest_first(
        &self,
        before: Option<MissionNo>,
        limit: usize,
    ) -> Result<Vec<(VpId, Session)>, ReadError> {
        Ok(self.near.index.lock().catalog.sessions_newest_first(before, limit))
    }

    fn cursor(&self, mission: MissionNo) -> Result<Option<Cursor>, ReadError> {
        self.near.store.cursor(mission)
    }

    fn cursors_after(&self, after: Option<MissionNo>, limit: usize) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.near.store.cursors_after(after, limit)
    }

    fn undelivered(&self) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.near.store.undelivered()
    }

    fn incomplete(&self) -> Result<Vec<(MissionNo, Cursor)>, ReadError> {
        self.near.store.incomplete()
    }

    fn feed_after(&self, position: u64, limit: usize) -> Result<Vec<FeedEntry>, ReadError> {
        self.near.store.feed_after(position, limit)
    }

    fn feed_begin(&self) -> Result<u64, ReadError> {
        self.near.store.feed_begin()
    }

    fn follow(&self) -> watch::Receiver<u64> {
        self.near.durable.subscribe()
    }

    fn is_away(&self) -> bool {
        self.near.is_away.load(Ordering::SeqCst)
    }

    fn crowded(&self) -> bool {
        self.is_away() || self.near.load.is_crowded()
    }

    fn fleet(&self) -> Option<&dyn Fleet> {
        Some(self)
    }

    fn snapshot(&self, to: &Path) -> Result<Copied, SnapshotError> {
        self.near.store.snapshot(to)
    }

    fn poisoned(&self) -> Option<WriteError> {
        self.near.failed.borrow().clone()
    }

    fn failed(&self) -> Failure {
        let mut failed = self.near.failed.subscribe();
        Box::pin(async move {
            if let Ok(error) = failed.wait_for(Option::is_some).await
                && let Some(error) = error.clone()
            {
                return error;
            }
            std::future::pending().await
        })
    }

    /// What was not heard of is asked for, and what is left is sent: for this the store is there.
    fn close(&self) -> Result<(), WriteError> {
        self.near.is_closed.store(true, Ordering::SeqCst);
        let link = FarLink { near: Arc::clone(&self.near) };
        while self.near.failed.borrow().is_none() {
            let is_over = {
                let way = self.near.way.lock();
                matches!(way.flight, Flight::None) && way.queue.is_empty()
            };
            if is_over {
                break;
            }
            link.step(usize::MAX, Fate::Comes);
        }
        self.near.failed.borrow().clone().map_or_else(|| self.near.store.close(), Err)
    }
}

impl Fleet for FarLog {
    fn share(&self) -> ShareNo {
        self.near.store.share()
    }

    fn claim(&self, keys: OwnedKeys) -> BoxFuture<'_, Result<Owner, WriteError>> {
        Box::pin(self.near.asked(self.near.store.claim(keys)))
    }

    fn other(&self, keys: &OwnedKeys) -> Result<Option<Peer>, ReadError> {
        self.near.store.other(keys)
    }

    fn claim_schedule(&self, id: String) -> BoxFuture<'_, Result<Owner, WriteError>> {
        Box::pin(self.near.asked(self.near.store.claim_schedule(id)))
    }

    fn holder(&self, id: &MissionId) -> Result<Option<Peer>, ReadError> {
        self.near.store.holder(id)
    }

    fn schedule_holder(&self, id: &str) -> Result<Option<Peer>, ReadError> {
        self.near.store.schedule_holder(id)
    }

    fn peers(&self) -> Result<Vec<Peer>, ReadError> {
        self.near.store.peers()
    }

    fn adopted_from(&self) -> Result<Vec<String>, ReadError> {
        self.near.store.adopted_from()
    }

    fn feed_parts(&self) -> Result<Vec<FeedPart>, ReadError> {
        self.near.store.feed_parts()
    }

    fn feed_between(&self, after: u64, end: u64, limit: usize) -> Result<Vec<FeedEntry>, ReadError> {
        self.near.store.feed_between(after, end, limit)
    }

    fn records(&self, mission: MissionNo, first: u32, bytes: usize) -> Result<Vec<Stamped>, ReadError> {
        self.near.store.records(mission, first, bytes)
    }

    fn shares(&self) -> Vec<ShareNo> {
        self.near.store.shares()
    }

    fn exchange(&self, shares: Vec<ShareNo>, asks: Vec<PoolAsk>) -> BoxFuture<'_, Result<Vec<PoolSaid>, WriteError>> {
        Box::pin(self.near.asked(self.near.store.exchange(shares, asks)))
    }

    fn pools(&self, shares: &[ShareNo]) -> Result<Vec<(String, u64)>, ReadError> {
        self.near.store.pools(shares)
    }

    fn say(&self, card: String) {
        *self.near.card.lock() = card;
    }

    fn adopt(&self, share: ShareNo, visit: &mut dyn FnMut(MissionNo, Head)) -> Result<Adopted, AdoptError> {
        self.near.takes()?;
        let peers = self.peers()?;
        if let Some(peer) = peers.into_iter().find(|peer| peer.share == share && !peer.node.is_empty())
            && !self.near.judges_others()
        {
            return Err(AdoptError::Held { share, name: peer.name });
        }
        let mut heads = Vec::new();
        let adopted = self.near.store.adopt(share, &mut |no, head| heads.push((no, head)));
        if let Err(AdoptError::Write(error)) = &adopted {
            self.near.fails(error, Vec::new());
        }
        let adopted = adopted?;
        self.near.is_heard(self.near.store.now());
        let mut index = self.near.index.lock();
        index.last_no = index.last_no.max(self.near.store.state.lock().last_no);
        heads.iter().for_each(|(no, head)| index.catalog.insert(*no, head));
        drop(index);
        heads.into_iter().for_each(|(no, head)| visit(no, head));
        let position = *self.near.store.position.borrow();
        self.near.durable.send_if_modified(|durable| std::mem::replace(durable, position) != position);
        Ok(adopted)
    }

    fn give_back(&self) {
        self.near.store.give_back();
    }

    fn certain_for(&self) -> Duration {
        self.near.certain_for()
    }

    fn sure(&self) -> BoxFuture<'_, Result<(), WriteError>> {
        Box::pin(async move {
            let mut heard = self.near.heard.subscribe();
            loop {
                self.near.takes()?;
                if !self.near.certain_for().is_zero() {
                    return Ok(());
                }
                self.near.wants_beat.store(true, Ordering::SeqCst);
                if heard.changed().await.is_err() {
                    return Err(WriteError::Closed);
                }
            }
        })
    }
}
