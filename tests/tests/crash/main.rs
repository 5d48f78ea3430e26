//! The real binary, killed at random moments under load, again and again, in the middle of calls of every kind: nothing acknowledged is
//! lost, nothing ends twice, nothing with an effect is done twice without a word, nothing is spent beyond its budget, and nothing that a
//! killed node had started lives on.
//!
//! `KILLS` in the environment says how often, `FIRE_KILLS` how often around the fires of schedules; `SEED` repeats a run's moments as
//! far as an operating system lets one.

#![expect(clippy::disallowed_methods, reason = "tests watch a node from outside, with the clock of the outside")]

mod fires;

use std::time::Duration;

use sortie_tests::load::Kind;
use sortie_tests::{Load, Options};

/// Kills of a run, where nobody says otherwise.
const KILLS: u32 = 200;

/// The longest that a node lives before it is killed.
const LIFE_MS_MAX: u64 = 220;

/// One life in so many lasts until a mission has ended in it.
const LONG_LIFE_EVERY: u64 = 10;

/// One kill in so many has to be in the middle of a call of a kind, for each of them: twelve missions are on their way.
const KILLS_FOR_EACH_KIND: u64 = 50;

/// Numbers from a seed: SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_after_kill_nothing_is_lost_and_nothing_is_done_twice() {
    let kills = number("KILLS").unwrap_or(KILLS.into());
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("SEED={seed} KILLS={kills}");
    let mut random = Random(seed);
    let mut load = Load::of_all_kinds().await;
    // It is not the missions that kill it here.
    let mut node = load.node(Options::new().config("[limits]\ncrashes_alone = 1000")).await;
    for kill in 0..kills {
        // A machine may be too slow to come forward in so short a life, and a mission that never does is given up.
        if kill % LONG_LIFE_EVERY == 0 {
            load.press_until_one_ends(&node).await;
        }
        load.press(&node, Duration::from_millis(random.below(LIFE_MS_MAX))).await;
        node.kill();
        load.until_alone().await;
        node.restart().await;
    }
    let interrupted = load.finish(&node).await;
    eprintln!("{kills} kills; in the middle of calls, by their kind: {interrupted:?}");
    for kind in Kind::ALL {
        let times = interrupted.get(&kind).copied().unwrap_or_default() as u64;
        assert!(times >= kills / KILLS_FOR_EACH_KIND, "{kind:?}: {interrupted:?}");
    }
}
