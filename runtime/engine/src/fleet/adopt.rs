//! What another node left that died goes on here.
//!
//! The log gives it to one of those who ask ([`sortie_journal::Fleet::adopt`]), and refuses whatever the one that had it still sends.
//! From there on it is as after a start (`recover`): whoever waited waits again, whoever ran goes on by replay, what was to be delivered
//! is. Until all of that is in its place no turns are given here: a mission that comes to a VP meanwhile does not go before those that it
//! had.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use sortie_contract::{MissionNo, SessionId, Timestamp, VpId};
use sortie_journal::{AdoptError, Adopted, Head, ReadError};
use sortie_mission::queue::Waiting;

use super::workspace::has_run;
use super::{Draining, Member};
use crate::Engine;
use crate::children::Found;
use crate::recover::GoesOn;

/// What came with a share, as far as it is not over.
#[derive(Default)]
struct Came {
    adopted: Adopted,
    /// How many missions.
    open: u64,
    waiting: Vec<Waiting>,
    alarms: Vec<(MissionNo, Timestamp)>,
    sleepers: Vec<MissionNo>,
    /// Missions that have run, with their sessions: there may be files of them on the other's disk.
    ran: Vec<(VpId, SessionId, MissionNo)>,
    /// Which of them are whose.
    families: Found,
    /// Why not all that stands beside them could be read.
    read: Option<ReadError>,
}

impl Came {
    fn add(&mut self, no: MissionNo, head: &Head) {
        self.families.add(no, head);
        self.open += u64::from(!head.status.is_final());
        if has_run(head) {
            self.ran.push((head.vp.clone(), head.session.clone(), no));
        }
        match GoesOn::of(no, head) {
            GoesOn::Asleep { wakes_at, sleeps } => {
                self.alarms.extend(wakes_at.map(|at| (no, at)));
                self.sleepers.extend(sleeps.then_some(no));
            }
            GoesOn::Waiting { waiting, wakes_at } => {
                self.waiting.push(waiting);
                self.alarms.extend(wakes_at.map(|at| (no, at)));
            }
            GoesOn::Not => {}
        }
    }
}

impl Engine {
    /// Whether turns are given: not while missions come that may have to go before those that are here, nor once the node is drained.
    pub(crate) fn gives_turns(&self) -> bool {
        !self.fleet.is_adopting.load(Acquire) && self.draining() == Draining::No
    }

    /// The nodes whose shares this one is to adopt now.
    ///
    /// All that live see the same; the one whose name comes next behind the dead one's goes first, the next a look later, and so on: the
    /// log gives a share to one of them whatever they do, and this way the others need not ask. What a newer Sortie wrote is left to those that
    /// can read it.
    pub(super) fn to_adopt(&self, members: &[Member]) -> Vec<Member> {
        let mut lapsed = self.fleet.lapsed.lock();
        lapsed.retain(|share, _| members.iter().any(|member| member.share == *share && !member.is_live()));
        let newer = self.fleet.newer.lock().clone();
        if self.is_stopping() || self.holds_back() || self.draining() != Draining::No {
            return Vec::new();
        }
        let Some(me) = members.iter().find(|member| member.is_me) else { return Vec::new() };
        let heirs: Vec<&str> = members
            .iter()
            .filter(|member| member.is_me || (member.is_live() && !member.card.is_draining && !member.node.is_empty()))
            .map(|member| member.node.as_str())
            .collect();
        let dead = members.iter().filter(|member| !member.is_me && !member.is_live() && !newer.contains(&member.share));
        dead.filter(|dead| {
            let looks = lapsed.entry(dead.share).or_default();
            *looks += 1;
            rank(&heirs, &me.node, &dead.node) < *looks
        })
        .cloned()
        .collect()
    }

    /// Goes on with what a node left, unless another was faster.
    pub(super) async fn take_over(self: &Arc<Self>, dead: &Member) {
        let begun = self.ambient.steady();
        self.fleet.is_adopting.store(true, Release);
        let _turns = GivesTurns(self);
        let (engine, share) = (Arc::clone(self), dead.share);
        let came = match self.ambient.unblock(move || engine.adopt(share)).await {
            Ok(Ok(came)) => came,
            Ok(Err(AdoptError::Held { .. } | AdoptError::Gone { .. })) => {
                tracing::debug!(%share, node = %dead.name, "what a node left is another's");
                return;
            }
            Ok(Err(error @ AdoptError::NewerFormat { .. })) => {
                // What is written there does not grow older: while this process runs it is not tried again.
                self.fleet.newer.lock().insert(share);
                let error = &error as &dyn std::error::Error;
                tracing::error!(%share, node = %dead.name, error, "what a node left waits for one of a newer version");
                return;
            }
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(%share, node = %dead.name, error, "what a node left cannot be gone on with here");
                return;
            }
            Err(_) => return,
        };
        let (missions, deliveries, schedules) = (came.open, came.adopted.cursors.len(), came.adopted.schedules.len());
        self.fleet.counts.shares.fetch_add(came.adopted.shares.len() as u64, Relaxed);
        self.fleet.counts.missions.fetch_add(missions, Relaxed);
        if let Some(error) = &came.read {
            let error = error as &dyn std::error::Error;
            tracing::error!(%share, error, "some of what a node left cannot be read");
        }
        self.stand_for(dead.card.stands_for.iter().cloned().chain([dead.name.clone()]));
        self.take_in(came);
        let took_ms = u64::try_from(self.ambient.steady().saturating_sub(begun).as_millis()).unwrap_or(u64::MAX);
        let node = dead.name.as_str();
        tracing::warn!(%share, node, missions, deliveries, schedules, took_ms, "a node is gone: what it left goes on here");
    }

    /// Has the log give it, and looks at all that came with it. Blocks.
    fn adopt(&self, share: sortie_journal::ShareNo) -> Result<Came, AdoptError> {
        let Some(fleet) = self.log.fleet() else { return Err(AdoptError::Gone { share }) };
        let mut came = Came::default();
        self.begins_to_adopt();
        let adopted = fleet.adopt(share, &mut |no, head| {
            if !head.status.is_final() {
                // Before anybody finds it: whoever changes it then counts from here.
                self.commit.moved(no, None, (head.status, head.suspended));
            }
            came.add(no, &head);
        });
        if let Err(AdoptError::Held { .. } | AdoptError::Gone { .. } | AdoptError::NewerFormat { .. }) = &adopted {
            self.has_adopted();
        }
        came.adopted = adopted?;
        self.views.forget_all();
        // First the books: what they hold of budgets may be given back from then on.
        self.commit.wider().take_in(&came.adopted.balances);
        self.has_come(&came.adopted.shares);
        // As the store has it: one that was drained does not say any more for whom it stood.
        let names = fleet.adopted_from().map(|names| self.stand_for(names));
        // What cannot be read of the rest keeps nobody waiting who can be.
        came.read = names.and(self.take_in_beside(&mut came)).err();
        Ok(came)
    }

    /// Takes in what stands beside missions. Blocks.
    fn take_in_beside(&self, came: &mut Came) -> Result<(), ReadError> {
        if self.keep_in_mind_where_files_are(&came.ran) {
            self.has_adopted();
        }
        self.clocks.take_up(came.adopted.clocks.iter().copied());
        self.pins.take_in(self.log.pins()?);
        self.unread.take_in(self.log.quarantined()?, came.adopted.headless.iter().copied());
        self.schedules.take_over(&*self.log, &came.adopted.schedules, self.ambient.wall())
    }

    /// From here on its missions are like any.
    fn take_in(self: &Arc<Self>, came: Came) {
        self.commit.children().take_in(came.families);
        // Some may have ended since they were read.
        let waiting = came.waiting.iter().filter(|waiting| self.commit.standings().has(waiting.no));
        waiting.for_each(|waiting| self.desk.push(waiting));
        came.alarms.into_iter().for_each(|(no, at)| self.wake_at(no, at));
        self.watch_sleepers(came.sleepers);
        let cursors = came.adopted.cursors.iter();
        let undelivered: Vec<MissionNo> = cursors.filter(|(_, cursor)| !cursor.closed).map(|(no, _)| *no).collect();
        self.deliveries.take_in(&undelivered);
        self.schedules.nudge();
        self.timer.nudge();
        self.tell_fleet();
    }
}

/// In which look at a dead node one of its heirs goes on with what it left: 0 is the first.
fn rank(heirs: &[&str], me: &str, dead: &str) -> u32 {
    // Those whose names come behind its own first, then from the beginning.
    let is_before = |node: &str| (node <= dead, node) < (me <= dead, me);
    u32::try_from(heirs.iter().filter(|node| is_before(node)).count()).unwrap_or(u32::MAX)
}

/// Turns are given again when this goes.
struct GivesTurns<'a>(&'a Arc<Engine>);

impl Drop for GivesTurns<'_> {
    fn drop(&mut self) {
        if self.0.fleet.is_adopting.swap(false, AcqRel) {
            self.0.pump();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_heirs_one_is_first_and_each_has_its_turn() {
        let heirs = ["a", "c", "e"];
        for (dead, expected) in [("b", [2, 0, 1]), ("d", [1, 2, 0]), ("f", [0, 1, 2]), ("", [0, 1, 2])] {
            assert_eq!(heirs.map(|me| rank(&heirs, me, dead)), expected, "behind {dead:?}");
        }
    }
}
