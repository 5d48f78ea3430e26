//! The clocks of WASI: one, which goes by what the mission has on record.
//!
//! A look at it asks for the recorded time (`time.now`) if the guest has asked the host for anything since the last look, and is a
//! microsecond later than the last one otherwise. So there are never more records of it than of what else the guest does; time stands
//! still, nearly, while a guest computes, a loop that waits for a clock comes to its end, and a replay reads the same times. It never
//! goes back, whatever is done to the node's clock.

use std::time::Duration;

use wasmtime::component::Resource;

use super::Wasi;
use super::io::Pollable;
use super::world::clocks::{monotonic_clock, wall_clock};
use crate::capability::tools::waiting;
use crate::side::{OnNode, Side};

/// How much later each look is than the one before it, and so the resolution.
const TICK_NS: u64 = 1_000;

/// Shorter waits are no timers of the mission: the clock is put forward, and nothing is recorded.
const TIMER_NS_MIN: u64 = 1_000_000;

const SECOND_NS: u64 = 1_000_000_000;

#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Nanoseconds since 1970, at the last look.
    now_ns: u64,
    /// The first look: the monotonic clock begins there.
    began_ns: Option<u64>,
    /// How often the guest had asked the host at the last look.
    seen: u64,
}

impl Clock {
    /// Nanoseconds since 1970.
    fn wall(&mut self, side: &mut Side) -> wasmtime::Result<u64> {
        let later = self.now_ns.saturating_add(TICK_NS);
        let is_old = self.began_ns.is_none() || self.seen != side.asked();
        self.now_ns = if is_old && side.has_mission() {
            let recorded = side.host("wasi:clocks")?.now();
            let recorded = side.answered(recorded)?;
            self.seen = side.asked();
            // On record are whole milliseconds, and a replay is told no more.
            u64::try_from(recorded.as_millisecond()).unwrap_or(0).saturating_mul(1_000_000).max(later)
        } else {
            later
        };
        self.began_ns.get_or_insert(self.now_ns);
        Ok(self.now_ns)
    }

    /// Nanoseconds since the first look.
    pub(super) fn monotonic(&mut self, side: &mut Side) -> wasmtime::Result<u64> {
        let now = self.wall(side)?;
        Ok(now - self.began_ns.unwrap_or(now))
    }

    /// Waits until the monotonic clock says `when`: by a timer of the mission, where there is one.
    pub(super) async fn wait(&mut self, side: &mut Side, when: u64) -> wasmtime::Result<()> {
        let left = when.saturating_sub(self.monotonic(side)?);
        if left >= TIMER_NS_MIN && side.has_mission() {
            let (host, node) = side.mission("wasi:io/poll")?;
            let future = {
                let _in_node = node.enter();
                // Whole milliseconds are what is recorded; rounded up, as a wait is never shorter than it was said to be.
                host.after(Duration::from_millis(left.div_ceil(TIMER_NS_MIN)))
            };
            let answer = waiting(host.as_ref(), OnNode { node, future }).await;
            side.answered(answer)?;
        }
        self.now_ns = self.now_ns.max(self.began_ns.unwrap_or(0).saturating_add(when));
        Ok(())
    }
}

impl monotonic_clock::Host for Wasi<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.played.clock.monotonic(self.side)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(TICK_NS)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<Pollable>> {
        self.handle(Pollable::At(when))
    }

    fn subscribe_duration(&mut self, when: u64) -> wasmtime::Result<Resource<Pollable>> {
        let now = self.played.clock.monotonic(self.side)?;
        self.handle(Pollable::At(now.saturating_add(when)))
    }
}

impl wall_clock::Host for Wasi<'_> {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        self.played.clock.wall(self.side).map(datetime)
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        Ok(datetime(TICK_NS))
    }
}

fn datetime(ns: u64) -> wall_clock::Datetime {
    let nanoseconds = u32::try_from(ns % SECOND_NS).expect("less than a second");
    wall_clock::Datetime { seconds: ns / SECOND_NS, nanoseconds }
}
