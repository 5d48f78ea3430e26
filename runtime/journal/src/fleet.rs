//! Others on the same store: who they are, what is whose, and how one goes on with what another left.
//!
//! A store that many nodes write has **shares**: each mission belongs to one, and each share to one node at a time. Whatever one node
//! decides alone (which number is next, whether a mission is known, which session is the newest) it decides for what is its own; that
//! nobody else has the same name is seen to before that, by [`Fleet::claim`]. A node that is silent for longer than its lease may be
//! gone: another one adopts its share ([`Fleet::adopt`]), and from that moment nothing that the first still sends is taken.
//!
//! A share is a range of numbers ([`ShareNo::of`]): those of missions, of what people did, and the positions of the feed. Whoever holds
//! several goes on in the greatest, so that of all that it holds the newest has the greatest number.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sortie_contract::cursor::Cursor;
use sortie_contract::id::IdempotencyKey;
use sortie_contract::{InstanceId, MissionId, MissionNo, Stamped, VpId};

use crate::balance::{Account, Balance};
use crate::error::{ReadError, WriteError};
use crate::feed::{FeedEntry, FeedPart};
use crate::head::Head;
use crate::log::Keys;
use crate::pool::{PoolAsk, PoolSaid};

/// Numbers within a share take so many bits: 68 thousand million missions, which are ten million a day for eighteen years. The rest of
/// the 53 that every reader of JSON can tell apart number 131,072 shares: a node takes a new one whenever its own was adopted.
const BITS: u32 = 36;

/// Which share of a store. Those that there were before there were shares are of share 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareNo(pub u32);

impl ShareNo {
    /// The greatest that there can be.
    pub const MAX: Self = Self((1 << (53 - BITS)) - 1);

    /// Of which share a number is.
    #[must_use]
    pub fn of(number: u64) -> Self {
        Self(u32::try_from(number >> BITS).unwrap_or(u32::MAX))
    }

    /// What all of its numbers are greater than.
    #[must_use]
    pub fn floor(self) -> u64 {
        u64::from(self.0) << BITS
    }
}

impl fmt::Display for ShareNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

/// [`Keys`] of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedKeys {
    /// Its public name.
    pub mission_id: MissionId,
    /// Who dispatched it.
    pub source: InstanceId,
    /// With `source`: what makes a second dispatch the same one.
    pub idempotency_key: IdempotencyKey,
    /// Who it is done as.
    pub vp: VpId,
}

impl From<Keys<'_>> for OwnedKeys {
    fn from(keys: Keys<'_>) -> Self {
        Self {
            mission_id: keys.mission_id.clone(),
            source: keys.source.clone(),
            idempotency_key: keys.idempotency_key.clone(),
            vp: keys.vp.clone(),
        }
    }
}

impl OwnedKeys {
    /// As admission takes them.
    #[must_use]
    pub fn keys(&self) -> Keys<'_> {
        Keys {
            mission_id: &self.mission_id,
            source: &self.source,
            idempotency_key: &self.idempotency_key,
            vp: &self.vp,
        }
    }
}

/// Whose something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// This node's: it decides.
    Mine,
    /// Another's, or was: where its lease has run out ([`Peer::is_live`]), whoever wants to go on adopts its share first.
    Elsewhere(Peer),
}

/// Who holds a share, as the store had it at the moment of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its share: what [`Fleet::adopt`] takes. Those that it has adopted go with it.
    pub share: ShareNo,
    /// What it is known by from one process to the next. Empty: it has given its share back, and anybody may have it.
    pub node: String,
    /// What it calls itself, for people.
    pub name: String,
    /// What it says of itself to the others: see [`Fleet::say`].
    pub card: String,
    /// Since when it holds the share, by the database's clock.
    pub since: Timestamp,
    /// When the store was asked this, by the database's clock.
    pub asked_at: Timestamp,
    /// How much is left of its lease, by the database's clock; zero: it has run out, and the share may be adopted.
    pub lease_left: Duration,
    /// Whether it is this node.
    pub is_me: bool,
}

impl Peer {
    /// Whether its lease has not run out.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.lease_left.is_zero()
    }
}

/// What came with a share. Whoever adopts it knows its missions' heads already.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// It, and those that it brought: ascending.
    pub shares: Vec<ShareNo>,
    /// Missions that have no readable head, oldest first: they are among [`crate::Log::headless`] now.
    pub headless: Vec<MissionNo>,
    /// How far the deliveries of its missions are that are not over, or of which something was skipped; oldest first.
    pub cursors: Vec<(MissionNo, Cursor)>,
    /// How long its missions had been running: what [`crate::Log::clocks`] says of them.
    pub clocks: Vec<(MissionNo, u64)>,
    /// The schedules that are this node's now, by name.
    pub schedules: Vec<String>,
    /// What was booked there: [`crate::Log::balances`] has it, with what is booked here, as one sum.
    pub balances: Vec<(Account, Balance)>,
}

/// Why a share was not adopted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// Its holder is there: the lease has not run out, or only while this node was not heard either, for half a lease after that.
    #[error(
        "share {share} is held by node {name}, whose lease has not run out, or which is given time to be heard again"
    )]
    Held {
        /// Which.
        share: ShareNo,
        /// What its holder calls itself.
        name: String,
    },
    /// There is no such share to adopt: another one was faster, or it is this node's, or there never was one.
    #[error("share {share} is nobody's to adopt: somebody else was faster, or it is this node's already")]
    Gone {
        /// Which.
        share: ShareNo,
    },
    /// A newer Sortie wrote rows that cannot be read here.
    #[error(
        "share {share} has rows of format {found}, and this sortie knows format {known} at most: a newer one may adopt it"
    )]
    NewerFormat {
        /// Which.
        share: ShareNo,
        /// What is there.
        found: u64,
        /// The newest that is known here.
        known: u64,
    },
    /// This log has failed, or does not know what became of it: it takes nothing.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// It is this node's now, but cannot be read: this log fails, and the node goes on with it when it starts again.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Others on the same store: what a [`crate::Log`] of many has besides.
pub trait Fleet: Debug + Send + Sync {
    /// The share that this log began with: its own, if it adopts none.
    fn share(&self) -> ShareNo;

    /// Decides for the whole store whose a mission is, before it is admitted: [`Owner::Mine`] where its VP, its name and its key are this
    /// node's from now on, or have been. Where one of them is another's, nothing was taken. It may be asked again at any time. Does not
    /// wait for a database that is away: that is [`WriteError::Overloaded`].
    fn claim(&self, keys: OwnedKeys) -> BoxFuture<'_, Result<Owner, WriteError>>;

    /// Who else has one of these names, or the VP, as [`Fleet::claim`] would tell it. Nothing is claimed. Nobody, and this node itself, are
    /// `None`. Blocks.
    ///
    /// # Errors
    /// As [`Fleet::holder`].
    fn other(&self, keys: &OwnedKeys) -> Result<Option<Peer>, ReadError>;

    /// The same as a claim of a schedule, before it is made: all nodes of a store have one set of names.
    fn claim_schedule(&self, id: String) -> BoxFuture<'_, Result<Owner, WriteError>>;

    /// Who has the mission of that name. Nobody, and this node itself, are `None`; while this one reads what it has adopted, it is whoever
    /// left it, whose lease has run out. Blocks.
    ///
    /// # Errors
    /// [`ReadError`] of the store as a whole.
    fn holder(&self, id: &MissionId) -> Result<Option<Peer>, ReadError>;

    /// The same of a schedule. Blocks.
    ///
    /// # Errors
    /// As [`Fleet::holder`].
    fn schedule_holder(&self, id: &str) -> Result<Option<Peer>, ReadError>;

    /// All that hold shares, or have left some that nobody has adopted yet; this node is among them. By share. Blocks.
    ///
    /// # Errors
    /// As [`Fleet::holder`].
    fn peers(&self) -> Result<Vec<Peer>, ReadError>;

    /// What those called themselves whose shares this log has adopted, or began with: by share. Blocks.
    ///
    /// # Errors
    /// As [`Fleet::holder`].
    fn adopted_from(&self) -> Result<Vec<String>, ReadError>;

    /// How far the feed of the whole store goes: each share's part, by share, all as of one moment. What is up to an end may be read with
    /// [`Fleet::feed_between`] from then on, and changes no more, but for what is removed with its missions. Blocks.
    ///
    /// # Errors
    /// As [`Fleet::holder`].
    fn feed_parts(&self) -> Result<Vec<FeedPart>, ReadError>;

    /// At most `limit` entries of a part of the feed, whoever holds it: behind `after`, up to `end`, of the share that `end` is of. Blocks.
    ///
    /// # Errors
    /// As [`Fleet::holder`]; [`ReadError::Row`] where one of them cannot be read.
    fn feed_between(&self, after: u64, end: u64, limit: usize) -> Result<Vec<FeedEntry>, ReadError>;

    /// The same as [`crate::Log::read`], of any node's mission. Blocks.
    ///
    /// # Errors
    /// As [`crate::Log::read`].
    fn records(&self, mission: MissionNo, first: u32, bytes: usize) -> Result<Vec<Stamped>, ReadError>;

    /// What this node says of itself to the others, in the place of what it said before. It is written with the next sign of life, which
    /// is a third of the lease away at most.
    fn say(&self, card: String);

    /// Takes a share whose holder's lease has run out, with all that it had adopted. Whoever began, or was not heard itself, less than half
    /// a lease ago adopts only what was given back: the others may come back as it did. From that moment nothing of what its holder still
    /// sends is taken. The heads of its missions are read, shown to `visit`, oldest first, and found by name from then on. Blocks.
    ///
    /// # Errors
    /// [`AdoptError`]; nothing was taken, but where it says so.
    fn adopt(&self, share: ShareNo, visit: &mut dyn FnMut(MissionNo, Head)) -> Result<Adopted, AdoptError>;

    /// All shares of which this log has read what they hold: ascending.
    fn shares(&self) -> Vec<ShareNo>;

    /// Says of each of these pools, of which none is there twice, what this node wants of it, and is told how it stands then, in the same order.
    /// Its part is the sum of those that these shares of its have: whoever adopts a share takes its part with it, once it names it here. Does
    /// not wait for a database that is away: that is [`WriteError::Overloaded`], and what was said may count all the same. Of a pool that
    /// cannot be read it holds what it keeps; [`WriteError::Pools`] is what trying again does not mend.
    fn exchange(&self, shares: Vec<ShareNo>, asks: Vec<PoolAsk>) -> BoxFuture<'_, Result<Vec<PoolSaid>, WriteError>>;

    /// The pools of which some of these shares have a part, and how much of what they have never comes back. Blocks.
    ///
    /// # Errors
    /// As [`Fleet::holder`].
    fn pools(&self, shares: &[ShareNo]) -> Result<Vec<(String, u64)>, ReadError>;

    /// Once this log is closed its shares are anybody's at once. Without it they are kept for this node until its lease has run out:
    /// it may only be starting again.
    fn give_back(&self);

    /// For how long from now on it is certain that nobody has adopted what is this node's: by a clock of this machine that goes on while
    /// the machine sleeps, less a margin. Zero: it is not.
    fn certain_for(&self) -> Duration;

    /// Resolves once it is certain that nobody has adopted what is this node's; by a sign of life, where need be. What has an effect that
    /// nobody may have twice is done after it, and within [`Fleet::certain_for`].
    ///
    /// It waits while the database is away.
    fn sure(&self) -> BoxFuture<'_, Result<(), WriteError>>;
}

/// The parts of the feed, from all shares, ascending: each with the one whose holder goes on with it, and the last position of whoever holds
/// it, or held it last.
///
/// Whoever holds several writes into the greatest: the others are over, and how far they go does not matter any more.
pub(crate) fn parts(shares: &[(ShareNo, ShareNo, u64)]) -> Vec<FeedPart> {
    let (mut greatest, mut ends) = (BTreeMap::new(), BTreeMap::new());
    for (share, holder, position) in shares {
        greatest.insert(*holder, *share);
        let end = ends.entry(ShareNo::of(*position)).or_insert(*position);
        *end = (*end).max(*position);
    }
    let part = |(share, holder, _): &(ShareNo, ShareNo, u64)| {
        let (share, holder) = (*share, *holder);
        let is_over = greatest.get(&holder).is_some_and(|greatest| *greatest > share);
        let end = match is_over {
            true => ShareNo(share.0 + 1).floor() - 1,
            false => ends.get(&share).copied().unwrap_or(share.floor()),
        };
        FeedPart { share, holder, end, is_over }
    };
    shares.iter().map(part).collect()
}

/// What a lease is held for certain shorter than it lasts: for clocks that run at different speeds, and between asking and doing.
pub(crate) fn margin(lease: Duration) -> Duration {
    lease / 10
}

/// What ends a log whose share another has.
pub(crate) fn taken() -> WriteError {
    WriteError::TakenOver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_of_one_share_and_fits_into_what_json_can_tell_apart() {
        for (number, share) in [(0, 0), (1, 0), ((1 << BITS) - 1, 0), (1 << BITS, 1), ((5 << BITS) + 7, 5)] {
            assert_eq!(ShareNo::of(number), ShareNo(share), "{number}");
        }
        let greatest = ShareNo::MAX.floor() + (1 << BITS) - 1;
        assert_eq!((greatest, ShareNo::of(greatest)), ((1 << 53) - 1, ShareNo::MAX));
    }

    #[test]
    fn of_what_one_holds_the_greatest_goes_on_and_the_others_are_over() {
        let at = |share: u32, n: u64| ShareNo(share).floor() + n;
        let of = |shares: &[(u32, u32, u64)]| {
            let shares: Vec<_> = shares.iter().map(|(s, h, at)| (ShareNo(*s), ShareNo(*h), *at)).collect();
            parts(&shares).iter().map(|part| (part.end, part.is_over)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[(0, 0, at(0, 5)), (1, 1, at(1, 0))]), [(at(0, 5), false), (at(1, 0), false)]);
        // The first adopted the second, and has written into it since.
        assert_eq!(of(&[(0, 0, at(1, 9)), (1, 0, at(1, 4))]), [(at(1, 0) - 1, true), (at(1, 9), false)]);
        // The third adopted the first, with what that had, and has written nothing.
        let parts = of(&[(0, 2, at(1, 9)), (1, 2, at(1, 4)), (2, 2, at(2, 0)), (3, 3, at(3, 1))]);
        assert_eq!(parts, [(at(1, 0) - 1, true), (at(2, 0) - 1, true), (at(2, 0), false), (at(3, 1), false)]);
    }
}
