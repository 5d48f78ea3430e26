//! Windows, heartbeats, run time: an alarm clock on a thread of its own, so that no busy runtime delays it.
//!
//! Wall-clock alarms are compared with the wall clock each time, and never slept through in one piece: after a jump of
//! the clock or a suspended night, the alarm rings within [`NAP_MAX`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use sortie_contract::{MissionNo, Timestamp};
use sortie_mission::Command;

use super::Engine;
use super::live::{CommandError, Live, Wait};

/// Longest sleep while something waits for the wall clock: how late a jump of it can be noticed.
const NAP_MAX: Duration = Duration::from_millis(250);

/// Alarms of running missions. One may ring more often than it must: a tick that finds nothing due changes nothing.
#[derive(Default)]
pub(crate) struct Timer {
    alarms: Mutex<Alarms>,
    changed: Condvar,
}

#[derive(Default)]
struct Alarms {
    wall: BinaryHeap<Reverse<(Timestamp, MissionNo)>>,
    steady: BinaryHeap<Reverse<(Duration, MissionNo)>>,
    /// Something was queued: its window may be the next thing to happen.
    nudged: bool,
}

impl Alarms {
    /// Takes out the missions whose alarm rings.
    fn ringing(&mut self, wall: Timestamp, steady: Duration) -> Vec<MissionNo> {
        let mut ringing = Vec::new();
        while self.wall.peek().is_some_and(|Reverse((at, _))| *at <= wall) {
            ringing.extend(self.wall.pop().map(|Reverse((_, no))| no));
        }
        while self.steady.peek().is_some_and(|Reverse((at, _))| *at <= steady) {
            ringing.extend(self.steady.pop().map(|Reverse((_, no))| no));
        }
        ringing
    }

    /// How long nothing can happen.
    fn nap(&self, wall: Timestamp, steady: Duration, queue: Option<Timestamp>) -> Duration {
        let next_wall = self.wall.peek().map(|Reverse((at, _))| *at).into_iter().chain(queue).min();
        let until_wall = next_wall.map(|at| until(wall, at).min(NAP_MAX));
        let until_steady = self.steady.peek().map(|Reverse((at, _))| at.saturating_sub(steady));
        until_wall.into_iter().chain(until_steady).min().unwrap_or(NAP_MAX)
    }
}

fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

impl Timer {
    /// Says that the queue has changed.
    pub(crate) fn nudge(&self) {
        self.alarms.lock().nudged = true;
        self.changed.notify_one();
    }
}

impl Engine {
    /// Starts the alarm clock; it ends with the engine.
    pub(crate) fn start_timer(self: &Arc<Self>) -> std::io::Result<()> {
        let engine = Arc::downgrade(self);
        std::thread::Builder::new().name("sortie-timer".to_owned()).spawn(move || while ring(&engine) {})?;
        Ok(())
    }

    /// Sets the alarm of a running mission.
    pub(crate) fn watch(&self, live: &Live) {
        let (due, now) = live.next_due(self.clock.as_ref());
        let mut alarms = self.timer.alarms.lock();
        alarms.wall.extend(due.wall.map(|at| Reverse((at, live.no))));
        let steady = due.ran_ms.map(|at| self.clock.steady() + Duration::from_millis(at.saturating_sub(now.ran_ms)));
        alarms.steady.extend(steady.map(|at| Reverse((at, live.no))));
        drop(alarms);
        self.timer.changed.notify_one();
    }

    /// Lets the core see what is due for a mission.
    pub(crate) fn tick(self: &Arc<Self>, no: MissionNo) {
        let live = match self.live(no) {
            Ok(live) => live,
            Err(error) => {
                tracing::error!(%no, error = &error as &dyn std::error::Error, "a mission that is due cannot be read");
                return;
            }
        };
        match self.command(&live, Command::Tick, Wait::Durable) {
            Ok(taken) if taken.status.is_final() => self.release_later(live, taken.receipt),
            // Overload passes; what is due stays due.
            Ok(_) | Err(CommandError::Journal(sortie_journal::WriteError::Overloaded)) => self.watch(&live),
            Err(_) => {}
        }
    }

    /// Lets go of a mission once its end is on disk.
    fn release_later(self: &Arc<Self>, live: Arc<Live>, receipt: Option<sortie_journal::Receipt>) {
        let engine = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Some(receipt) = receipt
                && receipt.await.is_err()
            {
                return;
            }
            engine.lives.release(&live);
        });
    }
}

/// One round: wait until something is due, and do it. False when the engine is gone.
fn ring(engine: &Weak<Engine>) -> bool {
    let Some(engine) = engine.upgrade() else { return false };
    if engine.is_stopping() {
        return false;
    }
    let (wall, expired, queue) = {
        let mut desk = engine.desk.lock();
        // Read under the lock: threads that overtake each other must not look like a clock that was set back.
        let wall = engine.clock.wall();
        (wall, desk.queue.expired(wall), desk.queue.next_due())
    };
    let steady = engine.clock.steady();
    engine.pump();
    let mut alarms = engine.timer.alarms.lock();
    let ringing = alarms.ringing(wall, steady);
    if !ringing.is_empty() || !expired.is_empty() {
        drop(alarms);
        for no in ringing {
            // An alarm of a mission that has ended since rings for nobody.
            if engine.lives.get(no).is_some() {
                engine.tick(no);
            }
        }
        expired.into_iter().for_each(|no| engine.tick(no));
        return true;
    }
    if !std::mem::take(&mut alarms.nudged) {
        let nap = alarms.nap(wall, steady, queue);
        engine.timer.changed.wait_for(&mut alarms, nap);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn a_nap_ends_with_the_first_thing_due_and_never_sleeps_through_a_jump() {
        let mut alarms = Alarms::default();
        let steady = Duration::from_secs(10);
        assert_eq!(alarms.nap(at(100), steady, None), NAP_MAX);
        alarms.wall.push(Reverse((at(1_000), MissionNo(1))));
        assert_eq!(alarms.nap(at(100), steady, None), NAP_MAX, "an hour is slept in pieces");
        alarms.steady.push(Reverse((Duration::from_millis(10_020), MissionNo(2))));
        assert_eq!(alarms.nap(at(100), steady, None), Duration::from_millis(20));
        assert_eq!(alarms.nap(at(100), steady, Some(at(100))), Duration::ZERO);
        assert_eq!(alarms.nap(at(100), steady, Some(at(50))), Duration::ZERO, "overdue is now");
    }

    #[test]
    fn what_is_due_rings_once() {
        let mut alarms = Alarms::default();
        alarms.wall.push(Reverse((at(100), MissionNo(1))));
        alarms.wall.push(Reverse((at(200), MissionNo(2))));
        alarms.steady.push(Reverse((Duration::from_secs(1), MissionNo(3))));
        assert_eq!(alarms.ringing(at(150), Duration::from_secs(2)), [MissionNo(1), MissionNo(3)]);
        assert!(alarms.ringing(at(150), Duration::from_secs(2)).is_empty());
    }
}
