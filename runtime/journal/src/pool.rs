//! What nodes of a store share out among themselves: **pools**, each so many of something, by name; each node holds a part of it.
//!
//! What a node holds, it alone decides about. Here is what becomes of it when one asks for more or gives some back, as a function of the
//! pool's row: the sum of what all hold passes the limit by nothing but what somebody has used already. Who lacks something stands in a
//! line: whoever has waited longest is served first, and nobody waits for one who could not do anything with what there is; but for some
//! seconds of each round ([`goes_by_age`]), in which those who need several pools at once get all of them.
//!
//! That is policy, and not the core's: it is reckoned of what a row says at the moment in which it is read, and nobody but the log knows rows.
//!
//! Never here: how much a node wants, and when it gives some back, which the driver says; and who may write the row.

use serde::{Deserialize, Serialize};

use crate::fleet::ShareNo;
use crate::seal::{self, SealError};

/// What a node says of its part of a pool. It is the whole of what it says: nothing of what it said before counts beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolAsk {
    /// Which pool.
    pub pool: String,
    /// How much there is of it for all, as this node has it configured, or [`PoolAsk::NO_LIMIT`]. The smallest of those counts that hold or
    /// lack some.
    pub limit: u64,
    /// How much it holds from now on at least: no more than what it was told it holds, but for what it has used already.
    pub keeps: u64,
    /// How much it lacks besides.
    pub lacks: u64,
    /// Less than this, of what it lacks, is of no use to it.
    pub least: u64,
    /// How much it would have besides, so that it need not ask so soon: of what nobody lacks it gets at most half.
    pub spare: u64,
    /// How much of what it keeps never comes back.
    pub used: u64,
    /// Since when the oldest has waited of what it lacks that for, by the store's clock, where that may need several pools at once: the same
    /// in each of them, and it does not change while that waits.
    pub since_ms: Option<i64>,
}

impl PoolAsk {
    /// Of a node that has no limit of it configured: how much there is others say, and where nobody does there is one of it.
    pub const NO_LIMIT: u64 = u64::MAX;
}

/// How a pool stands to a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolSaid {
    /// How much it holds.
    pub held: u64,
    /// How much the others hold.
    pub others_hold: u64,
    /// How much the others lack.
    pub others_lack: u64,
    /// How much of what the others hold never comes back.
    pub others_used: u64,
}

/// One that lacks something and has not said so for so long is not waited for.
const FORGOTTEN_MS: i64 = 15_000;

/// Whoever lacks something says so again after so long.
const AGAIN_MS: i64 = 5_000;

/// In each span of so long...
const ROUND_MS: i64 = 15_000;

/// ... those stand in the line for so long by the age of what they wait for who say it: see [`goes_by_age`]. That is time for each to
/// exchange several times, which it does once a second.
const BY_AGE_MS: i64 = 6_000;

/// What a share has of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    share: u32,
    limit: u64,
    held: u64,
    lacks: u64,
    least: u64,
    used: u64,
    /// Since when it has lacked something, by the clock of the store.
    since_ms: i64,
    /// When it said so last.
    said_ms: i64,
}

/// A pool, as the store has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pool {
    /// By share. Who holds nothing and lacks nothing is not there.
    parts: Vec<Part>,
}

/// Whether places in the line go by the age of what is waited for, and all that is free is kept for whoever is first.
///
/// Nodes that need two pools at once may each get one, give it back because another lacks it, and get the other instead, without end. By
/// age they stand in one order in all pools; then nobody gets anything again that the first lacks, which so has all that it needs, unless
/// that is in use. Between, what one holds in vain goes round: nothing lies idle for longer.
fn goes_by_age(now_ms: i64) -> bool {
    now_ms.rem_euclid(ROUND_MS) < BY_AGE_MS
}

/// How much there is, where these are the limits of those that hold or lack some.
fn limit(all: impl Iterator<Item = u64>) -> u64 {
    all.filter(|limit| *limit != PoolAsk::NO_LIMIT).min().unwrap_or(UNSAID)
}

/// A lane that no node has configured runs one mission at a time, of all of them.
const UNSAID: u64 = 1;

const VERSION: u8 = 1;

/// Room for a part.
const BYTES_EACH: usize = 32;

impl Part {
    /// Whether it is waited for.
    fn lacks_at(&self, now_ms: i64) -> bool {
        self.lacks > 0 && now_ms.saturating_sub(self.said_ms) < FORGOTTEN_MS
    }

    fn place(&self) -> (i64, u32) {
        (self.since_ms, self.share)
    }
}

impl Pool {
    /// What the node says whose shares these are, and that goes on in `me`. Parts of its other shares are its own from now on. How the
    /// pool stands to it then, and whether the row is another one.
    pub(crate) fn exchange(&mut self, now_ms: i64, shares: &[ShareNo], me: ShareNo, ask: &PoolAsk) -> (PoolSaid, bool) {
        let before = self.parts.clone();
        let own = before.iter().find(|part| part.share == me.0);
        self.parts.retain(|part| part.share != me.0 && !shares.contains(&ShareNo(part.share)));
        let sum = |of: &dyn Fn(&Part) -> u64| self.parts.iter().map(of).fold(0, u64::saturating_add);
        let lacking = |part: &Part| if part.lacks_at(now_ms) { part.lacks } else { 0 };
        let said = PoolSaid {
            held: 0,
            others_hold: sum(&|part| part.held),
            others_lack: sum(&lacking),
            others_used: sum(&|part| part.used),
        };
        let limit = limit(self.parts.iter().map(|part| part.limit).chain([ask.limit]));
        let mut left = limit.saturating_sub(said.others_hold).saturating_sub(ask.keeps);
        // Its place in the line: by the age of what it waits for, where it stood, or behind all.
        let by_age = ask.since_ms.filter(|_| goes_by_age(now_ms));
        let stood = own.filter(|part| part.lacks_at(now_ms)).map(|part| part.since_ms);
        let since_ms = by_age.or(stood).unwrap_or(now_ms);
        let mut line: Vec<&Part> = self.parts.iter().filter(|part| part.lacks_at(now_ms)).collect();
        line.sort_unstable_by_key(|part| part.place());
        let (first, behind) = line.split_at(line.partition_point(|part| part.place() < (since_ms, me.0)));
        for part in first {
            if by_age.is_some() || part.least <= left {
                left -= part.lacks.min(left);
            }
        }
        let granted = Some(ask.lacks.min(left)).filter(|granted| *granted >= ask.least).unwrap_or(0);
        let lacks = ask.lacks - granted;
        let wanted = behind.iter().map(|part| part.lacks).fold(0, u64::saturating_add);
        let free = (left - granted).saturating_sub(wanted);
        let spare = if lacks == 0 { ask.spare.min(free / 2) } else { 0 };
        let held = ask.keeps.saturating_add(granted).saturating_add(spare);
        if held > 0 || lacks > 0 {
            let mut part = Part {
                share: me.0,
                limit: ask.limit,
                held,
                lacks,
                least: ask.least.min(lacks),
                used: ask.used,
                // Who got something stands behind those that got nothing.
                since_ms: if granted > 0 && by_age.is_none() { now_ms } else { since_ms },
                said_ms: now_ms,
            };
            if let Some(own) = own
                && (lacks == 0 || now_ms.saturating_sub(own.said_ms) < AGAIN_MS)
            {
                let same = Part { since_ms: own.since_ms, said_ms: own.said_ms, ..part };
                if same == *own && (lacks == 0 || part.since_ms == own.since_ms) {
                    part = same;
                }
            }
            let at = self.parts.partition_point(|other| other.share < me.0);
            self.parts.insert(at, part);
        }
        (PoolSaid { held, ..said }, self.parts != before)
    }

    /// How much of what these shares have of it never comes back; nothing, where none has a part.
    pub(crate) fn used_by(&self, shares: &[ShareNo]) -> Option<u64> {
        let own = self.parts.iter().filter(|part| shares.contains(&ShareNo(part.share)));
        own.map(|part| part.used).reduce(u64::saturating_add)
    }

    /// Its row, under that name.
    pub(crate) fn encode(&self, name: &str) -> Vec<u8> {
        let room = seal::open(VERSION, self.parts.len() * BYTES_EACH);
        let bytes = postcard::to_extend(&self.parts, room).expect("a vector takes every row");
        seal::close(bytes, name.as_bytes())
    }

    pub(crate) fn decode(name: &str, bytes: &[u8]) -> Result<Self, SealError> {
        let (_, body) = seal::unseal(VERSION, name.as_bytes(), bytes)?;
        let parts = postcard::from_bytes(body).map_err(|_| SealError::Form)?;
        Ok(Self { parts })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: ShareNo = ShareNo(0);
    const B: ShareNo = ShareNo(1);
    const C: ShareNo = ShareNo(2);

    fn ask(keeps: u64, lacks: u64) -> PoolAsk {
        let least = lacks.min(1);
        PoolAsk { pool: "lane:x".to_owned(), limit: 4, keeps, lacks, least, spare: 0, used: 0, since_ms: None }
    }

    impl Pool {
        fn says(&mut self, now_ms: i64, me: ShareNo, ask: &PoolAsk) -> u64 {
            self.exchange(now_ms, &[me], me, ask).0.held
        }
    }

    /// A node with one call at a time that needs some of each of two pools, and follows the core's rule: while others lack some, it keeps
    /// only what begins.
    #[derive(Debug, Default)]
    struct Caller {
        held: [u64; 2],
        others_lack: [u64; 2],
        wants: Option<[u64; 2]>,
        since_ms: i64,
    }

    impl Caller {
        /// Whether its call is made, which has ended when it says something again.
        fn says(&mut self, now_ms: i64, me: ShareNo, limit: u64, pools: &mut [Pool; 2]) -> bool {
            let (wants, since_ms) = (self.wants.unwrap_or_default(), self.wants.map(|_| self.since_ms));
            for (at, pool) in pools.iter_mut().enumerate() {
                let keeps = if self.others_lack[at] > 0 { 0 } else { self.held[at].min(wants[at]) };
                let lacks = wants[at] - keeps;
                let ask = PoolAsk { limit, least: lacks, since_ms, ..ask(keeps, lacks) };
                let (said, _) = pool.exchange(now_ms, &[me], me, &ask);
                (self.held[at], self.others_lack[at]) = (said.held, said.others_lack);
            }
            let is_made = self.wants.is_some() && self.held[0] >= wants[0] && self.held[1] >= wants[1];
            if is_made {
                self.wants = None;
            }
            is_made
        }
    }

    #[test]
    fn of_two_that_need_two_pools_each_the_one_that_has_waited_longer_has_both_and_then_the_other() {
        let mut pools = [Pool::default(), Pool::default()];
        let caller = |since_ms| Caller { wants: Some([1, 1]), since_ms, ..Caller::default() };
        let (mut a, mut b, mut c) = (caller(10), caller(20), caller(0));
        let gives = PoolAsk { limit: 1, ..ask(0, 0) };
        assert!(c.says(0, C, 1, &mut pools));
        assert!(!a.says(10, A, 1, &mut pools) && !b.says(20, B, 1, &mut pools));
        // The one is free before the other, and goes to the first; who is told by then that another lacks it.
        pools[0].says(30, C, &gives);
        assert!(!a.says(40, A, 1, &mut pools) && !b.says(50, B, 1, &mut pools));
        pools[1].says(60, C, &gives);
        assert_eq!((a.held, a.others_lack, b.held), ([1, 0], [1, 1], [0, 0]));
        assert!(a.says(70, A, 1, &mut pools), "it keeps its place where it gives back what it could not use");
        assert!(!b.says(80, B, 1, &mut pools) && !a.says(90, A, 1, &mut pools));
        assert!(b.says(100, B, 1, &mut pools));
    }

    #[test]
    fn what_the_first_waits_for_lies_idle_for_some_seconds_and_no_longer() {
        let mut pool = Pool::default();
        let dear = PoolAsk { least: 4, since_ms: Some(0), ..ask(0, 4) };
        let small = PoolAsk { since_ms: Some(5), ..ask(0, 1) };
        assert_eq!(pool.says(10, A, &ask(0, 2)), 2);
        assert_eq!((pool.says(20, B, &dear), pool.says(30, C, &small)), (0, 0), "two are free, and kept for the first");
        assert_eq!((pool.says(BY_AGE_MS, B, &dear), pool.says(BY_AGE_MS + 1, C, &small)), (0, 1));
        let again = PoolAsk { keeps: 1, ..small };
        assert_eq!(pool.says(ROUND_MS, B, &dear), 0);
        assert_eq!(pool.says(ROUND_MS + 1, C, &again), 1);
    }

    #[test]
    fn who_lacks_is_served_in_the_order_of_waiting() {
        let mut pool = Pool::default();
        assert_eq!(pool.says(0, A, &ask(0, 4)), 4);
        assert_eq!((pool.says(10, B, &ask(0, 1)), pool.says(20, C, &ask(0, 1))), (0, 0));
        // What the first gives back it does not get at once, though it lacks it: others have waited.
        assert_eq!(pool.says(30, A, &ask(3, 1)), 3);
        assert_eq!(pool.says(40, C, &ask(0, 1)), 0, "it is kept for who came before");
        assert_eq!(pool.says(50, B, &ask(0, 1)), 1);
        assert_eq!(pool.says(60, A, &ask(2, 1)), 2);
        let (said, _) = pool.exchange(70, &[C], C, &ask(0, 1));
        assert_eq!(said, PoolSaid { held: 1, others_hold: 3, others_lack: 1, others_used: 0 });
        // One that does not say so any more is not waited for.
        assert_eq!(pool.says(80, B, &ask(0, 0)), 0);
        assert_eq!(pool.says(90, C, &ask(1, 1)), 1, "the first has waited longer");
        assert_eq!(pool.says(90 + FORGOTTEN_MS, C, &ask(1, 1)), 2);
    }

    #[test]
    fn nobody_waits_for_one_who_could_not_use_what_there_is() {
        let mut pool = Pool::default();
        assert_eq!(pool.says(0, A, &ask(0, 2)), 2);
        let dear = PoolAsk { lacks: 3, least: 3, ..ask(0, 3) };
        assert_eq!(pool.says(10, B, &dear), 0, "two are of no use to it");
        assert_eq!(pool.says(20, C, &ask(0, 1)), 1);
        assert_eq!(pool.says(30, A, &ask(0, 0)), 0);
        assert_eq!(pool.says(40, C, &ask(1, 1)), 1, "three are free, and it has waited for them");
        assert_eq!(pool.says(50, B, &dear), 3);
    }

    #[test]
    fn the_smallest_limit_counts_and_what_is_spare_is_half_of_what_nobody_lacks() {
        let mut pool = Pool::default();
        let wide = PoolAsk { limit: 100, spare: 60, ..ask(0, 0) };
        assert_eq!(pool.says(0, A, &wide), 50);
        assert_eq!(pool.says(10, B, &PoolAsk { limit: 60, lacks: 20, least: 20, ..wide.clone() }), 0, "ten are left");
        assert_eq!(pool.says(20, A, &PoolAsk { keeps: 5, ..wide }), 5 + 17, "of 55, 20 are lacked");
        assert_eq!(pool.says(30, B, &PoolAsk { limit: 60, ..ask(0, 20) }), 20);
    }

    #[test]
    fn who_has_a_lane_configured_says_how_wide_it_is_and_it_is_one_where_nobody_has() {
        const NONE: u64 = PoolAsk::NO_LIMIT;
        let cases = [
            ("nobody knows it", [NONE, NONE], 1),
            ("the first knows it", [3, NONE], 3),
            ("the second knows it", [NONE, 3], 3),
            ("both do", [5, 3], 3),
            ("it is one", [1, NONE], 1),
        ];
        for (what, [first, second], all) in cases {
            let mut pool = Pool::default();
            let held = pool.says(0, A, &PoolAsk { limit: first, ..ask(0, 1) });
            let more = pool.says(10, B, &PoolAsk { limit: second, ..ask(0, 9) });
            assert_eq!(held + more, all, "{what}");
        }
    }

    #[test]
    fn what_other_shares_of_a_node_had_is_its_own() {
        let mut pool = Pool::default();
        assert_eq!(pool.says(0, A, &ask(0, 3)), 3);
        assert_eq!(pool.says(10, B, &ask(0, 2)), 1);
        assert_eq!((pool.used_by(&[A]), pool.used_by(&[C])), (Some(0), None));
        assert_eq!(pool.exchange(20, &[A, B], B, &ask(1, 2)).0, PoolSaid { held: 3, ..PoolSaid::default() });
        assert_eq!(pool.used_by(&[A]), None);
        assert!(pool.exchange(30, &[A, B], B, &ask(0, 0)).1);
        assert_eq!(pool, Pool::default(), "who has nothing is not there");
    }

    #[test]
    fn what_was_used_stays_so_at_one_that_has_no_limit_of_it() {
        let (mut pool, ten) = (Pool::default(), PoolAsk { limit: 10, least: 10, ..ask(0, 10) });
        assert_eq!(pool.says(0, A, &ten), 10);
        pool.says(10, A, &PoolAsk { limit: 10, used: 9, ..ask(10, 0) });
        // The first is gone, and the second, which knows nothing of that budget, goes on with its missions.
        assert_eq!(pool.used_by(&[A, B]), Some(9));
        let kept = PoolAsk { limit: PoolAsk::NO_LIMIT, used: 9, ..ask(9, 0) };
        assert_eq!(pool.exchange(20, &[A, B], B, &kept).0.held, 9);
        assert_eq!((pool.used_by(&[A, B]), pool.used_by(&[A])), (Some(9), None));
        let (said, _) = pool.exchange(30, &[C], C, &ten);
        assert_eq!((said.held, said.others_used), (0, 9), "it wants ten, and one is left");
        assert_eq!(pool.says(40, C, &PoolAsk { limit: 10, ..ask(0, 1) }), 1);
    }

    #[test]
    fn who_says_the_same_again_changes_nothing_unless_it_waits() {
        let mut pool = Pool::default();
        pool.says(0, A, &ask(0, 4));
        assert!(!pool.exchange(60_000, &[A], A, &ask(4, 0)).1);
        assert!(pool.exchange(60_000, &[B], B, &ask(0, 1)).1);
        assert!(!pool.exchange(60_000 + AGAIN_MS - 1, &[B], B, &ask(0, 1)).1);
        assert!(pool.exchange(60_000 + AGAIN_MS, &[B], B, &ask(0, 1)).1, "it is still there");
    }

    #[test]
    fn a_pool_reads_back_under_its_name_and_damage_is_seen() {
        let mut pool = Pool::default();
        pool.says(7, A, &ask(0, 3));
        pool.says(9, C, &PoolAsk { used: 5, ..ask(u64::MAX, 1) });
        let row = pool.encode("lane:x");
        assert_eq!(Pool::decode("lane:x", &row), Ok(pool));
        assert_eq!(Pool::decode("lane:y", &row), Err(SealError::Checksum));
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Pool::decode("lane:x", &flipped).is_err(), "bit {bit}");
        }
    }

    proptest! {
        /// Whoever needs some of two pools at once gets it, however the nodes came to hold a part of it each.
        #[test]
        fn calls_that_need_two_pools_are_all_made(
            wants in prop::collection::vec((1_u64..=4, 1_u64..=4), 3..40),
            steps in prop::collection::vec((0_usize..3, 0_i64..900), 0..80),
            turn in 0_usize..3,
        ) {
            let (nodes, mut pools, mut now_ms) = ([A, B, C], [Pool::default(), Pool::default()], 0);
            let mut wants = wants.into_iter().map(|(x, y)| [x, y]);
            let mut callers: [Caller; 3] =
                std::array::from_fn(|_| Caller { wants: wants.next(), ..Caller::default() });
            for (node, passes) in steps {
                now_ms += passes;
                let caller = &mut callers[node];
                if caller.wants.is_none() {
                    (caller.wants, caller.since_ms) = (wants.next(), now_ms);
                }
                caller.says(now_ms, nodes[node], 4, &mut pools);
            }
            // Three such spans, and what is left of the one in which this begins.
            for step in 0..4 * ROUND_MS / 300 {
                now_ms += 300;
                let node = (turn + usize::try_from(step).expect("a few")) % 3;
                callers[node].says(now_ms, nodes[node], 4, &mut pools);
            }
            prop_assert!(callers.iter().all(|caller| caller.wants.is_none()), "{callers:?}");
        }

        /// Whatever nodes ask, with whatever limits, in whatever order: nobody is given more than the smallest limit leaves, everybody keeps
        /// what it keeps, and where one alone lacks something that is there, it gets it.
        #[test]
        fn nobody_is_given_what_is_not_there(
            steps in prop::collection::vec((0_u32..4, 0_u64..12, 0_u64..6, 0_u64..8, 1_u64..10, 0_i64..9_000), 1..200)
        ) {
            let (mut pool, mut holds, mut now) = (Pool::default(), [0_u64; 4], 0);
            for (node, gives, lacks, spare, limit, passes) in steps {
                now += passes;
                let me = ShareNo(node);
                let own = &mut holds[node as usize];
                let keeps = own.saturating_sub(gives);
                let ask = PoolAsk { limit, keeps, lacks, least: lacks.min(2), spare, ..ask(0, 0) };
                let (said, _) = pool.exchange(now, &[me], me, &ask);
                *own = said.held;
                prop_assert!(said.held >= keeps);
                prop_assert!(said.held <= keeps + lacks + spare);
                let smallest = pool.parts.iter().map(|part| part.limit).min().unwrap_or(limit);
                let all: u64 = holds.iter().sum();
                if said.held > keeps {
                    prop_assert!(all <= smallest, "{all} of {smallest}");
                } else if lacks > 0 && said.others_lack == 0 {
                    prop_assert!(all + ask.least > smallest, "it lacks what is free: {all} of {smallest}");
                }
                prop_assert_eq!(all, said.held + said.others_hold);
            }
        }
    }
}
