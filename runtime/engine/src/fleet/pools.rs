//! What nodes share out among themselves: the slots of lanes, and budgets wider than a mission.
//!
//! What this node holds of them the queue and the purses know, and take of it without asking anybody; how much they keep, ask for and give
//! back is the core's rule ([`sortie_mission::pool`]). Owned here: when there is something to say, and that what is given back is only
//! said once all that it was taken for is on disk: whoever goes on with this node's share must not find more taken than it holds.
//!
//! Never here: how much there is, which the log sees to ([`sortie_journal::Fleet::exchange`]).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select;
use sortie_contract::{LaneId, MissionNo, Timestamp};
use sortie_journal::{PoolAsk, PoolSaid, ShareNo, WriteError};
use sortie_mission::pool::{Offer, Others};
use sortie_mission::wider::{Bill, PartOf, PartOffer};

use crate::Engine;

/// How often somebody says again that it lacks some: at first, and once it has waited for long.
const LACKS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));

/// How often it is looked whether others lack what this node holds, and a new day has begun.
const LOOKS: Duration = Duration::from_secs(1);

/// What there is to say within so much time is said together.
const GATHERS: Duration = Duration::from_millis(5);

/// So many looks after a share has come, and no more, it is looked whether it has parts of pools that nobody here knows.
const STRAYS: u32 = 60;

/// By so much the store's clock may go away from where it was told before those who wait are put in line by it anew: whoever changes places
/// with another all the time may never have all that it needs.
const CLOCKS_MS: u64 = 5_000;

/// What a part is of, here.
enum Of {
    Lane(LaneId),
    Budget(PartOf),
    /// Nobody here wants any of it: what shares of this node had of it is given back, but for what they have used, which stays so.
    Nobody,
}

/// What there is to say of a part.
struct Says {
    of: Of,
    pool: String,
    limit: u64,
    offer: Offer,
    /// Since when the oldest call waits for some of it, by the store's clock.
    since_ms: Option<i64>,
}

impl Says {
    fn ask(self) -> (Of, PoolAsk) {
        let Self { of, pool, limit, offer, since_ms } = self;
        let Offer { keeps, lacks, least, spare, used, .. } = offer;
        (of, PoolAsk { pool, limit, keeps, lacks, least, spare, used, since_ms })
    }
}

/// What there is to say.
struct Asks {
    of: Vec<Of>,
    /// One for each of these.
    asks: Vec<PoolAsk>,
    /// Whether money is given back.
    gives: bool,
}

/// What the task keeps from one exchange to the next.
#[derive(Default)]
struct Sharing {
    /// All of this node's whose books are taken up.
    shares: Vec<ShareNo>,
    /// In how many looks there may be parts of theirs of pools that nobody here knows.
    strays: u32,
    /// Of these the store knows that this node has nothing.
    clean: BTreeSet<String>,
    /// For how long it has lacked some.
    lacked: Option<Duration>,
    /// By how much the store's clock is ahead of this node's.
    ahead_ms: i64,
    /// Why nothing is shared out, where that does not pass by itself: people were told.
    broken: Option<String>,
}

impl Sharing {
    /// Whether there is something to say of a pool.
    fn has_to_say(&self, pool: &str, offer: &Offer) -> bool {
        !offer.is_nothing() || !self.clean.contains(pool)
    }

    /// That it is so much now, as far as the two can be told apart.
    fn sets_clock(&mut self, ahead_ms: i64) {
        if self.ahead_ms.abs_diff(ahead_ms) > CLOCKS_MS {
            self.ahead_ms = ahead_ms;
        }
    }

    /// A moment of this node's clock, by the store's.
    fn by_store(&self, at: Timestamp) -> i64 {
        at.as_millisecond().saturating_add(self.ahead_ms)
    }

    /// So much is asked for: until the answer is there, nobody knows what the store has of it. What is never heard may have happened.
    fn asks(&mut self, asks: &[PoolAsk]) {
        for ask in asks {
            self.clean.remove(&ask.pool);
        }
    }

    /// What came of it.
    fn hears(&mut self, ask: PoolAsk, said: PoolSaid) {
        if said.held == 0 && ask.lacks == 0 {
            self.clean.insert(ask.pool);
        }
    }

    /// Whether it works: what does not pass by itself people are told, once, until it does.
    fn tells(&mut self, error: Option<&WriteError>) {
        // Of a node that ends because of it others say so.
        let is_passing = |error: &WriteError| {
            use WriteError::{Closed, Doubled, Overloaded, TakenOver};
            matches!(error, Overloaded | Closed | TakenOver | Doubled { .. })
        };
        let passes = error.is_none_or(is_passing);
        match error {
            None if self.broken.is_some() => {
                tracing::info!("lanes and budgets are shared out among the nodes of the store again");
            }
            None => {}
            Some(error) if passes || self.broken.is_some() => {
                let error = error as &dyn std::error::Error;
                tracing::debug!(error, "the other nodes of the store cannot be asked for lanes and budgets now");
            }
            Some(error) => {
                let error = error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    "lanes and budgets cannot be shared out: this node goes on with what it holds of them, and no more"
                );
            }
        }
        self.broken = match error {
            None => None,
            Some(error) if !passes => Some(error.to_string()),
            Some(_) => self.broken.take(),
        };
    }

    /// What was found of pools that nobody here knows is said, or there was nothing.
    fn has_looked(&mut self, at_strays: bool) {
        self.strays = self.strays.saturating_sub(u32::from(at_strays));
    }
}

impl Engine {
    /// Starts to share out with the other nodes of the store. Where this node has its store for itself there is nothing to start.
    pub(crate) fn start_pools(self: &Arc<Self>) {
        let Some(fleet) = self.log.fleet() else { return };
        let (engine, ambient) = (Arc::downgrade(self), Arc::clone(&self.ambient));
        let short = Arc::clone(self.desk.short());
        let mut sharing = Sharing { shares: fleet.shares(), strays: STRAYS, ..Sharing::default() };
        self.supervise("pools", async move {
            loop {
                let Some(engine) = engine.upgrade() else { return };
                let begun = ambient.steady();
                let outcome = engine.share_out(&mut sharing).await;
                sharing.tells(outcome.as_ref().err());
                engine.fleet.not_shared.lock().clone_from(&sharing.broken);
                let lacks = outcome.unwrap_or(true);
                drop(engine);
                let since = *sharing.lacked.get_or_insert(begun);
                let rest = if lacks {
                    (begun.saturating_sub(since) / 8).clamp(LACKS.0, LACKS.1)
                } else {
                    sharing.lacked = None;
                    LOOKS
                };
                select(ambient.sleep(rest), std::pin::pin!(short.notified())).await;
                ambient.sleep(GATHERS).await;
            }
        });
    }

    /// Why lanes and budgets are not shared out among the nodes of the store, where that does not pass by itself.
    #[must_use]
    pub fn not_shared(&self) -> Option<String> {
        self.fleet.not_shared.lock().clone()
    }

    /// Shares have come, and what was booked there is taken up.
    pub(super) fn has_come(&self, shares: &[ShareNo]) {
        self.fleet.came.lock().extend(shares);
        self.desk.short().notify_one();
    }

    /// Says what there is to say, and takes up what comes of it. Whether this node lacks some still.
    async fn share_out(self: &Arc<Self>, sharing: &mut Sharing) -> Result<bool, WriteError> {
        let Some(fleet) = self.log.fleet() else { return Ok(false) };
        // Before the books are looked at, which have what these had.
        let came = std::mem::take(&mut *self.fleet.came.lock());
        if !came.is_empty() {
            sharing.shares.extend(came);
            (sharing.strays, sharing.lacked) = (STRAYS, None);
            sharing.clean.clear();
        }
        let strays = self.strays(sharing).await;
        let at_strays = strays.is_some();
        let wall = self.ambient.wall();
        sharing.sets_clock(self.store_time().as_millisecond().saturating_sub(wall.as_millisecond()));
        // What a lane that is shut takes nothing of it keeps from nobody.
        let open = |(_, bill): &(MissionNo, Bill)| self.settings.hours.shut(&bill.lane, wall).is_none();
        let (waiting, bills): (Vec<MissionNo>, Vec<Bill>) =
            self.commit.put_off().bills().into_iter().filter(open).unzip();
        let Asks { of, asks, gives } = self.asks(sharing, strays.unwrap_or_default(), &bills);
        if asks.is_empty() {
            sharing.has_looked(at_strays);
            return Ok(false);
        }
        if gives {
            self.log.barrier()?.await?;
        }
        sharing.asks(&asks);
        let said = fleet.exchange(sharing.shares.clone(), asks.clone()).await?;
        sharing.has_looked(at_strays);
        let (mut lacks, mut runs) = (false, false);
        for ((of, ask), said) in of.into_iter().zip(asks).zip(said) {
            let PoolSaid { held, others_hold: hold, others_lack: lack, others_used: used } = said;
            let others = Others { hold, lack, used };
            lacks |= held < ask.keeps.saturating_add(ask.lacks);
            match of {
                Of::Lane(lane) => runs |= self.desk.take(&lane, held, others),
                Of::Budget(of) => self.commit.wider().take(of, held, others),
                Of::Nobody => {}
            }
            sharing.hears(ask, said);
        }
        if runs {
            self.pump();
        }
        for bill in self.commit.wider().covered(wall, &bills) {
            self.wake_at(waiting[bill], wall);
        }
        Ok(lacks)
    }

    /// What there is to say of each pool, while these calls wait for their payment.
    fn asks(&self, sharing: &Sharing, strays: Vec<(String, u64)>, bills: &[Bill]) -> Asks {
        let lanes = self.desk.offers(self.takes_turns(), &self.ambient);
        let of_lane = |(lane, limit, offer): (LaneId, Option<u64>, Offer)| {
            let limit = limit.unwrap_or(PoolAsk::NO_LIMIT);
            // Whoever waits for a slot needs nothing else at once: it stands where it asked first.
            Says { pool: format!("lane:{lane}"), of: Of::Lane(lane), limit, offer, since_ms: None }
        };
        let budgets = self.commit.wider().offers(self.ambient.wall(), bills);
        let gives = budgets.iter().any(|budget| budget.offer.gives);
        let of_budget = |PartOffer { of, pool, limit, offer, since }: PartOffer| {
            let since_ms = since.map(|since| sharing.by_store(since));
            Says { of: Of::Budget(of), pool, limit, offer, since_ms }
        };
        let mut all: Vec<Says> = lanes.into_iter().map(of_lane).chain(budgets.into_iter().map(of_budget)).collect();
        for (pool, used) in strays {
            // What is left of a span that is over counts until nobody can be in it any more.
            if !self.commit.wider().has_pool(&pool) && !all.iter().any(|known| known.pool == pool) {
                let offer = Offer { keeps: used, used, ..Offer::default() };
                all.push(Says { of: Of::Nobody, pool, limit: PoolAsk::NO_LIMIT, offer, since_ms: None });
            }
        }
        all.retain(|says| sharing.has_to_say(&says.pool, &says.offer));
        let (of, asks) = all.into_iter().map(Says::ask).unzip();
        Asks { of, asks, gives }
    }

    /// Pools of which shares of this node have parts: what a process before this one had, or a node that is gone, of what is not
    /// configured here; and how much of what these have never comes back. Nothing, where that need not be known any more, or cannot be
    /// known now.
    async fn strays(self: &Arc<Self>, sharing: &mut Sharing) -> Option<Vec<(String, u64)>> {
        if sharing.strays == 0 {
            return None;
        }
        let (engine, shares) = (Arc::clone(self), sharing.shares.clone());
        let found = self.ambient.unblock(move || engine.log.fleet()?.pools(&shares).ok()).await;
        let found: Vec<(String, u64)> = found.ok().flatten()?;
        sharing.clean.retain(|pool| !found.iter().any(|(name, _)| name == pool));
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(lacks: u64) -> PoolAsk {
        let (pool, least) = ("lane:x".to_owned(), lacks);
        PoolAsk { pool, limit: 2, keeps: 0, lacks, least, spare: 0, used: 0, since_ms: None }
    }

    #[test]
    fn what_was_asked_for_and_never_heard_is_said_again_though_there_is_nothing_to_say() {
        let (mut sharing, nothing) = (Sharing { strays: 2, ..Sharing::default() }, Offer::default());
        let says = |sharing: &Sharing| sharing.has_to_say("lane:x", &nothing);
        assert!(says(&sharing), "nobody knows what a process before this one had");
        sharing.asks(&[ask(0)]);
        assert!(says(&sharing));
        sharing.hears(ask(0), PoolSaid::default());
        assert!(!says(&sharing), "the store knows");
        assert!(sharing.has_to_say("lane:x", &Offer { lacks: 1, ..nothing }));
        // The answer does not come, and what wanted it is gone: the store may have given it all the same.
        sharing.asks(&[ask(1)]);
        assert!(says(&sharing));
        sharing.hears(ask(1), PoolSaid { held: 1, ..PoolSaid::default() });
        assert!(says(&sharing), "it is to be given back");
        sharing.asks(&[ask(0)]);
        sharing.hears(ask(0), PoolSaid::default());
        assert!(!says(&sharing));
    }

    #[test]
    fn who_waits_keeps_its_place_though_a_clock_goes_a_little_wrong() {
        let mut sharing = Sharing::default();
        for (ahead_ms, counts) in [(40, 0), (-4_000, 0), (-9_000, -9_000), (-5_000, -9_000), (0, 0)] {
            sharing.sets_clock(ahead_ms);
            assert_eq!(sharing.by_store(Timestamp::UNIX_EPOCH), counts, "{ahead_ms}");
        }
    }

    #[test]
    fn people_are_told_of_what_does_not_pass_until_it_works() {
        let mut sharing = Sharing::default();
        let broken = WriteError::Pools { why: "permission denied for table sortie_pools".into() };
        let steps = [
            (Some(WriteError::Overloaded), false),
            (Some(broken.clone()), true),
            (Some(WriteError::Overloaded), true),
            (Some(broken), true),
            (None, false),
            (Some(WriteError::Closed), false),
        ];
        for (step, (error, is_broken)) in steps.into_iter().enumerate() {
            sharing.tells(error.as_ref());
            assert_eq!(sharing.broken.is_some(), is_broken, "step {step}");
            let why = sharing.broken.as_deref().unwrap_or_default();
            assert_eq!(why.contains("permission denied"), is_broken, "step {step}: {why}");
        }
    }

    #[test]
    fn what_nobody_here_knows_is_looked_for_until_so_many_answers_have_come() {
        let mut sharing = Sharing { strays: 2, ..Sharing::default() };
        for (at_strays, left) in [(false, 2), (true, 1), (false, 1), (true, 0), (true, 0)] {
            sharing.has_looked(at_strays);
            assert_eq!(sharing.strays, left);
        }
    }
}
