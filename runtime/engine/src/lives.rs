//! The missions in memory, and how one comes there.
//!
//! Owned here: the map, in shards so that missions do not wait for each other, and that nobody loads a mission twice. No shard is
//! held over a read: whoever wants a mission that somebody is loading waits for that one mission. Never here: what is in the log.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_contract::MissionNo;
use sortie_mission::Mission;

use super::live::Live;

/// The missions in memory.
pub(crate) struct Lives {
    shards: Vec<Mutex<Shard>>,
}

type Shard = FxHashMap<MissionNo, Place>;

/// Where a mission is.
enum Place {
    Here(Arc<Live>),
    /// Somebody brings it, and holds this until it is here or cannot be brought.
    Coming(Arc<Mutex<()>>),
}

impl Place {
    fn here(&self) -> Option<&Arc<Live>> {
        match self {
            Self::Here(live) => Some(live),
            Self::Coming(_) => None,
        }
    }
}

/// Enough that two busy cores rarely meet in one.
const SHARDS: u64 = 64;

impl Lives {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    fn shard(&self, no: MissionNo) -> &Mutex<Shard> {
        &self.shards[usize::try_from(no.0 % SHARDS).expect("a small number")]
    }

    /// The mission, if it is in memory.
    pub(crate) fn get(&self, no: MissionNo) -> Option<Arc<Live>> {
        self.shard(no).lock().get(&no).and_then(Place::here).cloned()
    }

    /// Whether others may have to be told of record `first` of a mission, or of one behind it: not, where it is in memory and knows
    /// better.
    pub(crate) fn may_tell(&self, no: MissionNo, first: u32) -> bool {
        self.shard(no).lock().get(&no).and_then(Place::here).is_none_or(|live| live.may_tell(first))
    }

    /// The mission; `load` brings it from the log if it is not in memory. Nobody can load it twice. Blocks.
    pub(crate) fn get_or_load<E>(&self, no: MissionNo, load: impl FnOnce() -> Result<Live, E>) -> Result<Arc<Live>, E> {
        let mine = Arc::new(Mutex::new(()));
        let loading = mine.lock();
        loop {
            let others = match self.shard(no).lock().entry(no) {
                Entry::Vacant(vacant) => {
                    vacant.insert(Place::Coming(Arc::clone(&mine)));
                    break;
                }
                Entry::Occupied(place) => match place.get() {
                    Place::Here(live) => return Ok(Arc::clone(live)),
                    Place::Coming(others) => Arc::clone(others),
                },
            };
            // Until it is here; or cannot be brought, and then it is looked for anew.
            drop(others.lock());
        }
        // Also where `load` panics: nobody waits for what does not come.
        let announced = Announced { lives: self, no };
        let loaded = load();
        let mut shard = self.shard(no).lock();
        let live = match shard.get(&no).and_then(Place::here) {
            // It was put in meanwhile.
            Some(live) => Ok(Arc::clone(live)),
            None => loaded.map(|live| {
                let live = Arc::new(live);
                shard.insert(no, Place::Here(Arc::clone(&live)));
                live
            }),
        };
        drop(shard);
        drop(announced);
        drop(loading);
        live
    }

    /// Puts a new mission in. Where somebody brought it first, from the log, theirs is the one.
    pub(crate) fn insert(&self, live: Live) -> Arc<Live> {
        let mut shard = self.shard(live.no).lock();
        if let Some(live) = shard.get(&live.no).and_then(Place::here) {
            return Arc::clone(live);
        }
        let live = Arc::new(live);
        shard.insert(live.no, Place::Here(Arc::clone(&live)));
        live
    }

    /// Lets go of a mission that nobody works with, so that waiting costs no memory. To be called only when everything
    /// that it recorded is on disk: the next one to want it reads it from there.
    pub(crate) fn release(&self, live: &Arc<Live>) {
        let mut shard = self.shard(live.no).lock();
        // Two: the map's and the caller's. Whoever else holds it calls this again. One that runs, or sleeps for a while, keeps
        // its run clock here.
        if !live.with(Mission::takes_run_time) && Arc::strong_count(live) <= 2 {
            shard.remove(&live.no);
        }
    }

    /// Those that nobody holds and nothing keeps here, to be let go of with [`Lives::forget`] once all that was recorded so
    /// far is on disk: whoever brought them in did not get to it.
    pub(crate) fn idle(&self) -> Vec<MissionNo> {
        let of = |shard: &Mutex<Shard>| {
            let shard = shard.lock();
            let here = shard.values().filter_map(Place::here);
            here.filter(|live| is_idle(live)).map(|live| live.no).collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(of).collect()
    }

    /// Lets go of a mission, if it is still idle.
    pub(crate) fn forget(&self, no: MissionNo) {
        let mut shard = self.shard(no).lock();
        if shard.get(&no).and_then(Place::here).is_some_and(is_idle) {
            shard.remove(&no);
        }
    }

    /// How long those have been running whose run clocks go, and whether any of them has its plugin in memory.
    pub(crate) fn run_times(&self, steady: Duration) -> (Vec<(MissionNo, u64)>, bool) {
        let (mut times, mut runs) = (Vec::new(), false);
        for shard in &self.shards {
            let shard = shard.lock();
            for live in shard.values().filter_map(Place::here) {
                let Some((ran_ms, has_run)) = live.run_time(steady) else { continue };
                times.push((live.no, ran_ms));
                runs |= has_run;
            }
        }
        (times, runs)
    }

    /// Takes a mission out, whoever holds it: it takes no commands any more.
    pub(crate) fn take_out(&self, no: MissionNo) {
        let mut shard = self.shard(no).lock();
        if matches!(shard.get(&no), Some(Place::Here(_))) {
            shard.remove(&no);
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Live>> {
        let of = |shard: &Mutex<Shard>| shard.lock().values().filter_map(Place::here).cloned().collect::<Vec<_>>();
        self.shards.iter().flat_map(of).collect()
    }
}

fn is_idle(live: &Arc<Live>) -> bool {
    Arc::strong_count(live) == 1 && !live.with(Mission::takes_run_time)
}

/// A mission that somebody said to bring.
struct Announced<'a> {
    lives: &'a Lives,
    no: MissionNo,
}

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        let mut shard = self.lives.shard(self.no).lock();
        if matches!(shard.get(&self.no), Some(Place::Coming(_))) {
            shard.remove(&self.no);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use sortie_contract::digest::Digest;
    use sortie_contract::envelope::{EffectiveBudget, Envelope};
    use sortie_contract::plugin::PluginIdentity;
    use sortie_contract::record::Accepted;
    use sortie_contract::{Record, Stamped, Timestamp};
    use sortie_journal::Head;

    use super::*;

    fn live(no: MissionNo) -> Live {
        let text = serde_json::json!({
            "mission_id": format!("m-{no}"), "vp_id": "vp", "source_instance_id": "s", "target_instance_id": "t",
            "mission_type": "automation", "objective": "o", "idempotency_key": "k", "trace_id": "t",
            "created_at": "2026-11-22T00:00:00Z",
        });
        let accepted = Accepted {
            envelope: text.to_string(),
            session: "vp.session".parse().expect("an id"),
            lane: "lane".parse().expect("an id"),
            plugin: PluginIdentity { name: "p".into(), version: "1.0.0".into(), digest: Digest::of(b"p") },
            budget: EffectiveBudget { runtime_ms_max: 1_000, llm_calls_max: None, cost_max: None },
            unknown_approvals: Vec::new(),
            warnings: Vec::new(),
        };
        let envelope = Envelope::parse(&text.to_string()).expect("valid").envelope;
        let (session, lane, at) = (accepted.session.clone(), accepted.lane.clone(), Timestamp::UNIX_EPOCH);
        let head = Head::accepted(&envelope, Digest::of(b"e"), session, lane, at);
        let record = Record::Accepted(Box::new(accepted));
        let mission = crate::begin(&Stamped { at, ran_ms: 0, record }).expect("a beginning");
        Live::new(no, mission, head, None, Duration::ZERO)
    }

    #[test]
    fn a_mission_that_is_being_read_holds_up_nobody_but_those_who_want_it() {
        let lives = Lives::new();
        let (slow, neighbour) = (MissionNo(1), MissionNo(1 + SHARDS));
        let (begun, begins) = mpsc::channel();
        let (finish, finishes) = mpsc::channel::<()>();
        let loads = AtomicUsize::new(0);
        thread::scope(|scope| {
            let (lives, loads) = (&lives, &loads);
            scope.spawn(move || {
                let load = || {
                    begun.send(()).expect("somebody waits");
                    finishes.recv().expect("told to");
                    loads.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, ()>(live(slow))
                };
                drop(lives.get_or_load(slow, load));
            });
            begins.recv().expect("it loads");
            // In the same shard, all of it while the other is being read.
            assert!(lives.get(slow).is_none());
            drop(lives.insert(live(neighbour)));
            assert!(lives.get_or_load(neighbour, || Err(())).is_ok());
            assert_eq!(lives.idle(), [neighbour]);
            let wanting: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let load = || {
                            loads.fetch_add(1, Ordering::Relaxed);
                            Ok::<_, ()>(live(slow))
                        };
                        lives.get_or_load(slow, load).expect("loaded")
                    })
                })
                .collect();
            finish.send(()).expect("it waits");
            let got: Vec<_> = wanting.into_iter().map(|wanting| wanting.join().expect("no panic")).collect();
            assert!(got.iter().all(|live| Arc::ptr_eq(live, &got[0])), "it is one");
        });
        assert_eq!(loads.into_inner(), 1, "nobody loads it twice");
    }

    #[test]
    fn what_cannot_be_loaded_is_tried_again_and_what_was_put_in_meanwhile_is_the_one() {
        let lives = Lives::new();
        let no = MissionNo(7);
        assert!(lives.get_or_load(no, || Err("unreadable")).is_err());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            drop(lives.get_or_load::<()>(no, || panic!("on purpose")));
        }));
        assert!(panicked.is_err());
        let mut put = None;
        let load = || {
            put = Some(lives.insert(live(no)));
            Ok::<_, ()>(live(no))
        };
        let loaded = lives.get_or_load(no, load).expect("loaded");
        assert!(Arc::ptr_eq(&loaded, &put.expect("put in")));
        assert!(Arc::ptr_eq(&loaded, &lives.insert(live(no))));
        drop(loaded);
    }
}
