//! When a node and its lanes are open, and in which window a mission goes on that met their end, or that of its own.
//!
//! What hours mean, and in which order the next window is looked for, `sortie_schedule` says. Owned here: whose hours count for which
//! lane, and which schedule a mission is of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sortie_contract::envelope::Window;
use sortie_contract::{LaneId, MissionNo, Status, Timestamp};
use sortie_mission::Mission;
use sortie_mission::admission::Reply;
use sortie_mission::queue::{Doors, Queue};
use sortie_schedule::{FireWindow, Hours, Limiter, Met, Opening, Zone, meet, next_window, opening};

use super::Engine;
use super::live::Live;
use super::recover::waiting;
use super::shown::{EffectiveWindowView, LimitedBy};

/// How long a mission rests whose schedule is paused, before it is looked whether it still is.
const REST: Duration = Duration::from_secs(60);

/// The hours of a node and of its lanes.
#[derive(Debug)]
pub struct NodeHours {
    /// The node's zone: that of its nights.
    pub zone: Zone,
    /// The node's; it has none where it is always open.
    pub node: Option<Hours>,
    /// Those of the lanes that have some.
    pub lanes: BTreeMap<LaneId, Hours>,
}

impl Default for NodeHours {
    fn default() -> Self {
        Self { zone: Zone::utc(), node: None, lanes: BTreeMap::new() }
    }
}

impl NodeHours {
    /// Whether nothing ever closes.
    pub(crate) fn is_always_open(&self) -> bool {
        self.node.is_none() && self.lanes.is_empty()
    }

    /// What is left of a window from now on.
    fn meet(&self, lane: &LaneId, window: Window, wall: Timestamp) -> Met {
        let rest = FireWindow { opens: window.start_at.map_or(wall, |at| at.max(wall)), closes: window.end_at };
        meet(rest, self.lanes.get(lane), self.node.as_ref())
    }

    /// Whether something of a window is left from now on.
    pub(crate) fn leave(&self, lane: &LaneId, window: Window, wall: Timestamp) -> bool {
        self.is_always_open() || matches!(self.meet(lane, window, wall), Met::Open { .. })
    }

    /// Whether a lane is shut, or the node with all of them: until when, where an end is in sight.
    pub(crate) fn shut(&self, lane: &LaneId, wall: Timestamp) -> Option<Option<Timestamp>> {
        match opening(self.lanes.get(lane), self.node.as_ref(), wall) {
            Opening::Open { .. } => None,
            Opening::Shut { until } => Some(until),
        }
    }

    /// The times between two instants at which a lane is shut, or the node with all of them: in order, apart from each other.
    pub(crate) fn closed(&self, lane: &LaneId, from: Timestamp, until: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let mut closed = Vec::new();
        for hours in self.lanes.get(lane).into_iter().chain(&self.node) {
            let mut behind = from;
            for (opens, closes) in hours.open(from, until) {
                closed.push((behind, opens));
                behind = closes;
            }
            closed.push((behind, until));
        }
        closed.retain(|(shuts, opens)| shuts < opens);
        closed.sort_unstable();
        let mut apart: Vec<(Timestamp, Timestamp)> = Vec::new();
        for (shuts, opens) in closed {
            match apart.last_mut().filter(|last| shuts <= last.1) {
                Some(last) => last.1 = last.1.max(opens),
                None => apart.push((shuts, opens)),
            }
        }
        apart
    }

    /// Opens and shuts the lanes of a queue.
    pub(crate) fn let_in(&self, queue: &mut Queue, wall: Timestamp) {
        if self.is_always_open() {
            return;
        }
        queue.open_lanes(wall, |lane| {
            let (open, until) = match opening(self.lanes.get(lane), self.node.as_ref(), wall) {
                Opening::Open { until } => (true, until),
                Opening::Shut { until } => (false, until),
            };
            Doors { open, until }
        });
    }
}

impl Engine {
    /// The window in which a mission goes on whose own is over, or whose lane or node has closed.
    pub(crate) fn next_window(&self, no: MissionNo, mission: &Mission, wall: Timestamp) -> Option<Window> {
        let hours = &self.settings.hours;
        let state = self.schedules.of_mission(no);
        let schedule = state.as_ref().map(|state| (state.schedule(), state.position()));
        let next = next_window(
            fire_window(mission.window()),
            schedule,
            hours.lanes.get(mission.lane()),
            hours.node.as_ref(),
            wall,
        )?;
        Some(Window { start_at: Some(next.opens), end_at: next.closes })
    }

    /// Until when a mission that was carried over is held up at least because its schedule is paused; `None` where it is not.
    pub(crate) fn held_up(&self, live: &Live) -> Option<Timestamp> {
        if !live.with(Mission::awaits_window) {
            return None;
        }
        let until = self.pause_of(live.no)?;
        let wall = self.ambient.wall();
        let rest = wall.checked_add(REST).unwrap_or(Timestamp::MAX);
        Some(until.map_or(rest, |until| until.min(rest)))
    }

    /// Lets missions wait for nothing but their windows that were held up by a pause.
    pub(crate) fn let_go_on(self: &Arc<Self>, missions: impl Iterator<Item = MissionNo>) {
        for no in missions {
            let head = self.log.head(no).ok().flatten();
            if let Some(head) = head.filter(|head| !head.status.is_final() && !head.suspended)
                && self.desk.remove(no)
            {
                self.desk.push(&waiting(no, &head));
            }
        }
        self.timer.nudge();
        self.pump();
    }

    /// Whether the schedule of a mission is paused, and until when, where that is known.
    pub(crate) fn pause_of(&self, no: MissionNo) -> Option<Option<Timestamp>> {
        let wall = self.ambient.wall();
        let state = self.schedules.of_mission(no).filter(|state| state.position().pauses().hold(wall))?;
        Some(state.position().pauses().by_hand.as_ref().and_then(|pause| pause.until).filter(|until| *until > wall))
    }

    /// What the hours of lane and node leave of a mission's window.
    pub(crate) fn effective_window(&self, no: MissionNo, mission: &Mission) -> Option<EffectiveWindowView> {
        let own = match self.schedules.of_mission(no) {
            Some(_) => LimitedBy::Schedule,
            // It goes on in the hours of its lane.
            None if mission.window() != mission.envelope().window => LimitedBy::Lane,
            None => LimitedBy::Mission,
        };
        self.what_hours_leave(mission.lane(), mission.window(), mission.status(), own)
    }

    /// The same of one that was just dispatched, or before.
    #[must_use]
    pub fn window_of_dispatched(&self, reply: &Reply) -> Option<EffectiveWindowView> {
        self.what_hours_leave(&reply.lane, reply.window, reply.status, LimitedBy::Mission)
    }

    /// Nothing, where they leave nothing.
    pub(crate) fn what_hours_leave(
        &self,
        lane: &LaneId,
        window: Window,
        status: Status,
        own: LimitedBy,
    ) -> Option<EffectiveWindowView> {
        let hours = &self.settings.hours;
        let plain = |start_at, end_at| EffectiveWindowView { start_at, end_at, opens_by: own, closes_by: own };
        if hours.is_always_open() || status.is_final() {
            return Some(plain(window.start_at, window.end_at));
        }
        let wall = self.ambient.wall();
        let by = |limiter| match limiter {
            Limiter::Schedule => own,
            Limiter::Lane => LimitedBy::Lane,
            Limiter::Node => LimitedBy::Node,
        };
        match hours.meet(lane, window, wall) {
            // What has opened already has not to be waited for.
            Met::Open { window: met, opens_by, closes_by } => Some(EffectiveWindowView {
                start_at: if met.opens <= wall { window.start_at } else { Some(met.opens) },
                end_at: met.closes,
                opens_by: by(opens_by),
                closes_by: by(closes_by),
            }),
            Met::Shut { .. } => None,
        }
    }
}

fn fire_window(window: Window) -> FireWindow {
    FireWindow { opens: window.start_at.unwrap_or(Timestamp::MIN), closes: window.end_at }
}
