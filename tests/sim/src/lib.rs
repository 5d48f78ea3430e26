//! The driver as it is shipped (`sortie-engine`), with everything around it simulated and all of it driven by one seed.
//!
//! A node hands its driver clocks, tasks, a log, a sandbox, tools, receivers and folders. Here it is handed others: one thread on which the
//! seed says which task goes on next, clocks that jump, the journal on a disk that loses power, plugins that run a script, tools
//! that fail, people who decide, receivers that are down. A crash is possible at any step, and in the middle of a commit. A seed
//! gives the same history each time. There is no driver in here: what is simulated is what is shipped.
//!
//! | file | what it is |
//! | --- | --- |
//! | `world` | who acts next |
//! | `life` | one life of a node, from its start to its end |
//! | `executor` | what the driver's tasks run on |
//! | `scene` | what all lives share: dice, clocks, the world outside |
//! | `guests`, `script` | plugins, and what they do |
//! | `tools`, `shop` | what stands for tools: those that are always there, and those that come and go |
//! | `models` | what stands for models and their providers, and what they were really paid |
//! | `receivers`, `store` | what stands for the network and folders |
//! | `people` | control planes and people: what they ask, and what must be true when they are answered |
//! | `outside` | who was told what, the effects of tools |
//! | `ledger` | the journal, read back |
//! | `envelope` | what is dispatched |
//! | `fleet` | another world, in which several nodes write one store: who acts next |
//! | `fleet/node` | one life of one of them, and the way from it to the store |
//! | `forks` | people who go on from a call of a mission, and what must be true of what they get |
//! | `kin` | missions that missions dispatch, and what must be true of them and of whoever dispatched them |
//! | `check`, `money` | the invariants of `docs/ARCHITECTURE.md` |
//! | `nights` | another world, in which schedules make the missions: who acts next |
//! | `nights/plan` | the schedules there |
//! | `nights/planners` | people who do something to schedules |
//! | `nights/sleepers` | plugins that take their time |
//! | `nights/book`, `nights/page` | what became of each time, read back from the journal and held against the recurrence |
//! | `panics` | what goes wrong in a task |
//! | `history` | what happened, in words and in numbers |

mod check;
mod envelope;
mod executor;
mod fleet;
mod forks;
mod guests;
mod history;
mod kin;
mod ledger;
mod life;
mod models;
mod money;
mod nights;
mod outside;
mod panics;
mod people;
mod receivers;
mod scene;
mod script;
mod shop;
mod store;
mod tools;
mod world;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::fleet::Fleet;
use crate::nights::Nights;
use crate::scene::Scene;
use crate::world::World;

/// What a history is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Missions that control planes dispatch, and all that happens within them: hours.
    Missions,
    /// The same, of plugins that have ten cents each and ask eight models at once, each of which may take three.
    Thrift,
    /// As the first, with people who fork what goes on and what has ended.
    Forks,
    /// As the first, of plugins that dispatch missions, which dispatch others.
    Families,
    /// As the first, of two or three nodes on one store, any of which may be asked: links that are cut, nodes that freeze.
    Fleet,
    /// Missions that schedules make, and what becomes of each of their times: months and years.
    Schedules,
}

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
pub fn run(about: About, seed: u64) -> Result<Outcome, Failure> {
    match about {
        About::Missions => lived(seed, World::new, World::scene, World::live),
        About::Thrift => lived(seed, World::thrifty, World::scene, World::live),
        About::Forks => lived(seed, World::forking, World::scene, World::live),
        About::Families => lived(seed, World::families, World::scene, World::live),
        About::Fleet => lived(seed, Fleet::new, Fleet::scene, Fleet::live),
        About::Schedules => lived(seed, Nights::new, Nights::scene, Nights::live),
    }
}

fn lived<W>(
    seed: u64,
    new: impl FnOnce(u64) -> W,
    scene: impl FnOnce(&W) -> &Scene,
    live: impl FnOnce(&mut W),
) -> Result<Outcome, Failure> {
    let mut world = new(seed);
    panics::watch();
    let ended = catch_unwind(AssertUnwindSafe(|| live(&mut world)));
    let history = scene(&world).take_history();
    let outcome = match ended {
        Ok(()) => Ok(Outcome { counts: history.counts, lines: history.lines }),
        Err(panic) => {
            let what = panics::first().unwrap_or_else(|| text_of(panic.as_ref()));
            // Nothing of it is to be touched again: a lock may be held for ever.
            std::mem::forget(world);
            Err(Failure { seed, what, lines: history.lines })
        }
    };
    panics::forget();
    outcome
}

/// Runs the histories of `count` seeds from `from` on, as many at once as there are processors. What happened in all of them,
/// added up.
///
/// # Errors
/// [`Failure`] of one seed in which something was wrong; the others are not gone on with.
pub fn run_all(about: About, from: u64, count: u64) -> Result<Counts, Failure> {
    let (next, sum) = (AtomicU64::new(from), Mutex::new(Ok(Counts::new())));
    let one = || loop {
        let seed = next.fetch_add(1, Relaxed);
        if seed >= from.saturating_add(count) {
            return;
        }
        let outcome = run(about, seed);
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
