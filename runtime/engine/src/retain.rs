//! Removing missions that are over: their records, their artifacts, what the feed says of them, and the workspaces of those that were children:
//! a session of its own goes with its mission, any other may come back.
//!
//! Owned here: the rounds, and the order in which what belongs to a mission goes. Never here: whether its time has come, which the core
//! says.

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
use sortie_contract::{MissionId, MissionNo, SessionId};
use sortie_journal::{AdmitError, Head};
use sortie_mission::{Kept, KeptAs, Retention, Retentions};

use super::schedules::made_by;
use super::workspaces::{CarryError, LeftBehind};
use super::{Engine, ReadError};

/// How often it is looked for missions that have outlived their use, unless they do so sooner.
const ROUND: Duration = Duration::from_secs(60);

/// The most often.
const ROUND_MIN: Duration = Duration::from_secs(1);

/// How many heads are looked at at once.
const HEADS: usize = 512;

/// How much of the feed is read at once.
const CHUNK: usize = 4_096;

/// By schedule, the names of the missions that it made.
type Made = FxHashMap<String, FxHashSet<String>>;

/// Which of the bounds hold of a mission.
fn place_of(head: &Head, retentions: &Retentions, made: &Made) -> usize {
    let made_by = |schedule: &str| made.get(schedule).is_some_and(|names| names.contains(head.mission_id.as_str()));
    retentions.place_of(KeptAs { lane: &head.lane, mission_type: head.mission_type, made_by: &made_by })
}

/// The workspace of a mission that nobody else can ever be in: that of a child, whose session only a node gives.
fn of_its_own(head: &Head) -> Option<LeftBehind> {
    let (parent, _) = head.idempotency_key.dispatched_by(&head.mission_id)?;
    let (vp, session, mission) = (head.vp.clone(), head.session.clone(), head.mission_id.clone());
    (session == SessionId::of_child(&mission)).then_some(LeftBehind { vp, session, mission, parent })
}

impl Engine {
    /// Starts to remove missions as the configuration says.
    pub fn start_retention(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        let ambient = Arc::clone(&self.ambient);
        self.supervise("retention", async move {
            loop {
                let Some(changed) = engine.upgrade().map(|engine| Arc::clone(&engine.changing.is_other)) else {
                    return;
                };
                let age = engine.upgrade().and_then(|engine| engine.changing.retention().shortest());
                let age = age.and_then(|age| Duration::try_from(age).ok());
                let round = age.map_or(ROUND, |age| (age / 4).clamp(ROUND_MIN, ROUND));
                tokio::select! {
                    biased;
                    () = ambient.sleep(round) => {}
                    () = changed.notified() => {}
                }
                let Some(engine) = engine.upgrade() else { return };
                match engine.retain().await {
                    Ok(0) => {}
                    Ok(missions) => tracing::info!(missions, "removed missions that are over"),
                    Err(error) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "missions that are over cannot be removed"
                        );
                    }
                }
            }
        });
    }

    /// One round: what has outlived its use is removed, and then what the feed says of it. How many missions that were.
    async fn retain(self: &Arc<Self>) -> Result<usize, ReadError> {
        // What was restored is what somebody wants to see: it is older than any bound, and stays until they let the node go on.
        if self.holds_back() {
            return Ok(0);
        }
        // What a process that was killed did not get to, before their names can come again.
        self.remove_left_workspaces().await?;
        let engine = Arc::clone(self);
        let missions = self.ambient.unblock(move || engine.remove_outlived()).await.map_err(ReadError::Task)??;
        if missions == 0 && self.shared.is_none() {
            return Ok(0);
        }
        // Their heads are gone only once that is on disk, and until then a start may find them again, with what they stored. Where it cannot be
        // now, another round prunes and sweeps.
        if self.durable().await.is_err() {
            return Ok(missions);
        }
        if missions > 0 {
            let engine = Arc::clone(self);
            self.ambient.unblock(move || engine.prune_feed()).await.map_err(ReadError::Task)??;
            self.remove_left_workspaces().await?;
        }
        if self.shared.is_some() {
            // A fork that is on its way has its place before the log has it.
            let _turn = self.forking.lock().await;
            let engine = Arc::clone(self);
            self.ambient.unblock(move || engine.sweep_places()).await.map_err(ReadError::Task)?;
        }
        Ok(missions)
    }

    /// Removes what has outlived its use, and says how many missions that were. A page of heads is in memory at a time, and only of
    /// those that are old enough is it asked how far their delivery is.
    fn remove_outlived(&self) -> Result<usize, ReadError> {
        let wall = self.ambient.wall();
        let (mut removed, mut before) = (0, None);
        let retentions = &*self.changing.retention();
        let bounds: Vec<Retention> = retentions.each().collect();
        let mut newer = vec![0; bounds.len()];
        let made = self.made_by_schedules_of_rules()?;
        let mut parents: Option<FxHashSet<MissionId>> = None;
        loop {
            let heads = self.log.heads_newest_first(before, HEADS)?;
            let Some((last, _)) = heads.last() else { return Ok(removed) };
            before = Some(*last);
            for (no, head) in heads.into_iter().filter(|(_, head)| head.status.is_final()) {
                let place = place_of(&head, retentions, &made);
                let kept = Kept { newer: newer[place], ..self.kept(no, &head) };
                newer[place] += usize::from(!kept.pinned);
                if !bounds[place].is_over(kept, wall) {
                    continue;
                }
                // What it left may still be read.
                if self.is_awaited(&head)? {
                    continue;
                }
                // Nor is its id free as long as anything of its children is there: a mission of its name would take it for its own. Looked for
                // once in a round, so that it goes in a later one than they do, when their workspaces have gone as well.
                if parents.is_none() {
                    parents = Some(self.parents()?);
                }
                if parents.as_ref().is_some_and(|parents| parents.contains(&head.mission_id)) {
                    continue;
                }
                let delivered = self.log.cursor(no)?.is_none_or(|cursor| cursor.closed);
                if bounds[place].is_over(Kept { delivered, ..kept }, wall) {
                    // In mind before it is nobody's, so that neither a kill nor a round that breaks off forgets it: what the log still has
                    // is left alone.
                    if let Some((place, mission)) = self.place_left_by(no) {
                        self.leave(&place, &mission);
                    }
                    if let Some(left) = of_its_own(&head) {
                        self.leave_workspace(&left);
                    }
                    match self.removals.unless_held(|| self.pins.unless_kept(no, || self.remove(no))) {
                        Some(Some(done)) => done?,
                        // Somebody has just said that it is to be kept.
                        Some(None) => continue,
                        // A backup is taken: another round finds them again.
                        None => return Ok(removed),
                    }
                    removed += 1;
                }
            }
        }
    }

    /// The missions of which there are children, or workspaces of those.
    fn parents(&self) -> Result<FxHashSet<MissionId>, ReadError> {
        let mut parents: FxHashSet<MissionId> = self.workspaces.left().into_iter().map(|left| left.parent).collect();
        let mut before = None;
        loop {
            let heads = self.log.heads_newest_first(before, HEADS)?;
            let Some((last, _)) = heads.last() else { return Ok(parents) };
            before = Some(*last);
            let of = heads.iter().filter_map(|(_, head)| head.idempotency_key.dispatched_by(&head.mission_id));
            parents.extend(of.map(|(parent, _)| parent));
        }
    }

    /// What has to be known of a mission, but for its delivery and its place.
    fn kept(&self, no: MissionNo, head: &Head) -> Kept {
        Kept {
            status: head.status,
            ended_at: head.ended_at.unwrap_or(head.accepted_at),
            delivered: true,
            quarantined: self.is_quarantined(no),
            pinned: self.pins.of_mission(no).is_some(),
            newer: 0,
        }
    }

    /// The missions that those schedules made, by name, which rules name. A history has the newest fires of each: earlier missions are
    /// like any.
    fn made_by_schedules_of_rules(&self) -> Result<Made, ReadError> {
        let retention = self.changing.retention();
        let named = retention.rules.iter().filter_map(|rule| rule.schedule.as_ref());
        named.map(|schedule| Ok((schedule.clone(), made_by(&*self.log, schedule)?))).collect()
    }

    fn remove(&self, no: MissionNo) -> Result<(), ReadError> {
        // The artifacts first: what is left of a mission must not be files that nobody knows of.
        self.artifacts.remove(no).map_err(ReadError::Artifact)?;
        match self.log.remove(no) {
            Ok(()) => {}
            Err(AdmitError::Read(error)) => return Err(error.into()),
            // One that the log does not take now is found again in the next round.
            Err(AdmitError::Write(error)) => {
                tracing::debug!(%no, %error, "a mission is removed later");
                return Ok(());
            }
        }
        self.lives.forget(no);
        self.views.forget(no);
        Ok(())
    }

    /// What a mission stored in the shared store is about to be nobody's.
    fn leave(&self, place: &str, mission: &MissionId) {
        let left = self.shared.as_ref().map_or(Ok(()), |shared| shared.leave(place, mission));
        if let Err(error) = left {
            tracing::warn!(place, %error, "what a mission left in the shared store stays there");
        }
    }

    /// The workspace of a session that one mission had for itself is about to be nobody's.
    fn leave_workspace(&self, left: &LeftBehind) {
        self.forget_where_files_are(&left.vp, &left.session);
        if let Err(error) = self.workspaces.leave(left) {
            tracing::warn!(mission_id = %left.mission, %error, "the workspace of a mission that is removed stays there");
        }
    }

    /// Removes workspaces that are nobody's, of missions that are gone from the disk.
    async fn remove_left_workspaces(self: &Arc<Self>) -> Result<(), ReadError> {
        // A fork that is on its way may copy one.
        let _turn = self.forking.lock().await;
        let engine = Arc::clone(self);
        self.ambient.unblock(move || engine.sweep_workspaces()).await.map_err(ReadError::Task)
    }

    /// What cannot be removed now is tried again in the next round. Blocks.
    fn sweep_workspaces(&self) {
        for LeftBehind { vp, session, mission, .. } in self.workspaces.left() {
            match self.is_gone(&mission) {
                Ok(true) => match self.workspaces.remove(&vp, &session) {
                    Ok(()) => {}
                    Err(CarryError::Away(why)) => {
                        tracing::debug!(%mission, why, "the workspace of a mission that was removed stays for now");
                        return;
                    }
                    Err(error) => {
                        tracing::warn!(%mission, %error, "the workspace of a mission that was removed stays until somebody sees to it");
                    }
                },
                // It is not removed yet, or came again: its workspace is left once more when it goes.
                Ok(false) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(%mission, error, "it cannot be told whether a mission is gone");
                }
            }
        }
    }

    /// Whether there is no mission of that name, here or at another node. Blocks.
    fn is_gone(&self, mission: &MissionId) -> Result<bool, ReadError> {
        Ok(self.log.find(mission)?.is_none() && self.holder(mission.as_str())?.is_none())
    }

    /// Lets the feed begin with the first entry of a mission that is still there. Blocks.
    fn prune_feed(&self) -> Result<(), ReadError> {
        let mut read = 0;
        let first = 'found: loop {
            let entries = self.log.feed_after(read, CHUNK)?;
            let Some(last) = entries.last().map(|entry| entry.position) else { break read + 1 };
            for entry in entries {
                if self.log.head(entry.mission)?.is_some() {
                    break 'found entry.position;
                }
            }
            read = last;
        };
        if let Err(error) = self.log.prune_feed_before(first) {
            tracing::debug!(%error, "the feed is pruned later");
        }
        Ok(())
    }
}
