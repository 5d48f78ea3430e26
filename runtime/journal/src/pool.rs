//! What nodes of a store share out among themselves: **pools**, each so many of something, by name; each node holds a part of it.
//!
//! What a node holds, it alone decides about. Here is what becomes of it when one asks for more or gives some back, as a function of the
//! pool's row: the sum of what all hold passes the limit by nothing but what somebody has used already. Who lacks something stands in a
//! line: whoever has waited longest is served first, and nobody waits for one who could not do anything with what there is.
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
    /// How much there is of it for all, as this node has it configured. The smallest of those counts that hold or lack some.
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
        let limit = self.parts.iter().map(|part| part.limit).fold(ask.limit, u64::min);
        let mut left = limit.saturating_sub(said.others_hold).saturating_sub(ask.keeps);
        // Its place in the line: where it stood, or behind all.
        let since_ms = own.filter(|part| part.lacks_at(now_ms)).map_or(now_ms, |part| part.since_ms);
        let mut line: Vec<&Part> = self.parts.iter().filter(|part| part.lacks_at(now_ms)).collect();
        line.sort_unstable_by_key(|part| part.place());
        let (first, behind) = line.split_at(line.partition_point(|part| part.place() < (since_ms, me.0)));
        for part in first {
            if part.least <= left {
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
                since_ms: if granted > 0 { now_ms } else { since_ms },
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

    /// Whether one of these shares has a part of it.
    pub(crate) fn has(&self, shares: &[ShareNo]) -> bool {
        self.parts.iter().any(|part| shares.contains(&ShareNo(part.share)))
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
        PoolAsk { pool: "lane:x".to_owned(), limit: 4, keeps, lacks, least, spare: 0, used: 0 }
    }

    impl Pool {
        fn says(&mut self, now_ms: i64, me: ShareNo, ask: &PoolAsk) -> u64 {
            self.exchange(now_ms, &[me], me, ask).0.held
        }
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
    fn what_other_shares_of_a_node_had_is_its_own() {
        let mut pool = Pool::default();
        assert_eq!(pool.says(0, A, &ask(0, 3)), 3);
        assert_eq!(pool.says(10, B, &ask(0, 2)), 1);
        assert!(pool.has(&[A]) && !pool.has(&[C]));
        assert_eq!(pool.exchange(20, &[A, B], B, &ask(1, 2)).0, PoolSaid { held: 3, ..PoolSaid::default() });
        assert!(!pool.has(&[A]));
        assert!(pool.exchange(30, &[A, B], B, &ask(0, 0)).1);
        assert_eq!(pool, Pool::default(), "who has nothing is not there");
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
