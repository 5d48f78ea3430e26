//! A simulated node: everything that can go wrong between a dispatch and the last delivery, driven by one seed.
//!
//! The core (`sortie-mission`) and the journal (`sortie-journal`, on its simulated disk) are the real ones. Around them
//! stands what a node is otherwise made of, small enough to be run step by step: control planes that dispatch, plugins that
//! run a script, tools that fail, people who decide, receivers that are down. One random number generator chooses who acts
//! next, so a seed gives the same history each time. A crash is possible at any step, and in the middle of a commit.
//!
//! | file | what it is |
//! | --- | --- |
//! | `world` | who acts next |
//! | `node` | the shell around the core: commands, commits, turns, alarms, recovery |
//! | `side` | one mission in the node's memory |
//! | `plugin`, `run`, `script` | a plugin: what it asks, its run, what it does |
//! | `act` | what tools, people and receivers do |
//! | `outside` | what a crash does not touch: clients, the effects of tools, receivers |
//! | `envelope` | what is dispatched |
//! | `check` | the invariants of `docs/ARCHITECTURE.md` |
//! | `history` | what happened, in words and in numbers |

mod act;
mod check;
mod envelope;
mod history;
mod node;
mod outside;
mod plugin;
mod run;
mod script;
mod side;
mod world;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::world::World;

/// How often each kind of thing happened: a simulation in which nothing happens proves nothing.
pub type Counts = BTreeMap<&'static str, u64>;

/// A history in which something was wrong.
#[derive(Debug)]
pub struct Failure {
    /// Gives the same history again.
    pub seed: u64,
    /// What was wrong.
    pub what: String,
    /// Everything that happened until then, a line each.
    pub lines: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f, "\nseed {}: {}", self.seed, self.what)
    }
}

/// What became of a seed.
#[derive(Debug)]
pub struct Outcome {
    /// How often each kind of thing happened.
    pub counts: Counts,
    /// What happened, a line each.
    pub lines: Vec<String>,
}

/// Runs the history of a seed to its end: all that was acknowledged is over, and delivered.
///
/// # Errors
/// [`Failure`] at the first step after which an invariant does not hold.
pub fn run(seed: u64) -> Result<Outcome, Failure> {
    let mut world = World::new(seed);
    let ended = catch_unwind(AssertUnwindSafe(|| world.live()));
    let history = world.into_history();
    match ended {
        Ok(()) => Ok(Outcome { counts: history.counts, lines: history.lines }),
        Err(panic) => Err(Failure { seed, what: text_of(panic.as_ref()), lines: history.lines }),
    }
}

/// Runs the histories of `count` seeds from `from` on, as many at once as there are processors. What happened in all of them,
/// added up.
///
/// # Errors
/// [`Failure`] of one seed in which something was wrong; the others are not gone on with.
pub fn run_all(from: u64, count: u64) -> Result<Counts, Failure> {
    let (next, sum) = (AtomicU64::new(from), Mutex::new(Ok(Counts::new())));
    let one = || loop {
        let seed = next.fetch_add(1, Relaxed);
        if seed >= from.saturating_add(count) {
            return;
        }
        let outcome = run(seed);
        let mut sum = sum.lock().expect("a history that fails is caught");
        match (outcome, sum.as_mut()) {
            (Ok(outcome), Ok(counts)) => {
                for (what, n) in outcome.counts {
                    *counts.entry(what).or_default() += n;
                }
            }
            (Err(failure), Ok(_)) => *sum = Err(failure),
            (_, Err(_)) => return,
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(one))));
    sum.into_inner().expect("a history that fails is caught")
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
