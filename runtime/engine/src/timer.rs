//! Windows, heartbeats, run time: the one alarm clock. Its task only waits; what rings is seen to where blocking is allowed, each
//! mission by itself, so that one whose records take long to read holds up no other's window.
//!
//! Wall-clock alarms are compared with the wall clock each time, and never slept through in one piece: after a jump of
//! the clock or a suspended night, the alarm rings within [`NAP_MAX`].

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{Either, FutureExt as _, select, select_all};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use sortie_ambient::Joined;
use sortie_contract::{MissionNo, Timestamp};
use sortie_mission::Command;
use tokio::sync::Notify;

use super::Engine;
use super::desk::Look;
use super::live::{CommandError, Live, Wait};
use super::start::ROOM;

/// Longest sleep while something waits for the wall clock: how late a jump of it can be noticed.
const NAP_MAX: Duration = Duration::from_millis(250);

/// Missions that are seen to side by side.
const SEEN_TO_MAX: usize = 8;

/// Alarms of missions. One may ring more often than it must: a tick that finds nothing due changes nothing.
#[derive(Default)]
pub(crate) struct Timer {
    alarms: Mutex<Alarms>,
    /// By the steady clock, since when missions are out of memory that sleep and wait for people at once. Their run clocks stand
    /// still, and nothing else would know while they are not here.
    out_since: Mutex<FxHashMap<MissionNo, Duration>>,
    /// An alarm was set, or something was queued: what is next may be another thing.
    changed: Notify,
}

#[derive(Default)]
struct Alarms {
    wall: BTreeSet<(Timestamp, MissionNo)>,
    steady: BTreeSet<(Duration, MissionNo)>,
    /// What of each mission is in the two: at most one alarm of each kind.
    set: FxHashMap<MissionNo, Alarm>,
}

#[derive(Clone, Copy, Default)]
struct Alarm {
    wall: Option<Timestamp>,
    steady: Option<Duration>,
}

impl Alarms {
    /// Sets a mission's alarms in place of those that it had.
    fn set(&mut self, no: MissionNo, alarm: Alarm) {
        let before = self.set.remove(&no).unwrap_or_default();
        before.wall.map(|at| self.wall.remove(&(at, no)));
        before.steady.map(|at| self.steady.remove(&(at, no)));
        self.wall.extend(alarm.wall.map(|at| (at, no)));
        self.steady.extend(alarm.steady.map(|at| (at, no)));
        if alarm.wall.is_some() || alarm.steady.is_some() {
            self.set.insert(no, alarm);
        }
    }

    /// Takes out the missions whose alarm rings. They set a new one when they have been seen to.
    fn ringing(&mut self, wall: Timestamp, steady: Duration) -> Vec<MissionNo> {
        let by_wall = self.wall.iter().take_while(|(at, _)| *at <= wall).map(|(_, no)| *no);
        let by_steady = self.steady.iter().take_while(|(at, _)| *at <= steady).map(|(_, no)| *no);
        let ringing: Vec<MissionNo> = by_wall.chain(by_steady).collect();
        ringing.iter().for_each(|no| self.set(*no, Alarm::default()));
        ringing
    }

    /// How long nothing can happen.
    fn nap(&self, wall: Timestamp, steady: Duration, queue: Option<Timestamp>) -> Duration {
        let next_wall = self.wall.first().map(|(at, _)| *at).into_iter().chain(queue).min();
        let until_wall = next_wall.map(|at| until(wall, at).min(NAP_MAX));
        let until_steady = self.steady.first().map(|(at, _)| at.saturating_sub(steady));
        until_wall.into_iter().chain(until_steady).min().unwrap_or(NAP_MAX)
    }
}

fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

impl Timer {
    /// By the steady clock, since when a mission is out of memory, where this has to be known.
    pub(crate) fn out_since(&self, no: MissionNo) -> Option<Duration> {
        self.out_since.lock().get(&no).copied()
    }

    /// Keeps in mind since when a mission is out of memory, or forgets it.
    pub(crate) fn keep_out_since(&self, no: MissionNo, since: Option<Duration>) {
        let mut all = self.out_since.lock();
        match since {
            Some(since) => drop(all.insert(no, since)),
            None => drop(all.remove(&no)),
        }
    }

    /// Says that the queue has changed.
    pub(crate) fn nudge(&self) {
        self.changed.notify_one();
    }
}

impl Engine {
    /// Starts the alarm clock; it ends with the engine.
    pub(super) fn start_timer(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        let mut round = Round::default();
        self.supervise("timer", async move { while round.goes_on(&engine).await {} });
    }

    /// Sets the alarms of a mission; takes them away, once it has ended.
    pub(crate) fn watch(&self, live: &Live) {
        // Looked at under the lock: what another thread saw before must not replace what this one sets.
        let mut alarms = self.timer.alarms.lock();
        let (due, now) = live.next_due(self);
        let by_run_time = due.ran_ms.map(|at| at.saturating_sub(now.ran_ms));
        let by_time_out = due.out_ms.zip(now.out_ms).map(|(at, out)| at.saturating_sub(out));
        let left = by_run_time.into_iter().chain(by_time_out).min();
        let steady = left.map(|ms| self.ambient.steady() + Duration::from_millis(ms));
        alarms.set(live.no, Alarm { wall: due.wall, steady });
        self.timer.changed.notify_one();
    }

    /// Sets an alarm for a mission that is out of memory.
    pub(crate) fn wake_at(&self, no: MissionNo, at: Timestamp) {
        self.timer.alarms.lock().set(no, Alarm { wall: Some(at), steady: None });
        self.timer.changed.notify_one();
    }

    /// Takes the alarms of a mission away.
    pub(crate) fn silence(&self, no: MissionNo) {
        self.timer.alarms.lock().set(no, Alarm::default());
        self.timer.keep_out_since(no, None);
    }

    /// Whether a mission that is not in memory may have something due.
    fn sleeps(&self, no: MissionNo) -> bool {
        // One whose head cannot be read is looked at.
        self.log.head(no).map_or(true, |head| head.is_some_and(|head| !head.status.is_final()))
    }

    /// Lets the core see what is due for a mission. Blocks.
    pub(crate) fn tick(self: &Arc<Self>, no: MissionNo) {
        let live = match self.live(no) {
            Ok(live) => live,
            Err(error) => {
                tracing::error!(%no, error = &error as &dyn std::error::Error, "a mission that is due cannot be read");
                return;
            }
        };
        // Nobody could have answered.
        let unheard = self.withdraw_unheard(&live);
        match unheard.and_then(|()| self.command(&live, Command::Tick, Wait::Durable)) {
            Ok(taken) if taken.status.is_final() => self.release_later(live, taken.receipt),
            Ok(taken) => {
                let asked = self.ask_about_broken_off(&live);
                self.watch(&live);
                self.go_on(&live);
                // What was asked is behind what the tick came to.
                self.release_later(live, asked.or(taken.receipt));
            }
            // What is due stays due. Overload passes, and the next round must not find it at once.
            Err(CommandError::Journal(sortie_journal::WriteError::Overloaded)) => {
                self.ambient.pause(ROOM);
                self.watch(&live);
            }
            Err(_) => {}
        }
    }

    /// Gives a suspended mission a turn, where what it waits for has come.
    pub(crate) fn go_on(self: &Arc<Self>, live: &Live) {
        if live.wants_turn(self) {
            self.desk.push(&live.waiting());
            self.pump();
        }
    }

    /// Lets go of a mission once its end is on disk.
    fn release_later(self: &Arc<Self>, live: Arc<Live>, receipt: Option<sortie_journal::Receipt>) {
        let engine = Arc::clone(self);
        let release = async move {
            if let Some(receipt) = receipt
                && receipt.await.is_err()
            {
                return;
            }
            engine.lives.release(&live);
        };
        self.attend("release", release);
    }
}

/// What the clock has rung for and is not done with.
#[derive(Default)]
struct Round {
    /// Nobody sees to them yet; those of the queue have lost their window.
    due: VecDeque<Due>,
    /// Seen to just now.
    seen_to: Vec<Joined<()>>,
}

enum Due {
    Alarm(MissionNo),
    Expired(MissionNo),
}

impl Due {
    /// Blocks.
    fn see_to(self, engine: &Arc<Engine>) {
        match self {
            Self::Expired(no) => engine.tick(no),
            // An alarm of a mission that has ended since rings for nobody.
            Self::Alarm(no) if engine.lives.get(no).is_some() || engine.sleeps(no) => engine.tick(no),
            Self::Alarm(_) => {}
        }
    }
}

impl Round {
    /// Waits until something is due or done, and has it seen to. False when the engine is gone.
    async fn goes_on(&mut self, engine: &Weak<Engine>) -> bool {
        let Some(engine) = engine.upgrade() else { return false };
        if engine.is_stopping() {
            return false;
        }
        let Look { wall, expired, next_due: queue } = engine.desk.look(&engine.ambient);
        let steady = engine.ambient.steady();
        // What is due already is seen to; it says when it is due again.
        let schedules = match engine.schedules.next_due() {
            Some(due) if due <= wall => {
                engine.schedules.nudge();
                None
            }
            due => due,
        };
        engine.pump();
        let (ringing, nap) = {
            let mut alarms = engine.timer.alarms.lock();
            (alarms.ringing(wall, steady), alarms.nap(wall, steady, queue.into_iter().chain(schedules).min()))
        };
        self.due.extend(ringing.into_iter().map(Due::Alarm).chain(expired.into_iter().map(Due::Expired)));
        while self.seen_to.len() < SEEN_TO_MAX
            && let Some(due) = self.due.pop_front()
        {
            let seeing = Arc::clone(&engine);
            self.seen_to.push(engine.ambient.unblock(move || due.see_to(&seeing)));
        }
        // A change since the alarms were looked at has left its notice.
        let wait = select(engine.ambient.sleep(nap), engine.timer.changed.notified().boxed());
        if self.seen_to.is_empty() {
            wait.await;
            return true;
        }
        let (outcome, done) = match select(wait, select_all(&mut self.seen_to)).await {
            Either::Left(_) => return true,
            Either::Right(((outcome, done, _), _)) => (outcome, done),
        };
        drop(self.seen_to.swap_remove(done));
        // What panicked ends this task, and so the node: a window that nobody closes is worse than a restart.
        outcome.is_ok() || engine.is_stopping()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn by_wall(second: i64) -> Alarm {
        Alarm { wall: Some(at(second)), steady: None }
    }

    fn by_steady(ms: u64) -> Alarm {
        Alarm { wall: None, steady: Some(Duration::from_millis(ms)) }
    }

    #[test]
    fn a_nap_ends_with_the_first_thing_due_and_never_sleeps_through_a_jump() {
        let mut alarms = Alarms::default();
        let steady = Duration::from_secs(10);
        assert_eq!(alarms.nap(at(100), steady, None), NAP_MAX);
        alarms.set(MissionNo(1), by_wall(1_000));
        assert_eq!(alarms.nap(at(100), steady, None), NAP_MAX, "an hour is slept in pieces");
        alarms.set(MissionNo(2), by_steady(10_020));
        assert_eq!(alarms.nap(at(100), steady, None), Duration::from_millis(20));
        assert_eq!(alarms.nap(at(100), steady, Some(at(100))), Duration::ZERO);
        assert_eq!(alarms.nap(at(100), steady, Some(at(50))), Duration::ZERO, "overdue is now");
    }

    #[test]
    fn what_is_due_rings_once() {
        let mut alarms = Alarms::default();
        alarms.set(MissionNo(1), by_wall(100));
        alarms.set(MissionNo(2), by_wall(200));
        alarms.set(MissionNo(3), by_steady(1_000));
        alarms.set(MissionNo(4), by_wall(50));
        alarms.set(MissionNo(4), Alarm::default());
        assert_eq!(alarms.ringing(at(150), Duration::from_secs(2)), [MissionNo(1), MissionNo(3)]);
        assert!(alarms.ringing(at(150), Duration::from_secs(2)).is_empty());
    }
}
